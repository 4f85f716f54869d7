/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * References that are never given back.
 *
 * A socket can be lost for good: closed, in no list, seen by nobody, and never freed, since someone
 * has taken a reference and does not give it back. What it still does is keep its network namespace;
 * and the end of a namespace is announced.
 */
#ifndef LEAK_H
#define LEAK_H

#include <stdbool.h>

/*
 * Run it in a new network namespace, and require that the namespace is gone soon after. It closes
 * whatever it opens, and leaves no thread behind. True: it is gone.
 */
bool check_netns_ends(void (*run)(void *arg), void *arg);

#endif /* LEAK_H */
