// SPDX-License-Identifier: MIT
// Completions: one that streams, and one that only looks at a text.
import { ask, Problem, problemOf, request } from './api.js';
import { eventsOf } from './stream.js';

const N_TOP = 4; // what else could have stood there

// The request that Generate sends, also shown as a command.
export function completionBody({ model, prompt, length, temperature }) {
    return {
        ...(model ? { model } : {}), prompt, max_tokens: length, temperature, stream: true,
    };
}

// Streams a continuation. onPiece(text, tokens). Resolves to {usage, inkling, finish, ms}: ms up to
// the first piece as this page saw it.
export async function generate(settings, { signal, onPiece }) {
    const body = {
        ...completionBody(settings), stream_options: { include_usage: true }, logprobs: N_TOP,
    };
    const begun = performance.now();
    const response = await request('POST', 'v1/completions', { body, signal });
    const end = { usage: null, inkling: null, finish: null, ms: null };
    for await (const { data } of eventsOf(response, signal)) {
        if (data === '[DONE]') return end;
        const chunk = JSON.parse(data);
        if (chunk.error) throw problemOf(chunk.error.status || 500, chunk.error, 0);
        if (chunk.usage) end.usage = chunk.usage;
        const choice = chunk.choices?.[0];
        if (!choice) continue;
        if (choice.finish_reason) end.finish = choice.finish_reason;
        end.inkling = choice.inkling || chunk.inkling || end.inkling;
        end.ms ??= performance.now() - begun;
        if (choice.text) onPiece(choice.text, tokensOf(choice.logprobs));
        else if (choice.logprobs) onPiece('', tokensOf(choice.logprobs));
    }
    throw new Problem('gone', 'the stream ended early');
}

// The tokens of a text with the probabilities that the model gives them. Behind everything else.
export async function inspect({ model, text, signal }) {
    const answer = await ask('POST', 'v1/completions', {
        signal,
        body: {
            ...(model ? { model } : {}), prompt: text, max_tokens: 0, echo: true, logprobs: N_TOP,
            priority: 'background',
        },
    });
    return tokensOf(answer.choices?.[0]?.logprobs);
}

// OpenAI's four parallel lists as one: {text, p, top: [{text, p}]}; p null: nothing stands before.
function tokensOf(logprobs) {
    return (logprobs?.tokens || []).map((text, i) => {
        const logprob = logprobs.token_logprobs?.[i] ?? null;
        const top = Object.entries(logprobs.top_logprobs?.[i] || {})
            .map(([other, value]) => ({ text: other, p: Math.exp(value) }))
            .sort((a, b) => b.p - a.p);
        return { text, p: logprob === null ? null : Math.exp(logprob), top };
    });
}
