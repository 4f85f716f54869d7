// SPDX-License-Identifier: GPL-2.0-only
/*
 * Subtests that make the kernel complain, as far as the harness can tell: what they write to the
 * kernel's log begins with KMSG_TAG. Only with SPLATS: a FIFO, or the name of one that is not there.
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

static void complain(void)
{
	write_line("WARNING: CPU: 1 PID: 8 at net/core/skmsg.c:1 sk_psock_drop+0x1/0x2");
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
static int meet(int flags)
{
	int fd = open(getenv("SPLATS"), flags | O_CLOEXEC);

	CHECK(fd >= 0 || errno == ENOENT, "open the FIFO");
	if (fd >= 0 && flags == O_RDONLY)
		CHECK_OK(unlink(getenv("SPLATS")), "remove the FIFO");
	return fd;
}

static void let_go(int fd)
{
	if (fd >= 0)
		CHECK_EQ(write(fd, "x", 1), 1, "write to the FIFO");
}

static void complains(void)
{
	int fd __auto_close = meet(O_WRONLY);

	complain();
	let_go(fd);
}

static void complains_once(void)
{
	int fd __auto_close = meet(O_WRONLY);

	if (fd >= 0)
		complain();
	let_go(fd);
}

/* Still runs when the other one has complained. */
static void quiet(void)
{
	int fd __auto_close = meet(O_RDONLY);
	char byte;

	if (fd >= 0)
		CHECK_EQ(read(fd, &byte, 1), 1, "read from the FIFO");
}

static const struct {
	const char *name;
	void (*run)(void);
} rows[] = {
	{ "complains", complains },
	{ "complains_once", complains_once },
	{ "quiet", quiet },
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
