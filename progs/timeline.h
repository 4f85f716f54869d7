/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What happens to data between the send and the read, as events: those of the kernel come from
 * progs/timeline.bpf.c, those of user space from harness/timeline.c, both with the same clock.
 */
#ifndef TIMELINE_EVENT_H
#define TIMELINE_EVENT_H

#include <linux/types.h>

enum timeline_point {
	/* User space. */
	TL_SEND,      /* send(2) begins; value: length */
	TL_SENT,      /* and returns; value: length or -errno */
	TL_EXPECT,    /* value: the verdict that is due, more: length; target: the reader, if any */
	TL_ASLEEP,    /* a reader sleeps until there is data at sock; value: enum wait_method */
	TL_WOKEN,     /* it is back from its sleep */
	TL_READ,      /* it is through; value: length or -errno, more: enum recv_fate */
	TL_MISPLACED, /* the data is at sock instead */
	TL_FAILED,    /* a check failed; value: enum timeline_check */
	/* The kernel. */
	TL_ARRIVED, /* data_ready of a socket with a verdict program; more: has a parser */
	TL_VERDICT, /* value: enum timeline_verdict; target: where to; more: BPF_F_INGRESS, ... */
	TL_MSG_VERDICT,	 /* the same, of an sk_msg program */
	TL_WORK_QUEUED,	 /* skb put on the backlog of the target */
	TL_REFUSED,	 /* the target does not take the skb; value: -errno */
	TL_WORK_RUNS,	 /* the worker of sock; value: skbs on its backlog */
	TL_WORK_ENDS,	 /* value: skbs left, more: 1: the pipe is broken */
	TL_QUEUED,	 /* skb put where sock reads; value: length, more: offset in the skb */
	TL_SKB_SENT,	 /* skb sent from sock; value: length or -errno, more: TL_PART() tried */
	TL_MSG_REDIRECT, /* sk_msg handed to sock */
	TL_MSG_REFUSED,	 /* value: -errno */
	TL_MSG_PUSHED,	 /* sk_msg sent from sock; value: 0 or -errno */
	TL_DATA_READY,	 /* the socket's own callback; value: messages that sockmap has queued */
	TL_WRITE_SPACE,
	TL_WAKING, /* value: tid, text: name of the thread that is woken */
	TL_POLLED, /* value: events that poll reports, more: enum timeline_poll */
	TL_TAKEN,  /* read from sockmap's queue; value: length or -errno, more: flags of recv(2) */
	TL_NR_POINTS,
};

/* Without the BTF of the kernel some of it is not known: a value, and a direction. */
#define TL_UNKNOWN	 (-1)
#define TL_ANY_DIRECTION (1ULL << 63)

/* Where in an skb, and how many bytes. */
#define TL_PART(offset, len) ((__u64)(__u32)(len) << 32 | (__u32)(offset))
#define TL_PART_OFFSET(part) ((__u32)(part))
#define TL_PART_LEN(part)    ((__u32)((part) >> 32))

/* What the kernel makes of the verdict of a program: enum __sk_action. */
enum timeline_verdict { TL_DROP, TL_PASS, TL_REDIRECT };

/* What a check is about. */
enum timeline_check { TL_CONDITION, TL_NUMBER, TL_BYTES };

enum timeline_poll { TL_TCP_POLL, TL_UDP_POLL, TL_UNIX_POLL, TL_UNIX_DGRAM_POLL, TL_VSOCK_POLL };

#define TIMELINE_TEXT_MAX 16

struct timeline_event {
	__u64 ns;	    /* CLOCK_MONOTONIC */
	__u64 sock, target; /* cookies; 0: none */
	__u64 skb;	    /* its address, so that it can be followed; 0: none */
	__s64 value;
	__u64 more;
	__u32 point;
	__u32 netns; /* inode of the network namespace; 0: not known */
	__u32 tid;
	__u32 cpu;
	char comm[TIMELINE_TEXT_MAX]; /* the thread it happened on */
	char text[TIMELINE_TEXT_MAX];
};

#endif /* TIMELINE_EVENT_H */
