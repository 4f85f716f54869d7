// SPDX-License-Identifier: GPL-2.0-only
/*
 * JUnit's XML, as Jenkins and GitLab read it: a testsuite for each test. It is written when all is
 * over, since half of it is no XML.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness/delivery.h"
#include "harness/output.h"
#include "harness/report.h"
#include "network_helpers.h"

static struct output output;

/* ---- XML ------------------------------------------------------------------------------------- */

/* The length of a UTF-8 sequence that XML 1.0 allows, or 0. */
static size_t utf8_length(const char *text)
{
	const unsigned char *c = (const unsigned char *)text;
	unsigned int code = c[0];
	size_t len = c[0] >= 0xf0 && c[0] < 0xf5 ? 4 : c[0] >= 0xe0 ? 3 : 2;

	if (c[0] < 0x80)
		return c[0] >= ' ' || strchr("\t\n\r", c[0]) ? 1 : 0;
	if (c[0] < 0xc2 || c[0] > 0xf4)
		return 0;
	code &= 0xff >> (len + 1);
	for (size_t i = 1; i < len; i++) {
		if ((c[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (c[i] & 0x3f);
	}
	if ((len == 3 && code < 0x800) || (len == 4 && (code < 0x10000 || code > 0x10ffff)))
		return 0;
	return (code & 0xfffff800) == 0xd800 || code == 0xfffe || code == 0xffff ? 0 : len;
}

/* For both content and attributes, which would lose their line ends otherwise. */
static void put_text(FILE *out, const char *text, bool attribute)
{
	static const char special[] = "&<>\"\r\n\t";
	static const char *const names[] = { "&amp;", "&lt;",  "&gt;", "&quot;",
					     "&#13;", "&#10;", "&#9;" };

	for (text = text ?: ""; *text;) {
		const char *c = strchr(special, *text);
		size_t len = utf8_length(text);

		if (c && (attribute || c - special < 5))
			fputs(names[c - special], out);
		else
			fprintf(out, "%.*s", len ? (int)len : 1, len ? text : "?");
		text += len ?: 1;
	}
}

static void put_attribute(FILE *out, const char *name, const char *value)
{
	fprintf(out, " %s=\"", name);
	put_text(out, value, true);
	fputc('"', out);
}

/* Only the first line, which is the reason. */
static void put_message(FILE *out, const char *text)
{
	char *line = strndup(text ?: "", strcspn(text ?: "", "\n"));

	put_attribute(out, "message", line);
	free(line);
}

static void put_seconds(FILE *out, uint64_t ns)
{
	fprintf(out, " time=\"%.3f\"", (double)ns / NSEC_PER_SEC);
}

/* ---- Subtests -------------------------------------------------------------------------------- */

static void put_block(FILE *out, const char *text)
{
	if (!text || !*text)
		return;
	put_text(out, text, false);
	if (text[strlen(text) - 1] != '\n')
		fputc('\n', out);
}

static void put_delivery(FILE *out, const struct delivery *delivery)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		return;
	delivery_print(delivery, file, "");
	fclose(file);
	put_block(out, text);
	free(text);
}

static void put_failure(FILE *out, const struct plan_item *item)
{
	const struct result *r = &item->result;

	fputs("   <failure type=\"FAIL\"", out);
	put_message(out, r->reason);
	fputc('>', out);
	put_block(out, r->reason);
	put_block(out, r->also);
	put_block(out, r->kernel_log);
	if (r->delivery)
		put_delivery(out, r->delivery);
	for (unsigned int i = 0; i < item->subtest.nr_guards; i++) {
		fprintf(out, "guards %s (", item->subtest.guards[i].commit);
		put_text(out, item->subtest.guards[i].subject, false);
		fputs(")\n", out);
	}
	fputs("</failure>\n", out);
}

static void put_skipped(FILE *out, const char *prefix, const char *why)
{
	char text[1200];

	snprintf(text, sizeof(text), "%s%s", prefix, why ?: "");
	fputs("   <skipped", out);
	put_message(out, text);
	fputs("/>\n", out);
}

static void put_verdict(FILE *out, const struct plan_item *item)
{
	const struct result *r = &item->result;

	switch (r->verdict) {
	case VERDICT_FAIL:
		put_failure(out, item);
		break;
	case VERDICT_SKIP:
		put_skipped(out, "", r->reason);
		break;
	case VERDICT_XFAIL:
		put_skipped(out, "known failure: ", r->known[0]->why);
		break;
	case VERDICT_NONE:
		put_skipped(out, "it has not run", "");
		break;
	case VERDICT_PASS:
		break;
	}
}

static void put_case(FILE *out, const struct plan_item *item)
{
	const struct result *r = &item->result;

	fputs("  <testcase", out);
	put_attribute(out, "classname", item->test->name);
	put_attribute(out, "name", item->subtest.name);
	put_seconds(out, r->duration_ns);
	fputs(">\n", out);
	put_verdict(out, item);
	if (r->log && *r->log) {
		fputs("   <system-out>", out);
		put_text(out, r->log, false);
		fputs("</system-out>\n", out);
	}
	fputs("  </testcase>\n", out);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

struct counts {
	unsigned int tests, failures, skipped;
	uint64_t ns;
};

/* test: NULL for all. */
static struct counts count_cases(const struct plan *plan, const struct test *test)
{
	struct counts counts = {};

	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const struct plan_item *item = &plan->items[i];

		if (!item->selected || (test && item->test != test))
			continue;
		counts.tests++;
		counts.failures += item->result.verdict == VERDICT_FAIL;
		counts.skipped += item->result.verdict != VERDICT_FAIL &&
				  item->result.verdict != VERDICT_PASS;
		counts.ns += item->result.duration_ns;
	}
	return counts;
}

static void put_counts(FILE *out, const struct counts *counts)
{
	fprintf(out, " tests=\"%u\" failures=\"%u\" errors=\"0\"", counts->tests, counts->failures);
}

static void put_property(FILE *out, const char *name, const char *value)
{
	fputs("   <property", out);
	put_attribute(out, "name", name);
	put_attribute(out, "value", value);
	fputs("/>\n", out);
}

static void put_properties(FILE *out, const struct run_info *info)
{
	fputs("  <properties>\n", out);
	put_property(out, "kernel", info->kernel);
	put_property(out, "machine", info->machine);
	put_property(out, "command_line", info->options->command_line);
	fputs("  </properties>\n", out);
}

static void put_suite(FILE *out, const struct run_info *info, const struct test *test)
{
	struct counts counts = count_cases(info->plan, test);

	fputs(" <testsuite", out);
	put_attribute(out, "name", test->name);
	put_counts(out, &counts);
	fprintf(out, " skipped=\"%u\"", counts.skipped);
	put_seconds(out, counts.ns);
	fputs(">\n", out);
	put_properties(out, info);
	for (unsigned int i = 0; i < info->plan->nr_items; i++) {
		const struct plan_item *item = &info->plan->items[i];

		if (item->selected && item->test == test)
			put_case(out, item);
	}
	fputs(" </testsuite>\n", out);
}

/* What is nobody's fault fails the run all the same. */
static void put_run(FILE *out, const struct run_info *info)
{
	if (!info->missing && !info->kernel_log && !info->interrupted)
		return;
	fputs(" <testsuite name=\"run\" tests=\"1\" failures=\"1\" errors=\"0\" skipped=\"0\" time=\"0\">\n"
	      "  <testcase classname=\"run\" name=\"run\" time=\"0\">\n   <failure type=\"FAIL\"",
	      out);
	put_message(out, info->interrupted ? "interrupted"
			 : info->kernel_log
				 ? "the kernel complained, but not about what a subtest did"
				 : info->missing);
	fputc('>', out);
	put_block(out, info->missing);
	put_block(out, info->kernel_log);
	fputs("</failure>\n  </testcase>\n </testsuite>\n", out);
}

static void put_document(FILE *out, const struct run_info *info)
{
	struct counts counts = count_cases(info->plan, NULL);
	bool run_failed = info->missing || info->kernel_log || info->interrupted;
	const struct test *last = NULL;

	counts.tests += run_failed;
	counts.failures += run_failed;
	fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"test_progs\"", out);
	put_counts(out, &counts);
	put_seconds(out, info->duration_ns);
	fputs(">\n", out);
	for (unsigned int i = 0; i < info->plan->nr_items; i++) {
		const struct plan_item *item = &info->plan->items[i];

		if (item->selected && item->test != last)
			put_suite(out, info, last = item->test);
	}
	put_run(out, info);
	fputs("</testsuites>\n", out);
}

/* ---- The reporter ---------------------------------------------------------------------------- */

static int junit_begin(const struct run_info *info)
{
	const char *path = info->options->output[FORMAT_JUNIT];

	return path ? output_begin(&output, path) : 0;
}

static void junit_round(const struct run_info *info)
{
	if (output.path && info->round == 1)
		output_forget(&output);
}

static int junit_end(const struct run_info *info)
{
	FILE *out = output.path ? output_open(&output) : NULL;
	int err = output.path ? -EIO : 0;

	if (out) {
		put_document(out, info);
		err = output_close(&output, out);
	}
	output_end(&output);
	return err;
}

const struct reporter report_junit = {
	.begin = junit_begin,
	.round = junit_round,
	.end = junit_end,
};
