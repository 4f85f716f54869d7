/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The socket vocabulary of the tests: kinds of sockets, connected pairs of them, and the one
 * blocking read that has a deadline.
 *
 * Nothing here prints and nothing here exits. Functions that return int or ssize_t return a
 * descriptor, a length or 0, or a negative errno value (-EACCES), as each says. Lengths are in
 * bytes.
 */
#ifndef NETWORK_HELPERS_H
#define NETWORK_HELPERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* int fd __auto_close = ...: closed at the end of the scope, unless it is negative. */
#define __auto_close __attribute__((cleanup(close_fd)))
void close_fd(int *fd);
int reset_fd(int *fd); /* close(2) without lingering, which aborts a connection; 0 or -errno */

/* CLOCK_MONOTONIC in nanoseconds: the clock of bpf_ktime_get_ns(). */
uint64_t now_ns(void);
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_SEC  1000000000ULL

/* How long data may take before it counts as lost; set once, from --io-timeout. */
extern unsigned int io_timeout_ms;

/* ---- Kinds of sockets ------------------------------------------------------------------------ */

struct sock_kind {
	const char *name;   /* as people type it: "tcp4" */
	int family;	    /* AF_* */
	int type;	    /* SOCK_* */
	int protocol;	    /* IPPROTO_*; 0: the usual one */
	const char *remedy; /* what to do where the kernel does not have it */
};

extern const struct sock_kind sock_kinds[];
extern const unsigned int nr_sock_kinds;

/* The kind of that name, or that family and type; NULL: there is none. */
const struct sock_kind *sock_kind(const char *name);
const struct sock_kind *sock_kind_of(int family, int type);

/* One send is one receive: datagrams and SOCK_SEQPACKET. */
static inline bool keeps_boundaries(const struct sock_kind *kind)
{
	return kind->type != SOCK_STREAM;
}

static inline bool is_tcp(const struct sock_kind *kind)
{
	return kind->type == SOCK_STREAM && (kind->family == AF_INET || kind->family == AF_INET6);
}

/* ---- Making sockets -------------------------------------------------------------------------- */

/* A new socket, neither bound nor connected. The descriptor, or -errno. */
int socket_opened(const struct sock_kind *kind);

/* A new socket bound to an unused loopback address; not for AF_UNIX. The descriptor, or -errno. */
int socket_bound(const struct sock_kind *kind);

/* The same, but it keeps its port when it is disconnected, as if the caller had chosen it. */
int socket_bound_for_good(const struct sock_kind *kind);

/* Bound as by socket_bound(), and listening where the type has that: a socket which others can
 * connect to. */
int socket_loopback(const struct sock_kind *kind);

/* Listening likewise, in a reuseport group that the program chooses from. */
int socket_reuseport(const struct sock_kind *kind, int prog_fd);

/* Connect fd to the address of the socket `to`. 0 or -errno. */
int connect_to(int fd, int to);

/* A new socket connected to the address of the socket `to`. The descriptor, or -errno. */
int socket_connected_to(const struct sock_kind *kind, int to);

/* Accept, waiting for a connection for io_timeout_ms. The descriptor, or -errno (-ETIME: none). */
int accept_timeout(int fd);

/* A connected pair: `mapped` is the end that goes into a map, `peer` is its other end. */
struct sock_pair {
	const struct sock_kind *kind;
	int mapped;
	int peer;
};

#define SOCK_PAIR_NONE                   \
	{                                \
		.mapped = -1, .peer = -1 \
	}
#define __auto_pair __attribute__((cleanup(close_pair)))
int make_pair(const struct sock_kind *kind, struct sock_pair *pair); /* 0 or -errno */

/*
 * The same for TCP, where `mapped` has a mark (SO_MARK) before the connection is established, so that
 * programs can tell it then; it is the end that connects (active), or that is accepted. 0 or -errno.
 */
int make_marked_pair(const struct sock_kind *kind, uint32_t mark, bool active,
		     struct sock_pair *pair);
void close_pair(struct sock_pair *pair);

/*
 * TLS by the kernel, for a TCP socket that is connected: first it begins, then each direction gets
 * its key, TLS_TX or TLS_RX. All sockets have the same key. 0 or -errno.
 */
int start_tls(int fd);
int set_tls_key(int fd, int direction);

/*
 * Who wants to know what becomes of the sockets, such as a trace: called when it happens, on the
 * thread on which it happens. NULL: nobody.
 */
enum socket_moment {
	SOCKET_IS_MAPPED, /* make_pair() made it, ... */
	SOCKET_IS_PEER,	  /* ... and then this one */
	SOCKET_SLEEPS,	  /* its reader is asleep; value: enum wait_method */
	SOCKET_WAKES,	  /* its reader is back from the sleep */
	SOCKET_READ,	  /* its reader is through; value: length or -errno, more: enum recv_fate */
	SOCKET_HAS_IT,	  /* what was due elsewhere; value: length */
};

extern void (*socket_observer)(enum socket_moment moment, int fd, int64_t value, unsigned int more);

/* FIONREAD: bytes that the next read can get, or -errno. */
int bytes_readable(int fd);

/* ---- Receiving ------------------------------------------------------------------------------- */

/* The ways in which a reader can sleep until there is data. */
enum wait_method {
	WAIT_POLL,
	WAIT_SELECT,
	WAIT_EPOLL,
	WAIT_EPOLL_ET, /* edge triggered */
	WAIT_RECV,     /* in a blocking recv(2) itself */
	NR_WAIT_METHODS,
};

const char *wait_method_name(enum wait_method how); /* "poll(2)", ... */

/*
 * Whether the thread is asleep in that system call (SYS_ppoll): one that was woken does not count as
 * asleep, even where it has not got a CPU yet.
 */
bool thread_sleeps_in(int tid, long syscall);

/* How often, and how far apart in milliseconds, a sleeper has to be seen not to wake for sure. */
#define LOOK_INTERVAL_MS 25
#define LOOKS_TO_BE_SURE 20

/* What became of the data that a reader waited for. */
enum recv_fate {
	RECV_ARRIVED,
	RECV_UNREADY,	  /* it is queued, and poll(2) does not say so */
	RECV_NO_WAKEUP,	  /* it is queued, poll(2) says so, and the sleeping reader was not woken */
	RECV_MISDIRECTED, /* it is queued at another socket */
	RECV_LOST,	  /* it is nowhere to be seen when the I/O timeout ends */
	RECV_SPURIOUS,	  /* the wait reported data, and there was none to read */
	RECV_ERROR,	  /* a system call failed */
};

struct recv_report {
	enum recv_fate fate;
	enum wait_method how;
	size_t queued; /* RECV_UNREADY, RECV_NO_WAKEUP, RECV_MISDIRECTED: bytes seen in the queue */
	int found_at;  /* RECV_MISDIRECTED: the socket that has them */
	uint64_t woken_ns; /* when the reader was back from its sleep; CLOCK_MONOTONIC */
};

/* The report in words, such as "17 bytes queued, but poll(2) never reported them"; in buf. */
const char *recv_report_text(const struct recv_report *report, char *buf, size_t size);

/*
 * A reader on a thread of its own. reader_start() returns when it is asleep in the kernel, or when
 * it is through, since there was data already; so what is sent after that has a sleeper to wake.
 * reader_finish() waits for it and watches it meanwhile: a queue that has data, next to a reader
 * that stays asleep, is told apart from a queue that has none. It ends the reader in every case.
 *
 * Where `others` are given, data that turns up there counts as misdirected.
 */
struct reader;

struct read_request {
	int fd;
	void *buf;
	size_t len;
	int flags; /* of recv(2): MSG_PEEK */
	enum wait_method how;
	unsigned int timeout_ms;
	const int *others;
	unsigned int nr_others;
};

/* 0 or -errno. */
int reader_start(struct reader **reader, const struct read_request *request);

/*
 * Bytes received (0: end of stream or an empty datagram), -ETIME where none came in time, for the
 * reason in the report, or the -errno of the call that failed. Frees the reader.
 */
ssize_t reader_finish(struct reader *reader, struct recv_report *report);

/*
 * The blocking read with a deadline. Sleeps once until there is data, then reads once; it never
 * reads to find out whether there is something to read. Returns as reader_finish() does. Data that
 * is queued but not reported, or reported but without a wake-up, is recognised within a second;
 * only data that is nowhere takes the whole timeout. The report may be NULL.
 */
ssize_t recv_timeout(int fd, void *buf, size_t len, int flags, unsigned int timeout_ms,
		     struct recv_report *report);

#endif /* NETWORK_HELPERS_H */
