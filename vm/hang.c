// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that is stuck is asked for its state before it is killed: a break on its console and a
 * key make a sysrq, the monitor tells the registers, and an NMI, last, gets a trace out of a kernel
 * that has its interrupts off.
 */
#include <ctype.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "vm/watch.h"

#define SETTLE_MS  300
#define PATIENCE_S 4
#define ASKING_S   10 /* in all, besides the NMI: a guest that talks on never settles */

/* ---- Asking ---------------------------------------------------------------------------------- */

static bool may_wait(const struct run *run, uint64_t begun)
{
	return run->outcome != OUTCOME_INTERRUPTED && now_ms() - begun < PATIENCE_S * 1000 &&
	       now_ms() - run->asked_ms < ASKING_S * 1000;
}

/* Until nothing has come for a moment. */
static void settle(struct run *run)
{
	uint64_t begun = now_ms();

	run->progress_ms = begun;
	while (now_ms() - run->progress_ms < SETTLE_MS && may_wait(run, begun))
		pump(run, 50);
}

/* The panic that the NMI causes ends with a restart, and that ends QEMU: then it has said all. */
static void await_end(struct run *run)
{
	uint64_t begun = now_ms();

	while (run->qemu && run->outcome != OUTCOME_INTERRUPTED &&
	       now_ms() - begun < 2 * PATIENCE_S * 1000)
		pump(run, 50);
}

static void sysrq(struct run *run, char key)
{
	monitor_command(run, "chardev-send-break console");
	settle(run);
	if (run->ports[CONSOLE].fd >= 0)
		send(run->ports[CONSOLE].fd, &key, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	settle(run);
}

/* ---- Reading the answer ---------------------------------------------------------------------- */

/* Frames that say how a task sleeps, or that it is idle, and not why. */
static const char generic[] =
	"^(__)?(schedule.*|switch_to.*|io_schedule.*|preempt_schedule.*|wait_woken|sched_clock.*|"
	"do_syscall_64|x64_sys_call|entry_SYSCALL.*|el0t?_.*|invoke_syscall.*|do_el0_svc|ret_from_fork.*|"
	"kthread|asm_.*|irqentry_.*|"
	"default_idle.*|do_idle|cpu_startup_entry|start_secondary|rest_init|start_kernel|x86_64_start.*|"
	"secondary_startup.*|common_startup.*|pv_native_safe_halt|native_safe_halt|schedule_hrtimeout.*|"
	/* The answer to the sysrq is on the stack of the processor that gives it. */
	"dump_stack.*|show_stack.*|(__)?show_regs.*|nmi_.*|(__)?handle_sysrq.*|sysrq_.*|"
	"showacpu|(serial8250|serial|uart|pl011)_.*|(__)?handle_(irq|edge|fasteoi|level).*|"
	"(__)?common_interrupt|generic_handle_.*)$";

#define MAX_TASKS  24
#define MAX_FRAMES 4

struct task {
	char name[64];
	char frames[MAX_FRAMES][64];
	int nr_frames;
};

struct summary {
	struct task tasks[MAX_TASKS];
	int nr;
	regex_t generic;
};

static void add_frame(struct summary *s, const char *frame)
{
	struct task *task = s->nr ? &s->tasks[s->nr - 1] : NULL;

	if (!task || task->nr_frames == MAX_FRAMES || !regexec(&s->generic, frame, 0, NULL, 0))
		return;
	snprintf(task->frames[task->nr_frames++], sizeof(task->frames[0]), "%s", frame);
}

/* False: it has been seen already (sysrq w and t show the same tasks), or there are too many. */
static bool add_task(struct summary *s, const char *name)
{
	for (int i = 0; i < s->nr; i++)
		if (!strcmp(s->tasks[i].name, name))
			return false;
	if (s->nr == MAX_TASKS)
		return false;
	s->tasks[s->nr++] = (struct task){};
	snprintf(s->tasks[s->nr - 1].name, sizeof(s->tasks[0].name), "%s", name);
	return true;
}

/*
 * "task:NAME state:D ... pid:12 ...": those that are blocked, and the tests, whatever their state.
 * "NMI backtrace for cpu 1" or the registers at "RIP: 0010:function+0x..": what runs.
 */
static bool begins_task(struct summary *s, const char *line)
{
	char name[32], state, label[64];
	const char *task = strstr(line, "task:"), *cpu = strstr(line, "NMI backtrace for cpu ");
	const char *pid = strstr(line, " pid:");

	if (task && sscanf(task, "task:%31s state:%c", name, &state) == 2) {
		if (state != 'D' && strcmp(name, "test_progs"))
			return false;
		snprintf(label, sizeof(label), "%s:%d (%c)", name, pid ? atoi(pid + 5) : 0, state);
		return add_task(s, label);
	}
	if (cpu && !strstr(line, "skipped")) {
		snprintf(label, sizeof(label), "cpu %d", atoi(cpu + 22));
		return add_task(s, label);
	}
	return false;
}

static bool frame_in(const char *line, char *frame, size_t size)
{
	const char *plus = strstr(line, "+0x"), *start = plus;

	/* "?" marks an address that was merely found on the stack. */
	if (!plus || strstr(line, " ? "))
		return false;
	while (start > line && (isalnum((unsigned char)start[-1]) || strchr("_.", start[-1])))
		start--;
	snprintf(frame, size, "%.*s", (int)(plus - start), start);
	return plus > start;
}

static void summarize(struct summary *s, char *text)
{
	bool in_task = false;
	char frame[64];
	char *save;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (strstr(line, "task:") || strstr(line, "NMI backtrace for cpu") ||
		    strstr(line, "sysrq:") || strstr(line, "Kernel panic"))
			in_task = begins_task(s, line);
		else if (in_task && frame_in(line, frame, sizeof(frame)))
			add_frame(s, frame);
	}
}

static void print_summary(FILE *to, const struct summary *s)
{
	fprintf(to, "==== what blocks, and what runs\n");
	for (int i = 0; i < s->nr; i++) {
		fprintf(to, "%-24s%s", s->tasks[i].name,
			s->tasks[i].nr_frames ? "" : "nothing but idling or waiting");
		for (int k = 0; k < s->tasks[i].nr_frames; k++)
			fprintf(to, "%s%s", k ? " < " : "", s->tasks[i].frames[k]);
		fprintf(to, "\n");
	}
	if (!s->nr)
		fprintf(to, "the guest did not answer\n");
}

static void write_dump(struct run *run, char *console)
{
	FILE *to = fopen(log_path(run, "hang.txt"), "w");
	struct summary *s = calloc(1, sizeof(*s));
	char *copy = strdup(console);

	if (to && s && copy && !regcomp(&s->generic, generic, REG_EXTENDED | REG_NOSUB)) {
		summarize(s, copy);
		print_summary(to, s);
		print_summary(stderr, s);
		fprintf(to,
			"==== console: blocked tasks (w), processors (l), all tasks (t), NMI\n%s\n",
			console);
		fprintf(to, "==== processor registers\n%s\n", run->monitor_text.data ?: "");
		regfree(&s->generic);
	}
	if (!to || fclose(to))
		say("cannot write %s", log_path(run, "hang.txt"));
	free(copy);
	free(s);
}

void dump_guest(struct run *run)
{
	struct stat before = {};
	struct buffer console;

	if (!run->qemu)
		return;
	if (!run->monitor_text.len) {
		say("QEMU is stuck: its monitor has not even said its name");
		return;
	}
	say("the guest is stuck; asking it for its state");
	run->asked_ms = now_ms();
	if (!stat(log_path(run, "console.log"), &before))
		run->asked_at = before.st_size;
	/* First: everything to the console. */
	for (const char *key = "8wlt"; *key; key++)
		sysrq(run, *key);
	buffer_free(&run->monitor_text);
	monitor_command(run, "info registers -a");
	settle(run);
	monitor_command(run, "nmi");
	await_end(run);
	console = read_whole(run, "console.log");
	if (console.data)
		write_dump(run, console.data + (run->asked_at <= console.len ? run->asked_at : 0));
	buffer_free(&console);
}
