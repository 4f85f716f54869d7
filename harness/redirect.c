// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "harness/harness.h"
#include "harness/topology.h"
#include "harness/traffic.h"
#include "network_helpers.h"
#include "progs/verdicts.h"

static bool check_read(const struct topology *t, ssize_t n, const struct recv_report *report)
{
	return check_received(
		t->direction, n, report,
		report->fate == RECV_MISDIRECTED ? topology_name_of(t, report->found_at) : "");
}

static bool can_count(const struct topology *t)
{
	const struct redirect *r = t->redirect;
	enum feature counts = feature_of_kind(FEAT_FIONREAD, r->out);
	char text[256];

	if (!r->ingress)
		return !r->mapped_peers ||
		       have_feature(feature_of_kind(FEAT_FIONREAD_NATIVE, r->out));
	if (have_feature(counts))
		return true;
	if (redirect_wants(r) & feature_bit(counts))
		note("FIONREAD of data redirected to %s is not checked: %s", r->out->name,
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
	if (keeps_boundaries(t->redirect->out))
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
	bool whole = keeps_boundaries(t->redirect->out);

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
	topology_expect(t, SK_PASS, expected->len);
	n = send_message(t->sender, sent, send_flags);
	sent_ok = CHECK_EQ(n, sent->len, "%s: send", t->direction);
	n = reader_finish(reader, &report);
	if (!sent_ok || !check_read(t, n, &report))
		return false;
	topology_measure_wakeup(t, report.woken_ns);
	return check_message(t, expected, buf, n, request.flags & MSG_PEEK) &&
	       topology_check_verdicts(t) && topology_check_empty(t);
}

/* ---- Outcomes -------------------------------------------------------------------------------- */

/* A message for each way of waiting, of different lengths, the shortest one among them. */
static bool check_wakeups(struct topology *t)
{
	static const size_t lengths[NR_WAIT_METHODS] = { 17, 1, 1400, 256, 64 };

	for (enum wait_method how = 0; how < NR_WAIT_METHODS; how++) {
		struct message m;

		if (how == WAIT_RECV && !topology_target_can(t, FEAT_RECV_WAKEUP))
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
		topology_expect(t, SK_PASS, sent[i].len);
		if (!CHECK_EQ(send_message(t->sender, &sent[i], 0), sent[i].len, "%s: send %zu",
			      t->direction, i))
			return false;
		/* One at a time, or TCP may merge segments and so verdicts. */
		topology_wait_for_verdicts(t);
	}
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		bool whole = keeps_boundaries(t->redirect->out) &&
			     topology_target_can(t, FEAT_BOUNDARIES);
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
	return CHECK_OK(socket_map_delete(topology_in_map(t), KEY_IN), "delete in.mapped") &&
	       CHECK_ERR(recv(t->in.mapped, &byte, 1, MSG_OOB | MSG_DONTWAIT) < 0 ? -errno : 0,
			 EINVAL, "%s: recv(MSG_OOB) after it left the map", t->direction) &&
	       CHECK_OK(socket_map_update(topology_in_map(t), KEY_IN, t->in.mapped, BPF_NOEXIST),
			"insert in.mapped again");
}

static bool check_delivered(struct topology *t)
{
	if (t->redirect->oob)
		return check_oob(t);
	if (t->redirect->parse_len)
		return check_parsed(t);
	return check_wakeups(t) && check_queue(t);
}

/* Whether the send succeeds or not, the data must be nowhere; later traffic proves it. */
static bool check_dropped(struct topology *t)
{
	struct message m;
	ssize_t n;

	fill_message(&m, 100);
	topology_expect(t, SK_DROP, m.len);
	n = send_message(t->sender, &m, 0);
	if (t->redirect->outcome == REFUSED) {
		if (!CHECK_ERR(n, t->redirect->error, "%s: send", t->direction))
			return false;
	} else if (!CHECK_EQ(n, m.len, "%s: send", t->direction)) {
		return false;
	}
	return topology_check_verdicts(t) && topology_check_empty(t);
}

static void describe(const struct redirect *r)
{
	check_scope("%s->%s, %s%s%s%s%s%s", r->in->name, r->out->name, redirect_hook_name(r),
		    r->two_maps ? ", two maps" : "", r->mapped_peers ? ", mapped peers" : "",
		    r->by_link ? ", link" : "", r->oob ? ", MSG_OOB" : "",
		    r->parse_len ? ", partial" : "");
}

/* The checks have found that the outcome is what it should be: a word for the tables. */
static void record_outcome(const struct redirect *r)
{
	static const char *const words[] = { [DELIVERED] = "delivered", [DROPPED] = "dropped" };

	observed("%s", r->error ? strerrorname_np(r->error) : words[r->outcome]);
}

void check_redirect(const struct redirect *redirect)
{
	struct topology t __auto_topology = TOPOLOGY_NONE;
	bool ok;

	describe(redirect);
	ok = topology_open(&t, redirect) &&
	     (redirect->outcome == DELIVERED ? check_delivered(&t) : check_dropped(&t)) &&
	     topology_remove_sockets(&t);
	if (ok) {
		record_outcome(redirect);
		topology_check_traffic(&t);
	}
	check_scope(NULL);
}
