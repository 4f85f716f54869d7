// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's first process: prepares the machine, runs test_progs, and reports over serial lines.
 * Run by the kernel, it is also its modprobe.
 *
 *   console    the kernel's; nothing is written to it here, except through /dev/kmsg
 *   control    lines "VMTEST <nonce> <phase> ...", and the contents of the files handed back
 *   tests      what the tests write to stdout and stderr, byte for byte
 *
 * The kernel's command line says which ports the last two are: vmtest.control= and vmtest.tests=,
 * ttyS1 and ttyS2 if it does not.
 *
 * The phases, in order: BOOT <release> <version>, NOTE <text> (any number), TESTS-START, then DONE <rc> or
 * DONE signal <n>, FILE <name> <size> <unpacked size> followed by that many bytes (of zlib's
 * format: the ports are slow), and END. FATAL <text> says why there will be no tests. The nonce
 * comes from the kernel's command line, so that a line which the tests happen to print is not taken
 * for a verdict.
 *
 * What vmtest.sh puts into the initramfs, besides the binary:
 *
 *   /args     arguments of test_progs, each ended by a NUL
 *   /env      more for its environment, NAME=VALUE, each ended by a NUL
 *   /modules  what the kernel may ask for, and a list, "aliases": a line for each alias, with the
 *             paths of the modules to load for it, in that order
 *   /collect  files to hand back: a name and a path, each ended by a NUL; a directory comes as a tar
 *   /shell    a command to run on the tests' port instead of the tests, each word ended by a NUL
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <sys/io.h>
#endif
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <zlib.h>

#define LEAKS "/sys/kernel/debug/kmemleak"

/* Of programs that crash: so many come to the host, none of them larger. */
#define CORES	  "/run/cores"
#define CORES_MAX 4
#define CORE_SIZE (64 << 20)

/* Of syslog(2); glibc has no names for them. */
#define SYSLOG_ACTION_READ_ALL	  3
#define SYSLOG_ACTION_SIZE_BUFFER 10

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static char nonce[64] = "none";
static char control_port[64] = "ttyS1", tests_port[64] = "ttyS2";
static int control_fd = -1;
static int output_fd = -1;

/* A file in memory; data always has a NUL behind its last byte. */
struct blob {
	char *data;
	size_t len;
};

/* ---- Talking to the host --------------------------------------------------------------------- */

static bool write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= n;
	}
	return true;
}

/* The line feed in front ends whatever a test may have left on the line. */
__attribute__((format(printf, 1, 2))) static void control(const char *fmt, ...)
{
	char text[512], line[640];
	va_list ap;
	int len;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	len = snprintf(line, sizeof(line), "\nVMTEST %s %s\n", nonce, text);
	write_all(control_fd, line, len);
}

/* A kernel message; level 4 is printed on the console under loglevel=6. */
static void kernel_log(const char *text)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	char line[512];

	if (fd < 0)
		return;
	snprintf(line, sizeof(line), "<4>vmtest: %s %s\n", nonce, text);
	write_all(fd, line, strlen(line));
	close(fd);
}

/* With -no-reboot, QEMU exits when the guest restarts. */
static void __attribute__((noreturn)) restart(void)
{
	sync();
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static void __attribute__((noreturn)) die(const char *what)
{
	char text[200];

	snprintf(text, sizeof(text), "init: %s: %s", what, strerror(errno));
	kernel_log(text);
	dprintf(STDERR_FILENO, "vmtest: %s\n", text);
	if (control_fd >= 0)
		control("FATAL %s", text);
	restart();
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void blob_append(struct blob *b, const char *data, size_t len)
{
	char *grown = realloc(b->data, b->len + len + 1);

	if (!grown)
		die("out of memory");
	memcpy(grown + b->len, data, len);
	grown[b->len + len] = '\0';
	b->data = grown;
	b->len += len;
}

/* A whole file; data stays NULL if it cannot be opened. */
static struct blob read_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct blob b = {};
	char chunk[65536];
	ssize_t n;

	if (fd < 0)
		return b;
	blob_append(&b, "", 0);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		blob_append(&b, chunk, n);
	close(fd);
	return b;
}

/* The NUL-ended strings of a blob, as an argument vector with `first` in front. */
static char **split_strings(struct blob *b, char *first)
{
	char **vec = NULL, *s = b->data;
	size_t n = 0;

	do {
		vec = realloc(vec, (n + 2) * sizeof(*vec));
		if (!vec)
			die("out of memory");
		vec[n++] = first;
		first = s;
		if (s && s < b->data + b->len)
			s += strlen(s) + 1;
		else
			first = NULL;
	} while (first);
	vec[n] = NULL;
	return vec;
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	write_all(fd, text, strlen(text));
	close(fd);
}

/* ---- Preparing the machine ------------------------------------------------------------------- */

/* True unless the host has put files there, which a mount would hide. */
static bool is_empty_dir(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool empty = true;

	if (!dir)
		return true;
	while (empty && (entry = readdir(dir)))
		empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
	closedir(dir);
	return empty;
}

static void mount_filesystems(void)
{
	static const struct {
		const char *type, *where;
		bool required;
	} mounts[] = {
		{ "proc", "/proc", true },
		{ "sysfs", "/sys", true },
		{ "devtmpfs", "/dev", true },
		{ "tmpfs", "/dev/shm", false },
		{ "tmpfs", "/tmp", false },
		{ "tmpfs", "/run", false },
		{ "bpf", "/sys/fs/bpf", false },
		{ "cgroup2", "/sys/fs/cgroup", false },
		{ "debugfs", "/sys/kernel/debug", false },
		{ "tracefs", "/sys/kernel/tracing", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		mkdir(mounts[i].where, 0755);
		if (!strcmp(mounts[i].type, "tmpfs") && !is_empty_dir(mounts[i].where))
			continue;
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type, 0, NULL) &&
		    mounts[i].required)
			die(mounts[i].where);
	}
	chmod("/tmp", 01777);
}

/* NAME=VALUE on the kernel's command line; value keeps what it has if that is not there. */
static void read_parameter(const char *cmdline, const char *name, char value[64])
{
	const char *found = strstr(cmdline, name);

	if (found)
		sscanf(found + strlen(name), "%63[0-9a-zA-Z]", value);
}

static void read_parameters(void)
{
	struct blob cmdline = read_file("/proc/cmdline");

	if (!cmdline.data)
		return;
	read_parameter(cmdline.data, "vmtest.nonce=", nonce);
	read_parameter(cmdline.data, "vmtest.control=", control_port);
	read_parameter(cmdline.data, "vmtest.tests=", tests_port);
	free(cmdline.data);
}

static int open_port(const char *name)
{
	struct termios tio;
	char path[80];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || tcgetattr(fd, &tio))
		return -1;
	cfmakeraw(&tio);
	tio.c_cflag |= CLOCAL;
	cfsetspeed(&tio, B115200);
	tcsetattr(fd, TCSANOW, &tio);
	fcntl(fd, F_SETFL, 0);
	return fd;
}

/* The console stays open for good: without a reader its line would not answer to sysrq. */
static void open_ports(void)
{
	int console = open("/dev/console", O_RDWR | O_NOCTTY);

	if (console >= 0)
		for (int fd = 0; fd < 3; fd++)
			dup2(console, fd);
	control_fd = open_port(control_port);
	if (control_fd < 0)
		die(control_port);
	output_fd = open_port(tests_port);
	if (output_fd < 0)
		die(tests_port);
}

static void report_boot(void)
{
	struct utsname uts;

	uname(&uts);
	control("BOOT %s %s", uts.release, uts.version);
}

static void raise_limits(void)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	const struct rlimit files = { 65536, 65536 };

	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	setrlimit(RLIMIT_NOFILE, &files);
	write_text("/proc/sys/net/core/bpf_jit_enable", "1");
}

/* Where the kernel writes them, unless --sysctl says otherwise. */
static void keep_cores(void)
{
	static const char pattern[] = "/proc/sys/kernel/core_pattern";
	const struct rlimit size = { CORE_SIZE, CORE_SIZE };
	struct blob said = read_file(pattern);

	if (said.data && !strcmp(said.data, "core\n") && !mkdir(CORES, 01777)) {
		write_text(pattern, CORES "/core.%p");
		setrlimit(RLIMIT_CORE, &size);
	}
	free(said.data);
}

static void bring_up_loopback(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		control("NOTE lo is down: %s", strerror(errno));
	close(fd);
}

/* ---- Modules --------------------------------------------------------------------------------- */

/* Each costs about 30 ms under TCG, so none is loaded before a test needs it and the kernel asks. */
static void serve_modules(void)
{
	if (!access("/modules/aliases", F_OK))
		write_text("/proc/sys/kernel/modprobe", "/init");
}

/* True also if somebody else has loaded it. */
static bool load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool loaded = fd >= 0 && (!syscall(SYS_finit_module, fd, "", 0) || errno == EEXIST);

	if (!loaded) {
		char text[200];

		snprintf(text, sizeof(text), "module %s: %s", path, strerror(errno));
		kernel_log(text);
	}
	close(fd);
	return loaded;
}

/* The words of one line of the list: an alias, and paths. */
static bool load_modules(char *line)
{
	bool loaded = true;
	char *save, *path;

	strtok_r(line, " ", &save);
	while (loaded && (path = strtok_r(NULL, " ", &save)))
		loaded = load_module(path);
	return loaded;
}

/* What the kernel runs as "/init -q -- ALIAS". */
static int modprobe(const char *alias)
{
	struct blob list = read_file("/modules/aliases");
	size_t len = strlen(alias);
	char *save, *line;

	read_parameters();
	for (line = strtok_r(list.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (!strncmp(line, alias, len) && line[len] == ' ')
			return !load_modules(line);
	return 1;
}

/* ---- Running the tests ----------------------------------------------------------------------- */

/* With marks in the kernel's log, a console that ends in a crash tells what was running: here the
 * machine may crash. */
static char **test_environment(void)
{
	static char *fixed[] = { "HOME=/tmp", "TMPDIR=/tmp", "TERM=dumb", "KMSG_MARKS=1",
				 "MAY_CRASH=1" };
	struct blob more = read_file("/env");
	struct blob all = {};

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		blob_append(&all, fixed[i], strlen(fixed[i]) + 1);
	if (more.len)
		blob_append(&all, more.data, more.len);
	return split_strings(&all, "PATH=/bin:/sbin:/");
}

static void __attribute__((noreturn)) exec_tests(int out, const sigset_t *mask)
{
	struct blob args = read_file("/args");
	char **argv = split_strings(&args, "test_progs");

	sigprocmask(SIG_SETMASK, mask, NULL);
	setsid();
	dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	execve("/test_progs", argv, test_environment());
	dprintf(STDERR_FILENO, "vmtest: /test_progs: %s\n", strerror(errno));
	_exit(126);
}

/* For a person: the port is its terminal, with echo and Ctrl-C. */
static void __attribute__((noreturn)) exec_shell(struct blob *command, const sigset_t *mask)
{
	struct termios tio;
	char **argv = split_strings(command, NULL) + 1;

	sigprocmask(SIG_SETMASK, mask, NULL);
	setsid();
	ioctl(output_fd, TIOCSCTTY, 1);
	if (!tcgetattr(output_fd, &tio)) {
		tio.c_iflag = ICRNL | IXON;
		tio.c_oflag = OPOST | ONLCR;
		tio.c_lflag = ISIG | ICANON | IEXTEN | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE;
		tcsetattr(output_fd, TCSANOW, &tio);
	}
	for (int fd = 0; fd < 3; fd++)
		dup2(output_fd, fd);
	execve(argv[0], argv, test_environment());
	dprintf(STDERR_FILENO, "vmtest: %s: %s\n", argv[0], strerror(errno));
	_exit(126);
}

/* Copies what is there. False when nothing more will come. */
static bool forward_output(int from)
{
	char chunk[4096];
	ssize_t n = read(from, chunk, sizeof(chunk));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	return n && write_all(output_fd, chunk, n);
}

/* Reaps every child that has ended; true once `tests` is among them. */
static bool reap(int signals, pid_t tests, int *status)
{
	struct signalfd_siginfo info;
	bool ended = false;
	int wstatus;
	pid_t pid;

	while (read(signals, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &wstatus, WNOHANG)) > 0) {
		if (pid == tests) {
			ended = true;
			*status = wstatus;
		}
	}
	return ended;
}

/* Forwards the output until the test process ends, even if others keep its pipe open. */
static int follow_tests(pid_t tests, int out, int signals)
{
	struct pollfd fds[] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = out, .events = POLLIN },
	};
	int status = 0;

	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		if (fds[1].revents && !forward_output(out))
			fds[1].fd = -1;
		if (fds[0].revents && reap(signals, tests, &status))
			break;
	}
	kill(-1, SIGKILL);
	for (struct pollfd left = { .fd = out, .events = POLLIN }; poll(&left, 1, 0) > 0;)
		if (!forward_output(out))
			break;
	return status;
}

static int run_tests(void)
{
	struct blob shell = read_file("/shell");
	int pipe_fds[2], signals;
	sigset_t chld, old;
	pid_t pid;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, &old);
	signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0 || pipe2(pipe_fds, O_CLOEXEC))
		die("pipe");
	control("TESTS-START");
	kernel_log("tests start");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid && shell.len)
		exec_shell(&shell, &old);
	if (!pid)
		exec_tests(pipe_fds[1], &old);
	close(pipe_fds[1]);
	fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
	return follow_tests(pid, pipe_fds[0], signals);
}

/* ---- Reporting ------------------------------------------------------------------------------- */

static void report_status(int status)
{
	tcdrain(output_fd);
	kernel_log("tests end");
	/* A test may have opened the port and changed its settings. */
	control_fd = open_port(control_port);
	if (WIFSIGNALED(status))
		control("DONE signal %d", WTERMSIG(status));
	else
		control("DONE %d", WEXITSTATUS(status));
}

static void send_blob(const char *name, const struct blob *b)
{
	uLongf packed_len = compressBound(b->len);
	Bytef *packed = malloc(packed_len);

	if (!packed || compress2(packed, &packed_len, (Bytef *)b->data, b->len, 1) != Z_OK) {
		control("NOTE %s is too large to be packed", name);
	} else {
		control("FILE %s %lu %zu", name, packed_len, b->len);
		write_all(control_fd, (char *)packed, packed_len);
	}
	free(packed);
}

/* POSIX tar: a header of 512 bytes, and contents filled up to a multiple of that. */
#define TAR_BLOCK 512

struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type;
	char linkname[100], magic[6], version[2], uname[32], gname[32], devmajor[8], devminor[8];
	char prefix[155], unused[12];
};

_Static_assert(sizeof(struct tar_header) == TAR_BLOCK, "no padding");

/* The name without its leading slash, cut in two at one where it is long. False: too long. */
static bool tar_name(struct tar_header *h, const char *path)
{
	const char *name = path + strspn(path, "/"), *cut = name;

	while (cut && strlen(cut) > sizeof(h->name)) {
		cut = strchr(cut, '/');
		cut = cut ? cut + 1 : NULL;
	}
	if (!cut || (size_t)(cut - name) > sizeof(h->prefix))
		return false;
	memcpy(h->name, cut, strlen(cut));
	if (cut > name)
		memcpy(h->prefix, name, cut - name - 1);
	return true;
}

static void tar_add(struct blob *tar, const char *path, const struct blob *contents)
{
	static const char zeros[TAR_BLOCK];
	struct tar_header h = { .type = '0', .magic = "ustar", .version = { '0', '0' } };
	unsigned int sum = 0;

	if (!tar_name(&h, path)) {
		control("NOTE %s has too long a name", path);
		return;
	}
	snprintf(h.mode, sizeof(h.mode), "%07o", 0644);
	snprintf(h.uid, sizeof(h.uid), "%07o", 0);
	snprintf(h.gid, sizeof(h.gid), "%07o", 0);
	snprintf(h.size, sizeof(h.size), "%011zo", contents->len);
	snprintf(h.mtime, sizeof(h.mtime), "%011o", 0);
	memset(h.checksum, ' ', sizeof(h.checksum));
	for (size_t i = 0; i < sizeof(h); i++)
		sum += ((unsigned char *)&h)[i];
	snprintf(h.checksum, sizeof(h.checksum), "%06o", sum);
	blob_append(tar, (char *)&h, sizeof(h));
	blob_append(tar, contents->data, contents->len);
	blob_append(tar, zeros, -contents->len % TAR_BLOCK);
}

/* The regular files below a directory; for nftw(3), which has no argument for its user. */
static struct blob *tar_of_tree;

static int tar_visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	struct blob b;

	(void)ftw;
	if (type != FTW_F || !S_ISREG(st->st_mode))
		return 0;
	b = read_file(path);
	if (b.data)
		tar_add(tar_of_tree, path, &b);
	free(b.data);
	return 0;
}

static void send_tree(const char *name, const char *path)
{
	static const char end[2 * TAR_BLOCK];
	struct blob tar = {};

	tar_of_tree = &tar;
	nftw(path, tar_visit, 16, FTW_PHYS);
	blob_append(&tar, end, sizeof(end));
	send_blob(name, &tar);
	free(tar.data);
}

static void send_file(const char *name, const char *path)
{
	struct blob b = {};
	struct stat st;

	if (!stat(path, &st) && S_ISDIR(st.st_mode)) {
		send_tree(name, path);
		return;
	}
	b = read_file(path);
	if (b.data)
		send_blob(name, &b);
	free(b.data);
}

static void send_files(void)
{
	struct blob list = read_file("/collect");
	char **item = split_strings(&list, NULL) + 1;

	for (; item[0] && item[1]; item += 2)
		send_file(item[0], item[1]);
}

static void send_cores(void)
{
	DIR *dir = opendir(CORES);
	struct dirent *entry;
	int left = CORES_MAX;

	while (dir && left && (entry = readdir(dir))) {
		char path[sizeof(CORES) + sizeof(entry->d_name)];

		if (strncmp(entry->d_name, "core.", 5))
			continue;
		snprintf(path, sizeof(path), CORES "/%s", entry->d_name);
		send_file(entry->d_name, path);
		left--;
	}
	if (dir)
		closedir(dir);
}

/* "<5>[    1.234567] text": as dmesg(1) shows it, without the level. A text may have lines. */
static size_t drop_levels(char *text, size_t len)
{
	char *to = text;

	for (char *line = text, *next; line < text + len; line = next) {
		char *end = memchr(line, '\n', text + len - line), *level = NULL;

		next = end ? end + 1 : text + len;
		if (*line == '<')
			level = memchr(line, '>', next - line);
		if (level)
			line = level + 1;
		memmove(to, line, next - line);
		to += next - line;
	}
	*to = '\0';
	return to - text;
}

/* In one call: /dev/kmsg has a record a call, which takes four times as long under TCG. */
static void send_kernel_log(void)
{
	int size = klogctl(SYSLOG_ACTION_SIZE_BUFFER, NULL, 0);
	struct blob log = { .data = size > 0 ? malloc(size + 1) : NULL };
	int len = log.data ? klogctl(SYSLOG_ACTION_READ_ALL, log.data, size) : -1;

	if (len < 0) {
		control("NOTE no kernel log: %s", strerror(errno));
	} else {
		log.len = drop_levels(log.data, len);
		send_blob("dmesg.txt", &log);
	}
	free(log.data);
}

/*
 * The status once more, on a way of its own: QEMU's isa-debug-exit device makes 2N+1 of it its exit
 * status. Where there is no such device nothing happens.
 */
static void confirm(int status)
{
#ifdef __x86_64__
	const unsigned short port = 0x501;
	int code = WEXITSTATUS(status);

	if (ioperm(port, 1, 1))
		return;
	outb(WIFSIGNALED(status) ? 0x3f : 0x20 + (code < 15 ? code : 15), port);
#else
	(void)status;
#endif
}

int main(int argc, char **argv)
{
	int status;

	if (getpid() != 1)
		return modprobe(argv[argc - 1]);
	mount_filesystems();
	read_parameters();
	open_ports();
	report_boot();
	raise_limits();
	keep_cores();
	bring_up_loopback();
	serve_modules();
	/* test_progs says when to look for leaks. */
	write_text(LEAKS, "scan=off");
	status = run_tests();
	report_status(status);
	send_files();
	send_kernel_log();
	if (status) {
		send_file("config.gz", "/proc/config.gz");
		send_file("kmemleak.txt", LEAKS);
		send_cores();
	}
	control("END");
	tcdrain(control_fd);
	confirm(status);
	restart();
}
