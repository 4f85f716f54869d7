/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that nobody points to, as kernels with CONFIG_DEBUG_KMEMLEAK find it. See
 * Documentation/dev-tools/kmemleak.rst.
 */
#ifndef KMEMLEAK_H
#define KMEMLEAK_H

#include <stdbool.h>
#include <stdint.h>

struct lost_object {
	int pid;	  /* of the thread that allocated it; 0: an interrupt */
	uint64_t jiffies; /* when it was allocated */
	char *text;	  /* the kernel's, with the call trace; to be freed */
};

/* Forget what is lost by now. False: this kernel has no such thing, or has given it up. */
bool kmemleak_begin(void);

/*
 * Look for what has been lost since then: *text, to be freed; NULL: nothing. Takes 6 s, and three scans
 * of all memory. 0, or -errno: it has given up, for good, such as for lack of memory.
 */
int kmemleak_find(char **text);

/* The next object in a text of kmemleak_find(), from *text on; false: there is none. */
bool kmemleak_next(const char **text, struct lost_object *object);

/* When such an object was allocated, as now_ns() tells the time; 0: that cannot be known. */
uint64_t kmemleak_when(const struct lost_object *object);

#endif /* KMEMLEAK_H */
