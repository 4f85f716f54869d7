// SPDX-License-Identifier: GPL-2.0-only
/*
 * The results as JSON, with the keys of upstream's test_progs and more. The file is replaced as a
 * whole, so whoever reads it, after whatever happened to the runner, finds valid JSON.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/delivery.h"
#include "harness/latency.h"
#include "harness/report.h"
#include "network_helpers.h"

/* Writing takes longer the more results there are; it may take this part of the time, no more. */
#define WRITE_SHARE 10

/* Both NULL where the target cannot be replaced: it gets the results at the end. */
static char *final_path, *tmp_path;

static uint64_t last_write_end, last_write_took;
static bool pending; /* there are results that have not been written */

static double milliseconds(uint64_t ns)
{
	return (double)ns / NSEC_PER_MSEC;
}

/* Logs hold what programs printed, and JSON only takes UTF-8. */
static json_t *json_text(const char *text)
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

static json_t *describe_subtest(const struct plan_item *item)
{
	static const char *const verdicts[] = {
		[VERDICT_PASS] = "pass",
		[VERDICT_FAIL] = "fail",
		[VERDICT_SKIP] = "skip",
		[VERDICT_XFAIL] = "xfail",
	};
	const struct result *r = &item->result;
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
			json_array_append_new(subtests, describe_subtest(item));
	}
	return json_pack("{s:s, s:i, s:s, s:b, s:o}", "name", first->test->name, "number",
			 (int)first->test_number, "message", "", "failed", verdict == VERDICT_FAIL,
			 "subtests", subtests);
}

static json_t *describe_run(const struct run_info *info)
{
	struct summary sum = summarize(info->plan);
	json_t *results = json_array();
	const struct test *last = NULL;
	json_t *root;

	for (unsigned int i = 0; i < info->plan->nr_items; i++) {
		const struct plan_item *item = &info->plan->items[i];

		if (!item->selected || item->test == last)
			continue;
		last = item->test;
		if (test_verdict(info->plan, item->test) != VERDICT_NONE)
			json_array_append_new(results, describe_test(info->plan, item));
	}
	root = json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:f}", "success",
			 (int)sum.passed_tests, "success_subtest", (int)sum.passed, "skipped",
			 (int)sum.skipped, "failed", (int)sum.failed_tests, "failed_subtest",
			 (int)sum.failed, "xfail_subtest", (int)sum.xfailed, "xpass_subtest",
			 (int)sum.xpassed, "not_run", (int)sum.not_run, "interrupted",
			 info->interrupted, "duration_ms", milliseconds(info->duration_ns));
	json_object_set_new(root, "kernel", json_text(info->kernel));
	json_object_set_new(root, "command_line", json_text(info->options->command_line));
	if (info->expect)
		json_object_set_new(root, "expect",
				    info->expect->path ? json_text(info->expect->path)
						       : json_null());
	if (info->options->shuffle)
		json_object_set_new(root, "seed", json_integer(info->options->seed));
	if (info->missing)
		json_object_set_new(root, "missing", json_text(info->missing));
	if (info->kernel_log)
		json_object_set_new(root, "kernel_log", json_text(info->kernel_log));
	json_object_set_new(root, "results", results);
	return root;
}

static int write_to(const char *path, int flags, json_t *root)
{
	int fd __auto_close = open(path, O_WRONLY | O_CLOEXEC | flags, 0666);

	if (fd < 0)
		return -errno;
	errno = 0;
	if (json_dumpfd(root, fd, JSON_INDENT(1)) || write(fd, "\n", 1) != 1)
		return -(errno ?: EIO);
	return 0;
}

static int write_results(const struct run_info *info)
{
	const char *path = info->options->json_path;
	json_t *root = describe_run(info);
	int err;

	if (!tmp_path) {
		bool is_stdout = strcmp(path, "-") == 0;

		err = is_stdout && json_dumpf(root, stdout, JSON_INDENT(1)) ? -EIO
		      : is_stdout ? -(putchar('\n') == EOF)
				  : write_to(path, 0, root);
	} else {
		err = write_to(tmp_path, O_CREAT | O_TRUNC, root);
		if (!err && rename(tmp_path, final_path))
			err = -errno;
		if (err)
			unlink(tmp_path);
	}
	json_decref(root);
	if (err)
		fprintf(stderr, "cannot write the results to %s: %s\n", path, strerror(-err));
	return err;
}

/* Not a pipe, not a terminal. */
static bool can_replace(const char *path)
{
	struct stat st;

	return strcmp(path, "-") && (stat(path, &st) || S_ISREG(st.st_mode));
}

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A link stays a link: it is what it points to that is replaced. */
static int find_paths(const char *path)
{
	final_path = realpath(path, NULL) ?: strdup(path);
	if (!final_path || asprintf(&tmp_path, "%s.tmp", final_path) < 0)
		return -ENOMEM;
	return 0;
}

/* Find out whether the results can be written, and leave those of an earlier run as they are. */
static int try_path(const char *path)
{
	int fd __auto_close = -1;

	if (strcmp(path, "-") == 0)
		return 0;
	if (!can_replace(path)) {
		/* Opening could wait for the reader of a pipe. */
		return is_directory(path) ? -EISDIR : access(path, W_OK) ? -errno : 0;
	}
	if (find_paths(path))
		return -ENOMEM;
	fd = open(tmp_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0)
		return -errno;
	return unlink(tmp_path) ? -errno : 0;
}

static int json_begin(const struct run_info *info)
{
	const char *path = info->options->json_path;
	int err = path ? try_path(path) : 0;

	if (err)
		fprintf(stderr, "%s: cannot write the results to %s: %s\n",
			program_invocation_short_name, path, strerror(-err));
	return err;
}

static void json_round(const struct run_info *info)
{
	if (tmp_path && info->round == 1)
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
	pending = tmp_path != NULL;
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
	int err = info->options->json_path ? write_results(info) : 0;

	free(tmp_path);
	free(final_path);
	tmp_path = final_path = NULL;
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
