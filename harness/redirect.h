/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Redirection from one socket to another, and the contract that it has to keep.
 *
 *	in.peer <------> in.mapped ==[ verdict ]==> out.mapped <------> out.peer
 *
 *	hook                     send on      to ingress: read on    to egress: read on
 *	sk_msg                   in.mapped    out.mapped             out.peer
 *	sk_skb, parser+verdict   in.peer      out.mapped             out.peer
 */
#ifndef REDIRECT_H
#define REDIRECT_H

#include <stdbool.h>
#include <linux/bpf.h>

#include "harness/feature.h"

struct sock_kind;
struct sock_pair;

enum redirect_hook {
	HOOK_MSG_VERDICT,    /* BPF_SK_MSG_VERDICT */
	HOOK_STREAM_VERDICT, /* BPF_SK_SKB_STREAM_PARSER and _STREAM_VERDICT */
	HOOK_SKB_VERDICT,    /* BPF_SK_SKB_VERDICT */
};

enum redirect_outcome {
	DELIVERED, /* the data arrives at the target */
	DROPPED,   /* the send succeeds, and the verdict drops the data */
	REFUSED,   /* the verdict drops the data, and the send fails with `error` */
};

struct redirect {
	enum bpf_map_type map;
	enum redirect_hook hook;
	bool ingress;
	const struct sock_kind *in, *out;

	enum redirect_outcome outcome;
	int error; /* REFUSED: the errno of the send */

	/* What else can vary; zero is the plain case. */
	bool two_maps;	   /* in.mapped is in a map of its own; the target's map has no program */
	bool mapped_peers; /* in.peer and out.peer are in a map without programs */
	bool by_link;	   /* the program is attached by a bpf_link */
	bool oob;	   /* the last byte of what is sent is out-of-band data */
	bool to_listener;  /* out.mapped is a listening socket */
	unsigned int parse_len; /* HOOK_STREAM_VERDICT: the parser's messages have this length */
};

/* What the case cannot do without, and what parts of its checks depend on: as in struct subtest. */
feature_set redirect_needs(const struct redirect *redirect);
feature_set redirect_wants(const struct redirect *redirect);
feature_set redirect_uses(const struct redirect *redirect);

/*
 * Set the case up from scratch, and check all that its outcome promises: the return value of the
 * send, the verdicts, every byte once and in order at the stated socket and none elsewhere, a
 * reader that sleeps until the data comes and is woken by it, whichever way it waits, MSG_PEEK,
 * FIONREAD, and ordinary traffic in both directions once the sockets have left the map.
 */
void check_redirect(const struct redirect *redirect);

/* Send each way, and check that just this, and nothing before it, arrives. */
void check_traffic(const struct sock_pair *pair);

#endif /* REDIRECT_H */
