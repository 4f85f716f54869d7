// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/tls.h>

#include "harness/fault.h"
#include "harness/harness.h"
#include "harness/netns.h"
#include "harness/probe.h"
#include "harness/ring.h"
#include "network_helpers.h"
#include "progs/redirect.h"
#include "progs/verdicts.h"
#include "redirect.skel.h"

/* All probes together, and those of one kind: some wait for data that a broken kernel loses. */
#define PROBE_TIMEOUT_S	    60
#define KIND_TIMEOUT_S	    30
#define PROBE_IO_TIMEOUT_MS 1000

/*
 * Of each feature: 0, or the -errno that trying it gave; 0 as well where the probing process died
 * before it came to it. Shared with that process.
 */
static struct {
	enum preflight preflight;
	int error;
	int features[NR_FEATURES];
} * found;

/* The objects that the probes of attaching and redirecting use; loaded once. */
static struct redirect_bpf *skel;

static int probe_map_type(enum bpf_map_type type)
{
	int fd __auto_close = bpf_map_create(type, NULL, 4, 8, 1, NULL);

	return fd < 0 ? -errno : 0;
}

static int probe_sockmap(const struct sock_kind *kind)
{
	(void)kind;
	return probe_map_type(BPF_MAP_TYPE_SOCKMAP);
}

static int probe_sockhash(const struct sock_kind *kind)
{
	(void)kind;
	return probe_map_type(BPF_MAP_TYPE_SOCKHASH);
}

static int probe_prog_type(enum bpf_prog_type type)
{
	int ret = libbpf_probe_bpf_prog_type(type, NULL);

	return ret == 1 ? 0 : ret ?: -EINVAL;
}

static int probe_sk_msg(const struct sock_kind *kind)
{
	(void)kind;
	return probe_prog_type(BPF_PROG_TYPE_SK_MSG);
}

static int probe_sk_skb(const struct sock_kind *kind)
{
	(void)kind;
	return probe_prog_type(BPF_PROG_TYPE_SK_SKB);
}

static int probe_sk_reuseport(const struct sock_kind *kind)
{
	(void)kind;
	return probe_prog_type(BPF_PROG_TYPE_SK_REUSEPORT);
}

static int probe_attach(struct bpf_program *prog, enum bpf_attach_type type)
{
	int map_fd __auto_close = bpf_map_create(BPF_MAP_TYPE_SOCKMAP, NULL, 4, 8, 1, NULL);

	if (map_fd < 0)
		return -errno;
	return attach_program(prog, map_fd, type);
}

static int probe_msg_verdict(const struct sock_kind *kind)
{
	(void)kind;
	return probe_attach(skel->progs.msg_verdict, BPF_SK_MSG_VERDICT);
}

static int probe_stream_verdict(const struct sock_kind *kind)
{
	(void)kind;
	return probe_attach(skel->progs.stream_parser, BPF_SK_SKB_STREAM_PARSER)
		       ?: probe_attach(skel->progs.skb_verdict, BPF_SK_SKB_STREAM_VERDICT);
}

static int probe_skb_verdict(const struct sock_kind *kind)
{
	(void)kind;
	return probe_attach(skel->progs.skb_verdict, BPF_SK_SKB_VERDICT);
}

static int probe_link(const struct sock_kind *kind)
{
	int map_fd __auto_close = bpf_map_create(BPF_MAP_TYPE_SOCKMAP, NULL, 4, 8, 1, NULL);
	int link_fd __auto_close = -1;

	(void)kind;
	link_fd = bpf_link_create(bpf_program__fd(skel->progs.msg_verdict), map_fd,
				  BPF_SK_MSG_VERDICT, NULL);
	return link_fd < 0 ? -errno : 0;
}

static int probe_unix_oob(const struct sock_kind *kind)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int err = make_pair(sock_kind("unix_stream"), &pair);

	(void)kind;
	if (err)
		return err;
	return send(pair.peer, "x", 1, MSG_OOB) == 1 ? 0 : -errno;
}

static int probe_query(const struct sock_kind *kind)
{
	int map_fd __auto_close = bpf_map_create(BPF_MAP_TYPE_SOCKMAP, NULL, 4, 8, 1, NULL);
	uint32_t id, n = 1;

	(void)kind;
	if (map_fd < 0)
		return -errno;
	return bpf_prog_query(map_fd, BPF_SK_MSG_VERDICT, 0, NULL, &id, &n) ? -errno : 0;
}

/* A parser that reserves room at the end of the skb, and returns its length. */
static int load_meddling_parser(void)
{
	static const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 6, .src_reg = 1 },
		{ .code = BPF_LDX | BPF_W | BPF_MEM,
		  .dst_reg = 2,
		  .src_reg = 1,
		  .off = offsetof(struct __sk_buff, len) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_skb_change_tail },
		{ .code = BPF_LDX | BPF_W | BPF_MEM,
		  .dst_reg = 0,
		  .src_reg = 6,
		  .off = offsetof(struct __sk_buff, len) },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SK_SKB, "parser", "GPL", insns, ARRAY_SIZE(insns),
			       NULL);

	return fd < 0 ? -errno : fd;
}

static int probe_parser_looks(const struct sock_kind *kind)
{
	int map_fd __auto_close = bpf_map_create(BPF_MAP_TYPE_SOCKMAP, NULL, 4, 8, 1, NULL);
	int prog_fd __auto_close = load_meddling_parser();

	(void)kind;
	if (map_fd < 0 || prog_fd < 0)
		return map_fd < 0 ? -errno : prog_fd;
	return bpf_prog_attach(prog_fd, map_fd, BPF_SK_SKB_STREAM_PARSER, 0) ? 0 : -EOPNOTSUPP;
}

/* Of the operations and the types of programs, one is enough: all came and went together. */
static int probe_packet_update(const struct sock_kind *kind)
{
	int map_fd __auto_close = bpf_map_create(BPF_MAP_TYPE_SOCKMAP, NULL, 4, 8, 1, NULL);
	const struct bpf_insn insns[] = {
		{ .code = BPF_ST | BPF_W | BPF_MEM, .dst_reg = 10, .off = -4 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 2, .src_reg = 10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 2, .imm = -4 },
		{ .code = BPF_LD | BPF_DW | BPF_IMM,
		  .dst_reg = 1,
		  .src_reg = BPF_PSEUDO_MAP_FD,
		  .imm = map_fd },
		{},
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_delete_elem },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int prog_fd __auto_close = -1;

	(void)kind;
	if (map_fd < 0)
		return -errno;
	prog_fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "delete", "GPL", insns, ARRAY_SIZE(insns),
				NULL);
	return prog_fd < 0 ? -errno : 0;
}

static int probe_iterator(const struct sock_kind *kind)
{
	static const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_ITER);
	int id = libbpf_find_vmlinux_btf_id("sockmap", BPF_TRACE_ITER);
	int prog_fd __auto_close = -1;

	(void)kind;
	if (id < 0)
		return id;
	opts.attach_btf_id = id;
	prog_fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "iterator", "GPL", insns, ARRAY_SIZE(insns),
				&opts);
	return prog_fd < 0 ? -errno : 0;
}

static int probe_tls(const struct sock_kind *kind)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;

	(void)kind;
	return make_pair(sock_kind("tcp4"), &pair)
		       ?: start_tls(pair.mapped)
		       ?: set_tls_key(pair.mapped, TLS_TX) ?: set_tls_key(pair.mapped, TLS_RX);
}

static int probe_mptcp(const struct sock_kind *kind)
{
	static const struct sock_kind mptcp = { .family = AF_INET6,
						.type = SOCK_STREAM,
						.protocol = IPPROTO_MPTCP };
	int fd __auto_close = socket_opened(&mptcp);

	(void)kind;
	return fd < 0 ? fd : 0;
}

static int probe_cgroup(const struct sock_kind *kind)
{
	int fd __auto_close = open_cgroup();

	(void)kind;
	return fd < 0 ? fd : 0;
}

static int probe_io_uring(const struct sock_kind *kind)
{
	struct ring ring __auto_ring = RING_NONE;

	(void)kind;
	return ring_open(&ring);
}

static int probe_poll_multishot(const struct sock_kind *kind)
{
	struct ring ring __auto_ring = RING_NONE;
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	struct io_uring_sqe request = { .opcode = IORING_OP_POLL_ADD,
					.poll32_events = POLLOUT,
					.len = IORING_POLL_ADD_MULTI };
	struct io_uring_cqe completion;
	int err = make_pair(sock_kind("unix_stream"), &pair);

	(void)kind;
	request.fd = pair.peer;
	err = err ?: ring_open(&ring) ?: ring_submit(&ring, &request);
	if (err)
		return err;
	if (!ring_take(&ring, &completion, patience_ms()))
		return -ETIME;
	return completion.res < 0		      ? completion.res
	       : completion.flags & IORING_CQE_F_MORE ? 0
						      : -EINVAL;
}

static int probe_may_crash(const struct sock_kind *kind)
{
	(void)kind;
	return getenv("MAY_CRASH") ? 0 : -EPERM;
}

static int probe_known_races(const struct sock_kind *kind)
{
	(void)kind;
	return getenv("KNOWN_RACES") ? 0 : -EPERM;
}

/* SK_DROP for the first message, SK_PASS for the second. */
static int probe_msg_after_drop(const struct sock_kind *kind)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd = bpf_map__fd(skel->maps.in_map);
	int err = make_pair(sock_kind("tcp4"), &pair);

	(void)kind;
	err = err ?: attach_program(skel->progs.msg_verdict, map_fd, BPF_SK_MSG_VERDICT);
	err = err ?: socket_map_update(map_fd, 0, pair.mapped, BPF_ANY);
	if (err)
		return err;
	skel->data->verdict = SK_DROP;
	send(pair.mapped, "x", 1, 0);
	skel->data->verdict = SK_PASS;
	err = send(pair.mapped, "x", 1, 0) == 1 ? 0 : -errno;
	skel->data->verdict = REDIRECT;
	return err;
}

struct insertion {
	int map_fd, fd;
};

static ssize_t insert_into_map(void *arg)
{
	const struct insertion *i = arg;

	return socket_map_update(i->map_fd, 0, i->fd, BPF_ANY);
}

static int probe_failslab(const struct sock_kind *kind)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = bpf_map_create(BPF_MAP_TYPE_SOCKMAP, NULL, 4, 8, 1, NULL);
	int err = map_fd < 0 ? -errno : make_pair(sock_kind("tcp4"), &pair);
	struct insertion insertion = { map_fd, pair.mapped };
	bool failed;

	(void)kind;
	err = err ?: failslab_set_up()
		  ?: call_without_memory(1, insert_into_map, &insertion, &failed);
	return err == -ENOMEM ? 0 : err ?: -EOPNOTSUPP;
}

static int probe_socket(const struct sock_kind *kind)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;

	return make_pair(kind, &pair);
}

static int probe_insert(const struct sock_kind *kind)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = bpf_map_create(BPF_MAP_TYPE_SOCKMAP, NULL, 4, 8, 1, NULL);

	if (map_fd < 0)
		return -errno;
	return make_pair(kind, &pair) ?: socket_map_update(map_fd, 0, pair.mapped, BPF_ANY);
}

/* A reader in recv(2), since poll(2) is what the tests are to judge. */
static int start_recv(struct reader **reader, int fd, char *buf, size_t len, int flags)
{
	struct read_request request = {
		.fd = fd,
		.buf = buf,
		.len = len,
		.flags = flags,
		.how = WAIT_RECV,
		.timeout_ms = PROBE_IO_TIMEOUT_MS,
	};

	return reader_start(reader, &request);
}

/*
 * What in.mapped receives goes to out.mapped: a socket's own data could be counted elsewhere.
 * Nothing can be redirected to a vsock socket: there the program passes its own data to in.mapped.
 */
struct probe_redirect {
	struct sock_pair in, out;
	int target;
};

#define PROBE_REDIRECT_NONE                        \
	{                                          \
		SOCK_PAIR_NONE, SOCK_PAIR_NONE, -1 \
	}
#define __auto_redirect __attribute__((cleanup(close_redirect)))

static void close_redirect(struct probe_redirect *r)
{
	close_pair(&r->in);
	close_pair(&r->out);
}

static int make_redirect(const struct sock_kind *kind, struct probe_redirect *r)
{
	int map_fd = bpf_map__fd(skel->maps.out_map);
	int err = make_pair(kind, &r->in) ?: make_pair(kind, &r->out);

	err = err ?: socket_map_update(map_fd, 0, r->out.mapped, BPF_ANY);
	err = err ?: socket_map_update(map_fd, 1, r->in.mapped, BPF_ANY);
	skel->data->verdict = kind->family == AF_VSOCK ? SK_PASS : REDIRECT;
	r->target = kind->family == AF_VSOCK ? r->in.mapped : r->out.mapped;
	return err;
}

static int send_zeros(int fd, size_t len)
{
	static const char zeros[64];

	return send(fd, zeros, len, 0) == (ssize_t)len ? 0 : -(errno ?: EIO);
}

/* Wait until there is something in the queue, which is a moment after the verdict. */
static int wait_for_data(int fd)
{
	uint64_t deadline = now_ns() + PROBE_IO_TIMEOUT_MS * NSEC_PER_MSEC;
	char byte;

	while (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 1) {
		if (now_ns() > deadline)
			return -ETIME;
		usleep(100);
	}
	return 0;
}

static int probe_fionread(const struct sock_kind *kind)
{
	struct probe_redirect r __auto_redirect = PROBE_REDIRECT_NONE;
	int err = make_redirect(kind, &r) ?: send_zeros(r.in.peer, 16);

	err = err ?: wait_for_data(r.target);
	if (err)
		return err;
	return bytes_readable(r.target) == 16 ? 0 : -EOPNOTSUPP;
}

static int probe_fionread_native(const struct sock_kind *kind)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int err = make_pair(kind, &pair)
			  ?: socket_map_update(bpf_map__fd(skel->maps.nop_map), 0, pair.mapped,
					       BPF_ANY);

	err = err ?: send_zeros(pair.peer, 16) ?: wait_for_data(pair.mapped);
	if (err)
		return err;
	return bytes_readable(pair.mapped) == 16 ? 0 : -EOPNOTSUPP;
}

static int probe_recv_wakeup(const struct sock_kind *kind)
{
	struct probe_redirect r __auto_redirect = PROBE_REDIRECT_NONE;
	struct reader *reader;
	char buf[64];
	ssize_t n;
	int err;

	/* Of these, all kernels can: what cannot is broken, and is to fail. */
	if (is_tcp(kind) || kind->family == AF_UNIX)
		return 0;
	/* There recv(2) sleeps with the socket locked, and so keeps its data away, for ever. */
	if (kind->family == AF_VSOCK)
		return -EDEADLK;
	err = make_redirect(kind, &r);
	err = err ?: start_recv(&reader, r.target, buf, sizeof(buf), 0);
	if (err)
		return err;
	err = send_zeros(r.in.peer, 16);
	n = reader_finish(reader, NULL);
	return err ?: n < 0 ? (int)n : 0;
}

/* Where it fails, an empty message is at the head of the queue, and each read ends at it. */
static int probe_empty_datagram(const struct sock_kind *kind)
{
	struct probe_redirect r __auto_redirect = PROBE_REDIRECT_NONE;
	uint64_t deadline = now_ns() + PROBE_IO_TIMEOUT_MS * NSEC_PER_MSEC;
	int err = attach_program(skel->progs.skb_verdict, bpf_map__fd(skel->maps.out_map),
				 BPF_SK_SKB_VERDICT);
	char byte;
	ssize_t n;

	(void)kind;
	err = err ?: make_redirect(sock_kind("udp4"), &r) ?: send_zeros(r.in.peer, 0) ?: send_zeros(r.in.peer, 1);
	if (err)
		return err;
	while ((n = recv(r.target, &byte, 1, MSG_DONTWAIT)) != 1) {
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (now_ns() > deadline)
			return -ETIME;
		usleep(100);
	}
	return 0;
}

/* An epoll instance that reports each arrival, whatever is there already; or -errno. */
static int watch_arrivals(int fd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int epfd = epoll_create1(EPOLL_CLOEXEC);

	if (epfd >= 0 && epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event)) {
		close(epfd);
		return -errno;
	}
	return epfd < 0 ? -errno : epfd;
}

static int wait_for_arrival(int epfd)
{
	struct epoll_event event;
	int n = epoll_wait(epfd, &event, 1, PROBE_IO_TIMEOUT_MS);

	return n < 0 ? -errno : n ? 0 : -ETIME;
}

/*
 * Both datagrams have to be there before the first read, or it could not merge them. So the second
 * one is waited for, and after the first read another has to get it without waiting.
 */
static int probe_boundaries(const struct sock_kind *kind)
{
	struct probe_redirect r __auto_redirect = PROBE_REDIRECT_NONE;
	int epfd __auto_close = -1;
	char buf[64];
	int err = make_redirect(kind, &r);

	if (err)
		return err;
	epfd = watch_arrivals(r.target);
	err = epfd < 0 ? epfd : 0;
	err = err ?: send_zeros(r.in.peer, 16) ?: wait_for_arrival(epfd);
	err = err ?: send_zeros(r.in.peer, 32) ?: wait_for_arrival(epfd);
	if (err)
		return err;
	return recv(r.target, buf, sizeof(buf), MSG_DONTWAIT) == 16 &&
			       recv(r.target, buf, sizeof(buf), MSG_DONTWAIT) == 32
		       ? 0
		       : -EMSGSIZE;
}

static const struct probe {
	enum feature feature;
	const char *name;
	int (*try)(const struct sock_kind *kind);
	const char *remedy;
	bool per_kind;
	bool needs_skel;
} probes[] = {
	{ .feature = FEAT_SOCKMAP,
	  .name = "sockmap",
	  .try = probe_sockmap,
	  .remedy = "CONFIG_BPF_STREAM_PARSER" },
	{ .feature = FEAT_SOCKHASH,
	  .name = "sockhash",
	  .try = probe_sockhash,
	  .remedy = "CONFIG_BPF_STREAM_PARSER" },
	{ .feature = FEAT_SK_MSG,
	  .name = "sk_msg",
	  .try = probe_sk_msg,
	  .remedy = "CONFIG_BPF_STREAM_PARSER" },
	{ .feature = FEAT_SK_SKB,
	  .name = "sk_skb",
	  .try = probe_sk_skb,
	  .remedy = "CONFIG_BPF_STREAM_PARSER" },
	{ .feature = FEAT_SK_REUSEPORT,
	  .name = "sk_reuseport",
	  .try = probe_sk_reuseport,
	  .remedy = "CONFIG_INET" },
	{ .feature = FEAT_MSG_VERDICT,
	  .name = "msg_verdict",
	  .try = probe_msg_verdict,
	  .remedy = "CONFIG_BPF_STREAM_PARSER",
	  .needs_skel = true },
	{ .feature = FEAT_STREAM_VERDICT,
	  .name = "stream_verdict",
	  .try = probe_stream_verdict,
	  .remedy = "CONFIG_BPF_STREAM_PARSER",
	  .needs_skel = true },
	{ .feature = FEAT_SKB_VERDICT,
	  .name = "skb_verdict",
	  .try = probe_skb_verdict,
	  .remedy = "BPF_SK_SKB_VERDICT (Linux 5.13)",
	  .needs_skel = true },
	{ .feature = FEAT_LINK,
	  .name = "sockmap_link",
	  .try = probe_link,
	  .remedy = "bpf_link for sockmap (Linux 6.10)",
	  .needs_skel = true },
	{ .feature = FEAT_UNIX_OOB,
	  .name = "unix_oob",
	  .try = probe_unix_oob,
	  .remedy = "CONFIG_AF_UNIX_OOB (Linux 5.15)" },
	{ .feature = FEAT_QUERY,
	  .name = "sockmap_query",
	  .try = probe_query,
	  .remedy = "BPF_PROG_QUERY for sockmap (Linux 5.18)" },
	{ .feature = FEAT_PARSER_LOOKS,
	  .name = "parser_looks",
	  .try = probe_parser_looks,
	  .remedy = "a kernel that refuses parsers which change the skb (Linux 7.2)" },
	{ .feature = FEAT_PACKET_UPDATE,
	  .name = "packet_update",
	  .try = probe_packet_update,
	  .remedy = "a kernel that lets tc and XDP update maps of sockets (before Linux 7.3)" },
	{ .feature = FEAT_ITERATOR,
	  .name = "iterator",
	  .try = probe_iterator,
	  .remedy = "CONFIG_DEBUG_INFO_BTF (and Linux 5.10)" },
	{ .feature = FEAT_TLS,
	  .name = "tls",
	  .try = probe_tls,
	  .remedy = "CONFIG_TLS, CONFIG_CRYPTO_GCM; modprobe tls (Linux 5.1)" },
	{ .feature = FEAT_MPTCP,
	  .name = "mptcp",
	  .try = probe_mptcp,
	  .remedy = "CONFIG_MPTCP, CONFIG_MPTCP_IPV6; sysctl net.mptcp.enabled=1" },
	{ .feature = FEAT_CGROUP,
	  .name = "cgroup",
	  .try = probe_cgroup,
	  .remedy = "mount -t cgroup2 none /sys/fs/cgroup/unified" },
	{ .feature = FEAT_IO_URING,
	  .name = "io_uring",
	  .try = probe_io_uring,
	  .remedy = "CONFIG_IO_URING; sysctl kernel.io_uring_disabled=0" },
	{ .feature = FEAT_POLL_MULTISHOT,
	  .name = "poll_multishot",
	  .try = probe_poll_multishot,
	  .remedy = "Linux 5.13, with CONFIG_IO_URING" },
	{ .feature = FEAT_MAY_CRASH,
	  .name = "may_crash",
	  .try = probe_may_crash,
	  .remedy = "a machine that may crash: vmtest.sh, or MAY_CRASH=1 in the environment" },
	{ .feature = FEAT_KNOWN_RACES,
	  .name = "known_races",
	  .try = probe_known_races,
	  .remedy = "KNOWN_RACES=1 in the environment, and patience: kernels warn of them" },
	{ .feature = FEAT_MSG_AFTER_DROP,
	  .name = "msg_after_drop",
	  .try = probe_msg_after_drop,
	  .remedy = "a send(2) that runs the sk_msg program again after SK_DROP",
	  .needs_skel = true },
	{ .feature = FEAT_EMPTY_DATAGRAM,
	  .name = "empty_datagram",
	  .try = probe_empty_datagram,
	  .remedy = "a sockmap that survives a datagram of no bytes",
	  .needs_skel = true },
	{ .feature = FEAT_FAILSLAB,
	  .name = "failslab",
	  .try = probe_failslab,
	  .remedy =
		  "CONFIG_FAILSLAB, CONFIG_FAULT_INJECTION_DEBUG_FS, debugfs (vmtest.sh --debug)" },
	{ .feature = FEAT_SOCKET,
	  .name = "socket",
	  .try = probe_socket,
	  .per_kind = true }, /* its remedy is that of the kind */
	{ .feature = FEAT_INSERT,
	  .name = "insert",
	  .try = probe_insert,
	  .remedy =
		  "sockmap support for this kind of socket (UDP: Linux 5.7, AF_UNIX: 5.15, vsock: 6.4)",
	  .per_kind = true },
	{ .feature = FEAT_FIONREAD,
	  .name = "fionread",
	  .try = probe_fionread,
	  .remedy = "929e30f93125 (\"bpf, sockmap: Fix FIONREAD for sockmap\")",
	  .per_kind = true,
	  .needs_skel = true },
	{ .feature = FEAT_FIONREAD_NATIVE,
	  .name = "fionread_native",
	  .try = probe_fionread_native,
	  .remedy =
		  "a FIONREAD that counts what a socket in a map has received without redirection",
	  .per_kind = true,
	  .needs_skel = true },
	{ .feature = FEAT_RECV_WAKEUP,
	  .name = "recv_wakeup",
	  .try = probe_recv_wakeup,
	  .remedy = "a recv(2) that redirected data wakes up",
	  .per_kind = true,
	  .needs_skel = true },
	{ .feature = FEAT_BOUNDARIES,
	  .name = "boundaries",
	  .try = probe_boundaries,
	  .remedy = "a recv(2) that does not merge redirected datagrams",
	  .per_kind = true,
	  .needs_skel = true },
};

enum feature feature_of_kind(enum feature feature, const struct sock_kind *kind)
{
	return feature + (kind - sock_kinds);
}

bool have_feature(enum feature feature)
{
	return found->features[feature] == 0;
}

static const struct probe *probe_of(enum feature feature, const struct sock_kind **kind)
{
	*kind = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		unsigned int offset = feature - probes[i].feature;

		if (!probes[i].per_kind && offset == 0)
			return &probes[i];
		if (probes[i].per_kind && offset < nr_sock_kinds) {
			*kind = &sock_kinds[offset];
			return &probes[i];
		}
	}
	return NULL;
}

const char *feature_name(enum feature feature)
{
	static char names[NR_FEATURES][32];
	const struct sock_kind *kind;
	const struct probe *probe = feature < NR_FEATURES ? probe_of(feature, &kind) : NULL;

	if (!probe)
		return NULL;
	snprintf(names[feature], sizeof(names[feature]), "%s%s%s", probe->name, kind ? "_" : "",
		 kind ? kind->name : "");
	return names[feature];
}

const char *feature_missing(enum feature feature, char *buf, size_t size)
{
	const struct sock_kind *kind;
	const struct probe *probe = probe_of(feature, &kind);
	int err = found->features[feature];
	const char *remedy = probe->remedy ?: kind->remedy;

	snprintf(buf, size, "no %s (%s); needs %s", feature_name(feature), strerrorname_np(-err),
		 remedy);
	return buf;
}

bool feature_set_parse(const char *names, feature_set *set, const char **bad)
{
	static char name[64];

	*bad = name;
	for (size_t len;; names += len + 1) {
		enum feature f = 0;

		len = strcspn(names, ",");
		snprintf(name, sizeof(name), "%.*s", (int)len, names);
		while (f < NR_FEATURES && (!feature_name(f) || strcmp(feature_name(f), name)))
			f++;
		if (f == NR_FEATURES)
			return false;
		*set |= feature_bit(f);
		if (!names[len])
			return true;
	}
}

/* ---- The probing processes ------------------------------------------------------------------- */

static void load_skel(void)
{
	skel = redirect_bpf__open();
	if (!skel)
		return;
	skel->rodata->redirect_flags = BPF_F_INGRESS;
	if (redirect_bpf__load(skel)) {
		redirect_bpf__destroy(skel);
		skel = NULL;
	}
}

/*
 * Each kind of socket on its own: some wait for data that never comes, and one may crash. What was
 * not tried then counts as present, like what could not be.
 */
static void probe_kind(feature_set wanted, unsigned int k)
{
	const struct sock_kind *kind = &sock_kinds[k];
	bool redirects = false;

	signal(SIGALRM, SIG_DFL);
	alarm(KIND_TIMEOUT_S);
	load_skel();
	if (skel)
		redirects = attach_program(skel->progs.skb_verdict, bpf_map__fd(skel->maps.out_map),
					   BPF_SK_SKB_VERDICT) == 0;
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		const struct probe *probe = &probes[i];
		enum feature feature = probe->feature + k;

		if (!probe->per_kind || !(wanted & feature_bit(feature)))
			continue;
		/*
		 * Missing is what the kernel says no to. Where our own programs do not load,
		 * nothing is known, and the features count as present: the subtests then fail for
		 * all to see, with the log of the verifier.
		 */
		if (!probe->needs_skel || redirects)
			found->features[feature] = probe->try(kind);
		else if (skel)
			found->features[feature] = -EOPNOTSUPP;
	}
	_exit(0);
}

static void probe_common(feature_set wanted)
{
	load_skel();
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		const struct probe *probe = &probes[i];

		if (!probe->per_kind && (wanted & feature_bit(probe->feature)) &&
		    (skel || !probe->needs_skel))
			found->features[probe->feature] = probe->try(NULL);
	}
	_exit(0);
}

static feature_set features_of_kind(unsigned int k)
{
	feature_set set = 0;

	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		if (probes[i].per_kind)
			set |= feature_bit(probes[i].feature + k);
	}
	return set;
}

/*
 * The first socket of a family loads the modules it needs, and waits for them. Another that is opened
 * meanwhile waits for none, and finds a family without a transport.
 */
static void load_families(feature_set wanted)
{
	for (unsigned int k = 0; k < nr_sock_kinds; k++) {
		int fd = wanted & features_of_kind(k) ? socket_opened(&sock_kinds[k]) : -1;

		close_fd(&fd);
	}
}

/* As the leader of a process group, so that nothing outlives a probe that hangs. */
static void try_all(feature_set wanted)
{
	load_families(wanted);
	if (fork() == 0)
		probe_common(wanted);
	for (unsigned int k = 0; k < nr_sock_kinds; k++) {
		if ((wanted & features_of_kind(k)) && fork() == 0)
			probe_kind(wanted, k);
	}
	while (wait(NULL) > 0 || errno == EINTR)
		;
}

static enum preflight classify(int err)
{
	switch (-err) {
	case 0:
		return PREFLIGHT_OK;
	case EPERM:
	case EACCES:
		return PREFLIGHT_NO_PRIVILEGE;
	case ENOSYS:
		return PREFLIGHT_NO_BPF;
	default:
		return PREFLIGHT_NO_SOCKMAP;
	}
}

static int print_nothing(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level;
	(void)fmt;
	(void)ap;
	return 0;
}

/* What hangs is given up; the group is killed as a whole. */
static void on_alarm(int sig)
{
	(void)sig;
	kill(0, SIGKILL);
}

static void probing_process(feature_set wanted)
{
	int netns;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGALRM, on_alarm);
	alarm(PROBE_TIMEOUT_S);
	signal(SIGPIPE, SIG_IGN);
	libbpf_set_print(print_nothing);

	found->error = probe_map_type(BPF_MAP_TYPE_SOCKMAP);
	found->preflight = classify(found->error);
	if (found->preflight != PREFLIGHT_OK)
		_exit(0);
	netns = netns_create();
	if (netns < 0 || netns_enter(netns)) {
		found->error = netns < 0 ? netns : -errno;
		found->preflight =
			found->error == -EPERM ? PREFLIGHT_NO_PRIVILEGE : PREFLIGHT_NO_NETNS;
		_exit(0);
	}
	try_all(wanted);
	_exit(0);
}

static const char *preflight_text(enum preflight preflight)
{
	switch (preflight) {
	case PREFLIGHT_OK:
		return "";
	case PREFLIGHT_NO_PRIVILEGE:
		return "not allowed to create BPF maps and network namespaces; run it as root (it needs CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN)";
	case PREFLIGHT_NO_BPF:
		return "this kernel has no bpf(2); it needs CONFIG_BPF_SYSCALL";
	case PREFLIGHT_NO_SOCKMAP:
		return "this kernel has no sockmap; it needs CONFIG_BPF_STREAM_PARSER, which selects CONFIG_NET_SOCK_MSG";
	case PREFLIGHT_NO_NETNS:
		return "cannot make a network namespace; it needs CONFIG_NET_NS";
	case PREFLIGHT_FAILED:
		return "the process that probes the kernel's features failed";
	}
	return "";
}

enum preflight probe_features(feature_set wanted, char *text, size_t size)
{
	int status = 0;
	pid_t pid;

	found = mmap(NULL, sizeof(*found), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (found == MAP_FAILED) {
		snprintf(text, size, "mmap: %s", strerror(errno));
		return PREFLIGHT_FAILED;
	}
	found->preflight = PREFLIGHT_FAILED;

	pid = fork();
	if (pid == 0)
		probing_process(wanted);
	if (pid < 0)
		found->error = -errno;
	else
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	if (pid > 0)
		kill(-pid, SIGKILL);
	snprintf(text, size, "%s%s%s", preflight_text(found->preflight), found->error ? ": " : "",
		 found->error ? strerror(-found->error) : "");
	return found->preflight;
}
