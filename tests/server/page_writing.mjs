// SPDX-License-Identifier: MIT
// The demo page as somebody writes with it: ghost text, Generate, undo, languages, reloading.
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import * as b from "./browser.mjs";
import * as t from "./harness.mjs";

const START = "Once upon a time there was a little";
let server, browser;
before(async () => {
    server = await t.startServer(["-m", t.longModel()]);
    browser = await b.openBrowser();
});
after(async () => {
    await browser.close();
    await server.stop();
});

/** A page whose field holds `text`, with the caret behind it. */
async function opened(text = START, options = {}) {
    const page = await b.openPage(browser, server.url, options);
    await page.locator("#text").fill("");
    await page.keyboard.type(text);
    return page;
}
const button = (page, name) => page.getByRole("button", { name, exact: true });

test("from a cold load to the ghost text", async () => {
    const page = await b.openPage(browser, server.url, { goto: false });
    await page.addInitScript(() => {
        const seen = new MutationObserver(() => {
            if (!document.getElementById("ghost")?.textContent) return;
            seen.disconnect();
            // What is painted counts.
            requestAnimationFrame(() => setTimeout(() => (window.ghostSeen = performance.now())));
        });
        seen.observe(document, { subtree: true, childList: true, characterData: true });
    });
    await page.goto(`${server.url}/`);
    const ms = await (await page.waitForFunction(() => window.ghostSeen)).jsonValue();
    console.log(`page: ${ms.toFixed(0)} ms from a cold load to the ghost text`);
    assert.ok((await b.ghostText(page)).length > 0);
    await b.closePage(page);
});

test("Tab takes the ghost text, and the next one comes", async () => {
    const page = await opened();
    const ghost = await b.ghostText(page);
    await page.keyboard.press("Tab");
    // What came meanwhile may be longer than what was read here.
    await page.waitForFunction(
        (start) => document.getElementById("text").value.startsWith(start),
        START + ghost,
    );
    assert.equal(await page.evaluate(() => document.activeElement.id), "text");
    const value = await b.fieldText(page);
    await b.ghostText(page);
    assert.equal(await b.fieldText(page), value);
    await b.closePage(page);
});

test("Ctrl and the right arrow take a word; Ctrl+Z gives it back", async () => {
    const page = await opened();
    await b.ghostText(page, (text) => text.trim().includes(" "));
    await page.keyboard.press("Control+ArrowRight");
    await page.waitForFunction(
        (n) => document.getElementById("text").value.length > n,
        START.length,
    );
    const value = await b.fieldText(page);
    assert.match(value.slice(START.length), /^\s*\S+$/);
    await page.keyboard.press("Control+z");
    await page.waitForFunction((text) => document.getElementById("text").value === text, START);
    await b.closePage(page);
});

test("letters typed along the ghost text keep it; others change it", async () => {
    const page = await opened();
    const ghost = await b.ghostText(page, (text) => text.length > 3);
    await page.keyboard.type(ghost.slice(0, 2));
    const rest = await b.ghostText(page);
    assert.ok(ghost.slice(2).startsWith(rest.slice(0, 1)), `${ghost} / ${rest}`);
    await page.keyboard.type(". The big");
    await b.ghostText(page);
    assert.equal(await b.fieldText(page), `${START}${ghost.slice(0, 2)}. The big`);
    await b.closePage(page);
});

test("Esc dismisses it, and the next letter brings another", async () => {
    const page = await opened();
    await b.ghostText(page);
    await page.keyboard.press("Escape");
    assert.equal(await page.locator("#ghost").textContent(), "");
    assert.equal(await b.fieldText(page), START);
    await page.keyboard.type(" girl named");
    await b.ghostText(page);
    await b.closePage(page);
});

test("Another brings another ghost text", async () => {
    const page = await opened(`${START} girl named`);
    // Of a ghost half told, or kept from the text before, the other one could begin with the same letters.
    const ghost = await b.wholeGhostText(page);
    assert.equal(await page.locator("#another").getAttribute("aria-disabled"), "false");
    await button(page, "Another").click();
    await b.ghostText(page, (text) => !text.startsWith(ghost) && !ghost.startsWith(text));
    assert.equal(await page.evaluate(() => document.activeElement.id), "text");
    await b.closePage(page);
});

test("Generate streams; undo takes all of it back; Another writes another", async () => {
    const page = await opened();
    await button(page, "Generate").click();
    await button(page, "Generate").waitFor({ state: "visible" });
    const text = await t.until("the generated text", async () => {
        const value = await b.fieldText(page);
        return (
            (await page.locator("#generate").isVisible()) &&
            value.length > START.length + 20 &&
            value
        );
    });
    assert.ok(text.startsWith(START));
    await button(page, "Another").click();
    await t.until("another text", async () => {
        const value = await b.fieldText(page);
        return (
            (await page.locator("#generate").isVisible()) &&
            value !== text &&
            value.length > START.length + 20
        );
    });
    await button(page, "Undo").click();
    await page.waitForFunction((start) => document.getElementById("text").value === start, START);
    await page.keyboard.press("Control+y");
    await page.waitForFunction(
        (n) => document.getElementById("text").value.length > n,
        START.length,
    );
    assert.ok(
        (await page.locator("#tokens [role=option]").count()) > 5,
        "the pieces of what was generated",
    );
    await b.closePage(page);
});

test("Stop ends it half-way: the text stays, and the server stops", async () => {
    const page = await opened("Once");
    // So long that nobody's machine comes to its end before Stop is pressed.
    await page.context().route("**/v1/completions", (route) => {
        const body = { ...route.request().postDataJSON(), max_tokens: t.LONG_CONTEXT - 100 };
        body.logit_bias = { [t.END_TOKEN]: -100 };
        return route.continue({ postData: JSON.stringify(body) });
    });
    const before = await server.figures();
    await button(page, "Generate").click();
    await page.waitForFunction(() => document.getElementById("text").value.length > 40);
    await button(page, "Stop").click();
    await button(page, "Generate").waitFor();
    const text = await b.fieldText(page);
    assert.ok(text.length > 40);
    const after = await t.until("nothing running", async () => {
        const figures = await server.figures();
        return figures.get("inkling_requests_running") === 0 && figures;
    });
    const name = "inkling_generated_tokens_total";
    assert.ok(after.get(name) - before.get(name) < t.LONG_CONTEXT - 100);
    assert.equal(await b.fieldText(page), text);
    await b.closePage(page);
});

test("English and Chinese: by the browser, by the button, and kept", async () => {
    const page = await opened(START, { locale: "zh-CN" });
    assert.equal(await page.locator("html").getAttribute("lang"), "zh-Hans");
    await button(page, "生成").waitFor();
    await page.locator("#language").click();
    assert.equal(await page.locator("html").getAttribute("lang"), "en");
    await button(page, "Generate").waitFor();
    await page.reload();
    await button(page, "Generate").waitFor();
    await page.locator("#language").click();
    await button(page, "生成").waitFor();
    // Nothing is left in the other language: each text of the page is in both.
    const english = await page.evaluate(() =>
        [...document.querySelectorAll("[data-say], [data-label]")]
            .filter((it) => it.checkVisibility())
            .map((it) => (it.dataset.say ? it.textContent : it.getAttribute("aria-label")))
            .filter((text) => !/[\u4e00-\u9fff]/.test(text)),
    );
    assert.deepEqual(
        english.filter(
            (text) => !["English", "Tab", "Ctrl →", "Esc", "Switch to English"].includes(text),
        ),
        [],
    );
    await b.closePage(page);

    const other = await b.openPage(browser, server.url, { locale: "fr-FR" });
    assert.equal(await other.locator("html").getAttribute("lang"), "en");
    await b.closePage(other);
});

test("it works again after reloading, with nothing but this server to reach", async () => {
    const page = await opened();
    await b.ghostText(page);
    for (let i = 0; i < 3; i++) {
        await page.reload();
        await b.ghostText(page);
    }
    await b.closePage(page);
});

test("the models can be chosen", async () => {
    const page = await opened();
    await t.until("both models", async () => (await page.locator("#model option").count()) === 2);
    assert.deepEqual((await page.locator("#model option").allTextContents()).sort(), [
        "long",
        "story",
    ]);
    await b.ghostText(page);
    const asked = page.waitForRequest(
        (request) => request.url().endsWith("/v1/typing") && request.method() === "POST",
    );
    await page.getByLabel("Model", { exact: true }).selectOption("story");
    assert.equal((await asked).postDataJSON().model, "story");
    await page.keyboard.press("Tab");
    await page.locator("#text").focus();
    await page.keyboard.type(" girl");
    await b.ghostText(page);
    const generate = page.waitForRequest(
        (request) =>
            request.url().endsWith("/v1/completions") && request.postDataJSON().stream === true,
    );
    await button(page, "Generate").click();
    assert.equal((await generate).postDataJSON().model, "story");
    await b.closePage(page);
});

test("sliders say what they set, and it is asked for", async () => {
    const page = await opened();
    await b.ghostText(page);
    const asked = page.waitForRequest(
        (request) =>
            request.url().endsWith("/v1/typing") &&
            request.method() === "POST" &&
            request.postDataJSON().window_words === 50,
    );
    await page.getByRole("slider", { name: "Words read before the caret" }).press("End");
    await asked;
    assert.equal(await page.locator("#window-value").textContent(), "50 words");
    await page.getByRole("slider", { name: "Temperature" }).press("Home");
    await page.getByRole("slider", { name: "Length of Generate" }).press("Home");
    const generate = page.waitForRequest(
        (request) =>
            request.url().endsWith("/v1/completions") && request.postDataJSON().stream === true,
    );
    await button(page, "Generate").click();
    const body = (await generate).postDataJSON();
    assert.deepEqual([body.temperature, body.max_tokens], [0, 8]);
    await b.closePage(page);
});

test("figures come alive", async () => {
    const page = await opened();
    await b.ghostText(page);
    const isTold = async (name) =>
        /\d/.test(await page.locator(`#figure-${name} .value`).textContent());
    for (const name of ["first", "reused", "memory"])
        await t.until(`a figure: ${name}`, () => isTold(name));
    // Of a suggestion that was ready before it could be seen no speed is told, nor of one token.
    await t.until("a figure: speed", async () => {
        if (await isTold("speed")) return true;
        const generate = button(page, "Generate");
        if (await generate.isVisible()) await generate.click();
        return false;
    });
    await page.locator("#figure-memory").click();
    assert.match(await page.locator("#chart").getAttribute("aria-label"), /^Memory.*\d/);
    await b.closePage(page);
});
