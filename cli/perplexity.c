// SPDX-License-Identifier: MIT
// inkling perplexity: how well a model predicts a text.
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/out.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "cli/text.h"

// Rows of logits at a time: a vocabulary of 50,000 takes 13 MB for them. Tokens that only give
// context need no such rows and go in larger pieces.
enum { LOGIT_ROWS = 64, CONTEXT_ROWS = 256 };
static const size_t max_file_bytes = (size_t)1 << 30;

static struct {
    const char *model;
    cli_list loras;
    cli_uint context, threads;
    cli_choice kv_type;
    bool json;
} set;

static const cli_option options[] = {
    CLI_OPTION_MODEL(&set.model),
    CLI_OPTION_LORA(&set.loras),
    CLI_OPTION_CONTEXT(&set.context),
    CLI_OPTION_KV_TYPE(&set.kv_type),
    CLI_OPTION_THREADS(&set.threads),
    CLI_OPTION_JSON(&set.json, "one JSON object instead of lines"),
};

static void defaults(void) {
    ink_session_options session;
    ink_session_options_init(&session, sizeof session);
    memset(&set, 0, sizeof set);
    set.kv_type.value = session.kv_type;
}

typedef struct scoring {
    ink_session *session;
    const ink_token *ids; // [n], the first is scored by nothing
    size_t n, n_scored;
    double nll; // nats, of all scored tokens
    cli_progress progress;
    ink_error error;
} scoring;

// -log softmax(logits)[target], in doubles: over 10^5 tokens the errors of floats would show.
static double surprise(const float *logits, size_t n_vocab, ink_token target) {
    double top = (double)logits[0], sum = 0;
    for (size_t i = 1; i < n_vocab; i++)
        if ((double)logits[i] > top) top = (double)logits[i];
    for (size_t i = 0; i < n_vocab; i++) sum += exp((double)logits[i] - top);
    return top + log(sum) - (double)logits[target];
}

// Appends ids [begin, end) to the session; with `counts` each of them predicts the one behind it.
static ink_status append(scoring *s, size_t begin, size_t end, bool counts) {
    const size_t piece = counts ? LOGIT_ROWS : CONTEXT_ROWS;
    for (size_t at = begin; at < end; at += piece) {
        const size_t n = end - at < piece ? end - at : piece;
        const ink_span span = {s->session, s->ids + at, n, counts ? INK_SPAN_ALL_LOGITS : 0, NULL};
        const ink_status status =
            cli_interrupted() ? INK_E_CANCELLED : ink_eval(&span, 1, &s->error);
        if (status != INK_OK) return status;
        for (size_t row = 0; counts && row < n; row++) {
            size_t n_vocab = 0;
            const float *logits = ink_session_logits(s->session, row, &n_vocab);
            if (logits == NULL) return INK_E_ARG;
            s->nll += surprise(logits, n_vocab, s->ids[at + row + 1]);
            s->n_scored++;
        }
        cli_progress_update(&s->progress, (double)s->n_scored / (double)(s->n - 1));
    }
    return INK_OK;
}

// Windows of n_ctx tokens, half a window apart: the first scores all its tokens but the first, each
// later one those that no window has scored yet, so with at least half a window before them.
static ink_status score_all(scoring *s) {
    const size_t n_ctx = ink_session_n_ctx(s->session);
    const size_t stride = n_ctx / 2 > 0 ? n_ctx / 2 : 1;
    size_t scored = 1; // ids [0, scored) are done
    for (size_t begin = 0; scored < s->n; begin += stride) {
        const size_t end = s->n - begin < n_ctx ? s->n : begin + n_ctx;
        if (end <= scored) continue;
        ink_status status = ink_session_rewind(s->session, 0);
        // The token before the first new target is the first whose prediction counts. The window's
        // last token predicts nothing in it.
        if (status == INK_OK) status = append(s, begin, scored - 1, false);
        if (status == INK_OK) status = append(s, scored - 1, end - 1, true);
        if (status != INK_OK) return status;
        scored = end;
    }
    return INK_OK;
}

static void print_result(const scoring *s, const char *file, const cli_bytes *text,
                         size_t n_invalid) {
    const double mean = s->nll / (double)s->n_scored, bits = s->nll / log(2.0) / (double)text->n;
    const unsigned n_ctx = (unsigned)ink_session_n_ctx(s->session);
    if (set.json) {
        json_t *ppl = isfinite(exp(mean)) ? json_real(exp(mean)) : json_null();
        cli_out_json(json_pack("{so sI sI sI sI sf so sf}", "file",
                               cli_text_json(file, strlen(file)), "bytes", (json_int_t)text->n,
                               "invalid_bytes", (json_int_t)n_invalid, "tokens",
                               (json_int_t)s->n_scored, "context", (json_int_t)n_ctx,
                               "nll_per_token", mean, "perplexity", ppl, "bits_per_byte", bits));
        return;
    }
    cli_out("bytes          %zu\n", text->n);
    if (n_invalid > 0) cli_out("not UTF-8      %zu bytes, kept as they are\n", n_invalid);
    cli_out("tokens         %zu\n", s->n_scored);
    cli_out("window         %u tokens\n", n_ctx);
    cli_out("NLL a token    %.6f nats\n", mean);
    cli_out("perplexity     %.4f\n", exp(mean));
    cli_out("bits a byte    %.6f\n", bits);
}

// ids = <|endoftext|> and the tokens of the text.
static int read_tokens(const ink_model *model, ink_token end, const cli_bytes *text,
                       ink_token **ids, size_t *n, size_t *n_invalid) {
    ink_token *tokens = NULL;
    const int code = cli_tokenize(model, text->data, text->n, 0, &tokens, n, n_invalid);
    if (code != CLI_OK) return code;
    // cli_tokenize leaves room for one more.
    memmove(tokens + 1, tokens, *n * sizeof *tokens);
    tokens[0] = end;
    ++*n;
    *ids = tokens;
    return CLI_OK;
}

static int open_session(ink_session **out, ink_model *model, uint32_t most_positions) {
    ink_session_options session;
    cli_adapters adapters;
    int code = cli_adapters_open(&adapters, model, &set.loras);
    ink_session_options_init(&session, sizeof session);
    session.adapters = adapters.list;
    session.n_adapters = adapters.n;
    session.n_ctx = (uint32_t)set.context.value;
    session.kv_type = set.kv_type.value;
    const uint32_t n_ctx = session.n_ctx > 0 ? session.n_ctx : most_positions;
    session.n_logits = n_ctx < LOGIT_ROWS ? n_ctx : LOGIT_ROWS;
    if (code == CLI_OK) code = cli_session_open(out, model, &session);
    cli_adapters_close(&adapters);
    return code;
}

static int score(scoring *s) {
    cli_progress_begin(&s->progress, "scoring", false);
    cli_interrupt_session(s->session);
    const ink_status status = score_all(s);
    cli_interrupt_session(NULL);
    cli_progress_end(&s->progress);
    if (status == INK_OK) return CLI_OK;
    if (!cli_interrupted()) return cli_fail_ink(status, &s->error);
    return cli_fail(CLI_INTERRUPTED, "interrupted after %zu of %zu tokens", s->n_scored, s->n - 1);
}

static int measure(ink_model *model, const char *file, const cli_bytes *text) {
    ink_model_info info = {.size = sizeof info};
    ink_token *ids = NULL;
    size_t n_invalid = 0;
    scoring s = {0};
    const ink_status status = ink_model_get_info(model, &info);
    if (status != INK_OK) return cli_fail_ink(status, NULL);
    if (info.end_token < 0)
        return cli_fail(CLI_MODEL, "%s: has no <|endoftext|>, which stands before the first token",
                        set.model != NULL ? set.model : "the built-in model");
    int code = read_tokens(model, info.end_token, text, &ids, &s.n, &n_invalid);
    if (code == CLI_OK) code = open_session(&s.session, model, info.n_ctx);
    s.ids = ids;
    if (code == CLI_OK) code = score(&s);
    if (code == CLI_OK) print_result(&s, file, text, n_invalid);
    ink_session_free(s.session);
    free(ids);
    return code;
}

static int run(char **args, size_t n_args) {
    (void)n_args;
    ink_model *model = NULL;
    cli_bytes text = {0};
    int code = cli_read_file(args[0], max_file_bytes, "the text", &text);
    if (code == CLI_OK && text.n == 0)
        code = cli_fail(CLI_FILE, "%s: the file is empty, there is nothing to score", args[0]);
    if (code == CLI_OK) code = cli_model_open(&model, set.model, (uint32_t)set.threads.value, 0);
    if (code == CLI_OK) code = measure(model, args[0], &text);
    ink_model_unref(model);
    free(text.data);
    return code;
}

const cli_command cli_perplexity_command = {
    .name = "perplexity",
    .synopsis = "[-m MODEL] [options] FILE|-",
    .summary = "Tells how well a model predicts a text",
    .details = "The text is tokenized as a whole, special tokens in it as plain text, and "
               "<|endoftext|> is put\n"
               "before it. It is read in windows of the context's length, each half a window "
               "behind the one\n"
               "before; each token is scored exactly once, by the first window that has it. "
               "Printed are the mean\n"
               "negative log-likelihood of a token (natural logarithm), its exponential, and bits "
               "for each byte\n"
               "of the file. A file has at most 1 GiB.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .argument = "FILE",
    .min_args = 1,
    .max_args = 1,
    .defaults = defaults,
    .run = run,
};
