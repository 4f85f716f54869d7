// SPDX-License-Identifier: GPL-2.0-only
/*
 * Redirection between every two kinds of sockets, in every direction, and what must not happen.
 *
 * A subtest is a cell of the product
 *
 *	map		sockmap, sockhash: of the program, and of the target but for "to_other"
 *	path		sk_msg-ingress, sk_msg-egress, sk_skb-ingress, sk_skb-egress,
 *			parser-ingress, parser-egress
 *	in, out		kinds of sockets, of sock_kinds[]; unix_stream_oob sends out-of-band data
 *	variant		how the maps, the keys and the program are set up
 *
 * and its name is MAP/PATH/IN-OUT[/VARIANT], as in sockmap/sk_skb-ingress/udp4-unix_stream. Each
 * has one of these outcomes, which the table `rules` states and check_redirect() asserts:
 *
 *	DELIVERED	the data arrives at the target, and nowhere else
 *	REFUSED		the send fails with the errno stated, and the data is nowhere
 *	DROPPED		the send works, the verdict is to drop, the data is nowhere, and counts as
 *			dropped
 *	LOCAL		no program is run for such a socket, and the data goes its normal way
 *	KEPT_OUT	the socket is not let into a map with such a program: the errno stated
 *
 * The whole product would be some thousands of cells that run the same code of the kernel again.
 * Crossed in full is the plain variant, with the sender in a map of its own: each map, path and
 * pair of kinds. The other variants concern the map or the program, and not who talks to whom, so
 * that there both ends are of one kind:
 *
 *	one_map		the target is in the map that has the program
 *	to_other	the target's map is a sockhash if the program's is a sockmap, and conversely
 *	mapped_peers	the peers are in a map without programs: who reads what is redirected to
 *			egress is a sockmap socket, too
 *	link		the program is attached by a bpf_link
 *	long_keys	the keys of the sockhash have 40 bytes
 *	iterator	a BPF iterator copies both sockets from a third map, which they then leave
 *	sockops		a sockops program inserts both sockets when they are established: TCP only
 *	partial		the parser cuts the stream elsewhere than the sender did
 *	lone_target	the target has no peer: it listens, or is bound only; then the data is dropped
 *	itself		the target is the socket that the program is for, in a second map: to ingress
 *			it is as if the data had been passed, to egress an echo
 *
 * A stream parser is for TCP. With other kinds it is a matter of insertion, where the target plays
 * no part: their cells have one kind at both ends, too.
 */
#include <stdio.h>
#include <errno.h>

#include "harness/harness.h"
#include "network_helpers.h"

static const struct {
	const char *name;
	enum bpf_map_type type, other;
} maps[] = {
	{ "sockmap", BPF_MAP_TYPE_SOCKMAP, BPF_MAP_TYPE_SOCKHASH },
	{ "sockhash", BPF_MAP_TYPE_SOCKHASH, BPF_MAP_TYPE_SOCKMAP },
};

static const struct path {
	const char *name;
	enum redirect_hook hook;
	bool ingress;
	const char *hook_name;
} paths[] = {
	{ "sk_msg-ingress", HOOK_MSG_VERDICT, true, "sk_msg" },
	{ "sk_msg-egress", HOOK_MSG_VERDICT, false, "sk_msg" },
	{ "sk_skb-ingress", HOOK_SKB_VERDICT, true, "sk_skb" },
	{ "sk_skb-egress", HOOK_SKB_VERDICT, false, "sk_skb" },
	{ "parser-ingress", HOOK_STREAM_VERDICT, true, "parser" },
	{ "parser-egress", HOOK_STREAM_VERDICT, false, "parser" },
};

/* ---- Kinds of sockets ------------------------------------------------------------------------ */

enum {
	TCP = 1 << 0,
	UDP = 1 << 1,
	UNIX = 1 << 2,
	VSOCK = 1 << 3,
	ANY = TCP | UDP | UNIX | VSOCK,
};

static unsigned int class_of(const struct sock_kind *kind)
{
	switch (kind->family) {
	case AF_UNIX:
		return UNIX;
	case AF_VSOCK:
		return VSOCK;
	default:
		return kind->type == SOCK_STREAM ? TCP : UDP;
	}
}

/* No kernel takes an AF_UNIX socket of type SOCK_SEQPACKET into a map. */
static bool goes_into_maps(const struct sock_kind *kind)
{
	return kind->family != AF_UNIX || kind->type != SOCK_SEQPACKET;
}

/* MSG_OOB on AF_UNIX makes one kind more to send from; on TCP it is a matter of the segment. */
static bool has_oob(const struct sock_kind *kind)
{
	return kind->family == AF_UNIX && kind->type == SOCK_STREAM;
}

/* ---- Outcomes -------------------------------------------------------------------------------- */

#define MSG    (1 << HOOK_MSG_VERDICT)
#define SKB    (1 << HOOK_SKB_VERDICT)
#define PARSER (1 << HOOK_STREAM_VERDICT)

enum { INGRESS = 1 << 0, EGRESS = 1 << 1, BOTH = INGRESS | EGRESS };

/* The first that fits. */
static const struct rule {
	unsigned int hooks, directions, in, out;
	enum redirect_outcome outcome;
	int error;
} rules[] = {
	/* Only TCP has the hook for what is sent. */
	{ MSG, BOTH, ANY & ~TCP, ANY, LOCAL, 0 },
	/* A message is sent by the functions of TCP, and received by those of the target. */
	{ MSG, EGRESS, TCP, ANY & ~TCP, REFUSED, EACCES },
	{ MSG, INGRESS, TCP, VSOCK, REFUSED, EACCES },
	/* The parser takes what it reads from a TCP socket. */
	{ PARSER, BOTH, ANY & ~TCP, ANY, KEPT_OUT, EOPNOTSUPP },
	/* vsock has no way to put a foreign packet into its queue. */
	{ SKB | PARSER, INGRESS, ANY, VSOCK, DROPPED, 0 },
	{ MSG | SKB | PARSER, BOTH, ANY, ANY, DELIVERED, 0 },
};

/* The same where the target is connected to nobody. */
static const struct rule lone_rules[] = {
	{ MSG, BOTH, ANY & ~TCP, ANY, LOCAL, 0 },
	{ MSG, BOTH, TCP, ANY, REFUSED, EACCES },
	{ SKB, BOTH, ANY, ANY, DROPPED, 0 },
};

static const struct rule *rule_of(const struct redirect *r)
{
	const struct rule *rule = r->to_listener ? lone_rules : rules;

	while (!(rule->hooks & 1 << r->hook) ||
	       !(rule->directions & (r->ingress ? INGRESS : EGRESS)) ||
	       !(rule->in & class_of(r->in)) || !(rule->out & class_of(r->out)))
		rule++;
	return rule;
}

/* ---- Variants -------------------------------------------------------------------------------- */

static const struct fix fix_readable[] = {
	{ "af493388950b", "net: Implement ->sock_is_readable() for UDP and AF_UNIX" },
	{ "552de9106882", "bpf: sk_msg, fix socket data_ready events" },
	{},
};

static const struct fix fix_oob[] = {
	{ "638f32604385", "af_unix: Disable MSG_OOB handling for sockets in sockmap/sockhash" },
	{},
};

static const struct fix fix_parser[] = {
	{ "5459cce6bf49", "bpf: Disable non stream socket for strparser" },
	{},
};

static const struct fix fix_partial[] = {
	{ "7303524e04af", "skmsg: Lose offset info in sk_psock_skb_ingress" },
	{},
};

static const struct fix fix_drops[] = {
	{ "781dd0431eb5", "skmsg: Increase sk->sk_drops when dropping packets" },
	{},
};

static const struct fix fix_itself[] = {
	{ "490a83d6386e", "bpf, sockmap: Fix self-redirect copied_seq double-counting" },
	{},
};

static const struct variant {
	const char *name; /* "": the plain one */
	bool crossed;	  /* all pairs, not only those of one kind */
	bool only_hash;
	unsigned int hooks;
	unsigned int in; /* classes of kinds; 0: all */
	bool to_other;
	struct redirect redirect; /* but for what the cell says */
} variants[] = {
	{ .name = "", .crossed = true, .hooks = MSG | SKB | PARSER, .redirect.two_maps = true },
	{ .name = "one_map", .hooks = MSG | SKB | PARSER },
	{ .name = "to_other", .hooks = MSG | SKB, .to_other = true, .redirect.two_maps = true },
	{ .name = "mapped_peers", .hooks = MSG | SKB, .redirect.mapped_peers = true },
	{ .name = "link", .hooks = MSG | SKB | PARSER, .redirect.by_link = true },
	{ .name = "long_keys", .only_hash = true, .hooks = MSG | SKB, .redirect.long_keys = true },
	{ .name = "iterator",
	  .hooks = MSG | SKB,
	  .redirect = { .two_maps = true, .by_iterator = true } },
	{ .name = "sockops",
	  .hooks = MSG | SKB | PARSER,
	  .in = TCP,
	  .redirect = { .two_maps = true, .by_sockops = true } },
	{ .name = "partial", .hooks = PARSER, .in = TCP, .redirect.parse_len = 3 },
	{ .name = "lone_target",
	  .hooks = MSG | SKB,
	  .in = TCP | UDP,
	  .redirect = { .two_maps = true, .to_listener = true } },
	{ .name = "itself",
	  .hooks = MSG | SKB,
	  .redirect = { .two_maps = true, .to_itself = true } },
};

/* ---- The plan -------------------------------------------------------------------------------- */

struct cell {
	unsigned int variant, map, path, in, out;
	bool oob;
};

static bool is_cell(const struct cell *c)
{
	const struct variant *v = &variants[c->variant];
	const struct sock_kind *in = &sock_kinds[c->in], *out = &sock_kinds[c->out];
	enum redirect_hook hook = paths[c->path].hook;

	if (!goes_into_maps(in) || !goes_into_maps(out) || !(v->hooks & 1 << hook))
		return false;
	if (v->only_hash && maps[c->map].type != BPF_MAP_TYPE_SOCKHASH)
		return false;
	if (c->oob && (!has_oob(in) || !v->crossed || hook == HOOK_STREAM_VERDICT))
		return false;
	if (v->in && !(v->in & class_of(in)))
		return false;
	/* What does not get into the map is not told of targets. */
	if (hook == HOOK_STREAM_VERDICT && class_of(in) != TCP && (!v->crossed || in != out))
		return false;
	return v->crossed || in == out;
}

/* Count one up: the kinds change first, so that names that are alike follow each other. */
static bool next_place(struct cell *c)
{
	const unsigned int limits[] = { nr_sock_kinds,	  2,
					nr_sock_kinds,	  ARRAY_SIZE(paths),
					ARRAY_SIZE(maps), ARRAY_SIZE(variants) };
	unsigned int oob = c->oob;
	unsigned int *const digits[] = { &c->out, &oob, &c->in, &c->path, &c->map, &c->variant };
	unsigned int d = 0;

	while (d < ARRAY_SIZE(digits) && ++*digits[d] == limits[d])
		*digits[d++] = 0;
	c->oob = oob;
	return d < ARRAY_SIZE(digits);
}

/* The plan asks for one after the other, so the search goes on where the last one ended. */
static bool find_cell(unsigned int i, struct cell *c)
{
	static struct cell place;
	static unsigned int nr; /* cells before that place */

	if (i < nr) {
		place = (struct cell){};
		nr = 0;
	}
	do {
		*c = place;
		if (!is_cell(c))
			continue;
		if (nr == i)
			return true;
		nr++;
	} while (next_place(&place));
	nr = 0;
	return false;
}

static struct redirect redirect_of(const struct cell *c)
{
	const struct variant *v = &variants[c->variant];
	struct redirect r = v->redirect;
	const struct rule *rule;

	r.map = maps[c->map].type;
	r.out_map = v->to_other ? maps[c->map].other : BPF_MAP_TYPE_UNSPEC;
	r.hook = paths[c->path].hook;
	r.ingress = paths[c->path].ingress;
	r.in = &sock_kinds[c->in];
	r.out = &sock_kinds[c->out];
	r.oob = c->oob;
	rule = rule_of(&r);
	r.outcome = rule->outcome;
	r.error = rule->error;
	return r;
}

static const struct fix *guards_of(const struct redirect *r)
{
	if (r->oob)
		return fix_oob;
	if (r->parse_len)
		return fix_partial;
	if (r->outcome == KEPT_OUT)
		return fix_parser;
	if (r->outcome == DROPPED)
		return fix_drops;
	if (r->to_itself)
		return r->ingress && class_of(r->in) == TCP ? fix_itself : NULL;
	return r->outcome == DELIVERED && r->ingress ? fix_readable : NULL;
}

static const char *insertion(const struct redirect *r)
{
	if (r->by_sockops)
		return "sockops";
	return r->by_iterator ? "iterator" : "syscall";
}

static void describe_dims(const struct cell *c, const struct redirect *r, struct subtest *sub)
{
	static const char *const keys[] = { "4 bytes", "40 bytes" };
	const char *variant = variants[c->variant].name;

	subtest_dim(sub, "map", maps[c->map].name);
	subtest_dim(sub, "hook", paths[c->path].hook_name);
	subtest_dim(sub, "direction", r->ingress ? "ingress" : "egress");
	subtest_dim(sub, "in", r->oob ? "unix_stream_oob" : r->in->name);
	subtest_dim(sub, "out", r->out->name);
	subtest_dim(sub, "attach", r->by_link ? "link" : "prog");
	subtest_dim(sub, "insert", insertion(r));
	subtest_dim(sub, "key", keys[r->long_keys]);
	subtest_dim(sub, "variant", *variant ? variant : "plain");
}

static bool describe(unsigned int i, struct subtest *sub)
{
	struct redirect r;
	const char *variant;
	struct cell c;

	if (!find_cell(i, &c))
		return false;
	r = redirect_of(&c);
	variant = variants[c.variant].name;
	snprintf(sub->name, sizeof(sub->name), "%s/%s/%s%s-%s%s%s", maps[c.map].name,
		 paths[c.path].name, r.in->name, r.oob ? "_oob" : "", r.out->name,
		 *variant ? "/" : "", variant);
	describe_dims(&c, &r, sub);
	sub->needs = redirect_needs(&r);
	sub->wants = redirect_wants(&r);
	sub->uses = redirect_uses(&r);
	sub->guards = guards_of(&r);
	while (sub->guards && sub->guards[sub->nr_guards].commit)
		sub->nr_guards++;
	return true;
}

static void run(unsigned int i)
{
	struct redirect r;
	struct cell c;

	find_cell(i, &c);
	r = redirect_of(&c);
	check_redirect(&r);
}

DEFINE_TEST(sockmap_redir, describe, run);
