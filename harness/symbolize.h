/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SYMBOLIZE_H
#define SYMBOLIZE_H

#include <stddef.h>

/* "function+0x12" for an address in the code of this program, or its number; in buf. */
const char *symbolize(const void *address, char *buf, size_t size);

#endif /* SYMBOLIZE_H */
