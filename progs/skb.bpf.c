// SPDX-License-Identifier: GPL-2.0-only
/* Programs that record the fields of their context, and a verdict that changes the skb. */
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "skb.h"
#include "socket_map.h"

SOCKET_MAP(out_map);

const volatile bool redirects;
const volatile __u64 redirect_flags;

enum skb_change change;
__s32 by;    /* bytes: more, or less */
__u64 flags; /* of the helper */
int error;   /* what it returned */
long pulled; /* bytes at hand then */
__u32 runs;

struct skb_fields in_verdict, in_parser;

#define SAVE(to, ctx, size)                             \
	do {                                            \
		(to)->len = (size);                     \
		(to)->family = (ctx)->family;           \
		(to)->remote_ip4 = (ctx)->remote_ip4;   \
		(to)->local_ip4 = (ctx)->local_ip4;     \
		SAVE_IP6(to, ctx, 0);                   \
		SAVE_IP6(to, ctx, 1);                   \
		SAVE_IP6(to, ctx, 2);                   \
		SAVE_IP6(to, ctx, 3);                   \
		(to)->remote_port = (ctx)->remote_port; \
		(to)->local_port = (ctx)->local_port;   \
	} while (0)

#define SAVE_IP6(to, ctx, i)                                \
	do {                                                \
		(to)->remote_ip6[i] = (ctx)->remote_ip6[i]; \
		(to)->local_ip6[i] = (ctx)->local_ip6[i];   \
	} while (0)

SEC("sk_skb/stream_parser")
int parse_fields(struct __sk_buff *skb)
{
	SAVE(&in_parser, skb, skb->len);
	return skb->len;
}

SEC("sk_msg")
int msg_fields(struct sk_msg_md *msg)
{
	SAVE(&in_verdict, msg, msg->size);
	__sync_fetch_and_add(&runs, 1);
	return SK_PASS;
}

SEC("sk_skb")
int skb_fields(struct __sk_buff *skb)
{
	SAVE(&in_verdict, skb, skb->len);
	__sync_fetch_and_add(&runs, 1);
	return SK_PASS;
}

/* Where the end of the data takes the place of the context, in its register, the load is another one. */
static __always_inline long bytes_to_end(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = skb;

	asm volatile("%[end] = *(u32 *)(%[end] + %[data_end])"
		     : [end] "+r"(end)
		     : [data_end] "i"(offsetof(struct __sk_buff, data_end)));
	return end - data;
}

static __always_inline int change_bytes(struct __sk_buff *skb)
{
	__u32 last = skb->len - 1;
	__u8 *bytes, byte = 0;
	int err;

	err = bpf_skb_pull_data(skb, skb->len);
	bytes = (void *)(long)skb->data;
	if (err || (void *)(bytes + 1) > (void *)(long)skb->data_end)
		return err ?: -1;
	pulled = bytes_to_end(skb);
	bytes[0] ^= 0xff;
	err = bpf_skb_load_bytes(skb, last, &byte, 1);
	byte ^= 0xff;
	return err ?: bpf_skb_store_bytes(skb, last, &byte, 1, flags);
}

static __always_inline int change_skb(struct __sk_buff *skb)
{
	switch (change) {
	case CHANGE_BYTES:
		return change_bytes(skb);
	case CHANGE_TAIL:
		return bpf_skb_change_tail(skb, skb->len + by, flags);
	case CHANGE_HEAD:
		return bpf_skb_change_head(skb, by, flags);
	case CHANGE_ROOM:
		return bpf_skb_adjust_room(skb, by, 0, flags);
	default:
		return 0;
	}
}

SEC("sk_skb")
int skb_changes(struct __sk_buff *skb)
{
	error = change_skb(skb);
	in_verdict.len = skb->len;
	__sync_fetch_and_add(&runs, 1);
	if (!redirects)
		return SK_PASS;
	return bpf_sk_redirect_map(skb, &out_map, 0, redirect_flags);
}

char _license[] SEC("license") = "GPL";
