// SPDX-License-Identifier: MIT
// Words, sentences, lines and paragraphs in UTF-8 text, as a typing session counts them. Pure
// functions of their arguments.
//
// A blank is white space (Unicode's White_Space). A word is a run of characters that are no blanks;
// a character of a script written without blanks (Han, Hiragana, Katakana, Thai, Lao, Khmer,
// Myanmar) is a word by itself, which takes the punctuation behind it along.
#ifndef INKI_TYPING_WORDS_H
#define INKI_TYPING_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Where the window over text [bytes] (UTF-8) begins: at word K * ceil(max(0, W - limit) / K) of its
// W words, K = max(1, limit / 2), one ordinary space (U+0020) before that word included, since
// " word" is one token. While nothing is left out, and with limit 0: 0. One pass over the text.
// A word that is longer than INKI_WORD_BYTES with the blanks behind it counts as several here: at
// the first character that many bytes behind the last beginning another one begins. So between half
// of the limit and all of it is read of any text, at most inki_words_window_bytes(limit) bytes.
enum { INKI_WORD_BYTES = 128 };
size_t inki_words_window(const char *text, size_t bytes, uint32_t limit);
uint64_t inki_words_window_bytes(uint32_t limit);
// The same rule for n things, tokens: the index of the first that is read. limit 0: 0.
uint32_t inki_words_window_start(uint32_t n, uint32_t limit);

// Bytes of text [bytes] up to the end of its first word, blanks before it included. *whole: whether
// the word certainly ends there, because something that is no part of it follows; else it may go
// on. Without any word (blanks only): bytes, and *whole is false.
size_t inki_words_first(const char *text, size_t bytes, bool *whole);
// The first word without the blanks before and the punctuation behind it (one that is all
// punctuation stays as it is): where it begins, and *n its bytes. For comparing alternatives.
size_t inki_words_first_bare(const char *text, size_t bytes, size_t *n);

// Where a suggestion with the text [bytes] so far ends, by `until` (INK_UNTIL_* of the public
// header). Returns true when it does, *end [0, bytes] is then the bytes that stay.
//   WORD       at the end of the first whole word
//   SENTENCE   behind the first . ! ? … or their full-width forms 。！？, with the quotes and
//              brackets that close behind it, when a blank, the end of a line or a character of a
//              script without blanks follows; full-width ones need nothing behind them
//   LINE       before the first line feed or carriage return; LINE of a text that begins with line
//              feeds: before the first one behind a character that is no blank
//   PARAGRAPH  before the first two line feeds in a row (blanks between them allowed), behind a
//              character that is no blank
//   LENGTH     never
// The end of the text so far is no end of anything: more may come.
bool inki_words_until(const char *text, size_t bytes, uint32_t until, size_t *end);

// Bytes of text [bytes] that accepting `unit` (INK_ACCEPT_*) takes: WORD inki_words_first, LINE up
// to and with the first line feed, ALL everything. Over 0 for bytes > 0.
size_t inki_words_accept(const char *text, size_t bytes, uint32_t unit);

#endif
