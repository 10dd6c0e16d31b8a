// SPDX-License-Identifier: MIT
#include "cli/conversion.h"

#include <sys/stat.h>

#include "cli/interrupt.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "cli/text.h"

int cli_conversion_progress(void *user, double fraction, const char *what) {
    (void)what;
    cli_progress_update(user, fraction);
    return cli_interrupted();
}

void cli_conversion_note(void *user, const char *line) {
    (void)user;
    cli_note("%s", line);
}

void cli_conversion_written(const char *path, uint64_t bytes_before) {
    char before[CLI_TEXT_SIZE], after[CLI_TEXT_SIZE];
    struct stat file;
    if (stat(path, &file) != 0 || !S_ISREG(file.st_mode)) return;
    cli_text_size((uint64_t)file.st_size, after);
    if (bytes_before > 0)
        cli_note("%s: %s, it was %s", path, after, cli_text_size(bytes_before, before));
    else
        cli_note("%s: %s", path, after);
}
