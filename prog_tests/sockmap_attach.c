// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs of a map: who may be attached next to whom, which of them sockets get, and how they leave.
 *
 *	none			nothing is attached: queries say so, and detaching fails
 *	query			of each type: the id of what is attached, and nothing once it is detached
 *	wrong-type		programs, maps and attach types that do not belong together
 *	bad-descriptors		attach, detach, query and link with what is no map, or no program
 *	flags			that nobody has given a meaning are refused
 *	map-fdinfo		/proc says how much memory a map takes, more for more entries
 *	replace			attaching again replaces
 *	detach-other		only what is attached can be detached
 *	exclusive		a map has a verdict with a parser or one without, not both
 *	two-maps		a socket is subject to one program of a type: a second map with one does
 *				not take it; maps with programs of other types do
 *	two-verdicts		nor does one with the other type of verdict
 *	two-parsers		or with a second parser
 *	after-insert		sockets get the programs that the map has when they are inserted
 *	detached		a map that has lost its program gives none to those inserted later
 *	parser-refuses		a map with a parser takes TCP only
 *	parser-modifies		a parser that changes the skb: refused by new kernels
 *
 * By bpf_link:
 *
 *	link			attaches, says what it is, and detaches when it is closed
 *	link-detach		the same by BPF_LINK_DETACH
 *	link-exclusive		nobody attaches or detaches past a link, and no link on what is attached
 *	link-update		replaces the program; BPF_F_REPLACE only the one that is named
 *	link-fdinfo		/proc says what it attaches to which map
 *	link-keeps-map		a map whose descriptors are closed lives as long as its link
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "harness/harness.h"
#include "harness/map_case.h"
#include "network_helpers.h"
#include "progs/verdicts.h"
#include "attach.skel.h"

/* ---- Programs -------------------------------------------------------------------------------- */

struct attachable {
	enum bpf_attach_type type;
	const char *name;
	enum feature feature;
};

static const struct attachable attachables[] = {
	{ BPF_SK_MSG_VERDICT, "sk_msg", FEAT_MSG_VERDICT },
	{ BPF_SK_SKB_STREAM_PARSER, "parser", FEAT_STREAM_VERDICT },
	{ BPF_SK_SKB_STREAM_VERDICT, "parser's verdict", FEAT_STREAM_VERDICT },
	{ BPF_SK_SKB_VERDICT, "verdict", FEAT_SKB_VERDICT },
};

/* Two programs of each type. */
static int program(const struct attach_bpf *skel, enum bpf_attach_type type, unsigned int which)
{
	switch (type) {
	case BPF_SK_MSG_VERDICT:
		return bpf_program__fd(which ? skel->progs.msg_two : skel->progs.msg_one);
	case BPF_SK_SKB_STREAM_PARSER:
		return bpf_program__fd(which ? skel->progs.parser_two : skel->progs.parser_one);
	default:
		return bpf_program__fd(which ? skel->progs.skb_two : skel->progs.skb_one);
	}
}

#define __auto_attach __attribute__((cleanup(destroy_attach)))

static void destroy_attach(struct attach_bpf **skel)
{
	attach_bpf__destroy(*skel);
}

/* The programs, and a map for n sockets. */
static bool open_both(const struct map_env *env, uint32_t n, struct attach_bpf **skel, int *map_fd)
{
	*skel = attach_bpf__open_and_load();
	if (!CHECK(*skel, "load the BPF object"))
		return false;
	track_bpf_object((*skel)->obj);
	*map_fd = make_map(env, n);
	return *map_fd >= 0;
}

static int attach(int prog_fd, int map_fd, enum bpf_attach_type type)
{
	return bpf_prog_attach(prog_fd, map_fd, type, 0) ? -errno : 0;
}

static int detach(int prog_fd, int map_fd, enum bpf_attach_type type)
{
	return bpf_prog_detach2(prog_fd, map_fd, type) ? -errno : 0;
}

static int create_link(int prog_fd, int map_fd, enum bpf_attach_type type)
{
	int fd = bpf_link_create(prog_fd, map_fd, type, NULL);

	return fd < 0 ? -errno : fd;
}

static uint32_t program_id(int prog_fd)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);

	CHECK_OK(bpf_obj_get_info_by_fd(prog_fd, &info, &len) ? -errno : 0, "id of a program");
	return info.id;
}

static uint32_t map_id(int map_fd)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);

	CHECK_OK(bpf_obj_get_info_by_fd(map_fd, &info, &len) ? -errno : 0, "id of a map");
	return info.id;
}

/* The map has that program; prog_fd < 0: none. */
static bool check_query(int map_fd, enum bpf_attach_type type, int prog_fd)
{
	uint32_t ids[2] = {}, n = ARRAY_SIZE(ids), flags = 7;
	int err;

	if (!have_feature(FEAT_QUERY))
		return true;
	err = bpf_prog_query(map_fd, type, 0, &flags, ids, &n) ? -errno : 0;
	return CHECK_OK(err, "query") && CHECK_EQ(flags, 0, "flags of a query") &&
	       CHECK_EQ(n, prog_fd >= 0, "programs that a query reports") &&
	       CHECK_EQ(ids[0], prog_fd >= 0 ? program_id(prog_fd) : 0, "program of a query");
}

/* Do it for each type of program that this kernel can attach. */
static void for_each_type(const struct map_env *env,
			  void (*run)(const struct map_env *env, const struct attachable *a))
{
	for (size_t i = 0; i < ARRAY_SIZE(attachables); i++) {
		check_scope("%s", attachables[i].name);
		if (have_feature(attachables[i].feature))
			run(env, &attachables[i]);
	}
	check_scope(NULL);
}

/* ---- Attach and detach ----------------------------------------------------------------------- */

static void none_of_type(const struct map_env *env, const struct attachable *a)
{
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	check_query(map_fd, a->type, -1);
	CHECK_ERR(detach(program(skel, a->type, 0), map_fd, a->type), ENOENT, "detach from none");
	check_query(map_fd, a->type, -1);
}

static void none(const struct map_env *env)
{
	for_each_type(env, none_of_type);
}

/* Without room for ids, a query says how many there are. */
static void check_count(int map_fd, enum bpf_attach_type type)
{
	uint32_t id = 0, n = 0;

	CHECK_OK(bpf_prog_query(map_fd, type, 0, NULL, &id, &n) ? -errno : 0, "query without room");
	CHECK_EQ(n, 1, "programs that a query without room reports");
	CHECK_EQ(id, 0, "program of a query without room");
	n = 1;
	CHECK_OK(bpf_prog_query(map_fd, type, 0, NULL, NULL, &n) ? -errno : 0, "query for nobody");
	CHECK_EQ(n, 1, "programs that a query for nobody reports");
}

static void query_type(const struct map_env *env, const struct attachable *a)
{
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1;
	int prog;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	prog = program(skel, a->type, 0);
	CHECK_OK(attach(prog, map_fd, a->type), "attach");
	check_query(map_fd, a->type, prog);
	check_count(map_fd, a->type);
	for (size_t i = 0; i < ARRAY_SIZE(attachables); i++) {
		if (attachables[i].type == a->type || !have_feature(attachables[i].feature))
			continue;
		/* The verdicts exclude each other, and so do queries of them. */
		if (attachables[i].type != BPF_SK_MSG_VERDICT && a->type != BPF_SK_MSG_VERDICT)
			continue;
		check_query(map_fd, attachables[i].type, -1);
	}
	CHECK_OK(detach(prog, map_fd, a->type), "detach");
	check_query(map_fd, a->type, -1);
}

static void query(const struct map_env *env)
{
	for_each_type(env, query_type);
}

static int query_error(int map_fd, enum bpf_attach_type type, uint32_t flags)
{
	uint32_t id, n = 1;

	return bpf_prog_query(map_fd, type, flags, NULL, &id, &n) ? -errno : 0;
}

static void bad_descriptors_type(const struct map_env *env, const struct attachable *a)
{
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1;
	int prog;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	prog = program(skel, a->type, 0);
	CHECK_ERR(attach(-1, map_fd, a->type), EBADF, "attach without a program");
	CHECK_ERR(attach(map_fd, map_fd, a->type), EINVAL, "attach a map");
	CHECK_ERR(attach(prog, -1, a->type), EBADF, "attach without a map");
	CHECK_ERR(attach(prog, prog, a->type), EINVAL, "attach to a program");
	CHECK_ERR(detach(-1, map_fd, a->type), EBADF, "detach without a program");
	CHECK_ERR(detach(prog, -1, a->type), EBADF, "detach without a map");
	if (have_feature(FEAT_QUERY))
		CHECK_ERR(query_error(-1, a->type, 0), EBADF, "query without a map");
	if (have_feature(FEAT_LINK)) {
		CHECK_ERR(create_link(-1, map_fd, a->type), EBADF, "link without a program");
		CHECK_ERR(create_link(prog, -1, a->type), EBADF, "link without a map");
		CHECK_ERR(create_link(prog, prog, a->type), EINVAL, "link to a program");
	}
	check_query(map_fd, a->type, -1);
}

static void bad_descriptors(const struct map_env *env)
{
	for_each_type(env, bad_descriptors_type);
}

/* Of something that is attached, or the flags are not what it fails at. */
static int detach_with_flags(int prog_fd, int map_fd, enum bpf_attach_type type)
{
	union bpf_attr attr = {
		.target_fd = map_fd,
		.attach_bpf_fd = prog_fd,
		.attach_type = type,
		.attach_flags = BPF_F_ALLOW_OVERRIDE,
	};
	int err;

	if (!CHECK_OK(attach(prog_fd, map_fd, type), "attach"))
		return 0;
	err = syscall(SYS_bpf, BPF_PROG_DETACH, &attr, sizeof(attr)) ? -errno : 0;
	check_query(map_fd, type, prog_fd);
	CHECK_OK(detach(prog_fd, map_fd, type), "detach");
	return err;
}

static void flags_type(const struct map_env *env, const struct attachable *a)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = 1);
	LIBBPF_OPTS(bpf_prog_attach_opts, in_place_of);
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1;
	int prog;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	prog = program(skel, a->type, 0);
	in_place_of.replace_prog_fd = program(skel, a->type, 1);
	CHECK_ERR(bpf_prog_attach(prog, map_fd, a->type, BPF_F_ALLOW_OVERRIDE) ? -errno : 0, EINVAL,
		  "attach with BPF_F_ALLOW_OVERRIDE");
	CHECK_ERR(bpf_prog_attach_opts(prog, map_fd, a->type, &in_place_of) ? -errno : 0, EINVAL,
		  "attach in the place of a program");
	CHECK_ERR(detach_with_flags(prog, map_fd, a->type), EINVAL, "detach with flags");
	if (have_feature(FEAT_QUERY))
		CHECK_ERR(query_error(map_fd, a->type, BPF_F_QUERY_EFFECTIVE), EINVAL,
			  "query with BPF_F_QUERY_EFFECTIVE");
	if (have_feature(FEAT_LINK))
		CHECK_ERR(bpf_link_create(prog, map_fd, a->type, &opts) < 0 ? -errno : 0, EINVAL,
			  "link with flags");
	check_query(map_fd, a->type, -1);
}

static void flags(const struct map_env *env)
{
	for_each_type(env, flags_type);
}

/* What /proc says of a descriptor: the number behind "KEY:", or -1. */
static long long fdinfo(int fd, const char *key)
{
	size_t len = strlen(key);
	long long value = -1;
	char line[256];
	FILE *f;

	snprintf(line, sizeof(line), "/proc/self/fdinfo/%d", fd);
	f = fopen(line, "re");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, key, len) && line[len] == ':')
			value = strtoll(line + len + 1, NULL, 0);
	}
	fclose(f);
	return value;
}

static void map_fdinfo(const struct map_env *env)
{
	/* A pointer an entry is the least that either map allocates beforehand. */
	const uint32_t few = 4, many = 65536;
	int small __auto_close = make_map(env, few);
	int large __auto_close = make_map(env, many);

	if (small < 0 || large < 0)
		return;
	CHECK_EQ(fdinfo(small, "map_type"), env->type, "map_type");
	CHECK_EQ(fdinfo(small, "max_entries"), few, "max_entries");
	CHECK(fdinfo(large, "memlock") >= (long long)(many * sizeof(void *)),
	      "memlock of %u entries: %lld", many, fdinfo(large, "memlock"));
	CHECK(fdinfo(small, "memlock") < fdinfo(large, "memlock"), "memlock of %u entries: %lld",
	      few, fdinfo(small, "memlock"));
}

static void replace_type(const struct map_env *env, const struct attachable *a)
{
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1;
	int one, two;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	one = program(skel, a->type, 0);
	two = program(skel, a->type, 1);
	for (unsigned int i = 0; i < 3; i++) {
		CHECK_OK(attach(one, map_fd, a->type), "attach the first");
		check_query(map_fd, a->type, one);
		CHECK_OK(attach(two, map_fd, a->type), "attach the second");
		check_query(map_fd, a->type, two);
		CHECK_OK(attach(two, map_fd, a->type), "attach the second again");
	}
	CHECK_OK(detach(two, map_fd, a->type), "detach the second");
	check_query(map_fd, a->type, -1);
}

static void replace(const struct map_env *env)
{
	for_each_type(env, replace_type);
}

static void detach_other_type(const struct map_env *env, const struct attachable *a)
{
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1;
	int one, two;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	one = program(skel, a->type, 0);
	two = program(skel, a->type, 1);
	CHECK_OK(attach(one, map_fd, a->type), "attach");
	CHECK_ERR(detach(two, map_fd, a->type), ENOENT, "detach another");
	check_query(map_fd, a->type, one);
	CHECK_OK(detach(one, map_fd, a->type), "detach");
	CHECK_ERR(detach(one, map_fd, a->type), ENOENT, "detach twice");
}

static void detach_other(const struct map_env *env)
{
	for_each_type(env, detach_other_type);
}

static void wrong_type(const struct map_env *env)
{
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1, array __auto_close = -1;
	int msg, skb;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	array = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 8, 1, NULL);
	msg = program(skel, BPF_SK_MSG_VERDICT, 0);
	skb = program(skel, BPF_SK_SKB_STREAM_VERDICT, 0);
	CHECK_ERR(attach(msg, map_fd, BPF_SK_SKB_STREAM_VERDICT), EINVAL, "sk_msg as a verdict");
	CHECK_ERR(attach(skb, map_fd, BPF_SK_MSG_VERDICT), EINVAL, "sk_skb as sk_msg");
	CHECK_ERR(detach(msg, map_fd, BPF_SK_SKB_STREAM_VERDICT), EINVAL, "detach of the same");
	CHECK_ERR(detach(skb, map_fd, BPF_SK_MSG_VERDICT), EINVAL, "detach of the same");
	CHECK_ERR(attach(skb, array, BPF_SK_SKB_STREAM_VERDICT), EOPNOTSUPP, "to an array");
	if (have_feature(FEAT_QUERY))
		CHECK_ERR(query_error(array, BPF_SK_SKB_STREAM_VERDICT, 0), EOPNOTSUPP,
			  "query an array");
	if (have_feature(FEAT_LINK))
		CHECK_ERR(create_link(skb, array, BPF_SK_SKB_STREAM_VERDICT), EINVAL,
			  "link to an array");
	CHECK_ERR(attach(skb, -1, BPF_SK_SKB_STREAM_VERDICT), EBADF, "to no map");
	CHECK_ERR(attach(map_fd, map_fd, BPF_SK_SKB_STREAM_VERDICT), EINVAL, "of a map");
	CHECK_ERR(bpf_prog_attach(skb, map_fd, BPF_SK_SKB_STREAM_VERDICT, BPF_F_ALLOW_MULTI)
			  ? -errno
			  : 0,
		  EINVAL, "with flags");
	check_query(map_fd, BPF_SK_MSG_VERDICT, -1);
	check_query(map_fd, BPF_SK_SKB_STREAM_VERDICT, -1);
}

static void exclusive(const struct map_env *env)
{
	static const enum bpf_attach_type verdicts[] = { BPF_SK_SKB_VERDICT,
							 BPF_SK_SKB_STREAM_VERDICT };
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1;
	int prog;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	prog = program(skel, BPF_SK_SKB_VERDICT, 0);
	for (unsigned int i = 0; i < 4; i++) {
		enum bpf_attach_type type = verdicts[i % 2], other = verdicts[(i + 1) % 2];

		CHECK_OK(attach(prog, map_fd, type), "attach one verdict");
		CHECK_ERR(attach(prog, map_fd, other), EBUSY, "attach the other");
		CHECK_ERR(detach(prog, map_fd, other), EBUSY, "detach the other");
		CHECK_OK(detach(prog, map_fd, type), "detach the one");
	}
}

/* ---- Programs of sockets ---------------------------------------------------------------------- */

/* Send both ways; the programs that see it are the first, as often as stated, and no others. */
static bool check_seen(struct attach_bpf *skel, const struct sock_pair *pair, bool seen_by_one,
		       bool seen_by_two, const char *what)
{
	uint64_t one = skel->bss->one.count[SK_PASS], two = skel->bss->two.count[SK_PASS];

	check_traffic(pair);
	return CHECK_EQ(skel->bss->one.count[SK_PASS] - one, seen_by_one,
			"%s: messages that the first program has seen", what) &&
	       CHECK_EQ(skel->bss->two.count[SK_PASS] - two, seen_by_two,
			"%s: messages that the second program has seen", what);
}

static int update(int map_fd, int fd)
{
	return socket_map_update(map_fd, 0, fd, BPF_ANY);
}

static void after_insert(const struct map_env *env)
{
	struct attach_bpf *skel __auto_attach = NULL;
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	enum bpf_attach_type type = env->c->value;
	int map_fd __auto_close = -1;
	int one, two;

	if (!open_both(env, 1, &skel, &map_fd) ||
	    !CHECK_OK(make_pair(env->kind, &pair), "make a pair of sockets"))
		return;
	one = program(skel, type, 0);
	two = program(skel, type, 1);
	if (!check_insert(map_fd, 0, pair.mapped) ||
	    !CHECK_OK(attach(one, map_fd, type), "attach") ||
	    !check_seen(skel, &pair, false, false, "inserted before") || !check_delete(map_fd, 0) ||
	    !check_insert(map_fd, 0, pair.mapped) ||
	    !check_seen(skel, &pair, true, false, "inserted after") ||
	    !CHECK_OK(attach(two, map_fd, type), "replace the program") ||
	    !check_seen(skel, &pair, true, false, "inserted before the replacement") ||
	    !check_delete(map_fd, 0) || !check_seen(skel, &pair, false, false, "deleted") ||
	    !check_insert(map_fd, 0, pair.mapped))
		return;
	check_seen(skel, &pair, false, true, "inserted after the replacement");
}

static void detached(const struct map_env *env)
{
	struct attach_bpf *skel __auto_attach = NULL;
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	enum bpf_attach_type type = env->c->value;
	int map_fd __auto_close = -1;
	int prog;

	if (!open_both(env, 1, &skel, &map_fd) ||
	    !CHECK_OK(make_pair(env->kind, &pair), "make a pair of sockets"))
		return;
	prog = program(skel, type, 0);
	if (CHECK_OK(attach(prog, map_fd, type), "attach") &&
	    check_insert(map_fd, 0, pair.mapped) &&
	    check_seen(skel, &pair, true, false, "attached") &&
	    CHECK_OK(detach(prog, map_fd, type), "detach") && check_delete(map_fd, 0) &&
	    check_insert(map_fd, 0, pair.mapped))
		check_seen(skel, &pair, false, false, "inserted after the program was detached");
}

static void two_maps(const struct map_env *env)
{
	struct attach_bpf *skel __auto_attach = NULL;
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = -1, other __auto_close = make_map(env, 1);
	enum bpf_attach_type type = env->c->value;
	int one, two;

	if (other < 0 || !open_both(env, 2, &skel, &map_fd) ||
	    !CHECK_OK(make_pair(env->kind, &pair), "make a pair of sockets"))
		return;
	one = program(skel, type, 0);
	two = program(skel, type, 1);
	if (!CHECK_OK(attach(one, map_fd, type), "attach the first program to a map") ||
	    !CHECK_OK(attach(two, other, type), "attach the second one to another map") ||
	    !check_insert(map_fd, 0, pair.mapped))
		return;
	CHECK_ERR(update(other, pair.mapped), EBUSY, "insert into the map of the second program");
	check_entry(other, 0, -1);
	CHECK_ERR(socket_map_update(map_fd, 1, pair.mapped, BPF_ANY), EBUSY,
		  "insert at another key of its own map");
	CHECK_ERR(update(map_fd, pair.mapped), EBUSY, "replace it by itself");
	check_entry(map_fd, 0, pair.mapped);
	check_seen(skel, &pair, true, false, "after inserts that were refused");
	CHECK_OK(detach(two, other, type), "detach the second program");
	check_insert(other, 0, pair.mapped);
	check_seen(skel, &pair, true, false, "in a map without programs as well");
	check_delete(other, 0);
	check_delete(map_fd, 0);
	CHECK_OK(attach(two, other, type), "attach the second program again");
	check_insert(other, 0, pair.mapped);
	check_seen(skel, &pair, false, true, "in the other map only");
}

/* A socket in the one map is not let into the other. */
static void check_exclude(int map_fd, int other, const struct sock_pair *pair, const char *what)
{
	if (!check_insert(map_fd, 0, pair->mapped))
		return;
	CHECK_ERR(update(other, pair->mapped), EBUSY, "%s", what);
	check_entry(other, 0, -1);
	check_delete(map_fd, 0);
	check_traffic(pair);
}

/* A verdict with a parser and one without are both about what the socket receives. */
static void two_verdicts(const struct map_env *env)
{
	struct attach_bpf *skel __auto_attach = NULL;
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = -1, other __auto_close = make_map(env, 1);

	if (other < 0 || !open_both(env, 1, &skel, &map_fd) ||
	    !CHECK_OK(make_pair(env->kind, &pair), "make a pair of sockets") ||
	    !CHECK_OK(attach(program(skel, BPF_SK_SKB_VERDICT, 0), map_fd, BPF_SK_SKB_VERDICT),
		      "attach a verdict") ||
	    !CHECK_OK(attach(program(skel, BPF_SK_SKB_STREAM_VERDICT, 1), other,
			     BPF_SK_SKB_STREAM_VERDICT),
		      "attach a parser's verdict to another map"))
		return;
	check_exclude(map_fd, other, &pair, "insert into the map with a parser's verdict");
	check_exclude(other, map_fd, &pair, "insert into the map with a verdict");
}

static void two_parsers(const struct map_env *env)
{
	enum bpf_attach_type type = BPF_SK_SKB_STREAM_PARSER;
	struct attach_bpf *skel __auto_attach = NULL;
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = -1, other __auto_close = make_map(env, 1);

	if (other < 0 || !open_both(env, 1, &skel, &map_fd) ||
	    !CHECK_OK(make_pair(env->kind, &pair), "make a pair of sockets") ||
	    !CHECK_OK(attach(program(skel, type, 0), map_fd, type), "attach a parser") ||
	    !CHECK_OK(attach(program(skel, type, 1), other, type),
		      "attach a parser to another map"))
		return;
	check_exclude(map_fd, other, &pair, "insert into the map of the second parser");
	check_exclude(other, map_fd, &pair, "insert into the map of the first parser");
}

/* And what it has refused is as it was, and can be inserted when the parser has gone. */
static void parser_refuses(const struct map_env *env)
{
	struct attach_bpf *skel __auto_attach = NULL;
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = -1;
	int parser, verdict;

	if (!open_both(env, 1, &skel, &map_fd) ||
	    !CHECK_OK(make_pair(env->kind, &pair), "make a pair of sockets"))
		return;
	parser = program(skel, BPF_SK_SKB_STREAM_PARSER, 0);
	verdict = program(skel, BPF_SK_SKB_STREAM_VERDICT, 0);
	if (!CHECK_OK(attach(parser, map_fd, BPF_SK_SKB_STREAM_PARSER), "attach a parser") ||
	    !CHECK_OK(attach(verdict, map_fd, BPF_SK_SKB_STREAM_VERDICT), "attach its verdict"))
		return;
	for (unsigned int i = 0; i < 2; i++) {
		CHECK_ERR(update(map_fd, pair.mapped), EOPNOTSUPP,
			  "insert into a map with a parser, which is for TCP");
		check_entry(map_fd, 0, -1);
	}
	check_seen(skel, &pair, false, false, "refused");
	CHECK_OK(detach(parser, map_fd, BPF_SK_SKB_STREAM_PARSER), "detach the parser");
	if (check_insert(map_fd, 0, pair.mapped))
		check_seen(skel, &pair, true, false, "inserted without the parser");
}

static void parser_modifies(const struct map_env *env)
{
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1, link __auto_close = -1;
	enum bpf_attach_type type = BPF_SK_SKB_STREAM_PARSER;
	int good, bad;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	good = program(skel, type, 0);
	bad = bpf_program__fd(skel->progs.parser_modifies);
	CHECK_ERR(attach(bad, map_fd, type), EINVAL, "attach a parser that changes the skb");
	check_query(map_fd, type, -1);
	CHECK_OK(attach(good, map_fd, type), "attach one that does not");
	CHECK_ERR(attach(bad, map_fd, type), EINVAL, "replace it by one that changes the skb");
	check_query(map_fd, type, good);
	CHECK_OK(attach(bad, map_fd, BPF_SK_SKB_STREAM_VERDICT), "attach the same as a verdict");
	CHECK_OK(detach(good, map_fd, type), "detach the parser");
	if (!have_feature(FEAT_LINK))
		return;
	CHECK_ERR(create_link(bad, map_fd, type), EINVAL, "link a parser that changes the skb");
	link = create_link(good, map_fd, type);
	if (!CHECK_OK(link, "link one that does not"))
		return;
	CHECK_ERR(bpf_link_update(link, bad, NULL) ? -errno : 0, EINVAL,
		  "update it to one that changes the skb");
	check_query(map_fd, type, good);
}

/* ---- Links ----------------------------------------------------------------------------------- */

/* As the kernel has it since Linux 6.10; the headers here may be older. */
#define LINK_TYPE_SOCKMAP 14
struct sockmap_link_info {
	uint32_t type, id, prog_id, padding;
	uint32_t map_id, attach_type;
};

static bool check_link_info(int link_fd, enum bpf_attach_type type, uint32_t map, int prog_fd)
{
	struct sockmap_link_info info = {};
	uint32_t len = sizeof(info);

	return CHECK_OK(bpf_obj_get_info_by_fd(link_fd, &info, &len) ? -errno : 0,
			"information about a link") &&
	       CHECK_EQ(info.type, LINK_TYPE_SOCKMAP, "type of the link") &&
	       CHECK_EQ(info.prog_id, program_id(prog_fd), "program of the link") &&
	       CHECK_EQ(info.map_id, map, "map of the link") &&
	       CHECK_EQ(info.attach_type, type, "attach type of the link");
}

static void link_type(const struct map_env *env, const struct attachable *a)
{
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1, link __auto_close = -1;
	int prog;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	prog = program(skel, a->type, 0);
	for (unsigned int i = 0; i < 3; i++) {
		link = create_link(prog, map_fd, a->type);
		if (!CHECK_OK(link, "make a link"))
			return;
		check_link_info(link, a->type, map_id(map_fd), prog);
		check_query(map_fd, a->type, prog);
		close_fd(&link);
		check_query(map_fd, a->type, -1);
	}
	CHECK_OK(attach(prog, map_fd, a->type), "attach after the link");
}

static void make_link(const struct map_env *env)
{
	for_each_type(env, link_type);
}

static void link_detach_type(const struct map_env *env, const struct attachable *a)
{
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1, link __auto_close = -1;
	int prog;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	prog = program(skel, a->type, 0);
	link = create_link(prog, map_fd, a->type);
	if (!CHECK_OK(link, "make a link") ||
	    !CHECK_OK(bpf_link_detach(link) ? -errno : 0, "detach it"))
		return;
	check_link_info(link, a->type, 0, prog);
	check_query(map_fd, a->type, -1);
	CHECK_ERR(bpf_link_update(link, prog, NULL) ? -errno : 0, ENOLINK,
		  "update what is detached");
	CHECK_OK(bpf_link_detach(link) ? -errno : 0, "detach it twice");
	CHECK_OK(attach(prog, map_fd, a->type), "attach after the link");
	close_fd(&link);
	check_query(map_fd, a->type, prog);
}

static void link_detach(const struct map_env *env)
{
	for_each_type(env, link_detach_type);
}

static void link_exclusive_type(const struct map_env *env, const struct attachable *a)
{
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1, link __auto_close = -1;
	int one, two;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	one = program(skel, a->type, 0);
	two = program(skel, a->type, 1);
	link = create_link(one, map_fd, a->type);
	if (!CHECK_OK(link, "make a link"))
		return;
	CHECK_ERR(create_link(two, map_fd, a->type), EBUSY, "a second link");
	CHECK_ERR(attach(two, map_fd, a->type), EBUSY, "attach past the link");
	CHECK_ERR(detach(one, map_fd, a->type), EBUSY, "detach past the link");
	check_query(map_fd, a->type, one);
	close_fd(&link);
	CHECK_OK(attach(two, map_fd, a->type), "attach");
	/* A link takes the place of what was attached without one. */
	link = create_link(one, map_fd, a->type);
	if (CHECK_OK(link, "make a link in the place of a program"))
		check_query(map_fd, a->type, one);
}

static void link_exclusive(const struct map_env *env)
{
	for_each_type(env, link_exclusive_type);
}

static int update_link(int link_fd, int new_fd, int old_fd)
{
	LIBBPF_OPTS(bpf_link_update_opts, opts, .flags = BPF_F_REPLACE, .old_prog_fd = old_fd);

	return bpf_link_update(link_fd, new_fd, old_fd < 0 ? NULL : &opts) ? -errno : 0;
}

static void link_update_type(const struct map_env *env, const struct attachable *a)
{
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1, link __auto_close = -1;
	bool is_msg = a->type == BPF_SK_MSG_VERDICT,
	     is_parser = a->type == BPF_SK_SKB_STREAM_PARSER;
	int one, two, wrong, other;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	one = program(skel, a->type, 0);
	two = program(skel, a->type, 1);
	wrong = program(skel, is_msg ? BPF_SK_SKB_VERDICT : BPF_SK_MSG_VERDICT, 0);
	other = program(skel, is_parser ? BPF_SK_SKB_VERDICT : BPF_SK_SKB_STREAM_PARSER, 0);
	link = create_link(one, map_fd, a->type);
	if (!CHECK_OK(link, "make a link"))
		return;
	CHECK_OK(update_link(link, two, -1), "update");
	check_query(map_fd, a->type, two);
	check_link_info(link, a->type, map_id(map_fd), two);
	CHECK_ERR(update_link(link, one, one), EPERM, "BPF_F_REPLACE of what is not attached");
	check_query(map_fd, a->type, two);
	CHECK_OK(update_link(link, one, two), "BPF_F_REPLACE of what is attached");
	check_query(map_fd, a->type, one);
	CHECK_ERR(update_link(link, wrong, -1), EINVAL, "update to a program of another type");
	check_query(map_fd, a->type, one);
	CHECK_ERR(update_link(link, other, -1), EINVAL, "update to a program to attach elsewhere");
	check_query(map_fd, a->type, one);
	CHECK_OK(update_link(link, one, one), "BPF_F_REPLACE by the same");
	check_link_info(link, a->type, map_id(map_fd), one);
}

static void link_update(const struct map_env *env)
{
	for_each_type(env, link_update_type);
}

static void link_fdinfo_type(const struct map_env *env, const struct attachable *a)
{
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1, link __auto_close = -1;
	int prog;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	prog = program(skel, a->type, 0);
	link = create_link(prog, map_fd, a->type);
	if (!CHECK_OK(link, "make a link"))
		return;
	CHECK_EQ(fdinfo(link, "prog_id"), program_id(prog), "prog_id");
	CHECK_EQ(fdinfo(link, "map_id"), map_id(map_fd), "map_id");
	CHECK_EQ(fdinfo(link, "attach_type"), a->type, "attach_type");
	CHECK_OK(bpf_link_detach(link) ? -errno : 0, "detach");
	CHECK_EQ(fdinfo(link, "map_id"), 0, "map_id of a link that is detached");
}

static void link_fdinfo(const struct map_env *env)
{
	for_each_type(env, link_fdinfo_type);
}

static void link_keeps_map_type(const struct map_env *env, const struct attachable *a)
{
	struct attach_bpf *skel __auto_attach = NULL;
	int map_fd __auto_close = -1, link __auto_close = -1;
	uint32_t id;

	if (!open_both(env, 1, &skel, &map_fd))
		return;
	link = create_link(program(skel, a->type, 0), map_fd, a->type);
	if (!CHECK_OK(link, "make a link"))
		return;
	id = map_id(map_fd);
	close_fd(&map_fd);
	check_link_info(link, a->type, id, program(skel, a->type, 0));
	map_fd = bpf_map_get_fd_by_id(id);
	if (CHECK_OK(map_fd < 0 ? -errno : 0, "the map of the link"))
		check_query(map_fd, a->type, program(skel, a->type, 0));
}

static void link_keeps_map(const struct map_env *env)
{
	for_each_type(env, link_keeps_map_type);
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const char *const tcp[] = { "tcp4", "tcp6", NULL };
static const char *const not_tcp[] = {
	"udp4", "udp6", "unix_stream", "unix_dgram", "vsock_stream", "vsock_seqpacket", NULL,
};

static const struct fix parser_fixes[] = {
	{ "5459cce6bf49", "bpf: Disable non stream socket for strparser" },
	{ "218d747a4142", "bpf, sockmap: Fix double bpf_prog_put on error case in map_link" },
	{},
};

/* Not calls of feature_bit(), since these have to be constants. */
#define SKB_VERDICT    ((feature_set)1 << FEAT_SKB_VERDICT)
#define STREAM_VERDICT ((feature_set)1 << FEAT_STREAM_VERDICT)
#define MSG_VERDICT    ((feature_set)1 << FEAT_MSG_VERDICT)
#define LINK	       ((feature_set)1 << FEAT_LINK)
#define QUERY	       ((feature_set)1 << FEAT_QUERY)
#define ALL_TYPES      (MSG_VERDICT | STREAM_VERDICT | SKB_VERDICT)
#define PARSER_LOOKS   ((feature_set)1 << FEAT_PARSER_LOOKS)

static const struct map_case cases[] = {
	{ "none", NULL, .run = none, .uses = ALL_TYPES | QUERY },
	{ "query", NULL, .run = query, .needs = QUERY, .uses = ALL_TYPES },
	{ "wrong-type", NULL, .run = wrong_type, .uses = QUERY | LINK },
	{ "bad-descriptors", NULL, .run = bad_descriptors, .uses = ALL_TYPES | QUERY | LINK },
	{ "flags", NULL, .run = flags, .uses = ALL_TYPES | QUERY | LINK },
	{ "map-fdinfo", NULL, .run = map_fdinfo },
	{ "replace", NULL, .run = replace, .uses = ALL_TYPES | QUERY },
	{ "detach-other", NULL, .run = detach_other, .uses = ALL_TYPES | QUERY },
	{ "exclusive", NULL, .run = exclusive, .needs = SKB_VERDICT },
	{ "two-maps-sk_msg", tcp, .run = two_maps, .value = BPF_SK_MSG_VERDICT,
	  .needs = MSG_VERDICT },
	{ "two-maps-parser", tcp, .run = two_maps, .value = BPF_SK_SKB_STREAM_VERDICT,
	  .needs = STREAM_VERDICT },
	{ "two-maps-sk_skb", mappable_kinds, .run = two_maps, .value = BPF_SK_SKB_VERDICT,
	  .needs = SKB_VERDICT },
	{ "two-verdicts", tcp, .run = two_verdicts, .needs = SKB_VERDICT | STREAM_VERDICT },
	{ "two-parsers", tcp, .run = two_parsers, .needs = STREAM_VERDICT },
	{ "after-insert-sk_msg", tcp, .run = after_insert, .value = BPF_SK_MSG_VERDICT,
	  .needs = MSG_VERDICT },
	{ "after-insert-parser", tcp, .run = after_insert, .value = BPF_SK_SKB_STREAM_VERDICT,
	  .needs = STREAM_VERDICT },
	{ "after-insert-sk_skb", mappable_kinds, .run = after_insert, .value = BPF_SK_SKB_VERDICT,
	  .needs = SKB_VERDICT },
	{ "detached-sk_msg", tcp, .run = detached, .value = BPF_SK_MSG_VERDICT,
	  .needs = MSG_VERDICT },
	{ "detached-parser", tcp, .run = detached, .value = BPF_SK_SKB_STREAM_VERDICT,
	  .needs = STREAM_VERDICT },
	{ "detached-sk_skb", mappable_kinds, .run = detached, .value = BPF_SK_SKB_VERDICT,
	  .needs = SKB_VERDICT },
	{ "parser-refuses", not_tcp, .run = parser_refuses, .needs = STREAM_VERDICT,
	  .guards = parser_fixes },
	{ "parser-modifies", NULL, .run = parser_modifies, .needs = PARSER_LOOKS,
	  .uses = LINK | QUERY },

	{ "link", NULL, .run = make_link, .needs = LINK, .uses = ALL_TYPES | QUERY },
	{ "link-detach", NULL, .run = link_detach, .needs = LINK, .uses = ALL_TYPES | QUERY },
	{ "link-exclusive", NULL, .run = link_exclusive, .needs = LINK, .uses = ALL_TYPES | QUERY },
	{ "link-update", NULL, .run = link_update, .needs = LINK, .uses = ALL_TYPES | QUERY },
	{ "link-fdinfo", NULL, .run = link_fdinfo, .needs = LINK, .uses = ALL_TYPES },
	{ "link-keeps-map", NULL, .run = link_keeps_map, .needs = LINK, .uses = ALL_TYPES | QUERY },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return map_case_describe(cases, ARRAY_SIZE(cases), i, sub);
}

static void run(unsigned int i)
{
	map_case_run(cases, ARRAY_SIZE(cases), i);
}

DEFINE_TEST(sockmap_attach, describe, run);
