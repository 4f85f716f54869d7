// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pick the reuseport socket at a key of sock_map, whose type (SOCKMAP or SOCKHASH) user space sets
 * before it loads the object. If that fails, drop.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "verdicts.h"

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} sock_map SEC(".maps");

struct verdicts verdicts;
__u32 key_to_select;
__s32 error; /* that the last one failed with; 0: it did not */

SEC("sk_reuseport")
int select_socket(struct sk_reuseport_md *reuse)
{
	__u32 key = key_to_select;
	int verdict;

	error = bpf_sk_select_reuseport(reuse, &sock_map, &key, 0);
	verdict = error ? SK_DROP : SK_PASS;
	count_verdict(&verdicts, verdict, reuse->len);
	return verdict;
}

char _license[] SEC("license") = "GPL";
