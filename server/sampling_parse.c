// SPDX-License-Identifier: MIT
// How the next token is chosen: OpenAI's fields and those of llama.cpp's server, by their names.
// Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
#include "server/completion_parse.h"

#include <stdlib.h>
#include <string.h>

// Without the steps that it takes the place of, as llama.cpp has it; so has `inkling complete`.
static const char mirostat_chain[] = "logit_bias;no_repeat_ngram;penalties;dry;temp;mirostat";

#define AT(member) offsetof(ink_sampler_options, member)
static const struct {
    const char *name;
    double low, high;
    size_t at;
} reals[] = {
    {"temperature", 0, 2, AT(temperature)},
    {"top_p", 0, 1, AT(top_p)},
    {"min_p", 0, 1, AT(min_p)},
    {"presence_penalty", -2, 2, AT(presence_penalty)},
    {"frequency_penalty", -2, 2, AT(frequency_penalty)},
    {"repeat_penalty", 0.01, 100, AT(repeat_penalty)},
    {"typical_p", 0, 1, AT(typical_p)},
    {"top_n_sigma", -1, 100, AT(top_n_sigma)},
    {"dynatemp_range", 0, 2, AT(dynatemp_range)},
    {"dynatemp_exponent", 0, 100, AT(dynatemp_exponent)},
    {"xtc_probability", 0, 1, AT(xtc_probability)},
    {"xtc_threshold", 0, 1, AT(xtc_threshold)},
    {"dry_multiplier", 0, 100, AT(dry_multiplier)},
    {"dry_base", 0, 100, AT(dry_base)},
    {"mirostat_tau", 0, 100, AT(mirostat_tau)},
    {"mirostat_eta", 0, 1, AT(mirostat_eta)},
};
// low -1: that stands for all of the text.
static const struct {
    const char *name;
    int64_t low, high;
    size_t at;
} counts[] = {
    {"top_k", 0, INT32_MAX, AT(top_k)},
    {"repeat_last_n", -1, INT32_MAX, AT(penalty_last_n)},
    {"dry_allowed_length", 0, 1024, AT(dry_allowed_length)},
    {"dry_penalty_last_n", -1, INT32_MAX, AT(dry_last_n)},
    {"no_repeat_ngram_size", 0, 1024, AT(no_repeat_ngram)},
};
#undef AT

static void read_numbers(srv_in *in, ink_sampler_options *o) {
    char *const fields = (char *)o;
    bool penalties = false;
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        double number = 0;
        if (!srv_in_real(in, reals[i].name, reals[i].low, reals[i].high, &number)) continue;
        const float value = (float)number;
        memcpy(fields + reals[i].at, &value, sizeof value);
        penalties |= strstr(reals[i].name, "_penalty") != NULL;
    }
    // They mean all of the text with OpenAI, and a window with the engine.
    if (penalties) o->penalty_last_n = UINT32_MAX;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        int64_t number = 0;
        if (!srv_in_int(in, counts[i].name, counts[i].low, counts[i].high, &number)) continue;
        const uint32_t value = number < 0 ? UINT32_MAX : (uint32_t)number;
        memcpy(fields + counts[i].at, &value, sizeof value);
    }
}

// --- the logit bias ------------------------------------------------------------------------------

// A key of the map: an id in decimal, as there is one way to write it.
static bool read_id(const char *key, ink_token *id) {
    const size_t n = strlen(key);
    if (n == 0 || n > 10 || (n > 1 && key[0] == '0')) return false;
    int64_t number = 0;
    for (size_t i = 0; i < n; i++) {
        if (key[i] < '0' || key[i] > '9') return false;
        number = number * 10 + (key[i] - '0');
    }
    *id = (ink_token)number;
    return number <= INT32_MAX;
}

static void read_biases(srv_in *in, srv_completion *out) {
    const json_t *map = srv_in_any(in, "logit_bias");
    if (map == NULL || (json_is_object(map) && json_object_size(map) == 0)) return;
    const size_t n = json_object_size(map);
    if (n == 0 || n > SRV_MAX_BIASES) {
        srv_in_refuse(in, "logit_bias",
                      "'logit_bias' must be an object from token ids to numbers, of %d at most.",
                      SRV_MAX_BIASES);
        return;
    }
    out->biases = calloc(n, sizeof *out->biases);
    if (out->biases == NULL) {
        srv_in_no_memory(in);
        return;
    }
    size_t i = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, key, value) {
        const double bias = json_number_value(value);
        if (!read_id(key, &out->biases[i].token) || !json_is_number(value) ||
            !(bias >= -100 && bias <= 100)) {
            srv_in_refuse(in, "logit_bias",
                          "'logit_bias' must be an object from token ids to numbers from -100 to "
                          "100.");
            return;
        }
        out->biases[i++].bias = (float)bias;
    }
    out->sampler.logit_bias = out->biases;
    out->sampler.n_logit_bias = i;
}

// --- the chain -----------------------------------------------------------------------------------

// The text form, or a list or object as it stands in the body; the engine reads them alike.
static void read_chain(srv_in *in, srv_completion *out, const char *body, size_t bytes) {
    const json_t *samplers = srv_in_any(in, "samplers");
    if (samplers == NULL) return;
    size_t n = json_string_length(samplers);
    const char *text = json_string_value(samplers);
    if (json_is_array(samplers) || json_is_object(samplers)) {
        text = srv_in_raw(body, bytes, "samplers", &n);
    } else if (text == NULL) {
        srv_in_refuse(in, "samplers",
                      "'samplers' must be a string like \"dry;top_k;temp\", or an array of names "
                      "and objects.");
        return;
    }
    if (text == NULL || memchr(text, 0, n) != NULL) {
        srv_in_refuse(in, "samplers",
                      "'samplers' must hold no U+0000 and have a name without escapes.");
    } else if (n > SRV_MAX_CHAIN_BYTES) {
        srv_in_refuse(in, "samplers", "'samplers' has %zu bytes, %d are allowed.", n,
                      SRV_MAX_CHAIN_BYTES);
    } else if ((out->chain_text = malloc(n + 1)) == NULL) {
        srv_in_no_memory(in);
    } else {
        memcpy(out->chain_text, text, n); // a piece of the body has no 0 byte behind it
        out->chain_text[n] = 0;
        out->chain = out->chain_text;
    }
}

static void read_mirostat(srv_in *in, srv_completion *out) {
    uint64_t version = 0;
    srv_in_uint(in, "mirostat", 0, 2, &version);
    if (version == 1)
        srv_in_refuse(in, "mirostat", "'mirostat' 1 is not supported, only 2 (and 0: off).");
    if (version == 0) return;
    if (out->chain != NULL)
        srv_in_refuse(in, "mirostat",
                      "'mirostat' and 'samplers' exclude each other; end the samplers with "
                      "\"mirostat\".");
    out->chain = mirostat_chain;
}

void srv_sampling_read(srv_in *in, srv_completion *out, const char *body, size_t bytes) {
    int64_t seed = 0;
    read_numbers(in, &out->sampler);
    if (srv_in_int(in, "seed", INT64_MIN, INT64_MAX, &seed)) {
        out->sampler.seed_set = 1;
        out->sampler.seed = (uint64_t)seed;
    }
    read_biases(in, out);
    if (srv_in_strings(in, "dry_sequence_breakers", SRV_MAX_BREAKERS, &out->breakers,
                       &out->sampler.n_dry_breakers))
        out->sampler.dry_breakers = out->breakers;
    read_chain(in, out, body, bytes);
    read_mirostat(in, out);
}
