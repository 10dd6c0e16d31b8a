// SPDX-License-Identifier: MIT
// Which words before the caret are read. Counted as the engine counts them for a typing session: a
// word is what stands between blanks; of scripts written without blanks each character is one, with
// the punctuation behind it; what is longer than 128 bytes counts as several.

const UNSPACED = '\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}' +
    '\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}';
const SINGLE = `(?=[${UNSPACED}])[\\p{L}\\p{N}][^\\p{L}\\p{N}\\p{White_Space}]*`;
const RUN = `(?:(?![${UNSPACED}])[\\p{L}\\p{N}]|[^\\p{L}\\p{N}\\p{White_Space}])+`;
const WORD = new RegExp(`(?:${SINGLE}|${RUN})\\p{White_Space}*`, 'gu');
const WORD_BYTES = 128;

const bytesOf = (c) => (c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4);

function startsOf(text) {
    const starts = [];
    for (const match of text.matchAll(WORD)) {
        starts.push(match.index);
        if (match[0].length * 4 <= WORD_BYTES) continue;
        let bytes = 0, at = match.index;
        for (const letter of match[0]) {
            if (bytes >= WORD_BYTES) {
                starts.push(at);
                bytes = 0;
            }
            bytes += bytesOf(letter.codePointAt(0));
            at += letter.length;
        }
    }
    return starts;
}

export const countWords = (text) => startsOf(text).length;

// The last n words of the text; all of it while there are no more. " word" is one token, so that
// the space before the first of them is read too.
export function lastWords(text, n) {
    // No more than this can be read; a novel need not be looked at for each request.
    const tail = text.slice(-(n + 2) * (WORD_BYTES + 4));
    const starts = startsOf(tail);
    if (starts.length <= n) return tail;
    const at = starts[starts.length - n];
    return tail.slice(at > 0 && tail[at - 1] === ' ' ? at - 1 : at);
}
