#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tools/fuzz.sh TARGET SECONDS
# Builds tests/fuzz/fuzz_TARGET.c with libFuzzer and lets it run. What it finds beyond the seeds stays in
# build/fuzz/corpus; an input that breaks something is written to build/fuzz and named.
set -eu

cd "$(dirname "$0")/.."
target=$1
seconds=$2
if [ ! -f "tests/fuzz/fuzz_$target.c" ]; then
    echo "usage: make fuzz TARGET=x SECONDS=60, where x is one of:" >&2
    for file in tests/fuzz/fuzz_*.c; do
        file=${file##*/fuzz_}
        echo "    ${file%.c}" >&2
    done
    exit 2
fi
mkdir -p build/fuzz
if ! printf 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d == 0 && n == 1; }\n' |
    clang -x c -fsanitize=fuzzer -o build/fuzz/probe - 2>/dev/null; then
    echo "Fuzzing needs clang with libFuzzer: sudo apt-get install -y clang libclang-rt-14-dev" >&2
    exit 1
fi
tools/build.sh fuzz
mkdir -p "build/fuzz/corpus/$target"
seeds=tests/fuzz/seeds/$target
[ -d "$seeds" ] || seeds=
# shellcheck disable=SC2086 # empty or one word
exec "build/fuzz/bin/fuzz_$target" "-max_total_time=$seconds" -artifact_prefix=build/fuzz/ \
    "build/fuzz/corpus/$target" $seeds
