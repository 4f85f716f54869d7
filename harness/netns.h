/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef NETNS_H
#define NETNS_H

#include <stdbool.h>
#include <stddef.h>

/* Make a network namespace whose loopback interface is up: a descriptor that holds it, or -errno.
 * The caller stays where it is. Needs CAP_SYS_ADMIN; for a process with one thread. */
int netns_create(void);

/* Move the calling thread there: 0 or -errno. */
int netns_enter(int netns_fd);

/*
 * How many sockets of TCP, UDP and AF_UNIX the namespace holds, or -errno. TIME_WAIT does not count:
 * that is no socket any more, but the memory of one. Of the first one found, `which` gets a line.
 */
int netns_count_sockets(int netns_fd, char *which, size_t size);

#endif /* NETNS_H */
