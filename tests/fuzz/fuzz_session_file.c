// SPDX-License-Identifier: MIT
// Any bytes as a saved session: they are refused with a message and the session stays what it was,
// or the session is what the file says: it goes on, and saved again and restored it is the same.
// The first byte of the input says what is done: which of two good files it is about (bit 3),
// whether sizes and fingerprints (bit 1) and checksums (bit 0) are set right, so that what is
// behind them is reached; the rest is the file, or changes of the good one at places (2 bytes each)
// where bit 7 is set.
#include "base/checksum.h"
#include "engine/engine.h"
#include "saved_sum.h"
#include "tiny_model.h"

#include "fuzz.h"

#include <string.h>

enum { MEND_SUMS = 1, MEND_OWNER = 2, QUANTISED = 8, CHANGES = 128 };
// docs/FORMATS.md
enum { FILE_BYTES = 16, OWNER = 24, OWNER_BYTES = 64, HEAD_SUM = 248, HEAD_BYTES = 256 };

typedef struct bytes_of {
    uint8_t *data;
    size_t n;
} bytes_of;

static ink_model *model;
static ink_session *target[2];
static bytes_of good[2]; // of another past
static bytes_of home[2]; // what the target holds
static uint8_t *model_bytes;

static bytes_of saved_bytes(ink_session *s, const ink_save_options *options) {
    bytes_of b = {0};
    FUZZ_CHECK(ink_session_save_bytes(s, options, NULL, 0, &b.n, NULL) == INK_OK);
    b.data = malloc(b.n);
    FUZZ_CHECK(b.data != NULL);
    FUZZ_CHECK(ink_session_save_bytes(s, options, b.data, b.n, &b.n, NULL) == INK_OK);
    return b;
}

static ink_status restore_bytes(ink_session *s, const bytes_of *b, ink_restored *restored,
                                ink_error *error) {
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = b->data, .bytes = b->n};
    return ink_session_restore(s, &source, restored, error);
}

static ink_session *session_with(uint32_t kv_type, uint32_t n_past) {
    ink_session_options options;
    ink_session *s = NULL;
    ink_token ids[80];
    ink_session_options_init(&options, sizeof options);
    options.kv_type = kv_type;
    FUZZ_CHECK(ink_session_new(&s, model, &options, NULL) == INK_OK);
    for (uint32_t i = 0; i < n_past; i++) ids[i] = (ink_token)(i * 7 % 256);
    const ink_span span = {.session = s, .tokens = ids, .n_tokens = n_past};
    FUZZ_CHECK(ink_eval(&span, 1, NULL) == INK_OK);
    return s;
}

static void make_good(int i, uint32_t kv_type, uint32_t n_past) {
    static const char *const phrases[] = {"word", "two words"};
    ink_session *s = session_with(kv_type, n_past);
    ink_filter *filter = NULL;
    ink_sampler *sampler = NULL;
    ink_sampler_options o;
    ink_save_options save;
    ink_sampler_options_init(&o, sizeof o);
    ink_save_options_init(&save, sizeof save);
    o.seed_set = 1;
    FUZZ_CHECK(ink_sampler_new(&sampler, model, "top_k=9;temp=2", &o, NULL) == INK_OK);
    FUZZ_CHECK(ink_filter_new(&filter, NULL, phrases, 2, NULL) == INK_OK);
    s->is_cut = true;
    s->n_pending = 1;
    s->tokens[n_past] = 3;
    s->n_unsaid = 1;
    s->n_series = 2;
    FUZZ_CHECK(inki_session_need_mu(s, NULL) == INK_OK);
    for (s->n_mu = 0; s->n_mu < 4; s->mu[++s->n_mu] = 5) {}
    save.sampler = sampler;
    save.filter = filter;
    save.note = "a note";
    save.note_bytes = 6;
    good[i] = saved_bytes(s, &save);
    target[i] = session_with(kv_type, 10);
    home[i] = saved_bytes(target[i], NULL);
    ink_sampler_free(sampler);
    ink_filter_unref(filter);
    ink_session_free(s);
}

static void free_all(void) {
    for (int i = 0; i < 2; i++) {
        ink_session_free(target[i]);
        free(good[i].data);
        free(home[i].data);
    }
    ink_model_unref(model);
    free(model_bytes);
}

static void prepare(void) {
    tiny_model tiny = tiny_model_defaults();
    tiny.n_embd = 4;
    tiny.n_head = 2;
    tiny.n_ff = 4;
    tiny.n_layer = 1;
    tiny.n_ctx = 72;
    tiny.n_vocab = 260;
    size_t n = 0;
    model_bytes = tiny_model_bytes(&tiny, &n);
    FUZZ_CHECK(model_bytes != NULL);
    ink_runtime *runtime = NULL;
    ink_runtime_options options;
    ink_runtime_options_init(&options, sizeof options);
    options.n_threads = 1;
    FUZZ_CHECK(ink_runtime_new(&runtime, &options, NULL) == INK_OK);
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = model_bytes, .bytes = n};
    FUZZ_CHECK(ink_model_open(&model, runtime, &source, NULL, NULL) == INK_OK);
    ink_runtime_unref(runtime);
    make_good(0, INK_KV_F16, 9);
    make_good(1, INK_KV_Q8_0, 66);
    atexit(free_all);
}

static void put_number(uint8_t *to, uint64_t value) {
    for (int i = 0; i < 8; i++) to[i] = (uint8_t)(value >> 8 * i);
}

// The input's file, of exactly its bytes on the heap.
static bytes_of make_file(const uint8_t *data, size_t size, unsigned how, const bytes_of *from) {
    const bool changed = (how & CHANGES) != 0;
    bytes_of b = {.n = changed ? from->n : size};
    b.data = malloc(b.n > 0 ? b.n : 1);
    FUZZ_CHECK(b.data != NULL);
    if (b.n > 0) memcpy(b.data, changed ? from->data : data, b.n);
    for (size_t i = 0; changed && i + 3 <= size; i += 3)
        b.data[(data[i] | (size_t)data[i + 1] << 8) % b.n] = data[i + 2];
    if (b.n < HEAD_BYTES + 8) return b;
    if ((how & MEND_OWNER) != 0) {
        memcpy(b.data, from->data, FILE_BYTES);
        put_number(b.data + FILE_BYTES, b.n);
        memcpy(b.data + OWNER, from->data + OWNER, OWNER_BYTES);
    }
    if ((how & MEND_SUMS) == 0) return b;
    put_number(b.data + HEAD_SUM, inki_checksum_of(b.data, HEAD_SUM));
    put_number(b.data + b.n - 8, saved_sum(b.data, b.n));
    return b;
}

static int ignore(void *user, const ink_piece *piece) {
    (void)user;
    return piece->bytes == 0;
}

// What was restored can be gone on with, whatever its numbers are.
static void go_on(ink_session *s, const ink_restored *restored) {
    ink_save_options save;
    ink_save_options_init(&save, sizeof save);
    save.sampler = restored->sampler;
    save.filter = restored->filter;
    save.note = restored->note;
    save.note_bytes = restored->note_bytes;
    const bytes_of once = saved_bytes(s, &save);
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.n_tokens = 3;
    o.sampler = restored->sampler;
    o.filter = restored->filter;
    o.overflow = INK_OVERFLOW_SLIDE;
    o.flags = INK_GENERATE_CONTINUE;
    const ink_status status = ink_session_generate(s, "", 0, &o, ignore, NULL, NULL, NULL);
    FUZZ_CHECK(status == INK_OK || status == INK_E_NUMERIC || status == INK_E_FILTERED);
    FUZZ_CHECK(restore_bytes(s, &once, NULL, NULL) == INK_OK);
    FUZZ_CHECK(ink_session_n_past(s) == restored->n_past);
    save.note = s->note;
    const bytes_of twice = saved_bytes(s, &save);
    FUZZ_CHECK(once.n == twice.n && memcmp(once.data, twice.data, once.n) == 0);
    free(once.data);
    free(twice.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (model == NULL) prepare();
    if (bytes == 0) return 0;
    const int which = (data[0] & QUANTISED) != 0;
    ink_session *s = target[which];
    const bytes_of file = make_file(data + 1, bytes - 1, data[0], &good[which]);
    ink_error error = {0};
    ink_restored restored = {.size = sizeof restored};
    const ink_status status = restore_bytes(s, &file, &restored, &error);
    FUZZ_CHECK((status == INK_OK) == (error.message[0] == 0) && error.status == (int32_t)status);
    if (status == INK_OK) {
        go_on(s, &restored);
        ink_sampler_free(restored.sampler);
        ink_filter_unref(restored.filter);
        FUZZ_CHECK(restore_bytes(s, &home[which], NULL, NULL) == INK_OK);
    } else {
        FUZZ_CHECK(restored.sampler == NULL && restored.filter == NULL);
    }
    const bytes_of now = saved_bytes(s, NULL);
    FUZZ_CHECK(now.n == home[which].n && memcmp(now.data, home[which].data, now.n) == 0);
    free(now.data);
    free(file.data);
    return 0;
}
