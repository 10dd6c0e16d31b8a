// SPDX-License-Identifier: MIT
#include "server/vector_out.h"

#include <string.h>

json_t *srv_json_lossy(const char *string, size_t bytes) {
    srv_text text = {0};
    srv_text_string(&text, string, bytes);
    json_t *json = text.failed
                       ? NULL
                       : json_loadb(text.data, text.bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    srv_text_free(&text);
    return json;
}

static int add_dumped(const char *data, size_t bytes, void *text) {
    srv_text_add(text, data, bytes);
    return 0;
}

// Through jansson, which writes a point whatever the locale says.
void srv_text_floats(srv_text *text, const float *values, size_t n) {
    json_t *array = json_array();
    bool failed = array == NULL;
    for (size_t i = 0; i < n && !failed; i++)
        failed = json_array_append_new(array, json_real((double)values[i])) != 0;
    if (!failed)
        failed =
            json_dump_callback(array, add_dumped, text, JSON_COMPACT | JSON_REAL_PRECISION(9)) != 0;
    json_decref(array);
    if (failed) text->failed = true;
}

static void put_float(unsigned char *out, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 4; i++) out[i] = (unsigned char)(bits >> 8 * i);
}

// Three floats are twelve bytes, and those are sixteen letters: no rest crosses a group.
void srv_text_base64(srv_text *text, const float *values, size_t n) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        unsigned char bytes[12] = {0};
        char out[16];
        const size_t n_here = n - i < 3 ? n - i : 3;
        for (size_t k = 0; k < n_here; k++) put_float(bytes + 4 * k, values[i + k]);
        for (size_t k = 0; k < 4; k++) {
            const uint32_t b =
                (uint32_t)bytes[3 * k] << 16 | (uint32_t)bytes[3 * k + 1] << 8 | bytes[3 * k + 2];
            for (size_t c = 0; c < 4; c++) out[4 * k + c] = letters[b >> (18 - 6 * c) & 63];
        }
        // 4, 8, 12 bytes: 6, 11, 16 letters, and padding to a multiple of four.
        const size_t n_letters = n_here == 3 ? 16 : n_here == 2 ? 11 : 6;
        const size_t padded = (n_letters + 3) / 4 * 4;
        for (size_t c = n_letters; c < padded; c++) out[c] = '=';
        srv_text_add(text, out, padded);
    }
}
