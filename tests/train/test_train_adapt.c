// SPDX-License-Identifier: MIT
// Learning on the device: slices of any length, and states that are saved and opened again, make
// the bytes of one long run; what was learnt is in the adapter's file, and the engine agrees.
#include "adapt_fixture.h"

static adapt_scene scene;

static int set_up(void **state) {
    (void)state;
    const tiny_model tiny = scene_model();
    scene_begin(&scene, &tiny, 2, NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    scene_end(&scene);
    return 0;
}

// --- the same bytes ------------------------------------------------------------------------------

// How far the long run comes is the machine's affair; what it makes is not.
static void slices_are_one_run(void **state) {
    (void)state;
    ink_adapt *whole = adapt_open(&scene, "whole"), *cut = adapt_open(&scene, "cut");
    adapt_add(whole, 0, N_SENTENCES);
    adapt_add(cut, 0, N_SENTENCES);
    const uint32_t n = adapt_slice(whole, 20).n_steps;
    const uint32_t goal = n < 41 ? 45 : n + 4;
    adapt_go_to(whole, goal);
    adapt_go_to(cut, goal);
    adapt_save(whole);
    adapt_save(cut);
    assert_same_files(&scene, "whole", "cut");
    assert_int_equal(ink_adapt_export(whole, scene_path(&scene, "whole.gguf"), NULL), INK_OK);
    assert_int_equal(ink_adapt_export(cut, scene_path(&scene, "cut.gguf"), NULL), INK_OK);
    assert_same_files(&scene, "whole.gguf", "cut.gguf");
    ink_adapt_free(whole);
    ink_adapt_free(cut);
}

static ink_adapt *reopen(ink_adapt *a, const char *name) {
    adapt_save(a);
    assert_int_equal(ink_adapt_free(a), INK_OK);
    return adapt_open(&scene, name);
}

// Saved and opened at a step's end, inside of a step and while the held-out part is measured.
static void reopened_is_uninterrupted(void **state) {
    (void)state;
    ink_adapt *whole = adapt_open(&scene, "whole"), *cut = adapt_open(&scene, "cut");
    adapt_add(whole, 0, N_SENTENCES);
    adapt_add(cut, 0, N_SENTENCES);
    const ink_adapt_report last = adapt_go_to(whole, 47);
    assert_true(isfinite(last.held_loss));

    adapt_go_to(cut, 9);
    cut = reopen(cut, "cut");
    for (int i = 0; i < 5; i++) assert_int_equal(adapt_slice(cut, 0).n_steps, 9);
    cut = reopen(cut, "cut");
    assert_int_equal(cut->learn.n + cut->held.n, whole->learn.n + whole->held.n);
    adapt_go_to(cut, 20);
    for (int i = 0; i < 3; i++) adapt_slice(cut, 0);
    assert_int_equal(cut->doing, INKI_ADAPT_JUDGE);
    cut = reopen(cut, "cut");
    while (isnan(adapt_slice(cut, 0).held_loss)) {}
    cut = reopen(cut, "cut"); // measured: not once more
    assert_int_equal(adapt_slice(cut, 0).n_steps, 20);
    assert_int_equal(cut->doing, INKI_ADAPT_STEP);
    adapt_go_to(cut, 21);
    cut = reopen(cut, "cut");
    const ink_adapt_report report = adapt_slice(cut, 0);
    assert_true(report.held_loss > 0 && report.best_held_loss == report.held_loss);
    assert_true(report.loss > 0);
    const ink_adapt_report end = adapt_go_to(cut, 47);
    assert_true(end.loss == last.loss && end.held_loss == last.held_loss);
    assert_true(end.best_held_loss == last.best_held_loss && end.n_learnt == last.n_learnt);
    adapt_save(cut);
    adapt_save(whole);
    assert_same_files(&scene, "whole", "cut");
    // Once more: nothing of it is changed by reading.
    cut = reopen(cut, "cut");
    adapt_save(cut);
    assert_same_files(&scene, "whole", "cut");
    ink_adapt_free(whole);
    ink_adapt_free(cut);
}

// Text that comes while it learns counts from the next step on, and makes what was measured void.
static void text_between_slices(void **state) {
    (void)state;
    ink_adapt *a = adapt_open(&scene, "a"), *b = adapt_open(&scene, "b");
    adapt_add(a, 0, 10);
    adapt_add(b, 0, 10);
    ink_adapt_report report = adapt_go_to(a, 24);
    adapt_go_to(b, 24);
    assert_true(isfinite(report.held_loss));
    b = reopen(b, "b");
    adapt_add(a, 10, 12);
    adapt_add(b, 10, 12);
    const uint64_t n_tokens = report.n_tokens;
    report = adapt_slice(a, 0);
    assert_true(isnan(report.held_loss) && isnan(report.best_held_loss));
    assert_true(report.n_tokens > n_tokens);
    assert_int_equal(report.n_steps, 24);
    report = adapt_go_to(a, 41);
    adapt_go_to(b, 41);
    adapt_save(a);
    adapt_save(b);
    assert_same_files(&scene, "a", "b");
    for (int i = 0; i < 200; i++) { // in the midst of what is under way
        if (i == 30) adapt_add(a, 0, 1);
        report = adapt_slice(a, 0);
    }
    assert_true(report.n_steps > 41);
    ink_adapt_free(a);
    ink_adapt_free(b);
}

// --- what is learnt ------------------------------------------------------------------------------

// Nats of ids [n + 1] behind one another, by the engine.
static double engine_loss(const ink_adapter_use *use, const int32_t *ids, size_t n) {
    ink_session_options options;
    ink_session_options_init(&options, sizeof options);
    options.n_ctx = ADAPT_CTX;
    options.kv_type = INK_KV_F32;
    options.n_logits = ADAPT_CTX;
    options.adapters = use;
    options.n_adapters = use != NULL;
    ink_session *s = NULL;
    size_t n_vocab = 0;
    double sum = 0;
    assert_int_equal(ink_session_new(&s, scene.o.model, &options, NULL), INK_OK);
    const ink_span span = {s, ids, n, INK_SPAN_ALL_LOGITS, NULL};
    assert_int_equal(ink_eval(&span, 1, NULL), INK_OK);
    for (size_t i = 0; i < n; i++) {
        const float *row = ink_session_logits(s, i, &n_vocab);
        assert_non_null(row);
        double most = row[0], all = 0;
        for (size_t k = 1; k < n_vocab; k++) most = row[k] > most ? row[k] : most;
        for (size_t k = 0; k < n_vocab; k++) all += exp((double)row[k] - most);
        sum += most + log(all) - (double)row[ids[i + 1]];
    }
    ink_session_free(s);
    return sum;
}

// Mean over a row, window by window.
static double row_loss(const ink_adapter_use *use, const inki_adapt_row *row) {
    double sum = 0;
    for (size_t at = 0; at + 1 < row->n; at += ADAPT_CTX) {
        const size_t left = row->n - 1 - at;
        sum += engine_loss(use, row->ids + at, left < ADAPT_CTX ? left : ADAPT_CTX);
    }
    return sum / (double)(row->n - 1);
}

static ink_adapter *open_adapter(const char *name) {
    ink_adapter *adapter = NULL;
    ink_error error = {0};
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_PATH, .name = scene_path(&scene, name)};
    if (ink_adapter_open(&adapter, scene.o.model, &source, &error) != INK_OK)
        fail_msg("%s", error.message);
    return adapter;
}

static void learns_and_exports(void **state) {
    (void)state;
    ink_adapt *a = adapt_open(&scene, NULL);
    adapt_add(a, 0, N_SENTENCES);
    // Before anything is learnt the adapter changes nothing.
    assert_int_equal(ink_adapt_export(a, scene_path(&scene, "0.gguf"), NULL), INK_OK);
    ink_adapter_use use = {open_adapter("0.gguf"), 1};
    const double before = row_loss(NULL, &a->learn), held_before = row_loss(NULL, &a->held);
    assert_true(row_loss(&use, &a->learn) == before);
    ink_adapter_unref(use.adapter);

    ink_adapt_report report = adapt_slice(a, 0);
    assert_true(isnan(report.loss) && isnan(report.held_loss) && isnan(report.best_held_loss));
    assert_int_equal(report.n_steps, 0);
    const double first = adapt_go_to(a, 1).loss;
    report = adapt_go_to(a, 121);
    print_message("loss %.3f -> %.3f, held out %.3f -> %.3f\n", first, report.loss, held_before,
                  report.held_loss);
    assert_true(report.loss < 0.6 * first);
    assert_true(report.best_held_loss <= report.held_loss);
    assert_int_equal(report.n_learnt, 121 * 2 * ADAPT_CTX);
    assert_int_equal(report.n_tokens, a->learn.n + a->held.n);

    // The file has the weights that were best, and the engine finds the loss that was measured.
    assert_int_equal(ink_adapt_export(a, scene_path(&scene, "1.gguf"), NULL), INK_OK);
    use.adapter = open_adapter("1.gguf");
    const double after = row_loss(&use, &a->learn), held_after = row_loss(&use, &a->held);
    print_message("engine: loss %.3f -> %.3f, held out %.3f -> %.3f (measured %.3f)\n", before,
                  after, held_before, held_after, report.best_held_loss);
    assert_true(after < 0.7 * before);
    assert_true(held_after < 0.9 * held_before);
    assert_true(fabs(held_after - report.best_held_loss) < 0.01 * held_after);
    ink_adapter_unref(use.adapter);
    ink_adapt_free(a);
}

// What an adapter that learnt does to a model: applied beside it or merged into it, the same.
static void merged_is_applied(void **state) {
    (void)state;
    ink_adapt *a = adapt_open(&scene, NULL);
    adapt_add(a, 0, N_SENTENCES);
    adapt_go_to(a, 60);
    assert_int_equal(ink_adapt_export(a, scene_path(&scene, "a.gguf"), NULL), INK_OK);
    scene_write(&scene, "base.gguf", scene.o.bytes, scene.o.n_bytes);
    char in[512], out[512], adapter[512];
    snprintf(in, sizeof in, "%s", scene_path(&scene, "base.gguf"));
    snprintf(out, sizeof out, "%s", scene_path(&scene, "merged.gguf"));
    snprintf(adapter, sizeof adapter, "%s", scene_path(&scene, "a.gguf"));
    const inki_merge_adapter one = {adapter, 1};
    const inki_merge how = {.in = in, .out = out, .adapters = &one, .n = 1, .type = UINT32_MAX};
    assert_int_equal(inki_merge_files(&how, NULL), INK_OK);

    ink_model *merged = NULL;
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = out};
    assert_int_equal(ink_model_open(&merged, scene.o.runtime, &source, NULL, NULL), INK_OK);
    const ink_adapter_use use = {open_adapter("a.gguf"), 1};
    ink_session_options options;
    ink_session_options_init(&options, sizeof options);
    options.kv_type = INK_KV_F32;
    options.n_logits = ADAPT_CTX;
    ink_session *plain = NULL, *baked = NULL, *beside = NULL;
    assert_int_equal(ink_session_new(&plain, scene.o.model, &options, NULL), INK_OK);
    assert_int_equal(ink_session_new(&baked, merged, &options, NULL), INK_OK);
    options.adapters = &use;
    options.n_adapters = 1;
    assert_int_equal(ink_session_new(&beside, scene.o.model, &options, NULL), INK_OK);
    ink_session *all[] = {plain, baked, beside};
    for (int i = 0; i < 3; i++) {
        const ink_span span = {all[i], a->learn.ids, ADAPT_CTX, INK_SPAN_ALL_LOGITS, NULL};
        assert_int_equal(ink_eval(&span, 1, NULL), INK_OK);
    }
    double apart = 0, changed = 0;
    for (size_t i = 0; i < ADAPT_CTX; i++) {
        size_t n = 0;
        const float *x = ink_session_logits(baked, i, &n), *y = ink_session_logits(beside, i, &n);
        const float *z = ink_session_logits(plain, i, &n);
        for (size_t k = 0; k < n; k++) {
            apart = fmax(apart, fabs((double)x[k] - (double)y[k]));
            changed = fmax(changed, fabs((double)x[k] - (double)z[k]));
        }
    }
    print_message("logits: learning moved them by up to %.3f, merging by %.2g\n", changed, apart);
    assert_true(changed > 0.5);
    assert_true(apart <= 1e-4);
    for (int i = 0; i < 3; i++) ink_session_free(all[i]);
    ink_adapter_unref(use.adapter);
    ink_model_unref(merged);
    ink_adapt_free(a);
}

// --- the held-out part ---------------------------------------------------------------------------

static void held_out(void **state) {
    (void)state;
    ink_adapt *a = adapt_open(&scene, NULL);
    size_t n = 0;
    adapt_add(a, 0, 9);
    assert_int_equal(a->held.n, 0);
    // Nothing is held out yet: nothing is measured, and the last weights are what is exported.
    assert_true(isnan(adapt_go_to(a, 22).held_loss));
    const size_t n_learn = a->learn.n;
    adapt_add(a, HELD_SENTENCE, HELD_SENTENCE + 1);
    assert_int_equal(a->learn.n, n_learn);
    assert_int_equal(ink_tokenize(scene.o.model, sentences[HELD_SENTENCE],
                                  strlen(sentences[HELD_SENTENCE]), 0, NULL, 0, &n, NULL),
                     INK_OK);
    assert_int_equal(a->held.n, n + 1);
    assert_int_equal(a->held.ids[n], scene.o.model->info.end_token);
    assert_true(isfinite(adapt_go_to(a, 41).held_loss));
    // Of a long text the last tenth.
    char *text = malloc(8000);
    assert_non_null(text);
    for (size_t i = 0; i < 8000; i++) text[i] = i % 40 == 39 ? ' ' : (char)('a' + i * i % 23);
    assert_int_equal(ink_tokenize(scene.o.model, text, 8000, 0, NULL, 0, &n, NULL), INK_OK);
    assert_true(n > 20 * ADAPT_CTX);
    const size_t n_held = a->held.n;
    assert_int_equal(ink_adapt_add_text(a, text, 8000, NULL), INK_OK);
    assert_int_equal(a->held.n, n_held + n / 10 + 1);
    assert_int_equal(a->learn.n, n_learn + n - n / 10 + 1);
    // Measured over all of it, in eight windows at most.
    adapt_go_to(a, 61);
    assert_int_equal(a->n_windows, 8);
    assert_int_equal(a->n_targets, 8 * ADAPT_CTX);
    free(text);
    ink_adapt_free(a);
}

// Less text than a sequence is learnt from too, and too little is refused.
static void little_text(void **state) {
    (void)state;
    ink_adapt *a = adapt_open(&scene, NULL);
    ink_error error = {0};
    ink_adapt_report report = {.size = sizeof report, .n_steps = 77};
    assert_int_equal(ink_adapt_run(a, 5, &report, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "at least 32"));
    assert_int_equal(ink_adapt_add_text(a, "", 0, &error), INK_OK);
    assert_int_equal(ink_adapt_add_text(a, "a few", 5, &error), INK_OK);
    assert_int_equal(ink_adapt_run(a, 5, &report, &error), INK_E_ARG);
    assert_int_equal(report.n_steps, 77);
    ink_adapt_free(a);

    ink_adapt_options options = adapt_options();
    options.n_ctx = 64;
    assert_int_equal(ink_adapt_open(&a, scene.o.model, NULL, &options, NULL), INK_OK);
    adapt_add(a, 0, 1);
    assert_true(a->learn.n >= 32 && a->learn.n < 64);
    const double first = adapt_go_to(a, 1).loss;
    assert_true(adapt_go_to(a, 60).loss < 0.5 * first);
    ink_adapt_free(a);
}

// --- numbers that go wrong -----------------------------------------------------------------------

static void assert_sound(ink_adapt *a, const float *expected) {
    const float *weights = inki_net_weights(a->net);
    assert_true(inki_trainer_is_sound(a->trainer));
    assert_memory_equal(weights, expected, inki_net_n_values(a->net) * sizeof *weights);
}

static void spoil(ink_adapt *a) { inki_net_weights(a->net)[3] = NAN; }

// Back at the best weights where there are some, else at the last ones that were kept.
static void not_a_number(void **state) {
    (void)state;
    ink_adapt *a = adapt_open(&scene, NULL);
    const size_t bytes = inki_net_n_values(a->net) * sizeof(float);
    float *kept = malloc(bytes);
    assert_non_null(kept);
    ink_error error = {0};
    ink_adapt_report report = {.size = sizeof report, .n_steps = 77};
    adapt_add(a, 0, 9);
    adapt_go_to(a, 20);
    memcpy(kept, inki_net_weights(a->net), bytes);
    adapt_go_to(a, 25);
    assert_true(memcmp(kept, inki_net_weights(a->net), bytes) != 0);
    spoil(a);
    assert_int_equal(ink_adapt_run(a, 100000, &report, &error), INK_E_NUMERIC);
    assert_non_null(strstr(error.message, "step 26"));
    assert_int_equal(report.n_steps, 77);
    assert_sound(a, kept);
    adapt_add(a, HELD_SENTENCE, HELD_SENTENCE + 1);
    adapt_go_to(a, 41);
    memcpy(kept, inki_trainer_best(a->trainer), bytes);
    adapt_go_to(a, 55);
    spoil(a);
    assert_int_equal(ink_adapt_run(a, 100000, NULL, &error), INK_E_NUMERIC);
    assert_sound(a, kept);
    assert_true(isfinite(adapt_go_to(a, 60).loss));
    // While the held-out part is measured.
    memcpy(kept, inki_trainer_best(a->trainer), bytes);
    adapt_slice(a, 0);
    assert_int_equal(a->doing, INKI_ADAPT_JUDGE);
    spoil(a);
    assert_int_equal(ink_adapt_run(a, 100000, NULL, &error), INK_E_NUMERIC);
    assert_non_null(strstr(error.message, "step 60"));
    assert_sound(a, kept);
    assert_true(isfinite(adapt_go_to(a, 81).held_loss));
    free(kept);
    ink_adapt_free(a);
}

// --- memory --------------------------------------------------------------------------------------

// Learning beside a GPT-2 124M in Q8_0, at context 512 and rank 8, takes at most 400 MB: the mapped
// file, the net, the optimiser, and room for products, vocabulary and texts.
static void memory_of_a_124m(void **state) {
    (void)state;
    inki_kernels kernels;
    inki_kernels_init(&kernels, inki_level_mask(INKI_LEVEL_PORTABLE));
    static const inki_weights base = {0}; // only that there is one counts for sizes
    const inki_compute compute = {
        .mem = inki_mem_from(NULL), .kernels = &kernels, .level = INKI_LEVEL_PORTABLE};
    const inki_net_options options = {.shape = {50257, 1024, 768, 12, 12, 3072, 1e-5f},
                                      .n_seq = 512,
                                      .n_tokens_a_pass = 512,
                                      .recompute = true,
                                      .base = &base,
                                      .lora_rank = 8,
                                      .lora_alpha = 16};
    size_t net = 0;
    assert_int_equal(inki_net_measure(&compute, &options, &net, NULL), INK_OK);
    const size_t values = 12 * 8 * (768 + 3 * 768 + 2 * 768 + 2 * (768 + 3072));
    assert_true(net > 8 * values); // weights and gradients alone
    const size_t file = 137000000, optimiser = 12 * values, more = 40000000;
    print_message("net %.1f MB, optimiser and best weights %.1f MB\n", (double)net / 1e6,
                  (double)optimiser / 1e6);
    assert_true(file + net + optimiser + more <= 400000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(slices_are_one_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reopened_is_uninterrupted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(text_between_slices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(learns_and_exports, set_up, tear_down),
        cmocka_unit_test_setup_teardown(merged_is_applied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(held_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(little_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_a_number, set_up, tear_down),
        cmocka_unit_test(memory_of_a_124m),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
