// SPDX-License-Identifier: MIT
// What a matcher is made of: matcher_states.c makes states and goes from one to the next, matcher.c
// keeps the text, matcher_tokens.c walks the tokens.
//
// A state is the set of places where a text may stand: pairs of a node, and a frame that says where
// to go on behind the rule. A frame is itself a set of such pairs, all that called the rule at one
// place of the text, so that an ambiguous grammar has few of them. Both are sorted lists, kept
// once, and known by a number.
#ifndef INKI_MATCHER_PARTS_H
#define INKI_MATCHER_PARTS_H

#include "grammar/grammar_parts.h"
#include "grammar/matcher.h"
#include "grammar/token_trie_parts.h"

enum {
    INKI_MATCHER_MAX_TEXT = 1 << 24,
    INKI_MATCHER_MAX_DEPTH = 4096,  // frames in one another
    INKI_MATCHER_MAX_PAIRS = 16384, // places met in one step
    // Places that are looked at for one mask or push, of them so many for each byte of the text.
    // They are counted: it is the same on each machine.
    INKI_MATCHER_WORK = 1 << 23,
    INKI_MATCHER_WORK_BYTE = 256
};

// Lists that are always there. A step to UNKNOWN was not asked for yet; to OVER, it would be over
// the bounds.
enum { INKI_LIST_UNKNOWN = 0, INKI_LIST_DEAD = 1, INKI_LIST_OVER = 2 };

typedef struct inki_list {
    uint64_t mixed; // what is not "any bytes of these groups lead the same way": see n_same
    uint32_t at, n; // pairs
    uint32_t hash;
    uint32_t row;  // of steps by class; 0: none yet
    uint32_t mask; // its mask is there, if it is still this list's
    uint16_t depth;
    uint8_t n_same;     // so many bytes of groups that are not mixed may come; 255: any number
    uint8_t n_same_set; // 1: the two are known
} inki_list;

typedef struct inki_push {
    uint32_t end;   // of its bytes in the text
    uint32_t state; // behind it
    uint32_t ends;  // of that state: 1 the text may end there, 2 it must
} inki_push;

// Working memory of a step: made larger when it is too small.
typedef struct inki_call {
    uint64_t pair;
    uint32_t same_rule; // another + 1
} inki_call;
typedef struct inki_step_work {
    uint64_t *met;     // [2 cap], of which the half behind what is met serves to sort
    uint64_t *places;  // [cap]
    uint32_t *slots;   // [2 cap] of what is met, by hash, + 1
    inki_call *calls;  // [cap]
    uint32_t *callers; // [n_rules] the first call + 1
    uint64_t *pending; // [(n_rules + 63) / 64] rules with callers
    uint32_t n_met, n_places, n_calls, cap;
    size_t n_block;       // words of the block that they are in
    uint64_t spent, most; // places looked at, and how many may be
    bool over;            // some of it did not fit
    bool left;            // callers and pending are not empty again
} inki_step_work;

typedef struct inki_walked {
    uint64_t mixed; // of the state
    uint32_t state, after, node;
    uint32_t n_same;
} inki_walked;

typedef struct inki_mask {
    uint64_t *words;
    uint32_t state; // whose it is; 0: nobody's
} inki_mask;

struct inki_matcher {
    inki_mem mem;
    const inki_grammar *grammar;
    const inki_token_trie *trie;
    inki_vec lists;  // inki_list
    inki_vec pairs;  // uint64_t: node << 32 | frame
    inki_vec rows;   // uint32_t
    uint32_t *slots; // [n_slots] lists by hash
    uint32_t n_slots;
    inki_step_work work;
    size_t bound;               // bytes of states before they are made anew
    uint64_t class_groups[256]; // groups that a class has a byte of
    inki_vec text;              // char
    inki_vec pushes;            // inki_push
    inki_push start;            // before all of them
    bool lost;                  // no state is known: they must be made anew
    inki_walked *walked;        // [longest token + 1]
    inki_mask *masks;           // [n_masks]
    uint32_t n_masks, mask_at;
    uint32_t begun; // see inki_matcher_begin
};

// All states are gone but that of the empty text, and the matcher is lost until the text was gone
// along again. Errors: INK_E_NOMEM, INK_E_LIMIT.
ink_status inki_matcher_states_reset(inki_matcher *m, ink_error *error);
void inki_matcher_states_free(inki_matcher *m);
size_t inki_matcher_states_bytes(const inki_matcher *m);
// From a state over a class, as INKI_LIST_*; UNKNOWN: see inki_matcher_lack.
uint32_t inki_matcher_states_step(inki_matcher *m, uint32_t state, uint32_t class);
static inline uint32_t inki_matcher_next(inki_matcher *m, uint32_t state, uint32_t class) {
    const uint32_t row = ((const inki_list *)m->lists.data)[state].row;
    const uint32_t to = row > 0 ? ((const uint32_t *)m->rows.data)[row + class] : 0;
    return to != INKI_LIST_UNKNOWN ? to : inki_matcher_states_step(m, state, class);
}
// Finds `mixed` and `n_same` of a state. False: see inki_matcher_lack.
bool inki_matcher_states_same(inki_matcher *m, uint32_t state);

// The state behind the text up to byte n, which is at least the end of the pushes; all states are
// made anew where there were too many. Errors: INK_E_NOMEM, INK_E_LIMIT.
ink_status inki_matcher_again(inki_matcher *m, size_t n, uint32_t *state, ink_error *error);
ink_status inki_matcher_over(ink_error *error);
// Why a state is UNKNOWN: INK_E_NOMEM, or INK_E_LIMIT, and then all states are forgotten, so that
// asking again does not get farther.
ink_status inki_matcher_lack(inki_matcher *m, ink_error *error);
// A call begins that may go along the text up to byte n. What is tried again and again behind the
// same push, and taken back each time, counts together. at: pushes; UINT32_MAX: counts alone.
static inline void inki_matcher_begin(inki_matcher *m, uint32_t at, size_t n) {
    if (at != m->begun || at == UINT32_MAX) m->work.spent = 0;
    m->begun = at;
    m->work.most = INKI_MATCHER_WORK + (uint64_t)INKI_MATCHER_WORK_BYTE * n;
}
static inline bool inki_matcher_is_full(const inki_matcher *m) {
    return m->lost || inki_matcher_states_bytes(m) > m->bound;
}
static inline inki_push *inki_matcher_last(inki_matcher *m) {
    return m->pushes.n > 0 ? (inki_push *)m->pushes.data + m->pushes.n - 1 : &m->start;
}

#endif
