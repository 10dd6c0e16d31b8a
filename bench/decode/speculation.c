// SPDX-License-Identifier: MIT
// What drafting brings while a given text is written: each choice is the text's, so that acceptance
// is decided by the text and not by a model.
//
//     speculation MODEL [--draft SMALL] [--words VOCABULARY] [--n-draft N] [--tokens N] [FILE …]
//
// Decode steps with and without drafts take turns over the same text, a few tokens each; a line is
// a text. Ratios of their times: of the sums, the middle one of the turns, and with every pass at
// the best time of its size (what a machine with nothing else to do comes near to). The first third
// of a text is its prompt. Without files: a table, a source file, an edited text, and one in which
// nothing comes again. MODEL's own vocabulary is used, or that of VOCABULARY ("builtin" for the
// built-in model's): then a model of random weights does.
#include "bench/median.h"
#include "engine/draft.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1 << 16, TURN = 24, MAX_ROUNDS = 100 };

static uint32_t n_draft = 7, most_tokens = 1000;
static ink_model *model, *words, *small;
static ink_sampler *sampler;

static void need(ink_status status, const ink_error *error) {
    if (status == INK_OK) return;
    fprintf(stderr, "speculation: %s\n", error->message);
    exit(1);
}

// --- texts ---------------------------------------------------------------------------------------

static uint32_t state;
static uint32_t dice(uint32_t n) {
    state = state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(state >> 8) * n >> 24);
}

static char text[MAX_TEXT];
static size_t n_text;
#define PUT(...) (n_text += (size_t)snprintf(text + n_text, MAX_TEXT - n_text, __VA_ARGS__))

static const char *const names[] = {"Anna",  "Bertram", "Clara",  "Dorothea", "Emil",
                                    "Frida", "Gustav",  "Helene", "Ida",      "Johann"};
static const char *const towns[] = {"Lisbon", "Porto", "Faro", "Coimbra", "Braga", "Evora"};

static void make_table(void) {
    PUT("| number | name | town | member since | dues | state |\n|---|---|---|---|---|---|\n");
    for (int i = 0; i < 80; i++)
        PUT("| %d | %s | %s | 20%02u-01-01 | 12.00 EUR | %s |\n", 1001 + i, names[dice(10)],
            towns[dice(6)], 10 + dice(15), dice(8) > 0 ? "paid" : "open");
}

// Words of syllables drawn afresh: nothing but letters and blanks comes again.
static void make_noise(void) {
    for (int i = 0; i < 900; i++) {
        for (uint32_t n = 1 + dice(3); n > 0; n--)
            PUT("%c%c%s", "bdfghklmnprstvwz"[dice(16)], "aeiouy"[dice(6)], dice(3) == 0 ? "n" : "");
        PUT("%s", dice(12) == 0 ? ".\n" : " ");
    }
}

static void read_text(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    n_text = fread(text, 1, MAX_TEXT - 1, file);
    text[n_text] = 0;
    fclose(file);
}

// A story of n sentences, and the same one told again with about one word in twelve another.
static size_t make_edited(int n) {
    static const char *const verbs[] = {"counted", "borrowed", "painted", "carried", "washed",
                                        "mended",  "found",    "sold",    "hid",     "drew"};
    static const char *const things[] = {"kettle", "lantern", "map",   "box of candles", "ladder",
                                         "violin", "basket",  "clock", "bridge",         "boat"};
    static const char *const places[] = {"by the mill",       "at the market",
                                         "in the old tower",  "near the harbour",
                                         "behind the church", "on the hill"};
    const uint32_t seed = state;
    size_t again = 0;
    for (int time = 0; time < 2; time++) {
        uint32_t other = 7;
        state = seed;
        for (int i = 0; i < n; i++) {
            const char *who = names[dice(10)], *verb = verbs[dice(10)], *what = things[dice(10)];
            const char *where = places[dice(6)];
            const uint32_t hour = 1 + dice(11);
            other = other * 1103515245u + 12345u;
            if (time == 1 && other >> 30 == 0) what = things[other >> 20 & 7];
            if (time == 1 && other >> 28 == 15) who = names[other >> 20 & 7];
            PUT("At %u o'clock %s %s the %s %s, and nobody asked why. ", hour, who, verb, what,
                where);
        }
        PUT("\n\n");
        if (time == 0) again = n_text;
    }
    return again;
}

// --- one text ------------------------------------------------------------------------------------

typedef struct way {
    ink_session *s;
    inki_draft *draft; // NULL: one token at a time
    uint32_t at;       // the text's tokens that are chosen, all but the last of them evaluated
    double ms;
    double best_ms; // the same passes at their best times
    uint32_t n_passes, n_drafted, n_accepted, n_drafting;
} way;

// Of a pass with so many rows and their logits, [rows]: the shortest that was seen.
static double best_pass[INKI_DRAFT_MAX + 2];

// A decode step: a pass, and for each token that comes of it a choice, whose outcome is the text's.
static void step(way *w, const ink_token *ids, uint32_t end) {
    ink_token guesses[INKI_DRAFT_MAX + 1];
    ink_error error = {0};
    const double start = inki_os_now_ms();
    uint32_t n = 0, accepted = 0;
    guesses[0] = ids[w->at - 1];
    if (w->draft != NULL) {
        const uint32_t room = end - w->at < n_draft ? end - w->at : n_draft;
        n = inki_draft_propose(w->draft, w->s, ids, w->at, room, guesses + 1);
    }
    const ink_span span = {w->s, guesses, n + 1, n > 0 ? INK_SPAN_ALL_LOGITS : 0, NULL};
    const double pass = inki_os_now_ms();
    need(ink_eval(&span, 1, &error), &error);
    const double ms = inki_os_now_ms() - pass;
    bool goes_on = true;
    for (uint32_t i = 0; i <= n && goes_on; i++) {
        const inki_draw draw = {.logits = ink_session_logits(w->s, i, NULL),
                                .n_vocab = model->weights.n_vocab,
                                .history = ids,
                                .n_history = w->at,
                                .position = w->at,
                                .banned = -1,
                                .scratch = w->s->work.candidates};
        int32_t chosen;
        need(inki_chain_draw(sampler->chain, &draw, &chosen, &error), &error);
        goes_on = i < n && ids[w->at] == guesses[i + 1];
        accepted += goes_on;
        w->at++;
    }
    need(ink_session_rewind(w->s, w->at - 1), &error);
    if (w->draft != NULL) inki_draft_learn(w->draft, n, accepted, ms);
    w->ms += inki_os_now_ms() - start;
    w->best_ms += best_pass[n + 1];
    w->n_passes++;
    w->n_drafted += n;
    w->n_accepted += accepted;
    w->n_drafting += n > 0;
}

static way begin(const ink_token *ids, uint32_t n_prompt, bool drafts) {
    ink_error error = {0};
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.n_logits = n_draft + 1;
    way w = {.at = n_prompt};
    need(ink_session_new(&w.s, model, &o, &error), &error);
    if (drafts) {
        ink_session_options d = w.s->options;
        d.n_draft = n_draft;
        d.draft = small;
        need(inki_draft_new(&w.draft, &d, model, &error), &error);
    }
    const ink_span span = {w.s, ids, n_prompt - 1, 0, NULL};
    need(ink_eval(&span, 1, &error), &error);
    return w;
}

static void finish(way *w) {
    inki_draft_free(w->draft);
    ink_session_free(w->s);
}

// first: byte of the text where the continuation begins; 0: after half of it.
static void measure(const char *name, size_t first) {
    static ink_token ids[MAX_TEXT];
    size_t n = 0, before = 0;
    ink_error error = {0};
    need(ink_tokenize(words, text, n_text, 0, ids, MAX_TEXT, &n, NULL), &error);
    uint32_t end = model->weights.n_ctx;
    if (n < end) end = (uint32_t)n;
    if (end > most_tokens && first == 0) end = most_tokens;
    if (first > 0) need(ink_tokenize(words, text, first, 0, NULL, 0, &before, NULL), &error);
    if (before == 0) before = end / 2;
    if (before + 2 * TURN > end || before < 2) {
        printf("%-16s too short, or its beginning too long for the context\n", name);
        return;
    }
    way plain = begin(ids, (uint32_t)before, false), drafts = begin(ids, (uint32_t)before, true);
    double ratios[MAX_ROUNDS];
    int rounds = 0;
    while (rounds < MAX_ROUNDS && plain.at + TURN < end && drafts.at + TURN < end) {
        const double ms[2] = {plain.ms, drafts.ms};
        const uint32_t at[2] = {plain.at, drafts.at};
        for (int i = 0; i < TURN; i++) step(&plain, ids, end);
        while (drafts.at < plain.at) step(&drafts, ids, end);
        ratios[rounds++] = (plain.ms - ms[0]) / (plain.at - at[0]) /
                           ((drafts.ms - ms[1]) / (drafts.at > at[1] ? drafts.at - at[1] : 1));
        if (drafts.at == at[1]) rounds--; // it was ahead by a whole turn
    }
    const double plain_ms = plain.ms / (plain.at - (double)before);
    const double draft_ms = drafts.ms / (drafts.at - (double)before);
    const double n_new = drafts.at - (double)before;
    printf("%-16s %5zu + %-5.0f %8.2f %8.2f   %5.2f x %5.2f %5.2f  %4u of %-4u  %5.2f  %4.0f %%\n",
           name, before, n_new, plain_ms, draft_ms, plain_ms / draft_ms,
           rounds > 0 ? median(ratios, (size_t)rounds) : 0, n_new * best_pass[1] / drafts.best_ms,
           drafts.n_accepted, drafts.n_drafted, n_new / drafts.n_passes,
           100.0 * drafts.n_drafting / drafts.n_passes);
    fflush(stdout);
    finish(&plain);
    finish(&drafts);
}

// What passes cost by their rows, each size in turn.
static void measure_passes(void) {
    const uint32_t most = n_draft + 1;
    ink_error error = {0};
    ink_token ids[INKI_DRAFT_MAX + 1];
    ink_session_options o;
    ink_session *s = NULL;
    ink_session_options_init(&o, sizeof o);
    o.n_logits = most;
    need(ink_session_new(&s, model, &o, &error), &error);
    for (uint32_t i = 0; i < most; i++) ids[i] = (ink_token)(1 + i % 50);
    const uint32_t n_ctx = model->weights.n_ctx, n_before = n_ctx / 2 / most * most;
    while (s->n_past < n_before)
        need(ink_eval(&(ink_span){s, ids, most, 0, NULL}, 1, &error), &error);
    for (uint32_t n = 1; n <= most; n++) best_pass[n] = INFINITY;
    for (int turn = 0; turn < 30; turn++) {
        for (uint32_t n = 1; n <= most; n++) {
            const double start = inki_os_now_ms();
            need(ink_eval(&(ink_span){s, ids, n, INK_SPAN_ALL_LOGITS, NULL}, 1, &error), &error);
            best_pass[n] = fmin(best_pass[n], inki_os_now_ms() - start);
            ink_session_rewind(s, n_before);
        }
    }
    printf("a pass of 1 row: %.2f ms; rows and cost of others:", best_pass[1]);
    for (uint32_t n = 2; n <= most; n++) printf(" %u %.2f", n, best_pass[n] / best_pass[1]);
    printf("\n");
    ink_session_free(s);
}

static ink_model *opened_model(const char *name, ink_runtime *runtime) {
    ink_error error = {0};
    ink_model *m = NULL;
    ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = name};
    if (strcmp(name, "builtin") == 0) source.kind = INK_SOURCE_BUILTIN, source.name = NULL;
    need(ink_model_open(&m, runtime, &source, NULL, &error), &error);
    return m;
}

static const char *const usage = "usage: speculation MODEL [--draft SMALL] [--words VOCABULARY] "
                                 "[--n-draft N] [--tokens N] [FILE …]\n";

int main(int argc, char **argv) {
    ink_error error = {0};
    ink_runtime *runtime = NULL;
    need(ink_runtime_new(&runtime, NULL, &error), &error);
    int i = 2;
    if (argc < 2) {
        fputs(usage, stderr);
        return 2;
    }
    model = words = opened_model(argv[1], runtime);
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        if (strcmp(argv[i], "--draft") == 0) small = opened_model(argv[i + 1], runtime);
        if (strcmp(argv[i], "--words") == 0) words = opened_model(argv[i + 1], runtime);
        if (strcmp(argv[i], "--n-draft") == 0) n_draft = (uint32_t)atoi(argv[i + 1]);
        if (strcmp(argv[i], "--tokens") == 0) most_tokens = (uint32_t)atoi(argv[i + 1]);
    }
    if (n_draft < 1 || n_draft > INKI_DRAFT_MAX ||
        words->weights.n_vocab > model->weights.n_vocab) {
        fputs("speculation: --n-draft is 1 to 64; VOCABULARY may not be larger than MODEL's\n",
              stderr);
        return 2;
    }
    need(ink_sampler_new(&sampler, model, NULL, NULL, &error), &error);
    measure_passes();
    printf("%-16s %5s + %-5s %8s %8s   %7s %5s %5s  %12s  %5s  %s\n", "text", "given", "new",
           "plain ms", "drafts", "ratio", "mid", "best", "accepted", "a pass", "drafting");
    if (i == argc) {
        state = 1, n_text = 0, make_table();
        measure("table", 0);
        read_text("src/kernels/matmul_portable.c");
        measure("C, repeating", 0);
        read_text("convert/gpt2_names.c");
        measure("C, a list", 0);
        read_text("src/base/number.c");
        measure("C, ordinary", 0);
        size_t again = 0, n = SIZE_MAX;
        for (int sentences = 26; sentences > 0 && n > model->weights.n_ctx; sentences -= 2) {
            state = 2, n_text = 0;
            again = make_edited(sentences);
            need(ink_tokenize(words, text, n_text, 0, NULL, 0, &n, NULL), &error);
        }
        measure("edited text", again);
        state = 3, n_text = 0, make_noise();
        measure("unrelated", 0);
    }
    for (; i < argc; i++) {
        read_text(argv[i]);
        const char *name = strrchr(argv[i], '/');
        measure(name != NULL ? name + 1 : argv[i], 0);
    }
    ink_sampler_free(sampler);
    ink_model_unref(small);
    if (words != model) ink_model_unref(words);
    ink_model_unref(model);
    ink_runtime_unref(runtime);
    return 0;
}
