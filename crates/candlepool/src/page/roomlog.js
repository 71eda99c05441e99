// What a room's events add up to: who is there, and everything that was said, in one order. Pure; drawn by messages.js.

/** A frame that does not follow from what is known: the connection has to be made anew. */
export class Gap extends Error {}

const SEQUENCED = ["message.created", "message.updated", "message.deleted", "answer.created", "answer.done", "notice"];

export class RoomLog {
  joined = null;
  epoch = null;
  seq = 0;
  /** By id, in the room's order: `{ kind: "message" | "answer" | "notice", id, seq, ... }`. */
  entries = new Map();
  members = [];
  typing = new Set();
  reads = new Map();
  answering = null;
  context = null;

  /** Where to go on after a broken connection; `null` before the first. */
  position() {
    return this.epoch === null ? null : { epoch: this.epoch, seq: this.seq };
  }

  /**
   * Takes an event. Gives what is to be drawn anew: `reset` for everything, `entries` for some ids, `people` for presence,
   * typing and reads.
   */
  apply(event) {
    const changed = { reset: false, entries: [], people: false };
    if (event.type === "room.joined") return this.#join(event, changed);
    if (SEQUENCED.includes(event.type)) {
      if (event.epoch === this.epoch && event.seq <= this.seq) return changed;
      if (event.epoch !== this.epoch || event.seq !== this.seq + 1) throw new Gap(`${event.seq} after ${this.seq}`);
      this.seq = event.seq;
    }
    this.#handlers[event.type]?.(event, changed);
    return changed;
  }

  #join(event, changed) {
    const anew = !event.resumed || event.epoch !== this.epoch;
    if (anew) this.entries.clear();
    this.joined = event;
    this.epoch = event.epoch;
    this.seq = event.seq;
    this.members = event.members;
    this.typing = new Set(event.typing);
    this.reads = new Map(event.reads.map(({ client, seq }) => [client, seq]));
    this.answering = event.answering;
    this.context = event.context ?? null;
    return { ...changed, reset: anew, people: true };
  }

  #handlers = {
    "message.created": (event, changed) => {
      const { message, seq, at } = event;
      this.#put({ kind: "message", seq, at, edited: false, images: [], ...message }, changed);
      this.typing.delete(message.client);
      changed.people = true;
    },
    "message.updated": ({ id, text }, changed) => this.#change(id, { text, edited: true }, changed),
    "message.deleted": ({ id }, changed) => {
      this.entries.delete(id);
      changed.entries.push(id);
    },
    "answer.created": ({ answer, seq, at }, changed) => {
      this.answering = answer.id;
      this.#put({ kind: "answer", seq, at, text: "", status: "writing", citations: [], ...answer }, changed);
    },
    "answer.delta": ({ id, offset, delta }, changed) => {
      const answer = this.entries.get(id);
      if (!answer || answer.status !== "writing") return;
      // Offsets count characters, not the halves that JavaScript counts.
      const letters = offset === 0 ? [] : [...answer.text];
      if (offset > letters.length) throw new Gap(`an answer goes on at ${offset} of ${letters.length}`);
      this.#change(id, { text: letters.slice(0, offset).join("") + delta }, changed);
    },
    "answer.done": ({ id, status, text, error, client }, changed) => {
      if (this.answering === id) this.answering = null;
      this.#change(id, { status, text, error: error ?? null, stoppedBy: client ?? null }, changed);
      changed.people = true;
    },
    notice: ({ seq, at, code, text }, changed) => this.#put({ kind: "notice", id: `notice_${seq}`, seq, at, code, text }, changed),
    "presence.members": ({ members, typing }, changed) => {
      this.members = members;
      this.typing = new Set(typing);
      changed.people = true;
    },
    "presence.joined": ({ client, name }, changed) => {
      if (!this.members.some((member) => member.client === client)) this.members = [...this.members, { client, name }];
      changed.people = true;
    },
    "presence.left": ({ client }, changed) => {
      this.members = this.members.filter((member) => member.client !== client);
      this.typing.delete(client);
      changed.people = true;
    },
    "typing.updated": ({ client, typing }, changed) => {
      if (typing) this.typing.add(client);
      else this.typing.delete(client);
      changed.people = true;
    },
    "read.updated": ({ client, at_seq: at }, changed) => {
      this.reads.set(client, Math.max(at, this.reads.get(client) ?? 0));
      changed.people = true;
    },
    "context.updated": ({ context }, changed) => {
      this.context = context;
      changed.people = true;
    },
  };

  #put(entry, changed) {
    this.entries.set(entry.id, entry);
    changed.entries.push(entry.id);
  }

  #change(id, changes, changed) {
    const entry = this.entries.get(id);
    if (!entry) return;
    Object.assign(entry, changes);
    changed.entries.push(id);
  }

  /** Names of those who type, oneself left out. */
  typists(self) {
    return this.members.filter(({ client }) => client !== self && this.typing.has(client)).map(({ name }) => name);
  }

  /** Names of the others who have read as far as a message. */
  readers(seq, self) {
    return this.members.filter(({ client }) => client !== self && (this.reads.get(client) ?? 0) >= seq).map(({ name }) => name);
  }
}
