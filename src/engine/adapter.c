// SPDX-License-Identifier: MIT
// Adapters: files of small matrices beside a model's, opened for it once and shared by sessions.
#include "engine/engine.h"

#include <math.h>
#include <string.h>

// --- opening -------------------------------------------------------------------------------------

static ink_status check_adapter_kind(const inki_gguf *g, const char *architecture,
                                     ink_error *error) {
    const struct {
        const char *key, *wanted;
        ink_status status;
    } keys[] = {{"general.type", "adapter", INK_E_FORMAT},
                {"general.architecture", architecture, INK_E_FORMAT},
                {"adapter.type", "lora", INK_E_UNSUPPORTED}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const ink_status status =
            inki_gguf_expect_str(g, keys[i].key, keys[i].wanted, keys[i].status, error);
        if (status != INK_OK) return status;
    }
    // It would count only from certain tokens on.
    static const char invoked[] = "adapter.alora.invocation_tokens";
    if (inki_gguf_find(g, invoked) == NULL) return INK_OK;
    return inki_fail(error, INK_E_UNSUPPORTED, invoked, 0, "such adapters are not supported");
}

static ink_status open_adapter(ink_adapter *a, const ink_source *source, const char **name,
                               ink_error *error) {
    static const char alpha_key[] = "adapter.lora.alpha";
    const ink_model *m = a->model;
    *name = "the adapter";
    ink_status s = inki_source_open(&a->file, name, source, &m->mem, &m->runtime->log, error);
    if (s != INK_OK) {
        *name = NULL; // it is in the message already
        return s;
    }
    const size_t bytes = strlen(*name), room = sizeof a->name - 1;
    memcpy(a->name, *name + (bytes > room ? bytes - room : 0), bytes > room ? room : bytes);
    float alpha = 0;
    s = inki_gguf_open(&a->gguf, a->file.data, a->file.bytes, &m->mem, error);
    if (s == INK_OK) s = check_adapter_kind(&a->gguf, m->architecture, error);
    if (s == INK_OK) s = inki_gguf_get_f32(&a->gguf, alpha_key, false, &alpha, error);
    if (s == INK_OK && !isfinite(alpha))
        s = inki_fail(error, INK_E_FORMAT, alpha_key, inki_gguf_find(&a->gguf, alpha_key)->offset,
                      "is not finite");
    if (s == INK_OK)
        s = inki_lora_open(&a->lora, &a->gguf, &m->gguf, &m->weights, &m->runtime->kernels, &m->mem,
                           error);
    a->lora.alpha = alpha;
    return s;
}

ink_status ink_adapter_open(ink_adapter **out, ink_model *model, const ink_source *source,
                            ink_error *error) {
    if (out == NULL || model == NULL || source == NULL)
        return inki_fail(error, INK_E_ARG, "ink_adapter_open", 0, "out, model or source is NULL");
    ink_status status = inki_model_need_all(model, error);
    if (status != INK_OK) return status;
    ink_adapter *a = inki_alloc_zero(&model->mem, 1, sizeof *a);
    if (a == NULL) return inki_fail_nomem(error, sizeof *a);
    atomic_init(&a->refs, 1);
    a->model = ink_model_ref(model);
    const char *name = NULL;
    inki_fp fp; // a number in the file may be a NaN, and the host may trap on comparing one
    inki_fp_ours(&fp);
    status = open_adapter(a, source, &name, error);
    inki_fp_hosts(&fp);
    if (status == INK_OK) {
        *out = a;
    } else {
        inki_error_prefix(error, name);
        ink_adapter_unref(a);
    }
    return status;
}

void ink_adapter_unref(ink_adapter *a) {
    if (a == NULL || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1) return;
    ink_model *model = a->model;
    inki_lora_close(&a->lora);
    inki_gguf_close(&a->gguf);
    inki_os_close(&a->file);
    inki_release(&model->mem, a, 1, sizeof *a);
    ink_model_unref(model);
}

// --- those of a session --------------------------------------------------------------------------

ink_status inki_adapters_check(const ink_adapter_use *list, size_t n, const ink_model *model,
                               ink_error *error) {
    static const char what[] = "adapters";
    if (n > INKI_LORA_MAX)
        return inki_fail(error, INK_E_LIMIT, what, 0, "%zu; the most is %d", n, INKI_LORA_MAX);
    if (n > 0 && list == NULL)
        return inki_fail(error, INK_E_ARG, what, 0, "is NULL although n_adapters is not 0");
    for (size_t i = 0; i < n; i++)
        if (list[i].adapter == NULL || !isfinite(list[i].scale) ||
            (model != NULL && list[i].adapter->model != model))
            return inki_fail(error, INK_E_ARG, what, 0,
                             "number %zu is NULL, of another model, or its scale is not finite", i);
    return INK_OK;
}

void inki_adapters_copy(inki_adapters *out, const ink_adapter_use **list, size_t n) {
    out->n = n;
    for (size_t i = 0; i < n; i++) {
        out->list[i] = (*list)[i];
        atomic_fetch_add_explicit(&out->list[i].adapter->refs, 1, memory_order_relaxed);
    }
    *list = out->list;
}

void inki_adapters_drop(inki_adapters *adapters) {
    for (size_t i = 0; i < adapters->n; i++) ink_adapter_unref(adapters->list[i].adapter);
    adapters->n = 0;
}

// With a scale of 0 the model is as without the adapter, to the bit.
inki_lora_list inki_adapters_loras(const ink_adapter_use *list, size_t n) {
    inki_lora_list loras = {0};
    for (size_t i = 0; i < n; i++) {
        if (list[i].scale == 0) continue;
        loras.list[loras.n].lora = &list[i].adapter->lora;
        loras.list[loras.n++].scale = list[i].scale;
        loras.low_bytes += list[i].adapter->lora.low_bytes;
    }
    return loras;
}
