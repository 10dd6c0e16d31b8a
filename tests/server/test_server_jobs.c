// SPDX-License-Identifier: MIT
// Label: threads
// Which slot a job gets, who goes first, how many may wait, and what is refused.
#include "job_scene.h"

#define RIVER "Once upon a time there was a river that ran through a valley of green hills"
#define TRAIN "The old train left the station every morning with a long and happy whistle"
#define MOUSE "A small mouse lived behind the kitchen wall and was afraid of the big grey cat"

static void test_text_is_the_engine_s(void **state) {
    (void)state;
    srv_app *app = scene_begin(2, 4);
    watched w;
    spoken expected;
    watched_run(&w, app, RIVER, 12);
    engine_says(app, &w, &expected);
    assert_true(w.bytes > 0);
    assert_string_equal(w.text, expected.text);
    assert_int_equal(w.result.stop, INK_STOP_LENGTH);
    assert_int_equal(w.result.n_generated, 12);
    assert_int_equal(srv_slots_n_running(slots_of(app)), 0);
    scene_end(app);
}

static uint32_t n_tokens_of(const srv_app *app, const char *text) {
    size_t n = 0;
    ink_tokenize(ink_service_model(app->models[0].service), text, strlen(text), 0, NULL, 0, &n,
                 NULL);
    return (uint32_t)n;
}

// Continues what w said, in another job: how many of its tokens came from a cache.
static uint32_t go_on(srv_app *app, const watched *w, const char *more) {
    char prompt[8192];
    watched next;
    snprintf(prompt, sizeof prompt, "%s%s%s", w->job.request.text, w->text, more);
    watched_run(&next, app, prompt, 2);
    return next.result.n_reused;
}

static void test_conversation_finds_its_slot(void **state) {
    (void)state;
    srv_app *app = scene_begin(2, 4);
    watched river, train, mouse;
    watched_run(&river, app, RIVER, 8);
    watched_run(&train, app, TRAIN, 8);
    assert_int_equal(river.result.n_reused, 0);
    assert_int_equal(train.result.n_reused, 0);
    // Each prompt, and what followed it, is in its own cache.
    assert_true(go_on(app, &river, " and") >= n_tokens_of(app, RIVER) + 6);
    assert_true(go_on(app, &train, " and") >= n_tokens_of(app, TRAIN) + 6);
    // A third one takes the place of the one that was used first.
    watched_run(&mouse, app, MOUSE, 8);
    assert_int_equal(mouse.result.n_reused, 0);
    assert_true(go_on(app, &train, " but") >= n_tokens_of(app, TRAIN) + 6);
    assert_true(go_on(app, &mouse, " but") >= n_tokens_of(app, MOUSE) + 6);
    assert_int_equal(go_on(app, &river, " but"), 0);
    scene_end(app);
}

static void test_ids_find_the_slot_of_their_text(void **state) {
    (void)state;
    srv_app *app = scene_begin(3, 4);
    watched river, train, w;
    ink_token ids[256];
    size_t n = 0;
    watched_run(&river, app, RIVER, 1);
    watched_run(&train, app, TRAIN, 1);
    assert_int_equal(ink_tokenize(ink_service_model(app->models[0].service), RIVER, strlen(RIVER),
                                  0, ids, 256, &n, NULL),
                     INK_OK);
    watched_init(&w, app, 0, " slowly", 2);
    w.generate.prompt_tokens = ids;
    w.generate.n_prompt_tokens = n;
    watched_start(&w);
    watched_wait(&w);
    assert_int_equal(w.status, INK_OK);
    assert_int_equal(w.result.n_prompt, n + n_tokens_of(app, " slowly"));
    assert_int_equal(w.result.n_reused, n);
    scene_end(app);
}

// What is alike in a letter or two is no reason to lose the longer text that is there.
static void test_few_letters_are_little(void **state) {
    (void)state;
    srv_app *app = scene_begin(2, 4);
    watched river, train, tom;
    watched_run(&river, app, RIVER, 4);
    watched_run(&train, app, TRAIN, 4);
    watched_run(&tom, app, "Tom wanted to be as tall as the oak behind the house one day", 4);
    assert_true(go_on(app, &train, " and") >= n_tokens_of(app, TRAIN) + 2);
    scene_end(app);
}

// Two continuations of one prompt: the text behind it tells their slots apart.
static void test_what_was_said_counts(void **state) {
    (void)state;
    srv_app *app = scene_begin(2, 4);
    static watched w[2];
    ink_sampler_options sampling[2];
    srv_job *jobs[2];
    srv_failure why = {0};
    for (size_t i = 0; i < 2; i++) {
        ink_sampler_options_init(&sampling[i], sizeof sampling[i]);
        sampling[i].seed_set = 1;
        sampling[i].seed = 7 + i;
        watched_init(&w[i], app, (char)('0' + i), RIVER, 24);
        w[i].job.request.chain = "temp=1";
        w[i].job.request.sampler = &sampling[i];
        jobs[i] = &w[i].job;
    }
    assert_true(srv_jobs_submit(jobs, 2, &why));
    watched_wait(&w[0]);
    watched_wait(&w[1]);
    assert_string_not_equal(w[0].text, w[1].text);
    const size_t last = (size_t)(journal[1] - '0'); // its slot was used later
    assert_true(go_on(app, &w[last], " and") > n_tokens_of(app, RIVER) + 12);
    assert_true(go_on(app, &w[1 - last], " and") > n_tokens_of(app, RIVER) + 12);
    scene_end(app);
}

// A slot whose next job was refused still knows what it holds.
static void test_refused_job_leaves_the_slot(void **state) {
    (void)state;
    srv_app *app = scene_begin(2, 4);
    watched river, bad;
    srv_failure why = {0};
    watched_run(&river, app, RIVER, 4);
    watched_init(&bad, app, 0, RIVER, 2);
    bad.job.request.chain = "no such step";
    assert_false(watched_submit(&bad, &why));
    assert_true(go_on(app, &river, " and") >= n_tokens_of(app, RIVER) + 2);
    scene_end(app);
}

// A cut prompt leaves a cache that begins inside of it: the slot is not taken for the whole one.
static void test_cut_prompt_is_forgotten(void **state) {
    (void)state;
    srv_app *app = scene_begin(2, 4);
    char *text = calloc(1, 8192);
    assert_non_null(text);
    while (n_tokens_of(app, text) < 300) strcat(text, "and then the frog said no. ");
    watched w, river;
    watched_run(&river, app, RIVER, 1);
    watched_init(&w, app, 0, text, 4);
    w.generate.overflow = INK_OVERFLOW_LEFT;
    watched_start(&w);
    watched_wait(&w);
    assert_int_equal(w.status, INK_OK);
    assert_true(w.result.n_dropped > 0);
    // So its beginning goes where nobody was for longest, and not to the slot of the cut one.
    text[strlen("and then the frog said no. ")] = 0;
    watched_run(&w, app, text, 1);
    assert_int_equal(go_on(app, &river, ""), 0);
    free(text);
    scene_end(app);
}

static void test_order_and_bound(void **state) {
    (void)state;
    srv_app *app = scene_begin(1, 3);
    watched a, b, c, d, e;
    srv_failure why = {0};
    watched_hold(&a, app, 'a', RIVER);
    assert_int_equal(srv_slots_n_running(slots_of(app)), 1);
    watched_init(&b, app, 'b', TRAIN, 2);
    watched_init(&c, app, 'c', TRAIN, 2);
    watched_init(&d, app, 'd', MOUSE, 2);
    watched_init(&e, app, 'e', MOUSE, 2);
    b.job.request.priority = INK_PRIORITY_BACKGROUND;
    watched_start(&b);
    watched_start(&c);
    srv_job *two[] = {&d.job, &e.job};
    assert_false(srv_jobs_submit(two, 2, &why)); // both or none
    assert_int_equal(why.status, 429);
    assert_true(why.retry_after_s > 0);
    assert_int_equal(srv_slots_n_waiting(slots_of(app)), 2);
    watched_start(&d);
    assert_false(watched_submit(&e, &why));
    assert_int_equal(why.status, 429);
    assert_int_equal(srv_slots_n_waiting(slots_of(app)), 3);
    e.job.goes_on = true;
    assert_true(watched_submit(&e, &why));
    assert_int_equal(srv_slots_n_waiting(slots_of(app)), 4);
    gate_set(true);
    watched_wait(&a);
    watched_wait(&b);
    watched_wait(&c);
    watched_wait(&d);
    watched_wait(&e);
    assert_string_equal(journal, "acdeb");
    assert_true(b.result.queue_ms >= e.result.queue_ms);
    assert_true(e.result.first_token_ms >= e.result.queue_ms);
    assert_int_equal(srv_slots_n_waiting(slots_of(app)), 0);
    scene_end(app);
}

// Background work leaves a slot to others, however much of it waits; alone it has the only one.
static void test_background_leaves_a_slot(void **state) {
    (void)state;
    srv_app *app = scene_begin(2, 8);
    watched slow, more, quick;
    watched_init(&slow, app, 's', RIVER, 4);
    slow.job.request.priority = INK_PRIORITY_BACKGROUND;
    slow.held = true;
    watched_start(&slow);
    watched_wait_piece(&slow);
    watched_init(&more, app, 'm', RIVER, 4);
    more.job.request.priority = INK_PRIORITY_BACKGROUND;
    watched_start(&more);
    assert_int_equal(srv_slots_n_running(slots_of(app)), 1);
    assert_int_equal(srv_slots_n_waiting(slots_of(app)), 1);
    watched_init(&quick, app, 'q', MOUSE, 2);
    watched_start(&quick); // takes the slot that was left, though another waits
    assert_int_equal(srv_slots_n_running(slots_of(app)), 2);
    assert_int_equal(srv_slots_n_waiting(slots_of(app)), 1);
    gate_set(true);
    watched_wait(&slow);
    watched_wait(&more);
    watched_wait(&quick);
    assert_int_equal(srv_slots_n_running(slots_of(app)), 0);
    scene_end(app);
}

// Who comes behind many that were submitted at once does not wait for all of them.
static void test_one_comes_in_between_many(void **state) {
    (void)state;
    srv_app *app = scene_begin(1, 16);
    static watched many[4];
    watched first, single;
    srv_job *jobs[4];
    srv_failure why = {0};
    watched_hold(&first, app, 'f', RIVER);
    for (size_t i = 0; i < 4; i++) {
        watched_init(&many[i], app, (char)('0' + i), MOUSE, 2);
        jobs[i] = &many[i].job;
    }
    assert_true(srv_jobs_submit(jobs, 4, &why));
    watched_init(&single, app, 's', TRAIN, 2);
    watched_start(&single);
    gate_set(true);
    for (size_t i = 0; i < 4; i++) watched_wait(&many[i]);
    watched_wait(&single);
    watched_wait(&first);
    assert_string_equal(journal, "f0s123");
    scene_end(app);
}

// As many as there are slots and places at once, side by side.
static void test_batch_fills_slots_and_queue(void **state) {
    (void)state;
    srv_app *app = scene_begin(2, 2);
    static watched w[4];
    srv_job *jobs[4];
    spoken expected;
    srv_failure why = {0};
    for (size_t i = 0; i < 4; i++) {
        watched_init(&w[i], app, 0, MOUSE, 3);
        w[i].held = true;
        jobs[i] = &w[i].job;
    }
    assert_true(srv_jobs_submit(jobs, 4, &why));
    watched_wait_piece(&w[0]);
    assert_int_equal(srv_slots_n_running(slots_of(app)), 2);
    assert_int_equal(srv_slots_n_waiting(slots_of(app)), 2);
    gate_set(true);
    engine_says(app, &w[0], &expected);
    for (size_t i = 0; i < 4; i++) {
        watched_wait(&w[i]);
        assert_string_equal(w[i].text, expected.text);
    }
    scene_end(app);
}

static void test_what_the_engine_refuses(void **state) {
    (void)state;
    srv_app *app = scene_begin(1, 4);
    watched bad, good;
    srv_failure why = {0};
    watched_init(&bad, app, 'x', MOUSE, 2);
    bad.job.request.chain = "no such step";
    assert_false(watched_submit(&bad, &why));
    assert_int_equal(why.status, 400);
    assert_int_equal(bad.n_done, 0);
    assert_int_equal(srv_slots_n_running(slots_of(app)), 0);
    // One that waited is told by on_done, and the next has its turn.
    watched held;
    watched_hold(&held, app, 0, TRAIN);
    watched_start(&bad);
    watched_init(&good, app, 'y', MOUSE, 2);
    watched_start(&good);
    gate_set(true);
    watched_wait(&good);
    watched_wait(&bad);
    assert_int_equal(bad.status, INK_E_ARG);
    assert_int_equal(bad.n_done, 1);
    assert_int_equal(good.status, INK_OK);
    assert_string_equal(journal, "xy");
    // Of several the first decides whether anything is begun; the others are told by on_done.
    watched_init(&bad, app, 0, MOUSE, 2);
    bad.job.request.chain = "no such step";
    watched_init(&good, app, 0, MOUSE, 2);
    srv_job *bad_first[] = {&bad.job, &good.job}, *good_first[] = {&good.job, &bad.job};
    assert_false(srv_jobs_submit(bad_first, 2, &why));
    assert_int_equal(srv_slots_n_running(slots_of(app)), 0);
    assert_true(srv_jobs_submit(good_first, 2, &why));
    watched_wait(&good);
    watched_wait(&bad);
    assert_int_equal(bad.status, INK_E_ARG);
    assert_int_equal(good.status, INK_OK);
    // What only shows when it runs.
    watched_init(&bad, app, 0, MOUSE, 2);
    const ink_token outside = 1 << 30;
    bad.generate.prompt_tokens = &outside;
    bad.generate.n_prompt_tokens = 1;
    if (watched_submit(&bad, &why)) {
        watched_wait(&bad);
        assert_int_equal(bad.status, INK_E_TOKEN);
    }
    scene_end(app);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_the_engine_s),
        cmocka_unit_test(test_conversation_finds_its_slot),
        cmocka_unit_test(test_ids_find_the_slot_of_their_text),
        cmocka_unit_test(test_few_letters_are_little),
        cmocka_unit_test(test_what_was_said_counts),
        cmocka_unit_test(test_refused_job_leaves_the_slot),
        cmocka_unit_test(test_cut_prompt_is_forgotten),
        cmocka_unit_test(test_order_and_bound),
        cmocka_unit_test(test_background_leaves_a_slot),
        cmocka_unit_test(test_one_comes_in_between_many),
        cmocka_unit_test(test_batch_fills_slots_and_queue),
        cmocka_unit_test(test_what_the_engine_refuses),
    };
    return cmocka_run_group_tests_name("jobs", tests, NULL, NULL);
}
