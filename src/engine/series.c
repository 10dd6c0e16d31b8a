// SPDX-License-Identifier: MIT
//
// What the stream holds is a function of the text, so it is enough to know how many bytes at its
// end were not given out: they go through a new stream, which holds them again.
#include "engine/series.h"

#include "engine/follow.h"
#include "engine/tell.h"

#include "tokenizer/heal.h"

#include <string.h>

bool inki_series_is_cut(const inki_run *g, size_t bytes) {
    const ink_session *s = g->s;
    return s->is_cut && bytes == 0 && g->o.n_prompt_tokens == 0 &&
           (g->o.flags & INK_GENERATE_FRESH) == 0;
}

static inki_str spoken_piece(const inki_run *g, uint32_t at) {
    const inki_tokenizer *tokenizer = g->s->model->tokenizer;
    inki_str piece = inki_tokenizer_piece(tokenizer, g->timeline[at]);
    if (inki_tokenizer_is_special(tokenizer, g->timeline[at])) piece.bytes = 0;
    return piece;
}

// The last `bytes` bytes of the timeline's text begin *skip bytes inside of the token returned.
// What a sliding context has forgotten is missing.
static uint32_t token_with(const inki_run *g, uint64_t bytes, size_t *skip) {
    uint32_t at = g->n_timeline;
    uint64_t n = 0;
    while (at > 0 && n < bytes) n += spoken_piece(g, --at).bytes;
    *skip = n > bytes ? (size_t)(n - bytes) : 0;
    return at;
}

// What is pending although nothing was said is the prompt's tail: it is written again, as it would
// have been in one call. A token that did only that is then chosen once more.
static ink_status heal_again(inki_run *g) {
    const inki_tokenizer *tokenizer = g->s->model->tokenizer;
    const uint32_t n = g->n_timeline, first = n - g->s->n_pending;
    size_t bytes = 0;
    for (uint32_t i = first; i < n; i++) bytes += spoken_piece(g, i).bytes;
    if (bytes == 0 || first == 0) return INK_OK;
    const ink_status status = inki_run_need_heal(g, bytes);
    if (status != INK_OK) return status;
    bytes = 0;
    for (uint32_t i = first; i < n; i++) {
        const inki_str piece = spoken_piece(g, i);
        memcpy(g->heal + bytes, piece.data, piece.bytes);
        bytes += piece.bytes;
    }
    // A file may hold what no token begins with.
    if (inki_tokenizer_with_prefix(tokenizer, (char *)g->heal, bytes, g->allowed) == 0)
        return INK_OK;
    g->restricted = true;
    g->n_heal = g->n_series_skip = bytes;
    g->n_timeline = g->n_prompt = g->n_series_from = first;
    return inki_prompt_set_context(g);
}

ink_status inki_series_read(inki_run *g) {
    const ink_session *s = g->s;
    const uint32_t n = g->n_timeline;
    size_t skip = 0;
    if (s->n_series == 0) {
        const ink_status status = heal_again(g);
        if (status != INK_OK || g->restricted) return status;
    }
    g->n_series_from = token_with(g, s->n_series, &g->n_series_skip);
    g->n_prompt = token_with(g, s->n_unsaid, &skip);
    skip = g->n_series_skip;
    for (uint32_t i = g->n_series_from; i < n && !g->failed; i++, skip = 0) {
        const inki_str piece = spoken_piece(g, i);
        g->n_timeline = i + 1;
        inki_follow_spoken(g, (inki_str){piece.data + skip, piece.bytes - skip});
    }
    g->n_timeline = n;
    return g->failed ? g->status : inki_prompt_set_context(g);
}

void inki_series_resume(inki_run *g) {
    const uint32_t n = g->n_timeline;
    size_t skip = 0;
    uint32_t at = token_with(g, g->s->n_unsaid, &skip);
    if (skip > 0 && g->o.filter != NULL) {
        const inki_str said = {spoken_piece(g, at).data, skip};
        const ink_status status = inki_text_stream_context(&g->stream, said, g->error);
        if (status != INK_OK) inki_run_fail(g, status);
    }
    for (; at < n && !g->stopped && !g->failed; at++, skip = 0) {
        g->n_timeline = at + 1;
        g->last = g->timeline[at];
        g->r.n_generated++;
        g->n_resumed++;
        inki_tell_choice(g, spoken_piece(g, at).bytes - skip, false);
        if (!g->failed) inki_run_speak(g, skip);
        // Nothing that was held can be complete; a file may say otherwise.
        if (g->n_timeline != at + 1) return;
    }
}

static bool was_cut(const inki_run *g) {
    if (g->failed) return true;
    switch (g->r.stop) {
    case INK_STOP_LENGTH:
    case INK_STOP_CALLBACK:
    case INK_STOP_CANCELLED:
    case INK_STOP_DEADLINE:
    case INK_STOP_CONTEXT: return true;
    default: return false;
    }
}

// Nothing was chosen yet: the prompt's tail that was to be written again stands as it was.
static bool keep_tail(inki_run *g) {
    if (!g->restricted || g->n_timeline != g->n_prompt) return true;
    inki_encode_stats stats;
    const size_t room = g->s->options.n_ctx - g->n_timeline;
    const ink_status status =
        inki_tokenizer_encode(g->s->model->tokenizer, (const char *)g->heal, g->n_heal, false,
                              g->timeline + g->n_timeline, room, &stats, NULL);
    if (status != INK_OK || stats.n_tokens > room) return false;
    g->n_timeline += (uint32_t)stats.n_tokens;
    return true;
}

bool inki_series_keep(inki_run *g) {
    ink_session *s = g->s;
    if ((g->o.flags & INK_GENERATE_CONTINUE) == 0 || !g->begun || !was_cut(g)) return false;
    if ((!g->prefilled && !g->resumes) || !keep_tail(g)) return false;
    const uint32_t n_mu = s->n_mu;
    uint32_t equal = 0; // a context that slid is not evaluated anew yet
    while (equal < s->n_past && equal < g->n_timeline && s->tokens[equal] == g->timeline[equal])
        equal++;
    if (equal < s->n_past) inki_rewind_entered(s, equal);
    const uint64_t before = g->resumes ? s->n_series - s->n_unsaid : 0;
    s->n_unsaid = g->stream.n_held;
    s->n_series = before + g->stream.n_given + g->stream.n_held;
    s->n_pending = g->n_timeline - s->n_past;
    if (s->n_pending > 0) {
        memcpy(s->tokens + s->n_past, g->timeline + s->n_past, s->n_pending * sizeof *s->tokens);
        if (s->n_cached > s->n_past) inki_rewind_entered(s, s->n_past);
    }
    // The choice of what is pending has told mirostat where the next one stands.
    s->n_mu = n_mu <= s->n_past ? n_mu : s->n_past + 1;
    s->is_cut = true;
    return true;
}
