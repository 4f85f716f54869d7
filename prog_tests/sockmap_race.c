// SPDX-License-Identifier: GPL-2.0-only
/*
 * Storms: several threads do to the same maps and sockets what is not often done at the same time,
 * for a while that is bounded in time and in rounds. None of it has a result to be checked, except
 * that the kernel says nothing and that, afterwards, a redirect works as ever.
 *
 * A kernel that has such a bug can crash, so they run only where the machine may: see may_crash. Those
 * that no kernel is known to get through need to be asked for: see known_races.
 *
 *	update		the sockets leave the map and come back, under traffic: see known_races
 *	delete		sockets are inserted, get data to redirect, and are deleted, for good
 *	replace		the entry of the target is given to another socket and back
 *	attach		the programs are detached and attached again
 *	close-target	targets are inserted, redirected to, and closed with data unread
 *	close-source	sources are inserted, and closed with data on its way
 *	accept		connections to a listener in the map are accepted, inserted and closed
 *	readers		several readers of one socket
 *	all		all of these
 */
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "harness/harness.h"
#include "harness/scenario.h"
#include "network_helpers.h"
#include "progs/verdicts.h"
#include "redirect.skel.h"

#define STORM_MS     300
#define STORM_ROUNDS 20000
#define ACTORS_MAX   12
#define READ_MAX     (4 << 20)

struct storm {
	struct topology *t;
	pthread_barrier_t begin;
};

/* What one thread does, again and again; errors are part of the storm. */
typedef void (*actor)(struct storm *s);

/* ---- Actors ---------------------------------------------------------------------------------- */

static void send_some(int fd)
{
	struct message m;

	fill_message(&m, 1 + now_ns() % MESSAGE_MAX);
	send(fd, m.bytes, m.len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void read_all(int fd)
{
	static char nobody_looks[READ_MAX];

	recv(fd, nobody_looks, sizeof(nobody_looks), MSG_DONTWAIT);
}

static void act_send(struct storm *s)
{
	send_some(s->t->sender);
}

static void act_send_back(struct storm *s)
{
	send_some(s->t->sender == s->t->in.peer ? s->t->in.mapped : s->t->in.peer);
	send_some(s->t->out.mapped);
	send_some(s->t->out.peer);
}

static void act_read(struct storm *s)
{
	read_all(s->t->target);
}

/*
 * All but a TCP socket that the program takes data from: when it has left the map, it does not know
 * how much of its stream the program has seen, and kernels warn of that, or worse.
 */
static void act_read_others(struct storm *s)
{
	const struct topology *t = s->t;

	if (t->redirect->hook == HOOK_MSG_VERDICT || !is_tcp(t->redirect->in))
		read_all(t->in.mapped);
	read_all(t->in.peer);
	read_all(t->out.mapped);
	read_all(t->out.peer);
}

static int target_map(const struct topology *t)
{
	return bpf_map__fd(t->skel->maps.out_map);
}

static void act_update(struct storm *s)
{
	socket_map_delete(target_map(s->t), KEY_OUT);
	socket_map_update(target_map(s->t), KEY_OUT, s->t->out.mapped, BPF_NOEXIST);
	socket_map_delete(topology_in_map(s->t), KEY_IN);
	socket_map_update(topology_in_map(s->t), KEY_IN, s->t->in.mapped, BPF_ANY);
}

static void act_replace(struct storm *s)
{
	socket_map_update(target_map(s->t), KEY_OUT, s->t->out.peer, BPF_ANY);
	socket_map_update(target_map(s->t), KEY_OUT, s->t->out.mapped, BPF_EXIST);
}

static void reattach(struct topology *t, struct bpf_program *prog, enum bpf_attach_type type)
{
	detach_program(prog, topology_in_map(t), type);
	attach_program(prog, topology_in_map(t), type);
}

static void act_attach(struct storm *s)
{
	struct redirect_bpf *skel = s->t->skel;

	switch (s->t->redirect->hook) {
	case HOOK_MSG_VERDICT:
		reattach(s->t, skel->progs.msg_verdict, BPF_SK_MSG_VERDICT);
		break;
	case HOOK_STREAM_VERDICT:
		reattach(s->t, skel->progs.stream_parser, BPF_SK_SKB_STREAM_PARSER);
		reattach(s->t, skel->progs.skb_verdict, BPF_SK_SKB_STREAM_VERDICT);
		break;
	case HOOK_SKB_VERDICT:
		reattach(s->t, skel->progs.skb_verdict, BPF_SK_SKB_VERDICT);
		break;
	}
}

static void act_close_target(struct storm *s)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;

	if (make_pair(s->t->redirect->out, &pair))
		return;
	socket_map_update(target_map(s->t), KEY_OUT, pair.mapped, BPF_ANY);
	send_some(s->t->sender);
	read_all(pair.mapped);
	send_some(pair.peer);
}

static void act_close_source(struct storm *s)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;

	if (make_pair(s->t->redirect->in, &pair))
		return;
	socket_map_update(topology_in_map(s->t), KEY_IN, pair.mapped, BPF_ANY);
	send_some(s->t->redirect->hook == HOOK_MSG_VERDICT ? pair.mapped : pair.peer);
}

static void act_delete(struct storm *s)
{
	struct sock_pair in __auto_pair = SOCK_PAIR_NONE, out __auto_pair = SOCK_PAIR_NONE;

	if (make_pair(s->t->redirect->in, &in) || make_pair(s->t->redirect->out, &out))
		return;
	socket_map_update(target_map(s->t), KEY_OUT, out.mapped, BPF_ANY);
	socket_map_update(topology_in_map(s->t), KEY_IN, in.mapped, BPF_ANY);
	send_some(s->t->redirect->hook == HOOK_MSG_VERDICT ? in.mapped : in.peer);
	socket_map_delete(topology_in_map(s->t), KEY_IN);
	socket_map_delete(target_map(s->t), KEY_OUT);
	send_some(out.peer);
}

static void act_accept(struct storm *s)
{
	const struct sock_kind *kind = s->t->redirect->in;
	int listener __auto_close = socket_loopback(kind), client __auto_close = -1;
	int child __auto_close = -1;

	if (listener < 0)
		return;
	socket_map_update(target_map(s->t), KEY_OUT, listener, BPF_ANY);
	client = socket_connected_to(kind, listener);
	if (client < 0)
		return;
	send_some(client);
	child = accept_timeout(listener);
	if (child < 0)
		return;
	socket_map_update(topology_in_map(s->t), KEY_IN, child, BPF_ANY);
	read_all(child);
}

static void act_look(struct storm *s)
{
	uint64_t cookie;

	socket_map_lookup(target_map(s->t), KEY_OUT, &cookie);
	bytes_readable(s->t->target);
}

/* ---- Storms ---------------------------------------------------------------------------------- */

struct actor_thread {
	struct storm *storm;
	actor act;
	pthread_t thread;
};

static void *actor_main(void *arg)
{
	struct actor_thread *a = arg;
	unsigned int rounds = 0;
	uint64_t deadline;

	pthread_barrier_wait(&a->storm->begin);
	deadline = now_ns() + STORM_MS * NSEC_PER_MSEC;
	do
		a->act(a->storm);
	while (now_ns() < deadline && ++rounds < STORM_ROUNDS);
	return NULL;
}

static bool run_storm(struct topology *t, const actor *acts)
{
	struct storm storm = { .t = t };
	struct actor_thread threads[ACTORS_MAX];
	unsigned int n = 0;

	while (acts[n])
		n++;
	pthread_barrier_init(&storm.begin, NULL, n);
	for (unsigned int i = 0; i < n; i++) {
		threads[i] = (struct actor_thread){ .storm = &storm, .act = acts[i] };
		if (!CHECK_OK(-pthread_create(&threads[i].thread, NULL, actor_main, &threads[i]),
			      "start a thread"))
			return false; /* the others wait until the subtest's process is gone */
	}
	for (unsigned int i = 0; i < n; i++)
		pthread_join(threads[i].thread, NULL);
	pthread_barrier_destroy(&storm.begin);
	return true;
}

/* What was in the storm is gone; with new sockets, maps and programs all is as it should be. */
static void check_calm(const struct redirect *r)
{
	struct topology t __auto_topology = TOPOLOGY_NONE;
	struct message m;

	if (!topology_open(&t, r))
		return;
	fill_message(&m, 1000);
	topology_expect(&t, SK_PASS, m.len);
	if (check_send(t.sender, &m, "after the storm: send") &&
	    check_arrives(t.target, &m, "after the storm") && topology_check_verdicts(&t) &&
	    topology_check_empty(&t) && topology_remove_sockets(&t))
		topology_check_traffic(&t);
}

static const actor updaters[] = { act_send, act_send_back, act_read_others, act_update, NULL };
static const actor replacers[] = { act_send, act_send_back, act_read_others, act_replace, NULL };
static const actor attachers[] = { act_send, act_send_back, act_read_others, act_attach, NULL };
static const actor target_closers[] = { act_send, act_read_others, act_look, act_close_target,
					NULL };
static const actor source_closers[] = { act_send, act_read_others, act_close_source, NULL };
static const actor accepters[] = { act_send, act_read_others, act_accept, NULL };
static const actor readers[] = { act_send, act_send, act_read, act_read, act_look, NULL };
static const actor deleters[] = { act_send, act_read_others, act_look, act_delete, NULL };
static const actor all[] = { act_send,	       act_send_back, act_read_others,
			     act_read,	       act_delete,    act_replace,
			     act_attach,       act_look,      act_close_target,
			     act_close_source, NULL };

static const actor *const storms[] = {
	updaters,  replacers, attachers, target_closers, source_closers,
	accepters, readers,   all,	 deleters,
};

static void storm(struct topology *t)
{
	const struct redirect r = *t->redirect;

	if (!run_storm(t, storms[this_scenario()->value]))
		return;
	topology_close(t);
	*t = (struct topology)TOPOLOGY_NONE;
	check_calm(&r);
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const struct kinds any[] = {
	{ .in = "tcp4" },	{ .in = "udp6" },	   { .in = "unix_stream" },
	{ .in = "unix_dgram" }, { "tcp6", "unix_stream" }, { "unix_dgram", "udp4" },
	{ "udp4", "tcp6" },	{ "unix_stream", "udp6" }, {},
};

static const struct kinds to_unix[] = {
	{ .in = "unix_stream" },	   { .in = "unix_dgram" },
	{ "tcp6", "unix_stream" },	   { "udp4", "unix_dgram" },
	{ "vsock_stream", "unix_stream" }, {},
};

static const struct kinds not_inet[] = {
	{ .in = "unix_stream" },
	{ .in = "unix_dgram" },
	{ .in = "vsock_stream" },
	{},
};

static const struct kinds tcp[] = { { .in = "tcp4" }, { .in = "tcp6" }, {} };

/*
 * What TCP and UDP sockets have been given is not accounted for under their lock, a parser can be
 * started twice, an AF_VSOCK socket that is closed while it is redirected from can stay for ever, and
 * a socket that comes back at once can be read in atomic context (of which kernels with
 * CONFIG_DEBUG_ATOMIC_SLEEP tell) or lose a reference: all kernels up to 7.3 have these races.
 */
static const struct kinds to_inet[] = {
	{ .in = "tcp4" }, { .in = "udp4" }, { .in = "udp6" }, { "unix_dgram", "udp4" }, {},
};

static const struct kinds udp[] = { { .in = "udp4" }, { .in = "udp6" }, {} };

static const struct kinds vsock[] = { { .in = "vsock_stream" }, {} };

static const struct fix reader_fixes[] = {
	{ "c010995b29c8", "sockmap: Fix use-after-free in udp_bpf_recvmsg()" },
	{},
};

#define MAY_CRASH   ((feature_set)1 << FEAT_MAY_CRASH)
#define KNOWN_RACES ((feature_set)1 << FEAT_KNOWN_RACES)

#define ROW(storm_name, nr, path_set, kind_list, needed, fixes)                           \
	{                                                                                 \
		.name = storm_name, .paths = path_set, .kinds = kind_list, .run = storm,  \
		.value = nr, .with = { .two_maps = true }, .needs = MAY_CRASH | (needed), \
		.guards = fixes,                                                          \
	}
#define STORM(name, nr)                                                 \
	ROW(name, nr, SKB_EGRESS | MSG_EGRESS, any, 0, NULL),           \
		ROW(name, nr, SKB_INGRESS, to_unix, 0, NULL),           \
		ROW(name, nr, ANY_INGRESS, to_inet, KNOWN_RACES, NULL), \
		ROW(name, nr, SKB_EGRESS, vsock, KNOWN_RACES, NULL)
#define STORM_PASS(name, nr) \
	ROW(name, nr, SKB_PASS, not_inet, 0, NULL), ROW(name, nr, SKB_PASS, udp, KNOWN_RACES, NULL)

static const struct scenario scenarios[] = {
	ROW("update", 0, SKB_PASS | SKB_EGRESS | MSG_EGRESS, any, KNOWN_RACES, NULL),
	ROW("update", 0, ANY_INGRESS, to_inet, KNOWN_RACES, NULL),
	ROW("update", 0, SKB_INGRESS, to_unix, KNOWN_RACES, NULL),
	STORM("delete", 8),
	STORM_PASS("delete", 8),
	STORM("replace", 1),
	STORM("attach", 2),
	STORM_PASS("attach", 2),
	STORM("close-target", 3),
	STORM("close-source", 4),
	STORM_PASS("close-source", 4),
	ROW("accept", 5, SKB_EGRESS | MSG_EGRESS, tcp, 0, NULL),
	ROW("accept", 5, PARSER_INGRESS, tcp, KNOWN_RACES, NULL),
	ROW("readers", 6, SKB_INGRESS, to_unix, 0, NULL),
	ROW("readers", 6, SKB_PASS, not_inet, 0, NULL),
	ROW("readers", 6, SKB_INGRESS | MSG_INGRESS, to_inet, KNOWN_RACES, reader_fixes),
	ROW("readers", 6, SKB_PASS, udp, KNOWN_RACES, reader_fixes),
	STORM("all", 7),
	STORM_PASS("all", 7),
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return scenario_describe(scenarios, ARRAY_SIZE(scenarios), i, sub);
}

static void run(unsigned int i)
{
	scenario_run(scenarios, ARRAY_SIZE(scenarios), i);
}

DEFINE_TEST(sockmap_race, describe, run);
