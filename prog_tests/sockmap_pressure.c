// SPDX-License-Identifier: GPL-2.0-only
/*
 * Full buffers. What is redirected to a socket that has no room waits in its backlog; every byte of
 * it has to come out, once, in order, as soon as there is room, and no more than there is room for.
 *
 *	volume			much more than buffers hold, with a reader that keeps up
 *	unread			a small receive buffer, and nobody reads: the target is charged for no
 *				more than its buffer and one skb; then all of it is read
 *	unsent			the same with the send buffer of a target whose peer does not read
 *	many			many small messages before the first read
 *	charged			what is not read is charged to the target's receive buffer
 *	window			the target's window was closed, and all was read: the sender is told,
 *				and does not have to find out by a probe
 *	half-read		a part of a message is read; what FIONREAD says then; close
 *	behind			what the target's peer sends, and the program passes, comes after what
 *				waits in the backlog
 *	descriptor		a file that AF_UNIX data brings along is closed when the program has
 *				seen the data, and not only when that leaves the backlog
 *	leave-full		a target leaves the map while its backlog is full
 *	close-full		a target is closed while its backlog is full
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/libbpf.h>
#include <linux/in.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>

#include "harness/harness.h"
#include "harness/scenario.h"
#include "network_helpers.h"
#include "progs/verdicts.h"
#include "redirect.skel.h"

/* ---- Memory ---------------------------------------------------------------------------------- */

/* Index: SK_MEMINFO_RMEM_ALLOC, ... */
static uint32_t meminfo(int fd, unsigned int index)
{
	uint32_t info[SK_MEMINFO_VARS] = {};
	socklen_t len = sizeof(info);

	if (!CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) ? -errno : 0,
		      "SO_MEMINFO"))
		return 0;
	return info[index];
}

/* The kernel frees skbs, and gets acknowledgements, after the data was read. */
static bool check_no_memory(int fd, unsigned int index, const char *what)
{
	uint64_t deadline = now_ns() + patience_ms() * NSEC_PER_MSEC;

	while (meminfo(fd, index) && now_ns() < deadline)
		usleep(1000);
	return CHECK_EQ(meminfo(fd, index), 0, "%s", what);
}

/* All that the sockets were charged for is paid back. */
static bool check_memory(const struct topology *t)
{
	const int fds[] = { t->in.mapped, t->in.peer, t->out.mapped, t->out.peer };

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		const char *name = topology_name_of(t, fds[i]);
		char what[64];

		snprintf(what, sizeof(what), "bytes charged to the receive buffer of %s", name);
		if (!check_no_memory(fds[i], SK_MEMINFO_RMEM_ALLOC, what))
			return false;
		snprintf(what, sizeof(what), "bytes in the send queue of %s", name);
		if (!check_no_memory(fds[i], SK_MEMINFO_WMEM_QUEUED, what))
			return false;
	}
	return true;
}

static bool set_buffer(int fd, int option, int size)
{
	return CHECK_OK(setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size)) ? -errno : 0,
			"set the size of a buffer");
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* A stream of bytes, more of them than buffers hold, whose sender may have to wait. */
struct flow {
	struct pump *pump;
	size_t len;
	uint32_t seed;
};

static bool flow_start(const struct topology *t, struct flow *f, size_t len, size_t chunk)
{
	f->len = len;
	f->seed = new_seed();
	return CHECK_OK(pump_start(&f->pump, t->sender, len, chunk, f->seed), "start a sender");
}

static bool flow_sent(struct flow *f)
{
	return CHECK_EQ(pump_finish(f->pump), f->len, "bytes that the sender got rid of");
}

/* Every byte, once, in order, and nothing after them. */
static bool flow_read(const struct topology *t, struct flow *f)
{
	bool ok = check_pattern(t->target, f->len, f->seed, 0, "the stream");

	return flow_sent(f) && ok && check_nothing(t->target, "nothing more");
}

/* Until the program has decided about so many bytes. */
static bool wait_for_bytes(const struct topology *t, uint64_t bytes, unsigned int timeout_ms)
{
	uint64_t deadline = now_ns() + timeout_ms * NSEC_PER_MSEC;

	while (read_counter(&topology_verdicts(t)->bytes[SK_PASS]) < bytes && now_ns() < deadline)
		usleep(500);
	return read_counter(&topology_verdicts(t)->bytes[SK_PASS]) == bytes;
}

/*
 * A sender that is held back never gets there, so it is not waited for long: this gives a kernel
 * that does too much the time to do it.
 */
static void let_it_run(const struct topology *t, uint64_t bytes)
{
	wait_for_bytes(t, bytes, 100);
}

/* ---- Scenarios ------------------------------------------------------------------------------- */

#define LARGE	     (1 << 20)
#define CHUNK	     (16 << 10)
#define LARGE_CHUNK  (256 << 10)
#define SMALL_BUFFER (16 << 10)
#define MEDIUM	     (96 << 10) /* fits into the buffers of a sender */

/* Segments of loopback are as large, and a window that is smaller opens but slowly. */
#define SMALL_WINDOW (128 << 10)

static void volume(struct topology *t)
{
	struct flow f;

	if (!flow_start(t, &f, LARGE, CHUNK) || !flow_read(t, &f) || !check_memory(t))
		return;
	if (t->redirect->hook == HOOK_MSG_VERDICT)
		CHECK_EQ(read_counter(&topology_verdicts(t)->bytes[SK_PASS]), LARGE,
			 "bytes that the program has let through");
}

/* An skb is let in when there is any room: the buffer can be exceeded by one, of 64 KiB and more. */
#define MOST_OF_AN_SKB (192 << 10)

static bool check_charge(const struct topology *t, uint32_t *most)
{
	uint32_t charged = meminfo(t->target, SK_MEMINFO_RMEM_ALLOC);
	uint32_t limit = meminfo(t->target, SK_MEMINFO_RCVBUF) + MOST_OF_AN_SKB;

	*most = charged > *most ? charged : *most;
	return CHECK_LE(charged, limit, "bytes charged to the receive buffer");
}

static bool is_full(const struct topology *t)
{
	return meminfo(t->target, SK_MEMINFO_RMEM_ALLOC) > meminfo(t->target, SK_MEMINFO_RCVBUF);
}

/* At least so many bytes can be read, as far as the buffer shows. */
static bool has_bytes(int fd, size_t len)
{
	static char buf[64 << 10];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT);

	return n >= (ssize_t)(len < sizeof(buf) ? len : sizeof(buf));
}

/*
 * Wait until the kernel's worker has moved what it can: the target is full, or has all the `left`
 * bytes that there are. To read at the same time is left to the other suites: it can upset what the
 * kernel keeps in sk_forward_alloc, which the worker changes without locking the socket.
 */
static bool wait_for_worker(const struct topology *t, size_t left)
{
	uint64_t deadline = now_ns() + patience_ms() * NSEC_PER_MSEC;
	bool ok;

	while (!(ok = is_full(t) || has_bytes(t->target, left)) && now_ns() < deadline)
		usleep(500);
	return CHECK(ok, "stuck: %zu bytes are due, and the target has room: moved to it", left);
}

static bool read_in_steps(const struct topology *t, struct flow *f)
{
	/* Steps that are not those of the sender. */
	static const size_t step = 10007;
	uint32_t most = 0;

	for (size_t from = 0; from < f->len; from += step) {
		size_t left = f->len - from;

		if (!wait_for_worker(t, left) || !check_charge(t, &most) ||
		    !check_pattern(t->target, left < step ? left : step, f->seed, from,
				   "the stream"))
			return false;
	}
	return CHECK(most > meminfo(t->target, SK_MEMINFO_RCVBUF),
		     "the target was full: it was charged for %u bytes", most);
}

static void unread(struct topology *t)
{
	struct flow f;
	bool ok;

	if (!set_buffer(t->target, SO_RCVBUF, SMALL_BUFFER) || !flow_start(t, &f, LARGE / 2, CHUNK))
		return;
	let_it_run(t, f.len);
	ok = read_in_steps(t, &f);
	if (flow_sent(&f) && ok && check_nothing(t->target, "nothing more"))
		check_memory(t);
}

static void unsent(struct topology *t)
{
	struct flow f;

	if (!set_buffer(t->out.mapped, SO_SNDBUF, SMALL_BUFFER) ||
	    !set_buffer(t->out.peer, SO_RCVBUF, SMALL_WINDOW) ||
	    !flow_start(t, &f, LARGE, LARGE_CHUNK))
		return;
	let_it_run(t, LARGE);
	if (flow_read(t, &f))
		check_memory(t);
}

#define MANY	   100
#define MANY_BYTES 100

static void many(struct topology *t)
{
	uint32_t seed = new_seed();
	char buf[MANY_BYTES];

	for (unsigned int i = 0; i < MANY; i++) {
		fill_pattern(buf, sizeof(buf), seed, i * sizeof(buf));
		if (!CHECK_EQ(send(t->sender, buf, sizeof(buf), 0), sizeof(buf), "send %u", i))
			return;
	}
	/* Datagrams that arrive the normal way are read one by one. */
	if (t->redirect->ingress && !wait_for_worker(t, MANY * sizeof(buf)))
		return;
	if (check_pattern(t->target, MANY * sizeof(buf), seed, 0, "messages") &&
	    check_nothing(t->target, "nothing more"))
		check_memory(t);
}

static void charged(struct topology *t)
{
	struct message m;
	uint32_t bytes;

	fill_message(&m, 3000);
	if (!check_send(t->sender, &m, "send") || !check_poll(t->target, POLLIN, "data"))
		return;
	bytes = meminfo(t->target, SK_MEMINFO_RMEM_ALLOC);
	if (CHECK(bytes >= m.len, "%u bytes charged to the receive buffer, which has %zu", bytes,
		  m.len) &&
	    check_arrives(t->target, &m, "data") && check_nothing(t->target, "nothing more"))
		check_memory(t);
}

/* Of this network namespace, under nstat(8)'s name without its Ext; 0 where the kernel does not count it. */
static uint64_t tcp_counter(const char *name)
{
	FILE *file = fopen("/proc/self/net/netstat", "r");
	char names[8192], values[8192];
	uint64_t count = 0;

	while (file && fgets(names, sizeof(names), file) && fgets(values, sizeof(values), file)) {
		char *next_name, *next_value;
		char *found = strtok_r(names, " \n", &next_name);
		char *value = strtok_r(values, " \n", &next_value);

		while (found && value && strcmp(found, name)) {
			found = strtok_r(NULL, " \n", &next_name);
			value = strtok_r(NULL, " \n", &next_value);
		}
		if (found && value)
			count = strtoull(value, NULL, 10);
	}
	if (file)
		fclose(file);
	return count;
}

static bool wait_for_counter(const char *name, uint64_t more_than)
{
	uint64_t deadline = now_ns() + patience_ms() * NSEC_PER_MSEC;

	while (tcp_counter(name) <= more_than && now_ns() < deadline)
		usleep(1000);
	return CHECK(tcp_counter(name) > more_than, "%s goes up", name);
}

/* What is there: the sender goes on meanwhile. */
static bool read_what_there_is(const struct topology *t, const struct flow *f, size_t *from)
{
	static char buf[CHUNK], expected[CHUNK];
	ssize_t n;

	while ((n = read_now(t->target, buf, sizeof(buf))) > 0) {
		fill_pattern(expected, n, f->seed, *from);
		if (!CHECK_BYTES(buf, n, expected, n, "the stream from byte %zu", *from))
			return false;
		*from += n;
	}
	return CHECK_ERR(n, EAGAIN, "the stream goes on") && CHECK(*from, "data");
}

static uint32_t segments_sent(int fd)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	CHECK_OK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) ? -errno : 0, "TCP_INFO");
	return info.tcpi_segs_out;
}

/* What TCP begins with: doubled, as the kernel does, and from then on not made larger by it. */
#define USUAL_BUFFER (64 << 10)

/*
 * recv(2) itself has to send the update, so that nobody needs to wait for anything here. The buffer is
 * not made smaller: one that is smaller than the window drops what comes, and the window stays open.
 */
static void window(struct topology *t)
{
	uint64_t closed = tcp_counter("TCPToZeroWindowAdv");
	uint32_t segments;
	size_t from = 0;
	struct flow f;
	bool ok;

	if (!set_buffer(t->target, SO_RCVBUF, USUAL_BUFFER) || !flow_start(t, &f, LARGE, CHUNK))
		return;
	ok = wait_for_counter("TCPToZeroWindowAdv", closed);
	segments = segments_sent(t->target);
	if (ok && read_what_there_is(t, &f, &from))
		CHECK(segments_sent(t->target) > segments,
		      "a window update is sent when %zu bytes were read", from);
	/* The rest is of no interest here. */
	CHECK_OK(reset_fd(&t->in.mapped), "reset");
	pump_finish(f.pump);
}

static bool check_source_lives(struct topology *t)
{
	if (!CHECK_OK(socket_map_delete(topology_in_map(t), KEY_IN), "delete in.mapped"))
		return false;
	check_traffic(&t->in);
	return true;
}

static void half_read(struct topology *t)
{
	struct message m;
	char buf[300];

	fill_message(&m, 1000);
	if (!check_send(t->sender, &m, "send") || !check_poll(t->target, POLLIN, "data") ||
	    !CHECK_BYTES(buf, read_now(t->target, buf, sizeof(buf)), m.bytes, sizeof(buf),
			 "a part of it"))
		return;
	if (topology_target_can(t, FEAT_FIONREAD) &&
	    !CHECK_EQ(bytes_readable(t->target), m.len - sizeof(buf), "FIONREAD of the rest"))
		return;
	if (t->redirect->pass) {
		close_fd(&t->in.mapped);
		return;
	}
	close_fd(&t->out.mapped);
	check_source_lives(t);
}

/* The target has no room, and its backlog is full of messages. */
static bool fill_target(struct topology *t)
{
	uint64_t sent = 0;
	struct message m;

	fill_message(&m, MESSAGE_MAX);
	if (!set_buffer(t->redirect->ingress ? t->out.mapped : t->out.peer, SO_RCVBUF, 1) ||
	    !set_buffer(t->out.mapped, SO_SNDBUF, 1))
		return false;
	for (unsigned int i = 0; i < 64; i++) {
		ssize_t n = send_message(t->sender, &m, MSG_DONTWAIT);

		/* AF_UNIX holds the sender back. */
		if (n == -EAGAIN)
			break;
		if (!CHECK(n > 0, "send %u: %s", i, strerror((int)-n)))
			return false;
		sent += n;
	}
	return CHECK(wait_for_bytes(t, sent, patience_ms()), "the program has seen all of it");
}

/*
 * To redirect to the socket that has the data is to let it pass. AF_UNIX only: it takes what its peer
 * sends, however full it is.
 */
static void behind(struct topology *t)
{
	struct message m;
	struct flow f;

	fill_message(&m, 1000);
	if (!set_buffer(t->target, SO_RCVBUF, SMALL_BUFFER) || !flow_start(t, &f, MEDIUM, CHUNK) ||
	    !flow_sent(&f) || !CHECK(wait_for_bytes(t, f.len, patience_ms()), "verdicts") ||
	    !wait_for_worker(t, f.len) ||
	    !check_send(t->out.peer, &m, "send from the target's peer") ||
	    !CHECK(wait_for_bytes(t, f.len + m.len, patience_ms()), "verdict about it"))
		return;
	if (check_pattern(t->target, f.len, f.seed, 0, "what is redirected") &&
	    check_arrives(t->target, &m, "what is passed") &&
	    check_nothing(t->target, "nothing more"))
		check_memory(t);
}

static bool send_with_file(const struct topology *t, struct message *m, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { m->bytes, m->len };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	ssize_t n;

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	n = sendmsg(t->sender, &msg, 0);
	return CHECK_EQ(n < 0 ? -errno : n, m->len, "sendmsg with a file");
}

/* The end of a pipe, which nobody has any more, while the data waits for room. */
static void descriptor(struct topology *t)
{
	int read_end __auto_close = -1, write_end __auto_close = -1;
	struct message first, second;
	int ends[2];

	fill_message(&first, MESSAGE_MAX);
	fill_message(&second, 100);
	if (!CHECK_OK(pipe(ends) ? -errno : 0, "pipe"))
		return;
	read_end = ends[0];
	write_end = ends[1];
	if (!set_buffer(t->target, SO_RCVBUF, 1) || !check_send(t->sender, &first, "send") ||
	    !wait_for_worker(t, first.len) || !send_with_file(t, &second, write_end))
		return;
	close_fd(&write_end);
	if (!check_poll(read_end, POLLHUP, "the pipe, whose other end was sent"))
		return;
	check_stream(t->target, first.bytes, first.len, "what filled the target");
	check_stream(t->target, second.bytes, second.len, "what has waited");
	check_nothing(t->target, "nothing more");
}

static void leave_full(struct topology *t)
{
	/* It takes its time to give back what the data was charged to. */
	if (fill_target(t) &&
	    CHECK_OK(socket_map_delete(bpf_map__fd(t->skel->maps.out_map), KEY_OUT), "delete") &&
	    check_nothing(t->target, "redirected data does not outlast the map") &&
	    set_buffer(t->target, SO_RCVBUF, LARGE_CHUNK))
		check_traffic(&t->out);
}

static void close_full(struct topology *t)
{
	if (!fill_target(t))
		return;
	close_pair(&t->out);
	check_source_lives(t);
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const struct kinds streams[] = {
	{ .in = "tcp4" },
	{ .in = "tcp6" },
	{ .in = "unix_stream" },
	{ .in = "vsock_stream" },
	{ "tcp4", "unix_stream" },
	{ "unix_stream", "tcp6" },
	{},
};

static const struct kinds tcp[] = { { .in = "tcp4" }, { .in = "tcp6" }, {} };

static const struct kinds unix_targets[] = {
	{ .in = "unix_stream" },
	{ "tcp4", "unix_stream" },
	{ "vsock_stream", "unix_stream" },
	{},
};

/* With an AF_UNIX source, the worker goes on while the target is read. */
static const struct kinds held[] = {
	{ .in = "tcp4" }, { .in = "tcp6" }, { .in = "unix_stream" }, { "tcp4", "unix_stream" }, {},
};

static const struct kinds any[] = {
	{ .in = "tcp4" },	  { .in = "tcp6" },
	{ .in = "udp4" },	  { .in = "udp6" },
	{ .in = "unix_stream" },  { .in = "unix_dgram" },
	{ .in = "vsock_stream" }, { "unix_stream", "tcp4" },
	{ "tcp6", "udp6" },	  {},
};

static const struct fix credit_fixes[] = {
	{ "3543152f2d33", "vsock: Update rx_bytes on read_skb()" },
	{},
};

static const struct kinds to_unix[] = { { .in = "unix_stream" }, { "tcp4", "unix_stream" }, {} };

static const struct kinds unix_sockets[] = {
	{ .in = "unix_stream" },
	{ .in = "unix_dgram" },
	{ "unix_stream", "tcp4" },
	{},
};

static const struct fix scm_fixes[] = {
	{ "965dc93481d1", "af_unix: Drop all SCM attributes for SOCKMAP." },
	{},
};

static const struct fix unread_fixes[] = {
	{ "36cd0e696a83", "bpf, sockmap: Ensure SO_RCVBUF memory is observed on ingress redirect" },
	{ "29173d07f798", "bpf, sockmap: Convert schedule_work into delayed_work" },
	{},
};

static const struct fix unsent_fixes[] = {
	{ "3b4f14b79428", "bpf, sockmap: fix duplicated data transmission" },
	{ "29173d07f798", "bpf, sockmap: Convert schedule_work into delayed_work" },
	{},
};

static const struct fix charge_fixes[] = {
	{ "d888b7af7c14", "tcp_bpf: Add sk_rmem_alloc related logic for tcp_bpf ingress "
			  "redirection" },
	{ "54f89b3178d5", "tcp_bpf: Charge receive socket buffer in bpf_tcp_ingress()" },
	{},
};

static const struct fix window_fixes[] = {
	{ "e5c6de5fa025", "bpf, sockmap: Incorrectly handling copied_seq" },
	{},
};

static const struct fix size_fixes[] = {
	{ "3f4c3127d332", "bpf: sockmap, fix skmsg recvmsg handler to track size correctly" },
	{},
};

static const struct scenario scenarios[] = {
	{ "volume", SKB_PASS | MSG_PASS | MSG_INGRESS | ANY_EGRESS, streams, .run = volume,
	  .guards = credit_fixes },
	{ "volume", SKB_INGRESS, unix_targets, .run = volume },
	{ "unread", SKB_INGRESS | PARSER_INGRESS, held, .run = unread, .guards = unread_fixes },
	{ "unsent", ANY_EGRESS, streams, .run = unsent, .guards = unsent_fixes },
	{ "many", SKB_PASS | ANY_INGRESS | ANY_EGRESS, any, .run = many },
	{ "charged", ANY_PASS | ANY_INGRESS, any, .run = charged, .guards = charge_fixes },
	{ "window", PARSER_PASS | MSG_PASS, tcp, .run = window, .guards = window_fixes },
	{ "half-read", ANY_PASS | ANY_INGRESS, any, .run = half_read, .guards = size_fixes },
	{ "behind", SKB_INGRESS, to_unix, .run = behind },
	{ "descriptor", SKB_INGRESS, unix_sockets, .run = descriptor, .guards = scm_fixes },
	{ "leave-full", SKB_INGRESS | PARSER_INGRESS, any, .run = leave_full },
	{ "close-full", SKB_INGRESS | SKB_EGRESS | PARSER_INGRESS | PARSER_EGRESS, any,
	  .run = close_full },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return scenario_describe(scenarios, ARRAY_SIZE(scenarios), i, sub);
}

static void run(unsigned int i)
{
	scenario_run(scenarios, ARRAY_SIZE(scenarios), i);
}

DEFINE_TEST(sockmap_pressure, describe, run);
