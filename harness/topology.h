/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The four sockets between which data is redirected, the maps and the programs.
 *
 *	in.peer <------> in.mapped ==[ verdict ]==> out.mapped <------> out.peer
 *
 *	hook                     send on      to ingress: read on    to egress: read on
 *	sk_msg                   in.mapped    out.mapped             out.peer
 *	sk_skb, parser+verdict   in.peer      out.mapped             out.peer
 */
#ifndef TOPOLOGY_H
#define TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/bpf.h>

#include "harness/feature.h"
#include "network_helpers.h"
#include "progs/redirect.h"

enum redirect_hook {
	HOOK_MSG_VERDICT,    /* BPF_SK_MSG_VERDICT */
	HOOK_STREAM_VERDICT, /* BPF_SK_SKB_STREAM_PARSER and _STREAM_VERDICT */
	HOOK_SKB_VERDICT,    /* BPF_SK_SKB_VERDICT */
};

enum redirect_outcome {
	DELIVERED, /* the data arrives at the target */
	DROPPED,   /* the send succeeds, and the verdict drops the data */
	REFUSED,   /* the verdict drops the data, and the send fails with `error` */
	LOCAL,	   /* no program sees the data, which goes its normal way */
	KEPT_OUT,  /* in.mapped is not let into the map of the program: `error` */
};

/* A case of redirection: what varies. */
struct redirect {
	enum bpf_map_type map;
	enum redirect_hook hook;
	bool ingress;
	const struct sock_kind *in, *out;

	enum redirect_outcome outcome;
	int error; /* REFUSED: the errno of the send; KEPT_OUT: of the insertion */

	/* What else can vary; zero is the plain case. */
	bool two_maps;	   /* in.mapped is in a map of its own; the target's map has no program */
	bool mapped_peers; /* in.peer and out.peer are in a map without programs */
	bool by_link;	   /* the program is attached by a bpf_link */
	bool oob;	   /* the last byte of what is sent is out-of-band data */
	bool to_listener;  /* out.mapped has no peer: TCP listens, UDP is bound */
	bool to_itself;	   /* with two_maps: the target is in.mapped, which is in both maps */
	bool pass;	   /* the program redirects nothing: what it sees goes its way */
	bool drop;	   /* the program redirects nothing: what it sees is dropped */
	bool long_keys;	   /* SOCKHASH: the keys have 40 bytes instead of 4 */
	bool by_iterator;  /* with two_maps: a BPF iterator inserts in.mapped and out.mapped */
	bool by_sockops;   /* the same by a sockops program, when they are established: TCP only */
	int undefined;	   /* drop: by this value of the program's, instead of SK_DROP */
	enum bpf_map_type out_map; /* the target's map, where it is of another type: with two_maps */
	unsigned int parse_len;	   /* HOOK_STREAM_VERDICT: the parser's messages have this length */
};

/* "sk_msg": the hook in a word. */
const char *redirect_hook_name(const struct redirect *redirect);

/* What the case cannot do without, and what parts of its checks depend on: as in struct subtest. */
feature_set redirect_needs(const struct redirect *redirect);
feature_set redirect_wants(const struct redirect *redirect);
feature_set redirect_uses(const struct redirect *redirect);

struct redirect_bpf;

struct topology {
	const struct redirect *redirect;
	struct redirect_bpf *skel;
	struct sock_pair in, out;
	int links[2];
	int sender; /* one of the sockets */
	int target; /* where the data is read; -1: it has to arrive nowhere */
	const struct sock_kind *target_kind;
	bool target_mapped; /* the target is in a map */
	const char *direction;
	uint64_t count[2], bytes[2]; /* what the verdict counters have to show */
};

#define TOPOLOGY_NONE                                                            \
	{                                                                        \
		.in = SOCK_PAIR_NONE, .out = SOCK_PAIR_NONE, .links = { -1, -1 } \
	}
#define __auto_topology __attribute__((cleanup(topology_close)))

/*
 * Set the case up from scratch: programs loaded and attached, sockets made and inserted. False: a
 * check failed, and has been printed. Whatever there is, topology_close() closes.
 */
bool topology_open(struct topology *t, const struct redirect *redirect);
void topology_close(struct topology *t);

/*
 * From now on the program gives this verdict, SK_PASS or SK_DROP, and the target is the socket that
 * is to get what passes.
 */
void topology_set_verdict(struct topology *t, int verdict);

/* Insert a socket of the topology into one of its maps, and delete it; 0 or -errno. */
int topology_insert(const struct topology *t, int map_fd, uint32_t key, int fd);
int topology_delete(const struct topology *t, int map_fd, uint32_t key);

/* The map that in.mapped is in. */
int topology_in_map(const struct topology *t);

/* Take in.mapped out of its map and put it back: it gets the programs that the map has by now. */
bool topology_reinsert(const struct topology *t);

/* Take the sockets out of their maps. */
bool topology_remove_sockets(struct topology *t);

/* The verdicts given so far. */
const struct verdicts *topology_verdicts(const struct topology *t);

/* The reader of the target has slept until then: how long that took after the latest verdict. */
void topology_measure_wakeup(const struct topology *t, uint64_t woken_ns);

/*
 * The same for one who waits for something else than data, since that was made to happen: `who`, a
 * static text, stands in place of the direction.
 */
void topology_measure_other(const struct topology *t, const char *who, uint64_t since_ns,
			    uint64_t woken_ns);

/* From now on the counters have to show one more verdict, about that many bytes. */
void topology_expect(struct topology *t, int verdict, size_t len);

/* Wait until the verdicts that are due have been given, and then require that they are as expected.
 */
void topology_wait_for_verdicts(const struct topology *t);
bool topology_check_verdicts(const struct topology *t);

/* The sockets that must stay empty while the target, if there is one, gets data; how many. */
unsigned int topology_others(const struct topology *t, int others[4]);

/* No socket has anything left to read. */
bool topology_check_empty(const struct topology *t);

/* "out.mapped": the name of that socket in the picture. */
const char *topology_name_of(const struct topology *t, int fd);

/* Ordinary traffic of the sockets, each way; for when they have left their maps. */
void topology_check_traffic(const struct topology *t);

/* Whether the reader's kernel can do it: if it reads from a socket in a map, not all can. */
bool topology_target_can(const struct topology *t, enum feature feature);

/* Its reads get bytes, not messages: of a stream, and on most kernels of any socket in a map. */
bool topology_merges(const struct topology *t);

#endif /* TOPOLOGY_H */
