/* SPDX-License-Identifier: GPL-2.0-only */
/* The process of one subtest: what it shares with the runner, and how it starts. */
#ifndef CHILD_H
#define CHILD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "harness/bench.h"
#include "harness/harness.h"
#include "harness/latency.h"
#include "harness/timeline.h"

#define CHILD_TEXT_MAX	  1024
#define CHILD_WORD_MAX	  32
#define CHILD_IDS_MAX	  4096
#define CHILD_WAKEUPS_MAX 1024
#define CHILD_FRAMES_MAX  48

/* A BPF object that has to be gone when the subtest is over. */
struct bpf_id {
	bool is_map; /* else a program */
	uint32_t id;
};

/*
 * Shared with the runner, so it outlives any death of the child. The child may fork, so the counts
 * are atomic; the texts are for people, and whoever writes them first wins.
 */
struct child_page {
	atomic_uint checks;
	atomic_uint failed;
	atomic_bool finished; /* run() returned, in the child itself */
	atomic_bool skipped;
	atomic_bool sent; /* anything, on any socket */
	atomic_bool has_reason;
	char reason[CHILD_TEXT_MAX];	  /* of the first failed check */
	char skip_reason[CHILD_TEXT_MAX]; /* of skip() */
	char notes[CHILD_TEXT_MAX];	  /* one a line */
	char observed[CHILD_WORD_MAX];	  /* the last one; "": nothing */
	atomic_uint nr_ids;		  /* may count beyond the array */
	struct bpf_id ids[CHILD_IDS_MAX];
	atomic_uint nr_wakeups; /* may count beyond the array */
	struct wakeup wakeups[CHILD_WAKEUPS_MAX];
	struct bench bench;
	int nr_frames; /* of a crash */
	void *frames[CHILD_FRAMES_MAX];
};

struct child_config {
	struct child_page *page;
	int log_fd;
	int netns_fd;
	int verbosity; /* number of -v */
	pid_t runner;
	const struct test *test;
	unsigned int index;
	struct timeline_page *timeline; /* NULL: it is not traced */
};

/* Set up what all children inherit; once, before the first of them is forked. */
void child_prepare(void);

/* Become the child that config describes; for a process that was just forked. */
void child_main(const struct child_config *config) __attribute__((noreturn));

/* For the checks. */
int child_verbosity(void);
bool child_owns_log(void);
void child_count_check(bool ok);
void child_record_reason(const char *text);
void child_record_note(const char *text);
void child_record_observed(const char *word);
void child_record_send(void);
void child_record_bench(const struct bench *bench);
void child_record_wakeup(const struct wakeup *wakeup);
void child_skip(const char *text);

/* For what has to be gone after the subtest: the id of a map or a program. */
void child_track_id(bool is_map, uint32_t id);

#endif /* CHILD_H */
