// SPDX-License-Identifier: GPL-2.0-only
/* A verdict that depends on another socket, as that of a proxy may. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "verdicts.h"

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} map SEC(".maps");

struct verdicts verdicts;
struct bpf_sock_tuple tuple; /* of the IPv4 socket without which nothing passes */

SEC("sk_skb")
int lookup_verdict(struct __sk_buff *skb)
{
	struct bpf_sock *sk;
	int verdict = SK_DROP;

	sk = bpf_sk_lookup_udp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (sk) {
		bpf_sk_release(sk);
		verdict = SK_PASS;
	}
	count_verdict(&verdicts, verdict, skb->len);
	return verdict;
}

char _license[] SEC("license") = "GPL";
