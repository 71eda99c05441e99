// The official client for JavaScript against a Candlepool server, as its users would use it.
//
//     node openai_chat.mjs BASE_URL KEY MODEL TOOL_MODEL
//
// MODEL is a small trained chat model; TOOL_MODEL is the same with a chat template that knows tools. What the client does is
// checked here; what it was told is printed as one JSON document.

import assert from "node:assert/strict";
import OpenAI from "openai";

const [baseURL, apiKey, model, toolModel] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 240_000 });
const capital = [{ role: "user", content: "What is the capital of France?" }];
const asked = { model, messages: capital, max_tokens: 24, temperature: 0 };

const whole = await client.chat.completions.create(asked);
const answer = whole.choices[0].message.content;
assert.match(answer, /Paris/);
assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);

let text = "";
let usage = null;
const stream = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(text, answer);
assert.deepEqual(usage.total_tokens, whole.usage.total_tokens);

const stopped = await client.chat.completions.create({ ...asked, stop: "Paris" });
assert.equal(stopped.choices[0].message.content, answer.split("Paris")[0]);
assert.equal(stopped.choices[0].finish_reason, "stop");

const several = await client.chat.completions.create({ ...asked, n: 2, temperature: 1.5, seed: 4, max_tokens: 8 });
assert.deepEqual(several.choices.map((choice) => choice.index), [0, 1]);

const told = await client.chat.completions.create({ ...asked, logprobs: true, top_logprobs: 2 });
const bytes = told.choices[0].logprobs.content.flatMap((token) => token.bytes);
assert.equal(Buffer.from(bytes).toString("utf8"), answer);

const schema = {
  type: "object",
  properties: { name: { type: "string", maxLength: 20 }, inhabitants: { type: "integer", minimum: 1, maximum: 99999999 } },
  required: ["name", "inhabitants"],
  additionalProperties: false,
};
const structured = await client.chat.completions.create({
  ...asked,
  messages: [{ role: "user", content: "Describe Paris as JSON with name and inhabitants." }],
  max_tokens: 120,
  response_format: { type: "json_schema", json_schema: { name: "city", schema, strict: true } },
});
const city = JSON.parse(structured.choices[0].message.content);
assert.deepEqual(Object.keys(city).sort(), ["inhabitants", "name"]);
assert.ok(Number.isInteger(city.inhabitants) && city.inhabitants >= 1);

// The client's own loop calls the function; with its result, the model is asked again.
let called = null;
const runner = client.chat.completions.runTools({
  model: toolModel,
  temperature: 0,
  max_tokens: 80,
  tool_choice: { type: "function", function: { name: "weather" } },
  parallel_tool_calls: false,
  messages: [{ role: "user", content: "How warm is it in Rome?" }],
  tools: [
    {
      type: "function",
      function: {
        name: "weather",
        description: "How warm it is in a city.",
        parameters: {
          type: "object",
          properties: { unit: { enum: ["celsius", "kelvin"] } },
          required: ["unit"],
          additionalProperties: false,
        },
        parse: JSON.parse,
        function: (given) => {
          called = given;
          return "21 degrees";
        },
      },
    },
  ],
});
await runner.done();
assert.ok(["celsius", "kelvin"].includes(called.unit), JSON.stringify(called));
const roles = runner.messages.map((message) => message.role);
assert.deepEqual(roles.slice(0, 3), ["user", "assistant", "tool"]);
const after = await client.chat.completions.create({ ...asked, model: toolModel, messages: runner.messages.slice(0, 3) });
assert.ok(after.choices[0].message.content.length > 0);

let refused = null;
try {
  await client.chat.completions.create({ ...asked, temperature: 3 });
} catch (error) {
  assert.ok(error instanceof OpenAI.BadRequestError, String(error));
  refused = { status: error.status, code: error.code, param: error.param };
}
console.log(JSON.stringify({ answer, city, called, refused }));
