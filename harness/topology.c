// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "harness/child.h"
#include "harness/harness.h"
#include "harness/timeline.h"
#include "harness/topology.h"
#include "harness/traffic.h"
#include "network_helpers.h"
#include "progs/redirect.h"
#include "progs/verdicts.h"
#include "redirect.skel.h"

void topology_close(struct topology *t)
{
	close_pair(&t->in);
	close_pair(&t->out);
	close_fd(&t->links[0]);
	close_fd(&t->links[1]);
	redirect_bpf__destroy(t->skel);
}

/* ---- Features -------------------------------------------------------------------------------- */

static const enum feature hook_features[] = {
	[HOOK_MSG_VERDICT] = FEAT_MSG_VERDICT,
	[HOOK_STREAM_VERDICT] = FEAT_STREAM_VERDICT,
	[HOOK_SKB_VERDICT] = FEAT_SKB_VERDICT,
};

static feature_set kind_bit(enum feature feature, const struct sock_kind *kind)
{
	return feature_bit(feature_of_kind(feature, kind));
}

const char *redirect_hook_name(const struct redirect *redirect)
{
	static const char *const names[] = {
		[HOOK_MSG_VERDICT] = "sk_msg",
		[HOOK_STREAM_VERDICT] = "parser+verdict",
		[HOOK_SKB_VERDICT] = "sk_skb",
	};

	return names[redirect->hook];
}

static bool is_inet(const struct sock_kind *kind)
{
	return kind->family == AF_INET || kind->family == AF_INET6;
}

feature_set redirect_needs(const struct redirect *r)
{
	feature_set set = feature_bit(hook_features[r->hook]);

	set |= feature_bit(r->map == BPF_MAP_TYPE_SOCKHASH ? FEAT_SOCKHASH : FEAT_SOCKMAP);
	if (r->out_map)
		set |= feature_bit(FEAT_SOCKHASH) | feature_bit(FEAT_SOCKMAP);
	set |= kind_bit(FEAT_SOCKET, r->in) | kind_bit(FEAT_SOCKET, r->out);
	set |= kind_bit(FEAT_INSERT, r->in) | kind_bit(FEAT_INSERT, r->out);
	/* UDP sockets went into maps in 5.7, but became targets together with this type of program. */
	if (r->outcome == DELIVERED && is_inet(r->out) && r->out->type == SOCK_DGRAM)
		set |= feature_bit(FEAT_SKB_VERDICT);
	if (r->by_link)
		set |= feature_bit(FEAT_LINK);
	if (r->oob)
		set |= feature_bit(FEAT_UNIX_OOB);
	if (r->by_iterator)
		set |= feature_bit(FEAT_ITERATOR);
	if (r->by_sockops)
		set |= feature_bit(FEAT_CGROUP);
	/* A kernel that counts such data twice loses its place in the stream, and may warn about it. */
	if (r->to_itself && r->ingress && r->hook != HOOK_MSG_VERDICT && is_tcp(r->in))
		set |= feature_bit(FEAT_MAY_CRASH);
	return set;
}

/* The kind of the socket in a map that gets data from a program; NULL: it is read elsewhere. */
static const struct sock_kind *mapped_reader(const struct redirect *r)
{
	if (r->outcome == LOCAL || r->outcome == KEPT_OUT)
		return NULL;
	/* What is not dropped any longer, in the end, passes. */
	if (r->pass || r->outcome != DELIVERED)
		return r->hook == HOOK_MSG_VERDICT ? NULL : r->in;
	return r->ingress ? r->out : NULL;
}

feature_set redirect_wants(const struct redirect *r)
{
	const struct sock_kind *kind = mapped_reader(r);

	/* That of redirected data was repaired for TCP and UDP only. */
	return kind && is_inet(kind) ? kind_bit(FEAT_FIONREAD, kind) : 0;
}

feature_set redirect_uses(const struct redirect *r)
{
	const struct sock_kind *kind = mapped_reader(r);

	if (r->outcome == REFUSED)
		return feature_bit(FEAT_MSG_AFTER_DROP);
	if (!kind)
		return r->mapped_peers ? kind_bit(FEAT_FIONREAD_NATIVE, r->in) |
						 kind_bit(FEAT_FIONREAD_NATIVE, r->out)
				       : 0;
	return kind_bit(FEAT_FIONREAD, kind) | kind_bit(FEAT_RECV_WAKEUP, kind) |
	       kind_bit(FEAT_BOUNDARIES, kind);
}

bool topology_target_can(const struct topology *t, enum feature feature)
{
	return !t->target_mapped || have_feature(feature_of_kind(feature, t->target_kind));
}

bool topology_merges(const struct topology *t)
{
	return !keeps_boundaries(t->target_kind) || !topology_target_can(t, FEAT_BOUNDARIES);
}

/* ---- Setting up ------------------------------------------------------------------------------ */

static void set_up_map(const struct redirect *r, struct bpf_map *map, enum bpf_map_type type)
{
	bpf_map__set_type(map, type);
	if (r->long_keys)
		bpf_map__set_key_size(map, LONG_KEY_SIZE);
}

/* Only what the case needs: loading is most of what a subtest costs. */
static void choose_programs(struct topology *t)
{
	enum redirect_hook hook = t->redirect->hook;

	bpf_program__set_autoload(t->skel->progs.msg_verdict, hook == HOOK_MSG_VERDICT);
	bpf_program__set_autoload(t->skel->progs.skb_verdict, hook != HOOK_MSG_VERDICT);
	bpf_program__set_autoload(t->skel->progs.stream_parser, hook == HOOK_STREAM_VERDICT);
	bpf_program__set_autoload(t->skel->progs.copy_sockets, t->redirect->by_iterator);
	bpf_program__set_autoload(t->skel->progs.insert_established, t->redirect->by_sockops);
}

static int first_verdict(const struct redirect *r)
{
	if (r->pass)
		return SK_PASS;
	if (r->drop)
		return r->undefined ?: SK_DROP;
	return REDIRECT;
}

static bool load_programs(struct topology *t)
{
	const struct redirect *r = t->redirect;
	enum bpf_map_type out_map = r->out_map ?: r->map;

	t->skel = redirect_bpf__open();
	if (!CHECK(t->skel, "open the BPF object: %s", strerror(errno)))
		return false;
	choose_programs(t);
	set_up_map(r, t->skel->maps.in_map, r->map);
	set_up_map(r, t->skel->maps.out_map, out_map);
	set_up_map(r, t->skel->maps.nop_map, r->by_iterator ? BPF_MAP_TYPE_SOCKMAP : r->map);
	t->skel->rodata->use_sockhash = out_map == BPF_MAP_TYPE_SOCKHASH;
	t->skel->rodata->redirect_flags = r->ingress ? BPF_F_INGRESS : 0;
	t->skel->rodata->parse_len = r->parse_len;
	t->skel->data->verdict = first_verdict(r);
	if (!CHECK_OK(redirect_bpf__load(t->skel), "load the BPF object"))
		return false;
	track_bpf_object(t->skel->obj);
	return true;
}

int topology_in_map(const struct topology *t)
{
	return bpf_map__fd(t->redirect->two_maps ? t->skel->maps.in_map : t->skel->maps.out_map);
}

static bool attach(struct topology *t, struct bpf_program *prog, enum bpf_attach_type type)
{
	int *link = t->links[0] < 0 ? &t->links[0] : &t->links[1];
	int map_fd = topology_in_map(t);

	if (!t->redirect->by_link)
		return CHECK_OK(attach_program(prog, map_fd, type), "attach %s",
				bpf_program__name(prog));
	*link = link_program(prog, map_fd, type);
	return CHECK_OK(*link, "link %s", bpf_program__name(prog));
}

static bool attach_programs(struct topology *t)
{
	struct bpf_program *skb_verdict = t->skel->progs.skb_verdict;

	switch (t->redirect->hook) {
	case HOOK_MSG_VERDICT:
		return attach(t, t->skel->progs.msg_verdict, BPF_SK_MSG_VERDICT);
	case HOOK_STREAM_VERDICT:
		return attach(t, t->skel->progs.stream_parser, BPF_SK_SKB_STREAM_PARSER) &&
		       attach(t, skb_verdict, BPF_SK_SKB_STREAM_VERDICT);
	case HOOK_SKB_VERDICT:
		return attach(t, skb_verdict, BPF_SK_SKB_VERDICT);
	}
	return false;
}

/*
 * The program sees all connections of the machine, those of other subtests too: marks of our own tell
 * it which are ours. One end is inserted as the one that connects, the other as the accepted one.
 */
static bool make_sockets_for_sockops(struct topology *t)
{
	struct redirect_bpf *skel = t->skel;
	int cgroup_fd __auto_close = open_cgroup();

	if (!CHECK_OK(cgroup_fd, "open the cgroup"))
		return false;
	skel->bss->marks[KEY_IN] = new_seed();
	skel->bss->marks[KEY_OUT] = new_seed();
	skel->links.insert_established =
		bpf_program__attach_cgroup(skel->progs.insert_established, cgroup_fd);
	return CHECK(skel->links.insert_established, "attach to the cgroup: errno %d", errno) &&
	       CHECK_OK(make_marked_pair(t->redirect->in, skel->bss->marks[KEY_IN], false, &t->in),
			"make the pair %s", t->redirect->in->name) &&
	       CHECK_OK(make_marked_pair(t->redirect->out, skel->bss->marks[KEY_OUT], true,
					 &t->out),
			"make the pair %s", t->redirect->out->name);
}

static bool make_sockets(struct topology *t)
{
	const struct redirect *r = t->redirect;

	if (r->by_sockops)
		return make_sockets_for_sockops(t);
	if (!CHECK_OK(make_pair(r->in, &t->in), "make the pair %s", r->in->name))
		return false;
	if (!r->to_listener)
		return CHECK_OK(make_pair(r->out, &t->out), "make the pair %s", r->out->name);
	t->out.kind = r->out;
	t->out.mapped = socket_loopback(r->out);
	return CHECK_OK(t->out.mapped, "make the listener %s", r->out->name);
}

static void name_sockets(const struct topology *t)
{
	const int all[] = { t->in.mapped, t->in.peer, t->out.mapped, t->out.peer };

	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++)
		timeline_name_socket(all[i], topology_name_of(t, all[i]));
}

static struct redirect_key make_key(const struct topology *t, uint32_t key)
{
	struct redirect_key k = {};

	k.words[t->redirect->long_keys ? ARRAY_SIZE(k.words) - 1 : 0] = key;
	return k;
}

int topology_insert(const struct topology *t, int map_fd, uint32_t key, int fd)
{
	struct redirect_key k = make_key(t, key);
	uint64_t value = fd;

	return bpf_map_update_elem(map_fd, &k, &value, BPF_NOEXIST) ? -errno : 0;
}

int topology_delete(const struct topology *t, int map_fd, uint32_t key)
{
	struct redirect_key k = make_key(t, key);

	return bpf_map_delete_elem(map_fd, &k) ? -errno : 0;
}

static bool insert_sender(const struct topology *t)
{
	int err = topology_insert(t, topology_in_map(t), KEY_IN, t->in.mapped);

	if (t->redirect->outcome == KEPT_OUT && !err)
		observed("let-in");
	if (t->redirect->outcome == KEPT_OUT)
		return CHECK_ERR(err, t->redirect->error, "insert in.mapped");
	return CHECK_OK(err, "insert in.mapped");
}

/* Run the iterator over nop_map, to its end. */
static bool run_iterator(const struct topology *t)
{
	union bpf_iter_link_info info = { .map.map_fd = bpf_map__fd(t->skel->maps.nop_map) };
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));
	int link __auto_close = bpf_link_create(bpf_program__fd(t->skel->progs.copy_sockets), 0,
						BPF_TRACE_ITER, &opts);
	int iter __auto_close = -1;
	ssize_t n;
	char c;

	if (!CHECK_OK(link < 0 ? -errno : 0, "attach the iterator"))
		return false;
	iter = bpf_iter_create(link);
	if (!CHECK_OK(iter < 0 ? -errno : 0, "start the iterator"))
		return false;
	n = read(iter, &c, sizeof(c));
	return CHECK_OK(n < 0 ? -errno : 0, "run the iterator");
}

static bool insert_by_iterator(const struct topology *t)
{
	int nop_map = bpf_map__fd(t->skel->maps.nop_map);
	const int *errors = t->skel->data->copy_errors;

	return CHECK_OK(topology_insert(t, nop_map, KEY_OUT, t->out.mapped), "stage out.mapped") &&
	       CHECK_OK(topology_insert(t, nop_map, KEY_IN, t->in.mapped), "stage in.mapped") &&
	       run_iterator(t) &&
	       CHECK_EQ(errors[KEY_OUT], 0, "insert out.mapped by the iterator") &&
	       CHECK_EQ(errors[KEY_IN], 0, "insert in.mapped by the iterator") &&
	       CHECK_OK(topology_delete(t, nop_map, KEY_OUT), "unstage out.mapped") &&
	       CHECK_OK(topology_delete(t, nop_map, KEY_IN), "unstage in.mapped");
}

static bool inserted_by_sockops(const struct topology *t)
{
	const int *errors = t->skel->data->mark_errors;

	return CHECK_EQ(errors[KEY_OUT], 0, "insert out.mapped when it has connected") &&
	       CHECK_EQ(errors[KEY_IN], 0, "insert in.mapped when its peer has connected");
}

static bool insert_sockets(struct topology *t)
{
	int out = t->redirect->to_itself ? t->in.mapped : t->out.mapped;
	int out_map = bpf_map__fd(t->skel->maps.out_map);
	int nop_map = bpf_map__fd(t->skel->maps.nop_map);

	name_sockets(t);
	if (t->redirect->by_iterator)
		return insert_by_iterator(t);
	if (t->redirect->by_sockops)
		return inserted_by_sockops(t);
	return CHECK_OK(topology_insert(t, out_map, KEY_OUT, out), "insert %s",
			topology_name_of(t, out)) &&
	       insert_sender(t) &&
	       (!t->redirect->mapped_peers ||
		(CHECK_OK(topology_insert(t, nop_map, KEY_OUT, t->out.peer), "insert out.peer") &&
		 CHECK_OK(topology_insert(t, nop_map, KEY_IN, t->in.peer), "insert in.peer")));
}

bool topology_remove_sockets(struct topology *t)
{
	int out_map = bpf_map__fd(t->skel->maps.out_map);
	int nop_map = bpf_map__fd(t->skel->maps.nop_map);

	return CHECK_OK(topology_delete(t, out_map, KEY_OUT), "delete the target") &&
	       (t->redirect->outcome == KEPT_OUT ||
		CHECK_OK(topology_delete(t, topology_in_map(t), KEY_IN), "delete in.mapped")) &&
	       (!t->redirect->mapped_peers ||
		(CHECK_OK(topology_delete(t, nop_map, KEY_OUT), "delete out.peer") &&
		 CHECK_OK(topology_delete(t, nop_map, KEY_IN), "delete in.peer")));
}

bool topology_reinsert(const struct topology *t)
{
	int map = topology_in_map(t);

	return CHECK_OK(topology_delete(t, map, KEY_IN), "delete in.mapped") &&
	       CHECK_OK(topology_insert(t, map, KEY_IN, t->in.mapped), "insert in.mapped");
}

static void read_at(struct topology *t, int fd, const struct sock_kind *kind, bool mapped)
{
	t->target = fd;
	t->target_kind = kind;
	t->target_mapped = mapped;
}

/* Where the data goes without redirection, be it that no program sees it, or that one passes it. */
static void read_locally(struct topology *t)
{
	bool is_msg = t->redirect->hook == HOOK_MSG_VERDICT;

	read_at(t, is_msg ? t->in.peer : t->in.mapped, t->redirect->in, !is_msg);
}

static void find_target(struct topology *t)
{
	const struct redirect *r = t->redirect;
	const struct sock_pair *out = r->to_itself ? &t->in : &t->out;

	if (r->outcome == LOCAL || (r->outcome == DELIVERED && r->pass))
		read_locally(t);
	else if (r->outcome == DELIVERED)
		read_at(t, r->ingress ? out->mapped : out->peer, out->kind, r->ingress);
	else
		read_at(t, -1, NULL, false);
}

void topology_set_verdict(struct topology *t, int verdict)
{
	t->skel->data->verdict = verdict;
	if (verdict == SK_PASS)
		read_locally(t);
	else
		read_at(t, -1, NULL, false);
}

static const char *direction(const struct redirect *r)
{
	if (r->pass || r->drop)
		return r->pass ? "pass" : "drop";
	return r->ingress ? "ingress" : "egress";
}

bool topology_open(struct topology *t, const struct redirect *r)
{
	t->redirect = r;
	t->direction = direction(r);
	if (!load_programs(t) || !attach_programs(t) || !make_sockets(t) || !insert_sockets(t))
		return false;
	t->sender = r->hook == HOOK_MSG_VERDICT ? t->in.mapped : t->in.peer;
	find_target(t);
	return true;
}

/* ---- Verdicts -------------------------------------------------------------------------------- */

const struct verdicts *topology_verdicts(const struct topology *t)
{
	return (const struct verdicts *)&t->skel->bss->verdicts;
}

void topology_measure_other(const struct topology *t, const char *who, uint64_t since_ns,
			    uint64_t woken_ns)
{
	const struct redirect *r = t->redirect;
	const struct wakeup wakeup = {
		.path = { redirect_hook_name(r), r->in->name, r->out->name, who },
		.verdict_ns = since_ns,
		.woken_ns = woken_ns,
		.worker_ns = -1,
	};

	child_record_wakeup(&wakeup);
}

void topology_measure_wakeup(const struct topology *t, uint64_t woken_ns)
{
	topology_measure_other(t, t->direction, topology_verdicts(t)->last_ns, woken_ns);
}

void topology_expect(struct topology *t, int verdict, size_t len)
{
	bool passes = t->target >= 0 && t->target != t->out.mapped && t->target != t->out.peer;

	timeline_expect(verdict, len, passes ? -1 : t->out.mapped, t->target);
	t->count[verdict]++;
	t->bytes[verdict] += len;
}

void topology_wait_for_verdicts(const struct topology *t)
{
	wait_for_verdicts(topology_verdicts(t), t->count[SK_PASS], t->count[SK_DROP]);
}

/* What a program sees of a parsed message is the segment that it is a part of: no bytes to count. */
static bool check_verdict(const struct topology *t, int verdict, const char *name)
{
	const struct verdicts *v = topology_verdicts(t);
	bool ok = CHECK_EQ(read_counter(&v->count[verdict]), t->count[verdict], "%s: %s count",
			   t->direction, name);

	if (!t->redirect->parse_len)
		ok &= CHECK_EQ(read_counter(&v->bytes[verdict]), t->bytes[verdict], "%s: %s bytes",
			       t->direction, name);
	return ok;
}

/* Both, even after a failure: together they tell what happened. */
bool topology_check_verdicts(const struct topology *t)
{
	bool ok;

	topology_wait_for_verdicts(t);
	ok = check_verdict(t, SK_PASS, "pass");
	ok &= check_verdict(t, SK_DROP, "drop");
	return ok;
}

/* ---- The other sockets ------------------------------------------------------------------------- */

unsigned int topology_others(const struct topology *t, int others[4])
{
	const int all[] = { t->in.mapped, t->in.peer, t->out.mapped, t->out.peer };
	unsigned int n = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++) {
		bool listens = t->redirect->to_listener && all[i] == t->out.mapped;

		if (all[i] >= 0 && all[i] != t->target && !listens)
			others[n++] = all[i];
	}
	return n;
}

const char *topology_name_of(const struct topology *t, int fd)
{
	return fd == t->in.mapped    ? "in.mapped"
	       : fd == t->in.peer    ? "in.peer"
	       : fd == t->out.mapped ? "out.mapped"
	       : fd == t->out.peer   ? "out.peer"
				     : "nowhere";
}

static bool check_empty(const struct topology *t, int fd)
{
	char what[64];

	snprintf(what, sizeof(what), "%s: nothing more at %s", t->direction,
		 topology_name_of(t, fd));
	return check_nothing(fd, what);
}

bool topology_check_empty(const struct topology *t)
{
	int others[4];
	unsigned int n = topology_others(t, others);
	bool ok = t->target < 0 || check_empty(t, t->target);

	for (unsigned int i = 0; i < n; i++)
		ok &= check_empty(t, others[i]);
	return ok;
}

void topology_check_traffic(const struct topology *t)
{
	check_traffic(&t->in);
	if (!t->redirect->to_listener)
		check_traffic(&t->out);
}
