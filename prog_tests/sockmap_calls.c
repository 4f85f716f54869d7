// SPDX-License-Identifier: GPL-2.0-only
/*
 * What has nothing to do with redirection goes on as if there were no map: calls that the kernel's
 * code for sockets in maps has to pass on, and sleeps that end otherwise than by data.
 *
 *	error-queue	MSG_ERRQUEUE finds no errors, and takes no data
 *	unsent		SIOCOUTQ counts what was sent, not what came
 *	listener	FIONREAD is not for a socket that listens
 *	interrupted	a signal ends recv(2); what comes then is read
 *	timed-out	SO_RCVTIMEO ends it with EAGAIN; what comes then is read
 *	shut-read	a socket that is shut for reading is at the end of its stream
 *	disconnected	the socket is disconnected, which ends it, or is refused
 *	own-data	recv(2) is woken by data that goes through no program
 *	empty		a read that must not sleep gets EAGAIN, over and over; and a read of no bytes 0
 *	sender-reset	a sender that waits for buffer space gives up when the connection is reset
 *	send-timeout	SO_SNDTIMEO ends its wait
 *	send-fault	a send from memory that is not all there sends what it says it did, be it nothing
 */
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "harness/harness.h"
#include "harness/scenario.h"
#include "harness/sleeper.h"
#include "network_helpers.h"

/* ---- Steps ----------------------------------------------------------------------------------- */

static bool check_message_through(struct topology *t, const char *what)
{
	struct message m;

	fill_message(&m, 100);
	topology_expect(t, SK_PASS, m.len);
	return check_send(t->sender, &m, "send") && check_arrives(t->target, &m, what) &&
	       topology_check_verdicts(t) && topology_check_empty(t);
}

/* The other end of the target's connection. */
static int other_end(const struct topology *t)
{
	if (t->target == t->in.peer || t->target == t->in.mapped)
		return t->target == t->in.peer ? t->in.mapped : t->in.peer;
	return t->target == t->out.peer ? t->out.mapped : t->out.peer;
}

static bool set_timeout(int fd, int option, unsigned int ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	return CHECK_EQ(setsockopt(fd, SOL_SOCKET, option, &tv, sizeof(tv)) ? -errno : 0, 0,
			"setsockopt of a timeout");
}

/* ---- Calls that are passed on ---------------------------------------------------------------- */

static void error_queue(struct topology *t)
{
	struct message m;
	char byte;

	fill_message(&m, 100);
	topology_expect(t, SK_PASS, m.len);
	if (!check_send(t->sender, &m, "send") || !check_poll(t->target, POLLIN, "data") ||
	    !topology_check_verdicts(t))
		return;
	CHECK_EQ(recv(t->target, &byte, 1, MSG_ERRQUEUE) < 0 ? -errno : 0, -EAGAIN, "MSG_ERRQUEUE");
	check_arrives(t->target, &m, "data after MSG_ERRQUEUE");
	CHECK_EQ(recv(t->target, &byte, 1, MSG_ERRQUEUE) < 0 ? -errno : 0, -EAGAIN,
		 "MSG_ERRQUEUE without data");
	topology_check_empty(t);
}

static void unsent(struct topology *t)
{
	struct message m;
	int n = -1;

	fill_message(&m, 100);
	topology_expect(t, SK_PASS, m.len);
	if (!check_send(t->sender, &m, "send") || !check_poll(t->target, POLLIN, "data"))
		return;
	CHECK_OK(ioctl(t->target, SIOCOUTQ, &n) ? -errno : 0, "SIOCOUTQ");
	CHECK_EQ(n, 0, "unsent bytes at a socket that has sent nothing");
	check_arrives(t->target, &m, "data after SIOCOUTQ");
	topology_check_verdicts(t);
}

static void listener(struct topology *t)
{
	CHECK_ERR(bytes_readable(t->out.mapped), EINVAL, "FIONREAD of a listener");
}

static ssize_t recv_now(void *arg)
{
	char byte;

	return read_now(*(int *)arg, &byte, 1);
}

static void empty(struct topology *t)
{
	char byte;

	for (int i = 0; i < 3; i++) {
		if (!CHECK_ERR(call_timeout(recv_now, &t->target), EAGAIN, "a read without data") ||
		    !check_message_through(t, "data after it"))
			return;
		/* AF_VSOCK looks for data first. */
		if (t->target_kind->family != AF_VSOCK)
			CHECK_EQ(recv(t->target, &byte, 0, MSG_DONTWAIT), 0, "a read of no bytes");
	}
}

/* ---- Sleeps ---------------------------------------------------------------------------------- */

struct wait {
	int fd;
	int error; /* in the end, of a sender or of in_recv_to_fail() */
	struct message got;
};

static ssize_t in_recv(void *arg)
{
	struct wait *w = arg;
	ssize_t n = recv(w->fd, w->got.bytes, sizeof(w->got.bytes), 0);

	return n < 0 ? -errno : n;
}

/* The same, where to fail is to be woken. */
static ssize_t in_recv_to_fail(void *arg)
{
	struct wait *w = arg;
	ssize_t n = in_recv(w);

	w->error = n == -EINTR ? 0 : n;
	return n < 0 && n != -EINTR ? 0 : n;
}

static bool has_data(void *arg)
{
	struct wait *w = arg;
	char byte;

	return recv(w->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

#define RECV_SLEEPER(w)                                                               \
	{                                                                             \
		.call = in_recv, .due = has_data, .arg = (w), .syscall = SYS_recvfrom \
	}

static void interrupted(struct topology *t)
{
	static struct sleeper s;
	static struct wait w;

	w.fd = t->target;
	s = (struct sleeper)RECV_SLEEPER(&w);
	if (check_asleep(&s, "reader")) {
		sleepers_stop(&s, 1);
		/* The kernel's code for sockets in maps has always had the second for most kinds. */
		CHECK(s.ret == -EINTR || s.ret == -EAGAIN, "recv, interrupted: %zd", s.ret);
		check_message_through(t, "data after it");
	}
	sleepers_stop(&s, 1);
}

#define TIMEOUT_MS 30

static void timed_out(struct topology *t)
{
	char byte;

	if (!set_timeout(t->target, SO_RCVTIMEO, TIMEOUT_MS))
		return;
	CHECK_EQ(recv(t->target, &byte, 1, 0) < 0 ? -errno : 0, -EAGAIN, "recv, timed out");
	if (set_timeout(t->target, SO_RCVTIMEO, 0))
		check_message_through(t, "data after it");
}

/*
 * In a map with a program for what it receives, it says so, if perhaps not before it has said how the
 * connection has ended; in another map there is just no data.
 */
static void check_not_connected(const struct topology *t)
{
	char byte;

	if (t->redirect->hook == HOOK_MSG_VERDICT)
		return;
	read_now(t->target, &byte, 1);
	CHECK_ERR(read_now(t->target, &byte, 1), ENOTCONN, "recv, not connected any more");
}

/* Linux 6.5 and 6.6 refuse to disconnect a socket that somebody waits for. */
static void disconnected(struct topology *t)
{
	const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	static struct sleeper s;
	static struct wait w;

	w.fd = t->target;
	s = (struct sleeper)RECV_SLEEPER(&w);
	s.call = in_recv_to_fail;
	if (check_asleep(&s, "reader")) {
		int err = connect(t->target, &nobody, sizeof(nobody)) ? -errno : 0;

		if (err == -EBUSY) {
			sleepers_stop(&s, 1);
			check_message_through(t, "data after it");
		} else if (CHECK_OK(err, "disconnect") && check_woken(&s, "reader")) {
			CHECK(w.error <= 0, "recv, disconnected: %d", w.error);
			check_not_connected(t);
		}
	}
	sleepers_stop(&s, 1);
}

static void shut_read(struct topology *t)
{
	char byte;

	if (!CHECK_OK(shutdown(t->target, SHUT_RD) ? -errno : 0, "shutdown"))
		return;
	for (unsigned int i = 0; i < 2; i++)
		CHECK_EQ(read_now(t->target, &byte, 1), 0, "recv of what is shut for reading");
}

static void own_data(struct topology *t)
{
	static struct sleeper s;
	static struct wait w;
	struct message m;

	w.fd = t->target;
	s = (struct sleeper)RECV_SLEEPER(&w);
	fill_message(&m, 100);
	if (check_asleep(&s, "reader") && check_send(other_end(t), &m, "ordinary send") &&
	    check_woken(&s, "reader"))
		CHECK_BYTES(w.got.bytes, s.ret, m.bytes, m.len, "ordinary data");
	sleepers_stop(&s, 1);
	check_message_through(t, "redirected data after it");
}

/* ---- Senders --------------------------------------------------------------------------------- */

static bool has_room(void *arg)
{
	struct wait *w = arg;
	struct pollfd pfd = { .fd = w->fd, .events = POLLOUT };

	return poll(&pfd, 1, 0) == 1;
}

static ssize_t in_send(void *arg)
{
	static char bytes[1 << 20];
	struct wait *w = arg;
	ssize_t n;

	do {
		n = send(w->fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
	} while (n > 0);
	w->error = n < 0 ? -errno : 0;
	return 0;
}

static void sender_reset(struct topology *t)
{
	static struct sleeper s;
	static struct wait w;

	w.fd = t->sender;
	s = (struct sleeper){ .call = in_send, .due = has_room, .arg = &w, .syscall = SYS_sendto };
	if (check_asleep(&s, "sender")) {
		/* With data unread: a reset. */
		close_fd(t->target == t->in.peer ? &t->in.peer : &t->in.mapped);
		t->target = -1;
		if (check_woken(&s, "sender"))
			CHECK(w.error == -ECONNRESET || w.error == -EPIPE,
			      "send to a connection that was reset: %d", w.error);
	}
	sleepers_stop(&s, 1);
}

static void send_timeout(struct topology *t)
{
	struct wait w = { .fd = t->sender };

	if (!set_timeout(t->sender, SO_SNDTIMEO, TIMEOUT_MS))
		return;
	in_send(&w);
	CHECK_EQ(w.error, -EAGAIN, "send, timed out");
}

static void send_fault(struct topology *t)
{
	const size_t there = 1000;
	const uint32_t seed = new_seed();
	char *edge = memory_edge();
	ssize_t n;

	if (!edge)
		return;
	fill_pattern(edge - there, there, seed, 0);
	n = send(t->sender, edge - there, 2 * there, 0);
	if (n > 0) {
		topology_expect(t, SK_PASS, n);
		check_pattern(t->target, n, seed, 0, "what was sent");
	} else if (n < 0) {
		/* Kernels since 6.16 say 0. */
		CHECK_ERR(-errno, EFAULT, "send from memory that is not all there");
	}
	check_message_through(t, "data after it");
}

/* ---- Scenarios ------------------------------------------------------------------------------- */

static const struct kinds tcp[] = { { .in = "tcp4" }, { .in = "tcp6" }, {} };

static const struct kinds tcp_udp[] = {
	{ .in = "tcp4" }, { .in = "tcp6" }, { .in = "udp4" }, { .in = "udp6" }, {},
};

/* Not AF_VSOCK: a reader that sleeps in a map holds the lock that its sender needs. */
static const struct kinds sleepers[] = {
	{ .in = "tcp4" },
	{ .in = "tcp6" },
	{ .in = "udp4" },
	{ .in = "udp6" },
	{ .in = "unix_stream" },
	{ .in = "unix_dgram" },
	{},
};

/* Without anything that is sent meanwhile, AF_VSOCK can sleep too, if it ends. */
static const struct kinds all_kinds[] = {
	{ .in = "tcp4" },
	{ .in = "tcp6" },
	{ .in = "udp4" },
	{ .in = "udp6" },
	{ .in = "unix_stream" },
	{ .in = "unix_dgram" },
	{ .in = "vsock_stream" },
	{ .in = "vsock_seqpacket" },
	{},
};

static const struct fix error_fixes[] = {
	{ "5b2c5540b811", "bpf, sockmap: Fix return codes from tcp_bpf_recvmsg_parser()" },
	{},
};

static const struct scenario scenarios[] = {
	{ "error-queue", ANY_PASS | ANY_INGRESS, tcp_udp, .run = error_queue },
	{ "unsent", ANY_PASS | ANY_INGRESS, tcp_udp, .run = unsent },
	{ "listener", SKB_INGRESS | MSG_INGRESS, tcp, .run = listener,
	  .with = { .to_listener = true, .two_maps = true } },
	{ "interrupted", ANY_PASS | ANY_INGRESS, sleepers, .run = interrupted },
	{ "timed-out", ANY_PASS | ANY_INGRESS, all_kinds, .run = timed_out },
	{ "disconnected", ANY_PASS | ANY_INGRESS, tcp, .run = disconnected, .guards = error_fixes },
	{ "shut-read", ANY_PASS | ANY_INGRESS, tcp, .run = shut_read, .guards = error_fixes },
	{ "own-data", ANY_INGRESS, sleepers, .run = own_data, .with = { .two_maps = true } },
	{ "empty", ANY_PASS | ANY_INGRESS, all_kinds, .run = empty },
	{ "sender-reset", MSG_PASS, tcp, .run = sender_reset },
	{ "send-timeout", MSG_PASS, tcp, .run = send_timeout },
	{ "send-fault", MSG_PASS | MSG_INGRESS | MSG_EGRESS, tcp, .run = send_fault },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return scenario_describe(scenarios, ARRAY_SIZE(scenarios), i, sub);
}

static void run(unsigned int i)
{
	scenario_run(scenarios, ARRAY_SIZE(scenarios), i);
}

DEFINE_TEST(sockmap_calls, describe, run);
