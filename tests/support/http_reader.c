// SPDX-License-Identifier: MIT
#include "http_reader.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http_load.h"

enum { IN_HEAD, IN_LENGTH, IN_SIZE, IN_CHUNK, IN_CHUNK_END, IN_TRAILER, IN_REST, IN_NOTHING };
enum { MOST_BYTES = 64 << 20 };

bool http_reader_begin(http_reader *r) {
    char *raw = r->raw, *body = r->body;
    const size_t raw_cap = r->raw_cap, body_cap = r->body_cap;
    *r = (http_reader){.raw = raw, .raw_cap = raw_cap, .body = body, .body_cap = body_cap};
    if (r->body == NULL) {
        r->body_cap = 4096;
        r->body = malloc(r->body_cap);
        if (r->body == NULL) return false;
    }
    r->body[0] = 0;
    return true;
}

void http_reader_free(http_reader *r) {
    free(r->raw);
    free(r->body);
    *r = (http_reader){0};
}

const char *http_reader_head(const http_reader *r) { return r->head_bytes > 0 ? r->raw : ""; }
const char *http_reader_body(const http_reader *r) { return r->body; }

static bool append(char **to, size_t *bytes, size_t *cap, const char *from, size_t n) {
    if (n > MOST_BYTES || *bytes + n > MOST_BYTES) return false;
    if (*bytes + n + 1 > *cap) {
        size_t larger = *cap < 4096 ? 4096 : *cap;
        while (larger < *bytes + n + 1) larger *= 2;
        char *grown = realloc(*to, larger);
        if (grown == NULL) return false;
        *to = grown;
        *cap = larger;
    }
    memcpy(*to + *bytes, from, n);
    *bytes += n;
    (*to)[*bytes] = 0;
    return true;
}

// Whether a key of the event has a string that is not empty.
static bool has_text(const char *event, const char *key) {
    const char *at = strstr(event, key);
    if (at == NULL) return false;
    at += strlen(key);
    at += strspn(at, " ");
    return at[0] == '"' && at[1] != '"';
}

static void look_at_event(http_reader *r, const char *event) {
    if (strstr(event, "data: [DONE]") != NULL) r->saw_done = true;
    if (strstr(event, "data: {\"error\"") != NULL) r->failed_event = true;
    if (!has_text(event, "\"text\":") && !has_text(event, "\"content\":")) return;
    if (r->n_events++ == 0) r->first_ms = load_now_ms();
}

// Events that are whole by now.
static void look_at_events(http_reader *r) {
    for (;;) {
        char *event = r->body + r->body_seen, *end = strstr(event, "\n\n");
        if (end == NULL) return;
        *end = 0;
        look_at_event(r, event);
        *end = '\n';
        r->body_seen = (size_t)(end + 2 - r->body);
    }
}

static bool add_body(http_reader *r, const char *bytes, size_t n) {
    if (!append(&r->body, &r->body_bytes, &r->body_cap, bytes, n)) return false;
    if (r->stream) look_at_events(r);
    return true;
}

static bool read_head(http_reader *r) {
    char value[128];
    const char *head = r->raw;
    if (strncmp(head, "HTTP/1.", 7) != 0 || strlen(head) < 12) return false;
    r->status = (unsigned)strtoul(head + 9, NULL, 10);
    if (r->status < 100 || r->status > 599) return false;
    r->keep = head[7] == '1';
    if (load_header(head, "Connection", value, sizeof value))
        r->keep = strcasecmp(value, "close") != 0;
    r->stream = load_header(head, "Content-Type", value, sizeof value) &&
                strncmp(value, "text/event-stream", 17) == 0;
    if (r->status == 100) {
        r->raw_at = 0;
        return true;
    }
    if (r->status == 204 || r->status == 304) {
        r->state = IN_NOTHING;
    } else if (load_header(head, "Transfer-Encoding", value, sizeof value)) {
        r->state = IN_SIZE;
    } else if (load_header(head, "Content-Length", value, sizeof value)) {
        r->left = strtoul(value, NULL, 10);
        r->state = r->left > 0 ? IN_LENGTH : IN_NOTHING;
    } else {
        r->state = IN_REST;
        r->keep = false;
    }
    return true;
}

// The next line behind raw_at: its first byte, with a 0 byte for its end; NULL: it is not there
// yet.
static const char *next_line(http_reader *r) {
    char *line = r->raw + r->raw_at;
    char *end = memchr(line, '\n', r->raw_bytes - r->raw_at);
    if (end == NULL) return NULL;
    r->raw_at = (size_t)(end + 1 - r->raw);
    *end = 0;
    if (end > line && end[-1] == '\r') end[-1] = 0;
    return line;
}

static int step_head(http_reader *r) {
    char *end = strstr(r->raw, "\r\n\r\n");
    if (end == NULL) return 0;
    end[2] = 0;
    r->head_bytes = (size_t)(end + 3 - r->raw);
    r->raw_at = r->head_bytes + 1;
    if (!read_head(r)) return -1;
    if (r->status == 100) {
        const size_t used = r->head_bytes + 1;
        memmove(r->raw, r->raw + used, r->raw_bytes - used + 1);
        r->raw_bytes -= used;
        r->head_bytes = r->raw_at = 0;
    }
    return 1;
}

static int step_size(http_reader *r) {
    const char *line = next_line(r);
    char *end = NULL;
    if (line == NULL) return 0;
    r->left = strtoul(line, &end, 16);
    if (end == line) return -1;
    r->state = r->left > 0 ? IN_CHUNK : IN_TRAILER;
    return 1;
}

static int step_bytes(http_reader *r) {
    const size_t here = r->raw_bytes - r->raw_at;
    const size_t n = r->state != IN_REST && here > r->left ? r->left : here;
    if (n == 0) return 0;
    if (!add_body(r, r->raw + r->raw_at, n)) return -1;
    r->raw_at += n;
    r->left -= n;
    if (r->left == 0 && r->state == IN_CHUNK) r->state = IN_CHUNK_END;
    if (r->left == 0 && r->state == IN_LENGTH) r->state = IN_NOTHING;
    return 1;
}

static int step_line(http_reader *r) {
    const char *line = next_line(r);
    if (line == NULL) return 0;
    if (line[0] == 0) r->state = r->state == IN_TRAILER ? IN_NOTHING : IN_SIZE;
    return line[0] == 0 || r->state == IN_TRAILER ? 1 : -1;
}

static int step(http_reader *r) {
    switch (r->state) {
    case IN_HEAD: return step_head(r);
    case IN_SIZE: return step_size(r);
    case IN_LENGTH:
    case IN_CHUNK:
    case IN_REST: return step_bytes(r);
    case IN_CHUNK_END:
    case IN_TRAILER: return step_line(r);
    default: return 0;
    }
}

int http_reader_feed(http_reader *r, const char *bytes, size_t n) {
    int went_on = 1;
    r->n_read += n;
    if (!append(&r->raw, &r->raw_bytes, &r->raw_cap, bytes, n)) return -1;
    while (went_on > 0 && r->state != IN_NOTHING) went_on = step(r);
    if (went_on < 0) return -1;
    // What was understood need not stay; the head does.
    if (r->head_bytes > 0 && r->raw_at > r->head_bytes) {
        memmove(r->raw + r->head_bytes, r->raw + r->raw_at, r->raw_bytes - r->raw_at + 1);
        r->raw_bytes -= r->raw_at - r->head_bytes;
        r->raw_at = r->head_bytes;
    }
    return r->state == IN_NOTHING;
}

bool http_reader_end(http_reader *r) { return r->state == IN_REST; }
