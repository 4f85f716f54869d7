// SPDX-License-Identifier: GPL-2.0-only
/* The process, and what comes out of it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vm/watch.h"

#define LEAVE_KEY 0x1d	     /* C-] */
#define LOG_MAX	  (32 << 20) /* bytes of a log, and at least so many of its end: */
#define LOG_END	  (4 << 20)

static const char *const port_names[NR_PORTS] = { "console", "control", "tests", "monitor" };

/* ---- Starting -------------------------------------------------------------------------------- */

static char **with_chardevs(char **command, const int fds[NR_PORTS])
{
	size_t nr = 0;
	char **all;

	while (command[nr])
		nr++;
	all = calloc(nr + 2 * NR_PORTS + 1, sizeof(*all));
	if (!all)
		return NULL;
	memcpy(all, command, nr * sizeof(*all));
	for (int i = 0; i < NR_PORTS; i++) {
		all[nr++] = strdup("-chardev");
		if (asprintf(&all[nr++], "socket,id=%s,fd=%d", port_names[i], fds[i]) < 0)
			return NULL;
	}
	return all;
}

static void __attribute__((noreturn)) exec_qemu(struct run *run, pid_t parent, const int fds[])
{
	char **command = with_chardevs(run->options.qemu, fds);
	int log = open(log_path(run, "qemu.log"), O_WRONLY | O_CREAT | O_TRUNC, 0644);
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	/* It must not outlive us, not even if we are killed; nor if we already have been. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || !command || log < 0 || null < 0)
		_exit(126);
	/* The terminal's Ctrl-C is for us, who will tell QEMU. */
	setpgid(0, 0);
	dup2(null, STDIN_FILENO);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	execvp(command[0], command);
	dprintf(STDERR_FILENO, "%s: %s\n", command[0], strerror(errno));
	_exit(127);
}

/*
 * QEMU writes the console byte by byte, each of which takes the room of a packet: a socket as it is
 * has hardly 300 of them, and a kernel which gets none for 10 ms goes on without what it wrote. So
 * allow for as much as this process may be late.
 */
static void make_room(int fd)
{
	const int size = 16 << 20;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

int qemu_start(struct run *run)
{
	pid_t parent = getpid();
	int theirs[NR_PORTS];

	for (int i = 0; i < NR_PORTS; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
			return -errno;
		fcntl(pair[0], F_SETFD, FD_CLOEXEC);
		make_room(pair[1]);
		run->ports[i].fd = pair[0];
		theirs[i] = pair[1];
	}
	run->qemu = fork();
	if (run->qemu < 0)
		return -errno;
	if (!run->qemu)
		exec_qemu(run, parent, theirs);
	for (int i = 0; i < NR_PORTS; i++)
		close(theirs[i]);
	return 0;
}

/* ---- Ending ---------------------------------------------------------------------------------- */

void qemu_reap(struct run *run)
{
	int status;

	if (!run->qemu || waitpid(run->qemu, &status, WNOHANG) != run->qemu)
		return;
	run->qemu = 0;
	run->qemu_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Whoever reads our output may be slow, but gets all of it; one who has stopped has the log. */
void flush_copies(struct run *run)
{
	uint64_t patience_ms = 10000, since = now_ms();
	size_t before = SIZE_MAX, left;

	do {
		left = 0;
		for (int i = 0; i < NR_PORTS; i++)
			left += run->ports[i].unsent.len;
		if (left < before)
			since = now_ms();
		before = left;
		if (left)
			pump(run, 500);
	} while (left && run->outcome != OUTCOME_INTERRUPTED && now_ms() - since < patience_ms);
}

static bool is_open(const struct run *run)
{
	for (int i = 0; i < NR_PORTS; i++)
		if (run->ports[i].fd >= 0)
			return true;
	return false;
}

void qemu_stop(struct run *run, unsigned int patience_ms)
{
	uint64_t until = now_ms() + patience_ms;

	while (run->qemu && now_ms() < until)
		pump(run, 50);
	if (run->qemu) {
		kill(run->qemu, SIGKILL);
		waitpid(run->qemu, NULL, 0);
		run->qemu = 0;
		run->qemu_code = -1;
	}
	/* What it had said before, as long as some of that comes; a slow reader may hold it up. */
	run->progress_ms = now_ms();
	until = now_ms() + 10000;
	while (is_open(run) && now_ms() < until && now_ms() < run->progress_ms + 2000)
		pump(run, 50);
}

/* ---- The ports ------------------------------------------------------------------------------- */

/* The end of the last chunk is kept, for a text that is cut in two. */
static bool has_text(const struct buffer *window, const char *text)
{
	return memmem(window->data, window->len, text, strlen(text));
}

static void look_at_console(struct run *run, const char *data, size_t len)
{
	static struct buffer window;

	buffer_append(&window, data, len);
	run->spoke |= has_text(&window, "Linux version");
	run->panicked |= has_text(&window, "Kernel panic - not syncing");
	if (window.len > 64)
		buffer_drop(&window, window.len - 64);
}

void log_bytes(struct run *run, struct port *port, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(port->log_fd, data, len);

		if (n < 0) {
			snprintf(run->unwritten, sizeof(run->unwritten), "the logs in %s: %s",
				 run->options.dir, strerror(errno));
			if (!run->outcome)
				run->outcome = OUTCOME_UNWRITTEN;
			return;
		}
		data += n;
		len -= n;
		port->logged += n;
	}
}

/* Half of what is kept for the end of a log; of what the kernel says, splats stay. */
static void leave_out_half(struct run *run, struct port *port)
{
	size_t len = port->end.len / 2;
	char *line_end = memchr(port->end.data + len, '\n', port->end.len - len);

	if (line_end)
		len = line_end + 1 - port->end.data;
	if (port == &run->ports[CONSOLE]) {
		struct buffer text = {};

		buffer_append(&text, port->end.data, len);
		buffer_blank_nuls(&text);
		if (port->logged < 2 * LOG_MAX)
			save_messages(run, port, text.data);
		buffer_free(&text);
	}
	buffer_drop(&port->end, len);
	port->left_out += len;
}

/* The beginning and the end: a guest that never stops to talk would fill the disk. */
static void log_beginning_and_end(struct run *run, struct port *port, const char *data, size_t len)
{
	if (!port->end.len && port->logged + len <= LOG_MAX) {
		log_bytes(run, port, data, len);
		return;
	}
	buffer_append(&port->end, data, len);
	if (port->end.len > 2 * LOG_END)
		leave_out_half(run, port);
}

void flush_logs(struct run *run)
{
	char note[100];

	for (int i = 0; i < NR_PORTS; i++) {
		struct port *port = &run->ports[i];

		if (port->left_out) {
			snprintf(note, sizeof(note),
				 "\n---- vmtest: %zu bytes are left out here ----\n",
				 port->left_out);
			log_bytes(run, port, note, strlen(note));
			say("%zu bytes of a log in %s are left out", port->left_out,
			    run->options.dir);
		}
		if (port->end.len)
			log_bytes(run, port, port->end.data, port->end.len);
		buffer_free(&port->end);
		port->left_out = port->logged = 0;
	}
}

static void take_bytes(struct run *run, enum port_id id, const char *data, size_t len)
{
	struct port *port = &run->ports[id];

	run->progress_ms = now_ms();
	if (port->log_fd >= 0)
		log_beginning_and_end(run, port, data, len);
	if (port->copy_fd >= 0)
		buffer_append(&port->unsent, data, len);
	if (id == CONSOLE)
		look_at_console(run, data, len);
	else if (id == CONTROL)
		control_receive(run, data, len);
	else if (id == MONITOR)
		buffer_append(&run->monitor_text, data, len);
}

static void read_port(struct run *run, enum port_id id)
{
	struct port *port = &run->ports[id];
	char chunk[16384];
	ssize_t n = recv(port->fd, chunk, sizeof(chunk), MSG_DONTWAIT);

	if (n > 0) {
		take_bytes(run, id, chunk, n);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		close(port->fd);
		port->fd = -1;
	}
}

/* As much as a pipe surely takes without blocking. A reader that has gone is no loss to us. */
static void send_copy(struct port *port)
{
	size_t len = port->unsent.len < 4096 ? port->unsent.len : 4096;
	ssize_t n = write(port->copy_fd, port->unsent.data, len);

	if (n > 0)
		buffer_drop(&port->unsent, n);
	else if (errno != EINTR && errno != EAGAIN)
		port->copy_fd = -1;
	if (port->copy_fd < 0)
		buffer_free(&port->unsent);
}

/* ---- Everything that can happen -------------------------------------------------------------- */

static void read_signals(struct run *run)
{
	struct signalfd_siginfo info;

	while (read(run->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			qemu_reap(run);
		else
			run->outcome = OUTCOME_INTERRUPTED;
	}
}

static void read_terminal(struct run *run)
{
	char keys[256];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n <= 0 || memchr(keys, LEAVE_KEY, n)) {
		run->outcome = OUTCOME_LEFT;
		return;
	}
	if (send(run->ports[TESTS].fd, keys, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
		run->outcome = OUTCOME_DIED;
}

/*
 * A port whose reader is slow is not read, and so the guest waits at some point; that is no fault
 * of the guest, and progress.
 */
static int fill_pollfds(struct run *run, struct pollfd *fds)
{
	for (int i = 0; i < NR_PORTS; i++) {
		struct port *port = &run->ports[i];
		bool slow = port->unsent.len > 65536;

		if (slow)
			run->progress_ms = now_ms();
		fds[i] = (struct pollfd){ slow ? -1 : port->fd, POLLIN, 0 };
		fds[NR_PORTS + i] =
			(struct pollfd){ port->unsent.len ? port->copy_fd : -1, POLLOUT, 0 };
	}
	fds[2 * NR_PORTS] = (struct pollfd){ run->signal_fd, POLLIN, 0 };
	fds[2 * NR_PORTS + 1] =
		(struct pollfd){ run->options.terminal && !run->outcome ? STDIN_FILENO : -1, POLLIN,
				 0 };
	return 2 * NR_PORTS + 2;
}

void pump(struct run *run, int timeout_ms)
{
	struct pollfd fds[2 * NR_PORTS + 2];

	if (poll(fds, fill_pollfds(run, fds), timeout_ms) < 0)
		return;
	for (int i = 0; i < NR_PORTS; i++) {
		if (fds[i].revents)
			read_port(run, i);
		if (fds[NR_PORTS + i].revents)
			send_copy(&run->ports[i]);
	}
	if (fds[2 * NR_PORTS].revents)
		read_signals(run);
	if (fds[2 * NR_PORTS + 1].revents)
		read_terminal(run);
	if (!run->qemu && !is_open(run) && !run->outcome)
		run->outcome = OUTCOME_DIED;
}

void monitor_command(struct run *run, const char *command)
{
	struct port *port = &run->ports[MONITOR];

	if (port->fd < 0)
		return;
	send(port->fd, command, strlen(command), MSG_NOSIGNAL | MSG_DONTWAIT);
	send(port->fd, "\n", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}
