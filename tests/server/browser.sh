#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: INKLING_PROGRAM=PROGRAM browser.sh BUILD_DIR [SCRIPT]…
# The demo page in headless Chromium, driven by the npm package playwright-core, which is installed into
# BUILD_DIR. CHROMIUM names another browser. Exit: 0 good, 77 left out (one line says why).
set -u
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
build=${1:?usage: browser.sh BUILD_DIR [SCRIPT]…}
shift
name=browser
# shellcheck source=tests/server/packages.sh
. "$here/packages.sh"
# What the page asks of the server, the client and the wire tests ask of it too.
if [ -n "${INKLING_SANITIZE:-}" ] && [ -z "${INKLING_TEST_LONG:-}" ]; then
    skip 'the page under a sanitizer (INKLING_TEST_LONG)'
fi
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome)} ||
    skip 'chromium is not installed'
export CHROMIUM
fetch_packages
[ $# -gt 0 ] || set -- page_writing.mjs page_looks.mjs page_trouble.mjs
run_scripts "$@"
