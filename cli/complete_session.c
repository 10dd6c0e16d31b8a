// SPDX-License-Identifier: MIT
// Saved sessions of `inkling complete`.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/complete_job.h"
#include "cli/report.h"

// A name that was mistyped must not cost somebody's text: an older session may be replaced, a file
// of another kind not.
static bool is_others(const char *path, const struct stat *there) {
    char magic[8] = "";
    if (!S_ISREG(there->st_mode) || there->st_size == 0) return false;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool session = read(fd, magic, sizeof magic) == sizeof magic &&
                         memcmp(magic, "INKSAVED", sizeof magic) == 0;
    close(fd);
    return !session;
}

int cli_complete_check_save(void) {
    const char *path = cli_complete_set.save, *slash = strrchr(path, '/');
    struct stat there;
    const size_t n = slash == path ? 1 : slash != NULL ? (size_t)(slash - path) : 0;
    char *folder = malloc(n + 2);
    if (folder == NULL) return cli_fail_memory();
    memcpy(folder, path, n);
    memcpy(folder + n, n > 0 ? "" : ".", n > 0 ? 1 : 2);
    int code = CLI_OK;
    const bool exists = stat(path, &there) == 0, unknown = !exists && errno != ENOENT;
    if (unknown)
        code = cli_fail(CLI_FILE, "%s: cannot be saved: %s", path, strerror(errno));
    else if (exists && S_ISDIR(there.st_mode))
        code = cli_fail(CLI_FILE, "%s: is a folder, a file to save to was expected", path);
    else if (exists && S_ISFIFO(there.st_mode)) // opening it would wait for a reader, for ever
        code = cli_fail(CLI_FILE, "%s: is a pipe, a file to save to was expected", path);
    else if (exists && is_others(path, &there))
        code =
            cli_fail(CLI_FILE, "%s: is there and no saved session, it is not written over", path);
    else if (access(folder, W_OK | X_OK) != 0)
        code = cli_fail(CLI_FILE, "%s: cannot be saved: %s: %s", path, folder, strerror(errno));
    free(folder);
    return code;
}

int cli_complete_load(cli_complete_job *j, uint64_t *seed, bool *seeded) {
    ink_error error = {0};
    ink_restored restored = {.size = sizeof restored};
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_PATH, .name = cli_complete_set.load};
    const ink_status status = ink_session_restore(j->session, &source, &restored, &error);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    j->n_restored = restored.n_past;
    j->sampler = restored.sampler;
    *seeded = restored.sampler != NULL;
    if (*seeded) *seed = ink_sampler_seed(restored.sampler);
    if (j->filter == NULL)
        j->filter = restored.filter;
    else
        ink_filter_unref(restored.filter);
    return CLI_OK;
}

int cli_complete_save(cli_complete_job *j) {
    ink_error error = {0};
    ink_save_options options;
    ink_save_options_init(&options, sizeof options);
    options.sampler = j->sampler;
    options.filter = j->filter;
    const ink_status status = ink_session_save(j->session, cli_complete_set.save, &options, &error);
    if (status == INK_OK) {
        j->saved = true;
        j->n_saved = ink_session_n_past(j->session);
        return CLI_OK;
    }
    const int code = cli_fail_ink(status, &error);
    return status == INK_E_LIMIT ? CLI_FILE : code;
}
