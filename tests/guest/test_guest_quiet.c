// SPDX-License-Identifier: MIT
// Nothing is written to standard output or standard error, whatever goes right or wrong; what there
// is to say goes to the host's log function. The standard streams may even be closed: no file of
// the library is then mistaken for one of them.
#include "guest/guest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int n_logged;
static bool log_bad;

static void on_log(void *user, int level, const char *message) {
    n_logged += *(int *)user;
    log_bad = log_bad || level < INK_LOG_ERROR || level > INK_LOG_DEBUG || !message || !*message ||
              strchr(message, '\n');
}

// Every kind of failure that needs no damaged model, and what succeeds.
static void all_sorts(void) {
    static guest_text text;
    ink_engine *engine = guest_open(2);
    guest_generate(engine, &text);
    ink_generate(engine, NULL, NULL, NULL);
    ink_generate(NULL, "x", NULL, NULL);
    ink_sampler *sampler = NULL;
    ink_sampler_new(&sampler, ink_engine_model(engine), "top_kk=3", NULL, NULL);
    ink_session_rewind(ink_engine_session(engine), 9999);
    const ink_token bad = 1 << 30;
    const ink_span span = {.session = ink_engine_session(engine), .tokens = &bad, .n_tokens = 1};
    ink_eval(&span, 1, NULL);
    ink_close(engine);

    ink_close(ink_open("/nonexistent/model.gguf", NULL));
    ink_close(ink_open("builtin:nothing-of-this-name", NULL));
    ink_close(ink_open("/", NULL));
    ink_close(NULL);

    int one = 1;
    ink_runtime_options options;
    ink_runtime_options_init(&options, sizeof options);
    options.log = on_log;
    options.log_user = &one;
    options.n_threads = 2;
    options.flags = INK_RUNTIME_OVERSUBSCRIBE;
    ink_runtime *runtime = NULL;
    if (ink_runtime_new(&runtime, &options, NULL) != INK_OK) return;
    // The model cut off at many places, and with a byte changed.
    const ink_source whole = guest_source();
    uint8_t *copy = malloc(whole.bytes);
    for (uint64_t n = 0; copy && n < whole.bytes; n += 1 + whole.bytes / 50) {
        memcpy(copy, whole.data, whole.bytes);
        copy[n] ^= 0x55;
        ink_source source = whole;
        source.data = copy;
        for (int cut = 0; cut < 2; cut++) {
            if (cut) source.bytes = n;
            ink_model *model = NULL;
            ink_model_open(&model, runtime, &source, NULL, NULL);
            ink_model_unref(model);
        }
    }
    free(copy);
    ink_runtime_unref(runtime);
}

static void nothing_is_printed(void **state) {
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(NULL);
    const int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    assert_true(out >= 0 && err >= 0);
    dup2(fileno(file), STDOUT_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    all_sorts();
    fflush(NULL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    close(out);
    close(err);
    struct stat info;
    assert_int_equal(fstat(fileno(file), &info), 0);
    if (info.st_size) {
        char text[512];
        const ssize_t n = pread(fileno(file), text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = 0;
        fail_msg("printed: %s", text);
    }
    fclose(file);
    assert_false(log_bad);
}

// With 0 to 2 closed the next open file becomes one of them; a host's later print must not reach a
// model.
static void closed_streams_do_no_harm(void **state) {
    (void)state;
    fflush(NULL);
    const int saved[3] = {fcntl(0, F_DUPFD, 10), fcntl(1, F_DUPFD, 10), fcntl(2, F_DUPFD, 10)};
    const int before = guest_count("/proc/self/fd");
    for (int i = 0; i < 3; i++) close(i);
    ink_engine *engine = guest_open(2);
    static guest_text text;
    guest_generate(engine, &text);
    const bool kept_one =
        fcntl(0, F_GETFD) >= 0 || fcntl(1, F_GETFD) >= 0 || fcntl(2, F_GETFD) >= 0;
    const ink_status status = ink_close(engine);
    for (int i = 0; i < 3; i++) {
        if (saved[i] < 0) continue;
        dup2(saved[i], i);
        close(saved[i]);
    }
    assert_int_equal(status, INK_OK);
    assert_false(kept_one);
    assert_true(before < 0 || guest_count("/proc/self/fd") <= before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_printed),
        cmocka_unit_test(closed_streams_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
