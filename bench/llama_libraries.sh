#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: bench/llama_libraries.sh
# Prints the folder of llama.cpp's libraries: LLAMA_LIBRARIES where that is set, else build/llama, into which
# npm brings them once.
set -eu

if [ -n "${LLAMA_LIBRARIES:-}" ]; then
    printf '%s\n' "$LLAMA_LIBRARIES"
    exit 0
fi
version=3.22.1 # llama.cpp v0.5.0, with which the bars were set
case $(uname -m) in
x86_64) package=linux-x64 ;;
aarch64) package=linux-arm64 ;;
*)
    echo "bench: no llama.cpp is published for $(uname -m)" >&2
    exit 1
    ;;
esac
target=$(cd "$(dirname "$0")/.." && pwd)/build/llama
folder=$target/node_modules/@node-llama-cpp/$package/bins/$package
if [ ! -d "$folder" ]; then
    if ! command -v npm >/dev/null 2>&1; then
        echo 'bench: npm is not here to fetch llama.cpp; LLAMA_LIBRARIES may name its folder' >&2
        exit 1
    fi
    mkdir -p "$target"
    npm install --prefix "$target" --no-save --ignore-scripts --no-audit --no-fund \
        "@node-llama-cpp/$package@$version" >&2
fi
printf '%s\n' "$folder"
