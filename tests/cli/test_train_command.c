// SPDX-License-Identifier: MIT
// `inkling train` as its users meet it, on a small text of our own: what it writes, what it begins
// with, what it says of bad input. How runs go on is in test_train_resume.c.
#include "cli/test_train_runs.h"

#include <math.h>

#include "xml_check.h"

// --- what is written
// -------------------------------------------------------------------------------

static json_t *json_of(const char *name) {
    json_error_t error;
    json_t *value = json_load_file(in_folder(name), 0, &error);
    if (value == NULL) print_error("%s: %s\n", name, error.text);
    assert_non_null(value);
    return value;
}

static void check_settings(const char *name) {
    json_t *settings = json_of(name);
    const json_t *options = json_object_get(settings, "options");
    const json_t *text = json_object_get(settings, "text");
    assert_int_equal(json_integer_value(json_object_get(options, "steps")), 20);
    assert_int_equal(json_integer_value(json_object_get(options, "embd")), 32);
    assert_string_equal(json_string_value(json_object_get(options, "precision")), "f32");
    assert_true(json_real_value(json_object_get(options, "rate")) == 1e-3);
    assert_true(json_integer_value(json_object_get(text, "tokens")) > 1000);
    assert_string_equal(json_string_value(json_object_get(settings, "inkling")), ink_version());
    // The folder that it ran in is nobody's business.
    assert_null(json_object_get(settings, "folder"));
    json_decref(settings);
}

static void check_picture(const char *name) {
    size_t bytes, at = 0;
    char *text = bytes_of(name, &bytes);
    assert_null(xml_check(text, bytes, &at));
    assert_non_null(strstr(text, "class=\"held\""));
    free(text);
}

static void writes_all_files(void **state) {
    (void)state;
    const told t = run("train", "text.txt", "-o", "all", SMALL, "--steps", "20", "--name", "A name",
                       "--license", "MIT", "--hf", NULL);
    if (t.code != 0) print_error("%s\n", t.err);
    assert_int_equal(t.code, 0);
    assert_string_equal(t.out, "");
    static const char *const words[] = {"documents",
                                        "tokens ",
                                        "parameters",
                                        "memory",
                                        "f32",
                                        "step 20 of 20",
                                        "inkling complete -m all/model.gguf"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        assert_non_null(strstr(t.err, words[i]));
    check_log("all/log.csv", 20);
    check_settings("all/settings.json");
    check_picture("all/loss.svg");
    const ink_model_info info = info_of("all/model.gguf");
    assert_int_equal(info.n_embd, 32);
    assert_int_equal(info.n_layer, 1);
    assert_int_equal(info.n_ctx, 32);
    json_t *vocab = json_of("all/vocab.json");
    assert_int_equal(json_object_size(vocab), info.n_vocab);
    assert_int_equal(json_integer_value(json_object_get(vocab, "<|endoftext|>")), info.n_vocab - 1);
    json_decref(vocab);
    assert_true(is_there("all/hf/model.safetensors") && is_there("all/hf/tokenizer.json"));
    assert_false(is_there("all/model-f32.gguf"));
    const told words_of = run("complete", "-m", "all/model.gguf", "-n", "8", "--seed", "1",
                              "--ignore-eos", "Once", NULL);
    assert_int_equal(words_of.code, 0);
    assert_true(strlen(words_of.out) > 0);
    const told inspected = run("inspect", "all/model.gguf", NULL);
    assert_non_null(strstr(inspected.out, "A name"));
}

// Nats a token of a document that fits into the context: each token behind the end of the document
// before, and its own end.
static double loss_of(const char *name, const char *document) {
    ink_model *model = NULL;
    ink_session *session = NULL;
    ink_session_options options;
    ink_token ids[64];
    size_t n = 0, n_vocab = 0;
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_PATH, .name = in_folder(name)};
    assert_int_equal(ink_model_open(&model, NULL, &source, NULL, NULL), INK_OK);
    ink_model_info info = {.size = sizeof info};
    assert_int_equal(ink_model_get_info(model, &info), INK_OK);
    ids[0] = info.end_token;
    assert_int_equal(ink_tokenize(model, document, strlen(document), 0, ids + 1, 62, &n, NULL),
                     INK_OK);
    assert_true(n + 1 <= info.n_ctx);
    ids[n + 1] = info.end_token;
    ink_session_options_init(&options, sizeof options);
    options.kv_type = INK_KV_F32;
    options.n_logits = (uint32_t)n + 1;
    assert_int_equal(ink_session_new(&session, model, &options, NULL), INK_OK);
    const ink_span span = {session, ids, n + 1, INK_SPAN_ALL_LOGITS, NULL};
    assert_int_equal(ink_eval(&span, 1, NULL), INK_OK);
    double total = 0;
    for (size_t i = 0; i <= n; i++) {
        const float *logits = ink_session_logits(session, i, &n_vocab);
        double sum = 0;
        for (size_t k = 0; k < n_vocab; k++) sum += exp((double)logits[k]);
        total += log(sum) - (double)logits[ids[i + 1]];
    }
    ink_session_free(session);
    ink_model_unref(model);
    return total / (double)(n + 1);
}

// The file holds the very model that was validated.
static void the_model_is_what_was_validated(void **state) {
    (void)state;
    static const char document[] = "Once there was a cat.\nThe cat saw the moon.";
    write_file("short.txt", document, sizeof document - 1);
    const told t = run("train", "text.txt", "-o", "valid", SMALL, "--valid", "short.txt", "--steps",
                       "40", "--rate", "3e-3", "--type", "f32", "--json", NULL);
    assert_int_equal(t.code, 0);
    assert_string_equal(t.err, "");
    const char *end = strstr(t.out, "\"event\":\"end\"");
    assert_non_null(end);
    const char *best = strstr(end, "\"best_loss\":");
    assert_non_null(best);
    const double told_loss = strtod(best + 12, NULL), loss = loss_of("valid/model.gguf", document);
    assert_true(told_loss > 0.5 && told_loss < 5);
    if (!(fabs(loss - told_loss) < 1e-4)) print_error("%f, told were %f\n", loss, told_loss);
    assert_true(fabs(loss - told_loss) < 1e-4);
}

static void samples_and_types(void **state) {
    (void)state;
    const told t =
        run("train", "text.txt", "-o", "samples", SMALL, "--steps", "4", "--sample-every", "2",
            "--sample-prompt", "Once there", "--type", "q4_0", NULL);
    assert_int_equal(t.code, 0);
    assert_non_null(strstr(t.err, "sample of step 2:\n  | Once there"));
    assert_non_null(strstr(t.err, "sample of step 4:\n  | Once there"));
    static const char *const types[] = {"f32", "f16", "bf16", "q8_0", "q4_k", "q6_k"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        RUN_OK("train", "text.txt", "-o", "types", "--force-new", SMALL, "--steps", "1", "--type",
               types[i], "--quiet");
        info_of("types/model.gguf");
    }
    const told quiet = run("train", "text.txt", "-o", "types", "--force-new", SMALL, "--steps", "1",
                           "--quiet", NULL);
    assert_string_equal(quiet.err, "");
    assert_string_equal(quiet.out, "");
}

// --- from other models
// -----------------------------------------------------------------------------

static void fine_tuning(void **state) {
    (void)state;
    RUN_OK("train", "text.txt", "-o", "base", SMALL, "--steps", "30", "--rate", "3e-3", "--hf",
           "--quiet", "--type", "f32", "--license", "CC0-1.0");
    RUN_OK("train", "one.txt", "-o", "tuned", "--init", "base/model.gguf", "--steps", "3",
           "--context", "16", "--quiet");
    assert_int_equal(info_of("tuned/model.gguf").n_ctx, 32); // less was learnt with, none is lost
    assert_int_equal(info_of("tuned/model.gguf").n_vocab, info_of("base/model.gguf").n_vocab);
    const told inspected = run("inspect", "tuned/model.gguf", NULL);
    assert_non_null(strstr(inspected.out, "CC0-1.0"));
    assert_false(is_there("tuned/vocab.json"));
    RUN_OK("train", "one.txt", "-o", "tuned-hf", "--init", "base/hf", "--steps", "3", "--quiet");
    assert_false(is_there("tuned-hf/init.gguf"));
    RUN_OK("train", "text.txt", "-o", "vocabulary", "--tokenizer", "base/model.gguf", "--embd",
           "16", "--layers", "1", "--heads", "1", "--context", "16", "--steps", "2", "--quiet");
    assert_int_equal(info_of("vocabulary/model.gguf").n_vocab, info_of("base/model.gguf").n_vocab);
    FAILS(2, "--context 64 is more than base/model.gguf has, 32", "train", "text.txt", "-o", "no",
          "--init", "base/model.gguf", "--context", "64");
    assert_false(is_there("no"));
}

static void adapters(void **state) {
    (void)state;
    if (!is_there("base/model.gguf")) skip();
    RUN_OK("train", "one.txt", "-o", "lora", "--init", "base/model.gguf", "--lora", "2", "--steps",
           "4", "--context", "16", "--quiet");
    assert_true(is_there("lora/adapter.gguf"));
    assert_false(is_there("lora/model.gguf"));
    RUN_OK("complete", "-m", "base/model.gguf", "--lora", "lora/adapter.gguf", "-n", "3", "Once");
    RUN_OK("train", "--resume", "lora", "--steps", "8", "--quiet");
    RUN_OK("train", "one.txt", "-o", "lora-hf", "--init", "base/hf", "--lora", "2", "--steps", "2",
           "--sample-every", "1", "--quiet");
    RUN_OK("complete", "-m", "lora-hf/base.gguf", "--lora", "lora-hf/adapter.gguf", "-n", "3", "O");
    FAILS(2, "an adapter is f32 or f16", "train", "one.txt", "-o", "no", "--init",
          "base/model.gguf", "--lora", "2", "--type", "q8_0");
}

static void teachers(void **state) {
    (void)state;
    if (!is_there("base/model.gguf")) skip();
    RUN_OK("train", "text.txt", "-o", "student", "--teacher", "base/model.gguf", "--embd", "16",
           "--layers", "1", "--heads", "1", "--context", "16", "--steps", "4", "--quiet");
    assert_int_equal(info_of("student/model.gguf").n_embd, 16);
    RUN_OK("train", "one.txt", "-o", "stranger", SMALL, "--steps", "1", "--quiet");
    FAILS(2, "has another tokenizer (other tokens) than stranger/model.gguf", "train", "text.txt",
          "-o", "no", "--teacher", "base/model.gguf", "--tokenizer", "stranger/model.gguf",
          "--context", "16");
    FAILS(2, "more than the teacher", "train", "text.txt", "-o", "no", "--teacher",
          "base/model.gguf");
    assert_false(is_there("no"));
}

// --- bad input
// -------------------------------------------------------------------------------------

static void wrong_options(void **state) {
    (void)state;
    FAILS(2, "TEXT is missing", "train", "-o", "no");
    FAILS(2, "-o DIR is missing", "train", "text.txt");
    FAILS(2, "--lora needs", "train", "text.txt", "-o", "no", "--lora", "4");
    FAILS(2, "--lora-alpha needs", "train", "text.txt", "-o", "no", "--lora-alpha", "4");
    FAILS(2, "--embd does not go with --init", "train", "text.txt", "-o", "no", "--init",
          "builtin:story", "--embd", "64");
    FAILS(2, "--vocab does not go with --tokenizer", "train", "text.txt", "-o", "no", "--tokenizer",
          "builtin:story", "--vocab", "400");
    FAILS(2, "--teacher does not go with --lora", "train", "text.txt", "-o", "no", "--init",
          "builtin:story", "--lora", "2", "--teacher", "builtin:story");
    FAILS(2, "--hf does not go with --lora", "train", "text.txt", "-o", "no", "--init",
          "builtin:story", "--lora", "2", "--hf");
    FAILS(2, "--distil-weight needs --teacher", "train", "text.txt", "-o", "no", "--distil-weight",
          "0.5");
    FAILS(2, "--epochs does not go with --steps", "train", "text.txt", "-o", "no", "--steps", "3",
          "--epochs", "3");
    FAILS(2, "--held-out does not go with --valid", "train", "text.txt", "-o", "no", "--valid",
          "one.txt", "--held-out", "0.1");
    FAILS(2, "--sample-prompt needs", "train", "text.txt", "-o", "no", "--sample-prompt", "x");
    FAILS(2, "no multiple of --heads", "train", "text.txt", "-o", "no", "--embd", "30", "--heads",
          "4");
    FAILS(2, "too wide", "train", "text.txt", "-o", "no", "--embd", "4096", "--heads", "1");
    FAILS(2, "no multiple of the context", "train", "text.txt", "-o", "no", "--pass-tokens", "33");
    FAILS(2, "--rate-end 0.5 is above", "train", "text.txt", "-o", "no", SMALL, "--rate-end",
          "0.5");
    FAILS(2, "not UTF-8", "train", "a\xff", "-o", "no");
    FAILS(2, "--vocab 5 is out of range", "train", "text.txt", "-o", "no", "--vocab", "5");
    FAILS(5, "of memory, the machine has", "train", "text.txt", "-o", "no", "--embd", "60000",
          "--layers", "4000", "--heads", "60", "--vocab", "300");
    assert_false(is_there("no"));
}

static void wrong_texts(void **state) {
    (void)state;
    write_file("empty.txt", "", 0);
    write_file("blank.txt", " \n\n", 3);
    write_file("tiny.txt", "abc\n", 4);
    FAILS(3, "empty.txt", "train", "empty.txt", "-o", "no");
    FAILS(2, "it is empty", "train", "blank.txt", "-o", "no");
    FAILS(2, "a context of 256 needs", "train", "tiny.txt", "-o", "no");
    FAILS(3, "missing.txt", "train", "missing.txt", "-o", "no");
    FAILS(3, "missing.txt", "train", "text.txt", "-o", "no", "--valid", "missing.txt");
    FAILS(3, "missing.gguf", "train", "text.txt", "-o", "no", "--init", "missing.gguf");
    FAILS(4, "GGUF", "train", "text.txt", "-o", "no", "--init", "text.txt");
    FAILS(3, "is no folder", "train", "text.txt", "-o", "text.txt");
    FAILS(3, "cannot make the folder", "train", "text.txt", "-o", "no/such");
    assert_false(is_there("no"));
    // What is not UTF-8 is learnt from all the same.
    size_t n;
    char *text = bytes_of("text.txt", &n);
    text[100] = '\xff';
    text[101] = '\xfe';
    write_file("latin.txt", text, n);
    free(text);
    const told t = run("train", "latin.txt", "-o", "latin", SMALL, "--steps", "1", NULL);
    assert_int_equal(t.code, 0);
    assert_non_null(strstr(t.err, "not UTF-8     2 bytes"));
}

static int group(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_all_files),  cmocka_unit_test(the_model_is_what_was_validated),
        cmocka_unit_test(samples_and_types), cmocka_unit_test(fine_tuning),
        cmocka_unit_test(adapters),          cmocka_unit_test(teachers),
        cmocka_unit_test(wrong_options),     cmocka_unit_test(wrong_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return in_folder_of_runs(group); }
