#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: bench/decode/run.sh [MODEL]
# Sampling, grammars, saved sessions, the prefix cache and speculation beside plain decoding. MODEL: a
# GGUF file; without it a random one of GPT-2's 124M shape in Q8_0.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build/release
model=${1:-$root/build/bench/gpt2-124m-q8_0.gguf}
cd "$root"
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build "$build" -j "${JOBS:-2}" --target inkling_program inkling_sampling_speed inkling_constrained \
    inkling_session_restore inkling_prefix_reuse inkling_speculation inkling_drafted_texts >/dev/null
mkdir -p "$(dirname "$model")"
[ -f "$model" ] || "$build/bin/inkling" bench --quick --shape gpt2-124m --type q8_0 --keep "$model" >/dev/null
for program in sampling_speed constrained session_restore prefix_reuse speculation; do
    echo "== $program"
    "$build/bin/$program" "$model"
done
echo '== constrained, built-in model'
"$build/bin/constrained"
echo '== drafted_texts, built-in model'
"$build/bin/drafted_texts" models/story.gguf
