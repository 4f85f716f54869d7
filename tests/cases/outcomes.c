// SPDX-License-Identifier: GPL-2.0-only
/* A redirect matrix that redirects nothing: for reports that look at dimensions and outcomes. */
#include <stdio.h>
#include <string.h>

#include "harness/harness.h"
#include "network_helpers.h"

static const struct {
	const char *map, *hook, *direction, *in, *out;
	const char *observed; /* NULL: it fails before anything can be seen */
} rows[] = {
	{ "sockmap", "sk_msg", "ingress", "tcp4", "tcp4", "delivered" },
	{ "sockmap", "sk_msg", "ingress", "tcp4", "udp4", "delivered" },
	{ "sockhash", "sk_msg", "ingress", "tcp4", "udp4", "dropped" },
	{ "sockmap", "sk_msg", "egress", "tcp4", "udp4", "EACCES" },
	{ "sockmap", "sk_skb", "ingress", "tcp4", "tcp4", "local" },
	{ "sockmap", "sk_skb", "ingress", "udp4", "udp4", NULL },
	{ "sockmap", "sk_skb", "ingress", "udp4", "unix_seqpacket", "delivered" },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	if (i >= ARRAY_SIZE(rows))
		return false;
	snprintf(sub->name, sizeof(sub->name), "%s/%s-%s/%s-%s", rows[i].map, rows[i].hook,
		 rows[i].direction, rows[i].in, rows[i].out);
	subtest_dim(sub, "map", rows[i].map);
	subtest_dim(sub, "hook", rows[i].hook);
	subtest_dim(sub, "direction", rows[i].direction);
	subtest_dim(sub, "in", rows[i].in);
	subtest_dim(sub, "out", rows[i].out);
	/* What no kernel has, and so is skipped. */
	if (strcmp(rows[i].out, "unix_seqpacket") == 0)
		sub->needs = feature_bit(feature_of_kind(FEAT_INSERT, sock_kind("unix_seqpacket")));
	return true;
}

/* Text that no format takes as it is. */
static void run(unsigned int i)
{
	if (!rows[i].observed)
		printf("\x01 <b>&amp;</b> ]]> \" ' \xff \xed\xa0\x80 \xc3\xa9 # SKIP\n# Subtest: none\n</script>\n");
	if (CHECK(rows[i].observed, "100%% &amp; <outcome>"))
		observed("%s", rows[i].observed);
}

DEFINE_TEST(outcomes, describe, run);
