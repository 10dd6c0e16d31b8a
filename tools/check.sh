#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tools/check.sh [release|clang|asan|tsan|x86-old|aarch64]…
# Builds and runs the tests of these presets (all without an argument) and sums up. release holds the built-in
# model of every release; the others, which are slower, a small one (tests/fixtures). x86-old runs what
# release has built on emulated older processors, aarch64 what a cross compiler makes on emulated ones of
# 64-bit ARM. With INKLING_TEST_LONG in the environment also what the tests leave out otherwise.
set -eu

cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- release x86-old aarch64 clang asan tsan
jobs=${JOBS:-2}
summary=
left_out=
passed=0 failed=0 skipped=0
options="-DINKLING_TESTS=ON -Dtest_seconds=${INKLING_TEST_LONG:+3}900"
# A contributor's newer compiler may warn of more; that is no reason for his check to fail.
[ "${CI:-}" != true ] || options="$options -DINKLING_WERROR=ON"

# What a preset's tests are built with beside the rest.
own_options() {
    [ "$1" = release ] || echo -DINKLING_BUILTIN=tests/fixtures/story-small.gguf
}

# Some kernels place memory where an older ThreadSanitizer does not expect it; without address space
# randomisation it runs.
runner() {
    [ "$1" = tsan ] || return 0
    probe=build/tsan/probe
    printf 'int main(void) { return 0; }\n' |
        ${CC:-cc} -fsanitize=thread -x c -o "$probe" - 2>/dev/null || return 0
    if ! "$probe" >/dev/null 2>&1 && setarch -R "$probe" >/dev/null 2>&1; then echo setarch -R; fi
}

count() { # FILE REGEX
    grep -cE "$2" "$1" || true
}

# Runs a script that runs tests on emulated processors, and adds up what its log says.
emulated() { # NAME LOG SCRIPT [ARGUMENTS]
    name=$1 log=$2 code=0
    shift 2
    begin=$(date +%s)
    echo "== $name: tests"
    mkdir -p "$(dirname "$log")"
    : >"$log"
    JOBS=$jobs "$@" || code=$?
    left_out="$left_out
$(sed -n "s/^left out/$name: &/p" "$log")"
    if [ $code = 77 ]; then
        summary="$summary
$name: $(grep -m1 '^left out' "$log" || echo left out)"
        return
    fi
    ok=$(count "$log" '^ok ')
    bad=$(count "$log" '^FAILED ')
    [ "$code" = 0 ] || [ "$bad" -gt 0 ] || bad=1
    passed=$((passed + ok)) failed=$((failed + bad))
    summary="$summary
$name: $ok passed, $bad failed, 0 skipped; $(($(date +%s) - begin)) s"
}

# What was built for `release`, on older processors.
x86_old() {
    if [ ! -x build/release/bin/test_kernels_levels ]; then
        # shellcheck disable=SC2086 # a list of words
        tools/build.sh release $options || true
    fi
    emulated x86-old build/release/x86-old.log tools/check_x86_old build/release
}

for preset; do
    begin=$(date +%s)
    if [ "$preset" = x86-old ]; then
        x86_old
        continue
    fi
    if [ "$preset" = aarch64 ]; then
        # shellcheck disable=SC2046,SC2086 # lists of words
        emulated aarch64 build/aarch64/aarch64.log tools/check_aarch64 $options $(own_options aarch64)
        continue
    fi
    if [ "$preset" = clang ] && ! command -v clang >/dev/null 2>&1; then
        summary="$summary
clang: left out, it is not installed"
        continue
    fi
    echo "== $preset: build"
    # shellcheck disable=SC2046,SC2086 # lists of words
    if ! tools/build.sh "$preset" $options $(own_options "$preset"); then
        summary="$summary
$preset: did not build"
        failed=$((failed + 1))
        continue
    fi
    built=$(date +%s)
    echo "== $preset: tests"
    log=build/$preset/ctest.log
    labels=
    # ThreadSanitizer sees nothing new where there is one thread.
    [ "$preset" != tsan ] || labels='-L threads'
    # shellcheck disable=SC2046,SC2086 # lists of words
    $(runner "$preset") ctest --test-dir "build/$preset" $labels --parallel "$jobs" \
        --output-on-failure --no-tests=error --output-log "$log" </dev/null || true
    ended=$(date +%s)
    ok=$(count "$log" '^ *[0-9]+/[0-9]+ Test +#.* Passed')
    out=$(count "$log" '^ *[0-9]+/[0-9]+ Test +#.*\*\*\*(Skipped|Not Run \(Disabled\))')
    all=$(count "$log" '^ *[0-9]+/[0-9]+ Test +#')
    bad=$((all - ok - out))
    [ "$all" -gt 0 ] || bad=1
    passed=$((passed + ok)) skipped=$((skipped + out)) failed=$((failed + bad))
    summary="$summary
$preset: $ok passed, $bad failed, $out skipped; build $((built - begin)) s, tests $((ended - built)) s"
    left=$(awk '/^[0-9]+\/[0-9]+ Test: / { name = $3 }
        /[Ll]eft out/ { sub(/^\[[ A-Z]*\] /, ""); print substr(name ": " $0, 1, 180) }' \
        "build/$preset/Testing/Temporary/LastTest.log" | sort -u)
    left_out="$left_out
$left"
done

printf '\n== What the suites left out\n'
echo "$left_out" | grep . | sort -u || echo 'nothing'
printf '\n== Summary%s\n\n' "$summary"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
