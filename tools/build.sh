#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tools/build.sh PRESET [CMake options]
# Configures build/PRESET and builds it, or only the TARGETS in the environment. What went well is not worth
# many lines.
set -eu

cd "$(dirname "$0")/.."
preset=$1
shift
log=build/$preset/configure.log
mkdir -p "build/$preset"
# A build folder that was moved or copied knows another source folder: begin it anew.
cache=build/$preset/CMakeCache.txt
if [ -f "$cache" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$(pwd -P)" "$cache"; then
    rm -rf "build/$preset"
    mkdir -p "build/$preset"
fi
if ! cmake --preset "$preset" "$@" >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
grep -A2 '^CMake Warning' "$log" >&2 || true
# "Built target" for each target, every time, is what nobody reads.
result=build/$preset/build.result
{
    status=0
    # shellcheck disable=SC2086 # a list of words
    cmake --build "build/$preset" --parallel "${JOBS:-2}" ${TARGETS:+--target $TARGETS} || status=$?
    echo $status >"$result"
} | grep -v 'Built target' || true
exit "$(cat "$result")"
