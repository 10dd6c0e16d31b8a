// SPDX-License-Identifier: MIT
// What the host is told: at once on the worker, or kept until it polls.
#include "service/service_parts.h"

#include <string.h>

// A piece that is kept: this, its choices, what could have stood there (n_top of each), its text
// and a 0 byte. Each begins at a multiple of 8.
typedef struct piece_head {
    uint64_t bytes;
    ink_token token;
    float logprob;
    uint32_t n_tokens;
    uint32_t n_choices;
    uint64_t n_top; // of all choices together
} piece_head;
_Static_assert(sizeof(piece_head) % 8 == 0 && sizeof(ink_choice) % 8 == 0 &&
                   sizeof(ink_logprob) % 8 == 0,
               "what stands behind them is aligned");

static size_t piece_bytes(const piece_head *h) {
    const size_t lists = h->n_choices * sizeof(ink_choice) + h->n_top * sizeof(ink_logprob);
    return (sizeof *h + lists + h->bytes + 1 + 7) / 8 * 8;
}

static bool polls(const ink_service *s) { return (s->o.flags & INK_SERVICE_POLL) != 0; }

void inki_service_due(ink_service *s) {
    s->due = true;
    inki_lock_notify(&s->lock);
    if (s->woken || s->o.wake == NULL) return;
    s->woken = true;
    inki_lock_give(&s->lock);
    s->o.wake(s->o.user);
    inki_lock_take(&s->lock);
}

// --- text ----------------------------------------------------------------------------------------

static uint8_t *put(uint8_t *at, const void *from, size_t bytes) {
    if (bytes > 0) memcpy(at, from, bytes);
    return at + bytes;
}

static bool keep_piece(inki_pieces *kept, const ink_piece *piece, const inki_mem *mem) {
    piece_head head = {.bytes = piece->bytes,
                       .token = piece->token,
                       .logprob = piece->logprob,
                       .n_tokens = piece->n_tokens,
                       .n_choices = piece->n_choices};
    for (uint32_t i = 0; i < piece->n_choices; i++) head.n_top += piece->choices[i].n_top;
    const size_t needed = kept->used + piece_bytes(&head);
    if (needed > kept->cap) {
        size_t cap = kept->cap > 0 ? kept->cap : 512;
        while (cap < needed) cap *= 2;
        uint8_t *data = inki_alloc(mem, cap, 1);
        if (data == NULL) return false;
        if (kept->used > 0) memcpy(data, kept->data, kept->used);
        inki_release(mem, kept->data, kept->cap, 1);
        kept->data = data;
        kept->cap = cap;
    }
    uint8_t *at = put(kept->data + kept->used, &head, sizeof head);
    at = put(at, piece->choices, piece->n_choices * sizeof *piece->choices);
    for (uint32_t i = 0; i < piece->n_choices; i++)
        at = put(at, piece->choices[i].top, piece->choices[i].n_top * sizeof(ink_logprob));
    at = put(at, piece->text, piece->bytes);
    *at = 0;
    kept->used = needed;
    return true;
}

// The piece at `data`; its pointers are into there.
static ink_piece kept_piece(uint8_t *data, const piece_head *head) {
    ink_choice *choices = (ink_choice *)(data + sizeof *head);
    const ink_logprob *top = (const ink_logprob *)(choices + head->n_choices);
    for (uint32_t i = 0; i < head->n_choices; i++) {
        choices[i].top = choices[i].n_top > 0 ? top : NULL;
        top += choices[i].n_top;
    }
    return (ink_piece){.size = sizeof(ink_piece),
                       .token = head->token,
                       .text = (const char *)top,
                       .bytes = (size_t)head->bytes,
                       .logprob = head->logprob,
                       .n_tokens = head->n_tokens,
                       .n_choices = head->n_choices,
                       .choices = head->n_choices > 0 ? choices : NULL};
}

// The lock is held, but for the callback.
static int tell_piece(ink_client *c, uint64_t id, const ink_piece *piece) {
    ink_service *s = c->service;
    c->caller = inki_thread_self();
    inki_lock_give(&s->lock);
    const int stop = c->o.on_text(c->o.user, id, piece);
    inki_lock_take(&s->lock);
    c->caller = 0;
    if (c->leaving) inki_lock_notify(&s->lock);
    return stop;
}

int inki_service_take_piece(void *request, const ink_piece *piece) {
    inki_request *r = request;
    ink_client *c = r->client;
    ink_service *s = c->service;
    int stop = 1;
    inki_lock_take(&s->lock);
    if (!polls(s)) {
        stop = c->leaving ? 0 : tell_piece(c, r->id, piece);
        fesetenv(FE_DFL_ENV); // on the worker, in the middle of a run
    } else if (!r->mute && keep_piece(&r->written, piece, &s->mem)) {
        stop = 0;
        inki_service_due(s);
    } else if (!r->mute) {
        r->lost = true;
    }
    inki_lock_give(&s->lock);
    return stop;
}

// The pieces of the first request so far. Returns how many were told.
static uint32_t tell_text(ink_client *c) {
    inki_request *r = c->first;
    const inki_pieces pieces = r->written;
    uint32_t n = 0;
    r->written = r->told; // empty: what it has of memory is used again
    r->told = pieces;
    for (size_t at = 0; at < pieces.used && !r->mute && !c->leaving;) {
        piece_head head;
        memcpy(&head, pieces.data + at, sizeof head);
        const ink_piece piece = kept_piece(pieces.data + at, &head);
        at += piece_bytes(&head);
        n++;
        if (tell_piece(c, r->id, &piece) == 0) continue;
        r->mute = true;
        if (r->phase == INKI_OVER)
            r->result.stop = INK_STOP_CALLBACK;
        else
            inki_request_interrupt(r, INK_STOP_CALLBACK);
    }
    r->told.used = 0;
    return n;
}

// --- the end of a request ------------------------------------------------------------------------

static void unlink_request(ink_client *c, const inki_request *r) {
    inki_request *before = NULL;
    for (inki_request *i = c->first; i != r; i = i->next) before = i;
    *(before == NULL ? &c->first : &before->next) = r->next;
    if (c->last == r) c->last = before;
    c->service->n_queued--;
}

void inki_service_tell_done(ink_service *s, inki_request *r) {
    ink_client *c = r->client;
    unlink_request(c, r);
    const uint32_t trim = c->trim;
    if (trim > 0 && inki_client_is_idle(c)) {
        c->trim = 0;
        inki_client_trim(c, trim);
    }
    c->caller = inki_thread_self();
    inki_lock_give(&s->lock);
    if (c->o.on_done != NULL) c->o.on_done(c->o.user, r->id, r->status, &r->result, &r->error);
    inki_request_free(r);
    inki_lock_take(&s->lock);
    c->caller = 0;
    if (c->leaving) inki_lock_notify(&s->lock);
}

void inki_service_retire(ink_service *s, inki_request *r) {
    if (r->client->leaving) return; // who frees the client tells it
    if (polls(s))
        inki_service_due(s);
    else
        inki_service_tell_done(s, r);
}

// --- states and polling --------------------------------------------------------------------------

static uint32_t tell_states_here(ink_service *s) {
    static const ink_error none = {.size = sizeof none};
    uint32_t n = 0;
    for (uint32_t state = INK_SERVICE_READY; state <= INK_SERVICE_CLOSED; state++) {
        if ((s->untold >> state & 1) == 0) continue;
        s->untold &= ~(1u << state);
        n++;
        inki_lock_give(&s->lock);
        s->o.on_state(s->o.user, state, state == INK_SERVICE_FAILED ? &s->reason : &none);
        inki_lock_take(&s->lock);
    }
    return n;
}

void inki_service_tell_states(ink_service *s) {
    if (s->untold == 0) return;
    if (polls(s))
        inki_service_due(s);
    else
        tell_states_here(s);
}

// The first one, among those that this round has not seen.
static ink_client *next_client(ink_service *s) {
    for (inki_link *l = s->clients.next; l != &s->clients; l = l->next) {
        ink_client *c = (ink_client *)l;
        if (c->round == s->round || c->leaving || c->first == NULL) continue;
        c->round = s->round;
        return c;
    }
    return NULL;
}

// Of each client what is there when its turn comes: a round ends, however fast the worker is.
uint32_t inki_service_tell_due(ink_service *s) {
    s->due = s->woken = false;
    s->round++;
    uint32_t n = tell_states_here(s) + inki_service_tell_typing(s);
    for (ink_client *c; (c = next_client(s)) != NULL;) {
        bool over = true;
        while (over && !c->leaving && c->first != NULL) {
            inki_request *r = c->first;
            over = r->phase == INKI_OVER;
            n += tell_text(c);
            if (!over || c->leaving) break;
            inki_service_tell_done(s, r);
            n++;
        }
    }
    return n;
}

// What came while the last of the time ran out is told too.
static uint32_t poll_entered(ink_service *s, double until) {
    for (bool in_time = true;;) {
        const uint32_t n = s->due ? inki_service_tell_due(s) : 0;
        if (n > 0 || !in_time || (s->worker_gone && !s->due)) return n;
        if (!s->due) in_time = inki_lock_wait(&s->lock, until);
    }
}

ink_status ink_service_poll(ink_service *s, uint32_t timeout_ms, uint32_t *n) {
    if (s == NULL || !polls(s)) return INK_E_ARG;
    if (inki_service_is_orphan(s)) return INK_E_CLOSED;
    const double until = timeout_ms == UINT32_MAX ? -1 : inki_os_now_ms() + timeout_ms;
    inki_lock_take(&s->lock);
    ink_status status = INK_OK;
    if (inki_service_calls_me(s)) {
        status = INK_E_REENTRANT;
    } else if (s->poller != 0) {
        status = INK_E_BUSY;
    } else {
        s->n_waiting++;
        s->poller = inki_thread_self();
        const uint32_t n_told = poll_entered(s, until);
        s->poller = 0;
        s->n_waiting--;
        if (n_told == 0 && s->worker_gone && !s->due) status = INK_E_CLOSED;
        if (n != NULL && status == INK_OK) *n = n_told;
        inki_lock_notify(&s->lock); // ink_service_free may wait for this
    }
    inki_lock_give(&s->lock);
    return status;
}
