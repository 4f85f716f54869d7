/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How many objects of the kernel's slab caches are in use: a socket, an skb or a message that is
 * lost stays there when everything else is gone. See Documentation/ABI/testing/sysfs-kernel-slab.
 */
#ifndef SLAB_H
#define SLAB_H

#include <stdbool.h>
#include <stdint.h>

/* By slab cache, those of slab_name(); -1: there is nothing to be learned from it. */
struct slab_counts {
	long objects[24];
};

/* Whether this kernel can be asked: it takes SLUB with CONFIG_SLUB_DEBUG, and root. */
bool slab_open(void);
void slab_close(void);

/*
 * Count, exactly: what a processor holds back, be it for the next allocation or because it has not
 * come to free it, is given back first.
 */
void slab_count(struct slab_counts *counts);

/* Bits of the caches that have at least `by` objects more in use now than then. */
uint32_t slab_grown(const struct slab_counts *then, const struct slab_counts *now, long by);

/* As in /proc/slabinfo. */
const char *slab_name(int cache);

#endif /* SLAB_H */
