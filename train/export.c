// SPDX-License-Identifier: MIT
#include "train/export.h"

#include "base/half.h"
#include "kernels/kernels.h"
#include "train/export_types.h"

#include <string.h>

enum { TOKEN_NORMAL = 1, TOKEN_CONTROL = 3 }; // tokenizer.ggml.token_type

static inki_str export_text(const char *text) { return (inki_str){text, strlen(text)}; }

typedef struct export_job {
    const inki_export *how;
    const inki_net *net;
    const float *weights;
    inki_mem mem;
    inki_gguf_writer *writer;
    bool adapter;
    const inki_param *params; // [n_params]
    size_t n_params;
    uint32_t *types; // [n_params]
    uint8_t *row;    // the longest as written
    size_t row_bytes;
} export_job;

// All numbers are looked at before a file is begun.
static ink_status check_finite(const export_job *job, ink_error *error) {
    for (size_t i = 0; i < job->n_params; i++) {
        const inki_param *p = &job->params[i];
        const size_t n = (size_t)p->n_rows * p->n_cols;
        for (size_t k = 0; k < n; k++) {
            const uint32_t bits = inki_f32_bits(job->weights[p->at + k]) & 0x7fffffffu;
            if (bits >= 0x7f800000u)
                return inki_fail(error, INK_E_NUMERIC, p->name, 0,
                                 "value %zu is %s, a finite number was expected", k,
                                 bits > 0x7f800000u ? "NaN" : "infinite");
        }
    }
    return INK_OK;
}

static float largest_of(const float *x, size_t n) {
    float most = 0;
    for (size_t i = 0; i < n; i++) {
        const float a = x[i] < 0 ? -x[i] : x[i];
        most = a > most ? a : most;
    }
    return most;
}

static bool is_vector(const inki_param *p) {
    return inki_ends_with(p->name, ".bias") || inki_ends_with(p->name, "_norm.weight");
}

// Norms, biases and positions stay floats: llama.cpp expects it of them.
static bool stays_wide(const inki_param *p) {
    return is_vector(p) || strcmp(p->name, "position_embd.weight") == 0;
}

static uint32_t choose_type(const export_job *job, const inki_param *p) {
    const float largest = largest_of(job->weights + p->at, (size_t)p->n_rows * p->n_cols);
    if (job->adapter) return inki_export_choose(job->how->type, p->n_cols, largest, false);
    if (stays_wide(p)) return INKI_F32;
    // The embedding is the head too.
    return inki_export_choose(job->how->type, p->n_cols, largest,
                              strcmp(p->name, "token_embd.weight") == 0);
}

static ink_status declare_params(export_job *job, ink_error *error) {
    uint32_t widest = 0;
    for (size_t i = 0; i < job->n_params; i++)
        widest = job->params[i].n_cols > widest ? job->params[i].n_cols : widest;
    job->row_bytes = (size_t)widest * sizeof(float); // no type takes more than floats do
    job->types = inki_alloc(&job->mem, job->n_params, sizeof *job->types);
    job->row = inki_alloc(&job->mem, job->row_bytes, 1);
    if (job->types == NULL || job->row == NULL) return inki_fail_nomem(error, job->row_bytes);
    for (size_t i = 0; i < job->n_params; i++) {
        const inki_param *p = &job->params[i];
        const uint64_t dims[2] = {p->n_cols, p->n_rows};
        job->types[i] = choose_type(job, p);
        inki_gguf_add_tensor(job->writer, p->name, job->types[i], dims,
                             !job->adapter && is_vector(p) ? 1 : 2);
    }
    return INK_OK;
}

static ink_status write_params(export_job *job, ink_error *error) {
    for (size_t i = 0; i < job->n_params; i++) {
        const inki_param *p = &job->params[i];
        uint64_t bytes = 0;
        inki_type_row_bytes(job->types[i], p->n_cols, &bytes);
        for (uint32_t row = 0; row < p->n_rows; row++) {
            inki_quantize_row(job->types[i], job->row,
                              job->weights + p->at + (size_t)row * p->n_cols, p->n_cols);
            const ink_status status =
                inki_gguf_writer_data(job->writer, job->row, (size_t)bytes, error);
            if (status != INK_OK) return status;
        }
    }
    return INK_OK;
}

static ink_status export_file(export_job *job, ink_status (*describe)(export_job *, ink_error *),
                              ink_error *error) {
    job->mem = job->how->mem != NULL ? *job->how->mem : inki_mem_from(NULL);
    job->n_params = inki_net_n_params(job->net, &job->params);
    ink_status status = check_finite(job, error);
    if (status == INK_OK)
        status = inki_gguf_writer_new(&job->writer, job->how->path, &job->mem, error);
    if (status != INK_OK) return status;
    status = describe(job, error);
    if (status == INK_OK) status = declare_params(job, error);
    if (status == INK_OK) status = inki_gguf_writer_begin(job->writer, error);
    if (status == INK_OK) status = write_params(job, error);
    if (status == INK_OK)
        status = inki_gguf_writer_finish(job->writer, error);
    else
        inki_gguf_writer_discard(job->writer);
    inki_release(&job->mem, job->types, job->n_params, sizeof *job->types);
    inki_release(&job->mem, job->row, job->row_bytes, 1);
    return status;
}

static void add_names(const export_job *job, const char *type) {
    inki_gguf_add_str(job->writer, "general.architecture", export_text("gpt2"));
    inki_gguf_add_str(job->writer, "general.type", export_text(type));
    if (job->how->name != NULL)
        inki_gguf_add_str(job->writer, "general.name", export_text(job->how->name));
    if (job->how->license != NULL)
        inki_gguf_add_str(job->writer, "general.license", export_text(job->how->license));
}

// --- a model -------------------------------------------------------------------------------------

static ink_status add_learned(export_job *job, const inki_learned_vocab *v, ink_error *error) {
    int32_t *types = inki_alloc(&job->mem, v->n_tokens, sizeof *types);
    if (types == NULL) return inki_fail_nomem(error, v->n_tokens * sizeof *types);
    for (uint32_t i = 0; i < v->n_tokens; i++)
        types[i] = (int32_t)i == v->end_token ? TOKEN_CONTROL : TOKEN_NORMAL;
    inki_gguf_writer *w = job->writer;
    inki_gguf_add_str(w, "tokenizer.ggml.model", export_text("gpt2"));
    inki_gguf_add_str(w, "tokenizer.ggml.pre", export_text("gpt-2"));
    inki_gguf_add_str_array(w, "tokenizer.ggml.tokens", v->tokens, v->n_tokens);
    inki_gguf_add_i32_array(w, "tokenizer.ggml.token_type", types, v->n_tokens);
    inki_gguf_add_str_array(w, "tokenizer.ggml.merges", v->merges, v->n_merges);
    if (v->end_token >= 0) {
        inki_gguf_add_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)v->end_token);
        inki_gguf_add_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)v->end_token);
    }
    inki_release(&job->mem, types, v->n_tokens, sizeof *types);
    return INK_OK;
}

static void copy_tokenizer(const export_job *job, const inki_gguf *like) {
    static const char prefix[] = "tokenizer.";
    const size_t n = sizeof prefix - 1;
    for (size_t i = 0; i < like->n_kv; i++)
        if (like->kv[i].key.bytes > n && memcmp(like->kv[i].key.data, prefix, n) == 0)
            inki_gguf_add_kv(job->writer, &like->kv[i]);
}

// Rows without a token, or tokens without a row, would make a file that nobody opens.
static ink_status check_vocab(const inki_export *how, uint32_t n_vocab, ink_error *error) {
    uint64_t n = 0;
    if (how->vocab != NULL) {
        n = how->vocab->n_tokens;
    } else if (how->like != NULL) {
        const inki_gguf_kv *tokens = inki_gguf_find(how->like, "tokenizer.ggml.tokens");
        n = tokens == NULL ? 0 : tokens->n;
    }
    if (n == n_vocab) return INK_OK;
    return inki_fail(error, INK_E_ARG, "vocabulary", 0, "has %llu tokens, the model has rows of %u",
                     (unsigned long long)n, (unsigned)n_vocab);
}

static ink_status describe_model(export_job *job, ink_error *error) {
    const inki_net_shape *s = &inki_net_get_options(job->net)->shape;
    inki_gguf_writer *w = job->writer;
    add_names(job, "model");
    inki_gguf_add_u32(w, "gpt2.block_count", s->n_layer);
    inki_gguf_add_u32(w, "gpt2.context_length", s->n_ctx);
    inki_gguf_add_u32(w, "gpt2.embedding_length", s->n_embd);
    inki_gguf_add_u32(w, "gpt2.feed_forward_length", s->n_ff);
    inki_gguf_add_u32(w, "gpt2.attention.head_count", s->n_head);
    inki_gguf_add_f32(w, "gpt2.attention.layer_norm_epsilon", s->norm_eps);
    inki_export_add_kind(w, job->how->type);
    if (job->how->vocab != NULL) return add_learned(job, job->how->vocab, error);
    copy_tokenizer(job, job->how->like);
    return INK_OK;
}

ink_status inki_export_gguf(const inki_export *how, const inki_net *net, const float *weights,
                            ink_error *error) {
    const inki_net_options *options = inki_net_get_options(net);
    if (!inki_export_writes(how->type))
        return inki_fail(error, INK_E_ARG, "type", 0, "F32, F16, BF16, Q8_0 or Q4_0 was expected");
    if (options->base != NULL)
        return inki_fail(error, INK_E_ARG, NULL, 0,
                         "the model is frozen, one whose weights are all trained was expected");
    const ink_status status = check_vocab(how, options->shape.n_vocab, error);
    if (status != INK_OK) return status;
    export_job job = {.how = how, .net = net, .weights = weights};
    return export_file(&job, describe_model, error);
}

// --- an adapter ----------------------------------------------------------------------------------

static ink_status describe_adapter(export_job *job, ink_error *error) {
    (void)error;
    add_names(job, "adapter");
    inki_gguf_add_str(job->writer, "adapter.type", export_text("lora"));
    inki_gguf_add_f32(job->writer, "adapter.lora.alpha",
                      inki_net_get_options(job->net)->lora_alpha);
    inki_export_add_kind(job->writer, job->how->type);
    return INK_OK;
}

ink_status inki_export_adapter(const inki_export *how, const inki_net *net, const float *weights,
                               ink_error *error) {
    if (how->type != INKI_F32 && how->type != INKI_F16)
        return inki_fail(error, INK_E_ARG, "type", 0, "F32 or F16 was expected of an adapter");
    if (inki_net_get_options(net)->lora_rank == 0)
        return inki_fail(error, INK_E_ARG, NULL, 0,
                         "all weights were trained, an adapter was expected");
    export_job job = {.how = how, .net = net, .weights = weights, .adapter = true};
    return export_file(&job, describe_adapter, error);
}
