// SPDX-License-Identifier: MIT
#include "cli/interrupt.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/select.h>

static _Atomic(ink_session *) running;
static atomic_int caught;

static void on_signal(int number) {
    if (atomic_fetch_add(&caught, 1) > 0) {
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    ink_session *session = atomic_load(&running);
    if (session != NULL) ink_session_cancel(session);
}

void cli_interrupt_install(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    // Without SA_RESTART: waiting for standard input ends too.
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    // A limit on the size of files is then an error of write, told and cleaned up after.
    sigaction(SIGXFSZ, &action, NULL);
}

void cli_interrupt_session(ink_session *session) { atomic_store(&running, session); }

bool cli_interrupted(void) { return atomic_load(&caught) > 0; }

// The two signals are let through only while the system waits, so that none falls between the look
// at the flag and the wait.
bool cli_interrupt_await(int fd) {
    if (fd < 0 || fd >= FD_SETSIZE) return !cli_interrupted();
    sigset_t ours, before;
    fd_set ready;
    FD_ZERO(&ready);
    FD_SET(fd, &ready);
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    if (!cli_interrupted()) pselect(fd + 1, &ready, NULL, NULL, NULL, &before);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return !cli_interrupted();
}
