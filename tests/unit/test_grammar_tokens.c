// SPDX-License-Identifier: MIT
// Which tokens may come next, with the vocabulary of a trained model: along random walks, the mask
// of each place equals what trying every token gives, whether states are kept, are made anew all
// the time, or memory for them fails.
#include "engine/engine.h"
#include "grammar/matcher_parts.h"

#include "heap.h"
#include "opened.h"
#include "vocab_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char *const grammars[] = {
    "root ::= \"{\" ws pair (\",\" ws pair){0,5} \"}\"\npair ::= string \":\" ws (string | num | "
    "list)\n"
    "list ::= \"[\" ws (num (\",\" ws num)*)? \"]\"\nnum ::= \"-\"? [0-9]{1,12} (\".\" [0-9]+)?\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "char ::= [^\"\\\\\\x00-\\x1f] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-f]{4})\nws ::= [ \\n]*",
    "root ::= ([^\"]{2,40} \"\\\"\"){3} .{0,9}",
    "root ::= [a-z ]{0,70} [.!?] root | \"\"",
    "root ::= ([a-zA-Z]+ [ ,.]){1,400}",
    "root ::= \"(\" root \")\" | [a-z]{1,3} root? | \" \"",
    "root ::= a | b\na ::= \"x\" a [a-m] | [a-z ]\nb ::= \"x\" b [g-z]{2} | [a-z]",
    "root ::= .*",
    "root ::= ([a-z] [a-z])* [0-9]",
};
enum { GRAMMARS = sizeof grammars / sizeof grammars[0] };

static inki_grammar *parse(const char *gbnf, const inki_mem *mem) {
    inki_grammar *g = NULL;
    ink_error error;
    if (inki_grammar_parse(&g, gbnf, strlen(gbnf), mem, &error) != INK_OK)
        fail_msg("%s in\n%s", error.message, gbnf);
    return g;
}

static inki_token_trie *trie_of(const inki_tokenizer *t, const inki_mem *mem) {
    inki_token_trie *trie = NULL;
    assert_int_equal(inki_token_trie_new(&trie, t, mem, NULL), INK_OK);
    return trie;
}

static const uint64_t *allowed(inki_matcher *m) {
    const uint64_t *set = NULL;
    ink_error error;
    if (inki_matcher_allowed(m, &set, &error) != INK_OK) fail_msg("%s", error.message);
    return set;
}

// Compares with trying; returns how many there are. tried: another matcher, at the same place.
static uint32_t check_mask(const inki_tokenizer *t, const uint64_t *set, inki_matcher *tried) {
    uint32_t n = 0;
    for (int32_t id = 0; id < (int32_t)inki_tokenizer_n_vocab(t); id++) {
        const inki_str piece = inki_tokenizer_piece(t, id);
        size_t n_accepted = 0;
        bool want = false;
        if (!inki_tokenizer_is_special(t, id)) {
            assert_int_equal(inki_matcher_push(tried, piece.data, piece.bytes, &n_accepted, NULL),
                             INK_OK);
            want = n_accepted == piece.bytes;
            if (want) inki_matcher_pop(tried, 1);
        }
        if ((set[id / 64] >> id % 64 & 1) != want)
            fail_msg("token %d \"%.*s\" should be %d", (int)id, (int)piece.bytes, piece.data, want);
        n += want;
    }
    return n;
}

static int32_t pick(const uint64_t *set, uint32_t nth) {
    int32_t id = 0;
    for (;; id++)
        if ((set[id / 64] >> id % 64 & 1) && nth-- == 0) return id;
}

static void push_both(inki_matcher *m, inki_matcher *tried, inki_str piece) {
    size_t a, b;
    assert_int_equal(inki_matcher_push(m, piece.data, piece.bytes, &a, NULL), INK_OK);
    assert_int_equal(inki_matcher_push(tried, piece.data, piece.bytes, &b, NULL), INK_OK);
    assert_int_equal(a, piece.bytes);
    assert_int_equal(b, piece.bytes);
}

static void walk(const inki_tokenizer *t, inki_matcher *m, inki_matcher *tried, uint32_t steps,
                 uint32_t seed, size_t bound) {
    for (uint32_t i = 0; i < steps; i++) {
        if (bound > 0) m->bound = bound;
        const uint64_t *set = allowed(m);
        const uint32_t n = check_mask(t, set, tried);
        if (n == 0) {
            assert_true(inki_matcher_must_end(m));
            return;
        }
        assert_false(inki_matcher_must_end(m));
        push_both(m, tried, inki_tokenizer_piece(t, pick(set, next_random(&seed) % n)));
        if (next_random(&seed) % 4 == 0) {
            const uint32_t back = next_random(&seed) % 3;
            inki_matcher_pop(m, back);
            inki_matcher_pop(tried, back);
        }
        assert_int_equal(inki_matcher_may_end(m), inki_matcher_may_end(tried));
        assert_int_equal(inki_matcher_n_pushes(m), inki_matcher_n_pushes(tried));
    }
}

static void masks_are_those_of_trying(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    const inki_tokenizer *t = opened_builtin->tokenizer;
    inki_token_trie *trie = trie_of(t, &mem);
    for (uint32_t i = 0; i < GRAMMARS; i++) {
        inki_grammar *g = parse(grammars[i], &mem);
        for (uint32_t kind = 0; kind < 4; kind++) {
            inki_matcher *m = NULL, *tried = NULL;
            assert_int_equal(inki_matcher_new(&m, g, trie, &mem, NULL), INK_OK);
            assert_int_equal(inki_matcher_new(&tried, g, NULL, &mem, NULL), INK_OK);
            assert_ptr_equal(inki_matcher_grammar(m), g);
            // Few masks are kept in one of them, so that they are overwritten.
            if (kind == 1) m->n_masks = 2;
            walk(t, m, tried, 24, 77 + i * 10 + kind, kind < 2 ? 0 : kind == 2 ? 1 : 6000);
            m->n_masks = kind == 1 ? 512 : m->n_masks;
            inki_matcher_free(m);
            inki_matcher_free(tried);
        }
        inki_grammar_free(g);
    }
    inki_token_trie_free(trie);
}

// The states of a text with many brackets are many: they are made anew within a walk, and masks do
// not change by that.
static void memory_is_bounded(void **state) {
    (void)state;
    heap h = {0};
    const ink_allocator allocator = heap_allocator(&h);
    const inki_mem mem = inki_mem_from(&allocator);
    const inki_tokenizer *t = opened_builtin->tokenizer;
    inki_token_trie *trie = trie_of(t, &mem);
    // Each letter calls for its own end: no two texts lead to the same place.
    char gbnf[2048] = "root ::= \"!\"", *end = gbnf + strlen(gbnf);
    for (char c = 'a'; c <= 'z'; c++)
        end += sprintf(end, " | \"%c\" root \"%c\" | \" %c\" root \"%c\"", c, c, c, c);
    inki_grammar *g = parse(gbnf, &mem);
    inki_matcher *m = NULL, *tried = NULL;
    assert_int_equal(inki_matcher_new(&m, g, trie, &mem, NULL), INK_OK);
    assert_int_equal(inki_matcher_new(&tried, g, NULL, &mem, NULL), INK_OK);
    m->bound = 100000; // a mask needs more
    check_mask(t, allowed(m), tried);
    assert_in_range(inki_matcher_states_bytes(m), 1, 110000);
    const size_t before = h.live_bytes;
    uint32_t seed = 5;
    for (uint32_t i = 0; i < 300; i++) {
        const uint64_t *set = allowed(m);
        uint32_t n = 0;
        for (uint32_t id = 0; id < inki_tokenizer_n_vocab(t); id++)
            n += (uint32_t)(set[id / 64] >> id % 64 & 1);
        int32_t id;
        do id = pick(set, next_random(&seed) % n);
        while (memchr(inki_tokenizer_piece(t, id).data, '!', inki_tokenizer_piece(t, id).bytes));
        push_both(m, tried, inki_tokenizer_piece(t, id));
    }
    // Twice what the text alone needs, and half as much again in arrays that grow by doubling.
    assert_in_range(h.live_bytes, 1, before + (6 << 20));
    check_mask(t, allowed(m), tried);
    inki_matcher_free(tried);
    inki_matcher_free(m);
    inki_grammar_free(g);
    inki_token_trie_free(trie);
    assert_int_equal(h.live_blocks, 0);
    assert_int_equal(h.wrong_releases, 0);
}

// What happens from the grammar's text to the last mask, as often as there are requests for
// memory, each of which fails once; then all of it works again.
typedef struct story {
    inki_grammar *g;
    inki_token_trie *trie;
    inki_matcher *m;
    uint32_t n; // tokens that the last mask had
} story;

static ink_status tell(story *s, const inki_mem *mem, ink_error *error) {
    static const char text[] = "{\"once upon a time\": \"an old";
    const inki_tokenizer *t = opened_builtin->tokenizer;
    const uint64_t *set = NULL;
    size_t n_accepted;
    ink_status status = INK_OK;
    if (s->g == NULL)
        status = inki_grammar_parse(&s->g, grammars[0], strlen(grammars[0]), mem, error);
    if (status == INK_OK && s->trie == NULL) status = inki_token_trie_new(&s->trie, t, mem, error);
    if (status == INK_OK && s->m == NULL)
        status = inki_matcher_new(&s->m, s->g, s->trie, mem, error);
    while (status == INK_OK && inki_matcher_n_pushes(s->m) < sizeof text - 1) {
        const uint32_t at = inki_matcher_n_pushes(s->m);
        s->m->bound = 3000;
        status = inki_matcher_allowed(s->m, &set, error);
        if (status == INK_OK) status = inki_matcher_push(s->m, text + at, 1, &n_accepted, error);
        if (status != INK_OK && inki_matcher_n_pushes(s->m) != at) return INK_E_BUSY;
    }
    if (status == INK_OK) status = inki_matcher_allowed(s->m, &set, error);
    for (uint32_t id = s->n = 0; status == INK_OK && id < inki_tokenizer_n_vocab(t); id++)
        s->n += (uint32_t)(set[id / 64] >> id % 64 & 1);
    return status;
}

static void untell(story *s) {
    inki_matcher_free(s->m);
    inki_token_trie_free(s->trie);
    inki_grammar_free(s->g);
}

static void without_memory(void **state) {
    (void)state;
    story whole = {0};
    fail_mem counts = {0};
    ink_error error;
    const inki_mem mem = fail_mem_over(&counts);
    assert_int_equal(tell(&whole, &mem, &error), INK_OK);
    untell(&whole);
    const size_t n_calls = counts.n_calls;
    assert_in_range(n_calls, 30, 20000);
    for (size_t k = 1; k <= n_calls; k += 1 + k / 64) {
        story s = {0};
        counts = (fail_mem){.fail_at = k};
        error = (ink_error){0};
        const ink_status status = tell(&s, &mem, &error);
        if (status != INK_E_NOMEM) fail_msg("request %u: %s", (unsigned)k, error.message);
        assert_int_equal(error.status, INK_E_NOMEM);
        assert_int_equal(tell(&s, &mem, &error), INK_OK); // goes on from where it was
        assert_int_equal(s.n, whole.n);
        untell(&s);
        assert_int_equal(counts.n_blocks, 0);
    }
}

// --- the trie ------------------------------------------------------------------------------------

static int by_bytes(inki_str a, inki_str b) {
    const int order = memcmp(a.data, b.data, a.bytes < b.bytes ? a.bytes : b.bytes);
    return order != 0 ? order : a.bytes < b.bytes ? -1 : a.bytes > b.bytes;
}

// Walks the tree with the bytes of each token and finds it, and as many nodes as there are
// different beginnings.
static void check_trie(const inki_tokenizer *t) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_token_trie *trie = trie_of(t, &mem);
    uint32_t n = 0;
    for (int32_t id = 0; id < (int32_t)inki_tokenizer_n_vocab(t); id++) {
        const inki_str piece = inki_tokenizer_piece(t, id);
        if (inki_tokenizer_is_special(t, id) || piece.bytes == 0) continue;
        uint32_t at = 0, end = trie->n_nodes;
        n++;
        for (size_t i = 0; i < piece.bytes; i++) {
            const uint8_t b = (uint8_t)piece.data[i];
            while (at < end && (trie->nodes[at].below >> 48 & 0xff) != b)
                at = trie->nodes[at].after;
            assert_true(at < end);
            const uint64_t below = trie->nodes[at].below;
            assert_true(below >> trie->group_of[b] & 1);
            const size_t left = piece.bytes - i < 255 ? piece.bytes - i : 255;
            assert_true(below >> 56 >= left);
            if (i + 1 == piece.bytes) break;
            end = trie->nodes[at].after;
            at++;
        }
        bool found = false;
        for (uint32_t i = trie->nodes[at].first; i < trie->nodes[at + 1].first; i++)
            found |= trie->ids[i] == (uint32_t)id;
        assert_true(found);
    }
    assert_int_equal(trie->n_tokens, n);
    for (uint32_t i = 1; i < n; i++)
        assert_true(by_bytes(inki_tokenizer_piece(t, (int32_t)trie->ids[i - 1]),
                             inki_tokenizer_piece(t, (int32_t)trie->ids[i])) < 0);
    for (uint32_t i = 0; i < trie->n_nodes; i++) { // siblings rise: none is there twice
        const uint32_t next = trie->nodes[i].after;
        for (uint32_t k = i + 1; k < next; k = trie->nodes[k].after)
            if (trie->nodes[k].after < next)
                assert_true((trie->nodes[k].below >> 48 & 0xff) <
                            (trie->nodes[trie->nodes[k].after].below >> 48 & 0xff));
    }
    inki_token_trie_free(trie);
}

static void tries(void **state) {
    (void)state;
    check_trie(opened_builtin->tokenizer);
    // Tokens longer than a height can say, which begin alike.
    const inki_mem mem = inki_mem_from(NULL);
    vocab_fixture f;
    inki_tokenizer *t = NULL;
    char text[256] = "a";
    fixture_init(&f);
    for (size_t n = 1; n <= 128; n *= 2) {
        text[n] = 0;
        fixture_merge(&f, text, text);
        memset(text, 'a', 2 * n > 255 ? 255 : 2 * n);
    }
    memset(text, 'a', 128);
    text[128] = 0;
    char longer[300];
    memset(longer, 'a', 256);
    longer[256] = 0;
    fixture_merge(&f, longer, text);
    fixture_merge(&f, longer, "b");
    fixture_merge(&f, text, "b");
    const inki_vocab vocab = fixture_vocab(&f);
    assert_int_equal(inki_tokenizer_new(&t, &vocab, &mem, NULL), INK_OK);
    check_trie(t);
    // And which of them may come where only so many bytes may.
    inki_token_trie *trie = trie_of(t, &mem);
    inki_grammar *g = parse("root ::= \"a\"{0,300} \"b\"", &mem);
    inki_matcher *m = NULL, *tried = NULL;
    assert_int_equal(inki_matcher_new(&m, g, trie, &mem, NULL), INK_OK);
    assert_int_equal(inki_matcher_new(&tried, g, NULL, &mem, NULL), INK_OK);
    for (uint32_t i = 0; i < 300; i++) {
        check_mask(t, allowed(m), tried);
        push_both(m, tried, (inki_str){"a", 1});
    }
    inki_matcher_free(m);
    inki_matcher_free(tried);
    inki_grammar_free(g);
    inki_token_trie_free(trie);
    inki_tokenizer_free(t);
    fixture_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(masks_are_those_of_trying),
                                       cmocka_unit_test(memory_is_bounded),
                                       cmocka_unit_test(without_memory), cmocka_unit_test(tries)};
    return cmocka_run_group_tests(tests, opened_small_begin, opened_builtin_end);
}
