// SPDX-License-Identifier: MIT
// A progress bar on standard error: one line that is redrawn on a terminal, a line at every 10 %
// elsewhere; nothing for work that takes less than half a second.
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

typedef struct cli_progress {
    const char *what; // "reading the prompt"
    double started, drawn;
    int tenths; // reported last as a plain line
    bool bar_only;
    bool on_screen;
} cli_progress;

// bar_only: say nothing where there is no terminal.
void cli_progress_begin(cli_progress *progress, const char *what, bool bar_only);
void cli_progress_update(cli_progress *progress, double fraction);
// A bar with `tail` behind it instead of the share and the time left; nothing where there is no
// terminal.
void cli_progress_show(cli_progress *progress, double fraction, const char *tail);
void cli_progress_end(cli_progress *progress);
// Wipes the bar that is on the screen now, before other output; the next update draws it again.
void cli_progress_hide(void);

bool cli_terminal_is(void);        // whether standard error is one
size_t cli_terminal_columns(void); // that a line may have there

double cli_now_ms(void); // monotonic

#endif
