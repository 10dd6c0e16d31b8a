// SPDX-License-Identifier: MIT
// What a service takes and gives back: trims by the byte, a decode step that asks for nothing,
// every request for memory failed in turn. n_threads: a worker runs.
#include "engine/engine.h"
#include "served.h"

#include <unistd.h>

static tiny_model tiny;

static int set_up(void **state) {
    (void)state;
    tiny = tiny_model_defaults();
    return 0;
}

static const ask story = {.text = "once upon a time",
                          .priority = 1,
                          .seed = 21,
                          .n_tokens = 30,
                          .flags = INK_GENERATE_NO_END | INK_GENERATE_FRESH};

// --- trims ---------------------------------------------------------------------------------------

static void wait_at_piece(watcher *w, uint64_t id) {
    (void)w;
    (void)id;
    wait_for_gate();
}

// The session of a client that has one, and that of one whose request runs.
static void test_trims(void **state) {
    (void)state;
    served s;
    watcher idle, runs;
    ink_session_options so;
    ink_memory m = {0};
    served_begin(&s, &tiny, served_options());
    served_go(&s);
    watcher_begin(&idle, &s, 0);
    watcher_begin(&runs, &s, 0);
    const size_t before = s.memory.live_bytes;
    watcher_ask(&idle, &story);
    watcher_wait(&idle, 1);
    gate_set(false);
    runs.at_piece = wait_at_piece;
    watcher_ask(&runs, &story);
    watcher_wait_pieces(&runs, 1);
    ink_session_options_init(&so, sizeof so);
    so.n_batch = 32;
    const ink_source source = {.size = sizeof source,
                               .kind = INK_SOURCE_MEMORY,
                               .fd = -1,
                               .data = s.bytes,
                               .bytes = s.n_bytes};
    assert_int_equal(ink_measure(&source, &so, &m, NULL), INK_OK);
    uint64_t bytes = 77;
    assert_int_equal(ink_service_trim(s.service, INK_TRIM_LOGITS, &bytes), INK_OK);
    assert_int_equal(bytes, 0); // no rows are held
    size_t live = s.memory.live_bytes;
    assert_true(live > before + 2 * m.session_heap_bytes);
    assert_int_equal(ink_service_trim(s.service, INK_TRIM_CACHE, &bytes), INK_OK);
    assert_int_equal(live - s.memory.live_bytes, bytes);
    const size_t past = (16 + 30) * sizeof(ink_token); // a prompt of bytes, nearly
    assert_in_range(bytes, m.session_heap_bytes - past, m.session_heap_bytes - sizeof(ink_token));
    live = s.memory.live_bytes;
    assert_int_equal(ink_service_trim(s.service, INK_TRIM_CACHE, &bytes), INK_OK);
    assert_int_equal(bytes, 0);
    gate_set(true);
    watcher_wait(&runs, 1);
    served_settle(&s);
    assert_true(s.memory.live_bytes < live - m.session_heap_bytes); // it was asked for meanwhile
    assert_int_equal(runs.result.stop, INK_STOP_LENGTH);
    // Before it is told that it is done, and only once.
    watcher_ask(&runs, &story);
    watcher_wait(&runs, 2);
    assert_int_equal(runs.result.n_reused, 0);
    watcher_ask(&runs, &story);
    watcher_wait(&runs, 3);
    assert_true(runs.result.n_reused > 0);
    assert_int_equal(ink_client_free(idle.client), INK_OK);
    assert_int_equal(ink_client_free(runs.client), INK_OK);
    served_end(&s);
}

static ink_client *holding_client(const served *s, watcher *w, uint32_t n_held) {
    ink_session_options so;
    ink_client_options co;
    ink_session_options_init(&so, sizeof so);
    so.n_held = n_held;
    ink_client_options_init(&co, sizeof co);
    co.session = &so;
    co.on_text = watch_text;
    co.on_done = watch_done;
    co.user = w;
    assert_int_equal(ink_client_new(&w->client, s->service, &co, NULL), INK_OK);
    return w->client;
}

static void test_held_rows(void **state) {
    (void)state;
    served s;
    watcher w = {0};
    uint64_t bytes = 0;
    served_begin(&s, &tiny, served_options());
    served_go(&s);
    holding_client(&s, &w, 8);
    for (uint32_t i = 1; i < 4; i++) {
        char first[64];
        watcher_ask(&w, &story);
        watcher_wait(&w, i);
        if (i > 1) assert_string_equal(first, w.text);
        memcpy(first, w.text, sizeof first);
        served_settle(&s);
        const size_t live = s.memory.live_bytes;
        assert_int_equal(ink_service_trim(s.service, INK_TRIM_LOGITS, &bytes), INK_OK);
        assert_true(bytes >= 8 * tiny.n_vocab * sizeof(float));
        assert_int_equal(live - s.memory.live_bytes, bytes);
    }
    assert_int_equal(ink_client_free(w.client), INK_OK);
    served_end(&s);
}

// A mapped file: its pages go, and come back when they are read.
static void test_file_pages(void **state) {
    (void)state;
    const char *folder = getenv("TMPDIR");
    char path[512];
    snprintf(path, sizeof path, "%s/inkling_service_XXXXXX", folder != NULL ? folder : "/tmp");
    const int fd = mkstemp(path);
    size_t n_bytes = 0;
    uint8_t *model = tiny_model_bytes(&tiny, &n_bytes);
    assert_true(fd >= 0 && model != NULL);
    assert_int_equal(write(fd, model, n_bytes), n_bytes);
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = path};
    ink_service_options o = served_options();
    o.source = &source;
    served s = {0};
    watcher w;
    assert_int_equal(ink_service_new(&s.service, &o, NULL), INK_OK);
    watcher_begin(&w, &s, 0);
    assert_int_equal(ink_service_wait(s.service, UINT32_MAX, NULL), INK_OK);
    unlink(path);
    close(fd);
    uint64_t bytes = 77;
    char first[sizeof w.text];
    for (uint32_t i = 1; i < 5; i++) {
        watcher_ask(&w, &story);
        if (i == 2) {
            watcher_wait_pieces(&w, 1);
            assert_int_equal(ink_service_trim(s.service, INK_TRIM_FILE, &bytes), INK_OK);
        }
        watcher_wait(&w, i);
        if (i > 1) assert_string_equal(first, w.text);
        memcpy(first, w.text, sizeof first);
        assert_int_equal(ink_service_trim(s.service, INK_TRIM_FILE, &bytes), INK_OK);
    }
    assert_int_equal(ink_client_free(w.client), INK_OK);
    assert_int_equal(ink_service_free(s.service), INK_OK);
    free(model);
}

// --- a decode step -------------------------------------------------------------------------------

static size_t n_first, n_last;
static served counted;

static void count_requests(watcher *w, uint64_t id) {
    (void)id;
    if (w->n_pieces == 1) n_first = counted.memory.n_allocs;
    n_last = counted.memory.n_allocs;
}

static size_t asked_while_decoding(uint32_t flags) {
    watcher w;
    ink_service_options o = served_options();
    o.flags = flags;
    served_begin(&counted, &tiny, o);
    served_go(&counted);
    watcher_begin(&w, &counted, 0);
    w.at_piece = count_requests;
    ask a = story;
    a.n_tokens = 140;
    watcher_ask(&w, &a);
    while (w.n_done == 0 && flags != 0) {
        uint32_t n = 0;
        assert_int_equal(ink_service_poll(counted.service, UINT32_MAX, &n), INK_OK);
    }
    watcher_wait(&w, 1);
    assert_true(w.n_pieces > 50);
    assert_int_equal(ink_client_free(w.client), INK_OK);
    served_end(&counted);
    return n_last - n_first;
}

static void test_decode_asks_for_nothing(void **state) {
    (void)state;
    assert_int_equal(asked_while_decoding(0), 0);
    // Kept pieces: two buffers that double.
    assert_true(asked_while_decoding(INK_SERVICE_POLL) <= 16);
}

// --- no memory -----------------------------------------------------------------------------------

static uint64_t prefix_bytes; // of the services below

// Everything that a service does, step by step, so that the requests come in one order.
static ink_status everything(served *s, uint32_t flags, bool *heard) {
    ink_error error = {0};
    watcher w = {0};
    ink_service_options o = served_options();
    o.flags = flags;
    o.prefix_cache_bytes = prefix_bytes;
    *heard = true;
    ink_status status = served_try(s, &o, 1, &error);
    if (status == INK_OK) status = ink_service_wait(s->service, UINT32_MAX, &error);
    if (status == INK_OK) status = watcher_try(&w, s->service, 0, &error);
    uint32_t n_asked = 0;
    for (uint32_t i = 0; i < 3 && status == INK_OK; i++) {
        ask a = story;
        a.stop = "no such words";
        a.flags = i < 2 ? INK_GENERATE_FRESH : 0; // the last one goes on from a past given back
        a.n_tokens = prefix_bytes > 0 ? 60 : 5;   // more than a page
        status = watcher_submit(&w, &a, NULL, &error);
        if (status != INK_OK) break;
        n_asked++;
        while (flags != 0 && w.n_done < n_asked) {
            uint32_t n = 0;
            assert_int_equal(ink_service_poll(s->service, UINT32_MAX, &n), INK_OK);
        }
        watcher_wait(&w, n_asked);
        status = w.status;
        if (i > 0) assert_int_equal(ink_service_trim(s->service, INK_TRIM_CACHE, NULL), INK_OK);
    }
    if (status != INK_OK) assert_true(error.status == status || w.error.status == (int)status);
    if (status == INK_E_NOMEM && n_asked > 0) { // and goes on once there is some
        const uint32_t n = w.n_done;
        assert_int_equal(watcher_submit(&w, &story, NULL, &error), INK_OK);
        while (flags != 0 && w.n_done == n) ink_service_poll(s->service, UINT32_MAX, NULL);
        watcher_wait(&w, n + 1);
        assert_int_equal(w.status, INK_OK);
        n_asked++;
    }
    assert_int_equal(ink_client_free(w.client), INK_OK);
    *heard = w.n_done == n_asked;
    assert_int_equal(ink_service_free(s->service), INK_OK);
    s->service = NULL;
    return status;
}

static void fail_each(uint32_t flags) {
    served s = {.bytes = tiny_model_bytes(&tiny, &s.n_bytes)};
    size_t n = 1;
    gate_set(true);
    for (;; n++) {
        bool heard = false;
        s.memory = (heap){.fail_at = n};
        const ink_status status = everything(&s, flags, &heard);
        assert_true(heard);
        assert_int_equal(s.memory.live_blocks, 0);
        assert_int_equal(s.memory.wrong_releases, 0);
        if (s.memory.n_allocs < n) {
            assert_int_equal(status, INK_OK);
            break;
        }
        // A trim without memory for the past gives back less.
        assert_true(status == INK_E_NOMEM || status == INK_OK);
    }
    print_message("%zu requests for memory failed in turn\n", n - 1);
    assert_true(n > 40);
    free(s.bytes);
}

static void test_no_memory(void **state) {
    (void)state;
    fail_each(0);
    fail_each(INK_SERVICE_POLL);
    prefix_bytes = 1 << 20;
    fail_each(0);
    prefix_bytes = 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trims),      cmocka_unit_test(test_held_rows),
        cmocka_unit_test(test_file_pages), cmocka_unit_test(test_decode_asks_for_nothing),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("memory", tests, set_up, NULL);
}
