/* SPDX-License-Identifier: GPL-2.0-only */
/* What the programs of skb.bpf.c are told to do, and what they tell of it. */
#ifndef PROGS_SKB_H
#define PROGS_SKB_H

#include <linux/types.h>

/* The fields of a context that are about the socket, and the length of the data. */
struct skb_fields {
	__u32 len, family;
	__u32 remote_ip4, local_ip4;
	__u32 remote_ip6[4], local_ip6[4];
	__u32 remote_port,
		local_port; /* as the context has them: of 4 bytes in network order, and in ours */
};

enum skb_change {
	CHANGE_NOTHING,
	CHANGE_BYTES, /* of the first and the last byte, all bits, once they are pulled */
	CHANGE_TAIL,  /* bpf_skb_change_tail(), by so many bytes */
	CHANGE_HEAD,  /* bpf_skb_change_head() */
	CHANGE_ROOM,  /* bpf_skb_adjust_room() */
};

#endif /* PROGS_SKB_H */
