/* SPDX-License-Identifier: GPL-2.0-only */
/* Messages of the kernel that mean it is broken: WARNING, BUG, KASAN, lockdep and their kin. */
#ifndef SPLAT_H
#define SPLAT_H

#include <stdbool.h>

/* Open /dev/kmsg at its end: a descriptor, or -errno. */
int splat_open(void);

/*
 * Read what the kernel has said since the last time. The text from the first splat on, for the
 * caller to free; NULL: there was none.
 */
char *splat_read(int kmsg_fd);

/* Whether one message, without its time stamp, is a splat. */
bool splat_matches(const char *message);

#endif /* SPLAT_H */
