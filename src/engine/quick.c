// SPDX-License-Identifier: MIT
// The three lines: one handle around a runtime, a model and a session.
#include "engine/engine.h"

#include <string.h>

struct ink_engine {
    inki_mem mem;
    ink_error error;
    ink_result result;
    ink_model *model;
    ink_session *session;
    // Copies of what the caller gave.
    char *chain; // [chain_bytes] with all its numbers
    size_t chain_bytes;
    ink_sampler_options sampler; // the seed
    ink_generate_options generate;
    inki_stops stop, required;
    ink_token *tokens; // [generate.n_prompt_tokens]
};

// --- opening -------------------------------------------------------------------------------------

// A chain prints all that the options say, but for the seed. A bad one is told at once and not at
// the first word.
static ink_status copy_chain(ink_engine *e, const ink_options *o) {
    ink_sampler *sampler = NULL;
    ink_sampler_options_init(&e->sampler, sizeof e->sampler);
    ink_sampler_options given = e->sampler;
    ink_status s =
        inki_options_read(&given, sizeof given, o->sampler, "ink_sampler_options", &e->error);
    if (s == INK_OK) s = ink_sampler_new(&sampler, e->model, o->chain, &given, &e->error);
    if (s != INK_OK) return s;
    e->sampler.seed_set = given.seed_set;
    e->sampler.seed = given.seed;
    e->chain_bytes = inki_chain_text(sampler->chain, NULL, 0) + 1;
    e->chain = inki_alloc(&e->mem, e->chain_bytes, 1);
    if (e->chain != NULL)
        inki_chain_text(sampler->chain, e->chain, e->chain_bytes);
    else
        s = inki_fail_nomem(&e->error, e->chain_bytes);
    ink_sampler_free(sampler);
    return s;
}

static ink_status copy_generate(ink_engine *e, const ink_generate_options *options) {
    ink_generate_options *g = &e->generate, given = {0};
    ink_generate_options_init(g, sizeof *g);
    given = *g;
    ink_status s =
        inki_options_read(&given, sizeof given, options, "ink_generate_options", &e->error);
    if (s == INK_OK)
        s = inki_stops_copy(&e->stop, given.stop, given.n_stop, "stop", &e->mem, &e->error);
    if (s == INK_OK)
        s = inki_stops_copy(&e->required, given.required, given.n_required, "required", &e->mem,
                            &e->error);
    const size_t n = given.prompt_tokens != NULL ? given.n_prompt_tokens : 0;
    if (s == INK_OK && n > 0) {
        e->tokens = inki_alloc(&e->mem, n, sizeof *e->tokens);
        if (e->tokens == NULL) s = inki_fail_nomem(&e->error, n * sizeof *e->tokens);
    }
    if (s != INK_OK) return s;
    if (n > 0) memcpy(e->tokens, given.prompt_tokens, n * sizeof *e->tokens);
    *g = given;
    g->sampler = NULL;
    g->flags |= INK_GENERATE_FRESH;
    g->stop = e->stop.list;
    g->required = e->required.list;
    g->prompt_tokens = e->tokens;
    inki_filter_ref(g->filter);
    inki_grammar_ref(g->grammar);
    return INK_OK;
}

// "builtin:NAME" or a path.
static ink_source source_of(const char *path) {
    static const char prefix[] = "builtin:";
    ink_source s = {.size = sizeof s, .kind = INK_SOURCE_BUILTIN, .fd = -1};
    if (path == NULL) return s;
    const bool builtin = strncmp(path, prefix, sizeof prefix - 1) == 0;
    s.kind = builtin ? INK_SOURCE_BUILTIN : INK_SOURCE_PATH;
    s.name = builtin ? path + sizeof prefix - 1 : path;
    return s;
}

static ink_status open_engine(ink_engine *e, const char *path, const ink_options *o,
                              ink_runtime *runtime) {
    const ink_source named = source_of(path);
    ink_status s = copy_generate(e, o->generate);
    if (s == INK_OK)
        s = ink_model_open(&e->model, runtime, o->source != NULL ? o->source : &named, o->model,
                           &e->error);
    if (s == INK_OK) s = ink_session_new(&e->session, e->model, o->session, &e->error);
    return s == INK_OK ? copy_chain(e, o) : s;
}

static void close_parts(ink_engine *e) {
    ink_session_free(e->session);
    ink_model_unref(e->model);
    e->session = NULL;
    e->model = NULL;
    ink_filter_unref(e->generate.filter);
    ink_grammar_unref(e->generate.grammar);
    inki_release(&e->mem, e->tokens, e->generate.n_prompt_tokens, sizeof *e->tokens);
    inki_release(&e->mem, e->chain, e->chain_bytes, 1);
    inki_stops_free(&e->stop, &e->mem);
    inki_stops_free(&e->required, &e->mem);
    e->generate = (ink_generate_options){0};
    e->chain = NULL;
    e->tokens = NULL;
}

ink_engine *ink_open(const char *path, const ink_options *options) {
    ink_error error = {0};
    ink_options o = {0};
    ink_runtime *runtime = NULL;
    ink_status status = inki_options_read(&o, sizeof o, options, "ink_options", &error);
    const inki_mem libc = inki_mem_from(NULL);
    if (status == INK_OK) status = ink_runtime_new(&runtime, o.runtime, &error);
    const inki_mem mem = runtime != NULL ? runtime->mem : libc;
    ink_engine *e = inki_alloc_zero(&mem, 1, sizeof *e);
    if (e != NULL) {
        e->mem = mem;
        e->error = error;
        if (status == INK_OK) status = open_engine(e, path, &o, runtime);
        if (status != INK_OK) close_parts(e);
    }
    ink_runtime_unref(runtime); // the model holds its own reference
    return e;
}

// --- using and closing ---------------------------------------------------------------------------

static ink_status generate_entered(ink_engine *engine, const char *prompt, ink_text_fn fn,
                                   void *user) {
    ink_error error = {0};
    ink_sampler *sampler = NULL;
    ink_result result = {0};
    ink_generate_options o = engine->generate;
    // Without a seed of the caller's each call draws its own, so the same prompt gives another
    // text.
    ink_status status =
        ink_sampler_new(&sampler, engine->model, engine->chain, &engine->sampler, &error);
    o.sampler = sampler;
    if (status == INK_OK)
        status = inki_generate_entered(engine->session, prompt, prompt != NULL ? strlen(prompt) : 0,
                                       &o, fn, user, &result, &error);
    ink_sampler_free(sampler);
    if (status == INK_OK)
        engine->result = result;
    else
        engine->error = error;
    return status;
}

ink_status ink_generate(ink_engine *engine, const char *prompt, ink_text_fn fn, void *user) {
    if (engine == NULL) return INK_E_ARG;
    if (engine->session == NULL) return (ink_status)engine->error.status;
    // Who is in the session owns the engine too, to the last write of its result: another thread
    // that gets in may close it.
    ink_session *session = engine->session;
    ink_status status = inki_session_enter(session, NULL);
    if (status != INK_OK) return status;
    status = generate_entered(engine, prompt, fn, user);
    inki_session_leave(session);
    return status;
}

const ink_error *ink_engine_error(const ink_engine *engine) {
    static const ink_error none = {
        .size = sizeof none, .status = INK_E_ARG, .message = "the engine is NULL"};
    return engine != NULL ? &engine->error : &none;
}

void ink_cancel(ink_engine *engine) {
    if (engine != NULL) ink_session_cancel(engine->session);
}

ink_status ink_close(ink_engine *engine) {
    if (engine == NULL) return INK_OK;
    const ink_status status = ink_session_free(engine->session);
    if (status != INK_OK) return status;
    engine->session = NULL;
    close_parts(engine);
    const inki_mem mem = engine->mem;
    inki_release(&mem, engine, 1, sizeof *engine);
    return INK_OK;
}

ink_model *ink_engine_model(const ink_engine *engine) {
    return engine != NULL ? engine->model : NULL;
}
ink_session *ink_engine_session(const ink_engine *engine) {
    return engine != NULL ? engine->session : NULL;
}

const ink_result *ink_engine_result(const ink_engine *engine) {
    static const ink_result none = {.size = sizeof none};
    return engine != NULL ? &engine->result : &none;
}
