// SPDX-License-Identifier: MIT
#include "engine/builtin_model.h"

#include <stdint.h>
#include <string.h>

// INKI_BUILTIN_STORY is the path of the file, as a string; the build defines it when there is one.
// The assembler copies the file: a C array of that size would take compilers seconds and much
// memory.
#ifdef INKI_BUILTIN_STORY

#ifdef __APPLE__
#define BUILTIN_BEGIN      ".section __TEXT,__const\n"
#define BUILTIN_NAME(name) "_" name
#define BUILTIN_HIDE(name) ".private_extern _" name "\n"
#define BUILTIN_END        ".text\n"
#else
#define BUILTIN_BEGIN      ".pushsection .rodata.inki_builtin,\"a\",%progbits\n"
#define BUILTIN_NAME(name) name
#define BUILTIN_HIDE(name) ".hidden " name "\n.type " name ", %object\n"
#define BUILTIN_END        ".popsection\n"
#endif

// clang-format off
__asm__(BUILTIN_BEGIN ".globl " BUILTIN_NAME("inki_builtin_story") "\n" BUILTIN_HIDE("inki_builtin_story")
        ".globl " BUILTIN_NAME("inki_builtin_story_bytes") "\n" BUILTIN_HIDE("inki_builtin_story_bytes")
        ".balign 64\n"
        BUILTIN_NAME("inki_builtin_story") ":\n"
        ".incbin \"" INKI_BUILTIN_STORY "\"\n"
        ".Linki_builtin_story_end:\n"
        ".balign 8\n"
        BUILTIN_NAME("inki_builtin_story_bytes") ":\n"
        ".quad .Linki_builtin_story_end - " BUILTIN_NAME("inki_builtin_story") "\n"
        BUILTIN_END);
// clang-format on

extern const unsigned char inki_builtin_story[] __attribute__((visibility("hidden")));
extern const uint64_t inki_builtin_story_bytes __attribute__((visibility("hidden")));

#undef BUILTIN_BEGIN
#undef BUILTIN_NAME
#undef BUILTIN_HIDE
#undef BUILTIN_END
#endif

const unsigned char *inki_builtin_find(const char *name, size_t *bytes) {
#ifdef INKI_BUILTIN_STORY
    if (!name || strcmp(name, "story") == 0) {
        *bytes = (size_t)inki_builtin_story_bytes;
        return inki_builtin_story;
    }
#endif
    (void)name;
    (void)bytes;
    return NULL;
}
