// SPDX-License-Identifier: MIT
// What it takes to restore a saved session, beside evaluating its tokens again.
//
//     session_restore MODEL.gguf [tokens [turns]]
//
// Both are done in turns, each into a session that was just made (and not in its time), so that
// either pays for the first touch of its pages. The file is warm: it was written a moment ago. And
// what memory a fork of such a session takes, as the allocator sees it.
#include "base/checksum.h"
#include "bench/median.h"
#include "inkling/inkling.h"
#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TURNS = 100, MAX_TOKENS = 1 << 16 };

static ink_error error;

static void check(ink_status status) {
    if (status == INK_OK) return;
    fprintf(stderr, "%s\n", error.message);
    exit(1);
}

static ink_session *new_session(ink_model *model) {
    ink_session *s = NULL;
    check(ink_session_new(&s, model, NULL, &error));
    return s;
}

static double evaluate_ms(ink_session *s, const ink_token *ids, size_t n) {
    const ink_span span = {.session = s, .tokens = ids, .n_tokens = n};
    const double start = inki_os_now_ms();
    check(ink_eval(&span, 1, &error));
    return inki_os_now_ms() - start;
}

static double checksum_ms(const void *data, size_t bytes, uint64_t *sum) {
    const double start = inki_os_now_ms();
    *sum ^= inki_checksum_of(data, bytes);
    return inki_os_now_ms() - start;
}

static size_t n_allocated; // bytes so far; one thread allocates

static void *counted_alloc(void *user, size_t bytes, size_t align) {
    void *p = NULL;
    (void)user;
    if (posix_memalign(&p, align < sizeof p ? sizeof p : align, bytes) != 0) return NULL;
    n_allocated += bytes;
    return p;
}

static void counted_release(void *user, void *memory, size_t bytes) {
    (void)user;
    (void)bytes;
    free(memory);
}

static void print_fork(const ink_source *source, const ink_token *ids, size_t n) {
    const ink_allocator counted = {
        .size = sizeof counted, .alloc = counted_alloc, .release = counted_release};
    ink_runtime_options options;
    ink_runtime *runtime = NULL;
    ink_model *model = NULL;
    ink_session *fork = NULL;
    ink_memory memory = {.size = sizeof memory};
    ink_runtime_options_init(&options, sizeof options);
    options.allocator = &counted;
    check(ink_runtime_new(&runtime, &options, &error));
    check(ink_model_open(&model, runtime, source, NULL, &error));
    check(ink_measure(source, NULL, &memory, &error));
    ink_session *s = new_session(model);
    evaluate_ms(s, ids, n);
    const size_t before = n_allocated;
    check(ink_session_fork(s, &fork, &error));
    const double bytes = (double)(n_allocated - before), cache = (double)memory.kv_bytes;
    printf("fork                 %8.0f bytes of a cache of %.0f: %.2f %%\n", bytes, cache,
           100 * bytes / cache);
    ink_session_free(fork);
    ink_session_free(s);
    ink_model_unref(model);
    ink_runtime_unref(runtime);
}

// memory [bytes]: what the file at path has.
static void compare(ink_model *model, const char *path, const uint8_t *memory, size_t bytes,
                    const ink_token *ids, size_t n, size_t turns) {
    const ink_source file = {.size = sizeof file, .kind = INK_SOURCE_PATH, .name = path};
    double evaluating[MAX_TURNS], restoring[MAX_TURNS], again[MAX_TURNS], summing[MAX_TURNS];
    uint64_t sum = 0;
    size_t n_vocab = 0;
    for (size_t i = 0; i < turns; i++) {
        ink_session *a = new_session(model), *b = new_session(model);
        evaluating[i] = evaluate_ms(a, ids, n);
        double start = inki_os_now_ms();
        check(ink_session_restore(b, &file, NULL, &error));
        restoring[i] = inki_os_now_ms() - start;
        start = inki_os_now_ms();
        check(ink_session_restore(b, &file, NULL, &error));
        again[i] = inki_os_now_ms() - start;
        summing[i] = checksum_ms(memory, bytes, &sum);
        const float *of_a = ink_session_logits(a, 0, &n_vocab),
                    *of_b = ink_session_logits(b, 0, NULL);
        if (memcmp(of_a, of_b, n_vocab * sizeof *of_a) != 0) {
            fprintf(stderr, "the restored logits are others\n");
            exit(1);
        }
        ink_session_free(a);
        ink_session_free(b);
    }
    const double e = median(evaluating, turns), r = median(restoring, turns);
    const double w = median(again, turns), c = median(summing, turns);
    printf("%zu tokens, %.1f MB, medians of %zu turns\n", n, (double)bytes / 1e6, turns);
    printf("evaluate             %8.1f ms\n", e);
    printf("restore              %8.1f ms   %.1f times faster\n", r, e / r);
    printf("restore, pages there %8.1f ms   %.1f times faster\n", w, e / w);
    printf("checksum             %8.1f ms   %.1f GB/s (%016llx)\n", c, (double)bytes / c / 1e6,
           (unsigned long long)sum);
}

int main(int argc, char **argv) {
    static ink_token ids[MAX_TOKENS];
    const size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;
    const size_t turns = argc > 3 ? strtoul(argv[3], NULL, 10) : 7;
    if (argc < 2 || n == 0 || n > MAX_TOKENS || turns == 0 || turns > MAX_TURNS) {
        fprintf(stderr, "usage: session_restore MODEL.gguf [tokens [turns]]\n");
        return 2;
    }
    ink_model *model = NULL;
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = argv[1]};
    check(ink_model_open(&model, NULL, &source, NULL, &error));
    ink_model_info info = {0};
    check(ink_model_get_info(model, &info));
    for (size_t i = 0; i < n; i++) ids[i] = (ink_token)(i * 7919 % (info.n_vocab - 1));

    const char *folder = getenv("TMPDIR");
    char path[1024];
    snprintf(path, sizeof path, "%s/inkling-restore-XXXXXX", folder != NULL ? folder : "/tmp");
    const int fd = mkstemp(path);
    if (fd < 0 || close(fd) != 0) return 1;
    ink_session *saved = new_session(model);
    evaluate_ms(saved, ids, n);
    const double start = inki_os_now_ms();
    check(ink_session_save(saved, path, NULL, &error));
    printf("save (first, with the fingerprint and fsync): %.1f ms\n", inki_os_now_ms() - start);
    size_t bytes = 0;
    check(ink_session_save_bytes(saved, NULL, NULL, 0, &bytes, &error));
    uint8_t *memory = malloc(bytes);
    if (memory == NULL) return 1;
    check(ink_session_save_bytes(saved, NULL, memory, bytes, &bytes, &error));

    compare(model, path, memory, bytes, ids, n, turns);
    unlink(path);
    print_fork(&source, ids, n);
    free(memory);
    ink_session_free(saved);
    ink_model_unref(model);
    return 0;
}
