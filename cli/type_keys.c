// SPDX-License-Identifier: MIT
#include "cli/type_keys.h"

#include <curses.h>
#include <stdint.h>
#include <unistd.h>

// Last: it makes macros of words such as "columns".
#include <term.h>

enum { ESCAPE = 27, CTRL = 0x1f };

// Codes of our own lie above those that curses gives to the extended names of a terminal.
enum { OWN_FIRST = 0x4000, OWN_PASTE = OWN_FIRST + TYPE_KEY_HELP + 1 };

static const struct {
    const char *name, *sequence; // in terminfo; as xterm and its kin send it
    type_key key;
} extended[] = {
    {"kLFT5", "\033[1;5D", TYPE_KEY_WORD_LEFT},
    {"kRIT5", "\033[1;5C", TYPE_KEY_WORD_RIGHT},
    {"kLFT3", "\033[1;3D", TYPE_KEY_WORD_LEFT},
    {"kRIT3", "\033[1;3C", TYPE_KEY_WORD_RIGHT},
    {NULL, "\033Od", TYPE_KEY_WORD_LEFT},
    {NULL, "\033Oc", TYPE_KEY_WORD_RIGHT},
    {NULL, "\033[5D", TYPE_KEY_WORD_LEFT},
    {NULL, "\033[5C", TYPE_KEY_WORD_RIGHT},
    {NULL, "\033b", TYPE_KEY_WORD_LEFT},
    {NULL, "\033f", TYPE_KEY_WORD_RIGHT},
    {"kHOM5", "\033[1;5H", TYPE_KEY_FIRST},
    {"kEND5", "\033[1;5F", TYPE_KEY_LAST},
    {NULL, "\033[H", TYPE_KEY_HOME},
    {NULL, "\033[F", TYPE_KEY_END},
    {NULL, "\033[1~", TYPE_KEY_HOME},
    {NULL, "\033[4~", TYPE_KEY_END},
    {NULL, "\033\177", TYPE_KEY_DELETE_WORD},
};

static bool has(const char *capability) { return capability != NULL && (intptr_t)capability != -1; }

bool type_keys_terminal_known(void) {
    int found = 0;
    if (setupterm(NULL, STDOUT_FILENO, &found) != OK) return false;
    const bool can_move = has(tigetstr("cup"));
    del_curterm(cur_term);
    return can_move;
}

void type_keys_define(void) {
    for (size_t i = 0; i < sizeof extended / sizeof *extended; i++) {
        const int code = OWN_FIRST + (int)extended[i].key;
        const char *own = extended[i].name != NULL ? tigetstr(extended[i].name) : NULL;
        if (has(own)) define_key(own, code);
        define_key(extended[i].sequence, code);
    }
    define_key("\033[200~", OWN_PASTE);
}

static const struct {
    int code;
    type_key key;
} known[] = {
    {KEY_LEFT, TYPE_KEY_LEFT},
    {KEY_RIGHT, TYPE_KEY_RIGHT},
    {KEY_UP, TYPE_KEY_UP},
    {KEY_DOWN, TYPE_KEY_DOWN},
    {KEY_HOME, TYPE_KEY_HOME},
    {KEY_END, TYPE_KEY_END},
    {KEY_PPAGE, TYPE_KEY_PAGE_UP},
    {KEY_NPAGE, TYPE_KEY_PAGE_DOWN},
    {KEY_BACKSPACE, TYPE_KEY_BACKSPACE},
    {KEY_DC, TYPE_KEY_DELETE},
    {KEY_F(1), TYPE_KEY_HELP},
    {127, TYPE_KEY_BACKSPACE},
    {'H' & CTRL, TYPE_KEY_BACKSPACE},
    {'A' & CTRL, TYPE_KEY_HOME},
    {'E' & CTRL, TYPE_KEY_END},
    {'D' & CTRL, TYPE_KEY_DELETE_OR_QUIT},
    {'G' & CTRL, TYPE_KEY_HELP},
    {'C' & CTRL, TYPE_KEY_HELP},
    {'I' & CTRL, TYPE_KEY_TAB},
    {'L' & CTRL, TYPE_KEY_REDRAW},
    {'N' & CTRL, TYPE_KEY_RETRY},
    {'Q' & CTRL, TYPE_KEY_QUIT},
    {'X' & CTRL, TYPE_KEY_QUIT},
    {'S' & CTRL, TYPE_KEY_SAVE},
    {'W' & CTRL, TYPE_KEY_DELETE_WORD},
    {'Y' & CTRL, TYPE_KEY_REDO},
    {'Z' & CTRL, TYPE_KEY_UNDO},
};

static type_key find(int code) {
    if (code >= OWN_FIRST && code < OWN_PASTE) return (type_key)(code - OWN_FIRST);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == code) return known[i].key;
    return TYPE_KEY_IGNORED;
}

// Keys that curses does not know come as an escape and the rest of their sequence, which is not to
// become text.
static type_key escape(WINDOW *window) {
    int c = wgetch(window);
    if (c != '[' && c != 'O') {
        if (c != ERR) ungetch(c);
        return TYPE_KEY_REJECT;
    }
    const int first = c;
    do c = wgetch(window);
    while (first == '[' && c >= 0x20 && c < 0x40);
    return c == ERR ? TYPE_KEY_REJECT : TYPE_KEY_IGNORED;
}

static type_key take_text(type_input *input, type_key key, const char **text, size_t *n) {
    *text = input->text;
    *n = input->n;
    input->n = 0;
    return key;
}

// As much of a paste as is there. Its bytes must not become keys, so curses does not look at them.
static void read_paste(type_keys *keys) {
    type_input *input = &keys->input;
    while (input->pasting && input->n < TYPE_INPUT_BYTES) {
        const int c = wgetch(keys->window);
        if (c == ERR) break;
        if (c <= 0xff) type_input_pasted(input, (char)c);
    }
    if (!input->pasting) keypad(keys->window, TRUE);
}

type_key type_keys_read(type_keys *keys, const char **text, size_t *n) {
    type_input *input = &keys->input;
    *text = "";
    *n = 0;
    for (;;) {
        if (input->pasting) {
            read_paste(keys);
            if (input->n > 0) return take_text(input, TYPE_KEY_PASTE, text, n);
            if (input->pasting) return TYPE_KEY_NONE;
        }
        const int c = wgetch(keys->window);
        if (c == ERR) return TYPE_KEY_NONE;
        if (c == OWN_PASTE) {
            type_input_begin_paste(input);
            keypad(keys->window, FALSE);
            return take_text(input, TYPE_KEY_PASTE, text, n);
        }
        if (c == ESCAPE) return escape(keys->window);
        if (c == '\r' || c == '\n' || c == KEY_ENTER)
            type_input_byte(input, '\n');
        else if (c < 0x20 || c == 0x7f || c > 0xff)
            return find(c);
        else
            type_input_byte(input, (char)c);
        if (input->n > 0) return take_text(input, TYPE_KEY_TEXT, text, n);
    }
}

void type_keys_end_paste(type_keys *keys) {
    type_input_end_paste(&keys->input);
    keypad(keys->window, TRUE);
}
