// SPDX-License-Identifier: MIT
// A guess is worth its row in a pass if it is likely enough to be chosen. How likely is learnt for
// each kind of guess: by the length of the match that the text drafts from and by what followed in
// other places like it, or by the lead that a drafting model gives its choice. What a pass of so
// many rows costs is learnt too.
#include "engine/draft.h"
#include "engine/draft_index.h"

#include <math.h>
#include <string.h>

// LEADS: kinds of guesses of a drafting model.
enum {
    KINDS = 24,
    LEADS = 12,
    FIRST_PAUSE = 32,
    LONGEST_PAUSE = 512,
    PLAIN_FIRST = 2,
    PLAIN_AFTER = 64
};

struct inki_draft {
    inki_mem mem;
    size_t block_bytes;
    ink_session *small; // the drafting model's; NULL: the text drafts
    inki_draft_index index;
    bool always, broken;
    // The last guesses: what followed the first `at` tokens, the last of which was `last`.
    uint32_t at, n_guesses;
    ink_token last, guesses[INKI_DRAFT_MAX];
    uint8_t kinds[INKI_DRAFT_MAX];
    float right[KINDS], tried[KINDS];
    // A pass of n + 1 rows takes one_row * (1 + second + another * (n - 1)) ms; one_row 0: not
    // known.
    float one_row, second, another;
    uint32_t n_plain;    // steps without guesses that one_row was taken from at first
    uint32_t n_passes;   // of more than one row, that these were learnt from
    uint32_t n_in_a_row; // of those, since there was a plain step
    // Not paying: so many times it did not draft, and how many times it will not.
    uint32_t n_declined, pause;
    float step_cost;   // ms of the drafting model for a token
    float own_cost;    // ms that the last proposal took; 0: none was tried
    float made, spent; // tokens of passes that a drafting model took part in, and their ms
};

// How likely guesses of the text's kinds are until it is known better, in per cent: means of forty
// sources, tables and texts.
static const uint8_t chance_of_kind[KINDS] = {21, 17, 34, 61, 44, 57, 58, 34, 70, 80, 82, 93,
                                              73, 45, 77, 87, 92, 96, 80, 55, 85, 92, 95, 98};

// --- creation ------------------------------------------------------------------------------------

ink_status inki_draft_check(const ink_session_options *o, const ink_model *model,
                            ink_error *error) {
    if (o->draft == NULL) return INK_OK;
    const ink_status status = inki_model_need_all(o->draft, error);
    if (status != INK_OK) return status;
    const inki_tokenizer *ours = model->tokenizer, *theirs = o->draft->tokenizer;
    const uint32_t n = inki_tokenizer_n_vocab(ours), m = inki_tokenizer_n_vocab(theirs);
    if (n != m)
        return inki_fail(error, INK_E_ARG, "draft", 0, "has %u tokens; the model has %u",
                         (unsigned)m, (unsigned)n);
    for (int32_t id = 0; id < (int32_t)n; id++) {
        const inki_str a = inki_tokenizer_piece(ours, id), b = inki_tokenizer_piece(theirs, id);
        if (a.bytes != b.bytes || memcmp(a.data, b.data, a.bytes) != 0)
            return inki_fail(error, INK_E_ARG, "draft", 0,
                             "token %d is \"%.*s\"; that of the model is \"%.*s\"", (int)id,
                             b.bytes < 40 ? (int)b.bytes : 40, b.data,
                             a.bytes < 40 ? (int)a.bytes : 40, a.data);
        if (inki_tokenizer_is_special(ours, id) != inki_tokenizer_is_special(theirs, id))
            return inki_fail(error, INK_E_ARG, "draft", 0,
                             "token %d is special in one of the models only", (int)id);
    }
    return INK_OK;
}

// A timeline may be one token over the context.
static void carve_draft(inki_draft *d, inki_arena *arena, const ink_session_options *o) {
    inki_arena_take(arena, 1, sizeof *d);
    if (o->draft == NULL) inki_draft_index_carve(&d->index, arena, o->n_ctx + 1);
}

static ink_status small_options(ink_session_options *out, const ink_session_options *o,
                                ink_error *error) {
    const inki_weights *w = &o->draft->weights;
    *out = (ink_session_options){.size = sizeof *out,
                                 .n_ctx = o->n_ctx < w->n_ctx ? o->n_ctx : w->n_ctx,
                                 .kv_type = o->kv_type,
                                 .stream = o->stream};
    return inki_session_options_complete(out, w, error);
}

ink_status inki_draft_bytes(const ink_session_options *o, const inki_weights *weights,
                            uint64_t *heap, uint64_t *kv, ink_error *error) {
    (void)weights;
    uint64_t session = 0, pages = 0;
    inki_draft unused;
    inki_arena arena = {0};
    carve_draft(&unused, &arena, o);
    if (o->draft != NULL) {
        ink_session_options small;
        ink_status status = small_options(&small, o, error);
        if (status == INK_OK)
            status = inki_session_bytes(&o->draft->weights, &small, &session, &pages, error);
        if (status != INK_OK) return status;
    }
    *heap = session + arena.used;
    *kv = pages;
    return INK_OK;
}

ink_status inki_draft_new(inki_draft **out, const ink_session_options *o, ink_model *model,
                          ink_error *error) {
    inki_draft measured;
    inki_arena arena = {0};
    carve_draft(&measured, &arena, o);
    const size_t bytes = arena.used;
    inki_draft *d = inki_alloc(&model->mem, bytes, 1);
    if (d == NULL) return inki_fail_nomem(error, bytes);
    memset(d, 0, sizeof *d);
    arena = (inki_arena){.base = (uint8_t *)d};
    carve_draft(d, &arena, o);
    d->mem = model->mem;
    d->block_bytes = bytes;
    d->always = (o->flags & INK_SESSION_DRAFT_ALWAYS) != 0;
    d->pause = FIRST_PAUSE;
    d->second = 0.03F;
    d->another = 0.07F;
    for (int i = 0; i < KINDS; i++) {
        d->tried[i] = 4;
        d->right[i] = o->draft != NULL ? 4.0F * (float)(i + 1) / (LEADS + 1)
                                       : 0.04F * (float)chance_of_kind[i];
    }
    ink_status status = INK_OK;
    if (o->draft != NULL) {
        ink_session_options small;
        status = small_options(&small, o, error);
        if (status == INK_OK) status = inki_session_make(&d->small, o->draft, &small, true, error);
    }
    if (status != INK_OK) {
        inki_draft_free(d);
        return status;
    }
    *out = d;
    return INK_OK;
}

void inki_draft_free(inki_draft *d) {
    if (d == NULL) return;
    ink_session_free(d->small);
    const inki_mem mem = d->mem;
    inki_release(&mem, d, d->block_bytes, 1);
}

// --- what is known -------------------------------------------------------------------------------

// The chance that a guess of this kind is chosen, where those before it are.
static float chance(const inki_draft *d, uint32_t i) {
    return d->right[d->kinds[i]] / d->tried[d->kinds[i]];
}

// What became of the last guesses, whether a pass had them or not: the text tells. Forgets slowly,
// so that some thirty guesses count.
static void judge(inki_draft *d, const ink_token *tokens, uint32_t n) {
    if (n <= d->at || d->at == 0 || tokens[d->at - 1] != d->last) d->n_guesses = 0;
    for (uint32_t i = 0; i < d->n_guesses && d->at + i < n; i++) {
        const bool right = tokens[d->at + i] == d->guesses[i];
        float *tried = &d->tried[d->kinds[i]], *hits = &d->right[d->kinds[i]];
        *tried = *tried * 0.97F + 1;
        *hits = *hits * 0.97F + (right ? 1.0F : 0.0F);
        if (!right) break;
    }
    d->n_guesses = 0;
}

// What a pass with so many guesses costs, of one without. The second row may cost more than later
// ones: a pass of one is as fast as memory.
static float cost_of(const inki_draft *d, uint32_t n) {
    return n == 0 ? 1 : 1 + d->second + d->another * (float)(n - 1);
}

static float positive(float x) { return x < 0.001F ? 0.001F : x; }

// Other programs make a pass longer than it is, hardly ever shorter: what took longer than expected
// counts for less. The first passes tell what another row costs, later ones correct it little: it
// belongs to machine and model, whereas a row's time goes up and down with what else runs.
void inki_draft_learn(inki_draft *d, uint32_t n_drafted, uint32_t n_accepted, double ms) {
    if (n_drafted > INKI_DRAFT_MAX || !(ms > 0)) return;
    const float now = (float)ms;
    d->n_in_a_row = n_drafted > 0 ? d->n_in_a_row + 1 : 0;
    if (d->own_cost > 0) {
        d->made = 0.9F * d->made + (float)(n_accepted + 1);
        d->spent = 0.9F * d->spent + now + d->own_cost;
        d->own_cost = 0;
    }
    // One step may have been a slow one.
    if (d->n_plain < PLAIN_FIRST) {
        if (n_drafted > 0) return;
        if (d->n_plain++ == 0 || now < d->one_row) d->one_row = now;
        return;
    }
    if (now < d->one_row) d->one_row = now; // more rows do not take less
    const float cost = cost_of(d, n_drafted);
    float error = now / (d->one_row * cost) - 1;
    if (n_drafted > 0) {
        const float n = (float)(n_drafted - 1);
        float gain = d->n_passes < 20 ? 1 / (1.0F + (float)d->n_passes) : 0.05F;
        if (error > 0) gain *= 0.5F;
        if (d->n_passes++ > 3 && error > 1) error = 1;
        // The shortest way to numbers that say what this pass took.
        const float step = gain * error * cost / (1 + n * n);
        d->second = positive(d->second + step);
        d->another = positive(d->another + step * n);
    }
    if (error > 1) error = 1;
    d->one_row *= 1 + (n_drafted > 0 ? 0.1F : 0.3F) * (error < 0 ? 1 : 0.5F) * error;
}

// Whether it is time to try again although it does not pay as far as is known.
static bool tries_again(inki_draft *d) {
    if (++d->n_declined < d->pause) return false;
    d->n_declined = 0;
    if (d->pause < LONGEST_PAUSE) d->pause *= 2;
    return true;
}

// How many of the first n guesses make a pass give most tokens for its time; 0: none.
static uint32_t worthwhile(inki_draft *d, uint32_t n) {
    float likely = 1, expected = 1, best = 0, best_expected = 0;
    uint32_t count = 0;
    // Now and then a plain step, for what it costs.
    if (d->n_plain < PLAIN_FIRST || d->n_in_a_row == PLAIN_AFTER) return 0;
    for (uint32_t i = 0; i < n; i++) {
        likely *= chance(d, i);
        expected += likely;
        const float gain = expected / cost_of(d, i + 1);
        if (gain <= best) continue;
        best = gain;
        best_expected = expected;
        count = i + 1;
    }
    if (best > 1.03F) {
        d->n_declined = 0;
        d->pause = FIRST_PAUSE;
        return count;
    }
    // What is likely is told by the text at no cost; what a pass costs only by a pass, which then
    // counts for much.
    if (best_expected <= 1.3F || !tries_again(d)) return 0;
    d->n_passes = 1;
    return count < 2 && n > 1 ? 2 : count;
}

// --- the text drafts -----------------------------------------------------------------------------

// It may reach into what is guessed: a repetition shorter than the draft.
static ink_token token_at(const inki_draft *d, const ink_token *tokens, uint32_t n, uint32_t i) {
    return i < n ? tokens[i] : d->guesses[i - n];
}

// A row for each length of the match. In it: no other place says anything; of the weight of those
// that do, a small, a middle, a large part says the same; all of it; all of it, and they are many.
static uint8_t kind_of_match(uint32_t match, uint32_t n_same, uint32_t same, uint32_t other) {
    const int row = (match > 1) + (match > 3) + (match > 8);
    int column = 0;
    if (other > 0)
        column = 1 + (2 * same >= other) + (same > 2 * other + 1);
    else if (same > 0)
        column = 4 + (n_same > 2);
    return (uint8_t)(6 * row + column);
}

static uint32_t propose_text(inki_draft *d, const ink_token *tokens, uint32_t n, uint32_t most) {
    inki_draft_places places;
    inki_draft_index_set(&d->index, tokens, n);
    // The first place guesses. The others confirm it or not, as long as they went on like it.
    const uint32_t match = inki_draft_index_find(&d->index, &places);
    if (match == 0) return 0;
    for (uint32_t i = 0; i < most; i++) {
        uint32_t n_same = 0, same = 0, other = 0, left = 1;
        d->guesses[i] = token_at(d, tokens, n, places.from[0] + i);
        for (uint32_t k = 1; k < places.n; k++) {
            const uint32_t less = match - places.match[k], weight = less > 1 ? 1 : 4 - 2 * less;
            if (token_at(d, tokens, n, places.from[k] + i) != d->guesses[i]) {
                other += weight;
                continue;
            }
            same += weight;
            n_same++;
            places.from[left] = places.from[k];
            places.match[left++] = places.match[k];
        }
        places.n = left;
        d->kinds[i] = kind_of_match(match + i, n_same, same, other);
    }
    const uint32_t count = d->always ? most : worthwhile(d, most);
    d->n_guesses = count > 0 ? count : 1;
    return count;
}

// --- a model drafts ------------------------------------------------------------------------------

static bool parent_interrupted(const void *session) {
    return inki_session_was_interrupted(session);
}

// Its most likely token, and by how much more likely it is than the next one. To choose as the
// session does, with the same chain and random numbers, was accepted less often.
static void choose_small(inki_draft *d, uint32_t i) {
    const float *row = d->small->row;
    const uint32_t n_vocab = d->small->model->weights.n_vocab;
    float best = row[0], next = -INFINITY;
    d->guesses[i] = 0;
    for (uint32_t k = 1; k < n_vocab; k++) {
        if (row[k] <= next) continue;
        if (row[k] <= best) {
            next = row[k];
            continue;
        }
        next = best;
        best = row[k];
        d->guesses[i] = (ink_token)k;
    }
    const float lead = 2 * (best - next);
    d->kinds[i] = lead < LEADS - 1 ? (uint8_t)lead : LEADS - 1;
}

static bool eval_small(inki_draft *d, const ink_token *tokens, uint32_t n) {
    const ink_span span = {d->small, tokens, n, 0, NULL};
    const double start = inki_os_now_ms();
    const ink_status status = inki_eval_entered(&span, 1, NULL);
    if (n == 1 && status == INK_OK) {
        const float ms = (float)(inki_os_now_ms() - start);
        d->step_cost += d->step_cost == 0 ? ms : 0.25F * (ms - d->step_cost);
    }
    // Numbers that are not finite will not be so next time.
    if (status == INK_E_NUMERIC) d->broken = true;
    return status == INK_OK;
}

static bool small_pays(inki_draft *d) {
    if (d->always) return true;
    if (d->one_row == 0) return false;
    // It begins with some credit: one bad guess says little.
    if (d->spent == 0) d->made = 10, d->spent = 8 * d->one_row;
    if (d->made * d->one_row >= d->spent) {
        d->n_declined = 0;
        d->pause = FIRST_PAUSE;
        return true;
    }
    if (!tries_again(d)) return false;
    d->made *= 0.25F;
    d->spent *= 0.25F;
    return true;
}

// Whether a guess that is chosen with a chance of `likely` brings more than the time for its row
// and for drafting it brings otherwise.
static bool one_more(const inki_draft *d, uint32_t n, float likely, float drafting) {
    if (d->always) return true;
    const float otherwise =
        d->made > 0 && d->made * d->one_row > d->spent ? d->made / d->spent : 1 / d->one_row;
    return likely > otherwise * (drafting + d->one_row * (cost_of(d, n + 1) - cost_of(d, n)));
}

static uint32_t propose_small(inki_draft *d, const ink_session *parent, const ink_token *tokens,
                              uint32_t n, uint32_t most) {
    ink_session *s = d->small;
    if (d->broken || n >= s->options.n_ctx || !small_pays(d)) return 0;
    if (most > s->options.n_ctx - n) most = s->options.n_ctx - n;
    s->interrupted = parent_interrupted;
    s->interrupted_arg = parent;
    s->n_threads = parent->n_threads;
    double start = inki_os_now_ms();
    inki_session_go_to(s, tokens, n);
    // What it missed of the text it has to read once, whatever it then brings.
    const bool behind = s->n_past + 2 < n;
    while (s->n_past < n) {
        const uint32_t left = n - s->n_past, batch = s->options.n_batch;
        if (!eval_small(d, tokens + s->n_past, left < batch ? left : batch)) return 0;
    }
    if (behind) start = inki_os_now_ms() - (double)d->step_cost;
    float likely = 1;
    uint32_t count = 0;
    while (count < most) {
        choose_small(d, count);
        d->n_guesses = count + 1;
        likely *= chance(d, count);
        if (!one_more(d, count, likely, 0)) break;
        count++;
        if (count == most || !one_more(d, count, likely, d->step_cost)) break;
        if (!eval_small(d, &d->guesses[count - 1], 1)) break;
    }
    d->own_cost = (float)(inki_os_now_ms() - start);
    return count;
}

uint32_t inki_draft_propose(inki_draft *d, const ink_session *session, const ink_token *tokens,
                            uint32_t n, uint32_t most, ink_token *out) {
    if (most > INKI_DRAFT_MAX) most = INKI_DRAFT_MAX;
    if (n == 0 || n > session->options.n_ctx || most == 0) return 0;
    judge(d, tokens, n);
    d->at = n;
    d->last = tokens[n - 1];
    const uint32_t count = d->small != NULL ? propose_small(d, session, tokens, n, most)
                                            : propose_text(d, tokens, n, most);
    memcpy(out, d->guesses, count * sizeof *out);
    return count;
}
