// SPDX-License-Identifier: MIT
#include "engine/draft.h"
#include "engine/prefix_cache.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

enum { DEFAULT_BATCH = 128, MAX_BATCH = 4096 };

// --- one thread at a time ------------------------------------------------------------------------

ink_status inki_session_enter(ink_session *session, ink_error *error) {
    if (session == NULL) return inki_fail(error, INK_E_ARG, NULL, 0, "the session is NULL");
    const uintptr_t self = (uintptr_t)pthread_self();
    int idle = 0;
    if (!atomic_compare_exchange_strong_explicit(&session->busy, &idle, 1, memory_order_acquire,
                                                 memory_order_relaxed)) {
        if (atomic_load_explicit(&session->owner, memory_order_relaxed) == self)
            return inki_fail(error, INK_E_REENTRANT, NULL, 0,
                             "the session is in a call of this thread: inside a callback it may "
                             "only be cancelled");
        return inki_fail(error, INK_E_BUSY, NULL, 0, "the session is in use by another thread");
    }
    atomic_store_explicit(&session->owner, self, memory_order_relaxed);
    atomic_store_explicit(&session->cancel, 0, memory_order_relaxed);
    return INK_OK;
}

void inki_session_leave(ink_session *session) {
    atomic_store_explicit(&session->owner, 0, memory_order_relaxed);
    atomic_store_explicit(&session->busy, 0, memory_order_release);
}

void ink_session_cancel(ink_session *session) {
    if (session != NULL) atomic_store_explicit(&session->cancel, 1, memory_order_relaxed);
}

// --- memory --------------------------------------------------------------------------------------

ink_status inki_session_options_complete(ink_session_options *o, const inki_weights *w,
                                         ink_error *error) {
    if (o->n_ctx > w->n_ctx)
        return inki_fail(error, INK_E_LIMIT, "n_ctx", 0, "%u positions; the model has %u",
                         (unsigned)o->n_ctx, (unsigned)w->n_ctx);
    if (o->kv_type >= INKI_KV_TYPES)
        return inki_fail(error, INK_E_ARG, "kv_type", 0, "unknown number %u", (unsigned)o->kv_type);
    if (o->n_batch > MAX_BATCH)
        return inki_fail(error, INK_E_LIMIT, "n_batch", 0, "%u rows; the most is %d",
                         (unsigned)o->n_batch, MAX_BATCH);
    if (o->n_ctx == 0) o->n_ctx = w->n_ctx;
    if (o->n_batch == 0) o->n_batch = DEFAULT_BATCH;
    if (o->n_batch > o->n_ctx) o->n_batch = o->n_ctx;
    if (o->n_logits == 0) o->n_logits = 1;
    if (o->n_logits > o->n_ctx)
        return inki_fail(error, INK_E_LIMIT, "n_logits", 0, "%u rows; the context has %u positions",
                         (unsigned)o->n_logits, (unsigned)o->n_ctx);
    if (o->n_held > o->n_ctx)
        return inki_fail(error, INK_E_LIMIT, "n_held", 0, "%u rows; the context has %u positions",
                         (unsigned)o->n_held, (unsigned)o->n_ctx);
    if (o->n_draft > INKI_DRAFT_MAX || o->n_draft >= o->n_ctx)
        return inki_fail(error, INK_E_LIMIT, "n_draft", 0, "is %u; at most %d, and less than n_ctx",
                         (unsigned)o->n_draft, INKI_DRAFT_MAX);
    if (o->n_draft > 0 && o->n_held <= o->n_draft) o->n_held = o->n_draft + 1;
    return inki_flags_check(o->flags, INK_SESSION_DRAFT_ALWAYS, "ink_session_options", error);
}

// The session, its past and its logits, as one block; `table` is the page table.
static void carve_session(ink_session *s, inki_kv_page ***table, inki_arena *arena,
                          const inki_weights *w, const ink_session_options *o) {
    inki_arena_take(arena, 1, sizeof *s);
    *table = inki_arena_take(arena, inki_kv_pages_for(o->n_ctx), sizeof **table);
    s->tokens = inki_arena_take(arena, o->n_ctx, sizeof *s->tokens);
    size_t n_logits = 0;
    if (!inki_mul(o->n_logits, w->n_vocab, &n_logits)) arena->overflow = true;
    s->logits = inki_arena_take(arena, n_logits, sizeof *s->logits);
    s->held_at = inki_arena_take(arena, o->n_held, sizeof *s->held_at);
}

static void carve_work(inki_work *work, inki_arena *arena, const inki_weights *w,
                       const ink_session_options *o) {
    const uint32_t n_rows = o->n_batch;
    inki_scratch_carve(&work->scratch, arena, w, n_rows);
    work->scratch.low_stride = inki_adapters_loras(o->adapters, o->n_adapters).low_bytes;
    work->scratch.low = inki_arena_take(arena, n_rows, work->scratch.low_stride);
    work->rows = inki_arena_take(arena, n_rows, sizeof *work->rows);
    const uint32_t n_candidates = o->flags & INKI_SESSION_GREEDY ? 1 : w->n_vocab;
    work->candidates = inki_arena_take(arena, n_candidates, sizeof *work->candidates);
}

ink_status inki_session_bytes(const inki_weights *weights, const ink_session_options *options,
                              uint64_t *heap, uint64_t *kv, ink_error *error) {
    ink_session unused = {0};
    inki_kv_page **table;
    inki_arena block = {0}, work = {0};
    inki_kv_layout layout;
    carve_session(&unused, &table, &block, weights, options);
    carve_work(&unused.work, &work, weights, options);
    size_t pages = 0, held = 0;
    const bool fits =
        inki_kv_layout_init(&layout, options->kv_type, weights->n_layer, weights->n_head,
                            weights->head_dim) &&
        inki_mul(inki_kv_page_alloc_bytes(&layout), inki_kv_pages_for(options->n_ctx), &pages) &&
        inki_mul(options->n_held, weights->n_vocab * sizeof(float), &held);
    if (!fits || block.overflow || work.overflow || held > SIZE_MAX / 4 ||
        pages > SIZE_MAX / 2 - block.used - work.used)
        return inki_fail(error, INK_E_LIMIT, NULL, 0,
                         "a session of %u positions does not fit into memory",
                         (unsigned)options->n_ctx);
    uint64_t draft = 0, draft_kv = 0;
    if (options->n_draft > 0) {
        const ink_status status = inki_draft_bytes(options, weights, &draft, &draft_kv, error);
        if (status != INK_OK) return status;
    }
    *kv = pages + draft_kv;
    *heap = (uint64_t)block.used + work.used + held + pages + draft;
    return INK_OK;
}

ink_status inki_session_need_work(ink_session *s, ink_error *error) {
    if (s->work.block != NULL) return INK_OK;
    inki_work work = {0};
    inki_arena arena = {0};
    carve_work(&work, &arena, &s->model->weights, &s->options);
    work.block_bytes = arena.used;
    work.block = inki_alloc(&s->mem, arena.used, 1);
    if (work.block == NULL) return inki_fail_nomem(error, arena.used);
    arena = (inki_arena){.base = work.block};
    carve_work(&work, &arena, &s->model->weights, &s->options);
    s->work = work;
    return INK_OK;
}

static void carve_pooling(ink_session *s, inki_arena *arena) {
    const uint32_t n_embd = s->model->weights.n_embd;
    s->hidden = inki_arena_take(arena, s->options.n_batch, n_embd * sizeof *s->hidden);
    s->pooled_sum = inki_arena_take(arena, n_embd, sizeof *s->pooled_sum);
    s->embedding = inki_arena_take(arena, n_embd, sizeof *s->embedding);
}

ink_status inki_session_need_pooling(ink_session *s, ink_error *error) {
    if (s->hidden != NULL) return INK_OK;
    inki_arena arena = {0};
    carve_pooling(s, &arena);
    void *block = inki_alloc(&s->mem, arena.used, 1);
    if (block == NULL) return inki_fail_nomem(error, arena.used);
    s->pooling_bytes = arena.used;
    arena = (inki_arena){.base = block};
    carve_pooling(s, &arena);
    return INK_OK;
}

uint64_t inki_session_unhold(ink_session *s) {
    if (s->held == NULL) return 0;
    if (s->row != s->logits) s->n_rows = 0;
    const size_t n = (size_t)s->options.n_held * s->model->weights.n_vocab;
    inki_release(&s->mem, s->held, n, sizeof *s->held);
    s->held = NULL;
    return n * sizeof *s->held;
}

ink_status inki_session_hold(ink_session *s, ink_error *error) {
    if (s->held != NULL || s->options.n_held == 0) return INK_OK;
    const size_t n = (size_t)s->options.n_held * s->model->weights.n_vocab;
    s->held = inki_alloc(&s->mem, n, sizeof *s->held);
    if (s->held == NULL) return inki_fail_nomem(error, n * sizeof *s->held);
    memset(s->held_at, 0, s->options.n_held * sizeof *s->held_at);
    return INK_OK;
}

static void free_session(ink_session *s) {
    const inki_mem mem = s->mem;
    ink_model *model = s->model;
    inki_session_unhold(s);
    inki_kv_free(&s->kv);
    inki_adapters_drop(&s->adapters);
    inki_draft_free(s->draft);
    ink_model_unref(s->options.draft);
    ink_prefix_cache_unref(s->options.prefix_cache);
    inki_release(&mem, s->mu, (size_t)s->options.n_ctx + 2, sizeof *s->mu);
    inki_release(&mem, s->note, s->note_bytes, 1);
    if (s->work.block_bytes > 0) inki_release(&mem, s->work.block, s->work.block_bytes, 1);
    inki_release(&mem, s->hidden, s->pooling_bytes, 1);
    inki_release(&mem, s, s->block_bytes, 1);
    ink_model_unref(model);
}

ink_status inki_session_make(ink_session **out, ink_model *model,
                             const ink_session_options *options, bool reserve, ink_error *error) {
    uint64_t heap = 0, kv_bytes = 0;
    ink_status status = inki_session_bytes(&model->weights, options, &heap, &kv_bytes, error);
    if (status != INK_OK) return status;
    // Where the system promises more memory than there is, each page would be granted, and the
    // process killed when they fill.
    const uint64_t memory = reserve ? inki_os_memory_bytes() : 0;
    if (memory > 0 && heap > memory)
        return inki_fail(error, INK_E_NOMEM, "n_ctx", 0,
                         "%u positions take %llu MB, more than the machine has (%llu MB)",
                         (unsigned)options->n_ctx, (unsigned long long)(heap / 1000000),
                         (unsigned long long)(memory / 1000000));
    ink_session measured = {0};
    inki_kv_page **table;
    inki_arena arena = {0};
    carve_session(&measured, &table, &arena, &model->weights, options);
    const size_t bytes = arena.used;
    ink_session *s = inki_alloc(&model->mem, bytes, 1);
    if (s == NULL) return inki_fail_nomem(error, bytes);
    memset(s, 0, sizeof *s);
    arena = (inki_arena){.base = (uint8_t *)s};
    carve_session(s, &table, &arena, &model->weights, options);
    s->block_bytes = bytes;
    s->model = ink_model_ref(model);
    s->mem = model->mem;
    s->options = *options;
    inki_adapters_copy(&s->adapters, &s->options.adapters, options->n_adapters);
    s->loras = inki_adapters_loras(s->options.adapters, s->options.n_adapters);
    inki_prefix_cache_ref(s->options.prefix_cache);
    if (s->options.draft != NULL) ink_model_ref(s->options.draft);
    const inki_weights *w = &model->weights;
    inki_kv_layout layout;
    inki_kv_layout_init(&layout, options->kv_type, w->n_layer, w->n_head,
                        w->head_dim); // checked above
    status = inki_kv_init(&s->kv, &layout, table, options->n_ctx, reserve, &s->mem, error);
    if (status == INK_OK && reserve) status = inki_session_need_work(s, error);
    if (status == INK_OK) status = inki_session_hold(s, error);
    if (status == INK_OK && s->options.n_draft > 0)
        status = inki_draft_new(&s->draft, &s->options, model, error);
    if (status != INK_OK) {
        free_session(s);
        return status;
    }
    *out = s;
    return INK_OK;
}

// --- what is known of the past -------------------------------------------------------------------

void inki_session_forget_from(ink_session *s, uint32_t n) {
    if (s->n_mu > n) s->n_mu = n;
    if (n >= s->n_past) return;
    s->is_cut = false;
    s->n_pending = 0;
}

double inki_session_mu(const ink_session *s, double begin) {
    uint32_t at = s->mu == NULL || s->n_mu > s->n_past ? s->n_past : s->n_mu;
    while (at > 0 && s->mu != NULL && isnan(s->mu[at])) at--;
    return at > 0 && s->mu != NULL ? s->mu[at] : begin;
}

ink_status inki_session_need_mu(ink_session *s, ink_error *error) {
    if (s->mu != NULL) return INK_OK;
    const size_t n = (size_t)s->options.n_ctx + 2;
    s->mu = inki_alloc(&s->mem, n, sizeof *s->mu);
    if (s->mu == NULL) return inki_fail_nomem(error, n * sizeof *s->mu);
    s->mu[0] = NAN;
    s->n_mu = 0;
    return INK_OK;
}

// --- the public calls ----------------------------------------------------------------------------

static ink_status check_shared(const ink_session_options *o, const ink_model *model,
                               ink_error *error) {
    if (o->prefix_cache != NULL && inki_prefix_cache_model(o->prefix_cache) != model)
        return inki_fail(error, INK_E_ARG, "prefix_cache", 0, "is of another model");
    return o->draft != NULL ? inki_draft_check(o, model, error) : INK_OK;
}

ink_status ink_session_new(ink_session **out, ink_model *model, const ink_session_options *options,
                           ink_error *error) {
    if (out == NULL || model == NULL)
        return inki_fail(error, INK_E_ARG, "ink_session_new", 0, "out or model is NULL");
    ink_session_options o = {0};
    ink_status status = inki_model_need_all(model, error);
    if (status == INK_OK)
        status = inki_options_read(&o, sizeof o, options, "ink_session_options", error);
    if (status == INK_OK) status = inki_session_options_complete(&o, &model->weights, error);
    if (status == INK_OK) status = inki_adapters_check(o.adapters, o.n_adapters, model, error);
    if (status == INK_OK) status = check_shared(&o, model, error);
    return status == INK_OK ? inki_session_make(out, model, &o, true, error) : status;
}

// Of several rows of logits all are copied, of a held one that one.
void inki_session_copy_timeline(ink_session *child, const ink_session *parent) {
    const size_t n_vocab = parent->model->weights.n_vocab;
    const uint32_t n_rows = parent->n_rows;
    if (n_rows > 0)
        memcpy(child->logits, parent->row - (n_rows - 1) * n_vocab,
               n_rows * n_vocab * sizeof *child->logits);
    child->row = n_rows > 0 ? child->logits + (n_rows - 1) * n_vocab : NULL;
    memcpy(child->tokens, parent->tokens, parent->n_past * sizeof *child->tokens);
    child->n_past = child->n_cached = parent->n_past;
    child->n_rows = n_rows;
    child->n_forgotten = parent->n_forgotten;
}

// What the parent holds back of its text is the parent's alone.
static ink_status copy_mu(ink_session *child, const ink_session *parent, ink_error *error) {
    if (parent->mu == NULL) return INK_OK;
    const ink_status status = inki_session_need_mu(child, error);
    if (status != INK_OK) return status;
    memcpy(child->mu, parent->mu, ((size_t)parent->n_mu + 1) * sizeof *child->mu);
    child->n_mu = parent->n_mu;
    return INK_OK;
}

static ink_status fork_entered(ink_session *parent, ink_session **out, ink_error *error) {
    ink_session *child = NULL;
    ink_session_options options = parent->options;
    options.n_held = options.n_draft = 0;
    options.draft = NULL;
    ink_status status = inki_session_make(&child, parent->model, &options, false, error);
    if (status != INK_OK) return status;
    status = copy_mu(child, parent, error);
    if (status != INK_OK) {
        free_session(child);
        return status;
    }
    inki_kv_share(&child->kv, &parent->kv, parent->n_past);
    inki_session_copy_timeline(child, parent);
    *out = child;
    return INK_OK;
}

ink_status ink_session_fork(ink_session *session, ink_session **out, ink_error *error) {
    if (out == NULL) return inki_fail(error, INK_E_ARG, "ink_session_fork", 0, "out is NULL");
    ink_status status = inki_session_enter(session, error);
    if (status != INK_OK) return status;
    status = fork_entered(session, out, error);
    inki_session_leave(session);
    return status;
}

static bool is_held(const ink_session *s, uint32_t n_past) {
    return s->held != NULL && n_past > 0 && s->held_at[n_past % s->options.n_held] == n_past;
}

// The logits behind n_past, if they are held.
static void take_held(ink_session *s, uint32_t n_past) {
    const uint32_t n_held = s->options.n_held;
    s->n_past = n_past;
    s->n_rows = is_held(s, n_past);
    if (s->n_rows > 0) s->row = s->held + (size_t)(n_past % n_held) * s->model->weights.n_vocab;
}

void inki_rewind_entered(ink_session *s, uint32_t n_past) {
    inki_session_forget_from(s, n_past);
    if (n_past != s->n_past) {
        inki_kv_rewind(&s->kv, n_past);
        take_held(s, n_past);
    }
    s->n_cached = n_past;
    for (uint32_t i = 0; i < s->options.n_held; i++)
        if (s->held_at[i] > n_past) s->held_at[i] = 0;
}

const float *inki_session_row_at(const ink_session *s, uint32_t n_past) {
    if (n_past == s->n_past && s->n_rows > 0) return s->row;
    if (!is_held(s, n_past)) return NULL;
    return s->held + (size_t)(n_past % s->options.n_held) * s->model->weights.n_vocab;
}

void inki_session_go_to(ink_session *s, const ink_token *tokens, uint32_t n) {
    const uint32_t most = n < s->n_cached ? n : s->n_cached;
    uint32_t equal = 0;
    while (equal < most && s->tokens[equal] == tokens[equal]) equal++;
    if (equal < n) {
        if (equal != s->n_past) take_held(s, equal);
    } else if (s->n_past != n || s->n_rows == 0) {
        take_held(s, n);
        if (s->n_rows == 0) take_held(s, n - 1);
    }
}

bool inki_session_was_interrupted(const ink_session *s) {
    return atomic_load_explicit(&s->cancel, memory_order_relaxed) ||
           (s->interrupted != NULL && s->interrupted(s->interrupted_arg));
}

ink_status ink_session_rewind(ink_session *session, uint32_t n_past) {
    ink_status status = inki_session_enter(session, NULL);
    if (status != INK_OK) return status;
    if (n_past > session->n_past) {
        status = INK_E_ARG;
    } else {
        inki_rewind_entered(session, n_past);
        // An empty timeline is a new one: it chooses as that of a new session.
        if (n_past == 0) session->n_forgotten = 0;
    }
    inki_session_leave(session);
    return status;
}

ink_status ink_session_free(ink_session *session) {
    if (session == NULL) return INK_OK;
    const ink_status status = inki_session_enter(session, NULL);
    if (status == INK_OK) free_session(session);
    return status;
}

uint32_t ink_session_n_past(const ink_session *session) {
    return session != NULL ? session->n_past : 0;
}
uint32_t ink_session_n_ctx(const ink_session *session) {
    return session != NULL ? session->options.n_ctx : 0;
}

const ink_token *ink_session_tokens(const ink_session *session, size_t *n) {
    if (n != NULL) *n = session != NULL ? session->n_past : 0;
    return session != NULL ? session->tokens : NULL;
}

const float *ink_session_logits(const ink_session *session, size_t row, size_t *n_vocab) {
    if (session == NULL || row >= session->n_rows) return NULL;
    if (n_vocab != NULL) *n_vocab = session->model->weights.n_vocab;
    const size_t n_behind = session->n_rows - 1 - row;
    return session->row - n_behind * session->model->weights.n_vocab;
}
