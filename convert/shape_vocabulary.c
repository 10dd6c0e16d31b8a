// SPDX-License-Identifier: MIT
#include "convert/shape_vocabulary.h"

#include "base/utf8.h"

#include <string.h>

// Frequent letters first, so that a text has some of its pairs among the early merges.
static const char letters[] = "etaoinshrdlucmfwypvbgkjxqz";
enum {
    N_LETTERS = 26,
    N_PAIRS = N_LETTERS * N_LETTERS,
    N_BYTES = 256,
    MOST_TOKENS = 900 * 1000, // the rules give some more
    // A token is a blank (two bytes) and four letters at most; its merge has one blank more.
    TOKEN_ROOM = 8,
    ENTRY_ROOM = 2 * TOKEN_ROOM
};
static const char blank[] = "\xc4\xa0"; // U+0120, the letter of a blank
static const char end_text[] = "<|endoftext|>";

typedef struct merge_rule {
    bool left_blank;          // a blank stands before the left part's letters
    uint32_t n_left, n_right; // letters of the two parts
} merge_rule;

// Each rule uses what those before it have made, and no two of them make the same text.
static const merge_rule rules[] = {{true, 0, 1},  {false, 1, 1}, {true, 1, 1},
                                   {false, 2, 1}, {true, 2, 2},  {false, 2, 2}};

static uint32_t count_of(const merge_rule *rule) {
    uint32_t n = 1;
    for (uint32_t i = 0; i < rule->n_left + rule->n_right; i++) n *= N_LETTERS;
    return n;
}

static inki_str put(inki_shape_vocab *v, const char *text, size_t n) {
    char *to = v->text + v->text_bytes;
    memcpy(to, text, n);
    v->text_bytes += n;
    return (inki_str){to, n};
}

// Merge number `index` of a rule: its letters are the digits of the number.
static void add_merge(inki_shape_vocab *v, const merge_rule *rule, uint32_t index) {
    char entry[ENTRY_ROOM], digits[4];
    size_t at = 0, left;
    const uint32_t n = rule->n_left + rule->n_right;
    for (uint32_t i = n; i-- > 0; index /= N_LETTERS) digits[i] = letters[index % N_LETTERS];
    if (rule->left_blank) {
        memcpy(entry, blank, 2);
        at = 2;
    }
    memcpy(entry + at, digits, rule->n_left);
    left = at + rule->n_left;
    memcpy(entry + left, digits + rule->n_left, rule->n_right);
    v->types[v->n_tokens] = 1; // normal
    v->tokens[v->n_tokens++] = put(v, entry, left + rule->n_right);
    entry[left] = ' ';
    memcpy(entry + left + 1, digits + rule->n_left, rule->n_right);
    v->merges[v->n_merges++] = put(v, entry, left + 1 + rule->n_right);
}

static bool is_printable(uint32_t byte) {
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

// Printable bytes stand for themselves and come first, the others are letters from U+0100 on.
static void add_bytes(inki_shape_vocab *v) {
    for (int printable = 1; printable >= 0; printable--) {
        uint32_t n = 0;
        for (uint32_t byte = 0; byte < N_BYTES; byte++) {
            char letter[4];
            if (is_printable(byte) != (printable == 1)) continue;
            const uint32_t code = printable == 1 ? byte : N_BYTES + n++;
            v->types[v->n_tokens] = 1;
            v->tokens[v->n_tokens++] = put(v, letter, inki_utf8_encode(code, letter));
        }
    }
}

ink_status inki_shape_vocab_new(inki_shape_vocab *out, uint32_t n_tokens, const inki_mem *mem,
                                ink_error *error) {
    if (n_tokens < N_BYTES + 1 || n_tokens > MOST_TOKENS)
        return inki_fail(error, INK_E_LIMIT, "vocabulary", 0, "%u tokens, %d to %d were expected",
                         (unsigned)n_tokens, N_BYTES + 1, (int)MOST_TOKENS);
    const size_t room = (size_t)n_tokens * (2 * ENTRY_ROOM);
    inki_shape_vocab v = {.mem = *mem};
    v.tokens = inki_alloc(mem, n_tokens, sizeof *v.tokens);
    v.merges = inki_alloc(mem, n_tokens, sizeof *v.merges);
    v.types = inki_alloc(mem, n_tokens, sizeof *v.types);
    v.text = inki_alloc(mem, room, 1);
    if (v.tokens == NULL || v.merges == NULL || v.types == NULL || v.text == NULL) {
        v.n_tokens = n_tokens;
        inki_shape_vocab_free(&v);
        return inki_fail_nomem(error, room);
    }
    add_bytes(&v);
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
        for (uint32_t i = 0; i < count_of(&rules[r]) && v.n_tokens < n_tokens - 1; i++)
            add_merge(&v, &rules[r], i);
    v.types[v.n_tokens] = 3; // control
    v.tokens[v.n_tokens++] = put(&v, end_text, sizeof end_text - 1);
    *out = v;
    return INK_OK;
}

void inki_shape_vocab_free(inki_shape_vocab *v) {
    const inki_mem mem = v->mem;
    inki_release(&mem, v->tokens, v->n_tokens, sizeof *v->tokens);
    inki_release(&mem, v->merges, v->n_tokens, sizeof *v->merges);
    inki_release(&mem, v->types, v->n_tokens, sizeof *v->types);
    inki_release(&mem, v->text, (size_t)v->n_tokens * (2 * ENTRY_ROOM), 1);
    *v = (inki_shape_vocab){0};
}
