// SPDX-License-Identifier: MIT
#include "bench/serve/serve_bench.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "http_load.h"
#include "server/app.h"

// The server's own code opens the model, so that its settings are the server's.
static struct {
    srv_app app;
    srv_model_option model;
    ink_client *client;
    int32_t end_token;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    double first_ms;
} inside = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static bool fail(const char *what, ink_status status, const ink_error *error) {
    fprintf(stderr, "serve_compare: %s: %s\n", what,
            error->message[0] != 0 ? error->message : ink_status_text(status));
    return false;
}

static int on_text(void *user, uint64_t request, const ink_piece *piece) {
    (void)user, (void)request, (void)piece;
    if (inside.first_ms == 0) inside.first_ms = load_now_ms();
    return 0;
}

static void on_done(void *user, uint64_t request, ink_status status, const ink_result *result,
                    const ink_error *error) {
    (void)user, (void)request, (void)result;
    if (status != INK_OK) fail("a request inside", status, error);
    pthread_mutex_lock(&inside.lock);
    inside.done = true;
    pthread_cond_signal(&inside.changed);
    pthread_mutex_unlock(&inside.lock);
}

bool serve_inside_open(const char *model, unsigned n_threads, serve_shape *shape) {
    ink_error error = {0};
    ink_session_options so;
    ink_client_options co;
    ink_model_info info = {.size = sizeof info};
    srv_options_init(&inside.app.options);
    inside.model = (srv_model_option){.source = model};
    inside.app.options.models = &inside.model;
    inside.app.options.n_models = 1;
    inside.app.options.n_threads = n_threads;
    ink_status status = srv_models_start(&inside.app, &error);
    if (status != INK_OK) return fail(model, status, &error);
    ink_service *service = inside.app.models[0].service;
    status = ink_service_wait(service, UINT32_MAX, &error);
    if (status != INK_OK) return fail(model, status, &error);
    ink_model_get_info(ink_service_model(service), &info);
    *shape = (serve_shape){info.n_vocab, info.end_token, info.type};
    inside.end_token = info.end_token;
    ink_session_options_init(&so, sizeof so);
    ink_client_options_init(&co, sizeof co);
    so.n_logits = 8; // a slot's
    co.session = &so;
    co.on_text = on_text;
    co.on_done = on_done;
    status = ink_client_new(&inside.client, service, &co, &error);
    return status == INK_OK || fail("a client", status, &error);
}

double serve_inside_first_ms(const int32_t *ids, unsigned n) {
    ink_error error = {0};
    ink_request request;
    ink_generate_options generate;
    ink_sampler_options sampler;
    ink_request_init(&request, sizeof request);
    ink_generate_options_init(&generate, sizeof generate);
    ink_sampler_options_init(&sampler, sizeof sampler);
    const ink_logit_bias no_end = {inside.end_token, -100};
    sampler.temperature = 0;
    sampler.logit_bias = &no_end;
    sampler.n_logit_bias = 1;
    generate.flags = INK_GENERATE_FRESH;
    generate.n_tokens = SERVE_FIRST_TOKENS;
    generate.prompt_tokens = ids;
    generate.n_prompt_tokens = n;
    request.text = "";
    request.generate = &generate;
    request.sampler = &sampler;
    inside.done = false;
    inside.first_ms = 0;
    const double begin = load_now_ms();
    const ink_status status = ink_client_submit(inside.client, &request, NULL, &error);
    if (status != INK_OK) return fail("a request inside", status, &error) ? 1 : 0;
    pthread_mutex_lock(&inside.lock);
    while (!inside.done) pthread_cond_wait(&inside.changed, &inside.lock);
    pthread_mutex_unlock(&inside.lock);
    return inside.first_ms > 0 ? inside.first_ms - begin : 0;
}

void serve_inside_close(void) {
    ink_client_free(inside.client);
    inside.client = NULL;
    srv_models_close(&inside.app);
    srv_models_free(&inside.app);
    memset(&inside.app, 0, sizeof inside.app);
}
