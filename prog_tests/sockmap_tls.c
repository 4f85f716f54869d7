// SPDX-License-Identifier: GPL-2.0-only
/*
 * TLS in the kernel and maps of sockets: a socket has the one or is in the other.
 *
 *	refused-key		a socket in a map gets no key, and the program's verdicts go on
 *	refused-insert		a socket with TLS is not inserted, and goes on encrypting
 *	after-map		TLS for a socket that was in a map
 *	pieces-after-map	the same, where records are put together from several sends
 *	fault-after-map		the same, with a send into a record from memory that is not all there
 *	full-after-map		the same, with sends until the buffer is full
 *	ciphertext		a program redirects what others have encrypted and are to decrypt
 *
 * TLS that begins in a map is not taken out of it: no kernel gives that socket its own functions back.
 */
#include <errno.h>
#include <sys/socket.h>

#include <bpf/libbpf.h>
#include <linux/tls.h>

#include "harness/harness.h"
#include "harness/scenario.h"
#include "network_helpers.h"
#include "progs/verdicts.h"
#include "redirect.skel.h"

/* ---- Steps ----------------------------------------------------------------------------------- */

/* Lengths around those of records, which are up to 16 KiB, and of headers. */
static const size_t lengths[] = { 1, 100, 1400, 5, 4000 };

static bool check_send_to(int from, int to, size_t len, const char *what)
{
	struct message m;

	fill_message(&m, len);
	return check_send(from, &m, what) && check_arrives(to, &m, what);
}

static bool give_key(int fd, int direction, const char *what)
{
	return CHECK_OK(set_tls_key(fd, direction), "%s: key to %s", what,
			direction == TLS_TX ? "send" : "receive");
}

static bool check_tls_traffic(const struct sock_pair *pair)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		if (!check_send_to(pair->peer, pair->mapped, lengths[i], "TLS to the mapped end") ||
		    !check_send_to(pair->mapped, pair->peer, lengths[i], "TLS to its peer"))
			return false;
	}
	return true;
}

/* Keys for both ends, which have begun with TLS. */
static bool check_tls(const struct sock_pair *pair)
{
	return give_key(pair->mapped, TLS_TX, "mapped end") &&
	       give_key(pair->mapped, TLS_RX, "mapped end") &&
	       give_key(pair->peer, TLS_TX, "peer") && give_key(pair->peer, TLS_RX, "peer") &&
	       check_tls_traffic(pair);
}

static bool start(int fd, const char *what)
{
	return CHECK_OK(start_tls(fd), "%s: TCP_ULP \"tls\"", what);
}

/* Through the program, to the target, and read there. */
static bool check_through(struct topology *t, size_t len)
{
	topology_expect(t, SK_PASS, len);
	return check_send_to(t->sender, t->target, len, "data") && topology_check_verdicts(t);
}

/* ---- Scenarios ------------------------------------------------------------------------------- */

/* No key is better than one of its directions. */
static void refused_key(struct topology *t)
{
	const int fds[] = { t->in.mapped, t->out.mapped };

	if (!check_through(t, 1000))
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		const char *name = topology_name_of(t, fds[i]);

		if (!start(fds[i], name) ||
		    !CHECK_ERR(set_tls_key(fds[i], TLS_TX), EINVAL, "%s: key to send", name) ||
		    !CHECK_ERR(set_tls_key(fds[i], TLS_RX), EINVAL, "%s: key to receive", name))
			return;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		if (!check_through(t, lengths[i]))
			return;
	}
	topology_check_empty(t);
}

static bool check_refused(struct topology *t, const struct sock_pair *pair, const char *what)
{
	return CHECK_ERR(socket_map_update(topology_in_map(t), KEY_IN, pair->mapped, BPF_ANY),
			 EINVAL, "insert of a socket with TLS %s", what) &&
	       CHECK_ERR(socket_map_update(bpf_map__fd(t->skel->maps.out_map), KEY_OUT,
					   pair->mapped, BPF_ANY),
			 EINVAL, "insert of a socket with TLS %s into the target's map", what);
}

static void refused_insert(struct topology *t)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;

	if (!CHECK_OK(make_pair(t->redirect->in, &pair), "make another pair") ||
	    !start(pair.mapped, "mapped end") || !start(pair.peer, "peer") ||
	    !check_refused(t, &pair, "without a key") || !check_tls(&pair) ||
	    !check_refused(t, &pair, "and keys") || !check_tls_traffic(&pair))
		return;
	check_through(t, 1000);
}

static void after_map(struct topology *t)
{
	if (check_through(t, 1000) && topology_remove_sockets(t) &&
	    start(t->in.mapped, "mapped end") && start(t->in.peer, "peer"))
		check_tls(&t->in);
}

static bool leave_map(struct topology *t)
{
	return topology_remove_sockets(t) && start(t->in.mapped, "mapped end") &&
	       start(t->in.peer, "peer") && check_tls(&t->in);
}

/* TLS keeps what is to be sent as messages of sk_msg: those that are open, split and cut short. */
static void pieces_after_map(struct topology *t)
{
	/* A record is full at 16384 bytes; the last send is what closes the last one. */
	static const size_t pieces[] = { 100, 1, 4096, 4096, 4096, 4096, 4000, 17, 3000 };
	struct message m[ARRAY_SIZE(pieces)];

	if (!leave_map(t))
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(pieces); i++) {
		bool last = i == ARRAY_SIZE(pieces) - 1;

		fill_message(&m[i], pieces[i]);
		if (!CHECK_EQ(send_message(t->in.mapped, &m[i], last ? 0 : MSG_MORE), pieces[i],
			      "send of piece %u", i))
			return;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(pieces); i++) {
		if (!check_arrives(t->in.peer, &m[i], "a piece of a record"))
			return;
	}
	check_tls_traffic(&t->in);
}

/* A message, the end of which is on a page that is not there. */
static void fault_after_map(struct topology *t)
{
	const size_t there = 1000;
	char *edge = memory_edge();
	struct message begun, rest;
	ssize_t n;

	if (!edge || !leave_map(t))
		return;
	fill_message(&begun, 100);
	fill_message(&rest, 300);
	fill_pattern(edge - there, there, new_seed(), 0);
	n = send_message(t->in.mapped, &begun, MSG_MORE);
	if (!CHECK_EQ(n, begun.len, "send of the beginning of a record"))
		return;
	n = send(t->in.mapped, edge - there, 2 * there, MSG_MORE);
	CHECK_ERR(n < 0 ? -errno : n, EFAULT, "send from memory that is not all there");
	if (check_send(t->in.mapped, &rest, "the rest of the record") &&
	    check_arrives(t->in.peer, &begun, "before a send that failed") &&
	    check_arrives(t->in.peer, &rest, "after it"))
		check_tls_traffic(&t->in);
}

static void full_after_map(struct topology *t)
{
	const uint32_t seed = new_seed();
	const int small = 8192;
	char buf[3000];
	size_t sent = 0;
	ssize_t n;

	if (!leave_map(t) ||
	    !CHECK_OK(setsockopt(t->in.mapped, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small))
			      ? -errno
			      : 0,
		      "SO_SNDBUF"))
		return;
	do {
		fill_pattern(buf, sizeof(buf), seed, sent);
		n = send(t->in.mapped, buf, sizeof(buf), MSG_DONTWAIT);
		sent += n > 0 ? n : 0;
	} while (n > 0);
	if (!CHECK_EQ(n < 0 ? -errno : 0, -EAGAIN, "send when the buffer is full") ||
	    !check_pattern(t->in.peer, sent, seed, 0, "TLS through a full buffer"))
		return;
	check_tls_traffic(&t->in);
}

static void ciphertext(struct topology *t)
{
	if (!start(t->sender, "sender") || !give_key(t->sender, TLS_TX, "sender") ||
	    !start(t->target, "target") || !give_key(t->target, TLS_RX, "target"))
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		if (!check_send_to(t->sender, t->target, lengths[i], "TLS through a program"))
			return;
	}
	topology_check_empty(t);
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const struct fix key_fixes[] = {
	{ "460e6486617c", "tls: reject the combination of TLS and sockmap" },
	{},
};

static const struct fix insert_fixes[] = {
	{ "e34a07c0ae39", "sock: redo the psock vs ULP protection check" },
	{},
};

#define TLS_NEEDED .of = is_tcp, .needs = (feature_set)1 << FEAT_TLS
#define PASSES	   (ANY_PASS | MSG_PASS)

static const struct scenario scenarios[] = {
	{ "refused-key", PASSES | ANY_INGRESS | ANY_EGRESS, .run = refused_key, TLS_NEEDED,
	  .guards = key_fixes },
	{ "refused-insert", PASSES, .run = refused_insert, TLS_NEEDED, .guards = insert_fixes },
	{ "after-map", PASSES | ANY_INGRESS, .run = after_map, TLS_NEEDED },
	{ "pieces-after-map", PASSES, .run = pieces_after_map, TLS_NEEDED },
	{ "fault-after-map", PASSES, .run = fault_after_map, TLS_NEEDED },
	{ "full-after-map", PASSES, .run = full_after_map, TLS_NEEDED },
	{ "ciphertext", SKB_EGRESS | PARSER_EGRESS, .run = ciphertext, TLS_NEEDED },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return scenario_describe(scenarios, ARRAY_SIZE(scenarios), i, sub);
}

static void run(unsigned int i)
{
	scenario_run(scenarios, ARRAY_SIZE(scenarios), i);
}

DEFINE_TEST(sockmap_tls, describe, run);
