// SPDX-License-Identifier: MIT
// Checkpoints: the same bits come back; damage, other runs and full disks are told and change
// nothing.
#include "train/trainer.h"

#include "heap.h"
#include "tests/train/checkpoint_fixture.h"
#include "tiny_model.h"
#include "base/checksum.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static data_fixture fixture;
static char root[200];

static const char *path_in(const char *name) {
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static size_t count_files(void) {
    size_t n = 0;
    DIR *dir = opendir(root);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.' || e->d_name[1] > '.';
    closedir(dir);
    return n;
}

static inki_str str(const char *s) { return (inki_str){s, strlen(s)}; }

static uint8_t *read_all(const char *name, size_t *n) {
    FILE *f = fopen(path_in(name), "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(*n + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *n, f), *n);
    fclose(f);
    return data;
}

static void write_all(const char *name, const uint8_t *data, size_t n) {
    FILE *f = fopen(path_in(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void check_config(const char *name, inki_str expected) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_str config = {0};
    assert_int_equal(inki_checkpoint_config(path_in(name), &config, &mem, NULL), INK_OK);
    assert_int_equal(config.bytes, expected.bytes);
    assert_memory_equal(config.data, expected.data, expected.bytes);
    assert_int_equal(config.data[config.bytes], 0);
    inki_release(&mem, (char *)config.data, config.bytes + 1, 1);
}

// load must fail and leave the run as it is, with a message of one line that has `word`.
static ink_status refused(run *r, const char *name, const char *word) {
    ink_error error = {0};
    uint8_t *before = run_state(r);
    const ink_status status = inki_checkpoint_load(r->trainer, path_in(name), &error);
    uint8_t *after = run_state(r);
    assert_int_not_equal(status, INK_OK);
    assert_int_equal(error.status, status);
    assert_true(strlen(error.message) > 10);
    assert_null(strchr(error.message, '\n'));
    if (word != NULL && strstr(error.message, word) == NULL)
        fail_msg("\"%s\" has no \"%s\"", error.message, word);
    assert_memory_equal(before, after, run_state_bytes(r));
    free(before);
    free(after);
    return status;
}

static void test_same_bits(void **state) {
    (void)state;
    const run_options options = run_defaults();
    run from, to;
    run_open(&from, &fixture, &options);
    run_open(&to, &fixture, &options);
    for (uint32_t i = 0; i < 10; i++) {
        const char settings[] = "steps=5\nx\0y\xff";
        const inki_str config = {i > 0 ? settings : NULL, i};
        run_scramble(&from, 77 + i);
        run_scramble(&to, 177 + i);
        assert_int_equal(inki_checkpoint_save(from.trainer, path_in("a"), config, NULL), INK_OK);
        assert_int_equal(count_files(), 1);
        assert_int_equal(inki_checkpoint_load(to.trainer, path_in("a"), NULL), INK_OK);
        uint8_t *a = run_state(&from), *b = run_state(&to);
        assert_memory_equal(a, b, run_state_bytes(&from));
        check_config("a", config);
        // And by another reader than ours.
        size_t n;
        uint8_t *file = read_all("a", &n);
        const size_t at = CK_CONFIG_AT + (i + 7) / 8 * 8, n_values = from.trainer->n_values;
        assert_memory_equal(file, "INKTRAIN\1\0\0\0", 12);
        assert_int_equal(n, at + 16 * n_values + 8);
        assert_int_equal(ck_get(file, CK_FIELDS_AT + 8 * CK_FILE_BYTES), n);
        assert_int_equal(ck_get(file, CK_FIELDS_AT + 8 * CK_N_VALUES), n_values);
        assert_int_equal(ck_get(file, CK_FIELDS_AT + 8 * CK_N_DONE), 7);
        assert_memory_equal(file + at, a, 16 * n_values);
        assert_true(ck_get(file, n - 8) == inki_checksum_of(file, n - 8));
        free(file);
        free(a);
        free(b);
    }
    run_close(&from);
    run_close(&to);
    unlink(path_in("a"));
}

static void steps(run *r, int n) {
    inki_train_report report;
    bool more;
    for (int i = 0; i < n; i++)
        assert_int_equal(inki_trainer_step(r->trainer, &report, &more, NULL), INK_OK);
}

// A run that was stopped at any step ends as one that was not.
static void test_going_on(void **state) {
    (void)state;
    const run_options options = run_defaults();
    run whole;
    run_open(&whole, &fixture, &options);
    steps(&whole, 12);
    uint8_t *expected = run_state(&whole);
    for (int stop = 0; stop <= 12; stop += 3) {
        run first, second;
        run_open(&first, &fixture, &options);
        steps(&first, stop);
        assert_int_equal(inki_checkpoint_save(first.trainer, path_in("a"), str("s"), NULL), INK_OK);
        run_close(&first);
        run_open(&second, &fixture, &options);
        steps(&second, 1); // what was there does not count
        assert_int_equal(inki_checkpoint_load(second.trainer, path_in("a"), NULL), INK_OK);
        assert_int_equal(inki_trainer_n_done(second.trainer), stop);
        steps(&second, 12 - stop);
        uint8_t *got = run_state(&second);
        assert_memory_equal(got, expected, run_state_bytes(&whole));
        free(got);
        run_close(&second);
    }
    free(expected);
    run_close(&whole);
    unlink(path_in("a"));
}

static void test_cut(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    const run_options options = run_defaults();
    run r;
    run_open(&r, &fixture, &options);
    assert_int_equal(inki_checkpoint_save(r.trainer, path_in("a"), str("batch=3"), NULL), INK_OK);
    size_t n;
    uint8_t *file = read_all("a", &n);
    run_scramble(&r, 9);
    for (size_t cut = 0; cut < n; cut += cut < 300 || cut + 40 > n ? 1 : 397) {
        inki_str config = {0};
        ink_error error = {0};
        write_all("b", file, cut);
        const ink_status status = refused(&r, "b", cut == 0 ? "empty" : NULL);
        assert_int_equal(status, cut == 0 ? INK_E_IO : INK_E_FORMAT);
        assert_int_equal(inki_checkpoint_config(path_in("b"), &config, &mem, &error), status);
        assert_null(config.data);
        assert_true(error.message[0] != 0);
    }
    file[n] = 0;
    write_all("b", file, n + 1);
    assert_int_equal(refused(&r, "b", "it should have"), INK_E_FORMAT);
    write_all("b", file, n);
    assert_int_equal(inki_checkpoint_load(r.trainer, path_in("b"), NULL), INK_OK);
    free(file);
    run_close(&r);
    unlink(path_in("a"));
    unlink(path_in("b"));
}

static void test_altered(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    const run_options options = run_defaults();
    const bool all = getenv("INKLING_TEST_LONG") != NULL;
    run r;
    run_open(&r, &fixture, &options);
    assert_int_equal(inki_checkpoint_save(r.trainer, path_in("a"), str("batch=3"), NULL), INK_OK);
    size_t n;
    uint8_t *file = read_all("a", &n);
    run_scramble(&r, 9);
    const size_t step = all ? 1 : 211;
    if (!all) printf("left out: all bytes of the weights (INKLING_TEST_LONG)\n");
    for (size_t at = 0; at < n; at += at < 300 || at + 20 > n ? 1 : step) {
        file[at] ^= (uint8_t)(1u << (at % 8));
        write_all("b", file, n);
        assert_int_equal(refused(&r, "b", NULL), INK_E_FORMAT);
        inki_str config = {0};
        if (at < CK_CONFIG_AT + 7) {
            assert_int_equal(inki_checkpoint_config(path_in("b"), &config, &mem, NULL),
                             INK_E_FORMAT);
            assert_null(config.data);
        }
        file[at] ^= (uint8_t)(1u << (at % 8));
    }
    free(file);
    run_close(&r);
    unlink(path_in("a"));
    unlink(path_in("b"));
}

// Files made to deceive: their checksums are right. Sizes that cannot be are seen before memory is
// asked for.
static void test_forged(void **state) {
    (void)state;
    static const uint64_t sizes[] = {0,
                                     1,
                                     7,
                                     8,
                                     0xffffffff,
                                     0x100000000,
                                     INT64_MAX,
                                     (uint64_t)1 << 62,
                                     UINT64_MAX,
                                     UINT64_MAX - 7,
                                     UINT64_MAX - 231};
    const run_options options = run_defaults();
    run r;
    run_open(&r, &fixture, &options);
    assert_int_equal(inki_checkpoint_save(r.trainer, path_in("a"), str("batch=3"), NULL), INK_OK);
    size_t n;
    uint8_t *file = read_all("a", &n), *forged = malloc(n);
    assert_non_null(forged);
    run_scramble(&r, 9);
    for (size_t field = 0; field < CK_N_DONE; field++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            memcpy(forged, file, n);
            const size_t at = CK_FIELDS_AT + 8 * field;
            if (ck_get(file, at) == sizes[i]) continue;
            ck_put(forged, at, sizes[i], 8);
            ck_put(forged, CK_HEAD_SUM_AT, inki_checksum_of(forged, CK_HEAD_SUM_AT), 8);
            ck_put(forged, n - 8, inki_checksum_of(forged, n - 8), 8);
            write_all("b", forged, n);
            const ink_status status = refused(&r, "b", NULL);
            assert_int_equal(status, field <= CK_N_VALUES ? INK_E_FORMAT : INK_E_ARG);
            heap h = {0};
            const ink_allocator allocator = heap_allocator(&h);
            const inki_mem mem = inki_mem_from(&allocator);
            inki_str config = {0};
            if (field <= CK_N_VALUES)
                assert_int_equal(inki_checkpoint_config(path_in("b"), &config, &mem, NULL),
                                 INK_E_FORMAT);
            assert_int_equal(h.n_allocs, 0);
        }
    // More steps than the run is to have would be a position that no run ever reaches.
    memcpy(forged, file, n);
    ck_put(forged, CK_FIELDS_AT + 8 * CK_N_DONE, 13, 8);
    ck_put(forged, CK_HEAD_SUM_AT, inki_checksum_of(forged, CK_HEAD_SUM_AT), 8);
    ck_put(forged, n - 8, inki_checksum_of(forged, n - 8), 8);
    write_all("b", forged, n);
    assert_int_equal(refused(&r, "b", "13 steps"), INK_E_ARG);
    free(forged);
    free(file);
    run_close(&r);
    unlink(path_in("a"));
    unlink(path_in("b"));
}

static void test_no_checkpoint(void **state) {
    (void)state;
    const run_options options = run_defaults();
    const inki_mem mem = inki_mem_from(NULL);
    inki_str config = {0};
    run r;
    run_open(&r, &fixture, &options);
    assert_int_equal(refused(&r, "nowhere", "cannot be opened"), INK_E_NOT_FOUND);
    assert_int_equal(inki_checkpoint_config(path_in("nowhere"), &config, &mem, NULL),
                     INK_E_NOT_FOUND);
    assert_int_equal(refused(&r, ".", "directory"), INK_E_IO);
    write_all("b", (const uint8_t *)"GGUF and so on, of another kind", 31);
    assert_int_equal(refused(&r, "b", "no checkpoint"), INK_E_FORMAT);
    assert_int_equal(inki_checkpoint_save(r.trainer, path_in("b"), str("x"), NULL), INK_OK);
    size_t n;
    uint8_t *file = read_all("b", &n);
    file[CK_VERSION_AT] = 2;
    ck_put(file, CK_HEAD_SUM_AT, inki_checksum_of(file, CK_HEAD_SUM_AT), 8);
    write_all("b", file, n);
    assert_int_equal(refused(&r, "b", "version 2"), INK_E_FORMAT);
    free(file);
    run_close(&r);
    unlink(path_in("b"));
}

static void check_other(const run_options *options, const char *word) {
    run r;
    run_open(&r, &fixture, options);
    assert_int_equal(refused(&r, "a", word), INK_E_ARG);
    run_close(&r);
}

#define OTHER(change, word)                                                                        \
    do {                                                                                           \
        run_options other_options = options;                                                       \
        other_options.change;                                                                      \
        check_other(&other_options, word);                                                         \
    } while (0)

static void test_other_runs(void **state) {
    (void)state;
    const run_options options = run_defaults();
    run r;
    run_open(&r, &fixture, &options);
    steps(&r, 5);
    assert_int_equal(inki_checkpoint_save(r.trainer, path_in("a"), str("x"), NULL), INK_OK);
    OTHER(shape.n_layer = 2, "it has 1 layers, this run has 2");
    OTHER(shape.n_embd = 8, "embedding");
    OTHER(shape.n_head = 1, "heads");
    OTHER(shape.n_ff = 16, "feed-forward");
    OTHER(shape.n_vocab += 1, "vocabulary");
    OTHER(shape.n_ctx = 16, "context");
    OTHER(shape.norm_eps = 1e-6f, "parameters");
    OTHER(data.n_ctx = 4, "tokens in a sequence");
    OTHER(settings.batch = 4, "sequences in a step");
    OTHER(settings.seed = 4, "seed");
    OTHER(settings.n_steps = 4, "5 steps");
    OTHER(data.seed = 6, "seed");
    OTHER(data.blank_lines = 0.4, "blank lines");
    OTHER(data.held_out = 0.3, "held-out");
    OTHER(more_text = "\nZz", "text");
    // What may be another: how the rest of the run is done.
    run_options o = options;
    o.settings.n_steps = 100;
    o.settings.rate = 0.5f;
    o.settings.validate_every = 1;
    o.dropout = 0;
    run other;
    run_open(&other, &fixture, &o);
    assert_int_equal(inki_checkpoint_load(other.trainer, path_in("a"), NULL), INK_OK);
    run_close(&other);
    run_close(&r);
    unlink(path_in("a"));
}

// Adapters belong to the model beside which they were learnt.
static void test_other_base(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    inki_kernels kernels;
    inki_gguf gguf[2];
    inki_weights weights[2];
    uint8_t *files[2];
    inki_kernels_init(&kernels, inki_level_mask(INKI_LEVEL_PORTABLE));
    for (int i = 0; i < 2; i++) {
        tiny_model model = tiny_model_defaults();
        size_t n;
        model.n_vocab = 256 + N_PAIRS + 1;
        model.seed = 1 + (uint64_t)i;
        assert_non_null(files[i] = tiny_model_bytes(&model, &n));
        assert_int_equal(inki_gguf_open(&gguf[i], files[i], n, &mem, NULL), INK_OK);
        assert_int_equal(inki_weights_open(&weights[i], &gguf[i], &kernels, &mem, NULL), INK_OK);
    }
    run_options options = run_defaults();
    const inki_weights *w = &weights[0];
    options.shape = (inki_net_shape){w->n_vocab, w->n_ctx, w->n_embd,  w->n_layer,
                                     w->n_head,  w->n_ff,  w->norm_eps};
    options.base = w;
    options.lora_rank = 2;
    run r;
    run_open(&r, &fixture, &options);
    steps(&r, 1);
    uint8_t *expected = run_state(&r);
    assert_int_equal(inki_checkpoint_save(r.trainer, path_in("a"), str("x"), NULL), INK_OK);
    steps(&r, 1);
    assert_int_equal(inki_checkpoint_load(r.trainer, path_in("a"), NULL), INK_OK);
    uint8_t *got = run_state(&r);
    assert_memory_equal(got, expected, run_state_bytes(&r));
    free(expected);
    free(got);
    run_close(&r);
    OTHER(base = &weights[1], "another model");
    OTHER(lora_rank = 3, "rank");
    OTHER(lora_alpha = 9, "parameters");
    for (int i = 0; i < 2; i++) {
        inki_weights_close(&weights[i]);
        inki_gguf_close(&gguf[i]);
        free(files[i]);
    }
    unlink(path_in("a"));
}

// Whatever is the matter with the new one, the old one is still there and nothing else is.
static void test_full_disk(void **state) {
    (void)state;
    run_options options = run_defaults();
    run r;
    ink_error error = {0};
    run_open(&r, &fixture, &options);
    assert_int_equal(inki_checkpoint_save(r.trainer, path_in("a"), str("old"), NULL), INK_OK);
    size_t n, n_after;
    uint8_t *file = read_all("a", &n);
    steps(&r, 2);
    if (access("/dev/full", W_OK) == 0) {
        assert_int_equal(inki_checkpoint_save(r.trainer, "/dev/full", str("new"), &error),
                         INK_E_IO);
        assert_non_null(strstr(error.message, "o space left"));
    }
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    const size_t limits[] = {0, 1, 100, CK_CONFIG_AT, CK_CONFIG_AT + 5, 10000, n / 2, n - 8, n - 1};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        small = before;
        small.rlim_cur = limits[i];
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        const ink_status status = inki_checkpoint_save(r.trainer, path_in("a"), str("new"), &error);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, INK_E_IO);
        assert_non_null(strstr(error.message, "cannot be written"));
        assert_int_equal(count_files(), 1);
        uint8_t *after = read_all("a", &n_after);
        assert_int_equal(n_after, n);
        assert_memory_equal(after, file, n);
        free(after);
    }
    signal(SIGXFSZ, handler);
    assert_int_equal(inki_checkpoint_save(r.trainer, path_in("no/a"), str("new"), &error),
                     INK_E_IO);
    assert_int_equal(inki_checkpoint_save(r.trainer, root, str("new"), &error), INK_E_IO);
    check_config("a", str("old"));
    assert_int_equal(inki_checkpoint_save(r.trainer, path_in("a"), str("new"), &error), INK_OK);
    check_config("a", str("new"));
    free(file);
    run_close(&r);
    unlink(path_in("a"));
}

// The folder may be a file system of its own that is full: made where the system lets us.
static void test_full_file_system(void **state) {
    (void)state;
    const char *full = getenv("INKLING_TEST_FULL_DIR"); // with room for one, about 100 KiB
    if (full == NULL) {
        printf("left out: a file system that is full (INKLING_TEST_FULL_DIR)\n");
        return;
    }
    const run_options options = run_defaults();
    char path[512];
    ink_error error = {0};
    run r;
    run_open(&r, &fixture, &options);
    snprintf(path, sizeof path, "%s/a", full);
    int n = 0;
    // The first one fits, a second one beside it does not.
    while (n < 2 && inki_checkpoint_save(r.trainer, path, str("x"), &error) == INK_OK) n++;
    assert_int_equal(n, 1);
    assert_int_equal(error.status, INK_E_IO);
    assert_non_null(strstr(error.message, "o space left"));
    assert_int_equal(inki_checkpoint_load(r.trainer, path, &error), INK_OK);
    run_close(&r);
    unlink(path);
}

static void test_without_memory(void **state) {
    (void)state;
    heap h = {0};
    const ink_allocator allocator = heap_allocator(&h);
    run_options options = run_defaults();
    options.mem = inki_mem_from(&allocator);
    run r;
    run_open(&r, &fixture, &options);
    const size_t blocks = h.live_blocks;
    for (size_t n = 1;; n++) {
        ink_error error = {0};
        h.fail_at = h.n_allocs + n;
        const ink_status status = inki_checkpoint_save(r.trainer, path_in("a"), str("x"), &error);
        assert_int_equal(h.live_blocks, blocks);
        if (status == INK_OK) break;
        assert_int_equal(status, INK_E_NOMEM);
        assert_int_equal(count_files(), 0);
    }
    const inki_mem mem = inki_mem_from(&allocator);
    inki_str config = {0};
    h.fail_at = h.n_allocs + 1;
    assert_int_equal(inki_checkpoint_config(path_in("a"), &config, &mem, NULL), INK_E_NOMEM);
    assert_null(config.data);
    h.fail_at = 0;
    assert_int_equal(inki_checkpoint_load(r.trainer, path_in("a"), NULL), INK_OK);
    assert_int_equal(h.live_blocks, blocks);
    run_close(&r);
    assert_int_equal(h.live_blocks + h.live_bytes, 0);
    assert_int_equal(h.wrong_releases, 0);
    unlink(path_in("a"));
}

int main(void) {
    const char *tmp = getenv("TMPDIR");
    snprintf(root, sizeof root, "%s/inkling-checkpoint-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(root) == NULL) return 3;
    data_fixture_init(&fixture, 0, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_going_on),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_altered),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_no_checkpoint),
        cmocka_unit_test(test_other_runs),
        cmocka_unit_test(test_other_base),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_full_file_system),
        cmocka_unit_test(test_without_memory),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    data_fixture_free(&fixture);
    rmdir(root);
    return failed;
}
