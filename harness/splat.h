/* SPDX-License-Identifier: GPL-2.0-only */
/* Messages of the kernel that mean it is broken: WARNING, BUG, KASAN, lockdep and their kin. */
#ifndef SPLAT_H
#define SPLAT_H

#include <stdbool.h>
#include <stddef.h>

/* harness/kmsg.c: the log of this kernel. */

/* Open /dev/kmsg at its end: a descriptor, or -errno. */
int splat_open(void);

/*
 * Read what the kernel has said since the last time. The text from the first splat on, for the
 * caller to free; NULL: there was none.
 */
char *splat_read(int kmsg_fd);

/*
 * Whether each splat in a text of splat_read() is one that known() says yes to: it gets the message
 * that each begins with. A text that does not name all of its splats is not known.
 */
bool splat_all_known(const char *text, bool (*known)(const char *message, void *arg), void *arg);

/*
 * Leave "test_progs: start NAME" or the like in the kernel's log, if KMSG_MARKS is in the environment:
 * a log that ends in a crash then tells what was running. Not by default, since other people read
 * that log.
 */
void splat_mark(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* harness/splat_foreign.c: what no subtest is to blame for. */

/*
 * Whether a text of splat_read() is only about a cgroup that has reached its limit of memory, or about
 * a driver that has nothing to do with the network: all of its splats are warnings in the source of
 * drivers, and no function of sockets, the network or BPF is on a stack. Anything else, such as memory
 * that is not as it should be, may be due to any part of the kernel, wherever it is found.
 */
bool splat_is_foreign(const char *text);

/* harness/splat.c: the patterns, which need no kernel. */

/* Whether one message, without its time stamp, is a splat. */
bool splat_matches(const char *message);

/*
 * Whether a message begins a splat, in a log that is read from front to back. A call trace does,
 * unless it belongs to one that has begun. Processors print theirs at the same time, so traces
 * counts the splats that have not ended. Not all kinds of them have an end.
 */
bool splat_begins(const char *message, unsigned int *traces);

/* Messages by extended regular expressions, one a line, as in vm/splats.allow. */
struct splat_patterns;

/* NULL, and why: the file cannot be read, or breaks off, or a line is no regular expression. */
struct splat_patterns *splat_patterns_load(const char *path, char *error, size_t size);
bool splat_patterns_match(const struct splat_patterns *patterns, const char *message);

#endif /* SPLAT_H */
