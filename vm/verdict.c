// SPDX-License-Identifier: GPL-2.0-only
/* What it all means: the verdict, and who is told. */
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/expect.h"
#include "harness/splat.h"
#include "vm/watch.h"

#define SPLAT_CONTEXT 40 /* lines, a call trace and its registers */
#define MAX_RUNNING   64

/* The bits of EFLAGS that are 0 in every processor, and the one that is 1; no kernel can change that. */
#define EFLAGS_ZEROS 0xffc08028
#define EFLAGS_ONE   0x2

const char *verdict_name(enum verdict verdict)
{
	switch (verdict) {
	case PASS:
		return "PASS";
	case FAIL:
		return "FAIL";
	case USAGE:
		return "USAGE";
	case CRASH:
		return "CRASH";
	case HANG:
		return "HANG";
	case SPLAT:
		return "SPLAT";
	case BOOTFAIL:
		return "BOOTFAIL";
	case INFRA:
		return "INFRA";
	case UNTESTABLE:
		return "UNTESTABLE";
	case SKIP:
		return "SKIP";
	case TIMEOUT:
		return "TIMEOUT";
	case INTERRUPTED:
		return "INTERRUPTED";
	}
	return "INFRA";
}

const char *outcome_name(enum outcome outcome)
{
	static const char *const names[] = {
		[OUTCOME_NONE] = "none",
		[OUTCOME_END] = "end",
		[OUTCOME_DIED] = "died",
		[OUTCOME_PANICKED] = "panicked",
		[OUTCOME_SILENT] = "silent",
		[OUTCOME_UNBOOTED] = "unbooted",
		[OUTCOME_HANG] = "hang",
		[OUTCOME_TIMEOUT] = "timeout",
		[OUTCOME_UNWRITTEN] = "unwritten",
		[OUTCOME_GARBLED] = "garbled",
		[OUTCOME_INTERRUPTED] = "interrupted",
		[OUTCOME_LEFT] = "left",
	};

	return names[outcome];
}

const char *phase_name(enum phase phase)
{
	static const char *const names[] = { "none", "boot", "tests", "finished" };

	return names[phase];
}

__attribute__((format(printf, 3, 4))) static void decide(struct run *run, enum verdict verdict,
							 const char *fmt, ...)
{
	va_list ap;

	run->verdict = verdict;
	va_start(ap, fmt);
	vsnprintf(run->reason, sizeof(run->reason), fmt, ap);
	va_end(ap);
}

/* ---- The kernel's messages ------------------------------------------------------------------- */

/*
 * Behind "[    1.234567] " and, with CONFIG_PRINTK_CALLER, "[  T123] ". A guest may say anything,
 * also what is meant for a terminal.
 */
static char *without_stamp(char *line)
{
	char *end;

	while (*line == '[' && (end = strchr(line, ']')) &&
	       strspn(line + 1, " .0123456789TC") == (size_t)(end - line - 1)) {
		line = end + 1;
		line += *line == ' ';
	}
	line[strcspn(line, "\r")] = '\0';
	for (char *p = line; *p; p++)
		if (*p != '\t' && !isprint((unsigned char)*p))
			*p = '?';
	return line;
}

/*
 * A splat that is excepted by the user, or known of this kernel. Whether the right subtest caused
 * it is what test_progs has looked at: if it did not, that says so.
 */
static bool is_excepted(const struct run *run, const struct expect *expect, const char *message)
{
	for (size_t i = 0; i < run->options.nr_splat_allow; i++)
		if (splat_patterns_match(run->options.splat_allow[i], message))
			return true;
	for (unsigned int i = 0; expect && i < expect->nr_blocks; i++)
		if (expect_splat(&expect->blocks[i], message))
			return true;
	return false;
}

/* Subtests between their marks in the log. */
struct marks {
	char *running[MAX_RUNNING];
	int nr;
};

static void follow_marks(struct marks *marks, char *message)
{
	char *name;

	if (!strncmp(message, "test_progs: start ", 18) && marks->nr < MAX_RUNNING) {
		marks->running[marks->nr++] = message + 18;
		return;
	}
	if (strncmp(message, "test_progs: end ", 16))
		return;
	name = message + 16;
	for (int i = 0; i < marks->nr; i++) {
		if (!strcmp(marks->running[i], name)) {
			marks->running[i] = marks->running[--marks->nr];
			return;
		}
	}
}

static void join_marks(const struct marks *marks, char *text, size_t size)
{
	size_t used = 0;

	*text = '\0';
	for (int i = 0; i < marks->nr && used < size; i++)
		used += snprintf(text + used, size - used, "%s%s", i ? ", " : "",
				 marks->running[i]);
}

/*
 * The first splat decides; all of them go to splat.txt, with what ran at that time and what
 * follows. Only what came after the tests began counts, unless nobody said when that was.
 */
static bool scan_messages(struct run *run, const struct expect *expect, char *text)
{
	char start[128], *save, *line = text;
	bool suspects = false;
	unsigned int traces;
	struct marks marks = {};
	int context = 0;
	FILE *to = NULL;

	snprintf(start, sizeof(start), "vmtest: %s tests start", run->options.nonce);
	if ((save = strstr(text, start)))
		line = save;
	/* A ring that has lost its beginning may begin in a splat: the console has that one, too. */
	traces = save == NULL;
	for (line = strtok_r(line, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *message = without_stamp(line);

		/* test_progs looks at these once more, and knows what is a leak indeed. */
		suspects |= !strcmp(message, "test_progs: looks for leaks");
		if (suspects && !strncmp(message, "kmemleak: ", 10))
			continue;
		follow_marks(&marks, message);
		join_marks(&marks, run->running, sizeof(run->running));
		if (!run->options.no_splat && splat_begins(message, &traces) &&
		    !is_excepted(run, expect, message)) {
			if (!*run->splat) {
				snprintf(run->splat, sizeof(run->splat), "%s", message);
				join_marks(&marks, run->splat_subtest, sizeof(run->splat_subtest));
			}
			if (!to)
				to = fopen(log_path(run, "splat.txt"), "w");
			if (to && !context)
				fprintf(to, "---- while running: %s\n",
					*run->running ? run->running : "no subtest");
			context = SPLAT_CONTEXT;
		}
		if (to && context) {
			fprintf(to, "%s\n", message);
			context--;
		}
	}
	if (to)
		fclose(to);
	return *run->splat;
}

void save_messages(struct run *run, struct port *port, char *text)
{
	static unsigned int traces;
	static int context;
	char *save, *line = strtok_r(text, "\n", &save);

	for (; line; line = strtok_r(NULL, "\n", &save)) {
		char *message = without_stamp(line);

		if (splat_begins(message, &traces))
			context = SPLAT_CONTEXT;
		if (context > 0 || !strncmp(message, "test_progs: ", 12) ||
		    !strncmp(message, "vmtest: ", 8)) {
			log_bytes(run, port, line, strlen(line));
			log_bytes(run, port, "\n", 1);
			context -= context > 0;
		}
	}
}

/* The guest's own copy of its log comes first: the console may have been cut short. */
static bool find_splat(struct run *run)
{
	static const char *const logs[] = { "dmesg.txt", "console.log" };
	struct expect *expect = NULL;
	bool found = false;
	char error[256];

	if (run->options.expect)
		expect = expect_load(run->options.expect, run->release, error, sizeof(error));

	for (size_t i = 0; i < sizeof(logs) / sizeof(*logs) && !found; i++) {
		struct buffer log = read_whole(run, logs[i]);

		/* What a guest says because we asked is no splat. */
		if (i == 1 && run->asked_ms && run->asked_at < log.len) {
			log.len = run->asked_at;
			log.data[log.len] = '\0';
		}
		if (log.len)
			found = scan_messages(run, expect, log.data);
		buffer_free(&log);
	}
	if (expect)
		expect_free(expect);
	return found;
}

/* ---- What the tests counted ------------------------------------------------------------------ */

static int count_of(const json_t *results, const char *key)
{
	const json_t *value = json_object_get(results, key);

	return json_is_integer(value) ? (int)json_integer_value(value) : -1;
}

static bool read_results(struct run *run)
{
	json_error_t error;
	json_t *results = json_load_file(log_path(run, "results.json"), 0, &error);

	if (!json_is_object(results))
		return false;
	run->passed = count_of(results, "success_subtest");
	run->failed = count_of(results, "failed_subtest");
	run->skipped = count_of(results, "skipped");
	run->xfailed = count_of(results, "xfail_subtest");
	run->xpassed = count_of(results, "xpass_subtest");
	json_decref(results);
	return run->passed >= 0;
}

/* ---- The verdict ----------------------------------------------------------------------------- */

/* The line of a log that has one of these words; "" if there is none. */
static void find_line(const struct run *run, const char *log, const char *const *words, char *into,
		      size_t size)
{
	struct buffer text = read_whole(run, log);
	char *save, *line = text.data ? strtok_r(text.data, "\r\n", &save) : NULL;

	*into = '\0';
	for (; line && !*into; line = strtok_r(NULL, "\r\n", &save))
		for (size_t i = 0; words[i]; i++)
			if (strstr(line, words[i])) {
				snprintf(into, size, "%s", strstr(line, words[i]));
				break;
			}
	buffer_free(&text);
}

/* init's second word on it, if the machine has the means: see confirm() in vm/init.c. */
static bool is_confirmed(const struct run *run)
{
	int said =
		run->done_by_signal ? 0x3f : 0x20 + (run->done_status < 15 ? run->done_status : 15);

	return run->qemu_code <= 0 || run->qemu_code == 2 * said + 1;
}

static void classify_exit(struct run *run)
{
	switch (run->done_status) {
	case 0:
		decide(run, PASS, "%s", "");
		break;
	case 1:
		decide(run, FAIL, "%s", "");
		break;
	case 2:
	case 64:
		decide(run, USAGE, "test_progs refuses its arguments");
		break;
	case 3:
		decide(run, UNTESTABLE, "the kernel lacks what the tests need");
		break;
	case 4:
		decide(run, SKIP, "every test was skipped");
		break;
	default:
		decide(run, FAIL, "test_progs exited with %d", run->done_status);
	}
}

/* A pass needs results that say so. */
static void check_results(struct run *run)
{
	if (!read_results(run))
		decide(run, INFRA, "test_progs says that it passed, but its results are lost");
	else if (run->failed > 0)
		decide(run, INFRA, "test_progs says that it passed, and that %d failed",
		       run->failed);
	else if (run->passed + (run->xfailed > 0 ? run->xfailed : 0) == 0)
		decide(run, FAIL, "no test ran");
}

static void classify_done(struct run *run)
{
	if (run->done_by_signal)
		decide(run, FAIL, "test_progs was killed by SIG%s",
		       sigabbrev_np(run->done_status) ?: "?");
	else
		classify_exit(run);
	if (!is_confirmed(run)) {
		decide(run, INFRA, "verdict mismatch: the tests' status and QEMU's (%d) disagree",
		       run->qemu_code);
		return;
	}
	if (run->verdict == PASS)
		check_results(run);
	else if (read_results(run) && run->verdict == SKIP && run->failed > 0)
		decide(run, INFRA, "test_progs says that all was skipped, and that %d failed",
		       run->failed);
	if (!find_splat(run))
		return;
	if (run->verdict == PASS || run->verdict == SKIP)
		decide(run, SPLAT, "%s", run->splat);
	else
		snprintf(run->reason + strlen(run->reason),
			 sizeof(run->reason) - strlen(run->reason), "%sand the kernel said: %s",
			 *run->reason ? "; " : "", run->splat);
}

static void classify_death(struct run *run)
{
	static const char *const panic[] = { "Kernel panic - not syncing", NULL };
	bool failed = run->qemu_code > 0;
	char line[256];

	if (run->phase >= PHASE_TESTS) {
		bool splat = find_splat(run);

		/* A guest that ends QEMU ends it well; an earlier warning is no word about that. */
		if (failed && !run->panicked)
			decide(run, INFRA, "QEMU ended with status %d", run->qemu_code);
		else if (splat)
			decide(run, CRASH, "%s", run->splat);
		else
			decide(run, CRASH, "the guest restarted without a word");
		return;
	}
	find_line(run, "console.log", panic, line, sizeof(line));
	if (*run->fatal || *line)
		decide(run, BOOTFAIL, "%s", *run->fatal ? run->fatal : line);
	else if (failed)
		decide(run, INFRA, "QEMU ended with status %d", run->qemu_code);
	else
		decide(run, BOOTFAIL, "the guest restarted before the tests");
}

static bool has_stray_breakpoint(const char *console)
{
	regex_t regex;
	bool found;

	if (regcomp(&regex, "int3: [0-9]+ \\[#", REG_EXTENDED | REG_NOSUB))
		return false;
	found = !regexec(&regex, console, 0, NULL, 0);
	regfree(&regex);
	return found;
}

/* In the first dump of registers; what comes later may be the kernel's own confusion. */
static bool has_impossible_flags(const char *console)
{
	static const char key[] = "EFLAGS: ", digits[] = "0123456789abcdef";
	const char *flags = strstr(console, key);
	unsigned long value;

	if (!flags || strspn(flags + strlen(key), digits) < 8)
		return false;
	value = strtoul(flags + strlen(key), NULL, 16);
	return (value & EFLAGS_ZEROS) || !(value & EFLAGS_ONE);
}

static void note_trouble(struct run *run)
{
	static const char *const kvm[] = { "KVM internal error",       "kvm run failed",
					   "failed to set MSR",	       "KVM: entry failed",
					   "failed to initialize kvm", NULL };
	struct buffer console = read_whole(run, "console.log");

	find_line(run, "qemu.log", kvm, run->kvm_error, sizeof(run->kvm_error));
	run->misfired = console.data &&
			(has_stray_breakpoint(console.data) || has_impossible_flags(console.data));
	buffer_free(&console);
}

/* The cases are in the order of what is known for certain. */
void classify(struct run *run)
{
	note_trouble(run);
	if (*run->unwritten) {
		decide(run, INFRA, "cannot write %s", run->unwritten);
		return;
	}
	switch (run->outcome) {
	case OUTCOME_END:
		if (run->options.terminal)
			decide(run, PASS, "the shell has ended");
		else
			classify_done(run);
		break;
	case OUTCOME_LEFT:
		if (run->phase < PHASE_TESTS)
			decide(run, INTERRUPTED, "left before there was a shell");
		else
			decide(run, PASS, "left");
		break;
	case OUTCOME_DIED:
	case OUTCOME_PANICKED:
		classify_death(run);
		break;
	case OUTCOME_SILENT:
		decide(run, BOOTFAIL, "no sign of the kernel in %u s", run->options.first_sign_s);
		break;
	case OUTCOME_UNBOOTED:
		decide(run, BOOTFAIL, "no sign of the tests in %d s", (int)(run->end_ms / 1000));
		break;
	case OUTCOME_HANG:
		find_splat(run);
		decide(run, HANG, "nothing happened for %u s", run->options.hang_s);
		break;
	case OUTCOME_TIMEOUT:
		find_splat(run);
		decide(run, TIMEOUT, "not finished in %u s", run->options.total_s);
		break;
	case OUTCOME_INTERRUPTED:
		decide(run, INTERRUPTED, "interrupted");
		break;
	default:
		decide(run, INFRA, "the control line is garbled; see control.log");
	}
}

/* ---- For people ------------------------------------------------------------------------------ */

/* What a guest says may be long, and may be meant for a terminal. */
static void show_line(const char *line)
{
	const int max = 300;
	int i;

	fprintf(stderr, "    ");
	for (i = 0; line[i] && i < max; i++)
		putc(line[i] == '\t' || isprint((unsigned char)line[i]) ? line[i] : '?', stderr);
	fprintf(stderr, "%s\n", line[i] ? "..." : "");
}

/* The last lines of a log. */
static void show_tail(const struct run *run, const char *name, int lines)
{
	struct buffer text = read_whole(run, name);
	char *from = text.len ? text.data + text.len - 1 : NULL;
	char *save;

	if (!from) {
		buffer_free(&text);
		return;
	}
	while (from > text.data && (lines -= from[-1] == '\n'))
		from--;
	say("the end of %s:", log_path(run, name));
	for (from = strtok_r(from, "\r\n", &save); from; from = strtok_r(NULL, "\r\n", &save))
		show_line(from);
	buffer_free(&text);
}

static void show_splat(const struct run *run)
{
	struct buffer text = read_whole(run, "splat.txt");
	char *save, *line = text.data ? strtok_r(text.data, "\n", &save) : NULL;

	if (line)
		say("the kernel said, while running %s:",
		    *run->splat_subtest ? run->splat_subtest : "no subtest");
	for (int i = 0; line && i <= SPLAT_CONTEXT; i++, line = strtok_r(NULL, "\n", &save))
		if (strncmp(line, "----", 4) || i)
			show_line(line);
	buffer_free(&text);
}

static void show_running(const struct run *run)
{
	if (*run->running)
		say("running: %s", run->running);
	show_tail(run, "test.log", 3);
}

static void show_details(const struct run *run)
{
	switch (run->verdict) {
	case PASS:
	case SKIP:
	case INTERRUPTED:
		return;
	case CRASH:
		show_splat(run);
		if (!*run->splat)
			show_tail(run, "console.log", 30);
		show_running(run);
		break;
	case HANG:
	case TIMEOUT:
		show_splat(run);
		show_running(run);
		break;
	case BOOTFAIL:
		show_tail(run, "console.log", 40);
		if (!run->spoke)
			say("not a word from the kernel; --append earlyprintk=serial,ttyS0,115200 may get one");
		break;
	case INFRA:
		show_tail(run, "qemu.log", 20);
		break;
	default:
		show_splat(run);
	}
	if (!run->options.show_tests && run->verdict != BOOTFAIL)
		show_tail(run, "test.log", 40);
	say("logs: %s", run->options.dir);
}

/* ---- For machines ---------------------------------------------------------------------------- */

static void add_text(json_t *to, const char *key, const char *text)
{
	json_t *value = json_string(text);

	/* What a guest says need not be UTF-8. */
	if (!value) {
		char *copy = strdup(text);

		for (char *p = copy; p && *p; p++)
			if (!isascii(*p))
				*p = '?';
		value = json_string(copy ?: "");
		free(copy);
	}
	json_object_set_new(to, key, value);
}

static void add_digest(json_t *to, int fd)
{
	char text[64 + 1] = "";
	size_t len = 0;
	ssize_t n;

	while (fd >= 0 && len < sizeof(text) - 1 &&
	       (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += n;
	add_text(to, "image_sha256", len == sizeof(text) - 1 ? text : "");
}

static json_t *tests_of(const struct run *run)
{
	if (run->passed < 0)
		return json_null();
	return json_pack("{s:i, s:i, s:i, s:i, s:i}", "passed", run->passed, "failed", run->failed,
			 "skipped", run->skipped, "xfail", run->xfailed > 0 ? run->xfailed : 0,
			 "xpass", run->xpassed > 0 ? run->xpassed : 0);
}

static void write_json(struct run *run)
{
	json_t *all = json_object();
	struct buffer text = {};
	char *dump;

	add_text(all, "verdict", verdict_name(run->verdict));
	json_object_set_new(all, "code", json_integer(run->verdict));
	add_text(all, "reason", run->reason);
	add_text(all, "phase", phase_name(run->phase));
	add_text(all, "outcome", outcome_name(run->outcome));
	if (run->done)
		json_object_set_new(all, run->done_by_signal ? "signal" : "exit",
				    json_integer(run->done_status));
	json_object_set_new(all, "tests", tests_of(run));
	add_text(all, "splat", run->splat);
	add_text(all, "splat_subtest", run->splat_subtest);
	add_text(all, "running", run->running);
	add_text(all, "release", run->release);
	add_text(all, "version", run->version);
	add_digest(all, run->digest_fd);
	for (size_t i = 0; i < run->options.nr_info; i++) {
		char *key = strdup(run->options.info[i]), *value = key ? strchr(key, '=') : NULL;

		if (value) {
			*value++ = '\0';
			add_text(all, key, value);
		}
		free(key);
	}
	json_object_set_new(all, "boot_seconds", json_real(run->boot_ms / 1000.0));
	json_object_set_new(all, "tests_seconds",
			    json_real(run->done ? (run->done_ms - run->tests_ms) / 1000.0 : 0));
	json_object_set_new(all, "seconds", json_real(run->end_ms / 1000.0));
	dump = json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	buffer_append(&text, dump ?: "", dump ? strlen(dump) : 0);
	buffer_append(&text, "\n", 1);
	/* If our disk is full, no verdict of ours can be trusted to arrive. */
	if (write_file(run, log_path(run, "verdict.json"), text.data, text.len) &&
	    (run->verdict == PASS || run->verdict == SKIP))
		decide(run, INFRA, "cannot write %s", run->unwritten);
	buffer_free(&text);
	free(dump);
	json_decref(all);
}

static void fact(struct buffer *to, const char *key, const char *value)
{
	buffer_append(to, key, strlen(key));
	buffer_append(to, "=", 1);
	for (; *value; value++)
		buffer_append(to, isprint((unsigned char)*value) ? value : " ", 1);
	buffer_append(to, "\n", 1);
}

/* Negative: there is none. */
static void number(struct buffer *to, const char *key, long long value)
{
	char text[32] = "";

	if (value >= 0)
		snprintf(text, sizeof(text), "%lld", value);
	fact(to, key, text);
}

static void write_facts(struct run *run)
{
	struct buffer facts = {};

	if (!run->options.facts_path)
		return;
	number(&facts, "code", run->verdict);
	fact(&facts, "verdict", verdict_name(run->verdict));
	fact(&facts, "reason", run->reason);
	fact(&facts, "outcome", outcome_name(run->outcome));
	fact(&facts, "phase", phase_name(run->phase));
	number(&facts, "spoke", run->spoke);
	number(&facts, "qemu_rc", run->qemu_code);
	fact(&facts, "release", run->release);
	fact(&facts, "splat", run->splat);
	fact(&facts, "splat_subtest", run->splat_subtest);
	fact(&facts, "running", run->running);
	number(&facts, "passed", run->passed);
	number(&facts, "failed", run->failed);
	number(&facts, "skipped", run->skipped);
	number(&facts, "xfailed", run->xfailed);
	number(&facts, "xpassed", run->xpassed);
	fact(&facts, "kvm_error", run->kvm_error);
	number(&facts, "misfired", run->misfired);
	number(&facts, "boot_ms", run->boot_ms);
	number(&facts, "tests_ms", run->tests_ms);
	number(&facts, "done_ms", run->done_ms);
	number(&facts, "end_ms", run->end_ms);
	write_file(run, run->options.facts_path, facts.data, facts.len);
	buffer_free(&facts);
}

void report(struct run *run)
{
	write_json(run);
	show_details(run);
	write_facts(run);
}
