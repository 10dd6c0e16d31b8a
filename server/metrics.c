// SPDX-License-Identifier: MIT
// Counting, and GET /metrics: the text format 0.0.4 of Prometheus.
// Source: https://prometheus.io/docs/instrumenting/exposition_formats/
#include "server/grammars.h"
#include "server/http.h"
#include "server/jobs.h"
#include "server/route.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// --- counting ------------------------------------------------------------------------------------

// Upper bounds of the buckets in microseconds; behind them +Inf.
static const uint64_t bounds_us[SRV_METRICS_BUCKETS - 1] = {
    1000,   2000,   5000,    10000,   20000,    50000,   100000,
    200000, 500000, 1000000, 5000000, 20000000, 60000000};

// Statuses that are told apart; the last counter is for all others.
static const struct status_kind {
    unsigned status;
    const char *error; // NULL: none
} statuses[] = {
    {200, NULL},
    {201, NULL},
    {204, NULL},
    {304, NULL},
    {400, "invalid_request"},
    {401, "unauthorized"},
    {403, "forbidden"},
    {404, "not_found"},
    {405, "method_not_allowed"},
    {408, "timeout"},
    {409, "conflict"},
    {411, "length_required"},
    {413, "too_large"},
    {414, "uri_too_long"},
    {415, "media_type"},
    {429, "overloaded"},
    {431, "header_too_large"},
    {500, "internal"},
    {501, "not_implemented"},
    {503, "unavailable"},
    {505, "http_version"},
};
enum { N_STATUSES = sizeof statuses / sizeof *statuses };
_Static_assert((int)N_STATUSES < (int)SRV_METRICS_STATUSES,
               "there is a counter for each, and one more");

static uint64_t microseconds(double ms) {
    if (!(ms > 0)) return 0;
    return ms < 1e12 ? (uint64_t)(ms * 1000 + 0.5) : (uint64_t)1e15;
}

static void observe(srv_histogram *h, double ms) {
    const uint64_t us = microseconds(ms);
    uint32_t i = 0;
    while (i < SRV_METRICS_BUCKETS - 1 && us > bounds_us[i]) i++;
    atomic_fetch_add_explicit(&h->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_us, us, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->count, 1, memory_order_relaxed);
}

static void add(atomic_uint_fast64_t *counter, uint64_t n) {
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void srv_metrics_answer(srv_metrics *metrics, unsigned status, double ms) {
    uint32_t i = 0;
    while (i < N_STATUSES && statuses[i].status != status) i++;
    add(&metrics->answers[i], 1);
    observe(&metrics->request, ms);
}

void srv_metrics_result(srv_metrics *metrics, const ink_result *result, double waited_ms) {
    observe(&metrics->queue, waited_ms);
    add(&metrics->prompt_tokens, result->n_prompt);
    add(&metrics->reused_tokens, result->n_reused);
    add(&metrics->generated_tokens, result->n_generated);
    add(&metrics->decode_us, microseconds(result->decode_ms));
    if (result->first_token_ms > 0) observe(&metrics->first_token, result->first_token_ms);
}

// --- writing -------------------------------------------------------------------------------------

typedef struct page {
    char *text;
    size_t bytes, cap;
    bool failed;
} page;

static void put(page *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(page *p, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    const size_t need = p->bytes + (size_t)(n > 0 ? n : 0) + 1;
    if (need > p->cap) {
        char *text = realloc(p->text, need * 2);
        if (text != NULL) {
            p->text = text;
            p->cap = need * 2;
        }
    }
    p->failed = p->failed || n < 0 || need > p->cap;
    if (!p->failed) {
        vsnprintf(p->text + p->bytes, p->cap - p->bytes, format, again);
        p->bytes = need - 1;
    }
    va_end(again);
}

static void put_head(page *p, const char *name, const char *type, const char *help) {
    put(p, "# HELP inkling_%s %s\n# TYPE inkling_%s %s\n", name, help, name, type);
}

// A value of a label in quotes: backslash, quote and line feed are written with a backslash.
static void put_quoted(page *p, const char *value) {
    put(p, "\"");
    for (; *value != 0; value++) {
        if (*value == '\n')
            put(p, "\\n");
        else
            put(p, *value == '\\' || *value == '"' ? "\\%c" : "%c", *value);
    }
    put(p, "\"");
}

// Digits alone, so that no locale writes another point.
static void put_seconds(page *p, uint64_t us) {
    put(p, "%" PRIu64 ".%06" PRIu64 "\n", us / 1000000, us % 1000000);
}

static uint64_t read_counter(const atomic_uint_fast64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void put_counter(page *p, const char *name, const char *help,
                        const atomic_uint_fast64_t *counter) {
    put_head(p, name, "counter", help);
    put(p, "inkling_%s %" PRIu64 "\n", name, read_counter(counter));
}

static void put_gauge(page *p, const char *name, const char *help, uint64_t value) {
    put_head(p, name, "gauge", help);
    put(p, "inkling_%s %" PRIu64 "\n", name, value);
}

// The count is the sum of the buckets as they were read: it and +Inf are the same in every answer.
static void put_histogram(page *p, const char *name, const char *help, const srv_histogram *h) {
    uint64_t n = 0;
    put_head(p, name, "histogram", help);
    for (uint32_t i = 0; i < SRV_METRICS_BUCKETS; i++) {
        n += read_counter(&h->buckets[i]);
        put(p, "inkling_%s_bucket{le=\"", name);
        if (i == SRV_METRICS_BUCKETS - 1)
            put(p, "+Inf");
        else
            put(p, "%" PRIu64 ".%03" PRIu64, bounds_us[i] / 1000000, bounds_us[i] / 1000 % 1000);
        put(p, "\"} %" PRIu64 "\n", n);
    }
    put(p, "inkling_%s_sum ", name);
    put_seconds(p, read_counter(&h->sum_us));
    put(p, "inkling_%s_count %" PRIu64 "\n", name, n);
}

// --- what there is -------------------------------------------------------------------------------

static void put_answers(page *p, const srv_metrics *m) {
    put_head(p, "requests_total", "counter", "Requests answered, by HTTP status.");
    for (uint32_t i = 0; i <= N_STATUSES; i++) {
        const uint64_t n = read_counter(&m->answers[i]);
        if (i < N_STATUSES)
            put(p, "inkling_requests_total{status=\"%u\"} %" PRIu64 "\n", statuses[i].status, n);
        else
            put(p, "inkling_requests_total{status=\"other\"} %" PRIu64 "\n", n);
    }
    put_head(p, "errors_total", "counter", "Requests that were refused or failed, by kind.");
    for (uint32_t i = 0; i < N_STATUSES; i++)
        if (statuses[i].error != NULL)
            put(p, "inkling_errors_total{kind=\"%s\"} %" PRIu64 "\n", statuses[i].error,
                read_counter(&m->answers[i]));
}

static void put_counters(page *p, const srv_metrics *m) {
    put_counter(p, "hung_up_total", "Clients that went before their answer's end.", &m->hung_up);
    put_counter(p, "connections_refused_total", "Connections that there was no room for.",
                &m->refused_connections);
    put_counter(p, "connections_evicted_total", "Idle connections that gave way to new ones.",
                &m->evicted_connections);
    put_counter(p, "prompt_tokens_total", "Tokens of prompts.", &m->prompt_tokens);
    put_counter(p, "prompt_tokens_reused_total", "Tokens of prompts that a cache held already.",
                &m->reused_tokens);
    put_counter(p, "generated_tokens_total", "Tokens generated.", &m->generated_tokens);
    put_counter(p, "typing_updates_total", "Edits of typing sessions.", &m->typing_updates);
    put_counter(p, "typing_suggestions_total", "Suggestions sent to typing sessions.",
                &m->suggestions);
    put_head(p, "decode_seconds_total", "counter",
             "Time behind the first tokens, of all requests together.");
    put(p, "inkling_decode_seconds_total ");
    put_seconds(p, read_counter(&m->decode_us));
    put_histogram(p, "queue_seconds", "Time that requests waited for their turn.", &m->queue);
    put_histogram(p, "first_token_seconds", "Time to the first token, waiting included.",
                  &m->first_token);
    put_histogram(p, "request_seconds", "Time from a request's head to its answer's end.",
                  &m->request);
}

static uint64_t n_running(const srv_model *model) {
    return model->slots != NULL ? srv_slots_n_running(model->slots) : 0;
}

static uint64_t n_waiting(const srv_model *model) {
    return model->slots != NULL ? srv_slots_n_waiting(model->slots) : 0;
}

static uint64_t is_ready(const srv_model *model) {
    return ink_service_state(model->service, NULL) == INK_SERVICE_READY;
}

static ink_model_info info_of(const srv_model *model) {
    ink_model_info info = {.size = sizeof info};
    ink_model *open = ink_service_model(model->service);
    if (open != NULL) ink_model_get_info(open, &info);
    return info;
}

static uint64_t file_bytes(const srv_model *model) { return info_of(model).file_bytes; }

static uint64_t weight_bytes(const srv_model *model) { return info_of(model).weight_bytes; }

static ink_prefix_cache_info prefix_of(const srv_model *model) {
    ink_prefix_cache_info info = {.size = sizeof info};
    ink_prefix_cache_get_info(ink_service_prefix_cache(model->service), &info); // NULL: stays 0
    return info;
}

static uint64_t prefix_bytes(const srv_model *model) { return prefix_of(model).bytes; }

static uint64_t prefix_lookups(const srv_model *model) { return prefix_of(model).n_lookups; }

static uint64_t prefix_tokens(const srv_model *model) { return prefix_of(model).n_tokens_found; }

static uint64_t prefix_evicted(const srv_model *model) { return prefix_of(model).n_pages_evicted; }

static uint64_t grammars_compiled(const srv_model *model) {
    return srv_grammars_get_info(model->grammars).n_compiled;
}

static uint64_t grammar_hits(const srv_model *model) {
    return srv_grammars_get_info(model->grammars).n_hits;
}

static uint64_t grammar_bytes(const srv_model *model) {
    return srv_grammars_get_info(model->grammars).kept_bytes;
}

static void put_models_of(page *p, const srv_app *app, const char *type, const char *name,
                          const char *help, uint64_t (*value)(const srv_model *model)) {
    put_head(p, name, type, help);
    for (size_t i = 0; i < app->n_models; i++) {
        put(p, "inkling_%s{model=", name);
        put_quoted(p, app->models[i].id);
        put(p, "} %" PRIu64 "\n", value(&app->models[i]));
    }
}

static void put_models(page *p, const srv_app *app, const char *name, const char *help,
                       uint64_t (*value)(const srv_model *model)) {
    put_models_of(p, app, "gauge", name, help, value);
}

static void put_prefixes(page *p, const srv_app *app) {
    put_models(p, app, "prefix_cache_bytes", "Held of beginnings that requests share.",
               prefix_bytes);
    put_models_of(p, app, "counter", "prefix_cache_lookups_total", "Prompts looked up there.",
                  prefix_lookups);
    put_models_of(p, app, "counter", "prefix_cache_tokens_found_total",
                  "Tokens of prompts that were taken from there.", prefix_tokens);
    put_models_of(p, app, "counter", "prefix_cache_pages_evicted_total",
                  "Pages of 64 tokens that made room for others.", prefix_evicted);
}

static void put_grammars(page *p, const srv_app *app) {
    put_models_of(p, app, "counter", "grammars_compiled_total",
                  "Grammars and schemas of requests that were compiled.", grammars_compiled);
    put_models_of(p, app, "counter", "grammar_cache_hits_total",
                  "Requests whose grammar was there already.", grammar_hits);
    put_models(p, app, "grammar_cache_bytes", "Held of compiled grammars for later requests.",
               grammar_bytes);
}

// False: the system does not say. Its second number is of pages.
static bool resident_bytes(uint64_t *out) {
    char line[128] = "", *second = NULL, *end = NULL;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL) return false;
    const bool read = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    strtoull(line, &second, 10);
    const uint64_t n_pages = strtoull(second, &end, 10);
    const long page_bytes = sysconf(_SC_PAGESIZE);
    if (!read || end == second || page_bytes <= 0) return false;
    *out = n_pages * (uint64_t)page_bytes;
    return true;
}

static void put_process(page *p, const srv_app *app) {
    uint64_t resident = 0;
    put_head(p, "build_info", "gauge", "Always 1; the version is in its label.");
    put(p, "inkling_build_info{version=\"%s\"} 1\n", ink_version());
    put_gauge(p, "start_time_seconds", "When the server started, since 1970.",
              (uint64_t)app->started);
    put_gauge(p, "connections", "Open connections.",
              app->http != NULL ? srv_http_n_connections(app->http) : 0);
    put_gauge(p, "typing_sessions", "Typing sessions.", srv_typings_n(app->typings));
    if (resident_bytes(&resident))
        put_gauge(p, "resident_memory_bytes",
                  "Memory of the process, pages of model files that are in use among it.",
                  resident);
    put_models(p, app, "model_ready", "Whether the model is open.", is_ready);
    put_models(p, app, "model_file_bytes", "Size of the model's file, which is mapped.",
               file_bytes);
    put_models(p, app, "model_weight_bytes", "Of that, its tensors.", weight_bytes);
    put_models(p, app, "requests_running", "Continuations at work.", n_running);
    put_models(p, app, "requests_waiting", "Continuations in the queue.", n_waiting);
    put_prefixes(p, app);
    put_grammars(p, app);
}

void srv_handle_metrics(srv_call *call) {
    const srv_app *app = srv_call_app(call);
    page p = {.text = NULL};
    put_process(&p, app);
    put_answers(&p, &app->metrics);
    put_counters(&p, &app->metrics);
    srv_failure why = {0};
    if (p.failed) {
        srv_fail_status(&why, INK_E_NOMEM, NULL);
        srv_call_fail(call, &why);
    } else {
        srv_call_text(call, 200, "text/plain; version=0.0.4; charset=utf-8", p.text, p.bytes);
    }
    free(p.text);
}
