// SPDX-License-Identifier: MIT
// Any text, JSON too, is either refused or makes a chain whose printed form is read back to the
// same print, and that chooses an id of the vocabulary.
#include "sampler/chain.h"

#include <stdlib.h>
#include <string.h>

enum { VOCAB = 150, TEXT = 65536 }; // VOCAB: no whole number of blocks

static inki_str piece(const void *arg, int32_t id) {
    static const char *const pieces[] = {"\n", " a", "", "b:", "*"};
    (void)arg;
    const char *text = pieces[id % 5];
    return (inki_str){text, strlen(text)};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size >= TEXT) return 0;
    const inki_mem mem = inki_mem_from(NULL);
    char *text = malloc(size + 1);
    if (text == NULL) return 0;
    if (size > 0) memcpy(text, data, size);
    text[size] = 0;
    inki_chain *chain = NULL, *again = NULL;
    ink_error error = {0};
    const ink_status status = inki_chain_new(&chain, text, NULL, VOCAB, &mem, &error);
    free(text);
    if (status != INK_OK) {
        if (error.status != status || error.message[0] == 0 || chain != NULL) abort();
        return 0;
    }
    const size_t n = inki_chain_text(chain, NULL, 0);
    char *first = malloc(n + 1), *second = malloc(n + 1);
    if (first == NULL || second == NULL) abort();
    inki_chain_text(chain, first, n + 1);
    if (inki_chain_new(&again, first, NULL, VOCAB, &mem, NULL) != INK_OK) abort();
    if (inki_chain_text(again, second, n + 1) != n || strcmp(first, second) != 0) abort();
    free(first);
    free(second);

    float logits[VOCAB];
    int32_t history[16], a = -1, b = -1;
    inki_candidate scratch[VOCAB];
    for (int i = 0; i < VOCAB; i++) logits[i] = (float)((i * 37 + (int)size) % VOCAB - 30) * 0.25f;
    for (int i = 0; i < 16; i++) history[i] = i * i % VOCAB;
    double mu = 0, mu_next = 0;
    const bool has_mu = inki_chain_has_mu(chain, &mu);
    const inki_token_texts texts = {piece, NULL};
    const inki_draw draw = {.logits = logits,
                            .n_vocab = VOCAB,
                            .history = history,
                            .n_history = 16,
                            .stream = 1,
                            .position = size,
                            .banned = 3,
                            .mu = mu,
                            .mu_next = has_mu ? &mu_next : NULL,
                            .texts = &texts,
                            .scratch = scratch};
    const ink_status drawn = inki_chain_draw(chain, &draw, &a, &error);
    if (drawn != inki_chain_draw(again, &draw, &b, &error) || a != b) abort();
    if (drawn == INK_OK ? a < 0 || a >= VOCAB || a == 3 : drawn != INK_E_NUMERIC) abort();
    inki_chain_free(chain);
    inki_chain_free(again);
    return 0;
}
