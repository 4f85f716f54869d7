/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * io_uring(7), as far as tests of sockets need it: one request at a time is handed to the kernel,
 * and completions are waited for. Functions that return int return 0 or -errno.
 */
#ifndef RING_H
#define RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/io_uring.h>

struct ring {
	int fd;
	char *queues; /* both, in one mapping */
	size_t queues_size;
	struct io_uring_sqe *requests;
	size_t requests_size;
	struct io_uring_params params;
};

#define RING_NONE         \
	{                 \
		.fd = -1, \
	}
#define __auto_ring __attribute__((cleanup(ring_close)))

int ring_open(struct ring *ring);
void ring_close(struct ring *ring);

/*
 * Hand over a request. When this returns, the kernel has tried it once without blocking, and waits
 * for the file to be ready where that did not do.
 */
int ring_submit(struct ring *ring, const struct io_uring_sqe *request);

/* The oldest completion that has not been taken. False: there is none within the time. */
bool ring_take(struct ring *ring, struct io_uring_cqe *completion, unsigned int timeout_ms);

#endif /* RING_H */
