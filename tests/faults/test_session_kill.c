// SPDX-License-Identifier: MIT
// A program that writes, saves after each word and is killed (SIGKILL) at random moments, over and
// over: the file is always there and whole, the program goes on from it, and what it writes is what
// it writes undisturbed, token for token.
#include "opened.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    N_CTX = 96,
    N_TEXT = 400, // tokens, most of them with a context that slid
    N_STEP = 3,   // between two saves
    N_KILLS = 25,
    LONG_KILLS = 1000,
    MAX_WAIT_US = 12000
};
static const char prompt[] = "The door was";

static tiny_model writer_model(void) {
    tiny_model tiny = tiny_model_defaults();
    tiny.n_ctx = N_CTX;
    return tiny;
}

static ink_sampler *writer_sampler(const ink_model *model) {
    ink_sampler_options o;
    ink_sampler *sampler = NULL;
    ink_sampler_options_init(&o, sizeof o);
    o.seed_set = 1;
    o.seed = 4711;
    return ink_sampler_new(&sampler, model, "top_k=60;temp=1.3", &o, NULL) == INK_OK ? sampler
                                                                                     : NULL;
}

// What the program wrote so far is its note.
typedef struct story {
    ink_token tokens[N_TEXT + N_STEP];
    uint32_t n;
} story;

// One step of the text: N_STEP more tokens, chosen and evaluated one by one. A full context forgets
// all but its last quarter. False: anything failed.
static bool write_on(ink_session *s, const ink_sampler *sampler, story *out) {
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.sampler = sampler;
    o.overflow = INK_OVERFLOW_SLIDE;
    o.flags = INK_GENERATE_NO_END;
    o.n_tokens = N_STEP;
    const char *text = ink_session_n_past(s) == 0 ? prompt : "";
    ink_result result = {0};
    if (ink_session_generate(s, text, strlen(text), &o, NULL, NULL, &result, NULL) != INK_OK)
        return false;
    size_t n = 0;
    const ink_token *past = ink_session_tokens(s, &n);
    if (result.n_generated != N_STEP || n < N_STEP) return false;
    memcpy(out->tokens + out->n, past + n - N_STEP, N_STEP * sizeof *past);
    out->n += N_STEP;
    return true;
}

// --- the program that is killed ------------------------------------------------------------------

static bool save_story(ink_session *s, const char *path, const ink_sampler *sampler,
                       const story *text) {
    ink_save_options o;
    ink_save_options_init(&o, sizeof o);
    o.sampler = sampler;
    o.note = text;
    o.note_bytes = sizeof *text;
    return ink_session_save(s, path, &o, NULL) == INK_OK;
}

// Goes on from the file, or begins where there is none; false: neither can be done. sampler: the
// caller's to free.
static bool wake(ink_session *s, const char *path, ink_sampler **sampler, story *text,
                 const ink_model *model) {
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = path};
    ink_restored restored = {0};
    ink_error error = {0};
    memset(text, 0, sizeof *text);
    const ink_status status = ink_session_restore(s, &source, &restored, &error);
    if (status == INK_E_NOT_FOUND) {
        *sampler = writer_sampler(model);
        return *sampler != NULL;
    }
    if (status != INK_OK) fprintf(stderr, "%s\n", error.message);
    if (status != INK_OK || restored.note_bytes != sizeof *text) return false;
    memcpy(text, restored.note, sizeof *text);
    *sampler = restored.sampler;
    return *sampler != NULL;
}

// Never ends by itself with 0: at the end of the text it begins again.
static int writer(const char *model_path, const char *path) {
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = model_path};
    ink_model *model = NULL;
    ink_session *s = NULL;
    ink_sampler *sampler = NULL;
    static story text;
    if (ink_model_open(&model, NULL, &source, NULL, NULL) != INK_OK) return 3;
    if (ink_session_new(&s, model, NULL, NULL) != INK_OK) return 4;
    if (!wake(s, path, &sampler, &text, model)) return 5;
    for (;;) {
        if (text.n >= N_TEXT) {
            if (ink_session_rewind(s, 0) != INK_OK) return 6;
            text.n = 0;
        }
        if (!write_on(s, sampler, &text)) return 7;
        if (!save_story(s, path, sampler, &text)) return 8;
    }
}

// --- who kills it --------------------------------------------------------------------------------

static uint64_t random_state;

static uint32_t below(uint32_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

static void sleep_us(uint32_t us) {
    const struct timespec t = {.tv_nsec = (long)us * 1000};
    nanosleep(&t, NULL);
}

static char program[1024], folder[300], file[320], model_file[320];

// Whether there is a file that is not the one of before.
static bool is_new(const struct stat *before) {
    struct stat now;
    return stat(file, &now) == 0 &&
           (now.st_ino != before->st_ino || now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
            now.st_mtim.tv_nsec != before->st_mtim.tv_nsec);
}

// Mostly it is let alone until it has saved once; without that it may not even have woken.
static void start_and_kill(bool let_save) {
    struct stat before = {0};
    int status = 0;
    if (stat(file, &before) != 0) let_save = true;
    const pid_t parent = getpid(), pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        // It never ends by itself, nor may it stay behind a test that was ended.
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(2);
        execl(program, program, "write", model_file, file, (char *)NULL);
        _exit(2);
    }
    bool ended = false;
    while (let_save && !ended && !is_new(&before)) {
        sleep_us(200);
        ended = waitpid(pid, &status, WNOHANG) == pid;
    }
    sleep_us(below(MAX_WAIT_US));
    if (!ended) kill(pid, SIGKILL);
    while (!ended && waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    // If it had ended by itself, it would have found something wrong.
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static int n_temporary(void) {
    DIR *d = opendir(folder);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) n += strstr(e->d_name, ".tmp") != NULL;
    closedir(d);
    return n;
}

static void killed(void **state) {
    (void)state;
    const bool is_long = getenv("INKLING_TEST_LONG") != NULL;
    const int n_kills = is_long ? LONG_KILLS : N_KILLS;
    if (!is_long) printf("left out: %d more kills (INKLING_TEST_LONG)\n", LONG_KILLS - N_KILLS);
    const tiny_model tiny = writer_model();
    const char *tmp = getenv("TMPDIR");
    // Each save is flushed to its disk.
    if (tmp == NULL) tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof folder, "%s/inkling-killed-XXXXXX", tmp);
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/session", folder);
    snprintf(model_file, sizeof model_file, "%s/model.gguf", folder);
    assert_int_equal(tiny_model_write(model_file, &tiny, NULL), INK_OK);
    random_state = (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)random_state);

    static story whole, text;
    opened o = opened_tiny(&tiny, 1, NULL);
    ink_sampler *sampler = writer_sampler(o.model), *theirs = NULL;
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    while (whole.n < N_TEXT) assert_true(write_on(s, sampler, &whole));
    uint32_t n_different = 0, n_last = 0;
    for (int i = 0; i < n_kills; i++) {
        start_and_kill(below(4) > 0);
        assert_true(wake(s, file, &theirs, &text, o.model));
        assert_true(text.n > 0);
        n_different += text.n != n_last;
        n_last = text.n;
        assert_memory_equal(text.tokens, whole.tokens, text.n * sizeof *text.tokens);
        // And from there on.
        for (int k = 0; k < 4 && text.n < N_TEXT; k++) assert_true(write_on(s, theirs, &text));
        assert_memory_equal(text.tokens, whole.tokens, text.n * sizeof *text.tokens);
        ink_sampler_free(theirs);
        // What was being written stays, until the same file is written again.
        assert_in_range(n_temporary(), 0, 1);
    }
    assert_int_equal(ink_session_save(s, file, NULL, NULL), INK_OK);
    assert_int_equal(n_temporary(), 0);
    printf("%u of %d times it had come farther\n", n_different, n_kills);
    ink_sampler_free(sampler);
    ink_session_free(s);
    opened_close(&o);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(unlink(model_file), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "write") == 0) return writer(argv[2], argv[3]);
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) {
        printf("left out: this system does not say where the program lies\n");
        return 77;
    }
    program[n] = 0;
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
