// SPDX-License-Identifier: MIT
// A model from everywhere it may come from: the same words each time, and an error that says where.
#include "opened.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_IDS = 20, N_VOCAB = 300 };

static uint8_t *bytes;
static size_t n_bytes;
static float wanted[N_VOCAB];
static char folder[] = "/tmp/inkling-sources-XXXXXX", path[64], asset[64];
static const size_t offsets[] = {4,    64,   4096,
                                 5000, 5001, 8190}; // in an asset file, two of them askew

static ink_source source_of(uint32_t kind) {
    return (ink_source){.size = sizeof(ink_source), .kind = kind, .fd = -1};
}

static ink_status open_source(ink_model **model, const ink_source *source, ink_error *error) {
    return ink_model_open(model, NULL, source, NULL, error);
}

static void logits_of(ink_model *model, float *out) {
    ink_session *s = NULL;
    ink_token ids[N_IDS];
    opened_ids(ids, N_IDS, N_VOCAB, 2);
    assert_int_equal(ink_session_new(&s, model, NULL, NULL), INK_OK);
    opened_eval(s, ids, N_IDS, 0);
    memcpy(out, ink_session_logits(s, 0, NULL), sizeof wanted);
    ink_session_free(s);
}

static void expect_same_words(ink_model *model) {
    float now[N_VOCAB];
    logits_of(model, now);
    assert_memory_equal(now, wanted, sizeof wanted);
    ink_model_unref(model);
}

static void write_file(const char *name, size_t before) {
    FILE *f = fopen(name, "wb");
    assert_non_null(f);
    for (size_t i = 0; i < before; i++) fputc((int)(i * 7 % 251), f);
    assert_int_equal(fwrite(bytes, 1, n_bytes, f), n_bytes);
    if (before > 0) fputs("what follows is another asset", f);
    assert_int_equal(fclose(f), 0);
}

static int set_up(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    bytes = tiny_model_bytes(&tiny, &n_bytes);
    if (bytes == NULL || mkdtemp(folder) == NULL) return 1;
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    snprintf(asset, sizeof asset, "%s/assets", folder);
    write_file(path, 0);
    ink_source s = source_of(INK_SOURCE_MEMORY);
    s.data = bytes;
    s.bytes = n_bytes;
    ink_model *model = NULL;
    if (open_source(&model, &s, NULL) != INK_OK) return 1;
    logits_of(model, wanted);
    ink_model_unref(model);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    free(bytes);
    unlink(path);
    unlink(asset);
    return rmdir(folder);
}

static void test_path(void **state) {
    (void)state;
    for (uint32_t flags = 0; flags <= INK_SOURCE_COPY; flags++) {
        ink_model *model = NULL;
        ink_source s = source_of(INK_SOURCE_PATH);
        s.name = path;
        s.flags = flags;
        assert_int_equal(open_source(&model, &s, NULL), INK_OK);
        expect_same_words(model);
    }
}

// Somewhere inside a larger file, as an asset in an APK; the descriptor is closed before the first
// word.
static void test_part_of_a_file(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        write_file(asset, offsets[i]);
        ink_model *model = NULL;
        ink_source s = source_of(INK_SOURCE_FD);
        s.fd = open(asset, O_RDONLY | O_CLOEXEC);
        assert_true(s.fd >= 0);
        s.offset = offsets[i];
        s.bytes = n_bytes;
        assert_int_equal(open_source(&model, &s, NULL), INK_OK);
        close(s.fd);
        expect_same_words(model);
    }
}

static void test_memory_at_any_alignment(void **state) {
    (void)state;
    uint8_t *room = malloc(n_bytes + 8);
    assert_non_null(room);
    for (size_t shift = 0; shift < 8; shift++) {
        ink_model *model = NULL;
        ink_source s = source_of(INK_SOURCE_MEMORY);
        memcpy(room + shift, bytes, n_bytes);
        s.data = room + shift;
        s.bytes = n_bytes;
        assert_int_equal(open_source(&model, &s, NULL), INK_OK);
        expect_same_words(model);
    }
    free(room);
}

static void expect_message(const ink_source *s, ink_status status, const char *message) {
    ink_error error = {0};
    ink_model *model = NULL;
    assert_int_equal(open_source(&model, s, &error), status);
    assert_null(model);
    assert_string_equal(error.message, message);
}

static void test_names_of_nothing(void **state) {
    (void)state;
    ink_source s = source_of(INK_SOURCE_PATH);
    s.name = "";
    expect_message(&s, INK_E_NOT_FOUND,
                   "the path of the model is empty, that of a GGUF file was expected");
    s.kind = INK_SOURCE_BUILTIN;
    ink_model *model = NULL;
    if (open_source(&model, &(ink_source){.size = sizeof s, .kind = s.kind}, NULL) == INK_OK) {
        expect_message(&s, INK_E_NOT_FOUND,
                       "builtin:: no built-in model has this name, \"story\" was expected");
        ink_model_unref(model);
        return;
    }
    s.name = NULL;
    expect_message(&s, INK_E_NOT_FOUND,
                   "builtin:story: this build has no built-in model; the path of a GGUF file was "
                   "expected");
}

// Of a path that is too long for a message the end stays, which names the file, and with it all of
// what was expected.
static void test_long_path(void **state) {
    (void)state;
    enum { LONG = 600, WHERE = 92 };
    char name[LONG + 1], want[256];
    ink_source s = source_of(INK_SOURCE_PATH);
    memset(name, '/', LONG);
    snprintf(name + LONG - 10, 11, "model.gguf");
    s.name = name;
    snprintf(want, sizeof want, "...%s: cannot be opened: no such file or folder",
             name + LONG - WHERE);
    expect_message(&s, INK_E_NOT_FOUND, want);
    // The same file under a long name, cut short: file, field, and what is wrong in full.
    const int n = snprintf(name, sizeof name, "%s", folder);
    memset(name + n, '/', (size_t)(LONG - n));
    memcpy(name + LONG - 6, "assets", 7);
    write_file(asset, 0);
    assert_int_equal(truncate(asset, (off_t)n_bytes - 1), 0);
    ink_error error = {0};
    ink_model *model = NULL;
    assert_int_equal(open_source(&model, &s, &error), INK_E_FORMAT);
    assert_non_null(strstr(error.message, "/assets: "));
    assert_non_null(strstr(error.message, "(truncated or damaged)"));
}

// What was copied may change or vanish afterwards.
static void test_a_copy_stands_alone(void **state) {
    (void)state;
    ink_model *from_file = NULL, *from_memory = NULL;
    ink_source s = source_of(INK_SOURCE_PATH);
    write_file(asset, 0);
    s.name = asset;
    s.flags = INK_SOURCE_COPY;
    assert_int_equal(open_source(&from_file, &s, NULL), INK_OK);
    assert_int_equal(truncate(asset, 10), 0);
    expect_same_words(from_file);

    uint8_t *room = malloc(n_bytes);
    assert_non_null(room);
    memcpy(room, bytes, n_bytes);
    s = source_of(INK_SOURCE_MEMORY);
    s.flags = INK_SOURCE_COPY;
    s.data = room;
    s.bytes = n_bytes;
    assert_int_equal(open_source(&from_memory, &s, NULL), INK_OK);
    memset(room, 0, n_bytes);
    free(room);
    expect_same_words(from_memory);
}

static void expect_refused(const ink_source *s, ink_status status, const char *word) {
    ink_model *model = (ink_model *)bytes;
    ink_error error = {0};
    assert_int_equal(open_source(&model, s, &error), status);
    if (strstr(error.message, word) == NULL) fail_msg("\"%s\" lacks \"%s\"", error.message, word);
    assert_ptr_equal(model, bytes);
}

static void test_refused(void **state) {
    (void)state;
    ink_source s = source_of(INK_SOURCE_PATH);
    expect_refused(&s, INK_E_ARG, "name");
    s.name = folder;
    expect_refused(&s, INK_E_IO, folder);
    s.name = "/no/such/model";
    expect_refused(&s, INK_E_NOT_FOUND, "/no/such/model");
    s = source_of(INK_SOURCE_FD);
    expect_refused(&s, INK_E_IO, "");
    s.fd = open(path, O_RDONLY | O_CLOEXEC);
    s.offset = n_bytes - 8;
    s.bytes = 9;
    expect_refused(&s, INK_E_ARG, "");
    s.offset = UINT64_MAX;
    expect_refused(&s, INK_E_ARG, "");
    close(s.fd);
    s = source_of(INK_SOURCE_MEMORY);
    s.name = "in-memory";
    expect_refused(&s, INK_E_ARG, "in-memory");
    s.data = bytes;
    s.bytes = n_bytes / 2;
    expect_refused(&s, INK_E_FORMAT, "in-memory");
    s = source_of(9);
    expect_refused(&s, INK_E_ARG, "9");
    s = source_of(INK_SOURCE_BUILTIN);
    s.name = "nobody";
    expect_refused(&s, INK_E_NOT_FOUND, "nobody");
}

// --- progress ------------------------------------------------------------------------------------

typedef struct watcher {
    size_t n_calls, cancel_at;
    double last;
} watcher;

static int watch(void *user, double fraction) {
    watcher *w = user;
    assert_true(fraction >= w->last && fraction <= 1);
    w->last = fraction;
    return ++w->n_calls == w->cancel_at;
}

static void test_progress_and_cancel(void **state) {
    (void)state;
    ink_source s = source_of(INK_SOURCE_PATH);
    s.name = path;
    ink_model_options o;
    ink_model_options_init(&o, sizeof o);
    o.progress = watch;
    watcher w = {0};
    o.progress_user = &w;
    ink_model *model = NULL;
    assert_int_equal(ink_model_open(&model, NULL, &s, &o, NULL), INK_OK);
    assert_true(w.n_calls > 1 && w.last == 1);
    expect_same_words(model);
    const size_t n_calls = w.n_calls;
    for (size_t at = 1; at <= n_calls; at++) {
        ink_error error = {0};
        w = (watcher){.cancel_at = at};
        model = NULL;
        assert_int_equal(ink_model_open(&model, NULL, &s, &o, &error), INK_E_CANCELLED);
        assert_null(model);
        assert_int_equal(error.status, INK_E_CANCELLED);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_part_of_a_file),
        cmocka_unit_test(test_memory_at_any_alignment),
        cmocka_unit_test(test_names_of_nothing),
        cmocka_unit_test(test_long_path),
        cmocka_unit_test(test_a_copy_stands_alone),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_progress_and_cancel),
    };
    return cmocka_run_group_tests_name("sources", tests, set_up, tear_down);
}
