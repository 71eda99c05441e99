// What was said in a room, drawn: one element an entry, changed in place.

import { announce, element } from "./dom.js";
import { shortened } from "./format.js";

const ENDS = {
  length: "Cut off: that is as long as an answer may be.",
  stopped: "Stopped.",
  failed: "The answer failed.",
  interrupted: "Interrupted: the server was restarted.",
};

/** The log of a room. `can` has `edit(id, text)`, `remove(id)`. */
export class Messages {
  node = element("div", { class: "log", role: "log", "aria-label": "Messages", "aria-live": "off", tabIndex: 0 });
  #nodes = new Map();
  #can;
  #follows = true;

  constructor(can) {
    this.#can = can;
    // A phone's keyboard, or a window made smaller, hides nothing new.
    new ResizeObserver(() => this.#follows && this.#follow()).observe(this.node);
    this.node.addEventListener("scroll", () => (this.#follows = this.atEnd()));
  }

  /** Draws what changed; follows the newest where the reader was at the end. */
  draw(room, { reset, entries }) {
    const { node } = this;
    if (reset) {
      this.#nodes.clear();
      node.replaceChildren();
    }
    for (const id of reset ? room.log.entries.keys() : entries) this.#entry(room, id);
    if (node.childElementCount === 0) node.append(element("p", { class: "empty quiet" }, "Nothing was said here yet."));
    else if (this.#nodes.size) node.querySelector(".empty")?.remove();
    if (this.#follows || reset) this.#follow();
  }

  #follow() {
    this.node.scrollTop = this.node.scrollHeight;
  }

  /** Whether the newest is in sight. */
  atEnd() {
    const { node } = this;
    return node.clientHeight > 0 && node.scrollHeight - node.scrollTop - node.clientHeight < 80;
  }

  #entry(room, id) {
    const entry = room.log.entries.get(id);
    const known = this.#nodes.get(id);
    if (!entry) {
      known?.node.remove();
      this.#nodes.delete(id);
      return;
    }
    if (known) return known.update(entry);
    const made = entry.kind === "notice" ? notice(entry) : said(entry, room, this.#can);
    this.#nodes.set(id, made);
    this.node.append(made.node);
    // What is replayed is read in the log; what is new is told.
    if (entry.kind === "message" && entry.client !== room.client && entry.seq > room.log.joined.last) {
      announce(`${entry.name}: ${shortened(entry.text || "a picture", 200)}`);
    }
  }
}

function notice({ text }) {
  return { node: element("p", { class: "notice quiet" }, text), update() {} };
}

function said(first, room, can) {
  const own = first.kind === "message" && first.client === room.client;
  const assistant = first.kind === "answer";
  const removable = own || (assistant && first.client === room.client);
  const name = assistant ? room.log.joined.assistant?.name ?? "assistant" : first.name;
  const body = element("div", { class: "said" });
  const pictures = element("div", { class: "pictures" });
  const below = element("div", { class: "below" });
  const remark = element("span", { class: "hint" });
  const sources = element("ul", { class: "sources", "aria-label": "Sources" });
  const edit = element("button", { type: "button", class: "link", onclick: () => begin() }, "Edit");
  const remove = element("button", { type: "button", class: "link", onclick: () => confirm() }, "Delete");
  remove.addEventListener("blur", () => (remove.textContent = "Delete"));
  const time = new Date(first.at);
  const head = element("p", { class: "who" }, element("strong", {}, name), " ",
    element("time", { dateTime: time.toISOString() }, time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })));
  const node = element("article", { class: `message${own ? " own" : ""}${assistant ? " answered" : ""}`, "aria-label": name, "data-id": first.id },
    head, pictures, body, sources, below);
  for (const [at, url] of (first.images ?? []).entries()) {
    // Only what is a picture by itself: a room's members choose these texts.
    if (url.startsWith("data:image/")) pictures.append(element("img", { src: url, alt: `Picture ${at + 1} of ${name}` }));
  }
  below.append(remark, ...(own ? [edit] : []), ...(removable ? [remove] : []));
  let current = first;
  let editor = null;

  function confirm() {
    if (remove.textContent !== "Delete") return can.remove(current.id);
    remove.textContent = "Delete for everybody?";
  }

  function begin() {
    if (editor) return;
    const text = element("textarea", { value: current.text, rows: 3, "aria-label": "New text" });
    const end = () => {
      editor.replaceWith(body);
      editor = null;
      edit.focus();
    };
    const save = () => {
      if (text.value.trim() && text.value !== current.text) can.edit(current.id, text.value);
      end();
    };
    editor = element("div", { class: "stack" }, text, element("div", { class: "row" },
      element("button", { type: "button", class: "primary", onclick: save }, "Save"),
      element("button", { type: "button", class: "plain", onclick: end }, "Cancel")));
    editor.addEventListener("keydown", (event) => {
      if (event.key === "Escape") end();
      if (event.key === "Enter" && !event.shiftKey && event.target === text && !event.isComposing) {
        event.preventDefault();
        save();
      }
    });
    body.replaceWith(editor);
    text.focus();
  }

  function update(entry) {
    const was = current.status;
    current = { ...entry };
    body.textContent = entry.text;
    const writing = entry.status === "writing";
    node.classList.toggle("writing", writing);
    node.setAttribute("aria-busy", String(writing));
    remove.hidden = writing;
    remark.textContent = assistant ? ENDS[entry.status] ?? "" : entry.edited ? "Edited" : "";
    if (entry.error) remark.textContent += ` ${entry.error}`;
    if (entry.context_error) remark.textContent += ` Answered without sources: ${entry.context_error}`;
    below.hidden = ![...below.children].some((child) => !child.hidden && child.textContent);
    if (was === "writing" && !writing && assistant) announce(`${name}: ${entry.text || remark.textContent}`);
  }

  for (const [at, cited] of (first.citations ?? []).entries()) sources.append(source(cited, at + 1));
  sources.hidden = sources.childElementCount === 0;
  update(first);
  return { node, update };
}

function source({ path, first_line: first, last_line: last }, number) {
  return element("li", {}, `[${number}] ${path}, ${first === last ? `line ${first}` : `lines ${first}–${last}`}`);
}
