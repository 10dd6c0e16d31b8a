#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: sample.sh C-COMPILER STATIC-LIBRARY
# The three lines of README.md, taken from there, compiled into a program and run in an empty folder.
set -eu

cc=$1
library=$2
root=${INKLING_SOURCE_DIR:-.}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The same lines stand at the head of the public header.
sed -n 's/^    \(ink_[a-z]*.*;.*\)$/\1/p' "$root/README.md" >"$scratch/lines"
sed -n 's|^//     \(ink_[a-z]*.*;.*\)$|\1|p' "$root/include/inkling/inkling.h" | head -n 3 >"$scratch/header"
if [ "$(wc -l <"$scratch/lines")" != 3 ]; then
    echo "README.md has $(wc -l <"$scratch/lines") lines of sample, expected 3"
    exit 1
fi
diff "$scratch/lines" "$scratch/header"

cp "$root/tests/checks/sample_host.c" "$scratch"
"$cc" -std=c17 -Wall -Wextra -Werror -I"$root/include" -I"$scratch" -o "$scratch/sample" \
    "$scratch/sample_host.c" "$library" -lm -pthread
if [ ! -f "$root/models/story.gguf" ]; then
    echo 'left out: running the sample, models/story.gguf is not here'
    exit 77
fi
mkdir "$scratch/empty"
cd "$scratch/empty"
../sample >../story
bytes=$(wc -c <../story | tr -d ' ')
# Its seed is a random one: how many they are is the model's affair.
if [ "$bytes" = 0 ]; then
    echo 'the sample wrote nothing'
    exit 1
fi
echo "the sample wrote $bytes bytes"
