// SPDX-License-Identifier: GPL-2.0-only
/*
 * Subtests that leave memory of the kernel behind, and nothing else that anybody looks for: keys,
 * which outlive their process. Only with WASTE, a word: the name of their keyring.
 */
#include <errno.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness/harness.h"
#include "network_helpers.h"

static long add_key(const char *type, const char *name, const void *data, size_t len, long keyring)
{
	long key = syscall(SYS_add_key, type, name, data, len, keyring);

	return key < 0 ? -errno : key;
}

/* Found by its name, or made; a second one would push the first one out. */
static long keyring(void)
{
	const char *name = getenv("WASTE");
	long found = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_USER_KEYRING, "keyring", name, 0);

	return found < 0 ? add_key("keyring", name, NULL, 0, KEY_SPEC_USER_KEYRING) : found;
}

/* Objects of kmalloc-1k: more than what the kernel happens to free at that time. */
static void lose(void)
{
	static const char data[900];
	char name[32];

	for (int i = 0; i < 32; i++) {
		snprintf(name, sizeof(name), "%llu", (unsigned long long)now_ns());
		CHECK_OK(add_key("user", name, data, sizeof(data), keyring()), "add a key");
	}
}

static void loses(void)
{
	lose();
}

/* Once for each name of the keyring: a leak that does not come again is nobody's. */
static void loses_once(void)
{
	long found = syscall(SYS_keyctl, KEYCTL_SEARCH, keyring(), "user", "once", 0);

	if (found < 0)
		CHECK_OK(add_key("user", "once", "", 1, keyring()), "add the mark");
	if (found < 0)
		lose();
	CHECK(true, "it has looked");
}

/* It takes longer than the runner waits before it looks. */
static void keeps_clean(void)
{
	CHECK_EQ(sleep(5), 0, "sleep");
}

/* For the end: with all that is in it. */
static void gives_back(void)
{
	CHECK_EQ(syscall(SYS_keyctl, KEYCTL_UNLINK, keyring(), KEY_SPEC_USER_KEYRING), 0,
		 "remove the keyring");
}

static const struct {
	const char *name;
	void (*run)(void);
} rows[] = {
	{ "loses_once", loses_once },
	{ "loses", loses },
	{ "keeps_clean", keeps_clean },
	{ "gives_back", gives_back },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	if (!getenv("WASTE") || i >= ARRAY_SIZE(rows))
		return false;
	snprintf(sub->name, sizeof(sub->name), "%s", rows[i].name);
	return true;
}

static void run(unsigned int i)
{
	rows[i].run();
}

DEFINE_TEST(waste, describe, run);
