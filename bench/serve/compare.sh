#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: bench/serve/compare.sh [--quick] [--rounds N] [--threads N] [--model FILE]...
# What HTTP adds to the first token, what eight streams at a time are to one, and to eight sequences through
# llama.cpp, in turns, with the bars of the project. Without a model: a random one of GPT-2's small shape in
# Q8_0, and the built-in story model. llama.cpp's libraries are found as for bench/compare.sh; without npm and
# LLAMA_LIBRARIES that line is left out. Other programs at work make the figures worthless.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
options=
models=
fail() {
    echo "bench/serve/compare.sh: $1 (see --help)" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case $1 in
    --quick) options="$options --quick" ;;
    --rounds | --threads | --model)
        [ $# -ge 2 ] || fail "$1 needs a value"
        case $1 in
        --model)
            [ -f "$2" ] || fail "there is no file $2"
            models="$models
$2"
            ;;
        *)
            case $2 in *[!0-9]* | '') fail "$1 needs a number" ;; esac
            options="$options $1 $2"
            ;;
        esac
        shift
        ;;
    -h | --help)
        sed -n '3,7s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) fail "unknown option $1" ;;
    esac
    shift
done

build=$root/build/release
if LLAMA_LIBRARIES=$("$root/bench/llama_libraries.sh"); then export LLAMA_LIBRARIES; else unset LLAMA_LIBRARIES; fi
TARGETS='inkling_program inkling_serve_compare' "$root/tools/build.sh" release >&2

if [ -z "$models" ]; then
    file=$root/build/bench/gpt2-124m-q8_0.gguf
    mkdir -p "$root/build/bench"
    [ -f "$file" ] || "$build/bin/inkling" bench --quick --shape gpt2-124m --type q8_0 --keep "$file" >/dev/null
    models="$file
$root/models/story.gguf"
fi
set -f
IFS='
'
# shellcheck disable=SC2086 # a line a model, then words
set -- $models
IFS=' '
# shellcheck disable=SC2086 # words
exec "$build/bin/serve_compare" $options --program "$build/bin/inkling" "$@"
