// SPDX-License-Identifier: GPL-2.0-only
/*
 * mkinitramfs ARCHIVE LIST [PATH FILE]...: write an initramfs in the kernel's "newc" format, and a
 * list of what is in it. PATH is where the guest finds a copy of FILE; with an empty FILE it is a
 * directory. The directories above come by themselves, and of two that have one path the last is
 * taken. Prints the size of the archive.
 *
 * Neither owners nor times of the files are in it: equal contents make equal archives.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct entry {
	const char *path; /* without a slash in front */
	const char *file; /* NULL: a directory */
	size_t nr;	  /* as they were named */
};

struct entries {
	struct entry *all;
	size_t nr;
};

static void __attribute__((noreturn)) give_up(const char *what)
{
	fprintf(stderr, "mkinitramfs: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- What is in it --------------------------------------------------------------------------- */

static void add(struct entries *e, const char *path, const char *file)
{
	e->all = reallocarray(e->all, e->nr + 1, sizeof(*e->all));
	if (!e->all)
		give_up(path);
	e->all[e->nr] = (struct entry){ path, file, e->nr };
	e->nr++;
}

static void add_with_parents(struct entries *e, const char *path, const char *file)
{
	path += strspn(path, "/");
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		char *parent = strndup(path, slash - path);

		if (!parent)
			give_up(path);
		add(e, parent, NULL);
	}
	if (*path)
		add(e, path, *file ? file : NULL);
}

/* A directory is before what is in it; of one path, the last that was named comes first. */
static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return strcmp(x->path, y->path) ?: (x->nr < y->nr) - (x->nr > y->nr);
}

static void sort_entries(struct entries *e)
{
	size_t kept = 0;

	qsort(e->all, e->nr, sizeof(*e->all), compare);
	for (size_t i = 0; i < e->nr; i++)
		if (!kept || strcmp(e->all[kept - 1].path, e->all[i].path))
			e->all[kept++] = e->all[i];
	e->nr = kept;
}

/* ---- The archive ----------------------------------------------------------------------------- */

struct archive {
	const char *name;
	FILE *to;
	uint64_t size;
	unsigned int inode;
};

static void write_bytes(struct archive *a, const void *data, size_t len)
{
	if (len && fwrite(data, len, 1, a->to) != 1)
		give_up(a->name);
	a->size += len;
}

static void pad(struct archive *a, size_t multiple)
{
	static const char zeros[512];

	write_bytes(a, zeros, -a->size % multiple);
}

static void write_header(struct archive *a, const char *path, mode_t mode, size_t size)
{
	char header[6 + 13 * 8 + 1];
	const unsigned int links = 1, name_len = strlen(path) + 1;

	/* inode, mode, uid, gid, links, time, size, two devices, length of the name, checksum */
	snprintf(header, sizeof(header),
		 "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08x%08x", ++a->inode, mode, 0,
		 0, links, 0, size, 0, 0, 0, 0, name_len, 0);
	write_bytes(a, header, sizeof(header) - 1);
	write_bytes(a, path, name_len);
	pad(a, 4);
}

static void write_contents(struct archive *a, const char *file, FILE *from, size_t left)
{
	char chunk[65536];

	while (left) {
		size_t len = fread(chunk, 1, left < sizeof(chunk) ? left : sizeof(chunk), from);

		if (!len) {
			errno = ferror(from) ? errno : EIO;
			give_up(file);
		}
		write_bytes(a, chunk, len);
		left -= len;
	}
	pad(a, 4);
}

/* The list looks like that of ls -l. */
static void list(FILE *to, const char *path, mode_t mode, size_t size)
{
	static const char letters[] = "rwxrwxrwx";
	char text[] = "----------";

	if (S_ISDIR(mode))
		text[0] = 'd';
	for (int i = 0; i < 9; i++)
		if (mode & 0400 >> i)
			text[i + 1] = letters[i];
	fprintf(to, "%s %10zu %s\n", text, size, path);
}

static void write_entry(struct archive *a, FILE *list_to, const struct entry *entry)
{
	struct stat st = { .st_mode = S_IFDIR | 0755 };
	FILE *from = NULL;

	if (entry->file) {
		from = fopen(entry->file, "r");
		if (!from || fstat(fileno(from), &st))
			give_up(entry->file);
		/* A field of the header has 32 bits. */
		if (!S_ISREG(st.st_mode) || st.st_size > UINT32_MAX) {
			errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
			give_up(entry->file);
		}
	}
	write_header(a, entry->path, st.st_mode, st.st_size);
	list(list_to, entry->path, st.st_mode, st.st_size);
	if (from) {
		write_contents(a, entry->file, from, st.st_size);
		fclose(from);
	}
}

static void finish(struct archive *a)
{
	write_header(a, "TRAILER!!!", 0, 0);
	pad(a, 512);
	if (fclose(a->to))
		give_up(a->name);
}

int main(int argc, char **argv)
{
	struct entries entries = {};
	struct archive archive = {};
	FILE *list_to;

	if (argc < 3 || argc % 2 == 0) {
		fprintf(stderr, "usage: mkinitramfs ARCHIVE LIST [PATH FILE]...\n");
		return 2;
	}
	for (int i = 3; i < argc; i += 2)
		add_with_parents(&entries, argv[i], argv[i + 1]);
	sort_entries(&entries);
	archive.name = argv[1];
	archive.to = fopen(argv[1], "w");
	list_to = fopen(argv[2], "w");
	if (!archive.to || !list_to)
		give_up(archive.to ? argv[2] : argv[1]);
	for (size_t i = 0; i < entries.nr; i++)
		write_entry(&archive, list_to, &entries.all[i]);
	finish(&archive);
	if (fclose(list_to))
		give_up(argv[2]);
	printf("%llu\n", (unsigned long long)archive.size);
	return 0;
}
