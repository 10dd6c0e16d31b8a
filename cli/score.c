// SPDX-License-Identifier: MIT
// inkling score: how likely a text is, token by token, or which of several endings.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/out.h"
#include "cli/report.h"
#include "cli/score_view.h"
#include "cli/text.h"

#define SEE_HELP " (see inkling score --help)"

// Rows of logits at a time, and how far down a token's place is looked for.
enum { LOGIT_ROWS = 64, RANKS = 64 };
enum { MAX_ENDINGS_BYTES = 64 * 1000 * 1000 };

enum { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };
static const char *const color_names[] = {"auto", "always", "never", NULL};

static struct {
    const char *model, *before, *context, *endings_file;
    cli_list loras, endings;
    cli_uint top, threads;
    cli_choice kv_type, color;
    bool json;
} set;

static const cli_option options[] = {
    CLI_OPTION_MODEL(&set.model),
    CLI_OPTION_LORA(&set.loras),
    {.name = "before",
     .kind = CLI_TEXT,
     .target = &set.before,
     .value = "TEXT|-",
     .help = "what stands before it and is not scored; without it the beginning of a text"},
    // Its first name; --context is a number of positions in the other commands.
    {.name = "context", .kind = CLI_TEXT, .target = &set.context, .hidden = true},
    {.name = "ending",
     .kind = CLI_LIST,
     .target = &set.endings,
     .value = "TEXT",
     .help = "one of several texts that could follow, given once for each: they are sorted by how "
             "likely they are"},
    {.name = "endings",
     .kind = CLI_TEXT,
     .target = &set.endings_file,
     .value = "FILE|-",
     .help = "the same from a file or from standard input, one a line, blanks included"},
    {.name = "top",
     .kind = CLI_UINT,
     .target = &set.top,
     .value = "N",
     .high = 64,
     .show_default = true,
     .help = "show the N likeliest tokens beside each; with endings only --json does"},
    {.name = "color",
     .kind = CLI_CHOICE,
     .choices = color_names,
     .target = &set.color,
     .show_default = true,
     .help = "colours by probability; auto: on a terminal, unless NO_COLOR is set"},
    CLI_OPTION_KV_TYPE(&set.kv_type),
    CLI_OPTION_THREADS(&set.threads),
    CLI_OPTION_JSON(&set.json,
                    "a line of JSON for each token or ending, then one with \"summary\""),
};

static void defaults(void) {
    ink_session_options session;
    ink_session_options_init(&session, sizeof session);
    memset(&set, 0, sizeof set);
    set.kv_type.value = session.kv_type;
}

typedef struct scorer {
    ink_model *model;
    ink_session *session;
    cli_bytes context, text, file;
    ink_ending *endings; // [n_endings]; their texts are the arguments' or stand in `file`
    size_t n_endings;
    cli_scores scores;
    bool no_memory;
} scorer;

static bool wants_color(void) {
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    if (set.color.value != COLOR_AUTO) return set.color.value == COLOR_ALWAYS;
    return cli_out_is_terminal() && (no_color == NULL || no_color[0] == 0) &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

// --- texts --------------------------------------------------------------------------------------

static bool is_stdin(const char *arg) { return arg != NULL && strcmp(arg, "-") == 0; }

static int check_utf8(const char *what, const char *text, size_t n) {
    for (size_t i = 0; i < n;) {
        uint32_t c;
        const size_t length = cli_text_decode(text + i, n - i, &c);
        if (length == 0)
            return cli_fail(CLI_USAGE, "score: %s is not UTF-8 at byte %zu" SEE_HELP, what, i);
        i += length;
    }
    return CLI_OK;
}

static int check_before(void) {
    const char *text = set.context;
    if (text == NULL) return CLI_OK;
    if (set.before != NULL)
        return cli_fail(CLI_USAGE,
                        "score: --context is the older name of --before, give one" SEE_HELP);
    if (text[0] != 0 && text[strspn(text, "0123456789")] == 0)
        return cli_fail(CLI_USAGE,
                        "score: --context %.40s is no number of positions here; a text that stands "
                        "before is given with --before" SEE_HELP,
                        text);
    set.before = text;
    return CLI_OK;
}

static int check_endings(const char *text) {
    const bool endings = set.endings.n > 0 || set.endings_file != NULL;
    if (text == NULL && !endings) return cli_fail(CLI_USAGE, "score: TEXT is missing" SEE_HELP);
    if (text != NULL && endings)
        return cli_fail(CLI_USAGE, "score: TEXT does not go with --ending%s" SEE_HELP,
                        set.endings.n > 0 ? "" : "s");
    if (set.endings_file != NULL && set.endings_file[0] == 0)
        return cli_fail(CLI_USAGE, "score: --endings needs the name of a file, or -" SEE_HELP);
    for (size_t i = 0; i < set.endings.n; i++) {
        if (set.endings.items[i][0] == 0)
            return cli_fail(CLI_USAGE, "score: --ending needs a text that is not empty" SEE_HELP);
        // Taken as a text it would be scored, and what waits in the pipe would not.
        if (is_stdin(set.endings.items[i]))
            return cli_fail(CLI_USAGE,
                            "score: --ending - is no text; --endings - reads them from standard "
                            "input, one a line" SEE_HELP);
    }
    return CLI_OK;
}

static int check_arguments(const char *text) {
    int code = check_before();
    if (code == CLI_OK) code = check_endings(text);
    if (code != CLI_OK) return code;
    if (is_stdin(set.before) && (is_stdin(text) || is_stdin(set.endings_file)))
        return cli_fail(CLI_USAGE,
                        "score: only one of %s and --before can be standard input" SEE_HELP,
                        text != NULL ? "TEXT" : "--endings");
    if (text != NULL && text[0] == 0)
        return cli_fail(CLI_USAGE, "score: TEXT is empty, there is nothing to score" SEE_HELP);
    return CLI_OK;
}

// Each line that is not empty is an ending, behind those of --ending.
static int read_endings(scorer *s) {
    const char *name = is_stdin(set.endings_file) ? "standard input" : set.endings_file;
    size_t n = set.endings.n;
    int code = CLI_OK;
    if (set.endings_file != NULL)
        code = cli_read_file(set.endings_file, MAX_ENDINGS_BYTES, "the list", &s->file);
    if (code != CLI_OK) return code;
    for (size_t i = 0; i < s->file.n; i++) n += s->file.data[i] == '\n';
    s->endings = calloc(n + 1, sizeof *s->endings);
    if (s->endings == NULL) return cli_fail_memory();
    for (size_t i = 0; i < set.endings.n; i++)
        s->endings[i] =
            (ink_ending){.text = set.endings.items[i], .bytes = strlen(set.endings.items[i])};
    s->n_endings = set.endings.n;
    for (size_t at = 0, line = 1; at < s->file.n && code == CLI_OK; line++) {
        const char *from = s->file.data + at, *end = memchr(from, '\n', s->file.n - at);
        size_t bytes = end != NULL ? (size_t)(end - from) : s->file.n - at;
        at += bytes + 1;
        bytes -= bytes > 0 && from[bytes - 1] == '\r';
        if (memchr(from, 0, bytes) != NULL)
            code = cli_fail(CLI_FILE, "%s: line %zu holds a zero byte, a line of text was expected",
                            name, line);
        if (bytes > 0) s->endings[s->n_endings++] = (ink_ending){.text = from, .bytes = bytes};
    }
    if (code == CLI_OK && set.endings_file != NULL && s->n_endings == 0)
        code = cli_fail(CLI_FILE, "%s: has no endings, one a line was expected", name);
    return code;
}

static int read_texts(scorer *s, const char *text) {
    int code = cli_read_text(set.before != NULL ? set.before : "", &s->context);
    if (code == CLI_OK && text != NULL) code = cli_read_text(text, &s->text);
    if (code == CLI_OK && text != NULL && s->text.n == 0)
        code = cli_fail(CLI_FILE, "standard input: is empty, there is nothing to score");
    if (code == CLI_OK) code = check_utf8("what stands before", s->context.data, s->context.n);
    if (code == CLI_OK) code = read_endings(s);
    if (code == CLI_OK && text != NULL)
        s->endings[s->n_endings++] = (ink_ending){.text = s->text.data, .bytes = s->text.n};
    for (size_t i = 0; i < s->n_endings && code == CLI_OK; i++) {
        char what[40] = "the text";
        if (text == NULL) snprintf(what, sizeof what, "ending %zu", i + 1);
        code = check_utf8(what, s->endings[i].text, s->endings[i].bytes);
    }
    return code;
}

// Which text is too long, and by how much.
static int too_long(const scorer *s, const ink_error *error) {
    const uint32_t n_ctx = ink_session_n_ctx(s->session);
    for (size_t i = 0; i < s->n_endings; i++) {
        const ink_ending *e = &s->endings[i];
        const size_t bytes = s->context.n + e->bytes;
        ink_token *ids = NULL;
        size_t n = 0;
        char *whole = malloc(bytes + 1);
        if (whole == NULL) return cli_fail_memory();
        memcpy(whole, s->context.data, s->context.n);
        memcpy(whole + s->context.n, e->text, e->bytes);
        const int code = cli_tokenize(s->model, whole, bytes, 0, &ids, &n, NULL);
        free(whole);
        free(ids);
        if (code != CLI_OK) return code;
        n += s->context.n == 0; // <|endoftext|>
        if (n > n_ctx)
            return cli_fail(
                CLI_CONTEXT, "score: %s has %zu tokens%s, the context holds %u: %zu too many",
                s->text.n == 0 ? "an ending" : "the text", n,
                s->context.n > 0 ? " with what stands before it" : "", (unsigned)n_ctx, n - n_ctx);
    }
    return cli_fail_ink(INK_E_CONTEXT, error);
}

// --- scoring ------------------------------------------------------------------------------------

static int open_session(scorer *s) {
    ink_session_options session;
    ink_model_info info = {.size = sizeof info};
    cli_adapters adapters;
    ink_status status = ink_model_get_info(s->model, &info);
    if (status != INK_OK) return cli_fail_ink(status, NULL);
    if (info.end_token < 0 && s->context.n == 0)
        return cli_fail(CLI_MODEL,
                        "%s: has no <|endoftext|>, which stands before a text; --before is needed",
                        set.model != NULL ? set.model : "the built-in model");
    int code = cli_adapters_open(&adapters, s->model, &set.loras);
    ink_session_options_init(&session, sizeof session);
    session.adapters = adapters.list;
    session.n_adapters = adapters.n;
    session.kv_type = set.kv_type.value;
    session.n_logits = info.n_ctx < LOGIT_ROWS ? info.n_ctx : LOGIT_ROWS;
    if (code == CLI_OK) code = cli_session_open(&s->session, s->model, &session);
    cli_adapters_close(&adapters);
    return code;
}

static int on_token(void *user, size_t index, const ink_choice *choice, const char *text,
                    size_t bytes) {
    scorer *s = user;
    s->no_memory = !cli_scores_add(&s->scores, index, choice, text, bytes);
    return s->no_memory || cli_interrupted();
}

static int score(scorer *s) {
    ink_error error = {0};
    s->scores = (cli_scores){.model = s->model,
                             .context = &s->context,
                             .endings = s->endings,
                             .n_endings = s->n_endings,
                             .n_top = (uint32_t)set.top.value,
                             .color = wants_color()};
    cli_interrupt_session(s->session);
    const ink_status status =
        cli_interrupted() ? INK_E_CANCELLED
                          : ink_session_score(s->session, s->context.data, s->context.n, s->endings,
                                              s->n_endings, RANKS, on_token, s, &error);
    cli_interrupt_session(NULL);
    if (s->no_memory) return cli_fail_memory();
    if (cli_interrupted()) return cli_fail(CLI_INTERRUPTED, "interrupted");
    if (status == INK_E_CONTEXT) return too_long(s, &error);
    return status == INK_OK ? CLI_OK : cli_fail_ink(status, &error);
}

static int run(char **args, size_t n_args) {
    scorer s = {0};
    const char *text = n_args > 0 ? args[0] : NULL;
    int code = check_arguments(text);
    if (code == CLI_OK) code = read_texts(&s, text);
    if (code == CLI_OK) code = cli_model_open(&s.model, set.model, (uint32_t)set.threads.value, 0);
    if (code == CLI_OK) code = open_session(&s);
    if (code == CLI_OK) code = score(&s);
    if (code == CLI_OK)
        code = set.json       ? cli_scores_print_json(&s.scores, text == NULL)
               : text == NULL ? cli_scores_print_endings(&s.scores)
                              : cli_scores_print_text(&s.scores);
    cli_scores_free(&s.scores);
    ink_session_free(s.session);
    ink_model_unref(s.model);
    free(s.endings);
    free(s.context.data);
    free(s.text.data);
    free(s.file.data);
    return code;
}

const cli_command cli_score_command = {
    .name = "score",
    .synopsis = "[-m MODEL] [options] TEXT|- | --ending TEXT... | --endings FILE|-",
    .summary = "Tells how likely a text is, or which of several endings",
    .details =
        "Prints a line for each token: its id, the natural logarithm of its probability, the "
        "probability,\n"
        "its place among all tokens (up to 64) and its text as a JSON string; then the totals. On "
        "a "
        "terminal\n"
        "the text follows in colours. With --ending the texts that could follow are sorted, with "
        "the share\n"
        "that each would have if one of them had to come. \"-\" reads standard input, at most 64 "
        "MB; all of it\n"
        "must fit into the context (\"inkling perplexity\" takes longer texts).\n"
        "\n"
        "  inkling score --top 3 \"Once upon a time there was a cat.\"\n"
        "  inkling score --before \"The cat sat on the\" --ending \" mat.\" --ending \" moon.\"\n"
        "  inkling score --before \"The cat sat on the\" --endings endings.txt\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .argument = "TEXT",
    .min_args = 0,
    .max_args = 1,
    .defaults = defaults,
    .run = run,
};
