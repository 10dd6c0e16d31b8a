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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_level_by_mask),
        cmocka_unit_test(test_level_by_environment),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests_name("runtime", tests, NULL, NULL);
}
