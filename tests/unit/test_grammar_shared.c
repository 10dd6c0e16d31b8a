// SPDX-License-Identifier: MIT
// Label: threads
// All grammars of a model have one trie of its tokens, whoever comes first; and grammars made to
// take long end with an error, after which session and grammar go on.
#include "engine/engine.h"
#include "grammar/matcher_parts.h"

#include "opened.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static ink_status compile(ink_grammar **out, ink_model *model, const char *gbnf) {
    return ink_grammar_new(out, model, INK_GRAMMAR_GBNF, gbnf, strlen(gbnf), NULL);
}

static void live_is(const heap *h, size_t bytes, size_t blocks) {
    assert_int_equal(h->live_bytes, bytes);
    assert_int_equal(h->live_blocks, blocks);
}

static void the_trie_is_the_models(void **state) {
    (void)state;
    heap h = {0};
    tiny_model tiny = tiny_model_defaults();
    tiny.n_vocab = 4000;
    opened o = opened_tiny(&tiny, 1, &h);
    size_t held[4];
    ink_grammar *g[3];
    for (int i = 0; i < 3; i++) {
        held[i] = h.live_bytes;
        assert_int_equal(compile(&g[i], o.model, "root ::= [a-z]+ | \"b\""), INK_OK);
        assert_ptr_equal(g[i]->trie, g[0]->trie);
    }
    held[3] = h.live_bytes;
    assert_int_equal(held[3] - held[2], held[2] - held[1]);
    // A trie has 4 bytes for each token, and 16 for each of its nodes, at least as many.
    assert_true(held[1] - held[0] > held[2] - held[1] + 3900 * 20);
    assert_in_range(held[2] - held[1], 1, 8192);
    // It outlives the grammars, and the model lives as long as any of them.
    for (int i = 0; i < 3; i++) ink_grammar_unref(g[i]);
    assert_int_equal(h.live_bytes, held[1] - (held[2] - held[1]));
    assert_int_equal(compile(&g[0], o.model, "root ::= \"x\""), INK_OK);
    opened_close(&o);
    ink_grammar_unref(g[0]);
    live_is(&h, 0, 0);
    assert_int_equal(h.wrong_releases, 0);
}

// Each request for memory fails once, of a model without a trie and of one that has it.
static void without_memory(void **state) {
    (void)state;
    for (int had = 0; had < 2; had++) {
        size_t n_failed = 0;
        for (;; n_failed++) {
            heap h = {0};
            const tiny_model tiny = tiny_model_defaults();
            opened o = opened_tiny(&tiny, 1, &h);
            ink_grammar *g = NULL, *first = NULL;
            if (had) assert_int_equal(compile(&first, o.model, "root ::= \"x\""), INK_OK);
            const size_t bytes = h.live_bytes, blocks = h.live_blocks;
            h.fail_at = h.n_allocs + n_failed + 1;
            const ink_status status = compile(&g, o.model, "root ::= [a-z]+ | \"b\"");
            h.fail_at = 0;
            if (status != INK_OK) {
                assert_int_equal(status, INK_E_NOMEM);
                assert_null(g);
                live_is(&h, bytes, blocks);
                assert_int_equal(compile(&g, o.model, "root ::= [a-z]+ | \"b\""), INK_OK);
            }
            ink_grammar_unref(g);
            ink_grammar_unref(first);
            opened_close(&o);
            live_is(&h, 0, 0);
            assert_int_equal(h.wrong_releases, 0);
            if (status == INK_OK) break;
        }
        assert_in_range(n_failed, had ? 5 : 9, 100);
    }
}

// --- many threads --------------------------------------------------------------------------------

enum { N_THREADS = 4 };

typedef struct maker {
    pthread_t thread;
    pthread_barrier_t *start;
    ink_model *model;
    ink_grammar *grammar;
    uint32_t accepted;
} maker;

static void *make(void *arg) {
    maker *w = arg;
    pthread_barrier_wait(w->start);
    if (compile(&w->grammar, w->model, "root ::= [a-z]+ \".\"") == INK_OK)
        ink_grammar_check(w->grammar, "ab.", 3, &w->accepted, NULL);
    return NULL;
}

static void threads_at_once(void **state) {
    (void)state;
    for (int round = 0; round < 20; round++) {
        heap h = {0};
        const tiny_model tiny = tiny_model_defaults();
        opened o = opened_tiny(&tiny, 1, &h);
        pthread_barrier_t start;
        maker makers[N_THREADS] = {0};
        pthread_barrier_init(&start, NULL, N_THREADS);
        for (int i = 0; i < N_THREADS; i++) {
            makers[i].start = &start;
            makers[i].model = o.model;
            assert_int_equal(pthread_create(&makers[i].thread, NULL, make, &makers[i]), 0);
        }
        for (int i = 0; i < N_THREADS; i++) pthread_join(makers[i].thread, NULL);
        pthread_barrier_destroy(&start);
        opened_close(&o);
        for (int i = 0; i < N_THREADS; i++) {
            assert_int_equal(makers[i].accepted, INK_GRAMMAR_CLOSED);
            assert_ptr_equal(makers[i].grammar->trie, makers[0].grammar->trie);
        }
        for (int i = 0; i < N_THREADS; i++) ink_grammar_unref(makers[i].grammar);
        live_is(&h, 0, 0);
        assert_int_equal(h.wrong_releases, 0);
    }
}

// --- too much work -------------------------------------------------------------------------------

// A hundred classes that overlap, each up to some times, as often as one likes.
static char *hostile(void) {
    enum { N = 100 };
    char *gbnf = malloc(64 + N * 32), *end = gbnf + sprintf(gbnf, "root ::= (v v?)*\nv ::= \"z\"");
    uint32_t random = 1;
    for (int i = 0; i < N; i++) {
        char not [4];
        for (int k = 0; k < 4; k++) {
            random = random * 1664525 + 1013904223;
            not [k] = (char)('a' + (random >> 16) % 26);
        }
        end += sprintf(end, " | [^%.4s]{1,%u}", not, 1 + random % 7);
    }
    return gbnf;
}

static void hostile_masks_end(void **state) {
    (void)state;
    char *gbnf = hostile();
    ink_grammar *g = NULL, *plain = NULL;
    assert_int_equal(compile(&g, opened_builtin, gbnf), INK_OK);
    assert_int_equal(compile(&plain, opened_builtin, "root ::= [a-z ]+"), INK_OK);
    ink_session *s = NULL;
    assert_int_equal(ink_session_new(&s, opened_builtin, NULL, NULL), INK_OK);
    ink_sampler *greedy = NULL;
    assert_int_equal(ink_sampler_new(&greedy, opened_builtin, "greedy", NULL, NULL), INK_OK);
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.sampler = greedy;
    o.n_tokens = 8;
    o.flags = INK_GENERATE_FRESH;
    char first[2][512];
    for (int round = 0; round < 4; round++) {
        const bool bad = round % 2 == 0;
        ink_error error = {.size = sizeof error};
        ink_result r = {.size = sizeof r};
        collected text = {.bytes = 0};
        o.grammar = bad ? g : plain;
        const ink_status status =
            ink_session_generate(s, "Once", 4, &o, collect, &text, &r, &error);
        assert_int_equal(status, bad ? INK_E_LIMIT : INK_OK);
        if (bad) assert_non_null(strstr(error.message, "too many readings"));
        if (bad) assert_int_equal(text.bytes, 0); // each time at the same place
        text.text[text.bytes < 500 ? text.bytes : 500] = 0;
        if (round < 2)
            snprintf(first[round], sizeof first[0], "%.500s", text.text);
        else
            assert_string_equal(first[round % 2], text.text);
    }
    ink_sampler_free(greedy);
    ink_session_free(s);
    ink_grammar_unref(plain);
    ink_grammar_unref(g);
    free(gbnf);
}

// What a mask and a push cost is counted: it is the same again, and a push goes no farther either.
static void work_is_counted(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    char *gbnf = hostile(), text[4096];
    inki_grammar *rules = NULL;
    inki_token_trie *trie = NULL;
    assert_int_equal(inki_grammar_parse(&rules, gbnf, strlen(gbnf), &mem, NULL), INK_OK);
    assert_int_equal(inki_token_trie_new(&trie, opened_builtin->tokenizer, &mem, NULL), INK_OK);
    uint64_t spent[2];
    for (int i = 0; i < 2; i++) {
        inki_matcher *m = NULL;
        const uint64_t *set = NULL;
        assert_int_equal(inki_matcher_new(&m, rules, trie, &mem, NULL), INK_OK);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(inki_matcher_allowed(m, &set, NULL), INK_E_LIMIT);
            // One step is all that it may be over.
            assert_in_range(m->work.spent, INKI_MATCHER_WORK, INKI_MATCHER_WORK + (1 << 18));
        }
        spent[i] = m->work.spent;
        size_t n = 0;
        uint32_t random = 7;
        ink_status status = INK_OK;
        for (size_t k = 0; k < sizeof text; k++) {
            random = random * 1664525 + 1013904223;
            text[k] = (char)('a' + (random >> 16) % 26);
        }
        status = inki_matcher_push(m, text, 2, &n, NULL); // a short one is taken
        assert_int_equal(status, INK_OK);
        assert_int_equal(n, 2);
        status = inki_matcher_push(m, text, sizeof text, &n, NULL);
        assert_int_equal(status, INK_E_LIMIT);
        assert_int_equal(inki_matcher_n_pushes(m), 1);
        status = inki_matcher_push(m, text, 2, &n, NULL);
        assert_int_equal(status, INK_OK);
        // Nor do many that are taken back, as behind a prompt that ends inside of a word.
        const inki_tokenizer *t = opened_builtin->tokenizer;
        for (int32_t id = 0; id < (int32_t)inki_tokenizer_n_vocab(t) && status == INK_OK; id++) {
            const inki_str piece = inki_tokenizer_piece(t, id);
            status = inki_matcher_push(m, piece.data, piece.bytes, &n, NULL);
            if (status == INK_OK && n == piece.bytes) inki_matcher_pop(m, 1);
        }
        assert_int_equal(status, INK_E_LIMIT);
        assert_int_equal(inki_matcher_n_pushes(m), 2);
        inki_matcher_free(m);
    }
    assert_int_equal(spent[0], spent[1]);
    inki_token_trie_free(trie);
    inki_grammar_free(rules);
    free(gbnf);
}

// Grammars that are meant well are far from the limit, at the dearest of their places.
static void ordinary_ones_are_far_from_it(void **state) {
    (void)state;
    static const char *const list[] = {
        "root ::= value\nvalue ::= object | array | string | number | (\"true\" | \"false\" | "
        "\"null\") ws\n"
        "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? \"}\" ws\n"
        "array ::= \"[\" ws (value (\",\" ws value)*)? \"]\" ws\n"
        "string ::= \"\\\"\" ([^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\bfnrt] | \"u\" "
        "[0-9a-fA-F]{4}))* \"\\\"\" ws\n"
        "number ::= (\"-\"? ([0-9] | [1-9] [0-9]{0,15})) (\".\" [0-9]+)? ws\n"
        "ws ::= | \" \" | \"\\n\" [ \\t]{0,20}",
        "root  ::= (expr \"=\" ws term \"\\n\")+\nexpr  ::= term ([-+*/] term)*\n"
        "term  ::= ident | num | \"(\" ws expr \")\" ws\nident ::= [a-z] [a-z0-9_]* ws\n"
        "num   ::= [0-9]+ ws\nws    ::= [ \\t\\n]*",
        "root ::= \"1. \" move \" \" move \"\\n\" ([2-9] \". \" move \" \" move \"\\n\")*\n"
        "move ::= (pawn | piece | castle) [+#]?\npiece ::= [NBKQR] [a-h]? [1-8]? \"x\"? [a-h] "
        "[1-8]\n"
        "pawn ::= ([a-h] \"x\")? [a-h] [1-8] (\"=\" [NBKQR])?\ncastle ::= \"O-O\" \"-O\"?",
        "root ::= ([\\u3041-\\u309F\\u30A0-\\u30FF\\u4E00-\\u9FFF] | [ \\t\\n\\u3001-\\u3003])+",
        "root ::= item+\nitem ::= \"- \" [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ \"\\n\"",
        "root ::= \"\\\"\" [^\"]{0,4000} \"\\\"\" ([a-z]? [a-z]?){0,200}",
    };
    const inki_mem mem = inki_mem_from(NULL);
    inki_token_trie *trie = NULL;
    assert_int_equal(inki_token_trie_new(&trie, opened_builtin->tokenizer, &mem, NULL), INK_OK);
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        inki_grammar *g = NULL;
        inki_matcher *m = NULL;
        uint64_t most = 0;
        uint32_t random = (uint32_t)i;
        assert_int_equal(inki_grammar_parse(&g, list[i], strlen(list[i]), &mem, NULL), INK_OK);
        assert_int_equal(inki_matcher_new(&m, g, trie, &mem, NULL), INK_OK);
        for (int k = 0; k < 60; k++) {
            const uint64_t *set = NULL;
            uint32_t id, n_vocab = inki_tokenizer_n_vocab(opened_builtin->tokenizer);
            size_t n;
            assert_int_equal(inki_matcher_allowed(m, &set, NULL), INK_OK);
            if (m->work.spent > most) most = m->work.spent;
            if (inki_matcher_must_end(m)) break;
            do {
                random = random * 1664525 + 1013904223;
                id = (random >> 8) % n_vocab;
            } while (!(set[id / 64] >> id % 64 & 1));
            const inki_str piece = inki_tokenizer_piece(opened_builtin->tokenizer, (int32_t)id);
            assert_int_equal(inki_matcher_push(m, piece.data, piece.bytes, &n, NULL), INK_OK);
            if (m->work.spent > most) most = m->work.spent;
        }
        assert_in_range(most, 100, INKI_MATCHER_WORK / 10);
        inki_matcher_free(m);
        inki_grammar_free(g);
    }
    inki_token_trie_free(trie);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_trie_is_the_models), cmocka_unit_test(without_memory),
        cmocka_unit_test(threads_at_once),        cmocka_unit_test(hostile_masks_end),
        cmocka_unit_test(work_is_counted),        cmocka_unit_test(ordinary_ones_are_far_from_it),
    };
    return cmocka_run_group_tests(tests, opened_builtin_begin, opened_builtin_end);
}
