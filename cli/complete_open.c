// SPDX-License-Identifier: MIT
// From the options of `inkling complete` to a model, a session, a sampler and a grammar.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/complete_job.h"
#include "cli/report.h"

#define SEE_HELP " (see inkling complete --help)"

enum { MAX_GRAMMAR_BYTES = 1 << 20 };

// --- samplers -----------------------------------------------------------------------------------

static const char mirostat_chain[] = "logit_bias;penalties;dry;temp;mirostat";

static bool is_number(const char *text, const char *letters) {
    return text[0] != 0 && strspn(text, letters) == strlen(text);
}

// "ID:BIAS", and llama.cpp's "ID+BIAS" and "ID-BIAS".
static int read_bias(const char *text, ink_logit_bias *out) {
    const size_t digits = strspn(text, "0123456789");
    const char *value = text + digits + (text[digits] == ':');
    char *end = NULL;
    const double id = digits > 0 && digits < 11 ? strtod(text, NULL) : -1;
    double bias = NAN;
    if (value > text + digits || text[digits] == '+' || text[digits] == '-') {
        if (strcmp(value, "-inf") == 0)
            bias = -HUGE_VAL;
        else if (is_number(value, "0123456789+-.eE"))
            bias = strtod(value, &end);
    }
    if (id < 0 || id > INT32_MAX || isnan(bias) || (end != NULL && *end != 0))
        return cli_fail(CLI_USAGE,
                        "complete: --logit-bias needs ID:BIAS, as in 11:-2.5 or 11:-inf, not "
                        "\"%.100s\"" SEE_HELP,
                        text);
    *out = (ink_logit_bias){(ink_token)id, (float)bias};
    return CLI_OK;
}

static int read_biases(ink_logit_bias **out) {
    const cli_list *list = &cli_complete_set.logit_bias;
    int code = CLI_OK;
    if (list->n == 0) return CLI_OK;
    *out = calloc(list->n, sizeof **out);
    if (*out == NULL) return cli_fail_memory();
    for (size_t i = 0; i < list->n && code == CLI_OK; i++)
        code = read_bias(list->items[i], &(*out)[i]);
    return code;
}

// Numbers that have a default and a range in the table; the engine checks them again.
static void set_numbers(ink_sampler_options *o) {
    const cli_complete_options *set = &cli_complete_set;
    o->temperature = set->greedy ? 0.0f : (float)set->temperature.value;
    o->top_k = (uint32_t)set->top_k.value;
    o->top_p = (float)set->top_p.value;
    o->min_p = (float)set->min_p.value;
    o->typical_p = (float)set->typical.value;
    o->top_n_sigma = (float)set->top_n_sigma.value;
    o->repeat_penalty = (float)set->repeat_penalty.value;
    o->penalty_last_n = (uint32_t)set->repeat_last_n.value;
    o->presence_penalty = (float)set->presence_penalty.value;
    o->frequency_penalty = (float)set->frequency_penalty.value;
    o->dynatemp_range = (float)set->dynatemp_range.value;
    o->dynatemp_exponent = (float)set->dynatemp_exponent.value;
    o->xtc_probability = (float)set->xtc_probability.value;
    o->xtc_threshold = (float)set->xtc_threshold.value;
    o->dry_multiplier = (float)set->dry_multiplier.value;
    o->dry_base = (float)set->dry_base.value;
    o->dry_allowed_length = (uint32_t)set->dry_allowed_length.value;
    o->dry_last_n = (uint32_t)set->dry_last_n.value;
    o->mirostat_tau = (float)set->mirostat_tau.value;
    o->mirostat_eta = (float)set->mirostat_eta.value;
    o->dry_breakers = set->dry_breakers.items;
    o->n_dry_breakers = set->dry_breakers.n;
    // A list that is there and has nothing in it.
    if (set->dry_breakers.n == 1 && strcmp(set->dry_breakers.items[0], "none") == 0)
        o->n_dry_breakers = 0;
}

static int print_chain(cli_complete_job *j) {
    size_t n = 0;
    ink_status status = ink_sampler_chain(j->sampler, NULL, 0, &n);
    if (status == INK_OK || status == INK_E_SPACE) {
        char *chain = realloc(j->chain, n + 1);
        if (chain == NULL) return cli_fail_memory();
        j->chain = chain;
        status = ink_sampler_chain(j->sampler, chain, n + 1, &n);
    }
    return status == INK_OK ? CLI_OK : cli_fail_ink(status, NULL);
}

static int new_sampler(cli_complete_job *j, const char *chain, const ink_sampler_options *o) {
    ink_error error = {0};
    ink_sampler *made = NULL;
    const ink_status status = ink_sampler_new(&made, j->model, chain, o, &error);
    // What is malformed or too long was typed, it is no damaged file.
    if (status == INK_E_FORMAT || status == INK_E_LIMIT)
        return cli_fail_ink_as(CLI_USAGE, status, &error);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    ink_sampler_free(j->sampler);
    j->sampler = made;
    return CLI_OK;
}

// Any option that says how to choose, the seed apart.
static bool chooses(void) {
    static const char *const names[] = {"temperature",
                                        "greedy",
                                        "top-k",
                                        "top-p",
                                        "min-p",
                                        "typical",
                                        "top-n-sigma",
                                        "repeat-penalty",
                                        "samplers",
                                        "presence-penalty",
                                        "frequency-penalty",
                                        "repeat-last-n",
                                        "mirostat",
                                        "dynatemp-range",
                                        "dynatemp-exp",
                                        "xtc-probability",
                                        "logit-bias",
                                        "xtc-threshold",
                                        "dry-multiplier",
                                        "dry-base",
                                        "mirostat-tau",
                                        "mirostat-eta",
                                        "dry-allowed-length",
                                        "dry-penalty-last-n",
                                        "dry-sequence-breaker"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (cli_complete_given(names[i])) return true;
    return false;
}

// seeded: `seed` is the saved session's. Its sampler, in j->sampler, serves as it is, with another
// seed, or gives its place to what the options say.
static int make_sampler(cli_complete_job *j, uint64_t seed, bool seeded) {
    const cli_complete_options *set = &cli_complete_set;
    const bool anew = j->sampler == NULL || chooses();
    ink_logit_bias *biases = NULL;
    ink_sampler_options o;
    ink_sampler_options_init(&o, sizeof o);
    set_numbers(&o);
    o.seed_set = set->seed.set || seeded;
    o.seed = set->seed.set ? set->seed.value : seed;
    int code = read_biases(&biases);
    o.logit_bias = biases;
    o.n_logit_bias = set->logit_bias.n;
    const char *chain = set->samplers;
    if (set->mirostat.value > 0) chain = mirostat_chain;
    if (code == CLI_OK && !anew) code = print_chain(j);
    if (code == CLI_OK && (anew || set->seed.set))
        code = new_sampler(j, anew ? chain : j->chain, &o);
    if (code == CLI_OK && !o.seed_set) {
        // A random seed is shortened: it is there to be typed again.
        o.seed_set = 1;
        o.seed = ink_sampler_seed(j->sampler) & 0xffffffff;
        code = new_sampler(j, chain, &o);
    }
    free(biases);
    if (code == CLI_OK) code = print_chain(j);
    return code == CLI_OK && anew ? cli_complete_check_steps(j->chain) : code;
}

// --- grammar ------------------------------------------------------------------------------------

// A schema that was typed and does not begin as one is taken for a file's name.
static int read_rules(const char *path, bool schema, cli_bytes *file) {
    if (schema && strcmp(path, "-") != 0 && access(path, F_OK) != 0)
        return cli_fail(CLI_FILE,
                        "%s: cannot open: %s (--json-schema takes a file, or a schema, which "
                        "begins with {)",
                        path, strerror(errno));
    return cli_read_file(path, MAX_GRAMMAR_BYTES, schema ? "the schema" : "the grammar", file);
}

static int make_grammar(cli_complete_job *j) {
    const cli_complete_options *set = &cli_complete_set;
    const char *schema = set->json_schema, *path = set->grammar_file, *name = "--grammar";
    const char *text = set->grammar;
    cli_bytes file = {NULL, 0};
    ink_error error = {0};
    int code = CLI_OK;
    if (schema != NULL) {
        name = "--json-schema";
        text = schema[strspn(schema, " \t\r\n")] == '{' ? schema : NULL;
        path = text == NULL ? schema : NULL;
    }
    if (path != NULL) {
        code = read_rules(path, schema != NULL, &file);
        text = file.data;
        name = strcmp(path, "-") == 0 ? "standard input" : path;
    }
    if (code != CLI_OK || text == NULL) return code;
    const ink_status status = ink_grammar_new(
        &j->grammar, j->model, schema != NULL ? INK_GRAMMAR_JSON_SCHEMA : INK_GRAMMAR_GBNF, text,
        path != NULL ? file.n : strlen(text), &error);
    free(file.data);
    if (status == INK_OK) return CLI_OK;
    return cli_fail(status == INK_E_NOMEM ? CLI_NOMEM
                    : path != NULL        ? CLI_FILE
                                          : CLI_USAGE,
                    "%s: %s", name,
                    error.status == status ? error.message : ink_status_text(status));
}

// --- the whole ----------------------------------------------------------------------------------

// A short context holds fewer than what is guessed by default.
static uint32_t draft_max(const ink_model *model) {
    const cli_complete_options *set = &cli_complete_set;
    const uint32_t most = (uint32_t)set->draft_max.value;
    ink_model_info info = {.size = sizeof info};
    uint32_t n_ctx = (uint32_t)set->context.value;
    if (n_ctx == 0 && ink_model_get_info(model, &info) == INK_OK) n_ctx = info.n_ctx;
    return set->draft_max.set || most < n_ctx ? most : n_ctx - 1;
}

static int open_session(cli_complete_job *j) {
    const cli_complete_options *set = &cli_complete_set;
    ink_session_options session;
    ink_session_options_init(&session, sizeof session);
    session.adapters = j->adapters.list;
    session.n_adapters = j->adapters.n;
    session.n_ctx = (uint32_t)set->context.value;
    session.kv_type = set->kv_type.value;
    session.draft = j->draft;
    session.n_draft = set->draft != NULL ? draft_max(j->model) : 0;
    return cli_session_open(&j->session, j->model, &session);
}

static int open_models(cli_complete_job *j) {
    const cli_complete_options *set = &cli_complete_set;
    const bool drafts = set->draft != NULL && strcmp(set->draft, "ngram") != 0;
    if (drafts && strncmp(set->draft, "builtin:", 8) != 0 && access(set->draft, F_OK) != 0)
        return cli_fail(CLI_FILE, "%s: cannot open: %s (--draft takes a model, or the word ngram)",
                        set->draft, strerror(errno));
    int code = cli_runtime_open(&j->runtime, (uint32_t)set->threads.value);
    if (code == CLI_OK) code = cli_model_open_in(&j->model, j->runtime, set->model, 0);
    if (code == CLI_OK) code = cli_adapters_open(&j->adapters, j->model, &set->loras);
    if (code == CLI_OK && drafts) code = cli_model_open_in(&j->draft, j->runtime, set->draft, 0);
    return code;
}

int cli_complete_open(cli_complete_job *j, const char *prompt) {
    const cli_complete_options *set = &cli_complete_set;
    uint64_t seed = 0;
    bool seeded = false;
    int code = cli_read_text(prompt != NULL ? prompt : "", &j->prompt);
    if (code == CLI_OK && set->save != NULL) code = cli_complete_check_save();
    if (code == CLI_OK) code = cli_read_filter(set->filter, &set->ban, &j->filter);
    if (code != CLI_OK) return code;
    j->started = cli_now_ms();
    code = open_models(j);
    if (code == CLI_OK) code = open_session(j);
    if (code == CLI_OK) code = make_grammar(j);
    if (code == CLI_OK && set->load != NULL) code = cli_complete_load(j, &seed, &seeded);
    if (code == CLI_OK && !cli_complete_searches()) code = make_sampler(j, seed, seeded);
    j->load_ms = cli_now_ms() - j->started;
    return code;
}

void cli_complete_close(cli_complete_job *j) {
    ink_session_free(j->session);
    ink_sampler_free(j->sampler);
    ink_grammar_unref(j->grammar);
    ink_filter_unref(j->filter);
    cli_adapters_close(&j->adapters);
    ink_model_unref(j->draft);
    ink_model_unref(j->model);
    ink_runtime_unref(j->runtime);
    free(j->chain);
    free(j->prompt.data);
}
