#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: bench/compare.sh [--quick] [--story FILE] [MODEL.gguf...]
# This library beside llama.cpp on the same files, in turns of slices of less than a second, and the bars of
# the project beside the ratios. Without a model: random ones of GPT-2's small shape in Q8_0 and Q4_0, and the
# built-in story model. llama.cpp's libraries come from npm, once, into build/llama; LLAMA_LIBRARIES names the
# folder of libllama*.so where they are already. Other programs at work make the figures worthless.
set -eu

cd "$(dirname "$0")/.."
root=$PWD
build=$root/build/release
version=3.22.1 # llama.cpp v0.5.0, with which the bars were set
case $(uname -m) in
x86_64) package=linux-x64 ;;
aarch64) package=linux-arm64 ;;
*)
    echo "bench/compare.sh: no llama.cpp is published for $(uname -m)" >&2
    exit 1
    ;;
esac

if [ -z "${LLAMA_LIBRARIES:-}" ]; then
    LLAMA_LIBRARIES=$root/build/llama/node_modules/@node-llama-cpp/$package/bins/$package
    if [ ! -d "$LLAMA_LIBRARIES" ]; then
        if ! command -v npm >/dev/null 2>&1; then
            echo 'bench/compare.sh: npm is not here to fetch llama.cpp; LLAMA_LIBRARIES may name its folder' >&2
            exit 1
        fi
        mkdir -p build/llama
        npm install --prefix build/llama --no-save --ignore-scripts --no-audit --no-fund \
            "@node-llama-cpp/$package@$version" >&2
    fi
fi
export LLAMA_LIBRARIES

tools/build.sh release >&2
cmake --build "$build" --parallel "${JOBS:-2}" --target inkling_compare | grep -v 'Built target' >&2 || true
program=$build/bin/inkling

options=
story=models/story.gguf
while [ $# -gt 0 ]; do
    case $1 in
    --quick) options=--quick ;;
    --story)
        story=${2:?--story needs a file}
        shift
        ;;
    -*)
        sed -n '3s/^# //p' "$0" >&2
        exit 2
        ;;
    *) break ;;
    esac
    shift
done
if [ $# -eq 0 ]; then
    for type in q8_0 q4_0; do
        file=build/bench/gpt2-124m-$type.gguf
        mkdir -p build/bench
        [ -f "$file" ] || "$program" bench --quick --shape gpt2-124m --type $type --keep "$file" >/dev/null
        set -- "$@" "$file"
    done
fi
# shellcheck disable=SC2086 # a word or none
exec "$build/bin/compare" $options --story "$story" --program "$program" "$@"
