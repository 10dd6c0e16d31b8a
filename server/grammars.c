// SPDX-License-Identifier: MIT
#include "server/grammars.h"

#include "server/models.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct srv_rules {
    srv_grammars *of;
    ink_grammar *grammar;
    char *text; // [bytes]
    size_t bytes, held;
    uint32_t kind;
    uint32_t n_users; // the cache is one of them
    uint64_t used;    // when it was asked for last
};

struct srv_grammars {
    srv_model *model;
    pthread_mutex_t lock;   // for what follows
    pthread_cond_t changed; // somebody waits, or it is closed
    pthread_t thread;
    bool closed;
    srv_rules *kept[SRV_KEPT_RULES];
    srv_rules_ask *first, *last; // that wait
    uint32_t n_waiting;
    uint64_t n_asked;
    srv_grammars_info info;
};

// --- what a grammar takes ------------------------------------------------------------------------

static _Thread_local size_t taken_bytes; // wraps around where memory of other threads is released

static void *take_memory(void *user, size_t bytes, size_t align) {
    void *memory = NULL;
    (void)user;
    if (posix_memalign(&memory, align, bytes) != 0) return NULL;
    taken_bytes += bytes;
    return memory;
}

static void release_memory(void *user, void *memory, size_t bytes) {
    (void)user;
    taken_bytes -= bytes;
    free(memory);
}

const ink_allocator srv_counting_allocator = {
    .size = sizeof srv_counting_allocator, .alloc = take_memory, .release = release_memory};

// --- the cache: the lock is held -----------------------------------------------------------------

// True: that was the last user, who is to call free_rules without the lock.
static bool drop_rules(srv_rules *rules) {
    if (--rules->n_users > 0) return false;
    rules->of->info.held_bytes -= rules->held;
    return true;
}

static void free_rules(srv_rules *rules) {
    ink_grammar_unref(rules->grammar);
    free(rules->text);
    free(rules);
}

static srv_rules *find_rules(srv_grammars *g, const srv_rules_ask *ask) {
    for (uint32_t i = 0; i < g->info.n_kept; i++) {
        srv_rules *rules = g->kept[i];
        if (rules->kind != ask->kind || rules->bytes != ask->bytes ||
            memcmp(rules->text, ask->text, ask->bytes) != 0)
            continue;
        rules->n_users++;
        rules->used = ++g->n_asked;
        g->info.n_hits++;
        return rules;
    }
    return NULL;
}

// The one that nobody has asked for longest leaves the cache, and is returned where no request has
// it.
static srv_rules *evict_rules(srv_grammars *g) {
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < g->info.n_kept; i++)
        if (g->kept[i]->used < g->kept[oldest]->used) oldest = i;
    srv_rules *rules = g->kept[oldest];
    g->kept[oldest] = g->kept[--g->info.n_kept];
    g->info.kept_bytes -= rules->held;
    return drop_rules(rules) ? rules : NULL;
}

// Puts one in that has one user so far. What leaves is written to gone [SRV_KEPT_RULES].
static uint32_t keep_rules(srv_grammars *g, srv_rules *rules, srv_rules **gone) {
    uint32_t n_gone = 0;
    srv_grammars_info *info = &g->info;
    info->n_compiled++;
    info->held_bytes += rules->held;
    if (rules->held > SRV_KEPT_RULES_BYTES) return 0;
    while (info->n_kept == SRV_KEPT_RULES ||
           info->kept_bytes + rules->held > SRV_KEPT_RULES_BYTES) {
        gone[n_gone] = evict_rules(g);
        n_gone += gone[n_gone] != NULL;
    }
    rules->n_users++;
    rules->used = ++g->n_asked;
    g->kept[info->n_kept++] = rules;
    info->kept_bytes += rules->held;
    return n_gone;
}

// --- compiling: no lock is held ------------------------------------------------------------------

// Some can be compiled, and yet no text begun: that is told here and not in the middle of an
// answer.
static ink_status check_begin(const ink_grammar *grammar, ink_error *error) {
    uint32_t state = 0;
    const ink_status status = ink_grammar_check(grammar, "", 0, &state, NULL);
    if (status != INK_E_LIMIT) return status;
    *error = (ink_error){.size = sizeof *error, .status = status};
    snprintf(error->message, sizeof error->message,
             "a text may begin in too many ways; fewer alternatives side by side are needed");
    return status;
}

static srv_rules *compile(srv_grammars *g, const srv_rules_ask *ask, srv_failure *why) {
    srv_rules *rules = calloc(1, sizeof *rules);
    char *text = malloc(ask->bytes + 1);
    ink_error error = {.size = sizeof error};
    ink_status status = rules != NULL && text != NULL ? INK_OK : INK_E_NOMEM;
    const size_t before = taken_bytes;
    if (status == INK_OK) {
        memcpy(text, ask->text, ask->bytes);
        *rules = (srv_rules){
            .of = g, .text = text, .bytes = ask->bytes, .kind = ask->kind, .n_users = 1};
        status = ink_grammar_new(&rules->grammar, ink_service_model(g->model->service), ask->kind,
                                 text, ask->bytes, &error);
    }
    if (status == INK_OK) {
        rules->held = taken_bytes - before + sizeof *rules + ask->bytes;
        status = check_begin(rules->grammar, &error);
    }
    if (status == INK_OK) return rules;
    if (rules != NULL) ink_grammar_unref(rules->grammar);
    free(text);
    free(rules);
    if (status == INK_E_FORMAT) // the text's fault, and no model file's
        srv_refuse(why, NULL, "%s", error.message);
    else
        srv_fail_status(why, status, &error);
    return NULL;
}

// The one that was waited for, which somebody before may have brought as well.
static srv_rules *find_or_compile(srv_grammars *g, const srv_rules_ask *ask, srv_failure *why) {
    srv_rules *gone[SRV_KEPT_RULES];
    uint32_t n_gone = 0;
    pthread_mutex_lock(&g->lock);
    srv_rules *rules = find_rules(g, ask);
    const bool full = g->info.held_bytes - g->info.kept_bytes > SRV_HELD_RULES_BYTES;
    pthread_mutex_unlock(&g->lock);
    if (rules != NULL) return rules;
    if (full) {
        srv_fail(why, 503, "server_error", "too_many_grammars",
                 "The grammars of the requests under way take too much memory.");
        return NULL;
    }
    rules = compile(g, ask, why);
    if (rules == NULL) return NULL;
    pthread_mutex_lock(&g->lock);
    n_gone = keep_rules(g, rules, gone);
    pthread_mutex_unlock(&g->lock);
    while (n_gone > 0) free_rules(gone[--n_gone]);
    return rules;
}

static void answer(srv_grammars *g, srv_rules_ask *ask, bool closed) {
    srv_failure why = {0};
    srv_rules *rules = NULL;
    if (closed)
        srv_fail_stopping(&why);
    else if (!ask->wanted(ask))
        srv_fail(&why, 503, "server_error", NULL, "The client is gone.");
    else
        rules = find_or_compile(g, ask, &why);
    ask->told(ask, rules, &why);
}

static void *run_thread(void *user) {
    srv_grammars *g = user;
    pthread_mutex_lock(&g->lock);
    for (;;) {
        srv_rules_ask *ask = g->first;
        const bool closed = g->closed;
        if (ask == NULL && closed) break;
        if (ask == NULL) {
            pthread_cond_wait(&g->changed, &g->lock);
            continue;
        }
        g->first = ask->next;
        g->n_waiting--;
        pthread_mutex_unlock(&g->lock);
        answer(g, ask, closed);
        pthread_mutex_lock(&g->lock);
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

// --- asking --------------------------------------------------------------------------------------

void srv_grammars_ask(srv_grammars *g, srv_rules_ask *ask) {
    srv_failure why = {0};
    pthread_mutex_lock(&g->lock);
    srv_rules *rules = g->closed ? NULL : find_rules(g, ask);
    const bool waits = !g->closed && rules == NULL && g->n_waiting < SRV_WAITING_RULES;
    if (g->closed) {
        srv_fail_stopping(&why);
    } else if (waits) {
        ask->next = NULL;
        *(g->first == NULL ? &g->first : &g->last->next) = ask;
        g->last = ask;
        g->n_waiting++;
        pthread_cond_signal(&g->changed);
    } else if (rules == NULL) {
        srv_fail(&why, 429, "rate_limit_error", "queue_full",
                 "%d grammars wait to be compiled already.", SRV_WAITING_RULES);
    }
    pthread_mutex_unlock(&g->lock);
    if (!waits) ask->told(ask, rules, &why);
}

ink_grammar *srv_rules_grammar(const srv_rules *rules) {
    return rules != NULL ? rules->grammar : NULL;
}

void srv_rules_unref(srv_rules *rules) {
    if (rules == NULL) return;
    srv_grammars *g = rules->of;
    pthread_mutex_lock(&g->lock);
    const bool last = drop_rules(rules);
    pthread_mutex_unlock(&g->lock);
    if (last) free_rules(rules);
}

srv_grammars_info srv_grammars_get_info(const srv_grammars *grammars) {
    srv_grammars *g = (srv_grammars *)(uintptr_t)grammars; // for its lock
    if (g == NULL) return (srv_grammars_info){0};
    pthread_mutex_lock(&g->lock);
    const srv_grammars_info info = g->info;
    pthread_mutex_unlock(&g->lock);
    return info;
}

// --- beginning and end ---------------------------------------------------------------------------

ink_status srv_grammars_new(srv_grammars **out, srv_model *model, ink_error *error) {
    srv_grammars *g = calloc(1, sizeof *g);
    int failed = g == NULL ? -1 : pthread_mutex_init(&g->lock, NULL);
    if (failed == 0 && (failed = pthread_cond_init(&g->changed, NULL)) != 0)
        pthread_mutex_destroy(&g->lock);
    if (failed == 0) {
        g->model = model;
        failed = pthread_create(&g->thread, NULL, run_thread, g);
        if (failed != 0) {
            pthread_cond_destroy(&g->changed);
            pthread_mutex_destroy(&g->lock);
        }
    }
    if (failed == 0) {
        *out = g;
        return INK_OK;
    }
    const bool memory = g == NULL;
    free(g);
    *error = (ink_error){.size = sizeof *error, .status = memory ? INK_E_NOMEM : INK_E_SYSTEM};
    snprintf(error->message, sizeof error->message, "no %s for compiling grammars",
             memory ? "memory" : "thread");
    return (ink_status)error->status;
}

void srv_grammars_close(srv_grammars *g) {
    if (g == NULL) return;
    pthread_mutex_lock(&g->lock);
    const bool first = !g->closed;
    g->closed = true;
    pthread_cond_signal(&g->changed);
    pthread_mutex_unlock(&g->lock);
    if (first) pthread_join(g->thread, NULL);
}

void srv_grammars_free(srv_grammars *g) {
    if (g == NULL) return;
    srv_grammars_close(g);
    while (g->info.n_kept > 0) {
        srv_rules *rules = evict_rules(g);
        if (rules != NULL) free_rules(rules);
    }
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->lock);
    free(g);
}
