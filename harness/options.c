// SPDX-License-Identifier: GPL-2.0-only
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness/bench.h"
#include "harness/options.h"
#include "harness/probe.h"
#include "harness/tracer.h"
#include "network_helpers.h"

#define DEFAULT_WATCHDOG_S 60
#define WORKERS_MAX	   256
#define DEFAULT_TRACE_MAX  8
#define SHARDS_MAX	   10000

enum long_only {
	OPT_IO_TIMEOUT = 256,
	OPT_REQUIRE,
	OPT_REPEAT,
	OPT_UNTIL_FAIL,
	OPT_SHUFFLE,
	OPT_EXPECT,
	OPT_WRITE_EXPECT,
	OPT_TRACE,
	OPT_NO_BTF,
	OPT_LEAKS,
	OPT_LATENCY,
	OPT_BENCH,
	OPT_BENCH_TIME,
	OPT_MATRIX,
	OPT_SHARD,
	OPT_DURATIONS,
	OPT_REPORT,
};

static const struct argp_option option_table[] = {
	{ .doc = "Which subtests to run (all by default; what is denied is never run):",
	  .group = 1 },
	{ "name", 't', "NAMES", 0, "Those with NAMES in their name", 1 },
	{ "allow", 'a', "NAMES", 0, "Those whose whole name is one of NAMES", 1 },
	{ "name-blacklist", 'b', "NAMES", 0, "Not those with NAMES in their name", 1 },
	{ "deny", 'd', "NAMES", 0, "Not those whose whole name is one of NAMES", 1 },
	{ "num", 'n', "NUMBERS", 0,
	  "Those with these numbers: 1,3-5 (tests), 1/36-37,73 (subtests)", 1 },
	{ "require", OPT_REQUIRE, "FEATURES", 0,
	  "Fail instead of skip where the kernel lacks one of FEATURES, a list, or \"all\" that the selection uses",
	  1 },
	{ "shard", OPT_SHARD, "K/N", 0,
	  "Of those, share K of N, for N machines: each subtest is in exactly one, and all of them take about as long",
	  1 },
	{ "durations", OPT_DURATIONS, "FILE", 0,
	  "For --shard: how long they took in an earlier run, of which FILE is what -J wrote; repeatable, as its shares have one each",
	  1 },
	{ .doc = "Instead of running them:", .group = 2 },
	{ "list", 'l', NULL, 0, "List tests and subtests; needs no root", 2 },
	{ "count", 'c', NULL, 0, "Count them: TESTS/SUBTESTS", 2 },
	{ "bench", OPT_BENCH, NULL, 0,
	  "Measure how fast data goes through sockmap, and without it: each of bench's subtests is a row",
	  2 },
	{ "bench-time", OPT_BENCH_TIME, "SECONDS", 0,
	  "Send for SECONDS (2) for each of the measurements", 2 },
	{ "report", OPT_REPORT, "PAGE", 0,
	  "Make an HTML page of results, with a column for each of the files that -J wrote, and the directories of vmtest.sh's logs, that follow",
	  2 },
	{ .doc = "How to run them:", .group = 3 },
	{ "workers", 'j', "N", OPTION_ARG_OPTIONAL,
	  "N subtests at a time, each in a network namespace of its own; without N, one for each CPU",
	  3 },
	{ "watchdog-timeout", 'w', "SECONDS", 0, "Kill a subtest after SECONDS (60; 0: never)", 3 },
	{ "io-timeout", OPT_IO_TIMEOUT, "SECONDS", 0,
	  "Data that does not arrive in SECONDS (10) is lost", 3 },
	{ "repeat", OPT_REPEAT, "N", 0, "Run everything N times", 3 },
	{ "until-fail", OPT_UNTIL_FAIL, NULL, 0,
	  "Stop at the first failure; without --repeat, go on until there is one", 3 },
	{ "shuffle", OPT_SHUFFLE, "SEED", OPTION_ARG_OPTIONAL,
	  "Run them in random order; the seed is printed, and SEED gives that order again", 3 },
	{ "trace", OPT_TRACE, "N", OPTION_ARG_OPTIONAL,
	  "Trace what happens to the data of every subtest; with N, only of those that fail, in a second run of the first N (8; 0: none)",
	  3 },
	{ "no-btf", OPT_NO_BTF, NULL, 0,
	  "Trace as on a kernel without BTF: by kprobes, which show less", 3 },
	{ "leaks", OPT_LEAKS, NULL, 0,
	  "Look for lost memory in the kernel's slab caches, where nobody else is at work; vmtest.sh does",
	  3 },
	{ "latency", OPT_LATENCY, NULL, 0,
	  "Print how long readers waited for redirected data, and for the backlog worker: traced, which takes some microseconds itself",
	  3 },
	{ "expect", OPT_EXPECT, "FILE|DIR", 0,
	  "FILE lists failures that are known on this kernel (XFAIL); of DIR, the file named like the beginning of its release",
	  3 },
	{ .doc = "What to report:", .group = 4 },
	{ "verbose", 'v', "LEVEL", OPTION_ARG_OPTIONAL,
	  "The logs of passed subtests and every check; -vv: libbpf's debug messages, -vvv: and the verifier's",
	  4 },
	{ "output", 'o', "FORMAT[:FILE]", 0,
	  "Report in FORMAT: human, html (a page for a browser), json, jsonl (a line for each event), ktap, junit, matrix or matrix-md; to FILE, or to standard output instead of human",
	  4 },
	{ "matrix", OPT_MATRIX, "md", OPTION_ARG_OPTIONAL,
	  "Run only what shows which sockets the kernel can redirect between, and print that as tables: text, or Markdown",
	  4 },
	{ "json-summary", 'J', "FILE", 0,
	  "Write the results to FILE as JSON, anew after each subtest; - is standard output, at the end",
	  4 },
	{ "write-expect", OPT_WRITE_EXPECT, "FILE", 0,
	  "Draft a new FILE for --expect from the failures; what it cannot know is to be filled in",
	  4 },
	{}
};

static const char doc[] =
	"Test BPF sockmap and sockhash: does redirected data arrive, at the right socket, once, in order, and does the reader wake up?"
	"\v"
	"NAMES is a comma-separated list of TEST or TEST/SUBTEST, in which *, ? and [] match as they do in a shell, or of @FILE, with a name on each line and # before comments.\n"
	"\n"
	"Examples:\n"
	"  ./test_progs -t sockmap_listen             one test\n"
	"  ./test_progs -t '*/udp_redir' -v           some subtests, in detail\n"
	"  ./test_progs -a 'sockmap_listen/sockhash*' -d @known.list   all but some\n"
	"  ./test_progs -n 1/36-37,73 --until-fail    hunt a flake\n"
	"  ./test_progs -j -J results.json            fast, for machines\n"
	"  ./test_progs --expect vm/expect            known failures are XFAIL\n"
	"\n"
	"Exit status:\n"
	"  0     passed, or failed as --expect knows\n"
	"  1     failed\n"
	"  2     nothing matched\n"
	"  3     the tests cannot run here\n"
	"  4     all were skipped, or must not run\n"
	"  64    usage\n"
	"  130   interrupted\n"
	"\n"
	"FEATURES are found out by trying them on the running kernel:\n";

static __attribute__((noreturn, format(printf, 2, 3))) void fail(int status, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(status);
}

/* A number from min to max, and nothing else. */
static unsigned int parse_uint(const char *option, const char *text, unsigned int min,
			       unsigned int max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (!*text || *end || text[strspn(text, "0123456789")] || errno || value < min ||
	    value > max)
		fail(EXIT_USAGE_ERROR, "%s takes a whole number from %u to %u, not \"%s\"", option,
		     min, max, text);
	return value;
}

static void add_patterns(struct options *o, const char *list, enum pattern_kind kind, bool deny)
{
	char error[PATH_MAX + 256];

	if (!selection_add_patterns(o->selection, list, kind, deny, error, sizeof(error)))
		fail(EXIT_USAGE_ERROR, "%s", error);
}

static void add_numbers(struct options *o, const char *list)
{
	char error[256];

	if (!selection_add_numbers(o->selection, list, error, sizeof(error)))
		fail(EXIT_USAGE_ERROR, "%s", error);
}

/* K/N */
static void parse_shard(struct options *o, const char *arg)
{
	unsigned int k, n;
	char more;

	if (arg[strspn(arg, "0123456789/")] || sscanf(arg, "%5u/%5u%c", &k, &n, &more) != 2 ||
	    k < 1 || k > n || n > SHARDS_MAX)
		fail(EXIT_USAGE_ERROR, "--shard takes K/N, such as 2/3, not \"%s\"", arg);
	o->shard = k;
	o->nr_shards = n;
}

static void add_durations(struct options *o, const char *path)
{
	char error[PATH_MAX + 256];

	if (!durations_load(o->durations, path, error, sizeof(error)))
		fail(EXIT_USAGE_ERROR, "%s", error);
	o->has_durations = true;
}

/* -v, -vv, -vvv: getopt hands over what follows the first v. */
static int parse_verbosity(const char *more)
{
	size_t n = more ? strspn(more, "v") : 0;

	if (more && (more[n] || n > 2))
		fail(EXIT_USAGE_ERROR, "-v, -vv or -vvv, not -v%s", more);
	return 1 + (int)n;
}

static void require_features(struct options *o, const char *names)
{
	const char *bad;

	if (strcmp(names, "all") == 0)
		o->require_all = true;
	else if (!feature_set_parse(names, &o->require, &bad))
		fail(EXIT_USAGE_ERROR, "--require: there is no feature \"%s\" (--help lists them)",
		     bad);
}

static const char *const formats[] = {
	[FORMAT_HUMAN] = "human",   [FORMAT_HTML] = "html",	      [FORMAT_JSON] = "json",
	[FORMAT_JSONL] = "jsonl",   [FORMAT_KTAP] = "ktap",	      [FORMAT_JUNIT] = "junit",
	[FORMAT_MATRIX] = "matrix", [FORMAT_MATRIX_MD] = "matrix-md",
};

static void add_output(struct options *o, enum format format, const char *path)
{
	if (o->output[format])
		fail(EXIT_USAGE_ERROR, "one %s report is enough, not %s and %s", formats[format],
		     o->output[format], path);
	o->output[format] = path;
}

/* FORMAT[:FILE] */
static void parse_output(struct options *o, const char *arg)
{
	size_t len = strcspn(arg, ":");
	const char *path = arg[len] ? arg + len + 1 : "-";

	if (!*path)
		fail(EXIT_USAGE_ERROR, "-o %s: which file?", arg);
	for (enum format f = 0; f < NR_FORMATS; f++) {
		if (strncmp(formats[f], arg, len) == 0 && !formats[f][len]) {
			add_output(o, f, path);
			o->has_stdout |= strcmp(path, "-") == 0 || f == FORMAT_HUMAN;
			return;
		}
	}
	fail(EXIT_USAGE_ERROR, "-o: there is no format \"%.*s\" (--help lists them)", (int)len,
	     arg);
}

/* Two reports in one file are none. */
static void check_outputs(const struct options *o)
{
	for (enum format f = 0; f < NR_FORMATS; f++) {
		for (enum format g = 0; g < f; g++) {
			const char *path = o->output[f];

			if (path && o->output[g] && strcmp(path, o->output[g]) == 0)
				fail(EXIT_USAGE_ERROR, "%s cannot hold two reports",
				     strcmp(path, "-") ? path : "standard output");
		}
	}
}

/* The report for people is what there is if nothing else is wanted; -J - comes after it. */
static void settle_outputs(struct options *o)
{
	check_outputs(o);
	if (!o->has_stdout)
		o->output[FORMAT_HUMAN] = "-";
}

/* What is not an option, all at once. */
static void take_files(struct options *o, char **files, unsigned int nr)
{
	if (!o->page_path)
		fail(EXIT_USAGE_ERROR, "what is \"%s\"? (-t %s selects tests by name)", files[0],
		     files[0]);
	o->page_files = files;
	o->nr_page_files = nr;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 't':
		add_patterns(o, arg, PATTERN_SUBSTRING, false);
		break;
	case 'a':
		add_patterns(o, arg, PATTERN_EXACT, false);
		break;
	case 'b':
		add_patterns(o, arg, PATTERN_SUBSTRING, true);
		break;
	case 'd':
		add_patterns(o, arg, PATTERN_EXACT, true);
		break;
	case 'n':
		add_numbers(o, arg);
		break;
	case OPT_SHARD:
		parse_shard(o, arg);
		break;
	case OPT_DURATIONS:
		add_durations(o, arg);
		break;
	case 'l':
		o->list = true;
		break;
	case 'c':
		o->count = true;
		break;
	case 'v':
		o->verbosity = parse_verbosity(arg);
		break;
	case 'j':
		o->workers = arg ? parse_uint("-j", arg, 1, WORKERS_MAX)
				 : (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
		break;
	case 'w':
		o->watchdog_s = parse_uint("-w", arg, 0, 24 * 3600);
		break;
	case 'J':
		add_output(o, FORMAT_JSON, arg);
		break;
	case 'o':
		parse_output(o, arg);
		break;
	case OPT_IO_TIMEOUT:
		io_timeout_ms = 1000 * parse_uint("--io-timeout", arg, 1, 3600);
		break;
	case OPT_REQUIRE:
		require_features(o, arg);
		break;
	case OPT_REPEAT:
		o->repeat = parse_uint("--repeat", arg, 1, 1000000);
		break;
	case OPT_UNTIL_FAIL:
		o->until_fail = true;
		break;
	case OPT_TRACE:
		o->trace = !arg;
		o->trace_max = arg ? parse_uint("--trace", arg, 0, 1000000) : 0;
		break;
	case OPT_LEAKS:
		o->leaks = o->leaks_asked = true;
		break;
	case OPT_NO_BTF:
		tracer_without_btf = true;
		break;
	case OPT_BENCH:
		o->bench = true;
		break;
	case OPT_BENCH_TIME:
		bench_time_ms = parse_uint("--bench-time", arg, 1, 1000) * 1000;
		break;
	case OPT_MATRIX:
		if (arg && strcmp(arg, "md"))
			fail(EXIT_USAGE_ERROR, "--matrix or --matrix=md, not --matrix=%s", arg);
		o->matrix = o->has_stdout = true;
		add_output(o, arg ? FORMAT_MATRIX_MD : FORMAT_MATRIX, "-");
		break;
	case OPT_LATENCY:
		o->latency = true;
		break;
	case OPT_EXPECT:
		o->expect_path = arg;
		break;
	case OPT_WRITE_EXPECT:
		o->draft_path = arg;
		break;
	case OPT_SHUFFLE:
		o->shuffle = true;
		o->seed = arg ? parse_uint("--shuffle", arg, 1, UINT_MAX)
			      : (uint32_t)(now_ns() ^ getpid()) | 1;
		break;
	case OPT_REPORT:
		o->page_path = arg;
		break;
	case ARGP_KEY_ARGS:
		take_files(o, state->argv + state->next, state->argc - state->next);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* The list of features ends the help. */
static char *help_filter(int key, const char *text, void *input)
{
	char *out = NULL;
	size_t size;
	FILE *file;
	const char *comma = "";

	(void)input;
	if (key != ARGP_KEY_HELP_POST_DOC)
		return (char *)text;
	file = open_memstream(&out, &size);
	if (!file)
		return (char *)text;
	fputs(text, file);
	for (unsigned int f = 0; f < NR_FEATURES; f++) {
		if (feature_name(f)) {
			fprintf(file, "%s%s", comma, feature_name(f));
			comma = ", ";
		}
	}
	fclose(file);
	return out;
}

static char *join_args(int argc, char **argv)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		return NULL;
	for (int i = 0; i < argc; i++) {
		bool plain =
			argv[i][strcspn(argv[i], " \t\n'\"*?[]$\\&;|<>()")] == '\0' && *argv[i];

		fprintf(file, plain ? "%s%s" : "%s'%s'", i ? " " : "", argv[i]);
	}
	fclose(file);
	return text;
}

void options_parse(struct options *o, int argc, char **argv)
{
	static const struct argp argp = {
		.options = option_table,
		.parser = parse_option,
		.doc = doc,
		.help_filter = help_filter,
	};

	*o = (struct options){
		.selection = selection_create(),
		.durations = durations_create(),
		.workers = 1,
		.watchdog_s = DEFAULT_WATCHDOG_S,
		.trace_max = DEFAULT_TRACE_MAX,
		/* A guest of vmtest.sh is for the tests alone. */
		.leaks = getenv("MAY_CRASH"),
		.command_line = join_args(argc, argv),
	};
	if (!o->selection || !o->durations || !o->command_line)
		fail(EXIT_SETUP, "out of memory");
	argp_parse(&argp, argc, argv, 0, NULL, o);
	settle_outputs(o);
	if (o->page_path && !o->nr_page_files)
		fail(EXIT_USAGE_ERROR, "--report %s: of which files?", o->page_path);
	if (o->has_durations && !o->nr_shards)
		fail(EXIT_USAGE_ERROR, "--durations is for --shard, and there is none");
	if (!o->repeat && !o->until_fail)
		o->repeat = 1;
	/* Two flows, each of them one and a half times as long. */
	if (o->bench && o->watchdog_s)
		o->watchdog_s += 3 * bench_time_ms / 1000;
}

void options_free(struct options *o)
{
	selection_free(o->selection);
	durations_free(o->durations);
	free(o->command_line);
}
