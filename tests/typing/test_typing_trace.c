// SPDX-License-Identifier: MIT
// Recorded typing is read strictly, and what is in the tree can be played.
#include "bench/typing/typing_trace.c"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[512];

static void path_of(char *out, size_t cap, const char *name) {
    snprintf(out, cap, "%s/%s", folder, name);
}

static void put(const char *name, const char *text, size_t bytes) {
    char path[600];
    path_of(path, sizeof path, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

// Plays all of it; the field must become `expected` with the caret there.
static void expect_played(const char *text, const char *expected, size_t caret) {
    char path[600], message[TYPING_MESSAGE] = "";
    typing_trace trace;
    typing_field f;
    path_of(path, sizeof path, "trace");
    put("trace", text, strlen(text));
    if (!typing_trace_read(&trace, path, message)) fail_msg("%s", message);
    assert_true(typing_field_begin(&f, &trace));
    for (size_t i = 0; i < trace.n_keys; i++) {
        typing_field_key(&f, &trace, &trace.keys[i]);
        assert_true(f.bytes <= trace.max_bytes);
    }
    assert_int_equal(f.bytes, strlen(expected));
    assert_memory_equal(f.text, expected, f.bytes);
    assert_int_equal(f.caret, caret);
    typing_field_end(&f);
    typing_trace_free(&trace);
}

static void test_played(void **state) {
    (void)state;
    expect_played("inkling-typing 1\ntext \"abc\"\n", "abc", 3);
    expect_played("inkling-typing 1\n\n# a remark\ntext \"abc\"\nback 2\ntext \"x\"\n", "ax", 2);
    expect_played("inkling-typing 1\npaste \"a \\\"b\\\"\\n\\t\\\\\"\n", "a \"b\"\n\t\\", 8);
    expect_played("inkling-typing 1\ntext \"caf\xc3\xa9 \xe4\xb8\xad\"\ncaret -2\nback 1\n",
                  "caf \xe4\xb8\xad", 3);
    expect_played("inkling-typing 1\ntext \"\xe4\xb8\xad\xe6\x96\x87"
                  "b\"\ncaret =1\ndelete 1\n",
                  "\xe4\xb8\xad"
                  "b",
                  3);
    expect_played("inkling-typing 1\ntext \"abcdef\"\ncaret =2\ntext \"X\"\ncaret +2\ntext \"Y\"\n"
                  "caret =end\ntext \"Z\"\n",
                  "abXcdYefZ", 9);
    put("doc.txt", "one two", 7);
    expect_played("inkling-typing 1\ndoc doc.txt\ntext \"!\"\ncaret =3\nback 3\n", " two!", 0);
}

static void test_keys(void **state) {
    (void)state;
    char path[600], message[TYPING_MESSAGE] = "";
    typing_trace t;
    static const char text[] =
        "inkling-typing 1\ntext \"a\xc3\xa9\"\npaste \"xyz\"\nback 3\ncaret -1\ndelete 1\n";
    path_of(path, sizeof path, "trace");
    put("trace", text, sizeof text - 1);
    assert_true(typing_trace_read(&t, path, message));
    static const typing_op ops[] = {TYPING_INSERT, TYPING_INSERT, TYPING_INSERT, TYPING_BACK,
                                    TYPING_BACK,   TYPING_BACK,   TYPING_MOVE,   TYPING_DELETE};
    assert_int_equal(t.n_keys, sizeof ops / sizeof *ops);
    for (size_t i = 0; i < t.n_keys; i++) assert_int_equal(t.keys[i].op, ops[i]);
    assert_int_equal(t.keys[1].bytes, 2);
    assert_int_equal(t.keys[2].bytes, 3);
    assert_int_equal(t.max_bytes, 6);
    typing_trace_free(&t);
}

static void refused(const char *text, size_t bytes, const char *expected) {
    char path[600], message[TYPING_MESSAGE] = "";
    typing_trace trace = {.n_keys = 77};
    path_of(path, sizeof path, "trace");
    put("trace", text, bytes);
    assert_false(typing_trace_read(&trace, path, message));
    assert_int_equal(trace.n_keys, 77);
    assert_null(strchr(message, '\n'));
    if (strstr(message, expected) == NULL) fail_msg("\"%s\" is not in: %s", expected, message);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *line, *message;
    } wrong[] = {
        {"", ":2: there are no keys"},
        {"text \"a\"", ":2: a line feed"},
        {"type \"a\"\n", ":2: text, paste, back, delete, caret or doc"},
        {"text a\n", ":2: a text between quotes"},
        {"text \"a\n", ":2: one closing quote"},
        {"text \"a\" \n", ":2: one closing quote"},
        {"text \"a\"b\"\n", ":2: one closing quote"},
        {"text \"a\\\"\n", ":2: one closing quote"},
        {"text \"\\x\"\n", ":2: behind a \\"},
        {"text \"\\\n", ":2: behind a \\"},
        {"text \"\"\n", ":2: a text of at least one character"},
        {"text\n", ":2: a text between quotes"},
        {"back 1\n", ":2: 1 characters before the caret"},
        {"text \"ab\"\nback 3\n", ":3: 3 characters before the caret were expected, there are 2"},
        {"text \"ab\"\nback 0\n", ":3: 1 to"},
        {"text \"ab\"\nback -1\n", ":3: a number"},
        {"text \"ab\"\nback 1 \n", ":3: a number"},
        {"text \"ab\"\nback 99999999999999999999\n", ":3: a number"},
        {"text \"ab\"\nback\n", ":3: a number"},
        {"text \"ab\"\ndelete 1\n", ":3: 1 characters behind the caret"},
        {"text \"ab\"\ncaret -3\n", ":3: caret -3 is outside of the text, by 1"},
        {"text \"ab\"\ncaret +1\n", ":3: caret +1 is outside"},
        {"text \"ab\"\ncaret =3\n", ":3: caret =3 is outside"},
        {"text \"ab\"\ncaret 1\n", ":3: caret needs"},
        {"text \"ab\"\ncaret\n", ":3: caret needs"},
        {"text \"ab\"\ndoc doc.txt\n", ":3: doc was expected once, before"},
        {"doc doc.txt\ndoc doc.txt\n", ":3: doc was expected once"},
        {"doc ../doc.txt\n", ":2: the name of a file beside"},
        {"doc none.txt\ntext \"a\"\n", "none.txt"},
        {"doc bad.txt\ntext \"a\"\n", "bad.txt is not UTF-8"},
    };
    put("doc.txt", "one two", 7);
    put("bad.txt", "one \xff", 5);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[256];
        const int n = snprintf(text, sizeof text, "inkling-typing 1\n%s", wrong[i].line);
        refused(text, (size_t)n, wrong[i].message);
    }
    refused("", 0, ":1: the first line");
    refused("inkling-typing 2\ntext \"a\"\n", 26, ":1: the first line");
    refused("inkling-typing 1\r\ntext \"a\"\r\n", 28, ":1: the first line");
    refused("inkling-typing 1\ntext \"\xff\"\n", 26, "UTF-8");
    refused("inkling-typing 1\ntext \"\0\"\n", 26, "UTF-8");
    char message[TYPING_MESSAGE] = "";
    typing_trace trace;
    assert_false(typing_trace_read(&trace, "/no/such/trace", message));
    assert_non_null(strstr(message, "/no/such/trace"));
}

// Every beginning of a trace is read or refused, never anything else.
static void test_cut_anywhere(void **state) {
    (void)state;
    static const char text[] = "inkling-typing 1\ndoc doc.txt\ntext \"a\\n\xc3\xa9\"\nback 1\n"
                               "caret -1\ndelete 1\npaste \"b c\"\ncaret =end\n";
    char path[600], message[TYPING_MESSAGE];
    path_of(path, sizeof path, "trace");
    put("doc.txt", "one two", 7);
    for (size_t n = 0; n < sizeof text; n++) {
        typing_trace trace = {.n_keys = 0};
        put("trace", text, n);
        if (typing_trace_read(&trace, path, message)) assert_true(trace.n_keys > 0);
        typing_trace_free(&trace);
    }
}

static void test_those_in_the_tree(void **state) {
    (void)state;
    static const char *const names[] = {"append", "jumps", "document"};
    const char *root = getenv("INKLING_SOURCE_DIR");
    for (size_t i = 0; i < 3; i++) {
        char path[1024], message[TYPING_MESSAGE] = "";
        typing_trace t;
        typing_field f;
        size_t n_moves = 0, n_far = 0;
        snprintf(path, sizeof path, "%s/bench/typing/%s.trace", root != NULL ? root : ".",
                 names[i]);
        if (!typing_trace_read(&t, path, message)) fail_msg("%s", message);
        assert_true(typing_field_begin(&f, &t));
        for (size_t k = 0; k < t.n_keys; k++) {
            typing_field_key(&f, &t, &t.keys[k]);
            assert_int_equal(inki_utf8_count_invalid((uint8_t *)f.text, f.bytes), 0);
            n_moves += t.keys[k].op == TYPING_MOVE;
            n_far += t.keys[k].op == TYPING_MOVE && llabs(t.keys[k].by) > 40;
        }
        assert_int_equal(n_far, i == 2 ? 1 : 0); // into the middle of the document
        if (i == 0) assert_int_equal(n_moves, 0);
        if (i == 0) assert_int_equal(f.bytes, 500);
        if (i == 1) assert_true(n_moves >= 20 && f.bytes >= 450 && f.bytes <= 550);
        typing_field_end(&f);
        typing_trace_free(&t);
    }
}

static int set_up(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/inkling-trace-XXXXXX", tmp != NULL ? tmp : "/tmp");
    return mkdtemp(folder) == NULL;
}

static int tear_down(void **state) {
    (void)state;
    static const char *const names[] = {"trace", "doc.txt", "bad.txt"};
    char path[600];
    for (size_t i = 0; i < 3; i++) {
        path_of(path, sizeof path, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_played), cmocka_unit_test(test_keys), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_cut_anywhere), cmocka_unit_test(test_those_in_the_tree)};
    return cmocka_run_group_tests_name("typing: traces", tests, set_up, tear_down);
}
