// SPDX-License-Identifier: GPL-2.0-only
/* A sk_msg program that follows the script that user space has written. */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "msg_script.h"
#include "socket_map.h"

SOCKET_MAP(out_map);

const volatile bool use_sockhash;
const volatile __u64 redirect_flags;

struct msg_step steps[MSG_STEPS];
struct msg_run runs[MSG_STEPS];
__u32 nr_runs;

/* The end of the data ends the loops, or else the verifier would follow each byte both ways. */
static __always_inline void invert(struct sk_msg_md *msg)
{
	__u8 *bytes = msg->data, *end = msg->data_end;

#pragma unroll
	for (int i = 0; i < MSG_TOUCH_MAX; i++) {
		if (bytes + i + 1 > end)
			return;
		bytes[i] ^= 0xff;
	}
}

static __always_inline void fill(struct sk_msg_md *msg)
{
	__u8 *bytes = msg->data, *end = msg->data_end;

#pragma unroll
	for (int i = 0; i < MSG_TOUCH_MAX; i++) {
		if (bytes + i + 1 > end)
			return;
		bytes[i] = MSG_PUSHED(i);
	}
}

/* What was pushed is not initialised: it is pulled, which makes it writable, and written. */
static __always_inline int push(struct sk_msg_md *msg, __u32 start, __u32 len, __u32 flags)
{
	int err = bpf_msg_push_data(msg, start, len, flags);

	if (err || !len)
		return err;
	err = bpf_msg_pull_data(msg, start, start + len, 0);
	if (!err)
		fill(msg);
	return err;
}

static __always_inline int redirect(struct sk_msg_md *msg)
{
	__u32 key = 0;

	if (use_sockhash)
		return bpf_msg_redirect_hash(msg, &out_map, &key, redirect_flags);
	return bpf_msg_redirect_map(msg, &out_map, key, redirect_flags);
}

SEC("sk_msg")
int msg_script(struct sk_msg_md *msg)
{
	__u32 i = nr_runs < MSG_STEPS ? nr_runs : MSG_STEPS - 1;
	struct msg_step *step = &steps[i];
	struct msg_run *run = &runs[i];

	run->size = msg->size;
	bpf_msg_cork_bytes(msg, step->cork);
	bpf_msg_apply_bytes(msg, step->apply);
	if (step->pull.len) {
		run->pull = bpf_msg_pull_data(msg, step->pull.start,
					      step->pull.start + step->pull.len, step->flags);
		if (!run->pull)
			invert(msg);
	}
	run->pop = bpf_msg_pop_data(msg, step->pop.start, step->pop.len, step->flags);
	run->push = push(msg, step->push.start, step->push.len, step->flags);
	nr_runs++;

	switch (step->verdict) {
	case SCRIPT_PASS:
		return SK_PASS;
	case SCRIPT_REDIRECT:
		return redirect(msg);
	default:
		return SK_DROP;
	}
}

char _license[] SEC("license") = "GPL";
