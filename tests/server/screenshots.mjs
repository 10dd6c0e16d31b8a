// SPDX-License-Identifier: MIT
// Makes the pictures of docs/images, by hand:
//
//     INKLING_PROGRAM=PROGRAM tests/server/browser.sh BUILD_DIR screenshots.mjs
//
// Chinese needs a font, such as Debian's fonts-noto-cjk; without one that picture is left out.
import fs from "node:fs";
import path from "node:path";
import { execFileSync } from "node:child_process";
import * as b from "./browser.mjs";
import * as t from "./harness.mjs";

const folder = path.join(new URL("../..", import.meta.url).pathname, "docs", "images");
fs.mkdirSync(folder, { recursive: true });
const server = await t.startServer();
const browser = await b.openBrowser();

const STORY = " day, the fox found a shiny stone in the sand. He took it home and";

async function shoot(name, options) {
    const page = await b.openPage(browser, server.url, { deviceScaleFactor: 1.25, ...options });
    await page.locator("#text").focus();
    await page.keyboard.press("Control+End");
    // Word by word, so that there are figures for the chart.
    for (const word of STORY.match(/\s\S+/g)) {
        await page.keyboard.type(word);
        await page.waitForTimeout(150);
    }
    await b.ghostText(page, (text) => /[.!?]"?$/.test(text));
    const stone = page.locator("#tokens [role=option]").filter({ hasText: "home" });
    await stone.waitFor({ state: "attached" });
    if (!options.isMobile) await stone.hover();
    await page.waitForTimeout(2500);
    const file = path.join(folder, `${name}.png`);
    await page.screenshot({ path: file });
    console.log(`${file}: ${Math.round(fs.statSync(file).size / 1024)} kB`);
    await b.closePage(page);
}

const DESK = { viewport: { width: 1180, height: 700 } };
const PHONE = {
    viewport: { width: 390, height: 800 },
    hasTouch: true,
    isMobile: true,
    deviceScaleFactor: 1.75,
};
await shoot("page-light", { ...DESK, colorScheme: "light" });
await shoot("page-dark", { ...DESK, colorScheme: "dark" });
await shoot("page-dark-phone", { ...PHONE, colorScheme: "dark" });
const fonts = execFileSync("fc-list", [":lang=zh-cn", "family"], { encoding: "utf8" });
if (fonts.trim()) await shoot("page-chinese", { ...DESK, locale: "zh-CN" });
else console.log("left out: page-chinese, there is no font for it (Debian: fonts-noto-cjk)");

await browser.close();
await server.stop();
process.exit(0);
