// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/html.h"
#include "harness/json.h"
#include "harness/output.h"
#include "network_helpers.h"

/* So much of the log of a kernel that complained is shown. */
#define LOG_MAX (64 * 1024)

static __attribute__((format(printf, 2, 3))) int complain(const char *path, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: %s: ", program_invocation_short_name, path);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return -EINVAL;
}

static json_t *load(const char *path)
{
	json_error_t error;
	json_t *root;

	if (access(path, R_OK)) {
		complain(path, "%s", strerror(errno));
		return NULL;
	}
	root = json_load_file(path, JSON_ALLOW_NUL, &error);
	if (!root)
		complain(path, "line %d is not JSON: %s", error.line, error.text);
	return root;
}

static bool has_string(const json_t *object, const char *key)
{
	return json_is_string(json_object_get(object, key));
}

/* All that the page relies on. */
static bool is_run(const json_t *root)
{
	const json_t *results = json_object_get(root, "results"), *test, *subtests, *sub;
	size_t i, j;

	if (!has_string(root, "kernel") || !json_is_array(results))
		return false;
	json_array_foreach (results, i, test) {
		subtests = json_object_get(test, "subtests");
		if (!has_string(test, "name") || !json_is_array(subtests))
			return false;
		json_array_foreach (subtests, j, sub) {
			if (!has_string(sub, "name") || !has_string(sub, "verdict"))
				return false;
		}
	}
	return true;
}

static json_t *load_run(const char *path)
{
	json_t *root = load(path);

	if (root && !is_run(root)) {
		complain(path, "these are not results that -J wrote");
		json_decref(root);
		return NULL;
	}
	return root;
}

static json_t *load_verdict(const char *path)
{
	json_t *root = load(path);

	if (root && !has_string(root, "verdict")) {
		complain(path, "this is not a verdict that vmtest.sh wrote");
		json_decref(root);
		return NULL;
	}
	return root;
}

/* The beginning of a file; NULL: there is none. */
static char *read_log(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text;

	if (!file)
		return NULL;
	text = calloc(1, LOG_MAX + 1);
	if (text)
		text[fread(text, 1, LOG_MAX, file)] = '\0';
	fclose(file);
	return text;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static json_t *describe_file(const char *path)
{
	json_t *run = load_run(path);

	return run ? html_describe_run(base_name(path), run, NULL, NULL) : NULL;
}

static bool find_in(const char *dir, const char *name, char *path)
{
	snprintf(path, PATH_MAX, "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

/* What vmtest.sh said at last of a kernel that it could not even boot. */
static json_t *verdict_from_log(const char *path)
{
	char *text = read_log(path), *line;
	json_t *verdict;

	if (!text)
		return NULL;
	text[strlen(text) - (*text && text[strlen(text) - 1] == '\n')] = '\0';
	line = strrchr(text, '\n');
	verdict = json_object();
	json_object_set_new(verdict, "verdict", json_string("NOT TESTED"));
	json_object_set_new(verdict, "reason", json_text(line ? line + 1 : text));
	free(text);
	return verdict;
}

static json_t *find_verdict(const char *dir)
{
	char path[PATH_MAX];

	if (find_in(dir, "verdict.json", path))
		return load_verdict(path);
	if (find_in(dir, "vmtest.log", path))
		return verdict_from_log(path);
	complain(dir, "there is no verdict.json, as vmtest.sh writes it");
	return NULL;
}

/* A kernel that did not come as far as the tests has a verdict, and no results. */
static json_t *describe_directory(const char *dir)
{
	json_t *run = NULL, *verdict = find_verdict(dir), *all;
	char path[PATH_MAX], *log;

	if (!verdict)
		return NULL;
	if (find_in(dir, "results.json", path)) {
		run = load_run(path);
		if (!run) {
			json_decref(verdict);
			return NULL;
		}
	}
	find_in(dir, "splat.txt", path);
	log = read_log(path);
	all = html_describe_run(base_name(dir), run, verdict, log);
	free(log);
	return all;
}

static json_t *describe_any(const char *path)
{
	struct stat st;

	if (stat(path, &st)) {
		complain(path, "%s", strerror(errno));
		return NULL;
	}
	return S_ISDIR(st.st_mode) ? describe_directory(path) : describe_file(path);
}

static int write_page(const char *path, json_t *runs)
{
	struct output output;
	int err = output_begin(&output, path);
	FILE *file;

	if (err)
		return err;
	file = output_open(&output);
	if (file) {
		output.err = html_write(file, runs);
		err = output_close(&output, file);
	}
	output_end(&output);
	return file ? err : -EIO;
}

int html_merge(const char *path, char *const *files, unsigned int nr_files)
{
	json_t *runs = json_array();
	int err = 0;

	for (unsigned int i = 0; i < nr_files && !err; i++) {
		json_t *run = describe_any(files[i]);

		err = run ? json_array_append_new(runs, run) : -EINVAL;
	}
	if (!err)
		err = write_page(path, runs);
	json_decref(runs);
	return err;
}
