// SPDX-License-Identifier: GPL-2.0-only
#include <regex.h>
#include <stdlib.h>

#include "harness/splat.h"

/*
 * The place in the source comes before or after the CPU, by the version of the kernel. A file of
 * include/, kernel/ or lib/ can be anybody's.
 */
#define FOREIGN_FILE \
	"^WARNING: (CPU: [0-9]+ PID: [0-9]+ at )?(\\.?/[^ ]*/)?(drivers|sound|block)/[^ ]+:[0-9]+ "
#define NETWORK_FILE "(^|[ /])drivers/(net|vhost|xen/pvcalls)"
#define NETWORK_FUNCTION                                                       \
	"(^|[^A-Za-z0-9_.])([A-Za-z0-9.]*_)*"                                  \
	"(sk|skb|skmsg|sock|psock|strp|tcp|tls|udp|unix|vsock|bpf|xdp|inet6?|" \
	"net|netif|napi|xmit|sendmsg|recvmsg|sendto|recvfrom)"                 \
	"(_[A-Za-z0-9_.]*)?\\+0x"

static bool matches(const char *pattern, const char *text)
{
	regex_t regex;
	bool match;

	if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB))
		abort();
	match = regexec(&regex, text, 0, NULL, 0) == 0;
	regfree(&regex);
	return match;
}

static bool is_of_driver(const char *message, void *arg)
{
	(void)arg;
	return matches(FOREIGN_FILE, message) && !matches(NETWORK_FILE, message);
}

static bool is_of_oom(const char *message, void *arg)
{
	(void)arg;
	return matches("^(Call Trace:|oom-kill:constraint=CONSTRAINT_MEMCG,)", message);
}

/* The kernel does as it was told: somebody has taken more than his cgroup may. */
static bool is_limit_of_cgroup(const char *text)
{
	return splat_all_known(text, is_of_oom, NULL) &&
	       matches(" mem_cgroup_out_of_memory\\+0x", text);
}

bool splat_is_foreign(const char *text)
{
	if (is_limit_of_cgroup(text))
		return true;
	return splat_all_known(text, is_of_driver, NULL) && !matches(NETWORK_FUNCTION, text);
}
