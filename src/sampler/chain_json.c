// SPDX-License-Identifier: MIT
#include "sampler/chain.h"

#include "base/json.h"

static inki_chain_word word_of(inki_str text, uint32_t at) {
    return (inki_chain_word){text.data, text.bytes, at};
}

static const inki_json_node *json_child(const inki_json *json, uint32_t i) {
    return i != 0 ? &json->nodes[i] : NULL;
}

static bool is_scalar(const inki_json_node *node) {
    return node->kind == INKI_JSON_NUMBER || node->kind == INKI_JSON_STRING;
}

static ink_status fail_kind(const inki_chain_reader *r, const inki_json_node *node,
                            const char *what, const char *expected) {
    return inki_chain_fail(r, INK_E_ARG, node->at, "%s must be %s", what, expected);
}

// {"TOKEN": bias, …}; a string may hold what JSON has no number for, "-inf".
static ink_status json_bias(const inki_chain_reader *r, const inki_json *json,
                            const inki_json_node *list) {
    inki_chain *chain = r->chain;
    const size_t n = list->n;
    if (list->kind != INKI_JSON_OBJECT)
        return fail_kind(r, list, "logit_bias", "an object of tokens and their bias");
    if (n > INKI_CHAIN_BIAS_MAX)
        return inki_chain_fail(r, INK_E_LIMIT, list->at,
                               "logit_bias has %zu entries, at most %d are allowed", n,
                               INKI_CHAIN_BIAS_MAX);
    if (n == 0) return INK_OK;
    ink_logit_bias *bias = inki_alloc(&chain->mem, n, sizeof *bias), *next = bias;
    if (bias == NULL) return inki_fail_nomem(r->error, n * sizeof *bias);
    ink_status status = INK_OK;
    const inki_json_node *node = json_child(json, list->first);
    for (; node != NULL && status == INK_OK; node = json_child(json, node->next), next++) {
        const inki_chain_word value = word_of(node->text, node->at);
        status = is_scalar(node)
                     ? inki_chain_pair(r, word_of(node->key, node->at), value, value, next)
                     : fail_kind(r, node, "a bias", "a number");
    }
    if (status == INK_OK) status = inki_chain_set_bias(chain, bias, n, r->error);
    inki_release(&chain->mem, bias, n, sizeof *bias);
    return status;
}

static ink_status json_breakers(inki_chain_reader *r, const inki_json *json,
                                const inki_json_node *list) {
    if (list->kind != INKI_JSON_ARRAY) return fail_kind(r, list, "breakers", "a list of strings");
    inki_chain_no_breakers(r);
    ink_status status = INK_OK;
    const inki_json_node *node = json_child(json, list->first);
    for (; node != NULL && status == INK_OK; node = json_child(json, node->next))
        status = node->kind == INKI_JSON_STRING
                     ? inki_chain_add_breaker(r, word_of(node->text, node->at), node->text)
                     : fail_kind(r, node, "a breaker", "a string");
    return status;
}

// One number of a step: the i-th, or the one with the node's name.
static ink_status json_step_number(inki_chain_reader *r, const inki_json *json, inki_step step,
                                   const inki_json_node *node, uint32_t i, bool named) {
    ink_status status = INK_OK;
    if (named && step == INKI_STEP_DRY && inki_str_equal(node->key, "breakers"))
        return json_breakers(r, json, node);
    if (named) status = inki_chain_find(r, step, word_of(node->key, node->at), &i);
    if (status == INK_OK)
        status = is_scalar(node) ? inki_chain_set(r, step, i, word_of(node->text, node->at))
                                 : fail_kind(r, node, "it", "a number");
    return status;
}

// null leaves the numbers as the options have them.
static ink_status json_step(inki_chain_reader *r, const inki_json *json, inki_chain_word name,
                            const inki_json_node *value) {
    inki_step step;
    ink_status status = inki_chain_add(r, name, &step);
    if (status != INK_OK) return status;
    if (value == NULL || value->kind == INKI_JSON_NULL)
        return step == INKI_STEP_LOGIT_BIAS ? inki_chain_option_bias(r) : INK_OK;
    if (step == INKI_STEP_LOGIT_BIAS) return json_bias(r, json, value);
    const bool named = value->kind == INKI_JSON_OBJECT;
    if (is_scalar(value)) return json_step_number(r, json, step, value, 0, false);
    if (!named && value->kind != INKI_JSON_ARRAY)
        return fail_kind(r, value, inki_chain_name(step), "a number, a list or an object");
    const inki_json_node *node = json_child(json, value->first);
    for (uint32_t i = 0; node != NULL && status == INK_OK; node = json_child(json, node->next))
        status = json_step_number(r, json, step, node, i++, named);
    return status;
}

static ink_status json_steps(inki_chain_reader *r, const inki_json *json,
                             const inki_json_node *object) {
    ink_status status = INK_OK;
    const inki_json_node *node = json_child(json, object->first);
    for (; node != NULL && status == INK_OK; node = json_child(json, node->next))
        status = json_step(r, json, word_of(node->key, node->at), node);
    return status;
}

static ink_status json_chain(inki_chain_reader *r, const inki_json *json) {
    const inki_json_node *root = json->nodes;
    ink_status status = INK_OK;
    if (root->kind == INKI_JSON_OBJECT) status = json_steps(r, json, root);
    const inki_json_node *node =
        root->kind == INKI_JSON_ARRAY ? json_child(json, root->first) : NULL;
    for (; node != NULL && status == INK_OK; node = json_child(json, node->next))
        status =
            node->kind == INKI_JSON_STRING ? json_step(r, json, word_of(node->text, node->at), NULL)
            : node->kind == INKI_JSON_OBJECT ? json_steps(r, json, node)
                                             : fail_kind(r, node, "a step", "a name or an object");
    if (status == INK_OK && r->chain->n_steps == 0)
        status = inki_chain_fail(r, INK_E_ARG, root->at, "a name is missing");
    return status;
}

ink_status inki_chain_read_json(inki_chain_reader *r) {
    inki_json json = {0};
    ink_status status = inki_json_parse(&json, r->source, r->bytes, &r->chain->mem, r->error);
    if (status == INK_OK)
        status = json_chain(r, &json);
    else
        inki_error_prefix(r->error, "chain");
    inki_json_free(&json);
    return status;
}
