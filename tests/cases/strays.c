// SPDX-License-Identifier: GPL-2.0-only
/* Data that goes astray, for the timelines. Only with STRAYS: a file to count the runs in. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/harness.h"
#include "harness/traffic.h"
#include "network_helpers.h"

/* From 1 on; each run adds a byte to the file. */
static long long count_run(void)
{
	int fd __auto_close = open(getenv("STRAYS"), O_WRONLY | O_APPEND | O_CLOEXEC);
	struct stat st = {};

	CHECK_EQ(write(fd, "x", 1), 1, "write to the file");
	fstat(fd, &st);
	return st.st_size;
}

/* From a.peer to a.mapped, and read there, or in vain at b.mapped. */
static void send_to(bool to_reader)
{
	struct sock_pair a __attribute__((cleanup(close_pair))) = SOCK_PAIR_NONE;
	struct sock_pair b __attribute__((cleanup(close_pair))) = SOCK_PAIR_NONE;
	struct message m;
	char buf[16];
	struct read_request request = { .buf = buf, .len = sizeof(buf), .nr_others = 1 };
	struct recv_report report;
	struct reader *reader;
	ssize_t n;

	if (!CHECK_OK(make_pair(sock_kind("udp4"), &a), "make a pair") ||
	    !CHECK_OK(make_pair(sock_kind("udp4"), &b), "make another"))
		return;
	request.fd = to_reader ? a.mapped : b.mapped;
	request.others = to_reader ? &b.mapped : &a.mapped;
	request.timeout_ms = patience_ms();
	if (!CHECK_OK(reader_start(&reader, &request), "start a reader"))
		return;
	fill_message(&m, 10);
	check_send(a.peer, &m, "stray");
	n = reader_finish(reader, &report);
	check_received("stray", n, &report, "another socket");
}

static void arrives(void)
{
	send_to(true);
}

static void misdirected(void)
{
	send_to(false);
}

/* Each first run of two. */
static void misdirected_once(void)
{
	send_to(count_run() % 2 == 0);
}

static void misdirected_then_hangs(void)
{
	send_to(false);
	while (count_run() % 2 == 0)
		pause();
}

static void sends_nothing(void)
{
	count_run();
	CHECK(false, "it sends nothing");
}

static const struct {
	const char *name;
	void (*run)(void);
} rows[] = {
	{ "arrives", arrives },
	{ "misdirected", misdirected },
	{ "misdirected_once", misdirected_once },
	{ "misdirected_then_hangs", misdirected_then_hangs },
	{ "sends_nothing", sends_nothing },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	if (!getenv("STRAYS") || i >= ARRAY_SIZE(rows))
		return false;
	snprintf(sub->name, sizeof(sub->name), "%s", rows[i].name);
	return true;
}

static void run(unsigned int i)
{
	rows[i].run();
}

DEFINE_TEST(strays, describe, run);
