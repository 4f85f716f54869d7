/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests as tables of scenarios: what happens, on which ways that data can take through a program,
 * between sockets of which kinds. A scenario becomes a subtest for each way and each pair of kinds
 * that fit together:
 *
 *	PATH/KINDS/NAME, such as "sk_skb-ingress/tcp4/fin-behind-data"
 *
 * KINDS is that of both pairs, or "tcp4-unix_stream": that of the incoming one and of the other.
 */
#ifndef SCENARIO_H
#define SCENARIO_H

#include "harness/harness.h"
#include "harness/topology.h"

/* Ways through a program, a bit each, so that a scenario has a set of them. */
enum {
	SKB_PASS = 1 << 0,	 /* sk_skb, passed: from in.peer to in.mapped */
	SKB_INGRESS = 1 << 1,	 /* sk_skb, redirected: from in.peer to out.mapped */
	SKB_EGRESS = 1 << 2,	 /* the same to out.peer */
	PARSER_PASS = 1 << 3,	 /* with a parser; from TCP only */
	PARSER_INGRESS = 1 << 4, /* the same, redirected */
	PARSER_EGRESS = 1 << 5,
	MSG_PASS = 1 << 6,    /* sk_msg: from in.mapped to in.peer; TCP only */
	MSG_INGRESS = 1 << 7, /* redirected: from in.mapped to out.mapped */
	MSG_EGRESS = 1 << 8,  /* the same to out.peer */

	ANY_PASS = SKB_PASS | PARSER_PASS,
	ANY_INGRESS = SKB_INGRESS | PARSER_INGRESS | MSG_INGRESS,
	ANY_EGRESS = SKB_EGRESS | PARSER_EGRESS | MSG_EGRESS,
};

/* Names of kinds; out NULL: the same as in. A list ends with an empty entry. */
struct kinds {
	const char *in, *out;
};

struct scenario {
	const char *name;
	unsigned int paths;
	const struct kinds *kinds;
	bool (*of)(const struct sock_kind *kind); /* or: the kinds it is for, in both pairs */
	void (*run)(struct topology *t);	  /* which is open, with all its sockets empty */
	struct redirect with;			  /* what else the topology is to be */
	unsigned int value;	  /* whatever tells scenarios with the same function apart */
	const void *data;	  /* the same, where a number is not enough */
	feature_set needs;	  /* besides those of the topology */
	const struct fix *guards; /* ends with an empty entry; NULL: none */
};

/* The subtests of a table: as describe() and run() of struct test. */
bool scenario_describe(const struct scenario *table, size_t n, unsigned int i, struct subtest *sub);
void scenario_run(const struct scenario *table, size_t n, unsigned int i);

/* The scenario that runs. */
const struct scenario *this_scenario(void);

#endif /* SCENARIO_H */
