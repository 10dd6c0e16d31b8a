// SPDX-License-Identifier: MIT
// The demo page for all eyes and hands: narrow, dark, by keyboard, for assistive technology.
import assert from "node:assert/strict";
import fs from "node:fs";
import test, { after, before } from "node:test";
import * as b from "./browser.mjs";
import * as t from "./harness.mjs";

let server, browser;
before(async () => {
    server = await t.startServer();
    browser = await b.openBrowser();
});
after(async () => {
    await browser.close();
    await server.stop();
});

// With a generated text, its pieces, a ghost, and what can be unfolded unfolded.
async function full(options) {
    const page = await b.openPage(browser, server.url, options);
    await page.locator("#generate").click();
    await page.locator("#tokens [role=option]").nth(5).waitFor({ state: "attached" });
    await page.locator("#generate").waitFor();
    await page.locator("#text").focus();
    await page.keyboard.press("Control+End");
    await page.keyboard.type(" One day, the");
    await b.ghostText(page);
    await page.locator("details summary").click();
    await page.locator("#text").focus();
    return page;
}

const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

for (const locale of ["en-GB", "zh-CN"]) {
    test(`360 pixels are wide enough, ${locale}`, async () => {
        const page = await full({ ...PHONE, locale });
        await page.locator("#text").fill("An_endless_word_".repeat(30));
        const widths = await page.evaluate(() => ({
            page: document.scrollingElement.scrollWidth,
            window: window.innerWidth,
            wide: [...document.querySelectorAll("body *")]
                .filter(
                    (it) =>
                        it.checkVisibility() && it.getBoundingClientRect().right > innerWidth + 0.5,
                )
                .filter((it) => !it.closest(".unseen, .skip, svg, pre"))
                .map((it) => it.outerHTML.slice(0, 80)),
        }));
        assert.equal(widths.page, 360);
        assert.equal(widths.window, 360);
        assert.deepEqual(widths.wide, []);
        await b.closePage(page);
    });
}

test("light and dark follow the system", async () => {
    const shades = {};
    for (const colorScheme of ["light", "dark"]) {
        const page = await b.openPage(browser, server.url, { colorScheme });
        shades[colorScheme] = await page.evaluate(() => {
            const canvas = document
                .createElement("canvas")
                .getContext("2d", { willReadFrequently: true });
            return ["body", "#text"].map((name) => {
                for (let it = document.querySelector(name); it; it = it.parentElement) {
                    canvas.clearRect(0, 0, 1, 1);
                    canvas.fillStyle = getComputedStyle(it).backgroundColor;
                    canvas.fillRect(0, 0, 1, 1);
                    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
                    if (alpha === 255) return (red + green + blue) / 3;
                }
                return 255;
            });
        });
        await b.closePage(page);
    }
    for (const shade of shades.light) assert.ok(shade > 200, JSON.stringify(shades));
    for (const shade of shades.dark) assert.ok(shade < 70, JSON.stringify(shades));
});

const axe = fs.readFileSync(t.require.resolve("axe-core/axe.min.js"), "utf8");
async function violations(page) {
    // Past the page's policy, as a tool of the browser's would be.
    await page.evaluate(axe);
    const { violations: found } = await page.evaluate(() =>
        window.axe.run(document, { resultTypes: ["violations"] }),
    );
    return found.map(
        ({ id, impact, nodes }) =>
            `${id} (${impact}): ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`,
    );
}

for (const colorScheme of ["light", "dark"]) {
    for (const [what, options] of [
        ["desk", {}],
        ["phone", PHONE],
        ["Chinese", { locale: "zh-CN" }],
    ]) {
        test(`axe finds nothing: ${what}, ${colorScheme}`, async () => {
            const page = await full({ ...options, colorScheme });
            assert.deepEqual(await violations(page), []);
            await b.closePage(page);
        });
    }
    test(`axe finds nothing in the error bar, ${colorScheme}`, async () => {
        const locked = await t.startServer(["--api-key", "open-sesame"]);
        const page = await b.openPage(browser, locked.url, { colorScheme, expected: [/401/] });
        await page.getByRole("alert").waitFor();
        assert.deepEqual(await violations(page), []);
        await b.closePage(page);
        await locked.stop();
    });
}

test("by keyboard alone: everything is reached, seen, and left again", async () => {
    const page = await full();
    await page.keyboard.press("Escape");
    await page.evaluate(() => document.activeElement.blur());
    const wanted = await page.evaluate(() =>
        [
            ...document.querySelectorAll(
                "a[href], button, input, select, textarea, summary, pre[tabindex='0'], #tokens [tabindex='0']",
            ),
        ]
            .filter((it) => it.checkVisibility() && !it.disabled)
            .map((it) => it.id || (it.closest("#tokens") ? "a piece" : it.className || it.tagName)),
    );
    const reached = new Set();
    for (let i = 0; i < wanted.length + 8; i++) {
        // With a ghost the key would take it.
        if ((await page.evaluate(() => document.activeElement.id)) === "text")
            await page.keyboard.press("Escape");
        await page.keyboard.press("Tab");
        const now = await page.evaluate(() => {
            const it = document.activeElement;
            if (it === document.body) return null;
            const box = it.getBoundingClientRect();
            const style = getComputedStyle(it);
            const around = getComputedStyle(it.closest("#page") ?? it);
            const shown = [style, around, getComputedStyle(it.closest(".sheet") ?? it)].some(
                (one) =>
                    (one.outlineStyle !== "none" && parseFloat(one.outlineWidth) > 0) ||
                    one.boxShadow !== "none",
            );
            const piece = it.closest("#tokens") ? "a piece" : null;
            return {
                name: it.id || piece || it.className || it.tagName,
                shown,
                inside: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
            };
        });
        if (!now) continue;
        reached.add(now.name);
        assert.ok(now.shown, `the focus of ${now.name} is not seen`);
        assert.ok(now.inside, `${now.name} has the focus out of view`);
    }
    assert.deepEqual(
        wanted.filter((name) => !reached.has(name)),
        [],
    );

    // And what is done most: write, take, generate, stop at will, undo.
    await page.locator("#text").focus();
    await page.keyboard.press("Control+a");
    await page.keyboard.type("The dog saw");
    await b.ghostText(page);
    await page.keyboard.press("Tab");
    await page.waitForFunction(
        () => document.getElementById("text").value.length > "The dog saw".length,
    );
    await page.locator("#generate").focus();
    const value = await b.fieldText(page);
    await page.keyboard.press("Enter");
    await t.until(
        "a generated text",
        async () =>
            (await b.fieldText(page)).length > value.length &&
            (await page.locator("#generate").isVisible()),
    );
    assert.equal(await page.evaluate(() => document.activeElement.id), "generate");
    await page.locator("#undo").focus();
    await page.keyboard.press("Enter");
    await page.waitForFunction((text) => document.getElementById("text").value === text, value);
    await b.closePage(page);
});

test("what is done is said to who does not see it", async () => {
    const page = await b.openPage(browser, server.url);
    await b.ghostText(page);
    await page.waitForFunction(() =>
        /^Suggestion: ./.test(document.querySelector("[role=status]").textContent),
    );
    await page.locator("#generate").click();
    await page.waitForFunction(() =>
        /^Done: \d+ tokens/.test(document.querySelector("[role=status]").textContent),
    );
    await b.closePage(page);
});

test("the policy is strict, and files are answered with their types", async () => {
    const response = await fetch(`${server.url}/`);
    const policy = response.headers.get("content-security-policy");
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe|\*|http/);
    assert.equal(response.headers.get("x-content-type-options"), "nosniff");
    const html = await response.text();
    assert.doesNotMatch(html, /(src|href)="(https?:)?\/\//);
    const names = [...html.matchAll(/(?:src|href)="([^"#]+)"/g)].map((match) => match[1]);
    assert.ok(names.length > 5);
    const types = { js: "text/javascript", css: "text/css", svg: "image/svg+xml" };
    for (const name of names) {
        const file = await fetch(`${server.url}/${name}`);
        assert.equal(file.status, 200, name);
        assert.ok(file.headers.get("content-type").startsWith(types[name.split(".").pop()]), name);
        const etag = file.headers.get("etag");
        assert.ok((await file.text()).length > 0);
        const again = await fetch(`${server.url}/${name}`, { headers: { "if-none-match": etag } });
        assert.equal(again.status, 304, name);
        await again.text();
    }
});
