// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/kmemleak.h"
#include "harness/knob.h"
#include "network_helpers.h"

#define PATH "/sys/kernel/debug/kmemleak"

/* Below the age of five seconds kmemleak suspects nothing. */
#define MIN_AGE_S 6

/* Two readings of both clocks, from which the frequency of the kernel's follows. */
struct clocks {
	uint64_t jiffies; /* 0: this kernel does not show them */
	uint64_t ns;
};

static struct clocks first, last;

static int ask(const char *command)
{
	return write_knob(PATH, command);
}

static struct clocks read_clocks(void)
{
	FILE *file = fopen("/proc/timer_list", "re");
	struct clocks clocks = {};
	unsigned long long jiffies;
	char line[256];

	while (file && !clocks.jiffies && fgets(line, sizeof(line), file)) {
		if (sscanf(line, " jiffies: %llu", &jiffies) == 1)
			clocks = (struct clocks){ .jiffies = jiffies, .ns = now_ns() };
	}
	if (file)
		fclose(file);
	return clocks;
}

/* The first scan takes checksums, and the second suspects whatever has kept its own. */
bool kmemleak_begin(void)
{
	first = read_clocks();
	return !(ask("scan") ?: ask("scan") ?: ask("clear"));
}

static char *read_all(void)
{
	FILE *file = fopen(PATH, "re");
	char *text = NULL;
	size_t size = 0;
	ssize_t n = file ? getdelim(&text, &size, '\0', file) : -1;

	if (file)
		fclose(file);
	if (n > 0)
		return text;
	free(text);
	return NULL;
}

/* Who points to an object while it is looked for may be missed: a third scan looks once more. */
int kmemleak_find(char **text)
{
	int err;

	*text = NULL;
	sleep(MIN_AGE_S);
	err = ask("scan") ?: ask("scan") ?: ask("scan");
	if (err)
		return err;
	last = read_clocks();
	*text = read_all();
	return 0;
}

/* comm "NAME", pid 812, jiffies 4294914345: the name may be whatever its owner likes. */
static void parse_origin(struct lost_object *object)
{
	const char *line = strstr(object->text, "comm \""), *p = line, *pid = NULL;

	while (line && (p = strstr(p, "\", pid ")) && p < line + strcspn(line, "\n"))
		pid = p++;
	if (pid)
		sscanf(pid, "\", pid %d, jiffies %" SCNu64, &object->pid, &object->jiffies);
}

bool kmemleak_next(const char **text, struct lost_object *object)
{
	static const char head[] = "unreferenced object";
	const char *start = strstr(*text, head), *end;

	if (!start)
		return false;
	end = strstr(start + 1, head) ?: start + strlen(start);
	*object = (struct lost_object){ .text = strndup(start, end - start) };
	if (object->text)
		parse_origin(object);
	*text = end;
	return true;
}

uint64_t kmemleak_when(const struct lost_object *object)
{
	double ns_per_jiffy;

	if (!first.jiffies || last.jiffies <= first.jiffies || object->jiffies > last.jiffies)
		return 0;
	ns_per_jiffy = (double)(last.ns - first.ns) / (double)(last.jiffies - first.jiffies);
	return last.ns - (uint64_t)(ns_per_jiffy * (double)(last.jiffies - object->jiffies));
}
