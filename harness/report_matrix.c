// SPDX-License-Identifier: GPL-2.0-only
/*
 * The redirect matrix: for each hook and direction a grid with the kinds of sockets that data comes
 * from, by those it is redirected to, and what the kernel was seen to do with it. As text, or in
 * Markdown, of which the source reads well, too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness/output.h"
#include "harness/report.h"
#include "network_helpers.h"

/* Of the subtests that failed, so many are quoted. */
#define QUOTES_MAX 10

/* Follows what was seen in a test that failed. */
#define FAILED "!"

static const struct style {
	enum format format;
	const char *title, *subtitle, *item; /* in front of them */
	const char *quote;		     /* around a word of them */
	const char *left, *between, *right;  /* of the columns */
	bool rule;			     /* between the head of a table and its body */
} styles[] = {
	{ FORMAT_MATRIX, "", "", "  ", "", "  ", "  ", "", false },
	{ FORMAT_MATRIX_MD, "## ", "### ", "- ", "`", "| ", " | ", " |", true },
};

static struct output outputs[ARRAY_SIZE(styles)];

/* ---- Sets of words, in the order in which they came ------------------------------------------ */

struct words {
	char **word;
	unsigned int nr;
};

static char *copy(const char *text)
{
	char *string = strdup(text);

	if (!string)
		abort();
	return string;
}

static bool words_have(const struct words *words, const char *word)
{
	for (unsigned int i = 0; i < words->nr; i++) {
		if (strcmp(words->word[i], word) == 0)
			return true;
	}
	return false;
}

static void words_add(struct words *words, const char *word)
{
	char **longer;

	if (words_have(words, word))
		return;
	longer = reallocarray(words->word, words->nr + 1, sizeof(*longer));
	if (!longer)
		abort();
	words->word = longer;
	words->word[words->nr++] = copy(word);
}

static void words_free(struct words *words)
{
	for (unsigned int i = 0; i < words->nr; i++)
		free(words->word[i]);
	free(words->word);
	*words = (struct words){};
}

#define __auto_words __attribute__((cleanup(words_free)))

/* ---- Cells ----------------------------------------------------------------------------------- */

struct cell {
	const char *hook, *direction, *in, *out;
};

static bool cell_of(const struct subtest *sub, struct cell *cell)
{
	const char *variant = subtest_get_dim(sub, "variant");

	*cell = (struct cell){
		.hook = subtest_get_dim(sub, "hook"),
		.direction = subtest_get_dim(sub, "direction"),
		.in = subtest_get_dim(sub, "in"),
		.out = subtest_get_dim(sub, "out"),
	};
	return cell->hook && cell->direction && cell->in && cell->out &&
	       (!variant || strcmp(variant, "plain") == 0);
}

bool is_matrix_cell(const struct subtest *sub)
{
	struct cell cell;

	return cell_of(sub, &cell);
}

static bool same_grid(const struct cell *a, const struct cell *b)
{
	return strcmp(a->hook, b->hook) == 0 && strcmp(a->direction, b->direction) == 0;
}

static bool same_cell(const struct cell *a, const struct cell *b)
{
	return same_grid(a, b) && strcmp(a->in, b->in) == 0 && strcmp(a->out, b->out) == 0;
}

/* What was seen. */
static const char *outcome(const struct result *r)
{
	switch (r->verdict) {
	case VERDICT_PASS:
		return r->observed && *r->observed ? r->observed : "passed";
	case VERDICT_FAIL:
	case VERDICT_XFAIL:
		return r->observed && *r->observed ? r->observed : "failed";
	case VERDICT_SKIP:
		return "-";
	case VERDICT_NONE:
		break;
	}
	return "?";
}

static void add_outcome(const struct result *r, struct words *words, struct words *seen)
{
	bool failed = r->verdict == VERDICT_FAIL || r->verdict == VERDICT_XFAIL;
	char text[64];

	snprintf(text, sizeof(text), "%s%s", outcome(r), failed ? FAILED : "");
	words_add(words, text);
	words_add(seen, outcome(r));
	if (failed)
		words_add(seen, FAILED);
}

static char *join_words(const struct words *words)
{
	const char *slash = "";
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		abort();
	if (words->nr == 0)
		fputc('.', file);
	for (unsigned int i = 0; i < words->nr; i++) {
		/* What was skipped says nothing where something else was not. */
		if (words->nr > 1 && strcmp(words->word[i], "-") == 0)
			continue;
		fprintf(file, "%s%s", slash, words->word[i]);
		slash = "/";
	}
	fclose(file);
	return text;
}

/* One subtest or several, such as those of each type of map, which should agree. */
static char *cell_text(const struct plan *plan, const struct cell *cell, struct words *seen)
{
	struct words words __auto_words = {};

	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const struct plan_item *item = &plan->items[i];
		struct cell other;

		if (!item->selected || !cell_of(&item->subtest, &other) || !same_cell(cell, &other))
			continue;
		add_outcome(&item->result, &words, seen);
	}
	if (words.nr == 0)
		words_add(seen, ".");
	return join_words(&words);
}

/* ---- Tables ---------------------------------------------------------------------------------- */

struct table {
	unsigned int nr_rows, nr_columns;
	char **text; /* row by row */
};

static char **table_at(const struct table *t, unsigned int row, unsigned int column)
{
	return &t->text[row * t->nr_columns + column];
}

static void table_free(struct table *t)
{
	for (unsigned int i = 0; i < t->nr_rows * t->nr_columns; i++)
		free(t->text[i]);
	free(t->text);
}

static unsigned int column_width(const struct table *t, unsigned int column)
{
	unsigned int width = 3; /* the least that Markdown takes for a rule */

	for (unsigned int row = 0; row < t->nr_rows; row++) {
		size_t len = strlen(*table_at(t, row, column));

		width = len > width ? len : width;
	}
	return width;
}

/* The last column is padded only where something follows. */
static unsigned int padding(const struct table *t, unsigned int column, const struct style *style)
{
	return column + 1 < t->nr_columns || *style->right ? column_width(t, column) : 0;
}

static void put_rule(const struct table *t, FILE *out, const struct style *style)
{
	for (unsigned int c = 0; c < t->nr_columns; c++) {
		fputs(c ? style->between : style->left, out);
		for (unsigned int n = column_width(t, c); n > 0; n--)
			fputc('-', out);
	}
	fprintf(out, "%s\n", style->right);
}

static void put_table(const struct table *t, FILE *out, const struct style *style)
{
	for (unsigned int row = 0; row < t->nr_rows; row++) {
		for (unsigned int c = 0; c < t->nr_columns; c++)
			fprintf(out, "%s%-*s", c ? style->between : style->left,
				padding(t, c, style), *table_at(t, row, c));
		fprintf(out, "%s\n", style->right);
		if (row == 0 && style->rule)
			put_rule(t, out, style);
	}
	fputc('\n', out);
}

static struct table make_table(const struct words *rows, const struct words *columns)
{
	struct table t = { .nr_rows = rows->nr + 1, .nr_columns = columns->nr + 1 };

	t.text = calloc(t.nr_rows * t.nr_columns, sizeof(*t.text));
	if (!t.text)
		abort();
	*table_at(&t, 0, 0) = copy("in \\ out");
	for (unsigned int i = 0; i < rows->nr; i++)
		*table_at(&t, i + 1, 0) = copy(rows->word[i]);
	for (unsigned int i = 0; i < columns->nr; i++)
		*table_at(&t, 0, i + 1) = copy(columns->word[i]);
	return t;
}

static void put_grid(const struct plan *plan, const struct cell *grid, FILE *out,
		     const struct style *style, struct words *seen)
{
	struct words ins __auto_words = {}, outs __auto_words = {};
	struct cell cell;
	struct table t;

	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const struct plan_item *item = &plan->items[i];

		if (item->selected && cell_of(&item->subtest, &cell) && same_grid(grid, &cell)) {
			words_add(&ins, cell.in);
			words_add(&outs, cell.out);
		}
	}
	t = make_table(&ins, &outs);
	cell = *grid;
	for (unsigned int row = 0; row < ins.nr; row++) {
		cell.in = ins.word[row];
		for (unsigned int column = 0; column < outs.nr; column++) {
			cell.out = outs.word[column];
			*table_at(&t, row + 1, column + 1) = cell_text(plan, &cell, seen);
		}
	}
	fprintf(out, "%s%s, %s\n\n", style->subtitle, grid->hook, grid->direction);
	put_table(&t, out, style);
	table_free(&t);
}

static bool is_first_of_grid(const struct plan *plan, unsigned int n, const struct cell *grid)
{
	struct cell cell;

	for (unsigned int i = 0; i < n; i++) {
		const struct plan_item *item = &plan->items[i];

		if (item->selected && cell_of(&item->subtest, &cell) && same_grid(grid, &cell))
			return false;
	}
	return true;
}

static void put_grids(const struct plan *plan, FILE *out, const struct style *style,
		      struct words *seen)
{
	struct cell cell;

	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const struct plan_item *item = &plan->items[i];

		if (item->selected && cell_of(&item->subtest, &cell) &&
		    is_first_of_grid(plan, i, &cell))
			put_grid(plan, &cell, out, style, seen);
	}
}

/* ---- What the words mean --------------------------------------------------------------------- */

static const struct {
	const char *word, *meaning;
} meanings[] = {
	{ "delivered", "it arrived where it was redirected to, and nowhere else" },
	{ "dropped", "the send worked, and the data is nowhere" },
	{ "local", "no program was run, and it went its normal way" },
	{ "passed", "what the test looks for was seen" },
	{ "lost", "it was sent, and arrived nowhere" },
	{ "misdirected", "it arrived elsewhere" },
	{ "unready", "it arrived, and poll(2) did not say so" },
	{ "asleep", "it arrived, and the reader was not woken" },
	{ "spurious", "the reader was woken, and there was nothing" },
	{ "sent", "the send worked" },
	{ "let-in", "in.mapped got into the map" },
	{ "failed", "it went wrong in a way that has no word here" },
	{ FAILED, "not as it should be: the test failed" },
	{ "-", "not tried, as this kernel lacks what the test needs" },
	{ "?", "the test has not run" },
	{ ".", "no test, or none selected: where the map refuses in.mapped, one target is enough" },
};

static bool is_errno(const char *word)
{
	return *word == 'E';
}

static void put_errnos(FILE *out, const struct style *style, const struct words *seen)
{
	const char *comma = style->item;

	for (unsigned int i = 0; i < seen->nr; i++) {
		if (!is_errno(seen->word[i]))
			continue;
		fprintf(out, "%s%s%s%s", comma, style->quote, seen->word[i], style->quote);
		comma = ", ";
	}
	if (comma != style->item)
		fputs(": with this the send is refused, or before that in.mapped by the map\n",
		      out);
}

static void put_meanings(FILE *out, const struct style *style, const struct words *seen)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(meanings); i++) {
		if (words_have(seen, meanings[i].word))
			fprintf(out, "%s%s%s%s: %s\n", style->item, style->quote, meanings[i].word,
				style->quote, meanings[i].meaning);
	}
	put_errnos(out, style, seen);
}

/* A line with the two of them, in which nothing is taken for Markdown. */
static void put_quoted(FILE *out, const struct style *style, const char *head, const char *text)
{
	char *line = NULL;

	if (asprintf(&line, "%s%.*s", head, (int)strcspn(text, "\n"), text) < 0)
		abort();
	for (char *c = line; *style->quote && (c = strchr(c, *style->quote)); c++)
		*c = '\'';
	fprintf(out, "%s%s%s%s\n", style->item, style->quote, line, style->quote);
	free(line);
}

/* Why cells are what they are: each reason once. */
static void find_reasons(const struct plan *plan, enum verdict verdict, struct words *reasons)
{
	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const struct plan_item *item = &plan->items[i];
		const struct result *r = &item->result;

		if (!item->selected || r->verdict != verdict || !is_matrix_cell(&item->subtest))
			continue;
		if (verdict == VERDICT_SKIP && r->reason)
			words_add(reasons, r->reason);
		for (unsigned int k = 0; verdict == VERDICT_XFAIL && r->known[k]; k++)
			words_add(reasons, r->known[k]->fix);
	}
}

static void put_reasons(const struct plan *plan, FILE *out, const struct style *style,
			enum verdict verdict, const char *title)
{
	struct words reasons __auto_words = {};

	find_reasons(plan, verdict, &reasons);
	if (reasons.nr)
		fprintf(out, "\n%s\n\n", title);
	for (unsigned int i = 0; i < reasons.nr; i++)
		put_quoted(out, style, reasons.word[i], "");
}

static void put_failures(const struct plan *plan, FILE *out, const struct style *style)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < plan->nr_items; i++) {
		const struct plan_item *item = &plan->items[i];
		const char *reason = item->result.reason ?: "";
		char name[2 * SUBTEST_NAME_MAX];

		if (!item->selected || item->result.verdict != VERDICT_FAIL ||
		    !is_matrix_cell(&item->subtest) || nr++ >= QUOTES_MAX)
			continue;
		if (nr == 1)
			fputs("\nFailed:\n\n", out);
		snprintf(name, sizeof(name), "%s/%s: ", item->test->name, item->subtest.name);
		put_quoted(out, style, name, reason);
	}
	if (nr > QUOTES_MAX)
		fprintf(out, "%sand %u more\n", style->item, nr - QUOTES_MAX);
}

/* ---- The reporter ---------------------------------------------------------------------------- */

static void put_matrix(const struct run_info *info, FILE *out, const struct style *style)
{
	struct words seen __auto_words = {};

	fprintf(out, "%sLinux %s, %s\n\n", style->title, info->kernel, info->machine);
	put_grids(info->plan, out, style, &seen);
	put_meanings(out, style, &seen);
	put_reasons(info->plan, out, style, VERDICT_SKIP, "Lacking:");
	put_reasons(info->plan, out, style, VERDICT_XFAIL, "Known failures, by their fixes:");
	put_failures(info->plan, out, style);
}

static int matrix_begin(const struct run_info *info)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(styles); i++) {
		const char *path = info->options->output[styles[i].format];
		int err = path ? output_begin(&outputs[i], path) : 0;

		if (err)
			return err;
	}
	return 0;
}

static void matrix_round(const struct run_info *info)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(styles); i++) {
		if (outputs[i].path && info->round == 1)
			output_forget(&outputs[i]);
	}
}

static int write_matrix(const struct run_info *info, struct output *output,
			const struct style *style)
{
	FILE *out = output_open(output);
	int err = -EIO;

	if (out) {
		put_matrix(info, out, style);
		err = output_close(output, out);
	}
	output_end(output);
	return err;
}

static int matrix_end(const struct run_info *info)
{
	int first = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(styles); i++) {
		int err = outputs[i].path ? write_matrix(info, &outputs[i], &styles[i]) : 0;

		first = first ?: err;
	}
	return first;
}

const struct reporter report_matrix = {
	.begin = matrix_begin,
	.round = matrix_round,
	.end = matrix_end,
};
