// SPDX-License-Identifier: MIT
// POST /v1/typing: the options of a session, and the session.
#include "server/json_in.h"
#include "server/route.h"
#include "server/typing_sessions.h"

#include <stdlib.h>
#include <string.h>

enum {
    MOST_WORDS = 1024,
    MOST_TOKENS = 256,
    MOST_ALTERNATIVES = 8,
    MOST_STOPS = 16,
    MOST_STOP_BYTES = 1024,
    MOST_PHRASES = 1 << 20, // as the engine
    FEWEST_POSITIONS = 256  // of a session, where the model has as many
};

static const char *const known[] = {
    "model",        "window_words", "max_tokens",  "until", "min_chars",
    "alternatives", "deadline_ms",  "word_filter", "stop",  NULL};
static const char *const ignored[] = {"user", "metadata", NULL};
static const char *const refused[] = {NULL};
static const char *const untils[] = {"length", "word", "sentence", "line", "paragraph", NULL};

typedef struct settings {
    const char *model;
    ink_typing_options o;
    const char **stop, **phrases; // what they point to is of the body
    size_t n_phrases;
} settings;

static void read_u32(srv_in *in, const char *name, uint64_t low, uint64_t high, uint32_t *out) {
    uint64_t value = 0;
    if (srv_in_uint(in, name, low, high, &value)) *out = (uint32_t)value;
}

// A list of at most `most` strings, or one string. *out is to be freed.
static size_t read_strings(srv_in *in, const char *name, size_t most, const char ***out) {
    const json_t *list = srv_in_any(in, name);
    if (list == NULL || (json_is_array(list) && json_array_size(list) == 0)) return 0;
    const size_t n = json_is_array(list) ? json_array_size(list) : 1;
    bool fine = n <= most;
    *out = fine ? calloc(n, sizeof **out) : NULL;
    if (fine && *out == NULL) {
        srv_in_no_memory(in);
        return 0;
    }
    for (size_t i = 0; fine && i < n; i++) {
        const json_t *item = json_is_array(list) ? json_array_get(list, i) : list;
        const char *text = json_string_value(item);
        const size_t bytes = json_string_length(item);
        fine = text != NULL && bytes > 0 && strlen(text) == bytes;
        (*out)[i] = text;
    }
    if (fine) return n;
    srv_in_refuse(
        in, name,
        "'%s' must be an array of at most %zu strings, none of them empty or with U+0000.", name,
        most);
    return 0;
}

// Room for what is read, the suggestion, and for words of more than one token.
static uint32_t positions(const settings *s, uint32_t n_ctx) {
    uint32_t n = s->o.window_words * 2 + s->o.max_tokens + 2;
    if (n < FEWEST_POSITIONS) n = FEWEST_POSITIONS;
    return n < n_ctx ? n : n_ctx;
}

static bool read_settings(settings *s, const json_t *object, srv_failure *why) {
    srv_in in = {.object = object, .why = why};
    srv_in_only(&in, known, ignored, refused);
    srv_in_text(&in, "model", &s->model, NULL);
    read_u32(&in, "window_words", 0, MOST_WORDS, &s->o.window_words);
    read_u32(&in, "max_tokens", 1, MOST_TOKENS, &s->o.max_tokens);
    read_u32(&in, "alternatives", 1, MOST_ALTERNATIVES, &s->o.n_alternatives);
    read_u32(&in, "min_chars", 0, 1000, &s->o.min_chars);
    read_u32(&in, "deadline_ms", 0, 3600000, &s->o.deadline_ms);
    srv_in_choice(&in, "until", untils, &s->o.until);
    s->o.n_stop = read_strings(&in, "stop", MOST_STOPS, &s->stop);
    s->o.stop = s->stop;
    for (size_t i = 0; i < s->o.n_stop; i++)
        if (strlen(s->stop[i]) > MOST_STOP_BYTES)
            srv_in_refuse(&in, "stop", "'stop' holds a string of %zu bytes, %d are allowed.",
                          strlen(s->stop[i]), MOST_STOP_BYTES);
    s->n_phrases = read_strings(&in, "word_filter", MOST_PHRASES, &s->phrases);
    return !in.failed;
}

static bool make_filter(settings *s, srv_failure *why) {
    ink_error error = {0};
    if (s->n_phrases == 0) return true;
    const ink_status status = ink_filter_new(&s->o.filter, NULL, s->phrases, s->n_phrases, &error);
    return status == INK_OK || srv_fail_field(why, status, &error, "word_filter");
}

static srv_typing *begin_session(srv_app *app, settings *s, srv_failure *why) {
    srv_model *model = srv_models_find(app, s->model, why);
    if (model == NULL || srv_model_open(model, why) == NULL) return NULL;
    const uint32_t n_ctx = srv_model_n_ctx(model);
    s->o.n_ctx = positions(s, n_ctx);
    s->o.kv_type = app->options.kv_type;
    if (s->o.max_tokens + 2 > s->o.n_ctx) {
        srv_refuse(why, "max_tokens", "max_tokens is %u; the model's context of %u holds %u.",
                   (unsigned)s->o.max_tokens, (unsigned)n_ctx, (unsigned)n_ctx - 2);
        return NULL;
    }
    if (!make_filter(s, why) || !srv_typings_room(app->typings, model, why)) return NULL;
    srv_typing *session = srv_typing_make(model, &s->o, why);
    if (session == NULL || srv_typings_add(app->typings, session, why)) return session;
    srv_typing_unref(session);
    return NULL;
}

void srv_handle_typing_new(srv_call *call) {
    srv_failure why = {0};
    settings s = {.model = NULL};
    ink_typing_options_init(&s.o, sizeof s.o);
    size_t bytes = 0;
    const char *text = srv_call_body(call, &bytes);
    json_t *object = bytes > 0 ? srv_in_object(text, bytes, &why) : json_object();
    if (object == NULL && why.status == 0) srv_fail_status(&why, INK_E_NOMEM, NULL);
    srv_typing *session = NULL;
    if (object != NULL && read_settings(&s, object, &why))
        session = begin_session(srv_call_app(call), &s, &why);
    if (session != NULL) {
        srv_call_json(call, 201,
                      json_pack("{s:s, s:s, s:s}", "id", session->id, "object", "typing.session",
                                "model", session->model->id));
        srv_typing_unref(session);
    } else {
        srv_call_fail(call, &why);
    }
    ink_filter_unref(s.o.filter);
    free(s.stop);
    free(s.phrases);
    json_decref(object);
}
