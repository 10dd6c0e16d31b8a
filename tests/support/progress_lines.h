// SPDX-License-Identifier: MIT
// What the program tells on a machine that is slow: how far it is, line by line, where standard
// error is no terminal. No test may hang on whether it is told.
#ifndef TESTS_PROGRESS_LINES_H
#define TESTS_PROGRESS_LINES_H

#include <stddef.h>
#include <string.h>

// Takes lines such as "merging: 20%, 0:03 left" out of the text.
static inline void drop_progress_lines(char *text) {
    char *to = text;
    for (char *line = text; *line != 0;) {
        char *end = strchr(line, '\n');
        const size_t n = end != NULL ? (size_t)(end + 1 - line) : strlen(line);
        const size_t words = strspn(line, "abcdefghijklmnopqrstuvwxyz ");
        const size_t digits = line[words] == ':' && line[words + 1] == ' '
                                  ? strspn(line + words + 2, "0123456789")
                                  : 0;
        if (words == 0 || digits == 0 || strncmp(line + words + 2 + digits, "%, ", 3) != 0) {
            memmove(to, line, n);
            to += n;
        }
        line += n;
    }
    *to = 0;
}

#endif
