// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may be in a map: sockets of every kind, in every state.
 *
 * A map takes what can receive: TCP that is connected or listens, UDP with a port, AF_UNIX stream and
 * AF_VSOCK that are connected, AF_UNIX datagram in any state. It refuses everything else, and then
 * nothing has happened. The table at the end says which is which.
 *
 *	opened, bound, listening, connected
 *	connecting		no answer yet
 *	refused			nobody listens
 *	unaccepted		connected, but not accepted by the other end
 *	shut-read, shut-write	shutdown(2) of one direction
 *	peer-closed		the other end is closed
 *	reset			by the other end
 *	disconnected		connected once, to nobody now
 *
 * What happens to those that are in a map:
 *
 *	then-peer-closed	it stays, until it is closed itself
 *	then-reset		it stays or leaves, as the kernel likes, and is gone once it is closed
 *	then-disconnected	the same; and it can be connected, inserted and used again
 *	then-not-listening	so can a listener that is one no more
 *	then-connected		UDP: it stays, with whomever it is connected to
 *	then-addrform		it is an IPv6 socket as long as it is in a map
 *
 * When a sockops program may insert a socket:
 *
 *	sockops-events		when it listens or is established, and on no other event
 *	sockops-unaccepted	a connection that nobody has accepted leaves with its listener
 *
 * And what has no place in a map at all:
 *
 *	not-a-socket		descriptors of other things
 *	foreign			sockets of other families and protocols
 *	owned			sockets that are in use elsewhere, by a REUSEPORT_SOCKARRAY
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "harness/harness.h"
#include "harness/map_case.h"
#include "network_helpers.h"
#include "progs/sockops.h"
#include "sockops.skel.h"

/* ---- States ---------------------------------------------------------------------------------- */

/* The socket that is to be put into a map, and whatever it takes to get it into its state. */
struct subject {
	struct sock_pair pair; /* mapped: the socket */
	int listener;
};

#define SUBJECT_NONE                                    \
	{                                               \
		.pair = SOCK_PAIR_NONE, .listener = -1, \
	}
#define __auto_subject __attribute__((cleanup(close_subject)))

static void close_subject(struct subject *s)
{
	close_pair(&s->pair);
	close_fd(&s->listener);
}

static int status(int ret)
{
	return ret < 0 ? -errno : 0;
}

static int opened(struct subject *s, const struct sock_kind *kind)
{
	s->pair.mapped = socket_opened(kind);
	return s->pair.mapped;
}

/* To any name, which is one of the kernel's choice; not for AF_VSOCK. */
static int bind_any(int fd, const struct sock_kind *kind)
{
	struct sockaddr_storage addr = { .ss_family = kind->family };
	socklen_t len = kind->family == AF_UNIX ? sizeof(addr.ss_family) : sizeof(addr);

	return status(bind(fd, (struct sockaddr *)&addr, len));
}

static int bound(struct subject *s, const struct sock_kind *kind)
{
	if (kind->family != AF_UNIX) {
		s->pair.mapped = socket_bound(kind);
		return s->pair.mapped;
	}
	s->pair.mapped = socket_opened(kind);
	return s->pair.mapped < 0 ? s->pair.mapped : bind_any(s->pair.mapped, kind);
}

static int listening(struct subject *s, const struct sock_kind *kind)
{
	return bound(s, kind) < 0 ? -EBADF : status(listen(s->pair.mapped, 1));
}

static int connected(struct subject *s, const struct sock_kind *kind)
{
	return make_pair(kind, &s->pair);
}

/* A listener whose queue is full does not answer. */
static int connecting(struct subject *s, const struct sock_kind *kind)
{
	struct pollfd pfd = { .events = POLLIN };
	int err;

	pfd.fd = s->listener = socket_bound(kind);
	s->pair.mapped = socket_opened(kind);
	if (s->listener < 0 || s->pair.mapped < 0)
		return -EBADF;
	err = status(listen(s->listener, 0));
	if (err)
		return err;
	s->pair.peer = socket_connected_to(kind, s->listener);
	if (s->pair.peer < 0)
		return s->pair.peer;
	/* Its last ACK may still be on its way to the queue. */
	if (poll(&pfd, 1, io_timeout_ms) != 1)
		return -ETIME;
	if (fcntl(s->pair.mapped, F_SETFL, O_NONBLOCK))
		return -errno;
	err = connect_to(s->pair.mapped, s->listener);
	return err == -EINPROGRESS ? 0 : err ?: -EISCONN;
}

static int refused(struct subject *s, const struct sock_kind *kind)
{
	int err;

	s->listener = socket_bound(kind);
	s->pair.mapped = socket_opened(kind);
	if (s->listener < 0 || s->pair.mapped < 0)
		return -EBADF;
	err = connect_to(s->pair.mapped, s->listener);
	return err == -ECONNREFUSED || err == -ECONNRESET ? 0 : err ?: -EISCONN;
}

static int unaccepted(struct subject *s, const struct sock_kind *kind)
{
	s->listener = socket_loopback(kind);
	if (s->listener < 0)
		return s->listener;
	s->pair.mapped = socket_connected_to(kind, s->listener);
	return s->pair.mapped;
}

static int shut_read(struct subject *s, const struct sock_kind *kind)
{
	return connected(s, kind) ?: status(shutdown(s->pair.mapped, SHUT_RD));
}

static int shut_write(struct subject *s, const struct sock_kind *kind)
{
	return connected(s, kind) ?: status(shutdown(s->pair.mapped, SHUT_WR));
}

static int wait_for(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	return poll(&pfd, 1, patience_ms()) == 1 ? 0 : -ETIME;
}

static int close_peer(struct subject *s)
{
	close_fd(&s->pair.peer);
	return s->pair.kind->type == SOCK_DGRAM ? 0 : wait_for(s->pair.mapped, POLLRDHUP);
}

static int peer_closed(struct subject *s, const struct sock_kind *kind)
{
	return connected(s, kind) ?: close_peer(s);
}

static int reset_by_peer(struct subject *s)
{
	return reset_fd(&s->pair.peer) ?: wait_for(s->pair.mapped, POLLHUP);
}

static int reset(struct subject *s, const struct sock_kind *kind)
{
	return connected(s, kind) ?: reset_by_peer(s);
}

static int disconnect(int fd)
{
	struct sockaddr addr = { .sa_family = AF_UNSPEC };

	return status(connect(fd, &addr, sizeof(addr)));
}

/* UDP gives back the port that connect(2) has chosen for it. */
static int disconnected(struct subject *s, const struct sock_kind *kind)
{
	return unaccepted(s, kind) < 0 ? -EBADF : disconnect(s->pair.mapped);
}

static int disconnected_bound(struct subject *s, const struct sock_kind *kind)
{
	s->listener = socket_loopback(kind);
	s->pair.mapped = socket_bound_for_good(kind);
	return connect_to(s->pair.mapped, s->listener) ?: disconnect(s->pair.mapped);
}

static int disconnected_pair(struct subject *s, const struct sock_kind *kind)
{
	return connected(s, kind) ?: disconnect(s->pair.mapped);
}

/* Kinds of sockets, by what states they have. */
enum column {
	TCP,
	UDP,
	UNIX_STREAM,
	UNIX_DGRAM,
	UNIX_SEQPACKET,
	VSOCK,
	NR_COLUMNS,
};

struct state {
	int (*make)(struct subject *s, const struct sock_kind *kind); /* negative: -errno */
	int error[NR_COLUMNS]; /* of the insert; 0: it works; NO_STATE: there is no such thing */
};

#define NO_STATE (-1)

static enum column column_of(const struct sock_kind *kind)
{
	if (kind->family == AF_VSOCK)
		return VSOCK;
	if (kind->family == AF_UNIX)
		return kind->type == SOCK_STREAM  ? UNIX_STREAM
		       : kind->type == SOCK_DGRAM ? UNIX_DGRAM
						  : UNIX_SEQPACKET;
	return kind->type == SOCK_STREAM ? TCP : UDP;
}

static int error_of(const struct map_case *c, const struct sock_kind *kind)
{
	const struct state *state = c->data;

	return state->error[column_of(kind)];
}

static bool has_state(const struct map_case *c, const struct sock_kind *kind)
{
	return error_of(c, kind) != NO_STATE;
}

static void insert_in_state(const struct map_env *env)
{
	struct subject s __auto_subject = SUBJECT_NONE;
	const struct state *state = env->c->data;
	int map_fd __auto_close = make_map(env, 1);
	int error = error_of(env->c, env->kind);

	if (map_fd < 0 || !CHECK_OK(state->make(&s, env->kind), "make a socket: %s", env->c->name))
		return;
	/* Twice, since the first time may have left something behind. */
	for (unsigned int i = 0; i < 2; i++) {
		if (error) {
			CHECK_ERR(socket_map_update(map_fd, 0, s.pair.mapped, BPF_ANY), error,
				  "insert of a socket: %s", env->c->name);
			check_entry(map_fd, 0, -1);
			continue;
		}
		check_insert(map_fd, 0, s.pair.mapped);
		check_entry(map_fd, 0, s.pair.mapped);
		check_delete(map_fd, 0);
	}
}

/* ---- What happens in a map ------------------------------------------------------------------- */

static bool open_in_map(const struct map_env *env, int *map_fd, struct subject *s)
{
	*map_fd = make_map(env, 1);
	return *map_fd >= 0 && CHECK_OK(connected(s, env->kind), "make a pair of sockets") &&
	       check_insert(*map_fd, 0, s->pair.mapped) && check_entry(*map_fd, 0, s->pair.mapped);
}

static void then_peer_closed(const struct map_env *env)
{
	struct subject s __auto_subject = SUBJECT_NONE;
	int map_fd __auto_close = -1;

	if (!open_in_map(env, &map_fd, &s) || !CHECK_OK(close_peer(&s), "close the peer"))
		return;
	check_entry(map_fd, 0, s.pair.mapped);
	close_fd(&s.pair.mapped);
	check_closed(map_fd, 0);
}

/*
 * What is not connected any more leaves the map at once, or stays since d8616ee2affc ("bpf, sockmap:
 * Fix sk->sk_forward_alloc warn_on in sk_stream_kill_queues").
 */
static bool check_stays_or_left(int map_fd, int fd)
{
	uint64_t cookie = 0;
	int err = socket_map_lookup(map_fd, 0, &cookie);

	return err == -ENOENT || (CHECK_OK(err, "lookup of a socket that may have left") &&
				  CHECK_EQ(cookie, cookie_of(fd), "cookie of one that stays"));
}

static void then_reset(const struct map_env *env)
{
	struct subject s __auto_subject = SUBJECT_NONE;
	int map_fd __auto_close = -1;

	if (!open_in_map(env, &map_fd, &s) || !CHECK_OK(reset_by_peer(&s), "reset"))
		return;
	check_stays_or_left(map_fd, s.pair.mapped);
	close_fd(&s.pair.mapped);
	check_closed(map_fd, 0);
}

/* It is still in the map, or has left; and can be used like a new one. */
static void check_disconnected(const struct map_env *env, int map_fd, struct sock_pair *pair)
{
	int listener __auto_close = socket_loopback(env->kind);

	if (!CHECK_OK(listener, "make a listener") ||
	    !CHECK_OK(disconnect(pair->mapped), "disconnect") ||
	    !check_stays_or_left(map_fd, pair->mapped) ||
	    !CHECK_OK(connect_to(pair->mapped, listener), "connect it again"))
		return;
	CHECK_OK(socket_map_update(map_fd, 0, pair->mapped, BPF_ANY), "update");
	check_entry(map_fd, 0, pair->mapped);
	if (env->kind->type == SOCK_STREAM) {
		pair->peer = accept_timeout(listener);
		if (CHECK_OK(pair->peer, "accept"))
			check_traffic(pair);
	}
	close_fd(&pair->mapped);
	check_closed(map_fd, 0);
}

static void then_disconnected(const struct map_env *env)
{
	struct subject s __auto_subject = SUBJECT_NONE;
	int map_fd __auto_close = make_map(env, 1);

	s.pair.kind = env->kind;
	if (map_fd >= 0 && CHECK_OK(unaccepted(&s, env->kind), "make a connected socket") &&
	    check_insert(map_fd, 0, s.pair.mapped))
		check_disconnected(env, map_fd, &s.pair);
}

/* An IPv6 socket whose peer is an IPv4 one. */
static bool make_mixed_pair(const struct sock_kind *kind, struct sock_pair *pair)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6 };
	int listener __auto_close = socket_loopback(sock_kind("tcp4"));
	struct sockaddr_in in = {};
	socklen_t len = sizeof(in);

	pair->kind = kind;
	pair->mapped = socket_opened(kind);
	if (!CHECK_OK(listener, "make a listener") || !CHECK_OK(pair->mapped, "make a socket") ||
	    !CHECK_OK(status(getsockname(listener, (struct sockaddr *)&in, &len)), "getsockname"))
		return false;
	addr.sin6_port = in.sin_port;
	addr.sin6_addr.s6_addr16[5] = 0xffff;
	addr.sin6_addr.s6_addr32[3] = in.sin_addr.s_addr;
	if (!CHECK_OK(status(connect(pair->mapped, (struct sockaddr *)&addr, sizeof(addr))),
		      "connect to an IPv4 address"))
		return false;
	pair->peer = accept_timeout(listener);
	return CHECK_OK(pair->peer, "accept");
}

static int become_ipv4(int fd)
{
	const int family = PF_INET;

	return status(setsockopt(fd, IPPROTO_IPV6, IPV6_ADDRFORM, &family, sizeof(family)));
}

/* What becomes an IPv4 socket gets the functions of one: not while it has those of a map. */
static void then_addrform(const struct map_env *env)
{
	struct sock_pair pair __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = make_map(env, 1);

	if (map_fd < 0 || !make_mixed_pair(env->kind, &pair) ||
	    !check_insert(map_fd, 0, pair.mapped))
		return;
	CHECK_ERR(become_ipv4(pair.mapped), EBUSY, "IPV6_ADDRFORM of a socket in a map");
	check_entry(map_fd, 0, pair.mapped);
	check_traffic(&pair);
	check_delete(map_fd, 0);
	CHECK_OK(become_ipv4(pair.mapped), "IPV6_ADDRFORM of a socket that has left");
	check_traffic(&pair);
	check_insert(map_fd, 0, pair.mapped);
	check_traffic(&pair);
}

/* A listener that does not listen any more. */
static void then_not_listening(const struct map_env *env)
{
	struct sock_pair pair __auto_pair = { env->kind, socket_loopback(env->kind), -1 };
	int map_fd __auto_close = make_map(env, 1);

	if (map_fd >= 0 && CHECK_OK(pair.mapped, "make a listener") &&
	    check_insert(map_fd, 0, pair.mapped))
		check_disconnected(env, map_fd, &pair);
}

static void then_connected(const struct map_env *env)
{
	struct sock_pair pair __auto_pair = { env->kind, -1, -1 };
	struct sock_pair other __auto_pair = SOCK_PAIR_NONE;
	int map_fd __auto_close = make_map(env, 1);

	pair.mapped = socket_bound_for_good(env->kind);
	if (map_fd < 0 || !CHECK_OK(pair.mapped, "make a socket") ||
	    !check_insert(map_fd, 0, pair.mapped) ||
	    !CHECK_OK(make_pair(env->kind, &other), "make a pair of sockets"))
		return;
	for (unsigned int i = 0; i < 3; i++) {
		close_fd(&pair.peer);
		pair.peer = socket_bound(env->kind);
		if (!CHECK_OK(connect_to(pair.peer, pair.mapped), "connect its peer") ||
		    !CHECK_OK(connect_to(pair.mapped, pair.peer), "connect it"))
			return;
		check_entry(map_fd, 0, pair.mapped);
		check_traffic(&pair);
		CHECK_OK(disconnect(pair.mapped), "disconnect it");
		check_entry(map_fd, 0, pair.mapped);
	}
}

/* ---- What has no place in a map --------------------------------------------------------------- */

static void check_refused(int map_fd, int fd, int error, const char *what)
{
	CHECK_ERR(socket_map_update(map_fd, 0, fd, BPF_ANY), error, "insert of %s", what);
	check_entry(map_fd, 0, -1);
}

static void not_a_socket(const struct map_env *env)
{
	int map_fd __auto_close = make_map(env, 1);
	int dir __auto_close = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int event __auto_close = eventfd(0, EFD_CLOEXEC);
	int epoll __auto_close = epoll_create1(EPOLL_CLOEXEC);
	int closed = dup(dir);
	uint64_t huge = 1ULL << 32;
	uint32_t key = 0;

	if (map_fd < 0)
		return;
	close(closed);
	check_refused(map_fd, -1, EINVAL, "-1");
	check_refused(map_fd, INT_MAX, EBADF, "INT_MAX");
	check_refused(map_fd, closed, EBADF, "a descriptor that is closed");
	check_refused(map_fd, dir, ENOTSOCK, "a directory");
	check_refused(map_fd, event, ENOTSOCK, "an eventfd");
	check_refused(map_fd, epoll, ENOTSOCK, "an epoll instance");
	check_refused(map_fd, map_fd, ENOTSOCK, "the map itself");
	CHECK_ERR(bpf_map_update_elem(map_fd, &key, &huge, BPF_ANY) ? -errno : 0, EINVAL,
		  "insert of a number that is no descriptor");
}

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static void foreign(const struct map_env *env)
{
	static const struct {
		const char *what;
		int family, type, protocol;
	} sockets[] = {
		{ "a netlink socket", AF_NETLINK, SOCK_RAW, 0 },
		{ "a packet socket", AF_PACKET, SOCK_RAW, 0 },
		{ "a raw IPv4 socket", AF_INET, SOCK_RAW, IPPROTO_ICMP },
		{ "a raw IPv6 socket", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6 },
		{ "an MPTCP socket", AF_INET, SOCK_STREAM, IPPROTO_MPTCP },
		{ "a UDP-Lite socket", AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE },
		{ "an SCTP socket", AF_INET, SOCK_STREAM, IPPROTO_SCTP },
		{ "an AF_VSOCK datagram socket", AF_VSOCK, SOCK_DGRAM, 0 },
		{ "a socket of the crypto API", AF_ALG, SOCK_SEQPACKET, 0 },
	};
	int map_fd __auto_close = make_map(env, 1);

	for (size_t i = 0; map_fd >= 0 && i < ARRAY_SIZE(sockets); i++) {
		int fd __auto_close = socket(sockets[i].family, sockets[i].type | SOCK_CLOEXEC,
					     sockets[i].protocol);

		/* Kernels have them or not: it is of no interest here. */
		if (fd >= 0)
			check_refused(map_fd, fd, EOPNOTSUPP, sockets[i].what);
	}
}

/* Both kinds of map keep what they know of a socket in the same place. */
static void owned(const struct map_env *env)
{
	int array __auto_close =
		bpf_map_create(BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, NULL, 4, 8, 1, NULL);
	int map_fd __auto_close = make_map(env, 1);
	int fd __auto_close = socket_opened(env->kind);
	int one = 1;

	if (map_fd < 0 || !CHECK_OK(status(array), "create a REUSEPORT_SOCKARRAY") ||
	    !CHECK_OK(fd, "make a socket") ||
	    !CHECK_OK(status(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one))),
		      "SO_REUSEPORT"))
		return;
	if (!CHECK_OK(bind_any(fd, env->kind), "bind") ||
	    (env->kind->type == SOCK_STREAM && !CHECK_OK(status(listen(fd, 1)), "listen")) ||
	    !CHECK_OK(socket_map_update(array, 0, fd, BPF_ANY), "insert into the other map"))
		return;
	check_refused(map_fd, fd, EBUSY, "a socket that is in a REUSEPORT_SOCKARRAY");
	CHECK_OK(socket_map_delete(array, 0), "delete from the other map");
	check_insert(map_fd, 0, fd);
	check_entry(map_fd, 0, fd);
	CHECK_ERR(socket_map_update(array, 0, fd, BPF_ANY), EBUSY,
		  "insert of a socket that is in a map, into a REUSEPORT_SOCKARRAY");
}

/* ---- Events ---------------------------------------------------------------------------------- */

#define __auto_sockops __attribute__((cleanup(destroy_sockops)))

static void destroy_sockops(struct sockops_bpf **skel)
{
	sockops_bpf__destroy(*skel);
}

static struct sockops_bpf *attach_sockops(const struct map_env *env)
{
	struct sockops_bpf *skel = sockops_bpf__open();
	int cgroup_fd __auto_close = open_cgroup();

	if (!CHECK(skel, "open the BPF object"))
		return NULL;
	bpf_map__set_type(skel->maps.map, env->type);
	skel->rodata->use_sockhash = is_hash(env);
	skel->bss->mark = new_seed();
	for (unsigned int i = 0; i < EVENTS; i++)
		skel->bss->errors[i] = NOT_SEEN;
	if (CHECK_OK(cgroup_fd, "open the cgroup") &&
	    CHECK_OK(sockops_bpf__load(skel), "load the BPF object")) {
		track_bpf_object(skel->obj);
		skel->links.insert_on_event =
			bpf_program__attach_cgroup(skel->progs.insert_on_event, cgroup_fd);
		if (CHECK(skel->links.insert_on_event, "attach to the cgroup: errno %d", errno))
			return skel;
	}
	sockops_bpf__destroy(skel);
	return NULL;
}

/* fd < 0: the event has not put anything into the map. */
static void check_event(const struct sockops_bpf *skel, unsigned int event, int fd,
			const char *what)
{
	CHECK_EQ(skel->bss->errors[event], fd < 0 ? -EOPNOTSUPP : 0, "insert on: %s", what);
	check_entry(bpf_map__fd(skel->maps.map), event, fd);
}

static int marked(int fd, uint32_t mark)
{
	return fd < 0 ? fd : status(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)));
}

static void sockops_events(const struct map_env *env)
{
	int listener __auto_close = socket_bound(env->kind);
	struct sockops_bpf *skel __auto_sockops = NULL;
	struct sock_pair pair __auto_pair = { env->kind, socket_opened(env->kind), -1 };

	skel = attach_sockops(env);
	if (!skel || !CHECK_OK(marked(listener, skel->bss->mark), "mark the listener") ||
	    !CHECK_OK(marked(pair.mapped, skel->bss->mark), "mark the client") ||
	    !CHECK_OK(status(listen(listener, 1)), "listen") ||
	    !CHECK_OK(connect_to(pair.mapped, listener), "connect"))
		return;
	pair.peer = accept_timeout(listener);
	if (!CHECK_OK(pair.peer, "accept"))
		return;
	check_event(skel, BPF_SOCK_OPS_TCP_LISTEN_CB, listener, "BPF_SOCK_OPS_TCP_LISTEN_CB");
	check_event(skel, BPF_SOCK_OPS_TCP_CONNECT_CB, -1, "BPF_SOCK_OPS_TCP_CONNECT_CB");
	check_event(skel, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, pair.mapped,
		    "BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB");
	check_event(skel, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, pair.peer,
		    "BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB");
	check_traffic(&pair);
}

static void sockops_unaccepted(const struct map_env *env)
{
	int listener __auto_close = socket_loopback(env->kind), client __auto_close = -1;
	struct sockops_bpf *skel __auto_sockops = attach_sockops(env);
	const unsigned int event = BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
	uint64_t cookie;

	if (!skel || !CHECK_OK(marked(listener, skel->bss->mark), "mark the listener"))
		return;
	client = socket_connected_to(env->kind, listener);
	if (!CHECK_OK(client, "connect") || !CHECK_OK(wait_for(listener, POLLIN), "a connection") ||
	    !CHECK_EQ(skel->bss->errors[event], 0, "insert what is not accepted yet") ||
	    !CHECK_OK(socket_map_lookup(bpf_map__fd(skel->maps.map), event, &cookie), "lookup"))
		return;
	close_fd(&listener);
	check_closed(bpf_map__fd(skel->maps.map), event);
	check_end_of_stream(client, ECONNRESET, "the connection, whose listener was closed");
}

/* ---- The plan -------------------------------------------------------------------------------- */

static const char *const tcp[] = { "tcp4", "tcp6", NULL };
static const char *const tcp6[] = { "tcp6", NULL };
static const char *const udp[] = { "udp4", "udp6", NULL };
static const char *const inet[] = { "tcp4", "tcp6", "udp4", "udp6", NULL };

static const struct fix unhashed_fixes[] = {
	{ "66efd3368ae1", "bpf, sockmap: Reject unhashed UDP sockets on sockmap update" },
	{ "8d6650646ce4", "bpf: syzkaller found null ptr deref in unix_bpf proto add" },
	{},
};

static const struct fix destroy_fixes[] = {
	{ "d8616ee2affc", "bpf, sockmap: Fix sk->sk_forward_alloc warn_on in "
			  "sk_stream_kill_queues" },
	{},
};

static const struct fix addrform_fixes[] = {
	{ "b6f6118901d1", "ipv6: restrict IPV6_ADDRFORM operation" },
	{},
};

static const struct fix close_fixes[] = {
	{ "135ffc7becc8", "bpf, vsock: Invoke proto::close on close()" },
	{},
};

#define NO   EOPNOTSUPP
#define NONE NO_STATE

/* The errors are those of TCP, UDP, AF_UNIX stream, datagram and seqpacket, AF_VSOCK. */
#define STATE(state_name, make_fn, ...)                                                           \
	{                                                                                         \
		state_name, all_kinds, .run = insert_in_state, .fits = has_state,                 \
				       .data = &(const struct state){ make_fn, { __VA_ARGS__ } }, \
				       .guards = unhashed_fixes,                                  \
	}

static const struct map_case cases[] = {
	/* clang-format off */
	/*				tcp   udp   stream dgram seqp. vsock */
	STATE("opened", opened,		NO,   NO,   NO,   0,    NO,   NO),
	STATE("bound", bound,		NO,   0,    NO,   0,    NO,   NO),
	STATE("listening", listening,	0,    NONE, NO,   NONE, NO,   NO),
	STATE("connecting", connecting,	NO,   NONE, NONE, NONE, NONE, NONE),
	STATE("refused", refused,	NO,   NONE, NONE, NONE, NONE, NO),
	STATE("unaccepted", unaccepted,	0,    0,    NONE, NONE, NONE, 0),
	STATE("connected", connected,	0,    0,    0,    0,    NO,   0),
	STATE("shut-read", shut_read,	0,    0,    0,    0,    NO,   0),
	STATE("shut-write", shut_write,	NO,   0,    0,    0,    NO,   0),
	STATE("peer-closed", peer_closed, NO, 0,    0,    0,    NO,   NO),
	STATE("reset", reset,		NO,   NONE, NONE, NONE, NONE, NONE),
	STATE("disconnected", disconnected, NO, NO, NONE, NONE, NONE, NONE),
	STATE("disconnected-bound", disconnected_bound, NO, 0, NONE, NONE, NONE, NONE),
	STATE("disconnected-pair", disconnected_pair, NONE, NONE, NONE, 0, NONE, NONE),
	/* clang-format on */

	{ "then-peer-closed", mappable_kinds, .run = then_peer_closed, .guards = close_fixes },
	{ "then-reset", tcp, .run = then_reset },
	{ "then-disconnected", inet, .run = then_disconnected },
	{ "then-not-listening", tcp, .run = then_not_listening },
	{ "then-connected", udp, .run = then_connected },
	{ "then-addrform", tcp6, .run = then_addrform, .guards = addrform_fixes },
	{ "sockops-unaccepted", tcp, .run = sockops_unaccepted,
	  .needs = (feature_set)1 << FEAT_CGROUP, .guards = destroy_fixes },
	{ "sockops-events", tcp, .run = sockops_events, .needs = (feature_set)1 << FEAT_CGROUP },

	{ "not-a-socket", NULL, .run = not_a_socket },
	{ "foreign", NULL, .run = foreign },
	{ "owned", inet, .run = owned },
};

static bool describe(unsigned int i, struct subtest *sub)
{
	return map_case_describe(cases, ARRAY_SIZE(cases), i, sub);
}

static void run(unsigned int i)
{
	map_case_run(cases, ARRAY_SIZE(cases), i);
}

DEFINE_TEST(sockmap_insert, describe, run);
