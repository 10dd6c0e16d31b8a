// SPDX-License-Identifier: MIT
#include "convert/convert.h"

#include "convert/gpt2_weights.h"
#include "convert/hf_tokenizer.h"
#include "convert/notes.h"

#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 256, LICENSE_BYTES = 64, QUANTIZATION_VERSION = 2 };

// One conversion and what it holds.
typedef struct hf_conversion {
    inki_hf_config config;
    inki_hf_tokenizer tokenizer;
    inki_checkpoint checkpoint;
    inki_weights_job job;
    char name[NAME_BYTES], license[LICENSE_BYTES];
} hf_conversion;

// general.file_type: what llama.cpp calls the file as a whole. 0: not a type that is written here.
typedef struct file_kind {
    uint32_t number;
    bool known, quantized;
} file_kind;

static file_kind kind_of_file(uint32_t type) {
    switch (type) {
    case INKI_F32: return (file_kind){0, true, false};
    case INKI_F16: return (file_kind){1, true, false};
    case INKI_Q4_0: return (file_kind){2, true, true};
    case INKI_Q8_0: return (file_kind){7, true, true};
    case INKI_BF16: return (file_kind){32, true, false};
    default: return (file_kind){0, false, false};
    }
}

static inki_str str_of(const char *text) { return (inki_str){text, strlen(text)}; }

static void add_general(inki_gguf_writer *w, const hf_conversion *c, file_kind kind) {
    inki_gguf_add_str(w, "general.architecture", str_of("gpt2"));
    inki_gguf_add_str(w, "general.type", str_of("model"));
    inki_gguf_add_str(w, "general.name", str_of(c->name));
    if (c->license[0] != 0) inki_gguf_add_str(w, "general.license", str_of(c->license));
    inki_gguf_add_u32(w, "gpt2.block_count", c->config.n_layer);
    inki_gguf_add_u32(w, "gpt2.context_length", c->config.n_ctx);
    inki_gguf_add_u32(w, "gpt2.embedding_length", c->config.n_embd);
    inki_gguf_add_u32(w, "gpt2.feed_forward_length", c->config.n_ff);
    inki_gguf_add_u32(w, "gpt2.attention.head_count", c->config.n_head);
    inki_gguf_add_f32(w, "gpt2.attention.layer_norm_epsilon", c->config.norm_eps);
    inki_gguf_add_u32(w, "general.file_type", kind.number);
    if (kind.quantized) inki_gguf_add_u32(w, "general.quantization_version", QUANTIZATION_VERSION);
}

static void add_tokenizer(inki_gguf_writer *w, const inki_hf_tokenizer *t) {
    inki_gguf_add_str(w, "tokenizer.ggml.model", str_of("gpt2"));
    inki_gguf_add_str(w, "tokenizer.ggml.pre", str_of("gpt-2"));
    inki_gguf_add_str_array(w, "tokenizer.ggml.tokens", t->tokens, t->n_tokens);
    inki_gguf_add_i32_array(w, "tokenizer.ggml.token_type", t->types, t->n_tokens);
    inki_gguf_add_str_array(w, "tokenizer.ggml.merges", t->merges, t->n_merges);
    if (t->bos >= 0) inki_gguf_add_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)t->bos);
    if (t->eos >= 0) inki_gguf_add_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)t->eos);
}

static ink_status write_file(hf_conversion *c, const inki_convert_options *o, const inki_mem *mem,
                             ink_error *error) {
    inki_gguf_writer *writer = NULL;
    ink_status status = inki_gguf_writer_new(&writer, o->out, mem, error);
    if (status != INK_OK) return status;
    add_general(writer, c, kind_of_file(o->type));
    add_tokenizer(writer, &c->tokenizer);
    inki_gpt2_declare(&c->job, writer);
    status = inki_gguf_writer_begin(writer, error);
    if (status == INK_OK) status = inki_gpt2_write(&c->job, writer, error);
    if (status == INK_OK) return inki_gguf_writer_finish(writer, error);
    inki_gguf_writer_discard(writer);
    return status;
}

static ink_status check_options(const inki_convert_options *o, ink_error *error) {
    if (o == NULL || o->dir == NULL || o->dir[0] == 0 || o->out == NULL || o->out[0] == 0)
        return inki_fail(error, INK_E_ARG, NULL, 0,
                         "a directory to read and a file to write were expected");
    if (!kind_of_file(o->type).known)
        return inki_fail(error, INK_E_ARG, "type", 0, "F32, F16, BF16, Q8_0 or Q4_0 was expected");
    if ((o->name != NULL && strlen(o->name) >= NAME_BYTES) ||
        (o->license != NULL && strlen(o->license) >= LICENSE_BYTES))
        return inki_fail(error, INK_E_ARG, "name, license", 0,
                         "at most %d and %d bytes were expected", NAME_BYTES - 1,
                         LICENSE_BYTES - 1);
    return INK_OK;
}

// The rename at the end would replace the very file that is read.
static ink_status check_output(const hf_conversion *c, const inki_convert_options *o,
                               ink_error *error) {
    static const char *const inputs[] = {"config.json", "tokenizer.json", "vocab.json",
                                         "merges.txt", "README.md"};
    bool same = false;
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++)
        same = same || inki_in_same(o->dir, inputs[i], o->out);
    for (size_t i = 0; i < c->checkpoint.n_shards; i++)
        same = same || inki_in_same(o->dir, c->checkpoint.shards[i].file.name, o->out);
    return same ? inki_fail(error, INK_E_ARG, o->out, 0, "the output is one of the files to read")
                : INK_OK;
}

static ink_status convert(hf_conversion *c, const inki_convert_options *o, const inki_mem *mem,
                          ink_error *error) {
    ink_status status = inki_in_check_dir(o->dir, error);
    if (status == INK_OK) status = inki_hf_config_load(&c->config, o->dir, mem, error);
    if (status == INK_OK)
        status = inki_hf_tokenizer_load(&c->tokenizer, o->dir, &c->config, mem, error);
    if (status == INK_OK) status = inki_checkpoint_open(&c->checkpoint, o->dir, mem, error);
    if (status == INK_OK) status = check_output(c, o, error);
    if (status != INK_OK) return status;
    inki_hf_name(c->name, sizeof c->name, o->dir, o->name);
    if (o->license != NULL)
        snprintf(c->license, sizeof c->license, "%s", o->license);
    else
        status = inki_hf_license(c->license, sizeof c->license, o->dir, mem, error);
    if (status != INK_OK) return status;
    if (c->tokenizer.n_padding > 0)
        inki_note(o, "vocab_size %u is larger than the vocabulary: %zu unused tokens fill it up",
                  (unsigned)c->config.n_vocab, c->tokenizer.n_padding);
    if (c->tokenizer.prefix_space)
        inki_note(o, "tokenizer.json puts a blank before every text (add_prefix_space): the engine "
                     "does not");
    c->job = (inki_weights_job){
        .options = o, .config = &c->config, .checkpoint = &c->checkpoint, .mem = *mem};
    status = inki_gpt2_plan(&c->job, error);
    return status == INK_OK ? write_file(c, o, mem, error) : status;
}

ink_status inki_convert_hf(const inki_convert_options *options, ink_error *error) {
    ink_status status = check_options(options, error);
    if (status != INK_OK) return status;
    const inki_mem mem = options->mem != NULL ? *options->mem : inki_mem_from(NULL);
    hf_conversion *c = inki_alloc_zero(&mem, 1, sizeof *c);
    if (c == NULL) return inki_fail_nomem(error, sizeof *c);
    status = convert(c, options, &mem, error);
    inki_gpt2_free(&c->job);
    inki_checkpoint_close(&c->checkpoint);
    inki_hf_tokenizer_free(&c->tokenizer);
    inki_release(&mem, c, 1, sizeof *c);
    return status;
}
