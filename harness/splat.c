// SPDX-License-Identifier: GPL-2.0-only
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

struct patterns {
	regex_t *regex;
	size_t nr;
};

static struct patterns deny, allow;

static void add_pattern(struct patterns *patterns, const char *text)
{
	patterns->regex = reallocarray(patterns->regex, patterns->nr + 1, sizeof(regex_t));
	/* The patterns are a part of the program: if one is broken, nothing it says can be trusted.
	 */
	if (!patterns->regex ||
	    regcomp(&patterns->regex[patterns->nr], text, REG_EXTENDED | REG_NOSUB)) {
		fprintf(stderr, "bad pattern for kernel messages: %s\n", text);
		abort();
	}
	patterns->nr++;
}

static void compile(struct patterns *patterns, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		char *line = strndup(text, len);

		if (len && *line != '#')
			add_pattern(patterns, line);
		free(line);
		text += len + (text[len] == '\n');
	}
}

static bool matches_any(const struct patterns *patterns, const char *message)
{
	for (size_t i = 0; i < patterns->nr; i++) {
		if (regexec(&patterns->regex[i], message, 0, NULL, 0) == 0)
			return true;
	}
	return false;
}

static void compile_once(void)
{
	if (deny.nr)
		return;
	compile(&deny, deny_text);
	compile(&allow, allow_text);
}

bool splat_matches(const char *message)
{
	compile_once();
	return matches_any(&deny, message) && !matches_any(&allow, message);
}

bool splat_begins(const char *message, unsigned int *traces)
{
	bool begins = splat_matches(message) && !(*traces && strstr(message, "Call Trace:"));

	*traces += begins;
	if (*traces && strstr(message, "---[ end trace"))
		--*traces;
	return begins;
}
