// SPDX-License-Identifier: MIT
// Label: threads
// What a host does inside of on_suggestion: cancels, types on, accepts; and what it is refused
// there. A callback is the one place that surely lies between two evaluations of a run, so it also
// stands for the other thread: that comes, asks, and is gone before the run goes on.
#include "typing_fixture.h"

#include <pthread.h>

static opened story;
static const char first_text[] = "Once upon a time there was a";
static const char second_text[] = "Once upon a time there was a little boy who";

typedef enum action {
    NOTHING,
    CANCEL,
    UPDATE,
    ACCEPT,
    RETRY,
    REJECT,
    REENTER,
    OTHER_THREAD,
    N_ACTIONS
} action;

typedef struct host {
    action what;
    unsigned at, n; // acts in the call with this number; calls so far
    ink_typing *typing;
    field f;
    ink_status status[4];
    char text[SHOWN_BYTES]; // as the call told it
    uint64_t revision;      // of the last text
    unsigned n_wrong;
} host;

static void *other_thread(void *arg) {
    host *h = arg;
    ink_error error = {0};
    uint32_t more = 7;
    ink_suggestion s = {.size = sizeof s};
    h->status[0] = ink_typing_run(h->typing, UINT32_MAX, &more, &error);
    h->n_wrong += more != 7 || error.status != INK_E_BUSY || error.message[0] == 0;
    h->status[1] = ink_typing_suggestion(h->typing, 0, &s);
    field_set(&h->f, second_text);
    h->status[2] =
        ink_typing_update(h->typing, h->f.text, h->f.bytes, h->f.caret, &h->revision, &error);
    return NULL;
}

static void act(host *h, const ink_suggestion *s) {
    ink_edit edit = {.size = sizeof edit};
    pthread_t thread;
    switch (h->what) {
    case CANCEL: ink_typing_cancel(h->typing); break;
    case UPDATE:
        field_set(&h->f, second_text);
        h->status[0] = typing_update(h->typing, &h->f, &h->revision);
        break;
    case ACCEPT:
        h->status[0] = ink_typing_accept(h->typing, s, INK_ACCEPT_WORD, &edit, NULL);
        if (h->status[0] != INK_OK) break;
        field_apply(&h->f, &edit);
        h->revision = edit.revision;
        break;
    case RETRY: h->status[0] = ink_typing_retry(h->typing, &h->revision, NULL); break;
    case REJECT: h->status[0] = ink_typing_reject(h->typing, &h->revision, NULL); break;
    case REENTER:
        h->status[0] = ink_typing_run(h->typing, 0, NULL, NULL);
        h->status[1] = ink_typing_free(h->typing);
        break;
    case OTHER_THREAD:
        if (pthread_create(&thread, NULL, other_thread, h) != 0 || pthread_join(thread, NULL) != 0)
            h->n_wrong++;
        break;
    default: break;
    }
}

static void on_suggestion(void *user, ink_typing *typing, const ink_suggestion *s) {
    host *h = user;
    h->n_wrong +=
        typing != h->typing || s->text == NULL || s->text[s->bytes] != 0 || s->bytes >= SHOWN_BYTES;
    if (h->n++ != h->at) return;
    memcpy(h->text, s->text, s->bytes + 1);
    act(h, s);
}

static const ink_typing_options *options_of(host *h, uint32_t n_alternatives) {
    static ink_typing_options options;
    options = typing_defaults();
    options.n_alternatives = n_alternatives;
    options.until = INK_UNTIL_LENGTH;
    options.max_tokens = 7;
    options.on_suggestion = on_suggestion;
    options.user = h;
    return &options;
}

// The action in call number `at`. Returns false when there were not so many calls.
static bool run_with(action what, unsigned at, uint32_t n_alternatives) {
    static host h;
    h = (host){.what = what, .at = at};
    const ink_typing_options *options = options_of(&h, n_alternatives);
    h.typing = typing_new(story.model, options);
    field_set(&h.f, first_text);
    assert_int_equal(typing_update(h.typing, &h.f, &h.revision), INK_OK);
    typing_finish(h.typing);
    assert_int_equal(h.n_wrong, 0);
    const bool acted = h.n > at;
    const ink_suggestion s = typing_shown(h.typing, 0);
    assert_int_equal(s.revision, h.revision);
    if (acted && what == CANCEL) // what is ready stays
        assert_string_equal(s.text, h.text);
    if (acted && (what == UPDATE || what == REJECT)) assert_int_equal(h.status[0], INK_OK);
    if (acted && (what == ACCEPT || what == RETRY))
        assert_true(h.status[0] == INK_OK || (h.text[0] == 0 && h.status[0] == INK_E_NOT_FOUND));
    if (acted && what == REENTER) {
        assert_int_equal(h.status[0], INK_E_REENTRANT);
        assert_int_equal(h.status[1], INK_E_REENTRANT);
    }
    if (acted && what == OTHER_THREAD) {
        assert_int_equal(h.status[0], INK_E_BUSY);
        assert_int_equal(h.status[1], INK_OK);
        assert_int_equal(h.status[2], INK_OK);
    }
    if (acted && what == REJECT) assert_int_equal(s.bytes, 0);
    // The session goes on: with this text, where it has suggestions as ever, and with another one.
    h.what = NOTHING;
    if (what != CANCEL && what != RETRY && what != REJECT)
        typing_expect_fresh(h.typing, story.model, options, &h.f, "after a callback");
    field_type(&h.f, " very");
    assert_int_equal(typing_update(h.typing, &h.f, NULL), INK_OK);
    typing_expect_fresh(h.typing, story.model, options, &h.f, "after a callback and a key");
    assert_int_equal(ink_typing_free(h.typing), INK_OK);
    return acted;
}

static void every_call(action what) {
    for (uint32_t n_alternatives = 1; n_alternatives <= 3; n_alternatives += 2) {
        unsigned at = 0;
        while (run_with(what, at, n_alternatives)) at++;
        assert_true(at >= 4); // 7 tokens, almost every one of which shows something
    }
}

static void test_cancel(void **state) {
    (void)state;
    every_call(CANCEL);
}
static void test_update(void **state) {
    (void)state;
    every_call(UPDATE);
}
static void test_accept(void **state) {
    (void)state;
    every_call(ACCEPT);
}
static void test_retry(void **state) {
    (void)state;
    every_call(RETRY);
}
static void test_reject(void **state) {
    (void)state;
    every_call(REJECT);
}
static void test_reentrant(void **state) {
    (void)state;
    every_call(REENTER);
}
static void test_other_thread_is_busy(void **state) {
    (void)state;
    every_call(OTHER_THREAD);
}

// The best suggestion only grows while a run goes on, and the last call says that it is done.
typedef struct growth {
    char text[SHOWN_BYTES];
    uint64_t revision;
    unsigned n, n_shrunk, n_done, n_after_done;
} growth;

static void on_growth(void *user, ink_typing *typing, const ink_suggestion *s) {
    growth *g = user;
    (void)typing;
    g->n++;
    g->n_after_done += g->n_done > 0;
    g->n_shrunk += strncmp(s->text, g->text, strlen(g->text)) != 0 || s->revision != g->revision;
    g->n_done += s->done;
    if (s->bytes < SHOWN_BYTES) memcpy(g->text, s->text, s->bytes + 1);
}

static void test_growth(void **state) {
    (void)state;
    static field f;
    static growth g;
    ink_typing_options options = typing_defaults();
    options.until = INK_UNTIL_LENGTH;
    options.on_suggestion = on_growth;
    options.user = &g;
    ink_typing *typing = typing_new(story.model, &options);
    for (int i = 0; i < 3; i++) {
        g = (growth){.n = 0};
        field_set(&f, i == 1 ? second_text : first_text);
        assert_int_equal(typing_update(typing, &f, &g.revision), INK_OK);
        assert_int_equal(g.n, 0); // an update evaluates nothing
        typing_finish(typing);
        assert_int_equal(g.n_shrunk, 0);
        assert_int_equal(g.n_done, 1);
        assert_int_equal(g.n_after_done, 0);
        assert_string_equal(g.text, typing_shown(typing, 0).text);
    }
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

// A budget of 0: one evaluation at a time, until nothing is left.
static void test_budget(void **state) {
    (void)state;
    static field f;
    const ink_typing_options options = typing_defaults();
    ink_typing *typing = typing_new(story.model, &options);
    field_set(&f, first_text);
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    uint32_t more = 1;
    unsigned n = 0;
    size_t shown = 0;
    for (; more != 0 && n < 1000; n++) {
        assert_int_equal(ink_typing_run(typing, 0, &more, NULL), INK_OK);
        const ink_suggestion s = typing_shown(typing, 0);
        assert_true(s.bytes >= shown);
        assert_int_equal(s.done, more == 0);
        shown = s.bytes;
    }
    assert_true(n > 3 && n < 1000);
    assert_int_equal(ink_typing_run(typing, 0, &more, NULL), INK_OK);
    assert_int_equal(more, 0);
    typing_expect_fresh(typing, story.model, &options, &f, "step by step");
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static int set_up(void **state) {
    (void)state;
    story = opened_story(1, NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    opened_close(&story);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cancel),
                                       cmocka_unit_test(test_update),
                                       cmocka_unit_test(test_accept),
                                       cmocka_unit_test(test_retry),
                                       cmocka_unit_test(test_reject),
                                       cmocka_unit_test(test_reentrant),
                                       cmocka_unit_test(test_other_thread_is_busy),
                                       cmocka_unit_test(test_growth),
                                       cmocka_unit_test(test_budget)};
    return cmocka_run_group_tests_name("typing: callbacks", tests, set_up, tear_down);
}
