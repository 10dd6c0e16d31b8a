// SPDX-License-Identifier: MIT
#include "engine/engine.h"

#include <math.h>
#include <string.h>

// A state of zeros has no direction: it stays what it is.
static void normalize(float *out, const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    const double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (size_t i = 0; i < n; i++) out[i] = (float)((double)x[i] * scale);
}

static ink_status embed_entered(ink_session *s, const char *text, size_t bytes, uint32_t flags,
                                float *out, ink_error *error) {
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.flags = INK_GENERATE_FRESH | INK_GENERATE_EMBED |
              (flags & INK_EMBED_LAST ? INK_GENERATE_EMBED_LAST : 0);
    o.n_tokens = 0;
    ink_result r = {.size = sizeof r};
    const ink_status status = inki_generate_entered(s, text, bytes, &o, NULL, NULL, &r, error);
    if (status != INK_OK) return status;
    if (r.embedding == NULL) return inki_fail(error, INK_E_CANCELLED, NULL, 0, "cancelled");
    if (flags & INK_EMBED_NORMALIZE)
        normalize(out, r.embedding, r.n_embedding);
    else
        memcpy(out, r.embedding, r.n_embedding * sizeof *out);
    return INK_OK;
}

ink_status ink_session_embedding(ink_session *session, const char *text, size_t bytes,
                                 uint32_t flags, float *out, size_t cap, size_t *n,
                                 ink_error *error) {
    if (n == NULL || (out == NULL && cap > 0))
        return inki_fail(error, INK_E_ARG, "ink_session_embedding", 0, "n or out is NULL");
    ink_status status = inki_session_enter(session, error);
    if (status != INK_OK) return status;
    const size_t n_embd = session->model->weights.n_embd;
    status = inki_flags_check(flags, INK_EMBED_LAST | INK_EMBED_NORMALIZE, "ink_session_embedding",
                              error);
    if (status == INK_OK && out != NULL && cap < n_embd) {
        *n = n_embd;
        status = inki_fail(error, INK_E_SPACE, NULL, 0, "room for %zu floats; %zu are needed", cap,
                           n_embd);
    } else if (status == INK_OK) {
        if (out != NULL) status = embed_entered(session, text, bytes, flags, out, error);
        if (status == INK_OK) *n = n_embd;
    }
    inki_session_leave(session);
    return status;
}

ink_status ink_session_embed(ink_session *session, const char *text, size_t bytes, float *out,
                             size_t cap, size_t *n, ink_error *error) {
    return ink_session_embedding(session, text, bytes, 0, out, cap, n, error);
}
