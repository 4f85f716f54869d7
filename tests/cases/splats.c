// SPDX-License-Identifier: GPL-2.0-only
/*
 * Subtests that make the kernel complain, as far as the harness can tell: what they write to the
 * kernel's log begins with KMSG_TAG. Only with SPLATS: a FIFO, or the name of one that is not there;
 * so is that with ".later".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness/harness.h"
#include "network_helpers.h"

/* The log limits how many lines come from one open file. */
static void write_line(const char *line)
{
	int fd __auto_close = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	char text[256];
	int len = snprintf(text, sizeof(text), "<4>%s%s\n", getenv("KMSG_TAG"), line);

	CHECK_EQ(write(fd, text, len), len, "write to the kernel's log");
}

static void complain(const char *function)
{
	char line[128];

	snprintf(line, sizeof(line), "WARNING: CPU: 1 PID: 8 at net/core/skmsg.c:1 %s+0x1/0x2",
		 function);
	write_line(line);
	write_line("CPU: 1 PID: 8 Comm: kworker/1:0 Not tainted");
	write_line("Call Trace:");
	write_line(" sk_psock_destroy+0x3/0x4");
	write_line("---[ end trace 0000000000000000 ]---");
}

/* Of a driver, that happens to see a problem of its own now. */
static void stands_by(void)
{
	write_line(
		"WARNING: CPU: 1 PID: 8 at drivers/gpu/drm/drm_fence.c:1 drm_wait+0x1/0x2 [drm]");
	write_line("CPU: 1 PID: 8 Comm: Xorg Not tainted");
	write_line("Call Trace:");
	write_line(" drm_ioctl+0x3/0x4 [drm]");
	write_line("---[ end trace 0000000000000000 ]---");
}

/*
 * Wait for the other one of two subtests that run side by side: the FIFO, or -1 in a later run, of
 * one of them on its own. The reader is the one that removes it.
 */
static int meet(const char *suffix, int flags)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s%s", getenv("SPLATS"), suffix);
	fd = open(path, flags | O_CLOEXEC);
	CHECK(fd >= 0 || errno == ENOENT, "open the FIFO");
	if (fd >= 0 && flags == O_RDONLY)
		CHECK_OK(unlink(path), "remove the FIFO");
	return fd;
}

static void let_go(int fd)
{
	if (fd >= 0)
		CHECK_EQ(write(fd, "x", 1), 1, "write to the FIFO");
}

static void complains(void)
{
	int fd __auto_close = meet("", O_WRONLY);

	complain("sk_psock_drop");
	let_go(fd);
}

static void complains_once(void)
{
	int fd __auto_close = meet("", O_WRONLY);

	if (fd >= 0)
		complain("sk_psock_drop");
	let_go(fd);
}

static void complains_later(void)
{
	int fd __auto_close = meet(".later", O_WRONLY);

	complain("sk_psock_link");
	let_go(fd);
}

/* Still runs when the other one has complained. */
static void wait_for_other(const char *suffix)
{
	int fd __auto_close = meet(suffix, O_RDONLY);
	char byte;

	if (fd >= 0)
		CHECK_EQ(read(fd, &byte, 1), 1, "read from the FIFO");
}

static void quiet(void)
{
	wait_for_other("");
}

static void quiet_later(void)
{
	wait_for_other(".later");
}

static const struct {
	const char *name;
	void (*run)(void);
} rows[] = {
	{ "complains", complains },
	{ "complains_once", complains_once },
	{ "quiet", quiet },
	{ "complains_later", complains_later },
	{ "quiet_later", quiet_later },
	{ "stands_by", stands_by },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	if (!getenv("SPLATS") || i >= ARRAY_SIZE(rows))
		return false;
	snprintf(sub->name, sizeof(sub->name), "%s", rows[i].name);
	return true;
}

static void run(unsigned int i)
{
	rows[i].run();
}

DEFINE_TEST(splats, describe, run);
