// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/output.h"
#include "network_helpers.h"

static bool is_stdout(const struct output *o)
{
	return strcmp(o->path, "-") == 0;
}

/* Not a pipe, not a terminal. */
static bool can_replace(const char *path)
{
	struct stat st;

	return strcmp(path, "-") && (stat(path, &st) || S_ISREG(st.st_mode));
}

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A link stays a link: it is what it points to that is replaced. */
static int find_paths(struct output *o)
{
	o->final_path = realpath(o->path, NULL) ?: strdup(o->path);
	if (!o->final_path || asprintf(&o->tmp_path, "%s.tmp", o->final_path) < 0)
		return -ENOMEM;
	return 0;
}

static int try_path(struct output *o)
{
	int fd __auto_close = -1;

	if (is_stdout(o))
		return 0;
	if (!*o->path)
		return -ENOENT;
	if (!can_replace(o->path)) {
		/* Opening could wait for the reader of a pipe. */
		return is_directory(o->path) ? -EISDIR : access(o->path, W_OK) ? -errno : 0;
	}
	if (find_paths(o))
		return -ENOMEM;
	fd = open(o->tmp_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0)
		return -errno;
	return unlink(o->tmp_path) ? -errno : 0;
}

int output_begin(struct output *o, const char *path)
{
	int err;

	*o = (struct output){ .path = path };
	err = try_path(o);
	if (err)
		fprintf(stderr, "%s: cannot write the results to %s: %s\n",
			program_invocation_short_name, path, strerror(-err));
	return err;
}

static int complain(const struct output *o, int err)
{
	fprintf(stderr, "cannot write the results to %s: %s\n", o->path, strerror(-err));
	return err;
}

void output_forget(const struct output *o)
{
	if (o->final_path && unlink(o->final_path) && errno != ENOENT)
		complain(o, -errno);
}

static FILE *open_path(const struct output *o, const char *path, int flags)
{
	int fd = is_stdout(o) ? STDOUT_FILENO : open(path, O_WRONLY | O_CLOEXEC | flags, 0666);
	FILE *file = is_stdout(o) ? stdout : fd < 0 ? NULL : fdopen(fd, "w");

	if (!file)
		complain(o, -errno);
	return file;
}

FILE *output_open(const struct output *o)
{
	return o->tmp_path ? open_path(o, o->tmp_path, O_CREAT | O_TRUNC)
			   : open_path(o, o->path, 0);
}

FILE *output_stream(const struct output *o)
{
	return open_path(o, o->final_path ?: o->path, o->final_path ? O_CREAT | O_TRUNC : 0);
}

static int close_file(const struct output *o, FILE *file)
{
	int err = o->err;
	bool bad;

	errno = 0;
	bad = fflush(file) || ferror(file);
	if (bad && !err)
		err = -(errno ?: EIO);
	if (!is_stdout(o) && fclose(file) && !err)
		err = -errno;
	return err;
}

int output_close(const struct output *o, FILE *file)
{
	int err = close_file(o, file);

	if (o->tmp_path && !err && rename(o->tmp_path, o->final_path))
		err = -errno;
	if (o->tmp_path && err)
		unlink(o->tmp_path);
	return err ? complain(o, err) : 0;
}

void output_flush(struct output *o, FILE *file)
{
	if (fflush(file) && !o->err)
		o->err = -errno;
}

int output_close_stream(const struct output *o, FILE *file)
{
	int err = close_file(o, file);

	return err ? complain(o, err) : 0;
}

void output_end(struct output *o)
{
	free(o->tmp_path);
	free(o->final_path);
	*o = (struct output){};
}
