/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which subtests to run: patterns and numbers from the command line, held against the plan.
 *
 * All functions that can find fault with what the user typed return false, with one line about it
 * in error.
 */
#ifndef SELECT_H
#define SELECT_H

#include <stdbool.h>
#include <stddef.h>

#include "harness/plan.h"

enum pattern_kind {
	PATTERN_EXACT,	   /* -a, -d: a glob for the whole name */
	PATTERN_SUBSTRING, /* -t, -b: a glob for a part of it */
};

struct selection;

struct selection *selection_create(void);
void selection_free(struct selection *sel);

/* A comma-separated list of TEST[/SUBTEST] patterns or @FILE, each file with a pattern a line. */
bool selection_add_patterns(struct selection *sel, const char *list, enum pattern_kind kind,
			    bool deny, char *error, size_t size);

/* Numbers: "1,3-5" tests, "1/2,7-9" subtests of the tests. */
bool selection_add_numbers(struct selection *sel, const char *list, char *error, size_t size);

/*
 * Mark the selected items: all, or those that a number or an allowed pattern matches, less those
 * that a denied pattern matches. A pattern or number that matches nothing at all is a fault, and so
 * is a selection that leaves nothing.
 */
bool selection_apply(struct selection *sel, struct plan *plan, char *error, size_t size);

#endif /* SELECT_H */
