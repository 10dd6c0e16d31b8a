// SPDX-License-Identifier: MIT
// Why a request was refused, as OpenAI's clients expect to read it.
#ifndef SERVER_FAILURE_H
#define SERVER_FAILURE_H

#include "inkling/inkling.h"

#include <jansson.h>
#include <stdbool.h>

typedef struct srv_failure {
    unsigned status;        // of HTTP; 0: nothing failed
    const char *type;       // "invalid_request_error"; static
    const char *code;       // "context_length_exceeded"; static, NULL: null
    unsigned retry_after_s; // 0: no such header
    char param[64];         // which field; empty: null
    char message[320];      // one or two sentences, for people
} srv_failure;

// Each fills *why and returns false, to be returned.
// 400 with the field that is to blame (NULL: none).
bool srv_refuse(srv_failure *why, const char *param, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Any status. code: static or NULL.
bool srv_fail(srv_failure *why, unsigned status, const char *type, const char *code,
              const char *format, ...) __attribute__((format(printf, 5, 6)));
bool srv_fail_stopping(srv_failure *why); // 503 with Retry-After: the server ends
// What an ink_status stands for: INK_E_CONTEXT is 400 context_length_exceeded, INK_E_FULL 429,
// INK_E_NOMEM 503, INK_E_FILTERED 400 content_filter, …; the engine's own line as message.
bool srv_fail_status(srv_failure *why, ink_status status, const ink_error *error);
// The same of a field of the engine's, or one of a list ("phrases[3]"), that has another name here:
// param stands in that one's place. INK_E_FORMAT is the fault of the field, and of no model file.
bool srv_fail_field(srv_failure *why, ink_status status, const ink_error *error, const char *param);
// The field that is to blame, in `param` and before the message. Only a message without one.
void srv_failure_name(srv_failure *why, const char *param);

// {"error":{"message","type","param","code"}}, NULL without memory.
json_t *srv_failure_json(const srv_failure *why);

#endif
