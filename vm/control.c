// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control line: "VMTEST <nonce> <phase> ...", as vm/init.c sends it. A line without our nonce
 * is noise; one that has it and makes no sense means that bytes were lost, or forged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "vm/watch.h"

#define LINE_MAX_KEPT 4096
#define FILE_MAX      (256u << 20)

static void garbled(struct run *run)
{
	if (!run->outcome)
		run->outcome = OUTCOME_GARBLED;
}

/* ---- Phases ---------------------------------------------------------------------------------- */

static void take_boot(struct run *run, const char *args)
{
	size_t len = strcspn(args, " ");

	if (run->phase != PHASE_NONE) {
		garbled(run);
		return;
	}
	snprintf(run->release, sizeof(run->release), "%.*s", (int)len, args);
	snprintf(run->version, sizeof(run->version), "%s", args + len + (args[len] == ' '));
	run->phase = PHASE_BOOT;
	run->boot_ms = now_ms() - run->started_ms;
}

static void take_note(struct run *run, const char *args)
{
	if (run->options.show_console)
		say("note: %s", args);
}

static void take_fatal(struct run *run, const char *args)
{
	snprintf(run->fatal, sizeof(run->fatal), "%s", args);
}

static void take_start(struct run *run, const char *args)
{
	(void)args;
	if (run->phase != PHASE_BOOT) {
		garbled(run);
		return;
	}
	run->phase = PHASE_TESTS;
	run->tests_ms = now_ms() - run->started_ms;
}

/* A second one can only be a forgery. */
static void take_done(struct run *run, const char *args)
{
	int status;
	char rest;

	if (run->phase != PHASE_TESTS || run->done) {
		garbled(run);
		return;
	}
	run->done_by_signal = !strncmp(args, "signal ", 7);
	if (sscanf(run->done_by_signal ? args + 7 : args, "%d%c", &status, &rest) != 1 ||
	    status < 0 || status > 255) {
		garbled(run);
		return;
	}
	run->done = true;
	run->done_status = status;
	run->phase = PHASE_FINISHED;
	run->done_ms = now_ms() - run->started_ms;
}

static void take_file(struct run *run, const char *args)
{
	char rest;

	if (!run->done ||
	    sscanf(args, "%63s %zu %zu%c", run->incoming_name, &run->incoming_size,
		   &run->incoming_raw, &rest) != 3 ||
	    run->incoming_size > FILE_MAX || run->incoming_raw > FILE_MAX) {
		garbled(run);
		return;
	}
	buffer_free(&run->incoming);
	run->receiving = true;
}

static void take_end(struct run *run, const char *args)
{
	(void)args;
	if (run->done && !run->outcome)
		run->outcome = OUTCOME_END;
	else if (!run->done)
		garbled(run);
}

static const struct {
	const char *word;
	void (*take)(struct run *run, const char *args);
} phases[] = {
	{ "BOOT", take_boot },	       { "NOTE", take_note }, { "FATAL", take_fatal },
	{ "TESTS-START", take_start }, { "DONE", take_done }, { "FILE", take_file },
	{ "END", take_end },
};

static void take_line(struct run *run, char *line, size_t line_len)
{
	char prefix[128];
	size_t len;
	char *args;

	if (line_len && line[line_len - 1] == '\r')
		line[--line_len] = '\0';
	snprintf(prefix, sizeof(prefix), "VMTEST %s ", run->options.nonce);
	len = strlen(prefix);
	if (strncmp(line, prefix, len)) {
		/* A file is followed by the next line of ours, or bytes have been lost. */
		if (run->after_file && *line)
			garbled(run);
		return;
	}
	run->after_file = false;
	if (strlen(line) != line_len || strchr(line, '\r')) {
		garbled(run);
		return;
	}
	line += len;
	args = line + strcspn(line, " ");
	if (*args)
		*args++ = '\0';
	for (size_t i = 0; i < sizeof(phases) / sizeof(*phases); i++)
		if (!strcmp(phases[i].word, line)) {
			phases[i].take(run, args);
			return;
		}
	garbled(run);
}

/* ---- Files ----------------------------------------------------------------------------------- */

static const char *const kept_files[] = { "dmesg.txt", "results", "config.gz", "kmemleak.txt" };

/* "core.123": a core dump; whatever a guest may call one has its place among the logs. */
static bool is_core(const char *name)
{
	return !strncmp(name, "core.", 5) && name[5] &&
	       strspn(name + 5, "0123456789") == strlen(name + 5);
}

static void keep_file(struct run *run, const char *path, const char *data, size_t len)
{
	if (write_file(run, path, data, len) && !run->outcome)
		run->outcome = OUTCOME_UNWRITTEN;
}

static void file_arrived(struct run *run)
{
	const char *name = run->incoming_name;
	uLongf raw = run->incoming_raw;
	char *data = malloc(raw + 1);

	run->receiving = false;
	run->after_file = true;
	if (!data ||
	    uncompress((Bytef *)data, &raw, (Bytef *)run->incoming.data, run->incoming_size) !=
		    Z_OK ||
	    raw != run->incoming_raw) {
		free(data);
		garbled(run);
		return;
	}
	for (size_t i = 0; i < sizeof(kept_files) / sizeof(*kept_files); i++)
		if (!strcmp(name, kept_files[i]))
			keep_file(run, log_path(run, i == 1 ? "results.json" : name), data, raw);
	if (is_core(name)) {
		keep_file(run, log_path(run, name), data, raw);
		say("a program has crashed: %s", log_path(run, name));
	}
	for (size_t i = 0; i < run->options.nr_collect; i++)
		if (!strcmp(name, run->options.collect[i].name))
			keep_file(run, run->options.collect[i].path, data, raw);
	free(data);
	buffer_free(&run->incoming);
}

static size_t receive_file(struct run *run, const char *data, size_t len)
{
	size_t missing = run->incoming_size - run->incoming.len;
	size_t take = len < missing ? len : missing;

	buffer_append(&run->incoming, data, take);
	if (run->incoming.len == run->incoming_size)
		file_arrived(run);
	return take;
}

static size_t receive_text(struct run *run, const char *data, size_t len)
{
	struct buffer *line = &run->control_line;
	const char *end = memchr(data, '\n', len);
	size_t take = end ? (size_t)(end - data) : len;

	/* Of a line without end, the beginning is enough to know that it is not ours. */
	if (line->len < LINE_MAX_KEPT)
		buffer_append(line, data, take);
	if (!end)
		return len;
	if (!line->data)
		buffer_append(line, "", 0);
	take_line(run, line->data, line->len);
	buffer_free(line);
	return take + 1;
}

void control_receive(struct run *run, const char *data, size_t len)
{
	while (len && !run->outcome) {
		size_t used = run->receiving ? receive_file(run, data, len)
					     : receive_text(run, data, len);

		data += used;
		len -= used;
		if (run->receiving && !run->incoming_size)
			garbled(run);
	}
}
