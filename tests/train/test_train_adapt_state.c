// SPDX-License-Identifier: MIT
// States of ink_adapt from outside: damage, other models, options that cannot be, full disks, no
// memory. Each is told, the file is left as it was, and what was there goes on.
#include "adapt_fixture.h"
#include "checkpoint_fixture.h"
#include "base/checksum.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

enum { HEAD = 88 }; // of the settings, behind which the texts' tokens lie

static adapt_scene scene;
static uint8_t *good; // a state with some steps done
static size_t n_good;

static int set_up(void **state) {
    (void)state;
    const tiny_model tiny = scene_model();
    scene_begin(&scene, &tiny, 1, NULL);
    ink_adapt *a = adapt_open(&scene, "good");
    adapt_add(a, 0, N_SENTENCES);
    adapt_go_to(a, 22);
    adapt_save(a);
    ink_adapt_free(a);
    good = scene_read(&scene, "good", &n_good);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    free(good);
    scene_end(&scene);
    return 0;
}

// The status of opening these bytes, which stay what they were.
static ink_status open_bytes(const uint8_t *bytes, size_t n, ink_error *error) {
    const ink_adapt_options options = adapt_options();
    ink_adapt *a = NULL;
    size_t n_after;
    scene_write(&scene, "tried", bytes, n);
    const ink_status status =
        ink_adapt_open(&a, scene.o.model, scene_path(&scene, "tried"), &options, error);
    assert_true((status == INK_OK) == (a != NULL));
    ink_adapt_free(a);
    uint8_t *after = scene_read(&scene, "tried", &n_after);
    assert_int_equal(n_after, n);
    assert_memory_equal(after, bytes, n);
    free(after);
    return status;
}

static void damaged_and_cut(void **state) {
    (void)state;
    ink_error error = {0};
    uint8_t *bytes = malloc(n_good + 1);
    assert_non_null(bytes);
    memcpy(bytes, good, n_good);
    bytes[n_good] = 0;
    assert_int_equal(open_bytes(good, n_good, &error), INK_OK);
    const size_t dense = CK_CONFIG_AT + HEAD + 40;
    for (size_t i = 0; i < n_good; i += i < dense ? 3 : n_good / 50) {
        bytes[i] ^= 0x10;
        assert_int_equal(open_bytes(bytes, n_good, &error), INK_E_FORMAT);
        assert_non_null(strstr(error.message, "tried"));
        bytes[i] ^= 0x10;
    }
    assert_int_equal(open_bytes(bytes, n_good + 1, &error), INK_E_FORMAT);
    for (size_t n = 1; n < n_good; n += n < dense ? 7 : n_good / 50)
        assert_int_equal(open_bytes(bytes, n, &error), INK_E_FORMAT);
    assert_int_equal(open_bytes(bytes, 0, &error), INK_E_IO);
    free(bytes);
}

// The state with a number changed in its settings, whole by all its checksums.
static ink_status open_changed(size_t at, uint64_t value, size_t n, ink_error *error) {
    uint8_t *bytes = malloc(n_good);
    assert_non_null(bytes);
    memcpy(bytes, good, n_good);
    ck_put(bytes, at, value, n);
    const size_t config = (size_t)ck_get(bytes, CK_FIELDS_AT + 8 * CK_CONFIG_BYTES);
    ck_put(bytes, CK_FIELDS_AT + 8 * CK_CONFIG_SUM, inki_checksum_of(bytes + CK_CONFIG_AT, config),
           8);
    ck_put(bytes, CK_HEAD_SUM_AT, inki_checksum_of(bytes, CK_HEAD_SUM_AT), 8);
    ck_put(bytes, n_good - 8, inki_checksum_of(bytes, n_good - 8), 8);
    const ink_status status = open_bytes(bytes, n_good, error);
    free(bytes);
    return status;
}

static uint32_t bits(float value) {
    uint32_t out;
    memcpy(&out, &value, sizeof out);
    return out;
}

static void hostile_numbers(void **state) {
    (void)state;
    const size_t c = CK_CONFIG_AT,
                 weights = n_good - 8 - 16 * (size_t)ck_get(good, CK_FIELDS_AT + 24);
    const size_t n_values = (size_t)ck_get(good, CK_FIELDS_AT + 8 * CK_N_VALUES);
    const struct {
        size_t at;
        uint64_t value;
        size_t n;
        ink_status status;
    } cases[] = {
        {c, 'X', 1, INK_E_FORMAT},
        {c + 8, 2, 4, INK_E_FORMAT},
        {c + 12, 0, 4, INK_E_FORMAT}, // rank
        {c + 12, 257, 4, INK_E_FORMAT},
        {c + 12, 5, 4, INK_E_UNSUPPORTED}, // not that of the weights
        {c + 16, 0, 4, INK_E_FORMAT},      // n_ctx
        {c + 16, 65, 4, INK_E_UNSUPPORTED},
        {c + 16, UINT32_MAX, 4, INK_E_UNSUPPORTED},
        {c + 20, 0, 4, INK_E_FORMAT}, // n_batch
        {c + 20, 257, 4, INK_E_FORMAT},
        {c + 24, 0, 4, INK_E_FORMAT}, // n_steps
        {c + 24, UINT32_MAX, 4, INK_OK},
        {c + 28, bits(NAN), 4, INK_E_FORMAT}, // alpha
        {c + 28, bits(0), 4, INK_E_FORMAT},
        {c + 28, bits(INFINITY), 4, INK_E_FORMAT},
        {c + 32, bits(NAN), 4, INK_E_FORMAT}, // rate
        {c + 32, bits(-1e-3f), 4, INK_E_FORMAT},
        {c + 32, bits(2), 4, INK_E_FORMAT},
        {c + 36, bits(1), 4, INK_E_FORMAT}, // dropout
        {c + 36, bits(NAN), 4, INK_E_FORMAT},
        {c + 48, UINT64_MAX, 8, INK_OK},       // texts
        {c + 56, UINT64_MAX, 8, INK_OK},       // judged at
        {c + 64, UINT64_MAX, 8, INK_OK},       // held loss
        {c + 72, UINT64_MAX, 8, INK_E_FORMAT}, // tokens
        {c + 72, 0, 8, INK_E_FORMAT},
        {c + 80, UINT64_MAX - 3, 8, INK_E_FORMAT},
        {c + HEAD, 300, 4, INK_E_UNSUPPORTED}, // the vocabulary has 300
        {c + HEAD, 299, 4, INK_OK},
        {c + HEAD, UINT32_MAX, 4, INK_E_UNSUPPORTED},
        {CK_FIELDS_AT + 8 * CK_N_DONE, UINT64_MAX, 8, INK_E_FORMAT},
        {weights, bits(NAN), 4, INK_E_FORMAT},
        {weights + 4 * n_values, bits(INFINITY), 4, INK_E_FORMAT},
        {weights + 8 * n_values, bits(-1), 4, INK_E_FORMAT},
        {weights + 12 * n_values + 4, bits(NAN), 4, INK_E_FORMAT},
    };
    assert_int_equal(weights + 16 * n_values + 8, n_good);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ink_error error = {0};
        const ink_status status = open_changed(cases[i].at, cases[i].value, cases[i].n, &error);
        if (status != cases[i].status)
            fail_msg("case %zu: %s: %s", i, ink_status_name(status), error.message);
        assert_int_equal(error.status, status);
        if (status != INK_OK) assert_non_null(strstr(error.message, "tried"));
    }
}

static ink_status open_with(const tiny_model *tiny, ink_error *error) {
    opened other = opened_tiny(tiny, 1, NULL);
    ink_adapt *a = NULL;
    const ink_status status =
        ink_adapt_open(&a, other.model, scene_path(&scene, "good"), NULL, error);
    assert_null(a);
    opened_close(&other);
    return status;
}

static void foreign(void **state) {
    (void)state;
    ink_error error = {0};
    tiny_model tiny = scene_model();
    tiny.seed = 2;
    assert_int_equal(open_with(&tiny, &error), INK_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "another model"));
    assert_int_equal(error.status, INK_E_UNSUPPORTED);
    tiny = scene_model();
    tiny.n_layer = 3;
    assert_int_equal(open_with(&tiny, &error), INK_E_UNSUPPORTED);
    tiny = scene_model();
    tiny.n_vocab = 280;
    assert_int_equal(open_with(&tiny, &error), INK_E_UNSUPPORTED);
    tiny = scene_model();
    tiny.n_ctx = 16;
    assert_int_equal(open_with(&tiny, &error), INK_E_UNSUPPORTED);
    assert_int_equal(open_bytes(scene.o.bytes, scene.o.n_bytes, &error), INK_E_FORMAT);
    // The checkpoint of another kind of run.
    data_fixture fixture;
    run r;
    const run_options options = run_defaults();
    data_fixture_init(&fixture, 0, 1);
    run_open(&r, &fixture, &options);
    assert_int_equal(inki_checkpoint_save(r.trainer, scene_path(&scene, "run"),
                                          (inki_str){"{\"batch\": 3}", 12}, NULL),
                     INK_OK);
    run_close(&r);
    data_fixture_free(&fixture);
    ink_adapt *a = NULL;
    assert_int_equal(ink_adapt_open(&a, scene.o.model, scene_path(&scene, "run"), NULL, &error),
                     INK_E_FORMAT);
    assert_int_equal(ink_adapt_open(&a, scene.o.model, scene.root, NULL, &error), INK_E_IO);
    assert_null(a);
    // Its own model again.
    a = adapt_open(&scene, "good");
    assert_int_equal(adapt_go_to(a, 24).n_steps, 24);
    ink_adapt_free(a);
}

// What it was opened with does not count where there is a state.
static void options_of_the_state(void **state) {
    (void)state;
    ink_adapt_options options;
    ink_adapt *a = NULL;
    ink_adapt_options_init(&options, sizeof options);
    options.rank = 16;
    options.n_batch = 7;
    options.seed = 99;
    assert_int_equal(ink_adapt_open(&a, scene.o.model, scene_path(&scene, "good"), &options, NULL),
                     INK_OK);
    adapt_go_to(a, 25);
    assert_int_equal(ink_adapt_save(a, NULL), INK_OK);
    ink_adapt_free(a);
    scene_write(&scene, "again", good, n_good);
    a = adapt_open(&scene, "again");
    adapt_go_to(a, 25);
    assert_int_equal(ink_adapt_save(a, NULL), INK_OK);
    ink_adapt_free(a);
    assert_same_files(&scene, "good", "again");
    scene_write(&scene, "good", good, n_good);
}

static void refused(ink_adapt_options options, ink_status expected, const char *name) {
    ink_adapt *a = NULL;
    ink_error error = {0};
    assert_int_equal(ink_adapt_open(&a, scene.o.model, NULL, &options, &error), expected);
    assert_null(a);
    assert_non_null(strstr(error.message, name));
}

static void arguments(void **state) {
    (void)state;
    ink_error error = {0};
    ink_adapt *a = NULL;
#define REFUSED(field, value, status)                                                              \
    do {                                                                                           \
        ink_adapt_options o = adapt_options();                                                     \
        o.field = value;                                                                           \
        refused(o, status, #field);                                                                \
    } while (0)
    REFUSED(rank, 0, INK_E_ARG);
    REFUSED(rank, 257, INK_E_LIMIT);
    REFUSED(alpha, 0, INK_E_ARG);
    REFUSED(alpha, NAN, INK_E_ARG);
    REFUSED(rate, 0, INK_E_ARG);
    REFUSED(rate, 1.5f, INK_E_ARG);
    REFUSED(rate, NAN, INK_E_ARG);
    REFUSED(dropout, 1, INK_E_ARG);
    REFUSED(dropout, -0.1f, INK_E_ARG);
    REFUSED(n_ctx, 65, INK_E_LIMIT);
    REFUSED(n_batch, 0, INK_E_ARG);
    REFUSED(n_batch, 257, INK_E_LIMIT);
    REFUSED(n_steps, 0, INK_E_ARG);
    REFUSED(size, 0, INK_E_ARG);
    REFUSED(size, 36, INK_E_ARG);
#undef REFUSED
    assert_int_equal(ink_adapt_open(NULL, scene.o.model, NULL, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_adapt_open(&a, NULL, NULL, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_adapt_add_text(NULL, "a", 1, &error), INK_E_ARG);
    assert_int_equal(ink_adapt_run(NULL, 0, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_adapt_save(NULL, &error), INK_E_ARG);
    assert_int_equal(ink_adapt_export(NULL, "x", &error), INK_E_ARG);
    assert_int_equal(ink_adapt_free(NULL), INK_OK);
    ink_adapt_cancel(NULL);
    ink_adapt_options_init(NULL, 4);

    // NULL for all that may be; the defaults are those of the header.
    assert_int_equal(ink_adapt_open(&a, scene.o.model, NULL, NULL, NULL), INK_OK);
    assert_int_equal(a->options.rank, 8);
    assert_int_equal(a->options.n_ctx, 64);
    assert_int_equal(a->options.n_batch, 4);
    assert_int_equal(a->options.n_steps, 1000);
    assert_int_equal(ink_adapt_add_text(a, NULL, 3, &error), INK_E_ARG);
    assert_int_equal(ink_adapt_add_text(a, "ab\xff", 3, &error), INK_E_UTF8);
    assert_int_equal(a->learn.n + a->n_texts, 0);
    assert_int_equal(ink_adapt_save(a, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "without a file"));
    assert_int_equal(ink_adapt_export(a, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_adapt_export(a, scene_path(&scene, "no/a.gguf"), &error), INK_E_IO);
    adapt_add(a, 0, 2);
    assert_int_equal(ink_adapt_run(a, 0, NULL, NULL), INK_OK);
    // A report of an earlier version has less room.
    struct {
        uint32_t size, n_steps;
        uint64_t n_tokens, behind;
    } report = {.size = 16, .behind = 5};
    assert_int_equal(ink_adapt_run(a, 0, (ink_adapt_report *)(void *)&report, NULL), INK_OK);
    assert_int_equal(report.n_tokens, a->learn.n);
    assert_int_equal(report.behind, 5);
    assert_int_equal(report.size, 16);
    ink_adapt_free(a);
}

static void full_disk(void **state) {
    (void)state;
    ink_error error = {0};
    scene_write(&scene, "full", good, n_good);
    ink_adapt *a = adapt_open(&scene, "full");
    adapt_go_to(a, 24);
    const size_t n_files = scene_files(&scene);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    const size_t limits[] = {0, 100, CK_CONFIG_AT + 10, n_good / 2, n_good - 1};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        small = before;
        small.rlim_cur = limits[i];
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        const ink_status status = ink_adapt_save(a, &error);
        const ink_status exported = ink_adapt_export(a, scene_path(&scene, "full.gguf"), NULL);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, INK_E_IO);
        assert_true(exported == INK_E_IO || i > 2);
        unlink(scene_path(&scene, "full.gguf"));
        assert_int_equal(scene_files(&scene), n_files);
        assert_same_files(&scene, "good", "full");
    }
    signal(SIGXFSZ, handler);
    // It goes on as if nothing had been.
    adapt_go_to(a, 30);
    adapt_save(a);
    ink_adapt_free(a);
    scene_write(&scene, "other", good, n_good);
    a = adapt_open(&scene, "other");
    adapt_go_to(a, 30);
    adapt_save(a);
    ink_adapt_free(a);
    assert_same_files(&scene, "full", "other");
}

// --- no memory -----------------------------------------------------------------------------------

static ink_status one_life(adapt_scene *s, ink_error *error) {
    const ink_adapt_options options = adapt_options();
    ink_adapt *a = NULL;
    ink_status status = ink_adapt_open(&a, s->o.model, scene_path(s, "state"), &options, error);
    assert_true((status == INK_OK) == (a != NULL));
    for (size_t i = 0; i < N_SENTENCES && status == INK_OK; i++) {
        const size_t n = a->learn.n + a->held.n, n_texts = (size_t)a->n_texts;
        status = ink_adapt_add_text(a, sentences[i], strlen(sentences[i]), error);
        if (status != INK_OK) assert_true(a->learn.n + a->held.n == n && a->n_texts == n_texts);
    }
    for (int i = 0; i < 6 && status == INK_OK; i++) status = ink_adapt_run(a, 0, NULL, error);
    if (status == INK_OK) status = ink_adapt_save(a, error);
    if (status == INK_OK) status = ink_adapt_export(a, scene_path(s, "adapter"), error);
    if (status != INK_OK && a != NULL && a->learn.n >= 32) // as good as before
        assert_int_equal(ink_adapt_run(a, 0, NULL, NULL), INK_OK);
    assert_int_equal(ink_adapt_free(a), INK_OK);
    return status;
}

static void no_memory(void **state) {
    (void)state;
    heap memory = {0};
    adapt_scene s;
    const tiny_model tiny = scene_model();
    scene_begin(&s, &tiny, 1, &memory);
    assert_int_equal(one_life(&s, NULL), INK_OK); // the second one finds its state
    const size_t blocks = atomic_load(&memory.live_blocks), bytes = atomic_load(&memory.live_bytes);
    size_t n = 0, n_bytes;
    uint8_t *before = scene_read(&s, "state", &n_bytes);
    for (;;) {
        ink_error error = {0};
        scene_write(&s, "state", before, n_bytes);
        atomic_store(&memory.n_allocs, 0);
        atomic_store(&memory.fail_at, ++n);
        const ink_status status = one_life(&s, &error);
        atomic_store(&memory.fail_at, 0);
        assert_int_equal(atomic_load(&memory.live_blocks), blocks);
        assert_int_equal(atomic_load(&memory.live_bytes), bytes);
        if (status == INK_OK && atomic_load(&memory.n_allocs) < n) break;
        assert_int_equal(status, INK_E_NOMEM);
        assert_int_equal(error.status, INK_E_NOMEM);
        assert_non_null(strstr(error.message, "memory"));
        assert_true(n < 2000);
    }
    print_message("%zu requests for memory failed, one by one\n", n - 1);
    assert_true(n > 20);
    assert_int_equal(atomic_load(&memory.wrong_releases), 0);
    free(before);
    scene_end(&s);
    assert_int_equal(atomic_load(&memory.live_blocks), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_and_cut), cmocka_unit_test(hostile_numbers),
        cmocka_unit_test(foreign),         cmocka_unit_test(options_of_the_state),
        cmocka_unit_test(arguments),       cmocka_unit_test(full_disk),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
