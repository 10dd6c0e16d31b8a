// SPDX-License-Identifier: MIT
#include "convert/hf_write.h"

#include "base/number.h"
#include "convert/hf_write_parts.h"
#include "convert/in_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// As in reading a checkpoint: the engine's limits.
enum {
    HF_MAX_EMBD = 1 << 16,
    HF_MAX_FF = 1 << 18,
    HF_MAX_CTX = 1 << 20,
    HF_MAX_LAYERS = 1 << 12,
    HF_MAX_VOCAB = 1 << 22
};

// --- files ---------------------------------------------------------------------------------------

ink_status inki_hf_out_open(const inki_hf_writing *w, inki_out *out, const char *name,
                            ink_error *error) {
    char path[INKI_IN_PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", w->dir, name) >= (int)sizeof path)
        return inki_fail(error, INK_E_LIMIT, w->dir, 0, "the path is longer than %d bytes",
                         INKI_IN_PATH_MAX - 1);
    return inki_out_open(out, path, &w->mem, error);
}

ink_status inki_hf_write_json(const inki_hf_writing *w, const char *name, json_t *root,
                              ink_error *error) {
    inki_out out = {.fd = -1};
    // 15 digits bring any float back, and 1e-05 stays that.
    char *text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    json_decref(root);
    if (text == NULL) return inki_fail(error, INK_E_NOMEM, name, 0, "out of memory");
    ink_status status = inki_hf_out_open(w, &out, name, error);
    if (status == INK_OK) {
        status = inki_out_write(&out, text, strlen(text), error);
        if (status == INK_OK) status = inki_out_write(&out, "\n", 1, error);
        if (status == INK_OK)
            status = inki_out_commit(&out, error);
        else
            inki_out_discard(&out);
    }
    free(text);
    return status;
}

static ink_status make_dir(const char *dir, ink_error *error) {
    if (mkdir(dir, 0777) == 0 || errno == EEXIST) return inki_in_check_dir(dir, error);
    char words[128];
    inki_os_error_text(errno, words, sizeof words);
    return inki_fail(error, INK_E_IO, dir, 0, "cannot be made: %s", words);
}

// --- what the file says --------------------------------------------------------------------------

static ink_status read_size(const inki_gguf *gguf, const char *key, uint32_t most, uint32_t *out,
                            ink_error *error) {
    uint32_t value = 0;
    ink_status status = inki_gguf_get_u32(gguf, key, true, &value, error);
    if (status == INK_OK && (value == 0 || value > most))
        status = inki_fail(error, INK_E_LIMIT, key, 0, "%u, 1 to %u was expected", (unsigned)value,
                           (unsigned)most);
    if (status == INK_OK) *out = value;
    return status;
}

static ink_status read_sizes(inki_hf_writing *w, ink_error *error) {
    inki_hf_config *c = &w->config;
    const struct {
        const char *key;
        uint32_t most, *out;
    } sizes[] = {{"gpt2.block_count", HF_MAX_LAYERS, &c->n_layer},
                 {"gpt2.context_length", HF_MAX_CTX, &c->n_ctx},
                 {"gpt2.embedding_length", HF_MAX_EMBD, &c->n_embd},
                 {"gpt2.feed_forward_length", HF_MAX_FF, &c->n_ff},
                 {"gpt2.attention.head_count", HF_MAX_EMBD, &c->n_head}};
    ink_status status = INK_OK;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && status == INK_OK; i++)
        status = read_size(&w->gguf, sizes[i].key, sizes[i].most, sizes[i].out, error);
    if (status == INK_OK && c->n_embd % c->n_head != 0)
        status = inki_fail(error, INK_E_FORMAT, "gpt2.embedding_length", 0,
                           "%u was expected to be a multiple of the %u heads", (unsigned)c->n_embd,
                           (unsigned)c->n_head);
    const inki_gguf_tensor *embedding = inki_gguf_find_tensor(&w->gguf, "token_embd.weight");
    if (status == INK_OK && embedding == NULL)
        status = inki_fail(error, INK_E_FORMAT, "token_embd.weight", 0, "the tensor is missing");
    if (status == INK_OK && embedding->dims[1] > HF_MAX_VOCAB)
        status = inki_fail(error, INK_E_LIMIT, "token_embd.weight", embedding->offset,
                           "has %llu rows, at most %d were expected",
                           (unsigned long long)embedding->dims[1], HF_MAX_VOCAB);
    if (status == INK_OK) c->n_vocab = (uint32_t)embedding->dims[1];
    return status;
}

static ink_status read_mark(const inki_hf_writing *w, const char *key, int32_t *out,
                            ink_error *error) {
    uint32_t id = 0;
    *out = -1;
    if (inki_gguf_find(&w->gguf, key) == NULL) return INK_OK;
    const ink_status status = inki_gguf_get_u32(&w->gguf, key, true, &id, error);
    if (status != INK_OK) return status;
    if (id >= w->config.n_vocab)
        return inki_fail(error, INK_E_FORMAT, key, 0, "%u, the vocabulary has %u tokens",
                         (unsigned)id, (unsigned)w->config.n_vocab);
    *out = (int32_t)id;
    return INK_OK;
}

// A head with the embedding's bytes is the embedding: some writers put it there twice.
static bool has_own_head(const inki_gguf *gguf) {
    const inki_gguf_tensor *head = inki_gguf_find_tensor(gguf, "output.weight");
    const inki_gguf_tensor *embedding = inki_gguf_find_tensor(gguf, "token_embd.weight");
    return head != NULL && (head->type != embedding->type || head->bytes != embedding->bytes ||
                            memcmp(head->data, embedding->data, (size_t)head->bytes) != 0);
}

static ink_status read_config(inki_hf_writing *w, ink_error *error) {
    inki_str architecture = {"", 0};
    ink_status status =
        inki_gguf_get_str(&w->gguf, "general.architecture", true, &architecture, error);
    if (status == INK_OK && !inki_str_equal(architecture, "gpt2"))
        status =
            inki_fail(error, INK_E_UNSUPPORTED, "general.architecture", 0,
                      "\"%.*s\", but \"gpt2\" was expected",
                      (int)(architecture.bytes < 60 ? architecture.bytes : 60), architecture.data);
    if (status == INK_OK && inki_gguf_find(&w->gguf, "adapter.type") != NULL)
        status = inki_fail(error, INK_E_UNSUPPORTED, "adapter.type", 0,
                           "the file is an adapter, a model was expected");
    if (status == INK_OK) status = read_sizes(w, error);
    if (status == INK_OK)
        status = inki_gguf_get_f32(&w->gguf, "gpt2.attention.layer_norm_epsilon", true,
                                   &w->config.norm_eps, error);
    if (status == INK_OK && !(w->config.norm_eps > 0 && w->config.norm_eps <= 1))
        status = inki_fail(error, INK_E_FORMAT, "gpt2.attention.layer_norm_epsilon", 0,
                           "above 0 and at most 1 was expected");
    if (status == INK_OK)
        status = read_mark(w, "tokenizer.ggml.bos_token_id", &w->config.bos, error);
    if (status == INK_OK)
        status = read_mark(w, "tokenizer.ggml.eos_token_id", &w->config.eos, error);
    if (status == INK_OK) w->config.tied = !has_own_head(&w->gguf);
    return status;
}

// --- config.json ---------------------------------------------------------------------------------

// The decimal number that was meant by the float: 1e-05, not 9.99999974737875e-06.
static json_t *short_real(float value) {
    char text[32];
    double number = (double)value;
    inki_parse_double(text, inki_format_float(value, text, sizeof text), &number);
    return json_real(number);
}

static json_t *id_or_null(int32_t id) { return id >= 0 ? json_integer(id) : json_null(); }

// Dropout is what the configuration class has: it counts only for who trains further.
static ink_status write_config(const inki_hf_writing *w, ink_error *error) {
    const inki_hf_config *c = &w->config;
    json_t *inner = c->n_ff == 4 * c->n_embd ? json_null() : json_integer(c->n_ff);
    json_t *root =
        json_pack("{s:s, s:[s], s:s, s:f, s:f, s:f, s:o, s:o, s:f, s:o}", "model_type", "gpt2",
                  "architectures", "GPT2LMHeadModel", "activation_function", "gelu_new",
                  "attn_pdrop", 0.1, "embd_pdrop", 0.1, "resid_pdrop", 0.1, "bos_token_id",
                  id_or_null(c->bos), "eos_token_id", id_or_null(c->eos), "initializer_range", 0.02,
                  "layer_norm_epsilon", short_real(c->norm_eps));
    json_t *sizes =
        json_pack("{s:i, s:i, s:i, s:i, s:i, s:o, s:i}", "n_ctx", (int)c->n_ctx, "n_positions",
                  (int)c->n_ctx, "n_embd", (int)c->n_embd, "n_head", (int)c->n_head, "n_layer",
                  (int)c->n_layer, "n_inner", inner, "vocab_size", (int)c->n_vocab);
    json_t *switches =
        json_pack("{s:b, s:b, s:b, s:b, s:b, s:s}", "reorder_and_upcast_attn", 0,
                  "scale_attn_by_inverse_layer_idx", 0, "scale_attn_weights", 1,
                  "tie_word_embeddings", (int)c->tied, "use_cache", 1, "torch_dtype", "float32");
    const bool whole = root != NULL && sizes != NULL && switches != NULL &&
                       json_object_update(root, sizes) == 0 &&
                       json_object_update(root, switches) == 0;
    json_decref(sizes);
    json_decref(switches);
    if (!whole) {
        json_decref(root);
        root = NULL;
    }
    return inki_hf_write_json(w, "config.json", root, error);
}

static ink_status write_generation(const inki_hf_writing *w, ink_error *error) {
    return inki_hf_write_json(w, "generation_config.json",
                              json_pack("{s:b, s:o, s:o}", "_from_model_config", 1, "bos_token_id",
                                        id_or_null(w->config.bos), "eos_token_id",
                                        id_or_null(w->config.eos)),
                              error);
}

// --- all of it -----------------------------------------------------------------------------------

// What is wrong inside of the file is told with its path.
static ink_status open_gguf(inki_hf_writing *w, const char *path, ink_error *error) {
    ink_status status = inki_os_open_path(&w->map, path, false, &w->mem, error);
    if (status != INK_OK) return status;
    status = inki_gguf_open(&w->gguf, w->map.data, w->map.bytes, &w->mem, error);
    if (status == INK_OK) status = read_config(w, error);
    if (status != INK_OK) inki_error_prefix(error, path);
    return status;
}

static ink_status write_all(inki_hf_writing *w, const char *path, ink_error *error) {
    ink_status status = open_gguf(w, path, error);
    if (status == INK_OK) status = make_dir(w->dir, error);
    if (status == INK_OK) status = inki_hf_write_tokenizer(w, error);
    if (status == INK_OK) status = inki_hf_write_weights(w, error);
    if (status == INK_OK) status = write_generation(w, error);
    return status == INK_OK ? write_config(w, error) : status;
}

ink_status inki_hf_write(const char *gguf, const char *dir, const inki_mem *mem, ink_error *error) {
    if (gguf == NULL || gguf[0] == 0 || dir == NULL || dir[0] == 0)
        return inki_fail(error, INK_E_ARG, NULL, 0,
                         "a file to read and a directory to write were expected");
    const inki_mem from = mem != NULL ? *mem : inki_mem_from(NULL);
    inki_hf_writing *w = inki_alloc_zero(&from, 1, sizeof *w);
    if (w == NULL) return inki_fail_nomem(error, sizeof *w);
    w->mem = from;
    w->dir = dir;
    // Portable, whatever the processor has: the numbers written are then the same everywhere.
    inki_kernels_init(&w->kernels, inki_level_mask(INKI_LEVEL_PORTABLE));
    const ink_status status = write_all(w, gguf, error);
    inki_release(&w->mem, w->tokens, w->config.n_vocab, sizeof *w->tokens);
    inki_release(&w->mem, w->types, w->config.n_vocab, sizeof *w->types);
    inki_gguf_close(&w->gguf);
    inki_os_close(&w->map);
    inki_release(&from, w, 1, sizeof *w);
    return status;
}
