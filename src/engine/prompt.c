// SPDX-License-Identifier: MIT
#include "engine/follow.h"
#include "engine/series.h"

#include "base/utf8.h"
#include "tokenizer/heal.h"

#include <string.h>

enum { SHORT_PROMPT_BYTES = 4096 };

static bool may_cut(const inki_run *g) { return g->o.overflow != INK_OVERFLOW_ERROR; }

// Room for the past and n more tokens, and for a full context with the token that makes it slide.
static ink_status make_timeline(inki_run *g, uint32_t n_past, size_t n) {
    size_t cap = n_past + n + 1;
    if (cap <= g->s->options.n_ctx) cap = (size_t)g->s->options.n_ctx + 1;
    cap += g->s->options.n_draft;
    const ink_status status = inki_run_need_timeline(g, cap);
    if (status != INK_OK) return status;
    memcpy(g->timeline, g->s->tokens, n_past * sizeof *g->timeline);
    return INK_OK;
}

// A timeline that does not fit, or that leaves no room to go on, loses what follows the first
// n_keep tokens. As much is cut as the tokens to come need, at most half of the context.
static ink_status fit(inki_run *g, size_t n) {
    const uint32_t n_ctx = g->s->options.n_ctx;
    const bool full = n == n_ctx && g->o.n_tokens > 0 && !g->resumes; // that one slides later
    const bool too_long = n > n_ctx || (may_cut(g) && full);
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

ink_status inki_prompt_check(const ink_generate_options *o, const char *text, size_t bytes,
                             ink_error *error) {
    const uint32_t known = INK_GENERATE_FRESH | INK_GENERATE_SPECIAL | INK_GENERATE_STRICT |
                           INK_GENERATE_LOGPROBS | INK_GENERATE_NO_END | INK_GENERATE_HEAL |
                           INK_GENERATE_ECHO | INK_GENERATE_EMBED | INK_GENERATE_CONTINUE |
                           INK_GENERATE_EMBED_LAST;
    const ink_status status = inki_flags_check(o->flags, known, "ink_generate_options", error);
    if (status != INK_OK) return status;
    const uint32_t whole = o->flags & (INK_GENERATE_ECHO | INK_GENERATE_EMBED);
    if (whole != 0 && (o->flags & INK_GENERATE_FRESH) == 0)
        return inki_fail(error, INK_E_ARG, "ink_generate_options", 0,
                         "ECHO and EMBED look at the whole past and need FRESH");
    if ((whole & INK_GENERATE_ECHO) && (o->flags & INK_GENERATE_HEAL))
        return inki_fail(error, INK_E_ARG, "ink_generate_options", 0,
                         "HEAL takes back what ECHO gives out: one of them only");
    if (o->n_top_logprobs > INKI_MAX_TOP_LOGPROBS)
        return inki_fail(error, INK_E_LIMIT, "n_top_logprobs", 0, "is %u; the most is %d",
                         (unsigned)o->n_top_logprobs, INKI_MAX_TOP_LOGPROBS);
    if (o->n_prompt_tokens > INT32_MAX)
        return inki_fail(error, INK_E_LIMIT, "prompt_tokens", 0, "are %zu; at most 2^31 - 1",
                         o->n_prompt_tokens);
    if (o->n_prompt_tokens > 0 && o->prompt_tokens == NULL)
        return inki_fail(error, INK_E_ARG, "prompt_tokens", 0, "is NULL");
    if (o->overflow > INK_OVERFLOW_SLIDE)
        return inki_fail(error, INK_E_ARG, "overflow", 0, "unknown number %u",
                         (unsigned)o->overflow);
    if ((o->flags & INK_GENERATE_STRICT) &&
        inki_utf8_count_invalid((const uint8_t *)text, bytes) != 0)
        return inki_fail(error, INK_E_UTF8, "prompt", 0, "is not UTF-8");
    return INK_OK;
}

static ink_status check_keep(const inki_run *g) {
    if (g->o.overflow == INK_OVERFLOW_SLIDE && (uint64_t)g->o.n_keep + 2 > g->s->options.n_ctx)
        return inki_fail(g->error, INK_E_ARG, "n_keep", 0,
                         "%u tokens to keep in a context of %u leave nothing to slide",
                         (unsigned)g->o.n_keep, (unsigned)g->s->options.n_ctx);
    return INK_OK;
}

// The last bytes of the prompt are to be written again, by a token that begins with them.
static ink_status set_heal(inki_run *g, const char *tail, size_t n_tail) {
    if (n_tail == 0) return INK_OK;
    const ink_status status = inki_run_need_heal(g, n_tail);
    if (status != INK_OK) return status;
    memcpy(g->heal, tail, n_tail);
    g->n_heal = n_tail;
    g->restricted = true;
    inki_tokenizer_with_prefix(g->s->model->tokenizer, tail, n_tail, g->allowed);
    return INK_OK;
}

ink_status inki_prompt_set_context(inki_run *g) {
    if (g->o.filter == NULL) return INK_OK;
    const inki_tokenizer *tokenizer = g->s->model->tokenizer;
    const size_t reach = inki_filter_reach(g->o.filter);
    uint32_t first = g->n_prompt;
    for (size_t bytes = 0; first > 0 && bytes < reach; first--) {
        if (inki_tokenizer_is_special(tokenizer, g->timeline[first - 1])) break;
        bytes += inki_tokenizer_piece(tokenizer, g->timeline[first - 1]).bytes;
    }
    ink_status status = INK_OK;
    for (uint32_t i = first; i < g->n_prompt && status == INK_OK; i++)
        status = inki_text_stream_context(
            &g->stream, inki_tokenizer_piece(tokenizer, g->timeline[i]), g->error);
    const inki_str tail = {(const char *)g->heal, g->n_heal};
    return status == INK_OK ? inki_text_stream_context(&g->stream, tail, g->error) : status;
}

// The prompt's ids and its text as one text. *out: allocated.
static ink_status prompt_text(const inki_run *g, inki_str text, char **out, size_t *bytes) {
    const ink_generate_options *o = &g->o;
    size_t n = 0;
    ink_status status = ink_detokenize(g->s->model, o->prompt_tokens, o->n_prompt_tokens,
                                       INK_DETOKENIZE_SPECIAL, NULL, 0, &n);
    if (status != INK_OK) return status;
    char *all = inki_alloc(&g->s->mem, n + text.bytes, 1);
    if (all == NULL && n + text.bytes > 0) return inki_fail_nomem(g->error, n + text.bytes);
    if (n > 0)
        ink_detokenize(g->s->model, o->prompt_tokens, o->n_prompt_tokens, INK_DETOKENIZE_SPECIAL,
                       all, n, &n);
    if (text.bytes > 0) memcpy(all + n, text.data, text.bytes);
    *out = all;
    *bytes = n + text.bytes;
    return INK_OK;
}

static ink_status check_prompt_filter(const inki_run *g, const char *text, size_t bytes) {
    if (g->o.filter == NULL) return INK_OK;
    size_t at = 0, length = 0;
    if (g->o.n_prompt_tokens == 0) {
        ink_filter_find(g->o.filter, text, bytes, &at, &length);
    } else {
        char *all = NULL;
        size_t n = 0;
        const ink_status status = prompt_text(g, (inki_str){text, bytes}, &all, &n);
        if (status != INK_OK) return status;
        ink_filter_find(g->o.filter, all, n, &at, &length);
        inki_release(&g->s->mem, all, n, 1);
    }
    if (length == 0) return INK_OK;
    return inki_fail(g->error, INK_E_FILTERED, "prompt", at,
                     "holds a listed phrase, %zu bytes at byte %zu", length, at);
}

static ink_status encode(inki_run *g, inki_str text, ink_token *out, size_t cap,
                         inki_encode_stats *stats, size_t *n_tail) {
    const inki_tokenizer *tokenizer = g->s->model->tokenizer;
    const bool special = (g->o.flags & INK_GENERATE_SPECIAL) != 0;
    *n_tail = 0;
    if (g->o.flags & INK_GENERATE_HEAL)
        return inki_tokenizer_encode_healed(tokenizer, text.data, text.bytes, special, out, cap,
                                            stats, n_tail, g->error);
    return inki_tokenizer_encode(tokenizer, text.data, text.bytes, special, out, cap, stats,
                                 g->error);
}

// Allocates the timeline and puts the prompt's ids and the text's tokens behind the first n_past.
static ink_status read_text(inki_run *g, inki_str text, uint32_t n_past, inki_encode_stats *stats,
                            size_t *n_tail) {
    const size_t n_ids = g->o.n_prompt_tokens, before = n_past + n_ids;
    // No text has more tokens than bytes. A long one is counted first, rather than reserve a token
    // for each of its bytes.
    size_t room = text.bytes;
    ink_status status = INK_OK;
    if (room > SHORT_PROMPT_BYTES) {
        status = encode(g, text, NULL, 0, stats, n_tail);
        // What is taken back may have to be put back.
        room = stats->n_tokens + INKI_HEAL_MAX_TOKENS;
    }
    if (status == INK_OK) status = make_timeline(g, n_past, n_ids + room);
    if (status != INK_OK) return status;
    if (n_ids > 0) memcpy(g->timeline + n_past, g->o.prompt_tokens, n_ids * sizeof *g->timeline);
    status = encode(g, text, g->timeline + before, room, stats, n_tail);
    // What was taken back needs a token to stand on.
    if (status == INK_OK && *n_tail > 0 && before + stats->n_tokens == 0 &&
        inki_tokenizer_end(g->s->model->tokenizer) < 0) {
        g->o.flags &= ~(uint32_t)INK_GENERATE_HEAL;
        status = encode(g, text, g->timeline, room, stats, n_tail);
    }
    return status;
}

static ink_status check_prompt_tokens(const inki_run *g) {
    const uint32_t n_vocab = g->s->model->weights.n_vocab;
    for (size_t i = 0; i < g->o.n_prompt_tokens; i++) {
        const ink_token token = g->o.prompt_tokens[i];
        if (token < 0 || (uint32_t)token >= n_vocab)
            return inki_fail(g->error, INK_E_TOKEN, "prompt_tokens", i,
                             "token %d at %zu; the vocabulary has %u", (int)token, i,
                             (unsigned)n_vocab);
    }
    return INK_OK;
}

ink_status inki_prompt_read(inki_run *g, const char *text, size_t bytes) {
    g->resumes = inki_series_is_cut(g, bytes);
    uint32_t n_past = g->o.flags & INK_GENERATE_FRESH ? 0 : g->s->n_past;
    if (g->resumes) n_past += g->s->n_pending;
    inki_encode_stats stats = {0};
    size_t n_tail = 0;
    ink_status status = inki_prompt_check(&g->o, text, bytes, g->error);
    if (status == INK_OK) status = check_keep(g);
    if (status == INK_OK) status = check_prompt_tokens(g);
    if (status == INK_OK) status = check_prompt_filter(g, text, bytes);
    if (status == INK_OK) status = read_text(g, (inki_str){text, bytes}, n_past, &stats, &n_tail);
    if (status != INK_OK) return status;
    g->r.n_invalid = (uint32_t)stats.n_invalid;
    size_t n = n_past + g->o.n_prompt_tokens + stats.n_tokens;
    if (n == 0) {
        const int32_t end = inki_tokenizer_end(g->s->model->tokenizer);
        if (end < 0)
            return inki_fail(g->error, INK_E_ARG, "prompt", 0,
                             "is empty, and the model has no end-of-text token");
        g->timeline[n++] = end;
    }
    status = fit(g, n);
    g->n_prompt = g->n_series_from = g->n_timeline;
    if (status == INK_OK && g->resumes) return inki_series_read(g);
    if (status == INK_OK) status = set_heal(g, text + bytes - n_tail, n_tail);
    if (status == INK_OK) status = inki_prompt_set_context(g);
    g->n_series_skip = g->n_heal;
    return status;
}

ink_status inki_prompt_set(inki_run *g, const ink_token *tokens, uint32_t n, inki_str text,
                           size_t n_tail) {
    ink_status status = inki_prompt_check(&g->o, NULL, 0, g->error);
    if (status == INK_OK) status = check_keep(g);
    if (status == INK_OK) status = make_timeline(g, 0, n);
    if (status != INK_OK) return status;
    memcpy(g->timeline, tokens, n * sizeof *tokens);
    g->n_timeline = g->n_prompt = g->n_series_from = n;
    status = set_heal(g, text.data + text.bytes - n_tail, n_tail);
    if (status != INK_OK || g->o.filter == NULL) return status;
    const size_t reach = inki_filter_reach(g->o.filter);
    const size_t before = text.bytes < reach ? text.bytes : reach;
    const inki_str seen = {text.data + text.bytes - before, before};
    return inki_text_stream_context(&g->stream, seen, g->error);
}

// What is known of places in the timeline moves with them. Where the first new token is forgotten,
// all that stands where it was moved to can be taken back, but never the last token there is.
static void move_places(inki_run *g, uint32_t from, uint32_t n_dropped) {
    uint32_t n_bans = 0;
    for (size_t i = 0; i < g->n_bans; i++)
        if (g->bans[i].at >= from)
            g->bans[n_bans++] = (inki_ban){g->bans[i].at - n_dropped, g->bans[i].token};
    g->n_bans = n_bans;
    const bool keeps_series = g->n_series_from >= from;
    if (!keeps_series) g->n_series_skip = 0;
    g->n_series_from = keeps_series ? g->n_series_from - n_dropped : 0;
    if (g->n_prompt >= from) {
        g->n_prompt -= n_dropped;
        return;
    }
    g->n_prompt = g->o.n_keep > 0 ? g->o.n_keep : 1;
    g->n_heal = 0;
    g->restricted = false;
    g->r.n_generated -= g->n_rewritten;
    g->n_rewritten = 0;
}

void inki_prompt_slide(inki_run *g) {
    const uint32_t n = g->n_timeline, n_keep = g->o.n_keep;
    const uint32_t tail = (g->s->options.n_ctx - n_keep) / 2;
    memmove(g->timeline + n_keep, g->timeline + n - tail, tail * sizeof *g->timeline);
    g->n_timeline = n_keep + tail;
    move_places(g, n - tail, n - g->n_timeline);
    inki_follow_slid(g, n - g->n_timeline);
    g->s->n_forgotten += n - g->n_timeline;
}
