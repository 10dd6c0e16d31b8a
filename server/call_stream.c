// SPDX-License-Identifier: MIT
// What is written waits in the call until HTTP comes for it. While nothing waits the connection is
// suspended, and the next write resumes it.
#include "server/call_private.h"

#include "server/app.h"
#include "server/http_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

typedef struct piece {
    const char *data;
    size_t bytes;
} piece;

void srv_call_stream(srv_call *call) {
    const srv_answer answer = {
        .kind = SRV_ANSWER_STREAM, .status = 200, .type = "text/event-stream; charset=utf-8"};
    srv_call_give(call, &answer);
}

static bool make_room(srv_call *call, size_t bytes) {
    const size_t waiting = call->out_end - call->out_begin;
    if (bytes > SRV_STREAM_LIMIT - waiting) return false;
    if (bytes <= call->out_cap - call->out_end) return true;
    if (waiting > 0) memmove(call->out, call->out + call->out_begin, waiting);
    call->out_begin = 0;
    call->out_end = waiting;
    if (bytes <= call->out_cap - waiting) return true;
    size_t cap = call->out_cap > 0 ? call->out_cap : 512;
    while (cap - waiting < bytes) cap *= 2;
    char *grown = realloc(call->out, cap);
    if (grown == NULL) return false;
    call->out = grown;
    call->out_cap = cap;
    return true;
}

// Under the lock.
static bool append(srv_call *call, const piece *pieces, size_t n) {
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) bytes += pieces[i].bytes;
    if (call->connection == NULL || call->gone || call->ended ||
        call->answer.kind != SRV_ANSWER_STREAM)
        return false;
    if (!make_room(call, bytes)) {
        // Half of what was said is worth nothing: the client is to notice that it is not whole.
        call->gone = true;
        shutdown(call->fd, SHUT_RDWR);
        srv_call_wake(call);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].bytes > 0) memcpy(call->out + call->out_end, pieces[i].data, pieces[i].bytes);
        call->out_end += pieces[i].bytes;
    }
    call->written_ms = srv_now_ms();
    if (bytes > 0) srv_call_wake(call);
    return true;
}

bool srv_call_write(srv_call *call, const char *events, size_t bytes) {
    const piece one = {events, bytes};
    pthread_mutex_lock(&call->lock);
    const bool written = append(call, &one, 1);
    pthread_mutex_unlock(&call->lock);
    return written;
}

bool srv_call_event(srv_call *call, const char *event, json_t *body) {
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (text == NULL) {
        srv_call_end(call);
        return false;
    }
    const bool named = event != NULL;
    const piece pieces[] = {{"event: ", named ? 7 : 0}, {event, named ? strlen(event) : 0},
                            {"\n", named ? 1 : 0},      {"data: ", 6},
                            {text, strlen(text)},       {"\n\n", 2}};
    pthread_mutex_lock(&call->lock);
    const bool written = append(call, pieces, sizeof pieces / sizeof *pieces);
    pthread_mutex_unlock(&call->lock);
    free(text);
    return written;
}

size_t srv_call_waiting(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    const size_t bytes = call->out_end - call->out_begin;
    pthread_mutex_unlock(&call->lock);
    return bytes;
}

void srv_call_end(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    if (call->answer.kind == SRV_ANSWER_STREAM && !call->ended) {
        call->ended = true;
        srv_call_wake(call);
    }
    pthread_mutex_unlock(&call->lock);
}

void srv_call_beat(srv_call *call, double now_ms, uint32_t interval_ms) {
    static const piece comment = {":\n\n", 3};
    pthread_mutex_lock(&call->lock);
    if (call->answer.kind == SRV_ANSWER_STREAM && call->out_begin == call->out_end &&
        now_ms - call->written_ms >= interval_ms)
        append(call, &comment, 1);
    pthread_mutex_unlock(&call->lock);
}

ssize_t srv_call_read(void *user, uint64_t position, char *out, size_t cap) {
    srv_call *call = user;
    ssize_t result = 0;
    (void)position;
    pthread_mutex_lock(&call->lock);
    const size_t waiting = call->out_end - call->out_begin;
    if (call->gone || atomic_load(&call->http->closing)) {
        result = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (waiting > 0) {
        const size_t n = waiting < cap ? waiting : cap;
        memcpy(out, call->out + call->out_begin, n);
        call->out_begin += n;
        if (call->out_begin == call->out_end) call->out_begin = call->out_end = 0;
        result = (ssize_t)n;
    } else if (call->ended) {
        result = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        call->suspended = true;
        MHD_suspend_connection(call->connection);
    }
    pthread_mutex_unlock(&call->lock);
    return result;
}
