// SPDX-License-Identifier: GPL-2.0-only
/* On each event of a socket with our mark, insert that socket at the key which is the event's number. */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "sockops.h"

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, EVENTS);
	__type(key, __u32);
	__type(value, __u64);
} map SEC(".maps");

const volatile bool use_sockhash;

__u32 mark;
int errors[EVENTS]; /* NOT_SEEN, or what the helper returned */

SEC("sockops")
int insert_on_event(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	__u32 event = ctx->op, key = event;
	int err;

	if (!sk || sk->mark != mark || event >= EVENTS)
		return 1;
	if (use_sockhash)
		err = bpf_sock_hash_update(ctx, &map, &key, BPF_ANY);
	else
		err = bpf_sock_map_update(ctx, &map, &key, BPF_ANY);
	errors[event] = err;
	return 1;
}

char _license[] SEC("license") = "GPL";
