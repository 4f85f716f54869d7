// SPDX-License-Identifier: GPL-2.0-only
/* Insert both ends of the connections to one port as soon as they are established. */

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum { PASSIVE, ACTIVE };

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} map SEC(".maps");

__u32 port;   /* of the listener; in host order */
int error[2]; /* what the insert of that end returned; 1: it was not tried */

static void insert(struct bpf_sock_ops *ctx, __u32 end, int *error)
{
	*error = bpf_sock_map_update(ctx, &map, &end, BPF_NOEXIST);
}

SEC("sockops")
int insert_established(struct bpf_sock_ops *ctx)
{
	if (ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB && ctx->local_port == port)
		insert(ctx, PASSIVE, &error[PASSIVE]);
	if (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && bpf_ntohl(ctx->remote_port) == port)
		insert(ctx, ACTIVE, &error[ACTIVE]);
	return 1;
}

char _license[] SEC("license") = "GPL";
