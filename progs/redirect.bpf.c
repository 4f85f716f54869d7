// SPDX-License-Identifier: GPL-2.0-only
/*
 * Redirect everything to the socket whose key in out_map is all zeros, or give a fixed verdict.
 *
 * User space sets the type of the maps (SOCKMAP or SOCKHASH), and how long the keys are, before it
 * loads the object. The helper must agree with it, so use_sockhash is read-only data: the verifier
 * knows its value and prunes the branch whose helper does not take the map.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "redirect.h"
#include "socket_map.h"
#include "verdicts.h"

SOCKET_MAP(in_map);  /* of a sender that does not share a map with the target */
SOCKET_MAP(out_map); /* of the target, and of the sender that shares its map */
SOCKET_MAP(nop_map); /* never has a program: makes a socket a sockmap socket, no more; or holds
			sockets for copy_sockets() */

const volatile bool use_sockhash;
const volatile __u64 redirect_flags; /* 0 or BPF_F_INGRESS */
int verdict = REDIRECT;		     /* changes between messages, too */
const volatile __u32 parse_len;	     /* length of a parsed message; 0: the skb is the message */

struct verdicts verdicts;

static __always_inline int record(int verdict, __u32 len)
{
	count_verdict(&verdicts, verdict, len);
	return verdict;
}

/* Behind BPF_F_INGRESS. */
#define NO_FLAG 2

/* What the helper is called with, and what becomes of that which it returns. */
static __always_inline __u64 flags(void)
{
	return redirect_flags | (verdict == REDIRECT_FLAGS ? NO_FLAG : 0);
}

static __always_inline __u32 key_of_target(void)
{
	return verdict == REDIRECT_KEY ? MAP_ENTRIES : KEY_OUT;
}

static __always_inline int conclude(int redirected, __u32 len)
{
	return record(verdict == REDIRECT_DROP ? SK_DROP : redirected, len);
}

SEC("sk_skb/stream_parser")
int stream_parser(struct __sk_buff *skb)
{
	return parse_len ?: skb->len;
}

/* Serves as BPF_SK_SKB_STREAM_VERDICT and as BPF_SK_SKB_VERDICT. */
SEC("sk_skb")
int skb_verdict(struct __sk_buff *skb)
{
	struct redirect_key key = { .words = { key_of_target() } };
	__u32 len = skb->len;

	if (verdict >= 0)
		return record(verdict, len);
	if (use_sockhash)
		return conclude(bpf_sk_redirect_hash(skb, &out_map, &key, flags()), len);
	return conclude(bpf_sk_redirect_map(skb, &out_map, key.words[0], flags()), len);
}

SEC("sk_msg")
int msg_verdict(struct sk_msg_md *msg)
{
	struct redirect_key key = { .words = { key_of_target() } };
	__u32 len = msg->size;

	if (verdict >= 0)
		return record(verdict, len);
	if (use_sockhash)
		return conclude(bpf_msg_redirect_hash(msg, &out_map, &key, flags()), len);
	return conclude(bpf_msg_redirect_map(msg, &out_map, key.words[0], flags()), len);
}

struct bpf_iter_meta;
struct sock;

/* The context, as all kernels with such iterators lay it out: no BTF of the kernel is needed. */
struct bpf_iter__sockmap {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	struct sock *sk;
};

int copy_errors[2] = { 1, 1 }; /* of the insertion at each key; 1: none was made */

/* Insert the sockets of nop_map at the same keys of the maps that they are for; loaded on demand. */
SEC("?iter/sockmap")
int copy_sockets(struct bpf_iter__sockmap *ctx)
{
	struct sock *sk = ctx->sk;
	__u32 *pos = ctx->key;
	__u32 key;

	if (!pos || !sk)
		return 0;
	key = *pos;
	if (key == KEY_OUT)
		copy_errors[KEY_OUT] = bpf_map_update_elem(&out_map, &key, sk, BPF_NOEXIST);
	else if (key == KEY_IN)
		copy_errors[KEY_IN] = bpf_map_update_elem(&in_map, &key, sk, BPF_NOEXIST);
	return 0;
}

__u32 marks[2];		       /* SO_MARK of the socket that is for each key */
int mark_errors[2] = { 1, 1 }; /* of its insertion; 1: none was made */

static __always_inline int insert(struct bpf_sock_ops *ctx, void *map, __u32 pos)
{
	struct redirect_key key = { .words = { pos } };

	if (use_sockhash)
		return bpf_sock_hash_update(ctx, map, &key, BPF_NOEXIST);
	return bpf_sock_map_update(ctx, map, &key, BPF_NOEXIST);
}

/* Insert each of two marked sockets as soon as it is established; loaded on demand. */
SEC("?sockops")
int insert_established(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk || (ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB &&
		    ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB))
		return 1;
	if (sk->mark == marks[KEY_IN])
		mark_errors[KEY_IN] = insert(ctx, &in_map, KEY_IN);
	if (sk->mark == marks[KEY_OUT])
		mark_errors[KEY_OUT] = insert(ctx, &out_map, KEY_OUT);
	return 1;
}

char _license[] SEC("license") = "GPL";
