// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/splat.h"

/* The patterns are a file, since vmtest.sh looks for them in the log of the guest as well. */
#define INCLUDE_TEXT(symbol, path)                                                             \
	asm(".pushsection .rodata\n" #symbol ":\n.incbin \"" path "\"\n.byte 0\n.popsection"); \
	extern const char symbol[] asm(#symbol)

INCLUDE_TEXT(deny_text, "vm/splat.deny");
INCLUDE_TEXT(allow_text, "vm/splat.allow");

#define PATTERNS_MAX 64
#define TEXT_MAX     (16 * 1024)
#define RECORD_MAX   8192 /* of /dev/kmsg: CONSOLE_EXT_LOG_MAX */

struct patterns {
	regex_t regex[PATTERNS_MAX];
	unsigned int nr;
};

static struct patterns deny, allow;

static void add_pattern(struct patterns *patterns, const char *text)
{
	if (patterns->nr == PATTERNS_MAX ||
	    regcomp(&patterns->regex[patterns->nr], text, REG_EXTENDED | REG_NOSUB)) {
		/* Part of the program: broken for everybody, at once. */
		fprintf(stderr, "bad pattern for kernel messages: %s\n", text);
		exit(3);
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
	for (unsigned int i = 0; i < patterns->nr; i++) {
		if (regexec(&patterns->regex[i], message, 0, NULL, 0) == 0)
			return true;
	}
	return false;
}

bool splat_matches(const char *message)
{
	if (deny.nr == 0) {
		compile(&deny, deny_text);
		compile(&allow, allow_text);
	}
	return matches_any(&deny, message) && !matches_any(&allow, message);
}

int splat_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	lseek(fd, 0, SEEK_END);
	return fd;
}

/* A record is "PRIORITY,SEQUENCE,TIME,FLAGS;MESSAGE\n" and more; NULL: not from the kernel. */
static char *message_of(char *record)
{
	char *message = strchr(record, ';');

	/* The bits above the level are the facility, which is 0 for the kernel only. */
	if (!message || strtoul(record, NULL, 10) >> 3)
		return NULL;
	message++;
	message[strcspn(message, "\n")] = '\0';
	return message;
}

/* Length of the next record, or 0: there is none. Overwritten ones (EPIPE) are passed over. */
static ssize_t next_record(int kmsg_fd, char *record, size_t size)
{
	ssize_t n;

	do {
		n = read(kmsg_fd, record, size - 1);
	} while (n < 0 && (errno == EPIPE || errno == EINTR));
	return n < 0 ? 0 : n;
}

char *splat_read(int kmsg_fd)
{
	char record[RECORD_MAX + 1];
	char *text = NULL;
	size_t used = 0;
	ssize_t n;

	while (kmsg_fd >= 0 && (n = next_record(kmsg_fd, record, sizeof(record))) > 0) {
		char *message;

		record[n] = '\0';
		message = message_of(record);
		if (!message)
			continue;
		if (!text && splat_matches(message))
			text = calloc(1, TEXT_MAX);
		/* What follows the first line, the registers and the call trace, is wanted too. */
		if (text && used < TEXT_MAX)
			used += snprintf(text + used, TEXT_MAX - used, "%s\n", message);
	}
	return text;
}
