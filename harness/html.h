/* SPDX-License-Identifier: GPL-2.0-only */
/* The page of html/report.html with results in it: one file, which needs nothing else. */
#ifndef HTML_H
#define HTML_H

#include <stdio.h>

struct json_t;

/*
 * Describe a run for the page: takes over both references. run: what -J writes; verdict: that of
 * vmtest.sh on the machine, or NULL; either may be NULL. log: what the kernel complained about, or
 * NULL.
 */
struct json_t *html_describe_run(const char *name, struct json_t *run, struct json_t *verdict,
				 const char *log);

/* Write the page about an array of such runs. 0 or -errno; some failures are seen at fclose() only. */
int html_write(FILE *file, struct json_t *runs);

/*
 * Make the page at path from files that -J wrote, and directories in which vmtest.sh keeps its
 * logs. 0, or -errno and a line on stderr.
 */
int html_merge(const char *path, char *const *files, unsigned int nr_files);

#endif /* HTML_H */
