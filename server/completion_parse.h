// SPDX-License-Identifier: MIT
// A request for a completion, read and checked as far as that needs no model: a pure function of
// the body's bytes.
#ifndef SERVER_COMPLETION_PARSE_H
#define SERVER_COMPLETION_PARSE_H

#include "server/grammars.h"
#include "server/json_in.h"

enum {
    SRV_MAX_N = 16,       // choices of a prompt
    SRV_MAX_CHOICES = 64, // prompts × n
    SRV_MAX_STOPS = 16,   // of the request
    SRV_CHAT_STOPS = 3,   // that the chat template adds
    SRV_MAX_STOP_BYTES = 1024,
    SRV_MAX_TOP = 20,       // log-probabilities at each token
    SRV_MAX_BIASES = 32768, // as the engine
    SRV_MAX_CHAIN_BYTES = 16384,
    SRV_MAX_BREAKERS = 512, // so many of one byte the engine has room for
    SRV_MAX_REQUIRED = 64,  // likewise
    SRV_MAX_REQUIRED_BYTES = 256
};

typedef struct srv_prompt {
    const char *text; // [bytes], with ids: none
    size_t bytes;
    const ink_token *tokens; // [n_tokens]
    size_t n_tokens;
} srv_prompt;

// What the answer must be: a text of this grammar.
typedef struct srv_rules_text {
    uint32_t kind;    // INK_GRAMMAR_*
    const char *text; // [bytes]; NULL: anything
    size_t bytes;
    const char *param; // the field it came in; static
} srv_rules_text;

typedef struct srv_completion {
    bool chat, stream, include_usage, echo, logprobs;
    const char *model; // NULL: the default one
    srv_prompt *prompts;
    size_t n_prompts;    // at least 1
    uint32_t n;          // choices of each
    uint32_t max_tokens; // INT32_MAX: to the end of the context
    uint32_t n_top;      // with logprobs
    uint32_t priority;   // INK_PRIORITY_*
    uint32_t deadline_ms;
    const char *stop[SRV_MAX_STOPS + SRV_CHAT_STOPS];
    size_t n_stop;
    const char **phrases; // [n_phrases] of the word filter
    size_t n_phrases;
    const char **required; // [n_required] words that each answer must hold
    size_t n_required;
    ink_sampler_options sampler; // seed_set 0: one is to be drawn
    const char *chain;           // of its steps; NULL: the default one
    srv_rules_text rules;        // its text may lie in the body
    // What the fields above point into.
    json_t *root;
    char *chat_text, *chain_text;
    const char **breakers;
    ink_token *tokens;
    ink_logit_bias *biases;
} srv_completion;

// Fills *out, which is to be cleared; the body stays until then. False: *why is a 400, or 503
// without memory, and nothing needs to be cleared.
bool srv_completion_parse(srv_completion *out, const char *body, size_t bytes, bool chat,
                          srv_failure *why);
void srv_completion_clear(srv_completion *request);

// sampling_parse.c: how tokens are chosen; rules_parse.c: what the answer must be. body [bytes]:
// the text of the object.
void srv_sampling_read(srv_in *in, srv_completion *out, const char *body, size_t bytes);
void srv_rules_read(srv_in *in, srv_completion *out, const char *body, size_t bytes);
// chat_parse.c: the fields that only chat has, `messages` written out as a prompt among them.
void srv_chat_read(srv_in *in, srv_completion *out);

#endif
