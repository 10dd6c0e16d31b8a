#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: INKLING_PROGRAM=PROGRAM openai.sh BUILD_DIR [SCRIPT]…
# `inkling serve` as the official npm client of OpenAI's interface meets it, and what goes over the wire
# beneath. The package is installed into BUILD_DIR. Exit: 0 good, 77 left out (one line says why).
set -u
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
build=${1:?usage: openai.sh BUILD_DIR [SCRIPT]…}
shift
name=openai
# shellcheck source=tests/server/packages.sh
. "$here/packages.sh"
fetch_packages
# Those that have many calls at once, leave in the middle, or write while others read.
if [ $# = 0 ] && [ "${INKLING_SANITIZE:-}" = thread ] && [ -z "${INKLING_TEST_LONG:-}" ]; then
    echo 'left out: calls one after the other, in which ThreadSanitizer sees nothing new (INKLING_TEST_LONG)'
    set -- openai_choices.mjs openai_leaving.mjs typing_wire.mjs
fi
[ $# -gt 0 ] || set -- openai_completions.mjs openai_choices.mjs openai_chat.mjs openai_errors.mjs openai_others.mjs \
    openai_leaving.mjs typing_wire.mjs
run_scripts "$@"
