// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the verifier lets programs do with maps of sockets, and in the programs of such maps.
 *
 *	update/TYPE		bpf_map_update_elem() and bpf_map_delete_elem() on the map, from programs
 *	delete/TYPE		of each type: only where the socket's lock cannot be held already
 *	sockops-helper		the helper that sock_ops programs have instead
 *	redirect		each redirection helper, from each type of program, on each map: only
 *				where they belong together
 *	lookup			sockets that are looked up are checked for NULL, and released
 *	access-sk_msg		each field of the context: sizes in which it can be read and written
 *	access-sk_skb		the same
 *	data-sk_msg		the data: within checked bounds, for reading and writing
 *	data-sk_skb		the same
 *	stale-sk_msg		no pointers to the data outlast a helper that moves it
 *	stale-sk_skb		the same
 *
 * A program that is to be refused has a twin that differs in nothing but the offence. Where that one
 * does not load, the kernel has no such thing, and nothing is learnt from the refusal.
 */
#include <errno.h>
#include <regex.h>
#include <stddef.h>
#include <stdio.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "harness/harness.h"
#include "harness/map_case.h"

/* ---- Programs, instruction by instruction ----------------------------------------------------- */

#define INSNS_MAX 64

struct assembly {
	struct bpf_insn insns[INSNS_MAX];
	unsigned int n;
};

static void emit(struct assembly *a, struct bpf_insn insn)
{
	if (a->n < INSNS_MAX)
		a->insns[a->n] = insn;
	a->n++;
}

static void move(struct assembly *a, int dst, int src)
{
	emit(a, (struct bpf_insn){
			.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = dst, .src_reg = src });
}

static void set(struct assembly *a, int dst, int value)
{
	emit(a, (struct bpf_insn){
			.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = dst, .imm = value });
}

static void add(struct assembly *a, int dst, int value)
{
	emit(a, (struct bpf_insn){
			.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = dst, .imm = value });
}

/* BPF_B, ... for a length in bytes. */
static int size_code(size_t size)
{
	return size == 8 ? BPF_DW : size == 4 ? BPF_W : size == 2 ? BPF_H : BPF_B;
}

static void load(struct assembly *a, int dst, int src, int off, size_t size)
{
	emit(a, (struct bpf_insn){ .code = BPF_LDX | BPF_MEM | size_code(size),
				   .dst_reg = dst,
				   .src_reg = src,
				   .off = off });
}

static void store(struct assembly *a, int dst, int src, int off, size_t size)
{
	emit(a, (struct bpf_insn){ .code = BPF_STX | BPF_MEM | size_code(size),
				   .dst_reg = dst,
				   .src_reg = src,
				   .off = off });
}

static void load_map(struct assembly *a, int dst, int map_fd)
{
	emit(a, (struct bpf_insn){ .code = BPF_LD | BPF_DW | BPF_IMM,
				   .dst_reg = dst,
				   .src_reg = BPF_PSEUDO_MAP_FD,
				   .imm = map_fd });
	emit(a, (struct bpf_insn){ .code = 0 });
}

static void call(struct assembly *a, enum bpf_func_id helper)
{
	emit(a, (struct bpf_insn){ .code = BPF_JMP | BPF_CALL, .imm = helper });
}

/* Skip the next `over` instructions if the comparison with a register, or 0, holds. */
static void jump_if(struct assembly *a, int op, int dst, int src, int over)
{
	emit(a, (struct bpf_insn){ .code = BPF_JMP | op | (src < 0 ? BPF_K : BPF_X),
				   .dst_reg = dst,
				   .src_reg = src < 0 ? 0 : src,
				   .off = over });
}

/* return 0, which every type of program may. */
static void leave(struct assembly *a)
{
	set(a, BPF_REG_0, 0);
	emit(a, (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT });
}

/* Two instructions more than the jump. */
static void leave_if_null(struct assembly *a, int reg)
{
	jump_if(a, BPF_JNE, reg, -1, 2);
	leave(a);
}

/* A register that points to a key, 0. */
static void point_to_key(struct assembly *a, int dst)
{
	emit(a, (struct bpf_insn){ .code = BPF_ST | BPF_MEM | BPF_W,
				   .dst_reg = BPF_REG_10,
				   .off = -(int)sizeof(uint32_t) });
	move(a, dst, BPF_REG_10);
	add(a, dst, -(int)sizeof(uint32_t));
}

/* Registers that outlast calls. */
#define CTX  BPF_REG_6
#define SK   BPF_REG_7
#define DATA BPF_REG_8
#define END  BPF_REG_9

/* ---- Loading --------------------------------------------------------------------------------- */

/* What programs of each type are loaded with. */
struct program_type {
	enum bpf_prog_type type;
	enum bpf_attach_type attach;
	const char *target; /* NULL, or what an iterator is of, or the function that is traced */
};

static const struct program_type sk_msg = { BPF_PROG_TYPE_SK_MSG, 0, NULL };
static const struct program_type sk_skb = { BPF_PROG_TYPE_SK_SKB, 0, NULL };

static char verifier_log[1 << 16];

/* 0 or -errno, with the verifier's opinion in verifier_log. */
static int try_load(const struct program_type *type, const struct assembly *a)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = type->attach,
		    .log_buf = verifier_log, .log_size = sizeof(verifier_log), .log_level = 1);
	int fd __auto_close = -1;

	verifier_log[0] = '\0';
	if (type->target) {
		int id = libbpf_find_vmlinux_btf_id(type->target, type->attach);

		if (id < 0)
			return id;
		opts.attach_btf_id = id;
	}
	if (!CHECK(a->n <= INSNS_MAX, "the program has %u instructions", a->n))
		return -E2BIG;
	fd = bpf_prog_load(type->type, "verify", "GPL", a->insns, a->n, &opts);
	return fd < 0 ? -errno : 0;
}

/* The last lines tell. */
static const char *end_of_log(void)
{
	size_t len = strnlen(verifier_log, sizeof(verifier_log));

	return len > 400 ? verifier_log + len - 400 : verifier_log;
}

static bool check_loads(const struct program_type *type, const struct assembly *a, const char *what)
{
	int err = try_load(type, a);

	return err ? CHECK_OK(err, "%s: load: %s", what, end_of_log())
		   : CHECK_OK(err, "%s: load", what);
}

static bool says(const char *regex)
{
	regex_t compiled;
	bool found;

	if (!CHECK_EQ(regcomp(&compiled, regex, REG_EXTENDED | REG_NOSUB), 0, "the pattern %s",
		      regex))
		return false;
	found = regexec(&compiled, verifier_log, 0, NULL, 0) == 0;
	regfree(&compiled);
	return found;
}

static bool check_refused(const struct program_type *type, const struct assembly *a,
			  const char *reason, const char *what)
{
	int err = try_load(type, a);

	return CHECK(err == -EACCES || err == -EINVAL, "%s: refused (%d)", what, err) &&
	       CHECK(says(reason), "%s: the verifier says \"%s\": %s", what, reason, end_of_log());
}

/* Why programs are refused: what all kernels say. */
#define BAD_MAP	    "cannot pass map_type"
#define BAD_HELPER  "unknown func|cannot use helper"
#define BAD_CONTEXT "invalid bpf_context access"
#define BAD_PACKET  "invalid access to packet"
#define BAD_POINTER "invalid mem access"
#define BAD_ARG	    "type=.* expected="
#define UNRELEASED  "Unreleased reference"

/* ---- Update and delete ----------------------------------------------------------------------- */

/* Where the socket to insert comes from: the field of the context, or a look-up in the map. */
#define LOOKUP (-1)

enum verdict {
	LOADS,
	REJECTED,
	/*
	 * Up to Linux 7.2 programs that see packets could do it; nothing makes sure that they are
	 * not called with the socket locked.
	 */
	REJECTED_LATER,
	NOTHING, /* there is no such thing to do */
};

struct mutator {
	struct program_type type;
	int sk; /* offset of a socket in the context, or LOOKUP */
	enum verdict verdicts[2];
};

/* Into SK, or leave. */
static void get_socket(struct assembly *a, int map_fd, int sk)
{
	if (sk == LOOKUP) {
		load_map(a, BPF_REG_1, map_fd);
		point_to_key(a, BPF_REG_2);
		call(a, BPF_FUNC_map_lookup_elem);
		move(a, SK, BPF_REG_0);
	} else {
		load(a, SK, CTX, sk, sizeof(uint64_t));
	}
	leave_if_null(a, SK);
}

static void mutate(struct assembly *a, int map_fd, enum bpf_func_id helper)
{
	load_map(a, BPF_REG_1, map_fd);
	point_to_key(a, BPF_REG_2);
	move(a, BPF_REG_3, SK);
	set(a, BPF_REG_4, 0);
	call(a, helper);
}

static void finish(struct assembly *a, const struct mutator *m, bool updates)
{
	if (updates && m->sk == LOOKUP) {
		move(a, BPF_REG_1, SK);
		call(a, BPF_FUNC_sk_release);
	}
	leave(a);
}

static void begin(struct assembly *a, const struct mutator *m, int map_fd, bool updates)
{
	move(a, CTX, BPF_REG_1);
	if (updates)
		get_socket(a, map_fd, m->sk);
	else
		set(a, SK, 0);
}

static void check_mutator(const struct map_env *env)
{
	const struct mutator *m = env->c->data;
	enum bpf_func_id helper = env->c->value;
	bool updates = helper == BPF_FUNC_map_update_elem;
	enum verdict verdict = m->verdicts[!updates];
	int map_fd __auto_close = make_map(env, 1);
	struct assembly twin = {}, a = {};
	int err;

	if (map_fd < 0)
		return;
	if (verdict == REJECTED_LATER)
		verdict = have_feature(FEAT_PACKET_UPDATE) ? LOADS : REJECTED;
	begin(&twin, m, map_fd, updates);
	finish(&twin, m, updates);
	err = try_load(&m->type, &twin);
	if (err) {
		skip("this kernel has no such program (%s)", strerrorname_np(-err));
		return;
	}

	begin(&a, m, map_fd, updates);
	mutate(&a, map_fd, helper);
	finish(&a, m, updates);
	if (verdict == LOADS)
		check_loads(&m->type, &a, env->c->name);
	else
		check_refused(&m->type, &a, BAD_MAP, env->c->name);
}

static bool can_mutate(const struct map_case *c, const struct sock_kind *kind)
{
	const struct mutator *m = c->data;

	(void)kind;
	return m->verdicts[c->value == BPF_FUNC_map_delete_elem] != NOTHING;
}

static void sockops_helper(const struct map_env *env)
{
	static const struct program_type sock_ops = { BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS,
						      NULL };
	static const struct program_type others[] = {
		{ BPF_PROG_TYPE_SK_SKB, 0, NULL },
		{ BPF_PROG_TYPE_SK_MSG, 0, NULL },
		{ BPF_PROG_TYPE_SCHED_CLS, 0, NULL },
	};
	static const enum bpf_func_id helpers[] = { BPF_FUNC_sock_map_update,
						    BPF_FUNC_sock_hash_update };
	int map_fd __auto_close = make_map(env, 1);

	for (unsigned int h = 0; map_fd >= 0 && h < ARRAY_SIZE(helpers); h++) {
		bool fits = (helpers[h] == BPF_FUNC_sock_hash_update) == is_hash(env);
		struct assembly a = {};

		load_map(&a, BPF_REG_2, map_fd);
		point_to_key(&a, BPF_REG_3);
		set(&a, BPF_REG_4, 0);
		call(&a, helpers[h]);
		leave(&a);
		if (fits)
			check_loads(&sock_ops, &a, "the helper of the map");
		else
			check_refused(&sock_ops, &a, BAD_MAP, "the helper of the other map");
		for (unsigned int i = 0; i < ARRAY_SIZE(others); i++)
			check_refused(&others[i], &a, BAD_HELPER, "another type of program");
	}
}

/* ---- Redirection and look-up ----------------------------------------------------------------- */

static void redirect(const struct map_env *env)
{
	static const struct {
		const char *what;
		enum bpf_func_id helper;
		bool hash, msg;
	} helpers[] = {
		{ "bpf_sk_redirect_map()", BPF_FUNC_sk_redirect_map, false, false },
		{ "bpf_sk_redirect_hash()", BPF_FUNC_sk_redirect_hash, true, false },
		{ "bpf_msg_redirect_map()", BPF_FUNC_msg_redirect_map, false, true },
		{ "bpf_msg_redirect_hash()", BPF_FUNC_msg_redirect_hash, true, true },
	};
	static const struct program_type tc = { BPF_PROG_TYPE_SCHED_CLS, 0, NULL };
	int map_fd __auto_close = make_map(env, 1);

	for (unsigned int i = 0; map_fd >= 0 && i < ARRAY_SIZE(helpers); i++) {
		const struct program_type *mine = helpers[i].msg ? &sk_msg : &sk_skb;
		const struct program_type *other = helpers[i].msg ? &sk_skb : &sk_msg;
		struct assembly a = {};

		load_map(&a, BPF_REG_2, map_fd);
		if (helpers[i].hash)
			point_to_key(&a, BPF_REG_3);
		else
			set(&a, BPF_REG_3, 0);
		set(&a, BPF_REG_4, 0);
		call(&a, helpers[i].helper);
		leave(&a);
		if (helpers[i].hash == is_hash(env))
			check_loads(mine, &a, helpers[i].what);
		else
			check_refused(mine, &a, BAD_MAP, helpers[i].what);
		check_refused(other, &a, BAD_HELPER, helpers[i].what);
		check_refused(&tc, &a, BAD_HELPER, helpers[i].what);
	}
}

enum lookup_offence { NO_OFFENCE, NO_NULL_CHECK, NO_RELEASE, RELEASED_TWICE, WRITTEN_TO };

static struct assembly assemble_lookup(int map_fd, enum lookup_offence offence)
{
	int releases = offence == NO_RELEASE ? 0 : offence == RELEASED_TWICE ? 2 : 1;
	struct assembly a = {};

	load_map(&a, BPF_REG_1, map_fd);
	point_to_key(&a, BPF_REG_2);
	call(&a, BPF_FUNC_map_lookup_elem);
	move(&a, SK, BPF_REG_0);
	if (offence != NO_NULL_CHECK)
		leave_if_null(&a, SK);
	load(&a, DATA, SK, offsetof(struct bpf_sock, family), sizeof(uint32_t));
	if (offence == WRITTEN_TO)
		store(&a, SK, DATA, offsetof(struct bpf_sock, mark), sizeof(uint32_t));
	for (int i = 0; i < releases; i++) {
		move(&a, BPF_REG_1, SK);
		call(&a, BPF_FUNC_sk_release);
	}
	leave(&a);
	return a;
}

static void lookup(const struct map_env *env)
{
	static const struct {
		enum lookup_offence offence;
		const char *what, *reason;
	} offences[] = {
		{ NO_NULL_CHECK, "no check for NULL", BAD_POINTER },
		{ NO_RELEASE, "never released", UNRELEASED },
		{ RELEASED_TWICE, "released twice", "." },
		{ WRITTEN_TO, "written to", "cannot write into|invalid sock access|only read" },
	};
	static const struct {
		const char *what;
		struct program_type type;
	} types[] = {
		{ "sk_skb", { BPF_PROG_TYPE_SK_SKB, 0, NULL } },
		{ "tc", { BPF_PROG_TYPE_SCHED_CLS, 0, NULL } },
	};
	int map_fd __auto_close = make_map(env, 1);

	for (unsigned int t = 0; map_fd >= 0 && t < ARRAY_SIZE(types); t++) {
		struct assembly a = assemble_lookup(map_fd, NO_OFFENCE);

		check_scope("%s", types[t].what);
		if (!check_loads(&types[t].type, &a, "a look-up"))
			continue;
		for (unsigned int i = 0; i < ARRAY_SIZE(offences); i++) {
			a = assemble_lookup(map_fd, offences[i].offence);
			check_refused(&types[t].type, &a, offences[i].reason, offences[i].what);
		}
	}
	check_scope(NULL);
}

/* ---- Fields of the context -------------------------------------------------------------------- */

/* Sizes of an access, a bit each; the value of the bit is the number of bytes. */
#define SIZES_MAX 8

struct field {
	const char *name;
	int off;
	unsigned int read, write; /* the sizes that are allowed */
};

static int try_access(const struct program_type *type, int off, size_t size, bool write)
{
	struct assembly a = {};

	if (write) {
		set(&a, BPF_REG_2, 0);
		store(&a, BPF_REG_1, BPF_REG_2, off, size);
	} else {
		load(&a, BPF_REG_2, BPF_REG_1, off, size);
	}
	leave(&a);
	return try_load(type, &a);
}

static void check_access(const struct program_type *type, const struct field *f, size_t size,
			 bool write)
{
	const char *how = write ? "write" : "read";
	int err = try_access(type, f->off, size, write);

	if ((write ? f->write : f->read) & size)
		CHECK_OK(err, "%s of %zu bytes of %s", how, size, f->name);
	else if (CHECK_ERR(err, EACCES, "%s of %zu bytes of %s", how, size, f->name))
		CHECK(says(BAD_CONTEXT), "%s of %zu bytes of %s: the verifier says why: %s", how,
		      size, f->name, end_of_log());
}

static void check_fields(const struct program_type *type, const struct field *fields, size_t n,
			 size_t end)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t size = 1; size <= SIZES_MAX; size *= 2) {
			check_access(type, &fields[i], size, false);
			check_access(type, &fields[i], size, true);
		}
	}
	CHECK_ERR(try_access(type, end, sizeof(uint32_t), false), EACCES, "read behind the end");
	CHECK_ERR(try_access(type, -4, sizeof(uint32_t), false), EACCES, "read before the start");
	CHECK_ERR(try_access(type, 2, sizeof(uint32_t), false), EACCES, "read across two fields");
}

#define MSG(field) #field, offsetof(struct sk_msg_md, field)
#define SKB(field) #field, offsetof(struct __sk_buff, field)

static void access_sk_msg(const struct map_env *env)
{
	static const struct field fields[] = {
		{ MSG(data), 8, 0 },
		{ MSG(data_end), 8, 0 },
		{ MSG(family), 4, 0 },
		{ MSG(remote_ip4), 4, 0 },
		{ MSG(local_ip4), 4, 0 },
		{ MSG(remote_ip6[0]), 4, 0 },
		{ MSG(remote_ip6[3]), 4, 0 },
		{ MSG(local_ip6[0]), 4, 0 },
		{ MSG(local_ip6[3]), 4, 0 },
		{ MSG(remote_port), 4, 0 },
		{ MSG(local_port), 4, 0 },
		{ MSG(size), 4, 0 },
		{ MSG(sk), 8, 0 },
	};

	(void)env;
	check_fields(&sk_msg, fields, ARRAY_SIZE(fields), sizeof(struct sk_msg_md));
}

static void access_sk_skb(const struct map_env *env)
{
	/* Eight bytes at `len` are two fields, and so on; no field of 4 bytes can be read so. */
	static const struct field fields[] = {
		{ SKB(len), 1 | 2 | 4, 0 },
		{ SKB(pkt_type), 1 | 2 | 4, 0 },
		{ SKB(mark), 0, 0 },
		{ SKB(queue_mapping), 1 | 2 | 4, 0 },
		{ SKB(protocol), 1 | 2 | 4, 0 },
		{ SKB(vlan_present), 1 | 2 | 4, 0 },
		{ SKB(vlan_tci), 1 | 2 | 4, 0 },
		{ SKB(vlan_proto), 1 | 2 | 4, 0 },
		{ SKB(priority), 1 | 2 | 4, 4 },
		{ SKB(ingress_ifindex), 1 | 2 | 4, 0 },
		{ SKB(ifindex), 1 | 2 | 4, 0 },
		{ SKB(tc_index), 1 | 2 | 4, 4 },
		{ SKB(cb[0]), 1 | 2 | 4 | 8, 0 },
		{ SKB(cb[4]), 1 | 2 | 4, 0 },
		{ SKB(hash), 1 | 2 | 4, 0 },
		{ SKB(tc_classid), 0, 0 },
		{ SKB(data), 4, 0 },
		{ SKB(data_end), 4, 0 },
		{ SKB(napi_id), 1 | 2 | 4, 0 },
		{ SKB(family), 1 | 2 | 4, 0 },
		{ SKB(remote_ip4), 4, 0 },
		{ SKB(local_ip4), 4, 0 },
		{ SKB(remote_ip6[0]), 4, 0 },
		{ SKB(local_ip6[3]), 4, 0 },
		{ SKB(remote_port), 1 | 2 | 4, 0 },
		{ SKB(local_port), 1 | 2 | 4, 0 },
		{ SKB(data_meta), 0, 0 },
		{ SKB(tstamp), 0, 0 },
		{ SKB(wire_len), 0, 0 },
		{ SKB(gso_segs), 1 | 2 | 4, 0 },
		{ SKB(sk), 8, 0 },
		{ SKB(gso_size), 1 | 2 | 4, 0 },
	};

	(void)env;
	check_fields(&sk_skb, fields, ARRAY_SIZE(fields), sizeof(struct __sk_buff));
}

/* ---- Data ------------------------------------------------------------------------------------- */

/* DATA and END of the context in CTX. */
static void get_data(struct assembly *a, bool msg)
{
	if (msg) {
		load(a, DATA, CTX, offsetof(struct sk_msg_md, data), 8);
		load(a, END, CTX, offsetof(struct sk_msg_md, data_end), 8);
	} else {
		load(a, DATA, CTX, offsetof(struct __sk_buff, data), 4);
		load(a, END, CTX, offsetof(struct __sk_buff, data_end), 4);
	}
}

/* Leave if there are no 4 bytes of data. */
static void check_bounds(struct assembly *a)
{
	move(a, BPF_REG_2, DATA);
	add(a, BPF_REG_2, 4);
	jump_if(a, BPF_JLE, BPF_REG_2, END, 2);
	leave(a);
}

static struct assembly assemble_data(bool msg, bool bounds, int off, bool write, bool end)
{
	struct assembly a = {};

	move(&a, CTX, BPF_REG_1);
	get_data(&a, msg);
	if (bounds)
		check_bounds(&a);
	if (end)
		move(&a, DATA, END);
	set(&a, BPF_REG_3, 0);
	if (write)
		store(&a, DATA, BPF_REG_3, off, 4);
	else
		load(&a, BPF_REG_3, DATA, off, 4);
	leave(&a);
	return a;
}

static void data(const struct map_env *env)
{
	bool msg = env->c->value;
	const struct program_type *type = msg ? &sk_msg : &sk_skb;

	for (int write = 0; write <= 1; write++) {
		struct assembly a = assemble_data(msg, true, 0, write, false);

		check_scope("%s", write ? "write" : "read");
		check_loads(type, &a, "within bounds");
		a = assemble_data(msg, false, 0, write, false);
		check_refused(type, &a, BAD_PACKET, "without a check of the bounds");
		a = assemble_data(msg, true, 1, write, false);
		check_refused(type, &a, BAD_PACKET, "beyond the bounds");
		a = assemble_data(msg, true, -1, write, false);
		check_refused(type, &a,
			      "R[0-9] offset is outside of the packet|" BAD_PACKET
			      "|min value is negative",
			      "before the data");
		a = assemble_data(msg, true, 0, write, true);
		check_refused(type, &a, BAD_POINTER "|prohibited", "at the end of the data");
	}
	check_scope(NULL);
}

/* A helper with small arguments; the context is the first. */
struct mover {
	const char *name;
	enum bpf_func_id helper;
	int args[3];
};

static struct assembly assemble_stale(bool msg, const struct mover *mover, bool again)
{
	struct assembly a = {};

	move(&a, CTX, BPF_REG_1);
	get_data(&a, msg);
	check_bounds(&a);
	move(&a, BPF_REG_1, CTX);
	for (unsigned int i = 0; i < ARRAY_SIZE(mover->args); i++)
		set(&a, BPF_REG_2 + i, mover->args[i]);
	call(&a, mover->helper);
	if (again) {
		get_data(&a, msg);
		check_bounds(&a);
	}
	load(&a, BPF_REG_3, DATA, 0, 4);
	leave(&a);
	return a;
}

static void stale(const struct map_env *env)
{
	static const struct mover msg_movers[] = {
		{ "bpf_msg_pull_data()", BPF_FUNC_msg_pull_data, { 0, 4, 0 } },
		{ "bpf_msg_push_data()", BPF_FUNC_msg_push_data, { 0, 4, 0 } },
		{ "bpf_msg_pop_data()", BPF_FUNC_msg_pop_data, { 0, 4, 0 } },
	};
	static const struct mover skb_movers[] = {
		{ "bpf_skb_pull_data()", BPF_FUNC_skb_pull_data, { 4, 0, 0 } },
		{ "bpf_skb_change_tail()", BPF_FUNC_skb_change_tail, { 4, 0, 0 } },
		{ "bpf_skb_change_head()", BPF_FUNC_skb_change_head, { 4, 0, 0 } },
		{ "bpf_skb_adjust_room()", BPF_FUNC_skb_adjust_room, { 4, 0, 0 } },
	};
	bool msg = env->c->value;
	const struct program_type *type = msg ? &sk_msg : &sk_skb;
	const struct mover *movers = msg ? msg_movers : skb_movers;
	size_t n = msg ? ARRAY_SIZE(msg_movers) : ARRAY_SIZE(skb_movers);

	for (const struct mover *m = movers; m < movers + n; m++) {
		struct assembly a = assemble_stale(msg, m, true);

		check_loads(type, &a, m->name);
		a = assemble_stale(msg, m, false);
		check_refused(type, &a, BAD_POINTER, m->name);
	}
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const struct fix mutate_fixes[] = {
	{ "98e948fb60d4", "bpf: Allow delete from sockmap/sockhash only if update is allowed" },
	{},
};

#define SKB_SK offsetof(struct __sk_buff, sk)

/* Type, attach type; where the socket is; what is said to update and to delete. */
#define MUTATION(prefix, suffix, helper, ...)                                                   \
	{                                                                                       \
		prefix suffix, NULL, .run = check_mutator, .fits = can_mutate, .value = helper, \
				     .data = &(const struct mutator){ __VA_ARGS__ },            \
				     .uses = (feature_set)1 << FEAT_PACKET_UPDATE,              \
				     .guards = mutate_fixes,                                    \
	}
#define MUTATOR(name, ...)                                                \
	MUTATION("update/", name, BPF_FUNC_map_update_elem, __VA_ARGS__), \
		MUTATION("delete/", name, BPF_FUNC_map_delete_elem, __VA_ARGS__)

#define TYPE(suffix, attach)                         \
	{                                            \
		BPF_PROG_TYPE_##suffix, attach, NULL \
	}
#define ITERATOR                                                 \
	{                                                        \
		BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, "sockmap" \
	}
#define ITERATOR_SK 24
#define FENTRY                                                         \
	{                                                              \
		BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, "tcp_sendmsg" \
	}

static const struct map_case cases[] = {
	MUTATOR("iterator", ITERATOR, ITERATOR_SK, { LOADS, LOADS }),
	MUTATOR("fentry", FENTRY, LOOKUP, { NOTHING, REJECTED }),
	MUTATOR("sk_lookup", TYPE(SK_LOOKUP, BPF_SK_LOOKUP), LOOKUP, { LOADS, LOADS }),
	MUTATOR("sk_reuseport", TYPE(SK_REUSEPORT, BPF_SK_REUSEPORT_SELECT),
		offsetof(struct sk_reuseport_md, sk), { LOADS, LOADS }),
	MUTATOR("sock_ops", TYPE(SOCK_OPS, BPF_CGROUP_SOCK_OPS), offsetof(struct bpf_sock_ops, sk),
		{ REJECTED, LOADS }),
	MUTATOR("socket_filter", TYPE(SOCKET_FILTER, 0), SKB_SK,
		{ REJECTED_LATER, REJECTED_LATER }),
	MUTATOR("sched_cls", TYPE(SCHED_CLS, 0), LOOKUP, { REJECTED_LATER, REJECTED_LATER }),
	MUTATOR("sched_act", TYPE(SCHED_ACT, 0), LOOKUP, { REJECTED_LATER, REJECTED_LATER }),
	MUTATOR("xdp", TYPE(XDP, 0), LOOKUP, { REJECTED_LATER, REJECTED_LATER }),
	MUTATOR("flow_dissector", TYPE(FLOW_DISSECTOR, BPF_FLOW_DISSECTOR), LOOKUP,
		{ NOTHING, REJECTED_LATER }),
	MUTATOR("sk_skb", TYPE(SK_SKB, 0), LOOKUP, { REJECTED, REJECTED }),
	MUTATOR("sk_msg", TYPE(SK_MSG, 0), offsetof(struct sk_msg_md, sk), { REJECTED, REJECTED }),
	MUTATOR("cgroup_skb", TYPE(CGROUP_SKB, BPF_CGROUP_INET_INGRESS), SKB_SK,
		{ REJECTED, REJECTED }),
	MUTATOR("lwt_in", TYPE(LWT_IN, 0), LOOKUP, { NOTHING, REJECTED }),
	MUTATOR("kprobe", TYPE(KPROBE, 0), LOOKUP, { NOTHING, REJECTED }),
	MUTATOR("tracepoint", TYPE(TRACEPOINT, 0), LOOKUP, { NOTHING, REJECTED }),
	MUTATOR("raw_tracepoint", TYPE(RAW_TRACEPOINT, 0), LOOKUP, { NOTHING, REJECTED }),
	MUTATOR("perf_event", TYPE(PERF_EVENT, 0), LOOKUP, { NOTHING, REJECTED }),
	{ "sockops-helper", NULL, .run = sockops_helper },

	{ "redirect", NULL, .run = redirect },
	{ "lookup", NULL, .run = lookup },

	{ "access-sk_msg", NULL, .run = access_sk_msg, .only = BPF_MAP_TYPE_SOCKMAP },
	{ "access-sk_skb", NULL, .run = access_sk_skb, .only = BPF_MAP_TYPE_SOCKMAP },
	{ "data-sk_msg", NULL, .run = data, .only = BPF_MAP_TYPE_SOCKMAP, .value = true },
	{ "data-sk_skb", NULL, .run = data, .only = BPF_MAP_TYPE_SOCKMAP, .value = false },
	{ "stale-sk_msg", NULL, .run = stale, .only = BPF_MAP_TYPE_SOCKMAP, .value = true },
	{ "stale-sk_skb", NULL, .run = stale, .only = BPF_MAP_TYPE_SOCKMAP, .value = false },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return map_case_describe(cases, ARRAY_SIZE(cases), i, sub);
}

static void run(unsigned int i)
{
	map_case_run(cases, ARRAY_SIZE(cases), i);
}

DEFINE_TEST(sockmap_verifier, describe, run);
