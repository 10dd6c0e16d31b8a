// SPDX-License-Identifier: MIT
// Several choices, and log-probabilities of the completions interface.
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import * as t from "./harness.mjs";

const PROMPT = "Once upon a time there was a little";
let server, client;
before(async () => {
    server = await t.startServer();
    client = t.newClient(server.url);
});
after(() => server.stop());

function ask(fields) {
    return client.completions.create({ model: "story", prompt: PROMPT, temperature: 0, ...fields });
}

test("n choices differ, and come again with the seed", async () => {
    const bias = { [t.END_TOKEN]: -100 };
    const fields = { n: 4, max_tokens: 30, temperature: 1, seed: 9, logit_bias: bias };
    const answer = await ask(fields);
    assert.deepEqual(
        answer.choices.map((choice) => choice.index),
        [0, 1, 2, 3],
    );
    const texts = answer.choices.map((choice) => choice.text);
    assert.ok(new Set(texts).size > 1, JSON.stringify(texts));
    assert.equal(answer.usage.completion_tokens, 120);
    assert.equal(answer.usage.prompt_tokens, (await t.tokenIds(server.url, PROMPT)).length);
    assert.deepEqual(
        (await ask(fields)).choices.map((choice) => choice.text),
        texts,
    );

    const parts = ["", "", "", ""];
    const reasons = [];
    for await (const chunk of await ask({ ...fields, stream: true })) {
        for (const choice of chunk.choices) {
            parts[choice.index] += choice.text;
            if (choice.finish_reason) reasons[choice.index] = choice.finish_reason;
        }
    }
    assert.deepEqual(parts, texts);
    assert.deepEqual(reasons, Array(4).fill("length"));
});

test("choices of several prompts stand prompt by prompt", async () => {
    const other = "The dog and the cat";
    const answer = await ask({ prompt: [PROMPT, other], n: 2, max_tokens: 12 });
    const [one] = (await ask({ max_tokens: 12 })).choices;
    const [two] = (await ask({ prompt: other, max_tokens: 12 })).choices;
    assert.deepEqual(
        answer.choices.map((choice) => [choice.index, choice.text]),
        [
            [0, one.text],
            [1, one.text],
            [2, two.text],
            [3, two.text],
        ],
    );
});

test("more choices than are decoded together all come", async () => {
    const answer = await ask({
        prompt: [PROMPT, "A", "The", "One day"],
        n: 5,
        max_tokens: 4,
        temperature: 1,
    });
    assert.deepEqual(
        answer.choices.map((choice) => choice.index),
        [...Array(20).keys()],
    );
});

function checkLogprobs(logprobs, text, offset, n) {
    const length = logprobs.tokens.length;
    assert.equal(logprobs.tokens.join(""), text);
    assert.equal(logprobs.token_logprobs.length, length);
    assert.equal(logprobs.top_logprobs.length, length);
    assert.equal(logprobs.text_offset.length, length);
    let at = offset;
    for (let i = 0; i < length; i++) {
        assert.equal(logprobs.text_offset[i], at);
        at += logprobs.tokens[i].length;
        if (logprobs.token_logprobs[i] === null) continue;
        assert.ok(logprobs.token_logprobs[i] <= 0);
        const top = Object.entries(logprobs.top_logprobs[i]);
        // The chosen one may stand beside the n best.
        assert.ok(top.length >= n && top.length <= n + 1, JSON.stringify(top));
        assert.ok(
            Math.abs(logprobs.top_logprobs[i][logprobs.tokens[i]] - logprobs.token_logprobs[i]) <
                1e-6,
        );
    }
}

test("log-probabilities of the chosen and the best", async () => {
    const answer = await ask({ max_tokens: 20, logprobs: 3, logit_bias: { [t.END_TOKEN]: -100 } });
    const { text, logprobs } = answer.choices[0];
    assert.equal(logprobs.tokens.length, 20);
    checkLogprobs(logprobs, text, 0, 3);
    // Greedy: the chosen one is the best one.
    logprobs.top_logprobs.forEach((top, i) => {
        assert.ok(logprobs.token_logprobs[i] >= Math.max(...Object.values(top)) - 1e-6);
        const sum = Object.values(top).reduce((all, logprob) => all + Math.exp(logprob), 0);
        assert.ok(sum <= 1 + 1e-4, `${sum}`);
    });
    const none = await ask({ max_tokens: 20, logprobs: 0, logit_bias: { [t.END_TOKEN]: -100 } });
    assert.deepEqual(none.choices[0].logprobs.token_logprobs, logprobs.token_logprobs);

    // Log-probabilities are the model's: temperature and bias do not bend them.
    const drawn = (await ask({ max_tokens: 1, logprobs: 5, temperature: 2, seed: 1, top_k: 1 }))
        .choices[0];
    assert.ok(Math.abs(drawn.logprobs.token_logprobs[0] - logprobs.token_logprobs[0]) < 1e-6);
});

test("a stream's log-probabilities are those of the whole", async () => {
    const whole = (await ask({ max_tokens: 20, logprobs: 2 })).choices[0];
    const all = { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
    for await (const chunk of await ask({ max_tokens: 20, logprobs: 2, stream: true })) {
        const { logprobs } = chunk.choices[0];
        for (const name of Object.keys(all)) all[name].push(...(logprobs?.[name] ?? []));
    }
    assert.deepEqual(all, whole.logprobs);
});

test("echo with log-probabilities judges a given text", async () => {
    // What was generated, and read again as a prompt, is as likely as it was then.
    const ids = await t.tokenIds(server.url, PROMPT);
    const generated = (await ask({ prompt: ids, max_tokens: 20, logprobs: 1 })).choices[0];
    const text = PROMPT + generated.text;
    const all = await t.tokenIds(server.url, text);
    const judged = (await ask({ prompt: all, max_tokens: 0, echo: true, logprobs: 1 })).choices[0];
    assert.equal(judged.text, text);
    assert.equal(judged.logprobs.token_logprobs[0], null);
    assert.equal(judged.logprobs.tokens.length, all.length);
    checkLogprobs(judged.logprobs, text, 0, 1);
    if (all.length === ids.length + 20) {
        judged.logprobs.token_logprobs.slice(ids.length).forEach((logprob, i) => {
            assert.ok(Math.abs(logprob - generated.logprobs.token_logprobs[i]) < 1e-6);
        });
    }
    // Echo with more behind it: both in one list.
    const both = (await ask({ prompt: ids, max_tokens: 5, echo: true, logprobs: 1 })).choices[0];
    assert.equal(both.logprobs.tokens.length, ids.length + 5);
    checkLogprobs(both.logprobs, both.text, 0, 1);
    assert.deepEqual(
        both.logprobs.token_logprobs.slice(ids.length),
        generated.logprobs.token_logprobs.slice(0, 5),
    );

    // The program's own figure for the same text.
    const logprobs = judged.logprobs.token_logprobs.slice(1);
    const nats = -logprobs.reduce((sum, logprob) => sum + logprob, 0) / logprobs.length;
    assert.ok(nats > 0 && nats < 8, `${nats} nats a token`);
});
