// SPDX-License-Identifier: MIT
// From a source to a model: container, tensors, tokenizer. After this nothing of it changes.
#include "engine/engine.h"

#include <string.h>

// --- strings that outlive the parsing ------------------------------------------------------------

static size_t put_string(char *out, size_t at, inki_str s, const char **where) {
    if (out != NULL) {
        if (s.bytes != 0) memcpy(out + at, s.data, s.bytes);
        out[at + s.bytes] = 0;
        *where = out + at;
    }
    return at + s.bytes + 1;
}

static inki_str text_of(const inki_gguf *gguf, const char *key) {
    inki_str s = {"", 0};
    inki_gguf_get_str(gguf, key, false, &s, NULL);
    return s;
}

// Called twice: with out NULL it measures, then it writes.
static size_t put_strings(ink_model *m, char *out, const char *source_name) {
    const inki_str source = {source_name, strlen(source_name)};
    size_t at = put_string(out, 0, source, &m->source_name);
    at = put_string(out, at, text_of(&m->gguf, "general.architecture"), &m->architecture);
    at = put_string(out, at, text_of(&m->gguf, "general.name"), &m->name);
    return put_string(out, at, text_of(&m->gguf, "general.license"), &m->license);
}

static ink_status keep_strings(ink_model *m, const char *source_name, ink_error *error) {
    const size_t bytes = put_strings(m, NULL, source_name);
    m->strings = inki_alloc(&m->mem, bytes, 1);
    if (m->strings == NULL) return inki_fail_nomem(error, bytes);
    m->strings_bytes = bytes;
    put_strings(m, m->strings, source_name);
    return INK_OK;
}

static ink_status keep_keys(ink_model *m, ink_error *error) {
    size_t bytes = 0;
    for (size_t i = 0; i < m->gguf.n_kv; i++) bytes += m->gguf.kv[i].key.bytes + 1;
    if (bytes == 0) return INK_OK;
    m->keys = inki_alloc(&m->mem, bytes, 1);
    m->key_at = inki_alloc(&m->mem, m->gguf.n_kv, sizeof *m->key_at);
    m->keys_bytes = m->keys != NULL ? bytes : 0;
    if (m->keys == NULL || m->key_at == NULL) return inki_fail_nomem(error, bytes);
    size_t at = 0;
    for (size_t i = 0; i < m->gguf.n_kv; i++) {
        const char *unused;
        m->key_at[i] = at;
        at = put_string(m->keys, at, m->gguf.kv[i].key, &unused);
    }
    return INK_OK;
}

// --- parts ---------------------------------------------------------------------------------------

static ink_status open_tokenizer(ink_model *m, ink_error *error) {
    const inki_gguf *g = &m->gguf;
    inki_vocab v = {.pre = {"", 0}, .end_token = -1};
    uint32_t end = UINT32_MAX;
    const inki_gguf_kv *has_end = inki_gguf_find(g, "tokenizer.ggml.eos_token_id");
    ink_status s =
        inki_gguf_expect_str(g, "tokenizer.ggml.model", "gpt2", INK_E_UNSUPPORTED, error);
    if (s == INK_OK) s = inki_gguf_get_str(g, "tokenizer.ggml.pre", false, &v.pre, error);
    if (s == INK_OK) s = inki_gguf_get_str_run(g, "tokenizer.ggml.tokens", true, &v.tokens, error);
    if (s == INK_OK)
        s = inki_gguf_get_i32_run(g, "tokenizer.ggml.token_type", false, &v.types, &v.n_types,
                                  error);
    if (s == INK_OK) s = inki_gguf_get_str_run(g, "tokenizer.ggml.merges", true, &v.merges, error);
    if (s == INK_OK) s = inki_gguf_get_u32(g, "tokenizer.ggml.eos_token_id", false, &end, error);
    if (s == INK_OK && has_end != NULL && end >= v.tokens.n)
        s = inki_fail(error, INK_E_FORMAT, "tokenizer.ggml.eos_token_id", has_end->offset,
                      "%u, but the vocabulary has %llu tokens", (unsigned)end,
                      (unsigned long long)v.tokens.n);
    if (s != INK_OK) return s;
    if (has_end != NULL) v.end_token = (int32_t)end;
    s = inki_tokenizer_new(&m->tokenizer, &v, &m->mem, error);
    if (s != INK_OK) return s;
    const uint32_t n = inki_tokenizer_n_vocab(m->tokenizer);
    if (n != m->weights.n_vocab)
        return inki_fail(error, INK_E_FORMAT, "tokenizer.ggml.tokens", 0,
                         "%u tokens, but token_embd.weight has %u rows", (unsigned)n,
                         (unsigned)m->weights.n_vocab);
    return INK_OK;
}

static void fill_info(ink_model *m) {
    uint64_t by_type[INKI_TENSOR_TYPES] = {0};
    ink_model_info *info = &m->info;
    info->size = sizeof *info;
    info->n_ctx = m->weights.n_ctx;
    info->n_vocab = m->weights.n_vocab;
    info->n_embd = m->weights.n_embd;
    info->n_layer = m->weights.n_layer;
    info->n_head = m->weights.n_head;
    info->end_token = m->tokenizer != NULL ? inki_tokenizer_end(m->tokenizer) : -1;
    info->file_bytes = m->file.bytes;
    for (size_t i = 0; i < m->gguf.n_tensors; i++) {
        const inki_gguf_tensor *t = &m->gguf.tensors[i];
        info->n_params += t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
        info->weight_bytes += t->bytes;
        by_type[t->type] += t->bytes;
    }
    uint32_t best = 0;
    for (uint32_t i = 1; i < INKI_TENSOR_TYPES; i++)
        if (by_type[i] > by_type[best]) best = i;
    info->type = inki_type_of(best).name;
    info->architecture = m->architecture;
    info->name = m->name;
    info->license = m->license;
}

static ink_status report_loading(const ink_model_options *o, const inki_fp *fp, double fraction,
                                 ink_error *error) {
    if (o->progress == NULL) return INK_OK;
    inki_fp_hosts(fp);
    const int cancelled = o->progress(o->progress_user, fraction);
    fesetenv(FE_DFL_ENV);
    if (!cancelled) return INK_OK;
    return inki_fail(error, INK_E_CANCELLED, NULL, 0, "loading was cancelled");
}

static ink_status open_parts(ink_model *m, const ink_source *source, const ink_model_options *o,
                             const inki_fp *fp, const char **name, ink_error *error) {
    ink_status s = report_loading(o, fp, 0.0, error);
    *name = "the model";
    if (s == INK_OK) s = inki_source_open(&m->file, name, source, &m->mem, &m->runtime->log, error);
    // Errors of the source name it themselves; those below speak of fields inside it.
    if (s != INK_OK) {
        *name = NULL;
        return s;
    }
    s = report_loading(o, fp, 0.3, error);
    if (s == INK_OK) s = inki_gguf_open(&m->gguf, m->file.data, m->file.bytes, &m->mem, error);
    if (s == INK_OK) s = keep_strings(m, *name, error);
    if (s == INK_OK) s = keep_keys(m, error);
    if (s == INK_OK && !(o->flags & INK_MODEL_INSPECT)) {
        s = inki_weights_open(&m->weights, &m->gguf, &m->runtime->kernels, &m->mem, error);
        if (s == INK_OK) s = report_loading(o, fp, 0.6, error);
        if (s == INK_OK) s = open_tokenizer(m, error);
    }
    if (s == INK_OK) fill_info(m);
    return s == INK_OK ? report_loading(o, fp, 1.0, error) : s;
}

static void free_model(ink_model *m) {
    const inki_mem mem = m->mem;
    ink_runtime *runtime = m->runtime;
    inki_token_trie_free(m->trie);
    inki_tokenizer_free(m->tokenizer);
    inki_weights_close(&m->weights);
    inki_release(&mem, m->key_at, m->gguf.n_kv, sizeof *m->key_at);
    inki_release(&mem, m->keys, m->keys_bytes, 1);
    inki_release(&mem, m->strings, m->strings_bytes, 1);
    inki_gguf_close(&m->gguf);
    inki_os_close(&m->file);
    inki_release(&mem, m, 1, sizeof *m);
    ink_runtime_unref(runtime);
}

ink_status inki_model_need_all(const ink_model *model, ink_error *error) {
    if (model->tokenizer != NULL) return INK_OK;
    return inki_fail(error, INK_E_UNSUPPORTED, model->source_name, 0,
                     "was opened for inspection only");
}

// --- the public calls ----------------------------------------------------------------------------

ink_status ink_model_open(ink_model **out, ink_runtime *runtime, const ink_source *source,
                          const ink_model_options *options, ink_error *error) {
    if (out == NULL) return inki_fail(error, INK_E_ARG, "ink_model_open", 0, "out is NULL");
    ink_model_options o;
    ink_model_options_init(&o, sizeof o);
    ink_status status = inki_options_read(&o, sizeof o, options, "ink_model_options", error);
    if (status == INK_OK)
        status = inki_flags_check(o.flags, INK_MODEL_INSPECT, "ink_model_options", error);
    if (status != INK_OK) return status;
    if (runtime != NULL)
        inki_runtime_ref(runtime);
    else
        status = ink_runtime_new(&runtime, NULL, error);
    if (status != INK_OK) return status;

    ink_model *m = inki_alloc_zero(&runtime->mem, 1, sizeof *m);
    if (m == NULL) {
        ink_runtime_unref(runtime);
        return inki_fail_nomem(error, sizeof *m);
    }
    atomic_init(&m->refs, 1);
    m->runtime = runtime;
    m->mem = runtime->mem;
    const char *name = NULL;
    inki_fp fp; // a number in the file may be a NaN, and the host may trap on comparing one
    inki_fp_ours(&fp);
    status = open_parts(m, source, &o, &fp, &name, error);
    inki_fp_hosts(&fp);
    if (status != INK_OK) {
        inki_error_prefix(error, name);
        free_model(m);
        return status;
    }
    *out = m;
    return INK_OK;
}

ink_model *ink_model_ref(ink_model *model) {
    if (model != NULL) atomic_fetch_add_explicit(&model->refs, 1, memory_order_relaxed);
    return model;
}

void ink_model_unref(ink_model *model) {
    if (model == NULL || atomic_fetch_sub_explicit(&model->refs, 1, memory_order_acq_rel) != 1)
        return;
    free_model(model);
}

ink_status ink_model_get_info(const ink_model *model, ink_model_info *info) {
    if (model == NULL || info == NULL) return INK_E_ARG;
    inki_report_write(info, &model->info, sizeof *info);
    return INK_OK;
}
