// SPDX-License-Identifier: GPL-2.0-only
/*
 * Splats, and who is to blame. One that comes while a single job is active is that job's. When it
 * can be due to more than one, all of them are SUSPECT, and run again at the end of the round, each
 * on its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/knob.h"
#include "harness/known.h"
#include "harness/slots.h"
#include "harness/splat.h"

void add_text(char **all, const char *text)
{
	char *joined = NULL;

	if (asprintf(&joined, "%s%s%s", *all ?: "", *all ? "\n" : "", text) < 0)
		return;
	free(*all);
	*all = joined;
}

void fail_run(struct runner *r, const char *text)
{
	add_text(&r->info->kernel_log, text);
	r->stop |= r->options->until_fail;
}

/* What the kernel has said since the last look, and who can have made it say that. */
static void attribute_splat(struct runner *r, char *splat)
{
	bool foreign = splat_is_foreign(splat);
	unsigned int nr = 0;

	for (unsigned int i = 0; i < r->nr_slots; i++)
		nr += !foreign && slot_is_active(&r->slots[i]);
	for (unsigned int i = 0; i < r->nr_slots && nr; i++) {
		struct slot *slot = &r->slots[i];

		if (!slot_is_active(slot))
			continue;
		add_text(nr == 1 ? &slot->job.kernel_log : &slot->splat, splat);
	}
	if (nr == 0)
		fail_run(r, splat);
	free(splat);
}

void look_at_kernel_log(struct runner *r)
{
	char *splat = splat_read(r->kmsg_fd);

	if (splat)
		attribute_splat(r, splat);
}

static void convict(struct runner *r, struct slot *slot)
{
	free(slot->result.kernel_log);
	slot->result.kernel_log = strdup(slot->splat);
	slot->result.verdict = VERDICT_FAIL;
	known_judge(r->info->expect, r->plan->order[slot - r->slots], &slot->result);
	slot->state = DONE;
}

/* On its own it had the kernel complain again, or it has failed anyway. */
static bool is_culprit(const struct slot *slot)
{
	return slot->state == DONE && slot->splat && slot->result.verdict == VERDICT_FAIL &&
	       slot->result.kernel_log;
}

static bool is_of_culprit(const struct runner *r, const char *splat, size_t len)
{
	for (unsigned int i = 0; i < r->nr_slots; i++) {
		const struct slot *slot = &r->slots[i];

		if (is_culprit(slot) && memmem(slot->splat, strlen(slot->splat), splat, len))
			return true;
	}
	return false;
}

/* Whether a culprit was among the suspects for each of the splats in a text of add_text(). */
static bool is_explained(const struct runner *r, const char *text)
{
	while (*text) {
		const char *end = strstr(text, "\n\n");
		size_t len = end ? (size_t)(end - text) : strlen(text);

		if (!is_of_culprit(r, text, len))
			return false;
		text += len + (end ? 2 : 0);
	}
	return true;
}

/* Whether a splat, that none of the suspects repeats, is known of them. */
static bool is_known_of_suspects(struct runner *r, const char *splat)
{
	const struct plan_item *items[r->nr_slots];
	unsigned int nr = 0;

	for (unsigned int i = 0; i < r->nr_slots; i++) {
		if (r->slots[i].state == DONE && r->slots[i].splat)
			items[nr++] = r->plan->order[i];
	}
	return known_splat(r->info->expect, items, nr, splat);
}

static void blame(struct runner *r, struct slot *slot)
{
	if (slot->result.verdict != VERDICT_FAIL) {
		result_free(&slot->result);
		slot->result = make_result(
			VERDICT_FAIL,
			"the kernel complained while this and other subtests ran; none of them repeats it on its own");
	}
	free(slot->result.kernel_log);
	slot->result.kernel_log = strdup(slot->splat);
	known_judge(r->info->expect, r->plan->order[slot - r->slots], &slot->result);
}

static bool is_above_suspicion(struct runner *r, unsigned int i)
{
	const struct plan_item *item = r->plan->order[i];
	const struct slot *slot = &r->slots[i];

	if (slot->state != DONE || !slot->splat || is_explained(r, slot->splat))
		return true;
	return is_known_of_suspects(r, slot->splat) &&
	       (slot->result.verdict == VERDICT_XFAIL ||
		!known_splat(r->info->expect, &item, 1, slot->splat));
}

/*
 * A splat that none of them repeats is still a splat, so none of them is above suspicion, unless it
 * is known of some of them.
 */
static void blame_for_unexplained(struct runner *r)
{
	bool innocent[r->nr_slots + 1];

	/* All first: who is blamed here explains nothing. */
	for (unsigned int i = 0; i < r->nr_slots; i++)
		innocent[i] = is_above_suspicion(r, i);
	for (unsigned int i = 0; i < r->nr_slots; i++) {
		if (!innocent[i])
			blame(r, &r->slots[i]);
	}
}

/*
 * One that failed by itself as well is the likely cause, and has failed anyway: once is enough,
 * unless a draft is to say which of several it was. It is enough for a known failure, too, which
 * would be one with that splat.
 */
static bool is_convicted(struct runner *r, const struct slot *slot, bool has_culprit)
{
	const struct plan_item *item = r->plan->order[slot - r->slots];

	if (slot->result.verdict == VERDICT_FAIL)
		return has_culprit || !r->options->draft_path;
	return slot->result.verdict == VERDICT_XFAIL &&
	       known_splat(r->info->expect, &item, 1, slot->splat);
}

static unsigned int count_failed_suspects(const struct runner *r)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < r->nr_slots; i++) {
		enum verdict verdict = r->slots[i].result.verdict;

		nr += r->slots[i].state == SUSPECT &&
		      (verdict == VERDICT_FAIL || verdict == VERDICT_XFAIL);
	}
	return nr;
}

static void rerun_suspect(struct runner *r, struct slot *slot)
{
	/* WARN_ON_ONCE() is to say it again. Without debugfs it does not, and all stay suspects. */
	write_knob("/sys/kernel/debug/clear_warn_once", "1");
	rerun_alone(r, slot);
}

/*
 * On their own, suspects either cause the splat again, or are not the one. A known failure that
 * does so only accounts for what is known of it.
 */
void rerun_suspects(struct runner *r)
{
	bool has_culprit = count_failed_suspects(r) == 1;

	for (unsigned int i = 0; i < r->nr_slots && !r->stop; i++) {
		if (r->slots[i].state != SUSPECT)
			continue;
		if (is_convicted(r, &r->slots[i], has_culprit))
			convict(r, &r->slots[i]);
		else
			rerun_suspect(r, &r->slots[i]);
	}
	if (!r->stop)
		blame_for_unexplained(r);
	report_done(r);
}
