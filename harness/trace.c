// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "harness/trace.h"
#include "harness/tracer.h"

/* A test that moves megabytes: of its kernel events, the latest this many are kept. */
#define EVENTS_MAX (1U << 16)

struct trace {
	struct trace *next;
	uint32_t netns;
	struct timeline_page *page;
	struct timeline_event *events; /* a ring, made when the first one comes */
	unsigned int nr_events;	       /* may count beyond it */
	struct timeline timeline;
	bool ended;
};

static struct trace *traces; /* those that are watched, the latest first */

/* ---- Collecting -------------------------------------------------------------------------------- */

/* The latest one: while a subtest is being cleaned up after, another namespace may get the number. */
static struct trace *find_trace(uint32_t netns)
{
	struct trace *t = traces;

	while (t && t->netns != netns)
		t = t->next;
	return t;
}

static void add_event(struct trace *t, const struct timeline_event *e)
{
	t->events = t->events ?: calloc(EVENTS_MAX, sizeof(*t->events));
	if (t->events)
		t->events[t->nr_events++ % EVENTS_MAX] = *e;
}

/* Whose it is shows later, if the kernel does not tell. */
static void on_event(const struct timeline_event *e)
{
	struct trace *t = e->netns ? find_trace(e->netns) : NULL;

	if (t)
		add_event(t, e);
	for (t = traces; t && !e->netns; t = t->next)
		add_event(t, e);
}

int trace_fd(void)
{
	return tracer_fd();
}

void trace_collect(void)
{
	tracer_collect();
}

const char *trace_gaps(void)
{
	return tracer_gaps();
}

/* ---- Traces ------------------------------------------------------------------------------------ */

struct trace *trace_begin(int netns_fd)
{
	struct trace *trace = calloc(1, sizeof(*trace));
	struct stat st;

	if (!trace)
		return NULL;
	trace->page = mmap(NULL, sizeof(*trace->page), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (trace->page == MAP_FAILED || fstat(netns_fd, &st)) {
		trace->page = trace->page == MAP_FAILED ? NULL : trace->page;
		trace->ended = true;
		trace_free(trace);
		return NULL;
	}
	trace->netns = (uint32_t)st.st_ino;
	if (!traces)
		tracer_attach(on_event);
	trace->next = traces;
	traces = trace;
	tracer_watch(trace->netns, true);
	return trace;
}

struct timeline_page *trace_page(const struct trace *trace)
{
	return trace->page;
}

void trace_end(struct trace *trace)
{
	struct trace **link = &traces;

	if (trace->ended)
		return;
	trace_collect();
	trace->timeline.lost = tracer_lost();
	trace->timeline.unseen = tracer_unseen();
	while (*link != trace)
		link = &(*link)->next;
	*link = trace->next;
	if (!find_trace(trace->netns))
		tracer_watch(trace->netns, false);
	trace->ended = true;
	if (!traces)
		tracer_detach();
}

static int compare_times(const void *a, const void *b)
{
	const struct timeline_event *x = a, *y = b;

	return x->ns < y->ns ? -1 : x->ns > y->ns;
}

static unsigned int at_most(unsigned int n, unsigned int max)
{
	return n < max ? n : max;
}

/* Where the kernel does not tell the namespace, a socket is the subtest's if that knows it. */
static bool is_own(const struct trace *trace, const struct timeline_event *e)
{
	for (unsigned int i = 0; !e->netns && i < trace->timeline.nr_names; i++) {
		if (trace->page->names[i].cookie == e->sock)
			return true;
	}
	return e->netns;
}

const struct timeline *trace_timeline(struct trace *trace)
{
	struct timeline *t = &trace->timeline;
	unsigned int own = at_most(atomic_load(&trace->page->nr_events), TIMELINE_PAGE_MAX);
	unsigned int theirs = at_most(trace->nr_events, EVENTS_MAX);

	free(t->events);
	t->nr_events = 0;
	t->failure = trace->page->failure;
	t->names = trace->page->names;
	t->nr_names = at_most(atomic_load(&trace->page->nr_names), TIMELINE_NAMES_MAX);
	t->events = calloc(own + theirs + 1, sizeof(*t->events));
	if (!t->events)
		return t;
	/* One that was being written when its writer was killed has no time. */
	for (unsigned int i = 0; i < own; i++) {
		if (trace->page->events[i].ns)
			t->events[t->nr_events++] = trace->page->events[i];
	}
	for (unsigned int i = 0; i < theirs; i++) {
		if (is_own(trace, &trace->events[i]))
			t->events[t->nr_events++] = trace->events[i];
	}
	qsort(t->events, t->nr_events, sizeof(*t->events), compare_times);
	return t;
}

void trace_free(struct trace *trace)
{
	if (!trace)
		return;
	trace_end(trace);
	if (trace->page)
		munmap(trace->page, sizeof(*trace->page));
	free(trace->timeline.events);
	free(trace->events);
	free(trace);
}
