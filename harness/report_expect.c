// SPDX-License-Identifier: GPL-2.0-only
/*
 * A draft of a list of known failures (see harness/expect.h), from those of this run. What only a
 * person can know is marked with "?", which no run accepts.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/known.h"
#include "harness/report.h"
#include "harness/splat.h"
#include "network_helpers.h"

/* ---- Regular expressions --------------------------------------------------------------------- */

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool ends_in(const char *text, const char *end, const char *with)
{
	size_t len = strlen(with);

	return (size_t)(end - text) >= len && memcmp(end - len, with, len) == 0;
}

/* Times, parts of addresses, processes and processors: those of the next run are others. */
static bool is_volatile(const char *text, const char *number, size_t len)
{
	const char *after = number + len;

	return len >= 3 || (*after == '.' && isdigit((unsigned char)after[1])) ||
	       (number - text > 1 && number[-1] == '.' && isdigit((unsigned char)number[-2])) ||
	       begins(after, " s") || begins(after, " ms") || ends_in(text, number, "CPU: ") ||
	       ends_in(text, number, "PID: ");
}

/* How much of the text at p another run may say differently, and a pattern for that; or 0. */
static size_t volatile_part(const char *text, const char *p, const char **pattern)
{
	size_t digits = strspn(p, "0123456789"), hex = strspn(p, "0123456789abcdef");

	/* Names, such as tcp4. */
	if (p > text && (isalnum((unsigned char)p[-1]) || p[-1] == '_'))
		return 0;
	*pattern = "0x[0-9a-f]+";
	if (begins(p, "0x"))
		return 2 + strspn(p + 2, "0123456789abcdef");
	*pattern = "[0-9]+";
	if (digits && !isalnum((unsigned char)p[digits]))
		return is_volatile(text, p, digits) ? digits : 0;
	*pattern = "[0-9a-f]+";
	return hex >= 8 && !isalnum((unsigned char)p[hex]) ? hex : 0;
}

/* A pattern for a text of a run, that fits the same text of another one. To be freed. */
static char *make_regex(const char *text)
{
	/* What was there instead of the payload: that is random. */
	const char *end = strstr(text, "; from byte ") ?: text + strlen(text);
	char *regex = NULL;
	size_t size;
	FILE *out = open_memstream(&regex, &size);

	for (const char *p = text; out && p < end;) {
		const char *pattern;
		size_t n = volatile_part(text, p, &pattern);

		if (n) {
			fputs(pattern, out);
			p += n;
			continue;
		}
		if (strchr("\\.[{()*+?^$|", *p))
			fputc('\\', out);
		fputc(*p++, out);
	}
	if (out)
		fclose(out);
	return regex;
}

/* ---- What a block says ----------------------------------------------------------------------- */

/* Lines of a block, each once, in the order in which they were added. */
struct values {
	char **list;
	unsigned int nr;
};

static void add_value(struct values *values, const char *text)
{
	char *regex = make_regex(text);
	char **list;

	for (unsigned int i = 0; regex && i < values->nr; i++) {
		if (strcmp(values->list[i], regex) == 0) {
			free(regex);
			return;
		}
	}
	list = regex ? reallocarray(values->list, values->nr + 1, sizeof(*list)) : NULL;
	if (!list)
		abort();
	list[values->nr++] = regex;
	values->list = list;
}

static void put_values(FILE *out, const char *key, struct values *values)
{
	for (unsigned int i = 0; i < values->nr; i++) {
		fprintf(out, "%s %s\n", key, values->list[i]);
		free(values->list[i]);
	}
	free(values->list);
	*values = (struct values){};
}

static bool add_splat(const char *message, void *values)
{
	add_value(values, message);
	return true;
}

static void add_parts(const struct result *r, struct values *says, struct values *splats)
{
	const char *log = r->log;
	char *text;

	while ((text = known_next_check(&log))) {
		add_value(says, text);
		free(text);
	}
	log = r->reason;
	text = known_next_check(&log);
	if (text || !known_is_splat(r))
		add_value(says, text ?: r->reason);
	free(text);
	if (r->also)
		add_value(says, r->also);
	if (r->kernel_log)
		splat_all_known(r->kernel_log, add_splat, splats);
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

static bool is_same_block(const struct plan_item *a, const struct plan_item *b)
{
	return b->result.verdict == VERDICT_FAIL && a->subtest.guards == b->subtest.guards;
}

static bool begins_block(const struct plan *plan, unsigned int i)
{
	for (unsigned int k = 0; k < i; k++) {
		if (is_same_block(&plan->items[i], &plan->items[k]))
			return false;
	}
	return plan->items[i].result.verdict == VERDICT_FAIL;
}

/* Of several fixes that a subtest guards, it cannot be told here which one is missing. */
static void put_fix(FILE *out, const struct subtest *sub)
{
	const struct fix *fix = sub->guards;

	if (sub->nr_guards == 1) {
		fprintf(out, "fix:   %s (\"%s\")\n", fix->commit, fix->subject);
		return;
	}
	for (unsigned int i = 0; i < sub->nr_guards; i++)
		fprintf(out, "# maybe %s (\"%s\")\n", fix[i].commit, fix[i].subject);
	fputs("fix:   ?\n", out);
}

static void put_name(FILE *out, const struct plan_item *item)
{
	fprintf(out, "fail:  %s/", item->test->name);
	for (const char *c = item->subtest.name; *c; c++)
		fprintf(out, strchr("*?[\\", *c) ? "\\%c" : "%c", *c);
	fputc('\n', out);
}

static void put_block(FILE *out, const struct plan *plan, unsigned int first)
{
	struct values says = {}, splats = {};

	fputc('\n', out);
	put_fix(out, &plan->items[first].subtest);
	fputs("why:   ?\n", out);
	for (unsigned int i = first; i < plan->nr_items; i++) {
		if (!is_same_block(&plan->items[first], &plan->items[i]))
			continue;
		put_name(out, &plan->items[i]);
		add_parts(&plan->items[i].result, &says, &splats);
	}
	put_values(out, "says: ", &says);
	put_values(out, "splat:", &splats);
}

static void put_draft(FILE *out, const struct run_info *info)
{
	fprintf(out,
		"# Failures of %s\n"
		"#\n"
		"# Say instead of each \"?\" which commit is the fix and what user space sees; a \"fixed:\"\n"
		"# may name the releases that have it. \"norun:\" keeps one that crashes the kernel from running.\n",
		info->kernel);
	for (unsigned int i = 0; i < info->plan->nr_items; i++) {
		if (begins_block(info->plan, i))
			put_block(out, info->plan, i);
	}
}

/* ---- The file -------------------------------------------------------------------------------- */

static int complain(const char *path, int err)
{
	fprintf(stderr, "%s: cannot write the draft %s: %s\n", program_invocation_short_name, path,
		strerror(-err));
	return err;
}

static int open_beside(const char *path, char **tmp)
{
	int fd;

	if (asprintf(tmp, "%s.%d.tmp", path, getpid()) < 0)
		return -ENOMEM;
	fd = open(*tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	return fd < 0 ? -errno : fd;
}

/* Somebody may have worked on a file that is there already. */
static int expect_begin(const struct run_info *info)
{
	const char *path = info->options->draft_path;
	int fd __auto_close = -1;
	struct stat st;
	char *tmp;

	if (!path)
		return 0;
	if (lstat(path, &st) == 0)
		return complain(path, -EEXIST);
	fd = open_beside(path, &tmp);
	if (fd >= 0)
		unlink(tmp);
	free(tmp);
	return fd < 0 ? complain(path, fd) : 0;
}

/* link(2) replaces nothing, and the file is never there by half. */
static int write_draft(const struct run_info *info, const char *path, const char *tmp, int fd)
{
	FILE *out = fdopen(fd, "w");

	if (!out)
		return -errno;
	put_draft(out, info);
	if (fclose(out))
		return -errno;
	return link(tmp, path) ? -errno : 0;
}

static int expect_end(const struct run_info *info)
{
	const char *path = info->options->draft_path;
	char *tmp;
	int fd, err;

	if (!path)
		return 0;
	if (summarize(info->plan).failed == 0) {
		fprintf(stderr, "%s: nothing has failed: there is no draft %s\n",
			program_invocation_short_name, path);
		return 0;
	}
	fd = open_beside(path, &tmp);
	err = fd < 0 ? fd : write_draft(info, path, tmp, fd);
	if (fd >= 0)
		unlink(tmp);
	free(tmp);
	return err ? complain(path, err) : 0;
}

const struct reporter report_expect = {
	.begin = expect_begin,
	.end = expect_end,
};
