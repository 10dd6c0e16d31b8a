// SPDX-License-Identifier: MIT
// Typing sessions that the worker runs: the suggestions of a session of one's own, before all
// requests, told on the worker or to who polls. n_threads: a worker runs.
#include "served.h"

#include <sys/wait.h>
#include <unistd.h>

static tiny_model tiny;
static opened own;

static int set_up(void **state) {
    (void)state;
    tiny = tiny_model_defaults();
    own = opened_tiny(&tiny, 1, NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    opened_close(&own);
    return 0;
}

// --- a field that is typed into ------------------------------------------------------------------

typedef struct typist {
    ink_typing *typing;
    char letter; // in the journal, for each suggestion told
    void (*at_told)(struct typist *);
    // Behind scene_lock: what was told last.
    uint64_t revision; // that is done
    uint32_t n_told;
    char text[512];
} typist;

static void told(void *user, ink_typing *typing, const ink_suggestion *s) {
    typist *t = user;
    EXPECT(t->typing == NULL || typing == t->typing);
    if (t->letter != 0) journal_add(t->letter);
    if (t->at_told != NULL) t->at_told(t);
    pthread_mutex_lock(&scene_lock);
    EXPECT(s->bytes < sizeof t->text && s->text[s->bytes] == 0);
    memcpy(t->text, s->text, s->bytes + 1);
    t->n_told++;
    if (s->done) t->revision = s->revision;
    scene_notify();
    pthread_mutex_unlock(&scene_lock);
}

static ink_typing_options typing_options(typist *t) {
    ink_typing_options o;
    ink_typing_options_init(&o, sizeof o);
    o.until = INK_UNTIL_LENGTH;
    o.max_tokens = 6;
    o.n_ctx = 96;
    o.on_suggestion = told;
    o.user = t;
    return o;
}

static void typist_begin(typist *t, const served *s, char letter) {
    ink_error error = {0};
    *t = (typist){.letter = letter};
    const ink_typing_options o = typing_options(t);
    if (ink_service_typing(s->service, &t->typing, &o, &error) != INK_OK)
        fail_msg("%s", error.message);
}

static uint64_t type(typist *t, const char *text) {
    uint64_t revision = 0;
    ink_error error = {0};
    if (ink_typing_update(t->typing, text, strlen(text), strlen(text), &revision, &error) != INK_OK)
        fail_msg("%s", error.message);
    return revision;
}

static void wait_told(typist *t, uint64_t revision) {
    pthread_mutex_lock(&scene_lock);
    while (t->revision < revision) pthread_cond_wait(&scene_changed, &scene_lock);
    pthread_mutex_unlock(&scene_lock);
}

// What a session of one's own suggests.
static void compare(typist *t, const char *text) {
    typist alone = {0};
    const ink_typing_options o = typing_options(&alone);
    assert_int_equal(ink_typing_new(&alone.typing, own.model, &o, NULL), INK_OK);
    type(&alone, text);
    assert_int_equal(ink_typing_run(alone.typing, UINT32_MAX, NULL, NULL), INK_OK);
    assert_int_equal(ink_typing_free(alone.typing), INK_OK);
    assert_true(alone.text[0] != 0);
    pthread_mutex_lock(&scene_lock);
    assert_string_equal(t->text, alone.text);
    pthread_mutex_unlock(&scene_lock);
    ink_suggestion s = {0};
    assert_int_equal(ink_typing_suggestion(t->typing, 0, &s), INK_OK);
    assert_string_equal(s.text, alone.text);
    assert_int_equal(s.done, 1);
}

static const char *const texts[] = {"once upon", "once upon a time ", "once upo",
                                    "and so on", "and so on, and",    "x"};
enum { N_TEXTS = 6 };

static void test_suggestions(void **state) {
    (void)state;
    served s;
    typist t[2];
    served_begin(&s, &tiny, served_options());
    typist_begin(&t[0], &s, 0);
    uint64_t early = type(&t[0], "before there is a model");
    served_go(&s);
    wait_told(&t[0], early);
    compare(&t[0], "before there is a model");
    typist_begin(&t[1], &s, 0);
    for (size_t i = 0; i < N_TEXTS; i++) {
        const uint64_t a = type(&t[0], texts[i]), b = type(&t[1], texts[N_TEXTS - 1 - i]);
        wait_told(&t[0], a);
        wait_told(&t[1], b);
        compare(&t[0], texts[i]);
        compare(&t[1], texts[N_TEXTS - 1 - i]);
        if (i % 2 == 0) assert_int_equal(ink_service_trim(s.service, INK_TRIM_CACHE, NULL), INK_OK);
        assert_int_equal(ink_typing_run(t[0].typing, 0, NULL, NULL), INK_E_BUSY);
    }
    assert_int_equal(ink_typing_free(t[0].typing), INK_OK);
    assert_int_equal(ink_typing_free(t[1].typing), INK_OK);
    served_end(&s);
}

// --- before requests -----------------------------------------------------------------------------

static typist hurried;

static void type_at_piece(watcher *w, uint64_t id) {
    (void)id;
    char text[64];
    snprintf(text, sizeof text, "word %zu and", w->n_pieces);
    EXPECT(ink_typing_update(hurried.typing, text, strlen(text), strlen(text), NULL, NULL) ==
           INK_OK);
}

// Between two pieces of a request the whole suggestion is there.
static void test_before_requests(void **state) {
    (void)state;
    served s;
    watcher w;
    const ask a = {.text = "hello",
                   .priority = INK_PRIORITY_TYPING,
                   .n_tokens = 8,
                   .seed = 4,
                   .flags = INK_GENERATE_NO_END};
    served_begin(&s, &tiny, served_options());
    watcher_begin(&w, &s, 'w');
    typist_begin(&hurried, &s, 't');
    w.at_piece = type_at_piece;
    watcher_ask(&w, &a);
    served_go(&s);
    watcher_wait(&w, 1);
    assert_true(w.n_pieces > 2);
    // What was typed at the last piece may still be worked on, and told.
    static char told_so_far[sizeof journal];
    pthread_mutex_lock(&scene_lock);
    memcpy(told_so_far, journal, n_journal + 1);
    pthread_mutex_unlock(&scene_lock);
    size_t n_between = 0;
    for (const char *event = told_so_far; *event != 0; event++) {
        if (*event == 't') n_between++;
        if (*event == 'w') assert_int_not_equal(event[1], 'w');
    }
    assert_true(n_between >= w.n_pieces - 1);
    assert_int_equal(ink_typing_free(hurried.typing), INK_OK);
    assert_int_equal(ink_client_free(w.client), INK_OK);
    served_end(&s);
}

// --- ends ----------------------------------------------------------------------------------------

static void free_self(typist *t) { EXPECT(ink_typing_free(t->typing) == INK_E_REENTRANT); }

static void test_ends(void **state) {
    (void)state;
    served s;
    typist t, waits;
    served_begin(&s, &tiny, served_options());
    served_go(&s);
    for (size_t i = 0; i < 20; i++) { // wherever the worker is
        typist_begin(&t, &s, 0);
        t.at_told = free_self;
        const uint64_t revision = type(&t, texts[i % N_TEXTS]);
        if (i % 3 == 0) wait_told(&t, revision);
        assert_int_equal(ink_typing_free(t.typing), INK_OK);
        const uint32_t n = t.n_told;
        typist_begin(&waits, &s, 0);
        wait_told(&waits, type(&waits, texts[0]));
        assert_int_equal(t.n_told, n); // nothing comes after the free
        assert_int_equal(ink_typing_free(waits.typing), INK_OK);
    }
    typist_begin(&t, &s, 0);
    type(&t, texts[0]);
    assert_int_equal(ink_service_close(s.service), INK_OK);
    ink_suggestion suggestion = {0};
    assert_int_equal(ink_typing_update(t.typing, "a", 1, 1, NULL, NULL), INK_E_CLOSED);
    assert_int_equal(ink_typing_run(t.typing, 0, NULL, NULL), INK_E_CLOSED);
    assert_int_equal(ink_typing_suggestion(t.typing, 0, &suggestion), INK_OK);
    assert_int_equal(ink_service_free(s.service), INK_OK); // the session outlives it
    assert_int_equal(ink_typing_free(t.typing), INK_OK);
    assert_int_equal(s.memory.live_blocks, 0);
    assert_int_equal(atomic_exchange(&scene_wrong, 0), 0);
    free(s.bytes);
}

static void test_refused(void **state) {
    (void)state;
    served s;
    typist t, none = {0};
    watcher w;
    ink_error error = {0};
    ink_service_options so = served_options();
    so.n_clients = 2;
    served_begin(&s, &tiny, so);
    ink_typing_options o = typing_options(&none);
    o.max_tokens = 0;
    assert_int_equal(ink_service_typing(s.service, &none.typing, &o, &error), INK_E_ARG);
    o = typing_options(&t);
    o.n_ctx = 100000; // only the model knows
    t = (typist){0};
    assert_int_equal(ink_service_typing(s.service, &t.typing, &o, &error), INK_OK);
    const uint64_t revision = type(&t, "hello");
    watcher_begin(&w, &s, 0);
    o = typing_options(&none);
    assert_int_equal(ink_service_typing(s.service, &none.typing, &o, &error), INK_E_LIMIT);
    served_go(&s);
    wait_told(&t, revision);
    assert_string_equal(t.text, "");
    // Now that it is known, an update tells it.
    error = (ink_error){0};
    assert_int_equal(ink_typing_update(t.typing, "a", 1, 1, NULL, &error), INK_E_LIMIT);
    assert_string_equal(error.where, "n_ctx");
    ink_client_free(w.client);
    o.n_ctx = 100000;
    assert_int_equal(ink_service_typing(s.service, &none.typing, &o, &error), INK_E_LIMIT);
    assert_int_equal(ink_service_typing(s.service, NULL, &o, &error), INK_E_ARG);
    assert_int_equal(ink_service_typing(NULL, &none.typing, &o, &error), INK_E_ARG);
    assert_int_equal(ink_typing_free(t.typing), INK_OK);
    served_end(&s);
}

static void test_without_a_model(void **state) {
    (void)state;
    served s;
    typist t, none = {0};
    ink_error error = {0};
    served_begin(&s, &tiny, served_options());
    typist_begin(&t, &s, 0);
    const uint64_t revision = type(&t, "hello");
    memset(s.bytes, 0, 8);
    gate_set(true);
    assert_int_equal(ink_service_wait(s.service, UINT32_MAX, &error), INK_E_FORMAT);
    wait_told(&t, revision);
    assert_string_equal(t.text, "");
    assert_int_equal(ink_typing_update(t.typing, "a", 1, 1, NULL, &error), INK_E_FORMAT);
    const ink_typing_options o = typing_options(&none);
    assert_int_equal(ink_service_typing(s.service, &none.typing, &o, &error), INK_E_FORMAT);
    assert_int_equal(ink_typing_free(t.typing), INK_OK);
    served_end(&s);
}

// --- polled --------------------------------------------------------------------------------------

static pthread_t host;

static void in_host_thread(typist *t) {
    EXPECT(pthread_equal(pthread_self(), host));
    EXPECT(t->typing == NULL || ink_typing_free(t->typing) == INK_E_REENTRANT);
}

static void test_polled(void **state) {
    (void)state;
    served s;
    typist t;
    ink_service_options o = served_options();
    o.flags = INK_SERVICE_POLL;
    host = pthread_self();
    served_begin(&s, &tiny, o);
    served_go(&s);
    typist_begin(&t, &s, 0);
    t.at_told = in_host_thread;
    for (size_t i = 0; i < N_TEXTS; i++) {
        const uint64_t revision = type(&t, texts[i]);
        while (t.revision < revision) {
            uint32_t n = 0;
            assert_int_equal(ink_service_poll(s.service, UINT32_MAX, &n), INK_OK);
            assert_int_equal(n, 1);
        }
        compare(&t, texts[i]);
    }
    assert_int_equal(ink_typing_free(t.typing), INK_OK);
    served_end(&s);
}

// --- forked --------------------------------------------------------------------------------------

static void test_forked(void **state) {
    (void)state;
    served s;
    typist t;
    served_begin(&s, &tiny, served_options());
    served_go(&s);
    typist_begin(&t, &s, 0);
    wait_told(&t, type(&t, "hello"));
    assert_int_equal(ink_service_close(s.service), INK_OK);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int code = ink_typing_update(t.typing, "a", 1, 1, NULL, NULL) != INK_E_CLOSED;
        if (ink_typing_free(t.typing) != INK_OK) code = 2;
        if (ink_service_free(s.service) != INK_OK) code = 3;
        if (s.memory.live_blocks != 0) code = 4;
        _exit(code);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(ink_typing_free(t.typing), INK_OK);
    served_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suggestions),
        cmocka_unit_test(test_before_requests),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_without_a_model),
        cmocka_unit_test(test_polled),
        cmocka_unit_test(test_forked),
    };
    return cmocka_run_group_tests_name("typing", tests, set_up, tear_down);
}
