// SPDX-License-Identifier: MIT
// llama.cpp by its C interface, from the shared libraries in the folder LLAMA_LIBRARIES.
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/compare.h"
#include "cli/bench_job.h"
#include "cli/largest.h"
#include "cli/terminal.h"

// The parameter structs differ between releases, and only the libraries may be at hand. They are
// larger than 16 bytes, so they travel through memory whatever their size: a block that is large
// enough stands for each. llama.h begins the context's with n_ctx, n_batch, n_ubatch and n_seq_max,
// of which the defaults are known.
typedef struct params_block {
    uint32_t words[128];
} params_block;
enum { AT_CTX = 0, AT_BATCH = 1, AT_SEQUENCES = 3, DEFAULT_CTX = 512, DEFAULT_BATCH = 2048 };

typedef struct llama_batch_block {
    int32_t n_tokens;
    int32_t *tokens;
    float *embeddings;
    int32_t *positions, *n_sequences, **sequences;
    int8_t *wanted; // logits
} llama_batch_block;

static struct {
    void (*load_backends)(const char *folder);
    void (*backend_init)(void);
    void (*log_set)(void (*)(int, const char *, void *), void *);
    params_block (*model_params)(void);
    params_block (*context_params)(void);
    void *(*load_model)(const char *, params_block);
    void *(*new_context)(void *, params_block);
    void (*set_threads)(void *, int32_t, int32_t);
    const void *(*get_vocab)(const void *);
    int32_t (*n_tokens)(const void *);
    int32_t (*n_ctx_train)(const void *);
    int32_t (*tokenize)(const void *, const char *, int32_t, int32_t *, int32_t, bool, bool);
    void *(*get_memory)(const void *);
    bool (*memory_remove)(void *, int32_t, int32_t, int32_t);
    llama_batch_block (*batch)(int32_t *, int32_t);
    int32_t (*decode)(void *, llama_batch_block);
    float *(*logits)(void *, int32_t);
    uint32_t (*n_sequences)(const void *);
} api;

static struct {
    void *model, *context, *memory;
    const void *vocab;
    unsigned n_vocab, n_ctx, n_threads;
    void *streams; // a context for several sequences; NULL: not made yet
} state;

static bool fail(const char *what, const char *why) {
    fprintf(stderr, "compare: llama.cpp: %s%s%s\n", what, why != NULL ? ": " : "",
            why != NULL ? why : "");
    return false;
}

// The libraries' names carry their version; each begins with `name`.
static void *open_library(const char *folder, const char *name) {
    char path[4096];
    void *library = NULL;
    DIR *dir = opendir(folder);
    if (dir == NULL) return NULL;
    for (struct dirent *e; library == NULL && (e = readdir(dir)) != NULL;) {
        const size_t n = strlen(name);
        if (strncmp(e->d_name, name, n) != 0 || e->d_name[n] != '.') continue;
        if (strstr(e->d_name, ".so") == NULL) continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    }
    closedir(dir);
    return library;
}

static bool find_functions(const char *folder) {
    const struct {
        const char *name;
        void *slot;
    } wanted[] = {{"ggml_backend_load_all_from_path", &api.load_backends},
                  {"llama_backend_init", &api.backend_init},
                  {"llama_log_set", &api.log_set},
                  {"llama_model_default_params", &api.model_params},
                  {"llama_context_default_params", &api.context_params},
                  {"llama_model_load_from_file", &api.load_model},
                  {"llama_init_from_model", &api.new_context},
                  {"llama_set_n_threads", &api.set_threads},
                  {"llama_model_get_vocab", &api.get_vocab},
                  {"llama_vocab_n_tokens", &api.n_tokens},
                  {"llama_model_n_ctx_train", &api.n_ctx_train},
                  {"llama_tokenize", &api.tokenize},
                  {"llama_get_memory", &api.get_memory},
                  {"llama_memory_seq_rm", &api.memory_remove},
                  {"llama_batch_get_one", &api.batch},
                  {"llama_decode", &api.decode},
                  {"llama_get_logits_ith", &api.logits},
                  {"llama_n_seq_max", &api.n_sequences}};
    void *const ggml = open_library(folder, "libggml");
    void *const llama = ggml != NULL ? open_library(folder, "libllama") : NULL;
    if (llama == NULL) return fail(folder, dlerror());
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *found = dlsym(llama, wanted[i].name);
        if (found == NULL) found = dlsym(ggml, wanted[i].name);
        if (found == NULL) return fail(wanted[i].name, "is not in the libraries");
        memcpy(wanted[i].slot, &found, sizeof found);
    }
    return true;
}

static void only_errors(int level, const char *text, void *user) {
    enum { ERROR_LEVEL = 4 };
    (void)user;
    if (level == ERROR_LEVEL) fputs(text, stderr);
}

static bool theirs_open(const char *model) {
    const char *folder = getenv("LLAMA_LIBRARIES");
    if (folder == NULL) return fail("LLAMA_LIBRARIES is not set", NULL);
    if (!find_functions(folder)) return false;
    api.log_set(only_errors, NULL);
    api.load_backends(folder);
    api.backend_init();
    state.model = api.load_model(model, api.model_params());
    if (state.model == NULL) return fail(model, "does not load");
    state.vocab = api.get_vocab(state.model);
    state.n_vocab = (unsigned)api.n_tokens(state.vocab);
    state.n_ctx = (unsigned)api.n_ctx_train(state.model);
    params_block params = api.context_params();
    if (params.words[AT_CTX] != DEFAULT_CTX || params.words[AT_BATCH] != DEFAULT_BATCH)
        return fail("the context's parameters are not laid out as expected", NULL);
    params.words[AT_CTX] = params.words[AT_BATCH] = state.n_ctx;
    state.context = api.new_context(state.model, params);
    if (state.context == NULL) return fail("no context", NULL);
    state.memory = api.get_memory(state.context);
    return true;
}

static bool theirs_use_threads(unsigned n) {
    state.n_threads = n;
    api.set_threads(state.context, (int32_t)n, (int32_t)n);
    return true;
}

static bool evaluate(int32_t *ids, unsigned n) {
    const int32_t code = api.decode(state.context, api.batch(ids, (int32_t)n));
    return code == 0 ? true : fail("llama_decode failed", NULL);
}

static bool theirs_rewind(unsigned n) {
    return api.memory_remove(state.memory, 0, (int32_t)n, -1) ||
           fail("the cache cannot be shortened", NULL);
}

static bool theirs_fill(unsigned n) {
    static int32_t ids[1 << 16];
    if (n > sizeof ids / sizeof *ids) return fail("the context is too long", NULL);
    for (unsigned i = 0; i < n; i++) ids[i] = cli_bench_id(i, state.n_vocab);
    return theirs_rewind(0) && evaluate(ids, n);
}

static bool theirs_append(int32_t token) { return evaluate(&token, 1); }

static int32_t theirs_best(void) {
    const float *logits = api.logits(state.context, -1);
    return logits != NULL && state.n_vocab > 0 ? (int32_t)cli_largest(logits, state.n_vocab) : 0;
}

static unsigned theirs_n_ctx(void) { return state.n_ctx; }

static unsigned theirs_read(const char *text) {
    int32_t ids[256];
    const int32_t n =
        api.tokenize(state.vocab, text, (int32_t)strlen(text), ids, 256, false, false);
    if (n <= 0) return 0;
    return theirs_rewind(0) && evaluate(ids, (unsigned)n) ? (unsigned)n : 0;
}

// --- several sequences ---------------------------------------------------------------------------

enum { STREAM_CTX = 256, STREAM_ROWS = COMPARE_STREAMS * COMPARE_STREAM_PROMPT };

static bool begin_streams(void) {
    params_block params = api.context_params();
    if (params.words[AT_SEQUENCES] != 1)
        return fail("the context's parameters are not laid out as expected", NULL);
    params.words[AT_CTX] = COMPARE_STREAMS * STREAM_CTX;
    params.words[AT_SEQUENCES] = COMPARE_STREAMS;
    state.streams = api.new_context(state.model, params);
    if (state.streams == NULL || api.n_sequences(state.streams) != COMPARE_STREAMS)
        return fail("no context for several sequences", NULL);
    return true;
}

// A batch under construction: rows are added at the end.
static struct {
    int32_t tokens[STREAM_ROWS], positions[STREAM_ROWS], ones[STREAM_ROWS], names[STREAM_ROWS];
    int32_t *sequences[STREAM_ROWS];
    int8_t wanted[STREAM_ROWS];
    int32_t n;
} rows;

static void add_row(int32_t token, unsigned position, unsigned sequence, bool wanted) {
    const int32_t at = rows.n++;
    rows.tokens[at] = token;
    rows.positions[at] = (int32_t)position;
    rows.ones[at] = 1;
    rows.names[at] = (int32_t)sequence;
    rows.sequences[at] = &rows.names[at];
    rows.wanted[at] = wanted;
}

// Evaluates the rows; the likeliest token behind each that is wanted to next, in their order.
static bool decode_rows(int32_t *next) {
    const llama_batch_block batch = {.n_tokens = rows.n,
                                     .tokens = rows.tokens,
                                     .positions = rows.positions,
                                     .n_sequences = rows.ones,
                                     .sequences = rows.sequences,
                                     .wanted = rows.wanted};
    if (api.decode(state.streams, batch) != 0) return fail("llama_decode failed", NULL);
    for (int32_t i = 0; i < rows.n; i++) {
        if (!rows.wanted[i]) continue;
        const float *logits = api.logits(state.streams, i);
        if (logits == NULL) return fail("no logits", NULL);
        *next++ = (int32_t)cli_largest(logits, state.n_vocab);
    }
    rows.n = 0;
    return true;
}

static double theirs_streams(unsigned n) {
    int32_t next[COMPARE_STREAMS];
    if (n > COMPARE_STREAMS || (state.streams == NULL && !begin_streams())) return 0;
    api.set_threads(state.streams, (int32_t)state.n_threads, (int32_t)state.n_threads);
    for (int32_t s = 0; s < COMPARE_STREAMS; s++)
        api.memory_remove(api.get_memory(state.streams), s, -1, -1);
    const double begin = cli_now_ms();
    for (unsigned s = 0; s < n; s++)
        for (unsigned i = 0; i < COMPARE_STREAM_PROMPT; i++)
            add_row(compare_stream_id(0, s, i, state.n_vocab), i, s,
                    i == COMPARE_STREAM_PROMPT - 1);
    if (!decode_rows(next)) return 0;
    for (unsigned i = 1; i < COMPARE_STREAM_TOKENS; i++) {
        for (unsigned s = 0; s < n; s++) add_row(next[s], COMPARE_STREAM_PROMPT + i - 1, s, true);
        if (!decode_rows(next)) return 0;
    }
    return n * COMPARE_STREAM_TOKENS * 1e3 / (cli_now_ms() - begin);
}

const compare_engine compare_theirs = {.open = theirs_open,
                                       .use_threads = theirs_use_threads,
                                       .fill = theirs_fill,
                                       .append = theirs_append,
                                       .rewind = theirs_rewind,
                                       .best = theirs_best,
                                       .n_ctx = theirs_n_ctx,
                                       .read = theirs_read,
                                       .streams = theirs_streams};
