/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calls that sleep until something happens, each on a thread of its own: proven to be asleep before
 * it happens, and watched until they are woken by it.
 *
 * A call that stays asleep although what it waits for is there is told apart from one that waits for
 * what never comes: the first is decided by looking at both, again and again, for half a second;
 * only the second takes patience_ms(). A thread that was woken does not look asleep, however long
 * it has to wait for a CPU.
 */
#ifndef SLEEPER_H
#define SLEEPER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Has to live as long as the process: a thread that cannot be ended goes on using it. */
struct sleeper {
	ssize_t (*call)(void *arg); /* what it returns is in ret; -EINTR where it is interrupted */
	bool (*due)(void *arg);	    /* what it waits for is there; consumes nothing */
	void *arg;
	long syscall; /* that it sleeps in: SYS_ppoll, ... */

	ssize_t ret;
	uint64_t woken_ns; /* CLOCK_MONOTONIC */

	pthread_t thread;
	atomic_int tid;
	int done_fd; /* an eventfd, readable when the call has returned */
	bool started;
};

/* Start it: 1 when it sleeps in its system call, 0 when it has returned already; or -errno. */
int sleeper_start(struct sleeper *s);

/* The same of one that has to sleep. */
bool check_asleep(struct sleeper *s, const char *what);

/* What it waits for happens, or has: it wakes up and returns. */
bool check_woken(struct sleeper *s, const char *what);

/* The same of at least one of n. */
bool check_any_woken(struct sleeper *s, unsigned int n, const char *what);

/*
 * All of n are asleep, those again that were woken for nothing: one that is on its way back to sleep
 * would take what comes next from under the program's eyes.
 */
bool check_all_asleep(struct sleeper *s, unsigned int n, const char *what);

/* The call has returned. */
bool sleeper_is_through(const struct sleeper *s);

/* End n of them, those that are still asleep too. */
void sleepers_stop(struct sleeper *s, unsigned int n);

#endif /* SLEEPER_H */
