// SPDX-License-Identifier: MIT
// What a typing session is made of. Private to src/typing.
#ifndef INKI_TYPING_PARTS_H
#define INKI_TYPING_PARTS_H

#include "engine/generate_run.h"
#include "os/lock.h"
#include "typing/history.h"
#include "typing/typing.h"

enum {
    INKI_TYPING_ALTERNATIVES = 8,
    INKI_TYPING_TOKENS = 256,
    INKI_TYPING_HISTORY = 1024,
    INKI_TYPING_REFUSED = 64,
    INKI_TYPING_CANDIDATES = 64,
    INKI_TYPING_CTX = 256 // positions, where nobody says how many
};

// --- the suggester: who runs it has it alone -----------------------------------------------------

// One alternative on its way.
typedef struct inki_branch {
    ink_session *session; // the first one's is the main session, the others follow it
    inki_run run;
    char *text; // [text_room] what was given out, room for what the stream holds behind it
    size_t bytes;
    ink_span span; // what to evaluate next; n_tokens 0: nothing
    bool used, over;
    bool cut;                               // the text is complete: its unit, or no more room
    float logprobs[INKI_TYPING_TOKENS + 1]; // of its tokens
    uint32_t n_taken_back;                  // when the first word was looked at
    bool first_known;                       // its first word is complete
    uint64_t first_word;                    // signature of it
    float first_logprob;
} inki_branch;

// A token that an alternative may begin with; `behind`: behind the token that is the tail itself.
typedef struct inki_beginning {
    float logprob;
    ink_token token;
    bool behind;
} inki_beginning;

typedef struct inki_beginnings {
    inki_beginning list[INKI_TYPING_CANDIDATES]; // best first
    uint32_t n, next;
} inki_beginnings;

typedef struct inki_suggester {
    ink_model *model; // a reference
    inki_chain *chain;
    uint32_t n_ctx, window_tokens; // as in the options, with what their zeros stand for
    uint64_t revision;             // that is worked on; 0: none yet
    double updated_ms;
    char *text; // [n_before + n_text] the window of the field's text, and what the filter looks at
    size_t n_before, n_text, text_cap; // before it
    ink_token *tokens; // [n_tokens] its tokens, without the tail [n_tail] that is written again
    uint32_t n_tokens;
    size_t tokens_cap, n_tail;
    uint64_t refused[INKI_TYPING_REFUSED];
    uint32_t n_refused;
    bool begun;       // the revision's prompt is known
    bool branching;   // several alternatives, and the prompt is not evaluated yet
    bool prompt_done; // n_prompt_evaluated counts
    uint32_t n_prompt_evaluated, n_evaluated;
    double first_token_ms;
    inki_beginnings beginnings;
    ink_token whole_tail; // the token that is the tail itself, at its end; -1: not looked for yet
    float whole_logprob;  // of it
    inki_branch branches[INKI_TYPING_ALTERNATIVES];
} inki_suggester;

// --- the session ---------------------------------------------------------------------------------

// An alternative as it is shown.
typedef struct inki_shown {
    char *text; // [text_room]
    size_t bytes;
    uint32_t n_tokens, stop;
    float logprob;
} inki_shown;

struct ink_typing {
    inki_mem mem;
    ink_typing_options o;  // never change
    uint32_t window_words; // the limit in force
    inki_stops stops;
    inki_adapters adapters; // o.adapters
    size_t text_room;       // bytes of the longest suggestion, with its 0
    inki_typing_hooks hooks;
    bool hooked;
    size_t block_bytes; // this struct and its fixed buffers
    // What the evaluation asks between layers, without the lock.
    _Atomic uint64_t live;      // the revision
    _Atomic uint64_t cancelled; // the revision that was cancelled
    atomic_bool leaving;        // the session is about to be freed, or closed

    inki_lock lock; // all from here on, but `s`
    char *text;     // [n_text] the field, what is behind the caret too
    size_t n_text, text_cap, caret;
    size_t window_at; // where the reading begins, for the limit in words
    uint64_t revision;
    double updated_ms;
    bool wanted;  // evaluations for this revision
    bool unknown; // the last update failed: `text` is older than the host's
    bool closed;
    ink_error broken;                      // why there can be no suggester; status 0: there can
    uint64_t refused[INKI_TYPING_REFUSED]; // signatures of first words, for this text
    uint32_t n_refused;
    inki_shown shown[INKI_TYPING_ALTERNATIVES];
    uint32_t n_shown;
    ink_suggestion report; // what all of them have in common
    uint64_t n_changes, n_told;
    char *fetched[INKI_TYPING_ALTERNATIVES]; // [text_room] copies for the host
    char *told, *edit;                       // [text_room]
    inki_history history;
    bool running;     // a thread is inside ink_typing_run
    uintptr_t runner; // which
    uintptr_t teller; // thread inside on_suggestion, 0: none

    inki_suggester *s; // NULL: not loaded
};

uint64_t inki_typing_signature(const char *text, size_t bytes);
// Signature of the first word of text [bytes], punctuation aside; 0: there is none. *end (may be
// NULL): where it ends.
uint64_t inki_typing_first_word(const char *text, size_t bytes, size_t *end);

// The suggester's parts; see suggester.c and alternatives.c.
ink_status inki_suggester_new(inki_suggester **out, ink_typing *typing, ink_model *model,
                              ink_error *error);
uint64_t inki_suggester_bytes(const inki_suggester *s, const ink_typing *typing); // its memory
void inki_suggester_free(inki_suggester *s, ink_typing *typing);
ink_status inki_suggester_step(ink_typing *typing, uint32_t n_threads, ink_error *error);
// The options of a run of this session that may add n_tokens.
ink_generate_options inki_suggester_options(const ink_typing *typing, uint32_t n_tokens);
// Begins the run of branch i on the prompt, to choose n_tokens. first (may be NULL): what it begins
// with. whole_tail: the prompt has that token at its end, instead of a tail to write again.
ink_status inki_branch_begin(ink_typing *typing, uint32_t i, uint32_t n_tokens,
                             const inki_beginning *first, bool whole_tail, ink_error *error);
// Chooses as far as the logits that are there go: then something is to be evaluated, or it is over.
ink_status inki_branch_advance(ink_typing *typing, inki_branch *branch);
// The prompt is evaluated: finds the best beginnings and begins a branch with each of the first
// ones. *again: the main session evaluates its prompt with the whole tail first, then this is
// called once more.
ink_status inki_alternatives_begin(ink_typing *typing, bool *again, ink_error *error);
// Branches whose first word a better one has begin again with another beginning.
ink_status inki_alternatives_compare(ink_typing *typing, ink_error *error);
// The branches to show, the best first, into order [INKI_TYPING_ALTERNATIVES]; returns how many.
uint32_t inki_alternatives_order(const ink_typing *typing, uint32_t *order);
// What a branch has of the prompt beyond the main session goes there.
void inki_alternatives_adopt(ink_typing *typing);

#endif
