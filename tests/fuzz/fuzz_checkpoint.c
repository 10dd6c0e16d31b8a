// SPDX-License-Identifier: MIT
// Any bytes as a checkpoint: they are refused with a message and the run stays what it was, or the
// run is what the file says, and saved again it is the same file. The first byte of the input says
// whether checksums and sizes are set right, so that what is behind them is reached; the rest is
// the file, changes of a good one at places (2 bytes each) where that byte's top bit is set.
#include "tests/train/checkpoint_fixture.h"
#include "base/checksum.h"

#include "fuzz.h"

#include <unistd.h>

const size_t fuzz_quick_runs = 4000;

enum { MEND_SUMS = 1, MEND_SIZES = 2, CHANGES = 128 };

static data_fixture fixture;
static run target;
static char name[300], other_name[310];
static uint8_t *good; // a checkpoint of the run
static size_t n_good;
static uint8_t *first_state;

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
    unlink(other_name);
    free(good);
    free(first_state);
    run_close(&target);
    data_fixture_free(&fixture);
}

static void prepare(void) {
    run_options options = run_defaults();
    const char *tmp = getenv("TMPDIR");
    // Each file that is read again was flushed to its disk.
    if (tmp == NULL) tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    data_fixture_init(&fixture, 0, 1);
    options.shape.n_embd = 2;
    options.shape.n_ff = 2;
    run_open(&target, &fixture, &options);
    snprintf(name, sizeof name, "%s/inkling-fuzz-XXXXXX", tmp);
    const int fd = mkstemp(name);
    FUZZ_CHECK(fd >= 0 && close(fd) == 0);
    snprintf(other_name, sizeof other_name, "%s.saved", name);
    FUZZ_CHECK(inki_checkpoint_save(target.trainer, name, (inki_str){"batch=3", 7}, NULL) ==
               INK_OK);
    good = load_file(name, &n_good);
    first_state = run_state(&target);
    atexit(remove_files);
}

// The input's file, with one byte of room behind it.
static uint8_t *make_file(const uint8_t *data, size_t size, unsigned how, size_t *n) {
    const bool changed = (how & CHANGES) != 0;
    *n = changed ? n_good : size;
    uint8_t *file = malloc(*n + 1);
    FUZZ_CHECK(file != NULL);
    if (*n > 0) memcpy(file, changed ? good : data, *n);
    for (size_t i = 0; changed && i + 3 <= size; i += 3)
        file[(data[i] | (size_t)data[i + 1] << 8) % *n] = data[i + 2];
    if (*n < CK_CONFIG_AT + 8) return file;
    if ((how & MEND_SIZES) != 0) ck_put(file, CK_FIELDS_AT + 8 * CK_FILE_BYTES, *n, 8);
    if ((how & MEND_SUMS) == 0) return file;
    const uint64_t config = ck_get(file, CK_FIELDS_AT + 8 * CK_CONFIG_BYTES);
    if (config <= *n - CK_CONFIG_AT)
        ck_put(file, CK_FIELDS_AT + 8 * CK_CONFIG_SUM,
               inki_checksum_of(file + CK_CONFIG_AT, (size_t)config), 8);
    ck_put(file, CK_HEAD_SUM_AT, inki_checksum_of(file, CK_HEAD_SUM_AT), 8);
    ck_put(file, *n - 8, inki_checksum_of(file, *n - 8), 8);
    return file;
}

// What was read is what is written, and the state is that of the file.
static void check_loaded(const uint8_t *file, size_t n, inki_str config) {
    size_t n_saved;
    FUZZ_CHECK(inki_checkpoint_save(target.trainer, other_name, config, NULL) == INK_OK);
    uint8_t *saved = load_file(other_name, &n_saved), *state = run_state(&target);
    FUZZ_CHECK(n_saved == n);
    const size_t n_values = target.trainer->n_values, at = n - 8 - 16 * n_values;
    FUZZ_CHECK(memcmp(saved + at, file + at, 16 * n_values) == 0);
    FUZZ_CHECK(memcmp(state, file + at, 16 * n_values) == 0);
    free(saved);
    free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    const inki_mem mem = inki_mem_from(NULL);
    if (good == NULL) prepare();
    if (bytes == 0) return 0;
    size_t n;
    uint8_t *file = make_file(data + 1, bytes - 1, data[0], &n);
    FILE *f = fopen(name, "wb");
    FUZZ_CHECK(f != NULL && fwrite(file, 1, n, f) == n && fclose(f) == 0);

    ink_error error = {0};
    inki_str config = {0};
    const ink_status read = inki_checkpoint_config(name, &config, &mem, &error);
    FUZZ_CHECK((read == INK_OK) == (error.message[0] == 0) && error.status == (int32_t)read);
    FUZZ_CHECK((read == INK_OK) == (config.data != NULL));
    FUZZ_CHECK(read != INK_OK || (config.bytes <= n && config.data[config.bytes] == 0));
    error = (ink_error){0};
    const ink_status status = inki_checkpoint_load(target.trainer, name, &error);
    FUZZ_CHECK((status == INK_OK) == (error.message[0] == 0) && error.status == (int32_t)status);
    if (status == INK_OK) {
        FUZZ_CHECK(read == INK_OK);
        check_loaded(file, n, config);
        f = fopen(name, "wb");
        FUZZ_CHECK(f != NULL && fwrite(good, 1, n_good, f) == n_good && fclose(f) == 0);
        FUZZ_CHECK(inki_checkpoint_load(target.trainer, name, NULL) == INK_OK);
    }
    uint8_t *state = run_state(&target);
    FUZZ_CHECK(memcmp(state, first_state, run_state_bytes(&target)) == 0);
    free(state);
    if (config.data != NULL) inki_release(&mem, (char *)config.data, config.bytes + 1, 1);
    free(file);
    return 0;
}
