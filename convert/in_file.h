// SPDX-License-Identifier: MIT
// Input files that are read in pieces: a weight file may be larger than memory, and unlike a
// mapping a read notices when somebody shortens the file.
#ifndef INKI_CONVERT_IN_FILE_H
#define INKI_CONVERT_IN_FILE_H

#include "base/error.h"
#include "base/mem.h"

enum { INKI_IN_PATH_MAX = 4096, INKI_IN_NAME_MAX = 255 };

typedef struct inki_in_file {
    int fd; // open when `open`
    bool open;
    uint64_t bytes;
    // For messages: the name inside its directory; without one the path, or the end of a long one.
    char name[INKI_IN_NAME_MAX + 1];
} inki_in_file;

// dir/name must be a regular file; dir NULL, here and below: name is a path. Errors:
// INK_E_NOT_FOUND, INK_E_IO, INK_E_LIMIT (path too long).
ink_status inki_in_open(inki_in_file *out, const char *dir, const char *name, ink_error *error);
// Exactly n bytes at `at`. Errors: INK_E_IO (also when the file has become shorter).
ink_status inki_in_read(const inki_in_file *file, uint64_t at, void *to, size_t n,
                        ink_error *error);
void inki_in_close(inki_in_file *file); // zeroed and closed ones are allowed

// INK_OK if dir is a directory; else INK_E_NOT_FOUND or INK_E_IO, the message names it.
ink_status inki_in_check_dir(const char *dir, ink_error *error);
// Whether dir/name is there, whatever it is.
bool inki_in_exists(const char *dir, const char *name);
// Whether dir/name and path are one file.
bool inki_in_same(const char *dir, const char *name, const char *path);

// The whole of dir/name, released with inki_release(mem, *data, *bytes, 1); an empty file gives
// NULL. Errors: those of inki_in_open, INK_E_LIMIT (over max_bytes), INK_E_NOMEM.
ink_status inki_in_load(char **data, size_t *bytes, const char *dir, const char *name,
                        size_t max_bytes, const inki_mem *mem, ink_error *error);

#endif
