// SPDX-License-Identifier: GPL-2.0-only
/*
 * What sk_msg programs do to a stream: bpf_msg_apply_bytes(), cork_bytes(), pull_data(),
 * pop_data() and push_data(), alone and together, with data that is passed, redirected and dropped.
 *
 * Most of the scenarios are scripts: the program takes a step for each of its runs, user space makes
 * some sends. A model of sk_msg, a few lines of C, tells from the same script what each send has to
 * return, which bytes have to arrive after it and where, how often the program runs, on how many
 * bytes, and what its helpers return. The others are about what happens around a program: ways to
 * send, two senders, sends that do not wait, corked data whose socket goes away.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "harness/fault.h"
#include "harness/harness.h"
#include "harness/scenario.h"
#include "network_helpers.h"
#include "progs/msg_script.h"
#include "progs/verdicts.h"
#include "msg.skel.h"
#include "redirect.skel.h"

#define SENDS_MAX  18
#define STREAM_MAX (512 << 10)

enum verdict {
	END, /* of the steps; no verdict */
	GO,  /* the way that the scenario is about: pass or redirect */
	PASS,
	DROP,
};

/*
 * Sends end with the first 0, steps with END, and the last one is repeated. Between two runs for the same message, PASS must not follow a GO
 * that redirects: the kernel keeps the target with the message, and goes on redirecting.
 */
struct script {
	struct step {
		enum verdict verdict;
		unsigned int cork, apply;
		struct msg_range pull, pop, push;
		unsigned int flags; /* of the helpers for these */
	} steps[9];
	size_t sends[SENDS_MAX];
	bool apart; /* what is sent gets memory that is not next to that of the send before */
};

/* ---- The model ------------------------------------------------------------------------------- */

struct bytes {
	size_t len;
	char at[STREAM_MAX];
};

/* Where bytes go. */
enum { TO_TARGET, TO_PEER, NR_OUTLETS };

struct model {
	const struct msg_step *steps;
	unsigned int nr_runs;
	struct msg_run runs[MSG_STEPS];

	struct bytes message;		/* sent by the program's owner, and not yet on its way */
	const struct msg_step *verdict; /* that stands; NULL: the program is to be asked */
	size_t apply;			/* bytes that it still stands for; 0: the message at hand */
	size_t cork;			/* bytes to come before the program is asked again */
	__u32 to_target;		/* the verdict after which bytes go to the target */
	struct bytes out[NR_OUTLETS];	/* all that was let through so far */
};

static bool inside(const struct msg_range *range, size_t size)
{
	return range->start < size && range->len <= size - range->start;
}

static int model_pull(struct bytes *m, const struct msg_range *pull)
{
	if (!inside(pull, m->len))
		return -EINVAL;
	for (size_t i = 0; i < pull->len && i < MSG_TOUCH_MAX; i++)
		m->at[pull->start + i] ^= 0xff;
	return 0;
}

static int model_pop(struct bytes *m, const struct msg_range *pop)
{
	size_t end = (size_t)pop->start + pop->len;

	if (!inside(pop, m->len))
		return -EINVAL;
	memmove(m->at + pop->start, m->at + end, m->len - end);
	m->len -= pop->len;
	return 0;
}

static int model_push(struct bytes *m, const struct msg_range *push)
{
	char *hole = m->at + push->start;

	if (push->start > m->len)
		return -EINVAL;
	memmove(hole + push->len, hole, m->len - push->start);
	for (size_t i = 0; i < push->len; i++)
		hole[i] = (char)MSG_PUSHED(i);
	m->len += push->len;
	return 0;
}

static void model_changes(struct bytes *m, const struct msg_step *step, struct msg_run *run)
{
	if (step->pull.len)
		run->pull = model_pull(m, &step->pull);
	if (step->pop.len)
		run->pop = model_pop(m, &step->pop);
	if (step->push.len)
		run->push = model_push(m, &step->push);
}

static void model_program(struct model *m)
{
	unsigned int i = m->nr_runs < MSG_STEPS ? m->nr_runs : MSG_STEPS - 1;
	const struct msg_step *step = &m->steps[i];

	m->nr_runs++;
	m->runs[i] = (struct msg_run){ .size = m->message.len };
	if (step->flags)
		m->runs[i].pull = m->runs[i].pop = m->runs[i].push = -EINVAL;
	else
		model_changes(&m->message, step, &m->runs[i]);
	m->verdict = step;
	m->apply = step->apply;
}

static void model_let_through(struct model *m, size_t n)
{
	struct bytes *out = &m->out[m->verdict->verdict == m->to_target ? TO_TARGET : TO_PEER];

	memcpy(out->at + out->len, m->message.at, n);
	out->len += n;
	memmove(m->message.at, m->message.at + n, m->message.len - n);
	m->message.len -= n;
}

/*
 * What send(2) returns. A verdict is about apply bytes, in this message and those to come, or about
 * one message. Where the program wants more bytes than there are, nothing happens before there are.
 * What is dropped is the whole of the message, and counts as not sent.
 */
static ssize_t model_send(struct model *m, const char *bytes, size_t len)
{
	memcpy(m->message.at + m->message.len, bytes, len);
	m->message.len += len;
	m->cork -= len < m->cork ? len : m->cork;
	if (m->cork)
		return len;

	while (m->message.len) {
		size_t n, before = m->message.len;

		if (!m->verdict)
			model_program(m);
		if (m->verdict->cork > m->message.len) {
			m->cork = m->verdict->cork - m->message.len;
			m->verdict = NULL;
			return len;
		}
		if (m->verdict->verdict == SCRIPT_DROP) {
			m->message.len = 0;
			return before < len ? (ssize_t)(len - before) : -EACCES;
		}
		n = m->apply && m->apply < m->message.len ? m->apply : m->message.len;
		model_let_through(m, n);
		m->apply -= m->apply ? n : 0;
		if (!m->apply)
			m->verdict = NULL;
	}
	return len;
}

/* ---- Setting up ------------------------------------------------------------------------------ */

#define __auto_msg __attribute__((cleanup(free_msg)))
static void free_msg(struct msg_bpf **skel)
{
	msg_bpf__destroy(*skel);
}

static struct msg_bpf *load_program(const struct topology *t)
{
	int out_map = bpf_map__fd(t->skel->maps.out_map);
	struct msg_bpf *skel = msg_bpf__open();

	if (!CHECK(skel, "open the BPF object: %s", strerror(errno)))
		return NULL;
	skel->rodata->use_sockhash = t->redirect->map == BPF_MAP_TYPE_SOCKHASH;
	skel->rodata->redirect_flags = t->redirect->ingress ? BPF_F_INGRESS : 0;
	if (!CHECK_OK(bpf_map__reuse_fd(skel->maps.out_map, out_map), "reuse the map") ||
	    !CHECK_OK(msg_bpf__load(skel), "load the BPF object")) {
		msg_bpf__destroy(skel);
		return NULL;
	}
	track_bpf_object(skel->obj);
	return skel;
}

static struct msg_bpf *replace_program(const struct topology *t)
{
	struct msg_bpf *skel = load_program(t);

	if (!skel)
		return NULL;
	if (CHECK_OK(attach_program(skel->progs.msg_script, topology_in_map(t), BPF_SK_MSG_VERDICT),
		     "attach the program") &&
	    topology_reinsert(t))
		return skel;
	msg_bpf__destroy(skel);
	return NULL;
}

static __u32 verdict_of(const struct topology *t, enum verdict verdict)
{
	if (verdict == DROP)
		return SCRIPT_DROP;
	return verdict == PASS || t->redirect->pass ? SCRIPT_PASS : SCRIPT_REDIRECT;
}

static void write_script(const struct topology *t, struct msg_bpf *skel, const struct step *steps)
{
	for (unsigned int i = 0, s = 0; i < MSG_STEPS; i++) {
		const struct step *step = &steps[s];

		skel->bss->steps[i] = (struct msg_step){
			.cork = step->cork,
			.apply = step->apply,
			.pull = step->pull,
			.pop = step->pop,
			.push = step->push,
			.flags = step->flags,
			.verdict = verdict_of(t, step->verdict),
		};
		if (step[1].verdict != END)
			s++;
	}
}

/* ---- Scripts --------------------------------------------------------------------------------- */

/* What has come since the last time, and no more. */
static bool check_outlet(int fd, const struct bytes *out, size_t *seen, const char *what)
{
	bool ok = out->len == *seen || check_stream(fd, out->at + *seen, out->len - *seen, what);

	*seen = out->len;
	return ok && check_nothing(fd, what);
}

static bool check_runs(const struct model *m, const struct msg_bpf *skel)
{
	bool ok = CHECK_EQ(skel->bss->nr_runs, m->nr_runs, "runs of the program");

	for (unsigned int i = 0; ok && i < m->nr_runs && i < MSG_STEPS; i++) {
		const struct msg_run *run = &skel->bss->runs[i];

		ok &= CHECK_EQ(run->size, m->runs[i].size, "run %u: size of the message", i);
		ok &= CHECK_EQ(run->pull, m->runs[i].pull, "run %u: bpf_msg_pull_data()", i);
		ok &= CHECK_EQ(run->pop, m->runs[i].pop, "run %u: bpf_msg_pop_data()", i);
		ok &= CHECK_EQ(run->push, m->runs[i].push, "run %u: bpf_msg_push_data()", i);
	}
	return ok;
}

/* The memory for what is sent comes from one place: what takes some of it stands between. */
static bool take_memory(const struct topology *t)
{
	return CHECK_EQ(send(t->in.peer, "x", 1, 0), 1, "send the other way") &&
	       check_stream(t->in.mapped, "x", 1, "the other way");
}

static bool check_script(const struct topology *t, struct msg_bpf *skel,
			 const struct script *script)
{
	static struct model model;
	static struct bytes data;
	size_t seen[NR_OUTLETS] = {};

	write_script(t, skel, script->steps);
	model.steps = skel->bss->steps;
	model.to_target = verdict_of(t, GO);
	for (unsigned int i = 0; i < SENDS_MAX && script->sends[i]; i++) {
		char what[32];
		ssize_t want, n;

		if (script->apart && !take_memory(t))
			return false;
		data.len = script->sends[i];
		fill_pattern(data.at, data.len, new_seed(), 0);
		want = model_send(&model, data.at, data.len);
		n = send(t->in.mapped, data.at, data.len, 0);
		snprintf(what, sizeof(what), "send %u of %zu bytes", i, data.len);
		if (!CHECK_EQ(n < 0 ? -errno : n, want, "%s", what) || !check_runs(&model, skel) ||
		    !check_outlet(t->target, &model.out[TO_TARGET], &seen[TO_TARGET], what) ||
		    (t->target != t->in.peer &&
		     !check_outlet(t->in.peer, &model.out[TO_PEER], &seen[TO_PEER], what)))
			return false;
	}
	return true;
}

static void play(struct topology *t)
{
	struct msg_bpf *skel __auto_msg = replace_program(t);

	if (skel && check_script(t, skel, this_scenario()->data) && topology_check_empty(t) &&
	    topology_remove_sockets(t))
		topology_check_traffic(t);
}

/* ---- Ways to send ---------------------------------------------------------------------------- */

enum way { SENDFILE, SPLICE, IOVECS, MORE, ZEROCOPY };

static ssize_t send_file(int fd, int file, size_t len)
{
	off_t offset = 0;

	return sendfile(fd, file, &offset, len);
}

/* A page at a time, which a pipe always holds. */
static ssize_t send_pipe(int fd, const char *bytes, size_t len)
{
	int pipe_fds[2];
	size_t done = 0;
	ssize_t n = 1;

	if (pipe(pipe_fds))
		return -1;
	while (done < len && n > 0) {
		size_t part = len - done < 4096 ? len - done : 4096;

		n = write(pipe_fds[1], bytes + done, part);
		if (n > 0)
			n = splice(pipe_fds[0], NULL, fd, NULL, n, 0);
		done += n > 0 ? n : 0;
	}
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return n < 0 ? n : (ssize_t)done;
}

#define IOVECS_MAX 100

/* Of 1, 2, 3, ... bytes, and the rest. */
static ssize_t send_iovecs(int fd, char *bytes, size_t len)
{
	struct iovec iov[IOVECS_MAX];
	struct msghdr msg = { .msg_iov = iov };
	size_t done = 0;

	while (done < len) {
		size_t left = len - done, i = msg.msg_iovlen++;

		iov[i].iov_base = bytes + done;
		iov[i].iov_len = i == IOVECS_MAX - 1 || left <= i ? left : i + 1;
		done += iov[i].iov_len;
	}
	return sendmsg(fd, &msg, 0);
}

static ssize_t send_more(int fd, const char *bytes, size_t len)
{
	ssize_t first = send(fd, bytes, len / 3, MSG_MORE);
	ssize_t rest = first < 0 ? first : send(fd, bytes + first, len - first, 0);

	return rest < 0 ? rest : first + rest;
}

static ssize_t send_zerocopy(int fd, const char *bytes, size_t len)
{
	const int one = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)))
		return -1;
	return send(fd, bytes, len, MSG_ZEROCOPY);
}

static ssize_t send_by(enum way way, int fd, int file, char *bytes, size_t len)
{
	switch (way) {
	case SENDFILE:
		return send_file(fd, file, len);
	case SPLICE:
		return send_pipe(fd, bytes, len);
	case IOVECS:
		return send_iovecs(fd, bytes, len);
	case MORE:
		return send_more(fd, bytes, len);
	case ZEROCOPY:
		return send_zerocopy(fd, bytes, len);
	}
	return -1;
}

#define FILE_LEN 20000

/*
 * Which messages the program gets differs between ways and kernels, so what it does must not depend
 * on them. It changes bytes, which must be its own: not those of the file, nor of the sender.
 */
static void ways(struct topology *t)
{
	static const struct step steps[] = { { .verdict = GO, .pull = { 3, 8 }, .apply = 100 },
					     { .verdict = GO, .apply = 700 },
					     {} };
	struct msg_bpf *skel __auto_msg = replace_program(t);
	int file __auto_close = memfd_create("data", MFD_CLOEXEC);
	static char data[FILE_LEN], want[FILE_LEN], after[FILE_LEN];
	ssize_t n;

	if (!skel || !CHECK_OK(file < 0 ? -errno : 0, "memfd_create"))
		return;
	fill_pattern(data, sizeof(data), new_seed(), 0);
	memcpy(want, data, sizeof(want));
	for (unsigned int i = 3; i < 3 + 8; i++)
		want[i] ^= 0xff;
	write_script(t, skel, steps);
	if (!CHECK_EQ(write(file, data, sizeof(data)), sizeof(data), "write a file"))
		return;
	memcpy(after, data, sizeof(after));
	n = send_by(this_scenario()->value, t->in.mapped, file, after, sizeof(after));
	if (!CHECK_EQ(n < 0 ? -errno : n, sizeof(data), "sent") ||
	    !check_stream(t->target, want, sizeof(want), "data") || !topology_check_empty(t))
		return;
	CHECK_BYTES(after, sizeof(after), data, sizeof(data), "the sender's bytes, after");
	CHECK_BYTES(after, pread(file, after, sizeof(after), 0), data, sizeof(data),
		    "the file, after");
}

/* ---- Two senders ------------------------------------------------------------------------------ */

/* Larger than the segments of loopback: a window that is smaller opens but slowly. */
#define SMALL_BUFFER (128 << 10)
#define PUMPED	     (1 << 20)

struct histogram {
	size_t count[256];
};

static void count_bytes(struct histogram *h, const unsigned char *bytes, size_t n)
{
	while (n--)
		h->count[*bytes++]++;
}

static void count_pattern(struct histogram *h, size_t len, uint32_t seed)
{
	static unsigned char buf[1 << 16];

	for (size_t offset = 0; offset < len; offset += sizeof(buf)) {
		fill_pattern(buf, sizeof(buf), seed, offset);
		count_bytes(h, buf, sizeof(buf));
	}
}

static bool read_bytes(int fd, size_t len, struct histogram *h)
{
	static unsigned char buf[1 << 16];

	while (len) {
		struct recv_report report;
		ssize_t n = recv_timeout(fd, buf, len < sizeof(buf) ? len : sizeof(buf), 0,
					 patience_ms(), &report);

		if (!check_received("what two senders sent", n, &report, ""))
			return false;
		count_bytes(h, buf, n);
		len -= n;
	}
	return true;
}

/* Who sends what first is open; but each byte comes once. */
static void two_senders(struct topology *t)
{
	static const struct step steps[] = { { .verdict = GO, .apply = 5000 }, {} };
	struct msg_bpf *skel __auto_msg = replace_program(t);
	const int size = SMALL_BUFFER;
	struct histogram sent = {}, got = {};
	struct pump *pumps[2];
	bool ok;

	if (!skel)
		return;
	write_script(t, skel, steps);
	setsockopt(t->in.mapped, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	for (unsigned int i = 0; i < ARRAY_SIZE(pumps); i++) {
		uint32_t seed = new_seed();

		count_pattern(&sent, PUMPED, seed);
		if (!CHECK_OK(pump_start(&pumps[i], t->in.mapped, PUMPED, 30000, seed),
			      "start a sender"))
			return;
	}
	ok = read_bytes(t->target, 2 * PUMPED, &got);
	for (unsigned int i = 0; i < ARRAY_SIZE(pumps); i++)
		ok &= CHECK_EQ(pump_finish(pumps[i]), PUMPED, "bytes of sender %u", i);
	if (ok && CHECK(!memcmp(&sent, &got, sizeof(sent)), "the bytes that were sent arrive"))
		topology_check_empty(t);
}

/* ---- More than there is room for --------------------------------------------------------------- */

static bool set_size(int fd, int option, int size)
{
	return CHECK_OK(setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size)) ? -errno : 0,
			"set the size of a buffer");
}

/* What send(2) says that it has sent arrives, and no more: the rest of the message is given back. */
static void dont_wait(struct topology *t)
{
	static const struct step steps[][2] = { { { .verdict = GO, .apply = 5000 }, {} },
						{ { .verdict = GO }, {} } };
	struct msg_bpf *skel __auto_msg = replace_program(t);
	static char data[PUMPED];

	if (!skel || !set_size(t->in.mapped, SO_SNDBUF, SMALL_BUFFER) ||
	    !set_size(t->out.mapped, SO_SNDBUF, SMALL_BUFFER) ||
	    !set_size(t->target, SO_RCVBUF, SMALL_BUFFER))
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(steps); i++) {
		ssize_t n;

		fill_pattern(data, sizeof(data), new_seed(), 0);
		write_script(t, skel, steps[i]);
		n = send(t->in.mapped, data, sizeof(data), MSG_DONTWAIT);
		if (!CHECK(n > 0, "send what there is no room for: %s", strerror(errno)) ||
		    !check_stream(t->target, data, n, "what was sent") || !topology_check_empty(t))
			return;
	}
}

/* ---- Corks ------------------------------------------------------------------------------------- */

/* Of which less than that is sent. */
#define CORK 4000

/* More than the peer's window, however much of its buffer that is, and less than a send buffer. */
#define FILL   (200 << 10)
#define UNREAD (80 << 10)

static bool send_corked(struct topology *t, struct msg_bpf *skel)
{
	static const struct step steps[] = { { .verdict = GO, .cork = CORK }, {} };
	struct message m;

	fill_message(&m, 1500);
	write_script(t, skel, steps);
	return check_send(t->in.mapped, &m, "data that waits for more") && topology_check_empty(t);
}

/* What waits for more belongs to the program, and is gone with it; nothing else is. */
static void cork_leave(struct topology *t)
{
	struct msg_bpf *skel __auto_msg = replace_program(t);

	if (skel && send_corked(t, skel) && topology_remove_sockets(t))
		topology_check_traffic(t);
}

static void cork_close(struct topology *t)
{
	struct msg_bpf *skel __auto_msg = replace_program(t);

	if (!skel || !send_corked(t, skel))
		return;
	close_fd(&t->in.mapped);
	t->in.mapped = -1;
	check_end_of_stream(t->in.peer, 0, "the sender's peer");
	if (t->target != t->in.peer)
		check_nothing(t->target, "nothing at the target");
}

static void cork_shutdown(struct topology *t)
{
	struct msg_bpf *skel __auto_msg = replace_program(t);

	if (!skel || !send_corked(t, skel) ||
	    !CHECK_OK(shutdown(t->in.mapped, SHUT_WR) ? -errno : 0, "shutdown"))
		return;
	check_end_of_stream(t->in.peer, 0, "the sender's peer");
}

static bool set_sndbuf(struct topology *t, int size)
{
	return set_size(t->in.mapped, SO_SNDBUF, size);
}

/*
 * A send that finds no space waits, or does not, and fails, while data of an earlier one waits for
 * more: that is still there. The socket has space until the buffer shrinks below what is unsent.
 */
static void cork_full(struct topology *t)
{
	static const struct step steps[] = { { .verdict = GO, .apply = FILL },
					     { .verdict = GO, .cork = 300 },
					     {} };
	static char fill[FILL];
	struct msg_bpf *skel __auto_msg = replace_program(t);
	const struct timeval tv = { .tv_usec = 50000 };
	uint32_t seed = new_seed();
	struct message m;

	if (!skel || !set_sndbuf(t, 2 * FILL) || !set_size(t->in.peer, SO_RCVBUF, UNREAD))
		return;
	write_script(t, skel, steps);
	fill_pattern(fill, FILL, seed, 0);
	fill_message(&m, 300);
	if (!CHECK_EQ(send(t->in.mapped, fill, FILL, MSG_DONTWAIT), FILL, "send, unread") ||
	    !CHECK_EQ(send(t->in.mapped, m.bytes, 100, 0), 100, "send what waits for more") ||
	    !set_sndbuf(t, 1) ||
	    !CHECK_ERR(send(t->in.mapped, m.bytes, 100, MSG_DONTWAIT) < 0 ? -errno : 0, EAGAIN,
		       "send more, without space and MSG_DONTWAIT") ||
	    !CHECK_OK(setsockopt(t->in.mapped, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) ? -errno
											 : 0,
		      "SO_SNDTIMEO") ||
	    !CHECK_ERR(send(t->in.mapped, m.bytes, 100, 0) < 0 ? -errno : 0, EAGAIN,
		       "send more, without space, and wait") ||
	    !set_sndbuf(t, 2 * FILL) ||
	    !CHECK_EQ(send(t->in.mapped, m.bytes + 100, 200, 0), 200, "send the rest"))
		return;
	if (check_stream(t->target, fill, FILL, "what was unread") &&
	    check_stream(t->target, m.bytes, m.len, "what waited"))
		topology_check_empty(t);
}

/* The target is closed with a part of a message on its way, and more is due there. */
static void target_closed(struct topology *t)
{
	static const struct step steps[] = { { .verdict = GO, .apply = 400 }, {} };
	struct msg_bpf *skel __auto_msg = replace_program(t);
	struct message m;

	if (!skel)
		return;
	write_script(t, skel, steps);
	fill_message(&m, 1000);
	if (!check_send(t->in.mapped, &m, "two verdicts and a half"))
		return;
	check_arrives(t->target, &m, "two verdicts and a half");
	close_fd(&t->out.mapped);
	t->out.mapped = -1;
	fill_message(&m, 1);
	CHECK(send(t->in.mapped, m.bytes, m.len, MSG_NOSIGNAL) < 0, "send to what is closed");
}

/* ---- Memory that runs out ----------------------------------------------------------------------- */

/* A message of which the program wants the rest, too, or not. */
struct attempt {
	struct topology *t;
	struct msg_bpf *skel;
	struct message m;
	size_t first; /* bytes of the send that is to fail */
};

static ssize_t try_send(void *arg)
{
	struct attempt *a = arg;
	ssize_t n;

	a->skel->bss->nr_runs = 0;
	n = send(a->t->in.mapped, a->m.bytes, a->first, 0);
	return n < 0 ? -errno : n;
}

static bool check_unsent(void *arg)
{
	const struct attempt *a = arg;

	return topology_check_empty(a->t);
}

static bool check_sent(void *arg)
{
	struct attempt *a = arg;
	ssize_t rest = a->m.len - a->first;

	if (rest && !(topology_check_empty(a->t) &&
		      CHECK_EQ(send(a->t->in.mapped, a->m.bytes + a->first, rest, 0), rest,
			       "send the rest")))
		return false;
	if (!check_arrives(a->t->target, &a->m, "data") || !topology_check_empty(a->t))
		return false;
	fill_message(&a->m, a->m.len);
	return true;
}

static void without_memory(struct topology *t)
{
	static const struct fallible sending = { "send", try_send, check_unsent, check_sent };
	const struct script *script = this_scenario()->data;
	struct msg_bpf *skel __auto_msg = replace_program(t);
	static struct attempt a;

	if (!skel)
		return;
	write_script(t, skel, script->steps);
	a.t = t;
	a.skel = skel;
	a.first = script->sends[0];
	fill_message(&a.m, script->sends[0] + script->sends[1]);
	check_without_memory(&sending, &a);
}

/* ---- The plan -------------------------------------------------------------------------------- */

#define ANY_WAY	   (MSG_PASS | MSG_INGRESS | MSG_EGRESS)
#define REDIRECTED (MSG_INGRESS | MSG_EGRESS)

#define SCRIPT(...) SCRIPT_OF(play, __VA_ARGS__)
#define SCRIPT_OF(function, ...)                        \
	.run = function, .data = &(const struct script) \
	{                                               \
		__VA_ARGS__                             \
	}
#define STEPS(...) .steps = { __VA_ARGS__ }
#define SENDS(...) .sends = { __VA_ARGS__ }

static const struct kinds tcp[] = { { .in = "tcp4" }, { .in = "tcp6" }, {} };
static const struct kinds tcp4[] = { { .in = "tcp4" }, {} };

#define FAILSLAB ((feature_set)1 << FEAT_FAILSLAB)

static const struct fix cork_free_fixes[] = {
	{ "a3967baad4d5",
	  "tcp_bpf: Call sk_msg_free() when tcp_bpf_send_verdict() fails to allocate "
	  "psock->cork." },
	{},
};

static const struct fix cork_full_fixes[] = {
	{ "2d66a033864e", "bpf, sockmap: Fix cork use-after-free in tcp_bpf_sendmsg()" },
	{},
};

static const struct fix apply_fixes[] = {
	{ "9072931f020b", "bpf, sockmap: Fix data loss caused by using apply_bytes on ingress "
			  "redirect" },
	{ "a351d6087bf7", "bpf, sockmap: Fix missing BPF_F_INGRESS flag when using apply_bytes" },
	{},
};

static const struct fix put_fixes[] = {
	{ "7a9841ca0252", "bpf, sockmap: Fix repeated calls to sock_put() when msg has more_data" },
	{},
};

static const struct fix drop_fixes[] = {
	{ "7361d44896ff", "bpf: Sockmap/tls, fix pop data with SK_DROP return code" },
	{},
};

static const struct fix curr_fixes[] = {
	{ "bb9aefde5bba", "bpf: sockmap, updating the sg structure should also update curr" },
	{},
};

static const struct fix push_fixes[] = {
	{ "15ab0548e310", "bpf, sockmap: Several fixes to bpf_msg_push_data" },
	{},
};

static const struct fix pop_fixes[] = {
	{ "5d609ba26247", "bpf, sockmap: Several fixes to bpf_msg_pop_data" },
	{},
};

static const struct fix overflow_fixes[] = {
	{ "a48802fb2cd2", "bpf, sockmap: fix integer overflow in bpf_msg_pop_data() bounds check" },
	{},
};

static const struct fix offset_fixes[] = {
	{ "f72eed9b84fb", "bpf: sockmap: fix tail fragment offset in bpf_msg_push_data" },
	{},
};

static const struct scenario scenarios[] = {
	/* Nothing but the way. */
	{ "sizes", ANY_WAY, tcp,
	  SCRIPT(STEPS({ .verdict = GO }), SENDS(1, 2, 1459, 4096, 4097, 32768, 70000, 1)) },
	{ "sockhash", ANY_WAY, tcp, SCRIPT(STEPS({ .verdict = GO }), SENDS(1, 300)),
	  .with = { .map = BPF_MAP_TYPE_SOCKHASH } },
	{ "drop", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO }, { .verdict = DROP }), SENDS(50, 60)) },

	/* A verdict for so many bytes: of less, just as much, and more than what is sent. */
	{ "apply", ANY_WAY, tcp,
	  SCRIPT(STEPS({ .verdict = GO, .apply = 100 }), SENDS(250, 30, 20, 100, 1, 99)),
	  .guards = apply_fixes },
	{ "apply-one", ANY_WAY, tcp4, SCRIPT(STEPS({ .verdict = GO, .apply = 1 }), SENDS(40, 1)),
	  .guards = apply_fixes },
	{ "apply-several-sends", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .apply = 1000 }), SENDS(100, 200, 300, 400, 500, 500)),
	  .guards = apply_fixes },
	{ "apply-large", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .apply = 7777 }), SENDS(60000, 2216, 7777, 70000)),
	  .guards = apply_fixes },
	{ "apply-hash", REDIRECTED, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .apply = 100 }), SENDS(250, 50, 30)),
	  .with = { .map = BPF_MAP_TYPE_SOCKHASH }, .guards = apply_fixes },
	{ "apply-half", REDIRECTED, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .apply = 200 }), SENDS(500, 500, 100, 100)),
	  .guards = put_fixes },
	{ "target-closed", REDIRECTED, tcp4, .run = target_closed, .guards = put_fixes },
	{ "apply-turns", REDIRECTED, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .apply = 100 }, { .verdict = PASS, .apply = 50 },
		       { .verdict = GO, .apply = 10 }, { .verdict = PASS, .apply = 1000 },
		       { .verdict = GO }),
		 SENDS(100, 25, 25, 10, 700, 300, 40)) },
	{ "apply-then-drop", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .apply = 40 }, { .verdict = DROP }), SENDS(100)) },

	/* No verdict before there are so many bytes. */
	{ "cork-exact", ANY_WAY, tcp,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 300 }), SENDS(100, 200, 299, 1)) },
	{ "cork-more", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 300 }), SENDS(100, 250, 1, 4000)) },
	{ "cork-less", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 100 }), SENDS(300, 100, 50, 50)) },
	{ "cork-bytes", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 6 }), SENDS(1, 1, 1, 1, 1, 1)) },
	{ "cork-changed", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 100 }, { .verdict = GO, .cork = 400 },
		       { .verdict = GO }),
		 SENDS(60, 60, 280, 5)) },
	{ "cork-large", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 80000 }), SENDS(30000, 30000, 20000)) },
	{ "cork-drop", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 100 }, { .verdict = DROP }), SENDS(60, 60)) },
	{ "cork-pieces", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 1200 }, { .verdict = GO,
							  .pull = { 330, 400 },
							  .pop = { 250, 500 },
							  .push = { 650, 10 } }),
		 SENDS(100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100),
		 .apart = true) },
	{ "cork-pieces-push", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 1200 }, { .verdict = GO, .push = { 650, 10 } }),
		 SENDS(100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100), .apart = true),
	  .guards = offset_fixes },
	/* As many pieces as a message can have, and one less: none is left to split one into two. */
	{ "cork-full-push", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 1700 }, { .verdict = GO, .push = { 850, 10 } }),
		 .sends = { [0 ... 16] = 100 }, .apart = true),
	  .guards = push_fixes },
	{ "cork-full-pop", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 1700 }, { .verdict = GO, .pop = { 830, 20 } }),
		 .sends = { [0 ... 16] = 100 }, .apart = true),
	  .guards = pop_fixes },
	{ "cork-full-push-start", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 1700 }, { .verdict = GO, .push = { 0, 10 } }),
		 .sends = { [0 ... 16] = 100 }, .apart = true),
	  .guards = push_fixes },
	{ "cork-full-push-end", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 1700 }, { .verdict = GO, .push = { 1700, 10 } }),
		 .sends = { [0 ... 16] = 100 }, .apart = true),
	  .guards = push_fixes },
	{ "cork-full-pop-across", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 1700 }, { .verdict = GO, .pop = { 250, 500 } }),
		 .sends = { [0 ... 16] = 100 }, .apart = true),
	  .guards = pop_fixes },
	{ "cork-full-pop-whole", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 1700 }, { .verdict = GO, .pop = { 300, 400 } }),
		 .sends = { [0 ... 16] = 100 }, .apart = true),
	  .guards = pop_fixes },
	{ "cork-full-pieces", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 1700 }, { .verdict = GO,
							  .pull = { 1530, 40 },
							  .pop = { 250, 500 },
							  .push = { 650, 10 } }),
		 .sends = { [0 ... 16] = 100 }, .apart = true) },
	{ "cork-nearly-full-push", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 1600 }, { .verdict = GO, .push = { 850, 10 } }),
		 .sends = { [0 ... 15] = 100 }, .apart = true) },
	{ "cork-leave", ANY_WAY, tcp, .run = cork_leave },
	{ "cork-close", ANY_WAY, tcp, .run = cork_close },
	{ "cork-shutdown", ANY_WAY, tcp4, .run = cork_shutdown },
	{ "cork-full", MSG_PASS, tcp, .run = cork_full, .guards = cork_full_fixes },

	/* Changes. */
	{ "pull", ANY_WAY, tcp,
	  SCRIPT(STEPS({ .verdict = GO, .pull = { 0, 10 } }, { .verdict = GO, .pull = { 99, 1 } },
		       { .verdict = GO, .pull = { 40000, 20000 } },
		       { .verdict = GO, .pull = { 30000, 5000 } }),
		 SENDS(100, 100, 70000, 70000)) },
	{ "push", ANY_WAY, tcp,
	  SCRIPT(STEPS({ .verdict = GO, .push = { 0, 10 } }, { .verdict = GO, .push = { 50, 7 } },
		       { .verdict = GO, .push = { 99, 32 } }, { .verdict = GO, .push = { 1, 1 } }),
		 SENDS(100, 100, 100, 2)) },
	{ "push-end", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .push = { 100, 10 } }), SENDS(100, 100)) },
	{ "push-large", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .push = { 40000, 10 } },
		       { .verdict = GO, .push = { 50001, 32 } },
		       { .verdict = GO, .push = { 65001, 1 } },
		       { .verdict = GO, .push = { 34567, 5 } }),
		 SENDS(70000, 70000, 70000, 70000)),
	  .guards = offset_fixes },
	{ "pop", ANY_WAY, tcp,
	  SCRIPT(STEPS({ .verdict = GO, .pop = { 0, 10 } }, { .verdict = GO, .pop = { 50, 7 } },
		       { .verdict = GO, .pop = { 1, 98 } }, { .verdict = GO, .pop = { 98, 1 } }),
		 SENDS(100, 100, 100, 100)) },
	{ "pop-end", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .pop = { 90, 10 } }), SENDS(100, 100)) },
	/* What has no bytes left spoils the queue of a socket that it is redirected to. */
	{ "pop-all", MSG_PASS | MSG_EGRESS, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .pop = { 0, 100 } }, { .verdict = GO }), SENDS(100, 50)),
	  .guards = pop_fixes },
	{ "pop-large", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .pop = { 100, 60000 } },
		       { .verdict = GO, .pop = { 0, 40000 } },
		       { .verdict = GO, .pop = { 50001, 3 } },
		       { .verdict = GO, .pop = { 69998, 1 } }),
		 SENDS(70000, 70000, 70000, 70000)) },
	{ "pop-drop", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = DROP, .pop = { 10, 20 } }), SENDS(100)), .guards = drop_fixes },
	{ "push-drop", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = DROP, .push = { 10, 20 } }), SENDS(100)),
	  .guards = drop_fixes },
	{ "apply-pop-drop", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .apply = 40 }, { .verdict = DROP, .pop = { 5, 20 } }),
		 SENDS(100)),
	  .guards = drop_fixes },
	{ "out-of-range", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .push = { 101, 10 } }, { .verdict = GO, .pop = { 100, 1 } },
		       { .verdict = GO, .pop = { 50, 51 } }, { .verdict = GO, .pull = { 100, 1 } },
		       { .verdict = GO, .pull = { 50, 51 } }, { .verdict = GO, .pop = { 5000, 1 } },
		       { .verdict = GO, .pull = { 5000, 10 } },
		       { .verdict = GO, .push = { 5000, 10 } }),
		 SENDS(100, 100, 100, 100, 100, 100, 100, 100)) },

	/* The end lies beyond 4 GiB, or, counted in 32 bits, at the beginning again. */
	{ "overflow", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .pop = { 99, UINT32_MAX - 90 } },
		       { .verdict = GO, .pop = { 1, UINT32_MAX } },
		       { .verdict = GO, .pull = { 99, UINT32_MAX - 90 } },
		       { .verdict = GO, .pull = { 1, UINT32_MAX } },
		       { .verdict = GO, .push = { UINT32_MAX, 10 } }),
		 SENDS(100, 100, 100, 100, 100)),
	  .guards = overflow_fixes },
	{ "helper-flags", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO,
			 .pull = { 5, 10 },
			 .pop = { 7, 20 },
			 .push = { 6, 15 },
			 .flags = 1 }),
		 SENDS(100)) },

	/* Together. */
	{ "cork-pop", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 100, .pop = { 10, 10 } }, { .verdict = GO }),
		 SENDS(60, 70, 5)),
	  .guards = curr_fixes },
	{ "cork-push", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 100, .push = { 10, 10 } }, { .verdict = GO }),
		 SENDS(60, 70, 5)),
	  .guards = curr_fixes },
	{ "cork-pull", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 100, .pull = { 10, 10 } },
		       { .verdict = GO, .pull = { 50, 60 } }),
		 SENDS(60, 70)),
	  .guards = curr_fixes },
	{ "cork-pop-last", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 100, .pop = { 30, 29 } },
		       { .verdict = GO, .push = { 31, 9 } }),
		 SENDS(60, 90)),
	  .guards = curr_fixes },
	{ "pull-pop-push", ANY_WAY, tcp,
	  SCRIPT(STEPS({ .verdict = GO, .pull = { 5, 10 }, .pop = { 7, 20 }, .push = { 6, 15 } },
		       { .verdict = GO,
			 .pull = { 20000, 30000 },
			 .pop = { 10, 200 },
			 .push = { 60000, 9 } }),
		 SENDS(100, 70000)) },
	{ "apply-push", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .apply = 30, .push = { 0, 4 } }), SENDS(78, 2)) },
	{ "apply-pop", ANY_WAY, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .apply = 30, .pop = { 2, 4 } }), SENDS(100, 3)) },
	{ "cork-apply", MSG_PASS, tcp4,
	  SCRIPT(STEPS({ .verdict = GO, .cork = 100, .apply = 30 }, { .verdict = GO, .apply = 30 }),
		 SENDS(60, 70, 30)) },

	/* Without memory for what is to be done, nothing is sent. */
	{ "no-memory", MSG_INGRESS, tcp,
	  SCRIPT_OF(without_memory, STEPS({ .verdict = GO }), SENDS(100)), .needs = FAILSLAB },
	{ "cork-no-memory", ANY_WAY, tcp,
	  SCRIPT_OF(without_memory, STEPS({ .verdict = GO, .cork = 200 }, { .verdict = GO }),
		    SENDS(100, 100)),
	  .needs = FAILSLAB, .guards = cork_free_fixes },

	{ "sendfile", ANY_WAY, tcp, .run = ways, .value = SENDFILE },
	{ "splice", ANY_WAY, tcp4, .run = ways, .value = SPLICE },
	{ "iovecs", ANY_WAY, tcp4, .run = ways, .value = IOVECS },
	{ "more", ANY_WAY, tcp4, .run = ways, .value = MORE },
	{ "zerocopy", ANY_WAY, tcp4, .run = ways, .value = ZEROCOPY },
	{ "two-senders", ANY_WAY, tcp, .run = two_senders },
	{ "dont-wait", ANY_WAY, tcp, .run = dont_wait, .guards = apply_fixes },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return scenario_describe(scenarios, ARRAY_SIZE(scenarios), i, sub);
}

static void run(unsigned int i)
{
	scenario_run(scenarios, ARRAY_SIZE(scenarios), i);
}

DEFINE_TEST(sockmap_msg, describe, run);
