// SPDX-License-Identifier: GPL-2.0-only
/*
 * JSON lines: an object for each event, written when it happens, so that all of it is there of a
 * runner that dies. "event" is "begin", "result" (of one run of one subtest) or "end"; the other keys
 * are those of the JSON document.
 */
#include <errno.h>
#include <string.h>

#include "harness/json.h"
#include "harness/output.h"

static struct output output;
static FILE *out; /* NULL: nobody wants to read it */

static void put_event(json_t *event)
{
	json_dumpf(event, out, JSON_COMPACT);
	fputc('\n', out);
	output_flush(&output, out);
	json_decref(event);
}

static int jsonl_begin(const struct run_info *info)
{
	const char *path = info->options->output[FORMAT_JSONL];

	return path ? output_begin(&output, path) : 0;
}

static void jsonl_round(const struct run_info *info)
{
	json_t *event;

	if (output.path && info->round == 1)
		out = output_stream(&output);
	if (!out || info->round > 1)
		return;
	event = json_pack("{s:s, s:i, s:i}", "event", "begin", "tests",
			  (int)plan_count_selected_tests(info->plan), "subtests",
			  (int)info->plan->nr_selected);
	json_describe_run(event, info);
	put_event(event);
}

static void jsonl_result(const struct run_info *info, const struct plan_item *item,
			 const struct result *result)
{
	json_t *event, *sub;

	if (!out)
		return;
	event = json_pack("{s:s, s:i, s:s, s:i}", "event", "result", "round", (int)info->round,
			  "test", item->test->name, "test_number", (int)item->test_number);
	sub = json_describe_subtest(item, result);
	json_object_update(event, sub);
	json_decref(sub);
	put_event(event);
}

static int jsonl_end(const struct run_info *info)
{
	json_t *event = json_pack("{s:s}", "event", "end");
	int err = output.path ? -EIO : 0;

	json_describe_summary(event, info);
	if (out) {
		put_event(event);
		err = output_close_stream(&output, out);
	} else {
		json_decref(event);
	}
	output_end(&output);
	return err;
}

const struct reporter report_jsonl = {
	.begin = jsonl_begin,
	.round = jsonl_round,
	.result = jsonl_result,
	.end = jsonl_end,
};
