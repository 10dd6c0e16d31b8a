// SPDX-License-Identifier: MIT
// Runs a fuzz target without a fuzzer: over the files given, or over its seeds and mutations of
// them that are the same in every run. INKLING_TEST_LONG: a hundred times as many.
// A target that is slow says how many the quick run shall be, in fuzz_quick_runs.
#include "fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { RUNS_QUICK = 20000, LONG_FACTOR = 100, MAX_SEEDS = 256, MAX_SEED_BYTES = 1 << 20 };

typedef struct seed {
    uint8_t *data;
    size_t bytes;
} seed;

static seed seeds[MAX_SEEDS];
static size_t n_seeds;
static seed current; // for the report of a crash

// Sanitizers end the program without a signal, but call this back; absent without a sanitizer.
__attribute__((weak)) void __sanitizer_set_death_callback(void (*)(void));

__attribute__((weak)) extern const size_t fuzz_quick_runs;

// Written before the program dies, so that the input can be given to it again.
static void save_current(void) {
    const char *folder = getenv("INKLING_BUILD_DIR");
    char path[1024];
    if (folder == NULL) folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/replay-failed-input", folder != NULL ? folder : "/tmp");
    FILE *f = fopen(path, "wb");
    if (f == NULL) return;
    fwrite(current.data, 1, current.bytes, f);
    fclose(f);
    fprintf(stderr, "the input was written to %s\n", path);
}

static void died(int number) {
    save_current();
    signal(number, SIG_DFL);
    raise(number);
}

static uint64_t random_state = 0x853c49e6748fea9bu;

static uint32_t next_below(size_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % (n > 0 ? n : 1));
}

// Every input has its exact size on the heap: a sanitizer sees a read past the end.
static void run(const uint8_t *data, size_t bytes) {
    uint8_t *copy = malloc(bytes > 0 ? bytes : 1);
    if (copy == NULL) return;
    if (bytes > 0) memcpy(copy, data, bytes);
    current = (seed){copy, bytes};
    LLVMFuzzerTestOneInput(copy, bytes);
    free(copy);
}

static void add_seed(const void *data, size_t bytes) {
    uint8_t *copy = malloc(bytes + 1);
    if (copy == NULL || n_seeds == MAX_SEEDS) {
        free(copy);
        return;
    }
    memcpy(copy, data, bytes);
    seeds[n_seeds++] = (seed){copy, bytes};
}

static int add_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (f == NULL) return -1;
    uint8_t *data = malloc(MAX_SEED_BYTES);
    const size_t n = data != NULL ? fread(data, 1, MAX_SEED_BYTES, f) : 0;
    fclose(f);
    if (data != NULL) add_seed(data, n);
    free(data);
    return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_folder(const char *name) {
    const char *source = getenv("INKLING_SOURCE_DIR");
    char folder[1024], path[2048];
    snprintf(folder, sizeof folder, "%s/tests/fuzz/seeds/%s", source != NULL ? source : ".", name);
    struct dirent **entries = NULL;
    const int n = scandir(folder, &entries, NULL, by_name);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') add_file(path);
        free(entries[i]);
    }
    free(entries);
}

// One change; data has room for 16 more bytes. Returns the new length.
static size_t mutate_once(uint8_t *data, size_t n) {
    static const uint64_t edges[] = {0,          1,         0x7f,       0x80,
                                     0xff,       0xffff,    0x7fffffff, 0x80000000,
                                     0xffffffff, INT64_MAX, UINT64_MAX, UINT64_MAX - 7};
    static const size_t widths[] = {1, 2, 4, 8};
    const size_t at = next_below(n), width = widths[next_below(4)], other = next_below(n);
    uint64_t value = edges[next_below(sizeof edges / sizeof edges[0])];
    if (n < 16) {
        data[n] = (uint8_t)next_below(256);
        return n + 1;
    }
    switch (next_below(8)) {
    case 0: data[at] ^= (uint8_t)(1u << next_below(8)); return n;
    case 1: data[at] = (uint8_t)next_below(256); return n;
    case 2: data[at] = (uint8_t)(data[at] + 1 + 254 * next_below(2)); return n;
    case 3: return at; // cut
    case 4:            // an edge value, little-endian
        for (size_t i = 0; i < width && at + i < n; i++, value >>= 8) data[at + i] = (uint8_t)value;
        return n;
    case 5: // a piece gone
        memmove(data + at, data + at + (n - at < width ? n - at : width),
                n - at - (n - at < width ? n - at : width));
        return n - (n - at < width ? n - at : width);
    case 6: // a piece twice
        memmove(data + at + width, data + at, n - at);
        return n + width;
    default: // a piece from elsewhere
        memmove(data + at, data + other, n - (at > other ? at : other) < 16 ? 1 : 16);
        return n;
    }
}

static void run_mutated(const seed *from) {
    const size_t changes = 1 + next_below(4);
    uint8_t *data = malloc(from->bytes + 16 * changes);
    if (data == NULL) return;
    memcpy(data, from->data, from->bytes);
    size_t n = from->bytes;
    for (size_t i = 0; i < changes; i++) n = mutate_once(data, n);
    run(data, n);
    free(data);
}

int main(int argc, char **argv) {
    signal(SIGABRT, died);
    if (__sanitizer_set_death_callback != NULL) __sanitizer_set_death_callback(save_current);
    for (int i = 1; i < argc; i++)
        if (add_file(argv[i]) != 0) {
            fprintf(stderr, "%s: cannot be read\n", argv[i]);
            return 2;
        }
    if (argc > 1) {
        for (size_t i = 0; i < n_seeds; i++) run(seeds[i].data, seeds[i].bytes);
        printf("%zu files\n", n_seeds);
    } else {
        const char *slash = strrchr(argv[0], '/'), *program = slash != NULL ? slash + 1 : argv[0];
        add_folder(strncmp(program, "fuzz_", 5) == 0 ? program + 5 : program);
        const size_t from_files = n_seeds;
        add_seed("", 0);
        static const char text[] =
            "Once upon a time,\n{\"key\": [1, -2.5e3]} \xc3\xa9\xf0\x9f\x99\x82\xff";
        add_seed(text, sizeof text - 1);
        add_seed((const uint8_t[64]){0}, 64);
        for (size_t i = 0; i < n_seeds; i++) run(seeds[i].data, seeds[i].bytes);
        const int all = getenv("INKLING_TEST_LONG") != NULL;
        const size_t quick = &fuzz_quick_runs != NULL ? fuzz_quick_runs : RUNS_QUICK;
        const size_t runs = all ? quick * LONG_FACTOR : quick;
        for (size_t i = 0; i < runs; i++) run_mutated(&seeds[i % n_seeds]);
        printf("%zu seeds of files, %zu mutations", from_files, runs);
        if (!all) printf("; left out: %zu more (INKLING_TEST_LONG)", quick * (LONG_FACTOR - 1));
        printf("\n");
    }
    for (size_t i = 0; i < n_seeds; i++) free(seeds[i].data);
    return 0;
}
