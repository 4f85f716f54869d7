// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/expect.h"
#include "harness/lines.h"

struct parser {
	struct lines lines;
	struct expect *expect;
	bool in_block;
	char *error;
	size_t size;
};

static bool fault(struct parser *p, unsigned int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static bool fault(struct parser *p, unsigned int line, const char *fmt, ...)
{
	int used = snprintf(p->error, p->size, "%s:%u: ", p->expect->path, line);
	va_list ap;

	va_start(ap, fmt);
	if (used >= 0 && (size_t)used < p->size)
		vsnprintf(p->error + used, p->size - used, fmt, ap);
	va_end(ap);
	return false;
}

/* Room for one more, at the end of the array. */
static void *grow(void *array, unsigned int *nr, size_t size)
{
	char *room = reallocarray(array, *nr + 1, size);

	if (!room)
		abort(); /* a few bytes, before anything runs */
	memset(room + *nr * size, 0, size);
	++*nr;
	return room;
}

static char *copy(const char *text)
{
	char *string = strdup(text);

	if (!string)
		abort();
	return string;
}

/* ---- Values ---------------------------------------------------------------------------------- */

struct key {
	const char *name;
	bool (*add)(struct parser *p, const struct key *key, char *value);
	size_t offset; /* of what it sets in its block */
};

static struct expect_block *latest_block(const struct parser *p)
{
	return &p->expect->blocks[p->expect->nr_blocks - 1];
}

static void *field(const struct parser *p, const struct key *key)
{
	return (char *)latest_block(p) + key->offset;
}

static bool add_text(struct parser *p, const struct key *key, char *value)
{
	char **text = field(p, key);

	if (*text)
		return fault(p, p->lines.number,
			     "a second \"%s:\" in a block; a blank line ends it", key->name);
	/* What a draft leaves open. */
	if (*value == '?')
		return fault(p, p->lines.number, "\"%s: %s\" is still to be filled in", key->name,
			     value);
	*text = copy(value);
	return true;
}

static bool add_name(struct parser *p, const struct key *key, char *value)
{
	struct expect_block *block = latest_block(p);
	struct name_glob glob;
	const char *wrong = name_glob_parse(&glob, value, false);

	if (wrong)
		return fault(p, p->lines.number, "\"%s\" is no pattern: %s", value, wrong);
	block->names = grow(block->names, &block->nr_names, sizeof(*block->names));
	block->names[block->nr_names - 1] = (struct expect_name){
		.glob = glob,
		.text = copy(value),
		.line = p->lines.number,
		.norun = strcmp(key->name, "norun") == 0,
	};
	return true;
}

static bool add_regex(struct parser *p, const struct key *key, char *value)
{
	struct expect_regexes *regexes = field(p, key);
	regex_t regex;
	char text[256];
	int err = regcomp(&regex, value, REG_EXTENDED | REG_NOSUB);

	if (err) {
		regerror(err, &regex, text, sizeof(text));
		return fault(p, p->lines.number, "\"%s\" is no regular expression: %s", value,
			     text);
	}
	regexes->list = grow(regexes->list, &regexes->nr, sizeof(*regexes->list));
	regexes->list[regexes->nr - 1] = regex;
	return true;
}

static const struct key keys[] = {
	{ "fix", add_text, offsetof(struct expect_block, fix) },
	{ "fixed", add_text, offsetof(struct expect_block, fixed) },
	{ "why", add_text, offsetof(struct expect_block, why) },
	{ "fail", add_name, 0 },
	{ "norun", add_name, 0 },
	{ "says", add_regex, offsetof(struct expect_block, says) },
	{ "splat", add_regex, offsetof(struct expect_block, splats) },
};

/* ---- Lines and blocks ------------------------------------------------------------------------ */

static const struct key *find_key(const char *name)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	}
	return NULL;
}

static void begin_block(struct parser *p)
{
	struct expect *e = p->expect;

	if (p->in_block)
		return;
	e->blocks = grow(e->blocks, &e->nr_blocks, sizeof(*e->blocks));
	latest_block(p)->line = p->lines.number;
	p->in_block = true;
}

static bool end_block(struct parser *p)
{
	const struct expect_block *block;

	if (!p->in_block)
		return true;
	p->in_block = false;
	block = latest_block(p);
	if (!block->fix)
		return fault(p, block->line, "a block without \"fix:\"");
	if (!block->why)
		return fault(p, block->line, "a block without \"why:\"");
	if (!block->nr_names)
		return fault(p, block->line, "a block with neither \"fail:\" nor \"norun:\"");
	return true;
}

static bool parse_line(struct parser *p, char *text)
{
	char *colon = strchr(text, ':');
	const struct key *key;
	char *value;

	if (*text == '#')
		return true;
	if (*text == '\0')
		return end_block(p);
	if (!colon)
		return fault(p, p->lines.number, "\"%s\" is not of the form \"KEY: VALUE\"", text);
	*colon = '\0';
	key = find_key(text);
	if (!key)
		return fault(p, p->lines.number,
			     "\"%s\" is no key: fix, fixed, why, fail, norun, says, splat", text);
	value = strip_blanks(colon + 1);
	if (*value == '\0')
		return fault(p, p->lines.number, "\"%s:\" without a value", text);
	begin_block(p);
	return key->add(p, key, value);
}

static bool parse_file(struct parser *p)
{
	const char *path = p->expect->path;
	int more, err = lines_open(&p->lines, path);
	bool ok = true;

	if (err) {
		snprintf(p->error, p->size, "cannot read %s: %s", path, strerror(-err));
		return false;
	}
	while (ok && (more = lines_next(&p->lines, p->error, p->size)) != 0)
		ok = more > 0 && parse_line(p, p->lines.text);
	ok = ok && end_block(p);
	lines_close(&p->lines);
	if (ok && p->expect->nr_blocks == 0) {
		snprintf(p->error, p->size, "%s holds no known failure", path);
		return false;
	}
	return ok;
}

/* ---- Finding the file ------------------------------------------------------------------------ */

bool expect_is_for(const char *name, const char *release)
{
	size_t len = strlen(name);

	return len && strncmp(name, release, len) == 0 && strchr(".-+", release[len]);
}

/* NULL: none is for this release. */
static char *find_in(DIR *dir, const char *path, const char *release)
{
	struct dirent *entry;
	char *best = NULL;
	size_t best_len = 0;

	while ((entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (len <= best_len || !expect_is_for(entry->d_name, release))
			continue;
		free(best);
		best_len = len;
		if (asprintf(&best, "%s/%s", path, entry->d_name) < 0)
			abort();
	}
	return best;
}

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool find_file(struct expect *expect, const char *path, const char *release, char *error,
		      size_t size)
{
	DIR *dir;

	if (!is_directory(path)) {
		expect->path = copy(path);
		return true;
	}
	dir = opendir(path);
	if (!dir) {
		snprintf(error, size, "cannot read %s: %s", path, strerror(errno));
		return false;
	}
	expect->path = find_in(dir, path, release);
	closedir(dir);
	return true;
}

struct expect *expect_load(const char *path, const char *release, char *error, size_t size)
{
	struct parser p = {
		.expect = calloc(1, sizeof(*p.expect)),
		.error = error,
		.size = size,
	};

	if (!p.expect)
		abort();
	if (find_file(p.expect, path, release, error, size) && (!p.expect->path || parse_file(&p)))
		return p.expect;
	expect_free(p.expect);
	return NULL;
}

static void free_regexes(struct expect_regexes *regexes)
{
	for (unsigned int i = 0; i < regexes->nr; i++)
		regfree(&regexes->list[i]);
	free(regexes->list);
}

static void free_block(struct expect_block *block)
{
	for (unsigned int i = 0; i < block->nr_names; i++) {
		name_glob_free(&block->names[i].glob);
		free(block->names[i].text);
	}
	free(block->names);
	free_regexes(&block->says);
	free_regexes(&block->splats);
	free(block->fix);
	free(block->fixed);
	free(block->why);
}

void expect_free(struct expect *expect)
{
	if (!expect)
		return;
	for (unsigned int i = 0; i < expect->nr_blocks; i++)
		free_block(&expect->blocks[i]);
	free(expect->blocks);
	free(expect->path);
	free(expect);
}

/* ---- Matching -------------------------------------------------------------------------------- */

bool expect_has(const struct expect_block *block, bool norun, const char *test, const char *subtest,
		const char *alias)
{
	for (unsigned int i = 0; i < block->nr_names; i++) {
		const struct expect_name *name = &block->names[i];

		if (name->norun == norun && name_glob_matches(&name->glob, test, subtest, alias))
			return true;
	}
	return false;
}

static bool any_matches(const struct expect_regexes *regexes, const char *text)
{
	for (unsigned int i = 0; i < regexes->nr; i++) {
		if (regexec(&regexes->list[i], text, 0, NULL, 0) == 0)
			return true;
	}
	return false;
}

bool expect_says(const struct expect_block *block, const char *text)
{
	if (block->says.nr == 0 && block->splats.nr == 0)
		return true;
	return any_matches(&block->says, text);
}

bool expect_splat(const struct expect_block *block, const char *message)
{
	return any_matches(&block->splats, message);
}
