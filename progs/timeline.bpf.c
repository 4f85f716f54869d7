// SPDX-License-Identifier: GPL-2.0-only
/*
 * Watches what the kernel does with the data of one network namespace, that of a traced subtest.
 *
 * Each program is optional: user space (harness/tracer.c) loads those whose function the kernel has,
 * with the parameters that are expected here. Of the kernel's structures only the fields that are
 * read are declared; what a kernel calls or places otherwise is relocated, or found missing, when it
 * loads.
 *
 * A function of the kernel is watched by fentry or fexit, and where those cannot be attached, by
 * kprobes. That needs no BTF of the kernel; where there is none, sockets are known by their address,
 * and what only a field tells is left out: see "Without BTF".
 */
#include <stdbool.h>
#include <asm/ptrace.h>
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "timeline.h"

/* Parameters come by their place, so those before the one that is read are named, too; as words. */
#pragma clang diagnostic ignored "-Wunused-parameter"
#pragma clang diagnostic ignored "-Wint-conversion"

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
	unsigned int len;
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

/* ---- Two ways to get there --------------------------------------------------------------------- */

#define PARAMETERS_MAX 5

/*
 * A program is written once, as a function of the parameters that it is given by name. With them it is
 * called by NAME, which is for fentry or fexit, and by NAME_kprobe, for a kprobe or a kretprobe: either
 * has them, and what the kernel's function returns, in an array of words.
 */
#define AT_ENTRY(name, function, args...)                                      \
	static __always_inline int on_##name(unsigned long long *ctx, ##args); \
	SEC("fentry/" function) int name(unsigned long long *ctx)              \
	{                                                                      \
		return on_##name(___bpf_ctx_cast(args));                       \
	}                                                                      \
	SEC("kprobe") int name##_kprobe(struct pt_regs *regs)                  \
	{                                                                      \
		unsigned long long ctx[PARAMETERS_MAX] = PARAMETERS(regs);     \
                                                                               \
		return on_##name(___bpf_ctx_cast(args));                       \
	}                                                                      \
	static __always_inline int on_##name(unsigned long long *ctx, ##args)

/* The last parameter is what the function returns. */
#define AT_EXIT(name, function, args...) AT_EXIT_WITH(name, function, ___bpf_narg(args) - 1, args)

/* It returns nothing. */
#define AT_EXIT_OF_VOID(name, function, args...) \
	AT_EXIT_WITH(name, function, PARAMETERS_MAX + 1, args)

#define AT_EXIT_WITH(name, function, place_of_return, args...)   \
	AT_EXIT_BY_KPROBE(name, place_of_return, args)           \
	SEC("fexit/" function) int name(unsigned long long *ctx) \
	{                                                        \
		return on_##name(___bpf_ctx_cast(args));         \
	}                                                        \
	static __always_inline int on_##name(unsigned long long *ctx, ##args)

/* A kretprobe has no parameters: those that another kprobe, NAME_enter, has left for it. */
#define AT_EXIT_BY_KPROBE(name, place_of_return, args...)                      \
	static __always_inline int on_##name(unsigned long long *ctx, ##args); \
	SEC("kprobe") int name##_enter(struct pt_regs *regs)                   \
	{                                                                      \
		return enter(regs, __LINE__);                                  \
	}                                                                      \
	SEC("kretprobe") int name##_kprobe(struct pt_regs *regs)               \
	{                                                                      \
		unsigned long long ctx[PARAMETERS_MAX + 2] = {};               \
                                                                               \
		if (!leave(__LINE__, ctx))                                     \
			return 0;                                              \
		ctx[place_of_return] = PT_REGS_RC(regs);                       \
		return on_##name(___bpf_ctx_cast(args));                       \
	}

#define PARAMETERS(regs)                                                       \
	{                                                                      \
		PT_REGS_PARM1(regs), PT_REGS_PARM2(regs), PT_REGS_PARM3(regs), \
			PT_REGS_PARM4(regs), PT_REGS_PARM5(regs)               \
	}

/* What runs: a function, by the line of its program, on a thread. */
struct call {
	__u64 thread;
	__u64 line;
};

struct parameters {
	unsigned long long words[PARAMETERS_MAX];
};

/* Functions that have been entered, and not left. A thread that dies in one never leaves it. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct call);
	__type(value, struct parameters);
} calls SEC(".maps");

static __always_inline int enter(struct pt_regs *regs, __u64 line)
{
	struct call call = { bpf_get_current_pid_tgid(), line };
	struct parameters parameters = { PARAMETERS(regs) };

	bpf_map_update_elem(&calls, &call, &parameters, BPF_ANY);
	return 0;
}

static __always_inline bool leave(__u64 line, unsigned long long *words)
{
	struct call call = { bpf_get_current_pid_tgid(), line };
	struct parameters *parameters = bpf_map_lookup_elem(&calls, &call);

	if (!parameters)
		return false;
	for (int i = 0; i < PARAMETERS_MAX; i++)
		words[i] = parameters->words[i];
	bpf_map_delete_elem(&calls, &call);
	return true;
}

/* ---- Without BTF ------------------------------------------------------------------------------- */

/* Where work_struct has its function; so it does in every kernel. */
#define WORK_FUNCTION 24

/* Bytes of an skb between which it says where it is redirected to: behind its owner, and its time. */
#define REDIRECTION_BEGIN 40
#define REDIRECTION_END	  128

#define PSOCK_MAX 2048

/*
 * The cookies of sockets, by address: from when the kernel hands one out, and user space asks for that
 * of every socket that it makes or puts into a map, until the socket is destroyed. What is taken for
 * the address of a socket is looked up here: if it is none, or nobody's business, it is not found.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 14);
	__type(key, __u64);
	__type(value, __u64);
} cookies SEC(".maps");

__u64 backlog_function; /* the address of sk_psock_backlog(), from user space */
__u64 psock_work;	/* where sk_psock has its work; 0: not known yet */

static __always_inline bool has_btf(void)
{
	return bpf_core_field_exists(struct sock, __sk_common.skc_cookie);
}

AT_EXIT_BY_KPROBE(learn_cookie, 1, struct sock *sk, __u64 cookie)
static __always_inline int on_learn_cookie(unsigned long long *ctx, struct sock *sk, __u64 cookie)
{
	__u64 address = (unsigned long)sk;

	bpf_map_update_elem(&cookies, &address, &cookie, BPF_ANY);
	return 0;
}

/* Another socket may get its address. */
SEC("kprobe")
int BPF_KPROBE(forget_cookie_kprobe, struct sock *sk)
{
	__u64 address = (unsigned long)sk;

	bpf_map_delete_elem(&cookies, &address);
	return 0;
}

/* A new psock: where is the work that has sk_psock_backlog() for its function? */
SEC("kretprobe")
int BPF_KRETPROBE(learn_work_kprobe, void *psock)
{
	for (__u64 at = WORK_FUNCTION; at < PSOCK_MAX; at += sizeof(at)) {
		__u64 word = 0;

		if (psock_work || bpf_probe_read_kernel(&word, sizeof(word), psock + at))
			break;
		if (word == backlog_function)
			psock_work = at - WORK_FUNCTION;
	}
	return 0;
}

static __always_inline __u64 known_cookie(__u64 address)
{
	__u64 *cookie = bpf_map_lookup_elem(&cookies, &address);

	return cookie ? *cookie : 0;
}

/* The last one: data may have an owner that is a socket, and that comes before. */
static __always_inline struct sock *search_redirection(struct sk_buff *skb, __u64 *flags)
{
	struct sock *found = NULL;

	for (int at = REDIRECTION_BEGIN; at < REDIRECTION_END; at += sizeof(__u64)) {
		__u64 word = 0;

		bpf_probe_read_kernel(&word, sizeof(word), (void *)skb + at);
		if (!known_cookie(word & ~REDIRECT_FLAGS))
			continue;
		found = (struct sock *)(unsigned long)(word & ~REDIRECT_FLAGS);
		/* No flag: some kernels have it elsewhere. */
		*flags = word & BPF_F_INGRESS ?: TL_ANY_DIRECTION;
	}
	return found;
}

/* ---- Events ------------------------------------------------------------------------------------ */

/* 0: not known. */
static __always_inline __u32 netns_of(struct sock *sk)
{
	return has_btf() ? BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum) : 0;
}

static __always_inline __u64 cookie_of(struct sock *sk)
{
	if (!has_btf())
		return known_cookie((unsigned long)sk);
	return sk ? BPF_CORE_READ(sk, __sk_common.skc_cookie.counter) : 0;
}

static __always_inline bool is_traced(__u32 netns)
{
	return bpf_map_lookup_elem(&traced, &netns);
}

static __always_inline bool is_watched(struct sock *sk)
{
	return has_btf() ? is_traced(netns_of(sk)) : cookie_of(sk) != 0;
}

static __always_inline struct timeline_event *begin(__u32 point, __u32 netns)
{
	struct timeline_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

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
	struct timeline_event *e;

	if (!is_watched(sk))
		return 0;
	e = begin(point, netns_of(sk));
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

AT_ENTRY(verdict_data_ready, "sk_psock_verdict_data_ready", struct sock *sk)
{
	return RECORD(TL_ARRIVED, sk);
}

AT_ENTRY(strp_data_ready, "sk_psock_strp_data_ready", struct sock *sk)
{
	return RECORD(TL_ARRIVED, sk, .more = 1);
}

static __always_inline struct sock *redirected_to(struct sk_buff *skb, __u64 *flags)
{
	struct tcp_skb_cb *cb;
	unsigned long word;

	if (!has_btf())
		return search_redirection(skb, flags);
	if (bpf_core_field_exists(skb->_sk_redir)) {
		word = BPF_CORE_READ(skb, _sk_redir);
		*flags = word & BPF_F_INGRESS;
		return (struct sock *)(word & ~REDIRECT_FLAGS);
	}
	cb = (void *)skb + bpf_core_field_offset(skb->cb);
	*flags = BPF_CORE_READ(cb, bpf.flags) & BPF_F_INGRESS;
	return BPF_CORE_READ(cb, bpf.sk_redir);
}

AT_ENTRY(verdict_apply, "sk_psock_verdict_apply", struct sk_psock *psock, struct sk_buff *skb,
	 int verdict)
{
	__u64 flags = 0;
	struct sock *target = verdict == TL_REDIRECT ? redirected_to(skb, &flags) : NULL;

	return RECORD(TL_VERDICT, BPF_CORE_READ(psock, sk), .target = target, .skb = skb,
		      .value = verdict, .more = flags);
}

static __always_inline __u64 direction_of(struct sk_psock *psock, struct sk_msg *msg)
{
	if (!has_btf())
		return TL_ANY_DIRECTION;
	if (bpf_core_field_exists(psock->redir_ingress))
		return BPF_CORE_READ(psock, redir_ingress) ? BPF_F_INGRESS : 0;
	return BPF_CORE_READ(msg, flags) & BPF_F_INGRESS;
}

AT_EXIT(msg_verdict, "sk_psock_msg_verdict", struct sock *sk, struct sk_psock *psock,
	struct sk_msg *msg, int ret)
{
	bool redirect = ret == TL_REDIRECT;

	return RECORD(TL_MSG_VERDICT, sk,
		      .target = redirect ? BPF_CORE_READ(psock, sk_redir) : NULL, .value = ret,
		      .more = redirect ? direction_of(psock, msg) : 0);
}

/* ---- The worker -------------------------------------------------------------------------------- */

AT_ENTRY(skb_redirect, "sk_psock_skb_redirect", struct sk_psock *from, struct sk_buff *skb)
{
	__u64 flags = 0;
	struct sock *target = redirected_to(skb, &flags);

	return RECORD(TL_WORK_QUEUED, BPF_CORE_READ(from, sk), .target = target, .skb = skb,
		      .more = flags);
}

/* Before 5.17: it is not told from where. */
SEC("fentry/sk_psock_skb_redirect")
int BPF_PROG(skb_redirect1, struct sk_buff *skb)
{
	__u64 flags = 0;
	struct sock *target = redirected_to(skb, &flags);

	return RECORD(TL_WORK_QUEUED, target, .target = target, .skb = skb, .more = flags);
}

AT_EXIT(skb_redirect_end, "sk_psock_skb_redirect", struct sk_psock *from, struct sk_buff *skb,
	int ret)
{
	return ret ? RECORD(TL_REFUSED, BPF_CORE_READ(from, sk), .skb = skb, .value = ret) : 0;
}

/* The work is a delayed one since 6.3, which begins with the work. */
static __always_inline struct sk_psock *psock_of_work(void *work)
{
	return work - (has_btf() ? bpf_core_field_offset(struct sk_psock, work) : psock_work);
}

static __always_inline int backlog(__u32 point, void *work)
{
	struct sk_psock *psock = psock_of_work(work);
	struct sock *sk = BPF_CORE_READ(psock, sk);

	if (!has_btf())
		return RECORD(point, sk, .value = TL_UNKNOWN);
	return RECORD(point, sk, .value = BPF_CORE_READ(psock, ingress_skb.qlen),
		      .more = !(BPF_CORE_READ(psock, state) & TX_ENABLED));
}

AT_ENTRY(backlog_begin, "sk_psock_backlog", void *work)
{
	return backlog(TL_WORK_RUNS, work);
}

AT_EXIT_OF_VOID(backlog_end, "sk_psock_backlog", void *work)
{
	return backlog(TL_WORK_ENDS, work);
}

/* Some kernels pass less, and without BTF that shows only in what the parameters are. */
AT_ENTRY(ingress_enqueue, "sk_psock_skb_ingress_enqueue", struct sk_buff *skb, __u32 off, __u32 len,
	 struct sk_psock *psock, struct sock *sk)
{
	if (BPF_CORE_READ(psock, sk) != sk)
		return 0;
	return RECORD(TL_QUEUED, sk, .skb = skb, .value = len, .more = off);
}

/* Before 5.16: all of the skb. */
SEC("fentry/sk_psock_skb_ingress_enqueue")
int BPF_PROG(ingress_enqueue4, struct sk_buff *skb, struct sk_psock *psock, struct sock *sk)
{
	return RECORD(TL_QUEUED, sk, .skb = skb, .value = BPF_CORE_READ(skb, len));
}

AT_EXIT(send_sock, "skb_send_sock", struct sock *sk, struct sk_buff *skb, int offset, int len,
	int ret)
{
	return RECORD(TL_SKB_SENT, sk, .skb = skb, .value = ret, .more = TL_PART(offset, len));
}

AT_EXIT(send_sock_locked, "skb_send_sock_locked", struct sock *sk, struct sk_buff *skb, int offset,
	int len, int ret)
{
	return RECORD(TL_SKB_SENT, sk, .skb = skb, .value = ret, .more = TL_PART(offset, len));
}

/* ---- sk_msg ------------------------------------------------------------------------------------ */

AT_ENTRY(msg_redirect, "tcp_bpf_sendmsg_redir", struct sock *sk)
{
	return RECORD(TL_MSG_REDIRECT, sk);
}

AT_EXIT(msg_redirect_end4, "tcp_bpf_sendmsg_redir", struct sock *sk, struct sk_msg *msg,
	__u32 bytes, int flags, int ret)
{
	return ret < 0 ? RECORD(TL_MSG_REFUSED, sk, .value = ret) : 0;
}

/* Since 6.2; the parameter `ingress` is what came, which matters to fexit alone. */
SEC("fexit/tcp_bpf_sendmsg_redir")
int BPF_PROG(msg_redirect_end5, struct sock *sk, bool ingress, struct sk_msg *msg, __u32 bytes,
	     int flags, int ret)
{
	return ret < 0 ? RECORD(TL_MSG_REFUSED, sk, .value = ret) : 0;
}

AT_EXIT(msg_push, "tcp_bpf_push", struct sock *sk, struct sk_msg *msg, __u32 apply_bytes, int flags,
	bool uncharge, int ret)
{
	return RECORD(TL_MSG_PUSHED, sk, .value = ret);
}

/* ---- The reader -------------------------------------------------------------------------------- */

/* Messages where a read of sk finds them; sk_user_data may be anyone's, psock->sk tells. */
static __always_inline int count_queue(struct sock *sk)
{
	struct list_head *head, *next;
	struct sk_psock *psock;
	unsigned long word;
	int n = 0;

	if (!has_btf())
		return TL_UNKNOWN;
	word = (unsigned long)BPF_CORE_READ(sk, sk_user_data) & ~USER_DATA_FLAGS;
	psock = (struct sk_psock *)word;
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

AT_ENTRY(data_ready, "sock_def_readable", struct sock *sk)
{
	/* This one runs for every socket of the machine. */
	if (!is_watched(sk))
		return 0;
	return RECORD(TL_DATA_READY, sk, .value = count_queue(sk));
}

AT_ENTRY(write_space, "sk_psock_write_space", struct sock *sk)
{
	return RECORD(TL_WRITE_SPACE, sk);
}

SEC("tp_btf/sched_waking")
int BPF_PROG(waking, struct task_struct *p)
{
	__u32 netns = BPF_CORE_READ(p, nsproxy, net_ns, ns.inum);
	struct timeline_event *e = is_traced(netns) ? begin(TL_WAKING, netns) : NULL;

	if (!e)
		return 0;
	e->value = BPF_CORE_READ(p, pid);
	BPF_CORE_READ_INTO(&e->text, p, comm);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

#define POLL(name, id)                                                                       \
	AT_EXIT(name, #name, void *file, struct socket *sock, void *wait, __u32 ret)         \
	{                                                                                    \
		return RECORD(TL_POLLED, BPF_CORE_READ(sock, sk), .value = ret, .more = id); \
	}

POLL(tcp_poll, TL_TCP_POLL)
POLL(udp_poll, TL_UDP_POLL)
POLL(unix_poll, TL_UNIX_POLL)
POLL(unix_dgram_poll, TL_UNIX_DGRAM_POLL)
POLL(vsock_poll, TL_VSOCK_POLL)

AT_EXIT(taken, "sk_msg_recvmsg", struct sock *sk, void *psock, void *msg, int len, int flags,
	int ret)
{
	return RECORD(TL_TAKEN, sk, .value = ret, .more = flags);
}

AT_EXIT(taken_from_queue, "__sk_msg_recvmsg", struct sock *sk, void *psock, void *msg, int len,
	int flags, void *from_self, int ret)
{
	return RECORD(TL_TAKEN, sk, .value = ret, .more = flags);
}

AT_EXIT(taken_by_tcp, "__tcp_bpf_recvmsg", struct sock *sk, void *psock, void *msg, int len,
	int flags, int ret)
{
	return RECORD(TL_TAKEN, sk, .value = ret, .more = flags);
}

char _license[] SEC("license") = "GPL";
