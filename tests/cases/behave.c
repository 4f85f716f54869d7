// SPDX-License-Identifier: GPL-2.0-only
/* A test that does as it should: the neighbour of misbehave, and what selections select from. */
#include <stdio.h>

#include "harness/harness.h"
#include "network_helpers.h"

static const struct {
	const char *name;
	const char *alias;
} rows[] = {
	{ "first", NULL },	     { "second", NULL }, { "third part", "shared" },
	{ "fourth part", "shared" }, { "fifth", NULL },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	if (i >= ARRAY_SIZE(rows))
		return false;
	snprintf(sub->name, sizeof(sub->name), "%s", rows[i].name);
	snprintf(sub->alias, sizeof(sub->alias), "%s", rows[i].alias ?: "");
	return true;
}

static void run(unsigned int i)
{
	CHECK(i < ARRAY_SIZE(rows), "it is one of the rows");
}

DEFINE_TEST(behave, describe, run);
