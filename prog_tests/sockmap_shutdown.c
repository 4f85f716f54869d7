// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ends of connections, and data that is on its way when they end.
 *
 *	fin-behind-data		the stream that the target reads ends behind redirected or passed data:
 *				the data, the end of the stream, and the end again
 *	native-behind-data	the same with data of the target's own connection in between
 *	reset-behind-data	likewise, but the connection is reset: the data, ECONNRESET, the end
 *	source-closed		both ends of the incoming connection are gone before the data is read
 *	source-shut		the incoming connection ends: the target hears nothing of it
 *	mapped-shut		the socket with the program has shut its own direction: the other lives
 *	target-closed		the target is closed: data is dropped, or refused
 *	target-shut		the target was shut for sending: EPIPE, for each send(2) of a sender that
 *				can be told, or else for the target, once
 *	target-gone		the other end of the target is closed
 *	late-data		data is redirected to a target that has seen the end of its stream
 *	zero-length		recv(2) of no bytes, with data queued
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "harness/harness.h"
#include "harness/scenario.h"
#include "network_helpers.h"
#include "progs/verdicts.h"

/* ---- Steps ----------------------------------------------------------------------------------- */

/* The socket at the other end of the stream that the target reads. */
static int far_end(const struct topology *t)
{
	if (t->redirect->pass)
		return t->sender;
	return t->redirect->ingress ? t->out.peer : t->out.mapped;
}

/* One message on its way; its verdict has been given. */
static bool send_one(struct topology *t, struct message *m)
{
	fill_message(m, 500);
	topology_expect(t, SK_PASS, m->len);
	return check_send(t->sender, m, "send") && topology_check_verdicts(t);
}

/*
 * The same, and it has arrived. What is still with the kernel's worker at the end of a stream comes
 * after it, so what is to come before it has to be waited for.
 */
static bool deliver_one(struct topology *t, struct message *m)
{
	return send_one(t, m) && check_poll(t->target, POLLIN, "data");
}

static bool shut(int fd, int how, const char *what)
{
	return CHECK_OK(shutdown(fd, how) ? -errno : 0, "shutdown %s", what);
}

/* The variable that has the descriptor, for those who close it. */
static int *slot_of(struct topology *t, int fd)
{
	int *slots[] = { &t->in.mapped, &t->in.peer, &t->out.mapped };

	for (unsigned int i = 0; i < ARRAY_SIZE(slots); i++) {
		if (*slots[i] == fd)
			return slots[i];
	}
	return &t->out.peer;
}

/* The end of the stream can be read any number of times, and poll(2) goes on to report it. */
static bool check_end(int fd)
{
	return check_end_of_stream(fd, 0, "first read") &&
	       check_end_of_stream(fd, 0, "second read") &&
	       check_poll(fd, POLLIN | POLLRDHUP, "after the end of the stream");
}

/* The connection that the program was for goes on as if there had been no map. */
static void check_source_lives(struct topology *t)
{
	if (CHECK_OK(socket_map_delete(topology_in_map(t), KEY_IN), "delete in.mapped"))
		check_traffic(&t->in);
}

/* ---- Scenarios ------------------------------------------------------------------------------- */

static void fin_behind_data(struct topology *t)
{
	struct message m, back;

	if (!deliver_one(t, &m) || !shut(far_end(t), SHUT_WR, "of the far end") ||
	    !check_poll(t->target, POLLIN | POLLRDHUP, "data and the end of the stream") ||
	    !check_arrives(t->target, &m, "data before the end of the stream") ||
	    !check_end(t->target))
		return;
	/* It was shut one way only. */
	fill_message(&back, 300);
	if (check_send(t->target, &back, "the other way"))
		check_arrives(far_end(t), &back, "the other way");
}

static void native_behind_data(struct topology *t)
{
	struct message redirected, native;

	fill_message(&native, 700);
	if (deliver_one(t, &redirected) && check_send(t->out.peer, &native, "the target's own") &&
	    shut(t->out.peer, SHUT_WR, "of the far end") &&
	    check_poll(t->target, POLLIN | POLLRDHUP, "data and the end of the stream") &&
	    check_arrives(t->target, &redirected, "redirected data, first") &&
	    check_arrives(t->target, &native, "data of the target's own"))
		check_end(t->target);
}

static void reset_behind_data(struct topology *t)
{
	struct message m;

	if (deliver_one(t, &m) && CHECK_OK(reset_fd(slot_of(t, far_end(t))), "reset") &&
	    check_poll(t->target, POLLIN | POLLERR, "data and a reset") &&
	    check_arrives(t->target, &m, "data before the reset") &&
	    check_end_of_stream(t->target, ECONNRESET, "first read"))
		check_end_of_stream(t->target, 0, "second read");
}

static void source_closed(struct topology *t)
{
	struct message m;

	if (!send_one(t, &m))
		return;
	close_pair(&t->in);
	if (check_arrives(t->target, &m, "data of a closed connection"))
		check_nothing(t->target, "nothing more");
}

static void source_shut(struct topology *t)
{
	int source = t->sender == t->in.peer ? t->in.mapped : t->in.peer;
	struct message m;

	if (deliver_one(t, &m) && shut(t->sender, SHUT_WR, "of the sender") &&
	    check_end_of_stream(source, 0, "the source") &&
	    check_arrives(t->target, &m, "data before the end of the source"))
		check_nothing(t->target, "the target's stream goes on");
}

static void mapped_shut(struct topology *t)
{
	struct message m;

	if (shut(t->in.mapped, SHUT_WR, "of in.mapped") &&
	    check_end_of_stream(t->in.peer, 0, "the end of what in.mapped sends") &&
	    send_one(t, &m) && check_arrives(t->target, &m, "data to in.mapped"))
		check_nothing(t->target, "nothing more");
}

static void target_closed(struct topology *t)
{
	bool refused = t->redirect->hook == HOOK_MSG_VERDICT;
	struct message m;

	close_pair(&t->out);
	fill_message(&m, 500);
	topology_expect(t, SK_DROP, m.len);
	if (refused ? CHECK_ERR(send_message(t->sender, &m, 0), EACCES, "send")
		    : check_send(t->sender, &m, "send")) {
		topology_check_verdicts(t);
		check_source_lives(t);
	}
}

/* A program may not know, and redirect to it; who sends hears of it only where it is sk_msg. */
static bool send_in_vain(struct topology *t, int error)
{
	struct message m;

	fill_message(&m, 500);
	topology_expect(t, SK_PASS, m.len);
	if (t->redirect->hook == HOOK_MSG_VERDICT) {
		if (!CHECK_ERR(send_message(t->sender, &m, MSG_NOSIGNAL), error, "send"))
			return false;
	} else if (!check_send(t->sender, &m, "send")) {
		return false;
	}
	return topology_check_verdicts(t);
}

static void target_shut(struct topology *t)
{
	bool told = t->redirect->hook != HOOK_MSG_VERDICT;

	if (!shut(t->out.mapped, SHUT_WR, "of out.mapped") || !send_in_vain(t, EPIPE))
		return;
	if (told && (!check_poll(t->out.mapped, POLLERR, "out.mapped") ||
		     !check_socket_error(t->out.mapped, EPIPE, "out.mapped")))
		return;
	if (!send_in_vain(t, EPIPE) || !send_in_vain(t, EPIPE) ||
	    !check_end_of_stream(t->out.peer, 0, "out.peer"))
		return;
	if (told) {
		/* Nothing is to happen: only a kernel that goes on needs the time. */
		usleep(20 * 1000);
		check_socket_error(t->out.mapped, 0, "out.mapped, which got an error already");
	}
	check_source_lives(t);
}

/* Whether the program still finds the target is up to the state of that: either verdict is right. */
static bool wait_for_any_verdict(const struct topology *t, uint64_t bytes)
{
	const struct verdicts *v = topology_verdicts(t);
	uint64_t deadline = now_ns() + patience_ms() * NSEC_PER_MSEC;
	uint64_t seen;

	while ((seen = read_counter(&v->bytes[SK_PASS]) + read_counter(&v->bytes[SK_DROP])) <
		       bytes &&
	       now_ns() < deadline)
		usleep(100);
	return CHECK_EQ(seen, bytes, "bytes that the program has seen");
}

static void target_gone(struct topology *t)
{
	struct message m;

	close_fd(&t->out.peer);
	for (unsigned int i = 0; i < 3; i++) {
		fill_message(&m, 500);
		if (!check_send(t->sender, &m, "send") || !wait_for_any_verdict(t, (i + 1) * m.len))
			return;
	}
	check_source_lives(t);
}

static void late_data(struct topology *t)
{
	struct message m;

	if (shut(t->out.peer, SHUT_WR, "of out.peer") && check_end(t->target) && send_one(t, &m) &&
	    check_arrives(t->target, &m, "data behind the end of the stream"))
		check_end(t->target);
}

static ssize_t recv_nothing(void *arg)
{
	ssize_t n = recv(*(int *)arg, NULL, 0, 0);

	return n < 0 ? -errno : n;
}

static void zero_length(struct topology *t)
{
	struct message m;

	if (deliver_one(t, &m) &&
	    CHECK_EQ(call_timeout(recv_nothing, &t->target), 0, "recv of no bytes") &&
	    CHECK_EQ(recv(t->target, NULL, 0, MSG_DONTWAIT), 0, "recv of no bytes, MSG_DONTWAIT") &&
	    check_arrives(t->target, &m, "data"))
		check_nothing(t->target, "nothing more");
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const struct kinds tcp[] = { { .in = "tcp4" }, { .in = "tcp6" }, {} };

static const struct kinds streams[] = {
	{ .in = "tcp4" },
	{ .in = "tcp6" },
	{ .in = "unix_stream" },
	{ .in = "vsock_stream" },
	{ "tcp4", "unix_stream" },
	{ "unix_stream", "tcp6" },
	{},
};

/*
 * Sockets in a map that are told of the end of their stream, and of no sooner end than that. To an
 * AF_UNIX stream socket it is the end of its time in the map, too, and so of the redirected data
 * that it has not read. An AF_VSOCK socket gets EAGAIN, or sleeps, instead of the end.
 */
static const struct kinds tcp_targets[] = {
	{ .in = "tcp4" },
	{ .in = "tcp6" },
	{ "unix_stream", "tcp6" },
	{},
};

/* Of TCP, a program without a parser gets the FIN, too, and redirects it. */
static const struct kinds unix_sources[] = {
	{ .in = "unix_stream" },
	{ "unix_stream", "tcp6" },
	{},
};

static const struct kinds any[] = {
	{ .in = "tcp4" },	   { .in = "tcp6" },
	{ .in = "udp4" },	   { .in = "udp6" },
	{ .in = "unix_stream" },   { .in = "unix_dgram" },
	{ .in = "vsock_stream" },  { "tcp4", "udp4" },
	{ "udp6", "unix_stream" }, {},
};

static const struct kinds not_vsock[] = {
	{ .in = "tcp4" },
	{ .in = "tcp6" },
	{ .in = "udp4" },
	{ .in = "udp6" },
	{ .in = "unix_stream" },
	{ .in = "unix_dgram" },
	{},
};

static const struct fix fin_fixes[] = {
	{ "901546fd8f9c", "bpf, sockmap: Handle fin correctly" },
	{},
};

static const struct fix order_fixes[] = {
	{ "e7a5f1f1cd00", "bpf/sockmap: Read psock ingress_msg before sk_receive_queue" },
	{},
};

static const struct fix pointer_fixes[] = {
	{ "30b9c54a707d", "skmsg: Clear skb redirect pointer before dropping it" },
	{},
};

static const struct fix zero_fixes[] = {
	{ "d900f3d20cc3", "bpf, sockmap: Fix an infinite loop error when len is 0 in "
			  "tcp_bpf_recvmsg_parser()" },
	{},
};

#define SKB (SKB_INGRESS | SKB_EGRESS | PARSER_INGRESS | PARSER_EGRESS)

static const struct scenario scenarios[] = {
	{ "fin-behind-data", ANY_PASS | ANY_INGRESS, tcp_targets, .run = fin_behind_data,
	  .with = { .two_maps = true }, .guards = fin_fixes },
	{ "fin-behind-data", MSG_PASS | ANY_EGRESS, streams, .run = fin_behind_data,
	  .with = { .two_maps = true } },
	{ "native-behind-data", ANY_INGRESS, tcp_targets, .run = native_behind_data,
	  .with = { .two_maps = true }, .guards = order_fixes },
	{ "reset-behind-data", ANY_PASS | MSG_PASS | ANY_INGRESS, tcp, .run = reset_behind_data },
	{ "source-closed", ANY_INGRESS | ANY_EGRESS, any, .run = source_closed },
	{ "source-shut", PARSER_INGRESS | PARSER_EGRESS | MSG_INGRESS | MSG_EGRESS, streams,
	  .run = source_shut },
	{ "source-shut", SKB_INGRESS | SKB_EGRESS, unix_sources, .run = source_shut },
	{ "mapped-shut", ANY_PASS | SKB, streams, .run = mapped_shut },
	{ "target-closed", ANY_INGRESS | ANY_EGRESS, any, .run = target_closed },
	{ "target-shut", ANY_EGRESS, streams, .run = target_shut, .guards = pointer_fixes },
	{ "target-gone", SKB_EGRESS | PARSER_EGRESS, streams, .run = target_gone },
	{ "late-data", MSG_INGRESS, tcp, .run = late_data },
	{ "zero-length", ANY_PASS | ANY_INGRESS, not_vsock, .run = zero_length,
	  .guards = zero_fixes },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return scenario_describe(scenarios, ARRAY_SIZE(scenarios), i, sub);
}

static void run(unsigned int i)
{
	scenario_run(scenarios, ARRAY_SIZE(scenarios), i);
}

DEFINE_TEST(sockmap_shutdown, describe, run);
