// SPDX-License-Identifier: MIT
// From options to a trainer that is ready: folder, models, texts, vocabulary, data, net.
#include "cli/train_job.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/out.h"
#include "cli/report.h"
#include "cli/text.h"
#include "convert/convert.h"

const char *cli_train_path(const cli_train_job *job, const char *name, char *out) {
    snprintf(out, CLI_TRAIN_PATH, "%s/%s", job->dir, name);
    return out;
}

const char *cli_train_input(const cli_train_job *job, const char *path, char *out) {
    const bool plain = path[0] == '/' || job->config == NULL || strncmp(path, "builtin:", 8) == 0;
    snprintf(out, CLI_TRAIN_PATH, "%s%s%s", plain ? "" : job->folder, plain ? "" : "/", path);
    return out;
}

// --- models
// ----------------------------------------------------------------------------------------

static void on_log(void *user, int level, const char *message) {
    (void)user;
    if (level <= INK_LOG_WARN && !cli_train_set.quiet) cli_note("inkling: %s", message);
}

static int open_runtime(cli_train_job *job) {
    ink_error error = {0};
    ink_runtime_options options;
    ink_runtime_options_init(&options, sizeof options);
    options.n_threads = (uint32_t)cli_train_set.threads.value;
    options.log = on_log;
    const ink_status status = ink_runtime_new(&job->runtime, &options, &error);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    job->compute = inki_train_compute(job->runtime, cli_train_set.precision.value == CLI_TRAIN_F32
                                                        ? INKI_PRECISION_F32
                                                        : INKI_PRECISION_BF16);
    job->mem = job->compute.mem;
    return CLI_OK;
}

static int open_model(cli_train_job *job, const char *name, cli_train_model *out) {
    ink_error error = {0};
    if (cli_source_check(name) != CLI_OK) return CLI_FILE;
    const ink_source source = cli_source(name);
    const ink_status status = ink_model_open(&out->model, job->runtime, &source, NULL, &error);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    out->view = inki_train_view(out->model);
    return CLI_OK;
}

static int open_named(cli_train_job *job, const char *name, cli_train_model *out) {
    char path[CLI_TRAIN_PATH];
    return name == NULL ? CLI_OK : open_model(job, cli_train_input(job, name, path), out);
}

static int on_converting(void *user, double fraction, const char *what) {
    (void)what;
    if (cli_train_tells()) cli_progress_update(user, fraction);
    return cli_interrupted();
}

// A directory becomes a file in the run's folder. For an adapter it stays there as the model that
// it is used with.
static int convert_init(cli_train_job *job, const char *dir) {
    const bool lora = cli_train_set.lora.value > 0;
    char path[CLI_TRAIN_PATH];
    ink_error error = {0};
    cli_progress progress;
    job->converted = lora ? "base.gguf" : "init.gguf";
    cli_train_path(job, job->converted, path);
    const inki_convert_options how = {.dir = dir,
                                      .out = path,
                                      .type = lora ? INKI_F16 : INKI_F32,
                                      .progress = on_converting,
                                      .user = &progress};
    cli_progress_begin(&progress, "converting", false);
    const ink_status status = inki_convert_hf(&how, &error);
    cli_progress_end(&progress);
    if (status != INK_OK) return cli_interrupted() ? CLI_INTERRUPTED : cli_fail_ink(status, &error);
    return open_model(job, path, &job->init);
}

static int open_init(cli_train_job *job) {
    char path[CLI_TRAIN_PATH];
    struct stat there;
    if (cli_train_set.init == NULL) return CLI_OK;
    cli_train_input(job, cli_train_set.init, path);
    if (stat(path, &there) == 0 && S_ISDIR(there.st_mode)) return convert_init(job, path);
    return open_model(job, path, &job->init);
}

static int open_models(cli_train_job *job) {
    int code = open_init(job);
    if (code == CLI_OK) code = open_named(job, cli_train_set.tokenizer, &job->vocab_model);
    if (code == CLI_OK) code = open_named(job, cli_train_set.teacher, &job->teacher);
    return code;
}

// --- sizes
// -----------------------------------------------------------------------------------------

enum { LORA_CONTEXT = 256 };

static void sizes_of_init(cli_train_job *job) {
    const inki_weights *w = job->init.view.weights;
    cli_train_options *set = &cli_train_set;
    set->embd.value = w->n_embd;
    set->layers.value = w->n_layer;
    set->heads.value = w->n_head;
    set->vocab.value = w->n_vocab;
    const uint32_t n = set->lora.value > 0 && w->n_ctx > LORA_CONTEXT ? LORA_CONTEXT : w->n_ctx;
    if (!set->context.set) set->context.value = n;
    job->shape = (inki_net_shape){.n_vocab = w->n_vocab,
                                  .n_ctx = w->n_ctx,
                                  .n_embd = w->n_embd,
                                  .n_layer = w->n_layer,
                                  .n_head = w->n_head,
                                  .n_ff = w->n_ff,
                                  .norm_eps = w->norm_eps};
}

static int decide_sizes(cli_train_job *job) {
    cli_train_options *set = &cli_train_set;
    if (job->init.model != NULL) {
        sizes_of_init(job);
    } else {
        cli_train_apply_preset(set);
        job->shape = (inki_net_shape){.n_ctx = (uint32_t)set->context.value,
                                      .n_embd = (uint32_t)set->embd.value,
                                      .n_layer = (uint32_t)set->layers.value,
                                      .n_head = (uint32_t)set->heads.value,
                                      .n_ff = (uint32_t)set->embd.value * 4,
                                      .norm_eps = 1e-5f};
    }
    const unsigned context = (unsigned)set->context.value, n_ctx = job->shape.n_ctx;
    if (context > n_ctx)
        return cli_fail(CLI_USAGE, "train: --context %u is more than %s has, %u", context,
                        set->init, n_ctx);
    if (job->teacher.model != NULL && context > job->teacher.view.weights->n_ctx)
        return cli_fail(CLI_USAGE, "train: --context %u is more than the teacher %s has, %u",
                        context, set->teacher, (unsigned)job->teacher.view.weights->n_ctx);
    if (job->shape.n_embd % job->shape.n_head != 0)
        return cli_fail(CLI_USAGE, "train: --embd %u is no multiple of --heads %u",
                        (unsigned)job->shape.n_embd, (unsigned)job->shape.n_head);
    if (job->shape.n_embd / job->shape.n_head > INKI_MAX_HEAD_DIM)
        return cli_fail(CLI_USAGE, "train: heads of %u are too wide, at most %u: more --heads",
                        (unsigned)(job->shape.n_embd / job->shape.n_head),
                        (unsigned)INKI_MAX_HEAD_DIM);
    cli_train_decide(set, job->init.model != NULL);
    if (set->rate_end.value > set->rate.value)
        return cli_fail(CLI_USAGE, "train: --rate-end %g is above the rate, %g",
                        set->rate_end.value, set->rate.value);
    if (set->pass_tokens.value % context != 0)
        return cli_fail(CLI_USAGE, "train: --pass-tokens %llu is no multiple of the context, %u",
                        (unsigned long long)set->pass_tokens.value, context);
    return CLI_OK;
}

// --- texts and data
// --------------------------------------------------------------------------------

static int open_text(cli_train_job *job, const char *name, inki_file *out, inki_str *text) {
    char path[CLI_TRAIN_PATH];
    ink_error error = {0};
    const ink_status status =
        inki_os_open_path(out, cli_train_input(job, name, path), false, &job->mem, &error);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    *text = (inki_str){(const char *)out->data, out->bytes};
    return CLI_OK;
}

static void close_texts(cli_train_job *job) {
    for (size_t i = 0; job->text_files != NULL && i <= job->n_texts; i++)
        inki_os_close(&job->text_files[i]);
    free(job->text_files);
    job->text_files = NULL;
}

static int make_data(cli_train_job *job, const inki_str *texts) {
    const cli_train_options *set = &cli_train_set;
    const inki_data_options options = {.n_ctx = (uint32_t)set->context.value,
                                       .seed = set->seed.value,
                                       .held_out = set->held_out.value,
                                       .blank_lines = set->blank_lines.value};
    const bool valid = set->valid != NULL;
    ink_error error = {0};
    const ink_status status = inki_data_new(&job->data, job->tokenizer, texts, job->n_texts,
                                            valid ? texts + job->n_texts : NULL, valid ? 1 : 0,
                                            &options, job->compute.pool, &job->mem, &error);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    cli_train_decide_steps(&cli_train_set, inki_data_epoch_sequences(job->data));
    return cli_interrupted() ? CLI_INTERRUPTED : CLI_OK;
}

static int read_texts(cli_train_job *job) {
    const size_t n = job->n_texts;
    inki_str *texts = calloc(n + 1, sizeof *texts);
    job->text_files = calloc(n + 1, sizeof *job->text_files);
    int code = texts == NULL || job->text_files == NULL ? cli_fail_memory() : CLI_OK;
    for (size_t i = 0; i < n && code == CLI_OK; i++)
        code = open_text(job, job->texts[i], &job->text_files[i], &texts[i]);
    if (code == CLI_OK && cli_train_set.valid != NULL)
        code = open_text(job, cli_train_set.valid, &job->text_files[n], &texts[n]);
    if (code == CLI_OK) code = cli_train_vocabulary(job, texts, n);
    if (code == CLI_OK) code = cli_train_check_teacher(job);
    if (code == CLI_OK) code = make_data(job, texts);
    close_texts(job);
    free(texts);
    job->shape.n_vocab = job->tokenizer != NULL ? inki_tokenizer_n_vocab(job->tokenizer) : 0;
    if (code == CLI_OK) cli_train_set.vocab.value = job->shape.n_vocab;
    return code;
}

// --- net and trainer
// -------------------------------------------------------------------------------

static inki_net_options net_options(const cli_train_job *job) {
    const cli_train_options *set = &cli_train_set;
    inki_net_options o = {.shape = job->shape,
                          .n_seq = (uint32_t)set->context.value,
                          .n_tokens_a_pass = (uint32_t)set->pass_tokens.value,
                          .recompute = set->recompute,
                          .dropout = (float)set->dropout.value,
                          .lora_rank = (uint32_t)set->lora.value,
                          .lora_alpha = (float)set->lora_alpha.value};
    if (set->lora.value > 0) o.base = job->init.view.weights;
    if (set->teacher != NULL)
        o.distil =
            (inki_distil){(float)set->distil_weight.value, (float)set->distil_temperature.value};
    return o;
}

static inki_net_options teacher_options(const cli_train_job *job) {
    const inki_weights *w = job->teacher.view.weights;
    return (inki_net_options){.shape = {.n_vocab = w->n_vocab,
                                        .n_ctx = w->n_ctx,
                                        .n_embd = w->n_embd,
                                        .n_layer = w->n_layer,
                                        .n_head = w->n_head,
                                        .n_ff = w->n_ff,
                                        .norm_eps = w->norm_eps},
                              .n_seq = (uint32_t)cli_train_set.context.value,
                              .n_tokens_a_pass = (uint32_t)cli_train_set.pass_tokens.value,
                              .recompute = true,
                              .base = w};
}

// Numbers that learn: those of the net are known only when it is there, and it is to be known
// before whether there is room for it.
static uint64_t count_values(const cli_train_job *job) {
    const inki_net_shape *s = &job->shape;
    const uint64_t e = s->n_embd, f = s->n_ff, r = cli_train_set.lora.value;
    if (r > 0) return s->n_layer * r * (4 * e + 2 * e + 2 * (e + f));
    return ((uint64_t)s->n_vocab + s->n_ctx) * e +
           s->n_layer * (4 * e * e + 2 * e * f + 9 * e + f) + 2 * e;
}

static int check_memory(cli_train_job *job, const inki_net_options *net,
                        const inki_net_options *teacher) {
    ink_error error = {0};
    size_t bytes = 0, more = 0;
    ink_status status = inki_net_measure(&job->compute, net, &bytes, &error);
    if (status == INK_OK && job->teacher.model != NULL)
        status = inki_net_measure(&job->compute, teacher, &more, &error);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    const inki_data_stats *stats = inki_data_get_stats(job->data);
    // The optimiser's two averages and the best weights; the text as tokens.
    job->memory_bytes = (uint64_t)bytes + more + 12 * count_values(job) +
                        4 * (stats->n_tokens + stats->n_held_tokens);
    const uint64_t machine = inki_os_memory_bytes();
    if (machine == 0 || job->memory_bytes <= machine) return CLI_OK;
    char need[CLI_TEXT_SIZE], have[CLI_TEXT_SIZE];
    return cli_fail(CLI_NOMEM,
                    "training takes %s of memory, the machine has %s: a smaller --pass-tokens, "
                    "--recompute or a smaller model need less",
                    cli_text_size(job->memory_bytes, need), cli_text_size(machine, have));
}

static int make_nets(cli_train_job *job) {
    const inki_net_options options = net_options(job);
    inki_net_options teacher = {0};
    if (job->teacher.model != NULL) teacher = teacher_options(job);
    ink_error error = {0};
    const int code = check_memory(job, &options, &teacher);
    if (code != CLI_OK) return code;
    ink_status status = inki_net_new(&job->net, &job->compute, &options, &error);
    if (status == INK_OK && job->teacher.model != NULL)
        status = inki_net_new(&job->teacher_net, &job->compute, &teacher, &error);
    if (status == INK_OK && job->init.model != NULL && options.base == NULL)
        status = inki_net_load(job->net, job->init.view.weights, &error);
    else if (status == INK_OK)
        inki_net_init_random(job->net, cli_train_set.seed.value);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    // What the machine has is what counts from now on, also when the run goes on elsewhere.
    const bool bf16 = inki_net_precision(job->net) == INKI_PRECISION_BF16;
    if (job->config != NULL && bf16 != (cli_train_set.precision.value == CLI_TRAIN_BF16))
        cli_train_say("this machine has no bf16 products, which the run was begun with: from here "
                      "on it is f32");
    cli_train_set.precision.value = bf16 ? CLI_TRAIN_BF16 : CLI_TRAIN_F32;
    return CLI_OK;
}

static int make_trainer(cli_train_job *job) {
    const cli_train_options *set = &cli_train_set;
    // Where nothing could be held out, no validation is better than another.
    const bool validates = inki_data_get_stats(job->data)->n_held_tokens > 0;
    const inki_train_settings settings = {.batch = (uint32_t)set->batch.value,
                                          .n_steps = set->steps.value,
                                          .n_warmup = set->warmup.value,
                                          .rate = (float)set->rate.value,
                                          .rate_end = (float)set->rate_end.value,
                                          .beta1 = (float)set->beta1.value,
                                          .beta2 = (float)set->beta2.value,
                                          .eps = 1e-8f,
                                          .decay = (float)set->decay.value,
                                          .clip = (float)set->clip.value,
                                          .seed = set->seed.value,
                                          .validate_every = set->validate_every.value,
                                          .keep_every = CLI_TRAIN_KEEP,
                                          .patience = validates ? (uint32_t)set->patience.value : 0,
                                          .max_held = (uint32_t)set->held_max.value};
    char path[CLI_TRAIN_PATH];
    ink_error error = {0};
    ink_status status = inki_trainer_new(&job->trainer, job->net, job->data, job->teacher_net,
                                         &settings, &job->mem, &error);
    if (status == INK_OK && job->config != NULL)
        status =
            inki_checkpoint_load(job->trainer, cli_train_path(job, "checkpoint.bin", path), &error);
    return status == INK_OK ? CLI_OK : cli_fail_ink(status, &error);
}

// --- what is told before it starts
// -----------------------------------------------------------------

static void tell_model(const cli_train_job *job) {
    const inki_net_shape *s = &job->shape;
    char count[CLI_TRAIN_TEXT], size[CLI_TEXT_SIZE], machine[CLI_TEXT_SIZE];
    const char *vocabulary = job->learns_vocab ? "learnt" : "taken over";
    cli_train_say("model         %u layer%s of %u, %u heads, context %u, vocabulary %u (%s)",
                  (unsigned)s->n_layer, s->n_layer == 1 ? "" : "s", (unsigned)s->n_embd,
                  (unsigned)s->n_head, (unsigned)s->n_ctx, (unsigned)s->n_vocab, vocabulary);
    cli_train_say("learns        %s parameters%s",
                  cli_train_count(inki_net_n_values(job->net), count),
                  cli_train_set.lora.value > 0 ? " of an adapter" : "");
    cli_train_say("memory        %s, the machine has %s", cli_text_size(job->memory_bytes, size),
                  cli_text_size(inki_os_memory_bytes(), machine));
    cli_train_say("arithmetic    %s, %s, %u thread%s",
                  cli_train_set.precision.value == CLI_TRAIN_BF16 ? "bf16" : "f32",
                  ink_runtime_cpu_level(job->runtime),
                  (unsigned)ink_runtime_n_threads(job->runtime),
                  ink_runtime_n_threads(job->runtime) == 1 ? "" : "s");
}

static void tell_text(const cli_train_job *job) {
    const inki_data_stats *d = inki_data_get_stats(job->data);
    char size[CLI_TEXT_SIZE], documents[CLI_TRAIN_TEXT], held[CLI_TRAIN_TEXT],
        tokens[CLI_TRAIN_TEXT], held_tokens[CLI_TRAIN_TEXT], invalid[CLI_TRAIN_TEXT];
    const uint64_t all = d->n_tokens + (cli_train_set.valid == NULL ? d->n_held_tokens : 0);
    const double per_token = all > 0 ? (double)d->n_bytes / (double)all : 0;
    cli_train_say("text          %s, %s documents, and %s to validate with",
                  cli_text_size(d->n_bytes, size), cli_train_count(d->n_documents, documents),
                  cli_train_count(d->n_held, held));
    if (d->n_invalid > 0)
        cli_train_say("not UTF-8     %s bytes of it, kept as they are",
                      cli_train_count(d->n_invalid, invalid));
    if (d->n_held_tokens == 0)
        cli_train_say("validation    none: the text cannot be divided; the last weights count");
    cli_train_say("tokens        %s, and %s to validate with; %.2f bytes each",
                  cli_train_count(d->n_tokens, tokens),
                  cli_train_count(d->n_held_tokens, held_tokens), per_token);
}

static void tell_run(const cli_train_job *job) {
    const cli_train_options *set = &cli_train_set;
    const uint64_t a_step = set->batch.value * set->context.value, n = set->steps.value;
    const double epochs =
        (double)n * (double)set->batch.value / (double)inki_data_epoch_sequences(job->data);
    char steps[CLI_TRAIN_TEXT], tokens[CLI_TRAIN_TEXT], all[CLI_TRAIN_TEXT], at[CLI_TRAIN_TEXT];
    cli_train_say("steps         %s of %s tokens: %s tokens, the text %.2f times",
                  cli_train_count(n, steps), cli_train_count(a_step, tokens),
                  cli_train_count(a_step * n, all), epochs);
    if (job->config != NULL)
        cli_train_say("goes on       behind step %s",
                      cli_train_count(inki_trainer_n_done(job->trainer), at));
}

static void tell_json(const cli_train_job *job) {
    const inki_data_stats *d = inki_data_get_stats(job->data);
    json_t *settings = cli_train_settings_json(job);
    json_t *start = json_pack(
        "{ss sI sI sI sI sI sI sI sI sI}", "event", "start", "bytes", (json_int_t)d->n_bytes,
        "invalid_bytes", (json_int_t)d->n_invalid, "documents", (json_int_t)d->n_documents,
        "held_documents", (json_int_t)d->n_held, "tokens", (json_int_t)d->n_tokens, "held_tokens",
        (json_int_t)d->n_held_tokens, "parameters", (json_int_t)inki_net_n_values(job->net),
        "memory_bytes", (json_int_t)job->memory_bytes, "step",
        (json_int_t)inki_trainer_n_done(job->trainer));
    if (start != NULL && (settings == NULL || json_object_update(start, settings) != 0)) {
        json_decref(start);
        start = NULL;
    }
    json_decref(settings);
    cli_out_json(start);
    cli_out_flush();
}

int cli_train_open(cli_train_job *job) {
    int code = open_runtime(job);
    if (code == CLI_OK) code = open_models(job);
    if (code == CLI_OK) code = decide_sizes(job);
    if (code == CLI_OK) code = read_texts(job);
    // Nobody else has this runtime: held from here on, but while a sample is generated.
    if (code == CLI_OK) job->holds_pool = inki_pool_enter(job->compute.pool);
    if (code == CLI_OK) code = make_nets(job);
    if (code == CLI_OK) code = make_trainer(job);
    if (code != CLI_OK) return code;
    tell_text(job);
    tell_model(job);
    tell_run(job);
    if (cli_train_set.json) tell_json(job);
    return CLI_OK;
}

void cli_train_close(cli_train_job *job) {
    inki_trainer_free(job->trainer);
    inki_net_free(job->net);
    inki_net_free(job->teacher_net);
    inki_data_free(job->data);
    if (job->own_tokenizer != NULL) inki_tokenizer_free(job->own_tokenizer);
    inki_learned_vocab_free(&job->learned);
    close_texts(job);
    ink_model_unref(job->init.model);
    ink_model_unref(job->vocab_model.model);
    ink_model_unref(job->teacher.model);
    if (job->holds_pool) inki_pool_leave(job->compute.pool);
    ink_runtime_unref(job->runtime);
    if (job->config != NULL) free((void *)job->texts);
    json_decref(job->config);
    free(job->folder);
}
