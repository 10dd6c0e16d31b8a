// SPDX-License-Identifier: MIT
// A text along a grammar: characters that are cut, what is taken back, where the bounds are.
#include "grammar/matcher_parts.h"

#include "vocab_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char nested[] = "root ::= value\nvalue ::= \"[\" (value (\",\" value)*)? \"]\" | "
                             "\"\\\"\" [^\"]{0,30} \"\\\"\" | "
                             "[0-9]{1,8}";

typedef struct pair {
    inki_grammar *g;
    inki_matcher *m;
} pair;

static pair begin(const char *gbnf) {
    const inki_mem mem = inki_mem_from(NULL);
    pair p = {0};
    ink_error error;
    if (inki_grammar_parse(&p.g, gbnf, strlen(gbnf), &mem, &error) != INK_OK)
        fail_msg("%s", error.message);
    assert_int_equal(inki_matcher_new(&p.m, p.g, NULL, &mem, NULL), INK_OK);
    return p;
}

static void end(pair *p) {
    inki_matcher_free(p->m);
    inki_grammar_free(p->g);
}

static size_t push(inki_matcher *m, const char *bytes, size_t n) {
    size_t n_accepted = 999;
    ink_error error;
    if (inki_matcher_push(m, bytes, n, &n_accepted, &error) != INK_OK)
        fail_msg("%s", error.message);
    return n_accepted;
}

static void cut_characters(void **state) {
    (void)state;
    // U+00E9, U+20AC, U+1F642; none of their neighbours.
    pair p = begin("root ::= [\\u00e9\\u20ac\\U0001f642]{2}");
    static const char good[] = "\xf0\x9f\x99\x82\xe2\x82\xac";
    for (size_t i = 0; i < sizeof good - 1; i++) {
        assert_int_equal(push(p.m, good + i, 1), 1);
        assert_int_equal(inki_matcher_may_end(p.m), i == sizeof good - 2);
    }
    assert_true(inki_matcher_must_end(p.m));
    assert_int_equal(push(p.m, "a", 1), 0);
    static const struct {
        const char *bytes;
        size_t n_accepted;
    } bad[] = {{"\xc3\xa8", 1}, {"\xc3", 1},         {"\xe2\x82\xad", 2}, {"\xe2\x81", 1},
               {"\xe0", 0},     {"\xf0\x9f\x9a", 2}, {"\x82", 0},         {"\xff", 0},
               {"\xf4", 0},     {"\xc0", 0},         {"\xed", 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        inki_matcher_reset(p.m);
        assert_int_equal(push(p.m, bad[i].bytes, strlen(bad[i].bytes)), bad[i].n_accepted);
    }
    end(&p);
    // What no UTF-8 has never matches, not even where everything does.
    static const char *const all[] = {"root ::= .*", "root ::= [^a]*",
                                      "root ::= [\\u0000-\\U0010ffff]*"};
    static const char *const never[] = {
        "\xc0", "\xc1", "\xe0\x9f", "\xed\xa0",     "\xf0\x8f",         "\xf4\x90",
        "\xf5", "\xff", "\x80",     "\xe2\x82\x62", "\xf0\x9f\x99\xc3", "\xbf"};
    for (size_t k = 0; k < 3; k++) {
        p = begin(all[k]);
        for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
            assert_int_equal(push(p.m, never[i], strlen(never[i])), strlen(never[i]) - 1);
        for (uint32_t c = 0x10000; c < 0x110000; c += (c & 0xfff) < 3 ? 1 : 37) {
            const char text[4] = {(char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3f)),
                                  (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f))};
            assert_int_equal(push(p.m, text, 4), 4);
            inki_matcher_pop(p.m, 1);
        }
        end(&p);
    }
}

static void empty_pushes(void **state) {
    (void)state;
    pair p = begin("root ::= \"ab\"");
    assert_int_equal(push(p.m, "", 0), 0);
    assert_int_equal(push(p.m, "a", 1), 1);
    assert_int_equal(push(p.m, "", 0), 0);
    assert_int_equal(inki_matcher_n_pushes(p.m), 3);
    inki_matcher_pop(p.m, 1);
    assert_int_equal(push(p.m, "a", 1), 0); // was refused: no push
    assert_int_equal(inki_matcher_n_pushes(p.m), 2);
    inki_matcher_pop(p.m, 1);
    assert_int_equal(push(p.m, "ab", 2), 2);
    assert_true(inki_matcher_must_end(p.m));
    inki_matcher_pop(p.m, 99);
    assert_int_equal(inki_matcher_n_pushes(p.m), 0);
    assert_false(inki_matcher_may_end(p.m));
    end(&p);
    inki_matcher_free(NULL);
}

// A matcher that goes forward and back is where a fresh one is that only went there.
static void forward_and_back(void **state) {
    (void)state;
    static const char *const words[] = {"[",  "]",   ",",      "12",   "\"ab",  "\"", "[[",
                                        "]]", "],[", "x \xc3", "\xa9", "7,[\"", ""};
    uint32_t seed = 3;
    pair p = begin(nested), fresh = begin(nested);
    char text[4096];
    size_t ends[2048], n = 0, at = 0;
    for (int i = 0; i < 6000; i++) {
        const char *word = words[next_random(&seed) % 13];
        const size_t bytes = strlen(word);
        if (next_random(&seed) % 5 == 0 || n > 1500) {
            const uint32_t back = n > 1500 ? 1500 : next_random(&seed) % 6;
            inki_matcher_pop(p.m, back);
            n -= back < n ? back : n;
            at = n > 0 ? ends[n - 1] : 0;
        }
        if (next_random(&seed) % 16 == 0) p.m->bound = 4000;
        if (push(p.m, word, bytes) == bytes) {
            memcpy(text + at, word, bytes);
            at += bytes;
            ends[n++] = at;
        }
        assert_int_equal(inki_matcher_n_pushes(p.m), n);
        if (i % 20 != 0) continue;
        inki_matcher_reset(fresh.m);
        assert_int_equal(push(fresh.m, text, at), at);
        assert_int_equal(inki_matcher_may_end(fresh.m), inki_matcher_may_end(p.m));
        assert_int_equal(inki_matcher_must_end(fresh.m), inki_matcher_must_end(p.m));
        for (int b = 0; b < 256; b++) {
            const char byte = (char)b;
            const size_t taken = push(p.m, &byte, 1);
            assert_int_equal(push(fresh.m, &byte, 1), taken);
            inki_matcher_pop(p.m, (uint32_t)taken);
            inki_matcher_pop(fresh.m, (uint32_t)taken);
        }
    }
    end(&p);
    end(&fresh);
}

static ink_status push_many(inki_matcher *m, char c, size_t n, ink_error *error) {
    ink_status status = INK_OK;
    size_t n_accepted;
    for (size_t i = 0; i < n && status == INK_OK; i++)
        status = inki_matcher_push(m, &c, 1, &n_accepted, error);
    return status;
}

static void bounds(void **state) {
    (void)state;
    ink_error error;
    pair p = begin(nested);
    assert_int_equal(push_many(p.m, '[', 1000, &error), INK_OK);
    assert_int_equal(push_many(p.m, '[', 10000, &error), INK_E_LIMIT);
    const uint32_t deep = inki_matcher_n_pushes(p.m);
    assert_in_range(deep, 1000, INKI_MATCHER_MAX_DEPTH);
    assert_int_equal(push_many(p.m, '[', 1, &error), INK_E_LIMIT); // where it was, still
    assert_int_equal(inki_matcher_n_pushes(p.m), deep);
    assert_int_equal(push_many(p.m, ']', deep, &error), INK_OK);
    assert_true(inki_matcher_must_end(p.m));
    // In one push: nothing of it stays.
    char *text = malloc((16 << 20) + 1);
    assert_non_null(text);
    memset(text, '[', 8192);
    size_t n_accepted = 7;
    inki_matcher_reset(p.m);
    assert_int_equal(inki_matcher_push(p.m, text, 8192, &n_accepted, &error), INK_E_LIMIT);
    assert_int_equal(n_accepted, 7);
    assert_int_equal(inki_matcher_n_pushes(p.m), 0);
    assert_int_equal(push(p.m, "[]", 2), 2);
    end(&p);
    // A rule that goes on by its own end is no nesting, and a text of 16 MiB is the longest.
    p = begin("root ::= \"a\" root | \"b\" r2 | \"\"\nr2 ::= \"a\" root | [b-c] r2 | \"\"");
    memset(text, 'a', (16 << 20) + 1);
    text[77] = 'b';
    assert_int_equal(push(p.m, text, 16 << 20), 16 << 20);
    assert_true(inki_matcher_states_bytes(p.m) < 10000);
    assert_int_equal(inki_matcher_push(p.m, text, 1, &n_accepted, &error), INK_E_LIMIT);
    end(&p);
    free(text);
}

// Grammars that have very many ways: few places as long as they are the same ones, a clear end
// where they are not.
static void many_ways(void **state) {
    (void)state;
    ink_error error;
    pair p = begin("root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"a\" root root | \"\"");
    assert_int_equal(push_many(p.m, 'a', 60, &error), INK_OK);
    assert_int_equal(push_many(p.m, 'c', 30, &error), INK_OK);
    end(&p);
    p = begin("root ::= (\"a\"? \"a\"?){300} \"b\"");
    assert_int_equal(push_many(p.m, 'a', 600, &error), INK_OK);
    assert_int_equal(push(p.m, "a", 1), 0);
    assert_int_equal(push(p.m, "b", 1), 1);
    end(&p);
    static const char wide[] = "root ::= ((\"a\"? \"b\"?){4096} \"c\"){8}";
    const inki_mem mem = inki_mem_from(NULL);
    inki_grammar *g = NULL;
    inki_matcher *m = NULL;
    assert_int_equal(inki_grammar_parse(&g, wide, strlen(wide), &mem, NULL), INK_OK);
    const ink_status status = inki_matcher_new(&m, g, NULL, &mem, &error);
    if (status == INK_OK)
        inki_matcher_free(m);
    else
        assert_int_equal(status, INK_E_LIMIT);
    inki_grammar_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_characters), cmocka_unit_test(empty_pushes),
        cmocka_unit_test(forward_and_back), cmocka_unit_test(bounds), cmocka_unit_test(many_ways)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
