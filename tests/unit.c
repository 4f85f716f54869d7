// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of the functions that everything else is judged with: the blocking read and its fates, the
 * search for splats, the list of known failures, the order of a plan. Needs neither root nor BPF.
 */
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "harness/expect.h"
#include "harness/kmemleak.h"
#include "harness/known.h"
#include "harness/latency.h"
#include "harness/plan.h"
#include "harness/splat.h"
#include "harness/timeline.h"
#include "network_helpers.h"

/* ---- Results --------------------------------------------------------------------------------- */

static unsigned int passed, failed, skipped;
static unsigned int problems; /* of the case that runs */
static char details[4096];
static char skip_reason[256];

static void want(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What was wanted, and what was there. */
static void want(bool ok, const char *fmt, ...)
{
	size_t used = strlen(details);
	char text[512];
	va_list ap;

	if (ok)
		return;
	problems++;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(details + used, sizeof(details) - used, "#   %s\n", text);
}

static void want_eq(const char *what, long long got, long long wanted)
{
	want(got == wanted, "%s: want %lld, got %lld", what, wanted, got);
}

static void want_text(const char *got, const char *wanted)
{
	want(got && strcmp(got, wanted) == 0, "want \"%s\", got \"%s\"", wanted, got ?: "NULL");
}

static void begin_case(void)
{
	problems = 0;
	details[0] = '\0';
	skip_reason[0] = '\0';
}

static void end_case(const char *name)
{
	unsigned int number = passed + failed + skipped + 1;

	if (problems) {
		failed++;
		printf("not ok %u - %s\n%s", number, name, details);
	} else if (*skip_reason) {
		skipped++;
		printf("ok %u - %s # SKIP %s\n", number, name, skip_reason);
	} else {
		passed++;
		printf("ok %u - %s\n", number, name);
	}
	fflush(stdout);
}

/* ---- Threads --------------------------------------------------------------------------------- */

/* The number of threads; in *tid one that is not this one. */
static unsigned int count_threads(int *tid)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned int n = 0;

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		n++;
		if (atoi(entry->d_name) != getpid())
			*tid = atoi(entry->d_name);
	}
	if (dir)
		closedir(dir);
	return n;
}

/* A joined thread is in /proc for a moment yet. */
static void want_no_thread(void)
{
	unsigned int n = 0;
	int tid = 0;

	for (int i = 0; i < 1000; i++) {
		n = count_threads(&tid);
		if (n == 1)
			return;
		usleep(1000);
	}
	want_eq("threads after the reader", n, 1);
}

/* The system call in which the other thread sleeps; -1: it does not. */
static long reader_syscall(void)
{
	char path[64];
	long number = -1;
	int tid = 0;
	FILE *file;

	if (count_threads(&tid) != 2)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	file = fopen(path, "re");
	if (file && fscanf(file, "%ld", &number) != 1)
		number = -1;
	if (file)
		fclose(file);
	return number;
}

/* ---- Fates of a read ------------------------------------------------------------------------- */

struct attempt {
	struct sock_pair pair;
	struct sock_pair other; /* where data can be misdirected to */
	struct reader *reader;
	struct recv_report report;
	char buf[64];
	ssize_t ret;
	uint64_t start_ns, end_ns;
};

static bool open_attempt(struct attempt *a, const char *kind)
{
	int err;

	*a = (struct attempt){ .pair = SOCK_PAIR_NONE, .other = SOCK_PAIR_NONE };
	err = make_pair(sock_kind(kind), &a->pair) ?: make_pair(sock_kind(kind), &a->other);
	want_eq("make_pair()", err, 0);
	return err == 0;
}

static bool start_reading(struct attempt *a, enum wait_method how, int flags, size_t len,
			  unsigned int timeout_ms)
{
	struct read_request request = {
		.fd = a->pair.mapped,
		.buf = a->buf,
		.len = len,
		.flags = flags,
		.how = how,
		.timeout_ms = timeout_ms,
		.others = &a->other.mapped,
		.nr_others = 1,
	};
	int err = reader_start(&a->reader, &request);

	want_eq("reader_start()", err, 0);
	return err == 0;
}

static void send_some(int fd, size_t len)
{
	want_eq("send()", send(fd, "0123456789", len, MSG_NOSIGNAL), len);
}

static void finish_reading(struct attempt *a)
{
	a->start_ns = now_ns();
	a->ret = reader_finish(a->reader, &a->report);
	a->end_ns = now_ns();
	want_no_thread();
}

static void close_attempt(struct attempt *a)
{
	close_pair(&a->pair);
	close_pair(&a->other);
}

static unsigned int took_ms(const struct attempt *a)
{
	return (a->end_ns - a->start_ns) / NSEC_PER_MSEC;
}

static void want_report(const struct attempt *a, ssize_t ret, enum recv_fate fate)
{
	char text[256];

	want_eq("returned", a->ret, ret);
	want(a->report.fate == fate, "fate: want %d, got %d: %s", fate, a->report.fate,
	     recv_report_text(&a->report, text, sizeof(text)));
}

static const long wait_syscalls[NR_WAIT_METHODS] = {
	[WAIT_POLL] = SYS_ppoll,	[WAIT_SELECT] = SYS_pselect6,
	[WAIT_EPOLL] = SYS_epoll_pwait, [WAIT_EPOLL_ET] = SYS_epoll_pwait,
	[WAIT_RECV] = SYS_recvfrom,
};

/* The reader sleeps before the send, in the call it is to sleep in, and is back after it. */
static void try_arrived(enum wait_method how, const char *kind)
{
	struct attempt a;
	uint64_t sent_ns;

	if (open_attempt(&a, kind) && start_reading(&a, how, 0, sizeof(a.buf), 10000)) {
		want_eq("system call that it sleeps in before the send", reader_syscall(),
			wait_syscalls[how]);
		sent_ns = now_ns();
		send_some(a.pair.peer, 5);
		finish_reading(&a);
		want_report(&a, 5, RECV_ARRIVED);
		want_eq("how", a.report.how, how);
		want(a.report.woken_ns > sent_ns && a.report.woken_ns <= a.end_ns,
		     "woken_ns: want from %llu to %llu, got %llu", (unsigned long long)sent_ns,
		     (unsigned long long)a.end_ns, (unsigned long long)a.report.woken_ns);
		want(memcmp(a.buf, "01234", 5) == 0, "data: want 01234, got %.5s", a.buf);
	}
	close_attempt(&a);
}

static void test_arrived(void)
{
	static const char *const kinds[] = { "tcp4", "udp4", "unix_stream", "unix_dgram" };
	char name[128];

	for (enum wait_method how = 0; how < NR_WAIT_METHODS; how++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
			begin_case();
			try_arrived(how, kinds[i]);
			snprintf(name, sizeof(name), "%s: a sleeper in %s wakes up", kinds[i],
				 wait_method_name(how));
			end_case(name);
		}
	}
}

static void test_already_there(void)
{
	struct attempt a;

	if (open_attempt(&a, "tcp4")) {
		send_some(a.pair.peer, 5);
		if (start_reading(&a, WAIT_EPOLL_ET, 0, sizeof(a.buf), 10000)) {
			finish_reading(&a);
			want_report(&a, 5, RECV_ARRIVED);
		}
	}
	close_attempt(&a);
}

static void test_peek(void)
{
	struct attempt a;

	if (open_attempt(&a, "unix_stream") &&
	    start_reading(&a, WAIT_POLL, MSG_PEEK, sizeof(a.buf), 10000)) {
		send_some(a.pair.peer, 5);
		finish_reading(&a);
		want_report(&a, 5, RECV_ARRIVED);
		want_eq("bytes_readable()", bytes_readable(a.pair.mapped), 5);
	}
	close_attempt(&a);
}

#define LOST_MS 400

static void test_lost(void)
{
	struct attempt a;

	if (open_attempt(&a, "udp4") && start_reading(&a, WAIT_POLL, 0, sizeof(a.buf), LOST_MS)) {
		finish_reading(&a);
		want_report(&a, -ETIME, RECV_LOST);
		want(took_ms(&a) >= LOST_MS, "took %u ms, less than the timeout of %u", took_ms(&a),
		     LOST_MS);
		want(took_ms(&a) < LOST_MS + 2000, "took %u ms, timeout was %u", took_ms(&a),
		     LOST_MS);
	}
	close_attempt(&a);
}

static void read_unready(struct attempt *a)
{
	struct pollfd pfd = { .fd = a->pair.mapped, .events = POLLIN };
	int ten = 10;

	want_eq("SO_RCVLOWAT",
		setsockopt(a->pair.mapped, SOL_SOCKET, SO_RCVLOWAT, &ten, sizeof(ten)), 0);
	if (!start_reading(a, WAIT_POLL, 0, sizeof(a->buf), 10000))
		return;
	send_some(a->pair.peer, 3);
	finish_reading(a);
	want_eq("poll() of what is queued", poll(&pfd, 1, 0), 0);
	want_report(a, -ETIME, RECV_UNREADY);
	want_eq("bytes queued", a->report.queued, 3);
}

/* A read that wants ten bytes and leaves the three that are there sleeps, though poll(2) would not.
 */
static void read_no_wakeup(struct attempt *a)
{
	struct pollfd pfd = { .fd = a->pair.mapped, .events = POLLIN };

	if (!start_reading(a, WAIT_RECV, MSG_WAITALL | MSG_PEEK, 10, 10000))
		return;
	send_some(a->pair.peer, 3);
	finish_reading(a);
	want_eq("poll() of what is queued", poll(&pfd, 1, 0), 1);
	want_report(a, -ETIME, RECV_NO_WAKEUP);
	want_eq("bytes queued", a->report.queued, 3);
}

static void read_misdirected(struct attempt *a)
{
	if (!start_reading(a, WAIT_EPOLL, 0, sizeof(a->buf), 10000))
		return;
	send_some(a->other.peer, 4);
	finish_reading(a);
	want_report(a, -ETIME, RECV_MISDIRECTED);
	want_eq("bytes queued", a->report.queued, 4);
	want_eq("found_at", a->report.found_at, a->other.mapped);
}

/*
 * These are to be known within a second, of which they take some 600 ms. The machine may be busy,
 * so the best of some attempts counts.
 */
static void want_soon(void (*read_it)(struct attempt *a))
{
	struct attempt a;
	unsigned int best = UINT32_MAX;

	for (int i = 0; i < 4 && best > 1000 && !problems; i++) {
		if (open_attempt(&a, "tcp4"))
			read_it(&a);
		if (took_ms(&a) < best)
			best = took_ms(&a);
		close_attempt(&a);
	}
	want(best <= 1000, "took %u ms, want at most a second", best);
}

static void test_unready(void)
{
	want_soon(read_unready);
}

static void test_no_wakeup(void)
{
	want_soon(read_no_wakeup);
}

static void test_misdirected(void)
{
	want_soon(read_misdirected);
}

/* poll(2) reports what recv(2) does not look for: there is data, and no error message. */
static void test_spurious(void)
{
	struct attempt a;

	if (open_attempt(&a, "udp4") &&
	    start_reading(&a, WAIT_POLL, MSG_ERRQUEUE, sizeof(a.buf), 10000)) {
		send_some(a.pair.peer, 3);
		finish_reading(&a);
		want_report(&a, -EAGAIN, RECV_SPURIOUS);
	}
	close_attempt(&a);
}

static void test_end_of_stream(void)
{
	struct attempt a;

	if (open_attempt(&a, "tcp4") && start_reading(&a, WAIT_POLL, 0, sizeof(a.buf), 10000)) {
		close_fd(&a.pair.peer);
		finish_reading(&a);
		want_report(&a, 0, RECV_ARRIVED);
	}
	close_attempt(&a);
}

static void test_reset(void)
{
	struct linger linger = { .l_onoff = 1 };
	struct attempt a;

	if (open_attempt(&a, "tcp4") && start_reading(&a, WAIT_RECV, 0, sizeof(a.buf), 10000)) {
		/* To close with a lingering time of 0 is to reset. */
		setsockopt(a.pair.peer, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		close_fd(&a.pair.peer);
		finish_reading(&a);
		want_report(&a, -ECONNRESET, RECV_ERROR);
	}
	close_attempt(&a);
}

static void test_recv_timeout(void)
{
	struct recv_report report;
	struct attempt a;

	if (open_attempt(&a, "unix_dgram")) {
		send_some(a.pair.peer, 3);
		want_eq("with data",
			recv_timeout(a.pair.mapped, a.buf, sizeof(a.buf), 0, 10000, &report), 3);
		want_eq("fate", report.fate, RECV_ARRIVED);
		want_eq("without data, and without a report",
			recv_timeout(a.pair.mapped, a.buf, sizeof(a.buf), 0, 1, NULL), -ETIME);
		want_eq("not open", recv_timeout(1000, a.buf, 1, 0, 1000, &report), -EBADF);
		want_eq("fate", report.fate, RECV_ERROR);
		want_no_thread();
	}
	close_attempt(&a);
}

/* ---- Pairs ----------------------------------------------------------------------------------- */

static void want_traffic(const struct sock_kind *kind, int from, int to)
{
	ssize_t first = keeps_boundaries(kind) ? 4 : 10;
	char buf[64];

	send_some(from, 4);
	send_some(from, 6);
	usleep(10000); /* a stream has both in its queue then */
	want_eq("first read", recv_timeout(to, buf, sizeof(buf), 0, 5000, NULL), first);
	if (keeps_boundaries(kind))
		want_eq("second read", recv_timeout(to, buf, sizeof(buf), 0, 5000, NULL), 6);
	want_eq("rest", recv(to, buf, sizeof(buf), MSG_DONTWAIT), -1);
}

static void try_pair(const struct sock_kind *kind)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int err = make_pair(kind, &pair);

	if (err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL || err == -ENODEV ||
	    err == -ESOCKTNOSUPPORT || err == -EPROTONOSUPPORT) {
		snprintf(skip_reason, sizeof(skip_reason), "%s; needs %s", strerror(-err),
			 kind->remedy);
		return;
	}
	want_eq("make_pair()", err, 0);
	if (err)
		return;
	want(pair.kind == kind, "kind: want %s", kind->name);
	want_traffic(kind, pair.peer, pair.mapped);
	want_traffic(kind, pair.mapped, pair.peer);
	close_pair(&pair);
	want_eq("mapped after close_pair()", pair.mapped, -1);
	want_eq("peer after close_pair()", pair.peer, -1);
}

static void test_pairs(void)
{
	char name[64];

	for (unsigned int i = 0; i < nr_sock_kinds; i++) {
		begin_case();
		try_pair(&sock_kinds[i]);
		snprintf(name, sizeof(name), "make_pair: %s", sock_kinds[i].name);
		end_case(name);
	}
}

static void test_kinds(void)
{
	for (unsigned int i = 0; i < nr_sock_kinds; i++) {
		const struct sock_kind *kind = &sock_kinds[i];

		want(sock_kind(kind->name) == kind, "the name %s finds it", kind->name);
		want(sock_kind_of(kind->family, kind->type) == kind,
		     "family and type of %s find it", kind->name);
	}
	want(!sock_kind("tcp"), "there is no kind tcp");
	want(!sock_kind_of(AF_INET, SOCK_RAW), "there is no kind of raw sockets");
}

/* ---- Splats ---------------------------------------------------------------------------------- */

static const struct {
	bool splat;
	const char *message;
} messages[] = {
	{ true,
	  "WARNING: CPU: 1 PID: 812 at net/core/stream.c:217 sk_stream_kill_queues+0x1a/0x20" },
	{ true, "BUG: KASAN: slab-use-after-free in sk_psock_verdict_recv+0x4c/0x3a0" },
	{ true, "BUG: kernel NULL pointer dereference, address: 0000000000000018" },
	{ true, "BUG: sleeping function called from invalid context at net/core/sock.c:3537" },
	{ true, "BUG: scheduling while atomic: test_progs/812/0x00000002" },
	{ true, "BUG: unable to handle page fault for address: ffffc90000f1f000" },
	{ true, "WARNING: possible circular locking dependency detected" },
	{ true, "WARNING: possible recursive locking detected" },
	{ true, "WARNING: inconsistent lock state" },
	{ true, "WARNING: suspicious RCU usage" },
	{ true, "WARNING: bad unlock balance detected!" },
	{ true, "rcu: INFO: rcu_preempt self-detected stall on CPU" },
	{ true, "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:" },
	{ true,
	  "rcu: rcu_preempt kthread starved for 2100 jiffies! g1281 f0x0 RCU_GP_WAIT_FQS(5)" },
	{ true, "refcount_t: underflow; use-after-free." },
	{ true, "refcount_t: addition on 0; use-after-free." },
	{ true, "UBSAN: array-index-out-of-bounds in net/core/skmsg.c:612:9" },
	{ true, "KCSAN: data-race in sock_map_unref / sock_map_free" },
	{ true, "kernel BUG at net/core/skbuff.c:2171!" },
	{ true,
	  "Oops: general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP" },
	{ true, "general protection fault, probably for non-canonical address 0xdead000000000122" },
	{ true, "Kernel panic - not syncing: Fatal exception in interrupt" },
	{ true, "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [test_progs:812]" },
	{ true, "INFO: task kworker/1:2:88 blocked for more than 120 seconds." },
	{ true, "list_del corruption. prev->next should be ffff888, but was dead" },
	{ true, "unregister_netdevice: waiting for lo to become free. Usage count = 2" },
	{ true, "ODEBUG: free active (active state 0) object: ffff8881 object type: work_struct" },
	{ true, "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)" },
	{ true, "test_progs: page allocation failure: order:4, mode:0x40dc0(GFP_KERNEL)" },
	{ false, "Unprivileged eBPF is enabled, data leaks possible via Spectre v2 BHB attacks!" },
	{ false,
	  "Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on, data leaks possible via Spectre v2 BHB attacks!" },
	{ false, "MMIO Stale Data CPU bug present and SMT on, data leak possible." },
	{ false,
	  "clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable because the skew is too large:" },
	{ false,
	  "perf: interrupt took too long (2507 > 2500), lowering kernel.perf_event_max_sample_rate to 79000" },
	{ false, "hrtimer: interrupt took 5213123 ns" },
	{ false, "kasan: KernelAddressSanitizer initialized (generic)" },
	{ false,
	  "test_progs[812]: segfault at 0 ip 000000000040e5a7 sp 00007ffd error 6 in test_progs" },
	{ false, "test_progs: start sockmap_listen/sockmap IPv4 TCP test_insert_invalid" },
	{ false, "NET: Registered PF_VSOCK protocol family" },
	{ false,
	  "TCP: request_sock_TCP: Possible SYN flooding on port 127.0.0.1:4000. Sending cookies." },
	{ false, "virtio_net virtio0 eth0: renamed from veth1" },
	{ false, "rcu: Hierarchical RCU implementation." },
	{ false, "rcu: \tRCU calculated value of scheduler-enlistment delay is 25 jiffies." },
	{ false, "NMI watchdog: Enabled. Permanently consumes one hw-PMU counter." },
	{ false, "systemd[1]: Stopped target Timers." },
	{ false, "" },
};

static void test_splat_matches(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(messages); i++)
		want(splat_matches(messages[i].message) == messages[i].splat, "%s: %s",
		     messages[i].splat ? "want a splat" : "want no splat", messages[i].message);
}

/* Each of these records is one read(2), as of /dev/kmsg. */
static char *read_records(const char *const *records)
{
	char *text = NULL;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds)) {
		want(false, "socketpair: %s", strerror(errno));
		return NULL;
	}
	for (; *records; records++)
		want_eq("write", write(fds[1], *records, strlen(*records)), strlen(*records));
	text = splat_read(fds[0]);
	want(!splat_read(fds[0]), "a second look: want nothing new");
	close(fds[0]);
	close(fds[1]);
	return text;
}

static void want_splat(const char *const *records, const char *wanted)
{
	char *text = read_records(records);

	want(wanted ? text && strcmp(text, wanted) == 0 : !text, "want \"%s\", got \"%s\"",
	     wanted ?: "(nothing)", text ?: "(nothing)");
	free(text);
}

static void test_splat_quiet(void)
{
	static const char *const records[] = {
		"6,101,2001,-;NET: Registered PF_VSOCK protocol family\n",
		"5,102,2002,-;hrtimer: interrupt took 5213123 ns\n",
		NULL,
	};

	want_splat(records, NULL);
	want(!splat_read(-1), "without /dev/kmsg: want nothing");
}

/* Facility 1 (user) and 3 (daemon): anyone may have written that. */
static void test_splat_user(void)
{
	static const char *const records[] = {
		"12,101,2001,-;WARNING: written by a program\n",
		"28,102,2002,-;BUG: written by a daemon\n",
		"no record at all: WARNING: it has no semicolon\n",
		NULL,
	};

	want_splat(records, NULL);
}

static void test_splat_tag(void)
{
	static const char *const records[] = {
		"12,101,2001,-;BUG: written by a program\n",
		"12,102,2002,-;tag: BUG: written for a test\n",
		NULL,
	};

	setenv("KMSG_TAG", "tag: ", 1);
	want_splat(records, "BUG: written for a test\n");
	setenv("KMSG_TAG", "", 1);
	want_splat(records, NULL);
	unsetenv("KMSG_TAG");
	want_splat(records, NULL);
}

static void test_splat_text(void)
{
	static const char *const records[] = {
		"6,101,2001,-;an earlier message\n",
		"4,102,2002,-;WARNING: CPU: 1 PID: 8 at net/core/sock.c:1\n SUBSYSTEM=net\n",
		"12,103,2003,-;a program prints something\n",
		"4,104,2004,-;Call Trace:\n",
		"4,105,2005,-; sk_psock_drop+0x1/0x2\n",
		NULL,
	};

	want_splat(records, "WARNING: CPU: 1 PID: 8 at net/core/sock.c:1\n"
			    "Call Trace:\n sk_psock_drop+0x1/0x2\n");
}

static void test_splat_more(void)
{
	static const char *const records[] = {
		"4,101,2001,-;WARNING: the first\n",
		"4,102,2002,-;---[ end trace 0000000000000000 ]---\n",
		"4,103,2003,-;refcount_t: underflow; use-after-free.\n",
		"4,104,2004,-;a message\n",
		"3,105,2005,-;BUG: KASAN: the third\n",
		NULL,
	};

	want_splat(records,
		   "WARNING: the first\n---[ end trace 0000000000000000 ]---\n"
		   "[and 2 more]\nrefcount_t: underflow; use-after-free.\nBUG: KASAN: the third\n");
}

/* A call trace belongs to the splat that it follows. */
static void test_splat_call_traces(void)
{
	static const char *const records[] = {
		"4,101,1001,-;WARNING: the first\n",
		"4,102,1002,-;Call Trace:\n",
		"4,103,1003,-;---[ end trace 0000000000000000 ]---\n",
		"4,104,1004,-;WARNING: the second\n",
		"4,105,1005,-;Call Trace:\n",
		"4,106,1006,-;---[ end trace 0000000000000000 ]---\n",
		"4,107,1007,-;Call Trace:\n",
		NULL,
	};

	want_splat(records,
		   "WARNING: the first\nCall Trace:\n---[ end trace 0000000000000000 ]---\n"
		   "[and 2 more]\nWARNING: the second\nCall Trace:\n");
}

/* Two processors print at the same time: neither trace is a splat of its own. */
static void test_splat_interleaved(void)
{
	static const char *const records[] = {
		"4,101,1001,-;------------[ cut here ]------------\n",
		"4,103,1003,-;------------[ cut here ]------------\n",
		"4,102,1002,-;WARNING: the first\n",
		"4,104,1004,-;WARNING: the second\n",
		"4,105,1005,-;Call Trace:\n",
		"4,106,1006,-;---[ end trace 0000000000000000 ]---\n",
		"4,107,1007,-;Call Trace:\n",
		"4,108,1008,-;---[ end trace 0000000000000000 ]---\n",
		"4,109,1009,-;Call Trace:\n",
		NULL,
	};

	want_splat(records, "WARNING: the first\nWARNING: the second\nCall Trace:\n"
			    "---[ end trace 0000000000000000 ]---\nCall Trace:\n"
			    "---[ end trace 0000000000000000 ]---\n"
			    "[and 1 more]\nCall Trace:\n");
}

static void *read_splat(void *fd)
{
	return splat_read(*(int *)fd);
}

/* A look in the midst of one waits for its end, so that no other subtest gets that. */
static void test_splat_halves(void)
{
	static const char first[] = "4,1,1,-;WARNING: a slow one\n",
			  second[] = "4,2,2,-;Call Trace:\n",
			  end[] = "4,3,3,-;---[ end trace 0 ]---\n";
	uint64_t deadline = now_ns() + 5 * NSEC_PER_SEC;
	pthread_t thread;
	void *text = NULL;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds)) {
		want(false, "socketpair: %s", strerror(errno));
		return;
	}
	want(write(fds[1], first, strlen(first)) > 0, "write");
	want_eq("pthread_create", pthread_create(&thread, NULL, read_splat, &fds[0]), 0);
	while (reader_syscall() != SYS_poll && now_ns() < deadline)
		sched_yield();
	want(write(fds[1], second, strlen(second)) > 0 && write(fds[1], end, strlen(end)) > 0,
	     "write");
	pthread_join(thread, &text);
	want_text(text, "WARNING: a slow one\nCall Trace:\n---[ end trace 0 ]---\n");
	want_no_thread();
	free(text);
	close(fds[0]);
	close(fds[1]);
}

static bool is_listed(const char *message, void *listed)
{
	for (const char *const *text = listed; *text; text++) {
		if (strcmp(*text, message) == 0)
			return true;
	}
	return false;
}

static void test_splat_all_known(void)
{
	static const char *const listed[] = { "WARNING: listed", "BUG: listed", NULL };
	static const struct {
		const char *text;
		bool known;
	} rows[] = {
		{ "WARNING: listed\nRIP: 0010:x\nCall Trace:\n x+0x1/0x2\n---[ end trace 0 ]---\n",
		  true },
		{ "WARNING: new\n", false },
		{ "WARNING: listed\nWARNING: new\n", false },
		{ "WARNING: listed\nBUG: listed\n", true },
		{ "WARNING: listed\nBUG: listed\n---[ end trace 0 ]---\nCall Trace:\n"
		  "---[ end trace 0 ]---\n",
		  true },
		{ "WARNING: listed\n---[ end trace 0 ]---\nCall Trace:\n", false },
		{ "WARNING: listed\n---[ end trace 0 ]---\n[and 1 more]\nBUG: listed\n", true },
		{ "WARNING: listed\n---[ end trace 0 ]---\n[and 1 more]\nBUG: new\n", false },
		{ "WARNING: listed\n[and 2 more]\nBUG: listed\nCall Trace:\n", false },
		{ "WARNING: listed\n[and 1 more]\nBUG: listed\n\nBUG: listed\nCall Trace:\n",
		  true },
		{ "WARNING: listed\n[and 99 more]\nBUG: listed\n\n[not all of them fit]\n", false },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++)
		want(splat_all_known(rows[i].text, is_listed, (void *)listed) == rows[i].known,
		     "want it to be %s: %s", rows[i].known ? "known" : "unknown", rows[i].text);
}

#define TRACE(function)                                                                     \
	"\nModules linked in: vsock tcp_diag\nRIP: 0010:drm_x+0x1/0x2 [drm]\nCall Trace:\n" \
	" " function "+0x1b/0x40\n ? irq_exit_rcu+0x1/0x2\n---[ end trace 0 ]---\n"

#define DRIVER "WARNING: CPU: 3 PID: 77 at drivers/gpu/drm/x.c:12 drm_x+0x1/0x2 [drm]"

static void test_splat_is_foreign(void)
{
	static const char old[] = DRIVER;
	static const char new[] =
		"WARNING: drivers/gpu/drm/x.c:12 at drm_x+0x1/0x2 [drm], CPU#3: a/7";
	static const struct {
		const char *heading, *function;
		bool foreign;
	} rows[] = {
		{ old, "worker_thread", true },
		{ new, "worker_thread", true },
		{ "WARNING: CPU: 3 PID: 77 at /build/linux/sound/core/x.c:12 x+0x1/0x2", "x",
		  true },
		/* What it interrupted need not have to do with it, but may. */
		{ old, "tcp_sendmsg_locked", false },
		{ old, "bpf_prog_7a9c_F.verdict", false },
		{ new, "__napi_poll", false },
		{ new, "sk_psock_backlog", false },
		{ new, "unix_stream_read_generic", false },
		{ new, "__sys_sendto", false },
		{ new, "unixoid_skip_blocksk", true },
		{ "WARNING: CPU: 3 PID: 77 at net/core/skmsg.c:1 x+0x1/0x2", "x", false },
		{ "WARNING: CPU: 3 PID: 77 at drivers/net/veth.c:1 x+0x1/0x2", "x", false },
		{ "WARNING: CPU: 3 PID: 77 at kernel/workqueue.c:1 x+0x1/0x2", "x", false },
		{ "WARNING: CPU: 3 PID: 77 at mm/slub.c:1 at drivers/x.c:1 x", "x", false },
		{ "WARNING: possible recursive locking detected", "drm_lock", false },
		{ "BUG: KASAN: use-after-free in drm_x+0x1/0x2", "drm_x", false },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[512];

		snprintf(text, sizeof(text), "%s" TRACE("%s"), rows[i].heading, rows[i].function);
		want(splat_is_foreign(text) == rows[i].foreign, "want it to be %s: %s",
		     rows[i].foreign ? "foreign" : "suspicious", text);
	}
}

/* As it is read: from the call trace on, which comes without a heading. */
#define OOM_TRACE(function)                                           \
	"Call Trace:\n <TASK>\n oom_kill_process+0x1/0x2\n " function \
	"+0x3/0x4\n try_charge_memcg+0x5/0x6\n"
#define OOM(constraint) \
	"[and 1 more]\noom-kill:constraint=CONSTRAINT_" constraint ",nodemask=(null)\n"

static void test_several_are_foreign(void)
{
	static const struct {
		const char *text;
		bool foreign;
	} rows[] = {
		{ DRIVER TRACE("x") "\n" DRIVER TRACE("x"), true },
		{ DRIVER TRACE("x") "[and 1 more]\n" DRIVER "\n", true },
		{ DRIVER TRACE("x") "[and 1 more]\n" DRIVER "\n[not all of them fit]\n", false },
		{ DRIVER TRACE("x") "[and 1 more]\nBUG: Bad page state\n", false },
		{ DRIVER TRACE("x") "\nBUG: Bad page state\n", false },
		{ DRIVER TRACE("x") "\n" DRIVER TRACE("tcp_poll"), false },
		{ OOM_TRACE("mem_cgroup_out_of_memory") OOM("MEMCG"), true },
		{ OOM_TRACE("out_of_memory") OOM("NONE"), false },
		{ OOM_TRACE("mem_cgroup_out_of_memory") "[and 1 more]\nBUG: Bad page state\n",
		  false },
		{ "Call Trace:\n sk_psock_drop+0x1/0x2\n", false },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++)
		want(splat_is_foreign(rows[i].text) == rows[i].foreign, "want them to be %s: %s",
		     rows[i].foreign ? "foreign" : "suspicious", rows[i].text);
}

#define LONG_MESSAGE 400

static void want_others(unsigned int nr, bool known)
{
	static char lines[20][LONG_MESSAGE + 20];
	const char *records[ARRAY_SIZE(lines) + 3] = { "4,1,1,-;WARNING: listed\n",
						       "4,1,1,-;---[ end trace 0 ]---\n" };
	const char *listed[ARRAY_SIZE(lines) + 2] = { "WARNING: listed" };
	char *text, more[64];

	for (unsigned int i = 0; i < nr; i++) {
		snprintf(lines[i], sizeof(lines[i]), "4,2,2,-;WARNING: %0*u", LONG_MESSAGE, i);
		listed[i + 1] = strchr(lines[i], ';') + 1;
		records[i + 2] = lines[i];
	}
	text = read_records(records);
	snprintf(more, sizeof(more), "\n[and %u more]\n", nr);
	want(text && strstr(text, more), "want %u more, got: %.300s", nr, text ?: "");
	want(text && splat_all_known(text, is_listed, listed) == known, "%u: want them to be %s",
	     nr, known ? "known" : "unknown");
	free(text);
}

/* More of them than fit are not known, whatever they are. */
static void test_splat_many(void)
{
	want_others(3, true);
	want_others(15, false);
}

/* The same message again takes no room. */
static void test_splat_repeated(void)
{
	static const char *const records[] = {
		"4,1,1,-;WARNING: the first\n",
		"4,2,1,-;---[ end trace 0 ]---\n",
		"4,3,1,-;WARNING: the first\n",
		"4,4,1,-;---[ end trace 0 ]---\n",
		"4,5,1,-;WARNING: the second\n",
		"4,6,1,-;---[ end trace 0 ]---\n",
		"4,7,1,-;WARNING: the second\n",
		"4,8,1,-;---[ end trace 0 ]---\n",
		"4,7,1,-;WARNING: the\n",
		"4,8,1,-;---[ end trace 0 ]---\n",
		NULL,
	};

	want_splat(records, "WARNING: the first\n---[ end trace 0 ]---\n[and 4 more]\n"
			    "WARNING: the first\nWARNING: the second\nWARNING: the\n");
}

/* More text than is kept: it is cut, and nothing beyond it is written to. */
static void test_splat_long(void)
{
	static char lines[20][1000];
	const char *records[ARRAY_SIZE(lines) + 2] = { "4,1,1,-;WARNING: a long one\n" };
	char *text;

	for (unsigned int i = 0; i < ARRAY_SIZE(lines); i++) {
		memset(lines[i], 'x', sizeof(lines[i]) - 1);
		memcpy(lines[i], "4,2,2,-;", 8);
		records[i + 1] = lines[i];
	}
	text = read_records(records);
	want(text && strncmp(text, "WARNING: a long one\nxxx", 23) == 0, "want its beginning");
	want(text && strlen(text) > 4000 && strlen(text) < 9000, "length: want some 8 KB, got %zu",
	     text ? strlen(text) : 0);
	free(text);
}

/* ---- Known failures -------------------------------------------------------------------------- */

/* A directory with the files named, each with the content. To be freed, and removed. */
static char *make_files(const char *const *names, const char *content, size_t size)
{
	char *dir = strdup("/tmp/unit.XXXXXX");

	want(mkdtemp(dir) != NULL, "want a directory");
	for (; *names; names++) {
		char path[256];
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s", dir, *names);
		file = fopen(path, "we");
		want(file && fwrite(content, 1, size, file) == size, "cannot write %s", path);
		if (file)
			fclose(file);
	}
	return dir;
}

static void remove_files(char *dir, const char *const *names)
{
	char path[256];

	for (; *names; names++) {
		snprintf(path, sizeof(path), "%s/%s", dir, *names);
		unlink(path);
	}
	rmdir(dir);
	free(dir);
}

static void want_patterns(const char *content, const char *complaint)
{
	static const char *const names[] = { "allow", NULL };
	char *dir = make_files(names, content, strlen(content)), path[256], error[256] = "";
	struct splat_patterns *patterns;

	snprintf(path, sizeof(path), "%s/allow", dir);
	patterns = splat_patterns_load(path, error, sizeof(error));
	want(!!patterns == !complaint && strstr(error, complaint ?: ""),
	     "%s: want \"%s\", got \"%s\"", content, complaint ?: "", error);
	want(!patterns || !*content || splat_patterns_match(patterns, "WARNING: CPU: 1"),
	     "want a match");
	want(!patterns || !splat_patterns_match(patterns, "BUG: x"), "want no match");
	remove_files(dir, names);
}

/* A pattern that is cut short would allow too much. */
static void test_splat_patterns(void)
{
	want_patterns("# a note\n\n^WARNING: CPU: [0-9]\n", NULL);
	want_patterns("", NULL);
	want_patterns("^WARNING: CPU: 1 .*\n^B", "truncated");
	want_patterns("^WARNING(\n", "Unmatched");
}

static struct expect *load_text(const char *content, size_t size, char *error, size_t error_size)
{
	static const char *const names[] = { "list", NULL };
	char *dir = make_files(names, content, size), path[256];
	struct expect *expect;

	snprintf(path, sizeof(path), "%s/list", dir);
	error[0] = '\0';
	expect = expect_load(path, "6.16", error, error_size);
	remove_files(dir, names);
	return expect;
}

static const char good_list[] = "# A list\n"
				"\n"
				"fix:   7303524e04af (\"skmsg: Lose offset info: all\")\n"
				"fixed: v5.16\n"
				"# about it\n"
				"why:   a message of 3 bytes arrives with the 4th\n"
				"fail:  listen/*partial*\n"
				"fail:  other\n"
				"says:  got 4 bytes, want [3-4]$\n"
				"says:  ^killed by SIGSEGV\n"
				"\n"
				"\n"
				"fix:none\n"
				"  why: \t it complains  \n"
				"fail: listen/splat*\n"
				"fail: listen/both partial\n"
				"norun: listen/crash\n"
				"splat: WARNING: .* strp_done\n"
				"\n"
				"fix: x\n"
				"why: whatever it is\n"
				"fail: listen/any\n";

static struct expect *load_good(void)
{
	char error[256];
	struct expect *expect = load_text(good_list, strlen(good_list), error, sizeof(error));

	want(expect != NULL, "want a list, got: %s", error);
	if (expect)
		return expect;
	/* The case has failed; what follows needs a list nevertheless. */
	return calloc(1, sizeof(*expect));
}

static void test_expect_parse(void)
{
	struct expect *expect = load_good();

	want_eq("blocks", expect->nr_blocks, 3);
	if (expect->nr_blocks == 3) {
		const struct expect_block *b = expect->blocks;

		want_text(b[0].fix, "7303524e04af (\"skmsg: Lose offset info: all\")");
		want_text(b[0].fixed, "v5.16");
		want_text(b[0].why, "a message of 3 bytes arrives with the 4th");
		want_eq("line of the first block", b[0].line, 3);
		want_eq("names of the first block", b[0].nr_names, 2);
		want_eq("says of the first block", b[0].says.nr, 2);
		want_text(b[1].fix, "none");
		want(b[1].fixed == NULL, "want no release for the second block");
		want_text(b[1].why, "it complains");
		want_eq("names of the second block", b[1].nr_names, 3);
		want_eq("line of norun", b[1].names[2].line, 17);
		want_eq("splats of the second block", b[1].splats.nr, 1);
	}
	expect_free(expect);
}

static void test_expect_malformed(void)
{
#define BLOCK "fix: x\nwhy: x\nfail: x/x\n"
#define ROW(content, error)                                 \
	{                                                   \
		content, sizeof(content) - 1, "/list" error \
	}
	static const struct {
		const char *content;
		size_t size;
		const char *error;
	} rows[] = {
		ROW("", " holds no known failure"),
		ROW("# nothing\n\n", " holds no known failure"),
		ROW(BLOCK "says: x", ":4: the last line has no end"),
		ROW(BLOCK "\nfix: \0x\n", ":5: a NUL byte"),
		ROW(BLOCK "nonsense\n", ":4: \"nonsense\" is not of the form"),
		ROW(BLOCK "because: x\n", ":4: \"because\" is no key"),
		ROW(BLOCK "Fix: x\n", ":4: \"Fix\" is no key"),
		ROW(BLOCK "says:\n", ":4: \"says:\" without a value"),
		ROW(BLOCK "says:   \n", ":4: \"says:\" without a value"),
		ROW(BLOCK BLOCK, ":4: a second \"fix:\""),
		ROW(BLOCK "why: y\n", ":4: a second \"why:\""),
		ROW("\nwhy: x\nfail: x\n", ":2: a block without \"fix:\""),
		ROW("fix: x\nfail: x\n", ":1: a block without \"why:\""),
		ROW(BLOCK "\nfix: x\nwhy: x\n\n" BLOCK, ":5: a block with neither"),
		ROW("fix: ?\nwhy: x\nfail: x\n", ":1: \"fix: ?\" is still to be filled in"),
		ROW("fix: x\nwhy: ? x\nfail: x\n", ":2: \"why: ? x\" is still"),
		ROW(BLOCK "says: a(b\n", ":4: \"a(b\" is no regular expression: "),
		ROW(BLOCK "splat: [b\n", ":4: \"[b\" is no regular expression: "),
		ROW(BLOCK "fail: x/\n", ":4: \"x/\" is no pattern"),
		ROW(BLOCK "norun: /x\n", ":4: \"/x\" is no pattern"),
	};
#undef ROW
#undef BLOCK

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		char error[512];
		struct expect *expect =
			load_text(rows[i].content, rows[i].size, error, sizeof(error));

		want(!expect && strstr(error, rows[i].error), "row %u: want \"%s\", got %s", i,
		     rows[i].error, expect ? "a list" : error);
		expect_free(expect);
	}
}

static void test_expect_is_for(void)
{
	static const struct {
		const char *name, *release;
		bool wanted;
	} rows[] = {
		{ "6.16", "6.16.12+deb13-cloud-amd64", true },
		{ "6.16.12", "6.16.12+deb13-cloud-amd64", true },
		{ "6.16.12+deb13", "6.16.12+deb13-cloud-amd64", true },
		{ "6.16.12+deb13-cloud-amd64", "6.16.12+deb13-cloud-amd64", true },
		{ "6", "6.16.12", true },
		{ "6.16", "6.16-rc1", true },
		{ "6.16", "6.160", false },
		{ "6.16.1", "6.16.12", false },
		{ "6.16.12+deb1", "6.16.12+deb13-cloud-amd64", false },
		{ "6.16.12-amd64", "6.16.12", false },
		{ "README", "6.16.12", false },
		{ ".", "6.16.12", false },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++)
		want(expect_is_for(rows[i].name, rows[i].release) == rows[i].wanted,
		     "%s for %s: want %d", rows[i].name, rows[i].release, rows[i].wanted);
}

/* The file that a directory has for a release; NULL: none. */
static void want_file(const char *dir, const char *release, const char *wanted)
{
	char error[512] = "", path[256];
	struct expect *expect = expect_load(dir, release, error, sizeof(error));

	snprintf(path, sizeof(path), "%s/%s", dir, wanted ?: "");
	want(expect != NULL, "%s: want no error, got: %s", release, error);
	if (expect && wanted)
		want_text(expect->path, path);
	else if (expect)
		want(!expect->path && !expect->nr_blocks, "%s: want no file, got %s", release,
		     expect->path);
	expect_free(expect);
}

static void test_expect_directory(void)
{
	static const char *const names[] = { "5.10", "6.16.12", "6.16", "6.1", "README", NULL };
	char *dir = make_files(names, good_list, strlen(good_list)), error[512];

	want_file(dir, "6.16.12+deb13-cloud-amd64", "6.16.12");
	want_file(dir, "6.16.13", "6.16");
	want_file(dir, "6.1.0-56-cloud-amd64", "6.1");
	want_file(dir, "5.100", NULL);
	want_file(dir, "7.3.4", NULL);
	remove_files(dir, names);
	want(!expect_load("/tmp/no/such", "6.16", error, sizeof(error)) &&
		     strstr(error, "/tmp/no/such: No such file"),
	     "want an error for what is missing, got: %s", error);
}

static bool describe_nothing(unsigned int i, struct subtest *sub)
{
	(void)i, (void)sub;
	return false;
}

static const struct test listen_test = { "listen", describe_nothing, NULL };

static void test_known_check(void)
{
	struct plan_item items[] = {
		{ .test = &listen_test, .subtest = { .name = "a partial" } },
		{ .test = &listen_test, .subtest = { .name = "splat" } },
		{ .test = &listen_test, .subtest = { .name = "both partial" } },
		{ .test = &listen_test, .subtest = { .name = "crash" } },
		{ .test = &listen_test, .subtest = { .name = "new", .alias = "any" } },
		{ .test = &(const struct test){ "other", describe_nothing, NULL } },
	};
	struct plan plan = { .items = items, .nr_items = ARRAY_SIZE(items) };
	struct expect *expect = load_good();
	char error[512] = "";

	want(known_check(expect, &plan, error, sizeof(error)), "want no error, got: %s", error);
	plan.nr_items--;
	want(!known_check(expect, &plan, error, sizeof(error)) &&
		     strstr(error, "/list:8: no test matches \"other\""),
	     "want an error about line 8, got: %s", error);
	expect_free(expect);
}

#define STRP_DONE "WARNING: CPU: 0 PID: 111 at net/strparser/strparser.c:518 strp_done+0x40/0x50\n"
#define LISTED	  "f.c:1: FAIL: got 4 bytes, want 3"

static void test_known_judge(void)
{
	static const struct {
		const char *subtest;
		enum verdict verdict, wanted;
		const char *fixes;   /* their first letters */
		const char *unknown; /* "": nothing */
		const char *reason, *log;
		unsigned int failed_checks;
		const char *also, *kernel_log;
	} rows[] = {
#define PASSED		  VERDICT_PASS, VERDICT_PASS
#define FAILED		  VERDICT_FAIL, VERDICT_FAIL
#define EXPECTED	  VERDICT_FAIL, VERDICT_XFAIL
#define CHECK_FAILED(log) LISTED, log, 1
#define NO_CHECK(reason)  reason, NULL, 0
		{ "any", PASSED, "x", "", NO_CHECK(NULL), NULL, NULL },
		{ "any", VERDICT_SKIP, VERDICT_SKIP, "", "", NO_CHECK(NULL), NULL, NULL },
		{ "any", EXPECTED, "x", "", NO_CHECK("made no checks"), NULL, NULL },
		{ "new", PASSED, "", "", NO_CHECK(NULL), NULL, NULL },
		{ "new", FAILED, "", "", NO_CHECK("made no checks"), NULL, NULL },
		/* No list of checks and reasons knows what the kernel says. */
		{ "any", FAILED, "x", "BUG: x", NO_CHECK("the kernel complained"), NULL,
		  "BUG: x\n" },
		{ "a partial", EXPECTED, "7", "", CHECK_FAILED(LISTED "\nf.c:9: ok: x\n"), NULL,
		  NULL },
		/* It has closed its log. */
		{ "a partial", EXPECTED, "7", "", CHECK_FAILED(NULL), NULL, NULL },
		/* The last of its failed checks is new, or the log has lost one. */
		{ "a partial", FAILED, "7", "got nothing", LISTED,
		  LISTED "\nf.c:2: FAIL: got nothing\n", 2, NULL, NULL },
		{ "a partial", FAILED, "7", "is not in the log", LISTED, LISTED "\n", 2, NULL,
		  NULL },
		{ "a partial", EXPECTED, "7", "", NO_CHECK("killed by SIGSEGV (x)"), NULL, NULL },
		{ "a partial", FAILED, "7", "timed out", NO_CHECK("timed out after 60 s"), NULL,
		  NULL },
		/* The end of it is known, and a check before it is not. */
		{ "a partial", FAILED, "7", "got nothing", "killed by SIGSEGV (x)",
		  "f.c:2: FAIL: got nothing\n", 1, NULL, NULL },
		{ "a partial", FAILED, "7", "left 2 sockets", CHECK_FAILED(NULL),
		  "left 2 sockets behind", NULL },
		{ "a partial", FAILED, "7", "WARNING: CPU", CHECK_FAILED(NULL), NULL, STRP_DONE },
		/* A known splat explains no check, and no other splat. */
		{ "splat it", EXPECTED, "n", "", NO_CHECK("the kernel complained"), NULL,
		  STRP_DONE },
		{ "splat it", FAILED, "n", "got 4 bytes", CHECK_FAILED(NULL), NULL, STRP_DONE },
		{ "splat it", FAILED, "n", "BUG: new", NO_CHECK("the kernel complained"), NULL,
		  STRP_DONE "BUG: new\n" },
		/* Two blocks have it, and a part each. */
		{ "both partial", EXPECTED, "7n", "", CHECK_FAILED(NULL), NULL, STRP_DONE },
		{ "both partial", EXPECTED, "7", "", CHECK_FAILED(NULL), NULL, NULL },
		{ "both partial", PASSED, "7n", "", NO_CHECK(NULL), NULL, NULL },
		/* That it must not run says nothing about a failure. */
		{ "crash", FAILED, "", "", NO_CHECK("made no checks"), NULL, NULL },
#undef PASSED
#undef FAILED
#undef EXPECTED
#undef CHECK_FAILED
#undef NO_CHECK
	};
	struct expect *expect = load_good();

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		struct plan_item item = { .test = &listen_test };
		struct result r = {
			.verdict = rows[i].verdict,
			.reason = (char *)rows[i].reason,
			.log = (char *)rows[i].log,
			.failed_checks = rows[i].failed_checks,
			.also = (char *)rows[i].also,
			.kernel_log = (char *)rows[i].kernel_log,
		};
		char fixes[8] = "";

		snprintf(item.subtest.name, sizeof(item.subtest.name), "%s", rows[i].subtest);
		known_judge(expect, &item, &r);
		want_eq(rows[i].subtest, r.verdict, rows[i].wanted);
		for (unsigned int k = 0; r.known && r.known[k]; k++)
			strncat(fixes, r.known[k]->fix, 1);
		want_text(fixes, rows[i].fixes);
		want(*rows[i].unknown ? r.unknown && strstr(r.unknown, rows[i].unknown)
				      : !r.unknown,
		     "row %u: want unknown: \"%s\", got \"%s\"", i, rows[i].unknown,
		     r.unknown ?: "");
		free(r.known);
		free(r.unknown);
	}
	expect_free(expect);
}

static void test_known_withhold(void)
{
	struct plan_item item = { .test = &listen_test, .subtest = { .name = "crash" } };
	struct expect *expect = load_good();
	struct result r = {};

	want(!known_withhold(NULL, &item, &r), "without a list: want it to run");
	want(known_withhold(expect, &item, &r), "want it not to run");
	want_eq("verdict", r.verdict, VERDICT_XFAIL);
	want(r.withheld, "want it to be withheld");
	want_text(r.reason, "not run: it complains");
	result_free(&r);
	snprintf(item.subtest.name, sizeof(item.subtest.name), "any");
	want(!known_withhold(expect, &item, &r), "one that fails: want it to run");
	expect_free(expect);
}

/* A splat that came while several ran is known if it is of one of them. */
static void test_known_splat(void)
{
	static const struct plan_item splats = { .test = &listen_test,
						 .subtest = { .name = "splat" } };
	static const struct plan_item partial = { .test = &listen_test,
						  .subtest = { .name = "a partial" } };
	const struct plan_item *both[] = { &partial, &splats };
	struct expect *expect = load_good();

	want(known_splat(expect, both, 2, STRP_DONE), "want it to be known of the second");
	want(!known_splat(expect, both, 1, STRP_DONE), "the second did not run: want it to be new");
	want(!known_splat(expect, both, 2, "BUG: new\n"), "want another one to be new");
	want(!known_splat(expect, both, 2, STRP_DONE "BUG: new\n"), "want both to be new");
	want(!known_splat(NULL, both, 2, STRP_DONE), "without a list: want it to be new");
	expect_free(expect);
}

/* ---- Plan ------------------------------------------------------------------------------------ */

#define NR_ITEMS 100

static void make_plan(struct plan *plan)
{
	*plan = (struct plan){ .nr_items = NR_ITEMS };
	plan->items = calloc(NR_ITEMS, sizeof(*plan->items));
	for (unsigned int i = 0; plan->items && i < NR_ITEMS; i++) {
		plan->items[i].subtest_number = i + 1;
		plan->items[i].selected = i % 10 != 3;
	}
}

static void order_of(struct plan *plan, const uint32_t *seed, unsigned int *numbers)
{
	plan_set_order(plan, seed);
	want_eq("selected", plan->nr_selected, NR_ITEMS - NR_ITEMS / 10);
	for (unsigned int i = 0; i < plan->nr_selected && i < NR_ITEMS; i++)
		numbers[i] = plan->order[i]->subtest_number;
}

static void want_permutation(const struct plan *plan, const unsigned int *numbers)
{
	unsigned int times[NR_ITEMS] = {};

	for (unsigned int i = 0; i < plan->nr_selected; i++)
		times[numbers[i] - 1]++;
	for (unsigned int i = 0; i < NR_ITEMS; i++)
		want(times[i] == plan->items[i].selected, "item %u: want %d times, got %u", i,
		     plan->items[i].selected, times[i]);
}

static void test_plan_order(void)
{
	unsigned int first[NR_ITEMS] = {}, again[NR_ITEMS] = {}, other[NR_ITEMS] = {};
	const uint32_t seed = 7, other_seed = 8;
	struct plan plan;

	make_plan(&plan);
	order_of(&plan, NULL, first);
	for (unsigned int i = 1; i < plan.nr_selected; i++)
		want(first[i - 1] < first[i], "without a seed: item %u is out of order", i);
	order_of(&plan, &seed, again);
	want_permutation(&plan, again);
	want(memcmp(first, again, sizeof(first)), "with a seed: want another order");
	order_of(&plan, &seed, first);
	want(!memcmp(first, again, sizeof(first)), "the same seed: want the same order");
	order_of(&plan, &other_seed, other);
	want_permutation(&plan, other);
	want(memcmp(first, other, sizeof(first)), "another seed: want another order");
	free(plan.order);
	free(plan.items);
}

/* ---- The delivery timeline ------------------------------------------------------------------- */

/* Cookies of the four sockets, as in the picture. */
enum { IN_MAPPED = 1, IN_PEER, OUT_MAPPED, OUT_PEER };

static const struct timeline_name socket_names[] = {
	{ OUT_MAPPED, "mapped2" }, /* renamed below */
	{ IN_MAPPED, "in.mapped" },   { IN_PEER, "in.peer" },
	{ OUT_MAPPED, "out.mapped" }, { OUT_PEER, "out.peer" },
};

#define EVENT(at, where, ...)                                 \
	{                                                     \
		.point = (at), .sock = (where), ##__VA_ARGS__ \
	}

/* 10 bytes are sent, to be redirected to the ingress of out.mapped, and get as far as this. */
#define EXPECTED                      \
	EVENT(TL_ASLEEP, OUT_MAPPED), \
		EVENT(TL_EXPECT, OUT_MAPPED, .target = OUT_MAPPED, .value = SK_PASS, .more = 10)
#define SENT	EXPECTED, EVENT(TL_SEND, IN_PEER, .value = 10), EVENT(TL_SENT, IN_PEER, .value = 10)
#define ARRIVED SENT, EVENT(TL_ARRIVED, IN_MAPPED)
#define REDIRECTED                                                                        \
	ARRIVED, EVENT(TL_VERDICT, IN_MAPPED, .target = OUT_MAPPED, .value = TL_REDIRECT, \
		       .more = BPF_F_INGRESS)
#define ON_BACKLOG    REDIRECTED, EVENT(TL_WORK_QUEUED, IN_MAPPED, .target = OUT_MAPPED, .skb = 1)
#define WORKED	      ON_BACKLOG, EVENT(TL_WORK_RUNS, OUT_MAPPED, .value = 1)
#define QUEUED	      WORKED, EVENT(TL_QUEUED, OUT_MAPPED, .skb = 1, .value = 10)
#define NOTIFIED      QUEUED, EVENT(TL_DATA_READY, OUT_MAPPED, .value = 1)
#define WOKEN	      NOTIFIED, EVENT(TL_WAKING, 0, .value = 7, .text = "reader")
#define GAVE_UP(fate) EVENT(TL_READ, OUT_MAPPED, .value = -ETIME, .more = (fate))

#define POINT(p) (1ULL << (p))

/* Events a microsecond apart, unless they have a time of their own; the first with no point ends. */
static const struct {
	const char *name;
	struct timeline_event events[24];
	const char *conclusion;
	uint64_t unseen;
} trails[] = {
	{ "delivered",
	  { WOKEN, EVENT(TL_TAKEN, OUT_MAPPED, .value = 10),
	    EVENT(TL_READ, OUT_MAPPED, .value = 10) },
	  "delivered: the reader got data 10.0 us after the send",
	  0 },
	{ "send fails",
	  { EXPECTED, EVENT(TL_SEND, IN_PEER, .value = 10),
	    EVENT(TL_SENT, IN_PEER, .value = -EACCES) },
	  "send() fails with EACCES",
	  0 },
	{ "send hangs",
	  { EXPECTED, EVENT(TL_SEND, IN_PEER, .value = 10), EVENT(TL_MSG_REDIRECT, OUT_MAPPED) },
	  "send() does not return; the trail ends in tcp_bpf_sendmsg_redir() of out.mapped",
	  0 },
	{ "send sleeps on",
	  { EVENT(TL_SEND, IN_MAPPED, .value = 10), EVENT(TL_WRITE_SPACE, IN_MAPPED),
	    EVENT(TL_WORK_RUNS, IN_MAPPED), EVENT(TL_FAILED, 0) },
	  "send() does not return, though there was room: the sender is not woken; the trail ends in sk_psock_write_space() of in.mapped",
	  0 },
	{ "more is queued than was sent",
	  { EVENT(TL_SEND, IN_PEER, .value = 10), EVENT(TL_SENT, IN_PEER, .value = 10),
	    EVENT(TL_QUEUED, OUT_MAPPED, .value = 4), EVENT(TL_QUEUED, OUT_MAPPED, .value = 10),
	    EVENT(TL_FAILED, 0) },
	  "14 bytes queued, and 10 sent: some are repeated; the trail ends in sk_psock_skb_ingress_enqueue() of out.mapped",
	  0 },
	{ "a later message is sent on",
	  { EVENT(TL_SEND, IN_MAPPED, .value = 10), EVENT(TL_MSG_REDIRECT, OUT_MAPPED),
	    EVENT(TL_DATA_READY, OUT_PEER), EVENT(TL_MSG_PUSHED, OUT_MAPPED),
	    EVENT(TL_SENT, IN_MAPPED, .value = 10), EVENT(TL_ASLEEP, OUT_MAPPED),
	    GAVE_UP(RECV_LOST) },
	  "wrong direction: sent on by out.mapped, where the reader is; the trail ends in tcp_bpf_push() of out.mapped",
	  0 },
	{ "a message is redirected to the egress",
	  { EVENT(TL_SEND, IN_MAPPED, .value = 10), EVENT(TL_MSG_REDIRECT, OUT_MAPPED),
	    EVENT(TL_MSG_PUSHED, OUT_MAPPED), EVENT(TL_SENT, IN_MAPPED, .value = 10),
	    EVENT(TL_ASLEEP, OUT_PEER),
	    EVENT(TL_READ, OUT_PEER, .more = RECV_LOST, .value = -ETIME) },
	  "lost; the trail ends in tcp_bpf_push() of out.mapped",
	  0 },
	{ "a message is held back",
	  { EVENT(TL_SEND, IN_MAPPED, .value = 10), EVENT(TL_MSG_PUSHED, IN_MAPPED),
	    EVENT(TL_MSG_VERDICT, IN_MAPPED, .value = TL_PASS),
	    EVENT(TL_SENT, IN_MAPPED, .value = 10), EVENT(TL_ASLEEP, IN_PEER), GAVE_UP(RECV_LOST) },
	  "held back: neither sent nor redirected after the verdict; the trail ends in sk_psock_msg_verdict() of in.mapped",
	  0 },
	{ "whether a message is sent is not seen",
	  { EVENT(TL_SEND, IN_MAPPED, .value = 10),
	    EVENT(TL_MSG_VERDICT, IN_MAPPED, .value = TL_PASS),
	    EVENT(TL_SENT, IN_MAPPED, .value = 10), EVENT(TL_ASLEEP, IN_PEER), GAVE_UP(RECV_LOST) },
	  "lost; the trail ends in sk_psock_msg_verdict() of in.mapped",
	  POINT(TL_MSG_PUSHED) },
	{ "not readable for those who wait in their own way",
	  { NOTIFIED, EVENT(TL_POLLED, OUT_MAPPED, .more = TL_UDP_POLL), EVENT(TL_FAILED, 0) },
	  "queued, data_ready called, but poll says not readable; the trail ends in udp_poll() of out.mapped",
	  0 },
	{ "not woken, those who wait in their own way",
	  { QUEUED, EVENT(TL_FAILED, 0) },
	  "queued, but the reader is not woken: its data_ready callback was never called; the trail ends in sk_psock_skb_ingress_enqueue() of out.mapped",
	  0 },
	{ "not read yet",
	  { NOTIFIED, EVENT(TL_POLLED, OUT_MAPPED, .value = POLLIN), EVENT(TL_FAILED, 0) },
	  "queued at the reader, and not read yet; the trail ends in sock_def_readable() of out.mapped; what failed: a check",
	  0 },
	{ "not read yet, and nothing has failed",
	  { NOTIFIED },
	  "sent, and not read yet; the trail ends in sock_def_readable() of out.mapped",
	  0 },
	{ "room for an earlier send",
	  { EVENT(TL_SEND, IN_MAPPED, .value = 10), EVENT(TL_WRITE_SPACE, IN_MAPPED),
	    EVENT(TL_SENT, IN_MAPPED, .value = 10), EVENT(TL_SEND, IN_MAPPED, .value = 10),
	    EVENT(TL_WRITE_SPACE, OUT_MAPPED), EVENT(TL_FAILED, 0) },
	  "send() does not return; the trail ends in sk_psock_write_space() of out.mapped",
	  0 },
	{ "no data for the program",
	  { SENT, EVENT(TL_WRITE_SPACE, 0), GAVE_UP(RECV_LOST) },
	  "the verdict program never ran: no data came to it",
	  0 },
	{ "data, and no verdict",
	  { ARRIVED, GAVE_UP(RECV_LOST) },
	  "the verdict program never ran, though data arrived; the trail ends in sk_psock_verdict_data_ready() of in.mapped",
	  0 },
	{ "nothing of the kernel seen", { SENT, GAVE_UP(RECV_LOST) }, "lost", 0 },
	{ "verdicts are not shown here",
	  { ARRIVED, GAVE_UP(RECV_LOST) },
	  "lost; the trail ends in sk_psock_verdict_data_ready() of in.mapped",
	  POINT(TL_VERDICT) },
	{ "dropped",
	  { ARRIVED, EVENT(TL_VERDICT, IN_MAPPED, .value = TL_DROP), GAVE_UP(RECV_LOST) },
	  "dropped by the verdict; the trail ends in sk_psock_verdict_apply() of in.mapped",
	  0 },
	{ "not dropped",
	  { EVENT(TL_EXPECT, OUT_MAPPED, .value = SK_DROP, .more = 10),
	    EVENT(TL_SEND, IN_PEER, .value = 10), EVENT(TL_SENT, IN_PEER, .value = 10),
	    EVENT(TL_VERDICT, IN_MAPPED, .value = TL_PASS) },
	  "not dropped: the kernel does not take the program's verdict for a drop; the trail ends in sk_psock_verdict_apply() of in.mapped",
	  0 },
	{ "passed on",
	  { ARRIVED, EVENT(TL_VERDICT, IN_MAPPED, .value = TL_PASS), GAVE_UP(RECV_LOST) },
	  "passed on instead of redirected; the trail ends in sk_psock_verdict_apply() of in.mapped",
	  0 },
	{ "wrong target",
	  { SENT, EVENT(TL_MSG_VERDICT, IN_MAPPED, .target = IN_PEER, .value = TL_REDIRECT),
	    GAVE_UP(RECV_LOST) },
	  "wrong target: in.peer instead of out.mapped; the trail ends in sk_psock_msg_verdict() of in.mapped",
	  0 },
	{ "wrong direction",
	  { SENT, EVENT(TL_MSG_VERDICT, IN_MAPPED, .target = OUT_MAPPED, .value = TL_REDIRECT),
	    GAVE_UP(RECV_MISDIRECTED), EVENT(TL_MISPLACED, OUT_PEER, .value = 10) },
	  "wrong direction: egress, and the reader is at out.mapped; the trail ends in sk_psock_msg_verdict() of in.mapped",
	  0 },
	{ "refused",
	  { ON_BACKLOG, EVENT(TL_REFUSED, IN_MAPPED, .value = -EIO), GAVE_UP(RECV_LOST) },
	  "refused with EIO; the trail ends in sk_psock_skb_redirect() of in.mapped",
	  0 },
	{ "the worker never runs",
	  { ON_BACKLOG, GAVE_UP(RECV_LOST) },
	  "the backlog worker of out.mapped never ran; the trail ends in sk_psock_skb_redirect() of in.mapped",
	  0 },
	{ "the worker never runs, and the backlog is not shown",
	  { REDIRECTED, GAVE_UP(RECV_LOST) },
	  "the backlog worker of out.mapped never ran, or it was refused; the trail ends in sk_psock_verdict_apply() of in.mapped",
	  POINT(TL_WORK_QUEUED) },
	{ "the worker is late, and the backlog is not shown",
	  { REDIRECTED, EVENT(TL_WORK_RUNS, OUT_MAPPED, .ns = 14 * NSEC_PER_MSEC + 6000),
	    EVENT(TL_READ, OUT_MAPPED, .value = 10, .ns = 14 * NSEC_PER_MSEC + 9000) },
	  "delivered: the reader got data 14006.0 us after the send; the backlog worker was late by 14.0 ms",
	  POINT(TL_WORK_QUEUED) },
	{ "the worker is late",
	  { ON_BACKLOG, EVENT(TL_WORK_RUNS, OUT_MAPPED, .ns = 14 * NSEC_PER_MSEC + 7000),
	    EVENT(TL_READ, OUT_MAPPED, .value = 10, .ns = 14 * NSEC_PER_MSEC + 9000) },
	  "delivered: the reader got data 14006.0 us after the send; the backlog worker was late by 14.0 ms",
	  0 },
	{ "the worker does not come back",
	  { WORKED, EVENT(TL_WORK_ENDS, OUT_MAPPED, .value = 1), GAVE_UP(RECV_LOST) },
	  "left on the backlog of out.mapped, and the worker does not come back for it; the trail ends in sk_psock_backlog() of out.mapped",
	  0 },
	{ "the worker breaks the pipe",
	  { WORKED, EVENT(TL_WORK_ENDS, OUT_MAPPED, .value = 1, .more = 1), GAVE_UP(RECV_LOST) },
	  "the backlog worker of out.mapped broke the pipe; the trail ends in sk_psock_backlog() of out.mapped",
	  0 },
	{ "sending on fails",
	  { WORKED, EVENT(TL_SKB_SENT, OUT_MAPPED, .value = -EPIPE), GAVE_UP(RECV_LOST) },
	  "sending it on fails with EPIPE; the trail ends in skb_send_sock() of out.mapped",
	  0 },
	{ "reordered",
	  { ON_BACKLOG, EVENT(TL_WORK_QUEUED, IN_MAPPED, .target = OUT_MAPPED, .skb = 2),
	    EVENT(TL_WORK_RUNS, OUT_MAPPED), EVENT(TL_QUEUED, OUT_MAPPED, .skb = 2, .value = 5),
	    EVENT(TL_QUEUED, OUT_MAPPED, .skb = 1, .value = 5),
	    EVENT(TL_READ, OUT_MAPPED, .value = 10) },
	  "reordered on the backlog: what came later left it earlier; the trail ends in sk_psock_skb_ingress_enqueue() of out.mapped",
	  0 },
	{ "left behind",
	  { ON_BACKLOG, EVENT(TL_WORK_QUEUED, IN_MAPPED, .target = OUT_MAPPED, .skb = 2),
	    EVENT(TL_WORK_RUNS, OUT_MAPPED), EVENT(TL_QUEUED, OUT_MAPPED, .skb = 2, .value = 10),
	    EVENT(TL_READ, OUT_MAPPED, .value = 10), EVENT(TL_FAILED, 0) },
	  "left behind on the backlog: what came later left it earlier; the trail ends in sk_psock_skb_ingress_enqueue() of out.mapped",
	  0 },
	{ "a part is sent again",
	  { WORKED, EVENT(TL_SKB_SENT, OUT_MAPPED, .skb = 1, .value = 4, .more = TL_PART(0, 10)),
	    EVENT(TL_SKB_SENT, OUT_MAPPED, .skb = 1, .value = -EAGAIN, .more = TL_PART(4, 6)),
	    EVENT(TL_SKB_SENT, OUT_MAPPED, .skb = 1, .value = 6, .more = TL_PART(0, 6)),
	    EVENT(TL_READ, OUT_MAPPED, .value = 10) },
	  "sent on from the wrong place: at offset 0 of an skb, of which a part had gone; the trail ends in skb_send_sock() of out.mapped",
	  0 },
	{ "the rest is sent on",
	  { WORKED, EVENT(TL_SKB_SENT, OUT_MAPPED, .skb = 1, .value = 4, .more = TL_PART(0, 10)),
	    EVENT(TL_SKB_SENT, OUT_MAPPED, .skb = 1, .value = -EAGAIN, .more = TL_PART(4, 6)),
	    EVENT(TL_SKB_SENT, OUT_MAPPED, .skb = 1, .value = 6, .more = TL_PART(4, 6)),
	    EVENT(TL_READ, OUT_MAPPED, .value = 10), EVENT(TL_FAILED, 0) },
	  "delivered: the reader got data 9.0 us after the send, and no step on the way shows a fault; what failed: a check",
	  0 },
	{ "another skb at the same address",
	  { WORKED, EVENT(TL_SKB_SENT, OUT_MAPPED, .skb = 1, .value = 4, .more = TL_PART(0, 4)),
	    EVENT(TL_SKB_SENT, OUT_MAPPED, .skb = 1, .value = 6, .more = TL_PART(0, 6)),
	    EVENT(TL_READ, OUT_MAPPED, .value = 10) },
	  "delivered: the reader got data 8.0 us after the send",
	  POINT(TL_WORK_QUEUED) },
	{ "stuck after a part was read",
	  { WORKED, EVENT(TL_READ, OUT_MAPPED, .value = 4),
	    EVENT(TL_WORK_ENDS, OUT_MAPPED, .value = 1),
	    EVENT(TL_FAILED, 0, .ns = 10 * NSEC_PER_SEC) },
	  "left on the backlog of out.mapped, and the worker does not come back for it; the trail ends in sk_psock_backlog() of out.mapped",
	  0 },
	{ "repeated",
	  { QUEUED, EVENT(TL_QUEUED, OUT_MAPPED, .skb = 2, .value = 10),
	    EVENT(TL_READ, OUT_MAPPED, .value = 20) },
	  "20 bytes queued where 10 are due: some are repeated; the trail ends in sk_psock_skb_ingress_enqueue() of out.mapped",
	  0 },
	{ "lost on the way",
	  { WORKED, EVENT(TL_SKB_SENT, OUT_MAPPED, .skb = 1, .value = 4, .more = TL_PART(0, 4)),
	    EVENT(TL_READ, OUT_MAPPED, .value = 4) },
	  "4 bytes sent on where 10 are due: some are lost; the trail ends in skb_send_sock() of out.mapped",
	  0 },
	{ "no callback",
	  { QUEUED, GAVE_UP(RECV_NO_WAKEUP) },
	  "queued, but the reader is not woken: its data_ready callback was never called; the trail ends in sk_psock_skb_ingress_enqueue() of out.mapped",
	  0 },
	{ "callbacks are not shown here",
	  { QUEUED, GAVE_UP(RECV_NO_WAKEUP) },
	  "queued, but the reader is not woken; the trail ends in sk_psock_skb_ingress_enqueue() of out.mapped",
	  POINT(TL_DATA_READY) },
	{ "callback, and no wake-up",
	  { NOTIFIED, GAVE_UP(RECV_NO_WAKEUP) },
	  "queued, but the reader is not woken; the trail ends in sock_def_readable() of out.mapped",
	  0 },
	{ "woken, not readable",
	  { WOKEN, EVENT(TL_POLLED, OUT_MAPPED, .value = POLLOUT, .more = TL_UDP_POLL),
	    GAVE_UP(RECV_UNREADY) },
	  "woken, but poll says not readable; the trail ends in udp_poll() of out.mapped",
	  0 },
	{ "elsewhere",
	  { QUEUED, GAVE_UP(RECV_MISDIRECTED), EVENT(TL_MISPLACED, OUT_PEER, .value = 10) },
	  "delivered to out.peer instead of out.mapped; the trail ends in sk_psock_skb_ingress_enqueue() of out.mapped",
	  0 },
	{ "queued, and not to be read",
	  { WOKEN, GAVE_UP(RECV_LOST) },
	  "queued at the reader, but not to be read; the trail ends in sock_def_readable() of out.mapped",
	  0 },
	{ "woken for nothing",
	  { WOKEN, EVENT(TL_READ, OUT_MAPPED, .value = -EAGAIN, .more = RECV_SPURIOUS) },
	  "the reader was woken, and there was nothing to read; the trail ends in sock_def_readable() of out.mapped",
	  0 },
	{ "woken for nothing, without a verdict",
	  { EVENT(TL_SEND, IN_PEER, .value = 10), EVENT(TL_DATA_READY, IN_MAPPED),
	    EVENT(TL_SENT, IN_PEER, .value = 10),
	    EVENT(TL_READ, IN_MAPPED, .value = -EAGAIN, .more = RECV_SPURIOUS) },
	  "the reader was woken, and there was nothing to read: the verdict program never ran; the trail ends in sock_def_readable() of in.mapped",
	  0 },
	{ "another queue is read",
	  { WOKEN, EVENT(TL_READ, OUT_MAPPED, .value = 10), EVENT(TL_FAILED, 0) },
	  "queued by sockmap, and the read gets other data instead; the trail ends in sock_def_readable() of out.mapped",
	  0 },
	{ "the end comes early",
	  { WOKEN, EVENT(TL_READ, OUT_MAPPED, .value = 0), EVENT(TL_FAILED, 0) },
	  "queued by sockmap, and the read gets the end of the stream instead; the trail ends in sock_def_readable() of out.mapped",
	  0 },
	{ "the read fails",
	  { WOKEN, EVENT(TL_READ, OUT_MAPPED, .value = -EFAULT, .more = RECV_ERROR) },
	  "the read fails with EFAULT; the trail ends in sock_def_readable() of out.mapped",
	  0 },
	{ "no direction known, and it is the wrong one for all that is known",
	  { EVENT(TL_EXPECT, OUT_MAPPED, .target = OUT_PEER, .value = SK_PASS, .more = 10),
	    EVENT(TL_SEND, IN_PEER, .value = 10), EVENT(TL_SENT, IN_PEER, .value = 10),
	    EVENT(TL_VERDICT, IN_MAPPED, .target = OUT_MAPPED, .value = TL_REDIRECT,
		  .more = TL_ANY_DIRECTION | BPF_F_INGRESS),
	    EVENT(TL_READ, OUT_PEER, .value = -ETIME, .more = RECV_LOST) },
	  "lost; the trail ends in sk_psock_verdict_apply() of in.mapped",
	  0 },
	{ "queued, for all that is known",
	  { QUEUED, EVENT(TL_DATA_READY, OUT_MAPPED, .value = TL_UNKNOWN), GAVE_UP(RECV_LOST) },
	  "lost; the trail ends in sock_def_readable() of out.mapped",
	  0 },
	{ "work is queued, for whom is not known",
	  { REDIRECTED, EVENT(TL_WORK_QUEUED, IN_MAPPED, .skb = 1), GAVE_UP(RECV_LOST) },
	  "lost; the trail ends in sk_psock_skb_redirect() of in.mapped",
	  0 },
	{ "the worker leaves nothing, for all that is known",
	  { WORKED, EVENT(TL_WORK_ENDS, OUT_MAPPED, .value = TL_UNKNOWN), GAVE_UP(RECV_LOST) },
	  "lost; the trail ends in sk_psock_backlog() of out.mapped",
	  0 },
	{ "a number is wrong, and the data is there",
	  { WOKEN, EVENT(TL_TAKEN, OUT_MAPPED, .value = 10),
	    EVENT(TL_READ, OUT_MAPPED, .value = 10), EVENT(TL_FAILED, 0, .value = TL_NUMBER) },
	  "delivered: the reader got data 10.0 us after the send, and no step on the way shows a fault; what failed is a number: a check",
	  0 },
	{ "the bytes are wrong",
	  { WOKEN, EVENT(TL_TAKEN, OUT_MAPPED, .value = 10),
	    EVENT(TL_READ, OUT_MAPPED, .value = 10), EVENT(TL_FAILED, 0, .value = TL_BYTES) },
	  "delivered: the reader got data 10.0 us after the send, and no step on the way shows a fault; what failed is the content: a check",
	  0 },
	{ "a number is wrong, and the data was dropped as it had to be",
	  { EVENT(TL_EXPECT, OUT_MAPPED, .value = SK_DROP, .more = 10),
	    EVENT(TL_SEND, IN_PEER, .value = 10), EVENT(TL_SENT, IN_PEER, .value = 10),
	    EVENT(TL_VERDICT, IN_MAPPED, .value = TL_DROP),
	    EVENT(TL_FAILED, 0, .value = TL_NUMBER) },
	  "dropped by the verdict, as it has to be; what failed is a number: a check",
	  0 },
	{ "a number is wrong before the read",
	  { NOTIFIED, EVENT(TL_POLLED, OUT_MAPPED, .value = POLLIN),
	    EVENT(TL_FAILED, 0, .value = TL_NUMBER) },
	  "queued at the reader, and not read yet; the trail ends in sock_def_readable() of out.mapped; what failed is a number: a check",
	  0 },
	{ "a number is wrong while send() waits for room",
	  { EVENT(TL_SEND, IN_PEER, .value = 10), EVENT(TL_WORK_ENDS, OUT_MAPPED, .value = 1),
	    EVENT(TL_FAILED, 0, .value = TL_NUMBER) },
	  "being sent, and not read yet; the trail ends in sk_psock_backlog() of out.mapped; what failed is a number: a check",
	  0 },
	{ "a number is wrong before the worker has run",
	  { ON_BACKLOG, EVENT(TL_FAILED, 0, .value = TL_NUMBER) },
	  "sent, and not read yet; the trail ends in sk_psock_skb_redirect() of in.mapped; what failed is a number: a check",
	  0 },
	{ "a number is wrong while the buffer is full",
	  { EXPECTED,
	    EVENT(TL_EXPECT, OUT_MAPPED, .target = OUT_MAPPED, .value = SK_PASS, .more = 10),
	    EVENT(TL_SEND, IN_PEER, .value = 20), EVENT(TL_SENT, IN_PEER, .value = 20),
	    EVENT(TL_VERDICT, IN_MAPPED, .target = OUT_MAPPED, .value = TL_REDIRECT,
		  .more = BPF_F_INGRESS),
	    EVENT(TL_WORK_QUEUED, IN_MAPPED, .target = OUT_MAPPED, .skb = 1),
	    EVENT(TL_WORK_RUNS, OUT_MAPPED, .value = 1),
	    EVENT(TL_QUEUED, OUT_MAPPED, .skb = 1, .value = 10),
	    EVENT(TL_DATA_READY, OUT_MAPPED, .value = 1),
	    EVENT(TL_WORK_ENDS, OUT_MAPPED, .value = 1), EVENT(TL_FAILED, 0, .value = TL_NUMBER) },
	  "queued at the reader, and not read yet; the trail ends in sock_def_readable() of out.mapped; what failed is a number: a check",
	  0 },
	{ "nothing is known of the target",
	  { EVENT(TL_SEND, IN_PEER, .value = 10), EVENT(TL_SENT, IN_PEER, .value = 10) },
	  "sent, and not read yet",
	  0 },
};

static unsigned int copy_events(struct timeline_event *to, const struct timeline_event *from,
				size_t max)
{
	unsigned int n = 0;

	for (; n < max && (from[n].point || from[n].sock); n++) {
		to[n] = from[n];
		to[n].ns = from[n].ns ?: 1000 * (n + 1);
	}
	return n;
}

static void test_timeline_conclude(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(trails); i++) {
		struct timeline_event events[ARRAY_SIZE(trails[i].events)];
		struct timeline t = { .events = events,
				      .names = socket_names,
				      .nr_names = ARRAY_SIZE(socket_names),
				      .unseen = trails[i].unseen,
				      .failure = "a check" };
		char text[256];

		t.nr_events = copy_events(events, trails[i].events, ARRAY_SIZE(events));
		timeline_conclude(&t, text, sizeof(text));
		want(strcmp(text, trails[i].conclusion) == 0, "%s: want \"%s\", got \"%s\"",
		     trails[i].name, trails[i].conclusion, text);
	}
}

#define SEND	EVENT(TL_SEND, IN_PEER, .value = 1)
#define RETURNS EVENT(TL_SENT, IN_PEER, .value = 1)
#define DUE	EVENT(TL_EXPECT, OUT_MAPPED, .value = SK_PASS)
#define ASLEEP	EVENT(TL_ASLEEP, OUT_MAPPED)
#define READ	EVENT(TL_READ, OUT_MAPPED, .value = 1)
#define TIMEOUT EVENT(TL_READ, OUT_MAPPED, .value = -ETIME)
#define FAILED	EVENT(TL_FAILED, IN_PEER)

static void test_timeline_cut(void)
{
	static const struct {
		const char *name;
		struct timeline_event events[16];
		unsigned int first, nr; /* nr 0: there is none */
	} rows[] = {
		{ "nothing sent", { ASLEEP, FAILED }, 0, 0 },
		{ "the one that failed",
		  { ASLEEP, DUE, SEND, RETURNS, READ, ASLEEP, DUE, SEND, RETURNS, TIMEOUT, FAILED,
		    SEND },
		  5,
		  6 },
		{ "several sends before the first read",
		  { DUE, SEND, RETURNS, READ, DUE, SEND, RETURNS, DUE, SEND, RETURNS, TIMEOUT,
		    FAILED },
		  4,
		  8 },
		{ "part of it was read",
		  { DUE, SEND, RETURNS, READ, ASLEEP, TIMEOUT, FAILED },
		  0,
		  7 },
		{ "passed: the last redirected one, not what came after",
		  { DUE, SEND, RETURNS, READ, DUE, SEND, RETURNS, READ, SEND, RETURNS, READ },
		  4,
		  4 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct timeline_event events[ARRAY_SIZE(rows[i].events)];
		struct timeline part, all = { .events = events };
		bool any;

		all.nr_events = copy_events(events, rows[i].events, ARRAY_SIZE(events));
		any = timeline_cut(&all, &part);
		want(any == (rows[i].nr > 0), "%s: cut returned %d", rows[i].name, any);
		if (any && rows[i].nr)
			want(part.events - events == rows[i].first && part.nr_events == rows[i].nr,
			     "%s: want %u events from %u, got %u from %zd", rows[i].name,
			     rows[i].nr, rows[i].first, part.nr_events, part.events - events);
	}
}

static void test_timeline_describe(void)
{
	struct timeline_event events[] = { REDIRECTED };
	struct timeline t = { .events = events,
			      .nr_events = ARRAY_SIZE(events),
			      .names = socket_names,
			      .nr_names = ARRAY_SIZE(socket_names) };
	struct timeline_line line;

	events[2].ns = 5000;
	events[5].ns = 6500;
	timeline_describe(&t, 5, &line);
	want(line.us > 1.49 && line.us < 1.51, "want 1.5 us since the send, got %.3f", line.us);
	want_text(line.event, "verdict");
	want_text(line.socket, "in.mapped");
	want_text(line.detail, "redirect to the ingress of out.mapped");
}

/* ---- Latency --------------------------------------------------------------------------------- */

/* As 6.1 and 6.12 print them; a name may have whatever its owner likes. */
static void test_kmemleak_next(void)
{
	static const char leaks[] =
		"unreferenced object 0xffff888004d5f800 (size 1024):\n"
		"  comm \"a, pid 7\", pid 812, jiffies 4294914345 (age 12.340s)\n"
		"  backtrace:\n"
		"    [<00000000d2c8d0f8>] sk_psock_init+0x3c/0x1b0\n"
		"unreferenced object 0xffff8880051c2a40 (size 64):\n"
		"  comm \"kworker/1:0\", pid 0, jiffies 4294914346\n";
	struct lost_object object;
	const char *text = leaks;

	want(kmemleak_next(&text, &object), "the first");
	want_eq("its thread", object.pid, 812);
	want_eq("its time", (long long)object.jiffies, 4294914345);
	want(strstr(object.text, "sk_psock_init") && !strstr(object.text, "kworker"), "its text");
	free(object.text);
	want(kmemleak_next(&text, &object), "the second");
	want_eq("of an interrupt", object.pid, 0);
	want_eq("its time", (long long)object.jiffies, 4294914346);
	free(object.text);
	want(!kmemleak_next(&text, &object), "no third");
}

static void test_percentile(void)
{
	uint64_t hundred[100];

	for (unsigned int i = 0; i < ARRAY_SIZE(hundred); i++)
		hundred[i] = i + 1;
	want(percentile(hundred, 100, 50) == 50, "the 50th of 100");
	want(percentile(hundred, 100, 99) == 99, "the 99th of 100");
	want(percentile(hundred, 100, 100) == 100, "the last of 100");
	want(percentile(hundred, 3, 50) == 2, "half of 3: the middle one");
	want(percentile(hundred, 3, 99) == 3, "few values: the largest");
	want(percentile(hundred, 1, 0) == 1, "the least of 1");
}

/* Two deliveries to one target, of which the second has to wait; a third without a worker. */
static void test_worker_delay(void)
{
	struct timeline_event events[] = {
		EVENT(TL_WORK_QUEUED, IN_MAPPED, .target = OUT_MAPPED, .ns = 110),
		EVENT(TL_WORK_RUNS, OUT_PEER, .ns = 115),
		EVENT(TL_WORK_RUNS, OUT_MAPPED, .ns = 120),
		EVENT(TL_WORK_QUEUED, IN_MAPPED, .target = OUT_MAPPED, .ns = 210),
		EVENT(TL_WORK_RUNS, OUT_MAPPED, .ns = 260),
		EVENT(TL_MSG_REDIRECT, OUT_MAPPED, .ns = 310),
	};
	const struct timeline t = { .events = events, .nr_events = ARRAY_SIZE(events) };
	struct wakeup wakeups[] = {
		{ .verdict_ns = 100, .woken_ns = 150 },
		{ .verdict_ns = 200, .woken_ns = 300 },
		{ .verdict_ns = 301, .woken_ns = 400 },
	};

	latency_add_worker(wakeups, ARRAY_SIZE(wakeups), &t);
	want(wakeups[0].worker_ns == 10, "want 10, got %lld", (long long)wakeups[0].worker_ns);
	want(wakeups[1].worker_ns == 50, "want 50, got %lld", (long long)wakeups[1].worker_ns);
	want(wakeups[2].worker_ns == -1, "want -1, got %lld", (long long)wakeups[2].worker_ns);
}

/* The same where only verdicts are shown, one of which passes its data on. */
static void test_worker_delay_inlined(void)
{
	struct timeline_event events[] = {
		EVENT(TL_VERDICT, IN_MAPPED, .target = OUT_MAPPED, .value = TL_REDIRECT, .ns = 110),
		EVENT(TL_WORK_RUNS, OUT_MAPPED, .ns = 125),
		EVENT(TL_VERDICT, IN_MAPPED, .value = TL_PASS, .ns = 210),
		EVENT(TL_WORK_RUNS, OUT_MAPPED, .ns = 260),
	};
	const struct timeline t = { .events = events,
				    .nr_events = ARRAY_SIZE(events),
				    .unseen = POINT(TL_WORK_QUEUED) };
	struct wakeup wakeups[] = {
		{ .verdict_ns = 100, .woken_ns = 150 },
		{ .verdict_ns = 200, .woken_ns = 300 },
	};

	latency_add_worker(wakeups, ARRAY_SIZE(wakeups), &t);
	want(wakeups[0].worker_ns == 15, "want 15, got %lld", (long long)wakeups[0].worker_ns);
	want(wakeups[1].worker_ns == -1, "want -1, got %lld", (long long)wakeups[1].worker_ns);
}

static void test_latency_table(void)
{
	static const struct wakeup wakeups[] = {
		{ { "sk_skb", "tcp4", "udp4", "ingress" }, 1000, 5000, 2000 },
		{ { "sk_msg", "tcp4", "tcp4", "egress" }, 1000, 3500, -1 },
		{ { "sk_skb", "udp4", "udp4", "ingress" }, 1000, 2000, 100 },
	};
	struct latency *l = latency_create();
	char *text = NULL, *rows;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	want(l && file && !latency_add(l, wakeups, ARRAY_SIZE(wakeups)), "a table");
	latency_print(l, file);
	fclose(file);
	latency_free(l);
	rows = strstr(text, "sk_msg");
	want_text(
		rows ?: text,
		"sk_msg          tcp4           egress         1"
		"       2.5       2.5       2.5       2.5 |         -         -         -         -\n"
		"sk_skb          udp4           ingress        2"
		"       1.0       4.0       4.0       4.0 |       0.1       2.0       2.0       2.0\n");
	free(text);
}

/* ---------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "data that is there already arrives", test_already_there },
	{ "a peek leaves the data where it is", test_peek },
	{ "nothing comes: lost after the timeout, not before", test_lost },
	{ "queued, not readable: readiness lost, within a second", test_unready },
	{ "queued, readable, asleep: wake-up lost, within a second", test_no_wakeup },
	{ "queued elsewhere: misdirected, within a second", test_misdirected },
	{ "readable, nothing to read: false readiness", test_spurious },
	{ "the end of a stream is 0", test_end_of_stream },
	{ "a reset comes through", test_reset },
	{ "recv_timeout()", test_recv_timeout },
	{ "kinds of sockets are found", test_kinds },
	{ "splat_matches()", test_splat_matches },
	{ "splat_read(): a quiet kernel", test_splat_quiet },
	{ "splat_read(): records of user space do not count", test_splat_user },
	{ "splat_read(): KMSG_TAG", test_splat_tag },
	{ "splat_is_foreign()", test_splat_is_foreign },
	{ "splat_is_foreign(): several", test_several_are_foreign },
	{ "splat_patterns_load()", test_splat_patterns },
	{ "splat_read(): the text from the first splat on", test_splat_text },
	{ "splat_read(): later splats are counted", test_splat_more },
	{ "splat_read(): a long splat is cut", test_splat_long },
	{ "splat_read(): a call trace is no splat of its own", test_splat_call_traces },
	{ "splat_read(): two at the same time", test_splat_interleaved },
	{ "splat_read(): one that is being printed is read to its end", test_splat_halves },
	{ "splat_read(): one that repeats is named once", test_splat_repeated },
	{ "splat_read(): more splats than fit are not known", test_splat_many },
	{ "splat_all_known()", test_splat_all_known },
	{ "expect_load(): a list", test_expect_parse },
	{ "expect_load(): a malformed list, and where", test_expect_malformed },
	{ "expect_load(): the file of a directory", test_expect_directory },
	{ "expect_is_for()", test_expect_is_for },
	{ "known_check(): each name is one of the plan", test_known_check },
	{ "known_judge()", test_known_judge },
	{ "known_withhold()", test_known_withhold },
	{ "known_splat()", test_known_splat },
	{ "timeline_cut(): the delivery that failed", test_timeline_cut },
	{ "timeline_conclude()", test_timeline_conclude },
	{ "timeline_describe()", test_timeline_describe },
	{ "kmemleak_next()", test_kmemleak_next },
	{ "percentile()", test_percentile },
	{ "latency_add_worker()", test_worker_delay },
	{ "latency_add_worker() where the backlog is not shown", test_worker_delay_inlined },
	{ "latency_print()", test_latency_table },
	{ "plan_set_order() with a seed is a permutation", test_plan_order },
};

int main(void)
{
	test_arrived();
	test_pairs();
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		begin_case();
		cases[i].run();
		end_case(cases[i].name);
	}
	printf("unit: %u passed, %u failed, %u skipped\n", passed, failed, skipped);
	return failed ? 1 : 0;
}
