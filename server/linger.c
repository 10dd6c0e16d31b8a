// SPDX-License-Identifier: MIT
#include "server/linger.h"

#include "server/app.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER_MS = 2000, READ_BYTES = 1 << 14, READS = 64 };

bool srv_linger_init(srv_linger *linger) {
    memset(linger, 0, sizeof *linger);
    return pthread_mutex_init(&linger->lock, NULL) == 0;
}

void srv_linger_destroy(srv_linger *linger) {
    for (int i = 0; i < linger->n; i++) close(linger->sockets[i].fd);
    pthread_mutex_destroy(&linger->lock);
}

void srv_linger_add(srv_linger *linger, int fd, bool always) {
    int unread = 0;
    if (!always && (ioctl(fd, FIONREAD, &unread) != 0 || unread == 0)) return;
    pthread_mutex_lock(&linger->lock);
    const int copy = linger->n < SRV_LINGER_MAX ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (copy >= 0) {
        shutdown(copy, SHUT_WR);
        linger->sockets[linger->n].fd = copy;
        linger->sockets[linger->n++].until_ms = srv_now_ms() + LINGER_MS;
    }
    pthread_mutex_unlock(&linger->lock);
}

// True: the client has said all, or has gone.
static bool drain(int fd) {
    char nowhere[READ_BYTES];
    for (int i = 0; i < READS; i++) {
        const ssize_t n = recv(fd, nowhere, sizeof nowhere, MSG_DONTWAIT);
        if (n == 0) return true;
        if (n < 0) return errno != EAGAIN && errno != EINTR;
    }
    return false;
}

void srv_linger_tick(srv_linger *linger) {
    const double now = srv_now_ms();
    pthread_mutex_lock(&linger->lock);
    for (int i = linger->n - 1; i >= 0; i--) {
        if (!drain(linger->sockets[i].fd) && now < linger->sockets[i].until_ms) continue;
        close(linger->sockets[i].fd);
        linger->sockets[i] = linger->sockets[--linger->n];
    }
    pthread_mutex_unlock(&linger->lock);
}
