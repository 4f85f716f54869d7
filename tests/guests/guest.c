// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stands in for test_progs in the tests of vmtest.sh: does what its first argument says.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_NOCTTY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		perror(path);
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

	printf("%s", text);
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

/* The first that is neither -jN nor "-J FILE", which vmtest.sh puts in front. */
static const char *first_argument(int argc, char **argv)
{
	int i = 1;

	while (i < argc && !strncmp(argv[i], "-j", 2))
		i++;
	if (i + 1 < argc && !strcmp(argv[i], "-J"))
		i += 2;
	while (i < argc && !strncmp(argv[i], "-j", 2))
		i++;
	return i < argc ? argv[i] : "";
}

int main(int argc, char **argv)
{
	const char *what = first_argument(argc, argv);

	printf("guest: %s\n", what);
	if (!strncmp(what, "exit=", 5))
		return atoi(what + 5);
	if (!strcmp(what, "args"))
		return show_args(argc, argv);
	if (!strcmp(what, "copy"))
		return copy_file(argv[argc - 3] + 1, argv[argc - 1]);
	if (!strncmp(what, "kmsg=", 5)) {
		write_to("/dev/kmsg", argv[argc - 1]);
		return atoi(what + 5);
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
	if (!strcmp(what, "panic"))
		write_to("/proc/sysrq-trigger", "c");
	if (!strcmp(what, "restart"))
		reboot(RB_AUTOBOOT);
	return 0;
}
