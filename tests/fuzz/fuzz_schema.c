// SPDX-License-Identifier: MIT
// Any text is refused with a message, or it becomes rules that are a grammar: it parses, and some
// text of it can be begun. Rules may be too many, which says so; they are never wrong.
#include "grammar/matcher.h"
#include "grammar/schema.h"

#include "tests/fuzz/fuzz.h"

#include <string.h>

extern const size_t fuzz_quick_runs;
const size_t fuzz_quick_runs = 20000;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes > 8192) return 0;
    const inki_mem mem = inki_mem_from(NULL);
    char *gbnf = NULL;
    size_t n = 0;
    ink_error error = {0};
    ink_status status = inki_schema_to_gbnf(&gbnf, &n, (const char *)data, bytes, &mem, &error);
    if (status != INK_OK) {
        FUZZ_CHECK(error.status == status && error.message[0] != 0 && gbnf == NULL);
        return 0;
    }
    FUZZ_CHECK(gbnf[n] == 0 && strlen(gbnf) == n);
    inki_grammar *grammar = NULL;
    status = inki_grammar_parse(&grammar, gbnf, n, &mem, &error);
    FUZZ_CHECK(status == INK_OK || (status == INK_E_LIMIT && error.message[0] != 0));
    inki_release(&mem, gbnf, n + 1, 1);
    if (status != INK_OK) return 0;
    inki_matcher *matcher = NULL;
    FUZZ_CHECK(inki_matcher_new(&matcher, grammar, NULL, &mem, &error) == INK_OK);
    FUZZ_CHECK(!inki_matcher_may_end(matcher)); // no document is empty
    uint32_t n_ways = 0;
    for (int c = 0; c < 256; c++) {
        const char byte = (char)c;
        size_t n_accepted = 0;
        status = inki_matcher_push(matcher, &byte, 1, &n_accepted, &error);
        FUZZ_CHECK(status == INK_OK || status == INK_E_LIMIT);
        if (status != INK_OK || n_accepted == 0) continue;
        n_ways++;
        inki_matcher_pop(matcher, 1);
    }
    FUZZ_CHECK(n_ways > 0);
    inki_matcher_free(matcher);
    inki_grammar_free(grammar);
    return 0;
}
