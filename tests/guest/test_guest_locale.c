// SPDX-License-Identifier: MIT
// A host in a locale that writes 0,5: numbers in chains, in metadata and in messages are read and
// written as ever.
#define INK_EXPERIMENTAL
#include "guest/guest.h"

#include <locale.h>

// Sets a locale with a decimal comma; ctest sees to it that there is one where that can be.
static bool comma_locale(void) {
    const char *names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "ru_RU.UTF-8", "de_DE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (setlocale(LC_ALL, names[i]) && localeconv()->decimal_point[0] == ',') return true;
    return false;
}

// All that the library says in numbers, one after the other.
typedef struct said {
    char chain[512], metadata[4096], message[256];
    guest_text text;
    ink_status status;
} said;

static void listen_to(ink_engine *engine, said *out) {
    memset(out, 0, sizeof *out);
    ink_model *model = ink_engine_model(engine);
    ink_sampler_options options;
    ink_sampler_options_init(&options, sizeof options);
    options.seed_set = 1;
    options.seed = 42;
    ink_sampler *sampler = NULL;
    assert_int_equal(ink_sampler_new(&sampler, model,
                                     "penalties=1.25,64,0.5,0.125;top_p=0.75;temp=1.5", &options,
                                     NULL),
                     INK_OK);
    size_t bytes = 0;
    assert_int_equal(ink_sampler_chain(sampler, out->chain, sizeof out->chain, &bytes), INK_OK);

    ink_generate_options generate;
    ink_generate_options_init(&generate, sizeof generate);
    generate.sampler = sampler;
    generate.n_tokens = GUEST_TOKENS;
    generate.flags = INK_GENERATE_FRESH | INK_GENERATE_NO_END;
    assert_int_equal(ink_session_generate(ink_engine_session(engine), "3.5 or 3,5", 10, &generate,
                                          guest_collect, &out->text, NULL, NULL),
                     INK_OK);
    ink_sampler_free(sampler);

    // A number with a comma is malformed in every locale.
    ink_error error = {0};
    sampler = NULL;
    out->status = ink_sampler_new(&sampler, model, "top_p=0,5", &options, &error);
    assert_null(sampler);
    memcpy(out->message, error.message, sizeof out->message);

    size_t used = 0;
    for (size_t i = 0; i < ink_model_n_metadata(model); i++) {
        const char *key, *type;
        char value[128];
        assert_int_equal(ink_model_metadata(model, i, &key, &type, value, sizeof value, &bytes),
                         INK_OK);
        if (strstr(key, "tokenizer.ggml.tokens") || strstr(key, "merges") ||
            strstr(key, "token_type"))
            continue;
        used += (size_t)snprintf(out->metadata + used, sizeof out->metadata - used, "%s=%s\n", key,
                                 value);
        assert_true(used < sizeof out->metadata);
    }
}

static void comma_changes_nothing(void **state) {
    (void)state;
    static said usual, unusual;
    ink_engine *engine = guest_open(1);
    listen_to(engine, &usual);
    assert_non_null(strstr(usual.chain, "0.75"));
    assert_non_null(strstr(usual.metadata, "epsilon="));
    assert_int_equal(usual.status, INK_E_ARG);
    assert_true(usual.text.bytes > 0);

    if (!comma_locale()) {
        print_message("left out: a locale with a decimal comma, there is none\n");
        ink_close(engine);
        skip();
    }
    char proof[16];
    snprintf(proof, sizeof proof, "%.1f", 0.5);
    assert_string_equal(proof, "0,5");
    listen_to(engine, &unusual);
    assert_int_equal(ink_close(engine), INK_OK);
    engine = guest_open(1); // one that was opened in that locale
    static said later;
    listen_to(engine, &later);
    assert_int_equal(ink_close(engine), INK_OK);
    assert_string_equal(localeconv()->decimal_point, ","); // and the locale is still the host's
    setlocale(LC_ALL, "C");
    const said *both[] = {&unusual, &later};
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(usual.chain, both[i]->chain);
        assert_string_equal(usual.metadata, both[i]->metadata);
        assert_string_equal(usual.message, both[i]->message);
        assert_int_equal(usual.status, both[i]->status);
        guest_assert_same(&usual.text, &both[i]->text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(comma_changes_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
