// SPDX-License-Identifier: MIT
// Presets, options that go together, and a run's settings as JSON.
#include "cli/train_job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report.h"
#include "convert/json_file.h"

static const struct preset {
    uint64_t embd, layers, heads, context, vocab;
} presets[] = {
    {128, 4, 4, 256, 2048}, {256, 4, 4, 256, 4096},     {256, 8, 4, 512, 4096},
    {512, 8, 8, 512, 8192}, {768, 12, 12, 1024, 50257},
};
enum { PRESET_GPT2 = 4 };

// --- what goes together ------------------------------------------------------------------------

CLI_FORMAT(1, 2)
static int wrong(const char *format, ...) {
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return cli_fail(CLI_USAGE, "train: %s (see inkling train --help)", message);
}

static bool given(const cli_option *o) {
    switch (o->kind) {
    case CLI_FLAG: return *(const bool *)o->target;
    case CLI_TEXT: return *(const char *const *)o->target != NULL;
    case CLI_LIST: return ((const cli_list *)o->target)->n > 0;
    case CLI_UINT: return ((const cli_uint *)o->target)->set;
    case CLI_REAL: return ((const cli_real *)o->target)->set;
    case CLI_CHOICE: return ((const cli_choice *)o->target)->set;
    case CLI_HEADING: break;
    }
    return false;
}

static bool among(const char *name, const char *const *names) {
    while (*names != NULL && strcmp(name, *names) != 0) names++;
    return *names != NULL;
}

int cli_train_check_resume(const cli_train_options *set, size_t n_texts) {
    static const char *const allowed[] = {
        "resume",           "steps", "threads", "checkpoint-minutes",
        "checkpoint-steps", "json",  "quiet",   NULL};
    if (set->json && set->quiet) return wrong("--json does not go with --quiet");
    for (size_t i = 0; i < cli_train_table_size; i++)
        if (given(&cli_train_table[i]) && !among(cli_train_table[i].name, allowed))
            return wrong("--%s does not go with --resume, which goes on with the options the run "
                         "was begun with",
                         cli_train_table[i].name);
    if (n_texts > 0) return wrong("a text does not go with --resume, which knows its texts");
    return CLI_OK;
}

static const cli_option *option_at(const void *target) {
    size_t i = 0;
    while (cli_train_table[i].target != target) i++;
    return &cli_train_table[i];
}

// Of the targets, the first that was given.
static const char *first_given(const void *const *targets, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const cli_option *o = option_at(targets[i]);
        if (given(o)) return o->name;
    }
    return NULL;
}
#define FIRST_GIVEN(...)                                                                           \
    first_given((const void *const[]){__VA_ARGS__},                                                \
                sizeof((const void *const[]){__VA_ARGS__}) / sizeof(const void *))

static int check_model(const cli_train_options *set) {
    const char *name = FIRST_GIVEN(&set->preset, &set->embd, &set->layers, &set->heads, &set->vocab,
                                   &set->tokenizer);
    if (set->init != NULL && name != NULL)
        return wrong("--%s does not go with --init, which brings sizes and vocabulary", name);
    if (set->tokenizer != NULL && set->vocab.set)
        return wrong("--vocab does not go with --tokenizer, which brings the vocabulary");
    if (set->teacher != NULL && set->vocab.set)
        return wrong("--vocab does not go with --teacher, which brings the vocabulary");
    if (set->lora.set && set->init == NULL)
        return wrong("--lora needs the model to adapt: --init MODEL");
    if (set->lora_alpha.set && !set->lora.set) return wrong("--lora-alpha needs --lora");
    if (set->lora.set && set->teacher != NULL)
        return wrong("--teacher does not go with --lora: an adapter learns from its text");
    if (set->lora.set && set->hf)
        return wrong("--hf does not go with --lora: an adapter is no whole model (inkling merge "
                     "makes one)");
    if (set->lora.set && set->type.set && set->type.value != CLI_TRAIN_TYPE_F32 &&
        set->type.value != CLI_TRAIN_TYPE_F16)
        return wrong("--type of an adapter is f32 or f16");
    name = FIRST_GIVEN(&set->distil_weight, &set->distil_temperature);
    if (name != NULL && set->teacher == NULL) return wrong("--%s needs --teacher", name);
    return CLI_OK;
}

// Everything is kept as JSON, which has no other text.
static bool is_utf8(const char *text) {
    json_t *value = json_string(text);
    json_decref(value);
    return value != NULL;
}

static int check_texts(const char *const *texts, size_t n_texts) {
    for (size_t i = 0; i < n_texts; i++)
        if (!is_utf8(texts[i])) return wrong("a file's name is not UTF-8: \"%.100s\"", texts[i]);
    for (size_t i = 0; i < cli_train_table_size; i++) {
        const cli_option *o = &cli_train_table[i];
        if (o->kind == CLI_TEXT && given(o) && !is_utf8(*(const char *const *)o->target))
            return wrong("--%s is not UTF-8", o->name);
    }
    return CLI_OK;
}

int cli_train_check(const cli_train_options *set, const char *const *texts, size_t n_texts) {
    if (n_texts == 0) return wrong("TEXT is missing");
    if (set->output == NULL) return wrong("-o DIR is missing");
    if (set->output[0] == 0) return wrong("-o needs a folder's name");
    int code = check_texts(texts, n_texts);
    if (code == CLI_OK) code = check_model(set);
    if (code != CLI_OK) return code;
    if (set->valid != NULL && set->held_out.set)
        return wrong("--held-out does not go with --valid: either of the two");
    if (set->steps.set && set->epochs.set)
        return wrong("--epochs does not go with --steps: either of the two");
    if (set->sample_prompt != NULL && !set->sample_every.set)
        return wrong("--sample-prompt needs --sample-every");
    if (set->json && set->quiet) return wrong("--json does not go with --quiet");
    return CLI_OK;
}

// --- what follows from what ----------------------------------------------------------------------

static void otherwise(cli_uint *where, uint64_t value) {
    if (!where->set) where->value = value;
}

void cli_train_apply_preset(cli_train_options *set) {
    const struct preset *p = &presets[set->preset.value];
    otherwise(&set->embd, p->embd);
    otherwise(&set->layers, p->layers);
    otherwise(&set->heads, p->heads);
    otherwise(&set->context, p->context);
    otherwise(&set->vocab, p->vocab);
}

enum { STEP_TOKENS = 8192, PASS_TOKENS = 4096, MAX_WARMUP = 1000, MAX_BETWEEN = 500 };

void cli_train_decide(cli_train_options *set, bool fine_tune) {
    const uint64_t n = set->context.value;
    const bool lora = set->lora.value > 0;
    otherwise(&set->batch, STEP_TOKENS / n > 0 ? STEP_TOKENS / n : 1);
    uint64_t rows = lora ? n : PASS_TOKENS / n * n;
    if (rows > set->batch.value * n) rows = set->batch.value * n;
    otherwise(&set->pass_tokens, rows > 0 ? rows : n);
    if (lora) set->recompute = true;
    if (!set->rate.set)
        set->rate.value = lora                               ? 1e-3
                          : fine_tune                        ? 5e-5
                          : set->preset.value == PRESET_GPT2 ? 6e-4
                                                             : 1e-3;
    if (!set->rate_end.set) set->rate_end.value = set->rate.value / 10;
    if (!set->lora_alpha.set) set->lora_alpha.value = 2 * (double)set->lora.value;
    // What is neither F32 nor F16 would be a choice for a whole model.
    if (lora && !set->type.set) set->type.value = CLI_TRAIN_TYPE_F16;
}

void cli_train_decide_steps(cli_train_options *set, uint64_t epoch_sequences) {
    const double wanted = set->epochs.value * (double)epoch_sequences / (double)set->batch.value;
    otherwise(&set->steps, wanted >= 1e12 ? (uint64_t)1e12 : (uint64_t)ceil(wanted));
    if (set->steps.value == 0) set->steps.value = 1;
    const uint64_t n = set->steps.value, twentieth = n / 20, fortieth = n / 40;
    otherwise(&set->warmup, twentieth < MAX_WARMUP ? twentieth : MAX_WARMUP);
    otherwise(&set->validate_every, fortieth == 0            ? 1
                                    : fortieth < MAX_BETWEEN ? fortieth
                                                             : MAX_BETWEEN);
    // A pass without the way back costs about a third.
    const uint64_t most = set->validate_every.value * set->batch.value * 3 / 10;
    otherwise(&set->held_max, most < 16 ? 16 : most < 1 << 30 ? most : 1 << 30);
}

// --- JSON ----------------------------------------------------------------------------------------

// What is of one process or of the folder alone is not kept.
static bool kept(const cli_option *o) {
    static const char *const passing[] = {"output", "resume", "force-new", "threads",
                                          "json",   "quiet",  NULL};
    return !among(o->name, passing);
}

static json_t *option_json(const cli_option *o) {
    switch (o->kind) {
    case CLI_FLAG: return json_boolean(*(const bool *)o->target);
    case CLI_TEXT: {
        const char *text = *(const char *const *)o->target;
        return text == NULL ? json_null() : json_string(text);
    }
    case CLI_UINT: return json_integer((json_int_t)((const cli_uint *)o->target)->value);
    case CLI_REAL: return json_real(((const cli_real *)o->target)->value);
    case CLI_CHOICE: return json_string(o->choices[((const cli_choice *)o->target)->value]);
    case CLI_LIST:
    case CLI_HEADING: break;
    }
    return json_null();
}

json_t *cli_train_settings_json(const cli_train_job *job) {
    char bits[20];
    snprintf(bits, sizeof bits, "%016llx", (unsigned long long)job->vocab_bits);
    json_t *root = json_pack("{ss ss}", "inkling", ink_version(), "vocabulary", bits);
    json_t *texts = json_array(), *options = json_object();
    int failed = root == NULL;
    for (size_t i = 0; i < job->n_texts; i++)
        failed |= json_array_append_new(texts, json_string(job->texts[i]));
    for (size_t i = 0; i < cli_train_table_size; i++) {
        const cli_option *o = &cli_train_table[i];
        if (kept(o)) failed |= json_object_set_new(options, o->name, option_json(o));
    }
    failed |= json_object_set_new(root, "texts", texts);
    failed |= json_object_set_new(root, "options", options);
    if (!failed) return root;
    json_decref(root);
    return NULL;
}

char *cli_train_config_text(const cli_train_job *job) {
    json_t *root = cli_train_settings_json(job);
    char *text = NULL;
    if (root != NULL && json_object_set_new(root, "folder", json_string(job->folder)) == 0)
        text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    json_decref(root);
    return text;
}

// A number of a run is in the range that can be given, or 0 for one that need not be. A vocabulary
// may also be that of a model, of any size.
static bool in_range(const cli_option *o, double x) {
    static const char *const optional[] = {"lora", "lora-alpha", "sample-every", NULL};
    if (x == 0 && among(o->name, optional)) return true;
    if (o->target == &cli_train_set.vocab) return x >= 1 && x <= UINT32_MAX;
    return x >= o->low && x <= o->high;
}

static bool read_uint(const cli_option *o, const json_t *value) {
    const json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || !in_range(o, (double)n)) return false;
    *(cli_uint *)o->target = (cli_uint){(uint64_t)n, true};
    return true;
}

static bool read_choice(const cli_option *o, const json_t *value) {
    unsigned i = 0;
    if (!json_is_string(value)) return false;
    while (o->choices[i] != NULL && strcmp(o->choices[i], json_string_value(value)) != 0) i++;
    if (o->choices[i] == NULL) return false;
    *(cli_choice *)o->target = (cli_choice){i, true};
    return true;
}

static bool read_option(const cli_option *o, const json_t *value) {
    const double x = json_number_value(value);
    switch (o->kind) {
    case CLI_FLAG: *(bool *)o->target = json_is_true(value); return json_is_boolean(value);
    case CLI_TEXT:
        *(const char **)o->target = json_string_value(value);
        return json_is_string(value) || json_is_null(value);
    case CLI_UINT: return read_uint(o, value);
    case CLI_REAL:
        if (!json_is_number(value) || !in_range(o, x)) return false;
        *(cli_real *)o->target = (cli_real){x, true};
        return true;
    case CLI_CHOICE: return read_choice(o, value);
    case CLI_LIST:
    case CLI_HEADING: break;
    }
    return false;
}

static int damaged(const char *where, const char *field) {
    return cli_fail(CLI_MODEL, "%s: the settings in it are damaged: \"%s\"", where, field);
}

static int read_texts(cli_train_job *job, const json_t *texts, const char *where) {
    const size_t n = json_array_size(texts);
    if (n == 0) return damaged(where, "texts");
    job->texts = malloc(n * sizeof *job->texts);
    if (job->texts == NULL) return cli_fail_memory();
    job->n_texts = n;
    for (size_t i = 0; i < n; i++) {
        job->texts[i] = json_string_value(json_array_get(texts, i));
        if (job->texts[i] == NULL) return damaged(where, "texts");
    }
    return CLI_OK;
}

int cli_train_config_read(cli_train_job *job, inki_str text, const char *where) {
    ink_error error = {0};
    const ink_status status =
        inki_json_load_text(&job->config, text.data, text.bytes, where, &error);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    const json_t *options = json_object_get(job->config, "options");
    const char *folder = json_string_value(json_object_get(job->config, "folder"));
    const char *bits = json_string_value(json_object_get(job->config, "vocabulary"));
    if (folder == NULL) return damaged(where, "folder");
    if (bits == NULL || strspn(bits, "0123456789abcdef") != 16 || bits[16] != 0)
        return damaged(where, "vocabulary");
    job->vocab_bits = strtoull(bits, NULL, 16);
    job->folder = strdup(folder);
    if (job->folder == NULL) return cli_fail_memory();
    for (size_t i = 0; i < cli_train_table_size; i++) {
        const cli_option *o = &cli_train_table[i];
        const json_t *value = json_object_get(options, o->name);
        // One that a later version has added has its default.
        if (kept(o) && value != NULL && !read_option(o, value)) return damaged(where, o->name);
    }
    return read_texts(job, json_object_get(job->config, "texts"), where);
}
#undef FIRST_GIVEN
