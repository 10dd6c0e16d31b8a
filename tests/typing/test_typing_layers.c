// SPDX-License-Identifier: MIT
// Between any two layers of any evaluation of a run: the text is cancelled, changed, rejected, or
// one more suggestion is asked for. The evaluation asks its sessions there whether to go on, so a
// session that answers in the suggester's place knows the place exactly, where another thread could
// only hope to meet it.
#include "typing/typing_parts.h"
#include "typing_fixture.h"

static opened story;
static const char first_text[] = "Once upon a time there was a";
static const char second_text[] = "Once upon a time there was a little boy who";

typedef enum action { NOTHING, CANCEL, UPDATE, REJECT, RETRY, N_ACTIONS } action;

typedef struct place {
    ink_typing *typing;
    bool (*asked)(const void *arg); // the suggester's own answer
    const void *asked_arg;
    action what;
    unsigned at, n, n_after; // acts when asked this time; times asked, and since then
    field f;
    ink_status status;
    uint64_t revision;
} place;
static place now;

static bool between_layers(const void *arg) {
    (void)arg;
    if (now.n > now.at) now.n_after++;
    if (now.n++ == now.at) {
        switch (now.what) {
        case CANCEL: ink_typing_cancel(now.typing); break;
        case UPDATE:
            field_set(&now.f, second_text);
            now.status = typing_update(now.typing, &now.f, &now.revision);
            break;
        case REJECT: now.status = ink_typing_reject(now.typing, &now.revision, NULL); break;
        case RETRY: now.status = ink_typing_retry(now.typing, &now.revision, NULL); break;
        default: break;
        }
    }
    return now.asked(now.asked_arg);
}

static void answer_instead(ink_typing *typing, uint32_t n_alternatives) {
    now.typing = typing;
    now.asked = typing->s->branches[0].session->interrupted;
    now.asked_arg = typing->s->branches[0].session->interrupted_arg;
    assert_non_null(now.asked);
    for (uint32_t i = 0; i < n_alternatives; i++)
        typing->s->branches[i].session->interrupted = between_layers;
}

// Returns false when the run was not asked so often.
static bool act_at(action what, unsigned at, uint32_t n_alternatives) {
    ink_typing_options options = typing_defaults();
    options.n_alternatives = n_alternatives;
    options.max_tokens = 4;
    options.until = INK_UNTIL_LENGTH;
    ink_typing *typing = typing_new(story.model, &options);
    now = (place){.what = what, .at = at};
    answer_instead(typing, n_alternatives);
    field_set(&now.f, first_text);
    assert_int_equal(typing_update(typing, &now.f, &now.revision), INK_OK);
    uint32_t more = 1;
    assert_int_equal(ink_typing_run(typing, 0, &more, NULL), INK_OK);
    while (more != 0 && now.n <= at) // to the evaluation in which it happens, and no further
        assert_int_equal(ink_typing_run(typing, 0, &more, NULL), INK_OK);
    const bool acted = now.n > at;
    if (acted && (what == CANCEL || what == REJECT)) {
        // No layer was begun any more: each session was asked once why it stopped.
        assert_true(now.n_after <= 2 * n_alternatives);
        assert_int_equal(more, 0);
    }
    const unsigned n = now.n;
    now.what = NOTHING;
    typing_finish(typing);
    if (acted && (what == CANCEL || what == REJECT)) assert_int_equal(now.n, n);
    if (acted && what == REJECT) assert_int_equal(typing_shown(typing, 0).bytes, 0);
    if (acted && what != CANCEL)
        assert_true(now.status == INK_OK ||
                    (what == RETRY && now.status == INK_E_NOT_FOUND)); // nothing was there yet
    assert_int_equal(typing_shown(typing, 0).revision, now.revision);
    if (what == UPDATE || !acted)
        typing_expect_fresh(typing, story.model, &options, &now.f, "changed between layers");
    field_type(&now.f, " ve");
    assert_int_equal(typing_update(typing, &now.f, NULL), INK_OK);
    typing_expect_fresh(typing, story.model, &options, &now.f, "a key after it");
    assert_int_equal(ink_typing_free(typing), INK_OK);
    return acted;
}

static void everywhere(action what) {
    for (uint32_t n_alternatives = 1; n_alternatives <= 3; n_alternatives += 2) {
        unsigned at = 0;
        while (act_at(what, at, n_alternatives)) at++;
        print_message("%u places with %u alternatives\n", at, (unsigned)n_alternatives);
        assert_true(at >= 4 * 4); // 4 evaluations of 4 layers
    }
}

static void test_cancel_between_layers(void **state) {
    (void)state;
    everywhere(CANCEL);
}
static void test_update_between_layers(void **state) {
    (void)state;
    everywhere(UPDATE);
}
static void test_reject_between_layers(void **state) {
    (void)state;
    everywhere(REJECT);
}
static void test_retry_between_layers(void **state) {
    (void)state;
    everywhere(RETRY);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel_between_layers), cmocka_unit_test(test_update_between_layers),
        cmocka_unit_test(test_reject_between_layers), cmocka_unit_test(test_retry_between_layers)};
    return cmocka_run_group_tests_name("typing: between layers", tests, set_up, tear_down);
}
