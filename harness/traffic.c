// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "harness/harness.h"
#include "harness/traffic.h"
#include "network_helpers.h"
#include "progs/verdicts.h"

#define IMPATIENT_MS 1000

static bool lost_data;

unsigned int patience_ms(void)
{
	return lost_data && io_timeout_ms > IMPATIENT_MS ? IMPATIENT_MS : io_timeout_ms;
}

/* ---- Payloads -------------------------------------------------------------------------------- */

/* Subtests are processes of their own, so the process tells them apart. */
uint32_t new_seed(void)
{
	static atomic_uint serial;

	return (uint32_t)getpid() * 2654435761U + (atomic_fetch_add(&serial, 1) + 1) * 40503U;
}

/* Eight bytes from a place in a payload: the finalizer of MurmurHash3, after which every bit
 * counts. */
static uint64_t pattern_word(uint32_t seed, uint64_t index)
{
	uint64_t x = (index + 1) * 0x9e3779b97f4a7c15ULL ^ (uint64_t)seed << 32 ^ seed;

	x = (x ^ x >> 33) * 0xff51afd7ed558ccdULL;
	x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ULL;
	return x ^ x >> 33;
}

void fill_pattern(void *buf, size_t len, uint32_t seed, uint64_t offset)
{
	unsigned char *bytes = buf;

	for (size_t i = 0; i < len;) {
		uint64_t word = pattern_word(seed, (offset + i) / sizeof(word));

		for (unsigned int b = (offset + i) % sizeof(word); b < sizeof(word) && i < len; b++)
			bytes[i++] = (unsigned char)(word >> 8 * b);
	}
}

void fill_message(struct message *m, size_t len)
{
	m->len = len;
	fill_pattern(m->bytes, len, new_seed(), 0);
}

ssize_t send_message(int fd, const struct message *m, int flags)
{
	ssize_t n = send(fd, m->bytes, m->len, flags);

	return n < 0 ? -errno : n;
}

bool check_send(int fd, const struct message *m, const char *what)
{
	return CHECK_EQ(send_message(fd, m, 0), m->len, "%s: send", what);
}

char *memory_edge(void)
{
	size_t page = sysconf(_SC_PAGESIZE);
	char *mem =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return CHECK(mem != MAP_FAILED && munmap(mem + page, page) == 0, "memory with an edge")
		       ? mem + page
		       : NULL;
}

/* ---- Receiving ------------------------------------------------------------------------------- */

ssize_t read_now(int fd, void *buf, size_t len)
{
	ssize_t n = recv(fd, buf, len, MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

bool check_received(const char *what, ssize_t n, const struct recv_report *report,
		    const char *found_at)
{
	char text[256];

	if (n >= 0)
		return CHECK(n > 0, "%s: read: not the end of the stream", what);
	lost_data |= report->fate == RECV_LOST;
	recv_report_text(report, text, sizeof(text));
	return CHECK_OK(n, "%s: read: %s: %s%s%s", what, strerror((int)-n), text,
			*found_at ? ": " : "", found_at);
}

bool check_datagram(int fd, const struct message *m, const char *what)
{
	struct recv_report report;
	char buf[MESSAGE_MAX];
	ssize_t n = recv_timeout(fd, buf, sizeof(buf), 0, patience_ms(), &report);

	return (n == 0 && m->len == 0 ? true : check_received(what, n, &report, "")) &&
	       CHECK_BYTES(buf, n, m->bytes, m->len, "%s: received", what);
}

/* Some of the `left` bytes that are still due; how many, or 0 and a failed check. */
static size_t read_some(int fd, void *buf, size_t left, const char *what)
{
	struct recv_report report;
	ssize_t n = recv_timeout(fd, buf, left, 0, patience_ms(), &report);

	return check_received(what, n, &report, "") ? n : 0;
}

bool check_stream(int fd, const void *want, size_t len, const char *what)
{
	char *buf = malloc(len ?: 1);
	size_t got = 0, n = 1;
	bool ok;

	while (buf && got < len && n > 0) {
		n = read_some(fd, buf + got, len - got, what);
		got += n;
	}
	ok = CHECK(buf, "%s: memory", what) &&
	     CHECK_BYTES(buf, got, want, len, "%s: received", what);
	free(buf);
	return ok;
}

bool check_pattern(int fd, size_t len, uint32_t seed, uint64_t offset, const char *what)
{
	static _Thread_local char got[1 << 16], want[1 << 16];

	for (uint64_t end = offset + len; offset < end;) {
		size_t left = end - offset;
		size_t n = read_some(fd, got, left < sizeof(got) ? left : sizeof(got), what);

		fill_pattern(want, n, seed, offset);
		/* One check for the whole of a good payload would hide which read went wrong. */
		if (n == 0 || !CHECK_BYTES(got, n, want, n, "%s: received at offset %llu", what,
					   (unsigned long long)offset))
			return false;
		offset += n;
	}
	return true;
}

bool check_arrives(int fd, const struct message *m, const char *what)
{
	int type = SOCK_DGRAM;
	socklen_t len = sizeof(type);

	if (!CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) ? -errno : 0, "SO_TYPE"))
		return false;
	return type == SOCK_STREAM ? check_stream(fd, m->bytes, m->len, what)
				   : check_datagram(fd, m, what);
}

bool check_nothing(int fd, const char *what)
{
	char buf[MESSAGE_MAX];

	return CHECK_ERR(read_now(fd, buf, sizeof(buf)), EAGAIN, "%s", what);
}

bool check_end_of_stream(int fd, int error, const char *what)
{
	char byte, text[256];
	struct recv_report report;
	ssize_t n = recv_timeout(fd, &byte, 1, 0, patience_ms(), &report);

	if (n != -ETIME)
		return CHECK_EQ(n, -error, "%s: end of the stream", what);
	return CHECK_EQ(n, -error, "%s: end of the stream: %s", what,
			recv_report_text(&report, text, sizeof(text)));
}

bool check_poll(int fd, short events, const char *what)
{
	uint64_t deadline = now_ns() + patience_ms() * NSEC_PER_MSEC;
	struct pollfd pfd = { .fd = fd, .events = events };

	/* Each sleeps for one more of the events, until there are all. */
	while ((pfd.revents & events) != events && now_ns() < deadline) {
		pfd.events = events & ~pfd.revents;
		if (poll(&pfd, 1, patience_ms()) <= 0)
			break;
		pfd.events = events;
		poll(&pfd, 1, 0);
	}
	return CHECK((pfd.revents & events) == events, "%s: poll(2) reports %#x of the events %#x",
		     what, pfd.revents, events);
}

bool check_socket_error(int fd, int want, const char *what)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) ? -errno : 0,
			"SO_ERROR") &&
	       CHECK_EQ(error, want, "SO_ERROR of %s", what);
}

static bool send_across(int from, int to, const char *what)
{
	struct message m;

	fill_message(&m, 100);
	return check_send(from, &m, what) && check_datagram(to, &m, what);
}

void check_traffic(const struct sock_pair *pair)
{
	if (send_across(pair->peer, pair->mapped, "ordinary traffic to the mapped end"))
		send_across(pair->mapped, pair->peer, "ordinary traffic to the peer");
}

/* ---- Calls that are to return ---------------------------------------------------------------- */

#define CALL_SIGNAL SIGUSR2

struct call {
	ssize_t (*function)(void *arg);
	void *arg;
	ssize_t ret;
	int done_fd;
};

static void tell(int done_fd)
{
	uint64_t one = 1;

	while (write(done_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static bool told(int done_fd, int timeout_ms)
{
	struct pollfd pfd = { .fd = done_fd, .events = POLLIN };

	return poll(&pfd, 1, timeout_ms) == 1;
}

static void on_call_signal(int sig)
{
	(void)sig;
}

/* No SA_RESTART: the signal ends a system call that hangs. */
static void catch_call_signal(void)
{
	struct sigaction sa = { .sa_handler = on_call_signal };

	sigaction(CALL_SIGNAL, &sa, NULL);
}

/* Again and again: the signal can arrive between two system calls. False: it stays in the kernel. */
static bool interrupt(pthread_t thread, int done_fd)
{
	uint64_t deadline = now_ns() + NSEC_PER_SEC;

	do {
		pthread_kill(thread, CALL_SIGNAL);
		if (told(done_fd, 1))
			return true;
	} while (now_ns() < deadline);
	return false;
}

static void *call_thread(void *arg)
{
	struct call *c = arg;

	c->ret = c->function(c->arg);
	tell(c->done_fd);
	return NULL;
}

ssize_t call_timeout(ssize_t (*function)(void *arg), void *arg)
{
	struct call *c = calloc(1, sizeof(*c));
	pthread_t thread;
	bool in_time;
	ssize_t ret;

	if (!c)
		return -ENOMEM;
	*c = (struct call){ function, arg, 0, eventfd(0, EFD_CLOEXEC) };
	catch_call_signal();
	if (c->done_fd < 0 || pthread_create(&thread, NULL, call_thread, c)) {
		close_fd(&c->done_fd);
		free(c);
		return -EAGAIN;
	}
	in_time = told(c->done_fd, patience_ms());
	if (!in_time && !interrupt(thread, c->done_fd)) {
		pthread_detach(thread);
		return -ETIME;
	}
	pthread_join(thread, NULL);
	ret = in_time ? c->ret : -ETIME;
	close_fd(&c->done_fd);
	free(c);
	return ret;
}

/* ---- A sender that may have to wait for buffer space ----------------------------------------- */

#define PUMP_CHUNK_MAX (1 << 18)

struct pump {
	int fd, done_fd;
	size_t len, chunk;
	uint32_t seed;
	pthread_t thread;
	atomic_size_t sent;
	atomic_bool give_up;
	int error; /* -errno; 0: none */
};

static void *pump_thread(void *arg)
{
	struct pump *p = arg;
	char *buf = malloc(p->chunk);
	size_t sent = 0;

	while (buf && sent < p->len && !atomic_load(&p->give_up)) {
		size_t n = p->len - sent < p->chunk ? p->len - sent : p->chunk;
		ssize_t ret;

		fill_pattern(buf, n, p->seed, sent);
		ret = send(p->fd, buf, n, 0);
		if (ret < 0 && errno == EINTR)
			continue;
		if (ret < 0) {
			p->error = -errno;
			break;
		}
		sent += ret;
		atomic_store(&p->sent, sent);
	}
	p->error = buf ? p->error : -ENOMEM;
	free(buf);
	tell(p->done_fd);
	return NULL;
}

static void pump_free(struct pump *p)
{
	close_fd(&p->done_fd);
	free(p);
}

int pump_start(struct pump **pump, int fd, size_t len, size_t chunk, uint32_t seed)
{
	struct pump *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	p->fd = fd;
	p->len = len;
	p->chunk = chunk < PUMP_CHUNK_MAX ? chunk : PUMP_CHUNK_MAX;
	p->seed = seed;
	p->done_fd = eventfd(0, EFD_CLOEXEC);
	err = p->done_fd < 0 ? -errno : 0;
	catch_call_signal();
	if (!err)
		err = -pthread_create(&p->thread, NULL, pump_thread, p);
	if (err) {
		pump_free(p);
		return err;
	}
	*pump = p;
	return 0;
}

/* True when it is through; false when nothing has moved for as long as data may take. */
static bool pump_wait(struct pump *p)
{
	uint64_t since = now_ns();
	size_t seen = 0;

	while (!told(p->done_fd, 20)) {
		size_t sent = atomic_load(&p->sent);

		if (sent != seen)
			since = now_ns();
		seen = sent;
		if (now_ns() - since > patience_ms() * NSEC_PER_MSEC)
			return false;
	}
	return true;
}

ssize_t pump_finish(struct pump *p)
{
	bool stuck = !pump_wait(p);
	ssize_t ret;

	atomic_store(&p->give_up, stuck);
	/* It uses memory of ours until it is through. */
	while (stuck && !interrupt(p->thread, p->done_fd))
		;
	pthread_join(p->thread, NULL);
	ret = stuck ? -ETIME : p->error ?: (ssize_t)atomic_load(&p->sent);
	pump_free(p);
	return ret;
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

uint64_t read_counter(const __u64 *counter)
{
	return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

void wait_for_verdicts(const struct verdicts *v, uint64_t passed, uint64_t dropped)
{
	uint64_t deadline = now_ns() + patience_ms() * NSEC_PER_MSEC;

	while ((read_counter(&v->count[SK_PASS]) < passed ||
		read_counter(&v->count[SK_DROP]) < dropped) &&
	       now_ns() < deadline)
		usleep(100);
}

bool check_verdict_counts(const struct verdicts *v, uint64_t passed, uint64_t dropped,
			  const char *what)
{
	bool ok;

	wait_for_verdicts(v, passed, dropped);
	/* Both, even after a failure: together they tell what happened. */
	ok = CHECK_EQ(read_counter(&v->count[SK_PASS]), passed, "%s: pass count", what);
	ok &= CHECK_EQ(read_counter(&v->count[SK_DROP]), dropped, "%s: drop count", what);
	return ok;
}
