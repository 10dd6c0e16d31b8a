// SPDX-License-Identifier: MIT
// Reading GBNF: what is refused, with its place to the byte; what the forms mean, by texts that
// are of a grammar and texts that are not.
#include "grammar/matcher.h"

#include "vocab_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static inki_grammar *parse(const char *gbnf) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_grammar *g = NULL;
    ink_error error;
    if (inki_grammar_parse(&g, gbnf, strlen(gbnf), &mem, &error) != INK_OK)
        fail_msg("%s in\n%s", error.message, gbnf);
    return g;
}

typedef struct refusal {
    const char *gbnf;
    ink_status status;
    size_t at;
    const char *message;
} refusal;

static const refusal refused[] = {
    {"", INK_E_FORMAT, 0, "line 1, column 1: rule \"root\" is missing"},
    {"# nothing\n", INK_E_FORMAT, 10, "line 2, column 1: rule \"root\" is missing"},
    {"other ::= \"a\"", INK_E_FORMAT, 13, "line 1, column 14: rule \"root\" is missing"},
    {"root ::= a\na ::= \"x\" bb", INK_E_FORMAT, 21, "line 2, column 11: rule \"bb\" is missing"},
    {"root ::= \"a\"\n\n  root ::= \"b\"", INK_E_FORMAT, 16,
     "line 3, column 3: rule \"root\" is there already"},
    {"root ::= \"a\n", INK_E_FORMAT, 12, "line 2, column 1: a literal or class that does not end"},
    {"root ::= [a-", INK_E_FORMAT, 12, "line 1, column 13: a literal or class that does not end"},
    {"root ::= [a-z", INK_E_FORMAT, 13, "line 1, column 14: a literal or class that does not end"},
    {"root ::= []", INK_E_FORMAT, 9, "line 1, column 10: a class without a character"},
    {"root ::= [^]", INK_E_FORMAT, 9, "line 1, column 10: a class without a character"},
    {"root ::= [\\uD800-\\uDFFF]", INK_E_FORMAT, 9,
     "line 1, column 10: a class without a character"},
    {"root ::= [^\\x00-\\U0010FFFF]", INK_E_FORMAT, 9,
     "line 1, column 10: a class without a character"},
    {"root ::= [az-a]", INK_E_FORMAT, 11, "line 1, column 12: a range that ends before it begins"},
    {"root ::= \"\\ud83d\"", INK_E_FORMAT, 10, "line 1, column 11: a surrogate is no character"},
    {"root ::= \"\\U00110000\"", INK_E_FORMAT, 10,
     "line 1, column 11: no character is above U+10FFFF"},
    {"root ::= \"\\x4g\"", INK_E_FORMAT, 13, "line 1, column 14: a hexadecimal digit was expected"},
    {"root ::= \"\\q\"", INK_E_FORMAT, 10, NULL},
    {"root ::= \"\\", INK_E_FORMAT, 10, NULL},
    {"root = \"a\"", INK_E_FORMAT, 5, "line 1, column 6: \"::=\" was expected"},
    {"root\n::= \"a\"", INK_E_FORMAT, 4, "line 1, column 5: \"::=\" was expected"},
    {"root ::= (\"a\"", INK_E_FORMAT, 13, "line 1, column 14: \")\" or an item was expected"},
    {"root ::= (\"a\" ]", INK_E_FORMAT, 14, "line 1, column 15: \")\" or an item was expected"},
    {"root ::= \"a\")", INK_E_FORMAT, 12,
     "line 1, column 13: an item or a line's end was expected"},
    {"root ::= *", INK_E_FORMAT, 9, "line 1, column 10: an item or a line's end was expected"},
    {"root ::= \"a\"\n| \"b\"", INK_E_FORMAT, 13,
     "line 2, column 1: the name of a rule was expected"},
    {"root ::= \"a\" <[12]>", INK_E_FORMAT, 13,
     "line 1, column 14: tokens are not supported, only text"},
    {"root ::= (!<end>)*", INK_E_FORMAT, 10,
     "line 1, column 11: tokens are not supported, only text"},
    {"root ::= \"a\" ;", INK_E_FORMAT, 13,
     "line 1, column 14: an item or a line's end was expected"},
    {"root ::= \"a\"{}", INK_E_FORMAT, 13, "line 1, column 14: a number was expected"},
    {"root ::= \"a\"{,3}", INK_E_FORMAT, 13, "line 1, column 14: a number was expected"},
    {"root ::= \"a\"{2 3}", INK_E_FORMAT, 15, "line 1, column 16: \"}\" was expected"},
    {"root ::= \"a\"{1,2", INK_E_FORMAT, 16, "line 1, column 17: \"}\" was expected"},
    {"root ::= \"a\"{3,2}", INK_E_FORMAT, 12,
     "line 1, column 13: fewer repetitions at most than at least"},
    {"root ::= \"a\"{4097}", INK_E_LIMIT, 13, "line 1, column 14: over 4096 repetitions"},
    {"root ::= \"a\"{0,99999999999999999999}", INK_E_LIMIT, 15,
     "line 1, column 16: over 4096 repetitions"},
    {"root ::= \"a\"*****", INK_E_LIMIT, 16, "line 1, column 17: over 4 suffixes"},
    {"root ::= (\"ab\"{4096}){4096} b\nb ::= ([a-c]* \"d\"){4096}{4096}{4096}", INK_OK, 0, NULL},
    {"root ::= \"a\xff\"", INK_E_UTF8, 11, "line 1, column 12: the grammar is not UTF-8"},
    {"root ::= root", INK_E_FORMAT, 0, "line 1, column 1: rule \"root\" can never end"},
    {"root ::= root \"a\" | \"b\"", INK_E_FORMAT, 0,
     "line 1, column 1: rule \"root\" is left-recursive"},
    {"root ::= \"x\" a\na ::= b \"a\" | \"c\"\nb ::= c | \"d\"\nc ::= a \"e\"", INK_E_FORMAT, 15,
     NULL},
    {"root ::= \"x\" a\n a ::= e? ws a \"a\" | \"c\"\ne ::= \"e\"\nws ::= [ ]*", INK_E_FORMAT, 16,
     "line 2, column 2: rule \"a\" is left-recursive"},
    {"root ::= (\"\"* (root \"a\"){2,3})? \"b\"", INK_E_FORMAT, 0,
     "line 1, column 1: rule \"root\" is left-recursive"},
    {"root ::= \"a\" | b\nb ::= \"x\" c\nc ::= \"y\" c", INK_E_FORMAT, 29,
     "line 3, column 1: rule \"c\" can never end"},
    {"root ::= \"a\"\nunused ::= \"x\" unused", INK_E_FORMAT, 13,
     "line 2, column 1: rule \"unused\" can never end"},
    {"root ::= \"a\" | b\nb ::= (\"x\" (b \"y\" | b)){3}", INK_E_FORMAT, 17,
     "line 2, column 1: rule \"b\" can never end"},
};

static void bad_grammars(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        inki_grammar *g = (inki_grammar *)&mem;
        ink_error error = {0};
        const ink_status status =
            inki_grammar_parse(&g, refused[i].gbnf, strlen(refused[i].gbnf), &mem, &error);
        if (status != refused[i].status)
            fail_msg("%d, %s: %s", status, error.message, refused[i].gbnf);
        if (status == INK_OK) {
            inki_grammar_free(g);
            continue;
        }
        assert_ptr_equal(g, &mem);
        assert_int_equal(error.status, status);
        if (error.offset != refused[i].at)
            fail_msg("at %u, %s: %s", (unsigned)error.offset, error.message, refused[i].gbnf);
        if (refused[i].message != NULL) assert_string_equal(error.message, refused[i].message);
    }
}

// No sizes but those of the text and its steps: each is refused at once, with little memory.
static void limits(void **state) {
    (void)state;
    fail_mem counts = {0};
    const inki_mem mem = fail_mem_over(&counts);
    inki_grammar *g = NULL;
    ink_error error;
    const size_t n = INKI_GRAMMAR_MAX_BYTES + 1;
    char *text = malloc(n);
    assert_non_null(text);
    memset(text, ' ', n);
    memcpy(text, "root ::= \"a\"\n", 13);
    assert_int_equal(inki_grammar_parse(&g, text, n, &mem, &error), INK_E_LIMIT);
    assert_int_equal(inki_grammar_parse(&g, text, n - 1, &mem, &error), INK_OK);
    inki_grammar_free(g);
    memset(text + 9, '(', n - 9);
    assert_int_equal(inki_grammar_parse(&g, text, n - 1, &mem, &error), INK_E_LIMIT);
    assert_int_equal(error.offset, 9 + 100);
    // A hundred are fine.
    for (int i = 0; i < 100; i++) text[109 + i] = ')';
    assert_int_equal(inki_grammar_parse(&g, text, 209, &mem, &error), INK_OK);
    inki_grammar_free(g);
    // 400,000 groups that are their own rules; 2^20 steps.
    size_t used = 9;
    while (used + 8 < n) used += (size_t)sprintf(text + used, "(\"\"){2}");
    assert_int_equal(inki_grammar_parse(&g, text, used, &mem, &error), INK_E_LIMIT);
    used = 9;
    for (int i = 0; i < 300; i++) used += (size_t)sprintf(text + used, "[a]{0,4096} ");
    assert_int_equal(inki_grammar_parse(&g, text, used, &mem, &error), INK_E_LIMIT);
    assert_non_null(strstr(error.message, "2^20"));
    free(text);
    assert_int_equal(counts.n_blocks, 0);
}

typedef struct meaning {
    const char *gbnf;
    const char *good[8], *bad[8]; // up to NULL
} meaning;

static bool is_text(inki_matcher *m, const char *text) {
    size_t n_accepted;
    inki_matcher_reset(m);
    assert_int_equal(inki_matcher_push(m, text, strlen(text), &n_accepted, NULL), INK_OK);
    return n_accepted == strlen(text) && inki_matcher_may_end(m);
}

static void check_meaning(const meaning *one) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_grammar *g = parse(one->gbnf);
    inki_matcher *m = NULL;
    assert_int_equal(inki_matcher_new(&m, g, NULL, &mem, NULL), INK_OK);
    for (int i = 0; i < 8 && one->good[i] != NULL; i++)
        if (!is_text(m, one->good[i])) fail_msg("refused: %s\n%s", one->good[i], one->gbnf);
    for (int i = 0; i < 8 && one->bad[i] != NULL; i++)
        if (is_text(m, one->bad[i])) fail_msg("taken: %s\n%s", one->bad[i], one->gbnf);
    inki_matcher_free(m);
    inki_grammar_free(g);
}

static void forms(void **state) {
    (void)state;
    static const meaning list[] = {
        {"root ::= \"\\n\\r\\t\\\\\\\"\\[\\]\\-\\x41\\xe9\\u20AC\\U0001f642\"",
         {"\n\r\t\\\"[]-A\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82"},
         {"\n\r\t\\\"[]-A\xe9"}},
        {"root ::= \"\"", {""}, {"a"}},
        {"root ::=\n", {""}, {"a"}},
        {"root ::= \"a\" |", {"a", ""}, {"aa"}},
        {"root ::= | \"a\" |\n # more\n \"b\"", {"a", "", "b"}, {"ab"}},
        {"root ::= ()*", {""}, {"a"}},
        {"root ::= [a-cx\\]-]", {"a", "b", "c", "x", "]", "-"}, {"d", "ab", "\\", ""}},
        {"root ::= [-a]+", {"-a-"}, {"b", ""}},
        {"root ::= [^a-c\n]", {"d", "\xc3\xa9", "\xf4\x8f\xbf\xbf"}, {"a", "\n", "\xc3", "dd", ""}},
        {"root ::= [^^]{2}", {"ab"}, {"a^", "a"}},

        {"root ::= .",
         {"a", "\n", "\xed\x9f\xbf", "\xee\x80\x80"},
         {"", "\xed\xa0\x80", "\xff", "ab"}},
        {"root ::= \"ab\"*", {"", "ab", "abab"}, {"aba", "a"}},
        {"root ::= \"a\" ? \"b\" +", {"b", "ab", "abb"}, {"a", "aab", ""}},
        {"root ::= \"a\"{2}", {"aa"}, {"a", "aaa", ""}},
        {"root ::= \"a\"{ 2 , }", {"aa", "aaa", "aaaaaaa"}, {"a", ""}},
        {"root ::= \"a\"{0}", {""}, {"a"}},
        {"root ::= \"a\"{1,3}\"b\"", {"ab", "aaab"}, {"b", "aaaab"}},
        {"root ::= \"a\"{2}{2}?", {"", "aaaa"}, {"aa", "a"}},
        {"root ::= (\"a\" | \"b\" \"c\"\n)* \"d\"", {"d", "abcd"}, {"abd"}},
        {"root ::= A-1\nA-1 ::= \"x\" A-1 | \"y\"", {"y", "xxxy"}, {"x"}},
        {"root ::= rule_1 _\nrule_1 ::= \"x\"\n_ ::= \"y\" _ | rule1\nrule1 ::= \"z\"",
         {"xz", "xyyz"},
         {"xx", "zz"}},
        {"root::=a b#\r\na::=\"1\"\r\n\r\nb::=\"2\"", {"12"}, {"1"}},
        {"root ::= \"(\" root \")\" root | \"\"", {"", "()(())"}, {"(()", ")"}},
        {"root ::= e e \"x\"\ne ::= \"a\"? | e-2\ne-2 ::= \"b\"?", {"x", "ax", "bax"}, {"aaax"}},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (list[i].good[0] != NULL || list[i].bad[0] != NULL) check_meaning(&list[i]);
}

static void known_languages(void **state) {
    (void)state;
    static const meaning list[] = {
        {"root  ::= (expr \"=\" ws term \"\\n\")+\nexpr  ::= term ([-+*/] term)*\n"
         "term  ::= ident | num | \"(\" ws expr \")\" ws\nident ::= [a-z] [a-z0-9_]* ws\n"
         "num   ::= [0-9]+ ws\nws    ::= [ \\t\\n]*",
         {"1+2=3\n", "a1 *(b -2)=x\n(1)= (2)\n"},
         {"1+2=3", "1+=3\n", "(1=2\n", "1A=2\n"}},
        {"root ::= item+\n# a list\nitem ::= \"- \" [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ "
         "\"\\n\"",
         {"- a\n", "- one\n- zw\xc3\xb6lf\n"},
         {"-a\n", "- a", "- \xe2\x80\xa8\n", "- \xc2\x85\n"}},
        {"root ::= \"1. \" move \" \" move \"\\n\" ([2-9] \". \" move \" \" move \"\\n\")*\n"
         "move ::= (pawn | piece | castle) [+#]?\npiece ::= [NBKQR] [a-h]? [1-8]? \"x\"? [a-h] "
         "[1-8]\n"
         "pawn ::= ([a-h] \"x\")? [a-h] [1-8] (\"=\" [NBKQR])?\ncastle ::= \"O-O\" \"-O\"?",
         {"1. e4 e5\n", "1. e4 d5\n2. exd5 Qxd5+\n3. O-O-O Nb1c3\n"},
         {"1. e4\n", "1. e9 e5\n", "2. e4 e5\n"}},
        {"root ::= value\nvalue ::= object | array | string | number | (\"true\" | \"false\" | "
         "\"null\") ws\n"
         "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? \"}\" ws\n"
         "array ::= \"[\" ws (value (\",\" ws value)*)? \"]\" ws\n"
         "string ::= \"\\\"\" ([^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\bfnrt] | \"u\" "
         "[0-9a-fA-F]{4}))* \"\\\"\" ws\n"
         "number ::= (\"-\"? ([0-9] | [1-9] [0-9]{0,15})) (\".\" [0-9]+)? ([eE] [-+]? [0-9] "
         "[1-9]{0,15})? ws\n"
         "ws ::= | \" \" | \"\\n\" [ \\t]{0,20}",
         {"{\"a\": [1, -2.5e3, {}], \"\\u00e9\": null}", "[]", "\"\xf0\x9f\x99\x82\"",
          "[[[\n  1]]]"},
         {"{a: 1}", "[1,]", "01", "\"\n\"", "{\"a\" 1}", "\"\\x\""}},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) check_meaning(&list[i]);
}

static void source_is_kept(void **state) {
    (void)state;
    static const char gbnf[] = "root ::= \"a\" # x\n";
    size_t n = 0;
    inki_grammar *g = parse(gbnf);
    assert_string_equal(inki_grammar_source(g, &n), gbnf);
    assert_int_equal(n, sizeof gbnf - 1);
    inki_grammar_free(g);
    inki_grammar_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(bad_grammars), cmocka_unit_test(limits),
                                       cmocka_unit_test(forms), cmocka_unit_test(known_languages),
                                       cmocka_unit_test(source_is_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
