/* SPDX-License-Identifier: GPL-2.0-only */
/* TEST or TEST/SUBTEST, in which *, ? and [] match as they do in a shell. */
#ifndef GLOB_H
#define GLOB_H

#include <stdbool.h>

struct name_glob {
	char *test;
	char *subtest; /* NULL: any */
};

/*
 * Take text apart; substring: each half of it matches a part of a name, else all of one. NULL, or
 * what is wrong with the text; glob holds nothing then.
 */
const char *name_glob_parse(struct name_glob *glob, const char *text, bool substring);

/* alias: another name of the subtest; "": none */
bool name_glob_matches(const struct name_glob *glob, const char *test, const char *subtest,
		       const char *alias);

void name_glob_free(struct name_glob *glob);

#endif /* GLOB_H */
