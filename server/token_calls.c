// SPDX-License-Identifier: MIT
// POST /tokenize and /detokenize, with the fields of llama.cpp's server.
// Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
#include "server/token_calls.h"

#include "server/app.h"
#include "server/json_in.h"
#include "server/json_out.h"
#include "server/route.h"

#include <stdlib.h>
#include <string.h>

// Both work on the HTTP thread, while the others wait: a text is bounded.
enum { MOST_BYTES = 1 << 20 };

bool srv_ids_read(const json_t *ids, const ink_model *model, ink_token *out, const char *param,
                  const char *where, srv_failure *why) {
    ink_model_info info = {.size = sizeof info};
    const ink_status status = ink_model_get_info(model, &info);
    if (status != INK_OK) return srv_fail_status(why, status, NULL);
    const size_t n = json_array_size(ids);
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(ids, i);
        const json_int_t number = json_integer_value(id);
        if (!json_is_integer(id))
            return srv_refuse(why, param,
                              "'%s'%s: item %zu is no integer; token ids were expected.", param,
                              where, i);
        if (number < 0 || number >= (json_int_t)info.n_vocab)
            return srv_refuse(why, param,
                              "'%s'%s: item %zu is %lld; token ids are 0 to %u in this model.",
                              param, where, i, (long long)number, (unsigned)info.n_vocab - 1);
        out[i] = (ink_token)number;
    }
    return true;
}

// --- what both have in common --------------------------------------------------------------------

typedef struct asked {
    json_t *body; // to be released
    srv_in in;
    ink_model *model;
} asked;

static bool read_asked(asked *a, srv_call *call, const char *const *known,
                       const char *const *ignored, srv_failure *why) {
    size_t bytes = 0;
    const char *body = srv_call_body(call, &bytes), *id = NULL;
    a->body = srv_in_object(body, bytes, why);
    if (a->body == NULL) return false;
    a->in = (srv_in){.object = a->body, .why = why};
    srv_in_only(&a->in, known, ignored, NULL);
    srv_in_text(&a->in, "model", &id, NULL);
    if (a->in.failed) return false;
    srv_model *model = srv_models_find(srv_call_app(call), id, why);
    if (model != NULL) a->model = srv_model_open(model, why);
    return a->model != NULL;
}

static bool refuse_memory(srv_failure *why) { return srv_fail_status(why, INK_E_NOMEM, NULL); }

static void answer(srv_call *call, bool fine, srv_text *out, srv_failure *why) {
    if (fine && out->failed) fine = refuse_memory(why);
    if (fine)
        srv_call_text(call, 200, "application/json", out->data, out->bytes);
    else
        srv_call_fail(call, why);
    srv_text_free(out);
}

// --- tokenize ------------------------------------------------------------------------------------

// A piece that is no text by itself is written as its bytes.
static void write_piece(srv_text *out, const char *piece, size_t bytes) {
    if (srv_utf8_valid(piece, bytes)) {
        srv_text_string(out, piece, bytes);
        return;
    }
    for (size_t i = 0; i < bytes; i++) {
        srv_text_puts(out, i == 0 ? "[" : ",");
        srv_text_uint(out, (unsigned char)piece[i]);
    }
    srv_text_puts(out, "]");
}

static bool write_pieces(srv_text *out, const ink_model *model, const ink_token *ids, size_t n,
                         srv_failure *why) {
    char few[256], *piece = few;
    size_t cap = sizeof few;
    bool fine = true;
    for (size_t i = 0; i < n && fine; i++) {
        size_t bytes = 0;
        ink_status status =
            ink_detokenize(model, &ids[i], 1, INK_DETOKENIZE_SPECIAL, piece, cap, &bytes);
        if (status == INK_E_SPACE) { // a long one; those to come have room then
            char *more = malloc(bytes);
            if (piece != few) free(piece);
            piece = more != NULL ? more : few;
            cap = more != NULL ? bytes : sizeof few;
            status = more == NULL ? INK_E_NOMEM
                                  : ink_detokenize(model, &ids[i], 1, INK_DETOKENIZE_SPECIAL, piece,
                                                   cap, &bytes);
        }
        if (status != INK_OK) fine = srv_fail_status(why, status, NULL);
        srv_text_puts(out, i == 0 ? "{\"id\":" : ",{\"id\":");
        srv_text_int(out, ids[i]);
        srv_text_puts(out, ",\"piece\":");
        write_piece(out, piece, fine ? bytes : 0);
        srv_text_puts(out, "}");
    }
    if (piece != few) free(piece);
    return fine;
}

static bool tokenize(srv_call *call, srv_text *out, asked *a, srv_failure *why) {
    static const char *const known[] = {"content",     "special", "parse_special",
                                        "with_pieces", "model",   NULL};
    static const char *const ignored[] = {"add_special", NULL}; // these models add none
    if (!read_asked(a, call, known, ignored, why)) return false;
    const char *content = NULL;
    size_t bytes = 0, n = 0;
    bool special = false, with_pieces = false;
    const bool is_there = srv_in_text(&a->in, "content", &content, &bytes);
    srv_in_bool(&a->in, "parse_special", &special);
    srv_in_bool(&a->in, "special", &special);
    srv_in_bool(&a->in, "with_pieces", &with_pieces);
    if (a->in.failed) return false;
    if (!is_there) return srv_refuse(why, "content", "'content' is missing: the text to tokenize.");
    if (bytes > MOST_BYTES)
        return srv_refuse(why, "content", "'content' has %zu bytes; at most %d are tokenized.",
                          bytes, MOST_BYTES);
    ink_token *ids = malloc((bytes + 1) * sizeof *ids); // no text has more tokens than bytes
    if (ids == NULL) return refuse_memory(why);
    const uint32_t flags = special ? (uint32_t)INK_TOKENIZE_SPECIAL : 0;
    const ink_status status =
        ink_tokenize(a->model, content, bytes, flags, ids, bytes + 1, &n, NULL);
    bool fine = status == INK_OK || srv_fail_status(why, status, NULL);
    srv_text_puts(out, "{\"tokens\":[");
    if (fine && with_pieces) fine = write_pieces(out, a->model, ids, n, why);
    for (size_t i = 0; i < n && fine && !with_pieces; i++) {
        if (i > 0) srv_text_puts(out, ",");
        srv_text_int(out, ids[i]);
    }
    srv_text_puts(out, "]}");
    free(ids);
    return fine;
}

void srv_handle_tokenize(srv_call *call) {
    srv_failure why = {0};
    srv_text out = {0};
    asked a = {0};
    const bool fine = tokenize(call, &out, &a, &why);
    answer(call, fine, &out, &why);
    json_decref(a.body);
}

// --- detokenize ----------------------------------------------------------------------------------

static bool write_content(srv_text *out, const ink_model *model, const ink_token *ids, size_t n,
                          srv_failure *why) {
    size_t bytes = 0;
    ink_status status = ink_detokenize(model, ids, n, INK_DETOKENIZE_SPECIAL, NULL, 0, &bytes);
    char *text = malloc(bytes + 1);
    if (text == NULL) return refuse_memory(why);
    if (status == INK_OK || status == INK_E_SPACE)
        status = ink_detokenize(model, ids, n, INK_DETOKENIZE_SPECIAL, text, bytes, &bytes);
    if (status == INK_OK) {
        srv_text_puts(out, "{\"content\":");
        srv_text_string(out, text, bytes);
        srv_text_puts(out, "}");
    }
    free(text);
    return status == INK_OK || srv_fail_status(why, status, NULL);
}

static bool detokenize(srv_call *call, srv_text *out, asked *a, srv_failure *why) {
    static const char *const known[] = {"tokens", "model", NULL};
    if (!read_asked(a, call, known, NULL, why)) return false;
    const json_t *tokens = srv_in_any(&a->in, "tokens");
    const size_t n = json_array_size(tokens);
    if (!json_is_array(tokens))
        return srv_refuse(why, "tokens", "'tokens' must be an array of token ids.");
    if (n > MOST_BYTES)
        return srv_refuse(why, "tokens", "'tokens' has %zu ids; at most %d are read.", n,
                          MOST_BYTES);
    ink_token *ids = malloc((n + 1) * sizeof *ids);
    if (ids == NULL) return refuse_memory(why);
    const bool fine = srv_ids_read(tokens, a->model, ids, "tokens", "", why) &&
                      write_content(out, a->model, ids, n, why);
    free(ids);
    return fine;
}

void srv_handle_detokenize(srv_call *call) {
    srv_failure why = {0};
    srv_text out = {0};
    asked a = {0};
    const bool fine = detokenize(call, &out, &a, &why);
    answer(call, fine, &out, &why);
    json_decref(a.body);
}
