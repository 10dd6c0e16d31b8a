// SPDX-License-Identifier: MIT
// inkling complete: a prompt goes in, its continuation streams out.
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/out.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "cli/text.h"

// The longest seed that every reader of JSON takes exactly.
#define MAX_SEED 9007199254740991.0

static const char *const overflow_names[] = {"error", "left", "slide",
                                             NULL}; // in the order of INK_OVERFLOW_*

static struct {
    const char *model, *filter;
    cli_uint n_tokens, top_k, seed, context, keep, threads, no_repeat_ngram;
    cli_real temperature, top_p, min_p, repeat_penalty;
    cli_list stop, loras;
    cli_choice overflow, kv_type;
    bool greedy, ignore_eos, no_heal, special, echo, stats, json;
} set;

static const cli_option options[] = {
    CLI_OPTION_MODEL(&set.model),
    CLI_OPTION_LORA(&set.loras),
    {.name = "tokens",
     .letter = 'n',
     .kind = CLI_UINT,
     .target = &set.n_tokens,
     .value = "N",
     .high = UINT32_MAX,
     .show_default = true,
     .help = "most tokens to generate"},
    {.name = "temperature",
     .kind = CLI_REAL,
     .target = &set.temperature,
     .value = "T",
     .high = 100,
     .show_default = true,
     .help = "how freely to choose: 0 takes the likeliest token"},
    {.name = "top-k",
     .kind = CLI_UINT,
     .target = &set.top_k,
     .value = "N",
     .high = UINT32_MAX,
     .show_default = true,
     .help = "choose among the N likeliest tokens; 0: all"},
    {.name = "top-p",
     .kind = CLI_REAL,
     .target = &set.top_p,
     .value = "P",
     .high = 1,
     .show_default = true,
     .help = "choose among the likeliest that have P together; 1: all"},
    {.name = "min-p",
     .kind = CLI_REAL,
     .target = &set.min_p,
     .value = "P",
     .high = 1,
     .show_default = true,
     .help = "drop tokens less likely than P times the likeliest; 0: none"},
    {.name = "repeat-penalty",
     .kind = CLI_REAL,
     .target = &set.repeat_penalty,
     .value = "X",
     .low = 0.01,
     .high = 100,
     .show_default = true,
     .help = "make the last 64 tokens less likely; 1: off"},
    {.name = "seed",
     .kind = CLI_UINT,
     .target = &set.seed,
     .value = "N",
     .high = MAX_SEED,
     .help = "the same seed gives the same bytes; without it a random one, "
             "which --stats and --json tell"},
    {.name = "greedy",
     .kind = CLI_FLAG,
     .target = &set.greedy,
     .help = "always the likeliest token, the same as --temperature 0"},
    {.name = "stop",
     .kind = CLI_LIST,
     .target = &set.stop,
     .value = "STR",
     .help = "end the text before STR; may be given several times"},
    {.name = "ignore-eos",
     .kind = CLI_FLAG,
     .target = &set.ignore_eos,
     .help = "never choose the end token: go on to -n tokens, or to the end of the context"},
    {.name = "filter",
     .kind = CLI_TEXT,
     .target = &set.filter,
     .value = "FILE",
     .help = "words and phrases, one a line, that are neither read nor written"},
    {.name = "no-repeat-ngram",
     .kind = CLI_UINT,
     .target = &set.no_repeat_ngram,
     .value = "N",
     .high = 1 << 20,
     .show_default = true,
     .help = "no N tokens in a row stand twice in prompt and text; 0: off"},
    {.name = "no-heal",
     .kind = CLI_FLAG,
     .target = &set.no_heal,
     .help = "go on from exactly the prompt's tokens; otherwise one that ends inside a word, or "
             "with a blank, has its last token taken back and written anew"},
    CLI_OPTION_CONTEXT(&set.context),
    {.name = "overflow",
     .kind = CLI_CHOICE,
     .target = &set.overflow,
     .choices = overflow_names,
     .show_default = true,
     .help = "a prompt longer than the context is an error, or loses its beginning (left, "
             "slide); where the context is full the text ends, or with slide the older half is "
             "forgotten and it goes on"},
    {.name = "keep",
     .kind = CLI_UINT,
     .target = &set.keep,
     .value = "N",
     .high = 1 << 20,
     .show_default = true,
     .help = "tokens at the beginning that left and slide never drop"},
    CLI_OPTION_KV_TYPE(&set.kv_type),
    CLI_OPTION_THREADS(&set.threads),
    {.name = "special",
     .kind = CLI_FLAG,
     .target = &set.special,
     .help = "read special tokens (<|endoftext|>) in the prompt; otherwise they are plain "
             "text"},
    {.name = "echo",
     .kind = CLI_FLAG,
     .target = &set.echo,
     .help = "print the prompt before its continuation"},
    {.name = "stats",
     .kind = CLI_FLAG,
     .target = &set.stats,
     .help = "times, speeds, memory and the seed on standard error at the end"},
    CLI_OPTION_JSON(&set.json,
                    "a line of JSON for each piece: text, token, n, logprob; then one with "
                    "\"summary\""),
};

static void defaults(void) {
    ink_sampler_options sampler;
    ink_generate_options generate;
    ink_session_options session;
    ink_sampler_options_init(&sampler, sizeof sampler);
    ink_generate_options_init(&generate, sizeof generate);
    ink_session_options_init(&session, sizeof session);
    memset(&set, 0, sizeof set);
    set.n_tokens.value = generate.n_tokens;
    set.overflow.value = generate.overflow;
    set.keep.value = generate.n_keep;
    set.kv_type.value = session.kv_type;
    set.top_k.value = sampler.top_k;
    set.temperature.value = (double)sampler.temperature;
    set.top_p.value = (double)sampler.top_p;
    set.min_p.value = (double)sampler.min_p;
    set.repeat_penalty.value = (double)sampler.repeat_penalty;
}

typedef struct job {
    ink_model *model;
    cli_adapters adapters;
    ink_session *session;
    ink_sampler *sampler;
    ink_filter *filter;
    cli_bytes prompt;
    cli_progress progress;
    double started, load_ms;
} job;

static int make_sampler(job *j) {
    ink_error error = {0};
    ink_sampler_options sampler;
    ink_sampler_options_init(&sampler, sizeof sampler);
    sampler.temperature = set.greedy ? 0.0f : (float)set.temperature.value;
    sampler.top_k = (uint32_t)set.top_k.value;
    sampler.top_p = (float)set.top_p.value;
    sampler.min_p = (float)set.min_p.value;
    sampler.repeat_penalty = (float)set.repeat_penalty.value;
    sampler.seed_set = set.seed.set;
    sampler.seed = set.seed.value;
    ink_status status = ink_sampler_new(&j->sampler, j->model, NULL, &sampler, &error);
    if (status == INK_OK && !set.seed.set) {
        // A random seed is shortened: it is there to be typed again.
        sampler.seed_set = 1;
        sampler.seed = ink_sampler_seed(j->sampler) & 0xffffffff;
        ink_sampler_free(j->sampler);
        j->sampler = NULL;
        status = ink_sampler_new(&j->sampler, j->model, NULL, &sampler, &error);
    }
    return status == INK_OK ? CLI_OK : cli_fail_ink(status, &error);
}

static int prepare(job *j, const char *prompt) {
    ink_session_options session;
    int code = cli_read_text(prompt, &j->prompt);
    if (code == CLI_OK) code = cli_read_filter(set.filter, &j->filter);
    if (code != CLI_OK) return code;
    j->started = cli_now_ms();
    code = cli_model_open(&j->model, set.model, (uint32_t)set.threads.value, 0);
    if (code == CLI_OK) code = cli_adapters_open(&j->adapters, j->model, &set.loras);
    if (code != CLI_OK) return code;
    ink_session_options_init(&session, sizeof session);
    session.adapters = j->adapters.list;
    session.n_adapters = j->adapters.n;
    session.n_ctx = (uint32_t)set.context.value;
    session.kv_type = set.kv_type.value;
    code = cli_session_open(&j->session, j->model, &session);
    if (code != CLI_OK) return code;
    j->load_ms = cli_now_ms() - j->started;
    return make_sampler(j);
}

static int on_prefill(void *user, uint32_t done, uint32_t total) {
    job *j = user;
    // The bar begins at the first column and is wiped: it must not stand in a line that has text,
    // an echo of the prompt or, where the context slides, of the story.
    if (!cli_out_is_terminal() || cli_out_at_line_start())
        cli_progress_update(&j->progress, total > 0 ? (double)done / total : 1);
    return cli_interrupted();
}

static int on_piece(void *user, const ink_piece *piece) {
    job *j = user;
    cli_progress_end(&j->progress);
    if (set.json) {
        json_t *logprob =
            isfinite(piece->logprob) ? json_real((double)piece->logprob) : json_null();
        cli_out_json(json_pack("{so si sI so}", "text", cli_text_json(piece->text, piece->bytes),
                               "token", (int)piece->token, "n", (json_int_t)piece->n_tokens,
                               "logprob", logprob));
    } else {
        cli_out_text(piece->text, piece->bytes);
    }
    // The text so far is worth having even if the next token takes long.
    return !cli_out_flush() || cli_interrupted();
}

static double a_second(double count, double ms) { return ms > 0 ? count * 1000 / ms : 0; }

static uint64_t peak_bytes(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#ifdef __APPLE__
    return (uint64_t)usage.ru_maxrss;
#else
    return (uint64_t)usage.ru_maxrss * 1024;
#endif
}

static void print_stats(const job *j, const ink_result *r) {
    char size[CLI_TEXT_SIZE];
    const uint32_t n_read = r->n_prompt - r->n_reused,
                   n_decoded = r->n_generated > 0 ? r->n_generated - 1 : 0;
    cli_note("load           %.1f ms", j->load_ms);
    cli_note("first token    %.1f ms", r->first_token_ms);
    cli_note("prefill        %u tokens, %.1f ms, %.1f tokens/s", (unsigned)n_read, r->prefill_ms,
             a_second(n_read, r->prefill_ms));
    cli_note("decode         %u tokens, %.1f ms, %.1f tokens/s", (unsigned)n_decoded, r->decode_ms,
             a_second(n_decoded, r->decode_ms));
    cli_note("peak memory    %s", cli_text_size(peak_bytes(), size));
    cli_note("stopped by     %s", cli_interrupted() ? "interrupt" : ink_stop_name(r->stop));
    if (r->n_dropped > 0) cli_note("dropped        %u tokens", (unsigned)r->n_dropped);
    if (r->n_invalid > 0)
        cli_note("not UTF-8      %u bytes of the prompt, kept as they are", (unsigned)r->n_invalid);
    cli_note("seed           %llu", (unsigned long long)r->seed);
}

static void print_summary(const job *j, const ink_result *r) {
    const uint32_t n_read = r->n_prompt - r->n_reused,
                   n_decoded = r->n_generated > 0 ? r->n_generated - 1 : 0;
    cli_out_json(json_pack(
        "{s{ss sI sI sI sI sI sI sf sf sf sf sf sf sI}}", "summary", "stop",
        cli_interrupted() ? "cancelled" : ink_stop_name(r->stop), "n_prompt",
        (json_int_t)r->n_prompt, "n_reused", (json_int_t)r->n_reused, "n_dropped",
        (json_int_t)r->n_dropped, "n_generated", (json_int_t)r->n_generated, "n_invalid",
        (json_int_t)r->n_invalid, "seed", (json_int_t)r->seed, "load_ms", j->load_ms,
        "first_token_ms", r->first_token_ms, "prefill_ms", r->prefill_ms, "decode_ms", r->decode_ms,
        "prefill_tokens_per_second", a_second(n_read, r->prefill_ms), "decode_tokens_per_second",
        a_second(n_decoded, r->decode_ms), "peak_memory_bytes", (json_int_t)peak_bytes()));
}

static int generate(job *j) {
    ink_error error = {0};
    ink_result result = {.size = sizeof result};
    ink_generate_options how;
    ink_generate_options_init(&how, sizeof how);
    how.flags =
        (set.special ? INK_GENERATE_SPECIAL : 0u) | (set.json ? INK_GENERATE_LOGPROBS : 0u) |
        (set.ignore_eos ? INK_GENERATE_NO_END : 0u) | (set.no_heal ? 0u : INK_GENERATE_HEAL);
    how.no_repeat_ngram = (uint32_t)set.no_repeat_ngram.value;
    how.n_tokens = (uint32_t)set.n_tokens.value;
    how.overflow = set.overflow.value;
    how.n_keep = (uint32_t)set.keep.value;
    how.sampler = j->sampler;
    how.filter = j->filter;
    how.stop = set.stop.items;
    how.n_stop = set.stop.n;
    how.progress = on_prefill;
    how.progress_user = j;
    if (set.echo) {
        cli_out_text(j->prompt.data, j->prompt.n);
        cli_out_flush();
    }
    cli_progress_begin(&j->progress, "reading the prompt", true);
    cli_interrupt_session(j->session);
    // A signal before this line found no session to cancel.
    const ink_status status = cli_interrupted()
                                  ? INK_E_CANCELLED
                                  : ink_session_generate(j->session, j->prompt.data, j->prompt.n,
                                                         &how, on_piece, j, &result, &error);
    cli_interrupt_session(NULL);
    cli_progress_end(&j->progress);
    if (!set.json && cli_out_is_terminal() && !cli_out_at_line_start()) cli_out("\n");
    if (status == INK_E_CONTEXT)
        return cli_fail(CLI_CONTEXT, "%s (--overflow left cuts its beginning)", error.message);
    if (status != INK_OK) return cli_interrupted() ? CLI_INTERRUPTED : cli_fail_ink(status, &error);
    if (set.json) print_summary(j, &result);
    cli_out_flush();
    if (set.stats) print_stats(j, &result);
    return cli_interrupted() ? CLI_INTERRUPTED : CLI_OK;
}

static int run(char **args, size_t n_args) {
    (void)n_args;
    job j = {0};
    if (set.echo && set.json)
        return cli_fail(CLI_USAGE,
                        "complete: --echo does not go with --json (see inkling complete --help)");
    for (size_t i = 0; i < set.stop.n; i++)
        if (set.stop.items[i][0] == 0)
            return cli_fail(
                CLI_USAGE,
                "complete: --stop needs a text that is not empty (see inkling complete --help)");
    int code = prepare(&j, args[0]);
    if (code == CLI_OK) code = generate(&j);
    ink_session_free(j.session);
    ink_sampler_free(j.sampler);
    ink_filter_unref(j.filter);
    cli_adapters_close(&j.adapters);
    ink_model_unref(j.model);
    free(j.prompt.data);
    return code;
}

const cli_command cli_complete_command = {
    .name = "complete",
    .synopsis = "[-m MODEL] [options] PROMPT|-",
    .summary = "Continues a text and streams the words as they are made",
    .details =
        "The continuation goes to standard output, the prompt only with --echo. \"-\" reads the "
        "prompt\n"
        "from standard input, all of its bytes, at most 64 MB. An empty prompt starts a new text.\n"
        "Into a pipe or a file go exactly the bytes of the text; on a terminal a missing newline "
        "is added\n"
        "and control characters are shown as \\x1b. A UTF-8 character is never cut in two.\n"
        "Ctrl-C ends with the text so far; a second one ends at once.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .argument = "PROMPT",
    .min_args = 1,
    .max_args = 1,
    .defaults = defaults,
    .run = run,
};
