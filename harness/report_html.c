// SPDX-License-Identifier: GPL-2.0-only
/* The results as a page for a browser, written when all of them are there. */
#include <errno.h>
#include <jansson.h>

#include "harness/html.h"
#include "harness/json.h"
#include "harness/output.h"
#include "harness/report.h"

static struct output output;

static int html_begin(const struct run_info *info)
{
	const char *path = info->options->output[FORMAT_HTML];

	return path ? output_begin(&output, path) : 0;
}

static int write_page(const struct run_info *info)
{
	FILE *file = output_open(&output);
	json_t *runs;

	if (!file)
		return -EIO;
	runs = json_array();
	json_array_append_new(runs,
			      html_describe_run(info->kernel, json_describe(info), NULL, NULL));
	output.err = html_write(file, runs);
	json_decref(runs);
	return output_close(&output, file);
}

static void html_round(const struct run_info *info)
{
	if (output.path && info->round == 1)
		output_forget(&output);
}

static int html_end(const struct run_info *info)
{
	int err = output.path ? write_page(info) : 0;

	output_end(&output);
	return err;
}

const struct reporter report_html = {
	.begin = html_begin,
	.round = html_round,
	.end = html_end,
};
