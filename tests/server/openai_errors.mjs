// SPDX-License-Identifier: MIT
// Refusals as the official client tells them apart: the class, the field to blame, the code.
import assert from "node:assert/strict";
import http from "node:http";
import test, { after, before } from "node:test";
import * as t from "./harness.mjs";

const { AuthenticationError, BadRequestError, NotFoundError, RateLimitError } = t.require("openai");
let server, client;
before(async () => {
    server = await t.startServer();
    client = t.newClient(server.url);
});
after(() => server.stop());

function ask(fields) {
    return client.completions.create({ model: "story", prompt: "Once upon a time", ...fields });
}

test("each wrong field is named", async () => {
    const cases = [
        { temperature: -1 },
        { temperature: "hot" },
        { top_p: 1.5 },
        { max_tokens: -1 },
        { max_tokens: 1.5 },
        { max_tokens: "8" },
        { n: 0 },
        { n: 100000 },
        { stop: ["a", "b", "c", "d", 5] },
        { stop: 7 },
        { seed: "x" },
        { logprobs: -1 },
        { logprobs: 10000 },
        { logit_bias: { "no id": 1 } },
        { logit_bias: { 99999: 1 } },
        { logit_bias: { 1: 1000 } },
        { logit_bias: [1] },
        { presence_penalty: 9 },
        { frequency_penalty: -9 },
        { suffix: "and the end" },
        { best_of: 5 },
        { top_k: -1 },
        { min_p: 2 },
        { repeat_penalty: -1 },
        { word_filter: "x" },
        { word_filter: [""] },
        { deadline_ms: -1 },
        { priority: "now" },
        { prompt: 5 },
        { prompt: {} },
        { prompt: [1, "a"] },
        { prompt: [99999] },
        { prompt: [-1] },
        { prompt: [1.5] },
        { echo: 1 },
        { stream: "yes" },
        { stream_options: 1 },
        { no_such_field: 1 },
        { model: 5 },
    ];
    for (const fields of cases) {
        const [name] = Object.keys(fields);
        const error = await t.refused(ask(fields), BadRequestError, { status: 400 });
        assert.equal(error.type, "invalid_request_error", JSON.stringify(fields));
        assert.ok(
            error.param === name || error.param?.startsWith(name),
            `${JSON.stringify(fields)}: ${error.param}`,
        );
        assert.ok(
            error.error.message.includes(name) || error.error.message.length > 15,
            error.error.message,
        );
        assert.match(error.requestID, /^req_/);
    }
    // Nothing of it has hurt.
    assert.equal(
        (await ask({ max_tokens: 3, logit_bias: { [t.END_TOKEN]: -100 } })).usage.completion_tokens,
        3,
    );
});

test("a prompt over the context", async () => {
    const prompt = "the cat and ".repeat(3000);
    for (const stream of [false, true]) {
        await t.refused(ask({ prompt, stream, max_tokens: 5 }), BadRequestError, {
            code: "context_length_exceeded",
        });
    }
    await t.refused(
        client.chat.completions.create({
            model: "story",
            messages: [{ role: "user", content: prompt }],
        }),
        BadRequestError,
        { code: "context_length_exceeded" },
    );
    await t.refused(client.embeddings.create({ model: "story", input: prompt }), BadRequestError, {
        code: "context_length_exceeded",
    });
    // Room for the prompt is enough: what is asked for beyond the context is not there to be had.
    const answer = await ask({ max_tokens: 1000, logit_bias: { [t.END_TOKEN]: -100 } });
    assert.equal(answer.choices[0].finish_reason, "length");
    assert.equal(answer.inkling.stop, "context");
    const context = (await t.storyFacts(server.url)).n_ctx;
    assert.ok(answer.usage.total_tokens <= context + 1, JSON.stringify(answer.usage));
});

test("no such model, path or method", async () => {
    await t.refused(ask({ model: "gpt-9" }), NotFoundError, {
        code: "model_not_found",
        param: "model",
    });
    await t.refused(client.models.retrieve("gpt-9"), NotFoundError, { code: "model_not_found" });
    await t.refused(client.files.list(), NotFoundError, { status: 404 });
    const response = await fetch(`${server.url}/v1/completions`);
    assert.equal(response.status, 405);
    assert.match(response.headers.get("allow"), /POST/);
    assert.ok((await response.json()).error.message);
});

test("bodies that are no request", async () => {
    const bodies = [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        '{"prompt": "a"} x',
        "[".repeat(100000),
        '{"prompt": 1e999}',
        '{"prompt": "\\ud800"}',
        Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
        '{"prompt": "a", "prompt": "b"}',
    ];
    for (const body of bodies) {
        const {
            status,
            body: answer,
            headers,
        } = await t.postJson(`${server.url}/v1/completions`, body);
        assert.equal(status, 400, String(body).slice(0, 40));
        assert.deepEqual(Object.keys(answer.error).sort(), ["code", "message", "param", "type"]);
        assert.equal(answer.error.type, "invalid_request_error");
        assert.match(headers.get("x-request-id"), /^req_/);
    }
    const { status } = await t.postJson(
        `${server.url}/v1/completions`,
        `{"prompt": "${"a".repeat(5 << 20)}"}`,
    );
    assert.equal(status, 413);
});

test("a body in small pieces is one body", async () => {
    const body = JSON.stringify({ prompt: "Once upon a time", max_tokens: 4, temperature: 0 });
    const answer = await new Promise((resolve, reject) => {
        const request = http.request(
            `${server.url}/v1/completions`,
            { method: "POST", headers: { "content-type": "application/json" } },
            (response) => {
                let text = "";
                response.on("data", (part) => (text += part)).on("end", () => resolve(text));
            },
        );
        request.on("error", reject);
        for (const letter of body) request.write(letter);
        request.end();
    });
    assert.equal(JSON.parse(answer).usage.completion_tokens, 4);
});

test("a key opens the door, and no other", async () => {
    const file = t.scratch("keys");
    (await import("node:fs")).writeFileSync(file, "from-a-file\n");
    for (const [args, key] of [
        [["--api-key", "open-sesame"], "open-sesame"],
        [["--api-key-file", file], "from-a-file"],
    ]) {
        const locked = await t.startServer(args);
        for (const wrong of ["", "open", key + "x", key.toUpperCase(), "x".repeat(5000)]) {
            const error = await t.refused(
                t.newClient(locked.url, { apiKey: wrong || " " }).models.list(),
                AuthenticationError,
                { status: 401 },
            );
            assert.equal(error.code, "invalid_api_key");
        }
        const bare = await fetch(`${locked.url}/v1/models`);
        assert.equal(bare.status, 401);
        assert.ok(bare.headers.get("www-authenticate"));
        await bare.text();
        const good = t.newClient(locked.url, { apiKey: key });
        assert.equal((await good.models.list()).data.length, 1);
        assert.equal((await fetch(`${locked.url}/health`)).status, 200);
        assert.ok(!locked.log().includes(key), "the key is in the log");
        await locked.stop();
    }
});

test("a full queue is a RateLimitError, and goes by", async () => {
    const small = await t.startServer(["-m", t.longModel(), "--parallel", "1", "--queue", "1"]);
    const one = t.newClient(small.url);
    const long = {
        model: "long",
        prompt: "Once",
        max_tokens: t.LONG_CONTEXT - 100,
        logit_bias: { [t.END_TOKEN]: -100 },
    };
    const running = await one.completions.create({ ...long, stream: true });
    const waiting = new AbortController();
    const second = one.completions.create(long, { signal: waiting.signal });
    second.catch(() => {});
    // Who is refused tells that the queue is full; until then what was let in is called off again.
    const error = await t.until("a full queue", async () => {
        const third = new AbortController();
        const attempt = one.completions.create({ ...long, stream: true }, { signal: third.signal });
        try {
            const stream = await attempt;
            stream.controller.abort();
            return undefined;
        } catch (reason) {
            return reason;
        }
    });
    assert.ok(error instanceof RateLimitError, String(error));
    assert.ok(Number(error.headers.get("retry-after")) >= 1);
    assert.ok(error.message.length > 10);
    running.controller.abort();
    waiting.abort();
    await t.until("an empty queue", async () => {
        try {
            return (
                (await one.completions.create({ ...long, max_tokens: 2 })).usage
                    .completion_tokens === 2
            );
        } catch (reason) {
            assert.ok(reason instanceof RateLimitError, String(reason));
            return false;
        }
    });
    await small.stop();
});
