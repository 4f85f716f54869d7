// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two programs of each type, which let pass everything and count what they see.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "verdicts.h"

struct verdicts one, two;

SEC("sk_skb/stream_parser")
int parser_one(struct __sk_buff *skb)
{
	return skb->len;
}

SEC("sk_skb/stream_parser")
int parser_two(struct __sk_buff *skb)
{
	return skb->len;
}

/* A parser is to look, and not to touch. */
SEC("sk_skb/stream_parser")
int parser_modifies(struct __sk_buff *skb)
{
	bpf_skb_change_tail(skb, skb->len, 0);
	return skb->len;
}

SEC("sk_skb")
int skb_one(struct __sk_buff *skb)
{
	count_verdict(&one, SK_PASS, skb->len);
	return SK_PASS;
}

SEC("sk_skb")
int skb_two(struct __sk_buff *skb)
{
	count_verdict(&two, SK_PASS, skb->len);
	return SK_PASS;
}

SEC("sk_msg")
int msg_one(struct sk_msg_md *msg)
{
	count_verdict(&one, SK_PASS, msg->size);
	return SK_PASS;
}

SEC("sk_msg")
int msg_two(struct sk_msg_md *msg)
{
	count_verdict(&two, SK_PASS, msg->size);
	return SK_PASS;
}

char _license[] SEC("license") = "GPL";
