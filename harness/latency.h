/* SPDX-License-Identifier: GPL-2.0-only */
/* How long readers wait for what was redirected to them: measured delays, summed up. */
#ifndef LATENCY_H
#define LATENCY_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct timeline;

/* A path of redirected data; the texts are static, so that the runner can read them, too. */
struct wakeup_path {
	const char *hook;
	const char *in, *out; /* kinds of sockets */
	const char *direction;
};

/* A delivery to a reader that slept. CLOCK_MONOTONIC, in nanoseconds. */
struct wakeup {
	struct wakeup_path path;
	uint64_t verdict_ns; /* when the verdict was given */
	uint64_t woken_ns;   /* when the reader was back from its sleep */
	int64_t worker_ns; /* of this, how long the queued work waited for its worker; -1: unknown */
};

/*
 * How long the work that was queued for each of these deliveries waited, as far as it was seen. What
 * has no worker, such as sk_msg, stays unknown.
 */
void latency_add_worker(struct wakeup *wakeups, unsigned int n, const struct timeline *timeline);

/* The least of n sorted values that p percent of them do not exceed; n > 0. */
uint64_t percentile(const uint64_t *sorted, size_t n, unsigned int p);

/*
 * Sums up any number of deliveries, by hook, kind of the reader's socket and direction: nearest-rank
 * percentiles in microseconds, a row for each. Nothing is printed for none.
 */
struct latency;
struct latency *latency_create(void);				      /* NULL: no memory */
int latency_add(struct latency *l, const struct wakeup *w, size_t n); /* 0 or -ENOMEM */
void latency_print(struct latency *l, FILE *file);
void latency_free(struct latency *l);

#endif /* LATENCY_H */
