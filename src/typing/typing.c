// SPDX-License-Identifier: MIT
// Making, running and ending a typing session.
#include "typing/typing_parts.h"

#include <string.h>

enum { BYTES_PER_TOKEN = 32, ROOM_BYTES = 256 };

void ink_typing_options_init(ink_typing_options *options, size_t size) {
    const ink_typing_options defaults = {.max_tokens = 12,
                                         .until = INK_UNTIL_LINE,
                                         .min_chars = 1,
                                         .n_alternatives = 1,
                                         .no_repeat_ngram = 4,
                                         .n_history = 32,
                                         .text_bytes = 4096};
    inki_options_fill(options, size, &defaults, sizeof defaults);
}

// --- making --------------------------------------------------------------------------------------

static ink_status over(const char *what, uint32_t is, uint32_t most, ink_error *error) {
    return inki_fail(error, INK_E_LIMIT, what, 0, "%u; the most is %u", (unsigned)is,
                     (unsigned)most);
}

static ink_status check_typing_options(const ink_typing_options *o, ink_error *error) {
    if (o->until > INK_UNTIL_PARAGRAPH)
        return inki_fail(error, INK_E_ARG, "until", 0, "unknown number %u", (unsigned)o->until);
    if (o->max_tokens == 0 || o->n_alternatives == 0)
        return inki_fail(error, INK_E_ARG, o->max_tokens == 0 ? "max_tokens" : "n_alternatives", 0,
                         "is 0: nothing could be suggested");
    if (o->max_tokens > INKI_TYPING_TOKENS)
        return over("max_tokens", o->max_tokens, INKI_TYPING_TOKENS, error);
    if (o->n_alternatives > INKI_TYPING_ALTERNATIVES)
        return over("n_alternatives", o->n_alternatives, INKI_TYPING_ALTERNATIVES, error);
    if (o->n_history > INKI_TYPING_HISTORY)
        return over("n_history", o->n_history, INKI_TYPING_HISTORY, error);
    if (o->text_bytes > INT32_MAX) return over("text_bytes", o->text_bytes, INT32_MAX, error);
    return inki_adapters_check(o->adapters, o->n_adapters, NULL, error);
}

// The struct with everything that has a fixed size, as one block.
static void carve_typing(ink_typing *t, inki_arena *arena, const ink_typing_options *o,
                         size_t room) {
    inki_arena_take(arena, 1, sizeof *t);
    for (uint32_t i = 0; i < o->n_alternatives; i++) {
        t->shown[i].text = inki_arena_take(arena, room, 1);
        t->fetched[i] = inki_arena_take(arena, room, 1);
    }
    t->told = inki_arena_take(arena, room, 1);
    t->edit = inki_arena_take(arena, room, 1);
    t->history.list = inki_arena_take(arena, o->n_history, sizeof *t->history.list);
}

static ink_status alloc_typing(ink_typing **out, const inki_mem *mem, const ink_typing_options *o,
                               ink_error *error) {
    const size_t room = (size_t)o->max_tokens * BYTES_PER_TOKEN + ROOM_BYTES;
    ink_typing measured = {0};
    inki_arena arena = {0};
    carve_typing(&measured, &arena, o, room);
    const size_t bytes = arena.used;
    ink_typing *t = inki_alloc(mem, bytes, 1);
    if (t == NULL) return inki_fail_nomem(error, bytes);
    memset(t, 0, sizeof *t);
    arena = (inki_arena){.base = (uint8_t *)t};
    carve_typing(t, &arena, o, room);
    t->mem = *mem;
    t->block_bytes = bytes;
    t->text_room = room;
    t->history.cap = o->n_history;
    t->o = *o;
    t->o.filter = NULL;
    if (t->o.text_bytes < ROOM_BYTES) t->o.text_bytes = ROOM_BYTES;
    // A context never holds more words than positions. In bytes too this is a limit, to all that is
    // read for a key.
    const uint32_t n_ctx = o->n_ctx > 0 ? o->n_ctx : INKI_TYPING_CTX;
    t->window_words = o->window_words == 0 || o->window_words > n_ctx ? n_ctx : o->window_words;
    t->report.done = 1;
    const ink_status status = inki_lock_init(&t->lock, error);
    if (status != INK_OK) {
        inki_release(mem, t, bytes, 1);
        return status;
    }
    *out = t;
    return INK_OK;
}

static ink_status fill_typing(ink_typing *t, const ink_typing_options *o, ink_model *model,
                              ink_error *error) {
    t->o.filter = inki_filter_ref(o->filter);
    inki_adapters_copy(&t->adapters, &t->o.adapters, o->n_adapters);
    ink_status status = inki_stops_copy(&t->stops, o->stop, o->n_stop, "stop", &t->mem, error);
    if (status != INK_OK) return status;
    t->text_cap = t->o.text_bytes;
    t->text = inki_alloc(&t->mem, t->text_cap, 1);
    if (t->text == NULL) return inki_fail_nomem(error, t->text_cap);
    return model != NULL ? inki_typing_load(t, model, error) : INK_OK;
}

ink_status inki_typing_make(ink_typing **out, const inki_mem *mem, ink_model *model,
                            const ink_typing_options *options, const inki_typing_hooks *hooks,
                            ink_error *error) {
    ink_typing_options o;
    ink_typing_options_init(&o, sizeof o);
    ink_status status = inki_options_read(&o, sizeof o, options, "ink_typing_options", error);
    if (status == INK_OK) status = check_typing_options(&o, error);
    ink_typing *t = NULL;
    if (status == INK_OK) status = alloc_typing(&t, mem, &o, error);
    if (status != INK_OK) return status;
    if (hooks != NULL) {
        t->hooks = *hooks;
        t->hooked = true;
    }
    status = fill_typing(t, &o, model, error);
    if (status == INK_OK)
        *out = t;
    else
        inki_typing_destroy(t);
    return status;
}

ink_status inki_typing_load(ink_typing *t, ink_model *model, ink_error *error) {
    if (t->s != NULL) return INK_OK;
    inki_suggester *s = NULL;
    ink_status status = inki_model_need_all(model, error);
    if (status == INK_OK) status = inki_suggester_new(&s, t, model, error);
    if (status == INK_OK) return INK_OK;
    t->s = NULL;
    inki_suggester_free(s, t);
    return status;
}

void inki_typing_destroy(ink_typing *t) {
    const inki_mem mem = t->mem;
    inki_suggester_free(t->s, t);
    inki_stops_free(&t->stops, &mem);
    ink_filter_unref(t->o.filter);
    inki_adapters_drop(&t->adapters);
    inki_release(&mem, t->text, t->text_cap, 1);
    inki_lock_destroy(&t->lock);
    inki_release(&mem, t, t->block_bytes, 1);
}

ink_status ink_typing_new(ink_typing **out, ink_model *model, const ink_typing_options *options,
                          ink_error *error) {
    if (out == NULL || model == NULL)
        return inki_fail(error, INK_E_ARG, "ink_typing_new", 0, "out or model is NULL");
    return inki_typing_make(out, &model->mem, model, options, NULL, error);
}

ink_status ink_typing_measure(const ink_source *source, const ink_typing_options *options,
                              ink_memory *out, ink_error *error) {
    if (out == NULL) return inki_fail(error, INK_E_ARG, "ink_typing_measure", 0, "out is NULL");
    inki_measured measured;
    ink_memory result = {0};
    ink_status status = inki_measure_open(&measured, source, &result, error);
    ink_typing *t = NULL;
    const uint64_t before = inki_measure_held(&measured);
    if (status == INK_OK) status = ink_typing_new(&t, measured.model, options, error);
    if (status == INK_OK) {
        result.n_ctx = t->s->n_ctx;
        result.session_heap_bytes = inki_measure_held(&measured) - before;
        for (uint32_t i = 0; i < t->o.n_alternatives; i++)
            result.kv_bytes += inki_kv_held_bytes(&t->s->branches[i].session->kv, true);
        ink_typing_free(t);
        inki_report_write(out, &result, sizeof result);
    }
    inki_measure_close(&measured);
    return status;
}

// --- running -------------------------------------------------------------------------------------

bool inki_typing_has_work(ink_typing *t) {
    inki_lock_take(&t->lock);
    const bool work = t->wanted && !t->closed && atomic_load(&t->cancelled) != t->revision;
    inki_lock_give(&t->lock);
    return work;
}

void inki_typing_fail(ink_typing *t, const ink_error *error) {
    inki_lock_take(&t->lock);
    t->wanted = false;
    // Memory may be there the next time.
    if (t->s == NULL && error->status != INK_E_NOMEM) t->broken = *error;
    t->report.done = 1;
    t->report.status = error->status;
    t->n_changes++;
    inki_lock_give(&t->lock);
}

ink_status inki_typing_step(ink_typing *t, uint32_t n_threads, bool *more, ink_error *error) {
    ink_error own = {0};
    const ink_status status = inki_suggester_step(t, n_threads, &own);
    if (status != INK_OK) {
        inki_typing_fail(t, &own);
        if (error != NULL) *error = own;
    }
    *more = inki_typing_has_work(t);
    return status;
}

// The running thread's claim.
static ink_status claim(ink_typing *t, ink_error *error) {
    const uintptr_t self = inki_thread_self();
    ink_status status = INK_OK;
    inki_lock_take(&t->lock);
    if (t->closed)
        status = inki_fail(error, INK_E_CLOSED, NULL, 0, "the typing session is closed");
    else if (t->hooked)
        status = inki_fail(error, INK_E_BUSY, NULL, 0, "a service runs this typing session");
    else if (t->running && t->runner == self)
        status = inki_fail(error, INK_E_REENTRANT, NULL, 0,
                           "ink_typing_run is not allowed inside on_suggestion");
    else if (t->running || atomic_load(&t->leaving))
        status = inki_fail(error, INK_E_BUSY, NULL, 0, "another thread runs this typing session");
    if (status == INK_OK) {
        t->running = true;
        t->runner = self;
    }
    inki_lock_give(&t->lock);
    return status;
}

static void release_claim(ink_typing *t) {
    inki_lock_take(&t->lock);
    t->running = false;
    t->runner = 0;
    inki_lock_notify(&t->lock);
    inki_lock_give(&t->lock);
}

static bool tell_host(ink_typing *t, inki_fp *fp) {
    inki_fp_hosts(fp);
    const bool told = inki_typing_tell(t);
    inki_fp_ours(fp);
    return told;
}

ink_status ink_typing_run(ink_typing *t, uint32_t budget_ms, uint32_t *more, ink_error *error) {
    if (t == NULL) return inki_fail(error, INK_E_ARG, NULL, 0, "the typing session is NULL");
    ink_status status = claim(t, error);
    if (status != INK_OK) return status;
    const double start = inki_os_now_ms();
    bool left = inki_typing_has_work(t);
    inki_fp fp;
    inki_fp_ours(&fp);
    while (left && status == INK_OK && !atomic_load(&t->leaving)) {
        status = inki_typing_step(t, 0, &left, error);
        tell_host(t, &fp);
        if (budget_ms != UINT32_MAX && inki_os_now_ms() - start >= budget_ms) break;
    }
    inki_fp_hosts(&fp);
    left = inki_typing_has_work(t);
    release_claim(t);
    if (status == INK_OK && more != NULL) *more = left;
    return status;
}

// --- ending --------------------------------------------------------------------------------------

uint64_t inki_typing_trim(ink_typing *t, uint32_t level) {
    inki_suggester *s = t->s;
    if (s == NULL) return 0;
    if (level < INK_TRIM_CACHE) return inki_session_unhold(s->branches[0].session);
    const uint64_t bytes = inki_suggester_bytes(s, t);
    t->s = NULL;
    inki_suggester_free(s, t);
    return bytes;
}

void inki_typing_close(ink_typing *t) {
    inki_lock_take(&t->lock);
    t->closed = true;
    t->wanted = false;
    inki_lock_give(&t->lock);
    atomic_store(&t->leaving, true);
}

static bool is_inside(const ink_typing *t) {
    const uintptr_t self = inki_thread_self();
    return (t->running && t->runner == self) || t->teller == self;
}

ink_status ink_typing_free(ink_typing *t) {
    if (t == NULL) return INK_OK;
    inki_lock_take(&t->lock);
    const bool inside = is_inside(t);
    if (!inside) atomic_store(&t->leaving, true);
    while (!inside && t->running) inki_lock_wait(&t->lock, -1);
    inki_lock_give(&t->lock);
    if (inside) return INK_E_REENTRANT;
    if (t->hooked) {
        const ink_status status = t->hooks.released(t->hooks.arg, t);
        if (status != INK_OK) {
            atomic_store(&t->leaving, false);
            return status;
        }
    }
    inki_typing_destroy(t);
    return INK_OK;
}
