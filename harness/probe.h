/* SPDX-License-Identifier: GPL-2.0-only */
/* Finding out, once, what the running kernel can do. For the runner; tests use feature.h. */
#ifndef PROBE_H
#define PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "harness/feature.h"

enum preflight {
	PREFLIGHT_OK,
	PREFLIGHT_NO_PRIVILEGE,
	PREFLIGHT_NO_BPF,
	PREFLIGHT_NO_SOCKMAP,
	PREFLIGHT_NO_NETNS,
	PREFLIGHT_FAILED, /* the probing process itself failed */
};

/*
 * Probe these features, in processes and a network namespace of their own. Anything but
 * PREFLIGHT_OK means that no test can run; text then says why, and what to do about it.
 */
enum preflight probe_features(feature_set wanted, char *text, size_t size);

/* The set of these names, separated by commas; false: *bad is the name that is unknown. */
bool feature_set_parse(const char *names, feature_set *set, const char **bad);

#endif /* PROBE_H */
