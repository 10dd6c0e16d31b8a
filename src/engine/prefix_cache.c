// SPDX-License-Identifier: MIT
// A tree whose nodes are whole pages. A ring holds all nodes by their last use; whoever walks down
// leaves the nodes of the way at its front, parents before children, so that the last one of the
// ring is always a leaf: what goes first when room is wanted.
#include "engine/prefix_cache.h"

#include "os/lock.h"

#include <string.h>

typedef struct prefix_link {
    struct prefix_link *newer, *older;
} prefix_link;

typedef struct prefix_node {
    prefix_link link; // of the ring
    struct prefix_root *root;
    struct prefix_node *parent; // NULL: the page is a text's first
    struct prefix_node *first;  // of its children
    struct prefix_node *next;   // of its parent's children
    inki_kv_page *page;         // a hold
    ink_token tokens[INKI_TILE];
} prefix_node;

// Pages that sessions of one kv_type and one list of adapters share. The adapters are told apart by
// what they are, not by what is in their files: the list's references keep another one from coming
// to stand in the same place.
typedef struct prefix_root {
    struct prefix_root *next;
    prefix_node *first;
    inki_kv kv; // without positions: layout and allocator
    inki_adapters adapters;
    inki_lora_list loras;
} prefix_root;

struct ink_prefix_cache {
    atomic_uint refs;
    ink_model *model; // a reference
    inki_mem mem;
    inki_lock lock; // of what follows
    prefix_root *roots;
    prefix_link ring;
    ink_prefix_cache_info info;
};

// --- the tree ------------------------------------------------------------------------------------

static void ring_remove(const prefix_link *link) {
    link->newer->older = link->older;
    link->older->newer = link->newer;
}

static void ring_add_behind(prefix_link *newer, prefix_link *link) {
    *link = (prefix_link){newer, newer->older};
    link->newer->older = link->older->newer = link;
}

static prefix_node **first_child(prefix_root *root, prefix_node *parent) {
    return parent != NULL ? &parent->first : &root->first;
}

// The child with the longest common beginning with tokens [n]; *n_common: how long it is, at most a
// page. NULL: none has any.
static prefix_node *best_child(prefix_node *child, const ink_token *tokens, uint32_t n,
                               uint32_t *n_common) {
    const uint32_t most = n < INKI_TILE ? n : INKI_TILE;
    prefix_node *best = NULL;
    *n_common = 0;
    for (; child != NULL && *n_common < most; child = child->next) {
        uint32_t k = 0;
        while (k < most && child->tokens[k] == tokens[k]) k++;
        if (k <= *n_common) continue;
        *n_common = k;
        best = child;
    }
    return best;
}

// A leaf goes; `reserve` may keep its page. Returns the bytes that nobody else holds.
static uint64_t evict(ink_prefix_cache *c, prefix_node *node, inki_kv *reserve) {
    prefix_root *root = node->root;
    prefix_node **at = first_child(root, node->parent);
    while (*at != node) at = &(*at)->next;
    *at = node->next;
    ring_remove(&node->link);
    const uint64_t bytes = inki_kv_page_alloc_bytes(&root->kv.layout);
    const bool fits = reserve != NULL && reserve->layout.kv_type == root->kv.layout.kv_type;
    const bool last = inki_kv_let_go(fits ? reserve : &root->kv, node->page);
    inki_release(&c->mem, node, 1, sizeof *node);
    c->info.bytes -= bytes;
    c->info.n_pages--;
    c->info.n_pages_evicted++;
    return (last ? bytes : 0) + sizeof *node;
}

static uint64_t drop_empty_roots(ink_prefix_cache *c) {
    uint64_t bytes = 0;
    for (prefix_root **at = &c->roots; *at != NULL;) {
        prefix_root *root = *at;
        if (root->first != NULL) {
            at = &root->next;
            continue;
        }
        *at = root->next;
        inki_adapters_drop(&root->adapters);
        inki_release(&c->mem, root, 1, sizeof *root);
        bytes += sizeof *root;
    }
    return bytes;
}

static prefix_root *find_root(const ink_prefix_cache *c, const ink_session *s) {
    for (prefix_root *r = c->roots; r != NULL; r = r->next) {
        if (r->kv.layout.kv_type != s->kv.layout.kv_type || r->loras.n != s->loras.n) continue;
        uint32_t i = 0;
        while (i < r->loras.n && r->loras.list[i].lora == s->loras.list[i].lora &&
               r->loras.list[i].scale == s->loras.list[i].scale)
            i++;
        if (i == r->loras.n) return r;
    }
    return NULL;
}

static prefix_root *need_root(ink_prefix_cache *c, const ink_session *s) {
    prefix_root *root = find_root(c, s);
    if (root != NULL) return root;
    root = inki_alloc_zero(&c->mem, 1, sizeof *root);
    if (root == NULL) return NULL;
    inki_kv_init(&root->kv, &s->kv.layout, NULL, 0, false, &c->mem, NULL); // nothing that can fail
    const ink_adapter_use *list = s->options.adapters;
    inki_adapters_copy(&root->adapters, &list, s->options.n_adapters);
    root->loras = s->loras;
    root->next = c->roots;
    c->roots = root;
    return root;
}

// A child of `parent` with page i of the session's past. What was not used for longest makes room,
// but for the way to it. NULL: there is none, or no memory.
static prefix_node *add_child(ink_prefix_cache *c, prefix_root *root, prefix_node *parent,
                              ink_session *s, uint32_t i) {
    const uint64_t bytes = inki_kv_page_alloc_bytes(&root->kv.layout);
    prefix_node *node = inki_alloc_zero(&c->mem, 1, sizeof *node);
    if (node == NULL) return NULL;
    const prefix_link *way = parent != NULL ? &parent->link : &c->ring;
    while (c->info.bytes + bytes > c->info.max_bytes && c->ring.newer != way)
        evict(c, (prefix_node *)c->ring.newer, &s->kv);
    if (c->info.bytes + bytes > c->info.max_bytes) {
        inki_release(&c->mem, node, 1, sizeof *node);
        return NULL;
    }
    prefix_node **at = first_child(root, parent);
    node->root = root;
    node->parent = parent;
    node->next = *at;
    node->page = inki_kv_hold(&s->kv, i);
    memcpy(node->tokens, s->tokens + (size_t)i * INKI_TILE, sizeof node->tokens);
    *at = node;
    c->info.bytes += bytes;
    c->info.n_pages++;
    return node;
}

// --- sessions ------------------------------------------------------------------------------------

// The page with the last of the tokens that are here, and how many these are.
static prefix_node *walk(ink_prefix_cache *c, const ink_session *s, const ink_token *tokens,
                         uint32_t n, uint32_t *n_found) {
    prefix_root *root = find_root(c, s);
    prefix_node *last = NULL;
    uint32_t n_common = INKI_TILE;
    for (*n_found = 0; root != NULL && n_common == INKI_TILE; *n_found += n_common) {
        prefix_node *child =
            best_child(*first_child(root, last), tokens + *n_found, n - *n_found, &n_common);
        if (child == NULL) break;
        ring_remove(&child->link);
        ring_add_behind(last != NULL ? &last->link : &c->ring, &child->link);
        last = child;
    }
    return last;
}

void inki_prefix_attach(ink_session *s, const ink_token *tokens, uint32_t n) {
    ink_prefix_cache *c = s->options.prefix_cache;
    if (c == NULL) return;
    if (n > s->options.n_ctx) n = s->options.n_ctx;
    uint32_t ours = 0, found = 0;
    while (ours < n && ours < s->n_cached && s->tokens[ours] == tokens[ours]) ours++;
    inki_lock_take(&c->lock);
    prefix_node *node = walk(c, s, tokens, n, &found);
    c->info.n_lookups++;
    if (found > ours) {
        c->info.n_tokens_found += found - ours;
        const uint32_t past = s->n_past < ours ? s->n_past : ours;
        inki_rewind_entered(s, past);
        for (uint32_t i = inki_kv_pages_for(found); i > past / INKI_TILE; node = node->parent)
            inki_kv_put(&s->kv, --i, node->page);
        memcpy(s->tokens + past, tokens + past, (found - past) * sizeof *tokens);
        s->n_cached = found;
    }
    inki_lock_give(&c->lock);
}

void inki_prefix_insert(ink_session *s) {
    ink_prefix_cache *c = s->options.prefix_cache;
    const uint32_t n = s->n_past / INKI_TILE;
    if (c == NULL || n == 0) return;
    inki_lock_take(&c->lock);
    uint32_t found = 0;
    prefix_root *root = need_root(c, s);
    prefix_node *last = walk(c, s, s->tokens, n * INKI_TILE, &found);
    // One that only begins as the past does is not of the way.
    if (found % INKI_TILE != 0) last = last->parent;
    for (uint32_t i = found / INKI_TILE; i < n && root != NULL; i++) {
        prefix_node *node = add_child(c, root, last, s, i);
        if (node == NULL) break;
        ring_add_behind(last != NULL ? &last->link : &c->ring, &node->link);
        last = node;
    }
    drop_empty_roots(c);
    inki_lock_give(&c->lock);
}

// --- the object ----------------------------------------------------------------------------------

ink_status ink_prefix_cache_new(ink_prefix_cache **out, ink_model *model, uint64_t max_bytes,
                                ink_error *error) {
    if (out == NULL || model == NULL)
        return inki_fail(error, INK_E_ARG, "ink_prefix_cache_new", 0, "out or model is NULL");
    ink_status status = inki_model_need_all(model, error);
    if (status != INK_OK) return status;
    const inki_weights *w = &model->weights;
    uint64_t widest = 0;
    for (uint32_t type = 0; type < INKI_KV_TYPES; type++) {
        inki_kv_layout layout = {.page_bytes = SIZE_MAX / 2};
        inki_kv_layout_init(&layout, type, w->n_layer, w->n_head, w->head_dim);
        const uint64_t bytes = inki_kv_page_alloc_bytes(&layout);
        if (bytes > widest) widest = bytes;
    }
    if (max_bytes < widest)
        return inki_fail(error, INK_E_LIMIT, "max_bytes", 0, "are %llu; a page may take %llu",
                         (unsigned long long)max_bytes, (unsigned long long)widest);
    ink_prefix_cache *c = inki_alloc_zero(&model->mem, 1, sizeof *c);
    if (c == NULL) return inki_fail_nomem(error, sizeof *c);
    c->mem = model->mem;
    status = inki_lock_init(&c->lock, error);
    if (status != INK_OK) {
        inki_release(&c->mem, c, 1, sizeof *c);
        return status;
    }
    atomic_init(&c->refs, 1);
    c->model = ink_model_ref(model);
    c->ring = (prefix_link){&c->ring, &c->ring};
    c->info.max_bytes = max_bytes;
    *out = c;
    return INK_OK;
}

ink_prefix_cache *inki_prefix_cache_ref(ink_prefix_cache *c) {
    if (c != NULL) atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

const ink_model *inki_prefix_cache_model(const ink_prefix_cache *c) { return c->model; }

uint64_t inki_prefix_cache_trim(ink_prefix_cache *c, uint64_t bytes, uint64_t *freed) {
    inki_lock_take(&c->lock);
    const uint64_t before = c->info.bytes;
    while (c->info.bytes > bytes) *freed += evict(c, (prefix_node *)c->ring.newer, NULL);
    *freed += drop_empty_roots(c);
    const uint64_t given = before - c->info.bytes;
    inki_lock_give(&c->lock);
    return given;
}

uint64_t ink_prefix_cache_trim(ink_prefix_cache *c, uint64_t bytes) {
    uint64_t freed = 0;
    return c != NULL ? inki_prefix_cache_trim(c, bytes, &freed) : 0;
}

void ink_prefix_cache_unref(ink_prefix_cache *c) {
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1) return;
    ink_prefix_cache_trim(c, 0);
    inki_lock_destroy(&c->lock);
    ink_model *model = c->model;
    const inki_mem mem = c->mem;
    inki_release(&mem, c, 1, sizeof *c);
    ink_model_unref(model);
}

ink_status ink_prefix_cache_get_info(const ink_prefix_cache *cache, ink_prefix_cache_info *info) {
    if (cache == NULL || info == NULL) return INK_E_ARG;
    ink_prefix_cache *c = (ink_prefix_cache *)(uintptr_t)cache; // for its lock
    inki_lock_take(&c->lock);
    const ink_prefix_cache_info now = c->info;
    inki_lock_give(&c->lock);
    inki_report_write(info, &now, sizeof now);
    return INK_OK;
}
