#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: bench/typing/compare.sh [--quick] [--rounds N] [--threads N] [--vocabulary DIR] [--theirs FILE.c]
#        [MODEL.gguf]
# Replays recorded typing through this library and, in turns, through llama.cpp, and prints the bars of the
# project with PASS or short. Without a model: random weights of GPT-2's small shape in Q8_0.
#   --quick       one round of the first 150 keys
#   --vocabulary  a folder with GPT-2's vocab.json and merges.txt for that model (or TYPING_VOCABULARY);
#                 without it the model's vocabulary is made by rule, and a text takes more tokens
#   --theirs      a program that replays keys through llama.cpp: FILE.c MODEL THREADS KEYS TOKENS prints
#                 "first_ms p50 X p99 X suggestion_ms p50 X p99 X evaluated_per_key X" (or TYPING_THEIRS).
#                 Without it only what needs no comparison is measured
# llama.cpp's libraries are found as for bench/compare.sh. Other programs at work make times worthless.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/bench/typing
rounds=5
first=0
threads=2
vocabulary=${TYPING_VOCABULARY:-}
theirs=${TYPING_THEIRS:-}
model=
fail() {
    echo "bench/typing/compare.sh: $1" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case $1 in
    --rounds | --threads | --vocabulary | --theirs)
        [ $# -ge 2 ] || fail "$1 needs a value"
        case $1 in
        --rounds) rounds=$2 ;;
        --threads) threads=$2 ;;
        --vocabulary) vocabulary=$2 ;;
        --theirs) theirs=$2 ;;
        esac
        shift
        ;;
    --quick)
        rounds=1
        first=150
        ;;
    -h | --help)
        sed -n '3,15s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    -*) fail "unknown option $1 (see --help)" ;;
    *)
        [ -z "$model" ] || fail 'one model at most was expected'
        model=$1
        ;;
    esac
    shift
done
case $rounds$threads in *[!0-9]* | '') fail '--rounds and --threads need numbers' ;; esac
[ "$rounds" -ge 1 ] || fail '--rounds needs 1 or more'

build=$root/build/release
out=$root/build/bench
mkdir -p "$out"
TARGETS='inkling_program inkling_typing_replay inkling_typing_model' "$root/tools/build.sh" release >&2
replay=$build/bin/typing_replay

if [ -z "$model" ]; then
    model=$out/gpt2-124m-q8_0.gguf
    [ -f "$model" ] || "$build/bin/inkling" bench --quick --shape gpt2-124m --type q8_0 --keep "$model" >/dev/null
    if [ -n "$vocabulary" ]; then
        shape=$model
        model=$out/gpt2-124m-q8_0-vocabulary.gguf
        [ -f "$model" ] || "$build/bin/typing_model" "$shape" "$vocabulary" "$model"
    else
        echo 'no --vocabulary: a vocabulary made by rule, a text takes about twice as many tokens' >&2
    fi
fi

if [ -n "$theirs" ]; then
    LLAMA_LIBRARIES=$("$root/bench/llama_libraries.sh")
    LLAMA_BACKENDS=$LLAMA_LIBRARIES
    export LLAMA_LIBRARIES LLAMA_BACKENDS
    ${CC:-cc} -O2 "$theirs" -o "$out/typing_theirs" "$LLAMA_LIBRARIES"/libllama.*.so \
        "$LLAMA_LIBRARIES"/libggml.v*.so "$LLAMA_LIBRARIES"/libggml-base.so \
        "-Wl,-rpath,$LLAMA_LIBRARIES" -Wl,--allow-shlib-undefined
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$replay" --first "$first" --keys "$scratch/keys" "$here/append.trace"

# Lines "ours|theirs|NAME text of the replay" for the table below.
measure() {
    name=$1
    shift
    "$@" >"$scratch/out" || exit 1
    sed "s/^/$name /" "$scratch/out" >>"$scratch/all"
}
ours() {
    measure "$1" "$replay" --model "$model" --threads "$threads" --first "$first" --window-words "$2" "$here/$1.trace"
}
their_turn() { measure theirs "$out/typing_theirs" "$model" "$threads" "$scratch/keys" 8; }

echo "$model, $threads threads, $rounds rounds; median of the rounds [lowest, highest]"
round=0
while [ "$round" -lt "$rounds" ]; do
    # Who begins changes, so that what a turn leaves behind (clock rates, caches) is shared fairly.
    [ -z "$theirs" ] || [ $((round % 2)) -eq 0 ] || their_turn
    ours append 0
    [ -z "$theirs" ] || [ $((round % 2)) -eq 1 ] || their_turn
    measure story "$replay" --threads "$threads" --first "$first" "$here/append.trace"
    round=$((round + 1))
    echo "round $round of $rounds" >&2
done
ours jumps 0
ours document 50

awk -f "$here/compare.awk" "$scratch/all"
