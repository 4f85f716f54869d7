// SPDX-License-Identifier: GPL-2.0-only
/*
 * io_uring and sockets in maps: a request that waits for data is completed by data that a program
 * passes or redirects, as a sleeping reader is woken.
 *
 *	recv		IORING_OP_RECV, handed over before there is data
 *	recv-queued	the same, when the data is there
 *	recv-leaves	the same, for a socket that leaves its map before there is data
 *	cancel		one that is cancelled takes no data with it
 *	poll		IORING_OP_POLL_ADD, handed over before there is data
 *	poll-multishot	one request for several messages
 *	send		IORING_OP_SEND, of data that the program sees
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "harness/harness.h"
#include "harness/ring.h"
#include "harness/scenario.h"
#include "network_helpers.h"
#include "progs/verdicts.h"

#define ROUNDS 3

/* ---- Steps ----------------------------------------------------------------------------------- */

/* What a completion says which request it belongs to. */
enum { TAG_REQUEST = 1, TAG_CANCEL };

static bool submit(struct ring *ring, const struct io_uring_sqe *request, const char *what)
{
	return CHECK_OK(ring_submit(ring, request), "hand over %s", what);
}

static bool submit_recv(struct ring *ring, int fd, char *buf, size_t len)
{
	const struct io_uring_sqe request = {
		.opcode = IORING_OP_RECV,
		.fd = fd,
		.addr = (uintptr_t)buf,
		.len = len,
		.user_data = TAG_REQUEST,
	};

	return submit(ring, &request, "the receive request");
}

static bool submit_poll(struct ring *ring, int fd, unsigned int flags)
{
	const struct io_uring_sqe request = {
		.opcode = IORING_OP_POLL_ADD,
		.fd = fd,
		.poll32_events = POLLIN,
		.len = flags,
		.user_data = TAG_REQUEST,
	};

	return submit(ring, &request, "the poll request");
}

/* It is not completed by anything else than data. */
static bool check_waits(struct ring *ring)
{
	struct io_uring_cqe completion;

	return CHECK(!ring_take(ring, &completion, 0),
		     "the request is completed before there is data");
}

/* It is completed. Where it is not, a look at the socket tells a lost wake-up from lost data. */
static bool check_completes(struct ring *ring, int fd, struct io_uring_cqe *completion)
{
	char buf[MESSAGE_MAX];
	ssize_t n;

	if (ring_take(ring, completion, patience_ms()))
		return true;
	n = recv(fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT);
	if (n > 0)
		return CHECK(false, "no wake-up: %zd bytes are there, the request waits", n);
	return CHECK(false, "no data has come, and the request waits");
}

static bool check_received_by_ring(struct ring *ring, int fd, const char *buf,
				   const struct message *m)
{
	struct io_uring_cqe completion;

	return check_completes(ring, fd, &completion) &&
	       CHECK_EQ(completion.res, (int)m->len, "result of the receive request") &&
	       CHECK(!memcmp(buf, m->bytes, m->len), "the data received is not what was sent");
}

static bool check_ready(struct ring *ring, int fd, unsigned int flags)
{
	struct io_uring_cqe completion;

	return check_completes(ring, fd, &completion) &&
	       CHECK(completion.res > 0 && completion.res & POLLIN,
		     "result of the poll request: %d, without POLLIN", completion.res) &&
	       CHECK_EQ(completion.flags & IORING_CQE_F_MORE, flags, "more completions to come");
}

/* The next message of the topology, for which a verdict is due. */
static bool send_next(struct topology *t, struct message *m, unsigned int round)
{
	fill_message(m, 400 * (round + 1));
	topology_expect(t, SK_PASS, m->len);
	return check_send(t->sender, m, "send");
}

static bool open_ring(struct ring *ring)
{
	return CHECK_OK(ring_open(ring), "set up a ring");
}

static void check_end(struct topology *t)
{
	if (topology_check_verdicts(t))
		topology_check_empty(t);
}

/* ---- Scenarios ------------------------------------------------------------------------------- */

static void recv_waits(struct topology *t)
{
	struct ring ring __auto_ring = RING_NONE;
	char buf[MESSAGE_MAX];
	struct message m;

	if (!open_ring(&ring))
		return;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		if (!submit_recv(&ring, t->target, buf, sizeof(buf)) || !check_waits(&ring) ||
		    !send_next(t, &m, i) || !check_received_by_ring(&ring, t->target, buf, &m))
			return;
	}
	check_end(t);
}

static void recv_queued(struct topology *t)
{
	struct ring ring __auto_ring = RING_NONE;
	char buf[MESSAGE_MAX];
	struct message m;

	if (!open_ring(&ring))
		return;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		if (!send_next(t, &m, i) || !check_poll(t->target, POLLIN, "target") ||
		    !submit_recv(&ring, t->target, buf, sizeof(buf)) ||
		    !check_received_by_ring(&ring, t->target, buf, &m))
			return;
	}
	check_end(t);
}

static int other_end(const struct topology *t, int fd)
{
	const struct sock_pair *pair = fd == t->in.mapped || fd == t->in.peer ? &t->in : &t->out;

	return fd == pair->mapped ? pair->peer : pair->mapped;
}

static void recv_leaves(struct topology *t)
{
	struct ring ring __auto_ring = RING_NONE;
	char buf[MESSAGE_MAX];
	struct message m;

	fill_message(&m, 1000);
	if (open_ring(&ring) && submit_recv(&ring, t->target, buf, sizeof(buf)) &&
	    topology_remove_sockets(t) && check_waits(&ring) &&
	    check_send(other_end(t, t->target), &m, "send to the socket that has left") &&
	    check_received_by_ring(&ring, t->target, buf, &m))
		topology_check_traffic(t);
}

/* Both requests are completed, in whatever order. */
static bool check_cancelled(struct ring *ring)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct io_uring_cqe completion;

		if (!CHECK(ring_take(ring, &completion, patience_ms()),
			   "a request is not completed") ||
		    !CHECK_EQ(completion.res, completion.user_data == TAG_CANCEL ? 0 : -ECANCELED,
			      "result of the %s",
			      completion.user_data == TAG_CANCEL ? "cancellation" : "request"))
			return false;
	}
	return true;
}

static void cancel(struct topology *t)
{
	static const struct io_uring_sqe request = {
		.opcode = IORING_OP_ASYNC_CANCEL,
		.fd = -1,
		.addr = TAG_REQUEST,
		.user_data = TAG_CANCEL,
	};
	struct ring ring __auto_ring = RING_NONE;
	char buf[MESSAGE_MAX];
	struct message m;

	if (open_ring(&ring) && submit_recv(&ring, t->target, buf, sizeof(buf)) &&
	    submit(&ring, &request, "the cancellation") && check_cancelled(&ring) &&
	    send_next(t, &m, 0) && check_arrives(t->target, &m, "data after the cancellation"))
		check_end(t);
}

static void poll_waits(struct topology *t)
{
	struct ring ring __auto_ring = RING_NONE;
	struct message m;

	if (!open_ring(&ring))
		return;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		if (!submit_poll(&ring, t->target, 0) || !check_waits(&ring) ||
		    !send_next(t, &m, i) || !check_ready(&ring, t->target, 0) ||
		    !check_arrives(t->target, &m, "data"))
			return;
	}
	check_end(t);
}

/* More than one wake-up for a message is no fault; none can be left once it has been read. */
static void drain(struct ring *ring)
{
	struct io_uring_cqe completion;

	while (ring_take(ring, &completion, 0))
		;
}

static void poll_multishot(struct topology *t)
{
	struct ring ring __auto_ring = RING_NONE;
	struct message m;

	if (!open_ring(&ring) || !submit_poll(&ring, t->target, IORING_POLL_ADD_MULTI))
		return;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		if (!check_waits(&ring) || !send_next(t, &m, i) ||
		    !check_ready(&ring, t->target, IORING_CQE_F_MORE) ||
		    !check_arrives(t->target, &m, "data"))
			return;
		drain(&ring);
	}
	check_end(t);
}

static void send_by_ring(struct topology *t)
{
	struct ring ring __auto_ring = RING_NONE;
	struct message m;

	if (!open_ring(&ring))
		return;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		const struct io_uring_sqe request = {
			.opcode = IORING_OP_SEND,
			.fd = t->sender,
			.addr = (uintptr_t)m.bytes,
			.len = 400 * (i + 1),
			.user_data = TAG_REQUEST,
		};
		struct io_uring_cqe completion;

		fill_message(&m, request.len);
		topology_expect(t, SK_PASS, m.len);
		if (!submit(&ring, &request, "the send request") ||
		    !CHECK(ring_take(&ring, &completion, patience_ms()),
			   "the send request is not completed") ||
		    !CHECK_EQ(completion.res, (int)m.len, "result of the send request") ||
		    !check_arrives(t->target, &m, "data"))
			return;
	}
	check_end(t);
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const struct kinds all_kinds[] = {
	{ .in = "tcp4" },	  { .in = "tcp6" },	   { .in = "udp4" },
	{ .in = "udp6" },	  { .in = "unix_stream" }, { .in = "unix_dgram" },
	{ .in = "vsock_stream" }, { "tcp4", "udp4" },	   {},
};

/* A request to receive can end in a recv(2) that sleeps, and AF_VSOCK sleeps with its lock held. */
static const struct kinds not_vsock[] = {
	{ .in = "tcp4" },	 { .in = "tcp6" },	 { .in = "udp4" },   { .in = "udp6" },
	{ .in = "unix_stream" }, { .in = "unix_dgram" }, { "tcp4", "udp4" }, {},
};

#define ANY	  (ANY_PASS | ANY_INGRESS | ANY_EGRESS)
#define RING	  .needs = (feature_set)1 << FEAT_IO_URING
#define MULTISHOT .needs = (feature_set)1 << FEAT_POLL_MULTISHOT

static const struct scenario scenarios[] = {
	{ "recv", ANY, not_vsock, .run = recv_waits, RING },
	{ "recv-queued", ANY, not_vsock, .run = recv_queued, RING },
	{ "recv-leaves", ANY, not_vsock, .run = recv_leaves, RING },
	{ "cancel", ANY, not_vsock, .run = cancel, RING },
	{ "poll", ANY, all_kinds, .run = poll_waits, RING },
	{ "poll-multishot", ANY, all_kinds, .run = poll_multishot, MULTISHOT },
	{ "send", ANY, all_kinds, .run = send_by_ring, RING },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return scenario_describe(scenarios, ARRAY_SIZE(scenarios), i, sub);
}

static void run(unsigned int i)
{
	scenario_run(scenarios, ARRAY_SIZE(scenarios), i);
}

DEFINE_TEST(sockmap_iouring, describe, run);
