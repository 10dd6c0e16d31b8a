// SPDX-License-Identifier: MIT
// A socket that is closed while something is unread in it resets the connection, and the client
// loses the answer that it has not read yet. Such ones are read for a while before.
#ifndef SERVER_LINGER_H
#define SERVER_LINGER_H

#include <pthread.h>
#include <stdbool.h>

enum { SRV_LINGER_MAX = 64 };

typedef struct srv_linger {
    pthread_mutex_t lock;
    struct {
        int fd;
        double until_ms;
    } sockets[SRV_LINGER_MAX];
    int n;
} srv_linger;

bool srv_linger_init(srv_linger *linger);
void srv_linger_destroy(srv_linger *linger); // closes them
// fd stays the caller's, who closes it now. always: also where nothing is unread yet.
void srv_linger_add(srv_linger *linger, int fd, bool always);
// From time to time.
void srv_linger_tick(srv_linger *linger);

#endif
