// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that is lost without any other sign: an skb, a message, a psock that nobody frees. What
 * remains is that a slab cache has more objects in use than before.
 *
 * While the tests run, a window of a second or more closes now and then: the runner lets the machine
 * come to rest and counts. If there is more than when the window opened, and that stays, a hunt begins
 * among the subtests that ended in it: half of them run again, then half of those that it can be, until
 * it can be one only. That one is the culprit if sixteen more runs leave as many objects, twice, and if
 * nothing at all happens in that cache while nothing runs. So what the kernel keeps for a while is
 * no leak, and neither is what other people's programs take.
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

/* A look takes long on a slow machine, which frees late, too. This part of the time, no more. */
#define WINDOW_SHARE  10
#define WINDOW_MIN_NS NSEC_PER_SEC
#define WINDOW_MAX_NS (20 * NSEC_PER_SEC)
/* kfree_rcu() lets five seconds pass before it begins to free. */
#define DRAIN_NS      (8 * NSEC_PER_SEC)
#define DRAIN_LOOK_US 50000
#define HUNT_RUNS     16
#define HUNT_PROOFS   2
/* A kernel that leaks everywhere is known to by then. */
#define CULPRITS_MAX 5
/* Somebody else is at work on this machine, so its numbers tell nothing. */
#define VAIN_MAX 2
/* As exact as the kernel is about when an object was allocated. */
#define TICK_NS (10 * NSEC_PER_MSEC)

static void give_up(struct leak_window *w, const char *why)
{
	w->given_up = true;
	fprintf(stderr, "looking for leaks no more: %s\n", why);
}

void open_window(struct runner *r)
{
	struct leak_window *w = &r->window;
	uint64_t start = now_ns(), length;

	w->open = !w->given_up && r->options->leaks && !r->options->bench && slab_open();
	if (!w->open && !w->given_up && r->options->leaks_asked)
		give_up(w, "there are no slab caches to look at (CONFIG_SLUB_DEBUG, CONFIG_SYSFS)");
	if (!w->open)
		return;
	slab_count(&w->before);
	length = WINDOW_SHARE * (w->look_ns + now_ns() - start);
	w->length_ns = length < WINDOW_MIN_NS	? WINDOW_MIN_NS
		       : length > WINDOW_MAX_NS ? WINDOW_MAX_NS
						: length;
	w->opened_ns = now_ns();
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

static bool has_lasted(const struct leak_window *w, uint64_t ns)
{
	return now_ns() - w->opened_ns >= ns;
}

bool window_is_due(const struct runner *r, bool last)
{
	const struct leak_window *w = &r->window;

	return w->open && any_slot(r, is_held) &&
	       (last || w->failed || has_lasted(w, w->length_ns));
}

bool window_is_overdue(const struct runner *r)
{
	const struct leak_window *w = &r->window;

	return has_lasted(w, 2 * w->length_ns);
}

/* Those of the caches that have so much more than before, and still have it when all is freed. */
static uint32_t find_growth(uint32_t caches, const struct slab_counts *before, long by)
{
	uint64_t start = now_ns();

	for (;;) {
		struct slab_counts now;

		slab_count(&now);
		caches &= slab_grown(before, &now, by);
		if (!caches || now_ns() - start > DRAIN_NS)
			return caches;
		usleep(DRAIN_LOOK_US);
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

/* Those of the caches in which nothing happens while nothing runs. */
static uint32_t find_quiet(uint32_t caches)
{
	struct slab_counts before, now;

	slab_count(&before);
	usleep(DRAIN_NS / 1000);
	slab_count(&now);
	return caches & ~slab_grown(&before, &now, 1) & ~slab_grown(&now, &before, 1);
}

/* Those of the caches with more, for each of so many runs of each of these; 0, too: one has failed. */
static uint32_t run_again(struct runner *r, struct slot *const *slots, unsigned int nr, int runs,
			  uint32_t caches)
{
	struct slab_counts before;

	slab_count(&before);
	for (unsigned int i = 0; i < nr; i++) {
		for (int k = 0; k < runs && !r->stop; k++) {
			rerun_alone(r, slots[i]);
			if (slots[i]->result.verdict != VERDICT_PASS)
				return 0;
		}
	}
	return r->stop ? 0 : find_growth(caches, &before, runs);
}

static uint32_t prove(struct runner *r, struct slot *slot, uint32_t caches)
{
	for (int i = 0; i < HUNT_PROOFS && caches; i++) {
		caches = run_again(r, &slot, 1, HUNT_RUNS, caches);
		if (caches)
			caches = find_quiet(caches);
	}
	return caches;
}

/* The one of these that leaves something in one of the caches, which is what remains of those. */
static struct slot *find_culprit(struct runner *r, struct slot **slots, unsigned int nr,
				 uint32_t *caches)
{
	*caches = run_again(r, slots, nr, 1, *caches);
	while (nr > 1 && *caches) {
		uint32_t grown = run_again(r, slots, nr / 2, 1, *caches);

		if (r->stop)
			return NULL;
		if (grown) {
			*caches = grown;
			nr /= 2;
		} else {
			slots += nr / 2;
			nr -= nr / 2;
		}
	}
	if (nr == 1 && *caches)
		*caches = prove(r, *slots, *caches);
	return nr == 1 && *caches ? *slots : NULL;
}

static void convict(struct runner *r, struct slot *slot, uint32_t leaks)
{
	struct result *result = &slot->result;
	int cache = __builtin_ctz(leaks);

	free(result->reason);
	if (asprintf(
		    &result->reason,
		    "leaks memory: %d more runs have left at least as many objects in use in the slab cache %s",
		    HUNT_RUNS, slab_name(cache)) < 0)
		result->reason = NULL;
	result->verdict = VERDICT_FAIL;
	result->leaked = true;
	known_judge(r->info->expect, r->plan->order[slot - r->slots], result);
}

static void hunt(struct runner *r, uint32_t caches)
{
	struct leak_window *w = &r->window;
	struct slot *held[r->nr_slots], *culprit;
	unsigned int nr = 0;
	cpu_set_t all;

	for (unsigned int i = r->reported; i < r->nr_slots; i++) {
		if (is_held(&r->slots[i]))
			held[nr++] = &r->slots[i];
	}
	stay_here(&all);
	culprit = find_culprit(r, held, nr, &caches);
	move_freely(&all);
	if (culprit)
		convict(r, culprit, caches);
	w->nr_culprits += !!culprit;
	w->nr_vain = culprit ? 0 : w->nr_vain + 1;
	if (w->nr_culprits == CULPRITS_MAX)
		give_up(w, "this kernel leaks all over");
	if (w->nr_vain == VAIN_MAX)
		give_up(w, "others are at work on this machine");
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

/* Those of the caches that have more than when the window opened, and keep it. */
static uint32_t look(struct leak_window *w)
{
	uint64_t start = now_ns();
	uint32_t grown = find_growth(~0U, &w->before, 1);

	w->look_ns = now_ns() - start;
	return grown;
}

void close_window(struct runner *r)
{
	struct leak_window *w = &r->window;
	uint32_t grown = 0;

	/* One that lasted less may have seen the kernel make room for a start. */
	if (!w->failed && has_lasted(w, WINDOW_MIN_NS))
		grown = look(w);
	if (grown)
		hunt(r, grown);
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

/*
 * Those whose process allocated it, or else all that ran at that time: how many. In a long run a
 * number of a process comes again, as that of a thread of another subtest.
 */
static unsigned int find_losers(struct runner *r, const struct lost_object *object, bool *losers)
{
	uint64_t ns = kmemleak_when(object);
	unsigned int nr = 0;

	for (unsigned int i = 0; i < r->nr_slots; i++) {
		losers[i] = object->pid && r->slots[i].job.pid == object->pid &&
			    (!ns || ran_at(&r->slots[i], ns));
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
	r->stop |= result->verdict == VERDICT_FAIL && r->options->until_fail;
}

static void blame_for(struct runner *r, const struct lost_object *object, bool *revised)
{
	bool losers[r->nr_slots];
	unsigned int nr = find_losers(r, object, losers);

	if (!nr)
		fail_run(r, object->text);
	for (unsigned int i = 0; i < r->nr_slots && nr; i++) {
		if (!losers[i])
			continue;
		revise(r, &r->slots[i], object->text, nr);
		revised[i] = true;
	}
}

/* What kmemleak says in the log of the kernel is only that it has found something. */
static bool is_of_kmemleak(const char *message, void *arg)
{
	(void)arg;
	return strstr(message, "kmemleak:") || strstr(message, "unreferenced object");
}

static char *find_lost_memory(struct runner *r)
{
	char *text, *said;
	int err;

	look_at_kernel_log(r);
	splat_mark("looks for leaks");
	err = kmemleak_find(&text);
	if (err)
		fprintf(stderr, "kmemleak has given up (%s): lost memory would not be noticed\n",
			strerror(-err));
	said = splat_read(r->kmsg_fd);
	if (said && !splat_all_known(said, is_of_kmemleak, NULL))
		fail_run(r, said);
	free(said);
	return text;
}

void blame_for_lost_memory(struct runner *r)
{
	struct lost_object object;
	bool revised[r->nr_slots + 1];
	const char *text;
	char *all;

	if (!r->info->revisable || r->info->interrupted)
		return;
	text = all = find_lost_memory(r);
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
