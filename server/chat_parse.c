// SPDX-License-Identifier: MIT
// What only chat has. The template is plain, for models that know no turns: a line for each
// message, and what stops the answer is the next such line.
#include "server/completion_parse.h"
#include "server/json_out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const roles[] = {"system",   "developer", "user", "assistant",
                                    "function", "tool",      NULL};
enum { N_ROLES_READ = 4 };
static const char *const role_lines[N_ROLES_READ] = {
    "System: ", "System: ", "User: ", "Assistant: "};
static const char *const chat_stops[SRV_CHAT_STOPS] = {"\nUser:", "\nSystem:", "\nAssistant:"};

static bool is_empty(const json_t *value) {
    return value == NULL || json_is_null(value) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

// Parts of a content are lines of it.
static void read_parts(srv_in *in, const json_t *parts, const char *path, srv_text *out) {
    const size_t n = json_array_size(parts);
    if (n == 0) srv_in_refuse(in, path, "'%s' must not be an empty array.", path);
    for (size_t i = 0; i < n && !in->failed; i++) {
        const json_t *part = json_array_get(parts, i);
        char at[128];
        if (!json_is_object(part)) {
            snprintf(at, sizeof at, "%s[%zu]", path, i);
            srv_in_refuse(in, at, "'%s' must be an object.", at);
            return;
        }
        const json_t *type = json_object_get(part, "type");
        const json_t *text = json_object_get(part, "text");
        if (!srv_in_is(type, "text")) {
            snprintf(at, sizeof at, "%s[%zu].type", path, i);
            srv_in_refuse(in, at, "'%s' must be \"text\": this model reads nothing else.", at);
        } else if (!json_is_string(text)) {
            snprintf(at, sizeof at, "%s[%zu].text", path, i);
            srv_in_refuse(in, at, "'%s' must be a string.", at);
        } else {
            if (i > 0) srv_text_puts(out, "\n");
            srv_text_add(out, json_string_value(text), json_string_length(text));
        }
    }
}

static void read_fields(srv_in *in, const json_t *message, size_t index) {
    static const char *const read[] = {"role", "content", "name", NULL};
    static const char *const not_read[] = {"tool_calls", "function_call", "refusal", "audio", NULL};
    char at[64], shown[32];
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)message, name, value) {
        bool known = false;
        for (size_t i = 0; read[i] != NULL && !known; i++) known = strcmp(name, read[i]) == 0;
        for (size_t i = 0; not_read[i] != NULL && !known; i++)
            known = strcmp(name, not_read[i]) == 0 && is_empty(value);
        if (known) continue;
        // An unknown name may be long or cut inside a character: only plain ones are repeated.
        size_t n = 0;
        while (n + 1 < sizeof shown && name[n] > 0x20 && name[n] < 0x7f) n++;
        memcpy(shown, name, n);
        shown[n] = 0;
        snprintf(at, sizeof at, "messages[%zu].%s", index, shown);
        srv_in_refuse(in, at, "'%s' is not supported.", at);
        return;
    }
}

static void read_message(srv_in *in, const json_t *message, size_t index, srv_text *out) {
    char at[64];
    snprintf(at, sizeof at, "messages[%zu]", index);
    if (!json_is_object(message)) {
        srv_in_refuse(in, at, "'%s' must be an object.", at);
        return;
    }
    const json_t *role = json_object_get(message, "role");
    size_t which = 0;
    while (roles[which] != NULL && !srv_in_is(role, roles[which])) which++;
    if (which >= N_ROLES_READ) {
        const bool tool = roles[which] != NULL;
        snprintf(at, sizeof at, "messages[%zu].role", index);
        srv_in_refuse(in, at,
                      "'%s' must be \"system\", \"developer\", \"user\" or \"assistant\"%s.", at,
                      tool ? "; tools and functions are not supported" : "");
        return;
    }
    read_fields(in, message, index);
    if (in->failed) return;
    const json_t *content = json_object_get(message, "content");
    snprintf(at, sizeof at, "messages[%zu].content", index);
    srv_text_puts(out, role_lines[which]);
    if (json_is_string(content))
        srv_text_add(out, json_string_value(content), json_string_length(content));
    else if (json_is_array(content))
        read_parts(in, content, at, out);
    else
        srv_in_refuse(in, at, "'%s' must be a string or an array of text parts.", at);
    srv_text_puts(out, "\n");
}

static void read_messages(srv_in *in, srv_completion *out) {
    const json_t *messages = srv_in_any(in, "messages");
    if (in->failed) return;
    if (!json_is_array(messages) || json_array_size(messages) == 0) {
        srv_in_refuse(in, "messages", "'messages' must be an array with a message at least.");
        return;
    }
    srv_text text = {0};
    const size_t n = json_array_size(messages);
    for (size_t i = 0; i < n && !in->failed; i++)
        read_message(in, json_array_get(messages, i), i, &text);
    srv_text_puts(&text, "Assistant:");
    out->prompts = in->failed || text.failed ? NULL : calloc(1, sizeof *out->prompts);
    if (out->prompts == NULL) {
        srv_text_free(&text);
        if (!in->failed) srv_in_no_memory(in);
        return;
    }
    out->n_prompts = 1;
    out->chat_text = text.data;
    out->prompts[0] = (srv_prompt){.text = text.data, .bytes = text.bytes};
}

static void read_tools(srv_in *in) {
    static const char *const lists[] = {"tools", "functions"};
    static const char *const choices[] = {"tool_choice", "function_call"};
    for (int i = 0; i < 2; i++) {
        if (!is_empty(srv_in_any(in, lists[i])))
            srv_in_refuse(in, lists[i], "'%s' is not supported: this model calls no tools.",
                          lists[i]);
        const json_t *choice = srv_in_any(in, choices[i]);
        if (choice != NULL && !srv_in_is(choice, "none"))
            srv_in_refuse(in, choices[i], "'%s' must be \"none\": this model calls no tools.",
                          choices[i]);
    }
}

static void read_modalities(srv_in *in) {
    const json_t *modalities = srv_in_any(in, "modalities");
    if (modalities == NULL) return;
    if (json_array_size(modalities) != 1 || !srv_in_is(json_array_get(modalities, 0), "text"))
        srv_in_refuse(in, "modalities", "'modalities' must be [\"text\"].");
}

static void read_length(srv_in *in, srv_completion *out) {
    uint64_t most = INT32_MAX, newer = INT32_MAX;
    const bool old = srv_in_uint(in, "max_tokens", 0, INT32_MAX, &most);
    if (srv_in_uint(in, "max_completion_tokens", 0, INT32_MAX, &newer)) {
        if (old && most != newer)
            srv_in_refuse(in, "max_tokens",
                          "'max_tokens' and 'max_completion_tokens' are the same here, but "
                          "differ; give one of them.");
        most = newer;
    }
    out->max_tokens = (uint32_t)most;
}

void srv_chat_read(srv_in *in, srv_completion *out) {
    read_messages(in, out);
    read_tools(in);
    read_modalities(in);
    read_length(in, out);
    srv_in_bool(in, "logprobs", &out->logprobs);
    uint64_t n_top = 0;
    if (srv_in_uint(in, "top_logprobs", 0, SRV_MAX_TOP, &n_top) && !out->logprobs)
        srv_in_refuse(in, "top_logprobs", "'top_logprobs' is only allowed with 'logprobs': true.");
    out->n_top = (uint32_t)n_top;
    // A grammar says itself where an answer ends.
    for (size_t i = 0; i < SRV_CHAT_STOPS && out->rules.text == NULL; i++)
        out->stop[out->n_stop++] = chat_stops[i];
}
