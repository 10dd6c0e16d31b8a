// SPDX-License-Identifier: MIT
#include "convert/shape_model.h"

#include "convert/quantize_plan.h"
#include "convert/shape_blocks.h"
#include "convert/shape_vocabulary.h"
#include "gguf/gguf.h"

#include <stdio.h>
#include <string.h>

const inki_shape inki_shapes[] = {
    {"story", 4, 4, 128, 256, 2048},           {"gpt2-124m", 12, 12, 768, 1024, 50257},
    {"gpt2-355m", 24, 16, 1024, 1024, 50257},  {"gpt2-774m", 36, 20, 1280, 1024, 50257},
    {"gpt2-1558m", 48, 25, 1600, 1024, 50257},
};
const size_t inki_n_shapes = sizeof inki_shapes / sizeof *inki_shapes;

enum { PIECE_BYTES = 1 << 20, QUANTIZATION_VERSION = 2 };

// What the matrices of a file become: most of them; those whose errors cost most, in some layers;
// the embedding that is also the head. As llama.cpp chooses, but that Q4_0 keeps its head in Q8_0.
typedef enum layer_choice { IN_NO_LAYER, IN_FIRST_LAYERS, IN_SPREAD_LAYERS } layer_choice;
typedef struct type_rule {
    uint32_t most, head, file_type; // what llama.cpp calls such a file (general.file_type)
    uint32_t sensitive;
    layer_choice layers;
} type_rule;
const char *const inki_shape_types[] = {"f32",  "f16",  "bf16",  "q8_0", "q4_0",
                                        "q4_k", "q6_k", "mixed", NULL};
static const type_rule type_rules[] = {
    {INKI_F32, INKI_F32, 0, INKI_F32, IN_NO_LAYER},
    {INKI_F16, INKI_F16, 1, INKI_F16, IN_NO_LAYER},
    {INKI_BF16, INKI_BF16, 32, INKI_BF16, IN_NO_LAYER},
    {INKI_Q8_0, INKI_Q8_0, 7, INKI_Q8_0, IN_NO_LAYER},
    {INKI_Q4_0, INKI_Q8_0, 2, INKI_Q4_0, IN_NO_LAYER},
    {INKI_Q4_K, INKI_Q6_K, 14, INKI_Q5_K, IN_FIRST_LAYERS},
    {INKI_Q6_K, INKI_Q6_K, 18, INKI_Q6_K, IN_NO_LAYER},
    {INKI_Q4_K, INKI_Q6_K, 15, INKI_Q6_K, IN_SPREAD_LAYERS},
};

typedef enum tensor_use { USE_GAIN, USE_FLOATS, USE_MOST, USE_QKV, USE_DOWN, USE_HEAD } tensor_use;
typedef enum tensor_side { SIDE_NONE, SIDE_VOCAB, SIDE_CTX, SIDE_1, SIDE_3, SIDE_4 } tensor_side;
typedef struct tensor_plan {
    const char *name;       // behind "blk.N." in a layer
    tensor_side rows, cols; // SIDE_n: n times the width; rows SIDE_NONE: a vector
    tensor_use use;
} tensor_plan;

static const tensor_plan first_tensors[] = {
    {"token_embd.weight", SIDE_VOCAB, SIDE_1, USE_HEAD},
    {"position_embd.weight", SIDE_CTX, SIDE_1, USE_FLOATS},
    {"output_norm.weight", SIDE_NONE, SIDE_1, USE_GAIN},
    {"output_norm.bias", SIDE_NONE, SIDE_1, USE_FLOATS},
};
static const tensor_plan layer_tensors[] = {
    {"attn_norm.weight", SIDE_NONE, SIDE_1, USE_GAIN},
    {"attn_norm.bias", SIDE_NONE, SIDE_1, USE_FLOATS},
    {"attn_qkv.weight", SIDE_3, SIDE_1, USE_QKV},
    {"attn_qkv.bias", SIDE_NONE, SIDE_3, USE_FLOATS},
    {"attn_output.weight", SIDE_1, SIDE_1, USE_MOST},
    {"attn_output.bias", SIDE_NONE, SIDE_1, USE_FLOATS},
    {"ffn_norm.weight", SIDE_NONE, SIDE_1, USE_GAIN},
    {"ffn_norm.bias", SIDE_NONE, SIDE_1, USE_FLOATS},
    {"ffn_up.weight", SIDE_4, SIDE_1, USE_MOST},
    {"ffn_up.bias", SIDE_NONE, SIDE_4, USE_FLOATS},
    {"ffn_down.weight", SIDE_1, SIDE_4, USE_DOWN},
    {"ffn_down.bias", SIDE_NONE, SIDE_1, USE_FLOATS},
};
#define COUNT(a) (sizeof(a) / sizeof(a)[0])

typedef struct shape_writing {
    const inki_shape_options *options;
    inki_gguf_writer *writer;
    uint8_t *piece; // [PIECE_BYTES]
    inki_shape_random random;
    uint32_t layer; // that is visited
    uint64_t bytes_done, bytes_total;
    // Called for each tensor of the file in turn.
    ink_status (*visit)(struct shape_writing *, const char *name, const tensor_plan *, ink_error *);
} shape_writing;

static uint64_t side_of(const inki_shape *s, tensor_side side) {
    switch (side) {
    case SIDE_VOCAB: return s->n_vocab;
    case SIDE_CTX: return s->n_ctx;
    case SIDE_1: return s->n_embd;
    case SIDE_3: return 3 * (uint64_t)s->n_embd;
    case SIDE_4: return 4 * (uint64_t)s->n_embd;
    case SIDE_NONE: break;
    }
    return 1;
}

static bool is_widened(const shape_writing *w, tensor_use use) {
    const uint32_t n = w->options->shape->n_layer, first = n / 8, layer = w->layer;
    if (use != USE_QKV && use != USE_DOWN) return false;
    switch (type_rules[w->options->type].layers) {
    case IN_FIRST_LAYERS: return layer < (use == USE_QKV ? 4 : first);
    case IN_SPREAD_LAYERS: return layer < first || layer >= 7 * n / 8 || (layer - first) % 3 == 2;
    case IN_NO_LAYER: break;
    }
    return false;
}

static uint32_t type_of_tensor(const shape_writing *w, const tensor_plan *plan) {
    const type_rule *rule = &type_rules[w->options->type];
    if (plan->use == USE_GAIN || plan->use == USE_FLOATS) return INKI_F32;
    uint32_t type = is_widened(w, plan->use) ? rule->sensitive : rule->most;
    if (plan->use == USE_HEAD) type = rule->head;
    return inki_quantize_type_that_fits(type, side_of(w->options->shape, plan->cols));
}

static uint64_t blocks_of_tensor(const shape_writing *w, const tensor_plan *plan) {
    const inki_shape *s = w->options->shape;
    return side_of(s, plan->rows) * side_of(s, plan->cols) /
           inki_type_of(type_of_tensor(w, plan)).block_elems;
}

static ink_status declare(shape_writing *w, const char *name, const tensor_plan *plan,
                          ink_error *error) {
    (void)error; // what goes wrong comes back from the writer's beginning
    const inki_shape *s = w->options->shape;
    const uint64_t dims[2] = {side_of(s, plan->cols), side_of(s, plan->rows)};
    const uint32_t type = type_of_tensor(w, plan);
    inki_gguf_add_tensor(w->writer, name, type, dims, plan->rows == SIDE_NONE ? 1 : 2);
    w->bytes_total += blocks_of_tensor(w, plan) * inki_type_of(type).block_bytes;
    return INK_OK;
}

static void fill_piece(shape_writing *w, const tensor_plan *plan, uint32_t type, size_t n_blocks) {
    if (plan->use == USE_GAIN) {
        const float one = 1.0f;
        for (size_t i = 0; i < n_blocks; i++) memcpy(w->piece + i * sizeof one, &one, sizeof one);
    } else {
        inki_shape_fill(&w->random, type, w->piece, n_blocks);
    }
}

static ink_status write_tensor(shape_writing *w, const char *name, const tensor_plan *plan,
                               ink_error *error) {
    const uint32_t type = type_of_tensor(w, plan);
    const size_t block_bytes = inki_type_of(type).block_bytes;
    uint64_t left = blocks_of_tensor(w, plan);
    (void)name;
    while (left > 0) {
        const size_t most = PIECE_BYTES / block_bytes, n = left < most ? (size_t)left : most;
        fill_piece(w, plan, type, n);
        const ink_status status =
            inki_gguf_writer_data(w->writer, w->piece, n * block_bytes, error);
        if (status != INK_OK) return status;
        left -= n;
        w->bytes_done += n * block_bytes;
        const double fraction = (double)w->bytes_done / (double)w->bytes_total;
        if (w->options->progress != NULL && w->options->progress(w->options->user, fraction) != 0)
            return inki_fail(error, INK_E_CANCELLED, NULL, 0, "cancelled");
    }
    return INK_OK;
}

static ink_status visit_all(shape_writing *w, ink_error *error) {
    char name[INKI_GGUF_MAX_NAME + 1];
    ink_status status = INK_OK;
    for (size_t i = 0; i < COUNT(first_tensors) && status == INK_OK; i++)
        status = w->visit(w, first_tensors[i].name, &first_tensors[i], error);
    for (uint32_t layer = 0; layer < w->options->shape->n_layer; layer++)
        for (size_t i = 0; i < COUNT(layer_tensors) && status == INK_OK; i++) {
            w->layer = layer;
            snprintf(name, sizeof name, "blk.%u.%s", (unsigned)layer, layer_tensors[i].name);
            status = w->visit(w, name, &layer_tensors[i], error);
        }
    return status;
}

static inki_str text_of(const char *text) { return (inki_str){text, strlen(text)}; }

static void add_metadata(shape_writing *w, const inki_shape_vocab *vocab) {
    inki_gguf_writer *to = w->writer;
    const inki_shape *s = w->options->shape;
    char name[80];
    snprintf(name, sizeof name, "random %s %s", s->name, inki_shape_types[w->options->type]);
    inki_gguf_add_str(to, "general.architecture", text_of("gpt2"));
    inki_gguf_add_str(to, "general.type", text_of("model"));
    inki_gguf_add_str(to, "general.name", text_of(name));
    inki_gguf_add_u32(to, "gpt2.block_count", s->n_layer);
    inki_gguf_add_u32(to, "gpt2.context_length", s->n_ctx);
    inki_gguf_add_u32(to, "gpt2.embedding_length", s->n_embd);
    inki_gguf_add_u32(to, "gpt2.feed_forward_length", 4 * s->n_embd);
    inki_gguf_add_u32(to, "gpt2.attention.head_count", s->n_head);
    inki_gguf_add_f32(to, "gpt2.attention.layer_norm_epsilon", 1e-5f);
    inki_gguf_add_u32(to, "general.file_type", type_rules[w->options->type].file_type);
    inki_gguf_add_u32(to, "general.quantization_version", QUANTIZATION_VERSION);
    inki_gguf_add_str(to, "tokenizer.ggml.model", text_of("gpt2"));
    inki_gguf_add_str(to, "tokenizer.ggml.pre", text_of("gpt-2"));
    inki_gguf_add_str_array(to, "tokenizer.ggml.tokens", vocab->tokens, vocab->n_tokens);
    inki_gguf_add_i32_array(to, "tokenizer.ggml.token_type", vocab->types, vocab->n_tokens);
    inki_gguf_add_str_array(to, "tokenizer.ggml.merges", vocab->merges, vocab->n_merges);
    inki_gguf_add_u32(to, "tokenizer.ggml.bos_token_id", vocab->n_tokens - 1);
    inki_gguf_add_u32(to, "tokenizer.ggml.eos_token_id", vocab->n_tokens - 1);
}

static ink_status write_all(shape_writing *w, const inki_mem *mem, ink_error *error) {
    inki_shape_vocab vocab = {0};
    ink_status status = inki_shape_vocab_new(&vocab, w->options->shape->n_vocab, mem, error);
    if (status != INK_OK) return status;
    add_metadata(w, &vocab);
    inki_shape_vocab_free(&vocab);
    w->visit = declare;
    visit_all(w, error);
    status = inki_gguf_writer_begin(w->writer, error);
    w->visit = write_tensor;
    return status == INK_OK ? visit_all(w, error) : status;
}

ink_status inki_shape_write(const inki_shape_options *options, ink_error *error) {
    const inki_mem mem = inki_mem_from(NULL);
    shape_writing w = {.options = options, .random = {0x9e3779b97f4a7c15u}};
    if (options->type >= COUNT(type_rules))
        return inki_fail(error, INK_E_ARG, "type", 0, "unknown number %u", options->type);
    w.piece = inki_alloc(&mem, PIECE_BYTES, 1);
    if (w.piece == NULL) return inki_fail_nomem(error, PIECE_BYTES);
    ink_status status = inki_gguf_writer_new(&w.writer, options->out, &mem, error);
    if (status == INK_OK) {
        status = write_all(&w, &mem, error);
        if (status == INK_OK)
            status = inki_gguf_writer_finish(w.writer, error);
        else
            inki_gguf_writer_discard(w.writer);
    }
    inki_release(&mem, w.piece, PIECE_BYTES, 1);
    return status;
}
