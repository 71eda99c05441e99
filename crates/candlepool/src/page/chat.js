// The Chat tab: a room that people and a model share.

import { element, field, tell } from "./dom.js";
import { count } from "./format.js";
import { Messages } from "./messages.js";
import { missing } from "./missing.js";
import { chooser, dataUrl, takes } from "./picture.js";
import { Room, unique } from "./room.js";
import { server } from "./server.js";

/** Typing expires by itself; this often it is said again. */
const TYPING = 3000;
/** A picture that is made smaller than so many characters shows nothing any more. */
const LEAST = 4096;
const NAME = "candlepool-name";
const ROOM = "candlepool-room";
const CLIENT = "candlepool-client";

let look = () => {};

/** Called when the tab comes up. */
export function shown() {
  look();
}

export function start(panel) {
  panel.append(lobby(panel));
}

/** The same person after the page was loaded again, so that what is theirs stays theirs. */
function client() {
  if (!localStorage.getItem(CLIENT)) localStorage.setItem(CLIENT, unique("page-"));
  return localStorage.getItem(CLIENT);
}

function lobby(panel, why = null) {
  const name = element("input", { id: "chat-name", required: true, maxLength: 40, value: localStorage.getItem(NAME) ?? "", autocomplete: "nickname" });
  const room = element("input", { id: "chat-room", required: true, maxLength: 64, value: localStorage.getItem(ROOM) ?? "lobby", pattern: "[A-Za-z0-9._\\-]+", spellcheck: false,
    title: "Letters without accents, digits, points, dashes and underscores" });
  const problem = element("p", { class: "problem", role: "alert" });
  tell(problem, why);
  const note = element("div");
  const submit = (event) => {
    event.preventDefault();
    localStorage.setItem(NAME, name.value.trim());
    localStorage.setItem(ROOM, room.value);
    server.removeEventListener("change", models);
    panel.classList.add("in-room");
    panel.replaceChildren(...inRoom(panel, new Room(room.value, client(), name.value.trim() || "Guest")));
    document.getElementById("chat-text").focus();
  };
  // The note stays as it is while nothing changes: it would be read again.
  const models = () => {
    const none = server.pools && server.models("text-to-text", "llava-vision").length === 0;
    if (Boolean(none) !== note.childElementCount > 0) {
      note.replaceChildren(...(none ? [missing("text-to-text", "People can talk to each other; for answers a model is needed.")] : []));
    }
  };
  server.addEventListener("change", models);
  models();
  return element("div", { class: "stack join" },
    element("div", { class: "intro" }, element("h2", {}, "Chat"), element("p", {}, "Join a room. Whoever is in it sees the same conversation; a model answers when asked.")),
    element("form", { class: "card stack", onsubmit: submit },
      field("Your name", name), field("Room", room), problem,
      element("div", { class: "row" }, element("button", { class: "primary", type: "submit" }, "Join"))),
    note);
}

function inRoom(panel, room) {
  const messages = new Messages({
    edit: (id, text) => room.ask({ type: "message.update", id, text }),
    remove: (id) => room.ask({ type: "message.delete", id }),
  });
  const people = element("p", { class: "quiet people", "aria-label": "In this room" });
  const context = element("p", { class: "hint" });
  const state = element("p", { class: "notice", role: "status", hidden: true });
  const problem = element("p", { class: "problem", role: "alert", hidden: true });
  const typing = element("p", { class: "hint typing" });
  const leave = () => {
    room.leave();
    look = () => {};
    panel.classList.remove("in-room");
    panel.replaceChildren(lobby(panel, room.state === "ended" ? state.textContent : null));
  };
  const composer = compose(room, problem);
  const head = element("div", { class: "room-head" },
    element("div", {}, element("h2", {}, room.room), people, context),
    element("button", { type: "button", class: "plain", onclick: leave }, "Leave"));

  function read() {
    const { seq } = room.log;
    const mine = room.log.reads.get(room.client) ?? 0;
    if (document.hidden || !messages.atEnd() || seq <= mine) return;
    room.log.reads.set(room.client, seq);
    room.hint({ type: "read", seq });
  }

  function drawPeople() {
    const { log } = room;
    const { assistant } = log.joined;
    const names = log.members.map(({ client: id, name }) => (id === room.client ? `${name} (you)` : name));
    people.textContent = [...names, ...(assistant ? [`${assistant.name} · ${assistant.model}`] : [])].join(", ");
    context.textContent = ofContext(log.context);
    typing.textContent = ofTyping(log, room.client);
    composer.update();
  }

  room.addEventListener("change", ({ detail }) => {
    messages.draw(room, detail);
    if (detail.people || detail.reset || detail.entries.length) drawPeople();
    read();
  });
  room.addEventListener("state", ({ detail: { state: now, message } }) => {
    tell(state, now === "joining" ? state.textContent : message);
    if (now === "ended") leave();
    composer.update();
  });
  room.addEventListener("refused", ({ detail: { event, message } }) => {
    tell(problem, `${message[0].toUpperCase()}${message.slice(1)}.`);
    composer.giveBack(event);
  });
  messages.node.addEventListener("scroll", read);
  look = read;
  takes(messages.node, composer.take);
  return [head, state, messages.node, typing, problem, composer.node];
}

/** Who types; or, if nobody does, who has read one's last message. */
function ofTyping(log, self) {
  const typists = log.typists(self);
  if (typists.length === 1) return `${typists[0]} is typing…`;
  if (typists.length) return `${typists.slice(0, 3).join(", ")} are typing…`;
  const last = [...log.entries.values()].filter((entry) => entry.kind === "message").at(-1);
  if (last?.client !== self) return "";
  const readers = log.readers(last.seq, self);
  return readers.length ? `Read by ${readers.slice(0, 3).join(", ")}${readers.length > 3 ? " and others" : ""}` : "";
}

function ofContext(context) {
  if (!context) return "";
  const failed = typeof context.state === "object" ? context.state.failed?.message : null;
  if (failed || context.warning) return `Context: ${failed ?? context.warning}`;
  if (context.state === "current") return `Context: ${count(context.files_done, "file")}`;
  return `Context: reading, ${context.files_done} of ${count(context.files, "file")}`;
}

/** Where one writes: text, pictures, whether the model is asked, send and stop. */
function compose(room, problem) {
  const text = element("textarea", { id: "chat-text", rows: 2, placeholder: "Write a message", "aria-label": "Message" });
  const asks = element("input", { type: "checkbox", id: "chat-asks", checked: true });
  const asked = element("label", { class: "check", for: "chat-asks" }, "Ask the model");
  const send = element("button", { class: "primary", type: "submit" }, "Send");
  const stop = element("button", { class: "plain", type: "button", onclick: () => room.ask({ type: "answer.stop" }) }, "Stop");
  const attached = element("div", { class: "pictures" });
  const pictures = chooser("chat-picture", "Picture: add one", take, "Picture");
  let images = [];
  let typed = 0;

  const limits = () => room.log.joined?.limits ?? { event_bytes: 65536, images: 4 };

  async function take(file) {
    tell(problem, null);
    try {
      if (images.length >= limits().images) throw new Error(`A message has up to ${limits().images} pictures.`);
      // One event carries them all, and the text beside them.
      const room = Math.floor(limits().event_bytes * 0.7) - images.join("").length;
      if (room < LEAST) throw new Error("The message has no room for another picture.");
      const url = await dataUrl(file, Math.min(room, Math.max(LEAST, limits().event_bytes / 3)));
      images.push(url);
      drawImages();
    } catch (error) {
      tell(problem, error.message);
    }
  }

  function drawImages() {
    attached.replaceChildren(...images.map((url, at) =>
      element("button", { type: "button", "aria-label": `Remove picture ${at + 1}`, title: "Remove", onclick: () => {
        images.splice(at, 1);
        drawImages();
      } }, element("img", { src: url, alt: "" }))));
  }

  function submit(event) {
    event.preventDefault();
    const written = text.value.trim();
    if ((!written && !images.length) || send.disabled) return;
    tell(problem, null);
    const assistant = Boolean(room.log.joined?.assistant) && asks.checked;
    room.ask({ type: "message.create", id: unique("m"), text: written, assistant, ...(images.length ? { images } : {}) });
    text.value = "";
    images = [];
    typed = 0;
    drawImages();
    text.focus();
  }

  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    node.requestSubmit();
  });
  text.addEventListener("input", () => {
    const now = Date.now();
    if (!text.value) {
      if (typed) room.hint({ type: "typing.stop" });
      typed = 0;
    } else if (now - typed > TYPING) {
      room.hint({ type: "typing.start" });
      typed = now;
    }
  });

  const node = element("form", { class: "composer", onsubmit: submit }, attached, text,
    element("div", { class: "row" }, pictures, element("div", { class: "row asks" }, asks, asked),
      element("div", { class: "row end grow" }, stop, send)));
  takes(node, take);

  function update() {
    const { joined, answering } = room.log;
    send.disabled = !joined;
    stop.hidden = !answering;
    asks.parentElement.hidden = !joined?.assistant;
    pictures.hidden = !joined || joined.limits.images === 0;
  }

  /** What the server would not take is there to be sent again. */
  function giveBack(event) {
    if (event?.type !== "message.create" || text.value) return;
    text.value = event.text;
    images = event.images ?? [];
    drawImages();
  }

  update();
  return { node, take, update, giveBack };
}
