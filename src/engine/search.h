// SPDX-License-Identifier: MIT
// A search under way: what beam search and contrastive search have in common. The prompt is read as
// a generation reads it; branches of the session then follow several ways at a time, evaluated in
// one pass; the session itself becomes the best text in the end.
#ifndef INKI_ENGINE_SEARCH_H
#define INKI_ENGINE_SEARCH_H

#include "engine/engine.h"
#include "engine/text_stream.h"

enum { INKI_SEARCH_MAX = 64 }; // beams, candidates

// A text that has ended.
typedef struct inki_hypothesis {
    double logprob, score;
    ink_token *tokens; // [n]
    uint32_t n, stop;
} inki_hypothesis;

typedef struct inki_search {
    ink_session *s; // entered
    ink_search_options o;
    ink_text_fn fn;
    void *user;
    ink_error *error;
    inki_fp fp;
    ink_result r;
    double start_ms;
    uint32_t n_prompt;
    uint32_t n_most;         // tokens that n_tokens and the context leave room for
    uint32_t n_ways;         // branches
    uint32_t n_told;         // tokens that are certain; timeline has them
    bool called_off;         // the callback asked to stop
    bool silent;             // nothing more is given out: that, or a stop string
    inki_text_stream stream; // of what is certain
    inki_text_stream judge;  // of one text after the other
    // In one block, but for the branches themselves:
    ink_session **ways;     // [n_ways] NULL: not there yet
    ink_span *spans;        // [n_ways]
    inki_hypothesis *found; // [n_found] of n_kept, the best first
    uint32_t n_found, n_kept;
    ink_token *kept;     // [n_kept, n_most] their tokens
    ink_token *timeline; // [n_prompt + n_most] prompt, then what is certain
    float *hidden;       // CONTRASTIVE: [n_prompt + n_most, n_embd] of the timeline
    double *norms;       // CONTRASTIVE: [n_prompt + n_most] their lengths
    float *ahead;        // CONTRASTIVE: [n_ways, n_embd] of the candidates
    void *block;
    size_t block_bytes;
} inki_search;

// Evaluates the first n spans. INK_E_CANCELLED is no failure of the search, and leaves its error
// alone.
ink_status inki_search_pass(inki_search *search, uint32_t n);
// CONTRASTIVE: the same for one span of a session whose past is a beginning of the timeline; hidden
// gets its rows.
ink_status inki_search_read(inki_search *search, const ink_span *span);
// A branch of ours for n_new tokens that evaluates with our working memory. Errors: INK_E_NOMEM.
ink_status inki_search_new_way(inki_search *search, uint32_t n_new, ink_session **out);
void inki_search_free_way(ink_session *way); // NULL is allowed
// Whether a stop string is complete in the text of tokens [n] and one more. Errors: INK_E_NOMEM.
ink_status inki_search_ends(inki_search *search, const ink_token *tokens, uint32_t n,
                            ink_token more, bool *ends);
// The next certain token. Errors: INK_E_NOMEM.
ink_status inki_search_tell(inki_search *search, ink_token token);
// A text that has ended, if it is among the best n_kept: tokens [n], and one more if that is not
// negative. Of equal ones that which came first is better.
void inki_search_keep(inki_search *search, double logprob, double score, uint32_t stop,
                      const ink_token *tokens, uint32_t n, ink_token more);
// logprob / count ^ length_penalty.
double inki_search_score(const inki_search *search, double logprob, uint32_t count);

// From the prompt, evaluated, to the texts found; the ways may stand anywhere.
ink_status inki_search_beam(inki_search *search);
ink_status inki_search_contrastive(inki_search *search);

#endif
