// SPDX-License-Identifier: MIT
// A host program around the lines of README.md, which tests/checks/sample.sh puts into the file
// "lines".
#include "inkling/inkling.h"

#include <stdio.h>

static int on_text(void *user, const ink_piece *piece) {
    return fwrite(piece->text, 1, piece->bytes, (FILE *)user) != piece->bytes;
}

int main(void) {
    FILE *user = stdout;
#include "lines"
    return 0;
}
