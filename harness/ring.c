// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness/ring.h"
#include "network_helpers.h"

#define RING_ENTRIES 8

/* A field of the queues, which the kernel reads and writes as well. */
static uint32_t *field(const struct ring *ring, uint32_t offset)
{
	return (uint32_t *)(ring->queues + offset);
}

static void *map_part(const struct ring *ring, size_t size, uint64_t part)
{
	void *p =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, part);

	return p == MAP_FAILED ? NULL : p;
}

static int map_queues(struct ring *ring)
{
	const struct io_uring_params *p = &ring->params;

	/* Before Linux 5.4, each queue has a mapping of its own. */
	if (!(p->features & IORING_FEAT_SINGLE_MMAP))
		return -EOPNOTSUPP;
	ring->queues_size = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	if (ring->queues_size < p->sq_off.array + p->sq_entries * sizeof(uint32_t))
		ring->queues_size = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	ring->requests_size = p->sq_entries * sizeof(struct io_uring_sqe);
	ring->queues = map_part(ring, ring->queues_size, IORING_OFF_SQ_RING);
	ring->requests = map_part(ring, ring->requests_size, IORING_OFF_SQES);
	return ring->queues && ring->requests ? 0 : -errno;
}

int ring_open(struct ring *ring)
{
	*ring = (struct ring){ .fd = -1 };
	ring->fd = syscall(SYS_io_uring_setup, RING_ENTRIES, &ring->params);
	return ring->fd < 0 ? -errno : map_queues(ring);
}

void ring_close(struct ring *ring)
{
	if (ring->requests)
		munmap(ring->requests, ring->requests_size);
	if (ring->queues)
		munmap(ring->queues, ring->queues_size);
	close_fd(&ring->fd);
	*ring = (struct ring){ .fd = -1 };
}

/* Also lets the kernel do what it has put off until this thread enters it. */
static int enter(const struct ring *ring, unsigned int submit)
{
	long n = syscall(SYS_io_uring_enter, ring->fd, submit, 0, IORING_ENTER_GETEVENTS, NULL, 0);

	return n < 0 ? -errno : n == submit ? 0 : -EIO;
}

int ring_submit(struct ring *ring, const struct io_uring_sqe *request)
{
	const struct io_sqring_offsets *off = &ring->params.sq_off;
	uint32_t tail = *field(ring, off->tail);
	uint32_t slot = tail & *field(ring, off->ring_mask);

	ring->requests[slot] = *request;
	field(ring, off->array)[slot] = slot;
	__atomic_store_n(field(ring, off->tail), tail + 1, __ATOMIC_RELEASE);
	return enter(ring, 1);
}

static bool take(struct ring *ring, struct io_uring_cqe *completion)
{
	const struct io_cqring_offsets *off = &ring->params.cq_off;
	const struct io_uring_cqe *queue = (const void *)(ring->queues + off->cqes);
	uint32_t head = *field(ring, off->head);

	if (head == __atomic_load_n(field(ring, off->tail), __ATOMIC_ACQUIRE))
		return false;
	*completion = queue[head & *field(ring, off->ring_mask)];
	__atomic_store_n(field(ring, off->head), head + 1, __ATOMIC_RELEASE);
	return true;
}

bool ring_take(struct ring *ring, struct io_uring_cqe *completion, unsigned int timeout_ms)
{
	struct pollfd ready = { .fd = ring->fd, .events = POLLIN };
	uint64_t end = now_ns() + timeout_ms * NSEC_PER_MSEC;

	/* What poll(2) calls ready can be work that completes nothing. */
	for (;;) {
		uint64_t now;

		if (enter(ring, 0))
			return false;
		if (take(ring, completion))
			return true;
		now = now_ns();
		if (now >= end)
			return false;
		poll(&ready, 1, (end - now) / NSEC_PER_MSEC + 1);
	}
}
