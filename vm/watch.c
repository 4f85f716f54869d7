// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmwatch: start QEMU, watch its serial lines until there is a verdict, and say what happened.
 *
 * This is one boot; vmtest.sh decides what to boot and whether to boot again. The lines are those
 * that vm/init.c speaks on, and the verdict is what they prove.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "harness/splat.h"
#include "vm/watch.h"

/* ---- Small things ---------------------------------------------------------------------------- */

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

void buffer_append(struct buffer *b, const void *data, size_t len)
{
	b->data = realloc(b->data, b->len + len + 1);
	if (!b->data) {
		say("out of memory");
		exit(INFRA);
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buffer_drop(struct buffer *b, size_t len)
{
	b->len -= len;
	memmove(b->data, b->data + len, b->len + 1);
}

void buffer_blank_nuls(struct buffer *b)
{
	for (size_t i = 0; i < b->len; i++)
		if (!b->data[i])
			b->data[i] = ' ';
}

void buffer_free(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer){};
}

const char *log_path(const struct run *run, const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", run->options.dir, name);
	return path;
}

struct buffer read_whole(const struct run *run, const char *name)
{
	int fd = open(log_path(run, name), O_RDONLY | O_CLOEXEC);
	struct buffer b = {};
	char chunk[65536];
	ssize_t n;

	if (fd < 0)
		return b;
	buffer_append(&b, "", 0);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		buffer_append(&b, chunk, n);
	close(fd);
	/* The logs are read as text, and a guest may say anything. */
	buffer_blank_nuls(&b);
	return b;
}

int write_file(struct run *run, const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int err = fd < 0 ? -errno : 0;

	while (!err && len) {
		ssize_t n = write(fd, data, len);

		if (n < 0)
			err = -errno;
		else
			data = (const char *)data + n, len -= n;
	}
	if (fd >= 0 && close(fd) && !err)
		err = -errno;
	if (err)
		snprintf(run->unwritten, sizeof(run->unwritten), "%s: %s", path, strerror(-err));
	return err;
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "vmtest: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
}

/* ---- Options --------------------------------------------------------------------------------- */

enum {
	OPT_NONCE = 256,
	OPT_FACTS,
	OPT_BOOT,
	OPT_HANG,
	OPT_TOTAL,
	OPT_FIRST_SIGN,
	OPT_COLLECT,
	OPT_SPLAT_ALLOW,
	OPT_NO_SPLAT,
	OPT_EXPECT,
	OPT_SHOW_CONSOLE,
	OPT_SHOW_TESTS,
	OPT_IMAGE,
	OPT_TERMINAL,
	OPT_INFO,
};

static const struct argp_option argp_options[] = {
	{ NULL, 'o', "DIR", 0, "Put the logs there", 0 },
	{ "nonce", OPT_NONCE, "HEX", 0, "What marks the guest's control lines", 0 },
	{ "facts", OPT_FACTS, "FILE", 0, "Write what is known there, KEY=VALUE", 0 },
	{ "boot-timeout", OPT_BOOT, "S", 0,
	  "Silence that ends a boot; a boot that talks gets three times as long", 0 },
	{ "hang-timeout", OPT_HANG, "S", 0, "Silence that ends the tests", 0 },
	{ "timeout", OPT_TOTAL, "S", 0, "For everything", 0 },
	{ "first-sign", OPT_FIRST_SIGN, "S", 0, "For the kernel's first line", 0 },
	{ "collect", OPT_COLLECT, "NAME=PATH", 0, "Where a file from the guest goes", 0 },
	{ "splat-allow", OPT_SPLAT_ALLOW, "FILE", 0, "More exceptions to the splats", 0 },
	{ "no-splat", OPT_NO_SPLAT, NULL, 0, "No kernel message is a splat", 0 },
	{ "expect", OPT_EXPECT, "FILE|DIR", 0, "Known failures, whose splats do not count", 0 },
	{ "show-console", OPT_SHOW_CONSOLE, NULL, 0, "Copy the console to stderr", 0 },
	{ "show-tests", OPT_SHOW_TESTS, NULL, 0, "Copy the tests' output to stdout", 0 },
	{ "image", OPT_IMAGE, "FILE", 0, "What boots: its SHA-256 goes to verdict.json", 0 },
	{ "terminal", OPT_TERMINAL, NULL, 0, "Connect the tests' port to this terminal", 0 },
	{ "info", OPT_INFO, "KEY=VALUE", 0, "For verdict.json", 0 },
	{}
};

static void add_string(const char ***list, size_t *nr, const char *text)
{
	*list = reallocarray(*list, *nr + 1, sizeof(**list));
	if (!*list)
		exit(INFRA);
	(*list)[(*nr)++] = text;
}

static void add_collect(struct options *o, char *arg, struct argp_state *state)
{
	char *path = strchr(arg, '=');

	if (!path)
		argp_error(state, "--collect needs NAME=PATH");
	*path++ = '\0';
	o->collect = reallocarray(o->collect, o->nr_collect + 1, sizeof(*o->collect));
	if (!o->collect)
		exit(INFRA);
	o->collect[o->nr_collect++] = (struct collect){ arg, path };
}

static void add_patterns(struct options *o, const char *path, struct argp_state *state)
{
	char error[256];

	o->splat_allow =
		reallocarray(o->splat_allow, o->nr_splat_allow + 1, sizeof(*o->splat_allow));
	if (!o->splat_allow)
		exit(INFRA);
	o->splat_allow[o->nr_splat_allow] = splat_patterns_load(path, error, sizeof(error));
	if (!o->splat_allow[o->nr_splat_allow++])
		argp_error(state, "%s: %s", path, error);
}

static unsigned int seconds(const char *arg, struct argp_state *state)
{
	unsigned long value;
	char *end;

	value = strtoul(arg, &end, 10);
	if (!*arg || *end || value > 10000000)
		argp_error(state, "\"%s\" is not a number of seconds", arg);
	return value;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'o':
		o->dir = arg;
		return 0;
	case OPT_NONCE:
		o->nonce = arg;
		return 0;
	case OPT_FACTS:
		o->facts_path = arg;
		return 0;
	case OPT_BOOT:
		o->boot_s = seconds(arg, state);
		return 0;
	case OPT_HANG:
		o->hang_s = seconds(arg, state);
		return 0;
	case OPT_TOTAL:
		o->total_s = seconds(arg, state);
		return 0;
	case OPT_FIRST_SIGN:
		o->first_sign_s = seconds(arg, state);
		return 0;
	case OPT_COLLECT:
		add_collect(o, arg, state);
		return 0;
	case OPT_SPLAT_ALLOW:
		add_patterns(o, arg, state);
		return 0;
	case OPT_NO_SPLAT:
		o->no_splat = true;
		return 0;
	case OPT_EXPECT:
		o->expect = arg;
		return 0;
	case OPT_SHOW_CONSOLE:
		o->show_console = true;
		return 0;
	case OPT_SHOW_TESTS:
		o->show_tests = true;
		return 0;
	case OPT_IMAGE:
		o->image = arg;
		return 0;
	case OPT_TERMINAL:
		o->terminal = true;
		return 0;
	case OPT_INFO:
		add_string(&o->info, &o->nr_info, arg);
		return 0;
	case ARGP_KEY_ARGS:
		o->qemu = state->argv + state->next;
		return 0;
	case ARGP_KEY_END:
		if (!o->dir || !o->nonce || !o->qemu)
			argp_error(state, "-o, --nonce and a command are needed");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static const struct argp argp = {
	.options = argp_options,
	.parser = parse_option,
	.args_doc = "-- QEMU ARGUMENT...",
	.doc = "Run one guest, and say what became of it. The arguments name the character devices "
	       "console, control, tests and monitor, which are added here.\v"
	       "The exit status is the verdict: see vmtest.sh --help.",
};

/* ---- Watching -------------------------------------------------------------------------------- */

static bool over(uint64_t since_ms, uint64_t limit_s)
{
	return limit_s && now_ms() - since_ms > limit_s * 1000;
}

/* QEMU says so, but stays. */
static bool kvm_has_failed(const struct run *run)
{
	struct buffer log = read_whole(run, "qemu.log");
	bool failed = log.data && strstr(log.data, "KVM internal error");

	buffer_free(&log);
	return failed;
}

static enum outcome check_deadlines(const struct run *run)
{
	const struct options *o = &run->options;

	if (run->panicked && over(run->progress_ms, 5))
		return OUTCOME_PANICKED;
	if (o->first_sign_s && !run->spoke && run->phase == PHASE_NONE &&
	    (over(run->started_ms, o->first_sign_s) || kvm_has_failed(run)))
		return OUTCOME_SILENT;
	if (over(run->started_ms, o->total_s))
		return OUTCOME_TIMEOUT;
	if (run->phase < PHASE_TESTS)
		return over(run->progress_ms, o->boot_s) || over(run->started_ms, 3ULL * o->boot_s)
			       ? OUTCOME_UNBOOTED
			       : OUTCOME_NONE;
	return over(run->progress_ms, o->hang_s) ? OUTCOME_HANG : OUTCOME_NONE;
}

static void watch(struct run *run)
{
	uint64_t next_check = 0;

	while (!run->outcome) {
		pump(run, 500);
		/* Not after each byte, but also while they keep coming. */
		if (!run->outcome && now_ms() >= next_check) {
			next_check = now_ms() + 400;
			run->outcome = check_deadlines(run);
		}
	}
	run->end_ms = now_ms() - run->started_ms;
}

static void finish(struct run *run)
{
	switch (run->outcome) {
	case OUTCOME_HANG:
	case OUTCOME_TIMEOUT:
	case OUTCOME_UNBOOTED:
		/* What it says when it is asked comes after what it had to say, and may be as much. */
		flush_logs(run);
		dump_guest(run);
		qemu_stop(run, 0);
		break;
	case OUTCOME_END:
	case OUTCOME_DIED:
		/* It leaves by itself, with a status worth knowing. */
		qemu_stop(run, 3000);
		break;
	default:
		qemu_stop(run, 0);
	}
	flush_logs(run);
	flush_copies(run);
}

/* ---- Setting up ------------------------------------------------------------------------------ */

static const char *const logs[] = { "console.log",  "control.log", "test.log",	  "qemu.log",
				    "dmesg.txt",    "hang.txt",	   "splat.txt",	  "verdict.json",
				    "results.json", "config.gz",   "kmemleak.txt" };

/* Whatever an earlier run left must not be taken for this one's. */
static void remove_logs(const struct run *run)
{
	for (size_t i = 0; i < sizeof(logs) / sizeof(*logs); i++)
		unlink(log_path(run, logs[i]));
	for (size_t i = 0; i < run->options.nr_collect; i++) {
		struct stat st;

		if (!stat(run->options.collect[i].path, &st) && S_ISREG(st.st_mode))
			unlink(run->options.collect[i].path);
	}
}

static int open_log(struct run *run, const char *name)
{
	int fd = open(log_path(run, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0) {
		say("INFRA: %s: %s", log_path(run, name), strerror(errno));
		exit(INFRA);
	}
	return fd;
}

static void open_logs(struct run *run)
{
	remove_logs(run);
	for (int i = 0; i < NR_PORTS; i++)
		run->ports[i] = (struct port){ .fd = -1, .log_fd = -1, .copy_fd = -1 };
	run->ports[CONSOLE].log_fd = open_log(run, "console.log");
	run->ports[CONTROL].log_fd = open_log(run, "control.log");
	run->ports[TESTS].log_fd = open_log(run, "test.log");
	if (run->options.show_console)
		run->ports[CONSOLE].copy_fd = STDERR_FILENO;
	if (run->options.show_tests || run->options.terminal)
		run->ports[TESTS].copy_fd = STDOUT_FILENO;
}

/* In the background a shell starts us with SIGINT ignored; blocked, it reaches signal_fd anyway. */
static void catch_signals(struct run *run)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Meanwhile, the guest boots. */
static int start_digest(const char *image)
{
	int fd = image ? open(image, O_RDONLY | O_CLOEXEC) : -1, ends[2];
	sigset_t none;

	if (fd < 0 || pipe2(ends, O_CLOEXEC))
		return -1;
	switch (fork()) {
	case 0:
		dup2(fd, STDIN_FILENO);
		dup2(ends[1], STDOUT_FILENO);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execlp("sha256sum", "sha256sum", NULL);
		_exit(127);
	case -1:
		close(ends[0]);
		ends[0] = -1;
	}
	close(ends[1]);
	close(fd);
	return ends[0];
}

static struct termios saved_terminal;

static void restore_terminal(void)
{
	tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_terminal);
}

static void take_terminal(struct run *run)
{
	struct termios raw;

	if (!run->options.terminal)
		return;
	run->options.boot_s = run->options.hang_s = run->options.total_s = 0;
	if (tcgetattr(STDIN_FILENO, &saved_terminal))
		return;
	raw = saved_terminal;
	cfmakeraw(&raw);
	atexit(restore_terminal);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

int main(int argc, char **argv)
{
	struct run run = { .passed = -1, .failed = -1, .skipped = -1, .xfailed = -1, .xpassed = -1 };
	int err;

	argp_err_exit_status = USAGE;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &run.options);
	open_logs(&run);
	catch_signals(&run);
	/* Nobody would take our verdict. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	take_terminal(&run);
	run.started_ms = run.progress_ms = now_ms();
	err = qemu_start(&run);
	run.digest_fd = start_digest(run.options.image);
	if (err) {
		say("INFRA: %s: %s", run.options.qemu[0], strerror(-err));
		return INFRA;
	}
	watch(&run);
	finish(&run);
	classify(&run);
	report(&run);
	return run.verdict;
}
