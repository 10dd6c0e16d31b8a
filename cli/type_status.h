// SPDX-License-Identifier: MIT
// The line below the text.
#ifndef CLI_TYPE_STATUS_H
#define CLI_TYPE_STATUS_H

#include "cli/type_ghost.h"

extern const char type_status_keys[]; // what the keys do, in one line

// ghost: of which the figures and the state are told. out [cap] with a 0 byte.
void type_status_left(const type_ghost *ghost, char *out, size_t cap);

#endif
