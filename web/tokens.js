// SPDX-License-Identifier: MIT
// The token view: the pieces of a text, coloured by how sure the model was of each. One stop of the
// Tab key; arrows move inside.
import { percent, say } from './words.js';

// Below each: the level of its colour.
const LEVELS = [0.02, 0.1, 0.3, 0.6, 0.9];

const MOST = 400; // pieces that are kept

const level = (p) => (p === null ? 'none' : LEVELS.filter((bound) => p >= bound).length);

// Blanks can be seen.
const visible = (text) => text.replace(/ /g, '·').replace(/\n/g, '↵').replace(/\t/g, '⇥') || '∅';

export class Tokens {
    constructor() {
        this.list = document.getElementById('tokens');
        this.detail = document.getElementById('token-detail');
        this.pieces = [];
        this.emptyWord = 'tokens_empty';
        const pick = (event) => {
            const place = [...this.list.children].indexOf(event.target.closest('[role=option]'));
            if (place >= 0) this.#pick(place, event.type === 'click');
        };
        for (const kind of ['mouseover', 'click', 'focusin']) this.list.addEventListener(kind, pick);
        this.list.addEventListener('keydown', (event) => this.#key(event));
        this.show([]);
    }

    show(pieces, emptyWord = 'tokens_empty') {
        this.pieces = [];
        this.picked = -1;
        this.emptyWord = emptyWord;
        this.list.replaceChildren();
        this.append(pieces);
    }

    // read: the model was given them.
    append(pieces, read = false) {
        for (const piece of pieces) {
            if (this.pieces.length === MOST) {
                this.pieces.shift();
                this.list.firstChild.remove();
            }
            const element = document.createElement('span');
            element.setAttribute('role', 'option');
            element.setAttribute('aria-selected', 'false');
            element.tabIndex = this.pieces.length ? -1 : 0;
            element.className = `piece p${level(piece.p)}${read ? ' read' : ''}`;
            element.textContent = visible(piece.text);
            element.setAttribute('aria-label', label(piece));
            this.pieces.push(piece);
            this.list.append(element);
            // A line of the text is a line here.
            if (piece.text.includes('\n')) element.classList.add('breaks');
        }
        this.list.hidden = this.pieces.length === 0;
        if (this.picked < 0) this.#tell();
    }

    // In another language.
    speakAgain() {
        [...this.list.children].forEach((element, i) =>
            element.setAttribute('aria-label', label(this.pieces[i])));
        this.#tell();
    }

    #tell() {
        const piece = this.pieces[this.picked];
        if (!piece) {
            this.detail.textContent = say(this.pieces.length ? 'tokens_pick' : this.emptyWord);
            return;
        }
        const others = (piece.top || []).filter((other) => other.text !== piece.text).slice(0, 3);
        const list = others.map((other) => `“${visible(other.text)}” ${percent(other.p)}`);
        this.detail.textContent = label(piece, visible) +
            (list.length ? `; ${say('instead', { list: list.join(say('between')) })}` : '');
    }

    #pick(place, focus) {
        const old = this.list.children[this.picked], element = this.list.children[place];
        for (const other of this.list.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
        old?.setAttribute('aria-selected', 'false');
        element.setAttribute('aria-selected', 'true');
        element.tabIndex = 0;
        this.picked = place;
        if (focus) element.focus({ preventScroll: true });
        this.#tell();
    }

    #key(event) {
        const last = this.pieces.length - 1;
        const places = {
            ArrowRight: this.picked + 1, ArrowLeft: this.picked - 1, Home: 0, End: last,
            ArrowDown: this.#line(1), ArrowUp: this.#line(-1),
        };
        if (!(event.key in places) || last < 0) return;
        event.preventDefault();
        const place = Math.max(0, Math.min(last, places[event.key]));
        this.#pick(place, true);
        this.list.children[place].scrollIntoView({ block: 'nearest' });
    }

    // The piece above or below the one picked.
    #line(way) {
        const all = this.list.children, from = all[this.picked];
        if (!from) return 0;
        const mid = from.offsetLeft + from.offsetWidth / 2;
        let best = this.picked, line = null, least = Infinity;
        for (let i = this.picked + way; i >= 0 && i < all.length; i += way) {
            const { offsetTop, offsetLeft, offsetWidth } = all[i];
            if (offsetTop === from.offsetTop) continue;
            line ??= offsetTop;
            if (offsetTop !== line) break;
            const far = Math.abs(offsetLeft + offsetWidth / 2 - mid);
            if (far < least) [best, least] = [i, far];
        }
        return best;
    }
}

function label(piece, show = (text) => text) {
    if (piece.p === null) return say('piece_first', { text: show(piece.text) });
    return say('piece', { text: show(piece.text), percent: percent(piece.p) });
}
