// SPDX-License-Identifier: MIT
// Writes what tiktoken_compare reads: for each of two vocabularies NAME.vocab (tokens and merges, as
// runs of GGUF text) and NAME.cases (texts with the ids that tiktoken gives them).
//
//     gpt2    tiktoken's encoding of that name, from the package's own file
//     pairs   the bytes and all pairs of an ASCII byte with another one, under the same pattern: where
//             two characters stand in one word, and only there, an id shows it. GPT-2's own vocabulary
//             has few tokens that span a rare letter and its neighbour, so it would not notice one
//             that is classed wrongly.
//
//     node make_cases.mjs FOLDER_WITH_NODE_MODULES OUT_FOLDER DERIVED_AGE.TXT UNICODE_TABLES.C
//
// All numbers are little-endian 64-bit, ids 32-bit:
//     NAME.vocab   n_tokens, bytes, texts; n_merges, bytes, texts
//     NAME.cases   n_cases; each: special (0 or 1), bytes, text, n_ids, ids
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { handWritten } from "./texts.mjs";

const [modules, out, derivedAge, tables] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(modules), "index.js"));
const { Tiktoken } = require("tiktoken");
const gpt2 = require("tiktoken/encoders/gpt2.json");

const RANDOM_CODE_POINTS = 240000;

// --- vocabulary ------------------------------------------------------------------------------

// bpe_ranks: lines of "! first_rank base64 base64 ..."
function readRanks(text) {
    const tokens = [];
    for (const line of text.split("\n")) {
        const [mark, first, ...words] = line.split(" ");
        if (mark !== "!" || Number(first) !== tokens.length) throw new Error("unexpected bpe_ranks");
        for (const word of words) tokens.push(Buffer.from(word, "base64"));
    }
    return tokens;
}

// The visible character that stands for each byte.
function byteCharacters() {
    const visible = (b) => (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xff && b !== 0xad);
    let next = 256;
    return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(visible(b) ? b : next++));
}

// Merges are not in the file. A token of rank r was made by joining the two parts that are left when
// only merges of a lower rank are applied to its bytes.
function splitToken(token, rank, rankOf) {
    let parts = Array.from(token, (b) => String.fromCharCode(b));
    for (;;) {
        let best = rank;
        let at = -1;
        for (let i = 0; i + 1 < parts.length; i++) {
            const r = rankOf.get(parts[i] + parts[i + 1]);
            if (r !== undefined && r < best) [best, at] = [r, i];
        }
        if (at < 0) break;
        parts.splice(at, 2, parts[at] + parts[at + 1]);
    }
    if (parts.length !== 2) throw new Error(`token ${rank} does not come from two parts`);
    return parts;
}

function u64(n) {
    const b = Buffer.alloc(8);
    b.writeBigUInt64LE(BigInt(n));
    return b;
}

function textRun(texts) {
    const pieces = texts.flatMap((t) => [u64(Buffer.byteLength(t)), Buffer.from(t)]);
    const body = Buffer.concat(pieces);
    return Buffer.concat([u64(texts.length), u64(body.length), body]);
}

function writeVocabulary(file, model) {
    const tokens = readRanks(model.bpe_ranks);
    const characters = byteCharacters();
    const shown = (binary) => Array.from(binary, (c) => characters[c.charCodeAt(0)]).join("");
    const binaries = tokens.map((t) => t.toString("latin1"));
    const rankOf = new Map(binaries.map((t, i) => [t, i]));
    const merges = [];
    tokens.forEach((token, rank) => {
        if (token.length > 1) merges.push(splitToken(token, rank, rankOf).map(shown).join(" "));
    });
    const texts = binaries.map(shown);
    for (const [text, id] of Object.entries(model.special_tokens)) texts[id] = text;
    if (Object.keys(texts).length !== model.explicit_n_vocab) throw new Error("the vocabulary has holes");
    fs.writeFileSync(file, Buffer.concat([textRun(texts), textRun(merges)]));
}

function pairsModel() {
    const tokens = Array.from({ length: 256 }, (_, b) => Buffer.from([b]));
    // First the pairs that tell where a character joins what follows it.
    for (let high = 128; high < 256; high++) for (let low = 0; low < 128; low++) tokens.push(Buffer.from([high, low]));
    for (let low = 0; low < 128; low++) for (let high = 128; high < 256; high++) tokens.push(Buffer.from([low, high]));
    for (let a = 0; a < 128; a++) for (let b = 0; b < 128; b++) tokens.push(Buffer.from([a, b]));
    const bpe_ranks = `! 0 ${tokens.map((t) => t.toString("base64")).join(" ")}`;
    const special_tokens = { "<|endoftext|>": tokens.length };
    return { bpe_ranks, special_tokens, pat_str: gpt2.pat_str, explicit_n_vocab: tokens.length + 1 };
}

// --- texts -----------------------------------------------------------------------------------

// A fixed sequence of random numbers, so that a failure can be repeated. Source: Marsaglia, xorshift.
let state = 0x2545f491;
function random(n) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
}

// The code points that were assigned in the version of Unicode that the tables were made from. What
// is newer is left out: tiktoken knows a later version (of 1.0.22, 5,004 code points that 15.0 leaves
// unassigned are letters or numbers there; no assigned one is classed differently).
function assignedCodePoints() {
    const [, major, minor] = /Unicode (\d+)\.(\d+)\./.exec(fs.readFileSync(tables, "utf8"));
    const list = [];
    for (const line of fs.readFileSync(derivedAge, "utf8").split("\n")) {
        const found = /^([0-9A-F]+)(?:\.\.([0-9A-F]+))?\s*;\s*(\d+)\.(\d+)/.exec(line);
        if (!found || found[3] - major > 0 || (found[3] === major && found[4] - minor > 0)) continue;
        const first = parseInt(found[1], 16);
        for (let c = first; c <= parseInt(found[2] ?? found[1], 16); c++)
            if (c < 0xd800 || c > 0xdfff) list.push(c);
    }
    return list;
}

const BLANKS = [0x9, 0xa, 0xb, 0xc, 0xd, 0x20, 0x20, 0x20, 0x85, 0xa0, 0x1680, 0x2000, 0x2003, 0x200a,
    0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0x180e, 0x200b, 0x2060, 0xfeff, 0x1c, 0x1f];
const JOINTS = [" ", "'", "'s", "'ll", "'T", "1", "a", "  ", "\n", "", "", "", ""];
const pick = (list) => list[random(list.length)];

// Each assigned code point before and after a letter, a number, a mark and a blank.
function* everyCodePoint(assigned) {
    for (let i = 0; i < assigned.length; i += 16) {
        const characters = assigned.slice(i, i + 16).map((c) => String.fromCodePoint(c));
        yield characters.map((c) => `a${c}a1${c}1!${c}! ${c} `).join("");
    }
}

function* randomCodePoints(assigned) {
    // Half from everything (mostly CJK and private use), half from where classes change often.
    const mixed = assigned.filter((c) => c < 0x3400 || (c > 0xa000 && c < 0xac00) || (c > 0xd7ff && c < 0x20000));
    for (let left = RANDOM_CODE_POINTS; left > 0;) {
        const n = 1 + random(60);
        const from = random(2) ? assigned : mixed;
        let text = "";
        for (let i = 0; i < n; i++) text += String.fromCodePoint(pick(from)) + pick(JOINTS);
        left -= n;
        yield text;
    }
}

function* blankTexts() {
    const words = ["", "a", "7", "!", "'s", "é", "家", "\u0301"];
    for (const word of words) for (const blank of BLANKS) for (const other of BLANKS) {
        const [b, o] = [String.fromCodePoint(blank), String.fromCodePoint(other)];
        yield word + b + o + word + b + word + o + o + b;
    }
    for (let i = 0; i < 4000; i++) {
        let text = "";
        for (let n = random(12); n >= 0; n--) text += random(3) ? String.fromCodePoint(pick(BLANKS)) : pick(words);
        yield text;
    }
}

// Words of few letters merge in many ways, long ones through the queue.
function* wordTexts() {
    for (let i = 0; i < 6000; i++) {
        const letters = pick(["ab", "aeinorst", "abcdefghijklmnopqrstuvwxyz", "etaoin ETA'", "0123456789", "=-_*#./ "]);
        const n = random(50) === 0 ? 400 + random(3000) : 1 + random(60);
        let text = "";
        for (let k = 0; k < n; k++) text += letters[random(letters.length)];
        yield text;
    }
}

function* ordinaryTexts(assigned) {
    for (const text of handWritten) {
        yield text;
        yield ` ${Array.from(text).reverse().join("")}`;
    }
    yield* blankTexts();
    yield* wordTexts();
    yield* everyCodePoint(assigned);
    yield* randomCodePoints(assigned);
}

function* specialTexts() {
    for (const text of handWritten) {
        yield text;
        yield `<|endoftext|>${text}<|endoftext|> ${text}<|endoftext`;
    }
}

function writeCases(file, model, assigned) {
    const encoding = new Tiktoken(model.bpe_ranks, model.special_tokens, model.pat_str);
    const pieces = [];
    let n = 0;
    const add = (special, text, ids) => {
        const bytes = Buffer.from(text, "utf8");
        pieces.push(u64(special), u64(bytes.length), bytes, u64(ids.length));
        pieces.push(Buffer.from(ids.buffer.slice(ids.byteOffset, ids.byteOffset + ids.byteLength)));
        n++;
    };
    for (const text of ordinaryTexts(assigned)) add(0, text, encoding.encode_ordinary(text));
    for (const text of specialTexts()) add(1, text, encoding.encode(text, "all"));
    fs.writeFileSync(file, Buffer.concat([u64(n), ...pieces]));
    encoding.free();
}

fs.mkdirSync(out, { recursive: true });
const assigned = assignedCodePoints();
for (const [name, model] of Object.entries({ gpt2, pairs: pairsModel() })) {
    writeVocabulary(path.join(out, `${name}.vocab`), model);
    writeCases(path.join(out, `${name}.cases`), model, assigned);
}
console.log(`make_cases: ${assigned.length} assigned code points, ${RANDOM_CODE_POINTS} in random strings`);
