#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tokenizer/unicode_tables.{h,c} and filter/fold_tables.{h,c} of src from the Unicode
Character Database.

The data are the files of Debian's package unicode-data. The output is committed; --check compares
it with what the data give now and writes nothing.

    tools/gen_unicode.py [--check] [--data /usr/share/unicode] [--out src]

Exit: 0 done or equal, 1 different, 2 bad data, 77 no data (--check only: nothing was compared).
"""
import argparse
import os
import re
import sys

OTHER, LETTER, NUMBER, SPACE = range(4)
MULTI = 4  # a byte that cannot be classed alone
BLOCK = 256


def read_lines(path):
    with open(path, encoding="utf-8") as f:
        return f.read().splitlines()


def version_of(lines):
    found = re.match(r"# PropList-(\d+\.\d+\.\d+)\.txt", lines[0])
    if not found:
        raise ValueError("PropList.txt: the first line does not name a version")
    return found.group(1)


def read_property(lines, wanted):
    """The code points that a file of the form "first..last ; value # comment" gives this value."""
    found = set()
    for line in lines:
        body = line.split("#")[0].split(";")
        if len(body) < 2 or body[1].strip() != wanted:
            continue
        ends = [int(x, 16) for x in body[0].strip().split("..")]
        found.update(range(ends[0], ends[-1] + 1))
    return found


def set_class(classes, first, last, value):
    for c in range(first, last + 1):
        if classes[c] != OTHER:
            raise ValueError(f"U+{c:04X} has two classes")
        classes[c] = value


def read_categories(lines, classes):
    """UnicodeData.txt: field 0 is the code point, 1 the name, 2 the general category, whose first
    letter is returned for each code point that is assigned."""
    range_first = None
    major = {}
    for line in lines:
        fields = line.split(";")
        c = int(fields[0], 16)
        if fields[1].endswith(", First>"):
            range_first = c
            continue
        first, range_first = (c if range_first is None else range_first), None
        major.update(dict.fromkeys(range(first, c + 1), fields[2][0]))
        value = {"L": LETTER, "N": NUMBER}.get(fields[2][0], OTHER)
        if value != OTHER:
            set_class(classes, first, c, value)
    return major


def fold_ranges(lines):
    """[first, last, step, delta] of the simple foldings, statuses C and S of CaseFolding.txt."""
    ranges = []
    for line in lines:
        fields = line.split("#")[0].split(";")
        if len(fields) < 3 or fields[1].strip() not in "CS":
            continue
        c, folded = int(fields[0], 16), int(fields[2], 16)
        # The tables keep 16 bits of the difference, and 7 of the length.
        if c >> 16 != folded >> 16:
            raise ValueError(f"U+{c:04X} folds into another plane")
        r = ranges[-1] if ranges else None
        step = c - r[1] if r else 0
        steps = (1, 2) if r and r[2] == 0 else (r[2],) if r else ()
        if step in steps and r[3] == folded - c and c - r[0] < 128:
            r[1], r[2] = c, step
        else:
            ranges.append([c, c, 0, folded - c])
    return ranges


def kind_starts(classes, major, ignorable):
    """(code point, kind): from there on characters are marks (1), ignorable (2) or neither (0).

    Letters and numbers are known by their class, so a range may run over them; over what is not
    assigned it may too."""
    starts, kind = [], 0
    for c, value in enumerate(classes):
        want = 2 if c in ignorable else 1 if major.get(c) == "M" else 0
        free = value in (LETTER, NUMBER) or c not in major
        if want == kind or want == 0 and kind == 1 and free:
            continue
        starts.append((c, want))
        kind = want
    return starts


def compress(classes):
    """Cuts the end where all is OTHER; equal blocks of 256 code points are stored once."""
    limit = max(c for c, value in enumerate(classes) if value != OTHER) + 1
    limit = (limit + BLOCK - 1) // BLOCK * BLOCK
    index, blocks, seen = [], [], {}
    for start in range(0, limit, BLOCK):
        packed = bytes(
            classes[c] | classes[c + 1] << 2 | classes[c + 2] << 4 | classes[c + 3] << 6
            for c in range(start, start + BLOCK, 4)
        )
        if packed not in seen:
            seen[packed] = len(blocks)
            blocks.append(packed)
        index.append(seen[packed])
    if len(blocks) > 256:
        raise ValueError("more than 256 different blocks: the index needs 16 bits")
    return limit, index, blocks


def numbers(values):
    lines, line = [], "   "
    for value in values:
        text = f" {value},"
        if len(line) + len(text) > 100:
            lines.append(line)
            line = "   "
        line += text
    return "\n".join(lines + [line])


HEAD = """// SPDX-License-Identifier: MIT
// Written by tools/gen_unicode.py; change that. Unicode {version}.
// Source: {files} of the Unicode Character Database, (c) Unicode, Inc.,
// https://www.unicode.org/license.txt
// clang-format off
"""

HEADER = """#ifndef INKI_UNICODE_TABLES_H
#define INKI_UNICODE_TABLES_H

#include <stdint.h>

// The classes that GPT-2's pattern tells apart: general category L*, N*, property White_Space.
enum {{
    INKI_CLASS_OTHER = 0,
    INKI_CLASS_LETTER = 1,
    INKI_CLASS_NUMBER = 2,
    INKI_CLASS_SPACE = 3,
    INKI_CLASS_MULTI = 4 // only in inki_unicode_byte_class: part of a longer character, or broken
}};

enum {{ INKI_UNICODE_LIMIT = {limit:#x} }}; // from here on all are INKI_CLASS_OTHER

extern const uint8_t inki_unicode_byte_class[256];
extern const uint8_t inki_unicode_index[{n_index}];
extern const uint8_t inki_unicode_blocks[{n_blocks}][64]; // 2 bits a code point, 256 in a block

static inline unsigned inki_unicode_class(uint32_t c) {{
    if (c >= INKI_UNICODE_LIMIT) return INKI_CLASS_OTHER;
    const uint8_t four = inki_unicode_blocks[inki_unicode_index[c >> 8]][c >> 2 & 63];
    return (unsigned)four >> (c & 3) * 2 & 3u;
}}

#endif
"""


FOLD_HEADER = """#ifndef INKI_FOLD_TABLES_H
#define INKI_FOLD_TABLES_H

#include <stdint.h>

enum {{ INKI_FOLD_RANGES = {n_ranges}, INKI_KIND_STARTS = {n_starts} }};

// Each is first << 8 | (last - first) << 1 | (1: every second code point only), rising.
extern const uint32_t inki_filter_fold_ranges[INKI_FOLD_RANGES];
// What is added to the lower 16 bits of a code point in the range; the upper ones stay.
extern const uint16_t inki_filter_fold_deltas[INKI_FOLD_RANGES];
// Each is first << 2 | kind, rising: from there on characters are combining marks (1), default
// ignorable (2), or neither (0). Letters and numbers may lie in a range of marks.
extern const uint32_t inki_filter_kind_starts[INKI_KIND_STARTS];

#endif
"""


def render_fold(folding, classes, major, derived, version):
    ranges = fold_ranges(folding)
    ignorable = read_property(derived, "Default_Ignorable_Code_Point")
    starts = kind_starts(classes, major, ignorable)
    files = "CaseFolding.txt, UnicodeData.txt and DerivedCoreProperties.txt\n//"
    head = HEAD.format(version=version, files=files)
    packed = [first << 8 | (last - first) << 1 | (step == 2) for first, last, step, _ in ranges]
    deltas = [delta & 0xFFFF for _, _, _, delta in ranges]
    kinds = [c << 2 | kind for c, kind in starts]
    source = head + '#include "filter/fold_tables.h"\n\n'
    for name, values in (
        ("uint32_t inki_filter_fold_ranges[INKI_FOLD_RANGES]", packed),
        ("uint16_t inki_filter_fold_deltas[INKI_FOLD_RANGES]", deltas),
        ("uint32_t inki_filter_kind_starts[INKI_KIND_STARTS]", kinds),
    ):
        source += f"const {name} = {{\n{numbers(values)}\n}};\n\n"
    header = head + FOLD_HEADER.format(n_ranges=len(ranges), n_starts=len(starts))
    return {"filter/fold_tables.h": header, "filter/fold_tables.c": source[:-1]}


def render(data):
    def lines_of(name):
        return read_lines(os.path.join(data, name))

    props = lines_of("PropList.txt")
    version = version_of(props)
    classes = [OTHER] * 0x110000
    major = read_categories(lines_of("UnicodeData.txt"), classes)
    for c in read_property(props, "White_Space"):
        set_class(classes, c, c, SPACE)
    limit, index, blocks = compress(classes)
    head = HEAD.format(version=version, files="UnicodeData.txt and PropList.txt")
    header = head + HEADER.format(limit=limit, n_index=len(index), n_blocks=len(blocks))
    source = head + '#include "tokenizer/unicode_tables.h"\n\n'
    byte_class = classes[:128] + [MULTI] * 128
    source += f"const uint8_t inki_unicode_byte_class[256] = {{\n{numbers(byte_class)}\n}};\n\n"
    source += f"const uint8_t inki_unicode_index[{len(index)}] = {{\n{numbers(index)}\n}};\n\n"
    source += f"const uint8_t inki_unicode_blocks[{len(blocks)}][64] = {{\n"
    source += "".join(f"    {{\n{numbers(block)}\n    }},\n" for block in blocks) + "};\n"
    files = {"tokenizer/unicode_tables.h": header, "tokenizer/unicode_tables.c": source}
    folding, derived = lines_of("CaseFolding.txt"), lines_of("DerivedCoreProperties.txt")
    files.update(render_fold(folding, classes, major, derived, version))
    return files


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--data", default="/usr/share/unicode", help="folder of UnicodeData.txt")
    parser.add_argument("--out", default=os.path.join(here, "..", "src"))
    args = parser.parse_args()
    if args.check and not os.path.exists(os.path.join(args.data, "UnicodeData.txt")):
        print(f"gen_unicode: skipped, no {args.data}/UnicodeData.txt (package unicode-data)")
        return 77
    try:
        files = render(args.data)
    except (OSError, ValueError) as e:
        print(f"gen_unicode: {e}", file=sys.stderr)
        return 2
    different = 0
    for name, text in files.items():
        path = os.path.join(args.out, name)
        if not args.check:
            with open(path, "w", encoding="ascii") as f:
                f.write(text)
        elif not os.path.exists(path) or "\n".join(read_lines(path)) + "\n" != text:
            print(f"gen_unicode: {path} is not what the data give", file=sys.stderr)
            different = 1
    return different


if __name__ == "__main__":
    sys.exit(main())
