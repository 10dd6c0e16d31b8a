// SPDX-License-Identifier: MIT
// Tokenizer files: what they may look like, and what in them is refused.
#include "gguf/gguf.h"
#include "hf_dir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

typedef struct bad_case {
    const char *file, *before, *after;
    ink_status status;
    const char *first, *second;
} bad_case;

static void refuse_all(const char *fixture, const bad_case *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        ink_error error = {0};
        hf_dir d = hf_dir_copy_of(fixture);
        hf_dir_replace(&d, cases[i].file, cases[i].before, cases[i].after);
        const ink_status status = hf_dir_convert(&d, INKI_F32, &error);
        if (status != cases[i].status)
            fail_msg("%s: %s, %s", cases[i].after, ink_status_name(status), error.message);
        if (strstr(error.message, cases[i].first) == NULL ||
            strstr(error.message, cases[i].second) == NULL)
            fail_msg("\"%s\" lacks \"%s\" or \"%s\"", error.message, cases[i].first,
                     cases[i].second);
        assert_true(hf_dir_out_is_empty(&d));
        hf_dir_drop(&d);
    }
}

static void test_plain_files(void **state) {
    (void)state;
    static const bad_case cases[] = {
        {"vocab.json", "\"<|endoftext|>\": 319", "\"<|endoftext|>\": 320", INK_E_FORMAT, "320",
         "vocab_size"},
        {"vocab.json", "\"<|endoftext|>\": 319", "\"<|endoftext|>\": -1", INK_E_FORMAT, "-1",
         "vocab_size"},
        {"vocab.json", "\"<|endoftext|>\": 319", "\"<|endoftext|>\": \"319\"", INK_E_FORMAT,
         "<|endoftext|>", "integer"},
        {"vocab.json", "\"<|endoftext|>\": 319", "\"<|endoftext|>\": 318", INK_E_FORMAT, "same id",
         "318"},
        {"vocab.json", "\"<|endoftext|>\": 319", "\"!\": 319", INK_E_FORMAT, "vocab.json",
         "duplicate"},
        {"vocab.json", "\"he\": 256", "\"he\": 256.0", INK_E_FORMAT, "he", "integer"},
        {"vocab.json", "\"he\": 256, ", "", INK_E_FORMAT, "256", "no token has id"},
        {"vocab.json", "\"!\": 0", "\"!!!\": 0", INK_E_FORMAT, "\"!\"", "byte"},
        {"vocab.json", "\"he\": 256", "\"h e\": 256", INK_E_FORMAT, "token 256", "byte-level"},
        {"vocab.json", "\"he\": 256", "\"\": 256", INK_E_FORMAT, "token 256", "byte-level"},
        {"vocab.json", "\"he\": 256", "\"\xe4\xbd\xa0\": 256", INK_E_FORMAT, "token 256",
         "byte-level"},
        {"vocab.json", "\"he\": 256", "\"hx\": 256", INK_E_FORMAT, "merges.txt", "what it makes"},
        {"vocab.json", "{", "[", INK_E_FORMAT, "vocab.json", "JSON"},
        {"merges.txt", "h e", "he e", INK_E_FORMAT, "merge 0", "what it makes"},
        {"merges.txt", "h e", "h_ e", INK_E_FORMAT, "merge 0", "first part"},
        {"merges.txt", "h e", "h e e", INK_E_FORMAT, "merge 0", "second part"},
        {"merges.txt", "h e", "he", INK_E_FORMAT, "merge 0", "two tokens"},
        {"merges.txt", "h e\n", "h e\nh e\n", INK_E_FORMAT, "\"h e\"", "twice"},
        {"merges.txt", "h e", "\xff e", INK_E_FORMAT, "merge 0", "first part"},
        // A list cut at the end of a line, and one of which nothing is left.
        {"merges.txt", "h e\n", "", INK_E_FORMAT, "merges.txt", "no merge makes token 256 \"he\""},
    };
    refuse_all("hf-plain", cases, sizeof cases / sizeof *cases);
    // Rows that are padding can be no end of a text.
    static const bad_case padding[] = {{"config.json", "\"eos_token_id\": 316",
                                        "\"eos_token_id\": 318", INK_E_FORMAT,
                                        "eos_token_id is 318", "316"}};
    refuse_all("hf-untied", padding, 1);
}

static void test_fast_file(void **state) {
    (void)state;
    static const char f[] = "tokenizer.json";
    static const bad_case cases[] = {
        {f, "\"type\": \"BPE\"", "\"type\": \"Unigram\"", INK_E_UNSUPPORTED, "model.type", "BPE"},
        {f, "\"type\": \"BPE\"", "\"type\": 7", INK_E_FORMAT, "type", "string"},
        {f, "\"type\": \"BPE\"", "\"type\": \"BPE\", \"byte_fallback\": true", INK_E_UNSUPPORTED,
         "byte_fallback", "false"},
        {f, "\"type\": \"BPE\"", "\"type\": \"BPE\", \"ignore_merges\": true", INK_E_UNSUPPORTED,
         "ignore_merges", "false"},
        {f, "\"normalizer\": null", "\"normalizer\": {\"type\": \"NFC\"}", INK_E_UNSUPPORTED,
         "normalizer", "null"},
        {f, "\"pre_tokenizer\": {\"type\": \"ByteLevel\"",
         "\"pre_tokenizer\": {\"type\": \"Metaspace\"", INK_E_UNSUPPORTED, "pre_tokenizer",
         "ByteLevel"},
        {f, "\"pre_tokenizer\": {", "\"pre_tokenizer\": {\"use_regex\": false, ", INK_E_UNSUPPORTED,
         "pre_tokenizer", "use_regex"},
        {f, "\"model\": {", "\"model\": 1, \"x\": {", INK_E_FORMAT, "model is an integer",
         "object"},
        {f, "\"model\": {", "\"mode\": {", INK_E_FORMAT, "model is missing", "object"},
        {f, "\"vocab\": {", "\"vocabulary\": {", INK_E_FORMAT, "model.vocab", "missing"},
        {f, "\"merges\": [", "\"merge\": [", INK_E_FORMAT, "model.merges", "array"},
        {f, "[\"h\", \"e\"]", "[\"h\"]", INK_E_FORMAT, "model.merges[0]", "neither"},
        {f, "[\"h\", \"e\"]", "[\"h\", 1]", INK_E_FORMAT, "model.merges[0]", "neither"},
        {f, "[\"h\", \"e\"]", "7", INK_E_FORMAT, "model.merges[0]", "neither"},
        {f, "[\"h\", \"e\"]", "[\"h \", \"e\"]", INK_E_FORMAT, "merge 0", "second part"},
        {f, "[\"h\", \"e\"]", "[\"\", \"\"]", INK_E_FORMAT, "merge 0", "first part"},
        {f, "\"added_tokens\": [", "\"added_tokens\": 1, \"x\": [", INK_E_FORMAT, "added_tokens",
         "array"},
        {f, "\"content\": \"<|endoftext|>\"", "\"content\": 1", INK_E_FORMAT,
         "added_tokens[0].content", "text"},
        {f, "\"content\": \"<|endoftext|>\"", "\"content\": \"he\"", INK_E_FORMAT, "he",
         "in the vocabulary it has 256"},
        {f, "{\"id\": 319", "{\"id\": 318", INK_E_FORMAT, "same id", "318"},
        {f, "{\"id\": 319", "{\"id\": 1e3", INK_E_FORMAT, "<|endoftext|>", "integer"},
        {f, "\"special\": true", "\"special\": \"yes\"", INK_E_FORMAT, "special", "true or false"},
        {f, "\"he\": 256", "\"he\": 256, \"\\u0000\": 320", INK_E_FORMAT, "tokenizer.json", "JSON"},
        {f, "\"he\": 256", "\"\\ud800\": 256", INK_E_FORMAT, "tokenizer.json", "JSON"},
    };
    refuse_all("hf-f16", cases, sizeof cases / sizeof *cases);
}

static void test_missing_files(void **state) {
    (void)state;
    ink_error error = {0};
    hf_dir d = hf_dir_copy_of("hf-plain");
    hf_dir_remove(&d, "merges.txt");
    assert_int_equal(hf_dir_convert(&d, INKI_F32, &error), INK_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "merges.txt"));
    hf_dir_remove(&d, "vocab.json");
    assert_int_equal(hf_dir_convert(&d, INKI_F32, &error), INK_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "vocab.json"));
    assert_true(hf_dir_out_is_empty(&d));
    hf_dir_drop(&d);
}

typedef struct opened_gguf {
    inki_file file;
    inki_gguf gguf;
} opened_gguf;

static opened_gguf open_out(const hf_dir *d) {
    const inki_mem mem = inki_mem_from(NULL);
    ink_error error = {0};
    opened_gguf o = {0};
    if (hf_dir_convert(d, INKI_F32, &error) != INK_OK) fail_msg("%s", error.message);
    assert_int_equal(inki_os_open_path(&o.file, d->out, true, &mem, NULL), INK_OK);
    assert_int_equal(inki_gguf_open(&o.gguf, o.file.data, o.file.bytes, &mem, NULL), INK_OK);
    return o;
}

static void close_out(opened_gguf *o) {
    inki_gguf_close(&o->gguf);
    inki_os_close(&o->file);
}

static int32_t kind_of(const opened_gguf *o, size_t id) {
    const uint8_t *kinds = NULL;
    uint64_t n = 0;
    int32_t kind;
    assert_int_equal(
        inki_gguf_get_i32_run(&o->gguf, "tokenizer.ggml.token_type", true, &kinds, &n, NULL),
        INK_OK);
    assert_true(id < n);
    memcpy(&kind, kinds + 4 * id, 4);
    return kind;
}

static inki_str text_of_key(const opened_gguf *o, const char *key) {
    inki_str s = {0};
    assert_int_equal(inki_gguf_get_str(&o->gguf, key, false, &s, NULL), INK_OK);
    return s;
}

// Tokens beside the vocabulary take rows that were padding: special ones, and texts of a user's
// own.
static void test_added_tokens(void **state) {
    (void)state;
    hf_dir d = hf_dir_copy_of("hf-untied");
    hf_dir_text(&d, "added_tokens.json", "{\"<|user|>\": 317, \"a b\": 318}");
    opened_gguf o = open_out(&d);
    assert_int_equal(kind_of(&o, 316), 3);
    assert_int_equal(kind_of(&o, 317), 3);
    assert_int_equal(kind_of(&o, 318), 4);
    assert_int_equal(kind_of(&o, 319), 5);
    close_out(&o);
    hf_dir_drop(&d);

    d = hf_dir_copy_of("hf-f16");
    hf_dir_replace(&d, "tokenizer.json", "\"special\": true", "\"special\": false");
    o = open_out(&d);
    assert_int_equal(kind_of(&o, 319), 3); // by its looks, and as the end that config.json names
    close_out(&o);
    hf_dir_drop(&d);
}

// A model may end its texts at a line break: that stays ordinary text.
static void test_end_in_the_text(void **state) {
    (void)state;
    hf_dir d = hf_dir_copy_of("hf-plain");
    hf_dir_replace(&d, "config.json", "\"eos_token_id\": 319", "\"eos_token_id\": 256");
    hf_dir_replace(&d, "config.json", "\"bos_token_id\": 319", "\"bos_token_id\": 0");
    opened_gguf o = open_out(&d);
    uint32_t id = 0;
    inki_gguf_get_u32(&o.gguf, "tokenizer.ggml.eos_token_id", true, &id, NULL);
    assert_int_equal(id, 256);
    assert_int_equal(kind_of(&o, 256), 1);
    assert_int_equal(kind_of(&o, 0), 1);
    assert_int_equal(kind_of(&o, 319), 3);
    close_out(&o);
    hf_dir_drop(&d);
}

// Windows line ends, no title line, no line end at the end: the same merges.
static void test_merges_text(void **state) {
    (void)state;
    hf_dir d = hf_dir_copy_of("hf-plain");
    opened_gguf plain = open_out(&d);
    char *text = hf_dir_read(&d, "merges.txt", NULL), *out = malloc(2 * strlen(text)), *to = out;
    assert_non_null(out);
    for (const char *s = strchr(text, '\n') + 1; *s != 0; s++) {
        if (*s == '\n') *to++ = '\r';
        *to++ = *s;
    }
    hf_dir_write(&d, "merges.txt", out, (size_t)(to - out) - 2);
    opened_gguf other = open_out(&d);
    assert_int_equal(plain.file.bytes, other.file.bytes);
    assert_memory_equal(plain.file.data, other.file.data, plain.file.bytes);
    free(text);
    free(out);
    close_out(&plain);
    close_out(&other);
    hf_dir_drop(&d);
}

static void test_license_and_name(void **state) {
    (void)state;
    const struct {
        const char *card, *license;
    } cases[] = {{"---\nlicense: mit\n---\n", "mit"},
                 {"---\nlanguage: en\nlicense: \"apache-2.0\"\r\n---\n", "apache-2.0"},
                 {"---\ntags:\n- x\nlicense:   cc-by-4.0\t\n", "cc-by-4.0"},
                 {"license: mit\n", ""},
                 {"---\nx: y\n---\nlicense: mit\n", ""},
                 {"---\nlicense: [mit, other]\n---\n", ""},
                 {"---\nlicense:\n---\n", ""},
                 {"---\nlicense: a\x01\x62\n---\n", ""},
                 {"---", ""},
                 {"", ""}};
    hf_dir d = hf_dir_copy_of("hf-plain");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hf_dir_text(&d, "README.md", cases[i].card);
        opened_gguf o = open_out(&d);
        const inki_str license = text_of_key(&o, "general.license");
        if (!inki_str_equal(license, cases[i].license))
            fail_msg("card %zu gave \"%.*s\"", i, (int)license.bytes, license.data);
        assert_true(inki_str_equal(text_of_key(&o, "general.name"), "in")); // the directory's
        close_out(&o);
    }
    const inki_convert_options named = {
        .dir = d.in, .out = d.out, .type = INKI_F32, .name = "A \xc3\xa4 \xff", .license = "MIT"};
    const inki_mem mem = inki_mem_from(NULL);
    opened_gguf o = {0};
    assert_int_equal(inki_convert_hf(&named, NULL), INK_OK);
    assert_int_equal(inki_os_open_path(&o.file, d.out, true, &mem, NULL), INK_OK);
    assert_int_equal(inki_gguf_open(&o.gguf, o.file.data, o.file.bytes, &mem, NULL), INK_OK);
    assert_true(inki_str_equal(text_of_key(&o, "general.name"), "A \xc3\xa4 ?"));
    assert_true(inki_str_equal(text_of_key(&o, "general.license"), "MIT"));
    close_out(&o);
    hf_dir_drop(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_files),     cmocka_unit_test(test_fast_file),
        cmocka_unit_test(test_missing_files),   cmocka_unit_test(test_added_tokens),
        cmocka_unit_test(test_end_in_the_text), cmocka_unit_test(test_merges_text),
        cmocka_unit_test(test_license_and_name)};
    return cmocka_run_group_tests_name("convert vocabulary", tests, NULL, NULL);
}
