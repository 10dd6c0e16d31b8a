#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tools/install-deps.sh build|check|lint
# Sees to the tools that a target needs. Does nothing when all are there; installs what is missing when
# root on Debian and its kin; otherwise prints one line that does it.
set -eu

goal=${1:-build}
packages=
missing=
optional=

# need TOOL-OR-HEADER PACKAGE: remembers what is not there.
need() {
    missing="$missing $1"
    packages="$packages $2"
}
tool() { command -v "$1" >/dev/null 2>&1 || need "$1" "$2"; }

compiler=${CC:-}
[ -n "$compiler" ] || for compiler in cc gcc clang; do ! command -v $compiler >/dev/null 2>&1 || break; done
# A compiler without the C library's headers is as good as none.
printf '#include <stdio.h>\n#include <math.h>\nint main(void) { return 0; }\n' |
    $compiler -x c -fsyntax-only - >/dev/null 2>&1 || need "C compiler" "gcc libc6-dev"
tool make make
tool cmake cmake
tool pkg-config pkg-config
library() {
    pkg-config --exists "$1" >/dev/null 2>&1 || need "$1" "$2"
}
library jansson libjansson-dev
library ncursesw libncurses-dev
library libmicrohttpd libmicrohttpd-dev
case $goal in
build) ;;
check | lint)
    library cmocka libcmocka-dev
    printf '#include <stddef.h>\n' | g++ -x c++ -fsyntax-only - >/dev/null 2>&1 ||
        clang++ -x c++ -fsyntax-only /dev/null >/dev/null 2>&1 || need "C++ compiler" g++
    # Without these the comparison with another tokenizer, the tests of the server from outside and the
    # test in another locale are left out, and say so.
    command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || optional="$optional nodejs npm"
    # Tests the demo page; for Chinese screenshots it needs a font too, such as fonts-noto-cjk (60 MB).
    command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 ||
        command -v google-chrome >/dev/null 2>&1 || optional="$optional chromium"
    [ -f /usr/share/unicode/DerivedAge.txt ] || optional="$optional unicode-data"
    [ -f /usr/share/i18n/charmaps/UTF-8.gz ] || optional="$optional locales"
    # Stands before two servers in the test of a fleet.
    PATH=$PATH:/usr/sbin:/sbin command -v nginx >/dev/null 2>&1 || optional="$optional nginx-light"
    # Runs the tests on older processors.
    [ "$(uname -m)" != x86_64 ] || command -v qemu-x86_64 >/dev/null 2>&1 || optional="$optional qemu-user"
    # Builds and runs the tests for 64-bit ARM.
    [ "$(uname -m)" = aarch64 ] || { command -v aarch64-linux-gnu-gcc && command -v qemu-aarch64; } >/dev/null 2>&1 ||
        optional="${optional% qemu-user} gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
    if [ "$goal" = lint ]; then
        tool clang clang
        tool clang-format clang-format
        tool clang-tidy clang-tidy
        tool shellcheck shellcheck
    fi
    ;;
*)
    echo "install-deps.sh: '$goal' is none of build, check, lint" >&2
    exit 2
    ;;
esac

[ -n "$packages$optional" ] || exit 0

install() {
    apt-get install -y --no-install-recommends "$@" </dev/null >&2
}
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086 # a list of words
        {
            echo "Installing:$packages$optional" >&2
            # The lists may be missing or name versions that are gone: then fetch them and try again.
            if [ -n "$packages" ] && ! install $packages 2>/dev/null; then
                apt-get update </dev/null >&2
                install $packages
            fi
            if [ -n "$optional" ] && ! install $optional 2>/dev/null; then
                apt-get update </dev/null >&2 || true
                install $optional || echo "Going on without:$optional" >&2
            fi
        }
        exit 0
    fi
    [ -n "$packages" ] || exit 0
    echo "Missing:$missing. This line installs what is needed:" >&2
    echo "sudo apt-get update && sudo apt-get install -y --no-install-recommends$packages" >&2
    exit 1
fi
[ -n "$packages" ] || exit 0
echo "Missing:$missing (Debian calls the packages:$packages)" >&2
exit 1
