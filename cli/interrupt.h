// SPDX-License-Identifier: MIT
// Ctrl-C and SIGTERM ask for an orderly end; a second one ends the program at once.
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>

#include "inkling/inkling.h"

// Also has a write to a closed pipe, or over a limit, give an error instead of a signal.
void cli_interrupt_install(void);
// The session whose running call a signal cancels; NULL: none.
void cli_interrupt_session(ink_session *session);
bool cli_interrupted(void);
// Waits until something can be read from fd, or its end; false when interrupted, also before. A
// signal that comes just before a plain read would not end that.
bool cli_interrupt_await(int fd);

#endif
