/* SPDX-License-Identifier: GPL-2.0-only */
/* Reporters turn results into something to read: one file and one row in reporters[] for each. */
#ifndef REPORT_H
#define REPORT_H

#include <stdbool.h>

#include "harness/expect.h"
#include "harness/options.h"
#include "harness/plan.h"

struct run_info {
	const struct options *options;
	const struct plan *plan;
	const struct expect *expect; /* the known failures; NULL: none are wanted */
	char kernel[128];	     /* release */
	char machine[65];	     /* architecture */
	const char *missing; /* required features that the kernel lacks, a line each; NULL: none */
	char *kernel_log;    /* a splat that no subtest has caused; NULL: none */
	bool interrupted;
	bool revisable;	    /* a subtest that has passed may still turn out to have lost memory */
	unsigned int round; /* of --repeat, from 1 */
	uint64_t duration_ns;
};

struct summary {
	unsigned int passed_tests, failed_tests, skipped_tests;
	unsigned int passed, failed, skipped, not_run; /* subtests */
	unsigned int xfailed, withheld;		       /* known failures; those not run for it */
	unsigned int splats,
		leaks;	      /* subtests that made the kernel complain, left something behind */
	unsigned int xpassed; /* passed, and listed as known failures */
};

struct reporter {
	/* 0, or -errno and an explanation on stderr: nothing may run then. */
	int (*begin)(const struct run_info *info);
	/* A round of --repeat begins. */
	void (*round)(const struct run_info *info);
	/* In the order of the plan. result is of this round; item->result sums up all of them. */
	void (*result)(const struct run_info *info, const struct plan_item *item,
		       const struct result *result);
	/* 0, or -errno and an explanation on stderr: the report is not complete. */
	int (*end)(const struct run_info *info);
	/* Something goes on: for whoever watches. running: what runs now. */
	void (*progress)(const struct run_info *info, unsigned int done, const char *running);
	/* In how many milliseconds it wants progress() to be called, whatever happens; -1: never. */
	int (*due_ms)(void);
};

extern const struct reporter report_expect;
extern const struct reporter report_github;
extern const struct reporter report_html;
extern const struct reporter report_human;
extern const struct reporter report_json;
extern const struct reporter report_jsonl;
extern const struct reporter report_junit;
extern const struct reporter report_ktap;
extern const struct reporter report_matrix;

extern const struct reporter *const reporters[];
extern const unsigned int nr_reporters;

/*
 * It is a cell of the redirect matrix: its dimensions have hook, direction, in and out, and if they
 * have a variant, it is "plain".
 */
bool is_matrix_cell(const struct subtest *sub);

/* Count the results so far. */
struct summary summarize(const struct plan *plan);

/* The verdict on a whole test, from those of its selected subtests that have run. */
enum verdict test_verdict(const struct plan *plan, const struct test *test);

/* True when each selected subtest of that test has run in that round. */
bool test_is_done(const struct plan *plan, const struct test *test, unsigned int round);

#endif /* REPORT_H */
