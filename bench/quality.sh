#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: bench/quality.sh MODEL.gguf TEXT
# What `inkling quantize` costs in quality, beside llama.cpp's own quantiser: MODEL (F32, F16 or BF16) in
# each type from both, sizes in bytes, and the perplexity of TEXT, which the model must not have been trained
# on, always read by this program. The files have the same size, but for mixed, which stands beside Q4_K_M.
# llama.cpp's libraries come from npm, once, into build/llama;
# LLAMA_LIBRARIES names the folder of libllama*.so where they are already; PROGRAM another inkling.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -ne 2 ]; then
    sed -n '3,8s/^# //p' "$0" >&2
    exit 2
fi
model=$1
text=$2
for file in "$model" "$text"; do
    if [ ! -f "$file" ]; then
        echo "bench/quality.sh: there is no file $file" >&2
        exit 1
    fi
done
LLAMA_LIBRARIES=$("$root/bench/llama_libraries.sh")
if [ -z "${PROGRAM:-}" ]; then
    "$root/tools/build.sh" release >&2
    PROGRAM=$root/build/release/bin/inkling
fi

T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
${CC:-cc} -O2 -o "$T/theirs" "$root/bench/llamacpp_quantize.c" "$LLAMA_LIBRARIES"/libllama.*so* \
    "$LLAMA_LIBRARIES"/libggml.*so* "$LLAMA_LIBRARIES/libggml-base.so" "-Wl,-rpath,$LLAMA_LIBRARIES" \
    -Wl,--allow-shlib-undefined
export LLAMA_BACKENDS="$LLAMA_LIBRARIES"

perplexity() { "$PROGRAM" perplexity -m "$1" "$text" 2>/dev/null | awk '/^perplexity/ { print $2 }'; }
bytes() { wc -c <"$1" | tr -d ' '; }
percent() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%+.3f %%", 100 * (a / b - 1) }'; }

plain=$(perplexity "$model")
printf '%-8s %12s %10s %10s   %12s %10s %10s\n' type bytes perplexity over theirs perplexity over
printf '%-8s %12s %10s\n' source "$(bytes "$model")" "$plain"
for pair in q8_0:7 q6_k:18 mixed:15 q4_k:14 q4_0:2; do
    type=${pair%:*}
    "$PROGRAM" quantize "$model" "$T/ours.gguf" "$type" >/dev/null 2>&1
    "$T/theirs" "$model" "$T/theirs.gguf" "${pair#*:}"
    ours=$(perplexity "$T/ours.gguf")
    theirs=$(perplexity "$T/theirs.gguf")
    printf '%-8s %12s %10s %10s   %12s %10s %10s\n' "$type" "$(bytes "$T/ours.gguf")" "$ours" \
        "$(percent "$ours" "$plain")" "$(bytes "$T/theirs.gguf")" "$theirs" "$(percent "$theirs" "$plain")"
done
