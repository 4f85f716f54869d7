// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "harness/map_case.h"

static const struct {
	const char *name;
	enum bpf_map_type type;
	enum feature feature;
} maps[] = {
	{ "sockmap", BPF_MAP_TYPE_SOCKMAP, FEAT_SOCKMAP },
	{ "sockhash", BPF_MAP_TYPE_SOCKHASH, FEAT_SOCKHASH },
};

#define MAPPABLE_KINDS                                                               \
	"tcp4", "tcp6", "udp4", "udp6", "unix_stream", "unix_dgram", "vsock_stream", \
		"vsock_seqpacket"

const char *const mappable_kinds[] = { MAPPABLE_KINDS, NULL };
const char *const all_kinds[] = { MAPPABLE_KINDS, "unix_seqpacket", NULL };

/* ---- The plan -------------------------------------------------------------------------------- */

/* One pass, for a case that is about no kind. */
static const char *const no_kinds[] = { "", NULL };

static bool find_case(const struct map_case *table, size_t n, unsigned int i, unsigned int *map,
		      struct map_env *env)
{
	for (*map = 0; *map < ARRAY_SIZE(maps); ++*map) {
		for (const struct map_case *c = table; c < table + n; c++) {
			const char *const *kind = c->kinds ?: no_kinds;

			if (c->only && c->only != maps[*map].type)
				continue;
			for (; *kind; kind++) {
				if (c->fits && !c->fits(c, sock_kind(*kind)))
					continue;
				if (i-- > 0)
					continue;
				*env = (struct map_env){
					.type = maps[*map].type,
					.kind = c->kinds ? sock_kind(*kind) : NULL,
					.c = c,
				};
				return true;
			}
		}
	}
	return false;
}

static bool is_mappable(const struct sock_kind *kind)
{
	for (const char *const *name = mappable_kinds; *name; name++) {
		if (strcmp(*name, kind->name) == 0)
			return true;
	}
	return false;
}

static feature_set needs_of_kind(const struct sock_kind *kind)
{
	feature_set set = feature_bit(feature_of_kind(FEAT_SOCKET, kind));

	return is_mappable(kind) ? set | feature_bit(feature_of_kind(FEAT_INSERT, kind)) : set;
}

bool map_case_describe(const struct map_case *table, size_t n, unsigned int i, struct subtest *sub)
{
	struct map_env env;
	unsigned int map;

	if (!find_case(table, n, i, &map, &env))
		return false;
	snprintf(sub->name, sizeof(sub->name), "%s/%s%s%s", maps[map].name,
		 env.kind ? env.kind->name : "", env.kind ? "/" : "", env.c->name);
	subtest_dim(sub, "map", maps[map].name);
	sub->needs = feature_bit(maps[map].feature) | env.c->needs;
	if (env.kind) {
		subtest_dim(sub, "socket", env.kind->name);
		sub->needs |= needs_of_kind(env.kind);
	}
	if (env.c->other_kind)
		sub->needs |= needs_of_kind(sock_kind(env.c->other_kind));
	sub->uses = env.c->uses;
	sub->guards = env.c->guards;
	while (sub->guards && sub->guards[sub->nr_guards].commit)
		sub->nr_guards++;
	return true;
}

void map_case_run(const struct map_case *table, size_t n, unsigned int i)
{
	struct map_env env;
	unsigned int map;

	if (find_case(table, n, i, &map, &env))
		env.c->run(&env);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

int errno_no_entry(const struct map_env *env)
{
	return is_hash(env) ? ENOENT : EINVAL;
}

int make_map(const struct map_env *env, uint32_t max_entries)
{
	int fd = socket_map_create_sized(env->type, sizeof(uint32_t), max_entries);

	CHECK_OK(fd, "create a map for %u sockets", max_entries);
	return fd;
}

uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) ? -errno : 0, "SO_COOKIE");
	return cookie;
}

bool check_insert(int map_fd, uint32_t key, int fd)
{
	return CHECK_OK(socket_map_update(map_fd, key, fd, BPF_NOEXIST), "insert at key %u", key);
}

bool check_delete(int map_fd, uint32_t key)
{
	return CHECK_OK(socket_map_delete(map_fd, key), "delete of key %u", key);
}

bool check_entry(int map_fd, uint32_t key, int fd)
{
	uint64_t cookie = 0;
	int err = socket_map_lookup(map_fd, key, &cookie);

	if (fd < 0)
		return CHECK_ERR(err, ENOENT, "lookup of key %u, which has no entry", key);
	return CHECK_OK(err, "lookup of key %u", key) &&
	       CHECK_EQ(cookie, cookie_of(fd), "cookie at key %u", key);
}

bool check_closed(int map_fd, uint32_t key)
{
	uint64_t cookie;

	return CHECK_ERR(socket_map_lookup(map_fd, key, &cookie), ENOENT,
			 "lookup of key %u, whose socket was closed", key);
}
