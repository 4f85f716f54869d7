/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Measurements instead of tests: how fast data gets through sockmap, and how fast from one socket to
 * another without it. They run as subtests do, and have failed when a byte is lost.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>
#include <stdio.h>

struct plan;
struct test;

/* A subtest for each row; not one of the tests in prog_tests/. */
extern const struct test bench_test;

/* How long to send for the throughput, in milliseconds; half as long for the latency. */
extern unsigned int bench_time_ms;

struct bench_flow {
	double bytes_per_s;
	uint64_t p50_ns, p99_ns; /* from send(2) to a reader in poll(2), one message at a time */
};

struct bench {
	struct bench_flow sockmap;
	struct bench_flow plain; /* the same over a pair of sockets, of the incoming kind */
};

/* A row for each subtest that has measured something. */
void bench_print(const struct plan *plan, FILE *file);

#endif /* BENCH_H */
