// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness/fault.h"
#include "harness/harness.h"
#include "harness/knob.h"
#include "network_helpers.h"

/* Of the calling thread: allocations until the one that fails; 0: it has, or none is to. */
#define FAIL_NTH "/proc/thread-self/fail-nth"

static int write_number(int fd, unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	return write(fd, text, len) == len ? 0 : -errno;
}

int failslab_set_up(void)
{
	return write_knob("/sys/kernel/debug/failslab/verbose", "0")
		       ?: write_knob("/sys/kernel/debug/failslab/ignore-gfp-wait", "0");
}

static bool fault_is_due(int fd)
{
	char text[16] = "";

	return pread(fd, text, sizeof(text) - 1, 0) > 0 && atoi(text) > 0;
}

ssize_t call_without_memory(unsigned int n, ssize_t (*call)(void *arg), void *arg, bool *failed)
{
	int fd __auto_close = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	int err = fd < 0 ? -errno : write_number(fd, n);
	ssize_t ret;

	*failed = false;
	if (err)
		return err;
	ret = call(arg);
	*failed = !fault_is_due(fd);
	write_number(fd, 0);
	return ret;
}

static bool check_repeated(const struct fallible *f, void *arg, ssize_t ret)
{
	return CHECK(ret == -ENOMEM || ret == -ENOBUFS, "%s, without memory: %zd", f->what, ret) &&
	       f->unchanged(arg) && CHECK_OK(f->call(arg), "%s, with memory again", f->what);
}

void check_without_memory(const struct fallible *f, void *arg)
{
	unsigned int n = 0;
	bool failed;

	do {
		ssize_t ret = call_without_memory(++n, f->call, arg, &failed);

		if (!failed && !CHECK_OK(ret, "%s", f->what))
			return;
		if ((ret < 0 && !check_repeated(f, arg, ret)) || !f->undo(arg))
			return;
	} while (failed);
	/* That of a kernel which has another way to do it. */
	if (n == 1)
		note("%s: has no allocation that can fail", f->what);
}
