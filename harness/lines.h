/* SPDX-License-Identifier: GPL-2.0-only */
/* Files that people write by hand, read line by line; one that is cut short is not taken for whole.
 */
#ifndef LINES_H
#define LINES_H

#include <stddef.h>
#include <stdio.h>

struct lines {
	const char *path;
	FILE *file;
	char *text; /* the latest line, without blanks at either end */
	unsigned int number;
	char *buf;
	size_t room;
};

/* Open path, which has to live as long as *lines. 0 or -errno. */
int lines_open(struct lines *lines, const char *path);

/*
 * Go to the next line. 1, or 0 at the end of the file; -1: it cannot be read, or is no text, or
 * breaks off within a line, as error says.
 */
int lines_next(struct lines *lines, char *error, size_t size);

void lines_close(struct lines *lines);

/* The text without blanks at either end; it is changed in place. */
char *strip_blanks(char *text);

#endif /* LINES_H */
