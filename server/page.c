// SPDX-License-Identifier: MIT
#include "server/failure.h"
#include "server/route.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

// SRV_WEB_FOLDER is the folder of the page's files, as a string; the build defines it. The
// assembler copies them, so that a program of one file can serve the page and no path can lead out
// of it.
#ifdef __APPLE__
#define PAGE_BEGIN   ".section __TEXT,__const\n"
#define PAGE_SYMBOL  "_srv_page_"
#define PAGE_HIDDEN  ".private_extern "
#define PAGE_SECTION ".text\n"
#else
#define PAGE_BEGIN   ".pushsection .rodata.srv_page,\"a\",%progbits\n"
#define PAGE_SYMBOL  "srv_page_"
#define PAGE_HIDDEN  ".hidden "
#define PAGE_SECTION ".popsection\n"
#endif

// X(symbol, name, type): the one list of what there is. A file that is not in it is not served.
#define PAGE_JS "text/javascript; charset=utf-8"
#define PAGE_MAP(X)                                                                                \
    X(index, "index.html", "text/html; charset=utf-8")                                             \
    X(style, "style.css", "text/css; charset=utf-8")                                               \
    X(icon, "icon.svg", "image/svg+xml")                                                           \
    X(api, "api.js", PAGE_JS)                                                                      \
    X(app, "app.js", PAGE_JS)                                                                      \
    X(chart, "chart.js", PAGE_JS)                                                                  \
    X(editor, "editor.js", PAGE_JS)                                                                \
    X(figures, "figures.js", PAGE_JS)                                                              \
    X(generate, "generate.js", PAGE_JS)                                                            \
    X(history, "history.js", PAGE_JS)                                                              \
    X(notice, "notice.js", PAGE_JS)                                                                \
    X(reading, "reading.js", PAGE_JS)                                                              \
    X(stream, "stream.js", PAGE_JS)                                                                \
    X(tokens, "tokens.js", PAGE_JS)                                                                \
    X(typing, "typing.js", PAGE_JS)                                                                \
    X(words, "words.js", PAGE_JS)

// clang-format off
#define PAGE_EMBED(symbol, name, type)                                                             \
    __asm__(PAGE_BEGIN                                                                             \
            ".globl " PAGE_SYMBOL #symbol "\n" PAGE_HIDDEN PAGE_SYMBOL #symbol "\n"                \
            ".globl " PAGE_SYMBOL #symbol "_end\n" PAGE_HIDDEN PAGE_SYMBOL #symbol "_end\n"        \
            PAGE_SYMBOL #symbol ":\n"                                                              \
            ".incbin \"" SRV_WEB_FOLDER "/" name "\"\n"                                            \
            PAGE_SYMBOL #symbol "_end:\n"                                                          \
            ".byte 0\n"                                                                            \
            PAGE_SECTION);                                                                         \
    extern const unsigned char srv_page_##symbol[] __attribute__((visibility("hidden")));          \
    extern const unsigned char srv_page_##symbol##_end[] __attribute__((visibility("hidden")));
// clang-format on
PAGE_MAP(PAGE_EMBED)

typedef struct page_file {
    const char *name, *type;
    const unsigned char *begin, *end;
    char etag[24]; // with its quotes
} page_file;

#define PAGE_ENTRY(symbol, name, type) {name, type, srv_page_##symbol, srv_page_##symbol##_end, ""},
static page_file page_files[] = {PAGE_MAP(PAGE_ENTRY)};
enum { N_PAGE_FILES = sizeof page_files / sizeof page_files[0] };

// Nothing but the page's own files runs, and nothing but this server is spoken to. No script may
// make markup of text: what a model says, or a file is called, can only ever be text.
static const char page_csp[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

// FNV-1a: the tag has to differ when a file does, nobody gains by making two that agree.
static void page_hash(void) {
    for (size_t i = 0; i < N_PAGE_FILES; i++) {
        page_file *file = &page_files[i];
        uint64_t hash = 0xcbf29ce484222325;
        for (const unsigned char *p = file->begin; p < file->end; p++)
            hash = (hash ^ *p) * 0x100000001b3;
        snprintf(file->etag, sizeof file->etag, "\"%016" PRIx64 "\"", hash);
    }
}

void srv_handle_page(srv_call *call) {
    static pthread_once_t once = PTHREAD_ONCE_INIT; // two servers may run in one process
    pthread_once(&once, page_hash);
    const char *name = srv_call_tail(call);
    if (name[0] == '\0') name = "index.html";
    for (size_t i = 0; i < N_PAGE_FILES; i++) {
        const page_file *file = &page_files[i];
        if (strcmp(file->name, name) != 0) continue;
        srv_call_static(call, file->type, file->begin, (size_t)(file->end - file->begin),
                        file->etag, page_csp);
        return;
    }
    srv_failure why;
    srv_fail(&why, 404, "invalid_request_error", "not_found",
             "There is no such page; docs/SERVER.md lists the paths that there are");
    srv_call_fail(call, &why);
}
