/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All that a test needs besides network_helpers.h and the skeletons of its programs.
 *
 * A test is a file in prog_tests/ that ends in
 *
 *	DEFINE_TEST(sockmap_example, describe, run);
 *
 * describe(i, sub) says what subtest i is: its name, its dimensions, the kernel features it needs
 * and the fixes it guards. It returns false when there is no subtest i. It looks at tables and at
 * nothing else, so the plan is known without root and before anything runs.
 *
 * run(i) runs subtest i, in a process and a network namespace made for it. It says what it finds
 * with the CHECK macros; that it returned is no success, only checks are.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "harness/feature.h"
#include "harness/redirect.h"
#include "harness/traffic.h"

/* ---- Registration ---------------------------------------------------------------------------- */

/* A commit in the kernel, as `git log --oneline` shows it. */
struct fix {
	const char *commit;
	const char *subject;
};

struct dimension {
	const char *key;
	const char *value;
};

#define SUBTEST_NAME_MAX 96
#define SUBTEST_DIMS_MAX 12

struct subtest {
	char name[SUBTEST_NAME_MAX];  /* without the name of the test */
	char alias[SUBTEST_NAME_MAX]; /* another name that selects it; "": none */
	struct dimension dims[SUBTEST_DIMS_MAX];
	unsigned int nr_dims;
	const struct fix *guards; /* the fixes whose loss would make it fail */
	unsigned int nr_guards;
	feature_set needs; /* without these it is skipped */
	feature_set wants; /* without these a part of it is left out, and it says so in a note */
	feature_set uses;  /* what few kernels can, or none: checked where they can, and no more */
};

/* Add a dimension, such as ("map", "sockhash"), for machine-readable reports. */
void subtest_dim(struct subtest *sub, const char *key, const char *value);

struct test {
	const char *name;
	bool (*describe)(unsigned int i, struct subtest *sub);
	void (*run)(unsigned int i);
};

/* The linker collects the tests: a file in prog_tests/ is a test of the program, with no list. */
#define DEFINE_TEST(test_name, describe_fn, run_fn)            \
	static const struct test test_##test_name = {          \
		.name = #test_name,                            \
		.describe = describe_fn,                       \
		.run = run_fn,                                 \
	};                                                     \
	static const struct test *const test_##test_name##_ptr \
		__attribute__((used, section("harness_tests"))) = &test_##test_name

/* ---- Checks ---------------------------------------------------------------------------------- */

/*
 * Each check counts, prints one line when it fails (with -v always), and is true when it holds.
 * `what` and its arguments are printf's and say what was checked, in the words of a log: "send".
 *
 *	CHECK(cond, what...)                    the condition holds
 *	CHECK_EQ(got, want, what...)            two integers are equal
 *	CHECK_LE(got, max, what...)             an integer is at most this
 *	CHECK_OK(ret, what...)                  a -errno convention: ret is not negative
 *	CHECK_ERR(ret, EACCES, what...)         a -errno convention: ret is exactly -EACCES
 *	CHECK_BYTES(got, n, want, len, what...) n bytes at got are the len bytes at want
 */
#define CHECK(cond, ...) check_true(CHECK_SITE(#cond), !!(cond), __VA_ARGS__)
#define CHECK_EQ(got, want, ...) \
	check_eq(CHECK_SITE(#got), (long long)(got), (long long)(want), __VA_ARGS__)
#define CHECK_LE(got, max, ...) \
	check_le(CHECK_SITE(#got), (long long)(got), (long long)(max), __VA_ARGS__)
#define CHECK_OK(ret, ...)	  check_ok(CHECK_SITE(#ret), (long long)(ret), __VA_ARGS__)
#define CHECK_ERR(ret, want, ...) check_err(CHECK_SITE(#ret), (long long)(ret), want, __VA_ARGS__)
#define CHECK_BYTES(got, n, want, len, ...) \
	check_bytes(CHECK_SITE(#got), got, n, want, len, __VA_ARGS__)

struct check_site {
	const char *file;
	int line;
	const char *expr;
};

#define CHECK_SITE(text) (&(const struct check_site){ __FILE__, __LINE__, text })

bool check_true(const struct check_site *site, bool ok, const char *what, ...)
	__attribute__((format(printf, 3, 4)));
bool check_eq(const struct check_site *site, long long got, long long want, const char *what, ...)
	__attribute__((format(printf, 4, 5)));
bool check_le(const struct check_site *site, long long got, long long max, const char *what, ...)
	__attribute__((format(printf, 4, 5)));
bool check_ok(const struct check_site *site, long long ret, const char *what, ...)
	__attribute__((format(printf, 3, 4)));
bool check_err(const struct check_site *site, long long ret, int want, const char *what, ...)
	__attribute__((format(printf, 4, 5)));
bool check_bytes(const struct check_site *site, const void *got, ssize_t n, const void *want,
		 size_t len, const char *what, ...) __attribute__((format(printf, 6, 7)));

/* What the checks that follow are about: begins each of their lines. NULL: nothing special. */
void check_scope(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Something that the reader of a passed subtest should know, such as a part that was left out. */
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * What the kernel was seen to do with the data, in a word: "delivered", "dropped", "local", the name
 * of an errno, or in a failure what else it was, such as "lost" (harness/report_matrix.c has them
 * all). The last one counts. It is for tables, and decides nothing: checks do.
 */
void observed(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Give up on this subtest: it cannot be judged here, for the reason given. */
void skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- BPF objects ----------------------------------------------------------------------------- */

/*
 * What a subtest loads is expected to be gone after it: the runner looks for the ids that were
 * registered here. socket_map_create() registers the map it makes.
 */
struct bpf_object;
struct bpf_program;
void track_bpf_object(const struct bpf_object *obj);

/* A SOCKMAP or SOCKHASH with room for two sockets, keys of 4 and values of 8 bytes, or -errno. */
int socket_map_create(enum bpf_map_type type);

/* The same with keys of that many bytes and room for that many sockets. */
int socket_map_create_sized(enum bpf_map_type type, uint32_t key_size, uint32_t max_entries);

/* Put a socket into a map, take it out, look up its cookie; 0 or -errno. flags: BPF_NOEXIST, ... */
int socket_map_update(int map_fd, uint32_t key, int fd, uint64_t flags);
int socket_map_delete(int map_fd, uint32_t key);
int socket_map_lookup(int map_fd, uint32_t key, uint64_t *cookie);

/* Attach a program to a map of sockets, and detach it; 0 or -errno. */
int attach_program(const struct bpf_program *prog, int map_fd, enum bpf_attach_type type);
int detach_program(const struct bpf_program *prog, int map_fd, enum bpf_attach_type type);

/* Attach it until the descriptor returned is closed; or -errno. */
int link_program(const struct bpf_program *prog, int map_fd, enum bpf_attach_type type);

/* The cgroup of the second version that all processes are in. The descriptor, or -errno. */
int open_cgroup(void);

#endif /* HARNESS_H */
