// SPDX-License-Identifier: MIT
// Completions under way. A run answers one call; it has a job of the model for each choice.
#ifndef SERVER_COMPLETION_RUN_H
#define SERVER_COMPLETION_RUN_H

#include "server/call.h"
#include "server/completion_parse.h"
#include "server/jobs.h"
#include "server/json_out.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct srv_run srv_run;

// What log-probabilities are gathered in: completions have four lists side by side, chat has one of
// objects. Each is the inside of a JSON array.
enum { SRV_LIST_TOKENS, SRV_LIST_LOGPROBS, SRV_LIST_TOPS, SRV_LIST_OFFSETS, SRV_N_LISTS };

typedef struct srv_choice {
    srv_job job; // the first field: callbacks get their choice by it
    srv_run *run;
    uint32_t index;
    ink_generate_options generate;
    ink_sampler_options sampler;
    ink_result result; // once it is done
    // What is not answered yet: all of it, in a stream that of the last piece.
    srv_text text, lists[SRV_N_LISTS];
    srv_text chunk;  // a stream's event is put together here
    bool text_begun; // chat: something stands that is not blank; likewise of the tokens
    bool tokens_begun;
    uint64_t n_chars; // in the tokens told so far
} srv_choice;

struct srv_run {
    srv_call *call;
    srv_completion request;
    srv_model *model;
    ink_model *open;
    ink_filter *filter;
    srv_rules_ask ask;
    srv_rules *rules;        // NULL: none
    size_t *n_prompt_tokens; // [request.n_prompts]
    ink_token **ids;         // [request.n_prompts] tokens of a text; NULL: none, or it came as ids
    srv_text head;           // what all answers and chunks begin with, up to `"choices":`
    atomic_bool stopping;    // nobody wants more: the client is gone, or a choice has failed
    atomic_bool begun;       // the stream
    pthread_mutex_t lock;    // for what follows
    size_t n_left;           // jobs not done, and who else is at work on the run
    srv_failure why;         // status 0: nothing failed
    size_t n_choices;
    srv_choice choices[];
};

// Takes a reference to the call, and the request and the filter (NULL: none) over; the request is
// empty then. n_prompt_tokens and ids are to be filled. NULL: 503 in *why, and nothing was taken.
srv_run *srv_run_new(srv_call *call, srv_completion *request, srv_model *model, ink_model *open,
                     ink_filter *filter, srv_failure *why);
void srv_run_free(srv_run *run); // before srv_run_start only
// Submits all choices, behind the compilation of its grammar where that takes one; the run answers
// and ends by itself then.
void srv_run_start(srv_run *run);

// --- completion_json.c: what is written ----------------------------------------------------------

void srv_run_write_head(srv_run *run);
// Adds a piece to what is not answered yet.
void srv_choice_add(srv_choice *choice, const ink_piece *piece);
bool srv_choice_failed(const srv_choice *choice); // had no memory
// Each writes an event into choice->chunk: the role, what was added, the last one.
void srv_choice_first_chunk(srv_choice *choice);
void srv_choice_chunk(srv_choice *choice);
void srv_choice_last_chunk(srv_choice *choice);
void srv_run_usage_chunk(const srv_run *run, srv_text *out);
void srv_run_answer(srv_run *run, srv_text *out);

#endif
