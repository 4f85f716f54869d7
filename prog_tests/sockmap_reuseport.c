// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program picks the socket of a reuseport group, from a map of sockets: who gets the connection,
 * or the datagram, and which sockets cannot be picked.
 *
 *	each			each socket of the group in turn
 *	replaced		the one that takes the place of another
 *	reinserted		one that has left the map, and is back
 *	with-program		one whose map has a program
 *	others-remain		others, when one of the group is closed
 *
 * Not to be picked, and then nobody gets anything, and the client is told:
 *
 *	empty			there is nothing at the key
 *	out-of-range		there is no such key
 *	deleted			it has left the map
 *	closed			it is closed
 *	alone			it is in no group
 *	other-group		it is in a group of another port
 *	other-family		in one of another address family
 *	other-protocol		in one of TCP for UDP, or of UDP for TCP
 *	accepted		TCP: it is a connection of the group's own
 *	unix			it is an AF_UNIX socket
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "harness/harness.h"
#include "harness/map_case.h"
#include "network_helpers.h"
#include "progs/verdicts.h"
#include "attach.skel.h"
#include "reuseport.skel.h"

#define GROUP 3

struct group {
	const struct map_env *env;
	struct reuseport_bpf *skel;
	int map_fd;	/* of skel */
	int fds[GROUP]; /* at the keys of their indices */
};

#define __auto_group __attribute__((cleanup(close_group)))

static void close_group(struct group *g)
{
	for (unsigned int i = 0; i < GROUP; i++)
		close_fd(&g->fds[i]);
	reuseport_bpf__destroy(g->skel);
}

static bool is_stream(const struct sock_kind *kind)
{
	return kind->type == SOCK_STREAM;
}

/* Another socket of the group: same address, same program. */
static int join_group(const struct sock_kind *kind, int member)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	int fd = socket_opened(kind), one = 1, err;

	if (fd < 0)
		return fd;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == 0 &&
	    getsockname(member, (struct sockaddr *)&addr, &len) == 0 &&
	    bind(fd, (struct sockaddr *)&addr, len) == 0 &&
	    (!is_stream(kind) || listen(fd, SOMAXCONN) == 0))
		return fd;
	err = -errno;
	close_fd(&fd);
	return err;
}

static bool load_program(struct group *g)
{
	g->skel = reuseport_bpf__open();
	if (!CHECK(g->skel, "open the BPF object"))
		return false;
	bpf_map__set_type(g->skel->maps.sock_map, g->env->type);
	bpf_map__set_max_entries(g->skel->maps.sock_map, GROUP + 1);
	if (!CHECK_OK(reuseport_bpf__load(g->skel), "load the BPF object"))
		return false;
	track_bpf_object(g->skel->obj);
	g->map_fd = bpf_map__fd(g->skel->maps.sock_map);
	return true;
}

static int new_group(const struct group *g, const struct sock_kind *kind)
{
	return socket_reuseport(kind, bpf_program__fd(g->skel->progs.select_socket));
}

/* The group, in no map yet. */
static bool make_group(struct group *g, const struct map_env *env)
{
	*g = (struct group){ .env = env, .fds = { -1, -1, -1 } };
	if (!load_program(g))
		return false;
	g->fds[0] = new_group(g, env->kind);
	if (!CHECK_OK(g->fds[0], "make a reuseport socket"))
		return false;
	for (unsigned int i = 1; i < GROUP; i++) {
		g->fds[i] = join_group(env->kind, g->fds[0]);
		if (!CHECK_OK(g->fds[i], "make another socket of the group"))
			return false;
	}
	return true;
}

static bool open_group(struct group *g, const struct map_env *env)
{
	if (!make_group(g, env))
		return false;
	for (unsigned int i = 0; i < GROUP; i++) {
		if (!check_insert(g->map_fd, i, g->fds[i]))
			return false;
	}
	return true;
}

/* ---- Picked ---------------------------------------------------------------------------------- */

/* What the program has said, once more. */
static bool check_selection(const struct group *g, uint64_t passed, uint64_t dropped, int error)
{
	const struct verdicts *v = &g->skel->bss->verdicts;

	return CHECK_EQ(v->count[SK_PASS], passed, "sockets that the program has picked") &&
	       CHECK_EQ(v->count[SK_DROP], dropped, "times that it could not pick one") &&
	       CHECK_EQ(g->skel->bss->error, -error, "bpf_sk_select_reuseport()");
}

/* A client, whom the program sends to the socket at that key, which is fd, and to nobody else. */
static bool check_picked(const struct group *g, uint32_t key, int fd)
{
	uint64_t passed = g->skel->bss->verdicts.count[SK_PASS];
	struct sock_pair pair __auto_pair = { g->env->kind, -1, -1 };
	struct message m;

	fill_message(&m, 100);
	g->skel->bss->key_to_select = key;
	pair.peer = socket_connected_to(g->env->kind, fd);
	if (!CHECK_OK(pair.peer, "connect to the group") || !check_send(pair.peer, &m, "send"))
		return false;
	if (is_stream(g->env->kind)) {
		pair.mapped = accept_timeout(fd);
		if (!CHECK_OK(pair.mapped, "accept from the socket at key %u", key))
			return false;
	}
	return check_arrives(pair.mapped < 0 ? fd : pair.mapped, &m, "to the socket picked") &&
	       check_selection(g, passed + 1, g->skel->bss->verdicts.count[SK_DROP], 0);
}

/* No socket of the group has got anything. */
static void check_group_is_empty(const struct group *g)
{
	for (unsigned int i = 0; i < GROUP; i++) {
		if (g->fds[i] < 0)
			continue;
		if (!is_stream(g->env->kind))
			check_nothing(g->fds[i], "another socket of the group");
	}
}

static void each(const struct map_env *env)
{
	struct group g __auto_group;

	if (!open_group(&g, env))
		return;
	for (unsigned int i = 0; i < 2 * GROUP; i++) {
		if (!check_picked(&g, i % GROUP, g.fds[i % GROUP]))
			return;
	}
	check_group_is_empty(&g);
}

static void replaced(const struct map_env *env)
{
	struct group g __auto_group;

	if (!open_group(&g, env) || !check_picked(&g, 0, g.fds[0]))
		return;
	CHECK_OK(socket_map_update(g.map_fd, 0, g.fds[2], BPF_EXIST), "replace");
	check_picked(&g, 0, g.fds[2]);
	CHECK_OK(socket_map_update(g.map_fd, 0, g.fds[1], BPF_EXIST), "replace");
	check_picked(&g, 0, g.fds[1]);
	check_group_is_empty(&g);
}

static void reinserted(const struct map_env *env)
{
	struct group g __auto_group;

	if (!open_group(&g, env))
		return;
	for (unsigned int i = 0; i < 3; i++) {
		if (!check_delete(g.map_fd, 1) || !check_insert(g.map_fd, GROUP, g.fds[1]) ||
		    !check_picked(&g, GROUP, g.fds[1]) || !check_delete(g.map_fd, GROUP) ||
		    !check_insert(g.map_fd, 1, g.fds[1]) || !check_picked(&g, 1, g.fds[1]))
			return;
	}
	check_group_is_empty(&g);
}

static void others_remain(const struct map_env *env)
{
	struct group g __auto_group;

	if (!open_group(&g, env))
		return;
	close_fd(&g.fds[0]);
	check_picked(&g, 1, g.fds[1]);
	close_fd(&g.fds[2]);
	check_picked(&g, 1, g.fds[1]);
}

#define __auto_attach __attribute__((cleanup(destroy_attach)))

static void destroy_attach(struct attach_bpf **skel)
{
	attach_bpf__destroy(*skel);
}

/*
 * A listener may only have a program that has no say in what its children receive: sk_skb makes them
 * lose it (docs/kernels.md).
 */
static void with_program(const struct map_env *env)
{
	struct attach_bpf *programs __auto_attach = attach_bpf__open_and_load();
	enum bpf_attach_type type = is_stream(env->kind) ? BPF_SK_MSG_VERDICT : BPF_SK_SKB_VERDICT;
	struct group g __auto_group;

	if (!make_group(&g, env) || !CHECK(programs, "load the BPF object"))
		return;
	track_bpf_object(programs->obj);
	if (!CHECK_OK(attach_program(is_stream(env->kind) ? programs->progs.msg_one
							  : programs->progs.skb_one,
				     g.map_fd, type),
		      "attach a program"))
		return;
	for (unsigned int i = 0; i < GROUP; i++)
		check_insert(g.map_fd, i, g.fds[i]);
	for (unsigned int i = 0; i < GROUP; i++)
		check_picked(&g, i, g.fds[i]);
	CHECK_EQ(programs->bss->one.count[SK_PASS], is_stream(env->kind) ? 0 : GROUP,
		 "datagrams that the map's program has seen");
	check_group_is_empty(&g);
}

/* ---- Not to be picked ------------------------------------------------------------------------ */

/* The program tries to pick what is at that key, and fails: the client is refused. */
static void check_not_picked(const struct group *g, uint32_t key, int error)
{
	uint64_t passed = g->skel->bss->verdicts.count[SK_PASS];
	uint64_t dropped = g->skel->bss->verdicts.count[SK_DROP];
	int client __auto_close = -1;

	g->skel->bss->key_to_select = key;
	client = socket_connected_to(g->env->kind, g->fds[0]);
	if (is_stream(g->env->kind)) {
		CHECK_ERR(client, ECONNREFUSED, "connect to the group");
	} else {
		struct message m;

		fill_message(&m, 50);
		if (CHECK_OK(client, "connect to the group") && check_send(client, &m, "send"))
			check_end_of_stream(client, ECONNREFUSED, "the error of the datagram");
	}
	check_selection(g, passed, dropped + 1, error);
	check_group_is_empty(g);
	/* And whoever can be picked, still is. */
	check_picked(g, 0, g->fds[0]);
}

static void empty(const struct map_env *env)
{
	struct group g __auto_group;

	if (open_group(&g, env))
		check_not_picked(&g, GROUP, ENOENT);
}

static void out_of_range(const struct map_env *env)
{
	struct group g __auto_group;

	if (!open_group(&g, env))
		return;
	check_not_picked(&g, GROUP + 1, ENOENT);
	check_not_picked(&g, UINT32_MAX, ENOENT);
}

static void deleted(const struct map_env *env)
{
	struct group g __auto_group;

	if (open_group(&g, env) && check_delete(g.map_fd, 2))
		check_not_picked(&g, 2, ENOENT);
}

static void closed(const struct map_env *env)
{
	struct group g __auto_group;

	if (!open_group(&g, env))
		return;
	close_fd(&g.fds[2]);
	check_not_picked(&g, 2, ENOENT);
}

/* The socket is in the map, at a key that the program picks. */
static void check_stranger(struct group *g, int fd, int error)
{
	if (CHECK_OK(fd, "make a socket that cannot be picked") &&
	    check_insert(g->map_fd, GROUP, fd))
		check_not_picked(g, GROUP, error);
}

static void alone(const struct map_env *env)
{
	int fd __auto_close = socket_loopback(env->kind);
	struct group g __auto_group;

	if (open_group(&g, env))
		check_stranger(&g, fd, EINVAL);
}

/* In a group of its own, of that kind. */
static void check_other_group(const struct map_env *env, const struct sock_kind *kind, int error)
{
	int fd __auto_close = -1;
	struct group g __auto_group;

	if (!open_group(&g, env))
		return;
	fd = new_group(&g, kind);
	check_stranger(&g, fd, error);
}

static void other_group(const struct map_env *env)
{
	check_other_group(env, env->kind, EBADFD);
}

static void other_family(const struct map_env *env)
{
	check_other_group(env, sock_kind(env->c->other_kind), EAFNOSUPPORT);
}

static void other_protocol(const struct map_env *env)
{
	int type = is_stream(env->kind) ? SOCK_DGRAM : SOCK_STREAM;

	check_other_group(env, sock_kind_of(env->kind->family, type), EPROTOTYPE);
}

static void accepted(const struct map_env *env)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	struct group g __auto_group;

	if (!open_group(&g, env))
		return;
	pair.peer = socket_connected_to(env->kind, g.fds[0]);
	if (!CHECK_OK(pair.peer, "connect to the group"))
		return;
	pair.mapped = accept_timeout(g.fds[0]);
	check_stranger(&g, pair.mapped, EINVAL);
}

static void unix_socket(const struct map_env *env)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	struct group g __auto_group;

	if (open_group(&g, env) &&
	    CHECK_OK(make_pair(sock_kind("unix_stream"), &pair), "make a pair of AF_UNIX sockets"))
		check_stranger(&g, pair.mapped, EINVAL);
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const char *const inet[] = { "tcp4", "tcp6", "udp4", "udp6", NULL };
static const char *const tcp[] = { "tcp4", "tcp6", NULL };
static const char *const udp[] = { "udp4", "udp6", NULL };
static const char *const tcp4[] = { "tcp4", NULL }, *const tcp6[] = { "tcp6", NULL };
static const char *const udp4[] = { "udp4", NULL }, *const udp6[] = { "udp6", NULL };

#define MSG_VERDICT ((feature_set)1 << FEAT_MSG_VERDICT)
#define SKB_VERDICT ((feature_set)1 << FEAT_SKB_VERDICT)
#define REUSEPORT   ((feature_set)1 << FEAT_SK_REUSEPORT)

#define SELECTION(case_name, case_kinds, run_fn, more_needs, ...)                        \
	{                                                                                \
		case_name, case_kinds, .run = run_fn, .needs = REUSEPORT | (more_needs), \
				       __VA_ARGS__                                       \
	}

static const struct map_case cases[] = {
	SELECTION("each", inet, each, 0),
	SELECTION("replaced", inet, replaced, 0),
	SELECTION("reinserted", inet, reinserted, 0),
	SELECTION("with-program", tcp, with_program, MSG_VERDICT),
	SELECTION("with-program", udp, with_program, SKB_VERDICT),
	SELECTION("others-remain", inet, others_remain, 0),

	SELECTION("empty", inet, empty, 0),
	SELECTION("out-of-range", inet, out_of_range, 0),
	SELECTION("deleted", inet, deleted, 0),
	SELECTION("closed", inet, closed, 0),
	SELECTION("alone", inet, alone, 0),
	SELECTION("other-group", inet, other_group, 0),
	SELECTION("other-family", tcp4, other_family, 0, .other_kind = "tcp6"),
	SELECTION("other-family", tcp6, other_family, 0, .other_kind = "tcp4"),
	SELECTION("other-family", udp4, other_family, 0, .other_kind = "udp6"),
	SELECTION("other-family", udp6, other_family, 0, .other_kind = "udp4"),
	SELECTION("other-protocol", inet, other_protocol, 0),
	SELECTION("accepted", tcp, accepted, 0),
	SELECTION("unix", inet, unix_socket, 0, .other_kind = "unix_stream"),
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return map_case_describe(cases, ARRAY_SIZE(cases), i, sub);
}

static void run(unsigned int i)
{
	map_case_run(cases, ARRAY_SIZE(cases), i);
}

DEFINE_TEST(sockmap_reuseport, describe, run);
