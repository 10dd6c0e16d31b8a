// SPDX-License-Identifier: MIT
// What a choice costs, beside the decode step it belongs to.
//
//     sampling_speed [MODEL [rounds]]
//
// A line is a chain: microseconds over all 50,257 logits, over those that a set allows (all but
// every 37th token; and 300 in a row), over logits of which 60 stand out, as those of a trained
// model do; how much the first set costs above none, and with a MODEL the share of its decode step,
// of the first column and of the fourth. Chains and decode steps take turns; the median of the
// rounds counts. The logits are normal with a standard deviation of 2.5, which is flatter than text
// is (top_p 0.95 keeps a third of all); the past is 1,000 tokens of which some come again.
#include "bench/median.h"
#include "os/os.h"
#include "sampler/chain.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB = 50257, PAST = 1000, MAX_ROUNDS = 1000, AGAIN = 8, N_SETS = 3, N_KINDS = 4 };

static const struct {
    const char *name, *text;
} chains[] = {
    {"default", NULL},
    {"top_k 40, top_p, temp", "top_k=40;top_p=0.95;temp=0.8"},
    {"greedy", "greedy"},
    {"nothing", "temp=1"},
    {"top_p 0.95 alone", "top_p=0.95"},
    {"temp, top_p 0.95", "temp=0.8;top_p=0.95"},
    {"top_p 0.95, temp", "top_p=0.95;temp=0.8"},
    {"min_p 0.05 alone", "min_p=0.05"},
    {"typical 0.95 alone", "typical=0.95"},
    {"top_n_sigma 1 alone", "top_n_sigma=1"},
    {"temp alone", "temp=0.8"},
    {"temp, dynatemp alone", "temp=0.8,0.5"},
    {"xtc alone", "xtc=1,0.01"},
    {"mirostat", "temp=0.8;mirostat"},
    {"penalties, top_k 40", "penalties=1.1;top_k=40;temp=0.8"},
    {"dry, top_k 40", "dry=0.8;top_k=40;temp=0.8"},
    {"no_repeat_ngram, top_k 40", "no_repeat_ngram=3;top_k=40;temp=0.8"},
    {"penalties, temp, top_p 0.95", "penalties=1,64,0.5;temp=0.8;top_p=0.95"},
    {"logit_bias, top_k 40", "logit_bias=7:1;top_k=40;temp=0.8"},
};
enum { N_CHAINS = sizeof chains / sizeof *chains };

static double times[N_CHAINS + 1][N_KINDS][MAX_ROUNDS];

static double uniform(void) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)(state >> 11) * 0x1p-53;
}

static inki_str piece(const void *arg, int32_t id) {
    (void)arg;
    return id == 13 ? (inki_str){".\n", 2} : (inki_str){" some", 5};
}

static ink_session *open_session(const char *path) {
    ink_error error = {0};
    ink_model *model = NULL;
    ink_session *session = NULL;
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = path};
    if (ink_model_open(&model, NULL, &source, NULL, &error) != INK_OK ||
        ink_session_new(&session, model, NULL, &error) != INK_OK) {
        fprintf(stderr, "sampling_speed: %s\n", error.message);
        exit(1);
    }
    return session;
}

static double decode_ms(ink_session *session) {
    const ink_token token = 11;
    const ink_span span = {.session = session, .tokens = &token, .n_tokens = 1};
    if (ink_session_n_past(session) >= 200) ink_session_rewind(session, 100);
    const double start = inki_os_now_ms();
    if (ink_eval(&span, 1, NULL) != INK_OK) exit(1);
    return inki_os_now_ms() - start;
}

int main(int argc, char **argv) {
    static float logits[VOCAB], peaked[VOCAB];
    static int32_t past[PAST];
    static inki_candidate scratch[VOCAB];
    static uint64_t sets[N_SETS][VOCAB / 64 + 1];
    ink_session *session = argc > 1 ? open_session(argv[1]) : NULL;
    const int wanted = argc > 2 ? atoi(argv[2]) : 60;
    const int rounds = wanted < 1 ? 1 : wanted > MAX_ROUNDS ? MAX_ROUNDS : wanted;
    for (int i = 0; i < VOCAB; i++) {
        logits[i] = (float)(2.5 * sqrt(-2 * log(1 - uniform())) * cos(6.2831853 * uniform()));
        peaked[i] = logits[i] * 0.8f + (i % 837 == 5 ? (float)(3 + 9 * uniform()) : 0.0f);
        if (i % 37 != 0) sets[1][i / 64] |= (uint64_t)1 << i % 64;
        if (i >= 15000 && i < 15300) sets[2][i / 64] |= (uint64_t)1 << i % 64;
    }
    for (int i = 0; i < PAST; i++)
        past[i] = i >= PAST - 20 ? past[i - 400] : (int32_t)(uniform() * 2000);
    const inki_mem mem = inki_mem_from(NULL);
    inki_chain *made[N_CHAINS];
    for (int i = 0; i < N_CHAINS; i++) {
        ink_error error = {0};
        if (inki_chain_new(&made[i], chains[i].text, NULL, VOCAB, &mem, &error) != INK_OK) {
            fprintf(stderr, "sampling_speed: %s\n", error.message);
            return 1;
        }
    }
    const inki_token_texts texts = {piece, NULL};
    int64_t sum = 0;
    for (int r = 0; r < rounds; r++) {
        if (session != NULL) times[N_CHAINS][0][r] = decode_ms(session) * 1000;
        for (int i = 0; i < N_CHAINS; i++)
            for (int s = 0; s < N_KINDS; s++) {
                const double start = inki_os_now_ms();
                for (int k = 0; k < AGAIN; k++) {
                    double mu = 0;
                    int32_t id = 0;
                    const inki_draw draw = {.logits = s == N_SETS ? peaked : logits,
                                            .n_vocab = VOCAB,
                                            .history = past,
                                            .n_history = PAST,
                                            .position = (uint64_t)(r * AGAIN + k),
                                            .banned = VOCAB - 1,
                                            .allowed = s > 0 && s < N_SETS ? sets[s] : NULL,
                                            .mu = 10,
                                            .mu_next = &mu,
                                            .texts = &texts,
                                            .scratch = scratch};
                    if (inki_chain_draw(made[i], &draw, &id, NULL) != INK_OK) return 1;
                    sum += id;
                }
                times[i][s][r] = (inki_os_now_ms() - start) * 1000 / AGAIN;
            }
    }
    const double step = session != NULL ? median(times[N_CHAINS][0], (size_t)rounds) : 0;
    if (session != NULL) printf("decode step: %.0f us\n", step);
    printf("%-28s %9s %9s %9s %9s %7s%s\n", "chain", "all, us", "set, us", "300, us", "peaked, us",
           "ratio", step > 0 ? "        share" : "");
    for (int i = 0; i < N_CHAINS; i++) {
        double us[N_KINDS];
        for (int s = 0; s < N_KINDS; s++) us[s] = median(times[i][s], (size_t)rounds);
        printf("%-28s %9.1f %9.1f %9.1f %9.1f %7.2f", chains[i].name, us[0], us[1], us[2], us[3],
               us[1] / us[0]);
        if (step > 0) printf(" %6.2f%% %6.2f%%", 100 * us[0] / step, 100 * us[3] / step);
        printf("\n");
        inki_chain_free(made[i]);
    }
    return sum == 0; // nothing may be computed in vain
}
