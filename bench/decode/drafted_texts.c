// SPDX-License-Identifier: MIT
// What drafting brings to what a model writes itself: the same continuations with and without, in
// turns, by ink_session_generate.
//
//     drafted_texts [MODEL [--draft SMALL] [--n-draft N] [--tokens N] [--chain CHAIN] [--texts N]
//                   [--prompt FILE] [--always]]
//
// MODEL, SMALL: a file, or "builtin". Without --draft the text drafts. A line is a prompt; the
// texts of each pair are compared, too.
#include "inkling/inkling.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1 << 18 };

static const char *const prompts[] = {
    "Once upon a time there was a little girl named Lily. One day",
    "Tom had a red ball. He liked to",
    "The old cat sat by the door. \"What do you want?\" asked Mum. The cat",
    "Sue and Ben went to the park. They saw a",
    "Once upon a time, in a big forest, there lived a bear. The bear",
    "It was raining. Tim looked out of the window and",
};

static void need(ink_status status, const ink_error *error) {
    if (status == INK_OK) return;
    fprintf(stderr, "drafted_texts: %s\n", error->message);
    exit(1);
}

static ink_model *opened_model(const char *name) {
    ink_error error = {0};
    ink_model *m = NULL;
    ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = name};
    if (strcmp(name, "builtin") == 0) source.kind = INK_SOURCE_BUILTIN, source.name = NULL;
    need(ink_model_open(&m, NULL, &source, NULL, &error), &error);
    return m;
}

typedef struct said {
    char text[MAX_TEXT];
    size_t bytes;
} said;

static int listen(void *user, const ink_piece *piece) {
    said *s = user;
    if (s->bytes + piece->bytes > MAX_TEXT) return 1;
    memcpy(s->text + s->bytes, piece->text, piece->bytes);
    s->bytes += piece->bytes;
    return 0;
}

static ink_generate_options generating;
static said texts[2];

static ink_result write_one(ink_session *s, const char *prompt, int which) {
    ink_error error = {0};
    ink_result r = {0};
    texts[which].bytes = 0;
    need(ink_session_generate(s, prompt, strlen(prompt), &generating, listen, &texts[which], &r,
                              &error),
         &error);
    return r;
}

int main(int argc, char **argv) {
    static char prompt_file[MAX_TEXT];
    const char *chain = NULL, *draft = NULL, *name = argc > 1 ? argv[1] : "builtin";
    ink_session_options so;
    int n_texts = 12;
    ink_session_options_init(&so, sizeof so);
    ink_generate_options_init(&generating, sizeof generating);
    so.n_draft = 7;
    generating.n_tokens = 200;
    generating.flags = INK_GENERATE_FRESH;
    for (int i = 2; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--always") == 0) so.flags = INK_SESSION_DRAFT_ALWAYS;
        if (strcmp(argv[i], "--draft") == 0) draft = value;
        if (strcmp(argv[i], "--n-draft") == 0) so.n_draft = (uint32_t)atoi(value);
        if (strcmp(argv[i], "--tokens") == 0) generating.n_tokens = (uint32_t)atoi(value);
        if (strcmp(argv[i], "--chain") == 0) chain = value;
        if (strcmp(argv[i], "--texts") == 0) n_texts = atoi(value);
        if (strcmp(argv[i], "--prompt") == 0) {
            FILE *file = fopen(value, "rb");
            if (file == NULL) return perror(value), 1;
            prompt_file[fread(prompt_file, 1, MAX_TEXT - 1, file)] = 0;
            fclose(file);
        }
    }
    ink_error error = {0};
    ink_model *model = opened_model(name);
    ink_session *plain = NULL, *drafts = NULL;
    so.draft = draft != NULL ? opened_model(draft) : NULL;
    need(ink_session_new(&drafts, model, &so, &error), &error);
    need(ink_session_new(&plain, model, NULL, &error), &error);
    double ms[2] = {0, 0};
    uint64_t n_tokens = 0, n_drafted = 0, n_accepted = 0;
    for (int i = 0; i < n_texts; i++) {
        const char *prompt = prompt_file[0] ? prompt_file : prompts[i % 6];
        ink_sampler_options sampling;
        ink_sampler_options_init(&sampling, sizeof sampling);
        sampling.seed_set = 1;
        sampling.seed = (uint64_t)i + 1;
        ink_sampler *sampler = NULL;
        need(ink_sampler_new(&sampler, model, chain, &sampling, &error), &error);
        generating.sampler = sampler;
        ink_result r[2];
        for (int k = 0; k < 2; k++) {
            const int which = (i + k) % 2;
            r[which] = write_one(which == 0 ? plain : drafts, prompt, which);
            ms[which] += r[which].decode_ms;
        }
        if (texts[0].bytes != texts[1].bytes ||
            memcmp(texts[0].text, texts[1].text, texts[0].bytes) != 0)
            return puts("drafts changed the text"), 1;
        n_tokens += r[0].n_generated;
        n_drafted += r[1].n_drafted;
        n_accepted += r[1].n_accepted;
        ink_sampler_free(sampler);
    }
    printf("%llu tokens, %.3f ms each, drafted %.3f: %.2f x; %llu of %llu accepted, %.2f a pass\n",
           (unsigned long long)n_tokens, ms[0] / (double)n_tokens, ms[1] / (double)n_tokens,
           ms[0] / ms[1], (unsigned long long)n_accepted, (unsigned long long)n_drafted,
           (double)n_tokens / (double)(n_tokens - n_accepted));
    ink_session_free(plain);
    ink_session_free(drafts);
    ink_model_unref(so.draft);
    ink_model_unref(model);
    return 0;
}
