// The web page's Chat tab in real browsers: two people and a model in one room.
//
//     node page_chat.mjs URL KEY PICTURE SOURCE
//
// The server at URL wants KEY, or none where it is empty, and has a model that answers in rooms and cites
// the file SOURCE. What was seen is printed as one JSON document.

import assert from "node:assert/strict";
import { inspect, launch, visitor } from "./browser.mjs";

const [base, key, picture, source] = process.argv.slice(2);
const browser = await launch();
const room = `room-${process.pid}`;
const told = {};

async function join(name, options) {
  const { context, page, faults } = await visitor(browser, base, options);
  await page.goto(`${base}/#chat`);
  if (key) {
    await page.getByRole("textbox", { name: "API key" }).fill(key);
    await page.keyboard.press("Enter");
  }
  await page.getByLabel("Your name").fill(name);
  await page.getByLabel("Room").fill(room);
  await page.getByRole("button", { name: "Join" }).click();
  await page.getByLabel("In this room").getByText(`${name} (you)`).waitFor();
  return { name, context, page, faults };
}

/** Writes as a person does, key by key, and sends. */
async function say({ page }, text, { ask = false } = {}) {
  await page.getByRole("checkbox", { name: "Ask the model" }).setChecked(ask);
  await page.getByLabel("Message", { exact: true }).pressSequentially(text);
  await page.keyboard.press("Enter");
}

const said = ({ page }, text) => page.locator(".message", { has: page.locator(".said", { hasText: text }) });

/** What somebody sees, line by line. */
const log = ({ page }) => page.locator(".said").allTextContents();

async function people(ada, bob) {
  await ada.page.getByLabel("In this room").getByText("Bob").waitFor();
  await bob.page.getByLabel("Message", { exact: true }).pressSequentially("Hel");
  await ada.page.getByText("Bob is typing…").waitFor();
  await bob.page.getByLabel("Message", { exact: true }).fill("");
  await ada.page.getByText("Bob is typing…").waitFor({ state: "hidden" });
  await say(ada, "Hello <b>Bob</b>");
  await said(bob, "Hello <b>Bob</b>").waitFor();
  assert.equal(await bob.page.locator(".said b").count(), 0);
  await ada.page.getByText("Read by Bob").waitFor();
  assert.equal(await said(bob, "Hello").getByRole("button").count(), 0, "another's message can be changed");
}

async function changes(ada, bob) {
  await say(ada, "I come at nine");
  const message = said(ada, "I come at");
  await message.getByRole("button", { name: "Edit" }).click();
  await ada.page.getByLabel("New text").fill("I come at ten");
  await ada.page.keyboard.press("Enter");
  await said(bob, "I come at ten").getByText("Edited").waitFor();
  await message.getByRole("button", { name: "Edit" }).click();
  await ada.page.getByLabel("New text").fill("never mind");
  await ada.page.keyboard.press("Escape");
  await message.getByRole("button", { name: "Delete" }).click();
  assert.equal(await said(bob, "I come at ten").count(), 1, "one click deletes");
  await message.getByRole("button", { name: "Delete for everybody?" }).click();
  await said(bob, "I come at ten").waitFor({ state: "detached" });
  await said(ada, "I come at ten").waitFor({ state: "detached" });
}

async function pictures(ada, bob) {
  await ada.page.locator("#chat-picture").setInputFiles(picture);
  await ada.page.getByRole("button", { name: "Remove picture 1" }).waitFor();
  await say(ada, "Look");
  const seen = said(bob, "Look").getByRole("img", { name: "Picture 1 of Ada" });
  await seen.waitFor();
  assert.ok(await seen.evaluate((image) => image.decode().then(() => image.naturalWidth > 0)));
}

/** An answer that streams to both, and one that is stopped. */
async function answers(ada, bob) {
  await ada.page.getByText(/^Context: \d+ files?$/).waitFor();
  await say(ada, "What is a lighthouse?", { ask: true });
  const written = [ada, bob].map(({ page }) => page.locator(".answered .said").last());
  await Promise.all(written.map((answer) => answer.waitFor()));
  await bob.page.waitForFunction(() => document.querySelector(".answered:last-of-type .said")?.textContent.length > 0);
  await Promise.all([ada, bob].map(({ page }) => page.locator(".answered:not(.writing)").first().waitFor()));
  const [one, other] = await Promise.all(written.map((answer) => answer.textContent()));
  assert.equal(one, other);
  told.answer = one;
  assert.ok(one.length > 0);
  await bob.page.getByRole("list", { name: "Sources" }).first().getByText(`[1] ${source}, line`).waitFor();
  await inspect(ada.page, "chat");

  await say(ada, "Count from one to a thousand, in words.", { ask: true });
  await bob.page.getByRole("button", { name: "Stop" }).click();
  await ada.page.locator(".answered").getByText("Stopped.").waitFor();
  await ada.page.getByRole("button", { name: "Stop" }).waitFor({ state: "hidden" });
}

/** Bob's network breaks; what was said meanwhile is there when it is mended, and what he says too. */
async function reconnect(ada, bob) {
  const before = await log(bob);
  await bob.break();
  await bob.page.getByText("Connecting again").first().waitFor();
  await ada.page.getByLabel("In this room").getByText("Bob").waitFor({ state: "hidden" });
  await say(ada, "Are you there?");
  await say(bob, "I was away");
  await bob.mend();
  await said(bob, "Are you there?").waitFor();
  await said(ada, "I was away").waitFor();
  const after = await log(bob);
  assert.deepEqual(after.slice(0, before.length), before);
  assert.deepEqual(after, await log(ada));
  assert.equal(after.filter((text) => text === "I was away").length, 1);
}

/** A connection that can be broken: the page's WebSockets go through here. */
async function breakable(person) {
  let broken = false;
  const open = new Set();
  await person.page.routeWebSocket(/\/rooms\//, (socket) => {
    if (broken) return socket.close({ code: 3000 });
    socket.connectToServer();
    open.add(socket);
  });
  person.break = async () => {
    broken = true;
    for (const socket of open) await socket.close({ code: 3000 });
    open.clear();
  };
  person.mend = async () => (broken = false);
}

try {
  const ada = await join("Ada");
  const bob = await join("Bob", { viewport: { width: 390, height: 844 } });
  await people(ada, bob);
  await changes(ada, bob);
  await pictures(ada, bob);
  await answers(ada, bob);
  // Routes take effect on the next connection.
  await breakable(bob);
  await bob.page.getByRole("button", { name: "Leave" }).click();
  await bob.page.getByRole("button", { name: "Join" }).click();
  await said(bob, "Look").waitFor();
  await reconnect(ada, bob);
  // Loaded again, the page still knows whose messages are whose.
  await ada.page.reload();
  await ada.page.getByRole("button", { name: "Join" }).click();
  await said(ada, "Are you there?").getByRole("button", { name: "Edit" }).waitFor();
  assert.deepEqual([...ada.faults, ...bob.faults], []);
  told.messages = (await log(ada)).length;
} finally {
  await browser.close();
}
console.log(JSON.stringify(told));
