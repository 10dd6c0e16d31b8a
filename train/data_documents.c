// SPDX-License-Identifier: MIT
//
// Documents are ordered by a hash of their bytes. So which of them are held out depends neither on
// a run's seed nor on where a document stands, most of them stay on their side when a text grows,
// and equal documents are neighbours: they are held out together, else validation would be about
// texts that were learnt by heart.
#include "train/data_parts.h"

#include "base/utf8.h"
#include "base/checksum.h"

#include <string.h>

static const char separator[] = "<|endoftext|>";
enum { SEPARATOR_BYTES = sizeof separator - 1, MUCH = 20 };

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static inki_str trimmed(inki_str s) {
    while (s.bytes > 0 && is_blank(s.data[0])) s = (inki_str){s.data + 1, s.bytes - 1};
    while (s.bytes > 0 && is_blank(s.data[s.bytes - 1])) s.bytes--;
    return s;
}

// Takes what stands before the next separator from the front of *rest; false at the end.
static bool next_piece(inki_str *rest, inki_str *piece) {
    if (rest->data == NULL) return false;
    const char *end = rest->data + rest->bytes, *at = rest->data;
    while ((at = end > at ? memchr(at, separator[0], (size_t)(end - at)) : NULL) != NULL) {
        if ((size_t)(end - at) < SEPARATOR_BYTES) at = NULL;
        if (at == NULL || memcmp(at, separator, SEPARATOR_BYTES) == 0) break;
        at++;
    }
    *piece = (inki_str){rest->data, (size_t)((at != NULL ? at : end) - rest->data)};
    *rest = (inki_str){0};
    if (at != NULL) *rest = (inki_str){at + SEPARATOR_BYTES, (size_t)(end - at) - SEPARATOR_BYTES};
    return true;
}

static bool goes_before(const inki_document *a, const inki_document *b) {
    return a->hash < b->hash;
}

static void sift_down(inki_document *list, size_t at, size_t n) {
    const inki_document moved = list[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && goes_before(&list[child], &list[child + 1])) child++;
        if (!goes_before(&moved, &list[child])) break;
        list[at] = list[child];
    }
    list[at] = moved;
}

// Neither recursion nor memory, whatever the hashes are.
static void sort_documents(inki_document *list, size_t n) {
    for (size_t i = n / 2; i-- > 0;) sift_down(list, i, n);
    while (n > 1) {
        const inki_document last = list[--n];
        list[n] = list[0];
        list[0] = last;
        sift_down(list, 0, n);
    }
}

static inki_document make_document(inki_str text) {
    return (inki_document){text, inki_checksum_of(text.data, text.bytes)};
}

ink_status inki_documents_cut(inki_documents *out, const inki_str *texts, size_t n_texts,
                              const inki_mem *mem, ink_error *error) {
    inki_documents made = {.mem = *mem};
    inki_str rest, piece;
    for (size_t i = 0; i < n_texts; i++)
        for (rest = texts[i]; next_piece(&rest, &piece);) made.cap += trimmed(piece).bytes > 0;
    if (made.cap >= UINT32_MAX)
        return inki_fail(error, INK_E_LIMIT, "text", 0, "%zu documents; at most %lu are possible",
                         made.cap, (unsigned long)UINT32_MAX - 1);
    made.cap++; // one may be cut in two
    made.list = inki_alloc(mem, made.cap, sizeof *made.list);
    if (made.list == NULL) return inki_fail_nomem(error, made.cap * sizeof *made.list);
    for (size_t i = 0; i < n_texts; i++)
        for (rest = texts[i]; next_piece(&rest, &piece);) {
            piece = trimmed(piece);
            if (piece.bytes > 0) made.list[made.n++] = make_document(piece);
        }
    sort_documents(made.list, made.n);
    *out = made;
    return INK_OK;
}

void inki_documents_free(inki_documents *documents) {
    if (documents->list != NULL)
        inki_release(&documents->mem, documents->list, documents->cap, sizeof *documents->list);
    *documents = (inki_documents){0};
}

// Where the last `bytes` of text begin, but not within a character and at a line's start if one is
// near.
static size_t find_cut(inki_str text, size_t bytes) {
    size_t at = bytes < text.bytes ? text.bytes - bytes : 0;
    const size_t far = at + (text.bytes - at) / 2;
    for (size_t i = at; i < far; i++)
        if (text.data[i] == '\n') return i + 1;
    for (int i = 0; i < 3 && at > 0 && ((uint8_t)text.data[at] & 0xc0) == 0x80; i++) at--;
    return at;
}

// The end of the longest document becomes the one that is held out.
static size_t hold_out_end(inki_documents *documents, size_t bytes) {
    size_t longest = 0;
    for (size_t i = 1; i < documents->n; i++)
        if (documents->list[i].text.bytes > documents->list[longest].text.bytes) longest = i;
    const inki_str text = documents->list[longest].text;
    const size_t cut = find_cut(text, bytes > 0 ? bytes : 1);
    const inki_str head = trimmed((inki_str){text.data, cut});
    const inki_str tail = trimmed((inki_str){text.data + cut, text.bytes - cut});
    if (head.bytes == 0 || tail.bytes == 0) return 0;
    documents->list[longest] = make_document(head);
    documents->list[documents->n++] = documents->list[0];
    documents->list[0] = make_document(tail);
    return 1;
}

size_t inki_documents_hold_out(inki_documents *documents, double share) {
    uint64_t all = 0, held = 0;
    size_t n = 0;
    if (!(share > 0) || documents->n == 0) return 0;
    for (size_t i = 0; i < documents->n; i++) all += documents->list[i].text.bytes;
    const uint64_t wanted = (uint64_t)(share * (double)all);
    while (n < documents->n) {
        uint64_t more = 0;
        size_t end = n;
        do more += documents->list[end++].text.bytes;
        while (end < documents->n && documents->list[end].hash == documents->list[n].hash);
        // At least one, but not one that is far more than was asked for and much of the text.
        if (n > 0 ? held + more > wanted : more > 2 * wanted && more > all / MUCH) break;
        held += more;
        n = end;
    }
    return n > 0 && n < documents->n ? n : hold_out_end(documents, (size_t)wanted);
}

// Length of the line end at s [n]: 0, 1 or 2 ("\r\n").
static size_t line_end(const char *s, size_t n) {
    if (n > 0 && s[0] == '\n') return 1;
    return n > 1 && s[0] == '\r' && s[1] == '\n' ? 2 : 0;
}

// Length of the run of line ends at s [n]; *single: it is one.
static size_t line_ends(const char *s, size_t n, bool *single) {
    size_t at = line_end(s, n), more;
    *single = at > 0 && line_end(s + at, n - at) == 0;
    while (!*single && (more = line_end(s + at, n - at)) > 0) at += more;
    return at;
}

size_t inki_lines_single(inki_str text) {
    size_t n = 0;
    for (size_t i = 0; i < text.bytes;) {
        bool single;
        const size_t run = line_ends(text.data + i, text.bytes - i, &single);
        if (single) n += run;
        i += run > 0 ? run : 1;
    }
    return n;
}

size_t inki_lines_double(inki_str text, char *out) {
    size_t used = 0;
    for (size_t i = 0; i < text.bytes;) {
        bool single;
        const size_t run = line_ends(text.data + i, text.bytes - i, &single);
        const size_t step = run > 0 ? run : 1;
        for (int twice = single ? 2 : 1; twice > 0; twice--, used += step)
            memcpy(out + used, text.data + i, step);
        i += step;
    }
    return used;
}
