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

/*
 * Leave "test_progs: start NAME" in the kernel's log, if KMSG_MARKS is in the environment: a
 * console that ends in a crash then tells what was running. Not by default, since other people read
 * that log.
 */
void splat_mark_start(const char *test, const char *subtest);

/* Whether one message, without its time stamp, is a splat. */
bool splat_matches(const char *message);

#endif /* SPLAT_H */
