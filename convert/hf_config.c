// SPDX-License-Identifier: MIT
#include "convert/hf_config.h"

#include "base/utf8.h"
#include "convert/in_file.h"
#include "convert/json_file.h"
#include "kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char config_file[] = "config.json";

// The engine's limits: a file beyond them could be written but not opened.
enum {
    CONFIG_MAX_BYTES = 16 << 20,
    CARD_MAX_BYTES = 16 << 20,
    MOST_EMBD = 1 << 16,
    MOST_FF = 1 << 18,
    MOST_CTX = 1 << 20,
    MOST_LAYERS = 1 << 12,
    MOST_VOCAB = 1 << 22
};

static ink_status config_size(const json_t *root, const char *key, json_int_t most, uint32_t *out,
                              ink_error *error) {
    json_int_t value = 0;
    const ink_status status =
        inki_json_get_int(root, config_file, key, true, 1, most, &value, error);
    if (status == INK_OK) *out = (uint32_t)value;
    return status;
}

static ink_status read_sizes(inki_hf_config *c, const json_t *root, ink_error *error) {
    ink_status status = config_size(root, "n_embd", MOST_EMBD, &c->n_embd, error);
    if (status == INK_OK) status = config_size(root, "n_layer", MOST_LAYERS, &c->n_layer, error);
    if (status == INK_OK) status = config_size(root, "n_head", MOST_EMBD, &c->n_head, error);
    if (status == INK_OK) status = config_size(root, "vocab_size", MOST_VOCAB, &c->n_vocab, error);
    // n_ctx is the older of the two names; where both are there, n_positions is what the weights
    // have.
    const bool positions =
        json_object_get(root, "n_positions") != NULL || json_object_get(root, "n_ctx") == NULL;
    if (status == INK_OK)
        status = config_size(root, positions ? "n_positions" : "n_ctx", MOST_CTX, &c->n_ctx, error);
    json_int_t inner = 4 * (json_int_t)c->n_embd;
    if (status == INK_OK)
        status = inki_json_get_int(root, config_file, "n_inner", false, 1, MOST_FF, &inner, error);
    if (status != INK_OK) return status;
    c->n_ff = (uint32_t)inner;
    if (c->n_embd % c->n_head != 0)
        return inki_fail(error, INK_E_FORMAT, config_file, 0,
                         "n_embd %u was expected to be a multiple of n_head %u",
                         (unsigned)c->n_embd, (unsigned)c->n_head);
    if (c->n_embd / c->n_head > INKI_MAX_HEAD_DIM)
        return inki_fail(error, INK_E_UNSUPPORTED, config_file, 0,
                         "n_embd / n_head is %u, at most %d is supported",
                         (unsigned)(c->n_embd / c->n_head), INKI_MAX_HEAD_DIM);
    return INK_OK;
}

static bool names_gpt2(const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name != NULL &&
            (strcmp(name, "GPT2LMHeadModel") == 0 || strcmp(name, "GPT2Model") == 0))
            return true;
    }
    return false;
}

static ink_status check_architecture(const json_t *root, ink_error *error) {
    const char *type = NULL;
    const ink_status status = inki_json_get_text(root, config_file, "model_type", &type, error);
    if (status != INK_OK) return status;
    const json_t *list = json_object_get(root, "architectures");
    if (type != NULL && strcmp(type, "gpt2") != 0)
        return inki_fail(error, INK_E_UNSUPPORTED, config_file, 0,
                         "model_type is \"%.60s\", \"gpt2\" was expected", type);
    if (type == NULL && !names_gpt2(list))
        return inki_fail(error, INK_E_UNSUPPORTED, config_file, 0,
                         "model_type \"gpt2\" or architectures [\"GPT2LMHeadModel\"] was expected");
    return INK_OK;
}

static ink_status check_activation(const json_t *root, ink_error *error) {
    const char *name = "gelu_new";
    const ink_status status =
        inki_json_get_text(root, config_file, "activation_function", &name, error);
    if (status != INK_OK) return status;
    // gelu_fast is the same formula, multiplied out otherwise.
    static const char *const tanh_form[] = {"gelu_new", "gelu_pytorch_tanh", "gelu_fast"};
    for (size_t i = 0; i < sizeof tanh_form / sizeof tanh_form[0]; i++)
        if (strcmp(name, tanh_form[i]) == 0) return INK_OK;
    return inki_fail(
        error, INK_E_UNSUPPORTED, config_file, 0,
        "activation_function is \"%.40s\"%s, \"gelu_new\" or \"gelu_pytorch_tanh\" was expected",
        name, strcmp(name, "gelu") == 0 ? " (the erf form)" : "");
}

// Switches of the configuration that change the numbers; each must have the value that GPT-2 has.
static ink_status check_switches(const json_t *root, ink_error *error) {
    static const struct {
        const char *key;
        bool expected;
    } switches[] = {{"scale_attn_weights", true},
                    {"scale_attn_by_inverse_layer_idx", false},
                    {"add_cross_attention", false},
                    {"is_encoder_decoder", false}};
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) {
        bool value = switches[i].expected;
        const ink_status status =
            inki_json_get_bool(root, config_file, switches[i].key, &value, error);
        if (status != INK_OK) return status;
        if (value != switches[i].expected)
            return inki_fail(error, INK_E_UNSUPPORTED, config_file, 0, "%s is %s, %s was expected",
                             switches[i].key, value ? "true" : "false", value ? "false" : "true");
    }
    return INK_OK;
}

static ink_status read_epsilon(inki_hf_config *c, const json_t *root, ink_error *error) {
    static const char key[] = "layer_norm_epsilon";
    const json_t *value = json_object_get(root, key);
    double epsilon = 1e-5; // what the configuration class has when the file says nothing
    if (value != NULL && !json_is_null(value)) {
        if (!json_is_number(value))
            return inki_fail(error, INK_E_FORMAT, config_file, 0, "%s is %s, a number was expected",
                             key, inki_json_kind(value));
        epsilon = json_number_value(value);
    }
    // Tested as a float, since that is what is written: 1e-60 would become 0.
    const bool fits = epsilon > 0 && epsilon <= 1;
    c->norm_eps = fits ? (float)epsilon : 0;
    if (c->norm_eps > 0) return INK_OK;
    return inki_fail(error, INK_E_FORMAT, config_file, 0,
                     "%s was expected to be above 0 and at most 1", key);
}

static ink_status read_ids(inki_hf_config *c, const json_t *root, ink_error *error) {
    json_int_t bos = -1, eos = -1;
    const json_int_t last = (json_int_t)c->n_vocab - 1;
    ink_status status =
        inki_json_get_int(root, config_file, "bos_token_id", false, 0, last, &bos, error);
    if (status == INK_OK)
        status = inki_json_get_int(root, config_file, "eos_token_id", false, 0, last, &eos, error);
    if (status != INK_OK) return status;
    c->bos = (int32_t)bos;
    c->eos = (int32_t)eos;
    return INK_OK;
}

ink_status inki_hf_config_load(inki_hf_config *out, const char *dir, const inki_mem *mem,
                               ink_error *error) {
    json_t *root = NULL;
    ink_status status = inki_json_load(&root, dir, config_file, CONFIG_MAX_BYTES, mem, error);
    if (status != INK_OK) return status;
    inki_hf_config made = {.tied = true};
    const json_t *tie = json_object_get(root, "tie_word_embeddings");
    made.tied_said = tie != NULL && !json_is_null(tie);
    status = check_architecture(root, error);
    if (status == INK_OK) status = read_sizes(&made, root, error);
    if (status == INK_OK) status = check_activation(root, error);
    if (status == INK_OK) status = check_switches(root, error);
    if (status == INK_OK) status = read_epsilon(&made, root, error);
    if (status == INK_OK) status = read_ids(&made, root, error);
    if (status == INK_OK)
        status = inki_json_get_bool(root, config_file, "tie_word_embeddings", &made.tied, error);
    json_decref(root);
    if (status == INK_OK) *out = made;
    return status;
}

// A licence identifier of the Hub or of SPDX, bare or in quotes; anything else is left out.
static void take_license(char *out, size_t cap, const char *s, size_t n) {
    while (n > 0 && (s[0] == ' ' || s[0] == '\t')) s++, n--;
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\r')) n--;
    if (n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n - 1] == s[0]) s++, n -= 2;
    if (n == 0 || n >= cap) return;
    for (size_t i = 0; i < n; i++) {
        const bool letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z');
        if (!letter && !(s[i] >= '0' && s[i] <= '9') && memchr("-.+_", s[i], 4) == NULL) return;
    }
    memcpy(out, s, n);
    out[n] = 0;
}

ink_status inki_hf_license(char *out, size_t cap, const char *dir, const inki_mem *mem,
                           ink_error *error) {
    char *text = NULL;
    size_t n = 0, at = 0;
    ink_error why = {0};
    out[0] = 0;
    const ink_status status = inki_in_load(&text, &n, dir, "README.md", CARD_MAX_BYTES, mem, &why);
    if (status == INK_E_NOMEM) return inki_fail(error, status, "README.md", 0, "%s", why.message);
    if (status != INK_OK) return INK_OK; // a card that is missing or unreadable says nothing
    for (int line = 0; at < n; line++) {
        const char *start = text + at, *end = memchr(start, '\n', n - at);
        const size_t bytes = end != NULL ? (size_t)(end - start) : n - at;
        const bool fence = bytes >= 3 && memcmp(start, "---", 3) == 0;
        if (fence != (line == 0)) break; // the front matter is not there, or has ended
        static const char key[] = "license:";
        if (bytes > sizeof key - 1 && memcmp(start, key, sizeof key - 1) == 0)
            take_license(out, cap, start + sizeof key - 1, bytes - (sizeof key - 1));
        at += bytes + 1;
    }
    inki_release(mem, text, n, 1);
    return INK_OK;
}

void inki_hf_name(char *out, size_t cap, const char *dir, const char *given) {
    char *real = given == NULL ? realpath(dir, NULL) : NULL;
    const char *slash = real != NULL ? strrchr(real, '/') : NULL;
    const char *name = given != NULL ? given : slash != NULL && slash[1] != 0 ? slash + 1 : "model";
    const size_t n = strlen(name);
    size_t used = 0;
    for (size_t at = 0; at < n;) {
        uint32_t c;
        const size_t step = inki_utf8_decode((const uint8_t *)name + at, n - at, &c),
                     take = step > 0 ? step : 1;
        if (used + take >= cap) break;
        if (step > 0)
            memcpy(out + used, name + at, step);
        else
            out[used] = '?';
        used += take;
        at += take;
    }
    out[used] = 0;
    free(real);
}
