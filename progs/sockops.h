/* SPDX-License-Identifier: GPL-2.0-only */
/* What sockops.bpf.c and user space agree on. */
#ifndef PROGS_SOCKOPS_H
#define PROGS_SOCKOPS_H

/* More than any kernel has: BPF_SOCK_OPS_TIMEOUT_INIT, ... */
#define EVENTS 64

#define NOT_SEEN 1

#endif /* PROGS_SOCKOPS_H */
