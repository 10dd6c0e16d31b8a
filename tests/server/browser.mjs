// SPDX-License-Identifier: MIT
// What the tests of the demo page share: a browser, pages that tell whatever goes wrong in them, and
// that reach nothing but the server under test.
import assert from "node:assert/strict";
import { FOREVER_MS, require, until } from "./harness.mjs";

const { chromium } = require("playwright-core");

export async function openBrowser() {
    return chromium.launch({
        executablePath: process.env.CHROMIUM,
        // Containers have little shared memory, and Chromium stands still without.
        args: [
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ],
    });
}

/** A page in a profile of its own, with `troubles`: what it complained of and where it wanted to. */
export async function openPage(browser, url, { expected = [], goto = true, ...options } = {}) {
    const context = await browser.newContext({
        locale: "en-GB",
        viewport: { width: 1100, height: 800 },
        ...options,
    });
    context.setDefaultTimeout(FOREVER_MS);
    const troubles = [];
    const tell = (text) => {
        if (!expected.some((pattern) => pattern.test(text))) troubles.push(text);
    };
    await context.route("**/*", (route) => {
        const wanted = route.request().url();
        if (wanted.startsWith(`${url}/`)) return route.continue();
        tell(`asked for ${wanted}`);
        return route.abort();
    });
    await context.exposeBinding("tellViolation", (_, text) => tell(`policy: ${text}`));
    await context.addInitScript(() => {
        document.addEventListener("securitypolicyviolation", (event) => {
            window.tellViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
        });
    });
    const page = await context.newPage();
    page.troubles = troubles;
    page.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) tell(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => tell(`error: ${error.stack}`));
    page.on("requestfailed", (request) => {
        const why = request.failure()?.errorText;
        // Streams that the page itself gives up.
        if (why !== "net::ERR_ABORTED") tell(`failed: ${request.url()}: ${why}`);
    });
    if (goto) await page.goto(`${url}/`);
    return page;
}

/** Closes the page's profile and looks at what it complained of. */
export async function closePage(page) {
    await page.context().close();
    assert.deepEqual(page.troubles, []);
}

/** The ghost text, once there is one that `wanted` takes. */
export async function ghostText(page, wanted = () => true) {
    const ghost = page.locator("#ghost");
    let text = "";
    return until(
        () => `a ghost text that ${wanted} takes, instead of ${JSON.stringify(text)}`,
        async () => {
            text = await ghost.textContent();
            return text !== "" && wanted(text) && text;
        },
    );
}

/** The ghost text once it is whole and belongs to the text in the field: it is read out then. */
export async function wholeGhostText(page) {
    return until("a ghost text that is read out", async () => {
        const said = await page.locator("[role=status]").textContent();
        const text = said.match(/^Suggestion: (.*)$/su)?.[1];
        return text && text === (await page.locator("#ghost").textContent()) && text;
    });
}

export function fieldText(page) {
    return page.locator("#text").inputValue();
}
