// SPDX-License-Identifier: MIT
#include "engine/engine.h"

#include "grammar/schema.h"

#include <string.h>

static ink_status read_rules(ink_grammar *g, uint32_t kind, const char *text, size_t bytes,
                             ink_error *error) {
    char *gbnf = NULL;
    size_t n = 0;
    if (kind == INK_GRAMMAR_GBNF) return inki_grammar_parse(&g->rules, text, bytes, &g->mem, error);
    ink_status status = inki_schema_to_gbnf(&gbnf, &n, text, bytes, &g->mem, error);
    if (status != INK_OK) return status;
    status = inki_grammar_parse(&g->rules, gbnf, n, &g->mem, error);
    inki_release(&g->mem, gbnf, n + 1, 1);
    return status;
}

// Who first needs the model's trie makes it. Of several at once each makes one, and the first that
// is done is everybody's: nobody waits, and there is never half a trie.
static ink_status share_trie(ink_grammar *g, ink_error *error) {
    ink_model *model = g->model;
    inki_token_trie *known = atomic_load(&model->trie), *made = NULL;
    if (known == NULL) {
        const ink_status status = inki_token_trie_new(&made, model->tokenizer, &g->mem, error);
        if (status != INK_OK) return status;
        if (atomic_compare_exchange_strong(&model->trie, &known, made))
            known = made;
        else
            inki_token_trie_free(made);
    }
    g->trie = known;
    return INK_OK;
}

ink_status ink_grammar_new(ink_grammar **out, ink_model *model, uint32_t kind, const char *text,
                           size_t bytes, ink_error *error) {
    if (out == NULL || model == NULL || text == NULL)
        return inki_fail(error, INK_E_ARG, "ink_grammar_new", 0, "out, model or text is NULL");
    if (kind > INK_GRAMMAR_JSON_SCHEMA)
        return inki_fail(error, INK_E_ARG, "kind", 0, "unknown number %u", (unsigned)kind);
    ink_status status = inki_model_need_all(model, error);
    if (status != INK_OK) return status;
    ink_grammar *g = inki_alloc_zero(&model->mem, 1, sizeof *g);
    if (g == NULL) return inki_fail_nomem(error, sizeof *g);
    atomic_init(&g->refs, 1);
    g->mem = model->mem;
    g->model = ink_model_ref(model);
    status = read_rules(g, kind, text, bytes, error);
    if (status == INK_OK) status = share_trie(g, error);
    if (status != INK_OK) {
        ink_grammar_unref(g);
        return status;
    }
    *out = g;
    return INK_OK;
}

ink_grammar *inki_grammar_ref(ink_grammar *g) {
    if (g != NULL) atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
    return g;
}

void ink_grammar_unref(ink_grammar *g) {
    if (g == NULL || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) != 1) return;
    const inki_mem mem = g->mem;
    ink_model *model = g->model;
    inki_grammar_free(g->rules);
    inki_release(&mem, g, 1, sizeof *g);
    ink_model_unref(model);
}

ink_status ink_grammar_text(const ink_grammar *grammar, char *out, size_t cap, size_t *bytes) {
    if (grammar == NULL || bytes == NULL || (out == NULL && cap != 0)) return INK_E_ARG;
    size_t n = 0;
    const char *text = inki_grammar_source(grammar->rules, &n);
    *bytes = n;
    if (out == NULL) return INK_OK;
    if (n >= cap) return INK_E_SPACE;
    memcpy(out, text, n);
    out[n] = 0;
    return INK_OK;
}

ink_status ink_grammar_check(const ink_grammar *grammar, const char *text, size_t bytes,
                             uint32_t *state, size_t *n_accepted) {
    if (grammar == NULL || (text == NULL && bytes > 0) || state == NULL) return INK_E_ARG;
    inki_matcher *matcher = NULL;
    size_t n = 0;
    ink_status status = inki_matcher_new(&matcher, grammar->rules, NULL, &grammar->mem, NULL);
    if (status == INK_OK)
        status = inki_matcher_push(matcher, text != NULL ? text : "", bytes, &n, NULL);
    if (status == INK_OK) {
        if (n_accepted != NULL) *n_accepted = n;
        *state = n < bytes                        ? INK_GRAMMAR_REFUSED
                 : inki_matcher_must_end(matcher) ? INK_GRAMMAR_CLOSED
                 : inki_matcher_may_end(matcher)  ? INK_GRAMMAR_COMPLETE
                                                  : INK_GRAMMAR_OPEN;
    }
    inki_matcher_free(matcher);
    return status;
}
