// SPDX-License-Identifier: MIT
// What is written of embeddings, and of text that a model file or its tokens hold.
#ifndef SERVER_VECTOR_OUT_H
#define SERVER_VECTOR_OUT_H

#include "server/json_out.h"

#include <jansson.h>

// As a JSON array; each with as many digits as bring the same float back.
void srv_text_floats(srv_text *text, const float *values, size_t n);
// In base64, with padding and without quotes: four bytes each, the lowest first, on any machine.
void srv_text_base64(srv_text *text, const float *values, size_t n);
// A JSON string; bytes that are not UTF-8 become U+FFFD. NULL: no memory.
json_t *srv_json_lossy(const char *text, size_t bytes);

#endif
