// SPDX-License-Identifier: MIT
#include "served_program.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_ARGS = 32, PAUSE_MS = 5, FOREVER_MS = 240000 };

static bool complain(const char *what) {
    fprintf(stderr, "served: %s: %s\n", what, strerror(errno));
    return false;
}

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

bool served_wait_for(bool (*condition)(void *user), void *user) {
    const double end = now_ms() + FOREVER_MS;
    while (!condition(user)) {
        if (now_ms() > end) return false;
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
    }
    return true;
}

// --- the process ---------------------------------------------------------------------------------

void served_log(const served_program *s, char *out, size_t cap) {
    const ssize_t n = pread(s->log, out, cap - 1, 0);
    out[n > 0 ? n : 0] = 0;
}

static int open_log(void) {
    char path[4096];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/inkling-served-XXXXXX", folder != NULL ? folder : "/tmp");
    const int fd = mkstemp(path);
    if (fd >= 0) unlink(path);
    return fd;
}

static bool spawn_program(served_program *s, const char *program, const char *const *args) {
    const char *argv[MAX_ARGS] = {program, "serve"};
    size_t n = 2;
    bool has_port = false;
    for (; *args != NULL && n < MAX_ARGS - 3; args++) {
        has_port = has_port || strcmp(*args, "--port") == 0;
        argv[n++] = *args;
    }
    if (!has_port) {
        argv[n++] = "--port";
        argv[n++] = "0";
    }
    const pid_t parent = getpid();
    s->pid = fork();
    if (s->pid < 0) return complain("fork");
    if (s->pid > 0) return true;
    // A test that dies leaves no server behind.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(s->log, STDOUT_FILENO);
    dup2(s->log, STDERR_FILENO);
    // execv changes none of the words.
    execv(program, (char *const *)(uintptr_t)argv);
    complain(program);
    _exit(127);
}

static bool has_ended(const served_program *s) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

// Its address stands in what it prints.
static bool is_open(void *user) {
    served_program *s = user;
    char text[4096];
    if (has_ended(s)) return true;
    if (s->port == 0) {
        served_log(s, text, sizeof text);
        const char *at = strstr(text, "http://127.0.0.1:");
        if (at == NULL || strchr(at, '\n') == NULL) return false;
        s->port = (uint16_t)strtoul(at + strlen("http://127.0.0.1:"), NULL, 10);
    }
    return s->port != 0 && served_get(s->port, "/health", text, sizeof text) == 200;
}

bool served_start(served_program *s, const char *program, const char *const *args) {
    if (program == NULL) program = getenv("INKLING_PROGRAM");
    *s = (served_program){.log = open_log()};
    if (program == NULL || s->log < 0) return complain("no INKLING_PROGRAM, or no scratch file");
    if (!spawn_program(s, program, args)) return false;
    if (served_wait_for(is_open, s) && !has_ended(s)) return true;
    char text[4096];
    served_log(s, text, sizeof text);
    fprintf(stderr, "served: the server did not begin:\n%s", text);
    served_kill(s);
    return false;
}

static bool ended(void *user) { return has_ended(user); }

int served_stop(served_program *s) {
    int status = 0;
    char text[65536];
    if (s->pid == 0) return -1;
    kill(s->pid, SIGTERM);
    if (!served_wait_for(ended, s)) {
        fprintf(stderr, "served: SIGTERM does not end the server\n");
        kill(s->pid, SIGKILL);
    }
    while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR) {}
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    served_log(s, text, sizeof text);
    if (strstr(text, "Sanitizer") != NULL || strstr(text, "runtime error") != NULL) code = -1;
    if (code != 0) fprintf(stderr, "served: exit code %d, it printed:\n%s", code, text);
    close(s->log);
    *s = (served_program){.log = -1};
    return code;
}

void served_kill(served_program *s) {
    if (s->pid == 0) return;
    kill(s->pid, SIGKILL);
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR) {}
    close(s->log);
    *s = (served_program){.log = -1};
}

size_t served_rss_bytes(const served_program *s) {
    char path[64];
    unsigned long all = 0, resident = 0;
    snprintf(path, sizeof path, "/proc/%ld/statm", (long)s->pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    const int n = fscanf(file, "%lu %lu", &all, &resident);
    fclose(file);
    return n == 2 ? resident * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

unsigned served_n_fds(const served_program *s) {
    char path[64];
    unsigned n = 0;
    snprintf(path, sizeof path, "/proc/%ld/fd", (long)s->pid);
    DIR *folder = opendir(path);
    if (folder == NULL) return 0;
    for (const struct dirent *e; (e = readdir(folder)) != NULL;) n += e->d_name[0] != '.';
    closedir(folder);
    return n;
}

// --- sockets -------------------------------------------------------------------------------------

int served_connect(uint16_t port) {
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const struct timeval patience = {.tv_sec = 120};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) return fd;
    close(fd);
    return -1;
}

bool served_send(int fd, const void *bytes, size_t n) {
    const char *at = bytes;
    while (n > 0) {
        const ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

size_t served_read_all(int fd, char *out, size_t cap) {
    size_t n = 0;
    while (n + 1 < cap) {
        const ssize_t got = recv(fd, out + n, cap - 1 - n, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        n += (size_t)got;
    }
    out[n] = 0;
    return n;
}

unsigned served_get(uint16_t port, const char *path, char *out, size_t cap) {
    char request[512];
    const int fd = served_connect(port);
    out[0] = 0;
    if (fd < 0) return 0;
    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n\r\n", path,
             (unsigned)port);
    if (served_send(fd, request, strlen(request))) served_read_all(fd, out, cap);
    close(fd);
    return strncmp(out, "HTTP/1.1 ", 9) == 0 ? (unsigned)strtoul(out + 9, NULL, 10) : 0;
}

double served_figure(uint16_t port, const char *name) {
    char text[65536];
    double sum = 0;
    bool found = false;
    if (served_get(port, "/metrics", text, sizeof text) != 200) return -1;
    const size_t n = strlen(name);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, name, n) != 0 || (line[n] != ' ' && line[n] != '{')) continue;
        const char *value = line[n] == '{' ? strchr(line, '}') : line + n;
        if (value == NULL) continue;
        sum += strtod(value + 1, NULL);
        found = true;
    }
    return found ? sum : -1;
}
