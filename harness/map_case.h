/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests as tables of cases about the maps themselves: what is done to a map, with sockets of which
 * kinds. A case becomes a subtest for each type of map and each kind:
 *
 *	MAP/KIND/NAME, such as "sockhash/udp4/replace", or MAP/NAME where it is about no kind
 */
#ifndef MAP_CASE_H
#define MAP_CASE_H

#include <linux/bpf.h>

#include "harness/harness.h"
#include "network_helpers.h"

struct map_env;

struct map_case {
	const char *name;
	const char *const *kinds; /* names, ends with NULL; NULL: it is about no kind of socket */
	void (*run)(const struct map_env *env);
	unsigned int value; /* whatever tells cases with the same function apart */
	const void *data;   /* likewise */
	/* Whether there is such a case with this kind; NULL: with all. */
	bool (*fits)(const struct map_case *c, const struct sock_kind *kind);
	enum bpf_map_type only;	  /* in a map of this type; 0: of either */
	feature_set needs;	  /* besides the map, and sockets in it, if it takes them */
	feature_set uses;	  /* checked where the kernel can, and no more */
	const char *other_kind;	  /* NULL; or another kind, of which it puts sockets into the map */
	const struct fix *guards; /* ends with an empty entry; NULL: none */
};

/* What a case runs on. */
struct map_env {
	enum bpf_map_type type;
	const struct sock_kind *kind; /* NULL: none */
	const struct map_case *c;
};

/* The subtests of a table: as describe() and run() of struct test. */
bool map_case_describe(const struct map_case *table, size_t n, unsigned int i, struct subtest *sub);
void map_case_run(const struct map_case *table, size_t n, unsigned int i);

/* For a table's kinds: those that a map takes, and all. */
extern const char *const mappable_kinds[];
extern const char *const all_kinds[];

static inline bool is_hash(const struct map_env *env)
{
	return env->type == BPF_MAP_TYPE_SOCKHASH;
}

/* The two maps disagree on what it is to delete an entry that is not there: an errno. */
int errno_no_entry(const struct map_env *env);

/* ---- Steps that most cases take; true: their checks hold ------------------------------------- */

/* A map for that many sockets, keys of 4 bytes; its descriptor, or negative after a failed check. */
int make_map(const struct map_env *env, uint32_t max_entries);

/* The socket's SO_COOKIE: what a map gives for it. */
uint64_t cookie_of(int fd);

bool check_insert(int map_fd, uint32_t key, int fd);
bool check_delete(int map_fd, uint32_t key);

/* The entry is that socket; fd < 0: there is no entry. */
bool check_entry(int map_fd, uint32_t key, int fd);

/* There is no entry any more, since the socket was closed. */
bool check_closed(int map_fd, uint32_t key);

#endif /* MAP_CASE_H */
