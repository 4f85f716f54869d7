/* SPDX-License-Identifier: GPL-2.0-only */
/* What the iterator tells user space about each entry of a map. */
#ifndef ITER_H
#define ITER_H

#include <linux/types.h>

#define ITER_ENTRIES 64

struct iter_record {
	__u32 key;
	__u32 has_socket;
	__s32 error; /* of the copy; 0: it worked, or there is nothing to copy */
};

#endif /* ITER_H */
