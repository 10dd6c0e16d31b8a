// SPDX-License-Identifier: MIT
// What the tests of `inkling serve` share: a server as a child process, waiting for conditions, its
// figures, and streams byte by byte.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { execFileSync, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { after } from "node:test";
import { writeLongModel } from "./long_model.mjs";

const packages = process.env.SERVER_TEST_PACKAGES;
if (!packages) throw new Error("SERVER_TEST_PACKAGES names no folder: run openai.sh or browser.sh");
export const require = createRequire(path.join(path.resolve(packages), "index.js"));

export const program = process.env.INKLING_PROGRAM;
const root = process.env.INKLING_SOURCE_DIR ?? new URL("../..", import.meta.url).pathname;
/** The file that the program holds as its built-in model. */
export const storyModel = process.env.INKLING_STORY ?? path.join(root, "models", "story.gguf");

// No verdict hangs on this: it only ends a test that would wait for ever.
export const FOREVER_MS = 120000;

export function sleep(ms) {
    return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until `condition` gives something true, and returns that. `what`: a text, or what makes it. */
export async function until(what, condition) {
    const end = Date.now() + FOREVER_MS;
    for (;;) {
        const value = await condition();
        if (value) return value;
        if (Date.now() > end) {
            throw new Error(`waited in vain for: ${typeof what === "string" ? what : what()}`);
        }
        await sleep(10);
    }
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "inkling-server-test-"));
const children = new Set();
process.on("exit", () => {
    for (const child of children) child.kill("SIGKILL");
    fs.rmSync(folder, { recursive: true, force: true });
});
// A test that fails leaves its server, and a script does not end before its children.
after(() => setTimeout(() => children.forEach((child) => child.kill("SIGKILL")), 60000).unref());
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

export function scratch(name) {
    return path.join(folder, name);
}

/** The path of a model that reads and writes like the built-in one, and writes on and on. */
export function longModel() {
    const file = scratch("long.gguf");
    if (!fs.existsSync(file)) writeLongModel(storyModel, file, LONG_CONTEXT);
    return file;
}
export const LONG_CONTEXT = 16384;
export const END_TOKEN = JSON.parse(run("inspect", "--json", storyModel)).end_token;

/** What the program prints on standard output. */
export function run(...args) {
    return execFileSync(program, args, { encoding: "utf8", maxBuffer: 1 << 26 });
}

/** Starts `inkling serve` and waits until its models are open. */
export async function startServer(args = [], { port = 0, ready = true } = {}) {
    const child = spawn(program, ["serve", "--port", String(port), ...args], {
        stdio: ["ignore", "pipe", "pipe"],
    });
    children.add(child);
    let log = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (log += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (log += text));
    const ended = new Promise((resolve) => {
        child.on("close", (code, signal) => {
            children.delete(child);
            resolve({ code, signal });
        });
    });
    const url = await until("the address of the server", async () => {
        if (child.exitCode !== null) {
            await ended;
            throw new Error(`the server ended: ${log}`);
        }
        return log.match(/http:\/\/127\.0\.0\.1:\d+/)?.[0];
    });
    const server = {
        url,
        port: Number(new URL(url).port),
        child,
        log: () => log,
        /** Ends it and looks at how it ended. */
        async stop() {
            child.kill("SIGTERM");
            const { code, signal } = await ended;
            assert.deepEqual({ code, signal }, { code: 0, signal: null }, log);
            assert.doesNotMatch(log, /Sanitizer|runtime error/, log);
        },
        async kill() {
            child.kill("SIGKILL");
            await ended;
        },
        ended,
        figures: () => figures(url),
    };
    if (ready) {
        await until("the models to be open", async () => {
            const response = await fetch(`${url}/health`);
            const text = await response.text();
            assert.ok([200, 503].includes(response.status), `/health: ${response.status} ${text}`);
            return response.status === 200;
        });
    }
    return server;
}

/** Starts it at a port that a connection of anybody may have for a while. */
export async function startServerAt(port, args = []) {
    return until(`port ${port} to be free`, async () => {
        try {
            return await startServer(args, { port });
        } catch (error) {
            if (!/in use/.test(error.message)) throw error;
            return undefined;
        }
    });
}

// --- figures -------------------------------------------------------------------------------------

/** GET /metrics: each name's sum over its labels. */
export async function figures(url) {
    const response = await fetch(`${url}/metrics`);
    const text = await response.text();
    const sums = new Map();
    for (const line of text.split("\n")) {
        if (line === "" || line.startsWith("#")) continue;
        const match = line.match(/^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? (\S+)$/);
        assert.ok(match, `no line of Prometheus: ${line}`);
        sums.set(match[1], (sums.get(match[1]) ?? 0) + Number(match[3]));
    }
    return {
        text,
        get(name) {
            assert.ok(sums.has(name), `no ${name} in\n${text}`);
            return sums.get(name);
        },
    };
}

// --- streams -------------------------------------------------------------------------------------

/** The events of a stream, as { event, data } or { comment }, from the bytes of its body. */
export async function* eventsOf(response) {
    const decoder = new TextDecoder("utf-8", { fatal: true });
    let rest = Buffer.alloc(0);
    for await (const bytes of response.body) {
        rest = Buffer.concat([rest, bytes]);
        for (;;) {
            const end = rest.indexOf("\n\n");
            if (end < 0) break;
            // Each event by itself must be whole UTF-8.
            yield readEvent(decoder.decode(rest.subarray(0, end)));
            rest = rest.subarray(end + 2);
        }
    }
    assert.equal(rest.length, 0, `behind the last event: ${JSON.stringify(rest.toString())}`);
}

function readEvent(block) {
    const event = { event: undefined, data: undefined, comment: undefined };
    for (const line of block.split("\n")) {
        if (line.startsWith(":")) {
            event.comment = line.slice(1);
            continue;
        }
        const match = line.match(/^(event|data): (.+)$/);
        assert.ok(match, `neither event, data nor comment: ${JSON.stringify(line)}`);
        assert.equal(event[match[1]], undefined, `twice in an event: ${block}`);
        event[match[1]] = match[2];
    }
    assert.ok(event.data !== undefined || event.comment !== undefined, block);
    return event;
}

/** POSTs a request for a stream and checks its form; the chunks. */
export async function chunksOf(url, body, { headers = {}, done = true } = {}) {
    const response = await post(url, { stream: true, ...body }, headers);
    assert.equal(response.status, 200, response.status === 200 ? "" : await response.text());
    assert.match(response.headers.get("content-type"), /^text\/event-stream/);
    const data = [];
    for await (const event of eventsOf(response)) {
        assert.equal(event.event, undefined);
        if (event.data !== undefined) data.push(event.data);
    }
    if (done) assert.equal(data.pop(), "[DONE]");
    return data.map((line) => JSON.parse(line));
}

export function post(url, body, headers = {}) {
    return fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body),
    });
}

/** What a server tells of its built-in model: n_ctx, n_embd and the like. */
export async function storyFacts(url) {
    const list = await (await fetch(`${url}/v1/models`)).json();
    return list.data.find((model) => model.id === "story").inkling;
}

export async function postJson(url, body, headers) {
    const response = await post(url, body, headers);
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: JSON.parse(text) };
}

export async function tokenIds(url, text, model) {
    const { status, body } = await postJson(`${url}/tokenize`, { content: text, model });
    assert.equal(status, 200, JSON.stringify(body));
    return body.tokens;
}

// --- the client ----------------------------------------------------------------------------------

export function newClient(url, options = {}) {
    const { OpenAI } = require("openai");
    return new OpenAI({ apiKey: "none", baseURL: `${url}/v1`, maxRetries: 0, ...options });
}

/** Awaits a promise that must be rejected by an error of this class. */
export async function refused(promise, Class, fields = {}) {
    const error = await promise.then(
        (value) => assert.fail(`not refused: ${JSON.stringify(value)}`),
        (reason) => reason,
    );
    assert.ok(error instanceof Class, `${error?.constructor?.name}: ${error?.stack}`);
    for (const [name, want] of Object.entries(fields)) {
        assert.equal(error[name], want, `${name} of ${JSON.stringify(error.error)}`);
    }
    assert.ok(error.message.length > 8, error.message);
    return error;
}
