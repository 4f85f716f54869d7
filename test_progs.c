// SPDX-License-Identifier: GPL-2.0-only
/* Runs the tests in prog_tests/; see README.md. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "harness/bench.h"
#include "harness/expect.h"
#include "harness/html.h"
#include "harness/known.h"
#include "harness/options.h"
#include "harness/plan.h"
#include "harness/probe.h"
#include "harness/report.h"
#include "harness/runner.h"

static int complain(int status, const char *text)
{
	fprintf(stderr, "test_progs: %s\n", text);
	return status;
}

static int end_of_list(void)
{
	return fflush(stdout) || ferror(stdout)
		       ? complain(EXIT_SETUP, "cannot write to standard output")
		       : EXIT_PASSED;
}

static int list_plan(const struct plan *plan)
{
	const struct test *last = NULL;

	for (unsigned int i = 0; i < plan->nr_selected; i++) {
		const struct plan_item *item = plan->order[i];
		char number[32];

		if (item->test != last)
			printf("#%-7u %s\n", item->test_number, item->test->name);
		last = item->test;
		snprintf(number, sizeof(number), "%u/%u", item->test_number, item->subtest_number);
		printf("#%-7s %s/%s\n", number, item->test->name, item->subtest.name);
	}
	return end_of_list();
}

static int count_plan(const struct plan *plan)
{
	printf("%u/%u\n", plan_count_selected_tests(plan), plan->nr_selected);
	return end_of_list();
}

/* The features that are required, and that the kernel lacks; NULL: it has them all. */
static char *find_missing(const struct options *options)
{
	char line[512], *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	for (enum feature f = 0; file && f < NR_FEATURES; f++) {
		if ((options->require & feature_bit(f)) && !have_feature(f))
			fprintf(file, "Required: %s\n", feature_missing(f, line, sizeof(line)));
	}
	if (file)
		fclose(file);
	if (text && *text)
		return text;
	free(text);
	return NULL;
}

/* All that the selected subtests ask for, and what is required anyway. */
static feature_set find_wanted(const struct options *options, const struct plan *plan)
{
	feature_set set = options->require;

	for (unsigned int i = 0; i < plan->nr_selected; i++) {
		const struct subtest *sub = &plan->order[i]->subtest;

		set |= sub->needs | sub->wants | sub->uses;
	}
	return set;
}

static int begin_reports(const struct run_info *info)
{
	for (unsigned int i = 0; i < nr_reporters; i++) {
		if (reporters[i]->begin && reporters[i]->begin(info))
			return EXIT_USAGE_ERROR;
	}
	return EXIT_PASSED;
}

static int preflight_and_run(struct run_info *info, struct plan *plan)
{
	const struct options *options = info->options;
	char text[512];
	char *missing;
	int status = begin_reports(info);

	if (status)
		return status;
	if (probe_features(find_wanted(options, plan), text, sizeof(text)) != PREFLIGHT_OK)
		return complain(EXIT_SETUP, text);
	info->missing = missing = find_missing(options);
	status = run_plan(info, plan);
	free(info->kernel_log);
	free(missing);
	return status;
}

/* The known failures, if there is a list. False, and a line in error: it cannot be used. */
static bool load_expect(const struct run_info *info, struct expect **expect, char *error,
			size_t size)
{
	const char *path = info->options->expect_path;

	if (!path)
		return true;
	*expect = expect_load(path, info->kernel, error, size);
	return *expect && known_check(*expect, info->plan, error, size);
}

/* What the user wants. False, and a line in error: that is nothing. */
static bool select_subtests(const struct options *options, struct plan *plan, char *error,
			    size_t size)
{
	if (!selection_apply(options->selection, plan, error, size))
		return false;
	if (options->matrix && !plan_narrow(plan, is_matrix_cell)) {
		snprintf(error, size, "nothing that is selected belongs to the redirect matrix");
		return false;
	}
	return !options->nr_shards || shard_apply(plan, options->shard, options->nr_shards,
						  options->durations, error, size);
}

static int select_and_run(struct run_info *info, struct plan *plan)
{
	const struct options *options = info->options;
	struct expect *expect = NULL;
	char error[PATH_MAX + 256];
	int status;

	if (!load_expect(info, &expect, error, sizeof(error))) {
		status = complain(EXIT_USAGE_ERROR, error);
	} else if (!select_subtests(options, plan, error, sizeof(error))) {
		status = complain(EXIT_NO_MATCH, error);
	} else {
		info->expect = expect;
		plan_set_order(plan, options->shuffle ? &options->seed : NULL);
		status = options->list	  ? list_plan(plan)
			 : options->count ? count_plan(plan)
					  : preflight_and_run(info, plan);
	}
	expect_free(expect);
	return status;
}

static int make_page(const struct options *options)
{
	return html_merge(options->page_path, options->page_files, options->nr_page_files)
		       ? EXIT_USAGE_ERROR
		       : EXIT_PASSED;
}

int main(int argc, char **argv)
{
	struct options options;
	struct run_info info = { .options = &options };
	struct utsname uts;
	struct plan *plan;
	int status;

	options_parse(&options, argc, argv);
	if (options.page_path) {
		status = make_page(&options);
		options_free(&options);
		return status;
	}
	info.plan = plan = plan_create(options.bench ? &bench_test : NULL);
	if (!plan)
		return complain(EXIT_SETUP, "cannot make a plan of the tests");
	uname(&uts);
	snprintf(info.kernel, sizeof(info.kernel), "%s", uts.release);
	snprintf(info.machine, sizeof(info.machine), "%s", uts.machine);
	status = select_and_run(&info, plan);
	options_free(&options);
	plan_free(plan);
	return status;
}
