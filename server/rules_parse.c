// SPDX-License-Identifier: MIT
// What an answer must be: `response_format` as OpenAI has it, `grammar` and `json_schema` as
// llama.cpp's server has them.
// Source: https://platform.openai.com/docs/api-reference/chat/create,
// https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
#include "server/completion_parse.h"

typedef struct rules_in {
    srv_in *in;
    srv_completion *out;
} rules_in;

static void set_rules(rules_in *r, const char *param, uint32_t kind, const char *text,
                      size_t bytes) {
    if (bytes > SRV_MAX_RULES_BYTES) {
        srv_in_refuse(r->in, param, "'%s' has %zu bytes, %d are allowed.", param, bytes,
                      SRV_MAX_RULES_BYTES);
    } else if (r->out->rules.text != NULL) {
        srv_in_refuse(r->in, param, "'%s' and '%s' exclude each other; give one of them.", param,
                      r->out->rules.param);
    } else {
        r->out->rules =
            (srv_rules_text){.kind = kind, .text = text, .bytes = bytes, .param = param};
    }
}

// A schema is taken as it stands in the body: its numbers keep their digits, and its lines and
// columns are those that the client knows.
static void set_schema(rules_in *r, const char *param, const char *name, const char *object,
                       size_t object_bytes) {
    size_t bytes = 0;
    const char *text = srv_in_raw(object, object_bytes, name, &bytes);
    if (text == NULL)
        srv_in_refuse(r->in, param, "The name of '%s' must be written without escapes.", param);
    else
        set_rules(r, param, INK_GRAMMAR_JSON_SCHEMA, text, bytes);
}

// Fields of an object inside of the request. path: what stands before their names in refusals.
static void read_inside(rules_in *r, const char *path, const json_t *object,
                        const char *const *known, void (*read)(srv_in *inner)) {
    srv_in inner = {.object = object, .why = r->in->why, .failed = r->in->failed, .path = path};
    if (inner.failed) return;
    srv_in_only(&inner, known, NULL, NULL);
    read(&inner);
    r->in->failed = inner.failed;
}

static void read_schema_fields(srv_in *in) {
    const char *text = NULL;
    bool strict = false; // all answers are valid, whatever it says
    srv_in_text(in, "name", &text, NULL);
    srv_in_text(in, "description", &text, NULL);
    srv_in_bool(in, "strict", &strict);
    srv_in_inner(in, "schema");
}

static void read_no_fields(srv_in *in) { (void)in; }
static void read_object_fields(srv_in *in) {
    if (srv_in_any(in, "schema") != NULL) srv_in_inner(in, "schema");
}
static void read_wrapper_fields(srv_in *in) { srv_in_inner(in, "json_schema"); }

static void read_format(rules_in *r, const char *body, size_t bytes) {
    static const char any_object[] = "{\"type\":\"object\"}";
    static const char *const in_text[] = {"type", NULL},
                             *const in_object[] = {"type", "schema", NULL},
                             *const in_wrapper[] = {"type", "json_schema", NULL},
                             *const in_schema[] = {"name", "description", "schema", "strict", NULL};
    static const char name[] = "response_format", path[] = "response_format.",
                      inner[] = "response_format.json_schema.";
    if (srv_in_any(r->in, name) == NULL) return;
    const json_t *format = srv_in_inner(r->in, name);
    if (format == NULL) return;
    size_t raw_bytes = 0;
    const char *raw = srv_in_raw(body, bytes, name, &raw_bytes);
    const json_t *type = json_object_get(format, "type");
    if (raw == NULL) {
        srv_in_refuse(r->in, name, "The name of '%s' must be written without escapes.", name);
    } else if (srv_in_is(type, "text")) {
        read_inside(r, path, format, in_text, read_no_fields);
    } else if (srv_in_is(type, "json_object")) {
        const bool has_schema = json_is_object(json_object_get(format, "schema"));
        read_inside(r, path, format, in_object, read_object_fields);
        if (r->in->failed) return;
        if (has_schema)
            set_schema(r, "response_format.schema", "schema", raw, raw_bytes);
        else
            set_rules(r, name, INK_GRAMMAR_JSON_SCHEMA, any_object, sizeof any_object - 1);
    } else if (srv_in_is(type, "json_schema")) {
        read_inside(r, path, format, in_wrapper, read_wrapper_fields);
        read_inside(r, inner, json_object_get(format, "json_schema"), in_schema,
                    read_schema_fields);
        if (r->in->failed) return;
        raw = srv_in_raw(raw, raw_bytes, "json_schema", &raw_bytes);
        set_schema(r, "response_format.json_schema.schema", "schema", raw != NULL ? raw : "",
                   raw != NULL ? raw_bytes : 0);
    } else {
        srv_in_refuse(r->in, "response_format.type",
                      "'response_format.type' must be one of \"text\", \"json_object\", "
                      "\"json_schema\".");
    }
}

void srv_rules_read(srv_in *in, srv_completion *out, const char *body, size_t bytes) {
    rules_in r = {in, out};
    const char *grammar = NULL;
    size_t grammar_bytes = 0;
    read_format(&r, body, bytes);
    if (srv_in_any(in, "json_schema") != NULL && srv_in_inner(in, "json_schema") != NULL)
        set_schema(&r, "json_schema", "json_schema", body, bytes);
    // llama.cpp's clients send an empty one where they want none.
    if (srv_in_text(in, "grammar", &grammar, &grammar_bytes) && grammar_bytes > 0)
        set_rules(&r, "grammar", INK_GRAMMAR_GBNF, grammar, grammar_bytes);
    if (out->rules.text != NULL && out->n_required > 0)
        srv_in_refuse(in, "required_words",
                      "'required_words' and '%s' exclude each other; a grammar says itself what "
                      "must stand.",
                      out->rules.param);
}
