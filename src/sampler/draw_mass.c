// SPDX-License-Identifier: MIT
//
// Sums of weights, and where one of them is reached, without sorting anything.
#include "sampler/draw.h"

#include <math.h>
#include <string.h>

enum { DIGIT = 9, BUCKETS = INKI_DRAW_EIGHTHS, DISTANCE_BITS = 45 };
_Static_assert(BUCKETS == 1 << DIGIT, "a table serves both");

inki_draw_weights inki_draw_weigh(const inki_draw_state *d) {
    inki_draw_weights w = {.best = inki_draw_best(d)};
    float weights[INKI_DRAW_BLOCK];
    inki_block b = {0};
    while (inki_block_next(d, &b))
        w.total += inki_block_weigh(b.x, w.best.logit, weights, &w.below);
    if (w.total > 0.0) w.below /= w.total;
    return w;
}

// Counted from the best one, the mean is at most the root of n deviations away: its square takes
// few digits from the mean square.
inki_draw_moments inki_draw_measure(const inki_draw_state *d, inki_candidate best) {
    inki_draw_moments m = {0};
    double sum = 0.0, squares = 0.0;
    inki_block b = {0};
    while (inki_block_next(d, &b))
        for (uint32_t k = 0; k < b.n; k++) {
            if (b.x[k] == -INFINITY) continue;
            const double off = (double)b.x[k] - (double)best.logit;
            m.n++;
            sum += off;
            squares += off * off;
        }
    const double variance = squares / m.n - sum / m.n * (sum / m.n);
    m.variance = variance > 0.0 ? variance : 0.0;
    return m;
}

// --- where a sum is reached ----------------------------------------------------------------------

// Those whose distance from `middle` begins with the bits of `prefix`: all of it but `shift` bits.
typedef struct draw_range {
    float best;
    double middle;
    uint64_t prefix;
    int shift;           // 64: all of them, whatever their distance
    int32_t first, last; // eighths
} draw_range;

// The eighths are those from a rounded middle, and may be the next ones already.
uint64_t inki_draw_distance(float logit, double middle) {
    const int32_t eighths = inki_draw_eighths(logit, (float)middle);
    double rest = fabs((double)logit - middle) * 8.0 - eighths;
    if (rest < 0.0) rest = 0.0;
    if (rest > 1.0 - 0x1p-45) rest = 1.0 - 0x1p-45;
    return (uint64_t)eighths << DISTANCE_BITS | (uint64_t)(int64_t)(rest * 0x1p45);
}

// One walk over the range. With a table: sorts the weights into it by the next bits of the
// distance. Without: adds them to `sum` until it reaches `goal`, and returns the place of that
// candidate; of the last one, where rounding kept the sum below.
static uint32_t walk_range(const inki_draw_state *d, const draw_range *r, inki_bucket *table,
                           double sum, double goal) {
    uint32_t last = UINT32_MAX;
    double unused = 0.0;
    inki_block b = {0};
    while (inki_block_next(d, &b)) {
        float weights[INKI_DRAW_BLOCK];
        int32_t eighths[INKI_DRAW_BLOCK];
        if (!inki_block_eighths(b.x, (float)r->middle, r->first, r->last, eighths)) continue;
        const double more = inki_block_weigh(b.x, r->best, weights, &unused);
        if (r->shift == 64 && sum + more < goal) {
            sum += more;
            continue;
        }
        for (uint32_t k = 0; k < INKI_DRAW_BLOCK; k++) {
            if (weights[k] <= 0.0f) continue;
            if (r->shift < 64) {
                if (eighths[k] != r->first) continue;
                const uint64_t distance = inki_draw_distance(b.x[k], r->middle);
                if (distance >> r->shift != r->prefix) continue;
                if (table != NULL) {
                    inki_bucket *bucket = &table[distance >> (r->shift - DIGIT) & (BUCKETS - 1)];
                    bucket->weight += (double)weights[k];
                    bucket->n++;
                    bucket->place = b.at + k;
                    continue;
                }
            }
            last = b.at + k;
            sum += (double)weights[k];
            if (sum >= goal) return last;
        }
    }
    return last;
}

uint32_t inki_draw_reach(const inki_draw_state *d, inki_candidate best, double goal) {
    const draw_range r = {.best = best.logit, .shift = 64, .last = BUCKETS};
    return walk_range(d, &r, NULL, 0.0, goal);
}

// The first table is by eighths, each next one by DIGIT bits more of those in one bucket.
uint32_t inki_draw_reach_near(const inki_draw_state *d, inki_candidate best, double middle,
                              double share, double *total) {
    inki_bucket table[BUCKETS] = {{0}};
    draw_range r = {best.logit, middle, 0, DISTANCE_BITS + DIGIT, 0, BUCKETS};
    double sum = 0.0, unused = 0.0;
    inki_block b = {0};
    *total = 0.0;
    while (inki_block_next(d, &b)) {
        float weights[INKI_DRAW_BLOCK];
        int32_t eighths[INKI_DRAW_BLOCK];
        inki_block_eighths(b.x, (float)middle, 0, 0, eighths);
        *total += inki_block_weigh(b.x, best.logit, weights, &unused);
        inki_block_sort(weights, eighths, table);
    }
    for (;;) {
        uint32_t cut = 0;
        double after = sum;
        for (uint32_t i = 0; i < BUCKETS; i++) {
            if (table[i].weight <= 0.0) continue;
            cut = i;
            sum = after;
            after += table[i].weight;
            if (after >= share * *total) break;
        }
        r.prefix = r.prefix << DIGIT | cut;
        r.shift -= DIGIT;
        if (r.shift == DISTANCE_BITS) r.first = r.last = (int32_t)cut;
        if (table[cut].n == 1) return table[cut].place;
        if (r.shift == 0) break;
        memset(table, 0, sizeof table);
        walk_range(d, &r, table, 0.0, 0.0);
    }
    return walk_range(d, &r, NULL, sum, share * *total);
}
