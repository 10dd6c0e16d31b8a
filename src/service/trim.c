// SPDX-License-Identifier: MIT
// Memory given back: at once where nothing is under way with it, else when that is over.
#include "service/service_parts.h"

bool inki_client_is_idle(const ink_client *c) {
    if (c->held || c->leaving) return false;
    const inki_request *active = inki_client_active(c);
    return active == NULL || active->phase == INKI_QUEUED;
}

void inki_service_drop_sessions(ink_service *s) {
    ink_prefix_cache_trim(s->prefix, 0);
    for (inki_link *l = s->clients.next; l != &s->clients; l = l->next) {
        ink_client *c = (ink_client *)l;
        if (!inki_client_is_idle(c)) continue;
        ink_session_free(c->session);
        c->session = NULL;
    }
    for (inki_link *l = s->typists.next; l != &s->typists; l = l->next) {
        ink_typing *typing = ((inki_typist *)l)->typing;
        if (typing != NULL) inki_typing_trim(typing, INK_TRIM_CACHE);
    }
}

static uint64_t trim_client(ink_client *c, uint32_t level) {
    if (inki_client_is_idle(c)) return inki_client_trim(c, level);
    if (c->trim < level) c->trim = level;
    return 0;
}

static uint64_t trim_typist(const ink_service *s, inki_typist *t, uint32_t level) {
    if (t->typing == NULL) return 0;
    if (s->stepping != t) return inki_typing_trim(t->typing, level);
    if (t->trim < level) t->trim = level;
    return 0;
}

ink_status ink_service_trim(ink_service *s, uint32_t level, uint64_t *bytes) {
    if (s == NULL || level < INK_TRIM_LOGITS || level > INK_TRIM_FILE) return INK_E_ARG;
    if (inki_service_is_orphan(s)) return INK_E_CLOSED;
    uint64_t given = 0;
    inki_lock_take(&s->lock);
    const bool closed = s->state == INK_SERVICE_CLOSED;
    for (inki_link *l = s->clients.next; l != &s->clients && !closed; l = l->next)
        given += trim_client((ink_client *)l, level);
    for (inki_link *l = s->typists.next; l != &s->typists && !closed; l = l->next)
        given += trim_typist(s, (inki_typist *)l, level);
    // Behind the sessions: what they shared with it is free now.
    if (!closed && level >= INK_TRIM_CACHE && s->prefix != NULL)
        inki_prefix_cache_trim(s->prefix, 0, &given);
    if (!closed && level == INK_TRIM_FILE && s->model != NULL)
        inki_os_forget_pages(&s->model->file);
    inki_lock_give(&s->lock);
    if (closed) return INK_E_CLOSED;
    if (bytes != NULL) *bytes = given;
    return INK_OK;
}
