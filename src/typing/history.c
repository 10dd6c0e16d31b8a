// SPDX-License-Identifier: MIT
#include "typing/history.h"

#include "typing/typing_parts.h"

#include <string.h>

static inki_accepted *accepted_at(const inki_history *history, uint32_t i) { // 0: the oldest
    return &history->list[(history->first + i) % history->cap];
}

// Bytes [at, at + n_old) of the text became n_new others.
static void history_replaced(inki_history *history, size_t at, size_t n_old, size_t n_new) {
    if (n_old == 0 && n_new == 0) return;
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < history->n; i++) {
        inki_accepted entry = *accepted_at(history, i);
        if (entry.at >= at + n_old)
            entry.at = entry.at - n_old + n_new;
        else if (entry.bytes > at || entry.at > at - entry.bytes)
            continue;
        *accepted_at(history, n_kept++) = entry;
    }
    history->n = n_kept;
}

void inki_history_add(inki_history *history, const char *text, size_t at, size_t bytes) {
    history_replaced(history, at, 0, bytes);
    if (history->cap == 0 || bytes == 0) return;
    if (history->n == history->cap) {
        history->first = (history->first + 1) % history->cap;
        history->n--;
    }
    *accepted_at(history, history->n++) = (inki_accepted){
        .at = at, .bytes = bytes, .signature = inki_typing_signature(text + at, bytes)};
}

// How many bytes a [n] and b [n] have in common at their beginning. This runs at each key, over the
// whole text.
static size_t same_beginning(const char *a, const char *b, size_t n) {
    enum { STEP = 64 };
    size_t i = 0;
    while (n - i >= STEP && memcmp(a + i, b + i, STEP) == 0) i += STEP;
    while (i < n && a[i] == b[i]) i++;
    return i;
}

// And at their end, a_end and b_end being behind it.
static size_t same_end(const char *a_end, const char *b_end, size_t n) {
    enum { STEP = 64 };
    size_t i = 0;
    while (n - i >= STEP && memcmp(a_end - i - STEP, b_end - i - STEP, STEP) == 0) i += STEP;
    while (i < n && a_end[-1 - (ptrdiff_t)i] == b_end[-1 - (ptrdiff_t)i]) i++;
    return i;
}

// "ab" typed before or behind another "ab" gives one text, but moves one of the two or none. Where
// the caret is tells: what is behind it was there before, as far as it reads the same. Only then
// the beginning is compared, and what an edit elsewhere has left the same further before the caret.
void inki_history_changed(inki_history *history, const char *old, size_t n_old, const char *text,
                          size_t n, size_t caret) {
    if (history->n == 0) return;
    const size_t shorter = n < n_old ? n : n_old;
    const size_t behind = n - caret < shorter ? n - caret : shorter;
    size_t end = behind > 0 ? same_end(old + n_old, text + n, behind) : 0;
    const size_t beginning = shorter > end ? same_beginning(old, text, shorter - end) : 0;
    const size_t left = shorter - beginning - end;
    if (left > 0) end += same_end(old + n_old - end, text + n - end, left);
    history_replaced(history, beginning, n_old - beginning - end, n - beginning - end);
}

bool inki_history_pop(inki_history *history, const char *text, size_t n, inki_accepted *out) {
    while (history->n > 0) {
        const inki_accepted entry = *accepted_at(history, --history->n);
        if (entry.bytes > n || entry.at > n - entry.bytes ||
            inki_typing_signature(text + entry.at, entry.bytes) != entry.signature)
            continue;
        history_replaced(history, entry.at, entry.bytes, 0);
        *out = entry;
        return true;
    }
    return false;
}
