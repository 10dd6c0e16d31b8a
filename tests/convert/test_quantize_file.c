// SPDX-License-Identifier: MIT
// inki_quantize_file: what comes out loads and computes nearly the same; types, fallbacks and
// metadata; inputs and outputs that cannot be.
// Label: threads
#include "convert/quantize_plan.h"
#include "gguf/gguf.h"
#include "heap.h"
#include "inkling/inkling.h"
#include "raw_gguf.h"
#include "tiny_model.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const preset_names[] = {"q8_0", "q4_0", "q4_k", "q6_k", "mixed"};

typedef struct folder {
    char root[200], in[256], out[256];
    char notes[4096];
    size_t n_progress, cancel_at;
    double last;
} folder;

static folder folder_new(const tiny_model *model) {
    folder f = {.notes = ""};
    const char *tmp = getenv("TMPDIR");
    snprintf(f.root, sizeof f.root, "%s/inkling-quantize-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(f.root));
    snprintf(f.in, sizeof f.in, "%s/in.gguf", f.root);
    snprintf(f.out, sizeof f.out, "%s/out.gguf", f.root);
    ink_error error = {0};
    if (model != NULL && tiny_model_write(f.in, model, &error) != INK_OK)
        fail_msg("%s", error.message);
    return f;
}

static size_t count_files(const folder *f) {
    size_t n = 0;
    DIR *dir = opendir(f->root);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) n += strcmp(e->d_name, ".") != 0;
    closedir(dir);
    return n - 1;
}

static void folder_drop(folder *f) {
    DIR *dir = opendir(f->root);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", f->root, e->d_name);
        unlink(path);
    }
    closedir(dir);
    rmdir(f->root);
}

static void on_note(void *user, const char *line) {
    folder *f = user;
    const size_t n = strlen(f->notes);
    snprintf(f->notes + n, sizeof f->notes - n, "%s\n", line);
}

static int on_progress(void *user, double fraction, const char *what) {
    folder *f = user;
    assert_true(fraction >= f->last && fraction <= 1 + 1e-9);
    assert_non_null(what);
    f->last = fraction;
    f->n_progress++;
    return f->n_progress == f->cancel_at;
}

static ink_status run(folder *f, inki_quantize_preset preset, inki_quantize_result *result,
                      ink_error *error) {
    const inki_quantize_options o = {.in = f->in,
                                     .out = f->out,
                                     .preset = preset,
                                     .n_threads = 2,
                                     .progress = on_progress,
                                     .note = on_note,
                                     .user = f};
    f->notes[0] = 0;
    f->n_progress = 0;
    f->last = 0;
    return inki_quantize_file(&o, result, error);
}

static void must(folder *f, inki_quantize_preset preset) {
    ink_error error = {0};
    if (run(f, preset, NULL, &error) != INK_OK)
        fail_msg("%s: %s", preset_names[preset], error.message);
}

static void refused(folder *f, ink_status want, const char *words) {
    ink_error error = {0};
    const ink_status got = run(f, INKI_QUANTIZE_Q4_K, NULL, &error);
    if (got != want || strstr(error.message, words) == NULL)
        fail_msg("%d \"%s\" instead of %d \"%s\"", (int)got, error.message, (int)want, words);
    assert_true(strchr(error.message, '\n') == NULL);
}

// --- a GGUF file, read ----------------------------------------------------------------------

typedef struct opened_gguf {
    inki_file file;
    inki_gguf gguf;
} opened_gguf;

static void gguf_of(opened_gguf *o, const char *path) {
    const inki_mem mem = inki_mem_from(NULL);
    ink_error error = {0};
    memset(o, 0, sizeof *o);
    if (inki_os_open_path(&o->file, path, true, &mem, &error) != INK_OK ||
        inki_gguf_open(&o->gguf, o->file.data, o->file.bytes, &mem, &error) != INK_OK)
        fail_msg("%s", error.message);
}

static void gguf_done(opened_gguf *o) {
    inki_gguf_close(&o->gguf);
    inki_os_close(&o->file);
}

static const char *type_of(const folder *f, const char *tensor) {
    opened_gguf o;
    gguf_of(&o, f->out);
    const inki_gguf_tensor *t = inki_gguf_find_tensor(&o.gguf, tensor);
    assert_non_null(t);
    const char *name = inki_type_of(t->type).name;
    gguf_done(&o);
    return name;
}

static void same_files(const char *a, const char *b) {
    opened_gguf x, y;
    gguf_of(&x, a);
    gguf_of(&y, b);
    assert_int_equal(x.file.bytes, y.file.bytes);
    assert_memory_equal(x.file.data, y.file.data, x.file.bytes);
    gguf_done(&x);
    gguf_done(&y);
}

// --- tests ------------------------------------------------------------------------------------

static tiny_model wide_model(void) {
    tiny_model m = tiny_model_defaults();
    m.n_embd = 256;
    m.n_head = 4;
    m.n_ff = 256;
    m.n_layer = 1;
    return m;
}

static void logits_of(const char *path, float *out, size_t n_vocab) {
    ink_error error = {0};
    ink_runtime *runtime = NULL;
    ink_model *model = NULL;
    ink_session *session = NULL;
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = path};
    const ink_token ids[] = {40, 70, 12, 260, 5, 99, 100, 3};
    size_t n = 0;
    assert_int_equal(ink_runtime_new(&runtime, NULL, &error), INK_OK);
    if (ink_model_open(&model, runtime, &source, NULL, &error) != INK_OK)
        fail_msg("%s: %s", path, error.message);
    assert_int_equal(ink_session_new(&session, model, NULL, &error), INK_OK);
    const ink_span span = {session, ids, sizeof ids / sizeof *ids, 0, NULL};
    if (ink_eval(&span, 1, &error) != INK_OK) fail_msg("%s: %s", path, error.message);
    const float *logits = ink_session_logits(session, 0, &n);
    assert_int_equal(n, n_vocab);
    memcpy(out, logits, n * sizeof *out);
    ink_session_free(session);
    ink_model_unref(model);
    ink_runtime_unref(runtime);
}

// Through the model loader and a pass: finer types are nearer to what was.
static void test_runs(void **state) {
    (void)state;
    const tiny_model m = wide_model();
    folder f = folder_new(&m);
    float want[300], got[300];
    double far[INKI_QUANTIZE_PRESETS];
    assert_true(m.n_vocab == 300);
    logits_of(f.in, want, 300);
    for (int preset = 0; preset < INKI_QUANTIZE_PRESETS; preset++) {
        double error = 0, power = 0;
        must(&f, (inki_quantize_preset)preset);
        logits_of(f.out, got, 300);
        for (size_t i = 0; i < 300; i++) {
            error += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
            power += (double)want[i] * (double)want[i];
        }
        far[preset] = sqrt(error / power);
        printf("%s: logits are %.4f away\n", preset_names[preset], far[preset]);
    }
    assert_true(far[INKI_QUANTIZE_Q8_0] < 0.02 && far[INKI_QUANTIZE_Q8_0] > 0);
    assert_true(far[INKI_QUANTIZE_Q6_K] < 0.05);
    assert_true(far[INKI_QUANTIZE_MIXED] < far[INKI_QUANTIZE_Q4_K]);
    assert_true(far[INKI_QUANTIZE_Q6_K] < far[INKI_QUANTIZE_Q4_K]);
    assert_true(far[INKI_QUANTIZE_Q4_K] < far[INKI_QUANTIZE_Q4_0]);
    assert_true(far[INKI_QUANTIZE_Q4_0] < 0.3);
    folder_drop(&f);
}

// All that is told is true: counts, sizes, errors. Metadata and vectors stay.
static void test_result_and_metadata(void **state) {
    (void)state;
    const tiny_model m = wide_model();
    folder f = folder_new(&m);
    opened_gguf in, out;
    gguf_of(&in, f.in);
    for (int preset = 0; preset < INKI_QUANTIZE_PRESETS; preset += 2) {
        inki_quantize_result r = {0};
        ink_error error = {0};
        assert_int_equal(run(&f, (inki_quantize_preset)preset, &r, &error), INK_OK);
        assert_true(fabs(f.last - 1) < 1e-9);
        assert_string_equal(f.notes, "");
        gguf_of(&out, f.out);
        assert_int_equal(r.file_bytes_in, in.file.bytes);
        assert_int_equal(in.gguf.n_tensors, out.gguf.n_tensors);
        uint64_t before = 0, after = 0, elems = 0, tensors = 0, bytes = 0;
        for (size_t i = 0; i < r.n_groups; i++) {
            before += r.groups[i].bytes_in;
            after += r.groups[i].bytes_out;
            elems += r.groups[i].n_elems;
            tensors += r.groups[i].n_tensors;
            const bool kept = r.groups[i].type == r.groups[i].type_in;
            assert_int_equal(kept, r.groups[i].power == 0);
            if (!kept) assert_true(r.groups[i].error < 0.02 * r.groups[i].power);
        }
        assert_int_equal(tensors, in.gguf.n_tensors);
        assert_int_equal(elems, r.n_elems);
        for (size_t i = 0; i < out.gguf.n_tensors; i++) {
            const inki_gguf_tensor *a = &in.gguf.tensors[i], *b = &out.gguf.tensors[i];
            assert_string_equal(a->name, b->name);
            assert_memory_equal(a->dims, b->dims, sizeof a->dims);
            assert_int_equal(b->offset % 32, 0);
            before -= a->bytes;
            bytes += b->bytes;
            if (a->type == b->type) assert_memory_equal(a->data, b->data, a->bytes);
        }
        assert_int_equal(before, 0);
        assert_int_equal(after, bytes);
        for (size_t i = 0; i < in.gguf.n_kv; i++) {
            char key[128] = "";
            const inki_gguf_kv *a = &in.gguf.kv[i];
            memcpy(key, a->key.data, a->key.bytes < 127 ? a->key.bytes : 127);
            if (strcmp(key, "general.file_type") == 0) continue;
            const inki_gguf_kv *b = inki_gguf_find(&out.gguf, key);
            assert_non_null(b);
            assert_int_equal(a->bytes, b->bytes);
            assert_memory_equal(a->data, b->data, a->bytes);
        }
        static const uint32_t numbers[] = {7, 2, 14, 18, 15};
        uint32_t file_type = 0, version = 0;
        inki_gguf_get_u32(&out.gguf, "general.file_type", true, &file_type, NULL);
        inki_gguf_get_u32(&out.gguf, "general.quantization_version", true, &version, NULL);
        assert_int_equal(file_type, numbers[preset]);
        assert_int_equal(version, 2);
        gguf_done(&out);
    }
    gguf_done(&in);
    folder_drop(&f);
}

static void types_are(const folder *f, const char *const (*pairs)[2]) {
    for (; (*pairs)[0] != NULL; pairs++) assert_string_equal(type_of(f, (*pairs)[0]), (*pairs)[1]);
}

// Of Q4_K, 13 parts of 256 x 256 are to be wide: four times attn_qkv, one ffn_down.
static void test_types(void **state) {
    (void)state;
    static const struct {
        bool tied;
        inki_quantize_preset preset;
        const char *tensor, *type;
    } cases[] = {
        {true, INKI_QUANTIZE_Q4_K, "token_embd.weight", "Q6_K"},
        {true, INKI_QUANTIZE_Q4_K, "position_embd.weight", "F32"},
        {true, INKI_QUANTIZE_Q4_K, "blk.0.attn_norm.weight", "F32"},
        {true, INKI_QUANTIZE_Q4_K, "blk.0.attn_qkv.weight", "Q5_K"},
        {true, INKI_QUANTIZE_Q4_K, "blk.0.attn_output.weight", "Q5_K"},
        {true, INKI_QUANTIZE_Q4_K, "blk.1.attn_output.weight", "Q5_K"},
        {true, INKI_QUANTIZE_Q4_K, "blk.2.attn_qkv.weight", "Q4_K"},
        {true, INKI_QUANTIZE_Q4_K, "blk.2.ffn_up.weight", "Q5_K"},
        {true, INKI_QUANTIZE_Q4_K, "blk.2.ffn_down.weight", "Q4_K"},
        {true, INKI_QUANTIZE_Q4_K, "blk.0.ffn_down.bias", "F32"},
        {false, INKI_QUANTIZE_Q4_K, "token_embd.weight", "Q4_K"},
        {false, INKI_QUANTIZE_Q4_K, "output.weight", "Q6_K"},
        {true, INKI_QUANTIZE_MIXED, "token_embd.weight", "Q8_0"},
        {true, INKI_QUANTIZE_MIXED, "blk.0.attn_qkv.weight", "Q6_K"},
        {true, INKI_QUANTIZE_MIXED, "blk.1.attn_qkv.weight", "Q4_K"},
        {true, INKI_QUANTIZE_MIXED, "blk.0.ffn_up.weight", "Q6_K"},
        {false, INKI_QUANTIZE_MIXED, "token_embd.weight", "Q6_K"},
        {false, INKI_QUANTIZE_MIXED, "output.weight", "Q8_0"},
        {true, INKI_QUANTIZE_MIXED, "blk.7.attn_qkv.weight", "Q4_K"},
        {true, INKI_QUANTIZE_Q4_0, "token_embd.weight", "Q6_K"},
        {true, INKI_QUANTIZE_Q8_0, "token_embd.weight", "Q8_0"},
    };
    for (int tied = 0; tied < 2; tied++) {
        static inki_quantize_item items[200];
        tiny_model m = wide_model();
        m.n_layer = 8;
        m.tied = tied;
        folder f = folder_new(&m);
        opened_gguf o;
        gguf_of(&o, f.in);
        assert_true(o.gguf.n_tensors <= 200);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            if (cases[i].tied != tied) continue;
            inki_quantize_plan(items, &o.gguf, cases[i].preset, m.n_layer);
            const inki_gguf_tensor *t = inki_gguf_find_tensor(&o.gguf, cases[i].tensor);
            assert_non_null(t);
            const uint32_t type = items[t - o.gguf.tensors].type;
            if (strcmp(inki_type_of(type).name, cases[i].type) != 0)
                fail_msg("%s of %s became %s", cases[i].tensor, preset_names[cases[i].preset],
                         inki_type_of(type).name);
        }
        gguf_done(&o);
        folder_drop(&f);
    }
}

static void says(const folder *f, const char *line) {
    if (strstr(f->notes, line) == NULL) fail_msg("no \"%s\" in:\n%s", line, f->notes);
}

// Rows of 96 hold no block of 256, those of 40 none of 32.
static void test_fallbacks(void **state) {
    (void)state;
    tiny_model m = tiny_model_defaults();
    m.n_embd = 96;
    m.n_ff = 256;
    m.n_layer = 6;
    folder f = folder_new(&m);
    must(&f, INKI_QUANTIZE_Q4_K);
    types_are(&f, (const char *const[][2]){{"token_embd.weight", "Q8_0"},
                                           {"blk.1.ffn_down.weight", "Q5_K"},
                                           {"blk.2.ffn_down.weight", "Q4_K"},
                                           {"blk.0.attn_output.weight", "Q5_1"},
                                           {"blk.0.attn_qkv.weight", "Q5_0"},
                                           {NULL, NULL}});
    says(&f, "token_embd.weight: rows of 96 do not fit Q6_K (blocks of 256), written as Q8_0\n");
    says(&f, "blk.0.attn_output.weight: rows of 96 do not fit Q5_K (blocks of 256), written as "
             "Q5_1\n");
    says(&f, "blk.1-5.attn_output.weight: rows of 96 do not fit Q4_K (blocks of 256), written as "
             "Q5_0 (5 tensors)\n");
    assert_null(strstr(f.notes, "ffn_down"));
    must(&f, INKI_QUANTIZE_MIXED);
    says(&f, "blk.0.attn_qkv.weight: rows of 96 do not fit Q6_K (blocks of 256), written as Q8_0");
    must(&f, INKI_QUANTIZE_Q8_0);
    assert_string_equal(f.notes, "");
    folder_drop(&f);

    m.n_embd = 40;
    f = folder_new(&m);
    must(&f, INKI_QUANTIZE_Q4_0);
    types_are(&f, (const char *const[][2]){{"token_embd.weight", "F16"},
                                           {"blk.0.attn_qkv.weight", "F16"},
                                           {"blk.0.ffn_down.weight", "Q4_0"},
                                           {NULL, NULL}});
    says(&f, "blk.0-5.attn_qkv.weight: rows of 40 do not fit Q4_0 (blocks of 32), written as F16");
    folder_drop(&f);
}

// One value changed in a tensor of the input.
static void poke(const char *path, const char *tensor, uint64_t element, float value) {
    opened_gguf o;
    gguf_of(&o, path);
    const inki_gguf_tensor *t = inki_gguf_find_tensor(&o.gguf, tensor);
    assert_non_null(t);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)(t->offset + 4 * element), SEEK_SET), 0);
    assert_int_equal(fwrite(&value, 4, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    gguf_done(&o);
}

static void test_numbers(void **state) {
    (void)state;
    const tiny_model m = wide_model();
    static const float wrong[] = {NAN, INFINITY, -INFINITY};
    static const char *const tensors[] = {"blk.0.ffn_up.weight", "position_embd.weight",
                                          "output_norm.bias"};
    for (size_t i = 0; i < 3; i++) {
        folder f = folder_new(&m);
        poke(f.in, tensors[i], 77, wrong[i]);
        refused(&f, INK_E_NUMERIC, "holds NaN or infinity");
        refused(&f, INK_E_NUMERIC, tensors[i]);
        assert_int_equal(count_files(&f), 1);
        folder_drop(&f);
    }
    folder f = folder_new(&m);
    poke(f.in, "blk.0.ffn_up.weight", 77, 1e30f);
    must(&f, INKI_QUANTIZE_Q4_K);
    assert_string_equal(type_of(&f, "blk.0.ffn_up.weight"), "F32");
    says(&f, "blk.0.ffn_up.weight: holds values too large for Q4_K, kept as F32\n");
    folder_drop(&f);
}

static void test_quantized_before(void **state) {
    (void)state;
    const uint32_t types[] = {INKI_F16, INKI_BF16, INKI_Q8_0, INKI_Q4_0};
    for (size_t i = 0; i < 4; i++) {
        tiny_model m = tiny_model_defaults();
        m.type = types[i];
        folder f = folder_new(&m);
        must(&f, INKI_QUANTIZE_Q4_K);
        if (i < 2)
            assert_null(strstr(f.notes, "already"));
        else
            says(&f, "are quantised already (");
        must(&f, INKI_QUANTIZE_Q8_0);
        if (types[i] == INKI_Q8_0) { // nothing to do, so nothing is lost
            opened_gguf a, b;
            assert_string_equal(f.notes, "");
            gguf_of(&a, f.in);
            gguf_of(&b, f.out);
            for (size_t k = 0; k < a.gguf.n_tensors; k++)
                assert_memory_equal(a.gguf.tensors[k].data, b.gguf.tensors[k].data,
                                    a.gguf.tensors[k].bytes);
            gguf_done(&a);
            gguf_done(&b);
        }
        folder_drop(&f);
    }
}

static void test_same_bytes(void **state) {
    (void)state;
    tiny_model m = wide_model();
    m.n_vocab = 1100; // more than one strip
    folder f = folder_new(&m);
    char first[300];
    snprintf(first, sizeof first, "%s/first.gguf", f.root);
    for (int preset = 0; preset < INKI_QUANTIZE_PRESETS; preset += 2)
        for (uint32_t n = 1; n <= 3; n += 2) {
            const inki_quantize_options o = {.in = f.in,
                                             .out = n == 1 ? first : f.out,
                                             .preset = (inki_quantize_preset)preset,
                                             .n_threads = n};
            assert_int_equal(inki_quantize_file(&o, NULL, NULL), INK_OK);
            if (n > 1) same_files(first, f.out);
        }
    folder_drop(&f);
}

// The output is the input, by whatever name.
static void test_onto_itself(void **state) {
    (void)state;
    const tiny_model m = wide_model();
    folder f = folder_new(&m);
    char copy[300], link_name[300], hard[300];
    snprintf(copy, sizeof copy, "%s/copy.gguf", f.root);
    snprintf(link_name, sizeof link_name, "%s/link.gguf", f.root);
    snprintf(hard, sizeof hard, "%s/hard.gguf", f.root);
    ink_error error = {0};
    assert_int_equal(tiny_model_write(copy, &m, &error), INK_OK);
    assert_int_equal(symlink(f.in, link_name), 0);
    assert_int_equal(link(f.in, hard), 0);
    const char *const names[] = {f.in, link_name, hard};
    for (size_t i = 0; i < 3; i++) {
        const inki_quantize_options o = {.in = f.in, .out = names[i]};
        assert_int_equal(inki_quantize_file(&o, NULL, &error), INK_E_ARG);
        assert_non_null(strstr(error.message, "is the file to read"));
    }
    same_files(f.in, copy);
    folder_drop(&f);
}

static void write_bytes(const char *path, const void *data, size_t n) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (n > 0) assert_int_equal(fwrite(data, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static void test_bad_input(void **state) {
    (void)state;
    folder f = folder_new(NULL);
    refused(&f, INK_E_NOT_FOUND, "in.gguf");
    assert_int_equal(mkdir(f.in, 0700), 0);
    refused(&f, INK_E_IO, "in.gguf");
    rmdir(f.in);
    assert_int_equal(mkfifo(f.in, 0600), 0);
    refused(&f, INK_E_IO, "not a regular file");
    unlink(f.in);
    write_bytes(f.in, "", 0);
    refused(&f, INK_E_IO, "empty");
    write_bytes(f.in, "GGUF but no more", 16);
    refused(&f, INK_E_UNSUPPORTED, "version");
    raw_gguf r = raw_gpt2(&(raw_model){.n_embd = 32, .architecture = "llama"});
    write_bytes(f.in, r.data, r.bytes);
    refused(&f, INK_E_UNSUPPORTED, "\"llama\", but \"gpt2\" was expected");
    raw_free(&r);
    r = raw_gpt2(&(raw_model){.n_embd = 32, .no_key = "gpt2.block_count"});
    write_bytes(f.in, r.data, r.bytes);
    refused(&f, INK_E_FORMAT, "gpt2.block_count");
    raw_free(&r);
    r = raw_gpt2(&(raw_model){.n_embd = 32});
    for (size_t n = 1; n < r.bytes; n += 37) {
        ink_error error = {0};
        write_bytes(f.in, r.data, n);
        assert_int_not_equal(run(&f, INKI_QUANTIZE_MIXED, NULL, &error), INK_OK);
    }
    raw_free(&r);
    assert_int_equal(count_files(&f), 1);
    const inki_quantize_options wrong[] = {{.in = NULL, .out = f.out},
                                           {.in = f.in, .out = ""},
                                           {.in = f.in, .out = f.out, .preset = 99}};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(inki_quantize_file(&wrong[i], NULL, NULL), INK_E_ARG);
    folder_drop(&f);
}

static void test_no_room(void **state) {
    (void)state;
    const tiny_model m = wide_model();
    folder f = folder_new(&m);
    if (access("/dev/full", W_OK) == 0) {
        snprintf(f.out, sizeof f.out, "/dev/full");
        refused(&f, INK_E_IO, "/dev/full");
    } else {
        printf("left out: a full disk (no /dev/full)\n");
    }
    snprintf(f.out, sizeof f.out, "%s/none/out.gguf", f.root);
    refused(&f, INK_E_IO, "cannot be written");
    folder_drop(&f);
}

static void test_cancel(void **state) {
    (void)state;
    const tiny_model m = wide_model();
    folder f = folder_new(&m);
    for (f.cancel_at = 1; f.cancel_at < 22; f.cancel_at += 5) {
        ink_error error = {0};
        assert_int_equal(run(&f, INKI_QUANTIZE_Q6_K, NULL, &error), INK_E_CANCELLED);
        assert_int_equal(count_files(&f), 1);
    }
    folder_drop(&f);
}

static void test_memory(void **state) {
    (void)state;
    tiny_model m = wide_model();
    m.n_vocab = 2000; // 2 MB, in strips
    folder f = folder_new(&m);
    static heap h;
    ink_allocator allocator = heap_allocator(&h);
    inki_mem mem = inki_mem_from(&allocator);
    inki_quantize_options o = {
        .in = f.in, .out = f.out, .preset = INKI_QUANTIZE_Q4_K, .n_threads = 2, .mem = &mem};
    assert_int_equal(inki_quantize_file(&o, NULL, NULL), INK_OK);
    assert_int_equal(h.live_bytes, 0);
    assert_int_equal(h.wrong_releases, 0);
    if (h.peak_bytes > 6u << 20) fail_msg("%zu bytes were in use", (size_t)h.peak_bytes);
    folder_drop(&f);

    m = tiny_model_defaults();
    f = folder_new(&m);
    for (size_t n = 1;; n++) {
        heap small = {.fail_at = n};
        ink_error error = {0};
        allocator = heap_allocator(&small);
        mem = inki_mem_from(&allocator);
        o = (inki_quantize_options){
            .in = f.in, .out = f.out, .preset = INKI_QUANTIZE_MIXED, .n_threads = 2, .mem = &mem};
        const ink_status status = inki_quantize_file(&o, NULL, &error);
        assert_int_equal(small.live_bytes, 0);
        assert_int_equal(small.wrong_releases, 0);
        if (small.n_allocs < n) {
            assert_int_equal(status, INK_OK);
            assert_true(n > 10);
            break;
        }
        assert_int_equal(status, INK_E_NOMEM);
        assert_int_equal(count_files(&f), 1);
    }
    folder_drop(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),       cmocka_unit_test(test_result_and_metadata),
        cmocka_unit_test(test_types),      cmocka_unit_test(test_fallbacks),
        cmocka_unit_test(test_numbers),    cmocka_unit_test(test_quantized_before),
        cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_onto_itself),
        cmocka_unit_test(test_bad_input),  cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_cancel),     cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests_name("quantize file", tests, NULL, NULL);
}
