// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a list of events means. Pure functions of the list: no kernel, no clock, no files.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/bpf.h>

#include "harness/timeline.h"
#include "network_helpers.h"

/* A worker that takes longer to start than this is worth a word. */
#define LATE_NS (10 * NSEC_PER_MSEC)

/* What has data and does nothing for so long, until a check fails, will not go on by itself. */
#define STUCK_NS (500 * NSEC_PER_MSEC)

static const struct {
	const char *event;
	const char *function; /* of the kernel; NULL: user space */
} points[TL_NR_POINTS] = {
	[TL_SEND] = { "send", NULL },
	[TL_SENT] = { "send returns", NULL },
	[TL_EXPECT] = { "expected", NULL },
	[TL_ASLEEP] = { "reader asleep", NULL },
	[TL_WOKEN] = { "reader awake", NULL },
	[TL_READ] = { "read", NULL },
	[TL_MISPLACED] = { "data is here", NULL },
	[TL_FAILED] = { "check failed", NULL },
	[TL_ARRIVED] = { "data arrives", "sk_psock_verdict_data_ready" },
	[TL_VERDICT] = { "verdict", "sk_psock_verdict_apply" },
	[TL_MSG_VERDICT] = { "verdict", "sk_psock_msg_verdict" },
	[TL_WORK_QUEUED] = { "work queued", "sk_psock_skb_redirect" },
	[TL_REFUSED] = { "redirect refused", "sk_psock_skb_redirect" },
	[TL_WORK_RUNS] = { "worker begins", "sk_psock_backlog" },
	[TL_WORK_ENDS] = { "worker ends", "sk_psock_backlog" },
	[TL_QUEUED] = { "data queued", "sk_psock_skb_ingress_enqueue" },
	[TL_SKB_SENT] = { "data sent", "skb_send_sock" },
	[TL_MSG_REDIRECT] = { "message redirected", "tcp_bpf_sendmsg_redir" },
	[TL_MSG_REFUSED] = { "message refused", "tcp_bpf_sendmsg_redir" },
	[TL_MSG_PUSHED] = { "message sent", "tcp_bpf_push" },
	[TL_DATA_READY] = { "data_ready", "sock_def_readable" },
	[TL_WRITE_SPACE] = { "write_space", "sk_psock_write_space" },
	[TL_WAKING] = { "wakes", "try_to_wake_up" },
	[TL_POLLED] = { "poll", "poll" },
	[TL_TAKEN] = { "data taken", "sk_msg_recvmsg" },
};

/* The function that an event comes from; NULL: none of the kernel. */
static const char *function_of(const struct timeline_event *e)
{
	static const char *const polls[] = {
		[TL_TCP_POLL] = "tcp_poll",	[TL_UDP_POLL] = "udp_poll",
		[TL_UNIX_POLL] = "unix_poll",	[TL_UNIX_DGRAM_POLL] = "unix_dgram_poll",
		[TL_VSOCK_POLL] = "vsock_poll",
	};

	if (e->point == TL_POLLED && e->more < ARRAY_SIZE(polls))
		return polls[e->more];
	if (e->point == TL_ARRIVED && e->more)
		return "sk_psock_strp_data_ready";
	return points[e->point].function;
}

static const char *error_name(int64_t value)
{
	return (value < 0 ? strerrorname_np((int)-value) : NULL) ?: "no errno";
}

/* ---- The part that counts ---------------------------------------------------------------------- */

static bool leads_up_to_send(const struct timeline_event *e)
{
	return e->point == TL_ASLEEP || e->point == TL_EXPECT;
}

/* The last one before i that belongs to something earlier, and so where the part with i begins. */
static unsigned int begin_of(const struct timeline *all, unsigned int i)
{
	unsigned int begin = i;

	while (i-- > 0) {
		const struct timeline_event *e = &all->events[i];

		if (e->point == TL_READ || e->point == TL_SENT)
			break;
		if (leads_up_to_send(e))
			begin = i;
	}
	return begin;
}

static unsigned int find_failure(const struct timeline *all)
{
	unsigned int i = 0;

	while (i < all->nr_events && all->events[i].point != TL_FAILED)
		i++;
	return i;
}

/*
 * Bytes that were sent and are still to be read; may fall below 0, for a look that is followed by a
 * read can count twice.
 */
static int64_t count_outstanding(int64_t bytes, const struct timeline_event *e, bool to_be_dropped)
{
	if (e->point == TL_SENT && e->value > 0 && !to_be_dropped)
		return (bytes < 0 ? 0 : bytes) + e->value;
	if (e->point == TL_READ && e->value > 0)
		return bytes - e->value;
	return bytes;
}

/* One delivery after the other; what passed ends with ordinary traffic, which nobody asks about. */
bool timeline_cut(const struct timeline *all, struct timeline *part)
{
	unsigned int failure = find_failure(all), begin = 0, end = 0;
	bool failed = failure < all->nr_events, any = false, through = true, due = false;
	bool to_be_dropped = false;
	int64_t bytes = 0;

	for (unsigned int i = 0; i < failure; i++) {
		const struct timeline_event *e = &all->events[i];

		bytes = count_outstanding(bytes, e, to_be_dropped);
		if (e->point == TL_EXPECT) {
			due = true;
			to_be_dropped = e->value != SK_PASS;
		} else if (e->point == TL_SEND && through && (failed || due || !any)) {
			begin = begin_of(all, i);
			any = true;
			through = false;
		} else if (e->point == TL_READ && e->value >= 0 && bytes <= 0 && !through) {
			through = true;
			due = false;
			end = i + 1;
		}
	}
	end = failed ? failure + 1 : through && any ? end : failure;
	*part = *all;
	part->events = all->events + begin;
	part->nr_events = end - begin;
	return any;
}

static uint64_t time_of_send(const struct timeline *part)
{
	for (unsigned int i = 0; i < part->nr_events; i++) {
		if (part->events[i].point == TL_SEND)
			return part->events[i].ns;
	}
	return part->nr_events ? part->events[0].ns : 0;
}

/* ---- Events in words --------------------------------------------------------------------------- */

/* The latest name: a socket that a pair named is renamed by those who know its part. */
static const char *name_of(const struct timeline *t, uint64_t cookie, char *buf, size_t size)
{
	snprintf(buf, size, "%s", cookie ? "" : "a socket");
	if (cookie)
		snprintf(buf, size, "socket %llu", (unsigned long long)cookie);
	for (unsigned int i = 0; i < t->nr_names; i++) {
		if (t->names[i].cookie == cookie && *t->names[i].name)
			snprintf(buf, size, "%s", t->names[i].name);
	}
	return buf;
}

static void describe_verdict(const struct timeline *t, const struct timeline_event *e, char *text,
			     size_t size)
{
	char name[64];

	if (e->value != TL_REDIRECT)
		snprintf(text, size, e->value == TL_PASS ? "pass" : "drop");
	else
		snprintf(text, size, "redirect to %s%s",
			 e->more & TL_ANY_DIRECTION ? ""
			 : e->more & BPF_F_INGRESS  ? "the ingress of "
						    : "the egress of ",
			 name_of(t, e->target, name, sizeof(name)));
}

static void describe_fate(const struct timeline_event *e, char *text, size_t size)
{
	static const char *const fates[] = {
		[RECV_ARRIVED] = "",
		[RECV_UNREADY] = "gave up: data is queued, and poll does not say so",
		[RECV_NO_WAKEUP] = "gave up: data is queued, and the reader still sleeps",
		[RECV_MISDIRECTED] = "gave up: the data is elsewhere",
		[RECV_LOST] = "gave up: no data anywhere",
		[RECV_SPURIOUS] = "woken, and nothing to read",
	};

	if (e->value >= 0)
		snprintf(text, size, "%lld bytes", (long long)e->value);
	else if (e->more < ARRAY_SIZE(fates) && fates[e->more] && *fates[e->more])
		snprintf(text, size, "%s", fates[e->more]);
	else
		snprintf(text, size, "%s", error_name(e->value));
}

static void describe_length(const struct timeline_event *e, char *text, size_t size)
{
	if (e->value < 0)
		snprintf(text, size, "%s", error_name(e->value));
	else
		snprintf(text, size, "%lld bytes", (long long)e->value);
}

static void describe_expected(const struct timeline *t, const struct timeline_event *e, char *text,
			      size_t size)
{
	char reader[64];

	snprintf(text, size, e->value == SK_PASS ? "%llu bytes%s%s" : "a drop of %llu bytes",
		 (unsigned long long)e->more, e->target ? ", read at " : "",
		 e->target ? name_of(t, e->target, reader, sizeof(reader)) : "");
}

static void describe_detail(const struct timeline *t, const struct timeline_event *e, char *text,
			    size_t size)
{
	text[0] = '\0';
	switch (e->point) {
	case TL_VERDICT:
	case TL_MSG_VERDICT:
		describe_verdict(t, e, text, size);
		break;
	case TL_EXPECT:
		describe_expected(t, e, text, size);
		break;
	case TL_READ:
		describe_fate(e, text, size);
		break;
	case TL_ASLEEP:
		snprintf(text, size, "in %s", wait_method_name((enum wait_method)e->value));
		break;
	case TL_WORK_QUEUED:
		name_of(t, e->target, text, size);
		snprintf(text + strlen(text), size - strlen(text), "'s backlog");
		break;
	case TL_WORK_RUNS:
	case TL_WORK_ENDS:
		if (e->value != TL_UNKNOWN)
			snprintf(text, size, "%lld on the backlog%s", (long long)e->value,
				 e->more ? ", the pipe is broken" : "");
		break;
	case TL_QUEUED:
		snprintf(text, size, "%lld bytes from offset %llu", (long long)e->value,
			 (unsigned long long)e->more);
		break;
	case TL_DATA_READY:
		if (e->value != TL_UNKNOWN)
			snprintf(text, size, "%lld messages queued by sockmap",
				 (long long)e->value);
		break;
	case TL_WAKING:
		snprintf(text, size, "%.*s/%lld", TIMELINE_TEXT_MAX, e->text, (long long)e->value);
		break;
	case TL_POLLED:
		snprintf(text, size, "%s%s (0x%llx)",
			 e->value & POLLIN ? "readable" : "not readable",
			 e->value & POLLHUP ? ", hung up" : "", (unsigned long long)e->value);
		break;
	case TL_TAKEN:
		describe_length(e, text, size);
		if (e->more & MSG_PEEK)
			snprintf(text + strlen(text), size - strlen(text), ", only looked at");
		break;
	case TL_MSG_PUSHED:
		snprintf(text, size, "%s", e->value < 0 ? error_name(e->value) : "");
		break;
	case TL_SEND:
	case TL_SENT:
	case TL_REFUSED:
	case TL_SKB_SENT:
	case TL_MSG_REFUSED:
	case TL_MISPLACED:
		describe_length(e, text, size);
		break;
	}
}

void timeline_describe(const struct timeline *t, unsigned int i, struct timeline_line *line)
{
	const struct timeline_event *e = &t->events[i];
	char name[64] = "";

	*line = (struct timeline_line){
		.us = (double)(int64_t)(e->ns - time_of_send(t)) / 1000,
		.cpu = e->cpu,
		.tid = e->tid,
		.event = points[e->point].event,
		.times = 1,
	};
	snprintf(line->thread, sizeof(line->thread), "%.*s", TIMELINE_TEXT_MAX - 1, e->comm);
	if (e->sock)
		name_of(t, e->sock, name, sizeof(name));
	snprintf(line->socket, sizeof(line->socket), "%.*s", (int)sizeof(line->socket) - 1, name);
	describe_detail(t, e, line->detail, sizeof(line->detail));
}

/* ---- The conclusion ---------------------------------------------------------------------------- */

bool timeline_queues_work(const struct timeline *t, const struct timeline_event *e)
{
	if (t->unseen & 1ULL << TL_WORK_QUEUED)
		return e->point == TL_VERDICT && e->value == TL_REDIRECT && e->target;
	return e->point == TL_WORK_QUEUED && e->target;
}

/* An skb on the backlog of a socket. */
struct waiting {
	uint64_t skb, target;
	bool left, overtaken;
};

/* An skb that is sent in parts, and where the next one has to begin. */
struct sending {
	uint64_t skb, sock, offset;
};

/* What the events add up to. Pointers are to the latest event of that kind, or NULL. */
struct trail {
	const struct timeline *t;
	const struct timeline_event *last; /* of the kernel, about a socket: where the trail ends */
	const struct timeline_event *send, *sent, *expect, *arrived, *verdict, *refused;
	const struct timeline_event *work_queued, *work_runs, *work_ends;
	const struct timeline_event *redirected, *pushed; /* messages */
	const struct timeline_event *last_queued; /* at any socket; the next one at the target */
	const struct timeline_event *queued, *skb_sent, *data_ready, *waking, *polled;
	const struct timeline_event *asleep, *read, *misplaced, *failed;
	const struct timeline_event *write_space; /* of the sender, since the send */
	const struct timeline_event *due;	  /* the expectation that is the latest so far */
	const struct timeline_event *wrong_target, *wrong_direction; /* verdicts */
	const struct timeline_event *resent;	/* skb that is not sent on from where it was left */
	const struct timeline_event *reordered; /* skb that left the backlog after a later one */
	uint64_t reader, target; /* cookies: who reads, where the verdict has to redirect to */
	uint64_t expected_bytes, queued_bytes;
	uint64_t asked_bytes, all_queued_bytes; /* to be sent; queued by sockmap, wherever */
	uint64_t late_ns;			/* the longest wait for the worker */
	bool any_kernel; /* else nothing can be concluded from what is not there */
	struct waiting waiting[512];
	unsigned int nr_waiting;
	struct sending sending;
	bool taken_any;
};

static bool is_seen(const struct trail *r, enum timeline_point point)
{
	return r->any_kernel && !(r->t->unseen & 1ULL << point);
}

static void find_reader(struct trail *r)
{
	for (unsigned int i = 0; i < r->t->nr_events; i++) {
		const struct timeline_event *e = &r->t->events[i];

		if (e->point == TL_EXPECT) {
			r->expect = e;
			r->reader = e->target;
			r->target = e->sock;
			r->expected_bytes += e->value == SK_PASS ? e->more : 0;
		} else if (e->point == TL_ASLEEP && !r->expect) {
			r->reader = e->sock;
		}
	}
}

/*
 * What leaves a backlog has to do so in the order in which it was put there. An skb may leave in
 * several parts, and then another one may have its address.
 */
static void put_on_backlog(struct trail *r, const struct timeline_event *e)
{
	unsigned int kept = 0;

	/* Another skb, though at the same address. */
	if (r->sending.skb == e->skb)
		r->sending = (struct sending){};
	for (unsigned int i = 0; i < r->nr_waiting; i++) {
		if (!r->waiting[i].left)
			r->waiting[kept++] = r->waiting[i];
	}
	r->nr_waiting = kept;
	if (kept < ARRAY_SIZE(r->waiting))
		r->waiting[r->nr_waiting++] =
			(struct waiting){ .skb = e->skb, .target = e->target };
}

static void take_off_backlog(struct trail *r, const struct timeline_event *e)
{
	unsigned int i = 0;

	while (i < r->nr_waiting && (r->waiting[i].skb != e->skb || r->waiting[i].left))
		i++;
	if (i == r->nr_waiting)
		return;
	/* That it was overtaken shows when it comes; it may have been dropped. */
	if (r->waiting[i].overtaken)
		r->reordered = r->reordered ?: e;
	r->waiting[i].left = true;
	for (unsigned int k = 0; k < i; k++) {
		if (r->waiting[k].target == r->waiting[i].target && !r->waiting[k].left)
			r->waiting[k].overtaken = true;
	}
}

/* It has to be what was expected when it was given: a test may go on to other sockets. */
static void note_verdict(struct trail *r, const struct timeline_event *e)
{
	const struct timeline_event *due = r->due;

	r->verdict = e;
	if (!due || !due->sock || e->value != TL_REDIRECT)
		return;
	if (e->target && e->target != due->sock)
		r->wrong_target = e;
	else if (e->target && due->target && !(e->more & TL_ANY_DIRECTION) &&
		 (due->target == due->sock) != !!(e->more & BPF_F_INGRESS))
		r->wrong_direction = e;
}

static void note_worker(struct trail *r, const struct timeline_event *e)
{
	if (timeline_queues_work(r->t, e)) {
		r->work_queued = e;
		r->work_runs = r->work_ends = NULL;
	} else if (!r->work_queued || r->work_queued->target != e->sock) {
		return;
	} else if (e->point == TL_WORK_ENDS) {
		r->work_ends = e;
	} else {
		if (!r->work_runs && e->ns - r->work_queued->ns > r->late_ns)
			r->late_ns = e->ns - r->work_queued->ns;
		r->work_runs = e;
	}
}

static void follow_parts(struct trail *r, const struct timeline_event *e)
{
	struct sending *s = &r->sending;
	uint32_t offset = TL_PART_OFFSET(e->more);

	if (s->skb == e->skb && s->sock == e->sock && s->offset != offset)
		r->resent = r->resent ?: e;
	/* Another skb may get the address of one that is through, or given up. */
	if (e->value == -EAGAIN)
		*s = (struct sending){ e->skb, e->sock, offset };
	else if (e->value >= 0 && e->value < TL_PART_LEN(e->more))
		*s = (struct sending){ e->skb, e->sock, offset + e->value };
	else
		*s = (struct sending){};
}

static void note_queued(struct trail *r, unsigned int i)
{
	const struct timeline_event *e = &r->t->events[i];

	take_off_backlog(r, e);
	if (e->point == TL_SKB_SENT) {
		follow_parts(r, e);
		r->skb_sent = e;
	}
	if (e->point == TL_QUEUED && e->value > 0) {
		r->all_queued_bytes += e->value;
		r->last_queued = e;
	}
	/* It goes into the target: to be read there, or to be sent on. */
	if (e->value < 0 || e->sock != r->target)
		return;
	r->queued = e;
	r->queued_bytes += e->value;
}

static void note_event(struct trail *r, unsigned int i)
{
	const struct timeline_event *e = &r->t->events[i];
	bool at_reader = e->sock && e->sock == r->reader;

	switch (e->point) {
	case TL_SEND:
		r->send = e;
		r->sent = r->write_space = NULL;
		r->asked_bytes += e->value;
		break;
	case TL_SENT:
		r->sent = e;
		break;
	case TL_EXPECT:
		r->due = e;
		break;
	case TL_ARRIVED:
		r->arrived = e;
		break;
	case TL_VERDICT:
	case TL_MSG_VERDICT:
		note_verdict(r, e);
		if (timeline_queues_work(r->t, e))
			note_worker(r, e);
		break;
	case TL_WORK_QUEUED:
		put_on_backlog(r, e);
		note_worker(r, e);
		break;
	case TL_WORK_RUNS:
	case TL_WORK_ENDS:
		note_worker(r, e);
		break;
	case TL_REFUSED:
	case TL_MSG_REFUSED:
		r->refused = e;
		break;
	case TL_QUEUED:
	case TL_SKB_SENT:
		note_queued(r, i);
		break;
	case TL_MSG_REDIRECT:
		r->redirected = e;
		break;
	case TL_MSG_PUSHED:
		r->pushed = e;
		break;
	case TL_DATA_READY:
		r->data_ready = at_reader ? e : r->data_ready;
		break;
	case TL_WAKING:
		if (r->data_ready && strcmp(e->text, "reader") == 0)
			r->waking = e;
		break;
	case TL_POLLED:
		r->polled = at_reader ? e : r->polled;
		break;
	case TL_WRITE_SPACE:
		r->write_space = r->send && e->sock == r->send->sock ? e : r->write_space;
		break;
	case TL_TAKEN:
		r->taken_any |= at_reader && e->value > 0;
		break;
	case TL_ASLEEP:
		r->asleep = e;
		break;
	case TL_READ:
		r->read = e;
		break;
	case TL_MISPLACED:
		r->misplaced = e;
		break;
	case TL_FAILED:
		r->failed = e;
		break;
	}
	r->any_kernel |= points[e->point].function != NULL;
	/* Where the data went; the looks of a reader that waits in vain are no part of it. */
	if (points[e->point].function && e->sock && e->point != TL_POLLED && e->point != TL_TAKEN)
		r->last = e;
}

static void follow(struct trail *r, const struct timeline *t)
{
	*r = (struct trail){ .t = t };
	find_reader(r);
	for (unsigned int i = 0; i < t->nr_events; i++)
		note_event(r, i);
}

struct words {
	char *text;
	size_t size;
};

__attribute__((format(printf, 2, 3))) static bool say(struct words *w, const char *fmt, ...)
{
	size_t used = strlen(w->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->text + used, w->size - used, fmt, ap);
	va_end(ap);
	return true;
}

static bool say_end(const struct trail *r, struct words *w, const struct timeline_event *e)
{
	char name[64];

	e = e ?: r->last;
	if (!e || !function_of(e))
		return true;
	return say(w, "; the trail ends in %s() of %s", function_of(e),
		   name_of(r->t, e->sock, name, sizeof(name)));
}

/* Where the data is not to blame, what is. */
static bool say_failure(const struct trail *r, struct words *w)
{
	static const char *const about[] = {
		[TL_CONDITION] = "what failed",
		[TL_NUMBER] = "what failed is a number",
		[TL_BYTES] = "what failed is the content",
	};

	return !r->failed || !r->t->failure || !*r->t->failure ||
	       say(w, "; %s: %s", about[r->failed->value], r->t->failure);
}

static bool judge_send(const struct trail *r, struct words *w)
{
	if (!r->sent || r->sent->value >= 0 || (r->expect && r->expect->value != SK_PASS))
		return false;
	return say(w, "send() fails with %s", error_name(r->sent->value)) &&
	       say_end(r, w, r->refused);
}

static bool judge_verdict(const struct trail *r, struct words *w)
{
	char got[64], want[64];

	if (!r->expect)
		return false;
	if (!r->verdict) {
		if (!r->sent || !is_seen(r, TL_VERDICT) || !is_seen(r, TL_MSG_VERDICT))
			return false;
		return say(w, r->arrived ? "the verdict program never ran, though data arrived"
					 : "the verdict program never ran: no data came to it") &&
		       say_end(r, w, r->arrived);
	}
	if (r->expect->value != SK_PASS)
		return r->verdict->value != TL_DROP &&
		       say(w,
			   "not dropped: the kernel does not take the program's verdict for a drop") &&
		       say_end(r, w, r->verdict);
	if (r->verdict->value == TL_DROP)
		return say(w, "dropped by the verdict") && say_end(r, w, r->verdict);
	if (r->target && r->verdict->value == TL_PASS)
		return say(w, "passed on instead of redirected") && say_end(r, w, r->verdict);
	if (r->wrong_target)
		return say(w, "wrong target: %s instead of %s",
			   name_of(r->t, r->wrong_target->target, got, sizeof(got)),
			   name_of(r->t, r->target, want, sizeof(want))) &&
		       say_end(r, w, r->wrong_target);
	if (r->wrong_direction)
		return say(w, "wrong direction: %s, and the reader is at %s",
			   r->wrong_direction->more & BPF_F_INGRESS ? "ingress" : "egress",
			   name_of(r->t, r->reader, want, sizeof(want))) &&
		       say_end(r, w, r->wrong_direction);
	return false;
}

/* The check that failed looked at a number: so it may be that nobody has tried to read yet. */
static bool is_about_number(const struct trail *r)
{
	return r->failed && r->failed->value == TL_NUMBER;
}

/* Reading went wrong, or not enough was read. */
static bool is_missing_data(const struct trail *r)
{
	return r->read ? r->read->value < 0 : !is_about_number(r);
}

static bool is_stuck(const struct trail *r)
{
	return r->work_ends->value > 0 &&
	       (is_missing_data(r) ||
		(r->failed && r->last == r->work_ends && r->failed->ns - r->last->ns > STUCK_NS));
}

static bool judge_worker(const struct trail *r, struct words *w)
{
	char name[64];

	if (r->refused)
		return say(w, "refused with %s", error_name(r->refused->value)) &&
		       say_end(r, w, r->refused);
	if (!r->work_queued)
		return false;
	name_of(r->t, r->work_queued->target, name, sizeof(name));
	if (!r->work_runs && is_seen(r, TL_WORK_RUNS) && is_missing_data(r))
		return say(w, "the backlog worker of %s never ran%s", name,
			   r->work_queued->point == TL_VERDICT ? ", or it was refused" : "") &&
		       say_end(r, w, r->work_queued);
	if (r->work_ends && r->work_ends->more)
		return say(w, "the backlog worker of %s broke the pipe", name) &&
		       say_end(r, w, r->work_ends);
	if (r->work_ends && is_stuck(r))
		return say(w, "left on the backlog of %s, and the worker does not come back for it",
			   name) &&
		       say_end(r, w, r->work_ends);
	return false;
}

static bool is_later(const struct timeline_event *e, const struct timeline_event *than)
{
	return e && e->ns >= than->ns;
}

/* The verdict may be about more than one message, and be followed for the first one only. */
static bool judge_message(const struct trail *r, struct words *w)
{
	const struct timeline_event *verdict = r->verdict;
	char name[64];

	if (!is_missing_data(r))
		return false;
	if (r->redirected && r->redirected->sock == r->reader && r->pushed &&
	    r->pushed->sock == r->reader && is_later(r->pushed, r->redirected))
		return say(w, "wrong direction: sent on by %s, where the reader is",
			   name_of(r->t, r->reader, name, sizeof(name))) &&
		       say_end(r, w, r->pushed);
	if (verdict && verdict->point == TL_MSG_VERDICT && verdict->value != TL_DROP &&
	    is_seen(r, TL_MSG_PUSHED) && is_seen(r, TL_MSG_REDIRECT) &&
	    !is_later(r->pushed, verdict) && !is_later(r->redirected, verdict))
		return say(w, "held back: neither sent nor redirected after the verdict") &&
		       say_end(r, w, verdict);
	return false;
}

/* One that has not come after the later one: still there, or dropped. */
static bool has_overtaken(const struct trail *r)
{
	for (unsigned int i = 0; i < r->nr_waiting; i++) {
		if (r->waiting[i].overtaken && !r->waiting[i].left)
			return true;
	}
	return false;
}

/* Without an expectation it is known that no more arrives than was sent. */
static bool judge_excess(const struct trail *r, struct words *w)
{
	return r->failed && r->all_queued_bytes > r->asked_bytes &&
	       say(w, "%llu bytes queued, and %llu sent: some are repeated",
		   (unsigned long long)r->all_queued_bytes, (unsigned long long)r->asked_bytes) &&
	       say_end(r, w, r->last_queued);
}

static bool judge_queue(const struct trail *r, struct words *w)
{
	if (r->skb_sent && r->skb_sent->value < 0 && r->skb_sent->value != -EAGAIN)
		return say(w, "sending it on fails with %s", error_name(r->skb_sent->value)) &&
		       say_end(r, w, r->skb_sent);
	if (r->pushed && r->pushed->value < 0)
		return say(w, "sending it on fails with %s", error_name(r->pushed->value)) &&
		       say_end(r, w, r->pushed);
	if (r->reordered)
		return say(w, "reordered on the backlog: what came later left it earlier") &&
		       say_end(r, w, r->reordered);
	if (r->resent)
		return say(w,
			   "sent on from the wrong place: at offset %u of an skb, of which a part had gone",
			   TL_PART_OFFSET(r->resent->more)) &&
		       say_end(r, w, r->resent);
	if (r->failed && has_overtaken(r))
		return say(w, "left behind on the backlog: what came later left it earlier") &&
		       say_end(r, w, r->work_ends);
	if (!r->expect)
		return judge_excess(r, w);
	if (!r->queued || !is_seen(r, r->queued->point) || r->queued_bytes == r->expected_bytes)
		return false;
	/* What is still to come is not lost. */
	if (r->queued_bytes < r->expected_bytes && is_about_number(r) && !is_missing_data(r))
		return false;
	return say(w, "%llu bytes %s where %llu are due: %s", (unsigned long long)r->queued_bytes,
		   r->queued->point == TL_QUEUED ? "queued" : "sent on",
		   (unsigned long long)r->expected_bytes,
		   r->queued_bytes > r->expected_bytes ? "some are repeated" : "some are lost") &&
	       say_end(r, w, r->queued);
}

/*
 * What hangs may wait for the reader to go on, so it is asked about last; and it has all the time to do
 * so while somebody looks at a number.
 */
static bool judge_hang(const struct trail *r, struct words *w)
{
	return !r->sent && !is_about_number(r) &&
	       say(w, "send() does not return%s",
		   r->write_space ? ", though there was room: the sender is not woken" : "") &&
	       say_end(r, w, r->write_space);
}

static bool judge_unready(const struct trail *r, struct words *w)
{
	const char *woken = r->waking	    ? "woken"
			    : r->data_ready ? "queued, data_ready called"
					    : "queued";

	return say(w, "%s, but poll says not readable", woken) &&
	       say_end(r, w, r->polled ?: r->data_ready);
}

static bool judge_wakeup(const struct trail *r, struct words *w)
{
	if (r->data_ready || !is_seen(r, TL_DATA_READY))
		return say(w, "queued, but the reader is not woken") &&
		       say_end(r, w, r->data_ready);
	return say(w,
		   "queued, but the reader is not woken: its data_ready callback was never called") &&
	       say_end(r, w, r->queued);
}

/* Those who wait by their own means record no read: what is queued, is it to be seen? */
static bool judge_unread(const struct trail *r, struct words *w)
{
	const struct timeline_event *ready = r->data_ready, *polled = r->polled;

	if (!r->failed || !r->any_kernel)
		return false;
	if (!ready && r->queued && r->queued->sock == r->reader && is_seen(r, TL_DATA_READY))
		return judge_wakeup(r, w);
	if (!ready || ready->value <= 0)
		return false;
	if (polled && polled->ns > ready->ns && !(polled->value & POLLIN))
		return judge_unready(r, w);
	return say(w, "queued at the reader, and not read yet") && say_end(r, w, ready) &&
	       say_failure(r, w);
}

/* The read worked, and did not look where sockmap queues. */
static bool judge_read_past(const struct trail *r, struct words *w)
{
	if (!is_seen(r, TL_TAKEN) || r->taken_any || !r->data_ready || r->data_ready->value <= 0)
		return false;
	return say(w, "queued by sockmap, and the read gets %s instead",
		   r->read->value ? "other data" : "the end of the stream") &&
	       say_end(r, w, NULL);
}

static bool judge_reader(const struct trail *r, struct words *w)
{
	char got[64], want[64];

	if (r->misplaced)
		return say(w, "delivered to %s instead of %s",
			   name_of(r->t, r->misplaced->sock, got, sizeof(got)),
			   name_of(r->t, r->reader, want, sizeof(want))) &&
		       say_end(r, w, NULL);
	if (!r->read)
		return judge_unread(r, w);
	if (r->read->value >= 0)
		return judge_read_past(r, w);
	switch (r->read->more) {
	case RECV_UNREADY:
		return judge_unready(r, w);
	case RECV_NO_WAKEUP:
		return judge_wakeup(r, w);
	case RECV_SPURIOUS:
		return say(w, "the reader was woken, and there was nothing to read%s",
			   !r->verdict && is_seen(r, TL_VERDICT) && is_seen(r, TL_MSG_VERDICT)
				   ? ": the verdict program never ran"
				   : "") &&
		       say_end(r, w, NULL);
	case RECV_LOST:
		return say(w,
			   r->data_ready && r->data_ready->value > 0
				   ? "queued at the reader, but not to be read"
			   : r->any_kernel && !r->last
				   ? "lost, and none of the functions that are watched has seen it"
				   : "lost") &&
		       say_end(r, w, NULL);
	default:
		return say(w, "the read fails with %s", error_name(r->read->value)) &&
		       say_end(r, w, NULL);
	}
}

static bool judge_delivered(const struct trail *r, struct words *w)
{
	if (r->expect && r->expect->value != SK_PASS)
		return say(w, "dropped by the verdict, as it has to be") && say_failure(r, w);
	if (!r->read)
		return say(w,
			   r->sent ? "sent, and not read yet" : "being sent, and not read yet") &&
		       say_end(r, w, NULL) && say_failure(r, w);
	return say(w, "delivered: the reader got data %.1f us after the send%s",
		   (double)(r->read->ns - time_of_send(r->t)) / 1000,
		   r->failed ? ", and no step on the way shows a fault" : "") &&
	       say_failure(r, w);
}

void timeline_conclude(const struct timeline *part, char *text, size_t size)
{
	struct words w = { text, size };
	struct trail r;

	text[0] = '\0';
	follow(&r, part);
	if (!r.send) {
		say(&w, "nothing was sent");
		return;
	}
	(void)(judge_send(&r, &w) || judge_verdict(&r, &w) || judge_worker(&r, &w) ||
	       judge_message(&r, &w) || judge_queue(&r, &w) || judge_hang(&r, &w) ||
	       judge_reader(&r, &w) || judge_delivered(&r, &w));
	if (r.late_ns > LATE_NS)
		say(&w, "; the backlog worker was late by %.1f ms",
		    (double)r.late_ns / NSEC_PER_MSEC);
}
