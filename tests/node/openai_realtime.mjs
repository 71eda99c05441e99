// A text conversation over the official client's realtime connection; prints what came as one line of JSON.
// node openai_realtime.mjs BASE_URL KEY MODEL

import net from 'node:net';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

const [baseURL, apiKey, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey });
// The client always asks for TLS, which a proxy would end; here there is none.
const createConnection = ({ host, port }) => net.connect({ host, port });
const realtime = new OpenAIRealtimeWS({ model, options: { createConnection } }, client);

const events = [];
let wake = () => {};
realtime.on('event', (event) => {
  events.push(event);
  wake();
});
const errors = [];
realtime.on('error', (error) => errors.push(error.error?.message ?? error.message));

let read = 0;
async function until(...kinds) {
  for (;;) {
    while (read < events.length) {
      const event = events[read++];
      if (kinds.includes(event.type)) return event;
    }
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${kinds} within a minute; errors: ${errors}`)), 60_000);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

async function say(text) {
  const content = [{ type: 'input_text', text }];
  realtime.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
  return (await until('conversation.item.done')).item.id;
}

const created = await until('session.created');
realtime.send({ type: 'session.update', session: { type: 'realtime', instructions: 'Answer in one short sentence.' } });
await until('session.updated');

await say('What is the capital of France?');
realtime.send({ type: 'response.create', response: { max_output_tokens: 40 } });
let pieces = '';
let text;
while (text === undefined) {
  const event = await until('response.output_text.delta', 'response.output_text.done');
  if (event.type === 'response.output_text.done') text = event.text;
  else pieces += event.delta;
}
const done = await until('response.done');

await say('Count from 1 to 1000, one number a line.');
realtime.send({ type: 'response.create' });
const delta = await until('response.output_text.delta');
realtime.send({ type: 'response.cancel', response_id: delta.response_id });
const cancelled = await until('response.done');

const unwanted = await say('Forget this.');
realtime.send({ type: 'conversation.item.delete', item_id: unwanted });
const deleted = await until('conversation.item.deleted');

realtime.close();
console.log(
  JSON.stringify({
    session: created.session.model,
    answer: { pieces, text, status: done.response.status },
    cancelled: cancelled.response.status,
    deleted: deleted.item_id === unwanted,
    errors,
  }),
);
