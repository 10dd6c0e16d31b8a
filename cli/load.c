// SPDX-License-Identifier: MIT
#include "cli/load.h"

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/builtin_models.h"
#include "cli/interrupt.h"
#include "cli/report.h"
#include "cli/terminal.h"

enum { MAX_TEXT_BYTES = 64 * 1000 * 1000 };

static const char builtin_prefix[] = "builtin:";

ink_source cli_source(const char *name) {
    ink_source source = {.size = sizeof source, .kind = INK_SOURCE_BUILTIN};
    const size_t prefix = sizeof builtin_prefix - 1;
    cli_builtin own;
    if (name == NULL) return source;
    if (strncmp(name, builtin_prefix, prefix) != 0) {
        source.kind = INK_SOURCE_PATH;
        source.name = name;
    } else if (cli_builtin_find(name + prefix, &own)) {
        source.kind = INK_SOURCE_MEMORY;
        source.name = name;
        source.data = own.data;
        source.bytes = own.bytes;
    } else {
        source.name = name + prefix;
    }
    return source;
}

int cli_source_check(const char *name) {
    const ink_source source = cli_source(name), story = cli_source(NULL);
    ink_memory memory = {.size = sizeof memory};
    char known[256] = "";
    cli_builtin own;
    if (source.kind != INK_SOURCE_BUILTIN || name == NULL || strcmp(source.name, "story") == 0)
        return CLI_OK;
    if (ink_measure(&story, NULL, &memory, NULL) != INK_E_NOT_FOUND)
        snprintf(known, sizeof known, "\"story\"");
    for (size_t i = 0; cli_builtin_at(i, &own); i++) {
        const size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s\"%s\"", n > 0 ? " or " : "", own.name);
    }
    if (known[0] == 0) return CLI_OK; // that there is none at all is told by the library
    return cli_fail(CLI_FILE, "%s: no built-in model has this name, %s was expected", name, known);
}

static int on_loading(void *user, double fraction) {
    cli_progress_update(user, fraction);
    return cli_interrupted();
}

// Only what the user should know, such as fewer threads than were asked for.
static void on_log(void *user, int level, const char *message) {
    (void)user;
    if (level <= INK_LOG_WARN) cli_note("inkling: %s", message);
}

int cli_runtime_open(ink_runtime **out, uint32_t n_threads) {
    ink_error error = {0};
    ink_runtime_options options;
    ink_runtime_options_init(&options, sizeof options);
    options.n_threads = n_threads;
    options.log = on_log;
    const ink_status status = ink_runtime_new(out, &options, &error);
    return status == INK_OK ? CLI_OK : cli_fail_ink(status, &error);
}

int cli_model_open_in(ink_model **out, ink_runtime *runtime, const char *name, uint32_t flags) {
    ink_error error = {0};
    ink_model_options options;
    cli_progress progress;
    if (cli_source_check(name) != CLI_OK) return CLI_FILE;
    const ink_source source = cli_source(name);
    cli_progress_begin(&progress, "loading the model", true);
    ink_model_options_init(&options, sizeof options);
    options.flags = flags;
    options.progress = on_loading;
    options.progress_user = &progress;
    const ink_status status = ink_model_open(out, runtime, &source, &options, &error);
    cli_progress_end(&progress);
    return status == INK_OK ? CLI_OK : cli_fail_ink(status, &error);
}

int cli_model_open(ink_model **out, const char *name, uint32_t n_threads, uint32_t flags) {
    ink_runtime *runtime = NULL;
    int code = cli_runtime_open(&runtime, n_threads);
    if (code == CLI_OK) code = cli_model_open_in(out, runtime, name, flags);
    ink_runtime_unref(runtime);
    return code;
}

int cli_session_open(ink_session **out, ink_model *model, const ink_session_options *options) {
    ink_error error = {0};
    const ink_status status = ink_session_new(out, model, options, &error);
    if (status == INK_OK) return CLI_OK;
    const int code = cli_fail_ink(status, &error);
    // Here the limit is the context's, not one of the file.
    return status == INK_E_LIMIT ? CLI_CONTEXT : code;
}

enum { MAX_ADAPTERS = 16 }; // of a session

CLI_FORMAT(2, 3) static ink_status wrong_adapter(ink_error *error, const char *format, ...) {
    va_list args;
    va_start(args, format);
    *error = (ink_error){.size = sizeof *error, .status = INK_E_ARG};
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    return INK_E_ARG;
}

// A file's name may have a colon too: what follows the last one is a scale only if it is a number
// and there is no file of the whole name.
bool cli_split_scale(const char *text, size_t *n_path, float *scale) {
    const char *colon = strrchr(text, ':');
    char *end;
    *n_path = strlen(text);
    *scale = 1;
    if (colon == NULL || colon == text || colon[1] == 0 ||
        strspn(colon + 1, "0123456789+-.eE") != strlen(colon + 1) || access(text, F_OK) == 0)
        return true;
    const double value = strtod(colon + 1, &end);
    *n_path = (size_t)(colon - text);
    if (*end != 0 || !(fabs(value) <= FLT_MAX)) return false;
    *scale = (float)value;
    return true;
}

static ink_status open_adapter(ink_adapter_use *out, ink_model *model, const char *text,
                               ink_error *error) {
    size_t n;
    *out = (ink_adapter_use){0};
    if (!cli_split_scale(text, &n, &out->scale))
        return wrong_adapter(error, "--lora %.100s: \"%.40s\" is no number that can be a scale",
                             text, text + n + 1);
    char *path = malloc(n + 1);
    if (path == NULL) return INK_E_NOMEM;
    memcpy(path, text, n);
    path[n] = 0;
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = path};
    const ink_status status = ink_adapter_open(&out->adapter, model, &source, error);
    free(path);
    return status;
}

ink_status cli_adapters_try(cli_adapters *out, ink_model *model, const cli_list *loras,
                            ink_error *error) {
    *out = (cli_adapters){0};
    if (loras->n == 0) return INK_OK;
    if (loras->n > MAX_ADAPTERS)
        return wrong_adapter(error, "--lora: %zu adapters, at most %d can be used at a time",
                             loras->n, MAX_ADAPTERS);
    out->list = calloc(loras->n, sizeof *out->list);
    if (out->list == NULL) return INK_E_NOMEM;
    ink_status status = INK_OK;
    for (size_t i = 0; i < loras->n && status == INK_OK; i++) {
        status = open_adapter(&out->list[i], model, loras->items[i], error);
        out->n += status == INK_OK;
    }
    return status;
}

int cli_adapters_open(cli_adapters *out, ink_model *model, const cli_list *loras) {
    ink_error error = {0};
    const ink_status status = cli_adapters_try(out, model, loras, &error);
    return status == INK_OK ? CLI_OK : cli_fail_ink(status, &error);
}

void cli_adapters_close(cli_adapters *adapters) {
    while (adapters->n > 0) ink_adapter_unref(adapters->list[--adapters->n].adapter);
    free(adapters->list);
    adapters->list = NULL;
}

static int read_all(int fd, const char *name, size_t max_bytes, const char *what, cli_bytes *out) {
    size_t cap = 1 << 16, n = 0;
    char *data = malloc(cap);
    int code = CLI_OK;
    if (data == NULL) return cli_fail_memory();
    while (code == CLI_OK) {
        if (n == cap - 1) {
            char *grown = realloc(data, cap * 2);
            if (grown == NULL) {
                code = cli_fail_memory();
                break;
            }
            data = grown;
            cap *= 2;
        }
        if (!cli_interrupt_await(fd)) {
            code = CLI_INTERRUPTED;
            break;
        }
        const ssize_t got = read(fd, data + n, cap - 1 - n);
        if (got == 0) break;
        if (got > 0)
            n += (size_t)got;
        else if (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)
            code = cli_fail(CLI_FILE, "%s: cannot read: %s", name, strerror(errno));
        if (n > max_bytes)
            code = cli_fail(CLI_FILE, "%s: %s is longer than %zu bytes", name, what, max_bytes);
    }
    if (code != CLI_OK) {
        free(data);
        return code;
    }
    data[n] = 0;
    *out = (cli_bytes){data, n};
    return CLI_OK;
}

int cli_read_file(const char *path, size_t max_bytes, const char *what, cli_bytes *out) {
    if (strcmp(path, "-") == 0)
        return read_all(STDIN_FILENO, "standard input", max_bytes, what, out);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return cli_fail(CLI_FILE, "%s: cannot open: %s", path, strerror(errno));
    const int code = read_all(fd, path, max_bytes, what, out);
    close(fd);
    return code;
}

int cli_read_text(const char *arg, cli_bytes *out) {
    if (strcmp(arg, "-") == 0) return cli_read_file(arg, MAX_TEXT_BYTES, "the text", out);
    const size_t n = strlen(arg);
    char *copy = malloc(n + 1);
    if (copy == NULL) return cli_fail_memory();
    memcpy(copy, arg, n + 1);
    *out = (cli_bytes){copy, n};
    return CLI_OK;
}

int cli_tokenize(const ink_model *model, const char *text, size_t bytes, uint32_t flags,
                 ink_token **tokens, size_t *n, size_t *n_invalid) {
    // A token stands for at least one byte, so one call is enough; what is too much is given back.
    ink_token *ids = malloc((bytes + 1) * sizeof *ids);
    if (ids == NULL) return cli_fail_memory();
    const ink_status status = ink_tokenize(model, text, bytes, flags, ids, bytes, n, n_invalid);
    if (status != INK_OK) {
        free(ids);
        return cli_fail_ink(status, NULL);
    }
    ink_token *fitted = realloc(ids, (*n + 1) * sizeof *ids);
    *tokens = fitted != NULL ? fitted : ids;
    return CLI_OK;
}

int cli_token_text(const ink_model *model, ink_token id, cli_bytes *piece, size_t *n) {
    const uint32_t flags = INK_DETOKENIZE_SPECIAL;
    ink_status status = ink_detokenize(model, &id, 1, flags, piece->data, piece->n, n);
    // With no room at all it only tells the size.
    if (status == INK_E_SPACE || (status == INK_OK && *n > piece->n)) {
        const size_t cap = *n < 256 ? 256 : *n;
        char *grown = realloc(piece->data, cap);
        if (grown == NULL) return cli_fail_memory();
        *piece = (cli_bytes){grown, cap};
        status = ink_detokenize(model, &id, 1, flags, piece->data, piece->n, n);
    }
    return status == INK_OK ? CLI_OK : cli_fail_ink(status, NULL);
}

enum { MAX_FILTER_BYTES = 64 * 1000 * 1000 };

static int make_filter(const char *where, int code, const char *const *phrases, size_t n,
                       ink_filter **out) {
    ink_error error = {0};
    const ink_status status = ink_filter_new(out, NULL, phrases, n, &error);
    if (status == INK_OK) return CLI_OK;
    return cli_fail(status == INK_E_NOMEM ? CLI_NOMEM : code, "%s: %s", where, error.message);
}

int cli_read_filter(const char *path, const cli_list *words, ink_filter **out) {
    static const cli_list none = {NULL, 0};
    cli_bytes file = {NULL, 0};
    size_t n = 0, lines = 1;
    if (words == NULL) words = &none;
    if (path == NULL && words->n == 0) return CLI_OK;
    int code = path != NULL ? cli_read_file(path, MAX_FILTER_BYTES, "the list", &file) : CLI_OK;
    if (code != CLI_OK) return code;
    for (size_t i = 0; i < file.n; i++) lines += file.data[i] == '\n';
    const char **phrases = malloc((lines + words->n) * sizeof *phrases);
    if (phrases == NULL) code = cli_fail_memory();
    if (code == CLI_OK && path != NULL && memchr(file.data, 0, file.n) != NULL)
        code = cli_fail(CLI_FILE, "%s: holds a zero byte, lines of text were expected", path);
    for (char *line = file.data; code == CLI_OK && line != NULL;) {
        char *end = strchr(line, '\n'), *last = end != NULL ? end : line + strlen(line);
        if (last > line && last[-1] == '\r') last[-1] = 0;
        *last = 0;
        if (line[strspn(line, " \t")] != 0) phrases[n++] = line;
        line = end != NULL ? end + 1 : NULL;
    }
    if (code == CLI_OK && path != NULL && n == 0)
        code = cli_fail(CLI_FILE, "%s: has no phrases, one a line was expected", path);
    for (size_t i = 0; code == CLI_OK && i < words->n; i++) phrases[n++] = words->items[i];
    if (code == CLI_OK)
        code = make_filter(path != NULL ? path : "--ban", CLI_FILE, phrases, n, out);
    free((void *)phrases);
    free(file.data);
    return code;
}
