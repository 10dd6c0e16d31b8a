// SPDX-License-Identifier: MIT
// Label: threads
// The typing interface: what its calls answer and what its streams tell, against the engine's own
// typing session, and the life of sessions by a clock that the test sets.
#include "typing_calls_fixture.h"

static const char sentence[] = "Once upon a time there was a little girl named Lily. She liked to";

static json_t *get(const json_t *object, const char *name) {
    json_t *value = json_object_get(object, name);
    if (value == NULL) fail_msg("there is no %s", name);
    return value;
}

// --- the same as in process ----------------------------------------------------------------------

typedef struct heard {
    json_t *list; // what events should be
    uint32_t n_alternatives;
} heard;

static void hear(void *user, ink_typing *typing, const ink_suggestion *s) {
    heard *h = user;
    json_t *texts = json_array();
    for (uint32_t i = 0; i < h->n_alternatives; i++) {
        ink_suggestion other = {.size = sizeof other};
        ink_typing_suggestion(typing, i, &other);
        if (other.bytes > 0) json_array_append_new(texts, json_string(other.text));
    }
    const char *stop = s->stop == INK_STOP_CALLBACK ? "unit" : ink_stop_name(s->stop);
    json_array_append_new(
        h->list, json_pack("{s:I, s:s, s:b, s:s?, s:o, s:i, s:i, s:i, s:i}", "revision",
                           (json_int_t)s->revision, "text", s->text, "done", (int)s->done, "stop",
                           s->done ? stop : NULL, "alternatives", texts, "n_tokens",
                           (int)s->n_tokens, "n_prompt", (int)s->n_prompt, "n_prompt_evaluated",
                           (int)s->n_prompt_evaluated, "n_evaluated", (int)s->n_evaluated));
}

static void check_same(const char *body, ink_typing_options *o) {
    char id[40], name[32];
    heard h = {json_array(), o->n_alternatives};
    o->on_suggestion = hear;
    o->user = &h;
    ink_typing *typing = NULL;
    assert_int_equal(ink_typing_new(&typing, ink_service_model(fake_model.service), o, NULL),
                     INK_OK);
    assert_int_equal(begin_typing(body, id), 201);
    srv_call *stream = open_stream(id);
    uint64_t last = 0;
    // From the third letter on each text is a key; waited for, so that both do the same steps.
    for (size_t n = 3; n < sizeof sentence; n += 7) {
        char text[sizeof sentence];
        memcpy(text, sentence, n);
        text[n] = 0;
        uint64_t revision = 0;
        const ink_status status = ink_typing_update(typing, text, n, n, &revision, NULL);
        if (status == INK_E_FILTERED) {
            assert_int_equal(type_text(id, text, ""), ++last);
            continue;
        }
        assert_int_equal(status, INK_OK);
        last = revision;
        assert_int_equal(ink_typing_run(typing, UINT32_MAX, NULL, NULL), INK_OK);
        assert_int_equal(type_text(id, text, ""), revision);
        json_decref(await_done(stream, revision));
    }
    assert_int_equal(count_events(stream), json_array_size(h.list) + 1);
    assert_true(json_array_size(h.list) > sizeof sentence / 7);
    for (size_t i = 0; i <= json_array_size(h.list); i++) {
        json_t *event = event_at(stream, i, name);
        assert_string_equal(name, i == 0 ? "ready" : "suggestion");
        if (i > 0) {
            assert_true(json_is_real(get(event, "first_token_ms")));
            assert_true(json_real_value(get(event, "total_ms")) > 0);
            json_object_del(event, "first_token_ms");
            json_object_del(event, "total_ms");
            assert_true(json_equal(event, json_array_get(h.list, i - 1)));
        } else {
            assert_int_equal(json_integer_value(get(event, "revision")), 0);
        }
        json_decref(event);
    }
    assert_int_equal(ask(srv_handle_typing_delete, id, "", NULL), 204);
    srv_call_unref(stream);
    ink_typing_free(typing);
    json_decref(h.list);
}

static void test_events_are_the_engines(void **state) {
    (void)state;
    ink_typing_options o;
    ink_typing_options_init(&o, sizeof o);
    check_same("", &o);
    o.n_alternatives = 3;
    o.window_words = 5;
    o.max_tokens = 20;
    o.until = INK_UNTIL_SENTENCE;
    check_same("{\"alternatives\": 3, \"window_words\": 5, \"max_tokens\": 20, "
               "\"until\": \"sentence\", \"min_chars\": null, \"user\": \"somebody\"}",
               &o);
    static const char *const stop[] = {"was", "the"};
    const char *const phrases[] = {"little", "park"};
    ink_typing_options_init(&o, sizeof o);
    assert_int_equal(ink_filter_new(&o.filter, NULL, phrases, 2, NULL), INK_OK);
    o.stop = stop;
    o.n_stop = 2;
    o.window_words = 4; // what is read from a place on has no listed phrase
    o.until = INK_UNTIL_LENGTH;
    check_same("{\"stop\": [\"was\", \"the\"], \"until\": \"length\", \"window_words\": 4, "
               "\"word_filter\": [\"little\", \"park\"]}",
               &o);
    ink_filter_unref(o.filter);
}

// --- edits ---------------------------------------------------------------------------------------

// A field as browsers have it: UTF-16 code units.
typedef struct units {
    uint16_t at[4096];
    size_t n;
} units;

static size_t put_units(uint16_t *out, const char *text) {
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p != 0;) {
        const int more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : *p >= 0xc0 ? 1 : 0;
        uint32_t c = more == 3 ? *p & 7u : more == 2 ? *p & 15u : more == 1 ? *p & 31u : *p;
        p++;
        for (int i = 0; i < more; i++) c = c << 6 | (*p++ & 63u);
        if (c >= 0x10000) {
            out[n++] = (uint16_t)(0xd800 + ((c - 0x10000) >> 10));
            out[n++] = (uint16_t)(0xdc00 + ((c - 0x10000) & 1023));
        } else {
            out[n++] = (uint16_t)c;
        }
    }
    return n;
}

static void apply_edit(units *field, const json_t *edit) {
    const size_t at = (size_t)json_integer_value(get(edit, "at"));
    const size_t removed = (size_t)json_integer_value(get(edit, "n_removed"));
    uint16_t text[1024];
    const size_t n = put_units(text, json_string_value(get(edit, "text")));
    assert_true(at + removed <= field->n);
    memmove(field->at + at + n, field->at + at + removed, 2 * (field->n - at - removed));
    memcpy(field->at + at, text, 2 * n);
    field->n += n - removed;
}

// The session's own text, in the units of the field.
static void check_field(const char *id, const units *field) {
    srv_failure why;
    srv_typing *s = srv_typings_find(fake_app.typings, id, &why);
    units has;
    char *text = malloc(s->n_text + 1);
    memcpy(text, s->text, s->n_text);
    text[s->n_text] = 0;
    has.n = put_units(has.at, text);
    free(text);
    srv_typing_unref(s);
    assert_int_equal(has.n, field->n);
    assert_memory_equal(has.at, field->at, 2 * field->n);
}

static json_t *accept_all(const char *id, const json_t *suggestion, const char *unit) {
    json_t *body = json_pack("{s:O, s:O, s:s}", "revision", get(suggestion, "revision"), "text",
                             get(suggestion, "text"), "unit", unit);
    char *text = json_dumps(body, JSON_ENSURE_ASCII);
    json_t *edit = NULL;
    assert_int_equal(ask(srv_handle_typing_accept, id, text, &edit), 200);
    json_decref(body);
    free(text);
    return edit;
}

static void test_accept_and_undo_count_utf16(void **state) {
    (void)state;
    static const char before[] = "😀你好。Once upon a time there was a";
    static const char after[] = " 🎈 他们走了 é";
    char id[40];
    units field;
    assert_int_equal(begin_typing("{}", id), 201);
    srv_call *stream = open_stream(id);
    const uint64_t revision = type_text(id, before, after);
    field.n = put_units(field.at, before);
    const size_t caret = field.n;
    field.n += put_units(field.at + field.n, after);
    const units as_typed = field;
    json_t *best = await_done(stream, revision);
    const char *text = json_string_value(get(best, "text"));
    assert_true(strlen(text) > 2);
    // A word, then what is left of it.
    json_t *edit = accept_all(id, best, "word");
    assert_int_equal(json_integer_value(get(edit, "at")), caret);
    assert_int_equal(json_integer_value(get(edit, "n_removed")), 0);
    assert_int_equal(json_integer_value(get(edit, "revision")), revision + 1);
    const char *word = json_string_value(get(edit, "text"));
    assert_int_equal(strncmp(word, text, strlen(word)), 0);
    assert_true(strlen(word) < strlen(text) && strchr(word + 1, ' ') == NULL);
    apply_edit(&field, edit);
    check_field(id, &field);
    json_decref(best);
    best = await_done(stream, revision + 1);
    json_t *rest = accept_all(id, best, "all");
    assert_int_equal(json_integer_value(get(rest, "at")), caret + strlen(word));
    apply_edit(&field, rest);
    check_field(id, &field);
    json_decref(edit);
    json_decref(rest);
    json_decref(best);
    // And back to what was typed.
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask(srv_handle_typing_undo, id, i == 0 ? "" : "{}", &edit), 200);
        apply_edit(&field, edit);
        json_decref(edit);
        check_field(id, &field);
    }
    assert_int_equal(field.n, as_typed.n);
    assert_memory_equal(field.at, as_typed.at, 2 * field.n);
    assert_int_equal(ask(srv_handle_typing_undo, id, "{}", &edit), 404);
    assert_string_equal(json_string_value(get(get(edit, "error"), "code")), "nothing_to_undo");
    json_decref(edit);
    assert_int_equal(ask(srv_handle_typing_delete, id, "", NULL), 204);
    srv_call_unref(stream);
}

static void check_code(void (*handle)(srv_call *), const char *id, const char *body,
                       unsigned status, const char *code) {
    json_t *answer = NULL;
    assert_int_equal(ask(handle, id, body, &answer), status);
    const json_t *error = get(answer, "error");
    const char *has = json_string_value(get(error, "code"));
    if (code == NULL)
        assert_null(has);
    else
        assert_string_equal(has, code);
    assert_true(json_string_length(get(error, "message")) > 10);
    json_decref(answer);
}

// Whatever a client says it was shown: only what was suggested gets into the text.
static void test_accept_takes_only_suggestions(void **state) {
    (void)state;
    char id[40], body[2048];
    assert_int_equal(begin_typing("{}", id), 201);
    srv_call *stream = open_stream(id);
    check_code(srv_handle_typing_accept, id, "{\"revision\": 0, \"text\": \"x\"}", 404,
               "nothing_to_accept");
    check_code(srv_handle_typing_retry, id, "", 404, "nothing_to_retry");
    const uint64_t old = type_text(id, "Once upon a", "");
    json_decref(await_done(stream, old));
    const uint64_t now = type_text(id, "Once upon a time", " and an end");
    json_t *best = await_done(stream, now);
    const char *text = json_string_value(get(best, "text"));
    const struct {
        uint64_t revision;
        const char *prefix, *suffix;
        unsigned status;
        const char *code;
    } tries[] = {{old, text, "", 409, "stale"},
                 {now + 1, text, "", 409, "stale"},
                 {now, "", "", 404, "nothing_to_accept"},
                 {now, text, "!", 404, "nothing_to_accept"},
                 {now, "<script>", "", 404, "nothing_to_accept"},
                 {now, "\\u0000", "", 404, "nothing_to_accept"}};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        snprintf(body, sizeof body, "{\"revision\": %llu, \"text\": \"%s%s\"}",
                 (unsigned long long)tries[i].revision, tries[i].prefix, tries[i].suffix);
        check_code(srv_handle_typing_accept, id, body, tries[i].status, tries[i].code);
    }
    units field;
    field.n = put_units(field.at, "Once upon a time and an end");
    check_field(id, &field);
    // A beginning of it was shown earlier, and may be taken.
    snprintf(body, sizeof body, "{\"revision\": %llu, \"text\": \"%.2s\", \"unit\": \"all\"}",
             (unsigned long long)now, text);
    json_t *edit = NULL;
    assert_int_equal(ask(srv_handle_typing_accept, id, body, &edit), 200);
    assert_int_equal(json_string_length(get(edit, "text")), 2);
    json_decref(edit);
    json_decref(best);
    assert_int_equal(ask(srv_handle_typing_delete, id, "", NULL), 204);
    srv_call_unref(stream);
}

static void test_retry_and_reject(void **state) {
    (void)state;
    char id[40];
    assert_int_equal(begin_typing("{}", id), 201);
    srv_call *stream = open_stream(id);
    const uint64_t revision = type_text(id, "Once upon a time there was a", "");
    json_t *first = await_done(stream, revision), *answer = NULL;
    assert_int_equal(ask(srv_handle_typing_retry, id, "{}", &answer), 200);
    assert_int_equal(json_integer_value(get(answer, "revision")), revision + 1);
    json_decref(answer);
    json_t *second = await_done(stream, revision + 1);
    assert_string_not_equal(json_string_value(get(first, "text")),
                            json_string_value(get(second, "text")));
    assert_int_equal(ask(srv_handle_typing_reject, id, "", &answer), 200);
    assert_int_equal(json_integer_value(get(answer, "revision")), revision + 2);
    json_decref(answer);
    check_code(srv_handle_typing_accept, id, "{\"revision\": 3, \"text\": \" girl\"}", 404,
               "nothing_to_accept");
    json_decref(first);
    json_decref(second);
    assert_int_equal(ask(srv_handle_typing_delete, id, "", NULL), 204);
    srv_call_unref(stream);
}

static void test_filtered_text_is_a_revision(void **state) {
    (void)state;
    char id[40];
    assert_int_equal(begin_typing("{\"word_filter\": [\"time\", \"bad thing\"]}", id), 201);
    srv_call *stream = open_stream(id);
    assert_int_equal(type_text(id, "Once upon a", ""), 1);
    json_t *answer = NULL;
    assert_int_equal(ask(srv_handle_typing_edit, id, "{\"before\": \"a Bad  thing \"}", &answer),
                     200);
    assert_int_equal(json_integer_value(get(answer, "revision")), 2);
    assert_true(json_is_true(get(answer, "filtered")));
    json_decref(answer);
    check_code(srv_handle_typing_undo, id, "", 404, "nothing_to_undo");
    assert_int_equal(type_text(id, "Once upon a", ""), 3);
    json_t *best = await_done(stream, 3);
    const char *text = json_string_value(get(best, "text"));
    assert_true(text[0] != 0 && strstr(text, "time") == NULL);
    json_decref(best);
    assert_int_equal(ask(srv_handle_typing_delete, id, "", NULL), 204);
    srv_call_unref(stream);
}

// --- bodies that are refused ---------------------------------------------------------------------

static void check_param(void (*handle)(srv_call *), const char *id, const char *body,
                        const char *param) {
    json_t *answer = NULL;
    const unsigned status = ask(handle, id, body, &answer);
    const char *has = json_string_value(json_object_get(json_object_get(answer, "error"), "param"));
    if (status != 400 || (param != NULL && (has == NULL || strcmp(has, param) != 0)))
        fail_msg("%s: status %u, param %s", body, status, has != NULL ? has : "null");
    json_decref(answer);
}

static void test_malformed_bodies(void **state) {
    (void)state;
    static const struct {
        const char *body, *param;
    } news[] = {{"{", NULL},
                {"[]", NULL},
                {"\"x\"", NULL},
                {"{\"model\": 1}", "model"},
                {"{\"window_words\": -1}", "window_words"},
                {"{\"window_words\": 1025}", "window_words"},
                {"{\"window_words\": 1.5}", "window_words"},
                {"{\"max_tokens\": 0}", "max_tokens"},
                {"{\"max_tokens\": 257}", "max_tokens"},
                {"{\"alternatives\": 9}", "alternatives"},
                {"{\"alternatives\": \"2\"}", "alternatives"},
                {"{\"min_chars\": 1001}", "min_chars"},
                {"{\"deadline_ms\": -5}", "deadline_ms"},
                {"{\"until\": \"page\"}", "until"},
                {"{\"until\": 2}", "until"},
                {"{\"stop\": [1]}", "stop"},
                {"{\"stop\": \"\"}", "stop"},
                {"{\"stop\": [\"a\\u0000\"]}", "stop"},
                {"{\"stop\": {}}", "stop"},
                {"{\"word_filter\": [\"\"]}", "word_filter"},
                {"{\"word_filter\": [\"...\"]}", "word_filter"},
                {"{\"word_filter\": [\"a\", null]}", "word_filter"},
                {"{\"temperature\": 1}", "temperature"}},
      edits[] = {{"", "before"},
                 {"{}", "before"},
                 {"{\"after\": \"x\"}", "before"},
                 {"{\"before\": null}", "before"},
                 {"{\"before\": 1}", "before"},
                 {"{\"before\": \"\", \"after\": []}", "after"},
                 {"{\"before\": \"\\ud83d\"}", NULL},
                 {"{\"before\": \"\xff\"}", NULL},
                 {"{\"before\": \"x\", \"caret\": 1}", "caret"}},
      accepts[] = {{"{}", "revision"},
                   {"{\"revision\": 1}", "text"},
                   {"{\"revision\": -1, \"text\": \"\"}", "revision"},
                   {"{\"revision\": 1e3, \"text\": \"\"}", "revision"},
                   {"{\"revision\": 1, \"text\": 5}", "text"},
                   {"{\"revision\": 1, \"text\": \"\", \"unit\": \"letter\"}", "unit"}};
    char id[40];
    for (size_t i = 0; i < sizeof news / sizeof *news; i++)
        check_param(srv_handle_typing_new, "", news[i].body, news[i].param);
    assert_int_equal(srv_typings_n(fake_app.typings), 0);
    assert_int_equal(begin_typing("{\"stop\": \"x\", \"word_filter\": []}", id), 201);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++)
        check_param(srv_handle_typing_edit, id, edits[i].body, edits[i].param);
    for (size_t i = 0; i < sizeof accepts / sizeof *accepts; i++)
        check_param(srv_handle_typing_accept, id, accepts[i].body, accepts[i].param);
    check_param(srv_handle_typing_undo, id, "{\"n\": 1}", "n");
    check_param(srv_handle_typing_reject, id, "null", NULL);
    char *long_text = calloc(1, SRV_TYPING_TEXT_BYTES + 64);
    const int head = sprintf(long_text, "{\"after\": \"y\", \"before\": \"");
    memset(long_text + head, 'x', SRV_TYPING_TEXT_BYTES);
    strcpy(long_text + head + SRV_TYPING_TEXT_BYTES, "\"}");
    check_param(srv_handle_typing_edit, id, long_text, "before");
    free(long_text);
    check_code(srv_handle_typing_new, "", "{\"model\": \"other\"}", 404, "model_not_found");
    assert_int_equal(ask(srv_handle_typing_delete, id, "", NULL), 204);
    check_code(srv_handle_typing_edit, id, "{\"before\": \"\"}", 404, "typing_not_found");
    check_code(srv_handle_typing_delete, id, "", 404, "typing_not_found");
    check_code(srv_handle_typing_events, "typ_\xff", "", 404, "typing_not_found");
}

// --- streams and lives ---------------------------------------------------------------------------

static void check_end(srv_call *stream, const char *reason) {
    char name[32], has[32];
    last_event(stream, name, has);
    assert_string_equal(name, "closed");
    assert_string_equal(has, reason);
    assert_true(stream->ended);
}

static void test_streams_replace_each_other(void **state) {
    (void)state;
    char id[40], name[32];
    assert_int_equal(begin_typing("{}", id), 201);
    srv_call *first = open_stream(id);
    const uint64_t revision = type_text(id, "Once upon a time", "");
    json_t *told = await_done(first, revision);
    // One that comes late is told the state at once.
    srv_call *second = open_stream(id);
    check_end(first, "replaced");
    json_t *ready = event_at(second, 0, name);
    assert_string_equal(name, "ready");
    assert_int_equal(json_integer_value(get(ready, "revision")), revision);
    json_t *again = event_at(second, 1, name);
    assert_string_equal(name, "suggestion");
    assert_true(json_equal(again, told));
    assert_int_equal(count_events(second), 2);
    // A suggestion for an older text, that waited for its turn, is not sent.
    srv_failure why;
    srv_typing *s = srv_typings_find(fake_app.typings, id, &why);
    ink_suggestion old = {.size = sizeof old, .revision = revision - 1, .text = " old", .bytes = 4};
    srv_typing_suggested(s, s->typing, &old);
    assert_int_equal(count_events(second), 2);
    old.revision = revision;
    srv_typing_suggested(s, s->typing, &old);
    assert_int_equal(count_events(second), 3);
    srv_typing_unref(s);
    // The client of the first one hangs up late: that is nothing to the second.
    fake_hang_up(first);
    json_decref(await_done(second, type_text(id, "Once upon a time there", "")));
    assert_int_equal(ask(srv_handle_typing_delete, id, "", NULL), 204);
    check_end(second, "deleted");
    json_decref(ready);
    json_decref(again);
    json_decref(told);
    srv_call_unref(first);
    srv_call_unref(second);
}

static void test_what_is_not_read_does_not_pile_up(void **state) {
    (void)state;
    char id[40], name[32];
    assert_int_equal(begin_typing("{}", id), 201);
    srv_call *stream = open_stream(id), *other = NULL;
    stream->full = true;
    // Seen through a second session: the worker does the older text of this one before.
    type_text(id, "Once upon", "");
    const uint64_t revision = type_text(id, "Once upon a time there", "");
    char id2[40];
    assert_int_equal(begin_typing("{}", id2), 201);
    other = open_stream(id2);
    srv_failure why;
    srv_typing *s = srv_typings_find(fake_app.typings, id, &why);
    for (ink_suggestion now = {.size = sizeof now}; !now.done || now.revision != revision;) {
        json_decref(await_done(other, type_text(id2, "The little dog", "")));
        ink_typing_suggestion(s->typing, 0, &now);
    }
    srv_typing_unref(s);
    // The worker comes to this when it has told all of the above.
    json_decref(await_done(other, type_text(id2, "The little dog", "")));
    assert_int_equal(count_events(stream), 1);
    srv_typings_tick(&fake_app);
    assert_int_equal(count_events(stream), 1);
    pthread_mutex_lock(&stream->lock);
    stream->full = false;
    pthread_mutex_unlock(&stream->lock);
    srv_typings_tick(&fake_app);
    srv_typings_tick(&fake_app);
    assert_int_equal(count_events(stream), 2);
    json_t *event = event_at(stream, 1, name);
    assert_int_equal(json_integer_value(get(event, "revision")), revision);
    assert_true(json_is_true(get(event, "done")));
    json_decref(event);
    assert_int_equal(ask(srv_handle_typing_delete, id, "", NULL), 204);
    assert_int_equal(ask(srv_handle_typing_delete, id2, "", NULL), 204);
    srv_call_unref(stream);
    srv_call_unref(other);
}

static void test_hanging_up(void **state) {
    (void)state;
    char id[40];
    assert_int_equal(begin_typing("{}", id), 201);
    // Before the handler came to it, behind its first event, in the middle of suggestions.
    srv_call *early = fake_call(id, "");
    fake_hang_up(early);
    srv_handle_typing_events(early);
    assert_false(early->streams);
    srv_call_unref(early);
    for (int i = 0; i < 8; i++) {
        srv_call *stream = open_stream(id);
        if (i % 2 == 1) assert_int_not_equal(type_text(id, "The little dog was", ""), 0);
        fake_hang_up(stream);
        assert_true(stream->ended);
        assert_int_equal(atomic_load(&stream->refs), 1);
        srv_call_unref(stream);
    }
    srv_call *stream = open_stream(id);
    json_decref(await_done(stream, type_text(id, "The little dog was so", "")));
    assert_int_equal(ask(srv_handle_typing_delete, id, "", NULL), 204);
    check_end(stream, "deleted");
    fake_hang_up(stream);
    srv_call_unref(stream);
}

static void test_expiry(void **state) {
    (void)state;
    char ids[3][40];
    for (int i = 0; i < 3; i++) assert_int_equal(begin_typing("", ids[i]), 201);
    srv_call *stream = open_stream(ids[0]);
    atomic_store(&fake_now_ms, atomic_load(&fake_now_ms) + 59000);
    srv_typings_tick(&fake_app);
    assert_int_equal(srv_typings_n(fake_app.typings), 3);
    assert_int_equal(type_text(ids[1], "x", ""), 1);
    atomic_store(&fake_now_ms, atomic_load(&fake_now_ms) + 1000);
    srv_typings_tick(&fake_app);
    assert_int_equal(srv_typings_n(fake_app.typings), 2);
    assert_int_equal(type_text(ids[2], "x", ""), 0);
    // The minute of the first begins when its stream ends.
    atomic_store(&fake_now_ms, atomic_load(&fake_now_ms) + 100000);
    srv_typings_tick(&fake_app);
    assert_int_equal(srv_typings_n(fake_app.typings), 1);
    assert_false(stream->ended);
    fake_hang_up(stream);
    srv_typings_tick(&fake_app);
    assert_int_equal(srv_typings_n(fake_app.typings), 1);
    atomic_store(&fake_now_ms, atomic_load(&fake_now_ms) + 60000);
    srv_typings_tick(&fake_app);
    assert_int_equal(srv_typings_n(fake_app.typings), 0);
    srv_call_unref(stream);
}

static void test_a_full_table(void **state) {
    (void)state;
    enum { MOST = 4 };
    char ids[MOST][40], id[40];
    fake_app.options.n_typing = MOST;
    for (int i = 0; i < MOST; i++) {
        assert_int_equal(begin_typing("", ids[i]), 201);
        atomic_store(&fake_now_ms, atomic_load(&fake_now_ms) + 1000);
    }
    srv_call *stream = open_stream(ids[0]), *call = fake_call("", "");
    srv_handle_typing_new(call);
    assert_int_equal(call->status, 429);
    assert_true(call->retry_after_s > 0);
    srv_call_unref(call);
    // The first has a stream, the second gets a call: the third gives way.
    atomic_store(&fake_now_ms, atomic_load(&fake_now_ms) + 9000);
    assert_int_equal(type_text(ids[1], "x", ""), 1);
    assert_int_equal(begin_typing("", id), 201);
    assert_int_equal(type_text(ids[2], "x", ""), 0);
    assert_int_equal(type_text(ids[3], "x", ""), 1);
    assert_int_equal(begin_typing("", id), 429);
    assert_int_equal(srv_typings_n(fake_app.typings), MOST);
    fake_app.options.n_typing = 64;
    srv_typings_close(fake_app.typings);
    check_end(stream, "stopping");
    assert_int_equal(srv_typings_n(fake_app.typings), 0);
    check_code(srv_handle_typing_new, "", "", 503, "stopping");
    srv_call_unref(stream);
    srv_typings_free(fake_app.typings);
    assert_int_equal(srv_typings_new(&fake_app.typings, &fake_app, NULL), INK_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_are_the_engines),
        cmocka_unit_test(test_accept_and_undo_count_utf16),
        cmocka_unit_test(test_accept_takes_only_suggestions),
        cmocka_unit_test(test_retry_and_reject),
        cmocka_unit_test(test_filtered_text_is_a_revision),
        cmocka_unit_test(test_malformed_bodies),
        cmocka_unit_test(test_streams_replace_each_other),
        cmocka_unit_test(test_what_is_not_read_does_not_pile_up),
        cmocka_unit_test(test_hanging_up),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_a_full_table),
    };
    return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
