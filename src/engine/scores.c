// SPDX-License-Identifier: MIT
// How likely given texts are: their tokens are evaluated as a prompt is, with a row of logits for
// each.
#include "engine/choices.h"
#include "engine/engine.h"
#include "engine/prefix_cache.h"

#include <string.h>

// Rows of logits that are worth having: behind it a pass is as fast a row as it gets, and the rows
// of a large vocabulary are megabytes.
enum { SCORE_ROWS = 32 };

typedef struct ending_score {
    double logprob;
    uint32_t n_tokens; // of context and ending, and of the end-of-text token before them
} ending_score;

typedef struct scoring {
    ink_session *s;
    inki_str context;
    ink_ending *endings; // [n]
    size_t n;
    uint32_t n_top;
    ink_score_fn fn;
    void *user;
    ink_error *error;
    inki_fp fp;
    // In one block:
    char *text; // [longest] context and ending
    size_t longest;
    ink_token *tokens;    // [1 + longest] the end-of-text token, then those of text
    ink_token *first;     // [1 + longest] the same of the context, then of ending 0
    ending_score *scores; // [n]
    ink_logprob top[INKI_MAX_TOP_LOGPROBS];
    uint32_t n_common; // tokens that all texts and the context begin with
    bool lone;         // there are none: all stand behind the end-of-text token
} scoring;

static ink_status check_endings(const ink_ending *endings, size_t n, size_t *longest,
                                ink_error *error) {
    if (endings == NULL || n == 0)
        return inki_fail(error, INK_E_ARG, "endings", 0, "there are none");
    *longest = 0;
    for (size_t i = 0; i < n; i++) {
        if (endings[i].text == NULL || endings[i].bytes == 0)
            return inki_fail(error, INK_E_ARG, "endings", 0, "ending %zu is empty", i);
        if (endings[i].reserved != NULL)
            return inki_fail(error, INK_E_UNSUPPORTED, "endings", 0,
                             "the reserved field of ending %zu is set", i);
        if (endings[i].bytes > *longest) *longest = endings[i].bytes;
    }
    return INK_OK;
}

static void carve_scoring(scoring *c, inki_arena *arena) {
    c->text = inki_arena_take(arena, c->longest, 1);
    c->tokens = inki_arena_take(arena, c->longest + 1, sizeof *c->tokens);
    c->first = inki_arena_take(arena, c->longest + 1, sizeof *c->first);
    c->scores = inki_arena_take(arena, c->n, sizeof *c->scores);
}

// Context and an ending (NULL: the context alone) as tokens, behind tokens[0].
static ink_status read_ending(scoring *c, const ink_ending *ending, uint32_t *n) {
    const size_t more = ending != NULL ? ending->bytes : 0;
    inki_encode_stats stats = {0};
    if (more > 0) memcpy(c->text + c->context.bytes, ending->text, more);
    const ink_status status =
        inki_tokenizer_encode(c->s->model->tokenizer, c->text, c->context.bytes + more, false,
                              c->tokens + 1, c->longest, &stats, c->error);
    *n = (uint32_t)stats.n_tokens;
    return status;
}

static uint32_t n_equal(const ink_token *a, const ink_token *b, uint32_t most) {
    uint32_t n = 0;
    while (n < most && a[n] == b[n]) n++;
    return n;
}

// Finds what all texts begin with, and that each of them fits. Nothing stands behind the last
// token, so it needs no position.
static ink_status read_all(scoring *c) {
    const int32_t end = inki_tokenizer_end(c->s->model->tokenizer);
    uint32_t n = 0, longest = 0;
    ink_status status = read_ending(c, NULL, &n);
    c->n_common = n;
    memcpy(c->first, c->tokens, (n + (size_t)1) * sizeof *c->first);
    for (size_t i = 0; i < c->n && status == INK_OK; i++) {
        status = read_ending(c, &c->endings[i], &n);
        c->scores[i] = (ending_score){.n_tokens = n};
        c->n_common = n_equal(c->first + 1, c->tokens + 1, n < c->n_common ? n : c->n_common);
        if (n > longest) longest = n;
    }
    if (status != INK_OK) return status;
    c->lone = c->n_common == 0;
    if (c->lone && end < 0)
        return inki_fail(c->error, INK_E_ARG, "context", 0,
                         "nothing stands before the endings, and the model has no end-of-text "
                         "token");
    c->first[0] = c->tokens[0] = end;
    if (longest - !c->lone > c->s->options.n_ctx)
        return inki_fail(c->error, INK_E_CONTEXT, NULL, 0,
                         "%u tokens of context and ending; the context holds %u", (unsigned)longest,
                         (unsigned)c->s->options.n_ctx);
    return INK_OK;
}

// Appends tokens [n] in pieces of what the session takes at once.
static ink_status append(scoring *c, const ink_token *tokens, uint32_t n) {
    ink_status status = INK_OK;
    for (uint32_t at = 0, piece; at < n && status == INK_OK; at += piece) {
        piece = n - at < c->s->options.n_batch ? n - at : c->s->options.n_batch;
        const ink_span span = {.session = c->s, .tokens = tokens + at, .n_tokens = piece};
        status = inki_eval_entered(&span, 1, c->error);
    }
    return status;
}

// `token` behind logits: adds to the score of ending `index`. False: the callback asked to stop.
static bool add_token(scoring *c, size_t index, ink_token token, const float *logits) {
    const size_t n_vocab = c->s->model->weights.n_vocab;
    const double total = inki_choices_total(logits, n_vocab);
    const double logprob = (double)logits[token] - total;
    c->scores[index].logprob += logprob;
    if (c->fn == NULL) return true;
    ink_choice choice = {.token = token, .logprob = (float)logprob};
    choice.n_top = inki_choices_best(c->top, c->n_top, logits, n_vocab, total);
    if (choice.n_top > 0) choice.top = c->top;
    const inki_str piece = inki_tokenizer_piece(c->s->model->tokenizer, token);
    inki_fp_hosts(&c->fp);
    const int stop = c->fn(c->user, index, &choice, piece.data, piece.bytes);
    inki_fp_ours(&c->fp);
    return stop == 0;
}

// The token before the ending is evaluated again with it: so the row of logits behind it needs no
// keeping from one ending to the next.
static ink_status score_ending(scoring *c, size_t index) {
    ink_session *s = c->s;
    const size_t n_vocab = s->model->weights.n_vocab;
    uint32_t n = 0;
    ink_status status = read_ending(c, &c->endings[index], &n);
    if (status != INK_OK) return status;
    const ink_token *tokens = c->tokens + !c->lone; // where the timeline begins
    n += c->lone;
    uint32_t at = c->n_common - !c->lone;
    inki_rewind_entered(s, at);
    while (at + 1 < n && status == INK_OK) {
        const uint32_t left = n - 1 - at, most = s->options.n_logits;
        const uint32_t piece = left < most ? left : most;
        const ink_span span = {s, tokens + at, piece, INK_SPAN_ALL_LOGITS, NULL};
        status = inki_eval_entered(&span, 1, c->error);
        for (uint32_t i = 0; i < piece && status == INK_OK; i++)
            if (!add_token(c, index, tokens[at + i + 1], s->logits + i * n_vocab))
                status = inki_fail(c->error, INK_E_CANCELLED, NULL, 0, "stopped by the callback");
        at += piece;
    }
    return status;
}

// What the cache holds of the context already is not evaluated again.
static ink_status score_all(scoring *c) {
    ink_session *s = c->s;
    const uint32_t before = c->n_common - !c->lone;
    const ink_token *tokens = c->first + !c->lone;
    if (before > 0) inki_prefix_attach(s, tokens, before);
    const uint32_t n = n_equal(s->tokens, tokens, before < s->n_cached ? before : s->n_cached);
    inki_rewind_entered(s, n);
    ink_status status = append(c, tokens + n, before - n);
    if (status == INK_OK) inki_prefix_insert(s);
    for (size_t i = 0; i < c->n && status == INK_OK; i++) status = score_ending(c, i);
    if (s->n_past > before) inki_rewind_entered(s, before);
    // As a new session, but for what its cache knows of the context.
    inki_session_forget_from(s, 0);
    s->n_past = s->n_rows = 0;
    s->n_forgotten = 0;
    return status;
}

// A session made for fewer rows than a pass is worth gets some for the time being.
static ink_status with_rows(scoring *c) {
    ink_session *s = c->s;
    const size_t n_vocab = s->model->weights.n_vocab;
    float *const own = s->logits;
    const uint32_t n_own = s->options.n_logits;
    uint32_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        const uint32_t rows = c->scores[i].n_tokens - c->n_common;
        if (rows > n) n = rows;
    }
    if (n > SCORE_ROWS) n = SCORE_ROWS;
    if (n <= n_own) return score_all(c);
    float *rows = inki_alloc(&s->mem, n, n_vocab * sizeof *rows);
    if (rows == NULL) return inki_fail_nomem(c->error, n * n_vocab * sizeof *rows);
    s->logits = rows;
    s->options.n_logits = n;
    const ink_status status = score_all(c);
    s->logits = own;
    s->options.n_logits = n_own;
    inki_release(&s->mem, rows, n, n_vocab * sizeof *rows);
    return status;
}

static ink_status score_entered(scoring *c) {
    ink_session *s = c->s;
    size_t more = 0;
    ink_status status = check_endings(c->endings, c->n, &more, c->error);
    if (status != INK_OK) return status;
    if (c->n_top > INKI_MAX_TOP_LOGPROBS)
        return inki_fail(c->error, INK_E_LIMIT, "n_top", 0, "is %u; the most is %d",
                         (unsigned)c->n_top, INKI_MAX_TOP_LOGPROBS);
    if (c->context.bytes > INT32_MAX || more > INT32_MAX - c->context.bytes)
        return inki_fail(c->error, INK_E_LIMIT, NULL, 0, "over 2^31 - 1 bytes of text");
    c->longest = c->context.bytes + more;
    inki_arena arena = {0};
    carve_scoring(c, &arena);
    const size_t bytes = arena.overflow ? SIZE_MAX : arena.used;
    void *block = inki_alloc(&s->mem, bytes, 1);
    if (block == NULL) return inki_fail_nomem(c->error, bytes);
    arena = (inki_arena){.base = block};
    carve_scoring(c, &arena);
    if (c->context.bytes > 0) memcpy(c->text, c->context.data, c->context.bytes);
    status = read_all(c);
    if (status == INK_OK) status = with_rows(c);
    for (size_t i = 0; i < c->n && status == INK_OK; i++) {
        c->endings[i].logprob = c->scores[i].logprob;
        c->endings[i].n_tokens = c->scores[i].n_tokens - c->n_common;
        c->endings[i].first_token = c->n_common;
    }
    inki_release(&s->mem, block, bytes, 1);
    return status;
}

ink_status ink_session_score(ink_session *session, const char *context, size_t bytes,
                             ink_ending *endings, size_t n, uint32_t n_top, ink_score_fn fn,
                             void *user, ink_error *error) {
    if (context == NULL && bytes > 0) return inki_fail(error, INK_E_ARG, "context", 0, "is NULL");
    ink_status status = inki_session_enter(session, error);
    if (status != INK_OK) return status;
    scoring c = {.s = session,
                 .context = {context, bytes},
                 .endings = endings,
                 .n = n,
                 .n_top = n_top,
                 .fn = fn,
                 .user = user,
                 .error = error};
    inki_fp_ours(&c.fp);
    status = score_entered(&c);
    inki_fp_hosts(&c.fp);
    inki_session_leave(session);
    return status;
}
