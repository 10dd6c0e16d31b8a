// SPDX-License-Identifier: MIT
// The container's writer: its bytes against a file put together by hand, and its refusals.
#include "gguf/gguf.h"
#include "tests/support/heap.h"
#include "tests/support/raw_gguf.h"
#include "tests/support/tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[256], path[300];

static int make_folder(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/inkling-gguf-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/out.gguf", folder);
    return 0;
}

static int drop_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder); // fails if a temporary file was left behind
}

static inki_gguf_writer *new_writer(void) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_gguf_writer *w = NULL;
    ink_error error = {0};
    if (inki_gguf_writer_new(&w, path, &mem, &error) != INK_OK) fail_msg("%s", error.message);
    return w;
}

static void file_is(const raw_gguf *wanted) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_file f = {0};
    assert_int_equal(inki_os_open_path(&f, path, true, &mem, NULL), INK_OK);
    assert_int_equal(f.bytes, wanted->bytes);
    assert_memory_equal(f.data, wanted->data, f.bytes);
    inki_os_close(&f);
    assert_int_equal(unlink(path), 0);
}

static raw_gguf by_hand(void) {
    raw_gguf r = {0};
    raw_head(&r, 3, 3, 7);
    raw_kv_str(&r, "general.architecture", "gpt2");
    raw_kv_u32(&r, "a.u32", 4000000000);
    raw_key(&r, "a.f32", 6);
    raw_number(&r, 0xc0490fdb, 4); // -3.1415927
    raw_key(&r, "a.bool", 7);
    raw_number(&r, 1, 1);
    raw_key(&r, "a.texts", 9);
    raw_number(&r, 8, 4);
    raw_number(&r, 2, 8);
    raw_text(&r, "one");
    raw_text(&r, "");
    raw_key(&r, "a.ints", 9);
    raw_number(&r, 5, 4);
    raw_number(&r, 2, 8);
    raw_number(&r, 0xfffffffe, 4);
    raw_number(&r, 3, 4);
    raw_kv_str(&r, "empty", "");
    raw_tensor(&r, "vector", 1, (uint64_t[]){3}, 0, 0);
    raw_tensor(&r, "blocks", 2, (uint64_t[]){32, 2}, 8, 32);
    raw_tensor(&r, "last", 3, (uint64_t[]){1, 1, 1}, 1, 128);
    raw_pad(&r, 32);
    for (uint8_t i = 0; i < 12; i++) raw_number(&r, i, 1);
    raw_pad(&r, 32);
    for (uint8_t i = 12; i < 80; i++) raw_number(&r, i, 1);
    raw_pad(&r, 32);
    raw_number(&r, 80, 1);
    raw_number(&r, 81, 1);
    raw_pad(&r, 32);
    return r;
}

static void add_all(inki_gguf_writer *w) {
    inki_gguf_add_str(w, "general.architecture", (inki_str){"gpt2", 4});
    inki_gguf_add_u32(w, "a.u32", 4000000000);
    inki_gguf_add_f32(w, "a.f32", -3.14159274f);
    inki_gguf_add_bool(w, "a.bool", true);
    inki_gguf_add_str_array(w, "a.texts", (inki_str[]){{"one", 3}, {"", 0}}, 2);
    inki_gguf_add_i32_array(w, "a.ints", (int32_t[]){-2, 3}, 2);
    inki_gguf_add_str(w, "empty", (inki_str){NULL, 0});
    inki_gguf_add_tensor(w, "vector", INKI_F32, (uint64_t[]){3}, 1);
    inki_gguf_add_tensor(w, "blocks", INKI_Q8_0, (uint64_t[]){32, 2}, 2);
    inki_gguf_add_tensor(w, "last", INKI_F16, (uint64_t[]){1, 1, 1}, 3);
}

// In pieces of every size: also such that end inside a tensor and go over several.
static void bytes_as_by_hand(void **state) {
    (void)state;
    raw_gguf wanted = by_hand();
    uint8_t data[82];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)i;
    for (size_t piece = 1; piece <= sizeof data; piece++) {
        inki_gguf_writer *w = new_writer();
        add_all(w);
        assert_int_equal(inki_gguf_writer_begin(w, NULL), INK_OK);
        for (size_t at = 0; at < sizeof data; at += piece) {
            const size_t n = sizeof data - at < piece ? sizeof data - at : piece;
            assert_int_equal(inki_gguf_writer_data(w, data + at, n, NULL), INK_OK);
        }
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(inki_gguf_writer_finish(w, NULL), INK_OK);
        file_is(&wanted);
    }
    raw_free(&wanted);
}

static void empty_file(void **state) {
    (void)state;
    raw_gguf wanted = {0};
    raw_head(&wanted, 3, 0, 0);
    raw_pad(&wanted, 32);
    inki_gguf_writer *w = new_writer();
    assert_int_equal(inki_gguf_writer_begin(w, NULL), INK_OK);
    assert_int_equal(inki_gguf_writer_finish(w, NULL), INK_OK);
    file_is(&wanted);
    raw_free(&wanted);
}

// All types of values go through a copy unchanged, but for the alignment.
static void entries_are_copied(void **state) {
    (void)state;
    raw_gguf from = {0}, wanted = {0};
    for (int with = 1; with >= 0; with--) {
        raw_gguf *r = with ? &from : &wanted;
        raw_head(r, 3, 0, with ? 16 : 15);
        static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
        for (uint32_t type = 0; type <= 12; type++) {
            char key[16];
            snprintf(key, sizeof key, "key.%u", (unsigned)type);
            if (type == 9) {
                if (with) raw_kv_u32(r, "general.alignment", 64);
                continue;
            }
            if (type == 8)
                raw_kv_str(r, key, "text");
            else {
                raw_key(r, key, type);
                raw_number(r, type == 7 ? 1 : UINT64_C(0x3132333435363738), sizes[type]);
            }
        }
        for (uint32_t item = 6; item <= 8; item++) {
            char key[16];
            snprintf(key, sizeof key, "array.%u", (unsigned)item);
            raw_key(r, key, 9);
            raw_number(r, item, 4);
            raw_number(r, 2, 8);
            for (uint64_t k = 0; k < 2; k++) {
                if (item == 8)
                    raw_text(r, k == 0 ? "x" : "");
                else
                    raw_number(r, k, sizes[item]);
            }
        }
    }
    raw_pad(&wanted, 32);
    const inki_mem mem = inki_mem_from(NULL);
    inki_gguf g;
    ink_error error = {0};
    if (inki_gguf_open(&g, from.data, from.bytes, &mem, &error) != INK_OK)
        fail_msg("%s", error.message);
    inki_gguf_writer *w = new_writer();
    for (size_t i = 0; i < g.n_kv; i++) inki_gguf_add_kv(w, &g.kv[i]);
    assert_int_equal(inki_gguf_writer_begin(w, &error), INK_OK);
    assert_int_equal(inki_gguf_writer_finish(w, &error), INK_OK);
    inki_gguf_close(&g);
    file_is(&wanted);
    raw_free(&from);
    raw_free(&wanted);
}

enum {
    BAD_KEY,
    LONG_KEY,
    ZERO_KEY,
    SAME_KEY,
    ALIGNMENT_KEY,
    SAME_TENSOR,
    BAD_NAME,
    LONG_NAME,
    NO_DIMS,
    MANY_DIMS,
    ZERO_DIM,
    HALF_BLOCK,
    BAD_TYPE,
    HUGE_TENSOR,
    HUGE_FILE,
    N_WRONG
};

static void add_wrong(inki_gguf_writer *w, int which, char *longest) {
    static const uint64_t two[] = {32, 2}, zero[] = {32, 0}, half[] = {48, 2},
                          huge[] = {1 << 30, UINT64_C(1) << 34};
    static const uint64_t large[] = {UINT64_C(1) << 60};
    switch (which) {
    case BAD_KEY: inki_gguf_add_u32(w, "", 1); break;
    case LONG_KEY: inki_gguf_add_u32(w, longest, 1); break;
    case ZERO_KEY:
        inki_gguf_add_kv(
            w, &(inki_gguf_kv){.key = {"a\0b", 3}, .data = (const uint8_t *)"x", .bytes = 1});
        break;
    case SAME_KEY:
        inki_gguf_add_u32(w, "a.key", 1);
        inki_gguf_add_f32(w, "a.other", 1);
        inki_gguf_add_bool(w, "a.key", true);
        break;
    case ALIGNMENT_KEY: inki_gguf_add_u32(w, "general.alignment", 64); break;
    case SAME_TENSOR:
        inki_gguf_add_tensor(w, "t", INKI_F32, two, 2);
        inki_gguf_add_tensor(w, "t", INKI_F16, two, 1);
        break;
    case BAD_NAME: inki_gguf_add_tensor(w, "", INKI_F32, two, 2); break;
    case LONG_NAME: inki_gguf_add_tensor(w, longest + 65536 - 64, INKI_F32, two, 2); break;
    case NO_DIMS: inki_gguf_add_tensor(w, "t", INKI_F32, two, 0); break;
    case MANY_DIMS: inki_gguf_add_tensor(w, "t", INKI_F32, (uint64_t[]){1, 1, 1, 1, 1}, 5); break;
    case ZERO_DIM: inki_gguf_add_tensor(w, "t", INKI_F32, zero, 2); break;
    case HALF_BLOCK: inki_gguf_add_tensor(w, "t", INKI_Q4_0, half, 2); break;
    case BAD_TYPE: inki_gguf_add_tensor(w, "t", 4, two, 2); break;
    case HUGE_TENSOR: inki_gguf_add_tensor(w, "t", INKI_F32, huge, 2); break;
    default:
        inki_gguf_add_tensor(w, "t1", INKI_F32, large, 1);
        inki_gguf_add_tensor(w, "t2", INKI_F32, large, 1);
    }
}

static void wrong_additions_stick(void **state) {
    (void)state;
    static const char *const words[N_WRONG] = {
        "1 to 65535",        "1 to 65535",       "0 byte",  "a.key was added twice", "always 32",
        "t was added twice", "1 to 63",          "1 to 63", "wrong shape",           "wrong shape",
        "wrong shape",       "a multiple of 32", "type 4",  "wrong shape",           "2^63"};
    char *longest = malloc(65537);
    assert_non_null(longest);
    memset(longest, 'k', 65536);
    longest[65536] = 0;
    for (int which = 0; which < N_WRONG; which++) {
        inki_gguf_writer *w = new_writer();
        ink_error error = {.size = 7};
        add_wrong(w, which, longest);
        inki_gguf_add_u32(w, "a.good.key", 1); // after the first failure nothing counts
        assert_int_equal(inki_gguf_writer_begin(w, &error), INK_E_ARG);
        if (strstr(error.message, words[which]) == NULL)
            fail_msg("\"%s\" lacks \"%s\"", error.message, words[which]);
        assert_int_equal(error.size, 7);
        assert_int_equal(inki_gguf_writer_data(w, "x", 1, &error), INK_E_ARG);
        assert_int_equal(inki_gguf_writer_finish(w, &error), INK_E_ARG);
        assert_non_null(strstr(error.message, words[which]));
        assert_int_equal(access(path, F_OK), -1);
    }
    free(longest);
}

static void wrong_order_of_calls(void **state) {
    (void)state;
    static const uint64_t four[] = {4};
    const uint8_t data[17] = {0};
    ink_error error = {0};
    inki_gguf_writer *w = new_writer(); // bytes before the beginning
    inki_gguf_add_tensor(w, "t", INKI_F32, four, 1);
    assert_int_equal(inki_gguf_writer_data(w, data, 4, &error), INK_E_ARG);
    assert_int_equal(inki_gguf_writer_finish(w, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "not begun"));
    w = new_writer(); // too few
    inki_gguf_add_tensor(w, "t", INKI_F32, four, 1);
    assert_int_equal(inki_gguf_writer_begin(w, &error), INK_OK);
    assert_int_equal(inki_gguf_writer_begin(w, &error), INK_E_ARG);
    assert_int_equal(inki_gguf_writer_data(w, data, 15, &error), INK_OK);
    assert_int_equal(inki_gguf_writer_finish(w, &error), INK_E_ARG);
    assert_string_equal(error.message, "t: 1 of its 16 bytes are missing");
    w = new_writer(); // too many
    inki_gguf_add_tensor(w, "t", INKI_F32, four, 1);
    assert_int_equal(inki_gguf_writer_begin(w, &error), INK_OK);
    assert_int_equal(inki_gguf_writer_data(w, data, 17, &error), INK_E_ARG);
    assert_int_equal(inki_gguf_writer_finish(w, &error), INK_E_ARG);
    w = new_writer(); // an entry after the beginning
    assert_int_equal(inki_gguf_writer_begin(w, &error), INK_OK);
    inki_gguf_add_u32(w, "late", 1);
    assert_int_equal(inki_gguf_writer_finish(w, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "late"));
    w = new_writer(); // thought better of it
    add_all(w);
    assert_int_equal(inki_gguf_writer_begin(w, &error), INK_OK);
    inki_gguf_writer_discard(w);
    inki_gguf_writer_discard(NULL);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_full_disk(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    inki_gguf_writer *w = NULL;
    ink_error error = {0};
    assert_int_equal(inki_gguf_writer_new(&w, "/dev/full", &mem, &error), INK_OK);
    add_all(w);
    assert_int_equal(inki_gguf_writer_begin(w, &error), INK_E_IO);
    assert_non_null(strstr(error.message, "no space left on device"));
    error = (ink_error){0};
    assert_int_equal(inki_gguf_writer_finish(w, &error), INK_E_IO);
    assert_non_null(strstr(error.message, "no space left on device"));
    w = NULL;
    assert_int_equal(inki_gguf_writer_new(&w, "/nonexistent/x.gguf", &mem, &error), INK_E_IO);
    assert_null(w);
}

// The n-th request fails, for every n: nothing leaks, nothing appears.
static void without_memory(void **state) {
    (void)state;
    heap h = {0};
    const ink_allocator a = heap_allocator(&h);
    const inki_mem mem = inki_mem_from(&a);
    const uint8_t data[82] = {0};
    size_t at = 0;
    for (bool done = false; !done;) {
        inki_gguf_writer *w = NULL;
        ink_error error = {0};
        h.fail_at = ++at;
        h.n_allocs = 0;
        ink_status status = inki_gguf_writer_new(&w, path, &mem, &error);
        if (status == INK_OK) {
            add_all(w);
            status = inki_gguf_writer_begin(w, &error);
            if (status == INK_OK) status = inki_gguf_writer_data(w, data, sizeof data, &error);
            const ink_status end = inki_gguf_writer_finish(w, &error);
            assert_int_equal(end, status);
        }
        done = status == INK_OK;
        if (!done) assert_int_equal(error.status, INK_E_NOMEM);
        assert_int_equal(access(path, F_OK), done ? 0 : -1);
        assert_int_equal(h.live_bytes, 0);
        assert_int_equal(h.wrong_releases, 0);
    }
    assert_true(at > 8);
    unlink(path);
}

// The same parameters, the same bytes; another seed, others.
static void models_are_deterministic(void **state) {
    (void)state;
    static const uint32_t types[] = {INKI_F32, INKI_F16, INKI_BF16, INKI_Q8_0, INKI_Q4_0};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        tiny_model m = tiny_model_defaults();
        m.type = types[i];
        size_t n1 = 0, n2 = 0, n3 = 0;
        uint8_t *one = tiny_model_bytes(&m, &n1), *two = tiny_model_bytes(&m, &n2);
        m.seed++;
        uint8_t *other = tiny_model_bytes(&m, &n3);
        assert_true(one != NULL && two != NULL && other != NULL);
        assert_int_equal(n1, n2);
        assert_int_equal(n1, n3);
        assert_memory_equal(one, two, n1);
        assert_memory_not_equal(one, other, n1);
        free(one);
        free(two);
        free(other);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_as_by_hand),     cmocka_unit_test(empty_file),
        cmocka_unit_test(entries_are_copied),   cmocka_unit_test(wrong_additions_stick),
        cmocka_unit_test(wrong_order_of_calls), cmocka_unit_test(a_full_disk),
        cmocka_unit_test(without_memory),       cmocka_unit_test(models_are_deterministic),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
