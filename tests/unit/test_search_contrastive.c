// SPDX-License-Identifier: MIT
// Contrastive search against a slow one: each probability and each hidden state of a session that
// reads the whole text from its beginning.
#include "countdown.h"
#include "engine/engine.h"
#include "opened.h"
#include "threads_only.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

enum { MAX_TEXT = 200, MAX_WIDTH = 256 };

typedef struct contrasted {
    ink_token tokens[MAX_TEXT];
    uint32_t n, stop, n_told;
    double logprob;
    char text[2048];
    collected said;
    ink_session *cancel;
    ink_result result;
} contrasted;

static void on_found(void *user, uint32_t index, const ink_found *f) {
    contrasted *x = user;
    assert_int_equal(index, 0);
    x->n_told++;
    x->n = f->n_tokens;
    x->stop = f->stop;
    x->logprob = f->logprob;
    memcpy(x->tokens, f->tokens, f->n_tokens * sizeof *f->tokens);
    memcpy(x->text, f->text, f->bytes + 1);
}

static int on_text(void *user, const ink_piece *piece) {
    contrasted *x = user;
    if (x->cancel != NULL) ink_session_cancel(x->cancel);
    return collect(&x->said, piece);
}

static ink_search_options contrasts(uint32_t top_k, uint32_t n_tokens, float alpha) {
    ink_search_options o;
    ink_search_options_init(&o, sizeof o);
    o.method = INK_SEARCH_CONTRASTIVE;
    o.top_k = top_k;
    o.n_tokens = n_tokens;
    o.alpha = alpha;
    return o;
}

static ink_status contrast(ink_session *s, const char *text, ink_search_options o, contrasted *x,
                           ink_error *error) {
    *x = (contrasted){.cancel = x->cancel, .said.stop_after = x->said.stop_after};
    o.on_found = on_found;
    o.user = x;
    return ink_session_search(s, text, strlen(text), &o, on_text, x, &x->result, error);
}

static void contrasts_to(ink_session *s, const char *text, ink_search_options o, contrasted *x) {
    ink_error error = {0};
    *x = (contrasted){0};
    if (contrast(s, text, o, x, &error) != INK_OK) fail_msg("%s", error.message);
    assert_int_equal(error.status, INK_OK);
    assert_int_equal(x->n_told, 1);
    assert_int_equal(x->result.stop, x->stop);
    assert_int_equal(x->result.n_generated, x->n);
    assert_string_equal(x->said.text, x->text);
}

// --- the slow one --------------------------------------------------------------------------------

// The final hidden state behind tokens [n], and the logits.
static void read_from_the_beginning(ink_model *model, const ink_token *tokens, uint32_t n,
                                    float *hidden, float *logits) {
    ink_session *s = NULL;
    ink_generate_options g;
    ink_result r = {0};
    ink_generate_options_init(&g, sizeof g);
    g.flags = INK_GENERATE_FRESH | INK_GENERATE_EMBED | INK_GENERATE_EMBED_LAST;
    g.n_tokens = 0;
    g.prompt_tokens = tokens;
    g.n_prompt_tokens = n;
    assert_int_equal(ink_session_new(&s, model, NULL, NULL), INK_OK);
    assert_int_equal(ink_session_generate(s, "", 0, &g, NULL, NULL, &r, NULL), INK_OK);
    memcpy(hidden, r.embedding, r.n_embedding * sizeof *hidden);
    size_t n_vocab = 0;
    const float *row = ink_session_logits(s, 0, &n_vocab);
    if (logits != NULL) memcpy(logits, row, n_vocab * sizeof *logits);
    ink_session_free(s);
}

static double cosine(const float *a, const float *b, uint32_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (uint32_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / (sqrt(aa) * sqrt(bb));
}

typedef struct slow_contrast {
    ink_token tokens[MAX_TEXT];
    uint32_t n, n_prompt, stop;
    double logprob;
    double margin; // by how much the closest choice was won
} slow_contrast;

static bool has_stop(ink_model *model, const slow_contrast *t, const ink_search_options *o) {
    char text[4096];
    size_t bytes = 0;
    assert_int_equal(ink_detokenize(model, t->tokens + t->n_prompt, t->n - t->n_prompt, 0, text,
                                    sizeof text - 1, &bytes),
                     INK_OK);
    text[bytes] = 0;
    for (size_t i = 0; i < o->n_stop; i++)
        if (strstr(text, o->stop[i]) != NULL) return true;
    return false;
}

static void slow_search(ink_session *s, const char *text, const ink_search_options *o,
                        slow_contrast *t) {
    static float hidden[MAX_TEXT][MAX_WIDTH], state[MAX_WIDTH];
    ink_model_info info = {.size = sizeof info};
    ink_model_get_info(s->model, &info);
    float *logits = malloc(info.n_vocab * sizeof *logits);
    size_t n = 0;
    *t = (slow_contrast){.margin = INFINITY, .stop = INK_STOP_LENGTH};
    memcpy(t->tokens, s->tokens, s->n_past * sizeof *t->tokens);
    assert_int_equal(ink_tokenize(s->model, text, strlen(text), 0, t->tokens + s->n_past,
                                  MAX_TEXT - s->n_past, &n, NULL),
                     INK_OK);
    t->n = t->n_prompt = s->n_past + (uint32_t)n;
    for (uint32_t i = 1; i < t->n; i++)
        read_from_the_beginning(s->model, t->tokens, i, hidden[i - 1], NULL);
    while (t->n - t->n_prompt < o->n_tokens) {
        if (t->n == s->options.n_ctx) {
            t->stop = INK_STOP_CONTEXT;
            break;
        }
        read_from_the_beginning(s->model, t->tokens, t->n, hidden[t->n - 1], logits);
        double sum = 0, best = -INFINITY, best_logprob = 0;
        for (uint32_t v = 0; v < info.n_vocab; v++) sum += exp((double)logits[v]);
        if (o->flags & INK_GENERATE_NO_END) logits[info.end_token] = -INFINITY;
        ink_token chosen = -1;
        for (uint32_t k = 0; k < o->top_k; k++) {
            uint32_t v = 0;
            for (uint32_t i = 1; i < info.n_vocab; i++) v = logits[i] > logits[v] ? i : v;
            const double logprob = (double)logits[v] - log(sum);
            logits[v] = -INFINITY;
            t->tokens[t->n] = (ink_token)v;
            read_from_the_beginning(s->model, t->tokens, t->n + 1, state, NULL);
            double alike = -1;
            for (uint32_t i = 0; i < t->n; i++) {
                const double c = cosine(hidden[i], state, info.n_embd);
                alike = c > alike ? c : alike;
            }
            const double alpha = (double)o->alpha;
            const double score = (1 - alpha) * exp(logprob) - alpha * alike;
            if (fabs(score - best) < t->margin) t->margin = fabs(score - best);
            if (score <= best) continue;
            best = score;
            best_logprob = logprob;
            chosen = (ink_token)v;
        }
        t->logprob += best_logprob;
        if (chosen == info.end_token) {
            t->stop = INK_STOP_END;
            break;
        }
        t->tokens[t->n++] = chosen;
        if (has_stop(s->model, t, o)) {
            t->stop = INK_STOP_STRING;
            break;
        }
    }
    free(logits);
}

// The past is the text, its logits and its cache are those of a session that evaluated it.
static void stands_behind(ink_session *s, const ink_token *tokens, uint32_t n) {
    ink_session *fresh = NULL;
    size_t n_past = 0, n_vocab = 0;
    const ink_token *past = ink_session_tokens(s, &n_past);
    assert_int_equal(n_past, n);
    assert_memory_equal(past, tokens, n * sizeof *past);
    assert_int_equal(ink_session_new(&fresh, s->model, NULL, NULL), INK_OK);
    opened_eval(fresh, tokens, n, 0);
    const float *expected = ink_session_logits(fresh, 0, &n_vocab);
    assert_memory_equal(ink_session_logits(s, 0, NULL), expected, n_vocab * sizeof *expected);
    if (n + 2 <= s->options.n_ctx) {
        opened_eval(s, (ink_token[]){7, 8}, 2, 0);
        opened_eval(fresh, (ink_token[]){7, 8}, 2, 0);
        assert_memory_equal(ink_session_logits(s, 0, NULL), ink_session_logits(fresh, 0, &n_vocab),
                            n_vocab * sizeof *expected);
    }
    ink_session_free(fresh);
}

static uint32_t like_the_slow_one(ink_session *s, const char *text, ink_search_options o) {
    static contrasted x;
    static slow_contrast t;
    slow_search(s, text, &o, &t);
    contrasts_to(s, text, o, &x);
    assert_true(t.margin > 1e-6); // else the two may choose differently
    assert_int_equal(x.stop, t.stop);
    assert_int_equal(x.n, t.n - t.n_prompt);
    assert_memory_equal(x.tokens, t.tokens + t.n_prompt, x.n * sizeof *x.tokens);
    assert_true(fabs(x.logprob - t.logprob) < 1e-4);
    stands_behind(s, t.tokens, t.n - (t.stop == INK_STOP_STRING));
    return t.stop;
}

static void chooses_as_the_slow_one(void **state) {
    (void)state;
    static const char *const stops[] = {"no such words", "happy"};
    ink_session *s = NULL;
    ink_session_options so;
    uint32_t n_ended[8] = {0};
    ink_session_options_init(&so, sizeof so);
    so.n_batch = 7;
    assert_int_equal(ink_session_new(&s, opened_builtin, &so, NULL), INK_OK);
    ink_search_options o = contrasts(4, 20, 0.6F);
    n_ended[like_the_slow_one(s, "Once upon a time there was a", o)]++;
    // What the cache holds by now has left no hidden states.
    n_ended[like_the_slow_one(s, " But", o)]++;
    ink_session_rewind(s, 0);
    o = contrasts(2, 20, 0.3F);
    n_ended[like_the_slow_one(s, "They all lived happily ever after.", o)]++;
    ink_session_rewind(s, 0);
    o = contrasts(5, 30, 0.05F);
    o.stop = stops;
    o.n_stop = 2;
    n_ended[like_the_slow_one(s, "Lily got a gift. She was very", o)]++;
    ink_session_rewind(s, 0);
    o.flags = INK_GENERATE_NO_END;
    o.n_stop = 0;
    n_ended[like_the_slow_one(s, "The end. They lived happily ever after.", o)]++;
    ink_session_free(s);
    // Over the end of a page, up to the end of the context.
    so.n_ctx = 70;
    so.n_batch = 0;
    assert_int_equal(ink_session_new(&s, opened_builtin, &so, NULL), INK_OK);
    n_ended[like_the_slow_one(s,
                              "One day a boy and his dog went out to play in the sun. The dog saw "
                              "a cat, and the cat saw the dog. They ran and ran until they came "
                              "to a big tree, where the cat went up and the dog sat down. The boy "
                              "said that he wanted",
                              contrasts(3, 40, 0.5F))]++;
    ink_session_free(s);
    print_message("ended: %u by the end token, %u by length, %u by a stop string, %u by the "
                  "context\n",
                  n_ended[0], n_ended[1], n_ended[2], n_ended[6]);
    assert_true(n_ended[INK_STOP_LENGTH] > 0 && n_ended[INK_STOP_STRING] > 0 &&
                n_ended[INK_STOP_CONTEXT] > 0);
}

// What a prefix cache brings has left no hidden states either.
static void with_a_prefix_cache(void **state) {
    (void)state;
    ink_prefix_cache *cache = NULL;
    ink_session_options o;
    assert_int_equal(ink_prefix_cache_new(&cache, opened_builtin, 1 << 24, NULL), INK_OK);
    ink_session_options_init(&o, sizeof o);
    o.prefix_cache = cache;
    o.n_held = 3;
    o.n_draft = 2;
    for (int i = 0; i < 2; i++) {
        ink_session *s = NULL;
        assert_int_equal(ink_session_new(&s, opened_builtin, &o, NULL), INK_OK);
        like_the_slow_one(s,
                          "One day a boy and his dog went out to play in the sun. The dog saw a "
                          "cat, and the cat saw the dog. They ran and ran until they came to a big "
                          "tree, where the cat went up and the dog sat down. The boy said that he "
                          "wanted to go home and to come back with his dad, who had a ladder",
                          contrasts(3, 9, 0.5F));
        ink_session_free(s);
    }
    ink_prefix_cache_unref(cache);
}

// Without a penalty the likeliest token is taken.
static void without_alpha_it_is_greedy(void **state) {
    (void)state;
    static contrasted x;
    static collected c;
    ink_session *s = NULL;
    ink_sampler *greedy = NULL;
    ink_generate_options g;
    assert_int_equal(ink_session_new(&s, opened_builtin, NULL, NULL), INK_OK);
    assert_int_equal(ink_sampler_new(&greedy, opened_builtin, "greedy", NULL, NULL), INK_OK);
    ink_generate_options_init(&g, sizeof g);
    g.sampler = greedy;
    g.n_tokens = 50;
    g.flags = INK_GENERATE_FRESH;
    assert_int_equal(ink_session_generate(s, "Once upon", 9, &g, collect, &c, NULL, NULL), INK_OK);
    ink_search_options o = contrasts(4, 50, 0);
    o.flags = INK_GENERATE_FRESH;
    contrasts_to(s, "Once upon", o, &x);
    assert_string_equal(x.said.text, c.text);
    assert_true(x.said.n_pieces > 20); // as they are chosen
    ink_sampler_free(greedy);
    ink_session_free(s);
}

static void same_bytes_for_any_threads(void **state) {
    (void)state;
    static contrasted first, x;
    tiny_model tiny = tiny_model_defaults();
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++)
        for (uint32_t n_batch = 1; n_batch <= 64; n_batch = 5 * n_batch + 2) {
            opened o = opened_tiny(&tiny, n_threads, NULL);
            ink_session *s = NULL;
            ink_session_options so;
            ink_session_options_init(&so, sizeof so);
            so.n_batch = n_batch;
            assert_int_equal(ink_session_new(&s, o.model, &so, NULL), INK_OK);
            for (int again = 0; again < 2; again++) {
                ink_search_options options = contrasts(5, 40, 0.6F);
                options.flags = INK_GENERATE_FRESH;
                contrasts_to(s, "hello, what is this all about? it is ", options, &x);
                if (n_threads == 1 && n_batch == 1 && again == 0) first = x;
                assert_memory_equal(first.tokens, x.tokens, sizeof x.tokens);
                assert_memory_equal(&first.logprob, &x.logprob, sizeof x.logprob);
                assert_memory_equal(&first.said, &x.said, sizeof x.said);
            }
            ink_session_free(s);
            opened_close(&o);
        }
}

static void stopped_on_the_way(void **state) {
    (void)state;
    static contrasted whole, x;
    ink_session *s = NULL;
    assert_int_equal(ink_session_new(&s, opened_builtin, NULL, NULL), INK_OK);
    ink_search_options o = contrasts(4, 30, 0.6F);
    o.flags = INK_GENERATE_FRESH;
    contrasts_to(s, "Once upon a time", o, &whole);
    for (int by_cancel = 0; by_cancel < 2; by_cancel++) {
        x = (contrasted){.cancel = by_cancel ? s : NULL, .said.stop_after = by_cancel ? 0 : 5};
        assert_int_equal(contrast(s, "Once upon a time", o, &x, NULL), INK_OK);
        assert_int_equal(x.result.stop, by_cancel ? INK_STOP_CANCELLED : INK_STOP_CALLBACK);
        assert_int_equal(x.stop, INK_STOP_CANCELLED);
        assert_memory_equal(x.tokens, whole.tokens, x.n * sizeof *x.tokens);
        assert_true(x.n > 0 && x.n < whole.n);
        assert_int_equal(ink_session_n_past(s), x.result.n_prompt + x.n);
    }
    ink_session_free(s);
}

static void cancelled_at_any_time(void **state) {
    (void)state;
    static contrasted x, whole, again;
    static const char text[] = "The girl said: I would like to have a red ball and a blue one";
    const ink_token old[] = {40, 41, 42, 43, 44, 45, 46};
    ink_session *s = NULL;
    assert_int_equal(ink_session_new(&s, opened_builtin, NULL, NULL), INK_OK);
    const ink_search_options o = contrasts(3, 12, 0.6F);
    opened_eval(s, old, 7, 0);
    contrasts_to(s, text, o, &whole);
    for (int i = 0;; i++) {
        ink_session_rewind(s, 0);
        opened_eval(s, old, 7, 0);
        countdown c = {i};
        s->interrupted = counts_down;
        s->interrupted_arg = &c;
        x = (contrasted){0};
        assert_int_equal(contrast(s, text, o, &x, NULL), INK_OK);
        s->interrupted = NULL;
        if (x.result.stop != INK_STOP_CANCELLED) break;
        size_t n_past = 0;
        const ink_token *past = ink_session_tokens(s, &n_past);
        assert_memory_equal(past, old, sizeof old);
        assert_int_equal(n_past, x.n_told == 0 ? 7 : x.result.n_prompt + x.n);
        assert_memory_equal(x.tokens, whole.tokens, x.n * sizeof *x.tokens);
        ink_session_rewind(s, 7);
        contrasts_to(s, text, o, &again);
        assert_memory_equal(again.tokens, whole.tokens, sizeof again.tokens);
    }
    ink_session_free(s);
}

static void without_memory(void **state) {
    (void)state;
    static contrasted x;
    static const char *const stop[] = {"no such words"};
    static const char text[] = " more and more text that goes on";
    heap h = {0};
    tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, &h);
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 0), *fork = NULL;
    ink_search_options so = contrasts(3, 40, 0.6F);
    so.stop = stop;
    so.n_stop = 1;
    ink_status status = INK_E_NOMEM;
    size_t n;
    opened_eval(s, (ink_token[]){5, 6, 7, 8}, 4, 0);
    for (n = 1; status != INK_OK; n++) {
        assert_int_equal(ink_session_fork(s, &fork, NULL), INK_OK);
        h.fail_at = h.n_allocs + n;
        ink_error error = {0};
        x = (contrasted){0};
        status = contrast(fork, text, so, &x, &error);
        h.fail_at = 0;
        if (status != INK_OK) {
            assert_int_equal(status, INK_E_NOMEM);
            assert_int_equal(error.status, INK_E_NOMEM);
            assert_true(ink_session_n_past(fork) >= 4);
            ink_session_rewind(fork, 4);
            contrasts_to(fork, text, so, &x);
        }
        ink_session_free(fork);
    }
    print_message("%zu requests for memory\n", n - 1);
    assert_in_range(n, 12, 100);
    ink_session_free(s);
    opened_close(&o);
    assert_int_equal(h.live_blocks, 0);
    assert_int_equal(h.wrong_releases, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chooses_as_the_slow_one),
        cmocka_unit_test(with_a_prefix_cache),
        cmocka_unit_test(without_alpha_it_is_greedy),
        cmocka_unit_test(same_bytes_for_any_threads),
        cmocka_unit_test(stopped_on_the_way),
        cmocka_unit_test(cancelled_at_any_time),
        cmocka_unit_test(without_memory),
    };
    threads_only_under_tsan();
    return cmocka_run_group_tests(tests, opened_small_begin, opened_builtin_end);
}
