// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <sys/vfs.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/magic.h>

#include "harness/child.h"
#include "harness/harness.h"
#include "harness/timeline.h"
#include "network_helpers.h"

static void track_map(int fd)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0)
		child_track_id(true, info.id);
}

static void track_prog(int fd)
{
	struct bpf_prog_info info = {};
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0)
		child_track_id(false, info.id);
}

void track_bpf_object(const struct bpf_object *obj)
{
	struct bpf_map *map;
	struct bpf_program *prog;

	bpf_object__for_each_map (map, obj)
		track_map(bpf_map__fd(map));
	bpf_object__for_each_program (prog, obj)
		track_prog(bpf_program__fd(prog));
}

int socket_map_create(enum bpf_map_type type)
{
	return socket_map_create_sized(type, sizeof(uint32_t), 2);
}

int socket_map_create_sized(enum bpf_map_type type, uint32_t key_size, uint32_t max_entries)
{
	int fd = bpf_map_create(type, "sockets", key_size, sizeof(uint64_t), max_entries, NULL);

	if (fd < 0)
		return -errno;
	track_map(fd);
	return fd;
}

int socket_map_update(int map_fd, uint32_t key, int fd, uint64_t flags)
{
	uint64_t value = fd;

	timeline_know_socket(fd);
	return bpf_map_update_elem(map_fd, &key, &value, flags) ? -errno : 0;
}

int socket_map_delete(int map_fd, uint32_t key)
{
	return bpf_map_delete_elem(map_fd, &key) ? -errno : 0;
}

int socket_map_lookup(int map_fd, uint32_t key, uint64_t *cookie)
{
	return bpf_map_lookup_elem(map_fd, &key, cookie) ? -errno : 0;
}

int attach_program(const struct bpf_program *prog, int map_fd, enum bpf_attach_type type)
{
	return bpf_prog_attach(bpf_program__fd(prog), map_fd, type, 0) ? -errno : 0;
}

int detach_program(const struct bpf_program *prog, int map_fd, enum bpf_attach_type type)
{
	return bpf_prog_detach2(bpf_program__fd(prog), map_fd, type) ? -errno : 0;
}

int link_program(const struct bpf_program *prog, int map_fd, enum bpf_attach_type type)
{
	int fd = bpf_link_create(bpf_program__fd(prog), map_fd, type, NULL);

	return fd < 0 ? -errno : fd;
}

/* The second place is where it is next to hierarchies of the first version. */
int open_cgroup(void)
{
	static const char *const places[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };

	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++) {
		int fd = open(places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		struct statfs fs;

		if (fd >= 0 && !fstatfs(fd, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC)
			return fd;
		close_fd(&fd);
	}
	return -ENOENT;
}
