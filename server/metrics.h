// SPDX-License-Identifier: MIT
// Figures for Prometheus. Counting is lock-free; any thread.
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "inkling/inkling.h"

#include <stdatomic.h>

// Upper bounds in seconds are in metrics.c.
enum { SRV_METRICS_BUCKETS = 14 };
typedef struct srv_histogram {
    atomic_uint_fast64_t buckets[SRV_METRICS_BUCKETS]; // the last is +Inf
    atomic_uint_fast64_t sum_us, count;
} srv_histogram;

enum { SRV_METRICS_STATUSES = 24 }; // kinds of answers that are told apart, see metrics.c
typedef struct srv_metrics {
    atomic_uint_fast64_t answers[SRV_METRICS_STATUSES]; // by HTTP status
    atomic_uint_fast64_t hung_up;                       // clients gone before their answer's end
    atomic_uint_fast64_t refused_connections, evicted_connections;
    atomic_uint_fast64_t prompt_tokens, reused_tokens, generated_tokens;
    atomic_uint_fast64_t suggestions, typing_updates;
    atomic_uint_fast64_t decode_us; // time spent behind first tokens, of all requests
    srv_histogram queue, first_token, request;
} srv_metrics;

// ms: from the request's head to the answer's end.
void srv_metrics_answer(srv_metrics *metrics, unsigned status, double ms);
// waited_ms: in all queues; result->first_token_ms has that in it.
void srv_metrics_result(srv_metrics *metrics, const ink_result *result, double waited_ms);

#endif
