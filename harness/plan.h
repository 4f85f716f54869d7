/* SPDX-License-Identifier: GPL-2.0-only */
/* The plan: every subtest of every test, in order, known before anything runs. */
#ifndef PLAN_H
#define PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/bench.h"
#include "harness/harness.h"

enum verdict {
	VERDICT_NONE, /* it has not run */
	VERDICT_PASS,
	VERDICT_FAIL,
	VERDICT_SKIP,
	VERDICT_XFAIL, /* it failed, or must not run, as the list of known failures says */
};

struct delivery;
struct wakeup;
struct expect_block;

struct result {
	enum verdict verdict;
	unsigned int checks;
	unsigned int failed_checks;
	bool sent; /* it came as far as to send anything */
	uint64_t duration_ns;
	struct wakeup *wakeups; /* the deliveries to readers that slept */
	unsigned int nr_wakeups;
	struct bench bench;	   /* of --bench; zeros: nothing was measured */
	char *reason;		   /* why it failed or was skipped, in a line; NULL: it passed */
	char *notes;		   /* "" or lines */
	char *observed;		   /* what became of the data, in a word; "": nobody said */
	char *log;		   /* what it printed */
	char *kernel_log;	   /* the kernel's messages that made it fail, or NULL */
	struct delivery *delivery; /* the timeline, where it was traced and sent anything; or NULL */
	bool leaked;		   /* it left something behind */
	char *also; /* what it left behind, when that is not the reason; NULL: nothing */
	/* Of --expect: the known failures that it is or, if it is none of them, that it has. */
	const struct expect_block **known; /* ends in NULL; NULL: none, or it was skipped */
	char *unknown;			   /* the part of the failure that no list knows, or NULL */
	bool withheld;			   /* it was not run, since the list says so */
};

void result_free(struct result *result);

struct plan_item {
	const struct test *test;
	unsigned int test_number;    /* from 1 */
	unsigned int subtest_number; /* from 1 */
	struct subtest subtest;
	bool selected;
	/* Of --repeat: the latest run, or the first one that failed. */
	struct result result;
	unsigned int runs;
	unsigned int failed_runs;
};

struct plan {
	struct plan_item *items; /* in the order in which they are numbered */
	unsigned int nr_items;
	unsigned int nr_tests;
	struct plan_item **order; /* the selected ones, in the order in which they run */
	unsigned int nr_selected;
};

/*
 * Ask all tests for their subtests, or just this one, which need not be among them. NULL: out of
 * memory, or a test that describes nonsense.
 */
struct plan *plan_create(const struct test *only);
void plan_free(struct plan *plan);

/* The value of one of its dimensions; NULL: it has no such one. */
const char *subtest_get_dim(const struct subtest *sub, const char *key);

/* Deselect what is not wanted; how many are left. */
unsigned int plan_narrow(struct plan *plan, bool (*is_wanted)(const struct subtest *sub));

/* Put the selected items into plan->order; shuffled where there is a seed. */
void plan_set_order(struct plan *plan, const uint32_t *seed);

/* Selected tests, of which there are fewer than selected subtests. */
unsigned int plan_count_selected_tests(const struct plan *plan);

#endif /* PLAN_H */
