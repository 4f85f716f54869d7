// SPDX-License-Identifier: GPL-2.0-only
/*
 * In a job of GitHub Actions: an annotation for each failure, and a summary of the step. Annotations
 * are commands to the runner, which looks for them on standard error as well; there they are in no
 * other report's way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness/report.h"

/* Of a step GitHub shows so many. */
#define ANNOTATIONS_MAX 10

/* A summary may have 1 MiB. */
#define FAILURES_MAX 50
#define LOG_MAX	     8192

static bool enabled;
static FILE *summary; /* NULL: there is none to write */

/* ---- Annotations ----------------------------------------------------------------------------- */

static void put_escaped(const char *text, size_t len, const char *special)
{
	for (size_t i = 0; i < len; i++)
		fprintf(stderr, strchr(special, text[i]) ? "%%%02X" : "%c", text[i]);
}

static void put_message(const char *text)
{
	put_escaped(text, strlen(text), "%\r\n");
}

static void put_property(const char *text, size_t len)
{
	put_escaped(text, len, "%\r\n:,");
}

/* A reason begins with FILE:LINE where a check failed. */
static void put_place(const char *reason)
{
	size_t file = strcspn(reason, ": \n");
	unsigned int line;

	if (sscanf(reason + file, ":%u: FAIL", &line) != 1)
		return;
	fputs("file=", stderr);
	put_property(reason, file);
	fprintf(stderr, ",line=%u,", line);
}

static void begin_annotation(const struct run_info *info, const char *reason, const char *title)
{
	fputs("::error ", stderr);
	put_place(reason);
	fputs("title=", stderr);
	put_property(title, strlen(title));
	fputs(" (Linux ", stderr);
	put_property(info->kernel, strlen(info->kernel));
	fputs(")::", stderr);
}

static void annotate(const struct run_info *info, const struct plan_item *item)
{
	const char *reason = item->result.reason ?: "";
	char title[2 * SUBTEST_NAME_MAX];

	snprintf(title, sizeof(title), "%s/%s", item->test->name, item->subtest.name);
	begin_annotation(info, reason, title);
	put_message(reason);
	for (unsigned int i = 0; i < item->subtest.nr_guards; i++) {
		const struct fix *fix = &item->subtest.guards[i];

		put_message("\nguards ");
		put_message(fix->commit);
		put_message(" (\"");
		put_message(fix->subject);
		put_message("\")");
	}
	fputc('\n', stderr);
}

static void annotate_run(const struct run_info *info, const char *text)
{
	begin_annotation(info, "", "test_progs");
	put_message(text);
	fputc('\n', stderr);
}

/* What is not about one subtest comes first. */
static unsigned int annotate_whole(const struct run_info *info)
{
	unsigned int nr = 0;

	if (info->missing && ++nr)
		annotate_run(info, info->missing);
	if (info->kernel_log && ++nr)
		annotate_run(info, info->kernel_log);
	if (info->interrupted && ++nr)
		annotate_run(info, "interrupted");
	return nr;
}

static void annotate_all(const struct run_info *info, unsigned int nr_failed)
{
	unsigned int room = ANNOTATIONS_MAX - annotate_whole(info);
	char text[64];

	if (nr_failed > room)
		room--;
	for (unsigned int i = 0; i < info->plan->nr_items; i++) {
		const struct plan_item *item = &info->plan->items[i];

		if (item->result.verdict != VERDICT_FAIL || room == 0)
			continue;
		annotate(info, item);
		room--;
		nr_failed--;
	}
	if (!nr_failed)
		return;
	snprintf(text, sizeof(text), "and %u failures more", nr_failed);
	annotate_run(info, text);
}

/* ---- Summary of the step --------------------------------------------------------------------- */

static void put_html(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		switch (text[i]) {
		case '<':
			fputs("&lt;", summary);
			break;
		case '>':
			fputs("&gt;", summary);
			break;
		case '&':
			fputs("&amp;", summary);
			break;
		default:
			fputc(text[i], summary);
		}
	}
}

/* Indented, which is Markdown for what is to be shown as it is, whatever it has in it. */
static void put_code(const char *text)
{
	size_t room = LOG_MAX;

	while (text && *text && room) {
		size_t len = strcspn(text, "\n");
		size_t shown = len < room ? len : room;

		fprintf(summary, "    %.*s\n", (int)shown, text);
		room -= shown;
		text += len + (text[len] == '\n');
	}
	if (text && *text)
		fputs("    ...\n", summary);
}

static void put_failure(const struct plan_item *item)
{
	const struct result *r = &item->result;
	const char *reason = r->reason ?: "";

	fputs("<details><summary><code>", summary);
	put_html(item->test->name, strlen(item->test->name));
	fputc('/', summary);
	put_html(item->subtest.name, strlen(item->subtest.name));
	fputs("</code>: ", summary);
	put_html(reason, strcspn(reason, "\n"));
	fputs("</summary>\n\n", summary);
	put_code(r->log && *r->log ? r->log : r->reason);
	put_code(r->also);
	put_code(r->kernel_log);
	for (unsigned int i = 0; i < item->subtest.nr_guards; i++)
		fprintf(summary, "    guards %s (\"%s\")\n", item->subtest.guards[i].commit,
			item->subtest.guards[i].subject);
	fputs("\n</details>\n\n", summary);
}

static void put_failures(const struct plan *plan, unsigned int nr_failed)
{
	unsigned int shown = 0;

	for (unsigned int i = 0; i < plan->nr_items && shown < FAILURES_MAX; i++) {
		if (plan->items[i].result.verdict != VERDICT_FAIL)
			continue;
		put_failure(&plan->items[i]);
		shown++;
	}
	if (nr_failed > shown)
		fprintf(summary, "And %u failures more.\n\n", nr_failed - shown);
}

static void put_whole(const char *title, const char *text)
{
	if (!text)
		return;
	fprintf(summary, "%s\n\n", title);
	put_code(text);
	fputc('\n', summary);
}

static void put_summary(const struct run_info *info, const struct summary *sum)
{
	fprintf(summary,
		"### test_progs, Linux %s, %s\n\n"
		"| passed | failed | skipped | known failures | not run |\n"
		"| -----: | -----: | ------: | -------------: | ------: |\n"
		"| %u | %u | %u | %u | %u |\n\n",
		info->kernel, info->machine, sum->passed, sum->failed, sum->skipped, sum->xfailed,
		sum->not_run);
	put_whole("Interrupted.", info->interrupted ? "" : NULL);
	put_whole("The kernel lacks what is required:", info->missing);
	put_whole("The kernel complained, but not about what a subtest did:", info->kernel_log);
	put_failures(info->plan, sum->failed);
}

/* ---- The reporter ---------------------------------------------------------------------------- */

static bool is_set(const char *name, const char *value)
{
	const char *is = getenv(name);

	return is && (value ? strcmp(is, value) == 0 : *is);
}

static int github_begin(const struct run_info *info)
{
	const char *path = getenv("GITHUB_STEP_SUMMARY");

	(void)info;
	enabled = is_set("GITHUB_ACTIONS", "true");
	if (!enabled || !is_set("GITHUB_STEP_SUMMARY", NULL))
		return 0;
	/* Other commands of the step have theirs in it. */
	summary = fopen(path, "ae");
	if (summary)
		return 0;
	fprintf(stderr, "%s: cannot write the summary to %s: %s\n", program_invocation_short_name,
		path, strerror(errno));
	return -EIO;
}

static int close_summary(void)
{
	bool bad = ferror(summary);

	bad |= fclose(summary) != 0;
	summary = NULL;
	if (bad)
		fprintf(stderr, "cannot write the summary to %s: %s\n",
			getenv("GITHUB_STEP_SUMMARY"), strerror(errno));
	return bad ? -EIO : 0;
}

static int github_end(const struct run_info *info)
{
	struct summary sum = summarize(info->plan);

	if (!enabled)
		return 0;
	annotate_all(info, sum.failed);
	if (!summary)
		return 0;
	put_summary(info, &sum);
	return close_summary();
}

const struct reporter report_github = {
	.begin = github_begin,
	.end = github_end,
};
