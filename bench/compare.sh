#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: bench/compare.sh [--quick] [--threads N] [--story FILE] [MODEL.gguf...]
# This library beside llama.cpp on the same files, in turns of slices of less than a second, and the bars of
# the project beside the ratios. Without a model: random ones of GPT-2's small shape in Q8_0 and Q4_0, and the
# built-in story model. llama.cpp's libraries come from npm, once, into build/llama; LLAMA_LIBRARIES names the
# folder of libllama*.so where they are already. Other programs at work make the figures worthless.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
options=
story=$root/models/story.gguf
while [ $# -gt 0 ]; do
    case $1 in
    --quick) options="$options --quick" ;;
    --threads)
        options="$options --threads ${2:-0}"
        [ $# -lt 2 ] || shift
        ;;
    --story)
        if [ $# -lt 2 ]; then
            echo 'bench/compare.sh: --story needs a file' >&2
            exit 2
        fi
        story=$2
        shift
        ;;
    -h | --help)
        sed -n '3,7s/^# //p' "$0"
        exit 0
        ;;
    -*)
        echo "bench/compare.sh: unknown option $1 (see bench/compare.sh --help)" >&2
        exit 2
        ;;
    *) break ;;
    esac
    shift
done
build=$root/build/release
LLAMA_LIBRARIES=$("$root/bench/llama_libraries.sh")
export LLAMA_LIBRARIES

"$root/tools/build.sh" release >&2
log=$build/compare.log
if ! cmake --build "$build" --parallel "${JOBS:-2}" --target inkling_compare >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
program=$build/bin/inkling

if [ $# -eq 0 ]; then
    for type in q8_0 q4_0; do
        file=$root/build/bench/gpt2-124m-$type.gguf
        mkdir -p "$root/build/bench"
        [ -f "$file" ] || "$program" bench --quick --shape gpt2-124m --type $type --keep "$file" >/dev/null
        set -- "$@" "$file"
    done
fi
# shellcheck disable=SC2086 # words
exec "$build/bin/compare" $options --story "$story" --program "$program" "$@"
