// SPDX-License-Identifier: MIT
// Pages that sessions of one model share by the text they hold. Any thread; one lock, held for
// lookups and never for an evaluation.
#ifndef INKI_ENGINE_PREFIX_CACHE_H
#define INKI_ENGINE_PREFIX_CACHE_H

#include "engine/engine.h"

ink_prefix_cache *inki_prefix_cache_ref(ink_prefix_cache *cache); // NULL is allowed
const ink_model *inki_prefix_cache_model(const ink_prefix_cache *cache);
// As ink_prefix_cache_trim. *freed: what nobody holds any more, and what the tree took
// besides, is added.
uint64_t inki_prefix_cache_trim(ink_prefix_cache *cache, uint64_t bytes, uint64_t *freed);
// The session's cache takes what it does not hold yet of tokens [n] and the prefix cache does:
// pages are shared, n_cached rises. Of the past only what differs from tokens goes;
// inki_session_go_to finds the others. Only where that is more than the session has by itself.
// Nothing is allocated. Without a prefix cache: nothing.
void inki_prefix_attach(ink_session *session, const ink_token *tokens, uint32_t n);
// Leaves the whole pages of the session's past there, as many as there is room for. Pages that have
// to go for that become the session's reserve where nobody else holds them. Failures (memory) leave
// what was there.
void inki_prefix_insert(ink_session *session);

#endif
