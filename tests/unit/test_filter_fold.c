// SPDX-License-Identifier: MIT
// Folding and kinds of every code point, against the Unicode data where they are installed (Debian:
// package unicode-data), and against a few lines of them that are written down here.
#include "filter/fold.h"

#include "tokenizer/unicode_scripts.h"
#include "tokenizer/unicode_tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CODE_POINTS = 0x110000 };

static void test_some(void **state) {
    (void)state;
    static const uint32_t pairs[][2] = {
        {'A', 'a'},         {'Z', 'z'},          {'@', '@'},         {'[', '['},
        {'a', 'a'},         {0xb5, 0x3bc},       {0xc0, 0xe0},       {0xd7, 0xd7},
        {0xdf, 0xdf},       {0x130, 0x130},      {0x131, 0x131},     {0x178, 0xff},
        {0x17f, 's'},       {0x1c4, 0x1c6},      {0x1c5, 0x1c6},     {0x345, 0x3b9},
        {0x3c2, 0x3c3},     {0x410, 0x430},      {0x10a0, 0x2d00},   {0x13a0, 0x13a0},
        {0x13f8, 0x13f0},   {0x1c88, 0xa64b},    {0x1e9e, 0xdf},     {0x1f88, 0x1f80},
        {0x2126, 0x3c9},    {0x212a, 'k'},       {0x212b, 0xe5},     {0x2160, 0x2170},
        {0x24b6, 0x24d0},   {0xa77d, 0x1d79},    {0xab70, 0x13a0},   {0xabbf, 0x13ef},
        {0xff21, 0xff41},   {0xff3a, 0xff5a},    {0xff3b, 0xff3b},   {0x10400, 0x10428},
        {0x10427, 0x1044f}, {0x10428, 0x10428},  {0x1e900, 0x1e922}, {0x1e921, 0x1e943},
        {0x1e922, 0x1e922}, {0x10ffff, 0x10ffff}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_int_equal(inki_filter_fold(pairs[i][0]), pairs[i][1]);
    static const uint32_t kinds[][2] = {
        {0, INKI_KIND_OTHER},       {'a', INKI_KIND_WORD},     {'7', INKI_KIND_WORD},
        {'_', INKI_KIND_OTHER},     {' ', INKI_KIND_SPACE},    {0x85, INKI_KIND_SPACE},
        {0xa0, INKI_KIND_SPACE},    {0xac, INKI_KIND_OTHER},   {0xad, INKI_KIND_SKIP},
        {0xae, INKI_KIND_OTHER},    {0x2ff, INKI_KIND_OTHER},  {0x300, INKI_KIND_WORD},
        {0x34e, INKI_KIND_WORD},    {0x34f, INKI_KIND_SKIP},   {0x350, INKI_KIND_WORD},
        {0x3000, INKI_KIND_SPACE},  {0x3001, INKI_KIND_OTHER}, {0x4e00, INKI_KIND_UNSPACED},
        {0x200a, INKI_KIND_SPACE},  {0x200b, INKI_KIND_SKIP},  {0x200f, INKI_KIND_SKIP},
        {0x2010, INKI_KIND_OTHER},  {0x2028, INKI_KIND_SPACE}, {0x202a, INKI_KIND_SKIP},
        {0x2060, INKI_KIND_SKIP},   {0x2070, INKI_KIND_WORD},  {0x20d0, INKI_KIND_WORD},
        {0x3164, INKI_KIND_SKIP},   {0xac00, INKI_KIND_WORD},  {0xfeff, INKI_KIND_SKIP},
        {0x1f600, INKI_KIND_OTHER}, {0xe0001, INKI_KIND_SKIP}, {0xe1000, INKI_KIND_OTHER},
        {0x10ffff, INKI_KIND_OTHER}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        assert_int_equal(inki_filter_kind(kinds[i][0]), kinds[i][1]);
}

static void test_consistent(void **state) {
    (void)state;
    for (uint32_t c = 0; c < CODE_POINTS; c++) {
        const uint32_t folded = inki_filter_fold(c);
        assert_int_equal(inki_filter_fold(folded), folded);
        assert_int_equal(inki_filter_kind(folded), inki_filter_kind(c));
        assert_true(folded < CODE_POINTS && (folded < 0xd800 || folded > 0xdfff || folded == c));
        // The text is only folded where it may be a word of letters with case.
        if (inki_filter_kind(c) >= INKI_KIND_UNSPACED) assert_int_equal(folded, c);
    }
}

// NULL: the data are not there, or of another version than the tables.
static FILE *data_file(const char *name) {
    char path[128], line[256] = "";
    FILE *version = fopen("/usr/share/unicode/PropList.txt", "r");
    if (version != NULL) {
        if (fgets(line, sizeof line, version) == NULL) line[0] = 0;
        fclose(version);
    }
    if (strncmp(line, "# PropList-15.0.0.txt", 21) != 0) {
        print_message("left out: %s of Unicode 15.0.0 is not installed\n", name);
        return NULL;
    }
    snprintf(path, sizeof path, "/usr/share/unicode/%s", name);
    return fopen(path, "r");
}

static void test_every_fold(void **state) {
    (void)state;
    FILE *f = data_file("CaseFolding.txt");
    if (f == NULL) return;
    uint32_t *want = malloc(CODE_POINTS * sizeof *want);
    assert_non_null(want);
    for (uint32_t c = 0; c < CODE_POINTS; c++) want[c] = c;
    char line[256], status;
    size_t n = 0;
    for (unsigned from, to; fgets(line, sizeof line, f) != NULL;)
        if (sscanf(line, "%x; %c; %x", &from, &status, &to) == 3 &&
            (status == 'C' || status == 'S')) {
            want[from] = to;
            n++;
        }
    fclose(f);
    assert_true(n > 1400);
    for (uint32_t c = 0; c < CODE_POINTS; c++) assert_int_equal(inki_filter_fold(c), want[c]);
    free(want);
}

// The general category's first letter of every code point, 0 where none is assigned.
static void read_categories(FILE *f, char *major) {
    char line[512];
    unsigned first = 0, c;
    while (fgets(line, sizeof line, f) != NULL) {
        assert_int_equal(sscanf(line, "%x;", &c), 1);
        const char *name = strchr(line, ';') + 1, *category = strchr(name, ';') + 1;
        const bool range_ends = strncmp(category - 8, ", Last>;", 8) == 0;
        for (unsigned i = range_ends ? first : c; i <= c; i++) major[i] = category[0];
        first = c;
    }
    fclose(f);
}

static void read_ignorable(FILE *f, char *major) {
    char line[256], property[64];
    while (fgets(line, sizeof line, f) != NULL) {
        unsigned first, last;
        if (sscanf(line, "%x..%x ; %63s", &first, &last, property) != 3) {
            if (sscanf(line, "%x ; %63s", &first, property) != 2) continue;
            last = first;
        }
        if (strcmp(property, "Default_Ignorable_Code_Point") != 0) continue;
        for (unsigned i = first; i <= last; i++) major[i] = 'I';
    }
    fclose(f);
}

static void test_every_kind(void **state) {
    (void)state;
    FILE *f = data_file("UnicodeData.txt"), *derived;
    if (f == NULL) return;
    char *major = calloc(CODE_POINTS, 1);
    assert_non_null(major);
    read_categories(f, major);
    derived = data_file("DerivedCoreProperties.txt");
    assert_non_null(derived);
    read_ignorable(derived, major);
    size_t n_marks = 0, n_skipped = 0;
    for (uint32_t c = 0; c < CODE_POINTS; c++) {
        const unsigned kind = inki_filter_kind(c);
        unsigned want = INKI_KIND_OTHER;
        if (inki_unicode_is_unspaced(c))
            want = INKI_KIND_UNSPACED;
        else if (major[c] == 'I')
            want = INKI_KIND_SKIP;
        else if (major[c] != 0 && strchr("LNM", major[c]) != NULL)
            want = INKI_KIND_WORD;
        else if (inki_unicode_class(c) == INKI_CLASS_SPACE)
            want = INKI_KIND_SPACE;
        // What is not assigned may lie in a range of marks.
        if (major[c] == 0 && kind == INKI_KIND_WORD) continue;
        if (kind != want) fail_msg("U+%04X: %u, expected %u", (unsigned)c, kind, want);
        n_marks += major[c] == 'M';
        n_skipped += kind == INKI_KIND_SKIP;
    }
    assert_true(n_marks > 2000 && n_skipped > 4000);
    free(major);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_some),
        cmocka_unit_test(test_consistent),
        cmocka_unit_test(test_every_fold),
        cmocka_unit_test(test_every_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
