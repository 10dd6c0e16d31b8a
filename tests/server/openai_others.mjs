// SPDX-License-Identifier: MIT
// Models, embeddings, tokens, health and figures.
import assert from "node:assert/strict";
import fs from "node:fs";
import test, { after, before } from "node:test";
import * as t from "./harness.mjs";

const { BadRequestError, NotFoundError } = t.require("openai");
let server, client;
before(async () => {
    const copy = t.scratch("other.gguf");
    fs.copyFileSync(t.storyModel, copy);
    server = await t.startServer(["-m", copy, "--id", "a/b c"]);
    client = t.newClient(server.url);
});
after(() => server.stop());

test("models are listed and found, also by an id with a slash", async () => {
    const list = await client.models.list();
    const ids = list.data.map((model) => model.id);
    assert.deepEqual([...ids].sort(), ["a/b c", "story"]);
    for (const model of list.data) {
        assert.equal(model.object, "model");
        assert.equal(typeof model.created, "number");
        assert.equal(typeof model.owned_by, "string");
        assert.deepEqual(await client.models.retrieve(model.id), model);
    }
    await t.refused(client.models.retrieve("a"), NotFoundError);
    const answer = await client.completions.create({
        model: "a/b c",
        prompt: "Once",
        max_tokens: 2,
    });
    assert.equal(answer.model, "a/b c");
});

test("embeddings: floats, base64, and what the client makes of them", async () => {
    const input = "The cat sat on the mat.";
    const float = await client.embeddings.create({
        model: "story",
        input,
        encoding_format: "float",
    });
    assert.equal(float.object, "list");
    assert.equal(float.model, "story");
    assert.equal(float.data.length, 1);
    assert.equal(float.data[0].object, "embedding");
    assert.equal(float.data[0].index, 0);
    const width = (await t.storyFacts(server.url)).n_embd;
    assert.equal(float.data[0].embedding.length, width);
    assert.ok(float.data[0].embedding.every(Number.isFinite));
    const ids = await t.tokenIds(server.url, input);
    assert.deepEqual(float.usage, { prompt_tokens: ids.length, total_tokens: ids.length });

    const decoded = await client.embeddings.create({ model: "story", input });
    const raw = await t.postJson(`${server.url}/v1/embeddings`, {
        model: "story",
        input,
        encoding_format: "base64",
    });
    const bytes = Buffer.from(raw.body.data[0].embedding, "base64");
    const little = Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
    assert.deepEqual(Array.from(decoded.data[0].embedding), little);
    // What is written in decimal is the very float.
    assert.deepEqual(float.data[0].embedding.map(Math.fround), little);
});

test("embeddings of texts, ids and lists of ids", async () => {
    const texts = ["The cat sat on the mat.", "A dog ran away.", "The cat sat on the mat."];
    const each = [];
    for (const input of texts) {
        const answer = await client.embeddings.create({
            model: "story",
            input,
            encoding_format: "float",
        });
        each.push(answer.data[0].embedding);
    }
    const ids = await Promise.all(texts.map((text) => t.tokenIds(server.url, text)));
    for (const input of [texts, ids]) {
        const answer = await client.embeddings.create({
            model: "story",
            input,
            encoding_format: "float",
        });
        assert.deepEqual(
            answer.data.map((one) => one.index),
            [0, 1, 2],
        );
        assert.deepEqual(
            answer.data.map((one) => one.embedding),
            each,
        );
    }
    const one = await client.embeddings.create({
        model: "story",
        input: ids[1],
        encoding_format: "float",
    });
    assert.deepEqual(one.data[0].embedding, each[1]);
    assert.notDeepEqual(each[0], each[1]);

    // The mean over the tokens: that of one and the same token alone is its own.
    const cosine = (a, b) =>
        a.reduce((sum, x, i) => sum + x * b[i], 0) / (Math.hypot(...a) * Math.hypot(...b));
    assert.ok(Math.abs(cosine(each[0], each[2]) - 1) < 1e-12);
    assert.ok(cosine(each[0], each[1]) < 0.9999);

    for (const fields of [
        { input: [] },
        { input: "" },
        { input: 5 },
        { input: [["x"]] },
        { encoding_format: "hex" },
        { dimensions: 7 },
    ]) {
        const error = await t.refused(
            client.embeddings.create({ model: "story", input: "x", ...fields }),
            BadRequestError,
        );
        assert.ok(
            error.param?.startsWith(Object.keys(fields)[0]),
            `${JSON.stringify(fields)}: ${error.param}`,
        );
    }
});

test("texts become tokens and again texts", async () => {
    for (const text of ["Once upon a time", "Zoë 漢字 😀", "", "a\u0000b\n"]) {
        const tokens = await t.tokenIds(server.url, text);
        const { status, body } = await t.postJson(`${server.url}/detokenize`, { tokens });
        assert.equal(status, 200);
        assert.equal(body.content, text);
    }
    const printed = t
        .run("tokenize", "Once upon a time")
        .trim()
        .split("\n")
        .map((line) => parseInt(line));
    assert.deepEqual(await t.tokenIds(server.url, "Once upon a time"), printed);
    const { status } = await t.postJson(`${server.url}/detokenize`, { tokens: [99999] });
    assert.equal(status, 400);
});

test("health and figures", async () => {
    const health = await fetch(`${server.url}/health`);
    assert.equal(health.status, 200);
    assert.equal((await health.json()).status, "ok");
    const response = await fetch(`${server.url}/metrics`);
    assert.match(response.headers.get("content-type"), /^text\/plain; version=0\.0\.4/);
    await response.text();
    const before = await server.figures();
    await client.completions.create({
        model: "story",
        prompt: "Once",
        max_tokens: 9,
        logit_bias: { [t.END_TOKEN]: -100 },
    });
    const after = await server.figures();
    const name = "inkling_generated_tokens_total";
    assert.equal(after.get(name) - before.get(name), 9);
    assert.match(after.text, /^# TYPE \w+ histogram$/m);
    assert.match(after.text, /^# TYPE \w+ counter$/m);
    assert.match(after.text, /^# TYPE \w+ gauge$/m);
});

test("many at once get what each of them gets alone", async () => {
    const prompts = Array.from(
        { length: 24 },
        (_, i) => `${["Once", "The", "One day", "A"][i % 4]} ${"the big ".repeat(i)}`,
    );
    const fields = { model: "story", max_tokens: 20, temperature: 0 };
    const alone = [];
    for (const prompt of prompts)
        alone.push((await client.completions.create({ ...fields, prompt })).choices[0].text);
    const together = await Promise.all(
        prompts.map(async (prompt, i) => {
            if (i % 2)
                return (await client.completions.create({ ...fields, prompt })).choices[0].text;
            let text = "";
            for await (const chunk of await client.completions.create({
                ...fields,
                prompt,
                stream: true,
            })) {
                text += chunk.choices[0].text;
            }
            return text;
        }),
    );
    assert.deepEqual(together, alone);
});
