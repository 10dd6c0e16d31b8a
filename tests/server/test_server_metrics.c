// SPDX-License-Identifier: MIT
// Label: threads
// GET /metrics in the text format of Prometheus, read by a checker of its own, and GET /health.
#include "served_program.h"
#include "server/http.h"
#include "server/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static srv_app *app;
static const char odd_id[] = "a \"model\" \\ of\nmine";

static int start(void **state) {
    (void)state;
    const srv_model_option models[] = {{.source = "builtin:story", .id = odd_id},
                                       {.source = "no/such/secret/file.gguf", .id = "lost"}};
    srv_options o;
    srv_options_init(&o);
    o.port = 0;
    o.models = models;
    o.n_models = 2;
    if (srv_start(&app, &o, NULL) != INK_OK) return 1;
    return srv_wait(app, NULL) == INK_OK; // one of them is not there
}

static int stop(void **state) {
    (void)state;
    srv_free(app);
    return 0;
}

// --- the format ----------------------------------------------------------------------------------

enum { MAX_SAMPLES = 512, NAME_BYTES = 96, LABEL_BYTES = 160 };

typedef struct sample {
    char name[NAME_BYTES], label[LABEL_BYTES], value_of[LABEL_BYTES]; // one label at most
    double value;
} sample;

typedef struct figures {
    char text[65536];
    sample list[MAX_SAMPLES];
    size_t n;
} figures;

static size_t name_length(const char *at) {
    size_t n = 0;
    while ((at[n] >= 'a' && at[n] <= 'z') || (at[n] >= 'A' && at[n] <= 'Z') || at[n] == '_' ||
           at[n] == ':' || (n > 0 && at[n] >= '0' && at[n] <= '9'))
        n++;
    return n;
}

static void copy_name(char out[NAME_BYTES], const char *at) {
    const size_t n = name_length(at);
    assert_true(n > 0 && n < NAME_BYTES);
    memcpy(out, at, n);
    out[n] = 0;
}

// {name="value"} → behind it. Only these three are written with a backslash.
static const char *read_label(const char *at, sample *s) {
    copy_name(s->label, at + 1);
    at += 1 + strlen(s->label);
    assert_memory_equal(at, "=\"", 2);
    size_t n = 0;
    for (at += 2; *at != '"'; at++) {
        char c = *at;
        assert_true(c != 0 && c != '\n' && n < LABEL_BYTES - 1);
        if (c == '\\') {
            at++;
            assert_true(*at == 'n' || *at == '\\' || *at == '"');
            c = *at == 'n' ? '\n' : *at;
        }
        s->value_of[n++] = c;
    }
    s->value_of[n] = 0;
    assert_memory_equal(at, "\"}", 2);
    return at + 2;
}

static bool ends_with(const char *text, const char *tail) {
    const size_t n = strlen(text), m = strlen(tail);
    return n >= m && strcmp(text + n - m, tail) == 0;
}

static void check_belongs(const char *name, const char *family, const char *type) {
    if (strcmp(type, "histogram") != 0) {
        assert_string_equal(name, family);
        assert_int_equal(ends_with(name, "_total"), strcmp(type, "counter") == 0);
        return;
    }
    const size_t n = strlen(family);
    assert_int_equal(strncmp(name, family, n), 0);
    assert_true(strcmp(name + n, "_bucket") == 0 || strcmp(name + n, "_sum") == 0 ||
                strcmp(name + n, "_count") == 0);
}

static void add_sample(figures *f, const char *line, const char *family, const char *type) {
    assert_true(f->n < MAX_SAMPLES);
    sample *s = &f->list[f->n++];
    memset(s, 0, sizeof *s);
    copy_name(s->name, line);
    check_belongs(s->name, family, type);
    line += strlen(s->name);
    if (*line == '{') line = read_label(line, s);
    assert_true(*line == ' ');
    char *end = NULL;
    s->value = strtod(line + 1, &end);
    assert_true(end > line + 1 && *end == 0 && s->value >= 0);
    for (size_t i = 0; i + 1 < f->n; i++) // each only once
        assert_true(strcmp(f->list[i].name, s->name) != 0 ||
                    strcmp(f->list[i].value_of, s->value_of) != 0);
}

// HELP, TYPE and samples of one family after the other, no family twice.
static void read_figures(figures *f) {
    static const char help[] = "# HELP ", kind[] = "# TYPE ";
    char families[128][NAME_BYTES], type[32] = "";
    size_t n_families = 0;
    bool typed = false;
    f->n = 0;
    assert_int_equal(served_get(srv_port(app), "/metrics", f->text, sizeof f->text), 200);
    assert_non_null(strstr(f->text, "text/plain; version=0.0.4"));
    char *body = strstr(f->text, "\r\n\r\n") + 4, *next = body;
    assert_true(ends_with(body, "\n"));
    for (char *line = body; *line != 0; line = next) {
        next = strchr(line, '\n');
        *next++ = 0;
        if (strncmp(line, help, strlen(help)) == 0) {
            char *name = families[n_families];
            copy_name(name, line + strlen(help));
            assert_true(strlen(line) > strlen(help) + strlen(name) + 8);
            for (size_t i = 0; i < n_families; i++) assert_string_not_equal(families[i], name);
            n_families++;
            typed = false;
        } else if (strncmp(line, kind, strlen(kind)) == 0) {
            char name[NAME_BYTES];
            copy_name(name, line + strlen(kind));
            assert_true(!typed && n_families > 0);
            assert_string_equal(name, families[n_families - 1]);
            assert_int_equal(sscanf(line + strlen(kind) + strlen(name), " %31s", type), 1);
            assert_true(strcmp(type, "counter") == 0 || strcmp(type, "gauge") == 0 ||
                        strcmp(type, "histogram") == 0);
            typed = true;
        } else {
            assert_true(typed);
            add_sample(f, line, families[n_families - 1], type);
        }
    }
    assert_true(n_families > 20);
}

// -1: there is none.
static double figure(const figures *f, const char *name, const char *label_value) {
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->list[i].name, name) == 0 && strcmp(f->list[i].value_of, label_value) == 0)
            return f->list[i].value;
    return -1;
}

// Buckets rise to +Inf, which is the count.
static double check_histogram(const figures *f, const char *family) {
    char bucket[NAME_BYTES], count[NAME_BYTES], sum[NAME_BYTES];
    snprintf(bucket, sizeof bucket, "%s_bucket", family);
    snprintf(count, sizeof count, "%s_count", family);
    snprintf(sum, sizeof sum, "%s_sum", family);
    double bound = 0, n = 0;
    size_t n_buckets = 0;
    for (size_t i = 0; i < f->n; i++) {
        const sample *s = &f->list[i];
        if (strcmp(s->name, bucket) != 0) continue;
        assert_string_equal(s->label, "le");
        const double le = strtod(s->value_of, NULL); // "+Inf" too
        assert_true(le > bound && s->value >= n);
        bound = le;
        n = s->value;
        n_buckets++;
    }
    assert_int_equal(n_buckets, SRV_METRICS_BUCKETS);
    assert_true(bound > 1e300 && figure(f, count, "") == n);
    assert_true((figure(f, sum, "") > 0) == (n > 0));
    return n;
}

// --- /metrics ------------------------------------------------------------------------------------

static figures now;

static void test_format(void **state) {
    (void)state;
    read_figures(&now);
    assert_true(figure(&now, "inkling_build_info", ink_version()) == 1);
    assert_true(figure(&now, "inkling_model_ready", odd_id) == 1);
    assert_true(figure(&now, "inkling_model_ready", "lost") == 0);
    assert_true(figure(&now, "inkling_model_file_bytes", odd_id) > 1e6);
    assert_true(figure(&now, "inkling_requests_running", odd_id) == 0);
    assert_true(figure(&now, "inkling_connections", "") >= 1);
    assert_true(access("/proc/self/statm", R_OK) != 0 ||
                figure(&now, "inkling_resident_memory_bytes", "") > 1e6);
    check_histogram(&now, "inkling_queue_seconds");
    check_histogram(&now, "inkling_first_token_seconds");
    // Of the cache that its requests share; a model that could not be opened has none.
    static const char *const prefix[] = {
        "inkling_prefix_cache_bytes", "inkling_prefix_cache_lookups_total",
        "inkling_prefix_cache_tokens_found_total", "inkling_prefix_cache_pages_evicted_total"};
    for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++) {
        assert_true(figure(&now, prefix[i], odd_id) == 0);
        assert_true(figure(&now, prefix[i], "lost") == 0);
    }
}

// A request looks its prompt up, and leaves the pages of what it read.
static void test_prefix_cache(void **state) {
    (void)state;
    ink_service *service = app->models[0].service;
    ink_prefix_cache_info info = {.size = sizeof info};
    assert_int_equal(ink_prefix_cache_get_info(ink_service_prefix_cache(service), &info), INK_OK);
    assert_int_equal(info.max_bytes, 64000000);
    ink_client *client = NULL;
    ink_request r;
    ink_generate_options g;
    char prompt[240]; // 80 to 240 tokens
    memset(prompt, 'x', sizeof prompt);
    for (size_t i = 0; i < sizeof prompt; i += 3) prompt[i] = ' ';
    ink_generate_options_init(&g, sizeof g);
    g.flags = INK_GENERATE_FRESH;
    g.n_tokens = 1;
    ink_request_init(&r, sizeof r);
    r.text = prompt;
    r.bytes = sizeof prompt;
    r.generate = &g;
    for (uint32_t i = 1; i <= 2; i++) { // of two clients
        ink_session_options so;
        ink_client_options co;
        ink_session_options_init(&so, sizeof so);
        ink_client_options_init(&co, sizeof co);
        co.session = &so;
        assert_int_equal(ink_client_new(&client, service, &co, NULL), INK_OK);
        assert_int_equal(ink_client_submit(client, &r, NULL, NULL), INK_OK);
        do {
            read_figures(&now);
        } while (figure(&now, "inkling_prefix_cache_lookups_total", odd_id) < i);
        if (i == 2) break;
        do {
            read_figures(&now);
        } while (figure(&now, "inkling_prefix_cache_bytes", odd_id) == 0);
        assert_int_equal(ink_client_free(client), INK_OK);
    }
    assert_true(figure(&now, "inkling_prefix_cache_tokens_found_total", odd_id) >= 64);
    assert_int_equal(ink_client_free(client), INK_OK);
}

static double wanted_404;
static bool counted_404(void *user) {
    (void)user;
    read_figures(&now);
    return figure(&now, "inkling_requests_total", "404") >= wanted_404;
}

static void test_requests_are_counted(void **state) {
    (void)state;
    char text[4096];
    read_figures(&now);
    const double before = figure(&now, "inkling_requests_total", "404");
    const double requests = check_histogram(&now, "inkling_request_seconds");
    for (int i = 0; i < 5; i++)
        assert_int_equal(served_get(srv_port(app), "/no/such", text, sizeof text), 404);
    wanted_404 = before + 5; // an answer is counted behind its end
    assert_true(served_wait_for(counted_404, NULL));
    assert_true(figure(&now, "inkling_requests_total", "404") == before + 5);
    assert_true(figure(&now, "inkling_errors_total", "not_found") == before + 5);
    assert_true(check_histogram(&now, "inkling_request_seconds") >= requests + 5);
}

// Counting itself, on figures of its own.
static void test_counting(void **state) {
    (void)state;
    static srv_metrics m;
    const double ms[] = {-1, 0, 0.4, 1, 1.001, 2, 59999, 60000, 60001, 1e15, 1e300};
    const size_t bucket[] = {0, 0, 0, 0, 1, 1, 12, 12, 13, 13, 13};
    size_t expected[SRV_METRICS_BUCKETS] = {0};
    for (size_t i = 0; i < sizeof ms / sizeof *ms; i++) {
        srv_metrics_answer(&m, i % 2 == 0 ? 200 : 777, ms[i]);
        expected[bucket[i]]++;
        for (size_t k = 0; k < SRV_METRICS_BUCKETS; k++)
            assert_int_equal(atomic_load(&m.request.buckets[k]), expected[k]);
    }
    uint64_t n = 0, n_kinds = 0;
    for (size_t k = 0; k < SRV_METRICS_STATUSES; k++) {
        n += atomic_load(&m.answers[k]);
        n_kinds += atomic_load(&m.answers[k]) > 0;
    }
    assert_int_equal(n, sizeof ms / sizeof *ms);
    assert_int_equal(n_kinds, 2);
    const ink_result result = {
        .n_prompt = 9, .n_reused = 4, .n_generated = 3, .first_token_ms = 15, .decode_ms = 2.5};
    srv_metrics_result(&m, &result, 7);
    assert_int_equal(atomic_load(&m.prompt_tokens), 9);
    assert_int_equal(atomic_load(&m.reused_tokens), 4);
    assert_int_equal(atomic_load(&m.generated_tokens), 3);
    assert_int_equal(atomic_load(&m.decode_us), 2500);
    assert_int_equal(atomic_load(&m.queue.sum_us), 7000);
    assert_int_equal(atomic_load(&m.first_token.sum_us), 15000);
    // One that ended before a token was chosen has no first token.
    srv_metrics_result(&m, &(ink_result){.n_prompt = 1}, 0);
    assert_int_equal(atomic_load(&m.first_token.count), 1);
    assert_int_equal(atomic_load(&m.queue.count), 2);
}

// --- /health -------------------------------------------------------------------------------------

static json_t *health(unsigned status, const char *header) {
    char text[4096];
    assert_int_equal(served_get(srv_port(app), "/health", text, sizeof text), status);
    if (header != NULL) assert_non_null(strstr(text, header));
    if (header == NULL) assert_null(strstr(text, "Retry-After"));
    assert_null(strstr(text, "secret"));
    json_t *json = json_loads(strstr(text, "\r\n\r\n") + 4, 0, NULL);
    assert_non_null(json);
    return json;
}

static const char *model_text(const json_t *json, size_t i, const char *name) {
    const json_t *model = json_array_get(json_object_get(json, "models"), i);
    return json_string_value(json_object_get(model, name));
}

static void test_health(void **state) {
    (void)state;
    json_t *json = health(200, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "status")), "ok");
    assert_int_equal(json_array_size(json_object_get(json, "models")), 2);
    assert_string_equal(model_text(json, 0, "id"), odd_id);
    assert_string_equal(model_text(json, 0, "state"), "ready");
    assert_string_equal(model_text(json, 1, "state"), "failed");
    assert_string_equal(model_text(json, 1, "reason"), ink_status_text(INK_E_NOT_FOUND));
    json_decref(json);
}

// A server whose default model cannot be opened.
static void test_health_without_a_model(void **state) {
    (void)state;
    char path[] = "/tmp/inkling-health-XXXXXX", file[64];
    assert_non_null(mkdtemp(path));
    snprintf(file, sizeof file, "%s/secret.gguf", path);
    srv_app *ours = app;
    srv_options o;
    srv_options_init(&o);
    o.port = 0;
    o.n_models = 1;
    o.models = &(srv_model_option){.source = file, .id = "it"};
    assert_int_equal(srv_start(&app, &o, NULL), INK_OK);
    assert_int_not_equal(srv_wait(app, NULL), INK_OK);
    json_t *json = health(503, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "status")), "failed");
    assert_string_equal(model_text(json, 0, "reason"), ink_status_text(INK_E_NOT_FOUND));
    json_decref(json);
    srv_free(app);
    app = ours;
    rmdir(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_prefix_cache),
        cmocka_unit_test(test_requests_are_counted),
        cmocka_unit_test(test_counting),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_health_without_a_model),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
