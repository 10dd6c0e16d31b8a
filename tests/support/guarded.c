// SPDX-License-Identifier: MIT
#include "guarded.h"

#include "base/tensor_type.h"
#include "inkling/inkling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool guards_are_soft(void) {
    const char *kind = getenv("INKLING_TEST_GUARDS");
    return kind != NULL && strcmp(kind, "soft") == 0;
}

guarded guarded_new(size_t bytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inside = (bytes + page - 1) / page * page;
    guarded g = {.map_bytes = inside + 2 * page};
    g.map = mmap(NULL, g.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED ||
        (inside > 0 && mprotect((char *)g.map + page, inside, PROT_READ | PROT_WRITE) != 0)) {
        perror("guarded_new");
        exit(2);
    }
    g.data = (char *)g.map + page + inside - bytes;
    if (guards_are_soft()) {
        char *behind = (char *)g.map + page + inside;
        mprotect(behind, page, PROT_READ | PROT_WRITE);
        memset(behind, 0xff, page);
        mprotect(behind, page, PROT_READ);
    }
    return g;
}

void guarded_seal(const guarded *g) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (g->map_bytes > 2 * page)
        mprotect((char *)g->map + page, g->map_bytes - 2 * page, PROT_READ);
}

void guarded_free(guarded *g) { munmap(g->map, g->map_bytes); }

void canary_fill(float *x, size_t n) {
    const uint32_t bits = CANARY_BITS;
    for (size_t i = 0; i < n; i++) memcpy(x + i, &bits, 4);
}

bool canary_is(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits == CANARY_BITS;
}

const char *hard_name(enum hard_kind kind) {
    static const char *const names[] = {"plain", "zero", "tiny", "huge", "mixed", "cancelling"};
    return names[kind];
}

static double uniform(uint64_t *state) { // (-1, 1)
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)(*state >> 11 << 1) * 0x1p-53 - 1;
}

void hard_fill(float *x, size_t n, enum hard_kind kind, uint64_t seed) {
    uint64_t s = seed * 2 + 1;
    for (int i = 0; i < 8; i++) uniform(&s);
    for (size_t i = 0; i < n; i++) {
        const double u = uniform(&s);
        switch (kind) {
        case HARD_ZERO: x[i] = u < 0 ? -0.0f : 0.0f; break;
        case HARD_TINY: x[i] = (float)(u * 0x1p-128); break; // subnormal numbers
        case HARD_HUGE: x[i] = (float)(u * 0x1p50); break;
        case HARD_MIXED: x[i] = (float)ldexp(u, (int)(uniform(&s) * 20)); break;
        case HARD_CANCEL: x[i] = i % 2 == 1 ? -x[i - 1] : (float)(u * 1000); break;
        default: x[i] = (float)u;
        }
    }
}

double true_half(uint16_t h) {
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    double v = exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
    if (exponent == 31) v = mantissa != 0 ? (double)NAN : (double)INFINITY;
    return h & 0x8000 ? -v : v;
}

static uint16_t u16_at(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

double true_value(uint32_t type, const void *row, size_t i) {
    const uint8_t *p = row;
    float f;
    uint32_t bits;
    switch (type) {
    case INKI_F16: return true_half(u16_at(p + 2 * i));
    case INKI_BF16:
        bits = (uint32_t)u16_at(p + 2 * i) << 16;
        memcpy(&f, &bits, 4);
        return (double)f;
    case INKI_Q8_0:
        p += i / 32 * 34;
        return true_half(u16_at(p)) * (p[2 + i % 32] - (p[2 + i % 32] > 127 ? 256 : 0));
    case INKI_Q4_0: {
        p += i / 32 * 18;
        const size_t j = i % 32;
        const int nibble = j < 16 ? p[2 + j] % 16 : p[2 + j - 16] / 16;
        return true_half(u16_at(p)) * (nibble - 8);
    }
    default: memcpy(&f, p + 4 * i, 4); return (double)f;
    }
}

double true_kv(uint32_t kv_type, const void *row, size_t i) {
    return true_value(kv_type == INK_KV_F16   ? INKI_F16
                      : kv_type == INK_KV_F32 ? INKI_F32
                                              : INKI_Q8_0,
                      row, i);
}

double true_key(uint32_t kv_type, const void *keys, size_t pos, size_t i) {
    enum { COLUMNS = 64 };
    const uint8_t *p = keys;
    if (kv_type == INK_KV_F16) return true_half(u16_at(p + 2 * (i * COLUMNS + pos)));
    if (kv_type == INK_KV_F32) return true_value(INKI_F32, keys, i * COLUMNS + pos);
    p += i / 32 * 34 * COLUMNS; // 32 dimensions of 64 columns: scales, then bytes
    const int q = p[2 * COLUMNS + i % 32 * COLUMNS + pos];
    return true_half(u16_at(p + 2 * pos)) * (q > 127 ? q - 256 : q);
}

double true_act(const void *row, size_t n, size_t i) {
    float d;
    memcpy(&d, (const char *)row + (n + 3) / 4 * 4 + i / 32 * 4, 4);
    return (double)d * ((const signed char *)row)[i];
}
