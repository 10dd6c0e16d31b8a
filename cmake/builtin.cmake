# SPDX-License-Identifier: MIT
# The built-in model: the assembler copies models/story.gguf into src/engine/builtin_model.c.

if(NOT INKLING_BUILTIN MATCHES "^(story|none)$")
    message(FATAL_ERROR "INKLING_BUILTIN is '${INKLING_BUILTIN}', expected story or none")
endif()

# By glob, so that the model's coming or going makes CMake look again.
file(GLOB builtin_file CONFIGURE_DEPENDS models/story.gguf)
if(INKLING_BUILTIN STREQUAL "story" AND NOT builtin_file)
    message(FATAL_ERROR "models/story.gguf is missing; -DINKLING_BUILTIN=none builds without a built-in model")
elseif(INKLING_BUILTIN STREQUAL "story")
    set_source_files_properties(src/engine/builtin_model.c PROPERTIES
        COMPILE_DEFINITIONS "INKI_BUILTIN_STORY=\"${builtin_file}\""
        OBJECT_DEPENDS ${builtin_file})
endif()
