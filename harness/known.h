/* SPDX-License-Identifier: GPL-2.0-only */
/* Results held against the list of known failures. */
#ifndef KNOWN_H
#define KNOWN_H

#include <stdbool.h>
#include <stddef.h>

#include "harness/expect.h"
#include "harness/plan.h"

/* Whether each name in the list is one of the plan, selected or not; what is not is in error. */
bool known_check(const struct expect *expect, const struct plan *plan, char *error, size_t size);

/* Whether the subtest must not run on this kernel: result says so then, as its verdict. */
bool known_withhold(const struct expect *expect, const struct plan_item *item,
		    struct result *result);

/*
 * Judge a result that passed or failed again, in the light of the list. The result refers to the
 * list from then on.
 */
void known_judge(const struct expect *expect, const struct plan_item *item, struct result *result);

/* Whether all that the kernel said is known of at least one of the subtests that were running. */
bool known_splat(const struct expect *expect, const struct plan_item *const *running,
		 unsigned int nr_running, const char *kernel_log);

/* Whether the reason of a failure is a message of the kernel, and nothing else. */
bool known_is_splat(const struct result *result);

/* The next failed check in a log, at *log or later, without its place; NULL: no more. To be freed. */
char *known_next_check(const char **log);

#endif /* KNOWN_H */
