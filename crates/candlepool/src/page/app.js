// The page: starts its tabs, and tells above them whether the server is there.

import * as chat from "./chat.js";
import * as describe from "./describe.js";
import { announce } from "./dom.js";
import * as embed from "./embed.js";
import { count } from "./format.js";
import * as imagine from "./imagine.js";
import { ask, key } from "./key.js";
import * as pools from "./pools.js";
import { server } from "./server.js";
import * as tabs from "./tabs.js";

const panel = (name) => document.getElementById(name);

let wasLost = false;

function tellServer() {
  const place = document.getElementById("server");
  const text = document.getElementById("server-text");
  const { pools: known, problem } = server;
  place.dataset.state = problem?.lost ? "lost" : problem ? "refused" : known.status;
  const states = { lost: "Not reachable", refused: problem?.status === 401 ? "Locked" : "Troubled", draining: "Shutting down" };
  text.textContent = states[place.dataset.state] ?? count(known.models.length, "model");
  tellBanner(problem);
  if (wasLost && !problem) announce("The server is back.");
  wasLost = Boolean(problem?.lost);
}

function tellBanner(problem) {
  const locked = problem?.status === 401;
  const words = problem?.lost
    ? "The server cannot be reached. This page goes on by itself as soon as it is back."
    : locked ? "This server wants an API key." : problem?.words ?? "";
  const text = document.getElementById("banner-text");
  // Set only when it changes: an alert that is written again is read again.
  if (text.textContent === words) return;
  document.getElementById("banner-key").hidden = !locked;
  document.getElementById("banner").hidden = !words;
  text.textContent = words;
}

document.getElementById("banner-key").addEventListener("click", async () => {
  if (await ask(key())) server.refresh(true);
});
// A file that falls beside a place for it would have the browser leave the page to show it.
for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
server.addEventListener("change", tellServer);
chat.start(panel("chat"));
embed.start(panel("embed"));
describe.start(panel("describe"));
imagine.start(panel("imagine"));
pools.start(panel("pools"), () => !panel("pools").hidden);
tabs.start((name) => {
  if (name === "pools") server.refresh();
  if (name === "chat") chat.shown();
});
server.start();
