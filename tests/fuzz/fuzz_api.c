// SPDX-License-Identifier: MIT
// Bytes become a program of public calls on a small model: sessions made, forked, rewound,
// evaluated together, sampled, continued, freed in any order, with wrong arguments and allocations
// that fail in between. A shadow of every session says what must be true after each call; in the
// end its logits must be those of a fresh evaluation of its tokens, and no block may be left.
#include "fuzz.h"

#include "base/utf8.h"
#include "heap.h"
#include "tiny_model.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

// One program costs about a millisecond under sanitizers: fewer of them in the quick replay.
const size_t fuzz_quick_runs = 2000;

enum { N_CTX = 96, N_VOCAB = 300, N_SLOTS = 5, N_SAMPLERS = 3, MAX_OPS = 48, MAX_SPAN = 80 };

typedef struct slot {
    ink_session *s;
    ink_session_options o; // zeros replaced
    ink_token tokens[N_CTX];
    uint32_t n_past, n_rows;
} slot;

typedef struct program {
    const uint8_t *data;
    size_t bytes, at;
    heap heap;
    ink_model *model;
    slot slots[N_SLOTS];
    ink_sampler *samplers[N_SAMPLERS];
    bool damaged; // some byte of the model was changed: its numbers may be anything
    bool failing; // an allocation may fail in this call
} program;

static uint8_t next(program *p) { return p->at < p->bytes ? p->data[p->at++] : 0; }
static uint32_t next_u32(program *p) {
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) v = v << 8 | next(p);
    return v;
}
static slot *next_slot(program *p) { return &p->slots[next(p) % N_SLOTS]; }

// Mostly a small number, now and then one at an edge of its type.
static uint32_t next_count(program *p, uint32_t most) {
    static const uint32_t edges[] = {
        0,    1,    63,        64,          65,         N_CTX,         N_CTX + 1,
        4096, 4097, INT32_MAX, 0x80000000u, UINT32_MAX, UINT32_MAX - 1};
    const uint8_t b = next(p);
    if (b >= 0xf0) return edges[next(p) % (sizeof edges / sizeof *edges)];
    return b % (most + 1);
}

static void check_error(const program *p, ink_status status, const ink_error *e) {
    if (status == INK_OK) return;
    FUZZ_CHECK(e->status == status && e->message[0] != 0);
    FUZZ_CHECK(memchr(e->message, 0, sizeof e->message) != NULL);
    FUZZ_CHECK(strchr(e->message, '\n') == NULL);
    FUZZ_CHECK(status != INK_E_NOMEM || p->failing);
    FUZZ_CHECK(status != INK_E_NUMERIC || p->damaged || strstr(e->message, "banned") != NULL);
    FUZZ_CHECK(strcmp(ink_status_name(status), "unknown") != 0);
}

// --- the shadow ----------------------------------------------------------------------------------

static void check_slot(const program *p, slot *t) {
    if (t->s == NULL) return;
    size_t n = 0, n_vocab = 0;
    const ink_token *tokens = ink_session_tokens(t->s, &n);
    FUZZ_CHECK(n == t->n_past && n == ink_session_n_past(t->s) && n <= t->o.n_ctx);
    FUZZ_CHECK(ink_session_n_ctx(t->s) == t->o.n_ctx);
    FUZZ_CHECK(memcmp(tokens, t->tokens, n * sizeof *tokens) == 0);
    for (uint32_t r = 0; r < t->n_rows; r++) {
        const float *logits = ink_session_logits(t->s, r, &n_vocab);
        FUZZ_CHECK(logits != NULL && n_vocab == N_VOCAB);
        for (size_t i = 0; i < n_vocab; i += n_vocab - 1) FUZZ_CHECK(isfinite(logits[i]));
    }
    FUZZ_CHECK(ink_session_logits(t->s, t->n_rows, NULL) == NULL);
    FUZZ_CHECK(ink_session_logits(t->s, SIZE_MAX, NULL) == NULL);
    (void)p;
}

// After a failed evaluation the logits may be gone, all of them.
static void allow_lost_logits(slot *t) {
    if (t->s != NULL && ink_session_logits(t->s, 0, NULL) == NULL) t->n_rows = 0;
}

static void take_past(slot *t) {
    size_t n = 0;
    const ink_token *tokens = ink_session_tokens(t->s, &n);
    FUZZ_CHECK(n <= t->o.n_ctx);
    memcpy(t->tokens, tokens, n * sizeof *tokens);
    t->n_past = (uint32_t)n;
    t->n_rows = 0;
    while (ink_session_logits(t->s, t->n_rows, NULL) != NULL) t->n_rows++;
}

// The session's last logits are what a session of its own gives for the same tokens.
static void check_fresh(program *p, slot *t) {
    if (t->s == NULL || t->n_past == 0) return;
    ink_error e = {0};
    if (t->n_rows == 0) {
        const ink_span again = {t->s, &t->tokens[t->n_past - 1], 1, 0, NULL};
        FUZZ_CHECK(ink_session_rewind(t->s, t->n_past - 1) == INK_OK);
        const ink_status status = ink_eval(&again, 1, &e);
        check_error(p, status, &e);
        if (status != INK_OK) {
            take_past(t);
            return;
        }
        t->n_rows = 1;
    }
    ink_session *fresh = NULL;
    ink_session_options o = t->o;
    o.n_batch = 1 + t->n_past % 7;
    o.n_logits = 1;
    ink_status status = ink_session_new(&fresh, p->model, &o, &e);
    const ink_span span = {fresh, t->tokens, t->n_past, 0, NULL};
    if (status == INK_OK) status = ink_eval(&span, 1, &e);
    check_error(p, status, &e);
    if (status == INK_OK)
        FUZZ_CHECK(memcmp(ink_session_logits(fresh, 0, NULL),
                          ink_session_logits(t->s, t->n_rows - 1, NULL),
                          N_VOCAB * sizeof(float)) == 0);
    FUZZ_CHECK(ink_session_free(fresh) == INK_OK);
}

// --- sessions ------------------------------------------------------------------------------------

static void free_slot(slot *t) {
    FUZZ_CHECK(ink_session_free(t->s) == INK_OK);
    memset(t, 0, sizeof *t);
}

static void op_new(program *p) {
    slot *t = next_slot(p);
    ink_error e = {0};
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.n_ctx = next_count(p, N_CTX);
    o.kv_type = next(p) % 3;
    o.n_batch = next_count(p, N_CTX);
    o.n_logits = next_count(p, 12);
    o.stream = next(p);
    const uint8_t odd = next(p);
    if (odd == 0xff) o.size = next_u32(p) % 64;
    if (odd == 0xfe) o.kv_type = next_u32(p);
    ink_session_options whole = {.size = o.size};
    memcpy(&whole, &o, o.size < sizeof o ? o.size : sizeof o); // what a shorter struct says
    if (o.size > sizeof o) return;                             // would read past it
    ink_session *s = NULL;
    const ink_status status = ink_session_new(&s, p->model, &o, &e);
    check_error(p, status, &e);
    FUZZ_CHECK((status == INK_OK) == (s != NULL));
    const bool fits = whole.n_ctx <= N_CTX && whole.kv_type < 3 && whole.n_batch <= 4096 &&
                      whole.n_logits <= (whole.n_ctx != 0 ? whole.n_ctx : N_CTX);
    if (o.size >= 4 && o.size % sizeof(void *) == 0 && !p->failing)
        FUZZ_CHECK((status == INK_OK) == fits);
    if (status != INK_OK) return;
    free_slot(t);
    t->s = s;
    t->o = whole;
    t->o.size = sizeof t->o;
    if (t->o.n_ctx == 0) t->o.n_ctx = N_CTX;
    if (t->o.n_logits == 0) t->o.n_logits = 1;
}

static void op_fork(program *p) {
    slot *from = next_slot(p), *to = next_slot(p);
    ink_error e = {0};
    ink_session *s = NULL;
    const ink_status status = ink_session_fork(from->s, &s, &e);
    check_error(p, status, &e);
    FUZZ_CHECK((status == INK_OK) == (s != NULL));
    FUZZ_CHECK(status == INK_OK || from->s == NULL || p->failing);
    if (status != INK_OK) return;
    if (to == from) {
        FUZZ_CHECK(ink_session_free(from->s) == INK_OK); // the child takes its place
    } else {
        free_slot(to);
        *to = *from;
    }
    to->s = s;
}

static void op_rewind(program *p) {
    slot *t = next_slot(p);
    const uint32_t n = next_count(p, N_CTX);
    const ink_status status = ink_session_rewind(t->s, n);
    if (t->s == NULL || n > t->n_past) {
        FUZZ_CHECK(status == INK_E_ARG);
        return;
    }
    FUZZ_CHECK(status == INK_OK);
    if (n != t->n_past) t->n_rows = 0;
    t->n_past = n;
}

// --- evaluation ----------------------------------------------------------------------------------

typedef struct eval_list {
    ink_span spans[6];
    slot *slots[6];
    ink_token tokens[6][MAX_SPAN];
    size_t n;
} eval_list;

static void next_spans(program *p, eval_list *l) {
    l->n = next(p) % 7;
    for (size_t i = 0; i < l->n; i++) {
        const uint8_t kind = next(p);
        l->slots[i] = kind >= 0xf8 ? next_slot(p) : &p->slots[(kind + i) % N_SLOTS];
        size_t n = next(p) % 12;
        if (n == 11) n = next(p) % (MAX_SPAN + 1);
        uint32_t token = next(p);
        for (size_t k = 0; k < n; k++) l->tokens[i][k] = (ink_token)((token += 37) % N_VOCAB);
        const uint8_t odd = next(p);
        if (odd == 0xff && n > 0) l->tokens[i][n - 1] = (ink_token)next_u32(p);
        l->spans[i] = (ink_span){l->slots[i]->s, odd == 0xfe ? NULL : l->tokens[i], n,
                                 odd & 1 ? INK_SPAN_ALL_LOGITS : 0, odd == 0xfc ? l : NULL};
    }
}

static bool spans_are_right(const eval_list *l) {
    for (size_t i = 0; i < l->n; i++) {
        const ink_span *s = &l->spans[i];
        const slot *t = l->slots[i];
        if (t->s == NULL || s->tokens == NULL || s->n_tokens == 0 || s->reserved) return false;
        for (size_t k = 0; k < i; k++)
            if (l->slots[k] == t) return false;
        for (size_t k = 0; k < s->n_tokens; k++)
            if (s->tokens[k] < 0 || s->tokens[k] >= N_VOCAB) return false;
        if (t->n_past + s->n_tokens > t->o.n_ctx) return false;
        if ((s->flags & INK_SPAN_ALL_LOGITS) && s->n_tokens > t->o.n_logits) return false;
    }
    return l->n > 0;
}

static void op_eval(program *p) {
    eval_list l = {.n = 0};
    ink_error e = {0};
    next_spans(p, &l);
    const ink_status status = ink_eval(l.spans, l.n, &e);
    check_error(p, status, &e);
    FUZZ_CHECK(status != INK_OK || spans_are_right(&l));
    if (spans_are_right(&l))
        FUZZ_CHECK(status == INK_OK || status == INK_E_NOMEM || status == INK_E_NUMERIC);
    for (size_t i = 0; i < l.n; i++) {
        slot *t = l.slots[i];
        if (status != INK_OK) {
            allow_lost_logits(t);
            continue;
        }
        const uint32_t n = (uint32_t)l.spans[i].n_tokens;
        memcpy(t->tokens + t->n_past, l.tokens[i], n * sizeof *t->tokens);
        t->n_past += n;
        t->n_rows = l.spans[i].flags & INK_SPAN_ALL_LOGITS ? n : 1;
    }
}

// --- samplers ------------------------------------------------------------------------------------

static void op_sampler_new(program *p) {
    static const char *const chains[] = {NULL,
                                         "greedy",
                                         "temp=0",
                                         "top_k=3;temp=2",
                                         "logit_bias=3:5;temp",
                                         "logit_bias=299:1000;greedy",
                                         "penalties=2,64,1,1;min_p=0.1",
                                         "top_p=0;temp=0.5",
                                         "logit_bias=64:1000,299:900;penalties=1,64,500;greedy",
                                         "no_such_step",
                                         "logit_bias=300:1"};
    ink_sampler **to = &p->samplers[next(p) % N_SAMPLERS];
    ink_error e = {0};
    ink_sampler_options o;
    ink_sampler_options_init(&o, sizeof o);
    const uint8_t chain = next(p) % (sizeof chains / sizeof *chains);
    o.seed_set = 1;
    o.seed = next(p);
    ink_sampler *made = NULL;
    const ink_status status = ink_sampler_new(&made, p->model, chains[chain], &o, &e);
    check_error(p, status, &e);
    FUZZ_CHECK((status == INK_OK) == (made != NULL));
    FUZZ_CHECK(status == INK_OK || chain >= 9 || p->failing);
    if (status != INK_OK) return;
    ink_sampler_free(*to);
    *to = made;
    FUZZ_CHECK(ink_sampler_seed(made) == o.seed);
}

static void op_sample(program *p) {
    slot *t = next_slot(p);
    const ink_sampler *sampler = p->samplers[next(p) % N_SAMPLERS];
    ink_token a = -7, b = -7;
    ink_error e = {0};
    const ink_status status = ink_sample(t->s, sampler, &a, &e);
    check_error(p, status, &e);
    if (status != INK_OK) {
        FUZZ_CHECK(a == -7);
        FUZZ_CHECK(p->failing || t->s == NULL || sampler == NULL || t->n_rows == 0);
        return;
    }
    FUZZ_CHECK(a >= 0 && a < N_VOCAB && t->n_rows > 0);
    FUZZ_CHECK(ink_sample(t->s, sampler, &b, &e) == INK_OK && a == b);
}

// --- generation ----------------------------------------------------------------------------------

typedef struct listener {
    program *p;
    slot *t;
    uint32_t n_calls, act_at, n_tokens;
    uint8_t act;
} listener;

// What is refused inside a callback, and what is not.
static void act(listener *l) {
    ink_session *s = l->t->s, *other = NULL;
    ink_token token = 1;
    const ink_span span = {s, &token, 1, 0, NULL};
    switch (l->act % 4) {
    case 1: ink_session_cancel(s); break;
    case 2:
        FUZZ_CHECK(ink_eval(&span, 1, NULL) == INK_E_REENTRANT);
        FUZZ_CHECK(ink_session_rewind(s, 0) == INK_E_REENTRANT);
        FUZZ_CHECK(ink_session_free(s) == INK_E_REENTRANT);
        FUZZ_CHECK(ink_session_fork(s, &other, NULL) == INK_E_REENTRANT && other == NULL);
        FUZZ_CHECK(ink_session_generate(s, "a", 1, NULL, NULL, NULL, NULL, NULL) ==
                   INK_E_REENTRANT);
        break;
    case 3:
        ink_model_unref(ink_model_ref(l->p->model));
        for (slot *t = l->p->slots; t < l->p->slots + N_SLOTS; t++)
            if (t != l->t) check_fresh(l->p, t);
        break;
    default: break;
    }
}

static int on_piece(void *user, const ink_piece *piece) {
    listener *l = user;
    FUZZ_CHECK(piece->bytes > 0 && piece->text[piece->bytes] == 0);
    FUZZ_CHECK(inki_utf8_count_invalid((const uint8_t *)piece->text, piece->bytes) == 0);
    FUZZ_CHECK(piece->token >= 0 && piece->token < N_VOCAB);
    // The end token has text in an echoed prompt only.
    FUZZ_CHECK(l->p->damaged || piece->n_tokens == 0 || piece->token != N_VOCAB - 1);
    for (uint32_t i = 0; i < piece->n_choices; i++)
        FUZZ_CHECK(piece->choices[i].n_top <= N_VOCAB && !(piece->choices[i].logprob > 0));
    FUZZ_CHECK(piece->n_tokens >= l->n_tokens);
    l->n_tokens = piece->n_tokens;
    if (l->n_calls++ != l->act_at) return 0;
    act(l);
    return l->act % 4 == 0;
}

static int on_prompt(void *user, uint32_t n_done, uint32_t n_total) {
    listener *l = user;
    FUZZ_CHECK(n_done > 0 && n_done <= n_total && n_total <= l->t->o.n_ctx);
    if (l->n_calls++ != l->act_at) return 0;
    act(l);
    return l->act % 4 == 0;
}

static void check_generated(const program *p, const slot *before, slot *t,
                            const ink_generate_options *o, ink_status status, const ink_result *r) {
    const bool keeps = (o->flags & INK_GENERATE_FRESH) == 0 && r->n_dropped == 0 &&
                       o->overflow == INK_OVERFLOW_ERROR;
    take_past(t);
    if (keeps)
        FUZZ_CHECK(t->n_past >= before->n_past &&
                   memcmp(t->tokens, before->tokens, before->n_past * sizeof *t->tokens) == 0);
    (void)p;
    if (status != INK_OK) return;
    FUZZ_CHECK(r->size == sizeof *r && strcmp(ink_stop_name(r->stop), "unknown") != 0);
    FUZZ_CHECK(r->n_generated <= o->n_tokens && r->n_reused <= r->n_prompt);
    FUZZ_CHECK(r->n_prompt <= t->o.n_ctx);
    if (o->overflow == INK_OVERFLOW_SLIDE) return;
    const uint32_t n = r->n_prompt + r->n_generated;
    const bool early = r->stop == INK_STOP_CALLBACK || r->stop == INK_STOP_CANCELLED;
    if (early && r->n_generated == 0)
        FUZZ_CHECK(keeps ? t->n_past == before->n_past || t->n_past == n : t->n_past <= n);
    else
        FUZZ_CHECK(t->n_past == n || ((early || r->stop == INK_STOP_STRING) && t->n_past + 1 == n));
}

static void op_generate(program *p) {
    static const char text[] =
        "the thing <|endoftext|> \xc3\xa9\xff and the other \xf0\x9f\x99\x82";
    static const char *const stops[] = {"e", "th", "\xc3\xa9", " a", "az", ""};
    slot *t = next_slot(p), before = *t;
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    const uint8_t flags = next(p);
    o.flags = flags & (31 | INK_GENERATE_ECHO | INK_GENERATE_EMBED);
    o.n_top_logprobs = flags & 32 ? 5 : 0;
    o.n_tokens = next_count(p, 20);
    if (o.n_tokens > 200) o.n_tokens = 200;
    o.overflow = next(p) % 3;
    o.n_keep = next_count(p, 8);
    o.sampler = p->samplers[next(p) % N_SAMPLERS];
    const uint8_t stop = next(p);
    o.stop = stops + stop % 6;
    o.n_stop = stop < 200 ? 0 : stop < 250 ? (stop % 6 == 5 ? 1 : 5 - stop % 6) : 1;
    listener l = {.p = p, .t = t, .act = next(p), .act_at = next(p) % 8};
    if (next(p) & 1) {
        o.progress = on_prompt;
        o.progress_user = &l;
    }
    const size_t bytes = next(p) % sizeof text;
    const uint8_t odd = next(p);
    if (odd == 0xff) o.overflow = next_u32(p);
    if (odd == 0xfe) {
        o.progress = NULL; // it could be inside of the size and its user not
        o.size = next(p) % sizeof o;
    }
    const bool was_failing = p->failing;
    ink_result r = {.size = odd == 0xfd ? next(p) % sizeof r : 0};
    ink_error e = {0};
    const ink_status status = ink_session_generate(t->s, bytes > 0 ? text : NULL, bytes, &o,
                                                   odd & 1 ? NULL : on_piece, &l, &r, &e);
    p->failing = was_failing;
    check_error(p, status, &e);
    if (t->s == NULL) {
        FUZZ_CHECK(status == INK_E_ARG);
        return;
    }
    if (odd >= 0xfd) // an odd struct says other things than `o`
        take_past(t);
    else
        check_generated(p, &before, t, &o, status, &r);
}

// --- text and the rest ---------------------------------------------------------------------------

static void op_text(program *p) {
    const uint8_t flags = next(p) & 3;
    const size_t n_bytes = next(p) % 24, left = p->bytes - p->at;
    const size_t bytes = n_bytes < left ? n_bytes : left;
    const char *text = (const char *)p->data + p->at;
    p->at += bytes;
    ink_token ids[24];
    char back[24];
    size_t n = 99, needed = 99, invalid = 99, n_back = 99;
    ink_status status = ink_tokenize(p->model, text, bytes, flags, NULL, 0, &needed, &invalid);
    if (flags & INK_TOKENIZE_STRICT)
        FUZZ_CHECK((status == INK_E_UTF8) ==
                   (inki_utf8_count_invalid((const uint8_t *)text, bytes) != 0));
    if (status != INK_OK) {
        FUZZ_CHECK(needed == 99 && invalid == 99);
        return;
    }
    FUZZ_CHECK(needed <= bytes);
    if (needed > 0) {
        status = ink_tokenize(p->model, text, bytes, flags, ids, needed - 1, &n, NULL);
        FUZZ_CHECK(status == INK_E_SPACE && n == needed);
    }
    FUZZ_CHECK(ink_tokenize(p->model, text, bytes, flags, ids, needed, &n, NULL) == INK_OK);
    FUZZ_CHECK(n == needed);
    status = ink_detokenize(p->model, ids, n, INK_DETOKENIZE_SPECIAL, back, sizeof back, &n_back);
    FUZZ_CHECK(status == INK_OK && n_back == bytes && memcmp(back, text, bytes) == 0);
    if (n > 0) {
        ids[n - 1] = (ink_token)next_u32(p);
        status = ink_detokenize(p->model, ids, n, 0, NULL, 0, &n_back);
        FUZZ_CHECK(status == (ids[n - 1] >= 0 && ids[n - 1] < N_VOCAB ? INK_OK : INK_E_TOKEN));
    }
}

static void op_other(program *p) {
    slot *t = next_slot(p);
    ink_model_info info = {.size = next(p) % (sizeof info + 1)};
    switch (next(p) % 4) {
    case 0: ink_session_cancel(t->s); break; // nothing runs: no effect
    case 1: free_slot(t); break;
    case 2: FUZZ_CHECK(ink_model_get_info(p->model, &info) == INK_OK); break;
    default: {
        ink_sampler **s = &p->samplers[next(p) % N_SAMPLERS];
        ink_sampler_free(*s);
        *s = NULL;
    }
    }
}

static void run_ops(program *p) {
    static void (*const ops[])(program *) = {op_new,    op_eval,     op_eval,   op_fork,
                                             op_rewind, op_generate, op_sample, op_sampler_new,
                                             op_text,   op_other};
    for (int i = 0; i < MAX_OPS && p->at < p->bytes; i++) {
        const uint8_t op = next(p);
        p->failing = op >= 0xc0; // the n-th allocation from here on fails
        if (p->failing)
            atomic_store(&p->heap.fail_at, atomic_load(&p->heap.n_allocs) + 1 + op / 10 % 8);
        ops[op % (sizeof ops / sizeof *ops)](p);
        atomic_store(&p->heap.fail_at, 0);
        p->failing = false;
        for (int s = 0; s < N_SLOTS; s++) check_slot(p, &p->slots[s]);
    }
}

static uint8_t *model_bytes;
static size_t n_model_bytes;

static void make_model(void) {
    tiny_model tiny = tiny_model_defaults();
    tiny.n_embd = tiny.n_ff = 16;
    tiny.n_layer = 1;
    tiny.n_ctx = N_CTX;
    tiny.n_vocab = N_VOCAB;
    model_bytes = tiny_model_bytes(&tiny, &n_model_bytes);
    FUZZ_CHECK(model_bytes != NULL);
}

// The model, with up to seven bytes of it changed. NULL: it did not open.
static void open_model(program *p, uint8_t *copy) {
    const uint8_t kind = next(p);
    const ink_allocator allocator = heap_allocator(&p->heap);
    ink_runtime_options ro;
    ink_runtime_options_init(&ro, sizeof ro);
    ro.n_threads = kind & 8 ? 2 : 1;
    ro.flags = INK_RUNTIME_OVERSUBSCRIBE;
    ro.allocator = &allocator;
    memcpy(copy, model_bytes, n_model_bytes);
    for (int i = 0; i < (kind & 7) && kind >= 0x80; i++) {
        p->damaged = true;
        copy[next_u32(p) % n_model_bytes] ^= next(p);
    }
    const ink_source source = {.size = sizeof source,
                               .kind = INK_SOURCE_MEMORY,
                               .flags = kind & 16 ? INK_SOURCE_COPY : 0,
                               .data = copy,
                               .bytes = n_model_bytes};
    ink_runtime *runtime = NULL;
    ink_error e = {0};
    FUZZ_CHECK(ink_runtime_new(&runtime, &ro, &e) == INK_OK);
    const ink_status status = ink_model_open(&p->model, runtime, &source, NULL, &e);
    check_error(p, status, &e);
    FUZZ_CHECK((status == INK_OK) == (p->model != NULL) && (status == INK_OK || p->damaged));
    ink_runtime_unref(runtime);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (model_bytes == NULL) make_model();
    program *p = calloc(1, sizeof *p);
    uint8_t *copy = malloc(n_model_bytes);
    FUZZ_CHECK(p != NULL && copy != NULL);
    p->data = data;
    p->bytes = bytes;
    open_model(p, copy);
    ink_model_info info = {0};
    if (p->model != NULL) FUZZ_CHECK(ink_model_get_info(p->model, &info) == INK_OK);
    // A vocabulary that was damaged into another round trip is the tokenizer's own affair.
    if (p->model != NULL && info.n_ctx == N_CTX && info.n_vocab == N_VOCAB) {
        run_ops(p);
        for (int s = 0; s < N_SLOTS; s++) check_fresh(p, &p->slots[s]);
    }
    const bool model_first = bytes & 1;
    if (model_first) ink_model_unref(p->model);
    for (size_t i = 0; i < N_SLOTS; i++) free_slot(&p->slots[(i + bytes) % N_SLOTS]);
    for (int i = 0; i < N_SAMPLERS; i++) ink_sampler_free(p->samplers[i]);
    if (!model_first) ink_model_unref(p->model);
    FUZZ_CHECK(atomic_load(&p->heap.live_blocks) == 0 && atomic_load(&p->heap.live_bytes) == 0);
    FUZZ_CHECK(atomic_load(&p->heap.wrong_releases) == 0);
    free(p);
    free(copy);
    return 0;
}
