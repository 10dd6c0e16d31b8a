// SPDX-License-Identifier: MIT
#include "cli/score_view.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/choice_text.h"
#include "cli/out.h"
#include "cli/report.h"
#include "cli/text.h"

bool cli_scores_add(cli_scores *s, size_t ending, const ink_choice *choice, const char *text,
                    size_t bytes) {
    if (s->n == s->cap) {
        const size_t cap = s->cap == 0 ? 64 : 2 * s->cap;
        cli_scored *grown = realloc(s->tokens, cap * sizeof *grown);
        if (grown == NULL) return false;
        s->tokens = grown;
        s->cap = cap;
    }
    cli_scored *t = &s->tokens[s->n];
    ink_logprob *top = malloc((choice->n_top + 1) * sizeof *top);
    *t = (cli_scored){ending, *choice, malloc(bytes + 1), bytes};
    if (top == NULL || t->text == NULL) {
        free(top);
        free(t->text);
        return false;
    }
    if (choice->n_top > 0) memcpy(top, choice->top, choice->n_top * sizeof *top);
    if (bytes > 0) memcpy(t->text, text, bytes);
    t->choice.top = top;
    s->n++;
    return true;
}

void cli_scores_free(cli_scores *s) {
    for (size_t i = 0; i < s->n; i++) {
        free((void *)(uintptr_t)s->tokens[i].choice.top);
        free(s->tokens[i].text);
    }
    free(s->tokens);
    *s = (cli_scores){0};
}

// --- colours ------------------------------------------------------------------------------------

// Pale backgrounds with black letters can be read on a dark terminal and on a light one.
static const struct {
    double least; // probability
    const char *color, *label;
} bands[] = {
    {0.5, "\x1b[38;5;16;48;5;194m", " 50 % "}, {0.1, "\x1b[38;5;16;48;5;229m", " 10 % "},
    {0.01, "\x1b[38;5;16;48;5;222m", " 1 % "}, {0.001, "\x1b[38;5;16;48;5;216m", " 0.1 % "},
    {0, "\x1b[38;5;16;48;5;210m", " less "},
};
enum { N_BANDS = sizeof bands / sizeof *bands };
static const char plain[] = "\x1b[0m", faint[] = "\x1b[2m";
static const char return_sign[] = "\xe2\x86\xb5", tab_sign[] = "\xe2\x86\x92";

static const char *color_of(double logprob) {
    size_t i = 0;
    while (i + 1 < N_BANDS && !(exp(logprob) >= bands[i].least)) i++;
    return bands[i].color;
}

static void print_legend(void) {
    cli_out("probability of each token, at least: ");
    for (size_t i = 0; i < N_BANDS; i++) cli_out("%s%s%s", bands[i].color, bands[i].label, plain);
    cli_out("\n");
}

// Text in a colour, control characters visible. What ends or moves in a line has no colour of its
// own, and some terminals would spread it over the rest of the line: it is a sign. lines: with what
// it stands for behind it.
static void print_colored(const char *text, size_t n, const char *color, bool lines) {
    cli_out("%s", color);
    for (size_t i = 0; i < n;) {
        char step[CLI_TEXT_STEP];
        size_t put;
        const char c = text[i];
        if (c != '\n' && c != '\t') {
            i += cli_text_step(text + i, n - i, "", step, &put);
            cli_out_bytes(step, put);
            continue;
        }
        cli_out("%s", c == '\n' ? return_sign : tab_sign);
        if (lines) cli_out("%s%c%s", plain, c, color);
        i++;
    }
    cli_out("%s", plain);
}

// The first token of an ending or of a later one: they stand in the endings' order.
static size_t first_token(const cli_scores *s, size_t ending) {
    size_t low = 0, high = s->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (s->tokens[middle].ending < ending)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Whether text [n] ends inside of a character, whose other bytes may be the next token's.
static bool ends_inside(const char *text, size_t n) {
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        const unsigned char b = (unsigned char)text[n - back];
        if (b >= 0xc0) return back < (b < 0xe0 ? 2u : b < 0xf0 ? 3u : 4u);
        if (b < 0x80) return false;
    }
    return false;
}

// The tokens of one ending. A character that several tokens make up has their probability together.
static int print_view(const cli_scores *s, size_t ending, bool lines) {
    const size_t from = first_token(s, ending), to = first_token(s, ending + 1);
    size_t most = 1, n = 0;
    for (size_t i = from; i < to; i++) most += s->tokens[i].bytes;
    char *group = malloc(most);
    if (group == NULL) return cli_fail_memory();
    double logprob = 0;
    for (size_t i = from; i < to; i++) {
        const cli_scored *t = &s->tokens[i];
        memcpy(group + n, t->text, t->bytes);
        n += t->bytes;
        logprob += (double)t->choice.logprob;
        if (ends_inside(group, n)) continue;
        print_colored(group, n, color_of(logprob), lines);
        n = 0;
        logprob = 0;
    }
    if (n > 0) print_colored(group, n, color_of(logprob), lines);
    free(group);
    return CLI_OK;
}

// --- one text -----------------------------------------------------------------------------------

// Bytes of the tokens that were scored: of the text, and of the context's end where a token covers
// both.
static size_t scored_bytes(const cli_scores *s, size_t ending) {
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) n += s->tokens[i].ending == ending ? s->tokens[i].bytes : 0;
    return n;
}

static int print_lines(const cli_scores *s) {
    cli_out("%s%s\n", cli_choice_heading(true), s->n_top > 0 ? "              likeliest" : "");
    for (size_t i = 0; i < s->n; i++) {
        const ink_choice *choice = &s->tokens[i].choice;
        char *line = cli_choice_line(s->model, choice, s->n_top,
                                     s->color ? color_of((double)choice->logprob) : "",
                                     s->color ? plain : "");
        if (line == NULL) return CLI_NOMEM;
        cli_out_bytes(line, strlen(line));
        cli_out("\n");
        free(line);
    }
    return CLI_OK;
}

static int print_colored_text(const cli_scores *s) {
    const size_t n = scored_bytes(s, 0), before = s->context->n + s->endings[0].bytes;
    cli_out("\n");
    if (before > n) print_colored(s->context->data, before - n, faint, true);
    const int code = print_view(s, 0, true);
    cli_out("\n\n");
    print_legend();
    return code;
}

static double bits_a_byte(const cli_scores *s) {
    return -s->endings[0].logprob / log(2.0) / (double)scored_bytes(s, 0);
}

int cli_scores_print_text(const cli_scores *s) {
    const ink_ending *e = &s->endings[0];
    const double mean = e->logprob / e->n_tokens;
    int code = print_lines(s);
    if (code == CLI_OK && s->color) code = print_colored_text(s);
    if (code != CLI_OK) return code;
    cli_out("\ntokens         %u\n", (unsigned)e->n_tokens);
    cli_out("logprob        %.4f\n", e->logprob);
    cli_out("a token        %.4f\n", mean);
    cli_out("perplexity     %.4f\n", exp(-mean));
    cli_out("bits a byte    %.4f\n", bits_a_byte(s));
    return CLI_OK;
}

// --- alternatives -------------------------------------------------------------------------------

static int by_logprob(const void *a, const void *b) {
    const ink_ending *const *x = a, *const *y = b;
    if ((*x)->logprob != (*y)->logprob) return (*x)->logprob > (*y)->logprob ? -1 : 1;
    return *x < *y ? -1 : 1; // as they were given
}

// The most probable first; malloc'ed.
static const ink_ending **sorted(const cli_scores *s) {
    const ink_ending **order = malloc(s->n_endings * sizeof *order);
    if (order == NULL) return NULL;
    for (size_t i = 0; i < s->n_endings; i++) order[i] = &s->endings[i];
    qsort(order, s->n_endings, sizeof *order, by_logprob);
    return order;
}

// The logarithm of the probability that one of them comes. best: the largest logprob.
static double log_sum(const cli_scores *s, double best) {
    double sum = 0;
    for (size_t i = 0; i < s->n_endings; i++) sum += exp(s->endings[i].logprob - best);
    return best + log(sum);
}

// share: of it among all, as if one of them had to come.
static int print_ending(const cli_scores *s, const ink_ending *e, double share) {
    cli_out("%8.3f %% %11.4f %10.4f %7u  ", 100 * share, e->logprob, e->logprob / e->n_tokens,
            (unsigned)e->n_tokens);
    int code = CLI_OK;
    if (s->color) {
        code = print_view(s, (size_t)(e - s->endings), false);
    } else {
        char *text = cli_text_quote(e->text, e->bytes);
        if (text == NULL) return cli_fail_memory();
        cli_out_bytes(text, strlen(text));
        free(text);
    }
    cli_out("\n");
    return code;
}

int cli_scores_print_endings(const cli_scores *s) {
    const ink_ending **order = sorted(s);
    if (order == NULL) return cli_fail_memory();
    cli_out("     share     logprob    a token  tokens  ending\n");
    const double all = log_sum(s, order[0]->logprob);
    int code = CLI_OK;
    for (size_t i = 0; i < s->n_endings && code == CLI_OK; i++)
        code = print_ending(s, order[i], exp(order[i]->logprob - all));
    if (s->color) {
        cli_out("\n");
        print_legend();
    }
    free((void *)order);
    return code;
}

// --- JSON ---------------------------------------------------------------------------------------

static json_t *number_or_null(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *token_json(const cli_scores *s, const cli_scored *t) {
    const uint32_t rank = cli_choice_rank(&t->choice);
    json_t *value = cli_choice_json(s->model, &t->choice, s->n_top);
    json_object_set_new(value, "probability", number_or_null(exp((double)t->choice.logprob)));
    json_object_set_new(value, "rank", rank > 0 ? json_integer(rank) : json_null());
    if (s->n_top == 0) json_object_del(value, "top");
    return value;
}

static void print_ending_json(const cli_scores *s, const ink_ending *e, double share) {
    const size_t index = (size_t)(e - s->endings), to = first_token(s, index + 1);
    json_t *tokens = json_array();
    for (size_t i = first_token(s, index); i < to; i++)
        json_array_append_new(tokens, token_json(s, &s->tokens[i]));
    cli_out_json(json_pack("{so sI sI sf sf sf so}", "ending", cli_text_json(e->text, e->bytes),
                           "index", (json_int_t)index, "n_tokens", (json_int_t)e->n_tokens,
                           "logprob", e->logprob, "logprob_per_token", e->logprob / e->n_tokens,
                           "share", share, "tokens", tokens));
}

int cli_scores_print_json(const cli_scores *s, bool endings) {
    const ink_ending *e = &s->endings[0];
    if (endings) {
        const ink_ending **order = sorted(s);
        if (order == NULL) return cli_fail_memory();
        const double all = log_sum(s, order[0]->logprob);
        for (size_t i = 0; i < s->n_endings; i++)
            print_ending_json(s, order[i], exp(order[i]->logprob - all));
        cli_out_json(json_pack("{s{sI sI}}", "summary", "n_endings", (json_int_t)s->n_endings,
                               "best", (json_int_t)(order[0] - s->endings)));
        free((void *)order);
        return CLI_OK;
    }
    for (size_t i = 0; i < s->n; i++) cli_out_json(token_json(s, &s->tokens[i]));
    const double mean = e->logprob / e->n_tokens;
    cli_out_json(json_pack("{s{sI sI sf sf so sf}}", "summary", "bytes",
                           (json_int_t)scored_bytes(s, 0), "n_tokens", (json_int_t)e->n_tokens,
                           "logprob", e->logprob, "logprob_per_token", mean, "perplexity",
                           number_or_null(exp(-mean)), "bits_per_byte", bits_a_byte(s)));
    return CLI_OK;
}
