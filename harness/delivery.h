/* SPDX-License-Identifier: GPL-2.0-only */
/* What became of the data of a traced subtest: the part of its timeline that counts, in words. */
#ifndef DELIVERY_H
#define DELIVERY_H

#include <stdbool.h>
#include <stdio.h>

#include "harness/timeline.h"

struct delivery {
	struct timeline_line *lines;
	unsigned int nr_lines;
	unsigned int left_out; /* lines that were too many, after the first half of those kept */
	char conclusion[512];
	char *gaps; /* what the kernel does not show; "": nothing */
};

/*
 * NULL: nothing was sent, or no memory. passed: the traced run of a subtest that failed before did
 * not fail again.
 */
struct delivery *delivery_create(const struct timeline *timeline, const char *gaps, bool passed);
void delivery_free(struct delivery *delivery);

/* The lines, one each and with the conclusion last, each of them after the indentation. */
void delivery_print(const struct delivery *delivery, FILE *file, const char *indent);

#endif /* DELIVERY_H */
