// The web page in a real browser, used as a person would: Embed, Describe, Imagine, Pools, keys, and a server that goes away.
//
//     node page.mjs URL KEY PICTURE OTHER_URL
//
// The server at URL wants KEY and has a model of each modality; the one at OTHER_URL has no keys and only a
// text-embedding model. What was seen is printed as one JSON document.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { inspect, launch, visitor } from "./browser.mjs";

const [base, key, picture, other] = process.argv.slice(2);
const browser = await launch();
const told = {};

async function tab(page, name) {
  await page.getByRole("tab", { name }).click();
  await page.getByRole("tabpanel", { name }).waitFor();
}

/** Drops a file from outside on an element. */
async function drop(page, selector, path) {
  const data = readFileSync(path).toString("base64");
  const transfer = await page.evaluateHandle((data) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const made = new DataTransfer();
    made.items.add(new File([bytes], "picture.png", { type: "image/png" }));
    return made;
  }, data);
  await page.dispatchEvent(selector, "dragover", { dataTransfer: transfer });
  await page.dispatchEvent(selector, "drop", { dataTransfer: transfer });
}

async function keys(page) {
  await page.goto(`${base}/`);
  const dialog = page.getByRole("dialog", { name: "This server wants an API key" });
  await dialog.waitFor();
  await inspect(page, "key");
  await dialog.getByRole("button", { name: "Not now" }).click();
  await page.getByText("This server wants an API key.", { exact: true }).waitFor();
  await inspect(page, "locked");
  await page.getByRole("button", { name: "Enter the key" }).click();
  await dialog.getByLabel("API key").fill("sk-wrong");
  await dialog.getByRole("button", { name: "Use the key" }).click();
  await dialog.getByText("does not know that key").waitFor();
  await dialog.getByLabel("API key").fill(key);
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "hidden" });
  await page.getByText(/^\d+ models?$/).waitFor();
  await page.reload();
  await page.getByText(/^\d+ models?$/).waitFor();
  assert.equal(await dialog.isVisible(), false, "a key that was given is asked for again");
  assert.equal(await page.evaluate(() => Object.values(localStorage).join().includes("sk-")), false);
}

async function keyboard(page) {
  await page.getByRole("tab", { name: "Chat" }).focus();
  for (const name of ["Embed", "Describe", "Imagine", "Pools", "Chat"]) {
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), name);
    assert.equal(await page.getByRole("tab", { name }).getAttribute("aria-selected"), "true");
    await page.getByRole("tabpanel", { name }).waitFor();
  }
  await page.keyboard.press("End");
  await page.waitForURL(/#pools$/);
  await page.keyboard.press("Home");
  await page.waitForURL(/#chat$/);
}

async function embed(page) {
  await tab(page, "Embed");
  const lines = page.getByLabel("Lines");
  await lines.fill("alone");
  await page.getByRole("button", { name: "Compare" }).click();
  await page.getByText("at least two lines").waitFor();
  await lines.fill("The cat sleeps\nA cat is asleep\n<img src=x onerror=alert(1)>\nInterest rates rose");
  await page.getByRole("button", { name: "Compare" }).click();
  const chart = page.getByRole("img", { name: /^Heat map of 4 texts/ });
  await chart.waitFor();
  told.heatMap = await chart.getAttribute("aria-label");
  assert.match(told.heatMap, /Most alike: 1 and 2/);
  assert.equal(await chart.locator("rect").count(), 16);
  told.map = await page.getByRole("img", { name: /^Map of 4 texts/ }).getAttribute("aria-label");
  await page.getByText("The same in numbers").click();
  assert.equal(await page.locator("#embed tbody tr").count(), 6);
  // What was written is shown as it was written.
  await page.getByText("3. <img src=x onerror=alert(1)>").first().waitFor();
  assert.equal(await page.locator("#embed img").count(), 0);
  await inspect(page, "embed");
}

async function describe(page) {
  await tab(page, "Describe");
  const ask = page.getByRole("button", { name: "Ask" });
  assert.equal(await ask.isDisabled(), true);
  await inspect(page, "describe-empty");
  await drop(page, "#describe-picture", picture);
  await page.getByRole("img", { name: "Your picture: picture.png" }).waitFor();
  await page.getByLabel("Question").fill("What is this?");
  await page.getByLabel("Question").press("Enter");
  const answer = page.getByRole("region", { name: "Answer" });
  const stop = page.locator("#describe").getByRole("button", { name: "Stop" });
  await stop.waitFor();
  await page.waitForFunction(() => document.getElementById("describe-answer").textContent.length > 0);
  if (await stop.isVisible()) await stop.click().catch(() => {});
  await stop.waitFor({ state: "hidden" });
  told.described = (await answer.textContent()).slice(0, 80);
  assert.ok(told.described.length > 0 && !told.described.includes("appears here"));
  await inspect(page, "describe");
}

async function imagine(page) {
  await tab(page, "Imagine");
  const draw = page.getByRole("button", { name: "Draw", exact: true });
  await draw.click();
  await page.getByText("Say first what the picture shows").waitFor();
  await page.getByLabel("What the picture shows").fill("a photo of <b>the dogs</b> and a cat");
  await page.getByRole("spinbutton", { name: "Steps" }).fill("12");
  await page.getByRole("spinbutton", { name: "Seed" }).fill("5");
  await page.getByRole("spinbutton", { name: "Width" }).fill("64");
  await page.getByRole("spinbutton", { name: "Height" }).fill("64");
  // How the picture became, as it is seen.
  await page.evaluate(() => {
    window.seen = { rough: 0, steps: new Set() };
    const look = () => {
      if (document.querySelector("#imagine-canvas.rough img")) window.seen.rough += 1;
      window.seen.steps.add(document.getElementById("imagine-caption").textContent);
    };
    new MutationObserver(look).observe(document.getElementById("imagine"), { subtree: true, childList: true, characterData: true, attributes: true });
  });
  await draw.click();
  await page.getByText("seed 5").first().waitFor();
  const seen = await page.evaluate(() => ({ rough: window.seen.rough, steps: [...window.seen.steps].filter((text) => /^Step/.test(text)) }));
  assert.ok(seen.rough > 0, "no preview was shown");
  // Some schedulers compute the model once more than there are steps.
  assert.ok(seen.steps.length >= 6 && seen.steps.some((text) => /^Step (\d+) of \1$/.test(text)), seen.steps.join());
  const shown = page.locator("#imagine-canvas img");
  assert.equal(await shown.getAttribute("alt"), "a photo of <b>the dogs</b> and a cat");
  const first = await shown.getAttribute("src");
  await page.getByRole("spinbutton", { name: "Seed" }).fill("6");
  await draw.click();
  await page.getByText("seed 6").first().waitFor();
  assert.notEqual(await shown.getAttribute("src"), first);
  const history = page.getByRole("list", { name: "Pictures drawn so far" }).getByRole("button");
  assert.equal(await history.count(), 2);
  await history.nth(1).click();
  assert.equal(await shown.getAttribute("src"), first);
  // A refusal of the server's, in its words.
  await page.getByRole("spinbutton", { name: "Width" }).fill("65");
  await draw.click();
  const refused = page.locator("#imagine [role=alert]");
  await refused.waitFor();
  told.refused = await refused.textContent();
  assert.match(told.refused, /65/);
  await page.getByRole("spinbutton", { name: "Width" }).fill("64");
  await page.getByRole("spinbutton", { name: "Steps" }).fill("900");
  await draw.click();
  await page.getByText(/^Step \d+ of 90\d/).waitFor();
  await page.locator("#imagine").getByRole("button", { name: "Stop" }).click();
  await page.getByText("Stopped.").waitFor();
  await inspect(page, "imagine");
}

async function pools(page) {
  await tab(page, "Pools");
  await page.getByRole("article", { name: "words" }).getByText("resident").waitFor();
  told.memory = await page.getByRole("meter", { name: "Memory used" }).getAttribute("aria-valuetext");
  assert.match(told.memory, /iB of .*iB/);
  const done = page.getByRole("article", { name: "words" }).locator("dd").nth(5);
  const before = Number(await done.textContent());
  const used = await page.evaluate(async ([base, key]) => {
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const answer = await fetch(`${base}/v1/embeddings`, { method: "POST", headers, body: JSON.stringify({ model: "words", input: ["a", "b"] }) });
    return answer.ok;
  }, [base, key]);
  assert.ok(used && before > 0);
  // It follows by itself.
  await page.waitForFunction((before) => Number(document.querySelectorAll("#pools article[aria-label=words] dd")[5].textContent) === before + 2, before);
  await inspect(page, "pools");
}

/** The network between browser and server breaks, and is mended. */
async function lost(page) {
  await page.route("**/pools", (route) => route.abort());
  await page.getByText("The server cannot be reached. This page goes on").waitFor();
  await page.getByText("Not reachable").waitFor();
  await inspect(page, "lost");
  await tab(page, "Embed");
  await page.route("**/v1/embeddings", (route) => route.abort());
  await page.getByRole("button", { name: "Compare" }).click();
  await page.getByText("The server cannot be reached. Is it still running?").waitFor();
  await page.unroute("**/v1/embeddings");
  await page.unroute("**/pools");
  await page.getByText(/^\d+ models?$/).waitFor();
  await page.getByRole("button", { name: "Compare" }).click();
  await page.getByText("The server cannot be reached").first().waitFor({ state: "hidden" });
}

async function withoutModels() {
  const { context, page, faults } = await visitor(browser, other);
  await page.goto(`${other}/`);
  for (const [name, modality] of [["Chat", "text-to-text"], ["Describe", "llava-vision"], ["Imagine", "text-to-image"], ["Embed", "text-embedding"]]) {
    if (name === "Embed") {
      await page.getByText("1 model").waitFor();
      // Every server has this one, unless it was told to have others only.
      await page.route("**/pools", async (route) => route.fulfill({ json: { ...(await (await route.fetch()).json()), models: [] } }));
    }
    await tab(page, name);
    const panel = page.getByRole("tabpanel", { name });
    await panel.getByText(`There is no ${modality} model on this server`).waitFor();
    assert.match(await panel.locator("pre").first().textContent(), new RegExp(`^candlepool serve --model \\w+=${modality}:`));
    assert.match(await panel.locator("pre").last().textContent(), new RegExp(`modality = "${modality}"`));
    await inspect(page, `none-${name.toLowerCase()}`);
  }
  await tab(page, "Pools");
  await page.getByText("No models are configured.").waitFor();
  assert.deepEqual(faults, []);
  await context.close();
}

try {
  const { context, page, faults } = await visitor(browser, base);
  await keys(page);
  await keyboard(page);
  await inspect(page, "chat-lobby");
  await embed(page);
  await describe(page);
  await imagine(page);
  await pools(page);
  await lost(page);
  assert.deepEqual(faults, []);
  await context.close();
  await withoutModels();
} finally {
  await browser.close();
}
console.log(JSON.stringify(told));
