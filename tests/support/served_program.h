// SPDX-License-Identifier: MIT
// `inkling serve` as a child process, its figures, and sockets to it. For tests that need the real
// program, and for bench/serve. Whatever fails here says why on standard error.
#ifndef TESTS_SERVED_PROGRAM_H
#define TESTS_SERVED_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct served_program {
    pid_t pid;
    uint16_t port;
    int log; // file with all that it prints
} served_program;

// program NULL: INKLING_PROGRAM of the environment. args: behind "serve"; NULL-terminated; without
// a
// --port a free one is taken. Returns when its models are open.
bool served_start(served_program *served, const char *program, const char *const *args);
// Asks it to end (SIGTERM) and waits. The exit code; 128 and the signal's number where one ended
// it; -1 where a sanitizer has complained. What it printed goes to standard error unless that is 0.
int served_stop(served_program *served);
void served_kill(served_program *served); // SIGKILL, if it runs

// The first bytes that it printed, with a 0 byte.
void served_log(const served_program *served, char *out, size_t cap);
size_t served_rss_bytes(const served_program *served); // resident memory; 0: not known
unsigned served_n_fds(const served_program *served);

// A connected socket on loopback, -1: refused. Its reads end after two minutes at the latest.
int served_connect(uint16_t port);
bool served_send(int fd, const void *bytes, size_t n); // all of it; false: hung up
// Everything until the end, or as much as fits; out [cap] gets a 0 byte. Returns the bytes.
size_t served_read_all(int fd, char *out, size_t cap);
// GET on a connection of its own. The status, 0: no answer. out [cap]: head and body.
unsigned served_get(uint16_t port, const char *path, char *out, size_t cap);
// A figure of GET /metrics, summed over its labels; -1: there is none.
double served_figure(uint16_t port, const char *name);
// Waits until `condition` holds, for as long as a very slow machine might need; false: it did not.
bool served_wait_for(bool (*condition)(void *user), void *user);

#endif
