// SPDX-License-Identifier: MIT
// What a run writes: checkpoint, model or adapter, settings, chart, samples; and the last words.
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
#include "cli/train_job.h"
#include "convert/hf_write.h"
#include "convert/quantize.h"
#include "train/export.h"

#define WIDE_MODEL "model-f32.gguf" // while another is made of it

int cli_train_write(const cli_train_job *job, const char *name, const char *text, size_t bytes) {
    char path[CLI_TRAIN_PATH];
    ink_error error = {0};
    inki_out out = {.fd = -1};
    ink_status status = inki_out_open(&out, cli_train_path(job, name, path), &job->mem, &error);
    if (status == INK_OK) {
        status = inki_out_write(&out, text, bytes, &error);
        if (status == INK_OK)
            status = inki_out_commit(&out, &error);
        else
            inki_out_discard(&out);
    }
    return status == INK_OK ? CLI_OK : cli_fail_ink(status, &error);
}

static json_t *run_json(const cli_train_job *job) {
    const inki_data_stats *d = inki_data_get_stats(job->data);
    const inki_net_shape *s = &job->shape;
    return json_pack("{s{sI sI sI sI sI sI} s{sI sI sI sI sI sI sI} s{ss}}", "text", "bytes",
                     (json_int_t)d->n_bytes, "invalid_bytes", (json_int_t)d->n_invalid, "documents",
                     (json_int_t)d->n_documents, "held_documents", (json_int_t)d->n_held, "tokens",
                     (json_int_t)d->n_tokens, "held_tokens", (json_int_t)d->n_held_tokens, "model",
                     "parameters_that_learn", (json_int_t)inki_net_n_values(job->net), "vocab",
                     (json_int_t)s->n_vocab, "context", (json_int_t)s->n_ctx, "embd",
                     (json_int_t)s->n_embd, "layers", (json_int_t)s->n_layer, "heads",
                     (json_int_t)s->n_head, "ff", (json_int_t)s->n_ff, "machine", "level",
                     ink_runtime_cpu_level(job->runtime));
}

int cli_train_write_settings(const cli_train_job *job) {
    json_t *root = cli_train_settings_json(job), *run = run_json(job);
    char *text = NULL;
    if (root != NULL && run != NULL && json_object_update(root, run) == 0)
        text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    json_decref(run);
    if (text == NULL) return cli_fail_memory();
    const size_t bytes = strlen(text);
    text[bytes] = '\n'; // the 0 byte is not written
    const int code = cli_train_write(job, "settings.json", text, bytes + 1);
    free(text);
    return code;
}

// --- checkpoint ----------------------------------------------------------------------------------

int cli_train_save_checkpoint(cli_train_job *job) {
    char path[CLI_TRAIN_PATH];
    ink_error error = {0};
    struct stat there;
    char *config = cli_train_config_text(job);
    if (config == NULL) return cli_fail_memory();
    // The log has the rows of all steps that the checkpoint has.
    cli_train_progress_flush(job);
    cli_train_path(job, "checkpoint.bin", path);
    const ink_status status =
        inki_checkpoint_save(job->trainer, path, (inki_str){config, strlen(config)}, &error);
    free(config);
    job->saved_ms = cli_now_ms();
    if (status == INK_OK) return CLI_OK;
    if (stat(path, &there) == 0)
        return cli_fail(cli_exit_of(status),
                        "%s (the checkpoint before it is as it was: inkling train --resume %s)",
                        error.message, job->dir);
    return cli_fail_ink(status, &error);
}

// --- the model -----------------------------------------------------------------------------------

static ink_status export_floats(const cli_train_job *job, const char *path, uint32_t type,
                                ink_error *error) {
    const cli_train_options *set = &cli_train_set;
    ink_model_info info = {.size = sizeof info};
    const float *weights = inki_trainer_best(job->trainer);
    inki_export how = {.path = path,
                       .name = set->name,
                       .license = set->license,
                       .type = type,
                       .vocab = job->like == NULL ? &job->learned : NULL,
                       .like = job->like,
                       .mem = &job->mem};
    // What is made of a model is under its licence, unless the user says otherwise.
    if (how.license == NULL && job->init.model != NULL &&
        ink_model_get_info(job->init.model, &info) == INK_OK && info.license[0] != 0)
        how.license = info.license;
    return set->lora.value > 0 ? inki_export_adapter(&how, job->net, weights, error)
                               : inki_export_gguf(&how, job->net, weights, error);
}

static void on_note(void *user, const char *line) {
    (void)user;
    cli_train_say("%s", line);
}

static ink_status make_smaller(const char *from, const char *to, bool last, ink_error *error) {
    static const inki_quantize_preset of_type[] = {[CLI_TRAIN_TYPE_Q8_0] = INKI_QUANTIZE_Q8_0,
                                                   [CLI_TRAIN_TYPE_Q4_0] = INKI_QUANTIZE_Q4_0,
                                                   [CLI_TRAIN_TYPE_Q4_K] = INKI_QUANTIZE_Q4_K,
                                                   [CLI_TRAIN_TYPE_Q6_K] = INKI_QUANTIZE_Q6_K};
    const inki_quantize_options how = {.in = from,
                                       .out = to,
                                       .preset = of_type[cli_train_set.type.value],
                                       .n_threads = (uint32_t)cli_train_set.threads.value,
                                       .note = last ? on_note : NULL};
    return inki_quantize_file(&how, NULL, error);
}

static ink_status export_model(const cli_train_job *job, bool last, ink_error *error) {
    static const uint32_t types[] = {INKI_F32, INKI_F16, INKI_BF16};
    const unsigned type = cli_train_set.type.value;
    char path[CLI_TRAIN_PATH], wide[CLI_TRAIN_PATH], hf[CLI_TRAIN_PATH];
    cli_train_path(job, "model.gguf", path);
    cli_train_path(job, WIDE_MODEL, wide);
    cli_train_path(job, "hf", hf);
    const bool smaller = type >= CLI_TRAIN_TYPE_Q8_0, with_hf = last && cli_train_set.hf;
    ink_status status = INK_OK;
    if (smaller || with_hf) status = export_floats(job, wide, INKI_F32, error);
    if (status == INK_OK)
        status = smaller ? make_smaller(wide, path, last, error)
                         : export_floats(job, path, types[type], error);
    if (status == INK_OK && with_hf) status = inki_hf_write(wide, hf, &job->mem, error);
    if (smaller || with_hf) unlink(wide);
    return status;
}

static ink_status export_adapter(const cli_train_job *job, ink_error *error) {
    char path[CLI_TRAIN_PATH];
    cli_train_path(job, "adapter.gguf", path);
    return export_floats(
        job, path, cli_train_set.type.value == CLI_TRAIN_TYPE_F32 ? INKI_F32 : INKI_F16, error);
}

int cli_train_export(cli_train_job *job, bool last) {
    ink_error error = {0};
    const ink_status status = cli_train_set.lora.value > 0 ? export_adapter(job, &error)
                                                           : export_model(job, last, &error);
    return status == INK_OK ? CLI_OK : cli_fail_ink(status, &error);
}

static void title_of(const cli_train_job *job, char *out, size_t cap) {
    const inki_net_shape *s = &job->shape;
    char count[CLI_TRAIN_TEXT];
    const char *slash = strrchr(job->dir, '/');
    const char *name = cli_train_set.name != NULL       ? cli_train_set.name
                       : slash != NULL && slash[1] != 0 ? slash + 1
                                                        : job->dir;
    snprintf(out, cap, "%.80s: %u layer%s of %u, %s parameters", name, (unsigned)s->n_layer,
             s->n_layer == 1 ? "" : "s", (unsigned)s->n_embd,
             cli_train_count(inki_net_n_values(job->net), count));
}

void cli_train_draw(const cli_train_job *job) {
    char csv[CLI_TRAIN_PATH], svg[CLI_TRAIN_PATH], title[256];
    ink_error error = {0};
    title_of(job, title, sizeof title);
    // Before the first row there is nothing to draw.
    if (!job->has_report && job->progress.seconds == 0) return;
    if (cli_train_chart(cli_train_path(job, "log.csv", csv), cli_train_path(job, "loss.svg", svg),
                        title, &job->mem, &error) != INK_OK)
        cli_train_say("%s", error.message);
}

// --- samples -------------------------------------------------------------------------------------

enum { SAMPLE_TOKENS = 120 };

typedef struct sample {
    char *text;
    size_t n;
    bool failed;
} sample;

static int on_piece(void *user, const ink_piece *piece) {
    sample *s = user;
    char *grown = realloc(s->text, s->n + piece->bytes + 1);
    s->failed = grown == NULL;
    if (grown == NULL) return 1;
    s->text = grown;
    memcpy(s->text + s->n, piece->text, piece->bytes + 1);
    s->n += piece->bytes;
    return cli_interrupted();
}

static ink_status generate(ink_model *model, ink_adapter *adapter, sample *out, ink_error *error) {
    const char *prompt = cli_train_set.sample_prompt != NULL ? cli_train_set.sample_prompt : "";
    const ink_adapter_use use = {adapter, 1};
    ink_session *session = NULL;
    ink_sampler *sampler = NULL;
    ink_session_options options;
    ink_sampler_options choose;
    ink_generate_options how;
    ink_result result = {.size = sizeof result};
    ink_session_options_init(&options, sizeof options);
    ink_sampler_options_init(&choose, sizeof choose);
    ink_generate_options_init(&how, sizeof how);
    options.adapters = adapter != NULL ? &use : NULL;
    options.n_adapters = adapter != NULL;
    choose.seed_set = 1;
    choose.seed = cli_train_set.seed.value;
    how.n_tokens = SAMPLE_TOKENS;
    how.overflow = INK_OVERFLOW_LEFT;
    how.flags = INK_GENERATE_HEAL;
    ink_status status = ink_session_new(&session, model, &options, error);
    if (status == INK_OK) status = ink_sampler_new(&sampler, model, NULL, &choose, error);
    how.sampler = sampler;
    if (status == INK_OK)
        status = ink_session_generate(session, prompt, strlen(prompt), &how, on_piece, out, &result,
                                      error);
    ink_sampler_free(sampler);
    ink_session_free(session);
    return status;
}

static ink_status generate_best(const cli_train_job *job, sample *out, ink_error *error) {
    char path[CLI_TRAIN_PATH];
    ink_model *model = NULL;
    ink_adapter *adapter = NULL;
    const bool lora = cli_train_set.lora.value > 0;
    // What is written anew while it is mapped would be read wrongly: but it is renamed over.
    const ink_source source =
        cli_source(cli_train_path(job, lora ? "adapter.gguf" : "model.gguf", path));
    ink_status status = INK_OK;
    if (lora)
        status = ink_adapter_open(&adapter, job->init.model, &source, error);
    else
        status = ink_model_open(&model, job->runtime, &source, NULL, error);
    if (status == INK_OK) status = generate(lora ? job->init.model : model, adapter, out, error);
    ink_adapter_unref(adapter);
    ink_model_unref(model);
    return status;
}

static void tell_sample(const cli_train_job *job, const sample *s) {
    const char *prompt = cli_train_set.sample_prompt != NULL ? cli_train_set.sample_prompt : "";
    char step[CLI_TRAIN_TEXT];
    if (cli_train_set.json) {
        cli_out_json(json_pack("{ss sI ss so}", "event", "sample", "step",
                               (json_int_t)job->report.best_step, "prompt", prompt, "text",
                               cli_text_json(s->text != NULL ? s->text : "", s->n)));
        cli_out_flush();
        return;
    }
    cli_train_say("sample of step %s:", cli_train_count(job->report.best_step, step));
    const char *line = s->text != NULL ? s->text : "";
    for (bool first = true; *line != 0 || first; first = false) {
        const size_t n = strcspn(line, "\n");
        cli_train_say("  | %s%.*s", first ? prompt : "", (int)(n < 900 ? n : 900), line);
        line += n + (line[n] == '\n');
    }
}

int cli_train_sample(cli_train_job *job) {
    ink_error error = {0};
    sample s = {0};
    const int code = cli_train_export(job, false);
    if (code != CLI_OK) return code;
    inki_pool_leave(job->compute.pool);
    const ink_status status = generate_best(job, &s, &error);
    inki_pool_enter(job->compute.pool);
    if (status == INK_OK) tell_sample(job, &s);
    free(s.text);
    return status == INK_OK || cli_interrupted() ? CLI_OK : cli_fail_ink(status, &error);
}

// --- the last words
// --------------------------------------------------------------------------------

static void tell_file(const cli_train_job *job, const char *name, const char *what) {
    char path[CLI_TRAIN_PATH], size[CLI_TEXT_SIZE];
    struct stat file;
    if (stat(cli_train_path(job, name, path), &file) != 0) return;
    if (S_ISDIR(file.st_mode))
        cli_train_say("  %s/: %s", path, what);
    else
        cli_train_say("  %s: %s, %s", path, cli_text_size((uint64_t)file.st_size, size), what);
}

static void tell_usage(const cli_train_job *job) {
    const char *prompt =
        cli_train_set.sample_prompt != NULL ? cli_train_set.sample_prompt : "Once upon a time";
    struct stat there;
    char base[CLI_TRAIN_PATH];
    if (cli_train_set.lora.value == 0) {
        cli_train_say("try it:  inkling complete -m %s/model.gguf \"%s\"", job->dir, prompt);
        return;
    }
    if (stat(cli_train_path(job, "base.gguf", base), &there) != 0)
        cli_train_input(job, cli_train_set.init, base);
    cli_train_say("try it:  inkling complete -m %s --lora %s/adapter.gguf \"%s\"", base, job->dir,
                  prompt);
}

static void summary_json(const cli_train_job *job, bool interrupted) {
    const inki_train_report *r = &job->report;
    json_t *held = job->has_report && r->best_step > 0 ? json_real(r->best_loss) : json_null();
    cli_out_json(json_pack("{ss sb sI sI so sI sf ss}", "event", "end", "interrupted", interrupted,
                           "step", (json_int_t)inki_trainer_n_done(job->trainer), "steps",
                           (json_int_t)cli_train_set.steps.value, "best_loss", held, "best_step",
                           (json_int_t)r->best_step, "seconds", job->progress.seconds, "file",
                           cli_train_set.lora.value > 0 ? "adapter.gguf" : "model.gguf"));
}

void cli_train_summary(const cli_train_job *job, bool interrupted) {
    const inki_train_report *r = &job->report;
    const inki_data_stats *d = inki_data_get_stats(job->data);
    char took[CLI_TRAIN_TEXT], step[CLI_TRAIN_TEXT], done[CLI_TRAIN_TEXT];
    if (cli_train_set.json) {
        summary_json(job, interrupted);
        return;
    }
    const bool early = inki_trainer_n_done(job->trainer) < cli_train_set.steps.value;
    cli_train_say("%s after %s step%s, %s",
                  interrupted ? "interrupted"
                  : early     ? "nothing better for --patience validations: ended"
                              : "finished",
                  cli_train_count(inki_trainer_n_done(job->trainer), done),
                  inki_trainer_n_done(job->trainer) == 1 ? "" : "s",
                  cli_train_duration(job->progress.seconds, took));
    if (job->has_report && r->best_step > 0) {
        const uint64_t all = d->n_tokens + (cli_train_set.valid == NULL ? d->n_held_tokens : 0);
        const double bytes = (double)d->n_bytes / (double)all;
        cli_train_say("best held-out loss %.4f nats a token (about %.3f bits a byte), at step %s",
                      r->best_loss, r->best_loss / log(2) / bytes,
                      cli_train_count(r->best_step, step));
    }
    tell_file(job, "model.gguf", "the model");
    tell_file(job, "adapter.gguf", "the adapter");
    tell_file(job, "base.gguf", "the model that it adapts");
    tell_file(job, "hf", "the same as a Hugging Face directory");
    tell_file(job, "loss.svg", "the losses as a picture, and in log.csv");
    tell_file(job, "checkpoint.bin", "the state of the run");
    if (interrupted) cli_train_say("go on:   inkling train --resume %s", job->dir);
    tell_usage(job);
}
