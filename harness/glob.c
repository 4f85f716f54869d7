// SPDX-License-Identifier: GPL-2.0-only
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/glob.h"

static char *make_glob(const char *text, size_t len, bool substring)
{
	const char *star = substring ? "*" : "";
	char *glob;

	if (asprintf(&glob, "%s%.*s%s", star, (int)len, text, star) < 0)
		abort(); /* a few bytes, before anything runs */
	return glob;
}

const char *name_glob_parse(struct name_glob *glob, const char *text, bool substring)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);

	*glob = (struct name_glob){};
	if (len == 0)
		return "it lacks a name before the slash";
	if (slash && slash[1] == '\0')
		return "it lacks a name after the slash";
	glob->test = make_glob(text, len, substring);
	if (slash)
		glob->subtest = make_glob(slash + 1, strlen(slash + 1), substring);
	return NULL;
}

bool name_glob_matches(const struct name_glob *glob, const char *test, const char *subtest,
		       const char *alias)
{
	if (fnmatch(glob->test, test, 0))
		return false;
	if (!glob->subtest || fnmatch(glob->subtest, subtest, 0) == 0)
		return true;
	return *alias && fnmatch(glob->subtest, alias, 0) == 0;
}

void name_glob_free(struct name_glob *glob)
{
	free(glob->test);
	free(glob->subtest);
	*glob = (struct name_glob){};
}
