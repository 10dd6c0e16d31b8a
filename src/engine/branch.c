// SPDX-License-Identifier: MIT
// Branches: sessions that follow another one for a few tokens, again and again, in memory that they
// have from the beginning.
#include "engine/engine.h"

#include <string.h>

// With few rows of logits; what else a pass needs is the parent's.
static ink_session_options branch_options(const ink_session_options *parent) {
    ink_session_options o = *parent;
    o.n_batch = o.n_logits = 1;
    o.n_held = o.n_draft = 0;
    o.draft = NULL;
    o.prefix_cache = NULL;
    return o;
}

// In the worst case what the branch does not share begins in the last position of a page, with a
// token that the parent has too.
static uint32_t branch_pages(const ink_session_options *options, uint32_t n_new) {
    const uint32_t needed = 1 + inki_kv_pages_for(n_new);
    const uint32_t most = inki_kv_pages_for(options->n_ctx);
    return needed < most ? needed : most;
}

ink_status inki_session_new_branch(ink_session **out, ink_session *parent, uint32_t n_new,
                                   ink_error *error) {
    const ink_session_options o = branch_options(&parent->options);
    ink_session *branch = NULL;
    ink_status status = inki_session_make(&branch, parent->model, &o, false, error);
    if (status != INK_OK) return status;
    status = inki_kv_prepare(&branch->kv, 0, branch_pages(&o, n_new) * INKI_TILE, error);
    if (status != INK_OK) {
        ink_session_free(branch);
        return status;
    }
    branch->work = parent->work;
    branch->work.block_bytes = 0;
    *out = branch;
    return INK_OK;
}

ink_status inki_session_rebranch(ink_session *branch, const ink_session *parent, uint32_t n_shared,
                                 uint32_t n_past, ink_error *error) {
    branch->n_past = branch->n_cached = branch->n_rows = 0;
    const ink_status status = inki_kv_branch(&branch->kv, &parent->kv, n_shared, n_past, error);
    if (status != INK_OK) return status;
    memcpy(branch->tokens, parent->tokens, n_past * sizeof *branch->tokens);
    branch->n_past = branch->n_cached = n_past;
    branch->n_forgotten = parent->n_forgotten;
    const float *row = inki_session_row_at(parent, n_past);
    if (row == NULL) return INK_OK;
    memcpy(branch->logits, row, parent->model->weights.n_vocab * sizeof *row);
    branch->row = branch->logits;
    branch->n_rows = 1;
    return INK_OK;
}

static uint32_t n_common(const ink_session *s, const ink_token *tokens, uint32_t n) {
    const uint32_t most = n < s->n_cached ? n : s->n_cached;
    uint32_t i = 0;
    while (i < most && s->tokens[i] == tokens[i]) i++;
    return i;
}

void inki_session_adopt(ink_session *s, const ink_session *branch, const ink_token *tokens,
                        uint32_t n) {
    const uint32_t ours = n_common(s, tokens, n), theirs = n_common(branch, tokens, n);
    if (theirs <= ours || !inki_kv_adopt(&s->kv, &branch->kv, ours, theirs)) return;
    inki_rewind_entered(s, ours);
    memcpy(s->tokens + ours, tokens + ours, (theirs - ours) * sizeof *tokens);
    s->n_cached = theirs;
}
