// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sleepers, and what has to wake them. Each one is seen to be asleep in its system call before that
 * happens which it waits for. The time from the verdict to the wake-up is in the result.
 *
 *	in-turn		one reader, which sleeps in each way twice, and a message for each sleep
 *	together	one message wakes readers in poll, select, level and edge triggered epoll
 *	early		they fell asleep before the target was put into the map
 *	across		they sleep while the target leaves the map and returns to it
 *	level		epoll reports what is left after a read, and nothing after the last one
 *	edge		each message is an edge, with the one before it unread
 *	oneshot		EPOLLONESHOT: one report, then none until it is armed again
 *	exclusive	EPOLLEXCLUSIVE: at least one of several wakes
 *	recv		several threads in recv(2), a message for each
 *	accept		a listener in a map, with threads in accept(2), poll and edge triggered epoll
 *	send		a socket with a program has no room to send: when there is, those who sleep
 *			in send(2), poll and edge-triggered epoll go on
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "harness/harness.h"
#include "harness/scenario.h"
#include "harness/sleeper.h"
#include "network_helpers.h"
#include "progs/verdicts.h"
#include "redirect.skel.h"

/* ---- Ways to sleep --------------------------------------------------------------------------- */

/* What a sleeper needs to know, and what it got. */
struct wait {
	int fd, epoll_fd;
	uint32_t events; /* POLLIN, EPOLLOUT | EPOLLET, ... */
	size_t want;	 /* in_edge(): bytes that are to be there */
	char *buf;
	size_t len;
};

static ssize_t in_poll(void *arg)
{
	struct wait *w = arg;
	struct pollfd pfd = { .fd = w->fd, .events = w->events };

	return ppoll(&pfd, 1, NULL, NULL) < 0 ? -errno : pfd.revents;
}

static ssize_t in_select(void *arg)
{
	struct wait *w = arg;
	fd_set fds;

	FD_ZERO(&fds);
	FD_SET(w->fd, &fds);
	return pselect(w->fd + 1, &fds, NULL, NULL, NULL, NULL) < 0 ? -errno : 0;
}

static ssize_t in_epoll(void *arg)
{
	struct wait *w = arg;
	struct epoll_event event;

	return epoll_pwait(w->epoll_fd, &event, 1, -1, NULL) < 0 ? -errno : (ssize_t)event.events;
}

static bool is_readable(void *arg)
{
	static char buf[MESSAGE_MAX];
	struct wait *w = arg;
	size_t want = w->want ?: 1;

	return recv(w->fd, buf, want, MSG_PEEK | MSG_DONTWAIT) == (ssize_t)want;
}

static bool is_ready(void *arg)
{
	struct wait *w = arg;
	struct pollfd pfd = { .fd = w->fd, .events = w->events & (POLLIN | POLLOUT) };

	return poll(&pfd, 1, 0) == 1;
}

/* The kernel may report an edge twice: who sleeps again then has to be woken by the next one. */
static ssize_t in_edge(void *arg)
{
	struct wait *w = arg;
	ssize_t ret;

	do {
		ret = in_epoll(arg);
	} while (ret >= 0 && !(w->want ? is_readable(arg) : is_ready(arg)));
	return ret;
}

/* From then on nobody sleeps again. */
static atomic_bool over;

/* With EAGAIN ends a recv(2) that was woken by a signal, or for data which another thread got. */
static ssize_t in_recv(void *arg)
{
	struct wait *w = arg;
	ssize_t n;

	do {
		n = recv(w->fd, w->buf, w->len, 0);
	} while (n < 0 && errno == EAGAIN && !atomic_load(&over));
	return n < 0 ? -errno : n;
}

static ssize_t in_accept(void *arg)
{
	struct wait *w = arg;
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static ssize_t in_send(void *arg)
{
	struct wait *w = arg;
	ssize_t n = send(w->fd, w->buf, w->len, 0);

	return n < 0 ? -errno : n;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

#define SLEEPERS_MAX 4

static struct wait waits[SLEEPERS_MAX];
static struct sleeper sleepers[SLEEPERS_MAX];

/* Sleeper i, which is to sleep in this way on fd. */
static struct wait *prepare(unsigned int i, int fd, ssize_t (*call)(void *arg), long syscall)
{
	waits[i] = (struct wait){ .fd = fd, .epoll_fd = -1, .events = POLLIN };
	sleepers[i] = (struct sleeper){
		.call = call,
		.due = is_readable,
		.arg = &waits[i],
		.syscall = syscall,
	};
	return &waits[i];
}

/* An epoll instance that watches fd; closed with the sleepers. */
static bool watch(struct wait *w, uint32_t events)
{
	struct epoll_event event = { .events = events };

	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return CHECK_OK(w->epoll_fd < 0 ? -errno : 0, "epoll_create1") &&
	       CHECK_OK(epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->fd, &event) ? -errno : 0,
			"EPOLL_CTL_ADD");
}

static bool prepare_epoll(unsigned int i, int fd, uint32_t events)
{
	bool edge = events & EPOLLET;

	return watch(prepare(i, fd, edge ? in_edge : in_epoll, SYS_epoll_pwait), events);
}

static void stop_all(void)
{
	atomic_store(&over, true);
	sleepers_stop(sleepers, SLEEPERS_MAX);
	for (unsigned int i = 0; i < SLEEPERS_MAX; i++) {
		if (sleepers[i].call && waits[i].epoll_fd > 0)
			close_fd(&waits[i].epoll_fd);
	}
}

/* Without a sleep: what does epoll report now? */
static bool check_reports(struct wait *w, int want, const char *when)
{
	struct epoll_event event;
	int n = epoll_wait(w->epoll_fd, &event, 1, 0);

	return CHECK_EQ(n < 0 ? -errno : n, want, "epoll reports, %s", when);
}

static bool check_sent(struct topology *t, struct message *m, size_t len)
{
	fill_message(m, len);
	topology_expect(t, SK_PASS, len);
	return check_send(t->sender, m, "send") && topology_check_verdicts(t);
}

/* So many bytes are at the target, unread: they come from a work queue, after the verdict. */
static bool check_queued(struct topology *t, size_t len)
{
	uint64_t deadline = now_ns() + patience_ms() * NSEC_PER_MSEC;
	struct wait w = { .fd = t->target, .want = len };

	while (!is_readable(&w) && now_ns() < deadline)
		usleep(100);
	return CHECK(is_readable(&w), "%zu bytes are at the target", len);
}

static bool check_reader_woken(struct topology *t, unsigned int i, const char *what)
{
	if (!check_woken(&sleepers[i], what))
		return false;
	topology_measure_wakeup(t, sleepers[i].woken_ns);
	return true;
}

/* ---- Readers --------------------------------------------------------------------------------- */

static bool take_turn(struct topology *t, enum wait_method how)
{
	char buf[MESSAGE_MAX];
	struct read_request request = {
		.fd = t->target,
		.buf = buf,
		.len = sizeof(buf),
		.how = how,
		.timeout_ms = patience_ms(),
	};
	struct recv_report report;
	struct reader *reader;
	struct message m;
	ssize_t n;

	if (!CHECK_OK(reader_start(&reader, &request), "start a reader in %s",
		      wait_method_name(how)))
		return false;
	check_sent(t, &m, 200);
	n = reader_finish(reader, &report);
	if (!check_received(wait_method_name(how), n, &report, ""))
		return false;
	topology_measure_wakeup(t, report.woken_ns);
	return CHECK_BYTES(buf, n, m.bytes, m.len, "received");
}

static void in_turn(struct topology *t)
{
	for (unsigned int i = 0; i < 2 * NR_WAIT_METHODS; i++) {
		enum wait_method how = i % NR_WAIT_METHODS;

		if (how == WAIT_RECV && t->redirect->ingress &&
		    (t->redirect->out->family == AF_VSOCK ||
		     !topology_target_can(t, FEAT_RECV_WAKEUP)))
			continue;
		if (!take_turn(t, how))
			return;
	}
	topology_check_empty(t);
}

static const char *const way_names[] = { "poll", "select", "epoll", "edge-triggered epoll" };

static bool sleep_in_all_ways(struct topology *t)
{
	prepare(0, t->target, in_poll, SYS_ppoll);
	prepare(1, t->target, in_select, SYS_pselect6);
	if (!prepare_epoll(2, t->target, EPOLLIN) ||
	    !prepare_epoll(3, t->target, EPOLLIN | EPOLLET))
		return false;
	for (unsigned int i = 0; i < ARRAY_SIZE(way_names); i++) {
		if (!check_asleep(&sleepers[i], way_names[i]))
			return false;
	}
	return true;
}

static void wake_all_ways(struct topology *t)
{
	struct message m;

	if (!check_sent(t, &m, 300))
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(way_names); i++) {
		if (!check_reader_woken(t, i, way_names[i]))
			return;
	}
	if (check_arrives(t->target, &m, "data"))
		topology_check_empty(t);
}

static void together(struct topology *t)
{
	if (sleep_in_all_ways(t))
		wake_all_ways(t);
	stop_all();
}

static bool remove_target(struct topology *t)
{
	uint32_t key = t->redirect->pass ? KEY_IN : KEY_OUT;

	return CHECK_OK(socket_map_delete(bpf_map__fd(t->skel->maps.out_map), key), "delete");
}

static bool insert_target(struct topology *t)
{
	uint32_t key = t->redirect->pass ? KEY_IN : KEY_OUT;

	return CHECK_OK(socket_map_update(bpf_map__fd(t->skel->maps.out_map), key, t->target,
					  BPF_NOEXIST),
			"insert");
}

static void early(struct topology *t)
{
	if (remove_target(t) && sleep_in_all_ways(t) && insert_target(t))
		wake_all_ways(t);
	stop_all();
}

static void across(struct topology *t)
{
	if (sleep_in_all_ways(t) && remove_target(t) && insert_target(t))
		wake_all_ways(t);
	stop_all();
}

#define RECEIVERS 3

static bool start_receiver(unsigned int i, int fd)
{
	static struct message got[RECEIVERS];
	struct wait *w = prepare(i, fd, in_recv, SYS_recvfrom);

	w->buf = got[i].bytes;
	w->len = sizeof(got[i].bytes);
	return check_asleep(&sleepers[i], "recv");
}

/* One of them gets the message, whole, and sleeps again; the others get nothing. */
static bool serve_receivers(struct topology *t, size_t len)
{
	unsigned int i = 0;
	struct message m;

	if (!check_sent(t, &m, len) || !check_any_woken(sleepers, RECEIVERS, "recv"))
		return false;
	while (!sleeper_is_through(&sleepers[i]))
		i++;
	if (!CHECK_BYTES(waits[i].buf, sleepers[i].ret, m.bytes, m.len, "received"))
		return false;
	topology_measure_wakeup(t, sleepers[i].woken_ns);
	sleepers_stop(&sleepers[i], 1);
	return start_receiver(i, t->target) && check_all_asleep(sleepers, RECEIVERS, "recv");
}

static void receivers(struct topology *t)
{
	enum feature wakes = feature_of_kind(FEAT_RECV_WAKEUP, t->redirect->out);
	bool ok = true;
	char text[256];

	if (!have_feature(wakes)) {
		skip("%s", feature_missing(wakes, text, sizeof(text)));
		return;
	}
	for (unsigned int i = 0; ok && i < RECEIVERS; i++)
		ok = start_receiver(i, t->target);
	for (unsigned int i = 0; ok && i < 2 * RECEIVERS; i++)
		ok = serve_receivers(t, 100 + i);
	if (ok)
		topology_check_empty(t);
	stop_all();
}

/* ---- What epoll promises --------------------------------------------------------------------- */

#define LEN 200

/* Data as it comes after a wake-up, with what is read in pieces. */
static bool check_read(struct topology *t, const char *want, size_t len)
{
	char buf[MESSAGE_MAX];

	return CHECK_BYTES(buf, read_now(t->target, buf, len), want, len, "received");
}

static bool wake_epoll(struct topology *t, struct message *m)
{
	return check_asleep(&sleepers[0], "epoll") && check_sent(t, m, LEN) &&
	       check_reader_woken(t, 0, "epoll");
}

static bool read_by_level(struct topology *t)
{
	struct message m;

	if (!wake_epoll(t, &m))
		return false;
	sleepers_stop(sleepers, 1);
	return check_read(t, m.bytes, 1) && check_reports(&waits[0], 1, "with a part unread") &&
	       check_read(t, m.bytes + 1, LEN - 2) &&
	       check_reports(&waits[0], 1, "with one byte") &&
	       check_read(t, m.bytes + LEN - 1, 1) && check_reports(&waits[0], 0, "with nothing");
}

/* These read messages in parts, or look at several at once. */
static bool skip_without_merging(const struct topology *t)
{
	if (!topology_merges(t))
		skip("%s keeps the boundaries of messages", t->redirect->out->name);
	return !topology_merges(t);
}

static void level(struct topology *t)
{
	if (skip_without_merging(t))
		return;
	if (prepare_epoll(0, t->target, EPOLLIN) && read_by_level(t) && read_by_level(t))
		topology_check_empty(t);
	stop_all();
}

#define EDGES 4

/* Nothing is read: each message has to wake a sleeper who has seen those before it. */
static void edge(struct topology *t)
{
	struct message m[EDGES];
	bool ok;

	if (skip_without_merging(t))
		return;
	ok = prepare_epoll(0, t->target, EPOLLIN | EPOLLET);
	for (unsigned int i = 0; ok && i < EDGES; i++) {
		waits[0].want = (i + 1) * LEN;
		ok = wake_epoll(t, &m[i]);
		sleepers_stop(sleepers, 1);
	}
	for (unsigned int i = 0; ok && i < EDGES; i++)
		ok = check_read(t, m[i].bytes, LEN);
	if (ok)
		topology_check_empty(t);
	stop_all();
}

static bool arm(struct wait *w)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT };

	return CHECK_OK(epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, w->fd, &event) ? -errno : 0,
			"EPOLL_CTL_MOD");
}

static void oneshot(struct topology *t)
{
	struct wait *w = prepare(0, t->target, in_epoll, SYS_epoll_pwait);
	struct message first, second, third;

	if (skip_without_merging(t))
		return;
	if (watch(w, EPOLLIN | EPOLLONESHOT) && wake_epoll(t, &first) &&
	    check_reports(w, 0, "once it has") && check_sent(t, &second, LEN) &&
	    check_queued(t, 2 * LEN) && check_reports(w, 0, "with more, but not armed") && arm(w) &&
	    check_reports(w, 1, "armed again") && check_read(t, first.bytes, LEN) &&
	    check_read(t, second.bytes, LEN) && arm(w)) {
		sleepers_stop(sleepers, 1);
		if (wake_epoll(t, &third) && check_read(t, third.bytes, LEN))
			topology_check_empty(t);
	}
	stop_all();
}

#define EXCLUSIVE 3

/* The kernel may wake more of them than one; none is too few. */
static void exclusive(struct topology *t)
{
	struct message m;
	bool ok = true;

	for (unsigned int i = 0; ok && i < EXCLUSIVE; i++)
		ok = prepare_epoll(i, t->target, EPOLLIN | EPOLLEXCLUSIVE) &&
		     check_asleep(&sleepers[i], "exclusive epoll");
	if (ok && check_sent(t, &m, LEN) &&
	    check_any_woken(sleepers, EXCLUSIVE, "exclusive epoll") && check_queued(t, LEN) &&
	    check_read(t, m.bytes, LEN))
		topology_check_empty(t);
	stop_all();
}

/* ---- Listeners ------------------------------------------------------------------------------- */

/* Who sleeps in poll(2) wakes for a connection that somebody else may have accepted already. */
static bool check_accepts(struct topology *t, unsigned int i, const char *what)
{
	int conn __auto_close = -1;
	int child __auto_close = -1;
	uint64_t start;

	sleepers[i].due = is_ready;
	if (!check_asleep(&sleepers[i], what))
		return false;
	start = now_ns();
	conn = socket_connected_to(t->redirect->out, t->out.mapped);
	if (!CHECK_OK(conn, "connect") || !check_woken(&sleepers[i], what))
		return false;
	topology_measure_other(t, "accept", start, sleepers[i].woken_ns);
	child = sleepers[i].call == in_accept ? (int)sleepers[i].ret
					      : accept_timeout(t->out.mapped);
	return CHECK_OK(child, "accept");
}

static void accepts(struct topology *t)
{
	prepare(0, t->out.mapped, in_accept, SYS_accept4);
	prepare(1, t->out.mapped, in_poll, SYS_ppoll);
	if (check_accepts(t, 0, "accept") && check_accepts(t, 1, "poll") &&
	    prepare_epoll(2, t->out.mapped, EPOLLIN | EPOLLET))
		check_accepts(t, 2, "edge-triggered epoll");
	stop_all();
}

/* ---- Writers --------------------------------------------------------------------------------- */

/* Segments of loopback are as large, and a window that is smaller opens but slowly. */
#define BUFFER (128 << 10)
#define CHUNK  (16 << 10)

/* What fits the buffers between the two by far. */
#define FILL_MAX (64 << 20)

static bool set_buffer(int fd, int option)
{
	int size = BUFFER;

	return CHECK_OK(setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size)) ? -errno : 0,
			"set the size of a buffer");
}

/* Send on from there until there is no room. Returns how much has been sent then; 0: never. */
static size_t fill(int fd, uint32_t seed, size_t sent)
{
	static char buf[CHUNK];

	while (sent < FILL_MAX) {
		ssize_t n;

		fill_pattern(buf, sizeof(buf), seed, sent);
		n = send(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0)
			return CHECK_EQ(errno, EAGAIN, "send after %zu bytes", sent) ? sent : 0;
		sent += n;
	}
	CHECK(false, "buffers are full after %zu bytes", sent);
	return 0;
}

#define WRITERS 3

static bool prepare_writers(int fd, char *last)
{
	struct wait *w = prepare(0, fd, in_send, SYS_sendto);

	w->buf = last;
	w->len = CHUNK;
	prepare(1, fd, in_poll, SYS_ppoll);
	if (!prepare_epoll(2, fd, EPOLLOUT | EPOLLET))
		return false;
	for (unsigned int i = 0; i < WRITERS; i++) {
		waits[i].events = POLLOUT;
		sleepers[i].due = is_ready;
	}
	return true;
}

/* 1 when all of them sleep, 0 when one did not; or -errno. */
static int start_writers(void)
{
	int asleep = 1;

	for (unsigned int i = 0; i < WRITERS && asleep > 0; i++)
		asleep = sleeper_start(&sleepers[i]);
	return asleep;
}

/* End them; returns how much the first one has sent. */
static size_t stop_writers(void)
{
	sleepers_stop(sleepers, WRITERS);
	close_fd(&waits[2].epoll_fd);
	return sleepers[0].ret > 0 ? sleepers[0].ret : 0;
}

/*
 * Writers that sleep for want of room. While the last segments are on their way there can be room
 * again, and they would not sleep: then it is filled, too. Returns how much is sent before what the
 * sleeper in send(2) sends; 0: they never sleep.
 */
static size_t sleep_for_room(int fd, uint32_t seed)
{
	static char last[CHUNK];
	size_t sent = 0;

	for (;;) {
		int asleep;

		sent = fill(fd, seed, sent);
		fill_pattern(last, sizeof(last), seed, sent);
		if (!sent || !prepare_writers(fd, last))
			return 0;
		asleep = start_writers();
		if (!CHECK_OK(asleep, "start the writers"))
			return 0;
		if (asleep)
			return sent;
		sent += stop_writers();
	}
}

/* How long n of them slept on once there was somebody who reads, if they did. */
static void measure_writers(const struct topology *t, unsigned int n, uint64_t start)
{
	for (unsigned int i = 0; i < n; i++) {
		if (sleepers[i].woken_ns > start)
			topology_measure_other(t, "write", start, sleepers[i].woken_ns);
	}
}

static void send_on(struct topology *t)
{
	uint32_t seed = new_seed();
	uint64_t start;
	size_t sent;

	if (!set_buffer(t->in.mapped, SO_SNDBUF) || !set_buffer(t->in.peer, SO_RCVBUF))
		return;
	sent = sleep_for_room(t->in.mapped, seed);
	start = now_ns();
	if (sent && check_pattern(t->in.peer, sent + CHUNK, seed, 0, "what was sent") &&
	    check_woken(&sleepers[0], "send") &&
	    CHECK_EQ(sleepers[0].ret, CHUNK, "bytes sent by the one that slept") &&
	    check_woken(&sleepers[1], "poll") &&
	    check_woken(&sleepers[2], "edge-triggered epoll")) {
		measure_writers(t, 3, start);
		topology_check_empty(t);
	}
	stop_all();
}

/* More than the buffers on the way of what is redirected to egress. */
#define THROUGH (1 << 20)

/* Acknowledgements make room once more, and that is filled at once: full is what stays so. */
#define SETTLED_MS 20

static bool wait_until_full(int fd)
{
	uint64_t deadline = now_ns() + patience_ms() * NSEC_PER_MSEC;
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	int n;

	while ((n = poll(&pfd, 1, SETTLED_MS)) == 1 && now_ns() < deadline)
		usleep(100);
	return CHECK_EQ(n < 0 ? -errno : n, 0, "poll for room in the send buffer");
}

/* Should there be room for a moment yet, one may not sleep. */
static bool sleep_while_full(int fd)
{
	uint64_t deadline = now_ns() + patience_ms() * NSEC_PER_MSEC;

	while (now_ns() < deadline) {
		int asleep;

		if (!wait_until_full(fd))
			return false;
		prepare(0, fd, in_poll, SYS_ppoll);
		if (!prepare_epoll(1, fd, EPOLLOUT | EPOLLET))
			return false;
		for (unsigned int i = 0; i < 2; i++) {
			waits[i].events = POLLOUT;
			sleepers[i].due = is_ready;
		}
		asleep = sleeper_start(&sleepers[0]);
		if (asleep > 0)
			asleep = sleeper_start(&sleepers[1]);
		if (asleep)
			return CHECK_OK(asleep < 0 ? asleep : 0, "start the writers");
		sleepers_stop(sleepers, 2);
		close_fd(&waits[1].epoll_fd);
	}
	return CHECK(false, "writers sleep");
}

static void send_through(struct topology *t)
{
	uint32_t seed = new_seed();
	struct pump *pump;
	uint64_t start;
	bool ok;

	if (!set_buffer(t->out.mapped, SO_SNDBUF) || !set_buffer(t->target, SO_RCVBUF) ||
	    !CHECK_OK(pump_start(&pump, t->sender, THROUGH, CHUNK, seed), "start the sender"))
		return;
	ok = sleep_while_full(t->out.mapped);
	start = now_ns();
	ok = ok && check_pattern(t->target, THROUGH, seed, 0, "what was redirected") &&
	     check_woken(&sleepers[0], "poll") && check_woken(&sleepers[1], "edge-triggered epoll");
	if (CHECK_EQ(pump_finish(pump), THROUGH, "bytes sent") && ok) {
		measure_writers(t, 2, start);
		topology_check_empty(t);
	}
	stop_all();
}

/* ---- The plan -------------------------------------------------------------------------------- */

/* No kernel takes SOCK_SEQPACKET of AF_UNIX into a map, and IPv6 sleeps as IPv4 does. */
static bool any(const struct sock_kind *kind)
{
	return kind->family != AF_INET6 &&
	       (kind->family != AF_UNIX || kind->type != SOCK_SEQPACKET);
}

static bool stream(const struct sock_kind *kind)
{
	return any(kind) && kind->type == SOCK_STREAM;
}

/* Those whose recv(2) may sleep in a map; UDP notices nothing there. */
static bool receiver(const struct sock_kind *kind)
{
	return kind->family != AF_VSOCK && any(kind) &&
	       (kind->family == AF_UNIX || kind->type == SOCK_STREAM);
}

static bool tcp(const struct sock_kind *kind)
{
	return kind->family != AF_UNIX && kind->family != AF_VSOCK && kind->type == SOCK_STREAM;
}

#define IN_MAP	(ANY_PASS | ANY_INGRESS)
#define FORWARD (ANY_INGRESS | ANY_EGRESS)

/* Where a parser passes data, no more may come while two messages of it are unread. */
#define UNREAD (SKB_PASS | ANY_INGRESS)

static const struct fix ready_fixes[] = {
	{ "552de9106882", "bpf: sk_msg, fix socket data_ready events" },
	{ "af493388950b", "net: Implement ->sock_is_readable() for UDP and AF_UNIX" },
	{},
};

static const struct scenario scenarios[] = {
	{ "in-turn", ANY_PASS | FORWARD, .of = any, .run = in_turn, .guards = ready_fixes },
	{ "together", ANY_PASS | FORWARD, .of = any, .run = together, .guards = ready_fixes },
	{ "early", IN_MAP, .of = any, .run = early },
	{ "across", IN_MAP, .of = any, .run = across },
	{ "level", IN_MAP, .of = any, .run = level, .guards = ready_fixes },
	{ "edge", UNREAD, .of = any, .run = edge, .guards = ready_fixes },
	{ "oneshot", UNREAD, .of = any, .run = oneshot, .guards = ready_fixes },
	{ "exclusive", IN_MAP, .of = any, .run = exclusive, .guards = ready_fixes },
	{ "recv", IN_MAP, .of = receiver, .run = receivers, .guards = ready_fixes },
	{ "accept", ANY_INGRESS, .of = tcp, .run = accepts,
	  .with = { .to_listener = true, .two_maps = true } },
	{ "send", ANY_PASS, .of = stream, .run = send_on },
	{ "send-through", ANY_EGRESS, .of = stream, .run = send_through },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return scenario_describe(scenarios, ARRAY_SIZE(scenarios), i, sub);
}

static void run(unsigned int i)
{
	scenario_run(scenarios, ARRAY_SIZE(scenarios), i);
}

DEFINE_TEST(sockmap_wakeup, describe, run);
