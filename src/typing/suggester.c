// SPDX-License-Identifier: MIT
// From the window of the text to suggestions, one evaluation at a time.
#include "tokenizer/heal.h"
#include "typing/typing_parts.h"
#include "typing/words.h"

#include <math.h>
#include <string.h>

enum { ROWS = 64, HEAL_ROOM = 256, MORE_HELD = 4 };

// --- one branch ----------------------------------------------------------------------------------

// All text of a branch so far, with what its stream holds back, in one piece behind `text`.
static size_t whole_text(inki_branch *b) {
    const inki_text_stream *ts = &b->run.stream;
    memcpy(b->text + b->bytes, ts->bytes + ts->n_before, ts->n_held);
    return b->bytes + ts->n_held;
}

static bool is_refused(const inki_suggester *s, uint64_t word) {
    for (uint32_t i = 0; i < s->n_refused; i++)
        if (s->refused[i] == word) return true;
    return false;
}

static bool fits(const ink_typing *t, const inki_branch *b, size_t more) {
    return b->bytes + more < t->text_room;
}

typedef struct branch_of {
    ink_typing *typing;
    uint32_t index;
} branch_of;

// The first word ends before byte `end` of the branch's text; how probable the tokens up to there
// are together ranks it. They are counted from the front: what the last tokens added may still be
// on its way to the text.
static void know_first_word(inki_branch *b, size_t end) {
    const inki_run *run = &b->run;
    const inki_tokenizer *tokenizer = run->s->model->tokenizer;
    const uint32_t n = run->n_timeline - run->n_prompt;
    b->first_known = true;
    b->first_logprob = 0;
    size_t bytes = 0;
    for (uint32_t i = 0; i < n && i <= INKI_TYPING_TOKENS && bytes < end; i++) {
        const ink_token token = run->timeline[run->n_prompt + i];
        b->first_logprob += b->logprobs[i];
        if (inki_tokenizer_is_special(tokenizer, token)) continue;
        bytes += inki_tokenizer_piece(tokenizer, token).bytes - (i == 0 ? run->n_heal : 0);
    }
}

// The first word is looked at as soon as it is complete: one that was refused is taken back at the
// token that completed it.
static uint32_t look_at_first_word(void *arg, const inki_run *run) {
    ink_typing *t = arg;
    inki_suggester *s = t->s;
    inki_branch *b = s->branches;
    while (&b->run != run) b++;
    const uint32_t n = run->r.n_generated;
    if (n > 1 && n <= INKI_TYPING_TOKENS + 1) b->logprobs[n - 1] = run->logprob;
    // The filter may have taken back the first word that was known.
    if (run->r.n_taken_back != b->n_taken_back) b->first_known = false;
    b->n_taken_back = run->r.n_taken_back;
    if (b->first_known || !fits(t, b, run->stream.n_held)) return 0;
    const size_t bytes = whole_text(b);
    bool whole = false;
    inki_words_first(b->text, bytes, &whole);
    if (!whole && !run->stopped) return 0;
    size_t end = 0;
    b->first_word = inki_typing_first_word(b->text, bytes, &end);
    if (b->first_word != 0 && is_refused(s, b->first_word))
        return inki_run_tokens_behind(run, bytes - end + 1);
    know_first_word(b, end);
    if (t->o.filter == NULL && s->n_refused == 0)
        b->run.o.flags &= ~(uint32_t)INK_GENERATE_LOGPROBS;
    b->run.stream.hold = false;
    return 0;
}

static int collect(void *user, const ink_piece *piece) {
    const branch_of *of = user;
    ink_typing *t = of->typing;
    inki_branch *b = &t->s->branches[of->index];
    if (!fits(t, b, piece->bytes)) {
        b->cut = true;
        return 1;
    }
    memcpy(b->text + b->bytes, piece->text, piece->bytes);
    b->bytes += piece->bytes;
    size_t end = 0;
    if (!inki_words_until(b->text, b->bytes, t->o.until, &end)) return 0;
    b->bytes = end;
    b->cut = true;
    return 1;
}

ink_generate_options inki_suggester_options(const ink_typing *t, uint32_t n_tokens) {
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.flags = INK_GENERATE_FRESH;
    if (t->o.n_alternatives > 1) o.flags |= INK_GENERATE_LOGPROBS;
    o.n_tokens = n_tokens;
    o.deadline_ms = t->o.deadline_ms;
    o.stop = t->stops.list;
    o.n_stop = t->stops.n;
    o.filter = t->o.filter;
    o.no_repeat_ngram = t->o.no_repeat_ngram;
    return o;
}

ink_status inki_branch_begin(ink_typing *t, uint32_t i, uint32_t n_tokens,
                             const inki_beginning *first, bool whole_tail, ink_error *error) {
    inki_suggester *s = t->s;
    inki_branch *b = &s->branches[i];
    const ink_generate_options o = inki_suggester_options(t, n_tokens);
    b->bytes = 0;
    b->used = true;
    b->over = b->cut = b->first_known = false;
    b->first_word = 0;
    b->span.n_tokens = 0;
    ink_status status = inki_run_begin(&b->run, b->session, &o, s->chain, s->updated_ms, error);
    const inki_str text = {s->text, s->n_before + s->n_text};
    if (status == INK_OK)
        status = inki_prompt_set(&b->run, s->tokens, s->n_tokens + whole_tail, text,
                                 whole_tail ? 0 : s->n_tail);
    if (status != INK_OK) return status;
    b->run.stream.hold = b->run.holds = s->n_refused > 0;
    b->n_taken_back = 0;
    if (first == NULL) return INK_OK;
    memset(b->run.allowed, 0, b->run.allowed_words * sizeof *b->run.allowed);
    b->run.allowed[first->token / 64] = 1ull << first->token % 64;
    b->run.restricted = true;
    b->logprobs[0] = first->logprob;
    return INK_OK;
}

// --- a revision ----------------------------------------------------------------------------------

// A copy of what the field says. False: it has closed, or wants nothing.
static bool take_field(ink_typing *t, ink_error *error, ink_status *status) {
    inki_suggester *s = t->s;
    *status = INK_OK;
    inki_lock_take(&t->lock);
    const size_t reach = t->o.filter != NULL ? inki_filter_reach(t->o.filter) : 0;
    const size_t before = t->window_at < reach ? t->window_at : reach;
    const size_t n = before + t->caret - t->window_at;
    const bool wanted = t->wanted && !t->closed;
    if (wanted && n > s->text_cap) {
        size_t cap = s->text_cap;
        while (cap < n) cap *= 2;
        char *text = inki_alloc(&t->mem, cap, 1);
        ink_token *tokens = inki_alloc(&t->mem, cap, sizeof *tokens);
        if (text == NULL || tokens == NULL) {
            inki_release(&t->mem, text, cap, 1);
            inki_release(&t->mem, tokens, cap, sizeof *tokens);
            *status = inki_fail_nomem(error, cap * (1 + sizeof *tokens));
        } else {
            inki_release(&t->mem, s->text, s->text_cap, 1);
            inki_release(&t->mem, s->tokens, s->tokens_cap, sizeof *s->tokens);
            s->text = text;
            s->tokens = tokens;
            s->text_cap = s->tokens_cap = cap;
        }
    }
    if (wanted && *status == INK_OK) {
        memcpy(s->text, t->text + t->window_at - before, n);
        s->n_before = before;
        s->n_text = n - before;
        s->updated_ms = t->updated_ms;
        memcpy(s->refused, t->refused, t->n_refused * sizeof *s->refused);
        s->n_refused = t->n_refused;
    }
    s->revision = t->revision;
    inki_lock_give(&t->lock);
    return wanted && *status == INK_OK;
}

// The prompt: tokens of the window, cut at its limit, or the end-of-text token where nothing is
// left to stand on.
static ink_status read_window(ink_typing *t, ink_error *error) {
    inki_suggester *s = t->s;
    const inki_tokenizer *tokenizer = s->model->tokenizer;
    const int32_t end = inki_tokenizer_end(tokenizer);
    const char *window = s->text + s->n_before;
    inki_encode_stats stats = {0};
    s->n_tail = 0;
    ink_status status = inki_tokenizer_encode_healed(tokenizer, window, s->n_text, false, s->tokens,
                                                     s->tokens_cap, &stats, &s->n_tail, error);
    if (status == INK_OK && stats.n_tokens == 0 && end < 0) {
        s->n_tail = 0;
        status = inki_tokenizer_encode(tokenizer, window, s->n_text, false, s->tokens,
                                       s->tokens_cap, &stats, error);
    }
    if (status != INK_OK) return status;
    const uint32_t n = (uint32_t)stats.n_tokens;
    const uint32_t start = inki_words_window_start(n, s->window_tokens);
    memmove(s->tokens, s->tokens + start, (n - start) * sizeof *s->tokens);
    s->n_tokens = n - start;
    if (s->n_tokens == 0) {
        if (end < 0)
            return inki_fail(error, INK_E_ARG, "text", 0,
                             "is empty, and the model has no end-of-text token");
        s->tokens[0] = end;
        s->n_tokens = 1;
    }
    return INK_OK;
}

static ink_status begin_revision(ink_typing *t, ink_error *error) {
    inki_suggester *s = t->s;
    ink_status status;
    for (uint32_t i = 0; i < t->o.n_alternatives; i++) {
        s->branches[i].used = false;
        s->branches[i].span.n_tokens = 0;
    }
    s->begun = s->prompt_done = s->branching = false;
    s->n_prompt_evaluated = s->n_evaluated = 0;
    s->first_token_ms = 0;
    if (!take_field(t, error, &status) || status != INK_OK) return status;
    status = read_window(t, error);
    if (status != INK_OK) return status;
    if (t->o.n_alternatives > 1) inki_alternatives_adopt(t);
    s->branching = t->o.n_alternatives > 1;
    s->whole_tail = -1;
    s->begun = true;
    return inki_branch_begin(t, 0, s->branching ? 0 : t->o.max_tokens, NULL, false, error);
}

// --- a step --------------------------------------------------------------------------------------

static ink_status evaluate_branches(ink_typing *t, ink_error *error) {
    inki_suggester *s = t->s;
    ink_span spans[INKI_TYPING_ALTERNATIVES];
    inki_branch *of[INKI_TYPING_ALTERNATIVES];
    size_t n = 0;
    for (uint32_t i = 0; i < t->o.n_alternatives; i++) {
        inki_branch *b = &s->branches[i];
        if (!b->used || b->span.n_tokens == 0) continue;
        of[n] = b;
        spans[n++] = b->span;
        b->span.n_tokens = 0;
    }
    if (n == 0) return INK_OK;
    const ink_status status = inki_eval_entered(spans, n, error);
    for (size_t i = 0; i < n; i++)
        inki_run_evaluated(&of[i]->run, status, (uint32_t)spans[i].n_tokens);
    for (size_t i = 0; i < n && status == INK_OK; i++)
        s->n_evaluated += (uint32_t)spans[i].n_tokens;
    return status == INK_E_CANCELLED ? INK_OK : status;
}

ink_status inki_branch_advance(ink_typing *t, inki_branch *b) {
    if (!b->used || b->over || b->span.n_tokens > 0) return INK_OK;
    if (inki_run_next(&b->run, &b->span)) return INK_OK;
    b->span.n_tokens = 0;
    b->over = true;
    const ink_status status = inki_run_finish(&b->run);
    if (status == INK_OK && !b->cut) {
        size_t end = 0;
        if (inki_words_until(b->text, b->bytes, t->o.until, &end)) b->bytes = end;
    }
    // Blanks alone are nothing to show. And a filter may have cut the word that was looked at to
    // one that was refused.
    size_t word_end = 0;
    const uint64_t word = inki_typing_first_word(b->text, b->bytes, &word_end);
    const bool none = word == 0 || is_refused(t->s, word);
    if (none) b->bytes = 0;
    if (!b->first_known) {
        b->first_word = none ? 0 : word;
        know_first_word(b, none ? 0 : word_end);
    }
    return status;
}

// The main session has evaluated its prompt for several alternatives: they begin.
static ink_status branch_out(ink_typing *t, ink_error *error) {
    inki_suggester *s = t->s;
    ink_status status = INK_OK;
    while (s->branching && status == INK_OK && s->branches[0].over) {
        bool again = false;
        if (!s->prompt_done) s->n_prompt_evaluated = s->n_evaluated;
        s->prompt_done = true;
        if (s->branches[0].run.r.stop == INK_STOP_LENGTH)
            status = inki_alternatives_begin(t, &again, error);
        s->branching = again;
        if (again && status == INK_OK) status = inki_branch_advance(t, &s->branches[0]);
    }
    return status;
}

static ink_status advance_all(ink_typing *t, ink_error *error) {
    inki_suggester *s = t->s;
    ink_status status = inki_branch_advance(t, &s->branches[0]);
    if (status == INK_OK) status = branch_out(t, error);
    if (t->o.n_alternatives > 1 && !s->branching) {
        for (uint32_t i = 0; i < t->o.n_alternatives && status == INK_OK; i++)
            status = inki_branch_advance(t, &s->branches[i]);
        if (status == INK_OK) status = inki_alternatives_compare(t, error);
    }
    const inki_run *run = &s->branches[0].run;
    if (!s->prompt_done && run->prefilled) {
        s->n_prompt_evaluated = s->n_evaluated;
        s->prompt_done = true;
    }
    if (s->first_token_ms == 0 && !s->branching) s->first_token_ms = run->r.first_token_ms;
    return status;
}

static bool all_over(const ink_typing *t) {
    for (uint32_t i = 0; i < t->o.n_alternatives; i++)
        if (t->s->branches[i].used && !t->s->branches[i].over) return false;
    return true;
}

// --- publishing ----------------------------------------------------------------------------------

// What is left of an accepted suggestion is shown until more is known than that.
static bool is_less(const inki_shown *shown, const inki_branch *b) {
    return b->bytes < shown->bytes && memcmp(b->text, shown->text, b->bytes) == 0;
}

static void publish(ink_typing *t) {
    inki_suggester *s = t->s;
    const bool done = all_over(t);
    uint32_t order[INKI_TYPING_ALTERNATIVES];
    const uint32_t n = inki_alternatives_order(t, order);
    inki_lock_take(&t->lock);
    if (t->revision != s->revision) {
        inki_lock_give(&t->lock);
        return;
    }
    bool changed = done;
    const bool less = n > 0 && t->n_shown > 0 && is_less(&t->shown[0], &s->branches[order[0]]);
    for (uint32_t i = 0; i < n && (done || !less); i++) {
        const inki_branch *b = &s->branches[order[i]];
        inki_shown *shown = &t->shown[i];
        changed |= i >= t->n_shown || shown->bytes != b->bytes ||
                   memcmp(shown->text, b->text, b->bytes) != 0;
        memcpy(shown->text, b->text, b->bytes);
        shown->bytes = b->bytes;
        shown->n_tokens = b->run.r.n_generated;
        shown->stop = b->run.r.stop;
        shown->logprob = b->first_known && t->o.n_alternatives > 1 ? b->first_logprob : NAN;
    }
    if (done || !less) t->n_shown = n;
    t->report.done = done;
    t->report.stop = done ? s->branches[0].run.r.stop : 0; // of what is not shown
    t->report.n_prompt = s->n_tokens;
    t->report.n_prompt_evaluated = s->prompt_done ? s->n_prompt_evaluated : s->n_evaluated;
    t->report.n_evaluated = s->n_evaluated;
    t->report.first_token_ms = s->first_token_ms;
    t->report.total_ms = inki_os_now_ms() - s->updated_ms;
    if (done) t->wanted = false;
    if (changed) t->n_changes++;
    inki_lock_give(&t->lock);
}

ink_status inki_suggester_step(ink_typing *t, uint32_t n_threads, ink_error *error) {
    inki_suggester *s = t->s;
    ink_status status = INK_OK;
    // Rows that a trim gave back are worth having again, but not worth a failure.
    inki_session_hold(s->branches[0].session, NULL);
    for (uint32_t i = 0; i < t->o.n_alternatives; i++) {
        s->branches[i].session->n_threads = n_threads;
        s->branches[i].run.error = error;
    }
    if (s->revision != atomic_load(&t->live))
        status = begin_revision(t, error);
    else
        status = evaluate_branches(t, error);
    if (status == INK_OK && s->begun) status = advance_all(t, error);
    if (status == INK_OK && s->begun) publish(t);
    if (status != INK_OK) s->revision = 0;
    return status;
}

// --- memory --------------------------------------------------------------------------------------

static bool is_stale(const void *arg) {
    const ink_typing *t = arg;
    const uint64_t revision = t->s->revision;
    return atomic_load_explicit(&t->live, memory_order_relaxed) != revision ||
           atomic_load_explicit(&t->cancelled, memory_order_relaxed) == revision ||
           atomic_load_explicit(&t->leaving, memory_order_relaxed);
}

// Of a suggestion: the token that only writes the tail again is one more.
static uint32_t n_new_tokens(const ink_typing *t) { return t->o.max_tokens + 1; }

static ink_status new_main_session(const ink_typing *t, ink_session **out, ink_error *error) {
    ink_model *model = t->s->model;
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.n_ctx = t->s->n_ctx;
    o.kv_type = t->o.kv_type;
    o.adapters = t->o.adapters;
    o.n_adapters = t->o.n_adapters;
    o.n_batch = ROWS;
    // The prompt's row, one behind each token of the suggestion, and those that a user who deletes
    // comes back to.
    o.n_held = n_new_tokens(t) + MORE_HELD;
    if (o.n_held > o.n_ctx) o.n_held = o.n_ctx;
    ink_status status = inki_session_options_complete(&o, &model->weights, error);
    if (status == INK_OK) status = inki_adapters_check(o.adapters, o.n_adapters, model, error);
    o.flags |= INKI_SESSION_GREEDY;
    return status == INK_OK ? inki_session_make(out, model, &o, true, error) : status;
}

// All that a branch's run will ever need: a first begin, of the longest, which is then forgotten.
static ink_status reserve_run(ink_typing *t, inki_branch *b, ink_error *error) {
    const ink_generate_options o = inki_suggester_options(t, t->o.max_tokens);
    inki_run *run = &b->run;
    run->fn = collect;
    run->veto = look_at_first_word;
    run->veto_arg = t;
    run->lazy = true;
    ink_status status = inki_run_begin(run, b->session, &o, t->s->chain, 0, error);
    if (status == INK_OK) status = inki_run_need_timeline(run, (size_t)t->s->n_ctx + 1);
    if (status == INK_OK) status = inki_run_need_heal(run, HEAL_ROOM);
    return status;
}

static ink_status make_branch(ink_typing *t, uint32_t i, ink_error *error) {
    inki_suggester *s = t->s;
    inki_branch *b = &s->branches[i];
    ink_status status = i == 0 ? new_main_session(t, &b->session, error)
                               : inki_session_new_branch(&b->session, s->branches[0].session,
                                                         t->o.max_tokens, error);
    if (status != INK_OK) return status;
    b->session->interrupted = is_stale;
    b->session->interrupted_arg = t;
    branch_of *of = inki_alloc(&t->mem, 1, sizeof *of);
    if (of == NULL) return inki_fail_nomem(error, sizeof *of);
    *of = (branch_of){t, i};
    b->run.user = of;
    // What a stream holds is put behind the text, so there is room for both.
    b->text = inki_alloc(&t->mem, 2 * t->text_room, 1);
    if (b->text == NULL) return inki_fail_nomem(error, 2 * t->text_room);
    return reserve_run(t, b, error);
}

// What depends on the model: the context, and the tokens that it leaves to the window.
static ink_status find_window(const ink_typing *t, const ink_model *model, inki_suggester *s,
                              ink_error *error) {
    const uint32_t most = model->weights.n_ctx, n_new = n_new_tokens(t);
    s->n_ctx = t->o.n_ctx;
    if (s->n_ctx == 0) s->n_ctx = most < INKI_TYPING_CTX ? most : INKI_TYPING_CTX;
    if (s->n_ctx > most)
        return inki_fail(error, INK_E_LIMIT, "n_ctx", 0, "%u positions; the model has %u",
                         (unsigned)s->n_ctx, (unsigned)most);
    if (s->n_ctx <= n_new || t->o.window_tokens > s->n_ctx - n_new)
        return inki_fail(error, INK_E_LIMIT, "n_ctx", 0,
                         "%u positions do not hold a window of %u tokens and %u to suggest",
                         (unsigned)s->n_ctx, (unsigned)t->o.window_tokens, (unsigned)n_new);
    s->window_tokens = t->o.window_tokens > 0 ? t->o.window_tokens : s->n_ctx - n_new;
    return INK_OK;
}

// Room for what is read of a text of text_bytes, however long the field's has become since.
static size_t room_to_read(const ink_typing *t) {
    const uint64_t reach = t->o.filter != NULL ? inki_filter_reach(t->o.filter) : 0;
    const uint64_t most = inki_words_window_bytes(t->window_words) + reach;
    return t->o.text_bytes < most ? t->o.text_bytes : (size_t)most;
}

ink_status inki_suggester_new(inki_suggester **out, ink_typing *t, ink_model *model,
                              ink_error *error) {
    inki_suggester *s = inki_alloc_zero(&t->mem, 1, sizeof *s);
    if (s == NULL) return inki_fail_nomem(error, sizeof *s);
    s->model = ink_model_ref(model);
    *out = t->s = s;
    s->text_cap = s->tokens_cap = room_to_read(t);
    s->text = inki_alloc(&t->mem, s->text_cap, 1);
    s->tokens = inki_alloc(&t->mem, s->tokens_cap, sizeof *s->tokens);
    if (s->text == NULL || s->tokens == NULL) return inki_fail_nomem(error, s->text_cap);
    ink_status status = find_window(t, model, s, error);
    if (status == INK_OK)
        status =
            inki_chain_new(&s->chain, "greedy", NULL, model->weights.n_vocab, &t->mem, error);
    for (uint32_t i = 0; i < t->o.n_alternatives && status == INK_OK; i++)
        status = make_branch(t, i, error);
    return status;
}

void inki_suggester_free(inki_suggester *s, ink_typing *t) {
    if (s == NULL) return;
    for (uint32_t i = INKI_TYPING_ALTERNATIVES; i-- > 0;) {
        inki_branch *b = &s->branches[i];
        inki_release(&t->mem, b->run.user, 1, sizeof(branch_of));
        inki_release(&t->mem, b->text, 2 * t->text_room, 1);
        inki_run_end(&b->run);
        ink_session_free(b->session);
    }
    inki_chain_free(s->chain);
    inki_release(&t->mem, s->text, s->text_cap, 1);
    inki_release(&t->mem, s->tokens, s->tokens_cap, sizeof *s->tokens);
    ink_model_unref(s->model);
    inki_release(&t->mem, s, 1, sizeof *s);
}

static uint64_t session_bytes(const ink_session *s, bool main) {
    if (s == NULL) return 0;
    const uint64_t held =
        s->held != NULL ? (uint64_t)s->options.n_held * s->model->weights.n_vocab : 0;
    return s->block_bytes + s->work.block_bytes + held * sizeof(float) +
           inki_kv_held_bytes(&s->kv, main);
}

uint64_t inki_suggester_bytes(const inki_suggester *s, const ink_typing *t) {
    uint64_t bytes = sizeof *s + s->text_cap + s->tokens_cap * sizeof *s->tokens;
    for (uint32_t i = 0; i < t->o.n_alternatives; i++) {
        const inki_branch *b = &s->branches[i];
        const inki_run *run = &b->run;
        bytes += session_bytes(b->session, i == 0) + 2 * t->text_room + sizeof(branch_of);
        bytes += run->stream.cap + run->stream.text_cap + run->heal_cap +
                 run->timeline_cap * sizeof *run->timeline +
                 run->allowed_words * sizeof *run->allowed + run->bans_cap * sizeof *run->bans +
                 run->banned_cap * sizeof *run->banned;
    }
    return bytes;
}
