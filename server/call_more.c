// SPDX-License-Identifier: MIT
#include "server/call_private.h"

#include <string.h>

size_t srv_call_waiting(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    const size_t bytes = call->out_end - call->out_begin;
    pthread_mutex_unlock(&call->lock);
    return bytes;
}

void srv_call_json_later(srv_call *call, unsigned status, json_t *body, unsigned retry_after_s) {
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    if (text == NULL) {
        srv_call_json(call, status, body); // which says that there is no memory
        return;
    }
    json_decref(body);
    const srv_answer answer = {.kind = SRV_ANSWER_WHOLE,
                               .status = status,
                               .type = "application/json",
                               .data = text,
                               .bytes = strlen(text),
                               .owned = true,
                               .retry_after_s = retry_after_s};
    srv_call_give(call, &answer);
}
