/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the runner knows while it runs: shared by harness/runner.c, which moves the jobs along, and
 * harness/suspects.c, which finds out whom to blame.
 */
#ifndef SLOTS_H
#define SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/job.h"
#include "harness/report.h"
#include "harness/trace.h"

/* See the head of harness/runner.c. */
enum job_state { WAITING, RUNNING, DRAINING, SETTLING, ENDING, SUSPECT, DONE };

struct slot {
	struct job job;
	enum job_state state;
	struct result result;	/* DONE */
	struct trace *trace;	/* of this run; NULL: it is not traced */
	struct result untraced; /* of the first run, while the second one is traced */
	char *splat;	  /* SUSPECT: what the kernel said; on its own, it has to say it again */
	uint64_t kill_ns; /* when it was killed; 0: it was not */
};

struct worker {
	int netns_fd; /* of its subtest */
	int32_t netns_id;
	struct slot *slot; /* NULL: idle */
};

struct runner {
	struct run_info *info;
	struct plan *plan;
	const struct options *options;
	struct slot *slots; /* one for each selected item, in the order of the plan */
	unsigned int nr_slots;
	unsigned int nr_workers;
	unsigned int reported; /* slots before this one have been reported */
	struct worker *workers;
	int signal_fd;
	int kmsg_fd;
	int netns_watch_fd;
	int32_t last_netns_id;
	bool alone;	     /* one job at a time, through all of its states */
	bool stop;	     /* start nothing more */
	unsigned int traced; /* second runs so far */
	bool leaks;	     /* something was left behind for good */
};

/* ---- harness/runner.c ------------------------------------------------------------------------ */

/* The kernel may still be at work for it. */
bool slot_is_active(const struct slot *slot);

bool any_slot(const struct runner *r, bool (*is)(const struct slot *slot));

/* A result that is nothing but a verdict and its reason. */
struct result make_result(enum verdict verdict, const char *reason);

/* Of several runs of a subtest, that with the highest weight counts. */
unsigned int verdict_weight(enum verdict verdict);

/* Run it with nothing beside it (r->alone), until it is DONE; slot->result is that of this run. */
void run_alone(struct runner *r, struct slot *slot);

/* Report what is DONE, in the order of the plan, whatever finished first. */
void report_done(struct runner *r);

/* ---- harness/suspects.c ---------------------------------------------------------------------- */

/* Read the kernel's log: a splat is the fault of those that are active. */
void look_at_kernel_log(struct runner *r);

/* Find out which of several had the kernel complain, by running each SUSPECT on its own. */
void rerun_suspects(struct runner *r);

#endif /* SLOTS_H */
