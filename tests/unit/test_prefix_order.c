// SPDX-License-Identifier: MIT
// What stays in a prefix cache and what goes: texts that part anywhere, budgets of a few pages, all
// against a list that is searched from end to end. Nothing is evaluated: the sessions say that they
// hold what they do not.
#include "prefix_scene.h"

enum { MOST_PAGES = 5, MOST_NODES = 200 };

// --- the same by searching -----------------------------------------------------------------------

typedef struct kept_page {
    uint32_t kind, n; // pages up to this one
    ink_token ids[MOST_PAGES * 64];
    uint64_t used, left; // when
} kept_page;

typedef struct kept {
    kept_page pages[MOST_NODES];
    size_t n;
    uint64_t page_bytes[3], max_bytes, bytes, clock, n_evicted;
} kept;

static bool begins_with(const kept_page *page, const kept_page *beginning) {
    return page->kind == beginning->kind && page->n >= beginning->n &&
           memcmp(page->ids, beginning->ids, beginning->n * 64 * sizeof(ink_token)) == 0;
}

static kept_page *kept_find(kept *k, uint32_t kind, const ink_token *ids, uint32_t n) {
    for (size_t i = 0; i < k->n; i++)
        if (k->pages[i].kind == kind && k->pages[i].n == n &&
            memcmp(k->pages[i].ids, ids, n * 64 * sizeof *ids) == 0)
            return &k->pages[i];
    return NULL;
}

// The longest beginning of ids [n] that is here; of two that end inside a page the one left last.
// What was looked at is used now, pages nearer to the beginning a little later.
static uint32_t kept_look(kept *k, uint32_t kind, const ink_token *ids, uint32_t n) {
    uint32_t most = 0;
    kept_page *best = NULL;
    for (size_t i = 0; i < k->n; i++) {
        kept_page *page = &k->pages[i];
        uint32_t common = 0;
        while (page->kind == kind && common < n && common < page->n * 64 &&
               page->ids[common] == ids[common])
            common++;
        if (common <= (page->n - 1) * 64 || common < most) continue;
        if (common == most && best != NULL && page->left < best->left) continue;
        most = common;
        best = page;
    }
    k->clock += 100;
    for (size_t i = 0; i < k->n && best != NULL; i++)
        if (begins_with(best, &k->pages[i])) k->pages[i].used = k->clock + 50 - k->pages[i].n;
    return most;
}

static bool kept_make_room(kept *k, uint64_t bytes, const kept_page *way) {
    while (k->bytes + bytes > k->max_bytes) {
        size_t oldest = MOST_NODES;
        for (size_t i = 0; i < k->n; i++) {
            bool leaf = !begins_with(way, &k->pages[i]);
            for (size_t j = 0; j < k->n; j++)
                if (j != i && begins_with(&k->pages[j], &k->pages[i])) leaf = false;
            if (leaf && (oldest == MOST_NODES || k->pages[i].used < k->pages[oldest].used))
                oldest = i;
        }
        if (oldest == MOST_NODES) return false;
        k->bytes -= k->page_bytes[k->pages[oldest].kind];
        k->n_evicted++;
        k->pages[oldest] = k->pages[--k->n];
    }
    return true;
}

static void kept_leave(kept *k, uint32_t kind, const ink_token *ids, uint32_t n_pages) {
    kept_look(k, kind, ids, n_pages * 64);
    k->clock += 100; // what is left is used later than what only begins alike
    for (uint32_t n = 1; n <= n_pages; n++) {
        kept_page *there = kept_find(k, kind, ids, n);
        if (there != NULL) {
            there->used = k->clock + 50 - n;
            continue;
        }
        kept_page page = {.kind = kind, .n = n, .used = k->clock + 50 - n, .left = k->clock};
        memcpy(page.ids, ids, n * 64 * sizeof *ids);
        kept_page way = page;
        way.n = n - 1;
        if (!kept_make_room(k, k->page_bytes[kind], &way)) break;
        assert_true(k->n < MOST_NODES);
        k->pages[k->n++] = page;
        k->bytes += k->page_bytes[kind];
    }
}

// --- both ----------------------------------------------------------------------------------------

typedef struct both {
    opened o;
    heap memory;
    ink_prefix_cache *cache;
    ink_session *writer[3], *reader[3]; // by kv_type
    kept kept;
} both;

static void both_begin(both *b, uint64_t max_bytes) {
    const tiny_model tiny = scene_tiny();
    memset(b, 0, sizeof *b);
    b->o = opened_tiny(&tiny, 1, &b->memory);
    b->cache = scene_cache(b->o.model, max_bytes);
    b->kept.max_bytes = max_bytes;
    for (uint32_t k = 0; k < 3; k++) {
        b->writer[k] = scene_session(b->o.model, b->cache, k, NULL, 0);
        b->reader[k] = scene_session(b->o.model, b->cache, k, NULL, 0);
        b->kept.page_bytes[k] = scene_page_bytes(b->o.model, k);
    }
}

static void both_check(const both *b) {
    const ink_prefix_cache_info info = scene_info(b->cache);
    assert_int_equal(info.n_pages, b->kept.n);
    assert_int_equal(info.bytes, b->kept.bytes);
    assert_true(info.bytes <= info.max_bytes);
    assert_int_equal(info.n_pages_evicted, b->kept.n_evicted);
}

static void both_leave(both *b, uint32_t kind, const ink_token *ids, uint32_t n) {
    ink_session *s = b->writer[kind];
    assert_int_equal(inki_session_enter(s, NULL), INK_OK);
    inki_rewind_entered(s, 0);
    assert_int_equal(inki_kv_prepare(&s->kv, 0, n, NULL), INK_OK);
    memcpy(s->tokens, ids, n * sizeof *ids);
    s->n_past = s->n_cached = n;
    inki_prefix_insert(s);
    inki_session_leave(s);
    if (n >= 64) kept_leave(&b->kept, kind, ids, n / 64);
    both_check(b);
}

static uint32_t both_look(both *b, uint32_t kind, const ink_token *ids, uint32_t n) {
    ink_session *s = b->reader[kind];
    assert_int_equal(inki_session_enter(s, NULL), INK_OK);
    inki_rewind_entered(s, 0);
    inki_prefix_attach(s, ids, n);
    const uint32_t found = s->n_cached;
    assert_int_equal(s->n_past, 0);
    assert_memory_equal(s->tokens, ids, found * sizeof *ids);
    for (uint32_t i = 0; i * 64 < found; i++) assert_true(inki_kv_is_shared(&s->kv, i * 64));
    inki_session_leave(s);
    assert_int_equal(found, kept_look(&b->kept, kind, ids, n));
    both_check(b);
    return found;
}

static void both_end(both *b) {
    for (uint32_t k = 0; k < 3; k++) {
        ink_session_free(b->writer[k]);
        ink_session_free(b->reader[k]);
    }
    ink_prefix_cache_unref(b->cache);
    opened_close(&b->o);
    assert_int_equal(b->memory.live_blocks, 0);
    assert_int_equal(b->memory.wrong_releases, 0);
}

// --- said in words -------------------------------------------------------------------------------

static ink_token texts[6][MOST_PAGES * 64];

static void make_texts(void) {
    for (uint64_t i = 0; i < 6; i++) opened_ids(texts[i], MOST_PAGES * 64, SCENE_VOCAB, i + 1);
}

// The budget in pages of F32, the widest kind here.
static uint64_t budget_of(uint32_t n_pages) {
    const tiny_model tiny = scene_tiny();
    opened o = opened_tiny(&tiny, 1, NULL);
    const uint64_t bytes = n_pages * scene_page_bytes(o.model, INK_KV_F32);
    opened_close(&o);
    return bytes;
}

static void what_was_used_last_stays(void **state) {
    (void)state;
    static both b;
    both_begin(&b, budget_of(3));
    make_texts();
    for (size_t i = 0; i < 3; i++) both_leave(&b, INK_KV_F32, texts[i], 64);
    assert_int_equal(both_look(&b, INK_KV_F32, texts[0], 320), 64);
    both_leave(&b, INK_KV_F32, texts[3], 64); // text 1 is the oldest now
    assert_int_equal(both_look(&b, INK_KV_F32, texts[1], 320), 0);
    assert_int_equal(both_look(&b, INK_KV_F32, texts[2], 320), 64);
    both_leave(&b, INK_KV_F32, texts[4], 64); // then text 0
    assert_int_equal(both_look(&b, INK_KV_F32, texts[0], 320), 0);
    // A part of a page is a use too.
    assert_int_equal(both_look(&b, INK_KV_F32, texts[3], 1), 1);
    both_leave(&b, INK_KV_F32, texts[5], 64);
    assert_int_equal(both_look(&b, INK_KV_F32, texts[3], 64), 64);
    assert_int_equal(both_look(&b, INK_KV_F32, texts[2], 64), 0);
    both_end(&b);
}

static void a_text_goes_from_its_end(void **state) {
    (void)state;
    static both b;
    both_begin(&b, budget_of(3));
    make_texts();
    both_leave(&b, INK_KV_F32, texts[0], 3 * 64 + 5);
    both_leave(&b, INK_KV_F32, texts[1], 64);
    assert_int_equal(both_look(&b, INK_KV_F32, texts[0], 320), 2 * 64);
    // A text over the budget keeps its beginning, and puts out all others.
    both_leave(&b, INK_KV_F32, texts[2], 320);
    assert_int_equal(both_look(&b, INK_KV_F32, texts[2], 320), 3 * 64);
    assert_int_equal(both_look(&b, INK_KV_F32, texts[0], 320), 0);
    // One that parts from it takes its end away, and no more.
    memcpy(texts[3], texts[2], 100 * sizeof *texts[2]);
    texts[3][100] = (texts[2][100] + 1) % (SCENE_VOCAB - 1);
    both_leave(&b, INK_KV_F32, texts[3], 128);
    assert_int_equal(both_look(&b, INK_KV_F32, texts[2], 320), 128);
    assert_int_equal(both_look(&b, INK_KV_F32, texts[3], 320), 128);
    both_end(&b);
}

static void kinds_have_one_budget(void **state) {
    (void)state;
    static both b;
    both_begin(&b, budget_of(2));
    make_texts();
    both_leave(&b, INK_KV_F32, texts[0], 128);
    both_leave(&b, INK_KV_F16, texts[0], 64); // a smaller page, but one must go
    assert_int_equal(scene_info(b.cache).n_pages, 2);
    both_leave(&b, INK_KV_Q8_0, texts[0], 64);
    both_leave(&b, INK_KV_F32, texts[1], 64);
    for (uint32_t kind = 0; kind < 3; kind++) both_look(&b, kind, texts[0], 320);
    both_end(&b);
}

// --- at random -----------------------------------------------------------------------------------

// Few words, so that texts have all kinds of beginnings in common.
static void random_text(uint64_t *random, ink_token *ids) {
    const uint32_t from = scene_random(random, 3);
    memcpy(ids, texts[from], MOST_PAGES * 64 * sizeof *ids);
    for (uint32_t at = 64 * scene_random(random, 6) + scene_random(random, 3) * 21; at < 320;
         at += 64 + scene_random(random, 64))
        ids[at] = (ink_token)scene_random(random, 3);
}

static void random_texts(void **state) {
    (void)state;
    enum { N_STEPS = 10000 };
    static both b;
    make_texts();
    for (uint32_t n_pages = 1; n_pages <= 16; n_pages += n_pages) {
        uint64_t random = n_pages, n_found = 0;
        both_begin(&b, budget_of(n_pages) + n_pages % 3);
        for (uint32_t i = 0; i < N_STEPS; i++) {
            ink_token ids[MOST_PAGES * 64];
            const uint32_t kind = scene_random(&random, 8) < 6 ? 1 : scene_random(&random, 3);
            const uint32_t n = 1 + scene_random(&random, MOST_PAGES * 64);
            random_text(&random, ids);
            switch (scene_random(&random, 20)) {
            case 0:
                ink_prefix_cache_trim(b.cache, b.kept.bytes / 2);
                kept_make_room(&b.kept, b.kept.max_bytes - b.kept.bytes / 2,
                               &(kept_page){.kind = 9});
                both_check(&b);
                break;
            case 1:
            case 2:
            case 3:
            case 4:
            case 5:
            case 6:
            case 7:
            case 8:
            case 9: n_found += both_look(&b, kind, ids, n); break;
            default: both_leave(&b, kind, ids, n); break;
            }
        }
        assert_true(n_found > N_STEPS);
        both_end(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_used_last_stays),
        cmocka_unit_test(a_text_goes_from_its_end),
        cmocka_unit_test(kinds_have_one_budget),
        cmocka_unit_test(random_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
