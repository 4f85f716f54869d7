// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "harness/knob.h"
#include "network_helpers.h"

/* In one write(2), since each of them is a command of its own. */
int write_knob(const char *path, const char *text)
{
	int fd __auto_close = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t len = strlen(text);

	return fd >= 0 && write(fd, text, len) == len ? 0 : -errno;
}
