#!/bin/sh
# SPDX-License-Identifier: MIT
# Warnings of gcc and clang as errors, clang-tidy, formatting, shell scripts.
set -eu

cd "$(dirname "$0")/.."
failed=0
step() { # NAME COMMAND…
    name=$1
    shift
    echo "== $name"
    "$@" || { echo "lint: $name found something" >&2; failed=1; }
}

# shellcheck disable=SC2317 # called by step
warnings() { # COMPILER
    command -v "$1" >/dev/null || { echo "left out: $1 is not here"; return 0; }
    git ls-files 'src/*.c' 'convert/*.c' 'train/*.c' 'server/*.c' 'cli/*.c' | xargs -P "${JOBS:-2}" -n 8 "$1" -fsyntax-only -std=c17 \
        -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Werror -ffp-contract=off \
        -D_GNU_SOURCE '-DSRV_WEB_FOLDER="web"' -Iinclude -Isrc -I.
}
step 'warnings of gcc' warnings gcc
step 'warnings of clang' warnings clang
step 'clang-format' sh -c "git ls-files '*.c' '*.h' | grep -v 'tables\.[ch]' | xargs clang-format --dry-run -Werror 2>&1 |
    awk '/error:/ { split(\$0, a, \":\"); n[a[1]]++ } END { for (f in n) print f \": \" n[f] \" places\"; exit length(n) > 0 }'"
cmake --preset dev >/dev/null # for the list of commands
step 'clang-tidy' sh -c "git ls-files 'src/*.c' 'convert/*.c' 'train/*.c' 'server/*.c' 'cli/*.c' |
    xargs -P ${JOBS:-2} -n 4 clang-tidy --quiet -p build/dev 2>/dev/null"
step 'shellcheck' sh -c "git ls-files '*.sh' .ci/run 'tools/check_*' | xargs shellcheck -e SC1007,SC2015"
exit $failed
