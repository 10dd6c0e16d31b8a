// SPDX-License-Identifier: MIT
// From texts to documents: where they are cut, what is held out, which texts are refused.
#include "train/data.h"

#include "tests/train/data_fixture.h"
#include "base/checksum.h"
#include "train/data_parts.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static data_fixture fixture;

static inki_str str(const char *s) { return (inki_str){s, strlen(s)}; }

static bool has_document(const inki_documents *documents, const char *wanted) {
    for (size_t i = 0; i < documents->n; i++)
        if (inki_str_equal(documents->list[i].text, wanted)) return true;
    return false;
}

static void check_cut(const inki_str *texts, size_t n_texts, const char *const *expected,
                      size_t n_expected) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_documents documents;
    assert_int_equal(inki_documents_cut(&documents, texts, n_texts, &mem, NULL), INK_OK);
    assert_int_equal(documents.n, n_expected);
    for (size_t i = 0; i < n_expected; i++) assert_true(has_document(&documents, expected[i]));
    for (size_t i = 1; i < documents.n; i++)
        assert_true(documents.list[i - 1].hash <= documents.list[i].hash);
    inki_documents_free(&documents);
    inki_documents_free(&documents);
}

static void test_cutting(void **state) {
    (void)state;
    check_cut((inki_str[]){str("A<|endoftext|>B")}, 1, (const char *[]){"A", "B"}, 2);
    check_cut(
        (inki_str[]){str("  \n<|endoftext|>\r\n\n  A b\n c\t \n<|endoftext|>  <|endoftext|>B")}, 1,
        (const char *[]){"A b\n c", "B"}, 2);
    check_cut((inki_str[]){str("<|endoftext|>"), str(""), str(" \n ")}, 3, NULL, 0);
    check_cut((inki_str[]){{NULL, 0}}, 1, NULL, 0);
    check_cut(NULL, 0, NULL, 0);
    // Each text ends a document; a part of a separator is text.
    check_cut((inki_str[]){str("A<|endof"), str("text|>B\n"), str("<|<|endoftext|>endoftext|>")}, 3,
              (const char *[]){"A<|endof", "text|>B", "<|", "endoftext|>"}, 4);
    check_cut((inki_str[]){str("A<|endoftext|"), str("B<")}, 2,
              (const char *[]){"A<|endoftext|", "B<"}, 2);
    check_cut((inki_str[]){str("\xe3\x80\x80\xe6\x98\xa5 \n<|endoftext|>\xff")}, 1,
              (const char *[]){"\xe3\x80\x80\xe6\x98\xa5", "\xff"}, 2);
}

static void test_doubled_lines(void **state) {
    (void)state;
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"", ""},
        {"a", "a"},
        {"a\nb", "a\n\nb"},
        {"a\n\nb", "a\n\nb"},
        {"a\n\n\nb\nc", "a\n\n\nb\n\nc"},
        {"a\r\nb", "a\r\n\r\nb"},
        {"a\r\n\r\nb", "a\r\n\r\nb"},
        {"a\r\n\nb\n\r\nc", "a\r\n\nb\n\r\nc"},
        {"a\rb\r", "a\rb\r"},
        {"\n", "\n\n"},
        {"\na\n", "\n\na\n\n"},
        {"a\n \nb", "a\n\n \n\nb"},
        {"a\r", "a\r"},
        {"\r\r\n", "\r\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[64];
        const inki_str from = str(cases[i].from);
        const size_t n = inki_lines_double(from, out);
        assert_int_equal(n, strlen(cases[i].to));
        assert_memory_equal(out, cases[i].to, n);
        assert_int_equal(n, from.bytes + inki_lines_single(from));
    }
}

// Which tokens are learnt from in the first n sequences, and which are held out.
typedef struct sides {
    bool learnt[N_PAIRS], held[N_PAIRS];
    int n_held;
} sides;

static void find_sides(inki_data *data, uint32_t n_ctx, sides *s) {
    int32_t ids[512];
    uint32_t n_targets = 0;
    *s = (sides){0};
    for (uint64_t i = 0; i < 4 * inki_data_epoch_sequences(data); i++) {
        inki_data_sequence(data, i, ids);
        for (uint32_t k = 0; k <= n_ctx; k++)
            if (ids[k] >= FIRST_PAIR && ids[k] < FIRST_PAIR + N_PAIRS)
                s->learnt[ids[k] - FIRST_PAIR] = true;
    }
    uint64_t all = 0;
    for (uint64_t i = 0; inki_data_held_sequence(data, i, ids, &n_targets); i++) {
        assert_in_range(n_targets, 1, n_ctx);
        for (uint32_t k = 0; k <= n_ctx; k++) {
            if (ids[k] >= FIRST_PAIR && ids[k] < FIRST_PAIR + N_PAIRS)
                s->held[ids[k] - FIRST_PAIR] = true;
            if (k > n_targets) assert_int_equal(ids[k], fixture.end);
        }
        all += n_targets;
    }
    assert_int_equal(all, inki_data_get_stats(data)->n_held_tokens);
    for (int k = 0; k < N_PAIRS; k++) s->n_held += s->held[k];
}

static void held_of(const text *t, double share, uint64_t seed, double blank_lines, sides *s,
                    inki_data_stats *stats) {
    inki_data *data = NULL;
    const inki_data_options options = {
        .n_ctx = 16, .seed = seed, .held_out = share, .blank_lines = blank_lines};
    assert_int_equal(data_from(&data, &fixture, t, &options, NULL, NULL), INK_OK);
    find_sides(data, 16, s);
    if (stats != NULL) *stats = *inki_data_get_stats(data);
    inki_data_free(data);
}

// N documents of 4 tokens.
static void make_small(text *t, int n) {
    int n_of[N_PAIRS / 4];
    for (int i = 0; i < n; i++) n_of[i] = 4;
    text_documents(t, n_of, n);
}

static void test_held_out(void **state) {
    (void)state;
    static const double shares[] = {0.001, 0.01, 0.1, 0.3, 0.5, 0.9};
    text t = {0};
    make_small(&t, 169);
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        sides first, other;
        inki_data_stats stats;
        held_of(&t, shares[i], 1, 0, &first, &stats);
        held_of(&t, shares[i], 2, 0.5, &other, NULL);
        assert_memory_equal(first.held, other.held, sizeof first.held);
        for (int k = 0; k < N_PAIRS; k++) {
            assert_true(first.learnt[k] != first.held[k]);
            assert_true(other.learnt[k] != other.held[k]);
        }
        assert_int_equal(stats.n_documents + stats.n_held, 169);
        assert_int_equal(stats.n_tokens + stats.n_held_tokens,
                         stats.n_documents + stats.n_held + N_PAIRS);
        const double wanted = shares[i] * N_PAIRS;
        assert_true(first.n_held > 0 && first.n_held >= wanted - 4 && first.n_held <= wanted + 4);
    }
    sides none;
    inki_data_stats stats;
    held_of(&t, 0, 1, 0, &none, &stats);
    assert_int_equal(none.n_held, 0);
    assert_int_equal(stats.n_held + stats.n_held_tokens + stats.n_held_bytes, 0);
    text_free(&t);
}

// Neither the order of documents nor others that come to them move one to the other side.
static void test_held_out_stays(void **state) {
    (void)state;
    text t = {0}, turned = {0}, more = {0};
    make_small(&t, 80);
    for (int d = 79; d >= 0; d--) {
        for (int j = 0; j < 4; j++) text_pair(&turned, 4 * d + j);
        text_put(&turned, "\n<|endoftext|>\n");
    }
    make_small(&more, 160);
    sides a, b, c;
    held_of(&t, 0.1, 1, 0, &a, NULL);
    held_of(&turned, 0.1, 1, 0, &b, NULL);
    held_of(&more, 0.1, 1, 0, &c, NULL);
    assert_memory_equal(a.held, b.held, sizeof a.held);
    int gone = 0, come = 0;
    for (int k = 0; k < 320; k++) {
        gone += a.held[k] && !c.held[k];
        come += !a.held[k] && c.held[k];
    }
    assert_true(gone == 0 || come == 0);
    assert_true(gone < a.n_held && come < a.n_held);
    text_free(&t);
    text_free(&turned);
    text_free(&more);
}

// What stands in the text several times is on one side, all of it.
static void test_equal_documents(void **state) {
    (void)state;
    text t = {0};
    for (int i = 0; i < 5; i++) {
        if (i > 0) text_put(&t, "\n<|endoftext|>");
        make_small(&t, 60);
    }
    for (int share = 1; share < 9; share++) {
        sides s;
        inki_data_stats stats;
        held_of(&t, share / 10.0, 1, 0.5, &s, &stats);
        for (int k = 0; k < 240; k++) assert_true(s.learnt[k] != s.held[k]);
        assert_int_equal(stats.n_held, 5 * s.n_held / 4);
    }
    text_free(&t);
}

// Documents that are far larger than the part that is wanted: the end of the longest.
static void test_few_documents(void **state) {
    (void)state;
    static const int lengths[3][3] = {{600, 0, 0}, {200, 0, 0}, {150, 300, 200}};
    static const int first_held[3] = {540, 180, 385}, n_held[3] = {60, 20, 65};
    for (int i = 0; i < 3; i++) {
        text t = {0};
        sides s;
        inki_data_stats stats;
        const int n = lengths[i][1] > 0 ? 3 : 1;
        text_documents(&t, lengths[i], n);
        held_of(&t, 0.1, 1, 0, &s, &stats);
        for (int k = 0; k < N_PAIRS; k++) {
            const bool held = k >= first_held[i] && k < first_held[i] + n_held[i];
            assert_int_equal(s.held[k], held);
            if (k < lengths[i][0] + lengths[i][1] + lengths[i][2])
                assert_int_equal(s.learnt[k], !held);
        }
        assert_int_equal(stats.n_documents, n);
        assert_int_equal(stats.n_held, 1);
        assert_int_equal(stats.n_held_bytes, 2 * n_held[i]);
        text_free(&t);
    }
}

// The end begins with a line where there is one, and never within a character.
static void test_end_of_a_text(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    for (int lines = 0; lines < 2; lines++)
        for (int share = 1; share < 60; share++) {
            text t = {0};
            for (int i = 0; i < 40; i++)
                text_put(&t, i % 4 == 3 && lines ? "\xe6\x98\xa5\n" : "\xe6\x98\xa5");
            inki_documents documents;
            const inki_str s = {t.data, t.n};
            assert_int_equal(inki_documents_cut(&documents, &s, 1, &mem, NULL), INK_OK);
            assert_int_equal(inki_documents_hold_out(&documents, share / 100.0), 1);
            assert_int_equal(documents.n, 2);
            const inki_str tail = documents.list[0].text, head = documents.list[1].text;
            assert_true(head.data == t.data && tail.data >= head.data + head.bytes);
            assert_true(tail.data + tail.bytes == t.data + t.n - (lines ? 1 : 0));
            assert_memory_equal(tail.data, "\xe6\x98\xa5", 3);
            if (lines && share > 20) assert_int_equal(tail.data[-1], '\n');
            const double wanted = share / 100.0 * (double)t.n;
            assert_true((double)tail.bytes < wanted + 4 && (double)tail.bytes > wanted / 2 - 2);
            for (int i = 0; i < 2; i++)
                assert_true(
                    documents.list[i].hash ==
                    inki_checksum_of(documents.list[i].text.data, documents.list[i].text.bytes));
            inki_documents_free(&documents);
            text_free(&t);
        }
}

// Both variants are there, and the sequences are the same each time.
static void test_held_variants(void **state) {
    (void)state;
    text t = {0};
    for (int d = 0; d < 200; d++) {
        if (d > 0) text_put(&t, "<|endoftext|>");
        text_pair(&t, 2 * d);
        text_put(&t, "\n");
        text_pair(&t, 2 * d + 1);
    }
    const inki_mem mem = inki_mem_from(NULL);
    const inki_str validation = {t.data, t.n};
    const inki_str learnt = str("ZaZbZcZdZeZfZgZh\nZa");
    for (int p = 0; p < 2; p++) {
        const inki_data_options options = {.n_ctx = 7, .seed = 4, .blank_lines = p * 0.1};
        inki_data *data = NULL;
        assert_int_equal(inki_data_new(&data, fixture.tokenizer, &learnt, 1, &validation, 1,
                                       &options, NULL, &mem, NULL),
                         INK_OK);
        const inki_data_stats *stats = inki_data_get_stats(data);
        assert_int_equal(stats->n_held, 200);
        assert_int_equal(stats->n_documents, 1);
        assert_int_equal(stats->n_bytes, t.n + learnt.bytes);
        int32_t ids[8], again[8];
        uint32_t n_targets, same;
        int n_lines = 0, n_ends = 0;
        for (uint64_t i = 0; inki_data_held_sequence(data, i, ids, &n_targets); i++) {
            if (i == 0) assert_int_equal(ids[0], fixture.end);
            for (uint32_t k = 1; k <= n_targets; k++) {
                n_lines += ids[k] == '\n';
                n_ends += ids[k] == fixture.end;
            }
            inki_data_sequence(data, i, again);
            assert_true(inki_data_held_sequence(data, i, again, &same));
            assert_memory_equal(ids, again, sizeof ids);
            assert_int_equal(same, n_targets);
        }
        assert_int_equal(n_ends, 200);
        if (p == 0) assert_int_equal(n_lines, 200);
        if (p == 1) assert_in_range(n_lines, 270, 330); // a deviation is 7
        assert_int_equal(stats->n_held_tokens, 600 + n_lines);
        assert_false(inki_data_held_sequence(data, UINT64_MAX, ids, &n_targets));
        inki_data_free(data);
    }
    text_free(&t);
}

// Bytes that are no text come back as they are, and are counted.
static void test_invalid_bytes(void **state) {
    (void)state;
    static const char bytes[] = "Za\xff\xfe \xc3\xa9\xc3 \xed\xa0\x80<s>\r\n\x80\0|";
    const inki_mem mem = inki_mem_from(NULL);
    const inki_str s = {bytes, sizeof bytes - 1};
    const inki_data_options options = {.n_ctx = 2, .seed = 4};
    inki_data *data = NULL;
    assert_int_equal(
        inki_data_new(&data, fixture.tokenizer, &s, 1, NULL, 0, &options, NULL, &mem, NULL),
        INK_OK);
    const inki_data_stats *stats = inki_data_get_stats(data);
    assert_int_equal(stats->n_invalid, 7);
    assert_int_equal(stats->n_bytes, s.bytes);
    inki_data_free(data);
    // The same as held-out part: its sequences are in the text's order.
    const inki_str other = str("ZaZbZcZdZe");
    assert_int_equal(
        inki_data_new(&data, fixture.tokenizer, &other, 1, &s, 1, &options, NULL, &mem, NULL),
        INK_OK);
    assert_int_equal(inki_data_get_stats(data)->n_invalid, 7);
    char got[64];
    size_t n = 0;
    int32_t ids[3];
    uint32_t n_targets;
    for (uint64_t i = 0; inki_data_held_sequence(data, i, ids, &n_targets); i++)
        for (uint32_t k = 1; k <= n_targets && ids[k] != fixture.end; k++) {
            const inki_str piece = inki_tokenizer_piece(fixture.tokenizer, ids[k]);
            memcpy(got + n, piece.data, piece.bytes);
            n += piece.bytes;
        }
    assert_int_equal(n, s.bytes);
    assert_memory_equal(got, bytes, n);
    inki_data_free(data);
}

static ink_status try_text(const char *from, uint32_t n_ctx, double held_out, double blank_lines,
                           const char *validation, ink_error *error) {
    const inki_mem mem = inki_mem_from(NULL);
    const inki_str s = str(from), v = str(validation != NULL ? validation : "");
    const inki_data_options options = {
        .n_ctx = n_ctx, .seed = 4, .held_out = held_out, .blank_lines = blank_lines};
    inki_data *data = NULL;
    *error = (ink_error){0};
    const ink_status status = inki_data_new(&data, fixture.tokenizer, &s, 1, &v, validation != NULL,
                                            &options, NULL, &mem, error);
    assert_int_equal(status == INK_OK, data != NULL);
    assert_int_equal(status, error->status);
    assert_int_equal(status == INK_OK, error->message[0] == 0);
    assert_null(strchr(error->message, '\n'));
    inki_data_free(data);
    return status;
}

static void test_refused(void **state) {
    (void)state;
    ink_error e;
    assert_int_equal(try_text("", 4, 0, 0, NULL, &e), INK_E_ARG);
    assert_non_null(strstr(e.message, "empty"));
    assert_int_equal(try_text(" \n<|endoftext|> \r\n", 4, 0.1, 0.5, NULL, &e), INK_E_ARG);
    assert_non_null(strstr(e.message, "empty"));
    assert_int_equal(try_text("AaAbAcAd", 4, 0, 0, NULL, &e), INK_OK);
    assert_int_equal(try_text("AaAbAcAd", 5, 0, 0, NULL, &e), INK_E_ARG);
    assert_string_equal(e.message, "text: it has 5 tokens to learn from; a context of 5 needs at "
                                   "least 6: more text or a smaller context is needed");
    assert_int_equal(try_text("AaAbAcAd", 4, 0.3, 0, NULL, &e), INK_E_ARG);
    assert_non_null(strstr(e.message, "besides the held-out part"));
    assert_int_equal(try_text("A", 1, 0.3, 0, NULL, &e), INK_OK); // too short to be cut
    assert_int_equal(try_text("AaAbAcAd", 4, 0.3, 0, " \n", &e), INK_E_ARG);
    assert_non_null(strstr(e.message, "validation text"));
    assert_int_equal(try_text("AaAbAcAd", 4, 0.3, 0, "a", &e), INK_OK);
    assert_int_equal(try_text("AaAbAcAd", 0, 0, 0, NULL, &e), INK_E_ARG);
    assert_int_equal(try_text("AaAbAcAd", UINT32_MAX, 0, 0, NULL, &e), INK_E_ARG);
    assert_int_equal(try_text("AaAbAcAd", INT32_MAX, 0, 0, NULL, &e), INK_E_ARG);
    static const double wrong[] = {-0.01, 1.01, INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(try_text("AaAbAcAd", 4, wrong[i], 0, NULL, &e), INK_E_ARG);
        assert_non_null(strstr(e.message, "held-out"));
        assert_int_equal(try_text("AaAbAcAd", 4, 0, wrong[i], NULL, &e), INK_E_ARG);
        assert_non_null(strstr(e.message, "blank lines"));
    }
    data_fixture endless;
    data_fixture_init(&endless, 0, 0);
    const text t = {.data = "AaAbAcAd", .n = 8};
    inki_data *data = NULL;
    const inki_data_options options = {.n_ctx = 4};
    assert_int_equal(data_from(&data, &endless, &t, &options, NULL, &e), INK_E_ARG);
    assert_non_null(strstr(e.message, "end token"));
    assert_null(data);
    data_fixture_free(&endless);
    inki_data_free(NULL);
}

// Each byte of the text, and each way to learn from it, has a fingerprint of its own.
static void test_fingerprints(void **state) {
    (void)state;
    text t = {0};
    make_small(&t, 30);
    inki_data_stats first, other;
    sides s;
    held_of(&t, 0.1, 1, 0, &s, &first);
    held_of(&t, 0.1, 1, 0, &s, &other);
    assert_memory_equal(&first, &other, sizeof first);
    held_of(&t, 0.1, 2, 0, &s, &other);
    assert_true(other.fingerprint == first.fingerprint);
    assert_true(other.way_fingerprint != first.way_fingerprint);
    held_of(&t, 0.3, 1, 0, &s, &other);
    assert_true(other.way_fingerprint != first.way_fingerprint);
    held_of(&t, 0.1, 1, 0.1, &s, &other);
    assert_true(other.way_fingerprint != first.way_fingerprint);
    for (size_t i = 0; i < t.n; i++) {
        t.data[i] ^= 1;
        held_of(&t, 0.1, 1, 0, &s, &other);
        assert_true(other.fingerprint != first.fingerprint);
        t.data[i] ^= 1;
    }
    text_free(&t);
}

// One sum however the bytes are cut; another one for each change within a word.
static void test_checksum(void **state) {
    (void)state;
    enum { N = 200 };
    uint8_t bytes[N];
    uint32_t seed = 5;
    for (int i = 0; i < N; i++) bytes[i] = (uint8_t)next_random(&seed);
    for (size_t n = 0; n <= N; n++) {
        const uint64_t whole = inki_checksum_of(bytes, n);
        if (n > 0) assert_true(whole != inki_checksum_of(bytes, n - 1));
        for (size_t step = 1; step < 70; step += 6) {
            inki_checksum sum;
            inki_checksum_init(&sum);
            for (size_t at = 0; at < n; at += step) {
                inki_checksum_add(&sum, bytes + at, n - at < step ? n - at : step);
                (void)inki_checksum_end(&sum);
            }
            assert_true(inki_checksum_end(&sum) == whole);
        }
        for (size_t at = 0; at < n; at++) {
            bytes[at] ^= (uint8_t)(1u << (at % 8));
            assert_true(inki_checksum_of(bytes, n) != whole);
            bytes[at] ^= (uint8_t)(1u << (at % 8));
        }
    }
    const uint8_t zeros[64] = {0};
    for (size_t n = 1; n < 64; n++)
        assert_true(inki_checksum_of(zeros, n) != inki_checksum_of(zeros, n - 1));
    // By a reference in another language.
    for (int i = 0; i < N; i++) bytes[i] = (uint8_t)i;
    assert_true(inki_checksum_of(NULL, 0) == 0xcca24399bb32102cu);
    assert_true(inki_checksum_of("INKTRAIN", 8) == 0x70f065d0a9774755u);
    assert_true(inki_checksum_of(bytes, 100) == 0x4e17bc98bdae93eeu);
}

int main(void) {
    data_fixture_init(&fixture, 0, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cutting),         cmocka_unit_test(test_doubled_lines),
        cmocka_unit_test(test_held_out),        cmocka_unit_test(test_held_out_stays),
        cmocka_unit_test(test_equal_documents), cmocka_unit_test(test_few_documents),
        cmocka_unit_test(test_end_of_a_text),   cmocka_unit_test(test_held_variants),
        cmocka_unit_test(test_invalid_bytes),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_fingerprints),    cmocka_unit_test(test_checksum),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    data_fixture_free(&fixture);
    return failed;
}
