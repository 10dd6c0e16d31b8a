#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: bench/train/compare.sh [--quick] [ROUNDS]
# Training speed beside PyTorch's on the same shape (width 128, 4 layers, 4 heads, context 192, vocabulary
# 2048, batch 24), two threads, in rounds that take turns: tokens a second of each, and their ratios with the
# lowest and the highest. Then 500 steps in F32 and in BF16 from the same weights over the same sequences: the
# losses they end with. PyTorch is Debian's python3-torch with libopenblas0-pthread; PYTHON names an interpreter
# that has it. Without it only our own figures are printed. On an idle machine.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
rounds=7 steps=30 theirs=8 curve=500
if [ "${1:-}" = --quick ]; then
    rounds=3 steps=15 theirs=5 curve=100
    shift
fi
case ${1:-$rounds} in
*[!0-9]* | '')
    sed -n '3,8s/^# //p' "$0" >&2
    exit 2
    ;;
esac
rounds=${1:-$rounds}
python=${PYTHON:-}
for each in "$python" python3 /usr/bin/python3; do
    [ -z "$each" ] || ! "$each" -c 'import torch' 2>/dev/null || { python=$each && break; }
    python=
done

"$root/tools/build.sh" release >&2
cmake --build "$root/build/release" --target inkling_train_speed >&2
speed=$root/build/release/bin/train_speed
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT

round=0
while [ "$round" -lt "$rounds" ]; do
    "$speed" "$steps" both >>"$T/all"
    if [ -n "$python" ]; then
        "$python" "$root/bench/train/pytorch_speed.py" "$theirs" 2 >>"$T/all"
    fi
    round=$((round + 1))
done

# Medians of the speeds and of the ratios within a round.
awk '
function median(values, n,   i, j, t, sorted) {
    for (i = 1; i <= n; i++) sorted[i] = values[i]
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && sorted[j] < sorted[j - 1]; j--) {
            t = sorted[j]; sorted[j] = sorted[j - 1]; sorted[j - 1] = t
        }
    low = sorted[1]; high = sorted[n]
    return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}
function ratios(name,   i, r, n) {
    n = count["pytorch"]
    for (i = 1; i <= n; i++) r[i] = speed[name, i] / speed["pytorch", i]
    m = median(r, n)
    printf "%-8s %.2f times PyTorch (%.2f to %.2f)\n", name, m, low, high
}
{ speed[$1, ++count[$1]] = $2 }
END {
    for (k = 1; k <= 3; k++) {
        name = k == 1 ? "f32" : k == 2 ? "bf16" : "pytorch"
        if (!count[name]) continue
        for (i = 1; i <= count[name]; i++) v[i] = speed[name, i]
        m = median(v, count[name])
        printf "%-8s %.0f tokens/s (%.0f to %.0f)\n", name, m, low, high
    }
    if (count["pytorch"]) { ratios("f32"); if (count["bf16"]) ratios("bf16") }
    else print "PyTorch is not here: python3-torch, libopenblas0-pthread"
}' "$T/all"

"$speed" "$curve" both | awk -v n="$curve" '
{ loss[$1] = $3 }
END {
    if ("bf16" in loss)
        printf "loss after %d steps: f32 %.5f, bf16 %.5f: %+.3f %%\n", n, loss["f32"], loss["bf16"],
            100 * (loss["bf16"] / loss["f32"] - 1)
    else print "this machine has no BF16 products"
}'
