/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Known failures: the file that says which subtests fail on a kernel, and which fix that lacks.
 *
 * Blocks of lines "KEY: VALUE", with blank lines between blocks and # before comments:
 *
 *	fix:   the commit that ends the failure, and its subject
 *	fixed: the first releases with it (optional)
 *	why:   what user space sees, in a line
 *	fail:  TEST/SUBTEST, a glob: they fail (any number of lines)
 *	norun: TEST/SUBTEST, a glob: they would crash or wedge this kernel (any number)
 *	says:  what a failed check, or the reason of another failure, says (any number)
 *	splat: what the kernel says when they run (any number)
 *
 * says and splat are extended regular expressions, searched for. A failure is known when each of
 * its parts is: a check or reason that matches a says of a block with that subtest, a kernel message
 * that matches a splat. A block with neither of them expects all checks and reasons, and no kernel
 * message: one of those is never known unless a splat says so.
 *
 * This file depends on nothing but libc and harness/{glob,lines}, so the host's side of a VM can
 * use it, too.
 */
#ifndef EXPECT_H
#define EXPECT_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>

#include "harness/glob.h"

struct expect_name {
	struct name_glob glob;
	char *text; /* as in the file */
	unsigned int line;
	bool norun;
};

struct expect_regexes {
	regex_t *list;
	unsigned int nr;
};

struct expect_block {
	unsigned int line; /* its first */
	char *fix;
	char *fixed; /* NULL: not said */
	char *why;
	struct expect_name *names;
	unsigned int nr_names;
	struct expect_regexes says, splats;
};

struct expect {
	char *path; /* of the file; NULL: the directory has none for this release */
	struct expect_block *blocks;
	unsigned int nr_blocks;
};

/*
 * Read the file at path. Of a directory, that whose name is the longest beginning of the release
 * that ends where one of its parts does: "6.16" is for 6.16.12-amd64 and not for 6.160. NULL: the
 * file cannot be used, as error says, with its path and line.
 */
struct expect *expect_load(const char *path, const char *release, char *error, size_t size);
void expect_free(struct expect *expect);

/* Whether name, of a directory, is such a beginning of release. */
bool expect_is_for(const char *name, const char *release);

/* Whether the block has that subtest, as one that fails or as one that must not run. */
bool expect_has(const struct expect_block *block, bool norun, const char *test, const char *subtest,
		const char *alias);

/* Whether the block knows of such a check or reason, or of such a message of the kernel. */
bool expect_says(const struct expect_block *block, const char *text);
bool expect_splat(const struct expect_block *block, const char *message);

#endif /* EXPECT_H */
