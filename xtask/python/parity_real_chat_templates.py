"""The chat templates of real models, and what transformers makes of the same conversations with each.

The templates are read where `cargo xtask models` puts them; none is written here. Writes `real_chat_templates.json`:
the conversations, and for each template and conversation the text that `apply_chat_template` renders (a long one as its
hashes, as it repeats much of the template's own text), or the error it raises. The present is a fixed moment.
"""

import argparse
import datetime
import hashlib
import json
import logging
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

from fixture_format import dump, versions

NOW = datetime.datetime(2026, 2, 3, 4, 5, 6)

# A rendering with more characters than this is written as its hashes.
LONGEST = 320

# Folders with a tokenizer, and one GGUF file; those that are known to have no template are told too.
TOKENIZERS = ["llama2", "llama3", "llama3_1", "qwen2_5", "qwen3", "gemma2", "gemma3", "mistral_nemo", "deepseek_v3",
              "command_r_plus", "internlm2", "yi", "gptoss"]
GGUF = {"SmolLM2-135M-Instruct": "SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m": "gemma-3-270m-q4_k_m.gguf"}
# Its tokenizer is a class of its own, which is not run.
OWN_CODE = ["internlm2"]
# A folder of templates alone.
COLLECTION = "trl-chat-templates"


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def system(content):
    return {"role": "system", "content": content}


def tool(content, call="abcdefgh1", name="weather"):
    return {"role": "tool", "tool_call_id": call, "name": name, "content": content}


def call(arguments, call="abcdefgh1", name="weather"):
    return {"id": call, "type": "function", "function": {"name": name, "arguments": arguments}}


BRIEF = system("Be brief.")
ASK = user("What is 2 + 2?")
FOUR = assistant("4.")
AGAIN = user("And 3 + 3?")
SIX = assistant("6!")
HARD = " <b>1 & 2</b> \"it's\" \\ {{ bos_token }} caf\u00e9 \u6771\u4eac \U0001f98a\r\n\t</s> "
WHERE = {"place": "\u6771\u4eac <\"&'>", "days": [1, 2.0, 1e-7, None, True], "a": {"z": {}, "b": []}}
WEATHER = {"type": "function", "function": {
    "name": "weather", "description": "Tells the weather: <sun> & \"rain\" \u2013 it's caf\u00e9\nweather.", "parameters": {
        "type": "object", "properties": {
            "place": {"type": "string", "description": "Where?", "enum": ["\u6771\u4eac", "<K\u00f6ln>"]},
            "days": {"type": "array", "items": {"type": "number"}, "default": [1.0, 1e-7, 1e16, -0.0]},
            "a": {"type": ["object", "null"], "properties": {"z": {"type": "boolean", "default": False}}}},
        "required": ["place"], "additionalProperties": False}, "strict": True}}
ADD = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {
    "type": "object", "properties": {"b": {"type": "integer", "maximum": 18446744073709551615},
                                     "a": {"type": "integer", "minimum": -9223372036854775808}}}}}
# As Command R's template wants them.
COHERE = {"name": "weather", "description": "Tells <the> weather.", "parameter_definitions": {
    "place": {"description": "Where & when?", "type": "str", "required": True}, "days": {"description": "How many?", "type": "int"}}}
PAGES = [{"title": "Rain & <sun>", "text": "It \"rains\" in K\u00f6ln."}, {"title": "B", "text": "b"}]
ANSWER = {"add_generation_prompt": True}

# Name: (messages, further arguments).
CONVERSATIONS = {
    "user": ([ASK], {}),
    "user, answer": ([ASK], ANSWER),
    "system and user": ([BRIEF, ASK], ANSWER),
    "turns": ([ASK, FOUR, AGAIN], ANSWER),
    "turns, whole": ([BRIEF, ASK, FOUR, AGAIN, SIX], {}),
    "tools": ([ASK], {"tools": [WEATHER], **ANSWER}),
    "system and tools": ([BRIEF, ASK], {"tools": [WEATHER, ADD], **ANSWER}),
    "call": ([ASK, assistant(None, tool_calls=[call(WHERE)])], {"tools": [WEATHER]}),
    "result": ([ASK, assistant("", tool_calls=[call(WHERE)]), tool("{\"sky\": \"<b>\"}")], {"tools": [WEATHER], **ANSWER}),
    "calls and results": ([BRIEF, ASK, assistant(None, tool_calls=[
        call(WHERE), call({"b": 18446744073709551615, "a": -1.5}, "abcdefgh2", "add")]), tool("sun"), tool("5", "abcdefgh2", "add"),
        FOUR, AGAIN], {"tools": [WEATHER, ADD], **ANSWER}),
    "calls with words": ([ASK, assistant("Let me look.", tool_calls=[call({"place": "K\u00f6ln"})]), tool("rain"), FOUR], {"tools": [WEATHER]}),
    "arguments as a text": ([ASK, assistant(None, tool_calls=[call(json.dumps(WHERE, ensure_ascii=False))]), tool("rain")], {"tools": [WEATHER], **ANSWER}),
    "result without tools": ([ASK, assistant(None, tool_calls=[call({})]), tool("rain")], ANSWER),
    "hard text": ([system(HARD), user(HARD), assistant(HARD), user(HARD)], ANSWER),
    "empty texts": ([system(""), user(""), assistant(""), user("")], ANSWER),
    "null contents": ([user(None), assistant(None), user("x")], ANSWER),
    "parts": ([system([{"type": "text", "text": "Be brief."}]), user([{"type": "text", "text": "What is "}, {"type": "text", "text": "2 + 2?"}])], ANSWER),
    "pictures": ([user([{"type": "image"}, {"type": "text", "text": "What is it?"}])], ANSWER),
    "thoughts in the text": ([ASK, assistant("<think>\n2 + 2\n</think>\n\n4."), AGAIN, assistant("<think>3 + 3</think>6!")], {}),
    "thoughts beside it": ([ASK, assistant("4.", reasoning_content="2 + 2"), AGAIN, assistant("6!", reasoning_content="\n3 + 3 ")], {}),
    "thoughts before a call": ([ASK, assistant("", reasoning_content="Hm.", tool_calls=[call({"place": "K\u00f6ln"})]), tool("rain")], {"tools": [WEATHER], **ANSWER}),
    "no thinking": ([ASK], {"variables": {"enable_thinking": False}, **ANSWER}),
    "thinking": ([BRIEF, ASK], {"variables": {"enable_thinking": True, "reasoning_effort": "high"}, **ANSWER}),
    "documents": ([ASK], {"documents": PAGES, **ANSWER}),
    "documents after turns": ([BRIEF, ASK, FOUR, AGAIN], {"documents": PAGES, **ANSWER}),
    "tools of another form": ([BRIEF, ASK, FOUR, AGAIN], {"tools": [COHERE], **ANSWER}),
    "tools of another form without a system message": ([ASK], {"tools": [COHERE]}),
    "date": ([ASK], {"variables": {"date_string": "29 Feb 2024", "tools_in_user_message": False}, "tools": [WEATHER], **ANSWER}),
    "two users": ([ASK, AGAIN], ANSWER),
    "an answer first": ([FOUR, ASK], ANSWER),
    "a late system message": ([ASK, FOUR, BRIEF], ANSWER),
    "a role that is none": ([ASK, {"role": "critic", "content": "Hm."}], ANSWER),
    "developer": ([{"role": "developer", "content": "Be brief."}, ASK], ANSWER),
    "to be continued": ([ASK, assistant("It is ")], {"continue_final_message": True}),
}


def short(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def rendering(text: str):
    """A text, or what it is held to where it is long: its length, its hash, and a few digits of each line's."""
    if len(text) <= LONGEST:
        return text
    lines = " ".join(short(line, 4) for line in text.split("\n"))
    return {"bytes": len(text.encode()), "sha256": short(text, 64), "lines": lines}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    logging.disable(logging.WARNING)

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return NOW

    chat_template_utils.datetime = Clock

    rendered, whole = [], {}

    def render(model: str, name: str, tokenizer, template: str) -> None:
        renderings, seen = {}, {}
        for conversation, (messages, options) in CONVERSATIONS.items():
            options = dict(options)
            variables = options.pop("variables", {})
            try:
                text = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, **options, **variables)
                told = rendering(text)
            except Exception as error:
                told = {"error": f"{type(error).__name__}: {error}"}
            key = json.dumps(told)
            repeats = key in seen and len(key) > 40 and "error" not in told
            renderings[conversation] = {"as": seen[key]} if repeats else told
            seen.setdefault(key, conversation)
        tokens = {name: token for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
        like = whole.setdefault(json.dumps([tokens, renderings]), name)
        rendered.append({"model": model, "template": name, "special_tokens": tokens,
                         **({"renderings": renderings} if like == name else {"renders_as": like})})

    for model in TOKENIZERS + list(GGUF) + [COLLECTION]:
        if not (args.models / model).is_dir():
            raise SystemExit(f"error: {args.models / model} is not there; run `cargo xtask models` first")
    without = []
    for model in TOKENIZERS + list(GGUF):
        kind = PreTrainedTokenizerFast if model in OWN_CODE else AutoTokenizer
        tokenizer = kind.from_pretrained(args.models / model, gguf_file=GGUF.get(model))
        templates = tokenizer.chat_template
        if not templates:
            without.append(model)
        for name, template in (templates.items() if isinstance(templates, dict) else [("", templates)] if templates else []):
            render(model, name, tokenizer, template)
    plain = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"x": 0}, unk_token="x")), bos_token="<s>", eos_token="</s>")
    for path in sorted((args.models / COLLECTION).glob("*.jinja")):
        render(COLLECTION, path.stem, plain, path.read_text(encoding="utf-8"))

    conversations = {name: json.dumps({"messages": messages, **options}) for name, (messages, options) in CONVERSATIONS.items()}
    fixture = {"made_with": versions(["transformers", "jinja2", "tokenizers", "gguf"]), "now": NOW.isoformat(), "without_template": without,
               "conversations": conversations, "templates": rendered}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "real_chat_templates.json").write_text(dump(fixture) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
