// SPDX-License-Identifier: MIT
// A tiny model that learns a dozen sentences, and a folder for its files.
#ifndef INKLING_TESTS_ADAPT_FIXTURE_H
#define INKLING_TESTS_ADAPT_FIXTURE_H

#include "inkling/train.h"
#include "opened.h"
#include "train/adapt_parts.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ADAPT_CTX = 32, N_SENTENCES = 12, HELD_SENTENCE = 9 };

// The tenth is held out: longer than a sequence, so that a part of one is measured too.
static const char *const sentences[N_SENTENCES] = {
    "the little ship went over the sea to the town in the rain",
    "in the town there was a baker and the baker had a cat",
    "the cat sat in the sun and saw the ship in the sea",
    "the baker went to the sea and the rain went over the town",
    "there was a ship in the rain and a cat in the ship",
    "the sun was over the sea and the town was in the sun",
    "a cat and a baker went over the sea in the little ship",
    "the rain sat over the town and the cat sat in the bakery",
    "the little cat saw the sea and the sea saw the little cat",
    ("there the baker saw the sun and the ship went to the town and the cat went over the sea and "
     "the little ship was in the rain"),
    "in the ship there was rain and in the town there was sun",
    "the town and the sea and the rain and the sun and the cat",
};

typedef struct adapt_scene {
    opened o;
    char root[200];
} adapt_scene;

static inline const char *scene_path(const adapt_scene *s, const char *name) {
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", s->root, name);
    return path;
}

static inline tiny_model scene_model(void) {
    tiny_model tiny = tiny_model_defaults();
    tiny.n_ctx = 64;
    return tiny;
}

static inline void scene_begin(adapt_scene *s, const tiny_model *tiny, uint32_t n_threads,
                               heap *h) {
    const char *tmp = getenv("TMPDIR");
    s->o = opened_tiny(tiny, n_threads, h);
    snprintf(s->root, sizeof s->root, "%s/inkling-adapt-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(s->root));
}

static inline size_t scene_files(const adapt_scene *s) {
    size_t n = 0;
    DIR *dir = opendir(s->root);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static inline void scene_end(adapt_scene *s) {
    DIR *dir = opendir(s->root);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlink(scene_path(s, e->d_name));
    closedir(dir);
    assert_int_equal(rmdir(s->root), 0);
    opened_close(&s->o);
}

static inline uint8_t *scene_read(const adapt_scene *s, const char *name, size_t *n) {
    FILE *f = fopen(scene_path(s, name), "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(*n + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *n, f), *n);
    fclose(f);
    return data;
}

static inline void scene_write(const adapt_scene *s, const char *name, const uint8_t *data,
                               size_t n) {
    FILE *f = fopen(scene_path(s, name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline void assert_same_files(const adapt_scene *s, const char *a, const char *b) {
    size_t n_a, n_b;
    uint8_t *x = scene_read(s, a, &n_a), *y = scene_read(s, b, &n_b);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(x, y, n_a);
    free(x);
    free(y);
}

static inline ink_adapt_options adapt_options(void) {
    ink_adapt_options o;
    ink_adapt_options_init(&o, sizeof o);
    o.rank = 4;
    o.rate = 0.01f;
    o.n_ctx = ADAPT_CTX;
    o.n_batch = 2;
    o.n_steps = 100;
    return o;
}

// name NULL: without a state.
static inline ink_adapt *adapt_open(const adapt_scene *s, const char *name) {
    const ink_adapt_options options = adapt_options();
    ink_adapt *a = NULL;
    ink_error error = {0};
    const char *path = name != NULL ? scene_path(s, name) : NULL;
    if (ink_adapt_open(&a, s->o.model, path, &options, &error) != INK_OK)
        fail_msg("%s", error.message);
    return a;
}

static inline void adapt_add(ink_adapt *a, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        assert_int_equal(ink_adapt_add_text(a, sentences[i], strlen(sentences[i]), NULL), INK_OK);
}

static inline ink_adapt_report adapt_slice(ink_adapt *a, uint32_t budget_ms) {
    ink_adapt_report report = {.size = sizeof report};
    ink_error error = {0};
    if (ink_adapt_run(a, budget_ms, &report, &error) != INK_OK) fail_msg("%s", error.message);
    return report;
}

// Stage by stage until so many steps are done.
static inline ink_adapt_report adapt_go_to(ink_adapt *a, uint32_t n_steps) {
    ink_adapt_report report = adapt_slice(a, 0);
    while (report.n_steps < n_steps) report = adapt_slice(a, 0);
    assert_int_equal(report.n_steps, n_steps);
    return report;
}

static inline void adapt_save(ink_adapt *a) {
    ink_error error = {0};
    if (ink_adapt_save(a, &error) != INK_OK) fail_msg("%s", error.message);
}

#endif
