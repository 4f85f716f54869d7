/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Traffic, and checks of what arrives: payloads that cannot be taken for one another, blocking
 * reads that have to get exactly what is due, sockets that have to be empty, verdicts that have to
 * be given. Each function named check_ is true when all of its checks hold, and prints what does
 * not; `what` begins the lines, such as "ingress". Lengths are in bytes.
 */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/types.h>

struct recv_report;
struct sock_pair;
struct verdicts;

/*
 * How long to wait for data, in milliseconds: --io-timeout; less once data was lost. The subtest
 * has failed then, and what follows only adds detail, for which its watchdog need not bark.
 */
unsigned int patience_ms(void);

/* ---- Payloads -------------------------------------------------------------------------------- */

/*
 * Bytes that tell where they belong: each depends on the seed and on its offset, so that a lost,
 * repeated, moved or foreign byte shows. A seed stands for a payload of any length, of which these
 * are the bytes from `offset` on.
 */
uint32_t new_seed(void);
void fill_pattern(void *buf, size_t len, uint32_t seed, uint64_t offset);

#define MESSAGE_MAX 4096

struct message {
	size_t len;
	char bytes[MESSAGE_MAX];
};

/* Make it a message unlike any other of this run. */
void fill_message(struct message *m, size_t len);

/* As send(2): what it returned, or -errno. */
ssize_t send_message(int fd, const struct message *m, int flags);

/* Send all of it, or fail. */
bool check_send(int fd, const struct message *m, const char *what);

/*
 * The end of a page of memory that no other one follows, for calls that are to fail half-way; NULL
 * after a failed check. It goes with the process.
 */
char *memory_edge(void);

/* ---- Receiving ------------------------------------------------------------------------------- */

/*
 * The read has to have worked, and not at the end of the stream: n and report are of recv_timeout().
 * found_at: the name of the socket that has the data, where they were misdirected; or "".
 */
bool check_received(const char *what, ssize_t n, const struct recv_report *report,
		    const char *found_at);

/* The next thing that a blocking read of a socket with boundaries gets is this message. */
bool check_datagram(int fd, const struct message *m, const char *what);

/* The next bytes of a stream are these, in however many blocking reads they come. */
bool check_stream(int fd, const void *want, size_t len, const char *what);

/* The same for `len` bytes of a pattern, from `offset` on: for payloads too large to keep. */
bool check_pattern(int fd, size_t len, uint32_t seed, uint64_t offset, const char *what);

/* The message is the next that arrives, with boundaries or without, as fits the kind of the socket.
 */
bool check_arrives(int fd, const struct message *m, const char *what);

/* There is nothing to read now: EAGAIN, and neither the end of the stream nor another error. */
bool check_nothing(int fd, const char *what);

/* A blocking read gets the end of the stream (error: 0), or fails with this errno. */
bool check_end_of_stream(int fd, int error, const char *what);

/* recv(2) of what is there, without blocking; the length or -errno. */
ssize_t read_now(int fd, void *buf, size_t len);

/* poll(2) reports all of these events, in the end. */
bool check_poll(int fd, short events, const char *what);

/* SO_ERROR is this errno, or 0; the socket has none afterwards. */
bool check_socket_error(int fd, int want, const char *what);

/*
 * Make a call that is to return soon, on a thread of its own, so that one that does not can be
 * told: what it returned, or -ETIME where it had to be interrupted after patience_ms().
 */
ssize_t call_timeout(ssize_t (*call)(void *arg), void *arg);

/* Send each way, and check that just this, and nothing before it, arrives. */
void check_traffic(const struct sock_pair *pair);

/* ---- A sender that may have to wait for buffer space ----------------------------------------- */

/*
 * A thread that sends `len` bytes of a pattern in blocking calls of `chunk` bytes, for more than the
 * buffers hold. pump_finish() waits for it and returns how many bytes it has sent, or the -errno at
 * which it gave up; one that hangs is interrupted after patience_ms() without progress: -ETIME.
 */
struct pump;
int pump_start(struct pump **pump, int fd, size_t len, size_t chunk, uint32_t seed); /* 0, -errno */
ssize_t pump_finish(struct pump *pump);

/* ---- Verdicts -------------------------------------------------------------------------------- */

/* A counter that a program moves while user space looks. */
uint64_t read_counter(const __u64 *counter);

/* Verdicts may come from a work queue: wait until there are that many, for patience_ms() at most. */
void wait_for_verdicts(const struct verdicts *v, uint64_t passed, uint64_t dropped);

/* Wait likewise, then require exactly these counts. */
bool check_verdict_counts(const struct verdicts *v, uint64_t passed, uint64_t dropped,
			  const char *what);

#endif /* TRAFFIC_H */
