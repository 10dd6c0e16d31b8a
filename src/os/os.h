// SPDX-License-Identifier: MIT
// All that the engine asks of the operating system: files, time, processors, randomness. Threads
// are in os/pool.h.
#ifndef INKI_OS_H
#define INKI_OS_H

#include "base/error.h"
#include "base/mem.h"

// Bytes of a file: a read-only mapping, or a copy in memory.
typedef struct inki_file {
    const uint8_t *data;
    size_t bytes;
    void *map; // what was mapped (page-aligned, may start before data); NULL: not a mapping
    size_t map_bytes;
    void *heap;   // the copy; NULL: none
    inki_mem mem; // where the copy came from
} inki_file;

// Opens path, a regular file: pipes and devices are refused, and never waited for.
// copy: read it into memory instead of mapping it.
// Errors: INK_E_NOT_FOUND, INK_E_IO (a directory, not a regular file, no permission, empty, read
// failed), INK_E_LIMIT (larger than the address space), INK_E_NOMEM.
ink_status inki_os_open_path(inki_file *out, const char *path, bool copy, const inki_mem *mem,
                             ink_error *error);
// bytes [offset, offset + n) of fd; n 0: to the end. The fd stays the caller's and may be closed
// after. A range whose first byte is not at a multiple of 4 is copied, since weights are read as
// floats. Errors: as above; INK_E_ARG when the range passes the end of the file.
ink_status inki_os_open_fd(inki_file *out, int fd, uint64_t offset, uint64_t n, bool copy,
                           const inki_mem *mem, ink_error *error);
void inki_os_close(inki_file *file); // zeroed and closed files are allowed
// The memory of a mapping goes back to the system, which reads the file again where it is used.
// Any thread, also while others read; without effect on copies.
void inki_os_forget_pages(const inki_file *file);

// A file that is read piece by piece: whoever shrinks it meanwhile causes an error, where a mapping
// would kill the process. Filled by the caller: path, or an fd that stays his, or memory.
typedef struct inki_input {
    const char *path, *name; // name: for errors
    int fd;                  // of path: -1
    const uint8_t *memory;   // [bytes]
    uint64_t offset;         // of the fd: the first byte
    uint64_t bytes;          // of the fd: 0 for all; known behind inki_input_open
} inki_input;
// Errors: those of inki_os_open_fd.
ink_status inki_input_open(inki_input *in, ink_error *error);
// bytes [at, at + n), which are among `bytes`. Any thread. Errors: INK_E_IO.
ink_status inki_input_read(const inki_input *in, uint64_t at, void *to, size_t n, ink_error *error);
void inki_input_close(inki_input *in); // also after a failure; twice is allowed

double inki_os_now_ms(void);   // monotonic
uint32_t inki_os_n_cpus(void); // processors that this process may use, at least 1
// Memory and swap space of the whole machine in bytes, or the limit of the process's container
// where that is less; 0: not known.
uint64_t inki_os_memory_bytes(void);
uint64_t inki_os_random(void); // for seeds, not for secrets
int64_t inki_os_pid(void);     // to notice a fork
// Memory that is about to be written, whose pages may never have been: the system gives them all at
// once, where each would be a fault of its own. The bytes stay as they are. A hint.
void inki_os_touch(void *memory, size_t bytes);
// What an errno means, in English whatever the locale; 0-terminated, cut to cap.
void inki_os_error_text(int code, char *out, size_t cap);

// A file that appears under its name only when it is whole: written beside it under a temporary
// name (same folder, mode 0666 less the umask), flushed to disk and renamed. What a process that
// was killed leaves of it is taken away by the next one that writes the same file. A symbolic link stays
// one: the file behind it is replaced, or made. What exists and is no regular file (/dev/full,
// /dev/stdout, a pipe) is written in place, piece by piece, so that its errors are seen. An
// existing file without the right to write is refused.
typedef struct inki_out {
    int fd; // -1: not open
    uint64_t at;
    char *path, *temporary; // from mem; temporary NULL: written in place
    inki_mem mem;
} inki_out;
// Errors: INK_E_IO (folder missing, no permission, a directory; message has the system's words),
// INK_E_NOMEM.
ink_status inki_out_open(inki_out *out, const char *path, const inki_mem *mem, ink_error *error);
// Errors: INK_E_IO ("no space left on device" and the like). After a failure only discard is
// useful.
ink_status inki_out_write(inki_out *out, const void *data, size_t bytes, ink_error *error);
// Overwrites bytes already written, for a header whose values come last. Not in a pipe.
ink_status inki_out_write_at(inki_out *out, uint64_t at, const void *data, size_t bytes,
                             ink_error *error);
ink_status inki_out_commit(inki_out *out,
                           ink_error *error); // closes; on failure the temporary is gone
void inki_out_discard(
    inki_out *out); // closes and removes the temporary; zeroed and finished ones are allowed

#endif
