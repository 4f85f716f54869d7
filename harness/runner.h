/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RUNNER_H
#define RUNNER_H

#include "harness/report.h"

/*
 * Run the selected subtests of the plan, as often as the options say, and report each. The runner
 * survives whatever its subtests do. Returns the exit code of the program.
 */
int run_plan(struct run_info *info, struct plan *plan);

#endif /* RUNNER_H */
