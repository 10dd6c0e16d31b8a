// SPDX-License-Identifier: MIT
// The checksum that files have: it must stay the same number for the same bytes.
#include "base/checksum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_BYTES = 5000 };

static uint8_t bytes[N_BYTES + 8];

// Sums of the first n bytes below, worked out by another program with whole numbers.
static const struct {
    size_t n;
    uint64_t sum;
} known[] = {
    {0, 0xcca24399bb32102cu},    {1, 0x501693a427a803a0u},    {7, 0x32ca5efabd40ff6du},
    {8, 0xc30f5942f615d80cu},    {31, 0x8c82ef943f4cadf7u},   {32, 0x6a91ad3ede1aeb9bu},
    {33, 0x35178332724764c3u},   {64, 0xb924163495312455u},   {100, 0x6e13ae5ab4851f34u},
    {4096, 0x7d2198475948e5c0u}, {5000, 0x5e3fcbc2bdddb35cu},
};

static void fill(uint8_t *to) {
    for (size_t i = 0; i < N_BYTES; i++) to[i] = (uint8_t)(i * 37 + (i >> 8) * 11 + 5);
}

static void known_sums(void **state) {
    (void)state;
    for (size_t askew = 0; askew < 8; askew++) {
        fill(bytes + askew);
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            assert_int_equal(inki_checksum_of(bytes + askew, known[i].n), known[i].sum);
    }
}

static void pieces(void **state) {
    (void)state;
    static const size_t steps[] = {1, 3, 31, 32, 33, 63, 1000};
    fill(bytes);
    for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
        inki_checksum sum;
        size_t next = 0;
        inki_checksum_init(&sum);
        for (size_t at = 0; at < N_BYTES;) {
            size_t end = at + steps[k] < N_BYTES ? at + steps[k] : N_BYTES;
            // Asked in between, it may be gone on with.
            if (next < sizeof known / sizeof known[0] && known[next].n == at)
                assert_int_equal(inki_checksum_end(&sum), known[next].sum);
            while (next < sizeof known / sizeof known[0] && known[next].n <= at) next++;
            inki_checksum_add(&sum, bytes + at, end - at);
            inki_checksum_add(&sum, NULL, 0);
            at = end;
        }
        assert_int_equal(inki_checksum_end(&sum), 0x5e3fcbc2bdddb35cu);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_sums),
        cmocka_unit_test(pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
