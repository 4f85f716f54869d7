// SPDX-License-Identifier: GPL-2.0-only
/* The subtest's own part of its timeline: what it sends, reads and waits for. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness/child.h"
#include "harness/timeline.h"
#include "network_helpers.h"

static struct timeline_page *page;

/* The kernel makes the cookie when it is first asked for: from then on its events have it, too. */
static uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (fd >= 0)
		getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len);
	return cookie;
}

static struct timeline_event *new_event(enum timeline_point point)
{
	unsigned int i = atomic_fetch_add(&page->nr_events, 1);
	struct timeline_event *e = &page->events[i];

	if (i >= TIMELINE_PAGE_MAX)
		return NULL;
	e->ns = now_ns();
	e->point = point;
	e->tid = (uint32_t)syscall(SYS_gettid);
	getcpu(&e->cpu, NULL);
	prctl(PR_GET_NAME, e->comm);
	return e;
}

void timeline_record(enum timeline_point point, int fd, int64_t value, uint64_t more)
{
	struct timeline_event *e = page ? new_event(point) : NULL;
	int err = errno;

	if (point == TL_SEND)
		child_record_send();
	if (!e)
		return;
	e->sock = cookie_of(fd);
	e->value = value;
	e->more = more;
	/* Not to be noticed where it is called between a system call and the look at its error. */
	errno = err;
}

void timeline_fail(enum timeline_check about, const char *says)
{
	if (page && !*page->failure)
		snprintf(page->failure, sizeof(page->failure), "%s", says);
	timeline_record(TL_FAILED, -1, about, 0);
}

/*
 * The linker (--wrap) puts these in the place of the system calls' functions, in whatever file they
 * are called. So no test can send what its timeline does not show.
 */
ssize_t __real_send(int fd, const void *buf, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __real_sendfile(int out, int in, off_t *offset, size_t len);
ssize_t __wrap_sendfile(int out, int in, off_t *offset, size_t len);
ssize_t __real_splice(int in, off64_t *off_in, int out, off64_t *off_out, size_t len,
		      unsigned int flags);
ssize_t __wrap_splice(int in, off64_t *off_in, int out, off64_t *off_out, size_t len,
		      unsigned int flags);

static ssize_t record_sent(int fd, ssize_t n)
{
	timeline_record(TL_SENT, fd, n < 0 ? -errno : n, 0);
	return n;
}

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags)
{
	timeline_record(TL_SEND, fd, len, 0);
	return record_sent(fd, __real_send(fd, buf, len, flags));
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	size_t len = 0;

	for (size_t i = 0; i < msg->msg_iovlen; i++)
		len += msg->msg_iov[i].iov_len;
	timeline_record(TL_SEND, fd, len, 0);
	return record_sent(fd, __real_sendmsg(fd, msg, flags));
}

ssize_t __wrap_sendfile(int out, int in, off_t *offset, size_t len)
{
	timeline_record(TL_SEND, out, len, 0);
	return record_sent(out, __real_sendfile(out, in, offset, len));
}

ssize_t __wrap_splice(int in, off64_t *off_in, int out, off64_t *off_out, size_t len,
		      unsigned int flags)
{
	timeline_record(TL_SEND, out, len, 0);
	return record_sent(out, __real_splice(in, off_in, out, off_out, len, flags));
}

void timeline_expect(int verdict, size_t len, int target, int reader)
{
	struct timeline_event *e = page ? new_event(TL_EXPECT) : NULL;

	if (!e)
		return;
	e->sock = cookie_of(target);
	e->target = cookie_of(reader);
	e->value = verdict;
	e->more = len;
}

void timeline_name_socket(int fd, const char *name)
{
	unsigned int i;

	if (!page || fd < 0)
		return;
	i = atomic_fetch_add(&page->nr_names, 1);
	if (i >= TIMELINE_NAMES_MAX)
		return;
	page->names[i].cookie = cookie_of(fd);
	snprintf(page->names[i].name, sizeof(page->names[i].name), "%s", name);
}

void timeline_know_socket(int fd)
{
	uint64_t cookie = page ? cookie_of(fd) : 0;

	for (unsigned int i = 0; cookie && i < TIMELINE_NAMES_MAX; i++) {
		if (page->names[i].cookie == cookie)
			return;
	}
	if (cookie)
		timeline_name_socket(fd, "");
}

/* Pairs that nobody else names are told apart by the order in which they are made. */
static void name_end(int fd, const char *end)
{
	static unsigned int made;
	char name[32];

	snprintf(name, sizeof(name), "%s%u", end, made++ / 2 + 1);
	timeline_name_socket(fd, name);
}

static void observe(enum socket_moment moment, int fd, int64_t value, unsigned int more)
{
	static const enum timeline_point points[] = {
		[SOCKET_SLEEPS] = TL_ASLEEP,
		[SOCKET_WAKES] = TL_WOKEN,
		[SOCKET_READ] = TL_READ,
		[SOCKET_HAS_IT] = TL_MISPLACED,
	};

	if (moment == SOCKET_IS_MAPPED || moment == SOCKET_IS_PEER)
		name_end(fd, moment == SOCKET_IS_MAPPED ? "mapped" : "peer");
	else
		timeline_record(points[moment], fd, value, more);
}

void timeline_start(struct timeline_page *shared)
{
	page = shared;
	socket_observer = page ? observe : NULL;
}
