// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/splat.h"
#include "network_helpers.h"

/* The kernel's log, as /dev/kmsg has it. */
#define TEXT_MAX       (8 * 1024)
#define PRINT_PAUSE_MS 500		  /* between two lines of one splat, on a busy host */
#define PRINT_MAX_NS   (2 * NSEC_PER_SEC) /* of patience with those that do not end */
#define OTHERS_MAX     (4 * 1024)
#define RECORD_MAX     8192 /* of /dev/kmsg: CONSOLE_EXT_LOG_MAX */

int splat_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	/* Now, not when the first message comes: a broken pattern shows on any kernel then. */
	splat_matches("");
	if (fd < 0)
		return -errno;
	lseek(fd, 0, SEEK_END);
	return fd;
}

void splat_mark(const char *fmt, ...)
{
	char text[256], line[300];
	va_list ap;
	int fd, len;

	if (!getenv("KMSG_MARKS"))
		return;
	fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* In one write(2), and not by dprintf(3): that seeks, which this file does not allow. */
	len = snprintf(line, sizeof(line), "<5>test_progs: %s\n", text);
	if (write(fd, line, len) < 0)
		fprintf(stderr, "cannot write to /dev/kmsg: %s\n", strerror(errno));
	close(fd);
}

/*
 * Tests of the harness cannot make a healthy kernel complain. So what programs write counts as the
 * kernel's, too, if it begins with KMSG_TAG of the environment. NULL: it does not.
 */
static char *without_tag(char *message)
{
	const char *tag = getenv("KMSG_TAG");

	return tag && *tag && strncmp(message, tag, strlen(tag)) == 0 ? message + strlen(tag)
								      : NULL;
}

/* A record is "PRIORITY,SEQUENCE,TIME,FLAGS;MESSAGE\n" and more; NULL: not from the kernel. */
static char *message_of(char *record)
{
	char *message = strchr(record, ';');

	if (!message)
		return NULL;
	message++;
	message[strcspn(message, "\n")] = '\0';
	/* The bits above the level are the facility, which is 0 for the kernel only. */
	return strtoul(record, NULL, 10) >> 3 ? without_tag(message) : message;
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

/*
 * The first splat, with the registers and the call trace that follow it; of all others the message
 * that each begins with, once. Only whole lines, since half a message is another one.
 */
struct splat {
	char *text;
	size_t used;
	unsigned int traces; /* that have not ended */
	bool over;	     /* the first one has ended */
	unsigned int more;
	char others[OTHERS_MAX];
	size_t others_used;
	bool cut; /* others does not hold all of them */
};

static bool append(char *text, size_t *used, size_t size, const char *line)
{
	size_t len = strlen(line);

	if (*used + len + 2 > size)
		return false;
	memcpy(text + *used, line, len);
	memcpy(text + *used + len, "\n", 2);
	*used += len + 1;
	return true;
}

static bool has_line(const char *text, const char *line)
{
	size_t len = strlen(line);

	for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
		if (strncmp(text, line, len) == 0 && text[len] == '\n')
			return true;
	}
	return false;
}

static void add_other(struct splat *splat, const char *message)
{
	splat->more++;
	if (has_line(splat->others, message))
		return;
	splat->cut |= !append(splat->others, &splat->others_used, OTHERS_MAX, message);
}

static void add_message(struct splat *splat, const char *message)
{
	bool begins = splat_begins(message, &splat->traces);

	if (!splat->text && begins)
		splat->text = calloc(1, TEXT_MAX);
	if (!splat->text)
		return;
	if (!splat->over && append(splat->text, &splat->used, TEXT_MAX, message)) {
		splat->over = splat->traces == 0;
		return;
	}
	splat->over = true;
	if (begins)
		add_other(splat, message);
}

/* After MORE comes what each of the others begins with, up to an empty line or the end. */
#define MORE "[and "
#define CUT  "[not all of them fit]"

static char *with_others(const struct splat *splat)
{
	char *text;

	if (asprintf(&text, "%s" MORE "%u more]\n%s%s", splat->text, splat->more, splat->others,
		     splat->cut ? CUT "\n" : "") < 0)
		return splat->text;
	free(splat->text);
	return text;
}

/* The kernel may be printing one right now, and its second half is not to be taken for another. */
static bool more_is_coming(int kmsg_fd, const struct splat *splat, uint64_t deadline)
{
	struct pollfd pfd = { .fd = kmsg_fd, .events = POLLIN };

	return splat->traces && now_ns() < deadline && poll(&pfd, 1, PRINT_PAUSE_MS) > 0;
}

char *splat_read(int kmsg_fd)
{
	char record[RECORD_MAX + 1];
	uint64_t deadline = now_ns() + PRINT_MAX_NS;
	struct splat splat = {};
	ssize_t n;

	while (kmsg_fd >= 0) {
		char *message;

		n = next_record(kmsg_fd, record, sizeof(record));
		if (n == 0 && more_is_coming(kmsg_fd, &splat, deadline))
			n = next_record(kmsg_fd, record, sizeof(record));
		if (n == 0)
			break;
		record[n] = '\0';
		message = message_of(record);
		if (message)
			add_message(&splat, message);
	}
	return splat.more ? with_others(&splat) : splat.text;
}

bool splat_all_known(const char *text, bool (*known)(const char *message, void *arg), void *arg)
{
	unsigned int traces = 0;
	bool listed = false, all = true;

	while (all && *text) {
		size_t len = strcspn(text, "\n");
		char *line = strndup(text, len);

		if (!line)
			return false;
		listed = (listed && *line) || strncmp(line, MORE, strlen(MORE)) == 0;
		if (listed)
			traces = 0;
		all = strcmp(line, CUT) != 0 && (!splat_begins(line, &traces) || known(line, arg));
		free(line);
		text += len + (text[len] == '\n');
	}
	return all;
}
