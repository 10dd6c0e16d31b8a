// SPDX-License-Identifier: MIT
// The demo page when things go wrong: it says what, and what to do, and finds its way back.
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import * as b from "./browser.mjs";
import * as t from "./harness.mjs";

let browser;
before(async () => (browser = await b.openBrowser()));
after(() => browser.close());
const alertOf = (page) => page.getByRole("alert");

test("a server that dies is told, and one that comes back is found", async () => {
    const first = await t.startServer();
    const page = await b.openPage(browser, first.url, {
        expected: [/ERR_|Failed to load resource/],
    });
    await b.ghostText(page);
    await first.kill();
    await page.locator("#text").focus();
    await page.keyboard.press("Control+End");
    await page.keyboard.type(" day the");
    await alertOf(page).waitFor();
    assert.match(await alertOf(page).textContent(), /does not answer.*inkling serve/);
    const text = await b.fieldText(page);
    // Generate fails too, and says so without losing anything.
    await page.locator("#generate").click();
    await page.locator("#generate").waitFor();
    assert.equal(await b.fieldText(page), text);

    const second = await t.startServerAt(first.port);
    await page.locator("#text").focus();
    await page.keyboard.type(" big");
    await b.ghostText(page);
    await t.until("the bar to go, or to offer another try", async () => {
        if (!(await alertOf(page).isVisible())) return true;
        const again = page.locator("#error-action");
        if (await again.isVisible()) await again.click();
        return false;
    });
    await b.closePage(page);
    await second.stop();
});

test("a server that wants a key is given one", async () => {
    const server = await t.startServer(["--api-key", "open-sesame"]);
    const page = await b.openPage(browser, server.url, { expected: [/401/] });
    await alertOf(page).waitFor();
    assert.match(await alertOf(page).textContent(), /asks for a key/);
    const key = page.getByLabel("Key", { exact: true });
    await key.fill("wrong");
    await key.press("Enter");
    await page.waitForFunction(() =>
        /does not take this key/.test(document.querySelector("[role=alert]").textContent),
    );
    await key.fill("open-sesame");
    await page.getByRole("button", { name: "Use it" }).click();
    await b.ghostText(page);
    await alertOf(page).waitFor({ state: "hidden" });
    await t.until("the models", async () => (await page.locator("#model option").count()) === 1);
    // Kept for this tab.
    await page.reload();
    await b.ghostText(page);
    assert.ok(!(await alertOf(page).isVisible()));
    assert.ok(!page.url().includes("sesame"));
    await b.closePage(page);
    await server.stop();
});

test("a key given while the answer to a wrong one is under way", async () => {
    const server = await t.startServer(["--api-key", "open-sesame"]);
    const page = await b.openPage(browser, server.url, { expected: [/401/] });
    let answer;
    const answered = new Promise((resolve) => (answer = resolve));
    let n_held = 0;
    await page.context().route("**/v1/models", async (route) => {
        if (route.request().headers().authorization === "Bearer wrong") {
            n_held++;
            await answered;
        }
        return route.continue();
    });
    const key = page.getByLabel("Key", { exact: true });
    await key.fill("wrong");
    await key.press("Enter");
    await t.until("the list to be asked for", async () => n_held > 0);
    await page.waitForFunction(() =>
        /does not take this key/.test(document.querySelector("[role=alert]").textContent),
    );
    await key.fill("open-sesame");
    await key.press("Enter");
    await b.ghostText(page);
    answer();
    await t.until("the models", async () => (await page.locator("#model option").count()) === 1);
    await b.closePage(page);
    await server.stop();
});

test("a model that could not be opened is told; another one helps", async () => {
    const server = await t.startServer(["-m", t.storyModel, "--id", "good"]);
    const page = await b.openPage(browser, server.url, { goto: false });
    await page.context().route("**/v1/models", async (route) => {
        const response = await route.fetch();
        const list = await response.json();
        const broken = structuredClone(list.data[0]);
        broken.id = "broken";
        broken.inkling = { state: "failed", reason: "tensors end behind the file" };
        list.data.push(broken);
        return route.fulfill({ json: list });
    });
    await page.goto(`${server.url}/`);
    const option = page.locator("#model option[value=broken]");
    await option.waitFor({ state: "attached" });
    assert.match(await option.textContent(), /not usable/);
    await b.ghostText(page);
    await b.closePage(page);
    await server.stop();
});

test("a model's text is text, whatever it looks like", async () => {
    const server = await t.startServer();
    const page = await b.openPage(browser, server.url);
    await page.context().route("**/v1/completions", async (route) => {
        if (!route.request().postDataJSON().stream) return route.continue();
        const chunk = (fields) =>
            `data: ${JSON.stringify({
                choices: [{ index: 0, text: "", logprobs: null, finish_reason: null, ...fields }],
            })}\n\n`;
        return route.fulfill({
            contentType: "text/event-stream",
            body:
                chunk({ text: "<img src=x onerror=alert(1)>" }) +
                chunk({ finish_reason: "length" }) +
                "data: [DONE]\n\n",
        });
    });
    await page.locator("#generate").click();
    await page.waitForFunction(() => document.getElementById("text").value.includes("<img"));
    assert.equal(await page.locator("img").count(), 0);
    await b.closePage(page);
    await server.stop();
});
