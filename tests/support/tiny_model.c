// SPDX-License-Identifier: MIT
#include "tiny_model.h"

#include "random_blocks.h"

#include "base/utf8.h"
#include "gguf/gguf.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TINY_TEXT = 16, TINY_MAX_MERGES = 8000 };

typedef struct tiny_text {
    char text[TINY_TEXT];
} tiny_text;

tiny_model tiny_model_defaults(void) {
    return (tiny_model){.n_embd = 32,
                        .n_head = 2,
                        .n_layer = 2,
                        .n_ctx = 160,
                        .n_ff = 64,
                        .n_vocab = 300,
                        .type = INKI_F32,
                        .tied = true,
                        .seed = 1};
}

// GPT-2's bytes: the printable ones stand for themselves and come first; the others are moved above
// U+0100 in their order.
static void byte_tokens(tiny_text *out) {
    uint32_t n = 0, moved = 0;
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t b = 0; b < 256; b++) {
            const bool plain = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
            if (plain != (pass == 0)) continue;
            const size_t bytes = inki_utf8_encode(plain ? b : 0x100 + moved++, out[n].text);
            out[n++].text[bytes] = 0;
        }
}

static bool known_text(const tiny_text *tokens, size_t n, const char *text) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(tokens[i].text, text) == 0) return true;
    return false;
}

// The space before a word is "\xc4\xa0" in this form (U+0120).
static const char *const word_merges[][2] = {
    {"\xc4\xa0", "t"},
    {"h", "e"},
    {"i", "n"},
    {"r", "e"},
    {"o", "n"},
    {"\xc4\xa0t", "he"},
    {"\xc4\xa0", "a"},
    {"n", "d"},
    {"e", "r"},
    {"\xc4\xa0", "s"},
    {"o", "u"},
    {"in", "g"},
    {"\xc4\xa0", "w"},
    {"e", "d"},
    {"\xc4\xa0"
     "a",
     "nd"},
    {"a", "t"},
    {"o", "r"},
    {"i", "s"},
};

// tokens [256 + n] and merges [n]: a list of usual ones, then pairs of printable characters.
static void make_merges(tiny_text *tokens, tiny_text *merges, size_t n) {
    const size_t n_words = sizeof word_merges / sizeof word_merges[0];
    size_t made = 0, pair = 0;
    while (made < n) {
        char left[8], right[8], joined[TINY_TEXT];
        if (made < n_words) {
            snprintf(left, sizeof left, "%s", word_merges[made][0]);
            snprintf(right, sizeof right, "%s", word_merges[made][1]);
        } else { // letters first: '!' + 64 is 'a'
            snprintf(left, sizeof left, "%c", (char)('!' + (64 + pair / 94) % 94));
            snprintf(right, sizeof right, "%c", (char)('!' + (64 + pair % 94) % 94));
            pair++;
        }
        snprintf(joined, sizeof joined, "%s%s", left, right);
        if (known_text(tokens, 256 + (made < n_words ? made : n_words), joined)) continue;
        snprintf(merges[made].text, TINY_TEXT, "%s %s", left, right);
        memcpy(tokens[256 + made].text, joined, TINY_TEXT);
        made++;
    }
}

static ink_status add_vocabulary(inki_gguf_writer *w, const tiny_model *m, ink_error *error) {
    const size_t n = m->n_vocab, n_merges = n - 257;
    tiny_text *tokens = calloc(n, sizeof *tokens), *merges = calloc(n_merges + 1, sizeof *merges);
    inki_str *views = calloc(2 * n, sizeof *views);
    int32_t *types = calloc(n, sizeof *types);
    const bool whole = tokens != NULL && merges != NULL && views != NULL && types != NULL;
    if (whole) {
        byte_tokens(tokens);
        make_merges(tokens, merges, n_merges);
        snprintf(tokens[n - 1].text, TINY_TEXT, "<|endoftext|>");
        for (size_t i = 0; i < n; i++) {
            views[i] = (inki_str){tokens[i].text, strlen(tokens[i].text)};
            types[i] = i + 1 < n ? 1 : 3;
        }
        for (size_t i = 0; i < n_merges; i++)
            views[n + i] = (inki_str){merges[i].text, strlen(merges[i].text)};
        inki_gguf_add_str(w, "tokenizer.ggml.model", (inki_str){"gpt2", 4});
        inki_gguf_add_str(w, "tokenizer.ggml.pre", (inki_str){"gpt-2", 5});
        inki_gguf_add_str_array(w, "tokenizer.ggml.tokens", views, n);
        inki_gguf_add_i32_array(w, "tokenizer.ggml.token_type", types, n);
        inki_gguf_add_str_array(w, "tokenizer.ggml.merges", views + n, n_merges);
        inki_gguf_add_u32(w, "tokenizer.ggml.bos_token_id", m->n_vocab - 1);
        inki_gguf_add_u32(w, "tokenizer.ggml.eos_token_id", m->n_vocab - 1);
    }
    free(tokens);
    free(merges);
    free(views);
    free(types);
    return whole ? INK_OK
                 : inki_fail(error, INK_E_NOMEM, "tiny model", 0, "no memory for its vocabulary");
}

static void add_metadata(inki_gguf_writer *w, const tiny_model *m) {
    inki_gguf_add_str(w, "general.architecture", (inki_str){"gpt2", 4});
    inki_gguf_add_str(w, "general.name", (inki_str){"tiny", 4});
    inki_gguf_add_str(w, "general.license", (inki_str){"mit", 3});
    inki_gguf_add_u32(w, "gpt2.context_length", m->n_ctx);
    inki_gguf_add_u32(w, "gpt2.embedding_length", m->n_embd);
    inki_gguf_add_u32(w, "gpt2.feed_forward_length", m->n_ff);
    inki_gguf_add_u32(w, "gpt2.block_count", m->n_layer);
    inki_gguf_add_u32(w, "gpt2.attention.head_count", m->n_head);
    inki_gguf_add_f32(w, "gpt2.attention.layer_norm_epsilon", 1e-5f);
}

// One tensor of the plan. rows 0: a vector. The values are mean + spread * uniform(-1, 1).
typedef struct tiny_tensor {
    char name[64];
    uint32_t cols, rows;
    float mean, spread;
} tiny_tensor;

static void plan_one(tiny_tensor *plan, size_t *n, const char *prefix, const char *name,
                     uint32_t cols, uint32_t rows, float mean, float spread) {
    tiny_tensor *t = &plan[(*n)++];
    *t = (tiny_tensor){.cols = cols, .rows = rows, .mean = mean, .spread = spread};
    snprintf(t->name, sizeof t->name, "%s%s", prefix, name);
}

// Spreads keep the residual stream near 1, so that logits differ and nothing saturates.
static size_t make_plan(tiny_tensor *plan, const tiny_model *m) {
    const uint32_t e = m->n_embd, f = m->n_ff;
    const float by_embd = 1.5f / sqrtf((float)e), by_ff = 1.5f / sqrtf((float)f);
    size_t n = 0;
    plan_one(plan, &n, "", "token_embd.weight", e, m->n_vocab, 0, 0.5f);
    plan_one(plan, &n, "", "position_embd.weight", e, m->n_ctx, 0, 0.2f);
    for (uint32_t i = 0; i < m->n_layer; i++) {
        char prefix[24];
        snprintf(prefix, sizeof prefix, "blk.%u.", (unsigned)i);
        plan_one(plan, &n, prefix, "attn_norm.weight", e, 0, 1, 0.2f);
        plan_one(plan, &n, prefix, "attn_norm.bias", e, 0, 0, 0.1f);
        plan_one(plan, &n, prefix, "attn_qkv.weight", e, 3 * e, 0, by_embd);
        plan_one(plan, &n, prefix, "attn_qkv.bias", 3 * e, 0, 0, 0.1f);
        plan_one(plan, &n, prefix, "attn_output.weight", e, e, 0, by_embd);
        plan_one(plan, &n, prefix, "attn_output.bias", e, 0, 0, 0.1f);
        plan_one(plan, &n, prefix, "ffn_norm.weight", e, 0, 1, 0.2f);
        plan_one(plan, &n, prefix, "ffn_norm.bias", e, 0, 0, 0.1f);
        plan_one(plan, &n, prefix, "ffn_up.weight", e, f, 0, by_embd);
        plan_one(plan, &n, prefix, "ffn_up.bias", f, 0, 0, 0.1f);
        plan_one(plan, &n, prefix, "ffn_down.weight", f, e, 0, by_ff);
        plan_one(plan, &n, prefix, "ffn_down.bias", e, 0, 0, 0.1f);
    }
    plan_one(plan, &n, "", "output_norm.weight", e, 0, 1, 0.2f);
    plan_one(plan, &n, "", "output_norm.bias", e, 0, 0, 0.1f);
    if (!m->tied) plan_one(plan, &n, "", "output.weight", e, m->n_vocab, 0, 0.5f);
    return n;
}

static float next_uniform(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(*state >> 40) / (float)(1 << 23) - 1.0f; // 24 bits: exact
}

static ink_status write_rows(inki_gguf_writer *w, const tiny_tensor *t, uint32_t type,
                             uint64_t *state, ink_error *error) {
    float *values = malloc(t->cols * sizeof *values);
    void *row = malloc(t->cols * sizeof *values);
    uint64_t row_bytes = 0;
    ink_status status =
        values != NULL && row != NULL && inki_type_row_bytes(type, t->cols, &row_bytes)
            ? INK_OK
            : inki_fail(error, INK_E_ARG, t->name, 0, "no row of this type");
    for (uint32_t r = 0; r < (t->rows > 0 ? t->rows : 1) && status == INK_OK; r++) {
        for (uint32_t c = 0; c < t->cols; c++)
            values[c] = t->mean + t->spread * next_uniform(state);
        if (!inki_quantize_row(type, row, values, t->cols))
            random_row(type, row, (size_t)row_bytes, *state);
        status = inki_gguf_writer_data(w, row, (size_t)row_bytes, error);
    }
    free(values);
    free(row);
    return status;
}

static ink_status write_tensors(inki_gguf_writer *w, const tiny_model *m, ink_error *error) {
    tiny_tensor *plan = calloc(5 + 12 * (size_t)m->n_layer, sizeof *plan);
    if (plan == NULL)
        return inki_fail(error, INK_E_NOMEM, "tiny model", 0, "no memory for its plan");
    const size_t n = make_plan(plan, m);
    uint64_t state = m->seed * 0x9e3779b97f4a7c15u + 12345;
    for (size_t i = 0; i < n; i++) {
        const uint64_t dims[2] = {plan[i].cols, plan[i].rows};
        inki_gguf_add_tensor(w, plan[i].name, plan[i].rows > 0 ? m->type : INKI_F32, dims,
                             plan[i].rows > 0 ? 2 : 1);
    }
    ink_status status = inki_gguf_writer_begin(w, error);
    for (size_t i = 0; i < n && status == INK_OK; i++)
        status = write_rows(w, &plan[i], plan[i].rows > 0 ? m->type : INKI_F32, &state, error);
    free(plan);
    return status;
}

ink_status tiny_model_write(const char *path, const tiny_model *m, ink_error *error) {
    if (m->n_vocab < 257 || m->n_vocab > 257 + TINY_MAX_MERGES || m->n_head == 0 ||
        m->n_embd % m->n_head != 0)
        return inki_fail(error, INK_E_ARG, "tiny model", 0, "wrong parameters");
    const inki_mem mem = inki_mem_from(NULL);
    inki_gguf_writer *w = NULL;
    ink_status status = inki_gguf_writer_new(&w, path, &mem, error);
    if (status != INK_OK) return status;
    add_metadata(w, m);
    status = add_vocabulary(w, m, error);
    if (status == INK_OK) status = write_tensors(w, m, error);
    if (status == INK_OK) return inki_gguf_writer_finish(w, error);
    inki_gguf_writer_discard(w);
    return status;
}

static uint8_t *slurp(const char *path, size_t *bytes) {
    FILE *f = fopen(path, "rb");
    if (f == NULL) return NULL;
    uint8_t *data = NULL;
    long size = -1;
    if (fseek(f, 0, SEEK_END) == 0) size = ftell(f);
    if (size > 0 && fseek(f, 0, SEEK_SET) == 0) data = malloc((size_t)size);
    if (data != NULL && fread(data, 1, (size_t)size, f) != (size_t)size) {
        free(data);
        data = NULL;
    }
    fclose(f);
    if (data != NULL) *bytes = (size_t)size;
    return data;
}

uint8_t *tiny_model_bytes(const tiny_model *model, size_t *bytes) {
    const char *folder = getenv("TMPDIR");
    char path[512];
    snprintf(path, sizeof path, "%s/inkling-tiny-XXXXXX", folder != NULL ? folder : "/tmp");
    const int fd = mkstemp(path);
    if (fd < 0) return NULL;
    close(fd);
    uint8_t *data = tiny_model_write(path, model, NULL) == INK_OK ? slurp(path, bytes) : NULL;
    unlink(path);
    return data;
}
