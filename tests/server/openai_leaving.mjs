// SPDX-License-Identifier: MIT
// Clients that go before the end, and a server that does.
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import * as t from "./harness.mjs";

const RUNNING = "inkling_requests_running",
    HUNG_UP = "inkling_hung_up_total",
    GENERATED = "inkling_generated_tokens_total";
let server, client;
before(async () => {
    server = await t.startServer(["-m", t.longModel()]);
    client = t.newClient(server.url);
});
after(() => server.stop());

const MOST = t.LONG_CONTEXT - 100;
const fields = { model: "long", max_tokens: MOST, logit_bias: { [t.END_TOKEN]: -100 } };
const messages = [{ role: "user", content: "Once upon a time" }];

// Whatever leave does, the server notices it and stops decoding.
async function stopsDecoding(leave, n = 1) {
    const begin = await server.figures();
    await leave();
    const end = await t.until("nothing running", async () => {
        const figures = await server.figures();
        return figures.get(RUNNING) === 0 && figures.get(HUNG_UP) > begin.get(HUNG_UP) && figures;
    });
    assert.equal(end.get(HUNG_UP) - begin.get(HUNG_UP), 1);
    const generated = end.get(GENERATED) - begin.get(GENERATED);
    assert.ok(generated < n * MOST, `${generated} tokens of ${n * MOST}`);
    return generated;
}

test("a stream that is aborted half-way stops the decoding", async () => {
    await stopsDecoding(async () => {
        let n = 0;
        for await (const chunk of await client.completions.create({
            ...fields,
            prompt: "Once",
            stream: true,
        })) {
            assert.ok(chunk.choices[0].text !== undefined);
            if (++n === 5) break; // which aborts the request
        }
    });
});

test("so does abort() of the .stream() helper", async () => {
    const { APIUserAbortError } = t.require("openai");
    await stopsDecoding(async () => {
        const stream = client.chat.completions.stream({ ...fields, messages });
        stream.on("content", () => stream.abort());
        await assert.rejects(stream.done(), APIUserAbortError);
        assert.ok(stream.aborted);
    });
});

test("so does a stream with several choices", async () => {
    await stopsDecoding(async () => {
        const stream = await client.chat.completions.create({
            ...fields,
            messages,
            n: 3,
            stream: true,
        });
        for await (const chunk of stream) if (chunk.choices[0].delta.content) break;
    }, 3);
});

test("so does one who waits for a whole answer, running or in the queue", async () => {
    await stopsDecoding(async () => {
        const control = new AbortController();
        const answer = client.completions.create(
            { ...fields, prompt: "Once" },
            { signal: control.signal },
        );
        await t.until("it runs", async () => (await server.figures()).get(RUNNING) === 1);
        control.abort();
        await assert.rejects(answer);
    });
});

test("the server goes on for others", async () => {
    const answer = await client.completions.create({ ...fields, prompt: "Once", max_tokens: 5 });
    assert.equal(answer.usage.completion_tokens, 5);
});

test("SIGTERM lets a stream come to its end", async () => {
    const other = await t.startServer(["-m", t.longModel(), "--drain-ms", "200000"]);
    const more = {
        ...fields,
        prompt: "Once",
        max_tokens: 300,
        stream_options: { include_usage: true },
    };
    const response = await t.post(`${other.url}/v1/completions`, { ...more, stream: true });
    let stopped;
    const data = [];
    for await (const event of t.eventsOf(response)) {
        if (event.data !== undefined) data.push(event.data);
        stopped ??= other.stop();
    }
    await stopped;
    assert.equal(data.pop(), "[DONE]");
    assert.equal(JSON.parse(data.pop()).usage.completion_tokens, 300);
    assert.equal(JSON.parse(data.pop()).choices[0].finish_reason, "length");
});

test("SIGTERM ends what would not end", async () => {
    const other = await t.startServer(["-m", t.longModel(), "--drain-ms", "50"]);
    const response = await t.post(`${other.url}/v1/completions`, {
        ...fields,
        prompt: ["Once", "The", "A", "One"],
        n: 2,
        stream: true,
    });
    let stopped;
    const data = [];
    for await (const event of t.eventsOf(response)) {
        if (event.data !== undefined) data.push(event.data);
        stopped ??= other.stop();
    }
    await stopped;
    assert.ok(data.length > 0);
    for (const line of data) if (line !== "[DONE]") JSON.parse(line);
});
