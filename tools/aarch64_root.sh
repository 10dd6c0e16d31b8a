#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tools/aarch64_root.sh FOLDER
# Unpacks Debian's arm64 packages of cmocka and jansson into FOLDER, from the sources that this machine's apt
# has. Lists and packages stay in FOLDER: it needs no root, and apt and dpkg here learn of no second
# architecture. 77, and a line that says why, where that cannot be done.
set -u

root=$1
wanted='libcmocka0 libcmocka-dev libjansson4 libjansson-dev'
[ ! -f "$root/complete" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
    echo 'left out: cmocka and jansson for arm64, this is not Debian or its kin'
    exit 77
fi
mkdir -p "$root/lists/partial" "$root/cache/archives/partial" || exit 1
root=$(cd "$root" && pwd -P)
apt_arm64() {
    (cd "$root/cache" && apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
        -o Dir::State::lists="$root/lists" -o Dir::Cache="$root/cache" -o Acquire::Languages=none \
        -o APT::Sandbox::User="$(id -un)" "$@" </dev/null >"$root/apt.log" 2>&1)
}
# shellcheck disable=SC2086 # a list of words
if ! apt_arm64 update || ! apt_arm64 download $wanted; then
    echo "left out: apt-get has no arm64 packages: $(grep -m1 '^[EW]:' "$root/apt.log" | cut -c 1-120)"
    exit 77
fi
for package in "$root"/cache/*.deb; do dpkg-deb -x "$package" "$root" || exit 1; done
rm -rf "$root/lists" "$root/cache"
: >"$root/complete"
