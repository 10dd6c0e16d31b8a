// SPDX-License-Identifier: MIT
#include "saved.h"

#include "base/checksum.h"
#include "saved_sum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

saved saved_of(ink_session *session, const ink_save_options *options) {
    saved file = {0};
    size_t again = 0;
    ink_error error = {0};
    if (ink_session_save_bytes(session, options, NULL, 0, &file.bytes, &error) != INK_OK)
        fail_msg("%s", error.message);
    file.data = malloc(file.bytes);
    assert_non_null(file.data);
    if (ink_session_save_bytes(session, options, file.data, file.bytes, &again, &error) != INK_OK)
        fail_msg("%s", error.message);
    assert_int_equal(again, file.bytes);
    return file;
}

bool saved_equal(const saved *a, const saved *b) {
    return a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

ink_status saved_restore(ink_session *session, const saved *file, ink_restored *restored,
                         ink_error *error) {
    const ink_source source = {.size = sizeof source,
                               .kind = INK_SOURCE_MEMORY,
                               .name = "saved",
                               .data = file->data,
                               .bytes = file->bytes};
    return ink_session_restore(session, &source, restored, error);
}

void saved_wake(ink_session *s, const saved *file, ink_restored *restored) {
    ink_error error = {0};
    if (saved_restore(s, file, restored, &error) != INK_OK) fail_msg("%s", error.message);
}

void assert_same_logits(const ink_session *a, const ink_session *b) {
    size_t n = 0, n_b = 0;
    const float *of_a = ink_session_logits(a, 0, &n), *of_b = ink_session_logits(b, 0, &n_b);
    assert_non_null(of_a);
    assert_non_null(of_b);
    assert_int_equal(n, n_b);
    assert_memory_equal(of_a, of_b, n * sizeof *of_a);
}

uint64_t saved_get(const saved *file, size_t at) {
    uint64_t value = 0;
    for (size_t i = 8; i-- > 0;) value = value << 8 | file->data[at + i];
    return value;
}

void saved_put(const saved *file, size_t at, uint64_t value) {
    for (size_t i = 0; i < 8; i++) file->data[at + i] = (uint8_t)(value >> 8 * i);
}

void saved_mend(const saved *file) {
    saved_put(file, SAVED_FILE_BYTES, file->bytes);
    saved_put(file, SAVED_HEAD_SUM, inki_checksum_of(file->data, SAVED_HEAD_SUM));
    saved_put(file, file->bytes - 8, saved_sum(file->data, file->bytes));
}

size_t saved_tokens_at(const saved *file) {
    (void)file;
    return SAVED_HEAD_BYTES;
}

size_t saved_logits_at(const saved *file) {
    const uint64_t n = saved_get(file, SAVED_N_PAST) + saved_get(file, SAVED_N_PENDING);
    return SAVED_HEAD_BYTES + (size_t)(4 * n + 63) / 64 * 64;
}
