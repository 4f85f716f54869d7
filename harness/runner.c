// SPDX-License-Identifier: GPL-2.0-only
/*
 * The scheduler. A job is one run of one subtest and goes through these states:
 *
 *	WAITING -> RUNNING -> DRAINING -> SETTLING -> ENDING -> DONE
 *
 * RUNNING ends with the death of the child, DRAINING when its sockets are gone, SETTLING when its BPF
 * objects are, which the kernel frees a while later, and ENDING when its network namespace is. The
 * worker takes the next subtest after DRAINING. On its way to DONE a job may be
 *
 *	HELD	for some seconds, until the slab caches have been looked at (harness/leaks.c)
 *	SUSPECT	until the end of the round, since it is one of several that may have caused a splat
 *		in the kernel's log: they run again then, each on its own (harness/suspects.c)
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/delivery.h"
#include "harness/known.h"
#include "harness/latency.h"
#include "harness/netns.h"
#include "harness/probe.h"
#include "harness/runner.h"
#include "harness/slots.h"
#include "harness/splat.h"
#include "network_helpers.h"

#define SLOW_AFTER_S	  10
#define KILL_TIMEOUT_NS	  (5 * NSEC_PER_SEC)
#define SETTLE_TIMEOUT_NS (20 * NSEC_PER_SEC)
#define SETTLE_LOOK_MS	  5

bool slot_is_active(const struct slot *slot)
{
	return slot->state == RUNNING || slot->state == DRAINING || slot->state == SETTLING ||
	       slot->state == ENDING;
}

bool any_slot(const struct runner *r, bool (*is)(const struct slot *slot))
{
	for (unsigned int i = 0; i < r->nr_slots; i++) {
		if (is(&r->slots[i]))
			return true;
	}
	return false;
}

/* ---- Starting -------------------------------------------------------------------------------- */

struct result make_result(enum verdict verdict, const char *reason)
{
	return (struct result){ .verdict = verdict, .reason = strdup(reason) };
}

static bool is_required(const struct runner *r, enum feature feature)
{
	return r->options->require_all || (r->options->require & feature_bit(feature));
}

/* A subtest that lacks what it needs does not start. True: that is so, and it has its result. */
static bool lacks_features(struct runner *r, struct slot *slot, const struct plan_item *item)
{
	const struct subtest *sub = &item->subtest;
	char text[512];

	for (enum feature f = 0; f < NR_FEATURES; f++) {
		bool needed = sub->needs & feature_bit(f);
		bool wanted = sub->wants & feature_bit(f);

		if (!(needed || wanted) || have_feature(f))
			continue;
		if (!is_required(r, f) && !needed)
			continue;
		feature_missing(f, text, sizeof(text));
		slot->result = make_result(is_required(r, f) ? VERDICT_FAIL : VERDICT_SKIP, text);
		slot->state = DONE;
		return true;
	}
	return false;
}

static bool is_withheld(struct runner *r, struct slot *slot, const struct plan_item *item)
{
	if (!known_withhold(r->info->expect, item, &slot->result))
		return false;
	slot->state = DONE;
	return true;
}

/* ---- Tracing --------------------------------------------------------------------------------- */

static bool has_run_untraced(const struct slot *slot)
{
	return slot->untraced.verdict != VERDICT_NONE;
}

static bool is_to_be_traced(const struct runner *r, const struct slot *slot)
{
	return r->options->trace || r->options->latency || has_run_untraced(slot);
}

static void look_at_trace(const struct runner *r, struct slot *slot, bool again)
{
	struct result *result = &slot->result;
	const struct timeline *timeline;
	bool failed = result->verdict == VERDICT_FAIL;

	trace_end(slot->trace);
	timeline = trace_timeline(slot->trace);
	latency_add_worker(result->wakeups, result->nr_wakeups, timeline);
	if (result->verdict != VERDICT_NONE && (r->options->trace || again || failed))
		result->delivery = delivery_create(timeline, trace_gaps(), again && !failed);
	trace_free(slot->trace);
	slot->trace = NULL;
}

/*
 * The timeline becomes a part of the result. What a second, traced run found out is added to the
 * first one, which counts: a failure that does not come again has happened all the same.
 */
static void end_trace(const struct runner *r, struct slot *slot)
{
	struct result *result = &slot->result;
	bool again = has_run_untraced(slot);

	if (slot->trace)
		look_at_trace(r, slot, again);
	if (!again)
		return;
	slot->untraced.delivery = result->delivery;
	result->delivery = NULL;
	slot->untraced.leaked |= result->leaked;
	if (result->kernel_log)
		add_text(&slot->untraced.kernel_log, result->kernel_log);
	result_free(result);
	*result = slot->untraced;
	slot->untraced = (struct result){};
}

/* Whether a second run, with tracing, can tell more: not of a crash or a splat, or without data. */
static bool is_worth_tracing(const struct runner *r, const struct slot *slot)
{
	const struct result *result = &slot->result;

	return result->verdict == VERDICT_FAIL && result->sent &&
	       (result->failed_checks || slot->kill_ns) && !result->kernel_log && !slot->splat &&
	       !slot->job.unkillable && !result->delivery && !r->stop &&
	       r->traced < r->options->trace_max;
}

/* ---- Starting, continued --------------------------------------------------------------------- */

/* A network namespace for one subtest. */
static void make_netns(struct runner *r, struct worker *worker)
{
	int err;

	close_fd(&worker->netns_fd);
	worker->netns_fd = netns_create();
	if (worker->netns_fd < 0)
		return;
	worker->netns_id = ++r->last_netns_id;
	err = netns_watch(r->netns_watch_fd, worker->netns_fd, worker->netns_id);
	if (err) {
		close_fd(&worker->netns_fd);
		worker->netns_fd = err;
	}
}

static void start_job(struct runner *r, struct worker *worker, struct slot *slot)
{
	struct plan_item *item = r->plan->order[slot - r->slots];
	char text[256];
	int err;

	if (lacks_features(r, slot, item) || is_withheld(r, slot, item))
		return;
	splat_mark("start %s/%s", item->test->name, item->subtest.name);
	make_netns(r, worker);
	if (is_to_be_traced(r, slot) && worker->netns_fd >= 0)
		slot->trace = trace_begin(worker->netns_fd);
	err = job_start(&slot->job, item, worker->netns_fd, r->options->verbosity,
			slot->trace ? trace_page(slot->trace) : NULL);
	if (err) {
		snprintf(text, sizeof(text), "cannot start it: %s", strerror(-err));
		job_kill(&slot->job);
		job_free(&slot->job);
		slot->result = make_result(VERDICT_FAIL, text);
		slot->state = DONE;
		end_trace(r, slot);
		return;
	}
	slot->kill_ns = 0;
	slot->state = RUNNING;
	worker->slot = slot;
}

static struct slot *next_waiting(struct runner *r)
{
	for (unsigned int i = r->reported; i < r->nr_slots; i++) {
		if (r->slots[i].state == WAITING)
			return &r->slots[i];
	}
	return NULL;
}

static void start_jobs(struct runner *r)
{
	bool last = !next_waiting(r);

	if (window_is_due(r, last)) {
		if (!any_slot(r, slot_is_active))
			close_window(r);
		else if (window_is_overdue(r))
			end_window(r);
		else
			return;
	} else if (!r->window.open && !any_slot(r, slot_is_active)) {
		open_window(r);
	}
	for (unsigned int i = 0; i < r->nr_workers && !r->stop; i++) {
		struct slot *slot;

		while (!r->workers[i].slot && (slot = next_waiting(r)))
			start_job(r, &r->workers[i], slot);
	}
}

/* ---- Ending ---------------------------------------------------------------------------------- */

static struct slot *slot_of_pid(struct runner *r, pid_t pid)
{
	for (unsigned int i = 0; i < r->nr_workers; i++) {
		struct slot *slot = r->workers[i].slot;

		if (slot && slot->job.pid == pid)
			return slot;
	}
	return NULL;
}

/* Orphans of the subtests come to this process, which is their subreaper; nobody wants their
 * status. */
static void reap(struct runner *r)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct slot *slot = slot_of_pid(r, pid);

		if (slot) {
			slot->job.reaped = true;
			slot->job.status = status;
		}
	}
}

static bool is_in_netns(pid_t pid, int netns_fd)
{
	struct stat theirs, worker;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	return stat(path, &theirs) == 0 && fstat(netns_fd, &worker) == 0 &&
	       theirs.st_ino == worker.st_ino;
}

/* Processes that left the group of their subtest, but not its namespace, and lost their parent. */
static bool kill_orphans(struct runner *r, int netns_fd)
{
	FILE *children = fopen("/proc/thread-self/children", "re");
	bool any = false;
	int pid;

	while (children && fscanf(children, "%d", &pid) == 1) {
		if (slot_of_pid(r, pid) || !is_in_netns(pid, netns_fd))
			continue;
		kill(pid, SIGKILL);
		any = true;
	}
	if (children)
		fclose(children);
	return any;
}

/* One that was killed may leave children, which come here next: again until there are none. */
static bool kill_leftovers(struct runner *r, struct job *job)
{
	bool any = job_kill(job);

	any |= kill_orphans(r, job->netns_fd);
	reap(r);
	job->left_processes |= any;
	return any;
}

/*
 * How long to wait for what is left behind: a healthy kernel never comes near it. Once something
 * has stayed it is clear that this kernel leaks, and all of the subtests that show it need not take
 * long.
 */
static bool has_settled_down(struct runner *r, const struct slot *slot)
{
	/* A worker waits for the first of these only. */
	static const uint64_t impatient_ns[DONE] = {
		[DRAINING] = 1 * NSEC_PER_SEC,
		[SETTLING] = 4 * NSEC_PER_SEC,
		[ENDING] = 4 * NSEC_PER_SEC,
	};
	uint64_t timeout = r->lingers[slot->state] ? impatient_ns[slot->state] : SETTLE_TIMEOUT_NS;

	if (now_ns() - slot->job.end_ns < timeout)
		return false;
	r->lingers[slot->state] = true;
	return true;
}

static void end_job(struct slot *slot)
{
	slot->job.end_ns = now_ns();
	slot->state = DRAINING;
}

/* Processes, and sockets: theirs, and TCP's last handshakes, take a moment. */
static void drain(struct runner *r, struct worker *worker)
{
	struct slot *slot = worker->slot;
	struct job *job = &slot->job;
	bool processes = !job->unkillable && kill_leftovers(r, job);

	job->left_sockets =
		netns_count_sockets(job->netns_fd, job->left_socket, sizeof(job->left_socket));
	if ((processes || job->left_sockets > 0) && !has_settled_down(r, slot))
		return;
	job->netns_id = worker->netns_id;
	close_fd(&worker->netns_fd);
	worker->slot = NULL;
	slot->state = SETTLING;
}

static void finish(struct runner *r, struct slot *slot)
{
	slot->job.left_objects = job_count_objects(&slot->job);
	slot->result = job_judge(&slot->job);
	splat_mark("end %s/%s", slot->job.item->test->name, slot->job.item->subtest.name);
	known_judge(r->info->expect, slot->job.item, &slot->result);
	slot->state = DONE;
	if (slot->trace || has_run_untraced(slot)) {
		end_trace(r, slot);
	} else if (is_worth_tracing(r, slot)) {
		slot->untraced = slot->result;
		slot->result = (struct result){};
		slot->state = WAITING;
		r->traced++;
	}
	job_free(&slot->job);
}

static void settle(struct runner *r, struct slot *slot)
{
	if (job_count_objects(&slot->job) && !has_settled_down(r, slot))
		return;
	slot->state = ENDING;
}

/* Sockets are freed a grace period after their end, and their namespace with the last of them. */
static void end(struct runner *r, struct slot *slot)
{
	slot->job.keeps_netns = netns_is_alive(r->netns_watch_fd, slot->job.netns_id);
	if (slot->job.keeps_netns && !has_settled_down(r, slot))
		return;
	/* What it made the kernel say comes before its namespace goes, maybe since the last look. */
	look_at_kernel_log(r);
	finish(r, slot);
	if (r->alone || slot->state != DONE)
		return;
	if (slot->splat)
		slot->state = SUSPECT;
	else
		hold(r, slot);
}

/* ---- Deadlines ------------------------------------------------------------------------------- */

static uint64_t watchdog_ns(const struct runner *r)
{
	return r->options->watchdog_s ? r->options->watchdog_s * NSEC_PER_SEC : UINT64_MAX;
}

static void check_deadlines(struct runner *r, struct slot *slot)
{
	struct job *job = &slot->job;
	uint64_t now = now_ns(), age = now - job->start_ns;

	if (!job->said_slow && age > SLOW_AFTER_S * NSEC_PER_SEC) {
		job->said_slow = true;
		job_say_slow(job, SLOW_AFTER_S);
	}
	if (!slot->kill_ns && age > watchdog_ns(r)) {
		job->timed_out = true;
		/* The last look at where it hangs, unless the first one was right now. */
		if (r->options->watchdog_s != SLOW_AFTER_S)
			job_say_slow(job, r->options->watchdog_s);
		slot->kill_ns = now;
		job_kill(job);
	}
	/* SIGKILL does not reach a process that waits for ever inside the kernel. */
	if (slot->kill_ns && now - slot->kill_ns > KILL_TIMEOUT_NS)
		job->unkillable = true;
}

static int ms_until(uint64_t deadline)
{
	uint64_t now = now_ns();

	return deadline <= now ? 0 : (int)((deadline - now) / NSEC_PER_MSEC) + 1;
}

static int shorter(int a, int b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* How long nothing can happen unless a child ends or a signal comes; -1: for ever. */
static int sleep_ms(const struct runner *r)
{
	int ms = -1;

	for (unsigned int k = 0; k < nr_reporters; k++) {
		if (reporters[k]->due_ms)
			ms = shorter(ms, reporters[k]->due_ms());
	}
	for (unsigned int i = 0; i < r->nr_slots; i++) {
		if (slot_is_active(&r->slots[i]) && r->slots[i].state != RUNNING)
			ms = shorter(ms, SETTLE_LOOK_MS);
	}
	for (unsigned int i = 0; i < r->nr_workers; i++) {
		const struct slot *slot = r->workers[i].slot;

		if (!slot || slot->state != RUNNING)
			continue;
		if (slot->kill_ns)
			ms = shorter(ms, ms_until(slot->kill_ns + KILL_TIMEOUT_NS));
		else if (r->options->watchdog_s)
			ms = shorter(ms, ms_until(slot->job.start_ns + watchdog_ns(r)));
		if (!slot->job.said_slow)
			ms = shorter(ms,
				     ms_until(slot->job.start_ns + SLOW_AFTER_S * NSEC_PER_SEC));
	}
	return ms;
}

/* ---- The loop -------------------------------------------------------------------------------- */

static void on_signal(struct runner *r)
{
	struct signalfd_siginfo info;

	while (read(r->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		r->info->interrupted = true;
		r->stop = true;
	}
}

static void wait_for_event(struct runner *r)
{
	struct pollfd fds[r->nr_workers + 2];

	fds[r->nr_workers + 1] = (struct pollfd){ .fd = trace_fd(), .events = POLLIN };
	fds[0] = (struct pollfd){ .fd = r->signal_fd, .events = POLLIN };
	for (unsigned int i = 0; i < r->nr_workers; i++) {
		const struct slot *slot = r->workers[i].slot;

		bool runs = slot && slot->state == RUNNING;

		fds[i + 1] = (struct pollfd){ .fd = runs ? slot->job.pidfd : -1, .events = POLLIN };
	}
	poll(fds, r->nr_workers + 2, sleep_ms(r));
	on_signal(r);
}

static void handle_workers(struct runner *r)
{
	reap(r);
	trace_collect();
	for (unsigned int i = 0; i < r->nr_workers; i++) {
		struct slot *slot = r->workers[i].slot;

		if (!slot)
			continue;
		if (slot->state == RUNNING && !slot->job.reaped)
			check_deadlines(r, slot);
		if (slot->state == RUNNING && (slot->job.reaped || slot->job.unkillable))
			end_job(slot);
		if (slot->state == DRAINING)
			drain(r, &r->workers[i]);
	}
	look_at_kernel_log(r);
	for (unsigned int i = r->reported; i < r->nr_slots; i++) {
		if (r->slots[i].state == SETTLING)
			settle(r, &r->slots[i]);
		if (r->slots[i].state == ENDING)
			end(r, &r->slots[i]);
	}
}

static unsigned int verdict_weight(enum verdict verdict)
{
	return verdict == VERDICT_FAIL ? 2 : verdict == VERDICT_XFAIL;
}

static void tell_reporters(struct runner *r, const struct plan_item *item,
			   const struct result *result)
{
	for (unsigned int k = 0; k < nr_reporters; k++) {
		if (reporters[k]->result)
			reporters[k]->result(r->info, item, result);
	}
}

void report_revised(struct runner *r, unsigned int slot)
{
	const struct plan_item *item = r->plan->order[slot];

	tell_reporters(r, item, &item->result);
}

/* Of several runs of a subtest the first failure stays, else a known one, else the latest counts. */
static void report_slot(struct runner *r, unsigned int i)
{
	struct plan_item *item = r->plan->order[i];
	struct result *latest = &r->slots[i].result;

	item->runs++;
	item->failed_runs += latest->verdict == VERDICT_FAIL;
	if (item->result.verdict != VERDICT_FAIL &&
	    verdict_weight(latest->verdict) >= verdict_weight(item->result.verdict)) {
		struct result older = item->result;

		item->result = *latest;
		*latest = older;
		latest = &item->result;
	}
	tell_reporters(r, item, latest);
	if (latest->verdict == VERDICT_FAIL && r->options->until_fail)
		r->stop = r->enough = true;
	result_free(&r->slots[i].result);
}

/* In the order of the plan, whatever finishes first. */
void report_done(struct runner *r)
{
	while (!r->enough && r->reported < r->nr_slots && r->slots[r->reported].state == DONE) {
		report_slot(r, r->reported);
		r->reported++;
	}
}

static void show_progress(struct runner *r)
{
	char name[256] = "";

	for (unsigned int i = 0; i < r->nr_workers; i++) {
		const struct slot *slot = r->workers[i].slot;

		if (slot)
			snprintf(name, sizeof(name), "%s/%s", slot->job.item->test->name,
				 slot->job.item->subtest.name);
	}
	for (unsigned int k = 0; k < nr_reporters; k++) {
		if (reporters[k]->progress)
			reporters[k]->progress(r->info, r->reported, name);
	}
}

/* Run what is WAITING until it is DONE or SUSPECT. */
static void run_waiting(struct runner *r)
{
	while (!r->stop) {
		start_jobs(r);
		report_done(r);
		if (r->stop || (!any_slot(r, slot_is_active) && !next_waiting(r)))
			break;
		show_progress(r);
		wait_for_event(r);
		handle_workers(r);
	}
	end_window(r);
	report_done(r);
}

void rerun_alone(struct runner *r, struct slot *slot)
{
	struct result first = slot->result;

	slot->result = (struct result){};
	slot->state = WAITING;
	r->alone = true;
	while (!r->stop && slot->state != DONE) {
		if (slot->state == WAITING) {
			start_job(r, &r->workers[0], slot);
			continue;
		}
		show_progress(r);
		wait_for_event(r);
		handle_workers(r);
	}
	r->alone = false;
	/* Also when this one was interrupted. */
	if (slot->state != DONE ||
	    verdict_weight(first.verdict) > verdict_weight(slot->result.verdict)) {
		result_free(&slot->result);
		slot->result = first;
	} else {
		result_free(&first);
	}
}

static void kill_running(struct runner *r)
{
	uint64_t deadline = now_ns() + KILL_TIMEOUT_NS;

	for (unsigned int i = 0; i < r->nr_workers; i++) {
		if (r->workers[i].slot)
			job_kill(&r->workers[i].slot->job);
	}
	for (unsigned int i = 0; i < r->nr_workers; i++) {
		struct slot *slot = r->workers[i].slot;

		while (slot && !slot->job.reaped && now_ns() < deadline) {
			struct pollfd pfd = { .fd = slot->job.pidfd, .events = POLLIN };

			poll(&pfd, 1, ms_until(deadline));
			reap(r);
		}
		/* Those that die leave orphans in their turn. */
		while (slot && kill_orphans(r, slot->job.netns_fd) && now_ns() < deadline) {
			usleep(SETTLE_LOOK_MS * 1000);
			reap(r);
		}
	}
	reap(r);
}

static void keep_splat(struct runner *r, const char *text)
{
	if (text && !(r->info->kernel_log && strstr(r->info->kernel_log, text)))
		fail_run(r, text);
}

/* Those of which it will not be known any more who has caused them. */
static void keep_splats(struct runner *r)
{
	for (unsigned int i = r->reported; i < r->nr_slots; i++) {
		const struct slot *slot = &r->slots[i];

		if (slot->state == DONE)
			continue;
		keep_splat(r, slot->splat);
		keep_splat(r, slot->job.kernel_log);
	}
}

/* Interrupted while a failure was being traced: it has failed without that. */
static void forgo_traces(struct runner *r)
{
	for (unsigned int i = 0; i < r->nr_slots; i++) {
		struct slot *slot = &r->slots[i];

		if (!has_run_untraced(slot))
			continue;
		if (slot_is_active(slot))
			job_free(&slot->job);
		slot->state = DONE;
		end_trace(r, slot);
	}
}

/* Interrupted: what has its result is told, though what comes before it in the plan has none. */
static void report_rest(struct runner *r)
{
	for (; !r->enough && r->reported < r->nr_slots; r->reported++) {
		if (r->slots[r->reported].result.verdict != VERDICT_NONE)
			report_slot(r, r->reported);
	}
}

static void free_slots(struct runner *r)
{
	for (unsigned int i = 0; i < r->nr_slots; i++) {
		if (slot_is_active(&r->slots[i]))
			job_free(&r->slots[i].job);
		result_free(&r->slots[i].result);
		result_free(&r->slots[i].untraced);
		trace_free(r->slots[i].trace);
		free(r->slots[i].splat);
	}
	free(r->slots);
	r->slots = NULL;
	r->nr_slots = 0;
}

static int run_round(struct runner *r)
{
	r->slots = calloc(r->plan->nr_selected + 1, sizeof(*r->slots));
	r->reported = 0;
	if (!r->slots)
		return -ENOMEM;
	r->nr_slots = r->plan->nr_selected;
	for (unsigned int k = 0; k < nr_reporters; k++) {
		if (reporters[k]->round)
			reporters[k]->round(r->info);
	}
	forget_lost_memory(r);
	run_waiting(r);
	rerun_suspects(r);
	blame_for_lost_memory(r);
	kill_running(r);
	keep_splats(r);
	forgo_traces(r);
	report_rest(r);
	for (unsigned int i = 0; i < r->nr_workers; i++)
		r->workers[i].slot = NULL;
	free_slots(r);
	return 0;
}

static bool is_ignored(int signal_number)
{
	struct sigaction action;

	return sigaction(signal_number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

/* Signals become events of the loop; SIGCHLD is not needed, since children have pidfds. */
static int open_signal_fd(void)
{
	sigset_t set;

	/* Who has it ignored gets no status of its children, and that is inherited. */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	/* nohup: one that is blocked would come all the same. */
	if (!is_ignored(SIGHUP))
		sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Jobs keep theirs until they are judged, and where nothing comes to rest those are many. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int open_runner(struct runner *r)
{
	unsigned int nr = r->plan->nr_selected;

	r->workers = calloc(nr + 1, sizeof(*r->workers));
	if (!r->workers)
		return -ENOMEM;
	r->nr_workers = r->options->workers < nr ? r->options->workers : nr;
	for (unsigned int i = 0; i < r->nr_workers; i++)
		r->workers[i].netns_fd = -1;
	raise_fd_limit();
	r->signal_fd = open_signal_fd();
	if (r->signal_fd < 0)
		return -errno;
	r->netns_watch_fd = netns_watch_open();
	if (r->netns_watch_fd < 0)
		return r->netns_watch_fd;
	r->kmsg_fd = splat_open();
	if (r->kmsg_fd < 0)
		fprintf(stderr, "cannot read /dev/kmsg (%s): kernel warnings will not be noticed\n",
			strerror(-r->kmsg_fd));
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	child_prepare();
	return 0;
}

static void close_runner(struct runner *r)
{
	for (unsigned int i = 0; i < r->nr_workers; i++)
		close_fd(&r->workers[i].netns_fd);
	free(r->workers);
	close_fd(&r->signal_fd);
	close_fd(&r->kmsg_fd);
	close_fd(&r->netns_watch_fd);
}

static int exit_code(const struct run_info *info)
{
	struct summary sum = summarize(info->plan);

	if (info->interrupted)
		return EXIT_INTERRUPTED;
	if (sum.failed || info->missing || info->kernel_log)
		return EXIT_FAILED;
	return sum.passed || sum.xfailed > sum.withheld ? EXIT_PASSED : EXIT_ALL_SKIPPED;
}

int run_plan(struct run_info *info, struct plan *plan)
{
	struct runner r = {
		.info = info,
		.plan = plan,
		.options = info->options,
		.signal_fd = -1,
		.kmsg_fd = -1,
		.netns_watch_fd = -1,
	};
	uint64_t start = now_ns();
	bool reported = true;
	int err = open_runner(&r), status;

	for (info->round = 1; !err && !r.stop; info->round++) {
		if (info->options->repeat && info->round > info->options->repeat)
			break;
		err = run_round(&r);
	}
	info->round--;
	look_at_kernel_log(&r);
	close_runner(&r);
	info->duration_ns = now_ns() - start;
	for (unsigned int k = 0; k < nr_reporters; k++)
		reported &= reporters[k]->end(info) == 0;
	if (err) {
		fprintf(stderr, "cannot set up the runner: %s\n", strerror(-err));
		return EXIT_SETUP;
	}
	status = exit_code(info);
	return reported || status ? status : EXIT_SETUP;
}
