// SPDX-License-Identifier: MIT
// The engine's reader of JSON: what it takes, what it refuses and where it says so.
#include "base/json.h"
#include "heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ink_status parse(inki_json *json, const char *text, ink_error *error) {
    const inki_mem mem = inki_mem_from(NULL);
    *json = (inki_json){0};
    return inki_json_parse(json, text, strlen(text), &mem, error);
}

static void expect_str(inki_str s, const char *text, size_t bytes) {
    assert_int_equal(s.bytes, bytes);
    assert_memory_equal(s.data, text, bytes);
}

static void a_tree(void **state) {
    (void)state;
    static const char text[] = " {\"a\" : [1, -2.5e+3, \"x\\ny\", []], \"b\\u0041\":{\"a\":null},\n"
                               "\"\":true, \"c\":false} ";
    inki_json json;
    assert_int_equal(parse(&json, text, NULL), INK_OK);
    const inki_json_node *root = json.nodes, *nodes = json.nodes;
    assert_int_equal(json.n_nodes, 10);
    assert_int_equal(root->kind, INKI_JSON_OBJECT);
    assert_int_equal(root->n, 4);
    assert_int_equal(root->at, 1);
    const inki_json_node *a = inki_json_get(&json, root, "a");
    assert_non_null(a);
    assert_int_equal(a->kind, INKI_JSON_ARRAY);
    assert_int_equal(a->n, 4);
    const inki_json_node *item = &nodes[a->first];
    assert_int_equal(item->kind, INKI_JSON_NUMBER);
    expect_str(item->text, "1", 1);
    item = &nodes[item->next];
    expect_str(item->text, "-2.5e+3", 7);
    item = &nodes[item->next];
    assert_int_equal(item->kind, INKI_JSON_STRING);
    expect_str(item->text, "x\ny", 3);
    item = &nodes[item->next];
    assert_int_equal(item->kind, INKI_JSON_ARRAY);
    assert_int_equal(item->n, 0);
    assert_int_equal(item->first, 0);
    assert_int_equal(item->next, 0);
    expect_str(item->text, "[]", 2);
    const inki_json_node *b = inki_json_get(&json, root, "bA");
    assert_ptr_equal(b, &nodes[a->next]);
    expect_str(b->text, "{\"a\":null}", 10);
    assert_int_equal(inki_json_get(&json, b, "a")->kind, INKI_JSON_NULL);
    assert_int_equal(inki_json_get(&json, root, "")->kind, INKI_JSON_TRUE);
    const inki_json_node *c = inki_json_get(&json, root, "c");
    assert_int_equal(c->kind, INKI_JSON_FALSE);
    assert_int_equal(c->next, 0);
    assert_int_equal(text[c->at], 'f');
    assert_null(inki_json_get(&json, root, "d"));
    assert_null(inki_json_get(&json, a, "a"));
    assert_null(inki_json_get(&json, NULL, "a"));
    inki_json_free(&json);
    inki_json_free(&json);
}

static void strings(void **state) {
    (void)state;
    static const struct {
        const char *text, *decoded;
        size_t bytes;
    } cases[] = {
        {"\"\"", "", 0},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"\\u0000\"", "\0", 1},
        {"\"\\u00e9\\u20AC\"", "\xc3\xa9\xe2\x82\xac", 5},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 4},
        {"\"\\udbff\\udfff\"", "\xf4\x8f\xbf\xbf", 4},
        {"\"\xf0\x9f\x98\x80\x7f\"", "\xf0\x9f\x98\x80\x7f", 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        inki_json json;
        assert_int_equal(parse(&json, cases[i].text, NULL), INK_OK);
        assert_int_equal(json.nodes[0].kind, INKI_JSON_STRING);
        expect_str(json.nodes[0].text, cases[i].decoded, cases[i].bytes);
        inki_json_free(&json);
    }
}

static void refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        ink_status status;
        size_t at;
        const char *place;
    } cases[] = {
        {"", INK_E_FORMAT, 0, "line 1, column 1: "},
        {" ", INK_E_FORMAT, 1, "line 1, column 2: "},
        {"[1,]", INK_E_FORMAT, 3, "line 1, column 4: "},
        {"[1 2]", INK_E_FORMAT, 3, "line 1, column 4: "},
        {"[1", INK_E_FORMAT, 2, "line 1, column 3: "},
        {"{\"a\":1,}", INK_E_FORMAT, 7, "line 1, column 8: "},
        {"{\n \"a\" 1}", INK_E_FORMAT, 7, "line 2, column 6: "},
        {"{a:1}", INK_E_FORMAT, 1, "line 1, column 2: "},
        {"{\"a\":1,\n\"\\u0061\":2}", INK_E_FORMAT, 8, "line 2, column 1: "},
        {"[[[\n\n\"\n\"]]]", INK_E_FORMAT, 6, "line 3, column 2: "},
        {"\"abc", INK_E_FORMAT, 0, "line 1, column 1: "},
        {"\"abc\\", INK_E_FORMAT, 4, "line 1, column 5: "},
        {"\"\\x\"", INK_E_FORMAT, 1, "line 1, column 2: "},
        {"\"\\u12g4\"", INK_E_FORMAT, 1, "line 1, column 2: "},
        {"\"\\u12", INK_E_FORMAT, 1, "line 1, column 2: "},
        {"\"\\ud800\"", INK_E_FORMAT, 1, "line 1, column 2: "},
        {"\"\\ud800\\u0041\"", INK_E_FORMAT, 1, "line 1, column 2: "},
        {"\"a\\udc00\"", INK_E_FORMAT, 2, "line 1, column 3: "},
        {"01", INK_E_FORMAT, 1, "line 1, column 2: "},
        {"-", INK_E_FORMAT, 1, "line 1, column 2: "},
        {"+1", INK_E_FORMAT, 0, "line 1, column 1: "},
        {"1.", INK_E_FORMAT, 2, "line 1, column 3: "},
        {".5", INK_E_FORMAT, 0, "line 1, column 1: "},
        {"1e", INK_E_FORMAT, 2, "line 1, column 3: "},
        {"1e+", INK_E_FORMAT, 3, "line 1, column 4: "},
        {"tru", INK_E_FORMAT, 0, "line 1, column 1: "},
        {"nullx", INK_E_FORMAT, 4, "line 1, column 5: "},
        {"NaN", INK_E_FORMAT, 0, "line 1, column 1: "},
        {"'a'", INK_E_FORMAT, 0, "line 1, column 1: "},
        {"[] []", INK_E_FORMAT, 3, "line 1, column 4: "},
        {"\xef\xbb\xbf[]", INK_E_FORMAT, 0, "line 1, column 1: "},
        {"\"\xed\xa0\x80\"", INK_E_UTF8, 1, "line 1, column 2: "},
        {"[\"\xff\"]", INK_E_UTF8, 2, "line 1, column 3: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        inki_json json;
        ink_error error = {0};
        const ink_status status = parse(&json, cases[i].text, &error);
        if (status != cases[i].status || error.status != status || error.offset != cases[i].at ||
            strncmp(error.message, cases[i].place, strlen(cases[i].place)) != 0)
            fail_msg("%s: %d at %u: %s", cases[i].text, status, (unsigned)error.offset,
                     error.message);
        assert_null(json.nodes);
        assert_int_equal(parse(&json, cases[i].text, NULL), cases[i].status);
    }
}

static void limits(void **state) {
    (void)state;
    const size_t cap = INKI_JSON_MAX_BYTES + 2;
    char *text = malloc(cap);
    assert_non_null(text);
    inki_json json = {0};
    const inki_mem mem = inki_mem_from(NULL);
    ink_error error = {0};
    for (size_t depth = 64; depth <= 65; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        const ink_status status = inki_json_parse(&json, text, 2 * depth, &mem, &error);
        assert_int_equal(status, depth == 64 ? INK_OK : INK_E_LIMIT);
        if (status == INK_OK) assert_int_equal(json.n_nodes, 64);
        inki_json_free(&json);
    }
    for (size_t n = 65535; n <= 65536; n++) { // values, and the array that holds them
        text[0] = '[';
        for (size_t i = 0; i < n; i++) memcpy(text + 1 + 2 * i, "0,", 2);
        text[2 * n] = ']';
        const ink_status status = inki_json_parse(&json, text, 2 * n + 1, &mem, &error);
        assert_int_equal(status, n == 65535 ? INK_OK : INK_E_LIMIT);
        inki_json_free(&json);
    }
    // A value inside of the 64.
    memset(text, '[', 64);
    text[64] = '7';
    memset(text + 65, ']', 64);
    assert_int_equal(inki_json_parse(&json, text, 129, &mem, &error), INK_OK);
    assert_int_equal(json.nodes[64].number, 7);
    inki_json_free(&json);
    memset(text, ' ', cap);
    text[0] = '0';
    assert_int_equal(inki_json_parse(&json, text, cap - 2, &mem, &error), INK_OK);
    inki_json_free(&json);
    assert_int_equal(inki_json_parse(&json, text, cap - 1, &mem, &error), INK_E_LIMIT);
    // Many members, each told from the others.
    size_t at = 1;
    text[0] = '{';
    for (unsigned i = 0; i < 60000; i++)
        at += (size_t)snprintf(text + at, cap - at, "\"%x\":0%c", i, i < 59999 ? ',' : '}');
    assert_int_equal(inki_json_parse(&json, text, at, &mem, &error), INK_OK);
    assert_int_equal(json.nodes[0].n, 60000);
    for (uint32_t i = json.nodes[0].first; i != 0; i = json.nodes[i].next) {
        const inki_str key = json.nodes[i].key;
        assert_int_equal(inki_json_member(&json, 0, key), i);
        assert_int_equal(inki_json_member(&json, 0, (inki_str){"no", 2}), 0);
    }
    inki_json_free(&json);
    free(text);
}

typedef struct sorting {
    uint32_t key[4096], n_asked;
} sorting;

static int by_key(void *context, uint32_t a, uint32_t b) {
    sorting *s = context;
    s->n_asked++;
    return (s->key[a] > s->key[b]) - (s->key[a] < s->key[b]);
}

// In n log2 n questions at most: in order, backwards, all the same, mixed.
static void sorted(void **state) {
    (void)state;
    static sorting s;
    static uint32_t list[4096], spare[4096];
    static const uint32_t sizes[] = {0, 1, 2, 3, 7, 100, 4095, 4096};
    for (int kind = 0; kind < 4; kind++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            const uint32_t n = sizes[k];
            uint32_t log2 = 0;
            while (1u << log2 < n) log2++;
            s.n_asked = 0;
            for (uint32_t i = 0; i < n; i++) {
                list[i] = i;
                s.key[i] = kind == 0   ? i
                           : kind == 1 ? n - i
                           : kind == 2 ? 5
                                       : i * 2654435761u % 1000;
            }
            inki_json_sort(list, spare, n, by_key, &s);
            assert_true(s.n_asked <= n * log2);
            for (uint32_t i = 1; i < n; i++) {
                assert_true(s.key[list[i - 1]] <= s.key[list[i]]);
                if (s.key[list[i - 1]] == s.key[list[i]]) assert_true(list[i - 1] < list[i]);
            }
        }
}

static void no_memory(void **state) {
    (void)state;
    heap h = {0};
    const ink_allocator allocator = heap_allocator(&h);
    const inki_mem mem = inki_mem_from(&allocator);
    inki_json json = {0};
    static const char text[] = "{\"a\":[1,\"b\"]}";
    for (size_t nth = 1;; nth++) {
        h.n_allocs = 0;
        h.fail_at = nth;
        ink_error error = {0};
        const ink_status status = inki_json_parse(&json, text, sizeof text - 1, &mem, &error);
        if (status == INK_OK) {
            assert_true(nth > 2);
            break;
        }
        assert_int_equal(status, INK_E_NOMEM);
        assert_int_equal(h.live_blocks, 0);
        assert_null(json.nodes);
    }
    assert_int_equal(h.live_blocks, 3);
    inki_json_free(&json);
    assert_int_equal(h.live_bytes, 0);
    assert_int_equal(h.wrong_releases, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree), cmocka_unit_test(strings), cmocka_unit_test(refused),
        cmocka_unit_test(limits), cmocka_unit_test(sorted),  cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
