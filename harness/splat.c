// SPDX-License-Identifier: GPL-2.0-only
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/lines.h"
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

/* False, and why, if the line is no regular expression; blank lines and comments are none. */
static bool add_pattern(struct splat_patterns *patterns, const char *line, char *error, size_t size)
{
	int err, used;

	if (!*line || *line == '#')
		return true;
	patterns->regex = reallocarray(patterns->regex, patterns->nr + 1, sizeof(regex_t));
	if (!patterns->regex)
		abort();
	err = regcomp(&patterns->regex[patterns->nr], line, REG_EXTENDED | REG_NOSUB);
	if (!err) {
		patterns->nr++;
		return true;
	}
	used = snprintf(error, size, "\"%s\": ", line);
	if (used >= 0 && (size_t)used < size)
		regerror(err, &patterns->regex[patterns->nr], error + used, size - used);
	return false;
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

	for (size_t len; *text; text += len + (text[len] == '\n')) {
		char *line;

		len = strcspn(text, "\n");
		line = strndup(text, len);
		if (!line || !add_pattern(patterns, line, error, sizeof(error))) {
			fprintf(stderr, "bad pattern for kernel messages: %s\n", error);
			abort();
		}
		free(line);
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
	struct lines lines;
	int err = lines_open(&lines, path), more = err ? -1 : 1;

	if (err)
		snprintf(error, size, "%s", strerror(-err));
	while (patterns && more > 0) {
		more = lines_next(&lines, error, size);
		if (more > 0 && !add_pattern(patterns, lines.text, error, size))
			more = -1;
	}
	lines_close(&lines);
	if (more == 0)
		return patterns;
	free(patterns);
	return NULL;
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
