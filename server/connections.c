// SPDX-License-Identifier: MIT
#include "server/connections.h"

#include "server/app.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { FORSAKEN_MS = 1000 };

bool srv_connections_init(srv_connections *table) {
    memset(table, 0, sizeof *table);
    return pthread_mutex_init(&table->lock, NULL) == 0;
}

void srv_connections_destroy(srv_connections *table) { pthread_mutex_destroy(&table->lock); }

static void unlink_one(srv_connections *table, srv_connection *one) {
    if (one->previous != NULL)
        one->previous->next = one->next;
    else
        table->stages[one->stage].first = one->next;
    if (one->next != NULL)
        one->next->previous = one->previous;
    else
        table->stages[one->stage].last = one->previous;
    table->n[one->stage]--;
}

static void append(srv_connections *table, srv_connection *one, srv_stage stage) {
    one->stage = stage;
    one->since_ms = srv_now_ms();
    one->next = NULL;
    one->previous = table->stages[stage].last;
    if (one->previous != NULL)
        one->previous->next = one;
    else
        table->stages[stage].first = one;
    table->stages[stage].last = one;
    table->n[stage]++;
}

srv_connection *srv_connections_enter(srv_connections *table, int fd) {
    srv_connection *one = calloc(1, sizeof *one);
    if (one == NULL) return NULL;
    one->fd = fd;
    pthread_mutex_lock(&table->lock);
    append(table, one, SRV_STAGE_HEAD);
    pthread_mutex_unlock(&table->lock);
    return one;
}

void srv_connections_move(srv_connections *table, srv_connection *one, srv_stage stage) {
    pthread_mutex_lock(&table->lock);
    if (one->stage != SRV_STAGE_SHUT) {
        unlink_one(table, one);
        append(table, one, stage);
    }
    pthread_mutex_unlock(&table->lock);
}

void srv_connections_leave(srv_connections *table, srv_connection *one) {
    pthread_mutex_lock(&table->lock);
    unlink_one(table, one);
    pthread_mutex_unlock(&table->lock);
    free(one);
}

// Under the lock, which srv_connections_leave waits for: until then the number is that of this
// socket. The HTTP thread sees the end of the stream and closes it.
static void hang_up(srv_connections *table, srv_connection *one) {
    unlink_one(table, one);
    append(table, one, SRV_STAGE_SHUT);
    shutdown(one->fd, SHUT_RDWR);
}

bool srv_connections_evict(srv_connections *table) {
    pthread_mutex_lock(&table->lock);
    // Half of a body holds its place longer than half of a head, and is worth as little.
    srv_connection *oldest = table->stages[SRV_STAGE_HEAD].first;
    if (oldest == NULL) oldest = table->stages[SRV_STAGE_BODY].first;
    if (oldest != NULL) hang_up(table, oldest);
    pthread_mutex_unlock(&table->lock);
    return oldest != NULL;
}

static void expire_stage(srv_connections *table, srv_stage stage, double before_ms) {
    srv_connection *one;
    while ((one = table->stages[stage].first) != NULL && one->since_ms < before_ms)
        hang_up(table, one);
}

void srv_connections_expire(srv_connections *table, uint32_t head_ms, uint32_t body_ms) {
    const double now = srv_now_ms();
    pthread_mutex_lock(&table->lock);
    expire_stage(table, SRV_STAGE_HEAD, now - head_ms);
    expire_stage(table, SRV_STAGE_BODY, now - body_ms);
    pthread_mutex_unlock(&table->lock);
}

bool srv_socket_is_gone(int fd) {
    struct pollfd one = {.fd = fd, .events = POLLRDHUP};
    return poll(&one, 1, 0) > 0 && (one.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void srv_connections_look(srv_connections *table) {
    const double before_ms = srv_now_ms() - FORSAKEN_MS;
    pthread_mutex_lock(&table->lock);
    for (int stage = SRV_STAGE_HEAD; stage <= SRV_STAGE_BODY; stage++) {
        srv_connection *one = table->stages[stage].first;
        while (one != NULL && one->since_ms < before_ms) {
            srv_connection *next = one->next;
            if (srv_socket_is_gone(one->fd)) hang_up(table, one);
            one = next;
        }
    }
    pthread_mutex_unlock(&table->lock);
}

uint32_t srv_connections_n(srv_connections *table) {
    pthread_mutex_lock(&table->lock);
    uint32_t n = 0;
    for (int stage = 0; stage < SRV_STAGE_SHUT; stage++) n += table->n[stage];
    pthread_mutex_unlock(&table->lock);
    return n;
}

uint32_t srv_connections_n_open(srv_connections *table) {
    pthread_mutex_lock(&table->lock);
    uint32_t n = 0;
    for (int stage = 0; stage < SRV_N_STAGES; stage++) n += table->n[stage];
    pthread_mutex_unlock(&table->lock);
    return n;
}
