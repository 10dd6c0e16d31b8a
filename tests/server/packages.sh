# shellcheck shell=sh
# SPDX-License-Identifier: MIT
# Sourced by openai.sh and browser.sh with $build, $here and $name set: puts the npm packages of
# package-lock.json into $build/server-packages, once for each state of that file, and leaves the test
# out where that cannot be: no registry to reach, or one too slow to wait for.
: "${build:?}" "${here:?}" "${name:?}"
packages=$build/server-packages
npm_seconds=240    # all packages together; some seconds where registry and disk are quick
script_seconds=540 # twenty times what one takes; it ends one that would wait for ever, and tells which

skip() {
    echo "left out: server/$name, $1"
    exit 77
}

fetch_packages() {
    command -v node >/dev/null 2>&1 || skip 'node is not installed'
    node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' || skip 'node is older than 20'
    if ! cmp -s "$here/package-lock.json" "$packages/installed.json"; then
        command -v npm >/dev/null 2>&1 || skip 'npm is not installed'
        # The tests of one run do not all wait for a registry that one of them has found out of reach.
        [ -z "$(find "$packages/failed" -mmin -30 2>/dev/null)" ] ||
            skip "npm could not install its packages some minutes ago (see $packages/npm.log)"
        mkdir -p "$packages" && cp "$here/package.json" "$here/package-lock.json" "$packages/" || exit 2
        timeout -k 5 "$npm_seconds" npm ci --prefix "$packages" --loglevel=error --no-audit --no-fund \
            --ignore-scripts --fetch-retries=1 --fetch-timeout=30000 >"$packages/npm.log" 2>&1 || {
            : >"$packages/failed"
            skip "npm could not install its packages (see $packages/npm.log)"
        }
        rm -f "$packages/failed"
        cp "$here/package-lock.json" "$packages/installed.json" || exit 2
    fi
    export SERVER_TEST_PACKAGES="$packages"
}

# Runs the scripts one by one; what any of them says is this test's verdict.
run_scripts() {
    [ -x "${INKLING_PROGRAM:-}" ] || { echo "$name.sh: INKLING_PROGRAM names no program" >&2; exit 2; }
    code=0
    for script; do
        timeout -k 5 "$script_seconds" node --test-reporter=spec "$here/$script" || {
            [ $? -ne 124 ] || echo "$script: not done after $script_seconds s, and ended"
            code=1
        }
    done
    exit $code
}
