#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Usage: bench/typing/make_traces.py
# Writes the recorded typing of this folder (append.trace, jumps.trace, document.trace) and the document
# (document.txt) that the last one edits: the same bytes every time. Slips of the fingers come from a
# sequence of numbers made here, so that no version of Python changes them.
import os

FOLDER = os.path.dirname(os.path.abspath(__file__))
HEAD = "inkling-typing 1\n# Made by make_traces.py. %s\n"

LETTER = (
    "Dear Samira,\n"
    "the boat is back in the water. We spent three weekends scraping the old paint off, and my hands "
    "still smell of turpentine. On Sunday the wind was kind, so we sailed around the island and had "
    "soup on the beach behind the lighthouse. Your brother fell asleep in warm sand and now has one red "
    "ear. We kept your mug on its hook in the cabin. When do you come home? The water stays warm until "
    "late September, there is room in the front cabin, and nobody else knows how to make the stove work."
)

INSIDE = (
    " In the evening the whole crew sat on the wall by the harbour and talked about the summer that was "
    "nearly over. Nobody wanted to be the first to go home. The lamps came on one after another, a dog "
    "barked at its own echo, and the last ferry left without any of them. Then somebody began to sing, "
    "quietly, and the others remembered the words one by one until the song was whole again."
)

WORDS = ["again", "really", "quite", "small", "at last", "of course", "very", "perhaps", "green", "almost"]

# The neighbours of a key on a keyboard.
NEAR = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo",
    "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "wa", "r": "et",
    "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x",
}


class Numbers:
    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return (self.state >> 33) % n


def quoted(text):
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return '"%s"' % text


class Typist:
    """Types into a field and writes down what it does."""

    def __init__(self, seed, field="", caret=0):
        self.numbers = Numbers(seed)
        self.field = field
        self.caret = caret
        self.lines = []

    def text(self, s):
        if s:
            self.lines.append("text " + quoted(s))
            self.field = self.field[: self.caret] + s + self.field[self.caret :]
            self.caret += len(s)

    def back(self, n):
        if n:
            self.lines.append("back %d" % n)
            self.field = self.field[: self.caret - n] + self.field[self.caret :]
            self.caret -= n

    def move(self, by):
        if by:
            self.lines.append("caret %+d" % by)
            self.caret += by

    def slip(self, s, i):
        """What the fingers make of s[i:], and how many characters of s that was to be."""
        kind = self.numbers.below(4)
        c = s[i]
        if kind == 0 and c in NEAR:
            return NEAR[c][self.numbers.below(len(NEAR[c]))], 1  # the key beside it
        if kind == 1 and i + 1 < len(s) and s[i + 1].isalpha():
            return s[i + 1] + c, 2  # two keys the wrong way round
        if kind == 2:
            return c + c, 1
        return "", 1  # not hit at all

    def type(self, s):
        """s, with a slip in about 30 characters, noticed a few characters later."""
        i = done = 0
        while i < len(s):
            if not (s[i].isalpha() and s[i].islower() and self.numbers.below(24) == 0):
                i += 1
                continue
            wrong, n = self.slip(s, i)
            more = s[i + n : i + n + self.numbers.below(5)]
            self.text(s[done:i] + wrong + more)
            self.back(len(wrong) + len(more))
            done = i
            i += n
        self.text(s[done:])

    def edit_behind(self, furthest):
        """Goes back at most `furthest` characters to the end of a word, changes something, returns."""
        from_here = self.caret
        steps = [n for n in range(8, furthest - 10) if n < from_here and self.field[from_here - n] in " ,."]
        if not steps:
            return
        n = steps[self.numbers.below(len(steps))]
        self.move(-n)
        kind = self.numbers.below(3)
        if kind == 0:
            self.text(" " + WORDS[self.numbers.below(len(WORDS))])
        elif kind == 1:
            last = self.field[: self.caret].split(" ")[-1].split("\n")[-1]
            self.back(len(last))
            self.text(WORDS[self.numbers.below(len(WORDS))])
        else:
            gone = self.field[self.caret - 1]
            self.back(1)
            self.text(gone)
        self.move(n)

    def pieces(self, s):
        """s in pieces of some words."""
        words = s.split(" ")
        while words:
            n = 4 + self.numbers.below(5)
            yield " ".join(words[:n]) + (" " if len(words) > n else "")
            words = words[n:]

    def write(self, name, about, first=""):
        with open(os.path.join(FOLDER, name), "w", encoding="utf-8", newline="\n") as f:
            f.write(HEAD % about + first)
            f.write("".join(line + "\n" for line in self.lines))


PEOPLE = ["the gardener", "her neighbour", "the old captain", "a young baker", "the carpenter", "his aunt",
          "the night porter", "our teacher", "the clockmaker", "a tired courier"]
ACTIONS = ["carried", "repaired", "painted", "forgot", "borrowed", "counted", "hid", "washed", "described", "sold"]
THINGS = ["the broken lantern", "a basket of pears", "two letters", "the blue door", "an iron key",
          "the map of the valley", "a box of candles", "the wooden bridge", "seven chairs", "the copper kettle"]
PLACES = ["behind the mill", "near the station", "on the second floor", "at the edge of the marsh",
          "under the lime trees", "in the market hall", "beside the canal", "across the frozen field"]
TIMES = ["In the morning", "Before the rain came", "After supper", "Late in autumn", "On the third day",
         "When the bells rang", "A week later", "As soon as it was light"]
ENDS = ["because nobody had asked", "and then laughed about it", "although the road was closed",
        "while the children watched", "without saying a word", "until the lamp went out",
        "so that the others could rest", "as if it were the easiest thing in the world"]
SHORT = ["It was enough.", "Nobody answered.", "The tea grew cold.", "That was all.", "The door stayed open.",
         "Somewhere a train passed.", "They agreed to try again."]


def sentence(numbers):
    def one(words):
        return words[numbers.below(len(words))]

    kind = numbers.below(5)
    if kind == 0:
        return one(SHORT)
    if kind == 1:
        return "%s %s %s %s, and %s %s %s." % (one(TIMES), one(PEOPLE), one(ACTIONS), one(THINGS), one(PEOPLE),
                                              one(ACTIONS), one(THINGS))
    if kind == 2:
        who = one(PEOPLE)
        return "%s %s %s %s %s." % (who[0].upper() + who[1:], one(ACTIONS), one(THINGS), one(PLACES), one(ENDS))
    if kind == 3:
        return "%s, %s, %s %s %s." % (one(TIMES), one(PLACES), one(PEOPLE), one(ACTIONS), one(THINGS))
    return '"Where is %s?" asked %s %s.' % (one(THINGS), one(PEOPLE), one(ENDS))


def document(n_words):
    numbers = Numbers(7)
    paragraphs = []
    while n_words > 0:
        words = []
        for _ in range(4 + numbers.below(5)):
            words += sentence(numbers).split(" ")
        words = words[:n_words]
        n_words -= len(words)
        paragraphs.append(" ".join(words))
    return "\n\n".join(paragraphs) + "\n"


def main():
    typist = Typist(1)
    assert len(LETTER) == 500, len(LETTER)
    typist.type(LETTER)
    assert typist.field == LETTER
    typist.write("append.trace", "A letter of 500 characters, with slips and backspaces.")

    typist = Typist(2)
    for piece in typist.pieces(LETTER):
        typist.type(piece)
        typist.edit_behind(40)
    typist.write("jumps.trace", "The same letter; now and then the caret goes back up to 40 characters.")

    text = document(5000)
    middle = text.index(". ", len(text) // 2) + 1
    typist = Typist(3, text, middle)
    for piece in typist.pieces(INSIDE):
        typist.type(piece)
        if typist.numbers.below(3) == 0:
            typist.edit_behind(40)
    with open(os.path.join(FOLDER, "document.txt"), "w", encoding="utf-8", newline="\n") as f:
        f.write(text)
    typist.write("document.trace", "A paragraph in the middle of 5,000 words.",
                 "doc document.txt\ncaret =%d\n" % middle)


main()
