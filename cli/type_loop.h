// SPDX-License-Identifier: MIT
// The editor at work: keys in, drawing out, until the user or a signal ends it.
#ifndef CLI_TYPE_LOOP_H
#define CLI_TYPE_LOOP_H

#include "cli/type_file.h"
#include "cli/type_ghost.h"

typedef struct type_session {
    type_editor editor;
    type_file file;
    bool ghosts;
    type_ghost_settings settings;
    const char *model; // its name for the status line
} type_session;

// Returns an exit code. The text is then saved or printed, whatever the code is.
int type_loop(type_session *session);

#endif
