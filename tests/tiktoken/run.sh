#!/bin/sh
# SPDX-License-Identifier: MIT
# Compares the tokenizer with the npm package tiktoken:
#     run.sh BUILD_DIR [TIKTOKEN_COMPARE]
# The package goes into BUILD_DIR/tiktoken, in the version that package.json names. TIKTOKEN_COMPARE is
# the program made from tiktoken_compare.c; without it BUILD_DIR is searched.
# Exit: 0 equal, 77 left out (one line says why), else different or damaged.
set -u
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
build=${1:?usage: run.sh BUILD_DIR [TIKTOKEN_COMPARE]}
program=${2:-$(find "$build" -name tiktoken_compare -type f -perm -u+x 2>/dev/null | head -n 1)}
work=$build/tiktoken
ages=${INKLING_UNICODE_DATA:-/usr/share/unicode}/DerivedAge.txt

skip() {
    echo "tiktoken: skipped, $1; the comparison of token ids was left out"
    exit 77
}

command -v node >/dev/null 2>&1 || skip "node is not installed"
[ -f "$ages" ] || skip "$ages is not there (package unicode-data)"
[ -n "$program" ] && [ -x "$program" ] || { echo "tiktoken: no tiktoken_compare in $build" >&2; exit 2; }

mkdir -p "$work" || exit 2
version=$(sed -n 's/.*"tiktoken": "\(.*\)".*/\1/p' "$here/package.json")
installed=$(sed -n 's/^ *"version": "\(.*\)".*/\1/p' "$work/node_modules/tiktoken/package.json" 2>/dev/null)
if [ "$installed" != "$version" ]; then
    command -v npm >/dev/null 2>&1 || skip "npm is not installed"
    cp "$here/package.json" "$work/package.json" || exit 2
    timeout -k 5 240 npm install --prefix "$work" --loglevel=error --no-audit --no-fund --no-package-lock --ignore-scripts \
        --fetch-retries=1 --fetch-timeout=60000 >"$work/npm.log" 2>&1 || {
        rm -rf "$work/node_modules" # half of it would be taken for the whole the next time
        skip "npm could not install tiktoken $version (see $work/npm.log)"
    }
fi

node "$here/make_cases.mjs" "$work" "$work/cases" "$ages" \
    "$here/../../src/tokenizer/unicode_tables.c" || exit 1
"$program" "$work/cases"
