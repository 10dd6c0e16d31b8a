// SPDX-License-Identifier: MIT
// Suggestions found another way: by ink_session_generate over the same text, and by a session that
// is given only the text of the window.
#include "typing_fixture.h"

static opened story;
static ink_sampler *greedy;

static const char *const texts[] = {
    "Once upon a time",
    "Once upon a time ",
    "Once upon a time there was a little gir",
    "Once upon a time, in a small house, there lived a wo",
    "\"Hello,\" said the",
    "The cat sat on the mat. The cat sat on the",
    "He was not happ",
    "She said: don",
    "One day,\n",
    "One day,\n\n",
    "a",
    "caf\xc3\xa9 and \xe4\xb8\xad\xe6\x96\x87",
    "They had 12 apples and 1",
    "Lily and Tom went to the park. They saw a big tree. ",
};

static void expect_text(const char *text, const ink_suggestion *s, const collected *c) {
    if (s->bytes == c->bytes && memcmp(s->text, c->text, c->bytes) == 0) return;
    fail_msg("behind \"%s\": \"%s\" was suggested, generate says \"%.*s\"", text, s->text,
             (int)c->bytes, c->text);
}

// One alternative to its full length is a greedy continuation.
static void test_generate_says_the_same(void **state) {
    (void)state;
    static field f;
    for (uint32_t n_tokens = 1; n_tokens <= 16; n_tokens += 5) {
        ink_typing_options options = typing_defaults();
        options.until = INK_UNTIL_LENGTH;
        options.max_tokens = n_tokens;
        ink_typing *typing = typing_new(story.model, &options);
        ink_session *session = opened_session(&story, 0, INK_KV_F16, 1);
        ink_generate_options g;
        ink_generate_options_init(&g, sizeof g);
        g.flags = INK_GENERATE_FRESH | INK_GENERATE_HEAL;
        g.n_tokens = n_tokens;
        g.sampler = greedy;
        g.no_repeat_ngram = options.no_repeat_ngram;
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            collected c = {.bytes = 0};
            ink_result result = {.size = sizeof result};
            assert_int_equal(ink_session_generate(session, texts[i], strlen(texts[i]), &g, collect,
                                                  &c, &result, NULL),
                             INK_OK);
            field_set(&f, texts[i]);
            assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
            typing_finish(typing);
            const ink_suggestion s = typing_shown(typing, 0);
            expect_text(texts[i], &s, &c);
            assert_int_equal(s.stop, result.stop);
            assert_int_equal(s.n_tokens, result.n_generated);
        }
        assert_int_equal(ink_session_free(session), INK_OK);
        assert_int_equal(ink_typing_free(typing), INK_OK);
    }
}

// With W words before the caret reading begins at word K * ceil(max(0, W - N) / K), the blank
// before it included.
static size_t window_start(const char *text, uint32_t limit) {
    size_t starts[256], n = 0;
    for (size_t i = 0; text[i] != 0; i++)
        if (text[i] != ' ' && (i == 0 || text[i - 1] == ' ')) starts[n++] = i;
    const size_t k = limit / 2 > 0 ? limit / 2 : 1, over = n > limit ? n - limit : 0;
    const size_t word = k * ((over + k - 1) / k);
    if (word == 0) return 0;
    return word < n ? starts[word] - 1 : strlen(text);
}

static void test_window_of_words(void **state) {
    (void)state;
    static const char *const words[] = {"the",  "girl", "was", "happy", "and", "played",
                                        "with", "her",  "dog", "all",   "day,"};
    static const uint32_t limits[] = {2, 5, 10, 13};
    static field whole, part;
    static shown_all got, expected;
    for (size_t w = 0; w < sizeof limits / sizeof *limits; w++) {
        ink_typing_options options = typing_defaults(), open = typing_defaults();
        options.window_words = limits[w];
        options.n_alternatives = open.n_alternatives = 2;
        ink_typing *typing = typing_new(story.model, &options);
        field_set(&whole, "Once");
        for (size_t i = 0; i < 40; i++) {
            field_type(&whole, " ");
            field_type(&whole, words[i * 7 % 11]);
            assert_int_equal(typing_update(typing, &whole, NULL), INK_OK);
            typing_finish(typing);
            typing_copy(typing, 2, &got);
            field_set(&part, whole.text + window_start(whole.text, limits[w]));
            assert_int_equal(typing_fresh(story.model, &open, &part, &expected), INK_OK);
            if (shown_same(&got, &expected)) continue;
            shown_print("window", &got);
            shown_print(part.text, &expected);
            fail_msg("a window of %u words over \"%s\"", (unsigned)limits[w], whole.text);
        }
        assert_int_equal(ink_typing_free(typing), INK_OK);
    }
}

// A word that does not end: 128 bytes of it are read as a word is.
static void test_window_in_a_long_word(void **state) {
    (void)state;
    enum { LIMIT = 3, BYTES = 1500 };
    static field whole, part;
    static shown_all got, expected;
    ink_typing_options options = typing_defaults(), open = typing_defaults();
    options.window_words = LIMIT;
    ink_typing *typing = typing_new(story.model, &options);
    field_set(&whole, "");
    for (size_t n = 1; n <= BYTES; n++) {
        field_type(&whole, (char[]){"theboyandthegirl"[n % 17 % 16], 0});
        assert_int_equal(typing_update(typing, &whole, NULL), INK_OK);
        if (n % 40 != 1 && n % 128 > 1) continue;
        typing_finish(typing);
        typing_copy(typing, 1, &got);
        const size_t n_words = (n + 127) / 128, over = n_words > LIMIT ? n_words - LIMIT : 0;
        field_set(&part, whole.text + over * 128);
        assert_int_equal(typing_fresh(story.model, &open, &part, &expected), INK_OK);
        if (shown_same(&got, &expected)) continue;
        shown_print("window", &got);
        shown_print(part.text, &expected);
        fail_msg("%zu bytes", n);
    }
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

// A window of tokens: never more are read, and not less than half once there are enough.
static void test_window_of_tokens(void **state) {
    (void)state;
    enum { LIMIT = 16 };
    static field f;
    ink_typing_options options = typing_defaults();
    options.window_tokens = LIMIT;
    options.max_tokens = 2;
    ink_typing *typing = typing_new(story.model, &options);
    field_set(&f, "");
    for (int i = 0; i < 200; i++) {
        field_type(&f, i % 5 == 4 ? " " : (char[]){(char)('a' + i * 7 % 26), 0});
        assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
        typing_finish(typing);
        const ink_suggestion s = typing_shown(typing, 0);
        assert_true(s.n_prompt <= LIMIT);
        if (i > 100) assert_true(s.n_prompt + 8 >= LIMIT / 2); // some are taken back
    }
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void expect_end(const char *text, uint32_t until, const char *const *stop, size_t n_stop,
                       uint32_t max_tokens) {
    static field f;
    ink_typing_options options = typing_defaults(), longer = typing_defaults();
    static shown_all got, all;
    options.until = until;
    options.stop = stop;
    options.n_stop = n_stop;
    options.max_tokens = longer.max_tokens = max_tokens;
    longer.until = INK_UNTIL_LENGTH;
    field_set(&f, text);
    assert_int_equal(typing_fresh(story.model, &options, &f, &got), INK_OK);
    assert_int_equal(typing_fresh(story.model, &longer, &f, &all), INK_OK);
    // It is the beginning of what has no end.
    assert_true(got.list[0].bytes <= all.list[0].bytes);
    assert_memory_equal(got.list[0].text, all.list[0].text, got.list[0].bytes);
    assert_int_equal(got.list[0].done, 1);
    const char *shown = got.list[0].text;
    print_message("until %u: \"%s\" (%s)\n", (unsigned)until, shown,
                  ink_stop_name(got.list[0].stop));
    for (size_t i = 0; i < n_stop; i++) assert_null(strstr(shown, stop[i]));
    if (got.list[0].stop == INK_STOP_STRING) {
        bool follows = false;
        for (size_t i = 0; i < n_stop; i++)
            follows =
                follows || strncmp(all.list[0].text + strlen(shown), stop[i], strlen(stop[i])) == 0;
        assert_true(follows);
    }
    const size_t first = strspn(shown, " \n");
    if (until == INK_UNTIL_WORD)
        assert_int_equal(first + strcspn(shown + first, " \n"), strlen(shown));
    if (until == INK_UNTIL_LINE && first == 0) assert_null(strchr(shown, '\n'));
    if (until == INK_UNTIL_SENTENCE && got.list[0].stop == INK_STOP_CALLBACK)
        assert_non_null(strpbrk(shown, ".!?"));
}

static void test_ends(void **state) {
    (void)state;
    static const char *const stop[] = {" the", "ing"};
    for (uint32_t until = INK_UNTIL_LENGTH; until <= INK_UNTIL_PARAGRAPH; until++)
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            expect_end(texts[i], until, NULL, 0, 60);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_end(texts[i], INK_UNTIL_LENGTH, stop, 2, 40);
}

// Ranked, and the first of several is what a single one is.
static void test_alternatives_are_ranked(void **state) {
    (void)state;
    static field f;
    static shown_all several, single;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ink_typing_options options = typing_defaults();
        field_set(&f, texts[i]);
        assert_int_equal(typing_fresh(story.model, &options, &f, &single), INK_OK);
        assert_true(isnan(single.list[0].logprob));
        options.n_alternatives = 5;
        assert_int_equal(typing_fresh(story.model, &options, &f, &several), INK_OK);
        for (uint32_t k = 1; k < 5; k++) {
            if (several.list[k].bytes == 0) continue;
            assert_true(several.list[k - 1].bytes > 0);
            assert_true(several.list[k].logprob <= several.list[k - 1].logprob);
            assert_true(several.list[k].logprob <= 0);
        }
    }
}

static void test_fewest_characters(void **state) {
    (void)state;
    static field f;
    static shown_all s;
    ink_typing_options options = typing_defaults();
    options.min_chars = 5;
    field_set(&f, "\xe4\xb8\xad\xe6\x96\x87 a"); // 4 characters, 8 bytes
    assert_int_equal(typing_fresh(story.model, &options, &f, &s), INK_OK);
    assert_int_equal(s.list[0].bytes, 0);
    field_type(&f, "n");
    assert_int_equal(typing_fresh(story.model, &options, &f, &s), INK_OK);
    assert_true(s.n_prompt > 0);
}

// --- how probable a first word is ----------------------------------------------------------------

static double log_of(const ink_session *session, ink_token token, const char *prefix) {
    double sum = 0;
    size_t n = 0;
    const float *logits = ink_session_logits(session, 0, &n);
    assert_true(logits != NULL && (size_t)token < n);
    for (size_t id = 0; id < n; id++) {
        const ink_token one = (ink_token)id;
        char piece[256];
        size_t bytes = 0;
        if (ink_detokenize(story.model, &one, 1, 0, piece, sizeof piece, &bytes) != INK_OK)
            continue;
        if (bytes >= strlen(prefix) && memcmp(piece, prefix, strlen(prefix)) == 0)
            sum += exp((double)logits[id] - (double)logits[token]);
    }
    return -log(sum);
}

// Behind "... a", whose last token may be another that begins so: that token among those, then the
// word's own.
static double log_of_word(const char *text, const char *word) {
    ink_token tokens[64], token;
    size_t n = 0, n_word = 0;
    ink_session *session = NULL;
    assert_int_equal(ink_tokenize(story.model, text, strlen(text), 0, tokens, 64, &n, NULL),
                     INK_OK);
    assert_int_equal(ink_tokenize(story.model, word, strlen(word), 0, &token, 1, &n_word, NULL),
                     INK_OK);
    assert_int_equal(n_word, 1);
    assert_int_equal(ink_session_new(&session, story.model, NULL, NULL), INK_OK);
    ink_span span = {.session = session, .tokens = tokens, .n_tokens = n - 1};
    assert_int_equal(ink_eval(&span, 1, NULL), INK_OK);
    double sum = log_of(session, tokens[n - 1], " a");
    span = (ink_span){.session = session, .tokens = tokens + n - 1, .n_tokens = 1};
    assert_int_equal(ink_eval(&span, 1, NULL), INK_OK);
    sum += log_of(session, token, "");
    assert_int_equal(ink_session_free(session), INK_OK);
    return sum;
}

// However long the suggestion is, where it ends, and what the filter took back behind the word.
static void test_logprob_of_the_first_word(void **state) {
    (void)state;
    static const char text[] = "Once upon a time there was a";
    static const char *const phrases[] = {"named", "who", "boy"};
    static const uint32_t lengths[] = {1, 2, 3, 12};
    static field f;
    static shown_all shown;
    ink_filter *filter = NULL;
    unsigned n_checked = 0;
    assert_int_equal(ink_filter_new(&filter, NULL, phrases, 3, NULL), INK_OK);
    field_set(&f, text);
    for (uint32_t i = 0; i < 16; i++) {
        ink_typing_options options = typing_defaults();
        options.n_alternatives = 3;
        options.max_tokens = lengths[i % 4];
        options.until = i / 4 % 2 ? INK_UNTIL_WORD : INK_UNTIL_LENGTH;
        options.filter = i / 8 ? filter : NULL;
        assert_int_equal(typing_fresh(story.model, &options, &f, &shown), INK_OK);
        for (uint32_t k = 0; k < 3; k++) {
            const char *word = shown.list[k].text;
            size_t n = 0;
            char first[64];
            snprintf(first, sizeof first, "%.*s", (int)(1 + strcspn(word + 1, " .,!?")), word);
            ink_tokenize(story.model, first, strlen(first), 0, NULL, 0, &n, NULL);
            if (word[0] != ' ' || n != 1) continue;
            assert_true(fabs((double)shown.list[k].logprob - log_of_word(text, first)) < 1e-3);
            n_checked++;
        }
    }
    assert_true(n_checked >= 16);
    ink_filter_unref(filter);
}

static int set_up(void **state) {
    (void)state;
    story = opened_story(1, NULL);
    return ink_sampler_new(&greedy, story.model, "greedy", NULL, NULL) != INK_OK;
}

static int tear_down(void **state) {
    (void)state;
    ink_sampler_free(greedy);
    opened_close(&story);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate_says_the_same),    cmocka_unit_test(test_window_of_words),
        cmocka_unit_test(test_window_in_a_long_word),     cmocka_unit_test(test_window_of_tokens),
        cmocka_unit_test(test_logprob_of_the_first_word), cmocka_unit_test(test_ends),
        cmocka_unit_test(test_alternatives_are_ranked),   cmocka_unit_test(test_fewest_characters)};
    return cmocka_run_group_tests_name("typing: oracles", tests, set_up, tear_down);
}
