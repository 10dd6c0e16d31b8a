# SPDX-License-Identifier: MIT
# The built-in model: the assembler copies models/story.gguf into src/engine/builtin_model.c.

if(NOT INKLING_BUILTIN MATCHES "^(story|none)$")
    message(FATAL_ERROR "INKLING_BUILTIN is '${INKLING_BUILTIN}', expected story or none")
endif()

# By glob, so that the model's coming or going makes CMake look again.
file(GLOB builtin_file CONFIGURE_DEPENDS models/story.gguf)
if(INKLING_BUILTIN STREQUAL "story" AND NOT builtin_file)
    message(WARNING "models/story.gguf is missing: building without a built-in model "
                    "(INKLING_BUILTIN=none says that this is wanted)")
elseif(INKLING_BUILTIN STREQUAL "story")
    set_source_files_properties(src/engine/builtin_model.c PROPERTIES
        COMPILE_DEFINITIONS "INKI_BUILTIN_STORY=\"${builtin_file}\""
        OBJECT_DEPENDS ${builtin_file})
endif()
