// SPDX-License-Identifier: MIT
// Label: threads
// What a prefix cache gives to sessions: logits to the bit as without it, at every length around
// the borders of pages and of groups of keys, for all kinds of caches and adapters; and who may be
// released when.
#include "prefix_scene.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint32_t lengths[] = {1,   2,   15,  16,  17,  31,  32,  33,  47,  48,  49,
                                   63,  64,  65,  79,  80,  81,  95,  96,  97,  112, 127,
                                   128, 129, 143, 144, 145, 160, 191, 192, 193, 200};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

// Somebody reads a text of `left` tokens; another text has its first `common` tokens and goes on
// otherwise, or ends there.
static void follows(ink_model *model, uint32_t kv_type, uint32_t left, uint32_t common,
                    uint32_t n_more) {
    ink_token ids[SCENE_CTX], other[SCENE_CTX];
    opened_ids(ids, left, SCENE_VOCAB, 1);
    opened_ids(other, SCENE_CTX, SCENE_VOCAB, 2);
    memcpy(other, ids, common * sizeof *ids);
    if (common < left) other[common] = (ids[common] + 1) % (SCENE_VOCAB - 1);
    const uint32_t n = common + n_more, whole = left / 64 * 64;
    ink_prefix_cache *cache = scene_cache(model, 1 << 20);
    ink_session *first = scene_session(model, cache, kv_type, NULL, 0);
    ink_session *second = scene_session(model, cache, kv_type, NULL, 0);
    assert_int_equal(scene_read(first, ids, left), 0);
    const uint64_t before = scene_logits(first);
    const uint32_t found = common < whole ? common : whole, reused = scene_read(second, other, n);
    if (reused != (found == n ? n - 1 : found))
        fail_msg("left %u, common %u, then %u: %u reused", left, common, n_more, reused);
    if (scene_logits(second) != scene_plain(model, kv_type, NULL, 0, other, n))
        fail_msg("left %u, common %u, then %u: other logits", left, common, n_more);
    const ink_prefix_cache_info info = scene_info(cache);
    assert_int_equal(info.n_lookups, 2);
    assert_int_equal(info.n_tokens_found, found);
    // Neither has written over what the other has.
    assert_true(scene_logits(first) == before);
    opened_eval(first, ids, 1, 0);
    opened_eval(second, ids, 1, 0);
    ids[left] = ids[0];
    other[n] = ids[0];
    assert_true(scene_logits(first) == scene_plain(model, kv_type, NULL, 0, ids, left + 1));
    assert_true(scene_logits(second) == scene_plain(model, kv_type, NULL, 0, other, n + 1));
    ink_session_free(first);
    ink_session_free(second);
    ink_prefix_cache_unref(cache);
}

static void same_bytes_at_every_border(void **state) {
    (void)state;
    const bool is_long = getenv("INKLING_TEST_LONG") != NULL;
    const tiny_model tiny = scene_tiny();
    opened o = opened_tiny(&tiny, 1, NULL);
    for (uint32_t kv_type = 0; kv_type < INKI_KV_TYPES; kv_type++)
        for (size_t i = 0; i < N_LENGTHS; i++)
            for (size_t k = 0; k <= i; k++) {
                // Each pair in one of the kinds; all of them where there is time.
                if (!is_long && ((i + k) % 3 != kv_type || (i * 7 + k) % 2 != 0)) continue;
                follows(o.model, kv_type, lengths[i], lengths[k], (uint32_t)(i + 2 * k) % 21);
                if (is_long) follows(o.model, kv_type, lengths[i], lengths[k], 64);
            }
    if (!is_long) printf("left out: all pairs of lengths in all kinds (INKLING_TEST_LONG)\n");
    opened_close(&o);
}

// Texts that part inside a page: the cache has the page of each, and gives the longest.
static void texts_part_inside_a_page(void **state) {
    (void)state;
    const tiny_model tiny = scene_tiny();
    opened o = opened_tiny(&tiny, 2, NULL);
    ink_prefix_cache *cache = scene_cache(o.model, 1 << 20);
    ink_session *s = scene_session(o.model, cache, INK_KV_F16, NULL, 0);
    ink_session *t = scene_session(o.model, cache, INK_KV_F16, NULL, 0);
    static ink_token ids[40][140];
    const uint32_t at[] = {1, 15, 16, 17, 63, 64, 65, 80, 100, 127};
    opened_ids(ids[0], 140, SCENE_VOCAB, 1);
    scene_read(s, ids[0], 140);
    for (size_t i = 1; i <= 10; i++) {
        opened_ids(ids[i], 140, SCENE_VOCAB, 10 + i);
        memcpy(ids[i], ids[0], at[i - 1] * sizeof *ids[0]);
        ids[i][at[i - 1]] = (ids[0][at[i - 1]] + 1) % (SCENE_VOCAB - 1);
        assert_int_equal(scene_read(s, ids[i], 140), at[i - 1]);
    }
    // Two pages of each text but for the first ones that those share which part later.
    assert_int_equal(scene_info(cache).n_pages, 2 * 11 - 5);
    for (size_t i = 0; i <= 10; i++) {
        assert_int_equal(scene_read(t, ids[i], 139), 128);
        assert_true(scene_logits(t) == scene_plain(o.model, INK_KV_F16, NULL, 0, ids[i], 139));
    }
    ink_session_free(s);
    ink_session_free(t);
    ink_prefix_cache_unref(cache);
    opened_close(&o);
}

// A session's own cache and the shared one: the longer beginning counts, and what the session
// has by itself is not counted as found.
static void what_the_session_has_itself(void **state) {
    (void)state;
    const tiny_model tiny = scene_tiny();
    opened o = opened_tiny(&tiny, 1, NULL);
    ink_prefix_cache *cache = scene_cache(o.model, 1 << 20);
    ink_session *s = scene_session(o.model, cache, INK_KV_F32, NULL, 0);
    ink_session *t = scene_session(o.model, cache, INK_KV_F32, NULL, 0);
    ink_token a[200], b[200];
    opened_ids(a, 200, SCENE_VOCAB, 1);
    opened_ids(b, 200, SCENE_VOCAB, 2);
    scene_read(s, a, 200);
    assert_int_equal(scene_read(s, a, 200), 200); // by itself, logits and all
    assert_int_equal(scene_info(cache).n_tokens_found, 0);
    memcpy(b, a, 100 * sizeof *a); // the session holds b's first 100 tokens, then something else
    assert_int_equal(scene_read(t, b, 150), 100);
    assert_int_equal(scene_read(t, a, 200), 192);
    assert_int_equal(scene_info(cache).n_tokens_found, 100 + 92);
    assert_true(scene_logits(t) == scene_plain(o.model, INK_KV_F32, NULL, 0, a, 200));
    // A past that is not empty is gone on from, whatever is in the cache.
    ink_generate_options go;
    ink_result r = {.size = sizeof r};
    ink_generate_options_init(&go, sizeof go);
    go.n_tokens = 0;
    go.prompt_tokens = a;
    go.n_prompt_tokens = 30;
    assert_int_equal(ink_session_generate(t, NULL, 0, &go, NULL, NULL, &r, NULL), INK_OK);
    assert_int_equal(ink_session_n_past(t), 230);
    // An empty one is a beginning.
    assert_int_equal(ink_session_rewind(t, 0), INK_OK);
    go.n_prompt_tokens = 70;
    assert_int_equal(ink_session_generate(t, NULL, 0, &go, NULL, NULL, &r, NULL), INK_OK);
    assert_int_equal(r.n_reused, 69);
    assert_true(scene_logits(t) == scene_plain(o.model, INK_KV_F32, NULL, 0, a, 70));
    ink_session_free(s);
    ink_session_free(t);
    ink_prefix_cache_unref(cache);
    opened_close(&o);
}

// What a continuation leaves, and what is told of a prompt that must be looked at as a whole.
static void continuations_and_prompts_told(void **state) {
    (void)state;
    const tiny_model tiny = scene_tiny();
    opened o = opened_tiny(&tiny, 1, NULL);
    ink_prefix_cache *cache = scene_cache(o.model, 1 << 20);
    ink_session *with[2] = {scene_session(o.model, cache, INK_KV_F16, NULL, 0),
                            scene_session(o.model, NULL, INK_KV_F16, NULL, 0)};
    ink_session *later = scene_session(o.model, cache, INK_KV_F16, NULL, 0);
    ink_token ids[100];
    opened_ids(ids, 100, SCENE_VOCAB, 3);
    const uint32_t flags[] = {0, INK_GENERATE_ECHO | INK_GENERATE_LOGPROBS, INK_GENERATE_EMBED,
                              INK_GENERATE_ECHO, 0};
    for (size_t k = 0; k < 5; k++) {
        static collected text[2];
        ink_result r[2];
        memset(text, 0, sizeof text);
        for (size_t i = 0; i < 2; i++) {
            ink_generate_options go;
            ink_generate_options_init(&go, sizeof go);
            go.flags = INK_GENERATE_FRESH | INK_GENERATE_NO_END | flags[k];
            go.n_tokens = 60;
            go.prompt_tokens = ids;
            go.n_prompt_tokens = 100;
            r[i] = (ink_result){.size = sizeof r[i]};
            ink_sampler_options so;
            ink_sampler *sampler = NULL;
            ink_sampler_options_init(&so, sizeof so);
            so.seed_set = 1;
            so.seed = 7;
            assert_int_equal(ink_sampler_new(&sampler, o.model, NULL, &so, NULL), INK_OK);
            go.sampler = sampler;
            assert_int_equal(
                ink_session_generate(with[i], NULL, 0, &go, collect, &text[i], &r[i], NULL),
                INK_OK);
            ink_sampler_free(sampler);
        }
        assert_int_equal(text[0].bytes, text[1].bytes);
        assert_memory_equal(text[0].text, text[1].text, text[0].bytes);
        assert_int_equal(r[0].n_embedding, r[1].n_embedding);
        if (r[0].n_embedding > 0)
            assert_memory_equal(r[0].embedding, r[1].embedding,
                                r[0].n_embedding * sizeof *r[0].embedding);
        assert_true(scene_logits(with[0]) == scene_logits(with[1]));
        // The session itself has it all; nothing of it may help where all is to be looked at.
        ink_session_rewind(with[0], 0);
        ink_session_rewind(with[1], 0);
    }
    assert_int_equal(scene_info(cache).n_pages, 2); // of 160 tokens
    size_t n = 0;
    assert_int_equal(scene_read(later, ids, 100), 99);
    scene_read(with[0], ids, 100);
    const ink_token *past = ink_session_tokens(with[0], &n);
    assert_int_equal(n, 100);
    assert_memory_equal(past, ids, sizeof ids);
    ink_session_free(with[0]);
    ink_session_free(with[1]);
    ink_session_free(later);
    ink_prefix_cache_unref(cache);
    opened_close(&o);
}

// --- adapters ------------------------------------------------------------------------------------

static ink_adapter *open_adapter(const opened *o, const tiny_model *tiny, uint64_t seed,
                                 uint8_t **bytes) {
    tiny_adapter shape = tiny_adapter_defaults();
    shape.seed = seed;
    ink_adapter *adapter = NULL;
    ink_error error = {0};
    ink_source source = {.size = sizeof source, .kind = INK_SOURCE_MEMORY, .fd = -1};
    size_t n = 0;
    *bytes = tiny_adapter_bytes(tiny, &shape, &n);
    source.data = *bytes;
    source.bytes = n;
    if (ink_adapter_open(&adapter, o->model, &source, &error) != INK_OK)
        fail_msg("%s", error.message);
    return adapter;
}

static void adapters_share_with_their_like(void **state) {
    (void)state;
    const tiny_model tiny = scene_tiny();
    opened o = opened_tiny(&tiny, 1, NULL);
    uint8_t *bytes[2];
    ink_adapter *a = open_adapter(&o, &tiny, 1, &bytes[0]);
    ink_adapter *b = open_adapter(&o, &tiny, 2, &bytes[1]);
    const struct {
        ink_adapter_use list[2];
        size_t n;
    } lists[] = {{{{a, 1}}, 1},         {{{b, 1}}, 1},         {{{a, 0.5f}}, 1}, {{{a, -1}}, 1},
                 {{{a, 1}, {b, 1}}, 2}, {{{b, 1}, {a, 1}}, 2}, {{{a, 0}}, 1}};
    ink_prefix_cache *cache = scene_cache(o.model, 1 << 21);
    ink_token ids[150];
    opened_ids(ids, 150, SCENE_VOCAB, 4);
    for (uint32_t round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
            ink_session *s = scene_session(o.model, cache, INK_KV_F16, lists[i].list, lists[i].n);
            assert_int_equal(scene_read(s, ids, 150), round == 0 ? 0 : 128);
            assert_true(scene_logits(s) ==
                        scene_plain(o.model, INK_KV_F16, lists[i].list, lists[i].n, ids, 150));
            ink_session_free(s);
        }
    // A scale of 0 is as if it were not there; another kind of cache is another one.
    ink_session *none = scene_session(o.model, cache, INK_KV_F16, NULL, 0);
    assert_int_equal(scene_read(none, ids, 150), 128);
    ink_session *other = scene_session(o.model, cache, INK_KV_Q8_0, NULL, 0);
    assert_int_equal(scene_read(other, ids, 150), 0);
    ink_session_free(none);
    ink_session_free(other);
    ink_adapter_unref(a);
    ink_adapter_unref(b);
    ink_prefix_cache_unref(cache);
    opened_close(&o);
    free(bytes[0]);
    free(bytes[1]);
}

// An adapter that is closed would leave its place to the next one, and that one is not to be taken
// for it: it stays open as long as pages of it are held.
static void a_later_adapter_is_another(void **state) {
    (void)state;
    enum { N = 20 };
    const tiny_model tiny = scene_tiny();
    heap h = {0};
    opened o = opened_tiny(&tiny, 1, &h);
    ink_prefix_cache *cache = scene_cache(o.model, 1 << 20);
    ink_token ids[70];
    uint8_t *bytes[N];
    opened_ids(ids, 70, SCENE_VOCAB, 5);
    for (uint32_t i = 0; i < N; i++) {
        ink_adapter_use use = {open_adapter(&o, &tiny, i, &bytes[i]), 1};
        ink_session *s = scene_session(o.model, cache, INK_KV_F32, &use, 1);
        assert_int_equal(scene_read(s, ids, 70), 0);
        assert_true(scene_logits(s) == scene_plain(o.model, INK_KV_F32, &use, 1, ids, 70));
        ink_adapter_unref(use.adapter);
        ink_session_free(s);
        if (i == N / 2) ink_prefix_cache_trim(cache, 0);
    }
    const size_t before = h.live_blocks;
    ink_prefix_cache_trim(cache, 0); // closes them
    assert_true(before - h.live_blocks > N);
    for (uint32_t i = 0; i < N; i++) free(bytes[i]);
    ink_prefix_cache_unref(cache);
    opened_close(&o);
    assert_int_equal(h.live_blocks, 0);
}

// --- lives ---------------------------------------------------------------------------------------

// Model, cache, two sessions and a fork, released in every order.
static void any_order_of_release(void **state) {
    (void)state;
    const tiny_model tiny = scene_tiny();
    ink_token ids[150];
    opened_ids(ids, 150, SCENE_VOCAB, 6);
    for (uint32_t order = 0; order < 120; order++) {
        heap h = {0};
        opened o = opened_tiny(&tiny, 1, &h);
        ink_prefix_cache *cache = scene_cache(o.model, 1 << 20);
        ink_session *s = scene_session(o.model, cache, INK_KV_F16, NULL, 0), *fork = NULL;
        ink_session *t = scene_session(o.model, cache, INK_KV_F16, NULL, 0);
        scene_read(s, ids, 150);
        scene_read(t, ids, 100);
        assert_int_equal(ink_session_fork(t, &fork, NULL), INK_OK);
        uint32_t left[] = {0, 1, 2, 3, 4}, code = order;
        for (uint32_t n = 5; n > 0; n--) {
            const uint32_t at = code % n, what = left[at];
            code /= n;
            left[at] = left[n - 1];
            switch (what) {
            case 0: ink_model_unref(o.model); break;
            case 1: ink_prefix_cache_unref(cache); break;
            case 2: assert_int_equal(ink_session_free(s), INK_OK); break;
            case 3: assert_int_equal(ink_session_free(t), INK_OK); break;
            default: assert_int_equal(ink_session_free(fork), INK_OK); break;
            }
        }
        o.model = NULL;
        opened_close(&o);
        assert_int_equal(h.live_blocks, 0);
        assert_int_equal(h.wrong_releases, 0);
    }
}

static void trim_under_sessions(void **state) {
    (void)state;
    const tiny_model tiny = scene_tiny();
    heap h = {0};
    opened o = opened_tiny(&tiny, 1, &h);
    ink_prefix_cache *cache = scene_cache(o.model, 1 << 20);
    ink_session *s = scene_session(o.model, cache, INK_KV_F16, NULL, 0);
    ink_session *t = scene_session(o.model, cache, INK_KV_F16, NULL, 0);
    const uint64_t page = scene_page_bytes(o.model, INK_KV_F16);
    ink_token ids[SCENE_CTX];
    opened_ids(ids, SCENE_CTX, SCENE_VOCAB, 7);
    scene_read(s, ids, 300);
    assert_int_equal(scene_read(t, ids, 200), 199);
    assert_int_equal(scene_info(cache).bytes, 4 * page);
    assert_int_equal(ink_prefix_cache_trim(cache, 4 * page), 0);
    assert_int_equal(ink_prefix_cache_trim(cache, 3 * page - 1), 2 * page);
    assert_int_equal(scene_info(cache).n_pages, 2);
    assert_int_equal(ink_prefix_cache_trim(cache, 0), 2 * page);
    assert_int_equal(ink_prefix_cache_trim(cache, 0), 0);
    assert_int_equal(ink_prefix_cache_trim(NULL, 0), 0);
    const ink_prefix_cache_info info = scene_info(cache);
    assert_int_equal(info.bytes, 0);
    assert_int_equal(info.n_pages, 0);
    assert_int_equal(info.n_pages_evicted, 4);
    // They have their pages still.
    opened_eval(s, ids + 300, 10, 3);
    opened_eval(t, ids + 200, 10, 3);
    assert_true(scene_logits(s) == scene_plain(o.model, INK_KV_F16, NULL, 0, ids, 310));
    assert_true(scene_logits(t) == scene_plain(o.model, INK_KV_F16, NULL, 0, ids, 210));
    ink_session_free(s);
    ink_session_free(t);
    ink_prefix_cache_unref(cache);
    opened_close(&o);
    assert_int_equal(h.live_blocks, 0);
}

// What a session takes from the cache does not make it allocate, whatever it writes then.
static void taking_allocates_nothing(void **state) {
    (void)state;
    const tiny_model tiny = scene_tiny();
    heap h = {0};
    opened o = opened_tiny(&tiny, 1, &h);
    ink_token ids[SCENE_CTX], other[SCENE_CTX];
    opened_ids(ids, SCENE_CTX, SCENE_VOCAB, 8);
    opened_ids(other, SCENE_CTX, SCENE_VOCAB, 9);
    for (size_t i = 0; i < N_LENGTHS; i++) {
        const uint32_t n = lengths[i];
        ink_prefix_cache *cache = scene_cache(o.model, 1 << 20);
        ink_session *s = scene_session(o.model, cache, INK_KV_F16, NULL, 0);
        ink_session *t = scene_session(o.model, cache, INK_KV_F16, NULL, 0);
        scene_read(s, ids, SCENE_CTX);
        memcpy(other, ids, n * sizeof *ids);
        const size_t before = h.n_allocs, live = h.live_bytes;
        assert_int_equal(inki_session_enter(t, NULL), INK_OK);
        inki_prefix_attach(t, other, SCENE_CTX);
        inki_session_go_to(t, other, SCENE_CTX);
        inki_session_leave(t);
        assert_int_equal(ink_session_n_past(t), n);
        opened_eval(t, other + n, SCENE_CTX - n, 50);
        ink_session_rewind(t, 0);
        opened_eval(t, other, SCENE_CTX, 100);
        assert_int_equal(h.n_allocs, before);
        assert_int_equal(h.live_bytes, live);
        ink_session_free(s);
        ink_session_free(t);
        ink_prefix_cache_unref(cache);
    }
    opened_close(&o);
}

// However long two sessions go on, they and the cache hold no more than what they were made with.
static void memory_does_not_grow(void **state) {
    (void)state;
    const tiny_model tiny = scene_tiny();
    heap h = {0};
    opened o = opened_tiny(&tiny, 1, &h);
    const uint64_t page = scene_page_bytes(o.model, INK_KV_F16);
    const uint64_t budget = 3 * scene_page_bytes(o.model, INK_KV_F32);
    ink_prefix_cache *cache = scene_cache(o.model, budget);
    ink_session *s = scene_session(o.model, cache, INK_KV_F16, NULL, 0);
    ink_session *t = scene_session(o.model, cache, INK_KV_F16, NULL, 0);
    const size_t begin = h.live_bytes;
    size_t most = 0;
    uint64_t random = 1;
    for (uint32_t i = 0; i < 300; i++) {
        ink_token ids[SCENE_CTX];
        opened_ids(ids, SCENE_CTX, SCENE_VOCAB, 100 + scene_random(&random, 3));
        const uint32_t common = scene_random(&random, 200);
        for (uint32_t k = common; k < SCENE_CTX; k++)
            ids[k] = (ink_token)scene_random(&random, SCENE_VOCAB - 1);
        scene_read(i % 2 == 0 ? s : t, ids, 1 + scene_random(&random, SCENE_CTX));
        assert_true(scene_info(cache).bytes <= budget);
        if (h.live_bytes > most) most = h.live_bytes;
    }
    assert_true(most <= begin + budget + 10 * page); // nodes, and pages in two tables
    ink_session_free(s);
    ink_session_free(t);
    ink_prefix_cache_unref(cache);
    opened_close(&o);
    assert_int_equal(h.live_blocks, 0);
}

// --- calls ---------------------------------------------------------------------------------------

static void wrong_calls(void **state) {
    (void)state;
    const tiny_model tiny = scene_tiny();
    opened o = opened_tiny(&tiny, 1, NULL), p = opened_tiny(&tiny, 1, NULL);
    const uint64_t page = scene_page_bytes(o.model, INK_KV_F32);
    ink_prefix_cache *cache = NULL;
    ink_error error = {0};
    assert_int_equal(ink_prefix_cache_new(NULL, o.model, page, &error), INK_E_ARG);
    assert_int_equal(ink_prefix_cache_new(&cache, NULL, page, &error), INK_E_ARG);
    assert_int_equal(ink_prefix_cache_new(&cache, o.model, page - 1, &error), INK_E_LIMIT);
    assert_non_null(strstr(error.message, "max_bytes"));
    assert_int_equal(ink_prefix_cache_new(&cache, o.model, 0, NULL), INK_E_LIMIT);
    assert_null(cache);
    ink_model *inspected = NULL;
    ink_model_options mo;
    ink_model_options_init(&mo, sizeof mo);
    mo.flags = INK_MODEL_INSPECT;
    const ink_source source = {.size = sizeof source,
                               .kind = INK_SOURCE_MEMORY,
                               .fd = -1,
                               .data = o.bytes,
                               .bytes = o.n_bytes};
    assert_int_equal(ink_model_open(&inspected, o.runtime, &source, &mo, NULL), INK_OK);
    assert_int_equal(ink_prefix_cache_new(&cache, inspected, page, &error), INK_E_UNSUPPORTED);
    ink_model_unref(inspected);
    cache = scene_cache(o.model, page);
    assert_int_equal(ink_prefix_cache_get_info(NULL, &(ink_prefix_cache_info){0}), INK_E_ARG);
    assert_int_equal(ink_prefix_cache_get_info(cache, NULL), INK_E_ARG);
    ink_prefix_cache_info info = {.size = 8, .n_lookups = 77};
    assert_int_equal(ink_prefix_cache_get_info(cache, &info), INK_OK);
    assert_int_equal(info.size, 8);
    assert_int_equal(info.n_lookups, 77);
    assert_int_equal(scene_info(cache).max_bytes, page);
    ink_prefix_cache_unref(NULL);
    // Of another model.
    ink_session_options so;
    ink_session *s = NULL;
    ink_session_options_init(&so, sizeof so);
    so.prefix_cache = cache;
    assert_int_equal(ink_session_new(&s, p.model, &so, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "prefix_cache"));
    assert_null(s);
    ink_prefix_cache_unref(cache);
    opened_close(&o);
    opened_close(&p);
}

// fork(2) while nobody is at work: the child goes on with all of it.
static void a_forked_process_goes_on(void **state) {
    (void)state;
    const tiny_model tiny = scene_tiny();
    opened o = opened_tiny(&tiny, 2, NULL);
    ink_prefix_cache *cache = scene_cache(o.model, 1 << 20);
    ink_session *s = scene_session(o.model, cache, INK_KV_F16, NULL, 0);
    ink_session *t = scene_session(o.model, cache, INK_KV_F16, NULL, 0);
    ink_token ids[150];
    opened_ids(ids, 150, SCENE_VOCAB, 10);
    scene_read(s, ids, 150);
    const uint64_t wanted = scene_logits(s);
    fflush(stdout);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        uint32_t n_reused = 0;
        bool good = scene_try(t, ids, 150, &n_reused, NULL) == INK_OK && n_reused == 128;
        size_t n = 0;
        const float *logits = ink_session_logits(t, 0, &n);
        good = good && scene_hash(logits, n) == wanted;
        good = good && ink_session_free(t) == INK_OK && ink_session_free(s) == INK_OK;
        ink_prefix_cache_unref(cache);
        _exit(good ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ink_session_free(s);
    ink_session_free(t);
    ink_prefix_cache_unref(cache);
    opened_close(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes_at_every_border),
        cmocka_unit_test(texts_part_inside_a_page),
        cmocka_unit_test(what_the_session_has_itself),
        cmocka_unit_test(continuations_and_prompts_told),
        cmocka_unit_test(adapters_share_with_their_like),
        cmocka_unit_test(a_later_adapter_is_another),
        cmocka_unit_test(any_order_of_release),
        cmocka_unit_test(trim_under_sessions),
        cmocka_unit_test(taking_allocates_nothing),
        cmocka_unit_test(memory_does_not_grow),
        cmocka_unit_test(wrong_calls),
        cmocka_unit_test(a_forked_process_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
