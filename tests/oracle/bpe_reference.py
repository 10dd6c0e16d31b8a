#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Learns byte-level BPE merges the plain way: all pairs are counted again in every round.

    python3 tests/oracle/bpe_reference.py N_VOCAB TEXT… > merges.txt

Needs the module regex (Debian: python3-regex) for GPT-2's pattern; Python's own re has no \\p{L}.
Nothing here is shared with train/bpe_*.c. The rules are those of train/bpe_train.h; the output has
one merge a line, as merges.txt has after its first line. tests/fixtures/bpe/ was written by it
(see the README there).
"""
import collections
import sys

try:
    import regex
except ImportError:
    sys.exit("bpe_reference.py needs the module regex (Debian: python3-regex)")

PATTERN = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
END = b"<|endoftext|>"
MAX_TOKEN = 256


def visible_bytes():
    """GPT-2's bytes_to_unicode: byte -> character, in the order of ids."""
    stay = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    rest = [b for b in range(256) if b not in stay]
    return {b: chr(b) for b in stay} | {b: chr(256 + i) for i, b in enumerate(rest)}


def words_of(data):
    """Words of all documents with how often they stand. A byte that is not UTF-8 is a character
    that is no letter, number or space: surrogateescape makes it one."""
    words = collections.Counter()
    for document in data.split(END):
        for word in PATTERN.findall(document.decode("utf-8", "surrogateescape")):
            words[word.encode("utf-8", "surrogateescape")] += 1
    return words


def learn(words, n_merges):
    """Returns the tokens as bytes, and the merges as pairs of ids."""
    tokens = [bytes([b]) for b in visible_bytes()]
    byte_ids = {t[0]: i for i, t in enumerate(tokens)}
    rows = [([byte_ids[b] for b in word], count) for word, count in words.items()]
    merges = []
    while len(merges) < n_merges:
        counts = collections.Counter()
        for row, count in rows:
            for pair in zip(row, row[1:]):
                counts[pair] += count
        best = None
        for (left, right), count in counts.items():
            if count < 2 or len(tokens[left] + tokens[right]) > MAX_TOKEN:
                continue
            key = (-count, left, right)
            if best is None or key < best:
                best = key
        if best is None:
            break
        pair = best[1:]
        new = len(tokens)
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        merges.append(pair)
        for row, _ in rows:
            i = 0
            while i + 1 < len(row):
                if (row[i], row[i + 1]) == pair:
                    row[i:i + 2] = [new]
                i += 1
    return tokens, merges


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    words = collections.Counter()
    for path in sys.argv[2:]:
        with open(path, "rb") as f:
            words += words_of(f.read())
    tokens, merges = learn(words, int(sys.argv[1]) - 257)
    letters = visible_bytes()
    if len(set(tokens)) < len(tokens):
        sys.exit("two tokens have the same bytes: no tokenizer would take that")
    for pair in merges:
        sides = ("".join(letters[b] for b in tokens[side]) for side in pair)
        sys.stdout.buffer.write((" ".join(sides) + "\n").encode())


if __name__ == "__main__":
    main()
