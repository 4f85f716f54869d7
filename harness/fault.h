/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that runs out on request, where the kernel has CONFIG_FAILSLAB: any one allocation that a
 * thread makes from a slab cache can be made to fail.
 */
#ifndef FAULT_H
#define FAULT_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Once for the machine, and for good: let those fail, too, that may wait for memory, and the kernel
 * say nothing about it, since its call traces look like splats. 0, or -errno where the kernel has no
 * such failures, or there is no debugfs.
 */
int failslab_set_up(void);

/*
 * Make a call of which the n-th allocation fails, n > 0: returns what it did. *failed: there was one.
 * -errno where the kernel cannot do that (-ENOENT); the call was not made then, and *failed is false.
 */
ssize_t call_without_memory(unsigned int n, ssize_t (*call)(void *arg), void *arg, bool *failed);

/* A call, and what is to be seen after it. */
struct fallible {
	const char *what;
	ssize_t (*call)(void *arg);   /* as send(2), or 0; -errno */
	bool (*unchanged)(void *arg); /* it failed: nothing has happened; its checks hold */
	bool (*undo)(void *arg);      /* it did not: it has happened, and is undone; the same */
};

/*
 * The call over and over, with its first allocation failing, then the second, until there are no
 * more. It may say that there is no memory, and then has to succeed when it is made again.
 */
void check_without_memory(const struct fallible *f, void *arg);

#endif /* FAULT_H */
