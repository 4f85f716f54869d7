// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "harness/trace.h"
#include "network_helpers.h"
#include "timeline.skel.h"

/* A test that moves megabytes: of its kernel events, the latest this many are kept. */
#define EVENTS_MAX (1U << 16)

struct trace {
	struct trace *next;
	uint32_t netns;
	struct timeline_page *page;
	struct timeline_event *events; /* a ring, made when the first one comes */
	unsigned int nr_events;	       /* may count beyond it */
	struct timeline timeline;
	bool ended;
};

static struct trace *traces; /* those that are watched, the latest first */

static struct {
	struct timeline_bpf *skel;
	struct ring_buffer *ring;
	uint64_t unseen;
	char gaps[512];
} kernel;

/* ---- What the kernel has ----------------------------------------------------------------------- */

/*
 * Which program shows which point. The programs rely on the number of parameters, if they look at
 * those that come late, or at the return value; 0: any.
 */
static const struct probe_point {
	const char *program;
	const char *function;
	unsigned int nr_params;
	bool at_least;
	enum timeline_point point;
} probe_points[] = {
	{ "verdict_data_ready", "sk_psock_verdict_data_ready", 1, false, TL_ARRIVED },
	{ "strp_data_ready", "sk_psock_strp_data_ready", 1, false, TL_ARRIVED },
	{ "verdict_apply", "sk_psock_verdict_apply", 3, false, TL_VERDICT },
	{ "msg_verdict", "sk_psock_msg_verdict", 3, false, TL_MSG_VERDICT },
	{ "skb_redirect", "sk_psock_skb_redirect", 2, false, TL_WORK_QUEUED },
	{ "skb_redirect_end", "sk_psock_skb_redirect", 2, false, TL_REFUSED },
	{ "backlog_begin", "sk_psock_backlog", 1, false, TL_WORK_RUNS },
	{ "backlog_end", "sk_psock_backlog", 1, false, TL_WORK_ENDS },
	{ "ingress_enqueue", "sk_psock_skb_ingress_enqueue", 6, true, TL_QUEUED },
	{ "send_sock", "skb_send_sock", 4, false, TL_SKB_SENT },
	{ "send_sock_locked", "skb_send_sock_locked", 4, false, TL_SKB_SENT },
	{ "msg_redirect", "tcp_bpf_sendmsg_redir", 4, true, TL_MSG_REDIRECT },
	{ "msg_redirect_end4", "tcp_bpf_sendmsg_redir", 4, false, TL_MSG_REFUSED },
	{ "msg_redirect_end5", "tcp_bpf_sendmsg_redir", 5, false, TL_MSG_REFUSED },
	{ "msg_push", "tcp_bpf_push", 5, false, TL_MSG_PUSHED },
	{ "data_ready", "sock_def_readable", 1, false, TL_DATA_READY },
	{ "write_space", "sk_psock_write_space", 1, false, TL_WRITE_SPACE },
	{ "tcp_poll", "tcp_poll", 3, false, TL_POLLED },
	{ "udp_poll", "udp_poll", 3, false, TL_POLLED },
	{ "unix_poll", "unix_poll", 3, false, TL_POLLED },
	{ "unix_dgram_poll", "unix_dgram_poll", 3, false, TL_POLLED },
	{ "vsock_poll", "vsock_poll", 3, false, TL_POLLED },
	{ "taken", "sk_msg_recvmsg", 5, false, TL_TAKEN },
	{ "taken_from_queue", "__sk_msg_recvmsg", 6, false, TL_TAKEN },
	{ "taken_by_tcp", "__tcp_bpf_recvmsg", 5, false, TL_TAKEN },
};

static struct bpf_link *links[ARRAY_SIZE(probe_points)];

static bool is_in_kernel(const struct btf *btf, const struct probe_point *p)
{
	int id = btf__find_by_name_kind(btf, p->function, BTF_KIND_FUNC);
	const struct btf_type *type = id > 0 ? btf__type_by_id(btf, id) : NULL;
	const struct btf_type *proto = type ? btf__type_by_id(btf, type->type) : NULL;
	unsigned int n = proto ? btf_vlen(proto) : 0;

	return proto && (n == p->nr_params || (p->at_least && n > p->nr_params));
}

static void add_gap(const char *text)
{
	size_t used = strlen(kernel.gaps);

	snprintf(kernel.gaps + used, sizeof(kernel.gaps) - used, "%s%s",
		 used ? ", " : "not shown by this kernel: ", text);
}

static struct bpf_program *find_program(const struct probe_point *p)
{
	return bpf_object__find_program_by_name(kernel.skel->obj, p->program);
}

static void choose_programs(const struct btf *btf)
{
	for (size_t i = 0; i < ARRAY_SIZE(probe_points); i++)
		bpf_program__set_autoload(find_program(&probe_points[i]),
					  is_in_kernel(btf, &probe_points[i]));
	/* Where there is the inner one, TCP calls only that, and the outer one does as well. */
	if (bpf_program__autoload(kernel.skel->progs.taken_from_queue))
		bpf_program__set_autoload(kernel.skel->progs.taken, false);
}

/* A compiler may have left nothing of a function to attach to. */
static bool attach_to(const struct probe_point *p, struct bpf_link **link)
{
	struct bpf_program *prog = find_program(p);

	*link = bpf_program__autoload(prog) ? bpf_program__attach(prog) : NULL;
	return *link;
}

/* A point that several programs show is missing when all of them are. */
static void attach_programs(void)
{
	uint64_t seen = 0, wanted = 0;

	for (size_t i = 0; i < ARRAY_SIZE(probe_points); i++) {
		uint64_t bit = 1ULL << probe_points[i].point;

		wanted |= bit;
		seen |= attach_to(&probe_points[i], &links[i]) ? bit : 0;
	}
	kernel.skel->links.waking = bpf_program__attach(kernel.skel->progs.waking);
	if (!kernel.skel->links.waking)
		add_gap("sched_waking");
	kernel.unseen = wanted & ~seen;
	for (size_t i = 0; i < ARRAY_SIZE(probe_points); i++) {
		const struct probe_point *p = &probe_points[i];

		if (!(seen & 1ULL << p->point) && !strstr(kernel.gaps, p->function))
			add_gap(p->function);
	}
}

/* ---- Collecting -------------------------------------------------------------------------------- */

/*
 * The latest one: while the objects of a subtest are being freed, the next one may run in the same
 * namespace.
 */
static struct trace *find_trace(uint32_t netns)
{
	struct trace *t = traces;

	while (t && t->netns != netns)
		t = t->next;
	return t;
}

static int on_event(void *ctx, void *data, size_t size)
{
	const struct timeline_event *e = data;
	struct trace *t = find_trace(e->netns);

	(void)ctx;
	(void)size;
	if (!t)
		return 0;
	t->events = t->events ?: calloc(EVENTS_MAX, sizeof(*t->events));
	if (t->events)
		t->events[t->nr_events++ % EVENTS_MAX] = *e;
	return 0;
}

int trace_fd(void)
{
	return kernel.ring ? ring_buffer__epoll_fd(kernel.ring) : -1;
}

void trace_collect(void)
{
	if (kernel.ring)
		ring_buffer__consume(kernel.ring);
}

/* ---- Attaching --------------------------------------------------------------------------------- */

static void detach(void)
{
	ring_buffer__free(kernel.ring);
	for (size_t i = 0; i < ARRAY_SIZE(probe_points); i++) {
		bpf_link__destroy(links[i]);
		links[i] = NULL;
	}
	timeline_bpf__destroy(kernel.skel);
	kernel.ring = NULL;
	kernel.skel = NULL;
}

static int load(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int err;

	if (!btf)
		return -errno;
	choose_programs(btf);
	btf__free(btf);
	err = timeline_bpf__load(kernel.skel);
	if (err)
		return err;
	attach_programs();
	kernel.ring = ring_buffer__new(bpf_map__fd(kernel.skel->maps.events), on_event, NULL, NULL);
	return kernel.ring ? 0 : -errno;
}

static void attach(void)
{
	/* It is no failure when a kernel does not let itself be traced: the report says so. */
	libbpf_print_fn_t print = libbpf_set_print(NULL);
	int err;

	kernel.gaps[0] = '\0';
	kernel.unseen = 0;
	kernel.skel = timeline_bpf__open();
	err = kernel.skel ? load() : -errno;
	libbpf_set_print(print);
	if (!err)
		return;
	detach();
	kernel.unseen = UINT64_MAX;
	snprintf(kernel.gaps, sizeof(kernel.gaps), "the kernel cannot be traced: %s",
		 strerror(-err));
}

const char *trace_gaps(void)
{
	return kernel.gaps;
}

/* ---- Traces ------------------------------------------------------------------------------------ */

static void watch(const struct trace *trace, bool on)
{
	int fd = kernel.skel ? bpf_map__fd(kernel.skel->maps.traced) : -1;
	uint32_t one = 1;

	if (fd >= 0 && on)
		bpf_map_update_elem(fd, &trace->netns, &one, BPF_ANY);
	else if (fd >= 0)
		bpf_map_delete_elem(fd, &trace->netns);
}

struct trace *trace_begin(int netns_fd)
{
	struct trace *trace = calloc(1, sizeof(*trace));
	struct stat st;

	if (!trace)
		return NULL;
	trace->page = mmap(NULL, sizeof(*trace->page), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (trace->page == MAP_FAILED || fstat(netns_fd, &st)) {
		trace->page = trace->page == MAP_FAILED ? NULL : trace->page;
		trace->ended = true;
		trace_free(trace);
		return NULL;
	}
	trace->netns = (uint32_t)st.st_ino;
	if (!traces)
		attach();
	trace->next = traces;
	traces = trace;
	watch(trace, true);
	return trace;
}

struct timeline_page *trace_page(const struct trace *trace)
{
	return trace->page;
}

void trace_end(struct trace *trace)
{
	struct trace **link = &traces;

	if (trace->ended)
		return;
	trace_collect();
	if (kernel.skel)
		trace->timeline.lost = kernel.skel->bss->lost;
	trace->timeline.unseen = kernel.unseen;
	while (*link != trace)
		link = &(*link)->next;
	*link = trace->next;
	if (!find_trace(trace->netns))
		watch(trace, false);
	trace->ended = true;
	if (!traces)
		detach();
}

static int compare_times(const void *a, const void *b)
{
	const struct timeline_event *x = a, *y = b;

	return x->ns < y->ns ? -1 : x->ns > y->ns;
}

static unsigned int at_most(unsigned int n, unsigned int max)
{
	return n < max ? n : max;
}

const struct timeline *trace_timeline(struct trace *trace)
{
	struct timeline *t = &trace->timeline;
	unsigned int own = at_most(atomic_load(&trace->page->nr_events), TIMELINE_PAGE_MAX);
	unsigned int theirs = at_most(trace->nr_events, EVENTS_MAX);

	free(t->events);
	t->nr_events = 0;
	t->events = calloc(own + theirs + 1, sizeof(*t->events));
	if (!t->events)
		return t;
	/* One that was being written when its writer was killed has no time. */
	for (unsigned int i = 0; i < own; i++) {
		if (trace->page->events[i].ns)
			t->events[t->nr_events++] = trace->page->events[i];
	}
	if (theirs)
		memcpy(t->events + t->nr_events, trace->events, theirs * sizeof(*t->events));
	t->nr_events += theirs;
	qsort(t->events, t->nr_events, sizeof(*t->events), compare_times);
	t->names = trace->page->names;
	t->nr_names = at_most(atomic_load(&trace->page->nr_names), TIMELINE_NAMES_MAX);
	return t;
}

void trace_free(struct trace *trace)
{
	if (!trace)
		return;
	trace_end(trace);
	if (trace->page)
		munmap(trace->page, sizeof(*trace->page));
	free(trace->timeline.events);
	free(trace->events);
	free(trace);
}
