// A headless Chromium, and what every test of the web page checks in it.

import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
/** A folder for screenshots, for whoever wants to look at them. */
const SHOTS = process.env.CANDLEPOOL_SHOTS;

function executable() {
  const folders = process.env.PATH.split(delimiter);
  return NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(existsSync);
}

export function launch() {
  return chromium.launch({
    executablePath: executable(),
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

/** Somebody with a browser of their own. What the page asks elsewhere, and what its console calls an error, is kept. */
export async function visitor(browser, base, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const faults = [];
  const host = new URL(base).host;
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (!["data:", "blob:"].includes(url.protocol) && url.host !== host) faults.push(`asks ${url}`);
  });
  page.on("pageerror", (error) => faults.push(`throws ${error.stack}`));
  // Chromium reports answers that are no success there too, which tests bring about on purpose.
  page.on("console", (message) => {
    if (message.type() === "error" && !/Failed to load resource|WebSocket connection to/.test(message.text())) faults.push(`console: ${message.text()}`);
  });
  return { context, page, faults };
}

/** No serious violation, in light and in dark, wide and narrow, and nothing that runs out of the window. */
export async function inspect(page, name) {
  const before = page.viewportSize();
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 390]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
      if (SHOTS) {
        await page.evaluate(() => window.scrollTo(0, 0));
        mkdirSync(SHOTS, { recursive: true });
        await page.screenshot({ path: join(SHOTS, `${name}-${width}-${colorScheme}.png`), fullPage: true });
      }
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.equal(beyond, 0, `${name} is ${beyond} px wider than a window of ${width}`);
      if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(await source());
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
      const told = serious.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`);
      assert.deepEqual(told, [], `${name}, ${colorScheme}, ${width} px`);
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(before);
}

/** Handed over by the debugger, past the page's policy, which lets no script in but the server's. */
async function source() {
  const { readFile } = await import("node:fs/promises");
  return readFile(AXE, "utf8");
}
