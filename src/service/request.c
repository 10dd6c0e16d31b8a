// SPDX-License-Identifier: MIT
// One request: a copy of what was submitted, and its run from the first evaluation to the result.
#include "filter/filter.h"
#include "service/service_parts.h"

#include <string.h>

// --- what was submitted --------------------------------------------------------------------------

static ink_status check_strings(const char *const *list, size_t n, const char *what,
                                ink_error *error) {
    if (n > 0 && list == NULL) return inki_fail(error, INK_E_ARG, what, 0, "is NULL");
    for (size_t i = 0; i < n; i++)
        if (list[i] == NULL) return inki_fail(error, INK_E_ARG, what, 0, "entry %zu is NULL", i);
    return INK_OK;
}

static ink_status read_request(ink_request *from, ink_generate_options *generate,
                               ink_sampler_options *sampling, const ink_request *source,
                               ink_error *error) {
    ink_request_init(from, sizeof *from);
    ink_generate_options_init(generate, sizeof *generate);
    ink_sampler_options_init(sampling, sizeof *sampling);
    ink_status s = inki_options_read(from, sizeof *from, source, "ink_request", error);
    if (s == INK_OK)
        s = inki_options_read(generate, sizeof *generate, from->generate, "ink_generate_options",
                              error);
    if (s == INK_OK)
        s = inki_options_read(sampling, sizeof *sampling, from->sampler, "ink_sampler_options",
                              error);
    if (s != INK_OK) return s;
    if (from->priority > INK_PRIORITY_BACKGROUND)
        return inki_fail(error, INK_E_ARG, "priority", 0, "unknown number %u",
                         (unsigned)from->priority);
    if (from->text == NULL && from->bytes != 0)
        return inki_fail(error, INK_E_ARG, "prompt", 0, "is NULL");
    if (from->bytes > INT32_MAX)
        return inki_fail(error, INK_E_LIMIT, "prompt", 0, "has %zu bytes; at most 2^31 - 1",
                         from->bytes);
    if (sampling->n_logit_bias > 0 && sampling->logit_bias == NULL)
        return inki_fail(error, INK_E_ARG, "logit_bias", 0,
                         "is NULL although n_logit_bias is not 0");
    s = inki_prompt_check(generate, from->text, from->bytes, error);
    if (s == INK_OK) s = check_strings(generate->required, generate->n_required, "required", error);
    if (s == INK_OK)
        s = check_strings(sampling->dry_breakers, sampling->n_dry_breakers, "dry_breakers", error);
    return s == INK_OK ? inki_stops_check(generate->stop, generate->n_stop, "stop", error) : s;
}

static char *copy_string(inki_arena *arena, const char *string, size_t bytes) {
    char *copy = inki_arena_take(arena, bytes + 1, 1);
    if (copy != NULL) {
        if (bytes > 0) memcpy(copy, string, bytes);
        copy[bytes] = 0;
    }
    return copy;
}

// NULL while measuring, and where there is no list: one that is empty is another thing.
static const char **copy_strings(inki_arena *arena, const char *const *list, size_t n) {
    const char **copies = inki_arena_take(arena, n, sizeof *copies);
    for (size_t i = 0; i < n && !arena->overflow; i++) {
        const char *copy = copy_string(arena, list[i], strlen(list[i]));
        if (copies != NULL) copies[i] = copy;
    }
    return list != NULL ? copies : NULL;
}

// Called twice: without a base in the arena it measures, then it copies.
static void copy_request(inki_request *r, inki_arena *arena, const ink_request *from,
                         const ink_generate_options *generate,
                         const ink_sampler_options *sampling) {
    inki_arena_take(arena, 1, sizeof *r);
    const char *text = copy_string(arena, from->text, from->bytes);
    const char *chain =
        from->chain != NULL ? copy_string(arena, from->chain, strlen(from->chain)) : NULL;
    const size_t n_bias = sampling->n_logit_bias;
    ink_logit_bias *bias = inki_arena_take(arena, n_bias, sizeof *bias);
    const size_t n_ids = generate->n_prompt_tokens;
    ink_token *ids = inki_arena_take(arena, n_ids, sizeof *ids);
    const char **stop = copy_strings(arena, generate->stop, generate->n_stop);
    const char **required = copy_strings(arena, generate->required, generate->n_required);
    const char **breakers = copy_strings(arena, sampling->dry_breakers, sampling->n_dry_breakers);
    if (r == NULL) return;
    if (n_bias > 0) memcpy(bias, sampling->logit_bias, n_bias * sizeof *bias);
    if (n_ids > 0) memcpy(ids, generate->prompt_tokens, n_ids * sizeof *ids);
    r->text = text;
    r->bytes = from->bytes;
    r->chain = chain;
    r->sampling = *sampling;
    r->sampling.logit_bias = n_bias > 0 ? bias : NULL;
    r->generate = *generate;
    r->generate.stop = stop;
    r->generate.required = required;
    r->sampling.dry_breakers = breakers;
    r->generate.prompt_tokens = n_ids > 0 ? ids : NULL;
    r->generate.sampler = NULL;
    r->generate.progress = NULL;
    r->priority = from->priority;
}

ink_status inki_request_new(inki_request **out, ink_client *client, const ink_request *source,
                            ink_error *error) {
    ink_request from;
    ink_generate_options generate;
    ink_sampler_options sampling;
    ink_status status = read_request(&from, &generate, &sampling, source, error);
    if (status != INK_OK) return status;
    inki_arena arena = {0};
    copy_request(NULL, &arena, &from, &generate, &sampling);
    const size_t bytes = arena.used;
    inki_request *r = arena.overflow ? NULL : inki_alloc_zero(&client->service->mem, bytes, 1);
    if (r == NULL) return inki_fail_nomem(error, bytes);
    arena = (inki_arena){.base = (uint8_t *)r};
    copy_request(r, &arena, &from, &generate, &sampling);
    r->block_bytes = bytes;
    r->client = client;
    r->submitted_ms = inki_os_now_ms();
    atomic_init(&r->interrupt, 0);
    inki_filter_ref((ink_filter *)(uintptr_t)r->generate.filter);
    inki_grammar_ref(r->generate.grammar);
    *out = r;
    return INK_OK;
}

void inki_request_free(inki_request *r) {
    const inki_mem mem = r->client->service->mem;
    ink_sampler_free(r->sampler);
    inki_release(&mem, r->embedding, r->result.n_embedding, sizeof *r->embedding);
    ink_filter_unref((ink_filter *)(uintptr_t)r->generate.filter);
    ink_grammar_unref(r->generate.grammar);
    inki_release(&mem, r->written.data, r->written.cap, 1);
    inki_release(&mem, r->told.data, r->told.cap, 1);
    inki_release(&mem, r, r->block_bytes, 1);
}

// --- its run -------------------------------------------------------------------------------------

void inki_request_interrupt(inki_request *r, uint32_t why) {
    unsigned none = 0;
    atomic_compare_exchange_strong(&r->interrupt, &none, 1 + why);
}

static bool request_interrupted(const void *arg) {
    const inki_request *r = arg;
    return atomic_load_explicit(&r->interrupt, memory_order_relaxed) != 0;
}

// The session serves the next request before the host has read this one's result.
static ink_status keep_embedding(inki_request *r) {
    const float *from = r->result.embedding;
    const size_t n = r->result.n_embedding;
    r->result.embedding = NULL;
    r->result.n_embedding = 0;
    if (from == NULL) return INK_OK;
    r->embedding = inki_alloc(&r->client->service->mem, n, sizeof *from);
    if (r->embedding == NULL) return inki_fail_nomem(&r->error, n * sizeof *from);
    memcpy(r->embedding, from, n * sizeof *from);
    r->result.embedding = r->embedding;
    r->result.n_embedding = (uint32_t)n;
    return INK_OK;
}

static inki_phase request_over(inki_request *r, ink_status status) {
    const double now = inki_os_now_ms();
    if (r->has_run) {
        r->client->session->interrupted = NULL;
        r->result = r->run.r;
        const ink_status kept = keep_embedding(r);
        if (status == INK_OK) status = kept;
        inki_run_end(&r->run);
        r->has_run = false;
    }
    const unsigned why = atomic_load_explicit(&r->interrupt, memory_order_relaxed);
    if (why != 0 && r->result.stop == INK_STOP_CANCELLED) r->result.stop = why - 1;
    r->result.size = sizeof r->result;
    r->result.queue_ms = (r->begun_ms > 0 ? r->begun_ms : now) - r->submitted_ms;
    if (r->result.prefill_ms > 0) r->result.prefill_ms -= r->result.queue_ms; // since submission
    if (r->lost && status == INK_OK)
        status = inki_fail(&r->error, INK_E_NOMEM, NULL, 0, "no memory to keep the text");
    r->status = status;
    if (status == INK_OK) r->error = (ink_error){.size = sizeof r->error};
    return INKI_OVER;
}

void inki_request_fail(inki_request *r, ink_status status, const ink_error *error) {
    if (error != NULL) r->error = *error;
    request_over(r, status);
}

static inki_phase go_on(inki_request *r) {
    if (inki_run_next(&r->run, &r->span)) return INKI_READY;
    // What was the past of a session that was given back is in the cache again, or no longer
    // wanted.
    ink_client *c = r->client;
    const ink_status status = inki_run_finish(&r->run);
    if (c->past != NULL && (r->run.prefilled || r->run.r.n_dropped > 0)) {
        inki_release(&c->service->mem, c->past, c->n_past, sizeof *c->past);
        c->past = NULL;
    }
    return request_over(r, status);
}

// The run stands on the past of the session, be it in the cache or only in a list.
static ink_status read_request_prompt(inki_request *r) {
    ink_client *c = r->client;
    ink_session *session = c->session;
    if (c->past == NULL) return inki_prompt_read(&r->run, r->text, r->bytes);
    memcpy(session->tokens, c->past, c->n_past * sizeof *c->past);
    session->n_past = c->n_past;
    const ink_status status = inki_prompt_read(&r->run, r->text, r->bytes);
    session->n_past = 0;
    return status;
}

inki_phase inki_request_begin(inki_request *r) {
    ink_client *c = r->client;
    const bool fresh = (r->generate.flags & INK_GENERATE_FRESH) != 0;
    r->begun_ms = inki_os_now_ms();
    ink_status status = inki_client_need_session(c, fresh, &r->error);
    if (status == INK_OK && r->sampler == NULL)
        status = ink_sampler_new(&r->sampler, c->session->model, r->chain, &r->sampling, &r->error);
    if (status != INK_OK) return request_over(r, status);
    c->session->interrupted = request_interrupted;
    c->session->interrupted_arg = r;
    r->run = (inki_run){.fn = c->o.on_text != NULL ? inki_service_take_piece : NULL, .user = r};
    r->has_run = true;
    status = inki_run_begin(&r->run, c->session, &r->generate, r->sampler->chain, r->submitted_ms,
                            &r->error);
    if (status == INK_OK) status = read_request_prompt(r);
    return status == INK_OK ? go_on(r) : request_over(r, status);
}

inki_phase inki_request_advance(inki_request *r) {
    inki_run_evaluated(&r->run, r->evaluation, r->n_evaluated);
    return go_on(r);
}

void inki_request_stop(inki_request *r, uint32_t why, bool silent) {
    if (r->has_run) {
        if (silent) r->run.fn = NULL;
        if (r->phase == INKI_EVALUATED) inki_run_evaluated(&r->run, r->evaluation, r->n_evaluated);
        if (!r->run.stopped && !r->run.failed) inki_run_stop(&r->run, why);
        go_on(r);
        return;
    }
    r->result.stop = why;
    request_over(r, INK_OK);
}
