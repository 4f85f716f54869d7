/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the running kernel can do, as far as tests depend on it. Each feature is found out by trying
 * it, never from the version of the kernel, and has a name for --require and for reports.
 */
#ifndef FEATURE_H
#define FEATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sock_kind;

/* A set of features, a bit each. */
typedef unsigned __int128 feature_set;

#define SOCK_KINDS_MAX 12

enum feature {
	FEAT_SOCKMAP,
	FEAT_SOCKHASH,
	FEAT_SK_MSG, /* program types */
	FEAT_SK_SKB,
	FEAT_SK_REUSEPORT,
	FEAT_MSG_VERDICT, /* attach types */
	FEAT_STREAM_VERDICT,
	FEAT_SKB_VERDICT,
	FEAT_LINK,
	FEAT_UNIX_OOB,
	FEAT_QUERY,	     /* BPF_PROG_QUERY of a map */
	FEAT_PARSER_LOOKS,   /* and does not touch: one that does is refused */
	FEAT_PACKET_UPDATE,  /* programs that see packets may update maps of sockets */
	FEAT_ITERATOR,	     /* BPF iterators over maps of sockets */
	FEAT_TLS,	     /* by the kernel, of TCP sockets */
	FEAT_MPTCP,	     /* sockets of it */
	FEAT_CGROUP,	     /* of the second version, for programs of all sockets */
	FEAT_IO_URING,	     /* io_uring_setup(2) is there, and allowed */
	FEAT_POLL_MULTISHOT, /* io_uring: one request, many completions */
	FEAT_MAY_CRASH,	     /* the machine: whoever runs the tests has allowed what can crash it */
	FEAT_KNOWN_RACES,    /* likewise: has asked for what all kernels are known to fail at */
	FEAT_MSG_AFTER_DROP, /* a program that dropped a message sees the next one */
	FEAT_EMPTY_DATAGRAM, /* one does not spoil the queue of a socket in a map */
	FEAT_FAILSLAB,	     /* allocations fail on request */
	NR_COMMON_FEATURES,

	/* The others are about one kind of socket each, in the order of sock_kinds[]. */
	FEAT_SOCKET = NR_COMMON_FEATURES,			  /* the kernel has it */
	FEAT_INSERT = FEAT_SOCKET + SOCK_KINDS_MAX,		  /* into a map */
	FEAT_FIONREAD = FEAT_INSERT + SOCK_KINDS_MAX,		  /* counts redirected data */
	FEAT_FIONREAD_NATIVE = FEAT_FIONREAD + SOCK_KINDS_MAX,	  /* counts other data, in a map */
	FEAT_RECV_WAKEUP = FEAT_FIONREAD_NATIVE + SOCK_KINDS_MAX, /* redirected data ends recv(2) */
	FEAT_BOUNDARIES = FEAT_RECV_WAKEUP + SOCK_KINDS_MAX, /* of datagrams, when redirected */
	NR_FEATURES = FEAT_BOUNDARIES + SOCK_KINDS_MAX,
};

_Static_assert(NR_FEATURES <= 8 * sizeof(feature_set), "a feature_set has a bit for each");

static inline feature_set feature_bit(enum feature feature)
{
	return (feature_set)1 << feature;
}

/* The feature as it concerns one kind of socket, such as (FEAT_INSERT, udp4). */
enum feature feature_of_kind(enum feature feature, const struct sock_kind *kind);

/* Whether this kernel has it. For a subtest that runs; probed before, so this is only a look-up. */
bool have_feature(enum feature feature);

/* "insert_udp4": static storage. NULL past the last one, and for numbers that are not in use. */
const char *feature_name(enum feature feature);

/* Why it is missing and what to do about it: "no X (ERRNO); needs CONFIG_..."; in buf. */
const char *feature_missing(enum feature feature, char *buf, size_t size);

#endif /* FEATURE_H */
