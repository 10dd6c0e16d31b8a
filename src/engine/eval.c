// SPDX-License-Identifier: MIT
// Several sessions in one pass: all their tokens are appended, or none.
#include "engine/engine.h"

#include <string.h>

static ink_status check_span(const ink_span *span, size_t index, const ink_session *first,
                             ink_error *error) {
    const ink_session *s = span->session;
    const unsigned long long i = index;
    if (span->tokens == NULL || span->n_tokens == 0)
        return inki_fail(error, INK_E_ARG, NULL, 0, "span %llu has no tokens", i);
    if (span->reserved != NULL)
        return inki_fail(error, INK_E_UNSUPPORTED, "ink_span", 0,
                         "its reserved field is set, which this version does not know (span %llu)",
                         i);
    if (s->model != first->model)
        return inki_fail(error, INK_E_ARG, NULL, 0, "span %llu is of another model than span 0", i);
    const uint32_t n_vocab = s->model->weights.n_vocab;
    for (size_t k = 0; k < span->n_tokens; k++)
        if (span->tokens[k] < 0 || (uint32_t)span->tokens[k] >= n_vocab)
            return inki_fail(error, INK_E_TOKEN, NULL, k,
                             "token %d at %zu of span %llu; the vocabulary has %u",
                             (int)span->tokens[k], k, i, (unsigned)n_vocab);
    if (span->n_tokens > s->options.n_ctx - s->n_past)
        return inki_fail(error, INK_E_CONTEXT, NULL, 0,
                         "%zu tokens after %u do not fit into the context of %u (span %llu)",
                         span->n_tokens, (unsigned)s->n_past, (unsigned)s->options.n_ctx, i);
    if ((span->flags & INK_SPAN_ALL_LOGITS) && span->n_tokens > s->options.n_logits)
        return inki_fail(error, INK_E_LIMIT, NULL, 0,
                         "%zu rows of logits; the session was made for %u (span %llu)",
                         span->n_tokens, (unsigned)s->options.n_logits, i);
    return INK_OK;
}

// The forward pass only sees that a number is not finite. Which weight is to blame is found by
// reading them all: slow, but only on the way to an error.
static ink_status explain_nonfinite(const ink_span *spans, size_t n, ink_error *error) {
    const ink_model *m = spans[0].session->model;
    const inki_kernels *kernels = &m->runtime->kernels;
    uint64_t index = 0;
    const char *file = m->source_name;
    const char *tensor = inki_weights_find_nonfinite(&m->gguf, kernels, &index);
    for (size_t i = 0; i < n; i++) {
        const inki_adapters *adapters = &spans[i].session->adapters;
        for (size_t k = 0; k < adapters->n && tensor == NULL; k++) {
            file = adapters->list[k].adapter->name;
            tensor = inki_weights_find_nonfinite(&adapters->list[k].adapter->gguf, kernels, &index);
        }
    }
    if (tensor == NULL)
        return inki_fail(error, INK_E_NUMERIC, m->source_name, 0,
                         "the logits are not finite although every weight is: numbers grew too "
                         "large, or those of a restored session were altered");
    inki_fail(error, INK_E_NUMERIC, tensor, index, "element %llu is NaN or infinite",
              (unsigned long long)index);
    inki_error_prefix(error, file);
    return INK_E_NUMERIC;
}

// Where the row of logits behind n tokens goes: among those that are held, if any are.
static float *row_behind(const ink_session *s, uint32_t n) {
    const uint32_t n_held = s->options.n_held;
    return s->held != NULL ? s->held + (size_t)(n % n_held) * s->model->weights.n_vocab : s->logits;
}

// The first token of a span that a row is kept for.
static size_t first_kept(const ink_span *span) {
    const ink_session *s = span->session;
    const size_t n = span->n_tokens, n_held = s->held != NULL ? s->options.n_held : 1;
    if ((span->flags & INKI_SPAN_HOLD) == 0) return n - 1;
    return n > n_held ? n - n_held : 0;
}

// Walks all tokens of all spans in order and runs a pass whenever the working memory is full.
static ink_status run_passes(const ink_span *spans, size_t n, inki_work *work,
                             inki_forward *forward, ink_error *error) {
    const size_t n_vocab = forward->weights->n_vocab, n_embd = forward->weights->n_embd;
    uint32_t filled = 0;
    for (size_t i = 0; i < n; i++) {
        ink_session *s = spans[i].session;
        const bool all = (spans[i].flags & INK_SPAN_ALL_LOGITS) != 0;
        const size_t kept = first_kept(&spans[i]);
        for (size_t k = 0; k < spans[i].n_tokens; k++) {
            const bool last = k + 1 == spans[i].n_tokens;
            work->rows[filled++] =
                (inki_row){.kv = &s->kv,
                           .hidden = s->pools ? s->hidden + k * n_embd : NULL,
                           .pos = s->n_past + (uint32_t)k,
                           .token = spans[i].tokens[k],
                           .loras = s->loras.n > 0 ? &s->loras : NULL,
                           .logits = all         ? s->logits + k * n_vocab
                                     : k >= kept ? row_behind(s, s->n_past + (uint32_t)k + 1)
                                                 : NULL};
            if (filled < work->scratch.n_rows && !(last && i + 1 == n)) continue;
            const ink_status status = inki_forward_run(forward, work->rows, filled, error);
            if (status != INK_OK) return status;
            filled = 0;
        }
    }
    return INK_OK;
}

typedef struct span_list {
    const ink_span *spans;
    size_t n;
} span_list;

// Whoever cancels one of the sessions cancels the pass: it is all or nothing.
static bool any_cancelled(const void *arg) {
    const span_list *list = arg;
    for (size_t i = 0; i < list->n; i++)
        if (inki_session_was_interrupted(list->spans[i].session)) return true;
    return false;
}

static ink_status evaluate(const ink_span *spans, size_t n, inki_work *work, ink_error *error) {
    const ink_model *m = spans[0].session->model;
    const span_list list = {spans, n};
    inki_pool *pool = m->runtime->pool;
    const bool have_pool = inki_pool_enter(pool);
    inki_forward forward = {.weights = &m->weights,
                            .kernels = &m->runtime->kernels,
                            .pool = have_pool ? pool : NULL,
                            .scratch = &work->scratch,
                            .n_threads = spans[0].session->n_threads,
                            .cancelled = any_cancelled,
                            .cancelled_arg = &list};
    const ink_status status = run_passes(spans, n, work, &forward, error);
    if (have_pool) inki_pool_leave(pool);
    return status == INK_E_NUMERIC ? explain_nonfinite(spans, n, error) : status;
}

// The pass writes over what the cache holds behind the past. What is evaluated only once more, for
// its logits, comes out the same: all of it stays, but where a key begins a group of columns that
// is cleared first.
static void forget_behind(const ink_span *span) {
    ink_session *s = span->session;
    const uint32_t n = (uint32_t)span->n_tokens;
    uint32_t same = 0;
    while (same < n && s->n_past + same < s->n_cached &&
           s->tokens[s->n_past + same] == span->tokens[same])
        same++;
    // The choice of the first token that is new has told mirostat where the next one stands.
    if (s->n_mu > s->n_past + same + 1) s->n_mu = s->n_past + same + 1;
    // A page that is copied because a fork shares it is copied up to here only.
    if (inki_kv_is_shared(&s->kv, s->n_past)) same = 0;
    bool clears = false;
    for (uint32_t k = 0; k < n; k++) clears |= (s->n_past + k) % INKI_KV_KEY_GROUP == 0;
    if (same < n || clears) {
        s->n_cached = s->n_past + same;
        for (uint32_t i = 0; s->held != NULL && i < s->options.n_held; i++)
            if (s->held_at[i] > s->n_cached) s->held_at[i] = 0;
    }
    s->n_rows = 0;
    const uint32_t n_held = s->held != NULL ? s->options.n_held : 0;
    for (uint32_t k = (uint32_t)first_kept(span) + 1; n_held > 0 && k <= n; k++)
        s->held_at[(s->n_past + k) % n_held] = 0; // until the pass has written it
}

static void append_span(const ink_span *span) {
    ink_session *s = span->session;
    const uint32_t n = (uint32_t)span->n_tokens;
    const bool all = (span->flags & INK_SPAN_ALL_LOGITS) != 0;
    const size_t n_vocab = s->model->weights.n_vocab;
    const uint32_t before = s->n_past;
    s->is_cut = false;
    s->n_pending = 0;
    s->row = all ? s->logits + (n - 1) * n_vocab : row_behind(s, before + n);
    memcpy(s->tokens + s->n_past, span->tokens, n * sizeof *s->tokens);
    s->n_past += n;
    s->n_rows = all ? n : 1;
    if (s->n_cached < s->n_past) s->n_cached = s->n_past;
    for (uint32_t k = (uint32_t)first_kept(span) + 1; s->held != NULL && !all && k <= n; k++)
        s->held_at[(before + k) % s->options.n_held] = before + k;
}

ink_status inki_eval_entered(const ink_span *spans, size_t n, ink_error *error) {
    // Any of the sessions' working memory will do: all of them belong to this thread now.
    // But it must have room for everyone's adapters.
    inki_work *work = NULL;
    ink_session *widest = spans[0].session;
    for (size_t i = 0; i < n; i++) {
        const ink_status status = check_span(&spans[i], i, spans[0].session, error);
        if (status != INK_OK) return status;
        if (spans[i].session->loras.low_bytes > widest->loras.low_bytes) widest = spans[i].session;
    }
    for (size_t i = 0; i < n && work == NULL; i++) {
        inki_work *theirs = &spans[i].session->work;
        if (theirs->block != NULL && theirs->scratch.low_stride >= widest->loras.low_bytes)
            work = theirs;
    }
    ink_status status = INK_OK;
    if (work == NULL) {
        status = inki_session_need_work(widest, error);
        work = &widest->work;
    }
    for (size_t i = 0; i < n && status == INK_OK; i++) forget_behind(&spans[i]);
    for (size_t i = 0; i < n && status == INK_OK; i++) {
        ink_session *s = spans[i].session;
        status = inki_kv_prepare(&s->kv, s->n_past, s->n_past + (uint32_t)spans[i].n_tokens, error);
    }
    if (status != INK_OK) return status;

    status = evaluate(spans, n, work, error);
    for (size_t i = 0; i < n && status == INK_OK; i++) append_span(&spans[i]);
    return status;
}

ink_status ink_eval(const ink_span *spans, size_t n, ink_error *error) {
    if (spans == NULL || n == 0) return inki_fail(error, INK_E_ARG, "ink_eval", 0, "no spans");
    ink_status status = INK_OK;
    for (size_t i = 0; i < n && status == INK_OK; i++)
        status = inki_flags_check(spans[i].flags, INK_SPAN_ALL_LOGITS, "ink_span", error);
    if (status != INK_OK) return status;
    size_t entered = 0;
    while (entered < n && status == INK_OK) {
        status = inki_session_enter(spans[entered].session, error);
        if (status == INK_OK) entered++;
    }
    for (size_t i = 0; i < entered && status == INK_E_REENTRANT; i++)
        if (spans[i].session == spans[entered].session)
            status = inki_fail(error, INK_E_ARG, NULL, 0,
                               "spans %zu and %zu are of the same session", i, entered);
    if (status == INK_OK) {
        inki_fp fp;
        inki_fp_ours(&fp);
        status = inki_eval_entered(spans, n, error);
        inki_fp_hosts(&fp);
    }
    while (entered > 0) inki_session_leave(spans[--entered].session);
    return status;
}
