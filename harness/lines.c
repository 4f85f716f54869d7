// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness/lines.h"

int lines_open(struct lines *lines, const char *path)
{
	*lines = (struct lines){ .path = path, .file = fopen(path, "re") };
	return lines->file ? 0 : -errno;
}

int lines_next(struct lines *l, char *error, size_t size)
{
	ssize_t len;

	errno = 0;
	len = getline(&l->buf, &l->room, l->file);
	if (len < 0) {
		if (feof(l->file))
			return 0;
		snprintf(error, size, "cannot read %s: %s", l->path, strerror(errno));
		return -1;
	}
	l->number++;
	if (strlen(l->buf) != (size_t)len) {
		snprintf(error, size, "%s:%u: a NUL byte: this is no text", l->path, l->number);
		return -1;
	}
	/* A line that the file breaks off in would be one that its author did not write. */
	if (l->buf[len - 1] != '\n') {
		snprintf(error, size, "%s:%u: the last line has no end: the file is truncated",
			 l->path, l->number);
		return -1;
	}
	l->text = strip_blanks(l->buf);
	return 1;
}

void lines_close(struct lines *l)
{
	if (l->file)
		fclose(l->file);
	free(l->buf);
	*l = (struct lines){};
}

char *strip_blanks(char *text)
{
	char *end = text + strlen(text);

	while (isspace((unsigned char)*text))
		text++;
	while (end > text && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return text;
}
