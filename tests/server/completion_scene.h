// SPDX-License-Identifier: MIT
// A server with the built-in model in a context of its own size, whatever the model has, asked over
// its socket: bodies in, JSON or events out.
#ifndef TESTS_COMPLETION_SCENE_H
#define TESTS_COMPLETION_SCENE_H

#include "http_load.h"

#include "server/server.h"

#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SCENE_CONTEXT = 256 };
static srv_app *scene_app;

static int open_scene(void **state) {
    srv_options options;
    ink_error error = {.size = sizeof error};
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    srv_options_init(&options);
    options.port = 0;
    options.n_parallel = 4;
    options.n_threads = 2;
    options.n_ctx = SCENE_CONTEXT;
    if (srv_start(&scene_app, &options, &error) != INK_OK) return -1;
    return srv_wait(scene_app, &error) == INK_OK ? 0 : -1;
}

static int close_scene(void **state) {
    (void)state;
    srv_free(scene_app);
    return 0;
}

typedef struct scene_answer {
    unsigned status;
    bool complete, failed_event;
    char *body;   // with a 0 byte
    json_t *json; // of a whole answer; of a stream: an array of its events, without "[DONE]"
} scene_answer;

typedef struct scene_post {
    const char *path, *body;
    scene_answer *answer;
} scene_post;

static bool scene_next(void *user, unsigned client, unsigned index, load_request *out) {
    const scene_post *post = user;
    (void)client;
    *out = (load_request){.method = "POST",
                          .path = post->path,
                          .body = post->body,
                          .bytes = strlen(post->body),
                          .fresh = true};
    return index == 0;
}

// Every line of a stream is a comment, empty, or data.
static json_t *read_events(const char *body) {
    json_t *events = json_array();
    bool done = false;
    for (const char *line = body; *line != 0;) {
        const size_t length = strcspn(line, "\n");
        assert_false(done && length > 0);
        if (length > 6 && strncmp(line, "data: ", 6) == 0) {
            done = length == 12 && strncmp(line + 6, "[DONE]", 6) == 0;
            json_t *event = done ? NULL : json_loadb(line + 6, length - 6, JSON_ALLOW_NUL, NULL);
            assert_true(done || event != NULL);
            if (!done) json_array_append_new(events, event);
        } else {
            assert_true(length == 0 || line[0] == ':');
        }
        line += length + (line[length] == '\n');
    }
    return events;
}

static void scene_done(void *user, unsigned client, unsigned index, const load_answer *answer) {
    scene_answer *out = ((scene_post *)user)->answer;
    (void)client;
    (void)index;
    out->status = answer->status;
    out->complete = answer->complete;
    out->failed_event = answer->failed_event;
    out->body = strdup(answer->body);
    out->json = answer->stream ? read_events(answer->body)
                               : json_loadb(answer->body, answer->bytes, JSON_ALLOW_NUL, NULL);
}

static scene_answer post(const char *path, const char *body) {
    scene_answer answer = {0};
    scene_post what = {path, body, &answer};
    const load_plan plan = {.address = "127.0.0.1",
                            .port = srv_port(scene_app),
                            .n_clients = 1,
                            .next = scene_next,
                            .done = scene_done,
                            .user = &what};
    assert_true(load_run(&plan));
    if (answer.json == NULL) fail_msg("%s: %u %s", body, answer.status, answer.body);
    return answer;
}

static void forget(scene_answer *answer) {
    json_decref(answer->json);
    free(answer->body);
}

// json.a[0].b, as "a[0].b"; NULL where there is none.
static const json_t *at(const json_t *json, const char *path) {
    while (json != NULL && *path != 0) {
        char name[64];
        if (*path == '[') {
            char *end;
            json = json_array_get(json, (size_t)strtol(path + 1, &end, 10));
            path = end + 1;
        } else {
            if (*path == '.') path++;
            const size_t length = strcspn(path, ".[");
            snprintf(name, sizeof name, "%.*s", (int)length, path);
            json = json_object_get(json, name);
            path += length;
        }
    }
    return json;
}

static const char *text_at(const json_t *json, const char *path) {
    const json_t *value = at(json, path);
    if (!json_is_string(value)) fail_msg("no text at %s", path);
    return json_string_value(value);
}

static long long number_at(const json_t *json, const char *path) {
    const json_t *value = at(json, path);
    if (!json_is_integer(value)) fail_msg("no integer at %s", path);
    return json_integer_value(value);
}

static inline double real_at(const json_t *json, const char *path) {
    const json_t *value = at(json, path);
    if (!json_is_number(value)) fail_msg("no number at %s", path);
    return json_number_value(value);
}

static scene_answer good(const char *path, const char *body) {
    scene_answer answer = post(path, body);
    if (answer.status != 200 || !answer.complete)
        fail_msg("%s: %u %s", body, answer.status, answer.body);
    return answer;
}

static inline void bad(const char *path, const char *body, unsigned status, const char *param,
                       const char *code) {
    scene_answer answer = post(path, body);
    if (answer.status != status) fail_msg("%s: %u %s", body, answer.status, answer.body);
    if (strcmp(text_at(answer.json, "error.param"), param) != 0) fail_msg("%s", answer.body);
    const json_t *said = at(answer.json, "error.code");
    assert_true(code == NULL ? json_is_null(said) : strcmp(json_string_value(said), code) == 0);
    assert_true(strlen(text_at(answer.json, "error.message")) > 10);
    forget(&answer);
}

#endif
