// SPDX-License-Identifier: MIT
// POST /v1/chat/completions through the official client, and its .stream() helper.
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import * as t from "./harness.mjs";

const messages = [
    { role: "system", content: "You tell stories." },
    { role: "user", content: "Tell me about a cat." },
];
let server, client;
before(async () => {
    server = await t.startServer();
    client = t.newClient(server.url);
});
after(() => server.stop());

const fields = { model: "story", messages, temperature: 0, max_completion_tokens: 24 };
function ask(more) {
    return client.chat.completions.create({ ...fields, ...more });
}

test("a chat completion has all of its fields", async () => {
    const answer = await ask({});
    assert.match(answer.id, /^chatcmpl-\w{8,}$/);
    assert.equal(answer.object, "chat.completion");
    assert.equal(answer.model, "story");
    assert.equal(answer.choices.length, 1);
    const [choice] = answer.choices;
    assert.equal(choice.index, 0);
    assert.equal(choice.message.role, "assistant");
    assert.equal(typeof choice.message.content, "string");
    assert.equal(choice.message.refusal ?? null, null);
    assert.ok(["stop", "length"].includes(choice.finish_reason));
    assert.equal(
        answer.usage.total_tokens,
        answer.usage.prompt_tokens + answer.usage.completion_tokens,
    );
    assert.ok(answer.usage.prompt_tokens > 5);
    assert.equal(typeof answer.inkling.stop, "string");
});

test("max_tokens and max_completion_tokens mean the same", async () => {
    const bias = { [t.END_TOKEN]: -100 };
    const one = await ask({ max_completion_tokens: 7, logit_bias: bias });
    const two = await ask({ max_completion_tokens: undefined, max_tokens: 7, logit_bias: bias });
    assert.equal(one.choices[0].message.content, two.choices[0].message.content);
    assert.ok(one.usage.completion_tokens <= 7);
});

test("chunks: the role in the first delta, the reason in the last, usage without choices", async () => {
    const chunks = await t.chunksOf(`${server.url}/v1/chat/completions`, {
        ...fields,
        stream_options: { include_usage: true },
    });
    const last = chunks.pop();
    assert.deepEqual(last.choices, []);
    assert.equal(last.usage.total_tokens, last.usage.prompt_tokens + last.usage.completion_tokens);
    assert.equal(chunks[0].choices[0].delta.role, "assistant");
    let text = "";
    for (const chunk of chunks) {
        assert.equal(chunk.object, "chat.completion.chunk");
        assert.equal(chunk.id, last.id);
        assert.equal(chunk.choices.length, 1);
        assert.ok(Number.isInteger(chunk.choices[0].index));
        assert.equal(typeof chunk.choices[0].delta, "object");
        assert.equal(chunk.usage ?? null, null);
        text += chunk.choices[0].delta.content ?? "";
    }
    const reasons = chunks.map((chunk) => chunk.choices[0].finish_reason);
    assert.ok(["stop", "length"].includes(reasons.pop()));
    assert.ok(reasons.every((reason) => reason === null));
    assert.equal(text, (await ask({})).choices[0].message.content);
    assert.ok(chunks.at(-1).inkling.stop);
});

test("the .stream() helper puts the answer together", async () => {
    const whole = await ask({});
    const events = [];
    const stream = client.chat.completions.stream({
        ...fields,
        stream_options: { include_usage: true },
    });
    let snapshot = "";
    stream.on("content", (delta, all) => {
        events.push(delta);
        snapshot = all;
    });
    let ended = false;
    stream.on("end", () => (ended = true));
    const completion = await stream.finalChatCompletion();
    await stream.done();
    assert.equal(await stream.finalContent(), whole.choices[0].message.content);
    assert.equal(events.join(""), whole.choices[0].message.content);
    assert.equal(snapshot, whole.choices[0].message.content);
    assert.equal((await stream.finalMessage()).role, "assistant");
    assert.equal(completion.choices[0].finish_reason, whole.choices[0].finish_reason);
    // What a cache held already may differ.
    const counts = ({ prompt_tokens, completion_tokens, total_tokens }) => ({
        prompt_tokens,
        completion_tokens,
        total_tokens,
    });
    assert.deepEqual(counts(completion.usage), counts(whole.usage));
    assert.deepEqual(counts(await stream.totalUsage()), counts(whole.usage));
    assert.ok(ended);
});

test("the .stream() helper with several choices and log-probabilities", async () => {
    const completion = await client.chat.completions
        .stream({ ...fields, n: 3, temperature: 1, seed: 4, logprobs: true, top_logprobs: 2 })
        .finalChatCompletion();
    assert.deepEqual(
        completion.choices.map((choice) => choice.index),
        [0, 1, 2],
    );
    for (const choice of completion.choices) {
        assert.equal(choice.message.role, "assistant");
        assert.equal(
            choice.logprobs.content.map((token) => token.token).join(""),
            choice.message.content,
        );
    }
});

test("log-probabilities, with bytes", async () => {
    const answer = await ask({ logprobs: true, top_logprobs: 4, max_completion_tokens: 12 });
    const { message, logprobs } = answer.choices[0];
    assert.ok(logprobs.content.length > 0 && logprobs.content.length <= 12);
    assert.equal(
        Buffer.from(logprobs.content.flatMap((token) => token.bytes)).toString(),
        message.content,
    );
    for (const token of logprobs.content) {
        assert.ok(token.logprob <= 0);
        assert.equal(token.top_logprobs.length, 4);
        assert.deepEqual(token.bytes, [...Buffer.from(token.token)]);
        const values = token.top_logprobs.map((top) => top.logprob);
        assert.deepEqual(
            values,
            [...values].sort((a, b) => b - a),
        );
        assert.ok(Math.abs(token.logprob - values[0]) < 1e-6, "greedy is the best");
        for (const top of token.top_logprobs) assert.ok("bytes" in top && "token" in top);
    }
    const streamed = [];
    for await (const chunk of await ask({
        logprobs: true,
        top_logprobs: 4,
        max_completion_tokens: 12,
        stream: true,
    })) {
        streamed.push(...(chunk.choices[0].logprobs?.content ?? []));
    }
    assert.deepEqual(streamed, logprobs.content);
    assert.equal((await ask({})).choices[0].logprobs, null);
});

test("several choices, and a seed", async () => {
    const more = { n: 3, temperature: 1, seed: 11 };
    const answer = await ask(more);
    const texts = answer.choices.map((choice) => choice.message.content);
    assert.ok(new Set(texts).size > 1);
    assert.deepEqual(
        (await ask(more)).choices.map((choice) => choice.message.content),
        texts,
    );
    const parts = ["", "", ""];
    const roles = [];
    for await (const chunk of await ask({ ...more, stream: true })) {
        for (const { index, delta } of chunk.choices) {
            if (roles[index] === undefined) {
                assert.equal(delta.role, "assistant", `first delta of ${index}`);
                roles[index] = delta.role;
            }
            parts[index] += delta.content ?? "";
        }
    }
    assert.deepEqual(parts, texts);
});

test("stop strings", async () => {
    const text = (await ask({})).choices[0].message.content;
    const word = text.trim().split(/\s+/)[3];
    const answer = await ask({ stop: [word] });
    assert.equal(answer.choices[0].message.content, text.slice(0, text.indexOf(word)));
    assert.equal(answer.choices[0].finish_reason, "stop");
});

test("content may be a list of texts, and every role of texts is read", async () => {
    const text = (await ask({})).choices[0].message.content;
    const parts = messages.map(({ role, content }) => ({
        role,
        content: [{ type: "text", text: content }],
    }));
    assert.equal((await ask({ messages: parts })).choices[0].message.content, text);
    const turns = [
        { role: "developer", content: "You tell stories." },
        { role: "user", content: "Hello." },
        { role: "assistant", content: "Hi, Tom." },
        { role: "user", content: "Who is there?", name: "Tom" },
    ];
    const answer = await ask({ messages: turns });
    assert.equal(typeof answer.choices[0].message.content, "string");
    assert.notEqual(answer.usage.prompt_tokens, (await ask({})).usage.prompt_tokens);
});

const catSchema = {
    type: "object",
    properties: {
        name: { type: "string", minLength: 1, maxLength: 10 },
        age: { type: "integer", minimum: 0, maximum: 30 },
        colours: { type: "array", items: { enum: ["black", "white"] }, maxItems: 3 },
    },
    required: ["name", "age", "colours"],
    additionalProperties: false,
};
const asCat = {
    type: "json_schema",
    json_schema: { name: "cat", strict: true, schema: catSchema },
};

function checkCat(text) {
    const cat = JSON.parse(text);
    assert.deepEqual(Object.keys(cat), ["name", "age", "colours"]);
    assert.ok([...cat.name].length >= 1 && [...cat.name].length <= 10, text);
    assert.ok(Number.isInteger(cat.age) && cat.age >= 0 && cat.age <= 30, text);
    assert.ok(cat.colours.length <= 3, text);
    for (const colour of cat.colours) assert.ok(["black", "white"].includes(colour), text);
}

test("response_format: every answer is valid for the schema, streamed or not", async () => {
    const more = {
        response_format: asCat,
        temperature: 1.2,
        max_completion_tokens: 120,
        n: 4,
        seed: 21,
        logprobs: true,
    };
    const answer = await ask(more);
    for (const choice of answer.choices) {
        checkCat(choice.message.content);
        assert.equal(choice.finish_reason, "stop");
        const tokens = choice.logprobs.content.map((token) => token.token);
        assert.equal(tokens.join(""), choice.message.content);
    }
    assert.ok(new Set(answer.choices.map((choice) => choice.message.content)).size > 1);
    const completion = await client.chat.completions
        .stream({ ...fields, ...more })
        .finalChatCompletion();
    assert.deepEqual(
        completion.choices.map((choice) => choice.message.content),
        answer.choices.map((choice) => choice.message.content),
    );
});

test("response_format: the client's .parse() gives the object", async () => {
    const parsed = await client.chat.completions.parse({
        ...fields,
        response_format: asCat,
        max_completion_tokens: 120,
    });
    checkCat(parsed.choices[0].message.content);
    const any = await ask({
        response_format: { type: "json_object" },
        max_completion_tokens: 8,
        temperature: 1,
    });
    assert.equal(any.choices[0].message.content[0], "{");
    const cut = await ask({ response_format: asCat, max_completion_tokens: 4 });
    assert.equal(cut.choices[0].finish_reason, "length");
    assert.ok('{"name": "'.startsWith(cut.choices[0].message.content.slice(0, 10)));
});

test("response_format: a schema that is not understood is refused by name and place", async () => {
    const { BadRequestError } = t.require("openai");
    const schema = { type: "object", properties: { a: { not: {} } } };
    const error = await t.refused(
        ask({ response_format: { type: "json_schema", json_schema: { name: "x", schema } } }),
        BadRequestError,
        { status: 400, param: "response_format.json_schema.schema", code: "unsupported" },
    );
    assert.match(error.message, /properties\/a\/not: line 1, column \d+/);
    await t.refused(ask({ response_format: asCat, grammar: 'root ::= "a"' }), BadRequestError, {
        param: "grammar",
    });
});

test("llama.cpp's grammar and samplers go through the client", async () => {
    const answer = await ask({
        grammar: 'root ::= ("yes" | "no") "."',
        samplers: ["top_k", "temperature"],
        top_k: 5,
    });
    assert.match(answer.choices[0].message.content, /^(yes|no)\.$/);
    assert.equal(answer.choices[0].finish_reason, "stop");
});

test("what changes the text and is not there is refused by name", async () => {
    const { BadRequestError } = t.require("openai");
    const cases = {
        tools: [{ type: "function", function: { name: "f", parameters: {} } }],
        functions: [{ name: "f" }],
        response_format: { type: "xml" },
        modalities: ["text", "audio"],
        audio: { voice: "alloy", format: "mp3" },
        web_search_options: {},
        no_such_field: 1,
    };
    for (const [param, value] of Object.entries(cases)) {
        const error = await t.refused(ask({ [param]: value }), BadRequestError, { status: 400 });
        assert.ok(
            error.param === param || error.param?.startsWith(`${param}`),
            `${param}: ${error.param}`,
        );
        assert.equal(error.type, "invalid_request_error");
    }
    const image = [
        { role: "user", content: [{ type: "image_url", image_url: { url: "data:," } }] },
    ];
    const error = await t.refused(ask({ messages: image }), BadRequestError);
    assert.match(error.param, /^messages/);
    for (const bad of [
        [],
        [{ role: "user" }],
        [{ role: "nobody", content: "x" }],
        [{ content: "x" }],
        ["x"],
    ]) {
        const { param } = await t.refused(ask({ messages: bad }), BadRequestError);
        assert.match(param, /^messages/, JSON.stringify(bad));
    }
});

test("what changes nothing is accepted", async () => {
    const text = (await ask({})).choices[0].message.content;
    const answer = await ask({
        metadata: { a: "b" },
        store: false,
        service_tier: "auto",
        user: "u",
        safety_identifier: "s",
        prompt_cache_key: "k",
        response_format: { type: "text" },
        tools: null,
        parallel_tool_calls: true,
        reasoning_effort: null,
        tool_choice: "none",
        modalities: ["text"],
    });
    assert.equal(answer.choices[0].message.content, text);
});
