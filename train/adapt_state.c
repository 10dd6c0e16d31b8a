// SPDX-License-Identifier: MIT
// The texts of an adapter that learns, and how they lie in its state: a checkpoint (checkpoint.c)
// whose settings are, little-endian: "INKADAPT", u32 version, u32 rank, n_ctx, n_batch, n_steps,
// floats alpha, rate, dropout, u64 seed, texts, the step judged last, the bits of the held-out loss
// as a double, tokens learnt from, tokens held out, then both as u32.
#include "train/adapt_parts.h"

#include "base/cursor.h"
#include "base/half.h"

#include <math.h>
#include <string.h>

enum { CONFIG_VERSION = 1, CONFIG_HEAD = 8 + 8 * 4 + 6 * 8 };
enum { HELD_EVERY = 10, LONG_TEXT = 20 }; // texts; sequences of a text whose end is held out
static const size_t max_tokens = (size_t)1 << 28;
static const char config_magic[8] = {'I', 'N', 'K', 'A', 'D', 'A', 'P', 'T'};

// --- rows ----------------------------------------------------------------------------------------

void inki_adapt_row_free(const ink_adapt *a, inki_adapt_row *row) {
    inki_release(&a->mem, row->ids, row->n_room, sizeof *row->ids);
    *row = (inki_adapt_row){0};
}

static ink_status row_room(const ink_adapt *a, inki_adapt_row *row, size_t n_more,
                           ink_error *error) {
    if (n_more <= row->n_room - row->n) return INK_OK;
    const size_t wanted = row->n + n_more, half_more = row->n_room + row->n_room / 2;
    const size_t n_room = wanted > half_more ? wanted : half_more;
    int32_t *ids = inki_alloc(&a->mem, n_room, sizeof *ids);
    if (ids == NULL) return inki_fail_nomem(error, n_room * sizeof *ids);
    if (row->n > 0) memcpy(ids, row->ids, row->n * sizeof *ids);
    inki_release(&a->mem, row->ids, row->n_room, sizeof *row->ids);
    row->ids = ids;
    row->n_room = n_room;
    return INK_OK;
}

static size_t with_end(size_t n) { return n > 0 ? n + 1 : 0; }

static void row_put(inki_adapt_row *row, const int32_t *ids, size_t n, int32_t end) {
    if (n == 0) return;
    memcpy(row->ids + row->n, ids, n * sizeof *ids);
    row->n += n;
    row->ids[row->n++] = end;
}

// Every tenth text, and the end of a long one, is held out: what comes later does not change that.
static ink_status keep_ids(ink_adapt *a, const int32_t *ids, size_t n, ink_error *error) {
    const bool all_held = a->n_texts % HELD_EVERY == HELD_EVERY - 1;
    const bool is_long = n >= (size_t)LONG_TEXT * a->options.n_ctx;
    const size_t n_learn = all_held ? 0 : is_long ? n - n / HELD_EVERY : n;
    const size_t n_new = with_end(n_learn) + with_end(n - n_learn);
    if (n_new > max_tokens - a->learn.n - a->held.n)
        return inki_fail(error, INK_E_LIMIT, NULL, 0, "over %zu tokens of text", max_tokens);
    ink_status status = row_room(a, &a->learn, with_end(n_learn), error);
    if (status == INK_OK) status = row_room(a, &a->held, with_end(n - n_learn), error);
    if (status != INK_OK) return status;
    row_put(&a->learn, ids, n_learn, a->model->info.end_token);
    row_put(&a->held, ids + n_learn, n - n_learn, a->model->info.end_token);
    a->n_texts++;
    // Weights that were the best before know nothing of this text: from now on others are.
    a->held_loss = NAN;
    inki_trainer_forget_best(a->trainer);
    return INK_OK;
}

static ink_status refuse_text(ink_status status, ink_error *error) {
    return inki_fail(error, status, NULL, 0, "the text: %s", ink_status_text(status));
}

ink_status inki_adapt_keep_text(ink_adapt *a, const char *text, size_t bytes, ink_error *error) {
    size_t n = 0;
    ink_status status = ink_tokenize(a->model, text, bytes, INK_TOKENIZE_STRICT, NULL, 0, &n, NULL);
    if (status != INK_OK) return refuse_text(status, error);
    if (n == 0) return INK_OK;
    int32_t *ids = inki_alloc(&a->mem, n, sizeof *ids);
    if (ids == NULL) return inki_fail_nomem(error, n * sizeof *ids);
    size_t n_again = 0;
    status = ink_tokenize(a->model, text, bytes, INK_TOKENIZE_STRICT, ids, n, &n_again, NULL);
    status = status == INK_OK ? keep_ids(a, ids, n_again, error) : refuse_text(status, error);
    inki_release(&a->mem, ids, n, sizeof *ids);
    return status;
}

void inki_adapt_report_fill(const ink_adapt *a, ink_adapt_report *out) {
    const double best = inki_trainer_best_loss(a->trainer);
    const uint64_t n_done = inki_trainer_n_done(a->trainer);
    *out = (ink_adapt_report){.size = sizeof *out,
                              .n_steps = n_done < UINT32_MAX ? (uint32_t)n_done : UINT32_MAX,
                              .n_tokens = a->learn.n + a->held.n,
                              .n_learnt = n_done * a->options.n_batch * a->options.n_ctx,
                              .loss = inki_trainer_last_loss(a->trainer),
                              .held_loss = a->held_loss,
                              .best_held_loss = isfinite(best) ? best : NAN};
}

// --- the file ------------------------------------------------------------------------------------

ink_status inki_adapt_set_path(ink_adapt *a, const char *path, ink_error *error) {
    const size_t bytes = strlen(path) + 1;
    a->path = inki_alloc(&a->mem, bytes, 1);
    if (a->path == NULL) return inki_fail_nomem(error, bytes);
    a->path_bytes = bytes;
    memcpy(a->path, path, bytes);
    return INK_OK;
}

static uint8_t *put_u32(uint8_t *to, uint32_t v) {
    for (int i = 0; i < 4; i++) *to++ = (uint8_t)(v >> (8 * i));
    return to;
}

static uint8_t *put_u64(uint8_t *to, uint64_t v) {
    return put_u32(put_u32(to, (uint32_t)v), (uint32_t)(v >> 32));
}

static uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static uint8_t *put_ids(uint8_t *to, const inki_adapt_row *row) {
    for (size_t i = 0; i < row->n; i++) to = put_u32(to, (uint32_t)row->ids[i]);
    return to;
}

ink_status inki_adapt_write_state(const ink_adapt *a, ink_error *error) {
    const ink_adapt_options *o = &a->options;
    if (a->path == NULL)
        return inki_fail(error, INK_E_ARG, NULL, 0, "it was opened without a file for its state");
    const size_t bytes = CONFIG_HEAD + 4 * (a->learn.n + a->held.n);
    uint8_t *config = inki_alloc(&a->mem, bytes, 1);
    if (config == NULL) return inki_fail_nomem(error, bytes);
    memcpy(config, config_magic, sizeof config_magic);
    uint8_t *to = put_u32(config + sizeof config_magic, CONFIG_VERSION);
    to = put_u32(to, o->rank);
    to = put_u32(to, o->n_ctx);
    to = put_u32(to, o->n_batch);
    to = put_u32(to, o->n_steps);
    to = put_u32(to, inki_f32_bits(o->alpha));
    to = put_u32(to, inki_f32_bits(o->rate));
    to = put_u32(to, inki_f32_bits(o->dropout));
    to = put_u64(to, o->seed);
    to = put_u64(to, a->n_texts);
    to = put_u64(to, a->judged_at);
    to = put_u64(to, isfinite(a->held_loss) ? bits_of(a->held_loss) : UINT64_MAX);
    to = put_u64(to, a->learn.n);
    to = put_u64(to, a->held.n);
    put_ids(put_ids(to, &a->learn), &a->held);
    const ink_status status =
        inki_checkpoint_save(a->trainer, a->path, (inki_str){(const char *)config, bytes}, error);
    inki_release(&a->mem, config, bytes, 1);
    return status;
}

static ink_status take_row(ink_adapt *a, inki_adapt_row *row, const uint8_t *from, size_t n,
                           ink_error *error) {
    const ink_status status = row_room(a, row, n, error);
    if (status != INK_OK) return status;
    for (size_t i = 0; i < n; i++) {
        const uint32_t id = inki_load_u32(from + 4 * i);
        if (id >= a->model->weights.n_vocab)
            return inki_fail(error, INK_E_UNSUPPORTED, a->path, 0,
                             "it is of another model: it has a token %u of a vocabulary of %u",
                             (unsigned)id, (unsigned)a->model->weights.n_vocab);
        row->ids[row->n++] = (int32_t)id;
    }
    return INK_OK;
}

static void take_options(ink_adapt *a, const uint8_t *c) {
    ink_adapt_options *o = &a->options;
    o->rank = inki_load_u32(c + 12);
    o->n_ctx = inki_load_u32(c + 16);
    o->n_batch = inki_load_u32(c + 20);
    o->n_steps = inki_load_u32(c + 24);
    o->alpha = inki_f32_from_bits(inki_load_u32(c + 28));
    o->rate = inki_f32_from_bits(inki_load_u32(c + 32));
    o->dropout = inki_f32_from_bits(inki_load_u32(c + 36));
    o->seed = inki_load_u64(c + 40);
}

static void take_counts(ink_adapt *a, const uint8_t *c) {
    const uint64_t bits = inki_load_u64(c + 64);
    a->n_texts = inki_load_u64(c + 48);
    a->judged_at = inki_load_u64(c + 56);
    memcpy(&a->held_loss, &bits, sizeof bits);
    if (!isfinite(a->held_loss)) a->held_loss = NAN;
}

static ink_status take_config(ink_adapt *a, const uint8_t *c, size_t bytes, ink_error *error) {
    if (bytes < CONFIG_HEAD || memcmp(c, config_magic, sizeof config_magic) != 0 ||
        inki_load_u32(c + 8) != CONFIG_VERSION)
        return inki_fail(error, INK_E_FORMAT, a->path, 0,
                         "it is a checkpoint, but not of ink_adapt in this version");
    const uint64_t n_learn = inki_load_u64(c + 72), n_held = inki_load_u64(c + 80);
    const size_t n = (bytes - CONFIG_HEAD) / 4;
    if (bytes % 4 != 0 || n > max_tokens || n_learn > n || n_held != n - n_learn)
        return inki_fail(error, INK_E_FORMAT, a->path, 0, "its texts do not fit into it");
    take_options(a, c);
    take_counts(a, c);
    if (a->options.n_ctx > a->model->weights.n_ctx)
        return inki_fail(error, INK_E_UNSUPPORTED, a->path, 0,
                         "it is of another model: sequences of %u tokens, the context is %u",
                         (unsigned)a->options.n_ctx, (unsigned)a->model->weights.n_ctx);
    if (a->options.n_ctx == 0 || inki_adapt_complete_options(&a->options, a->model, NULL) != INK_OK)
        return inki_fail(error, INK_E_FORMAT, a->path, 0, "its options are none that there can be");
    const ink_status status = take_row(a, &a->learn, c + CONFIG_HEAD, (size_t)n_learn, error);
    if (status != INK_OK) return status;
    return take_row(a, &a->held, c + CONFIG_HEAD + 4 * n_learn, (size_t)n_held, error);
}

ink_status inki_adapt_read_config(ink_adapt *a, bool *found, ink_error *error) {
    inki_str config = {NULL, 0};
    ink_error trouble = {0}; // a file that is not there is none
    ink_status status = inki_checkpoint_config(a->path, &config, &a->mem, &trouble);
    if (status == INK_E_NOT_FOUND) return INK_OK;
    if (status != INK_OK) {
        if (error != NULL) {
            trouble.size = error->size;
            *error = trouble;
        }
        return status;
    }
    *found = true;
    status = take_config(a, (const uint8_t *)config.data, config.bytes, error);
    inki_release(&a->mem, (void *)config.data, config.bytes + 1, 1);
    return status;
}

ink_status inki_adapt_read_weights(ink_adapt *a, ink_error *error) {
    const ink_status status = inki_checkpoint_load(a->trainer, a->path, error);
    // The trainer was made by the file's own options: what differs is the model.
    if (status == INK_E_ARG) {
        if (error != NULL) error->status = INK_E_UNSUPPORTED;
        return INK_E_UNSUPPORTED;
    }
    if (status != INK_OK || inki_trainer_is_sound(a->trainer)) return status;
    return inki_fail(error, INK_E_FORMAT, a->path, 0,
                     "its weights, averages or losses are none that learning leaves behind");
}
