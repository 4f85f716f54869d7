// SPDX-License-Identifier: GPL-2.0-only
/*
 * KTAP, version 1: Documentation/dev-tools/ktap.rst of the kernel. Results come in the order of the
 * plan, each as soon as it is final and those before it are; who reads it sees from the plan what is
 * missing after the runner died.
 */
#include <errno.h>
#include <string.h>

#include "harness/delivery.h"
#include "harness/output.h"
#include "harness/report.h"

/* A diagnostic line with this cannot be taken for one that means something, such as "# Subtest:". */
#define DIAGNOSTIC "  #   "

static struct output output;
static FILE *out;			   /* NULL: nobody wants to read it */
static unsigned int reported;		   /* items before this one are written */
static unsigned int nr_tests, nr_subtests; /* numbers of the latest ones */

/* What follows a "#" is a directive. */
static void put_name(const char *name)
{
	for (; *name; name++)
		fputc(*name == '#' ? '_' : *name, out);
}

static void put_directive(const char *word, const char *why)
{
	fprintf(out, " # %s %.*s", word, (int)strcspn(why ?: "", "\n"), why ?: "");
}

static void put_diagnostics(const char *text)
{
	while (text && *text) {
		size_t len = strcspn(text, "\n");

		fprintf(out, DIAGNOSTIC "%.*s\n", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

static void put_guards(const struct subtest *sub)
{
	for (unsigned int i = 0; i < sub->nr_guards; i++)
		fprintf(out, DIAGNOSTIC "guards %s (\"%s\")\n", sub->guards[i].commit,
			sub->guards[i].subject);
}

static void put_failure(const struct plan_item *item)
{
	const struct result *r = &item->result;

	put_diagnostics(r->log);
	if (r->reason && !(r->log && strstr(r->log, r->reason)))
		put_diagnostics(r->reason);
	put_diagnostics(r->also);
	put_diagnostics(r->kernel_log);
	if (r->delivery)
		delivery_print(r->delivery, out, DIAGNOSTIC);
	put_guards(&item->subtest);
}

static void put_subtest(const struct plan_item *item)
{
	const struct result *r = &item->result;
	bool ok = r->verdict != VERDICT_FAIL && r->verdict != VERDICT_NONE;

	if (r->verdict == VERDICT_FAIL || r->verdict == VERDICT_XFAIL)
		put_failure(item);
	fprintf(out, "  %s %u - ", ok ? "ok" : "not ok", ++nr_subtests);
	put_name(item->subtest.name);
	if (r->verdict == VERDICT_SKIP)
		put_directive("SKIP", r->reason);
	if (r->verdict == VERDICT_XFAIL)
		put_directive("XFAIL", r->known[0]->why);
	fputc('\n', out);
}

static unsigned int count_subtests(const struct plan *plan, const struct test *test)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < plan->nr_items; i++)
		nr += plan->items[i].selected && plan->items[i].test == test;
	return nr;
}

static void begin_test(const struct plan *plan, const struct test *test)
{
	nr_subtests = 0;
	fprintf(out, "  KTAP version 1\n  # Subtest: %s\n  1..%u\n", test->name,
		count_subtests(plan, test));
}

static void end_test(const struct plan *plan, const struct test *test)
{
	enum verdict verdict = test_verdict(plan, test);
	bool whole = test_is_done(plan, test, 1);

	fprintf(out, "%s %u - %s", verdict == VERDICT_FAIL || !whole ? "not ok" : "ok", ++nr_tests,
		test->name);
	if (verdict == VERDICT_SKIP && whole)
		put_directive("SKIP", "all of it");
	if (verdict == VERDICT_XFAIL && whole)
		put_directive("XFAIL", "all of it");
	fputc('\n', out);
}

static const struct test *neighbour(const struct plan *plan, unsigned int i, int step)
{
	while ((i += step) < plan->nr_items) {
		if (plan->items[i].selected)
			return plan->items[i].test;
	}
	return NULL;
}

/* Write those that have run in all rounds; at the end, whatever there is. */
static void put_results(const struct plan *plan, unsigned int rounds, bool end)
{
	for (; reported < plan->nr_items; reported++) {
		const struct plan_item *item = &plan->items[reported];

		if (!item->selected)
			continue;
		if (!end && item->runs < rounds)
			break;
		if (neighbour(plan, reported, -1) != item->test)
			begin_test(plan, item->test);
		if (item->runs)
			put_subtest(item);
		if (neighbour(plan, reported, 1) != item->test)
			end_test(plan, item->test);
	}
	output_flush(&output, out);
}

static int ktap_begin(const struct run_info *info)
{
	const char *path = info->options->output[FORMAT_KTAP];

	return path ? output_begin(&output, path) : 0;
}

static void ktap_round(const struct run_info *info)
{
	if (output.path && info->round == 1)
		out = output_stream(&output);
	if (out && info->round == 1)
		fprintf(out, "KTAP version 1\n1..%u\n# kernel %s\n",
			plan_count_selected_tests(info->plan), info->kernel);
}

static void ktap_result(const struct run_info *info, const struct plan_item *item,
			const struct result *result)
{
	(void)item;
	(void)result;
	/* Which round is the last one is not known where only a failure ends it. */
	if (out && info->options->repeat && !info->revisable)
		put_results(info->plan, info->options->repeat, false);
}

static void put_remarks(const struct run_info *info, unsigned int not_run)
{
	put_diagnostics(info->missing);
	if (info->kernel_log)
		fprintf(out, "# the kernel complained, but not about what a subtest did:\n");
	put_diagnostics(info->kernel_log);
	if (not_run)
		fprintf(out, "# %s: %u subtests have not run\n",
			info->interrupted ? "interrupted" : "stopped", not_run);
}

static int ktap_end(const struct run_info *info)
{
	struct summary sum = summarize(info->plan);
	int err = output.path ? -EIO : 0;

	if (out) {
		put_results(info->plan, 0, true);
		put_remarks(info, sum.not_run);
		err = output_close_stream(&output, out);
	}
	output_end(&output);
	return err;
}

const struct reporter report_ktap = {
	.begin = ktap_begin,
	.round = ktap_round,
	.result = ktap_result,
	.end = ktap_end,
};
