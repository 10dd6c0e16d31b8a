# SPDX-License-Identifier: MIT
# Flags of everything that is built here; nothing of them reaches a program that links the libraries.

add_library(inkling_flags INTERFACE)
target_compile_features(inkling_flags INTERFACE c_std_17)
target_compile_definitions(inkling_flags INTERFACE _GNU_SOURCE)
# No contraction and never -ffast-math or -march=native: the same source gives the same bytes.
target_compile_options(inkling_flags INTERFACE
    -ffp-contract=off -fvisibility=hidden
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes)
if(INKLING_WERROR)
    target_compile_options(inkling_flags INTERFACE -Werror)
endif()
if(INKLING_SANITIZE)
    target_compile_options(inkling_flags INTERFACE
        -fsanitize=${INKLING_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(inkling_flags INTERFACE -fsanitize=${INKLING_SANITIZE})
endif()
