/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a sk_msg program is to do, as a list of steps, and what became of it. User space writes the
 * steps before it sends; each run of the program takes the next one.
 */
#ifndef MSG_SCRIPT_H
#define MSG_SCRIPT_H

#include <linux/types.h>

enum script_verdict {
	SCRIPT_PASS,
	SCRIPT_REDIRECT, /* to key 0 of out_map */
	SCRIPT_DROP,
};

struct msg_range {
	__u32 start, len; /* in bytes; len 0: not at all */
};

/* In this order. */
struct msg_step {
	__u32 cork, apply;     /* bytes; 0: not */
	struct msg_range pull; /* and invert the bits of the first MSG_TOUCH_MAX bytes of it */
	struct msg_range pop;
	struct msg_range push; /* byte n becomes MSG_PUSHED(n); MSG_TOUCH_MAX bytes at most */
	__u32 flags;	       /* of these helpers, which know none */
	__u32 verdict;
};

#define MSG_TOUCH_MAX 32
#define MSG_PUSHED(n) (0xa0 + (n))

struct msg_run {
	__u32 size;	       /* of the message, before anything was done to it */
	__s32 pull, pop, push; /* what the helpers returned */
};

/* A run beyond these is like the last of them. */
#define MSG_STEPS 64

#endif /* MSG_SCRIPT_H */
