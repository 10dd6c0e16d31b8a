// SPDX-License-Identifier: MIT
#include "cli/builtin_models.h"

#include <string.h>

// CLI_POEM_ZH is the path of the file, as a string; the build defines it when there is one. The
// assembler copies it, as it does the library's own (src/engine/builtin_model.c).
#ifdef CLI_POEM_ZH

#ifdef __APPLE__
#define MODEL_BEGIN  ".section __TEXT,__const\n"
#define MODEL_SYMBOL "_cli_poem_zh"
#define MODEL_HIDDEN ".private_extern "
#define MODEL_END    ".text\n"
#else
#define MODEL_BEGIN  ".pushsection .rodata.cli_poem_zh,\"a\",%progbits\n"
#define MODEL_SYMBOL "cli_poem_zh"
#define MODEL_HIDDEN ".hidden "
#define MODEL_END    ".popsection\n"
#endif

// clang-format off
__asm__(MODEL_BEGIN
        ".globl " MODEL_SYMBOL "\n" MODEL_HIDDEN MODEL_SYMBOL "\n"
        ".globl " MODEL_SYMBOL "_end\n" MODEL_HIDDEN MODEL_SYMBOL "_end\n"
        ".balign 64\n"
        MODEL_SYMBOL ":\n"
        ".incbin \"" CLI_POEM_ZH "\"\n"
        MODEL_SYMBOL "_end:\n"
        ".byte 0\n"
        MODEL_END);
// clang-format on
extern const unsigned char cli_poem_zh[] __attribute__((visibility("hidden")));
extern const unsigned char cli_poem_zh_end[] __attribute__((visibility("hidden")));
#endif

bool cli_builtin_at(size_t i, cli_builtin *out) {
#ifdef CLI_POEM_ZH
    if (i == 0) {
        *out = (cli_builtin){"poem-zh", cli_poem_zh, (size_t)(cli_poem_zh_end - cli_poem_zh)};
        return true;
    }
#endif
    (void)i;
    (void)out;
    return false;
}

bool cli_builtin_find(const char *name, cli_builtin *out) {
    for (size_t i = 0; cli_builtin_at(i, out); i++)
        if (strcmp(out->name, name) == 0) return true;
    return false;
}
