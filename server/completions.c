// SPDX-License-Identifier: MIT
// POST /v1/completions and /v1/chat/completions: what has to be known of the model is checked here,
// before anything is submitted, so that it can be answered with a status.
#include "server/completion_run.h"

#include "server/app.h"
#include "server/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *prompt_param(const srv_completion *request) {
    return request->chat ? "messages" : "prompt";
}

static bool fail_param(srv_failure *why, const char *param) {
    if (why->param[0] == 0) snprintf(why->param, sizeof why->param, "%s", param);
    return false;
}

static bool check_ids(const srv_prompt *prompt, uint32_t n_vocab, srv_failure *why) {
    for (size_t i = 0; i < prompt->n_tokens; i++)
        if ((uint32_t)prompt->tokens[i] >= n_vocab)
            return srv_refuse(why, "prompt", "'prompt': %d is no token id; the vocabulary has %u.",
                              (int)prompt->tokens[i], (unsigned)n_vocab);
    return true;
}

static bool check_biases(const srv_completion *request, uint32_t n_vocab, srv_failure *why) {
    const ink_sampler_options *o = &request->sampler;
    for (size_t i = 0; i < o->n_logit_bias; i++)
        if ((uint32_t)o->logit_bias[i].token >= n_vocab)
            return srv_refuse(why, "logit_bias",
                              "'logit_bias': %d is no token id; the vocabulary has %u.",
                              (int)o->logit_bias[i].token, (unsigned)n_vocab);
    return true;
}

// A text's tokens, which the engine then need not make again: no text has more than bytes. An empty
// prompt is the end-of-text token.
static bool read_tokens(srv_run *run, size_t index, srv_failure *why) {
    const srv_prompt *prompt = &run->request.prompts[index];
    size_t *n = &run->n_prompt_tokens[index];
    *n = prompt->n_tokens > 0 ? prompt->n_tokens : 1;
    if (prompt->bytes == 0) return true;
    ink_token *ids = malloc(prompt->bytes * sizeof *ids);
    run->ids[index] = ids;
    // A chat's messages are what somebody wrote: no special token is read in them.
    const ink_status status = ids == NULL
                                  ? INK_E_NOMEM
                                  : ink_tokenize(run->open, prompt->text, prompt->bytes,
                                                 run->request.chat ? 0 : INK_TOKENIZE_SPECIAL, ids,
                                                 prompt->bytes, n, NULL);
    if (status != INK_OK) {
        srv_fail_status(why, status, NULL);
        return fail_param(why, prompt_param(&run->request));
    }
    ink_token *fitting = realloc(ids, *n * sizeof *ids);
    if (fitting != NULL) run->ids[index] = fitting;
    return true;
}

static bool refuse_length(const srv_run *run, const char *more, size_t n, srv_failure *why) {
    srv_fail(
        why, 400, "invalid_request_error", "context_length_exceeded",
        "This model's context holds %u tokens, of which the answer needs one at least, but the "
        "%s %s%zu. Please shorten the prompt.",
        (unsigned)srv_model_n_ctx(run->model), run->request.chat ? "messages have" : "prompt has",
        more, n);
    return fail_param(why, prompt_param(&run->request));
}

static bool check_length(const srv_run *run, size_t n, srv_failure *why) {
    if (n + (run->request.max_tokens > 0 ? 1 : 0) <= srv_model_n_ctx(run->model)) return true;
    return refuse_length(run, "", n, why);
}

// All others wait while a text is tokenized here: one that cannot fit is not.
static bool check_bytes(const srv_run *run, const srv_prompt *prompt, srv_failure *why) {
    if (!srv_model_outgrown(run->model, prompt->bytes)) return true;
    return refuse_length(run, "more than ", srv_model_n_ctx(run->model), why);
}

static bool refuse_listed(const srv_completion *request, srv_failure *why) {
    srv_fail(why, 400, "invalid_request_error", "content_filter",
             "The prompt holds a phrase that 'word_filter' lists.");
    return fail_param(why, prompt_param(request));
}

static bool find_listed(const srv_run *run, const char *text, size_t bytes, srv_failure *why) {
    size_t at = 0, length = 0;
    if (ink_filter_find(run->filter, text, bytes, &at, &length) == INK_OK && length == 0)
        return true;
    return refuse_listed(&run->request, why);
}

static bool check_filter(const srv_run *run, const srv_prompt *prompt, srv_failure *why) {
    if (run->filter == NULL) return true;
    if (prompt->n_tokens == 0) return find_listed(run, prompt->text, prompt->bytes, why);
    size_t bytes = 0;
    ink_detokenize(run->open, prompt->tokens, prompt->n_tokens, INK_DETOKENIZE_SPECIAL, NULL, 0,
                   &bytes);
    char *text = malloc(bytes + 1);
    if (text == NULL)
        return srv_fail(why, 503, "server_error", "out_of_memory",
                        "There is no memory for this request.");
    ink_detokenize(run->open, prompt->tokens, prompt->n_tokens, INK_DETOKENIZE_SPECIAL, text, bytes,
                   &bytes);
    const bool good = find_listed(run, text, bytes, why);
    free(text);
    return good;
}

static bool check_prompts(srv_run *run, srv_failure *why) {
    const srv_completion *request = &run->request;
    for (size_t i = 0; i < request->n_prompts; i++) {
        const srv_prompt *prompt = &request->prompts[i];
        if (!check_bytes(run, prompt, why) || !read_tokens(run, i, why) ||
            !check_length(run, run->n_prompt_tokens[i], why) || !check_filter(run, prompt, why))
            return false;
    }
    return true;
}

// NULL in *out: no words.
static bool make_filter(const char *param, const char *const *words, size_t n, ink_filter **out,
                        srv_failure *why) {
    ink_error error = {.size = sizeof error};
    *out = NULL;
    if (n == 0) return true;
    const ink_status status = ink_filter_new(out, NULL, words, n, &error);
    return status == INK_OK || srv_fail_field(why, status, &error, param);
}

// The engine looks for them as it looks for listed phrases, with the same demands.
static bool check_required(const srv_completion *request, srv_failure *why) {
    ink_filter *unused = NULL;
    const bool good =
        make_filter("required_words", request->required, request->n_required, &unused, why);
    ink_filter_unref(unused);
    return good;
}

// What is wrong with how tokens are to be chosen is known before anything waits for its turn.
static bool check_sampling(const srv_completion *request, const ink_model *open, srv_failure *why) {
    static const char *const names[][2] = {{"chain", "samplers"},
                                           {"logit_bias", "samplers"}, // check_biases knows ours
                                           {"dry_breakers", "dry_sequence_breakers"}};
    ink_error error = {.size = sizeof error};
    ink_sampler *sampler = NULL;
    if (request->chain != NULL && request->sampler.n_logit_bias > 0 &&
        strstr(request->chain, "logit_bias") == NULL)
        return srv_refuse(why, "logit_bias",
                          "'logit_bias' has no effect without a step \"logit_bias\" in "
                          "'samplers'.");
    const ink_status status =
        ink_sampler_new(&sampler, open, request->chain, &request->sampler, &error);
    ink_sampler_free(sampler);
    if (status == INK_OK) return true;
    const char *param = error.where;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(error.where, names[i][0]) == 0) param = names[i][1];
    return srv_fail_field(why, status, &error, param);
}

static srv_run *make_run(srv_call *call, srv_completion *request, srv_failure *why) {
    ink_model_info info = {.size = sizeof info};
    srv_model *model = srv_models_find(srv_call_app(call), request->model, why);
    ink_model *open = model != NULL ? srv_model_open(model, why) : NULL;
    if (open == NULL) return NULL;
    const ink_status status = ink_model_get_info(open, &info);
    if (status != INK_OK) {
        srv_fail_status(why, status, NULL);
        return NULL;
    }
    bool good = check_biases(request, info.n_vocab, why);
    for (size_t i = 0; i < request->n_prompts && good; i++)
        good = check_ids(&request->prompts[i], info.n_vocab, why);
    good = good && check_sampling(request, open, why) && check_required(request, why);
    ink_filter *filter = NULL;
    if (!good || !make_filter("word_filter", request->phrases, request->n_phrases, &filter, why))
        return NULL;
    // The filter has its own copy, and a list of many words is many times as large in JSON.
    json_object_del(request->root, "word_filter");
    free(request->phrases);
    request->phrases = NULL;
    request->n_phrases = 0;
    srv_run *run = srv_run_new(call, request, model, open, filter, why);
    if (run == NULL) ink_filter_unref(filter);
    if (run == NULL || check_prompts(run, why)) return run;
    srv_run_free(run);
    return NULL;
}

static void handle(srv_call *call, bool chat) {
    srv_failure why = {0};
    srv_completion request;
    size_t bytes = 0;
    const char *body = srv_call_body(call, &bytes);
    srv_run *run = NULL;
    if (srv_completion_parse(&request, body, bytes, chat, &why)) {
        run = make_run(call, &request, &why);
        srv_completion_clear(&request);
    }
    if (run != NULL)
        srv_run_start(run);
    else
        srv_call_fail(call, &why);
}

void srv_handle_completions(srv_call *call) { handle(call, false); }
void srv_handle_chat(srv_call *call) { handle(call, true); }
