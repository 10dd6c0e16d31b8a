// SPDX-License-Identifier: MIT
// The picture of the losses, from its source: the program links it.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/text.c"
#include "cli/train_chart.c"
#include "xml_check.h"

// As in train_progress.c, which would bring the whole command with it.
const char *cli_train_count(uint64_t n, char *out) {
    snprintf(out, CLI_TRAIN_TEXT, "%llu", (unsigned long long)n);
    return out;
}

static char folder[] = "/tmp/inkling-XXXXXX";
static char csv[64], svg[64];
static const char first_line[] =
    "step,tokens,seconds,loss,held_loss,rate,grad_norm,tokens_per_second\n";

static void write_log(const char *text) {
    FILE *file = fopen(csv, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

// The picture as text, to be freed; NULL when there is none.
static char *picture(const char *title, ink_status want) {
    const inki_mem mem = inki_mem_from(NULL);
    ink_error error = {0};
    unlink(svg);
    assert_int_equal(cli_train_chart(csv, svg, title, &mem, &error), want);
    FILE *file = fopen(svg, "rb");
    if (file == NULL) return NULL;
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    const size_t n = fread(text, 1, (1 << 20) - 1, file);
    fclose(file);
    size_t at = 0;
    const char *wrong = xml_check(text, n, &at);
    if (wrong != NULL) print_error("byte %zu: %s\n", at, wrong);
    assert_null(wrong);
    return text;
}

static size_t count(const char *text, const char *what) {
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)) != NULL; p++) n++;
    return n;
}

// Points of all curves: each begins behind `d="M` and goes on with L.
static size_t count_points(const char *text) {
    size_t n = 0;
    for (const char *p = strstr(text, "<g "); (p = strstr(p, "d=\"M")) != NULL;) {
        for (p += 3; *p != '"'; p++) n += *p == 'M' || *p == 'L';
    }
    return n;
}

static void any_length(void **state) {
    (void)state;
    static const int lengths[] = {1, 2, 3, 59, 60, 61, 99, 100, 101, 399, 400, 401, 5000, 20000};
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        const int n = lengths[k], every = n > 1000 ? 40 : 1 + n / 20;
        char best[64];
        FILE *file = fopen(csv, "wb");
        assert_non_null(file);
        fputs(first_line, file);
        double least = INFINITY;
        int at = 0;
        for (int i = 1; i <= n; i++) {
            const double loss = 1.5 + 8 / sqrt(i) + 0.3 * sin(i * 1.7), held = loss + 0.001 * i;
            fprintf(file, "%d,%d,%.3f,%.6f,", i, i * 1000, i * 0.1, loss);
            if (i % every == 0) fprintf(file, "%.6f", held);
            if (i % every == 0 && held < least) {
                least = held;
                at = i;
            }
            fprintf(file, ",%.6g,1.0,5000.0\n", 1e-3 / i);
        }
        assert_int_equal(fclose(file), 0);
        char *text = picture("of any length", INK_OK);
        const size_t points = count_points(text);
        assert_in_range(points, n < 200 ? (size_t)n * 2 : 400, 2000);
        snprintf(best, sizeof best, "best %.3f at step %d<", least, at);
        assert_int_equal(count(text, best), least < INFINITY ? 1 : 0);
        assert_int_equal(count(text, "nan"), 0);
        assert_int_equal(count(text, "inf"), 0);
        assert_int_equal(count(text, "prefers-color-scheme:dark"), 1);
        assert_int_equal(count(text, "<script"), 0);
        free(text);
    }
}

// The curve is where the axis says: two rows, whose losses are both ends of it.
static void curves_follow_the_log(void **state) {
    (void)state;
    char *text, want[64];
    char log[256];
    snprintf(log, sizeof log, "%s1,10,1,4,,0.5,1,1\n2,20,2,5,,0.25,1,1\n", first_line);
    write_log(log);
    text = picture("t", INK_OK); // 4 to 5 is no wide range: an even scale
    snprintf(want, sizeof want, "class=\"train\" d=\"M%.1f %.1fL%.1f %.1f\"", LEFT + PLOT_W / 2.0,
             (double)(TOP + PLOT_H), (double)(LEFT + PLOT_W), (double)TOP);
    assert_int_equal(count(text, want), 1);
    snprintf(want, sizeof want, "class=\"rate\" d=\"M%.1f %.1fL%.1f %.1f\"", LEFT + PLOT_W / 2.0,
             (double)TOP, (double)(LEFT + PLOT_W), TOP + PLOT_H / 2.0);
    assert_int_equal(count(text, want), 1);
    assert_int_equal(count(text, "logarithmic"), 0);
    free(text);
    snprintf(log, sizeof log, "%s1,10,1,8,,0.5,1,1\n2,20,2,2,,0.25,1,1\n3,30,3,1,,0.25,1,1\n",
             first_line);
    write_log(log);
    text = picture("t", INK_OK);
    assert_int_equal(count(text, "logarithmic"), 1);
    assert_int_equal(count(text, ">1<"), 2); // a loss and a step
    assert_int_equal(count(text, ">5<"), 1);
    free(text);
}

static void odd_logs(void **state) {
    (void)state;
    static const char *const nothing[] = {"",
                                          "\n",
                                          "a\n",
                                          "1,2\n",
                                          "1,1,1,nan,,0,0,0\n",
                                          "-1,1,1,1,,0,0,0\n",
                                          "1,1,1,inf,,0,0,0\n",
                                          "1,1,1,1,,0,0,0" /* no end */};
    static const char *const something[] = {
        "1,1,1,0,,0,0,0\n",
        "1,1,1,-3,,0,0,0\n2,1,1,5,,0,0,0\n",
        "1,1,1,1e300,1e300,1,0,0\n2,1,1,1e-300,1e-300,0,0,0\n",
        "0,0,0,1,1,1,1,1\n",
        "5,1,1,1,1,1,1,1\n4,1,1,1,1,1,1,1\nabc\n,,,,,,,\n1e18,1,1,1,1,1,1,1\n",
        "1,1,1,2,nan,1,1,1\n2,1,1,2,inf,1,1,1\n",
    };
    char log[1024];
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        snprintf(log, sizeof log, "%s%s", first_line, nothing[i]);
        write_log(log);
        assert_null(picture("nothing", INK_E_FORMAT));
    }
    for (size_t i = 0; i < sizeof something / sizeof *something; i++) {
        snprintf(log, sizeof log, "%s%s", first_line, something[i]);
        write_log(log);
        free(picture("something", INK_OK));
    }
}

static void titles_are_text(void **state) {
    (void)state;
    char log[256];
    snprintf(log, sizeof log, "%s1,10,1,4,,0.5,1,1\n", first_line);
    write_log(log);
    char *text = picture("<b> & \"c\" \x1b[1m \xff \xe6\x98\xa5", INK_OK);
    assert_int_equal(count(text, "&lt;b&gt; &amp; \"c\" \\x1b[1m"), 2); // and as <title>
    assert_int_equal(count(text, "\xe6\x98\xa5"), 2);
    free(text);
}

static void no_log(void **state) {
    (void)state;
    unlink(csv);
    assert_null(picture("none", INK_E_NOT_FOUND));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_length), cmocka_unit_test(curves_follow_the_log),
        cmocka_unit_test(odd_logs),   cmocka_unit_test(titles_are_text),
        cmocka_unit_test(no_log),
    };
    if (mkdtemp(folder) == NULL) return 1;
    snprintf(csv, sizeof csv, "%s/log.csv", folder);
    snprintf(svg, sizeof svg, "%s/loss.svg", folder);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(csv);
    unlink(svg);
    rmdir(folder);
    return failed;
}
