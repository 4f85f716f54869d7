// SPDX-License-Identifier: GPL-2.0-only
/*
 * Maps of sockets as maps: what is put in is found, under its key and no other, until it is deleted,
 * replaced or closed. What was taken for it is given back: the runner sees to that.
 *
 * With sockets of every kind that a map takes:
 *
 *	flags			BPF_ANY, BPF_NOEXIST and BPF_EXIST, and no others; keys out of range
 *	delete			once, and then there is nothing; it can be put in again
 *	replace-by-itself	again and again, in one place
 *	replace-by-other	the other is found, and the first one is free again
 *	full			nothing fits into a full map, but what replaces an entry
 *	refill			filled and emptied, over and over, by delete and by close: all places
 *				are there again; failed inserts take none
 *	many-keys		one socket under many keys: each is an entry of its own; close ends all
 *	many-maps		the same in maps of both types
 *	close			a closed socket is in no map
 *	freed-map		a map goes while sockets are in it: they go on
 *	value-of-4-bytes	a descriptor fits into 4 bytes, a cookie does not
 *	no-memory		an insert or a replacement that fails for lack of memory has changed
 *				nothing
 *
 * With a program:
 *
 *	leave-sk_skb		who leaves the program's map, but is in another one, is not subject to
 *				it any more; back in the map, it is
 *	leave-parser		the same
 *	child-sk_skb		the child of a listener in the map is a socket of its own: it can be
 *	child-sk_msg		inserted, deleted and closed, and its peer is told
 *
 * With many keys:
 *
 *	long-keys-8, -40, -512	keys that differ in one byte, whichever it is, are different keys
 *	next-key		to go from key to key sees each once, and ends
 *	next-key-missing	from a key that is not there, it starts again
 *	next-key-deleting	each key of a SOCKHASH is deleted as it is seen
 *	create			what maps there are not
 *	create-unprivileged	whoever may make other maps may not make these
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "harness/fault.h"
#include "harness/harness.h"
#include "harness/map_case.h"
#include "harness/topology.h"
#include "network_helpers.h"
#include "progs/verdicts.h"
#include "redirect.skel.h"

/* ---- Sockets --------------------------------------------------------------------------------- */

#define PAIRS 4

/* Sockets that go into a map: both ends of each pair. */
struct sockets {
	struct sock_pair pairs[PAIRS];
	int fds[2 * PAIRS]; /* not owned */
};

#define SOCKETS_NONE                                            \
	{                                                       \
		.pairs = { [0 ... PAIRS - 1] = SOCK_PAIR_NONE } \
	}
#define __auto_sockets __attribute__((cleanup(close_sockets)))

static void close_sockets(struct sockets *s)
{
	for (unsigned int i = 0; i < PAIRS; i++)
		close_pair(&s->pairs[i]);
}

static bool make_sockets(struct sockets *s, const struct sock_kind *kind)
{
	for (unsigned int i = 0; i < PAIRS; i++) {
		if (!CHECK_OK(make_pair(kind, &s->pairs[i]), "make a pair of sockets"))
			return false;
		s->fds[2 * i] = s->pairs[i].mapped;
		s->fds[2 * i + 1] = s->pairs[i].peer;
	}
	return true;
}

#define NR_SOCKETS ARRAY_SIZE(((struct sockets *)NULL)->fds)

/* A map with room for n sockets, and a pair. */
static bool open_both(const struct map_env *env, uint32_t n, int *map_fd, struct sock_pair *pair)
{
	*map_fd = make_map(env, n);
	return *map_fd >= 0 && CHECK_OK(make_pair(env->kind, pair), "make a pair of sockets");
}

/* ---- One entry ------------------------------------------------------------------------------- */

static void update_flags(const struct map_env *env)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = -1;
	int fd;

	if (!open_both(env, 2, &map_fd, &pair))
		return;
	fd = pair.mapped;
	CHECK_ERR(socket_map_update(map_fd, 0, fd, BPF_EXIST), ENOENT, "replace what is not there");
	check_entry(map_fd, 0, -1);
	CHECK_OK(socket_map_update(map_fd, 0, fd, BPF_NOEXIST), "insert");
	check_entry(map_fd, 0, fd);
	CHECK_ERR(socket_map_update(map_fd, 0, fd, BPF_NOEXIST), EEXIST, "insert twice");
	CHECK_OK(socket_map_update(map_fd, 0, fd, BPF_EXIST), "replace");
	CHECK_OK(socket_map_update(map_fd, 0, fd, BPF_ANY), "update");
	check_entry(map_fd, 0, fd);
	check_entry(map_fd, 1, -1);
	CHECK_OK(socket_map_update(map_fd, 1, fd, BPF_ANY), "update of what is not there");
	check_entry(map_fd, 1, fd);
	CHECK_ERR(socket_map_update(map_fd, 0, fd, BPF_EXIST + 1), EINVAL, "flags there are not");
	CHECK_ERR(socket_map_update(map_fd, 2, fd, BPF_ANY), E2BIG, "a third key");
	CHECK_ERR(socket_map_delete(map_fd, 2), errno_no_entry(env), "delete of a third key");
	check_entry(map_fd, 2, -1);
	check_traffic(&pair);
}

static void delete_entry(const struct map_env *env)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = -1;

	if (!open_both(env, 1, &map_fd, &pair))
		return;
	CHECK_ERR(socket_map_delete(map_fd, 0), errno_no_entry(env), "delete from an empty map");
	for (unsigned int i = 0; i < 5; i++) {
		if (!check_insert(map_fd, 0, pair.mapped) || !check_entry(map_fd, 0, pair.mapped) ||
		    !check_delete(map_fd, 0) || !check_entry(map_fd, 0, -1))
			return;
		CHECK_ERR(socket_map_delete(map_fd, 0), errno_no_entry(env), "delete twice");
		check_traffic(&pair);
	}
}

#define TIMES 100

static void replace_by_itself(const struct map_env *env)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = -1;

	if (!open_both(env, 1, &map_fd, &pair) || !check_insert(map_fd, 0, pair.mapped))
		return;
	for (unsigned int i = 0; i < TIMES; i++) {
		uint64_t flags = i % 2 ? BPF_EXIST : BPF_ANY;

		if (!CHECK_OK(socket_map_update(map_fd, 0, pair.mapped, flags), "replace"))
			return;
	}
	check_entry(map_fd, 0, pair.mapped);
	check_traffic(&pair);
	check_delete(map_fd, 0);
	check_entry(map_fd, 0, -1);
	check_traffic(&pair);
}

static void replace_by_other(const struct map_env *env)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE, other __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = -1;

	if (!open_both(env, 2, &map_fd, &pair) ||
	    !CHECK_OK(make_pair(env->kind, &other), "make another pair") ||
	    !check_insert(map_fd, 0, pair.mapped))
		return;
	CHECK_OK(socket_map_update(map_fd, 0, other.mapped, BPF_EXIST), "replace");
	check_entry(map_fd, 0, other.mapped);
	check_traffic(&pair);
	CHECK_OK(socket_map_update(map_fd, 0, pair.mapped, BPF_ANY), "replace it by the first");
	check_entry(map_fd, 0, pair.mapped);
	check_insert(map_fd, 1, other.mapped);
	check_entry(map_fd, 1, other.mapped);
	check_traffic(&other);
	/* Closing who was replaced leaves alone who is there. */
	CHECK_OK(socket_map_update(map_fd, 1, pair.mapped, BPF_EXIST), "replace the other");
	close_pair(&other);
	check_entry(map_fd, 1, pair.mapped);
	check_traffic(&pair);
}

struct update {
	int map_fd, fd;
	uint32_t key;
	const struct sock_pair *pair;
};

static ssize_t try_update(void *arg)
{
	const struct update *u = arg;

	return socket_map_update(u->map_fd, u->key, u->fd, BPF_ANY);
}

static bool check_not_there(void *arg)
{
	const struct update *u = arg;

	check_traffic(u->pair);
	return check_entry(u->map_fd, u->key, -1);
}

static bool check_there(void *arg)
{
	const struct update *u = arg;

	return check_entry(u->map_fd, u->key, u->fd);
}

static bool check_there_and_delete(void *arg)
{
	const struct update *u = arg;

	return check_there(arg) && check_delete(u->map_fd, u->key) && check_not_there(arg);
}

/* A socket that is in no map, then its replacement by itself, then the same under another key. */
static void no_memory(const struct map_env *env)
{
	static const struct fallible insert = { "insert", try_update, check_not_there,
						check_there_and_delete };
	static const struct fallible replace = { "replace", try_update, check_there, check_there };
	static const struct fallible another = { "insert under another key", try_update,
						 check_not_there, check_there_and_delete };
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = -1;
	struct update u = { .pair = &pair };

	if (!open_both(env, 2, &map_fd, &pair))
		return;
	u.map_fd = map_fd;
	u.fd = pair.mapped;
	check_without_memory(&insert, &u);
	check_insert(map_fd, 0, pair.mapped);
	check_without_memory(&replace, &u);
	u.key = 1;
	check_without_memory(&another, &u);
	check_traffic(&pair);
}

static void value_of_4_bytes(const struct map_env *env)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = bpf_map_create(env->type, NULL, 4, 4, 1, NULL);
	uint32_t key = 0, value;

	if (!CHECK_OK(map_fd < 0 ? -errno : 0, "create a map with values of 4 bytes") ||
	    !CHECK_OK(make_pair(env->kind, &pair), "make a pair of sockets"))
		return;
	value = pair.mapped;
	CHECK_OK(bpf_map_update_elem(map_fd, &key, &value, BPF_NOEXIST) ? -errno : 0, "insert");
	CHECK_ERR(bpf_map_lookup_elem(map_fd, &key, &value) ? -errno : 0, ENOSPC, "lookup");
	CHECK_OK(bpf_map_delete_elem(map_fd, &key) ? -errno : 0, "delete");
	check_traffic(&pair);
}

/* ---- Many entries ---------------------------------------------------------------------------- */

static bool fill(int map_fd, const struct sockets *s)
{
	for (unsigned int i = 0; i < NR_SOCKETS; i++) {
		if (!check_insert(map_fd, i, s->fds[i]))
			return false;
	}
	return true;
}

static bool check_full(int map_fd, const struct sockets *s)
{
	bool ok = true;

	for (unsigned int i = 0; i < NR_SOCKETS; i++)
		ok &= check_entry(map_fd, i, s->fds[i]);
	return ok && CHECK_ERR(socket_map_update(map_fd, NR_SOCKETS, s->fds[0], BPF_ANY), E2BIG,
			       "insert into a full map");
}

static bool check_empty(int map_fd)
{
	bool ok = true;

	for (unsigned int i = 0; i < NR_SOCKETS; i++)
		ok &= check_entry(map_fd, i, -1);
	return ok;
}

static void full(const struct map_env *env)
{
	struct sockets s __auto_sockets = SOCKETS_NONE, others __auto_sockets = SOCKETS_NONE;
	int map_fd __auto_close = make_map(env, NR_SOCKETS);

	if (!make_sockets(&s, env->kind) || !make_sockets(&others, env->kind) || map_fd < 0 ||
	    !fill(map_fd, &s) || !check_full(map_fd, &s))
		return;
	for (unsigned int i = 0; i < NR_SOCKETS; i++) {
		CHECK_ERR(socket_map_update(map_fd, i, others.fds[i], BPF_NOEXIST), EEXIST,
			  "insert where there is an entry, into a full map");
		CHECK_OK(socket_map_update(map_fd, i, others.fds[i], i % 2 ? BPF_ANY : BPF_EXIST),
			 "replace, in a full map");
	}
	if (!check_full(map_fd, &others) || !check_delete(map_fd, 3))
		return;
	check_entry(map_fd, 3, -1);
	check_insert(map_fd, 3, s.fds[3]);
	check_entry(map_fd, 3, s.fds[3]);
	CHECK_ERR(socket_map_update(map_fd, NR_SOCKETS, s.fds[0], BPF_ANY), E2BIG,
		  "insert into a map that is full again");
}

/* Each of them fails, and takes no place. */
static void fail_inserts(const struct map_env *env, int map_fd, int fd)
{
	int opened __auto_close = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);

	CHECK_ERR(socket_map_update(map_fd, 0, fd, BPF_EXIST), ENOENT, "replace what is not there");
	CHECK_ERR(socket_map_update(map_fd, 0, fd, 7), EINVAL, "flags there are not");
	CHECK_ERR(socket_map_update(map_fd, 0, opened, BPF_ANY), EOPNOTSUPP,
		  "insert of a netlink socket");
	if (!is_hash(env))
		CHECK_ERR(socket_map_update(map_fd, NR_SOCKETS, fd, BPF_ANY), E2BIG,
			  "key out of range");
}

#define CYCLES 8

static void refill(const struct map_env *env)
{
	int map_fd __auto_close = make_map(env, NR_SOCKETS);

	for (unsigned int cycle = 0; map_fd >= 0 && cycle < CYCLES; cycle++) {
		struct sockets s __auto_sockets = SOCKETS_NONE;

		if (!make_sockets(&s, env->kind))
			return;
		fail_inserts(env, map_fd, s.fds[0]);
		if (!fill(map_fd, &s) || !check_full(map_fd, &s))
			return;
		for (unsigned int i = 0; i < NR_SOCKETS && cycle % 2 == 0; i++)
			check_delete(map_fd, i);
		close_sockets(&s);
		if (!check_empty(map_fd))
			return;
	}
}

#define KEYS 32

static void check_keys(int map_fd, unsigned int step, int fd)
{
	for (unsigned int key = 0; key < KEYS; key++)
		check_entry(map_fd, key, key % step == 0 ? fd : -1);
}

static void many_keys(const struct map_env *env)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = -1;

	if (!open_both(env, KEYS, &map_fd, &pair))
		return;
	for (unsigned int key = 0; key < KEYS; key++)
		check_insert(map_fd, key, pair.mapped);
	check_keys(map_fd, 1, pair.mapped);
	check_traffic(&pair);
	for (unsigned int key = 1; key < KEYS; key += 2)
		check_delete(map_fd, key);
	check_keys(map_fd, 2, pair.mapped);
	check_traffic(&pair);
	for (unsigned int key = 1; key < KEYS; key += 2)
		check_insert(map_fd, key, pair.mapped);
	close_fd(&pair.mapped);
	for (unsigned int key = 0; key < KEYS; key++)
		check_closed(map_fd, key);
}

#define MAPS 8

struct maps {
	int fds[MAPS];
};

#define MAPS_NONE                                \
	{                                        \
		.fds = { [0 ... MAPS - 1] = -1 } \
	}
#define __auto_maps __attribute__((cleanup(close_maps)))

static void close_maps(struct maps *m)
{
	for (unsigned int i = 0; i < MAPS; i++)
		close_fd(&m->fds[i]);
}

static bool make_maps(struct maps *m)
{
	static const struct map_env types[] = {
		{ .type = BPF_MAP_TYPE_SOCKMAP },
		{ .type = BPF_MAP_TYPE_SOCKHASH },
	};
	bool ok = true;

	for (unsigned int i = 0; i < MAPS; i++) {
		m->fds[i] = make_map(&types[i % 2], 1);
		ok &= m->fds[i] >= 0;
	}
	return ok;
}

static void many_maps(const struct map_env *env)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	struct maps m __auto_maps = MAPS_NONE;

	if (!make_maps(&m) || !CHECK_OK(make_pair(env->kind, &pair), "make a pair of sockets"))
		return;
	for (unsigned int i = 0; i < MAPS; i++)
		check_insert(m.fds[i], 0, pair.mapped);
	check_traffic(&pair);
	check_delete(m.fds[2], 0);
	close_fd(&m.fds[3]);
	for (unsigned int i = 0; i < MAPS; i++) {
		if (i != 3)
			check_entry(m.fds[i], 0, i == 2 ? -1 : pair.mapped);
	}
	check_traffic(&pair);
	close_fd(&pair.mapped);
	for (unsigned int i = 0; i < MAPS; i++) {
		if (i != 3)
			check_closed(m.fds[i], 0);
	}
}

static void close_socket(const struct map_env *env)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = -1;

	if (!open_both(env, 2, &map_fd, &pair) || !check_insert(map_fd, 0, pair.mapped) ||
	    !check_insert(map_fd, 1, pair.peer))
		return;
	close_fd(&pair.mapped);
	check_closed(map_fd, 0);
	check_entry(map_fd, 1, pair.peer);
	CHECK_ERR(socket_map_delete(map_fd, 0), errno_no_entry(env), "delete after close");
	close_fd(&pair.peer);
	check_closed(map_fd, 1);
	CHECK_OK(make_pair(env->kind, &pair), "make a pair of sockets");
	check_insert(map_fd, 0, pair.mapped);
	check_insert(map_fd, 1, pair.peer);
}

static void freed_map(const struct map_env *env)
{
	struct sockets s __auto_sockets = SOCKETS_NONE;
	int map_fd __auto_close = make_map(env, NR_SOCKETS);

	if (!make_sockets(&s, env->kind) || map_fd < 0 || !fill(map_fd, &s))
		return;
	check_traffic(&s.pairs[0]);
	close_fd(&map_fd);
	for (unsigned int i = 0; i < PAIRS; i++)
		check_traffic(&s.pairs[i]);
	map_fd = make_map(env, NR_SOCKETS);
	if (map_fd >= 0 && fill(map_fd, &s))
		check_full(map_fd, &s);
}

/* ---- With a program -------------------------------------------------------------------------- */

/* A message that arrives; whether it is one that the program sees. */
static bool check_passes(struct topology *t, bool seen)
{
	struct message m;

	fill_message(&m, 300);
	if (seen)
		topology_expect(t, SK_PASS, m.len);
	return check_send(t->sender, &m, seen ? "send" : "send past the program") &&
	       check_arrives(t->target, &m, seen ? "data" : "data past the program") &&
	       topology_check_verdicts(t);
}

static void leave_program(const struct map_env *env)
{
	struct topology t __auto_topology = TOPOLOGY_NONE;
	struct redirect redirect = {
		.map = env->type,
		.hook = env->c->value,
		.ingress = true,
		.pass = true,
		.two_maps = true,
		.in = env->kind,
		.out = env->kind,
	};
	int other __auto_close = make_map(env, 1);

	if (other < 0 || !topology_open(&t, &redirect) || !check_passes(&t, true))
		return;
	for (unsigned int i = 0; i < 3; i++) {
		if (!CHECK_OK(socket_map_update(other, 0, t.in.mapped, BPF_ANY),
			      "insert into a map without programs") ||
		    !check_passes(&t, true) || !check_delete(topology_in_map(&t), KEY_IN) ||
		    !check_passes(&t, false) || !check_passes(&t, false) ||
		    !check_insert(topology_in_map(&t), KEY_IN, t.in.mapped) ||
		    !check_passes(&t, true))
			return;
	}
}

#define __auto_redirect __attribute__((cleanup(destroy_redirect)))

static void destroy_redirect(struct redirect_bpf **skel)
{
	redirect_bpf__destroy(*skel);
}

/* A map for two sockets, with the program that passes everything; of the skeleton. Or negative. */
static int make_map_with_program(const struct map_env *env, struct redirect_bpf **skel)
{
	enum bpf_attach_type type = env->c->value;
	struct redirect_bpf *s = *skel = redirect_bpf__open();
	int map_fd;

	if (!CHECK(s, "open the BPF object"))
		return -1;
	bpf_map__set_type(s->maps.out_map, env->type);
	s->rodata->use_sockhash = is_hash(env);
	s->data->verdict = SK_PASS;
	if (!CHECK_OK(redirect_bpf__load(s), "load the BPF object"))
		return -1;
	track_bpf_object(s->obj);
	map_fd = bpf_map__fd(s->maps.out_map);
	return CHECK_OK(attach_program(type == BPF_SK_MSG_VERDICT ? s->progs.msg_verdict
								  : s->progs.skb_verdict,
				       map_fd, type),
			"attach the program")
		       ? map_fd
		       : -1;
}

/* The accepted end of a connection to a listener that is in the map. */
static bool accept_child(const struct map_env *env, int listener, struct sock_pair *child)
{
	child->kind = env->kind;
	child->peer = socket_connected_to(env->kind, listener);
	if (!CHECK_OK(child->peer, "connect"))
		return false;
	child->mapped = accept_timeout(listener);
	return CHECK_OK(child->mapped, "accept");
}

/* It can come and go, and its end is its peer's end. */
static void check_child(int map_fd, struct sock_pair *child)
{
	for (unsigned int i = 0; i < 3; i++) {
		if (!check_entry(map_fd, 1, -1) || !check_insert(map_fd, 1, child->mapped) ||
		    !check_entry(map_fd, 1, child->mapped) || !check_delete(map_fd, 1))
			return;
	}
	close_fd(&child->mapped);
	check_end_of_stream(child->peer, 0, "the child was closed");
}

static void child_of_listener(const struct map_env *env)
{
	struct sock_pair first __auto_pair = SOCK_PAIR_NONE, second __auto_pair = SOCK_PAIR_NONE;
	struct redirect_bpf *skel __auto_redirect = NULL;
	int listener __auto_close = socket_loopback(env->kind);
	int map_fd = make_map_with_program(env, &skel);

	if (!CHECK_OK(listener, "make a listener") || map_fd < 0 ||
	    !check_insert(map_fd, 0, listener) || !accept_child(env, listener, &first) ||
	    !accept_child(env, listener, &second))
		return;
	check_child(map_fd, &first);
	check_entry(map_fd, 0, listener);
	/* This one stays in the map until it is closed, and was never in one before. */
	close_fd(&listener);
	check_closed(map_fd, 0);
	check_insert(map_fd, 0, second.mapped);
	close_fd(&second.mapped);
	check_closed(map_fd, 0);
	check_end_of_stream(second.peer, 0, "the child was closed in the map");
}

/* ---- Keys ------------------------------------------------------------------------------------ */

#define LONG_KEYS    64
#define LONG_KEY_MAX 512

/*
 * Key i: bytes that are the same for all, but for two. Which two depends on i, so that some keys
 * differ at their beginning, some in the middle, and some in their last byte only.
 */
static void long_key(uint8_t key[LONG_KEY_MAX], size_t size, unsigned int i)
{
	memset(key, 0xa5, LONG_KEY_MAX);
	key[i % size] ^= 1 + i / size;
	key[size - 1] ^= i << 2;
}

static int update_long(int map_fd, const void *key, int fd)
{
	uint64_t value = fd;

	return bpf_map_update_elem(map_fd, key, &value, BPF_NOEXIST) ? -errno : 0;
}

static bool check_long(int map_fd, size_t size, unsigned int i, int fd)
{
	uint8_t key[LONG_KEY_MAX];
	uint64_t cookie = 0;
	int err;

	long_key(key, size, i);
	err = bpf_map_lookup_elem(map_fd, key, &cookie) ? -errno : 0;
	if (fd < 0)
		return CHECK_ERR(err, ENOENT, "lookup of long key %u, which has no entry", i);
	return CHECK_OK(err, "lookup of long key %u", i) &&
	       CHECK_EQ(cookie, cookie_of(fd), "cookie at long key %u", i);
}

static void close_all(int (*fds)[LONG_KEYS])
{
	for (unsigned int i = 0; i < LONG_KEYS; i++)
		close_fd(&(*fds)[i]);
}

static void long_keys(const struct map_env *env)
{
	int fds[LONG_KEYS] __attribute__((cleanup(close_all))) = {};
	size_t size = env->c->value;
	int map_fd __auto_close = socket_map_create_sized(env->type, size, LONG_KEYS);
	uint8_t key[LONG_KEY_MAX];

	for (unsigned int i = 0; i < LONG_KEYS; i++)
		fds[i] = socket_bound(env->kind);
	if (!CHECK_OK(map_fd, "create a map with keys of %zu bytes", size))
		return;
	for (unsigned int i = 0; i < LONG_KEYS; i++) {
		if (!check_long(map_fd, size, i, -1))
			return;
		long_key(key, size, i);
		if (!CHECK_OK(update_long(map_fd, key, fds[i]), "insert at long key %u", i))
			return;
	}
	for (unsigned int i = 0; i < LONG_KEYS; i++)
		check_long(map_fd, size, i, fds[i]);
	for (unsigned int i = 0; i < LONG_KEYS; i += 2) {
		long_key(key, size, i);
		CHECK_OK(bpf_map_delete_elem(map_fd, key) ? -errno : 0, "delete long key %u", i);
	}
	for (unsigned int i = 0; i < LONG_KEYS; i++)
		check_long(map_fd, size, i, i % 2 ? fds[i] : -1);
}

/* The keys that are seen on the way through a map, and how often: at most once. */
struct walk {
	unsigned int seen[KEYS];
	unsigned int steps;
};

/* Go on from that key, or from the beginning; the last errno is what it ended with. */
static int walk(int map_fd, const uint32_t *from, struct walk *w)
{
	uint32_t key, *last = NULL;

	*w = (struct walk){};
	while (bpf_map_get_next_key(map_fd, last ?: from, &key) == 0) {
		if (!CHECK(w->steps++ < KEYS, "more keys than there are entries") ||
		    !CHECK(key < KEYS, "key %u is in the map", key))
			return 0;
		w->seen[key]++;
		last = &key;
	}
	return -errno;
}

/* A SOCKMAP has all of its keys, a SOCKHASH those that were put in: those that step divides. */
static void check_walk(const struct map_env *env, const struct walk *w, unsigned int step)
{
	for (unsigned int key = 0; key < KEYS; key++)
		CHECK_EQ(w->seen[key], !is_hash(env) || key % step == 0,
			 "how often key %u was seen", key);
}

static void insert_every(int map_fd, unsigned int step, int fd)
{
	for (unsigned int key = 0; key < KEYS; key += step)
		check_insert(map_fd, key, fd);
}

static void next_key(const struct map_env *env)
{
	int map_fd __auto_close = make_map(env, KEYS), fd __auto_close = socket_bound(env->kind);
	struct walk w;

	if (map_fd < 0 || !CHECK_OK(fd, "make a socket"))
		return;
	if (is_hash(env)) {
		CHECK_ERR(walk(map_fd, NULL, &w), ENOENT, "the end of an empty map");
		CHECK_EQ(w.steps, 0, "keys in an empty map");
	}
	insert_every(map_fd, 3, fd);
	CHECK_ERR(walk(map_fd, NULL, &w), ENOENT, "the end of the map");
	check_walk(env, &w, 3);
	for (unsigned int key = 3; key < KEYS; key += 3)
		check_delete(map_fd, key);
	CHECK_ERR(walk(map_fd, NULL, &w), ENOENT, "the end of a map with one entry");
	check_walk(env, &w, KEYS);
	check_delete(map_fd, 0);
	insert_every(map_fd, 1, fd);
	CHECK_ERR(walk(map_fd, NULL, &w), ENOENT, "the end of a full map");
	check_walk(env, &w, 1);
}

static void next_key_missing(const struct map_env *env)
{
	int map_fd __auto_close = make_map(env, KEYS), fd __auto_close = socket_bound(env->kind);
	uint32_t missing = 1000;
	struct walk w;

	if (map_fd < 0 || !CHECK_OK(fd, "make a socket"))
		return;
	insert_every(map_fd, 2, fd);
	CHECK_ERR(walk(map_fd, &missing, &w), ENOENT, "the end of the map");
	check_walk(env, &w, 2);
}

static void next_key_deleting(const struct map_env *env)
{
	int map_fd __auto_close = make_map(env, KEYS), fd __auto_close = socket_bound(env->kind);
	unsigned int deleted = 0;
	uint32_t key;

	if (map_fd < 0 || !CHECK_OK(fd, "make a socket"))
		return;
	insert_every(map_fd, 1, fd);
	while (bpf_map_get_next_key(map_fd, NULL, &key) == 0) {
		if (!CHECK(deleted++ < KEYS, "more keys than there were entries") ||
		    !check_delete(map_fd, key))
			return;
	}
	CHECK_EQ(deleted, KEYS, "keys deleted as they were seen");
}

/* ---- Maps that there are not ----------------------------------------------------------------- */

#define ANY -1

static void create(const struct map_env *env)
{
	static const struct {
		const char *what;
		uint32_t key_size, value_size, max_entries, flags;
		int map_error, hash_error; /* 0: there is such a map; ANY: on some machines */
	} cases[] = {
		{ "keys of 4 bytes", 4, 8, 1, 0, 0, 0 },
		{ "values of 4 bytes", 4, 4, 1, 0, 0, 0 },
		{ "keys of 1 byte", 1, 8, 1, 0, EINVAL, 0 },
		{ "keys of 512 bytes", 512, 8, 1, 0, EINVAL, 0 },
		{ "keys of 513 bytes", 513, 8, 1, 0, EINVAL, E2BIG },
		{ "keys of no bytes", 0, 8, 1, 0, EINVAL, EINVAL },
		{ "values of 1 byte", 4, 1, 1, 0, EINVAL, EINVAL },
		{ "values of 16 bytes", 4, 16, 1, 0, EINVAL, EINVAL },
		{ "values of no bytes", 4, 0, 1, 0, EINVAL, EINVAL },
		{ "room for nothing", 4, 8, 0, 0, EINVAL, EINVAL },
		{ "more room than there are buckets", 4, 8, (1U << 31) + 1, 0, ANY, EINVAL },
		{ "BPF_F_NO_PREALLOC", 4, 8, 1, BPF_F_NO_PREALLOC, EINVAL, EINVAL },
		{ "BPF_F_RDONLY", 4, 8, 1, BPF_F_RDONLY, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = cases[i].flags);
		int want = is_hash(env) ? cases[i].hash_error : cases[i].map_error;
		int fd __auto_close = -1;

		if (want == ANY)
			continue;
		fd = bpf_map_create(env->type, NULL, cases[i].key_size, cases[i].value_size,
				    cases[i].max_entries, &opts);
		if (want)
			CHECK_ERR(fd < 0 ? -errno : 0, want, "%s", cases[i].what);
		else
			CHECK_OK(fd < 0 ? -errno : 0, "%s", cases[i].what);
	}
}

/* Of all capabilities, keep but CAP_BPF. */
static int keep_cap_bpf(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

	data[CAP_TO_INDEX(CAP_BPF)].effective = CAP_TO_MASK(CAP_BPF);
	data[CAP_TO_INDEX(CAP_BPF)].permitted = CAP_TO_MASK(CAP_BPF);
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

static void create_unprivileged(const struct map_env *env)
{
	int array __auto_close = -1, map_fd __auto_close = -1;

	if (!CHECK_OK(keep_cap_bpf(), "give up capabilities"))
		return;
	array = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 8, 1, NULL);
	map_fd = bpf_map_create(env->type, NULL, 4, 8, 1, NULL);
	CHECK_ERR(map_fd < 0 ? -errno : 0, EPERM, "create a map without CAP_NET_ADMIN");
	CHECK_OK(array < 0 ? -errno : 0, "create an array without CAP_NET_ADMIN");
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const char *const tcp[] = { "tcp4", "tcp6", NULL };
static const char *const udp[] = { "udp4", NULL };

static const struct fix close_fixes[] = {
	{ "135ffc7becc8", "bpf, vsock: Invoke proto::close on close()" },
	{ "16b2f264983d", "bpf: sockmap, fix proto update hook to avoid dup calls" },
	{},
};

static const struct fix reference_fixes[] = {
	{ "16b2f264983d", "bpf: sockmap, fix proto update hook to avoid dup calls" },
	{},
};

static const struct fix link_fixes[] = {
	{ "7e96ec0e6605", "bpf, sockmap: Fix map type error in sock_map_del_link" },
	{ "c0d95d3380ee",
	  "bpf, sockmap: Re-evaluate proto ops when psock is removed from sockmap" },
	{},
};

static const struct fix child_fixes[] = {
	{ "f1ff5ce2cd5e", "net, sk_msg: Clear sk_user_data pointer on clone if tagged" },
	{ "ddce1e091757", "bpf, sockmap: Check for any of tcp_bpf_prots when cloning a listener" },
	{},
};

/* Not calls of feature_bit(), since these have to be constants. */
#define FAILSLAB       ((feature_set)1 << FEAT_FAILSLAB)
#define SKB_VERDICT    ((feature_set)1 << FEAT_SKB_VERDICT)
#define STREAM_VERDICT ((feature_set)1 << FEAT_STREAM_VERDICT)
#define MSG_VERDICT    ((feature_set)1 << FEAT_MSG_VERDICT)

static const struct map_case cases[] = {
	{ "flags", mappable_kinds, .run = update_flags, .guards = reference_fixes },
	{ "delete", mappable_kinds, .run = delete_entry },
	{ "replace-by-itself", mappable_kinds, .run = replace_by_itself,
	  .guards = reference_fixes },
	{ "replace-by-other", mappable_kinds, .run = replace_by_other, .guards = reference_fixes },
	{ "full", mappable_kinds, .run = full, .guards = reference_fixes },
	{ "refill", mappable_kinds, .run = refill, .guards = close_fixes },
	{ "many-keys", mappable_kinds, .run = many_keys, .guards = close_fixes },
	{ "many-maps", mappable_kinds, .run = many_maps, .guards = close_fixes },
	{ "close", mappable_kinds, .run = close_socket, .guards = close_fixes },
	{ "freed-map", mappable_kinds, .run = freed_map, .guards = reference_fixes },
	{ "value-of-4-bytes", mappable_kinds, .run = value_of_4_bytes },
	{ "no-memory", mappable_kinds, .run = no_memory, .needs = FAILSLAB },

	{ "leave-sk_skb", mappable_kinds, .run = leave_program, .value = HOOK_SKB_VERDICT,
	  .needs = SKB_VERDICT, .guards = link_fixes },
	{ "leave-parser", tcp, .run = leave_program, .value = HOOK_STREAM_VERDICT,
	  .needs = STREAM_VERDICT, .guards = link_fixes },
	{ "child-sk_skb", tcp, .run = child_of_listener, .value = BPF_SK_SKB_VERDICT,
	  .needs = SKB_VERDICT, .guards = child_fixes },
	{ "child-sk_msg", tcp, .run = child_of_listener, .value = BPF_SK_MSG_VERDICT,
	  .needs = MSG_VERDICT, .guards = child_fixes },

	{ "long-keys-8", udp, .run = long_keys, .value = 8, .only = BPF_MAP_TYPE_SOCKHASH },
	{ "long-keys-40", udp, .run = long_keys, .value = 40, .only = BPF_MAP_TYPE_SOCKHASH },
	{ "long-keys-512", udp, .run = long_keys, .value = 512, .only = BPF_MAP_TYPE_SOCKHASH },
	{ "next-key", udp, .run = next_key },
	{ "next-key-missing", udp, .run = next_key_missing },
	{ "next-key-deleting", udp, .run = next_key_deleting, .only = BPF_MAP_TYPE_SOCKHASH },
	{ "create", NULL, .run = create },
	{ "create-unprivileged", NULL, .run = create_unprivileged },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return map_case_describe(cases, ARRAY_SIZE(cases), i, sub);
}

static void run(unsigned int i)
{
	map_case_run(cases, ARRAY_SIZE(cases), i);
}

DEFINE_TEST(sockmap_map, describe, run);
