// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/sock_diag.h>

#include "harness/harness.h"
#include "harness/topology.h"
#include "harness/traffic.h"
#include "network_helpers.h"
#include "progs/verdicts.h"

static const char *const fates[] = {
	[RECV_UNREADY] = "unready",	    [RECV_NO_WAKEUP] = "asleep",
	[RECV_MISDIRECTED] = "misdirected", [RECV_LOST] = "lost",
	[RECV_SPURIOUS] = "spurious",
};

static bool check_read(const struct topology *t, ssize_t n, const struct recv_report *report)
{
	if (n < 0 && report->fate < ARRAY_SIZE(fates) && fates[report->fate])
		observed("%s", fates[report->fate]);
	return check_received(
		t->direction, n, report,
		report->fate == RECV_MISDIRECTED ? topology_name_of(t, report->found_at) : "");
}

static bool can_count(const struct topology *t)
{
	const struct sock_kind *kind = t->target_kind;
	enum feature counts = feature_of_kind(FEAT_FIONREAD, kind);
	char text[256];

	/* AF_VSOCK has had it since Linux 6.17. */
	if (bytes_readable(t->target) == -ENOTTY)
		return false;
	if (!t->target_mapped)
		return !t->redirect->mapped_peers ||
		       have_feature(feature_of_kind(FEAT_FIONREAD_NATIVE, kind));
	if (have_feature(counts))
		return true;
	if (redirect_wants(t->redirect) & feature_bit(counts))
		note("FIONREAD of data redirected to %s is not checked: %s", kind->name,
		     feature_missing(counts, text, sizeof(text)));
	return false;
}

/* FIONREAD counts what the next read gets; in a stream more may have come since the peek. */
static bool check_fionread(const struct topology *t, size_t peeked)
{
	int n;

	if (!can_count(t))
		return true;
	n = bytes_readable(t->target);
	if (keeps_boundaries(t->target_kind))
		return CHECK_EQ(n, peeked, "%s: FIONREAD", t->direction);
	return CHECK(n >= (int)peeked, "%s: FIONREAD is %d, %zu bytes were peeked at", t->direction,
		     n, peeked);
}

/* What is left of a message in a stream after a part of it has been read. */
static ssize_t read_rest(const struct topology *t, char *buf, size_t len, size_t got)
{
	while (got < len) {
		struct recv_report report;
		ssize_t n =
			recv_timeout(t->target, buf + got, len - got, 0, patience_ms(), &report);

		if (!check_read(t, n, &report))
			return n < 0 ? n : (ssize_t)got;
		got += n;
	}
	return got;
}

/* The reader is awake, and has seen n bytes: check them, and read what it only peeked at. */
static bool check_message(const struct topology *t, const struct message *m, char *buf, ssize_t n,
			  bool peeked)
{
	bool whole = keeps_boundaries(t->target_kind);

	if (peeked) {
		if (!CHECK_BYTES(buf, n, m->bytes, whole || (size_t)n > m->len ? m->len : (size_t)n,
				 "%s: MSG_PEEK", t->direction) ||
		    !check_fionread(t, n))
			return false;
		n = read_now(t->target, buf, whole ? MESSAGE_MAX : m->len);
	}
	if (n > 0 && !whole)
		n = read_rest(t, buf, m->len, n);
	return CHECK_BYTES(buf, n, m->bytes, m->len, "%s: received", t->direction);
}

static bool check_sent(const struct topology *t, ssize_t n, const struct message *m)
{
	if (n < 0)
		observed("%s", strerrorname_np((int)-n));
	return CHECK_EQ(n, m->len, "%s: send", t->direction);
}

static bool check_refused(const struct topology *t, ssize_t n)
{
	if (n >= 0)
		observed("sent");
	return CHECK_ERR(n, t->redirect->error, "%s: send", t->direction);
}

/* No program sees what is LOCAL. */
static void expect_pass(struct topology *t, size_t len)
{
	if (t->redirect->outcome != LOCAL)
		topology_expect(t, SK_PASS, len);
}

/* One message, to a reader that sleeps in the way given and has to be woken by it. */
static bool deliver(struct topology *t, const struct message *sent, const struct message *expected,
		    enum wait_method how, int send_flags)
{
	char buf[MESSAGE_MAX];
	int others[4];
	struct read_request request = {
		.fd = t->target,
		.buf = buf,
		.len = sizeof(buf),
		.flags = how == WAIT_RECV ? 0 : MSG_PEEK,
		.how = how,
		.timeout_ms = patience_ms(),
		.others = others,
		.nr_others = topology_others(t, others),
	};
	struct recv_report report;
	struct reader *reader;
	bool sent_ok;
	ssize_t n;

	if (!CHECK_OK(reader_start(&reader, &request), "start a reader in %s",
		      wait_method_name(how)))
		return false;
	expect_pass(t, expected->len);
	n = send_message(t->sender, sent, send_flags);
	sent_ok = check_sent(t, n, sent);
	n = reader_finish(reader, &report);
	if (!sent_ok || !check_read(t, n, &report))
		return false;
	if (t->redirect->outcome != LOCAL)
		topology_measure_wakeup(t, report.woken_ns);
	return check_message(t, expected, buf, n, request.flags & MSG_PEEK) &&
	       topology_check_verdicts(t) && topology_check_empty(t);
}

/* ---- Outcomes -------------------------------------------------------------------------------- */

/*
 * In a map, an AF_VSOCK socket sleeps in recv(2) with the lock that the worker needs which is to bring
 * the data: that is the end of AF_VSOCK on this machine, whoever else uses it.
 *
 * Of data that goes back to where it was taken from, a sleeper in recv(2) may be told when it is taken,
 * before the worker has brought it back: then it gives up, or waits for something else. Only kernels
 * that take this for passed data can do without the worker.
 */
static bool may_sleep_in_recv(const struct topology *t)
{
	if (t->redirect->to_itself && t->redirect->hook != HOOK_MSG_VERDICT)
		return false;
	if (t->target_kind->family == AF_VSOCK && (t->target_mapped || t->redirect->mapped_peers))
		return false;
	return topology_target_can(t, FEAT_RECV_WAKEUP);
}

/* A message for each way of waiting, of different lengths, the shortest one among them. */
static bool check_wakeups(struct topology *t)
{
	static const size_t lengths[NR_WAIT_METHODS] = { 17, 1, 1400, 256, 64 };

	for (enum wait_method how = 0; how < NR_WAIT_METHODS; how++) {
		struct message m;

		if (how == WAIT_RECV && !may_sleep_in_recv(t))
			continue;
		fill_message(&m, lengths[how]);
		if (!deliver(t, &m, &m, how, 0))
			return false;
	}
	return true;
}

/*
 * Several messages before the first read: order, and boundaries where the kernel keeps them. Where
 * it does not, a read of just the length of a message gets that message.
 */
static bool check_queue(struct topology *t)
{
	static const size_t lengths[] = { 5, 1000, 1, 300 };
	struct message sent[ARRAY_SIZE(lengths)];
	char buf[MESSAGE_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		fill_message(&sent[i], lengths[i]);
		expect_pass(t, sent[i].len);
		if (!check_sent(t, send_message(t->sender, &sent[i], 0), &sent[i]))
			return false;
		/* One at a time, or TCP may merge segments and so verdicts. */
		topology_wait_for_verdicts(t);
	}
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		bool whole =
			keeps_boundaries(t->target_kind) && topology_target_can(t, FEAT_BOUNDARIES);
		struct recv_report report;
		ssize_t n = recv_timeout(t->target, buf, whole ? sizeof(buf) : sent[i].len, 0,
					 patience_ms(), &report);

		if (!check_read(t, n, &report) || !check_message(t, &sent[i], buf, n, false))
			return false;
	}
	return topology_check_verdicts(t) && topology_check_empty(t);
}

/*
 * The parser cuts the stream every parse_len bytes, wherever the sends were: one byte more than a
 * message is sent, then the rest of the second one.
 */
static bool check_parsed(struct topology *t)
{
	size_t len = t->redirect->parse_len;
	struct message first, head, second, rest, extra;

	fill_message(&extra, 2 * len);
	first = head = second = rest = extra;
	first.len = second.len = len;
	head.len = len + 1;
	rest.len = len - 1;
	memcpy(second.bytes, extra.bytes + len, len);
	memcpy(rest.bytes, extra.bytes + len + 1, len - 1);
	return deliver(t, &head, &first, WAIT_POLL, 0) && deliver(t, &rest, &second, WAIT_POLL, 0);
}

/* The out-of-band byte is not redirected, and cannot be read past the map, nor after it. */
static bool check_oob(struct topology *t)
{
	struct message sent, expected;
	char byte;

	fill_message(&sent, 2);
	expected = sent;
	expected.len = 1;
	if (!deliver(t, &sent, &expected, WAIT_POLL, MSG_OOB))
		return false;
	if (!CHECK_ERR(recv(t->in.mapped, &byte, 1, MSG_OOB | MSG_DONTWAIT) < 0 ? -errno : 0,
		       EOPNOTSUPP, "%s: recv(MSG_OOB) of a socket in a map", t->direction))
		return false;
	return CHECK_OK(topology_delete(t, topology_in_map(t), KEY_IN), "delete in.mapped") &&
	       CHECK_ERR(recv(t->in.mapped, &byte, 1, MSG_OOB | MSG_DONTWAIT) < 0 ? -errno : 0,
			 EINVAL, "%s: recv(MSG_OOB) after it left the map", t->direction) &&
	       CHECK_OK(topology_insert(t, topology_in_map(t), KEY_IN, t->in.mapped),
			"insert in.mapped again");
}

/* Ordinary traffic, out-of-band data included: the byte is there for who asks for it. */
static bool check_local_oob(struct topology *t)
{
	struct message sent, expected;
	char byte;

	fill_message(&sent, 2);
	expected = sent;
	expected.len = 1;
	return check_sent(t, send_message(t->sender, &sent, MSG_OOB), &sent) &&
	       check_arrives(t->target, &expected, t->direction) &&
	       CHECK_BYTES(&byte, recv(t->target, &byte, 1, MSG_OOB | MSG_DONTWAIT), sent.bytes + 1,
			   1, "%s: recv(MSG_OOB)", t->direction) &&
	       topology_check_verdicts(t) && topology_check_empty(t);
}

static bool check_delivered(struct topology *t)
{
	if (t->redirect->oob)
		return t->redirect->outcome == LOCAL ? check_local_oob(t) : check_oob(t);
	if (t->redirect->parse_len)
		return check_parsed(t);
	return check_wakeups(t) && check_queue(t);
}

/* The packets that the kernel says it has dropped at a socket; or -errno. */
static int drops(int fd)
{
	uint32_t meminfo[SK_MEMINFO_VARS] = {};
	socklen_t len = sizeof(meminfo);

	return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, meminfo, &len)
		       ? -errno
		       : (int)meminfo[SK_MEMINFO_DROPS];
}

/* Send something that has to be dropped, and say so. */
static bool send_dropped(struct topology *t)
{
	bool oob = t->redirect->oob;
	struct message m;
	ssize_t n;

	fill_message(&m, oob ? 2 : 100);
	/* Out-of-band data is not even shown to the program. */
	topology_expect(t, SK_DROP, m.len - oob);
	n = send_message(t->sender, &m, oob ? MSG_OOB : 0);
	if (t->redirect->outcome == REFUSED)
		return check_refused(t, n);
	return check_sent(t, n, &m);
}

/*
 * Whether the send succeeds or not, the data must be nowhere, and nothing else is lost: when the
 * program passes what comes, the next message is the first that arrives.
 */
static bool check_dropped(struct topology *t)
{
	int before = drops(t->in.mapped);
	struct message m;

	if (!send_dropped(t) || !topology_check_verdicts(t) || !topology_check_empty(t))
		return false;
	if (t->redirect->outcome == REFUSED && !have_feature(FEAT_MSG_AFTER_DROP))
		return true;
	topology_set_verdict(t, SK_PASS);
	fill_message(&m, t->redirect->parse_len ?: 100);
	if (!deliver(t, &m, &m, WAIT_POLL, 0))
		return false;
	/* What a send is refused for is not counted, nor is out-of-band data everywhere. */
	return t->redirect->outcome == REFUSED || t->redirect->oob ||
	       CHECK_EQ(drops(t->in.mapped), before + 1, "%s: drops of in.mapped", t->direction);
}

/* No verdict is given about a socket that is not in the map. */
static bool check_outcome(struct topology *t)
{
	switch (t->redirect->outcome) {
	case DELIVERED:
	case LOCAL:
		return check_delivered(t);
	case DROPPED:
	case REFUSED:
		return check_dropped(t);
	case KEPT_OUT:
		return true;
	}
	return false;
}

static void describe(const struct redirect *r)
{
	check_scope("%s->%s, %s%s%s%s%s%s%s%s", r->in->name, r->out->name, redirect_hook_name(r),
		    r->two_maps ? ", two maps" : "", r->mapped_peers ? ", mapped peers" : "",
		    r->by_link ? ", link" : "", r->oob ? ", MSG_OOB" : "",
		    r->parse_len ? ", partial" : "", r->out_map ? ", mixed maps" : "",
		    r->long_keys ? ", long keys" : "");
}

/* The checks have found that the outcome is what it should be: a word for the tables. */
static void record_outcome(const struct redirect *r)
{
	static const char *const words[] = {
		[DELIVERED] = "delivered", [DROPPED] = "dropped", [LOCAL] = "local"
	};

	observed("%s", r->error ? strerrorname_np(r->error) : words[r->outcome]);
}

void check_redirect(const struct redirect *redirect)
{
	struct topology t __auto_topology = TOPOLOGY_NONE;
	bool ok;

	describe(redirect);
	ok = topology_open(&t, redirect) && check_outcome(&t) && topology_remove_sockets(&t);
	if (ok) {
		record_outcome(redirect);
		topology_check_traffic(&t);
		topology_check_verdicts(&t);
	}
	check_scope(NULL);
}
