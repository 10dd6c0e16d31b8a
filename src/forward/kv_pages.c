// SPDX-License-Identifier: MIT
#include "forward/kv_pages.h"

#include <stdatomic.h>
#include <string.h>

// The count of caches that hold a page. Forks live on different threads, so it is atomic. A cache
// that sees itself as the only holder may write: nobody else can become one, since a page is only
// shared through a cache that holds it.
struct inki_kv_page {
    atomic_uint n_holders;
    inki_kv_page *next; // of the spare ones of a cache
};
enum { PAGE_HEAD = INKI_ALIGN }; // the rows begin at a cache line

static uint8_t *page_rows(inki_kv_page *page) { return (uint8_t *)page + PAGE_HEAD; }

bool inki_kv_layout_init(inki_kv_layout *out, uint32_t kv_type, uint32_t n_layer, uint32_t n_head,
                         uint32_t head_dim) {
    inki_kv_layout l = {
        .kv_type = kv_type, .n_layer = n_layer, .n_head = n_head, .head_dim = head_dim};
    l.row_bytes = inki_kv_row_bytes(kv_type, head_dim);
    if (!inki_mul(l.row_bytes, 2 * INKI_TILE, &l.page_bytes) ||
        !inki_mul(l.page_bytes, n_head, &l.page_bytes) ||
        !inki_mul(l.page_bytes, n_layer, &l.page_bytes) || l.page_bytes > SIZE_MAX / 2 - PAGE_HEAD)
        return false;
    *out = l;
    return true;
}

size_t inki_kv_page_alloc_bytes(const inki_kv_layout *layout) {
    return PAGE_HEAD + layout->page_bytes;
}

uint32_t inki_kv_pages_for(uint32_t n_ctx) { return n_ctx / INKI_TILE + (n_ctx % INKI_TILE != 0); }

static inki_kv_page *page_new(const inki_kv *kv) {
    inki_kv_page *page =
        (inki_kv_page *)inki_alloc(&kv->mem, 1, inki_kv_page_alloc_bytes(&kv->layout));
    if (page != NULL) atomic_init(&page->n_holders, 1);
    return page;
}

static void page_free(const inki_kv *kv, inki_kv_page *page) {
    inki_release(&kv->mem, page, 1, inki_kv_page_alloc_bytes(&kv->layout));
}

// A spare page, or a new one.
static inki_kv_page *page_take(inki_kv *kv) {
    inki_kv_page *page = kv->spare;
    if (page == NULL) return page_new(kv);
    kv->spare = page->next;
    return page;
}

static void free_spare(inki_kv *kv) {
    while (kv->spare != NULL) page_free(kv, page_take(kv));
}

static bool page_is_shared(inki_kv_page *page) {
    return atomic_load_explicit(&page->n_holders, memory_order_acquire) != 1;
}

inki_kv_page *inki_kv_hold(const inki_kv *kv, uint32_t index) {
    // Relaxed is enough to add a holder: the cache's own hold keeps the page alive.
    atomic_fetch_add_explicit(&kv->pages[index]->n_holders, 1, memory_order_relaxed);
    return kv->pages[index];
}

// Becomes a spare one if nobody else holds it.
static bool page_leave(inki_kv *kv, inki_kv_page *page) {
    // Release: our reads and writes of the page come before its end; acquire: so do the others'.
    if (atomic_fetch_sub_explicit(&page->n_holders, 1, memory_order_acq_rel) != 1) return false;
    atomic_store_explicit(&page->n_holders, 1, memory_order_relaxed);
    page->next = kv->spare;
    kv->spare = page;
    return true;
}

static void page_drop(inki_kv *kv, uint32_t index) {
    inki_kv_page *page = kv->pages[index];
    kv->pages[index] = NULL;
    if (page != NULL && page_leave(kv, page)) page_free(kv, page_take(kv));
}

bool inki_kv_let_go(inki_kv *kv, inki_kv_page *page) {
    if (page == NULL || !page_leave(kv, page)) return false;
    // Others let go of pages too, which are then this cache's own beside the spare ones: so all are
    // counted.
    const uint64_t page_bytes = inki_kv_page_alloc_bytes(&kv->layout);
    uint64_t n = inki_kv_held_bytes(kv, false) / page_bytes;
    for (; n > kv->n_pages && kv->spare != NULL; n--) page_free(kv, page_take(kv));
    return true;
}

void inki_kv_put(inki_kv *kv, uint32_t index, inki_kv_page *page) {
    inki_kv_page *old = kv->pages[index];
    atomic_fetch_add_explicit(&page->n_holders, 1, memory_order_relaxed);
    kv->pages[index] = page;
    inki_kv_let_go(kv, old);
}

ink_status inki_kv_init(inki_kv *kv, const inki_kv_layout *layout, inki_kv_page **table,
                        uint32_t n_ctx, bool reserve, const inki_mem *mem, ink_error *error) {
    const uint32_t n_pages = inki_kv_pages_for(n_ctx);
    inki_kv made = {.layout = *layout, .mem = *mem, .pages = table, .n_pages = n_pages};
    for (uint32_t i = 0; i < n_pages; i++) table[i] = NULL;
    for (uint32_t i = 0; reserve && i < n_pages; i++) {
        if ((table[i] = page_new(&made)) != NULL) continue;
        inki_kv_free(&made);
        return inki_fail_nomem(error, inki_kv_page_alloc_bytes(layout));
    }
    *kv = made;
    return INK_OK;
}

static void drop_from(inki_kv *kv, uint32_t first, bool only_shared) {
    for (uint32_t i = first; i < kv->n_pages; i++)
        if (kv->pages[i] != NULL && (!only_shared || page_is_shared(kv->pages[i])))
            page_drop(kv, i);
}

void inki_kv_free(inki_kv *kv) {
    drop_from(kv, 0, false);
    free_spare(kv);
    kv->n_pages = 0;
}

void inki_kv_share(inki_kv *child, const inki_kv *parent, uint32_t n_past) {
    const uint32_t n = inki_kv_pages_for(n_past);
    drop_from(child, 0, false);
    for (uint32_t i = 0; i < n; i++) child->pages[i] = inki_kv_hold(parent, i);
}

// Only positions below n are copied, for each layer's heads: the rest of a page is not written yet.
// Values are rows; keys are columns, which cost a copy of each of their rows.
static void copy_past(const inki_kv_layout *l, uint8_t *to, const uint8_t *from, size_t n) {
    const size_t half_bytes = l->row_bytes * INKI_TILE;
    for (uint32_t layer = 0; layer < l->n_layer; layer++) {
        for (uint32_t head = 0; head < l->n_head; head++, to += half_bytes, from += half_bytes)
            inki_kv_copy_keys(l->kv_type, to, from, n, l->head_dim);
        for (uint32_t head = 0; head < l->n_head; head++, to += half_bytes, from += half_bytes)
            memcpy(to, from, n * l->row_bytes);
    }
}

// Page i becomes one that nobody shares, with the first n_kept positions of what it was.
static ink_status own_page(inki_kv *kv, uint32_t i, size_t n_kept, ink_error *error) {
    inki_kv_page *old = kv->pages[i];
    if (old != NULL && !page_is_shared(old)) return INK_OK;
    inki_kv_page *page = page_take(kv);
    if (page == NULL) return inki_fail_nomem(error, inki_kv_page_alloc_bytes(&kv->layout));
    if (old != NULL && n_kept > 0) copy_past(&kv->layout, page_rows(page), page_rows(old), n_kept);
    page_drop(kv, i);
    kv->pages[i] = page;
    return INK_OK;
}

bool inki_kv_is_shared(const inki_kv *kv, uint32_t pos) {
    const uint32_t i = pos / INKI_TILE;
    return i < kv->n_pages && kv->pages[i] != NULL && page_is_shared(kv->pages[i]);
}

// All pages leave the table. Own ones serve again, wherever the cache needs a page next.
static void spare_pages(inki_kv *kv) {
    for (uint32_t i = 0; i < kv->n_pages; i++) {
        if (kv->pages[i] != NULL) page_leave(kv, kv->pages[i]);
        kv->pages[i] = NULL;
    }
}

// Pages from `first` on become copies of another cache's, up to position `end`.
static void copy_pages(const inki_kv *kv, const inki_kv *from, uint32_t first, uint32_t end) {
    for (uint32_t i = first; i < inki_kv_pages_for(end); i++)
        copy_past(&kv->layout, page_rows(kv->pages[i]), page_rows(from->pages[i]),
                  end - i * INKI_TILE < INKI_TILE ? end - i * INKI_TILE : INKI_TILE);
}

ink_status inki_kv_branch(inki_kv *child, const inki_kv *parent, uint32_t n_shared, uint32_t n_past,
                          ink_error *error) {
    const uint32_t n_whole = n_shared / INKI_TILE;
    spare_pages(child);
    const ink_status status = inki_kv_prepare(child, n_whole * INKI_TILE, n_past, error);
    if (status != INK_OK) return status;
    copy_pages(child, parent, n_whole, n_past);
    for (uint32_t i = 0; i < n_whole; i++) child->pages[i] = inki_kv_hold(parent, i);
    return INK_OK;
}

bool inki_kv_adopt(inki_kv *kv, const inki_kv *from, uint32_t begin, uint32_t end) {
    const uint32_t first = begin / INKI_TILE, n = inki_kv_pages_for(end);
    for (uint32_t i = first; i < n; i++)
        if (kv->pages[i] == NULL || kv->pages[i] == from->pages[i] || page_is_shared(kv->pages[i]))
            return false;
    copy_pages(kv, from, first, end);
    return true;
}

ink_status inki_kv_prepare(inki_kv *kv, uint32_t begin, uint32_t end, ink_error *error) {
    if (begin >= end) return INK_OK;
    ink_status status = INK_OK;
    for (uint32_t i = begin / INKI_TILE; i < inki_kv_pages_for(end) && status == INK_OK; i++)
        status = own_page(kv, i, begin > i * INKI_TILE ? begin % INKI_TILE : 0, error);
    return status;
}

ink_status inki_kv_own(inki_kv *kv, uint32_t n_past, ink_error *error) {
    const uint32_t last = (n_past - 1) / INKI_TILE;
    return own_page(kv, last, n_past - last * INKI_TILE, error);
}

void inki_kv_rewind(inki_kv *kv, uint32_t n_past) {
    drop_from(kv, inki_kv_pages_for(n_past), true);
}

void inki_kv_trim(inki_kv *kv, uint32_t n_past) {
    drop_from(kv, inki_kv_pages_for(n_past), false);
    free_spare(kv);
}

uint64_t inki_kv_held_bytes(const inki_kv *kv, bool shared) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < kv->n_pages; i++)
        n += kv->pages[i] != NULL && (shared || !page_is_shared(kv->pages[i]));
    for (const inki_kv_page *page = kv->spare; page != NULL; page = page->next) n++;
    return n * inki_kv_page_alloc_bytes(&kv->layout);
}

static uint8_t *kv_tile(const inki_kv *kv, uint32_t page, uint32_t layer, uint32_t head,
                        size_t half) {
    const inki_kv_layout *l = &kv->layout;
    const size_t index = (2 * (size_t)layer + half) * l->n_head + head;
    return page_rows(kv->pages[page]) + index * INKI_TILE * l->row_bytes;
}

uint8_t *inki_kv_keys(const inki_kv *kv, uint32_t page, uint32_t layer, uint32_t head) {
    return kv_tile(kv, page, layer, head, 0);
}

uint8_t *inki_kv_values(const inki_kv *kv, uint32_t page, uint32_t layer, uint32_t head) {
    return kv_tile(kv, page, layer, head, 1);
}
