// SPDX-License-Identifier: MIT
#include "cli/type_screen.h"

#include <curses.h>
#include <langinfo.h>
#include <locale.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "cli/report.h"
#include "cli/text.h"
#include "cli/type_keys.h"
#include "cli/type_signal.h"

enum { ESCAPE_MS = 50, GREY = 244, BRIGHT_BLACK = 8, GHOST_PAIR = 1 };

static const char paste_on[] = "\033[?2004h", paste_off[] = "\033[?2004l";

static struct {
    SCREEN *terminal;
    WINDOW *input;
    attr_t ghost;
    short ghost_pair;
    struct termios modes;
} screen;

static bool use_utf8(void) {
    static const char *const names[] = {"", "C.UTF-8", "C.utf8", "UTF-8", "en_US.UTF-8"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (setlocale(LC_CTYPE, names[i]) != NULL && strcmp(nl_langinfo(CODESET), "UTF-8") == 0)
            return true;
    setlocale(LC_CTYPE, "C");
    return false;
}

// Grey where the terminal has one, else what it has to tell a text from another.
static void choose_ghost(void) {
    screen.ghost = A_DIM;
    screen.ghost_pair = 0;
    if (has_colors() && start_color() == OK && use_default_colors() == OK && COLORS >= 16) {
        init_pair(GHOST_PAIR, COLORS >= 256 ? GREY : BRIGHT_BLACK, -1);
        screen.ghost = A_NORMAL;
        screen.ghost_pair = GHOST_PAIR;
    } else if ((termattrs() & A_DIM) == 0) {
        screen.ghost = A_UNDERLINE;
    }
}

// Adds a capability without its padding, which only tputs understands.
static size_t capability(char *out, size_t at, size_t cap, const char *name) {
    const char *s = tigetstr(name);
    if (s == NULL || (intptr_t)s == -1) return at;
    while (*s != 0 && at < cap) {
        const char *end = s[0] == '$' && s[1] == '<' ? strchr(s, '>') : NULL;
        if (end != NULL)
            s = end + 1;
        else
            out[at++] = *s++;
    }
    return at;
}

static void prepare_for_crash(void) {
    static const char *const names[] = {"sgr0", "cnorm", "rmkx", "rmcup"};
    char text[400];
    size_t n = sizeof paste_off - 1;
    memcpy(text, paste_off, n);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        n = capability(text, n, sizeof text - 2, names[i]);
    text[n++] = '\r';
    text[n++] = '\n';
    type_signal_on_crash(text, n, &screen.modes);
}

static void write_terminal(const char *s, size_t n) {
    fflush(stdout);
    const ssize_t put = write(STDOUT_FILENO, s, n);
    (void)put; // a terminal that has gone is noticed elsewhere
}

int type_screen_open(void) {
    const char *type = getenv("TERM");
    if (tcgetattr(STDIN_FILENO, &screen.modes) != 0)
        return cli_fail(CLI_USAGE, "type: standard input is no terminal");
    if (!use_utf8()) return cli_fail(CLI_OTHER, "type: the system has no locale with UTF-8");
    // An escape alone is a key, and is told from a sequence by the time after it.
    if (getenv("ESCDELAY") == NULL) set_escdelay(ESCAPE_MS);
    screen.terminal = type_keys_terminal_known() ? newterm(NULL, stdout, stdin) : NULL;
    if (screen.terminal == NULL) {
        setlocale(LC_CTYPE, "C");
        return cli_fail(CLI_USAGE,
                        "type: a terminal of the kind \"%.60s\" is not known or cannot move its "
                        "cursor (TERM)",
                        type != NULL ? type : "");
    }
    prepare_for_crash();
    raw();
    noecho();
    nonl();
    choose_ghost();
    // A pad, since reading from a window would draw it.
    screen.input = newpad(1, 1);
    keypad(screen.input, TRUE);
    nodelay(screen.input, TRUE);
    type_keys_define();
    write_terminal(paste_on, sizeof paste_on - 1);
    return CLI_OK;
}

void type_screen_close(void) {
    if (screen.terminal == NULL) return;
    write_terminal(paste_off, sizeof paste_off - 1);
    if (screen.input != NULL) delwin(screen.input);
    // A terminal without a second screen would keep what was drawn.
    erase();
    refresh();
    endwin();
    delscreen(screen.terminal);
    screen.terminal = NULL;
    setlocale(LC_CTYPE, "C");
    type_signal_on_crash(NULL, 0, NULL);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &screen.modes);
}

void *type_screen_input(void) { return screen.input; }

void type_screen_size(size_t *rows, size_t *cols) {
    *rows = LINES > 0 ? (size_t)LINES : 1;
    *cols = COLS > 0 ? (size_t)COLS : 1;
}

void type_screen_resize(void) {
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
        return;
    resizeterm(size.ws_row, size.ws_col);
}

void type_screen_redraw(void) { clearok(curscr, TRUE); }

static void draw_cell(int row, int col, const type_cell *cell) {
    wchar_t text[TYPE_CELL_CHARS + 1];
    cchar_t shown;
    const bool ghost = (cell->style & TYPE_STYLE_GHOST) != 0;
    attr_t attributes = ghost ? screen.ghost : A_NORMAL;
    if ((cell->style & TYPE_STYLE_ESCAPE) != 0) attributes |= A_REVERSE;
    for (size_t i = 0; i < cell->n; i++) text[i] = (wchar_t)cell->c[i];
    text[cell->n] = 0;
    if (setcchar(&shown, text, attributes, ghost ? screen.ghost_pair : 0, NULL) == OK)
        mvadd_wch(row, col, &shown);
}

// Shows s from column `at` on, up to `end`; what is no plain character in its visible form.
// Returns the column behind it.
static size_t draw_text(int row, size_t at, size_t end, const char *s) {
    const size_t n = strlen(s);
    for (size_t i = 0; i < n;) {
        char visible[CLI_TEXT_STEP + 1];
        size_t put, columns = 0;
        uint32_t c;
        i += cli_text_step(s + i, n - i, "", visible, &put);
        for (size_t k = 0, length; k < put; k += length) {
            length = cli_text_decode(visible + k, put - k, &c);
            const int width = length > 0 ? type_width(c) : -1;
            if (width < 0) {
                columns = SIZE_MAX;
                break;
            }
            columns += (size_t)width;
        }
        if (columns == SIZE_MAX) { // no form to show
            memcpy(visible, "?", put = 1);
            columns = 1;
        }
        if (columns > end - at) break;
        mvaddnstr(row, (int)at, visible, (int)put);
        at += columns;
    }
    return at;
}

static size_t columns_of(const char *s) {
    size_t columns = 0;
    const size_t n = strlen(s);
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t c = 0;
        length = cli_text_decode(s + i, n - i, &c);
        const int width = length > 0 ? type_width(c) : 1;
        columns += width > 0 ? (size_t)width : 1;
        if (length == 0) length = 1;
    }
    return columns;
}

static void draw_status(size_t row, size_t cols, const char *left, const char *const *right,
                        size_t n_right) {
    const int y = (int)row;
    attron(A_REVERSE);
    mvhline(y, 0, ' ', (int)cols);
    const size_t behind = draw_text(y, cols > 1 ? 1 : 0, cols, left);
    for (size_t i = 0; i < n_right; i++) {
        const size_t need = columns_of(right[i]);
        if (behind + 2 + need >= cols) continue;
        draw_text(y, cols - 1 - need, cols, right[i]);
        break;
    }
    attroff(A_REVERSE);
}

void type_screen_draw(const type_grid *grid, const char *left, const char *const *right,
                      size_t n_right) {
    erase();
    for (size_t row = 0; row < grid->rows; row++)
        for (size_t col = 0; col < grid->cols; col++) {
            const type_cell *cell = &grid->cells[row * grid->cols + col];
            if (cell->n > 0) draw_cell((int)row, (int)col, cell);
        }
    size_t rows, cols;
    type_screen_size(&rows, &cols);
    if (rows > 1) draw_status(rows - 1, cols, left, right, n_right);
    move((int)grid->caret_row, (int)grid->caret_col);
    refresh();
}
