"""The official client's chats and completions against a Candlepool server, as its users would use them.

    openai_chat.py BASE_URL KEY MODEL TOOL_MODEL

MODEL is a small trained chat model; TOOL_MODEL is the same with a chat template that knows tools. What the client does is
checked here; what it was told is printed as one JSON document.
"""

import asyncio
import json
import sys

import openai
from pydantic import BaseModel, ConfigDict

BASE_URL, KEY, MODEL, TOOL_MODEL = sys.argv[1:5]
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
OPTIONS = {"api_key": KEY, "base_url": BASE_URL, "max_retries": 0, "timeout": 240}

client = openai.OpenAI(**OPTIONS)


def chat(messages=CAPITAL, **options):
    return client.chat.completions.create(**({"model": MODEL, "messages": messages, "max_tokens": 24, "temperature": 0} | options))


def refused(kind, **options):
    try:
        chat(**options)
    except kind as error:
        assert type(error) is kind, error
        assert error.body["message"] and "\n" not in error.body["message"], error.body
        return {"code": error.code, "param": error.param, "status": error.status_code}
    raise AssertionError(f"not refused: {options}")


def one_answer():
    answer = chat()
    assert answer.object == "chat.completion" and answer.model == MODEL and len(answer.choices) == 1
    message = answer.choices[0].message
    assert message.role == "assistant" and "Paris" in message.content, message
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    # The next turn begins with all that was said, and finds it computed.
    follow = CAPITAL + [message, {"role": "user", "content": "And of Italy?"}]
    again = chat(follow)
    assert again.usage.prompt_tokens_details.cached_tokens >= 16, again.usage
    return message.content, answer.usage


def streamed(whole, usage):
    stream = chat(stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole, (text, whole)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == usage.total_tokens
    assert len(chunks) > 4, "it came in one piece"
    with client.chat.completions.stream(model=MODEL, messages=CAPITAL, max_tokens=24, temperature=0) as events:
        assert events.get_final_completion().choices[0].message.content == whole


def stopped(whole):
    answer = chat(stop=["Paris"])
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content == whole.split("Paris")[0], answer


def several():
    answer = chat(n=3, temperature=1.5, seed=11, max_tokens=12)
    texts = [choice.message.content for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2] and len(set(texts)) > 1, texts
    return texts


def logprobs(whole):
    answer = chat(logprobs=True, top_logprobs=4)
    told = answer.choices[0].logprobs.content
    assert b"".join(bytes(token.bytes) for token in told).decode() == whole
    for token in told:
        assert token.logprob <= 0 and len(token.top_logprobs) == 4
        assert token.top_logprobs[0].token == token.token, "greedy takes the likeliest"
    return len(told)


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    country: str
    is_capital: bool


def structured():
    messages = [{"role": "user", "content": "Describe Paris as JSON with name, country and is_capital."}]
    answer = client.chat.completions.parse(
        model=MODEL, messages=messages, response_format=City, temperature=0, max_tokens=160
    )
    assert answer.choices[0].finish_reason == "stop", answer
    assert isinstance(answer.choices[0].message.parsed, City)
    # A parsed message can be sent back, too.
    follow = messages + [answer.choices[0].message, {"role": "user", "content": "Thank you."}]
    assert chat(follow).choices[0].message.content
    free = chat(messages, response_format={"type": "json_object"}, max_tokens=200)
    if free.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(free.choices[0].message.content), dict)
    return answer.choices[0].message.parsed.model_dump()


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "How warm it is in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}, "unit": {"enum": ["celsius", "kelvin"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}


def tools():
    messages = [{"role": "user", "content": "How warm is it in Rome?"}]
    asked = {"model": TOOL_MODEL, "tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 80}
    answer = chat(messages, **asked)
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None, choice
    (call,) = choice.message.tool_calls
    arguments = json.loads(call.function.arguments)
    assert call.function.name == "weather" and arguments["unit"] in ["celsius", "kelvin"], call
    with client.chat.completions.stream(**({"messages": messages, "temperature": 0} | asked)) as events:
        gathered = events.get_final_completion().choices[0].message.tool_calls
    assert [one.function.arguments for one in gathered] == [call.function.arguments]
    gathered[0].id = call.id
    messages += [{"role": "assistant", "tool_calls": gathered}, {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}]
    told = chat(messages, model=TOOL_MODEL, tools=[TOOL], tool_choice="none")
    assert "21" in told.choices[0].message.content, told
    return arguments


def completions():
    asked = {"model": MODEL, "prompt": "The capital of France is", "max_tokens": 4, "temperature": 0}
    answer = client.completions.create(**asked)
    text = answer.choices[0].text
    assert answer.object == "text_completion" and text.startswith(" Paris"), answer
    assert client.completions.create(**asked, echo=True).choices[0].text == asked["prompt"] + text
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == text
    assert chunks[-1].usage.completion_tokens == answer.usage.completion_tokens
    listed = client.completions.create(**(asked | {"prompt": ["One, two,", asked["prompt"]], "logprobs": 2}))
    assert listed.choices[1].text == text
    assert len(listed.choices[1].logprobs.tokens) == len(listed.choices[1].logprobs.top_logprobs) == 4
    return text


async def concurrently():
    async with openai.AsyncOpenAI(**OPTIONS) as c:
        calls = [
            c.chat.completions.create(model=MODEL, messages=CAPITAL, max_tokens=24, temperature=0) for _ in range(4)
        ]
        return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]


def errors():
    return {
        "temperature": refused(openai.BadRequestError, temperature=-1),
        "max_tokens": refused(openai.BadRequestError, max_tokens=0),
        "schema": refused(
            openai.BadRequestError,
            response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "sausage"}}},
        ),
        "context": refused(openai.BadRequestError, messages=[{"role": "user", "content": "word " * 20_000}], stream=True),
        "unsupported": refused(openai.BadRequestError, reasoning_effort="high"),
        "tools": refused(openai.BadRequestError, tools=[TOOL]),
        "model": refused(openai.NotFoundError, model="nobody"),
        "deadline": refused(
            openai.APIStatusError if not hasattr(openai, "RequestTimeoutError") else openai.RequestTimeoutError,
            extra_headers={"X-Request-Timeout": "0.001"},
        ),
    }


def main():
    whole, usage = one_answer()
    streamed(whole, usage)
    stopped(whole)
    together = asyncio.run(concurrently())
    assert all("Paris" in text for text in together), together
    print(
        json.dumps(
            {
                "answer": whole,
                "several": several(),
                "logprobs": logprobs(whole),
                "city": structured(),
                "arguments": tools(),
                "completion": completions(),
                "errors": errors(),
            }
        )
    )


main()
