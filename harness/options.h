/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/feature.h"
#include "harness/select.h"
#include "harness/shard.h"

/* Exit codes of the program. */
enum {
	EXIT_PASSED = 0,
	EXIT_FAILED = 1,
	EXIT_NO_MATCH = 2, /* the selection matches nothing */
	EXIT_SETUP = 3,	   /* no test can run here */
	EXIT_ALL_SKIPPED = 4,
	EXIT_USAGE_ERROR = 64,
	EXIT_INTERRUPTED = 130,
};

/* Of reports. */
enum format {
	FORMAT_HUMAN,
	FORMAT_HTML,
	FORMAT_JSON,
	FORMAT_JSONL,
	FORMAT_KTAP,
	FORMAT_JUNIT,
	FORMAT_MATRIX,
	FORMAT_MATRIX_MD,
	NR_FORMATS,
};

struct options {
	struct selection *selection;
	unsigned int shard, nr_shards; /* from 1; 0: all of the plan */
	struct durations *durations;
	bool has_durations;
	bool list;
	bool count;
	int verbosity;
	unsigned int workers;
	unsigned int watchdog_s; /* 0: no deadline */
	unsigned int repeat;	 /* 0: no end, only --until-fail ends it */
	bool until_fail;
	bool trace;		/* every subtest, from its start */
	unsigned int trace_max; /* of those that fail, trace so many in a second run */
	bool latency;		/* sum up what readers waited, with a part of the tracing */
	bool leaks;		/* count in the slab caches, now and then, where that is possible */
	bool leaks_asked;	/* and say so where it is not */
	bool matrix;		/* only what makes up the redirect matrix */
	bool bench;		/* measure, instead of running the tests */
	bool shuffle;
	uint32_t seed;
	const char *
		output[NR_FORMATS]; /* where each report goes; "-": standard output; NULL: nowhere */
	const char *page_path; /* make an HTML page of results that are there; NULL: run tests */
	char **page_files;     /* what it is made of */
	unsigned int nr_page_files;
	bool has_stdout; /* -o has said what goes there, or that the report for people does not */
	const char *expect_path; /* of known failures: a file, or a directory; NULL: none */
	const char *draft_path;	 /* where to draft such a file; NULL: nowhere */
	feature_set require;
	bool require_all;
	char *command_line; /* as typed */
};

/* Parse the command line into options; what it does not understand ends the program. */
void options_parse(struct options *options, int argc, char **argv);
void options_free(struct options *options);

#endif /* OPTIONS_H */
