#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: header.sh C-COMPILER
# The public headers compile alone, as C99 and C++11, with the experimental floor and without it.
set -eu

cc=$1
root=${INKLING_SOURCE_DIR:-.}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
strict='-pedantic -Wall -Wextra -Wundef -Wshadow -Werror -fsyntax-only'

for header in inkling train; do
    printf '#include "inkling/%s.h"\n#include "inkling/%s.h"\n' $header $header >"$scratch/$header.c"
    cp "$scratch/$header.c" "$scratch/$header.cpp"
done
n=0
for floor in '' -DINK_EXPERIMENTAL -DINKLING_STATIC; do
    for standard in c99 c11 c17; do
        # shellcheck disable=SC2086 # lists of words
        "$cc" -std=$standard $strict -Wstrict-prototypes $floor -I"$root/include" "$scratch"/*.c
        n=$((n + 1))
    done
    found=
    for cxx in g++ clang++; do
        printf '#include <stddef.h>\n' | "$cxx" -x c++ -fsyntax-only - 2>/dev/null || continue
        found=1
        for standard in c++11 c++17 c++20; do
            # shellcheck disable=SC2086 # lists of words
            "$cxx" -std=$standard $strict $floor -I"$root/include" "$scratch"/*.cpp
            n=$((n + 1))
        done
    done
    if [ -z "$found" ]; then
        echo 'header.sh: no C++ compiler' >&2
        exit 1
    fi
done
echo "the headers compiled alone in $n ways"
