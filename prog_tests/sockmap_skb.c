// SPDX-License-Identifier: GPL-2.0-only
/*
 * What programs see of the data that they decide about, and what sk_skb programs do to it.
 *
 *	fields			the addresses of the socket, and the length of the data: for the
 *				verdict, and for the parser before it
 *
 * A verdict program that changes the skb: what it has made of it arrives, and nothing else.
 *
 *	bytes			bpf_skb_pull_data(), and then the first and the last byte; all of them
 *				are between data and data_end
 *	shrink-tail, grow-tail	bpf_skb_change_tail()
 *	grow-head		bpf_skb_change_head()
 *	shrink-room, grow-room	bpf_skb_adjust_room(), at the beginning
 *	refused-...		the same with flags that there are not, or to no length that there is:
 *				nothing has changed
 *
 * How much of a TCP stream was read is counted in bytes of what was made of it, so a socket is of no
 * use after its length was changed, and each subtest sends but one message.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <bpf/libbpf.h>

#include "harness/harness.h"
#include "harness/scenario.h"
#include "network_helpers.h"
#include "progs/skb.h"
#include "progs/verdicts.h"
#include "redirect.skel.h"
#include "skb.skel.h"

/* ---- Setting up ------------------------------------------------------------------------------ */

#define __auto_skb __attribute__((cleanup(free_skb)))
static void free_skb(struct skb_bpf **skel)
{
	skb_bpf__destroy(*skel);
}

static struct skb_bpf *load_programs(const struct topology *t)
{
	struct skb_bpf *skel = skb_bpf__open();

	if (!CHECK(skel, "open the BPF object: %s", strerror(errno)))
		return NULL;
	skel->rodata->redirects = !t->redirect->pass;
	skel->rodata->redirect_flags = t->redirect->ingress ? BPF_F_INGRESS : 0;
	if (!CHECK_OK(bpf_map__reuse_fd(skel->maps.out_map, bpf_map__fd(t->skel->maps.out_map)),
		      "reuse the map") ||
	    !CHECK_OK(skb_bpf__load(skel), "load the BPF object")) {
		skb_bpf__destroy(skel);
		return NULL;
	}
	track_bpf_object(skel->obj);
	return skel;
}

static bool attach_verdict(const struct topology *t, const struct bpf_program *prog)
{
	static const enum bpf_attach_type types[] = {
		[HOOK_MSG_VERDICT] = BPF_SK_MSG_VERDICT,
		[HOOK_STREAM_VERDICT] = BPF_SK_SKB_STREAM_VERDICT,
		[HOOK_SKB_VERDICT] = BPF_SK_SKB_VERDICT,
	};

	return CHECK_OK(attach_program(prog, topology_in_map(t), types[t->redirect->hook]),
			"attach the program");
}

static bool attach_parser(const struct topology *t, const struct skb_bpf *skel)
{
	return t->redirect->hook != HOOK_STREAM_VERDICT ||
	       CHECK_OK(attach_program(skel->progs.parse_fields, topology_in_map(t),
				       BPF_SK_SKB_STREAM_PARSER),
			"attach the parser");
}

/* ---- What they see --------------------------------------------------------------------------- */

static bool check_ip4(const struct sockaddr_in *local, const struct sockaddr_in *remote,
		      const struct skb_fields *seen, const char *who)
{
	bool ok = CHECK_EQ(seen->local_ip4, local->sin_addr.s_addr, "%s: local_ip4", who);

	ok &= CHECK_EQ(seen->remote_ip4, remote->sin_addr.s_addr, "%s: remote_ip4", who);
	ok &= CHECK_EQ(seen->local_port, ntohs(local->sin_port), "%s: local_port", who);
	return ok &
	       CHECK_EQ(ntohl(seen->remote_port), ntohs(remote->sin_port), "%s: remote_port", who);
}

static bool check_ip6(const struct sockaddr_in6 *local, const struct sockaddr_in6 *remote,
		      const struct skb_fields *seen, const char *who)
{
	bool ok = CHECK(!memcmp(seen->local_ip6, &local->sin6_addr, sizeof(local->sin6_addr)),
			"%s: local_ip6", who);

	ok &= CHECK(!memcmp(seen->remote_ip6, &remote->sin6_addr, sizeof(remote->sin6_addr)),
		    "%s: remote_ip6", who);
	ok &= CHECK_EQ(seen->local_port, ntohs(local->sin6_port), "%s: local_port", who);
	return ok &
	       CHECK_EQ(ntohl(seen->remote_port), ntohs(remote->sin6_port), "%s: remote_port", who);
}

static bool check_fields(int fd, const struct skb_fields *seen, size_t len, const char *who)
{
	struct sockaddr_storage local = {}, remote = {};
	socklen_t local_len = sizeof(local), remote_len = sizeof(remote);
	const void *l = &local, *r = &remote;

	if (!CHECK_OK(getsockname(fd, (struct sockaddr *)&local, &local_len) ? -errno : 0,
		      "getsockname") ||
	    !CHECK_OK(getpeername(fd, (struct sockaddr *)&remote, &remote_len) ? -errno : 0,
		      "getpeername") ||
	    !CHECK_EQ(seen->len, len, "%s: length", who) ||
	    !CHECK_EQ(seen->family, local.ss_family, "%s: family", who))
		return false;
	return local.ss_family == AF_INET ? check_ip4(l, r, seen, who) : check_ip6(l, r, seen, who);
}

static void fields(struct topology *t)
{
	struct skb_bpf *skel __auto_skb = load_programs(t);
	bool is_msg = t->redirect->hook == HOOK_MSG_VERDICT;
	struct message m;

	if (!skel || !attach_parser(t, skel) ||
	    !attach_verdict(t, is_msg ? skel->progs.msg_fields : skel->progs.skb_fields) ||
	    !topology_reinsert(t))
		return;
	fill_message(&m, 333);
	if (!check_send(t->sender, &m, "send") || !check_arrives(t->target, &m, "data") ||
	    !CHECK_EQ(skel->bss->runs, 1, "runs of the program") ||
	    !check_fields(t->in.mapped, &skel->bss->in_verdict, m.len, "verdict"))
		return;
	if (t->redirect->hook == HOOK_STREAM_VERDICT)
		check_fields(t->in.mapped, &skel->bss->in_parser, m.len, "parser");
	topology_check_empty(t);
}

/* ---- What they do ---------------------------------------------------------------------------- */

#define LEN 600

struct change {
	enum skb_change what;
	int by;
	unsigned int flags;
	int error; /* that the helper returns */
};

/* Bytes at the end come and go. */
static void model_tail(struct message *m, int by)
{
	if (by > 0)
		memset(m->bytes + m->len, 0, by);
	m->len += by;
}

/* The same at the beginning. */
static void model_head(struct message *m, int by)
{
	if (by > 0) {
		memmove(m->bytes + by, m->bytes, m->len);
		memset(m->bytes, 0, by);
	} else {
		memmove(m->bytes, m->bytes - by, m->len + by);
	}
	m->len += by;
}

static void model_change(struct message *m, const struct change *c)
{
	if (c->error)
		return;
	switch (c->what) {
	case CHANGE_NOTHING:
		break;
	case CHANGE_BYTES:
		m->bytes[0] ^= 0xff;
		m->bytes[m->len - 1] ^= 0xff;
		break;
	case CHANGE_TAIL:
		model_tail(m, c->by);
		break;
	case CHANGE_HEAD:
	case CHANGE_ROOM:
		model_head(m, c->by);
		break;
	}
}

static void change(struct topology *t)
{
	struct skb_bpf *skel __auto_skb = load_programs(t);
	const struct change *c = this_scenario()->data;
	struct message m;

	if (!skel || !attach_verdict(t, skel->progs.skb_changes) || !topology_reinsert(t))
		return;
	skel->bss->change = c->what;
	skel->bss->by = c->by;
	skel->bss->flags = c->flags;
	fill_message(&m, LEN);
	if (!check_send(t->sender, &m, "send"))
		return;
	model_change(&m, c);
	if (!check_arrives(t->target, &m, "what the program has made of it") ||
	    !CHECK_EQ(skel->bss->runs, 1, "runs of the program") ||
	    !CHECK_EQ(skel->bss->error, -c->error, "what the helper returned") ||
	    !CHECK_EQ(skel->bss->in_verdict.len, m.len, "length of the skb"))
		return;
	if (c->what == CHANGE_BYTES)
		CHECK_EQ(skel->bss->pulled, m.len, "bytes between data and data_end");
	topology_check_empty(t);
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const struct kinds inet[] = {
	{ .in = "tcp4" }, { .in = "tcp6" }, { .in = "udp4" }, { .in = "udp6" }, {},
};

static const struct kinds any[] = {
	{ .in = "tcp4" },	 { .in = "tcp6" },	 { .in = "udp4" },	   { .in = "udp6" },
	{ .in = "unix_stream" }, { .in = "unix_dgram" }, { .in = "vsock_stream" }, {},
};

static const struct fix tail_fixes[] = {
	{ "9ecc4d858b92", "bpf: Check negative offsets in __bpf_skb_min_len()" },
	{},
};

static const struct fix end_fixes[] = {
	{ "b2c4618162ec", "bpf, sockmap: sk_skb data_end access incorrect when src_reg = dst_reg" },
	{},
};

#define SKB (SKB_PASS | SKB_INGRESS | SKB_EGRESS)

#define CHANGE(what, by, flags, error)                \
	.run = change, .data = &(const struct change) \
	{                                             \
		what, by, flags, error                \
	}

static const struct scenario scenarios[] = {
	{ "fields", ANY_PASS | MSG_PASS, inet, .run = fields },
	{ "bytes", SKB, any, CHANGE(CHANGE_BYTES, 0, 0, 0), .guards = end_fixes },
	{ "shrink-tail", SKB, any, CHANGE(CHANGE_TAIL, -100, 0, 0), .guards = tail_fixes },
	{ "grow-tail", SKB, any, CHANGE(CHANGE_TAIL, 100, 0, 0), .guards = tail_fixes },
	{ "grow-head", SKB, any, CHANGE(CHANGE_HEAD, 30, 0, 0) },
	{ "shrink-room", SKB, any, CHANGE(CHANGE_ROOM, -100, 0, 0) },
	{ "grow-room", SKB, any, CHANGE(CHANGE_ROOM, 30, 0, 0) },
	{ "refused-flags", SKB_PASS, any, CHANGE(CHANGE_TAIL, 10, 1, EINVAL) },
	{ "refused-head-flags", SKB_PASS, any, CHANGE(CHANGE_HEAD, 10, 1, EINVAL) },
	{ "refused-room-flags", SKB_PASS, any, CHANGE(CHANGE_ROOM, 10, 1, EINVAL) },
	{ "refused-tail", SKB_PASS, any, CHANGE(CHANGE_TAIL, -LEN - 1, 0, EINVAL) },
	{ "refused-room", SKB_PASS, any, CHANGE(CHANGE_ROOM, -LEN - 1, 0, ENOMEM) },
	{ "refused-room-size", SKB_PASS, any, CHANGE(CHANGE_ROOM, 0x1000, 0, EFAULT) },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return scenario_describe(scenarios, ARRAY_SIZE(scenarios), i, sub);
}

static void run(unsigned int i)
{
	scenario_run(scenarios, ARRAY_SIZE(scenarios), i);
}

DEFINE_TEST(sockmap_skb, describe, run);
