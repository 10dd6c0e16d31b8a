// SPDX-License-Identifier: MIT
#include "server/route.h"

#include <string.h>

#define GET  "GET, HEAD, OPTIONS"
#define POST "POST, OPTIONS"

static const struct {
    srv_route route;
    const char *allow; // all methods of the path
} table[] = {
    {{"GET", "/", srv_handle_page, true}, GET},
    {{"GET", "/health", srv_handle_health, true}, GET},
    {{"GET", "/metrics", srv_handle_metrics, false}, GET},
    {{"POST", "/v1/completions", srv_handle_completions, false}, POST},
    {{"POST", "/v1/chat/completions", srv_handle_chat, false}, POST},
    {{"POST", "/v1/embeddings", srv_handle_embeddings, false}, POST},
    {{"GET", "/v1/models", srv_handle_models, false}, GET},
    {{"GET", "/v1/models/{id}", srv_handle_model, false}, GET},
    {{"POST", "/tokenize", srv_handle_tokenize, false}, POST},
    {{"POST", "/detokenize", srv_handle_detokenize, false}, POST},
    {{"POST", "/v1/typing", srv_handle_typing_new, false}, POST},
    {{"POST", "/v1/typing/{id}", srv_handle_typing_edit, false}, "POST, DELETE, OPTIONS"},
    {{"DELETE", "/v1/typing/{id}", srv_handle_typing_delete, false}, "POST, DELETE, OPTIONS"},
    {{"GET", "/v1/typing/{id}/events", srv_handle_typing_events, false}, GET},
    {{"POST", "/v1/typing/{id}/accept", srv_handle_typing_accept, false}, POST},
    {{"POST", "/v1/typing/{id}/undo", srv_handle_typing_undo, false}, POST},
    {{"POST", "/v1/typing/{id}/retry", srv_handle_typing_retry, false}, POST},
    {{"POST", "/v1/typing/{id}/reject", srv_handle_typing_reject, false}, POST},
    // Behind the others: "/" and one more part is a file of the page.
    {{"GET", "/{id}", srv_handle_page, true}, GET},
};

static bool matches(const char *pattern, const char *path, const char **tail, size_t *bytes) {
    *tail = path + strlen(path);
    *bytes = 0;
    const char *hole = strstr(pattern, "{id}");
    if (hole == NULL) return strcmp(pattern, path) == 0;
    const size_t before = (size_t)(hole - pattern);
    if (strncmp(pattern, path, before) != 0) return false;
    const size_t length = strcspn(path + before, "/");
    if (length == 0 || strcmp(path + before + length, hole + 4) != 0) return false;
    *tail = path + before;
    *bytes = length;
    return true;
}

const srv_route *srv_route_find(const char *method, const char *path, const char **tail,
                                size_t *tail_bytes, const char **methods) {
    // An answer to HEAD is that to GET without its body, which the HTTP library leaves out.
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    *methods = NULL;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const srv_route *route = &table[i].route;
        // A name that is no file of the page is unknown, whatever is to be done with it; and a call
        // that is asked with the wrong method is no file.
        const bool file = strcmp(route->path, "/{id}") == 0;
        if ((file && *methods != NULL) || !matches(route->path, path, tail, tail_bytes)) continue;
        if (strcmp(route->method, wanted) == 0) return route;
        if (!file) *methods = table[i].allow;
    }
    return NULL;
}

#undef GET
#undef POST
