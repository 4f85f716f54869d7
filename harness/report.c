// SPDX-License-Identifier: GPL-2.0-only
#include "harness/report.h"
#include "network_helpers.h"

const struct reporter *const reporters[] = {
	&report_expect, &report_github, &report_html, &report_human,  &report_json,
	&report_jsonl,	&report_junit,	&report_ktap, &report_matrix,
};

const unsigned int nr_reporters = ARRAY_SIZE(reporters);

bool test_is_done(const struct plan *plan, const struct test *test, unsigned int round)
{
	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const struct plan_item *item = &plan->items[i];

		if (item->test == test && item->selected && item->runs < round)
			return false;
	}
	return true;
}

enum verdict test_verdict(const struct plan *plan, const struct test *test)
{
	static const unsigned int weight[] = {
		[VERDICT_SKIP] = 1,
		[VERDICT_XFAIL] = 2,
		[VERDICT_PASS] = 3,
	};
	enum verdict verdict = VERDICT_NONE;

	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const struct plan_item *item = &plan->items[i];

		if (item->test != test || !item->selected)
			continue;
		if (item->result.verdict == VERDICT_FAIL)
			return VERDICT_FAIL;
		/* One subtest that passed is enough; a test is skipped when all of it is. */
		if (weight[item->result.verdict] > weight[verdict])
			verdict = item->result.verdict;
	}
	return verdict;
}

static void count_test(struct summary *sum, const struct plan *plan, const struct test *test)
{
	switch (test_verdict(plan, test)) {
	case VERDICT_PASS:
		sum->passed_tests += test_is_done(plan, test, 1);
		break;
	case VERDICT_FAIL:
		sum->failed_tests++;
		break;
	case VERDICT_SKIP:
		sum->skipped_tests += test_is_done(plan, test, 1);
		break;
	case VERDICT_XFAIL:
	case VERDICT_NONE:
		break;
	}
}

static void count_subtest(struct summary *sum, const struct result *result)
{
	sum->splats += result->kernel_log != NULL;
	sum->leaks += result->leaked;
	switch (result->verdict) {
	case VERDICT_PASS:
		sum->passed++;
		sum->xpassed += result->known != NULL;
		break;
	case VERDICT_XFAIL:
		sum->xfailed++;
		sum->withheld += result->withheld;
		break;
	case VERDICT_FAIL:
		sum->failed++;
		break;
	case VERDICT_SKIP:
		sum->skipped++;
		break;
	case VERDICT_NONE:
		sum->not_run++;
		break;
	}
}

struct summary summarize(const struct plan *plan)
{
	const struct test *last = NULL;
	struct summary sum = {};

	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const struct plan_item *item = &plan->items[i];

		if (!item->selected)
			continue;
		if (item->test != last)
			count_test(&sum, plan, item->test);
		last = item->test;
		count_subtest(&sum, &item->result);
	}
	return sum;
}
