// SPDX-License-Identifier: MIT
// What wakes the editor beside its keys: signals, and threads that have something for it. And what
// puts the terminal right when the program crashes.
#ifndef CLI_TYPE_SIGNAL_H
#define CLI_TYPE_SIGNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

enum { TYPE_WAKE_GHOST = 1, TYPE_WAKE_SIZE = 2, TYPE_WAKE_END = 4, TYPE_WAKE_HANGUP = 8 };

// SIGTERM, SIGINT and SIGQUIT ask for the end, SIGHUP says that the terminal goes, SIGWINCH tells
// of another size, SIGTSTP is ignored. False: the system refused.
bool type_signal_install(void);
// As before. Nobody may call type_signal_wake any more.
void type_signal_restore(void);
// Readable while something is to be taken.
int type_signal_fd(void);
// From any thread, also in a signal handler.
void type_signal_wake(unsigned what);
// What has come since the last call.
unsigned type_signal_take(void);

// A crash writes text [n] to standard output and sets the terminal to `modes` before the program
// ends by that signal. Both are copied; too long a text is none. NULL: no more.
void type_signal_on_crash(const char *text, size_t n, const struct termios *modes);

#endif
