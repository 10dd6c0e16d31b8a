// SPDX-License-Identifier: MIT
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/bench_job.h"
#include "cli/out.h"
#include "cli/text.h"

static void print_left_out(const char *what, unsigned n, uint32_t n_ctx) {
    cli_out("%s %-6u left out, the context has %u positions\n", what, n, (unsigned)n_ctx);
}

static void print_decode(const cli_bench_job *job, unsigned i) {
    const cli_bench_figure *f = &job->decode[i];
    char size[CLI_TEXT_SIZE];
    if (f->tok_s <= 0) {
        print_left_out("decode at", cli_bench_depths[i], job->n_ctx);
        return;
    }
    cli_out("decode at %-6u %9.1f tokens/s, reads %s a token", cli_bench_depths[i], f->tok_s,
            cli_text_size(f->bytes, size));
    if (isfinite(f->share)) cli_out(", %.0f %% of the bandwidth", f->share * 100);
    cli_out("\n");
}

static void print_memory(const cli_bench_job *job) {
    char peak[CLI_TEXT_SIZE], file[CLI_TEXT_SIZE], kv[CLI_TEXT_SIZE], rest[CLI_TEXT_SIZE];
    const uint64_t known = job->info.file_bytes + job->kv_bytes;
    cli_out("peak memory      %s with a full context: file %s, KV %s%s",
            cli_text_size(job->peak_bytes, peak), cli_text_size(job->info.file_bytes, file),
            cli_text_size(job->kv_bytes, kv), job->peak_bytes > known ? "" : "\n");
    if (job->peak_bytes > known)
        cli_out(", %s more\n", cli_text_size(job->peak_bytes - known, rest));
}

void cli_bench_print(const cli_bench_job *job, const char *title) {
    char size[CLI_TEXT_SIZE];
    const char *name = title != NULL ? title : job->model != NULL ? job->model : "builtin:story";
    cli_out("model            ");
    cli_out_text(name, strlen(name));
    cli_out(", %s\n", cli_text_size(job->info.file_bytes, size));
    cli_out("with             %u thread%s, instruction set %s, keys and values %s\n",
            job->n_threads, job->n_threads == 1 ? "" : "s", ink_runtime_cpu_level(job->runtime),
            cli_kv_types[job->kv_type]);
    for (unsigned i = 0; i < CLI_BENCH_PREFILLS; i++) {
        if (job->prefill[i].tok_s > 0)
            cli_out("prefill of %-5u %9.1f tokens/s\n", cli_bench_prefills[i],
                    job->prefill[i].tok_s);
        else
            print_left_out("prefill of", cli_bench_prefills[i], job->n_ctx);
    }
    for (unsigned i = 0; i < CLI_BENCH_DEPTHS; i++) print_decode(job, i);
    for (unsigned i = 0; i < CLI_BENCH_BATCHES; i++)
        if (job->batch[i].tok_s > 0)
            cli_out("batch of %-7u %9.1f tokens/s, %.2f times the time of one\n",
                    cli_bench_batches[i], job->batch[i].tok_s, job->batch[i].relative);
    cli_out("read bandwidth   %9.1f GB/s over %s\n", job->read_gb_s,
            job->same_file ? "the same mapped file" : "memory of the model's size");
    cli_out("first token      %9.2f ms after the start of a process, prompt of %zu tokens\n",
            job->first_token_ms, job->n_prompt);
    print_memory(job);
}

static json_t *figures_json(const cli_bench_figure *figures, const unsigned *levels, unsigned n,
                            const char *key) {
    json_t *list = json_array();
    for (unsigned i = 0; i < n; i++)
        if (figures[i].tok_s > 0)
            json_array_append_new(
                list, json_pack("{sI sf}", key, (json_int_t)levels[i], "tok_s", figures[i].tok_s));
    return list;
}

void cli_bench_print_json(const cli_bench_job *job) {
    cli_out_json(
        json_pack("{so so so sf sI sf}", "prefill",
                  figures_json(job->prefill, cli_bench_prefills, CLI_BENCH_PREFILLS, "n"), "decode",
                  figures_json(job->decode, cli_bench_depths, CLI_BENCH_DEPTHS, "depth"), "batch",
                  figures_json(job->batch, cli_bench_batches, CLI_BENCH_BATCHES, "n"),
                  "first_token_ms", job->first_token_ms, "peak_bytes", (json_int_t)job->peak_bytes,
                  "read_gb_s", job->read_gb_s));
}
