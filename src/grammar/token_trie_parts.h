// SPDX-License-Identifier: MIT
// What a trie of tokens is made of. For the files of this room and their tests.
#ifndef INKI_TOKEN_TRIE_PARTS_H
#define INKI_TOKEN_TRIE_PARTS_H

#include "grammar/token_trie.h"

// Bytes that grammars seldom tell apart are one group, so that a word can say which bytes there are
// below a node: the groups are runs of neighbours.
enum { INKI_TRIE_GROUPS = 48, INKI_TRIE_DEEPEST = 255 };
#define INKI_TRIE_ALL_GROUPS (((uint64_t)1 << INKI_TRIE_GROUPS) - 1)

// Nodes stand depth first: behind a node its children, up to `after`.
typedef struct inki_trie_node {
    uint64_t below; // groups of its byte and of those below | byte << 48 | height << 56, 1: a leaf
    uint32_t after;
    uint32_t first; // of the sorted tokens: those that end here, then those that end below
} inki_trie_node;

struct inki_token_trie {
    inki_mem mem;
    uint32_t n_vocab, n_tokens, n_nodes;
    uint32_t longest;      // bytes of a token
    uint32_t *ids;         // [n_tokens] sorted by their bytes
    inki_trie_node *nodes; // [n_nodes + 1] the last one holds only `first`: n_tokens
    uint8_t group_of[256];
};

#endif
