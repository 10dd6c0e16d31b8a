// SPDX-License-Identifier: MIT
#include "convert/in_file.h"

#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ink_status in_trouble(ink_error *error, const char *name, const char *verb, int code,
                             uint64_t at) {
    char words[128];
    inki_os_error_text(code, words, sizeof words);
    const ink_status status = code == ENOENT || code == ENOTDIR ? INK_E_NOT_FOUND : INK_E_IO;
    return inki_fail(error, status, name, at, "cannot be %s: %s", verb, words);
}

static bool join_path(char *out, const char *dir, const char *name) {
    const int n = snprintf(out, INKI_IN_PATH_MAX, "%s%s%s", dir != NULL ? dir : "",
                           dir != NULL ? "/" : "", name);
    return n > 0 && n < INKI_IN_PATH_MAX;
}

ink_status inki_in_open(inki_in_file *out, const char *dir, const char *name, ink_error *error) {
    char path[INKI_IN_PATH_MAX];
    struct stat st;
    inki_in_file file = {.open = true};
    const size_t n = strlen(name), skip = n > INKI_IN_NAME_MAX ? n - INKI_IN_NAME_MAX : 0;
    if ((dir != NULL && skip > 0) || !join_path(path, dir, name))
        return inki_fail(error, INK_E_LIMIT, name, 0, "the path is too long");
    memcpy(file.name, name + skip, n - skip + 1);
    // Without O_NONBLOCK the opening of a FIFO would wait for a writer.
    do file.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (file.fd < 0 && errno == EINTR);
    if (file.fd < 0) return in_trouble(error, name, "opened", errno, 0);
    ink_status status = INK_OK;
    if (fstat(file.fd, &st) != 0)
        status = in_trouble(error, name, "read", errno, 0);
    else if (!S_ISREG(st.st_mode))
        status = inki_fail(error, INK_E_IO, name, 0, "is not a regular file");
    if (status != INK_OK) {
        close(file.fd);
        return status;
    }
    file.bytes = (uint64_t)st.st_size;
    *out = file;
    return INK_OK;
}

ink_status inki_in_read(const inki_in_file *file, uint64_t at, void *to, size_t n,
                        ink_error *error) {
    if (at > file->bytes || n > file->bytes - at)
        return inki_fail(error, INK_E_IO, file->name, at,
                         "%zu bytes at %llu pass the end of the file at %llu", n,
                         (unsigned long long)at, (unsigned long long)file->bytes);
    for (size_t done = 0; done < n;) {
        const size_t most = (size_t)1 << 30;
        const ssize_t got = pread(file->fd, (char *)to + done, n - done < most ? n - done : most,
                                  (off_t)(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return in_trouble(error, file->name, "read", errno, at + done);
        if (got == 0)
            return inki_fail(error, INK_E_IO, file->name, at + done,
                             "became shorter while it was read");
        done += (size_t)got;
    }
    return INK_OK;
}

void inki_in_close(inki_in_file *file) {
    if (file->open) close(file->fd);
    *file = (inki_in_file){0};
}

ink_status inki_in_check_dir(const char *dir, ink_error *error) {
    struct stat st;
    if (stat(dir, &st) != 0) return in_trouble(error, dir, "opened", errno, 0);
    if (S_ISDIR(st.st_mode)) return INK_OK;
    return inki_fail(error, INK_E_IO, dir, 0,
                     "is not a directory, that of a Hugging Face model was expected");
}

bool inki_in_exists(const char *dir, const char *name) {
    char path[INKI_IN_PATH_MAX];
    struct stat st;
    return join_path(path, dir, name) && stat(path, &st) == 0;
}

bool inki_in_same(const char *dir, const char *name, const char *path) {
    char mine[INKI_IN_PATH_MAX];
    struct stat a, b;
    return join_path(mine, dir, name) && stat(mine, &a) == 0 && stat(path, &b) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

ink_status inki_in_load(char **data, size_t *bytes, const char *dir, const char *name,
                        size_t max_bytes, const inki_mem *mem, ink_error *error) {
    inki_in_file file = {0};
    ink_status status = inki_in_open(&file, dir, name, error);
    if (status != INK_OK) return status;
    char *text = NULL;
    const size_t n = (size_t)file.bytes;
    if (file.bytes > max_bytes) {
        status = inki_fail(error, INK_E_LIMIT, name, 0, "has %llu bytes, at most %zu are read",
                           (unsigned long long)file.bytes, max_bytes);
    } else if (n > 0) {
        text = inki_alloc(mem, n, 1);
        status = text != NULL ? inki_in_read(&file, 0, text, n, error) : inki_fail_nomem(error, n);
    }
    inki_in_close(&file);
    if (status != INK_OK) {
        inki_release(mem, text, n, 1);
        return status;
    }
    *data = text;
    *bytes = n;
    return INK_OK;
}
