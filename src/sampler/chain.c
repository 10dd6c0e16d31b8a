// SPDX-License-Identifier: MIT
#include "sampler/chain.h"

#include "base/json.h"
#include "base/number.h"
#include "base/utf8.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char default_chain[] = "logit_bias;no_repeat_ngram;penalties;dry;top_n_sigma;top_k;"
                                    "typical;top_p;min_p;xtc;temp";

// What a number may be. The counts come first.
enum { ANY_COUNT, SHORT_COUNT, UNIT_RANGE, FINITE, POSITIVE, FROM_ZERO };
static const struct {
    double low, high;
    char expected[28];
} chain_ranges[] = {
    [ANY_COUNT] = {0, UINT32_MAX, "a count from 0 to 4294967295"},
    [SHORT_COUNT] = {0, INKI_CHAIN_ECHO_MAX, "a count from 0 to 1024"},
    [UNIT_RANGE] = {0, 1, "a number from 0 to 1"},
    [FINITE] = {-(double)FLT_MAX, (double)FLT_MAX, "a finite number"},
    [POSITIVE] = {(double)FLT_TRUE_MIN, (double)FLT_MAX, "a finite number above 0"},
    [FROM_ZERO] = {0, (double)FLT_MAX, "a finite number from 0 up"},
};

// A number of the options: where it lies and what it may be. One list serves the options, text,
// JSON and the printing. JSON knows it by the part of its name that does not repeat the step's, and
// by the whole.
typedef struct chain_number {
    char name[20];
    uint8_t skip, keep;
    uint8_t offset, range;
} chain_number;

#define NUMBER(before, member, after, range)                                                       \
    {                                                                                              \
#before #member #after, sizeof #before - 1, sizeof #member - 1,                            \
            offsetof(ink_sampler_options, before##member##after), range                            \
    }
static const chain_number chain_numbers[] = {
    NUMBER(, repeat, _penalty, POSITIVE),
    NUMBER(penalty_, last_n, , ANY_COUNT),
    NUMBER(, presence, _penalty, FINITE),
    NUMBER(, frequency, _penalty, FINITE),
    NUMBER(, top_k, , ANY_COUNT),
    NUMBER(, top_p, , UNIT_RANGE),
    NUMBER(, min_p, , UNIT_RANGE),
    NUMBER(, temperature, , FROM_ZERO),
    NUMBER(, dynatemp_range, , FROM_ZERO),
    NUMBER(, dynatemp_exponent, , FROM_ZERO),
    NUMBER(, typical_p, , UNIT_RANGE),
    NUMBER(, top_n_sigma, , FINITE),
    NUMBER(xtc_, probability, , UNIT_RANGE),
    NUMBER(xtc_, threshold, , UNIT_RANGE),
    NUMBER(dry_, multiplier, , FROM_ZERO),
    NUMBER(dry_, base, , FROM_ZERO),
    NUMBER(dry_, allowed_length, , SHORT_COUNT),
    NUMBER(dry_, last_n, , ANY_COUNT),
    NUMBER(, no_repeat_ngram, , SHORT_COUNT),
    NUMBER(mirostat_, tau, , FROM_ZERO),
    NUMBER(mirostat_, eta, , FROM_ZERO),
};
#undef NUMBER
enum { N_CHAIN_NUMBERS = sizeof chain_numbers / sizeof *chain_numbers };

// By step; behind them other names that are read.
static const struct {
    char name[16];
    uint8_t step, first, n; // its numbers in chain_numbers
} chain_steps[] = {
    [INKI_STEP_LOGIT_BIAS] = {"logit_bias", INKI_STEP_LOGIT_BIAS, 0, 0},
    [INKI_STEP_PENALTIES] = {"penalties", INKI_STEP_PENALTIES, 0, 4},
    [INKI_STEP_TOP_K] = {"top_k", INKI_STEP_TOP_K, 4, 1},
    [INKI_STEP_TOP_P] = {"top_p", INKI_STEP_TOP_P, 5, 1},
    [INKI_STEP_MIN_P] = {"min_p", INKI_STEP_MIN_P, 6, 1},
    [INKI_STEP_TEMP] = {"temp", INKI_STEP_TEMP, 7, 3},
    [INKI_STEP_GREEDY] = {"greedy", INKI_STEP_GREEDY, 0, 0},
    [INKI_STEP_TYPICAL] = {"typical", INKI_STEP_TYPICAL, 10, 1},
    [INKI_STEP_TOP_N_SIGMA] = {"top_n_sigma", INKI_STEP_TOP_N_SIGMA, 11, 1},
    [INKI_STEP_XTC] = {"xtc", INKI_STEP_XTC, 12, 2},
    [INKI_STEP_DRY] = {"dry", INKI_STEP_DRY, 14, 4},
    [INKI_STEP_NO_REPEAT_NGRAM] = {"no_repeat_ngram", INKI_STEP_NO_REPEAT_NGRAM, 18, 1},
    [INKI_STEP_MIROSTAT] = {"mirostat", INKI_STEP_MIROSTAT, 19, 2},
    {"temperature", INKI_STEP_TEMP, 0, 0},
    {"temp_ext", INKI_STEP_TEMP, 0, 0},
    {"typ_p", INKI_STEP_TYPICAL, 0, 0},
    {"mirostat_v2", INKI_STEP_MIROSTAT, 0, 0},
};
enum { N_CHAIN_NAMES = sizeof chain_steps / sizeof *chain_steps };

void inki_sampler_defaults(ink_sampler_options *options) {
    *options = (ink_sampler_options){
        .size = sizeof *options,
        .temperature = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .repeat_penalty = 1.0f,
        .penalty_last_n = 64,
        .typical_p = 1.0f,
        .top_n_sigma = -1.0f,
        .dynatemp_exponent = 1.0f,
        .xtc_threshold = 0.1f,
        .dry_base = 1.75f,
        .dry_allowed_length = 2,
        .dry_last_n = UINT32_MAX,
        .mirostat_tau = 5.0f,
        .mirostat_eta = 0.1f,
    };
}

static bool is_count(const chain_number *number) { return number->range <= SHORT_COUNT; }

// Counts and floats alike are four bytes; both fit into a double.
static double number_value(const ink_sampler_options *o, const chain_number *number) {
    const void *field = (const char *)o + number->offset;
    float value;
    uint32_t count;
    memcpy(&value, field, sizeof value);
    memcpy(&count, field, sizeof count);
    return is_count(number) ? (double)count : (double)value;
}

// False for a NaN too.
static bool number_allows(const chain_number *number, double value) {
    return value >= chain_ranges[number->range].low && value <= chain_ranges[number->range].high;
}

static size_t number_format(const ink_sampler_options *o, const chain_number *number,
                            char out[32]) {
    const double value = number_value(o, number);
    return is_count(number) ? (size_t)snprintf(out, 32, "%u", (unsigned)value)
                            : inki_format_float((float)value, out, 32);
}

ink_status inki_chain_fail(const inki_chain_reader *r, ink_status status, size_t at,
                           const char *format, ...) {
    char text[224];
    uint32_t line, column;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    inki_json_place(r->source, at, &line, &column);
    return line == 1 ? inki_fail(r->error, status, "chain", at, "column %u: %s", column, text)
                     : inki_fail(r->error, status, "chain", at, "line %u, column %u: %s", line,
                                 column, text);
}

// For "%.*s": long words are cut in messages.
static int shown(inki_chain_word w) { return w.n < 40 ? (int)w.n : 40; }

ink_status inki_chain_fail_word(const inki_chain_reader *r, inki_chain_word word, const char *name,
                                const char *expected) {
    return inki_chain_fail(r, INK_E_ARG, word.at, "%s is \"%.*s\", must be %s", name, shown(word),
                           word.s, expected);
}

static ink_status add_breaker(inki_chain *chain, inki_str text, ink_error *error) {
    if (text.bytes == 0) return inki_fail(error, INK_E_ARG, "dry_breakers", 0, "one is empty");
    if (text.bytes > INKI_CHAIN_BREAKER_MAX ||
        text.bytes >= INKI_CHAIN_BREAKERS_BYTES - chain->breakers_bytes)
        return inki_fail(error, INK_E_LIMIT, "dry_breakers", 0,
                         "over %d bytes in one or %d in all (one more for each)",
                         INKI_CHAIN_BREAKER_MAX, INKI_CHAIN_BREAKERS_BYTES);
    if (inki_utf8_count_invalid((const uint8_t *)text.data, text.bytes) > 0)
        return inki_fail(error, INK_E_UTF8, "dry_breakers", 0, "one is not UTF-8");
    uint8_t *at = chain->breakers + chain->breakers_bytes;
    *at = (uint8_t)text.bytes;
    memcpy(at + 1, text.data, text.bytes);
    chain->breakers_bytes += 1 + (uint32_t)text.bytes;
    return INK_OK;
}

static ink_status add_option_breakers(inki_chain *chain, ink_error *error) {
    static const char *const usual[] = {"\n", ":", "\"", "*"};
    const char *const *list = chain->o.dry_breakers;
    size_t n = chain->o.n_dry_breakers;
    if (list == NULL && n > 0)
        return inki_fail(error, INK_E_ARG, "dry_breakers", 0, "is NULL, n_dry_breakers is %zu", n);
    if (list == NULL) {
        list = usual;
        n = sizeof usual / sizeof *usual;
    }
    ink_status status = INK_OK;
    for (size_t i = 0; i < n && status == INK_OK; i++) {
        if (list[i] == NULL)
            return inki_fail(error, INK_E_ARG, "dry_breakers", 0, "breaker %zu is NULL", i);
        const inki_str text = {list[i], strnlen(list[i], INKI_CHAIN_BREAKER_MAX + 1)};
        status = add_breaker(chain, text, error);
    }
    return status;
}

void inki_chain_no_breakers(inki_chain_reader *r) {
    r->own_breakers = true;
    r->chain->breakers_bytes = 0;
}

ink_status inki_chain_add_breaker(inki_chain_reader *r, inki_chain_word word, inki_str text) {
    ink_error error = {0};
    if (!r->own_breakers) inki_chain_no_breakers(r);
    const ink_status status = add_breaker(r->chain, text, &error);
    return status == INK_OK ? status : inki_chain_fail(r, status, word.at, "%s", error.message);
}

static ink_status check_chain_options(const ink_sampler_options *o, ink_error *error) {
    for (int i = 0; i < N_CHAIN_NUMBERS; i++) {
        const chain_number *number = &chain_numbers[i];
        if (number_allows(number, number_value(o, number))) continue;
        char text[32];
        number_format(o, number, text);
        return inki_fail(error, INK_E_ARG, number->name, 0, "is %s, must be %s", text,
                         chain_ranges[number->range].expected);
    }
    if (o->reserved != 0) return inki_fail(error, INK_E_UNSUPPORTED, "reserved", 0, "is set");
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

ink_status inki_chain_set_bias(inki_chain *chain, const ink_logit_bias *bias, size_t n,
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

ink_status inki_chain_option_bias(const inki_chain_reader *r) {
    const ink_sampler_options *o = &r->chain->o;
    return inki_chain_set_bias(r->chain, o->logit_bias, o->n_logit_bias, r->error);
}

static bool parse_count(inki_chain_word w, uint32_t *out) {
    uint64_t value = 0;
    for (size_t i = 0; i < w.n; i++) {
        if (w.s[i] < '0' || w.s[i] > '9') return false;
        value = value * 10 + (uint64_t)(w.s[i] - '0');
        if (value > UINT32_MAX) return false;
    }
    if (w.n == 0) return false;
    *out = (uint32_t)value;
    return true;
}

static bool parse_value(inki_chain_word w, float *out) {
    double d;
    if (!inki_parse_double(w.s, w.n, &d)) return false;
    // A cast of what a float cannot hold is undefined.
    if (d > FLT_MAX)
        *out = INFINITY;
    else if (d < -FLT_MAX)
        *out = -INFINITY;
    else
        *out = (float)d;
    return true;
}

ink_status inki_chain_pair(const inki_chain_reader *r, inki_chain_word token, inki_chain_word value,
                           inki_chain_word both, ink_logit_bias *out) {
    uint32_t id;
    if (!parse_count(token, &id) || !parse_value(value, &out->bias))
        return inki_chain_fail_word(r, both, "logit_bias", "a list of token:bias pairs, or none");
    // An id over the range of int32 is none of the vocabulary either.
    out->token = id <= INT32_MAX ? (int32_t)id : -1;
    return INK_OK;
}

const char *inki_chain_name(inki_step step) { return chain_steps[step].name; }
uint32_t inki_chain_n_numbers(inki_step step) { return chain_steps[step].n; }

ink_status inki_chain_find(const inki_chain_reader *r, inki_step step, inki_chain_word name,
                           uint32_t *out) {
    char known[128] = "";
    size_t n = 0;
    const inki_str key = {name.s, name.n};
    for (uint32_t i = 0; i < chain_steps[step].n; i++) {
        const chain_number *number = &chain_numbers[chain_steps[step].first + i];
        if (inki_str_equal(key, number->name) ||
            (key.bytes == number->keep &&
             memcmp(key.data, number->name + number->skip, key.bytes) == 0)) {
            *out = i;
            return INK_OK;
        }
        n += (size_t)snprintf(known + n, sizeof known - n, "%s%.*s", i > 0 ? ", " : "",
                              number->keep, number->name + number->skip);
    }
    return inki_chain_fail(r, INK_E_ARG, name.at, "%s has no \"%.*s\"; there are: %s",
                           chain_steps[step].name, shown(name), name.s, known);
}

size_t inki_chain_format(const inki_chain *chain, inki_step step, uint32_t i, char out[32]) {
    return number_format(&chain->o, &chain_numbers[chain_steps[step].first + i], out);
}

ink_status inki_chain_set(const inki_chain_reader *r, inki_step step, uint32_t i,
                          inki_chain_word word) {
    const uint32_t n = chain_steps[step].n;
    if (i >= n)
        return inki_chain_fail(r, INK_E_ARG, word.at, "%s takes %u number%s at most",
                               chain_steps[step].name, n, n == 1 ? "" : "s");
    const chain_number *number = &chain_numbers[chain_steps[step].first + i];
    char *field = (char *)&r->chain->o + number->offset;
    uint32_t count = 0;
    float value = 0;
    const bool read = is_count(number) ? parse_count(word, &count) : parse_value(word, &value);
    if (!read || !number_allows(number, is_count(number) ? (double)count : (double)value))
        return inki_chain_fail_word(r, word, number->name, chain_ranges[number->range].expected);
    memcpy(field, is_count(number) ? (const void *)&count : &value, sizeof count);
    return INK_OK;
}

ink_status inki_chain_add(inki_chain_reader *r, inki_chain_word name, inki_step *out) {
    inki_chain *chain = r->chain;
    if (name.n == 0) return inki_chain_fail(r, INK_E_ARG, name.at, "a name is missing");
    int row = 0;
    while (row < N_CHAIN_NAMES &&
           !inki_str_equal((inki_str){name.s, name.n}, chain_steps[row].name))
        row++;
    if (row == N_CHAIN_NAMES) {
        char known[128];
        size_t n = 0;
        for (int i = 0; i < INKI_N_STEPS; i++)
            n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i > 0 ? ", " : "",
                                  chain_steps[i].name);
        return inki_chain_fail(r, INK_E_ARG, name.at, "unknown name \"%.*s\"; there are %s",
                               shown(name), name.s, known);
    }
    const inki_step step = (inki_step)chain_steps[row].step;
    for (uint32_t i = 0; i < chain->n_steps; i++) {
        if (chain->steps[i] == step)
            return inki_chain_fail(r, INK_E_ARG, name.at, "\"%s\" is there already",
                                   chain_steps[step].name);
        if (chain->steps[i] == INKI_STEP_MIROSTAT)
            return inki_chain_fail(r, INK_E_ARG, name.at, "nothing may follow \"mirostat\"");
    }
    chain->steps[chain->n_steps++] = *out = step;
    return INK_OK;
}

// Not strnlen: a compiler that sees the default text takes the bound for a mistake.
static size_t bounded_length(const char *text) {
    size_t n = 0;
    while (n <= INKI_CHAIN_TEXT_MAX && text[n] != 0) n++;
    return n;
}

static ink_status read_chain(inki_chain *chain, const char *text, ink_error *error) {
    inki_chain_reader r = {chain, text, bounded_length(text), error, false};
    if (r.bytes > INKI_CHAIN_TEXT_MAX)
        return inki_fail(error, INK_E_LIMIT, "chain", 0, "longer than %d bytes",
                         INKI_CHAIN_TEXT_MAX);
    const size_t blank = strspn(text, " \t\r\n");
    return text[blank] == '[' || text[blank] == '{' ? inki_chain_read_json(&r)
                                                    : inki_chain_read_text(&r);
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
    status = add_option_breakers(chain, error);
    if (status == INK_OK) status = read_chain(chain, text != NULL ? text : default_chain, error);
    if (status != INK_OK) {
        inki_chain_free(chain);
        return status;
    }
    chain->o.logit_bias = NULL; // the caller's memory, copied where it is used
    chain->o.n_logit_bias = 0;
    chain->o.dry_breakers = NULL;
    chain->o.n_dry_breakers = 0;
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

bool inki_chain_has_mu(const inki_chain *chain, double *begin) {
    if (chain->n_steps == 0 || chain->steps[chain->n_steps - 1] != INKI_STEP_MIROSTAT) return false;
    *begin = 2.0 * (double)chain->o.mirostat_tau;
    return true;
}
