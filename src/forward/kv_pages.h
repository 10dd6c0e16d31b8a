// SPDX-License-Identifier: MIT
// The KV cache: reference-counted pages of 64 positions; a cache is a table of pages. A fork shares
// pages; a shared page is copied when someone writes to it.
#ifndef INKI_FORWARD_KV_PAGES_H
#define INKI_FORWARD_KV_PAGES_H

#include "base/error.h"
#include "base/mem.h"
#include "kernels/kernels.h"

// How a page is laid out: for each layer all heads' keys, then all heads' values; for each head
// 64 * row_bytes, laid out as kernels.h says: a tile of one head is contiguous.
typedef struct inki_kv_layout {
    uint32_t kv_type, n_layer, n_head, head_dim;
    size_t row_bytes;  // one position of one head
    size_t page_bytes; // all layers and heads, 64 positions
} inki_kv_layout;
// False on overflow.
bool inki_kv_layout_init(inki_kv_layout *out, uint32_t kv_type, uint32_t n_layer, uint32_t n_head,
                         uint32_t head_dim);

// A key at a multiple of this clears the columns up to the next one (kernels.h, store_key).
enum { INKI_KV_KEY_GROUP = 16 };

typedef struct inki_kv_page inki_kv_page;

typedef struct inki_kv {
    inki_kv_layout layout;
    inki_mem mem;
    inki_kv_page **pages; // [n_pages]; NULL: not there yet. The table is the owner's memory
    uint32_t n_pages;
    inki_kv_page
        *spare; // own pages that stand nowhere in the table: taken before new ones are made
} inki_kv;

// Bytes that one page takes from the allocator, header included; and pages for n_ctx positions.
size_t inki_kv_page_alloc_bytes(const inki_kv_layout *layout);
uint32_t inki_kv_pages_for(uint32_t n_ctx);

// table [inki_kv_pages_for(n_ctx)] is the caller's and stays as long as the cache.
// reserve: allocate every page now. Errors: INK_E_NOMEM (nothing is held).
ink_status inki_kv_init(inki_kv *kv, const inki_kv_layout *layout, inki_kv_page **table,
                        uint32_t n_ctx, bool reserve, const inki_mem *mem, ink_error *error);
void inki_kv_free(inki_kv *kv); // drops every page; a zeroed cache is allowed

// child (inited with the same layout and n_ctx, not reserved) shares the pages of the first n_past
// positions.
void inki_kv_share(inki_kv *child, const inki_kv *parent, uint32_t n_past);
// child (same layout and n_ctx) holds the first n_past positions of the parent: whole pages of the
// first n_shared, n_shared <= n_past, are shared, the others are copied. Pages of its own stay with
// it as reserve, and serve for the copies and for what is prepared later. Errors: INK_E_NOMEM (the
// child then has no position to read).
ink_status inki_kv_branch(inki_kv *child, const inki_kv *parent, uint32_t n_shared, uint32_t n_past,
                          ink_error *error);
// Positions [begin, end) become those of `from`, a cache of the same layout that agrees with this
// one before them. False, and nothing is changed, if a page of this one is missing or shared.
bool inki_kv_adopt(inki_kv *kv, const inki_kv *from, uint32_t begin, uint32_t end);
bool inki_kv_is_shared(const inki_kv *kv, uint32_t pos); // the page of that position
// Makes positions [begin, end) writable: missing pages are allocated, shared ones copied. What lies
// before `begin` in a copied page is kept. Errors: INK_E_NOMEM (the cache still holds its past).
ink_status inki_kv_prepare(inki_kv *kv, uint32_t begin, uint32_t end, ink_error *error);
// Makes the page with the last of n_past > 0 positions the cache's own, the positions kept: that
// last one may then be written again without losing what it was. Errors: INK_E_NOMEM.
ink_status inki_kv_own(inki_kv *kv, uint32_t n_past, ink_error *error);
// Forgets positions from n_past on: shared pages that hold none of the past are let go, own ones
// stay as reserve.
void inki_kv_rewind(inki_kv *kv, uint32_t n_past);
// Gives reserve pages beyond n_past back to the allocator.
void inki_kv_trim(inki_kv *kv, uint32_t n_past);

// Pages are also held outside of a table. Each of these holds counts as that of a cache does.
inki_kv_page *inki_kv_hold(const inki_kv *kv, uint32_t page); // one that is there
// Place `page` of the table gets the one that the caller holds, and goes on to hold. What stood
// there is let go.
void inki_kv_put(inki_kv *kv, uint32_t page, inki_kv_page *held);
// Gives up the caller's hold; kv: any cache of that layout and allocator. If nobody else holds the
// page, it stays with the cache as reserve where that has less than its places may come to need,
// else it is freed. True: nobody else does. NULL is allowed.
bool inki_kv_let_go(inki_kv *kv, inki_kv_page *held);

// Bytes of the pages it holds; `shared`: those too that others hold as well.
uint64_t inki_kv_held_bytes(const inki_kv *kv, bool shared);

// The keys and the values of the tile (page) of one head.
uint8_t *inki_kv_keys(const inki_kv *kv, uint32_t page, uint32_t layer, uint32_t head);
uint8_t *inki_kv_values(const inki_kv *kv, uint32_t page, uint32_t layer, uint32_t head);

#endif
