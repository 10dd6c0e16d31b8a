// SPDX-License-Identifier: MIT
// Usage: typing_replay [--model FILE] [--threads N] [--tokens N] [--window-words N] [--context N]
//                      [--overlap MS] [--first N] [--json] TRACE
//        typing_replay --keys FILE [--first N] TRACE
// Replays recorded typing (docs/FORMATS.md) through a typing session and prints what each key cost.
// --first: only that many keys. --overlap: a key every MS milliseconds, whether the suggestion is
// done or not. --keys: writes a trace that only appends and deletes as plain keys, 0x08 for a
// backspace, as other programs read them. Without --model: the built-in model.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/typing/typing_replay.h"

enum { BACKSPACE = 8, MAX_CTX = 1024 };

double typing_now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

bool typing_failed(const char *what, ink_status status, const ink_error *error) {
    fprintf(stderr, "typing_replay: %s: %s\n", what,
            error != NULL && error->message[0] != 0 ? error->message : ink_status_text(status));
    return false;
}

// --- figures -------------------------------------------------------------------------------------

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typing_figures typing_sum_up(double *x, size_t n) {
    if (n == 0) return (typing_figures){NAN, NAN, NAN, NAN};
    double sum = 0;
    qsort(x, n, sizeof *x, compare_doubles);
    for (size_t i = 0; i < n; i++) sum += x[i];
    return (typing_figures){sum / (double)n, x[n / 2], x[n * 99 / 100], x[n - 1]};
}

void typing_print(const char *name, typing_figures f) {
    printf("%-18s mean %.4f p50 %.4f p99 %.4f max %.4f\n", name, f.mean, f.p50, f.p99, f.max);
}

static json_t *real_json(double x) { return isfinite(x) ? json_real(x) : json_null(); }

json_t *typing_json(typing_figures f) {
    return json_pack("{so so so so}", "mean", real_json(f.mean), "p50", real_json(f.p50), "p99",
                     real_json(f.p99), "max", real_json(f.max));
}

static const char *name_of(const typing_setup *setup) {
    return setup->model_path != NULL ? setup->model_path : "builtin:story";
}

void typing_print_setup(const typing_setup *setup) {
    printf("%s through %s, %u threads, %s, suggestions of %u tokens", setup->trace_path,
           name_of(setup), (unsigned)ink_runtime_n_threads(setup->runtime),
           ink_runtime_cpu_level(setup->runtime), (unsigned)setup->n_tokens);
    if (setup->window_words > 0) printf(", a window of %u words", (unsigned)setup->window_words);
    printf("\n");
}

json_t *typing_setup_json(const typing_setup *setup) {
    return json_pack("{ss ss si ss si si si}", "trace", setup->trace_path, "model", name_of(setup),
                     "threads", (int)ink_runtime_n_threads(setup->runtime), "cpu_level",
                     ink_runtime_cpu_level(setup->runtime), "tokens", (int)setup->n_tokens,
                     "window_words", (int)setup->window_words, "context", (int)setup->n_ctx);
}

bool typing_put_json(json_t *root) {
    const bool good = root != NULL && json_dumpf(root, stdout, JSON_REAL_PRECISION(17)) == 0;
    json_decref(root);
    if (!good) return typing_failed("the JSON", INK_E_NOMEM, NULL);
    printf("\n");
    return true;
}

// --- model and session ---------------------------------------------------------------------------

static bool open_model(typing_setup *setup) {
    ink_error error = {0};
    ink_runtime_options how;
    ink_runtime_options_init(&how, sizeof how);
    how.n_threads = setup->n_threads;
    ink_source source = {.size = sizeof source, .kind = INK_SOURCE_BUILTIN};
    if (setup->model_path != NULL) {
        source.kind = INK_SOURCE_PATH;
        source.name = setup->model_path;
    }
    ink_status status = ink_runtime_new(&setup->runtime, &how, &error);
    if (status == INK_OK)
        status = ink_model_open(&setup->model, setup->runtime, &source, NULL, &error);
    setup->info = (ink_model_info){.size = sizeof setup->info};
    if (status == INK_OK) status = ink_model_get_info(setup->model, &setup->info);
    if (status != INK_OK) return typing_failed("the model", status, &error);
    if (setup->n_ctx == 0) setup->n_ctx = setup->info.n_ctx < MAX_CTX ? setup->info.n_ctx : MAX_CTX;
    return true;
}

ink_status typing_open(const typing_setup *setup, ink_typing **out,
                       void (*on_suggestion)(void *, ink_typing *, const ink_suggestion *),
                       void *user, ink_error *error) {
    ink_typing_options o;
    ink_typing_options_init(&o, sizeof o);
    o.window_words = setup->window_words;
    o.max_tokens = setup->n_tokens;
    o.until = INK_UNTIL_LENGTH;
    o.n_ctx = setup->n_ctx;
    o.on_suggestion = on_suggestion;
    o.user = user;
    if (setup->trace.max_bytes > o.text_bytes) o.text_bytes = (uint32_t)setup->trace.max_bytes;
    return ink_typing_new(out, setup->model, &o, error);
}

static bool measure(typing_setup *setup) {
    bool good = open_model(setup);
    if (good && setup->overlap)
        good = typing_measure_overlap(setup);
    else if (good)
        good = typing_measure_keys(setup);
    ink_model_unref(setup->model);
    ink_runtime_unref(setup->runtime);
    return good;
}

// --- keys for other programs ---------------------------------------------------------------------

static bool write_keys(const typing_setup *setup, const char *path) {
    const typing_trace *t = &setup->trace;
    FILE *f = fopen(path, "wb");
    if (f == NULL) {
        fprintf(stderr, "typing_replay: %s: %s\n", path, strerror(errno));
        return false;
    }
    bool good = t->doc_bytes == 0;
    for (size_t i = 0; i < t->n_keys && good; i++) {
        const typing_key *key = &t->keys[i];
        const unsigned char first = key->op == TYPING_INSERT ? (unsigned char)t->text[key->at] : 0;
        if (key->op == TYPING_BACK)
            fputc(BACKSPACE, f);
        else if (key->op == TYPING_INSERT && key->bytes == 1 && first != BACKSPACE)
            fputc(first, f);
        else
            good = false;
    }
    if (!good)
        fprintf(stderr,
                "typing_replay: %s: only ASCII typed at the end and backspaces were expected\n",
                setup->trace_path);
    if (fclose(f) != 0) good = typing_failed(path, INK_E_IO, NULL);
    return good;
}

// --- options -------------------------------------------------------------------------------------

static bool read_number(const char *name, const char *text, double low, double high, double *out) {
    char *end = NULL;
    const double x = text != NULL ? strtod(text, &end) : NAN;
    if (text != NULL && end != text && *end == 0 && x >= low && x <= high) {
        *out = x;
        return true;
    }
    fprintf(stderr, "typing_replay: %s needs a number from %.0f to %.0f\n", name, low, high);
    return false;
}

static bool read_count(const char *name, const char *text, double high, uint32_t *out) {
    double x = 0;
    if (!read_number(name, text, 0, high, &x) || x != floor(x)) return false;
    *out = (uint32_t)x;
    return true;
}

static bool read_option(typing_setup *s, const char *name, const char *value, const char **keys) {
    if (strcmp(name, "--threads") == 0) return read_count(name, value, 64, &s->n_threads);
    if (strcmp(name, "--tokens") == 0) return read_count(name, value, 256, &s->n_tokens);
    if (strcmp(name, "--window-words") == 0) return read_count(name, value, 1e6, &s->window_words);
    if (strcmp(name, "--context") == 0) return read_count(name, value, 1e6, &s->n_ctx);
    if (strcmp(name, "--first") == 0) return read_count(name, value, 1e6, &s->n_first);
    if (strcmp(name, "--overlap") == 0) {
        s->overlap = true;
        return read_number(name, value, 1, 1e5, &s->interval_ms);
    }
    if (strcmp(name, "--model") == 0 && value != NULL)
        s->model_path = value;
    else if (strcmp(name, "--keys") == 0 && value != NULL)
        *keys = value;
    else {
        fprintf(stderr, "typing_replay: unknown option, or one without its value: %s\n", name);
        return false;
    }
    return true;
}

int main(int argc, char **argv) {
    typing_setup setup = {.n_tokens = 8};
    const char *keys = NULL;
    char message[TYPING_MESSAGE];
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            setup.json = true;
        else if (strncmp(argv[i], "--", 2) == 0) {
            if (!read_option(&setup, argv[i], argv[i + 1], &keys)) return 2;
            i++;
        } else if (setup.trace_path == NULL)
            setup.trace_path = argv[i];
        else
            setup.trace_path = "";
    }
    if (setup.trace_path == NULL || setup.trace_path[0] == 0) {
        fprintf(stderr, "typing_replay: one trace was expected\n");
        return 2;
    }
    if (!typing_trace_read(&setup.trace, setup.trace_path, message)) {
        fprintf(stderr, "typing_replay: %s\n", message);
        return 3;
    }
    if (setup.n_first > 0 && setup.n_first < setup.trace.n_keys) setup.trace.n_keys = setup.n_first;
    const bool good = keys != NULL ? write_keys(&setup, keys) : measure(&setup);
    typing_trace_free(&setup.trace);
    return good && fflush(stdout) == 0 ? 0 : 1;
}
