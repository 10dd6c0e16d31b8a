// SPDX-License-Identifier: MIT
#include "grammar/token_trie.h"

#include "grammar/token_trie_parts.h"

#include <string.h>

// A token on its way to its place: nearly all differ in their first eight bytes.
typedef struct trie_key {
    uint64_t head; // those bytes, the first one highest
    uint32_t id;
} trie_key;

static void trie_groups(uint8_t *group_of) {
    // Where each run begins; every mark of ASCII is a run of its own.
    static const uint8_t begins[] = {0,   '\t', '\n', 0xb,  '0',  '1',  'A', 'G',
                                     'a', 'g',  0x7f, 0x80, 0xc0, 0xe0, 0xf0};
    unsigned group = 0;
    for (unsigned b = 0; b < 256; b++) {
        const unsigned low = b | 0x20;
        const bool word =
            (b >= '0' && b <= '9') || (low >= 'a' && low <= 'z' && b > '@' && b < 0x7f);
        if (b > 0 &&
            ((b >= ' ' && b < 0x7f && !word) || memchr(begins, (int)b, sizeof begins) != NULL))
            group++;
        group_of[b] = (uint8_t)group;
    }
}

static int trie_compare(const inki_tokenizer *t, trie_key a, trie_key b) {
    if (a.head != b.head) return a.head < b.head ? -1 : 1;
    const inki_str x = inki_tokenizer_piece(t, (int32_t)a.id),
                   y = inki_tokenizer_piece(t, (int32_t)b.id);
    const int order = memcmp(x.data, y.data, x.bytes < y.bytes ? x.bytes : y.bytes);
    if (order != 0) return order;
    if (x.bytes != y.bytes) return x.bytes < y.bytes ? -1 : 1;
    return a.id < b.id ? -1 : 1;
}

// By the heads in eight passes, a byte each, and then those of one head among themselves by
// merging, with `other` [n] as room. The result is in keys.
static void trie_sort(const inki_tokenizer *t, trie_key *keys, trie_key *other, uint32_t n) {
    for (unsigned shift = 0; shift < 64; shift += 8) {
        uint32_t at[257] = {0};
        for (uint32_t i = 0; i < n; i++) at[(keys[i].head >> shift & 0xff) + 1]++;
        for (unsigned b = 0; b < 256; b++) at[b + 1] += at[b];
        for (uint32_t i = 0; i < n; i++) other[at[keys[i].head >> shift & 0xff]++] = keys[i];
        trie_key *swapped = keys;
        keys = other;
        other = swapped;
    }
    for (uint32_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && keys[to].head == keys[from].head;) to++;
        for (uint32_t width = 1; width < to - from; width *= 2) {
            for (uint32_t low = from; low < to; low += 2 * width) {
                const uint32_t middle = to - low > width ? low + width : to;
                const uint32_t high = to - low > 2 * width ? low + 2 * width : to;
                uint32_t a = low, b = middle;
                for (uint32_t i = low; i < high; i++)
                    other[i] = b == high || (a < middle && trie_compare(t, keys[a], keys[b]) < 0)
                                   ? keys[a++]
                                   : keys[b++];
            }
            memcpy(keys + from, other + from, (to - from) * sizeof *keys);
        }
    }
}

static uint32_t trie_common(inki_str a, inki_str b) {
    const size_t n = a.bytes < b.bytes ? a.bytes : b.bytes;
    uint32_t i = 0;
    while (i < n && a.data[i] == b.data[i]) i++;
    return i;
}

// Bytes of token i that the one before it has not; *common: those before.
static inki_str trie_step(const inki_tokenizer *t, const uint32_t *ids, uint32_t i,
                          uint32_t *common) {
    const inki_str piece = inki_tokenizer_piece(t, (int32_t)ids[i]);
    *common = i > 0 ? trie_common(inki_tokenizer_piece(t, (int32_t)ids[i - 1]), piece) : 0;
    return piece;
}

// Nodes from depth on are complete. path [depth of the last one]: the nodes that are not.
static void trie_close(inki_token_trie *trie, const uint32_t *path, uint32_t n_open, uint32_t depth,
                       uint32_t n_nodes) {
    while (n_open-- > depth) {
        inki_trie_node *node = &trie->nodes[path[n_open]];
        node->after = n_nodes;
        if (n_open == 0) continue;
        uint64_t *below = &trie->nodes[path[n_open - 1]].below;
        const uint64_t height =
            node->below >> 56 < INKI_TRIE_DEEPEST ? (node->below >> 56) + 1 : INKI_TRIE_DEEPEST;
        *below |= node->below & INKI_TRIE_ALL_GROUPS;
        if (*below >> 56 < height) *below = (*below & ~(uint64_t)0 >> 8) | height << 56;
    }
}

static void trie_fill(inki_token_trie *trie, const inki_tokenizer *t, uint32_t *path) {
    uint32_t n_nodes = 0, n_open = 0, common;
    for (uint32_t i = 0; i < trie->n_tokens; i++) {
        const inki_str piece = trie_step(t, trie->ids, i, &common);
        trie_close(trie, path, n_open, common, n_nodes);
        for (n_open = common; n_open < piece.bytes; n_open++) {
            const uint8_t b = (uint8_t)piece.data[n_open];
            path[n_open] = n_nodes;
            trie->nodes[n_nodes++] = (inki_trie_node){
                .below = (uint64_t)1 << trie->group_of[b] | (uint64_t)b << 48 | (uint64_t)1 << 56,
                .first = i};
        }
    }
    trie_close(trie, path, n_open, 0, n_nodes);
    trie->nodes[n_nodes] = (inki_trie_node){.first = trie->n_tokens};
}

// The ordinary tokens, sorted. keys [2 n_vocab].
static void trie_gather(inki_token_trie *trie, const inki_tokenizer *t, trie_key *keys) {
    uint32_t n = 0;
    for (uint32_t id = 0; id < trie->n_vocab; id++) {
        const inki_str piece = inki_tokenizer_piece(t, (int32_t)id);
        if (piece.bytes == 0 || inki_tokenizer_is_special(t, (int32_t)id)) continue;
        keys[n] = (trie_key){0, id};
        for (size_t i = 0; i < 8; i++)
            keys[n].head = keys[n].head << 8 | (i < piece.bytes ? (uint8_t)piece.data[i] : 0u);
        if (piece.bytes > trie->longest) trie->longest = (uint32_t)piece.bytes;
        n++;
    }
    trie_sort(t, keys, keys + trie->n_vocab, n);
    trie->n_tokens = n;
    for (uint32_t i = 0; i < n; i++) trie->ids[i] = keys[i].id;
}

void inki_token_trie_free(inki_token_trie *trie) {
    if (trie == NULL) return;
    const inki_mem mem = trie->mem;
    inki_release(&mem, trie->nodes, (size_t)trie->n_nodes + 1, sizeof *trie->nodes);
    inki_release(&mem, trie->ids, trie->n_vocab, sizeof *trie->ids);
    inki_release(&mem, trie, 1, sizeof *trie);
}

ink_status inki_token_trie_new(inki_token_trie **out, const inki_tokenizer *t, const inki_mem *mem,
                               ink_error *error) {
    const uint32_t n_vocab = inki_tokenizer_n_vocab(t);
    inki_token_trie *trie = inki_alloc_zero(mem, 1, sizeof *trie);
    trie_key *keys = inki_alloc(mem, 2 * (size_t)n_vocab, sizeof *keys);
    uint32_t *path = NULL;
    if (trie != NULL && keys != NULL) {
        trie->mem = *mem;
        trie->n_vocab = n_vocab;
        trie->ids = inki_alloc(mem, n_vocab, sizeof *trie->ids);
        trie_groups(trie->group_of);
        if (trie->ids != NULL) trie_gather(trie, t, keys);
        for (uint32_t i = 0, common; i < trie->n_tokens; i++) {
            const inki_str piece = trie_step(t, trie->ids, i, &common);
            trie->n_nodes += (uint32_t)piece.bytes - common;
        }
        if (trie->ids != NULL) {
            path = inki_alloc(mem, (size_t)trie->longest + 1, sizeof *path);
            trie->nodes = inki_alloc(mem, (size_t)trie->n_nodes + 1, sizeof *trie->nodes);
        }
    }
    inki_release(mem, keys, 2 * (size_t)n_vocab, sizeof *keys);
    const bool made = path != NULL && trie->nodes != NULL;
    if (made) trie_fill(trie, t, path);
    if (path != NULL) inki_release(mem, path, (size_t)trie->longest + 1, sizeof *path);
    if (!made) {
        if (trie != NULL && trie->mem.alloc != NULL)
            inki_token_trie_free(trie);
        else
            inki_release(mem, trie, 1, sizeof *trie);
        return inki_fail_nomem(error, 2 * (size_t)n_vocab * sizeof *keys);
    }
    *out = trie;
    return INK_OK;
}
