/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef NETNS_H
#define NETNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Make a network namespace whose loopback interface is up: a descriptor that holds it, or -errno.
 * The caller stays where it is. Needs CAP_SYS_ADMIN; for a process with one thread. */
int netns_create(void);

/* Move the calling thread there: 0 or -errno. */
int netns_enter(int netns_fd);

/* A socket in a new network namespace, which ends with it: the descriptor, or -errno. */
int netns_socket(int family, int type, int protocol);

/*
 * How many sockets of TCP, UDP and AF_UNIX the namespace holds, or -errno. TIME_WAIT does not count:
 * that is no socket any more, but the memory of one. Of the first one found, `which` gets a line.
 */
int netns_count_sockets(int netns_fd, char *which, size_t size);

/*
 * A socket can be lost for good: closed, in no list, and never freed, since a reference to it is not
 * given back. What it still does is keep its network namespace alive, and that can be asked for: a
 * namespace that has got an id is looked up by it until its last user is gone.
 *
 * netns_watch_open() makes what the ids are known in: a descriptor, or -errno. netns_watch() gives an
 * id, which has to be new: 0 or -errno. netns_is_alive(): 1, 0 or -errno.
 */
int netns_watch_open(void);
int netns_watch(int watch_fd, int netns_fd, int32_t id);
int netns_is_alive(int watch_fd, int32_t id);

#endif /* NETNS_H */
