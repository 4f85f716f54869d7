/* SPDX-License-Identifier: GPL-2.0-only */
/* The contract that redirection has to keep, whatever the sockets. */
#ifndef REDIRECT_H
#define REDIRECT_H

#include "harness/topology.h"

/*
 * Set the case up from scratch, and check all that its outcome promises: the return value of the
 * send, the verdicts, every byte once and in order at the stated socket and none elsewhere, a
 * reader that sleeps until the data comes and is woken by it, whichever way it waits, MSG_PEEK,
 * FIONREAD, and ordinary traffic in both directions once the sockets have left the map.
 */
void check_redirect(const struct redirect *redirect);

#endif /* REDIRECT_H */
