/* SPDX-License-Identifier: GPL-2.0-only */
/* One run of one subtest, as the runner sees it: from fork to verdict. */
#ifndef JOB_H
#define JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "harness/child.h"
#include "harness/plan.h"

struct job {
	struct plan_item *item;
	struct child_page *page;
	pid_t pid; /* also the number of its process group */
	int pidfd;
	int log_fd;
	int netns_fd; /* borrowed from its worker */
	uint64_t start_ns;
	uint64_t end_ns; /* 0: it runs */
	bool reaped;	 /* status is valid */
	bool group_gone; /* all of its process group: the number may be another's now */
	int status;	 /* of wait(2) */
	bool said_slow;	 /* the log says that it takes long */
	bool timed_out;
	bool unkillable; /* SIGKILL did not end it */
	bool left_processes;
	unsigned int left_objects; /* BPF maps and programs that are still there */
	int left_sockets;
	char left_socket[256]; /* one of them */
	int32_t netns_id;      /* its namespace, for netns_is_alive() */
	bool keeps_netns;      /* which does not end, though nobody is seen in it */
	char *kernel_log;
};

/*
 * Fork and start it. netns_fd: its network namespace, or the -errno for which there is none. timeline:
 * what it records its events into, or NULL. 0 or -errno; job_free() is due then, too.
 */
int job_start(struct job *job, struct plan_item *item, int netns_fd, int verbosity,
	      struct timeline_page *timeline);

/* Kill all of its processes that are in its group. True: there were some. */
bool job_kill(struct job *job);

/* Write into its log that it takes long, and where each of its threads is in the kernel. */
void job_say_slow(struct job *job, unsigned int seconds);

/* How many of its BPF objects still exist. They are freed a while after their last user is gone. */
unsigned int job_count_objects(const struct job *job);

/* The verdict on an ended job. The result owns its texts. */
struct result job_judge(const struct job *job);

/* Free what job_start() made. */
void job_free(struct job *job);

#endif /* JOB_H */
