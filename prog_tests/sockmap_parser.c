// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records in a TCP stream: a stream parser finds where each of them ends, and a verdict program
 * passes, redirects or drops it.
 *
 * Most of the scenarios are scripts: these records, sent in pieces of this size. After each piece
 * just the records have arrived, each where its verdict says, that are complete by then; in the
 * end each has had one verdict, from a program that saw all of it.
 *
 * Records that are passed come in one piece: of a socket that is read while more comes to its parser,
 * the kernel counts what was read wrong (copied_seq), on all kernels up to 7.3 now and then, and the
 * stream stalls.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "harness/harness.h"
#include "harness/scenario.h"
#include "network_helpers.h"
#include "progs/records.h"
#include "progs/verdicts.h"
#include "parser.skel.h"
#include "redirect.skel.h"

#define STREAM_MAX  (512 << 10)
#define RECORDS_MAX 4096
#define HEADER	    sizeof(struct record)

enum verdict {
	GO, /* the way that the scenario is about: pass or redirect */
	PASS,
	DROP,
};

struct script {
	struct {
		size_t len; /* of the record, with its header */
		enum verdict verdict;
	} records[8];	    /* ends with a length of 0 */
	unsigned int times; /* that they are sent; 0: once */
	size_t piece;	    /* bytes in a send; 0: all */
};

/* ---- Setting up ------------------------------------------------------------------------------ */

#define __auto_parser __attribute__((cleanup(free_parser)))
static void free_parser(struct parser_bpf **skel)
{
	parser_bpf__destroy(*skel);
}

static struct parser_bpf *load_programs(const struct topology *t)
{
	int out_map = bpf_map__fd(t->skel->maps.out_map);
	struct parser_bpf *skel = parser_bpf__open();

	if (!CHECK(skel, "open the BPF object: %s", strerror(errno)))
		return NULL;
	skel->rodata->use_sockhash = t->redirect->map == BPF_MAP_TYPE_SOCKHASH;
	skel->rodata->redirect_flags = t->redirect->ingress ? BPF_F_INGRESS : 0;
	if (!CHECK_OK(bpf_map__reuse_fd(skel->maps.out_map, out_map), "reuse the map") ||
	    !CHECK_OK(parser_bpf__load(skel), "load the BPF object")) {
		parser_bpf__destroy(skel);
		return NULL;
	}
	track_bpf_object(skel->obj);
	return skel;
}

static bool attach(const struct topology *t, const struct parser_bpf *skel)
{
	int map = topology_in_map(t);

	return CHECK_OK(attach_program(skel->progs.parse_record, map, BPF_SK_SKB_STREAM_PARSER),
			"attach the parser") &&
	       CHECK_OK(attach_program(skel->progs.judge_record, map, BPF_SK_SKB_STREAM_VERDICT),
			"attach the verdict program");
}

static struct parser_bpf *replace_programs(const struct topology *t)
{
	struct parser_bpf *skel = load_programs(t);

	if (skel && attach(t, skel) && topology_reinsert(t))
		return skel;
	parser_bpf__destroy(skel);
	return NULL;
}

/* ---- Records --------------------------------------------------------------------------------- */

/* Where they arrive. */
enum { AT_TARGET, AT_MAPPED, NR_OUTLETS };

/* A stream of records, and how far it has come. */
struct stream {
	struct parser_bpf *skel;
	const struct topology *t;
	size_t len, sent;
	unsigned int nr_records, arrived;
	struct {
		size_t start, len;
		enum verdict verdict;
	} records[RECORDS_MAX];
	uint64_t sum; /* of the last bytes of the records */
	char bytes[STREAM_MAX];
};

static __u32 way_of(const struct topology *t, enum verdict verdict)
{
	if (verdict == DROP)
		return RECORD_DROP;
	return verdict == PASS || t->redirect->pass ? RECORD_PASS : RECORD_REDIRECT;
}

static void add_header(struct stream *s, __u32 len, enum verdict verdict)
{
	struct record header = { .len = htonl(len), .way = htonl(way_of(s->t, verdict)) };

	memcpy(s->bytes + s->len, &header, HEADER);
	s->len += HEADER;
}

static void add_record(struct stream *s, size_t len, enum verdict verdict)
{
	unsigned int i = s->nr_records++;

	s->records[i].start = s->len;
	s->records[i].len = len;
	s->records[i].verdict = verdict;
	add_header(s, len, verdict);
	fill_pattern(s->bytes + s->len, len - HEADER, new_seed(), 0);
	s->len += len - HEADER;
	s->sum += (unsigned char)s->bytes[s->len - 1];
}

/* It is large: one for each subtest, which is a process. */
static struct stream *new_stream(const struct topology *t, struct parser_bpf *skel)
{
	static struct stream s;

	s.t = t;
	s.skel = skel;
	return &s;
}

static int outlet(const struct topology *t, enum verdict verdict)
{
	return verdict == GO ? t->target : t->in.mapped;
}

/* How many of the next records are complete by now, and have this verdict: they arrive as one stream. */
static unsigned int run_of(const struct stream *s, enum verdict verdict)
{
	unsigned int i;

	for (i = s->arrived; i < s->nr_records && s->records[i].verdict == verdict; i++) {
		if (s->records[i].start + s->records[i].len > s->sent)
			break;
	}
	return i - s->arrived;
}

/* A record that is redirected to ingress is a message there: it comes in one read, with room for more. */
static bool check_message(int fd, const void *want, size_t len, const char *what)
{
	static char buf[STREAM_MAX];

	return check_poll(fd, POLLIN, what) &&
	       CHECK_BYTES(buf, read_now(fd, buf, sizeof(buf)), want, len, "%s, in one read", what);
}

static bool is_complete(const struct stream *s, unsigned int i)
{
	return i < s->nr_records && s->records[i].start + s->records[i].len <= s->sent;
}

/* So many of them, from the first that has not been read on. */
static bool check_records(const struct stream *s, enum verdict verdict, unsigned int n,
			  const void *want, size_t len, const char *what)
{
	const struct redirect *r = s->t->redirect;

	if (verdict == DROP)
		return true;
	if (n == 1 && !is_complete(s, s->arrived + 1) && verdict == GO && r->ingress && !r->pass)
		return check_message(s->t->target, want, len, what);
	return check_stream(outlet(s->t, verdict), want, len, what);
}

/* The records that are complete by now, and nothing more. */
static bool check_complete(struct stream *s)
{
	while (s->arrived < s->nr_records) {
		unsigned int first = s->arrived, n = run_of(s, s->records[first].verdict);
		enum verdict verdict = s->records[first].verdict;
		size_t start = s->records[first].start, len = 0;
		char what[64];

		if (n == 0)
			break;
		for (unsigned int i = first; i < first + n; i++)
			len += s->records[i].len;
		snprintf(what, sizeof(what), "records %u to %u, %zu bytes", first, first + n - 1,
			 len);
		if (!check_records(s, verdict, n, s->bytes + start, len, what))
			return false;
		s->arrived += n;
	}
	return topology_check_empty(s->t);
}

static bool send_up_to(struct stream *s, size_t end, size_t piece)
{
	while (s->sent < end) {
		size_t len = piece && piece < end - s->sent ? piece : end - s->sent;
		ssize_t n = send(s->t->sender, s->bytes + s->sent, len, 0);

		if (!CHECK_EQ(n < 0 ? -errno : n, len, "send from byte %zu on", s->sent))
			return false;
		s->sent += len;
		if (!check_complete(s))
			return false;
	}
	return true;
}

static bool wait_for_records(const struct stream *s)
{
	uint64_t deadline = now_ns() + patience_ms() * NSEC_PER_MSEC;

	while (read_counter(&s->skel->bss->parsing.records) < s->arrived && now_ns() < deadline)
		usleep(1000);
	return CHECK_EQ(s->skel->bss->parsing.records, s->arrived, "records with a verdict");
}

static bool check_parsing(const struct stream *s)
{
	const struct parsing *p = &s->skel->bss->parsing;
	bool ok = wait_for_records(s);

	ok &= CHECK_EQ(p->incomplete, 0, "verdicts about records that are not all there");
	ok &= CHECK_EQ(p->changed_headers, 0, "verdicts that found another record than the parser");
	ok &= CHECK_EQ(p->changed_cb, 0, "verdicts with another cb[] than the parser");
	return ok && CHECK_EQ(p->sum, s->sum, "sum of the last bytes of the records");
}

static bool check_whole_stream(struct stream *s, size_t piece)
{
	return send_up_to(s, s->len, piece) && check_parsing(s);
}

static void play(struct topology *t)
{
	const struct script *script = this_scenario()->data;
	struct parser_bpf *skel __auto_parser = replace_programs(t);
	struct stream *s = new_stream(t, skel);

	if (!skel)
		return;
	for (unsigned int n = 0; n < (script->times ?: 1); n++) {
		for (unsigned int i = 0; script->records[i].len; i++)
			add_record(s, script->records[i].len, script->records[i].verdict);
	}
	if (check_whole_stream(s, script->piece) && topology_remove_sockets(t))
		topology_check_traffic(t);
}

/* ---- Half a record --------------------------------------------------------------------------- */

/* A record, and the first bytes of the next one, which has 100: in one piece, or of this size. */
static struct stream *send_half_in(struct topology *t, struct parser_bpf *skel, size_t len,
				   size_t piece)
{
	struct stream *s;

	if (!skel)
		return NULL;
	s = new_stream(t, skel);
	add_record(s, 50, GO);
	add_record(s, 100, GO);
	return send_up_to(s, 50 + len, piece) ? s : NULL;
}

static struct stream *send_half(struct topology *t, struct parser_bpf *skel, size_t len)
{
	return send_half_in(t, skel, len, 0);
}

static void fin_half(struct topology *t)
{
	struct parser_bpf *skel __auto_parser = replace_programs(t);

	if (!send_half(t, skel, 60) ||
	    !CHECK_OK(shutdown(t->sender, SHUT_WR) ? -errno : 0, "shutdown"))
		return;
	check_end_of_stream(t->in.mapped, 0, "behind half a record");
	if (t->target != t->in.mapped)
		check_nothing(t->target, "no half a record at the target");
	CHECK_EQ(skel->bss->parsing.records, 1, "records with a verdict");
}

/* A socket keeps the programs that its map had when it came. */
static void replace(struct topology *t)
{
	struct parser_bpf *skel __auto_parser = replace_programs(t);
	struct stream *s = send_half(t, skel, this_scenario()->value);
	struct parser_bpf *other __auto_parser = s ? load_programs(t) : NULL;

	if (s && other && attach(t, other))
		check_whole_stream(s, 0);
}

static void detach(struct topology *t)
{
	struct parser_bpf *skel __auto_parser = replace_programs(t);
	struct stream *s = send_half(t, skel, this_scenario()->value);
	int map = topology_in_map(t);

	if (s &&
	    CHECK_OK(detach_program(skel->progs.judge_record, map, BPF_SK_SKB_STREAM_VERDICT),
		     "detach the verdict program") &&
	    CHECK_OK(detach_program(skel->progs.parse_record, map, BPF_SK_SKB_STREAM_PARSER),
		     "detach the parser"))
		check_whole_stream(s, 0);
}

/* What the parser holds goes with it. */
static void leave(struct topology *t)
{
	struct parser_bpf *skel __auto_parser = replace_programs(t);

	if (send_half(t, skel, this_scenario()->value) && topology_remove_sockets(t))
		topology_check_traffic(t);
}

/* Its timer runs when it is closed. */
static bool set_timeout(int fd, unsigned int ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	return CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) ? -errno : 0,
			"SO_RCVTIMEO");
}

static void close_half(struct topology *t)
{
	struct parser_bpf *skel __auto_parser = replace_programs(t);

	if (!set_timeout(t->in.mapped, 60000) || !send_half(t, skel, this_scenario()->value))
		return;
	close_fd(&t->in.mapped);
	check_poll(t->sender, POLLIN | POLLRDHUP, "the sender");
	if (t->target >= 0 && !t->redirect->pass)
		check_nothing(t->target, "nothing at the target");
}

/* Longer than it takes to send half a record and to leave, on a slow machine. */
#define CLOCK_MS 1000

/*
 * The clock of a record that was left running goes off in memory that belongs to other sockets of a
 * map by then. The timer wheel may be late by an eighth.
 */
static bool outlive_clock(const struct topology *t)
{
	uint64_t end = now_ns() + (CLOCK_MS + CLOCK_MS / 4) * NSEC_PER_MSEC;

	while (now_ns() < end) {
		struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;

		if (!CHECK_OK(make_pair(t->in.kind, &pair), "make another pair") ||
		    !CHECK_OK(socket_map_update(topology_in_map(t), KEY_IN, pair.mapped, BPF_ANY),
			      "insert its mapped end"))
			return false;
		usleep(500);
	}
	return true;
}

/* How much the parser has taken by then is its own affair: the stream is not read. */
static void leave_armed(struct topology *t)
{
	struct parser_bpf *skel __auto_parser = replace_programs(t);

	if (set_timeout(t->in.mapped, CLOCK_MS) && send_half_in(t, skel, 60, 50) &&
	    topology_remove_sockets(t))
		outlive_clock(t);
}

static void close_armed(struct topology *t)
{
	struct parser_bpf *skel __auto_parser = replace_programs(t);

	if (!set_timeout(t->in.mapped, CLOCK_MS) || !send_half_in(t, skel, 60, 50))
		return;
	close_fd(&t->in.mapped);
	outlive_clock(t);
}

/* ---- Errors ---------------------------------------------------------------------------------- */

static bool check_error(int fd, int want)
{
	return check_poll(fd, POLLERR, "the parser's socket") &&
	       check_socket_error(fd, want, "the parser's socket");
}

/* What came before the error has arrived; nothing does after it. */
static bool send_bad(struct stream *s, __u32 len, size_t piece)
{
	add_record(s, 50, GO);
	if (!send_up_to(s, s->len, 0))
		return false;
	add_header(s, len, GO);
	return send_up_to(s, s->len, piece) && check_parsing(s);
}

struct error {
	__u32 len;    /* what the parser returns */
	size_t piece; /* bytes in a send; 0: all */
	int want;
};

static void error(struct topology *t)
{
	const struct error *e = this_scenario()->data;
	struct parser_bpf *skel __auto_parser = replace_programs(t);

	if (skel && send_bad(new_stream(t, skel), e->len, e->piece))
		check_error(t->in.mapped, e->want);
}

/* Longer than it takes to look at all sockets, on a slow machine, after the clock has started. */
#define TIMEOUT_MS 500

/*
 * A record has to be complete in the time that a reader would wait: where it begins a segment, since
 * of others the parser finds enough bytes in the socket, those of the record before.
 */
static void timeout(struct topology *t)
{
	struct parser_bpf *skel __auto_parser = replace_programs(t);

	if (set_timeout(t->in.mapped, TIMEOUT_MS) &&
	    send_half_in(t, skel, this_scenario()->value, 50))
		check_error(t->in.mapped, ETIMEDOUT);
}

#define IN_TIME_MS 3000

/* The clock stops when the record is complete, and is not heard of later. */
static void in_time(struct topology *t)
{
	struct parser_bpf *skel __auto_parser = replace_programs(t);
	struct stream *s = NULL;

	if (set_timeout(t->in.mapped, IN_TIME_MS))
		s = send_half_in(t, skel, 60, 50);
	if (!s || !send_up_to(s, s->len, 0))
		return;
	/* The timer wheel may be late by an eighth. */
	usleep((IN_TIME_MS + IN_TIME_MS / 6) * 1000);
	add_record(s, 70, GO);
	check_whole_stream(s, 0);
}

/* ---- Others ---------------------------------------------------------------------------------- */

/* There are records before there is a parser. More than these could stall (see above). */
static void before_insertion(struct topology *t)
{
	struct parser_bpf *skel __auto_parser = load_programs(t);
	struct stream *s = new_stream(t, skel);
	int map = topology_in_map(t);

	if (!skel || !attach(t, skel) ||
	    !CHECK_OK(socket_map_delete(map, KEY_IN), "delete in.mapped"))
		return;
	add_record(s, 50, GO);
	add_record(s, 70, GO);
	add_record(s, 80, GO);
	if (!CHECK_EQ(send(t->sender, s->bytes, 200, 0), 200, "send early") ||
	    !check_poll(t->in.mapped, POLLIN, "early data") ||
	    !CHECK_OK(socket_map_update(map, KEY_IN, t->in.mapped, BPF_NOEXIST), "insert"))
		return;
	s->sent = 200;
	if (check_complete(s))
		check_whole_stream(s, 0);
}

/* The kernel's worker moves records one by one. */
static bool check_readable(int fd, int want, const char *what)
{
	uint64_t deadline = now_ns() + patience_ms() * NSEC_PER_MSEC;

	while (bytes_readable(fd) < want && now_ns() < deadline)
		usleep(1000);
	return CHECK_EQ(bytes_readable(fd), want, "%s", what);
}

/* FIONREAD counts what the reader can get, and that is complete records. */
static void fionread(struct topology *t)
{
	enum feature counts = feature_of_kind(FEAT_FIONREAD, t->target_kind);
	struct parser_bpf *skel __auto_parser = NULL;
	struct stream *s;
	char text[256];

	if (!have_feature(counts)) {
		skip("%s", feature_missing(counts, text, sizeof(text)));
		return;
	}
	skel = replace_programs(t);
	if (!skel)
		return;
	s = new_stream(t, skel);
	add_record(s, 50, GO);
	add_record(s, 70, GO);
	add_record(s, 200, GO);
	if (CHECK_EQ(send(t->sender, s->bytes, 200, 0), 200, "send") &&
	    check_poll(t->target, POLLIN, "two records") &&
	    check_readable(t->target, 120, "FIONREAD of two records and a half")) {
		s->sent = 200;
		if (check_complete(s) && CHECK_EQ(bytes_readable(t->target), 0, "FIONREAD, read"))
			check_whole_stream(s, 0);
	}
}

/* ---- The plan -------------------------------------------------------------------------------- */

#define ANY_WAY	   (PARSER_PASS | PARSER_INGRESS | PARSER_EGRESS)
#define REDIRECTED (PARSER_INGRESS | PARSER_EGRESS)

#define SCRIPT(...)                                 \
	.run = play, .data = &(const struct script) \
	{                                           \
		__VA_ARGS__                         \
	}
#define RECORDS(...) .records = { __VA_ARGS__ }
#define GOES(bytes)                           \
	{                                     \
		.len = (bytes), .verdict = GO \
	}
#define PASSES(bytes)                           \
	{                                       \
		.len = (bytes), .verdict = PASS \
	}
#define DROPS(bytes)                            \
	{                                       \
		.len = (bytes), .verdict = DROP \
	}

#define THOUSANDS \
	SCRIPT(RECORDS(GOES(8), GOES(31), GOES(16), GOES(9)), .times = 700, .piece = 10000)

#define ERROR(...)                                  \
	.run = error, .data = &(const struct error) \
	{                                           \
		__VA_ARGS__                         \
	}

static const struct kinds tcp[] = { { .in = "tcp4" }, { .in = "tcp6" }, {} };
static const struct kinds tcp4[] = { { .in = "tcp4" }, {} };

static const struct fix offset_fixes[] = {
	{ "7303524e04af", "skmsg: Lose offset info in sk_psock_skb_ingress" },
	{ "e0dc3b93bd7b", "bpf: sockmap, strparser, and tls are reusing qdisc_skb_cb and "
			  "colliding" },
	{},
};

static const struct fix linearize_fixes[] = {
	{ "5ca2e29f6834", "bpf, sockmap: Fix panic when calling skb_linearize" },
	{},
};

static const struct fix last_fixes[] = {
	{ "583585e48d96", "skmsg: Fix wrong last sg check in sk_msg_recvmsg()" },
	{},
};

static const struct fix done_fixes[] = {
	{ "809e4dc71a0f", "bpf, sockmap: Fix bug that strp_done cannot be called" },
	{},
};

static const struct fix stall_fixes[] = {
	{ "ea444185a6bf", "bpf, sockmap: TCP data stall on recv before accept" },
	{},
};

static const struct scenario scenarios[] = {
	{ "one", REDIRECTED, tcp,
	  SCRIPT(RECORDS(GOES(8), GOES(9), GOES(100), GOES(4000)), .piece = 100) },
	{ "joined", ANY_WAY, tcp,
	  SCRIPT(RECORDS(GOES(50), GOES(8), GOES(700), GOES(9)), .times = 3),
	  .guards = offset_fixes },
	{ "joined-hash", REDIRECTED, tcp4, SCRIPT(RECORDS(GOES(50), GOES(8), GOES(700))),
	  .with = { .map = BPF_MAP_TYPE_SOCKHASH }, .guards = offset_fixes },
	{ "bytes", REDIRECTED, tcp4, SCRIPT(RECORDS(GOES(30), GOES(8), GOES(12)), .piece = 1) },
	{ "misaligned", REDIRECTED, tcp4,
	  SCRIPT(RECORDS(GOES(100), GOES(9), GOES(778), GOES(20), GOES(3000)), .times = 2,
		 .piece = 777),
	  .guards = offset_fixes },
	{ "large", REDIRECTED, tcp, SCRIPT(RECORDS(GOES(65536), GOES(50), GOES(40000))) },
	{ "large-split", REDIRECTED, tcp4,
	  SCRIPT(RECORDS(GOES(65536), GOES(50), GOES(40000)), .piece = 3001) },
	{ "many-pieces", REDIRECTED, tcp, SCRIPT(RECORDS(GOES(4000)), .times = 2, .piece = 100),
	  .guards = linearize_fixes },
	/* As many as a message can have elements, and one or two more or less. */
	{ "pieces", REDIRECTED, tcp4,
	  SCRIPT(RECORDS(GOES(1600), GOES(1700), GOES(1800), GOES(1900), GOES(2000)), .piece = 100),
	  .guards = last_fixes },
	{ "thousands", PARSER_EGRESS, tcp4, THOUSANDS },
	/* The worker charges the target without its lock, and who reads meanwhile upsets that. */
	{ "thousands", PARSER_INGRESS, tcp4, THOUSANDS,
	  .needs = (feature_set)1 << FEAT_KNOWN_RACES },
	{ "dispatch", ANY_WAY, tcp4,
	  SCRIPT(RECORDS(GOES(50), DROPS(20), GOES(8), DROPS(30), GOES(500)), .times = 2),
	  .guards = offset_fixes },
	{ "dispatch-three", REDIRECTED, tcp4,
	  SCRIPT(RECORDS(GOES(50), DROPS(20), PASSES(8), DROPS(30), GOES(500), PASSES(40))),
	  .guards = offset_fixes },
	{ "dispatch-split", REDIRECTED, tcp4,
	  SCRIPT(RECORDS(GOES(50), DROPS(20), GOES(8), DROPS(30), GOES(500)), .times = 2,
		 .piece = 33) },

	{ "half-fin", ANY_WAY, tcp, .run = fin_half },
	{ "half-replace", ANY_WAY, tcp4, .run = replace, .value = 60 },
	{ "half-header-replace", ANY_WAY, tcp4, .run = replace, .value = 5 },
	{ "half-detach", ANY_WAY, tcp4, .run = detach, .value = 60 },
	{ "half-leave", ANY_WAY, tcp, .run = leave, .value = 60, .guards = done_fixes },
	{ "half-header-leave", ANY_WAY, tcp4, .run = leave, .value = 5, .guards = done_fixes },
	{ "half-close", ANY_WAY, tcp, .run = close_half, .value = 60, .guards = done_fixes },
	{ "half-header-close", ANY_WAY, tcp4, .run = close_half, .value = 5, .guards = done_fixes },
	{ "half-leave-armed", PARSER_INGRESS, tcp4, .run = leave_armed, .guards = done_fixes },
	{ "half-close-armed", PARSER_INGRESS, tcp4, .run = close_armed, .guards = done_fixes },
	{ "half-timeout", ANY_WAY, tcp4, .run = timeout, .value = 60 },
	{ "half-header-timeout", ANY_WAY, tcp4, .run = timeout, .value = 5 },
	{ "half-in-time", PARSER_INGRESS, tcp4, .run = in_time },

	{ "error", ANY_WAY, tcp4, ERROR((__u32)-EPROTONOSUPPORT, 0, EPROTONOSUPPORT) },
	{ "error-late", ANY_WAY, tcp4, ERROR((__u32)-EPROTONOSUPPORT, 3, EPROTONOSUPPORT) },
	{ "interrupted", ANY_WAY, tcp4, ERROR((__u32)-ESTRPIPE, 0, ESTRPIPE) },
	{ "interrupted-late", ANY_WAY, tcp4, ERROR((__u32)-ESTRPIPE, 3, ENODATA) },
	{ "too-long", ANY_WAY, tcp4, ERROR(INT32_MAX, 0, EMSGSIZE) },
	{ "too-short", ANY_WAY, tcp4, ERROR(4, 5, EPROTO) },

	{ "before-insertion", PARSER_PASS, tcp, .run = before_insertion, .guards = stall_fixes },
	{ "fionread", PARSER_PASS | PARSER_INGRESS, tcp4, .run = fionread },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return scenario_describe(scenarios, ARRAY_SIZE(scenarios), i, sub);
}

static void run(unsigned int i)
{
	scenario_run(scenarios, ARRAY_SIZE(scenarios), i);
}

DEFINE_TEST(sockmap_parser, describe, run);
