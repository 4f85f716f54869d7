// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/delivery.h"
#include "harness/plan.h"

/* The linker makes these: the section that DEFINE_TEST fills. Weak, since it may be empty. */
extern const struct test *const __start_harness_tests[] __attribute__((weak));
extern const struct test *const __stop_harness_tests[] __attribute__((weak));

void subtest_dim(struct subtest *sub, const char *key, const char *value)
{
	/* A mistake of whoever wrote the test: reports would lack one, and nobody would know. */
	if (sub->nr_dims == SUBTEST_DIMS_MAX)
		abort();
	sub->dims[sub->nr_dims++] = (struct dimension){ key, value };
}

const char *subtest_get_dim(const struct subtest *sub, const char *key)
{
	for (unsigned int i = 0; i < sub->nr_dims; i++) {
		if (strcmp(sub->dims[i].key, key) == 0)
			return sub->dims[i].value;
	}
	return NULL;
}

void result_free(struct result *result)
{
	free(result->reason);
	free(result->notes);
	free(result->observed);
	free(result->log);
	free(result->kernel_log);
	free(result->wakeups);
	delivery_free(result->delivery);
	free(result->also);
	free(result->known);
	free(result->unknown);
	*result = (struct result){};
}

static int compare_tests(const void *a, const void *b)
{
	const struct test *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* Numbers follow the alphabet, not the order in which the linker met the files. */
static const struct test **sorted_tests(unsigned int *nr)
{
	const struct test **tests;

	*nr = __stop_harness_tests - __start_harness_tests;
	tests = calloc(*nr + 1, sizeof(*tests));
	if (!tests || *nr == 0)
		return tests;
	memcpy(tests, __start_harness_tests, *nr * sizeof(*tests));
	qsort(tests, *nr, sizeof(*tests), compare_tests);
	return tests;
}

static struct plan_item *append_item(struct plan *plan)
{
	/* Doubles whenever the number of items is a power of two. */
	if ((plan->nr_items & (plan->nr_items - 1)) == 0) {
		size_t room = plan->nr_items ? 2 * plan->nr_items : 1;
		struct plan_item *items = realloc(plan->items, room * sizeof(*items));

		if (!items)
			return NULL;
		plan->items = items;
	}
	plan->items[plan->nr_items] = (struct plan_item){};
	return &plan->items[plan->nr_items++];
}

/* Names select subtests, so two with one name would be a plan that cannot be followed. */
static bool is_unique(const struct plan *plan, const struct plan_item *item)
{
	/* Those of the same test are the last ones. */
	for (unsigned int i = plan->nr_items; i-- > 0 && plan->items[i].test == item->test;) {
		if (strcmp(plan->items[i].subtest.name, item->subtest.name) == 0)
			return false;
	}
	return true;
}

static bool add_test(struct plan *plan, const struct test *test, unsigned int number)
{
	struct subtest sub = {};

	for (unsigned int i = 0; test->describe(i, &sub); i++) {
		struct plan_item item = {
			.test = test,
			.test_number = number,
			.subtest_number = i + 1,
			.subtest = sub,
		};
		struct plan_item *slot;

		if (!is_unique(plan, &item)) {
			fprintf(stderr, "%s: subtest %u is called \"%s\", like another one\n",
				test->name, i + 1, sub.name);
			return false;
		}
		slot = append_item(plan);
		if (!slot)
			return false;
		*slot = item;
		sub = (struct subtest){};
	}
	return true;
}

static const struct test **one_test(const struct test *test, unsigned int *nr)
{
	const struct test **tests = calloc(1, sizeof(*tests));

	if (tests)
		tests[0] = test;
	*nr = 1;
	return tests;
}

struct plan *plan_create(const struct test *only)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	unsigned int *nr = plan ? &plan->nr_tests : &(unsigned int){ 0 };
	const struct test **tests = only ? one_test(only, nr) : sorted_tests(nr);
	bool ok = plan && tests;

	for (unsigned int i = 0; ok && i < plan->nr_tests; i++)
		ok = add_test(plan, tests[i], i + 1);
	free(tests);
	if (ok)
		return plan;
	plan_free(plan);
	return NULL;
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	for (unsigned int i = 0; i < plan->nr_items; i++)
		result_free(&plan->items[i].result);
	free(plan->items);
	free(plan->order);
	free(plan);
}

unsigned int plan_narrow(struct plan *plan, bool (*is_wanted)(const struct subtest *sub))
{
	unsigned int nr_selected = 0;

	for (unsigned int i = 0; i < plan->nr_items; i++) {
		struct plan_item *item = &plan->items[i];

		item->selected = item->selected && is_wanted(&item->subtest);
		nr_selected += item->selected;
	}
	return nr_selected;
}

/* The same seed has to give the same order on every machine, which rand_r(3) does not promise. */
static uint32_t next_random(uint32_t *state)
{
	/* xorshift32; its state must not be zero */
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void shuffle(struct plan_item **order, unsigned int n, uint32_t seed)
{
	uint32_t state = seed ?: 1;

	for (unsigned int i = n; i > 1; i--) {
		unsigned int k = next_random(&state) % i;
		struct plan_item *last = order[i - 1];

		order[i - 1] = order[k];
		order[k] = last;
	}
}

void plan_set_order(struct plan *plan, const uint32_t *seed)
{
	free(plan->order);
	plan->order = calloc(plan->nr_items + 1, sizeof(*plan->order));
	plan->nr_selected = 0;
	if (!plan->order)
		return;
	for (unsigned int i = 0; i < plan->nr_items; i++) {
		if (plan->items[i].selected)
			plan->order[plan->nr_selected++] = &plan->items[i];
	}
	if (seed)
		shuffle(plan->order, plan->nr_selected, *seed);
}

unsigned int plan_count_selected_tests(const struct plan *plan)
{
	const struct test *last = NULL;
	unsigned int n = 0;

	for (unsigned int i = 0; i < plan->nr_items; i++) {
		if (!plan->items[i].selected || plan->items[i].test == last)
			continue;
		last = plan->items[i].test;
		n++;
	}
	return n;
}
