// SPDX-License-Identifier: MIT
// Label: threads
// Pages of the KV cache: shared, copied when written, let go; exact counts of memory; forks on
// threads.
#include "forward/kv_pages.h"
#include "heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { N_CTX = 200, N_PAGES = 4, LAYERS = 3, HEADS = 2, HEAD_DIM = 5 };

typedef struct cache {
    inki_kv kv;
    inki_kv_page *table[N_PAGES];
} cache;

static inki_kv_layout layout_of(uint32_t kv_type) {
    inki_kv_layout layout;
    assert_true(inki_kv_layout_init(&layout, kv_type, LAYERS, HEADS, HEAD_DIM));
    return layout;
}

static ink_status cache_init(cache *c, heap *h, uint32_t kv_type, bool reserve, ink_error *error) {
    const ink_allocator allocator = heap_allocator(h);
    const inki_mem mem = inki_mem_from(&allocator);
    const inki_kv_layout layout = layout_of(kv_type);
    memset(c->table, 0xff, sizeof c->table); // init does not rely on what it holds
    return inki_kv_init(&c->kv, &layout, c->table, N_CTX, reserve, &mem, error);
}

// Byte i of what is kept of a position: a row of values, a column of keys.
static uint8_t *byte_of(const cache *c, uint32_t pos, uint32_t layer, uint32_t head, bool value,
                        size_t i) {
    const size_t at = pos % INKI_TILE;
    if (value)
        return inki_kv_values(&c->kv, pos / INKI_TILE, layer, head) + at * c->kv.layout.row_bytes +
               i;
    uint8_t *tile = inki_kv_keys(&c->kv, pos / INKI_TILE, layer, head);
    switch (c->kv.layout.kv_type) {
    case INK_KV_F16: return tile + (i / 2 * INKI_TILE + at) * 2 + i % 2;
    case INK_KV_F32: return tile + (i / 4 * INKI_TILE + at) * 4 + i % 4;
    default: return i < 2 ? tile + 2 * at + i : tile + i * INKI_TILE + at; // one block
    }
}

// Every byte of positions [begin, end) gets a value made of where it is and of `who`.
static uint8_t mark(uint32_t who, uint32_t pos, uint32_t slot, size_t byte) {
    return (uint8_t)(who * 101 + pos * 7 + slot * 31 + byte * 3);
}
static void write_rows(const cache *c, uint32_t who, uint32_t begin, uint32_t end) {
    for (uint32_t pos = begin; pos < end; pos++)
        for (uint32_t s = 0; s < 2 * LAYERS * HEADS; s++)
            for (size_t i = 0; i < c->kv.layout.row_bytes; i++)
                *byte_of(c, pos, s / 2 / HEADS, s / 2 % HEADS, s % 2, i) = mark(who, pos, s, i);
}
static bool rows_are(const cache *c, uint32_t who, uint32_t begin, uint32_t end) {
    for (uint32_t pos = begin; pos < end; pos++)
        for (uint32_t s = 0; s < 2 * LAYERS * HEADS; s++)
            for (size_t i = 0; i < c->kv.layout.row_bytes; i++)
                if (*byte_of(c, pos, s / 2 / HEADS, s / 2 % HEADS, s % 2, i) !=
                    mark(who, pos, s, i))
                    return false;
    return true;
}
static void extend(cache *c, uint32_t who, uint32_t begin, uint32_t end) {
    assert_int_equal(inki_kv_prepare(&c->kv, begin, end, NULL), INK_OK);
    write_rows(c, who, begin, end);
}

static void layout(void **state) {
    (void)state;
    const inki_kv_layout f16 = layout_of(INK_KV_F16), q8 = layout_of(INK_KV_Q8_0);
    assert_int_equal(f16.row_bytes, 10);
    assert_int_equal(f16.page_bytes, 10 * 64 * 2 * LAYERS * HEADS);
    assert_int_equal(q8.row_bytes, 34);
    assert_int_equal(inki_kv_page_alloc_bytes(&f16), f16.page_bytes + 64);
    assert_int_equal(inki_kv_pages_for(0), 0);
    assert_int_equal(inki_kv_pages_for(1), 1);
    assert_int_equal(inki_kv_pages_for(64), 1);
    assert_int_equal(inki_kv_pages_for(65), 2);
    assert_int_equal(inki_kv_pages_for(UINT32_MAX), 1u << 26);
    inki_kv_layout out = f16;
    assert_false(inki_kv_layout_init(&out, INK_KV_F32, UINT32_MAX, UINT32_MAX, UINT32_MAX));
    assert_memory_equal(&out, &f16, sizeof out);
}

// Rows of all layers and heads lie apart, within the page, aligned tile by tile.
static void rows_do_not_overlap(void **state) {
    (void)state;
    for (uint32_t type = 0; type < INKI_KV_TYPES; type++) {
        heap h = {0};
        cache c;
        assert_int_equal(cache_init(&c, &h, type, true, NULL), INK_OK);
        write_rows(&c, 1, 0, N_CTX);
        assert_true(rows_are(&c, 1, 0, N_CTX));
        for (uint32_t s = 0; s < LAYERS * HEADS; s++) {
            assert_int_equal((uintptr_t)inki_kv_keys(&c.kv, 1, s / HEADS, s % HEADS) % 64, 0);
            assert_int_equal((uintptr_t)inki_kv_values(&c.kv, 1, s / HEADS, s % HEADS) % 64, 0);
        }
        inki_kv_free(&c.kv);
        assert_int_equal(h.live_blocks, 0);
        assert_int_equal(h.wrong_releases, 0);
    }
}

static void a_reserved_cache_never_allocates(void **state) {
    (void)state;
    heap h = {0};
    cache c;
    assert_int_equal(cache_init(&c, &h, INK_KV_F16, true, NULL), INK_OK);
    assert_int_equal(h.n_allocs, N_PAGES);
    const inki_kv_layout l = layout_of(INK_KV_F16);
    assert_int_equal(h.live_bytes, N_PAGES * inki_kv_page_alloc_bytes(&l));
    extend(&c, 1, 0, 150);
    inki_kv_rewind(&c.kv, 3);
    extend(&c, 2, 3, N_CTX);
    assert_true(rows_are(&c, 1, 0, 3) && rows_are(&c, 2, 3, N_CTX));
    inki_kv_rewind(&c.kv, 0);
    extend(&c, 3, 0, N_CTX);
    assert_int_equal(h.n_allocs, N_PAGES);
    inki_kv_trim(&c.kv, 65);
    assert_int_equal(h.live_blocks, 2);
    assert_true(rows_are(&c, 3, 0, 65));
    inki_kv_free(&c.kv);
    inki_kv_free(&c.kv); // again, and a zeroed one
    inki_kv zero = {0};
    inki_kv_free(&zero);
    assert_int_equal(h.live_blocks, 0);
}

static void pages_come_as_they_are_needed(void **state) {
    (void)state;
    heap h = {0};
    cache c;
    assert_int_equal(cache_init(&c, &h, INK_KV_F32, false, NULL), INK_OK);
    assert_int_equal(h.n_allocs, 0);
    extend(&c, 1, 0, 64);
    assert_int_equal(h.live_blocks, 1);
    extend(&c, 1, 64, 65);
    assert_int_equal(h.live_blocks, 2);
    assert_int_equal(inki_kv_prepare(&c.kv, 65, 65, NULL), INK_OK);
    assert_int_equal(h.live_blocks, 2);
    inki_kv_free(&c.kv);
    assert_int_equal(h.live_blocks, 0);
}

static void a_fork_copies_only_what_is_written(void **state) {
    (void)state;
    heap h = {0};
    cache a, b;
    cache_init(&a, &h, INK_KV_F16, true, NULL);
    cache_init(&b, &h, INK_KV_F16, false, NULL);
    extend(&a, 1, 0, 150);
    inki_kv_share(&b.kv, &a.kv, 130);
    assert_int_equal(h.n_allocs, N_PAGES); // no memory for a fork
    assert_true(rows_are(&b, 1, 0, 130));
    extend(&b, 2, 130, 140); // the child's third page becomes its own
    assert_int_equal(h.n_allocs, N_PAGES + 1);
    assert_true(rows_are(&b, 1, 0, 130) && rows_are(&b, 2, 130, 140));
    assert_true(rows_are(&a, 1, 0, 150));
    extend(&a, 1, 150, 151); // the parent holds its third page alone again
    assert_int_equal(h.n_allocs, N_PAGES + 1);
    inki_kv_rewind(&a.kv, 70);
    extend(&a, 3, 70, 80); // into the second page, which is shared
    assert_int_equal(h.n_allocs, N_PAGES + 2);
    assert_true(rows_are(&a, 1, 0, 70) && rows_are(&a, 3, 70, 80));
    assert_true(rows_are(&b, 1, 0, 130) && rows_are(&b, 2, 130, 140));
    inki_kv_free(&a.kv);
    assert_true(rows_are(&b, 1, 0, 130) && rows_are(&b, 2, 130, 140));
    inki_kv_rewind(&b.kv, 10);
    extend(&b, 4, 10, 64); // the last holder writes in place
    assert_int_equal(h.n_allocs, N_PAGES + 2);
    assert_true(rows_are(&b, 1, 0, 10) && rows_are(&b, 4, 10, 64));
    inki_kv_free(&b.kv);
    assert_int_equal(h.live_blocks, 0);
    assert_int_equal(h.wrong_releases, 0);
}

static void rewind_lets_shared_pages_go(void **state) {
    (void)state;
    heap h = {0};
    cache a, b;
    cache_init(&a, &h, INK_KV_F16, false, NULL);
    cache_init(&b, &h, INK_KV_F16, false, NULL);
    extend(&a, 1, 0, 192);
    inki_kv_share(&b.kv, &a.kv, 192);
    inki_kv_rewind(&b.kv, 64); // two shared pages hold none of the past
    assert_true(b.table[0] == a.table[0] && b.table[1] == NULL && b.table[2] == NULL);
    extend(&a, 2, 65, 66); // so the parent need not copy
    assert_int_equal(h.n_allocs, 3);
    inki_kv_rewind(&a.kv, 1);
    assert_non_null(a.table[2]);    // its own: reserve
    inki_kv_share(&b.kv, &a.kv, 0); // what b held is dropped
    assert_null(b.table[0]);
    inki_kv_free(&a.kv);
    inki_kv_free(&b.kv);
    assert_int_equal(h.live_blocks, 0);
}

// Each allocation fails once: nothing leaks, and the past stays as it was.
static void without_memory(void **state) {
    (void)state;
    for (size_t n = 1; n <= N_PAGES; n++) {
        heap h = {.fail_at = n};
        cache c;
        ink_error error = {0};
        assert_int_equal(cache_init(&c, &h, INK_KV_F16, true, &error), INK_E_NOMEM);
        assert_int_equal(error.status, INK_E_NOMEM);
        assert_int_equal(h.live_blocks, 0);
    }
    for (size_t n = 1; n <= 3; n++) {
        heap h = {0};
        cache a, b;
        cache_init(&a, &h, INK_KV_F16, false, NULL);
        cache_init(&b, &h, INK_KV_F16, false, NULL);
        extend(&a, 1, 0, 100);
        inki_kv_share(&b.kv, &a.kv, 100);
        h.fail_at = h.n_allocs + n;
        ink_error error = {0};
        // One page to copy, two to add.
        assert_int_equal(inki_kv_prepare(&b.kv, 100, N_CTX, &error), INK_E_NOMEM);
        assert_true(rows_are(&a, 1, 0, 100) && rows_are(&b, 1, 0, 100));
        h.fail_at = 0;
        extend(&b, 2, 100, N_CTX); // and it goes on
        assert_true(rows_are(&b, 1, 0, 100) && rows_are(&b, 2, 100, N_CTX));
        assert_true(rows_are(&a, 1, 0, 100));
        inki_kv_free(&a.kv);
        inki_kv_free(&b.kv);
        assert_int_equal(h.live_blocks, 0);
    }
}

// --- forks that live on different threads ------------------------------------------------------

typedef struct worker {
    cache c;
    uint32_t who;
    bool good;
} worker;

static void *work(void *arg) {
    worker *w = arg;
    w->good = true;
    for (uint32_t turn = 0; turn < 50 && w->good; turn++) {
        const uint32_t from = 20 + (turn * 37 + w->who * 11) % 90;
        inki_kv_rewind(&w->c.kv, 20);
        extend(&w->c, w->who, 20, from + 60);
        w->good = rows_are(&w->c, 0, 0, 20) && rows_are(&w->c, w->who, 20, from + 60);
        cache twin; // a fork of a fork, ended on this thread while the others run
        const inki_kv_layout l = w->c.kv.layout;
        if (inki_kv_init(&twin.kv, &l, twin.table, N_CTX, false, &w->c.kv.mem, NULL) != INK_OK)
            w->good = false;
        inki_kv_share(&twin.kv, &w->c.kv, from);
        extend(&twin, 9, from, from + 5);
        w->good = w->good && rows_are(&w->c, w->who, 20, from + 60);
        inki_kv_free(&twin.kv);
    }
    inki_kv_free(&w->c.kv);
    return NULL;
}

static void forks_on_threads(void **state) {
    (void)state;
    heap h = {0};
    cache parent;
    cache_init(&parent, &h, INK_KV_F16, true, NULL);
    extend(&parent, 0, 0, N_CTX);
    worker w[4];
    pthread_t threads[4];
    for (uint32_t i = 0; i < 4; i++) {
        w[i].who = i + 1;
        cache_init(&w[i].c, &h, INK_KV_F16, false, NULL);
        inki_kv_share(&w[i].c.kv, &parent.kv, 20 + i * 45);
    }
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, work, &w[i]), 0);
    inki_kv_rewind(&parent.kv, 20);
    extend(&parent, 7, 20, N_CTX);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) assert_true(w[i].good);
    assert_true(rows_are(&parent, 0, 0, 20) && rows_are(&parent, 7, 20, N_CTX));
    inki_kv_free(&parent.kv);
    assert_int_equal(h.live_blocks, 0);
    assert_int_equal(h.wrong_releases, 0);
}

// A page that is held outside of a table stays as it is, whoever writes; what makes place for it in
// another table is that one's reserve, and no cache keeps more pages than it has places.
static void pages_held_outside(void **state) {
    (void)state;
    heap h = {0};
    cache a, b;
    cache_init(&a, &h, INK_KV_F16, true, NULL);
    cache_init(&b, &h, INK_KV_F16, true, NULL);
    const size_t n_allocs = h.n_allocs;
    extend(&a, 1, 0, N_CTX);
    extend(&b, 2, 0, N_CTX);
    inki_kv_page *held = inki_kv_hold(&a.kv, 1), *first = inki_kv_hold(&a.kv, 0);
    assert_true(inki_kv_is_shared(&a.kv, 64));
    inki_kv_put(&b.kv, 1, held);
    assert_true(rows_are(&b, 2, 0, 64) && rows_are(&b, 1, 64, 128) && rows_are(&b, 2, 128, N_CTX));
    const inki_kv_layout l = layout_of(INK_KV_F16);
    const uint64_t page = inki_kv_page_alloc_bytes(&l);
    assert_int_equal(inki_kv_held_bytes(&b.kv, false), 4 * page);
    extend(&b, 3, 100, 110); // a copy, in the page that it had before
    assert_int_equal(h.n_allocs, n_allocs);
    assert_true(rows_are(&b, 1, 64, 100) && rows_are(&b, 3, 100, 110));
    assert_true(rows_are(&a, 1, 0, N_CTX));
    inki_kv_put(&b.kv, 1, held);
    inki_kv_put(&b.kv, 1, held); // it stands there already
    inki_kv_put(&b.kv, 0, first);
    assert_true(rows_are(&b, 1, 0, 128));
    assert_false(inki_kv_let_go(&a.kv, held)); // both have it
    assert_false(inki_kv_let_go(&a.kv, first));
    assert_false(inki_kv_let_go(&a.kv, NULL));
    inki_kv_rewind(&b.kv, 64); // without the second
    extend(&a, 4, 0, 1);       // nobody else's any more but for the first
    assert_int_equal(h.n_allocs, n_allocs + 1);
    assert_true(rows_are(&b, 1, 0, 64));
    // b's page that only the caller holds: a has all that it can need, b has not.
    held = inki_kv_hold(&b.kv, 3);
    first = inki_kv_hold(&b.kv, 2);
    inki_kv_trim(&b.kv, 64);
    assert_int_equal(inki_kv_held_bytes(&b.kv, true), page);
    assert_int_equal(inki_kv_held_bytes(&a.kv, true), 4 * page);
    const size_t n_blocks = h.live_blocks;
    assert_true(inki_kv_let_go(&a.kv, held));
    assert_int_equal(h.live_blocks, n_blocks - 1);
    assert_int_equal(inki_kv_held_bytes(&a.kv, true), 4 * page);
    assert_true(inki_kv_let_go(&b.kv, first));
    assert_int_equal(h.live_blocks, n_blocks - 1);
    assert_int_equal(inki_kv_held_bytes(&b.kv, true), 2 * page);
    inki_kv_free(&a.kv);
    inki_kv_free(&b.kv);
    assert_int_equal(h.live_blocks, 0);
    assert_int_equal(h.wrong_releases, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout),
        cmocka_unit_test(rows_do_not_overlap),
        cmocka_unit_test(a_reserved_cache_never_allocates),
        cmocka_unit_test(pages_come_as_they_are_needed),
        cmocka_unit_test(a_fork_copies_only_what_is_written),
        cmocka_unit_test(rewind_lets_shared_pages_go),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(forks_on_threads),
        cmocka_unit_test(pages_held_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
