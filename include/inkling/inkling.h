// SPDX-License-Identifier: MIT
//
// Inkling turns a model file into words, on the device, offline.
//
//     ink_engine *ai = ink_open(NULL, NULL);                      // NULL: the built-in model
//     ink_generate(ai, "Once upon a time", on_text, user);        // streams pieces
//     ink_close(ai);
//
// Rules that hold for every function here
//
//   Status      ink_status is 0 (INK_OK) or negative. On failure outputs are untouched (a size that
//               is documented as "needed" apart) and the ink_error, if one was given, says what
//               happened in one line. The library never exits, aborts or prints. A NULL where none
//               is allowed is INK_E_ARG, whether that stands beside the function or not.
//   Options     A struct whose first field is `size` is filled by its ink_*_options_init function
//               and then changed. It may grow in later versions: fields are only ever added at the
//               end. NULL stands for the defaults. The library copies what it keeps. A field or a
//               flag that this version does not know is INK_E_UNSUPPORTED, never passed over; a
//               size that ends inside of a field is INK_E_ARG.
//   Reports     Structs that a call fills (ink_model_info, ink_memory, ink_result) begin with
//               `size` too: the room that there is, or 0 for all that the header says. After the
//               call it says how much was filled.
//   Ownership   What ink_x_new / ink_x_open made, ink_x_free / ink_x_unref / ink_close ends.
//               `const` pointers handed out are borrowed for the time stated beside them.
//   Threads     ink_runtime, ink_model, ink_adapter, ink_sampler, ink_filter, ink_grammar and
//               ink_prefix_cache may be used by any number of threads at once. A session, an engine
//               belong to one thread at a time: while a call runs, a second thread gets INK_E_BUSY
//               from all that returns a status; what only reads (the past, logits, the last result
//               or error) does not look who calls. ink_session_cancel and ink_cancel may be called
//               from anywhere, at any time. A typing session and a service are made for several
//               threads: see there.
//   Callbacks   Inside a callback the object that calls may be read and cancelled. Any other call
//               on it from there returns INK_E_REENTRANT.
//   fork(2)     In the child, objects that were idle at the fork may be used and freed; evaluations
//               there run on the calling thread alone.
//
// Text is UTF-8. Token ids are int32. Sizes are in bytes, times in milliseconds.
#ifndef INKLING_H
#define INKLING_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(INKLING_STATIC)
#define INK_API
#elif defined(__GNUC__)
#define INK_API __attribute__((visibility("default")))
#else
#define INK_API
#endif

#define INK_VERSION_MAJOR 0
#define INK_VERSION_MINOR 1
#define INK_VERSION_PATCH 0

// ---------------------------------------------------------------------------------------------
// Status and errors
// ---------------------------------------------------------------------------------------------

// X(name, number, text): the one list that makes the constants, ink_status_name and
// ink_status_text. Numbers never change; new ones are added at the end.
#define INK_STATUS_MAP(X)                                                                          \
    X(OK, 0, "success")                                                                            \
    X(E_ARG, -1, "invalid argument")                                                               \
    X(E_NOMEM, -2, "out of memory")                                                                \
    X(E_IO, -3, "input or output failed")                                                          \
    X(E_NOT_FOUND, -4, "not found")                                                                \
    X(E_FORMAT, -5, "malformed data")                                                              \
    X(E_UNSUPPORTED, -6, "not supported")                                                          \
    X(E_LIMIT, -7, "over a stated limit")                                                          \
    X(E_CONTEXT, -8, "does not fit into the context")                                              \
    X(E_BUSY, -9, "in use by another thread")                                                      \
    X(E_REENTRANT, -10, "not allowed inside a callback of the same object")                        \
    X(E_CLOSED, -11, "closed")                                                                     \
    X(E_CANCELLED, -12, "cancelled")                                                               \
    X(E_UTF8, -13, "text is not UTF-8")                                                            \
    X(E_TOKEN, -14, "token id outside the vocabulary")                                             \
    X(E_SPACE, -15, "buffer too small")                                                            \
    X(E_NUMERIC, -16, "a NaN or infinite value was met")                                           \
    X(E_SYSTEM, -17, "the operating system refused")                                               \
    X(E_FULL, -18, "the queue is full")                                                            \
    X(E_FILTERED, -19, "the text holds a listed phrase")                                           \
    X(E_STALE, -20, "the text has changed since")

typedef enum ink_status {
#define INK_STATUS_ENUM(name, number, text) INK_##name = (number),
    INK_STATUS_MAP(INK_STATUS_ENUM)
#undef INK_STATUS_ENUM
} ink_status;

// "INK_E_FORMAT" and the like; "unknown" for other numbers. Static strings.
INK_API const char *ink_status_name(int32_t status);
// One short English phrase. Static strings.
INK_API const char *ink_status_text(int32_t status);

// Details of a failure, in the caller's memory. Written only on failure. Zero-initialise it once.
typedef struct ink_error {
    uint32_t size;     // sizeof(ink_error) or 0
    int32_t status;    // an ink_status
    uint64_t offset;   // byte offset in the input where it was noticed, 0 where that has no meaning
    char where[96];    // the file, tensor, key or option concerned; may be empty
    char message[256]; // one line without newline, complete by itself (it repeats `where`)
} ink_error;

// ---------------------------------------------------------------------------------------------
// Version and constants, also for bindings that cannot read macros
// ---------------------------------------------------------------------------------------------

INK_API const char *ink_version(void);     // "0.1.0"
INK_API uint32_t ink_version_number(void); // major * 1000000 + minor * 1000 + patch
INK_API size_t ink_error_size(void);       // sizeof(ink_error)
INK_API uint32_t ink_page_positions(void); // positions in a page of the KV cache: 64

// ---------------------------------------------------------------------------------------------
// Three lines: an engine with one model and one timeline
// ---------------------------------------------------------------------------------------------

typedef int32_t ink_token;
typedef struct ink_engine ink_engine;
typedef struct ink_options ink_options;

// A token and its probability under the model, before any sampler changed it (natural log).
typedef struct ink_logprob {
    ink_token token;
    float logprob;
} ink_logprob;
// A token that stands in the text, and what could have stood there.
typedef struct ink_choice {
    ink_token token;
    float logprob;          // NAN: the first token of an echoed prompt, which nothing stands before
    uint32_t n_top;         // as many as were asked for, 0 where logprob is NAN
    const ink_logprob *top; // [n_top] the most probable ones, falling; ties: the lower id first
    const void *reserved;   // NULL
} ink_choice;

// A piece of generated text. `text` is whole UTF-8 characters, also followed by a 0 byte, borrowed
// until the callback returns, as all of the piece is.
typedef struct ink_piece {
    uint32_t size;
    ink_token token; // the last token that the piece came from
    const char *text;
    size_t bytes;      // > 0
    float logprob;     // of `token` under the model (natural log); NAN unless asked for
    uint32_t n_tokens; // tokens generated so far in this call; 0: a piece of the echoed prompt
    // LOGPROBS: the tokens whose first byte is given out with this piece. A token is told once,
    // when nothing can take it back any more; one that only a stop string was made of never is.
    uint32_t n_choices;
    const ink_choice *choices; // [n_choices], in the order of the text
} ink_piece;

// Receives each piece on the thread that called. Nonzero stops the generation.
typedef int (*ink_text_fn)(void *user, const ink_piece *piece);

// Opens a model: path [utf-8], or "builtin:NAME", or NULL for the built-in model.
// Returns a handle even on failure (ask ink_engine_error; ink_generate then returns its status);
// NULL only when there is no memory for the handle. Threads: any.
INK_API ink_engine *ink_open(const char *path, const ink_options *options);

// Continues `prompt` and streams the continuation to `fn` (may be NULL), always from a fresh
// timeline: nothing of earlier calls is remembered, though what the cache still holds is reused.
// An empty prompt, or NULL, starts from the end-of-text token.
// Errors: those of ink_session_generate; where opening failed, its status.
INK_API ink_status ink_generate(ink_engine *engine, const char *prompt, ink_text_fn fn, void *user);

// The last failure on this engine; its status is INK_OK when there was none. Borrowed until the
// next call on the engine. Never NULL.
INK_API const ink_error *ink_engine_error(const ink_engine *engine);

// Makes the ink_generate that runs now return soon, with the text so far; no effect when none runs.
// Any thread, signal-safe.
INK_API void ink_cancel(ink_engine *engine);

// Ends the engine and all it holds. NULL is allowed.
// Errors: INK_E_BUSY, INK_E_REENTRANT (nothing was freed).
INK_API ink_status ink_close(ink_engine *engine);

// ---------------------------------------------------------------------------------------------
// Runtime: threads, memory, log. Shared by models.
// ---------------------------------------------------------------------------------------------

// The host's memory functions. `align` is a power of two. `release` gets the size that was asked
// for. They may be called from several threads at once, and in the default floating-point state;
// they must not call the library, which may hold a lock.
typedef struct ink_allocator {
    uint32_t size;
    void *(*alloc)(void *user, size_t bytes, size_t align);
    void (*release)(void *user, void *memory, size_t bytes);
    void *user;
} ink_allocator;

enum { INK_LOG_ERROR = 1, INK_LOG_WARN = 2, INK_LOG_INFO = 3, INK_LOG_DEBUG = 4 };
// `message` is one line without newline, borrowed until the return. May be called from any thread
// that calls the library, in the default floating-point state.
typedef void (*ink_log_fn)(void *user, int level, const char *message);

// Instruction-set levels, in rising order within an architecture: bits of cpu_mask.
typedef enum ink_cpu_level {
    INK_CPU_PORTABLE = 0, // plain C, always there
    INK_CPU_AVX2 = 1,     // with FMA and F16C
    INK_CPU_AVX512 = 2,   // F, BW, DQ, VL
    INK_CPU_AVX512VNNI = 3,
    INK_CPU_NEON = 4,
    INK_CPU_DOTPROD = 5,
    INK_CPU_I8MM = 6
} ink_cpu_level;

// Take n_threads even where there are fewer processors; the threads then wait for each other.
enum { INK_RUNTIME_OVERSUBSCRIBE = 1u };

typedef struct ink_runtime ink_runtime;
typedef struct ink_runtime_options {
    uint32_t size;
    // 0: one for each processor that the process may use, and with more the log is told and that
    // many are used (see INK_RUNTIME_OVERSUBSCRIBE). Never more than 64.
    uint32_t n_threads;
    const ink_allocator *allocator; // NULL: the C library's
    ink_log_fn log;                 // NULL: silence
    void *log_user;
    // Which levels may be used, 1u << INK_CPU_*; ~0u: all. A level is used where the machine and
    // the mask have it and all below it, portable C where they have none. The environment variable
    // INKLING_CPU, a level's name in small letters ("avx2"), takes away those above that one.
    uint32_t cpu_mask;
    uint32_t flags; // INK_RUNTIME_*
} ink_runtime_options;
INK_API void ink_runtime_options_init(ink_runtime_options *options, size_t size);

// Errors: INK_E_ARG (INKLING_CPU too: no level's name, or one that the machine lacks), INK_E_NOMEM,
// INK_E_SYSTEM (no threads to be had). Threads: any, while none changes the environment.
INK_API ink_status ink_runtime_new(ink_runtime **out, const ink_runtime_options *options,
                                   ink_error *error);
// Models hold a reference: any order of release is safe. NULL is allowed.
INK_API void ink_runtime_unref(ink_runtime *runtime);
INK_API uint32_t ink_runtime_n_threads(const ink_runtime *runtime);
// The name of the level in use: "portable", "avx512vnni" and so on. Static strings; "" for NULL.
INK_API const char *ink_runtime_cpu_level(const ink_runtime *runtime);

// ---------------------------------------------------------------------------------------------
// Model: immutable, shared
// ---------------------------------------------------------------------------------------------

typedef struct ink_model ink_model;

enum { INK_SOURCE_BUILTIN = 0, INK_SOURCE_PATH = 1, INK_SOURCE_FD = 2, INK_SOURCE_MEMORY = 3 };
// Read the file into memory instead of mapping it: for files that others may shrink or rewrite
// (a mapped file that shrinks kills the process, whoever maps it).
enum { INK_SOURCE_COPY = 1u };

typedef struct ink_source {
    uint32_t size;
    uint32_t kind;  // INK_SOURCE_*
    uint32_t flags; // INK_SOURCE_COPY
    // PATH: the path. BUILTIN: NULL or "story". FD, MEMORY: NULL or a name for errors.
    const char *name;
    int fd; // FD: an open file; it may be closed as soon as ink_model_open returns
    // MEMORY: bytes that live as long as the model; what is not at a multiple of 4 is copied.
    const void *data;
    uint64_t offset; // FD: first byte of the model in the file (an asset in an APK)
    uint64_t bytes;  // FD: its length, 0: to the end. MEMORY: its length
} ink_source;

typedef struct ink_model_options {
    uint32_t size;
    uint32_t flags; // INK_MODEL_*
    // Called now and then while loading with a fraction from 0 to 1; nonzero cancels the loading.
    int (*progress)(void *user, double fraction);
    void *progress_user;
} ink_model_options;
INK_API void ink_model_options_init(ink_model_options *options, size_t size);
// Open only the container: metadata and tensor list can be read of any architecture, no text and no
// session can be made (INK_E_UNSUPPORTED).
enum { INK_MODEL_INSPECT = 1u };

// Opens a GGUF file. Weights stay views into the read-only mapping.
// runtime: NULL for one of its own. source: NULL for the built-in model.
// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
// Errors: INK_E_ARG, INK_E_NOT_FOUND, INK_E_IO, INK_E_FORMAT (damaged: message names field and
// offset), INK_E_UNSUPPORTED (version, architecture, tensor type), INK_E_LIMIT, INK_E_NOMEM,
// INK_E_CANCELLED, INK_E_SYSTEM (no threads for a runtime of its own).
INK_API ink_status ink_model_open(ink_model **out, ink_runtime *runtime, const ink_source *source,
                                  const ink_model_options *options, ink_error *error);
// Sessions hold a reference: any order of release is safe. NULL is allowed.
INK_API ink_model *ink_model_ref(ink_model *model);
INK_API void ink_model_unref(ink_model *model);

typedef struct ink_model_info {
    uint32_t size;
    uint32_t n_ctx, n_vocab, n_embd, n_layer, n_head;
    uint64_t n_params;
    uint64_t file_bytes;
    uint64_t weight_bytes;    // of all tensors
    ink_token end_token;      // <|endoftext|>; -1: none
    const char *architecture; // borrowed from the model, "" where the file says nothing
    const char *name;
    const char *license;
    const char *type; // most frequent tensor type by bytes, "Q8_0"
} ink_model_info;
// info: a report, see above.
INK_API ink_status ink_model_get_info(const ink_model *model, ink_model_info *info);

// ---------------------------------------------------------------------------------------------
// Adapters: what a model learnt later (LoRA), in small files beside it. Immutable, shared
// ---------------------------------------------------------------------------------------------

typedef struct ink_adapter ink_adapter;

// Opens a LoRA adapter for this model: a GGUF file as llama.cpp's converter and `inkling train`
// write it, with matrices for attn_qkv, attn_output, ffn_up and ffn_down, up to rank 4096. A stays
// a view into the mapping, B is kept as floats: 4 * rank * rows bytes of heap.
// Source: https://github.com/ggml-org/llama.cpp (convert_lora_to_gguf.py). Errors: those of
// ink_model_open; INK_E_FORMAT (of another model: message names the tensor that does not fit; no
// adapter), INK_E_UNSUPPORTED (another kind of adapter, other matrices; a model opened with
// INK_MODEL_INSPECT).
INK_API ink_status ink_adapter_open(ink_adapter **out, ink_model *model, const ink_source *source,
                                    ink_error *error);
// Sessions hold a reference: any order of release is safe. NULL is allowed.
INK_API void ink_adapter_unref(ink_adapter *adapter);
// An adapter and how much it counts: weights become W + scale * (alpha / rank) B A.
typedef struct ink_adapter_use {
    ink_adapter *adapter;
    float scale; // 1: as it was trained; 0: as if it were not there, to the bit
} ink_adapter_use;

// ---------------------------------------------------------------------------------------------
// Tokens
// ---------------------------------------------------------------------------------------------

enum {
    INK_TOKENIZE_SPECIAL = 1u, // read special tokens ("<|endoftext|>") in the text; else plain text
    INK_TOKENIZE_STRICT = 2u   // refuse text that is not UTF-8 with INK_E_UTF8
};
// text [bytes] → out [cap] ids. *n: ids needed. out NULL with cap 0 only asks for *n.
// n_invalid: NULL, or receives the count of bytes that were not UTF-8 (they are kept, byte by
// byte). Errors: INK_E_SPACE (*n > cap, nothing but *n written), INK_E_UTF8, INK_E_NOMEM,
// INK_E_ARG, INK_E_LIMIT (over 2^30 bytes), INK_E_UNSUPPORTED (opened with INK_MODEL_INSPECT).
// Threads: any.
INK_API ink_status ink_tokenize(const ink_model *model, const char *text, size_t bytes,
                                uint32_t flags, ink_token *out, size_t cap, size_t *n,
                                size_t *n_invalid);

enum { INK_DETOKENIZE_SPECIAL = 1u }; // write special tokens as their text; else they give nothing
// tokens [n] → out [cap] bytes, no 0 byte at the end; what was tokenized comes back byte for byte.
// *bytes: needed. out NULL with cap 0 only asks. Errors: INK_E_SPACE (nothing but *bytes written),
// INK_E_TOKEN, INK_E_ARG, INK_E_UNSUPPORTED (as above). Threads: any.
INK_API ink_status ink_detokenize(const ink_model *model, const ink_token *tokens, size_t n,
                                  uint32_t flags, char *out, size_t cap, size_t *bytes);

// ---------------------------------------------------------------------------------------------
// Session: one timeline of tokens with its KV cache
// ---------------------------------------------------------------------------------------------

typedef struct ink_session ink_session;
typedef struct ink_prefix_cache ink_prefix_cache;
typedef struct ink_sampler ink_sampler;
typedef struct ink_filter ink_filter;
typedef struct ink_grammar ink_grammar;

enum { INK_KV_F16 = 0, INK_KV_F32 = 1, INK_KV_Q8_0 = 2 };

typedef struct ink_session_options {
    uint32_t size;
    uint32_t n_ctx;    // positions; 0: as many as the model was trained for (the most it can)
    uint32_t kv_type;  // INK_KV_*: how keys and values are kept
    uint32_t n_batch;  // rows evaluated together in a prefill; 0: 128; at most 4096
    uint32_t n_logits; // most rows of logits one evaluation may return; 0: 1
    uint64_t stream;   // random stream: two sessions with one seed differ by it
    // Rows of logits kept for the positions evaluated last, one at each: a rewind to such a
    // position has its logits still. 0: none; at most n_ctx. Forks have none.
    uint32_t n_held;
    // [n_adapters] applied in this order, at most 16; opened for the session's model. Copied, with
    // references. Forks have the same.
    const ink_adapter_use *adapters;
    size_t n_adapters;
    // Beginnings of texts that sessions share; of this model. NULL: none. A reference is held.
    ink_prefix_cache *prefix_cache;
    // Speculation: up to n_draft tokens (0: none; at most 64) are drafted ahead and evaluated in
    // one pass with the token before them; those that the sampler chooses too need no evaluation
    // any more. The text has the same bytes as without. What is drafted, and whether at all,
    // follows what was accepted and what it cost. n_held grows to n_draft + 1. Forks draft nothing.
    // draft: a small model with the same vocabulary that drafts; NULL: the text does, with what
    // followed the same tokens before. A reference is held. Sources: Leviathan et al. 2023
    // (speculative decoding), Saxena 2023 (drafts from the text, prompt lookup).
    ink_model *draft;
    uint32_t n_draft;
    uint32_t flags; // INK_SESSION_*
} ink_session_options;
enum { INK_SESSION_DRAFT_ALWAYS = 1u }; // also where drafting costs more than it brings
INK_API void ink_session_options_init(ink_session_options *options, size_t size);

// All memory that an unforked session needs is allocated here: a decode step allocates nothing.
// With a prefix cache, pages that others share too are copied when they are written: evaluation may
// then allocate a page.
// Errors: INK_E_ARG (an adapter, a prefix cache of another model, a draft model of another
// vocabulary), INK_E_LIMIT (n_ctx over the model's, n_batch over 4096, n_logits or n_held over
// n_ctx, over 16 adapters, n_draft over 64 or not below n_ctx), INK_E_NOMEM, INK_E_UNSUPPORTED
// (opened with INK_MODEL_INSPECT).
INK_API ink_status ink_session_new(ink_session **out, ink_model *model,
                                   const ink_session_options *options, ink_error *error);
// *out: a second session with the same past, options and logits, the caller's to free. Pages are
// shared until one of the two writes to them, also while both are at work on two threads. Its
// random stream is the same too: to choose differently, give it another sampler. What
// INK_GENERATE_CONTINUE holds back of the text stays with the first alone. Errors: INK_E_BUSY,
// INK_E_REENTRANT, INK_E_NOMEM.
INK_API ink_status ink_session_fork(ink_session *session, ink_session **out, ink_error *error);
// Forgets all but the first n_past tokens. The logits are gone until the next evaluation, unless
// n_past is what the session holds already or a position whose row is kept (n_held). With 0 the
// session is as new. Errors: INK_E_ARG (n_past beyond the past), INK_E_BUSY, INK_E_REENTRANT.
INK_API ink_status ink_session_rewind(ink_session *session, uint32_t n_past);
// NULL is allowed. Errors: INK_E_BUSY, INK_E_REENTRANT (nothing was freed).
INK_API ink_status ink_session_free(ink_session *session);

INK_API uint32_t ink_session_n_past(const ink_session *session); // tokens evaluated
INK_API uint32_t ink_session_n_ctx(const ink_session *session);
// tokens [*n]: the past, borrowed until the session's next call.
INK_API const ink_token *ink_session_tokens(const ink_session *session, size_t *n);

enum { INK_SPAN_ALL_LOGITS = 1u }; // a row of logits for each token, not only for the last
typedef struct ink_span {
    ink_session *session;
    const ink_token *tokens; // [n_tokens], n_tokens > 0
    size_t n_tokens;
    uint32_t flags;       // INK_SPAN_*
    const void *reserved; // NULL: spans stand in arrays and cannot grow, later versions need room
} ink_span;
// Appends each span's tokens to its session, all in one pass. Sessions must be distinct and of one
// model. All or nothing: on failure every session is as before (its logits may be gone).
// Errors: INK_E_ARG, INK_E_TOKEN, INK_E_CONTEXT, INK_E_LIMIT (more logits rows than n_logits),
// INK_E_BUSY, INK_E_REENTRANT, INK_E_NOMEM (a forked session had to copy a page), INK_E_CANCELLED,
// INK_E_NUMERIC (message names the tensor that holds a NaN or infinity), INK_E_UNSUPPORTED (flags,
// reserved).
INK_API ink_status ink_eval(const ink_span *spans, size_t n, ink_error *error);

// logits [n_vocab] of row `row` of the session's last evaluation (0 is the first that was asked
// for), borrowed until the session's next call; NULL if there is no such row.
INK_API const float *ink_session_logits(const ink_session *session, size_t row, size_t *n_vocab);

// Stops the call that runs on this session now; it is seen after each layer. No effect when none
// runs. The session stays usable. Any thread, signal-safe.
INK_API void ink_session_cancel(ink_session *session);

// Bytes a model and a session of it need. Heap is what the allocator is asked for.
typedef struct ink_memory {
    uint32_t size;
    uint32_t n_ctx;              // the context these figures are for
    uint64_t file_bytes;         // mapped, read-only, shared, clean
    uint64_t model_heap_bytes;   // held by an open model (tokenizer tables, tensor list)
    uint64_t model_peak_bytes;   // most that the heap holds while the model is opened
    uint64_t kv_bytes;           // pages of the KV cache
    uint64_t session_heap_bytes; // held by a session, kv_bytes included
} ink_memory;
// Exact sizes, before anything is loaded: reads metadata only. options: NULL for defaults; adapters
// in there may be of any model.
// Errors: those of ink_model_open and ink_session_new.
INK_API ink_status ink_measure(const ink_source *source, const ink_session_options *options,
                               ink_memory *out, ink_error *error);

// ---------------------------------------------------------------------------------------------
// Prefix cache: beginnings of texts, evaluated once for all sessions of a model
// ---------------------------------------------------------------------------------------------

// A radix tree over tokens whose nodes are pages of the KV cache, for each kv_type and list of
// adapters one. A session that was made with it takes from there what the beginning of its text
// (INK_GENERATE_FRESH, or an empty past) has in common with what others evaluated, and leaves whole
// pages there when a prompt was read and when a continuation ends. Same bytes as without. When
// max_bytes of pages are held, those go first that were not used for longest. Adapters that held
// pages were made with stay open; one that is opened again is another one. Source: Zheng et al.
// 2023 (RadixAttention).
// max_bytes: of pages; at least one page of the widest kind. Errors: INK_E_ARG, INK_E_LIMIT
// (max_bytes under a page), INK_E_NOMEM, INK_E_SYSTEM, INK_E_UNSUPPORTED (opened with
// INK_MODEL_INSPECT).
INK_API ink_status ink_prefix_cache_new(ink_prefix_cache **out, ink_model *model,
                                        uint64_t max_bytes, ink_error *error);
// Sessions hold a reference: any order of release is safe. NULL is allowed.
INK_API void ink_prefix_cache_unref(ink_prefix_cache *cache);
// Lets pages go until at most `bytes` are held. Returns the bytes let go; those of them that a
// session uses too are only freed with it. NULL: 0.
INK_API uint64_t ink_prefix_cache_trim(ink_prefix_cache *cache, uint64_t bytes);
typedef struct ink_prefix_cache_info {
    uint32_t size;
    uint32_t n_pages;
    uint64_t bytes, max_bytes;
    uint64_t n_lookups, n_tokens_found; // prompts looked up, tokens of them taken from here
    uint64_t n_pages_evicted;           // trimmed ones too
} ink_prefix_cache_info;
// info: a report. Errors: INK_E_ARG.
INK_API ink_status ink_prefix_cache_get_info(const ink_prefix_cache *cache,
                                             ink_prefix_cache_info *info);

// ---------------------------------------------------------------------------------------------
// Saved sessions: an app that is killed goes on where it was
// ---------------------------------------------------------------------------------------------

// A file holds the past with its keys and values, the logits behind it, the random position, what
// INK_GENERATE_CONTINUE holds back, and what is given here. It belongs to the model it was made
// with (a fingerprint of its metadata, tensor list and some bytes of each tensor), to its kv_type
// and adapters; it has a version and a checksum. See docs/FORMATS.md.
typedef struct ink_save_options {
    uint32_t size;
    uint32_t note_bytes;        // at most 1 MiB
    const ink_sampler *sampler; // its chain and seed are kept; NULL: none
    const ink_filter *filter;   // its phrases are kept; NULL: none
    const void *note;           // [note_bytes] the app's own, told by ink_session_restore
} ink_save_options;
INK_API void ink_save_options_init(ink_save_options *options, size_t size);

// Writes beside `path` [utf-8] and renames: there is the old file or the whole new one, whenever
// the process dies; half a one beside it (.inkling-….tmp) is removed by the next save to that path.
// The session is as before. Errors: INK_E_ARG, INK_E_IO, INK_E_LIMIT (note_bytes;
// more than memory can hold), INK_E_NOMEM, INK_E_BUSY, INK_E_REENTRANT.
INK_API ink_status ink_session_save(ink_session *session, const char *path,
                                    const ink_save_options *options, ink_error *error);
// The same bytes into out [cap]; *bytes: needed. out NULL with cap 0 only asks. Errors: as above,
// INK_E_SPACE (nothing but *bytes written).
INK_API ink_status ink_session_save_bytes(ink_session *session, const ink_save_options *options,
                                          void *out, size_t cap, size_t *bytes, ink_error *error);

typedef struct ink_restored {
    uint32_t size;
    uint32_t n_past;
    ink_sampler *sampler; // the caller's to free; NULL: none was saved
    ink_filter *filter;   // the caller's reference; NULL: none was saved
    uint32_t note_bytes;
    uint32_t reserved;
    const void *note; // [note_bytes] borrowed until the session's next call
} ink_restored;
// source: a path, a file descriptor or memory, used until the return; a file is read and never
// mapped, so INK_SOURCE_COPY adds nothing. The session, of the same model, kv_type and adapters and
// with room for the past, becomes the saved one: the same calls give the same bytes. Its own
// options (n_batch, n_held, stream) stay but for the stream, which is the saved one's. restored: a
// report, or NULL. On failure nothing is changed. Errors: INK_E_FORMAT (cut, altered),
// INK_E_UNSUPPORTED (a version that this one does not read), INK_E_ARG (another model, kv_type,
// adapters: message says which; BUILTIN), INK_E_CONTEXT (past too long), INK_E_NOT_FOUND, INK_E_IO,
// INK_E_LIMIT, INK_E_NOMEM, INK_E_BUSY, INK_E_REENTRANT.
INK_API ink_status ink_session_restore(ink_session *session, const ink_source *source,
                                       ink_restored *restored, ink_error *error);

// ---------------------------------------------------------------------------------------------
// Sampler: logits in, one id out. Immutable, shared; history and random position are the session's
// ---------------------------------------------------------------------------------------------

typedef struct ink_logit_bias {
    ink_token token;
    float bias; // added to the logit; -INFINITY bans the token; +INFINITY is refused
} ink_logit_bias;

typedef struct ink_sampler_options {
    uint32_t size;
    float temperature;       // 0.8; 0: greedy
    uint32_t top_k;          // 40; 0: off
    float top_p;             // 0.95; 1: off
    float min_p;             // 0.05; 0: off
    float repeat_penalty;    // 1.0: off. Divides positive, multiplies negative logits
    uint32_t penalty_last_n; // 64 tokens looked at by the three penalties; 0: none
    float presence_penalty;  // 0: off
    float frequency_penalty; // 0: off
    uint32_t seed_set;       // 0: a random seed is drawn (ink_sampler_seed tells it)
    uint64_t seed;
    const ink_logit_bias *logit_bias; // [n_logit_bias], copied
    size_t n_logit_bias;
    float typical_p;             // 1: off
    float top_n_sigma;           // -1; 0 and below: off
    float dynatemp_range;        // 0: off. The temperature goes from t - range to t + range
    float dynatemp_exponent;     // 1
    float xtc_probability;       // 0: off
    float xtc_threshold;         // 0.1; above 0.5: off
    float dry_multiplier;        // 0: off
    float dry_base;              // 1.75
    uint32_t dry_allowed_length; // 2; at most 1024, the tokens of a repetition that are counted
    uint32_t dry_last_n;         // UINT32_MAX: the whole past; 0: off
    // [n_dry_breakers] texts over which no repetition is seen; copied. NULL with 0: a newline, ":",
    // a double quote, "*". UTF-8, at most 64 bytes each, 1024 together with one more for each.
    const char *const *dry_breakers;
    size_t n_dry_breakers;
    uint32_t no_repeat_ngram; // 0: off; at most 1024. n tokens in a row stand once only
    float mirostat_tau;       // 5; of the step "mirostat", which no default chain has
    float mirostat_eta;       // 0.1
    uint32_t reserved;        // 0
} ink_sampler_options;
INK_API void ink_sampler_options_init(ink_sampler_options *options, size_t size);

// chain: NULL for "logit_bias;no_repeat_ngram;penalties;dry;top_n_sigma;top_k;typical;top_p;min_p;
// xtc;temp" (llama.cpp's order), or steps that are taken from left to right, what they leave being
// drawn from:
//
//     chain  = step { ";" step }            blanks may stand around names and numbers
//     step   = name [ "=" number { "," number } ]
//     name   = penalties (repeat, last_n, presence, frequency) | top_k | top_p | min_p
//            | temp (temperature, dynatemp_range, dynatemp_exponent) | typical | top_n_sigma
//            | xtc (probability, threshold)
//            | dry (multiplier, base, allowed_length, last_n), breakers may follow: strings as in
//              JSON, or "none"
//            | no_repeat_ngram (n) | mirostat (tau, eta): version 2, only as the last step
//            | greedy (keeps the most likely; no numbers)
//            | logit_bias ("=" token ":" bias { "," token ":" bias }, or "=none")
//
// as in "top_k=40;temp=0.8", "penalties=1.1,64;greedy", "logit_bias=11:-2.5,50256:-inf;temp",
// "dry=0.8,1.75,\"\\n\";temp". llama.cpp's names "temperature", "temp_ext", "typ_p" and
// "mirostat_v2" are read too. A chain that begins with "[" or "{" is JSON: a list of names and of
// objects, or one object, whose members are steps in their order: a number, a list of numbers, an
// object of named numbers (and "breakers", a list), or null for those of `options`, as in
// {"dry": {"multiplier": 0.8}, "top_k": 40, "logit_bias": {"11": -2.5, "50256": "-inf"}}.
//
// A name stands once at most; a step that is not named is not taken. Numbers left out (at the end)
// come from `options`, which are checked whether the chain uses them or not. temp=0 is greedy. Ties
// go to the lower id.
//
// Sources: Keskar et al. 2019 (repeat penalty), OpenAI's API (presence, frequency), Fan et al. 2018
// (top_k), Holtzman et al. 2020 (top_p), Nguyen et al. 2024 (min_p), Meister et al. 2022 (typical),
// Tang et al. 2024 (top_n_sigma), Paulus et al. 2017 (no_repeat_ngram), Basu et al. 2021
// (mirostat); text-generation-webui's pull requests 5677 (DRY) and 6335 (XTC); llama.cpp (dynamic
// temperature, defaults and order).
//
// Errors: INK_E_ARG (message names the unknown or repeated name, or the number out of range, and
// the column; a NaN, a bias of +inf, two biases for a token), INK_E_TOKEN (a bias outside the
// vocabulary), INK_E_LIMIT (a chain over 1 MiB, over 32768 biases, breakers too long),
// INK_E_FORMAT, INK_E_UTF8 (JSON that is none; a breaker), INK_E_NOMEM, INK_E_UNSUPPORTED (opened
// with INK_MODEL_INSPECT). It may outlive the model.
INK_API ink_status ink_sampler_new(ink_sampler **out, const ink_model *model, const char *chain,
                                   const ink_sampler_options *options, ink_error *error);
INK_API void ink_sampler_free(ink_sampler *sampler); // NULL is allowed; not while a session uses it
INK_API uint64_t ink_sampler_seed(const ink_sampler *sampler);
// The chain with all its numbers, as ink_sampler_new reads it. *bytes: needed, without the 0 byte;
// out [cap] gets a 0 byte too. out NULL with cap 0 only asks. Errors: INK_E_SPACE.
INK_API ink_status ink_sampler_chain(const ink_sampler *sampler, char *out, size_t cap,
                                     size_t *bytes);

// Chooses the next token from the session's last row of logits; evaluates nothing and appends
// nothing. The same seed, stream and past (with what sliding forgot of it) give the same token.
// Errors: INK_E_ARG (no logits; a sampler for another vocabulary), INK_E_BUSY, INK_E_REENTRANT,
// INK_E_NUMERIC (every token is banned), INK_E_NOMEM (a fork's working memory).
INK_API ink_status ink_sample(ink_session *session, const ink_sampler *sampler, ink_token *out,
                              ink_error *error);

// ---------------------------------------------------------------------------------------------
// Word filter: words and phrases that are neither read nor written. Immutable, shared
// ---------------------------------------------------------------------------------------------

// phrases [n]: UTF-8 strings with at least one letter or digit each, copied. Text is compared with
// case folded (Unicode's simple folding), else as it is written: a letter with an accent is not the
// same as the letter and a combining accent. White space inside a phrase stands for any white
// space. What is not seen (Unicode's Default_Ignorable_Code_Point: soft hyphen, zero width space,
// joiners) is passed over, in phrases and in text. Both together: up to 64 bytes in a row. A phrase
// matches whole words: no letter, digit or combining mark stands beside it, but for those of
// scripts written without spaces (Chinese, Japanese, Thai and their like). An end of the phrase
// that belongs to such a script needs no border at all.
// runtime: whose allocator is used; NULL: the C library's.
// Errors: INK_E_ARG (no phrases; one NULL, empty or without letter and digit: message has its
// index), INK_E_UTF8 (message has the index), INK_E_LIMIT (over 2^20 phrases, over 1024 bytes in
// one), INK_E_NOMEM.
INK_API ink_status ink_filter_new(ink_filter **out, ink_runtime *runtime,
                                  const char *const *phrases, size_t n, ink_error *error);
// Whoever uses a filter holds a reference: any order of release is safe. NULL is allowed.
INK_API void ink_filter_unref(ink_filter *filter);
// The first listed phrase in text [bytes]: *at its first byte, *length its bytes, 0 when there is
// none. Bytes that are not UTF-8 are no letters. Errors: INK_E_ARG.
INK_API ink_status ink_filter_find(const ink_filter *filter, const char *text, size_t bytes,
                                   size_t *at, size_t *length);

// ---------------------------------------------------------------------------------------------
// Grammar: what a continuation may be. Immutable, shared
// ---------------------------------------------------------------------------------------------

enum {
    INK_GRAMMAR_GBNF = 0,       // rules as llama.cpp reads them, from "root" on
    INK_GRAMMAR_JSON_SCHEMA = 1 // compiled to such rules: JSON texts that are valid
};
// text [bytes]: UTF-8. GBNF: rules `name ::= alternatives` of literals, classes of characters, ".",
// groups, "*", "+", "?", "{m,n}" and comments. A schema: see docs/GRAMMAR.md for the keywords;
// properties come in the schema's order. Source:
// https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md, json-schema.org (2020-12).
// Errors: INK_E_FORMAT (message has line and column: syntax, a rule that is missing, left-recursive
// or can never end; of a schema: JSON that is none, a schema that nothing satisfies),
// INK_E_UNSUPPORTED (a keyword, message names it; opened with INK_MODEL_INSPECT), INK_E_UTF8,
// INK_E_LIMIT (over 1 MiB; too many rules, groups or repetitions: see docs/GRAMMAR.md),
// INK_E_NOMEM, INK_E_ARG.
INK_API ink_status ink_grammar_new(ink_grammar **out, ink_model *model, uint32_t kind,
                                   const char *text, size_t bytes, ink_error *error);
// Whoever uses a grammar holds a reference: any order of release is safe. NULL is allowed.
INK_API void ink_grammar_unref(ink_grammar *grammar);
// The rules as GBNF, also of a schema. *bytes: needed, without the 0 byte; out [cap] gets a 0 byte
// too. out NULL with cap 0 only asks. Errors: INK_E_SPACE (nothing but *bytes written), INK_E_ARG.
INK_API ink_status ink_grammar_text(const ink_grammar *grammar, char *out, size_t cap,
                                    size_t *bytes);
enum {
    INK_GRAMMAR_REFUSED = 0,  // no text of the grammar begins so
    INK_GRAMMAR_OPEN = 1,     // one begins so
    INK_GRAMMAR_COMPLETE = 2, // it is one, and others may begin so
    INK_GRAMMAR_CLOSED = 3    // it is one, and nothing may follow
};
// *state: INK_GRAMMAR_* of text [bytes]; *n_accepted (may be NULL): bytes before the first that is
// refused. Errors: INK_E_ARG, INK_E_NOMEM, INK_E_LIMIT (over 16 MiB, too deep in the rules, or too
// many readings at once: see docs/GRAMMAR.md).
INK_API ink_status ink_grammar_check(const ink_grammar *grammar, const char *text, size_t bytes,
                                     uint32_t *state, size_t *n_accepted);

// ---------------------------------------------------------------------------------------------
// Generation
// ---------------------------------------------------------------------------------------------

enum {
    INK_OVERFLOW_ERROR = 0, // a prompt over the context is an error; generation ends at its end
    INK_OVERFLOW_LEFT = 1,  // a prompt too long loses its beginning; generation ends likewise
    INK_OVERFLOW_SLIDE = 2  // as LEFT, and a full context forgets its older half and goes on
};
enum {
    INK_GENERATE_FRESH = 1u,   // the text is the whole past: what differs in the session is dropped
    INK_GENERATE_SPECIAL = 2u, // read special tokens in the prompt
    INK_GENERATE_STRICT = 4u,  // refuse a prompt that is not UTF-8
    INK_GENERATE_LOGPROBS = 8u, // fill ink_piece.logprob and choices
    INK_GENERATE_NO_END = 16u,  // never choose the end token: go on to the length
    // A prompt that ends inside a word or behind a blank is continued as if it did not: its last
    // partial token is taken back, and the first new one begins with those bytes. What is given out
    // begins behind the prompt all the same.
    INK_GENERATE_HEAL = 32u,
    // The prompt (what is left of it where it was cut) is given out first, special tokens as their
    // text; with LOGPROBS its tokens are told too, for which all of them are evaluated, n_logits of
    // the session at a time. Only with FRESH, and not with HEAL.
    INK_GENERATE_ECHO = 64u,
    // ink_result.embedding is filled, for which all of the prompt is evaluated. Only with FRESH.
    INK_GENERATE_EMBED = 128u,
    // The text is given out in several calls: where this one is cut (length, deadline, cancel,
    // callback, context), what it holds back of the text (half of a character, what could begin a
    // stop string or a listed phrase) stays with the session, and is saved with it. The next call
    // with an empty prompt and no FRESH begins with it: all calls together, the last one without
    // this flag, give out the bytes of a single one with the same stop strings, filter, grammar and
    // required words. Any other call forgets it, as a rewind does.
    INK_GENERATE_CONTINUE = 256u,
    INK_GENERATE_EMBED_LAST = 512u // with EMBED: the last token's hidden state, not the mean
};

typedef struct ink_generate_options {
    uint32_t size;
    uint32_t flags;             // INK_GENERATE_*
    uint32_t n_tokens;          // most tokens to generate: 128
    uint32_t overflow;          // INK_OVERFLOW_*
    uint32_t n_keep;            // tokens at the beginning that LEFT and SLIDE never drop: 0
    uint32_t deadline_ms;       // looked at between evaluations, then no token is begun; 0: none
    const ink_sampler *sampler; // NULL: defaults, with a random seed
    const char *const *stop;    // [n_stop] strings that end the text; not part of it
    size_t n_stop;
    // Called after each batch of the prompt, and of what a sliding context evaluates again; nonzero
    // stops. NULL: none.
    int (*progress)(void *user, uint32_t n_done, uint32_t n_total);
    void *progress_user;
    // A prompt that holds a listed phrase is refused. In the continuation, text is held back while
    // it could begin one; where one is complete, the tokens that made it are taken back and another
    // way is taken. Where the text is cut (length, deadline, cancel, context), what is held back
    // stays unsaid, though the past holds it. NULL: none.
    ink_filter *filter;
    uint32_t no_repeat_ngram; // no n tokens in a row stand twice in past and continuation; 0: off
    uint32_t n_top_logprobs;  // LOGPROBS: length of ink_choice.top; at most 64
    // [n_prompt_tokens] ids that stand before the text: the prompt is both, one behind the other.
    const ink_token *prompt_tokens;
    size_t n_prompt_tokens;
    // The continuation is a text of this grammar: no token is chosen that could not go on to one.
    // It ends as with the end token where nothing may follow; cut by its length it is the beginning
    // of such a text. NULL: none. Not with SLIDE or required words (INK_E_ARG).
    ink_grammar *grammar;
    // [n_required] words or phrases that the continuation must hold, each at most 256 bytes; at
    // most
    // 64. The end token waits until all of them stand there; what is missing is written when no
    // more tokens are left than it takes. Found as they are written, with borders of words around
    // them.
    const char *const *required;
    size_t n_required;
} ink_generate_options;
INK_API void ink_generate_options_init(ink_generate_options *options, size_t size);

enum {
    INK_STOP_END = 0,       // the end token, or a grammar's text that nothing may follow
    INK_STOP_LENGTH = 1,    // n_tokens
    INK_STOP_STRING = 2,    // a stop string
    INK_STOP_CALLBACK = 3,  // a callback asked for it
    INK_STOP_CANCELLED = 4, // ink_session_cancel
    INK_STOP_DEADLINE = 5,  // deadline_ms
    INK_STOP_CONTEXT = 6,   // the context is full
    INK_STOP_FILTER = 7     // every way on leads to a listed phrase or a repetition, as far as 256
                            // of them were tried
};
// "end", "length", "stop", "callback", "cancelled", "deadline", "context", "filter"; else
// "unknown". Static.
INK_API const char *ink_stop_name(uint32_t stop);

typedef struct ink_result {
    uint32_t size;
    uint32_t stop;         // INK_STOP_*
    uint32_t n_prompt;     // tokens the first new one stands on: past and prompt, less what was cut
    uint32_t n_reused;     // of them, not evaluated since the cache held them
    uint32_t n_dropped;    // tokens that LEFT or SLIDE cut from past and prompt
    uint32_t n_generated;  // tokens chosen; not the end token, nor one that is but a healed tail
    uint32_t n_invalid;    // bytes of the prompt that were not UTF-8
    uint64_t seed;         // of the sampler
    double prefill_ms;     // evaluation of the prompt
    double first_token_ms; // from the call to the first token chosen
    double decode_ms;      // all after the first token
    uint32_t n_evaluated;  // tokens evaluated, of the prompt and of the continuation
    uint32_t n_taken_back; // tokens chosen and taken back by the filter
    double queue_ms;       // a service's request: from its submission to the beginning of its work
    // EMBED: [n_embedding] n_embd floats, the mean over the prompt's tokens of the final hidden
    // state (behind the last norm; not scaled to unit length). Borrowed until the session's next
    // call, from a service until on_done returns. NULL without.
    const float *embedding;
    uint32_t n_embedding;
    uint32_t n_drafted;  // tokens that speculation evaluated ahead
    uint32_t n_accepted; // of them chosen
    uint32_t reserved;
} ink_result;

// Tokenizes text [bytes], appends it to the session's past and continues it, piece by piece.
// Without a past and without text the end-of-text token starts it. Afterwards the past holds every
// token chosen, but for the one that ended the text (end token, stop string, callback, cancel). Why
// it stopped is in `result` (may be NULL), with INK_OK. When the prompt could not be evaluated to
// its end, the past is as before; with FRESH, or when it had to be cut, a beginning of what it was
// to become. The same holds for a context that was stopped while it slid. After a later failure the
// past holds the tokens chosen until then. Errors: INK_E_ARG, INK_E_UTF8, INK_E_CONTEXT,
// INK_E_LIMIT (over 2^31 - 1 bytes of text or as many tokens, n_top_logprobs over 64, too many or
// too long required words; a text too deep in its grammar, or a grammar with too many readings of
// it at once: see docs/GRAMMAR.md), INK_E_TOKEN, INK_E_FILTERED (the prompt), INK_E_BUSY,
// INK_E_REENTRANT, INK_E_NOMEM, INK_E_NUMERIC.
INK_API ink_status ink_session_generate(ink_session *session, const char *text, size_t bytes,
                                        const ink_generate_options *options, ink_text_fn fn,
                                        void *user, ink_result *result, ink_error *error);

// The embedding of text [bytes], see ink_result, into out [cap] floats; *n: n_embd. The session's
// past is the text then. out NULL with cap 0 only asks. Errors: INK_E_SPACE (nothing but *n
// written), INK_E_CANCELLED, those of ink_session_generate.
INK_API ink_status ink_session_embed(ink_session *session, const char *text, size_t bytes,
                                     float *out, size_t cap, size_t *n, ink_error *error);

enum {
    INK_EMBED_LAST = 1u,     // the last token's final hidden state, not the mean over all
    INK_EMBED_NORMALIZE = 2u // scaled to unit length
};
// As ink_session_embed with flags INK_EMBED_*. Errors: as there, INK_E_UNSUPPORTED (flags).
INK_API ink_status ink_session_embedding(ink_session *session, const char *text, size_t bytes,
                                         uint32_t flags, float *out, size_t cap, size_t *n,
                                         ink_error *error);

// ---------------------------------------------------------------------------------------------
// Scores: how likely a given text is
// ---------------------------------------------------------------------------------------------

typedef struct ink_ending {
    const char *text; // [bytes] in
    size_t bytes;
    double logprob;       // out: of it behind the context, all its tokens together (natural log)
    uint32_t n_tokens;    // out: so many
    uint32_t first_token; // out: index of the first in the tokens of context and ending together
    const void *reserved; // NULL
} ink_ending;
// One token of ending `index`, in order: what it is, how likely, and what could have stood there
// (n_top of ink_session_score). text [bytes]: the token's. All borrowed until the return. Nonzero
// stops.
typedef int (*ink_score_fn)(void *user, size_t index, const ink_choice *choice, const char *text,
                            size_t bytes);
// Scores endings [n], n > 0, behind context [bytes]; with an empty context they stand behind the
// end-of-text token, as the beginning of a text does. The context is evaluated once. Context and
// ending are tokenized together; scored is what follows the tokens that all of these texts and the
// context have in common, so that endings are comparable even where they merge with the context's
// last token. fn may be NULL. Afterwards, also where scoring began and failed, the session's past
// is empty. Errors: INK_E_ARG (no ending, an empty one; no context and no end-of-text token),
// INK_E_CONTEXT (too long), INK_E_CANCELLED (or fn stopped it), INK_E_LIMIT (n_top over 64),
// INK_E_BUSY, INK_E_REENTRANT, INK_E_NOMEM, INK_E_NUMERIC.
INK_API ink_status ink_session_score(ink_session *session, const char *context, size_t bytes,
                                     ink_ending *endings, size_t n, uint32_t n_top, ink_score_fn fn,
                                     void *user, ink_error *error);

// ---------------------------------------------------------------------------------------------
// Search: continuations that are sought and not drawn
// ---------------------------------------------------------------------------------------------

enum {
    INK_SEARCH_BEAM = 0,       // the most probable texts, n_beams of them followed at a time
    INK_SEARCH_CONTRASTIVE = 1 // of the top_k likeliest tokens the one that repeats least
};
// One text that was found.
typedef struct ink_found {
    uint32_t size;
    uint32_t stop;    // INK_STOP_END, LENGTH, STRING, CONTEXT, CANCELLED
    const char *text; // [bytes] with a 0 byte
    size_t bytes;
    const ink_token *tokens; // [n_tokens]
    uint32_t n_tokens;
    uint32_t reserved;
    double logprob; // natural log; of all its tokens, and of the end token where that ended it
    double score;   // BEAM: logprob / n_tokens ^ length_penalty, the end token counted
} ink_found;
typedef struct ink_search_options {
    uint32_t size;
    uint32_t method;      // INK_SEARCH_*
    uint32_t flags;       // of INK_GENERATE_*: FRESH, SPECIAL, STRICT, NO_END
    uint32_t n_tokens;    // most tokens: 128
    uint32_t n_beams;     // BEAM: 4; 1 to 64
    float length_penalty; // BEAM: 1; 0: none; above 0 longer texts gain
    uint32_t top_k;       // CONTRASTIVE: 4; 2 to 64
    // CONTRASTIVE: 0.6; a candidate's score is (1 - alpha) * its probability - alpha * the largest
    // cosine between its final hidden state and those of all tokens before.
    float alpha;
    const char *const *stop; // [n_stop] strings that end a text; not part of it
    size_t n_stop;
    // Each text found, the best first (CONTRASTIVE: the one). All borrowed until the return. NULL:
    // none.
    void (*on_found)(void *user, uint32_t index, const ink_found *found);
    void *user;
} ink_search_options;
INK_API void ink_search_options_init(ink_search_options *options, size_t size);
// Continues text [bytes] as ink_session_generate does, by search. fn (may be NULL) receives text as
// soon as it is certain: CONTRASTIVE each token, BEAM what all beams agree on. No logprobs in its
// pieces. Afterwards the past holds the best text found. Ties go to the lower token, then to the
// better beam. Sources: Freitag and Al-Onaizan 2017 (beam search), Wu et al. 2016 (length penalty,
// here a plain power), Su et al. 2022 (contrastive search). Errors: INK_E_ARG, INK_E_LIMIT, those
// of ink_session_generate.
INK_API ink_status ink_session_search(ink_session *session, const char *text, size_t bytes,
                                      const ink_search_options *options, ink_text_fn fn, void *user,
                                      ink_result *result, ink_error *error);

// Options of ink_open, each NULL for its defaults.
struct ink_options {
    uint32_t size;
    const ink_source *source; // not NULL: used instead of the path
    const ink_runtime_options *runtime;
    const ink_model_options *model;
    const ink_session_options *session;
    const ink_sampler_options *sampler;
    const char *chain;
    const ink_generate_options *generate; // its sampler field is ignored
};
INK_API void ink_options_init(ink_options *options, size_t size);
// The parts of an engine, borrowed from it; NULL where opening failed.
INK_API ink_model *ink_engine_model(const ink_engine *engine);
INK_API ink_session *ink_engine_session(const ink_engine *engine);
// What the last ink_generate reported. Borrowed until the next call on the engine. Never NULL.
INK_API const ink_result *ink_engine_result(const ink_engine *engine);

// ---------------------------------------------------------------------------------------------
// Typing session: text that continues what a user types
// ---------------------------------------------------------------------------------------------
//
//     ink_typing_update(t, text, bytes, caret, &revision, NULL);     // at each key: only records
//     ink_typing_run(t, 20, NULL, NULL);                             // evaluates, 20 ms at most
//     if (ink_typing_suggestion(t, 0, &s) == INK_OK && s.revision == revision && s.bytes > 0)
//         show_behind_the_caret(s.text);
//
// A suggestion, never of blanks alone, is a pure function of the text before the caret, the
// settings and the model: what was typed before, what the cache holds and how run was interrupted
// change its cost, never its bytes. Threads: ink_typing_run belongs to one thread at a time
// (INK_E_BUSY for a second one). All other calls may come from any thread, also while one runs;
// they wait for no evaluation.

typedef struct ink_typing ink_typing;

// One suggestion, and what it cost.
typedef struct ink_suggestion {
    uint32_t size;
    uint32_t done;     // 0: it may still grow
    uint64_t revision; // of the text that it continues
    const char *text;  // whole UTF-8 characters and a 0 byte, what comes behind the caret
    size_t bytes;      // 0: none (yet)
    uint32_t stop;     // INK_STOP_*, once it is done; INK_STOP_CALLBACK: its unit is complete
    uint32_t n_tokens;
    float logprob; // of its first word's tokens, among those possible; NAN with one alternative
    // Of the work for this revision, all alternatives together:
    uint32_t n_prompt;           // tokens that are read before the suggestion
    uint32_t n_prompt_evaluated; // of them evaluated: the others were in the cache
    uint32_t n_evaluated;        // all tokens evaluated
    double first_token_ms;       // from the update to the first token
    double total_ms;             // from the update to now, or to when it was done
    int32_t status; // what the work for this revision failed with, once it is done; else INK_OK
} ink_suggestion;

// Where a suggestion ends, if its length does not end it before.
enum {
    INK_UNTIL_LENGTH = 0,
    INK_UNTIL_WORD = 1,
    INK_UNTIL_SENTENCE = 2,
    INK_UNTIL_LINE = 3,     // before the end of the line
    INK_UNTIL_PARAGRAPH = 4 // before an empty line
};

typedef struct ink_typing_options {
    uint32_t size;
    // At most this many words (or tokens) before the caret are read. With W words the reading
    // begins at word K * ceil(max(0, W - window_words) / K), K = window_words / 2: its start moves
    // once in K words, so that the cache stays of use. 0 words: as many as n_ctx. 0 tokens: as many
    // as the context holds beside the suggestion. Words are what stands between blanks; of scripts
    // written without blanks each character is one; what is longer than 128 bytes, blanks behind it
    // included, counts as another every 128 bytes. 0 and 0.
    uint32_t window_words, window_tokens;
    uint32_t max_tokens;      // longest suggestion: 12; at most 256, and 2 less than n_ctx holds
    uint32_t until;           // INK_UNTIL_*: INK_UNTIL_LINE
    uint32_t min_chars;       // characters before the caret, below which nothing is suggested: 1
    uint32_t deadline_ms;     // from the update; what is ready then is the suggestion: 0, none
    uint32_t n_alternatives;  // suggestions at a time, which differ in their first word: 1, up to 8
    uint32_t no_repeat_ngram; // as in ink_generate_options: 4
    uint32_t n_history;       // accepted suggestions that can be undone: 32, at most 1024
    uint32_t n_ctx;           // positions; 0: 256, or the model's context where that is less
    uint32_t kv_type;         // INK_KV_*
    uint32_t text_bytes;      // text of the field that is kept without allocating: 4096
    const char *const *stop;  // [n_stop] strings that end a suggestion; not part of it. Copied
    size_t n_stop;
    ink_filter *filter; // NULL: none
    // Called on the thread that runs, whenever the best suggestion has changed or is done; it may
    // be empty at first, which withdraws the last text's. In there all calls but ink_typing_run and
    // ink_typing_free are allowed. NULL: none.
    void (*on_suggestion)(void *user, ink_typing *typing, const ink_suggestion *suggestion);
    void *user;
    const ink_adapter_use *adapters; // [n_adapters] as in ink_session_options
    size_t n_adapters;
} ink_typing_options;
INK_API void ink_typing_options_init(ink_typing_options *options, size_t size);

// All memory is allocated here; later only a text over text_bytes allocates, or one in which over
// 256 bytes stand without a blank.
// Errors: INK_E_ARG, INK_E_LIMIT (a figure over what is said above; a window that the context does
// not hold), INK_E_NOMEM, INK_E_UNSUPPORTED (opened with INK_MODEL_INSPECT).
INK_API ink_status ink_typing_new(ink_typing **out, ink_model *model,
                                  const ink_typing_options *options, ink_error *error);
// NULL is allowed. Stops a run on another thread after its layer and waits for it. Errors:
// INK_E_REENTRANT (inside on_suggestion of this session; nothing was freed).
INK_API ink_status ink_typing_free(ink_typing *typing);

// The field is now text [bytes], with the caret before byte `caret`. Records it and returns at
// once; *revision (may be NULL) is its number, one more than the last. Older suggestions are
// withdrawn, a run for them ends after its layer. On failure there is no text, and nothing is
// suggested until the next update. Errors: INK_E_ARG (caret behind the text or inside a character),
// INK_E_UTF8, INK_E_FILTERED (what would be read holds a listed phrase), INK_E_LIMIT (2^31 bytes),
// INK_E_NOMEM, INK_E_CLOSED.
INK_API ink_status ink_typing_update(ink_typing *typing, const char *text, size_t bytes,
                                     size_t caret, uint64_t *revision, ink_error *error);
// Works on the suggestions for the last update, until they are done or budget_ms have passed;
// looked at between evaluations, one at least. *more (may be NULL): whether work is left.
// UINT32_MAX: to the end. Errors: INK_E_BUSY (another thread, or a service, runs it),
// INK_E_REENTRANT, INK_E_NOMEM, INK_E_NUMERIC, INK_E_CLOSED; INK_E_ARG (an empty text, with
// min_chars 0, and a model without end-of-text token).
INK_API ink_status ink_typing_run(ink_typing *typing, uint32_t budget_ms, uint32_t *more,
                                  ink_error *error);
// out: a report. Alternative `index`, 0 is the most probable; as far as it has come. Its text is
// borrowed until the next ink_typing_suggestion with this index, or the end of the session.
// Errors: INK_E_ARG (index).
INK_API ink_status ink_typing_suggestion(ink_typing *typing, uint32_t index, ink_suggestion *out);
// No evaluation for the text as it is; one that runs ends after its layer. What is ready stays.
// Signal-safe.
INK_API void ink_typing_cancel(ink_typing *typing);

// What the host does to its field: n_removed bytes at byte `at` become text [bytes].
typedef struct ink_edit {
    uint32_t size;
    uint64_t revision; // of the text after it
    size_t at, n_removed;
    const char *text; // with a 0 byte; borrowed until the next accept or undo
    size_t bytes;
} ink_edit;
enum {
    INK_ACCEPT_WORD = 0, // up to the end of its first word
    INK_ACCEPT_LINE = 1, // up to the end of its first line
    INK_ACCEPT_ALL = 2
};
// The user takes `shown`, a suggestion as it was reported (NULL: the best one, as far as it is).
// The session's text is then the text with that inserted; no update is needed, and what is left of
// the suggestion stays one until a better is there. *edit: a report. Errors: INK_E_STALE (shown is
// of an older text), INK_E_NOT_FOUND (nothing to accept), INK_E_ARG, INK_E_NOMEM, INK_E_CLOSED.
INK_API ink_status ink_typing_accept(ink_typing *typing, const ink_suggestion *shown, uint32_t unit,
                                     ink_edit *edit, ink_error *error);
// Takes back what was accepted last and stands unchanged where it was put, or moved with the text
// before it, wherever the caret is; a caret inside of it is then where it began. What an update
// changed, put something into or left out is forgotten, also behind the caret. Errors:
// INK_E_NOT_FOUND (nothing left to undo), INK_E_CLOSED.
INK_API ink_status ink_typing_undo(ink_typing *typing, ink_edit *edit, ink_error *error);
// Other suggestions for the same text: their first words differ from those of all that were shown
// since it was typed. Errors: INK_E_NOT_FOUND (nothing was suggested), INK_E_LIMIT (64 refused),
// INK_E_CLOSED.
INK_API ink_status ink_typing_retry(ink_typing *typing, uint64_t *revision, ink_error *error);
// No suggestion for this text. Errors: INK_E_CLOSED.
INK_API ink_status ink_typing_reject(ink_typing *typing, uint64_t *revision, ink_error *error);

// As ink_measure, for a typing session: session_heap_bytes are its own, kv_bytes among them.
INK_API ink_status ink_typing_measure(const ink_source *source, const ink_typing_options *options,
                                      ink_memory *out, ink_error *error);

// ---------------------------------------------------------------------------------------------
// Service: one warm model, many clients, one worker thread
// ---------------------------------------------------------------------------------------------
//
// All calls may come from any thread and wait for no evaluation, where nothing else is said.
// Callbacks run on the worker (1 MiB of stack), or in ink_service_poll; in there calls that wait
// (ink_service_wait, poll, close, free) are INK_E_REENTRANT, as is ink_client_free of the client
// that is called. In a forked child a service is closed; what was at work at the fork stays unfreed
// there.

typedef struct ink_service ink_service;
typedef struct ink_client ink_client;

enum {
    INK_SERVICE_LOADING = 0,
    INK_SERVICE_READY = 1,
    INK_SERVICE_FAILED = 2, // the model could not be opened
    INK_SERVICE_CLOSED = 3
};
// Higher ones go first: between two evaluations the worker turns to the highest that has work, and
// comes back to the others where they were.
enum { INK_PRIORITY_TYPING = 0, INK_PRIORITY_FOREGROUND = 1, INK_PRIORITY_BACKGROUND = 2 };
enum { INK_SERVICE_POLL = 1u }; // callbacks run in ink_service_poll, for hosts with their own loop

typedef struct ink_service_options {
    uint32_t size;
    uint32_t flags;           // INK_SERVICE_*
    const ink_source *source; // NULL: the built-in model. Copied, its name too; what fd and data
                              // stand for stays until the service is not LOADING
    const ink_runtime_options *runtime;
    const ink_model_options *model;
    uint32_t n_queue;   // most requests whose on_done has not been called: 64; at most 2^20
    uint32_t n_clients; // most clients and typing sessions at a time: 64; at most 65536
    uint32_t n_batch;   // most requests of one priority evaluated in one pass: 8; at most 256
    uint32_t n_rows;    // most rows (tokens) in one pass, after which a typing session may go
                        // first: 32; at most 4096
    // Each change; reason->status is INK_OK unless it failed.
    void (*on_state)(void *user, uint32_t state, const ink_error *reason); // NULL: none
    void (*wake)(void *user); // POLL: on any thread, when ink_service_poll has work. NULL: none
    void *user;
    // Of pages that the sessions of clients share which bring no prefix cache of their own; 0, or
    // less than a page takes: none.
    uint64_t prefix_cache_bytes;
} ink_service_options;
INK_API void ink_service_options_init(ink_service_options *options, size_t size);

// Starts the worker, which opens the model; returns at once. Requests may be submitted already.
// Errors: INK_E_ARG, INK_E_LIMIT, INK_E_UNSUPPORTED, INK_E_NOMEM, INK_E_SYSTEM.
INK_API ink_status ink_service_new(ink_service **out, const ink_service_options *options,
                                   ink_error *error);
// INK_SERVICE_*. reason (may be NULL): written when it failed.
INK_API uint32_t ink_service_state(const ink_service *service, ink_error *reason);
// Waits until the model is open or could not be opened. timeout_ms UINT32_MAX: as long as it takes.
// Errors: what opening failed with; INK_E_BUSY (still loading), INK_E_CLOSED, INK_E_REENTRANT.
INK_API ink_status ink_service_wait(ink_service *service, uint32_t timeout_ms, ink_error *error);
// The open model, borrowed as long as the service is; NULL before it is ready.
INK_API ink_model *ink_service_model(const ink_service *service);
// What prefix_cache_bytes made, borrowed likewise: for its figures, or for sessions of one's own.
// NULL: none, or not yet.
INK_API ink_prefix_cache *ink_service_prefix_cache(const ink_service *service);
// POLL: runs the callbacks that are due, after waiting up to timeout_ms for one; *n (may be NULL):
// how many ran. Errors: INK_E_ARG (not a POLL service), INK_E_BUSY (another thread polls),
// INK_E_REENTRANT, INK_E_CLOSED (when nothing is due any more).
INK_API ink_status ink_service_poll(ink_service *service, uint32_t timeout_ms, uint32_t *n);
// How hard the device works: at most n_threads (0: all that the runtime has), and evaluations for
// at most `percent` (1 to 100) of the time, pauses between them for the rest. Errors: INK_E_ARG,
// INK_E_CLOSED.
INK_API ink_status ink_service_set_pace(ink_service *service, uint32_t n_threads, uint32_t percent);

enum {
    INK_TRIM_LOGITS = 1, // rows of logits held for clients and typing sessions
    INK_TRIM_CACHE = 2, // and their caches, the shared one too: their texts are evaluated again, to
                        // the same bytes
    INK_TRIM_FILE = 3   // and pages of the mapped file, which the system reads again when needed
};
// Gives memory back: at once that of who has nothing under way, else when that is over. *bytes (may
// be NULL): given back until the return, pages of the file not counted. Errors: INK_E_ARG,
// INK_E_CLOSED.
INK_API ink_status ink_service_trim(ink_service *service, uint32_t level, uint64_t *bytes);
// Stops: what waits or runs ends as cancelled, the callbacks for that are delivered (POLL: by later
// polls, or ink_service_free), the worker is gone at the return. Later calls on the service, its
// clients and typing sessions are INK_E_CLOSED. Errors: INK_E_REENTRANT.
INK_API ink_status ink_service_close(ink_service *service);
// Closes it and ends the handle. Clients and typing sessions of it stay, closed, until they are
// freed. NULL is allowed. Errors: INK_E_REENTRANT (nothing was freed).
INK_API ink_status ink_service_free(ink_service *service);

// A typing session that the service's worker runs, before all requests.
// Errors: those of ink_typing_new where the model is open already (else update tells them);
// INK_E_LIMIT (n_clients), INK_E_CLOSED.
INK_API ink_status ink_service_typing(ink_service *service, ink_typing **out,
                                      const ink_typing_options *options, ink_error *error);

typedef struct ink_client_options {
    uint32_t size;
    // Of the client's own cache, kept between its requests; n_rows takes the place of n_batch.
    const ink_session_options *session;
    // The text of a request, piece by piece; nonzero stops it: what POLL has kept behind that piece
    // is not told. NULL: none.
    int (*on_text)(void *user, uint64_t request, const ink_piece *piece);
    // Once for every request that was accepted. status: INK_OK, result->stop then says why it
    // ended; or what it failed with, as error says too. All borrowed until the return. NULL: none.
    void (*on_done)(void *user, uint64_t request, ink_status status, const ink_result *result,
                    const ink_error *error);
    void *user;
} ink_client_options;
INK_API void ink_client_options_init(ink_client_options *options, size_t size);

// Errors: INK_E_ARG, INK_E_LIMIT (n_clients), INK_E_UNSUPPORTED, INK_E_NOMEM, INK_E_CLOSED.
INK_API ink_status ink_client_new(ink_client **out, ink_service *service,
                                  const ink_client_options *options, ink_error *error);
// Cancels its requests and frees it. Waits for a layer and for a callback of it that runs; then
// on_done is called here for those that it has not been called for, and none comes after the
// return. NULL is allowed. Errors: INK_E_REENTRANT.
INK_API ink_status ink_client_free(ink_client *client);

typedef struct ink_request {
    uint32_t size;
    uint32_t priority; // INK_PRIORITY_*: INK_PRIORITY_FOREGROUND
    const char *text;  // [bytes] the prompt; copied
    size_t bytes;
    // deadline_ms counts from the submission. `sampler` and `progress` are ignored: chain and
    // sampler below take the first one's place. Copied.
    const ink_generate_options *generate;
    const char *chain;
    const ink_sampler_options *sampler;
} ink_request;
INK_API void ink_request_init(ink_request *request, size_t size);

// Requests of one client run one after the other, those of different clients side by side. *id (may
// be NULL): its number, over 0, one for each of the service. Errors: INK_E_FULL (n_queue: the
// request was not taken), INK_E_ARG, INK_E_UTF8, INK_E_UNSUPPORTED, INK_E_NOMEM, INK_E_CLOSED;
// what opening the model failed with. What only shows itself later comes through on_done.
INK_API ink_status ink_client_submit(ink_client *client, const ink_request *request, uint64_t *id,
                                     ink_error *error);
// Ends a request after its layer; on_done tells its result so far. While the model is being opened
// that, and a deadline that passes, is told where ink_model_options has its progress called. id 0:
// all of this client, if there are any. Errors: INK_E_NOT_FOUND (done already, or never known),
// INK_E_CLOSED.
INK_API ink_status ink_client_cancel(ink_client *client, uint64_t id);

// ---------------------------------------------------------------------------------------------
// The experimental floor: may still change between minor versions
// ---------------------------------------------------------------------------------------------
#ifdef INK_EXPERIMENTAL

// Metadata entries of the file, in its order.
INK_API size_t ink_model_n_metadata(const ink_model *model);
// key: borrowed from the model, with a 0 byte. Value as text into out [cap] with a 0 byte: strings
// as they are, arrays as "[n] first, second, …" cut to fit. *bytes: needed for all of it. Errors:
// INK_E_ARG (no such entry). A short buffer is no error here.
INK_API ink_status ink_model_metadata(const ink_model *model, size_t index, const char **key,
                                      const char **type, char *out, size_t cap, size_t *bytes);

typedef struct ink_tensor_info {
    uint32_t size;
    uint32_t n_dims;
    uint64_t dims[4]; // innermost first, as in the file
    uint64_t offset;  // from the beginning of the file
    uint64_t bytes;
    const char *name; // borrowed from the model
    const char *type; // "F16", static
} ink_tensor_info;
INK_API size_t ink_model_n_tensors(const ink_model *model);
INK_API ink_status ink_model_tensor(const ink_model *model, size_t index, ink_tensor_info *info);

#endif // INK_EXPERIMENTAL

#ifdef __cplusplus
}
#endif
#endif // INKLING_H
