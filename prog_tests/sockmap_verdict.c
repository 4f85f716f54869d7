// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verdicts without redirection: what passes stays where it is, and what is dropped is gone.
 *
 *	MAP/HOOK/ATTACH/KIND/NAME, such as sockmap/sk_skb/link/udp4/drop
 *
 *	pass		SK_PASS: the data arrives where it would without a program, once and in order
 *	drop		SK_DROP: the data is nowhere, it counts as dropped, and the connection lives on
 *	undefined	a value that is no verdict drops
 *	redirect-drop	so does SK_DROP of a program that has called a helper to redirect before,
 *	redirect-flags	and one that calls it with flags that there are not,
 *	redirect-key	or with a key at which there is no socket
 *
 * In both maps, for each hook, way to attach, and kind of socket. Programs for sk_msg are not run
 * for kinds other than TCP, whose data goes its way whatever the verdict would be. A stream parser
 * is for TCP.
 *
 * Programs come and go between messages, where a hook has a say:
 *
 *	replaced	passes, then drops: a socket keeps the program that it was inserted with, and
 *			has the new one once it was taken out of the map and inserted again
 *	replaced-drop	the same from a program that drops to one that passes
 *	detached	a socket keeps its program here, too, and has none when inserted again
 *	deleted		from the map: its data arrives without a program; back in the map, with it
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "harness/harness.h"
#include "harness/traffic.h"
#include "network_helpers.h"
#include "progs/redirect.h"
#include "progs/verdicts.h"
#include "redirect.skel.h"

/* ---- A second program ------------------------------------------------------------------------ */

#define __auto_redirect_bpf __attribute__((cleanup(destroy_redirect)))

static void destroy_redirect(struct redirect_bpf **skel)
{
	redirect_bpf__destroy(*skel);
}

static struct bpf_program *verdict_of(const struct redirect_bpf *skel, enum redirect_hook hook)
{
	return hook == HOOK_MSG_VERDICT ? skel->progs.msg_verdict : skel->progs.skb_verdict;
}

static enum bpf_attach_type attach_type(enum redirect_hook hook)
{
	static const enum bpf_attach_type types[] = {
		[HOOK_MSG_VERDICT] = BPF_SK_MSG_VERDICT,
		[HOOK_STREAM_VERDICT] = BPF_SK_SKB_STREAM_VERDICT,
		[HOOK_SKB_VERDICT] = BPF_SK_SKB_VERDICT,
	};

	return types[hook];
}

/* The same programs once more, with counters of their own. */
static struct redirect_bpf *load_second(int verdict)
{
	struct redirect_bpf *skel = redirect_bpf__open();

	if (!CHECK(skel, "open the second BPF object"))
		return NULL;
	skel->data->verdict = verdict;
	if (!CHECK_OK(redirect_bpf__load(skel), "load the second BPF object")) {
		redirect_bpf__destroy(skel);
		return NULL;
	}
	track_bpf_object(skel->obj);
	return skel;
}

/* The link of the verdict: a parser is linked before it. */
static int *verdict_link(struct topology *t)
{
	return &t->links[t->redirect->hook == HOOK_STREAM_VERDICT];
}

static bool replace(struct topology *t, const struct redirect_bpf *second)
{
	enum redirect_hook hook = t->redirect->hook;
	const struct bpf_program *prog = verdict_of(second, hook);
	int err;

	if (!t->redirect->by_link)
		return CHECK_OK(attach_program(prog, topology_in_map(t), attach_type(hook)),
				"replace the program");
	err = bpf_link_update(*verdict_link(t), bpf_program__fd(prog), NULL);
	return CHECK_OK(err ? -errno : 0, "update the link");
}

static bool detach(struct topology *t)
{
	enum redirect_hook hook = t->redirect->hook;

	if (t->redirect->by_link) {
		close_fd(verdict_link(t));
		return true;
	}
	return CHECK_OK(detach_program(verdict_of(t->skel, hook), topology_in_map(t),
				       attach_type(hook)),
			"detach the program");
}

/* ---- Messages between changes ---------------------------------------------------------------- */

static int local_reader(const struct topology *t)
{
	return t->redirect->hook == HOOK_MSG_VERDICT ? t->in.peer : t->in.mapped;
}

/* A message arrives or is dropped, and the verdict counters of the topology's program are right. */
static bool check_fate(struct topology *t, bool arrives, const char *what)
{
	bool refused = !arrives && t->redirect->hook == HOOK_MSG_VERDICT;
	struct message m;
	ssize_t n;

	fill_message(&m, 100);
	n = send_message(t->sender, &m, 0);
	if (!(refused ? CHECK_ERR(n, EACCES, "%s: send", what)
		      : CHECK_EQ(n, m.len, "%s: send", what)))
		return false;
	if (arrives && !check_arrives(local_reader(t), &m, what))
		return false;
	return topology_check_verdicts(t) && topology_check_empty(t);
}

/* The same, where it is the topology's program that decides. */
static bool check_decides(struct topology *t, bool passes, const char *what)
{
	topology_expect(t, passes ? SK_PASS : SK_DROP, 100);
	return check_fate(t, passes, what);
}

/* The same, where it is the second one. */
static bool check_second_decides(struct topology *t, const struct redirect_bpf *second, bool passes)
{
	const char *what = "inserted after the replacement";

	return check_fate(t, passes, what) &&
	       check_verdict_counts((const struct verdicts *)&second->bss->verdicts, passes,
				    !passes, what) &&
	       topology_check_empty(t);
}

static bool take_out(struct topology *t)
{
	return CHECK_OK(topology_delete(t, topology_in_map(t), KEY_IN), "delete in.mapped");
}

static bool put_in(struct topology *t)
{
	return CHECK_OK(topology_insert(t, topology_in_map(t), KEY_IN, t->in.mapped),
			"insert in.mapped again");
}

/*
 * Behind a stream parser, and passed: on all kernels up to 7.3, a second message that comes while
 * the first one is unread can stall the stream. So here each is read before the next one is sent.
 */
static void run_one_by_one(struct topology *t)
{
	for (unsigned int i = 0; i < 10; i++) {
		if (!check_decides(t, true, "one message at a time"))
			return;
	}
}

static void run_replaced(struct topology *t)
{
	struct redirect_bpf *second __auto_redirect_bpf = NULL;
	bool passes = t->redirect->pass;

	second = load_second(passes ? SK_DROP : SK_PASS);
	if (!second || !check_decides(t, passes, "before the replacement") || !replace(t, second))
		return;
	/* The drop of a sk_msg program may have been its last verdict: see FEAT_MSG_AFTER_DROP. */
	if (passes && !check_decides(t, true, "replaced"))
		return;
	if (topology_reinsert(t))
		check_second_decides(t, second, !passes);
}

static void run_detached(struct topology *t)
{
	if (check_decides(t, true, "attached") && detach(t) &&
	    check_decides(t, true, "inserted before it was detached")) {
		/* Who is asked again would drop now. */
		t->skel->data->verdict = SK_DROP;
		if (topology_reinsert(t))
			check_fate(t, true, "inserted after it was detached");
	}
}

static void run_deleted(struct topology *t)
{
	if (check_decides(t, false, "in the map") && take_out(t) &&
	    check_fate(t, true, "deleted") && put_in(t))
		check_decides(t, false, "in the map again");
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum bpf_map_type type;
} maps[] = {
	{ "sockmap", BPF_MAP_TYPE_SOCKMAP },
	{ "sockhash", BPF_MAP_TYPE_SOCKHASH },
};

static const struct {
	const char *name;
	enum redirect_hook hook;
} hooks[] = {
	{ "sk_msg", HOOK_MSG_VERDICT },
	{ "sk_skb", HOOK_SKB_VERDICT },
	{ "parser", HOOK_STREAM_VERDICT },
};

static const struct {
	const char *name;
	bool by_link;
} attachments[] = {
	{ "prog", false },
	{ "link", true },
};

static const struct fix fix_drops[] = {
	{ "781dd0431eb5", "skmsg: Increase sk->sk_drops when dropping packets" },
	{},
};

static const struct row {
	const char *name;
	bool pass;
	int undefined;
	void (*run)(struct topology *t); /* NULL: the whole contract, check_redirect() */
	const struct fix *guards;
} rows[] = {
	{ "pass", .pass = true },
	{ "drop", .guards = fix_drops },
	{ "undefined", .undefined = 7, .guards = fix_drops },
	{ "redirect-drop", .undefined = REDIRECT_DROP, .guards = fix_drops },
	{ "redirect-flags", .undefined = REDIRECT_FLAGS, .guards = fix_drops },
	{ "redirect-key", .undefined = REDIRECT_KEY, .guards = fix_drops },
	{ "replaced", .pass = true, .run = run_replaced },
	{ "replaced-drop", .run = run_replaced },
	{ "detached", .pass = true, .run = run_detached },
	{ "deleted", .run = run_deleted },
};

struct cell {
	unsigned int row, kind, attach, hook, map;
};

/* Whether the program sees what a socket of this kind sends or gets. */
static bool has_a_say(enum redirect_hook hook, const struct sock_kind *kind)
{
	return hook == HOOK_SKB_VERDICT || is_tcp(kind);
}

static bool is_cell(const struct cell *c)
{
	const struct sock_kind *kind = &sock_kinds[c->kind];
	enum redirect_hook hook = hooks[c->hook].hook;
	bool calls_helper = rows[c->row].undefined < 0;

	/* No kernel takes an AF_UNIX socket of type SOCK_SEQPACKET into a map. */
	if (kind->family == AF_UNIX && kind->type == SOCK_SEQPACKET)
		return false;
	/* What a helper does depends on neither. */
	if (calls_helper && (attachments[c->attach].by_link || !has_a_say(hook, kind)))
		return false;
	return has_a_say(hook, kind) || (hook == HOOK_MSG_VERDICT && !rows[c->row].run);
}

/* Count one up: the rows change first. */
static bool next_place(struct cell *c)
{
	const unsigned int limits[] = { ARRAY_SIZE(rows), nr_sock_kinds, ARRAY_SIZE(attachments),
					ARRAY_SIZE(hooks), ARRAY_SIZE(maps) };
	unsigned int *const digits[] = { &c->row, &c->kind, &c->attach, &c->hook, &c->map };
	unsigned int d = 0;

	while (d < ARRAY_SIZE(digits) && ++*digits[d] == limits[d])
		*digits[d++] = 0;
	return d < ARRAY_SIZE(digits);
}

static bool find_cell(unsigned int i, struct cell *c)
{
	*c = (struct cell){};
	do {
		if (is_cell(c) && i-- == 0)
			return true;
	} while (next_place(c));
	return false;
}

static struct redirect redirect_of(const struct cell *c)
{
	const struct row *row = &rows[c->row];
	struct redirect r = {
		.map = maps[c->map].type,
		.hook = hooks[c->hook].hook,
		.in = &sock_kinds[c->kind],
		.out = &sock_kinds[c->kind],
		.two_maps = true,
		.by_link = attachments[c->attach].by_link,
		.pass = row->pass,
		.drop = !row->pass,
		.undefined = row->undefined,
	};

	if (!has_a_say(r.hook, r.in)) {
		r.outcome = LOCAL;
	} else if (r.pass) {
		r.outcome = DELIVERED;
	} else if (r.hook == HOOK_MSG_VERDICT) {
		r.outcome = REFUSED;
		r.error = EACCES;
	} else {
		r.outcome = DROPPED;
	}
	return r;
}

static bool describe(unsigned int i, struct subtest *sub)
{
	struct redirect r;
	struct cell c;

	if (!find_cell(i, &c))
		return false;
	r = redirect_of(&c);
	snprintf(sub->name, sizeof(sub->name), "%s/%s/%s/%s/%s", maps[c.map].name,
		 hooks[c.hook].name, attachments[c.attach].name, r.in->name, rows[c.row].name);
	subtest_dim(sub, "map", maps[c.map].name);
	subtest_dim(sub, "hook", hooks[c.hook].name);
	subtest_dim(sub, "attach", attachments[c.attach].name);
	subtest_dim(sub, "in", r.in->name);
	subtest_dim(sub, "verdict", rows[c.row].name);
	sub->needs = redirect_needs(&r);
	sub->wants = redirect_wants(&r);
	sub->uses = redirect_uses(&r);
	sub->guards = r.outcome == DROPPED ? rows[c.row].guards : NULL;
	while (sub->guards && sub->guards[sub->nr_guards].commit)
		sub->nr_guards++;
	return true;
}

static void run_on_topology(void (*run)(struct topology *t), const struct redirect *r)
{
	struct topology t __auto_topology = TOPOLOGY_NONE;

	check_scope("%s, %s", r->in->name, redirect_hook_name(r));
	if (topology_open(&t, r)) {
		run(&t);
		if (topology_remove_sockets(&t))
			topology_check_traffic(&t);
	}
	check_scope(NULL);
}

static void run(unsigned int i)
{
	struct redirect r;
	struct cell c;

	find_cell(i, &c);
	r = redirect_of(&c);
	if (rows[c.row].run)
		run_on_topology(rows[c.row].run, &r);
	else if (r.pass && r.hook == HOOK_STREAM_VERDICT)
		run_on_topology(run_one_by_one, &r);
	else
		check_redirect(&r);
}

DEFINE_TEST(sockmap_verdict, describe, run);
