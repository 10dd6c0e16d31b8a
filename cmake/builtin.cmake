# SPDX-License-Identifier: MIT
# Built-in models: the assembler copies their files.
#
# The library's own, src/engine/builtin_model.c: INKLING_BUILTIN is `story` (models/story.gguf), `none`, or the
# path of another GGUF file, relative to the source folder: an app links a model of its own. It is what
# ink_model_open opens without a source.

if(INKLING_BUILTIN STREQUAL "none")
    set(builtin_path)
elseif(INKLING_BUILTIN STREQUAL "story")
    set(builtin_path ${PROJECT_SOURCE_DIR}/models/story.gguf)
else()
    get_filename_component(builtin_path "${INKLING_BUILTIN}" ABSOLUTE BASE_DIR ${PROJECT_SOURCE_DIR})
endif()

if(builtin_path)
    # By glob, so that the model's coming or going makes CMake look again.
    file(GLOB builtin_file CONFIGURE_DEPENDS ${builtin_path})
    if(NOT builtin_file OR IS_DIRECTORY ${builtin_path})
        message(FATAL_ERROR "INKLING_BUILTIN is '${INKLING_BUILTIN}', but ${builtin_path} is no file: expected "
            "story, none or the path of a GGUF file; -DINKLING_BUILTIN=none builds without a built-in model")
    endif()
    if(builtin_path MATCHES "[\"\\\\]")
        message(FATAL_ERROR "INKLING_BUILTIN: the assembler takes no path with quotes or backslashes: ${builtin_path}")
    endif()
    file(READ ${builtin_path} builtin_magic LIMIT 4 HEX)
    if(NOT builtin_magic STREQUAL "47475546") # "GGUF"
        message(FATAL_ERROR "INKLING_BUILTIN is '${INKLING_BUILTIN}': ${builtin_path} is no GGUF file")
    endif()
    set_source_files_properties(src/engine/builtin_model.c PROPERTIES
        COMPILE_DEFINITIONS "INKI_BUILTIN_STORY=\"${builtin_path}\""
        OBJECT_DEPENDS ${builtin_path})
endif()

# The program's, cli/builtin_models.c: where there is a file.
file(GLOB poem_zh_file CONFIGURE_DEPENDS models/poem-zh.gguf)
if(poem_zh_file)
    set_source_files_properties(cli/builtin_models.c PROPERTIES
        COMPILE_DEFINITIONS "CLI_POEM_ZH=\"${poem_zh_file}\""
        OBJECT_DEPENDS ${poem_zh_file})
endif()
