// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where sockmap meets a socket's own traffic: before it is in a map, in a map that has no program,
 * next to redirected data, and after it has left.
 *
 *	plain			a pair of sockets in a map without programs carries its own traffic,
 *				whichever way the reader waits
 *	plain-sender		recvfrom(2) says who has sent what comes to it there
 *	before-insertion	data that came before the socket was in a map is read then; if it is
 *				that of a TCP stream, it has passed the program
 *	early-and-late		the same, and more has come before that is read
 *	leave			all that came through the program is read; the socket leaves the map,
 *				and its stream goes on, to its end, at the right byte
 *	leave-itself		the same where the socket is the target of its own data: of what it has
 *				received, to its ingress, and as an echo
 *	leave-unread		the socket leaves the map with redirected data unread: it is gone, and
 *				nothing else is
 *	reinsert		in and out of the map, many times
 *	reinsert-no-memory	it comes back when memory runs out: not at all, and its stream goes on
 *	move			between a map with a program and one without: the program gets what
 *				comes while the socket is in its map, and that only
 *	two-queues		data of its own waits, and data is redirected: that is read first
 *	blocked-send		a sender that waits for buffer space, and has a program that looks at
 *				what it receives, goes on when there is space
 *	blocked-send-left	the same after the socket has left the map
 *	blocked-send-back	and when it is in the map again
 *	urgent			TCP's out-of-band data goes through the program like any other
 *	lookup			the program passes data if it finds a UDP socket
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "harness/fault.h"
#include "harness/harness.h"
#include "harness/scenario.h"
#include "network_helpers.h"
#include "progs/verdicts.h"
#include "lookup.skel.h"
#include "redirect.skel.h"

/* ---- Steps ----------------------------------------------------------------------------------- */

/* The pair that the target is an end of. */
static struct sock_pair *target_pair(struct topology *t)
{
	return t->target == t->in.mapped || t->target == t->in.peer ? &t->in : &t->out;
}

static int other_end(struct topology *t, int fd)
{
	struct sock_pair *pair = target_pair(t);

	return fd == pair->mapped ? pair->peer : pair->mapped;
}

static bool insert(struct bpf_map *map, uint32_t key, int fd)
{
	return CHECK_OK(socket_map_update(bpf_map__fd(map), key, fd, BPF_NOEXIST), "insert into %s",
			bpf_map__name(map));
}

static bool remove_key(struct bpf_map *map, uint32_t key)
{
	return CHECK_OK(socket_map_delete(bpf_map__fd(map), key), "delete from %s",
			bpf_map__name(map));
}

/* The map that in.mapped is in, and the program is attached to. */
static struct bpf_map *program_map(const struct topology *t)
{
	return t->redirect->two_maps ? t->skel->maps.in_map : t->skel->maps.out_map;
}

/* Through the program, to the target, and read there. */
static bool check_through(struct topology *t, size_t len)
{
	struct message m;

	fill_message(&m, len);
	topology_expect(t, SK_PASS, m.len);
	return check_send(t->sender, &m, "send") && check_arrives(t->target, &m, "data") &&
	       topology_check_verdicts(t);
}

/* From one end of a connection to the other, with no program in between. */
static bool check_unseen(int from, int to, size_t len)
{
	struct message m;

	fill_message(&m, len);
	return check_send(from, &m, "ordinary send") && check_arrives(to, &m, "ordinary data");
}

/*
 * AF_VSOCK learned of FIONREAD in 6.17. The kernel's worker may hold on to what a socket was in the
 * map until it has ended its round, and the socket answers as one in a map until then.
 */
static bool check_fionread(const struct sock_pair *pair, int fd, int want)
{
	uint64_t deadline = now_ns() + patience_ms() * NSEC_PER_MSEC;

	if (pair->kind->family == AF_VSOCK)
		return true;
	while (bytes_readable(fd) != want && now_ns() < deadline)
		usleep(100);
	return CHECK_EQ(bytes_readable(fd), want, "FIONREAD outside of the map");
}

/* The same between sockets that are in no map. */
static bool check_native(const struct sock_pair *pair, int to, size_t len)
{
	int from = to == pair->mapped ? pair->peer : pair->mapped;
	char buf[MESSAGE_MAX];
	struct message m;

	fill_message(&m, len);
	return check_send(from, &m, "ordinary send") && check_poll(to, POLLIN, "ordinary data") &&
	       check_fionread(pair, to, m.len) &&
	       CHECK_BYTES(buf, recv(to, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT), m.bytes, m.len,
			   "MSG_PEEK of ordinary data") &&
	       check_arrives(to, &m, "ordinary data") && check_nothing(to, "no more of it");
}

static bool check_native_both_ways(const struct sock_pair *pair)
{
	static const size_t lengths[] = { 1, 1400, 30 };

	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		if (!check_native(pair, pair->mapped, lengths[i]) ||
		    !check_native(pair, pair->peer, lengths[i] + 1))
			return false;
	}
	return true;
}

static bool remove_target(struct topology *t)
{
	return t->redirect->pass ? remove_key(program_map(t), KEY_IN)
				 : remove_key(t->skel->maps.out_map, KEY_OUT);
}

static bool insert_target(struct topology *t)
{
	return t->redirect->pass ? insert(program_map(t), KEY_IN, t->target)
				 : insert(t->skel->maps.out_map, KEY_OUT, t->target);
}

/* ---- In a map without programs, and before ---------------------------------------------------- */

static bool check_wakes(int from, int to, enum wait_method how)
{
	char buf[MESSAGE_MAX];
	struct read_request request = {
		.fd = to,
		.buf = buf,
		.len = sizeof(buf),
		.how = how,
		.timeout_ms = patience_ms(),
	};
	struct recv_report report;
	struct reader *reader;
	struct message m;
	ssize_t n;

	fill_message(&m, 200);
	if (!CHECK_OK(reader_start(&reader, &request), "start a reader in %s",
		      wait_method_name(how)))
		return false;
	check_send(from, &m, "send");
	n = reader_finish(reader, &report);
	return check_received("data of its own", n, &report, "") &&
	       CHECK_BYTES(buf, n, m.bytes, m.len, "data of its own");
}

static void plain(struct topology *t)
{
	struct bpf_map *map = t->skel->maps.nop_map;

	if (!topology_remove_sockets(t) || !insert(map, 0, t->in.mapped) ||
	    !insert(map, 1, t->in.peer))
		return;
	for (enum wait_method how = 0; how < NR_WAIT_METHODS; how++) {
		/* There recv(2) sleeps with the socket locked, and so keeps its data away. */
		if (how == WAIT_RECV && t->in.kind->family == AF_VSOCK)
			continue;
		if (!check_wakes(t->in.peer, t->in.mapped, how) ||
		    !check_wakes(t->in.mapped, t->in.peer, how))
			return;
	}
	if (remove_key(map, 0) && remove_key(map, 1))
		check_native_both_ways(&t->in);
}

/* An address as long as the caller says it is; AF_UNIX gives one to who asks for none in particular. */
static bool check_sender(int fd, const struct message *m, int from)
{
	struct sockaddr_storage want = {}, got = {};
	socklen_t want_len = sizeof(want), got_len = sizeof(got);
	char buf[MESSAGE_MAX];
	ssize_t n;

	if (!check_poll(fd, POLLIN, "a datagram"))
		return false;
	n = recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&got, &got_len);
	getsockname(from, (struct sockaddr *)&want, &want_len);
	return CHECK_BYTES(buf, n < 0 ? -errno : n, m->bytes, m->len, "recvfrom") &&
	       CHECK(got_len == want_len && !memcmp(&got, &want, want_len),
		     "the sender's address, of %u bytes", got_len);
}

static void plain_sender(struct topology *t)
{
	const struct sockaddr any = { .sa_family = AF_UNIX };
	struct bpf_map *map = t->skel->maps.nop_map;
	struct message m;

	fill_message(&m, 100);
	if (t->in.kind->family == AF_UNIX &&
	    !CHECK_OK(bind(t->in.peer, &any, sizeof(any.sa_family)) ? -errno : 0, "bind"))
		return;
	if (topology_remove_sockets(t) && insert(map, 0, t->in.mapped) &&
	    check_send(t->in.peer, &m, "send") && check_sender(t->in.mapped, &m, t->in.peer))
		check_nothing(t->in.mapped, "nothing more");
}

/*
 * Early data has to pass the program, too, once that is there: of TCP, for the others hand it out as
 * it is. In how many pieces is up to what TCP has merged meanwhile.
 */
static bool check_program_saw(const struct topology *t, size_t len)
{
	return !is_tcp(t->in.kind) || CHECK_EQ(read_counter(&topology_verdicts(t)->bytes[SK_PASS]),
					       len, "bytes that the program has passed");
}

static void before_insertion(struct topology *t)
{
	struct message early;

	fill_message(&early, 600);
	if (remove_target(t) && check_send(t->sender, &early, "early data") &&
	    check_poll(t->target, POLLIN, "early data") && insert_target(t) &&
	    check_arrives(t->target, &early, "early data") && check_program_saw(t, early.len))
		check_nothing(t->target, "nothing more");
}

static void early_and_late(struct topology *t)
{
	struct message early, late;

	fill_message(&early, 600);
	fill_message(&late, 70);
	if (remove_target(t) && check_send(t->sender, &early, "early data") &&
	    check_poll(t->target, POLLIN, "early data") && insert_target(t) &&
	    check_send(t->sender, &late, "late data") &&
	    check_arrives(t->target, &early, "early data, first") &&
	    check_arrives(t->target, &late, "late data") &&
	    check_program_saw(t, early.len + late.len))
		check_nothing(t->target, "nothing more");
}

/* ---- Leaving ---------------------------------------------------------------------------------- */

static void leave(struct topology *t)
{
	static const size_t lengths[] = { 1, 1000, 77 };

	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		if (!check_through(t, lengths[i]))
			return;
	}
	if (!topology_remove_sockets(t) || !check_fionread(target_pair(t), t->target, 0) ||
	    !check_native_both_ways(target_pair(t)) || keeps_boundaries(target_pair(t)->kind))
		return;
	if (CHECK_OK(shutdown(other_end(t, t->target), SHUT_WR) ? -errno : 0, "shutdown"))
		check_end_of_stream(t->target, 0, "its stream");
}

static void leave_unread(struct topology *t)
{
	struct message m;

	fill_message(&m, 900);
	topology_expect(t, SK_PASS, m.len);
	if (check_send(t->sender, &m, "send") && topology_check_verdicts(t) &&
	    check_poll(t->target, POLLIN, "data") && topology_remove_sockets(t) &&
	    check_nothing(t->target, "redirected data does not outlast the map"))
		check_native_both_ways(target_pair(t));
}

#define REINSERTIONS 20

static void reinsert(struct topology *t)
{
	for (unsigned int i = 0; i < REINSERTIONS; i++) {
		if (!check_through(t, 100 + i) || !remove_target(t) ||
		    !check_native(target_pair(t), t->target, 50 + i) ||
		    !check_native(target_pair(t), other_end(t, t->target), 80 + i) ||
		    !insert_target(t))
			return;
	}
}

static ssize_t try_insert(void *arg)
{
	const struct topology *t = arg;

	return topology_insert(t, topology_in_map(t), KEY_IN, t->in.mapped);
}

static bool check_outside(void *arg)
{
	const struct topology *t = arg;

	return check_native_both_ways(&t->in);
}

static bool check_and_remove(void *arg)
{
	struct topology *t = arg;

	return check_through(t, 100) && remove_key(program_map(t), KEY_IN);
}

static void reinsert_without_memory(struct topology *t)
{
	static const struct fallible insertion = { "insert", try_insert, check_outside,
						   check_and_remove };

	if (remove_key(program_map(t), KEY_IN))
		check_without_memory(&insertion, t);
	check_outside(t);
}

static void move(struct topology *t)
{
	struct bpf_map *plain_map = t->skel->maps.nop_map;
	struct bpf_map *map = program_map(t);

	/* Without: in the other map, then in both, in its own one, in both, in the other one. */
	if (remove_target(t) && insert(plain_map, 0, t->target) &&
	    check_unseen(t->sender, t->target, 31) && insert(map, KEY_IN, t->target) &&
	    check_through(t, 32) && remove_key(plain_map, 0) && check_through(t, 33) &&
	    insert(plain_map, 0, t->target) && check_through(t, 34) && remove_key(map, KEY_IN) &&
	    check_unseen(t->sender, t->target, 35) && topology_check_verdicts(t))
		check_unseen(t->target, t->sender, 36);
}

static void two_queues(struct topology *t)
{
	struct message native, redirected;

	fill_message(&native, 400);
	fill_message(&redirected, 300);
	topology_expect(t, SK_PASS, redirected.len);
	if (check_send(t->out.peer, &native, "data of its own") &&
	    check_poll(t->target, POLLIN, "data of its own") &&
	    check_send(t->sender, &redirected, "send") && topology_check_verdicts(t) &&
	    check_arrives(t->target, &redirected, "redirected data, first") &&
	    check_arrives(t->target, &native, "data of its own, second"))
		check_nothing(t->target, "nothing more");
}

/* ---- Senders that wait for space -------------------------------------------------------------- */

/* Larger than the segments of loopback: a window that is smaller opens but slowly. */
#define SMALL_BUFFER (128 << 10)

static bool set_buffer(int fd, int option, int size)
{
	return CHECK_OK(setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size)) ? -errno : 0,
			"set the size of a buffer");
}

/* Far more than the buffers between the two hold. */
static bool check_blocked_send(int from, int to)
{
	uint32_t seed = new_seed();
	size_t len = 2 << 20;
	struct pump *pump;
	bool ok;

	if (!set_buffer(from, SO_SNDBUF, SMALL_BUFFER) ||
	    !set_buffer(to, SO_RCVBUF, SMALL_BUFFER) ||
	    !CHECK_OK(pump_start(&pump, from, len, SMALL_BUFFER, seed), "start a sender"))
		return false;
	ok = check_pattern(to, len, seed, 0, "from a sender that waits for space");
	ok &= CHECK_EQ(pump_finish(pump), len,
		       "bytes that a sender has sent which waits for space");
	return ok && check_nothing(to, "nothing more");
}

static void blocked_send(struct topology *t)
{
	check_blocked_send(t->in.mapped, t->in.peer);
}

static void blocked_send_left(struct topology *t)
{
	if (check_through(t, 10) && remove_target(t))
		check_blocked_send(t->in.mapped, t->in.peer);
}

static void blocked_send_back(struct topology *t)
{
	for (unsigned int i = 0; i < REINSERTIONS; i++) {
		if (!remove_target(t) || !insert_target(t))
			return;
	}
	check_blocked_send(t->in.mapped, t->in.peer);
}

/* ---- Urgent data ------------------------------------------------------------------------------ */

/* With a program there is no urgent byte for recv(MSG_OOB): it is data like that around it. */
static bool check_urgent(struct topology *t)
{
	struct message before, urgent, after;

	fill_message(&before, 100);
	fill_message(&urgent, 3);
	fill_message(&after, 70);
	return check_send(t->sender, &before, "send") &&
	       CHECK_EQ(send_message(t->sender, &urgent, MSG_OOB), urgent.len, "send(MSG_OOB)") &&
	       check_send(t->sender, &after, "send behind it") &&
	       check_arrives(t->target, &before, "data before the urgent one") &&
	       check_arrives(t->target, &urgent, "urgent data") &&
	       check_arrives(t->target, &after, "data behind the urgent one");
}

static void urgent(struct topology *t)
{
	if (check_urgent(t) && check_urgent(t) && check_program_saw(t, 2 * (100 + 3 + 70)) &&
	    topology_check_empty(t) && topology_remove_sockets(t) &&
	    check_fionread(&t->in, t->in.mapped, 0))
		check_native_both_ways(&t->in);
}

#define __auto_skel __attribute__((cleanup(destroy_skel)))

static void destroy_skel(struct lookup_bpf **skel)
{
	lookup_bpf__destroy(*skel);
}

/* The program looks for this socket; in.mapped goes into its map. */
static struct lookup_bpf *start_lookup(struct topology *t, int wanted)
{
	struct lookup_bpf *skel = lookup_bpf__open_and_load();
	struct sockaddr_in addr = { 0 };
	socklen_t len = sizeof(addr);
	int map_fd;

	if (!CHECK(skel, "load the program"))
		return NULL;
	track_bpf_object(skel->obj);
	map_fd = bpf_map__fd(skel->maps.map);
	getsockname(wanted, (struct sockaddr *)&addr, &len);
	skel->bss->tuple.ipv4.daddr = skel->bss->tuple.ipv4.saddr = addr.sin_addr.s_addr;
	skel->bss->tuple.ipv4.dport = addr.sin_port;
	if (CHECK_OK(attach_program(skel->progs.lookup_verdict, map_fd, BPF_SK_SKB_VERDICT),
		     "attach the program") &&
	    CHECK_OK(socket_map_update(map_fd, 0, t->in.mapped, BPF_NOEXIST), "insert"))
		return skel;
	lookup_bpf__destroy(skel);
	return NULL;
}

/* What a packet is to be received by says nothing of the device any more that it came from. */
static void lookup(struct topology *t)
{
	int wanted __auto_close = socket_bound(sock_kind("udp4"));
	struct lookup_bpf *skel __auto_skel = NULL;
	struct message m;

	if (!CHECK_OK(wanted, "bind a UDP socket") || !topology_remove_sockets(t))
		return;
	skel = start_lookup(t, wanted);
	for (unsigned int i = 1; skel && i <= 3; i++) {
		fill_message(&m, 300 * i);
		if (!check_send(t->in.peer, &m, "send") ||
		    !check_arrives(t->in.mapped, &m, "data") ||
		    !check_verdict_counts(&skel->bss->verdicts, i, 0, "lookup"))
			return;
	}
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const struct kinds tcp[] = { { .in = "tcp4" }, { .in = "tcp6" }, {} };

static const struct kinds udp[] = { { .in = "udp4" }, { .in = "udp6" }, {} };

static const struct kinds datagrams[] = {
	{ .in = "udp4" },
	{ .in = "udp6" },
	{ .in = "unix_dgram" },
	{},
};

static const struct kinds streams[] = {
	{ .in = "tcp4" }, { .in = "tcp6" }, { .in = "unix_stream" }, { .in = "vsock_stream" }, {},
};

static const struct kinds any[] = {
	{ .in = "tcp4" },	   { .in = "tcp6" },
	{ .in = "udp4" },	   { .in = "udp6" },
	{ .in = "unix_stream" },   { .in = "unix_dgram" },
	{ .in = "vsock_stream" },  { .in = "vsock_seqpacket" },
	{ "unix_stream", "tcp4" }, { "tcp6", "udp6" },
	{ "udp4", "unix_dgram" },  {},
};

/* No kernel takes SOCK_SEQPACKET of AF_UNIX into a map. */
static bool mappable(const struct sock_kind *kind)
{
	return kind->family != AF_UNIX || kind->type != SOCK_SEQPACKET;
}

static const struct fix stall_fixes[] = {
	{ "ea444185a6bf", "bpf, sockmap: TCP data stall on recv before accept" },
	{},
};

static const struct fix copied_fixes[] = {
	{ "b40cc5adaa80", "bpf, sockmap: Fix incorrect copied_seq calculation" },
	{ "e5c6de5fa025", "bpf, sockmap: Incorrectly handling copied_seq" },
	{},
};

static const struct fix itself_fixes[] = {
	{ "490a83d6386e", "bpf, sockmap: Fix self-redirect copied_seq double-counting" },
	{ "b40cc5adaa80", "bpf, sockmap: Fix incorrect copied_seq calculation" },
	{},
};

static const struct fix order_fixes[] = {
	{ "e7a5f1f1cd00", "bpf/sockmap: Read psock ingress_msg before sk_receive_queue" },
	{},
};

static const struct fix lookup_fixes[] = {
	{ "3c94f241f776", "udp: clear skb->dev before running a sockmap verdict" },
	{},
};

static const struct scenario scenarios[] = {
	{ "plain", SKB_PASS, any, .run = plain },
	{ "plain-sender", SKB_PASS, datagrams, .run = plain_sender },
	{ "before-insertion", SKB_PASS, any, .run = before_insertion, .guards = stall_fixes },
	{ "early-and-late", SKB_PASS, any, .run = early_and_late, .guards = stall_fixes },
	{ "leave", ANY_PASS | ANY_INGRESS, any, .run = leave, .guards = copied_fixes },
	{ "leave-itself", ANY_INGRESS | ANY_EGRESS, .of = mappable, .run = leave,
	  .with = { .two_maps = true, .to_itself = true }, .guards = itself_fixes },
	{ "leave-unread", ANY_INGRESS, any, .run = leave_unread, .guards = copied_fixes },
	{ "reinsert", ANY_PASS | ANY_INGRESS, any, .run = reinsert, .with = { .two_maps = true },
	  .guards = copied_fixes },
	{ "reinsert-no-memory", ANY_PASS | MSG_PASS, any, .run = reinsert_without_memory,
	  .needs = (feature_set)1 << FEAT_FAILSLAB },
	{ "move", ANY_PASS, any, .run = move },
	{ "two-queues", MSG_INGRESS, tcp, .run = two_queues, .guards = order_fixes },
	{ "blocked-send", ANY_PASS, streams, .run = blocked_send },
	{ "blocked-send-left", ANY_PASS, streams, .run = blocked_send_left },
	{ "blocked-send-back", ANY_PASS, streams, .run = blocked_send_back },
	/* A kernel that never gets past an urgent byte does nothing else any more. */
	{ "urgent", SKB_PASS | SKB_INGRESS | SKB_EGRESS, tcp, .run = urgent,
	  .needs = (feature_set)1 << FEAT_MAY_CRASH },
	/* Without the fix, the kernel takes something else for the device, and crashes. */
	{ "lookup", SKB_PASS, udp, .run = lookup, .needs = (feature_set)1 << FEAT_MAY_CRASH,
	  .guards = lookup_fixes },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return scenario_describe(scenarios, ARRAY_SIZE(scenarios), i, sub);
}

static void run(unsigned int i)
{
	scenario_run(scenarios, ARRAY_SIZE(scenarios), i);
}

DEFINE_TEST(sockmap_native, describe, run);
