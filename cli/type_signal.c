// SPDX-License-Identifier: MIT
#include "cli/type_signal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static const int handled[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGWINCH, SIGTSTP};
static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
enum { N_HANDLED = sizeof handled / sizeof *handled, N_CRASHES = sizeof crashes / sizeof *crashes };

static struct sigaction before[N_HANDLED], before_crash[N_CRASHES];
static bool taken[N_CRASHES];
static int ends[2] = {-1, -1};
static atomic_uint pending;

static struct {
    char text[512];
    size_t n;
    struct termios modes;
} crash;

void type_signal_wake(unsigned what) {
    const int error = errno;
    atomic_fetch_or(&pending, what);
    // A full pipe wakes as well as one byte more.
    const ssize_t put = write(ends[1], "", 1);
    (void)put;
    errno = error;
}

unsigned type_signal_take(void) {
    char bytes[64];
    // The pipe first: what comes after the look at the flags leaves a byte for the next time.
    while (read(ends[0], bytes, sizeof bytes) > 0) {}
    return atomic_exchange(&pending, 0);
}

int type_signal_fd(void) { return ends[0]; }

static void on_signal(int number) {
    type_signal_wake(number == SIGWINCH ? TYPE_WAKE_SIZE
                     : number == SIGHUP ? TYPE_WAKE_HANGUP
                                        : TYPE_WAKE_END);
}

static void on_crash(int number) {
    if (crash.n > 0) {
        const ssize_t put = write(STDOUT_FILENO, crash.text, crash.n);
        (void)put;
        tcsetattr(STDIN_FILENO, TCSANOW, &crash.modes);
    }
    signal(number, SIG_DFL);
    raise(number);
}

bool type_signal_install(void) {
    struct sigaction action;
    if (pipe(ends) != 0) return false;
    for (int i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
    }
    atomic_store(&pending, 0);
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < N_HANDLED; i++) {
        action.sa_handler = handled[i] == SIGTSTP ? SIG_IGN : on_signal;
        sigaction(handled[i], &action, &before[i]);
    }
    return true;
}

void type_signal_restore(void) {
    for (size_t i = 0; i < N_HANDLED; i++) sigaction(handled[i], &before[i], NULL);
    for (int i = 0; i < 2; i++) {
        close(ends[i]);
        ends[i] = -1;
    }
}

void type_signal_on_crash(const char *text, size_t n, const struct termios *modes) {
    struct sigaction action;
    for (size_t i = 0; i < N_CRASHES && text == NULL; i++) {
        if (taken[i]) sigaction(crashes[i], &before_crash[i], NULL);
        taken[i] = false;
    }
    crash.n = 0;
    if (text == NULL || n == 0 || n > sizeof crash.text) return;
    memcpy(crash.text, text, n);
    crash.modes = *modes;
    crash.n = n;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_crash;
    for (size_t i = 0; i < N_CRASHES; i++) {
        // A sanitizer's own handler tells more than ours.
        taken[i] = sigaction(crashes[i], NULL, &before_crash[i]) == 0 &&
                   before_crash[i].sa_handler == SIG_DFL;
        if (taken[i]) sigaction(crashes[i], &action, NULL);
    }
}
