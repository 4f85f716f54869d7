// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness/knob.h"
#include "harness/netns.h"
#include "harness/slab.h"
#include "network_helpers.h"

/*
 * Caches whose numbers tell: nothing much happens in them while a machine is quiet. The smaller
 * kmalloc caches are not among them, since all of the kernel uses those, nor is skbuff_head_cache,
 * of which NAPI keeps up to 64 for each processor. struct sk_psock and struct sk_msg are of the size
 * of kmalloc-1k.
 *
 * Those with a type of their own do not count where the kernel has merged them with others, such as
 * that of AF_UNIX with that of processes.
 */
static const struct {
	const char *name;
	bool typed;
} caches[] = {
	{ "kmalloc-1k", false },
	{ "kmalloc-2k", false },
	{ "kmalloc-4k", false },
	{ "kmalloc-8k", false },
	{ "skbuff_fclone_cache", true },
	{ "skbuff_small_head", true },
	{ "sock_inode_cache", true },
	{ "request_sock_TCP", true },
	{ "request_sock_TCPv6", true },
	{ "TCP", true },
	{ "TCPv6", true },
	{ "UDP", true },
	{ "UDPv6", true },
	{ "UNIX", true },
	{ "UNIX-STREAM", true },
	{ "AF_VSOCK", true },
	{ "MPTCP", true },
	{ "MPTCPv6", true },
};

_Static_assert(ARRAY_SIZE(caches) <= ARRAY_SIZE(((struct slab_counts *)0)->objects),
	       "room for each of the caches");

static int flush_fd = -1; /* connected to itself */

const char *slab_name(int cache)
{
	return caches[cache].name;
}

#define ATTRIBUTE_PATH 96

static const char *attribute(int cache, const char *name, char path[ATTRIBUTE_PATH])
{
	snprintf(path, ATTRIBUTE_PATH, "/sys/kernel/slab/%s/%s", caches[cache].name, name);
	return path;
}

static long read_number(int cache, const char *name)
{
	char path[ATTRIBUTE_PATH], text[64] = "";
	int fd __auto_close = open(attribute(cache, name, path), O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 ? atol(text) : -1;
}

/* Slabs that belong to a processor count as if all of their objects were in use: take them back. */
static bool shrink(int cache)
{
	char path[ATTRIBUTE_PATH];

	return !write_knob(attribute(cache, "shrink", path), "1");
}

/* -1: there is no such cache, or it is for others as well. */
static long count(int cache)
{
	if ((caches[cache].typed && read_number(cache, "aliases") > 0) || !shrink(cache))
		return -1;
	return read_number(cache, "objects");
}

/*
 * An skb that one processor is done with, and another one has allocated, waits for that one to
 * receive something.
 */
static void flush_processors(void)
{
	cpu_set_t all, one;
	char byte = 0;

	if (sched_getaffinity(0, sizeof(all), &all))
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one) ||
		    send(flush_fd, &byte, sizeof(byte), 0) < 0)
			continue;
		recv(flush_fd, &byte, sizeof(byte), MSG_DONTWAIT);
	}
	sched_setaffinity(0, sizeof(all), &all);
}

static int open_flush_socket(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = netns_socket(AF_INET, SOCK_DGRAM, 0);

	if (fd >= 0 && (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) || connect_to(fd, fd)))
		close_fd(&fd);
	return fd;
}

bool slab_open(void)
{
	if (count(0) <= 0)
		return false;
	flush_fd = open_flush_socket();
	return flush_fd >= 0;
}

void slab_close(void)
{
	close_fd(&flush_fd);
}

void slab_count(struct slab_counts *counts)
{
	flush_processors();
	for (size_t i = 0; i < ARRAY_SIZE(caches); i++)
		counts->objects[i] = count(i);
}

uint32_t slab_grown(const struct slab_counts *then, const struct slab_counts *now, long by)
{
	uint32_t grown = 0;

	for (size_t i = 0; i < ARRAY_SIZE(caches); i++)
		grown |= (uint32_t)(now->objects[i] - then->objects[i] >= by) << i;
	return grown;
}
