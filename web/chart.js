// SPDX-License-Identifier: MIT
// A row of bars for the last values of one figure.
import { say } from './words.js';

export const N_VALUES = 60;
const WIDTH = 240, HEIGHT = 56, STEP = WIDTH / N_VALUES;
const SVG = 'http://www.w3.org/2000/svg';

function shape(name, attributes) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
}

export class Chart {
    constructor(svg, topLabel) {
        this.svg = svg;
        this.topLabel = topLabel;
        svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
        svg.setAttribute('preserveAspectRatio', 'none');
        this.bars = [];
        for (let i = 0; i < N_VALUES; i++) {
            const bar = shape('rect', { x: i * STEP + 0.5, width: STEP - 1, y: HEIGHT, height: 0 });
            this.bars.push(svg.appendChild(bar));
        }
    }

    // values: the oldest first. format: a value for people.
    show(name, values, format) {
        const high = Math.max(...values), low = Math.min(...values), first = N_VALUES - values.length;
        this.bars.forEach((bar, i) => {
            const value = i < first ? 0 : values[i - first];
            // What was measured is seen, however little it is.
            const height = i < first ? 0 : Math.max(1.5, (high > 0 ? value / high : 0) * HEIGHT);
            bar.setAttribute('y', HEIGHT - height);
            bar.setAttribute('height', height);
            bar.setAttribute('class', i === N_VALUES - 1 ? 'newest' : '');
        });
        this.topLabel.textContent = values.length ? format(high) : '';
        this.svg.setAttribute('aria-label', values.length
            ? say('chart', {
                name, n: values.length, last: format(values.at(-1)), low: format(low), high: format(high),
            })
            : say('chart_empty', { name }));
    }
}
