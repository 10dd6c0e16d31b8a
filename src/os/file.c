// SPDX-License-Identifier: MIT
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_ALIGN = 4 }; // weights are read as floats

static ink_status file_trouble(ink_error *error, const char *name, const char *verb, int code) {
    char words[128];
    inki_os_error_text(code, words, sizeof words);
    if (code == ENOENT || code == ENOTDIR)
        return inki_fail(error, INK_E_NOT_FOUND, name, 0, "cannot be opened: %s", words);
    return inki_fail(error, code == ENOMEM ? INK_E_NOMEM : INK_E_IO, name, 0, "cannot be %s: %s",
                     verb, words);
}

// Only regular files: of anything else (a pipe, a terminal, /dev/zero) neither the size is known
// nor whether reading ever ends.
static ink_status check_regular(int fd, const char *name, uint64_t *bytes, ink_error *error) {
    struct stat st;
    if (fstat(fd, &st) != 0) return file_trouble(error, name, "read", errno);
    if (S_ISDIR(st.st_mode))
        return inki_fail(error, INK_E_IO, name, 0, "is a directory, a file was expected");
    if (!S_ISREG(st.st_mode)) return inki_fail(error, INK_E_IO, name, 0, "is not a regular file");
    if (st.st_size <= 0) return inki_fail(error, INK_E_IO, name, 0, "the file is empty");
    *bytes = (uint64_t)st.st_size;
    return INK_OK;
}

static ink_status read_range(uint8_t *to, int fd, uint64_t offset, size_t n, const char *name,
                             ink_error *error) {
    for (size_t done = 0; done < n;) {
        const size_t most = (size_t)1 << 30; // a single read stops a little below 2 GiB anyway
        const size_t want = n - done < most ? n - done : most;
        const ssize_t got = pread(fd, to + done, want, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return file_trouble(error, name, "read", errno);
        if (got == 0)
            return inki_fail(error, INK_E_IO, name, offset + done,
                             "the file became shorter while it was read");
        done += (size_t)got;
    }
    return INK_OK;
}

static ink_status copy_range(inki_file *file, int fd, uint64_t offset, size_t n,
                             const inki_mem *mem, const char *name, ink_error *error) {
    uint8_t *heap = inki_alloc(mem, n, 1);
    if (heap == NULL) return inki_fail_nomem(error, n);
    const ink_status status = read_range(heap, fd, offset, n, name, error);
    if (status != INK_OK) {
        inki_release(mem, heap, n, 1);
        return status;
    }
    *file = (inki_file){.data = heap, .bytes = n, .heap = heap, .mem = *mem};
    return INK_OK;
}

// False with errno set when the system gives no mapping.
static bool map_range(inki_file *file, int fd, uint64_t offset, size_t n, const inki_mem *mem) {
    const long page = sysconf(_SC_PAGESIZE);
    const size_t lead = page > 0 ? (size_t)(offset % (uint64_t)page) : 0;
    if (n > SIZE_MAX - lead) {
        errno = ENOMEM;
        return false;
    }
    void *map = mmap(NULL, lead + n, PROT_READ, MAP_PRIVATE, fd, (off_t)(offset - lead));
    if (map == MAP_FAILED) return false;
    *file = (inki_file){.data = (const uint8_t *)map + lead,
                        .bytes = n,
                        .map = map,
                        .map_bytes = lead + n,
                        .mem = *mem};
    return true;
}

// *length becomes that of the range, if it was 0.
static ink_status check_range(int fd, uint64_t offset, uint64_t *length, const char *name,
                              ink_error *error) {
    uint64_t size = 0, n = *length;
    const ink_status status = check_regular(fd, name, &size, error);
    if (status != INK_OK) return status;
    if (offset > size || n > size - offset)
        return inki_fail(error, INK_E_ARG, name, offset,
                         "the range of %llu bytes at %llu passes the end of the file at %llu",
                         (unsigned long long)n, (unsigned long long)offset,
                         (unsigned long long)size);
    if (n == 0) n = size - offset;
    if (n == 0) return inki_fail(error, INK_E_IO, name, offset, "the range is empty");
    if (n > SIZE_MAX / 2)
        return inki_fail(error, INK_E_LIMIT, name, 0, "the file is too large for this machine");
    *length = n;
    return INK_OK;
}

static ink_status open_range(inki_file *out, int fd, uint64_t offset, uint64_t n, bool copy,
                             const inki_mem *mem, const char *name, ink_error *error) {
    const ink_status status = check_range(fd, offset, &n, name, error);
    if (status != INK_OK) return status;
    if (copy || offset % FILE_ALIGN != 0)
        return copy_range(out, fd, offset, (size_t)n, mem, name, error);
    if (map_range(out, fd, offset, (size_t)n, mem)) return INK_OK;
    if (errno == ENODEV)
        return copy_range(out, fd, offset, (size_t)n, mem, name, error); // a file system without
    return file_trouble(error, name, "mapped", errno);
}

static ink_status open_file(int *fd, const char *path, ink_error *error) {
    // Without O_NONBLOCK the opening of a FIFO would wait for a writer.
    do *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (*fd < 0 && errno == EINTR);
    return *fd < 0 ? file_trouble(error, path, "opened", errno) : INK_OK;
}

ink_status inki_os_open_path(inki_file *out, const char *path, bool copy, const inki_mem *mem,
                             ink_error *error) {
    int fd;
    ink_status status = open_file(&fd, path, error);
    if (status != INK_OK) return status;
    status = open_range(out, fd, 0, 0, copy, mem, path, error);
    close(fd);
    return status;
}

ink_status inki_os_open_fd(inki_file *out, int fd, uint64_t offset, uint64_t n, bool copy,
                           const inki_mem *mem, ink_error *error) {
    return open_range(out, fd, offset, n, copy, mem, "file descriptor", error);
}

void inki_os_close(inki_file *file) {
    if (file->map != NULL) munmap(file->map, file->map_bytes);
    if (file->heap != NULL) inki_release(&file->mem, file->heap, file->bytes, 1);
    *file = (inki_file){0};
}

void inki_os_forget_pages(const inki_file *file) {
    if (file->map != NULL) madvise(file->map, file->map_bytes, MADV_DONTNEED);
}

// --- piece by piece ------------------------------------------------------------------------------

ink_status inki_input_open(inki_input *in, ink_error *error) {
    ink_status status = INK_OK;
    if (in->path != NULL) status = open_file(&in->fd, in->path, error);
    if (status == INK_OK && in->memory == NULL)
        status = check_range(in->fd, in->offset, &in->bytes, in->name, error);
    if (status != INK_OK) inki_input_close(in);
    return status;
}

ink_status inki_input_read(const inki_input *in, uint64_t at, void *to, size_t n,
                           ink_error *error) {
    if (in->memory == NULL) return read_range(to, in->fd, in->offset + at, n, in->name, error);
    memcpy(to, in->memory + at, n);
    return INK_OK;
}

void inki_input_close(inki_input *in) {
    if (in->path != NULL && in->fd >= 0) close(in->fd);
    in->fd = -1;
}
