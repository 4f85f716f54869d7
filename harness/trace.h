/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracing of subtests by the runner, which survives them: the programs of progs/timeline.bpf.c,
 * attached while a traced subtest runs, and what they saw.
 */
#ifndef TRACE_H
#define TRACE_H

#include <stdint.h>

#include "harness/timeline.h"

struct trace; /* what is known of one run of a subtest */

/*
 * Begin to watch a network namespace, and attach the programs if nothing is watched yet. What the
 * kernel lacks is left out, and named in the report. NULL: out of memory.
 */
struct trace *trace_begin(int netns_fd);

/* What the subtest is to record its own events into. */
struct timeline_page *trace_page(const struct trace *trace);

/* Readable when there are events to collect; -1: nothing is attached. */
int trace_fd(void);
void trace_collect(void);

/* Stop watching, and detach the programs with the last trace. */
void trace_end(struct trace *trace);

/* All events so far, valid as long as the trace. */
const struct timeline *trace_timeline(struct trace *trace);

/* Why there are no events of the kernel, or which are missing: a line, or "". */
const char *trace_gaps(void);

void trace_free(struct trace *trace);

#endif /* TRACE_H */
