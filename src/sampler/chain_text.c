// SPDX-License-Identifier: MIT
#include "sampler/chain.h"

#include "base/json.h"
#include "base/number.h"

#include <stdio.h>
#include <string.h>

static inki_chain_word trim(inki_chain_word w) {
    while (w.n > 0 && (w.s[0] == ' ' || w.s[0] == '\t')) {
        w.s++;
        w.n--;
        w.at++;
    }
    while (w.n > 0 && (w.s[w.n - 1] == ' ' || w.s[w.n - 1] == '\t')) w.n--;
    return w;
}

// Takes the word before the next `separator` outside of quotes off the front of *rest. False: *rest
// was its last word, and is empty from now on.
static bool split(inki_chain_word *rest, char separator, inki_chain_word *out) {
    bool quoted = false;
    size_t i = 0;
    for (; i < rest->n && (quoted || rest->s[i] != separator); i++) {
        if (rest->s[i] == '"')
            quoted = !quoted;
        else if (quoted && rest->s[i] == '\\' && i + 1 < rest->n)
            i++;
    }
    *out = trim((inki_chain_word){rest->s, i, rest->at});
    const bool found = i < rest->n;
    const size_t skip = i + found;
    rest->s += skip;
    rest->at += skip;
    rest->n -= skip;
    return found;
}

static bool is_none(inki_chain_word w) { return inki_str_equal((inki_str){w.s, w.n}, "none"); }

// "token:bias,token:bias" or "none"
static ink_status read_bias(const inki_chain_reader *r, inki_chain_word list) {
    inki_chain *chain = r->chain;
    if (is_none(list)) return INK_OK;
    size_t n = 1;
    for (size_t i = 0; i < list.n; i++) n += list.s[i] == ',';
    if (n > INKI_CHAIN_BIAS_MAX)
        return inki_chain_fail(r, INK_E_LIMIT, list.at,
                               "logit_bias has %zu entries, at most %d are allowed", n,
                               INKI_CHAIN_BIAS_MAX);
    ink_logit_bias *bias = inki_alloc(&chain->mem, n, sizeof *bias);
    if (bias == NULL) return inki_fail_nomem(r->error, n * sizeof *bias);
    ink_status status = INK_OK;
    for (size_t i = 0; i < n && status == INK_OK; i++) {
        inki_chain_word pair, token;
        split(&list, ',', &pair);
        inki_chain_word value = pair;
        split(&value, ':', &token);
        status = inki_chain_pair(r, token, trim(value), pair, &bias[i]);
    }
    if (status == INK_OK) status = inki_chain_set_bias(chain, bias, n, r->error);
    inki_release(&chain->mem, bias, n, sizeof *bias);
    return status;
}

// A string as JSON writes it.
static ink_status read_breaker(inki_chain_reader *r, inki_chain_word word) {
    inki_json json = {0};
    ink_status status = inki_json_parse(&json, word.s, word.n, &r->chain->mem, r->error);
    if (status == INK_OK && json.nodes->kind == INKI_JSON_STRING)
        status = inki_chain_add_breaker(r, word, json.nodes->text);
    else if (status != INK_E_NOMEM)
        status = inki_chain_fail_word(r, word, "a breaker", "a string as in JSON");
    inki_json_free(&json);
    return status;
}

// What stands behind "name=". Numbers left out at the end stay as the options have them.
static ink_status read_numbers(inki_chain_reader *r, inki_step step, inki_chain_word list) {
    bool more = true, strings = false;
    ink_status status = INK_OK;
    for (uint32_t i = 0; more && status == INK_OK; i++) {
        inki_chain_word w;
        more = split(&list, ',', &w);
        strings = strings || (step == INKI_STEP_DRY && (is_none(w) || (w.n > 0 && w.s[0] == '"')));
        if (!strings) {
            status = inki_chain_set(r, step, i, w);
        } else if (is_none(w) && !r->own_breakers && !more) {
            inki_chain_no_breakers(r);
        } else {
            status = read_breaker(r, w);
        }
    }
    return status;
}

static ink_status read_step(inki_chain_reader *r, inki_chain_word word) {
    inki_chain_word name, rest = word;
    const bool numbers = split(&rest, '=', &name);
    inki_step step;
    const ink_status status = inki_chain_add(r, name, &step);
    if (status != INK_OK) return status;
    rest = trim(rest);
    if (step == INKI_STEP_LOGIT_BIAS)
        return numbers ? read_bias(r, rest) : inki_chain_option_bias(r);
    if (numbers && step == INKI_STEP_GREEDY)
        return inki_chain_fail(r, INK_E_ARG, rest.at, "greedy takes no numbers");
    return numbers ? read_numbers(r, step, rest) : INK_OK;
}

ink_status inki_chain_read_text(inki_chain_reader *r) {
    inki_chain_word rest = {r->source, r->bytes, 0};
    ink_status status = INK_OK;
    for (bool more = true; more && status == INK_OK;) {
        inki_chain_word word;
        more = split(&rest, ';', &word);
        status = read_step(r, word);
    }
    return status;
}

typedef struct chain_writer {
    char *out;
    size_t cap, n; // n counts what does not fit too
} chain_writer;

static void chain_put(chain_writer *w, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++, w->n++)
        if (w->n + 1 < w->cap) w->out[w->n] = s[i];
}

static void chain_put_bias(chain_writer *w, const inki_chain *chain) {
    if (chain->n_bias == 0) chain_put(w, "=none", 5);
    for (size_t i = 0; i < chain->n_bias; i++) {
        char text[64];
        const int n =
            snprintf(text, sizeof text, "%c%d:", i == 0 ? '=' : ',', chain->bias[i].token);
        chain_put(w, text, (size_t)n);
        chain_put(w, text, inki_format_float(chain->bias[i].bias, text, 32));
    }
}

static void chain_put_breakers(chain_writer *w, const inki_chain *chain) {
    const uint8_t *at = chain->breakers, *end = at + chain->breakers_bytes;
    if (at == end) chain_put(w, ",none", 5);
    for (; at < end; at += 1 + *at) {
        chain_put(w, ",\"", 2);
        for (uint32_t i = 1; i <= *at; i++) {
            char text[8] = {'\\', (char)at[i]};
            if (at[i] == '\n')
                chain_put(w, "\\n", 2);
            else if (at[i] < ' ')
                chain_put(w, text, (size_t)snprintf(text, sizeof text, "\\u%04x", at[i]));
            else if (at[i] == '"' || at[i] == '\\')
                chain_put(w, text, 2);
            else
                chain_put(w, text + 1, 1);
        }
        chain_put(w, "\"", 1);
    }
}

size_t inki_chain_text(const inki_chain *chain, char *out, size_t cap) {
    chain_writer w = {out, out != NULL ? cap : 0, 0};
    for (uint32_t i = 0; i < chain->n_steps; i++) {
        const inki_step step = chain->steps[i];
        const char *name = inki_chain_name(step);
        if (i > 0) chain_put(&w, ";", 1);
        chain_put(&w, name, strlen(name));
        if (step == INKI_STEP_LOGIT_BIAS) chain_put_bias(&w, chain);
        for (uint32_t k = 0; k < inki_chain_n_numbers(step); k++) {
            char text[32];
            chain_put(&w, k == 0 ? "=" : ",", 1);
            chain_put(&w, text, inki_chain_format(chain, step, k, text));
        }
        if (step == INKI_STEP_DRY) chain_put_breakers(&w, chain);
    }
    if (w.cap > 0) out[w.n < w.cap ? w.n : w.cap - 1] = 0;
    return w.n;
}
