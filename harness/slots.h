/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the runner knows while it runs: shared by harness/runner.c, which moves the jobs along, and
 * by those that find out whom to blame, harness/suspects.c for what the kernel said and
 * harness/leaks.c for what it has lost.
 */
#ifndef SLOTS_H
#define SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/job.h"
#include "harness/report.h"
#include "harness/slab.h"
#include "harness/trace.h"

/* See the head of harness/runner.c. */
enum job_state { WAITING, RUNNING, DRAINING, SETTLING, ENDING, HELD, SUSPECT, DONE };

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

/* Subtests after which the slab caches are looked at, see the head of harness/leaks.c. */
struct leak_window {
	bool open;
	bool failed; /* one of them has failed, and may leave behind whatever it likes */
	bool given_up;
	struct slab_counts before;
	uint64_t opened_ns, length_ns;
	uint64_t look_ns;	  /* how long it took to see that the last one has left nothing */
	unsigned int nr_culprits; /* in this run */
	unsigned int nr_vain;	  /* hunts in a row that found nobody */
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
	bool enough;	     /* and report nothing more: --until-fail has its failure */
	unsigned int traced; /* second runs so far */
	bool lingers[DONE];  /* by state: something was left behind for good */
	struct leak_window window;
};

/* ---- harness/runner.c ------------------------------------------------------------------------ */

/* Started, and not judged yet: the kernel may still be at work for it. */
bool slot_is_active(const struct slot *slot);

bool any_slot(const struct runner *r, bool (*is)(const struct slot *slot));

/* A result that is nothing but a verdict and its reason. */
struct result make_result(enum verdict verdict, const char *reason);

/*
 * Run it once more, with nothing beside it, until it is DONE. A failure that does not come again has
 * happened all the same: the heavier result stays.
 */
void rerun_alone(struct runner *r, struct slot *slot);

/* Report what is DONE, in the order of the plan, whatever finished first. */
void report_done(struct runner *r);

/* Once more, since a result has changed after it was reported. */
void report_revised(struct runner *r, unsigned int slot);

/* ---- harness/suspects.c ---------------------------------------------------------------------- */

/* Read the kernel's log: a splat is the fault of those that are active. */
void look_at_kernel_log(struct runner *r);

/* To *all, which it replaces; an empty line keeps apart what was read at different times. */
void add_text(char **all, const char *text);

/* A splat that no subtest is to blame for is not to be passed over either. */
void fail_run(struct runner *r, const char *text);

/* Find out which of several had the kernel complain, by running each SUSPECT on its own. */
void rerun_suspects(struct runner *r);

/* ---- harness/leaks.c ------------------------------------------------------------------------- */

/* Passed subtests are HELD from now on, if the slab caches can be looked at, and are to be. */
void open_window(struct runner *r);

/* What became of a subtest that is DONE: it may be HELD until its window closes. */
void hold(struct runner *r, struct slot *slot);

/* It is due for so long that those that are HELD should wait no more for whoever takes his time. */
bool window_is_overdue(const struct runner *r);

/* Nothing is to be started, so that the machine comes to rest, and the window can be closed. */
bool window_is_due(const struct runner *r, bool last);

/* Look for leaks, with nothing active. Those that are HELD are DONE then, and a new window opens. */
void close_window(struct runner *r);

/* Without a look: those that are HELD have passed. */
void end_window(struct runner *r);

/* kmemleak, before and after a round: a result that was reported may become a failure. */
void forget_lost_memory(struct runner *r);
void blame_for_lost_memory(struct runner *r);

#endif /* SLOTS_H */
