// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "harness/bench.h"
#include "harness/child.h"
#include "harness/harness.h"
#include "harness/latency.h"
#include "harness/plan.h"
#include "harness/topology.h"
#include "network_helpers.h"

unsigned int bench_time_ms = 2000;

/* ---- A flow ------------------------------------------------------------------------------------ */

#define LATENCIES_MAX (1 << 16)
#define READ_MAX      (64 << 10)
#define RECEIVE_BUF   (8 << 20)

/*
 * The sender has so many chunks under way, and waits for the reader to get one before it sends the
 * next: what sockmap takes off a socket is not limited by the buffer of any, and a reader that is
 * slower than the sender would only measure how much memory there is. No datagram is lost, either.
 */
struct flow {
	int from, to;
	size_t chunk;
	sem_t room;
	uint64_t end_ns;
	int done_fd; /* readable when the sender is through */
	atomic_size_t sent;
	_Atomic uint64_t sent_ns; /* when the latest chunk was, just before */
	int error;		  /* of the sender: -errno */
	size_t received;
	uint64_t *latencies; /* NULL: not wanted */
	size_t nr_latencies;
};

static struct timespec timeout_at(uint64_t ns)
{
	return (struct timespec){ ns / NSEC_PER_SEC, ns % NSEC_PER_SEC };
}

static bool take_room(struct flow *f)
{
	struct timespec end = timeout_at(now_ns() + patience_ms() * NSEC_PER_MSEC);

	while (sem_clockwait(&f->room, CLOCK_MONOTONIC, &end)) {
		if (errno != EINTR)
			return false;
	}
	return true;
}

static void *send_chunks(void *arg)
{
	static const char zeros[READ_MAX];
	struct flow *f = arg;
	uint64_t one = 1;

	while (!f->error && now_ns() < f->end_ns && take_room(f)) {
		size_t n = 0;

		atomic_store(&f->sent_ns, now_ns());
		while (n < f->chunk) {
			ssize_t ret = send(f->from, zeros, f->chunk - n, 0);

			if (ret < 0) {
				f->error = -errno;
				break;
			}
			n += ret;
			atomic_fetch_add(&f->sent, ret);
		}
	}
	if (write(f->done_fd, &one, sizeof(one)) < 0)
		abort();
	return NULL;
}

static void note_latency(struct flow *f, uint64_t now)
{
	if (f->latencies && f->nr_latencies < LATENCIES_MAX)
		f->latencies[f->nr_latencies++] = now - atomic_load(&f->sent_ns);
}

/* 0, or -errno: there is nothing although poll(2) says so, or the stream is at its end. */
static int read_chunks(struct flow *f)
{
	static char buf[READ_MAX];
	ssize_t n = recv(f->to, buf, sizeof(buf), MSG_DONTWAIT);
	uint64_t now = now_ns();
	size_t before = f->received / f->chunk;

	if (n <= 0)
		return n ? -errno : -ENODATA;
	f->received += n;
	for (size_t i = before; i < f->received / f->chunk; i++) {
		note_latency(f, now);
		sem_post(&f->room);
	}
	return 0;
}

/* Until all that was sent has come, or nothing comes any more. 0 or -errno. */
static int receive_all(struct flow *f)
{
	struct pollfd fds[] = {
		{ .fd = f->to, .events = POLLIN },
		{ .fd = f->done_fd, .events = POLLIN },
	};
	int err = 0;

	while (!err && (fds[1].fd >= 0 || f->received < atomic_load(&f->sent))) {
		if (poll(fds, ARRAY_SIZE(fds), patience_ms()) <= 0)
			return -ETIME;
		if (fds[0].revents)
			err = read_chunks(f);
		/* The sender has nothing more to say; what is under way is still to be waited for. */
		if (fds[1].revents)
			fds[1].fd = -1;
	}
	return err;
}

/* Chunks of this size, so many under way, for so long. The flow then says what came of it. */
static bool run_flow(struct flow *f, unsigned int window, unsigned int ms, const char *what)
{
	pthread_t sender;
	bool ok;
	int err;

	sem_init(&f->room, 0, window);
	f->end_ns = now_ns() + ms * NSEC_PER_MSEC;
	f->done_fd = eventfd(0, EFD_CLOEXEC);
	if (!CHECK(f->done_fd >= 0 && !pthread_create(&sender, NULL, send_chunks, f),
		   "%s: start a sender", what)) {
		close_fd(&f->done_fd);
		return false;
	}
	err = receive_all(f);
	pthread_join(sender, NULL);
	ok = CHECK_OK(f->error, "%s: send", what) &&
	     CHECK_OK(err, "%s: read, after %zu of %zu bytes", what, f->received,
		      atomic_load(&f->sent)) &&
	     CHECK_EQ(f->received, atomic_load(&f->sent), "%s: bytes received", what);
	close_fd(&f->done_fd);
	sem_destroy(&f->room);
	return ok;
}

static int compare_values(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* ---- What is measured of it -------------------------------------------------------------------- */

#define STREAM_CHUNK  (16 << 10)
#define DGRAM_CHUNK   1400
#define WINDOW	      (256 << 10)
#define LATENCY_CHUNK 64

static bool measure_throughput(int from, int to, bool boundaries, const char *what,
			       struct bench_flow *result)
{
	struct flow f = { .from = from, .to = to };
	uint64_t start = now_ns();

	f.chunk = boundaries ? DGRAM_CHUNK : STREAM_CHUNK;
	if (!run_flow(&f, WINDOW / f.chunk, bench_time_ms, what))
		return false;
	result->bytes_per_s = (double)f.received * NSEC_PER_SEC / (double)(now_ns() - start);
	return true;
}

static bool measure_latency(int from, int to, const char *what, struct bench_flow *result)
{
	struct flow f = { .from = from, .to = to, .chunk = LATENCY_CHUNK };
	bool ok;

	f.latencies = calloc(LATENCIES_MAX, sizeof(*f.latencies));
	ok = CHECK(f.latencies, "memory for latencies") &&
	     run_flow(&f, 1, bench_time_ms / 2, what) &&
	     CHECK(f.nr_latencies, "%s: something was measured", what);
	if (ok) {
		qsort(f.latencies, f.nr_latencies, sizeof(*f.latencies), compare_values);
		result->p50_ns = percentile(f.latencies, f.nr_latencies, 50);
		result->p99_ns = percentile(f.latencies, f.nr_latencies, 99);
	}
	free(f.latencies);
	return ok;
}

static bool measure(int from, int to, bool boundaries, const char *what, struct bench_flow *result)
{
	const int size = RECEIVE_BUF;

	setsockopt(to, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return measure_throughput(from, to, boundaries, what, result) &&
	       measure_latency(from, to, what, result);
}

static bool measure_plain(const struct sock_kind *kind, struct bench_flow *result)
{
	struct sock_pair pair __attribute__((cleanup(close_pair))) = SOCK_PAIR_NONE;

	return CHECK_OK(make_pair(kind, &pair), "make a pair of %s", kind->name) &&
	       measure(pair.peer, pair.mapped, keeps_boundaries(kind), "without sockmap", result);
}

static bool measure_sockmap(const struct redirect *r, struct bench_flow *result)
{
	struct topology t __auto_topology = TOPOLOGY_NONE;

	return topology_open(&t, r) &&
	       measure(t.sender, t.target, keeps_boundaries(r->in), "sockmap", result);
}

/* ---- The rows ---------------------------------------------------------------------------------- */

static const struct path {
	const char *name;
	enum redirect_hook hook;
	bool ingress;
} paths[] = {
	{ "sk_msg-ingress", HOOK_MSG_VERDICT, true },
	{ "sk_msg-egress", HOOK_MSG_VERDICT, false },
	{ "sk_skb-ingress", HOOK_SKB_VERDICT, true },
	{ "sk_skb-egress", HOOK_SKB_VERDICT, false },
	{ "parser-ingress", HOOK_STREAM_VERDICT, true },
	{ "parser-egress", HOOK_STREAM_VERDICT, false },
};

static const struct {
	const char *in, *out;
} kinds[] = {
	{ "tcp4", "tcp4" },
	{ "tcp6", "tcp6" },
	{ "udp4", "udp4" },
	{ "udp6", "udp6" },
	{ "unix_stream", "unix_stream" },
	{ "unix_dgram", "unix_dgram" },
	{ "tcp4", "unix_stream" },
};

static bool fits(const struct path *path, unsigned int k)
{
	return path->hook == HOOK_SKB_VERDICT ||
	       (is_tcp(sock_kind(kinds[k].in)) && is_tcp(sock_kind(kinds[k].out)));
}

static bool find_row(unsigned int i, const struct path **path, struct redirect *r,
		     struct subtest *sub)
{
	for (*path = paths; *path < paths + ARRAY_SIZE(paths); (*path)++) {
		for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
			if (!fits(*path, k) || i--)
				continue;
			*r = (struct redirect){
				.map = BPF_MAP_TYPE_SOCKMAP,
				.hook = (*path)->hook,
				.ingress = (*path)->ingress,
				.outcome = DELIVERED,
				.in = sock_kind(kinds[k].in),
				.out = sock_kind(kinds[k].out),
			};
			snprintf(sub->name, sizeof(sub->name), "%s/%s%s%s", (*path)->name,
				 kinds[k].in, r->in == r->out ? "" : "-",
				 r->in == r->out ? "" : kinds[k].out);
			return true;
		}
	}
	return false;
}

static bool describe_bench(unsigned int i, struct subtest *sub)
{
	const struct path *path;
	struct redirect r;

	if (!find_row(i, &path, &r, sub))
		return false;
	subtest_dim(sub, "hook", redirect_hook_name(&r));
	subtest_dim(sub, "direction", r.ingress ? "ingress" : "egress");
	subtest_dim(sub, "in", r.in->name);
	subtest_dim(sub, "out", r.out->name);
	sub->needs = redirect_needs(&r);
	return true;
}

static void run_bench(unsigned int i)
{
	struct subtest unused = {};
	const struct path *path;
	struct bench bench = {};
	struct redirect r;

	if (find_row(i, &path, &r, &unused) && measure_plain(r.in, &bench.plain) &&
	    measure_sockmap(&r, &bench.sockmap))
		child_record_bench(&bench);
}

const struct test bench_test = {
	.name = "bench",
	.describe = describe_bench,
	.run = run_bench,
};

/* ---- The table --------------------------------------------------------------------------------- */

static void print_ratio(double sockmap, double plain, FILE *file)
{
	fprintf(file, " %9.1f %9.1f %6.2f", sockmap, plain, plain > 0 ? sockmap / plain : 0);
}

void bench_print(const struct plan *plan, FILE *file)
{
	fprintf(file,
		"Through sockmap, over a pair of sockets without it, and the ratio\n"
		"%-32s %26s | %26s | %26s\n",
		"", "MB/s", "latency p50, us", "latency p99, us");
	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const struct bench *b = &plan->items[i].result.bench;

		if (b->sockmap.bytes_per_s <= 0)
			continue;
		fprintf(file, "%-32s", plan->items[i].subtest.name);
		print_ratio(b->sockmap.bytes_per_s / 1e6, b->plain.bytes_per_s / 1e6, file);
		fputs(" |", file);
		print_ratio((double)b->sockmap.p50_ns / 1e3, (double)b->plain.p50_ns / 1e3, file);
		fputs(" |", file);
		print_ratio((double)b->sockmap.p99_ns / 1e3, (double)b->plain.p99_ns / 1e3, file);
		fputc('\n', file);
	}
}
