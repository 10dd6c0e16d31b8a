// SPDX-License-Identifier: MIT
#include "server/call_private.h"

size_t srv_call_waiting(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    const size_t bytes = call->out_end - call->out_begin;
    pthread_mutex_unlock(&call->lock);
    return bytes;
}
