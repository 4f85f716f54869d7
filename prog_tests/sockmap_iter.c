// SPDX-License-Identifier: GPL-2.0-only
/*
 * BPF iterators over maps of sockets, which see each entry once and can copy the sockets.
 *
 *	visits			each entry of a SOCKHASH, and each key of a SOCKMAP, with its socket or
 *				without one
 *	empty			a map in which there is nothing
 *	copies			the copies are the sockets; they live on when the originals are gone
 *	copies-to-other		to a map of the other type
 *	every-key		a map that is full, where more than one entry is in a bucket
 *	not-copied		a TCP socket whose peer has closed stays, but is let into no other map
 *	again			a second walk sees what has changed
 *	in-pieces		SOCKMAP: read a few bytes at a time, with everything in between
 *	refused			maps of another type, and keys that are shorter than what is read of them
 *	keeps-map		the iterator keeps the map, its sockets and its program
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "harness/harness.h"
#include "harness/map_case.h"
#include "network_helpers.h"
#include "progs/iter.h"
#include "iter.skel.h"

#define PAIRS 8

struct walk {
	struct iter_bpf *skel;
	int map_fd; /* which is walked through */
	int iter_fd;
	struct sock_pair pairs[PAIRS]; /* mapped: at every third key */
};

#define WALK_NONE                                                                            \
	{                                                                                    \
		.map_fd = -1, .iter_fd = -1, .pairs = { [0 ... PAIRS - 1] = SOCK_PAIR_NONE } \
	}
#define __auto_walk __attribute__((cleanup(close_walk)))

static void close_walk(struct walk *w)
{
	for (unsigned int i = 0; i < PAIRS; i++)
		close_pair(&w->pairs[i]);
	close_fd(&w->iter_fd);
	close_fd(&w->map_fd);
	iter_bpf__destroy(w->skel);
}

static uint32_t key_of(unsigned int i)
{
	return 3 * i;
}

/* Which of the sockets is at that key: an index, or -1. */
static int index_of(uint32_t key)
{
	return key % 3 == 0 && key / 3 < PAIRS ? (int)key / 3 : -1;
}

static bool load_programs(struct walk *w, enum bpf_map_type copies)
{
	w->skel = iter_bpf__open();
	if (!CHECK(w->skel, "open the BPF object"))
		return false;
	bpf_map__set_type(w->skel->maps.copies, copies);
	if (!CHECK_OK(iter_bpf__load(w->skel), "load the BPF object"))
		return false;
	track_bpf_object(w->skel->obj);
	return true;
}

static bool fill(struct walk *w, const struct sock_kind *kind)
{
	for (unsigned int i = 0; i < PAIRS; i++) {
		if (!CHECK_OK(make_pair(kind, &w->pairs[i]), "make a pair of sockets") ||
		    !check_insert(w->map_fd, key_of(i), w->pairs[i].mapped))
			return false;
	}
	return true;
}

static bool open_walk(struct walk *w, const struct map_env *env, enum bpf_map_type copies)
{
	w->map_fd = make_map(env, ITER_ENTRIES);
	return w->map_fd >= 0 && load_programs(w, copies) && fill(w, env->kind);
}

/* The link of an iterator over that map, or -errno. */
static int link_iterator(const struct walk *w, int map_fd)
{
	union bpf_iter_link_info info = { .map.map_fd = map_fd };
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));
	int fd = bpf_link_create(bpf_program__fd(w->skel->progs.visit), 0, BPF_TRACE_ITER, &opts);

	return fd < 0 ? -errno : fd;
}

/* A new iterator over the map, at its beginning. */
static bool begin(struct walk *w)
{
	int link __auto_close = link_iterator(w, w->map_fd);

	if (!CHECK_OK(link, "attach the iterator"))
		return false;
	close_fd(&w->iter_fd);
	w->iter_fd = bpf_iter_create(link);
	return CHECK_OK(w->iter_fd < 0 ? -errno : 0, "start the iterator");
}

/* All records that are left, `chunk` of them a read; how many, or negative after a failed check. */
static int read_records(const struct walk *w, struct iter_record *records, int max, int chunk)
{
	int n = 0;

	for (;;) {
		struct iter_record buf[ITER_ENTRIES];
		ssize_t len = read(w->iter_fd, buf, chunk * sizeof(buf[0]));

		if (!CHECK_OK(len < 0 ? -errno : 0, "read the iterator") ||
		    !CHECK_EQ(len % sizeof(buf[0]), 0, "bytes of half a record") ||
		    !CHECK(n + len / (ssize_t)sizeof(buf[0]) <= max, "no more records than keys"))
			return -1;
		if (len == 0)
			return n;
		for (size_t i = 0; i < len / sizeof(buf[0]); i++)
			records[n++] = buf[i];
	}
}

/* Walk through it: the sockets are seen from `from` on, each once, and nothing else is. */
static bool check_walk(const struct map_env *env, struct walk *w, int from, int chunk)
{
	struct iter_record records[ITER_ENTRIES];
	unsigned int seen[ITER_ENTRIES] = {};
	int n = read_records(w, records, ITER_ENTRIES, chunk);
	bool ok = n >= 0;

	for (int i = 0; i < n; i++) {
		if (!CHECK(records[i].key < ITER_ENTRIES, "key %u", records[i].key))
			return false;
		seen[records[i].key]++;
		ok &= CHECK_EQ(records[i].has_socket, index_of(records[i].key) >= from,
			       "whether there is a socket at key %u", records[i].key);
		ok &= CHECK_EQ(records[i].error, 0, "copy of the socket at key %u", records[i].key);
	}
	for (unsigned int key = 0; ok && key < ITER_ENTRIES; key++)
		ok &= CHECK_EQ(seen[key], !is_hash(env) || index_of(key) >= from,
			       "how often key %u was seen", key);
	return ok;
}

static bool check_copies(const struct walk *w, int from)
{
	int fd = bpf_map__fd(w->skel->maps.copies);
	bool ok = true;

	for (unsigned int key = 0; key < ITER_ENTRIES; key++) {
		int i = index_of(key);

		ok &= check_entry(fd, key, i >= from ? w->pairs[i].mapped : -1);
	}
	return ok;
}

static void visits(const struct map_env *env)
{
	struct walk w __auto_walk = WALK_NONE;

	if (open_walk(&w, env, env->type) && begin(&w))
		check_walk(env, &w, 0, ITER_ENTRIES);
	for (unsigned int i = 0; i < PAIRS; i++)
		check_traffic(&w.pairs[i]);
}

static void empty(const struct map_env *env)
{
	struct walk w __auto_walk = WALK_NONE;

	w.map_fd = make_map(env, ITER_ENTRIES);
	if (w.map_fd >= 0 && load_programs(&w, env->type) && begin(&w))
		check_walk(env, &w, PAIRS, ITER_ENTRIES);
}

static void check_copying(const struct map_env *env, enum bpf_map_type copies)
{
	struct walk w __auto_walk = WALK_NONE;

	if (!open_walk(&w, env, copies) || !begin(&w) || !check_walk(env, &w, 0, ITER_ENTRIES) ||
	    !check_copies(&w, 0))
		return;
	for (unsigned int i = 0; i < PAIRS; i++)
		check_delete(w.map_fd, key_of(i));
	check_copies(&w, 0);
	for (unsigned int i = 0; i < PAIRS; i++)
		check_traffic(&w.pairs[i]);
	for (unsigned int i = 0; i < PAIRS; i++)
		close_fd(&w.pairs[i].mapped);
	for (unsigned int i = 0; i < PAIRS; i++)
		check_closed(bpf_map__fd(w.skel->maps.copies), key_of(i));
}

static void copies(const struct map_env *env)
{
	check_copying(env, env->type);
}

static void copies_to_other(const struct map_env *env)
{
	check_copying(env, is_hash(env) ? BPF_MAP_TYPE_SOCKMAP : BPF_MAP_TYPE_SOCKHASH);
}

/* Each key is seen once, with its socket. */
static bool check_each_seen(const struct walk *w)
{
	struct iter_record records[ITER_ENTRIES];
	unsigned int seen[ITER_ENTRIES] = {};
	int n = read_records(w, records, ITER_ENTRIES, ITER_ENTRIES);
	bool ok = CHECK_EQ(n, ITER_ENTRIES, "keys seen");

	for (int i = 0; i < n; i++) {
		if (!CHECK(records[i].key < ITER_ENTRIES, "key %u", records[i].key))
			return false;
		seen[records[i].key]++;
		ok &= CHECK(records[i].has_socket, "a socket at key %u", records[i].key);
	}
	for (unsigned int key = 0; ok && key < ITER_ENTRIES; key++)
		ok &= CHECK_EQ(seen[key], 1, "how often key %u was seen", key);
	return ok;
}

static void every_key(const struct map_env *env)
{
	struct walk w __auto_walk = WALK_NONE;
	struct sock_pair *pair = &w.pairs[0];

	w.map_fd = make_map(env, ITER_ENTRIES);
	if (w.map_fd < 0 || !load_programs(&w, env->type) ||
	    !CHECK_OK(make_pair(env->kind, pair), "make a pair of sockets"))
		return;
	for (unsigned int key = 0; key < ITER_ENTRIES; key++) {
		if (!check_insert(w.map_fd, key, pair->mapped))
			return;
	}
	if (!begin(&w) || !check_each_seen(&w))
		return;
	for (unsigned int key = 0; key < ITER_ENTRIES; key++)
		check_entry(bpf_map__fd(w.skel->maps.copies), key, pair->mapped);
}

/* A program can insert no more than a system call could. */
static void not_copied(const struct map_env *env)
{
	struct iter_record records[ITER_ENTRIES];
	struct walk w __auto_walk = WALK_NONE;
	int n;

	if (!open_walk(&w, env, env->type))
		return;
	close_fd(&w.pairs[0].peer);
	if (!check_poll(w.pairs[0].mapped, POLLRDHUP, "the end of the peer") || !begin(&w))
		return;
	n = read_records(&w, records, ITER_ENTRIES, ITER_ENTRIES);
	for (int i = 0; i < n; i++)
		CHECK_EQ(records[i].error, records[i].key == key_of(0) ? -EOPNOTSUPP : 0,
			 "copy of the socket at key %u", records[i].key);
	check_copies(&w, 1);
	check_entry(w.map_fd, key_of(0), w.pairs[0].mapped);
}

static void again(const struct map_env *env)
{
	struct walk w __auto_walk = WALK_NONE;

	if (!open_walk(&w, env, env->type))
		return;
	for (unsigned int from = 0; from <= PAIRS; from++) {
		if (!begin(&w) || !check_walk(env, &w, from, ITER_ENTRIES))
			return;
		/* By turns deleted and closed. */
		if (from == PAIRS)
			return;
		if (from % 2)
			check_delete(w.map_fd, key_of(from));
		else
			close_fd(&w.pairs[from].mapped);
	}
}

static void in_pieces(const struct map_env *env)
{
	struct walk w __auto_walk = WALK_NONE;

	for (int chunk = 1; chunk <= 3; chunk++) {
		close_walk(&w);
		w = (struct walk)WALK_NONE;
		if (!open_walk(&w, env, env->type) || !begin(&w) || !check_walk(env, &w, 0, chunk))
			return;
	}
}

static void refused(const struct map_env *env)
{
	struct walk w __auto_walk = WALK_NONE;
	int array __auto_close = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 8, 1, NULL);
	int short_keys __auto_close = -1;

	if (!load_programs(&w, env->type))
		return;
	CHECK_ERR(link_iterator(&w, array), EINVAL, "over an array");
	CHECK_ERR(link_iterator(&w, bpf_program__fd(w.skel->progs.visit)), EINVAL,
		  "over a program");
	CHECK_ERR(link_iterator(&w, 0), EBADF, "over no map");
	if (!is_hash(env))
		return;
	short_keys = bpf_map_create(env->type, NULL, 2, 8, 1, NULL);
	CHECK_ERR(link_iterator(&w, short_keys), EACCES, "over keys of 2 bytes");
}

static void keeps_map(const struct map_env *env)
{
	struct walk w __auto_walk = WALK_NONE;

	if (!open_walk(&w, env, env->type) || !begin(&w))
		return;
	close_fd(&w.map_fd);
	check_walk(env, &w, 0, ITER_ENTRIES);
	check_copies(&w, 0);
	close_fd(&w.iter_fd);
	for (unsigned int i = 0; i < PAIRS; i++)
		check_traffic(&w.pairs[i]);
}

/* ---- The plan -------------------------------------------------------------------------------- */

#define ITERATOR ((feature_set)1 << FEAT_ITERATOR)

static const char *const tcp[] = { "tcp4", "tcp6", NULL };

static const struct map_case cases[] = {
	{ "visits", mappable_kinds, .run = visits, .needs = ITERATOR },
	{ "empty", NULL, .run = empty, .needs = ITERATOR },
	{ "copies", mappable_kinds, .run = copies, .needs = ITERATOR },
	{ "copies-to-other", mappable_kinds, .run = copies_to_other, .needs = ITERATOR },
	{ "every-key", mappable_kinds, .run = every_key, .needs = ITERATOR },
	{ "not-copied", tcp, .run = not_copied, .needs = ITERATOR },
	{ "again", mappable_kinds, .run = again, .needs = ITERATOR },
	{ "in-pieces", mappable_kinds, .run = in_pieces, .only = BPF_MAP_TYPE_SOCKMAP,
	  .needs = ITERATOR },
	{ "refused", NULL, .run = refused, .needs = ITERATOR },
	{ "keeps-map", mappable_kinds, .run = keeps_map, .needs = ITERATOR },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return map_case_describe(cases, ARRAY_SIZE(cases), i, sub);
}

static void run(unsigned int i)
{
	map_case_run(cases, ARRAY_SIZE(cases), i);
}

DEFINE_TEST(sockmap_iter, describe, run);
