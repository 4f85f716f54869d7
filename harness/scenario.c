// SPDX-License-Identifier: GPL-2.0-only
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

#include "harness/scenario.h"

static const struct path {
	const char *name;
	enum redirect_hook hook;
	bool ingress, pass;
} paths[] = {
	{ "sk_skb-pass", HOOK_SKB_VERDICT, true, true },
	{ "sk_skb-ingress", HOOK_SKB_VERDICT, true, false },
	{ "sk_skb-egress", HOOK_SKB_VERDICT, false, false },
	{ "parser-pass", HOOK_STREAM_VERDICT, true, true },
	{ "parser-ingress", HOOK_STREAM_VERDICT, true, false },
	{ "parser-egress", HOOK_STREAM_VERDICT, false, false },
	{ "sk_msg-pass", HOOK_MSG_VERDICT, false, true },
	{ "sk_msg-ingress", HOOK_MSG_VERDICT, true, false },
	{ "sk_msg-egress", HOOK_MSG_VERDICT, false, false },
};

static const struct scenario *current;

const struct scenario *this_scenario(void)
{
	return current;
}

/*
 * Programs of other types than sk_skb without a parser are for TCP, here at both ends. Nothing can
 * be redirected to the ingress of AF_VSOCK. What is passed goes nowhere else: one case is enough
 * for all the kinds of the other pair.
 */
static bool fits(const struct path *p, const struct sock_kind *in, const struct sock_kind *out)
{
	if (p->pass && in != out)
		return false;
	if (!p->pass && p->ingress && out->family == AF_VSOCK)
		return false;
	return p->hook == HOOK_SKB_VERDICT || (is_tcp(in) && is_tcp(out));
}

/* A scenario, and where it takes place. */
struct scene {
	const struct scenario *scenario;
	const struct path *path;
	struct redirect redirect;
	char kinds[64];
};

/* The i-th pair of kinds of a scenario; false: there are no more. */
static bool get_kinds(const struct scenario *s, unsigned int i, const struct sock_kind **in,
		      const struct sock_kind **out)
{
	if (s->kinds) {
		const struct kinds *k = &s->kinds[i];

		*in = k->in ? sock_kind(k->in) : NULL;
		*out = k->out ? sock_kind(k->out) : *in;
		return *in;
	}
	for (unsigned int k = 0; k < nr_sock_kinds; k++) {
		*in = *out = &sock_kinds[k];
		if (s->of(*in) && i-- == 0)
			return true;
	}
	return false;
}

static bool make_scene(const struct scenario *s, const struct path *p, const struct sock_kind *in,
		       const struct sock_kind *out, struct scene *scene)
{
	if (!(s->paths & 1U << (p - paths)) || !fits(p, in, out))
		return false;
	*scene = (struct scene){ .scenario = s, .path = p, .redirect = s->with };
	scene->redirect.map = s->with.map ?: BPF_MAP_TYPE_SOCKMAP;
	scene->redirect.hook = p->hook;
	scene->redirect.ingress = p->ingress;
	scene->redirect.pass = p->pass;
	scene->redirect.in = in;
	scene->redirect.out = out;
	snprintf(scene->kinds, sizeof(scene->kinds), "%s%s%s", in->name, in != out ? "-" : "",
		 in != out ? out->name : "");
	return true;
}

static bool find_scene(const struct scenario *table, size_t n, unsigned int i, struct scene *scene)
{
	const struct sock_kind *in, *out;

	for (const struct path *p = paths; p < paths + ARRAY_SIZE(paths); p++) {
		for (size_t s = 0; s < n; s++) {
			for (unsigned int k = 0; get_kinds(&table[s], k, &in, &out); k++) {
				if (make_scene(&table[s], p, in, out, scene) && i-- == 0)
					return true;
			}
		}
	}
	return false;
}

bool scenario_describe(const struct scenario *table, size_t n, unsigned int i, struct subtest *sub)
{
	struct scene scene;
	const struct redirect *r = &scene.redirect;

	if (!find_scene(table, n, i, &scene))
		return false;
	snprintf(sub->name, sizeof(sub->name), "%s/%s/%s", scene.path->name, scene.kinds,
		 scene.scenario->name);
	subtest_dim(sub, "path", scene.path->name);
	subtest_dim(sub, "in", r->in->name);
	subtest_dim(sub, "out", r->out->name);
	sub->needs = redirect_needs(r) | scene.scenario->needs;
	sub->uses = redirect_uses(r);
	sub->guards = scene.scenario->guards;
	while (sub->guards && sub->guards[sub->nr_guards].commit)
		sub->nr_guards++;
	return true;
}

/* Messages that do not wait for the acknowledgement of those before. */
static void send_without_delay(const struct sock_pair *pair)
{
	const int fds[] = { pair->mapped, pair->peer }, one = 1;

	for (unsigned int i = 0; is_tcp(pair->kind) && i < ARRAY_SIZE(fds); i++)
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void scenario_run(const struct scenario *table, size_t n, unsigned int i)
{
	struct topology t __auto_topology = TOPOLOGY_NONE;
	struct scene scene;

	find_scene(table, n, i, &scene);
	current = scene.scenario;
	check_scope("%s, %s", scene.kinds, scene.path->name);
	if (topology_open(&t, &scene.redirect)) {
		send_without_delay(&t.in);
		send_without_delay(&t.out);
		scene.scenario->run(&t);
	}
	check_scope(NULL);
}
