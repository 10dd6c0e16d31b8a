// SPDX-License-Identifier: MIT
#include "engine/generate_run.h"

#include "base/utf8.h"

#include <string.h>

// --- from text to timeline -----------------------------------------------------------------------

enum { SHORT_PROMPT_BYTES = 4096 };

static bool may_cut(const inki_run *g) { return g->o.overflow != INK_OVERFLOW_ERROR; }

// Room for the past and n more tokens, and for what a sliding context keeps.
static ink_status make_timeline(inki_run *g, uint32_t n_past, size_t n) {
    size_t cap = n_past + n + 1;
    if (g->o.overflow == INK_OVERFLOW_SLIDE && cap <= g->s->options.n_ctx)
        cap = (size_t)g->s->options.n_ctx + 1;
    g->timeline = inki_alloc(&g->s->mem, cap, sizeof *g->timeline);
    if (g->timeline == NULL) return inki_fail_nomem(g->error, cap * sizeof *g->timeline);
    g->timeline_cap = cap;
    memcpy(g->timeline, g->s->tokens, n_past * sizeof *g->timeline);
    return INK_OK;
}

// A timeline that does not fit, or that leaves no room to go on, loses what follows the first
// n_keep tokens. As much is cut as the tokens to come need, at most half of the context.
static ink_status fit(inki_run *g, size_t n) {
    const uint32_t n_ctx = g->s->options.n_ctx;
    const bool too_long = n > n_ctx || (may_cut(g) && n == n_ctx && g->o.n_tokens > 0);
    if (!too_long) {
        g->n_timeline = (uint32_t)n;
        return INK_OK;
    }
    if (!may_cut(g))
        return inki_fail(g->error, INK_E_CONTEXT, "prompt", 0, "%zu tokens; the context holds %u",
                         n, (unsigned)n_ctx);
    uint32_t room = g->o.n_tokens > 0 ? g->o.n_tokens : 1;
    if (room > n_ctx / 2) room = n_ctx / 2;
    const uint32_t limit = n_ctx - room;
    if (g->o.n_keep >= limit)
        return inki_fail(g->error, INK_E_ARG, "n_keep", 0,
                         "%u tokens to keep; at most %u fit beside the text to come",
                         (unsigned)g->o.n_keep, (unsigned)(limit - 1));
    const size_t tail = limit - g->o.n_keep;
    memmove(g->timeline + g->o.n_keep, g->timeline + n - tail, tail * sizeof *g->timeline);
    g->r.n_dropped = (uint32_t)(n - limit);
    g->n_timeline = limit;
    return INK_OK;
}

static ink_status check_options(const inki_run *g) {
    const uint32_t known = INK_GENERATE_FRESH | INK_GENERATE_SPECIAL | INK_GENERATE_STRICT |
                           INK_GENERATE_LOGPROBS | INK_GENERATE_NO_END;
    const ink_status status = inki_flags_check(g->o.flags, known, "ink_generate_options", g->error);
    if (status != INK_OK) return status;
    if (g->o.overflow > INK_OVERFLOW_SLIDE)
        return inki_fail(g->error, INK_E_ARG, "overflow", 0, "unknown number %u",
                         (unsigned)g->o.overflow);
    if (g->o.overflow == INK_OVERFLOW_SLIDE && (uint64_t)g->o.n_keep + 2 > g->s->options.n_ctx)
        return inki_fail(g->error, INK_E_ARG, "n_keep", 0,
                         "%u tokens to keep in a context of %u leave nothing to slide",
                         (unsigned)g->o.n_keep, (unsigned)g->s->options.n_ctx);
    return INK_OK;
}

ink_status inki_prompt_read(inki_run *g, const char *text, size_t bytes) {
    const inki_tokenizer *tokenizer = g->s->model->tokenizer;
    const bool special = (g->o.flags & INK_GENERATE_SPECIAL) != 0;
    const uint32_t n_past = g->o.flags & INK_GENERATE_FRESH ? 0 : g->s->n_past;
    inki_encode_stats stats = {0};
    ink_status status = check_options(g);
    if (status == INK_OK && (g->o.flags & INK_GENERATE_STRICT) &&
        inki_utf8_count_invalid((const uint8_t *)text, bytes) != 0)
        status = inki_fail(g->error, INK_E_UTF8, "prompt", 0, "is not UTF-8");
    // No text has more tokens than bytes. A long one is counted first, rather than reserve a token
    // for each of its bytes.
    size_t room = bytes;
    if (status == INK_OK && bytes > SHORT_PROMPT_BYTES) {
        status = inki_tokenizer_encode(tokenizer, text, bytes, special, NULL, 0, &stats, g->error);
        room = stats.n_tokens;
    }
    if (status == INK_OK) status = make_timeline(g, n_past, room);
    if (status == INK_OK)
        status = inki_tokenizer_encode(tokenizer, text, bytes, special, g->timeline + n_past, room,
                                       &stats, g->error);
    if (status != INK_OK) return status;
    g->r.n_invalid = (uint32_t)stats.n_invalid;
    size_t n = n_past + stats.n_tokens;
    if (n == 0) {
        const int32_t end = inki_tokenizer_end(tokenizer);
        if (end < 0)
            return inki_fail(g->error, INK_E_ARG, "prompt", 0,
                             "is empty, and the model has no end-of-text token");
        g->timeline[n++] = end;
    }
    return fit(g, n);
}

// --- from timeline to cache ----------------------------------------------------------------------

// How much of the timeline need not be evaluated. The last token's logits must be there in the end,
// so unless they still are, that token is evaluated again.
static uint32_t reusable(const inki_run *g) {
    const ink_session *s = g->s;
    uint32_t n = 0;
    while (n < s->n_past && n < g->n_timeline && s->tokens[n] == g->timeline[n]) n++;
    const bool logits_held = n == g->n_timeline && n == s->n_past && s->n_rows > 0;
    return n == g->n_timeline && !logits_held ? n - 1 : n;
}

static bool report_prompt(inki_run *g) {
    if (g->o.progress == NULL) return true;
    inki_fp_hosts(g->fp);
    const int stop = g->o.progress(g->o.progress_user, g->s->n_past, g->n_timeline);
    inki_fp_ours(g->fp);
    return stop == 0;
}

ink_status inki_prompt_evaluate(inki_run *g) {
    ink_session *s = g->s;
    const uint32_t reused = reusable(g);
    // What is evaluated again must not be lost if that fails: a page that a fork shares would be
    // let go by the rewind.
    if (reused + 1 == s->n_past && s->n_past == g->n_timeline) {
        const ink_status status = inki_kv_own(&s->kv, s->n_past, g->error);
        if (status != INK_OK) return status;
    }
    inki_rewind_entered(s, reused);
    while (s->n_past < g->n_timeline) {
        const uint32_t left = g->n_timeline - s->n_past;
        const ink_span span = {.session = s,
                               .tokens = g->timeline + s->n_past,
                               .n_tokens = left < s->options.n_batch ? left : s->options.n_batch};
        const ink_status status = inki_eval_entered(&span, 1, g->error);
        if (status == INK_E_CANCELLED)
            inki_run_stop(g, INK_STOP_CANCELLED);
        else if (status != INK_OK)
            return status;
        else if (!report_prompt(g))
            inki_run_stop(g, INK_STOP_CALLBACK);
        else if (s->n_past < g->n_timeline)
            inki_run_interrupted(g);
        if (g->stopped) break;
    }
    g->r.n_reused = reused;
    return INK_OK;
}

ink_status inki_prompt_slide(inki_run *g, ink_token token) {
    ink_session *s = g->s;
    const uint32_t tail = (s->options.n_ctx - g->o.n_keep) / 2; // the new token included
    const uint32_t dropped = s->n_past + 1 - g->o.n_keep - tail;
    memcpy(g->timeline, s->tokens, g->o.n_keep * sizeof *g->timeline);
    memcpy(g->timeline + g->o.n_keep, s->tokens + s->n_past - (tail - 1),
           (tail - 1) * sizeof *g->timeline);
    g->n_timeline = g->o.n_keep + tail;
    g->timeline[g->n_timeline - 1] = token;
    const uint32_t reused = g->r.n_reused; // that figure is about the prompt
    const ink_status status = inki_prompt_evaluate(g);
    g->r.n_reused = reused;
    s->n_forgotten += dropped;
    return status;
}
