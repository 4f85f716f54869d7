// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <linux/tls.h>
#include <linux/vm_sockets.h>

#include "network_helpers.h"

#ifndef VMADDR_CID_LOCAL
#define VMADDR_CID_LOCAL 1
#endif

#define VSOCK_REMEDY "CONFIG_VSOCKETS_LOOPBACK; modprobe vsock_loopback"

unsigned int io_timeout_ms = 10000;

void (*socket_observer)(enum socket_moment moment, int fd, int64_t value, unsigned int more);

static void observe(enum socket_moment moment, int fd, int64_t value, unsigned int more)
{
	if (socket_observer)
		socket_observer(moment, fd, value, more);
}

const struct sock_kind sock_kinds[] = {
	{ "tcp4", AF_INET, SOCK_STREAM, 0, "CONFIG_INET" },
	{ "tcp6", AF_INET6, SOCK_STREAM, 0, "CONFIG_IPV6, and no ipv6.disable=1" },
	{ "udp4", AF_INET, SOCK_DGRAM, 0, "CONFIG_INET" },
	{ "udp6", AF_INET6, SOCK_DGRAM, 0, "CONFIG_IPV6, and no ipv6.disable=1" },
	{ "unix_stream", AF_UNIX, SOCK_STREAM, 0, "CONFIG_UNIX" },
	{ "unix_dgram", AF_UNIX, SOCK_DGRAM, 0, "CONFIG_UNIX" },
	{ "unix_seqpacket", AF_UNIX, SOCK_SEQPACKET, 0, "CONFIG_UNIX" },
	{ "vsock_stream", AF_VSOCK, SOCK_STREAM, 0, VSOCK_REMEDY },
	{ "vsock_seqpacket", AF_VSOCK, SOCK_SEQPACKET, 0, VSOCK_REMEDY },
};

const unsigned int nr_sock_kinds = ARRAY_SIZE(sock_kinds);

const struct sock_kind *sock_kind(const char *name)
{
	for (unsigned int i = 0; i < nr_sock_kinds; i++) {
		if (strcmp(sock_kinds[i].name, name) == 0)
			return &sock_kinds[i];
	}
	return NULL;
}

const struct sock_kind *sock_kind_of(int family, int type)
{
	for (unsigned int i = 0; i < nr_sock_kinds; i++) {
		if (sock_kinds[i].family == family && sock_kinds[i].type == type)
			return &sock_kinds[i];
	}
	return NULL;
}

void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int reset_fd(int *fd)
{
	struct linger linger = { .l_onoff = 1 };
	int err = setsockopt(*fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) ? -errno : 0;

	close_fd(fd);
	return err;
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* ---- Making sockets -------------------------------------------------------------------------- */

static socklen_t loopback_addr(int family, struct sockaddr_storage *storage)
{
	*storage = (struct sockaddr_storage){ .ss_family = family };

	switch (family) {
	case AF_INET:
		((struct sockaddr_in *)storage)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(struct sockaddr_in);
	case AF_INET6:
		((struct sockaddr_in6 *)storage)->sin6_addr = in6addr_loopback;
		return sizeof(struct sockaddr_in6);
	case AF_VSOCK:
		((struct sockaddr_vm *)storage)->svm_cid = VMADDR_CID_LOCAL;
		((struct sockaddr_vm *)storage)->svm_port = VMADDR_PORT_ANY;
		return sizeof(struct sockaddr_vm);
	default:
		return 0;
	}
}

int socket_opened(const struct sock_kind *kind)
{
	int fd = socket(kind->family, kind->type | SOCK_CLOEXEC, kind->protocol);

	return fd < 0 ? -errno : fd;
}

/* Take the descriptor out of its variable, so that the end of the scope does not close it. */
static int keep_fd(int *fd)
{
	int kept = *fd;

	*fd = -1;
	return kept;
}

static int bind_loopback(int fd, const struct sock_kind *kind)
{
	struct sockaddr_storage addr;
	socklen_t len = loopback_addr(kind->family, &addr);

	if (len == 0)
		return -EAFNOSUPPORT;
	return bind(fd, (struct sockaddr *)&addr, len) ? -errno : 0;
}

static int listen_if_stream(int fd, const struct sock_kind *kind)
{
	return kind->type != SOCK_DGRAM && listen(fd, SOMAXCONN) ? -errno : 0;
}

int socket_bound(const struct sock_kind *kind)
{
	int fd __auto_close = socket_opened(kind);
	int err;

	if (fd < 0)
		return fd;
	err = bind_loopback(fd, kind);
	return err ?: keep_fd(&fd);
}

int socket_bound_for_good(const struct sock_kind *kind)
{
	int finder __auto_close = socket_bound(kind);
	int fd __auto_close = socket_opened(kind);
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);

	if (finder < 0 || fd < 0)
		return finder < 0 ? finder : fd;
	if (getsockname(finder, (struct sockaddr *)&addr, &len))
		return -errno;
	close_fd(&finder);
	return bind(fd, (struct sockaddr *)&addr, len) ? -errno : keep_fd(&fd);
}

int socket_loopback(const struct sock_kind *kind)
{
	int fd __auto_close = socket_bound(kind);
	int err;

	if (fd < 0)
		return fd;
	err = listen_if_stream(fd, kind);
	return err ?: keep_fd(&fd);
}

int socket_reuseport(const struct sock_kind *kind, int prog_fd)
{
	int fd __auto_close = socket_opened(kind);
	int one = 1, err;

	if (fd < 0)
		return fd;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &prog_fd, sizeof(prog_fd)))
		return -errno;
	err = bind_loopback(fd, kind) ?: listen_if_stream(fd, kind);
	return err ?: keep_fd(&fd);
}

int connect_to(int fd, int to)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);

	if (getsockname(to, (struct sockaddr *)&addr, &len))
		return -errno;
	return connect(fd, (struct sockaddr *)&addr, len) ? -errno : 0;
}

int socket_connected_to(const struct sock_kind *kind, int to)
{
	int fd __auto_close = socket_opened(kind);
	int err;

	if (fd < 0)
		return fd;
	err = connect_to(fd, to);
	return err ?: keep_fd(&fd);
}

int accept_timeout(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int ready = poll(&pfd, 1, io_timeout_ms);
	int conn;

	if (ready < 0)
		return -errno;
	if (ready == 0)
		return -ETIME;
	conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	return conn < 0 ? -errno : conn;
}

static int make_unix_pair(const struct sock_kind *kind, struct sock_pair *pair)
{
	int fds[2];

	if (socketpair(AF_UNIX, kind->type | SOCK_CLOEXEC, 0, fds))
		return -errno;
	pair->mapped = fds[0];
	pair->peer = fds[1];
	return 0;
}

/* Two bound sockets, each connected to the other. */
static int make_dgram_pair(const struct sock_kind *kind, struct sock_pair *pair)
{
	int mapped __auto_close = socket_bound(kind);
	int peer __auto_close = -1;
	int err;

	if (mapped < 0)
		return mapped;
	peer = socket_bound(kind);
	if (peer < 0)
		return peer;
	err = connect_to(mapped, peer) ?: connect_to(peer, mapped);
	if (err)
		return err;
	pair->mapped = keep_fd(&mapped);
	pair->peer = keep_fd(&peer);
	return 0;
}

/* The accepted end is the mapped one, as in a proxy. */
static int make_stream_pair(const struct sock_kind *kind, struct sock_pair *pair)
{
	int listener __auto_close = socket_loopback(kind);
	int peer __auto_close = -1;
	int mapped;

	if (listener < 0)
		return listener;
	peer = socket_connected_to(kind, listener);
	if (peer < 0)
		return peer;
	mapped = accept_timeout(listener);
	if (mapped < 0)
		return mapped;
	pair->mapped = mapped;
	pair->peer = keep_fd(&peer);
	return 0;
}

static int make_pair_of(const struct sock_kind *kind, struct sock_pair *pair)
{
	if (kind->family == AF_UNIX)
		return make_unix_pair(kind, pair);
	if (kind->type == SOCK_DGRAM)
		return make_dgram_pair(kind, pair);
	return make_stream_pair(kind, pair);
}

static void observe_pair(const struct sock_pair *pair)
{
	observe(SOCKET_IS_MAPPED, pair->mapped, 0, 0);
	observe(SOCKET_IS_PEER, pair->peer, 0, 0);
}

int make_pair(const struct sock_kind *kind, struct sock_pair *pair)
{
	int err;

	pair->kind = kind;
	err = make_pair_of(kind, pair);
	if (err)
		return err;
	observe_pair(pair);
	return 0;
}

/* A socket that is accepted has the mark of its listener. */
int make_marked_pair(const struct sock_kind *kind, uint32_t mark, bool active,
		     struct sock_pair *pair)
{
	int listener __auto_close = socket_loopback(kind),
		     client __auto_close = socket_opened(kind);
	int child, err;

	if (listener < 0 || client < 0)
		return listener < 0 ? listener : client;
	if (setsockopt(active ? client : listener, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		return -errno;
	err = connect_to(client, listener);
	if (err)
		return err;
	child = accept_timeout(listener);
	if (child < 0)
		return child;
	pair->kind = kind;
	pair->mapped = active ? keep_fd(&client) : child;
	pair->peer = active ? child : keep_fd(&client);
	observe_pair(pair);
	return 0;
}

void close_pair(struct sock_pair *pair)
{
	close_fd(&pair->mapped);
	close_fd(&pair->peer);
}

int start_tls(int fd)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) ? -errno : 0;
}

int set_tls_key(int fd, int direction)
{
	const struct tls12_crypto_info_aes_gcm_128 key = {
		.info = { .version = TLS_1_3_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128 },
		.key = "not so secret",
	};

	return setsockopt(fd, SOL_TLS, direction, &key, sizeof(key)) ? -errno : 0;
}

int bytes_readable(int fd)
{
	int n;

	return ioctl(fd, FIONREAD, &n) ? -errno : n;
}

/* ---- The reader thread ----------------------------------------------------------------------- */

/*
 * A reader that was woken is running or runnable; one that was not is asleep, however loaded the
 * machine. So "data is queued, and the reader sleeps", seen that often, that far apart, is a lost
 * wake-up: between queueing data and waking the reader the kernel does not take a pause of that
 * length. Looks are counted, not time, since a virtual machine can be stopped for any time.
 */
/* Looking takes the lock of the socket, so a reader that is on time is left alone. */
#define FIRST_LOOK_MS 100

/* Where there is nothing to see for a while, looking less often does, until the timeout. */
#define IDLE_LOOKS	      20
#define IDLE_LOOK_INTERVAL_MS 250

/* How long a reader may take to fall asleep, and to end once it has been interrupted. */
#define READER_TIMEOUT_NS (10 * NSEC_PER_SEC)

#define INTERRUPT_SIGNAL SIGUSR1

struct reader {
	struct read_request request;
	pthread_t thread;
	atomic_int tid;
	atomic_bool settled; /* it was seen asleep, or is to end */
	int done_fd;	     /* an eventfd, readable when the thread is through */
	int epoll_fd;
	ssize_t ret;
	uint64_t woken_ns;
};

/*
 * The waits, each in the system call that /proc will show for it. None has a deadline: poll(2) and
 * its kin look again when theirs ends, and so would report data that nobody woke them for.
 */

static int wait_poll(struct reader *r)
{
	struct pollfd pfd = { .fd = r->request.fd, .events = POLLIN };

	return ppoll(&pfd, 1, NULL, NULL);
}

static int wait_select(struct reader *r)
{
	fd_set fds;

	FD_ZERO(&fds);
	FD_SET(r->request.fd, &fds);
	return pselect(r->request.fd + 1, &fds, NULL, NULL, NULL, NULL);
}

static int wait_epoll(struct reader *r)
{
	struct epoll_event event;

	return epoll_pwait(r->epoll_fd, &event, 1, -1, NULL);
}

static const struct {
	const char *name;
	int (*wait)(struct reader *r); /* -1: interrupted; NULL: recv(2) itself waits */
	long syscall;
} waits[NR_WAIT_METHODS] = {
	[WAIT_POLL] = { "poll(2)", wait_poll, SYS_ppoll },
	[WAIT_SELECT] = { "select(2)", wait_select, SYS_pselect6 },
	[WAIT_EPOLL] = { "epoll(7)", wait_epoll, SYS_epoll_pwait },
	[WAIT_EPOLL_ET] = { "edge-triggered epoll(7)", wait_epoll, SYS_epoll_pwait },
	[WAIT_RECV] = { "recv(2)", NULL, SYS_recvfrom },
};

const char *wait_method_name(enum wait_method how)
{
	return waits[how].name;
}

/*
 * A blocking recv(2) on AF_UNIX ends with EAGAIN, and without having slept, while the kernel's
 * worker has yet to take the skb off its queue whose data has been read already. That is before the
 * sleep which is to be tested, so try again; EAGAIN out of the sleep is an error.
 */
static ssize_t recv_blocking(struct reader *r)
{
	const struct read_request *rq = &r->request;
	ssize_t n;

	while ((n = recv(rq->fd, rq->buf, rq->len, rq->flags)) < 0 && errno == EAGAIN &&
	       !atomic_load(&r->settled))
		usleep(1000);
	n = n < 0 ? -errno : n;
	r->woken_ns = now_ns();
	observe(SOCKET_WAKES, rq->fd, 0, 0);
	return n;
}

/*
 * Data that a program is about to take stands on the socket's own queue for a moment, and poll(2) can
 * see it there. Who has slept was woken for data that is there to be read; who found some without
 * sleeping may have seen that moment, and waits again. What lasts longer is no moment any more.
 */
#define LONGEST_MOMENT_MS 500

static ssize_t wait_and_read(struct reader *r)
{
	const struct read_request *rq = &r->request;
	ssize_t n;

	if (!waits[rq->how].wait)
		return recv_blocking(r);
	for (unsigned int ms = 0;; ms++) {
		if (waits[rq->how].wait(r) < 0)
			return -errno;
		r->woken_ns = now_ns();
		observe(SOCKET_WAKES, rq->fd, 0, 0);
		n = recv(rq->fd, rq->buf, rq->len, rq->flags | MSG_DONTWAIT);
		if (n >= 0 || errno != EAGAIN || atomic_load(&r->settled) ||
		    ms == LONGEST_MOMENT_MS)
			break;
		usleep(1000);
	}
	return n < 0 ? -errno : n;
}

static void *reader_thread(void *arg)
{
	struct reader *r = arg;
	uint64_t one = 1;

	prctl(PR_SET_NAME, "reader");
	atomic_store(&r->tid, (int)syscall(SYS_gettid));
	r->ret = wait_and_read(r);
	/* Publishes ret and woken_ns, too. */
	while (write(r->done_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	return NULL;
}

static bool reader_done(struct reader *r, int timeout_ms)
{
	struct pollfd pfd = { .fd = r->done_fd, .events = POLLIN };

	return poll(&pfd, 1, timeout_ms) == 1;
}

/* /proc shows the number of the call then, and "running" while the thread is, or could be, on a CPU. */
bool thread_sleeps_in(int tid, long syscall)
{
	char path[64], text[32];
	int fd __auto_close = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	return isdigit((unsigned char)text[0]) && atol(text) == syscall;
}

static bool reader_asleep(struct reader *r)
{
	return thread_sleeps_in(atomic_load(&r->tid), waits[r->request.how].syscall);
}

/* True when the reader is asleep, or through. */
static bool wait_until_asleep(struct reader *r)
{
	uint64_t deadline = now_ns() + READER_TIMEOUT_NS;

	while (!reader_done(r, 0)) {
		if (atomic_load(&r->tid) && reader_asleep(r)) {
			atomic_store(&r->settled, true);
			observe(SOCKET_SLEEPS, r->request.fd, r->request.how, 0);
			return true;
		}
		if (now_ns() > deadline)
			return false;
		usleep(50);
	}
	return true;
}

static void on_interrupt(int sig)
{
	(void)sig;
}

/* No SA_RESTART: the signal is to end the system call that the reader sleeps in. */
static void catch_interrupt(void)
{
	struct sigaction sa = { .sa_handler = on_interrupt };

	sigaction(INTERRUPT_SIGNAL, &sa, NULL);
}

static int watch_with_epoll(struct reader *r)
{
	uint32_t edge = r->request.how == WAIT_EPOLL_ET ? EPOLLET : 0;
	struct epoll_event event = { .events = EPOLLIN | edge };

	if (r->request.how != WAIT_EPOLL && r->request.how != WAIT_EPOLL_ET)
		return 0;
	r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (r->epoll_fd < 0)
		return -errno;
	return epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->request.fd, &event) ? -errno : 0;
}

static void reader_free(struct reader *r)
{
	close_fd(&r->done_fd);
	close_fd(&r->epoll_fd);
	free(r);
}

/* End a reader that nothing has woken. False: it is stuck in the kernel. */
static bool interrupt(struct reader *r)
{
	uint64_t deadline = now_ns() + READER_TIMEOUT_NS;

	atomic_store(&r->settled, true);
	do {
		/* Again and again: the signal can arrive between two system calls. */
		pthread_kill(r->thread, INTERRUPT_SIGNAL);
		if (reader_done(r, 1))
			return true;
	} while (now_ns() < deadline);
	return false;
}

/* End the reader and free it; false: it is stuck, and what it uses has to stay. */
static bool reader_stop(struct reader *r)
{
	if (!interrupt(r)) {
		pthread_detach(r->thread);
		return false;
	}
	pthread_join(r->thread, NULL);
	reader_free(r);
	return true;
}

int reader_start(struct reader **reader, const struct read_request *request)
{
	struct reader *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->request = *request;
	r->epoll_fd = -1;
	r->done_fd = eventfd(0, EFD_CLOEXEC);
	err = r->done_fd < 0 ? -errno : watch_with_epoll(r);
	if (!err) {
		catch_interrupt();
		err = -pthread_create(&r->thread, NULL, reader_thread, r);
	}
	if (err) {
		reader_free(r);
		return err;
	}
	if (!wait_until_asleep(r)) {
		reader_stop(r);
		return -EBUSY;
	}
	*reader = r;
	return 0;
}

/* Bytes queued at fd, as a read would get them, or -errno (-EAGAIN: none). Consumes nothing. */
static ssize_t peek_queue(int fd)
{
	static char buf[1 << 16];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

/* What repeated looks at the sockets have shown so far. */
struct sightings {
	unsigned int here;  /* in a row: data queued, reader asleep */
	unsigned int there; /* in a row: data queued at another socket, none here */
};

static bool find_misdirected(const struct read_request *rq, struct recv_report *report)
{
	for (unsigned int i = 0; i < rq->nr_others; i++) {
		ssize_t n = peek_queue(rq->others[i]);

		/* 0 is an end of stream, or an empty datagram, which no test sends. */
		if (n > 0) {
			report->queued = n;
			report->found_at = rq->others[i];
			return true;
		}
	}
	return false;
}

static bool poll_says_readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

/* One look at the sockets of a reader that is late. True when it is sure what happened. */
static bool look(struct reader *r, struct sightings *seen, struct recv_report *report)
{
	const struct read_request *rq = &r->request;
	ssize_t n = peek_queue(rq->fd);

	if (n >= 0) {
		seen->there = 0;
		seen->here = reader_asleep(r) ? seen->here + 1 : 0;
		report->queued = n;
		if (seen->here < LOOKS_TO_BE_SURE)
			return false;
		report->fate = poll_says_readable(rq->fd) ? RECV_NO_WAKEUP : RECV_UNREADY;
		return true;
	}
	seen->here = 0;
	seen->there = find_misdirected(rq, report) ? seen->there + 1 : 0;
	if (seen->there < LOOKS_TO_BE_SURE)
		return false;
	report->fate = RECV_MISDIRECTED;
	return true;
}

/* Wait until the reader is through (true), or it is clear that it will not be (false). */
static bool watch(struct reader *r, struct recv_report *report)
{
	uint64_t deadline = now_ns() + r->request.timeout_ms * NSEC_PER_MSEC;
	struct sightings seen = {};
	unsigned int idle = 0;

	if (reader_done(r, FIRST_LOOK_MS))
		return true;
	while (!reader_done(r, idle > IDLE_LOOKS ? IDLE_LOOK_INTERVAL_MS : LOOK_INTERVAL_MS)) {
		if (look(r, &seen, report))
			return false;
		idle = seen.here || seen.there ? 0 : idle + 1;
		/* A look that saw something is followed up, even past the deadline. */
		if (now_ns() > deadline && idle) {
			report->fate = RECV_LOST;
			return false;
		}
	}
	return true;
}

ssize_t reader_finish(struct reader *r, struct recv_report *report)
{
	struct recv_report unused;
	ssize_t ret;

	if (!report)
		report = &unused;
	*report = (struct recv_report){ .how = r->request.how, .found_at = -1 };

	if (!watch(r, report)) {
		observe(SOCKET_READ, r->request.fd, -ETIME, report->fate);
		if (report->fate == RECV_MISDIRECTED)
			observe(SOCKET_HAS_IT, report->found_at, report->queued, 0);
		reader_stop(r);
		return -ETIME;
	}
	pthread_join(r->thread, NULL);
	ret = r->ret;
	report->woken_ns = r->woken_ns;
	if (ret < 0)
		report->fate = ret == -EAGAIN ? RECV_SPURIOUS : RECV_ERROR;
	observe(SOCKET_READ, r->request.fd, ret, report->fate);
	reader_free(r);
	return ret;
}

ssize_t recv_timeout(int fd, void *buf, size_t len, int flags, unsigned int timeout_ms,
		     struct recv_report *report)
{
	struct read_request request = {
		.fd = fd,
		.buf = buf,
		.len = len,
		.flags = flags,
		.how = WAIT_POLL,
		.timeout_ms = timeout_ms,
	};
	struct reader *reader;
	int err = reader_start(&reader, &request);

	if (err) {
		if (report)
			*report = (struct recv_report){ .fate = RECV_ERROR, .found_at = -1 };
		return err;
	}
	return reader_finish(reader, report);
}

const char *recv_report_text(const struct recv_report *report, char *buf, size_t size)
{
	const char *how = wait_method_name(report->how);

	switch (report->fate) {
	case RECV_ARRIVED:
		snprintf(buf, size, "data arrived");
		break;
	case RECV_UNREADY:
		snprintf(buf, size,
			 "readiness lost: data is queued (%zu bytes), but %s never reported it",
			 report->queued, how);
		break;
	case RECV_NO_WAKEUP:
		snprintf(
			buf, size,
			"wake-up lost: data is queued (%zu bytes) and poll(2) reports it, but the reader asleep in %s was not woken",
			report->queued, how);
		break;
	case RECV_MISDIRECTED:
		snprintf(buf, size, "misdirected: data is queued (%zu bytes) at another socket",
			 report->queued);
		break;
	case RECV_LOST:
		snprintf(buf, size, "lost: no data at any socket when the I/O timeout ended");
		break;
	case RECV_SPURIOUS:
		snprintf(buf, size, "false readiness: %s reported data, and recv(2) found none",
			 how);
		break;
	case RECV_ERROR:
		snprintf(buf, size, "a system call failed");
		break;
	}
	return buf;
}
