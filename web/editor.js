// SPDX-License-Identifier: MIT
// The text field with ghost text at its caret. Behind the field lies a mirror of the same metrics:
// it makes the field as high as its text, and shows the ghost. While text follows the caret the
// mirror shows that too, moved on by the ghost, and the field's own letters are transparent.
import { difference, History } from './history.js';

const LETTER = /[\p{L}\p{N}\p{M}]/u;
const FIRST_WORD = /^\s*(?:\p{Script=Han}[^\p{L}\p{N}\s]*|(?!\p{Script=Han})\S(?:(?!\p{Script=Han})\S)*)/u;

export class Editor {
    // onChange(): text or caret are others, or may be asked about again. onGhost(text): it is
    // another, '' when there is none.
    constructor({ onChange, onGhost, onAccept, onDismiss }) {
        this.field = document.getElementById('text');
        this.frame = document.getElementById('field');
        this.scroller = document.getElementById('page');
        [this.head, this.ghostSpan, this.tail] = ['before', 'ghost', 'after']
            .map((id) => document.getElementById(id));
        this.handlers = { onChange, onGhost, onAccept, onDismiss };
        this.history = new History();
        this.ghost = '';
        this.ghostAt = -1; // where its first letter would stand
        this.composing = false;
        this.value = this.field.value;
        this.caret = -1;
        this.mac = /Mac|iP(hone|ad|od)/.test(navigator.platform || '');
        this.#listen();
        this.#mirror();
    }

    get selection() {
        return [this.field.selectionStart, this.field.selectionEnd];
    }

    // Text on both sides of the caret; null while there is a selection or a composition.
    get sides() {
        const [start, end] = this.selection;
        if (start !== end || this.composing) return null;
        return { before: this.value.slice(0, start), after: this.value.slice(start) };
    }

    // --- changes ---------------------------------------------------------------------------------

    // removed is what stands at `at` now. group: see History. select: where the caret goes,
    // 'end' behind what was inserted, or 'preserve'.
    replace(at, removed, inserted, { group = null, select = 'end', record = true } = {}) {
        this.field.setRangeText(inserted, at, at + removed.length, select);
        this.value = this.field.value;
        if (record) this.history.add({ at, removed, inserted }, group);
        this.#changed();
    }

    undo() {
        return this.#step(this.history.undo());
    }

    redo() {
        return this.#step(this.history.redo());
    }

    #step(step) {
        if (!step) return false;
        this.replace(step.at, step.removed, step.inserted, { record: false });
        this.reveal();
        return true;
    }

    // --- the ghost -------------------------------------------------------------------------------

    // text: what may come behind the caret; done: it will not grow. What is shown stays while the
    // new text is only its beginning so far, so that nothing flickers as the user types along it.
    suggest(text, done) {
        const sides = this.sides;
        if (!sides || (sides.after && LETTER.test(sides.after[0]))) text = '';
        else if (!done && this.ghost && this.ghost.startsWith(text)) return;
        this.#setGhost(text);
    }

    hide() {
        this.#setGhost('');
    }

    // word: only its first word.
    accept(word) {
        const [at] = this.selection;
        if (!this.ghost || at !== this.ghostAt) return false;
        const taken = word ? FIRST_WORD.exec(this.ghost)?.[0] || this.ghost : this.ghost;
        const rest = this.ghost.slice(taken.length);
        this.ghost = rest;
        this.ghostAt = at + taken.length;
        this.replace(at, '', taken);
        this.handlers.onGhost(rest);
        this.reveal();
        return true;
    }

    #setGhost(text) {
        const [at] = this.selection;
        if (this.ghost === text && this.ghostAt === at) return;
        this.ghost = text;
        this.ghostAt = at;
        this.#mirror();
        this.handlers.onGhost(text);
    }

    // The caret moved or the text changed: the ghost stays where the user typed its beginning.
    #follow(before) {
        if (!this.ghost) return;
        const [start, end] = this.selection;
        const typed = this.value.slice(this.ghostAt, start);
        const same = start === end && !this.composing && start >= this.ghostAt &&
            this.ghost.startsWith(typed) && typed.length < this.ghost.length &&
            this.value.length - typed.length === before.length &&
            this.value.slice(0, this.ghostAt) === before.slice(0, this.ghostAt);
        this.ghost = same ? this.ghost.slice(typed.length) : '';
        this.ghostAt = start;
        this.handlers.onGhost(this.ghost);
    }

    // --- what is seen ----------------------------------------------------------------------------

    #mirror() {
        const { value } = this.field;
        const at = this.ghost ? this.ghostAt : value.length;
        const after = value.slice(at);
        this.head.textContent = value.slice(0, at);
        this.ghostSpan.textContent = this.ghost;
        this.tail.textContent = after + '\u200b'; // a line feed at the end has a line behind it
        this.frame.classList.toggle('ghosted', this.ghost !== '');
        this.frame.classList.toggle('split', this.ghost !== '' && after !== '');
    }

    // Scrolls so far that the end of the caret's line is seen. Browsers do that for typed text only.
    reveal() {
        const range = document.createRange();
        const [at] = this.selection;
        const inHead = at <= this.head.textContent.length;
        const node = (inHead ? this.head : this.tail).firstChild;
        if (!node) return;
        const offset = Math.min(inHead ? at : at - this.head.textContent.length, node.length);
        range.setStart(node, offset);
        range.collapse(true);
        const caret = range.getBoundingClientRect(), view = this.scroller.getBoundingClientRect();
        if (caret.height === 0) return;
        const margin = caret.height;
        if (caret.bottom + margin > view.bottom)
            this.scroller.scrollTop += caret.bottom + margin - view.bottom;
        else if (caret.top - margin < view.top)
            this.scroller.scrollTop += caret.top - margin - view.top;
    }

    // --- what the user does ----------------------------------------------------------------------

    #listen() {
        const { field } = this;
        field.addEventListener('input', (event) => this.#input(event));
        field.addEventListener('keydown', (event) => this.#key(event));
        field.addEventListener('beforeinput', (event) => {
            // Menus and shaken phones undo too.
            if (event.inputType === 'historyUndo') this.undo();
            else if (event.inputType === 'historyRedo') this.redo();
            else return;
            event.preventDefault();
        });
        field.addEventListener('compositionstart', () => {
            this.composing = true;
            this.hide();
        });
        field.addEventListener('compositionend', () => {
            this.composing = false;
            this.#record(null);
            this.#changed();
        });
        document.addEventListener('selectionchange', () => this.#moved());
        field.addEventListener('select', () => this.#moved());
    }

    #input(event) {
        // Half a syllable is no text yet: it is recorded as one step when it is whole.
        if (this.composing || event.isComposing) {
            this.#mirror();
            return;
        }
        const typed = /^(insertText|insertLineBreak|deleteContent(Back|For)ward)$/.test(event.inputType);
        this.#record(typed ? 'type' : null);
        this.#changed();
    }

    #record(group) {
        const before = this.value;
        this.value = this.field.value;
        const change = difference(before, this.value);
        if (!change.removed && !change.inserted) return;
        this.history.add(change, group);
        this.#follow(before);
    }

    #changed() {
        [this.caret] = this.selection;
        if (this.ghost && this.ghostAt !== this.caret) {
            this.ghost = '';
            this.handlers.onGhost('');
        }
        this.#mirror();
        this.handlers.onChange(true);
    }

    #moved() {
        const [start, end] = this.selection;
        const place = start === end ? start : -1;
        if (this.composing || place === this.caret || this.field.value !== this.value) return;
        this.caret = place;
        if (this.ghost && place !== this.ghostAt) this.hide();
        this.handlers.onChange(false);
    }

    #key(event) {
        if (event.isComposing || this.composing) return;
        const { key, shiftKey, altKey } = event;
        const command = this.mac ? event.metaKey : event.ctrlKey;
        const aWord = event.ctrlKey || (this.mac && altKey);
        let taken = false;
        if (key === 'Tab' && !shiftKey && !altKey && !event.ctrlKey && this.ghost)
            taken = this.handlers.onAccept(false);
        else if (key === 'ArrowRight' && aWord && !shiftKey && this.ghost)
            taken = this.handlers.onAccept(true);
        else if (key === 'Escape') taken = this.handlers.onDismiss();
        else if (command && !altKey && key.toLowerCase() === 'z')
            taken = (shiftKey ? this.redo() : this.undo()) || true;
        else if (event.ctrlKey && !altKey && key.toLowerCase() === 'y') taken = this.redo() || true;
        if (taken) event.preventDefault();
    }
}
