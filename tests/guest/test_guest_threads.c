// SPDX-License-Identifier: MIT
// Label: threads
// The library's threads: they block every signal, have the stack size that is stated, sleep when
// there is nothing to do, and end with the runtime. The host's signals reach the host.
#include "guest/guest.h"
#include "os/pool.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

enum { N_THREADS = 4, MAX_OTHERS = 64 };

// Thread ids of this process but for the calling thread.
static size_t other_threads(long *ids) {
    DIR *dir = opendir("/proc/self/task");
    if (!dir) {
        print_message("left out: threads, no /proc here\n");
        skip();
    }
    size_t n = 0;
    const long self = syscall(SYS_gettid);
    for (struct dirent *entry; (entry = readdir(dir));) {
        const long id = strtol(entry->d_name, NULL, 10);
        if (id > 0 && id != self && n < MAX_OTHERS) ids[n++] = id;
    }
    closedir(dir);
    return n;
}

static size_t new_threads(long *ids, const long *before, size_t n_before) {
    long all[MAX_OTHERS];
    const size_t n_all = other_threads(all);
    size_t n = 0;
    for (size_t i = 0; i < n_all; i++) {
        bool known = false;
        for (size_t j = 0; j < n_before; j++) known = known || all[i] == before[j];
        if (!known) ids[n++] = all[i];
    }
    return n;
}

// The rest of the line of /proc/self/task/ID/FILE that begins with `key`.
static void read_task(long id, const char *file, const char *key, char *out, size_t cap) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%ld/%s", id, file);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char line[1024];
    out[0] = 0;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0) snprintf(out, cap, "%s", line + strlen(key));
    fclose(f);
}

static void they_block_all_signals(void **state) {
    (void)state;
    long before[MAX_OTHERS], ids[MAX_OTHERS];
    const size_t n_before = other_threads(before);
    ink_engine *engine = guest_open(N_THREADS);
    guest_text text;
    guest_generate(engine, &text);
    const size_t n = new_threads(ids, before, n_before);
    assert_int_equal(n, N_THREADS - 1);
    for (size_t i = 0; i < n; i++) {
        char mask[64];
        read_task(ids[i], "status", "SigBlk:", mask, sizeof mask);
        const uint64_t blocked = strtoull(mask, NULL, 16);
        for (int s = 1; s <= 64; s++) {
            // Nobody can block the first two; the C library keeps the others to itself.
            if (s == SIGKILL || s == SIGSTOP || (s >= 32 && s < SIGRTMIN)) continue;
            // A sanitizer lets through what a crash raises.
            if (GUEST_SANITIZED && (s == SIGSEGV || s == SIGBUS || s == SIGFPE || s == SIGILL ||
                                    s == SIGABRT || s == SIGTRAP || s == SIGSYS))
                continue;
            if (!(blocked >> (s - 1) & 1)) fail_msg("signal %d is not blocked", s);
        }
    }
    // The calling thread is the host's: what it blocks is its own affair.
    sigset_t own;
    sigemptyset(&own);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &own), 0);
    assert_false(sigismember(&own, SIGTERM));
    assert_int_equal(ink_close(engine), INK_OK);
    // A thread that has been joined may stand in /proc for a moment longer.
    while (new_threads(ids, before, n_before) > 0) usleep(1000);
}

static void they_sleep_when_idle(void **state) {
    (void)state;
    long before[MAX_OTHERS], ids[MAX_OTHERS];
    const size_t n_before = other_threads(before);
    ink_engine *engine = guest_open(N_THREADS);
    guest_text text;
    guest_generate(engine, &text);
    const size_t n = new_threads(ids, before, n_before);
    // Ten looks in a row at which all of them sleep; a thread that spun on would be running at
    // most, and this would not end.
    for (int looks = 0; looks < 10;) {
        usleep(1000);
        bool asleep = true;
        for (size_t i = 0; i < n; i++) {
            char thread_state[64];
            read_task(ids[i], "status", "State:", thread_state, sizeof thread_state);
            asleep = asleep && strchr(thread_state, 'S') != NULL;
        }
        looks = asleep ? looks + 1 : 0;
    }
    assert_int_equal(ink_close(engine), INK_OK);
}

#if !GUEST_SANITIZED
static atomic_size_t n_started, n_wrong_stack;

// Stands before the C library's function of this name, for the whole program.
int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                   void *arg) {
    union {
        void *object;
        int (*call)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    } next = {.object = dlsym(RTLD_NEXT, "pthread_create")};
    size_t bytes = 0;
    if (attr) pthread_attr_getstacksize(attr, &bytes);
    atomic_fetch_add(&n_started, 1);
    if (bytes != INKI_POOL_STACK_BYTES) atomic_fetch_add(&n_wrong_stack, 1);
    return next.call(thread, attr, start, arg);
}
#endif

static void their_stack_is_as_stated(void **state) {
    (void)state;
#if GUEST_SANITIZED
    print_message("left out: stack sizes, the sanitizer starts threads in its own way\n");
    skip();
#else
    atomic_store(&n_started, 0);
    atomic_store(&n_wrong_stack, 0);
    ink_engine *engine = guest_open(N_THREADS);
    assert_int_equal(ink_close(engine), INK_OK);
    assert_int_equal(atomic_load(&n_started), N_THREADS - 1);
    assert_int_equal(atomic_load(&n_wrong_stack), 0);
#endif
}

static atomic_int n_alarms, n_astray;
static pthread_t host_thread;

static void on_alarm(int number) {
    (void)number;
    const int saved = errno;
    atomic_fetch_add(&n_alarms, 1);
    if (!pthread_equal(pthread_self(), host_thread)) atomic_fetch_add(&n_astray, 1);
    errno = saved;
}

// A host with a running timer, its handler without SA_RESTART: system calls come back with EINTR.
// The work goes on, the bytes are the same, and the handler runs on the host's thread.
static void the_hosts_signals_stay_the_hosts(void **state) {
    (void)state;
    guest_text quiet, disturbed;
    ink_engine *engine = guest_open(N_THREADS);
    guest_generate(engine, &quiet);
    assert_int_equal(ink_close(engine), INK_OK);

    host_thread = pthread_self();
    struct sigaction action = {.sa_handler = on_alarm}, old;
    sigemptyset(&action.sa_mask);
    assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
    const struct itimerval often = {.it_interval.tv_usec = 500, .it_value.tv_usec = 500};
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (int i = 0; i < 5 || atomic_load(&n_alarms) < 5; i++) {
        engine = guest_open(N_THREADS);
        guest_generate(engine, &disturbed);
        assert_int_equal(ink_close(engine), INK_OK);
        guest_assert_same(&quiet, &disturbed);
    }
    const struct itimerval never = {0};
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    struct sigaction found;
    assert_int_equal(sigaction(SIGALRM, &old, &found), 0);
    assert_true(found.sa_handler == on_alarm);
    assert_int_equal(atomic_load(&n_astray), 0);
}

static void *nothing(void *arg) { return arg; }

int main(void) {
    // ThreadSanitizer adds a thread of its own with the first that a program starts: let it be
    // there before the tests look which threads are new.
    pthread_t thread;
    if (pthread_create(&thread, NULL, nothing, NULL) == 0) pthread_join(thread, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_block_all_signals),
        cmocka_unit_test(they_sleep_when_idle),
        cmocka_unit_test(their_stack_is_as_stated),
        cmocka_unit_test(the_hosts_signals_stay_the_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
