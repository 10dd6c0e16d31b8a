# SPDX-License-Identifier: MIT
# The table of bench/typing/compare.sh: lines "RUN FIGURE … NAME VALUE …" in, bars out. A figure that was
# measured several times is the median of them, a ratio the median of the rounds' ratios.
function median(list, n,   i, j, t) {
    for (i = 2; i <= n; i++) {
        t = list[i]
        for (j = i - 1; j >= 1 && list[j] > t; j--) list[j + 1] = list[j]
        list[j + 1] = t
    }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
function one(key,   i, list) {
    for (i = 1; i <= n[key]; i++) list[i] = value[key, i]
    return median(list, n[key])
}
function put(key, x) { value[key, ++n[key]] = x }
function line(name, text, kind, bar, x,   pass) {
    pass = kind == ">=" ? x >= bar : x <= bar
    printf "%-58s %-34s %s %-5s %s\n", name, text, kind, bar, pass ? "PASS" : "short"
    if (!pass) n_short++
}
function compared(name, ours, theirs, bar,   i, list, middle) {
    if (!n[theirs]) {
        printf "%-58s %8.2f\n", name " ms", one(ours)
        return
    }
    for (i = 1; i <= n[ours]; i++) list[i] = value[theirs, i] / value[ours, i]
    middle = median(list, n[ours])
    line(name ", llama.cpp's time to ours", sprintf("%.2f : %.2f ms = %.2f [%.2f, %.2f]", one(theirs), one(ours),
        middle, list[1], list[n[ours]]), ">=", bar, middle)
}
function counted(name, key, bar) { line(name, sprintf("%.2f", one(key)), "<=", bar, one(key)) }

$1 == "theirs" && $2 == "keys" {
    for (i = 2; i < NF; i++) {
        if ($i == "first_ms" || $i == "suggestion_ms") figure = $i
        if ($i == "p50" || $i == "p99") put("theirs " figure " " $i, $(i + 1))
        if ($i == "evaluated_per_key") put("theirs prompt_evaluated mean", $(i + 1))
    }
    next
}
$2 == "keys" {
    for (i = 2; i < NF; i += 2) put($1 " " $i, $(i + 1))
    next
}
$3 == "mean" {
    for (i = 3; i < NF; i += 2) put($1 " " $2 " " $i, $(i + 1))
}
END {
    compared("first ghost text, p50", "append first_ms p50", "theirs first_ms p50", 1.3)
    compared("suggestion of 8 tokens, p50", "append suggestion_ms p50", "theirs suggestion_ms p50", 1.3)
    runs["append"]; runs["jumps"]; runs["document"]
    held = wrong = shown = without = keys = 0
    for (r in runs) {
        held += one(r " held"); wrong += one(r " held_but_evaluated"); shown += one(r " shown")
        without += one(r " first_without_evaluation"); keys += one(r " keys")
    }
    line("keys with the logits held whose ghost was evaluated", sprintf("%d of %d", wrong, held), "<=", 0, wrong)
    counted("prompt tokens a key, appending and deleting, mean", "append prompt_evaluated mean", 1.1)
    counted("prompt tokens a key, jumps of up to 40 characters, mean", "jumps prompt_evaluated mean", 2.5)
    counted("prompt tokens a key, jumps of up to 40 characters, p99", "jumps prompt_evaluated p99", 16)
    counted("prompt tokens a key, 5,000 words, window of 50, mean", "document prompt_evaluated mean", 4)
    counted("built-in model, suggestion of 8 tokens, p50, ms", "story suggestion_ms p50", 1)
    printf "\nbeside the bars\n"
    printf "  first ghost text, p99 ms: %.2f", one("append first_ms p99")
    if (n["theirs first_ms p99"]) printf ", llama.cpp %.2f", one("theirs first_ms p99")
    printf "; suggestion, p99 ms: %.2f", one("append suggestion_ms p99")
    if (n["theirs suggestion_ms p99"]) printf ", llama.cpp %.2f", one("theirs suggestion_ms p99")
    printf "\n  prompt tokens a key by llama.cpp, appending and deleting: "
    if (n["theirs prompt_evaluated mean"]) printf "%.2f\n", one("theirs prompt_evaluated mean"); else printf "left out\n"
    printf "  keys: %d, with a ghost: %d, whose first ghost evaluated nothing: %d\n", keys, shown, without
    printf "  tokens of a suggestion, mean: %.2f (8 were asked for); built-in model %.2f\n", \
        one("append suggestion_tokens mean"), one("story suggestion_tokens mean")
    printf "%d bar%s short\n", n_short, n_short == 1 ? "" : "s"
}
