// SPDX-License-Identifier: MIT
#include "cli/terminal.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { WIDEST = 200, PATIENCE_MS = 500, REDRAW_MS = 100 };

static cli_progress *shown; // the bar on the screen

double cli_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

bool cli_terminal_is(void) {
    static int answer = -1;
    if (answer < 0) answer = isatty(STDERR_FILENO);
    return answer != 0;
}

// Asked for every time: the window may change its size. The last column stays free, because some
// terminals wrap when it is written.
size_t cli_terminal_columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 79;
    return size.ws_col > WIDEST ? WIDEST : (size_t)size.ws_col - 1;
}

void cli_progress_begin(cli_progress *progress, const char *what, bool bar_only) {
    *progress = (cli_progress){.what = what, .bar_only = bar_only, .started = cli_now_ms()};
    progress->drawn = progress->started;
}

static void remaining(double elapsed_ms, double fraction, char *text, size_t cap) {
    const double seconds = fraction > 0 ? elapsed_ms / fraction * (1 - fraction) / 1000 : 0;
    if (fraction <= 0 || seconds > 359999) {
        snprintf(text, cap, "--:--");
        return;
    }
    const unsigned s = (unsigned)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, cap, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, cap, "%u:%02u", s / 60, s % 60);
}

static void draw(cli_progress *progress, double fraction, const char *tail) {
    char line[WIDEST + 2];
    // The "^C" that a terminal shows must not begin a second line, which would not be wiped.
    const size_t room = cli_terminal_columns(), width = room > 20 ? room - 2 : room;
    const size_t n_tail = strlen(tail);
    size_t at = 0;
    line[at++] = '\r';
    for (const char *p = progress->what; *p != 0 && at <= width; p++) line[at++] = *p;
    // The bar has what the words leave; a narrow window gets no bar, a very narrow one fewer words.
    if (at + n_tail + 8 <= width) {
        const size_t bar = width - at - n_tail - 3;
        const size_t full = (size_t)((double)bar * fraction);
        if (at > 1) line[at++] = ' ';
        line[at++] = '[';
        for (size_t i = 0; i < bar; i++) line[at++] = i < full ? '#' : '.';
        line[at++] = ']';
    }
    for (size_t i = 0; i < n_tail && at <= width; i++) line[at++] = tail[i];
    while (at <= width) line[at++] = ' ';
    fwrite(line, 1, at, stderr);
    fflush(stderr);
    progress->on_screen = true;
    shown = progress;
}

static bool is_due(const cli_progress *progress, double now) {
    return !progress->on_screen || now - progress->drawn >= REDRAW_MS;
}

void cli_progress_show(cli_progress *progress, double fraction, const char *tail) {
    const double now = cli_now_ms();
    if (!cli_terminal_is() || !is_due(progress, now)) return;
    progress->drawn = now;
    draw(progress, fraction > 0 ? fraction < 1 ? fraction : 1 : 0, tail);
}

void cli_progress_update(cli_progress *progress, double fraction) {
    const double now = cli_now_ms(), elapsed = now - progress->started;
    if (!(fraction >= 0)) fraction = 0;
    if (fraction > 1) fraction = 1;
    if (elapsed < PATIENCE_MS) return;
    if (cli_terminal_is()) {
        if (!is_due(progress, now)) return;
        char left[16], tail[40];
        remaining(elapsed, fraction, left, sizeof left);
        snprintf(tail, sizeof tail, " %3d%% %s left", (int)(fraction * 100), left);
        progress->drawn = now;
        draw(progress, fraction, tail);
        return;
    }
    const int tenths = (int)(fraction * 10);
    if (progress->bar_only || tenths <= progress->tenths) return;
    progress->tenths = tenths;
    char left[16];
    remaining(elapsed, fraction, left, sizeof left);
    if (tenths < 10)
        fprintf(stderr, "%s: %d%%, %s left\n", progress->what, tenths * 10, left);
    else
        fprintf(stderr, "%s: 100%%, %.1f s\n", progress->what, elapsed / 1000);
    fflush(stderr);
}

void cli_progress_hide(void) {
    if (shown == NULL) return;
    // Blanks instead of an escape sequence: they work on every terminal.
    char line[WIDEST + 3];
    const size_t width = cli_terminal_columns();
    line[0] = '\r';
    memset(line + 1, ' ', width);
    line[1 + width] = '\r';
    fwrite(line, 1, width + 2, stderr);
    fflush(stderr);
    shown->on_screen = false;
    shown = NULL;
}

void cli_progress_end(cli_progress *progress) {
    if (shown == progress) cli_progress_hide();
}
