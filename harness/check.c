// SPDX-License-Identifier: GPL-2.0-only
/* The checks that a subtest makes: counted in the page it shares with the runner, printed here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/child.h"
#include "harness/harness.h"

#define LINE_MAX_LEN 1024

static char scope[128];

void check_scope(const char *fmt, ...)
{
	va_list ap;

	scope[0] = '\0';
	if (!fmt)
		return;
	va_start(ap, fmt);
	vsnprintf(scope, sizeof(scope), fmt, ap);
	va_end(ap);
}

/*
 * Standard output is the log, unless the subtest closed it and the number is now another file, maybe
 * a socket under test. The first failure is kept in the shared page too, so it is not lost then.
 */
static void print_line(const char *line)
{
	if (child_owns_log())
		dprintf(STDOUT_FILENO, "%s\n", line);
}

static bool report(const struct check_site *site, enum timeline_check about, bool ok,
		   const char *detail, const char *what, va_list ap)
{
	char line[LINE_MAX_LEN], text[LINE_MAX_LEN / 2], says[LINE_MAX_LEN - 128];

	child_count_check(ok);
	if (ok && child_verbosity() == 0)
		return true;

	vsnprintf(text, sizeof(text), what, ap);
	snprintf(says, sizeof(says), "%s%s%s%s%s", scope, *scope ? ": " : "", text,
		 *detail ? ": " : "", detail);
	snprintf(line, sizeof(line), "%s:%d: %s: %s", site->file, site->line, ok ? "ok" : "FAIL",
		 says);
	if (!ok) {
		child_record_reason(line);
		timeline_fail(about, says);
	}
	print_line(line);
	return ok;
}

/* "-13 EACCES (Permission denied)", or the number alone where it is no error. */
static const char *describe_ret(long long ret, char *buf, size_t size)
{
	const char *name = ret < 0 && ret > -4096 ? strerrorname_np((int)-ret) : NULL;

	if (name)
		snprintf(buf, size, "-%s (%s)", name, strerror((int)-ret));
	else
		snprintf(buf, size, "%lld", ret);
	return buf;
}

bool check_true(const struct check_site *site, bool ok, const char *what, ...)
{
	char detail[256] = "";
	va_list ap;

	if (!ok)
		snprintf(detail, sizeof(detail), "%s does not hold", site->expr);
	va_start(ap, what);
	report(site, TL_CONDITION, ok, detail, what, ap);
	va_end(ap);
	return ok;
}

bool check_eq(const struct check_site *site, long long got, long long want, const char *what, ...)
{
	char detail[256] = "", name[96];
	va_list ap;

	if (got != want)
		snprintf(detail, sizeof(detail), "%s is %s, want %lld", site->expr,
			 describe_ret(got, name, sizeof(name)), want);
	va_start(ap, what);
	report(site, got < 0 ? TL_CONDITION : TL_NUMBER, got == want, detail, what, ap);
	va_end(ap);
	return got == want;
}

bool check_le(const struct check_site *site, long long got, long long max, const char *what, ...)
{
	char detail[256] = "";
	va_list ap;

	if (got > max)
		snprintf(detail, sizeof(detail), "%s is %lld, want at most %lld", site->expr, got,
			 max);
	va_start(ap, what);
	report(site, TL_NUMBER, got <= max, detail, what, ap);
	va_end(ap);
	return got <= max;
}

bool check_ok(const struct check_site *site, long long ret, const char *what, ...)
{
	char detail[256] = "", name[96];
	va_list ap;

	if (ret < 0)
		snprintf(detail, sizeof(detail), "%s is %s, want no error", site->expr,
			 describe_ret(ret, name, sizeof(name)));
	va_start(ap, what);
	report(site, TL_CONDITION, ret >= 0, detail, what, ap);
	va_end(ap);
	return ret >= 0;
}

bool check_err(const struct check_site *site, long long ret, int want, const char *what, ...)
{
	char detail[256] = "", name[96];
	va_list ap;

	if (ret != -want)
		snprintf(detail, sizeof(detail), "%s is %s, want -%s", site->expr,
			 describe_ret(ret, name, sizeof(name)), strerrorname_np(want));
	va_start(ap, what);
	report(site, TL_CONDITION, ret == -want, detail, what, ap);
	va_end(ap);
	return ret == -want;
}

/* The first difference, with some bytes of either side from there on. */
static void describe_difference(const unsigned char *got, size_t n, const unsigned char *want,
				size_t len, char *buf, size_t size)
{
	char got_hex[3 * 8 + 1] = "", want_hex[3 * 8 + 1] = "";
	size_t at = 0;

	while (at < n && at < len && got[at] == want[at])
		at++;
	for (size_t i = 0; i < 8; i++) {
		if (at + i < n)
			sprintf(got_hex + strlen(got_hex), " %02x", got[at + i]);
		if (at + i < len)
			sprintf(want_hex + strlen(want_hex), " %02x", want[at + i]);
	}
	snprintf(buf, size, "got %zu bytes, want %zu; from byte %zu on got%s, want%s", n, len, at,
		 *got_hex ? got_hex : " nothing", *want_hex ? want_hex : " nothing");
}

bool check_bytes(const struct check_site *site, const void *got, ssize_t n, const void *want,
		 size_t len, const char *what, ...)
{
	bool ok = n >= 0 && (size_t)n == len && memcmp(got, want, len) == 0;
	char detail[256] = "", name[96];
	va_list ap;

	if (!ok && n < 0)
		snprintf(detail, sizeof(detail), "got %s, want %zu bytes",
			 describe_ret(n, name, sizeof(name)), len);
	else if (!ok)
		describe_difference(got, n, want, len, detail, sizeof(detail));
	va_start(ap, what);
	report(site, TL_BYTES, ok, detail, what, ap);
	va_end(ap);
	return ok;
}

void note(const char *fmt, ...)
{
	char text[LINE_MAX_LEN - 16], line[LINE_MAX_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	child_record_note(text);
	snprintf(line, sizeof(line), "note: %s", text);
	if (child_verbosity() > 0)
		print_line(line);
}

void observed(const char *fmt, ...)
{
	char word[CHILD_WORD_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(word, sizeof(word), fmt, ap);
	va_end(ap);
	child_record_observed(word);
}

void skip(const char *fmt, ...)
{
	char text[LINE_MAX_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	child_skip(text);
}
