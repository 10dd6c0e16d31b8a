// SPDX-License-Identifier: MIT
// Compares the tokenizer with the ids that make_cases.mjs got from tiktoken.
//     tiktoken_compare FOLDER      exit 0: all equal, 1: not, 2: the folder cannot be read
#include "tokenizer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *read_file(const char *folder, const char *name, const char *ending, size_t *bytes) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s%s", folder, name, ending) >= (int)sizeof path)
        return NULL;
    FILE *f = fopen(path, "rb");
    if (f == NULL) return NULL;
    uint8_t *data = NULL;
    if (fseek(f, 0, SEEK_END) == 0) {
        const long n = ftell(f);
        rewind(f);
        data = n > 0 ? malloc((size_t)n) : NULL;
        *bytes = n > 0 ? (size_t)n : 0;
        if (data != NULL && fread(data, 1, *bytes, f) != *bytes) {
            free(data);
            data = NULL;
        }
    }
    fclose(f);
    return data;
}

static inki_str_run read_run(inki_cursor *c) {
    inki_str_run run = {.n = inki_cursor_u64(c)};
    run.bytes = (size_t)inki_cursor_u64(c);
    run.data = inki_cursor_take(c, run.bytes);
    return run;
}

static void show(const char *title, const int32_t *ids, size_t n) {
    printf("  %s:", title);
    for (size_t i = 0; i < n && i < 40; i++) printf(" %d", (int)ids[i]);
    printf("\n");
}

// The text is copied into a block of its own, so that a sanitizer sees a read past its end.
static int compare_case(const inki_tokenizer *t, inki_cursor *c, uint64_t number,
                        uint64_t *n_bytes) {
    const bool special = inki_cursor_u64(c) != 0;
    const inki_str text = inki_cursor_str(c);
    const uint64_t n = inki_cursor_u64(c);
    inki_cursor ids = *c;
    if (c->failed || n > inki_cursor_left(c) / 4) return -1;
    inki_cursor_take(c, (size_t)n * 4);
    char *copy = malloc(text.bytes + 1);
    int32_t *expected = malloc((size_t)n * 4 + 4), *actual = malloc((size_t)n * 4 + 4);
    inki_encode_stats stats = {0};
    int equal = -1;
    if (copy != NULL && expected != NULL && actual != NULL) {
        memcpy(copy, text.data, text.bytes);
        char *block = realloc(copy, text.bytes > 0 ? text.bytes : 1);
        if (block != NULL) copy = block;
        for (uint64_t i = 0; i < n; i++) expected[i] = (int32_t)inki_cursor_u32(&ids);
        const ink_status status =
            inki_tokenizer_encode(t, copy, text.bytes, special, actual, (size_t)n, &stats, NULL);
        equal =
            status == INK_OK && stats.n_tokens == n && memcmp(expected, actual, (size_t)n * 4) == 0;
        if (!equal) {
            printf("case %llu%s: \"%.*s\"\n", (unsigned long long)number,
                   special ? " (special)" : "", text.bytes > 400 ? 400 : (int)text.bytes,
                   text.data);
            show("expected", expected, (size_t)n);
            show("got", actual, stats.n_tokens < n ? stats.n_tokens : (size_t)n);
        }
    }
    *n_bytes += text.bytes;
    free(copy);
    free(expected);
    free(actual);
    return equal;
}

static int compare_all(const inki_tokenizer *t, const char *name, const uint8_t *data,
                       size_t bytes) {
    inki_cursor c = inki_cursor_over(data, bytes);
    const uint64_t n = inki_cursor_u64(&c);
    uint64_t n_different = 0, n_bytes = 0;
    for (uint64_t i = 0; i < n; i++) {
        const int equal = compare_case(t, &c, i, &n_bytes);
        if (equal < 0) {
            printf("%s.cases: damaged at case %llu\n", name, (unsigned long long)i);
            return 2;
        }
        if (!equal && ++n_different == 20) break; // enough to see what is wrong
    }
    printf("tiktoken_compare: %s: %llu texts, %llu bytes, %llu different\n", name,
           (unsigned long long)n, (unsigned long long)n_bytes, (unsigned long long)n_different);
    return n > 0 && n_different == 0 ? 0 : 1;
}

static int compare_vocabulary(const char *folder, const char *name) {
    size_t vocab_bytes = 0, cases_bytes = 0;
    uint8_t *vocab_data = read_file(folder, name, ".vocab", &vocab_bytes);
    uint8_t *cases = read_file(folder, name, ".cases", &cases_bytes);
    int result = 2;
    if (vocab_data != NULL && cases != NULL) {
        inki_cursor c = inki_cursor_over(vocab_data, vocab_bytes);
        inki_vocab vocab = {.pre = {"gpt-2", 5}, .end_token = -1};
        vocab.tokens = read_run(&c);
        vocab.merges = read_run(&c);
        const inki_mem mem = inki_mem_from(NULL);
        inki_tokenizer *t = NULL;
        ink_error error = {0};
        if (!c.failed && inki_tokenizer_new(&t, &vocab, &mem, &error) == INK_OK) {
            result = compare_all(t, name, cases, cases_bytes);
            inki_tokenizer_free(t);
        } else {
            fprintf(stderr, "tiktoken_compare: %s.vocab: %s\n", name, error.message);
        }
    } else {
        fprintf(stderr, "tiktoken_compare: cannot read %s/%s.vocab and .cases\n", folder, name);
    }
    free(vocab_data);
    free(cases);
    return result;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: tiktoken_compare FOLDER\n");
        return 2;
    }
    const int a = compare_vocabulary(argv[1], "gpt2");
    const int b = compare_vocabulary(argv[1], "pairs");
    return a > b ? a : b;
}
