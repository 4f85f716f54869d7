/* SPDX-License-Identifier: GPL-2.0-only */
/* What redirect.bpf.c and user space agree on. */
#ifndef PROGS_REDIRECT_H
#define PROGS_REDIRECT_H

#include <linux/types.h>

/* No verdict of its own: that of the helper that redirects. */
#define REDIRECT -1

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
