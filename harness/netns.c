// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/netns.h"
#include "network_helpers.h"

#define OWN_NETNS "/proc/thread-self/ns/net"

/* The state of a socket in TIME_WAIT, as /proc/net/tcp prints it. */
#define STATE_TIME_WAIT " 06 "

static int loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING };
	int fd __auto_close = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		return -errno;
	return 0;
}

int netns_enter(int netns_fd)
{
	return setns(netns_fd, CLONE_NEWNET) ? -errno : 0;
}

static int open_own_netns(void)
{
	int fd = open(OWN_NETNS, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int netns_create(void)
{
	int home __auto_close = open_own_netns();
	int fd, err;

	if (home < 0)
		return home;
	if (unshare(CLONE_NEWNET))
		return -errno;
	err = loopback_up();
	fd = err ?: open_own_netns();
	err = netns_enter(home);
	if (err && fd >= 0)
		close(fd);
	return err ?: fd;
}

int netns_socket(int family, int type, int protocol)
{
	int home __auto_close = open_own_netns();
	int netns __auto_close = netns_create();
	int fd, err;

	if (home < 0 || netns < 0)
		return home < 0 ? home : netns;
	err = netns_enter(netns);
	if (err)
		return err;
	fd = socket(family, type | SOCK_CLOEXEC, protocol);
	err = fd < 0 ? -errno : 0;
	err = netns_enter(home) ?: err;
	if (err)
		close_fd(&fd);
	return err ?: fd;
}

/* "TCP: inuse 3 orphan 0 ...", "UDP6: inuse 1": whether one of these is not zero. */
static bool any_in_use(const char *path)
{
	FILE *file = fopen(path, "re");
	bool any = false;
	char line[256];
	int n;

	while (file && fgets(line, sizeof(line), file)) {
		bool counts = strncmp(line, "TCP", 3) == 0 || strncmp(line, "UDP", 3) == 0;

		any |= counts && sscanf(line, "%*s inuse %d", &n) == 1 && n;
	}
	if (file)
		fclose(file);
	return any;
}

/*
 * The lists of TCP sockets hold what is in TIME_WAIT as well, tens of thousands after some rounds of
 * --repeat, and take as long as that to read: only if there is something to find.
 */
static bool has_inet_sockets(void)
{
	return any_in_use("/proc/thread-self/net/sockstat") ||
	       any_in_use("/proc/thread-self/net/sockstat6");
}

static int count_lines(const char *path, char *which, size_t size)
{
	FILE *file = fopen(path, "re");
	char line[512];
	int n = 0;

	if (!file)
		return 0; /* the kernel lacks that family, and so has no socket of it */
	/* The first line is a heading. */
	if (fgets(line, sizeof(line), file)) {
		while (fgets(line, sizeof(line), file)) {
			if (strstr(path, "tcp") && strstr(line, STATE_TIME_WAIT))
				continue;
			line[strcspn(line, "\n")] = '\0';
			if (n++ == 0)
				snprintf(which, size, "%s: %s", strrchr(path, '/') + 1, line);
		}
	}
	fclose(file);
	return n;
}

int netns_count_sockets(int netns_fd, char *which, size_t size)
{
	/* AF_UNIX first, since it is counted in any case. */
	static const char *const paths[] = {
		"/proc/thread-self/net/unix", "/proc/thread-self/net/tcp",
		"/proc/thread-self/net/tcp6", "/proc/thread-self/net/udp",
		"/proc/thread-self/net/udp6",
	};
	int home __auto_close = open_own_netns();
	size_t nr_paths;
	int n = 0, err;

	if (home < 0)
		return home;
	err = netns_enter(netns_fd);
	if (err)
		return err;
	nr_paths = has_inet_sockets() ? ARRAY_SIZE(paths) : 1;
	for (size_t i = 0; i < nr_paths; i++)
		n += count_lines(paths[i], n ? NULL : which, n ? 0 : size);
	err = netns_enter(home);
	return err ?: n;
}

/* ---- Namespaces that end --------------------------------------------------------------------- */

/* In a namespace of its own, so that the ids are nobody else's business. */
int netns_watch_open(void)
{
	return netns_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
}

struct attribute {
	struct rtattr header;
	int32_t value;
};

struct nsid_request {
	struct nlmsghdr header;
	struct rtgenmsg msg __attribute__((aligned(NLMSG_ALIGNTO)));
	struct attribute attributes[2];
};

static struct attribute make_attribute(int type, int32_t value)
{
	return (struct attribute){
		.header = { .rta_type = type, .rta_len = sizeof(struct attribute) },
		.value = value,
	};
}

/* 0, or the -errno that it was answered with. */
static int request(int watch_fd, struct nsid_request *request, int type, unsigned int nr_attributes)
{
	char buf[1024] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *reply = (const void *)buf;

	request->header = (struct nlmsghdr){
		.nlmsg_type = type,
		.nlmsg_flags = NLM_F_REQUEST | (type == RTM_NEWNSID ? NLM_F_ACK : 0),
		.nlmsg_len = offsetof(struct nsid_request, attributes[nr_attributes]),
	};
	if (send(watch_fd, request, request->header.nlmsg_len, 0) < 0 ||
	    recv(watch_fd, buf, sizeof(buf), 0) < (ssize_t)NLMSG_LENGTH(sizeof(struct rtgenmsg)))
		return -errno;
	if (reply->nlmsg_type != NLMSG_ERROR)
		return 0;
	return ((const struct nlmsgerr *)NLMSG_DATA(reply))->error;
}

int netns_watch(int watch_fd, int netns_fd, int32_t id)
{
	struct nsid_request r = {
		.attributes = { make_attribute(NETNSA_NSID, id),
				make_attribute(NETNSA_FD, netns_fd) },
	};

	return request(watch_fd, &r, RTM_NEWNSID, 2);
}

int netns_is_alive(int watch_fd, int32_t id)
{
	struct nsid_request r = { .attributes = { make_attribute(NETNSA_NSID, id) } };
	int err = request(watch_fd, &r, RTM_GETNSID, 1);

	return err == -ENOENT ? 0 : err ?: 1;
}
