// SPDX-License-Identifier: MIT
// What a runtime takes from its options, from the environment and from the machine: the level of
// kernels, the number of threads; and a context that the machine's memory cannot hold.
#include "opened.h"

#include "kernels/kernels.h"
#include "os/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct lines {
    int n, level;
    char last[256];
} lines;

static void on_log(void *user, int level, const char *message) {
    lines *l = user;
    l->n++;
    l->level = level;
    snprintf(l->last, sizeof l->last, "%s", message);
}

static ink_runtime_options defaults(lines *log) {
    ink_runtime_options o;
    ink_runtime_options_init(&o, sizeof o);
    o.n_threads = 1;
    o.log = on_log;
    o.log_user = log;
    return o;
}

static void expect_level(uint32_t cpu_mask, const char *name) {
    lines log = {0};
    ink_runtime_options o = defaults(&log);
    ink_runtime *runtime = NULL;
    ink_error error = {0};
    o.cpu_mask = cpu_mask;
    if (ink_runtime_new(&runtime, &o, &error) != INK_OK) fail_msg("%s", error.message);
    assert_string_equal(ink_runtime_cpu_level(runtime), name);
    assert_int_equal(log.n, 0);
    ink_runtime_unref(runtime);
}

static void expect_refused(const char *name, const char *words) {
    lines log = {0};
    const ink_runtime_options o = defaults(&log);
    ink_runtime *runtime = NULL;
    ink_error error = {0};
    setenv("INKLING_CPU", name, 1);
    assert_int_equal(ink_runtime_new(&runtime, &o, &error), INK_E_ARG);
    assert_null(runtime);
    assert_string_equal(error.where, "INKLING_CPU");
    if (strstr(error.message, words) == NULL || strstr(error.message, "portable") == NULL)
        fail_msg("\"%s\" does not say \"%s\" and the levels", error.message, words);
    // The other ways to a runtime say the same.
    ink_model *model = NULL;
    ink_error other = {0};
    assert_int_equal(ink_model_open(&model, NULL, NULL, NULL, &other), INK_E_ARG);
    assert_string_equal(other.message, error.message);
    ink_engine *engine = ink_open(NULL, NULL);
    assert_non_null(engine);
    assert_string_equal(ink_engine_error(engine)->message, error.message);
    assert_int_equal(ink_generate(engine, "a", NULL, NULL), INK_E_ARG);
    ink_close(engine);
    unsetenv("INKLING_CPU");
}

static const char *best(void) {
    inki_kernels k;
    inki_kernels_init(&k, ~0u);
    return k.name;
}

static void test_level_by_mask(void **state) {
    (void)state;
    unsetenv("INKLING_CPU");
    expect_level(~0u, best());
    expect_level(0, "portable");
    for (uint32_t i = 0; i < INKI_LEVELS; i++)
        if (inki_cpu_levels() >> i & 1) expect_level(inki_level_mask(i), inki_level_name(i));
    expect_level(1u << INK_CPU_AVX512VNNI | 1u << INK_CPU_I8MM, "portable"); // those below lack
    assert_string_equal(ink_runtime_cpu_level(NULL), "");
}

static void test_level_by_environment(void **state) {
    (void)state;
    for (uint32_t i = 0; i < INKI_LEVELS; i++) {
        const char *name = inki_level_name(i);
        if ((inki_cpu_levels() >> i & 1) == 0) {
            expect_refused(name, name);
            continue;
        }
        setenv("INKLING_CPU", name, 1);
        expect_level(~0u, name);
        expect_level(0, "portable"); // it only takes away
        expect_level(1u << INK_CPU_PORTABLE, "portable");
    }
    setenv("INKLING_CPU", "", 1);
    expect_level(~0u, best());
    expect_refused("avx3", "no level \"avx3\"");
    expect_refused("AVX2", "no level \"AVX2\"");
    expect_refused("avx2,fma", "avx2,fma");
    expect_refused("a\n\x1b[31m\xff", "no level");
    char *longest = malloc(100001);
    assert_non_null(longest);
    memset(longest, 'x', 100000);
    longest[100000] = 0;
    expect_refused(longest, "no level \"xxxx");
    free(longest);
    unsetenv("INKLING_CPU");
}

static uint32_t n_threads_of(uint32_t n_threads, uint32_t flags, lines *log) {
    ink_runtime_options o = defaults(log);
    ink_runtime *runtime = NULL;
    o.n_threads = n_threads;
    o.flags = flags;
    assert_int_equal(ink_runtime_new(&runtime, &o, NULL), INK_OK);
    const uint32_t n = ink_runtime_n_threads(runtime);
    ink_runtime_unref(runtime);
    return n;
}

static void test_threads(void **state) {
    (void)state;
    const uint32_t n_cpus = inki_os_n_cpus() < 64 ? inki_os_n_cpus() : 64;
    lines log = {0};
    assert_int_equal(n_threads_of(0, 0, &log), n_cpus);
    assert_int_equal(n_threads_of(1, 0, &log), 1);
    assert_int_equal(n_threads_of(n_cpus, 0, &log), n_cpus);
    assert_int_equal(n_threads_of(0, INK_RUNTIME_OVERSUBSCRIBE, &log), n_cpus);
    assert_int_equal(n_threads_of(5, INK_RUNTIME_OVERSUBSCRIBE, &log), 5);
    assert_int_equal(log.n, 0);
    static const uint32_t many[] = {65, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        log.n = 0;
        assert_int_equal(n_threads_of(many[i], 0, &log), n_cpus);
        assert_int_equal(log.n, 1);
        assert_int_equal(log.level, INK_LOG_WARN);
        char number[16];
        snprintf(number, sizeof number, "%u", (unsigned)many[i]);
        assert_non_null(strstr(log.last, number));
    }
    if (n_cpus < 64) assert_int_equal(n_threads_of(n_cpus + 1, 0, &log), n_cpus);
    log.n = 0;
    assert_int_equal(n_threads_of(1000, INK_RUNTIME_OVERSUBSCRIBE, &log), 64);
    assert_int_equal(log.n, 1);

    ink_runtime_options o = defaults(&log);
    ink_runtime *runtime = NULL;
    o.flags = 2;
    assert_int_equal(ink_runtime_new(&runtime, &o, NULL), INK_E_UNSUPPORTED);
    assert_null(runtime);
}

// --- a context too large for memory --------------------------------------------------------------

enum { LAYERS = 600, BYTES_A_POSITION = 32 * 2 * 4 * LAYERS };

static opened open_deep(uint32_t n_ctx) {
    tiny_model deep = tiny_model_defaults();
    deep.n_layer = LAYERS;
    deep.n_ctx = n_ctx;
    return opened_tiny(&deep, 1, NULL);
}

static ink_status try_session(const opened *o, uint32_t n_ctx, ink_error *error) {
    ink_session *s = NULL;
    ink_session_options options;
    ink_session_options_init(&options, sizeof options);
    options.n_ctx = n_ctx;
    options.kv_type = INK_KV_F32;
    const ink_status status = ink_session_new(&s, o->model, &options, error);
    assert_true((s == NULL) == (status != INK_OK));
    ink_session_free(s);
    return status;
}

static void test_context_over_the_machine(void **state) {
    (void)state;
    const uint64_t memory = inki_os_memory_bytes();
    const uint64_t n_ctx = memory / BYTES_A_POSITION + 64;
    if (memory == 0 || n_ctx > 1000000) {
        print_message("left out: a context over the machine's memory of %llu MB\n",
                      (unsigned long long)(memory / 1000000));
        return;
    }
    opened o = open_deep((uint32_t)n_ctx);
    ink_error error = {0};
    assert_int_equal(try_session(&o, 0, &error), INK_E_NOMEM);
    assert_string_equal(error.where, "n_ctx");
    assert_non_null(strstr(error.message, "more than the machine has"));
    assert_int_equal(try_session(&o, (uint32_t)n_ctx + 1, &error), INK_E_LIMIT);
    assert_int_equal(try_session(&o, 200, &error), INK_OK);
    opened_close(&o);
}

// The system refuses pages in the middle of the work: all that was taken is given back.
static void test_context_over_a_limit(void **state) {
    (void)state;
    if (getenv("INKLING_SANITIZE") != NULL) {
        print_message("left out: a limit of memory, a sanitizer needs address space of its own\n");
        return;
    }
    enum { N_CTX = 4096 };
    opened o = open_deep(N_CTX);
    assert_int_equal(try_session(&o, 64, NULL), INK_OK); // what the C library needs for itself
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%lu", &pages) != 1) {
        print_message("left out: a limit of memory, no /proc here\n");
        return;
    }
    fclose(f);
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    limit = before;
    limit.rlim_cur = pages * (rlim_t)sysconf(_SC_PAGESIZE) + N_CTX / 2 * (rlim_t)BYTES_A_POSITION;
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    ink_error error = {0};
    const ink_status status = try_session(&o, N_CTX, &error);
    const ink_status half = try_session(&o, N_CTX / 4, NULL);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(status, INK_E_NOMEM);
    assert_int_equal(error.status, INK_E_NOMEM);
    assert_int_equal(half, INK_OK);
    opened_close(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_level_by_mask),
        cmocka_unit_test(test_level_by_environment),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_context_over_the_machine),
        cmocka_unit_test(test_context_over_a_limit),
    };
    return cmocka_run_group_tests_name("runtime", tests, NULL, NULL);
}
