// SPDX-License-Identifier: MIT
// Key by key: the field's new text, then the suggestion to its end, as llama.cpp's replay does it.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/typing/typing_replay.h"

// One key. Times from just before the update.
typedef struct key_cost {
    double first_ms;                          // to the first text that was told; NAN: none
    double suggestion_ms;                     // to the return of the run
    uint32_t first_n_tokens, first_evaluated; // as the first text was told
    uint32_t n_tokens, n_prompt, n_prompt_evaluated, n_evaluated;
} key_cost;

typedef struct listener {
    double begin_ms;
    uint64_t revision;
    key_cost *key;
} listener;

static void on_suggestion(void *user, ink_typing *typing, const ink_suggestion *s) {
    listener *l = user;
    (void)typing;
    if (s->revision != l->revision || s->bytes == 0 || !isnan(l->key->first_ms)) return;
    l->key->first_ms = typing_now_ms() - l->begin_ms;
    l->key->first_n_tokens = s->n_tokens;
    l->key->first_evaluated = s->n_evaluated;
}

static bool play_key(ink_typing *typing, const typing_field *field, listener *l) {
    ink_error error = {0};
    ink_suggestion s = {.size = sizeof s};
    // The revision is known before the callback can come: updates and runs are on this thread.
    l->begin_ms = typing_now_ms();
    ink_status status =
        ink_typing_update(typing, field->text, field->bytes, field->caret, &l->revision, &error);
    if (status == INK_OK) status = ink_typing_run(typing, UINT32_MAX, NULL, &error);
    l->key->suggestion_ms = typing_now_ms() - l->begin_ms;
    if (status == INK_OK) status = ink_typing_suggestion(typing, 0, &s);
    if (status != INK_OK) return typing_failed("a key", status, &error);
    l->key->n_tokens = s.n_tokens;
    l->key->n_prompt = s.n_prompt;
    l->key->n_prompt_evaluated = s.n_prompt_evaluated;
    l->key->n_evaluated = s.n_evaluated;
    return true;
}

static bool play(const typing_setup *setup, key_cost *costs) {
    ink_typing *typing = NULL;
    ink_error error = {0};
    typing_field field;
    listener l = {.key = NULL};
    if (!typing_field_begin(&field, &setup->trace))
        return typing_failed("the field", INK_E_NOMEM, NULL);
    const ink_status status = typing_open(setup, &typing, on_suggestion, &l, &error);
    bool good = status == INK_OK || typing_failed("the session", status, &error);
    // A document is opened before its first key is typed.
    key_cost opened = {.first_ms = NAN};
    l.key = &opened;
    if (good && field.bytes > 0) good = play_key(typing, &field, &l);
    for (size_t i = 0; i < setup->trace.n_keys && good; i++) {
        typing_field_key(&field, &setup->trace, &setup->trace.keys[i]);
        costs[i] = (key_cost){.first_ms = NAN};
        l.key = &costs[i];
        good = play_key(typing, &field, &l);
    }
    ink_typing_free(typing);
    typing_field_end(&field);
    return good;
}

typedef struct key_report {
    typing_figures first, suggestion, evaluated, all_evaluated, prompt, tokens;
    size_t n_keys, n_shown;
    size_t n_free;  // keys whose first text cost no evaluation
    size_t n_held;  // keys that evaluated nothing of the text before the caret
    size_t n_wrong; // of those, keys that evaluated more before the first text than its tokens need
} key_report;

static void count(key_report *r, const key_cost *c, size_t n) {
    r->n_keys = n;
    for (size_t i = 0; i < n; i++) {
        if (isnan(c[i].first_ms)) continue;
        r->n_shown++;
        r->n_free += c[i].first_evaluated == 0;
        if (c[i].n_prompt_evaluated > 0) continue;
        r->n_held++;
        // The k-th token of a suggestion stands on k - 1 evaluations.
        r->n_wrong += c[i].first_evaluated + 1 > c[i].first_n_tokens;
    }
}

static bool sum_up(key_report *r, const key_cost *c, size_t n) {
    double *x = calloc(n, sizeof *x);
    if (x == NULL) return typing_failed("the report", INK_E_NOMEM, NULL);
    size_t n_first = 0;
    count(r, c, n);
    for (size_t i = 0; i < n; i++)
        if (!isnan(c[i].first_ms)) x[n_first++] = c[i].first_ms;
    r->first = typing_sum_up(x, n_first);
    for (size_t i = 0; i < n; i++) x[i] = c[i].suggestion_ms;
    r->suggestion = typing_sum_up(x, n);
    for (size_t i = 0; i < n; i++) x[i] = c[i].n_prompt_evaluated;
    r->evaluated = typing_sum_up(x, n);
    for (size_t i = 0; i < n; i++) x[i] = c[i].n_evaluated;
    r->all_evaluated = typing_sum_up(x, n);
    for (size_t i = 0; i < n; i++) x[i] = c[i].n_prompt;
    r->prompt = typing_sum_up(x, n);
    for (size_t i = 0; i < n; i++) x[i] = c[i].n_tokens;
    r->tokens = typing_sum_up(x, n);
    free(x);
    return true;
}

static void print(const typing_setup *setup, const key_report *r) {
    typing_print_setup(setup);
    typing_print("first_ms", r->first);
    typing_print("suggestion_ms", r->suggestion);
    typing_print("prompt_evaluated", r->evaluated);
    typing_print("all_evaluated", r->all_evaluated);
    typing_print("prompt_tokens", r->prompt);
    typing_print("suggestion_tokens", r->tokens);
    printf("keys %zu shown %zu first_without_evaluation %zu held %zu held_but_evaluated %zu\n",
           r->n_keys, r->n_shown, r->n_free, r->n_held, r->n_wrong);
}

static json_t *key_json(const key_cost *c) {
    return json_pack("[o f i i i i]", isnan(c->first_ms) ? json_null() : json_real(c->first_ms),
                     c->suggestion_ms, (int)c->n_tokens, (int)c->n_prompt,
                     (int)c->n_prompt_evaluated, (int)c->n_evaluated);
}

static bool print_json(const typing_setup *setup, const key_report *r, const key_cost *c) {
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_keys; i++) json_array_append_new(list, key_json(&c[i]));
    json_t *held =
        json_pack("{sI sI sI sI sI}", "keys", (json_int_t)r->n_keys, "shown",
                  (json_int_t)r->n_shown, "first_without_evaluation", (json_int_t)r->n_free, "held",
                  (json_int_t)r->n_held, "held_but_evaluated", (json_int_t)r->n_wrong);
    return typing_put_json(json_pack(
        "{so so so so so so so so so}", "setup", typing_setup_json(setup), "first_ms",
        typing_json(r->first), "suggestion_ms", typing_json(r->suggestion), "prompt_evaluated",
        typing_json(r->evaluated), "all_evaluated", typing_json(r->all_evaluated), "prompt_tokens",
        typing_json(r->prompt), "suggestion_tokens", typing_json(r->tokens), "counts", held,
        // [first ms, suggestion ms, tokens, prompt tokens, of them evaluated, all evaluated]
        "keys", list));
}

bool typing_measure_keys(const typing_setup *setup) {
    key_report r = {.n_keys = 0};
    key_cost *costs = calloc(setup->trace.n_keys, sizeof *costs);
    if (costs == NULL) return typing_failed("the keys", INK_E_NOMEM, NULL);
    bool good = play(setup, costs) && sum_up(&r, costs, setup->trace.n_keys);
    if (good && setup->json)
        good = print_json(setup, &r, costs);
    else if (good)
        print(setup, &r);
    free(costs);
    return good;
}
