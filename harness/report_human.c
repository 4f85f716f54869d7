// SPDX-License-Identifier: GPL-2.0-only
/* The report that people and scripts know from test_progs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/delivery.h"
#include "harness/latency.h"
#include "harness/output.h"
#include "harness/report.h"
#include "harness/trace.h"
#include "network_helpers.h"

#define RED	   "\033[31m"
#define GREEN	   "\033[32m"
#define YELLOW	   "\033[33m"
#define RESET	   "\033[0m"
#define ERASE_LINE "\r\033[K"

static struct output output;
static FILE *out; /* NULL: nobody wants to read it */
static bool colour;
static bool live;      /* a terminal, where a line can be erased again */
static bool live_line; /* such a line is on it */
static struct latency *latency;

static const struct {
	const char *word;
	const char *colour;
} words[] = {
	[VERDICT_NONE] = { "NOT RUN", YELLOW }, [VERDICT_PASS] = { "OK", GREEN },
	[VERDICT_FAIL] = { "FAIL", RED },	[VERDICT_SKIP] = { "SKIP", YELLOW },
	[VERDICT_XFAIL] = { "XFAIL", YELLOW },
};

static void erase_live_line(void)
{
	if (live_line)
		fputs(ERASE_LINE, out);
	live_line = false;
}

static void print_verdict(enum verdict verdict)
{
	fprintf(out, "%s%s%s", colour ? words[verdict].colour : "", words[verdict].word,
		colour ? RESET : "");
}

static void print_list(const struct run_info *info)
{
	if (info->expect && info->expect->path)
		fprintf(out, "Known failures: %s\n", info->expect->path);
	else if (info->expect)
		fprintf(out, "Known failures: none, %s has no list for %s\n",
			info->options->expect_path, info->kernel);
}

static int human_begin(const struct run_info *info)
{
	const char *path = info->options->output[FORMAT_HUMAN];

	return path ? output_begin(&output, path) : 0;
}

static void start_report(const struct run_info *info)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	out = output_stream(&output);
	if (!out)
		return;
	latency = info->options->latency ? latency_create() : NULL;
	live = isatty(fileno(out)) && term && strcmp(term, "dumb");
	colour = live && !(no_color && *no_color);
	if (info->options->shuffle)
		fprintf(out, "Shuffled with --shuffle=%u\n", info->options->seed);
	print_list(info);
}

static void human_round(const struct run_info *info)
{
	if (output.path && info->round == 1)
		start_report(info);
	if (!out)
		return;
	erase_live_line();
	if (info->options->repeat != 1)
		fprintf(out, "Round %u:\n", info->round);
}

static void print_indented(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		fprintf(out, "    %.*s\n", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

static void print_subtest_name(const struct plan_item *item)
{
	char number[32];

	snprintf(number, sizeof(number), "%u/%u", item->test_number, item->subtest_number);
	fprintf(out, "#%-7s %s/%s:", number, item->test->name, item->subtest.name);
}

static void print_guards(const struct plan_item *item)
{
	for (unsigned int i = 0; i < item->subtest.nr_guards; i++)
		fprintf(out, "    guards %s (\"%s\")\n", item->subtest.guards[i].commit,
			item->subtest.guards[i].subject);
}

/* The reason is often the first line of the log; once is enough. */
static void print_reason(const struct result *r)
{
	if (r->reason && !(r->log && strstr(r->log, r->reason)))
		print_indented(r->reason);
}

static void print_fixes(const struct result *r)
{
	for (unsigned int i = 0; r->known[i]; i++)
		fprintf(out, "%s%s", i ? "; " : "", r->known[i]->fix);
}

static void print_unknown(const struct result *r)
{
	if (!r->unknown)
		return;
	fprintf(out, "    is listed as a known failure (fix: ");
	print_fixes(r);
	fprintf(out, "), but without this: %s\n", r->unknown);
}

static void print_delivery(const struct result *r)
{
	if (r->delivery)
		delivery_print(r->delivery, out, "    ");
}

static void print_failure(const struct plan_item *item, const struct result *r)
{
	if (r->log)
		print_indented(r->log);
	print_reason(r);
	if (r->also)
		print_indented(r->also);
	if (r->kernel_log)
		print_indented(r->kernel_log);
	print_delivery(r);
	print_unknown(r);
	print_guards(item);
}

static void print_known(const struct plan_item *item, const struct result *r)
{
	print_failure(item, r);
	for (unsigned int i = 0; r->known[i]; i++)
		fprintf(out, "    known: %s%s%s%s\n", r->known[i]->why,
			r->known[i]->fixed ? " (fixed in " : "", r->known[i]->fixed ?: "",
			r->known[i]->fixed ? ")" : "");
}

static double longest_wakeup_ms(const struct result *r)
{
	uint64_t longest = 0;

	for (unsigned int i = 0; i < r->nr_wakeups; i++) {
		uint64_t ns = r->wakeups[i].woken_ns - r->wakeups[i].verdict_ns;

		longest = ns > longest ? ns : longest;
	}
	return (double)longest / NSEC_PER_MSEC;
}

/* What only those want to see who asked for everything. */
static void print_details(const struct result *r)
{
	if (r->log)
		print_indented(r->log);
	print_delivery(r);
	fprintf(out, "    %u checks, %.1f ms", r->checks, (double)r->duration_ns / NSEC_PER_MSEC);
	if (r->nr_wakeups)
		fprintf(out, ", longest wake-up %.3f ms", longest_wakeup_ms(r));
	fputc('\n', out);
}

/* What a verdict is not understood without. */
static void print_remark(const struct result *r)
{
	if (r->verdict == VERDICT_SKIP && r->reason)
		fprintf(out, " (%s)", r->reason);
	if (r->verdict == VERDICT_FAIL || !r->known)
		return;
	fprintf(out, r->verdict == VERDICT_PASS ? " (listed as a known failure: "
		     : r->withheld		? " (not run; fix: "
						: " (fix: ");
	print_fixes(r);
	fprintf(out, r->verdict == VERDICT_PASS ? "; fixed here?)" : ")");
}

static void print_result(const struct run_info *info, const struct plan_item *item,
			 const struct result *r)
{
	print_subtest_name(item);
	print_verdict(r->verdict);
	print_remark(r);
	fputc('\n', out);
	if (r->verdict == VERDICT_FAIL)
		print_failure(item, r);
	else if (info->options->verbosity > 0 && r->verdict == VERDICT_XFAIL)
		print_known(item, r);
	else if (info->options->verbosity > 0 && r->verdict == VERDICT_PASS)
		print_details(r);
	else
		print_delivery(r);
}

static void human_result(const struct run_info *info, const struct plan_item *item,
			 const struct result *result)
{
	if (!out)
		return;
	erase_live_line();
	print_result(info, item, result);
	if (latency && latency_add(latency, result->wakeups, result->nr_wakeups))
		fprintf(out, "    no memory for its latencies\n");
	if (test_is_done(info->plan, item->test, info->round)) {
		fprintf(out, "#%-7u %s:", item->test_number, item->test->name);
		print_verdict(test_verdict(info->plan, item->test));
		fputc('\n', out);
	}
	output_flush(&output, out);
}

/* The failed subtests as -n takes them: "1/36-37,73". */
static void print_failed_numbers(const struct plan *plan, const struct test *test)
{
	unsigned int first = 0, last = 0;
	const char *comma = "";

	for (unsigned int i = 0; i <= plan->nr_items; i++) {
		const struct plan_item *item = i < plan->nr_items ? &plan->items[i] : NULL;
		bool failed = item && item->test == test && item->result.verdict == VERDICT_FAIL;

		if (failed && first && item->subtest_number == last + 1) {
			last++;
			continue;
		}
		if (first && (failed || i == plan->nr_items)) {
			fprintf(out, first == last ? "%s%u" : "%s%u-%u", comma, first, last);
			comma = ",";
		}
		if (failed)
			first = last = item->subtest_number;
	}
}

static void print_rerun(const struct plan *plan)
{
	const struct test *last = NULL;

	fprintf(out, "\nOnly the failed ones again:");
	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const struct plan_item *item = &plan->items[i];

		if (item->result.verdict != VERDICT_FAIL || item->test == last)
			continue;
		last = item->test;
		fprintf(out, " -n %u/", item->test_number);
		print_failed_numbers(plan, item->test);
	}
	fputc('\n', out);
}

static void print_failures_again(const struct run_info *info)
{
	fprintf(out, "\nAll error logs:\n");
	for (unsigned int i = 0; i < info->plan->nr_items; i++) {
		const struct plan_item *item = &info->plan->items[i];

		if (item->result.verdict != VERDICT_FAIL)
			continue;
		print_subtest_name(item);
		print_verdict(VERDICT_FAIL);
		if (item->runs > 1)
			fprintf(out, " (%u of %u runs)", item->failed_runs, item->runs);
		fputc('\n', out);
		print_failure(item, &item->result);
	}
	print_rerun(info->plan);
}

static bool is_first_with(const struct plan *plan, unsigned int i, const char *line, size_t len)
{
	while (i-- > 0) {
		const char *notes = plan->items[i].result.notes;
		const char *found = notes ? strstr(notes, line) : NULL;

		if (found && strncmp(found, line, len) == 0)
			return false;
	}
	return true;
}

/* What passed without all of it having been tried is worth a line, each only once. */
static void print_notes(const struct plan *plan)
{
	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const char *notes = plan->items[i].result.notes;

		for (; notes && *notes; notes += strcspn(notes, "\n"), notes += *notes == '\n') {
			char *line = strndup(notes, strcspn(notes, "\n"));

			if (line && is_first_with(plan, i, line, strlen(line)))
				fprintf(out, "Note: %s\n", line);
			free(line);
		}
	}
}

/* A list that is longer than it need be hides the return of what has been fixed. */
static void print_passed_though_listed(const struct run_info *info)
{
	for (unsigned int i = 0; i < info->plan->nr_items; i++) {
		const struct plan_item *item = &info->plan->items[i];

		if (item->result.verdict == VERDICT_PASS && item->result.known)
			fprintf(out, "Passed, though %s lists it: %s/%s\n", info->expect->path,
				item->test->name, item->subtest.name);
	}
}

static void print_summary(const struct summary *sum)
{
	fprintf(out, "Summary: %u/%u PASSED, %u SKIPPED, %u FAILED", sum->passed_tests, sum->passed,
		sum->skipped, sum->failed_tests);
	if (sum->xfailed)
		fprintf(out, ", %u XFAIL", sum->xfailed);
	if (sum->xpassed)
		fprintf(out, ", %u XPASS", sum->xpassed);
	fputc('\n', out);
}

static void print_count(unsigned int n, const char *what)
{
	if (n)
		fprintf(out, "%u subtest%s %s.\n", n, n == 1 ? "" : "s", what);
}

static void print_latency(void)
{
	if (!latency)
		return;
	latency_print(latency, out);
	if (*trace_gaps())
		fprintf(out, "(%s)\n", trace_gaps());
	latency_free(latency);
}

static int human_end(const struct run_info *info)
{
	struct summary sum = summarize(info->plan);
	int err;

	if (!out)
		return output.path ? -EIO : 0;
	erase_live_line();
	if (sum.failed)
		print_failures_again(info);
	print_notes(info->plan);
	if (info->missing)
		fprintf(out, "%s", info->missing);
	if (info->kernel_log) {
		fprintf(out, "\nThe kernel complained, but not about what a subtest did:\n");
		print_indented(info->kernel_log);
	}
	if (sum.not_run)
		fprintf(out, "%s: %u subtests have not run.\n",
			info->interrupted ? "Interrupted" : "Stopped", sum.not_run);
	print_passed_though_listed(info);
	print_count(sum.splats, "made the kernel complain");
	print_count(sum.leaks, "left something behind");
	print_latency();
	if (info->options->bench)
		bench_print(info->plan, out);
	print_summary(&sum);
	err = output_close_stream(&output, out);
	output_end(&output);
	return err;
}

static void human_progress(const struct run_info *info, unsigned int done, const char *running)
{
	if (!live)
		return;
	erase_live_line();
	/* The length is bounded, since a wrapped line cannot be erased. */
	fprintf(out, "[%u/%u] %.60s", done, info->plan->nr_selected, running);
	output_flush(&output, out);
	live_line = true;
}

const struct reporter report_human = {
	.begin = human_begin,
	.round = human_round,
	.result = human_result,
	.end = human_end,
	.progress = human_progress,
};
