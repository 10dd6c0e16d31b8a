// SPDX-License-Identifier: MIT
// Walks the grammars that schemas become, for schema_ajv.mjs.
//     schema_walk MODEL SCHEMAS COUNT SEED WALKS
// SCHEMAS has one in a line. Of the first COUNT that are accepted, WALKS texts each are made from
// random tokens of the model's vocabulary, and one by the model itself, none longer than 150
// tokens. A line for each: the schema's number from 0 and
//     R STATUS MESSAGE     it was refused
//     F HEX                a text that ended
//     C HEX HEX            one that was cut, and the same with the bytes that end it
//     S SECONDS            (once) what compiling the slowest schema took
#include "engine/engine.h"
#include "grammar/matcher.h"
#include "grammar/schema.h"
#include "inkling/inkling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_TOKENS = 150, MAX_TEXT = 1 << 16, MAX_ENDING = 8192 };

typedef struct walk {
    ink_model *model;
    ink_session *session;
    inki_mem mem;
    inki_token_trie *trie;
    inki_matcher *matcher;
    int32_t *ids; // [n_vocab]
    char text[MAX_TEXT];
    size_t n;
    uint64_t random;
} walk;

static uint64_t next_random(walk *w) { // xorshift64*
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return w->random * 0x2545f4914f6cdd1du >> 16;
}

static void stop(const char *what, const ink_error *error) {
    fprintf(stderr, "schema_walk: %s%s%s\n", what, error != NULL ? ": " : "",
            error != NULL ? error->message : "");
    exit(2);
}

static void push(walk *w, const char *bytes, size_t n, size_t *accepted) {
    ink_error error = {0};
    if (w->n + n > sizeof w->text) stop("a text over 64 KiB", NULL);
    if (inki_matcher_push(w->matcher, bytes, n, accepted, &error) != INK_OK) stop("push", &error);
    if (*accepted < n) return;
    memcpy(w->text + w->n, bytes, n);
    w->n += n;
}

// A way to an end: what closes comes before what opens. Where that leads nowhere, what the patterns
// of schema_ajv.mjs wait for.
static void end_text(walk *w) {
    static const char *const waited_for[] = {"0", "ab", "x", ".json", "\\\"", " ", "@a", ".ab"};
    static const char closing[] =
        "\"}],:0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        "-.@/_+#$%&'()*;<=>?^`|~! \\[{\x7f";
    for (size_t step = 0; !inki_matcher_may_end(w->matcher); step++) {
        size_t accepted = 0;
        if (step == MAX_ENDING) {
            fprintf(stderr, "%.*s\n", w->n > 4000 ? 4000 : (int)w->n, w->text);
            stop("a text that does not end", NULL);
        }
        for (int c = 0x80; c < 0xf8 && accepted == 0; c++)
            push(w, &(char){(char)c}, c < 0xc0, &accepted);
        for (size_t i = 0; closing[i] != 0 && accepted == 0; i++)
            push(w, closing + i, 1, &accepted);
        for (int c = 0xc2; c < 0xf8 && accepted == 0; c++) push(w, &(char){(char)c}, 1, &accepted);
        if (accepted == 0) stop("a text with no way on", NULL);
        if (step % 16 != 15) continue;
        push(w, waited_for[step / 16 % 8], strlen(waited_for[step / 16 % 8]), &accepted);
    }
}

static void print_hex(const walk *w) {
    putchar(' ');
    for (size_t i = 0; i < w->n; i++) printf("%02x", (unsigned char)w->text[i]);
}

static void print_walk(walk *w, unsigned number, bool ended) {
    printf("%u %c", number, ended ? 'F' : 'C');
    print_hex(w);
    if (!ended) {
        end_text(w);
        print_hex(w);
    }
    putchar('\n');
}

// style 0: any token is as likely; 1: one that closes something is taken more often.
static void walk_random(walk *w, unsigned number, unsigned style) {
    const inki_tokenizer *t = w->model->tokenizer;
    const uint32_t n_vocab = inki_tokenizer_n_vocab(t);
    ink_error error = {0};
    bool ended = false;
    inki_matcher_reset(w->matcher);
    w->n = 0;
    for (int i = 0; i < MAX_TOKENS && !ended; i++) {
        const uint64_t *set;
        size_t n = 0, accepted;
        if (inki_matcher_allowed(w->matcher, &set, &error) != INK_OK) stop("allowed", &error);
        for (uint32_t id = 0; id < n_vocab; id++)
            if (set[id / 64] >> id % 64 & 1) w->ids[n++] = (int32_t)id;
        if (n == 0) break;
        inki_str piece = {"", 0};
        for (int attempt = 0; attempt < 16; attempt++) {
            piece = inki_tokenizer_piece(t, w->ids[next_random(w) % n]);
            if (style == 0 || next_random(w) % 4 == 0 ||
                memchr(piece.data, '"', piece.bytes) != NULL ||
                memchr(piece.data, '}', piece.bytes) != NULL ||
                memchr(piece.data, ']', piece.bytes) != NULL)
                break;
        }
        push(w, piece.data, piece.bytes, &accepted);
        if (accepted < piece.bytes) stop("an allowed token was refused", NULL);
        ended = inki_matcher_must_end(w->matcher) ||
                (inki_matcher_may_end(w->matcher) && next_random(w) % 2 == 0);
    }
    if (!ended && inki_matcher_may_end(w->matcher)) ended = true;
    print_walk(w, number, ended);
}

static int keep_piece(void *user, const ink_piece *piece) {
    walk *w = user;
    if (w->n + piece->bytes > sizeof w->text) return 1;
    memcpy(w->text + w->n, piece->text, piece->bytes);
    w->n += piece->bytes;
    return 0;
}

static void walk_model(walk *w, unsigned number, const char *schema, size_t bytes) {
    ink_error error = {0};
    ink_result result = {.size = sizeof result};
    ink_generate_options options;
    ink_sampler_options sampling;
    ink_sampler *sampler = NULL;
    ink_grammar *grammar = NULL;
    ink_sampler_options_init(&sampling, sizeof sampling);
    sampling.seed = number + 1;
    if (ink_sampler_new(&sampler, w->model, "temp=1.5", &sampling, &error) != INK_OK)
        stop("sampler", &error);
    if (ink_grammar_new(&grammar, w->model, INK_GRAMMAR_JSON_SCHEMA, schema, bytes, &error) !=
        INK_OK)
        stop("ink_grammar_new", &error);
    ink_generate_options_init(&options, sizeof options);
    options.flags = INK_GENERATE_FRESH;
    options.n_tokens = MAX_TOKENS;
    options.sampler = sampler;
    options.grammar = grammar;
    w->n = 0;
    static const char prompt[] = "Once upon a time";
    if (ink_session_generate(w->session, prompt, sizeof prompt - 1, &options, keep_piece, w,
                             &result, &error) != INK_OK)
        stop("ink_session_generate", &error);
    // What is given out goes through the matcher again, so that a cut text can be ended.
    size_t accepted = 0;
    char *copy = malloc(w->n + 1);
    if (copy == NULL) stop("memory", NULL);
    memcpy(copy, w->text, w->n);
    const size_t n = w->n;
    inki_matcher_reset(w->matcher);
    w->n = 0;
    push(w, copy, n, &accepted);
    if (accepted < n) stop("the model's text is not of the grammar", NULL);
    free(copy);
    const bool ended = inki_matcher_may_end(w->matcher);
    if (result.stop == INK_STOP_END && !ended) stop("an end where none may be", NULL);
    print_walk(w, number, ended);
    ink_grammar_unref(grammar);
    ink_sampler_free(sampler);
}

// Whether it was accepted.
static bool walk_schema(walk *w, unsigned number, const char *schema, size_t bytes,
                        unsigned walks) {
    ink_error error = {0};
    char *gbnf = NULL;
    size_t n = 0;
    inki_grammar *grammar = NULL;
    ink_status status = inki_schema_to_gbnf(&gbnf, &n, schema, bytes, &w->mem, &error);
    if (status != INK_OK) {
        printf("%u R %s %s\n", number, ink_status_name(status), error.message);
        return false;
    }
    if (inki_grammar_parse(&grammar, gbnf, n, &w->mem, &error) != INK_OK ||
        inki_matcher_new(&w->matcher, grammar, w->trie, &w->mem, &error) != INK_OK) {
        fprintf(stderr, "%.*s\n%s", (int)bytes, schema, gbnf);
        stop("the rules of a schema are refused", &error);
    }
    for (unsigned i = 0; i < walks; i++) walk_random(w, number, i % 2);
    walk_model(w, number, schema, bytes);
    inki_matcher_free(w->matcher);
    inki_grammar_free(grammar);
    inki_release(&w->mem, gbnf, n + 1, 1);
    return true;
}

int main(int argc, char **argv) {
    static walk w;
    static char line[1 << 16];
    ink_error error = {0};
    if (argc != 6) stop("MODEL SCHEMAS COUNT SEED WALKS are needed", NULL);
    w.mem = inki_mem_from(NULL);
    w.random = strtoull(argv[4], NULL, 10) * 2 + 1;
    const unsigned long count = strtoul(argv[3], NULL, 10);
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = argv[1]};
    if (ink_model_open(&w.model, NULL, &source, NULL, &error) != INK_OK) stop("model", &error);
    if (ink_session_new(&w.session, w.model, NULL, &error) != INK_OK) stop("session", &error);
    if (inki_token_trie_new(&w.trie, w.model->tokenizer, &w.mem, &error) != INK_OK)
        stop("vocabulary", &error);
    w.ids = malloc(inki_tokenizer_n_vocab(w.model->tokenizer) * sizeof *w.ids);
    FILE *f = fopen(argv[2], "rb");
    if (f == NULL || w.ids == NULL) stop(argv[2], NULL);
    unsigned long n = 0;
    for (unsigned number = 0; n < count && fgets(line, sizeof line, f) != NULL; number++)
        n += walk_schema(&w, number, line, strcspn(line, "\n"),
                         (unsigned)strtoul(argv[5], NULL, 10));
    fclose(f);
    if (n < count) stop("too few schemas are accepted", NULL);
    free(w.ids);
    inki_token_trie_free(w.trie);
    ink_session_free(w.session);
    ink_model_unref(w.model);
    return 0;
}
