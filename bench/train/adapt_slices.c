// SPDX-License-Identifier: MIT
// How long the stages of learning on the device take, and how much memory an app with it has.
//
//     adapt_slices MODEL [context [threads [rank]]]
//
// A slice of no time at all is one stage. Of each stage of a sequence the quickest of its
// repetitions counts: other programs disturb, but nothing makes a stage faster than it is.
#include "inkling/train.h"
#include "os/os.h"
#include "train/adapt_parts.h"
#include "train/net_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MAX_STAGES = 4096, N_STEPS = 2 };

static const char *const kinds[] = {"between", "embed",      "layer forward",
                                    "head",    "layer back", "embedding back, step"};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

typedef struct stage {
    unsigned kind;
    double least, cpu; // ms, of all threads
} stage;

static stage stages[MAX_STAGES];
static size_t n_stages; // of a step

static long peak_kb(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static double cpu_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double less(double a, double b) { return a < b ? a : b; }

static int fail(const ink_error *error) {
    fprintf(stderr, "%s\n", error->message);
    return 1;
}

static void add_words(ink_adapt *a, size_t n) {
    static const char *const words[] = {"the", "old", "ship", "went", "over", "seven", "seas"};
    char *text = malloc(n + 8);
    uint32_t x = 1;
    size_t bytes = 0;
    while (text != NULL && bytes + 8 < n) {
        x = x * 1664525u + 1013904223u;
        bytes += (size_t)snprintf(text + bytes, 8, " %s", words[(x >> 16) % 7]);
    }
    ink_adapt_add_text(a, text, bytes, NULL);
    free(text);
}

static ink_status measure(ink_adapt *a, ink_error *error) {
    ink_adapt_report report = {.size = sizeof report};
    for (uint32_t step = 0; step < N_STEPS; step++) {
        size_t i = 0;
        do {
            const unsigned kind = a->doing == INKI_ADAPT_NOTHING ? 0 : (unsigned)a->net->stage;
            const double start = inki_os_now_ms(), cpu = cpu_ms();
            const ink_status status = ink_adapt_run(a, 0, &report, error);
            if (status != INK_OK) return status;
            const double spent = inki_os_now_ms() - start, used = cpu_ms() - cpu;
            // The next sequence begins with its embedding, in the call that finds the net idle.
            stage *s = &stages[i < MAX_STAGES ? i : MAX_STAGES - 1];
            const bool first = step == 0;
            *s = (stage){kind == 0 && i > 0 ? 1 : kind, first ? spent : less(spent, s->least),
                         first ? used : less(used, s->cpu)};
            i++;
        } while (report.n_steps == step);
        n_stages = i < MAX_STAGES ? i : MAX_STAGES;
    }
    return INK_OK;
}

static void tell(void) {
    for (unsigned kind = 0; kind < N_KINDS; kind++) {
        double sum = 0, most = 0, most_cpu = 0;
        size_t n = 0;
        for (size_t i = 0; i < n_stages; i++) {
            if (stages[i].kind != kind) continue;
            n++;
            sum += stages[i].least;
            if (stages[i].least > most) most = stages[i].least;
            if (stages[i].cpu > most_cpu) most_cpu = stages[i].cpu;
        }
        if (n > 0)
            printf(
                "%-22s %4zu of a step, mean %7.2f ms, longest %7.2f ms (%7.2f ms of processors)\n",
                kinds[kind], n, sum / (double)n, most, most_cpu);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: adapt_slices MODEL [context [threads [rank]]]\n");
        return 2;
    }
    ink_error error = {0};
    ink_runtime *runtime = NULL;
    ink_model *model = NULL;
    ink_adapt *a = NULL;
    ink_runtime_options how;
    ink_adapt_options options;
    ink_runtime_options_init(&how, sizeof how);
    ink_adapt_options_init(&options, sizeof options);
    options.n_ctx = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 256;
    how.n_threads = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
    if (argc > 4) options.rank = (uint32_t)strtoul(argv[4], NULL, 10);
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = argv[1]};
    if (ink_runtime_new(&runtime, &how, &error) != INK_OK ||
        ink_model_open(&model, runtime, &source, NULL, &error) != INK_OK)
        return fail(&error);
    const long before = peak_kb();
    if (ink_adapt_open(&a, model, NULL, &options, &error) != INK_OK) return fail(&error);
    add_words(a, 200000);
    if (measure(a, &error) != INK_OK) return fail(&error);
    printf("%s, %u threads, context %u, rank %u\n", ink_runtime_cpu_level(runtime),
           (unsigned)ink_runtime_n_threads(runtime), (unsigned)options.n_ctx,
           (unsigned)options.rank);
    tell();
    size_t net = 0;
    inki_net_measure(&a->net->compute, &a->net->options, &net, NULL);
    const size_t values = inki_net_n_values(a->net) * sizeof(float);
    printf("memory: model open %ld kB, at most %ld kB; net %zu kB (of it weights and gradients "
           "%zu, logits %zu), optimiser and best weights %zu kB\n",
           before, peak_kb(), net / 1024, 2 * values / 1024,
           a->net->n_chunk * a->net->options.shape.n_vocab * sizeof(float) / 1024,
           3 * values / 1024);
    ink_adapt_free(a);
    ink_model_unref(model);
    ink_runtime_unref(runtime);
    return 0;
}
