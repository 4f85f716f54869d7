// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "harness/job.h"
#include "harness/symbolize.h"
#include "network_helpers.h"

/* A subtest that prints for ever is not to fill the memory of the runner: its first and last words.
 */
#define LOG_HEAD_MAX (192 * 1024)
#define LOG_TAIL_MAX (64 * 1024)

int job_start(struct job *job, struct plan_item *item, int netns_fd, int verbosity,
	      struct timeline_page *timeline)
{
	struct child_config config = {
		.netns_fd = netns_fd,
		.verbosity = verbosity,
		.runner = getpid(),
		.test = item->test,
		.index = item->subtest_number - 1,
		.timeline = timeline,
	};

	*job = (struct job){ .item = item, .netns_fd = netns_fd, .pidfd = -1, .log_fd = -1 };
	if (netns_fd < 0)
		return netns_fd;
	job->page = mmap(NULL, sizeof(*job->page), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (job->page == MAP_FAILED)
		return -errno;
	job->log_fd = memfd_create("log", MFD_CLOEXEC);
	if (job->log_fd < 0)
		return -errno;
	config.page = job->page;
	config.log_fd = job->log_fd;

	/* What stdio holds back for the terminal is not for the child to print as well. */
	fflush(NULL);
	job->start_ns = now_ns();
	job->pid = fork();
	if (job->pid == 0)
		child_main(&config);
	if (job->pid < 0)
		return -errno;
	setpgid(job->pid, job->pid);
	job->pidfd = pidfd_open(job->pid, 0);
	return job->pidfd < 0 ? -errno : 0;
}

bool job_kill(struct job *job)
{
	if (job->pid <= 0 || job->group_gone)
		return false;
	if (!job->reaped)
		kill(job->pid, SIGKILL);
	if (kill(-job->pid, SIGKILL) == 0)
		return true;
	job->group_gone = job->reaped;
	return false;
}

void job_free(struct job *job)
{
	if (job->page && job->page != MAP_FAILED)
		munmap(job->page, sizeof(*job->page));
	close_fd(&job->pidfd);
	close_fd(&job->log_fd);
	free(job->kernel_log);
	job->page = NULL;
	job->kernel_log = NULL;
}

/* ---- Saying where a slow one is -------------------------------------------------------------- */

/* The log is a file that the child writes at its own offset, which is shared: append there. */
static void append_log(const struct job *job, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vdprintf(job->log_fd, fmt, ap);
	va_end(ap);
}

static void append_file(const struct job *job, const char *dir, const char *tid, const char *name)
{
	char path[600], text[4096];
	int fd __auto_close = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s/%s", dir, tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return;
	text[n] = '\0';
	append_log(job, "  %s: %s%s", name, text, text[n - 1] == '\n' ? "" : "\n");
}

void job_say_slow(struct job *job, unsigned int seconds)
{
	char dir[64];
	struct dirent *entry;
	DIR *threads;

	append_log(job, "WATCHDOG: runs for %u seconds\n", seconds);
	snprintf(dir, sizeof(dir), "/proc/%d/task", job->pid);
	threads = opendir(dir);
	while (threads && (entry = readdir(threads))) {
		if (entry->d_name[0] == '.')
			continue;
		append_log(job, "  thread %s\n", entry->d_name);
		append_file(job, dir, entry->d_name, "syscall");
		append_file(job, dir, entry->d_name, "stack");
	}
	if (threads)
		closedir(threads);
}

/* ---- BPF objects ----------------------------------------------------------------------------- */

static bool object_exists(const struct bpf_id *object)
{
	int fd __auto_close = object->is_map ? bpf_map_get_fd_by_id(object->id)
					     : bpf_prog_get_fd_by_id(object->id);

	return fd >= 0;
}

unsigned int job_count_objects(const struct job *job)
{
	unsigned int nr = atomic_load(&job->page->nr_ids), left = 0;

	for (unsigned int i = 0; i < nr && i < CHILD_IDS_MAX; i++)
		left += object_exists(&job->page->ids[i]);
	return left;
}

/* ---- The verdict ----------------------------------------------------------------------------- */

static char *format(const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	return text;
}

/* How the process ended, if that alone makes it fail; NULL: it ended as it should. */
static char *judge_end(const struct job *job)
{
	uint64_t ms = (job->end_ns - job->start_ns) / NSEC_PER_MSEC;
	int signal_number = WIFSIGNALED(job->status) ? WTERMSIG(job->status) : 0;

	if (job->unkillable)
		return format(
			"timed out after %llu s, and SIGKILL does not end it: it is stuck in the kernel",
			(unsigned long long)ms / 1000);
	if (job->timed_out)
		return format("timed out after %llu s", (unsigned long long)ms / 1000);
	if (signal_number)
		return format("killed by SIG%s (%s)", sigabbrev_np(signal_number) ?: "?",
			      strsignal(signal_number));
	if (WEXITSTATUS(job->status))
		return format("exited with status %d", WEXITSTATUS(job->status));
	if (!atomic_load(&job->page->finished))
		return format("exited with status 0 before its end");
	return NULL;
}

/* What it left behind, if anything. */
static char *judge_leftovers(const struct job *job)
{
	if (job->left_processes)
		return format("left processes behind");
	if (job->left_sockets < 0)
		return format("cannot look for the sockets that it may have left: %s",
			      strerror(-job->left_sockets));
	if (job->left_sockets)
		return format("left %d sockets behind, such as %s", job->left_sockets,
			      job->left_socket);
	if (job->keeps_netns)
		return format(
			"lost a reference to a socket: all are closed, and its network namespace does not end");
	if (job->left_objects)
		return format("left %u BPF maps or programs behind", job->left_objects);
	if (atomic_load(&job->page->nr_ids) > CHILD_IDS_MAX)
		return format("made more BPF objects than can be tracked (%d)", CHILD_IDS_MAX);
	return NULL;
}

/* also: what it left behind, when the reason is another one */
static char *find_failure(const struct job *job, char **also, bool *leaked)
{
	const struct child_page *page = job->page;
	unsigned int failed = atomic_load(&page->failed);
	char *reason = judge_end(job), *leftovers;

	if (reason)
		return reason;
	leftovers = judge_leftovers(job);
	*leaked = leftovers;
	if (failed) {
		*also = leftovers;
		return format("%s", page->reason);
	}
	if (leftovers)
		return leftovers;
	if (job->kernel_log)
		return format("the kernel complained: %.*s", (int)strcspn(job->kernel_log, "\n"),
			      job->kernel_log);
	if (!atomic_load(&page->skipped) && atomic_load(&page->checks) == 0)
		return format("made no checks");
	return NULL;
}

static char *read_part(const struct job *job, off_t from, size_t len)
{
	char *text = calloc(1, len + 1);
	ssize_t n = text ? pread(job->log_fd, text, len, from) : 0;

	for (ssize_t i = 0; i < n; i++) {
		if (text[i] == '\0')
			text[i] = '?';
	}
	return text;
}

static char *read_log(const struct job *job)
{
	off_t size = lseek(job->log_fd, 0, SEEK_END);
	off_t left_out = size - LOG_HEAD_MAX - LOG_TAIL_MAX;
	char *head, *tail, *text;

	if (size <= 0)
		return NULL;
	if (left_out <= 0)
		return read_part(job, 0, size);
	head = read_part(job, 0, LOG_HEAD_MAX);
	tail = read_part(job, size - LOG_TAIL_MAX, LOG_TAIL_MAX);
	text = format("%s\n[%lld bytes left out]\n%s", head ?: "", (long long)left_out, tail ?: "");
	free(head);
	free(tail);
	return text;
}

/*
 * All but the first of the frames, which is the handler's, are return addresses: what follows the
 * call, and after a call that does not return this is another function.
 */
static void append_backtrace(const struct job *job)
{
	char name[256];

	if (job->page->nr_frames > 0)
		append_log(job, "backtrace:\n");
	for (int i = 0; i < job->page->nr_frames && i < CHILD_FRAMES_MAX; i++)
		append_log(job, "  #%d %s\n", i,
			   symbolize((const char *)job->page->frames[i] - 1, name, sizeof(name)));
}

static void copy_wakeups(const struct job *job, struct result *result)
{
	unsigned int n = atomic_load(&job->page->nr_wakeups);

	n = n < CHILD_WAKEUPS_MAX ? n : CHILD_WAKEUPS_MAX;
	result->wakeups = calloc(n + 1, sizeof(*result->wakeups));
	if (!result->wakeups)
		return;
	memcpy(result->wakeups, job->page->wakeups, n * sizeof(*result->wakeups));
	result->nr_wakeups = n;
}

struct result job_judge(const struct job *job)
{
	struct result result = {
		.checks = atomic_load(&job->page->checks),
		.failed_checks = atomic_load(&job->page->failed),
		.sent = atomic_load(&job->page->sent),
		.duration_ns = job->end_ns - job->start_ns,
		.notes = strdup(job->page->notes),
		.observed = strdup(job->page->observed),
		.kernel_log = job->kernel_log ? strdup(job->kernel_log) : NULL,
	};

	copy_wakeups(job, &result);
	result.bench = job->page->bench;
	result.reason = find_failure(job, &result.also, &result.leaked);
	append_backtrace(job);
	result.log = read_log(job);
	result.verdict = VERDICT_PASS;
	if (result.reason) {
		result.verdict = VERDICT_FAIL;
	} else if (atomic_load(&job->page->skipped)) {
		result.verdict = VERDICT_SKIP;
		result.reason = strdup(job->page->skip_reason);
	}
	return result;
}
