// SPDX-License-Identifier: MIT
// The typing endpoint on the wire: edits, suggestions with revisions, accepting, undoing.
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import * as t from "./harness.mjs";

let server;
before(async () => (server = await t.startServer()));
after(() => server.stop());

// A client of the endpoint as docs/SERVER.md describes it: a field, what was seen, and what is asked.
class Typist {
    static async open(options = {}) {
        const typist = new Typist();
        const { status, body } = await t.postJson(`${server.url}/v1/typing`, {
            min_chars: 0,
            ...options,
        });
        assert.equal(status, 201, JSON.stringify(body));
        assert.match(body.id, /^typ_\w+$/);
        assert.equal(body.object, "typing.session");
        assert.equal(body.model, "story");
        typist.url = `${server.url}/v1/typing/${body.id}`;
        typist.events = [];
        typist.before = "";
        await typist.listen();
        return typist;
    }
    async listen() {
        const response = await fetch(`${this.url}/events`);
        assert.equal(response.status, 200);
        assert.match(response.headers.get("content-type"), /^text\/event-stream/);
        const { events } = this;
        this.over = (async () => {
            for await (const event of t.eventsOf(response)) {
                if (event.data !== undefined)
                    events.push({ name: event.event, ...JSON.parse(event.data) });
            }
        })();
        this.over.catch(() => {});
        await t.until("ready", () => this.events.some((event) => event.name === "ready"));
    }
    async edit(before, after = "") {
        const { status, body } = await t.postJson(this.url, { before, after });
        assert.equal(status, 200, JSON.stringify(body));
        this.before = before;
        this.revision = body.revision;
        return body.revision;
    }
    suggestion(revision = this.revision, wanted = (event) => event.done && event.text !== "") {
        return t.until(`a suggestion of revision ${revision}`, () =>
            this.events.findLast(
                (event) =>
                    event.name === "suggestion" && event.revision === revision && wanted(event),
            ),
        );
    }
    call(name, body = {}) {
        return t.postJson(`${this.url}/${name}`, body);
    }
    apply(edit) {
        const { at, n_removed: n, text } = edit;
        this.before = this.before.slice(0, at) + text + this.before.slice(at + n);
        this.revision = edit.revision;
    }
    async close() {
        const response = await fetch(this.url, { method: "DELETE" });
        assert.equal(response.status, 204);
        await this.over;
        assert.deepEqual({ ...this.events.at(-1) }, { name: "closed", reason: "deleted" });
        const gone = await t.postJson(this.url, { before: "x", after: "" });
        assert.equal(gone.status, 404);
    }
}

test("an edit brings a suggestion that a greedy completion confirms", async () => {
    const typist = await Typist.open({ until: "length", max_tokens: 6 });
    const revision = await typist.edit("Once upon a time there was a little");
    const shown = await typist.suggestion();
    assert.equal(shown.revision, revision);
    assert.equal(shown.alternatives[0], shown.text);
    assert.equal(typeof shown.first_token_ms, "number");
    const { body } = await t.postJson(`${server.url}/v1/completions`, {
        prompt: "Once upon a time there was a little",
        temperature: 0,
        max_tokens: 6,
    });
    assert.ok(
        body.choices[0].text.startsWith(shown.text) || shown.text.startsWith(body.choices[0].text),
        `${JSON.stringify(shown.text)}, ${JSON.stringify(body.choices[0].text)}`,
    );
    await typist.close();
});

test("accepting word by word, the rest, and taking it back", async () => {
    const typist = await Typist.open({ max_tokens: 8 });
    const start = "Once upon a time there was a little";
    await typist.edit(start);
    const shown = await typist.suggestion(
        undefined,
        (event) => event.done && event.text.trim().includes(" "),
    );
    const word = await typist.call("accept", {
        revision: shown.revision,
        text: shown.text,
        unit: "word",
    });
    assert.equal(word.status, 200, JSON.stringify(word.body));
    assert.equal(word.body.at, start.length);
    assert.equal(word.body.n_removed, 0);
    assert.ok(
        shown.text.startsWith(word.body.text) && word.body.text.length < shown.text.length,
        JSON.stringify([shown, word.body]),
    );
    assert.match(word.body.text, /^\s*\S+\s?$/);
    typist.apply(word.body);

    const next = await typist.suggestion();
    assert.ok(next.text.startsWith(shown.text.slice(word.body.text.length)) || next.done);
    const rest = await typist.call("accept", {
        revision: next.revision,
        text: next.text,
        unit: "all",
    });
    assert.equal(rest.status, 200, JSON.stringify(rest.body));
    assert.equal(rest.body.text, next.text);
    typist.apply(rest.body);
    assert.equal(typist.before, start + word.body.text + next.text);

    for (const want of [start + word.body.text, start]) {
        const undone = await typist.call("undo");
        assert.equal(undone.status, 200, JSON.stringify(undone.body));
        typist.apply(undone.body);
        assert.equal(typist.before, want);
    }
    const nothing = await typist.call("undo");
    assert.equal(nothing.status, 404);
    assert.equal(nothing.body.error.code, "nothing_to_undo");
    await typist.close();
});

test("what was shown for an older text is stale", async () => {
    const typist = await Typist.open();
    await typist.edit("Once upon a");
    const shown = await typist.suggestion();
    await typist.edit("The big dog");
    const late = await typist.call("accept", {
        revision: shown.revision,
        text: shown.text,
        unit: "all",
    });
    assert.equal(late.status, 409, JSON.stringify(late.body));
    assert.equal(late.body.error.code, "stale");
    await typist.suggestion();
    await typist.close();
});

test("places count UTF-16 units", async () => {
    const typist = await Typist.open();
    const text = "😀 漢字é Once upon a";
    await typist.edit(text);
    const shown = await typist.suggestion();
    const { body } = await typist.call("accept", {
        revision: shown.revision,
        text: shown.text,
        unit: "all",
    });
    assert.equal(body.at, text.length);
    typist.apply(body);
    assert.equal(typist.before, text + shown.text);
    const undone = await typist.call("undo");
    typist.apply(undone.body);
    assert.equal(typist.before, text);
    await typist.close();
});

test("retry brings another, reject withdraws", async () => {
    const typist = await Typist.open({ max_tokens: 8 });
    await typist.edit("Once upon a time there was a little girl named");
    const shown = await typist.suggestion();
    const retry = await typist.call("retry");
    assert.equal(retry.status, 200, JSON.stringify(retry.body));
    assert.ok(retry.body.revision > shown.revision);
    const other = await typist.suggestion(retry.body.revision);
    assert.notEqual(other.text, shown.text);
    const reject = await typist.call("reject");
    assert.equal(reject.status, 200);
    const withdrawn = await typist.call("accept", {
        revision: other.revision,
        text: other.text,
        unit: "all",
    });
    assert.ok([404, 409].includes(withdrawn.status), JSON.stringify(withdrawn));
    await typist.close();
});

test("fast typing: only the newest text counts, revisions rise", async () => {
    const typist = await Typist.open();
    const text = "Once upon a time there was a little dog";
    for (let i = 1; i <= text.length; i++) await typist.edit(text.slice(0, i));
    const shown = await typist.suggestion();
    assert.equal(shown.revision, typist.revision);
    const revisions = typist.events
        .filter((event) => event.name === "suggestion")
        .map((event) => event.revision);
    assert.deepEqual(
        revisions,
        [...revisions].sort((a, b) => a - b),
    );
    await typist.close();
});

test("a second stream takes the first one's place", async () => {
    const typist = await Typist.open();
    const { over } = typist;
    const first = typist.events;
    typist.events = [];
    await typist.listen();
    await over;
    assert.deepEqual(first.at(-1), { name: "closed", reason: "replaced" });
    await typist.edit("Once upon a");
    await typist.suggestion();
    await typist.close();
});

test("a stream that is hung up leaves the session; another one finds it", async () => {
    const { body } = await t.postJson(`${server.url}/v1/typing`, {});
    const url = `${server.url}/v1/typing/${body.id}`;
    const control = new AbortController();
    const response = await fetch(`${url}/events`, { signal: control.signal });
    assert.equal(response.status, 200);
    control.abort();
    await response.text().catch(() => {});
    const edit = await t.postJson(url, { before: "Once upon a", after: "" });
    assert.equal(edit.status, 200);
    for await (const event of t.eventsOf(await fetch(`${url}/events`))) {
        if (event.event === "suggestion" && JSON.parse(event.data).text !== "") break;
    }
    assert.equal((await fetch(url, { method: "DELETE" })).status, 204);
});

test("refusals name the field", async () => {
    for (const [name, value] of Object.entries({
        model: 5,
        window_words: -1,
        max_tokens: "x",
        until: "dawn",
        alternatives: -1,
        min_chars: "x",
        deadline_ms: -5,
        word_filter: 5,
        stop: 5,
        no_such_field: 1,
    })) {
        const { status, body } = await t.postJson(`${server.url}/v1/typing`, { [name]: value });
        assert.equal(status, 400, name);
        assert.ok(body.error.param?.startsWith(name), JSON.stringify(body));
    }
    const { status, body } = await t.postJson(`${server.url}/v1/typing`, { model: "gpt-9" });
    assert.equal(status, 404);
    assert.equal(body.error.code, "model_not_found");
    assert.equal(
        (await t.postJson(`${server.url}/v1/typing/typ_none`, { before: "", after: "" })).status,
        404,
    );
    assert.equal((await fetch(`${server.url}/v1/typing/typ_none/events`)).status, 404);
});

test("SIGTERM closes the stream with a word", async () => {
    const other = await t.startServer();
    const { body } = await t.postJson(`${other.url}/v1/typing`, {});
    const names = [];
    for await (const event of t.eventsOf(await fetch(`${other.url}/v1/typing/${body.id}/events`))) {
        if (event.event === "ready") other.child.kill("SIGTERM");
        if (event.data !== undefined) names.push([event.event, JSON.parse(event.data).reason]);
    }
    assert.deepEqual(names.at(-1), ["closed", "stopping"]);
    await other.stop();
});
