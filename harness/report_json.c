// SPDX-License-Identifier: GPL-2.0-only
/*
 * The results as JSON, with the keys of upstream's test_progs and more. The file is replaced as a
 * whole, so whoever reads it, after whatever happened to the runner, finds valid JSON.
 */
#include <errno.h>
#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/delivery.h"
#include "harness/json.h"
#include "harness/latency.h"
#include "harness/output.h"
#include "harness/report.h"
#include "network_helpers.h"

/* Writing takes longer the more results there are; it may take this part of the time, no more. */
#define WRITE_SHARE 10

static struct output output;

static uint64_t last_write_end, last_write_took;
static bool pending; /* there are results that have not been written */

static double milliseconds(uint64_t ns)
{
	return (double)ns / NSEC_PER_MSEC;
}

json_t *json_text(const char *text)
{
	json_t *string = json_string(text ?: "");
	char *ascii, *c;

	if (string)
		return string;
	ascii = strdup(text);
	for (c = ascii; c && *c; c++) {
		if (*c & 0x80)
			*c = '?';
	}
	string = json_string(ascii ?: "");
	free(ascii);
	return string;
}

static json_t *describe_dims(const struct subtest *sub)
{
	json_t *dims = json_object();

	for (unsigned int i = 0; i < sub->nr_dims; i++)
		json_object_set_new(dims, sub->dims[i].key, json_text(sub->dims[i].value));
	return dims;
}

static json_t *describe_guards(const struct subtest *sub)
{
	json_t *guards = json_array();

	for (unsigned int i = 0; i < sub->nr_guards; i++)
		json_array_append_new(guards,
				      json_pack("{s:s, s:s}", "commit", sub->guards[i].commit,
						"subject", sub->guards[i].subject));
	return guards;
}

static json_t *describe_known(const struct result *r)
{
	json_t *known = json_array();

	for (unsigned int i = 0; r->known[i]; i++) {
		json_t *block = json_object();

		json_object_set_new(block, "fix", json_text(r->known[i]->fix));
		if (r->known[i]->fixed)
			json_object_set_new(block, "fixed", json_text(r->known[i]->fixed));
		json_object_set_new(block, "why", json_text(r->known[i]->why));
		json_array_append_new(known, block);
	}
	return known;
}

/* Merged into the subtest that was traced. */
static json_t *describe_delivery(const struct delivery *d)
{
	json_t *lines = json_array();

	for (unsigned int i = 0; i < d->nr_lines; i++) {
		const struct timeline_line *line = &d->lines[i];

		json_array_append_new(
			lines, json_pack("{s:f, s:i, s:o, s:i, s:s, s:o, s:o, s:i}", "us", line->us,
					 "cpu", (int)line->cpu, "thread", json_text(line->thread),
					 "tid", (int)line->tid, "event", line->event, "socket",
					 json_text(line->socket), "detail", json_text(line->detail),
					 "times", (int)line->times));
	}
	return json_pack("{s:o, s:i, s:o, s:o}", "timeline", lines, "timeline_left_out",
			 (int)d->left_out, "timeline_gaps", json_text(d->gaps), "conclusion",
			 json_text(d->conclusion));
}

static json_t *describe_flow(const struct bench_flow *flow)
{
	return json_pack("{s:f, s:I, s:I}", "bytes_per_s", flow->bytes_per_s, "p50_ns",
			 (json_int_t)flow->p50_ns, "p99_ns", (json_int_t)flow->p99_ns);
}

static json_t *describe_bench(const struct bench *bench)
{
	return json_pack("{s:o, s:o}", "sockmap", describe_flow(&bench->sockmap), "plain",
			 describe_flow(&bench->plain));
}

static json_t *describe_wakeups(const struct result *r)
{
	json_t *wakeups = json_array();

	for (unsigned int i = 0; i < r->nr_wakeups; i++) {
		const struct wakeup *w = &r->wakeups[i];
		json_t *wakeup =
			json_pack("{s:s, s:s, s:s, s:s, s:I}", "hook", w->path.hook, "in",
				  w->path.in, "out", w->path.out, "direction", w->path.direction,
				  "ns", (json_int_t)(w->woken_ns - w->verdict_ns));

		if (w->worker_ns >= 0)
			json_object_set_new(wakeup, "worker_ns", json_integer(w->worker_ns));
		json_array_append_new(wakeups, wakeup);
	}
	return wakeups;
}

json_t *json_describe_subtest(const struct plan_item *item, const struct result *r)
{
	static const char *const verdicts[] = {
		[VERDICT_PASS] = "pass",
		[VERDICT_FAIL] = "fail",
		[VERDICT_SKIP] = "skip",
		[VERDICT_XFAIL] = "xfail",
	};
	json_t *sub = json_object();

	json_object_set_new(sub, "name", json_text(item->subtest.name));
	json_object_set_new(sub, "number", json_integer(item->subtest_number));
	json_object_set_new(sub, "verdict", json_text(verdicts[r->verdict]));
	json_object_set_new(sub, "failed", json_boolean(r->verdict == VERDICT_FAIL));
	json_object_set_new(sub, "skipped", json_boolean(r->verdict == VERDICT_SKIP));
	json_object_set_new(sub, "message", json_text(r->log));
	if (r->verdict == VERDICT_FAIL || r->verdict == VERDICT_XFAIL)
		json_object_set_new(sub, "reason", json_text(r->reason));
	if (r->also)
		json_object_set_new(sub, "also", json_text(r->also));
	if (r->known)
		json_object_set_new(sub, "known", describe_known(r));
	if (r->unknown)
		json_object_set_new(sub, "unknown", json_text(r->unknown));
	if (r->verdict == VERDICT_SKIP)
		json_object_set_new(sub, "skip_reason", json_text(r->reason));
	if (r->notes && *r->notes)
		json_object_set_new(sub, "notes", json_text(r->notes));
	if (r->observed && *r->observed)
		json_object_set_new(sub, "observed", json_text(r->observed));
	if (r->kernel_log)
		json_object_set_new(sub, "kernel_log", json_text(r->kernel_log));
	json_object_set_new(sub, "checks", json_integer(r->checks));
	json_object_set_new(sub, "failed_checks", json_integer(r->failed_checks));
	json_object_set_new(sub, "duration_ms", json_real(milliseconds(r->duration_ns)));
	if (r->bench.sockmap.bytes_per_s > 0)
		json_object_set_new(sub, "bench", describe_bench(&r->bench));
	if (r->nr_wakeups)
		json_object_set_new(sub, "wakeups", describe_wakeups(r));
	if (r->delivery) {
		json_t *delivery = describe_delivery(r->delivery);

		json_object_update(sub, delivery);
		json_decref(delivery);
	}
	json_object_set_new(sub, "runs", json_integer(item->runs));
	json_object_set_new(sub, "failed_runs", json_integer(item->failed_runs));
	json_object_set_new(sub, "dimensions", describe_dims(&item->subtest));
	json_object_set_new(sub, "guards", describe_guards(&item->subtest));
	return sub;
}

static json_t *describe_test(const struct plan *plan, const struct plan_item *first)
{
	enum verdict verdict = test_verdict(plan, first->test);
	json_t *subtests = json_array();

	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const struct plan_item *item = &plan->items[i];

		if (item->test == first->test && item->result.verdict != VERDICT_NONE)
			json_array_append_new(subtests, json_describe_subtest(item, &item->result));
	}
	return json_pack("{s:s, s:i, s:s, s:b, s:o}", "name", first->test->name, "number",
			 (int)first->test_number, "message", "", "failed", verdict == VERDICT_FAIL,
			 "subtests", subtests);
}

void json_describe_summary(json_t *root, const struct run_info *info)
{
	struct summary sum = summarize(info->plan);
	json_t *counts =
		json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:f}", "success",
			  (int)sum.passed_tests, "success_subtest", (int)sum.passed, "skipped",
			  (int)sum.skipped, "failed", (int)sum.failed_tests, "failed_subtest",
			  (int)sum.failed, "xfail_subtest", (int)sum.xfailed, "xpass_subtest",
			  (int)sum.xpassed, "not_run", (int)sum.not_run, "interrupted",
			  info->interrupted, "duration_ms", milliseconds(info->duration_ns));

	json_object_update(root, counts);
	json_decref(counts);
	json_object_set_new(root, "splats", json_integer(sum.splats));
	json_object_set_new(root, "leaks", json_integer(sum.leaks));
	if (info->missing)
		json_object_set_new(root, "missing", json_text(info->missing));
	if (info->kernel_log)
		json_object_set_new(root, "kernel_log", json_text(info->kernel_log));
}

void json_describe_run(json_t *root, const struct run_info *info)
{
	json_object_set_new(root, "kernel", json_text(info->kernel));
	json_object_set_new(root, "machine", json_text(info->machine));
	json_object_set_new(root, "command_line", json_text(info->options->command_line));
	if (info->expect)
		json_object_set_new(root, "expect",
				    info->expect->path ? json_text(info->expect->path)
						       : json_null());
	if (info->options->shuffle)
		json_object_set_new(root, "seed", json_integer(info->options->seed));
}

json_t *json_describe(const struct run_info *info)
{
	json_t *results = json_array(), *root = json_object();
	const struct test *last = NULL;

	for (unsigned int i = 0; i < info->plan->nr_items; i++) {
		const struct plan_item *item = &info->plan->items[i];

		if (!item->selected || item->test == last)
			continue;
		last = item->test;
		if (test_verdict(info->plan, item->test) != VERDICT_NONE)
			json_array_append_new(results, describe_test(info->plan, item));
	}
	json_describe_summary(root, info);
	json_describe_run(root, info);
	json_object_set_new(root, "results", results);
	return root;
}

static int write_results(const struct run_info *info)
{
	FILE *file = output_open(&output);
	json_t *root;

	if (!file)
		return -EIO;
	root = json_describe(info);
	/* What goes wrong here is seen when the file is closed. */
	errno = 0;
	json_dumpf(root, file, JSON_INDENT(1));
	fputc('\n', file);
	json_decref(root);
	/*
	 * Else each subtest pays, since its process inherits the heap: glibc puts the pieces that were
	 * freed together at the next large allocation, and the process gets a copy of each page of them.
	 */
	malloc_trim(0);
	return output_close(&output, file);
}

static int json_begin(const struct run_info *info)
{
	const char *path = info->options->output[FORMAT_JSON];

	return path ? output_begin(&output, path) : 0;
}

static void json_round(const struct run_info *info)
{
	if (output.tmp_path && info->round == 1)
		write_results(info);
}

/* Nanoseconds until results may be written again. */
static uint64_t time_to_wait(void)
{
	uint64_t next = last_write_end + WRITE_SHARE * last_write_took, now = now_ns();

	return now < next ? next - now : 0;
}

static void write_pending(const struct run_info *info)
{
	uint64_t start = now_ns();

	if (!pending || time_to_wait())
		return;
	write_results(info);
	pending = false;
	last_write_end = now_ns();
	last_write_took = last_write_end - start;
}

static void json_result(const struct run_info *info, const struct plan_item *item,
			const struct result *result)
{
	(void)item;
	(void)result;
	pending = output.tmp_path != NULL;
	write_pending(info);
}

/* What comes after a result may hang for long, so that one does not wait for the next. */
static void json_progress(const struct run_info *info, unsigned int done, const char *running)
{
	(void)done;
	(void)running;
	write_pending(info);
}

static int json_due_ms(void)
{
	return pending ? (int)(time_to_wait() / NSEC_PER_MSEC) + 1 : -1;
}

static int json_end(const struct run_info *info)
{
	int err = output.path ? write_results(info) : 0;

	output_end(&output);
	return err;
}

const struct reporter report_json = {
	.begin = json_begin,
	.round = json_round,
	.result = json_result,
	.end = json_end,
	.progress = json_progress,
	.due_ms = json_due_ms,
};
