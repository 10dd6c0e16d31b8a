// SPDX-License-Identifier: MIT
// What OpenAI's clients read: whole answers, and the chunks of streams.
#include "server/completion_run.h"

#include "server/app.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOGPROB_DIGITS = 7 };
// What OpenAI writes where a logarithm would be -infinity.
static const double least_logprob = -9999;

void srv_run_write_head(srv_run *run) {
    srv_text *out = &run->head;
    const bool chat = run->request.chat;
    char id[64];
    srv_new_id(id, sizeof id, chat ? "chatcmpl-" : "cmpl-");
    srv_text_puts(out, "{\"id\":");
    srv_text_string(out, id, strlen(id));
    srv_text_puts(out, ",\"object\":\"");
    srv_text_puts(out, !chat                 ? "text_completion"
                       : run->request.stream ? "chat.completion.chunk"
                                             : "chat.completion");
    srv_text_puts(out, "\",\"created\":");
    srv_text_int(out, srv_unix_time());
    srv_text_puts(out, ",\"model\":");
    srv_text_string(out, run->model->id, strlen(run->model->id));
    srv_text_puts(out, ",\"system_fingerprint\":\"inkling-");
    srv_text_puts(out, ink_version());
    srv_text_puts(out, "\",\"choices\":");
}

// --- log-probabilities ---------------------------------------------------------------------------

// A token's bytes; room [cap] may do, else they are on the heap. NULL: no memory.
static char *token_bytes(const ink_model *model, ink_token token, char *room, size_t cap,
                         size_t *bytes) {
    *bytes = 0;
    if (ink_detokenize(model, &token, 1, INK_DETOKENIZE_SPECIAL, room, cap, bytes) != INK_E_SPACE)
        return room;
    char *more = malloc(*bytes);
    if (more != NULL) ink_detokenize(model, &token, 1, INK_DETOKENIZE_SPECIAL, more, *bytes, bytes);
    return more;
}

// Part of a character is told byte by byte, as OpenAI does it.
static void write_token(srv_text *out, const char *data, size_t bytes, bool chat) {
    static const char digits[] = "0123456789abcdef";
    if (srv_utf8_valid(data, bytes)) {
        srv_text_string(out, data, bytes);
        return;
    }
    srv_text_puts(out, chat ? "\"" : "\"bytes:");
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)data[i];
        const char code[5] = {'\\', '\\', 'x', digits[c >> 4], digits[c & 15]};
        srv_text_add(out, code, sizeof code);
    }
    srv_text_puts(out, "\"");
}

static void write_logprob(srv_text *out, float logprob) {
    if (isnan(logprob))
        srv_text_puts(out, "null");
    else
        srv_text_real(out, logprob < least_logprob ? least_logprob : (double)logprob,
                      LOGPROB_DIGITS);
}

static void separate(srv_text *list) {
    if (list->bytes > 0) srv_text_puts(list, ",");
}

static void write_top_entry(const srv_choice *choice, srv_text *out, ink_token token,
                            float logprob) {
    char room[256];
    size_t bytes = 0;
    char *data = token_bytes(choice->run->open, token, room, sizeof room, &bytes);
    if (data == NULL) {
        out->failed = true;
        return;
    }
    write_token(out, data, bytes, false);
    srv_text_puts(out, ":");
    write_logprob(out, logprob);
    if (data != room) free(data);
}

// The best ones and, if it is not among them, the one that was chosen.
static void write_top_map(const srv_choice *choice, srv_text *out, const ink_choice *c) {
    bool there = false;
    if (isnan(c->logprob)) {
        srv_text_puts(out, "null");
        return;
    }
    srv_text_puts(out, "{");
    for (uint32_t i = 0; i < c->n_top; i++) {
        if (i > 0) srv_text_puts(out, ",");
        there = there || c->top[i].token == c->token;
        write_top_entry(choice, out, c->top[i].token, c->top[i].logprob);
    }
    if (!there && c->n_top > 0) srv_text_puts(out, ",");
    if (!there) write_top_entry(choice, out, c->token, c->logprob);
    srv_text_puts(out, "}");
}

static void add_to_lists(srv_choice *choice, const ink_choice *c, const char *data, size_t bytes) {
    srv_text *lists = choice->lists;
    const bool inside = bytes > 0 && ((unsigned char)data[0] & 0xc0) == 0x80;
    for (int i = 0; i < SRV_N_LISTS; i++) separate(&lists[i]);
    write_token(&lists[SRV_LIST_TOKENS], data, bytes, false);
    write_logprob(&lists[SRV_LIST_LOGPROBS], c->logprob);
    write_top_map(choice, &lists[SRV_LIST_TOPS], c);
    // What begins inside a character stands where that one does.
    srv_text_uint(&lists[SRV_LIST_OFFSETS],
                  choice->n_chars - (inside && choice->n_chars > 0 ? 1 : 0));
    for (size_t i = 0; i < bytes; i++)
        if (((unsigned char)data[i] & 0xc0) != 0x80) choice->n_chars++;
}

static void write_chat_token(srv_text *out, const char *data, size_t bytes, float logprob) {
    srv_text_puts(out, "{\"token\":");
    write_token(out, data, bytes, true);
    srv_text_puts(out, ",\"logprob\":");
    write_logprob(out, logprob);
    srv_text_puts(out, ",\"bytes\":[");
    for (size_t i = 0; i < bytes; i++) {
        if (i > 0) srv_text_puts(out, ",");
        srv_text_uint(out, (unsigned char)data[i]);
    }
    srv_text_puts(out, "]");
}

static size_t n_blanks(const char *data, size_t bytes) {
    size_t n = 0;
    while (n < bytes && memchr(" \t\n\r", data[n], 4) != NULL) n++;
    return n;
}

// The blanks that the answer does not begin with are not told of its tokens either.
static void add_chat_token(srv_choice *choice, const ink_choice *c, const char *data,
                           size_t bytes) {
    srv_text *out = &choice->lists[0];
    const size_t n_cut = choice->tokens_begun ? 0 : n_blanks(data, bytes);
    if (n_cut == bytes) return;
    choice->tokens_begun = true;
    separate(out);
    write_chat_token(out, data + n_cut, bytes - n_cut, c->logprob);
    srv_text_puts(out, ",\"top_logprobs\":[");
    for (uint32_t i = 0; i < c->n_top; i++) {
        char room[256];
        size_t n = 0;
        char *top = token_bytes(choice->run->open, c->top[i].token, room, sizeof room, &n);
        if (i > 0) srv_text_puts(out, ",");
        if (top == NULL) {
            out->failed = true;
            break;
        }
        write_chat_token(out, top, n, c->top[i].logprob);
        srv_text_puts(out, "}");
        if (top != room) free(top);
    }
    srv_text_puts(out, "]}");
}

void srv_choice_add(srv_choice *choice, const ink_piece *piece) {
    const srv_completion *request = &choice->run->request;
    size_t n_cut = 0;
    if (request->chat && !choice->text_begun) {
        n_cut = n_blanks(piece->text, piece->bytes);
        choice->text_begun = n_cut < piece->bytes;
    }
    srv_text_add(&choice->text, piece->text + n_cut, piece->bytes - n_cut);
    for (uint32_t i = 0; request->logprobs && i < piece->n_choices; i++) {
        char room[256];
        size_t bytes = 0;
        const ink_choice *c = &piece->choices[i];
        char *data = token_bytes(choice->run->open, c->token, room, sizeof room, &bytes);
        if (data == NULL) {
            choice->text.failed = true;
            return;
        }
        (request->chat ? add_chat_token : add_to_lists)(choice, c, data, bytes);
        if (data != room) free(data);
    }
}

bool srv_choice_failed(const srv_choice *choice) {
    bool failed = choice->text.failed || choice->chunk.failed;
    for (int i = 0; i < SRV_N_LISTS; i++) failed = failed || choice->lists[i].failed;
    return failed;
}

// --- choices -------------------------------------------------------------------------------------

// What the writers below put into out fails with what is put in there.
static void put(srv_text *out, const srv_text *text) {
    out->failed = out->failed || text->failed;
    srv_text_add(out, text->data, text->bytes);
}

static void write_logprobs(const srv_choice *choice, srv_text *out) {
    static const char *const names[SRV_N_LISTS] = {"{\"tokens\":[", "],\"token_logprobs\":[",
                                                   "],\"top_logprobs\":[", "],\"text_offset\":["};
    const srv_completion *request = &choice->run->request;
    if (!request->logprobs) {
        srv_text_puts(out, "null");
    } else if (request->chat) {
        srv_text_puts(out, "{\"content\":[");
        put(out, &choice->lists[0]);
        srv_text_puts(out, "],\"refusal\":null}");
    } else {
        for (int i = 0; i < SRV_N_LISTS; i++) {
            srv_text_puts(out, names[i]);
            put(out, &choice->lists[i]);
        }
        srv_text_puts(out, "]}");
    }
}

static const char *finish_reason(uint32_t stop) {
    switch (stop) {
    case INK_STOP_FILTER: return "\"content_filter\"";
    case INK_STOP_LENGTH:
    case INK_STOP_DEADLINE:
    case INK_STOP_CONTEXT: return "\"length\"";
    default: return "\"stop\"";
    }
}

static void write_ms(srv_text *out, const char *name, double ms) {
    srv_text_puts(out, name);
    srv_text_real(out, ms, 3);
}

static void write_ours(const srv_choice *choice, srv_text *out) {
    const ink_result *r = &choice->result;
    srv_text_puts(out, "\"inkling\":{\"stop\":\"");
    srv_text_puts(out, ink_stop_name(r->stop));
    srv_text_puts(out, "\",\"seed\":");
    srv_text_int(out, (int64_t)choice->sampler.seed);
    write_ms(out, ",\"queue_ms\":", r->queue_ms);
    write_ms(out, ",\"prefill_ms\":", r->prefill_ms);
    write_ms(out, ",\"first_token_ms\":", r->first_token_ms);
    write_ms(out, ",\"decode_ms\":", r->decode_ms);
    srv_text_puts(out, ",\"tokens_reused\":");
    srv_text_uint(out, r->n_reused);
    srv_text_puts(out, ",\"tokens_evaluated\":");
    srv_text_uint(out, r->n_evaluated);
    srv_text_puts(out, "}");
}

static void write_usage(const srv_run *run, srv_text *out) {
    uint64_t n_prompt = 0, n_cached = 0, n_new = 0;
    for (size_t i = 0; i < run->request.n_prompts; i++) n_prompt += run->n_prompt_tokens[i];
    for (size_t i = 0; i < run->n_choices; i++) {
        n_new += run->choices[i].result.n_generated;
        // A prompt counts once, however many choices it has.
        if (i % run->request.n == 0) n_cached += run->choices[i].result.n_reused;
    }
    srv_text_puts(out, "\"usage\":{\"prompt_tokens\":");
    srv_text_uint(out, n_prompt);
    srv_text_puts(out, ",\"completion_tokens\":");
    srv_text_uint(out, n_new);
    srv_text_puts(out, ",\"total_tokens\":");
    srv_text_uint(out, n_prompt + n_new);
    srv_text_puts(out, ",\"prompt_tokens_details\":{\"cached_tokens\":");
    srv_text_uint(out, n_cached < n_prompt ? n_cached : n_prompt);
    srv_text_puts(out, "}}");
}

// --- streams -------------------------------------------------------------------------------------

static void begin_chunk(srv_choice *choice) {
    srv_text *out = &choice->chunk;
    srv_text_clear(out);
    srv_text_puts(out, "data: ");
    put(out, &choice->run->head);
    srv_text_puts(out, "[{\"index\":");
    srv_text_uint(out, choice->index);
}

static void end_chunk(srv_choice *choice, bool last) {
    srv_text *out = &choice->chunk;
    srv_text_puts(out, ",\"finish_reason\":");
    srv_text_puts(out, last ? finish_reason(choice->result.stop) : "null");
    srv_text_puts(out, choice->run->request.include_usage ? "}],\"usage\":null" : "}]");
    if (last) {
        srv_text_puts(out, ",");
        write_ours(choice, out);
    }
    srv_text_puts(out, "}\n\n");
}

void srv_choice_first_chunk(srv_choice *choice) {
    begin_chunk(choice);
    srv_text_puts(&choice->chunk, ",\"delta\":{\"role\":\"assistant\",\"content\":\"\","
                                  "\"refusal\":null},\"logprobs\":null");
    end_chunk(choice, false);
}

void srv_choice_chunk(srv_choice *choice) {
    srv_text *out = &choice->chunk;
    const bool chat = choice->run->request.chat;
    begin_chunk(choice);
    srv_text_puts(out, chat ? ",\"delta\":{\"content\":" : ",\"text\":");
    srv_text_string(out, choice->text.data, choice->text.bytes);
    srv_text_puts(out, chat ? "},\"logprobs\":" : ",\"logprobs\":");
    write_logprobs(choice, out);
    end_chunk(choice, false);
    srv_text_clear(&choice->text);
    for (int i = 0; i < SRV_N_LISTS; i++) srv_text_clear(&choice->lists[i]);
}

void srv_choice_last_chunk(srv_choice *choice) {
    begin_chunk(choice);
    srv_text_puts(&choice->chunk, choice->run->request.chat ? ",\"delta\":{},\"logprobs\":null"
                                                            : ",\"text\":\"\",\"logprobs\":null");
    end_chunk(choice, true);
}

void srv_run_usage_chunk(const srv_run *run, srv_text *out) {
    srv_text_puts(out, "data: ");
    put(out, &run->head);
    srv_text_puts(out, "[],");
    write_usage(run, out);
    srv_text_puts(out, "}\n\n");
}

// --- whole answers -------------------------------------------------------------------------------

static void write_choice(const srv_choice *choice, srv_text *out) {
    const srv_run *run = choice->run;
    srv_text_puts(out, "{\"index\":");
    srv_text_uint(out, choice->index);
    srv_text_puts(out, run->request.chat ? ",\"message\":{\"role\":\"assistant\",\"content\":"
                                         : ",\"text\":");
    out->failed = out->failed || choice->text.failed;
    srv_text_string(out, choice->text.data, choice->text.bytes);
    if (run->request.chat) srv_text_puts(out, ",\"refusal\":null}");
    srv_text_puts(out, ",\"logprobs\":");
    write_logprobs(choice, out);
    srv_text_puts(out, ",\"finish_reason\":");
    srv_text_puts(out, finish_reason(choice->result.stop));
    if (run->n_choices > 1) {
        srv_text_puts(out, ",");
        write_ours(choice, out);
    }
    srv_text_puts(out, "}");
}

// Our object stands beside the standard fields for the first choice, and in each of several.
void srv_run_answer(srv_run *run, srv_text *out) {
    put(out, &run->head);
    srv_text_puts(out, "[");
    for (size_t i = 0; i < run->n_choices; i++) {
        if (i > 0) srv_text_puts(out, ",");
        write_choice(&run->choices[i], out);
    }
    srv_text_puts(out, "],");
    write_usage(run, out);
    srv_text_puts(out, ",");
    write_ours(&run->choices[0], out);
    srv_text_puts(out, "}");
}
