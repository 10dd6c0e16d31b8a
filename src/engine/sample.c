// SPDX-License-Identifier: MIT
#include "engine/engine.h"

#include <math.h>

static inki_str token_text(const void *tokenizer, int32_t id) {
    return inki_tokenizer_piece(tokenizer, id);
}

ink_status ink_sampler_new(ink_sampler **out, const ink_model *model, const char *chain,
                           const ink_sampler_options *options, ink_error *error) {
    if (out == NULL || model == NULL)
        return inki_fail(error, INK_E_ARG, "ink_sampler_new", 0, "out or model is NULL");
    ink_sampler_options o;
    ink_sampler_options_init(&o, sizeof o);
    ink_status status = inki_model_need_all(model, error);
    if (status == INK_OK)
        status = inki_options_read(&o, sizeof o, options, "ink_sampler_options", error);
    if (status != INK_OK) return status;
    if (!o.seed_set) o.seed = inki_os_random();
    o.seed_set = 1;
    ink_sampler *s = inki_alloc_zero(&model->mem, 1, sizeof *s);
    if (s == NULL) return inki_fail_nomem(error, sizeof *s);
    s->mem = model->mem;
    inki_fp fp;
    inki_fp_ours(&fp);
    status = inki_chain_new(&s->chain, chain, &o, model->weights.n_vocab, &s->mem, error);
    inki_fp_hosts(&fp);
    if (status != INK_OK) {
        inki_release(&model->mem, s, 1, sizeof *s);
        return status;
    }
    *out = s;
    return INK_OK;
}

void ink_sampler_free(ink_sampler *sampler) {
    if (sampler == NULL) return;
    const inki_mem mem = sampler->mem;
    inki_chain_free(sampler->chain);
    inki_release(&mem, sampler, 1, sizeof *sampler);
}

uint64_t ink_sampler_seed(const ink_sampler *sampler) {
    return sampler != NULL ? inki_chain_seed(sampler->chain) : 0;
}

ink_status ink_sampler_chain(const ink_sampler *sampler, char *out, size_t cap, size_t *bytes) {
    if (sampler == NULL || bytes == NULL || (out == NULL && cap != 0)) return INK_E_ARG;
    const size_t needed = inki_chain_text(sampler->chain, NULL, 0);
    *bytes = needed;
    if (out == NULL) return INK_OK;
    if (needed >= cap) return INK_E_SPACE;
    inki_chain_text(sampler->chain, out, cap);
    return INK_OK;
}

ink_status inki_sample_entered(ink_session *s, const inki_chain *chain,
                               const inki_constraint *constraint, ink_token *out,
                               ink_error *error) {
    if (s->n_rows == 0)
        return inki_fail(error, INK_E_ARG, "ink_sample", 0,
                         "the session holds no logits: evaluate a token first");
    double mu = 0, mu_next = 0;
    const bool has_mu = inki_chain_has_mu(chain, &mu);
    ink_status status = inki_session_need_work(s, error);
    if (status == INK_OK && has_mu) status = inki_session_need_mu(s, error);
    if (status != INK_OK) return status;
    if (has_mu) mu = inki_session_mu(s, mu);
    const size_t n_vocab = s->model->weights.n_vocab;
    const inki_constraint none = {0};
    if (constraint == NULL) constraint = &none;
    const inki_draw draw = {.logits = s->row,
                            .n_vocab = (uint32_t)n_vocab,
                            .history = s->tokens,
                            .n_history = s->n_past,
                            .stream = s->options.stream,
                            .position = s->n_forgotten + s->n_past,
                            .banned = -1,
                            .bans = constraint->bans,
                            .n_bans = constraint->n_bans,
                            .allowed = constraint->allowed,
                            .texts = &(inki_token_texts){token_text, s->model->tokenizer},
                            .mu = mu,
                            .mu_next = has_mu ? &mu_next : NULL,
                            .scratch = s->work.candidates};
    status = inki_chain_draw(chain, &draw, out, error);
    if (status != INK_OK || !has_mu) return status;
    for (uint32_t i = s->n_mu + 1; i <= s->n_past; i++) s->mu[i] = NAN;
    s->n_mu = s->n_past + 1;
    s->mu[s->n_mu] = mu_next;
    return INK_OK;
}

ink_status ink_sample(ink_session *session, const ink_sampler *sampler, ink_token *out,
                      ink_error *error) {
    if (sampler == NULL || out == NULL)
        return inki_fail(error, INK_E_ARG, "ink_sample", 0, "sampler or out is NULL");
    ink_status status = inki_session_enter(session, error);
    if (status != INK_OK) return status;
    inki_fp fp;
    inki_fp_ours(&fp);
    status = inki_sample_entered(session, sampler->chain, NULL, out, error);
    inki_fp_hosts(&fp);
    inki_session_leave(session);
    return status;
}
