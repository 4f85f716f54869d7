/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The delivery timeline of a traced subtest: what the subtest itself records, and what a list of
 * events means. The events of the kernel are the business of harness/trace.h.
 */
#ifndef TIMELINE_H
#define TIMELINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "progs/timeline.h"

/* ---- In the subtest ---------------------------------------------------------------------------- */

#define TIMELINE_NAMES_MAX 1024
#define TIMELINE_PAGE_MAX  8192

struct timeline_name {
	uint64_t cookie;
	char name[TIMELINE_TEXT_MAX];
};

/* Shared with the runner, so that it outlives the subtest. The first events are kept. */
struct timeline_page {
	atomic_uint nr_events; /* may count beyond the array */
	char failure[256];     /* what the first check that failed says; "": none has */
	atomic_uint nr_names;
	struct timeline_name names[TIMELINE_NAMES_MAX];
	struct timeline_event events[TIMELINE_PAGE_MAX];
};

/* From now on, record into the page; without one, what follows does next to nothing. */
void timeline_start(struct timeline_page *page);

/* fd: the socket that it is about, or -1. For value and more see enum timeline_point. */
void timeline_record(enum timeline_point point, int fd, int64_t value, uint64_t more);

/* A check failed, and says this. */
void timeline_fail(enum timeline_check about, const char *says);

/* A verdict is due about len bytes; target: the socket to redirect to, reader: who reads; or -1. */
void timeline_expect(int verdict, size_t len, int target, int reader);

/* Call this socket so. The latest name counts. */
void timeline_name_socket(int fd, const char *name);

/*
 * This socket takes part, even if nobody names it. Where the kernel has no BTF, nothing else tells
 * whose it is.
 */
void timeline_know_socket(int fd);

/* ---- What it means ----------------------------------------------------------------------------- */

struct timeline {
	struct timeline_event *events; /* in the order of time */
	unsigned int nr_events;
	const struct timeline_name *names;
	unsigned int nr_names;
	uint64_t unseen; /* bits of enum timeline_point: points that this kernel does not show */
	uint64_t lost;	 /* events for which there was no room */
	const char *failure; /* what the first check that failed says; NULL: not known */
};

/* One event in words. */
struct timeline_line {
	double us; /* since the send */
	unsigned int cpu, tid;
	char thread[TIMELINE_TEXT_MAX];
	const char *event;
	char socket[TIMELINE_TEXT_MAX + 8]; /* "": none */
	char detail[128];		    /* "": nothing more to say */
	unsigned int times;		    /* in a row; the first of them is shown */
};

/*
 * The part that is about the failed delivery: from the first send whose data had not been read
 * when the first check failed, or if none did, the last one. False: nothing was sent.
 */
bool timeline_cut(const struct timeline *all, struct timeline *part);

/*
 * After this event the worker of e->target is due. Where the compiler has inlined what puts an skb
 * on the backlog, the verdict has to do: the one follows the other, on the same thread.
 */
bool timeline_queues_work(const struct timeline *t, const struct timeline_event *e);

/* The words for event i of such a part. */
void timeline_describe(const struct timeline *part, unsigned int i, struct timeline_line *line);

/* What became of the data, in a line, with the function where the trail ends. */
void timeline_conclude(const struct timeline *part, char *text, size_t size);

#endif /* TIMELINE_H */
