// SPDX-License-Identifier: MIT
// The read bandwidth of the machine: what a decode step, which reads every weight once, cannot
// pass. Also used by bench/compare.
#ifndef CLI_BENCH_PROBE_H
#define CLI_BENCH_PROBE_H

#include <stddef.h>

enum { CLI_BENCH_MAX_THREADS = 64 };

// Reads data [bytes], a piece for each thread, again and again for about `ms` milliseconds. The sum
// of the threads' speeds in GB/s (powers of ten); 0 where a thread could not be started.
double cli_bench_read_gb_s(const void *data, size_t bytes, unsigned n_threads, double ms);

#endif
