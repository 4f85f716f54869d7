/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shares of the plan, for several machines: each subtest is in exactly one. Whoever has the same plan,
 * the same selection and the same durations finds the same shares.
 *
 * The functions that can find fault return false, with one line about it in error.
 */
#ifndef SHARD_H
#define SHARD_H

#include <stdbool.h>
#include <stddef.h>

#include "harness/plan.h"

/* How long subtests have taken. */
struct durations;

struct durations *durations_create(void);
void durations_free(struct durations *durations);

/* Read the JSON document of an earlier run; what it knows counts more than those before it. */
bool durations_load(struct durations *durations, const char *path, char *error, size_t size);

/*
 * Deselect what is not in share `number` (from 1) of `count`, where each share takes about the same
 * time. A subtest of no known duration takes as long as those of its test do on average, or else
 * those of all tests; where nothing is known, all take the same. An empty share is a fault, and so
 * are durations that are all of other subtests.
 */
bool shard_apply(struct plan *plan, unsigned int number, unsigned int count,
		 const struct durations *durations, char *error, size_t size);

#endif /* SHARD_H */
