// SPDX-License-Identifier: MIT
// A host program around the blocks of docs/EXAMPLES.md, which tests/checks/examples.sh puts into
// files named by their headings. Each function holds what its block promises.
#include "inkling/inkling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct told {
    char text[8192];
    size_t n;
} told;

static int on_text(void *user, const ink_piece *piece) {
    told *out = user;
    if (out->n + piece->bytes >= sizeof out->text) return 1;
    memcpy(out->text + out->n, piece->text, piece->bytes + 1);
    out->n += piece->bytes;
    return 0;
}

#define HOLDS(property)                                                                            \
    do {                                                                                           \
        if (!(property)) {                                                                         \
            printf("%s:%d: %s: does not hold: %s; %s\n", __FILE__, __LINE__, __func__, #property,  \
                   error.message);                                                                 \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static const char story[] = "Once upon a time there was a cat. The cat";
static const char path[] = "story.ink";
static const char schema[] =
    "{\"type\": \"object\", \"properties\": {\"name\": {\"enum\": [\"Tim\", \"Lily\"]}, \"age\": "
    "{\"type\": \"integer\", \"minimum\": 1, \"maximum\": 9}}, \"required\": [\"name\", \"age\"], "
    "\"additionalProperties\": false}";

static ink_model *model;

// What all blocks have, and a session of `options`, which a block that makes its own does not take.
#define BEGIN                                                                                      \
    const char *text = story;                                                                      \
    (void)text;                                                                                    \
    told out = {.n = 0};                                                                           \
    void *user = &out;                                                                             \
    ink_result result = {.size = sizeof result};                                                   \
    ink_session_options options;                                                                   \
    ink_session *session = NULL;                                                                   \
    ink_session_options_init(&options, sizeof options);                                            \
    (void)user;                                                                                    \
    (void)result
#define SESSION HOLDS(ink_session_new(&session, model, &options, &error) == INK_OK)
#define END                                                                                        \
    HOLDS(error.status == INK_OK);                                                                 \
    ink_session_free(session)

static ink_sampler *seeded(uint64_t seed) {
    ink_error error = {0};
    ink_sampler *sampler = NULL;
    ink_sampler_options o;
    ink_sampler_options_init(&o, sizeof o);
    o.seed_set = 1;
    o.seed = seed;
    HOLDS(ink_sampler_new(&sampler, model, NULL, &o, &error) == INK_OK);
    return sampler;
}

// The continuation by n tokens without anything of what a block adds.
static told plain(const ink_sampler *sampler, uint32_t n) {
    ink_error error = {0};
    ink_generate_options how;
    ink_generate_options_init(&how, sizeof how);
    BEGIN;
    SESSION;
    how.sampler = sampler;
    how.n_tokens = n;
    ink_session_generate(session, text, strlen(text), &how, on_text, user, NULL, &error);
    HOLDS(out.n > 0);
    END;
    return out;
}

static void a_model_and_a_session(void) {
#include "shared"
    BEGIN;
#include "a_model_and_a_session"
    HOLDS(out.n > 0);
    END;
}

static void samplers(void) {
#include "shared"
    BEGIN;
    SESSION;
    ink_sampler *sampler = NULL;
#include "samplers"
    HOLDS(out.n > 0 && result.seed == ink_sampler_seed(sampler));
    char chain[256];
    size_t n = 0;
    HOLDS(ink_sampler_chain(sampler, chain, sizeof chain, &n) == INK_OK);
    HOLDS(strncmp(chain, "dry=0.8,", 8) == 0 && strstr(chain, ";top_k=40;temp=0.7") != NULL);
    ink_sampler_free(sampler);
    END;
}

static void saved(const ink_sampler *sampler, told *before) {
#include "shared"
    BEGIN;
    SESSION;
    ink_save_options what;
    ink_save_options_init(&what, sizeof what);
    how.sampler = sampler;
    how.n_tokens = 12;
#include "save"
    *before = out;
    END;
}

static void save_and_restore(void) {
    ink_sampler *sampler = seeded(7);
    const told whole = plain(sampler, 30);
    told before;
    saved(sampler, &before);
    ink_sampler_free(sampler);
#include "shared"
    BEGIN;
    SESSION;
    how.n_tokens = 18;
#include "restore"
    HOLDS(before.n + out.n == whole.n);
    HOLDS(memcmp(whole.text, before.text, before.n) == 0);
    HOLDS(memcmp(whole.text + before.n, out.text, out.n) == 0);
    ink_sampler_free(was.sampler);
    END;
}

static void an_answer_in_json(void) {
#include "shared"
    BEGIN;
    SESSION;
    ink_grammar *grammar = NULL;
#include "an_answer_in_json"
    uint32_t state = 0;
    HOLDS(result.stop == INK_STOP_END);
    HOLDS(ink_grammar_check(grammar, out.text, out.n, &state, NULL) == INK_OK);
    HOLDS(state == INK_GRAMMAR_CLOSED);
    HOLDS(strstr(out.text, "\"name\":") != NULL && strstr(out.text, "\"age\":") != NULL);
    HOLDS(out.text[0] == '{' && out.text[out.n - 1] == '}');
    ink_grammar_unref(grammar);
    END;
}

static void words(void) {
#include "shared"
    BEGIN;
    SESSION;
    ink_filter *filter = NULL;
    ink_sampler *likeliest = NULL; // it would write "little girl"
    HOLDS(ink_sampler_new(&likeliest, model, "greedy", NULL, &error) == INK_OK);
    how.sampler = likeliest;
    text = "Once upon a time there was a";
#include "words_that_must_stand_there_words_that_must_not"
    HOLDS(strstr(out.text, "dragon") != NULL && strstr(out.text, "purple house") != NULL);
    HOLDS(strstr(out.text, "little girl") == NULL && strstr(out.text, "little boy") == NULL);
    ink_filter_unref(filter);
    ink_sampler_free(likeliest);
    END;
}

static void drafts(ink_model *small) {
    ink_sampler *sampler = seeded(3);
    const told without = plain(sampler, 60);
#include "shared"
    BEGIN;
    how.sampler = sampler;
    how.n_tokens = 60;
#include "drafts"
    ink_session_generate(session, text, strlen(text), &how, on_text, user, &result, &error);
    HOLDS(out.n == without.n && memcmp(out.text, without.text, out.n) == 0);
    if (small != NULL) HOLDS(result.n_drafted > 0);
    ink_sampler_free(sampler);
    END;
}

static void a_beginning(void) {
#include "shared"
    BEGIN;
    ink_prefix_cache *cache = NULL;
    char begin[2048] = "";
    for (int i = 0; i < 12; i++) strcat(begin, "The cat sat on the mat and looked out. ");
    how.n_tokens = 4;
#include "a_beginning_that_many_texts_share"
    ink_session_generate(session, begin, strlen(begin), &how, on_text, user, &result, &error);
    HOLDS(result.n_reused == 0);
    ink_session *second = NULL;
    HOLDS(ink_session_new(&second, model, &options, &error) == INK_OK);
    ink_session_generate(second, begin, strlen(begin), &how, on_text, user, &result, &error);
    HOLDS(result.n_reused >= ink_page_positions());
    ink_session_free(second);
    ink_prefix_cache_unref(cache);
    END;
}

static void several_continuations(void) {
#include "shared"
    BEGIN;
    SESSION;
    ink_session *other = NULL;
    ink_sampler *another = seeded(5);
    how.n_tokens = 8;
    ink_session_generate(session, text, strlen(text), &how, NULL, NULL, NULL, &error);
    const uint32_t n_past = ink_session_n_past(session);
#include "several_continuations"
    size_t n = 0, n_other = 0;
    const ink_token *ids = ink_session_tokens(session, &n);
    const ink_token *others = ink_session_tokens(other, &n_other);
    HOLDS(n == n_past && n_other > n && memcmp(ids, others, n * sizeof *ids) == 0);
    HOLDS(out.n > 0);
    ink_sampler_free(another);
    ink_session_free(other);
    END;
}

static void how_likely_it_is(void) {
#include "shared"
    BEGIN;
    SESSION;
    (void)how;
#include "how_likely_it_is"
    HOLDS(best == 0 && endings[0].n_tokens > 0 && endings[0].logprob < 0);
    HOLDS(endings[1].logprob < endings[0].logprob);
    END;
}

static void the_most_probable_text(void) {
#include "shared"
    BEGIN;
    SESSION;
    (void)how;
    ink_search_options search;
    ink_search_options_init(&search, sizeof search);
    search.n_tokens = 16;
#include "the_most_probable_text"
    HOLDS(out.n > 0 && result.n_generated > 0);
    END;
}

static void a_vector_for_a_text(void) {
#include "shared"
    BEGIN;
    SESSION;
    (void)how;
    ink_model_info info = {.size = sizeof info};
    HOLDS(ink_model_get_info(model, &info) == INK_OK);
    const size_t n_embd = info.n_embd;
    float *vector = calloc(n_embd, sizeof *vector);
    size_t n = 0;
    double length = 0;
    HOLDS(vector != NULL);
#include "a_vector_for_a_text"
    for (size_t i = 0; i < n; i++) length += (double)vector[i] * (double)vector[i];
    HOLDS(n == n_embd && fabs(length - 1) < 1e-5);
    free(vector);
    END;
}

int main(void) {
    a_model_and_a_session();
    samplers();
    save_and_restore();
    an_answer_in_json();
    words();
    drafts(NULL);
    drafts(model);
    a_beginning();
    several_continuations();
    how_likely_it_is();
    the_most_probable_text();
    a_vector_for_a_text();
    ink_model_unref(model);
    puts("the examples do what they say");
    return 0;
}
