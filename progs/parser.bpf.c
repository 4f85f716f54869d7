// SPDX-License-Identifier: GPL-2.0-only
/*
 * A stream parser for records that begin with their length, and a verdict for each of them.
 *
 * What both programs get is all of the segments that the record is in, with what stands before and
 * behind it, and nothing tells them where in there it begins. So they keep account: behind a record
 * that is complete come so many bytes of its last segment, which the next one begins with; where
 * that was the end of the segment, the next record begins with the next segment.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "records.h"
#include "socket_map.h"

SOCKET_MAP(out_map);

const volatile bool use_sockhash;
const volatile __u64 redirect_flags;

struct parsing parsing;

/* The record at hand. The socket's lock is held wherever the programs run. */
static struct {
	bool begun;
	__u32 offset; /* in the skb */
	__u32 rest;   /* bytes behind the record before it, in the same segment */
	struct record header;
	__u32 cb[5];
} now;

static __always_inline void save_cb(const struct __sk_buff *skb)
{
	now.cb[0] = skb->cb[0];
	now.cb[1] = skb->cb[1];
	now.cb[2] = skb->cb[2];
	now.cb[3] = skb->cb[3];
	now.cb[4] = skb->cb[4];
}

static __always_inline bool same_cb(const struct __sk_buff *skb)
{
	return now.cb[0] == skb->cb[0] && now.cb[1] == skb->cb[1] && now.cb[2] == skb->cb[2] &&
	       now.cb[3] == skb->cb[3] && now.cb[4] == skb->cb[4];
}

SEC("sk_skb/stream_parser")
int parse_record(struct __sk_buff *skb)
{
	parsing.calls++;
	if (!now.begun) {
		now.offset = now.rest ? skb->len - now.rest : 0;
		now.begun = true;
	}
	/* More of it has to come. */
	if (bpf_skb_load_bytes(skb, now.offset, &now.header, sizeof(now.header)))
		return 0;
	save_cb(skb);
	return bpf_ntohl(now.header.len);
}

static __always_inline int redirect(struct __sk_buff *skb)
{
	__u32 key = 0;

	if (use_sockhash)
		return bpf_sk_redirect_hash(skb, &out_map, &key, redirect_flags);
	return bpf_sk_redirect_map(skb, &out_map, key, redirect_flags);
}

static __always_inline int verdict_on(struct __sk_buff *skb, const struct record *header)
{
	switch (bpf_ntohl(header->way)) {
	case RECORD_PASS:
		return SK_PASS;
	case RECORD_REDIRECT:
		return redirect(skb);
	default:
		return SK_DROP;
	}
}

SEC("sk_skb/stream_verdict")
int judge_record(struct __sk_buff *skb)
{
	__u32 len = bpf_ntohl(now.header.len);
	struct record header = {};
	__u8 last = 0;
	int verdict;

	if (bpf_skb_load_bytes(skb, now.offset, &header, sizeof(header)) ||
	    header.len != now.header.len || header.way != now.header.way)
		parsing.changed_headers++;
	if (bpf_skb_load_bytes(skb, now.offset + len - 1, &last, sizeof(last)))
		parsing.incomplete++;
	if (!same_cb(skb))
		parsing.changed_cb++;
	parsing.sum += last;
	now.begun = false;
	now.rest = skb->len - now.offset - len;

	verdict = verdict_on(skb, &header);
	__sync_fetch_and_add(&parsing.records, 1);
	return verdict;
}

char _license[] SEC("license") = "GPL";
