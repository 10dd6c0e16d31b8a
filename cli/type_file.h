// SPDX-License-Identifier: MIT
// The file that the editor works on.
#ifndef CLI_TYPE_FILE_H
#define CLI_TYPE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "cli/load.h"

typedef struct type_file {
    const char *path; // NULL: none
    bool exists;
    struct stat stamp; // as it was read or written last, where it exists
} type_file;

// Reads path, or nothing where there is none. A file that is no text in UTF-8, too long, or no
// file, and a name in a folder that does not exist: an exit code, told.
int type_file_read(type_file *file, const char *path, size_t max_bytes, cli_bytes *out);
// Whether somebody else has changed it since.
bool type_file_is_foreign(const type_file *file);
// The whole file or, on failure, nothing of it is changed; then the reason is in why [cap]. Its
// permissions stay, and where path is a link, the file behind it is written.
bool type_file_write(type_file *file, const char *text, size_t n, char *why, size_t cap);
// Writes to a new file in the working directory, the home or the temporary folder; its name in
// path [cap]. False: nowhere.
bool type_file_rescue(const char *text, size_t n, char *path, size_t cap);

#endif
