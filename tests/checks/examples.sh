#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: examples.sh C-COMPILER STATIC-LIBRARY
# Each block of docs/EXAMPLES.md, taken from there by its heading, compiled into examples_host.c and run.
set -eu

cc=$1
library=$2
root=${INKLING_SOURCE_DIR:-.}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# "## How likely it is" becomes how_likely_it_is; what stands before the first heading is "shared".
awk -v to="$scratch" '
    BEGIN { name = "shared" }
    /^## / { name = tolower(substr($0, 4)); gsub(/[^a-z]+/, "_", name) }
    /^    / { print substr($0, 5) > (to "/" name) }' "$root/docs/EXAMPLES.md"
for block in "$scratch"/*; do
    name=${block##*/}
    if ! grep -q "^#include \"$name\"" "$root/tests/checks/examples_host.c"; then
        echo "docs/EXAMPLES.md: \"$name\" is not in tests/checks/examples_host.c"
        exit 1
    fi
done
cp "$root/tests/checks/examples_host.c" "$scratch"
"$cc" -std=c17 -Wall -Wextra -Werror -I"$root/include" -I"$scratch" -o "$scratch/examples" "$scratch/examples_host.c" \
    "$library" -lm -pthread
if [ ! -f "${INKLING_STORY-$root/models/story.gguf}" ]; then
    echo 'left out: running the examples, there is no built-in model'
    exit 77
fi
cd "$scratch"
./examples
