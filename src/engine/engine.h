// SPDX-License-Identifier: MIT
// The objects behind the public handles, and what the files of this room share.
#ifndef INKI_ENGINE_H
#define INKI_ENGINE_H

#include "base/log.h"
#include "filter/filter.h"
#include "forward/forward.h"
#include "gguf/gguf.h"
#include "grammar/matcher.h"
#include "model/model.h"
#include "os/os.h"
#include "os/pool.h"
#include "sampler/sampler.h"
#include "tokenizer/tokenizer.h"

#include <fenv.h>
#include <stdatomic.h>

// --- options -------------------------------------------------------------------------------------

// Fills known [known_size], which holds the defaults, from a caller's struct that begins with its
// size. Fields that a shorter struct lacks keep their defaults. source NULL: nothing to do.
// Errors: INK_E_ARG (size is 0, absurd or inside of a field), INK_E_UNSUPPORTED (a later version's
// field is set).
ink_status inki_options_read(void *known, size_t known_size, const void *source, const char *what,
                             ink_error *error);
// Writes as much of the defaults as the caller's version of the struct has room for.
void inki_options_fill(void *out, size_t size, const void *defaults, size_t known_size);
// Errors: INK_E_UNSUPPORTED (a flag that is not among the known ones).
ink_status inki_flags_check(uint32_t flags, uint32_t known, const char *what, ink_error *error);
// The other way round: fills a caller's struct with what its size field covers (0: all) of the
// report [known_size]. The size field then says how much was filled.
void inki_report_write(void *out, const void *report, size_t known_size);

// Stop strings, or others that `what` names. Errors: INK_E_ARG (NULL with n > 0, a string that is
// NULL or empty).
ink_status inki_stops_check(const char *const *stop, size_t n, const char *what, ink_error *error);
// Copies of a caller's strings, in one block.
typedef struct inki_stops {
    const char **list; // [n]
    size_t n, bytes;
} inki_stops;
// Errors: those of inki_stops_check, INK_E_NOMEM.
ink_status inki_stops_copy(inki_stops *out, const char *const *stop, size_t n, const char *what,
                           const inki_mem *mem, ink_error *error);
void inki_stops_free(inki_stops *stops, const inki_mem *mem); // a zeroed one is allowed

// --- runtime and model ---------------------------------------------------------------------------

struct ink_runtime {
    atomic_uint refs;
    inki_mem mem;
    inki_log log;
    inki_kernels kernels;
    inki_pool *pool;
};
ink_runtime *inki_runtime_ref(ink_runtime *runtime);

struct ink_model {
    atomic_uint refs;
    ink_runtime *runtime; // a reference
    inki_mem mem;
    inki_file file;
    inki_gguf gguf;
    inki_weights weights;
    inki_tokenizer *tokenizer; // NULL: opened with INK_MODEL_INSPECT
    char *keys;                // the metadata's keys with their 0 bytes, one after the other
    size_t keys_bytes;
    size_t *key_at; // [gguf.n_kv] where each begins
    char *strings;  // source name, architecture, name, licence
    size_t strings_bytes;
    const char *source_name, *architecture, *name, *license;
    ink_model_info info;
    // Tells models apart (fingerprint.c): made when first asked for, 0 until then.
    atomic_uint_fast64_t fingerprint;
    // For the masks of all its grammars: made with the first one, NULL until then (grammar_new.c).
    _Atomic(inki_token_trie *) trie;
};
// Of metadata, tensor list and 4 kB of each tensor; never 0. Any thread.
uint64_t inki_model_fingerprint(const ink_model *model);

// Errors: INK_E_UNSUPPORTED (opened with INK_MODEL_INSPECT).
ink_status inki_model_need_all(const ink_model *model, ink_error *error);

// Maps or finds the source's bytes. *name: for messages, borrowed from the source; as it is where
// that has none.
ink_status inki_source_open(inki_file *out, const char **name, const ink_source *source,
                            const inki_mem *mem, const inki_log *log, ink_error *error);

// --- adapters ------------------------------------------------------------------------------------

struct ink_adapter {
    atomic_uint refs;
    ink_model *model; // a reference
    inki_file file;
    inki_gguf gguf;
    inki_lora lora;
    char name[96]; // of the source, or its end
};

// Copies of a caller's adapters, with references. A zeroed one has none.
typedef struct inki_adapters {
    ink_adapter_use list[INKI_LORA_MAX];
    size_t n;
} inki_adapters;
// What a caller gave. model: whose they shall be; NULL: anyone's. Errors: INK_E_ARG, INK_E_LIMIT.
ink_status inki_adapters_check(const ink_adapter_use *list, size_t n, const ink_model *model,
                               ink_error *error);
// *list [n], checked, becomes that of `out`.
void inki_adapters_copy(inki_adapters *out, const ink_adapter_use **list, size_t n);
void inki_adapters_drop(inki_adapters *adapters); // the references
// What of them counts.
inki_lora_list inki_adapters_loras(const ink_adapter_use *list, size_t n);

// Which adapters count and how much, as one number; 0: none. Not the objects but what their files
// hold, so that it is the same in another process.
uint64_t inki_adapters_fingerprint(const inki_lora_list *loras, const ink_adapter_use *list,
                                   size_t n);

// --- grammar -------------------------------------------------------------------------------------

struct ink_grammar {
    atomic_uint refs;
    inki_mem mem;
    ink_model *model; // a reference: the tokens are of its vocabulary
    inki_grammar *rules;
    const inki_token_trie *trie; // the model's
};
ink_grammar *inki_grammar_ref(ink_grammar *grammar); // NULL is allowed

// --- session -------------------------------------------------------------------------------------

typedef struct inki_draft inki_draft;

// Working memory of one evaluation or choice. A forked session has none until it evaluates alone.
typedef struct inki_work {
    inki_scratch scratch;
    inki_row *rows;             // [scratch.n_rows]
    inki_candidate *candidates; // [n_vocab], or what is said in INKI_SESSION_GREEDY
    void *block;                // of all of them
    size_t block_bytes;         // 0: lent
} inki_work;

struct ink_session {
    ink_model *model; // a reference
    inki_mem mem;
    ink_session_options options; // with every 0 replaced by what it stands for
    inki_adapters adapters;      // options.adapters
    inki_lora_list loras;        // what of them counts
    inki_kv kv;
    inki_work work;
    ink_token *tokens; // [n_ctx] the past, and what is still in the cache behind it
    float *logits;     // [options.n_logits, n_vocab]
    float *held;       // [options.n_held, n_vocab] rows of earlier positions; NULL: none
    uint32_t *held_at; // [options.n_held] n_past behind which row i stands, 0: none; i = n_past % n
    const float *row;  // the last row of logits, in one of the two; for n_rows > 0
    uint32_t n_past;
    uint32_t n_cached; // >= n_past: so many tokens have their keys and values still
    uint32_t n_rows;   // rows of logits held
    bool pools;        // evaluations leave their rows' final hidden states
    // Made when first wanted, in one block at `hidden`.
    float *hidden;      // [options.n_batch, n_embd] of the last evaluation's rows
    double *pooled_sum; // [n_embd]
    float *embedding;   // [n_embd]
    size_t pooling_bytes;
    uint32_t n_threads; // that evaluate; 0: all of the runtime
    // Asked after each layer, beside `cancel`. NULL: never.
    bool (*interrupted)(const void *arg);
    const void *interrupted_arg;
    inki_draft *draft; // with options.n_draft; NULL: none
    // Where mirostat stands: mu[i] before the choice behind i tokens, for i <= n_mu; NAN: as the
    // one before. Made when such a chain first chooses here, [n_ctx + 2]; NULL until then.
    double *mu;
    uint32_t n_mu;
    // INK_GENERATE_CONTINUE: where a continuation was cut. Behind the past stand n_pending tokens
    // in `tokens` that were chosen but not evaluated; of the text of both the last n_unsaid bytes
    // are not given out yet; n_series bytes of it are the continuation's, of all calls together.
    bool is_cut;
    uint32_t n_pending;
    size_t n_unsaid;
    uint64_t n_series;
    char *note; // [note_bytes] of the file it was restored from
    size_t note_bytes;
    uint64_t n_forgotten; // tokens that sliding dropped: the random position goes on counting
    size_t block_bytes;   // this struct and all above but kv pages, held rows and work
    atomic_int cancel;
    atomic_int busy;
    atomic_uintptr_t owner; // thread inside, 0: none
};

// Claims the session for the calling thread. Errors: INK_E_BUSY, INK_E_REENTRANT, INK_E_ARG (NULL).
ink_status inki_session_enter(ink_session *session, ink_error *error);
void inki_session_leave(ink_session *session);

// The first n tokens stay what they are, those behind may change: what is known of those goes, but
// for the cache.
void inki_session_forget_from(ink_session *session, uint32_t n);
// Where mirostat stands behind the past, with `begin` where it has not chosen yet.
double inki_session_mu(const ink_session *session, double begin);
// Room for it. Errors: INK_E_NOMEM.
ink_status inki_session_need_mu(ink_session *session, ink_error *error);

// Bytes of heap that a session of this model takes, and those of its pages. options: complete.
ink_status inki_session_bytes(const inki_weights *weights, const ink_session_options *options,
                              uint64_t *heap, uint64_t *kv, ink_error *error);
// Replaces zeros by what they stand for and checks the rest.
ink_status inki_session_options_complete(ink_session_options *options, const inki_weights *weights,
                                         ink_error *error);
// Beside the flags of options: tokens are only ever chosen by the chain "greedy", which needs room
// for one candidate (tests/typing/test_typing_memory.c holds it to that).
enum { INKI_SESSION_GREEDY = 1 << 30 };
// options: complete. reserve: with pages and working memory, as a session of its own has them.
ink_status inki_session_make(ink_session **out, ink_model *model,
                             const ink_session_options *options, bool reserve, ink_error *error);
// All but the cache: tokens, logits, position.
void inki_session_copy_timeline(ink_session *child, const ink_session *parent);
// Working memory, if the session has none yet. Errors: INK_E_NOMEM.
ink_status inki_session_need_work(ink_session *session, ink_error *error);

// The past becomes a beginning of tokens [n], n > 0, the longest that the cache holds with logits
// behind it if it is all of them. Nothing is evaluated, and nothing behind it is forgotten yet.
void inki_session_go_to(ink_session *session, const ink_token *tokens, uint32_t n);
bool inki_session_was_interrupted(const ink_session *session); // cancelled, or by its hook
// Gives the held rows back; the session evaluates what it needs of them again. Returns the bytes.
uint64_t inki_session_unhold(ink_session *session);
// Room for hidden states and their mean. Errors: INK_E_NOMEM.
ink_status inki_session_need_pooling(ink_session *session, ink_error *error);
ink_status inki_session_hold(ink_session *session, ink_error *error); // Errors: INK_E_NOMEM
// A session for branches of `parent` that add at most n_new tokens; empty. All its memory is
// allocated here, but for working memory: it has the parent's, which must be there and stay.
// Errors: INK_E_NOMEM.
ink_status inki_session_new_branch(ink_session **out, ink_session *parent, uint32_t n_new,
                                   ink_error *error);
// The branch now holds the first n_past tokens of the parent, which the parent's cache must have,
// and the logits behind them if the parent has those. n_shared of them, at most n_past, are what
// the parent does not write again while the branch follows it: then neither of the two allocates
// anything, as long as the branch ends at most n_new + 1 tokens behind n_shared. Errors:
// INK_E_NOMEM (it is then empty).
ink_status inki_session_rebranch(ink_session *branch, const ink_session *parent, uint32_t n_shared,
                                 uint32_t n_past, ink_error *error);
// What the branch's cache holds of tokens [n] beyond the session's is copied there.
void inki_session_adopt(ink_session *session, const ink_session *branch, const ink_token *tokens,
                        uint32_t n);
// Logits behind the first n_past tokens, NULL when they are not there.
const float *inki_session_row_at(const ink_session *session, uint32_t n_past);

// As the public calls, for sessions that the caller has entered.
// INKI_SPAN_HOLD: a row of logits for each of the last n_held tokens, kept as the last one's is.
enum { INKI_SPAN_HOLD = 1 << 30 };
ink_status inki_eval_entered(const ink_span *spans, size_t n, ink_error *error);
void inki_rewind_entered(ink_session *session, uint32_t n_past);
// What a choice may not be, beside the chain: see inki_draw.
typedef struct inki_constraint {
    const int32_t *bans;
    size_t n_bans;
    const uint64_t *allowed;
} inki_constraint;
ink_status inki_sample_entered(ink_session *session, const inki_chain *chain,
                               const inki_constraint *constraint, ink_token *out, ink_error *error);
ink_status inki_generate_entered(ink_session *session, const char *text, size_t bytes,
                                 const ink_generate_options *options, ink_text_fn fn, void *user,
                                 ink_result *result, ink_error *error);

// --- measuring -----------------------------------------------------------------------------------

// A model that is opened over an allocator that counts: reads metadata only, and the figures cannot
// drift from what opening does.
typedef struct inki_measured {
    inki_mem under;
    atomic_size_t held, peak;
    ink_runtime *runtime;
    ink_model *model;
} inki_measured;
// Fills the model's figures of out. To be closed, after a failure too.
ink_status inki_measure_open(inki_measured *measured, const ink_source *source, ink_memory *out,
                             ink_error *error);
uint64_t inki_measure_held(const inki_measured *measured); // bytes held now
void inki_measure_close(inki_measured *measured);

// --- floating point ------------------------------------------------------------------------------

// The host may have set another rounding mode or flush denormals: our numbers must not depend on
// it, and its state must be as before in its callbacks and after the call.
typedef struct inki_fp {
    fenv_t host;
} inki_fp;
static inline void inki_fp_ours(inki_fp *fp) {
    fegetenv(&fp->host);
    fesetenv(FE_DFL_ENV);
}
static inline void inki_fp_hosts(const inki_fp *fp) { fesetenv(&fp->host); }

struct ink_sampler {
    inki_mem mem;
    inki_chain *chain;
};

#endif
