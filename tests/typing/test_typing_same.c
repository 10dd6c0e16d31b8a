// SPDX-License-Identifier: MIT
// Whatever was done to the field before, and however a run was interrupted: the suggestions are
// those of a session that is new to the text, byte for byte. Random edits; a failure prints the
// seed, with which TYPING_SEED=… runs that sequence alone.
#include "typing_fixture.h"

enum { N_SEQUENCES = 60, N_LONG = 3000, N_STEPS = 14, N_ACCEPTED = 64, REFUSED_BYTES = 256 };

static opened story;
static ink_filter *filter;

static const char *const pieces[] = {
    "a",
    " ",
    "e",
    "th",
    "\n",
    ".",
    ", ",
    " the",
    "ing ",
    "Once upon a time",
    " there was a little",
    " girl named Lily.",
    "\n\nOne day, ",
    "He said, \"",
    "!",
    "\xc3\xa9",
    "\xe4\xb8\xad\xe6\x96\x87",
    "\xf0\x9f\x98\x80",
    "  ",
    "\t",
    "don't ",
    "123 ",
    " was",
    " happy and ",
    "qzx",
    "'s",
    " She went to the park with her mom and played with a big red ball all day long."};
static const char *const listed[] = {"was",  "little", "big red ball", "mom",
                                     "Lily", "happy",  "\xe4\xb8\xad"};
static const char *const stops[] = {" and", ".", "zq"};

static ink_typing_options random_options(uint64_t *state) {
    static const uint32_t words[] = {0, 0, 1, 2, 5, 9, 50}, tokens[] = {0, 0, 1, 4, 16, 40},
                          lengths[] = {1, 2, 5, 8, 12}, ngrams[] = {0, 2, 4},
                          least[] = {1, 1, 0, 6}, contexts[] = {0, 0, 64, 100};
    ink_typing_options o = typing_defaults();
    o.window_words = words[next_number(state, 7)];
    o.window_tokens = tokens[next_number(state, 6)];
    o.max_tokens = lengths[next_number(state, 5)];
    o.until = next_number(state, 5);
    o.min_chars = least[next_number(state, 4)];
    o.n_alternatives = next_number(state, 2) == 0 ? 1 : 1 + next_number(state, 4);
    o.no_repeat_ngram = ngrams[next_number(state, 3)];
    o.n_ctx = contexts[next_number(state, 4)];
    o.kv_type = next_number(state, 3);
    o.text_bytes = next_number(state, 3) == 0 ? 16 : 4096;
    if (next_number(state, 3) == 0) o.filter = filter;
    if (next_number(state, 3) == 0) {
        o.stop = stops;
        o.n_stop = 1 + next_number(state, 3);
    }
    return o;
}

// --- one sequence --------------------------------------------------------------------------------

typedef struct sequence {
    uint64_t seed, state;
    ink_typing_options options;
    ink_typing *typing;
    field f;
    uint64_t revision;
    bool has_text;                   // the last update was taken
    bool comparable;                 // the suggestions for this text are those of a fresh session
    char refused[32][REFUSED_BYTES]; // first words of what was shown since a retry began
    size_t n_refused;
    char accepted[N_ACCEPTED][SHOWN_BYTES];
    size_t n_accepted;
    char name[96];
} sequence;

static uint32_t number(sequence *q, uint32_t below) { return next_number(&q->state, below); }

// The first run of characters that are no blanks; blanks only: nothing.
static void first_word(const char *text, char *out) {
    const char *from = text + strspn(text, " \t\r\n");
    const size_t n = strcspn(from, " \t\r\n");
    assert_true(n < REFUSED_BYTES);
    memcpy(out, from, n);
    out[n] = 0;
}

static void update(sequence *q) {
    uint64_t revision = 0;
    size_t at = 0, length = 0;
    const ink_status status = typing_update(q->typing, &q->f, &revision);
    q->n_refused = 0;
    q->has_text = q->comparable = status == INK_OK;
    if (status == INK_OK) {
        assert_true(revision > q->revision);
        q->revision = revision;
        return;
    }
    // All that can be wrong with these texts is a listed phrase.
    assert_int_equal(status, INK_E_FILTERED);
    assert_non_null(q->options.filter);
    assert_int_equal(ink_filter_find(filter, q->f.text, q->f.caret, &at, &length), INK_OK);
    assert_true(length > 0);
    typing_finish(q->typing);
    assert_int_equal(typing_shown(q->typing, 0).bytes, 0);
}

// Nothing listed is shown, nothing is longer than was asked for.
static void check_shown(sequence *q) {
    static char joined[FIELD_BYTES + SHOWN_BYTES];
    for (uint32_t i = 0; i < q->options.n_alternatives; i++) {
        const ink_suggestion s = typing_shown(q->typing, i);
        size_t at = 0, length = 0;
        assert_true(s.n_tokens <= q->options.max_tokens);
        assert_true(s.n_prompt_evaluated <= s.n_prompt);
        assert_true(s.n_prompt_evaluated <= s.n_evaluated);
        if (s.bytes > 0) assert_int_equal(s.revision, q->revision);
        // Outside of the window there may stand anything.
        if (q->options.filter == NULL || s.bytes == 0 || q->options.window_words > 0 ||
            q->options.window_tokens > 0 || q->f.caret > 200)
            continue;
        memcpy(joined, q->f.text, q->f.caret);
        memcpy(joined + q->f.caret, s.text, s.bytes);
        assert_int_equal(ink_filter_find(filter, joined, q->f.caret + s.bytes, &at, &length),
                         INK_OK);
        if (length > 0)
            fail_msg("seed %llu: \"%s\" was suggested", (unsigned long long)q->seed, s.text);
    }
}

// Alternatives that are shown differ in their first word.
static void check_alternatives(sequence *q) {
    char words[FIELD_ALTERNATIVES][REFUSED_BYTES];
    size_t n = 0;
    for (uint32_t i = 0; i < q->options.n_alternatives; i++) {
        const ink_suggestion s = typing_shown(q->typing, i);
        if (s.bytes == 0) continue;
        first_word(s.text, words[n]);
        for (size_t j = 0; j < n; j++)
            if (strcmp(words[j], words[n]) == 0)
                fail_msg("seed %llu: two alternatives begin with \"%s\"",
                         (unsigned long long)q->seed, words[n]);
        n++;
    }
}

static void compare(sequence *q) {
    if (!q->has_text) return;
    typing_finish(q->typing);
    check_shown(q);
    if (q->comparable) {
        check_alternatives(q);
        typing_expect_fresh(q->typing, story.model, &q->options, &q->f, q->name);
        return;
    }
    for (uint32_t i = 0; i < q->options.n_alternatives && q->n_refused > 0; i++) {
        char word[REFUSED_BYTES];
        const ink_suggestion s = typing_shown(q->typing, i);
        if (s.bytes == 0) continue;
        first_word(s.text, word);
        for (size_t j = 0; j < q->n_refused; j++)
            if (strcmp(word, q->refused[j]) == 0)
                fail_msg("%s: \"%s\" was refused and came again behind \"%.*s\"", q->name, word,
                         (int)q->f.caret, q->f.text);
    }
}

// --- steps ---------------------------------------------------------------------------------------

static void edit_text(sequence *q) {
    switch (number(q, 6)) {
    case 0: field_remove(&q->f, -(long)(1 + number(q, 6))); break;
    case 1: field_remove(&q->f, 1 + (long)number(q, 3)); break;
    case 2: field_move(&q->f, (long)number(q, 81) - 40); break;
    case 3: q->f.caret = q->f.bytes; break;
    default: {
        const char *piece = pieces[number(q, sizeof pieces / sizeof *pieces)];
        if (q->f.bytes + strlen(piece) > 1600) field_set(&q->f, "Again");
        field_type(&q->f, piece);
    }
    }
    update(q);
}

static void some_steps(sequence *q) {
    uint32_t more = 1;
    for (uint32_t n = number(q, 7); n > 0 && more != 0; n--) {
        assert_int_equal(ink_typing_run(q->typing, 0, &more, NULL), INK_OK);
        if (q->has_text) check_shown(q);
    }
}

static void accept(sequence *q) {
    ink_edit edit = {.size = sizeof edit};
    const ink_suggestion s = typing_shown(q->typing, number(q, q->options.n_alternatives));
    const bool given = number(q, 2) == 0;
    const uint32_t unit = number(q, 3);
    char text[SHOWN_BYTES];
    memcpy(text, s.text, s.bytes + 1);
    const ink_status status = ink_typing_accept(q->typing, given ? &s : NULL, unit, &edit, NULL);
    if (status == INK_E_NOT_FOUND) {
        assert_true(!given || s.bytes == 0);
        return;
    }
    if (status == INK_E_FILTERED) return; // together with the text it would be a phrase
    assert_int_equal(status, INK_OK);
    assert_int_equal(edit.at, q->f.caret);
    assert_int_equal(edit.n_removed, 0);
    assert_true(edit.bytes > 0);
    if (given) assert_memory_equal(edit.text, text, edit.bytes);
    if (given && unit == INK_ACCEPT_ALL) assert_int_equal(edit.bytes, strlen(text));
    if (unit == INK_ACCEPT_LINE) {
        const char *feed = strchr(edit.text, '\n');
        assert_true(feed == NULL || feed[1] == 0);
    }
    assert_true(edit.revision > q->revision);
    q->revision = edit.revision;
    memcpy(q->accepted[q->n_accepted++ % N_ACCEPTED], edit.text, edit.bytes + 1);
    field_apply(&q->f, &edit);
    q->n_refused = 0;
    q->comparable = true;
}

static void undo(sequence *q) {
    ink_edit edit = {.size = sizeof edit};
    const ink_status status = ink_typing_undo(q->typing, &edit, NULL);
    if (status == INK_E_NOT_FOUND) return;
    assert_int_equal(status, INK_OK);
    assert_int_equal(edit.bytes, 0);
    assert_true(edit.n_removed > 0 && edit.at + edit.n_removed <= q->f.bytes);
    bool known = false;
    for (size_t i = 0; i < q->n_accepted && i < N_ACCEPTED; i++)
        known = known || (strlen(q->accepted[i]) == edit.n_removed &&
                          memcmp(q->accepted[i], q->f.text + edit.at, edit.n_removed) == 0);
    assert_true(known);
    assert_true(edit.revision > q->revision);
    q->revision = edit.revision;
    field_apply(&q->f, &edit);
    q->n_refused = 0;
    // What is left may hold a listed phrase that the undone text kept apart.
    q->has_text = q->comparable = true;
    if (q->options.filter != NULL) update(q);
}

static void retry(sequence *q) {
    uint64_t revision = 0;
    size_t n = q->n_refused;
    for (uint32_t i = 0; i < q->options.n_alternatives && n < 32; i++) {
        const ink_suggestion s = typing_shown(q->typing, i);
        if (s.bytes > 0) first_word(s.text, q->refused[n++]);
    }
    const ink_status status = ink_typing_retry(q->typing, &revision, NULL);
    if (status == INK_E_NOT_FOUND || status == INK_E_LIMIT) return;
    assert_int_equal(status, INK_OK);
    assert_true(revision > q->revision);
    q->revision = revision;
    q->n_refused = n;
    q->comparable = false;
}

static void reject(sequence *q) {
    uint64_t revision = 0;
    uint32_t more = 1;
    assert_int_equal(ink_typing_reject(q->typing, &revision, NULL), INK_OK);
    assert_true(revision > q->revision);
    q->revision = revision;
    assert_int_equal(ink_typing_run(q->typing, 0, &more, NULL), INK_OK);
    assert_int_equal(more, 0);
    assert_int_equal(typing_shown(q->typing, 0).bytes, 0);
    q->comparable = false;
    q->n_refused = 0;
}

static void step(sequence *q, unsigned i) {
    const uint32_t kind = number(q, 20);
    snprintf(q->name, sizeof q->name, "seed %llu, step %u, kind %u", (unsigned long long)q->seed, i,
             kind);
    if (kind < 10 || !q->has_text) {
        edit_text(q);
        if (number(q, 3) == 0) some_steps(q);
    } else if (kind < 14) {
        if (number(q, 2) == 0) typing_finish(q->typing);
        accept(q);
    } else if (kind == 14) {
        undo(q);
    } else if (kind == 15) {
        typing_finish(q->typing);
        retry(q);
    } else if (kind == 16) {
        reject(q);
    } else if (kind == 17) {
        ink_typing_cancel(q->typing);
        edit_text(q);
    } else {
        some_steps(q);
    }
    if (number(q, 3) != 0) compare(q);
}

static void run_sequence(uint64_t seed) {
    static sequence q;
    q = (sequence){.seed = seed, .state = seed};
    q.options = random_options(&q.state);
    typing_where = q.name;
    ink_error error = {0};
    const ink_status status = ink_typing_new(&q.typing, story.model, &q.options, &error);
    if (status == INK_E_LIMIT) return; // a window that the context does not hold
    assert_int_equal(status, INK_OK);
    field_set(&q.f, number(&q, 2) == 0 ? "" : "Once upon a time there was a");
    update(&q);
    for (unsigned i = 0; i < N_STEPS; i++) step(&q, i);
    compare(&q);
    assert_int_equal(ink_typing_free(q.typing), INK_OK);
}

static void test_random_edits(void **state) {
    (void)state;
    const char *given = getenv("TYPING_SEED");
    const bool all = getenv("INKLING_TEST_LONG") != NULL;
    if (given != NULL) {
        run_sequence(strtoull(given, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= (all ? N_LONG : N_SEQUENCES); seed++) run_sequence(seed);
    if (!all) print_message("left out: %d of %d sequences\n", N_LONG - N_SEQUENCES, N_LONG);
}

static int set_up(void **state) {
    (void)state;
    story = opened_story(1, NULL);
    return ink_filter_new(&filter, NULL, listed, sizeof listed / sizeof *listed, NULL) != INK_OK;
}

static int tear_down(void **state) {
    (void)state;
    ink_filter_unref(filter);
    opened_close(&story);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_edits)};
    return cmocka_run_group_tests_name("typing: the same bytes", tests, set_up, tear_down);
}
