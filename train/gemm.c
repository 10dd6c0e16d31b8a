// SPDX-License-Identifier: MIT
#include "train/gemm.h"

#include <string.h>

enum { CHUNK = 256, ROWS = 32 };

typedef struct gemm_work {
    float a[ROWS * CHUNK], b[CHUNK * CHUNK], row[2 * CHUNK];
} gemm_work;

struct inki_gemm {
    inki_mem mem;
    const inki_kernels *kernels;
    inki_pool *pool;
    uint32_t n_threads;
    gemm_work *work; // [n_threads]
    const inki_product *product;
};

ink_status inki_gemm_new(inki_gemm **out, const inki_mem *mem, const inki_kernels *kernels,
                         uint32_t level, inki_precision precision, inki_pool *pool,
                         ink_error *error) {
    (void)level;
    (void)precision;
    inki_gemm *gemm = inki_alloc_zero(mem, 1, sizeof *gemm);
    if (gemm == NULL) return inki_fail_nomem(error, sizeof *gemm);
    gemm->mem = *mem;
    gemm->kernels = kernels;
    gemm->pool = pool;
    gemm->n_threads = inki_pool_n_threads(pool);
    gemm->work = inki_alloc(mem, gemm->n_threads, sizeof *gemm->work);
    if (gemm->work == NULL) {
        inki_gemm_free(gemm);
        return inki_fail_nomem(error, gemm->n_threads * sizeof *gemm->work);
    }
    *out = gemm;
    return INK_OK;
}

void inki_gemm_free(inki_gemm *gemm) {
    if (gemm == NULL) return;
    const inki_mem mem = gemm->mem;
    inki_release(&mem, gemm->work, gemm->n_threads, sizeof *gemm->work);
    inki_release(&mem, gemm, 1, sizeof *gemm);
}

inki_precision inki_gemm_precision(const inki_gemm *gemm) {
    (void)gemm;
    return INKI_PRECISION_F32;
}

const char *inki_gemm_level(const inki_gemm *gemm) {
    (void)gemm;
    return "portable";
}

// out [n_rows, CHUNK] = rows [r, r + n_rows) and columns [c, c + n_cols) of the operand; c is a
// multiple of CHUNK where the stored row runs along columns, r where it runs along rows.
static void gather(const inki_gemm *gemm, const inki_operand *op, size_t r, size_t n_rows, size_t c,
                   size_t n_cols, float *out, float *row) {
    const inki_type_info type = inki_type_of(op->type);
    const size_t n = op->transposed ? n_cols : n_rows, along = op->transposed ? n_rows : n_cols;
    const size_t first = op->transposed ? c : r, from = op->transposed ? r : c;
    const size_t block = type.block_elems, begin = from / block * block;
    const size_t n_read = (from + along - begin + block - 1) / block * block;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *data = (const uint8_t *)op->data + (first + i) * op->stride;
        data += begin / block * type.block_bytes;
        const float *values = row;
        if (op->type == INKI_F32)
            values = (const float *)(const void *)data;
        else
            gemm->kernels->dequantize[op->type](row, data, n_read);
        values += from - begin;
        if (!op->transposed)
            memcpy(out + i * CHUNK, values, along * sizeof(float));
        else
            for (size_t j = 0; j < along; j++) out[j * CHUNK + i] = values[j];
    }
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static void multiply_rows(const inki_gemm *gemm, gemm_work *work, size_t i0, size_t n_i) {
    const inki_product *p = gemm->product;
    for (size_t j0 = 0; j0 < p->n; j0 += CHUNK) {
        const size_t n_j = least(CHUNK, p->n - j0);
        for (size_t i = i0; i < i0 + n_i; i++) {
            float *c = p->c + i * p->c_stride + j0;
            for (size_t j = 0; j < n_j; j++)
                c[j] = (p->add ? c[j] : 0) + (p->bias != NULL ? p->bias[j0 + j] : 0);
        }
        for (size_t k0 = 0; k0 < p->k; k0 += CHUNK) {
            const size_t n_k = least(CHUNK, p->k - k0);
            gather(gemm, &p->a, i0, n_i, k0, n_k, work->a, work->row);
            gather(gemm, &p->b, k0, n_k, j0, n_j, work->b, work->row);
            for (size_t i = 0; i < n_i; i++) {
                float *c = p->c + (i0 + i) * p->c_stride + j0;
                for (size_t k = 0; k < n_k; k++) {
                    const float a = work->a[i * CHUNK + k];
                    for (size_t j = 0; j < n_j; j++) c[j] += a * work->b[k * CHUNK + j];
                }
            }
        }
    }
}

static void multiply_part(void *arg, uint32_t part, uint32_t n_parts) {
    inki_gemm *gemm = arg;
    size_t begin, end;
    inki_pool_share(gemm->product->m, ROWS, part, n_parts, &begin, &end);
    for (size_t i = begin; i < end; i += ROWS)
        multiply_rows(gemm, &gemm->work[part], i, least(ROWS, end - i));
}

void inki_gemm_run(inki_gemm *gemm, const inki_product *product) {
    gemm->product = product;
    inki_pool_run(gemm->pool, gemm->n_threads, multiply_part, gemm);
}
