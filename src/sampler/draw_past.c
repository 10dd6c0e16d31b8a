// SPDX-License-Identifier: MIT
#include "sampler/draw.h"

#include <float.h>
#include <math.h>

void inki_step_logit_bias(inki_draw_state *d) {
    const inki_chain *chain = d->chain;
    inki_draw_spread(d);
    for (size_t i = 0; i < chain->n_bias; i++) {
        float *logit = inki_draw_own(d) + chain->bias[i].token;
        if (*logit == -INFINITY) continue;
        const float bias = chain->bias[i].bias;
        *logit = bias == -INFINITY ? bias : inki_finite_logit((double)*logit + (double)bias);
    }
}

// multiplier * base ^ over
static double dry_penalty(const ink_sampler_options *o, uint32_t over) {
    double penalty = (double)o->dry_multiplier;
    while (over-- > 0 && penalty < (double)FLT_MAX) penalty *= (double)o->dry_base;
    return penalty;
}

// Steps that look at the past mark tokens of it: a number for each id.
static uint32_t *mark_of(const inki_draw_state *d, int32_t id) {
    return id >= 0 && (uint32_t)id < d->in->n_vocab ? (uint32_t *)(void *)d->c + id : NULL;
}

static void begin_marks(inki_draw_state *d, const int32_t *window, size_t n) {
    inki_draw_spread(d);
    for (size_t i = 0; i < n; i++) {
        uint32_t *mark = mark_of(d, window[i]);
        if (mark != NULL) *mark = 0;
    }
}

static float marked_logit(const inki_draw_state *d, inki_step step, inki_candidate c,
                          uint32_t mark);

// What is marked gets its new logit.
static void settle_marks(inki_draw_state *d, inki_step step, const int32_t *window, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t *mark = mark_of(d, window[i]);
        if (mark == NULL || *mark == 0) continue;
        float *logit = inki_draw_own(d) + window[i];
        if (*logit != -INFINITY)
            *logit = marked_logit(d, step, (inki_candidate){*logit, window[i]}, *mark);
        *mark = 0;
    }
}

// Source: llama.cpp's penalties sampler, after Keskar et al., "CTRL", 2019 (repeat) and OpenAI's
// definition of the other two.
void inki_step_penalties(inki_draw_state *d) {
    const inki_draw *in = d->in;
    const uint32_t last_n = d->chain->o.penalty_last_n;
    if (in->n_history == 0) return;
    const size_t n = in->n_history < last_n ? in->n_history : last_n;
    const int32_t *window = in->history + (in->n_history - n);
    begin_marks(d, window, n);
    for (size_t i = 0; i < n; i++) { // the mark is how often it stands there
        uint32_t *mark = mark_of(d, window[i]);
        if (mark != NULL && *mark < UINT32_MAX) ++*mark;
    }
    settle_marks(d, INKI_STEP_PENALTIES, window, n);
}

// How many of the tokens behind each place of the window are those at its end, by Z's algorithm
// over the reversed window: every token is looked at twice at most. Lengths are counted up to
// `longest` (at most INKI_CHAIN_ECHO_MAX), for no more of them are kept. Where it is at least
// `shortest`, the token that came next is marked with the length + 1. False: none is.
// Source: Gusfield, "Algorithms on Strings, Trees, and Sequences", 1997, section 1.3.
static bool mark_echoes(inki_draw_state *d, const int32_t *window, size_t n, size_t longest,
                        size_t shortest, size_t last) {
    uint16_t lengths[INKI_CHAIN_ECHO_MAX];
    size_t left = 0, right = 0; // the match that reaches farthest
    bool any = false;
    for (size_t k = 1; k <= last; k++) {
        size_t length = 0;
        if (k < right) length = lengths[k - left] < right - k ? lengths[k - left] : right - k;
        while (length < longest && k + length < n &&
               window[n - 1 - length] == window[n - 1 - k - length])
            length++;
        if (k + length > right) {
            left = k;
            right = k + length;
        }
        if (k < longest) lengths[k] = (uint16_t)length;
        if (length < shortest) continue;
        if (!any) begin_marks(d, window, n);
        any = true;
        uint32_t *mark = mark_of(d, window[n - k]);
        if (mark != NULL && *mark <= length) *mark = (uint32_t)length + 1;
    }
    return any;
}

static inki_str token_bytes(const inki_draw *in, int32_t id) {
    if (id < 0 || (uint32_t)id >= in->n_vocab) return (inki_str){"", 0};
    return in->texts->piece(in->texts->arg, id);
}

// Where the text of tokens [n], from byte `from` of token i on, is `breaker`: the token that its
// last byte belongs to; n: it is another text.
static size_t breaker_end(const inki_draw *in, const int32_t *tokens, size_t n, size_t i,
                          size_t from, inki_str breaker) {
    inki_str text = token_bytes(in, tokens[i]);
    for (size_t k = 0; k < breaker.bytes; k++) {
        while (from == text.bytes) {
            if (++i == n) return n;
            text = token_bytes(in, tokens[i]);
            from = 0;
        }
        if (text.data[from++] != breaker.data[k]) return n;
    }
    return i;
}

// How many tokens stand behind the last breaker in tokens [n]; n: there is none.
static size_t behind_breaker(const inki_draw_state *d, const int32_t *tokens, size_t n) {
    if (d->in->texts == NULL) return n;
    for (size_t i = n; i-- > 0;)
        for (size_t from = token_bytes(d->in, tokens[i]).bytes; from-- > 0;) {
            const uint8_t *at = d->chain->breakers, *end = at + d->chain->breakers_bytes;
            for (; at < end; at += 1 + *at) {
                const inki_str breaker = {(const char *)at + 1, *at};
                const size_t stop = breaker_end(d->in, tokens, n, i, from, breaker);
                if (stop < n) return n - 1 - stop;
            }
        }
    return n;
}

// A token that would go on with a repetition is the less likely the longer that is. No repetition
// reaches over a breaker, and a token that holds a whole one is left alone.
// Source: https://github.com/oobabooga/text-generation-webui/pull/5677 ("don't repeat yourself")
// and llama.cpp's sampler.
void inki_step_dry(inki_draw_state *d) {
    const ink_sampler_options *o = &d->chain->o;
    const inki_draw *in = d->in;
    const size_t n = in->n_history < o->dry_last_n ? in->n_history : o->dry_last_n;
    if (n <= o->dry_allowed_length) return;
    const int32_t *window = in->history + (in->n_history - n);
    const size_t near = n < INKI_CHAIN_ECHO_MAX ? n : INKI_CHAIN_ECHO_MAX;
    const size_t longest = behind_breaker(d, window + (n - near), near);
    if (mark_echoes(d, window, n, longest, o->dry_allowed_length, n - 1))
        settle_marks(d, INKI_STEP_DRY, window, n);
}

// What would make n tokens stand there a second time is ruled out.
// Source: Paulus et al., "A Deep Reinforced Model for Abstractive Summarization", 2017.
void inki_step_no_repeat_ngram(inki_draw_state *d) {
    const size_t n = d->in->n_history, before = d->chain->o.no_repeat_ngram - 1;
    if (n == 0) return;
    if (mark_echoes(d, d->in->history, n, before, before, n))
        settle_marks(d, INKI_STEP_NO_REPEAT_NGRAM, d->in->history, n);
}

static float marked_logit(const inki_draw_state *d, inki_step step, inki_candidate c,
                          uint32_t mark) {
    const ink_sampler_options *o = &d->chain->o;
    double logit = (double)c.logit;
    if (step == INKI_STEP_NO_REPEAT_NGRAM) return -INFINITY;
    if (step == INKI_STEP_DRY) {
        if (d->chain->breakers_bytes > 0 && behind_breaker(d, &c.id, 1) == 0) return c.logit;
        return inki_finite_logit(logit - dry_penalty(o, mark - 1 - o->dry_allowed_length));
    }
    const double repeat = (double)o->repeat_penalty;
    logit = logit > 0.0 ? logit / repeat : logit * repeat;
    return inki_finite_logit(logit - (double)mark * (double)o->frequency_penalty -
                             (double)o->presence_penalty);
}
