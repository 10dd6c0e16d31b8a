// SPDX-License-Identifier: MIT
// What is told beside the text: each token's log-probability and what could have stood there, the
// prompt echoed, the mean of the hidden states. In a service too, polled or not.
// Label: threads
#include <math.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "opened.h"

enum { MAX_TOLD = 512, MAX_TOP = 64 };

// What a callback heard.
typedef struct heard {
    char text[8192];
    size_t bytes, n_pieces, n_echoed; // n_echoed: bytes of the pieces with n_tokens 0
    ink_choice told[MAX_TOLD];
    ink_logprob top[MAX_TOLD][MAX_TOP];
    size_t n_told;
    float embedding[256];
    uint32_t n_embedding;
    ink_result result;
    uint64_t id;     // the request that is listened to, 0: the first that speaks
    atomic_int done; // requests
} heard;

static int hear(void *user, const ink_piece *piece) {
    heard *h = user;
    memcpy(h->text + h->bytes, piece->text, piece->bytes);
    h->bytes += piece->bytes;
    h->text[h->bytes] = 0;
    h->n_pieces++;
    if (piece->n_tokens == 0) h->n_echoed += piece->bytes;
    for (uint32_t i = 0; i < piece->n_choices && h->n_told < MAX_TOLD; i++) {
        const ink_choice *c = &piece->choices[i];
        h->told[h->n_told] = *c;
        if (c->n_top > 0) memcpy(h->top[h->n_told], c->top, c->n_top * sizeof *c->top);
        h->n_told++;
    }
    return 0;
}

static ink_generate_options asked(uint32_t flags, uint32_t n_tokens, uint32_t n_top) {
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.flags = flags | INK_GENERATE_FRESH;
    o.n_tokens = n_tokens;
    o.n_top_logprobs = n_top;
    return o;
}

static ink_session *session_of(ink_model *model, uint32_t n_logits, uint32_t n_batch) {
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.n_logits = n_logits;
    o.n_batch = n_batch;
    ink_session *s = NULL;
    assert_int_equal(ink_session_new(&s, model, &o, NULL), INK_OK);
    return s;
}

static heard *say(ink_session *s, const char *text, ink_generate_options o, const char *chain,
                  uint64_t seed) {
    ink_sampler_options so;
    ink_sampler_options_init(&so, sizeof so);
    so.seed_set = 1;
    so.seed = seed;
    ink_sampler *sampler = NULL;
    assert_int_equal(ink_sampler_new(&sampler, s->model, chain, &so, NULL), INK_OK);
    o.sampler = sampler;
    heard *h = calloc(1, sizeof *h);
    ink_error error = {0};
    if (ink_session_generate(s, text, strlen(text), &o, hear, h, &h->result, &error) != INK_OK)
        fail_msg("%s", error.message);
    ink_sampler_free(sampler);
    return h;
}

// --- against softmax in double precision ---------------------------------------------------------

// Every token told, from `first` of the past on, has the log-probability and the neighbours that a
// fresh evaluation of the same past gives.
static void check_told(ink_model *model, const heard *h, const ink_token *past, size_t n_past,
                       size_t first, uint32_t n_top) {
    ink_session *s = session_of(model, (uint32_t)n_past, 0);
    const ink_span span = {
        .session = s, .tokens = past, .n_tokens = n_past, .flags = INK_SPAN_ALL_LOGITS};
    assert_int_equal(ink_eval(&span, 1, NULL), INK_OK);
    for (size_t i = 0; i < h->n_told; i++) {
        const size_t at = first + i;
        const ink_choice *c = &h->told[i];
        assert_true(at < n_past);
        assert_int_equal(c->token, past[at]);
        if (at == 0) {
            assert_true(isnan(c->logprob));
            assert_int_equal(c->n_top, 0);
            continue;
        }
        size_t n_vocab = 0;
        const float *logits = ink_session_logits(s, at - 1, &n_vocab);
        double sum = 0;
        for (size_t v = 0; v < n_vocab; v++) sum += exp((double)logits[v]);
        assert_true(fabs((double)c->logprob - ((double)logits[c->token] - log(sum))) < 2e-6);
        assert_int_equal(c->n_top, n_top < n_vocab ? n_top : n_vocab);
        for (uint32_t k = 0; k < c->n_top; k++) {
            const ink_logprob *t = &h->top[i][k];
            assert_true(fabs((double)t->logprob - ((double)logits[t->token] - log(sum))) < 2e-6);
            size_t n_before = 0; // tokens that are more probable, or as probable with a lower id
            for (size_t v = 0; v < n_vocab; v++)
                n_before += logits[v] > logits[t->token] ||
                            (logits[v] == logits[t->token] && (ink_token)v < t->token);
            assert_int_equal(n_before, k);
        }
    }
    ink_session_free(s);
}

static void log_probabilities_are_the_models_own(void **state) {
    (void)state;
    static const char *const chains[] = {"greedy", "temp=1", "top_k=3;temp=2"};
    ink_session *s = session_of(opened_builtin, 0, 0);
    for (uint32_t n_top = 0; n_top <= MAX_TOP; n_top = 4 * n_top + 1)
        for (size_t c = 0; c < 3; c++) {
            heard *h = say(s, "Once upon a time", asked(INK_GENERATE_LOGPROBS, 30, n_top),
                           chains[c], 7 + n_top);
            size_t n = 0;
            const ink_token *past = ink_session_tokens(s, &n);
            assert_int_equal(h->n_told, h->result.n_generated);
            check_told(opened_builtin, h, past, n, h->result.n_prompt, n_top);
            free(h);
        }
    ink_session_free(s);
}

// --- only what stands in the text, and all of it -------------------------------------------------

// The told tokens' bytes are the text, but for the end of the last one, which a stop string cut.
static void assert_told_is_text(ink_model *model, const heard *h) {
    ink_token ids[MAX_TOLD];
    char text[8192];
    size_t bytes = 0;
    for (size_t i = 0; i < h->n_told; i++) ids[i] = h->told[i].token;
    assert_int_equal(ink_detokenize(model, ids, h->n_told, 0, text, sizeof text, &bytes), INK_OK);
    assert_true(bytes >= h->bytes);
    assert_memory_equal(text, h->text, h->bytes);
    if (h->n_told == 0) return;
    size_t shorter = 0;
    assert_int_equal(ink_detokenize(model, ids, h->n_told - 1, 0, text, sizeof text, &shorter),
                     INK_OK);
    assert_true(shorter < h->bytes);
}

static void what_is_taken_back_or_cut_is_not_told(void **state) {
    (void)state;
    static const char *const phrase[] = {"was", "little girl", "the park"};
    static const char *const stops[] = {".", "girl named", "\n"};
    ink_filter *filter = NULL;
    assert_int_equal(ink_filter_new(&filter, NULL, phrase, 3, NULL), INK_OK);
    ink_session *s = session_of(opened_builtin, 0, 0);
    uint32_t n_taken_back = 0, n_stopped = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        ink_generate_options o = asked(INK_GENERATE_LOGPROBS, 40, 2);
        if (seed % 2) o.filter = filter;
        if (seed % 3) o.stop = stops, o.n_stop = 3;
        if (seed % 5 == 0) o.flags |= INK_GENERATE_HEAL;
        heard *h = say(s, seed % 7 ? "One day" : "Once upon a ti", o, "temp=1", seed);
        if ((o.flags & INK_GENERATE_HEAL) == 0) assert_told_is_text(opened_builtin, h);
        n_taken_back += h->result.n_taken_back;
        n_stopped += h->result.stop == INK_STOP_STRING;
        free(h);
    }
    assert_true(n_taken_back > 0 && n_stopped > 0);
    ink_session_free(s);
    ink_filter_unref(filter);
}

// Tokens that are pieces of characters come with the character.
static void pieces_of_characters_come_together(void **state) {
    (void)state;
    tiny_model tiny = tiny_model_defaults();
    tiny.n_vocab = 257;
    opened o = opened_tiny(&tiny, 1, NULL);
    ink_session *s = session_of(o.model, 0, 0);
    for (uint64_t seed = 0; seed < 20; seed++) {
        heard *h = say(s, "a", asked(INK_GENERATE_LOGPROBS, 100, 1), "temp=3", seed);
        size_t n = 0;
        const ink_token *past = ink_session_tokens(s, &n);
        // At most an unfinished character is missing.
        assert_true(h->n_told <= h->result.n_generated);
        assert_true(h->result.n_generated - h->n_told <= 3);
        for (size_t i = 0; i < h->n_told; i++)
            assert_int_equal(h->told[i].token, past[h->result.n_prompt + i]);
        free(h);
    }
    ink_session_free(s);
    opened_close(&o);
}

// --- echo ----------------------------------------------------------------------------------------

static void the_prompt_is_echoed(void **state) {
    (void)state;
    static const char prompt[] = "Lily said: \"\xE4\xBD\xA0\xE5\xA5\xBD, caf\xC3\xA9!\" and";
    static const uint32_t n_logits[] = {1, 3, 200};
    ink_session *plain = session_of(opened_builtin, 0, 0);
    heard *without = say(plain, prompt, asked(INK_GENERATE_LOGPROBS, 12, 3), "temp=1", 5);
    for (size_t k = 0; k < 3; k++) {
        ink_session *s = session_of(opened_builtin, n_logits[k], 0);
        // Whatever the cache holds already.
        for (int again = 0; again < 2; again++) {
            heard *h = say(s, prompt, asked(INK_GENERATE_ECHO | INK_GENERATE_LOGPROBS, 12, 3),
                           "temp=1", 5);
            assert_int_equal(h->n_echoed, strlen(prompt));
            assert_memory_equal(h->text, prompt, strlen(prompt));
            assert_string_equal(h->text + strlen(prompt), without->text);
            size_t n = 0;
            const ink_token *past = ink_session_tokens(s, &n);
            assert_int_equal(h->n_told, h->result.n_prompt + h->result.n_generated);
            assert_int_equal(h->result.n_reused, 0);
            check_told(opened_builtin, h, past, n, 0, 3);
            free(h);
            h = say(s, prompt, asked(INK_GENERATE_ECHO, 12, 0), "temp=1", 5);
            assert_int_equal(h->n_echoed, strlen(prompt));
            assert_string_equal(h->text + strlen(prompt), without->text);
            assert_int_equal(h->n_told, 0);
            assert_true(h->result.n_reused > 0);
            free(h);
        }
        ink_session_free(s);
    }
    free(without);
    ink_session_free(plain);
}

static void flags_that_do_not_go_together(void **state) {
    (void)state;
    ink_session *s = session_of(opened_builtin, 0, 0);
    ink_error error = {0};
    ink_generate_options o = asked(INK_GENERATE_ECHO | INK_GENERATE_HEAL, 1, 0);
    assert_int_equal(ink_session_generate(s, "a", 1, &o, NULL, NULL, NULL, &error), INK_E_ARG);
    o.flags = INK_GENERATE_ECHO;
    assert_int_equal(ink_session_generate(s, "a", 1, &o, NULL, NULL, NULL, &error), INK_E_ARG);
    o.flags = INK_GENERATE_EMBED;
    assert_int_equal(ink_session_generate(s, "a", 1, &o, NULL, NULL, NULL, &error), INK_E_ARG);
    o = asked(INK_GENERATE_LOGPROBS, 1, 65);
    assert_int_equal(ink_session_generate(s, "a", 1, &o, NULL, NULL, NULL, &error), INK_E_LIMIT);
    o = asked(0, 1, 0);
    o.n_prompt_tokens = 1;
    assert_int_equal(ink_session_generate(s, "a", 1, &o, NULL, NULL, NULL, &error), INK_E_ARG);
    for (int high = 0; high < 2; high++) {
        const ink_token wrong = high ? 1 << 30 : -1;
        o.prompt_tokens = &wrong;
        assert_int_equal(ink_session_generate(s, "a", 1, &o, NULL, NULL, NULL, &error),
                         INK_E_TOKEN);
    }
    ink_session_free(s);
}

// --- ids as a prompt -----------------------------------------------------------------------------

static void ids_are_a_prompt_like_text(void **state) {
    (void)state;
    ink_token ids[64];
    size_t n = 0;
    assert_int_equal(ink_tokenize(opened_builtin, "The dog ran to", 14, 0, ids, 64, &n, NULL),
                     INK_OK);
    ink_session *s = session_of(opened_builtin, 0, 0);
    heard *text = say(s, "The dog ran to the park", asked(0, 20, 0), "temp=1", 3);
    ink_generate_options o = asked(0, 20, 0);
    o.prompt_tokens = ids;
    o.n_prompt_tokens = n;
    heard *both = say(s, " the park", o, "temp=1", 3);
    assert_string_equal(text->text, both->text);
    assert_int_equal(both->result.n_prompt, text->result.n_prompt);
    free(both);
    // The filter reads them as text, also across the two.
    const char *const phrase[] = {"dog ran", "to the"};
    for (size_t i = 0; i < 2; i++) {
        ink_error error = {0};
        ink_filter *filter = NULL;
        assert_int_equal(ink_filter_new(&filter, NULL, &phrase[i], 1, NULL), INK_OK);
        o.filter = filter;
        assert_int_equal(ink_session_generate(s, " the", 4, &o, NULL, NULL, NULL, &error),
                         INK_E_FILTERED);
        ink_filter_unref(filter);
    }
    free(text);
    ink_session_free(s);
}

// --- embeddings ----------------------------------------------------------------------------------

static const char sentence[] = "Lily saw a big red ball in the garden and wanted to play.";

// n times a mean less n - 1 times the one before is the hidden state of token n; the head makes the
// logits of it.
static void the_mean_is_of_final_hidden_states(void **state) {
    (void)state;
    tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, NULL);
    const inki_weights *w = &o.model->weights;
    const float *head = w->head.data; // F32 [n_vocab, n_embd]
    ink_session *s = session_of(o.model, 0, 0), *ends = session_of(o.model, 0, 0);
    float before[64] = {0}, mean[64];
    ink_token ids[64];
    size_t n_ids = 0, n = 0;
    assert_int_equal(ink_tokenize(o.model, sentence, strlen(sentence), 0, ids, 64, &n_ids, NULL),
                     INK_OK);
    for (size_t k = 1; k <= n_ids; k++) {
        ink_generate_options g = asked(INK_GENERATE_EMBED, 0, 0);
        g.prompt_tokens = ids;
        g.n_prompt_tokens = k;
        heard *h = say(s, "", g, "greedy", 0);
        assert_int_equal(h->result.n_embedding, w->n_embd);
        memcpy(mean, h->result.embedding, w->n_embd * sizeof *mean);
        const ink_span span = {.session = ends, .tokens = ids + k - 1, .n_tokens = 1};
        assert_int_equal(ink_eval(&span, 1, NULL), INK_OK);
        const float *logits = ink_session_logits(ends, 0, &n);
        for (size_t v = 0; v < n; v++) {
            double sum = 0;
            for (size_t i = 0; i < w->n_embd; i++)
                sum += head[v * w->n_embd + i] *
                       ((double)mean[i] * (double)k - (double)before[i] * (double)(k - 1));
            assert_true(fabs(sum - (double)logits[v]) < 1e-4);
        }
        memcpy(before, mean, sizeof before);
        free(h);
    }
    float direct[64];
    assert_int_equal(ink_session_embed(s, sentence, strlen(sentence), NULL, 0, &n, NULL), INK_OK);
    assert_int_equal(n, w->n_embd);
    assert_int_equal(ink_session_embed(s, sentence, strlen(sentence), direct, 3, &n, NULL),
                     INK_E_SPACE);
    assert_int_equal(ink_session_embed(s, sentence, strlen(sentence), direct, 64, &n, NULL),
                     INK_OK);
    assert_memory_equal(direct, mean, w->n_embd * sizeof *mean);
    ink_session_free(s);
    ink_session_free(ends);
    opened_close(&o);
}

static void embeddings_are_the_same_bytes(void **state) {
    (void)state;
    float first[256], other[256];
    size_t n = 0;
    for (uint32_t n_batch = 1; n_batch <= 64; n_batch = 3 * n_batch + 1) {
        ink_session *s = session_of(opened_builtin, 0, n_batch);
        for (int again = 0; again < 2; again++) { // the second time with all of it in the cache
            assert_int_equal(ink_session_embed(s, sentence, strlen(sentence), other, 256, &n, NULL),
                             INK_OK);
            if (n_batch == 1 && again == 0) memcpy(first, other, sizeof first);
            assert_memory_equal(first, other, n * sizeof *first);
        }
        // The past is the text: it goes on from there.
        heard *h = say(s, sentence, asked(0, 4, 0), "greedy", 0);
        assert_true(h->result.n_reused > 0);
        assert_null(h->result.embedding);
        free(h);
        ink_session_free(s);
    }
}

// --- a service -----------------------------------------------------------------------------------

static int hear_request(void *user, uint64_t id, const ink_piece *piece) {
    heard *h = user;
    if (h->id == 0) h->id = id;
    return id == h->id ? hear(user, piece) : 0;
}
static void hear_done(void *user, uint64_t id, ink_status status, const ink_result *result,
                      const ink_error *error) {
    (void)error;
    heard *h = user;
    if (id == h->id && status == INK_OK) {
        h->result = *result;
        h->n_embedding = result->n_embedding;
        if (h->n_embedding > 0)
            memcpy(h->embedding, result->embedding, h->n_embedding * sizeof *h->embedding);
    }
    atomic_fetch_add(&h->done, 1);
}

static void submit(ink_client *client, const char *text, const ink_generate_options *o) {
    ink_sampler_options sampling;
    ink_sampler_options_init(&sampling, sizeof sampling);
    sampling.seed_set = 1;
    sampling.seed = 9;
    ink_request r;
    ink_request_init(&r, sizeof r);
    r.text = text;
    r.bytes = strlen(text);
    r.generate = o;
    r.chain = "temp=1";
    r.sampler = &sampling;
    assert_int_equal(ink_client_submit(client, &r, NULL, NULL), INK_OK);
}

static void assert_same_heard(const heard *a, const heard *b) {
    assert_string_equal(a->text, b->text);
    assert_int_equal(a->n_told, b->n_told);
    for (size_t k = 0; k < a->n_told; k++) {
        assert_int_equal(a->told[k].token, b->told[k].token);
        assert_memory_equal(a->top[k], b->top[k], b->told[k].n_top * sizeof(ink_logprob));
    }
    assert_int_equal(a->n_embedding, b->n_embedding);
    assert_memory_equal(a->embedding, b->embedding, b->n_embedding * sizeof(float));
}

// The session serves another request before the host polls: what is told of the first one stays.
static void a_service_tells_the_same(void **state) {
    (void)state;
    enum { N = 3 };
    ink_token ids[64];
    size_t n_ids = 0;
    ink_tokenize(opened_builtin, "The dog ran", 11, 0, ids, 64, &n_ids, NULL);
    ink_session *s = session_of(opened_builtin, 0, 0);
    ink_generate_options o =
        asked(INK_GENERATE_ECHO | INK_GENERATE_LOGPROBS | INK_GENERATE_EMBED, 20, 5);
    o.prompt_tokens = ids;
    o.n_prompt_tokens = n_ids;
    heard *alone = say(s, " home.", o, "temp=1", 9);
    alone->n_embedding = alone->result.n_embedding;
    memcpy(alone->embedding, alone->result.embedding, alone->n_embedding * sizeof(float));
    assert_true(alone->n_told > 20 && alone->n_embedding > 0);
    for (int polled = 0; polled < 2; polled++) {
        ink_service_options so;
        ink_service_options_init(&so, sizeof so);
        so.flags = polled ? INK_SERVICE_POLL : 0;
        ink_service *service = NULL;
        assert_int_equal(ink_service_new(&service, &so, NULL), INK_OK);
        ink_client *clients[N];
        heard *h[N];
        for (size_t i = 0; i < N; i++) {
            h[i] = calloc(1, sizeof *h[i]);
            ink_client_options co;
            ink_client_options_init(&co, sizeof co);
            co.on_text = hear_request;
            co.on_done = hear_done;
            co.user = h[i];
            assert_int_equal(ink_client_new(&clients[i], service, &co, NULL), INK_OK);
            submit(clients[i], " home.", &o);
            const ink_generate_options other = asked(INK_GENERATE_EMBED, 2, 0);
            submit(clients[i], "Another text", &other);
        }
        for (size_t i = 0; i < N; i++)
            while (atomic_load(&h[i]->done) < 2)
                if (polled)
                    ink_service_poll(service, 100, NULL);
                else
                    sched_yield();
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(ink_client_free(clients[i]), INK_OK);
            assert_same_heard(h[i], alone);
            free(h[i]);
        }
        ink_service_free(service);
    }
    free(alone);
    ink_session_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_probabilities_are_the_models_own),
        cmocka_unit_test(what_is_taken_back_or_cut_is_not_told),
        cmocka_unit_test(pieces_of_characters_come_together),
        cmocka_unit_test(the_prompt_is_echoed),
        cmocka_unit_test(flags_that_do_not_go_together),
        cmocka_unit_test(ids_are_a_prompt_like_text),
        cmocka_unit_test(the_mean_is_of_final_hidden_states),
        cmocka_unit_test(embeddings_are_the_same_bytes),
        cmocka_unit_test(a_service_tells_the_same),
    };
    return cmocka_run_group_tests(tests, opened_builtin_begin, opened_builtin_end);
}
