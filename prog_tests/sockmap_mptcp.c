// SPDX-License-Identifier: GPL-2.0-only
/*
 * MPTCP and maps of sockets: a map takes no MPTCP socket, nor one of the TCP sockets that it is made
 * of. When the other end speaks TCP only, what an MPTCP listener accepts is a TCP socket like others.
 *
 *	refused			a listener, and both ends of a connection
 *	refused-by-program	the TCP sockets below them
 *	refused-client		an MPTCP socket that is connected to a TCP socket
 *	fallback-source		a TCP socket that was accepted from an MPTCP listener is redirected from
 *	fallback-target		the same, redirected to
 *	fallback-by-program	the same, inserted before it is accepted
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "harness/harness.h"
#include "harness/scenario.h"
#include "mptcp.skel.h"
#include "network_helpers.h"
#include "progs/verdicts.h"
#include "redirect.skel.h"

/* ---- Steps ----------------------------------------------------------------------------------- */

static const struct sock_kind mptcp_kinds[] = {
	{ .name = "mptcp4", .family = AF_INET, .type = SOCK_STREAM, .protocol = IPPROTO_MPTCP },
	{ .name = "mptcp6", .family = AF_INET6, .type = SOCK_STREAM, .protocol = IPPROTO_MPTCP },
};

static const struct sock_kind *mptcp_like(const struct sock_kind *tcp)
{
	return &mptcp_kinds[tcp->family == AF_INET6];
}

/* What is accepted from a listener of one kind when a socket of another connects. */
struct connection {
	int listener;
	struct sock_pair pair; /* mapped: what was accepted */
};

#define CONNECTION_NONE                                 \
	{                                               \
		.listener = -1, .pair = SOCK_PAIR_NONE, \
	}
#define __auto_connection __attribute__((cleanup(close_connection)))

static void close_connection(struct connection *c)
{
	close_pair(&c->pair);
	close_fd(&c->listener);
}

static bool make_connection(struct connection *c, const struct sock_kind *listener,
			    const struct sock_kind *client)
{
	c->pair.kind = client;
	if (c->listener < 0)
		c->listener = socket_loopback(listener);
	if (!CHECK_OK(c->listener, "listen"))
		return false;
	c->pair.peer = socket_connected_to(client, c->listener);
	if (!CHECK_OK(c->pair.peer, "connect"))
		return false;
	c->pair.mapped = accept_timeout(c->listener);
	return CHECK_OK(c->pair.mapped, "accept");
}

static bool check_one_way(int from, int to, const char *what)
{
	struct message m;

	fill_message(&m, 1400);
	return check_send(from, &m, what) && check_arrives(to, &m, what);
}

static bool check_both_ways(const struct sock_pair *pair)
{
	return check_one_way(pair->peer, pair->mapped, "to what was accepted") &&
	       check_one_way(pair->mapped, pair->peer, "from what was accepted");
}

static bool check_refused(struct topology *t, int fd, const char *what)
{
	return CHECK_ERR(socket_map_update(topology_in_map(t), KEY_IN, fd, BPF_ANY), EOPNOTSUPP,
			 "insert of %s", what);
}

/* ---- Scenarios ------------------------------------------------------------------------------- */

static void refused(struct topology *t)
{
	const struct sock_kind *kind = mptcp_like(t->redirect->in);
	struct connection c __auto_connection = CONNECTION_NONE;

	if (make_connection(&c, kind, kind) &&
	    check_refused(t, c.listener, "an MPTCP socket that listens") &&
	    check_refused(t, c.pair.peer, "an MPTCP socket that has connected") &&
	    check_refused(t, c.pair.mapped, "an MPTCP socket that was accepted"))
		check_both_ways(&c.pair);
}

static void refused_client(struct topology *t)
{
	struct connection c __auto_connection = CONNECTION_NONE;

	if (make_connection(&c, t->redirect->in, mptcp_like(t->redirect->in)) &&
	    check_refused(t, c.pair.peer, "an MPTCP socket that speaks TCP"))
		check_both_ways(&c.pair);
}

/* The pair takes the place of another one of the topology, which is closed. */
static void adopt(struct sock_pair *place, struct connection *c)
{
	close_pair(place);
	*place = c->pair;
	c->pair = (struct sock_pair)SOCK_PAIR_NONE;
}

static void check_redirects(struct topology *t)
{
	struct message m;

	for (unsigned int i = 1; i < 4; i++) {
		fill_message(&m, 700 * i);
		topology_expect(t, SK_PASS, m.len);
		if (!check_send(t->sender, &m, "send") ||
		    !check_arrives(t->target, &m, "redirected data") ||
		    !topology_check_verdicts(t) || !topology_check_empty(t))
			return;
	}
	if (topology_remove_sockets(t))
		topology_check_traffic(t);
}

static void fallback_source(struct topology *t)
{
	struct connection c __auto_connection = CONNECTION_NONE;

	if (!make_connection(&c, mptcp_like(t->redirect->in), t->redirect->in) ||
	    !CHECK_OK(socket_map_update(topology_in_map(t), KEY_IN, c.pair.mapped, BPF_EXIST),
		      "insert of what was accepted"))
		return;
	t->sender = t->sender == t->in.peer ? c.pair.peer : c.pair.mapped;
	adopt(&t->in, &c);
	check_redirects(t);
}

static void fallback_target(struct topology *t)
{
	struct connection c __auto_connection = CONNECTION_NONE;

	if (!make_connection(&c, mptcp_like(t->redirect->out), t->redirect->out) ||
	    !CHECK_OK(socket_map_update(bpf_map__fd(t->skel->maps.out_map), KEY_OUT, c.pair.mapped,
					BPF_EXIST),
		      "insert of what was accepted"))
		return;
	t->target = t->redirect->ingress ? c.pair.mapped : c.pair.peer;
	adopt(&t->out, &c);
	check_redirects(t);
}

/* ---- Inserted by a program -------------------------------------------------------------------- */

#define __auto_skel __attribute__((cleanup(destroy_skel)))

static void destroy_skel(struct mptcp_bpf **skel)
{
	mptcp_bpf__destroy(*skel);
}

/* One that the kernel gives to nobody who does not ask for it, and that is no other subtest's. */
static uint32_t own_port(void)
{
	return 1024 + getpid() % 30000;
}

static int listen_at_own_port(const struct sock_kind *kind)
{
	/* The port is where that of IPv4 is, and no address is the same in both. */
	struct sockaddr_in6 addr = { .sin6_family = kind->family, .sin6_port = htons(own_port()) };
	int fd = socket_opened(kind);

	if (fd >= 0 &&
	    (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, SOMAXCONN))) {
		int err = -errno;

		close_fd(&fd);
		return err;
	}
	return fd;
}

/* For all sockets of the cgroup's processes, which are all: it is told apart by the port. */
static bool watch_port(struct mptcp_bpf **skel, uint32_t port)
{
	int cgroup_fd __auto_close = open_cgroup();

	*skel = mptcp_bpf__open_and_load();
	if (!CHECK(*skel, "load the program") || !CHECK_OK(cgroup_fd, "open the cgroup"))
		return false;
	track_bpf_object((*skel)->obj);
	(*skel)->bss->port = port;
	(*skel)->bss->error[0] = (*skel)->bss->error[1] = 1;
	(*skel)->links.insert_established =
		bpf_program__attach_cgroup((*skel)->progs.insert_established, cgroup_fd);
	return CHECK((*skel)->links.insert_established, "attach the program: errno %d", errno);
}

/* For what MPTCP has made of the socket, or, as before Linux 6.18, for its ULP. */
static bool check_refused_by_program(int error, const char *what)
{
	return CHECK(error == -EOPNOTSUPP || error == -EINVAL,
		     "insert of %s: %d, want -EOPNOTSUPP or -EINVAL", what, error);
}

static void refused_by_program(struct topology *t)
{
	const struct sock_kind *kind = mptcp_like(t->redirect->in);
	struct connection c __auto_connection = CONNECTION_NONE;
	struct mptcp_bpf *skel __auto_skel = NULL;

	c.listener = listen_at_own_port(kind);
	if (!CHECK_OK(c.listener, "listen") || !watch_port(&skel, own_port()) ||
	    !make_connection(&c, kind, kind))
		return;
	if (check_refused_by_program(skel->bss->error[0], "the accepted end's subflow") &&
	    check_refused_by_program(skel->bss->error[1], "the client's subflow"))
		check_both_ways(&c.pair);
}

static void fallback_by_program(struct topology *t)
{
	struct connection c __auto_connection = CONNECTION_NONE;
	struct mptcp_bpf *skel __auto_skel = NULL;

	c.listener = listen_at_own_port(mptcp_like(t->redirect->in));
	if (!CHECK_OK(c.listener, "listen") || !watch_port(&skel, own_port()) ||
	    !make_connection(&c, NULL, t->redirect->in))
		return;
	if (!CHECK_OK(skel->bss->error[0], "insert before accept(2)") ||
	    !CHECK_OK(skel->bss->error[1], "insert of the client") || !check_both_ways(&c.pair))
		return;
	if (CHECK_OK(socket_map_delete(bpf_map__fd(skel->maps.map), 0),
		     "delete the accepted end") &&
	    CHECK_OK(socket_map_delete(bpf_map__fd(skel->maps.map), 1), "delete the client"))
		check_both_ways(&c.pair);
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const struct fix fallback_fixes[] = {
	{ "c77b3b79a92e", "mptcp: Fix proto fallback detection with BPF" },
	{},
};

#define MPTCP	.of = is_tcp, .needs = (feature_set)1 << FEAT_MPTCP
#define SOCKOPS .of = is_tcp, .needs = (feature_set)1 << FEAT_MPTCP | (feature_set)1 << FEAT_CGROUP

static const struct scenario scenarios[] = {
	{ "refused", SKB_PASS | PARSER_PASS | MSG_PASS, .run = refused, MPTCP },
	{ "refused-by-program", MSG_PASS, .run = refused_by_program, SOCKOPS },
	{ "refused-client", MSG_PASS, .run = refused_client, MPTCP },
	{ "fallback-source", ANY_INGRESS | ANY_EGRESS, .run = fallback_source, MPTCP },
	{ "fallback-target", ANY_INGRESS | ANY_EGRESS, .run = fallback_target, MPTCP },
	{ "fallback-by-program", MSG_PASS, .run = fallback_by_program, SOCKOPS,
	  .guards = fallback_fixes },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return scenario_describe(scenarios, ARRAY_SIZE(scenarios), i, sub);
}

static void run(unsigned int i)
{
	scenario_run(scenarios, ARRAY_SIZE(scenarios), i);
}

DEFINE_TEST(sockmap_mptcp, describe, run);
