// SPDX-License-Identifier: MIT
// Server-sent events from fetch. EventSource can neither send a key nor a body.
import { Problem } from './api.js';

// Yields {event, data} for each event of the answer, until it ends; leaving the loop hangs up.
export async function* eventsOf(response, signal) {
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let rest = '', event = '', data = [];
    try {
        for (;;) {
            let chunk;
            try {
                chunk = await reader.read();
            } catch (error) {
                if (signal?.aborted) throw error;
                throw new Problem('gone', String(error.message || error));
            }
            if (chunk.done) return;
            rest += decoder.decode(chunk.value, { stream: true });
            // A carriage return at the end may be the first half of a line end.
            const lines = rest.split(/\r\n|\n|\r(?!$)/);
            rest = lines.pop();
            for (const line of lines) {
                if (line === '') {
                    if (data.length) yield { event: event || 'message', data: data.join('\n') };
                    event = '';
                    data = [];
                    continue;
                }
                const colon = line.indexOf(':');
                const name = colon < 0 ? line : line.slice(0, colon);
                const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
                if (name === 'event') event = value;
                if (name === 'data') data.push(value);
            }
        }
    } finally {
        reader.cancel().catch(() => {});
    }
}
