// SPDX-License-Identifier: MIT
// What a schema lets through and what not: its rules are read as a grammar, and documents go along
// it. '+' stands before a document that is taken, '-' before one that is not, also where the schema
// itself would allow it (docs/GRAMMAR.md says where less is written than is valid).
#include "grammar/matcher.h"
#include "grammar/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

typedef struct schema_case {
    const char *schema;
    const char *documents[24];
} schema_case;

static const schema_case scalars[] = {
    {"true", {"+null", "+[1, 2]", "+{\"a\":[{}]}", "-[1,  2]", "-[1 ]", "-", "-nul", "-01"}},
    {"{}", {"+\"x\"", "+-0.5e-7", "+true", "-True", "- 1", "-1e999", "-[1,]"}},
    {"{\"type\":\"null\"}", {"+null", "-0", "-\"null\""}},
    {"{\"type\":\"boolean\"}", {"+true", "+false", "-1", "-null"}},
    {"{\"type\":[\"null\",\"integer\"]}",
     {"+null", "+12", "+-7", "-1.0", "-\"1\"", "-true", "--0"}},
    {"{\"type\":[\"integer\",\"number\"]}", {"+1", "+1.5", "+-1e9", "-.5", "-1.", "-1e100"}},
    {"{\"type\":\"string\"}",
     {"+\"\"", "+\"\\n\\\"\\\\\\/\"", "+\"\\u00e9\\uABCD\"", "+\"\xc3\xa9\xf0\x9f\xa6\x8a\"", "-\"",
      "-\"\n\"", "-\"\\x\"", "-\"\\ud83d\"", "-\"\\uDC00\"", "-\"\\u12\"", "-\"a\"b\"", "-'a'"}},
    {"{\"enum\":[1,\"a\\\"b\",null,[1,{\"k\":2.50}]]}",
     {"+1", "+\"a\\\"b\"", "+null", "+[1,{\"k\":2.50}]", "-1.0", "-[1, {\"k\":2.50}]", "-2"}},
    {"{\"const\":{\"a\":[],\"\xc3\xa9\":\"\\n\\u0001\"}}",
     {"+{\"a\":[],\"\xc3\xa9\":\"\\u000a\\u0001\"}", "-{}"}},
    {"{\"enum\":[1,2,3,\"x\"],\"type\":\"integer\",\"minimum\":2}", {"-1", "+2", "+3", "-\"x\""}},
    {"{\"enum\":[\"a\",\"bb\",\"\xc3\xa9\xc3\xa9\",\"ccc\"],\"maxLength\":2,\"minLength\":2}",
     {"-\"a\"", "+\"bb\"", "+\"\xc3\xa9\xc3\xa9\"", "-\"ccc\""}},
    {"{\"enum\":[1,2,3],\"const\":2.0}", {"-1", "-2", "+2.0", "-3"}},
};

static const schema_case numbers[] = {
    {"{\"type\":\"integer\",\"minimum\":0}",
     {"+0", "+999999999999999", "--1", "-1000000000000000", "-00"}},
    {"{\"type\":\"integer\",\"minimum\":-5,\"maximum\":120}",
     {"+-5", "--6", "+-1", "+0", "+9", "+10", "+99", "+100", "+119", "+120", "-121", "-130", "-200",
      "--0"}},
    {"{\"type\":\"integer\",\"exclusiveMinimum\":9,\"exclusiveMaximum\":1001}",
     {"-9", "+10", "+11", "+999", "+1000", "-1001", "-1010"}},
    {"{\"type\":\"integer\",\"minimum\":1.5,\"maximum\":3.5}", {"-1", "+2", "+3", "-4"}},
    {"{\"type\":\"integer\",\"minimum\":-2.5,\"exclusiveMaximum\":-1}",
     {"--3", "+-2", "--1", "-0"}},
    {"{\"type\":\"integer\",\"minimum\":12345,\"maximum\":12399}",
     {"-12344", "+12345", "+12349", "+12350", "+12399", "-12400", "-1234", "-123456"}},
    {"{\"type\":\"integer\",\"maximum\":-100}", {"+-100", "+-101", "--99", "-0", "+-123456789"}},
    {"{\"type\":\"integer\",\"minimum\":7,\"maximum\":7}", {"+7", "-6", "-8", "-77"}},
    {"{\"type\":\"integer\",\"minimum\":1e2,\"maximum\":1.05E+2}", {"-99", "+100", "+105", "-106"}},
    {"{\"type\":\"number\",\"minimum\":0,\"maximum\":1}",
     {"+0", "+1", "+0.5", "+0.999999", "-1.0", "-1.5", "--0.5", "-2", "-0e1"}},
    {"{\"type\":\"number\",\"minimum\":0.1,\"maximum\":0.9}",
     {"-0", "-0.0", "+0.1", "+0.15", "+0.89", "+0.9", "-0.91", "-0.95", "-1"}},
    {"{\"type\":\"number\",\"exclusiveMinimum\":0}",
     {"-0", "-0.0", "-0.000", "+0.01", "+0.5", "+1", "+17.25"}},
    {"{\"type\":\"number\",\"minimum\":-2.5,\"maximum\":1.25}",
     {"+-2.5", "+-2.4", "+-1.0", "--2.51", "--3", "+-2.49", "+-1", "+-0.01", "+0", "+1", "+1.25",
      "+1.24", "-1.26", "-2"}},
    {"{\"minimum\":5,\"multipleOf\":1}", {"+5", "-5.5", "+6", "-\"a\""}},
    {"{\"allOf\":[{\"type\":\"number\",\"maximum\":50},{\"maximum\":20,\"minimum\":-1}]}",
     {"+20", "-21", "-20.5", "+19.5", "+-1", "--1.5"}},
};

static const schema_case strings[] = {
    {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
     {"-\"a\"", "+\"ab\"", "+\"\xf0\x9f\xa6\x8a\xc3\xa9\\n\"", "-\"abcd\"", "+\"\\u00e9b\""}},
    {"{\"type\":\"string\",\"maxLength\":0}", {"+\"\"", "-\"a\""}},
    {"{\"type\":\"string\",\"pattern\":\"^[a-c]+\\\\d?$\"}",
     {"+\"a\"", "+\"abc1\"", "-\"\"", "-\"1\"", "-\"ab12\"", "-\"d\"", "-\"\\u0061\""}},
    {"{\"type\":\"string\",\"pattern\":\"b\"}",
     {"+\"b\"", "+\"abc\"", "+\"\\nb\\\"\"", "-\"ac\"", "-\"\""}},
    {"{\"type\":\"string\",\"pattern\":\"^a|z$\"}",
     {"+\"abc\"", "+\"xyz\"", "-\"bcd\"", "+\"a\"", "+\"z\""}},
    {"{\"type\":\"string\",\"pattern\":\"^(foo|ba(r|z){2,3})$\"}",
     {"+\"foo\"", "+\"barz\"", "+\"bazzr\"", "-\"bar\"", "-\"barrrr\"", "-\"foobar\""}},
    {"{\"type\":\"string\",\"pattern\":\"^[^\\\"a]\\\\t\\\\\\\\\\\\.$\"}",
     {"+\"b\\t\\\\.\"", "-\"a\\t\\\\.\"", "-\"\\\"\\t\\\\.\"", "-\"b\\t\\\\x\"",
      "+\"\\n\\t\\\\.\""}},
    {"{\"type\":\"string\",\"pattern\":\"^\\\\w\\\\s.\\\\W$\"}",
     {"+\"_\xc2\xa0x-\"", "+\"9\\t\\\".\"", "-\"a b\\n!\"", "-\"a bcc\"", "-\"-  !\"",
      "+\"a \xe2\x82\xac\xe2\x82\xac\""}},
    {"{\"type\":\"string\",\"pattern\":\"^\\\\u{1F600}[\\\\x41-\\\\u0043\\\\]-]$\"}",
     {"+\"\xf0\x9f\x98\x80"
      "B\"",
      "+\"\xf0\x9f\x98\x80]\"", "+\"\xf0\x9f\x98\x80-\"",
      "-\"\xf0\x9f\x98\x80"
      "D\"",
      "-\"xA\""}},
    {"{\"type\":\"string\",\"pattern\":\"^[a-z]+$\",\"minLength\":2,\"maxLength\":4}",
     {"-\"a\"", "+\"ab\"", "+\"abcd\"", "-\"abcde\"", "-\"AB\""}},
    {"{\"type\":\"string\",\"pattern\":\"^a\",\"maxLength\":3}",
     {"+\"a\"", "+\"a\\n\\\"\"", "-\"abcd\"", "-\"ba\""}},
    {"{\"type\":\"string\",\"pattern\":\"^$\"}", {"+\"\"", "-\"a\""}},
    {"{\"type\":\"string\",\"format\":\"date\"}",
     {"+\"2024-02-28\"", "-\"2024-02-30\"", "+\"1999-12-31\"", "-\"2024-04-31\"", "-\"2024-13-01\"",
      "-\"24-01-01\"", "-\"2024-00-10\""}},
    {"{\"type\":\"string\",\"format\":\"date-time\"}",
     {"+\"2024-02-28T23:59:59Z\"", "+\"2024-02-28T00:00:00.123+05:30\"",
      "-\"2024-02-28T24:00:00Z\"", "-\"2024-02-28 00:00:00Z\"", "-\"2024-02-28T00:00:00\""}},
    {"{\"type\":\"string\",\"format\":\"time\"}",
     {"+\"12:30:00Z\"", "-\"12:60:00Z\"", "-\"12:30:00\""}},
    {"{\"type\":\"string\",\"format\":\"uuid\"}",
     {"+\"123e4567-e89b-12d3-a456-426614174000\"", "-\"123e4567-e89b-12d3-a456-42661417400\"",
      "-\"123e4567e89b12d3a456426614174000\""}},
    {"{\"type\":\"string\",\"format\":\"ipv4\"}",
     {"+\"192.168.0.1\"", "+\"255.255.255.255\"", "-\"256.1.1.1\"", "-\"1.1.1\"", "-\"01.1.1.1\""}},
    {"{\"type\":\"string\",\"format\":\"ipv6\"}",
     {"+\"2001:db8:0:0:0:0:0:1\"", "-\"1:2:3\"", "-\"g:2:3:4:5:6:7:8\""}},
    {"{\"type\":\"string\",\"format\":\"email\",\"maxLength\":254}",
     {"+\"a.b+c@ex-ample.org\"", "-\"a@b\"", "-\"@b.org\"", "-\"a@b..org\""}},
    {"{\"type\":\"string\",\"format\":\"uri\"}",
     {"+\"https://example.org/a/b?x=1#y\"", "+\"http://a:80\"", "-\"example.org\"",
      "-\"https://\""}},
    {"{\"type\":\"string\",\"format\":\"hostname\"}",
     {"+\"a-b.example.org\"", "-\"-a\"", "-\"a..b\"", "-\"a-\""}},
    {"{\"type\":\"string\",\"format\":\"duration\"}",
     {"+\"P3D\"", "+\"PT5M\"", "-\"P\"", "-\"3D\""}},
};

static const schema_case arrays[] = {
    {"{\"type\":\"array\",\"items\":{\"type\":\"boolean\"}}",
     {"+[]", "+[true]", "+[true, false,true]", "-[1]", "-[true,]", "-[true false]"}},
    {"{\"type\":\"array\",\"items\":{\"const\":1},\"minItems\":2,\"maxItems\":3}",
     {"-[]", "-[1]", "+[1,1]", "+[1,1,1]", "-[1,1,1,1]"}},
    {"{\"type\":\"array\",\"maxItems\":0}", {"+[]", "-[1]"}},
    {"{\"type\":\"array\",\"items\":false}", {"+[]", "-[1]", "-[null]"}},
    {"{\"type\":\"array\",\"prefixItems\":[{\"const\":1},{\"const\":2}]}",
     {"+[]", "+[1]", "+[1,2]", "-[1,2,3]", "-[2]"}},
    {"{\"type\":\"array\",\"prefixItems\":[{\"const\":1}],\"items\":{\"const\":3},\"minItems\":2}",
     {"-[1]", "+[1,3]", "+[1, 3, 3]", "-[3,3]"}},
    {"{\"type\":\"array\",\"prefixItems\":[{\"const\":1}],\"minItems\":2}",
     {"-[1]", "+[1,\"x\"]", "-[1,2,3]"}},
    {"{\"type\":\"array\",\"items\":{\"enum\":[\"a\",\"b\",\"c\",\"a\"]},\"uniqueItems\":true}",
     {"+[]", "+[\"a\"]", "+[\"a\",\"c\"]", "+[\"a\", \"b\",\"c\"]", "-[\"a\",\"a\"]",
      "-[\"c\",\"a\"]"}},
    {"{\"type\":\"array\",\"items\":{\"enum\":[1,2,\"x\"],\"type\":\"integer\"},\"uniqueItems\":"
     "true,\"minItems\":1,\"maxItems\":1}",
     {"-[]", "+[1]", "+[2]", "-[1,2]", "-[\"x\"]"}},
    {"{\"items\":{\"type\":\"null\"}}", {"+[null]", "-1", "-{}"}},
};

static const schema_case objects[] = {
    {"{\"type\":\"object\"}",
     {"+{}", "+{\"a\":1, \"\xc3\xa9\": [2]}", "-[]", "-{\"a\" :1}", "-{\"a\":1,}", "-{a:1}",
      "-{\"\\u0061\":1}"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2},\"c\":{"
     "\"const\":3}},\"required\":[\"b\"]}",
     {"-{}", "+{\"b\":2}", "+{\"a\":1,\"b\":2}", "+{\"a\": 1, \"b\": 2, \"c\": 3}",
      "+{\"b\":2,\"c\":3}", "-{\"b\":2,\"a\":1}", "-{\"a\":1}", "-{\"b\":2,\"d\":4}", "-{\"b\":2,}",
      "-{\"b\":2 }"}},
    {"{\"properties\":{\"a b\\\"\\n\":{\"const\":1}},\"required\":[\"a b\\\"\\n\"]}",
     {"+{\"a b\\\"\\u000a\":1}", "-{}"}},
    {"{\"properties\":{\"na\":{\"const\":1},\"nb\":{\"const\":2}},\"additionalProperties\":{"
     "\"const\":0}}",
     {"+{}", "+{\"na\":1}", "+{\"x\":0}", "+{\"n\":0}", "+{\"nc\":0,\"nab\":0}", "-{\"na\":0}",
      "-{\"nb\":0}", "+{\"na\":1,\"nb\":2,\"nbb\":0}", "-{\"\":0}", "-{\"x\":1}"}},
    {"{\"properties\":{\"a\":{\"const\":1}},\"additionalProperties\":false}",
     {"+{}", "+{\"a\":1}", "-{\"b\":1}"}},
    {"{\"required\":[\"z\"]}", {"+{\"z\":[1]}", "-{}", "-{\"z\":1,\"y\":2}"}},
    {"{\"required\":[\"z\"],\"additionalProperties\":{\"const\":5}}",
     {"+{\"z\":5}", "+{\"z\":5,\"y\":5}", "-{\"y\":5}", "-{\"z\":4}"}},
    {"{\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2},\"c\":{\"const\":3}},"
     "\"minProperties\":2}",
     {"-{}", "-{\"a\":1}", "+{\"a\":1,\"b\":2}", "+{\"b\":2,\"c\":3}", "+{\"a\":1,\"c\":3}",
      "+{\"a\":1,\"b\":2,\"c\":3}"}},
    {"{\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2},\"c\":{\"const\":3}},"
     "\"maxProperties\":1}",
     {"+{}", "+{\"a\":1}", "+{\"c\":3}", "-{\"a\":1,\"b\":2}"}},
    {"{\"properties\":{\"a\":{\"const\":1},\"b\":false},\"minProperties\":2}",
     {"-{\"a\":1}", "+{\"a\":1,\"c\":0}", "-{\"a\":1,\"c\":0,\"d\":0}", "-{\"c\":0,\"d\":0}"}},
    {"{\"type\":\"object\",\"minProperties\":1,\"maxProperties\":2,\"additionalProperties\":{"
     "\"const\":0}}",
     {"-{}", "+{\"a\":0}", "+{\"a\":0,\"b\":0}", "-{\"a\":0,\"b\":0,\"c\":0}"}},
    {"{\"properties\":{\"a\":false,\"b\":{\"const\":1}}}", {"+{}", "+{\"b\":1}", "-{\"a\":1}"}},
    {"{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\"}}},{\"properties\":{\"a\":{"
     "\"minimum\":5},\"b\":{\"const\":0}},\"required\":[\"a\"]}]}",
     {"+{\"a\":5}", "-{\"a\":4}", "+{\"a\":7,\"b\":0}", "-{}", "-{\"a\":5.5}"}},
};

static const schema_case together[] = {
    {"{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"integer\",\"minimum\":3}]}",
     {"+null", "+3", "-2", "-\"a\""}},
    {"{\"type\":\"integer\",\"anyOf\":[{\"maximum\":1},{\"minimum\":5}]}",
     {"+1", "-3", "+5", "-null"}},
    {"{\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}},\"anyOf\":[{\"required\":[\"a\"]},{"
     "\"required\":[\"b\"]}]}",
     {"-{}", "+{\"a\":1}", "+{\"b\":2}", "+{\"a\":1,\"b\":2}"}},
    {"{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]}", {"+\"a\"", "+1", "-null"}},
    {"{\"oneOf\":[{\"properties\":{\"k\":{\"const\":\"a\"},\"x\":{\"const\":1}},\"required\":["
     "\"k\",\"x\"]},"
     "{\"properties\":{\"k\":{\"enum\":[\"b\",\"c\"]}},\"required\":[\"k\"]}]}",
     {"+{\"k\":\"a\",\"x\":1}", "-{\"k\":\"a\"}", "+{\"k\":\"b\"}", "+{\"k\":\"c\"}",
      "-{\"k\":\"b\",\"x\":1}"}},
    {"{\"required\":[\"k\"],\"oneOf\":[{\"properties\":{\"k\":{\"const\":1}}},{\"properties\":{"
     "\"k\":{\"const\":2}}}]}",
     {"+{\"k\":1}", "+{\"k\":2}", "-{}", "-{\"k\":3}"}},
    {"{\"oneOf\":[{\"properties\":{\"a\":{\"const\":1}},\"required\":[\"a\"]},{\"properties\":{"
     "\"b\":{\"const\":2}},\"required\":[\"b\"]}]}",
     {"+{\"a\":1}", "+{\"b\":2}", "-{\"a\":1,\"b\":2}", "-{}"}},
    {"{\"oneOf\":[{\"enum\":[1,2]},{\"enum\":[2,3]}]}", {"+1", "-2", "+3"}},
    {"{\"$ref\":\"#/$defs/a~1b%20\",\"$defs\":{\"a/b \":{\"type\":\"null\"}}}", {"+null", "-1"}},
    {"{\"properties\":{\"next\":{\"$ref\":\"#\"},\"v\":{\"const\":1}},\"required\":[\"v\"]}",
     {"+{\"v\":1}", "+{\"next\":{\"next\": {\"v\":1}, \"v\":1},\"v\":1}", "-{\"next\":{}}",
      "-{\"next\":{\"v\":1}}"}},
    {"{\"definitions\":{\"tree\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/definitions/"
     "tree\"}}},\"$ref\":\"#/definitions/tree\"}",
     {"+[]", "+[[], [[]]]", "-[1]"}},
    {"{\"$ref\":\"#/$defs/"
     "b\",\"required\":[\"y\"],\"$defs\":{\"b\":{\"properties\":{\"x\":{\"const\":1},\"y\":{"
     "\"const\":2}}}}}",
     {"+{\"x\":1,\"y\":2}", "+{\"y\":2}", "-{\"x\":1}"}},
    {"{\"anyOf\":[false,{\"const\":1}]}", {"+1", "-2"}},
    {"{\"type\":\"array\",\"items\":{\"anyOf\":[{\"$ref\":\"#\"},{\"const\":0}]}}",
     {"+[0, [0,[]]]", "-0", "-[1]"}},
};

typedef struct reader {
    inki_mem mem;
    char *gbnf;
    size_t bytes;
    inki_grammar *grammar;
    inki_matcher *matcher;
} reader;

static reader read_schema(const char *schema) {
    reader r = {.mem = inki_mem_from(NULL)};
    ink_error error = {0};
    if (inki_schema_to_gbnf(&r.gbnf, &r.bytes, schema, strlen(schema), &r.mem, &error) != INK_OK)
        fail_msg("%s: %s", schema, error.message);
    assert_int_equal(inki_grammar_parse(&r.grammar, r.gbnf, r.bytes, &r.mem, NULL), INK_OK);
    assert_int_equal(inki_matcher_new(&r.matcher, r.grammar, NULL, &r.mem, NULL), INK_OK);
    return r;
}

static bool takes(const reader *r, const char *text) {
    size_t taken = 0;
    inki_matcher_reset(r->matcher);
    assert_int_equal(inki_matcher_push(r->matcher, text, strlen(text), &taken, NULL), INK_OK);
    return taken == strlen(text) && inki_matcher_may_end(r->matcher);
}

static void free_reader(reader *r) {
    inki_matcher_free(r->matcher);
    inki_grammar_free(r->grammar);
    inki_release(&r->mem, r->gbnf, r->bytes + 1, 1);
}

static void check(const schema_case *c) {
    reader r = read_schema(c->schema);
    assert_int_equal(strlen(r.gbnf), r.bytes);
    for (size_t i = 0; i < 24 && c->documents[i] != NULL; i++) {
        const bool good = takes(&r, c->documents[i] + 1);
        if (good != (c->documents[i][0] == '+'))
            fail_msg("%s: %s is %s\n%s", c->schema, c->documents[i] + 1,
                     good ? "taken" : "not taken", r.gbnf);
    }
    free_reader(&r);
}

#define CHECK_ALL(list)                                                                            \
    static void of_##list(void **state) {                                                          \
        (void)state;                                                                               \
        for (size_t i = 0; i < sizeof(list) / sizeof *(list); i++) check(&(list)[i]);              \
    }
CHECK_ALL(scalars)
CHECK_ALL(numbers)
CHECK_ALL(strings)
CHECK_ALL(arrays)
CHECK_ALL(objects)
CHECK_ALL(together)
#undef CHECK_ALL

// Every pair of bounds against counting: the whole numbers of the range and no others.
static void whole_numbers(void **state) {
    (void)state;
    static const int bounds[] = {-1000, -137, -100, -99, -10, -9,  -1,  0,   1,   7,
                                 9,     10,   11,   99,  100, 101, 450, 999, 1000};
    const size_t n = sizeof bounds / sizeof *bounds;
    for (size_t a = 0; a < n; a++)
        for (size_t b = a; b < n; b++) {
            char text[128];
            snprintf(text, sizeof text, "{\"type\":\"integer\",\"minimum\":%d,\"maximum\":%d}",
                     bounds[a], bounds[b]);
            reader r = read_schema(text);
            for (int v = -1101; v <= 1101; v++) {
                snprintf(text, sizeof text, "%d", v);
                const bool good = takes(&r, text);
                if (good != (v >= bounds[a] && v <= bounds[b]))
                    fail_msg("%d in [%d, %d]: %d\n%s", v, bounds[a], bounds[b], good, r.gbnf);
            }
            free_reader(&r);
        }
}

// value units of 10^-decimals as text, without more zeros behind the point than that.
static void decimal_text(char *out, size_t cap, int value, int decimals) {
    int unit = 1;
    for (int i = 0; i < decimals; i++) unit *= 10;
    const int size = value < 0 ? -value : value;
    snprintf(out, cap, "%s%d.%0*d", value < 0 ? "-" : "", size / unit, decimals, size % unit);
}

// Bounds in hundredths, values in thousandths: none that is outside is taken, and of those inside
// all with two decimals are, but perhaps for the bounds themselves (0 is not written as 0.00).
static void fractions(void **state) {
    (void)state;
    static const int bounds[] = {-1234, -1000, -250, -201, -100, -99, -10, -1,  0,   1,
                                 9,     10,    25,   50,   99,   100, 101, 225, 1999};
    static const char *const keys[] = {"minimum", "exclusiveMinimum", "maximum",
                                       "exclusiveMaximum"};
    const size_t n = sizeof bounds / sizeof *bounds;
    for (size_t i = 0; i < n * n * 4; i++) {
        const int low = bounds[i % n], high = bounds[i / n % n];
        const int open_low = i / n / n & 1, open_high = i / n / n / 2 & 1;
        char a[32], b[32], text[128];
        if (low + open_low + open_high > high) continue;
        decimal_text(a, sizeof a, low, 2);
        decimal_text(b, sizeof b, high, 2);
        snprintf(text, sizeof text, "{\"type\":\"number\",\"%s\":%s,\"%s\":%s}", keys[open_low], a,
                 keys[2 + open_high], b);
        reader r = read_schema(text);
        for (int k = 0; k < 460; k++) { // around the bounds, and everywhere
            const int v = k < 60    ? 10 * low - 30 + k
                          : k < 120 ? 10 * high - 90 + k
                                    : -13000 + 97 * (k - 120);
            const bool inside = v >= 10 * low + open_low && v <= 10 * high - open_high;
            decimal_text(text, sizeof text, v, 3);
            if (takes(&r, text) && !inside) fail_msg("%s in %s to %s\n%s", text, a, b, r.gbnf);
            if (v % 10 != 0 || !inside || v / 10 == high || v / 10 == low) continue;
            decimal_text(text, sizeof text, v / 10, 2);
            if (v != 0 && !takes(&r, text)) fail_msg("%s not in %s to %s\n%s", text, a, b, r.gbnf);
        }
        free_reader(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_scalars),    cmocka_unit_test(of_numbers),
        cmocka_unit_test(of_strings),    cmocka_unit_test(of_arrays),
        cmocka_unit_test(of_objects),    cmocka_unit_test(of_together),
        cmocka_unit_test(whole_numbers), cmocka_unit_test(fractions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
