// SPDX-License-Identifier: MIT
// Sequences of tokens: each document once an epoch, in orders that depend on the seed alone.
#include "train/data.h"

#include "heap.h"
#include "tests/train/data_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { N_DOCUMENTS = 30 };

static data_fixture fixture;

// Lengths of documents 1 to 40 whose tokens, ends included, are `total` in all.
static void make_lengths(int *n_of, int n, int total, uint32_t seed) {
    int left = total - 2 * n;
    for (int i = 0; i < n; i++) {
        const int most = left < 39 ? left : 39;
        n_of[i] = 1 + (int)(next_random(&seed) % (uint32_t)(most + 1));
        left -= n_of[i] - 1;
    }
    n_of[n - 1] += left;
}

// Which document's token it is, or N_DOCUMENTS; *inside: its place in it.
static int find_pair(const int *n_of, int n, int32_t id, int *inside) {
    int k = id - FIRST_PAIR;
    for (int d = 0; d < n; d++) {
        if (k < n_of[d]) {
            *inside = k;
            return d;
        }
        k -= n_of[d];
    }
    fail_msg("token %d is of no document", (int)id);
    return n;
}

// What stands behind a token is what stands behind it in its document, or the end, and behind the
// end the beginning of a document.
static void check_step(const int *n_of, int n, int32_t from, int32_t to) {
    int at = -1, next = -1;
    if (from == fixture.end) {
        find_pair(n_of, n, to, &next);
        assert_int_equal(next, 0);
        return;
    }
    const int d = find_pair(n_of, n, from, &at);
    if (to == fixture.end) {
        assert_int_equal(at, n_of[d] - 1);
        return;
    }
    assert_int_equal(find_pair(n_of, n, to, &next), d);
    assert_int_equal(next, at + 1);
}

static void count_targets(const int *n_of, const int32_t *ids, size_t n, int *counts, int *n_ends) {
    for (size_t i = 0; i < n; i++) {
        check_step(n_of, N_DOCUMENTS, ids[i], ids[i + 1]);
        if (ids[i + 1] == fixture.end)
            ++*n_ends;
        else
            counts[ids[i + 1] - FIRST_PAIR]++;
    }
}

static inki_data *open_documents(const int *n_of, uint32_t n_ctx, uint64_t seed) {
    text t = {0};
    inki_data *data = NULL;
    const inki_data_options options = {.n_ctx = n_ctx, .seed = seed};
    text_documents(&t, n_of, N_DOCUMENTS);
    assert_int_equal(data_from(&data, &fixture, &t, &options, NULL, NULL), INK_OK);
    text_free(&t);
    return data;
}

// An epoch of a length that the context divides: every token is a target once.
static void test_each_document_once_an_epoch(void **state) {
    (void)state;
    static const uint32_t contexts[] = {1, 2, 8, 30, 120, 240};
    int n_of[N_DOCUMENTS];
    make_lengths(n_of, N_DOCUMENTS, 480, 7);
    for (size_t c = 0; c < sizeof contexts / sizeof contexts[0]; c++) {
        const uint32_t n_ctx = contexts[c];
        inki_data *data = open_documents(n_of, n_ctx, 5);
        assert_int_equal(inki_data_get_stats(data)->n_tokens, 480);
        assert_int_equal(inki_data_get_stats(data)->n_documents, N_DOCUMENTS);
        assert_int_equal(inki_data_epoch_sequences(data), 480 / n_ctx);
        int32_t ids[256];
        for (uint64_t epoch = 0; epoch < 5; epoch++) {
            int counts[N_PAIRS] = {0}, n_ends = 0;
            for (uint64_t i = 0; i < 480 / n_ctx; i++) {
                inki_data_sequence(data, epoch * (480 / n_ctx) + i, ids);
                count_targets(n_of, ids, n_ctx, counts, &n_ends);
            }
            assert_int_equal(n_ends, N_DOCUMENTS);
            for (int k = 0; k < 480 - N_DOCUMENTS; k++) assert_int_equal(counts[k], 1);
        }
        inki_data_free(data);
    }
}

// Where the context does not divide it, sequences go over the borders of epochs: after n_ctx epochs
// every token was a target n_ctx times.
static void test_borders_of_epochs(void **state) {
    (void)state;
    int n_of[N_DOCUMENTS];
    for (uint32_t n_ctx = 3; n_ctx < 90; n_ctx += 10) {
        const int total = 487;
        make_lengths(n_of, N_DOCUMENTS, total, n_ctx);
        inki_data *data = open_documents(n_of, n_ctx, 9);
        int32_t ids[128];
        int counts[N_PAIRS] = {0}, n_ends = 0;
        for (uint64_t i = 0; i < (uint64_t)total; i++) {
            inki_data_sequence(data, i, ids);
            count_targets(n_of, ids, n_ctx, counts, &n_ends);
        }
        assert_int_equal(n_ends, N_DOCUMENTS * (int)n_ctx);
        for (int k = 0; k < total - N_DOCUMENTS; k++) assert_int_equal(counts[k], n_ctx);
        inki_data_free(data);
    }
}

// The first `n` sequences after one another.
static int32_t *take_sequences(inki_data *data, size_t n, uint32_t n_ctx) {
    int32_t *ids = malloc(n * (n_ctx + 1) * sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < n; i++) inki_data_sequence(data, i, ids + i * (n_ctx + 1));
    return ids;
}

static void test_orders(void **state) {
    (void)state;
    enum { CONTEXT = 16, N = 60, BYTES = (CONTEXT + 1) * sizeof(int32_t) };
    int n_of[N_DOCUMENTS];
    make_lengths(n_of, N_DOCUMENTS, 480, 3);
    inki_data *data = open_documents(n_of, CONTEXT, 1), *same = open_documents(n_of, CONTEXT, 1);
    inki_data *other = open_documents(n_of, CONTEXT, 2);
    int32_t *a = take_sequences(data, N, CONTEXT), *b = take_sequences(same, N, CONTEXT);
    int32_t *c = take_sequences(other, N, CONTEXT);
    assert_memory_equal(a, b, N * BYTES);
    // Epochs have 30 sequences. Chance lets a few agree, if any.
    int same_seed = 0, same_epoch = 0;
    for (size_t i = 0; i < 30; i++) {
        same_seed += memcmp(a + i * (CONTEXT + 1), c + i * (CONTEXT + 1), BYTES) == 0;
        same_epoch += memcmp(a + i * (CONTEXT + 1), a + (30 + i) * (CONTEXT + 1), BYTES) == 0;
    }
    assert_true(same_seed < 5);
    assert_true(same_epoch < 5);
    free(a);
    free(b);
    free(c);
    inki_data_free(data);
    inki_data_free(same);
    inki_data_free(other);
}

// One long document: an epoch's sequences are its stretches, but not in its order.
static void test_order_within_a_document(void **state) {
    (void)state;
    enum { CONTEXT = 5, N = 600 / CONTEXT };
    text t = {0};
    text_documents(&t, (int[]){599}, 1);
    inki_data *data = NULL;
    const inki_data_options options = {.n_ctx = CONTEXT, .seed = 11};
    assert_int_equal(data_from(&data, &fixture, &t, &options, NULL, NULL), INK_OK);
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        int32_t ids[CONTEXT + 1], last = -1;
        int n_next = 0;
        for (uint64_t i = 0; i < N; i++) {
            inki_data_sequence(data, epoch * N + i, ids);
            n_next += ids[0] == last;
            last = ids[CONTEXT];
        }
        assert_true(n_next < 8); // 1 is expected
    }
    inki_data_free(data);
    text_free(&t);
}

// Every order of three documents comes, about as often as any other.
static void test_orders_are_even(void **state) {
    (void)state;
    enum { N_EPOCHS = 6000 };
    text t = {0};
    text_documents(&t, (int[]){1, 1, 1}, 3);
    inki_data *data = NULL;
    const inki_data_options options = {.n_ctx = 3, .seed = 11};
    assert_int_equal(data_from(&data, &fixture, &t, &options, NULL, NULL), INK_OK);
    int counts[27] = {0};
    for (uint64_t epoch = 0; epoch < N_EPOCHS; epoch++) {
        int32_t row[8] = {0}, ids[4], n = 0;
        // Two windows of three targets in any order: the one that begins behind an end token and
        // whose first document is whole is the first one of "x E y", "E z E".
        inki_data_sequence(data, 2 * epoch, ids);
        const int late = ids[0] != fixture.end;
        memcpy(row + 3 * late, ids + 1, 3 * sizeof *ids);
        inki_data_sequence(data, 2 * epoch + 1, ids);
        assert_int_equal(ids[0] != fixture.end, !late);
        memcpy(row + 3 * !late, ids + 1, 3 * sizeof *ids);
        for (int i = 0; i < 6; i += 2) n = n * 3 + row[i] - FIRST_PAIR;
        for (int i = 1; i < 6; i += 2) assert_int_equal(row[i], fixture.end);
        counts[n]++;
    }
    // Six orders, 1000 each: a standard deviation is 29.
    static const int orders[6] = {5, 7, 11, 15, 19, 21};
    for (int i = 0; i < 6; i++) assert_in_range(counts[orders[i]], 880, 1120);
    inki_data_free(data);
    text_free(&t);
}

// Texts with line ends, some of which are doubled.
static void make_lines(text *t, int n, uint32_t seed) {
    for (int d = 0; d < n; d++) {
        if (d > 0) text_put(t, "\n<|endoftext|>\n");
        for (uint32_t lines = next_random(&seed) % 6 + 1; lines > 0; lines--) {
            for (uint32_t k = next_random(&seed) % 9 + 1; k > 0; k--)
                text_pair(t, (int)(next_random(&seed) % N_PAIRS));
            text_put(t, lines % 3 == 0 ? "\n\n" : lines % 4 == 0 ? "\r\n" : "\n");
        }
    }
}

static void test_any_place_is_the_same(void **state) {
    (void)state;
    enum { CONTEXT = 20, N = 700 };
    uint32_t seed = 77;
    text t = {0};
    make_lines(&t, 40, 5);
    for (int p = 0; p <= 10; p += 5) {
        inki_data *data = NULL;
        const inki_data_options options = {.n_ctx = CONTEXT, .seed = 3, .blank_lines = p / 10.0};
        assert_int_equal(data_from(&data, &fixture, &t, &options, NULL, NULL), INK_OK);
        assert_true(inki_data_epoch_sequences(data) < N / 5);
        int32_t *ids = take_sequences(data, N, CONTEXT), one[CONTEXT + 1];
        for (int i = 0; i < 300; i++) {
            const size_t at = next_random(&seed) % N;
            inki_data_sequence(data, at, one);
            assert_memory_equal(one, ids + at * (CONTEXT + 1), sizeof one);
        }
        inki_data_sequence(data, (uint64_t)1 << 20, one); // far away
        inki_data_sequence(data, 0, one);
        assert_memory_equal(one, ids, sizeof one);
        free(ids);
        inki_data_free(data);
    }
    text_free(&t);
}

// The same numbers and sequences, whatever the number of threads. Some megabytes, so that there are
// several pieces to take.
static void test_any_number_of_threads(void **state) {
    (void)state;
    enum { CONTEXT = 64, N = 300 };
    static const uint32_t n_threads[] = {1, 2, 5};
    const inki_mem mem = inki_mem_from(NULL);
    text t = {0};
    make_lines(&t, 60000, 9);
    assert_true(t.n > 3u << 20);
    inki_data *data = NULL;
    const inki_data_options options = {
        .n_ctx = CONTEXT, .seed = 8, .held_out = 0.1, .blank_lines = 0.3};
    assert_int_equal(data_from(&data, &fixture, &t, &options, NULL, NULL), INK_OK);
    int32_t *ids = take_sequences(data, N, CONTEXT);
    for (size_t i = 0; i < sizeof n_threads / sizeof n_threads[0]; i++) {
        inki_pool *pool = NULL;
        inki_data *other = NULL;
        assert_int_equal(inki_pool_new(&pool, &mem, n_threads[i], NULL), INK_OK);
        assert_int_equal(data_from(&other, &fixture, &t, &options, pool, NULL), INK_OK);
        assert_true(inki_pool_enter(pool)); // it was given back
        inki_pool_leave(pool);
        inki_pool_free(pool);
        int32_t *others = take_sequences(other, N, CONTEXT);
        assert_memory_equal(inki_data_get_stats(other), inki_data_get_stats(data),
                            sizeof(inki_data_stats));
        assert_memory_equal(others, ids, N * (CONTEXT + 1) * sizeof *ids);
        free(others);
        inki_data_free(other);
    }
    free(ids);
    inki_data_free(data);
    text_free(&t);
}

// Ids of 16 and of 32 bits: the same sequences but for the end token's number.
static void test_large_vocabulary(void **state) {
    (void)state;
    enum { CONTEXT = 24, N = 100 };
    data_fixture large;
    data_fixture_init(&large, 66000, 1);
    assert_true(large.end > UINT16_MAX);
    text t = {0};
    make_lines(&t, 50, 21);
    inki_data *narrow = NULL, *wide = NULL;
    const inki_data_options options = {
        .n_ctx = CONTEXT, .seed = 8, .held_out = 0.2, .blank_lines = 0.5};
    assert_int_equal(data_from(&narrow, &fixture, &t, &options, NULL, NULL), INK_OK);
    assert_int_equal(data_from(&wide, &large, &t, &options, NULL, NULL), INK_OK);
    int32_t a[CONTEXT + 1], b[CONTEXT + 1];
    uint32_t n_a, n_b;
    for (uint64_t i = 0; i < N; i++) {
        inki_data_sequence(narrow, i, a);
        inki_data_sequence(wide, i, b);
        for (int k = 0; k <= CONTEXT; k++)
            assert_int_equal(b[k], a[k] == fixture.end ? large.end : a[k]);
        const bool more = inki_data_held_sequence(narrow, i, a, &n_a);
        assert_int_equal(inki_data_held_sequence(wide, i, b, &n_b), more);
        for (int k = 0; more && k <= CONTEXT; k++)
            assert_int_equal(b[k], a[k] == fixture.end ? large.end : a[k]);
    }
    inki_data_free(narrow);
    inki_data_free(wide);
    text_free(&t);
    data_fixture_free(&large);
}

static void test_share_of_blank_lines(void **state) {
    (void)state;
    enum { N = 200, N_EPOCHS = 50, TOKENS = 4 * N };
    static const double shares[] = {0, 0.25, 0.5, 1};
    text t = {0};
    for (int d = 0; d < N; d++) { // "Aa\nBb" and the end: 4 tokens, or 5
        if (d > 0) text_put(&t, "<|endoftext|>");
        text_pair(&t, 2 * d);
        text_put(&t, "\n");
        text_pair(&t, 2 * d + 1);
    }
    for (size_t s = 0; s < 4; s++) {
        inki_data *data = NULL;
        const inki_data_options options = {.n_ctx = 40, .seed = 8, .blank_lines = shares[s]};
        assert_int_equal(data_from(&data, &fixture, &t, &options, NULL, NULL), INK_OK);
        assert_int_equal(inki_data_get_stats(data)->n_tokens, TOKENS);
        int32_t ids[41];
        uint64_t n_ends = 0, n_lines = 0, doubled[N] = {0};
        int last = -1;
        for (uint64_t i = 0; n_ends < N * N_EPOCHS; i++) {
            inki_data_sequence(data, i, ids);
            for (int k = 1; k <= 40; k++) {
                n_ends += ids[k] == fixture.end;
                n_lines += ids[k] == '\n';
                if (ids[k] == '\n' && ids[k - 1] == '\n' && last >= 0) doubled[last]++;
                if (ids[k] >= FIRST_PAIR && ids[k] < FIRST_PAIR + 2 * N)
                    last = (ids[k] - FIRST_PAIR) / 2;
            }
        }
        // 10,000 draws: a standard deviation is at most 0.005.
        const double share = (double)n_lines / (double)n_ends - 1;
        assert_true(share > shares[s] - 0.025 && share < shares[s] + 0.025);
        // And not always the same documents.
        for (int d = 0; d < N && shares[s] > 0 && shares[s] < 1; d++)
            assert_in_range(doubled[d], 1, N_EPOCHS - 1);
        inki_data_free(data);
    }
    text_free(&t);
}

// All memory is given back, whichever request fails.
static void test_without_memory(void **state) {
    (void)state;
    text t = {0};
    make_lines(&t, 50, 2);
    const inki_str s = {t.data, t.n};
    const inki_data_options options = {.n_ctx = 32, .seed = 8, .held_out = 0.1, .blank_lines = 0.3};
    ink_status status = INK_E_NOMEM;
    for (size_t n = 1; status != INK_OK; n++) {
        heap h = {0};
        const ink_allocator allocator = heap_allocator(&h);
        const inki_mem mem = inki_mem_from(&allocator);
        inki_data *data = NULL;
        ink_error error = {0};
        h.fail_at = n;
        status =
            inki_data_new(&data, fixture.tokenizer, &s, 1, NULL, 0, &options, NULL, &mem, &error);
        if (status != INK_OK) {
            assert_int_equal(status, INK_E_NOMEM);
            assert_int_equal(error.status, INK_E_NOMEM);
            assert_non_null(strstr(error.message, "out of memory"));
            assert_null(data);
        }
        inki_data_free(data);
        assert_int_equal(h.live_bytes, 0);
        assert_int_equal(h.live_blocks, 0);
        assert_int_equal(h.wrong_releases, 0);
        assert_true(n < 1000);
        if (status == INK_OK) assert_true(n > 10);
    }
    text_free(&t);
}

int main(void) {
    data_fixture_init(&fixture, 0, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_document_once_an_epoch),
        cmocka_unit_test(test_borders_of_epochs),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_order_within_a_document),
        cmocka_unit_test(test_orders_are_even),
        cmocka_unit_test(test_any_place_is_the_same),
        cmocka_unit_test(test_any_number_of_threads),
        cmocka_unit_test(test_large_vocabulary),
        cmocka_unit_test(test_share_of_blank_lines),
        cmocka_unit_test(test_without_memory),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    data_fixture_free(&fixture);
    return failed;
}
