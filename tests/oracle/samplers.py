#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every sampler as its paper or llama.cpp's documentation puts it, in the plainest way: all
candidates are a list, which each step sorts and cuts anew.

    tests/oracle/samplers.py >tests/fixtures/samplers.txt

writes the cases that tests/unit/test_sampler_oracle.c holds the library to: what is kept, and with
which probability. Nothing but the standard library is needed. A case is three lines:

    chain    as ink_sampler_new reads it
    numbers  seed, size of the vocabulary, kind of logits, tokens of the past, how many different
             ones, banned id, position, mu, step of the banned list, step of the allowed set
    kept     id:probability …, "-" for none

Logits, past and bytes of tokens follow from the numbers as below, in integers only.
"""
import math
import random
import struct

MASK = (1 << 64) - 1
PIECES = ["\n", " a", "b", ":", "x:y", "##", "# I", "nst", ":\n", "r", " the", "a#", "", "end", "*", "q"]
NUMBERS = {
    "penalties": [1.0, 64, 0.0, 0.0], "top_k": [40], "top_p": [0.95], "min_p": [0.05],
    "temp": [0.8, 0.0, 1.0], "typical": [1.0], "top_n_sigma": [-1.0], "xtc": [0.0, 0.1],
    "dry": [0.0, 1.75, 2, 4294967295], "no_repeat_ngram": [0], "mirostat": [5.0, 0.1],
    "greedy": [], "logit_bias": [],
}


def f32(x):
    """x as a float keeps it; what is beyond its range stays at the end of it."""
    limit = 3.4028234663852886e38
    return struct.unpack("f", struct.pack("f", max(-limit, min(limit, x))))[0]


def mix(x):
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def unit(seed, stream, position):
    golden = 0x9E3779B97F4A7C15
    h = mix((seed + golden) & MASK)
    h = mix((h + (stream + 1) * golden) & MASK)
    h = mix((h + (position + 1) * golden) & MASK)
    return (h >> 11) / 2.0**53


def make_logits(seed, n, kind):
    out = []
    for i in range(n):
        h = mix(seed * 1000003 + i & MASK)
        s = sum(h >> 16 * k & 0xFFFF for k in range(4)) - 131070  # nearly normal
        if kind == 0:
            out.append(s / 16384)
        elif kind == 1:
            out.append(s / 65536 + (8 if h % 11 == 0 else 0))  # a few stand out
        elif kind == 2:
            out.append(float(s // 40000))  # many are equal
        elif kind == 3:
            out.append(s * 2.0**90)  # huge
        else:
            out.append(s / 4096 - 100)
    return out


def make_past(seed, n, different):
    past = [mix(seed * 7919 + i & MASK) % different for i in range(n)]
    for i in range(n // 2, n):  # much of it comes again
        if mix(seed + i // 5 & MASK) % 3:
            past[i] = past[i - n // 2]
    return past


def best_first(c):
    return sorted(c, key=lambda t: (-t[1], t[0]))


def softmax(c):
    top = max(logit for _, logit in c)
    weights = [math.exp(logit - top) for _, logit in c]
    total = math.fsum(weights)
    return [w / total for w in weights]


def entropy(p):
    return -math.fsum(x * math.log(x) for x in p if x > 0)


def dry(c, past, numbers, breakers, texts):
    multiplier, base, allowed, last_n = numbers
    past = past[max(0, len(past) - last_n):]
    if multiplier == 0 or base < 1 or len(past) <= allowed:
        return c
    data, owner = b"", []
    for i, token in enumerate(past):
        data += texts[token]
        owner += [i] * len(texts[token])
    limit = len(past)
    for start in range(len(data) - 1, -1, -1):
        found = [b for b in breakers if data.startswith(b, start)]
        if found:
            limit = len(past) - 1 - owner[start + len(found[0]) - 1]
            break
    if limit < allowed:
        return c
    longest = {}
    for k in range(1, len(past)):
        length = 0
        while (length < limit and k + length < len(past)
               and past[-1 - length] == past[-1 - k - length]):
            length += 1
        if length >= allowed:
            token = past[-k]
            longest[token] = max(length, longest.get(token, 0))
    out = []
    for token, logit in c:
        if token in longest and not any(b in texts[token] for b in breakers):
            over = min(longest[token] - allowed, 5000)
            penalty = math.inf if over * math.log(base) > 200 else multiplier * base**over
            logit = f32(logit - penalty)
        out.append((token, logit))
    return out


def no_repeat(c, past, n):
    if n == 0:
        return c
    tail = past[len(past) - n + 1:] if n > 1 else []
    gone = set()
    for i in range(len(past) - n + 1):
        if past[i:i + n - 1] == tail:
            gone.add(past[i + n - 1])
    return [t for t in c if t[0] not in gone]


def penalties(c, past, numbers):
    repeat, last_n, presence, frequency = numbers
    past = past[max(0, len(past) - last_n):] if last_n else []
    out = []
    for token, logit in c:
        count = past.count(token)
        if count:
            logit = logit / repeat if logit > 0 else logit * repeat
            logit = f32(logit - count * frequency - presence)
        out.append((token, logit))
    return out


def heat(c, numbers):
    t, spread, exponent = numbers
    if spread > 0:
        if len(c) < 2:
            return c
        share = min(1.0, max(0.0, entropy(softmax(c)) / math.log(len(c))))
        low = max(0.0, t - spread)
        t = low + (t + spread - low) * share**exponent
    if t == 0:
        return best_first(c)[:1]
    top = max(logit for _, logit in c)
    big = any(abs(logit) / t > 3.4028234663852886e38 for _, logit in c)
    return [(token, f32((logit - (top if big else 0)) / t)) for token, logit in c]


def typical(c, p):
    if p >= 1:
        return c
    probabilities = softmax(c)
    # -ln p = (top + ln total) - logit, also where p is too small for a number
    top = max(logit for _, logit in c)
    log_total = math.log(math.fsum(math.exp(logit - top) for _, logit in c))
    surprise = [log_total - (logit - top) for _, logit in c]
    expected = math.fsum(q * s for q, s in zip(probabilities, surprise) if q > 0)
    order = sorted(range(len(c)), key=lambda i: (abs(surprise[i] - expected), -c[i][1], c[i][0]))
    kept, total = [], 0.0
    for i in order:
        kept.append(c[i])
        total += probabilities[i]
        if total >= p:
            break
    return kept


def step(name, numbers, c, case, breakers, texts):
    if not c:
        return c
    if name == "no_repeat_ngram":
        return no_repeat(c, case["past"], numbers[0])
    if name == "penalties":
        return penalties(c, case["past"], numbers)
    if name == "dry":
        return dry(c, case["past"], numbers, breakers, texts)
    if name == "top_k":
        return best_first(c)[:numbers[0]] if numbers[0] else c
    if name == "temp":
        return heat(c, numbers)
    if name == "typical":
        return typical(c, numbers[0])
    c = best_first(c)
    p = softmax(c)
    if name == "top_p":
        if numbers[0] >= 1:
            return c
        n, total = 0, 0.0
        while n < len(c) and (n == 0 or total < numbers[0]):
            total += p[n]
            n += 1
        return c[:n]
    if name == "min_p":
        least = math.log(numbers[0]) if numbers[0] > 0 else -math.inf
        return [t for t in c if t[1] - c[0][1] >= least]
    if name == "top_n_sigma":
        if numbers[0] <= 0 or len(c) < 2:
            return c
        mean = math.fsum(logit for _, logit in c) / len(c)
        sigma = math.sqrt(math.fsum((logit - mean)**2 for _, logit in c) / len(c))
        return [t for t in c if t[1] >= c[0][1] - numbers[0] * sigma]
    if name == "xtc":
        probability, threshold = numbers
        if unit(case["seed"] ^ 0xA0761D6478BD642F, 0, case["position"]) >= probability:
            return c
        if threshold > 0.5:
            return c
        likely = sum(x >= threshold for x in p)
        return c[likely - 1:] if likely > 1 else c
    if name == "mirostat":
        kept = [t for t, x in zip(c, p) if x > 0 and -math.log2(x) <= case["mu"]]
        return kept or c[:1]
    return c[:1] if name == "greedy" else c


def run(chain, case):
    texts = {i: PIECES[i % len(PIECES)].encode() for i in range(case["n"])}
    c = [(i, f32(x)) for i, x in enumerate(make_logits(case["seed"], case["n"], case["kind"]))
         if i != case["banned"]
         and not (case["ban_step"] and i % case["ban_step"] == 1)
         and (not case["allow_step"] or (i % 9 != 0 if case["allow_step"] == 9
                                         else i % case["allow_step"] < 2))]
    for name, numbers, breakers in chain:
        full = numbers + NUMBERS[name][len(numbers):]
        full = [f32(x) if isinstance(x, float) else x for x in full]
        c = step(name, full, c, case, [b.encode() for b in breakers], texts)
    return sorted(zip((t for t, _ in c), softmax(c))) if c else []


def text(chain):
    def one(name, numbers, breakers):
        words = [str(x) for x in numbers]
        if name == "dry" and len(numbers) == 4:
            words += ['"' + b.replace('"', '\\"').replace("\n", "\\n") + '"' for b in breakers]
            words += [] if breakers else ["none"]
        return name + ("=" + ",".join(words) if words else "")
    return ";".join(one(*s) for s in chain)


def number(r, name):
    u = round(r.random(), 3)
    return {
        "penalties": [round(0.6 + r.random(), 2), r.choice([0, 5, 64, 4294967295]),
                      round(r.random() - 0.3, 2), round(r.random() - 0.3, 2)],
        "top_k": [r.choice([0, 1, 2, 10, 40, 1000])], "top_p": [r.choice([u, u, 0.0, 1.0, 0.9])],
        "min_p": [round(u**3, 4)],
        "temp": r.choice([[round(0.1 + 2 * u, 2)], [0.0], [1.0], [0.8, 0.5],
                          [round(u, 2), round(r.random() * 2, 2), round(r.random() * 3, 2)],
                          [0.5, 0.5, 0.0], [0.0, 1.5]]),
        "typical": [r.choice([u, u, 0.2, 0.95, 0.0, 1.0])],
        "top_n_sigma": [round(3 * u - 0.3, 3)],
        "xtc": [r.choice([0.0, 0.5, 1.0, 1.0]), r.choice([0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 0.6])],
        "dry": [r.choice([0.8, 2.0, round(5 * u, 2)]), r.choice([1.75, 1.0, 0.5, 3.0, 1.1]),
                r.choice([0, 1, 2, 2, 3, 6]), r.choice([4294967295, 4294967295, 0, 3, 20, 50])],
        "no_repeat_ngram": [r.choice([0, 1, 2, 3, 3, 4, 5])],
        "mirostat": [5.0, 0.1], "greedy": [],
    }[name]


def cases():
    r = random.Random(20220301)
    steps = [n for n in NUMBERS if n != "logit_bias"]
    some_breakers = [["\n", ":", '"', "*"], [], ["#"], ["## Inst"], ["a##"], [":", "the end", "b:"], ["zz"],
                     ["y##"], [" ab:"], [":x:"], ["y:", "b:x"], ["a"]]
    special = (["dry"] * 4 + ["typical"] * 2 + ["no_repeat_ngram"]) * 30
    for i in range(560 + len(special)):
        if i < 380:
            names = [steps[i % len(steps)]]
        elif i >= 560:
            names = [special[i - 560]]
        else:
            names = r.sample(steps, r.randint(2, 8))
            names = [n for n in names if n != "greedy" or r.random() < 0.2] or ["temp"]
            if "mirostat" in names:
                names.remove("mirostat")
                names.append("mirostat")
        chain = [(n, number(r, n), r.choice(some_breakers)) for n in names]
        n = r.choice([1, 2, 5, 16, 17, 33, 64, 64, 90])
        if i >= 380 and names[0] in ("top_k", "typical", "top_n_sigma"):
            n = r.choice([n, 700])
        kind = r.choice([0, 0, 1, 1, 2, 4, 3 if i % 5 == 0 else 0])
        case = {"seed": r.randrange(1, 1 << 20), "n": n, "kind": kind,
                "n_past": r.choice([0, 1, 4, 30, 60, 200]), "different": r.choice([1, 2, 4, min(n, 9), n]),
                "banned": r.choice([-1, r.randrange(n)]), "position": r.randrange(1000),
                "mu": round(r.random() * 12, 3), "ban_step": r.choice([0, 0, 0, 3, 7]),
                "allow_step": r.choice([0, 0, 0, 3, 9, 50])}
        if i >= 560:
            case["kind"] = 1 if names[0] == "typical" else r.choice([0, 1])
            case["n"] = n = r.choice([17, 33, 64])
            case["different"] = r.choice([3, 4, 6, 6, 9, 14, 17])
            case["n_past"] = r.choice([3, 10, 30, 60, 120, 200])
            case["allow_step"] = r.choice([0, 0, 9])
            if names[0] == "dry":
                chain = [("dry", [2.0, 1.2, r.choice([0, 1, 1, 2, 2, 3]), r.choice([4294967295, 50])],
                          r.choice(some_breakers))]
        case["different"] = min(case["different"], n)
        case["past"] = make_past(case["seed"], case["n_past"], case["different"])
        yield chain, case


def main():
    for chain, case in cases():
        kept = run(chain, case)
        if len(kept) > 100:  # a long list says no more than a short one
            continue
        print(text(chain))
        print(*(case[k] for k in ("seed", "n", "kind", "n_past", "different", "banned", "position", "mu",
                                  "ban_step", "allow_step")))
        print(*(f"{token}:{p:.8f}".replace("0.", ".", 1) for token, p in kept) if kept else "-")


if __name__ == "__main__":
    main()
