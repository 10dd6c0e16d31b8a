// SPDX-License-Identifier: MIT
#include "cli/type_loop.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/out.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "cli/type_keys.h"
#include "cli/type_screen.h"
#include "cli/type_signal.h"
#include "cli/type_status.h"

// However many keys wait, the screen is drawn now and then. A paste whose end mark is lost is over
// after that silence.
enum { DRAW_EVERY_MS = 30, PASTE_SILENCE_MS = 3000 };

typedef struct loop {
    type_session *session;
    type_editor *editor;
    type_ghost ghost;
    type_keys keys;
    type_grid grid;
    char message[512];       // instead of the figures, until the next key
    uint64_t saved;          // the editor's version in the file
    bool asks;               // it has a version of another program, was not overwritten
    bool overwrite, give_up; // a second key confirms
    bool leave, ended, lost; // ended: by a signal; lost: the terminal is gone
    bool unsaved;            // left although saving failed
    bool failed, gone;       // saving at the end; any other place too
    char rescued[4096];      // that other place
} loop;

static void wake(void) { type_signal_wake(TYPE_WAKE_GHOST); }

static void say(loop *l, const char *text) { snprintf(l->message, sizeof l->message, "%s", text); }

static bool has_file(const loop *l) { return l->session->file.path != NULL; }

static bool needs_saving(const loop *l) { return l->saved != l->editor->version; }

// False: l->message has the reason.
static bool save(loop *l) {
    type_file *file = &l->session->file;
    const char *text = type_text_all(&l->editor->text);
    if (text == NULL) {
        say(l, "out of memory");
        return false;
    }
    l->asks = !l->overwrite && type_file_is_foreign(file);
    if (l->asks) {
        snprintf(l->message, sizeof l->message, "%.200s: was changed by another program",
                 file->path);
        return false;
    }
    if (!type_file_write(file, text, l->editor->text.n, l->message, sizeof l->message))
        return false;
    l->saved = l->editor->version;
    return true;
}

static void add(loop *l, const char *text) {
    const size_t n = strlen(l->message);
    snprintf(l->message + n, sizeof l->message - n, "%s", text);
}

static void save_key(loop *l) {
    if (!has_file(l)) {
        say(l, "there is no file to save to: the text is printed at the end");
    } else if (save(l)) {
        snprintf(l->message, sizeof l->message, "saved %.200s, %zu bytes", l->session->file.path,
                 l->editor->text.n);
    } else if (l->asks) {
        add(l, "; Ctrl-S again overwrites it");
        l->overwrite = true;
    }
}

static void quit_key(loop *l) {
    l->unsaved = l->give_up;
    l->leave = l->give_up || !has_file(l) || !needs_saving(l) || save(l);
    if (l->leave) return;
    if (l->asks) {
        add(l, "; Ctrl-Q again overwrites it");
        l->overwrite = true;
    } else {
        add(l, "; Ctrl-Q again prints the text and ends");
        l->give_up = true;
    }
}

static void full(loop *l) { say(l, "there is no room for that: at most 64 MB"); }

static void on_key(loop *l, type_key key, const char *text, size_t n) {
    type_editor *editor = l->editor;
    const bool quits =
        key == TYPE_KEY_QUIT || (key == TYPE_KEY_DELETE_OR_QUIT && editor->text.n == 0);
    l->message[0] = 0;
    if (!quits && key != TYPE_KEY_SAVE) l->overwrite = l->give_up = false;
    if (quits) key = TYPE_KEY_QUIT;
    switch (key) {
    case TYPE_KEY_TEXT:
    case TYPE_KEY_PASTE:
        if (!type_editor_insert(editor, key, text, n)) full(l);
        break;
    case TYPE_KEY_TAB:
        if (!type_ghost_accept(&l->ghost, editor, INK_ACCEPT_ALL) &&
            !type_editor_insert(editor, TYPE_KEY_TEXT, "\t", 1))
            full(l);
        break;
    case TYPE_KEY_WORD_RIGHT:
        if (!type_ghost_accept(&l->ghost, editor, INK_ACCEPT_WORD)) type_editor_key(editor, key);
        break;
    case TYPE_KEY_RETRY:
        type_ghost_follow(&l->ghost, editor);
        if (!type_ghost_retry(&l->ghost)) say(l, "no other suggestion");
        break;
    case TYPE_KEY_REJECT:
        type_ghost_follow(&l->ghost, editor);
        type_ghost_reject(&l->ghost);
        break;
    case TYPE_KEY_UNDO: type_ghost_undo(&l->ghost, editor); break;
    case TYPE_KEY_SAVE: save_key(l); break;
    case TYPE_KEY_QUIT: quit_key(l); break;
    case TYPE_KEY_HELP: say(l, type_status_keys); break;
    case TYPE_KEY_REDRAW: type_screen_redraw(); break;
    default:
        if (!type_editor_key(editor, key)) full(l);
    }
}

// The keys that are there; true when there may be more. What they accept is the ghost on the
// screen: with the first change of the text it is gone.
static bool read_keys(loop *l) {
    const double begin = cli_now_ms();
    while (!l->leave) {
        const char *text;
        size_t n;
        const type_key key = type_keys_read(&l->keys, &text, &n);
        if (key == TYPE_KEY_NONE) return false;
        if (key != TYPE_KEY_IGNORED) on_key(l, key, text, n);
        type_ghost_check(&l->ghost, l->editor);
        if (cli_now_ms() - begin > DRAW_EVERY_MS) return true;
    }
    return false;
}

static bool fit(loop *l) {
    size_t rows, cols;
    type_screen_size(&rows, &cols);
    if (rows > 1) rows--;
    if (!type_grid_resize(&l->grid, rows, cols)) return false;
    l->editor->rows = rows;
    l->editor->width = cols < TYPE_LEAST_COLS ? 1 : cols - 1;
    l->editor->keeps_goal = false;
    return true;
}

static void draw(loop *l) {
    char left[512], names[320], model[128];
    const type_session *session = l->session;
    const char *const mark = has_file(l) && needs_saving(l) ? " *" : "";
    const char *const right[] = {names, model, mark};
    type_editor_scroll(l->editor);
    const type_view view = {.text = &l->editor->text,
                            .caret = l->editor->caret,
                            .top = l->editor->top,
                            .ghost = l->ghost.text,
                            .n_ghost = l->ghost.text_bytes};
    type_layout(&l->grid, &view);
    if (l->message[0] != 0)
        snprintf(left, sizeof left, "%s", l->message);
    else
        type_status_left(&l->ghost, left, sizeof left);
    snprintf(model, sizeof model, "%.100s%s", session->ghosts ? session->model : "", mark);
    snprintf(names, sizeof names, "%.100s%s%.150s%s", session->ghosts ? session->model : "",
             session->ghosts && has_file(l) ? " | " : "", has_file(l) ? session->file.path : "",
             mark);
    type_screen_draw(&l->grid, left, right, sizeof right / sizeof *right);
}

// Waits for a key, a signal or the worker. False: a signal, or the loss of the terminal, ends all.
static bool wait_for_news(loop *l, bool more) {
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = type_signal_fd(), .events = POLLIN}};
    const int timeout = more ? 0 : l->keys.input.pasting ? PASTE_SILENCE_MS : -1;
    const int n = poll(fds, 2, timeout);
    if (n == 0 && l->keys.input.pasting && !more) type_keys_end_paste(&l->keys);
    const unsigned woken = type_signal_take();
    if ((woken & TYPE_WAKE_SIZE) != 0) {
        type_screen_resize();
        (void)fit(l); // without memory the old size goes on
    }
    l->lost = (woken & TYPE_WAKE_HANGUP) != 0;
    l->ended = (woken & TYPE_WAKE_END) != 0;
    if (n > 0 && (fds[0].revents & POLLIN) != 0) {
        int bytes = 0; // readable without a byte is the end
        if (ioctl(STDIN_FILENO, FIONREAD, &bytes) != 0 || bytes == 0) l->lost = true;
    } else if (n > 0 && (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
        l->lost = true;
    }
    return !l->ended && !l->lost;
}

static void edit(loop *l) {
    say(l, type_status_keys);
    for (bool more = false; !l->leave; more = read_keys(l)) {
        type_ghost_follow(&l->ghost, l->editor);
        type_ghost_fetch(&l->ghost);
        draw(l);
        if (!wait_for_news(l, more)) return;
    }
}

// In a file of its own, what had no other place to go.
static void rescue(loop *l, const char *text) {
    if (l->editor->text.n == 0 || l->rescued[0] != 0) return;
    if (!type_file_rescue(text, l->editor->text.n, l->rescued, sizeof l->rescued)) {
        l->rescued[0] = 0;
        l->gone = true;
    }
}

// The end, while the terminal is still ours: putting that right may have to wait for it.
static void store(loop *l) {
    const char *text = type_text_all(&l->editor->text);
    l->overwrite = false; // that was for a key to say
    if (text == NULL) {
        l->gone = true;
    } else if (!has_file(l)) {
        if (l->lost) rescue(l, text);
    } else if (needs_saving(l) && !l->unsaved && !save(l)) {
        l->failed = true;
        rescue(l, text);
    }
}

// The end, with the terminal as it was.
static int tell(loop *l) {
    const type_editor *editor = l->editor;
    int code = l->ended || l->lost ? CLI_INTERRUPTED : CLI_OK;
    if (l->failed) code = cli_fail(CLI_FILE, "%s", l->message);
    const bool print = l->unsaved || (!has_file(l) && !l->lost);
    if (print && !l->gone && editor->text.n > 0) {
        cli_out_text(editor->text.data, editor->text.n);
        if (!cli_out_at_line_start()) cli_out("\n");
        if (!cli_out_flush()) rescue(l, editor->text.data);
    }
    if (l->unsaved) code = cli_fail(CLI_FILE, "%s: was not saved", l->session->file.path);
    if (l->rescued[0] != 0) cli_note("inkling: the text was saved as %s", l->rescued);
    if (l->gone) code = cli_fail(CLI_FILE, "the text could not be saved anywhere and is lost");
    return code;
}

int type_loop(type_session *session) {
    loop l = {.session = session, .editor = &session->editor, .saved = session->editor.version};
    ink_error error = {0};
    int code = CLI_OK;
    if (!type_signal_install()) return cli_fail(CLI_OTHER, "type: %s", strerror(errno));
    session->settings.wake = wake;
    if (session->ghosts) {
        const ink_status status = type_ghost_open(&l.ghost, &session->settings, &error);
        if (status != INK_OK) code = cli_fail_ink(status, &error);
    }
    if (code == CLI_OK) code = type_screen_open();
    if (code == CLI_OK) {
        l.keys.window = type_screen_input();
        const bool fits = l.keys.window != NULL && fit(&l);
        if (fits) {
            edit(&l);
            store(&l);
        }
        type_screen_close();
        code = fits ? tell(&l) : cli_fail_memory();
    }
    type_ghost_close(&l.ghost);
    type_grid_free(&l.grid);
    type_signal_restore();
    return code;
}
