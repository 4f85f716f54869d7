/* SPDX-License-Identifier: GPL-2.0-only */
/* The BPF programs of progs/timeline.bpf.c: which of them a kernel can have, and what they see. */
#ifndef TRACER_H
#define TRACER_H

#include <stdbool.h>
#include <stdint.h>

#include "progs/timeline.h"

/* Do as if the kernel had no BTF: kprobes, and what can be known without. */
extern bool tracer_without_btf;

/*
 * Attach what the kernel lets attach; each event that is collected goes to on_event. What cannot be
 * shown is a gap, and no error: a kernel that does not let itself be traced at all has nothing else.
 */
void tracer_attach(void (*on_event)(const struct timeline_event *e));
void tracer_detach(void);

/* Begin to watch a network namespace, or no longer do so. Without BTF, all of them are watched. */
void tracer_watch(uint32_t netns, bool on);

/* Readable when there are events to collect; -1: nothing is attached. */
int tracer_fd(void);
void tracer_collect(void);

/* Events for which there was no room, and bits of enum timeline_point for what is not shown. */
uint64_t tracer_lost(void);
uint64_t tracer_unseen(void);

/* The gaps in words: a line, or "". */
const char *tracer_gaps(void);

#endif /* TRACER_H */
