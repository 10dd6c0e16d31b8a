// SPDX-License-Identifier: MIT
// What a saved session belongs to (model, adapters), where its file lies, and wrong arguments.
#include "engine/engine.h"
#include "opened.h"
#include "saved.h"
#include "tiny_adapter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_CTX = 160, N_VOCAB = 300 };

static opened model;
static ink_token ids[N_CTX];

static int begin(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    model = opened_tiny(&tiny, 1, NULL);
    opened_ids(ids, sizeof ids / sizeof ids[0], N_VOCAB, 5);
    return 0;
}

static int end(void **state) {
    (void)state;
    opened_close(&model);
    return 0;
}

// --- adapters ------------------------------------------------------------------------------------

static ink_adapter *adapter_of(uint64_t seed, uint8_t **bytes) {
    const tiny_model tiny = tiny_model_defaults();
    tiny_adapter tiny_one = tiny_adapter_defaults();
    tiny_one.seed = seed;
    ink_source source = {.size = sizeof source, .kind = INK_SOURCE_MEMORY};
    size_t n = 0;
    *bytes = tiny_adapter_bytes(&tiny, &tiny_one, &n);
    assert_non_null(*bytes);
    source.data = *bytes;
    source.bytes = n;
    ink_adapter *adapter = NULL;
    assert_int_equal(ink_adapter_open(&adapter, model.model, &source, NULL), INK_OK);
    return adapter;
}

static ink_session *adapted_session(const ink_adapter_use *uses, size_t n) {
    ink_session_options options;
    ink_session *s = NULL;
    ink_session_options_init(&options, sizeof options);
    options.adapters = uses;
    options.n_adapters = n;
    assert_int_equal(ink_session_new(&s, model.model, &options, NULL), INK_OK);
    return s;
}

static void adapters(void **state) {
    (void)state;
    uint8_t *bytes[3];
    // The third is the first once more, as another process would open it.
    ink_adapter *one = adapter_of(1, &bytes[0]), *two = adapter_of(2, &bytes[1]),
                *same = adapter_of(1, &bytes[2]);
    const struct {
        ink_adapter_use uses[2];
        size_t n;
        bool fits;
    } cases[] = {{{{one, 0.5F}}, 1, true},
                 {{{same, 0.5F}}, 1, true},
                 {{{same, 0.5F}, {two, 0}}, 2, true}, // a scale of 0 is none
                 {{{two, 0.5F}}, 1, false},
                 {{{one, 0.25F}}, 1, false},
                 {{{one, 0.5F}, {two, 1}}, 2, false},
                 {{{one, 0}}, 1, false},
                 {{{one, 0}}, 0, false}};
    ink_session *from = adapted_session(cases[0].uses, 1);
    opened_eval(from, ids, 40, 0);
    const saved file = saved_of(from, NULL);
    opened_eval(from, ids + 40, 5, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ink_error error = {0};
        ink_session *to = adapted_session(cases[i].uses, cases[i].n);
        const ink_status status = saved_restore(to, &file, NULL, &error);
        assert_int_equal(status, cases[i].fits ? INK_OK : INK_E_ARG);
        if (cases[i].fits) {
            opened_eval(to, ids + 40, 5, 0);
            assert_same_logits(from, to);
        } else {
            assert_non_null(strstr(error.message, "adapters"));
            assert_int_equal(ink_session_n_past(to), 0);
        }
        ink_session_free(to);
    }
    free(file.data);
    ink_session_free(from);
    ink_adapter_unref(one);
    ink_adapter_unref(two);
    ink_adapter_unref(same);
    for (size_t i = 0; i < 3; i++) free(bytes[i]);
}

// --- files ---------------------------------------------------------------------------------------

static void files(void **state) {
    (void)state;
    char folder[300], path[320], missing[340];
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/inkling-saved-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a", folder);
    snprintf(missing, sizeof missing, "%s/none/a", folder);
    ink_session *from = opened_session(&model, N_CTX, INK_KV_Q8_0, 1);
    ink_session *to = opened_session(&model, N_CTX, INK_KV_Q8_0, 1);
    ink_error error = {0};
    opened_eval(from, ids, 20, 0);
    assert_int_equal(ink_session_save(from, path, NULL, &error), INK_OK);
    opened_eval(from, ids + 20, 50, 0);
    assert_int_equal(ink_session_save(from, path, NULL, &error), INK_OK);
    const saved file = saved_of(from, NULL);
    FILE *f = fopen(path, "rb");
    uint8_t *read = malloc(file.bytes + 1);
    assert_non_null(f);
    assert_int_equal(fread(read, 1, file.bytes + 1, f), file.bytes);
    assert_memory_equal(read, file.data, file.bytes);
    // By path, as a copy, and out of the middle of another file.
    ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = path};
    assert_int_equal(ink_session_restore(to, &source, NULL, &error), INK_OK);
    assert_same_logits(from, to);
    source.flags = INK_SOURCE_COPY;
    assert_int_equal(ink_session_restore(to, &source, NULL, &error), INK_OK);
    assert_same_logits(from, to);
    f = freopen(path, "wb", f);
    assert_int_equal(fwrite("xyz", 1, 3, f), 3);
    assert_int_equal(fwrite(file.data, 1, file.bytes, f), file.bytes);
    f = freopen(path, "rb", f);
    source =
        (ink_source){.size = sizeof source, .kind = INK_SOURCE_FD, .fd = fileno(f), .offset = 3};
    assert_int_equal(ink_session_rewind(to, 0), INK_OK);
    assert_int_equal(ink_session_restore(to, &source, NULL, &error), INK_OK);
    assert_same_logits(from, to);
    source.offset = 0;
    assert_int_equal(ink_session_restore(to, &source, NULL, &error), INK_E_FORMAT);
    // Memory that lies askew.
    memcpy(read + 1, file.data, file.bytes);
    const saved askew = {read + 1, file.bytes};
    saved_wake(to, &askew, NULL);
    fclose(f);

    assert_int_equal(ink_session_save(from, missing, NULL, &error), INK_E_IO);
    if (access("/dev/full", W_OK) == 0)
        assert_int_equal(ink_session_save(from, "/dev/full", NULL, &error), INK_E_IO);
    source = (ink_source){.size = sizeof source, .kind = INK_SOURCE_PATH, .name = missing};
    assert_int_equal(ink_session_restore(to, &source, NULL, &error), INK_E_NOT_FOUND);
    source.name = folder;
    assert_int_equal(ink_session_restore(to, &source, NULL, &error), INK_E_IO);
    source.kind = INK_SOURCE_BUILTIN;
    assert_int_equal(ink_session_restore(to, &source, NULL, &error), INK_E_ARG);
    assert_same_logits(from, to);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); // no temporary file was left
    free(read);
    free(file.data);
    ink_session_free(from);
    ink_session_free(to);
}

static void arguments(void **state) {
    (void)state;
    ink_session *s = opened_session(&model, N_CTX, INK_KV_F16, 1);
    opened_eval(s, ids, 5, 0);
    size_t n = 0;
    uint8_t small[64];
    ink_save_options o;
    ink_save_options_init(&o, sizeof o);
    assert_int_equal(o.size, sizeof o);
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_MEMORY};
    assert_int_equal(ink_session_save(NULL, "/dev/null", NULL, NULL), INK_E_ARG);
    assert_int_equal(ink_session_save(s, NULL, NULL, NULL), INK_E_ARG);
    assert_int_equal(ink_session_save_bytes(s, NULL, NULL, 0, NULL, NULL), INK_E_ARG);
    assert_int_equal(ink_session_save_bytes(s, NULL, NULL, 5, &n, NULL), INK_E_ARG);
    assert_int_equal(ink_session_save_bytes(NULL, NULL, NULL, 0, &n, NULL), INK_E_ARG);
    assert_int_equal(ink_session_restore(NULL, &source, NULL, NULL), INK_E_ARG);
    assert_int_equal(ink_session_restore(s, NULL, NULL, NULL), INK_E_ARG);
    assert_int_equal(ink_session_restore(s, &source, NULL, NULL), INK_E_ARG);
    memset(small, 7, sizeof small);
    assert_int_equal(ink_session_save_bytes(s, NULL, small, sizeof small, &n, NULL), INK_E_SPACE);
    assert_true(n > sizeof small);
    for (size_t i = 0; i < sizeof small; i++) assert_int_equal(small[i], 7);
    o.note_bytes = (1u << 20) + 1;
    o.note = small;
    assert_int_equal(ink_session_save_bytes(s, &o, NULL, 0, &n, NULL), INK_E_LIMIT);
    o.note_bytes = 1;
    o.note = NULL;
    assert_int_equal(ink_session_save_bytes(s, &o, NULL, 0, &n, NULL), INK_E_ARG);
    assert_int_equal(inki_session_enter(s, NULL), INK_OK);
    assert_int_equal(ink_session_save_bytes(s, NULL, NULL, 0, &n, NULL), INK_E_REENTRANT);
    assert_int_equal(ink_session_restore(s, &source, NULL, NULL), INK_E_REENTRANT);
    inki_session_leave(s);
    ink_session_free(s);
}

static void fingerprints(void **state) {
    (void)state;
    tiny_model tiny = tiny_model_defaults();
    opened same = opened_tiny(&tiny, 1, NULL);
    const uint64_t first = inki_model_fingerprint(model.model);
    assert_true(first != 0);
    assert_int_equal(inki_model_fingerprint(model.model), first);
    assert_int_equal(inki_model_fingerprint(same.model), first);
    opened_close(&same);
    tiny.seed = 2; // other numbers in the same places
    opened other = opened_tiny(&tiny, 1, NULL);
    assert_true(inki_model_fingerprint(other.model) != first);
    opened_close(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapters),
        cmocka_unit_test(files),
        cmocka_unit_test(arguments),
        cmocka_unit_test(fingerprints),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
