/* SPDX-License-Identifier: GPL-2.0-only */
/* What redirect.bpf.c and user space agree on. */
#ifndef PROGS_REDIRECT_H
#define PROGS_REDIRECT_H

#include <linux/types.h>

/*
 * No verdict of its own: that of the helper that redirects. The others call it, too, to no avail: all
 * the same the data is dropped.
 */
#define REDIRECT       -1
#define REDIRECT_DROP  -2 /* the target is there, but the verdict is SK_DROP */
#define REDIRECT_FLAGS -3 /* with a flag that there is not */
#define REDIRECT_KEY   -4 /* to a key that is not in the map, nor can be in a SOCKMAP */

/* Keys of the maps: the target is where the programs look for it. */
#define KEY_OUT 0
#define KEY_IN	1

/*
 * A key of a map, from its beginning: an index of 4 bytes, or all 40 bytes, which differ in the
 * last ones only. The key of the target is zero either way.
 */
#define LONG_KEY_SIZE 40

struct redirect_key {
	__u32 words[LONG_KEY_SIZE / sizeof(__u32)];
};

#endif /* PROGS_REDIRECT_H */
