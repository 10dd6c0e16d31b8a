// SPDX-License-Identifier: MIT
#include "cli/type_ghost.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Of a long text the session gets a part around the caret: far more than any model reads, and its
// ends move rarely, so that what is cached and what was accepted stay of use.
enum { PART_STEP = 1 << 15 };

static void on_state(void *user, uint32_t state, const ink_error *reason) {
    const type_ghost *ghost = user;
    (void)state;
    (void)reason;
    ghost->wake();
}

static void on_suggestion(void *user, ink_typing *typing, const ink_suggestion *suggestion) {
    const type_ghost *ghost = user;
    (void)typing;
    (void)suggestion;
    ghost->wake();
}

ink_status type_ghost_open(type_ghost *ghost, const type_ghost_settings *settings,
                           ink_error *error) {
    ink_memory memory = {.size = sizeof memory};
    ink_runtime_options runtime;
    ink_service_options service;
    ink_typing_options typing = settings->typing;
    *ghost = (type_ghost){.wake = settings->wake, .n_alternatives = typing.n_alternatives};
    ink_status status = ink_typing_measure(&settings->source, &typing, &memory, error);
    if (status != INK_OK) return status;
    ink_runtime_options_init(&runtime, sizeof runtime);
    runtime.n_threads = settings->n_threads;
    ink_service_options_init(&service, sizeof service);
    service.source = &settings->source;
    service.runtime = &runtime;
    service.n_clients = 1;
    service.on_state = on_state;
    service.user = ghost;
    typing.on_suggestion = on_suggestion;
    typing.user = ghost;
    status = ink_service_new(&ghost->service, &service, error);
    cli_adapters adapters = {0};
    if (status == INK_OK && settings->loras->n > 0) {
        status = ink_service_wait(ghost->service, UINT32_MAX, error);
        if (status == INK_OK)
            status = cli_adapters_try(&adapters, ink_service_model(ghost->service), settings->loras,
                                      error);
        typing.adapters = adapters.list;
        typing.n_adapters = adapters.n;
    }
    if (status == INK_OK)
        status = ink_service_typing(ghost->service, &ghost->typing, &typing, error);
    cli_adapters_close(&adapters);
    if (status != INK_OK) type_ghost_close(ghost);
    return status;
}

void type_ghost_close(type_ghost *ghost) {
    ink_typing_free(ghost->typing);
    ink_service_free(ghost->service);
    free(ghost->text);
    *ghost = (type_ghost){0};
}

static void hide(type_ghost *ghost) {
    ghost->text_bytes = 0;
    ghost->index = 0;
    if (ghost->text != NULL) ghost->text[0] = 0;
}

static void trouble(type_ghost *ghost, ink_status status, const ink_error *error) {
    const bool told = error != NULL && error->status == status && error->message[0] != 0;
    snprintf(ghost->trouble, sizeof ghost->trouble, "%s",
             told ? error->message : ink_status_text(status));
}

static size_t part_begin(const type_editor *editor) {
    const size_t step = editor->caret / PART_STEP;
    return step < 2 ? 0 : type_text_floor(&editor->text, (step - 1) * PART_STEP);
}

static size_t part_end(const type_editor *editor) {
    const size_t end = (editor->caret / PART_STEP + 2) * PART_STEP;
    return end >= editor->text.n ? editor->text.n : type_text_floor(&editor->text, end);
}

static bool is_current(const type_ghost *ghost, const type_editor *editor) {
    return ghost->told && ghost->version == editor->version && ghost->caret == editor->caret;
}

void type_ghost_check(type_ghost *ghost, const type_editor *editor) {
    if (!is_current(ghost, editor)) hide(ghost);
}

void type_ghost_follow(type_ghost *ghost, const type_editor *editor) {
    ink_error error = {0};
    if (ghost->typing == NULL || is_current(ghost, editor)) return;
    hide(ghost);
    const size_t begin = part_begin(editor), n = part_end(editor) - begin;
    char *part = malloc(n + 1);
    ghost->told = true;
    ghost->version = editor->version;
    ghost->caret = editor->caret;
    ghost->base = begin;
    ghost->filtered = false;
    ghost->trouble[0] = 0;
    ink_status status = INK_E_NOMEM;
    if (part != NULL) {
        type_text_copy(&editor->text, begin, n, part);
        status = ink_typing_update(ghost->typing, part, n, editor->caret - begin, &ghost->revision,
                                   &error);
        free(part);
    }
    if (status != INK_OK) ghost->revision = 0;
    ghost->filtered = status == INK_E_FILTERED;
    if (status != INK_OK && !ghost->filtered) trouble(ghost, status, &error);
}

static bool read_one(const type_ghost *ghost, uint32_t index, ink_suggestion *out) {
    *out = (ink_suggestion){.size = sizeof *out};
    return ghost->revision != 0 && ink_typing_suggestion(ghost->typing, index, out) == INK_OK &&
           out->revision == ghost->revision && out->bytes > 0;
}

static void show(type_ghost *ghost, const ink_suggestion *suggestion) {
    if (suggestion->bytes >= ghost->text_cap) {
        char *grown = realloc(ghost->text, suggestion->bytes + 1);
        if (grown == NULL) return;
        ghost->text = grown;
        ghost->text_cap = suggestion->bytes + 1;
    }
    memcpy(ghost->text, suggestion->text, suggestion->bytes);
    ghost->text[suggestion->bytes] = 0;
    ghost->text_bytes = suggestion->bytes;
    ghost->shown = *suggestion;
    ghost->shown.text = ghost->text;
}

void type_ghost_fetch(type_ghost *ghost) {
    ink_error reason = {0};
    ink_suggestion suggestion;
    if (ghost->typing == NULL) return;
    ghost->state = ink_service_state(ghost->service, &reason);
    if (ghost->state == INK_SERVICE_FAILED) trouble(ghost, (ink_status)reason.status, &reason);
    if (read_one(ghost, ghost->index, &suggestion)) show(ghost, &suggestion);
    ghost->none =
        ghost->text_bytes == 0 && suggestion.revision == ghost->revision && suggestion.done != 0;
}

bool type_ghost_accept(type_ghost *ghost, type_editor *editor, uint32_t unit) {
    ink_edit edit = {.size = sizeof edit};
    if (ghost->text_bytes == 0) return false;
    const ink_status status = ink_typing_accept(ghost->typing, &ghost->shown, unit, &edit, NULL);
    if (status != INK_OK) return false;
    ghost->told = type_editor_put(editor, TYPE_STEP_ACCEPTED, ghost->base + edit.at, edit.n_removed,
                                  edit.text, edit.bytes);
    type_history_seal(&editor->history);
    hide(ghost);
    ghost->version = editor->version;
    ghost->caret = editor->caret;
    ghost->revision = edit.revision;
    // What is left of the suggestion still is one.
    if (ghost->told) type_ghost_fetch(ghost);
    return true;
}

void type_ghost_undo(type_ghost *ghost, type_editor *editor) {
    const type_step *newest = type_history_newest(&editor->history);
    // The session forgets it too. Where it knows nothing of it any more, the next update tells.
    if (ghost->typing != NULL && newest != NULL && newest->kind == TYPE_STEP_ACCEPTED) {
        ink_edit edit = {.size = sizeof edit};
        ink_typing_undo(ghost->typing, &edit, NULL);
        ghost->told = false;
    }
    type_editor_key(editor, TYPE_KEY_UNDO);
}

bool type_ghost_retry(type_ghost *ghost) {
    ink_suggestion next;
    uint64_t revision;
    if (ghost->typing == NULL) return false;
    if (ghost->index + 1 < ghost->n_alternatives && read_one(ghost, ghost->index + 1, &next)) {
        ghost->index++;
        show(ghost, &next);
        return true;
    }
    if (ink_typing_retry(ghost->typing, &revision, NULL) != INK_OK) return false;
    ghost->revision = revision;
    hide(ghost);
    return true;
}

void type_ghost_reject(type_ghost *ghost) {
    uint64_t revision;
    if (ghost->typing == NULL || ink_typing_reject(ghost->typing, &revision, NULL) != INK_OK)
        return;
    ghost->revision = revision;
    hide(ghost);
}
