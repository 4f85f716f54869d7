// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel has the code for, it can do.
 *
 * Tests are skipped where the kernel lacks what they need, and trying is how that is found out. So one
 * in which it is broken would be taken for an older one, in which it is not there yet, and nobody
 * would be the wiser. The names of its functions tell the two apart: a subtest for each feature,
 * which is skipped where there is no such function, or no list of them.
 */
#include <stdio.h>
#include <string.h>

#include "harness/harness.h"
#include "network_helpers.h"

struct evidence {
	enum feature feature;
	const char *kind; /* NULL: it is about no kind of socket */
	const char *function;
};

static const struct evidence table[] = {
	{ FEAT_SOCKHASH, NULL, "sock_hash_get_next_key" },
	{ FEAT_MSG_VERDICT, NULL, "tcp_bpf_sendmsg" },
	{ FEAT_STREAM_VERDICT, NULL, "sk_psock_strp_read" },
	{ FEAT_SKB_VERDICT, NULL, "udp_bpf_update_proto" },
	{ FEAT_QUERY, NULL, "sock_map_bpf_prog_query" },
	{ FEAT_LINK, NULL, "sock_map_link_create" },
	{ FEAT_INSERT, "tcp4", "tcp_bpf_recvmsg" },
	{ FEAT_INSERT, "tcp6", "tcp_bpf_recvmsg" },
	{ FEAT_INSERT, "udp4", "udp_bpf_update_proto" },
	{ FEAT_INSERT, "udp6", "udp_bpf_update_proto" },
	{ FEAT_INSERT, "unix_stream", "unix_stream_bpf_update_proto" },
	{ FEAT_INSERT, "unix_dgram", "unix_dgram_bpf_update_proto" },
	{ FEAT_INSERT, "vsock_stream", "vsock_bpf_update_proto" },
	{ FEAT_INSERT, "vsock_seqpacket", "vsock_bpf_update_proto" },
	{ FEAT_FIONREAD, "tcp4", "tcp_bpf_ioctl" },
	{ FEAT_FIONREAD, "tcp6", "tcp_bpf_ioctl" },
	{ FEAT_FIONREAD, "udp4", "udp_bpf_ioctl" },
	{ FEAT_FIONREAD, "udp6", "udp_bpf_ioctl" },
};

static enum feature feature_of(const struct evidence *e)
{
	return e->kind ? feature_of_kind(e->feature, sock_kind(e->kind)) : e->feature;
}

/* 1: the kernel has a function of that name; 0: it has none; negative: who knows. */
static int has_function(const char *name)
{
	FILE *symbols = fopen("/proc/kallsyms", "re");
	char line[512], symbol[256];
	int found = -1;

	while (symbols && found != 1 && fgets(line, sizeof(line), symbols)) {
		if (sscanf(line, "%*s %*s %255s", symbol) == 1)
			found = !strcmp(symbol, name);
	}
	if (symbols)
		fclose(symbols);
	return found;
}

static bool describe(unsigned int i, struct subtest *sub)
{
	const struct evidence *e = &table[i];

	if (i >= ARRAY_SIZE(table))
		return false;
	snprintf(sub->name, sizeof(sub->name), "%s", feature_name(feature_of(e)));
	sub->uses = feature_bit(feature_of(e));
	if (e->kind)
		sub->needs = feature_bit(feature_of_kind(FEAT_SOCKET, sock_kind(e->kind)));
	return true;
}

static void run(unsigned int i)
{
	const struct evidence *e = &table[i];
	char text[256];

	if (has_function(e->function) < 1)
		skip("the kernel does not say that it has %s()", e->function);
	else
		CHECK(have_feature(feature_of(e)), "the kernel has %s(), but: %s", e->function,
		      feature_missing(feature_of(e), text, sizeof(text)));
}

DEFINE_TEST(sockmap_features, describe, run);
