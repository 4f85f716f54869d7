/* SPDX-License-Identifier: GPL-2.0-only */
/* One boot of one guest, as seen from the host: what vmwatch's parts share. */
#ifndef WATCH_H
#define WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Verdict classes: the exit codes of vmwatch and of vmtest.sh. */
enum verdict {
	PASS = 0,
	FAIL = 1,
	USAGE = 2,
	CRASH = 3,
	HANG = 4,
	SPLAT = 5,
	BOOTFAIL = 6,
	INFRA = 7,
	UNTESTABLE = 8,
	SKIP = 77,
	TIMEOUT = 124,
	INTERRUPTED = 130,
};

/* How far the guest got, by its own words. */
enum phase { PHASE_NONE, PHASE_BOOT, PHASE_TESTS, PHASE_FINISHED };

/* Why we stopped to watch. */
enum outcome {
	OUTCOME_NONE,	     /* it goes on */
	OUTCOME_END,	     /* the guest has said everything */
	OUTCOME_DIED,	     /* QEMU is gone, without that */
	OUTCOME_PANICKED,    /* the kernel panicked, and did not restart */
	OUTCOME_SILENT,	     /* no sign of the kernel, in time for KVM to be doubted */
	OUTCOME_UNBOOTED,    /* the tests did not start in time */
	OUTCOME_HANG,	     /* nothing moves */
	OUTCOME_TIMEOUT,     /* the time for everything is over */
	OUTCOME_UNWRITTEN,   /* our disk does not take what the guest says */
	OUTCOME_GARBLED,     /* the control line makes no sense */
	OUTCOME_INTERRUPTED, /* by a signal */
	OUTCOME_LEFT,	     /* the user left the terminal */
};

/* Bytes that grow; data always has a NUL behind the last one. */
struct buffer {
	char *data;
	size_t len;
};

enum port_id { CONSOLE, CONTROL, TESTS, MONITOR, NR_PORTS };

/* A serial line of the guest, or QEMU's monitor. */
struct port {
	int fd; /* our end of the socket pair; -1: closed */
	int log_fd;
	size_t logged;	   /* bytes in the log */
	struct buffer end; /* what came after a log of full length; the last of it is kept */
	size_t left_out;
	int copy_fd;	      /* a reader of ours besides the log; -1: none */
	struct buffer unsent; /* what copy_fd has not taken yet */
};

struct collect {
	const char *name;
	const char *path;
};

struct options {
	const char *dir;
	const char *nonce;
	const char *facts_path;
	unsigned int boot_s, hang_s, total_s, first_sign_s; /* 0: no limit */
	bool show_console, show_tests, terminal, no_splat;
	struct collect *collect;
	size_t nr_collect;
	struct splat_patterns **splat_allow;
	size_t nr_splat_allow;
	const char **info; /* "KEY=VALUE" for verdict.json */
	size_t nr_info;
	const char *expect; /* known failures: a file, or a directory of them */
	const char *image;  /* what boots; its digest goes to verdict.json */
	char **qemu;	    /* its command, NULL at the end */
};

struct run {
	struct options options;
	struct port ports[NR_PORTS];
	struct buffer control_line; /* what came of the current one */
	struct buffer monitor_text;
	int signal_fd;

	pid_t qemu;    /* 0: not running */
	int qemu_code; /* exit status, 128 + signal, or -1: ended by us */

	int digest_fd; /* where that of the image will come from; -1: from nowhere */

	enum outcome outcome;
	enum phase phase;
	uint64_t started_ms, progress_ms;
	uint64_t boot_ms, tests_ms, done_ms, end_ms; /* since the start; 0: did not come */

	char release[128], version[128]; /* as uname(2) has them */
	char fatal[256];		 /* why init gave up */
	bool done_by_signal;
	int done_status; /* exit status or signal of the tests */
	bool done;

	/* A file that is being received. */
	struct buffer incoming;
	char incoming_name[64];
	size_t incoming_size, incoming_raw; /* on the line, and unpacked */
	bool receiving, after_file;

	char unwritten[256]; /* the file that could not be written */
	bool spoke;	     /* the kernel has said "Linux version" */
	bool panicked;
	uint64_t asked_ms; /* when a guest that hangs was asked for its state; 0: never */
	size_t asked_at;   /* where in console.log its answers begin */

	/* The verdict. */
	enum verdict verdict;
	char reason[512];
	char splat[512]; /* its first line */
	char splat_subtest[512];
	char running[256];
	char kvm_error[256];
	bool misfired; /* the kernel speaks of what only an emulator does */
	/* From results.json; -1: not there. */
	int passed, failed, skipped, xfailed, xpassed;
};

/* Milliseconds of a clock that only goes forward. */
uint64_t now_ms(void);

void buffer_append(struct buffer *b, const void *data, size_t len);
void buffer_drop(struct buffer *b, size_t len); /* from its front */
void buffer_blank_nuls(struct buffer *b);	/* for those who read it as text */
void buffer_free(struct buffer *b);

/* A whole file, for the caller to free; data is NULL if there is none. */
struct buffer read_whole(const struct run *run, const char *name);

/* The path of a file among the logs, in a buffer that the next call reuses. */
const char *log_path(const struct run *run, const char *name);

/* Replace a file among the logs, or anywhere. 0 or -errno; unwritten names what failed. */
int write_file(struct run *run, const char *path, const void *data, size_t len);

__attribute__((format(printf, 1, 2))) void say(const char *fmt, ...);

/* vm/qemu.c */

/* Create the socket pairs and start QEMU on them. 0 or -errno. */
int qemu_start(struct run *run);
/* If it has ended: take its status. */
void qemu_reap(struct run *run);
/* Wait for its end, then kill it. */
void qemu_stop(struct run *run, unsigned int patience_ms);
/* Complete the logs: what the ports have said until now is in them, as far as it is kept. */
void flush_logs(struct run *run);
/* Hand the rest to whoever reads the ports' copies. */
void flush_copies(struct run *run);
/* Wait for one thing to happen, at most so long, and deal with it. */
void pump(struct run *run, int timeout_ms);
/* More for a port's log. */
void log_bytes(struct run *run, struct port *port, const char *data, size_t len);
/* A line for QEMU's monitor. */
void monitor_command(struct run *run, const char *command);

/* vm/control.c: what came on the control line. */
void control_receive(struct run *run, const char *data, size_t len);

/* vm/hang.c: ask a guest that is stuck for its state, into hang.txt. */
void dump_guest(struct run *run);

/* vm/verdict.c */

/*
 * Of a part of the kernel's log that is left out, write to the port's log what decides the verdict:
 * splats, with what follows each, and marks.
 */
void save_messages(struct run *run, struct port *port, char *text);
/* Decide, from everything that is known. */
void classify(struct run *run);
/* For people (stderr), for machines (verdict.json) and for the caller (facts). */
void report(struct run *run);
const char *verdict_name(enum verdict verdict);
const char *outcome_name(enum outcome outcome);
const char *phase_name(enum phase phase);

#endif /* WATCH_H */
