// SPDX-License-Identifier: GPL-2.0-only
/*
 * The contract at size, and for each way to read: whatever passes a program arrives, every byte,
 * once, in order, nothing after it, and nobody else gets any.
 *
 *	sizes		payloads of 1 byte, a segment, a page, 64 KiB, one after the other
 *	larger		a send(2) of more than the buffers of both sockets hold
 *	thousand	1000 messages, of 1 to 307 bytes, several of them before each read
 *	two-senders	two threads that send to one target at the same time
 *	native		redirected data and the target's own, in turn and at the same time
 *	parsed		a stream in messages that the parser cuts regardless of the sends
 *	gather		sendmsg(2) of several pieces, and of none
 *	scatter		recvmsg(2) and readv(2) into several pieces
 *	recvmmsg	several messages in one call
 *	waitall		MSG_WAITALL of several messages that are there
 *	peek		MSG_PEEK, whole, in part, again, and of what a read has left
 *	timeout		SO_RCVTIMEO ends a read of nothing, in time, and no other
 *	fault		a read into memory that is not there, wholly and in part, loses nothing
 *	fionread	what FIONREAD says before, between and after
 *	truncate	a datagram and a buffer that is too small for it
 *	empty		a datagram without bytes, and what follows it
 *	empty-dropped	the same where the program drops what has no bytes, as it better does
 *	sender		where recvfrom(2) says that a datagram is from
 *
 * The rows go through each kind of socket that fits, with itself: sockmap_redir has the pairs of
 * kinds. IPv6 takes part where addresses and sizes do, else its rows would repeat those of IPv4.
 * Where a parser passes data, and more of it comes before that is read, TCP forgets how much it has
 * and stalls (docs/kernels.md): no row sends on after it has left two such messages unread.
 * A read gets what is there: each test waits until the kernel's worker has moved all of it, since a
 * read at the same time is for sockmap_wakeup, and volumes are for sockmap_pressure.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "harness/harness.h"
#include "harness/scenario.h"
#include "network_helpers.h"
#include "progs/verdicts.h"
#include "redirect.skel.h"

/* ---- Steps ----------------------------------------------------------------------------------- */

#define LARGEST (64 << 10)

static bool is_inet(const struct sock_kind *kind)
{
	return kind->family == AF_INET || kind->family == AF_INET6;
}

static ssize_t peek(int fd, void *buf, size_t len)
{
	ssize_t n = recv(fd, buf, len, MSG_PEEK | MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

/* Wait until the target has so many bytes: what is redirected comes from a work queue. */
static bool check_queued(const struct topology *t, size_t len)
{
	static char buf[LARGEST];
	uint64_t deadline = now_ns() + patience_ms() * NSEC_PER_MSEC;
	ssize_t n;

	while ((n = peek(t->target, buf, len)) != (ssize_t)len && (n >= 0 || n == -EAGAIN) &&
	       now_ns() < deadline)
		usleep(100);
	return CHECK_EQ(n, len, "bytes queued at the target");
}

/* All of it is there; or, where a look sees but one message, the first one is. */
static bool check_ready(const struct topology *t, size_t len)
{
	return topology_merges(t) ? check_queued(t, len) : check_poll(t->target, POLLIN, "data");
}

/* What was sent: none of it is to pass by the program. */
static uint64_t bytes_due;

static bool check_send_bytes(const struct topology *t, const void *bytes, size_t len)
{
	ssize_t n = send(t->sender, bytes, len, 0);

	bytes_due += len;
	return CHECK_EQ(n < 0 ? -errno : n, len, "send");
}

/* What is there begins with these bytes, and a read of that length gets them. */
static bool check_read_bytes(const struct topology *t, const void *want, size_t len)
{
	static char buf[LARGEST];

	return CHECK_BYTES(buf, read_now(t->target, buf, len), want, len, "received");
}

/* One read, into a buffer with room for more, gets just this. */
static bool check_read_message(const struct topology *t, const void *want, size_t len)
{
	static char buf[LARGEST + 1];

	return check_poll(t->target, POLLIN, "a message") &&
	       CHECK_BYTES(buf, read_now(t->target, buf, sizeof(buf)), want, len, "received");
}

static bool check_gets(const struct topology *t, const void *want, size_t len)
{
	return topology_merges(t) ? check_queued(t, len) && check_read_bytes(t, want, len)
				  : check_read_message(t, want, len);
}

static bool check_peek(const struct topology *t, size_t room, const void *want, size_t len)
{
	char buf[MESSAGE_MAX];

	return CHECK_BYTES(buf, peek(t->target, buf, room), want, len, "MSG_PEEK of %zu bytes",
			   room);
}

static void check_all_read(const struct topology *t)
{
	CHECK_EQ(read_counter(&topology_verdicts(t)->count[SK_DROP]), 0, "dropped");
	topology_check_empty(t);
}

static void check_end(const struct topology *t)
{
	const struct verdicts *verdicts = topology_verdicts(t);

	/* With a parser, the program's skb can hold more than its message. */
	if (t->redirect->hook != HOOK_STREAM_VERDICT)
		CHECK_EQ(read_counter(&verdicts->bytes[SK_PASS]), bytes_due,
			 "bytes that the program has let through");
	check_all_read(t);
}

/* ---- How much -------------------------------------------------------------------------------- */

/*
 * IP has no larger datagrams than 65507 bytes. To egress the kernel sends each fragment of an skb
 * as a datagram of its own, so there one has to fit into the linear part of it.
 */
static size_t fitting(const struct topology *t, size_t len)
{
	size_t max = !keeps_boundaries(t->redirect->in) ? LARGEST
		     : t->redirect->ingress		? 65000
							: 15000;

	return len < max ? len : max;
}

static void sizes(struct topology *t)
{
	static const size_t lengths[] = { 1, 1460, 4096, LARGEST };
	static char payload[LARGEST];

	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		size_t len = fitting(t, lengths[i]);

		fill_pattern(payload, len, new_seed(), 0);
		if (!check_send_bytes(t, payload, len) || !check_gets(t, payload, len))
			return;
	}
	check_end(t);
}

/* Segments of loopback are as large, and a window that is smaller opens but slowly. */
#define BUFFER	  (128 << 10)
#define OVERSIZED (8 * BUFFER) /* as set, a buffer is twice as large */

static bool set_buffer(int fd, int option)
{
	int size = BUFFER;

	return CHECK_OK(setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size)) ? -errno : 0,
			"set the size of a buffer");
}

static void larger(struct topology *t)
{
	uint32_t seed = new_seed();
	struct pump *pump;
	bool ok;

	if (!set_buffer(t->sender, SO_SNDBUF) || !set_buffer(t->target, SO_RCVBUF) ||
	    !CHECK_OK(pump_start(&pump, t->sender, OVERSIZED, OVERSIZED, seed), "start a sender"))
		return;
	bytes_due += OVERSIZED;
	ok = check_pattern(t->target, OVERSIZED, seed, 0, "the stream");
	if (!CHECK_EQ(pump_finish(pump), OVERSIZED, "bytes sent") || !ok)
		return;
	/* Data that comes while somebody reads may be read before the program is asked. */
	if (t->redirect->hook == HOOK_SKB_VERDICT && t->redirect->pass)
		check_all_read(t);
	else
		check_end(t);
}

#define THOUSAND 1000

/* More datagrams than this and AF_UNIX holds a sender back (net.unix.max_dgram_qlen). */
#define FEW  10
#define MANY 50

static size_t length_of(unsigned int i)
{
	return 1 + i * 37 % 307;
}

/* Messages from number `first` on: a pattern in pieces. */
static bool send_burst(const struct topology *t, unsigned int first, unsigned int n,
		       const char *pattern)
{
	for (unsigned int i = first; i < first + n; i++) {
		if (!check_send_bytes(t, pattern, length_of(i)))
			return false;
		pattern += length_of(i);
	}
	return true;
}

static bool read_burst(const struct topology *t, unsigned int first, unsigned int n,
		       const char *pattern, size_t len)
{
	if (topology_merges(t))
		return check_gets(t, pattern, len);
	for (unsigned int i = first; i < first + n; i++) {
		if (!check_read_message(t, pattern, length_of(i)))
			return false;
		pattern += length_of(i);
	}
	return true;
}

static void thousand(struct topology *t)
{
	unsigned int burst = topology_merges(t) ? MANY : FEW;
	uint32_t seed = new_seed();
	uint64_t offset = 0;

	for (unsigned int first = 0; first < THOUSAND; first += burst) {
		char pattern[MANY * 307];
		size_t len = 0;

		for (unsigned int i = first; i < first + burst; i++)
			len += length_of(i);
		fill_pattern(pattern, len, seed, offset);
		if (!send_burst(t, first, burst, pattern) ||
		    !read_burst(t, first, burst, pattern, len))
			return;
		offset += len;
	}
	check_end(t);
}

/* ---- Two senders ----------------------------------------------------------------------------- */

#define PIECE  64
#define PIECES 40 /* of both senders: as many skbs as half a default buffer takes */
#define SHARE  (PIECE * PIECES)

/* Bytes that tell who sent them: the streams can be taken apart, wherever one is cut. */
#define TAG 0x80

struct sender {
	int fd;
	unsigned char bytes[SHARE];
	ssize_t sent;
	pthread_t thread;
};

static void *sender_thread(void *arg)
{
	struct sender *s = arg;

	while (s->sent >= 0 && s->sent < SHARE) {
		ssize_t n = send(s->fd, s->bytes + s->sent, PIECE, 0);

		s->sent = n < 0 ? -errno : s->sent + n;
	}
	return NULL;
}

static void sender_init(struct sender *s, int fd, unsigned char tag)
{
	s->fd = fd;
	s->sent = 0;
	fill_pattern(s->bytes, SHARE, new_seed(), 0);
	for (unsigned int i = 0; i < SHARE; i++)
		s->bytes[i] = (s->bytes[i] & ~TAG) | tag;
}

/* Take the bytes apart: each is the next one of its sender. Returns how many bytes are. */
static size_t check_shares(struct sender senders[2], size_t taken[2], const unsigned char *buf,
			   size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned int who = buf[i] & TAG ? 1 : 0;

		if (taken[who] == SHARE || buf[i] != senders[who].bytes[taken[who]])
			return i;
		taken[who]++;
	}
	return n;
}

static bool read_shares(const struct topology *t, struct sender senders[2])
{
	unsigned char buf[2 * SHARE];
	size_t taken[2] = {}, got = 0;

	while (got < sizeof(buf)) {
		ssize_t n;

		if (!check_poll(t->target, POLLIN, "data"))
			return false;
		n = read_now(t->target, buf, sizeof(buf));
		if (!CHECK(n > 0, "received after %zu bytes: %zd", got, n) ||
		    !CHECK_EQ(check_shares(senders, taken, buf, n), n,
			      "bytes in the order of their senders, after %zu", got) ||
		    !CHECK(topology_merges(t) || n == PIECE, "received a message of %zd bytes", n))
			return false;
		got += n;
	}
	return true;
}

static bool run_senders(struct sender senders[2])
{
	for (unsigned int i = 0; i < 2; i++) {
		if (!CHECK_OK(-pthread_create(&senders[i].thread, NULL, sender_thread, &senders[i]),
			      "start a sender"))
			return false;
	}
	for (unsigned int i = 0; i < 2; i++) {
		pthread_join(senders[i].thread, NULL);
		if (!CHECK_EQ(senders[i].sent, SHARE, "sent by sender %u", i))
			return false;
		bytes_due += SHARE;
	}
	return true;
}

/* The other one takes the key of in_map that nobody uses. */
static void two_senders(struct topology *t)
{
	struct sock_pair second __auto_pair = SOCK_PAIR_NONE;
	static struct sender senders[2];

	if (!CHECK_OK(make_pair(t->redirect->in, &second), "make another pair") ||
	    !CHECK_OK(socket_map_update(topology_in_map(t), KEY_OUT, second.mapped, BPF_NOEXIST),
		      "insert its mapped end"))
		return;
	sender_init(&senders[0], t->sender, 0);
	sender_init(&senders[1],
		    t->redirect->hook == HOOK_MSG_VERDICT ? second.mapped : second.peer, TAG);
	if (run_senders(senders) && (!topology_merges(t) || check_queued(t, 2 * SHARE)) &&
	    read_shares(t, senders) && check_nothing(second.mapped, "nothing at the other pair") &&
	    check_nothing(second.peer, "nothing at its peer"))
		check_end(t);
}

/* ---- Data of two origins --------------------------------------------------------------------- */

static bool take_turns(const struct topology *t, int own)
{
	struct message m;

	for (unsigned int i = 0; i < 4; i++) {
		fill_message(&m, 100 + i);
		if (!check_send_bytes(t, m.bytes, m.len) || !check_gets(t, m.bytes, m.len))
			return false;
		fill_message(&m, 200 + i);
		if (!check_send(own, &m, "send natively") ||
		    !check_arrives(t->target, &m, "native data"))
			return false;
	}
	return true;
}

/* What is redirected is there first, and so is read first, whichever queue the other comes to. */
static void native(struct topology *t)
{
	int own = t->redirect->ingress ? t->out.peer : t->out.mapped;
	struct message redirected, m;

	fill_message(&redirected, 300);
	fill_message(&m, 400);
	if (take_turns(t, own) && check_send_bytes(t, redirected.bytes, redirected.len) &&
	    check_ready(t, redirected.len) && check_send(own, &m, "send natively") &&
	    check_gets(t, redirected.bytes, redirected.len) &&
	    check_arrives(t->target, &m, "native data"))
		check_end(t);
}

/* ---- Parsed messages ------------------------------------------------------------------------- */

#define PARSE_LEN 1000
#define PARSED	  20

/* The last message is complete only with the last send. */
static void parsed(struct topology *t)
{
	static char stream[PARSED * PARSE_LEN];
	static const size_t step = 777;
	size_t late = PARSE_LEN / 2, early = sizeof(stream) - PARSE_LEN, sent = 0;

	fill_pattern(stream, sizeof(stream), new_seed(), 0);
	for (; sent < sizeof(stream) - late; sent += step) {
		size_t left = sizeof(stream) - late - sent;

		if (!check_send_bytes(t, stream + sent, left < step ? left : step))
			return;
	}
	if (check_gets(t, stream, early) &&
	    check_nothing(t->target, "nothing of a message that is not complete") &&
	    check_send_bytes(t, stream + sizeof(stream) - late, late) &&
	    check_gets(t, stream + early, PARSE_LEN))
		check_end(t);
}

/* ---- Vectors --------------------------------------------------------------------------------- */

static const size_t pieces[] = { 1, 1000, 0, 70, 3 };

#define PIECES_LEN (1 + 1000 + 0 + 70 + 3)

static void cut(char *buf, struct iovec iov[ARRAY_SIZE(pieces)])
{
	for (unsigned int i = 0; i < ARRAY_SIZE(pieces); i++) {
		iov[i].iov_base = buf;
		iov[i].iov_len = pieces[i];
		buf += pieces[i];
	}
}

static void gather(struct topology *t)
{
	struct iovec iov[ARRAY_SIZE(pieces)];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov) };
	struct message m;
	ssize_t n;

	fill_message(&m, PIECES_LEN);
	cut(m.bytes, iov);
	n = sendmsg(t->sender, &msg, 0);
	bytes_due += m.len;
	if (!CHECK_EQ(n < 0 ? -errno : n, m.len, "sendmsg") || !check_gets(t, m.bytes, m.len))
		return;
	/* To send nothing is to send an empty datagram, where there are such. */
	msg.msg_iovlen = 0;
	if (keeps_boundaries(t->redirect->in) ||
	    CHECK_EQ(sendmsg(t->sender, &msg, 0), 0, "sendmsg of nothing"))
		check_end(t);
}

static bool check_scatters(struct topology *t, bool by_readv)
{
	struct iovec iov[ARRAY_SIZE(pieces)];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov) };
	char buf[PIECES_LEN];
	struct message m;
	ssize_t n;

	fill_message(&m, PIECES_LEN);
	cut(buf, iov);
	if (!check_send_bytes(t, m.bytes, m.len) || !check_ready(t, m.len))
		return false;
	n = by_readv ? readv(t->target, iov, ARRAY_SIZE(iov))
		     : recvmsg(t->target, &msg, MSG_DONTWAIT);
	return CHECK_BYTES(buf, n < 0 ? -errno : n, m.bytes, m.len, by_readv ? "readv" : "recvmsg");
}

static void scatter(struct topology *t)
{
	if (check_scatters(t, false) && check_scatters(t, true))
		check_end(t);
}

#define BATCH 4

struct batch {
	int fd;
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	char bufs[BATCH][MESSAGE_MAX];
};

static ssize_t receive_batch(void *arg)
{
	struct batch *b = arg;
	int n = recvmmsg(b->fd, b->msgs, BATCH, 0, NULL);

	return n < 0 ? -errno : n;
}

static void receive_many(struct topology *t)
{
	static const size_t lengths[BATCH] = { 20, 1, 300, 64 };
	static struct message sent[BATCH];
	static struct batch b;
	size_t len = 0;

	b.fd = t->target;
	for (unsigned int i = 0; i < BATCH; i++) {
		fill_message(&sent[i], lengths[i]);
		b.iov[i].iov_base = b.bufs[i];
		b.iov[i].iov_len = topology_merges(t) ? lengths[i] : MESSAGE_MAX;
		b.msgs[i].msg_hdr.msg_iov = &b.iov[i];
		b.msgs[i].msg_hdr.msg_iovlen = 1;
		len += lengths[i];
		if (!check_send_bytes(t, sent[i].bytes, sent[i].len))
			return;
	}
	if (!check_ready(t, len) ||
	    !CHECK_EQ(call_timeout(receive_batch, &b), BATCH, "messages of recvmmsg"))
		return;
	for (unsigned int i = 0; i < BATCH; i++) {
		if (!CHECK_BYTES(b.bufs[i], b.msgs[i].msg_len, sent[i].bytes, sent[i].len,
				 "message %u of recvmmsg", i))
			return;
	}
	check_end(t);
}

/* ---- Flags of recv(2) ------------------------------------------------------------------------ */

#define FIRST  1000
#define SECOND 200
#define BOTH   (FIRST + SECOND)

/* Two messages, which are the halves of one pattern. */
static bool send_both(const struct topology *t, struct message *both)
{
	fill_message(both, BOTH);
	return check_send_bytes(t, both->bytes, FIRST) &&
	       check_send_bytes(t, both->bytes + FIRST, SECOND) && check_ready(t, BOTH);
}

struct waitall {
	int fd;
	char buf[BOTH];
};

static ssize_t receive_all(void *arg)
{
	struct waitall *w = arg;
	ssize_t n = recv(w->fd, w->buf, sizeof(w->buf), MSG_WAITALL);

	return n < 0 ? -errno : n;
}

static void wait_all(struct topology *t)
{
	struct waitall w = { .fd = t->target };
	struct message both;

	if (send_both(t, &both) && CHECK_BYTES(w.buf, call_timeout(receive_all, &w), both.bytes,
					       BOTH, "recv(MSG_WAITALL)"))
		check_end(t);
}

static bool peek_at_bytes(const struct topology *t, const char *bytes)
{
	return check_peek(t, BOTH, bytes, BOTH) && check_peek(t, BOTH, bytes, BOTH) &&
	       check_peek(t, 10, bytes, 10) && check_peek(t, 20, bytes, 20) &&
	       check_peek(t, FIRST + 1, bytes, FIRST + 1) && check_read_bytes(t, bytes, 300) &&
	       check_peek(t, 10, bytes + 300, 10) &&
	       check_peek(t, MESSAGE_MAX, bytes + 300, BOTH - 300) &&
	       check_read_bytes(t, bytes + 300, BOTH - 300);
}

static bool peek_at_messages(const struct topology *t, const char *bytes)
{
	return check_peek(t, 10, bytes, 10) && check_peek(t, MESSAGE_MAX, bytes, FIRST) &&
	       check_peek(t, MESSAGE_MAX, bytes, FIRST) && check_peek(t, 20, bytes, 20) &&
	       check_read_message(t, bytes, FIRST) && check_poll(t->target, POLLIN, "the second") &&
	       check_peek(t, MESSAGE_MAX, bytes + FIRST, SECOND) &&
	       check_read_message(t, bytes + FIRST, SECOND);
}

static void peek_at(struct topology *t)
{
	struct message both;

	if (send_both(t, &both) &&
	    (topology_merges(t) ? peek_at_bytes(t, both.bytes) : peek_at_messages(t, both.bytes)))
		check_end(t);
}

/* ---- SO_RCVTIMEO ----------------------------------------------------------------------------- */

#define TIMEOUT_MS 40

/* A timer of the kernel can be early by a tick, of 10 ms at most. */
#define TICK_MS 10

static ssize_t receive_byte(void *arg)
{
	char byte;
	ssize_t n = recv(*(int *)arg, &byte, 1, 0);

	return n < 0 ? -errno : n;
}

/* A wake-up for nothing ends it early, which kernels do not hide: one of a few has to take its time. */
static bool check_takes_time(struct topology *t)
{
	uint64_t longest = 0;

	for (unsigned int i = 0; i < 10 && longest < TIMEOUT_MS - TICK_MS; i++) {
		uint64_t start = now_ns(), ms;

		if (!CHECK_ERR(call_timeout(receive_byte, &t->target), EAGAIN, "recv of nothing"))
			return false;
		ms = (now_ns() - start) / NSEC_PER_MSEC;
		longest = ms > longest ? ms : longest;
	}
	return CHECK(longest >= TIMEOUT_MS - TICK_MS, "recv took %llu ms, with a timeout of %u",
		     (unsigned long long)longest, TIMEOUT_MS);
}

static void time_out(struct topology *t)
{
	struct timeval tv = { .tv_usec = TIMEOUT_MS * 1000 };
	struct message m;

	fill_message(&m, 100);
	if (!CHECK_OK(setsockopt(t->target, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) ? -errno : 0,
		      "SO_RCVTIMEO") ||
	    !check_takes_time(t))
		return;
	if (check_send_bytes(t, m.bytes, m.len) && check_gets(t, m.bytes, m.len))
		check_end(t);
}

/* ---- Memory that is not there ---------------------------------------------------------------- */

#define ROOM 10

/*
 * A read says how far it got, and takes as much off the queue: what was not copied comes next. How
 * near to the edge a copy gets is the machine's affair.
 */
static bool read_to_edge(const struct topology *t, char *edge, const struct message *m, size_t *got)
{
	ssize_t n = read_now(t->target, edge, m->len);

	if (!CHECK_ERR(n, EFAULT, "read into memory that is not there"))
		return false;
	n = read_now(t->target, edge - ROOM, m->len);
	if (!CHECK(n == -EFAULT || (n > 0 && n <= ROOM), "read into %d bytes: %zd", ROOM, n))
		return false;
	*got = n < 0 ? 0 : n;
	return CHECK_BYTES(edge - ROOM, *got, m->bytes, *got, "a part");
}

static void fault(struct topology *t)
{
	char *edge = memory_edge();
	struct message m;
	size_t got;

	fill_message(&m, 1000);
	if (!topology_merges(t)) {
		skip("what a short read leaves of a message is gone");
		return;
	}
	if (edge && check_send_bytes(t, m.bytes, m.len) && check_queued(t, m.len) &&
	    read_to_edge(t, edge, &m, &got) && check_read_bytes(t, m.bytes + got, m.len - got))
		check_end(t);
}

/* ---- FIONREAD -------------------------------------------------------------------------------- */

static bool check_fionread(const struct topology *t, int want, const char *when)
{
	return CHECK_EQ(bytes_readable(t->target), want, "FIONREAD %s", when);
}

/* Datagrams are counted one by one, streams as a whole. */
static void fionread(struct topology *t)
{
	size_t rest = keeps_boundaries(t->redirect->out) ? FIRST : BOTH;
	struct message both;

	if (!check_fionread(t, 0, "of nothing") || !send_both(t, &both) ||
	    !check_fionread(t, rest, "of two messages"))
		return;
	if (!topology_merges(t)) {
		if (check_read_message(t, both.bytes, FIRST) &&
		    check_fionread(t, SECOND, "of the second message") &&
		    check_read_message(t, both.bytes + FIRST, SECOND) &&
		    check_fionread(t, 0, "after them"))
			check_end(t);
		return;
	}
	if (check_read_bytes(t, both.bytes, 300) &&
	    check_fionread(t, rest - 300, "after a part of the first") &&
	    check_read_bytes(t, both.bytes + 300, FIRST - 300) &&
	    check_fionread(t, SECOND, "of the second") &&
	    check_read_bytes(t, both.bytes + FIRST, SECOND - 1) &&
	    check_fionread(t, 1, "of its last byte") &&
	    check_read_bytes(t, both.bytes + BOTH - 1, 1) && check_fionread(t, 0, "after them"))
		check_end(t);
}

/* ---- Datagrams ------------------------------------------------------------------------------- */

/* recvmsg(2) with room for that much gets these bytes, and says whether there was more. */
static bool check_short_read(const struct topology *t, int flags, size_t room, ssize_t ret,
			     const char *want, bool truncated)
{
	char buf[MESSAGE_MAX];
	struct iovec iov = { buf, room };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = recvmsg(t->target, &msg, flags | MSG_DONTWAIT);

	return CHECK_EQ(n < 0 ? -errno : n, ret, "recvmsg with room for %zu", room) &&
	       CHECK_BYTES(buf, room, want, room, "what there was room for") &&
	       CHECK_EQ(!!(msg.msg_flags & MSG_TRUNC), truncated, "MSG_TRUNC");
}

/* What has no room is lost, and said to be; where messages are merged it is not, and comes next. */
static void truncate_messages(struct topology *t)
{
	struct message both;

	if (!send_both(t, &both))
		return;
	if (topology_merges(t)) {
		if (check_short_read(t, 0, 10, 10, both.bytes, false) &&
		    check_read_bytes(t, both.bytes + 10, FIRST - 10) &&
		    check_read_bytes(t, both.bytes + FIRST, SECOND))
			check_end(t);
		return;
	}
	if (check_short_read(t, MSG_PEEK | MSG_TRUNC, 10, FIRST, both.bytes, true) &&
	    check_short_read(t, 0, 10, 10, both.bytes, true) &&
	    check_poll(t->target, POLLIN, "the second message") &&
	    check_short_read(t, MSG_TRUNC, 20, SECOND, both.bytes + FIRST, true))
		check_end(t);
}

static bool same_address(const struct sockaddr_storage *a, socklen_t len, int fd)
{
	struct sockaddr_storage b = {};
	socklen_t b_len = sizeof(b);

	return getsockname(fd, (struct sockaddr *)&b, &b_len) == 0 && len == b_len &&
	       memcmp(a, &b, len) == 0;
}

/* AF_UNIX gives a name to who asks for none in particular; the others have one. */
static bool has_name(const struct sock_kind *kind, int fd)
{
	struct sockaddr addr = { .sa_family = AF_UNIX };

	return kind->family != AF_UNIX ||
	       CHECK_OK(bind(fd, &addr, sizeof(addr.sa_family)) ? -errno : 0, "bind");
}

/* Of data in a map it says nothing, or the truth: that it was sent by in.peer. */
static void sender_address(struct topology *t)
{
	struct sockaddr_storage addr = {};
	socklen_t addr_len = sizeof(addr);
	bool in_map = t->redirect->ingress;
	char buf[MESSAGE_MAX];
	struct message m;
	ssize_t n;

	fill_message(&m, 100);
	if (!has_name(t->redirect->in, t->sender) || !has_name(t->redirect->out, t->out.mapped) ||
	    !check_send_bytes(t, m.bytes, m.len) || !check_ready(t, m.len))
		return;
	n = recvfrom(t->target, buf, m.len, MSG_DONTWAIT, (struct sockaddr *)&addr, &addr_len);
	if (!CHECK_BYTES(buf, n < 0 ? -errno : n, m.bytes, m.len, "recvfrom"))
		return;
	if (CHECK((in_map && addr_len == 0) ||
			  same_address(&addr, addr_len, in_map ? t->sender : t->out.mapped),
		  "an address of %u bytes: that of the sender", addr_len))
		check_end(t);
}

/* There is nothing to read of it in bytes; as a message it has no length. What follows is intact. */
static void empty_datagram(struct topology *t)
{
	struct message m;

	fill_message(&m, 100);
	if (!check_send_bytes(t, m.bytes, 0))
		return;
	if (!topology_merges(t) && !check_read_message(t, m.bytes, 0))
		return;
	if (check_send_bytes(t, m.bytes, m.len) && check_gets(t, m.bytes, m.len))
		check_end(t);
}

static void drop_empty(struct topology *t)
{
	int verdict = t->skel->data->verdict;
	struct message m;

	fill_message(&m, 100);
	topology_expect(t, SK_DROP, 0);
	t->skel->data->verdict = SK_DROP;
	if (!check_send_bytes(t, m.bytes, 0) || !topology_check_verdicts(t))
		return;
	topology_expect(t, SK_PASS, m.len);
	t->skel->data->verdict = verdict;
	if (check_send_bytes(t, m.bytes, m.len) && topology_check_verdicts(t) &&
	    check_gets(t, m.bytes, m.len))
		topology_check_empty(t);
}

/* ---- The plan -------------------------------------------------------------------------------- */

/* No kernel takes SOCK_SEQPACKET of AF_UNIX into a map; sockmap_redir sees to that. */
static bool any(const struct sock_kind *kind)
{
	return kind->family != AF_UNIX || kind->type != SOCK_SEQPACKET;
}

static bool not_ipv6(const struct sock_kind *kind)
{
	return any(kind) && kind->family != AF_INET6;
}

/* There a read(2) that sleeps in a map does so with the socket locked. */
static bool sleeps(const struct sock_kind *kind)
{
	return not_ipv6(kind) && kind->family != AF_VSOCK;
}

static bool stream(const struct sock_kind *kind)
{
	return not_ipv6(kind) && kind->type == SOCK_STREAM;
}

static bool datagram(const struct sock_kind *kind)
{
	return any(kind) && keeps_boundaries(kind);
}

/* Datagrams proper: SOCK_SEQPACKET sends no empty ones, and does not tell who sent one. */
static bool connectionless(const struct sock_kind *kind)
{
	return any(kind) && kind->type == SOCK_DGRAM;
}

#define SKB	(SKB_PASS | SKB_INGRESS | SKB_EGRESS)
#define PARSER	(PARSER_PASS | PARSER_INGRESS | PARSER_EGRESS)
#define MSG	(MSG_PASS | MSG_INGRESS | MSG_EGRESS)
#define ALL	(SKB | PARSER | MSG)
#define IN_MAP	(ANY_PASS | ANY_INGRESS)
#define FORWARD (ANY_INGRESS | ANY_EGRESS)

static const struct fix size_fixes[] = {
	{ "929e30f93125", "bpf, sockmap: Fix FIONREAD for sockmap" },
	{ "3f4c3127d332", "bpf: sockmap, fix skmsg recvmsg handler to track size correctly" },
	{},
};

static const struct fix offset_fixes[] = {
	{ "7303524e04af", "skmsg: Lose offset info in sk_psock_skb_ingress" },
	{},
};

static const struct scenario scenarios[] = {
	{ "sizes", ALL, .of = any, .run = sizes },
	{ "larger", ALL & ~PARSER_PASS, .of = stream, .run = larger },
	{ "thousand", ALL & ~PARSER_PASS, .of = not_ipv6, .run = thousand },
	{ "two-senders", FORWARD, .of = not_ipv6, .run = two_senders,
	  .with = { .two_maps = true } },
	{ "native", FORWARD, .of = not_ipv6, .run = native, .with = { .two_maps = true } },
	{ "parsed", FORWARD &PARSER, .of = stream, .run = parsed,
	  .with = { .parse_len = PARSE_LEN }, .guards = offset_fixes },
	{ "gather", ALL, .of = not_ipv6, .run = gather },
	{ "scatter", IN_MAP, .of = not_ipv6, .run = scatter },
	{ "recvmmsg", SKB | MSG_INGRESS, .of = not_ipv6, .run = receive_many },
	{ "waitall", SKB | MSG_INGRESS | MSG_EGRESS, .of = stream, .run = wait_all },
	{ "peek", SKB | MSG | PARSER_INGRESS, .of = not_ipv6, .run = peek_at },
	{ "timeout", SKB | MSG_INGRESS, .of = sleeps, .run = time_out },
	{ "fault", IN_MAP, .of = not_ipv6, .run = fault },
	{ "fionread", IN_MAP, .of = is_inet, .run = fionread, .guards = size_fixes },
	{ "truncate", SKB, .of = datagram, .run = truncate_messages },
	{ "empty", SKB, .of = connectionless, .run = empty_datagram,
	  .needs = (feature_set)1 << FEAT_EMPTY_DATAGRAM },
	{ "empty-dropped", SKB, .of = connectionless, .run = drop_empty },
	{ "sender", SKB, .of = connectionless, .run = sender_address },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return scenario_describe(scenarios, ARRAY_SIZE(scenarios), i, sub);
}

static void run(unsigned int i)
{
	scenario_run(scenarios, ARRAY_SIZE(scenarios), i);
}

DEFINE_TEST(sockmap_delivery, describe, run);
