// SPDX-License-Identifier: MIT
// What was done to the text, in steps that can be taken back. The browser's own history forgets
// all when a script changes the field, and would take generated text back piece by piece.

const STEPS = 500;

// The one change that makes `after` of `before`.
export function difference(before, after) {
    let at = 0, end = 0;
    const most = Math.min(before.length, after.length);
    while (at < most && before[at] === after[at]) at++;
    while (end < most - at && before[before.length - 1 - end] === after[after.length - 1 - end]) end++;
    return {
        at,
        removed: before.slice(at, before.length - end),
        inserted: after.slice(at, after.length - end),
    };
}

export class History {
    #done = [];
    #undone = [];

    // group: changes of one group that follow each other are one step; null: a step by itself.
    // Typed letters are grouped by word.
    add(change, group = null) {
        this.#undone = [];
        const last = this.#done.at(-1);
        if (last && last.group && last.group === group && joins(last, change)) return;
        this.#done.push({ ...change, group });
        if (this.#done.length > STEPS) this.#done.shift();
    }

    // The step that would be taken back.
    get last() {
        return this.#done.at(-1) || null;
    }

    // Each returns {at, removed, inserted} to be done to the text, or null.
    undo() {
        const step = this.#done.pop();
        if (!step) return null;
        this.#undone.push(step);
        return { at: step.at, removed: step.inserted, inserted: step.removed };
    }

    redo() {
        const step = this.#undone.pop();
        if (!step) return null;
        this.#done.push(step);
        return { at: step.at, removed: step.removed, inserted: step.inserted };
    }
}

// Lengthens the last step by the change, if it continues it.
function joins(last, change) {
    const end = last.at + last.inserted.length;
    if (!change.removed && change.at === end) {
        const newWord = /\s$/.test(last.inserted) && /^\S/.test(change.inserted);
        if (last.group === 'type' && (newWord || change.inserted.length > 1)) return false;
        last.inserted += change.inserted;
        return true;
    }
    if (last.group !== 'type' || change.inserted || last.inserted) return false;
    if (change.at + change.removed.length !== last.at) return false;
    last.removed = change.removed + last.removed;
    last.at = change.at;
    return true;
}
