// SPDX-License-Identifier: MIT
// What a schema costs: constrained decoding beside free decoding, and compiling it.
//
//     constrained [MODEL [rounds]]
//
// Each round decodes 200 tokens freely and 200 that a schema allows, in turns, both from the same
// prompt; every constrained run begins with a matcher that knows no state yet. Told are the medians
// of milliseconds a token and of the rounds' ratios, and the time of ink_grammar_new.
#include "bench/median.h"
#include "inkling/inkling.h"
#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_TOKENS = 200, MAX_ROUNDS = 200 };

static const char schema[] =
    "{\"type\":\"array\",\"minItems\":40,\"items\":{\"type\":\"object\",\"properties\":{"
    "\"name\":{\"type\":\"string\",\"maxLength\":40},"
    "\"age\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":120},"
    "\"mail\":{\"type\":\"string\",\"format\":\"email\"},"
    "\"kind\":{\"enum\":[\"cat\",\"dog\",\"dragon\"]},"
    "\"happy\":{\"type\":\"boolean\"},"
    "\"weight\":{\"type\":\"number\"},"
    "\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":4}},"
    "\"required\":[\"name\",\"age\",\"kind\",\"tags\"],\"additionalProperties\":false}}";

static double decode(ink_session *session, const ink_sampler *sampler, ink_grammar *grammar,
                     uint32_t *n) {
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.flags = INK_GENERATE_FRESH | INK_GENERATE_NO_END;
    o.n_tokens = N_TOKENS;
    o.sampler = sampler;
    o.grammar = grammar;
    ink_result r = {0};
    ink_error error = {0};
    if (ink_session_generate(session, "The list:", 9, &o, NULL, NULL, &r, &error) != INK_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
    *n = r.n_generated;
    return (r.first_token_ms - r.prefill_ms + r.decode_ms) / r.n_generated;
}

int main(int argc, char **argv) {
    static double free_ms[MAX_ROUNDS], held_ms[MAX_ROUNDS], ratios[MAX_ROUNDS], compile[MAX_ROUNDS];
    const int wanted = argc > 2 ? atoi(argv[2]) : 15;
    const int rounds = wanted < 1 ? 1 : wanted > MAX_ROUNDS ? MAX_ROUNDS : wanted;
    ink_source source = {.size = sizeof source,
                         .kind = argc > 1 ? INK_SOURCE_PATH : INK_SOURCE_BUILTIN,
                         .name = argc > 1 ? argv[1] : NULL};
    ink_model *model = NULL;
    ink_session *session = NULL;
    ink_sampler *sampler = NULL;
    ink_error error = {0};
    if (ink_model_open(&model, NULL, &source, NULL, &error) != INK_OK ||
        ink_session_new(&session, model, NULL, &error) != INK_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    ink_sampler_options so;
    ink_sampler_options_init(&so, sizeof so);
    so.seed_set = 1;
    uint32_t n_free = 0, n_held = 0;
    for (int i = 0; i < rounds; i++) {
        so.seed = (uint64_t)i;
        ink_grammar *grammar = NULL;
        if (ink_sampler_new(&sampler, model, NULL, &so, &error) != INK_OK) return 1;
        const double start = inki_os_now_ms();
        if (ink_grammar_new(&grammar, model, INK_GRAMMAR_JSON_SCHEMA, schema, strlen(schema),
                            &error) != INK_OK) {
            fprintf(stderr, "%s\n", error.message);
            return 1;
        }
        compile[i] = inki_os_now_ms() - start;
        const double before = decode(session, sampler, NULL, &n_free);
        held_ms[i] = decode(session, sampler, grammar, &n_held);
        const double after = decode(session, sampler, NULL, &n_free);
        free_ms[i] = (before + after) / 2;
        ratios[i] = held_ms[i] / free_ms[i];
        ink_grammar_unref(grammar);
        ink_sampler_free(sampler);
    }
    printf("compile     %.2f ms\n", median(compile, (size_t)rounds));
    printf("free        %.4f ms a token (%u tokens)\n", median(free_ms, (size_t)rounds),
           (unsigned)n_free);
    printf("constrained %.4f ms a token (%u tokens)\n", median(held_ms, (size_t)rounds),
           (unsigned)n_held);
    const double middle = median(ratios, (size_t)rounds);
    printf("ratio       %.3f [%.3f, %.3f]\n", middle, ratios[rounds / 4], ratios[rounds * 3 / 4]);
    ink_session_free(session);
    ink_model_unref(model);
    return 0;
}
