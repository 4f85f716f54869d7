// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/splat.h"

/* The patterns are a file, since vmtest.sh looks for them in the log of the guest as well. */
#define INCLUDE_TEXT(symbol, path)                                                             \
	asm(".pushsection .rodata\n" #symbol ":\n.incbin \"" path "\"\n.byte 0\n.popsection"); \
	extern const char symbol[] asm(#symbol)

INCLUDE_TEXT(deny_text, "vm/splats.deny");
INCLUDE_TEXT(allow_text, "vm/splats.allow");

struct splat_patterns {
	regex_t *regex;
	size_t nr;
};

static struct splat_patterns deny, allow;

/* False, and why, if a line is no regular expression. */
static bool compile(struct splat_patterns *patterns, const char *text, char *error, size_t size)
{
	for (size_t len; *text; text += len + (text[len] == '\n')) {
		char *line;
		int err;

		len = strcspn(text, "\n");
		if (!len || *text == '#')
			continue;
		line = strndup(text, len);
		patterns->regex = reallocarray(patterns->regex, patterns->nr + 1, sizeof(regex_t));
		if (!line || !patterns->regex)
			abort();
		err = regcomp(&patterns->regex[patterns->nr], line, REG_EXTENDED | REG_NOSUB);
		if (err) {
			int used = snprintf(error, size, "\"%s\": ", line);

			if (used >= 0 && (size_t)used < size)
				regerror(err, &patterns->regex[patterns->nr], error + used,
					 size - used);
			free(line);
			return false;
		}
		free(line);
		patterns->nr++;
	}
	return true;
}

bool splat_patterns_match(const struct splat_patterns *patterns, const char *message)
{
	for (size_t i = 0; i < patterns->nr; i++) {
		if (regexec(&patterns->regex[i], message, 0, NULL, 0) == 0)
			return true;
	}
	return false;
}

/* They are a part of the program: if one is broken, nothing it says can be trusted. */
static void compile_own(struct splat_patterns *patterns, const char *text)
{
	char error[256];

	if (!compile(patterns, text, error, sizeof(error))) {
		fprintf(stderr, "bad pattern for kernel messages: %s\n", error);
		abort();
	}
}

static void compile_once(void)
{
	if (deny.nr)
		return;
	compile_own(&deny, deny_text);
	compile_own(&allow, allow_text);
}

struct splat_patterns *splat_patterns_load(const char *path, char *error, size_t size)
{
	struct splat_patterns *patterns = calloc(1, sizeof(*patterns));
	FILE *f = patterns ? fopen(path, "r") : NULL;
	char *text = NULL;
	size_t room = 0;

	/* All of it: no text has a NUL. */
	if (!f || (getdelim(&text, &room, '\0', f) < 0 && !feof(f))) {
		snprintf(error, size, "%s", strerror(errno));
		free(patterns);
		patterns = NULL;
	} else if (text && !compile(patterns, text, error, size)) {
		free(patterns);
		patterns = NULL;
	}
	if (f)
		fclose(f);
	free(text);
	return patterns;
}

bool splat_matches(const char *message)
{
	compile_once();
	return splat_patterns_match(&deny, message) && !splat_patterns_match(&allow, message);
}

bool splat_begins(const char *message, unsigned int *traces)
{
	bool begins = splat_matches(message) && !(*traces && strstr(message, "Call Trace:"));

	*traces += begins;
	if (*traces && strstr(message, "---[ end trace"))
		--*traces;
	return begins;
}
