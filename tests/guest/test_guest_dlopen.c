// SPDX-License-Identifier: MIT
// A host that loads the shared library, uses it and unloads it, a hundred times over, is left with
// what it had: the same threads, open files and mappings.
#include "guest/guest.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

// Mappings that name no file but hold memory come and go with the C library's own arenas; those of
// the library itself must be gone.
static int count_mappings(const char *name) {
    FILE *file = fopen("/proc/self/maps", "r");
    if (!file) return -1;
    char line[4096];
    int n = 0;
    while (fgets(line, sizeof line, file)) n += !name || strstr(line, name) != NULL;
    fclose(file);
    return n;
}

// Looks a function up; through a union, since C has no conversion from void * to a function
// pointer.
#define LOOK_UP(library, function, type)                                                           \
    __extension__({                                                                                \
        union {                                                                                    \
            void *object;                                                                          \
            type call;                                                                             \
        } symbol = {.object = dlsym((library), (function))};                                       \
        if (!symbol.object) fail_msg("no symbol %s", function);                                    \
        symbol.call;                                                                               \
    })

typedef void (*init_fn)(void *, size_t);
typedef ink_engine *(*open_fn)(const char *, const ink_options *);
typedef ink_status (*generate_fn)(ink_engine *, const char *, ink_text_fn, void *);
typedef ink_status (*close_fn)(ink_engine *);

static void use_once(const char *path, guest_text *out) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) fail_msg("%s", dlerror());
    const ink_source source = guest_source();
    ink_runtime_options runtime;
    LOOK_UP(library, "ink_runtime_options_init", init_fn)(&runtime, sizeof runtime);
    runtime.n_threads = 3;
    runtime.flags = INK_RUNTIME_OVERSUBSCRIBE;
    ink_options options;
    LOOK_UP(library, "ink_options_init", init_fn)(&options, sizeof options);
    options.source = &source;
    options.runtime = &runtime;
    options.chain = "greedy";
    out->bytes = 0;
    ink_engine *engine = LOOK_UP(library, "ink_open", open_fn)(NULL, &options);
    assert_non_null(engine);
    assert_int_equal(
        LOOK_UP(library, "ink_generate", generate_fn)(engine, "Once", guest_collect, out), INK_OK);
    assert_int_equal(LOOK_UP(library, "ink_close", close_fn)(engine), INK_OK);
    assert_int_equal(dlclose(library), 0);
}

// Threads of this process. One that was joined may stand in /proc for a moment longer, so more than
// `most` of them are waited for, until a minute is over.
static int count_threads(int most) {
    int n = guest_count("/proc/self/task");
    for (int ms = 0; n > most && ms < 60000; ms++) {
        usleep(1000);
        n = guest_count("/proc/self/task");
    }
    return n;
}

static void *nothing(void *arg) { return arg; }

static void hundred_times_leaves_nothing(void **state) {
    (void)state;
    const char *path = getenv("INKLING_SHARED");
    if (!path) {
        print_message("left out: dlopen, INKLING_SHARED does not name the library\n");
        skip();
    }
    static guest_text first, again;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, nothing, NULL), 0);
    pthread_join(thread, NULL);
    // ThreadSanitizer adds a thread of its own with the first that a program starts.
    const int n_threads = count_threads(GUEST_TSAN ? 2 : 1);
    for (int i = 0; i < 5; i++)
        use_once(path, &first); // what the C library sets up once is there now
    const int n_files = guest_count("/proc/self/fd");
    const int n_mappings = count_mappings(NULL);
    // ThreadSanitizer sees in a few rounds what it would see in many, and takes its time for each.
    const int rounds = GUEST_TSAN ? 10 : 100;
    for (int i = 0; i < rounds; i++) {
        use_once(path, &again);
        guest_assert_same(&first, &again);
    }
    assert_int_equal(count_threads(n_threads), n_threads);
    assert_int_equal(guest_count("/proc/self/fd"), n_files);
    assert_null(dlopen(path, RTLD_NOW | RTLD_NOLOAD));
    assert_true(count_mappings("libinkling.so") <= 0);
    // A sanitizer's own allocator maps as it goes.
    if (!GUEST_SANITIZED) assert_true(count_mappings(NULL) <= n_mappings + 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(hundred_times_leaves_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
