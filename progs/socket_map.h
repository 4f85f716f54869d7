/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SOCKET_MAP_H
#define SOCKET_MAP_H

/*
 * The maps of a topology. A program that is loaded beside one declares the same out_map, in whose place
 * user space puts the topology's own before it is loaded.
 */
#define MAP_ENTRIES 2

#define SOCKET_MAP(name)                            \
	struct {                                    \
		__uint(type, BPF_MAP_TYPE_SOCKMAP); \
		__uint(max_entries, MAP_ENTRIES);   \
		__type(key, __u32);                 \
		__type(value, __u64);               \
	} name SEC(".maps")

#endif
