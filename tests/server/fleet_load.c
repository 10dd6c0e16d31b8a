// SPDX-License-Identifier: MIT
// For fleet.sh beside it.
//   fleet_load free                        prints a port that nobody listens on
//   fleet_load streams PORT CLIENTS STOP END
//                                          streams from each client, none of them with the token
//                                          END, one after the other, until the file STOP is there;
//                                          a line for each: status, "whole" or "broken", the
//                                          server's address, why
//   fleet_load typing PORT EDITS           a typing session with so many edits; the same lines
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_load.h"

enum { MAX_CLIENTS = 64, BODY = 256 };

static struct {
    const char *stop, *end_token;
    unsigned n_edits;
    bool typing;
    char path[128];
    char bodies[MAX_CLIENTS][BODY];
} set;

static int print_free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &bytes) != 0)
        return 1;
    printf("%u\n", (unsigned)ntohs(address.sin_port));
    close(fd);
    return 0;
}

static bool next(void *user, unsigned client, unsigned index, load_request *out) {
    char *body = set.bodies[client];
    (void)user;
    out->method = "POST";
    if (set.typing) {
        if (index > set.n_edits || (index > 0 && set.path[0] == 0)) return false;
        out->path = index == 0 ? "/v1/typing" : set.path;
        snprintf(body, BODY, index == 0 ? "{}" : "{\"before\":\"Once upon %u\",\"after\":\"\"}",
                 index);
    } else {
        if (access(set.stop, F_OK) == 0) return false;
        out->path = "/v1/completions";
        snprintf(body, BODY,
                 "{\"prompt\":\"Once upon a time %u\",\"max_tokens\":80,\"n\":4,"
                 "\"stream\":true,\"logit_bias\":{\"%s\":-100}}",
                 index * MAX_CLIENTS + client, set.end_token);
    }
    out->body = body;
    out->bytes = strlen(body);
    return true;
}

static void done(void *user, unsigned client, unsigned index, const load_answer *a) {
    char servers[128] = "nobody";
    (void)user, (void)client;
    if (set.typing && index == 0) {
        const char *id = strstr(a->body, "\"typ_");
        if (id != NULL)
            snprintf(set.path, sizeof set.path, "/v1/typing/%.*s", (int)strcspn(id + 1, "\""),
                     id + 1);
    }
    // Of those that were tried, the last has answered.
    load_header(a->head, "X-Served-By", servers, sizeof servers);
    const char *last = strrchr(servers, ' ');
    printf("%u %s %s %s\n", a->status, a->complete && !a->failed_event ? "whole" : "broken",
           last != NULL ? last + 1 : servers, a->why != NULL ? a->why : "");
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "free") == 0) return print_free_port();
    load_plan plan = {.address = "127.0.0.1", .n_clients = 1, .next = next, .done = done};
    if (argc == 4 && strcmp(argv[1], "typing") == 0) {
        set.typing = true;
        set.n_edits = (unsigned)strtoul(argv[3], NULL, 10);
    } else if (argc == 6 && strcmp(argv[1], "streams") == 0) {
        plan.n_clients = (unsigned)strtoul(argv[3], NULL, 10);
        set.stop = argv[4];
        set.end_token = argv[5];
    } else {
        fputs("fleet_load: see the beginning of its source\n", stderr);
        return 2;
    }
    plan.port = (uint16_t)strtoul(argv[2], NULL, 10);
    return plan.n_clients >= 1 && plan.n_clients <= MAX_CLIENTS && load_run(&plan) ? 0 : 1;
}
