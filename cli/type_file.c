// SPDX-License-Identifier: MIT
#include "cli/type_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/report.h"
#include "cli/text.h"

static int check_utf8(const char *path, const cli_bytes *bytes) {
    uint32_t c;
    for (size_t at = 0, length; at < bytes->n; at += length) {
        length = cli_text_decode(bytes->data + at, bytes->n - at, &c);
        if (length == 0)
            return cli_fail(CLI_FILE, "%s: byte %zu is not UTF-8, a text in UTF-8 was expected",
                            path, at);
    }
    return CLI_OK;
}

// A name for a new file: what it is to stand in must be there, or saving would fail at the end.
static int check_folder(const char *path) {
    struct stat st;
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) return CLI_OK;
    char *folder = strndup(path, (size_t)(slash - path));
    if (folder == NULL) return cli_fail_memory();
    const int code = stat(folder, &st) != 0 ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
    free(folder);
    if (code != 0) return cli_fail(CLI_FILE, "%s: cannot be written: %s", path, strerror(code));
    return CLI_OK;
}

int type_file_read(type_file *file, const char *path, size_t max_bytes, cli_bytes *out) {
    *file = (type_file){.path = path};
    *out = (cli_bytes){0};
    if (path == NULL) return CLI_OK;
    if (path[0] == 0 || path[strlen(path) - 1] == '/')
        return cli_fail(CLI_FILE, "%s: the name of a file was expected", path);
    if (stat(path, &file->stamp) != 0) {
        if (errno != ENOENT) return cli_fail(CLI_FILE, "%s: %s", path, strerror(errno));
        return check_folder(path);
    }
    if (!S_ISREG(file->stamp.st_mode)) return cli_fail(CLI_FILE, "%s: is not a regular file", path);
    file->exists = true;
    int code = cli_read_file(path, max_bytes, "the text", out);
    if (code == CLI_OK) code = check_utf8(path, out);
    if (code != CLI_OK) {
        free(out->data);
        *out = (cli_bytes){0};
    }
    return code;
}

static bool same_time(const struct stat *a, const struct stat *b) {
#ifdef __APPLE__
    return a->st_mtimespec.tv_sec == b->st_mtimespec.tv_sec &&
           a->st_mtimespec.tv_nsec == b->st_mtimespec.tv_nsec;
#else
    return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
#endif
}

bool type_file_is_foreign(const type_file *file) {
    struct stat now;
    if (file->path == NULL) return false;
    // One that has gone can be written without harm.
    if (stat(file->path, &now) != 0) return false;
    if (!file->exists) return true;
    return now.st_ino != file->stamp.st_ino || now.st_size != file->stamp.st_size ||
           !same_time(&now, &file->stamp);
}

static bool write_all(int fd, const char *text, size_t n) {
    while (n > 0) {
        const ssize_t put = write(fd, text, n);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            if (put == 0) errno = ENOSPC;
            return false;
        }
        text += put;
        n -= (size_t)put;
    }
    return true;
}

// Writes and closes; what cannot be synchronised at all is no failure.
static bool finish(int fd, const char *text, size_t n) {
    int code = write_all(fd, text, n) ? 0 : errno;
    while (code == 0 && fsync(fd) != 0)
        if (errno != EINTR) {
            if (errno != EINVAL && errno != ENOTSUP) code = errno;
            break;
        }
    if (close(fd) != 0 && errno != EINTR && code == 0) code = errno;
    errno = code;
    return code == 0;
}

static void sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    const int fd = folder != NULL ? open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY) : -1;
    free(folder);
    if (fd < 0) return;
    (void)fsync(fd); // the file is whole either way
    close(fd);
}

// Where the file has permissions and an owner already, the new one gets them.
static bool keep_mode(int fd, const char *target) {
    struct stat st;
    if (stat(target, &st) != 0) {
        const mode_t mask = umask(0);
        umask(mask);
        return fchmod(fd, 0666 & ~mask) == 0;
    }
    if (st.st_uid != geteuid() || st.st_gid != getegid()) {
        const int refused = fchown(fd, st.st_uid, st.st_gid);
        (void)refused; // only root may; the text matters more
    }
    return fchmod(fd, st.st_mode & 07777) == 0;
}

static bool replace(const char *target, const char *text, size_t n) {
    // A rename needs no right to write to the file it replaces; who made it read-only meant it.
    if (access(target, W_OK) != 0 && errno != ENOENT) return false;
    const size_t cap = strlen(target) + 32;
    const char *slash = strrchr(target, '/');
    const int folder = slash == NULL ? 0 : (int)(slash - target) + 1;
    char *name = malloc(cap);
    if (name == NULL) return false;
    snprintf(name, cap, "%.*s.inkling-XXXXXX", folder, target);
    const int fd = mkstemp(name);
    bool done = false;
    if (fd >= 0) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        int code = keep_mode(fd, target) ? 0 : errno;
        if (!finish(fd, text, n) && code == 0) code = errno;
        if (code == 0 && rename(name, target) != 0) code = errno;
        done = code == 0;
        if (done)
            sync_folder(target);
        else
            unlink(name);
        errno = code;
    }
    const int code = errno;
    free(name);
    errno = code;
    return done;
}

bool type_file_write(type_file *file, const char *text, size_t n, char *why, size_t cap) {
    char *target = realpath(file->path, NULL);
    bool done = false;
    struct stat link;
    if (target != NULL || errno != ENOENT) {
        done = target != NULL && replace(target, text, n);
    } else if (lstat(file->path, &link) == 0) {
        errno = ENOENT; // a link to nothing: replacing the link would not be what it says
    } else {
        done = replace(file->path, text, n);
    }
    if (!done) snprintf(why, cap, "%s: cannot be written: %s", file->path, strerror(errno));
    free(target);
    if (done) file->exists = stat(file->path, &file->stamp) == 0;
    return done;
}

bool type_file_rescue(const char *text, size_t n, char *path, size_t cap) {
    const char *const folders[] = {".", getenv("HOME"), getenv("TMPDIR"), "/tmp"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        if (folders[i] == NULL) continue;
        const int length = snprintf(path, cap, "%s/inkling-type-XXXXXX", folders[i]);
        if (length < 0 || (size_t)length >= cap) continue;
        const int fd = mkstemp(path);
        if (fd < 0) continue;
        if (finish(fd, text, n)) return true;
        unlink(path);
    }
    return false;
}
