// SPDX-License-Identifier: MIT
#include "sampler/chain.h"

#include "base/number.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char default_chain[] = "logit_bias;penalties;top_k;top_p;min_p;temp";

// A number of the options: where it lies and what it may be. One list serves the options, the text
// and the printing.
typedef struct chain_number {
    const char *name;
    size_t offset;
    bool count; // uint32_t; else float
    float low, high;
    const char *expected;
} chain_number;

#define FIELD(f) #f, offsetof(ink_sampler_options, f)
static const chain_number chain_numbers[] = {
    {FIELD(repeat_penalty), false, FLT_TRUE_MIN, FLT_MAX, "a finite number above 0"},
    {FIELD(penalty_last_n), true, 0, 0, "a count from 0 to 4294967295"},
    {FIELD(presence_penalty), false, -FLT_MAX, FLT_MAX, "a finite number"},
    {FIELD(frequency_penalty), false, -FLT_MAX, FLT_MAX, "a finite number"},
    {FIELD(top_k), true, 0, 0, "a count from 0 to 4294967295"},
    {FIELD(top_p), false, 0, 1, "a number from 0 to 1"},
    {FIELD(min_p), false, 0, 1, "a number from 0 to 1"},
    {FIELD(temperature), false, 0, FLT_MAX, "a finite number from 0 up"},
};
#undef FIELD
enum { N_CHAIN_NUMBERS = sizeof chain_numbers / sizeof *chain_numbers };

static const struct {
    const char *name;
    uint32_t first, n; // its numbers in chain_numbers
} chain_steps[INKI_N_STEPS] = {
    [INKI_STEP_LOGIT_BIAS] = {"logit_bias", 0, 0}, [INKI_STEP_PENALTIES] = {"penalties", 0, 4},
    [INKI_STEP_TOP_K] = {"top_k", 4, 1},           [INKI_STEP_TOP_P] = {"top_p", 5, 1},
    [INKI_STEP_MIN_P] = {"min_p", 6, 1},           [INKI_STEP_TEMP] = {"temp", 7, 1},
    [INKI_STEP_GREEDY] = {"greedy", 0, 0},
};

void inki_sampler_defaults(ink_sampler_options *options) {
    *options = (ink_sampler_options){
        .size = sizeof *options,
        .temperature = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .repeat_penalty = 1.0f,
        .penalty_last_n = 64,
    };
}

static float number_value(const ink_sampler_options *o, const chain_number *number) {
    float value;
    memcpy(&value, (const char *)o + number->offset, sizeof value);
    return value;
}

static uint32_t number_count(const ink_sampler_options *o, const chain_number *number) {
    uint32_t value;
    memcpy(&value, (const char *)o + number->offset, sizeof value);
    return value;
}

// False for a NaN too.
static bool number_allows(const chain_number *number, float value) {
    return value >= number->low && value <= number->high;
}

static ink_status check_chain_options(const ink_sampler_options *o, ink_error *error) {
    for (int i = 0; i < N_CHAIN_NUMBERS; i++) {
        const chain_number *number = &chain_numbers[i];
        if (number->count) continue;
        const float value = number_value(o, number);
        if (number_allows(number, value)) continue;
        char text[32];
        inki_format_float(value, text, sizeof text);
        return inki_fail(error, INK_E_ARG, number->name, 0, "is %s, must be %s", text,
                         number->expected);
    }
    if (o->n_logit_bias > 0 && o->logit_bias == NULL)
        return inki_fail(error, INK_E_ARG, "logit_bias", 0, "is NULL, n_logit_bias is %zu",
                         o->n_logit_bias);
    if (o->n_logit_bias > INKI_CHAIN_BIAS_MAX)
        return inki_fail(error, INK_E_LIMIT, "logit_bias", 0, "%zu entries, at most %d are allowed",
                         o->n_logit_bias, INKI_CHAIN_BIAS_MAX);
    return INK_OK;
}

// Ids in the vocabulary and distinct, values that can be added.
static ink_status check_bias(const ink_logit_bias *bias, size_t n, uint32_t n_vocab,
                             const inki_mem *mem, ink_error *error) {
    if (n == 0) return INK_OK;
    const size_t n_words = (size_t)n_vocab / 32 + 1;
    uint32_t *seen = inki_alloc_zero(mem, n_words, sizeof *seen);
    if (seen == NULL) return inki_fail_nomem(error, n_words * sizeof *seen);
    ink_status status = INK_OK;
    for (size_t i = 0; i < n && status == INK_OK; i++) {
        const int32_t id = bias[i].token;
        if (id < 0 || (uint32_t)id >= n_vocab) {
            status = inki_fail(error, INK_E_TOKEN, "logit_bias", 0,
                               "entry %zu: token %d, the vocabulary has %u", i + 1, id, n_vocab);
        } else if (!(bias[i].bias <= FLT_MAX)) {
            status = inki_fail(error, INK_E_ARG, "logit_bias", 0,
                               "entry %zu: the bias of token %d must be a finite number or -inf",
                               i + 1, id);
        } else if (seen[id / 32] >> id % 32 & 1) {
            status = inki_fail(error, INK_E_ARG, "logit_bias", 0,
                               "entry %zu: token %d has a bias already", i + 1, id);
        } else {
            seen[id / 32] |= (uint32_t)1 << id % 32;
        }
    }
    inki_release(mem, seen, n_words, sizeof *seen);
    return status;
}

static ink_status set_bias(inki_chain *chain, const ink_logit_bias *bias, size_t n,
                           ink_error *error) {
    if (n == 0) return INK_OK;
    const ink_status status = check_bias(bias, n, chain->n_vocab, &chain->mem, error);
    if (status != INK_OK) return status;
    chain->bias = inki_alloc(&chain->mem, n, sizeof *bias);
    if (chain->bias == NULL) return inki_fail_nomem(error, n * sizeof *bias);
    memcpy(chain->bias, bias, n * sizeof *bias);
    chain->n_bias = n;
    return INK_OK;
}

// A piece of the chain's text, without the blanks around it.
typedef struct chain_word {
    const char *s;
    size_t n;
    size_t at; // of s in the text
} chain_word;

static chain_word trim(chain_word w) {
    while (w.n > 0 && (w.s[0] == ' ' || w.s[0] == '\t')) {
        w.s++;
        w.n--;
        w.at++;
    }
    while (w.n > 0 && (w.s[w.n - 1] == ' ' || w.s[w.n - 1] == '\t')) w.n--;
    return w;
}

// Takes the word before the next `separator` off the front of *rest. False: *rest was its last
// word, and is empty from now on.
static bool split(chain_word *rest, char separator, chain_word *out) {
    size_t i = 0;
    while (i < rest->n && rest->s[i] != separator) i++;
    *out = trim((chain_word){rest->s, i, rest->at});
    const bool found = i < rest->n;
    const size_t skip = i + found;
    rest->s += skip;
    rest->at += skip;
    rest->n -= skip;
    return found;
}

// For "%.*s": long words are cut in messages.
static int shown(const chain_word *w) { return w->n < 40 ? (int)w->n : 40; }

static ink_status fail_at(ink_error *error, const chain_word *w, const char *name,
                          const char *expected) {
    return inki_fail(error, INK_E_ARG, "chain", w->at, "column %zu: %s is \"%.*s\", must be %s",
                     w->at + 1, name, shown(w), w->s, expected);
}

static bool parse_count(const chain_word *w, uint32_t *out) {
    uint64_t value = 0;
    for (size_t i = 0; i < w->n; i++) {
        if (w->s[i] < '0' || w->s[i] > '9') return false;
        value = value * 10 + (uint64_t)(w->s[i] - '0');
        if (value > UINT32_MAX) return false;
    }
    if (w->n == 0) return false;
    *out = (uint32_t)value;
    return true;
}

static bool parse_value(const chain_word *w, float *out) {
    double d;
    if (!inki_parse_double(w->s, w->n, &d)) return false;
    // A cast of what a float cannot hold is undefined.
    if (d > FLT_MAX)
        *out = INFINITY;
    else if (d < -FLT_MAX)
        *out = -INFINITY;
    else
        *out = (float)d;
    return true;
}

// "token:bias,token:bias" or "none"
static ink_status read_bias(inki_chain *chain, chain_word list, ink_error *error) {
    static const char expected[] = "a list of token:bias pairs, or none";
    if (list.n == 4 && memcmp(list.s, "none", 4) == 0) return INK_OK;
    size_t n = 1;
    for (size_t i = 0; i < list.n; i++) n += list.s[i] == ',';
    if (n > INKI_CHAIN_BIAS_MAX)
        return inki_fail(error, INK_E_LIMIT, "chain", list.at,
                         "column %zu: logit_bias has %zu entries, at most %d are allowed",
                         list.at + 1, n, INKI_CHAIN_BIAS_MAX);
    ink_logit_bias *bias = inki_alloc(&chain->mem, n, sizeof *bias);
    if (bias == NULL) return inki_fail_nomem(error, n * sizeof *bias);
    ink_status status = INK_OK;
    for (size_t i = 0; i < n && status == INK_OK; i++) {
        chain_word pair, token;
        uint32_t id = 0;
        split(&list, ',', &pair);
        chain_word value = pair;
        const bool colon = split(&value, ':', &token);
        value = trim(value);
        if (!colon || !parse_count(&token, &id) || !parse_value(&value, &bias[i].bias))
            status = fail_at(error, &pair, "logit_bias", expected);
        else // an id over the range of int32 is none of the vocabulary either
            bias[i].token = id <= INT32_MAX ? (int32_t)id : -1;
    }
    if (status == INK_OK) status = set_bias(chain, bias, n, error);
    inki_release(&chain->mem, bias, n, sizeof *bias);
    return status;
}

// The numbers behind "name=". What is left out at the end stays as the options have it.
static ink_status read_numbers(inki_chain *chain, inki_step step, chain_word list,
                               ink_error *error) {
    const uint32_t n = chain_steps[step].n;
    bool more = true;
    for (uint32_t i = 0; more; i++) {
        chain_word w;
        more = split(&list, ',', &w);
        if (i == n)
            return inki_fail(error, INK_E_ARG, "chain", w.at,
                             "column %zu: %s takes %u number%s at most", w.at + 1,
                             chain_steps[step].name, n, n == 1 ? "" : "s");
        const chain_number *number = &chain_numbers[chain_steps[step].first + i];
        char *field = (char *)&chain->o + number->offset;
        uint32_t count;
        float value;
        if (number->count && parse_count(&w, &count))
            memcpy(field, &count, sizeof count);
        else if (!number->count && parse_value(&w, &value) && number_allows(number, value))
            memcpy(field, &value, sizeof value);
        else
            return fail_at(error, &w, number->name, number->expected);
    }
    return INK_OK;
}

static ink_status read_step(inki_chain *chain, chain_word word, ink_error *error) {
    chain_word name, rest = word;
    const bool numbers = split(&rest, '=', &name);
    inki_step step = INKI_STEP_LOGIT_BIAS;
    while (step < INKI_N_STEPS && (strlen(chain_steps[step].name) != name.n ||
                                   memcmp(chain_steps[step].name, name.s, name.n) != 0))
        step++;
    if (name.n == 0)
        return inki_fail(error, INK_E_ARG, "chain", name.at, "column %zu: a name is missing",
                         name.at + 1);
    if (step == INKI_N_STEPS)
        return inki_fail(
            error, INK_E_ARG, "chain", name.at,
            "column %zu: unknown name \"%.*s\"; there are logit_bias, penalties, top_k, top_p, "
            "min_p, temp, greedy",
            name.at + 1, shown(&name), name.s);
    for (uint32_t i = 0; i < chain->n_steps; i++)
        if (chain->steps[i] == step)
            return inki_fail(error, INK_E_ARG, "chain", name.at,
                             "column %zu: \"%s\" is there already", name.at + 1,
                             chain_steps[step].name);
    chain->steps[chain->n_steps++] = step;
    rest = trim(rest);
    if (step == INKI_STEP_LOGIT_BIAS)
        return numbers ? read_bias(chain, rest, error)
                       : set_bias(chain, chain->o.logit_bias, chain->o.n_logit_bias, error);
    if (numbers && chain_steps[step].n == 0)
        return inki_fail(error, INK_E_ARG, "chain", rest.at, "column %zu: %s takes no numbers",
                         rest.at + 1, chain_steps[step].name);
    return numbers ? read_numbers(chain, step, rest, error) : INK_OK;
}

static ink_status read_chain(inki_chain *chain, const char *text, ink_error *error) {
    chain_word rest = {text, strnlen(text, INKI_CHAIN_TEXT_MAX + 1), 0};
    if (rest.n > INKI_CHAIN_TEXT_MAX)
        return inki_fail(error, INK_E_LIMIT, "chain", 0, "longer than %d bytes",
                         INKI_CHAIN_TEXT_MAX);
    bool more = true;
    while (more) {
        chain_word word;
        more = split(&rest, ';', &word);
        const ink_status status = read_step(chain, word, error);
        if (status != INK_OK) return status;
    }
    return INK_OK;
}

ink_status inki_chain_new(inki_chain **out, const char *text, const ink_sampler_options *options,
                          uint32_t n_vocab, const inki_mem *mem, ink_error *error) {
    ink_sampler_options o;
    inki_sampler_defaults(&o);
    if (options != NULL) o = *options;
    ink_status status = check_chain_options(&o, error);
    if (status == INK_OK) status = check_bias(o.logit_bias, o.n_logit_bias, n_vocab, mem, error);
    if (status != INK_OK) return status;
    inki_chain *chain = inki_alloc_zero(mem, 1, sizeof *chain);
    if (chain == NULL) return inki_fail_nomem(error, sizeof *chain);
    chain->mem = *mem;
    chain->n_vocab = n_vocab;
    chain->o = o;
    status = read_chain(chain, text != NULL ? text : default_chain, error);
    if (status != INK_OK) {
        inki_chain_free(chain);
        return status;
    }
    chain->o.logit_bias = NULL; // the caller's memory; the copy is in chain->bias
    chain->o.n_logit_bias = 0;
    if (chain->o.min_p > 0) chain->min_p_cut = inki_sampler_log((double)chain->o.min_p);
    *out = chain;
    return INK_OK;
}

void inki_chain_free(inki_chain *chain) {
    if (chain == NULL) return;
    const inki_mem mem = chain->mem;
    inki_release(&mem, chain->bias, chain->n_bias, sizeof *chain->bias);
    inki_release(&mem, chain, 1, sizeof *chain);
}

uint64_t inki_chain_seed(const inki_chain *chain) { return chain->o.seed; }
uint32_t inki_chain_n_vocab(const inki_chain *chain) { return chain->n_vocab; }

typedef struct chain_writer {
    char *out;
    size_t cap, n; // n counts what does not fit too
} chain_writer;

static void chain_put(chain_writer *w, const char *s) {
    for (; *s != 0; s++, w->n++)
        if (w->n + 1 < w->cap) w->out[w->n] = *s;
}

static void chain_put_count(chain_writer *w, uint32_t value) {
    char text[16];
    snprintf(text, sizeof text, "%u", value);
    chain_put(w, text);
}

static void chain_put_value(chain_writer *w, float value) {
    char text[32];
    inki_format_float(value, text, sizeof text);
    chain_put(w, text);
}

static void chain_put_bias(chain_writer *w, const inki_chain *chain) {
    chain_put(w, chain->n_bias == 0 ? "=none" : "=");
    for (size_t i = 0; i < chain->n_bias; i++) {
        if (i > 0) chain_put(w, ",");
        chain_put_count(w, (uint32_t)chain->bias[i].token);
        chain_put(w, ":");
        chain_put_value(w, chain->bias[i].bias);
    }
}

size_t inki_chain_text(const inki_chain *chain, char *out, size_t cap) {
    chain_writer w = {out, out != NULL ? cap : 0, 0};
    for (uint32_t i = 0; i < chain->n_steps; i++) {
        const inki_step step = chain->steps[i];
        if (i > 0) chain_put(&w, ";");
        chain_put(&w, chain_steps[step].name);
        if (step == INKI_STEP_LOGIT_BIAS) chain_put_bias(&w, chain);
        for (uint32_t k = 0; k < chain_steps[step].n; k++) {
            const chain_number *number = &chain_numbers[chain_steps[step].first + k];
            chain_put(&w, k == 0 ? "=" : ",");
            if (number->count)
                chain_put_count(&w, number_count(&chain->o, number));
            else
                chain_put_value(&w, number_value(&chain->o, number));
        }
    }
    if (w.cap > 0) out[w.n < w.cap ? w.n : w.cap - 1] = 0;
    return w.n;
}
