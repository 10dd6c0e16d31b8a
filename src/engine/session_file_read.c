// SPDX-License-Identifier: MIT
// Reading a saved session. The file may come from anywhere: all of it is read and looked at, and
// all memory is had, before the session changes; what changes it then cannot fail. Pages are read
// to where they are to stay, but for the places that hold the session's own past until then.
#include "engine/session_file.h"

#include "base/checksum.h"

#include <math.h>
#include <string.h>

typedef struct restoring {
    ink_session *s;
    inki_input in;
    inki_saved_head head;
    inki_saved_parts parts;
    uint8_t *front; // [front_bytes] what stands before the pages
    size_t front_bytes;
    size_t room; // bytes of the caller's report
    // Made for the session or the caller:
    ink_sampler *sampler;
    ink_filter *filter;
    char *note;
    uint32_t n_kept;      // pages that hold the session's past
    inki_kv pages;        // for those, and for what it lacks of its own
    inki_kv_page **table; // [n_pages] of them
    size_t n_pages;
    uint64_t *sums;     // [pages of the past] their checksums
    atomic_bool failed; // a page could not be read
    ink_error *error;
} restoring;

static const uint8_t *part_of(const restoring *r, inki_saved_part part) {
    return r->front + r->parts.at[part];
}

static ink_status refuse(const restoring *r, ink_status status, const char *why) {
    return inki_fail(r->error, status, r->in.name, 0, "%s", why);
}

// --- whether it is whole -------------------------------------------------------------------------

static ink_status check_head(restoring *r, const inki_saved_head *mine) {
    inki_saved_head *h = &r->head;
    const size_t n = r->in.bytes < sizeof *h ? 0 : sizeof *h;
    const ink_status status = inki_input_read(&r->in, 0, h, n, r->error);
    if (status != INK_OK) return status;
    if (memcmp(h->magic, mine->magic, sizeof h->magic) != 0)
        return refuse(r, INK_E_FORMAT, "is no saved session, or is cut");
    if (h->version != INKI_SAVED_VERSION)
        return inki_fail(r->error, INK_E_UNSUPPORTED, r->in.name,
                         offsetof(inki_saved_head, version),
                         "is a saved session of version %u, this program reads version %d",
                         (unsigned)h->version, INKI_SAVED_VERSION);
    if (h->head_bytes != sizeof *h || h->sum != inki_checksum_of(h, offsetof(inki_saved_head, sum)))
        return refuse(r, INK_E_FORMAT, "is altered: the head's checksum is another");
    if (h->file_bytes != r->in.bytes)
        return inki_fail(r->error, INK_E_FORMAT, r->in.name, r->in.bytes,
                         "is cut: %llu bytes were saved, it has %llu",
                         (unsigned long long)h->file_bytes, (unsigned long long)r->in.bytes);
    return INK_OK;
}

static ink_status check_owner(const restoring *r, const inki_saved_head *mine) {
    static const char kv_types[INKI_KV_TYPES][5] = {"f16", "f32", "q8_0"};
    const inki_saved_head *h = &r->head;
    if (h->model != mine->model)
        return refuse(r, INK_E_ARG, "was saved with another model than the session's");
    if (h->kv_type != mine->kv_type)
        return inki_fail(r->error, INK_E_ARG, r->in.name, 0, "was saved with kv_type %s, not %s",
                         h->kv_type < INKI_KV_TYPES ? kv_types[h->kv_type] : "unknown",
                         kv_types[mine->kv_type]);
    if (h->adapters != mine->adapters)
        return refuse(r, INK_E_ARG, "was saved with other adapters than the session's");
    const uint32_t n_ctx = r->s->options.n_ctx;
    if (h->n_past > n_ctx)
        return inki_fail(r->error, INK_E_CONTEXT, r->in.name, 0,
                         "holds %llu tokens, the session's context %u",
                         (unsigned long long)h->n_past, (unsigned)n_ctx);
    return INK_OK;
}

static bool counts_agree(const restoring *r, const inki_saved_head *mine) {
    const inki_saved_head *h = &r->head;
    return memcmp(&h->n_vocab, &mine->n_vocab,
                  offsetof(inki_saved_head, n_past) - offsetof(inki_saved_head, n_vocab)) == 0 &&
           h->n_pending <= r->s->options.n_ctx - h->n_past && h->n_rows <= (h->n_past > 0) &&
           h->n_mu <= h->n_past + h->n_pending + 2 && h->is_cut <= 1 &&
           (h->is_cut || (h->n_pending | h->n_series) == 0) && h->n_unsaid <= h->n_series &&
           h->n_series >> 62 == 0 && // goes on being counted
           h->note_bytes <= INKI_SAVED_NOTE_MAX && h->chain_bytes <= INKI_SAVED_CHAIN_MAX &&
           h->phrases_bytes <= INKI_SAVED_PHRASES_MAX;
}

static bool numbers_are_sound(const restoring *r) {
    const inki_saved_head *h = &r->head;
    const uint8_t *tokens = part_of(r, INKI_SAVED_TOKENS), *mu = part_of(r, INKI_SAVED_MU);
    uint64_t text = 0;
    for (uint64_t i = 0; i < h->n_past + h->n_pending; i++) {
        const uint32_t token = inki_load_u32(tokens + i * sizeof token);
        if (token >= h->n_vocab) return false;
        text += inki_tokenizer_piece(r->s->model->tokenizer, (int32_t)token).bytes;
    }
    for (uint64_t i = 0; i < h->n_mu; i++) {
        double value;
        memcpy(&value, mu + i * sizeof value, sizeof value);
        if (isinf(value)) return false;
    }
    const uint8_t *chain_end = part_of(r, INKI_SAVED_CHAIN) + h->chain_bytes;
    return h->n_unsaid <= text && (h->chain_bytes == 0 || chain_end[-1] == 0) &&
           (h->n_rows == 0 ||
            r->s->model->runtime->kernels.all_finite(
                (const float *)(const void *)part_of(r, INKI_SAVED_LOGITS), (size_t)h->n_vocab));
}

static ink_status check_counts(restoring *r) {
    inki_saved_head mine;
    inki_saved_head_of(&mine, r->s);
    ink_status status = check_head(r, &mine);
    if (status == INK_OK) status = check_owner(r, &mine);
    if (status != INK_OK) return status;
    if (!counts_agree(r, &mine) || !inki_saved_parts_of(&r->parts, &r->head, r->in.bytes) ||
        r->parts.file_bytes != r->in.bytes)
        return refuse(r, INK_E_FORMAT, "is altered: its counts contradict each other");
    return INK_OK;
}

static uint32_t n_pages_of(const restoring *r) {
    return inki_kv_pages_for((uint32_t)r->head.n_past);
}

// --- what is needed ------------------------------------------------------------------------------

// A file that says it is whole and has a chain or phrases that are none was altered.
static ink_status as_altered(const restoring *r, ink_status status) {
    if (status != INK_OK && status != INK_E_NOMEM) {
        status = INK_E_FORMAT;
        if (r->error != NULL) r->error->status = status;
        inki_error_prefix(r->error, r->in.name);
    }
    return status;
}

static ink_status make_sampler(restoring *r) {
    ink_sampler_options o;
    if (r->head.chain_bytes == 0 || r->room < offsetof(ink_restored, filter)) return INK_OK;
    ink_sampler_options_init(&o, sizeof o);
    o.seed_set = 1;
    o.seed = r->head.seed;
    const char *text = (const char *)part_of(r, INKI_SAVED_CHAIN);
    return as_altered(r, ink_sampler_new(&r->sampler, r->s->model, text, &o, r->error));
}

static ink_status make_filter(restoring *r) {
    const size_t n = (size_t)r->head.phrases_bytes;
    if (n == 0 || r->room < offsetof(ink_restored, note_bytes)) return INK_OK;
    const char *list = (const char *)part_of(r, INKI_SAVED_PHRASES);
    return as_altered(r, inki_filter_read(&r->filter, &r->s->mem, list, n, r->error));
}

// Behind the past there are only pages of the session's own.
static bool needs_page(const restoring *r, uint32_t i) {
    return i < r->n_kept || r->s->kv.pages[i] == NULL;
}

static ink_status make_pages(restoring *r) {
    const inki_kv *kv = &r->s->kv;
    const uint32_t n = n_pages_of(r);
    if (n > 0 && (r->sums = inki_alloc(&r->s->mem, n, sizeof *r->sums)) == NULL)
        return inki_fail_nomem(r->error, n * sizeof *r->sums);
    r->n_kept = inki_kv_pages_for(r->s->n_past);
    for (uint32_t i = 0; i < n; i++) r->n_pages += needs_page(r, i);
    if (r->n_pages == 0) return INK_OK;
    r->table = inki_alloc(&r->s->mem, r->n_pages, sizeof *r->table);
    if (r->table == NULL) return inki_fail_nomem(r->error, r->n_pages * sizeof *r->table);
    return inki_kv_init(&r->pages, &kv->layout, r->table, (uint32_t)r->n_pages * INKI_TILE, true,
                        &r->s->mem, r->error);
}

static ink_status make_parts(restoring *r) {
    const ink_session *s = r->s;
    const size_t n_note = (size_t)r->head.note_bytes;
    ink_status status = INK_OK;
    if (n_note > 0 && (r->note = inki_alloc(&s->mem, n_note, 1)) == NULL)
        status = inki_fail_nomem(r->error, n_note);
    if (status == INK_OK) status = make_sampler(r);
    if (status == INK_OK) status = make_filter(r);
    // Last, since it stays with the session.
    return status == INK_OK && r->head.n_mu > 0 ? inki_session_need_mu(r->s, r->error) : status;
}

// Also after success: what was taken is NULL then.
static void drop_parts(restoring *r) {
    const inki_mem *mem = &r->s->mem;
    inki_release(mem, r->note, (size_t)r->head.note_bytes, 1);
    inki_kv_free(&r->pages);
    inki_release(mem, r->table, r->n_pages, sizeof *r->table);
    inki_release(mem, r->sums, n_pages_of(r), sizeof *r->sums);
    inki_release(mem, r->front, r->front_bytes, 1);
    ink_sampler_free(r->sampler);
    ink_filter_unref(r->filter);
    inki_input_close(&r->in);
}

// --- reading -------------------------------------------------------------------------------------

static uint8_t *page_room(const restoring *r, uint32_t i) {
    uint32_t at = 0;
    if (!needs_page(r, i)) return inki_kv_keys(&r->s->kv, i, 0, 0);
    for (uint32_t k = 0; k < i; k++) at += needs_page(r, k);
    return inki_kv_keys(&r->pages, at, 0, 0);
}

static ink_status read_page(const restoring *r, uint32_t i, ink_error *error) {
    const size_t page_bytes = r->s->kv.layout.page_bytes;
    const uint64_t at = r->parts.at[INKI_SAVED_PAGES] + (uint64_t)i * page_bytes;
    uint8_t *room = page_room(r, i);
    inki_os_touch(room, page_bytes);
    const ink_status status = inki_input_read(&r->in, at, room, page_bytes, error);
    if (status == INK_OK) r->sums[i] = inki_checksum_of(room, page_bytes);
    return status;
}

static void read_share(void *arg, uint32_t part, uint32_t n_parts) {
    restoring *r = arg;
    size_t begin, end;
    inki_pool_share(n_pages_of(r), 1, part, n_parts, &begin, &end);
    for (; begin < end; begin++)
        if (read_page(r, (uint32_t)begin, NULL) != INK_OK) atomic_store(&r->failed, true);
}

// A new session's pages are memory that was never touched: the system takes longer to give it than
// the reading takes, and threads share that.
static ink_status read_pages(restoring *r) {
    ink_session *s = r->s;
    const uint32_t n = n_pages_of(r), n_mu = s->n_mu;
    // Nothing more is known of what lies behind the past, and what others share of that is let go:
    // whether they still do may change at any time.
    inki_rewind_entered(s, s->n_past);
    inki_kv_rewind(&s->kv, s->n_past);
    s->n_mu = n_mu;
    ink_status status = make_pages(r);
    if (status != INK_OK) return status;
    inki_pool *pool = s->model->runtime->pool;
    const bool have_pool = inki_pool_enter(pool);
    inki_pool_run(have_pool ? pool : NULL, INKI_POOL_MAX, read_share, r);
    if (have_pool) inki_pool_leave(pool);
    // Why a thread could not is found here, where it can be told.
    for (uint32_t i = 0; i < n && status == INK_OK && r->failed; i++)
        status = read_page(r, i, r->error);
    return status;
}

static ink_status check_sum(restoring *r) {
    uint8_t tail[INKI_SAVED_ALIGN + sizeof(uint64_t)];
    const uint64_t at = r->parts.at[INKI_SAVED_PAGES] + r->parts.bytes[INKI_SAVED_PAGES];
    const size_t n_tail = (size_t)(r->parts.file_bytes - at), n_zeros = n_tail - sizeof(uint64_t);
    const ink_status status = inki_input_read(&r->in, at, tail, n_tail, r->error);
    if (status != INK_OK) return status;
    inki_checksum sum;
    inki_checksum_init(&sum);
    inki_checksum_add(&sum, r->front, r->front_bytes);
    inki_checksum_add(&sum, r->sums, n_pages_of(r) * sizeof *r->sums);
    inki_checksum_add(&sum, tail, n_zeros);
    if (inki_load_u64(tail + n_zeros) != inki_checksum_end(&sum))
        return refuse(r, INK_E_FORMAT, "is altered: its checksum is another");
    return INK_OK;
}

static ink_status read_file(restoring *r) {
    const size_t n_head = sizeof r->head;
    ink_status status = check_counts(r);
    if (status != INK_OK) return status;
    r->front_bytes = (size_t)r->parts.at[INKI_SAVED_PAGES];
    r->front = inki_alloc(&r->s->mem, r->front_bytes, 1);
    if (r->front == NULL) return inki_fail_nomem(r->error, r->front_bytes);
    memcpy(r->front, &r->head, n_head); // as it was looked at
    status = inki_input_read(&r->in, n_head, r->front + n_head, r->front_bytes - n_head, r->error);
    if (status == INK_OK) status = read_pages(r);
    if (status == INK_OK) status = check_sum(r);
    if (status == INK_OK && !numbers_are_sound(r))
        status = refuse(r, INK_E_FORMAT, "is altered: a token or number in it cannot be");
    return status;
}

// --- the change ----------------------------------------------------------------------------------

// What was the session's goes with what is dropped.
static void take_pages(restoring *r) {
    inki_kv *kv = &r->s->kv;
    const uint32_t n = n_pages_of(r);
    size_t next = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!needs_page(r, i)) continue;
        inki_kv_page *page = kv->pages[i];
        kv->pages[i] = r->table[next];
        r->table[next++] = page;
    }
}

static void take_row(ink_session *s, const void *from) {
    const size_t n_vocab = s->model->weights.n_vocab;
    const uint32_t slot = s->held != NULL ? s->n_past % s->options.n_held : 0;
    float *row = s->held != NULL ? s->held + slot * n_vocab : s->logits;
    memcpy(row, from, n_vocab * sizeof *row);
    if (s->held != NULL) s->held_at[slot] = s->n_past;
    s->row = row;
    s->n_rows = 1;
}

static void take_parts(restoring *r) {
    ink_session *s = r->s;
    const inki_saved_head *h = &r->head;
    inki_rewind_entered(s, 0);
    take_pages(r);
    memcpy(s->tokens, part_of(r, INKI_SAVED_TOKENS), (size_t)r->parts.bytes[INKI_SAVED_TOKENS]);
    s->n_past = s->n_cached = (uint32_t)h->n_past;
    if (h->n_rows > 0) take_row(s, part_of(r, INKI_SAVED_LOGITS));
    s->n_forgotten = h->n_forgotten;
    s->options.stream = h->stream;
    s->is_cut = h->is_cut != 0;
    s->n_pending = (uint32_t)h->n_pending;
    s->n_unsaid = (size_t)h->n_unsaid;
    s->n_series = h->n_series;
    s->n_mu = h->n_mu > 0 ? (uint32_t)h->n_mu - 1 : 0;
    if (h->n_mu > 0)
        memcpy(s->mu, part_of(r, INKI_SAVED_MU), (size_t)r->parts.bytes[INKI_SAVED_MU]);
    inki_release(&s->mem, s->note, s->note_bytes, 1);
    if (r->note != NULL) memcpy(r->note, part_of(r, INKI_SAVED_NOTE), (size_t)h->note_bytes);
    s->note = r->note;
    s->note_bytes = (size_t)h->note_bytes;
    r->note = NULL;
}

static ink_status open_saved(restoring *r, const ink_source *source) {
    static const char what[] = "ink_source";
    ink_source s = {.fd = -1};
    const char *why = NULL;
    ink_status status = inki_options_read(&s, sizeof s, source, what, r->error);
    if (status == INK_OK) status = inki_flags_check(s.flags, INK_SOURCE_COPY, what, r->error);
    if (status != INK_OK) return status;
    if (s.kind != INK_SOURCE_PATH && s.kind != INK_SOURCE_FD && s.kind != INK_SOURCE_MEMORY)
        why = "no session is built in: a path, descriptor or memory was expected";
    if (s.kind == INK_SOURCE_PATH && s.name == NULL) why = "a path source needs a name";
    if (s.kind == INK_SOURCE_MEMORY && (s.data == NULL || s.bytes == 0))
        why = "data is NULL or bytes is 0";
    if (why != NULL) return inki_fail(r->error, INK_E_ARG, what, 0, "%s", why);
    if (s.name != NULL) r->in.name = s.name;
    r->in.fd = -1;
    r->in.bytes = s.bytes;
    if (s.kind == INK_SOURCE_PATH) {
        r->in.path = s.name;
        r->in.bytes = 0;
        if (s.name[0] == 0)
            return inki_fail(r->error, INK_E_NOT_FOUND, NULL, 0,
                             "the path of the saved session is empty");
    } else if (s.kind == INK_SOURCE_FD) {
        r->in.fd = s.fd;
        r->in.offset = s.offset;
    } else {
        r->in.memory = s.data;
    }
    return inki_input_open(&r->in, r->error);
}

static ink_status restore_entered(restoring *r, const ink_source *source, ink_restored *restored) {
    ink_status status = open_saved(r, source);
    if (status == INK_OK) status = read_file(r);
    if (status == INK_OK) status = make_parts(r);
    if (status == INK_OK) take_parts(r);
    if (status == INK_OK && restored != NULL) {
        const ink_restored report = {.n_past = r->s->n_past,
                                     .sampler = r->sampler,
                                     .filter = r->filter,
                                     .note_bytes = (uint32_t)r->s->note_bytes,
                                     .note = r->s->note};
        inki_report_write(restored, &report, sizeof report);
        r->sampler = NULL;
        r->filter = NULL;
    }
    drop_parts(r);
    return status;
}

ink_status ink_session_restore(ink_session *session, const ink_source *source,
                               ink_restored *restored, ink_error *error) {
    if (source == NULL)
        return inki_fail(error, INK_E_ARG, "ink_session_restore", 0, "source is NULL");
    ink_status status = inki_session_enter(session, error);
    if (status != INK_OK) return status;
    inki_fp fp;
    inki_fp_ours(&fp);
    restoring r = {.s = session, .in.name = "the saved session", .in.fd = -1, .error = error};
    if (restored != NULL) r.room = restored->size != 0 ? restored->size : sizeof *restored;
    status = restore_entered(&r, source, restored);
    inki_fp_hosts(&fp);
    inki_session_leave(session);
    return status;
}
