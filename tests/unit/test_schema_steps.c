// SPDX-License-Identifier: MIT
// That no schema and no grammar takes long to compile: what is done is counted, and the count grows
// with n log n or ends in a refusal. No test of time: a count is the same on each machine.
#include "base/mix.h"
#include "grammar/grammar_parts.h"
#include "grammar/schema.h"
#include "grammar/schema_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char text[INKI_JSON_MAX_BYTES + 1];
static size_t n_text;

static void add(const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(text + n_text, sizeof text - n_text, format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < sizeof text - n_text);
    n_text += (size_t)n;
}

// n times, with commas; a format without a number is written as it is.
static void add_many(const char *before, const char *format, unsigned n, const char *behind) {
    char one[64];
    add("%s", before);
    for (unsigned i = 0; i < n; i++) {
        const char *at = strchr(format, '#');
        snprintf(one, sizeof one, "%.*s", at != NULL ? (int)(at - format) : 63, format);
        add(at != NULL ? "%s%s%u%s" : "%s%s", i > 0 ? "," : "", one, i, at != NULL ? at + 1 : "");
    }
    add("%s", behind);
}

// Outputs stay as they were where it is refused.
static ink_status compile(char **gbnf, size_t *bytes, ink_error *error) {
    const inki_mem mem = inki_mem_from(NULL);
    static char mark;
    *gbnf = &mark;
    *bytes = 77;
    *error = (ink_error){.size = sizeof *error};
    const ink_status status = inki_schema_to_gbnf(gbnf, bytes, text, n_text, &mem, error);
    if (status != INK_OK) {
        assert_ptr_equal(*gbnf, &mark);
        assert_int_equal(*bytes, 77);
    }
    return status;
}

static void expect_read(const char *beginning) {
    const inki_mem mem = inki_mem_from(NULL);
    char *gbnf;
    size_t bytes;
    ink_error error;
    if (compile(&gbnf, &bytes, &error) != INK_OK) fail_msg("%.60s: %s", text, error.message);
    assert_memory_equal(gbnf, beginning, strlen(beginning));
    inki_release(&mem, gbnf, bytes + 1, 1);
    n_text = 0;
}

static void expect_limit(void) {
    char *gbnf;
    size_t bytes;
    ink_error error;
    const ink_status status = compile(&gbnf, &bytes, &error);
    if (status != INK_E_LIMIT || strstr(error.message, "too many steps") == NULL)
        fail_msg("%.60s: %d %s", text, status, status != INK_OK ? error.message : "");
    n_text = 0;
}

// Steps to ask for each of n values whether it is among n others, half of which are the same.
static uint32_t steps_of_values(unsigned n, const char *format) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_schema *s = calloc(1, sizeof *s);
    assert_non_null(s);
    n_text = 0;
    add_many("{\"const\":[", format, n, "],\"enum\":[");
    for (unsigned i = 0; i < n / 2; i++) add("[%u],", 1000000 + i);
    add_many("", format, n / 2, "]}");
    assert_int_equal(inki_json_parse(&s->json, text, n_text, &mem, NULL), INK_OK);
    inki_schema_find_keys(s);
    const inki_json_node *nodes = s->json.nodes;
    const uint32_t list = inki_schema_get(s, 0, INKI_KEY_ENUM);
    unsigned i = 0, found = 0;
    for (uint32_t v = nodes[nodes[0].first].first; v != 0; v = nodes[v].next, i++) {
        const uint32_t first = inki_schema_first_equal(s, list, v);
        assert_int_equal(first != 0, i < n / 2);
        found += first != 0;
    }
    assert_int_equal(found, n / 2);
    assert_int_equal(s->status, INK_OK);
    const uint32_t steps = s->n_work;
    inki_json_free(&s->json);
    free(s);
    n_text = 0;
    return steps;
}

static void values(void **state) {
    (void)state;
    static const char *const formats[] = {"#", "\"common #\"", "[#]", "{\"b\":1,\"a\":#}", "#.5"};
    static const uint32_t parts[] = {1, 2, 2, 6, 1}; // of a value, that are compared
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (unsigned n = 256; n <= 4096; n *= 4) {
            uint32_t log2 = 1;
            while (1u << log2 < n) log2++;
            // To sort and to search, with one more question each.
            assert_in_range(steps_of_values(n, formats[i]), n, 2 * n * (log2 + 2) * parts[i]);
        }
}

// What would be over the bound if it were looked for one by one.
static void many_are_read(void **state) {
    (void)state;
    add_many("{\"allOf\":[{\"enum\":[", "#", 9000, "]},{\"enum\":[");
    add_many("", "1#", 9000, "]}]}");
    expect_read("root ::= \"10\" | \"11\" | \"12\" | \"13\"");
    add_many("{\"allOf\":[{\"enum\":[", "{\"a\":#,\"b\":[]}", 9000, "]},{\"enum\":[");
    add_many("", "{\"b\":[],\"a\":1#}", 4000, "]}]}");
    expect_read("root ::= \"{\\\"b\\\":[],\\\"a\\\":10}\" | ");
    // One value many times: the first counts.
    add_many("{\"uniqueItems\":true,\"items\":{\"enum\":[\"x\",", "7", 15000, ",\"y\"]}}");
    expect_read("root ::= \"[\"");
    add_many("{\"properties\":{", "\"p#\":{}", 500, "},\"required\":[");
    for (unsigned k = 0; k < 40; k++) add_many(k > 0 ? "," : "", "\"p#\"", 500, "");
    add("]}");
    expect_read("root ::= \"{\"");
    // Each lives by the one before it.
    add("{\"properties\":{\"p0\":{\"const\":1}");
    for (unsigned i = 1; i < 500; i++)
        add(",\"p%u\":{\"required\":[\"a\"],\"properties\":{\"a\":{\"$ref\":\"#/properties/"
            "p%u\"}}}",
            i, i - 1);
    add("}}");
    expect_read("root ::= \"{\"");
}

static void too_many_are_refused(void **state) {
    (void)state;
    // Alternatives that are none, multiplied.
    add_many("{\"allOf\":[{\"anyOf\":[", "false", 900, "]}");
    for (int i = 0; i < 3; i++) add_many(",{\"anyOf\":[", "true", 60, "]}");
    add("]}");
    expect_limit();
    // Objects that are not there, written out.
    add_many("{\"minProperties\":5,\"maxProperties\":1,\"properties\":{", "\"p#\":{}", 500, "}");
    add_many(",\"anyOf\":[", "true", 200, "]");
    add_many(",\"allOf\":[{\"anyOf\":[", "true", 200, "]}]}");
    expect_limit();
    // A long text measured again and again.
    add("{\"enum\":[\"");
    for (int i = 0; i < 30000; i++) add("long text ");
    add_many("\"],\"anyOf\":[", "{\"minLength\":#}", 9000, "]}");
    expect_limit();
    // A pattern that is made longer step by step.
    add("{\"minLength\":4096,\"pattern\":\"^a*$|^");
    for (int i = 0; i < 5000; i++) add("b?");
    add("$\"}");
    expect_limit();
    add("{\"minLength\":4096,\"pattern\":\"^a*$|^b{");
    for (int i = 0; i < 20000; i++) add("0");
    add("3}$\"}");
    expect_limit();
    // A long number read for each alternative.
    add("{\"minimum\":0.");
    for (int i = 0; i < 50000; i++) add("1");
    add_many(",\"anyOf\":[", "{\"title\":\"\"}", 900, "]}");
    expect_limit();
    add_many("{\"type\":[", "\"null\"", 9000, "],\"enum\":[");
    add_many("", "#", 9000, "]}");
    expect_limit();
}

static ink_status parse_rules(ink_error *error) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_grammar *grammar = NULL;
    *error = (ink_error){.size = sizeof *error};
    const ink_status status = inki_grammar_parse(&grammar, text, n_text, &mem, error);
    if (status != INK_OK) assert_null(grammar);
    inki_grammar_free(grammar);
    n_text = 0;
    return status;
}

static unsigned hash_of(const char *name) {
    uint64_t hash = 0;
    for (; *name != 0; name++) hash = inki_mix64(hash + (unsigned char)*name + INKI_GOLDEN64);
    return (unsigned)(hash % INKI_GBNF_HASHES);
}

// Names chosen so that one is found behind all others.
static void names_that_meet(void **state) {
    (void)state;
    n_text = 0;
    ink_error error;
    add("root ::= \"\"");
    for (unsigned i = 0; i < 20000; i++) add(" r%u", i * 7919 % 20000);
    for (unsigned i = 0; i < 20000; i++) add("\nr%u ::= \"a\"", i);
    if (parse_rules(&error) != INK_OK) fail_msg("%s", error.message);
    const unsigned wanted = hash_of("root");
    add("root ::= \"\"\n");
    for (unsigned i = 0, n = 0; n < 3000; i++) {
        char name[16];
        snprintf(name, sizeof name, "%x", i);
        if (hash_of(name) != wanted) continue;
        add("%s ::= \"a\"\n", name);
        n++;
    }
    assert_int_equal(parse_rules(&error), INK_E_LIMIT);
    assert_non_null(strstr(error.message, "alike"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(many_are_read),
        cmocka_unit_test(too_many_are_refused),
        cmocka_unit_test(names_that_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
