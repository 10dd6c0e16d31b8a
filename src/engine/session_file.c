// SPDX-License-Identifier: MIT
// Writing a session: everything goes through one small buffer into a file or into memory, and
// through the checksum.
#include "engine/session_file.h"

#include "base/checksum.h"

#include <string.h>

void inki_saved_head_of(inki_saved_head *head, const ink_session *s) {
    const inki_kv_layout *l = &s->kv.layout;
    *head = (inki_saved_head){.magic = {'I', 'N', 'K', 'S', 'A', 'V', 'E', 'D'},
                              .version = INKI_SAVED_VERSION,
                              .head_bytes = INKI_SAVED_HEAD_BYTES,
                              .model = inki_model_fingerprint(s->model),
                              .adapters = inki_adapters_fingerprint(&s->loras, s->options.adapters,
                                                                    s->options.n_adapters),
                              .kv_type = l->kv_type,
                              .n_vocab = s->model->weights.n_vocab,
                              .n_layer = l->n_layer,
                              .n_head = l->n_head,
                              .head_dim = l->head_dim,
                              .page_bytes = l->page_bytes};
}

bool inki_saved_parts_of(inki_saved_parts *parts, const inki_saved_head *h, uint64_t file_bytes) {
    const uint64_t n_pages = h->n_past / INKI_TILE + (h->n_past % INKI_TILE != 0);
    const uint64_t bytes[INKI_SAVED_PARTS] = {(h->n_past + h->n_pending) * sizeof(ink_token),
                                              h->n_rows * h->n_vocab * sizeof(float),
                                              h->n_mu * sizeof(double),
                                              h->chain_bytes,
                                              h->phrases_bytes,
                                              h->note_bytes,
                                              n_pages * h->page_bytes,
                                              sizeof(uint64_t)};
    uint64_t at = INKI_SAVED_HEAD_BYTES;
    for (int i = 0; i < INKI_SAVED_PARTS; i++) {
        at = (at + INKI_SAVED_ALIGN - 1) / INKI_SAVED_ALIGN * INKI_SAVED_ALIGN;
        if (at > file_bytes || bytes[i] > file_bytes - at) return false;
        parts->at[i] = at;
        parts->bytes[i] = bytes[i];
        at += bytes[i];
    }
    parts->file_bytes = at;
    return true;
}

// --- where the bytes go --------------------------------------------------------------------------

typedef struct saving {
    const ink_session *s;
    ink_save_options o;
    inki_saved_head head;
    inki_saved_parts parts;
    char *texts; // [texts_bytes] chain, phrases
    size_t texts_bytes;
    inki_out *out; // NULL: to memory
    uint8_t *to;
    uint64_t at; // bytes put so far
    inki_checksum sum;
    ink_status status;
    ink_error *error;
    size_t n_waiting;
    uint8_t waiting[4096];
} saving;

static void put_through(saving *w, const void *data, size_t n) {
    if (n == 0 || w->status != INK_OK) return;
    inki_checksum_add(&w->sum, data, n);
    if (w->out != NULL) {
        w->status = inki_out_write(w->out, data, n, w->error);
    } else {
        memcpy(w->to, data, n);
        w->to += n;
    }
}

static void put_waiting(saving *w) {
    put_through(w, w->waiting, w->n_waiting);
    w->n_waiting = 0;
}

static void put_data(saving *w, const void *data, size_t n) {
    w->at += n;
    if (n > sizeof w->waiting - w->n_waiting) put_waiting(w);
    if (n > sizeof w->waiting) {
        put_through(w, data, n);
    } else if (n > 0) {
        memcpy(w->waiting + w->n_waiting, data, n);
        w->n_waiting += n;
    }
}

static void put_nothing(saving *w, size_t n) {
    static const uint8_t zeros[INKI_SAVED_ALIGN];
    for (size_t part; n > 0; n -= part) {
        part = n < sizeof zeros ? n : sizeof zeros;
        put_data(w, zeros, part);
    }
}

static void put_part(saving *w, inki_saved_part part, const void *data) {
    put_nothing(w, (size_t)(w->parts.at[part] - w->at));
    put_data(w, data, (size_t)w->parts.bytes[part]);
}

static void put_padded(saving *w, const uint8_t *data, size_t n, size_t padded) {
    put_data(w, data, n);
    put_nothing(w, padded - n);
}

// The last page, n positions of it. What lies behind them may be of texts that were given up: zeros
// stand for it, so that the same past gives the same file.
static void put_last_page(saving *w, const inki_kv_layout *l, const uint8_t *from, size_t n) {
    const size_t tile = l->row_bytes * INKI_TILE, q8_block = 34 * INKI_TILE;
    for (uint32_t layer = 0; layer < l->n_layer; layer++) {
        const uint8_t *values = from + l->n_head * tile, *end = values + l->n_head * tile;
        for (size_t width; from < values; from += width * INKI_TILE) {
            width = l->kv_type == INK_KV_F32 ? 4 : 2;
            if (l->kv_type == INK_KV_Q8_0 && (size_t)(values - from) % q8_block != 0) width = 1;
            put_padded(w, from, n * width, width * INKI_TILE);
        }
        for (; from < end; from += tile) put_padded(w, from, n * l->row_bytes, tile);
    }
}

// A page has a checksum of its own, so that several threads can read a file.
static void put_page(saving *w, uint32_t i) {
    const ink_session *s = w->s;
    const uint32_t n = s->n_past - i * INKI_TILE;
    const uint8_t *rows = inki_kv_keys(&s->kv, i, 0, 0);
    put_waiting(w);
    inki_checksum before = w->sum;
    inki_checksum_init(&w->sum);
    if (n < INKI_TILE)
        put_last_page(w, &s->kv.layout, rows, n);
    else
        put_data(w, rows, s->kv.layout.page_bytes);
    put_waiting(w);
    const uint64_t sum = inki_checksum_end(&w->sum);
    inki_checksum_add(&before, &sum, sizeof sum);
    w->sum = before;
}

static void put_session(saving *w) {
    const ink_session *s = w->s;
    const char *texts = w->texts != NULL ? w->texts : ""; // NULL + 0 is undefined
    inki_checksum_init(&w->sum);
    put_data(w, &w->head, sizeof w->head);
    put_part(w, INKI_SAVED_TOKENS, s->tokens);
    put_part(w, INKI_SAVED_LOGITS, s->row);
    put_part(w, INKI_SAVED_MU, s->mu);
    for (int i = INKI_SAVED_CHAIN; i <= INKI_SAVED_PHRASES; i++) {
        put_part(w, (inki_saved_part)i, texts);
        texts += w->parts.bytes[i];
    }
    put_part(w, INKI_SAVED_NOTE, w->o.note);
    put_nothing(w, (size_t)(w->parts.at[INKI_SAVED_PAGES] - w->at));
    for (uint32_t i = 0; i < inki_kv_pages_for(s->n_past); i++) put_page(w, i);
    put_nothing(w, (size_t)(w->parts.at[INKI_SAVED_SUM] - w->at));
    put_waiting(w);
    const uint64_t sum = inki_checksum_end(&w->sum);
    put_through(w, &sum, sizeof sum);
}

// --- what is saved -------------------------------------------------------------------------------

static ink_status read_save_options(saving *w, const ink_save_options *options, ink_error *error) {
    static const char what[] = "ink_save_options";
    ink_save_options *o = &w->o;
    ink_status status = inki_options_read(o, sizeof *o, options, what, error);
    if (status != INK_OK) return status;
    if (o->note_bytes > INKI_SAVED_NOTE_MAX)
        return inki_fail(error, INK_E_LIMIT, what, 0, "a note of %u bytes; the most is %d",
                         (unsigned)o->note_bytes, INKI_SAVED_NOTE_MAX);
    if (o->note == NULL && o->note_bytes > 0)
        return inki_fail(error, INK_E_ARG, what, 0, "note is NULL although note_bytes is not 0");
    if (o->sampler != NULL && inki_chain_n_vocab(o->sampler->chain) != w->head.n_vocab)
        return inki_fail(error, INK_E_ARG, what, 0, "the sampler is for another vocabulary");
    return INK_OK;
}

static ink_status describe(saving *w, ink_error *error) {
    const ink_session *s = w->s;
    const inki_chain *chain = w->o.sampler != NULL ? w->o.sampler->chain : NULL;
    inki_saved_head *h = &w->head;
    h->n_past = s->n_past;
    h->n_forgotten = s->n_forgotten;
    h->stream = s->options.stream;
    h->n_rows = s->n_rows > 0;
    if (s->is_cut) {
        h->is_cut = 1;
        h->n_pending = s->n_pending;
        h->n_unsaid = s->n_unsaid;
        h->n_series = s->n_series;
    }
    // A token may have been chosen behind them that is not in `tokens` yet.
    const uint64_t most = h->n_past + h->n_pending + 1;
    if (s->n_mu > 0) h->n_mu = (s->n_mu < most ? s->n_mu : most) + 1;
    h->note_bytes = w->o.note_bytes;
    if (chain != NULL) {
        h->seed = inki_chain_seed(chain);
        h->chain_bytes = inki_chain_text(chain, NULL, 0) + 1;
    }
    if (w->o.filter != NULL) h->phrases_bytes = inki_filter_phrases(w->o.filter, NULL);
    inki_saved_parts_of(&w->parts, h, UINT64_MAX);
    h->file_bytes = w->parts.file_bytes;
    h->sum = inki_checksum_of(h, offsetof(inki_saved_head, sum));
    if (w->parts.file_bytes > SIZE_MAX / 2)
        return inki_fail(error, INK_E_LIMIT, "ink_session_save", 0, "it does not fit into memory");
    w->texts_bytes = (size_t)(h->chain_bytes + h->phrases_bytes);
    if (w->texts_bytes == 0) return INK_OK;
    w->texts = inki_alloc(&s->mem, w->texts_bytes, 1);
    if (w->texts == NULL) return inki_fail_nomem(error, w->texts_bytes);
    if (chain != NULL) inki_chain_text(chain, w->texts, (size_t)h->chain_bytes);
    if (w->o.filter != NULL) inki_filter_phrases(w->o.filter, w->texts + h->chain_bytes);
    return INK_OK;
}

static ink_status put_file(saving *w, const char *path, ink_error *error) {
    inki_out out;
    ink_status status = inki_out_open(&out, path, &w->s->mem, error);
    if (status != INK_OK) return status;
    w->out = &out;
    put_session(w);
    status = w->status == INK_OK ? inki_out_commit(&out, error) : w->status;
    if (status != INK_OK) inki_out_discard(&out);
    return status;
}

// *bytes: needed. Written if that is at most cap, or to the path.
static ink_status save_session(ink_session *session, const char *path, void *to, size_t cap,
                               size_t *bytes, const ink_save_options *options, ink_error *error) {
    ink_status status = inki_session_enter(session, error);
    if (status != INK_OK) return status;
    inki_fp fp;
    inki_fp_ours(&fp);
    saving w = {.s = session, .to = to, .error = error};
    inki_saved_head_of(&w.head, session);
    status = read_save_options(&w, options, error);
    if (status == INK_OK) status = describe(&w, error);
    if (status == INK_OK && path != NULL) {
        status = put_file(&w, path, error);
    } else if (status == INK_OK) {
        *bytes = (size_t)w.parts.file_bytes;
        if (to != NULL && cap < *bytes)
            status = inki_fail(error, INK_E_SPACE, "ink_session_save_bytes", 0,
                               "%zu bytes are needed, there is room for %zu", *bytes, cap);
        else if (to != NULL)
            put_session(&w);
    }
    inki_release(&session->mem, w.texts, w.texts_bytes, 1);
    inki_fp_hosts(&fp);
    inki_session_leave(session);
    return status;
}

// --- the public calls ----------------------------------------------------------------------------

void ink_save_options_init(ink_save_options *options, size_t size) {
    const ink_save_options defaults = {0};
    inki_options_fill(options, size, &defaults, sizeof defaults);
}

ink_status ink_session_save(ink_session *session, const char *path, const ink_save_options *options,
                            ink_error *error) {
    if (path == NULL) return inki_fail(error, INK_E_ARG, "ink_session_save", 0, "path is NULL");
    return save_session(session, path, NULL, 0, NULL, options, error);
}

ink_status ink_session_save_bytes(ink_session *session, const ink_save_options *options, void *out,
                                  size_t cap, size_t *bytes, ink_error *error) {
    if (bytes == NULL || (out == NULL && cap > 0))
        return inki_fail(error, INK_E_ARG, "ink_session_save_bytes", 0,
                         "bytes is NULL, or out although cap is not 0");
    return save_session(session, NULL, out, cap, bytes, options, error);
}
