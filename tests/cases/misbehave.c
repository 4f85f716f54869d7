// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a subtest can do wrong, a row each; tests/harness.sh knows what the harness has to make of
 * it.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "harness/harness.h"
#include "network_helpers.h"

/* ---- Verdicts -------------------------------------------------------------------------------- */

static void passes(void)
{
	CHECK(true, "nothing is wrong");
}

static void fails(void)
{
	CHECK_EQ(1, 2, "one and two");
	CHECK_EQ(3, 4, "a later failure");
}

static void fails_bytes(void)
{
	CHECK_BYTES("sockmap", 7, "sockets", 7, "payload");
}

static void skips(void)
{
	skip("it is %s day", "not its");
}

/* Its needs are what no kernel has, so it does not come here. */
static void impossible(void)
{
	CHECK(true, "the kernel can do it");
}

/* A failed check outweighs skip(): what is known to be wrong stays wrong. */
static void fails_and_skips(void)
{
	CHECK_EQ(1, 2, "one and two");
	skip("too late");
}

static void checks_nothing(void)
{
}

static void notes(void)
{
	CHECK(true, "nothing is wrong");
	note("a part was left out");
	note("a part was left out");
}

/* fails, passes, fails, ...: each run adds a byte to a file. */
static void flips(void)
{
	const char *path = getenv("MISBEHAVE_STATE");
	int fd __auto_close = -1;
	struct stat st;

	if (!path) {
		skip("MISBEHAVE_STATE names no file");
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (!CHECK_OK(write(fd, "x", 1), "write to the file") || !CHECK_OK(fstat(fd, &st), "fstat"))
		return;
	CHECK(st.st_size % 2, "run %lld of it", (long long)st.st_size);
}

/* ---- Ends ------------------------------------------------------------------------------------ */

/* Volatile, so that no compiler sees where this goes. */
static int *volatile nowhere;

static __attribute__((noinline)) void write_to_nowhere(void)
{
	*nowhere = 1;
	/* Not the last thing it does, or the caller would jump here instead of calling. */
	CHECK(false, "writing to address 0 has worked");
}

static void segfaults(void)
{
	CHECK(true, "all is well until now");
	write_to_nowhere();
}

static void aborts(void)
{
	CHECK(true, "all is well until now");
	abort();
}

static void exits_early(void)
{
	CHECK(true, "all is well until now");
	exit(0);
}

static void exits_3(void)
{
	CHECK(true, "all is well until now");
	exit(3);
}

static void sleeps(void)
{
	CHECK(true, "all is well until now");
	for (;;)
		pause();
}

static void spins(void)
{
	CHECK(true, "all is well until now");
	for (volatile unsigned int i = 0;; i++)
		;
}

/* Longer than the time after which the watchdog says where it is. */
static void is_slow(void)
{
	sleep(11);
	CHECK(true, "it is only slow");
}

/* ---- Processes ------------------------------------------------------------------------------- */

/* Tells the parent, by its death or by closing it, that a child is where it is to be. */
static int ready[2];

static __attribute__((noreturn)) void stay(void)
{
	close(ready[1]);
	for (;;)
		pause();
}

static void wait_until_ready(void)
{
	char byte;

	close(ready[1]);
	CHECK_EQ(read(ready[0], &byte, 1), 0, "the child is ready");
	close(ready[0]);
}

static void leaves_child(void)
{
	if (!CHECK_OK(pipe2(ready, O_CLOEXEC), "pipe"))
		return;
	if (fork() == 0)
		stay();
	wait_until_ready();
}

/* What it leaves behind is worth knowing even when it has failed by itself. */
static void fails_and_leaves(void)
{
	leaves_child();
	CHECK_EQ(1, 2, "one and two");
}

static void leaves_daemon(void)
{
	if (!CHECK_OK(pipe2(ready, O_CLOEXEC), "pipe"))
		return;
	if (fork() == 0) {
		setsid();
		stay();
	}
	wait_until_ready();
}

/* Its child becomes an orphan only when the daemon itself dies. */
static void leaves_daemons(void)
{
	if (!CHECK_OK(pipe2(ready, O_CLOEXEC), "pipe"))
		return;
	if (fork() == 0) {
		setsid();
		if (fork() == 0)
			setsid();
		stay();
	}
	wait_until_ready();
}

static void copy_returns(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		return;
	CHECK_EQ(waitpid(pid, &status, 0), pid, "wait for the copy");
	CHECK_EQ(status, 0, "status of the copy");
}

/* The copy comes back as if all were well, but the process that counts dies. */
static void copy_survives(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		return;
	CHECK_EQ(waitpid(pid, &status, 0), pid, "wait for the copy");
	_exit(0);
}

static void copy_fails(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		CHECK_EQ(1, 2, "in the copy");
		return;
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid, "wait for the copy");
}

/* ---- Surroundings ---------------------------------------------------------------------------- */

static void closes_all(void)
{
	close_range(0, ~0U, 0);
	CHECK(true, "nothing is open");
}

static void closes_all_fails(void)
{
	close_range(0, ~0U, 0);
	CHECK_EQ(1, 2, "nothing is open");
}

/* A socket under test may get the number of standard output: nobody else is to write to it. */
static void reuses_stdout(void)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	char byte;

	if (!CHECK_OK(make_pair(sock_kind("unix_dgram"), &pair), "make a pair") ||
	    !CHECK_OK(dup2(pair.mapped, STDOUT_FILENO), "dup2"))
		return;
	CHECK(true, "printed with -v only");
	CHECK_EQ(recv(pair.peer, &byte, 1, MSG_DONTWAIT), -1, "a check stays off the socket");
	note("a note about standard output");
	CHECK_EQ(recv(pair.peer, &byte, 1, MSG_DONTWAIT), -1, "a note stays off the socket");
}

static void print_much(void)
{
	static const char nuls[] = "before\0after\n";
	static char line[1024];

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\n';
	CHECK_EQ(write(STDOUT_FILENO, nuls, sizeof(nuls) - 1), sizeof(nuls) - 1, "print NUL bytes");
	for (int i = 0; i < 1024; i++) {
		if (write(STDOUT_FILENO, line, sizeof(line)) != sizeof(line))
			CHECK(false, "print 1 MB");
	}
}

static void prints_much(void)
{
	print_much();
	CHECK(true, "all of it is printed");
}

static void prints_much_aborts(void)
{
	print_much();
	abort();
}

/* What is pinned outlives its process. */
static void leaves_map(void)
{
	const char *dir = getenv("MISBEHAVE_BPFFS");
	char path[512];
	int fd __auto_close = -1;

	if (!dir) {
		skip("MISBEHAVE_BPFFS names no directory");
		return;
	}
	fd = socket_map_create(BPF_MAP_TYPE_SOCKMAP);
	snprintf(path, sizeof(path), "%s/left_behind", dir);
	if (CHECK_OK(fd, "make a map"))
		CHECK_EQ(bpf_obj_pin(fd, path), 0, "pin it");
}

/* As a socket does whose last reference is never given back. */
static void keeps_netns(void)
{
	const char *dir = getenv("MISBEHAVE_BPFFS");
	char path[512];
	int fd __auto_close = -1;

	if (!dir) {
		skip("MISBEHAVE_BPFFS names no directory");
		return;
	}
	snprintf(path, sizeof(path), "%s.netns", dir);
	fd = open(path, O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
	if (CHECK_OK(fd < 0 ? -errno : 0, "make a file"))
		CHECK_OK(mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) ? -errno : 0,
			 "mount the namespace on it");
}

static ino_t netns_of(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	return stat(path, &st) ? 0 : st.st_ino;
}

static void is_alone(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int fd __auto_close = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct stat st;

	CHECK(netns_of(getpid()) != 0, "it has a network namespace");
	CHECK(netns_of(getpid()) != netns_of(1), "the namespace is not that of init");
	/* Which is another one than that of init in a container. */
	CHECK(netns_of(getpid()) != netns_of(getppid()), "the namespace is not that of the runner");
	if (CHECK_OK(ioctl(fd, SIOCGIFFLAGS, &ifr), "flags of lo"))
		CHECK(ifr.ifr_flags & IFF_UP, "lo is up");
	CHECK_EQ(getpgrp(), getpid(), "process group");
	if (CHECK_OK(fstat(STDIN_FILENO, &st), "fstat of standard input"))
		CHECK(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3), "it is /dev/null");
}

/* ---- Table ----------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(void);
} rows[] = {
	{ "passes", passes },
	{ "fails", fails },
	{ "fails_bytes", fails_bytes },
	{ "skips", skips },
	{ "fails_and_skips", fails_and_skips },
	{ "checks_nothing", checks_nothing },
	{ "segfaults", segfaults },
	{ "aborts", aborts },
	{ "exits_early", exits_early },
	{ "exits_3", exits_3 },
	{ "sleeps", sleeps },
	{ "spins", spins },
	{ "leaves_child", leaves_child },
	{ "leaves_daemon", leaves_daemon },
	{ "leaves_daemons", leaves_daemons },
	{ "copy_returns", copy_returns },
	{ "copy_survives", copy_survives },
	{ "copy_fails", copy_fails },
	{ "closes_all", closes_all },
	{ "closes_all_fails", closes_all_fails },
	{ "reuses_stdout", reuses_stdout },
	{ "prints_much", prints_much },
	{ "prints_much_aborts", prints_much_aborts },
	{ "leaves_map", leaves_map },
	{ "notes", notes },
	{ "impossible", impossible },
	{ "flips", flips },
	{ "is_slow", is_slow },
	{ "is_alone", is_alone },
	{ "fails_and_leaves", fails_and_leaves },
	{ "fails_guarded", fails },
	{ "keeps_netns", keeps_netns },
};

static const struct fix fixes[] = { { "123456789abc", "behave: Fix it" } };

static bool describe(unsigned int i, struct subtest *sub)
{
	if (i >= ARRAY_SIZE(rows))
		return false;
	snprintf(sub->name, sizeof(sub->name), "%s", rows[i].name);
	if (strcmp(rows[i].name, "fails_guarded") == 0) {
		sub->guards = fixes;
		sub->nr_guards = ARRAY_SIZE(fixes);
	}
	if (rows[i].run == impossible)
		sub->needs = feature_bit(feature_of_kind(FEAT_INSERT, sock_kind("unix_seqpacket")));
	return true;
}

static void run(unsigned int i)
{
	rows[i].run();
}

DEFINE_TEST(misbehave, describe, run);
