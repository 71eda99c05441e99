// The parts of the web page that need no browser.
//
//     node page_parts.mjs FOLDER
//
// FOLDER has the page's files.

import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

// Beside the package.json that says that these are modules.
const parts = join(import.meta.dirname, "page");
cpSync(process.argv[2], parts, { recursive: true });
const load = (name) => import(join(parts, name));
const { EventParser } = await load("sse.js");
const { plane, similarities } = await load("geometry.js");
const { Rates, byModel } = await load("metrics.js");
const { Gap, RoomLog } = await load("roomlog.js");
const { inWords } = await load("api.js");
const { bytes, count, duration, shortened } = await load("format.js");

/** Numbers like chance's, the same each time. */
function random(seed) {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

test("events are the same however the stream is cut", () => {
  const stream = ": hello\r\n\r\nevent: a\r\ndata: 1\r\ndata:2\r\n\r\ndata: {\"x\": \"é\"}\n\nid: 4\nretry\ndata\n\nevent: lost\n\ndata: last\r\rdata: unfinished";
  const expected = [
    { event: "a", data: "1\n2" },
    { event: "message", data: '{"x": "é"}' },
    { event: "message", data: "" },
    { event: "message", data: "last" },
  ];
  for (let first = 0; first <= stream.length; first += 1) {
    for (const second of [first, first + 1, first + 7, stream.length]) {
      const parser = new EventParser();
      const pieces = [stream.slice(0, first), stream.slice(first, second), stream.slice(Math.max(first, second))];
      assert.deepEqual(pieces.flatMap((piece) => parser.push(piece)), expected, `cut at ${first} and ${second}`);
    }
  }
});

test("similarities are cosines", () => {
  const alike = similarities([[3, 0], [0, 2], [1, 1], [-5, 0], [0, 0]]);
  const half = Math.SQRT1_2;
  const expected = [[1, 0, half, -1, 0], [0, 1, half, 0, 0], [half, half, 1, -half, 0], [-1, 0, -half, 1, 0], [0, 0, 0, 0, 0]];
  alike.forEach((row, i) => row.forEach((value, j) => assert.ok(Math.abs(value - expected[i][j]) < 1e-12, `${i} ${j} ${value}`)));
});

test("a plane in many dimensions is found again, its distances kept", () => {
  const next = random(7);
  for (let turn = 0; turn < 20; turn += 1) {
    const size = 30;
    // Two axes at right angles, moved away from the origin.
    const [u, v] = [0, 1].map((parity) => Array.from({ length: size }, (_, k) => (k % 2 === parity ? next() - 0.5 : 0)));
    const unit = (a) => a.map((part) => part / Math.hypot(...a));
    const [x, y] = [unit(u), unit(v)];
    const flat = Array.from({ length: 12 }, () => [(next() - 0.5) * 10, (next() - 0.5) * 3]);
    const vectors = flat.map(([a, b]) => x.map((_, k) => a * x[k] + b * y[k] + 4));
    const { points, shares } = plane(vectors);
    assert.ok(Math.abs(shares[0] + shares[1] - 1) < 1e-6, shares.join());
    assert.ok(shares[0] >= shares[1]);
    for (let i = 0; i < flat.length; i += 1) {
      for (let j = 0; j < i; j += 1) {
        const there = Math.hypot(flat[i][0] - flat[j][0], flat[i][1] - flat[j][1]);
        const here = Math.hypot(points[i][0] - points[j][0], points[i][1] - points[j][1]);
        assert.ok(Math.abs(there - here) < 1e-3, `${there} became ${here}`);
      }
    }
  }
});

test("a map of one text, of equal ones and of a line of them has no gaps", () => {
  assert.deepEqual(plane([]), { points: [], shares: [0, 0] });
  assert.deepEqual(plane([[1, 2, 3]]), { points: [[0, 0]], shares: [0, 0] });
  assert.deepEqual(plane([[1, 2], [1, 2]]).points, [[0, 0], [0, 0]]);
  const { points, shares } = plane([[0, 0, 1], [0, 0, 2], [0, 0, 3]]);
  assert.ok(Math.abs(Math.abs(points[2][0] - points[0][0]) - 2) < 1e-9 && points.every(([, y]) => y === 0), JSON.stringify(points));
  assert.ok(Math.abs(shares[0] - 1) < 1e-9 && shares[1] === 0);
});

test("counters become rates", () => {
  const text = '# TYPE x_total counter\nx_total{model="a\\"b",kind="c"} 12\nx_total{model="d"} 3e2\nx_total_more{model="d"} 9\nx_total 4\n';
  assert.deepEqual([...byModel(text, "x_total")], [['a"b', 12], ["d", 300]]);
  const rates = new Rates();
  assert.equal(rates.of("a"), null);
  rates.read(new Map([["a", 100]]), 10);
  assert.equal(rates.of("a"), null);
  rates.read(new Map([["a", 160], ["b", 8]]), 12);
  assert.deepEqual([rates.of("a"), rates.of("b")], [30, 4]);
  // The server began anew.
  rates.read(new Map([["a", 5]]), 14);
  assert.equal(rates.of("a"), null);
  rates.read(new Map([["a", 7]]), 16);
  assert.equal(rates.of("a"), 1);
  for (let at = 18; at < 40; at += 2) rates.read(new Map([["a", 7]]), at);
  assert.equal(rates.of("a"), 0);
});

test("failures are told in plain words", () => {
  assert.equal(inWords(429, { code: "overloaded", message: "the queue is full" }, "3"), "The server has more to do than it can take right now. The queue is full. Try again in 3 s.");
  assert.equal(inWords(400, { code: "invalid_value", message: "steps is 0" }), "Steps is 0.");
  assert.equal(inWords(502, null), "The server answered 502.");
});

test("numbers are as people read them", () => {
  assert.deepEqual([0, 1023, 1024, 1536, 10 << 20, 19 * 2 ** 30].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10 MiB", "19 GiB"]);
  assert.deepEqual([0.25, 1.5, 59.4, 61, 7260, 90_000].map(duration), ["250 ms", "1.5 s", "59 s", "1 min 1 s", "2 h 1 min", "1 d 1 h"]);
  assert.deepEqual([count(1, "model"), count(1200, "model")], ["1 model", "1,200 models"]);
  assert.deepEqual([shortened("👍👍👍", 3), shortened("👍👍👍👍", 3)], ["👍👍👍", "👍👍…"]);
});

const joined = (more = {}) => ({
  type: "room.joined", epoch: "e", seq: 0, room: "r", last: 0, resumed: false, reason: null, message: null,
  you: { client: "ada", name: "Ada" }, members: [{ client: "ada", name: "Ada" }], typing: [], reads: [], assistant: null,
  answering: null, context: null, limits: {}, ...more,
});
const message = (seq, text, client = "ada") => ({ type: "message.created", epoch: "e", seq, at: 0, message: { id: `m${seq}`, client, name: client, text } });
const answer = (seq) => ({ type: "answer.created", epoch: "e", seq, at: 0, answer: { id: "a", question: "m1", client: "ada", model: "x" } });
const delta = (offset, text) => ({ type: "answer.delta", epoch: "e", seq: 2, id: "a", offset, delta: text });
const texts = (log) => [...log.entries.values()].map((entry) => entry.text);

test("a room's log follows its events", () => {
  const log = new RoomLog();
  assert.equal(log.position(), null);
  assert.equal(log.apply(joined()).reset, true);
  log.apply(message(1, "one"));
  log.apply(message(2, "two", "bob"));
  log.apply({ type: "message.updated", epoch: "e", seq: 3, at: 0, id: "m1", text: "ONE", client: "ada" });
  assert.deepEqual(texts(log), ["ONE", "two"]);
  assert.deepEqual(log.apply({ type: "message.deleted", epoch: "e", seq: 4, at: 0, id: "m2", client: "bob" }).entries, ["m2"]);
  assert.deepEqual(texts(log), ["ONE"]);
  assert.deepEqual(log.position(), { epoch: "e", seq: 4 });
  // Known already.
  assert.deepEqual(log.apply(message(2, "two")).entries, []);
  assert.deepEqual(texts(log), ["ONE"]);
  assert.throws(() => log.apply(message(6, "six")), Gap);
  assert.throws(() => log.apply({ ...message(5, "five"), epoch: "other" }), Gap);
  assert.deepEqual(log.position(), { epoch: "e", seq: 4 });
});

test("an answer is put together from its pieces, by characters", () => {
  const log = new RoomLog();
  log.apply(joined());
  log.apply(message(1, "?"));
  log.apply(answer(2));
  assert.equal(log.answering, "a");
  log.apply(delta(0, "👍"));
  log.apply(delta(1, " yes"));
  assert.equal(log.entries.get("a").text, "👍 yes");
  // After a resume the whole of it comes again.
  log.apply(delta(0, "👍 yes, in"));
  log.apply(delta(9, "deed"));
  assert.equal(log.entries.get("a").text, "👍 yes, indeed");
  assert.throws(() => log.apply(delta(99, "!")), Gap);
  log.apply({ type: "answer.done", epoch: "e", seq: 3, at: 0, id: "a", status: "stopped", text: "👍", client: "bob" });
  assert.deepEqual([log.answering, log.entries.get("a").status, log.entries.get("a").text], [null, "stopped", "👍"]);
  log.apply(delta(1, "late"));
  assert.equal(log.entries.get("a").text, "👍");
});

test("coming back goes on, or begins anew", () => {
  const log = new RoomLog();
  log.apply(joined());
  log.apply(message(1, "one"));
  assert.equal(log.apply(joined({ seq: 1, last: 2, resumed: true })).reset, false);
  log.apply(message(2, "two"));
  assert.deepEqual(texts(log), ["one", "two"]);
  assert.equal(log.apply(joined({ epoch: "f", seq: 7, resumed: false, reason: "epoch" })).reset, true);
  assert.deepEqual([texts(log), log.position()], [[], { epoch: "f", seq: 7 }]);
});

test("presence, typing and reading", () => {
  const log = new RoomLog();
  log.apply(joined());
  const noise = (type, more) => log.apply({ type, epoch: "e", seq: 0, ...more });
  noise("presence.joined", { client: "bob", name: "Bob", members: 2 });
  noise("presence.joined", { client: "bob", name: "Bob", members: 2 });
  assert.equal(log.members.length, 2);
  noise("typing.updated", { client: "bob", typing: true });
  noise("typing.updated", { client: "ada", typing: true });
  assert.deepEqual(log.typists("ada"), ["Bob"]);
  noise("read.updated", { client: "bob", at_seq: 5 });
  noise("read.updated", { client: "bob", at_seq: 3 });
  assert.deepEqual([log.readers(5, "ada"), log.readers(6, "ada")], [["Bob"], []]);
  noise("presence.left", { client: "bob", name: "Bob", members: 1 });
  assert.deepEqual([log.members.length, log.typists("ada")], [1, []]);
  assert.deepEqual(noise("something.new", {}).entries, []);
});
