/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the BPF programs tell user space about the verdicts they gave. Lives in the .bss of each
 * object, where user space reads it through the skeleton.
 */
#ifndef VERDICTS_H
#define VERDICTS_H

#include <linux/types.h>

struct verdicts {
	/* Indexed by SK_DROP and SK_PASS. */
	__u64 count[2]; /* runs of the program that returned this verdict */
	__u64 bytes[2]; /* bytes those runs decided about */
	__u64 last_ns;	/* when the latest one was given; CLOCK_MONOTONIC, in nanoseconds */
};

#ifdef __bpf__
/*
 * The count moves last: who has seen it move finds the rest up to date. Indices are constants,
 * since the verifier knows nothing of the values that helpers return.
 */
static __always_inline void count_verdict(struct verdicts *v, int verdict, __u32 len)
{
	v->last_ns = bpf_ktime_get_ns();
	if (verdict == SK_PASS) {
		__sync_fetch_and_add(&v->bytes[SK_PASS], len);
		__sync_fetch_and_add(&v->count[SK_PASS], 1);
	} else {
		__sync_fetch_and_add(&v->bytes[SK_DROP], len);
		__sync_fetch_and_add(&v->count[SK_DROP], 1);
	}
}
#endif

#endif /* VERDICTS_H */
