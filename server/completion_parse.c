// SPDX-License-Identifier: MIT
#include "server/completion_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What both kinds have, the last lines of it without any effect on the text; then what each has of
// its own.
static const char *const fields_common[] = {"model",
                                            "frequency_penalty",
                                            "presence_penalty",
                                            "logit_bias",
                                            "max_tokens",
                                            "n",
                                            "seed",
                                            "stop",
                                            "stream",
                                            "stream_options",
                                            "temperature",
                                            "top_p",
                                            "logprobs",
                                            "top_k",
                                            "min_p",
                                            "repeat_penalty",
                                            "repeat_last_n",
                                            "typical_p",
                                            "top_n_sigma",
                                            "dynatemp_range",
                                            "dynatemp_exponent",
                                            "xtc_probability",
                                            "xtc_threshold",
                                            "dry_multiplier",
                                            "dry_base",
                                            "dry_allowed_length",
                                            "dry_penalty_last_n",
                                            "dry_sequence_breakers",
                                            "no_repeat_ngram_size",
                                            "mirostat",
                                            "mirostat_tau",
                                            "mirostat_eta",
                                            "samplers",
                                            "response_format",
                                            "json_schema",
                                            "grammar",
                                            "required_words",
                                            "word_filter",
                                            "deadline_ms",
                                            "priority",
                                            "user",
                                            "metadata",
                                            "store",
                                            "service_tier",
                                            "safety_identifier",
                                            "prompt_cache_key",
                                            "prompt_cache_retention",
                                            "prompt_cache_options",
                                            NULL};
static const char *const fields_text[] = {"prompt", "echo", "best_of", "suffix", NULL};
static const char *const fields_chat[] = {
    "messages",  "max_completion_tokens", "top_logprobs", "tools",      "tool_choice",
    "functions", "function_call",         "modalities",   "prediction", "parallel_tool_calls",
    NULL};
static const char *const fields_refused[] = {"reasoning_effort",   "verbosity",  "audio",
                                             "web_search_options", "moderation", NULL};

// --- the prompt of text completions --------------------------------------------------------------

static bool all_are(const json_t *array, json_type type) {
    for (size_t i = 0; i < json_array_size(array); i++)
        if (json_typeof(json_array_get(array, i)) != type) return false;
    return true;
}

static size_t n_ids(const json_t *prompt) {
    if (!json_is_array(prompt)) return 0;
    if (all_are(prompt, JSON_INTEGER)) return json_array_size(prompt);
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(prompt); i++)
        n += json_array_size(json_array_get(prompt, i));
    return n;
}

static void read_ids(srv_in *in, const json_t *ids, ink_token *out, srv_prompt *prompt) {
    const size_t n = json_array_size(ids);
    if (n == 0 || !all_are(ids, JSON_INTEGER)) {
        srv_in_refuse(in, "prompt", "'prompt': an array of token ids must hold %s.",
                      n == 0 ? "one at least" : "integers only");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const json_int_t id = json_integer_value(json_array_get(ids, i));
        if (id < 0 || id > INT32_MAX) {
            srv_in_refuse(in, "prompt", "'prompt': %lld is no token id.", (long long)id);
            return;
        }
        out[i] = (ink_token)id;
    }
    *prompt = (srv_prompt){.text = "", .tokens = out, .n_tokens = n};
}

static srv_prompt text_prompt(const json_t *text) {
    return (srv_prompt){.text = json_string_value(text), .bytes = json_string_length(text)};
}

static void read_prompt_list(srv_in *in, const json_t *list, srv_completion *out) {
    size_t at = 0; // ids taken
    for (size_t i = 0; i < out->n_prompts && !in->failed; i++) {
        const json_t *one = json_array_get(list, i);
        if (json_is_string(one)) {
            out->prompts[i] = text_prompt(one);
        } else {
            read_ids(in, one, out->tokens + at, &out->prompts[i]);
            at += json_array_size(one);
        }
    }
}

static void read_prompt(srv_in *in, srv_completion *out) {
    const json_t *prompt = srv_in_any(in, "prompt");
    if (in->failed) return;
    const size_t n = json_array_size(prompt);
    const bool ids = n > 0 && all_are(prompt, JSON_INTEGER);
    const bool list = n > 0 && (all_are(prompt, JSON_STRING) || all_are(prompt, JSON_ARRAY));
    if (prompt != NULL && !json_is_string(prompt) && !ids && !list) {
        srv_in_refuse(in, "prompt",
                      "'prompt' must be a string, an array of strings, an array of token ids, or "
                      "an array of such arrays, and none of them empty.");
        return;
    }
    if (list && n > SRV_MAX_CHOICES) {
        srv_in_refuse(in, "prompt", "'prompt' holds %zu prompts, %d are allowed.", n,
                      SRV_MAX_CHOICES);
        return;
    }
    const size_t n_tokens = n_ids(prompt);
    out->n_prompts = list ? n : 1;
    out->prompts = calloc(out->n_prompts, sizeof *out->prompts);
    out->tokens = calloc(n_tokens + 1, sizeof *out->tokens); // one more: lists may be empty
    if (out->prompts == NULL || out->tokens == NULL)
        srv_in_no_memory(in);
    else if (list)
        read_prompt_list(in, prompt, out);
    else if (ids)
        read_ids(in, prompt, out->tokens, &out->prompts[0]);
    else // none: what the end-of-text token begins
        out->prompts[0] = prompt != NULL ? text_prompt(prompt) : (srv_prompt){.text = ""};
}

static void read_text_fields(srv_in *in, srv_completion *out) {
    uint64_t number = 16;
    read_prompt(in, out);
    srv_in_uint(in, "max_tokens", 0, INT32_MAX, &number);
    out->max_tokens = (uint32_t)number;
    srv_in_bool(in, "echo", &out->echo);
    number = 0;
    out->logprobs = srv_in_uint(in, "logprobs", 0, SRV_MAX_TOP, &number);
    out->n_top = (uint32_t)number;
    uint64_t best_of = out->n;
    if (srv_in_uint(in, "best_of", 1, SRV_MAX_N, &best_of) && best_of != out->n)
        srv_in_refuse(in, "best_of", "'best_of' other than 'n' (%u) is not supported.",
                      (unsigned)out->n);
    const json_t *suffix = srv_in_any(in, "suffix");
    if (suffix != NULL && !srv_in_is(suffix, ""))
        srv_in_refuse(in, "suffix", "'suffix' is not supported.");
}

// --- what both have ------------------------------------------------------------------------------

static void read_stop(srv_in *in, srv_completion *out) {
    const json_t *stop = srv_in_any(in, "stop");
    if (stop == NULL) return;
    const size_t n = json_is_array(stop) ? json_array_size(stop) : 1;
    if (n > SRV_MAX_STOPS) {
        srv_in_refuse(in, "stop", "'stop' holds %zu strings, %d are allowed.", n, SRV_MAX_STOPS);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_array(stop) ? json_array_get(stop, i) : stop;
        const char *text = json_string_value(one);
        if (text == NULL || text[0] == 0 || strlen(text) != json_string_length(one)) {
            srv_in_refuse(in, "stop",
                          "'stop' must be a string or an array of strings, none of them empty or "
                          "with U+0000.");
            return;
        }
        if (strlen(text) > SRV_MAX_STOP_BYTES) {
            srv_in_refuse(in, "stop", "'stop' holds a string of %zu bytes, %d are allowed.",
                          strlen(text), SRV_MAX_STOP_BYTES);
            return;
        }
        out->stop[out->n_stop++] = text;
    }
}

static void read_stream(srv_in *in, srv_completion *out) {
    srv_in_bool(in, "stream", &out->stream);
    const json_t *options = srv_in_any(in, "stream_options");
    if (options == NULL) return;
    if (!json_is_object(options)) {
        srv_in_refuse(in, "stream_options", "'stream_options' must be an object.");
    } else if (!out->stream) {
        srv_in_refuse(in, "stream_options",
                      "'stream_options' is only allowed with 'stream': true.");
    } else {
        static const char *const known[] = {"include_usage", NULL};
        static const char *const ignored[] = {"include_obfuscation", NULL};
        srv_in inner = {.object = options, .why = in->why, .path = "stream_options."};
        srv_in_bool(&inner, "include_usage", &out->include_usage);
        srv_in_only(&inner, known, ignored, NULL);
        in->failed = inner.failed;
        if (in->failed) snprintf(in->why->param, sizeof in->why->param, "stream_options");
    }
}

static void read_required(srv_in *in, srv_completion *out) {
    static const char name[] = "required_words";
    srv_in_strings(in, name, SRV_MAX_REQUIRED, &out->required, &out->n_required);
    for (size_t i = 0; i < out->n_required && !in->failed; i++) {
        const size_t bytes = strlen(out->required[i]);
        if (bytes == 0 || bytes > SRV_MAX_REQUIRED_BYTES)
            srv_in_refuse(in, name, "'%s' must hold strings of 1 to %d bytes.", name,
                          SRV_MAX_REQUIRED_BYTES);
    }
}

static void read_common(srv_in *in, srv_completion *out, const char *body, size_t bytes) {
    static const char *const priorities[] = {"foreground", "background", NULL};
    uint64_t n = 1, deadline = 0;
    uint32_t priority = 0;
    srv_in_text(in, "model", &out->model, NULL);
    srv_in_uint(in, "n", 1, SRV_MAX_N, &n);
    out->n = (uint32_t)n;
    srv_in_uint(in, "deadline_ms", 1, INT32_MAX, &deadline);
    out->deadline_ms = (uint32_t)deadline;
    srv_in_choice(in, "priority", priorities, &priority);
    out->priority = priority == 0 ? INK_PRIORITY_FOREGROUND : INK_PRIORITY_BACKGROUND;
    read_stream(in, out);
    read_stop(in, out);
    srv_in_strings(in, "word_filter", SIZE_MAX, &out->phrases, &out->n_phrases);
    read_required(in, out);
    srv_sampling_read(in, out, body, bytes);
    srv_rules_read(in, out, body, bytes);
}

// A request may wait long. What takes many times its bytes is not kept: numbers that are copied,
// and what has no effect.
static void drop_read(srv_completion *out) {
    static const char *const lists[] = {"word_filter", "stop", "dry_sequence_breakers",
                                        "required_words"};
    const char *name;
    json_t *value;
    void *next;
    json_object_foreach_safe(out->root, next, name, value) {
        const bool is_text = json_is_string(value);
        bool points = strcmp(name, "prompt") == 0 && out->prompts[0].n_tokens == 0;
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
            points = points || strcmp(name, lists[i]) == 0;
        if (!is_text && !points) json_object_del(out->root, name);
    }
}

bool srv_completion_parse(srv_completion *out, const char *body, size_t bytes, bool chat,
                          srv_failure *why) {
    *out = (srv_completion){.chat = chat};
    ink_sampler_options_init(&out->sampler, sizeof out->sampler);
    out->root = srv_in_object(body, bytes, why);
    if (out->root == NULL) return false;
    srv_in in = {.object = out->root, .why = why};
    srv_in_only(&in, fields_common, chat ? fields_chat : fields_text, fields_refused);
    read_common(&in, out, body, bytes);
    if (chat)
        srv_chat_read(&in, out);
    else
        read_text_fields(&in, out);
    if (!in.failed && out->n_prompts * out->n > SRV_MAX_CHOICES)
        srv_in_refuse(&in, "n", "%zu prompts with %u choices each: %d choices are allowed in all.",
                      out->n_prompts, (unsigned)out->n, SRV_MAX_CHOICES);
    if (in.failed)
        srv_completion_clear(out);
    else
        drop_read(out);
    return !in.failed;
}

void srv_completion_clear(srv_completion *request) {
    json_decref(request->root);
    free(request->prompts);
    free(request->chat_text);
    free(request->tokens);
    free(request->biases);
    free(request->phrases);
    free(request->required);
    free(request->breakers);
    free(request->chain_text);
    *request = (srv_completion){0};
}
