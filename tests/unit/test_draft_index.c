// SPDX-License-Identifier: MIT
// Where the last tokens of a text stood before, against a search through all of it, while the text
// grows, is cut, rewritten and slides.
#include "engine/draft_index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inki_draft_index new_index(void **block, uint32_t n) {
    inki_draft_index index = {0};
    inki_arena arena = {0};
    inki_draft_index_carve(&index, &arena, n);
    *block = aligned_alloc(INKI_ALIGN, (arena.used + INKI_ALIGN - 1) / INKI_ALIGN * INKI_ALIGN);
    assert_non_null(*block);
    arena = (inki_arena){.base = *block};
    inki_draft_index_carve(&index, &arena, n);
    return index;
}

// The longest match and the latest of those. n_short: places of the last token, n_long: of the last
// three.
static uint32_t by_search(const ink_token *t, uint32_t n, uint32_t *from, int *n_short,
                          int *n_long) {
    uint32_t longest = 0;
    *n_short = *n_long = 0;
    for (uint32_t end = 1; end < n; end++) { // what follows the first `end` tokens
        uint32_t match = 0;
        while (match < end && match < INKI_INDEX_MATCH_MAX &&
               t[end - 1 - match] == t[n - 1 - match])
            match++;
        *n_short += match >= 1;
        *n_long += match >= 3;
        if (match == 0 || match < longest) continue;
        longest = match;
        *from = end;
    }
    return longest;
}

static uint32_t find(const inki_draft_index *index, uint32_t *from) {
    inki_draft_places places;
    const uint32_t match = inki_draft_index_find(index, &places);
    if (match > 0) *from = places.from[0];
    return match;
}

// Each place has as many tokens in common as is said, none is there twice or has more than the
// first.
static bool places_are_true(const inki_draft_index *index, const ink_token *t, uint32_t n) {
    inki_draft_places p;
    const uint32_t longest = inki_draft_index_find(index, &p);
    if (p.n > INKI_INDEX_TRIES || (longest > 0) != (p.n > 0)) return false;
    if (p.n > 0 && p.match[0] != longest) return false;
    for (uint32_t k = 0; k < p.n; k++) {
        uint32_t match = 0;
        while (match < p.from[k] && match < INKI_INDEX_MATCH_MAX &&
               t[p.from[k] - 1 - match] == t[n - 1 - match])
            match++;
        if (p.from[k] >= n || match != p.match[k] || match == 0 || match > longest) return false;
        for (uint32_t j = 0; j < k; j++)
            if (p.from[j] == p.from[k]) return false;
    }
    return true;
}

// The first place of a text is not in a chain: 0 ends those.
static bool agrees(const inki_draft_index *index, const ink_token *t, uint32_t n) {
    uint32_t from = 0, expected_from = 0;
    int n_short = 0, n_long = 0;
    const uint32_t expected = by_search(t, n, &expected_from, &n_short, &n_long);
    const uint32_t found = find(index, &from);
    if (!places_are_true(index, t, n)) return false;
    for (uint32_t i = 0; i < found; i++)
        if (from < found || t[from - 1 - i] != t[n - 1 - i]) return false;
    if (found > 0 && from >= n) return false;
    // A few places are left for tokens that share a chain by chance.
    const bool all_looked_at =
        expected >= 3 ? n_long < INKI_INDEX_TRIES - 8 : n_short < INKI_INDEX_TRIES - 8;
    if (!all_looked_at || expected_from < 2) return true;
    if (expected >= 3 && expected_from < 4) return true;
    return found == expected && from == expected_from;
}

enum { MOST = 400 };

static void test_against_search(void **state) {
    (void)state;
    void *block = NULL;
    inki_draft_index index = new_index(&block, MOST);
    static ink_token t[MOST];
    uint32_t n = 0, found = 0;
    srand(7);
    for (int round = 0; round < 6000; round++) {
        const uint32_t alphabet = round < 2000 ? 3 : round < 4000 ? 20 : 300;
        const int what = rand() % 40;
        if (what == 0 && n > 0) { // rewound
            n = (uint32_t)rand() % n;
        } else if (what == 1 && n > 8) { // a token of the past is another one
            t[(uint32_t)rand() % n] = (ink_token)((uint32_t)rand() % alphabet);
        } else if (what == 2 && n > 40) { // slides
            memmove(t + 4, t + n / 2, (n - n / 2) * sizeof *t);
            n = 4 + n - n / 2;
        } else if (what < 8 && n > 20 && n + 12 < MOST) { // something again
            const uint32_t from = (uint32_t)rand() % (n - 12);
            memmove(t + n, t + from, 12 * sizeof *t);
            n += 12;
        } else {
            if (n + 3 >= MOST) n = (uint32_t)rand() % 100;
            for (int i = rand() % 3; i >= 0; i--) t[n++] = (ink_token)((uint32_t)rand() % alphabet);
        }
        if (n == 0) t[n++] = 1;
        inki_draft_index_set(&index, t, n);
        assert_true(agrees(&index, t, n));
        uint32_t from = 0;
        found += find(&index, &from) >= 3;
    }
    assert_true(found > 500);
    free(block);
}

// What was changed again and again is the same as what is put in at once.
static void test_history_leaves_nothing(void **state) {
    (void)state;
    void *blocks[2] = {NULL, NULL};
    inki_draft_index a = new_index(&blocks[0], MOST), b = new_index(&blocks[1], MOST);
    static ink_token t[MOST];
    srand(11);
    for (int round = 0; round < 200; round++) {
        const uint32_t keep = a.n > 0 ? (uint32_t)rand() % a.n : 0;
        const uint32_t n = 1 + (uint32_t)rand() % MOST;
        for (uint32_t i = keep; i < n; i++) t[i] = rand() % 5;
        inki_draft_index_set(&a, t, n);
        inki_draft_index_set(&b, t, 0);
        inki_draft_index_set(&b, t, n);
        for (int k = 0; k < 2; k++) {
            assert_memory_equal(a.latest[k], b.latest[k], sizeof *a.latest[k] << a.bits);
            // The first places stand in no chain.
            assert_memory_equal(a.before[k] + 3, b.before[k] + 3,
                                n > 3 ? (n - 3) * sizeof *a.before[k] : 0);
        }
    }
    inki_draft_index_set(&b, t, 0);
    for (uint32_t i = 0; i < (uint32_t)1 << b.bits; i++)
        assert_true(b.latest[0][i] == 0 && b.latest[1][i] == 0);
    free(blocks[0]);
    free(blocks[1]);
}

static void test_long_runs(void **state) {
    (void)state;
    enum { N = 100000 };
    void *block = NULL;
    inki_draft_index index = new_index(&block, N);
    ink_token *t = calloc(N, sizeof *t);
    uint32_t from = 0;
    assert_non_null(t);
    inki_draft_index_set(&index, t, N); // one token, all the time
    assert_int_equal(find(&index, &from), INKI_INDEX_MATCH_MAX);
    assert_int_equal(from, N - 1);
    for (uint32_t i = 0; i < N; i++) t[i] = (ink_token)i; // nothing comes again
    inki_draft_index_set(&index, t, N);
    assert_int_equal(find(&index, &from), 0);
    t[N - 2] = 50, t[N - 1] = 51;
    inki_draft_index_set(&index, t, N);
    assert_int_equal(find(&index, &from), 2);
    assert_int_equal(from, 52);
    inki_draft_index_set(&index, t, 1);
    assert_int_equal(find(&index, &from), 0);
    inki_draft_index_set(&index, t, 0);
    assert_int_equal(find(&index, &from), 0);
    free(t);
    free(block);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_search),
        cmocka_unit_test(test_history_leaves_nothing),
        cmocka_unit_test(test_long_runs),
    };
    return cmocka_run_group_tests_name("draft index", tests, NULL, NULL);
}
