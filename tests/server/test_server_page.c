// SPDX-License-Identifier: MIT
// The demo page as it is served: its files, their types and tags, the policy they come under; that
// both languages say everything, and that what is written can be read on what it is written on.
#include "http_ask.h"

#include <ctype.h>
#include <dirent.h>
#include <math.h>

static srv_app *app;

static int start(void **state) {
    (void)state;
    static const char *const keys[] = {"a key, which the page itself needs not"};
    srv_options o = asked_options();
    o.keys = keys;
    o.n_keys = 1;
    app = asked_begin(&o);
    return 0;
}

static int stop(void **state) {
    (void)state;
    srv_free(app);
    return 0;
}

// --- files ---------------------------------------------------------------------------------------

static http_reader reader; // the last answer

static unsigned get(const char *method, const char *name, const char *header) {
    char head[512], bytes[16384];
    const int fd = asked_connect(srv_port(app));
    snprintf(head, sizeof head, "%s /%s HTTP/1.1\r\nHost: localhost\r\n%sConnection: close\r\n\r\n",
             method, name, header);
    asked_send(fd, head, strlen(head));
    assert_true(http_reader_begin(&reader));
    int done = 0;
    for (ssize_t n; done == 0 && (n = recv(fd, bytes, sizeof bytes, 0)) > 0;)
        done = http_reader_feed(&reader, bytes, (size_t)n);
    if (done == 0) done = http_reader_end(&reader) ? 1 : -1;
    close(fd);
    assert_int_equal(done, 1);
    return reader.status;
}

// Of the last answer, into out [512].
static bool header_of(const char *name, char *out) {
    const size_t length = strlen(name);
    for (const char *line = http_reader_head(&reader); (line = strstr(line, "\r\n")) != NULL;) {
        line += 2;
        if (strncasecmp(line, name, length) != 0 || line[length] != ':') continue;
        line += length + 1;
        line += strspn(line, " ");
        snprintf(out, 512, "%.*s", (int)strcspn(line, "\r\n"), line);
        return true;
    }
    return false;
}

// A file of web/, to be freed.
static char *web_file(const char *name, size_t *bytes) {
    const char *folder = getenv("INKLING_SOURCE_DIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/web/%s", folder != NULL ? folder : ".", name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("%s: cannot be opened", path);
    enum { MOST = 1 << 17 };
    char *text = malloc(MOST);
    assert_non_null(text);
    *bytes = fread(text, 1, MOST - 1, file);
    text[*bytes] = 0;
    fclose(file);
    return text;
}

enum { MOST_FILES = 64 };
static char names[MOST_FILES][64];
static size_t n_names;

static void list_files(void) {
    const char *folder = getenv("INKLING_SOURCE_DIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/web", folder != NULL ? folder : ".");
    DIR *all = opendir(path);
    if (all == NULL) fail_msg("%s: cannot be opened", path);
    n_names = 0;
    for (struct dirent *entry; (entry = readdir(all)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        assert_true(n_names < MOST_FILES);
        snprintf(names[n_names++], sizeof names[0], "%.63s", entry->d_name);
    }
    closedir(all);
    assert_true(n_names > 3);
}

static const char *type_of(const char *name) {
    const char *end = strrchr(name, '.');
    if (strcmp(end, ".html") == 0) return "text/html; charset=utf-8";
    if (strcmp(end, ".css") == 0) return "text/css; charset=utf-8";
    if (strcmp(end, ".js") == 0) return "text/javascript; charset=utf-8";
    if (strcmp(end, ".svg") == 0) return "image/svg+xml";
    fail_msg("%s: no type is known for it", name);
    return "";
}

// Whatever lies in web/ is served as it lies there, to anybody.
static void test_files(void **state) {
    (void)state;
    list_files();
    size_t total = 0;
    for (size_t i = 0; i < n_names; i++) {
        size_t bytes = 0;
        char *file = web_file(names[i], &bytes), value[512];
        total += bytes;
        if (get("GET", names[i], "") != 200) fail_msg("%s: %u", names[i], reader.status);
        assert_int_equal(reader.body_bytes, bytes);
        assert_memory_equal(http_reader_body(&reader), file, bytes);
        assert_true(header_of("Content-Type", value));
        assert_string_equal(value, type_of(names[i]));
        assert_true(header_of("X-Content-Type-Options", value));
        assert_string_equal(value, "nosniff");
        size_t n_lines = 0;
        for (const char *c = file; *c != 0; c++) n_lines += *c == '\n';
        if (n_lines > 600) fail_msg("%s: %zu lines", names[i], n_lines);
        free(file);
    }
    if (total > 100000) fail_msg("the page has %zu bytes", total);
    size_t bytes = 0;
    char *index = web_file("index.html", &bytes);
    assert_int_equal(get("GET", "", ""), 200);
    assert_int_equal(reader.body_bytes, bytes);
    assert_memory_equal(http_reader_body(&reader), index, bytes);
    free(index);
}

static void test_other_names(void **state) {
    (void)state;
    static const char *const wrong[] = {"index.htm",         "app.js.",          "APP.JS",
                                        "..%2fLICENSE",      "%2e%2e%2fLICENSE", "web%2fapp.js",
                                        "index.html%00.css", "favicon.ico",      "app.js%20"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const unsigned status = get("GET", wrong[i], "");
        if (status != 404 && status != 400) fail_msg("%s: %u", wrong[i], status);
        assert_non_null(strstr(http_reader_body(&reader), "\"error\""));
    }
}

static void test_tags(void **state) {
    (void)state;
    list_files();
    static char tags[MOST_FILES][512];
    for (size_t i = 0; i < n_names; i++) {
        char header[600], again[512];
        assert_int_equal(get("GET", names[i], ""), 200);
        assert_true(header_of("ETag", tags[i]));
        assert_true(tags[i][0] == '"' && strlen(tags[i]) > 8);
        for (size_t k = 0; k < i; k++) assert_string_not_equal(tags[i], tags[k]);
        snprintf(header, sizeof header, "If-None-Match: %.511s\r\n", tags[i]);
        assert_int_equal(get("GET", names[i], header), 304);
        assert_int_equal(reader.body_bytes, 0);
        assert_true(header_of("ETag", again));
        assert_string_equal(again, tags[i]);
        assert_int_equal(get("GET", names[i], "If-None-Match: \"0123456789abcdef\"\r\n"), 200);
    }
}

// Each directive, no more and no fewer; and nothing in the page that it would stop.
static void test_policy(void **state) {
    (void)state;
    static const char *const directives[] = {
        "default-src 'none'",   "script-src 'self'",
        "style-src 'self'",     "connect-src 'self'",
        "img-src 'self'",       "base-uri 'none'",
        "form-action 'none'",   "frame-ancestors 'none'",
        "trusted-types 'none'", "require-trusted-types-for 'script'",
    };
    list_files();
    for (size_t i = 0; i < n_names; i++) {
        char policy[512];
        size_t expected = 0;
        assert_int_equal(get("GET", names[i], ""), 200);
        assert_true(header_of("Content-Security-Policy", policy));
        for (size_t k = 0; k < sizeof directives / sizeof *directives; k++) {
            if (strstr(policy, directives[k]) == NULL) fail_msg("no %s", directives[k]);
            expected += strlen(directives[k]) + 2;
        }
        assert_int_equal(strlen(policy) + 2, expected); // each "; " but the last one's
        static const char *const foreign[] = {"https://",  " style=",  "<style",    "javascript:",
                                              " onclick=", " onload=", "innerHTML", "eval("};
        for (size_t k = 0; k < sizeof foreign / sizeof *foreign; k++)
            if (strstr(http_reader_body(&reader), foreign[k]) != NULL)
                fail_msg("%s has \"%s\"", names[i], foreign[k]);
    }
}

// --- words ---------------------------------------------------------------------------------------

enum { MOST_WORDS = 256 };
typedef struct word_list {
    char words[MOST_WORDS][48];
    size_t n;
} word_list;

static bool has_word(const word_list *list, const char *word) {
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->words[i], word) == 0) return true;
    return false;
}

// What stands before ": '" in text up to end.
static void read_words(word_list *list, const char *text, const char *end) {
    list->n = 0;
    for (const char *at = text; (at = strstr(at, ": '")) != NULL && at < end; at++) {
        const char *from = at;
        while (isalnum((unsigned char)from[-1]) || from[-1] == '_') from--;
        assert_true(list->n < MOST_WORDS && at - from < 48 && at > from);
        char *word = list->words[list->n];
        snprintf(word, sizeof list->words[0], "%.*s", (int)(at - from), from);
        if (has_word(list, word)) fail_msg("%s stands there twice", word);
        list->n++;
    }
}

// Every name behind `mark` in the file is a word.
static void check_words(const word_list *list, const char *file, const char *mark) {
    size_t bytes = 0, n = 0;
    char *text = web_file(file, &bytes);
    for (const char *at = text; (at = strstr(at, mark)) != NULL; n++) {
        char word[48];
        at += strlen(mark);
        snprintf(word, sizeof word, "%.*s", (int)strcspn(at, "'\""), at);
        if (!has_word(list, word)) fail_msg("%s says \"%s\", which is no word", file, word);
    }
    free(text);
    if (strcmp(file, "index.html") == 0) assert_true((n > 0) == (strncmp(mark, "data-", 5) == 0));
}

static void test_words(void **state) {
    (void)state;
    static word_list en, zh;
    size_t bytes = 0;
    char *text = web_file("words.js", &bytes);
    const char *english = strstr(text, "en: {"), *chinese = strstr(text, "zh: {");
    assert_true(english != NULL && chinese > english);
    const char *end = strstr(chinese, "};");
    assert_non_null(end);
    read_words(&en, english, chinese);
    read_words(&zh, chinese, end);
    free(text);
    assert_true(en.n > 50);
    assert_int_equal(en.n, zh.n);
    for (size_t i = 0; i < en.n; i++)
        if (!has_word(&zh, en.words[i])) fail_msg("%s is not said in Chinese", en.words[i]);
    check_words(&en, "index.html", "data-say=\"");
    check_words(&en, "index.html", "data-label=\"");
    check_words(&en, "index.html", "data-placeholder=\"");
    list_files();
    for (size_t i = 0; i < n_names; i++) check_words(&en, names[i], "say('");
}

// --- contrast, as WCAG 2.2 computes it -----------------------------------------------------------

static double channel(unsigned value) {
    const double c = value / 255.0;
    return c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
}

// The relative luminance of "--name: #rrggbb" in css up to end.
static double luminance(const char *css, const char *end, const char *name) {
    char mark[32];
    unsigned rgb = 0;
    snprintf(mark, sizeof mark, "--%s: #", name);
    const char *at = strstr(css, mark);
    if (at == NULL || at >= end || sscanf(at + strlen(mark), "%6x", &rgb) != 1)
        fail_msg("style.css has no --%s there", name);
    return 0.2126 * channel(rgb >> 16) + 0.7152 * channel(rgb >> 8 & 255) +
           0.0722 * channel(rgb & 255);
}

static void test_contrast(void **state) {
    (void)state;
    static const struct {
        const char *text, *ground;
        double least; // 4.5 for text, 3 for what a control is seen by
    } pairs[] = {
        {"ink", "paper", 4.5},   {"ink", "sheet", 4.5},
        {"ink", "wash", 4.5},    {"soft", "paper", 4.5},
        {"soft", "sheet", 4.5},  {"soft", "wash", 4.5},
        {"ghost", "sheet", 4.5}, {"accent", "sheet", 4.5},
        {"accent", "wash", 4.5}, {"accent-ink", "accent", 4.5},
        {"paper", "ink", 4.5},   {"alarm", "alarm-wash", 4.5},
        {"ink", "p0", 4.5},      {"ink", "p1", 4.5},
        {"ink", "p2", 4.5},      {"ink", "p3", 4.5},
        {"ink", "p4", 4.5},      {"ink", "p5", 4.5},
        {"edge", "sheet", 3},    {"accent", "paper", 3},
    };
    size_t bytes = 0;
    char *css = web_file("style.css", &bytes);
    const char *dark = strstr(css, "prefers-color-scheme: dark");
    assert_non_null(dark);
    const char *const from[] = {css, dark}, *const to[] = {dark, css + bytes};
    double least_text = 21;
    for (size_t theme = 0; theme < 2; theme++)
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
            const double a = luminance(from[theme], to[theme], pairs[i].text);
            const double b = luminance(from[theme], to[theme], pairs[i].ground);
            const double ratio = (fmax(a, b) + 0.05) / (fmin(a, b) + 0.05);
            if (ratio < pairs[i].least)
                fail_msg("%s on %s, %s: %.2f", pairs[i].text, pairs[i].ground,
                         theme == 0 ? "light" : "dark", ratio);
            if (pairs[i].least > 4) least_text = fmin(least_text, ratio);
        }
    free(css);
    print_message("least contrast of text: %.2f\n", least_text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files), cmocka_unit_test(test_other_names),
        cmocka_unit_test(test_tags),  cmocka_unit_test(test_policy),
        cmocka_unit_test(test_words), cmocka_unit_test(test_contrast),
    };
    const int failed = cmocka_run_group_tests(tests, start, stop);
    http_reader_free(&reader);
    return failed;
}
