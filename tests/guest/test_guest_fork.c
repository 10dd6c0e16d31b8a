// SPDX-License-Identifier: MIT
// fork(2): what was idle at the fork may be used and freed in the child, where evaluations run on
// the calling thread alone and give the same bytes; the parent notices nothing.
#include "guest/guest.h"

#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static int wait_for(pid_t child) {
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return status;
}

// Runs in the child: 0, or a number that says what was wrong. No assertions here: they would go on
// with the parent's other tests.
static int child_work(ink_engine *engine, const guest_text *expected, bool release) {
    static guest_text text;
    text.bytes = 0;
    if (ink_generate(engine, "The quick brown fox, and what it did next", guest_collect, &text) !=
        INK_OK)
        return 1;
    if (text.bytes != expected->bytes || memcmp(text.text, expected->text, text.bytes) != 0)
        return 2;
    if (!GUEST_TSAN && guest_count("/proc/self/task") > 1) return 3;
    ink_session *fork_of = NULL;
    if (ink_session_fork(ink_engine_session(engine), &fork_of, NULL) != INK_OK) return 4;
    if (ink_session_free(fork_of) != INK_OK) return 5;
    if (release && ink_close(engine) != INK_OK) return 6;
    return 0;
}

static void fork_and_work(ink_engine *engine, const guest_text *expected, bool release) {
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(child_work(engine, expected, release));
    const int status = wait_for(child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void idle_objects_work_in_the_child(void **state) {
    (void)state;
    static guest_text first, after;
    for (uint32_t n_threads = 1; n_threads <= 4; n_threads += 3) {
        ink_engine *engine = guest_open(n_threads);
        // Before the workers ever had work, while they still spin, and when they sleep.
        guest_generate(engine, &first);
        fork_and_work(engine, &first, true);
        fork_and_work(engine, &first, false);
        usleep(20000);
        fork_and_work(engine, &first, true);
        guest_generate(engine, &after);
        guest_assert_same(&first, &after);
        assert_int_equal(ink_close(engine), INK_OK);
    }
}

static void child_of_a_child(void **state) {
    (void)state;
    static guest_text first;
    ink_engine *engine = guest_open(3);
    guest_generate(engine, &first);
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const pid_t grandchild = fork();
        if (grandchild == 0) _exit(child_work(engine, &first, true));
        const int status = wait_for(grandchild);
        _exit(!WIFEXITED(status)    ? 99
              : WEXITSTATUS(status) ? WEXITSTATUS(status)
                                    : child_work(engine, &first, true));
    }
    const int status = wait_for(child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(ink_close(engine), INK_OK);
}

// A child may also begin anew, with threads of its own.
static void child_opens_its_own(void **state) {
    (void)state;
    if (GUEST_TSAN) {
        print_message("left out: threads in a forked child, ThreadSanitizer forbids them\n");
        skip();
    }
    static guest_text first, own;
    ink_engine *engine = guest_open(3);
    guest_generate(engine, &first);
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        ink_engine *another = guest_open(3);
        guest_generate(another, &own);
        const bool same = own.bytes == first.bytes && memcmp(own.text, first.text, own.bytes) == 0;
        const bool ended = ink_close(another) == INK_OK && ink_close(engine) == INK_OK;
        _exit(!same ? 1 : !ended ? 2 : 0);
    }
    const int status = wait_for(child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(ink_close(engine), INK_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_objects_work_in_the_child),
        cmocka_unit_test(child_of_a_child),
        cmocka_unit_test(child_opens_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
