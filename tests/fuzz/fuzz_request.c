// SPDX-License-Identifier: MIT
// Bodies of requests for completions: the first byte says whether it is chat. What is accepted is
// within the bounds that the documentation states; what is refused is a 400 that can be written as
// JSON.
#include "fuzz.h"

#include "server/completion_parse.h"
#include "server/json_out.h"

#include <string.h>

// Reads all of it, so that a sanitizer sees what is not there.
static void check_text(const char *text, size_t bytes) {
    FUZZ_CHECK(text != NULL);
    FUZZ_CHECK(srv_utf8_valid(text, bytes));
}

static void check_prompts(const srv_completion *c) {
    FUZZ_CHECK(c->n_prompts >= 1 && c->n >= 1 && c->n <= SRV_MAX_N);
    FUZZ_CHECK(c->n_prompts * c->n <= SRV_MAX_CHOICES);
    for (size_t i = 0; i < c->n_prompts; i++) {
        const srv_prompt *prompt = &c->prompts[i];
        check_text(prompt->text, prompt->bytes);
        FUZZ_CHECK(prompt->n_tokens == 0 || prompt->bytes == 0);
        for (size_t k = 0; k < prompt->n_tokens; k++) FUZZ_CHECK(prompt->tokens[k] >= 0);
        static const char end[] = "\nAssistant:";
        const size_t n = sizeof end - 1;
        if (c->chat)
            FUZZ_CHECK(prompt->bytes > n && memcmp(prompt->text + prompt->bytes - n, end, n) == 0);
    }
}

static void check_sampler(const ink_sampler_options *o) {
    FUZZ_CHECK(o->temperature >= 0 && o->temperature <= 2);
    FUZZ_CHECK(o->top_p >= 0 && o->top_p <= 1);
    FUZZ_CHECK(o->min_p >= 0 && o->min_p <= 1);
    FUZZ_CHECK(o->repeat_penalty > 0 && o->repeat_penalty <= 100);
    FUZZ_CHECK(o->presence_penalty >= -2 && o->presence_penalty <= 2);
    FUZZ_CHECK(o->frequency_penalty >= -2 && o->frequency_penalty <= 2);
    FUZZ_CHECK(o->n_logit_bias <= SRV_MAX_BIASES);
    for (size_t i = 0; i < o->n_logit_bias; i++) {
        FUZZ_CHECK(o->logit_bias[i].token >= 0);
        FUZZ_CHECK(o->logit_bias[i].bias >= -100 && o->logit_bias[i].bias <= 100);
        for (size_t k = 0; k < i && i < 64; k++)
            FUZZ_CHECK(o->logit_bias[k].token != o->logit_bias[i].token);
    }
}

static void check_range(double value, double low, double high) {
    FUZZ_CHECK(value >= low && value <= high);
}

static void check_chain(const srv_completion *c) {
    const ink_sampler_options *o = &c->sampler;
    check_range((double)o->typical_p, 0, 1);
    check_range((double)o->top_n_sigma, -1, 100);
    check_range((double)o->dynatemp_range, 0, 2);
    check_range((double)o->dynatemp_exponent, 0, 100);
    check_range((double)o->xtc_probability, 0, 1);
    check_range((double)o->xtc_threshold, 0, 1);
    check_range((double)o->dry_multiplier, 0, 100);
    check_range((double)o->dry_base, 0, 100);
    check_range((double)o->mirostat_tau, 0, 100);
    check_range((double)o->mirostat_eta, 0, 1);
    FUZZ_CHECK(o->dry_allowed_length <= 1024 && o->no_repeat_ngram <= 1024);
    FUZZ_CHECK(o->n_dry_breakers <= SRV_MAX_BREAKERS);
    FUZZ_CHECK(o->n_dry_breakers == 0 || o->dry_breakers != NULL);
    for (size_t i = 0; i < o->n_dry_breakers; i++)
        check_text(o->dry_breakers[i], strlen(o->dry_breakers[i]));
    if (c->chain != NULL) {
        FUZZ_CHECK(strlen(c->chain) <= SRV_MAX_CHAIN_BYTES);
        check_text(c->chain, strlen(c->chain));
    }
    FUZZ_CHECK(c->n_required <= SRV_MAX_REQUIRED);
    FUZZ_CHECK(c->n_required == 0 || c->rules.text == NULL);
    for (size_t i = 0; i < c->n_required; i++) {
        check_text(c->required[i], strlen(c->required[i]));
        check_range((double)strlen(c->required[i]), 1, SRV_MAX_REQUIRED_BYTES);
    }
}

// A schema is the text of an object by itself.
static void check_rules(const srv_rules_text *rules) {
    if (rules->text == NULL) return;
    FUZZ_CHECK(rules->bytes > 0 && rules->bytes <= SRV_MAX_RULES_BYTES && rules->param != NULL);
    check_text(rules->text, rules->bytes);
    if (rules->kind != INK_GRAMMAR_JSON_SCHEMA) return;
    json_t *schema = json_loadb(rules->text, rules->bytes, JSON_ALLOW_NUL, NULL);
    FUZZ_CHECK(json_is_object(schema));
    json_decref(schema);
}

static void check_request(const srv_completion *c, bool chat) {
    FUZZ_CHECK(c->chat == chat && c->root != NULL);
    FUZZ_CHECK(c->max_tokens <= INT32_MAX && c->deadline_ms <= INT32_MAX);
    FUZZ_CHECK(c->n_top <= SRV_MAX_TOP && (c->logprobs || c->n_top == 0));
    FUZZ_CHECK(c->priority == INK_PRIORITY_FOREGROUND || c->priority == INK_PRIORITY_BACKGROUND);
    FUZZ_CHECK(c->stream || !c->include_usage);
    FUZZ_CHECK(!chat || !c->echo);
    if (c->model != NULL) check_text(c->model, strlen(c->model));
    FUZZ_CHECK(c->n_stop <= SRV_MAX_STOPS + (chat ? (size_t)SRV_CHAT_STOPS : 0));
    for (size_t i = 0; i < c->n_stop; i++) {
        check_text(c->stop[i], strlen(c->stop[i]));
        FUZZ_CHECK(c->stop[i][0] != 0);
    }
    for (size_t i = 0; i < c->n_phrases; i++) check_text(c->phrases[i], strlen(c->phrases[i]));
    check_prompts(c);
    check_sampler(&c->sampler);
    check_chain(c);
    check_rules(&c->rules);
}

static void check_failure(const srv_failure *why) {
    FUZZ_CHECK(why->status == 400 && strcmp(why->type, "invalid_request_error") == 0);
    FUZZ_CHECK(memchr(why->param, 0, sizeof why->param) != NULL);
    FUZZ_CHECK(memchr(why->message, 0, sizeof why->message) != NULL);
    FUZZ_CHECK(why->message[0] != 0 && strchr(why->message, '\n') == NULL);
    check_text(why->param, strlen(why->param));
    check_text(why->message, strlen(why->message));
    json_t *body = srv_failure_json(why);
    FUZZ_CHECK(body != NULL);
    json_decref(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes == 0) return 0;
    const bool chat = (data[0] & 1) != 0;
    srv_completion request;
    srv_failure why = {0};
    if (srv_completion_parse(&request, (const char *)data + 1, bytes - 1, chat, &why)) {
        check_request(&request, chat);
        srv_completion_clear(&request);
        FUZZ_CHECK(request.root == NULL && request.prompts == NULL);
    } else {
        check_failure(&why);
    }
    return 0;
}
