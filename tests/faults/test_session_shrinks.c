// SPDX-License-Identifier: MIT
// A saved session's file that somebody else cuts, empties or writes over while it is restored: an
// error, no signal, and the session is what it was.
#include "base/checksum.h"
#include "opened.h"
#include "saved.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_PAST = 130, N_OTHER = 70 };

// Memory through which the file is changed when so many requests were made: restoring asks for some
// between its steps.
typedef struct meddler {
    ink_allocator under;
    int fd; // of the file; -1: no more
    unsigned left;
    int how; // 0: emptied, 1: cut in half, 2: less its last byte, 3: other bytes at its end
    off_t bytes;
} meddler;

static void meddle(meddler *m) {
    if (m->fd < 0 || m->left == 0 || --m->left > 0) return;
    const off_t to[] = {0, m->bytes / 2, m->bytes - 1};
    if (m->how < 3)
        assert_int_equal(ftruncate(m->fd, to[m->how]), 0);
    else
        assert_int_equal(pwrite(m->fd, "other bytes at its end", 22, m->bytes - 22), 22);
}

static void *meddled_alloc(void *user, size_t bytes, size_t align) {
    meddler *m = user;
    meddle(m);
    return m->under.alloc(m->under.user, bytes, align);
}

static void meddled_release(void *user, void *memory, size_t bytes) {
    meddler *m = user;
    m->under.release(m->under.user, memory, bytes);
}

static ink_session *session_with(ink_model *model, size_t n, uint64_t seed) {
    ink_session *s = NULL;
    ink_token ids[N_PAST];
    assert_int_equal(ink_session_new(&s, model, NULL, NULL), INK_OK);
    opened_ids(ids, n, 300, seed);
    if (n > 0) opened_eval(s, ids, n, 0);
    return s;
}

static void put_file(int fd, const saved *file) {
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, file->data, file->bytes, 0), (ssize_t)file->bytes);
}

// Returns whether the change came in time to be noticed.
static bool restore_meddled(ink_session *s, meddler *m, int fd, const char *path, bool by_fd) {
    const ink_source source = {.size = sizeof source,
                               .kind = by_fd ? INK_SOURCE_FD : INK_SOURCE_PATH,
                               .name = path,
                               .fd = fd};
    const saved before = saved_of(s, NULL);
    ink_error error = {0};
    m->fd = fd;
    const ink_status status = ink_session_restore(s, &source, NULL, &error);
    m->fd = -1;
    if (status != INK_OK) {
        assert_true(status == INK_E_IO || status == INK_E_FORMAT);
        if (strstr(error.message, path) == NULL) fail_msg("%s", error.message);
        const saved now = saved_of(s, NULL);
        assert_true(saved_equal(&now, &before));
        free(now.data);
    }
    free(before.data);
    return status != INK_OK;
}

static void meddled(void **state) {
    (void)state;
    heap h = {0};
    meddler m = {.under = heap_allocator(&h), .fd = -1};
    const ink_allocator allocator = {sizeof allocator, meddled_alloc, meddled_release, &m};
    const tiny_model tiny = tiny_model_defaults();
    size_t n_bytes = 0;
    uint8_t *bytes = tiny_model_bytes(&tiny, &n_bytes);
    assert_non_null(bytes);
    ink_runtime_options ro;
    ink_runtime *runtime = NULL;
    ink_model *model = NULL;
    ink_runtime_options_init(&ro, sizeof ro);
    ro.n_threads = 2;
    ro.flags = INK_RUNTIME_OVERSUBSCRIBE;
    ro.allocator = &allocator;
    assert_int_equal(ink_runtime_new(&runtime, &ro, NULL), INK_OK);
    const ink_source of_model = {
        .size = sizeof of_model, .kind = INK_SOURCE_MEMORY, .data = bytes, .bytes = n_bytes};
    assert_int_equal(ink_model_open(&model, runtime, &of_model, NULL, NULL), INK_OK);

    const char *tmp = getenv("TMPDIR");
    char path[300];
    snprintf(path, sizeof path, "%s/inkling-shrinks-XXXXXX", tmp != NULL ? tmp : "/tmp");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    ink_session *from = session_with(model, N_PAST, 1);
    ink_save_options o;
    ink_save_options_init(&o, sizeof o);
    o.note = "a note";
    o.note_bytes = 6;
    const saved file = saved_of(from, &o);
    m.bytes = (off_t)file.bytes;
    unsigned n_noticed = 0;
    for (m.how = 0; m.how < 4; m.how++) {
        for (unsigned at = 1; at <= 6; at++) {
            for (int k = 0; k < 4; k++) {
                // Into a new session, and into one with another past.
                ink_session *s = session_with(model, k < 2 ? 0 : N_OTHER, 2);
                put_file(fd, &file);
                m.left = at;
                n_noticed += restore_meddled(s, &m, fd, path, k % 2 != 0);
                // Either way it goes on.
                m.left = 0;
                put_file(fd, &file);
                assert_false(restore_meddled(s, &m, fd, path, k % 2 != 0));
                const saved now = saved_of(s, &o);
                assert_true(saved_equal(&now, &file));
                free(now.data);
                ink_session_free(s);
            }
        }
    }
    assert_true(n_noticed >= 16);
    free(file.data);
    ink_session_free(from);
    close(fd);
    unlink(path);
    ink_model_unref(model);
    ink_runtime_unref(runtime);
    free(bytes);
    assert_int_equal(h.live_blocks, 0);
    assert_int_equal(h.wrong_releases, 0);
}

// Until the file is known to be whole, pages are asked for only for the past that is to be kept.
static void a_new_session_needs_no_more_pages(void **state) {
    (void)state;
    heap h = {0};
    const tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, &h);
    ink_session *from = session_with(o.model, N_PAST, 1), *s = session_with(o.model, 0, 1);
    const saved file = saved_of(from, NULL);
    const size_t page = (size_t)saved_get(&file, SAVED_PAGE_BYTES), before = h.live_bytes;
    for (size_t k = 0; k < 2; k++) {
        h.peak_bytes = before;
        assert_int_equal(saved_restore(s, &file, NULL, NULL), INK_OK);
        assert_int_equal(h.live_bytes, before);
        // Tokens and a row of logits; 130 tokens are three pages.
        const size_t more = h.peak_bytes - before;
        assert_in_range(more, k * 3 * page, k * 3 * (page + 64) + 4096);
    }
    assert_int_equal(ink_session_rewind(s, 0), INK_OK);
    h.peak_bytes = before;
    assert_int_equal(saved_restore(s, &file, NULL, NULL), INK_OK);
    assert_true(h.peak_bytes - before < 4096);
    free(file.data);
    ink_session_free(from);
    ink_session_free(s);
    opened_close(&o);
}

// A file of many zeros costs its maker nothing. Nor does it cost us.
static void a_hollow_file(void **state) {
    (void)state;
    heap h = {0};
    const tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, &h);
    ink_session *s = session_with(o.model, 0, 1);
    const saved file = saved_of(s, NULL);
    assert_int_equal(file.bytes, SAVED_HEAD_BYTES + 8);
    const char *tmp = getenv("TMPDIR");
    char path[300];
    snprintf(path, sizeof path, "%s/inkling-hollow-XXXXXX", tmp != NULL ? tmp : "/tmp");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    static const size_t fields[] = {SAVED_CHAIN_BYTES, SAVED_PHRASES_BYTES, SAVED_NOTE_BYTES};
    for (size_t i = 0; i < 3; i++) {
        const uint64_t more = (uint64_t)1 << 33;
        const saved forged = {malloc(file.bytes), file.bytes};
        memcpy(forged.data, file.data, file.bytes);
        saved_put(&forged, fields[i], more);
        saved_put(&forged, SAVED_FILE_BYTES, file.bytes + more);
        saved_put(&forged, SAVED_HEAD_SUM, inki_checksum_of(forged.data, SAVED_HEAD_SUM));
        assert_int_equal(pwrite(fd, forged.data, SAVED_HEAD_BYTES, 0), SAVED_HEAD_BYTES);
        free(forged.data);
        if (ftruncate(fd, (off_t)(file.bytes + more)) != 0) break; // no such files here
        const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = path};
        ink_error error = {0};
        h.peak_bytes = h.live_bytes;
        const size_t before = h.live_bytes;
        assert_int_equal(ink_session_restore(s, &source, NULL, &error), INK_E_FORMAT);
        assert_non_null(strstr(error.message, "contradict"));
        assert_true(h.peak_bytes - before < 4096);
    }
    close(fd);
    unlink(path);
    free(file.data);
    ink_session_free(s);
    opened_close(&o);
}

static void words_are_those_of_a_session(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, NULL);
    ink_session *s = session_with(o.model, 3, 1);
    const ink_source sources[] = {
        {.size = sizeof *sources, .kind = INK_SOURCE_PATH, .name = ""},
        {.size = sizeof *sources, .kind = INK_SOURCE_PATH},
        {.size = sizeof *sources, .kind = INK_SOURCE_BUILTIN},
        {.size = sizeof *sources, .kind = 77},
        {.size = sizeof *sources, .kind = INK_SOURCE_FD, .fd = -1},
        {.size = sizeof *sources, .kind = INK_SOURCE_MEMORY},
        {.size = sizeof *sources, .kind = INK_SOURCE_MEMORY, .data = "x"},
        {.size = sizeof *sources, .kind = INK_SOURCE_MEMORY, .data = "x", .bytes = 1},
        {.size = sizeof *sources, .kind = INK_SOURCE_PATH, .name = "/", .flags = 8},
        {.size = sizeof *sources, .kind = INK_SOURCE_PATH, .name = "/", .flags = INK_SOURCE_COPY}};
    const struct {
        ink_status status;
        const char *word;
    } told[] = {{INK_E_NOT_FOUND, "session"}, {INK_E_ARG, "name"},
                {INK_E_ARG, "built in"},      {INK_E_ARG, "expected"},
                {INK_E_IO, "session"},        {INK_E_ARG, "data"},
                {INK_E_ARG, "bytes is 0"},    {INK_E_FORMAT, "session"},
                {INK_E_UNSUPPORTED, "flags"}, {INK_E_IO, "directory"}};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        ink_error error = {0};
        const ink_status status = ink_session_restore(s, &sources[i], NULL, &error);
        if (status != told[i].status || strstr(error.message, told[i].word) == NULL ||
            strstr(error.message, "model") != NULL || strstr(error.message, "GGUF") != NULL)
            fail_msg("%zu: %s, %s", i, ink_status_name(status), error.message);
    }
    assert_int_equal(ink_session_n_past(s), 3);
    ink_session_free(s);
    opened_close(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meddled),
        cmocka_unit_test(a_new_session_needs_no_more_pages),
        cmocka_unit_test(a_hollow_file),
        cmocka_unit_test(words_are_those_of_a_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
