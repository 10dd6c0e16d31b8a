// SPDX-License-Identifier: MIT
// The ghost text: a typing session of a service whose worker evaluates, while the editor goes on.
// Nothing here waits for an evaluation, but for type_ghost_close for the end of a layer.
#ifndef CLI_TYPE_GHOST_H
#define CLI_TYPE_GHOST_H

#include "cli/load.h"
#include "cli/type_editor.h"
#include "inkling/inkling.h"

typedef struct type_ghost_settings {
    ink_source source;
    const cli_list *loras;     // adapters; the model is waited for if there are any
    uint32_t n_threads;        // 0: one for each processor
    ink_typing_options typing; // on_suggestion is set here
    void (*wake)(void);        // on any thread: there is something to fetch
} type_ghost_settings;

typedef struct type_ghost {
    ink_service *service; // NULL: no ghosts at all
    ink_typing *typing;
    void (*wake)(void);
    uint32_t n_alternatives;
    // What the session was told last; told: whether that is the editor's text.
    bool told;
    uint64_t version, revision;
    size_t caret, base; // base: the session's text begins there
    // What it answered.
    uint32_t state;       // INK_SERVICE_*
    uint32_t index;       // of the alternative that is shown
    ink_suggestion shown; // its text is the copy below
    char *text;           // [text_bytes] with room for text_cap
    size_t text_bytes, text_cap;
    bool none; // there is no suggestion, and none is to come
    bool filtered;
    char trouble[256]; // why there are none, "" when all is well
} type_ghost;          // zeroed: no ghosts

// The bytes that the service would need are asked for first, so that a model or options that cannot
// work are told at once.
ink_status type_ghost_open(type_ghost *ghost, const type_ghost_settings *settings,
                           ink_error *error);
void type_ghost_close(type_ghost *ghost);

// Tells the session of the editor's text, where that has changed.
void type_ghost_follow(type_ghost *ghost, const type_editor *editor);
// Hides the ghost where the editor's text has changed since.
void type_ghost_check(type_ghost *ghost, const type_editor *editor);
// Takes what is ready now.
void type_ghost_fetch(type_ghost *ghost);
// Puts what is shown, up to `unit` (INK_ACCEPT_*), into the text. False: nothing is shown.
bool type_ghost_accept(type_ghost *ghost, type_editor *editor, uint32_t unit);
// Takes the editor's last change back.
void type_ghost_undo(type_ghost *ghost, type_editor *editor);
// Shows another one. False: there is no other.
bool type_ghost_retry(type_ghost *ghost);
void type_ghost_reject(type_ghost *ghost);

#endif
