// SPDX-License-Identifier: MIT
// Vectors of four, which every compiler maps to what its machine has (SSE2, NEON, WebAssembly);
// without vector types the same body works on single numbers. No fused multiply-adds: with either
// of them the same bytes on every machine, sums apart.
#include "train/ops_levels.h"

#include "base/half.h"
#include "kernels/target.h"

#include <math.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define OPS(name) name##_portable
#define OPS_LEVEL "portable"

#if defined(__GNUC__)
enum { OPS_W = 4, OPS_WIDE = 2 };
typedef float lanes __attribute__((vector_size(16)));
typedef uint32_t lane_bits __attribute__((vector_size(16)));
typedef double wide_lanes __attribute__((vector_size(16)));

INKI_TEMPLATE lanes splat(float f) { return (lanes){f, f, f, f}; }
INKI_TEMPLATE lane_bits splat_bits(uint32_t u) { return (lane_bits){u, u, u, u}; }
INKI_TEMPLATE lane_bits lane_numbers(void) { return (lane_bits){0, 1, 2, 3}; }
INKI_TEMPLATE lane_bits bits_of(lanes v) { return (lane_bits)v; }
INKI_TEMPLATE lanes lanes_of(lane_bits u) { return (lanes)u; }
INKI_TEMPLATE lane_bits is_less(lanes a, lanes b) { return (lane_bits)(a < b); }
INKI_TEMPLATE lane_bits is_below(lane_bits a, lane_bits b) { return (lane_bits)(a < b); }
INKI_TEMPLATE float fold_sum(lanes v) { return (v[0] + v[2]) + (v[1] + v[3]); }
INKI_TEMPLATE wide_lanes wide_zero(void) { return (wide_lanes){0, 0}; }
INKI_TEMPLATE wide_lanes wide_load(const float *p) {
    return (wide_lanes){(double)p[0], (double)p[1]};
}
INKI_TEMPLATE double wide_fold(wide_lanes v) { return v[0] + v[1]; }
INKI_TEMPLATE lanes root(lanes v) {
#if defined(__SSE2__)
    return _mm_sqrt_ps(v);
#elif defined(__aarch64__)
    return vsqrtq_f32(v);
#else
    return (lanes){sqrtf(v[0]), sqrtf(v[1]), sqrtf(v[2]), sqrtf(v[3])};
#endif
}
#else
enum { OPS_W = 1, OPS_WIDE = 1 };
typedef float lanes;
typedef uint32_t lane_bits;
typedef double wide_lanes;

INKI_TEMPLATE lanes splat(float f) { return f; }
INKI_TEMPLATE lane_bits splat_bits(uint32_t u) { return u; }
INKI_TEMPLATE lane_bits lane_numbers(void) { return 0; }
INKI_TEMPLATE lane_bits bits_of(lanes v) { return inki_f32_bits(v); }
INKI_TEMPLATE lanes lanes_of(lane_bits u) { return inki_f32_from_bits(u); }
INKI_TEMPLATE lane_bits is_less(lanes a, lanes b) { return 0u - (uint32_t)(a < b); }
INKI_TEMPLATE lane_bits is_below(lane_bits a, lane_bits b) { return 0u - (uint32_t)(a < b); }
INKI_TEMPLATE float fold_sum(lanes v) { return v; }
INKI_TEMPLATE wide_lanes wide_zero(void) { return 0; }
INKI_TEMPLATE wide_lanes wide_load(const float *p) { return (double)*p; }
INKI_TEMPLATE double wide_fold(wide_lanes v) { return v; }
INKI_TEMPLATE lanes root(lanes v) { return sqrtf(v); }
#endif

INKI_TEMPLATE lanes load_all(const float *p) {
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}
INKI_TEMPLATE lanes load_some(const float *p, size_t n, lanes rest) {
    float f[OPS_W];
    memcpy(f, &rest, sizeof f);
    for (size_t i = 0; i < n; i++) f[i] = p[i];
    return load_all(f);
}
INKI_TEMPLATE void store_all(float *p, lanes v) { memcpy(p, &v, sizeof v); }
INKI_TEMPLATE void store_some(float *p, lanes v, size_t n) {
    float f[OPS_W];
    store_all(f, v);
    for (size_t i = 0; i < n; i++) p[i] = f[i];
}
INKI_TEMPLATE lanes muladd(lanes a, lanes b, lanes c) { return a * b + c; }
INKI_TEMPLATE lanes choose(lane_bits condition, lanes yes, lanes no) {
    return lanes_of((bits_of(yes) & condition) | (bits_of(no) & ~condition));
}
INKI_TEMPLATE lanes max_of(lanes a, lanes b) { return choose(is_less(b, a), a, b); }
INKI_TEMPLATE lanes min_of(lanes a, lanes b) { return choose(is_less(a, b), a, b); }
INKI_TEMPLATE lanes times_power(lanes p, lanes shifted, lanes n) {
    (void)n;
    const lane_bits i = bits_of(shifted) - splat_bits(0x4b400000u); // n, as two's complement
    const lane_bits half = ((i + splat_bits(512u)) >> 1) - splat_bits(256u); // floor(n / 2)
    const lanes first = lanes_of((half + splat_bits(127u)) << 23);
    return p * first * lanes_of((i - half + splat_bits(127u)) << 23);
}
INKI_TEMPLATE lanes zero_below(lanes v, lane_bits random, uint32_t limit) {
    return lanes_of(bits_of(v) & ~is_below(random, splat_bits(limit)));
}
INKI_TEMPLATE float fold_max(lanes v) {
    float f[OPS_W];
    store_all(f, v);
    float max = f[0];
    for (size_t i = 1; i < OPS_W; i++) max = f[i] > max ? f[i] : max;
    return max;
}
INKI_TEMPLATE wide_lanes wide_muladd(wide_lanes a, wide_lanes b, wide_lanes c) { return a * b + c; }

#include "train/ops_body.h"

#undef OPS
#undef OPS_LEVEL
