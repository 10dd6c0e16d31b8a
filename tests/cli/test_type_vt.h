// SPDX-License-Identifier: MIT
// As much of an xterm as curses needs: the bytes of a program become a screen that tests can read.
// For one test program; LC_CTYPE is UTF-8.
#ifndef TEST_TYPE_VT_H
#define TEST_TYPE_VT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

enum { VT_ROWS = 60, VT_COLS = 160, VT_GHOST = 1, VT_REVERSE = 2 };

typedef struct vt_cell {
    char text[24]; // UTF-8 with its marks; "" for a blank or the right half of a character
    bool right_half;
    unsigned style;
} vt_cell;

typedef struct vt {
    vt_cell cells[VT_ROWS][VT_COLS];
    int rows, cols, row, col, top, bottom; // the last two of the part that scrolls
    unsigned style;
    bool alternate, paste, cursor, keypad; // what a program has to put back
    bool full;                             // a character stands in the last column
    char pending[64];                      // of a sequence or a character
    size_t n_pending;
    char last[8]; // for the repetition of a character
} vt;

static void vt_blank(vt *t, int row, int from, int to) {
    for (int col = from; col < to; col++)
        t->cells[row][col] = (vt_cell){.style = t->style & VT_REVERSE};
}

static void vt_resize(vt *t, int rows, int cols) {
    t->rows = rows;
    t->cols = cols;
    t->top = 0;
    t->bottom = rows - 1;
    t->row = t->row < rows ? t->row : rows - 1;
    t->col = t->col < cols ? t->col : cols - 1;
}

static void vt_init(vt *t, int rows, int cols) {
    memset(t, 0, sizeof *t);
    t->cursor = true;
    vt_resize(t, rows, cols);
}

static void vt_scroll(vt *t, int top, int lines) {
    for (; lines > 0; lines--) {
        memmove(t->cells[top], t->cells[top + 1], (size_t)(t->bottom - top) * sizeof t->cells[0]);
        vt_blank(t, t->bottom, 0, VT_COLS);
    }
    for (; lines < 0; lines++) {
        memmove(t->cells[top + 1], t->cells[top], (size_t)(t->bottom - top) * sizeof t->cells[0]);
        vt_blank(t, top, 0, VT_COLS);
    }
}

static void vt_line_feed(vt *t) {
    if (t->row == t->bottom)
        vt_scroll(t, t->top, 1);
    else if (t->row < t->rows - 1)
        t->row++;
}

static void vt_put(vt *t, const char *s, int columns) {
    if (columns == 0) {
        int col = t->full ? t->col : t->col - 1;
        while (col > 0 && t->cells[t->row][col].right_half) col--;
        if (col >= 0 && strlen(t->cells[t->row][col].text) + strlen(s) < sizeof t->cells[0][0].text)
            strcat(t->cells[t->row][col].text, s);
        return;
    }
    if (t->full || t->col + columns > t->cols) {
        t->col = 0;
        vt_line_feed(t);
    }
    vt_cell *cell = &t->cells[t->row][t->col];
    *cell = (vt_cell){.style = t->style};
    strcpy(cell->text, strcmp(s, " ") == 0 ? "" : s);
    if (columns == 2) cell[1] = (vt_cell){.style = t->style, .right_half = true};
    strcpy(t->last, s);
    t->full = t->col + columns >= t->cols;
    t->col = t->full ? t->cols - 1 : t->col + columns;
}

static void vt_style(vt *t, const int *p, int n) {
    for (int i = 0; i < n; i++) {
        if (p[i] == 0) t->style = 0;
        if (p[i] == 7) t->style |= VT_REVERSE;
        if (p[i] == 27) t->style &= ~(unsigned)VT_REVERSE;
        if (p[i] == 39) t->style &= ~(unsigned)VT_GHOST;
        if (p[i] == 38 && i + 2 < n && p[i + 1] == 5) {
            t->style |= VT_GHOST; // the only colour there is
            i += 2;
        }
    }
}

static void vt_mode(vt *t, int mode, bool on) {
    if (mode == 1049 && on != t->alternate) {
        for (int row = 0; row < VT_ROWS; row++) vt_blank(t, row, 0, VT_COLS);
        t->alternate = on;
    }
    if (mode == 2004) t->paste = on;
    if (mode == 25) t->cursor = on;
    if (mode == 1) t->keypad = on;
}

static int vt_clamp(int value, int most) { return value < 0 ? 0 : value > most ? most : value; }

static void vt_erase(vt *t, char final, int how) {
    vt_blank(t, t->row, how == 0 ? t->col : 0, how == 1 ? t->col + 1 : t->cols);
    for (int row = 0; row < t->rows && final == 'J'; row++)
        if (how == 2 || (how == 0 && row > t->row) || (how == 1 && row < t->row))
            vt_blank(t, row, 0, t->cols);
}

static void vt_shift(vt *t, int by) {
    vt_cell *line = t->cells[t->row];
    const int n = by < 0 ? -by : by, rest = t->cols - t->col - n;
    if (rest <= 0) {
        vt_blank(t, t->row, t->col, t->cols);
    } else if (by > 0) {
        memmove(line + t->col + n, line + t->col, (size_t)rest * sizeof *line);
        vt_blank(t, t->row, t->col, t->col + n);
    } else {
        memmove(line + t->col, line + t->col + n, (size_t)rest * sizeof *line);
        vt_blank(t, t->row, t->cols - n, t->cols);
    }
}

// "\033[" parameters final.
static void vt_control(vt *t, const char *s, size_t n) {
    int p[16] = {0}, count = 0;
    const char final = s[n - 1];
    const bool private = s[2] == '?';
    for (size_t i = private ? 3 : 2; i < n - 1 && count < 16; i++) {
        if (s[i] >= '0' && s[i] <= '9')
            p[count] = p[count] * 10 + (s[i] - '0');
        else
            count++;
    }
    count = count < 16 ? count + 1 : 16;
    const int one = p[0] > 0 ? p[0] : 1;
    if (final == 'm') {
        if (!private && s[2] != '>') vt_style(t, p, count);
        return;
    }
    if (private) {
        for (int i = 0; i < count; i++)
            if (final == 'h' || final == 'l') vt_mode(t, p[i], final == 'h');
        return;
    }
    t->full = false;
    switch (final) {
    case 'H':
        t->row = vt_clamp(one - 1, t->rows - 1);
        t->col = vt_clamp(p[1] - 1, t->cols - 1);
        break;
    case 'd': t->row = vt_clamp(one - 1, t->rows - 1); break;
    case 'G': t->col = vt_clamp(one - 1, t->cols - 1); break;
    case 'A': t->row = vt_clamp(t->row - one, t->rows - 1); break;
    case 'B': t->row = vt_clamp(t->row + one, t->rows - 1); break;
    case 'C': t->col = vt_clamp(t->col + one, t->cols - 1); break;
    case 'D': t->col = vt_clamp(t->col - one, t->cols - 1); break;
    case 'J':
    case 'K': vt_erase(t, final, p[0]); break;
    case 'X': vt_blank(t, t->row, t->col, vt_clamp(t->col + one, t->cols)); break;
    case 'P': vt_shift(t, -one); break;
    case '@': vt_shift(t, one); break;
    case 'L': vt_scroll(t, t->row, -one); break;
    case 'M': vt_scroll(t, t->row, one); break;
    case 'S': vt_scroll(t, t->top, one); break;
    case 'T': vt_scroll(t, t->top, -one); break;
    case 'r':
        t->top = one - 1;
        t->bottom = p[1] > 0 ? vt_clamp(p[1] - 1, t->rows - 1) : t->rows - 1;
        t->row = t->col = 0;
        break;
    case 'b':
        for (int i = 0; i < one; i++) vt_put(t, t->last, 1);
        break;
    default: break;
    }
}

static void vt_plain(vt *t, const char *s) {
    wchar_t c = 0;
    switch (s[0]) {
    case '\r': t->col = 0; break;
    case '\n': vt_line_feed(t); break;
    case '\b': t->col = vt_clamp(t->col - 1, t->cols - 1); break;
    case '\t': t->col = vt_clamp(t->col / 8 * 8 + 8, t->cols - 1); break;
    default:
        if ((unsigned char)s[0] < 0x20) return;
        if (mbtowc(&c, s, strlen(s)) > 0) vt_put(t, s, wcwidth(c));
        return;
    }
    t->full = false;
}

static void vt_byte(vt *t, char byte) {
    char *s = t->pending;
    if (t->n_pending + 1 < sizeof t->pending) s[t->n_pending++] = byte;
    s[t->n_pending] = 0;
    if (s[0] == '\033') {
        if (t->n_pending < 2) return;
        const bool sequence = s[1] == '[';
        if (sequence && (t->n_pending < 3 || byte < 0x40)) return;
        if (strchr("()#", s[1]) != NULL && t->n_pending < 3) return;
        if (sequence)
            vt_control(t, s, t->n_pending);
        else if (s[1] == 'M' && t->row > t->top)
            t->row--;
        else if (s[1] == 'M')
            vt_scroll(t, t->top, -1);
    } else {
        const unsigned char b = (unsigned char)s[0];
        if (t->n_pending < (b < 0x80 ? 1u : b < 0xe0 ? 2u : b < 0xf0 ? 3u : 4u)) return;
        vt_plain(t, s);
    }
    t->n_pending = 0;
}

// The characters of a row from column `from` on, of those with this style, blanks at the end left
// out; out [cap].
static char *vt_text(const vt *t, int row, int from, unsigned style, char *out, size_t cap) {
    size_t n = 0, last = 0;
    for (int col = from; col < t->cols; col++) {
        const vt_cell *cell = &t->cells[row][col];
        if (cell->right_half || (cell->style & (VT_GHOST | VT_REVERSE)) != style) continue;
        const char *s = cell->text[0] != 0 ? cell->text : " ";
        if (n + strlen(s) >= cap) break;
        memcpy(out + n, s, strlen(s));
        n += strlen(s);
        if (cell->text[0] != 0) last = n;
    }
    out[last] = 0;
    return out;
}

#endif
