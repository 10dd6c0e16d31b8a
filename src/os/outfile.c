// SPDX-License-Identifier: MIT
//
// A temporary file has a name that follows from its target's, and its writer holds a lock on it. So
// the next writer knows one whose writer was killed and takes it away: in a folder where processes
// are killed day by day there is one at most for each file. Who finds the name taken by a writer
// that lives, or by anything else, takes a name by chance.
#include "os/os.h"

#include "base/checksum.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUT_MAX_LINKS = 40, OUT_MAX_TRIES = 100, OUT_PATH_MAX = 4096 };

static ink_status out_trouble(ink_error *error, const char *path, const char *verb, int code,
                              uint64_t at) {
    char words[128];
    inki_os_error_text(code, words, sizeof words);
    return inki_fail(error, INK_E_IO, path, at, "cannot be %s: %s", verb, words);
}

static size_t folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? (size_t)(slash - path) + 1 : 0;
}

// Follows symbolic links at the end of path [OUT_PATH_MAX], also to a file that is not there yet:
// a rename onto the link would replace the link instead of the file behind it. 0 or an errno.
static int follow_links(char *path) {
    for (int i = 0; i <= OUT_MAX_LINKS; i++) {
        struct stat st;
        char link[OUT_PATH_MAX];
        if (lstat(path, &st) != 0) return errno == ENOENT ? 0 : errno;
        if (!S_ISLNK(st.st_mode)) return 0;
        const ssize_t got = readlink(path, link, sizeof link);
        if (got < 0) return errno;
        const size_t keep = got > 0 && link[0] == '/' ? 0 : folder_length(path);
        if (keep + (size_t)got >= OUT_PATH_MAX) return ENAMETOOLONG;
        memcpy(path + keep, link, (size_t)got);
        path[keep + (size_t)got] = 0;
    }
    return ELOOP;
}

static char *copy_text(const inki_mem *mem, const char *text, size_t n) {
    char *copy = inki_alloc(mem, n + 1, 1);
    if (copy == NULL) return NULL;
    memcpy(copy, text, n);
    copy[n] = 0;
    return copy;
}

static void drop_texts(inki_out *out) {
    if (out->path != NULL) inki_release(&out->mem, out->path, strlen(out->path) + 1, 1);
    if (out->temporary != NULL)
        inki_release(&out->mem, out->temporary, strlen(out->temporary) + 1, 1);
    *out = (inki_out){.fd = -1};
}

static int open_retry(const char *path, int flags) {
    int fd;
    do fd = open(path, flags | O_WRONLY | O_CLOEXEC | O_NOCTTY, 0666);
    while (fd < 0 && errno == EINTR);
    return fd;
}

// Decides what to write to: sets *through for what must be written in place, else leaves in
// target [OUT_PATH_MAX] the name to rename to.
static ink_status find_target(char *target, bool *through, const char *path, ink_error *error) {
    struct stat st, end;
    const size_t n = strlen(path);
    if (n == 0)
        return inki_fail(error, INK_E_IO, "output", 0, "the name of the file to write is empty");
    if (n >= OUT_PATH_MAX) return out_trouble(error, path, "written", ENAMETOOLONG, 0);
    memcpy(target, path, n + 1);
    const bool exists = stat(path, &st) == 0;
    if (!exists && errno != ENOENT) return out_trouble(error, path, "written", errno, 0);
    if (path[n - 1] == '/' || (exists && S_ISDIR(st.st_mode)))
        return inki_fail(error, INK_E_IO, path, 0,
                         "is a directory, the name of a file to write was expected");
    *through = exists && !S_ISREG(st.st_mode);
    if (*through) return INK_OK;
    const int code = follow_links(target);
    if (code != 0) return out_trouble(error, path, "written", code, 0);
    // Links of /proc may end in text that is no path to the file (one that was deleted, say).
    if (exists && (stat(target, &end) != 0 || end.st_dev != st.st_dev || end.st_ino != st.st_ino)) {
        *through = true;
        return INK_OK;
    }
    // A rename needs no right to write to the file it replaces; users who made it read-only meant
    // it.
    if (exists && faccessat(AT_FDCWD, target, W_OK, AT_EACCESS) != 0)
        return out_trouble(error, path, "written", errno, 0);
    return INK_OK;
}

// Whether the name is still that of the open file.
static bool is_named(int fd, const char *name, struct stat *st) {
    struct stat named;
    return fstat(fd, st) == 0 && lstat(name, &named) == 0 && st->st_dev == named.st_dev &&
           st->st_ino == named.st_ino;
}

// Only a file that we may have made ourselves: in a folder of many users anybody takes the name.
static void remove_leftover(const char *name) {
    struct stat st;
    const int fd = open_retry(name, O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && is_named(fd, name, &st) && S_ISREG(st.st_mode) &&
        st.st_uid == geteuid())
        unlink(name);
    close(fd);
}

// False where somebody locked it first, who takes it for a leftover. Where nobody can lock files
// nobody does.
static bool keep_from_removal(int fd, const char *name) {
    struct stat st;
    return (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) && is_named(fd, name, &st);
}

// A short name and not the target's with a suffix: that could be longer than allowed.
static ink_status open_temporary(inki_out *out, ink_error *error) {
    const size_t folder = folder_length(out->path), cap = folder + 40;
    char name[OUT_PATH_MAX + 40];
    const char *target = out->path + folder;
    uint64_t number = inki_checksum_of(target, strlen(target));
    memcpy(name, out->path, folder);
    for (int i = 0; i < OUT_MAX_TRIES; i++) {
        snprintf(name + folder, cap - folder, ".inkling-%016" PRIx64 ".tmp", number);
        if (i == 0) remove_leftover(name);
        out->fd = open_retry(name, O_CREAT | O_EXCL);
        if (out->fd >= 0 ? keep_from_removal(out->fd, name) : errno != EEXIST) break;
        if (out->fd >= 0) close(out->fd);
        out->fd = -1;
        number = inki_os_random();
    }
    if (out->fd < 0) return out_trouble(error, out->path, "written", errno, 0);
    out->temporary = copy_text(&out->mem, name, strlen(name));
    if (out->temporary != NULL) return INK_OK;
    unlink(name);
    return inki_fail_nomem(error, strlen(name) + 1);
}

ink_status inki_out_open(inki_out *out, const char *path, const inki_mem *mem, ink_error *error) {
    char target[OUT_PATH_MAX];
    bool through = false;
    ink_status status = find_target(target, &through, path, error);
    if (status != INK_OK) return status;
    inki_out made = {.fd = -1, .mem = *mem};
    const char *name = through ? path : target;
    made.path = copy_text(mem, name, strlen(name));
    if (made.path == NULL) return inki_fail_nomem(error, strlen(name) + 1);
    if (!through) {
        status = open_temporary(&made, error);
    } else {
        made.fd = open_retry(path, O_TRUNC);
        if (made.fd < 0) status = out_trouble(error, path, "written", errno, 0);
    }
    if (status != INK_OK) {
        if (made.fd >= 0) close(made.fd);
        drop_texts(&made);
        return status;
    }
    *out = made;
    return INK_OK;
}

static ink_status not_open(ink_error *error) {
    return inki_fail(error, INK_E_ARG, "output", 0, "the file is not open");
}

// position: UINT64_MAX for "where the file is".
static ink_status write_all(inki_out *out, uint64_t position, const void *data, size_t n,
                            ink_error *error) {
    const uint8_t *from = data;
    for (size_t done = 0; done < n;) {
        const size_t most = (size_t)1 << 30;
        const size_t want = n - done < most ? n - done : most;
        const ssize_t put = position == UINT64_MAX
                                ? write(out->fd, from + done, want)
                                : pwrite(out->fd, from + done, want, (off_t)(position + done));
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            const uint64_t at = (position == UINT64_MAX ? out->at : position) + done;
            return out_trouble(error, out->path, "written", put < 0 ? errno : ENOSPC, at);
        }
        done += (size_t)put;
    }
    return INK_OK;
}

ink_status inki_out_write(inki_out *out, const void *data, size_t bytes, ink_error *error) {
    if (out->path == NULL || out->fd < 0) return not_open(error);
    const ink_status status = write_all(out, UINT64_MAX, data, bytes, error);
    if (status == INK_OK) out->at += bytes;
    return status;
}

ink_status inki_out_write_at(inki_out *out, uint64_t at, const void *data, size_t bytes,
                             ink_error *error) {
    if (out->path == NULL || out->fd < 0) return not_open(error);
    if (at > out->at || bytes > out->at - at)
        return inki_fail(error, INK_E_ARG, out->path, at,
                         "only bytes already written can be overwritten");
    return write_all(out, at, data, bytes, error);
}

// The rename itself is safe on disk only with the folder. Not every file system lets a folder be
// synchronised, and the file is whole either way, so a failure here is none.
static void sync_folder(const char *path) {
    char folder[OUT_PATH_MAX];
    size_t n = folder_length(path);
    if (n == 0)
        folder[n++] = '.';
    else
        memcpy(folder, path, n);
    folder[n] = 0;
    const int fd = open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

ink_status inki_out_commit(inki_out *out, ink_error *error) {
    if (out->path == NULL || out->fd < 0) return not_open(error);
    int code = 0, result;
    do result = fsync(out->fd);
    while (result != 0 && errno == EINTR);
    if (result != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS)
        code = errno; // pipes and devices cannot
    // What closing says is waited for, and yet the lock is to be held until the rename.
    const int lock = out->temporary != NULL ? fcntl(out->fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (close(out->fd) != 0 && errno != EINTR && code == 0)
        code = errno; // after EINTR it is closed as well
    out->fd = -1;
    if (code == 0 && out->temporary != NULL && rename(out->temporary, out->path) != 0) code = errno;
    if (lock >= 0) close(lock);
    ink_status status = INK_OK;
    if (code != 0) {
        status = out_trouble(error, out->path, "written", code, out->at);
        if (out->temporary != NULL) unlink(out->temporary);
    } else if (out->temporary != NULL) {
        sync_folder(out->path);
    }
    drop_texts(out);
    return status;
}

void inki_out_discard(inki_out *out) {
    // One that is zeroed and was never opened must not close descriptor 0.
    if (out->path == NULL) return;
    if (out->fd >= 0) close(out->fd);
    if (out->temporary != NULL) unlink(out->temporary);
    drop_texts(out);
}
