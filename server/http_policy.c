// SPDX-License-Identifier: MIT
// Who may ask. A page of a stranger can make a browser on this machine call us: by our address,
// then the browser says where the page is from (Origin); or, after its name has been pointed at
// this machine, by its own name (Host). Neither needs a key to do harm on a server without one.
#include "server/app.h"
#include "server/http_private.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char invalid[] = "invalid_request_error";

typedef struct head {
    unsigned n_host, n_length, n_encoding, n_origin, n_key;
    const char *length, *encoding;
    bool broken; // a name that is none, or a byte that no value has
} head;

// RFC 9110, 5.6.2. The HTTP library takes "Content-Length " for another field than Content-Length.
static bool is_token(const char *text, size_t n) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < n; i++) {
        const char c = text[i], low = (char)(c | 0x20);
        if (!(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9') &&
            memchr(others, c, sizeof others - 1) == NULL)
            return false;
    }
    return n > 0;
}

// Where others would see an end: of the line, or of the text.
static bool is_value(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f) return false;
    return true;
}

static enum MHD_Result count(void *user, enum MHD_ValueKind kind, const char *name, size_t n_name,
                             const char *value, size_t n_value) {
    head *h = user;
    (void)kind;
    h->broken =
        h->broken || !is_token(name, n_name) || (value != NULL && !is_value(value, n_value));
    if (strcasecmp(name, "Host") == 0) h->n_host++;
    if (strcasecmp(name, "Origin") == 0) h->n_origin++;
    if (strcasecmp(name, "Authorization") == 0) h->n_key++;
    if (strcasecmp(name, "Content-Length") == 0) h->n_length++, h->length = value;
    if (strcasecmp(name, "Transfer-Encoding") == 0) h->n_encoding++, h->encoding = value;
    return MHD_YES;
}

// What two servers could read in two ways is refused: where one stands before the other, the end
// of one request would be the beginning of another's.
bool srv_http_judge_head(srv_call *call) {
    head h = {0};
    srv_failure *why = &call->refused;
    MHD_get_connection_values_n(call->connection, MHD_HEADER_KIND, count, &h);
    call->must_close = true;
    if (h.broken || !is_token(call->method, strlen(call->method)))
        return srv_refuse(why, NULL, "the head of the request is no HTTP");
    if (h.n_host > 1 || h.n_origin > 1 || h.n_key > 1)
        return srv_refuse(why, NULL,
                          "the request has two Host, two Origin or two Authorization headers");
    if (h.n_length > 1 || (h.n_length > 0 && h.n_encoding > 0))
        return srv_refuse(why, NULL, "the request states the length of its body twice");
    if (h.n_encoding > 0 &&
        (h.n_encoding > 1 || h.encoding == NULL || strcasecmp(h.encoding, "chunked") != 0))
        return srv_fail(why, 501, invalid, NULL, "of transfer encodings only chunked is known");
    if (h.n_length > 0) {
        const char *digits = h.length != NULL ? h.length : "";
        const size_t n = strspn(digits, "0123456789");
        if (n == 0 || digits[n] != 0) return srv_refuse(why, NULL, "Content-Length is no number");
        if (n > 18 || strtoull(digits, NULL, 10) > call->app->options.max_body_bytes)
            return srv_fail(why, 413, invalid, "body_too_large",
                            "the body has %.20s bytes; at most %zu are read", digits,
                            call->app->options.max_body_bytes);
    }
    call->must_close = false;
    return true;
}

// The name in "name:port", with the brackets of an IPv6 address.
static size_t name_length(const char *host) {
    if (host[0] != '[') return strcspn(host, ":");
    const size_t length = strcspn(host, "]");
    return host[length] == ']' ? length + 1 : length;
}

static bool same_name(const char *a, size_t n, const char *b, size_t m) {
    return n == m && strncasecmp(a, b, n) == 0;
}

static bool is_loopback_name(const char *name, size_t n) {
    char text[INET_ADDRSTRLEN];
    struct in_addr address;
    if (same_name(name, n, "localhost", 9) || same_name(name, n, "[::1]", 5)) return true;
    if (n >= sizeof text) return false;
    memcpy(text, name, n);
    text[n] = 0;
    return inet_pton(AF_INET, text, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

// Behind "https://".
static const char *authority(const char *origin) {
    const char *colon = strstr(origin, "://");
    return colon != NULL ? colon + 3 : "";
}

static bool judge_host(srv_call *call, const char *host) {
    const srv_options *options = &call->app->options;
    if (!call->http->loopback || host == NULL) return true;
    const size_t n = name_length(host);
    if (is_loopback_name(host, n)) return true;
    for (size_t i = 0; i < options->n_origins; i++) {
        const char *known = authority(options->origins[i]);
        if (same_name(host, n, known, name_length(known))) return true;
    }
    return srv_fail(&call->refused, 403, invalid, "host_not_allowed",
                    "the Host header names \"%.100s\", which is not this machine (--origin names "
                    "what else it may be)",
                    host);
}

bool srv_http_judge_origin(srv_call *call) {
    const srv_options *options = &call->app->options;
    const char *host = srv_call_header(call, "Host"), *origin = srv_call_header(call, "Origin");
    if (!judge_host(call, host)) return false;
    if (origin == NULL) return true;
    for (size_t i = 0; i < options->n_origins; i++)
        if (strcasecmp(origin, options->origins[i]) == 0) {
            call->origin = options->origins[i];
            return true;
        }
    const char *page = authority(origin);
    if (host != NULL && page[0] != 0 && strcasecmp(page, host) == 0) return true;
    return srv_fail(&call->refused, 403, invalid, "origin_not_allowed",
                    "pages of \"%.100s\" may not call this server (--origin allows it)", origin);
}

// Looks at every byte that was sent, for each key, so that the time tells nothing but its length.
static unsigned differs(const char *given, size_t n, const char *key) {
    const size_t n_key = strlen(key);
    volatile unsigned difference = n != n_key;
    for (size_t i = 0; i < n; i++)
        difference |= (unsigned char)(given[i] ^ key[n_key > 0 ? i % n_key : 0]);
    return difference;
}

bool srv_http_judge_key(srv_call *call) {
    const srv_options *options = &call->app->options;
    if (options->n_keys == 0) return true;
    const char *given = srv_call_header(call, "Authorization");
    unsigned n_same = 0;
    if (given != NULL && strncasecmp(given, "Bearer ", 7) == 0) {
        given += 7;
        given += strspn(given, " ");
        const size_t n = strlen(given);
        for (size_t i = 0; i < options->n_keys; i++)
            n_same += differs(given, n, options->keys[i]) == 0;
    } else {
        given = NULL;
    }
    if (n_same > 0) return true;
    return srv_fail(&call->refused, 401, invalid, "invalid_api_key",
                    given != NULL ? "the API key is not one of this server's"
                                  : "an API key is needed: \"Authorization: Bearer KEY\"");
}
