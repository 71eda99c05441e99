"""Chat templates, written for this project so that each shows one thing, and what transformers makes of them.

Writes `chat_templates.json`: for each case the template, what it is given, and the text that `apply_chat_template`
renders, or the beginning of the error it raises. The present is a fixed moment.
"""

import argparse
import datetime
import json
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

from fixture_format import dump, versions

NOW = datetime.datetime(2026, 2, 3, 4, 5, 6)

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": " What is <b>2 & 2</b>?\n"}
ANSWER = {"role": "assistant", "content": "It's \"4\" \u2013 caf\u00e9 \U0001f98a"}
AGAIN = {"role": "user", "content": "And 3?"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {
    "name": "add", "arguments": {"b": 2, "a": [1.5, True, None, "x\u00e9\n\"\\"], "z": {"nested": {}, "list": []}}}}]}
RESULT = {"role": "tool", "tool_call_id": "abcdefghi", "name": "add", "content": "5"}
THOUGHT = {"role": "assistant", "content": "five", "reasoning": "3+2"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "image"}, {"type": "text", "text": "?"}]}
TOOL = {"type": "function", "function": {"name": "add", "description": "Adds <numbers> & more.", "parameters": {
    "type": "object", "strict": True, "properties": {"a": {"type": "number", "default": 1e-7}, "b": {"type": "number", "maximum": 1e16}},
    "required": ["a"]}}}

EACH = "{% for message in messages %}"
END = "{% endfor %}"

# Name: (template, messages, further arguments).
CASES = {
    "plain": (EACH + "<|{{ message.role }}|>{{ message['content'] }}</s>" + END
              + "{% if add_generation_prompt %}<|assistant|>{% endif %}", [SYSTEM, USER, ANSWER], {}),
    "generation-prompt": (EACH + "<|{{ message.role }}|>{{ message['content'] }}</s>\n" + END
                          + "{% if add_generation_prompt %}<|assistant|>{% endif %}\n", [USER],
                          {"add_generation_prompt": True}),
    "blocks-are-trimmed": ("  {% for message in messages %}\n    {% if true %}\n\tA{{ message.content }}  \n    {% endif %}\n"
                           "  {# a comment #}\n\n  {%+ if true %} B{% endif +%}\n  {%- set x = 1 -%}  \n C {{- x -}} \n D\n{% endfor %}\n\n",
                           [USER, AGAIN], {}),
    "loop-controls": (EACH + "{% if loop.index0 == 1 %}{% continue %}{% endif %}{% if loop.last %}{% break %}{% endif %}"
                      "{{ loop.index }}/{{ loop.length }}/{{ loop.revindex }} {{ loop.first }} {{ loop.nextitem.role }} "
                      "{{ loop.previtem is defined }};" + END, [SYSTEM, USER, ANSWER, AGAIN], {}),
    "generation-blocks": ("{% set x = 'out' %}" + EACH + "{% if message.role == 'assistant' %}\n{% generation %}\n"
                          "{%- set x = 'in' -%}{{ x }}:{{ message.content }}{% endgeneration %}\n{% else %}{{ message.content }}"
                          "{% endif %}" + END + "{{ x }}{# {% generation %} #}{% raw %}{% generation %}{% endraw %}",
                          [USER, ANSWER], {}),
    "loops": ("{% for x in [1, 2, 3] if x != 2 %}{{ x }}/{{ loop.length }} {% endfor %}{% for x in 1, 2 %}{{ x }}{% endfor %}|"
              "{% for key, value in {'if': 'in', 'b': ''}.items() if value %}{{ key }}{{ value }}{% else %}none{% endfor %}|"
              "{% for x in ([1] if missing else [2, 'if']) %}{{ x }}{% endfor %}|{% for x in missing %}{{ x }}{% endfor %}|"
              "{% for x in [1, [2, [3]]] recursive %}{% if x is sequence %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}|"
              "{% for x in messages[0].content.split(' if ') if x | length > 1 and x not in [' '] %}{{ x }};{% endfor %}|"
              "{%- for(a, b) in [('in', 2)]%}{{ a }}{{ b }}{% endfor -%} | {% for x in 'ab' | list + ['%}'] %}{{ x }}{% endfor %}",
              [{"role": "user", "content": "one if two if  "}], {}),
    "a-loop-over-none": ("{% for tool in tools %}{{ tool.name }}{% endfor %}", [USER], {}),
    "namespaces": ("{% set ns = namespace(seen=0, text='') %}" + EACH + "{% set ns.seen = ns.seen + 1 %}"
                   "{% set ns.text = ns.text + message.role ~ ns.seen %}" + END + "{{ ns.seen }}{{ ns.text }}", [SYSTEM, USER], {}),
    "raise": (EACH + "{% if message.role == 'system' %}{{ raise_exception('no system message, ' ~ loop.index) }}{% endif %}"
              + END, [USER, SYSTEM], {}),
    "strftime-now": ("{{ strftime_now('%Y-%m-%d %H:%M:%S') }}|{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%A, %B %d, %y %j %I %p %%') }}",
                     [USER], {}),
    "tojson": ("{{ messages | tojson }}\n{{ tools | tojson(indent=4) }}\n{{ tools[0] | tojson(sort_keys=true) }}\n"
               "{{ messages[0].content | tojson(ensure_ascii=true) }}\n{{ {'a': [1, 2]} | tojson(separators=(',', ':')) }}\n"
               "{{ tools[0].function | tojson(indent=2) | length }}", [ANSWER, CALL, RESULT], {"tools": [TOOL]}),
    "tojson-numbers": ("{{ numbers | tojson }}", [USER], {"variables": {"numbers": [
        0, -1, 1.0, 0.1, 1e15, 1e16, 123456789012345678, 1e-4, 1e-5, 1.5e300, -0.0, 1e22, 2.5]}}),
    "tojson-strings": ("{{ texts | tojson }}{{ texts | tojson(ensure_ascii=true) }}", [USER],
                       {"variables": {"texts": ["\u0000\u001f\u007f\u0080\u2028", "\b\f\t\r\n/\\\"'", "<&>", "\U0001f98a\u00e9"]}}),
    "strings": (EACH + "{{ message.content.strip() }}|{{ message.content.lstrip() }}|{{ message.content.rstrip('\\n?') }}|"
                "{{ message.content.split() }}|{{ message.content.split(' ', 1) }}|{{ message.content.split('<b>')[-1] }}|"
                "{{ message.content.upper() }}|{{ message.content.startswith(' W') }}|{{ message.content.endswith(('x', '\\n')) }}|"
                "{{ message.content.replace('2', 'two', 1) }}|{{ message.content.find('&') }}|{{ message.content.title() }}|"
                "{{ message.content.count('b') }}|{{ 'a-b-c'.rsplit('-', 1) }}|{{ 'a b  c '.rsplit(None, 1) }}|"
                "{{ 'a=b=c'.partition('=') }}|{{ 'abc'.removeprefix('a').removesuffix('c') }}|{{ '7'.zfill(3) }}|"
                "{{ ', '.join(['x', 'y']) }}|{{ 'a\\nb\\r\\nc\\x0bd\\u2028e\\n'.splitlines() }}|{{ '\\x1f x \\x1c'.strip() }}|"
                "{{ 'ab'.center(5, '*') }}{{ 'ab'.ljust(4) }}{{ 'ab'.rjust(4) }}|{{ 'Ab'.swapcase() }}|{{ 'aB c'.capitalize() }}|"
                "{{ '{} {}'.format(1, 'b') }}|{{ 'abc'.index('c') }}|{{ '12'.isdigit() }}{{ ''.isalpha() }}" + END, [USER], {}),
    "lists-and-dicts": ("{{ messages[1:] | length }} {{ messages[::-1][0].role }} {{ messages[-1]['role'] }} "
                        "{% for key, value in messages[0].items() %}{{ key }}={{ value }};{% endfor %}"
                        "{{ messages[0].get('missing') }} {{ messages[0].get('missing', 'd') }} {{ messages[0].keys() | list }} "
                        "{{ messages[0].values() | list }} {{ 'role' in messages[0] }} {{ [1, 2, 1].count(1) }} {{ [1, 2].index(2) }} "
                        "{{ dict(a=1, b='x') }} {{ {'k': [true, none, 1.0, 'it\\'s']} }} {{ (1, 2) }} {{ [] + [1] }} {{ [0] * 3 }}",
                        [SYSTEM, USER, ANSWER], {}),
    "printing": ("{{ true }} {{ none }} {{ 1.0 }} {{ 7 // 2 }} {{ 7 / 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ missing }} {{ [missing is defined, 1 is number] }} "
                 "{{ 'a' ~ 1 ~ none ~ true }} {{ ['a\\n', \"it's\", 'say \"x\"'] }} {{ 1 if false }} {{ 'x' if missing else 'y' }} {{ not missing }}",
                 [USER], {}),
    "printing-numbers": ("{{ numbers }} {{ numbers | string }} {{ {'a': numbers} }} {% for x in numbers %}{{ x }} {{ x | string }} {% endfor %}"
                         "{{ (1e-7,) }} {{ [] }} {{ {} }} {{ [missing] }} {{ [[none, true], 'a' ~ 1.5] }}", [USER], {"variables": {"numbers": [
                             1e-7, -1.5e-5, 1e-4, 0.1, 1.0, -0.0, 1e15, 1e16, 1.5e300, 18446744073709551615, -9223372036854775808]}}),
    "tests": ("{% for x in ['s', 1, 1.5, none, true, [1], {'a': 1}, missing] %}{{ x is string }}{{ x is number }}{{ x is none }}"
              "{{ x is mapping }}{{ x is iterable }}{{ x is sequence }}{{ x is boolean }}{{ x is integer }}{{ x is defined }}"
              "{{ x is true }}{{ x is sameas none }} {% endfor %}{{ 3 is odd }}{{ 4 is divisibleby 2 }}{{ 'a' is in ['a'] }}{{ 1 is eq 1 }}",
              [USER], {}),
    "filters": ("{{ ' x ' | trim }}|{{ messages | map(attribute='role') | list }}|{{ messages | selectattr('role', 'equalto', 'user') | list | length }}|"
                "{{ messages | rejectattr('role', 'equalto', 'user') | map(attribute='role') | join(', ') }}|{{ missing | default('d') }}|"
                "{{ '' | default('e', true) }}|{{ [3, 1, 2] | sort }}|{{ [1, 2, 1] | unique | list }}|{{ {'b': 1, 'a': 2} | dictsort }}|"
                "{{ 'abc' | first }}{{ [1, 2] | last }}|{{ [1, 2] | reverse | list }}|{{ 'a,b' | replace(',', ';') }}|{{ 3.7 | int }}|"
                "{{ '4' | int + 1 }}|{{ 5 | string }}|{{ 'x' | upper }}|{{ ['a', 'b'] | join }}|{{ [[1, 2], [3]] | sum(start=[]) }}|"
                "{{ 'hello world' | capitalize }}|{{ '<b>' | escape }}|{{ '<b>' | safe }}|{{ [1, 2, 3] | batch(2) | list }}|{{ 'a\\nb' | indent(2) }}|"
                "{{ {'a': 1} | items | list }}|{{ [1, 2, 3] | max }}{{ [1, 2] | min }}|{{ 'abcdef' | truncate(5, true, '..') if false else 'n' }}|{{ '%s-%d' | format('a', 3) }}",
                [SYSTEM, USER], {}),
    "macros": ("{% macro one(name, kind='k') %}[{{ name }}:{{ kind }}{{ caller() if caller else '' }}]{% endmacro %}"
               "{{ one('a') }}{{ one('b', kind='z') }}{% call one('c') %}inner{% endcall %}{% set text %}block {{ 1 }}{% endset %}{{ text }}"
               "{% filter upper %}low{% endfilter %}{% with y = 2 %}{{ y }}{% endwith %}{{ y is defined }}", [USER], {}),
    "scopes": ("{% set x = 1 %}{% for i in range(3) %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}{% if true %}{% set x = 9 %}{% endif %}{{ x }}"
               "{% for i in [] %}a{% else %}none{% endfor %}{% for i in range(5) if i is odd %}{{ i }}{% endfor %}"
               "{% for a, b in [(1, 2), (3, 4)] recursive %}{{ a }}{{ b }}{% endfor %}{{ range(10, 0, -3) | list }}", [USER], {}),
    "special-tokens": ("{{ bos_token }}{{ eos_token }}{{ unk_token is defined }}{{ custom }}{{ enable_thinking is defined and enable_thinking is false }}",
                       [USER], {"variables": {"custom": "c", "enable_thinking": False}}),
    "tools": ("{% if tools %}{% for tool in tools %}{{ tool | tojson }}{{ tool.function.parameters | items | list | length }}"
              "{% for name, p in tool.function.parameters.properties.items() %}{{ name }}:{{ p.type }}{% endfor %}{% endfor %}{% endif %}"
              + EACH + "{% if message.tool_calls is defined and message.tool_calls %}{% for call in message.tool_calls %}"
              "{{ call.function.name }}({{ call.function.arguments | tojson }}){{ call.id | length }}{% endfor %}{% else %}{{ message.content }}"
              "{% endif %}" + END, [USER, CALL, RESULT], {"tools": [TOOL], "add_generation_prompt": True}),
    "no-tools": ("{{ tools is none }}{{ tools is defined }}{{ documents is none }}{% if not tools %}none{% endif %}", [USER], {}),
    "null-content": (EACH + "{{ 'content' in message }}{{ message.content is defined }}{{ message.tool_calls is defined }}" + END,
                     [CALL, RESULT], {}),
    "reasoning": (EACH + "{{ message | tojson }}" + END, [THOUGHT, {"role": "assistant", "thinking": "t", "content": "c"},
                                                          {"role": "assistant", "reasoning_content": "r", "content": "c"}], {}),
    "parts": (EACH + "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
              "{% if part.type == 'image' %}<image>{% elif part['type'] == 'text' %}{{ part.text | trim }}{% endif %}{% endfor %}{% endif %}"
              + END, [PARTS, ANSWER], {}),
    "continue-final-message": (EACH + "<|{{ message.role }}|>{{ message.content }}</s>" + END, [USER, ANSWER],
                               {"continue_final_message": True}),
    "continue-trimmed": (EACH + "<|{{ message.role }}|>{{ message.content | trim }}</s>" + END,
                         [USER, {"role": "assistant", "content": "It is "}], {"continue_final_message": True}),
    "continue-parts": (EACH + "{% for part in message.content %}{{ part.text }}{% endfor %}</s>" + END,
                       [{"role": "assistant", "content": [{"type": "text", "text": "It is"}]}], {"continue_final_message": True}),
    "undefined-attribute": ("{{ messages[0].a.b }}", [USER], {}),
    "trailing-newline": ("{{ messages[0].role }}\n", [USER], {}),
    "carriage-returns": ("{{ messages[0].role }}\r\n{% if true %}\r\nx\r\n{% endif %}\r\ny", [USER], {}),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return NOW

    chat_template_utils.datetime = Clock
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"x": 0}, unk_token="x")),
                                        bos_token="<s>", eos_token="</s>")
    cases = []
    for name, (template, messages, options) in CASES.items():
        options = dict(options)
        case = {"name": name, "template": template, "chat": json.dumps({"messages": messages, **options})}
        variables = options.pop("variables", {})
        try:
            case["text"] = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, **options,
                                                         **variables)
        except Exception as error:
            case["error"] = f"{type(error).__name__}: {error}"
        cases.append(case)
    out.mkdir(parents=True, exist_ok=True)
    fixture = {"made_with": versions(["transformers", "jinja2"]), "now": NOW.isoformat(), "cases": cases}
    (out / "chat_templates.json").write_text(dump(fixture) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
