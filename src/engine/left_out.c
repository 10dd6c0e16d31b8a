// SPDX-License-Identifier: MIT
// With -DINKLING_EXTRAS=OFF: what typing and plain generation do not need is not there, and says
// so. A caller that holds none of these objects never comes to the rest.
#include "engine/draft.h"
#include "engine/prefix_cache.h"

static const char left_out[] = "was left out of this library (INKLING_EXTRAS)";

// --- grammars ------------------------------------------------------------------------------------

ink_status ink_grammar_new(ink_grammar **out, ink_model *model, uint32_t kind, const char *text,
                           size_t bytes, ink_error *error) {
    (void)out, (void)model, (void)kind, (void)text, (void)bytes;
    return inki_fail(error, INK_E_UNSUPPORTED, "ink_grammar_new", 0, left_out);
}
void ink_grammar_unref(ink_grammar *grammar) { (void)grammar; }
ink_grammar *inki_grammar_ref(ink_grammar *grammar) { return grammar; }
ink_status ink_grammar_text(const ink_grammar *grammar, char *out, size_t cap, size_t *bytes) {
    (void)grammar, (void)out, (void)cap, (void)bytes;
    return INK_E_UNSUPPORTED;
}
ink_status ink_grammar_check(const ink_grammar *grammar, const char *text, size_t bytes,
                             uint32_t *state, size_t *n_accepted) {
    (void)grammar, (void)text, (void)bytes, (void)state, (void)n_accepted;
    return INK_E_UNSUPPORTED;
}
ink_status inki_matcher_new(inki_matcher **out, const inki_grammar *grammar,
                            const inki_token_trie *trie, const inki_mem *mem, ink_error *error) {
    (void)out, (void)grammar, (void)trie, (void)mem;
    return inki_fail(error, INK_E_UNSUPPORTED, "grammar", 0, left_out);
}
void inki_matcher_free(inki_matcher *matcher) { (void)matcher; }
void inki_token_trie_free(inki_token_trie *trie) { (void)trie; }
void inki_matcher_reset(inki_matcher *matcher) { (void)matcher; }
ink_status inki_matcher_push(inki_matcher *matcher, const char *bytes, size_t n, size_t *n_accepted,
                             ink_error *error) {
    (void)matcher, (void)bytes, (void)n, (void)n_accepted, (void)error;
    return INK_E_UNSUPPORTED;
}
void inki_matcher_pop(inki_matcher *matcher, uint32_t n) { (void)matcher, (void)n; }
bool inki_matcher_may_end(const inki_matcher *matcher) { return matcher == NULL; }
bool inki_matcher_must_end(const inki_matcher *matcher) { return matcher == NULL; }
ink_status inki_matcher_allowed(inki_matcher *matcher, const uint64_t **set, ink_error *error) {
    (void)matcher, (void)set, (void)error;
    return INK_E_UNSUPPORTED;
}

// --- search and scores ---------------------------------------------------------------------------

void ink_search_options_init(ink_search_options *options, size_t size) {
    const ink_search_options defaults = {0};
    inki_options_fill(options, size, &defaults, sizeof defaults);
}
ink_status ink_session_search(ink_session *session, const char *text, size_t bytes,
                              const ink_search_options *options, ink_text_fn fn, void *user,
                              ink_result *result, ink_error *error) {
    (void)session, (void)text, (void)bytes, (void)options, (void)fn, (void)user, (void)result;
    return inki_fail(error, INK_E_UNSUPPORTED, "ink_session_search", 0, left_out);
}
ink_status ink_session_score(ink_session *session, const char *context, size_t bytes,
                             ink_ending *endings, size_t n, uint32_t n_top, ink_score_fn fn,
                             void *user, ink_error *error) {
    (void)session, (void)context, (void)bytes, (void)endings, (void)n, (void)n_top, (void)fn;
    (void)user;
    return inki_fail(error, INK_E_UNSUPPORTED, "ink_session_score", 0, left_out);
}

// --- saved sessions ------------------------------------------------------------------------------

void ink_save_options_init(ink_save_options *options, size_t size) {
    const ink_save_options defaults = {0};
    inki_options_fill(options, size, &defaults, sizeof defaults);
}
ink_status ink_session_save(ink_session *session, const char *path, const ink_save_options *options,
                            ink_error *error) {
    (void)session, (void)path, (void)options;
    return inki_fail(error, INK_E_UNSUPPORTED, "ink_session_save", 0, left_out);
}
ink_status ink_session_save_bytes(ink_session *session, const ink_save_options *options, void *out,
                                  size_t cap, size_t *bytes, ink_error *error) {
    (void)session, (void)options, (void)out, (void)cap, (void)bytes;
    return inki_fail(error, INK_E_UNSUPPORTED, "ink_session_save_bytes", 0, left_out);
}
ink_status ink_session_restore(ink_session *session, const ink_source *source,
                               ink_restored *restored, ink_error *error) {
    (void)session, (void)source, (void)restored;
    return inki_fail(error, INK_E_UNSUPPORTED, "ink_session_restore", 0, left_out);
}

// --- the prefix cache ----------------------------------------------------------------------------

ink_status ink_prefix_cache_new(ink_prefix_cache **out, ink_model *model, uint64_t max_bytes,
                                ink_error *error) {
    (void)out, (void)model, (void)max_bytes;
    return inki_fail(error, INK_E_UNSUPPORTED, "ink_prefix_cache_new", 0, left_out);
}
void ink_prefix_cache_unref(ink_prefix_cache *cache) { (void)cache; }
uint64_t ink_prefix_cache_trim(ink_prefix_cache *cache, uint64_t bytes) {
    (void)cache, (void)bytes;
    return 0;
}
uint64_t inki_prefix_cache_trim(ink_prefix_cache *cache, uint64_t bytes, uint64_t *freed) {
    (void)cache, (void)bytes, (void)freed;
    return 0;
}
ink_status ink_prefix_cache_get_info(const ink_prefix_cache *cache, ink_prefix_cache_info *info) {
    (void)cache, (void)info;
    return INK_E_UNSUPPORTED;
}
ink_prefix_cache *inki_prefix_cache_ref(ink_prefix_cache *cache) { return cache; }
const ink_model *inki_prefix_cache_model(const ink_prefix_cache *cache) {
    (void)cache;
    return NULL;
}
void inki_prefix_attach(ink_session *session, const ink_token *tokens, uint32_t n) {
    (void)session, (void)tokens, (void)n;
}
void inki_prefix_insert(ink_session *session) { (void)session; }

// --- speculation ---------------------------------------------------------------------------------

ink_status inki_draft_check(const ink_session_options *options, const ink_model *model,
                            ink_error *error) {
    (void)options, (void)model;
    return inki_fail(error, INK_E_UNSUPPORTED, "draft", 0, left_out);
}
ink_status inki_draft_bytes(const ink_session_options *options, const inki_weights *weights,
                            uint64_t *heap, uint64_t *kv, ink_error *error) {
    (void)options, (void)weights, (void)heap, (void)kv;
    return inki_fail(error, INK_E_UNSUPPORTED, "draft", 0, left_out);
}
ink_status inki_draft_new(inki_draft **out, const ink_session_options *options, ink_model *model,
                          ink_error *error) {
    (void)out, (void)options, (void)model;
    return inki_fail(error, INK_E_UNSUPPORTED, "draft", 0, left_out);
}
void inki_draft_free(inki_draft *draft) { (void)draft; }
uint32_t inki_draft_propose(inki_draft *draft, const ink_session *session, const ink_token *tokens,
                            uint32_t n, uint32_t most, ink_token *out) {
    (void)draft, (void)session, (void)tokens, (void)n, (void)most, (void)out;
    return 0;
}
void inki_draft_learn(inki_draft *draft, uint32_t n_drafted, uint32_t n_accepted, double ms) {
    (void)draft, (void)n_drafted, (void)n_accepted, (void)ms;
}
