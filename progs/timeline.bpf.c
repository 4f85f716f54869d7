// SPDX-License-Identifier: GPL-2.0-only
/*
 * Watches what the kernel does with the data of one network namespace, that of a traced subtest.
 *
 * Each program is optional: user space loads those whose function the kernel has, with the
 * parameters that are expected here. Of the kernel's structures only the fields that are read are
 * declared; what a kernel calls or places otherwise is relocated, or found missing, when it loads.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "timeline.h"

/* BPF_PROG() takes parameters by their place, so those before the one that is read are named, too. */
#pragma clang diagnostic ignored "-Wunused-parameter"

#define KERNEL __attribute__((preserve_access_index))

struct ns_common {
	unsigned int inum;
} KERNEL;

struct net {
	struct ns_common ns;
} KERNEL;

typedef struct {
	struct net *net;
} KERNEL possible_net_t;

typedef struct {
	long long counter;
} KERNEL atomic64_t;

struct sock_common {
	possible_net_t skc_net;
	atomic64_t skc_cookie;
} KERNEL;

struct sock {
	struct sock_common __sk_common;
	void *sk_user_data;
} KERNEL;

struct socket {
	struct sock *sk;
} KERNEL;

struct list_head {
	struct list_head *next;
} KERNEL;

struct sk_buff_head {
	__u32 qlen;
} KERNEL;

struct work_struct {
	int unused;
};

struct sk_psock {
	struct sock *sk;
	struct sock *sk_redir;
	bool redir_ingress;
	struct sk_buff_head ingress_skb;
	struct list_head ingress_msg;
	unsigned long state;
	struct work_struct work;
} KERNEL;

struct sk_buff {
	unsigned long _sk_redir;
	char cb[48];
} KERNEL;

/* Where _sk_redir was before 5.12. */
struct tcp_skb_cb {
	struct {
		__u32 flags;
		struct sock *sk_redir;
	} bpf;
} KERNEL;

struct sk_msg {
	__u32 flags;
} KERNEL;

struct nsproxy {
	struct net *net_ns;
} KERNEL;

struct task_struct {
	int pid;
	char comm[16];
	struct nsproxy *nsproxy;
} KERNEL;

/* Bits at the end of the two pointers. */
#define REDIRECT_FLAGS	0x3UL
#define USER_DATA_FLAGS 0x7UL

#define TX_ENABLED  (1UL << 0) /* in sk_psock::state */
#define QUEUE_SHOWN 16	       /* count that far */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 23);
} events SEC(".maps");

/* The namespaces of the traced subtests. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} traced SEC(".maps");

__u64 lost;

static __always_inline __u32 netns_of(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

static __always_inline __u64 cookie_of(struct sock *sk)
{
	return sk ? BPF_CORE_READ(sk, __sk_common.skc_cookie.counter) : 0;
}

static __always_inline bool is_traced(__u32 netns)
{
	return bpf_map_lookup_elem(&traced, &netns);
}

static __always_inline struct timeline_event *begin(__u32 point, __u32 netns)
{
	struct timeline_event *e;

	if (!is_traced(netns))
		return NULL;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		__sync_fetch_and_add(&lost, 1);
		return NULL;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->ns = bpf_ktime_get_ns();
	e->point = point;
	e->netns = netns;
	e->tid = (__u32)bpf_get_current_pid_tgid();
	e->cpu = bpf_get_smp_processor_id();
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	return e;
}

struct details {
	struct sock *target;
	void *skb;
	__s64 value;
	__u64 more;
};

static __always_inline int record(__u32 point, struct sock *sk, struct details d)
{
	struct timeline_event *e = begin(point, netns_of(sk));

	if (!e)
		return 0;
	e->sock = cookie_of(sk);
	e->target = cookie_of(d.target);
	e->skb = (__u64)(unsigned long)d.skb;
	e->value = d.value;
	e->more = d.more;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

#define RECORD(point, sk, ...) record(point, sk, (struct details){ __VA_ARGS__ })

/* ---- The verdict ------------------------------------------------------------------------------- */

SEC("fentry/sk_psock_verdict_data_ready")
int BPF_PROG(verdict_data_ready, struct sock *sk)
{
	return RECORD(TL_ARRIVED, sk);
}

SEC("fentry/sk_psock_strp_data_ready")
int BPF_PROG(strp_data_ready, struct sock *sk)
{
	return RECORD(TL_ARRIVED, sk, .more = 1);
}

static __always_inline struct sock *redirected_to(struct sk_buff *skb, __u64 *flags)
{
	struct tcp_skb_cb *cb = (void *)skb + bpf_core_field_offset(skb->cb);
	unsigned long word;

	if (bpf_core_field_exists(skb->_sk_redir)) {
		word = BPF_CORE_READ(skb, _sk_redir);
		*flags = word & BPF_F_INGRESS;
		return (struct sock *)(word & ~REDIRECT_FLAGS);
	}
	*flags = BPF_CORE_READ(cb, bpf.flags) & BPF_F_INGRESS;
	return BPF_CORE_READ(cb, bpf.sk_redir);
}

SEC("fentry/sk_psock_verdict_apply")
int BPF_PROG(verdict_apply, struct sk_psock *psock, struct sk_buff *skb, int verdict)
{
	__u64 flags = 0;
	struct sock *target = verdict == TL_REDIRECT ? redirected_to(skb, &flags) : NULL;

	return RECORD(TL_VERDICT, BPF_CORE_READ(psock, sk), .target = target, .skb = skb,
		      .value = verdict, .more = flags);
}

static __always_inline bool msg_goes_to_ingress(struct sk_psock *psock, struct sk_msg *msg)
{
	if (bpf_core_field_exists(psock->redir_ingress))
		return BPF_CORE_READ(psock, redir_ingress);
	return BPF_CORE_READ(msg, flags) & BPF_F_INGRESS;
}

SEC("fexit/sk_psock_msg_verdict")
int BPF_PROG(msg_verdict, struct sock *sk, struct sk_psock *psock, struct sk_msg *msg, int ret)
{
	bool redirect = ret == TL_REDIRECT;

	return RECORD(TL_MSG_VERDICT, sk,
		      .target = redirect ? BPF_CORE_READ(psock, sk_redir) : NULL, .value = ret,
		      .more = redirect && msg_goes_to_ingress(psock, msg));
}

/* ---- The worker -------------------------------------------------------------------------------- */

SEC("fentry/sk_psock_skb_redirect")
int BPF_PROG(skb_redirect, struct sk_psock *from, struct sk_buff *skb)
{
	__u64 flags;
	struct sock *target = redirected_to(skb, &flags);

	return RECORD(TL_WORK_QUEUED, BPF_CORE_READ(from, sk), .target = target, .skb = skb,
		      .more = flags);
}

SEC("fexit/sk_psock_skb_redirect")
int BPF_PROG(skb_redirect_end, struct sk_psock *from, struct sk_buff *skb, int ret)
{
	return ret ? RECORD(TL_REFUSED, BPF_CORE_READ(from, sk), .skb = skb, .value = ret) : 0;
}

/* The work is a delayed one since 6.3, which begins with the work. */
static __always_inline struct sk_psock *psock_of_work(void *work)
{
	return work - bpf_core_field_offset(struct sk_psock, work);
}

static __always_inline int backlog(__u32 point, void *work)
{
	struct sk_psock *psock = psock_of_work(work);

	return RECORD(point, BPF_CORE_READ(psock, sk),
		      .value = BPF_CORE_READ(psock, ingress_skb.qlen),
		      .more = !(BPF_CORE_READ(psock, state) & TX_ENABLED));
}

SEC("fentry/sk_psock_backlog")
int BPF_PROG(backlog_begin, void *work)
{
	return backlog(TL_WORK_RUNS, work);
}

SEC("fexit/sk_psock_backlog")
int BPF_PROG(backlog_end, void *work)
{
	return backlog(TL_WORK_ENDS, work);
}

SEC("fentry/sk_psock_skb_ingress_enqueue")
int BPF_PROG(ingress_enqueue, struct sk_buff *skb, __u32 off, __u32 len, struct sk_psock *psock,
	     struct sock *sk)
{
	return RECORD(TL_QUEUED, sk, .skb = skb, .value = len, .more = off);
}

SEC("fexit/skb_send_sock")
int BPF_PROG(send_sock, struct sock *sk, struct sk_buff *skb, int offset, int len, int ret)
{
	return RECORD(TL_SKB_SENT, sk, .skb = skb, .value = ret, .more = TL_PART(offset, len));
}

SEC("fexit/skb_send_sock_locked")
int BPF_PROG(send_sock_locked, struct sock *sk, struct sk_buff *skb, int offset, int len, int ret)
{
	return RECORD(TL_SKB_SENT, sk, .skb = skb, .value = ret, .more = TL_PART(offset, len));
}

/* ---- sk_msg ------------------------------------------------------------------------------------ */

SEC("fentry/tcp_bpf_sendmsg_redir")
int BPF_PROG(msg_redirect, struct sock *sk)
{
	return RECORD(TL_MSG_REDIRECT, sk);
}

/* Since 6.2; the parameter `ingress` is what came. */
SEC("fexit/tcp_bpf_sendmsg_redir")
int BPF_PROG(msg_redirect_end5, struct sock *sk, bool ingress, struct sk_msg *msg, __u32 bytes,
	     int flags, int ret)
{
	return ret < 0 ? RECORD(TL_MSG_REFUSED, sk, .value = ret) : 0;
}

SEC("fexit/tcp_bpf_sendmsg_redir")
int BPF_PROG(msg_redirect_end4, struct sock *sk, struct sk_msg *msg, __u32 bytes, int flags,
	     int ret)
{
	return ret < 0 ? RECORD(TL_MSG_REFUSED, sk, .value = ret) : 0;
}

SEC("fexit/tcp_bpf_push")
int BPF_PROG(msg_push, struct sock *sk, struct sk_msg *msg, __u32 apply_bytes, int flags,
	     bool uncharge, int ret)
{
	return RECORD(TL_MSG_PUSHED, sk, .value = ret);
}

/* ---- The reader -------------------------------------------------------------------------------- */

/* Messages where a read of sk finds them; sk_user_data may be anyone's, psock->sk tells. */
static __always_inline int count_queue(struct sock *sk)
{
	unsigned long word = (unsigned long)BPF_CORE_READ(sk, sk_user_data) & ~USER_DATA_FLAGS;
	struct sk_psock *psock = (struct sk_psock *)word;
	struct list_head *head, *next;
	int n = 0;

	if (!psock || BPF_CORE_READ(psock, sk) != sk)
		return 0;
	head = (void *)psock + bpf_core_field_offset(psock->ingress_msg);
	next = BPF_CORE_READ(head, next);
	for (int i = 0; i < QUEUE_SHOWN; i++) {
		if (!next || next == head)
			break;
		next = BPF_CORE_READ(next, next);
		n++;
	}
	return n;
}

SEC("fentry/sock_def_readable")
int BPF_PROG(data_ready, struct sock *sk)
{
	/* This one runs for every socket of the machine. */
	if (!is_traced(netns_of(sk)))
		return 0;
	return RECORD(TL_DATA_READY, sk, .value = count_queue(sk));
}

SEC("fentry/sk_psock_write_space")
int BPF_PROG(write_space, struct sock *sk)
{
	return RECORD(TL_WRITE_SPACE, sk);
}

SEC("tp_btf/sched_waking")
int BPF_PROG(waking, struct task_struct *p)
{
	struct timeline_event *e = begin(TL_WAKING, BPF_CORE_READ(p, nsproxy, net_ns, ns.inum));

	if (!e)
		return 0;
	e->value = BPF_CORE_READ(p, pid);
	BPF_CORE_READ_INTO(&e->text, p, comm);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

#define POLL(name, id)                                                                       \
	SEC("fexit/" #name)                                                                  \
	int BPF_PROG(name, void *file, struct socket *sock, void *wait, __u32 ret)           \
	{                                                                                    \
		return RECORD(TL_POLLED, BPF_CORE_READ(sock, sk), .value = ret, .more = id); \
	}

POLL(tcp_poll, TL_TCP_POLL)
POLL(udp_poll, TL_UDP_POLL)
POLL(unix_poll, TL_UNIX_POLL)
POLL(unix_dgram_poll, TL_UNIX_DGRAM_POLL)
POLL(vsock_poll, TL_VSOCK_POLL)

SEC("fexit/sk_msg_recvmsg")
int BPF_PROG(taken, struct sock *sk, void *psock, void *msg, int len, int flags, int ret)
{
	return RECORD(TL_TAKEN, sk, .value = ret, .more = flags);
}

SEC("fexit/__sk_msg_recvmsg")
int BPF_PROG(taken_from_queue, struct sock *sk, void *psock, void *msg, int len, int flags,
	     void *from_self, int ret)
{
	return RECORD(TL_TAKEN, sk, .value = ret, .more = flags);
}

SEC("fexit/__tcp_bpf_recvmsg")
int BPF_PROG(taken_by_tcp, struct sock *sk, void *psock, void *msg, int len, int flags, int ret)
{
	return RECORD(TL_TAKEN, sk, .value = ret, .more = flags);
}

char _license[] SEC("license") = "GPL";
