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

#define TEXT_MAX   (8 * 1024)
#define RECORD_MAX 8192 /* of /dev/kmsg: CONSOLE_EXT_LOG_MAX */

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

int splat_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	/* Now, not when the first message comes: a broken pattern shows on any kernel then. */
	compile_once();
	if (fd < 0)
		return -errno;
	lseek(fd, 0, SEEK_END);
	return fd;
}

void splat_mark_start(const char *test, const char *subtest)
{
	char line[256];
	int fd, len;

	if (!getenv("KMSG_MARKS"))
		return;
	fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	/* In one write(2), and not by dprintf(3): that seeks, which this file does not allow. */
	len = snprintf(line, sizeof(line), "<5>test_progs: start %s/%s\n", test, subtest);
	if (write(fd, line, len) < 0)
		fprintf(stderr, "cannot write to /dev/kmsg: %s\n", strerror(errno));
	close(fd);
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

/* The first splat, with the registers and the call trace that follow it, and how many more came. */
struct splat {
	char *text;
	size_t used;
	bool over; /* its trace has ended */
	unsigned int more;
};

static void add_message(struct splat *splat, const char *message)
{
	bool begins = splat_matches(message);

	if (!splat->text && begins)
		splat->text = calloc(1, TEXT_MAX);
	else if (splat->over)
		splat->more += begins;
	if (!splat->text || splat->over)
		return;
	splat->used += snprintf(splat->text + splat->used, TEXT_MAX - splat->used, "%s\n", message);
	splat->over = strstr(message, "---[ end trace") || splat->used >= TEXT_MAX;
}

char *splat_read(int kmsg_fd)
{
	char record[RECORD_MAX + 1];
	struct splat splat = {};
	char *text;
	ssize_t n;

	while (kmsg_fd >= 0 && (n = next_record(kmsg_fd, record, sizeof(record))) > 0) {
		char *message;

		record[n] = '\0';
		message = message_of(record);
		if (message)
			add_message(&splat, message);
	}
	if (!splat.more || asprintf(&text, "%s[and %u more]\n", splat.text, splat.more) < 0)
		return splat.text;
	free(splat.text);
	return text;
}
