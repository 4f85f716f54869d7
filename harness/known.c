// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/known.h"
#include "harness/splat.h"

static bool has_item(const struct expect_block *block, bool norun, const struct plan_item *item)
{
	return expect_has(block, norun, item->test->name, item->subtest.name, item->subtest.alias);
}

/* ---- Before the run -------------------------------------------------------------------------- */

static bool is_in_plan(const struct expect_name *name, const struct plan *plan)
{
	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const struct plan_item *item = &plan->items[i];

		if (name_glob_matches(&name->glob, item->test->name, item->subtest.name,
				      item->subtest.alias))
			return true;
	}
	return false;
}

bool known_check(const struct expect *expect, const struct plan *plan, char *error, size_t size)
{
	for (unsigned int i = 0; i < expect->nr_blocks; i++) {
		const struct expect_block *block = &expect->blocks[i];

		for (unsigned int k = 0; k < block->nr_names; k++) {
			const struct expect_name *name = &block->names[k];

			if (is_in_plan(name, plan))
				continue;
			snprintf(error, size, "%s:%u: no test matches \"%s\" (-l lists them)",
				 expect->path, name->line, name->text);
			return false;
		}
	}
	return true;
}

/* ---- One result ------------------------------------------------------------------------------ */

/* The blocks that have the subtest, with an end; NULL: none has it. */
static const struct expect_block **find_blocks(const struct expect *expect, bool norun,
					       const struct plan_item *item)
{
	const struct expect_block **blocks = calloc(expect->nr_blocks + 1, sizeof(*blocks));
	unsigned int nr = 0;

	if (!blocks)
		abort();
	for (unsigned int i = 0; i < expect->nr_blocks; i++) {
		if (has_item(&expect->blocks[i], norun, item))
			blocks[nr++] = &expect->blocks[i];
	}
	if (nr)
		return blocks;
	free(blocks);
	return NULL;
}

bool known_withhold(const struct expect *expect, const struct plan_item *item,
		    struct result *result)
{
	const struct expect_block **blocks = expect ? find_blocks(expect, true, item) : NULL;

	if (!blocks)
		return false;
	*result = (struct result){
		.verdict = VERDICT_XFAIL,
		.known = blocks,
		.withheld = true,
	};
	if (asprintf(&result->reason, "not run: %s", blocks[0]->why) < 0)
		result->reason = NULL;
	return true;
}

/* Whether a part of a failure is known, and by which of the blocks. */
struct explanation {
	const struct expect_block **blocks;
	bool *used; /* of each of them */
	char *unknown;
};

static bool explain(struct explanation *e, const char *text,
		    bool (*knows)(const struct expect_block *block, const char *text))
{
	bool found = false;

	for (unsigned int i = 0; e->blocks[i]; i++) {
		if (!knows(e->blocks[i], text))
			continue;
		e->used[i] = true;
		found = true;
	}
	if (!found && !e->unknown)
		e->unknown = strdup(text);
	return found;
}

static bool explain_splat(const char *message, void *arg)
{
	return explain(arg, message, expect_splat);
}

char *known_next_check(const char **log)
{
	static const char mark[] = ": FAIL: ";
	const char *line = *log;

	while (line && *line) {
		size_t len = strcspn(line, "\n");
		char *text = memmem(line, len, mark, sizeof(mark) - 1);
		const char *end = line + len;

		*log = *end ? end + 1 : end;
		if (text) {
			text += sizeof(mark) - 1;
			return strndup(text, end - text);
		}
		line = *log;
	}
	return NULL;
}

/* The failed checks, all of them: one that the log has lost may have been any. */
static bool explain_checks(struct explanation *e, const struct result *r)
{
	const char *log = r->log;
	unsigned int nr = 0;
	bool ok = true;
	char *text;

	while (ok && (text = known_next_check(&log))) {
		ok = explain(e, text, expect_says);
		free(text);
		nr++;
	}
	/* The first one is the reason, even of a subtest that has closed its log. */
	log = r->reason;
	if (ok && nr == 0 && (text = known_next_check(&log))) {
		ok = explain(e, text, expect_says);
		free(text);
		nr++;
	}
	if (ok && nr < r->failed_checks)
		ok = explain(e, "a failed check that is not in the log", expect_says);
	return ok;
}

bool known_is_splat(const struct result *r)
{
	return r->kernel_log && strncmp(r->reason, "the kernel", 10) == 0;
}

/* That of a failed check has been looked at, and what the kernel said comes next. */
static bool explain_reason(struct explanation *e, const struct result *r)
{
	bool is_check = strstr(r->reason, ": FAIL: ");

	return is_check || known_is_splat(r) || explain(e, r->reason, expect_says);
}

static bool is_known(struct explanation *e, const struct result *r)
{
	if (!explain_checks(e, r) || !explain_reason(e, r) ||
	    (r->also && !explain(e, r->also, expect_says)))
		return false;
	if (!r->kernel_log || splat_all_known(r->kernel_log, explain_splat, e))
		return true;
	if (!e->unknown)
		e->unknown = strdup("more messages of the kernel than fit");
	return false;
}

/* Only the blocks that were of use remain. */
static void keep_used(struct explanation *e)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; e->blocks[i]; i++) {
		if (e->used[i])
			e->blocks[nr++] = e->blocks[i];
	}
	e->blocks[nr] = NULL;
}

static void judge_failure(const struct expect *expect, struct result *r)
{
	struct explanation e = {
		.blocks = r->known,
		.used = calloc(expect->nr_blocks, sizeof(bool)),
	};

	if (!e.used)
		abort();
	if (is_known(&e, r)) {
		r->verdict = VERDICT_XFAIL;
		keep_used(&e);
	}
	r->unknown = e.unknown;
	free(e.used);
}

void known_judge(const struct expect *expect, const struct plan_item *item, struct result *r)
{
	if (!expect || (r->verdict != VERDICT_PASS && r->verdict != VERDICT_FAIL))
		return;
	free(r->known);
	free(r->unknown);
	r->unknown = NULL;
	r->known = find_blocks(expect, false, item);
	if (r->known && r->verdict == VERDICT_FAIL)
		judge_failure(expect, r);
}

/* ---- A splat --------------------------------------------------------------------------------- */

struct running {
	const struct expect *expect;
	const struct plan_item *const *items;
	unsigned int nr_items;
};

static bool any_has(const struct running *running, const struct expect_block *block)
{
	for (unsigned int i = 0; i < running->nr_items; i++) {
		if (has_item(block, false, running->items[i]))
			return true;
	}
	return false;
}

static bool is_known_of_any(const char *message, void *arg)
{
	const struct running *running = arg;

	for (unsigned int i = 0; i < running->expect->nr_blocks; i++) {
		const struct expect_block *block = &running->expect->blocks[i];

		if (expect_splat(block, message) && any_has(running, block))
			return true;
	}
	return false;
}

bool known_splat(const struct expect *expect, const struct plan_item *const *items,
		 unsigned int nr_items, const char *kernel_log)
{
	struct running running = { .expect = expect, .items = items, .nr_items = nr_items };

	return expect && splat_all_known(kernel_log, is_known_of_any, &running);
}
