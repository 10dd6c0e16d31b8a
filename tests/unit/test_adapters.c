// SPDX-License-Identifier: MIT
// LoRA adapters: what they compute, which files are refused, who holds what.
#include "opened.h"
#include "tiny_adapter.h"

#include "gguf/gguf.h"
#include "kernels/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_IDS = 40 };

static ink_token ids[N_IDS];

static ink_status try_adapter(ink_adapter **out, ink_model *model, const void *bytes, size_t n,
                              ink_error *error) {
    const ink_source source = {.size = sizeof source,
                               .kind = INK_SOURCE_MEMORY,
                               .data = bytes,
                               .bytes = n,
                               .name = "lora.gguf"};
    return ink_adapter_open(out, model, &source, error);
}

// --- a model with adapters made into its weights -------------------------------------------------

static const inki_kernels *kernels(void) {
    static inki_kernels table;
    if (table.name == NULL) inki_kernels_init(&table, 0);
    return &table;
}

static float *widened(const inki_gguf_tensor *t) {
    const size_t n = (size_t)(t->dims[0] * t->dims[1]);
    float *values = malloc(n * sizeof *values);
    assert_non_null(values);
    kernels()->dequantize[t->type](values, t->data, n);
    return values;
}

// W + scale * (alpha / rank) * B A in doubles, for every F32 matrix of the model in memory.
static void bake(uint8_t *model, size_t n_model, const uint8_t *adapter, size_t n_adapter,
                 double alpha, double scale) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_gguf m = {0}, l = {0};
    size_t n_baked = 0;
    assert_int_equal(inki_gguf_open(&m, model, n_model, &mem, NULL), INK_OK);
    assert_int_equal(inki_gguf_open(&l, adapter, n_adapter, &mem, NULL), INK_OK);
    for (size_t i = 0; i < m.n_tensors; i++) {
        const inki_gguf_tensor *w = &m.tensors[i];
        char name[80];
        snprintf(name, sizeof name, "%s.lora_a", w->name);
        const inki_gguf_tensor *ta = inki_gguf_find_tensor(&l, name);
        snprintf(name, sizeof name, "%s.lora_b", w->name);
        const inki_gguf_tensor *tb = inki_gguf_find_tensor(&l, name);
        if (ta == NULL || tb == NULL) continue;
        float *a = widened(ta), *b = widened(tb);
        float *to = (float *)(void *)(model + w->offset);
        const size_t cols = (size_t)w->dims[0], rank = (size_t)ta->dims[1];
        for (size_t r = 0; r < w->dims[1]; r++)
            for (size_t c = 0; c < cols; c++) {
                double sum = 0;
                for (size_t k = 0; k < rank; k++)
                    sum += (double)b[r * rank + k] * (double)a[k * cols + c];
                const double by = alpha != 0 ? scale * alpha / (double)rank : scale;
                to[r * cols + c] = (float)((double)to[r * cols + c] + by * sum);
            }
        n_baked++;
        free(a);
        free(b);
    }
    assert_true(n_baked > 0);
    inki_gguf_close(&m);
    inki_gguf_close(&l);
}

static ink_model *open_bytes(const opened *o, const uint8_t *bytes, size_t n) {
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = bytes, .bytes = n, .name = "m"};
    ink_model *model = NULL;
    ink_error error = {0};
    if (ink_model_open(&model, o->runtime, &source, NULL, &error) != INK_OK)
        fail_msg("%s", error.message);
    return model;
}

// --- sessions ------------------------------------------------------------------------------------

typedef struct scene {
    tiny_model tiny;
    opened o;
    heap memory;
    uint8_t *bytes[2]; // of two adapters
    size_t n_bytes[2];
    float alpha[2];
    ink_adapter *adapters[2];
} scene;

static void begin_with(scene *s, const tiny_adapter *first, const tiny_adapter *second) {
    const tiny_adapter *const two[] = {first, second};
    memset(s, 0, sizeof *s);
    s->tiny = tiny_model_defaults();
    s->o = opened_tiny(&s->tiny, 1, &s->memory);
    opened_ids(ids, N_IDS, s->tiny.n_vocab, 5);
    for (size_t i = 0; i < 2; i++) {
        ink_error error = {0};
        s->bytes[i] = tiny_adapter_bytes(&s->tiny, two[i], &s->n_bytes[i]);
        s->alpha[i] = two[i]->alpha;
        assert_non_null(s->bytes[i]);
        if (try_adapter(&s->adapters[i], s->o.model, s->bytes[i], s->n_bytes[i], &error) != INK_OK)
            fail_msg("%s", error.message);
    }
}

static void begin(scene *s) {
    const tiny_adapter first = tiny_adapter_defaults();
    tiny_adapter second = first;
    second.seed = 2;
    second.alpha = 3;
    second.rank[0] = 7;
    second.rank[1] = 0;
    begin_with(s, &first, &second);
}

static void end(scene *s) {
    for (size_t i = 0; i < 2; i++) {
        ink_adapter_unref(s->adapters[i]);
        free(s->bytes[i]);
    }
    opened_close(&s->o);
    assert_int_equal(s->memory.live_blocks, 0);
    assert_int_equal(s->memory.wrong_releases, 0);
}

static ink_status try_session(ink_session **out, ink_model *model, const ink_adapter_use *uses,
                              size_t n, ink_error *error) {
    ink_session_options options;
    ink_session_options_init(&options, sizeof options);
    options.kv_type = INK_KV_F32;
    options.adapters = uses;
    options.n_adapters = n;
    return ink_session_new(out, model, &options, error);
}

static ink_session *session_with(ink_model *model, const ink_adapter_use *uses, size_t n) {
    ink_session *s = NULL;
    ink_error error = {0};
    if (try_session(&s, model, uses, n, &error) != INK_OK) fail_msg("%s", error.message);
    return s;
}

// [n_vocab] of a session with these adapters behind ids, to be freed.
static float *logits_with(const scene *s, ink_model *model, const ink_adapter_use *uses, size_t n) {
    ink_session *session = session_with(model, uses, n);
    size_t n_vocab = 0;
    opened_eval(session, ids, N_IDS, 0);
    const float *logits = ink_session_logits(session, 0, &n_vocab);
    assert_non_null(logits);
    assert_int_equal(n_vocab, s->tiny.n_vocab);
    float *copy = malloc(n_vocab * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, logits, n_vocab * sizeof *copy);
    ink_session_free(session);
    return copy;
}

static double farthest(const float *a, const float *b, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= most)) most = d;
    }
    return most;
}

// --- what they compute ---------------------------------------------------------------------------

// Against the same model with the adapters made into its weights. Both ways round differently, by
// some 1e-6 of numbers around 1; what the adapters change is some 0.1 to 1. An A in blocks
// sees x as bytes: an error of 1/127 in what it adds.
static void check_merged(const tiny_adapter *first, const tiny_adapter *second,
                         const float scales[2], double limit, double share) {
    scene s;
    begin_with(&s, first, second);
    const ink_adapter_use uses[] = {{s.adapters[0], scales[0]}, {s.adapters[1], scales[1]}};
    uint8_t *merged = malloc(s.o.n_bytes);
    assert_non_null(merged);
    memcpy(merged, s.o.bytes, s.o.n_bytes);
    float *plain = logits_with(&s, s.o.model, NULL, 0);
    for (size_t n = 1; n <= 2; n++) {
        bake(merged, s.o.n_bytes, s.bytes[n - 1], s.n_bytes[n - 1], (double)s.alpha[n - 1],
             (double)scales[n - 1]);
        ink_model *model = open_bytes(&s.o, merged, s.o.n_bytes);
        float *expected = logits_with(&s, model, NULL, 0);
        float *got = logits_with(&s, s.o.model, uses, n);
        const double off = farthest(got, expected, s.tiny.n_vocab);
        const double change = farthest(expected, plain, s.tiny.n_vocab);
        assert_true(change > 0.05);
        assert_true(off <= limit + share * change);
        free(expected);
        free(got);
        ink_model_unref(model);
    }
    free(plain);
    free(merged);
    end(&s);
}

static void applied_is_merged(void **state) {
    (void)state;
    static const uint32_t types[] = {INKI_F32, INKI_F16, INKI_BF16};
    static const float scales[][2] = {{1, 1}, {0.5f, -1.5f}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (size_t k = 0; k < 2; k++) {
            tiny_adapter first = tiny_adapter_defaults(), second = first;
            first.type_a = second.type_b = types[i];
            second.alpha = 0; // counts as the rank
            second.seed = 7;
            check_merged(&first, &second, scales[k], 1e-4, 0);
        }
}

static void blocks_are_merged_nearly(void **state) {
    (void)state;
    static const uint32_t types[][2] = {
        {INKI_Q8_0, INKI_F32}, {INKI_Q8_0, INKI_Q8_0}, {INKI_F32, INKI_Q8_0}};
    static const float scales[] = {1, 1};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        tiny_adapter a = tiny_adapter_defaults();
        a.type_a = types[i][0];
        a.type_b = types[i][1];
        for (size_t k = 0; k < 4; k++) a.rank[k] = 32; // a block
        a.spread = 0.1f;
        tiny_adapter b = a;
        b.seed = 3;
        if (i == 2)
            check_merged(&a, &b, scales, 1e-4, 0);
        else
            check_merged(&a, &b, scales, 0, 0.05);
    }
}

// A rank as large as the matrix, and larger.
static void any_rank(void **state) {
    (void)state;
    static const float scales[] = {1, 1};
    tiny_adapter a = tiny_adapter_defaults(), b = a;
    for (size_t k = 0; k < 4; k++) {
        a.rank[k] = 1;
        b.rank[k] = 130 + (uint32_t)k;
    }
    b.alpha = 20;
    b.spread = 0.1f;
    check_merged(&a, &b, scales, 1e-4, 0);
}

static void scale_zero_is_none(void **state) {
    (void)state;
    scene s;
    begin(&s);
    const ink_adapter_use uses[] = {{s.adapters[0], 0}, {s.adapters[1], 1}, {s.adapters[0], -0.0f}};
    float *none = logits_with(&s, s.o.model, NULL, 0), *zero = logits_with(&s, s.o.model, uses, 1);
    float *one = logits_with(&s, s.o.model, uses + 1, 1),
          *all = logits_with(&s, s.o.model, uses, 3);
    assert_memory_equal(none, zero, s.tiny.n_vocab * sizeof(float));
    assert_memory_equal(one, all, s.tiny.n_vocab * sizeof(float));
    assert_memory_not_equal(none, one, s.tiny.n_vocab * sizeof(float));
    free(none);
    free(zero);
    free(one);
    free(all);
    end(&s);
}

// --- files that are refused ----------------------------------------------------------------------

static bool is_tensor(const tiny_tensor_of_adapter *t, const char *name) {
    return strcmp(t->name, name) == 0;
}
static void lose_a(tiny_tensor_of_adapter *t) {
    t->left_out = is_tensor(t, "blk.1.ffn_up.weight.lora_a");
}
static void lose_b(tiny_tensor_of_adapter *t) {
    t->left_out = is_tensor(t, "blk.0.attn_qkv.weight.lora_b");
}
static void lose_all(tiny_tensor_of_adapter *t) { t->left_out = true; }
static void widen_a(tiny_tensor_of_adapter *t) {
    if (is_tensor(t, "blk.1.ffn_down.weight.lora_a")) t->dims[0]++;
}
static void lengthen_b(tiny_tensor_of_adapter *t) {
    if (is_tensor(t, "blk.0.attn_output.weight.lora_b")) t->dims[1]--;
}
static void other_rank(tiny_tensor_of_adapter *t) {
    if (is_tensor(t, "blk.0.ffn_up.weight.lora_b")) t->dims[0]++;
}
static void turn_b(tiny_tensor_of_adapter *t) {
    if (!is_tensor(t, "blk.0.ffn_up.weight.lora_b")) return;
    const uint64_t d = t->dims[0];
    t->dims[0] = t->dims[1];
    t->dims[1] = d;
}
static void absurd_rank(tiny_tensor_of_adapter *t) {
    if (is_tensor(t, "blk.0.ffn_up.weight.lora_a")) t->dims[1] = 4097;
    if (is_tensor(t, "blk.0.ffn_up.weight.lora_b")) t->dims[0] = 4097;
}
static void third_layer(tiny_tensor_of_adapter *t) {
    if (strncmp(t->name, "blk.1.", 6) == 0) t->name[4] = '2';
}
static void of_embedding(tiny_tensor_of_adapter *t) {
    if (is_tensor(t, "blk.1.attn_qkv.weight.lora_a"))
        snprintf(t->name, sizeof t->name, "token_embd.weight.lora_a");
    t->left_out = is_tensor(t, "blk.1.attn_qkv.weight.lora_b");
}
static void of_norm(tiny_tensor_of_adapter *t) {
    if (is_tensor(t, "blk.1.attn_qkv.weight.lora_a"))
        snprintf(t->name, sizeof t->name, "blk.1.attn_norm.weight");
    t->left_out = is_tensor(t, "blk.1.attn_qkv.weight.lora_b");
}
static void third_part(tiny_tensor_of_adapter *t) {
    if (is_tensor(t, "blk.1.attn_qkv.weight.lora_a"))
        snprintf(t->name, sizeof t->name, "blk.1.attn_qkv.weight.lora_c");
    t->left_out = is_tensor(t, "blk.1.attn_qkv.weight.lora_b");
}

typedef struct refusal {
    const char *label;
    void (*change)(tiny_tensor_of_adapter *);
    ink_status status;
    const char *told; // the message has it
} refusal;

static void refuse(const tiny_adapter *a, ink_status wanted, const char *told, const char *label) {
    const tiny_model tiny = tiny_model_defaults();
    heap memory = {0};
    opened o = opened_tiny(&tiny, 1, &memory);
    const size_t before = memory.live_blocks;
    size_t n = 0;
    uint8_t *bytes = tiny_adapter_bytes(&tiny, a, &n);
    assert_non_null(bytes);
    ink_adapter *adapter = NULL;
    ink_error error = {0};
    const ink_status status = try_adapter(&adapter, o.model, bytes, n, &error);
    if (status != wanted || strstr(error.message, told) == NULL ||
        strncmp(error.message, "lora.gguf: ", 11) != 0)
        fail_msg("%s: %s, \"%s\"", label, ink_status_name(status), error.message);
    assert_null(adapter);
    assert_int_equal(memory.live_blocks, before);
    free(bytes);
    opened_close(&o);
}

static void wrong_tensors(void **state) {
    (void)state;
    static const refusal all[] = {
        {"no A", lose_a, INK_E_FORMAT, "blk.1.ffn_up.weight.lora_a: this tensor is missing"},
        {"no B", lose_b, INK_E_FORMAT, "blk.0.attn_qkv.weight.lora_b: this tensor is missing"},
        {"nothing", lose_all, INK_E_FORMAT, "no tensors"},
        {"A too wide", widen_a, INK_E_FORMAT, "blk.1.ffn_down.weight.lora_a: has the shape [65, 2"},
        {"B too short", lengthen_b, INK_E_FORMAT, "blk.0.attn_output.weight.lora_b: has the shape"},
        {"two ranks", other_rank, INK_E_FORMAT, "blk.0.ffn_up.weight.lora_b: has the shape"},
        {"B transposed", turn_b, INK_E_FORMAT, "blk.0.ffn_up.weight.lora_b: has the shape"},
        {"absurd rank", absurd_rank, INK_E_LIMIT, "blk.0.ffn_up.weight.lora_a: has the rank 4097"},
        {"a layer too many", third_layer, INK_E_FORMAT, "blk.2.attn_qkv.weight.lora_a: the model"},
        {"embedding", of_embedding, INK_E_UNSUPPORTED, "token_embd.weight.lora_a: only"},
        {"norm", of_norm, INK_E_UNSUPPORTED, "blk.1.attn_norm.weight: only"},
        {"C", third_part, INK_E_UNSUPPORTED, "blk.1.attn_qkv.weight.lora_c: only"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        tiny_adapter a = tiny_adapter_defaults();
        a.change = all[i].change;
        refuse(&a, all[i].status, all[i].told, all[i].label);
    }
}

static void wrong_metadata(void **state) {
    (void)state;
    tiny_adapter a = tiny_adapter_defaults();
    a.general_type = "model";
    refuse(&a, INK_E_FORMAT, "general.type: is \"model\", \"adapter\" was expected", "a model");
    a.general_type = "";
    refuse(&a, INK_E_FORMAT, "general.type: this metadata key is missing", "no general.type");
    a = tiny_adapter_defaults();
    a.architecture = "llama";
    refuse(&a, INK_E_FORMAT, "general.architecture: is \"llama\", \"gpt2\"", "architecture");
    a = tiny_adapter_defaults();
    a.adapter_type = "control_vector";
    refuse(&a, INK_E_UNSUPPORTED, "adapter.type: is \"control_vector\"", "kind");
    a = tiny_adapter_defaults();
    a.more_key = "adapter.alora.invocation_tokens";
    refuse(&a, INK_E_UNSUPPORTED, "adapter.alora.invocation_tokens", "invoked");
    a = tiny_adapter_defaults();
    a.alpha = NAN;
    refuse(&a, INK_E_FORMAT, "adapter.lora.alpha: is not finite", "alpha");
}

static void wrong_calls(void **state) {
    (void)state;
    scene s, other;
    begin(&s);
    begin(&other);
    ink_adapter *none = NULL;
    ink_session *session = NULL;
    ink_error error = {0};
    assert_int_equal(try_adapter(NULL, s.o.model, s.bytes[0], s.n_bytes[0], NULL), INK_E_ARG);
    assert_int_equal(try_adapter(&none, NULL, s.bytes[0], s.n_bytes[0], NULL), INK_E_ARG);
    assert_int_equal(ink_adapter_open(&none, s.o.model, NULL, NULL), INK_E_ARG);
    assert_int_equal(try_adapter(&none, s.o.model, s.o.bytes, s.o.n_bytes, &error), INK_E_FORMAT);
    assert_int_equal(try_adapter(&none, s.o.model, s.bytes[0], 40, &error), INK_E_FORMAT);
    ink_adapter_unref(NULL);

    ink_adapter_use uses[17];
    for (size_t i = 0; i < 17; i++) uses[i] = (ink_adapter_use){s.adapters[i % 2], 0.1f};
    assert_int_equal(try_session(&session, s.o.model, uses, 17, &error), INK_E_LIMIT);
    assert_int_equal(try_session(&session, s.o.model, NULL, 1, &error), INK_E_ARG);
    uses[3].scale = NAN;
    assert_int_equal(try_session(&session, s.o.model, uses, 16, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "number 3"));
    uses[3] = (ink_adapter_use){NULL, 1};
    assert_int_equal(try_session(&session, s.o.model, uses, 16, &error), INK_E_ARG);
    uses[3] = (ink_adapter_use){other.adapters[0], 1}; // equal, but of another model
    assert_int_equal(try_session(&session, s.o.model, uses, 16, &error), INK_E_ARG);
    assert_int_equal(try_session(&session, s.o.model, uses, 3, &error), INK_OK);
    ink_session_free(session);
    end(&other);
    end(&s);
}

static void inspected_model_has_none(void **state) {
    (void)state;
    scene s;
    begin(&s);
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = s.o.bytes, .bytes = s.o.n_bytes};
    ink_model_options options;
    ink_model_options_init(&options, sizeof options);
    options.flags = INK_MODEL_INSPECT;
    ink_model *model = NULL;
    ink_adapter *adapter = NULL;
    assert_int_equal(ink_model_open(&model, s.o.runtime, &source, &options, NULL), INK_OK);
    assert_int_equal(try_adapter(&adapter, model, s.bytes[0], s.n_bytes[0], NULL),
                     INK_E_UNSUPPORTED);
    ink_model_unref(model);
    end(&s);
}

static void poison_one(tiny_tensor_of_adapter *t) {
    t->poisoned = is_tensor(t, "blk.1.ffn_down.weight.lora_b");
}

// A NaN is told by the name of the adapter's tensor; with a scale of 0 it is nobody's business.
static void nan_is_named(void **state) {
    (void)state;
    tiny_adapter good = tiny_adapter_defaults(), bad = good;
    bad.change = poison_one;
    scene s;
    begin_with(&s, &good, &bad);
    const ink_adapter_use uses[] = {{s.adapters[0], 1}, {s.adapters[1], 1}};
    ink_session *session = session_with(s.o.model, uses, 2);
    ink_error error = {0};
    const ink_span span = {session, ids, 3, 0, NULL};
    assert_int_equal(ink_eval(&span, 1, &error), INK_E_NUMERIC);
    assert_string_equal(error.message, "lora.gguf: blk.1.ffn_down.weight.lora_b: element 63 is NaN "
                                       "or infinite");
    ink_session_free(session);
    const ink_adapter_use without[] = {{s.adapters[0], 1}, {s.adapters[1], 0}};
    free(logits_with(&s, s.o.model, without, 2));
    end(&s);
}

// --- who holds what ------------------------------------------------------------------------------

static void any_order_of_release(void **state) {
    (void)state;
    scene s;
    begin(&s);
    const ink_adapter_use uses[] = {{s.adapters[0], 1}, {s.adapters[1], 1}};
    float *expected = logits_with(&s, s.o.model, uses, 2);
    ink_session *session = session_with(s.o.model, uses, 2), *fork = NULL;
    assert_int_equal(ink_session_fork(session, &fork, NULL), INK_OK);
    for (size_t i = 0; i < 2; i++) {
        ink_adapter_unref(s.adapters[i]);
        s.adapters[i] = NULL;
    }
    ink_session_free(session);
    uint8_t *bytes = s.o.bytes;
    s.o.bytes = NULL;
    opened_close(&s.o);
    opened_eval(fork, ids, N_IDS, 9);
    assert_memory_equal(ink_session_logits(fork, 0, NULL), expected,
                        s.tiny.n_vocab * sizeof(float));
    ink_session_free(fork);
    free(expected);
    free(bytes);
    end(&s);
}

static void measure_is_exact(void **state) {
    (void)state;
    scene s;
    begin(&s);
    const ink_adapter_use uses[] = {{s.adapters[0], 1}, {s.adapters[1], 1}, {s.adapters[0], 0}};
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = s.o.bytes, .bytes = s.o.n_bytes};
    uint64_t last = 0;
    for (size_t n = 0; n <= 3; n++) {
        ink_session_options options;
        ink_memory memory = {0};
        ink_session *session = NULL;
        ink_session_options_init(&options, sizeof options);
        options.adapters = uses;
        options.n_adapters = n;
        assert_int_equal(ink_measure(&source, &options, &memory, NULL), INK_OK);
        const size_t before = s.memory.live_bytes;
        assert_int_equal(ink_session_new(&session, s.o.model, &options, NULL), INK_OK);
        assert_int_equal(memory.session_heap_bytes, s.memory.live_bytes - before);
        assert_true(n == 0 || n == 3 || memory.session_heap_bytes > last);
        last = memory.session_heap_bytes;
        const size_t allocs = s.memory.n_allocs; // evaluating takes no more
        opened_eval(session, ids, N_IDS, 7);
        assert_int_equal(s.memory.n_allocs, allocs);
        ink_session_free(session);
    }
    end(&s);
}

// What a typing session suggests is what the model with the adapters made into it suggests.
static void typing_has_them(void **state) {
    (void)state;
    static const char text[] = "one of the words in there";
    scene s;
    begin(&s);
    const ink_adapter_use uses[] = {{s.adapters[0], 1}, {s.adapters[1], -0.5f}};
    uint8_t *merged = malloc(s.o.n_bytes);
    assert_non_null(merged);
    memcpy(merged, s.o.bytes, s.o.n_bytes);
    for (size_t i = 0; i < 2; i++)
        bake(merged, s.o.n_bytes, s.bytes[i], s.n_bytes[i], (double)s.alpha[i],
             (double)uses[i].scale);
    ink_model *model = open_bytes(&s.o, merged, s.o.n_bytes);
    char shown[3][3][512]; // merged, applied, without
    for (size_t k = 0; k < 3; k++) {
        ink_typing_options options;
        ink_typing *typing = NULL;
        ink_error error = {0};
        ink_typing_options_init(&options, sizeof options);
        options.n_alternatives = 3;
        options.kv_type = INK_KV_F32;
        options.adapters = k == 1 ? uses : NULL;
        options.n_adapters = k == 1 ? 2 : 0;
        if (ink_typing_new(&typing, k == 0 ? model : s.o.model, &options, &error) != INK_OK)
            fail_msg("%s", error.message);
        assert_int_equal(
            ink_typing_update(typing, text, sizeof text - 1, sizeof text - 1, NULL, NULL), INK_OK);
        assert_int_equal(ink_typing_run(typing, UINT32_MAX, NULL, NULL), INK_OK);
        for (uint32_t i = 0; i < 3; i++) {
            ink_suggestion suggestion = {.size = sizeof suggestion};
            assert_int_equal(ink_typing_suggestion(typing, i, &suggestion), INK_OK);
            snprintf(shown[k][i], sizeof shown[k][i], "%s", suggestion.text);
        }
        ink_typing_free(typing);
    }
    for (size_t i = 0; i < 3; i++) assert_string_equal(shown[0][i], shown[1][i]);
    assert_string_not_equal(shown[0][0], shown[2][0]);

    ink_typing_options options;
    ink_typing *typing = NULL;
    ink_typing_options_init(&options, sizeof options);
    options.adapters = uses;
    options.n_adapters = 2; // of another model
    assert_int_equal(ink_typing_new(&typing, model, &options, NULL), INK_E_ARG);
    options.n_adapters = 17;
    assert_int_equal(ink_typing_new(&typing, s.o.model, &options, NULL), INK_E_LIMIT);
    ink_model_unref(model);
    free(merged);
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(applied_is_merged), cmocka_unit_test(blocks_are_merged_nearly),
        cmocka_unit_test(any_rank),          cmocka_unit_test(scale_zero_is_none),
        cmocka_unit_test(wrong_tensors),     cmocka_unit_test(wrong_metadata),
        cmocka_unit_test(wrong_calls),       cmocka_unit_test(inspected_model_has_none),
        cmocka_unit_test(nan_is_named),      cmocka_unit_test(any_order_of_release),
        cmocka_unit_test(measure_is_exact),  cmocka_unit_test(typing_has_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
