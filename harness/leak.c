// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/harness.h"
#include "harness/leak.h"
#include "harness/netns.h"
#include "network_helpers.h"

/*
 * A namespace ends after a few grace periods of RCU and behind all others that end. AF_VSOCK takes 8
 * seconds to give up on a peer that is silent.
 */
#define END_TIMEOUT_NS (30 * NSEC_PER_SEC)

struct attr_s32 {
	struct rtattr attr;
	int32_t value;
};

struct nsid_request {
	struct nlmsghdr header;
	struct rtgenmsg msg __attribute__((aligned(NLMSG_ALIGNTO)));
	struct attr_s32 fd, id;
};

/* A netlink socket that hears of the ends of the namespaces that have an id here; or -errno. */
static int open_rtnetlink(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int group = RTNLGRP_NSID, err;

	if (fd < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) == 0)
		return fd < 0 ? -errno : fd;
	err = -errno;
	close(fd);
	return err;
}

static struct attr_s32 attr_s32(int type, int32_t value)
{
	return (struct attr_s32){
		.attr = { .rta_type = type, .rta_len = sizeof(struct attr_s32) },
		.value = value,
	};
}

/* Give the namespace an id here. 0 or -errno. */
static int name_netns(int rtnetlink, int netns_fd, int32_t id)
{
	struct nsid_request request = {
		.header = { .nlmsg_type = RTM_NEWNSID,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
			    .nlmsg_len = sizeof(request) },
		.fd = attr_s32(NETNSA_FD, netns_fd),
		.id = attr_s32(NETNSA_NSID, id),
	};
	char buf[1024] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *reply = (const void *)buf;

	if (send(rtnetlink, &request, sizeof(request), 0) < 0)
		return -errno;
	/* Its announcement may come first. */
	do {
		if (recv(rtnetlink, buf, sizeof(buf), 0) < (ssize_t)NLMSG_LENGTH(sizeof(int)))
			return -errno;
	} while (reply->nlmsg_type != NLMSG_ERROR);
	return ((const struct nlmsgerr *)NLMSG_DATA(reply))->error;
}

static bool is_end_of(const struct nlmsghdr *msg, size_t len, int32_t id)
{
	const struct rtattr *attr = (const void *)((const char *)NLMSG_DATA(msg) +
						   NLMSG_ALIGN(sizeof(struct rtgenmsg)));
	size_t left = len - ((const char *)attr - (const char *)msg);

	if (!NLMSG_OK(msg, len) || msg->nlmsg_type != RTM_DELNSID)
		return false;
	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left)) {
		if (attr->rta_type == NETNSA_NSID && *(const int32_t *)RTA_DATA(attr) == id)
			return true;
	}
	return false;
}

/* Milliseconds left, rounded up. */
static int ms_until(uint64_t deadline)
{
	uint64_t now = now_ns();

	return now < deadline ? (deadline - now) / NSEC_PER_MSEC + 1 : 0;
}

static bool wait_for_end(int rtnetlink, int32_t id)
{
	/* Where data was lost, the subtest has failed already. */
	bool lost = patience_ms() < io_timeout_ms;
	uint64_t deadline = now_ns() + (lost ? patience_ms() * NSEC_PER_MSEC : END_TIMEOUT_NS);
	struct pollfd pfd = { .fd = rtnetlink, .events = POLLIN };

	while (poll(&pfd, 1, ms_until(deadline)) == 1) {
		char buf[1024] __attribute__((aligned(NLMSG_ALIGNTO)));
		ssize_t n = recv(rtnetlink, buf, sizeof(buf), 0);

		if (n > 0 && is_end_of((const void *)buf, n, id))
			return true;
	}
	return false;
}

bool check_netns_ends(void (*run)(void *arg), void *arg)
{
	int home __auto_close = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int rtnetlink __auto_close = open_rtnetlink();
	int netns __auto_close = netns_create();
	int32_t id = new_seed() & INT_MAX;

	if (!CHECK_OK(home, "open the network namespace") ||
	    !CHECK_OK(rtnetlink, "open rtnetlink") ||
	    !CHECK_OK(netns, "make a network namespace") ||
	    !CHECK_OK(name_netns(rtnetlink, netns, id), "give the network namespace an id") ||
	    !CHECK_OK(netns_enter(netns), "enter the network namespace"))
		return false;
	run(arg);
	if (!CHECK_OK(netns_enter(home), "leave the network namespace"))
		return false;
	close_fd(&netns);
	return CHECK(
		wait_for_end(rtnetlink, id),
		"all sockets are closed, and one of them still keeps the network namespace: a reference to it was not given back");
}
