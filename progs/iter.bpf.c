// SPDX-License-Identifier: GPL-2.0-only
/*
 * Go through a map of sockets: write a record for each entry, and copy the socket, if there is one,
 * to the same key of another map.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "iter.h"

struct seq_file;
struct sock;

/* As the kernel has them, as far as they are used. */
struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));

struct bpf_iter__sockmap {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	struct sock *sk;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, ITER_ENTRIES);
	__type(key, __u32);
	__type(value, __u64);
} copies SEC(".maps");

SEC("iter/sockmap")
int visit(struct bpf_iter__sockmap *ctx)
{
	struct iter_record record = {};
	struct sock *sk = ctx->sk;
	__u32 *key = ctx->key;

	/* A last call, without an entry, ends it. */
	if (!key)
		return 0;
	record.key = *key;
	record.has_socket = !!sk;
	if (sk)
		record.error = bpf_map_update_elem(&copies, &record.key, sk, 0);
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

char _license[] SEC("license") = "GPL";
