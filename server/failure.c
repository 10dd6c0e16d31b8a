// SPDX-License-Identifier: MIT
#include "server/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char invalid[] = "invalid_request_error", broken[] = "server_error";

// Cuts where a character ends: the message goes into JSON, which has to be UTF-8.
static void write_line(char *out, size_t cap, const char *format, va_list args) {
    const int length = vsnprintf(out, cap, format, args);
    if (length < 0) out[0] = 0;
    if (length < 0 || (size_t)length < cap) return;
    size_t end = cap - 1;
    while (end > 0 && ((unsigned char)out[end - 1] & 0xc0) == 0x80) end--;
    if (end > 0 && (unsigned char)out[end - 1] >= 0xc0) end--;
    // Where the last character is whole, no more than that one is lost.
    out[end] = 0;
}

static bool fill(srv_failure *why, unsigned status, const char *type, const char *code,
                 const char *param, const char *format, va_list args) {
    memset(why, 0, sizeof *why);
    why->status = status;
    why->type = type;
    why->code = code;
    if (param != NULL) snprintf(why->param, sizeof why->param, "%s", param);
    write_line(why->message, sizeof why->message, format, args);
    return false;
}

bool srv_refuse(srv_failure *why, const char *param, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fill(why, 400, invalid, NULL, param, format, args);
    va_end(args);
    return false;
}

bool srv_fail(srv_failure *why, unsigned status, const char *type, const char *code,
              const char *format, ...) {
    va_list args;
    va_start(args, format);
    fill(why, status, type, code, NULL, format, args);
    va_end(args);
    if (status == 429 || status == 503) why->retry_after_s = 1;
    return false;
}

bool srv_fail_stopping(srv_failure *why) {
    srv_fail(why, 503, broken, "stopping", "The server is stopping.");
    why->retry_after_s = 5;
    return false;
}

bool srv_fail_status(srv_failure *why, ink_status status, const ink_error *error) {
    static const struct {
        ink_status status;
        unsigned http;
        const char *type, *code;
    } known[] = {
        {INK_E_ARG, 400, invalid, NULL},
        {INK_E_UTF8, 400, invalid, "invalid_utf8"},
        {INK_E_TOKEN, 400, invalid, "invalid_token"},
        {INK_E_CONTEXT, 400, invalid, "context_length_exceeded"},
        {INK_E_FILTERED, 400, invalid, "content_filter"},
        {INK_E_LIMIT, 400, invalid, NULL},
        {INK_E_UNSUPPORTED, 400, invalid, "unsupported"},
        {INK_E_NOT_FOUND, 404, invalid, "not_found"},
        {INK_E_STALE, 409, invalid, "stale"},
        {INK_E_FULL, 429, "rate_limit_error", "queue_full"},
        {INK_E_NOMEM, 503, broken, "out_of_memory"},
        {INK_E_BUSY, 503, broken, "busy"},
        {INK_E_CLOSED, 503, broken, "stopping"},
        {INK_E_CANCELLED, 503, broken, "stopping"},
    };
    const char *message = error != NULL && error->status == status && error->message[0] != 0
                              ? error->message
                              : ink_status_text(status);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].status == status)
            return srv_fail(why, known[i].http, known[i].type, known[i].code, "%s", message);
    return srv_fail(why, 500, broken, NULL, "%s", message);
}

void srv_failure_name(srv_failure *why, const char *param) {
    const srv_failure said = *why;
    srv_fail(why, said.status, said.type, said.code, "'%s': %s", param, said.message);
    why->retry_after_s = said.retry_after_s;
    snprintf(why->param, sizeof why->param, "%s", param);
}

bool srv_fail_field(srv_failure *why, ink_status status, const ink_error *error,
                    const char *param) {
    ink_error said = *error;
    char name[sizeof why->param];
    const char *index = strchr(error->where, '[');
    const size_t n = strlen(said.where);
    snprintf(name, sizeof name, "%s%s", param, index != NULL ? index : "");
    if (n > 0 && strncmp(said.message, said.where, n) == 0 &&
        strncmp(said.message + n, ": ", 2) == 0)
        memmove(said.message, said.message + n + 2, strlen(said.message + n + 2) + 1);
    if (status == INK_E_FORMAT)
        srv_refuse(why, NULL, "%s", said.message);
    else
        srv_fail_status(why, status, &said);
    if (why->status != 400) return false;
    srv_failure_name(why, name);
    snprintf(why->param, sizeof why->param, "%s", param);
    return false;
}

// Names and messages may hold bytes of the request or of a file.
static json_t *text_or_null(const char *text) {
    if (text == NULL || text[0] == 0) return json_null();
    json_t *value = json_string(text);
    if (value != NULL) return value;
    char plain[sizeof((srv_failure *)0)->message];
    size_t n = 0;
    for (; text[n] != 0 && n < sizeof plain - 1; n++)
        plain[n] = (unsigned char)text[n] < 0x80 ? text[n] : '?';
    plain[n] = 0;
    return json_string(plain);
}

json_t *srv_failure_json(const srv_failure *why) {
    json_t *message = text_or_null(why->message[0] != 0 ? why->message : "failed"),
           *param = text_or_null(why->param);
    return json_pack("{s{so ss so ss?}}", "error", "message", message, "type",
                     why->type != NULL ? why->type : broken, "param", param, "code", why->code);
}
