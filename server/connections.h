// SPDX-License-Identifier: MIT
// The open connections and what each of them is at, so that one that only holds a place loses it.
// All functions may be called from any thread.
#ifndef SERVER_CONNECTIONS_H
#define SERVER_CONNECTIONS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum srv_stage {
    SRV_STAGE_HEAD, // waits for a request, or has a part of its head
    SRV_STAGE_BODY, // the head is there
    SRV_STAGE_WORK, // the request is complete, its answer is not out
    SRV_STAGE_SHUT, // we have hung up; not closed yet
    SRV_N_STAGES
} srv_stage;

typedef struct srv_connection {
    struct srv_connection *previous, *next;
    int fd;
    srv_stage stage;
    double since_ms;
    bool linger; // the client may be sending still
} srv_connection;

typedef struct srv_connections {
    pthread_mutex_t lock;
    // Each list is in the order of since_ms.
    struct {
        srv_connection *first, *last;
    } stages[SRV_N_STAGES];
    uint32_t n[SRV_N_STAGES];
} srv_connections;

// Whether the other side has hung up, or will say no more.
bool srv_socket_is_gone(int fd);

bool srv_connections_init(srv_connections *table);
void srv_connections_destroy(srv_connections *table);

// NULL: no memory.
srv_connection *srv_connections_enter(srv_connections *table, int fd);
void srv_connections_move(srv_connections *table, srv_connection *connection, srv_stage stage);
void srv_connections_leave(srv_connections *table, srv_connection *connection);

// Hangs up on the one that has waited longest for a request, or, where none waits, on the one whose
// body takes longest. False: there is none of either.
bool srv_connections_evict(srv_connections *table);
// Hangs up on those that take longer than this.
void srv_connections_expire(srv_connections *table, uint32_t head_ms, uint32_t body_ms);
// Hangs up on clients that have gone in the middle of a request, a second ago or longer: the HTTP
// library does not hear of an end that comes together with bytes.
void srv_connections_look(srv_connections *table);
uint32_t srv_connections_n(srv_connections *table);      // without those that were hung up on
uint32_t srv_connections_n_open(srv_connections *table); // with them

#endif
