// A connection to a room: made again when it breaks, going on from where it was; nothing that was sent is forgotten.

import { Failure, request, words } from "./api.js";
import { key } from "./key.js";
import { Gap, RoomLog } from "./roomlog.js";

/** Close codes that say not to come back, by the ranges that Centrifugo uses. */
const FINAL = (code) => (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);
/** What a subprotocol may be called. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const LONGEST_PAUSE = 15_000;
/** So long may it be quiet before the server is asked whether it is there, and so long may it take to say so. */
const QUIET = 25_000;
const PATIENCE = 10_000;

/** Letters that no other has, also where the page is not secure and `randomUUID` is missing. */
export function unique(prefix) {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return `${prefix}${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/**
 * Events: `change` (detail: what RoomLog.apply gives), `state` (detail: `{ state, message }`, where state is `joining`,
 * `joined`, `waiting` or `ended`), `refused` (detail: `{ event, message }`).
 */
export class Room extends EventTarget {
  log = new RoomLog();
  state = "joining";
  #socket = null;
  #pending = new Map();
  #failures = 0;
  #timer = 0;
  #watch = 0;
  #left = false;
  #online = () => this.state === "waiting" && this.#connect();

  constructor(room, client, name) {
    super();
    Object.assign(this, { room, client, name });
    window.addEventListener("online", this.#online);
    this.#connect();
  }

  /** Goes for good. */
  leave() {
    this.#left = true;
    window.removeEventListener("online", this.#online);
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    this.#socket?.close(1000);
  }

  /** Sends what is answered: kept, and sent again on the next connection, until it is. */
  ask(event) {
    const id = unique("e");
    this.#pending.set(id, { ...event, event_id: id });
    this.#send(this.#pending.get(id));
  }

  /** Sends what may be lost. */
  hint(event) {
    this.#send(event);
  }

  #send(event) {
    if (this.state === "joined") this.#socket.send(JSON.stringify(event));
  }

  #tell(state, message = null) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, message } }));
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#tell("joining");
    const url = new URL(`/rooms/${encodeURIComponent(this.room)}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const position = this.log.position() ?? {};
    const query = { client: this.client, name: this.name, ...position };
    // Headers are beyond pages here; what a subprotocol's name may not have goes with the address.
    const plain = !key() || TOKEN.test(key());
    if (!plain) query["api-key"] = key();
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const socket = new WebSocket(url, key() && plain ? ["realtime", `openai-insecure-api-key.${key()}`] : []);
    this.#socket = socket;
    socket.onopen = () => this.#listen();
    socket.onmessage = ({ data }) => socket === this.#socket && this.#take(JSON.parse(data));
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#closed(code, reason);
  }

  /** Browsers hide the heartbeats of WebSockets, so a connection that died unnoticed is found by asking. */
  #listen(asked = false) {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      if (asked) return this.#broken();
      this.#send({ type: "presence.list" });
      this.#listen(true);
    }, asked ? PATIENCE : QUIET);
  }

  #broken() {
    const socket = this.#socket;
    this.#closed(1006, "");
    socket.close();
  }

  #take(event) {
    this.#listen();
    if (event.type === "ack" || event.type === "error") return this.#answered(event);
    let changed;
    try {
      changed = this.log.apply(event);
    } catch (error) {
      if (error instanceof Gap) return this.#broken();
      throw error;
    }
    if (event.type === "room.joined") {
      this.#failures = 0;
      this.#tell("joined", event.message);
      for (const pending of this.#pending.values()) this.#send(pending);
    }
    this.dispatchEvent(new CustomEvent("change", { detail: changed }));
  }

  #answered({ type, event_id: id, error }) {
    const event = this.#pending.get(id);
    this.#pending.delete(id);
    if (type === "error") {
      this.dispatchEvent(new CustomEvent("refused", { detail: { event, message: error.message } }));
    }
  }

  async #closed(code, reason) {
    const joined = this.state === "joined";
    this.#socket = null;
    clearTimeout(this.#watch);
    if (this.#left) return;
    if (FINAL(code)) return this.#tell("ended", reason || "The server closed the room for this page.");
    this.#failures += 1;
    const pause = Math.min(LONGEST_PAUSE, 500 * 2 ** Math.min(this.#failures, 6)) * (0.5 + Math.random() / 2);
    this.#tell("waiting", joined ? "The connection was lost. Connecting again…" : null);
    // Why a handshake failed is kept from pages; asked without one, the server tells.
    const why = joined ? null : await this.#why();
    if (this.#left || this.state !== "waiting") return;
    if (why?.final) return this.#tell("ended", why.message);
    if (!joined) this.#tell("waiting", why?.message ?? "The room could not be joined. Trying again…");
    this.#timer = setTimeout(() => this.#connect(), why?.again ? 0 : pause);
  }

  async #why() {
    const before = key();
    try {
      await request(`/rooms/${encodeURIComponent(this.room)}?client=${encodeURIComponent(this.client)}`);
    } catch (error) {
      const lost = error instanceof Failure && error.lost;
      // A request that upgrades nothing is refused, with 400 or 426, by a server that has rooms.
      if ([400, 426].includes(error.status)) return before !== key() ? { again: true } : null;
      const final = [401, 403, 404].includes(error.status);
      return { final, message: lost ? "The server cannot be reached. Connecting again…" : words(error) };
    }
    return null;
  }
}
