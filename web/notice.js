// SPDX-License-Identifier: MIT
// The error bar: one line that says what is wrong and what to do. Parts of the page report under
// their own name, so that one that is well again takes back only what it said itself.
import { setKey } from './api.js';
import { say } from './words.js';

const bar = document.getElementById('error');
const line = document.getElementById('error-text');
const form = document.getElementById('key-form');
const field = document.getElementById('key');
const action = document.getElementById('error-action');

// What keeps all else from working is shown first.
const RANK = ['key', 'gone', 'failed', 'loading', 'busy', 'context', 'refused', 'broken'];
const problems = new Map(); // who → {kind, values, retry}
let keyTried = false;
let onKey = () => {};

export function whenKeyGiven(fn) {
    onKey = fn;
}

// problem: a Problem. retry: what the bar's button does; null: nothing need be done.
export function report(who, problem, retry = null) {
    const values = { why: problem.message.replace(/[^.!?。]$/, '$&.'), n: problem.retryAfter || 1 };
    let text = problem.kind;
    if (text === 'key' && keyTried) text = 'key_wrong';
    if (text === 'lost') text = 'refused';
    if (text === 'busy' && retry) text = 'busy_generate';
    problems.set(who, { kind: text === 'key_wrong' ? 'key' : text, text, values, retry });
    show();
}

export function settle(who) {
    if (problems.delete(who)) show();
}

function show() {
    const all = [...problems.values()];
    all.sort((a, b) => RANK.indexOf(a.kind) - RANK.indexOf(b.kind));
    const worst = all[0];
    bar.hidden = !worst;
    if (!worst) return;
    const text = say(worst.text, worst.values);
    // Said again only when it differs: an alert is read out at each change.
    if (line.textContent !== text) line.textContent = text;
    bar.dataset.kind = worst.kind;
    form.hidden = worst.kind !== 'key';
    action.hidden = !worst.retry;
}

export const speakAgain = show;

form.addEventListener('submit', (event) => {
    event.preventDefault();
    keyTried = true;
    setKey(field.value.trim());
    field.value = '';
    problems.clear();
    show();
    onKey();
});
action.addEventListener('click', () => {
    const retry = [...problems.values()].find((problem) => problem.retry)?.retry;
    for (const [who, problem] of problems) if (problem.retry) problems.delete(who);
    show();
    retry?.();
});
document.getElementById('error-close').addEventListener('click', () => {
    problems.clear();
    show();
    document.getElementById('text').focus();
});
