// SPDX-License-Identifier: MIT
// A typing session on the server: it is told each text, and streams suggestions back. One call is
// under way at a time; of the texts that came meanwhile only the newest is sent.
import { ask, pause, Problem, request } from './api.js';
import { eventsOf } from './stream.js';

const BACKOFF_MS = 250, BACKOFF_MOST_MS = 5000;

export class Typing {
    // options(): the body of the session. onSuggestion(suggestion | null): for the newest text.
    // onProblem(problem | null): null when all is well again.
    constructor({ options, onSuggestion, onProblem }) {
        this.options = options;
        this.onSuggestion = onSuggestion;
        this.onProblem = onProblem;
        this.id = null;
        this.wanted = null;   // {before, after}: the field
        this.sent = null;     // the text that the server answered for
        this.revision = null; // its number; null: an answer is waited for
        this.last = null;     // the newest suggestion, of whatever revision
        this.asked = [];      // 'retry' or 'reject', for the text as it is
        this.busy = false;
        this.well = new AbortController(); // aborted when the session is given up
        this.well.abort();
    }

    // Begins a session, in place of one there may be.
    open() {
        this.close();
        this.well = new AbortController();
        this.#keep(this.well.signal);
    }

    close() {
        this.well.abort();
        if (this.id) request('DELETE', `v1/typing/${this.id}`, { keepalive: true }).catch(() => {});
        this.#forget();
    }

    set(before, after) {
        if (this.wanted && this.wanted.before === before && this.wanted.after === after) return;
        this.wanted = { before, after };
        this.revision = null;
        this.asked = [];
        this.#pump();
    }

    // Nothing is suggested until the next set.
    rest() {
        this.wanted = null;
        this.revision = null;
        this.asked = [];
    }

    another() {
        this.#order('retry');
    }

    dismiss() {
        this.#order('reject');
    }

    #order(what) {
        if (!this.wanted) return;
        this.asked.push(what);
        this.#pump();
    }

    #forget() {
        this.id = this.sent = this.revision = this.last = null;
        this.asked = [];
    }

    // The session and its stream, begun again as often as they end.
    async #keep(signal) {
        let wait = BACKOFF_MS;
        while (!signal.aborted) {
            try {
                if (!this.id) {
                    const session = await ask('POST', 'v1/typing', { body: this.options(), signal });
                    this.id = session.id;
                    this.#pump(); // the text need not wait for the stream
                }
                const path = `v1/typing/${this.id}/events`;
                const response = await request('GET', path, { signal });
                for await (const { event, data } of eventsOf(response, signal)) {
                    if (signal.aborted) return;
                    wait = BACKOFF_MS;
                    if (this.#hear(event, JSON.parse(data))) break;
                }
            } catch (error) {
                if (signal.aborted) return;
                if (!(error instanceof Problem)) error = new Problem('broken', String(error));
                if (error.kind !== 'gone') this.#forget();
                // A session that is not there any more is no trouble: the next one is.
                if (error.kind !== 'lost' || wait > BACKOFF_MS * 4) this.onProblem(error);
                if (error.kind === 'key') return;
                if (error.retryAfter) wait = Math.min(error.retryAfter * 1000, BACKOFF_MOST_MS);
            }
            await pause(wait, signal);
            wait = Math.min(wait * 1.7, BACKOFF_MOST_MS);
        }
    }

    // Returns whether the stream is over.
    #hear(event, data) {
        if (event === 'ready') {
            this.onProblem(null); // what it has come to follows, if it was told a text already
            this.#pump();
        } else if (event === 'suggestion') {
            this.last = data;
            this.#tell();
        } else if (event === 'closed') {
            this.#forget();
            return true;
        }
        return false;
    }

    #tell() {
        if (this.last && this.revision !== null && this.last.revision === this.revision)
            this.onSuggestion(this.last);
    }

    async #pump() {
        if (this.busy || !this.id || !this.wanted) return;
        const { signal } = this.well, text = this.wanted;
        const { revision: shown, id } = this;
        let path = `v1/typing/${id}`, body = text, what = null;
        if (this.sent === text) {
            what = this.asked.shift();
            if (!what) return;
            path += `/${what}`;
            body = {};
            this.revision = null;
        }
        this.busy = true;
        try {
            const { revision } = await ask('POST', path, { body, signal });
            if (!signal.aborted && this.id === id) this.#answered(text, revision);
        } catch (error) {
            if (!signal.aborted) await this.#failed(error, text, what && { shown }, signal);
        }
        this.busy = false;
        this.#pump();
    }

    #answered(text, revision) {
        this.sent = text;
        if (this.wanted !== text || this.asked.length) return;
        this.revision = revision;
        this.onProblem(null);
        this.#tell();
    }

    // order: of a retry or reject, with the revision that was shown before it.
    async #failed(error, text, order, signal) {
        if (order && error.kind !== 'lost') {
            // Nothing was suggested, or nothing else is left: what is shown stays.
            if (this.wanted === text) this.revision = order.shown;
            return;
        }
        if (error.kind === 'refused' || error.kind === 'context') {
            this.sent = text; // asking again for the same text would be refused again
            this.onSuggestion(null);
            return;
        }
        if (error.kind === 'lost') {
            this.#forget();
            this.open();
            return;
        }
        this.onProblem(error);
        await pause(error.retryAfter ? error.retryAfter * 1000 : BACKOFF_MS * 2, signal);
    }
}
