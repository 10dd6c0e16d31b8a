// SPDX-License-Identifier: MIT
// Usage: typing_model SHAPE.gguf DIRECTORY OUT.gguf
// SHAPE.gguf with the vocabulary of a Hugging Face directory of the same size (tokenizer.json, or
// vocab.json and merges.txt). A model of random weights has a vocabulary made by rule, which needs
// more tokens for a text than one that was learnt: what typing costs would be another thing.
#include <stdio.h>
#include <string.h>

#include "convert/hf_tokenizer.h"
#include "gguf/gguf.h"
#include "os/os.h"

static const char model_key[] = "tokenizer.ggml.";

static inki_str text_of(const char *text) { return (inki_str){text, strlen(text)}; }

static void add_metadata(inki_gguf_writer *w, const inki_gguf *from, const inki_hf_tokenizer *t) {
    const size_t n = sizeof model_key - 1;
    for (size_t i = 0; i < from->n_kv; i++) {
        const inki_gguf_kv *kv = &from->kv[i];
        if (kv->key.bytes < n || memcmp(kv->key.data, model_key, n) != 0) inki_gguf_add_kv(w, kv);
    }
    inki_gguf_add_str(w, "tokenizer.ggml.model", text_of("gpt2"));
    inki_gguf_add_str(w, "tokenizer.ggml.pre", text_of("gpt-2"));
    inki_gguf_add_str_array(w, "tokenizer.ggml.tokens", t->tokens, t->n_tokens);
    inki_gguf_add_i32_array(w, "tokenizer.ggml.token_type", t->types, t->n_tokens);
    inki_gguf_add_str_array(w, "tokenizer.ggml.merges", t->merges, t->n_merges);
    inki_gguf_add_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)t->n_tokens - 1);
    inki_gguf_add_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)t->n_tokens - 1);
}

static ink_status write_model(const char *path, const inki_gguf *from, const inki_hf_tokenizer *t,
                              const inki_mem *mem, ink_error *error) {
    inki_gguf_writer *w = NULL;
    ink_status status = inki_gguf_writer_new(&w, path, mem, error);
    if (status != INK_OK) return status;
    add_metadata(w, from, t);
    for (size_t i = 0; i < from->n_tensors; i++) {
        const inki_gguf_tensor *tensor = &from->tensors[i];
        inki_gguf_add_tensor(w, tensor->name, tensor->type, tensor->dims, tensor->n_dims);
    }
    status = inki_gguf_writer_begin(w, error);
    for (size_t i = 0; i < from->n_tensors && status == INK_OK; i++) {
        const inki_gguf_tensor *tensor = &from->tensors[i];
        status = inki_gguf_writer_data(w, tensor->data, (size_t)tensor->bytes, error);
    }
    if (status == INK_OK) return inki_gguf_writer_finish(w, error);
    inki_gguf_writer_discard(w);
    return status;
}

static ink_status make(char **argv, const inki_mem *mem, ink_error *error) {
    inki_file file = {0};
    inki_gguf from = {0};
    inki_hf_tokenizer tokenizer = {0};
    inki_hf_config config = {.bos = -1, .eos = -1};
    inki_str_run tokens = {0};
    ink_status status = inki_os_open_path(&file, argv[1], false, mem, error);
    if (status == INK_OK) status = inki_gguf_open(&from, file.data, file.bytes, mem, error);
    if (status == INK_OK)
        status = inki_gguf_get_str_run(&from, "tokenizer.ggml.tokens", true, &tokens, error);
    config.n_vocab = (uint32_t)tokens.n;
    if (status == INK_OK) status = inki_hf_tokenizer_load(&tokenizer, argv[2], &config, mem, error);
    if (status == INK_OK) status = write_model(argv[3], &from, &tokenizer, mem, error);
    inki_hf_tokenizer_free(&tokenizer);
    inki_gguf_close(&from);
    inki_os_close(&file);
    return status;
}

int main(int argc, char **argv) {
    ink_error error = {0};
    const inki_mem mem = inki_mem_from(NULL);
    if (argc != 4) {
        fprintf(stderr, "typing_model: SHAPE.gguf DIRECTORY OUT.gguf were expected\n");
        return 2;
    }
    if (make(argv, &mem, &error) == INK_OK) return 0;
    fprintf(stderr, "typing_model: %s\n", error.message);
    return 1;
}
