// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness/harness.h"
#include "harness/sleeper.h"
#include "network_helpers.h"

/* How long a call may take to fall asleep, and to end once it has been interrupted. */
#define SETTLE_NS (10 * NSEC_PER_SEC)

#define SLEEPER_SIGNAL SIGUSR1

static void *sleeper_thread(void *arg)
{
	struct sleeper *s = arg;
	uint64_t one = 1;

	atomic_store(&s->tid, (int)syscall(SYS_gettid));
	s->ret = s->call(s->arg);
	s->woken_ns = now_ns();
	/* Publishes ret and woken_ns, too. */
	while (write(s->done_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	return NULL;
}

static bool is_through(const struct sleeper *s, int timeout_ms)
{
	struct pollfd pfd = { .fd = s->done_fd, .events = POLLIN };

	return poll(&pfd, 1, timeout_ms) == 1;
}

bool sleeper_is_through(const struct sleeper *s)
{
	return is_through(s, 0);
}

static bool is_asleep(const struct sleeper *s)
{
	int tid = atomic_load(&s->tid);

	return tid && !sleeper_is_through(s) && thread_sleeps_in(tid, s->syscall);
}

static void on_signal(int sig)
{
	(void)sig;
}

/* No SA_RESTART: the signal is to end the system call that it sleeps in. */
static int start_thread(struct sleeper *s)
{
	struct sigaction sa = { .sa_handler = on_signal };
	int err;

	sigaction(SLEEPER_SIGNAL, &sa, NULL);
	atomic_store(&s->tid, 0);
	s->done_fd = eventfd(0, EFD_CLOEXEC);
	if (s->done_fd < 0)
		return -errno;
	err = -pthread_create(&s->thread, NULL, sleeper_thread, s);
	s->started = !err;
	return err;
}

int sleeper_start(struct sleeper *s)
{
	uint64_t deadline = now_ns() + SETTLE_NS;
	int err = start_thread(s);

	if (err)
		return err;
	while (!is_asleep(s)) {
		if (sleeper_is_through(s))
			return 0;
		if (now_ns() > deadline)
			return -EBUSY;
		usleep(50);
	}
	return 1;
}

bool check_asleep(struct sleeper *s, const char *what)
{
	int asleep = sleeper_start(s);

	return CHECK_OK(asleep, "%s: start a sleeper", what) &&
	       CHECK(asleep, "%s: sleeps: it returned %zd, with nothing to return for", what,
		     s->ret);
}

enum fate {
	WOKEN,
	STILL_ASLEEP, /* and what it waits for is there */
	NOT_DUE,
};

static unsigned int count(const struct sleeper *s, unsigned int n,
			  bool (*is)(const struct sleeper *s))
{
	unsigned int found = 0;

	for (unsigned int i = 0; i < n; i++)
		found += is(&s[i]);
	return found;
}

/* A look takes the lock of the socket, so the first one is late enough to disturb nobody. */
static enum fate watch(const struct sleeper *s, unsigned int n)
{
	uint64_t deadline = now_ns() + patience_ms() * NSEC_PER_MSEC;
	unsigned int seen = 0;

	do {
		bool through = false;

		for (unsigned int i = 0; i < n && !through; i++)
			through = is_through(&s[i], i ? 0 : LOOK_INTERVAL_MS);
		if (through)
			return WOKEN;
		seen = s->due(s->arg) && count(s, n, is_asleep) == n ? seen + 1 : 0;
		if (seen == LOOKS_TO_BE_SURE)
			return STILL_ASLEEP;
		/* A look that saw something is followed up, even past the deadline. */
	} while (seen || now_ns() < deadline);
	return NOT_DUE;
}

bool check_all_asleep(struct sleeper *s, unsigned int n, const char *what)
{
	uint64_t deadline = now_ns() + SETTLE_NS;

	while (count(s, n, is_asleep) < n && !count(s, n, sleeper_is_through) &&
	       now_ns() < deadline)
		usleep(50);
	return CHECK_EQ(count(s, n, is_asleep), n, "%s: asleep", what);
}

bool check_any_woken(struct sleeper *s, unsigned int n, const char *what)
{
	switch (watch(s, n)) {
	case WOKEN:
		return CHECK(true, "%s: woken", what);
	case STILL_ASLEEP:
		return CHECK(false,
			     "%s: wake-up lost: what it waits for is there, and it sleeps on",
			     what);
	case NOT_DUE:
		return CHECK(false, "%s: what it waits for never came", what);
	}
	return false;
}

bool check_woken(struct sleeper *s, const char *what)
{
	return check_any_woken(s, 1, what) && CHECK_OK(s->ret, "%s: woken", what);
}

/* Again and again: the signal can arrive between two system calls. False: it is stuck. */
static bool interrupt(struct sleeper *s)
{
	uint64_t deadline = now_ns() + SETTLE_NS;

	while (!sleeper_is_through(s)) {
		if (now_ns() > deadline)
			return false;
		pthread_kill(s->thread, SLEEPER_SIGNAL);
		is_through(s, 1);
	}
	return true;
}

void sleepers_stop(struct sleeper *s, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		if (!s[i].started)
			continue;
		s[i].started = false;
		if (!interrupt(&s[i])) {
			pthread_detach(s[i].thread);
			continue;
		}
		pthread_join(s[i].thread, NULL);
		close_fd(&s[i].done_fd);
	}
}
