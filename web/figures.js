// SPDX-License-Identifier: MIT
// The live figures: what suggestions and answers say about themselves, and memory from /metrics.
import { request } from './api.js';
import { Chart, N_VALUES } from './chart.js';
import { number, say } from './words.js';

const POLL_MS = 2000;
const NAMES = ['first', 'speed', 'memory', 'reused'];

const FORMATS = {
    first: (ms) => `${number(ms, ms < 10 ? 2 : ms < 100 ? 1 : 0)} ms`,
    speed: (tokens) => number(tokens, tokens < 100 ? 1 : 0),
    memory: (bytes) => `${number(bytes / 2 ** 20, bytes < 100 * 2 ** 20 ? 1 : 0)} MiB`,
    reused: (tokens) => number(tokens),
};

export class Figures {
    constructor() {
        this.values = Object.fromEntries(NAMES.map((name) => [name, []]));
        this.totals = {};
        this.shown = 'first';
        const element = (id) => document.getElementById(id);
        this.chart = new Chart(element('chart'), element('chart-top'));
        this.caption = element('chart-name');
        this.tiles = Object.fromEntries(NAMES.map((name) => [name, element(`figure-${name}`)]));
        for (const name of NAMES)
            this.tiles[name].addEventListener('click', () => {
                this.shown = name;
                this.draw();
            });
    }

    // Asks for memory from now on.
    async poll() {
        for (;;) {
            if (document.visibilityState === 'visible') {
                try {
                    this.add('memory', memoryOf(await (await request('GET', 'metrics')).text()));
                } catch {
                    // Whoever needs the server says that it is gone.
                }
            }
            await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        }
    }

    // total: what the value is a part of.
    add(name, value, total = null) {
        if (!Number.isFinite(value)) return;
        const values = this.values[name];
        values.push(value);
        if (values.length > N_VALUES) values.shift();
        this.totals[name] = total;
        this.#due();
    }

    suggestion(s) {
        this.add('first', s.first_token_ms);
        this.add('reused', s.n_prompt - s.n_prompt_evaluated, s.n_prompt);
        // What was suggested before needs no evaluation: of a token or two no speed can be told.
        const decoded = s.n_evaluated - s.n_prompt_evaluated, ms = s.total_ms - s.first_token_ms;
        if (decoded >= 4 && ms > 0) this.add('speed', (decoded * 1000) / ms);
    }

    answer({ usage, inkling, ms }) {
        this.add('first', inkling?.first_token_ms ?? ms);
        if (inkling) this.add('reused', inkling.tokens_reused, usage?.prompt_tokens ?? null);
        if (usage?.completion_tokens > 1 && inkling?.decode_ms > 0)
            this.add('speed', ((usage.completion_tokens - 1) * 1000) / inkling.decode_ms);
    }

    // Several figures come together, and no eye needs more than one picture a frame.
    #due() {
        if (this.waiting) return;
        this.waiting = true;
        requestAnimationFrame(() => this.draw());
    }

    draw() {
        this.waiting = false;
        for (const name of NAMES) {
            const last = this.values[name].at(-1), total = this.totals[name];
            let text = last === undefined ? '–' : FORMATS[name](last);
            if (last !== undefined && total) text = say('of', { a: text, b: FORMATS[name](total) });
            this.tiles[name].querySelector('.value').textContent = text;
            this.tiles[name].setAttribute('aria-pressed', String(name === this.shown));
        }
        const values = this.values[this.shown];
        this.chart.show(say(this.shown), values, FORMATS[this.shown]);
        this.caption.textContent = say('chart_name', { name: say(this.shown), n: N_VALUES });
    }
}

// What the process holds, of Prometheus' text; NaN where it is not told.
function memoryOf(text) {
    return Number(/^(?:inkling|process)_resident_memory_bytes(?:\{[^}]*\})? (\S+)/m.exec(text)?.[1] ?? NaN);
}
