// SPDX-License-Identifier: MIT
// Schemas that are refused: by which status, at which place, and that nothing is left behind.
#include "grammar/schema.h"
#include "heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct refusal {
    const char *schema;
    ink_status status;
    const char *message; // how it begins
} refusal;

static void expect(const refusal *r) {
    const inki_mem mem = inki_mem_from(NULL);
    char *out = (char *)"untouched";
    size_t n = 77;
    ink_error error = {0};
    const ink_status status =
        inki_schema_to_gbnf(&out, &n, r->schema, strlen(r->schema), &mem, &error);
    if (status != r->status || error.status != (int32_t)status ||
        strncmp(error.message, r->message, strlen(r->message)) != 0)
        fail_msg("%s: %s: %s", r->schema, ink_status_name(status), error.message);
    assert_string_equal(out, "untouched");
    assert_int_equal(n, 77);
    assert_int_equal(inki_schema_to_gbnf(&out, &n, r->schema, strlen(r->schema), &mem, NULL),
                     status);
}

static void unsupported(void **state) {
    (void)state;
    static const char *const keywords[] = {"not",
                                           "if",
                                           "then",
                                           "else",
                                           "patternProperties",
                                           "propertyNames",
                                           "dependentRequired",
                                           "dependentSchemas",
                                           "dependencies",
                                           "contains",
                                           "minContains",
                                           "maxContains",
                                           "unevaluatedProperties",
                                           "unevaluatedItems",
                                           "additionalItems",
                                           "contentEncoding",
                                           "contentMediaType",
                                           "contentSchema",
                                           "$anchor",
                                           "$dynamicRef",
                                           "$dynamicAnchor",
                                           "$vocabulary",
                                           "$recursiveRef",
                                           "nullable",
                                           "discriminator",
                                           "divisibleBy",
                                           "Type",
                                           ""};
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        char schema[128], place[64];
        snprintf(schema, sizeof schema, "{\"properties\":{\"a\":{\"items\":\n {\"%s\":{}}}}}",
                 keywords[i]);
        snprintf(place, sizeof place, "/properties/a/items/%s: line 2, column ", keywords[i]);
        expect(&(refusal){schema, INK_E_UNSUPPORTED, place});
    }
    static const refusal list[] = {
        {"{\"multipleOf\":2}", INK_E_UNSUPPORTED, "/multipleOf: line 1, column 15: "},
        {"{\"type\":\"array\",\"uniqueItems\":true}", INK_E_UNSUPPORTED, "/uniqueItems: "},
        {"{\"uniqueItems\":true,\"items\":{\"type\":\"string\"}}", INK_E_UNSUPPORTED,
         "/uniqueItems: "},
        {"{\"format\":\"color\"}", INK_E_UNSUPPORTED, "/format: "},
        {"{\"format\":\"date\",\"pattern\":\"a\"}", INK_E_UNSUPPORTED, "/format: "},
        {"{\"format\":\"date\",\"maxLength\":5}", INK_E_UNSUPPORTED, "/format: "},
        {"{\"allOf\":[{\"pattern\":\"a\"},{\"pattern\":\"b\"}]}", INK_E_UNSUPPORTED,
         "/allOf/1/pattern: "},
        {"{\"enum\":[\"a\"],\"pattern\":\"a\"}", INK_E_UNSUPPORTED, "/enum: "},
        {"{\"const\":{\"a\":1},\"required\":[\"a\"]}", INK_E_UNSUPPORTED, "/const: "},
        {"{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"string\",\"minLength\":2}]}",
         INK_E_UNSUPPORTED, "/oneOf/1: "},
        {"{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", INK_E_UNSUPPORTED,
         "/oneOf/1: "},
        {"{\"oneOf\":[{\"required\":[\"a\"]},{\"properties\":{\"a\":{}}}]}", INK_E_UNSUPPORTED,
         "/oneOf/"},
        {"{\"additionalProperties\":{},\"oneOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}",
         INK_E_UNSUPPORTED, "/oneOf/"},
        {"{\"minProperties\":2,\"type\":\"object\"}", INK_E_UNSUPPORTED, "line 1, column 1: "},
        {"{\"$ref\":\"other.json\"}", INK_E_UNSUPPORTED, "/$ref: "},
        {"{\"$ref\":\"\"}", INK_E_UNSUPPORTED, "/$ref: "},
        {"{\"properties\":{\"a\":{\"$id\":\"x\"}}}", INK_E_UNSUPPORTED, "/properties/a/$id: "},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#/$defs/"
         "x\"}],\"$defs\":{\"x\":{\"not\":{}}}}",
         INK_E_UNSUPPORTED, "/$defs/x/not: "},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) expect(&list[i]);
}

static void patterns(void **state) {
    (void)state;
    static const char *const bad[] = {"(?=a)",
                                      "(?!a)",
                                      "(?<=a)",
                                      "(?<n>a)",
                                      "\\\\b",
                                      "\\\\B",
                                      "\\\\1",
                                      "\\\\k<n>",
                                      "\\\\p{L}",
                                      "\\\\cA",
                                      "a^",
                                      "(^a)",
                                      "a$b",
                                      "(a$)",
                                      "(",
                                      ")",
                                      "a)",
                                      "(a",
                                      "[",
                                      "[a",
                                      "[b-a]",
                                      "[\\\\d-z]x)",
                                      "*",
                                      "+a",
                                      "a{",
                                      "a{2",
                                      "a{3,2}",
                                      "a{x}",
                                      "{2}",
                                      "}",
                                      "]",
                                      "a**",
                                      "(a*)*",
                                      "(a?){2,}",
                                      "(|a)+",
                                      "\\\\x4",
                                      "\\\\u12",
                                      "\\\\u{110000}",
                                      "\\\\u{}",
                                      "\\\\",
                                      "[^\\\\s\\\\S]",
                                      "\\\\01"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char schema[128];
        snprintf(schema, sizeof schema, "{\"pattern\":\"%s\"}", bad[i]);
        expect(&(refusal){schema, INK_E_UNSUPPORTED, "/pattern: line 1, column 12: "});
    }
}

static void malformed(void **state) {
    (void)state;
    static const refusal list[] = {
        {"", INK_E_FORMAT, "line 1, column 1: "},
        {"{\"type\":\n\"string\"", INK_E_FORMAT, "line 2, column 9: "},
        {"[]", INK_E_FORMAT, "line 1, column 1: a schema is needed"},
        {"1", INK_E_FORMAT, "line 1, column 1: a schema is needed"},
        {"\"\xff\"", INK_E_UTF8, "line 1, column 2: "},
        {"{\"type\":\"str\"}", INK_E_FORMAT, "/type: "},
        {"{\"type\":[]}", INK_E_FORMAT, "/type: "},
        {"{\"type\":[\"null\",1]}", INK_E_FORMAT, "/type: "},
        {"{\"enum\":[]}", INK_E_FORMAT, "/enum: "},
        {"{\"enum\":1}", INK_E_FORMAT, "/enum: "},
        {"{\"properties\":[]}", INK_E_FORMAT, "/properties: "},
        {"{\"properties\":{\"a\":1}}", INK_E_FORMAT, "/properties/a: "},
        {"{\"required\":[1]}", INK_E_FORMAT, "/required: "},
        {"{\"items\":[{}]}", INK_E_FORMAT, "/items: "},
        {"{\"minItems\":-1}", INK_E_FORMAT, "/minItems: "},
        {"{\"maxLength\":1.5}", INK_E_FORMAT, "/maxLength: "},
        {"{\"maxLength\":\"1\"}", INK_E_FORMAT, "/maxLength: "},
        {"{\"exclusiveMinimum\":true}", INK_E_FORMAT, "/exclusiveMinimum: "},
        {"{\"anyOf\":[]}", INK_E_FORMAT, "/anyOf: "},
        {"{\"anyOf\":{}}", INK_E_FORMAT, "/anyOf: "},
        {"{\"allOf\":[3]}", INK_E_FORMAT, "/allOf/0: "},
        {"{\"$ref\":\"#/$defs/a\"}", INK_E_FORMAT, "/$ref: "},
        {"{\"$ref\":\"#a\"}", INK_E_FORMAT, "/$ref: "},
        {"{\"$ref\":\"#/type\",\"type\":\"null\"}", INK_E_FORMAT, "/type: "},
        {"{\"$ref\":\"#\"}", INK_E_FORMAT, "line 1, column 1: this schema leads back to itself"},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#\"}]}", INK_E_FORMAT,
         "line 1, column 1: this schema leads back"},
        {"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/"
         "b\"}]},\"b\":{\"$ref\":\"#/$defs/a\"}}}",
         INK_E_FORMAT, "/$defs/a: "},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) expect(&list[i]);
}

static void unsatisfied(void **state) {
    (void)state;
    static const char *const list[] = {
        "false",
        "{\"type\":\"string\",\"minLength\":3,\"maxLength\":2}",
        "{\"allOf\":[{\"type\":\"null\"},{\"type\":\"string\"}]}",
        "{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}",
        "{\"type\":\"integer\",\"exclusiveMinimum\":5,\"exclusiveMaximum\":6}",
        "{\"type\":\"integer\",\"minimum\":1.2,\"maximum\":1.8}",
        "{\"type\":\"number\",\"exclusiveMinimum\":1,\"maximum\":1}",
        "{\"enum\":[1,2],\"type\":\"string\"}",
        "{\"enum\":[1],\"const\":2}",
        "{\"anyOf\":[false,false]}",
        "{\"properties\":{\"a\":false},\"required\":[\"a\"]}",
        "{\"required\":[\"a\"],\"additionalProperties\":false}",
        "{\"items\":false,\"minItems\":1}",
        "{\"minItems\":2,\"maxItems\":1}",
        "{\"prefixItems\":[true,false],\"minItems\":2}",
        "{\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}",
        "{\"items\":{\"$ref\":\"#\"},\"minItems\":1}",
        "{\"minProperties\":2,\"maxProperties\":1}",
        "{\"required\":[\"a\",\"b\"],\"maxProperties\":1}",
        "{\"properties\":{\"a\":true},\"additionalProperties\":false,\"minProperties\":2}",
        "{\"items\":{\"enum\":[1,1.0]},\"uniqueItems\":true,\"minItems\":2}"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        expect(
            &(refusal){list[i], INK_E_FORMAT, "line 1, column 1: nothing satisfies this schema"});
}

// A text of `before`, `n` times `middle` with a number each, and `after`.
static char *repeated(const char *before, const char *middle, unsigned n, const char *after) {
    const size_t cap = strlen(before) + n * (strlen(middle) + 12) + strlen(after) + 1;
    char *text = malloc(cap);
    assert_non_null(text);
    size_t at = (size_t)snprintf(text, cap, "%s", before);
    for (unsigned i = 0; i < n; i++) {
        char one[256];
        snprintf(one, sizeof one, middle, i);
        at += (size_t)snprintf(text + at, cap - at, "%s%s", i > 0 ? "," : "", one);
    }
    snprintf(text + at, cap - at, "%s", after);
    return text;
}

// {"$ref": "#/$defs/0", "$defs": {"0": {"$ref": "#/$defs/1"}, …, "9": {"type": "null"}}}
static void a_long_way(void **state) {
    (void)state;
    for (int n = 9; n <= 99; n += 90) {
        static char text[8192];
        size_t at = (size_t)snprintf(text, sizeof text, "{\"$ref\":\"#/$defs/0\",\"$defs\":{");
        for (int i = 0; i < n; i++)
            at += (size_t)snprintf(text + at, sizeof text - at, "\"%d\":{\"$ref\":\"#/$defs/%d\"},",
                                   i, i + 1);
        snprintf(text + at, sizeof text - at, "\"%d\":{\"type\":\"null\"}}}", n);
        const inki_mem mem = inki_mem_from(NULL);
        char *out = NULL;
        size_t bytes = 0;
        ink_error error = {0};
        const ink_status status =
            inki_schema_to_gbnf(&out, &bytes, text, strlen(text), &mem, &error);
        if (status == INK_OK) inki_release(&mem, out, bytes + 1, 1);
        assert_int_equal(status, n == 9 ? INK_OK : INK_E_LIMIT);
        if (n == 99) assert_non_null(strstr(error.message, ": over 64 schemas for one place"));
    }
}

static void limits(void **state) {
    (void)state;
    static const struct {
        const char *before, *middle, *after;
        unsigned n;
    } large[] = {
        {"{\"properties\":{", "\"%u\":{}", "}}", 600},
        {"{\"required\":[", "\"%u\"", "]}", 5000},
        {"{\"enum\":[", "%u", "]}", 40000},
        {"{\"items\":{\"enum\":[", "%u", "]},\"uniqueItems\":true}", 20000},
        {"{\"anyOf\":[", "{\"const\":%u}", "]}", 20000},
        {"{\"allOf\":[", "{\"minimum\":%u}", "]}", 100},
        {"{\"oneOf\":[", "{\"const\":%u}", "]}", 100},
        {"{\"prefixItems\":[", "{\"const\":%u}", "]}", 10000},
        {"{\"minProperties\":300,\"properties\":{", "\"%u\":{}", "}}", 400},
        {"{\"allOf\":[", "{\"anyOf\":[{\"const\":%u},true,true,true,true]}", "]}", 20},
        {"{\"pattern\":\"", "[^a]%u", "\"}", 30000},
        {"{\"additionalProperties\":true,\"properties\":{", "\"xxxxxxxxxxxxxxx%u%%s\":{}", "}}",
         511},
    };
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        char *schema = repeated(large[i].before, large[i].middle, large[i].n, large[i].after);
        const inki_mem mem = inki_mem_from(NULL);
        char *out = NULL;
        size_t n = 0;
        ink_error error = {0};
        const ink_status status =
            inki_schema_to_gbnf(&out, &n, schema, strlen(schema), &mem, &error);
        if (status == INK_OK) inki_release(&mem, out, n + 1, 1);
        if (status != INK_E_LIMIT && i + 1 < sizeof large / sizeof *large)
            fail_msg("%.40s: %s: %s", schema, ink_status_name(status), error.message);
        free(schema);
    }
    static const refusal list[] = {
        {"{\"minLength\":4097}", INK_E_LIMIT, "line 1, column 1: "},
        {"{\"minItems\":5000}", INK_E_LIMIT, "line 1, column 1: "},
        {"{\"type\":\"integer\",\"minimum\":1e15}", INK_E_LIMIT, "line 1, column 1: "},
        {"{\"maximum\":-1e300}", INK_E_LIMIT, "line 1, column 1: "},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) expect(&list[i]);
}

static void no_memory(void **state) {
    (void)state;
    heap h = {0};
    const ink_allocator allocator = heap_allocator(&h);
    const inki_mem mem = inki_mem_from(&allocator);
    static const char schema[] = "{\"properties\":{\"a\":{\"enum\":[1,{\"b\":null}]}}}";
    char *out = NULL;
    size_t n = 0;
    for (size_t nth = 1;; nth++) {
        h.n_allocs = 0;
        h.fail_at = nth;
        ink_error error = {0};
        const ink_status status =
            inki_schema_to_gbnf(&out, &n, schema, sizeof schema - 1, &mem, &error);
        if (status == INK_OK) {
            assert_true(nth > 4);
            break;
        }
        assert_int_equal(status, INK_E_NOMEM);
        assert_int_equal(error.status, INK_E_NOMEM);
        assert_null(out);
        assert_int_equal(h.live_blocks, 0);
    }
    assert_int_equal(h.live_blocks, 1);
    inki_release(&mem, out, n + 1, 1);
    assert_int_equal(h.live_bytes, 0);
    assert_int_equal(h.wrong_releases, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsupported), cmocka_unit_test(patterns),   cmocka_unit_test(malformed),
        cmocka_unit_test(unsatisfied), cmocka_unit_test(a_long_way), cmocka_unit_test(limits),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
