// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/glob.h"
#include "harness/lines.h"
#include "harness/select.h"

/* One entry of a list. It counts whether anything matches it, since nobody types one for nothing. */
struct entry {
	struct entry *next;
	char *text;   /* as typed */
	char *origin; /* "deny.list:12: ", or "" for the command line */
	bool deny;
	bool used;
	struct name_glob glob; /* of a pattern; of a number it holds nothing */
	/* a number: */
	unsigned int first_test, last_test;
	unsigned int first_subtest, last_subtest;
};

struct selection {
	struct entry *entries;
	struct entry **tail;
};

struct selection *selection_create(void)
{
	struct selection *sel = calloc(1, sizeof(*sel));

	if (sel)
		sel->tail = &sel->entries;
	return sel;
}

void selection_free(struct selection *sel)
{
	struct entry *next;

	for (struct entry *e = sel ? sel->entries : NULL; e; e = next) {
		next = e->next;
		free(e->text);
		free(e->origin);
		name_glob_free(&e->glob);
		free(e);
	}
	free(sel);
}

static struct entry *append(struct selection *sel, const char *origin, const char *text)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e)
		abort(); /* a few bytes, before anything runs */
	e->origin = strdup(origin);
	e->text = strdup(text);
	*sel->tail = e;
	sel->tail = &e->next;
	return e;
}

/* ---- Patterns -------------------------------------------------------------------------------- */

static bool add_pattern(struct selection *sel, const char *origin, const char *text,
			enum pattern_kind kind, bool deny, char *error, size_t size)
{
	struct name_glob glob;
	const char *fault = name_glob_parse(&glob, text, kind == PATTERN_SUBSTRING);
	struct entry *e;

	if (fault) {
		snprintf(error, size, "%s\"%s\" is no pattern: %s", origin, text, fault);
		return false;
	}
	e = append(sel, origin, text);
	e->deny = deny;
	e->glob = glob;
	return true;
}

static bool add_file(struct selection *sel, const char *path, enum pattern_kind kind, bool deny,
		     char *error, size_t size)
{
	struct lines lines;
	unsigned int patterns = 0;
	int more = 0, err = lines_open(&lines, path);
	bool ok = err == 0;

	if (err)
		snprintf(error, size, "cannot read @%s: %s", path, strerror(-err));
	while (ok && (more = lines_next(&lines, error, size)) > 0) {
		char origin[PATH_MAX + 16], *text;

		lines.text[strcspn(lines.text, "#")] = '\0';
		text = strip_blanks(lines.text);
		if (!*text)
			continue;
		snprintf(origin, sizeof(origin), "%s:%u: ", path, lines.number);
		ok = add_pattern(sel, origin, text, kind, deny, error, size);
		patterns++;
	}
	ok = ok && more == 0;
	if (ok && patterns == 0)
		snprintf(error, size, "@%s holds no pattern", path);
	lines_close(&lines);
	return ok && patterns > 0;
}

bool selection_add_patterns(struct selection *sel, const char *list, enum pattern_kind kind,
			    bool deny, char *error, size_t size)
{
	char *copy = strdup(list), *rest = copy, *item;
	bool ok = true;

	while (ok && (item = strsep(&rest, ","))) {
		if (*item == '\0') {
			snprintf(error, size, "an empty pattern in \"%s\"", list);
			ok = false;
		} else if (*item == '@') {
			ok = add_file(sel, item + 1, kind, deny, error, size);
		} else {
			ok = add_pattern(sel, "", item, kind, deny, error, size);
		}
	}
	free(copy);
	return ok;
}

/* ---- Numbers --------------------------------------------------------------------------------- */

/* A number from 1 on, and nothing else: strtoul(3) alone would take " +1" and "-1". */
static bool parse_number(const char **text, unsigned int *number)
{
	unsigned long value;
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	errno = 0;
	value = strtoul(*text, &end, 10);
	if (errno || value == 0 || value > UINT_MAX)
		return false;
	*number = value;
	*text = end;
	return true;
}

static bool parse_range(const char *text, unsigned int *first, unsigned int *last)
{
	if (!parse_number(&text, first))
		return false;
	*last = *first;
	if (*text == '-') {
		text++;
		if (!parse_number(&text, last) || *last < *first)
			return false;
	}
	return *text == '\0';
}

/* Each test range combined with each subtest range is an entry, and has to match something. */
static bool add_ranges(struct selection *sel, const char *tests, const char *subtests)
{
	unsigned int first = 1, last = UINT_MAX;
	char *copy = strdup(tests), *rest = copy, *item;
	bool ok = true;

	if (subtests)
		ok = parse_range(subtests, &first, &last);
	while (ok && (item = strsep(&rest, ","))) {
		struct entry e = {};

		ok = parse_range(item, &e.first_test, &e.last_test);
		if (ok) {
			struct entry *added = append(sel, "", "");

			free(added->text);
			if (asprintf(&added->text, "%s%s%s", item, subtests ? "/" : "",
				     subtests ?: "") < 0)
				abort();
			added->first_test = e.first_test;
			added->last_test = e.last_test;
			added->first_subtest = first;
			added->last_subtest = last;
		}
	}
	free(copy);
	return ok;
}

bool selection_add_numbers(struct selection *sel, const char *list, char *error, size_t size)
{
	char *copy = strdup(list), *slash = strchr(copy, '/');
	char *rest = slash ? slash + 1 : NULL, *item;
	bool ok;

	if (slash)
		*slash = '\0';
	ok = slash || add_ranges(sel, copy, NULL);
	while (ok && rest && (item = strsep(&rest, ",")))
		ok = add_ranges(sel, copy, item);
	if (!ok)
		snprintf(error, size,
			 "\"%s\" is no list of numbers, such as 1,3-5 or 1/2,7-9 (they start at 1)",
			 list);
	free(copy);
	return ok;
}

/* ---- Matching -------------------------------------------------------------------------------- */

static bool matches(const struct entry *e, const struct plan_item *item)
{
	const struct subtest *sub = &item->subtest;

	if (e->glob.test)
		return name_glob_matches(&e->glob, item->test->name, sub->name, sub->alias);
	return item->test_number >= e->first_test && item->test_number <= e->last_test &&
	       item->subtest_number >= e->first_subtest && item->subtest_number <= e->last_subtest;
}

static bool all_used(const struct selection *sel, char *error, size_t size)
{
	for (const struct entry *e = sel->entries; e; e = e->next) {
		if (e->used)
			continue;
		snprintf(error, size, "%sno test matches \"%s\" (-l lists them)", e->origin,
			 e->text);
		return false;
	}
	return true;
}

bool selection_apply(struct selection *sel, struct plan *plan, char *error, size_t size)
{
	unsigned int nr_selected = 0;
	bool has_allow = false;

	for (struct entry *e = sel->entries; e; e = e->next)
		has_allow |= !e->deny;

	for (unsigned int i = 0; i < plan->nr_items; i++) {
		struct plan_item *item = &plan->items[i];
		bool allowed = !has_allow, denied = false;

		for (struct entry *e = sel->entries; e; e = e->next) {
			if (!matches(e, item))
				continue;
			e->used = true;
			allowed |= !e->deny;
			denied |= e->deny;
		}
		item->selected = allowed && !denied;
		nr_selected += item->selected;
	}
	if (!all_used(sel, error, size))
		return false;
	if (nr_selected == 0)
		snprintf(error, size, "nothing is left to run: what is selected is denied as well");
	return nr_selected > 0;
}
