// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that is lost without any other sign: an skb, a message, a psock that nobody frees. What
 * remains is that a slab cache has more objects in use than before.
 *
 * While the tests run, a window of about a second closes now and then: the runner lets the machine
 * come to rest and counts. If there is more than when the window opened, a hunt begins among the
 * subtests that ended in it. Each runs again on its own, as long as every run leaves more objects in
 * the same cache, and nothing at all changes there in the pauses between the runs. One that never
 * stops is the culprit: whatever else the kernel keeps for a while comes to an end, and what other
 * people's programs take does not keep step with the runs.
 *
 * A kernel with kmemleak says itself what is lost, but only when all is over, and not whose it was:
 * that follows from the thread that allocated it, or from the time.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/kmemleak.h"
#include "harness/known.h"
#include "harness/slots.h"
#include "harness/splat.h"
#include "network_helpers.h"

#define WINDOW_NS      NSEC_PER_SEC
#define WINDOW_COUNTS  20 /* at least as long as so many counts take, which is long with KASAN */
#define SETTLE_NS      (300 * NSEC_PER_MSEC)
#define SETTLE_LOOK_US 10000
#define HUNT_RUNS      16
#define HIDDEN_MAX     2
#define LOOKS_MAX      3
/* A kernel that leaks everywhere is known to by then. */
#define CULPRITS_MAX 5
/* Somebody else is at work on this machine, so its numbers tell nothing. */
#define VAIN_MAX 3
/* As exact as the kernel is about when an object was allocated. */
#define TICK_NS (10 * NSEC_PER_MSEC)

void open_window(struct runner *r)
{
	struct leak_window *w = &r->window;
	uint64_t start = now_ns();

	w->open = !r->options->bench && w->nr_culprits < CULPRITS_MAX && w->nr_vain < VAIN_MAX &&
		  slab_open();
	if (!w->open)
		return;
	slab_count(&w->before);
	w->length_ns = WINDOW_COUNTS * (now_ns() - start);
	if (w->length_ns < WINDOW_NS)
		w->length_ns = WINDOW_NS;
	w->due_ns = now_ns() + w->length_ns;
	w->nr_looks = 0;
	w->failed = false;
}

void hold(struct runner *r, struct slot *slot)
{
	struct leak_window *w = &r->window;

	if (!w->open)
		return;
	if (slot->result.verdict == VERDICT_PASS)
		slot->state = HELD;
	else
		w->failed |= slot->result.verdict != VERDICT_SKIP;
}

static bool is_held(const struct slot *slot)
{
	return slot->state == HELD;
}

bool window_is_due(const struct runner *r, bool last)
{
	const struct leak_window *w = &r->window;

	return w->open && any_slot(r, is_held) && (last || w->failed || now_ns() >= w->due_ns);
}

/* The caches with more than before, if that stays: a namespace has sockets, and is not freed at once. */
static uint32_t find_growth(const struct slab_counts *before, struct slab_counts *now)
{
	uint64_t start = now_ns();
	uint32_t grown;

	for (;;) {
		slab_count(now);
		grown = slab_grown(before, now);
		if (!grown || now_ns() - start > SETTLE_NS)
			return grown;
		usleep(SETTLE_LOOK_US);
	}
}

/* ---- Hunting --------------------------------------------------------------------------------- */

/* Skbs do not wait for the processor that allocated them where there is only one. */
static void stay_here(cpu_set_t *old)
{
	int cpu = sched_getcpu();
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(cpu < 0 ? 0 : cpu, &here);
	if (sched_getaffinity(0, sizeof(*old), old) || sched_setaffinity(0, sizeof(here), &here))
		CPU_ZERO(old);
}

static void move_freely(const cpu_set_t *old)
{
	if (CPU_COUNT(old))
		sched_setaffinity(0, sizeof(*old), old);
}

/* Those of the caches in which nothing happens while no subtest runs; now is moved on. */
static uint32_t find_quiet(uint32_t caches, struct slab_counts *now, uint64_t ns)
{
	struct slab_counts before = *now;

	usleep(ns / 1000);
	slab_count(now);
	return caches & ~slab_grown(&before, now) & ~slab_grown(now, &before);
}

/* The caches in which one more run leaves something; hidden: there may be such, and nobody can tell. */
static uint32_t run_and_look(struct runner *r, struct slot *slot, struct slab_counts *counts,
			     bool *hidden)
{
	struct slab_counts before = *counts;
	uint64_t start = now_ns();
	uint32_t grown;

	rerun_alone(r, slot);
	grown = find_growth(&before, counts);
	/* What the kernel frees late makes up for what the run leaves. */
	*hidden = slab_grown(counts, &before);
	if (!grown)
		return 0;
	*hidden = true;
	return find_quiet(grown, counts, now_ns() - start);
}

/* The caches in which every run of it leaves something. */
static uint32_t find_leaks(struct runner *r, struct slot *slot)
{
	struct slab_counts counts;
	uint32_t leaks = UINT32_MAX;
	int nr_hidden = 0;

	slab_count(&counts);
	for (int runs = 1; runs <= HUNT_RUNS; runs++) {
		bool hidden;

		leaks &= run_and_look(r, slot, &counts, &hidden);
		if (r->stop || slot->result.verdict != VERDICT_PASS)
			return 0;
		if (leaks)
			continue;
		if (!hidden || nr_hidden++ == HIDDEN_MAX)
			return 0;
		leaks = UINT32_MAX;
		runs = 0;
	}
	return leaks;
}

static void convict(struct runner *r, struct slot *slot, uint32_t leaks)
{
	struct result *result = &slot->result;
	int cache = __builtin_ctz(leaks);

	free(result->reason);
	if (asprintf(
		    &result->reason,
		    "leaks memory: each of %d more runs has left objects in use in the slab cache %s",
		    HUNT_RUNS, slab_name(cache)) < 0)
		result->reason = NULL;
	result->verdict = VERDICT_FAIL;
	result->leaked = true;
	known_judge(r->info->expect, r->plan->order[slot - r->slots], result);
}

static void hunt(struct runner *r)
{
	struct leak_window *w = &r->window;
	unsigned int nr_before = w->nr_culprits;
	cpu_set_t all;

	stay_here(&all);
	for (unsigned int i = r->reported; i < r->nr_slots && w->nr_culprits < CULPRITS_MAX; i++) {
		struct slot *slot = &r->slots[i];
		uint32_t leaks = is_held(slot) && !r->stop ? find_leaks(r, slot) : 0;

		if (!leaks)
			continue;
		convict(r, slot, leaks);
		w->nr_culprits++;
	}
	move_freely(&all);
	w->nr_vain += w->nr_culprits == nr_before;
}

/* ---- The end of a window --------------------------------------------------------------------- */

void end_window(struct runner *r)
{
	for (unsigned int i = r->reported; i < r->nr_slots; i++) {
		if (is_held(&r->slots[i]))
			r->slots[i].state = DONE;
	}
	if (r->window.open)
		slab_close();
	r->window.open = false;
}

void close_window(struct runner *r, bool last)
{
	struct leak_window *w = &r->window;
	struct slab_counts now;
	uint32_t grown = w->failed ? 0 : find_growth(&w->before, &now);

	/* Memory that RCU frees may take seconds: let the window be open for some more. */
	if (grown && !last && ++w->nr_looks < LOOKS_MAX) {
		w->due_ns = now_ns() + w->length_ns;
		return;
	}
	if (grown && find_quiet(grown, &now, SETTLE_NS))
		hunt(r);
	else if (grown)
		w->nr_vain++;
	else
		w->nr_vain = 0;
	end_window(r);
	open_window(r);
}

/* ---- kmemleak -------------------------------------------------------------------------------- */

void forget_lost_memory(struct runner *r)
{
	r->info->revisable = kmemleak_begin();
}

static bool ran_at(const struct slot *slot, uint64_t ns)
{
	const struct job *job = &slot->job;

	return job->start_ns && job->end_ns && job->start_ns <= ns + TICK_NS &&
	       ns <= job->end_ns + TICK_NS;
}

/* Those whose process allocated it, or else all that ran at that time: how many. */
static unsigned int find_losers(struct runner *r, const struct lost_object *object, bool *losers)
{
	uint64_t ns = kmemleak_when(object);
	unsigned int nr = 0;

	for (unsigned int i = 0; i < r->nr_slots; i++) {
		losers[i] = object->pid && r->slots[i].job.pid == object->pid;
		nr += losers[i];
	}
	if (nr || !ns)
		return nr;
	for (unsigned int i = 0; i < r->nr_slots; i++) {
		losers[i] = ran_at(&r->slots[i], ns);
		nr += losers[i];
	}
	return nr;
}

static void revise(struct runner *r, struct slot *slot, const char *object, unsigned int nr_losers)
{
	struct plan_item *item = r->plan->order[slot - r->slots];
	struct result *result = &item->result;
	char *reason = NULL;

	add_text(&result->kernel_log, object);
	result->leaked = true;
	if (result->verdict == VERDICT_FAIL)
		return;
	if (asprintf(&reason, "lost memory, says kmemleak%s: %.*s",
		     nr_losers > 1 ? ", while this and other subtests ran" : "",
		     (int)strcspn(object, "\n"), object) < 0)
		reason = NULL;
	free(result->reason);
	result->reason = reason;
	result->verdict = VERDICT_FAIL;
	item->failed_runs++;
	known_judge(r->info->expect, item, result);
}

static void blame_for(struct runner *r, const struct lost_object *object, bool *revised)
{
	bool losers[r->nr_slots];
	unsigned int nr = find_losers(r, object, losers);

	if (!nr)
		add_text(&r->info->kernel_log, object->text);
	for (unsigned int i = 0; i < r->nr_slots && nr; i++) {
		if (!losers[i])
			continue;
		revise(r, &r->slots[i], object->text, nr);
		revised[i] = true;
	}
}

void blame_for_lost_memory(struct runner *r)
{
	struct lost_object object;
	bool revised[r->nr_slots + 1];
	const char *text;
	char *all, *said;

	if (!r->info->revisable || r->info->interrupted)
		return;
	look_at_kernel_log(r);
	splat_mark("looks for leaks");
	text = all = kmemleak_find();
	/* What it says in the log of the kernel is only that it has found something. */
	said = splat_read(r->kmsg_fd);
	if (said && strncmp(said, "kmemleak:", strlen("kmemleak:")))
		add_text(&r->info->kernel_log, said);
	free(said);
	memset(revised, 0, sizeof(revised));
	while (text && kmemleak_next(&text, &object)) {
		blame_for(r, &object, revised);
		free(object.text);
	}
	free(all);
	for (unsigned int i = 0; i < r->nr_slots; i++) {
		if (revised[i])
			report_revised(r, i);
	}
}
