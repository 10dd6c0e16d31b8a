// SPDX-License-Identifier: MIT
// Who comes when: priorities, turns, a full queue, deadlines in it and out of it, the pace. Shown
// by the order of events, never by time. n_threads: a worker runs.
#include "engine/engine.h"
#include "served.h"

static tiny_model tiny;

static int set_up(void **state) {
    (void)state;
    tiny = tiny_model_defaults();
    tiny.n_vocab = 257; // bytes alone: "greedy" says a character at a time
    return 0;
}

// A token of a piece each: nothing of it is half a character.
static ask plain(uint32_t priority, uint32_t n_tokens) {
    return (ask){.text = "hello",
                 .priority = priority,
                 .n_tokens = n_tokens,
                 .flags = INK_GENERATE_NO_END | INK_GENERATE_FRESH,
                 .chain = "greedy"};
}

static void close_watcher(watcher *w) { assert_int_equal(ink_client_free(w->client), INK_OK); }

static void wait_at_piece(watcher *w, uint64_t id) {
    (void)w;
    (void)id;
    wait_for_gate();
}

// --- priorities ----------------------------------------------------------------------------------

static void test_priorities(void **state) {
    (void)state;
    served s;
    watcher w[3];
    served_begin(&s, &tiny, served_options());
    for (uint32_t i = 0; i < 3; i++) {
        const ask a = plain(INK_PRIORITY_BACKGROUND - i, 3);
        watcher_begin(&w[i], &s, (char)('a' + i));
        watcher_ask(&w[i], &a);
    }
    served_go(&s);
    for (uint32_t i = 0; i < 3; i++) watcher_wait(&w[i], 1);
    assert_string_equal(journal, "cccCbbbBaaaA");
    for (uint32_t i = 0; i < 3; i++) close_watcher(&w[i]);
    served_end(&s);
}

static watcher above[2];

static void ask_above(watcher *w, uint64_t id) {
    (void)id;
    if (w->n_pieces != 2) return;
    const ask a = plain(w == &above[0] ? INK_PRIORITY_TYPING : INK_PRIORITY_FOREGROUND, 3);
    EXPECT(watcher_submit(w == &above[0] ? &above[1] : &above[0], &a, NULL, NULL) == INK_OK);
}

// Whoever is interrupted goes on where it was.
static void test_preemption(void **state) {
    (void)state;
    served s;
    watcher low;
    served_begin(&s, &tiny, served_options());
    watcher_begin(&low, &s, 'a');
    watcher_begin(&above[0], &s, 'b');
    watcher_begin(&above[1], &s, 'c');
    low.at_piece = above[0].at_piece = ask_above;
    const ask a = plain(INK_PRIORITY_BACKGROUND, 4);
    watcher_ask(&low, &a);
    served_go(&s);
    watcher_wait(&low, 1);
    assert_string_equal(journal, "aabbcccCbBaaA");
    close_watcher(&low);
    close_watcher(&above[0]);
    close_watcher(&above[1]);
    served_end(&s);
}

// --- turns ---------------------------------------------------------------------------------------

static void take_turns(uint32_t n_batch, const char *expected) {
    served s;
    watcher w[3];
    ink_service_options o = served_options();
    o.n_batch = n_batch;
    served_begin(&s, &tiny, o);
    for (uint32_t i = 0; i < 3; i++) {
        const ask a = plain(INK_PRIORITY_FOREGROUND, 3);
        watcher_begin(&w[i], &s, (char)('a' + i));
        watcher_ask(&w[i], &a);
        if (i == 0) watcher_submit(&w[i], &a, NULL, NULL); // behind the first of its own
    }
    served_go(&s);
    watcher_wait(&w[0], 2);
    for (uint32_t i = 1; i < 3; i++) watcher_wait(&w[i], 1);
    assert_string_equal(journal, expected);
    for (uint32_t i = 0; i < 3; i++) close_watcher(&w[i]);
    served_end(&s);
}

static void test_turns(void **state) {
    (void)state;
    take_turns(1, "abcabcabcABCaaaA");
    take_turns(8, "abcabcabcABCaaaA");
}

// --- in one pass ---------------------------------------------------------------------------------

static inki_matmul_fn true_matmul;
static size_t n_matmuls; // by the worker, and read when it has told that it is done

static void counting_matmul(float *out, size_t out_stride, const void *weights, size_t row_bytes,
                            const void *acts, size_t act_stride, const float *bias, size_t n_rows,
                            size_t n_cols, size_t n_batch) {
    n_matmuls++;
    true_matmul(out, out_stride, weights, row_bytes, acts, act_stride, bias, n_rows, n_cols,
                n_batch);
}

// Matrix products that four clients cost, whose weights are read once for all in a pass.
static size_t products(uint32_t n_batch) {
    served s;
    watcher w[4], first;
    ink_service_options o = served_options();
    o.n_batch = n_batch;
    served_begin(&s, &tiny, o);
    served_go(&s);
    inki_kernels *k = &ink_service_model(s.service)->runtime->kernels;
    true_matmul = k->matmul[INKI_F32];
    k->matmul[INKI_F32] = counting_matmul;
    n_matmuls = 0;
    gate_set(false);
    watcher_begin(&first, &s, 'f');
    first.at_piece = wait_at_piece;
    ask a = plain(INK_PRIORITY_FOREGROUND, 1);
    watcher_ask(&first, &a);
    watcher_wait_pieces(&first, 1);
    a.n_tokens = 16;
    for (uint32_t i = 0; i < 4; i++) {
        watcher_begin(&w[i], &s, (char)('a' + i));
        watcher_ask(&w[i], &a);
    }
    gate_set(true);
    for (uint32_t i = 0; i < 4; i++) watcher_wait(&w[i], 1);
    const size_t n = n_matmuls;
    for (uint32_t i = 0; i < 4; i++) close_watcher(&w[i]);
    close_watcher(&first);
    served_end(&s);
    return n;
}

static void test_one_pass(void **state) {
    (void)state;
    const size_t apart = products(1), pairs = products(2), together = products(4);
    print_message("%zu products one by one, %zu in pairs, %zu together\n", apart, pairs, together);
    assert_in_range(pairs, apart / 2, apart * 5 / 8);
    assert_in_range(together, apart / 4, apart * 3 / 8);
}

// --- a full queue --------------------------------------------------------------------------------

static void submit_again(watcher *w, uint64_t id) {
    (void)id;
    const ask a = plain(INK_PRIORITY_FOREGROUND, 1);
    if (w->n_done == 0) EXPECT(watcher_submit(w, &a, NULL, NULL) == INK_OK);
}

static void test_full(void **state) {
    (void)state;
    served s;
    watcher w[2];
    ink_error error = {0};
    uint64_t id = 5;
    ink_service_options o = served_options();
    o.n_queue = 3;
    served_begin(&s, &tiny, o);
    watcher_begin(&w[0], &s, 'a');
    watcher_begin(&w[1], &s, 'b');
    const ask a = plain(INK_PRIORITY_FOREGROUND, 1);
    assert_int_equal(watcher_ask(&w[0], &a), 1); // numbers of the service, not of the client
    assert_int_equal(watcher_ask(&w[1], &a), 2);
    assert_int_equal(watcher_ask(&w[0], &a), 3);
    assert_int_equal(watcher_submit(&w[1], &a, &id, &error), INK_E_FULL);
    assert_int_equal(error.status, INK_E_FULL);
    assert_int_equal(id, 5);
    w[0].at_done = submit_again; // there is room again when on_done is called
    served_go(&s);
    watcher_wait(&w[0], 3);
    watcher_wait(&w[1], 1);
    assert_string_equal(journal, "abABaAaA");
    close_watcher(&w[0]);
    close_watcher(&w[1]);
    assert_int_equal(w[1].n_done, 1); // what was refused is never heard of
    served_end(&s);
}

// --- deadlines -----------------------------------------------------------------------------------

// Not before the clock says so: a loop over a condition, however long it takes.
static void let_pass(double ms) {
    const double start = inki_os_now_ms();
    while (inki_os_now_ms() < start + ms) {}
}

static void pass_time(watcher *w, uint64_t id) {
    (void)w;
    (void)id;
    let_pass(3);
}

static void test_deadlines(void **state) {
    (void)state;
    served s;
    watcher waits, speaks, late;
    served_begin(&s, &tiny, served_options());
    watcher_begin(&waits, &s, 'w');
    watcher_begin(&speaks, &s, 's');
    watcher_begin(&late, &s, 'l');
    speaks.at_piece = pass_time;
    ask a = plain(INK_PRIORITY_BACKGROUND, 5);
    watcher_ask(&speaks, &a); // each of its pieces takes longer than the others may
    watcher_wait(&speaks, 0);
    a.deadline_ms = 1;
    watcher_ask(&waits, &a);
    watcher_ask(&waits, &a); // the second in the queue of its client
    let_pass(2);
    served_go(&s);
    watcher_wait(&waits, 2);
    assert_int_equal(waits.status, INK_OK);
    assert_int_equal(waits.result.stop, INK_STOP_DEADLINE);
    assert_int_equal(waits.result.n_generated, 0);
    assert_int_equal(waits.n_pieces, 0);
    assert_true(waits.result.queue_ms >= 1);
    watcher_wait(&speaks, 1);
    assert_string_equal(journal, "WWsssssS"); // told before anything else was begun
    // On its way: what is there by then is the text.
    journal_clear();
    late.at_piece = pass_time;
    a.deadline_ms = 1000000;
    watcher_ask(&late, &a);
    watcher_wait(&late, 1);
    assert_int_equal(late.result.stop, INK_STOP_LENGTH);
    a.deadline_ms = 3;
    a.n_tokens = 150;
    watcher_ask(&late, &a);
    watcher_wait(&late, 2);
    assert_int_equal(late.result.stop, INK_STOP_DEADLINE);
    assert_true(late.n_pieces <= 2);
    close_watcher(&waits);
    close_watcher(&speaks);
    close_watcher(&late);
    served_end(&s);
}

// --- pace ----------------------------------------------------------------------------------------

// At one hundredth of the time a request takes long; it can be ended in a pause, and the pace can
// be changed in one.
static void test_pace(void **state) {
    (void)state;
    served s;
    watcher w, other;
    served_begin(&s, &tiny, served_options());
    watcher_begin(&w, &s, 'w');
    watcher_begin(&other, &s, 'o');
    assert_int_equal(ink_service_set_pace(s.service, 1, 1), INK_OK);
    ask a = plain(INK_PRIORITY_FOREGROUND, 150);
    watcher_ask(&w, &a);
    served_go(&s);
    watcher_wait_pieces(&w, 1);
    assert_int_equal(ink_client_cancel(w.client, 0), INK_OK);
    watcher_wait(&w, 1);
    assert_true(w.result.stop == INK_STOP_CANCELLED || w.result.stop == INK_STOP_LENGTH);
    a.n_tokens = 3;
    watcher_ask(&other, &a);
    watcher_wait_pieces(&other, 1);
    assert_int_equal(ink_service_set_pace(s.service, 0, 100), INK_OK);
    watcher_wait(&other, 1);
    assert_int_equal(other.result.stop, INK_STOP_LENGTH);
    // Pauses that are over before anybody looks.
    assert_int_equal(ink_service_set_pace(s.service, 1, 99), INK_OK);
    a.n_tokens = 120;
    for (uint32_t i = 0; i < 10; i++) {
        watcher_ask(&other, &a);
        watcher_wait(&other, 2 + i);
        assert_int_equal(other.result.stop, INK_STOP_LENGTH);
    }
    close_watcher(&w);
    close_watcher(&other);
    served_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priorities), cmocka_unit_test(test_preemption),
        cmocka_unit_test(test_turns),      cmocka_unit_test(test_one_pass),
        cmocka_unit_test(test_full),       cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_pace),
    };
    return cmocka_run_group_tests_name("order", tests, set_up, NULL);
}
