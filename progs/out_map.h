/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef OUT_MAP_H
#define OUT_MAP_H

/*
 * Where a program that is loaded beside a topology redirects to: user space puts the topology's own
 * map here, whose type it has, before it is loaded.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} out_map SEC(".maps");

#endif
