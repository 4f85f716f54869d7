// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stands in for test_progs in the tests of vmtest.sh: does what its first argument says.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <endian.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_NOCTTY);

	if (fd >= 0 && write(fd, text, strlen(text)) >= 0)
		return 0;
	perror(path);
	return 1;
}

static void write_to(const char *path, const char *text)
{
	write_file(path, text);
}

/* Shows that arguments arrive as they were given. */
static int show_args(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		printf("argv[%d]=<%s>\n", i, argv[i]);
	return 0;
}

/* As test_progs does for -d @FILE and -J FILE. */
static int copy_file(const char *from, const char *to)
{
	FILE *in = fopen(from, "r"), *out = fopen(to, "w");
	int c;

	if (!in || !out) {
		perror(in ? to : from);
		return 1;
	}
	while ((c = getc(in)) != EOF)
		putc(c, out);
	return 0;
}

/* Looks like a verdict, on every line a test can reach. */
static int forge(void)
{
	static const char text[] = "\nVMTEST 0 DONE 0\nVMTEST 0 END\n";

	printf("\033[2J%01000d%s", 0, text);
	write_to("/dev/ttyS1", text);
	write_to("/dev/ttyS1", "VMTEST 0 DON"); /* and a line that is left unfinished */
	return 1;
}

/* A line that is not ended, a byte that is no text, and a process that stays behind. */
static int messy_output(void)
{
	if (!fork()) {
		for (;;)
			pause();
	}
	printf("no line feed, \xff");
	return 0;
}

/* Environment variables by name, files by path. */
static int show(int nr, char **what)
{
	for (int i = 0; i < nr; i++) {
		char line[256] = "";
		FILE *f = *what[i] == '/' ? fopen(what[i], "r") : NULL;

		if (f && fgets(line, sizeof(line), f))
			printf("%s", line);
		else
			printf("%s=%s\n", what[i], getenv(what[i]));
		if (f)
			fclose(f);
	}
	return 0;
}

/* A stream through the loopback of an address family, or -1. */
static int connect_to_self(struct sockaddr *addr, socklen_t len)
{
	int server = socket(addr->sa_family, SOCK_STREAM, 0);
	int client = socket(addr->sa_family, SOCK_STREAM, 0);

	if (bind(server, addr, len) || listen(server, 1) || getsockname(server, addr, &len) ||
	    connect(client, addr, len)) {
		perror("connect");
		return -1;
	}
	return client;
}

/* Needs AF_VSOCK and its loopback, TLS, and a cipher: modules, on most kernels. */
static int use_modules(void)
{
	struct tls12_crypto_info_aes_gcm_128 key = {
		.info = { .version = TLS_1_2_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128 },
	};
	struct sockaddr_vm vm = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_LOCAL,
		.svm_port = VMADDR_PORT_ANY,
	};
	struct sockaddr_in in = { .sin_family = AF_INET };
	int fd;

	if (connect_to_self((struct sockaddr *)&vm, sizeof(vm)) < 0)
		return 1;
	fd = connect_to_self((struct sockaddr *)&in, sizeof(in));
	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3) ||
	    setsockopt(fd, SOL_TLS, TLS_TX, &key, sizeof(key))) {
		perror("tls");
		return 1;
	}
	return 0;
}

/* More than a small disk holds. */
static int megabytes(void)
{
	static char line[1024];

	memset(line, 'x', sizeof(line) - 2);
	line[sizeof(line) - 2] = '\n';
	for (int i = 0; i < 6 * 1024; i++)
		printf("%s", line);
	return 0;
}

static int flood(void)
{
	for (int i = 0; i < 8000; i++)
		printf("line %d of very much output\n", i);
	return 0;
}

static void __attribute__((noreturn)) hang(void)
{
	printf("going to sleep\n");
	fflush(stdout);
	for (;;)
		pause();
}

static void __attribute__((noreturn)) chatter(void)
{
	setlinebuf(stdout);
	for (;;) {
		printf("still here\n");
		usleep(100000);
	}
}

/* ---- Breaking the kernel -------------------------------------------------------------------- */

/*
 * A real oops and a real lockup, on a kernel that has no module for it: QEMU's firmware interface
 * can copy a file of the host's (-fw_cfg name=opt/code,file=...) to any physical address, so it
 * puts machine code over a system call.
 */
#define FW_CFG_SELECTOR 0x510
#define FW_CFG_DATA	0x511
#define FW_CFG_DMA	0x514
#define FW_CFG_FILE_DIR 0x19

struct fw_cfg_file {
	uint32_t size;
	uint16_t select;
	uint16_t reserved;
	char name[56];
};

struct fw_cfg_dma {
	uint32_t control;
	uint32_t length;
	uint64_t address;
};

static void __attribute__((noreturn)) give_up(const char *what)
{
	perror(what);
	exit(99);
}

static void read_fw_cfg(void *to, size_t len)
{
	for (uint8_t *p = to; len--; p++)
		*p = inb(FW_CFG_DATA);
}

static struct fw_cfg_file find_fw_cfg_file(const char *name)
{
	struct fw_cfg_file file;
	uint32_t count;

	outw(FW_CFG_FILE_DIR, FW_CFG_SELECTOR);
	read_fw_cfg(&count, sizeof(count));
	for (count = be32toh(count); count; count--) {
		read_fw_cfg(&file, sizeof(file));
		if (!strcmp(file.name, name))
			return file;
	}
	give_up(name);
}

/* The first number on the line of `path` that ends with `name`: an address. */
static uint64_t address_in(const char *path, const char *name)
{
	FILE *f = fopen(path, "r");
	unsigned long long address;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strlen(line) < strlen(name) ||
		    strcmp(line + strlen(line) - strlen(name), name) ||
		    sscanf(line, " %llx", &address) != 1 || !address)
			continue;
		fclose(f);
		return address;
	}
	give_up(name);
}

static uint64_t physical_address(const void *p)
{
	const long page = sysconf(_SC_PAGESIZE);
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;

	if (pread(fd, &entry, sizeof(entry), (uintptr_t)p / page * sizeof(entry)) != sizeof(entry))
		give_up("pagemap");
	close(fd);
	return (entry & ((1ULL << 55) - 1)) * page + (uintptr_t)p % page;
}

static void overwrite_syscall(const char *symbol)
{
	struct fw_cfg_file code;
	struct fw_cfg_dma *dma;
	uint64_t to, at;

	write_to("/proc/sys/kernel/kptr_restrict", "0");
	to = address_in("/proc/kallsyms", symbol) - address_in("/proc/kallsyms", " _text") +
	     address_in("/proc/iomem", "Kernel code");
	dma = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
	if (dma == MAP_FAILED || ioperm(FW_CFG_SELECTOR, 12, 1))
		give_up("firmware interface");
	code = find_fw_cfg_file("opt/code");
	dma->control = htobe32((uint32_t)be16toh(code.select) << 16 | 1 << 3 | 1 << 1);
	dma->length = code.size;
	dma->address = htobe64(to);
	at = physical_address(dma);
	outl(htobe32(at >> 32), FW_CFG_DMA);
	outl(htobe32((uint32_t)at), FW_CFG_DMA + 4);
}

/* getppid(), since that is not what anybody else in the guest calls. */
static int break_kernel(void)
{
	overwrite_syscall(" __x64_sys_getppid");
	write_to("/dev/kmsg", "guest: about to call it");
	return syscall(SYS_getppid) == -2;
}

/* The first process ends if its code does: writing to the memory of others is root's right. */
static int kill_init(void)
{
	uint64_t entry = address_in("/proc/1/maps", "/init");
	char zeros[65536] = {};
	int fd = open("/proc/1/mem", O_RDWR);

	/* From its second page on: the first holds no code. */
	for (int i = 1; i < 40; i++)
		if (pwrite(fd, zeros, sizeof(zeros), entry + i * sizeof(zeros)) < 0)
			break;
	printf("it is about to notice\n");
	fflush(stdout);
	sleep(5);
	return 0;
}

/* Real-time threads leave nobody else a processor, but interrupts still come. */
static void __attribute__((noreturn)) starve(void)
{
	struct sched_param max = { .sched_priority = 99 };

	write_to("/proc/sys/kernel/sched_rt_runtime_us", "-1");
	for (long i = sysconf(_SC_NPROCESSORS_ONLN); i > 1; i--)
		if (!fork())
			break;
	sched_setscheduler(0, SCHED_FIFO, &max);
	for (;;)
		;
}

/* A run's results, as far as vmtest.sh looks at them: what the last argument calls for. */
static void write_results(const char *path, const char *what)
{
	FILE *f = strcmp(what, "lose-results") ? fopen(path, "w") : NULL;

	if (!f)
		return;
	fprintf(f,
		"{ \"success_subtest\": %d, \"failed_subtest\": 0, \"skipped\": 0, \"kernel\": \"K\",\n"
		"  \"results\": [{ \"name\": \"guest\", \"subtests\": [{ \"name\": \"ran\", \"verdict\": \"pass\" }] }] }\n",
		strcmp(what, "run-nothing") != 0);
	fclose(f);
}

static bool is_of_files(const char *arg)
{
	return !strcmp(arg, "--expect") || !strcmp(arg, "-o") || !strcmp(arg, "--durations");
}

static bool is_in_one_word(const char *arg)
{
	return !strncmp(arg, "-j", 2) || !strncmp(arg, "-w", 2) ||
	       !strncmp(arg, "--io-timeout=", strlen("--io-timeout="));
}

/* The first that vmtest.sh has not put in front, nor is it of files. */
static const char *first_argument(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-J"))
			write_results(argv[++i], argv[argc - 1]);
		else if (is_of_files(argv[i]))
			i++;
		else if (!is_in_one_word(argv[i]))
			return argv[i];
	}
	return "";
}

int main(int argc, char **argv)
{
	const char *what = first_argument(argc, argv);

	printf("guest: %s\n", what);
	if (!strncmp(what, "exit=", 5))
		return atoi(what + 5);
	if (!strcmp(what, "args"))
		return show_args(argc, argv);
	if (!strcmp(what, "show")) {
		while (strcmp(*argv, "show"))
			argv++, argc--;
		return show(argc - 1, argv + 1);
	}
	if (!strcmp(what, "write"))
		return write_file(argv[argc - 2], argv[argc - 1]);
	if (!strcmp(what, "use-modules"))
		return use_modules();
	if (!strcmp(what, "megabytes"))
		return megabytes();
	if (!strcmp(what, "copy"))
		return copy_file(argv[argc - 3] + 1, argv[argc - 1]);
	if (!strncmp(what, "kmsg=", 5)) {
		write_to("/dev/kmsg", argv[argc - 1]);
		return atoi(what + 5);
	}
	if (!strcmp(what, "annotate")) {
		printf("::error title=guest::it fails\n");
		return 1;
	}
	if (!strcmp(what, "forge"))
		return forge();
	if (!strcmp(what, "messy"))
		return messy_output();
	if (!strcmp(what, "flood"))
		return flood();
	if (!strcmp(what, "hang"))
		hang();
	if (!strcmp(what, "chatter"))
		chatter();
	if (!strcmp(what, "closed")) {
		fclose(stdout);
		fclose(stderr);
		sleep(1);
		return 0;
	}
	fflush(stdout);
	if (!strcmp(what, "segfault"))
		raise(SIGSEGV);
	if (!strcmp(what, "break"))
		return break_kernel();
	if (!strcmp(what, "kill-init"))
		return kill_init();
	if (!strcmp(what, "starve"))
		starve();
	if (!strcmp(what, "panic"))
		write_to("/proc/sysrq-trigger", "c");
	if (!strcmp(what, "restart"))
		reboot(RB_AUTOBOOT);
	return 0;
}
