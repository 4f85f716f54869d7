// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sockets that listen, and sockets that do not, in SOCKMAP and SOCKHASH: 152 subtests, with the
 * names and numbers under which logs and deny lists know them.
 *
 *	{ sockmap, sockhash } x { IPv4, IPv6 } x
 *		{ TCP, UDP } x operations	insert, delete, look up, update; what becomes of the
 *						children of a listener that is in a map
 *		redirection to a connected and to a listening TCP socket, by sk_skb and by sk_msg
 *		{ TCP, UDP } x reuseport	a program picks a socket from the map
 *		redirection between UDP sockets, and between UDP or TCP and AF_UNIX sockets
 *	{ sockmap, sockhash } x
 *		redirection between AF_UNIX sockets, datagram and stream
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "harness/harness.h"
#include "network_helpers.h"
#include "progs/verdicts.h"
#include "redirect.skel.h"
#include "reuseport.skel.h"

#define SYN_RECV_ROUNDS 1000
#define LISTEN_ROUNDS	10000

/* What a subtest runs on. */
struct env {
	enum bpf_map_type map_type;
	int family;
	const struct sock_kind *kind; /* NULL where the cases of the row name the kinds */
	const struct row *row;
};

/* The two maps disagree on what it is to delete or look for an entry that is not there. */
static int no_entry(const struct env *env)
{
	return env->map_type == BPF_MAP_TYPE_SOCKHASH ? ENOENT : EINVAL;
}

/* ---- Operations on the map ------------------------------------------------------------------- */

/* A map, and a socket that may be put into it: a listening one, or a bound UDP one. */
static bool open_both(const struct env *env, int *map_fd, int *fd)
{
	*map_fd = socket_map_create(env->map_type);
	*fd = socket_loopback(env->kind);
	return CHECK_OK(*map_fd, "create the map") && CHECK_OK(*fd, "make a socket");
}

static bool insert(int map_fd, uint32_t key, int fd)
{
	return CHECK_OK(socket_map_update(map_fd, key, fd, BPF_NOEXIST), "insert");
}

static uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) ? -errno : 0, "SO_COOKIE");
	return cookie;
}

/* The entry is that socket; fd < 0: there is no entry. */
static bool check_entry(int map_fd, uint32_t key, int fd)
{
	uint64_t cookie = 0;
	int err = socket_map_lookup(map_fd, key, &cookie);

	if (fd < 0)
		return CHECK_ERR(err, ENOENT, "lookup of an empty entry");
	return CHECK_OK(err, "lookup") && CHECK_EQ(cookie, cookie_of(fd), "cookie");
}

static void test_insert_invalid(const struct env *env)
{
	int map_fd __auto_close = socket_map_create(env->map_type);

	if (!CHECK_OK(map_fd, "create the map"))
		return;
	CHECK_ERR(socket_map_update(map_fd, 0, -1, BPF_NOEXIST), EINVAL, "insert of -1");
	CHECK_ERR(socket_map_update(map_fd, 0, INT_MAX, BPF_NOEXIST), EBADF, "insert of INT_MAX");
	check_entry(map_fd, 0, -1);
}

static void check_not_insertable(const struct env *env, int fd, const char *what)
{
	int map_fd __auto_close = socket_map_create(env->map_type);

	if (!CHECK_OK(map_fd, "create the map") || !CHECK_OK(fd, "make a socket"))
		return;
	CHECK_ERR(socket_map_update(map_fd, 0, fd, BPF_NOEXIST), EOPNOTSUPP, "insert of %s", what);
	check_entry(map_fd, 0, -1);
}

/* Neither bound nor connected, so no data can come in, for any program to see. */
static void test_insert_opened(const struct env *env)
{
	int fd __auto_close = socket_opened(env->kind);

	check_not_insertable(env, fd, "a socket that is not bound");
}

/* A bound TCP socket neither listens nor is connected; with UDP, bound is enough: test_insert. */
static void test_insert_bound(const struct env *env)
{
	int fd __auto_close = socket_bound(env->kind);

	check_not_insertable(env, fd, "a socket that does not listen");
}

static void test_insert(const struct env *env)
{
	int map_fd __auto_close = -1, fd __auto_close = -1;

	if (!open_both(env, &map_fd, &fd) || !insert(map_fd, 0, fd))
		return;
	CHECK_ERR(socket_map_update(map_fd, 0, fd, BPF_NOEXIST), EEXIST, "insert twice");
}

static void test_delete_after_insert(const struct env *env)
{
	int map_fd __auto_close = -1, fd __auto_close = -1;

	if (!open_both(env, &map_fd, &fd) || !insert(map_fd, 0, fd))
		return;
	CHECK_OK(socket_map_delete(map_fd, 0), "delete");
	CHECK_ERR(socket_map_delete(map_fd, 0), no_entry(env), "delete twice");
	insert(map_fd, 0, fd);
}

static void test_delete_after_close(const struct env *env)
{
	int map_fd __auto_close = -1, fd __auto_close = -1;

	if (!open_both(env, &map_fd, &fd) || !insert(map_fd, 0, fd))
		return;
	close_fd(&fd);
	CHECK_ERR(socket_map_delete(map_fd, 0), no_entry(env), "delete after close");
	check_entry(map_fd, 0, -1);
}

static void test_lookup_after_insert(const struct env *env)
{
	int map_fd __auto_close = -1, fd __auto_close = -1;

	if (!open_both(env, &map_fd, &fd) || !insert(map_fd, 0, fd))
		return;
	check_entry(map_fd, 0, fd);
	check_entry(map_fd, 1, -1);
}

static void test_lookup_after_delete(const struct env *env)
{
	int map_fd __auto_close = -1, fd __auto_close = -1;

	if (!open_both(env, &map_fd, &fd) || !insert(map_fd, 0, fd))
		return;
	CHECK_OK(socket_map_delete(map_fd, 0), "delete");
	check_entry(map_fd, 0, -1);
}

/* A descriptor fits into 4 bytes, a cookie does not. */
static void test_lookup_32_bit_value(const struct env *env)
{
	int map_fd __auto_close = bpf_map_create(env->map_type, NULL, 4, 4, 1, NULL);
	int fd __auto_close = socket_loopback(env->kind);
	uint32_t key = 0, value = fd;

	if (!CHECK_OK(map_fd < 0 ? -errno : 0, "create a map with values of 4 bytes") ||
	    !CHECK_OK(fd, "make a socket"))
		return;
	CHECK_OK(bpf_map_update_elem(map_fd, &key, &value, BPF_NOEXIST) ? -errno : 0, "insert");
	CHECK_ERR(bpf_map_lookup_elem(map_fd, &key, &value) ? -errno : 0, ENOSPC, "lookup");
}

static void test_update_existing(const struct env *env)
{
	int map_fd __auto_close = -1, fd __auto_close = -1;
	int other __auto_close = socket_loopback(env->kind);

	if (!open_both(env, &map_fd, &fd) || !CHECK_OK(other, "make another socket"))
		return;
	CHECK_ERR(socket_map_update(map_fd, 0, fd, BPF_EXIST), ENOENT, "replace what is not there");
	if (!insert(map_fd, 0, fd))
		return;
	CHECK_OK(socket_map_update(map_fd, 0, other, BPF_EXIST), "replace");
	check_entry(map_fd, 0, other);
	/* The first one is free again. */
	insert(map_fd, 1, fd);
	check_entry(map_fd, 1, fd);
}

/* ---- Children of a listener ------------------------------------------------------------------ */

/* The programs that a map can have while a listener is in it. */
static const struct attachment {
	const char *name;
	enum feature feature;
	enum bpf_attach_type type; /* of what `feature` probes */
	/*
	 * With BPF_SK_SKB_VERDICT, the child of a listener in the map keeps the listener's
	 * sk_data_ready(), which takes data for a psock that the child does not have, and drops it:
	 * so do all kernels up to now.
	 */
	bool child_is_deaf;
} attachments[] = {
	{ "no program", FEAT_SOCKMAP, 0, false },
	{ "sk_msg", FEAT_MSG_VERDICT, BPF_SK_MSG_VERDICT, false },
	{ "sk_skb", FEAT_SKB_VERDICT, BPF_SK_SKB_VERDICT, true },
};

#define __auto_redirect __attribute__((cleanup(destroy_redirect)))

static void destroy_redirect(struct redirect_bpf **skel)
{
	redirect_bpf__destroy(*skel);
}

/* Load the programs that redirect to a map, and attach one of them to just that map. */
static struct redirect_bpf *load_attached(const struct env *env,
					  const struct attachment *attachment)
{
	struct redirect_bpf *skel __auto_redirect = redirect_bpf__open();
	struct redirect_bpf *loaded;
	struct bpf_program *prog;

	if (!CHECK(skel, "open the BPF object"))
		return NULL;
	bpf_map__set_type(skel->maps.out_map, env->map_type);
	skel->rodata->use_sockhash = env->map_type == BPF_MAP_TYPE_SOCKHASH;
	if (!CHECK_OK(redirect_bpf__load(skel), "load the BPF object"))
		return NULL;
	track_bpf_object(skel->obj);
	prog = attachment->feature == FEAT_MSG_VERDICT ? skel->progs.msg_verdict
						       : skel->progs.skb_verdict;
	if (attachment->type &&
	    !CHECK_OK(attach_program(prog, bpf_map__fd(skel->maps.out_map), attachment->type),
		      "attach %s", attachment->name))
		return NULL;
	loaded = skel;
	skel = NULL;
	return loaded;
}

/* A listener in a map, and a connection to it that nobody has accepted yet. */
struct listener {
	struct redirect_bpf *skel;
	int map_fd; /* of skel */
	int fd;
	struct sock_pair child; /* mapped: the accepted end, peer: the client */
};

#define LISTENER_NONE                             \
	{                                         \
		.fd = -1, .child = SOCK_PAIR_NONE \
	}
#define __auto_listener __attribute__((cleanup(close_listener)))

static void close_listener(struct listener *l)
{
	close_pair(&l->child);
	close_fd(&l->fd);
	redirect_bpf__destroy(l->skel);
}

static bool listen_in_map(struct listener *l, const struct env *env,
			  const struct attachment *attachment)
{
	l->skel = load_attached(env, attachment);
	if (!l->skel)
		return false;
	l->map_fd = bpf_map__fd(l->skel->maps.out_map);
	l->fd = socket_loopback(env->kind);
	l->child.kind = env->kind;
	return CHECK_OK(l->fd, "make a listener") && insert(l->map_fd, 0, l->fd);
}

static bool connect_child(struct listener *l)
{
	l->child.peer = socket_connected_to(l->child.kind, l->fd);
	return CHECK_OK(l->child.peer, "connect");
}

static bool accept_child(struct listener *l)
{
	l->child.mapped = accept_timeout(l->fd);
	return CHECK_OK(l->child.mapped, "accept");
}

/* A read that has to end, with the value given, because of what happened to the other end. */
static void check_end(int fd, ssize_t want, const char *what)
{
	char byte;
	ssize_t n = recv_timeout(fd, &byte, 1, 0, io_timeout_ms, NULL);

	CHECK_EQ(n, want, "%s", what);
}

/*
 * The child has nothing of its parent's place in the map: its data is its own, it can be put into a
 * map, and taken out again, and closing it tells its peer.
 */
static void check_child_is_plain(struct listener *l, bool is_deaf)
{
	check_entry(l->map_fd, 1, -1);
	if (!is_deaf)
		check_traffic(&l->child);
	if (!insert(l->map_fd, 1, l->child.mapped))
		return;
	check_entry(l->map_fd, 1, l->child.mapped);
	CHECK_OK(socket_map_delete(l->map_fd, 1), "delete the child");
	if (!is_deaf)
		check_traffic(&l->child);
	close_fd(&l->child.mapped);
	check_end(l->child.peer, 0, "the child was closed: end of stream");
}

/* Run it for each program that this kernel lets a map have. */
static void for_each_attachment(const struct env *env,
				void (*run)(const struct env *, const struct attachment *))
{
	for (size_t i = 0; i < ARRAY_SIZE(attachments); i++) {
		char text[256];

		check_scope("%s", attachments[i].name);
		if (have_feature(attachments[i].feature))
			run(env, &attachments[i]);
		else
			note("not tried with %s: %s", attachments[i].name,
			     feature_missing(attachments[i].feature, text, sizeof(text)));
	}
	check_scope(NULL);
}

/* Closing a listener destroys the connections that nobody has accepted, and resets their peers. */
static void destroy_orphan(const struct env *env, const struct attachment *attachment)
{
	struct listener l __auto_listener = LISTENER_NONE;

	if (!listen_in_map(&l, env, attachment) || !connect_child(&l))
		return;
	close_fd(&l.fd);
	check_end(l.child.peer, -ECONNRESET, "the listener was closed: reset");
	check_entry(l.map_fd, 0, -1);
}

/* The same, for a connection that its client has closed already. */
static void destroy_closed_orphan(const struct env *env, const struct attachment *attachment)
{
	struct listener l __auto_listener = LISTENER_NONE;

	if (!listen_in_map(&l, env, attachment) || !connect_child(&l))
		return;
	close_fd(&l.child.peer);
	close_fd(&l.fd);
	check_entry(l.map_fd, 0, -1);
}

static void test_destroy_orphan_child(const struct env *env)
{
	for_each_attachment(env, destroy_orphan);
	for_each_attachment(env, destroy_closed_orphan);
}

/* Connect to a listener after it has left the map. */
static void clone_after_delete(const struct env *env, const struct attachment *attachment)
{
	struct listener l __auto_listener = LISTENER_NONE;

	/* The listener has its own callbacks again, and so have its children. */
	if (listen_in_map(&l, env, attachment) &&
	    CHECK_OK(socket_map_delete(l.map_fd, 0), "delete the listener") && connect_child(&l) &&
	    accept_child(&l))
		check_child_is_plain(&l, false);
}

static void test_clone_after_delete(const struct env *env)
{
	for_each_attachment(env, clone_after_delete);
}

/* Connect while the listener is in the map, and accept when it is not any more. */
static void accept_after_delete(const struct env *env, const struct attachment *attachment)
{
	struct listener l __auto_listener = LISTENER_NONE;

	if (listen_in_map(&l, env, attachment) && connect_child(&l) &&
	    CHECK_OK(socket_map_delete(l.map_fd, 0), "delete the listener") && accept_child(&l))
		check_child_is_plain(&l, attachment->child_is_deaf);
}

static void test_accept_after_delete(const struct env *env)
{
	for_each_attachment(env, accept_after_delete);
}

static void accept_before_delete(const struct env *env, const struct attachment *attachment)
{
	struct listener l __auto_listener = LISTENER_NONE;

	if (listen_in_map(&l, env, attachment) && connect_child(&l) && accept_child(&l))
		check_child_is_plain(&l, attachment->child_is_deaf);
}

static void test_accept_before_delete(const struct env *env)
{
	for_each_attachment(env, accept_before_delete);
}

/* ---- Races ----------------------------------------------------------------------------------- */

/* What a race is given, on a kernel that checks so much that it gets through few rounds. */
#define RACE_NS 5000000000ull

/* A thread does something to a socket again and again, while the subtest inserts and deletes it. */
struct racer {
	int fd;
	const struct sock_kind *kind;
	int (*step)(struct racer *racer); /* 0 or -errno */
	unsigned int rounds;		  /* at most, or RACE_NS */
	unsigned int done;		  /* rounds, when the thread has ended */
	int err;
	atomic_bool ended;
};

static void *race(void *arg)
{
	struct racer *racer = arg;
	uint64_t end = now_ns() + RACE_NS;

	do {
		racer->err = racer->step(racer);
		racer->done += !racer->err;
	} while (!racer->err && racer->done < racer->rounds && now_ns() < end);
	atomic_store(&racer->ended, true);
	return NULL;
}

static void finish_race(pthread_t thread, const struct racer *racer)
{
	pthread_join(thread, NULL);
	if (CHECK_OK(racer->err, "what the other thread does") && racer->done < racer->rounds)
		note("%u rounds of %u, since that took %llu s", racer->done, racer->rounds,
		     RACE_NS / 1000000000);
}

/* After all that, the listener does what listeners do. */
static void check_still_listens(int fd, const struct sock_kind *kind)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;

	pair.kind = kind;
	pair.peer = socket_connected_to(kind, fd);
	if (!CHECK_OK(pair.peer, "connect after the race"))
		return;
	pair.mapped = accept_timeout(fd);
	if (CHECK_OK(pair.mapped, "accept after the race"))
		check_traffic(&pair);
}

static int connect_and_accept(struct racer *racer)
{
	int client __auto_close = socket_connected_to(racer->kind, racer->fd);
	int child __auto_close = -1;

	if (client < 0)
		return client;
	child = accept_timeout(racer->fd);
	return child < 0 ? child : 0;
}

/* Connections are set up while the listener goes in and out: none may keep a part of the map. */
static void test_syn_recv_insert_delete(const struct env *env)
{
	int map_fd __auto_close = -1, fd __auto_close = -1;
	struct racer racer = {
		.kind = env->kind,
		.step = connect_and_accept,
		.rounds = SYN_RECV_ROUNDS,
	};
	pthread_t thread;
	bool ok = true;

	if (!open_both(env, &map_fd, &fd))
		return;
	racer.fd = fd;
	if (!CHECK_OK(-pthread_create(&thread, NULL, race, &racer), "start a thread"))
		return;
	while (ok && !atomic_load(&racer.ended))
		ok = insert(map_fd, 0, fd) && CHECK_OK(socket_map_delete(map_fd, 0), "delete");
	finish_race(thread, &racer);
	check_still_listens(fd, env->kind);
}

static int listen_and_unhash(struct racer *racer)
{
	const struct sockaddr unspec = { .sa_family = AF_UNSPEC };

	if (listen(racer->fd, 1) || connect(racer->fd, &unspec, sizeof(unspec)))
		return -errno;
	return 0;
}

/* The socket listens or does not; whichever it is, insert and delete say what they found. */
static bool insert_and_delete(const struct env *env, int map_fd, int fd)
{
	int err = socket_map_update(map_fd, 0, fd, BPF_NOEXIST);

	if (err && !CHECK_ERR(err, EOPNOTSUPP, "insert of a socket that may not listen"))
		return false;
	err = socket_map_delete(map_fd, 0);
	return !err || CHECK_ERR(err, no_entry(env), "delete of a socket that may have left");
}

/*
 * The socket has a port of its own, or each listen() would take another one. That moves it from
 * chain to chain of the hash of listeners, which namespaces share, and a lookup that follows it
 * there misses what it looked for: connections in the namespaces of other workers would be refused.
 */
static void test_race_insert_listen(const struct env *env)
{
	int map_fd __auto_close = socket_map_create(env->map_type);
	int fd __auto_close = socket_bound_for_good(env->kind);
	struct racer racer = {
		.kind = env->kind,
		.fd = fd,
		.step = listen_and_unhash,
		.rounds = LISTEN_ROUNDS,
	};
	pthread_t thread;
	bool ok = true;

	if (!CHECK_OK(map_fd, "create the map") || !CHECK_OK(fd, "make a socket") ||
	    !CHECK_OK(-pthread_create(&thread, NULL, race, &racer), "start a thread"))
		return;
	while (ok && !atomic_load(&racer.ended))
		ok = insert_and_delete(env, map_fd, fd);
	finish_race(thread, &racer);
	if (CHECK_OK(listen(fd, 1) ? -errno : 0, "listen"))
		check_still_listens(fd, env->kind);
}

/* ---- Redirection ----------------------------------------------------------------------------- */

#define FAMILY 0 /* of the subtest: IPv4 or IPv6 */

/* A case runs in each direction it is for, with one map and with two. */
struct redirect_case {
	struct {
		int family, type;
	} in, out;
	bool egress_only;
	struct redirect redirect; /* but for the map, the kinds and the direction */
};

static const struct redirect_case skb_to_connected[] = {
	{ .in = { FAMILY, SOCK_STREAM },
	  .out = { FAMILY, SOCK_STREAM },
	  .egress_only = true,
	  .redirect = { .hook = HOOK_STREAM_VERDICT } },
	{ .in = { FAMILY, SOCK_STREAM },
	  .out = { FAMILY, SOCK_STREAM },
	  .egress_only = true,
	  .redirect = { .hook = HOOK_STREAM_VERDICT, .parse_len = 3 } },
	{},
};

static const struct redirect_case skb_to_listening[] = {
	{ .in = { FAMILY, SOCK_STREAM },
	  .out = { FAMILY, SOCK_STREAM },
	  .egress_only = true,
	  .redirect = { .hook = HOOK_STREAM_VERDICT, .to_listener = true, .outcome = DROPPED } },
	{},
};

static const struct redirect_case msg_to_connected[] = {
	{ .in = { FAMILY, SOCK_STREAM },
	  .out = { FAMILY, SOCK_STREAM },
	  .egress_only = true,
	  .redirect = { .hook = HOOK_MSG_VERDICT } },
	{ .in = { FAMILY, SOCK_STREAM },
	  .out = { FAMILY, SOCK_STREAM },
	  .egress_only = true,
	  .redirect = { .hook = HOOK_MSG_VERDICT, .by_link = true } },
	{},
};

static const struct redirect_case msg_to_listening[] = {
	{ .in = { FAMILY, SOCK_STREAM },
	  .out = { FAMILY, SOCK_STREAM },
	  .egress_only = true,
	  .redirect = { .hook = HOOK_MSG_VERDICT,
			.to_listener = true,
			.outcome = REFUSED,
			.error = EACCES } },
	{ .in = { FAMILY, SOCK_STREAM },
	  .out = { FAMILY, SOCK_STREAM },
	  .egress_only = true,
	  .redirect = { .hook = HOOK_MSG_VERDICT,
			.by_link = true,
			.to_listener = true,
			.outcome = REFUSED,
			.error = EACCES } },
	{},
};

static const struct redirect_case udp_to_udp[] = {
	{ .in = { FAMILY, SOCK_DGRAM },
	  .out = { FAMILY, SOCK_DGRAM },
	  .redirect = { .hook = HOOK_SKB_VERDICT } },
	{},
};

static const struct redirect_case inet_to_unix_and_back[] = {
	{ .in = { FAMILY, SOCK_DGRAM },
	  .out = { AF_UNIX, SOCK_DGRAM },
	  .redirect = { .hook = HOOK_SKB_VERDICT } },
	{ .in = { FAMILY, SOCK_STREAM },
	  .out = { AF_UNIX, SOCK_STREAM },
	  .redirect = { .hook = HOOK_SKB_VERDICT } },
	{ .in = { AF_UNIX, SOCK_DGRAM },
	  .out = { FAMILY, SOCK_DGRAM },
	  .redirect = { .hook = HOOK_SKB_VERDICT } },
	{ .in = { AF_UNIX, SOCK_STREAM },
	  .out = { FAMILY, SOCK_STREAM },
	  .redirect = { .hook = HOOK_SKB_VERDICT } },
	{ .in = { AF_UNIX, SOCK_DGRAM },
	  .out = { FAMILY, SOCK_DGRAM },
	  .redirect = { .hook = HOOK_SKB_VERDICT, .mapped_peers = true } },
	{ .in = { AF_UNIX, SOCK_STREAM },
	  .out = { FAMILY, SOCK_STREAM },
	  .redirect = { .hook = HOOK_SKB_VERDICT, .mapped_peers = true } },
	{ .in = { AF_UNIX, SOCK_STREAM },
	  .out = { FAMILY, SOCK_STREAM },
	  .redirect = { .hook = HOOK_SKB_VERDICT, .mapped_peers = true, .oob = true } },
	{},
};

static const struct redirect_case unix_dgram[] = {
	{ .in = { AF_UNIX, SOCK_DGRAM },
	  .out = { AF_UNIX, SOCK_DGRAM },
	  .redirect = { .hook = HOOK_SKB_VERDICT } },
	{},
};

static const struct redirect_case unix_stream[] = {
	{ .in = { AF_UNIX, SOCK_STREAM },
	  .out = { AF_UNIX, SOCK_STREAM },
	  .redirect = { .hook = HOOK_SKB_VERDICT } },
	{ .in = { AF_UNIX, SOCK_STREAM },
	  .out = { AF_UNIX, SOCK_STREAM },
	  .redirect = { .hook = HOOK_SKB_VERDICT, .oob = true } },
	{},
};

static struct redirect make_redirect(const struct redirect_case *c, const struct env *env,
				     bool ingress, bool two_maps)
{
	struct redirect r = c->redirect;

	r.map = env->map_type;
	r.in = sock_kind_of(c->in.family ?: env->family, c->in.type);
	r.out = sock_kind_of(c->out.family ?: env->family, c->out.type);
	r.ingress = ingress;
	r.two_maps = two_maps;
	return r;
}

/* A case may use what came later than redirection itself: the subtest goes without it then. */
static void run_case(const struct redirect *r)
{
	feature_set needs = redirect_needs(r);
	char text[256];

	for (enum feature f = 0; f < NR_FEATURES; f++) {
		if (!(needs & feature_bit(f)) || have_feature(f))
			continue;
		note("a case is left out: %s", feature_missing(f, text, sizeof(text)));
		return;
	}
	check_redirect(r);
}

static void run_direction(const struct redirect_case *c, const struct env *env, bool ingress)
{
	for (int two_maps = 0; two_maps <= 1; two_maps++) {
		struct redirect r = make_redirect(c, env, ingress, two_maps);

		run_case(&r);
	}
}

/* ---- Reuseport ------------------------------------------------------------------------------- */

#define __auto_reuseport __attribute__((cleanup(destroy_reuseport)))

static void destroy_reuseport(struct reuseport_bpf **skel)
{
	reuseport_bpf__destroy(*skel);
}

static bool load_reuseport(struct reuseport_bpf **skel, const struct env *env)
{
	*skel = reuseport_bpf__open();
	if (!CHECK(*skel, "open the BPF object"))
		return false;
	bpf_map__set_type((*skel)->maps.sock_map, env->map_type);
	if (!CHECK_OK(reuseport_bpf__load(*skel), "load the BPF object"))
		return false;
	track_bpf_object((*skel)->obj);
	return true;
}

static int reuseport_map(const struct reuseport_bpf *skel)
{
	return bpf_map__fd(skel->maps.sock_map);
}

static int reuseport_socket(const struct reuseport_bpf *skel, const struct env *env)
{
	int fd = socket_reuseport(env->kind, bpf_program__fd(skel->progs.select_socket));

	CHECK_OK(fd, "make a reuseport socket");
	return fd;
}

static void check_selections(const struct reuseport_bpf *skel, unsigned int passed,
			     unsigned int dropped)
{
	CHECK_EQ(skel->bss->verdicts.count[SK_PASS], passed, "pass count");
	CHECK_EQ(skel->bss->verdicts.count[SK_DROP], dropped, "drop count");
}

static bool is_stream(const struct env *env)
{
	return env->kind->type == SOCK_STREAM;
}

/* The client gets through to the socket that was selected. */
static void check_selected(const struct env *env, int client, int server)
{
	int child __auto_close = -1;
	char buf[64];
	ssize_t n;

	if (is_stream(env)) {
		child = accept_timeout(server);
		if (!CHECK_OK(child, "accept"))
			return;
	}
	CHECK_EQ(send(client, env->row, 16, 0), 16, "send");
	n = recv_timeout(is_stream(env) ? child : server, buf, sizeof(buf), 0, io_timeout_ms, NULL);
	CHECK_BYTES(buf, n, env->row, 16, "received");
}

static void test_reuseport_select_listening(const struct env *env)
{
	struct reuseport_bpf *skel __auto_reuseport = NULL;
	int server __auto_close = -1, client __auto_close = -1;

	if (!load_reuseport(&skel, env))
		return;
	server = reuseport_socket(skel, env);
	if (server < 0 || !insert(reuseport_map(skel), 0, server))
		return;
	client = socket_connected_to(env->kind, server);
	if (!CHECK_OK(client, "connect"))
		return;
	check_selected(env, client, server);
	check_selections(skel, 1, 0);
}

/* No socket is selected: TCP refuses the connection, UDP the datagram. */
static void check_refused(const struct env *env, int server)
{
	int client __auto_close = socket_connected_to(env->kind, server);

	if (is_stream(env)) {
		CHECK_ERR(client, ECONNREFUSED, "connect");
		return;
	}
	if (!CHECK_OK(client, "connect"))
		return;
	CHECK_EQ(send(client, "x", 1, 0), 1, "send");
	check_end(client, -ECONNREFUSED, "the error of the datagram");
}

/* A connected socket of the server's own port is no socket to select. */
static void test_reuseport_select_connected(const struct env *env)
{
	struct reuseport_bpf *skel __auto_reuseport = NULL;
	int server __auto_close = -1, client __auto_close = -1, connected __auto_close = -1;

	if (!load_reuseport(&skel, env))
		return;
	server = reuseport_socket(skel, env);
	if (server < 0 || !insert(reuseport_map(skel), 0, server))
		return;
	client = socket_connected_to(env->kind, server);
	if (!CHECK_OK(client, "connect"))
		return;
	connected =
		is_stream(env) ? accept_timeout(server) : socket_connected_to(env->kind, client);
	if (!CHECK_OK(connected, "the connected socket") ||
	    !CHECK_OK(socket_map_update(reuseport_map(skel), 0, connected, BPF_EXIST), "replace"))
		return;
	check_refused(env, server);
	/* To connect takes a selection with TCP, and nothing with UDP. */
	check_selections(skel, is_stream(env) ? 1 : 0, 1);
}

/* Nor is a socket of another reuseport group. */
static void test_reuseport_mixed_groups(const struct env *env)
{
	struct reuseport_bpf *skel __auto_reuseport = NULL;
	int selected __auto_close = -1, server __auto_close = -1;

	if (!load_reuseport(&skel, env))
		return;
	selected = reuseport_socket(skel, env);
	server = reuseport_socket(skel, env);
	if (selected < 0 || server < 0 || !insert(reuseport_map(skel), 0, selected) ||
	    !insert(reuseport_map(skel), 1, server))
		return;
	check_refused(env, server);
	check_selections(skel, 0, 1);
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const struct fix fix_unhashed_udp[] = {
	{ "66efd3368ae1", "bpf, sockmap: Reject unhashed UDP sockets on sockmap update" },
	{},
};

static const struct fix fix_listener_clone[] = {
	{ "ddce1e091757", "bpf, sockmap: Check for any of tcp_bpf_prots when cloning a listener" },
	{},
};

static const struct fix fix_user_data[] = {
	{ "f1ff5ce2cd5e", "net, sk_msg: Clear sk_user_data pointer on clone if tagged" },
	{ "ddce1e091757", "bpf, sockmap: Check for any of tcp_bpf_prots when cloning a listener" },
	{},
};

static const struct fix fix_strparser[] = {
	{ "7e96ec0e6605", "bpf, sockmap: Fix map type error in sock_map_del_link" },
	{},
};

static const struct fix fix_partial[] = {
	{ "7303524e04af", "skmsg: Lose offset info in sk_psock_skb_ingress" },
	{ "7e96ec0e6605", "bpf, sockmap: Fix map type error in sock_map_del_link" },
	{},
};

static const struct fix fix_readable[] = {
	{ "af493388950b", "net: Implement ->sock_is_readable() for UDP and AF_UNIX" },
	{ "552de9106882", "bpf: sk_msg, fix socket data_ready events" },
	{},
};

static const struct fix fix_unix_stream[] = {
	{ "af493388950b", "net: Implement ->sock_is_readable() for UDP and AF_UNIX" },
	{ "552de9106882", "bpf: sk_msg, fix socket data_ready events" },
	{ "638f32604385", "af_unix: Disable MSG_OOB handling for sockets in sockmap/sockhash" },
	{},
};

static const struct fix fix_inet_unix[] = {
	{ "af493388950b", "net: Implement ->sock_is_readable() for UDP and AF_UNIX" },
	{ "552de9106882", "bpf: sk_msg, fix socket data_ready events" },
	{ "638f32604385", "af_unix: Disable MSG_OOB handling for sockets in sockmap/sockhash" },
	{ "b40cc5adaa80", "bpf, sockmap: Fix incorrect copied_seq calculation" },
	{ "929e30f93125", "bpf, sockmap: Fix FIONREAD for sockmap" },
	{},
};

/* A row is a function, or cases of redirection. */
struct row {
	const char *name;
	void (*run)(const struct env *env);
	const struct redirect_case *cases;
	int only;	    /* SOCK_STREAM or SOCK_DGRAM; 0: both */
	const char *suffix; /* tells two rows of one historic name apart */
	const struct fix *guards;
	feature_set needs; /* besides the map and the socket */
	feature_set wants;
};

/* Not calls of feature_bit(), since these have to be constants. */
#define REUSEPORT   ((feature_set)1 << FEAT_SK_REUSEPORT)
#define ATTACHMENTS ((feature_set)1 << FEAT_MSG_VERDICT | (feature_set)1 << FEAT_SKB_VERDICT)

static const struct row operations[] = {
	{ .name = "test_insert_invalid", .run = test_insert_invalid },
	{ .name = "test_insert_opened", .run = test_insert_opened, .guards = fix_unhashed_udp },
	{ .name = "test_insert_bound", .run = test_insert_bound, .only = SOCK_STREAM },
	{ .name = "test_insert", .run = test_insert },
	{ .name = "test_delete_after_insert", .run = test_delete_after_insert },
	{ .name = "test_delete_after_close", .run = test_delete_after_close },
	{ .name = "test_lookup_after_insert", .run = test_lookup_after_insert },
	{ .name = "test_lookup_after_delete", .run = test_lookup_after_delete },
	{ .name = "test_lookup_32_bit_value", .run = test_lookup_32_bit_value },
	{ .name = "test_update_existing", .run = test_update_existing },
	{ .name = "test_destroy_orphan_child",
	  .run = test_destroy_orphan_child,
	  .only = SOCK_STREAM,
	  .wants = ATTACHMENTS,
	  .guards = fix_listener_clone },
	{ .name = "test_syn_recv_insert_delete",
	  .run = test_syn_recv_insert_delete,
	  .only = SOCK_STREAM },
	{ .name = "test_race_insert_listen", .run = test_race_insert_listen, .only = SOCK_STREAM },
	{ .name = "test_clone_after_delete",
	  .run = test_clone_after_delete,
	  .only = SOCK_STREAM,
	  .wants = ATTACHMENTS,
	  .guards = fix_listener_clone },
	{ .name = "test_accept_after_delete",
	  .run = test_accept_after_delete,
	  .only = SOCK_STREAM,
	  .wants = ATTACHMENTS,
	  .guards = fix_user_data },
	{ .name = "test_accept_before_delete",
	  .run = test_accept_before_delete,
	  .only = SOCK_STREAM,
	  .wants = ATTACHMENTS,
	  .guards = fix_user_data },
	{},
};

static const struct row tcp_redirections[] = {
	{ .name = "test_skb_redir_to_connected", .cases = skb_to_connected, .guards = fix_partial },
	{ .name = "test_skb_redir_to_listening",
	  .cases = skb_to_listening,
	  .guards = fix_strparser },
	{ .name = "test_msg_redir_to_connected", .cases = msg_to_connected },
	{ .name = "test_msg_redir_to_listening", .cases = msg_to_listening },
	{},
};

static const struct row reuseport[] = {
	{ .name = "test_reuseport_select_listening",
	  .run = test_reuseport_select_listening,
	  .needs = REUSEPORT },
	{ .name = "test_reuseport_select_connected",
	  .run = test_reuseport_select_connected,
	  .needs = REUSEPORT },
	{ .name = "test_reuseport_mixed_groups",
	  .run = test_reuseport_mixed_groups,
	  .needs = REUSEPORT },
	{},
};

static const struct row skb_redirections[] = {
	{ .name = "test_udp_redir", .cases = udp_to_udp, .guards = fix_readable },
	{ .name = "test_udp_unix_redir", .cases = inet_to_unix_and_back, .guards = fix_inet_unix },
	{},
};

static const struct row unix_redirections[] = {
	{ .name = "test_unix_redir",
	  .suffix = "dgram",
	  .cases = unix_dgram,
	  .guards = fix_readable },
	{ .name = "test_unix_redir",
	  .suffix = "stream",
	  .cases = unix_stream,
	  .guards = fix_unix_stream },
	{},
};

/* Rows that follow each other, on one type of socket; label stands in their names. */
struct group {
	const struct row *rows;
	int type; /* 0: the cases of the rows say */
	const char *label;
};

static const struct group inet_groups[] = {
	{ operations, SOCK_STREAM, "TCP " },
	{ operations, SOCK_DGRAM, "UDP " },
	{ tcp_redirections, 0, "" },
	{ reuseport, SOCK_STREAM, "TCP " },
	{ reuseport, SOCK_DGRAM, "UDP " },
	{ skb_redirections, 0, "" },
	{},
};

static const struct group unix_groups[] = {
	{ unix_redirections, 0, "" },
	{},
};

static const struct {
	const char *name;
	int family;
	const struct group *groups;
} families[] = {
	{ "IPv4", AF_INET, inet_groups },
	{ "IPv6", AF_INET6, inet_groups },
	{ "Unix", AF_UNIX, unix_groups },
};

static const struct {
	const char *name;
	enum bpf_map_type type;
	enum feature feature;
} maps[] = {
	{ "sockmap", BPF_MAP_TYPE_SOCKMAP, FEAT_SOCKMAP },
	{ "sockhash", BPF_MAP_TYPE_SOCKHASH, FEAT_SOCKHASH },
};

/* Where a subtest is in the product of the tables. */
struct place {
	unsigned int map, family;
	const struct group *group;
	const struct row *row;
};

static bool next_row(struct place *p)
{
	for (; p->group->rows; p->group++, p->row = p->group->rows) {
		for (; p->row->name; p->row++) {
			if (!p->row->only || p->row->only == p->group->type)
				return true;
		}
	}
	return false;
}

/* Count through the product, in the order of the names, to subtest i. */
static bool find_place(unsigned int i, struct place *p)
{
	for (p->map = 0; p->map < ARRAY_SIZE(maps); p->map++) {
		for (p->family = 0; p->family < ARRAY_SIZE(families); p->family++) {
			p->group = families[p->family].groups;
			for (p->row = p->group->rows; next_row(p); p->row++) {
				if (i-- == 0)
					return true;
			}
		}
	}
	return false;
}

static struct env env_of(const struct place *p)
{
	return (struct env){
		.map_type = maps[p->map].type,
		.family = families[p->family].family,
		.kind = p->group->type ? sock_kind_of(families[p->family].family, p->group->type)
				       : NULL,
		.row = p->row,
	};
}

/* The first case is what the subtest is about; what the later ones need on top of it, it wants. */
static void describe_cases(const struct env *env, struct subtest *sub)
{
	const struct redirect_case *c = env->row->cases;

	for (; c->in.type; c++) {
		for (int ingress = 0; ingress <= !c->egress_only; ingress++) {
			struct redirect r = make_redirect(c, env, ingress, false);

			if (r.by_link || r.oob)
				sub->wants |= redirect_needs(&r);
			else
				sub->needs |= redirect_needs(&r);
			sub->wants |= redirect_wants(&r);
			sub->uses |= redirect_uses(&r);
		}
	}
}

static void describe_names(const struct place *p, struct subtest *sub)
{
	const char *suffix = p->row->suffix;

	snprintf(sub->name, sizeof(sub->name), "%s %s %s%s%s%s", maps[p->map].name,
		 families[p->family].name, p->group->label, p->row->name, suffix ? " " : "",
		 suffix ?: "");
	if (suffix)
		snprintf(sub->alias, sizeof(sub->alias), "%s %s %s", maps[p->map].name,
			 families[p->family].name, p->row->name);
}

static bool describe(unsigned int i, struct subtest *sub)
{
	struct place p;
	struct env env;

	if (!find_place(i, &p))
		return false;
	env = env_of(&p);
	describe_names(&p, sub);
	subtest_dim(sub, "map", maps[p.map].name);
	subtest_dim(sub, "family", families[p.family].name);
	if (env.kind)
		subtest_dim(sub, "socket", env.kind->name);
	sub->guards = p.row->guards;
	while (sub->guards && sub->guards[sub->nr_guards].commit)
		sub->nr_guards++;

	sub->needs = feature_bit(maps[p.map].feature) | p.row->needs;
	sub->wants = p.row->wants;
	if (env.kind)
		sub->needs |= feature_bit(feature_of_kind(FEAT_SOCKET, env.kind));
	if (p.row->cases)
		describe_cases(&env, sub);
	return true;
}

static void run(unsigned int i)
{
	struct place p;
	struct env env;

	find_place(i, &p);
	env = env_of(&p);
	if (env.row->run)
		env.row->run(&env);
	for (const struct redirect_case *c = env.row->cases; c && c->in.type; c++) {
		run_direction(c, &env, false);
		if (!c->egress_only)
			run_direction(c, &env, true);
	}
}

DEFINE_TEST(sockmap_listen, describe, run);
