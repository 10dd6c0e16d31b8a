// SPDX-License-Identifier: MIT
// Any bytes as the state of an adapter that learns, behind checksums that hold: it is refused with
// a message and left alone, or learning goes on from it and what it saves is opened again. The
// first byte of the input says whether the rest is changes of a good state at places (2 bytes each)
// or the settings themselves, texts included.
#include "tests/train/checkpoint_fixture.h"
#include "tiny_model.h"
#include "train/adapt_parts.h"
#include "base/checksum.h"

#include "fuzz.h"

#include <unistd.h>

const size_t fuzz_quick_runs = 1500;

enum { CHANGES = 128 };

static ink_model *model;
static ink_runtime *runtime;
static uint8_t *model_bytes, *good;
static size_t n_good;
static char name[300];

static uint8_t *load_file(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    FUZZ_CHECK(f != NULL);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(*n + 1);
    FUZZ_CHECK(data != NULL && fread(data, 1, *n, f) == *n);
    fclose(f);
    return data;
}

static void remove_files(void) {
    unlink(name);
    free(good);
    ink_model_unref(model);
    ink_runtime_unref(runtime);
    free(model_bytes);
}

static void open_model(void) {
    const tiny_model tiny = {.n_embd = 8,
                             .n_head = 2,
                             .n_layer = 1,
                             .n_ctx = 12,
                             .n_ff = 8,
                             .n_vocab = 260,
                             .tied = true,
                             .seed = 1};
    size_t n = 0;
    ink_runtime_options options;
    ink_runtime_options_init(&options, sizeof options);
    options.n_threads = 1;
    model_bytes = tiny_model_bytes(&tiny, &n);
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = model_bytes, .bytes = n};
    FUZZ_CHECK(ink_runtime_new(&runtime, &options, NULL) == INK_OK);
    FUZZ_CHECK(ink_model_open(&model, runtime, &source, NULL, NULL) == INK_OK);
}

static void prepare(void) {
    static const char words[] = "some text of which there is enough to learn from it";
    const char *tmp = getenv("TMPDIR");
    // Each state that is saved is flushed to its disk.
    if (tmp == NULL) tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(name, sizeof name, "%s/inkling-fuzz-XXXXXX", tmp);
    const int fd = mkstemp(name);
    FUZZ_CHECK(fd >= 0 && close(fd) == 0 && unlink(name) == 0);
    open_model();
    ink_adapt_options options;
    ink_adapt_options_init(&options, sizeof options);
    options.rank = 1;
    options.n_ctx = 8;
    options.n_batch = 1;
    ink_adapt *a = NULL;
    FUZZ_CHECK(ink_adapt_open(&a, model, name, &options, NULL) == INK_OK);
    FUZZ_CHECK(ink_adapt_add_text(a, words, sizeof words - 1, NULL) == INK_OK);
    ink_adapt_report report = {.size = sizeof report};
    while (report.n_steps < 3) FUZZ_CHECK(ink_adapt_run(a, 0, &report, NULL) == INK_OK);
    FUZZ_CHECK(ink_adapt_save(a, NULL) == INK_OK);
    ink_adapt_free(a);
    good = load_file(name, &n_good);
    atexit(remove_files);
}

static void mend(uint8_t *file, size_t n, size_t n_config) {
    ck_put(file, CK_FIELDS_AT + 8 * CK_FILE_BYTES, n, 8);
    ck_put(file, CK_FIELDS_AT + 8 * CK_CONFIG_BYTES, n_config, 8);
    ck_put(file, CK_FIELDS_AT + 8 * CK_CONFIG_SUM, inki_checksum_of(file + CK_CONFIG_AT, n_config),
           8);
    ck_put(file, CK_HEAD_SUM_AT, inki_checksum_of(file, CK_HEAD_SUM_AT), 8);
    ck_put(file, n - 8, inki_checksum_of(file, n - 8), 8);
}

// The good state with changes, or with other settings in it.
static uint8_t *make_file(const uint8_t *data, size_t size, bool changed, size_t *n) {
    const size_t n_old = (size_t)ck_get(good, CK_FIELDS_AT + 8 * CK_CONFIG_BYTES);
    const size_t n_config = changed ? n_old : size;
    const size_t old_end = CK_CONFIG_AT + (n_old + 7) / 8 * 8, n_rest = n_good - old_end;
    const size_t end = CK_CONFIG_AT + (n_config + 7) / 8 * 8;
    *n = end + n_rest;
    uint8_t *file = calloc(*n + 1, 1);
    FUZZ_CHECK(file != NULL);
    memcpy(file, good, CK_CONFIG_AT);
    if (n_config > 0) memcpy(file + CK_CONFIG_AT, changed ? good + CK_CONFIG_AT : data, n_config);
    memcpy(file + end, good + old_end, n_rest);
    for (size_t i = 0; changed && i + 3 <= size; i += 3)
        file[(data[i] | (size_t)data[i + 1] << 8) % *n] = data[i + 2];
    mend(file, *n, n_config);
    return file;
}

static void go_on(ink_adapt *a) {
    ink_error error = {0};
    for (int i = 0; i < 12; i++) {
        const ink_status status = ink_adapt_run(a, 0, NULL, &error);
        FUZZ_CHECK(status == INK_OK || status == INK_E_NUMERIC ||
                   (status == INK_E_ARG && a->learn.n < 32));
    }
    FUZZ_CHECK(ink_adapt_add_text(a, "more", 4, NULL) == INK_OK);
    FUZZ_CHECK(ink_adapt_save(a, &error) == INK_OK);
    FUZZ_CHECK(inki_trainer_is_sound(a->trainer));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (good == NULL) prepare();
    if (bytes == 0) return 0;
    size_t n, n_after;
    uint8_t *file = make_file(data + 1, bytes - 1, (data[0] & CHANGES) != 0, &n);
    FILE *f = fopen(name, "wb");
    FUZZ_CHECK(f != NULL && fwrite(file, 1, n, f) == n && fclose(f) == 0);

    ink_error error = {0};
    ink_adapt *a = NULL;
    const ink_status status = ink_adapt_open(&a, model, name, NULL, &error);
    FUZZ_CHECK((status == INK_OK) == (error.message[0] == 0) && error.status == (int32_t)status);
    FUZZ_CHECK((status == INK_OK) == (a != NULL));
    uint8_t *after = load_file(name, &n_after);
    FUZZ_CHECK(n_after == n && memcmp(after, file, n) == 0);
    if (status == INK_OK) {
        go_on(a);
        ink_adapt_free(a);
        a = NULL;
        FUZZ_CHECK(ink_adapt_open(&a, model, name, NULL, NULL) == INK_OK);
        ink_adapt_free(a);
    }
    free(after);
    free(file);
    return 0;
}
