// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "harness/html.h"
#include "harness/json.h"
#include "network_helpers.h"

asm(".pushsection .rodata\nhtml_template:\n.incbin \"html/report.html\"\n.byte 0\n.popsection");
extern const char html_template[];

/* Where the results go. */
#define PLACE "@RESULTS@"

static bool says_nothing(const json_t *value)
{
	return json_is_false(value) || (json_is_string(value) && !json_string_length(value)) ||
	       (json_is_array(value) && !json_array_size(value)) ||
	       (json_is_object(value) && !json_object_size(value));
}

/* Most of what is said about most subtests is that there is nothing to say. */
static void drop_empty(json_t *object)
{
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe(object, next, key, value)
	{
		if (says_nothing(value))
			json_object_del(object, key);
	}
}

static void shorten(json_t *run)
{
	json_t *test, *sub;
	size_t i, j;

	json_array_foreach (json_object_get(run, "results"), i, test) {
		json_array_foreach (json_object_get(test, "subtests"), j, sub)
			drop_empty(sub);
	}
}

json_t *html_describe_run(const char *name, json_t *run, json_t *verdict, const char *log)
{
	json_t *all = json_object();

	json_object_set_new(all, "name", json_text(name));
	if (run) {
		shorten(run);
		json_object_set_new(all, "run", run);
	}
	if (verdict)
		json_object_set_new(all, "verdict", verdict);
	if (log)
		json_object_set_new(all, "log", json_text(log));
	return all;
}

/*
 * In JSON "<" is only found inside of strings, and there it may be written otherwise: no log can end
 * the script element, or begin a comment in it.
 */
static int dump_escaped(const char *text, size_t size, void *file)
{
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '<')
			fputs("\\u003c", file);
		else
			fputc(text[i], file);
	}
	return 0;
}

int html_write(FILE *file, json_t *runs)
{
	const char *place = strstr(html_template, PLACE);

	fwrite(html_template, 1, place - html_template, file);
	if (json_dump_callback(runs, dump_escaped, file, JSON_COMPACT))
		return -ENOMEM;
	fputs(place + strlen(PLACE), file);
	return ferror(file) ? -errno : 0;
}
