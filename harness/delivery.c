// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>

#include "harness/delivery.h"

#define LINES_MAX 160

/*
 * A test has threads that wake each other, and looks into queues again and again while it waits:
 * that tells nothing of the data.
 */
static bool is_noise(const struct timeline_event *e)
{
	return (e->point == TL_WAKING && strcmp(e->text, "reader")) ||
	       (e->point == TL_TAKEN && e->value <= 0);
}

static bool is_same(const struct timeline_line *a, const struct timeline_line *b)
{
	return a->event == b->event && a->tid == b->tid && !strcmp(a->socket, b->socket) &&
	       !strcmp(a->detail, b->detail);
}

static void add_line(struct delivery *d, const struct timeline_line *line)
{
	struct timeline_line *last = d->nr_lines ? &d->lines[d->nr_lines - 1] : NULL;

	if (last && is_same(last, line))
		last->times++;
	else
		d->lines[d->nr_lines++] = *line;
}

/* Where there are too many, the first and the last ones. */
static void leave_out(struct delivery *d)
{
	if (d->nr_lines <= LINES_MAX)
		return;
	d->left_out = d->nr_lines - LINES_MAX;
	d->nr_lines = LINES_MAX;
	memmove(d->lines + LINES_MAX / 2, d->lines + LINES_MAX / 2 + d->left_out,
		LINES_MAX / 2 * sizeof(*d->lines));
}

static void fill_lines(struct delivery *d, const struct timeline *part)
{
	struct timeline_line line;

	for (unsigned int i = 0; i < part->nr_events; i++) {
		if (is_noise(&part->events[i]))
			continue;
		timeline_describe(part, i, &line);
		add_line(d, &line);
	}
	leave_out(d);
}

struct delivery *delivery_create(const struct timeline *timeline, const char *gaps, bool passed)
{
	struct delivery *d;
	struct timeline part;

	if (!timeline_cut(timeline, &part))
		return NULL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	d->lines = calloc(part.nr_events + 1, sizeof(*d->lines));
	d->gaps = strdup(gaps);
	if (!d->lines || !d->gaps) {
		delivery_free(d);
		return NULL;
	}
	fill_lines(d, &part);
	if (passed)
		snprintf(d->conclusion, sizeof(d->conclusion),
			 "passed when traced: it depends on timing");
	else
		timeline_conclude(&part, d->conclusion, sizeof(d->conclusion));
	return d;
}

void delivery_free(struct delivery *d)
{
	if (!d)
		return;
	free(d->lines);
	free(d->gaps);
	free(d);
}

void delivery_print(const struct delivery *d, FILE *file, const char *indent)
{
	fprintf(file, "%sTimeline, in us since the send:\n", indent);
	for (unsigned int i = 0; i < d->nr_lines; i++) {
		const struct timeline_line *line = &d->lines[i];

		if (d->left_out && i == LINES_MAX / 2)
			fprintf(file, "%s  [%u lines left out]\n", indent, d->left_out);
		fprintf(file, "%s%12.1f  cpu%-3u %-15s  %-18s %-11s %s", indent, line->us,
			line->cpu, line->thread, line->event, line->socket, line->detail);
		fprintf(file, line->times > 1 ? ", %u times\n" : "\n", line->times);
	}
	if (*d->gaps)
		fprintf(file, "%s(%s)\n", indent, d->gaps);
	fprintf(file, "%sConclusion: %s\n", indent, d->conclusion);
}
