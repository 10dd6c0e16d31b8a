// SPDX-License-Identifier: MIT
#define INK_EXPERIMENTAL
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/bench_job.h"
#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/report.h"

int cli_bench_failed(ink_status status, const ink_error *error) {
    if (cli_interrupted()) return cli_fail(CLI_INTERRUPTED, "interrupted");
    return cli_fail_ink(status, error);
}

void cli_bench_step(cli_bench_job *job) {
    job->n_done++;
    cli_progress_update(&job->progress, (double)job->n_done / CLI_BENCH_STEPS);
}

ink_token cli_bench_id(size_t i, uint32_t n_vocab) {
    return (ink_token)((i * 7919 + 13) % n_vocab);
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double cli_bench_median(double *x, size_t n) {
    qsort(x, n, sizeof *x, compare_doubles);
    return (x[(n - 1) / 2] + x[n / 2]) / 2;
}

ink_session_options cli_bench_session_options(const cli_bench_job *job, uint32_t n_ctx) {
    ink_session_options options;
    ink_session_options_init(&options, sizeof options);
    options.n_ctx = n_ctx;
    options.kv_type = job->kv_type;
    options.adapters = job->adapters.list;
    options.n_adapters = job->adapters.n;
    return options;
}

// All tensors but those of which a step takes single rows: positions, and the embedding where the
// head is another tensor.
static uint64_t read_for_a_token(const ink_model *model) {
    uint64_t bytes = 0, embedding = 0;
    bool has_head = false;
    for (size_t i = 0; i < ink_model_n_tensors(model); i++) {
        ink_tensor_info t = {.size = sizeof t};
        if (ink_model_tensor(model, i, &t) != INK_OK) continue;
        if (strcmp(t.name, "token_embd.weight") == 0)
            embedding = t.bytes;
        else if (strcmp(t.name, "position_embd.weight") != 0)
            bytes += t.bytes;
        has_head = has_head || strcmp(t.name, "output.weight") == 0;
    }
    return has_head ? bytes : bytes + embedding;
}

int cli_bench_open(cli_bench_job *job) {
    if (cli_source_check(job->model) != CLI_OK) return CLI_FILE;
    ink_error error = {0};
    ink_runtime_options how;
    ink_runtime_options_init(&how, sizeof how);
    how.n_threads = job->n_threads;
    ink_status status = ink_runtime_new(&job->runtime, &how, &error);
    const ink_source source = cli_source(job->model);
    if (status == INK_OK) status = ink_model_open(&job->open, job->runtime, &source, NULL, &error);
    if (status == INK_OK) status = cli_adapters_try(&job->adapters, job->open, &job->loras, &error);
    job->info = (ink_model_info){.size = sizeof job->info};
    if (status == INK_OK) status = ink_model_get_info(job->open, &job->info);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    if (job->n_ctx == 0) job->n_ctx = job->info.n_ctx;
    job->weight_bytes = read_for_a_token(job->open);
    return CLI_OK;
}

static int map_file(cli_bench_job *job, const char *path) {
    struct stat file;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return cli_fail(CLI_FILE, "%s: cannot open: %s", path, strerror(errno));
    void *map = MAP_FAILED;
    if (fstat(fd, &file) == 0 && file.st_size > 0)
        map = mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_SHARED, fd, 0);
    const int code = errno;
    close(fd);
    if (map == MAP_FAILED) return cli_fail(CLI_FILE, "%s: cannot map: %s", path, strerror(code));
    job->data = map;
    job->data_bytes = (size_t)file.st_size;
    job->same_file = true;
    return CLI_OK;
}

int cli_bench_map(cli_bench_job *job) {
    const ink_source source = cli_source(job->model);
    const ink_session_options options = cli_bench_session_options(job, job->n_ctx);
    ink_memory memory = {.size = sizeof memory};
    ink_error error = {0};
    const ink_status status = ink_measure(&source, &options, &memory, &error);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    job->kv_bytes = memory.kv_bytes;
    if (source.kind == INK_SOURCE_PATH) return map_file(job, source.name);
    void *data = malloc((size_t)job->info.file_bytes);
    if (data == NULL) return cli_fail_memory();
    // Pages that nobody has written to are one and the same page of zeros.
    memset(data, 1, (size_t)job->info.file_bytes);
    job->data = data;
    job->data_bytes = (size_t)job->info.file_bytes;
    return CLI_OK;
}

void cli_bench_close(cli_bench_job *job) {
    if (job->data != NULL && job->same_file)
        munmap(job->data, job->data_bytes);
    else
        free(job->data);
    job->data = NULL;
    cli_adapters_close(&job->adapters);
    ink_model_unref(job->open);
    ink_runtime_unref(job->runtime);
    job->open = NULL;
    job->runtime = NULL;
}
