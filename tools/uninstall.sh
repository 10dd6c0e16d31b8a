#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tools/uninstall.sh MANIFEST
# Removes the files that the last `make install` wrote, under the same DESTDIR.
set -eu

if [ ! -f "$1" ]; then
    echo "Nothing to remove: $1 is not there, so nothing was installed from this folder" >&2
    exit 1
fi
# The manifest has no DESTDIR in its lines, and no newline after the last one.
while IFS= read -r file || [ -n "$file" ]; do
    rm -f -- "${DESTDIR:-}$file"
    # The header's folder is ours alone; who has put something else there keeps it.
    case $file in */include/inkling/*) rmdir -- "${DESTDIR:-}${file%/*}" 2>/dev/null || true ;; esac
done <"$1"
