// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "harness/latency.h"
#include "harness/timeline.h"

struct latency {
	struct wakeup *wakeups;
	size_t nr;
};

/* ---- The worker's part ------------------------------------------------------------------------- */

static int64_t find_run(const struct timeline *t, unsigned int queued)
{
	const struct timeline_event *work = &t->events[queued];

	for (unsigned int i = queued + 1; i < t->nr_events; i++) {
		const struct timeline_event *e = &t->events[i];

		if (e->point == TL_WORK_RUNS && e->sock == work->target)
			return (int64_t)(e->ns - work->ns);
	}
	return -1;
}

static int64_t find_worker(const struct timeline *t, const struct wakeup *w)
{
	for (unsigned int i = 0; i < t->nr_events; i++) {
		const struct timeline_event *e = &t->events[i];

		if (timeline_queues_work(t, e) && e->ns >= w->verdict_ns && e->ns <= w->woken_ns)
			return find_run(t, i);
	}
	return -1;
}

void latency_add_worker(struct wakeup *wakeups, unsigned int n, const struct timeline *timeline)
{
	for (unsigned int i = 0; i < n; i++)
		wakeups[i].worker_ns = find_worker(timeline, &wakeups[i]);
}

/* ---- The table --------------------------------------------------------------------------------- */

uint64_t percentile(const uint64_t *sorted, size_t n, unsigned int p)
{
	size_t rank = (n * p + 99) / 100;

	return sorted[rank ? rank - 1 : 0];
}

struct latency *latency_create(void)
{
	return calloc(1, sizeof(struct latency));
}

int latency_add(struct latency *l, const struct wakeup *w, size_t n)
{
	struct wakeup *more = n ? reallocarray(l->wakeups, l->nr + n, sizeof(*more)) : NULL;

	if (!n)
		return 0;
	if (!more)
		return -ENOMEM;
	memcpy(more + l->nr, w, n * sizeof(*w));
	l->wakeups = more;
	l->nr += n;
	return 0;
}

static int compare_rows(const void *a, const void *b)
{
	const struct wakeup_path *x = &((const struct wakeup *)a)->path;
	const struct wakeup_path *y = &((const struct wakeup *)b)->path;

	return strcmp(x->hook, y->hook) ?: strcmp(x->out, y->out) ?:
	       strcmp(x->direction, y->direction);
}

static int compare_values(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void print_values(uint64_t *values, size_t n, FILE *file)
{
	static const unsigned int shown[] = { 50, 90, 99, 100 };

	qsort(values, n, sizeof(*values), compare_values);
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		if (n)
			fprintf(file, " %9.1f", (double)percentile(values, n, shown[i]) / 1000);
		else
			fprintf(file, " %9s", "-");
	}
}

static void print_row(const struct wakeup *w, size_t n, uint64_t *values, FILE *file)
{
	size_t nr_known = 0;

	fprintf(file, "%-15s %-14s %-9s %6zu", w->path.hook, w->path.out, w->path.direction, n);
	for (size_t i = 0; i < n; i++)
		values[i] = w[i].woken_ns - w[i].verdict_ns;
	print_values(values, n, file);
	for (size_t i = 0; i < n; i++) {
		if (w[i].worker_ns >= 0)
			values[nr_known++] = (uint64_t)w[i].worker_ns;
	}
	fputs(" |", file);
	print_values(values, nr_known, file);
	fputc('\n', file);
}

void latency_print(struct latency *l, FILE *file)
{
	uint64_t *values = calloc(l->nr + 1, sizeof(*values));

	if (!l->nr || !values) {
		free(values);
		return;
	}
	qsort(l->wakeups, l->nr, sizeof(*l->wakeups), compare_rows);
	fprintf(file,
		"Latency in us, from the verdict to the reader's wake-up; right of the bar: of this, "
		"until the backlog worker began\n"
		"%-15s %-14s %-9s %6s %9s %9s %9s %9s | %9s %9s %9s %9s\n",
		"hook", "reader", "direction", "count", "p50", "p90", "p99", "max", "p50", "p90",
		"p99", "max");
	for (size_t i = 0, n; i < l->nr; i += n) {
		for (n = 1; i + n < l->nr && !compare_rows(&l->wakeups[i], &l->wakeups[i + n]);)
			n++;
		print_row(&l->wakeups[i], n, values, file);
	}
	free(values);
}

void latency_free(struct latency *l)
{
	if (!l)
		return;
	free(l->wakeups);
	free(l);
}
