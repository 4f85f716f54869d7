// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "harness/tracer.h"
#include "network_helpers.h"
#include "timeline.skel.h"

bool tracer_without_btf;

/*
 * Which program shows which point, by fentry or fexit; with _kprobe and, if it is about the end of a
 * function, _enter behind its name, by kprobes. The programs rely on the number of parameters, if they
 * look at those that come late, or at the return value; 0: any.
 */
static const struct probe {
	const char *program;
	const char *function;
	unsigned int nr_params;
	bool at_least;
	enum timeline_point point;
} probes[] = {
	{ "verdict_data_ready", "sk_psock_verdict_data_ready", 1, false, TL_ARRIVED },
	{ "strp_data_ready", "sk_psock_strp_data_ready", 1, false, TL_ARRIVED },
	{ "verdict_apply", "sk_psock_verdict_apply", 3, false, TL_VERDICT },
	{ "msg_verdict", "sk_psock_msg_verdict", 3, false, TL_MSG_VERDICT },
	{ "skb_redirect", "sk_psock_skb_redirect", 2, false, TL_WORK_QUEUED },
	{ "skb_redirect1", "sk_psock_skb_redirect", 1, false, TL_WORK_QUEUED },
	{ "skb_redirect_end", "sk_psock_skb_redirect", 2, false, TL_REFUSED },
	{ "backlog_begin", "sk_psock_backlog", 1, false, TL_WORK_RUNS },
	{ "backlog_end", "sk_psock_backlog", 1, false, TL_WORK_ENDS },
	{ "ingress_enqueue", "sk_psock_skb_ingress_enqueue", 6, true, TL_QUEUED },
	{ "ingress_enqueue4", "sk_psock_skb_ingress_enqueue", 4, false, TL_QUEUED },
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
	/* Where there is the inner one, TCP calls only that, and the outer one does as well. */
	{ "taken_from_queue", "__sk_msg_recvmsg", 6, false, TL_TAKEN },
	{ "taken", "sk_msg_recvmsg", 5, false, TL_TAKEN },
	{ "taken_by_tcp", "__tcp_bpf_recvmsg", 5, false, TL_TAKEN },
};

/* Without BTF they come first: they learn which address is which socket, and where a psock has its work. */
static const struct probe teachers[] = {
	{ .program = "learn_cookie", .function = "__sock_gen_cookie" },
	{ .program = "learn_work", .function = "sk_psock_init" },
	{ .program = "forget_cookie", .function = "inet_sock_destruct" },
	{ .program = "forget_cookie", .function = "unix_sock_destructor" },
	{ .program = "forget_cookie", .function = "vsock_sk_destruct" },
};

#define WORKER_POINTS (1ULL << TL_WORK_RUNS | 1ULL << TL_WORK_ENDS)

/* A copy of the programs, of which each loads some. */
struct programs {
	struct timeline_bpf *skel;
	struct bpf_link *links[2 * (ARRAY_SIZE(probes) + ARRAY_SIZE(teachers))];
	unsigned int nr_links;
};

static struct {
	struct programs fentry, kprobe;
	struct ring_buffer *ring;
	void (*on_event)(const struct timeline_event *e);
	bool has_btf;
	bool attached[ARRAY_SIZE(probes)];
	uint64_t unseen;
	char gaps[512];
} tracer;

/* ---- What the kernel has ----------------------------------------------------------------------- */

enum fit {
	FITS,
	DIFFERS, /* it has other parameters */
	UNKNOWN, /* not to be found in the BTF of the kernel: there is none, or it is a module's */
};

static enum fit fit_of(const struct btf *btf, const struct probe *p)
{
	int id = btf ? btf__find_by_name_kind(btf, p->function, BTF_KIND_FUNC) : -ENOENT;
	const struct btf_type *type = id > 0 ? btf__type_by_id(btf, id) : NULL;
	const struct btf_type *proto = type ? btf__type_by_id(btf, type->type) : NULL;
	unsigned int n = proto ? btf_vlen(proto) : 0;

	if (!proto)
		return UNKNOWN;
	return n == p->nr_params || (p->at_least && n > p->nr_params) ? FITS : DIFFERS;
}

struct symbol {
	const char *name;
	bool found;
	uint64_t address; /* 0: not told */
};

static void note_symbol(struct symbol *symbols, size_t n, const char *name, uint64_t address)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(symbols[i].name, name) == 0) {
			symbols[i].found = true;
			symbols[i].address = address;
		}
	}
}

static void read_symbols(struct symbol *symbols, size_t n)
{
	FILE *file = fopen("/proc/kallsyms", "re");
	unsigned long long address;
	char name[128], *line = NULL;
	size_t size = 0;

	while (file && getline(&line, &size, file) > 0) {
		if (sscanf(line, "%llx %*c %127s", &address, name) == 2)
			note_symbol(symbols, n, name, address);
	}
	free(line);
	if (file)
		fclose(file);
}

/* A symbol of the kernel or of a module that is loaded, of those that are in the tables; or NULL. */
static const struct symbol *find_symbol(const char *name)
{
	static struct symbol symbols[ARRAY_SIZE(probes) + ARRAY_SIZE(teachers)];
	static bool read;

	if (!read) {
		for (size_t i = 0; i < ARRAY_SIZE(symbols); i++)
			symbols[i].name = i < ARRAY_SIZE(probes)
						  ? probes[i].function
						  : teachers[i - ARRAY_SIZE(probes)].function;
		read_symbols(symbols, ARRAY_SIZE(symbols));
		read = true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		if (symbols[i].found && strcmp(symbols[i].name, name) == 0)
			return &symbols[i];
	}
	return NULL;
}

/* ---- Loading ----------------------------------------------------------------------------------- */

static struct bpf_program *find_program(const struct programs *p, const struct probe *probe,
					const char *suffix)
{
	char name[64];

	snprintf(name, sizeof(name), "%s%s", probe->program, suffix);
	return bpf_object__find_program_by_name(p->skel->obj, name);
}

static int open_programs(struct programs *p, const char *btf_path)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .btf_custom_path = btf_path);
	struct bpf_program *prog;

	p->skel = timeline_bpf__open_opts(&opts);
	if (!p->skel)
		return -errno;
	bpf_object__for_each_program (prog, p->skel->obj)
		bpf_program__set_autoload(prog, false);
	return 0;
}

static void close_programs(struct programs *p)
{
	for (unsigned int i = 0; i < p->nr_links; i++)
		bpf_link__destroy(p->links[i]);
	timeline_bpf__destroy(p->skel);
	*p = (struct programs){};
}

static bool keep(struct programs *p, struct bpf_link *link)
{
	if (link)
		p->links[p->nr_links++] = link;
	return link;
}

/* ---- By fentry and fexit ----------------------------------------------------------------------- */

/* A compiler may have left nothing of a function to attach to. */
static void attach_fentry(struct programs *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		struct bpf_program *prog = find_program(p, &probes[i], "");

		if (bpf_program__autoload(prog))
			tracer.attached[i] = keep(p, bpf_program__attach(prog));
	}
}

static int load_fentry(struct programs *p, const struct btf *btf)
{
	int err = open_programs(p, NULL);

	if (err)
		return err;
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++)
		bpf_program__set_autoload(find_program(p, &probes[i], ""),
					  fit_of(btf, &probes[i]) == FITS);
	if (bpf_program__autoload(p->skel->progs.taken_from_queue))
		bpf_program__set_autoload(p->skel->progs.taken, false);
	bpf_program__set_autoload(p->skel->progs.waking, true);
	/* Only kprobes have a use for them. */
	bpf_map__set_max_entries(p->skel->maps.calls, 1);
	bpf_map__set_max_entries(p->skel->maps.cookies, 1);
	return timeline_bpf__load(p->skel);
}

/* ---- By kprobes -------------------------------------------------------------------------------- */

/* A kernel without it has no kprobes for us, whatever its symbols. */
static bool has_kprobes(void)
{
	return access("/sys/bus/event_source/devices/kprobe/type", R_OK) == 0;
}

static bool is_for_kprobe(const struct programs *p, const struct btf *btf, size_t i)
{
	if (tracer.attached[i] || !find_program(p, &probes[i], "_kprobe") ||
	    fit_of(btf, &probes[i]) == DIFFERS)
		return false;
	if (strcmp(probes[i].program, "taken") == 0 && find_symbol("__sk_msg_recvmsg"))
		return false;
	return find_symbol(probes[i].function);
}

/* Those that fentry leaves to do. */
static bool is_any_for_kprobe(const struct programs *p, const struct btf *btf)
{
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		if (is_for_kprobe(p, btf, i))
			return true;
	}
	return false;
}

static void choose_kprobe(const struct programs *p, const struct probe *probe)
{
	struct bpf_program *enter = find_program(p, probe, "_enter");

	bpf_program__set_autoload(find_program(p, probe, "_kprobe"), true);
	if (enter)
		bpf_program__set_autoload(enter, true);
}

static bool attach_program_by_kprobe(struct programs *p, struct bpf_program *prog,
				     const char *function)
{
	bool at_exit = strcmp(bpf_program__section_name(prog), "kretprobe") == 0;

	return keep(p, bpf_program__attach_kprobe(prog, at_exit, function));
}

static bool attach_by_kprobe(struct programs *p, const struct probe *probe)
{
	struct bpf_program *enter = find_program(p, probe, "_enter");
	struct bpf_program *prog = find_program(p, probe, "_kprobe");

	return bpf_program__autoload(prog) &&
	       (!enter || attach_program_by_kprobe(p, enter, probe->function)) &&
	       attach_program_by_kprobe(p, prog, probe->function);
}

/* Without the first one, nothing is known; one of a module that is not there is not missed. */
static int attach_teachers(struct programs *p)
{
	const struct symbol *backlog = find_symbol("sk_psock_backlog");

	p->skel->bss->backlog_function = backlog ? backlog->address : 0;
	for (size_t i = 0; i < ARRAY_SIZE(teachers); i++) {
		if (!attach_by_kprobe(p, &teachers[i]) && i == 0)
			return -errno;
	}
	return 0;
}

/*
 * Where the fields are that all kernels so far have at the same place. It stands in for the kernel's
 * BTF; whatever is not in it the programs find to be missing.
 */
static struct btf *make_btf(void)
{
	struct btf *btf = btf__new_empty();
	int sock, pointer;

	if (!btf)
		return NULL;
	sock = btf__add_fwd(btf, "sock", BTF_FWD_STRUCT);
	pointer = btf__add_ptr(btf, sock);
	btf__add_struct(btf, "sk_psock", 16);
	btf__add_field(btf, "sk", pointer, 0, 0);
	btf__add_field(btf, "sk_redir", pointer, 64, 0);
	btf__add_struct(btf, "socket", 32);
	btf__add_field(btf, "sk", pointer, 192, 0);
	return btf;
}

/* A file with it: the descriptor, or -errno. */
static int write_btf(void)
{
	struct btf *btf = make_btf();
	uint32_t size = 0;
	const void *data = btf ? btf__raw_data(btf, &size) : NULL;
	int fd = data ? memfd_create("btf", MFD_CLOEXEC) : -ENOMEM;

	if (fd >= 0 && write(fd, data, size) != (ssize_t)size)
		close_fd(&fd);
	btf__free(btf);
	return fd < 0 ? -EIO : fd;
}

/* The two copies of the programs are one tracer. */
static void share_maps(struct programs *p, const struct programs *with)
{
	if (!with->skel)
		return;
	bpf_map__reuse_fd(p->skel->maps.events, bpf_map__fd(with->skel->maps.events));
	bpf_map__reuse_fd(p->skel->maps.traced, bpf_map__fd(with->skel->maps.traced));
}

static int load_kprobes(struct programs *p, const struct btf *btf)
{
	share_maps(p, &tracer.fentry);
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		if (is_for_kprobe(p, btf, i))
			choose_kprobe(p, &probes[i]);
	}
	for (size_t i = 0; !btf && i < ARRAY_SIZE(teachers); i++)
		choose_kprobe(p, &teachers[i]);
	return timeline_bpf__load(p->skel);
}

static int attach_kprobes(struct programs *p, const struct btf *btf)
{
	int err = btf ? 0 : attach_teachers(p);

	for (size_t i = 0; !err && i < ARRAY_SIZE(probes); i++) {
		if (is_for_kprobe(p, btf, i))
			tracer.attached[i] = attach_by_kprobe(p, &probes[i]);
	}
	return err;
}

static int start_kprobes(struct programs *p, const struct btf *btf)
{
	int btf_fd __auto_close = btf ? -1 : write_btf();
	char path[64];
	int err;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", btf_fd);
	err = open_programs(p, btf ? NULL : path);
	if (err)
		return err;
	if (!is_any_for_kprobe(p, btf)) {
		close_programs(p);
		return btf ? 0 : -ENOENT;
	}
	return load_kprobes(p, btf) ?: attach_kprobes(p, btf);
}

/* ---- Both -------------------------------------------------------------------------------------- */

static void add_gap(const char *text)
{
	static const char begin[] = "not shown by this kernel: ";
	bool first = !strstr(tracer.gaps, begin);
	size_t used = strlen(tracer.gaps);

	snprintf(tracer.gaps + used, sizeof(tracer.gaps) - used, "%s%s%s",
		 !first ? ", "
		 : used ? "; "
			: "",
		 first ? begin : "", text);
}

static bool is_shown(const char *function)
{
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		if (tracer.attached[i] && strcmp(probes[i].function, function) == 0)
			return true;
	}
	return false;
}

/*
 * A point that several programs show is missing when all of them are. That a function does not return
 * anything, so that it cannot refuse, is no gap.
 */
static void find_gaps(void)
{
	uint64_t seen = 0, wanted = 0;

	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		wanted |= 1ULL << probes[i].point;
		seen |= tracer.attached[i] ? 1ULL << probes[i].point : 0;
	}
	tracer.unseen = wanted & ~seen;
	if (!tracer.has_btf)
		snprintf(tracer.gaps, sizeof(tracer.gaps),
			 "not shown without BTF: wakings, lengths of queues, most directions");
	else if (!tracer.fentry.skel || !tracer.fentry.skel->links.waking)
		add_gap("sched_waking");
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		if (!(seen & 1ULL << probes[i].point) && !is_shown(probes[i].function) &&
		    !strstr(tracer.gaps, probes[i].function))
			add_gap(probes[i].function);
	}
}

static int on_record(void *ctx, void *data, size_t size)
{
	(void)ctx;
	(void)size;
	tracer.on_event(data);
	return 0;
}

static int start_fentry(struct programs *p, const struct btf *btf)
{
	int err = load_fentry(p, btf);

	if (err) {
		close_programs(p);
		return err;
	}
	attach_fentry(p);
	p->skel->links.waking = bpf_program__attach(p->skel->progs.waking);
	return 0;
}

/* Kprobes are for what is left: all of it, if fentry does not work at all. */
static int start(void)
{
	struct btf *btf = tracer_without_btf ? NULL : btf__load_vmlinux_btf();
	int err = btf ? start_fentry(&tracer.fentry, btf) : -ENOENT;

	tracer.has_btf = btf;
	if (has_kprobes()) {
		int kprobe_err = start_kprobes(&tracer.kprobe, btf);

		if (kprobe_err)
			close_programs(&tracer.kprobe);
		err = err && !kprobe_err ? 0 : err;
	}
	btf__free(btf);
	return err;
}

static struct timeline_bpf *first_skel(void)
{
	return tracer.fentry.skel ?: tracer.kprobe.skel;
}

void tracer_attach(void (*on_event)(const struct timeline_event *e))
{
	/* It is no failure when a kernel does not let itself be traced: the report says so. */
	libbpf_print_fn_t print = libbpf_set_print(NULL);
	int err;

	memset(&tracer, 0, sizeof(tracer));
	tracer.on_event = on_event;
	err = start();
	if (!err) {
		tracer.ring = ring_buffer__new(bpf_map__fd(first_skel()->maps.events), on_record,
					       NULL, NULL);
		err = tracer.ring ? 0 : -errno;
	}
	libbpf_set_print(print);
	if (!err) {
		find_gaps();
		return;
	}
	tracer_detach();
	tracer.unseen = UINT64_MAX;
	snprintf(tracer.gaps, sizeof(tracer.gaps), "the kernel cannot be traced: %s",
		 tracer.has_btf || has_kprobes() ? strerror(-err)
						 : "no BTF, and no CONFIG_KPROBE_EVENTS");
}

void tracer_detach(void)
{
	ring_buffer__free(tracer.ring);
	tracer.ring = NULL;
	close_programs(&tracer.fentry);
	close_programs(&tracer.kprobe);
}

void tracer_watch(uint32_t netns, bool on)
{
	int fd = first_skel() ? bpf_map__fd(first_skel()->maps.traced) : -1;
	uint32_t one = 1;

	if (fd >= 0 && on)
		bpf_map_update_elem(fd, &netns, &one, BPF_ANY);
	else if (fd >= 0)
		bpf_map_delete_elem(fd, &netns);
}

int tracer_fd(void)
{
	return tracer.ring ? ring_buffer__epoll_fd(tracer.ring) : -1;
}

void tracer_collect(void)
{
	if (tracer.ring)
		ring_buffer__consume(tracer.ring);
}

uint64_t tracer_lost(void)
{
	return (tracer.fentry.skel ? tracer.fentry.skel->bss->lost : 0) +
	       (tracer.kprobe.skel ? tracer.kprobe.skel->bss->lost : 0);
}

uint64_t tracer_unseen(void)
{
	const struct timeline_bpf *skel = tracer.kprobe.skel;

	/* No psock has shown where its work is, so none can be told by its work. */
	if (!tracer.has_btf && skel && !skel->bss->psock_work)
		return tracer.unseen | WORKER_POINTS;
	return tracer.unseen;
}

const char *tracer_gaps(void)
{
	return tracer.gaps;
}
