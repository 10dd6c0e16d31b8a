// SPDX-License-Identifier: MIT
// Scores against sums of log-softmax over logits of sessions of their own, in doubles; embeddings
// by flags against the hidden states that the head makes logits of.
#include "countdown.h"
#include "engine/engine.h"
#include "opened.h"
#include "threads_only.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

enum { MAX_TOKENS = 512, MAX_TOLD = 2048 };

typedef struct told {
    size_t index[MAX_TOLD];
    ink_token token[MAX_TOLD];
    float logprob[MAX_TOLD];
    uint32_t n_top[MAX_TOLD];
    ink_logprob top[MAX_TOLD][4];
    char text[8192]; // of all tokens told, one ending after the other
    size_t n, bytes, stop_after;
} told;

static int tell(void *user, size_t index, const ink_choice *choice, const char *text,
                size_t bytes) {
    told *t = user;
    assert_true(t->n < MAX_TOLD && t->bytes + bytes < sizeof t->text);
    t->index[t->n] = index;
    t->token[t->n] = choice->token;
    t->logprob[t->n] = choice->logprob;
    t->n_top[t->n] = choice->n_top;
    for (uint32_t i = 0; i < choice->n_top && i < 4; i++) t->top[t->n][i] = choice->top[i];
    assert_true((choice->n_top == 0) == (choice->top == NULL));
    assert_null(choice->reserved);
    memcpy(t->text + t->bytes, text, bytes);
    t->bytes += bytes;
    t->n++;
    return t->stop_after > 0 && t->n == t->stop_after;
}

// log-softmax of a row in doubles.
static void log_softmax(const float *row, size_t n, double *out) {
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) max = (double)row[i] > max ? (double)row[i] : max;
    for (size_t i = 0; i < n; i++) sum += exp((double)row[i] - max);
    for (size_t i = 0; i < n; i++) out[i] = (double)row[i] - max - log(sum);
}

// Context and ending as tokens, behind the end-of-text token.
static size_t tokens_of(const ink_model *model, const char *context, const char *ending,
                        ink_token *out) {
    char text[4096];
    size_t n = 0;
    const int bytes = snprintf(text, sizeof text, "%s%s", context, ending);
    ink_model_info info = {.size = sizeof info};
    ink_model_get_info(model, &info);
    out[0] = info.end_token;
    assert_int_equal(ink_tokenize(model, text, (size_t)bytes, 0, out + 1, MAX_TOKENS - 1, &n, NULL),
                     INK_OK);
    return n;
}

typedef struct scored {
    double logprob;
    uint32_t n_tokens, first_token;
} scored;

// The slow way: each token behind a session of its own, and all endings as the contract says.
static void reference(ink_model *model, const char *context, const char *const *endings, size_t n,
                      scored *out) {
    static ink_token first[MAX_TOKENS], ids[MAX_TOKENS];
    size_t common = tokens_of(model, context, "", first);
    for (size_t i = 0; i < n; i++) {
        const size_t n_ids = tokens_of(model, context, endings[i], ids);
        size_t same = 0;
        while (same < common && same < n_ids && ids[1 + same] == first[1 + same]) same++;
        common = same;
    }
    for (size_t i = 0; i < n; i++) {
        const size_t n_ids = tokens_of(model, context, endings[i], ids);
        const size_t begin = common > 0; // without common tokens: behind the end-of-text token
        ink_session *s = NULL;
        ink_session_options o;
        ink_session_options_init(&o, sizeof o);
        o.n_batch = 3;
        assert_int_equal(ink_session_new(&s, model, &o, NULL), INK_OK);
        out[i] = (scored){0, (uint32_t)(n_ids - common), (uint32_t)common};
        for (size_t k = begin; k < n_ids; k++) {
            size_t n_vocab = 0;
            opened_eval(s, ids + k, 1, 0);
            const float *row = ink_session_logits(s, 0, &n_vocab);
            double *p = malloc(n_vocab * sizeof *p);
            log_softmax(row, n_vocab, p);
            if (k >= common) out[i].logprob += p[ids[k + 1]];
            free(p);
        }
        ink_session_free(s);
    }
}

static void make_endings(ink_ending *e, const char *const *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        e[i] = (ink_ending){.text = text[i],
                            .bytes = strlen(text[i]),
                            .logprob = 77,
                            .n_tokens = 77,
                            .first_token = 77};
}

static void scores(ink_session *s, const char *context, const char *const *text, size_t n) {
    ink_ending e[16];
    scored expected[16];
    reference(s->model, context, text, n, expected);
    make_endings(e, text, n);
    ink_error error = {0};
    if (ink_session_score(s, context, strlen(context), e, n, 0, NULL, NULL, &error) != INK_OK)
        fail_msg("%s", error.message);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(e[i].n_tokens, expected[i].n_tokens);
        assert_int_equal(e[i].first_token, expected[i].first_token);
        if (fabs(e[i].logprob - expected[i].logprob) > 1e-5 * expected[i].n_tokens)
            fail_msg("ending %zu behind \"%s\": %.8f, %.8f was expected", i, context, e[i].logprob,
                     expected[i].logprob);
    }
    assert_int_equal(ink_session_n_past(s), 0);
    assert_null(ink_session_logits(s, 0, NULL));
}

static ink_session *session_of(ink_model *model, uint32_t n_logits, uint32_t n_batch,
                               uint32_t kv_type) {
    ink_session *s = NULL;
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.n_logits = n_logits;
    o.n_batch = n_batch;
    o.kv_type = kv_type;
    assert_int_equal(ink_session_new(&s, model, &o, NULL), INK_OK);
    return s;
}

static const char story[] = "Lily saw a big red ball in the garden. She wanted to";
static const char *const endings[] = {
    " play with it.", " eat the garden and then the ball, for she was hungry.", " sleep", "day"};

static void endings_behind_a_context(void **state) {
    (void)state;
    ink_session *s = session_of(opened_builtin, 0, 0, INK_KV_F16);
    scores(s, story, endings, 4);
    scores(s, story, endings + 1, 1);
    scores(s, "Lily", endings, 4);
    // A text as a whole: behind the end-of-text token.
    scores(s, "", &(const char *){story}, 1);
    scores(s, "", endings, 4);
    // The past was something else, and is gone.
    opened_eval(s, (ink_token[]){5, 6, 7, 8}, 4, 0);
    scores(s, story, endings, 4);
    ink_session_free(s);
}

// What is likelier is scored so: the words of a story in their order against the same in another.
static void likelier_endings_score_higher(void **state) {
    (void)state;
    static const char *const text[] = {" went to the park to play with her mom.",
                                       " the play with park her to mom went to."};
    ink_ending e[2];
    ink_session *s = session_of(opened_builtin, 0, 0, INK_KV_F16);
    make_endings(e, text, 2);
    assert_int_equal(ink_session_score(s, "The little girl", 15, e, 2, 0, NULL, NULL, NULL),
                     INK_OK);
    assert_true(e[0].logprob > e[1].logprob + 5);
    ink_session_free(s);
}

// Where the ending merges with the end of the context, all endings are scored from the same token.
static void endings_that_merge_with_the_context(void **state) {
    (void)state;
    const ink_model *model = opened_builtin;
    ink_session *s = session_of(opened_builtin, 0, 0, INK_KV_F16);
    static const char *const text[] = {"rden was green.", "ve it to him.", " big", "x"};
    static const char context[] = "She went to the ga";
    ink_token a[MAX_TOKENS], b[MAX_TOKENS];
    const size_t n = tokens_of(model, context, "", a), m = tokens_of(model, context, text[0], b);
    assert_true(m > n - 1);
    assert_int_not_equal(a[n], b[n]); // the last token is another one
    scores(s, context, text, 4);
    scores(s, context, text, 1);
    // All of the context merges: there is no token in common.
    scores(s, "ga", text, 1);
    scores(s, "ga", text, 4);
    scores(s, " ", (const char *const[]){"play", "green"}, 2);
    ink_session_free(s);
}

// Ids and order of what is told, the alternatives, and their sum.
static void what_is_told(void **state) {
    (void)state;
    static told t;
    static ink_token ids[MAX_TOKENS];
    ink_ending e[3];
    ink_session *s = session_of(opened_builtin, 0, 0, INK_KV_F16);
    ink_session *other = session_of(opened_builtin, 0, 0, INK_KV_F16);
    t = (told){0};
    make_endings(e, endings, 3);
    assert_int_equal(ink_session_score(s, story, strlen(story), e, 3, 3, tell, &t, NULL), INK_OK);
    size_t k = 0, bytes = 0;
    for (size_t i = 0; i < 3; i++) {
        const size_t n = tokens_of(opened_builtin, story, endings[i], ids);
        size_t n_vocab = 0;
        double sum = 0;
        ink_session_rewind(other, 0);
        opened_eval(other, ids + 1, e[i].first_token, 0);
        for (size_t at = e[i].first_token; at < n; at++, k++) {
            double p[8192];
            const float *row = ink_session_logits(other, 0, &n_vocab);
            assert_true(n_vocab <= 8192);
            log_softmax(row, n_vocab, p);
            assert_int_equal(t.index[k], i);
            assert_int_equal(t.token[k], ids[at + 1]);
            assert_true(fabs((double)t.logprob[k] - p[ids[at + 1]]) < 1e-5);
            sum += (double)t.logprob[k];
            assert_int_equal(t.n_top[k], 3);
            for (int r = 0; r < 3; r++) {
                size_t best = 0;
                for (size_t v = 1; v < n_vocab; v++) best = p[v] > p[best] ? v : best;
                assert_int_equal(t.top[k][r].token, best);
                assert_true(fabs((double)t.top[k][r].logprob - p[best]) < 1e-5);
                p[best] = -INFINITY;
            }
            opened_eval(other, ids + at + 1, 1, 0);
        }
        assert_true(fabs(sum - e[i].logprob) < 1e-4);
        // These do not merge, so what is told is the ending's text.
        assert_memory_equal(t.text + bytes, endings[i], strlen(endings[i]));
        bytes += strlen(endings[i]);
    }
    assert_int_equal(k, t.n);
    assert_int_equal(bytes, t.bytes);
    // Without alternatives.
    t = (told){0};
    assert_int_equal(ink_session_score(s, story, strlen(story), e, 1, 0, tell, &t, NULL), INK_OK);
    assert_int_equal(t.n, e[0].n_tokens);
    assert_int_equal(t.n_top[0], 0);
    ink_session_free(s);
    ink_session_free(other);
}

// The same bytes however the rows are cut, and whatever the cache holds.
static void scores_are_the_same_bytes(void **state) {
    (void)state;
    for (uint32_t kv = 0; kv < 3; kv++) {
        double first[4] = {0};
        for (uint32_t n_logits = 0; n_logits <= 200; n_logits = 4 * n_logits + 1)
            for (uint32_t n_batch = 0; n_batch <= 64; n_batch = 9 * n_batch + 1) {
                ink_ending e[4];
                ink_session *s = session_of(opened_builtin, n_logits, n_batch, kv);
                for (int again = 0; again < 2; again++) {
                    make_endings(e, endings, 4);
                    assert_int_equal(
                        ink_session_score(s, story, strlen(story), e, 4, 0, NULL, NULL, NULL),
                        INK_OK);
                    for (int i = 0; i < 4; i++) {
                        if (n_logits == 0 && n_batch == 0 && again == 0) first[i] = e[i].logprob;
                        assert_memory_equal(&first[i], &e[i].logprob, sizeof *first);
                    }
                }
                ink_session_free(s);
            }
    }
}

static void same_bytes_for_any_threads(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    double first[2] = {0};
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
        opened o = opened_tiny(&tiny, n_threads, NULL);
        ink_session *s = opened_session(&o, 0, INK_KV_F16, 0);
        ink_ending e[2];
        make_endings(e, endings, 2);
        assert_int_equal(ink_session_score(s, story, strlen(story), e, 2, 0, NULL, NULL, NULL),
                         INK_OK);
        for (int i = 0; i < 2; i++) {
            if (n_threads == 1) first[i] = e[i].logprob;
            assert_memory_equal(&first[i], &e[i].logprob, sizeof *first);
        }
        ink_session_free(s);
        opened_close(&o);
    }
}

// Scoring leaves a session whose cache is valid, also where a fork has its pages.
static void the_session_goes_on(void **state) {
    (void)state;
    static ink_token ids[MAX_TOKENS];
    ink_session *s = session_of(opened_builtin, 0, 0, INK_KV_F16), *fork = NULL;
    ink_session *fresh = session_of(opened_builtin, 0, 0, INK_KV_F16);
    const size_t n = tokens_of(opened_builtin, story, endings[0], ids);
    size_t n_vocab = 0;
    opened_eval(fresh, ids + 1, n, 0);
    const float *expected = ink_session_logits(fresh, 0, &n_vocab);
    scores(s, story, endings, 4);
    opened_eval(s, ids + 1, n, 2);
    assert_memory_equal(ink_session_logits(s, 0, NULL), expected, n_vocab * sizeof *expected);
    assert_int_equal(ink_session_fork(s, &fork, NULL), INK_OK);
    scores(s, story, endings, 4);
    scores(fork, story, endings + 1, 2);
    opened_eval(fork, ids + 1, n, 0);
    assert_memory_equal(ink_session_logits(fork, 0, NULL), expected, n_vocab * sizeof *expected);
    ink_session_free(s);
    ink_session_free(fork);
    ink_session_free(fresh);
}

static void fails(ink_session *s, ink_status expected, const char *context, ink_ending *list,
                  size_t n, uint32_t n_top) {
    ink_error error = {0};
    const size_t bytes = context == NULL ? 3 : strlen(context);
    assert_int_equal(ink_session_score(s, context, bytes, list, n, n_top, NULL, NULL, &error),
                     expected);
    assert_int_equal(error.status, expected);
    assert_int_equal(ink_session_n_past(s), 4);
}

// A context of several pages that another session has read.
static void contexts_in_a_prefix_cache(void **state) {
    (void)state;
    char context[1024] = "";
    ink_prefix_cache *cache = NULL;
    ink_prefix_cache_info info = {.size = sizeof info};
    ink_session_options o;
    for (int i = 0; i < 8; i++) strcat(context, story);
    assert_int_equal(ink_prefix_cache_new(&cache, opened_builtin, 1 << 24, NULL), INK_OK);
    ink_session_options_init(&o, sizeof o);
    o.prefix_cache = cache;
    for (int i = 0; i < 2; i++) {
        ink_session *s = NULL;
        assert_int_equal(ink_session_new(&s, opened_builtin, &o, NULL), INK_OK);
        scores(s, context, endings, 4);
        opened_eval(s, (ink_token[]){5, 6, 7, 8}, 4, 0);
        scores(s, context, endings, 4);
        ink_session_free(s);
    }
    assert_int_equal(ink_prefix_cache_get_info(cache, &info), INK_OK);
    assert_true(info.n_tokens_found >= 64);
    ink_prefix_cache_unref(cache);
}

static void wrong_calls(void **state) {
    (void)state;
    static told t;
    ink_ending e[2], same[2];
    ink_error error = {0};
    ink_session *s = session_of(opened_builtin, 0, 0, INK_KV_F16);
    opened_eval(s, (ink_token[]){5, 6, 7, 8}, 4, 0);
    make_endings(e, endings, 2);
    memcpy(same, e, sizeof e);
    fails(s, INK_E_ARG, story, NULL, 1, 0);
    fails(s, INK_E_ARG, story, e, 0, 0);
    fails(s, INK_E_ARG, NULL, e, 1, 0);
    fails(s, INK_E_LIMIT, story, e, 2, 65);
    e[1].bytes = 0;
    fails(s, INK_E_ARG, story, e, 2, 0);
    e[1] = same[1];
    e[1].text = NULL;
    fails(s, INK_E_ARG, story, e, 2, 0);
    e[1] = same[1];
    e[1].reserved = e;
    fails(s, INK_E_UNSUPPORTED, story, e, 2, 0);
    e[1] = same[1];
    e[1].bytes = (size_t)INT32_MAX;
    fails(s, INK_E_LIMIT, story, e, 2, 0);
    e[1] = same[1];
    // One token more than there are positions.
    const uint32_t n_ctx = ink_session_n_ctx(s);
    char *text = malloc(n_ctx + 2);
    memset(text, '\n', n_ctx + 2);
    ink_token ids[8];
    size_t n = 0;
    assert_int_equal(ink_tokenize(opened_builtin, "q1q1", 4, 0, ids, 8, &n, NULL), INK_OK);
    for (uint32_t i = 0; i < n_ctx + 2; i++) text[i] = i % 2 ? '1' : 'q';
    assert_int_equal(ink_tokenize(opened_builtin, text, n_ctx, 0, NULL, 0, &n, NULL), INK_OK);
    if (n == n_ctx) {
        e[0] = (ink_ending){.text = text, .bytes = n_ctx};
        assert_int_equal(ink_session_score(s, "", 0, e, 1, 0, NULL, NULL, &error), INK_OK);
        assert_int_equal(e[0].n_tokens, n_ctx);
        e[0].bytes++;
        opened_eval(s, (ink_token[]){5, 6, 7, 8}, 4, 0);
        fails(s, INK_E_CONTEXT, "", e, 1, 0);
        e[0] = same[0];
    } else {
        print_message("left out: a text of one byte a token\n");
    }
    free(text);
    assert_memory_equal(e, same, sizeof e);
    // The callback stops: nothing is reported, the past is empty.
    t = (told){.stop_after = 2};
    assert_int_equal(ink_session_score(s, story, strlen(story), e, 2, 0, tell, &t, &error),
                     INK_E_CANCELLED);
    assert_int_equal(t.n, 2);
    assert_memory_equal(e, same, sizeof e);
    assert_int_equal(ink_session_n_past(s), 0);
    scores(s, story, endings, 4);
    assert_int_equal(ink_session_score(NULL, story, 1, e, 2, 0, NULL, NULL, &error), INK_E_ARG);
    ink_session_free(s);
}

static void cancelled_at_any_time(void **state) {
    (void)state;
    ink_ending e[3], same[3];
    ink_session *s = session_of(opened_builtin, 0, 7, INK_KV_F16);
    make_endings(e, endings, 3);
    memcpy(same, e, sizeof e);
    ink_status status = INK_E_CANCELLED;
    for (int i = 0; status != INK_OK; i += 3) {
        countdown c = {i};
        s->interrupted = counts_down;
        s->interrupted_arg = &c;
        status = ink_session_score(s, story, strlen(story), e, 3, 0, NULL, NULL, NULL);
        s->interrupted = NULL;
        assert_int_equal(ink_session_n_past(s), 0);
        if (status == INK_OK) break;
        assert_int_equal(status, INK_E_CANCELLED);
        assert_memory_equal(e, same, sizeof e);
        if (i % 15 == 0) scores(s, story, endings, 3);
        assert_true(i < 1000);
    }
    ink_session_free(s);
}

static void without_memory(void **state) {
    (void)state;
    heap h = {0};
    tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, &h);
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 0), *fork = NULL;
    ink_ending e[2], same[2];
    ink_status status = INK_E_NOMEM;
    size_t n = 0;
    opened_eval(s, (ink_token[]){5, 6, 7, 8}, 4, 0);
    for (n = 1; status != INK_OK; n++) {
        assert_int_equal(ink_session_fork(s, &fork, NULL), INK_OK);
        make_endings(e, endings, 2);
        memcpy(same, e, sizeof e);
        const size_t live = h.live_blocks;
        h.fail_at = h.n_allocs + n;
        ink_error error = {0};
        status = ink_session_score(fork, "Once upon", 9, e, 2, 2, NULL, NULL, &error);
        h.fail_at = 0;
        if (status != INK_OK) {
            assert_int_equal(status, INK_E_NOMEM);
            assert_int_equal(error.status, INK_E_NOMEM);
            assert_memory_equal(e, same, sizeof e);
            assert_true(h.live_blocks <= live + 4); // pages and working memory of the fork
            scores(fork, "Once upon", endings, 2);
        }
        ink_session_free(fork);
    }
    assert_in_range(n, 4, 20);
    ink_session_free(s);
    opened_close(&o);
    assert_int_equal(h.live_blocks, 0);
    assert_int_equal(h.wrong_releases, 0);
}

// --- embeddings ----------------------------------------------------------------------------------

static const char sentence[] = "Lily saw a big red ball.";

static void embeddings_by_flags(void **state) {
    (void)state;
    tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, NULL);
    const uint32_t n_embd = o.model->weights.n_embd;
    const float *head = o.model->weights.head.data; // F32 [n_vocab, n_embd]
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 0);
    float mean[64], last[64], unit[64], embed[64];
    size_t n = 0, n_vocab = 0;
    const size_t bytes = strlen(sentence);
    assert_int_equal(ink_session_embed(s, sentence, bytes, embed, 64, &n, NULL), INK_OK);
    assert_int_equal(ink_session_embedding(s, sentence, bytes, 0, mean, 64, &n, NULL), INK_OK);
    assert_int_equal(n, n_embd);
    assert_memory_equal(mean, embed, n_embd * sizeof *mean);
    assert_int_equal(ink_session_embedding(s, sentence, bytes, INK_EMBED_LAST, last, 64, &n, NULL),
                     INK_OK);
    // The head makes the logits of the last hidden state.
    const float *row = ink_session_logits(s, 0, &n_vocab);
    assert_non_null(row);
    for (size_t v = 0; v < n_vocab; v++) {
        double sum = 0;
        for (uint32_t i = 0; i < n_embd; i++) sum += (double)head[v * n_embd + i] * (double)last[i];
        assert_true(fabs(sum - (double)row[v]) < 1e-4);
    }
    for (uint32_t flags = 0; flags < 2; flags++) {
        const float *plain = flags ? last : mean;
        double sum = 0, length = 0;
        for (uint32_t i = 0; i < n_embd; i++) length += (double)plain[i] * (double)plain[i];
        assert_int_equal(ink_session_embedding(s, sentence, bytes, flags | INK_EMBED_NORMALIZE,
                                               unit, 64, &n, NULL),
                         INK_OK);
        for (uint32_t i = 0; i < n_embd; i++) {
            sum += (double)unit[i] * (double)unit[i];
            assert_true(fabs((double)unit[i] - (double)plain[i] / sqrt(length)) < 1e-6);
        }
        assert_true(fabs(sum - 1) < 1e-6);
    }
    // What is asked wrongly changes nothing.
    n = 0;
    memcpy(embed, unit, sizeof unit);
    assert_int_equal(ink_session_embedding(s, sentence, bytes, 4, unit, 64, &n, NULL),
                     INK_E_UNSUPPORTED);
    assert_int_equal(n, 0);
    assert_int_equal(ink_session_embedding(s, sentence, bytes, 3, unit, 4, &n, NULL), INK_E_SPACE);
    assert_int_equal(n, n_embd);
    n = 0;
    assert_int_equal(ink_session_embedding(s, sentence, bytes, 3, NULL, 0, &n, NULL), INK_OK);
    assert_int_equal(n, n_embd);
    assert_int_equal(ink_session_embedding(s, sentence, bytes, 3, NULL, 4, &n, NULL), INK_E_ARG);
    assert_int_equal(ink_session_embedding(s, sentence, bytes, 3, unit, 64, NULL, NULL), INK_E_ARG);
    assert_int_equal(ink_session_embedding(s, NULL, 3, 3, unit, 64, &n, NULL), INK_E_ARG);
    assert_int_equal(ink_session_embedding(NULL, "a", 1, 3, unit, 64, &n, NULL), INK_E_ARG);
    assert_memory_equal(embed, unit, sizeof unit);
    ink_session_free(s);
    opened_close(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endings_behind_a_context),
        cmocka_unit_test(likelier_endings_score_higher),
        cmocka_unit_test(endings_that_merge_with_the_context),
        cmocka_unit_test(what_is_told),
        cmocka_unit_test(scores_are_the_same_bytes),
        cmocka_unit_test(same_bytes_for_any_threads),
        cmocka_unit_test(the_session_goes_on),
        cmocka_unit_test(contexts_in_a_prefix_cache),
        cmocka_unit_test(wrong_calls),
        cmocka_unit_test(cancelled_at_any_time),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(embeddings_by_flags),
    };
    threads_only_under_tsan();
    return cmocka_run_group_tests(tests, opened_small_begin, opened_builtin_end);
}
