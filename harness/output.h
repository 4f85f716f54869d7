/* SPDX-License-Identifier: GPL-2.0-only */
/* Where a report goes: a file that is replaced as a whole, or what cannot be, such as a pipe. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <stdio.h>

struct output {
	const char *path; /* as typed; "-": standard output */
	/* Both NULL where the target cannot be replaced: it gets the report at the end. */
	char *final_path, *tmp_path;
	int err; /* the first one, of output_flush() or of whoever writes */
};

/*
 * Find out whether a report can be written there, and leave the one of an earlier run as it is. 0, or
 * -errno and an explanation on stderr.
 */
int output_begin(struct output *output, const char *path);

/* A run begins: the report of an earlier one is not to pass for its own. */
void output_forget(const struct output *output);

/*
 * Write a report: output_open(), print, output_close(), which replaces the target if that worked. NULL
 * or -errno: it did not, and stderr says so.
 */
FILE *output_open(const struct output *output);
int output_close(const struct output *output, FILE *file);

/*
 * For reports that grow: the target itself, emptied. NULL: stderr says why. output_flush() whenever
 * something is worth to be seen.
 */
FILE *output_stream(const struct output *output);
void output_flush(struct output *output, FILE *file);
int output_close_stream(const struct output *output, FILE *file);

void output_end(struct output *output);

#endif /* OUTPUT_H */
