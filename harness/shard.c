// SPDX-License-Identifier: GPL-2.0-only
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/shard.h"
#include "network_helpers.h"

/* A subtest costs about this much besides what is recorded: its process, its namespace. */
#define OVERHEAD_US 2000

#define NAME_MAX_LEN 256

struct durations {
	json_t *us; /* TEST/SUBTEST: microseconds */
};

struct durations *durations_create(void)
{
	struct durations *d = calloc(1, sizeof(*d));

	if (d)
		d->us = json_object();
	return d;
}

void durations_free(struct durations *d)
{
	if (d)
		json_decref(d->us);
	free(d);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static bool add_subtest(struct durations *d, const char *test, json_t *sub)
{
	char key[NAME_MAX_LEN];
	const char *name;
	double ms;
	int runs;

	if (json_unpack(sub, "{s:s, s:F, s:i}", "name", &name, "duration_ms", &ms, "runs", &runs) ||
	    ms < 0)
		return false;
	snprintf(key, sizeof(key), "%s/%s", test, name);
	return runs == 0 || json_object_set_new(d->us, key, json_integer(ms * 1000)) == 0;
}

static bool add_test(struct durations *d, json_t *test)
{
	json_t *subtests, *sub;
	const char *name;
	size_t i;

	if (json_unpack(test, "{s:s, s:o}", "name", &name, "subtests", &subtests) ||
	    !json_is_array(subtests))
		return false;
	json_array_foreach (subtests, i, sub) {
		if (!add_subtest(d, name, sub))
			return false;
	}
	return true;
}

static bool add_document(struct durations *d, json_t *doc)
{
	json_t *results = json_object_get(doc, "results"), *test;
	size_t i;

	if (!json_is_array(results))
		return false;
	json_array_foreach (results, i, test) {
		if (!add_test(d, test))
			return false;
	}
	return true;
}

bool durations_load(struct durations *d, const char *path, char *error, size_t size)
{
	json_error_t where;
	json_t *doc = json_load_file(path, 0, &where);
	bool ok = add_document(d, doc);

	if (!doc)
		snprintf(error, size, "cannot read durations from %s: %s (line %d)", path,
			 where.text, where.line);
	else if (!ok)
		snprintf(error, size, "%s has no durations: it is not what -J writes", path);
	json_decref(doc);
	return ok;
}

/* ---- Estimates ------------------------------------------------------------------------------- */

struct mean {
	uint64_t sum_us;
	unsigned int nr;
};

static void mean_add(struct mean *mean, uint64_t us)
{
	mean->sum_us += us;
	mean->nr++;
}

/* False: it is not known. */
static bool recorded(const struct durations *d, const struct plan_item *item, uint64_t *us)
{
	char key[NAME_MAX_LEN];
	const json_t *value;

	snprintf(key, sizeof(key), "%s/%s", item->test->name, item->subtest.name);
	value = json_object_get(d->us, key);
	*us = json_integer_value(value);
	return value;
}

/* means[0] is of all tests, and the others are of the tests with these numbers. */
static void find_means(const struct plan *plan, const struct durations *d, struct mean *means)
{
	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const struct plan_item *item = &plan->items[i];
		uint64_t us;

		if (!recorded(d, item, &us))
			continue;
		mean_add(&means[0], us);
		mean_add(&means[item->test_number], us);
	}
}

static uint64_t estimate(const struct plan_item *item, const struct durations *d,
			 const struct mean *means)
{
	const struct mean *mean = means[item->test_number].nr ? &means[item->test_number] : means;
	uint64_t us;

	if (!recorded(d, item, &us))
		us = mean->nr ? mean->sum_us / mean->nr : 0;
	return us + OVERHEAD_US;
}

/* ---- Shares ---------------------------------------------------------------------------------- */

struct load {
	struct plan_item *item;
	uint64_t us;
};

/* The longest first, and those that are alike in the order of the plan. */
static int compare_loads(const void *a, const void *b)
{
	const struct load *x = a, *y = b;

	if (x->us != y->us)
		return x->us > y->us ? -1 : 1;
	return x->item < y->item ? -1 : 1;
}

static unsigned int lightest(const uint64_t *shares, unsigned int count)
{
	unsigned int best = 0;

	for (unsigned int i = 1; i < count; i++) {
		if (shares[i] < shares[best])
			best = i;
	}
	return best;
}

/* Each goes where there is the least so far: no two shares differ by more than one subtest takes. */
static unsigned int keep_share(struct load *loads, unsigned int nr, uint64_t *shares,
			       unsigned int number, unsigned int count)
{
	unsigned int kept = 0;

	qsort(loads, nr, sizeof(*loads), compare_loads);
	for (unsigned int i = 0; i < nr; i++) {
		unsigned int share = lightest(shares, count);

		shares[share] += loads[i].us;
		loads[i].item->selected = share + 1 == number;
		kept += loads[i].item->selected;
	}
	return kept;
}

static unsigned int find_loads(struct plan *plan, const struct durations *d,
			       const struct mean *means, struct load *loads)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < plan->nr_items; i++) {
		struct plan_item *item = &plan->items[i];

		if (item->selected)
			loads[nr++] = (struct load){ item, estimate(item, d, means) };
	}
	return nr;
}

bool shard_apply(struct plan *plan, unsigned int number, unsigned int count,
		 const struct durations *d, char *error, size_t size)
{
	struct mean *means = calloc(plan->nr_tests + 1, sizeof(*means));
	struct load *loads = calloc(plan->nr_items + 1, sizeof(*loads));
	uint64_t *shares = calloc(count, sizeof(*shares));
	unsigned int nr, kept = 0;

	if (!means || !loads || !shares)
		abort();
	find_means(plan, d, means);
	if (json_object_size(d->us) && !means[0].nr) {
		snprintf(error, size, "the durations are all of other subtests than there are");
	} else {
		nr = find_loads(plan, d, means, loads);
		kept = keep_share(loads, nr, shares, number, count);
		snprintf(error, size, "share %u/%u is empty: only %u subtests are selected", number,
			 count, nr);
	}
	free(means);
	free(loads);
	free(shares);
	return kept > 0;
}
