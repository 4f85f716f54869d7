// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "harness/harness.h"
#include "network_helpers.h"
#include "progs/verdicts.h"
#include "redirect.skel.h"

#define MESSAGE_MAX 4096

/*
 * Once data was lost the subtest has failed, and what follows only adds detail: it need not be
 * waited for as patiently. Else a subtest of many cases would end in its watchdog, which tells
 * less.
 */
#define IMPATIENT_MS 1000

static bool lost_data;

static unsigned int timeout_ms(void)
{
	return lost_data && io_timeout_ms > IMPATIENT_MS ? IMPATIENT_MS : io_timeout_ms;
}

/* Keys of the maps: the target is where the programs look for it. */
#define KEY_OUT 0
#define KEY_IN	1

struct message {
	size_t len;
	char bytes[MESSAGE_MAX];
};

/* The four sockets of the picture, the programs between them, and what has happened so far. */
struct topology {
	const struct redirect *redirect;
	struct redirect_bpf *skel;
	struct sock_pair in, out;
	int links[2];
	int sender; /* one of the sockets */
	int target; /* where redirected data is read; -1: it has to arrive nowhere */
	const char *direction;
	uint64_t count[2], bytes[2]; /* what the verdict counters have to show */
};

#define TOPOLOGY_NONE                                                            \
	{                                                                        \
		.in = SOCK_PAIR_NONE, .out = SOCK_PAIR_NONE, .links = { -1, -1 } \
	}
#define __auto_topology __attribute__((cleanup(topology_close)))

static void topology_close(struct topology *t)
{
	close_pair(&t->in);
	close_pair(&t->out);
	close_fd(&t->links[0]);
	close_fd(&t->links[1]);
	redirect_bpf__destroy(t->skel);
}

/* ---- Features -------------------------------------------------------------------------------- */

static const enum feature hook_features[] = {
	[HOOK_MSG_VERDICT] = FEAT_MSG_VERDICT,
	[HOOK_STREAM_VERDICT] = FEAT_STREAM_VERDICT,
	[HOOK_SKB_VERDICT] = FEAT_SKB_VERDICT,
};

static feature_set kind_bit(enum feature feature, const struct sock_kind *kind)
{
	return feature_bit(feature_of_kind(feature, kind));
}

feature_set redirect_needs(const struct redirect *r)
{
	feature_set set = feature_bit(hook_features[r->hook]);

	set |= feature_bit(r->map == BPF_MAP_TYPE_SOCKHASH ? FEAT_SOCKHASH : FEAT_SOCKMAP);
	set |= kind_bit(FEAT_SOCKET, r->in) | kind_bit(FEAT_SOCKET, r->out);
	set |= kind_bit(FEAT_INSERT, r->in) | kind_bit(FEAT_INSERT, r->out);
	if (r->by_link)
		set |= feature_bit(FEAT_LINK);
	if (r->oob)
		set |= feature_bit(FEAT_UNIX_OOB);
	return set;
}

/* FIONREAD of redirected data was repaired for TCP and UDP only. */
static bool should_count(const struct redirect *r)
{
	return r->out->family == AF_INET || r->out->family == AF_INET6;
}

feature_set redirect_wants(const struct redirect *r)
{
	return r->ingress && should_count(r) ? kind_bit(FEAT_FIONREAD, r->out) : 0;
}

feature_set redirect_uses(const struct redirect *r)
{
	if (!r->ingress)
		return r->mapped_peers ? kind_bit(FEAT_FIONREAD_NATIVE, r->out) : 0;
	return kind_bit(FEAT_FIONREAD, r->out) | kind_bit(FEAT_RECV_WAKEUP, r->out) |
	       kind_bit(FEAT_BOUNDARIES, r->out);
}

/* Whether the reader's kernel can do it: if it reads from a socket in a map, not all can. */
static bool target_can(const struct topology *t, enum feature feature)
{
	return !t->redirect->ingress || have_feature(feature_of_kind(feature, t->redirect->out));
}

/* ---- Setting up ------------------------------------------------------------------------------ */

static bool load_programs(struct topology *t)
{
	const struct redirect *r = t->redirect;

	t->skel = redirect_bpf__open();
	if (!CHECK(t->skel, "open the BPF object: %s", strerror(errno)))
		return false;
	bpf_map__set_type(t->skel->maps.in_map, r->map);
	bpf_map__set_type(t->skel->maps.out_map, r->map);
	bpf_map__set_type(t->skel->maps.nop_map, r->map);
	t->skel->rodata->use_sockhash = r->map == BPF_MAP_TYPE_SOCKHASH;
	t->skel->rodata->redirect_flags = r->ingress ? BPF_F_INGRESS : 0;
	t->skel->rodata->parse_len = r->parse_len;
	if (!CHECK_OK(redirect_bpf__load(t->skel), "load the BPF object"))
		return false;
	track_bpf_object(t->skel->obj);
	return true;
}

static int in_map_fd(const struct topology *t)
{
	return bpf_map__fd(t->redirect->two_maps ? t->skel->maps.in_map : t->skel->maps.out_map);
}

static bool attach(struct topology *t, struct bpf_program *prog, enum bpf_attach_type type)
{
	int prog_fd = bpf_program__fd(prog), map_fd = in_map_fd(t);
	int *link = t->links[0] < 0 ? &t->links[0] : &t->links[1];

	if (!t->redirect->by_link)
		return CHECK_OK(bpf_prog_attach(prog_fd, map_fd, type, 0) ? -errno : 0, "attach %s",
				bpf_program__name(prog));
	*link = bpf_link_create(prog_fd, map_fd, type, NULL);
	return CHECK_OK(*link < 0 ? -errno : 0, "link %s", bpf_program__name(prog));
}

static bool attach_programs(struct topology *t)
{
	struct bpf_program *skb_verdict = t->skel->progs.skb_verdict;

	switch (t->redirect->hook) {
	case HOOK_MSG_VERDICT:
		return attach(t, t->skel->progs.msg_verdict, BPF_SK_MSG_VERDICT);
	case HOOK_STREAM_VERDICT:
		return attach(t, t->skel->progs.stream_parser, BPF_SK_SKB_STREAM_PARSER) &&
		       attach(t, skb_verdict, BPF_SK_SKB_STREAM_VERDICT);
	case HOOK_SKB_VERDICT:
		return attach(t, skb_verdict, BPF_SK_SKB_VERDICT);
	}
	return false;
}

static bool make_sockets(struct topology *t)
{
	const struct redirect *r = t->redirect;

	if (!CHECK_OK(make_pair(r->in, &t->in), "make the pair %s", r->in->name))
		return false;
	if (!r->to_listener)
		return CHECK_OK(make_pair(r->out, &t->out), "make the pair %s", r->out->name);
	t->out.kind = r->out;
	t->out.mapped = socket_loopback(r->out);
	return CHECK_OK(t->out.mapped, "make the listener %s", r->out->name);
}

static bool insert_sockets(struct topology *t)
{
	int out_map = bpf_map__fd(t->skel->maps.out_map);
	int nop_map = bpf_map__fd(t->skel->maps.nop_map);

	return CHECK_OK(socket_map_update(out_map, KEY_OUT, t->out.mapped, BPF_NOEXIST),
			"insert out.mapped") &&
	       CHECK_OK(socket_map_update(in_map_fd(t), KEY_IN, t->in.mapped, BPF_NOEXIST),
			"insert in.mapped") &&
	       (!t->redirect->mapped_peers ||
		(CHECK_OK(socket_map_update(nop_map, KEY_OUT, t->out.peer, BPF_NOEXIST),
			  "insert out.peer") &&
		 CHECK_OK(socket_map_update(nop_map, KEY_IN, t->in.peer, BPF_NOEXIST),
			  "insert in.peer")));
}

static bool remove_sockets(struct topology *t)
{
	int out_map = bpf_map__fd(t->skel->maps.out_map);
	int nop_map = bpf_map__fd(t->skel->maps.nop_map);

	return CHECK_OK(socket_map_delete(out_map, KEY_OUT), "delete out.mapped") &&
	       CHECK_OK(socket_map_delete(in_map_fd(t), KEY_IN), "delete in.mapped") &&
	       (!t->redirect->mapped_peers ||
		(CHECK_OK(socket_map_delete(nop_map, KEY_OUT), "delete out.peer") &&
		 CHECK_OK(socket_map_delete(nop_map, KEY_IN), "delete in.peer")));
}

static bool set_up(struct topology *t, const struct redirect *r)
{
	t->redirect = r;
	t->direction = r->ingress ? "ingress" : "egress";
	if (!load_programs(t) || !attach_programs(t) || !make_sockets(t) || !insert_sockets(t))
		return false;
	t->sender = r->hook == HOOK_MSG_VERDICT ? t->in.mapped : t->in.peer;
	t->target = r->outcome != DELIVERED ? -1 : r->ingress ? t->out.mapped : t->out.peer;
	return true;
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

static const struct verdicts *verdicts_of(const struct topology *t)
{
	return (const struct verdicts *)&t->skel->bss->verdicts;
}

static uint64_t read_counter(const __u64 *counter)
{
	return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

/* From now on the counters have to show one more verdict, about that many bytes. */
static void expect_verdict(struct topology *t, int verdict, size_t len)
{
	t->count[verdict]++;
	t->bytes[verdict] += len;
}

/* A verdict may come from a work queue: wait for the last one that is due. */
static void wait_for_verdicts(const struct topology *t)
{
	uint64_t deadline = now_ns() + timeout_ms() * NSEC_PER_MSEC;
	const struct verdicts *v = verdicts_of(t);

	while ((read_counter(&v->count[SK_PASS]) < t->count[SK_PASS] ||
		read_counter(&v->count[SK_DROP]) < t->count[SK_DROP]) &&
	       now_ns() < deadline)
		usleep(100);
}

/* What a program sees of a parsed message is the segment that it is a part of: no bytes to count. */
static bool check_verdict(const struct topology *t, int verdict, const char *name)
{
	const struct verdicts *v = verdicts_of(t);
	bool ok = CHECK_EQ(read_counter(&v->count[verdict]), t->count[verdict], "%s: %s count",
			   t->direction, name);

	if (!t->redirect->parse_len)
		ok &= CHECK_EQ(read_counter(&v->bytes[verdict]), t->bytes[verdict], "%s: %s bytes",
			       t->direction, name);
	return ok;
}

/* Both, even after a failure: together they tell what happened. */
static bool check_verdicts(const struct topology *t)
{
	bool ok;

	wait_for_verdicts(t);
	ok = check_verdict(t, SK_PASS, "pass");
	ok &= check_verdict(t, SK_DROP, "drop");
	return ok;
}

/* ---- Messages -------------------------------------------------------------------------------- */

/* No two messages of a run are alike: bytes of an earlier one cannot pass for those of a later. */
static void fill(struct message *m, size_t len)
{
	static unsigned int serial;
	uint32_t state = (uint32_t)getpid() * 2654435761U + ++serial * 40503U;

	m->len = len;
	for (size_t i = 0; i < len; i++) {
		state = state * 1664525U + 1013904223U;
		m->bytes[i] = (char)(state >> 24);
	}
}

static ssize_t send_message(int fd, const struct message *m, int flags)
{
	ssize_t n = send(fd, m->bytes, m->len, flags);

	return n < 0 ? -errno : n;
}

/* The sockets that must stay empty while the target, if there is one, gets data. */
static unsigned int list_others(const struct topology *t, int others[4])
{
	const int all[] = { t->in.mapped, t->in.peer, t->out.mapped, t->out.peer };
	unsigned int n = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++) {
		bool listens = t->redirect->to_listener && all[i] == t->out.mapped;

		if (all[i] >= 0 && all[i] != t->target && !listens)
			others[n++] = all[i];
	}
	return n;
}

static const char *name_of(const struct topology *t, int fd)
{
	return fd == t->in.mapped    ? "in.mapped"
	       : fd == t->in.peer    ? "in.peer"
	       : fd == t->out.mapped ? "out.mapped"
	       : fd == t->out.peer   ? "out.peer"
				     : "nowhere";
}

static ssize_t read_now(int fd, char *buf, size_t len)
{
	ssize_t n = recv(fd, buf, len, MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

static bool check_empty(const struct topology *t, int fd)
{
	char buf[MESSAGE_MAX];

	return CHECK_ERR(read_now(fd, buf, sizeof(buf)), EAGAIN, "%s: nothing more at %s",
			 t->direction, name_of(t, fd));
}

static bool check_all_empty(const struct topology *t)
{
	int others[4];
	unsigned int n = list_others(t, others);
	bool ok = t->target < 0 || check_empty(t, t->target);

	for (unsigned int i = 0; i < n; i++)
		ok &= check_empty(t, others[i]);
	return ok;
}

/* The read has to have worked; where it did not, say what became of the data. */
static bool check_received(const char *what, ssize_t n, const struct recv_report *report,
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

static bool check_read(const struct topology *t, ssize_t n, const struct recv_report *report)
{
	return check_received(t->direction, n, report,
			      report->fate == RECV_MISDIRECTED ? name_of(t, report->found_at) : "");
}

static bool can_count(const struct topology *t)
{
	const struct redirect *r = t->redirect;
	char text[256];

	if (!r->ingress)
		return !r->mapped_peers ||
		       have_feature(feature_of_kind(FEAT_FIONREAD_NATIVE, r->out));
	if (have_feature(feature_of_kind(FEAT_FIONREAD, r->out)))
		return true;
	if (should_count(r))
		note("FIONREAD of data redirected to %s is not checked: %s", r->out->name,
		     feature_missing(feature_of_kind(FEAT_FIONREAD, r->out), text, sizeof(text)));
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
		ssize_t n = recv_timeout(t->target, buf + got, len - got, 0, timeout_ms(), &report);

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
		.timeout_ms = timeout_ms(),
		.others = others,
		.nr_others = list_others(t, others),
	};
	struct recv_report report;
	struct reader *reader;
	bool sent_ok;
	ssize_t n;

	if (!CHECK_OK(reader_start(&reader, &request), "start a reader in %s",
		      wait_method_name(how)))
		return false;
	expect_verdict(t, SK_PASS, expected->len);
	n = send_message(t->sender, sent, send_flags);
	sent_ok = CHECK_EQ(n, sent->len, "%s: send", t->direction);
	n = reader_finish(reader, &report);
	if (!sent_ok || !check_read(t, n, &report))
		return false;
	measured_wakeup(report.woken_ns - verdicts_of(t)->last_ns);
	return check_message(t, expected, buf, n, request.flags & MSG_PEEK) && check_verdicts(t) &&
	       check_all_empty(t);
}

/* ---- Outcomes -------------------------------------------------------------------------------- */

/* A message for each way of waiting, of different lengths, the shortest one among them. */
static bool check_wakeups(struct topology *t)
{
	static const size_t lengths[NR_WAIT_METHODS] = { 17, 1, 1400, 256, 64 };

	for (enum wait_method how = 0; how < NR_WAIT_METHODS; how++) {
		struct message m;

		if (how == WAIT_RECV && !target_can(t, FEAT_RECV_WAKEUP))
			continue;
		fill(&m, lengths[how]);
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
		fill(&sent[i], lengths[i]);
		expect_verdict(t, SK_PASS, sent[i].len);
		if (!CHECK_EQ(send_message(t->sender, &sent[i], 0), sent[i].len, "%s: send %zu",
			      t->direction, i))
			return false;
		/* One at a time, or TCP may merge segments and so verdicts. */
		wait_for_verdicts(t);
	}
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		bool whole = keeps_boundaries(t->redirect->out) && target_can(t, FEAT_BOUNDARIES);
		struct recv_report report;
		ssize_t n = recv_timeout(t->target, buf, whole ? sizeof(buf) : sent[i].len, 0,
					 timeout_ms(), &report);

		if (!check_read(t, n, &report) || !check_message(t, &sent[i], buf, n, false))
			return false;
	}
	return check_verdicts(t) && check_all_empty(t);
}

/*
 * The parser cuts the stream every parse_len bytes, wherever the sends were: one byte more than a
 * message is sent, then the rest of the second one.
 */
static bool check_parsed(struct topology *t)
{
	size_t len = t->redirect->parse_len;
	struct message first, head, second, rest, extra;

	fill(&extra, 2 * len);
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

	fill(&sent, 2);
	expected = sent;
	expected.len = 1;
	if (!deliver(t, &sent, &expected, WAIT_POLL, MSG_OOB))
		return false;
	if (!CHECK_ERR(recv(t->in.mapped, &byte, 1, MSG_OOB | MSG_DONTWAIT) < 0 ? -errno : 0,
		       EOPNOTSUPP, "%s: recv(MSG_OOB) of a socket in a map", t->direction))
		return false;
	return CHECK_OK(socket_map_delete(in_map_fd(t), KEY_IN), "delete in.mapped") &&
	       CHECK_ERR(recv(t->in.mapped, &byte, 1, MSG_OOB | MSG_DONTWAIT) < 0 ? -errno : 0,
			 EINVAL, "%s: recv(MSG_OOB) after it left the map", t->direction) &&
	       CHECK_OK(socket_map_update(in_map_fd(t), KEY_IN, t->in.mapped, BPF_NOEXIST),
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

	fill(&m, 100);
	expect_verdict(t, SK_DROP, m.len);
	n = send_message(t->sender, &m, 0);
	if (t->redirect->outcome == REFUSED) {
		if (!CHECK_ERR(n, t->redirect->error, "%s: send", t->direction))
			return false;
	} else if (!CHECK_EQ(n, m.len, "%s: send", t->direction)) {
		return false;
	}
	return check_verdicts(t) && check_all_empty(t);
}

static bool send_across(int from, int to, const char *what)
{
	struct recv_report report;
	char buf[MESSAGE_MAX];
	struct message m;
	ssize_t n;

	fill(&m, 100);
	if (!CHECK_EQ(send_message(from, &m, 0), m.len, "%s: send", what))
		return false;
	n = recv_timeout(to, buf, sizeof(buf), 0, timeout_ms(), &report);
	return check_received(what, n, &report, "") &&
	       CHECK_BYTES(buf, n, m.bytes, m.len, "%s: received", what);
}

void check_traffic(const struct sock_pair *pair)
{
	if (send_across(pair->peer, pair->mapped, "ordinary traffic to the mapped end"))
		send_across(pair->mapped, pair->peer, "ordinary traffic to the peer");
}

static void describe(const struct redirect *r)
{
	static const char *const hooks[] = {
		[HOOK_MSG_VERDICT] = "sk_msg",
		[HOOK_STREAM_VERDICT] = "parser+verdict",
		[HOOK_SKB_VERDICT] = "sk_skb",
	};

	check_scope("%s->%s, %s%s%s%s%s%s", r->in->name, r->out->name, hooks[r->hook],
		    r->two_maps ? ", two maps" : "", r->mapped_peers ? ", mapped peers" : "",
		    r->by_link ? ", link" : "", r->oob ? ", MSG_OOB" : "",
		    r->parse_len ? ", partial" : "");
}

void check_redirect(const struct redirect *redirect)
{
	struct topology t __auto_topology = TOPOLOGY_NONE;
	bool ok;

	describe(redirect);
	ok = set_up(&t, redirect) &&
	     (redirect->outcome == DELIVERED ? check_delivered(&t) : check_dropped(&t)) &&
	     remove_sockets(&t);
	if (ok) {
		check_traffic(&t.in);
		if (!redirect->to_listener)
			check_traffic(&t.out);
	}
	check_scope(NULL);
}
