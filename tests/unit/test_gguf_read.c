// SPDX-License-Identifier: MIT
// The container's reader over files put together by hand: values, tensors, finding, text.
#include "gguf/gguf.h"
#include "gguf/gguf_sort.h"
#include "tests/support/heap.h"
#include "tests/support/raw_gguf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inki_gguf opened_raw(const raw_gguf *r) {
    const inki_mem mem = inki_mem_from(NULL);
    ink_error error = {0};
    inki_gguf g;
    if (inki_gguf_open(&g, r->data, r->bytes, &mem, &error) != INK_OK)
        fail_msg("%s", error.message);
    return g;
}

// Keys "k0" to "k12": one of each type.
static raw_gguf every_type(void) {
    raw_gguf r = {0};
    raw_head(&r, 3, 0, 17);
    static const struct {
        uint32_t type;
        uint64_t value;
        size_t bytes;
    } numbers[] = {{0, 200, 1},
                   {1, 0x80, 1},
                   {2, 50000, 2},
                   {3, 0x8000, 2},
                   {4, 4000000000, 4},
                   {5, 0x80000000, 4},
                   {6, 0x3f000000, 4},
                   {7, 1, 1},
                   {10, UINT64_MAX, 8},
                   {11, UINT64_C(1) << 63, 8},
                   {12, 0x3ff8000000000000, 8}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%u", (unsigned)numbers[i].type);
        raw_key(&r, key, numbers[i].type);
        raw_number(&r, numbers[i].value, numbers[i].bytes);
    }
    raw_kv_str(&r, "k8", "plain text");
    raw_key(&r, "texts", 9);
    raw_number(&r, 8, 4);
    raw_number(&r, 3, 8);
    raw_text(&r, "one");
    raw_text(&r, "");
    raw_text(&r, "three");
    raw_key(&r, "ints", 9);
    raw_number(&r, 5, 4);
    raw_number(&r, 3, 8);
    raw_number(&r, 7, 4);
    raw_number(&r, 0xffffffff, 4);
    raw_number(&r, 100000, 4);
    raw_key(&r, "flags", 9);
    raw_number(&r, 7, 4);
    raw_number(&r, 2, 8);
    raw_number(&r, 1, 1);
    raw_number(&r, 0, 1);
    raw_key(&r, "none", 9);
    raw_number(&r, 12, 4);
    raw_number(&r, 0, 8);
    raw_key(&r, "big", 12);
    raw_number(&r, 0x7fe0000000000000, 8); // 8.99e307
    return r;
}

static void integers_of_every_width(void **state) {
    (void)state;
    raw_gguf r = every_type();
    inki_gguf g = opened_raw(&r);
    ink_error error = {0};
    uint32_t v = 1;
    static const struct {
        const char *key, *refusal; // NULL: taken
        uint32_t value;
    } cases[] = {{"k0", NULL, 200},
                 {"k2", NULL, 50000},
                 {"k4", NULL, 4000000000},
                 {"k1", "is -128", 0},
                 {"k3", "is -32768", 0},
                 {"k5", "is -2147483648", 0},
                 {"k10", "is 18446744073709551615", 0},
                 {"k11", "is -9223372036854775808", 0},
                 {"k6", "type f32", 0},
                 {"k7", "type bool", 0},
                 {"k8", "type str", 0},
                 {"ints", "type array of i32", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        v = 77;
        const ink_status status = inki_gguf_get_u32(&g, cases[i].key, true, &v, &error);
        assert_int_equal(status, cases[i].refusal == NULL ? INK_OK : INK_E_FORMAT);
        assert_int_equal(v, cases[i].refusal == NULL ? cases[i].value : 77);
        if (cases[i].refusal != NULL) {
            assert_string_equal(error.where, cases[i].key);
            assert_non_null(strstr(error.message, cases[i].refusal));
        }
    }
    inki_gguf_close(&g);
    raw_free(&r);
}

static void other_values(void **state) {
    (void)state;
    raw_gguf r = every_type();
    inki_gguf g = opened_raw(&r);
    ink_error error = {0};
    float f = 0;
    bool b = false;
    inki_str s = {0};
    inki_str_run run = {0};
    const uint8_t *items = NULL;
    uint64_t n = 0;
    assert_int_equal(inki_gguf_get_f32(&g, "k6", true, &f, &error), INK_OK);
    assert_true(f == 0.5f);
    assert_int_equal(inki_gguf_get_f32(&g, "k12", true, &f, &error), INK_OK);
    assert_true(f == 1.5f);
    assert_int_equal(inki_gguf_get_f32(&g, "big", true, &f, &error), INK_E_FORMAT);
    assert_int_equal(inki_gguf_get_f32(&g, "k4", true, &f, &error), INK_E_FORMAT);
    assert_true(f == 1.5f);
    assert_int_equal(inki_gguf_get_bool(&g, "k7", true, &b, &error), INK_OK);
    assert_true(b);
    assert_int_equal(inki_gguf_get_bool(&g, "k0", true, &b, &error), INK_E_FORMAT);
    assert_int_equal(inki_gguf_get_str(&g, "k8", true, &s, &error), INK_OK);
    assert_true(inki_str_equal(s, "plain text"));
    assert_true((const uint8_t *)s.data > r.data &&
                (const uint8_t *)s.data < r.data + r.bytes); // a view
    assert_int_equal(inki_gguf_get_str(&g, "texts", true, &s, &error), INK_E_FORMAT);
    assert_int_equal(inki_gguf_get_str_run(&g, "texts", true, &run, &error), INK_OK);
    assert_int_equal(run.n, 3);
    assert_int_equal(run.bytes, 3 * 8 + 8);
    inki_cursor c = inki_cursor_over(run.data, run.bytes);
    assert_true(inki_str_equal(inki_cursor_str(&c), "one"));
    assert_true(inki_str_equal(inki_cursor_str(&c), ""));
    assert_true(inki_str_equal(inki_cursor_str(&c), "three"));
    assert_int_equal(inki_cursor_left(&c), 0);
    assert_int_equal(inki_gguf_get_str_run(&g, "ints", true, &run, &error), INK_E_FORMAT);
    assert_int_equal(inki_gguf_get_i32_run(&g, "ints", true, &items, &n, &error), INK_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(items, "\7\0\0\0\xff\xff\xff\xff\xa0\x86\1\0", 12);
    assert_int_equal(inki_gguf_get_i32_run(&g, "flags", true, &items, &n, &error), INK_E_FORMAT);
    inki_gguf_close(&g);
    raw_free(&r);
}

static void missing_keys(void **state) {
    (void)state;
    raw_gguf r = every_type();
    inki_gguf g = opened_raw(&r);
    ink_error error = {0};
    uint32_t v = 5;
    inki_str s = {"x", 1};
    assert_int_equal(inki_gguf_get_u32(&g, "absent", false, &v, &error), INK_OK);
    assert_int_equal(inki_gguf_get_str(&g, "absent", false, &s, &error), INK_OK);
    assert_int_equal(v, 5);
    assert_true(inki_str_equal(s, "x"));
    assert_int_equal(error.status, INK_OK);
    assert_int_equal(inki_gguf_get_u32(&g, "absent", true, &v, &error), INK_E_FORMAT);
    assert_string_equal(error.message, "absent: this metadata key is missing");
    static const char *const near[] = {"", "k", "k00", "k8 ", "zzz"};
    for (size_t i = 0; i < 5; i++) assert_null(inki_gguf_find(&g, near[i]));
    assert_null(inki_gguf_find_tensor(&g, "k0"));
    inki_gguf_close(&g);
    raw_free(&r);
}

static void values_as_text(void **state) {
    (void)state;
    raw_gguf r = every_type();
    inki_gguf g = opened_raw(&r);
    static const struct {
        const char *key, *text;
    } cases[] = {{"k0", "200"},
                 {"k1", "-128"},
                 {"k2", "50000"},
                 {"k3", "-32768"},
                 {"k4", "4000000000"},
                 {"k5", "-2147483648"},
                 {"k6", "0.5"},
                 {"k7", "true"},
                 {"k8", "plain text"},
                 {"k10", "18446744073709551615"},
                 {"k11", "-9223372036854775808"},
                 {"k12", "1.5"},
                 {"big", "inf"},
                 {"texts", "[3] one, , three"},
                 {"ints", "[3] 7, -1, 100000"},
                 {"flags", "[2] true, false"},
                 {"none", "[0]"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const inki_gguf_kv *kv = inki_gguf_find(&g, cases[i].key);
        const size_t n = strlen(cases[i].text);
        char *text = malloc(n + 1); // exact: a sanitizer sees one byte too many
        assert_non_null(text);
        assert_int_equal(inki_gguf_value_text(kv, NULL, 0), n);
        assert_int_equal(inki_gguf_value_text(kv, text, n + 1), n);
        assert_string_equal(text, cases[i].text);
        free(text);
        for (size_t cap = 1; cap <= n; cap++) {
            text = malloc(cap);
            assert_non_null(text);
            assert_int_equal(inki_gguf_value_text(kv, text, cap), n);
            assert_true(strlen(text) < cap);
            if (kv->type != INKI_GGUF_ARRAY) assert_memory_equal(text, cases[i].text, strlen(text));
            free(text);
        }
    }
    char text[64];
    inki_gguf_value_text(inki_gguf_find(&g, "ints"), text, 16);
    assert_string_equal(text, "[3] 7, -1, \xe2\x80\xa6");
    assert_string_equal(inki_gguf_type_name(4), "u32");
    assert_string_equal(inki_gguf_type_name(13), "unknown");
    inki_gguf_close(&g);
    raw_free(&r);
}

static void text_is_cut_between_characters(void **state) {
    (void)state;
    raw_gguf r = {0};
    raw_head(&r, 2, 0, 1); // version 2 is the same
    raw_kv_str(&r, "s", "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82z");
    inki_gguf g = opened_raw(&r);
    assert_int_equal(g.version, 2);
    static const size_t lengths[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11}; // for room 0, 1, 2 …
    for (size_t room = 0; room < sizeof lengths / sizeof lengths[0]; room++) {
        char text[16];
        assert_int_equal(inki_gguf_value_text(&g.kv[0], text, room + 1), 11);
        assert_int_equal(strlen(text), lengths[room]);
    }
    inki_gguf_close(&g);
    raw_free(&r);
}

// Offsets, views and order of tensors of several shapes; the last one lies first in the file.
static void tensors_are_views(void **state) {
    (void)state;
    for (uint32_t alignment = 8; alignment <= 65536; alignment *= 2) {
        raw_gguf r = {0};
        raw_head(&r, 3, 3, 1);
        raw_kv_u32(&r, "general.alignment", alignment);
        raw_tensor(&r, "cube", 4, (uint64_t[]){2, 3, 4, 5}, INKI_F16, 2 * (uint64_t)alignment);
        raw_tensor(&r, "blocks", 2, (uint64_t[]){64, 1}, INKI_Q4_0,
                   16 * (uint64_t)alignment + 65536);
        raw_tensor(&r, "first", 1, (uint64_t[]){2}, INKI_F32, 0);
        raw_pad(&r, alignment);
        const size_t begin = r.bytes;
        raw_zeros(&r, 16 * alignment + 65536 + 36);
        inki_gguf g = opened_raw(&r);
        assert_int_equal(g.alignment, alignment);
        assert_int_equal(g.n_tensors, 3);
        const inki_gguf_tensor *t = g.tensors;
        assert_string_equal(t[0].name, "cube");
        assert_int_equal(t[0].bytes, 240);
        assert_int_equal(t[1].bytes, 36);
        assert_int_equal(t[1].dims[0], 64);
        assert_int_equal(t[1].dims[3], 1);
        assert_int_equal(t[2].offset, begin);
        assert_int_equal(t[0].offset, begin + 2 * alignment);
        assert_ptr_equal(t[0].data, r.data + t[0].offset);
        assert_ptr_equal(inki_gguf_find_tensor(&g, "cube"), &t[0]);
        assert_ptr_equal(inki_gguf_find_tensor(&g, "blocks"), &t[1]);
        assert_ptr_equal(inki_gguf_find_tensor(&g, "first"), &t[2]);
        assert_null(inki_gguf_find_tensor(&g, "cub"));
        assert_null(inki_gguf_find_tensor(&g, "cubes"));
        inki_gguf_close(&g);
        raw_free(&r);
    }
}

typedef struct counted {
    uint32_t n_less;
    uint32_t values[65536];
} counted;

static bool counted_less(const void *items, uint32_t a, uint32_t b) {
    counted *c = (counted *)(uintptr_t)items;
    c->n_less++;
    return c->values[a] < c->values[b];
}

// What duplicates and overlaps are found with: at most 2 n log2 n comparisons, whoever chose the
// order.
static void sorting_is_never_quadratic(void **state) {
    (void)state;
    static counted c;
    static uint32_t order[65536];
    for (uint32_t kind = 0; kind < 5; kind++)
        for (uint32_t n = 0; n <= 65536; n = n < 40          ? n + 1
                                             : n < 65536 / 3 ? n * 3
                                             : n < 65536     ? 65536
                                                             : 65537) {
            for (uint32_t i = 0; i < n; i++)
                c.values[i] = kind == 0   ? i
                              : kind == 1 ? n - i
                              : kind == 2 ? 7
                              : kind == 3 ? i * 40503 % 65536
                                          : i % 3;
            c.n_less = 0;
            inki_gguf_sort(order, n, counted_less, &c);
            uint32_t log2 = 0;
            while ((UINT64_C(1) << log2) < n) log2++;
            assert_true(c.n_less <= 2 * n * (log2 + 1));
            uint64_t sum = 0;
            for (uint32_t i = 0; i < n; i++) sum += order[i];
            assert_int_equal(sum, (uint64_t)n * (n - (n > 0)) / 2);
            for (uint32_t i = 1; i < n; i++)
                assert_true(c.values[order[i - 1]] <= c.values[order[i]]);
        }
}

// The most keys and tensors there may be, in rising, falling and stirred order; each is found.
static void the_most_of_everything(void **state) {
    (void)state;
    enum { N = 65536 };
    for (uint32_t order = 0; order < 3; order++) {
        raw_gguf r = {0};
        raw_head(&r, 3, N, N);
        for (uint32_t i = 0; i < N; i++) {
            const uint32_t k = order == 0 ? i : order == 1 ? N - 1 - i : i * 40503 % N;
            char key[64];
            snprintf(key, sizeof key, "a.long.common.beginning.of.all.keys.%05u", (unsigned)k);
            raw_kv_u32(&r, key, k);
        }
        for (uint32_t i = 0; i < N; i++) {
            char name[64];
            const uint64_t k = order == 0 ? i : order == 1 ? N - 1 - i : i * 40503 % N;
            snprintf(name, sizeof name, "tensor.%u", (unsigned)k);
            raw_tensor(&r, name, 1, (uint64_t[]){8}, INKI_F32, k * 32);
        }
        raw_pad(&r, 32);
        const size_t data = r.bytes;
        for (int i = 0; i < 32; i++) raw_bytes(&r, (char[65536]){0}, 65536);
        inki_gguf g = opened_raw(&r);
        for (uint32_t k = 0; k < N; k += 5) {
            char name[64];
            uint32_t value = 0;
            snprintf(name, sizeof name, "a.long.common.beginning.of.all.keys.%05u", (unsigned)k);
            assert_int_equal(inki_gguf_get_u32(&g, name, true, &value, NULL), INK_OK);
            assert_int_equal(value, k);
            snprintf(name, sizeof name, "tensor.%u", (unsigned)k);
            const inki_gguf_tensor *t = inki_gguf_find_tensor(&g, name);
            assert_non_null(t);
            assert_int_equal(t->offset, data + 32 * (uint64_t)k);
        }
        inki_gguf_close(&g);
        raw_free(&r);
    }
}

static void without_memory(void **state) {
    (void)state;
    raw_gguf r = raw_gpt2(&(raw_model){.n_embd = 4});
    heap h = {0};
    const ink_allocator a = heap_allocator(&h);
    const inki_mem mem = inki_mem_from(&a);
    size_t at = 0;
    for (ink_status status = INK_E_NOMEM; status != INK_OK;) {
        inki_gguf g = {0};
        ink_error error = {0};
        h.fail_at = ++at;
        h.n_allocs = 0;
        status = inki_gguf_open(&g, r.data, r.bytes, &mem, &error);
        if (status == INK_OK)
            inki_gguf_close(&g);
        else
            assert_int_equal(error.status, INK_E_NOMEM);
        assert_int_equal(h.live_bytes, 0);
        assert_int_equal(h.wrong_releases, 0);
    }
    assert_int_equal(at, 6); // entries, tensors, two orders, the overlaps': five
    raw_free(&r);
}

static void closed_twice(void **state) {
    (void)state;
    inki_gguf g = {0};
    inki_gguf_close(&g);
    raw_gguf r = {0};
    raw_head(&r, 3, 0, 0); // nothing at all is a container
    g = opened_raw(&r);
    assert_null(inki_gguf_find(&g, "x"));
    assert_null(inki_gguf_find_tensor(&g, "x"));
    inki_gguf_close(&g);
    inki_gguf_close(&g);
    raw_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_width),
        cmocka_unit_test(other_values),
        cmocka_unit_test(missing_keys),
        cmocka_unit_test(values_as_text),
        cmocka_unit_test(text_is_cut_between_characters),
        cmocka_unit_test(tensors_are_views),
        cmocka_unit_test(sorting_is_never_quadratic),
        cmocka_unit_test(the_most_of_everything),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(closed_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
