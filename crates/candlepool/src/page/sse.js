// Server-sent events, read from a response's body as it comes.
// The format: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream.

/** Cuts text that comes in pieces into events. */
export class EventParser {
  #rest = "";
  #data = [];
  #event = "";

  /** Takes the next piece; gives the events that it completes, as `{ event, data }`. */
  push(text) {
    const events = [];
    this.#rest += text;
    for (;;) {
      const end = this.#rest.search(/[\r\n]/);
      if (end < 0) break;
      const crlf = this.#rest.startsWith("\r\n", end);
      // A carriage return at the end of a piece may be half of a line's end.
      if (this.#rest[end] === "\r" && end + 1 === this.#rest.length) break;
      const line = this.#rest.slice(0, end);
      this.#rest = this.#rest.slice(end + (crlf ? 2 : 1));
      const event = this.#line(line);
      if (event) events.push(event);
    }
    return events;
  }

  #line(line) {
    if (line === "") {
      const event = this.#data.length ? { event: this.#event || "message", data: this.#data.join("\n") } : null;
      this.#data = [];
      this.#event = "";
      return event;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    if (name === "event") this.#event = value;
    return null;
  }
}

/** The events of a response, one after the other, until its body ends or `[DONE]` comes. */
export async function* events(response) {
  const parser = new EventParser();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      for (const event of parser.push(value)) {
        if (event.data === "[DONE]") return;
        yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
