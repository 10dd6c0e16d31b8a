// SPDX-License-Identifier: MIT
// The time to the first token of a prompt whose beginning others have read already: found in a
// prefix cache, beside evaluated.
//
//     prefix_reuse MODEL.gguf [shared tokens [own tokens [turns]]]
//
// Both are done in turns, each by a session that was just made (and not in its time). What a turn
// leaves in the cache of its own tokens is of use to no other turn, but for what stands in a page
// with the end of the shared ones.
#include "bench/median.h"
#include "inkling/inkling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TURNS = 100, MAX_IDS = 1 << 16 };

static ink_error error;
static ink_token ids[MAX_IDS];

static void check(ink_status status) {
    if (status == INK_OK) return;
    fprintf(stderr, "%s\n", error.message);
    exit(1);
}

// One token behind ids [n]. Returns the logits' session.
static ink_session *first_token(ink_model *model, ink_prefix_cache *cache, size_t n,
                                ink_result *r) {
    ink_session *s = NULL;
    ink_session_options so;
    ink_generate_options g;
    ink_session_options_init(&so, sizeof so);
    ink_generate_options_init(&g, sizeof g);
    so.prefix_cache = cache;
    g.flags = INK_GENERATE_FRESH | INK_GENERATE_NO_END;
    g.n_tokens = 1;
    g.prompt_tokens = ids;
    g.n_prompt_tokens = n;
    *r = (ink_result){.size = sizeof *r};
    check(ink_session_new(&s, model, &so, &error));
    check(ink_session_generate(s, NULL, 0, &g, NULL, NULL, r, &error));
    // The logits behind the prompt itself, for who compares them.
    g.n_tokens = 0;
    check(ink_session_generate(s, NULL, 0, &g, NULL, NULL, NULL, &error));
    return s;
}

int main(int argc, char **argv) {
    const size_t n_shared = argc > 2 ? strtoul(argv[2], NULL, 10) : 500;
    const size_t n_own = argc > 3 ? strtoul(argv[3], NULL, 10) : 20;
    const size_t turns = argc > 4 ? strtoul(argv[4], NULL, 10) : 5;
    if (argc < 2 || n_shared == 0 || n_own == 0 || n_shared > MAX_IDS / 2 || n_own > MAX_IDS / 2 ||
        turns == 0 || turns > MAX_TURNS) {
        fprintf(stderr, "usage: prefix_reuse MODEL.gguf [shared tokens [own tokens [turns]]]\n");
        return 2;
    }
    ink_model *model = NULL;
    ink_prefix_cache *cache = NULL;
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = argv[1]};
    check(ink_model_open(&model, NULL, &source, NULL, &error));
    check(ink_prefix_cache_new(&cache, model, 256000000, &error));
    ink_model_info info = {0};
    check(ink_model_get_info(model, &info));
    const size_t n = n_shared + n_own;
    for (size_t i = 0; i < n; i++) ids[i] = (ink_token)(i * 7919 % (info.n_vocab - 1));
    ink_result r;
    ink_session_free(first_token(model, cache, n_shared, &r)); // somebody reads what is shared

    double without[MAX_TURNS], with[MAX_TURNS];
    uint32_t n_found = 0;
    for (size_t i = 0; i < turns; i++) {
        for (size_t k = n_shared; k < n; k++) // its first token is no other turn's
            ids[k] = (ink_token)((k * 104729 + (i + 1) * 31) % (info.n_vocab - 1));
        ink_session *a = first_token(model, NULL, n, &r);
        without[i] = r.first_token_ms;
        ink_session *b = first_token(model, cache, n, &r);
        with[i] = r.first_token_ms;
        n_found = r.n_reused;
        const float *of_a = ink_session_logits(a, 0, NULL), *of_b = ink_session_logits(b, 0, NULL);
        if (memcmp(of_a, of_b, info.n_vocab * sizeof *of_a) != 0) {
            fprintf(stderr, "the logits are others\n");
            return 1;
        }
        ink_session_free(a);
        ink_session_free(b);
    }
    const double w = median(without, turns), f = median(with, turns);
    printf("first token behind %zu + %zu tokens, medians of %zu turns\n", n_shared, n_own, turns);
    printf("evaluated            %8.1f ms\n", w);
    printf("%4u found           %9.1f ms   %.1f times sooner\n", (unsigned)n_found, f, w / f);
    ink_prefix_cache_unref(cache);
    ink_model_unref(model);
    return 0;
}
