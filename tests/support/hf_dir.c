// SPDX-License-Identifier: MIT
#include "hf_dir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static char *slurp(const char *path, size_t *bytes) {
    FILE *f = fopen(path, "rb");
    if (f == NULL) fail_msg("%s cannot be opened", path);
    fseek(f, 0, SEEK_END);
    const size_t n = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(n + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, n, f), n);
    data[n] = 0;
    fclose(f);
    if (bytes != NULL) *bytes = n;
    return data;
}

static void path_in(char *out, size_t cap, const hf_dir *d, const char *name) {
    assert_true(snprintf(out, cap, "%s/%s", d->in, name) < (int)cap);
}

hf_dir hf_dir_new(void) {
    hf_dir d;
    const char *base = getenv("TMPDIR");
    snprintf(d.root, sizeof d.root, "%s/inkling-convert-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(d.root));
    snprintf(d.in, sizeof d.in, "%s/in", d.root);
    assert_int_equal(mkdir(d.in, 0777), 0);
    snprintf(d.out, sizeof d.out, "%s/out", d.root);
    assert_int_equal(mkdir(d.out, 0777), 0);
    snprintf(d.out, sizeof d.out, "%s/out/model.gguf", d.root);
    return d;
}

hf_dir hf_dir_copy_of(const char *fixture) {
    const hf_dir d = hf_dir_new();
    const char *source = getenv("INKLING_SOURCE_DIR");
    char from[512], path[800];
    snprintf(from, sizeof from, "%s/tests/fixtures/%s", source != NULL ? source : ".", fixture);
    DIR *dir = opendir(from);
    if (dir == NULL) fail_msg("%s cannot be opened", from);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.' || strcmp(e->d_name, "golden.json") == 0) continue;
        size_t n;
        snprintf(path, sizeof path, "%s/%s", from, e->d_name);
        char *data = slurp(path, &n);
        hf_dir_write(&d, e->d_name, data, n);
        free(data);
    }
    closedir(dir);
    return d;
}

static void empty_folder(const char *path) {
    DIR *dir = opendir(path);
    if (dir == NULL) return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char name[800];
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (unlink(name) != 0) rmdir(name);
    }
    closedir(dir);
    rmdir(path);
}

void hf_dir_drop(hf_dir *d) {
    char path[256];
    snprintf(path, sizeof path, "%s/out", d->root);
    empty_folder(d->in);
    empty_folder(path);
    empty_folder(d->root);
}

char *hf_dir_read(const hf_dir *d, const char *name, size_t *bytes) {
    char path[600];
    path_in(path, sizeof path, d, name);
    return slurp(path, bytes);
}

void hf_dir_write(const hf_dir *d, const char *name, const void *data, size_t bytes) {
    char path[600];
    path_in(path, sizeof path, d, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

void hf_dir_text(const hf_dir *d, const char *name, const char *text) {
    hf_dir_write(d, name, text, strlen(text));
}

void hf_dir_remove(const hf_dir *d, const char *name) {
    char path[600];
    path_in(path, sizeof path, d, name);
    assert_int_equal(unlink(path), 0);
}

// text [n], 0-terminated, with the first `before` replaced.
static char *replaced(const char *text, size_t n, const char *before, const char *after,
                      size_t *bytes) {
    const char *at = strstr(text, before);
    if (at == NULL) fail_msg("\"%s\" is not in the text", before);
    const size_t a = strlen(before), b = strlen(after), head = (size_t)(at - text);
    char *out = malloc(n - a + b + 1);
    assert_non_null(out);
    memcpy(out, text, head);
    memcpy(out + head, after, b);
    memcpy(out + head + b, at + a, n - head - a + 1);
    *bytes = n - a + b;
    return out;
}

void hf_dir_replace(const hf_dir *d, const char *name, const char *before, const char *after) {
    size_t n, m;
    char *text = hf_dir_read(d, name, &n), *out = replaced(text, n, before, after, &m);
    hf_dir_write(d, name, out, m);
    free(text);
    free(out);
}

static size_t header_length(const char *file) {
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | (uint8_t)file[i];
    return (size_t)n;
}

void hf_dir_replace_header(const hf_dir *d, const char *name, const char *before,
                           const char *after) {
    size_t n, m;
    char *file = hf_dir_read(d, name, &n);
    const size_t length = header_length(file), data = n - 8 - length;
    char *header = strndup(file + 8, length);
    char *fresh = replaced(header, length, before, after, &m), *out = malloc(8 + m + data);
    assert_non_null(out);
    for (int i = 0; i < 8; i++) out[i] = (char)((uint64_t)m >> (8 * i) & 0xff);
    memcpy(out + 8, fresh, m);
    memcpy(out + 8 + m, file + 8 + length, data);
    hf_dir_write(d, name, out, 8 + m + data);
    free(file);
    free(header);
    free(fresh);
    free(out);
}

// Where a tensor lies in a file as the fixtures' maker writes it; 0 if it is not there.
static size_t locate(const char *file, const char *tensor, char dtype[8], size_t *bytes) {
    char key[128];
    unsigned long begin = 0, end = 0;
    const size_t length = header_length(file);
    char *header = strndup(file + 8, length);
    snprintf(key, sizeof key, "\"%s\":{\"dtype\":\"", tensor);
    const char *at = strstr(header, key);
    const char *place = at != NULL ? strstr(at, "\"data_offsets\":[") : NULL;
    const bool found = place != NULL && sscanf(at + strlen(key), "%7[A-Z0-9]", dtype) == 1 &&
                       sscanf(place, "\"data_offsets\":[%lu,%lu]", &begin, &end) == 2;
    free(header);
    *bytes = end - begin;
    return found ? 8 + length + begin : 0;
}

void hf_dir_poke(const hf_dir *d, const char *name, const char *tensor, uint64_t element,
                 const void *raw, size_t bytes) {
    size_t n, tensor_bytes;
    char dtype[8], *file = hf_dir_read(d, name, &n);
    const size_t at = locate(file, tensor, dtype, &tensor_bytes);
    assert_true(at > 0 && (element + 1) * bytes <= tensor_bytes);
    memcpy(file + at + element * bytes, raw, bytes);
    hf_dir_write(d, name, file, n);
    free(file);
}

ink_status hf_dir_convert(const hf_dir *d, inki_tensor_type type, ink_error *error) {
    const inki_convert_options options = {.dir = d->in, .out = d->out, .type = type};
    return inki_convert_hf(&options, error);
}

bool hf_dir_out_is_empty(const hf_dir *d) {
    char path[256];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/out", d->root);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir) != NULL) n++;
    closedir(dir);
    return n == 2;
}

static double half_value(unsigned h) {
    const int exponent = (int)(h >> 10 & 31), fraction = (int)(h & 1023);
    const double size =
        exponent == 0 ? ldexp(fraction, -24) : ldexp(fraction + 1024, exponent - 25);
    return h & 0x8000 ? -size : size;
}

static double bf16_value(unsigned h) {
    const int exponent = (int)(h >> 7 & 255), fraction = (int)(h & 127);
    const double size =
        exponent == 0 ? ldexp(fraction, -133) : ldexp(fraction + 128, exponent - 134);
    return h & 0x8000 ? -size : size;
}

static double single_value(const uint8_t *p) {
    float f;
    memcpy(&f, p, 4);
    return f;
}

double *hf_dir_tensor(const hf_dir *d, const char *file, const char *tensor, size_t *n) {
    size_t bytes;
    char dtype[8] = "", *data = hf_dir_read(d, file, NULL);
    const size_t at = locate(data, tensor, dtype, &bytes);
    if (at == 0) fail_msg("%s is not in %s", tensor, file);
    const uint32_t type = strcmp(dtype, "F32") == 0   ? INKI_F32
                          : strcmp(dtype, "F16") == 0 ? INKI_F16
                                                      : INKI_BF16;
    *n = bytes / (type == INKI_F32 ? 4 : 2);
    double *out = malloc(*n * sizeof *out);
    assert_non_null(out);
    hf_decode(out, type, (const uint8_t *)data + at, *n);
    free(data);
    return out;
}

void hf_decode(double *out, uint32_t type, const uint8_t *row, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const size_t block = i / 32, k = i % 32;
        const uint8_t *q8 = row + block * 34, *q4 = row + block * 18;
        switch (type) {
        case INKI_F32: out[i] = single_value(row + 4 * i); break;
        case INKI_F16: out[i] = half_value(row[2 * i] | (unsigned)row[2 * i + 1] << 8); break;
        case INKI_BF16: out[i] = bf16_value(row[2 * i] | (unsigned)row[2 * i + 1] << 8); break;
        case INKI_Q8_0:
            out[i] = half_value(q8[0] | (unsigned)q8[1] << 8) * (int8_t)q8[2 + k];
            break;
        case INKI_Q4_0:
            out[i] = half_value(q4[0] | (unsigned)q4[1] << 8) *
                     ((k < 16 ? q4[2 + k] & 15 : q4[2 + k - 16] >> 4) - 8);
            break;
        default: fail_msg("type %u has no decoder here", (unsigned)type);
        }
    }
}
