// SPDX-License-Identifier: MIT
// Keys at a steady pace, whether the suggestion for the last one is done or not: one thread types,
// another one runs. Before each key the typist looks what it could show: never anything of an older
// text, and an update never waits for an evaluation.
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/typing/typing_replay.h"

enum { BUDGET_MS = 5 };

typedef struct overlap {
    ink_typing *typing;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool posted, ended; // behind the mutex
    ink_status failed;  // read after the runner's end
    ink_error error;
    atomic_size_t n_told, n_old; // suggestions told; of them for a text that had changed meanwhile
    _Atomic uint64_t revision;   // of the last update that has returned
} overlap;

typedef struct key_seen {
    double update_ms, first_ms, begin_ms;
    uint32_t n_tokens, n_prompt_evaluated;
    bool done, late;
} key_seen;

static void told(void *user, ink_typing *typing, const ink_suggestion *s) {
    overlap *o = user;
    (void)typing;
    atomic_fetch_add(&o->n_told, 1);
    if (s->revision < atomic_load(&o->revision)) atomic_fetch_add(&o->n_old, 1);
}

static void post(overlap *o, bool end) {
    pthread_mutex_lock(&o->mutex);
    o->posted = true;
    o->ended = o->ended || end;
    pthread_cond_signal(&o->changed);
    pthread_mutex_unlock(&o->mutex);
}

static bool wait_for_work(overlap *o) {
    pthread_mutex_lock(&o->mutex);
    while (!o->posted && !o->ended) pthread_cond_wait(&o->changed, &o->mutex);
    const bool go_on = !o->ended;
    o->posted = false;
    pthread_mutex_unlock(&o->mutex);
    return go_on;
}

static void *runner(void *arg) {
    overlap *o = arg;
    while (wait_for_work(o) && o->failed == INK_OK) {
        uint32_t more = 1;
        while (more != 0 && o->failed == INK_OK)
            o->failed = ink_typing_run(o->typing, BUDGET_MS, &more, &o->error);
    }
    return NULL;
}

static void sleep_until(double at_ms) {
    const double left = at_ms - typing_now_ms();
    if (left <= 0) return;
    const struct timespec t = {(time_t)(left / 1e3), (long)(fmod(left, 1e3) * 1e6)};
    nanosleep(&t, NULL);
}

// What can be shown now for a key typed at begin_ms.
static void look(overlap *o, key_seen *seen) {
    ink_suggestion s = {.size = sizeof s};
    if (ink_typing_suggestion(o->typing, 0, &s) != INK_OK) return;
    seen->late = seen->late || (s.bytes > 0 && s.revision != atomic_load(&o->revision));
    if (s.bytes > 0 && isnan(seen->first_ms)) seen->first_ms = s.first_token_ms;
    seen->n_tokens = s.n_tokens;
    seen->n_prompt_evaluated = s.n_prompt_evaluated;
    seen->done = s.done != 0;
}

static bool type_all(const typing_setup *setup, overlap *o, key_seen *seen) {
    typing_field field;
    ink_error error = {0};
    bool good = typing_field_begin(&field, &setup->trace);
    if (!good) return typing_failed("the field", INK_E_NOMEM, NULL);
    double next_ms = typing_now_ms();
    for (size_t i = 0; i < setup->trace.n_keys && good; i++) {
        uint64_t revision = 0;
        typing_field_key(&field, &setup->trace, &setup->trace.keys[i]);
        seen[i] = (key_seen){.first_ms = NAN, .begin_ms = typing_now_ms()};
        const ink_status status =
            ink_typing_update(o->typing, field.text, field.bytes, field.caret, &revision, &error);
        seen[i].update_ms = typing_now_ms() - seen[i].begin_ms;
        good = status == INK_OK || typing_failed("an update", status, &error);
        atomic_store(&o->revision, revision);
        look(o, &seen[i]); // right after the update: nothing old may stand there any more
        post(o, false);
        next_ms += setup->interval_ms;
        sleep_until(next_ms);
        look(o, &seen[i]);
    }
    typing_field_end(&field);
    return good;
}

static bool report(const typing_setup *setup, const overlap *o, const key_seen *seen) {
    const size_t n = setup->trace.n_keys;
    size_t n_shown = 0, n_done = 0, n_late = 0;
    double *x = calloc(n, sizeof *x);
    if (x == NULL) return typing_failed("the report", INK_E_NOMEM, NULL);
    for (size_t i = 0; i < n; i++) {
        n_done += seen[i].done;
        n_late += seen[i].late;
        if (!isnan(seen[i].first_ms)) x[n_shown++] = seen[i].first_ms;
    }
    const typing_figures first = typing_sum_up(x, n_shown);
    for (size_t i = 0; i < n; i++) x[i] = seen[i].update_ms;
    const typing_figures update = typing_sum_up(x, n);
    for (size_t i = 0; i < n; i++) x[i] = seen[i].n_tokens;
    const typing_figures tokens = typing_sum_up(x, n);
    free(x);
    if (setup->json)
        return typing_put_json(
            json_pack("{so so so so sI sI sI sI sI sI}", "setup", typing_setup_json(setup),
                      "update_ms", typing_json(update), "first_ms", typing_json(first),
                      "suggestion_tokens", typing_json(tokens), "keys", (json_int_t)n, "shown",
                      (json_int_t)n_shown, "done", (json_int_t)n_done, "late", (json_int_t)n_late,
                      "told", (json_int_t)atomic_load(&o->n_told), "told_for_older_text",
                      (json_int_t)atomic_load(&o->n_old)));
    typing_print_setup(setup);
    printf("a key every %.6g ms\n", setup->interval_ms);
    typing_print("update_ms", update);
    typing_print("first_ms", first);
    typing_print("suggestion_tokens", tokens);
    printf("keys %zu shown %zu done %zu late %zu told %zu told_for_older_text %zu\n", n, n_shown,
           n_done, n_late, atomic_load(&o->n_told), atomic_load(&o->n_old));
    return true;
}

bool typing_measure_overlap(const typing_setup *setup) {
    overlap o = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    pthread_t thread;
    key_seen *seen = calloc(setup->trace.n_keys, sizeof *seen);
    if (seen == NULL) return typing_failed("the keys", INK_E_NOMEM, NULL);
    const ink_status status = typing_open(setup, &o.typing, told, &o, &o.error);
    bool good = status == INK_OK || typing_failed("the session", status, &o.error);
    if (good && pthread_create(&thread, NULL, runner, &o) != 0)
        good = typing_failed("a thread", INK_E_SYSTEM, NULL);
    else if (good) {
        good = type_all(setup, &o, seen);
        post(&o, true);
        ink_typing_cancel(o.typing);
        pthread_join(thread, NULL);
        if (o.failed != INK_OK) good = typing_failed("a run", o.failed, &o.error);
    }
    good = good && report(setup, &o, seen);
    ink_typing_free(o.typing);
    free(seen);
    return good;
}
