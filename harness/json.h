/* SPDX-License-Identifier: GPL-2.0-only */
/* Results in the terms of JSON, with the same keys in each report. */
#ifndef JSON_H
#define JSON_H

#include <jansson.h>

#include "harness/report.h"

/* Logs hold what programs printed, and JSON only takes UTF-8. text: or NULL, which is "". */
json_t *json_text(const char *text);

/* A run of one subtest. */
json_t *json_describe_subtest(const struct plan_item *item, const struct result *result);

/* Add to root: what is known before the first subtest runs; the counts and whatever ended the run. */
void json_describe_run(json_t *root, const struct run_info *info);
void json_describe_summary(json_t *root, const struct run_info *info);

/* The whole document, so far. */
json_t *json_describe(const struct run_info *info);

#endif /* JSON_H */
