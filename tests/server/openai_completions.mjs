// SPDX-License-Identifier: MIT
// POST /v1/completions through the official client: what is asked for is what comes, whole or streamed.
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
async function joined(fields) {
    let text = "";
    for await (const chunk of await ask({ ...fields, stream: true })) text += chunk.choices[0].text;
    return text;
}

test("a completion has all of its fields", async () => {
    const begin = Math.floor(Date.now() / 1000);
    const { data: answer, response } = await ask({
        max_tokens: 8,
        logit_bias: { [t.END_TOKEN]: -100 },
    }).withResponse();
    assert.match(answer.id, /^cmpl-\w{8,}$/);
    assert.equal(answer.object, "text_completion");
    assert.equal(answer.model, "story");
    assert.ok(answer.created >= begin && answer.created <= Date.now() / 1000 + 1);
    assert.equal(answer.choices.length, 1);
    const [choice] = answer.choices;
    assert.equal(choice.index, 0);
    assert.equal(choice.logprobs, null);
    assert.equal(choice.finish_reason, "length");
    const prompt = await t.tokenIds(server.url, PROMPT);
    assert.deepEqual(
        { ...answer.usage, prompt_tokens_details: undefined },
        {
            prompt_tokens: prompt.length,
            completion_tokens: 8,
            total_tokens: prompt.length + 8,
            prompt_tokens_details: undefined,
        },
    );
    assert.equal(answer.inkling.stop, "length");
    assert.ok(Number.isInteger(answer.inkling.seed));
    for (const name of ["queue_ms", "prefill_ms", "first_token_ms", "decode_ms"]) {
        assert.ok(answer.inkling[name] >= 0, name);
    }
    assert.equal(typeof answer.inkling.tokens_reused, "number");
    assert.equal(typeof answer.inkling.tokens_evaluated, "number");
    assert.match(response.headers.get("x-request-id"), /^req_\w+$/);
    assert.equal(answer._request_id, response.headers.get("x-request-id"));
});

test("the text is what the program writes", async () => {
    const answer = await ask({ max_tokens: 40 });
    const printed = t.run("complete", "--temperature", "0", "-n", "40", PROMPT);
    const text = answer.choices[0].text;
    assert.ok(
        printed.trimEnd().endsWith(text.trimEnd()) && text.length > 60,
        `${printed} / ${text}`,
    );
});

test("without max_tokens there are sixteen", async () => {
    const answer = await ask({ logit_bias: { [t.END_TOKEN]: -100 } });
    assert.equal(answer.usage.completion_tokens, 16);
    assert.equal(answer.choices[0].finish_reason, "length");
});

test("a stream gives the same text as a whole answer", async () => {
    const whole = await ask({ max_tokens: 60 });
    assert.equal(await joined({ max_tokens: 60 }), whole.choices[0].text);
    const drawn = await ask({ max_tokens: 60, temperature: 1, seed: 5 });
    assert.equal(await joined({ max_tokens: 60, temperature: 1, seed: 5 }), drawn.choices[0].text);
});

test("chunks: one finish reason, at the end, and usage behind it when it was asked for", async () => {
    const chunks = [];
    for await (const chunk of await ask({
        max_tokens: 12,
        logit_bias: { [t.END_TOKEN]: -100 },
        stream: true,
        stream_options: { include_usage: true },
    })) {
        chunks.push(chunk);
    }
    const last = chunks.pop();
    assert.deepEqual(last.choices, []);
    assert.equal(last.usage.completion_tokens, 12);
    assert.equal(last.usage.total_tokens, last.usage.prompt_tokens + 12);
    assert.ok(chunks.length >= 2);
    for (const chunk of chunks) {
        assert.equal(chunk.id, last.id);
        assert.equal(chunk.object, "text_completion");
        assert.equal(chunk.created, last.created);
        assert.equal(chunk.choices.length, 1);
        assert.equal(chunk.choices[0].index, 0);
        assert.equal(chunk.usage ?? null, null);
    }
    assert.deepEqual(
        chunks.map((chunk) => chunk.choices[0].finish_reason),
        [...Array(chunks.length - 1).fill(null), "length"],
    );
    assert.equal(chunks.at(-1).inkling.stop, "length");

    for await (const chunk of await ask({ max_tokens: 4, stream: true })) {
        assert.equal(chunk.choices.length, 1);
        assert.equal(chunk.usage ?? null, null);
    }
});

test("a prompt may be a text, texts, ids, or lists of ids", async () => {
    const ids = await t.tokenIds(server.url, PROMPT);
    const other = "The dog and the cat";
    const otherIds = await t.tokenIds(server.url, other);
    const first = await ask({ max_tokens: 20 });
    const second = await ask({ max_tokens: 20, prompt: other });
    const tokens = first.usage.completion_tokens + second.usage.completion_tokens;
    const text = first.choices[0].text;
    const otherText = second.choices[0].text;
    assert.notEqual(text, otherText);

    const one = await ask({ max_tokens: 20, prompt: ids });
    assert.deepEqual(
        one.choices.map((choice) => choice.text),
        [text],
    );
    assert.equal(one.usage.prompt_tokens, ids.length);
    for (const prompt of [
        [PROMPT, other],
        [ids, otherIds],
    ]) {
        const two = await ask({ max_tokens: 20, prompt });
        assert.deepEqual(
            two.choices.map((choice) => [choice.index, choice.text]),
            [
                [0, text],
                [1, otherText],
            ],
        );
        assert.equal(two.usage.prompt_tokens, ids.length + otherIds.length);
        assert.equal(two.usage.completion_tokens, tokens);
    }
    const parts = ["", ""];
    for await (const chunk of await ask({
        max_tokens: 20,
        prompt: [PROMPT, other],
        stream: true,
    })) {
        for (const choice of chunk.choices) parts[choice.index] += choice.text;
    }
    assert.deepEqual(parts, [text, otherText]);
});

test("echo gives the prompt first", async () => {
    const text = (await ask({ max_tokens: 10 })).choices[0].text;
    assert.equal((await ask({ max_tokens: 10, echo: true })).choices[0].text, PROMPT + text);
    assert.equal(await joined({ max_tokens: 10, echo: true }), PROMPT + text);
    const only = await ask({ max_tokens: 0, echo: true });
    assert.equal(only.choices[0].text, PROMPT);
    assert.equal(only.choices[0].finish_reason, "length");
    assert.equal(only.usage.completion_tokens, 0);
});

test("stop strings end the text and are not part of it", async () => {
    const text = (await ask({ max_tokens: 60 })).choices[0].text;
    const words = text.trim().split(/\s+/);
    const word = words[5];
    const before = text.slice(0, text.indexOf(word));
    for (const stop of [word, [word], ["never in a story?", word, "ß", "Ω"]]) {
        const answer = await ask({ max_tokens: 60, stop });
        assert.equal(answer.choices[0].text, before);
        assert.equal(answer.choices[0].finish_reason, "stop");
        assert.equal(answer.inkling.stop, "stop");
        assert.equal(await joined({ max_tokens: 60, stop }), before);
    }
    // One that spans pieces, from the middle of a word into the next.
    const across = text.slice(text.indexOf(words[3]) + 1, text.indexOf(words[5]) + 1);
    assert.equal(
        await joined({ max_tokens: 60, stop: across }),
        text.slice(0, text.indexOf(across)),
    );
    assert.equal((await ask({ max_tokens: 10, stop: null })).choices[0].finish_reason, "length");
});

test("the end token ends it", async () => {
    const answer = await ask({ max_tokens: 50, logit_bias: { [t.END_TOKEN]: 100 } });
    assert.equal(answer.choices[0].text, "");
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.equal(answer.inkling.stop, "end");
    assert.equal(answer.usage.completion_tokens, 0);
});

test("logit_bias forces a token, and bans one", async () => {
    const [token] = await t.tokenIds(server.url, " dog");
    const forced = await ask({ max_tokens: 5, logit_bias: { [token]: 100 } });
    assert.equal(forced.choices[0].text, " dog".repeat(5));
    const [first] = await t.tokenIds(server.url, (await ask({ max_tokens: 1 })).choices[0].text);
    const banned = await ask({ max_tokens: 30, logit_bias: { [first]: -100 } });
    const ids = await t.tokenIds(server.url, PROMPT + banned.choices[0].text);
    const n = (await t.tokenIds(server.url, PROMPT)).length;
    assert.ok(!ids.slice(n).includes(first), `${first} in ${ids}`);
});

test("the same seed gives the same text, another another", async () => {
    const drawn = { max_tokens: 40, temperature: 1.2, top_p: 0.98 };
    const one = await ask({ ...drawn, seed: 42 });
    const again = await ask({ ...drawn, seed: 42 });
    assert.equal(again.choices[0].text, one.choices[0].text);
    assert.equal(one.inkling.seed, 42);
    const others = await Promise.all([1, 2, 3].map((seed) => ask({ ...drawn, seed })));
    assert.ok(others.some((answer) => answer.choices[0].text !== one.choices[0].text));
    // Without one it is drawn, and told, so that the text can be had again.
    const any = await ask(drawn);
    assert.equal(
        (await ask({ ...drawn, seed: any.inkling.seed })).choices[0].text,
        any.choices[0].text,
    );
});

test("fields of our own", async () => {
    const greedy = (await ask({ max_tokens: 40 })).choices[0].text;
    assert.equal((await ask({ max_tokens: 40, temperature: 1, top_k: 1 })).choices[0].text, greedy);
    assert.equal((await ask({ max_tokens: 40, temperature: 1, min_p: 1 })).choices[0].text, greedy);
    assert.equal((await ask({ max_tokens: 40, temperature: 1, top_p: 0 })).choices[0].text, greedy);
    const long = (await ask({ max_tokens: 150 })).choices[0].text;
    for (const field of [
        { repeat_penalty: 1.8 },
        { presence_penalty: 2 },
        { frequency_penalty: 2 },
    ]) {
        assert.notEqual(
            (await ask({ max_tokens: 150, ...field })).choices[0].text,
            long,
            JSON.stringify(field),
        );
    }
    for (const priority of ["foreground", "background"]) {
        assert.equal((await ask({ max_tokens: 40, priority })).choices[0].text, greedy);
    }
    assert.equal((await ask({ max_tokens: 40, deadline_ms: 3600000 })).choices[0].text, greedy);
});

test("a word filter keeps a phrase out", async () => {
    const text = (await ask({ max_tokens: 60 })).choices[0].text;
    const word = text.match(/[a-z]{4,}/)[0];
    const listed = new RegExp(`\\b${word}\\b`, "i");
    assert.match(text, listed);
    const without = await ask({ max_tokens: 60, word_filter: [word] });
    assert.doesNotMatch(without.choices[0].text, listed);
    assert.ok(without.choices[0].text.length > 20);
    assert.equal(await joined({ max_tokens: 60, word_filter: [word] }), without.choices[0].text);
    const { BadRequestError } = t.require("openai");
    await t.refused(ask({ word_filter: ["little"] }), BadRequestError, { code: "content_filter" });
});

test("fields that change no text are accepted", async () => {
    const text = (await ask({ max_tokens: 10 })).choices[0].text;
    const same = await ask({
        max_tokens: 10,
        user: "someone",
        metadata: { a: "b" },
        store: true,
        service_tier: "auto",
        best_of: 1,
        n: 1,
        suffix: null,
        logprobs: null,
    });
    assert.equal(same.choices[0].text, text);
});

test("characters of several bytes are never split", async () => {
    // The bytes of one character and nothing else: the model draws among them, so that much of what
    // it says is no UTF-8, and among 1,600 tokens some are.
    for (const character of ["é", "€"]) {
        const ids = await t.tokenIds(server.url, character);
        assert.equal(ids.length, Buffer.byteLength(character), "a model with byte tokens for it");
        const fields = {
            n: 8,
            max_tokens: 200,
            temperature: 2,
            top_p: 1,
            top_k: 0,
            min_p: 0,
            seed: 3,
            logit_bias: Object.fromEntries(ids.map((id) => [id, 100])),
        };
        const whole = (await ask(fields)).choices.map((choice) => choice.text);
        assert.ok(whole.join("").includes(character));
        const parts = Array(8).fill("");
        const body = { model: "story", prompt: PROMPT, ...fields };
        for (const chunk of await t.chunksOf(`${server.url}/v1/completions`, body)) {
            const [{ index, text }] = chunk.choices;
            assert.ok(text.isWellFormed(), JSON.stringify(text));
            parts[index] += text;
        }
        assert.deepEqual(parts, whole);
    }

    const prompt = "Zoë 漢字 😀€ ";
    const echoed = await t.chunksOf(`${server.url}/v1/completions`, {
        model: "story",
        prompt: await t.tokenIds(server.url, prompt),
        echo: true,
        max_tokens: 0,
    });
    for (const chunk of echoed) {
        assert.ok(chunk.choices[0].text.isWellFormed());
        assert.doesNotMatch(chunk.choices[0].text, /\ufffd/);
    }
    assert.equal(echoed.map((chunk) => chunk.choices[0].text).join(""), prompt);
});

test("on the wire: no empty data, [DONE] at the end, integer indices", async () => {
    const chunks = await t.chunksOf(`${server.url}/v1/completions`, {
        prompt: [PROMPT, "The end"],
        n: 2,
        max_tokens: 6,
        logit_bias: { [t.END_TOKEN]: -100 },
        stream_options: { include_usage: true },
    });
    assert.deepEqual(chunks.at(-1).choices, []);
    const finished = new Set();
    for (const chunk of chunks.slice(0, -1)) {
        for (const choice of chunk.choices) {
            assert.ok(Number.isInteger(choice.index) && choice.index >= 0 && choice.index < 4);
            assert.ok(!finished.has(choice.index), "a chunk behind its choice's last");
            if (choice.finish_reason !== null) finished.add(choice.index);
        }
    }
    assert.equal(finished.size, 4);
    assert.equal(chunks.at(-1).usage.completion_tokens, 24);
});
