// SPDX-License-Identifier: MIT
// From a request's head to its handler. A refusal waits until the body has been read, so that the
// connection can go on, unless that would be long.
#include "server/app.h"
#include "server/http_private.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char invalid[] = "invalid_request_error";

// %XX; a 0 byte, or what is no hexadecimal number, stays as it was sent.
static char *decode(const char *text, size_t n) {
    static const char hex[] = "0123456789abcdef";
    char *out = malloc(n + 1);
    size_t m = 0;
    if (out == NULL) return NULL;
    for (size_t i = 0; i < n; i++) {
        out[m] = text[i];
        if (text[i] == '%' && n - i > 2) {
            const char *high = memchr(hex, text[i + 1] | 0x20, 16),
                       *low = memchr(hex, text[i + 2] | 0x20, 16);
            const int byte =
                high != NULL && low != NULL ? (int)((high - hex) << 4 | (low - hex)) : 0;
            if (byte != 0) {
                out[m] = (char)byte;
                i += 2;
            }
        }
        m++;
    }
    out[m] = 0;
    return out;
}

// The browser asks first whether a page of another origin may call.
static void keep_preflight(srv_call *call) {
    const char *wanted = srv_call_header(call, "Access-Control-Request-Headers");
    static const char names[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_., ";
    if (call->origin == NULL || srv_call_header(call, "Access-Control-Request-Method") == NULL)
        return;
    if (wanted == NULL || strlen(wanted) > 1024 || wanted[strspn(wanted, names)] != 0)
        wanted = "authorization, content-type";
    call->preflight = strdup(wanted);
}

static bool judge_route(srv_call *call) {
    const char *tail;
    size_t n_tail;
    call->route = call->http->find(call->method, call->path, &tail, &n_tail, &call->allow);
    if (call->route != NULL) {
        call->tail = decode(tail, n_tail);
        if (call->tail == NULL) return srv_fail_status(&call->refused, INK_E_NOMEM, NULL);
        return call->route->open || srv_http_judge_key(call);
    }
    if (strcmp(call->method, "OPTIONS") == 0) {
        keep_preflight(call);
        if (call->allow != NULL || call->preflight != NULL) return true;
    }
    if (call->allow != NULL)
        return srv_fail(&call->refused, 405, invalid, "method_not_supported",
                        "%s does not go with %.100s; it takes %s", call->method, call->path,
                        call->allow);
    return srv_fail(&call->refused, 404, invalid, "unknown_url", "there is no %s %.200s",
                    call->method, call->path);
}

static bool judge(srv_call *call, const char *version) {
    if (!srv_http_judge_head(call)) return false;
    if (atomic_load(&call->app->draining)) return srv_fail_stopping(&call->refused);
    if (strcmp(version, "HTTP/1.0") != 0 && srv_call_header(call, "Host") == NULL)
        return srv_refuse(&call->refused, NULL, "the request has no Host header");
    return srv_http_judge_origin(call) && judge_route(call);
}

// "GET http://host/path", as proxies are asked: the path counts.
static const char *path_of(const char *url) {
    if (strncasecmp(url, "http://", 7) != 0) return url;
    const char *slash = strchr(url + 7, '/');
    return slash != NULL ? slash : "/";
}

static bool enlist(srv_http *http, srv_call *call) {
    pthread_mutex_lock(&http->lock);
    const bool open = !atomic_load(&http->closing);
    if (open) {
        call->next = http->calls;
        if (call->next != NULL) call->next->previous = call;
        http->calls = call;
        http->n_calls++;
    }
    pthread_mutex_unlock(&http->lock);
    return open;
}

static enum MHD_Result begin(srv_http *http, struct MHD_Connection *connection, const char *url,
                             const char *method, const char *version, void **out) {
    const union MHD_ConnectionInfo *entry =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (entry == NULL || entry->socket_context == NULL) return MHD_NO;
    srv_call *call = srv_call_new(http, connection, path_of(url), method);
    if (call == NULL) return MHD_NO;
    call->entry = entry->socket_context;
    call->fd = call->entry->fd;
    if (!enlist(http, call)) {
        srv_call_detach(call);
        return MHD_NO;
    }
    *out = call;
    srv_connections_move(&http->connections, call->entry, SRV_STAGE_BODY);
    if (judge(call, version) || !call->must_close) return MHD_YES;
    // Not a byte of the body is read.
    call->entry->linger = true;
    srv_call_fail(call, &call->refused);
    return srv_http_deliver(call);
}

static bool keep_body(srv_call *call, const char *data, size_t bytes) {
    const size_t limit = call->app->options.max_body_bytes,
                 most = limit > ((size_t)16 << 20) ? 4 * limit : (size_t)64 << 20;
    if (bytes > limit - call->n_body)
        return srv_fail(&call->refused, 413, invalid, "body_too_large",
                        "the body is longer than %zu bytes", limit);
    if (atomic_load(&call->http->n_body_bytes) > most)
        return srv_fail(&call->refused, 503, "server_error", "overloaded",
                        "too many large requests at once");
    if (bytes >= call->body_cap - call->n_body) {
        size_t cap = call->body_cap > 0 ? call->body_cap : 1024;
        while (cap - call->n_body <= bytes) cap *= 2;
        char *grown = realloc(call->body, cap);
        if (grown == NULL) return srv_fail_status(&call->refused, INK_E_NOMEM, NULL);
        call->body = grown;
        call->body_cap = cap;
    }
    memcpy(call->body + call->n_body, data, bytes);
    call->n_body += bytes;
    call->body[call->n_body] = 0;
    atomic_fetch_add(&call->http->n_body_bytes, bytes);
    return true;
}

static enum MHD_Result take_body(srv_call *call, const char *data, size_t *bytes) {
    const size_t n = *bytes;
    *bytes = 0;
    if (call->refused.status != 0 || keep_body(call, data, n)) return MHD_YES;
    // The HTTP library would now read all of the body before it lets us answer.
    srv_http_blurt(call->fd, call->id, &call->refused);
    call->entry->linger = true;
    call->blurted = true;
    const srv_answer said = {.kind = SRV_ANSWER_WHOLE, .status = call->refused.status};
    srv_call_give(call, &said);
    return MHD_NO;
}

static void handle(srv_call *call) {
    srv_connections_move(&call->http->connections, call->entry, SRV_STAGE_WORK);
    pthread_mutex_lock(&call->lock);
    call->handled = true;
    call->n_refs++;
    pthread_mutex_unlock(&call->lock);
    if (call->refused.status != 0)
        srv_call_fail(call, &call->refused);
    else if (call->route == NULL)
        srv_call_empty(call, 204); // OPTIONS
    else
        call->route->handle(call);
    srv_call_unref(call);
}

enum MHD_Result srv_http_on_request(void *user, struct MHD_Connection *connection, const char *url,
                                    const char *method, const char *version, const char *data,
                                    size_t *bytes, void **out) {
    srv_call *call = *out;
    if (call == NULL) return begin(user, connection, url, method, version, out);
    if (*bytes > 0) return take_body(call, data, bytes);
    if (!call->handled) handle(call);
    return srv_http_deliver(call);
}
