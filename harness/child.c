// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "harness/child.h"

/* Exit status of a child that could not even start; no test uses it on purpose. */
#define EXIT_NO_START 127

static const int crash_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP };

static struct {
	struct child_page *page;
	int verbosity;
	dev_t log_dev;
	ino_t log_ino;
} self;

int child_verbosity(void)
{
	return self.verbosity;
}

bool child_owns_log(void)
{
	struct stat st;

	return fstat(STDOUT_FILENO, &st) == 0 && st.st_dev == self.log_dev &&
	       st.st_ino == self.log_ino;
}

void child_count_check(bool ok)
{
	atomic_fetch_add(&self.page->checks, 1);
	if (!ok)
		atomic_fetch_add(&self.page->failed, 1);
}

void child_record_reason(const char *text)
{
	if (!atomic_exchange(&self.page->has_reason, true))
		snprintf(self.page->reason, sizeof(self.page->reason), "%s", text);
}

/* A part that is left out of several cases of a subtest is worth one note. */
void child_record_note(const char *text)
{
	char *notes = self.page->notes;
	size_t used = strlen(notes);

	if (strstr(notes, text))
		return;
	snprintf(notes + used, sizeof(self.page->notes) - used, "%s%s", used ? "\n" : "", text);
}

void child_record_observed(const char *word)
{
	snprintf(self.page->observed, sizeof(self.page->observed), "%s", word);
}

void child_record_send(void)
{
	/* The runner sends, too: to the kernel. */
	if (self.page)
		atomic_store(&self.page->sent, true);
}

void child_record_bench(const struct bench *bench)
{
	self.page->bench = *bench;
}

void child_record_wakeup(const struct wakeup *wakeup)
{
	unsigned int i = atomic_fetch_add(&self.page->nr_wakeups, 1);

	if (i < CHILD_WAKEUPS_MAX)
		self.page->wakeups[i] = *wakeup;
}

void child_skip(const char *text)
{
	snprintf(self.page->skip_reason, sizeof(self.page->skip_reason), "%s", text);
	atomic_store(&self.page->skipped, true);
}

void child_track_id(bool is_map, uint32_t id)
{
	unsigned int i = atomic_fetch_add(&self.page->nr_ids, 1);

	if (i < CHILD_IDS_MAX)
		self.page->ids[i] = (struct bpf_id){ .is_map = is_map, .id = id };
}

/* Addresses only: the runner looks up the names, in a process that is not broken. */
static void on_crash(int sig)
{
	self.page->nr_frames = backtrace(self.page->frames, CHILD_FRAMES_MAX);
	/* SA_RESETHAND is in force: die of the signal now, with its status. */
	raise(sig);
}

static void catch_crashes(void)
{
	static char stack[64 * 1024];
	stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_ONSTACK };

	sigaltstack(&alt, NULL);
	for (size_t i = 0; i < sizeof(crash_signals) / sizeof(crash_signals[0]); i++)
		sigaction(crash_signals[i], &sa, NULL);
}

static int print_libbpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	if (level == LIBBPF_DEBUG && self.verbosity < 2)
		return 0;
	return child_owns_log() ? vdprintf(STDOUT_FILENO, fmt, ap) : 0;
}

static bool enter_sandbox(const struct child_config *config)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);

	/* The runner sets the process group as well; whoever comes first. */
	setpgid(0, 0);
	/* The runner may have died before that: nobody would ever look at what this one finds. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != config->runner)
		return false;
	if (setns(config->netns_fd, CLONE_NEWNET) || null < 0)
		return false;
	if (dup2(null, STDIN_FILENO) < 0 || dup2(config->log_fd, STDOUT_FILENO) < 0 ||
	    dup2(config->log_fd, STDERR_FILENO) < 0)
		return false;
	/* Whatever a subtest does to its descriptors, those of the runner are not among them. */
	close_range(STDERR_FILENO + 1, ~0U, 0);
	sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL) == 0;
}

static void remember_log(void)
{
	struct stat st;

	if (fstat(STDOUT_FILENO, &st) == 0) {
		self.log_dev = st.st_dev;
		self.log_ino = st.st_ino;
	}
}

void child_prepare(void)
{
	void *frame;

	/* The first call sorts the tables of the unwinder, which takes long, and no signal handler may. */
	backtrace(&frame, 1);
}

void child_main(const struct child_config *config)
{
	pid_t pid = getpid();

	self.page = config->page;
	self.verbosity = config->verbosity;
	signal(SIGPIPE, SIG_IGN);
	if (!enter_sandbox(config)) {
		fprintf(stderr, "cannot set up the process: %s\n", strerror(errno));
		_exit(EXIT_NO_START);
	}
	/* What a subtest printed before a crash is not to stay in a buffer. */
	setvbuf(stdout, NULL, _IONBF, 0);
	remember_log();
	catch_crashes();
	libbpf_set_print(print_libbpf);
	timeline_start(config->timeline);

	config->test->run(config->index);

	/* A process that the subtest forked, and that came back from run(), decides nothing. */
	if (getpid() == pid)
		atomic_store(&config->page->finished, true);
	_exit(0);
}
