use std::fmt::Write;

use serde_json::{Value, json};

use super::definition::{Tool, ToolCall, Tools};
use super::parser::PYTHON;
use crate::grammar::with_white_space;
use crate::vocabulary::Vocabulary;

/// How a family of models writes calls of tools.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ToolFormat {
    /// `<tool_call>{"name": …, "arguments": …}</tool_call>`: Hermes, Qwen 2.5 and 3.
    Hermes,
    /// `[TOOL_CALLS][{"name": …, "arguments": …}, …]`: Mistral.
    Mistral,
    /// `{"name": …, "parameters": …}` is the whole answer, `<|python_tag|>` before it or not: Llama 3.1 and later.
    Llama3,
    /// `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>…`, the arguments in a fenced block: DeepSeek V3.
    DeepSeek,
    /// `<|action_start|><|plugin|>{"name": …, "parameters": …}<|action_end|>`: InternLM 2.
    InternLm,
    /// `Action: ` and a fenced list of `{"tool_name": …, "parameters": …}`: Command R.
    CommandR,
}

/// A call's parts in DeepSeek's format.
const DEEPSEEK: [&str; 5] = [
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁calls▁end｜>",
];

impl ToolFormat {
    /// The format that a chat template teaches. `None` if it teaches none that is known here.
    pub fn of_template(template: &str) -> Option<Self> {
        let has = |text: &str| template.contains(text);
        if has("<function=") {
            // Arguments in XML.
            None
        } else if has("<tool_call>") {
            Some(Self::Hermes)
        } else if has("[TOOL_CALLS]") {
            Some(Self::Mistral)
        } else if has(DEEPSEEK[0]) {
            Some(Self::DeepSeek)
        } else if has("<|action_start|>") {
            Some(Self::InternLm)
        } else if has("<|python_tag|>") || (has("ipython") && has("\"parameters\"")) {
            Some(Self::Llama3)
        } else if has("tool_name") && has("Action:") {
            Some(Self::CommandR)
        } else {
            None
        }
    }

    /// Where calls begin in an answer. Empty: at its beginning.
    pub(super) fn open(self) -> &'static str {
        match self {
            Self::Hermes => "<tool_call>",
            Self::Mistral => "[TOOL_CALLS]",
            Self::Llama3 => "",
            Self::DeepSeek => DEEPSEEK[0],
            Self::InternLm => "<|action_start|><|plugin|>",
            Self::CommandR => "Action: ```json",
        }
    }

    /// The tokens of the opening mark.
    pub(crate) fn opening(self, vocabulary: &dyn Vocabulary) -> Vec<u32> {
        let marks: &[&str] = match self {
            Self::InternLm => &["<|action_start|>", "<|plugin|>"],
            _ => &[self.open()],
        };
        let tokens = |mark: &&str| match vocabulary.token(mark) {
            Some(token) if vocabulary.is_special(token) => vec![token],
            _ => vocabulary.encode(mark),
        };
        marks.iter().flat_map(tokens).collect()
    }

    /// Whether one opening mark may be followed by several calls.
    pub(crate) fn lists_calls(self) -> bool {
        matches!(self, Self::Mistral | Self::DeepSeek | Self::CommandR)
    }

    /// Where they end. `None`: with the answer.
    pub(super) fn close(self) -> Option<&'static str> {
        match self {
            Self::Hermes => Some("</tool_call>"),
            Self::Mistral | Self::Llama3 => None,
            Self::DeepSeek => Some(DEEPSEEK[4]),
            Self::InternLm => Some("<|action_end|>"),
            Self::CommandR => Some("```"),
        }
    }

    /// Whether a control token of this name is a part of calls, and so is no more left out of the answer's text.
    pub(crate) fn has_marker(self, name: &[u8]) -> bool {
        let markers: &[&str] = match self {
            Self::Hermes => &["<tool_call>", "</tool_call>"],
            Self::Mistral => &["[TOOL_CALLS]", "[ARGS]"],
            Self::Llama3 => &[PYTHON],
            Self::DeepSeek => &DEEPSEEK,
            Self::InternLm => &["<|action_start|>", "<|plugin|>", "<|action_end|>"],
            Self::CommandR => &[],
        };
        markers.iter().any(|marker| marker.as_bytes() == name)
    }

    /// Reads what stands between the opening and the closing mark. `None`: it is no call.
    pub(super) fn read(self, body: &str) -> Option<Vec<ToolCall>> {
        match self {
            Self::Hermes => read_json(body, "name", &["arguments", "parameters"]),
            Self::Mistral => {
                read_json(body, "name", &["arguments", "parameters"]).or_else(|| read_named(body))
            }
            Self::Llama3 => {
                let body = body.trim_start().strip_prefix(PYTHON).unwrap_or(body);
                let calls = body.split(';').map(|body| read_json(body, "name", &["parameters", "arguments"]));
                read_json(body, "name", &["parameters", "arguments"])
                    .or_else(|| Some(calls.collect::<Option<Vec<_>>>()?.concat()))
            }
            Self::DeepSeek => read_deepseek(body),
            Self::InternLm => read_json(body, "name", &["parameters", "arguments"]),
            Self::CommandR => read_json(body, "tool_name", &["parameters"]),
        }
    }

    /// A grammar of one call, or of several, in the syntax of the grammar library.
    pub(crate) fn grammar(self, tools: &Tools, several: bool, vocabulary: &dyn Vocabulary) -> String {
        let mark = |text: &str| terminal(text, vocabulary);
        let (name, arguments) = match self {
            Self::Hermes | Self::Mistral => ("name", "arguments"),
            Self::Llama3 | Self::InternLm => ("name", "parameters"),
            Self::CommandR => ("tool_name", "parameters"),
            Self::DeepSeek => ("", ""),
        };
        let again = |rule: &str| if several { format!("({rule})*") } else { String::new() };
        let start = match self {
            Self::Hermes => {
                let one = format!("{} \"\\n\" call \"\\n\" {}", mark(self.open()), mark("</tool_call>"));
                format!("{one} {}", again(&format!("\"\\n\" {one}")))
            }
            Self::Mistral => format!("{} \"[\" call {} \"]\"", mark(self.open()), again("\", \" call")),
            // A second call has no agreed form.
            Self::Llama3 => "call".to_owned(),
            Self::DeepSeek => {
                let [first, open, _, close, last] = DEEPSEEK.map(mark);
                let one = format!("{open} \"function\" call {close}");
                format!("{first} {one} {} {last}", again(&format!("\"\\n\" {one}")))
            }
            Self::InternLm => {
                format!(
                    "{} {} \"\\n\" call {}",
                    mark("<|action_start|>"),
                    mark("<|plugin|>"),
                    mark("<|action_end|>")
                )
            }
            Self::CommandR => format!("\"Action: ```json\\n[\" call {} \"]\\n```\"", again("\", \" call")),
        };
        let mut grammar = format!("start: {start}\ncall: ");
        for (index, _) in tools.iter().enumerate() {
            let between = if index == 0 { "" } else { " | " };
            // Writing to a string does not fail.
            let _ = write!(grammar, "{between}tool_{index}");
        }
        for (index, tool) in tools.iter().enumerate() {
            let rule = match self {
                Self::DeepSeek => format!(
                    "{} {} %json {} \"\\n```\"",
                    mark(DEEPSEEK[2]),
                    quoted(&format!("{}\n```json\n", tool.name)),
                    with_white_space(tool.parameters.clone())
                ),
                _ => format!("%json {}", call_schema(tool, name, arguments)),
            };
            let _ = write!(grammar, "\ntool_{index}: {rule}");
        }
        grammar.push('\n');
        grammar
    }
}

/// A schema of one tool's call.
fn call_schema(tool: &Tool, name: &str, arguments: &str) -> Value {
    let mut parameters = tool.parameters.clone();
    let mut schema = json!({
        "type": "object",
        "properties": { name: {"const": tool.name}, arguments: null },
        "required": [name, arguments],
        "additionalProperties": false,
    });
    // References within the parameters start at the root.
    for key in ["$defs", "definitions"] {
        if let Some(definitions) = parameters.as_object_mut().and_then(|fields| fields.remove(key)) {
            schema[key] = definitions;
        }
    }
    schema["properties"][arguments] = parameters;
    with_white_space(schema)
}

/// A mark in a grammar: a control token by its number, or else its text.
fn terminal(text: &str, vocabulary: &dyn Vocabulary) -> String {
    match vocabulary.token(text) {
        Some(token) if vocabulary.is_special(token) => format!("<[{token}]>"),
        _ => quoted(text),
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Calls as a JSON object, or a list of them.
fn read_json(body: &str, name: &str, arguments: &[&str]) -> Option<Vec<ToolCall>> {
    let value: Value = serde_json::from_str(body.trim()).ok()?;
    let calls = match value {
        Value::Array(calls) => calls,
        one => vec![one],
    };
    calls.iter().map(|call| read_call(call, name, arguments)).collect()
}

fn read_call(call: &Value, name: &str, arguments: &[&str]) -> Option<ToolCall> {
    let call = call.as_object()?;
    let name = call.get(name)?.as_str()?.to_owned();
    let arguments = match arguments.iter().find_map(|key| call.get(*key)) {
        // A JSON text within the JSON text.
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "{}".to_owned(),
    };
    Some(ToolCall { name, arguments })
}

/// `NAME{…}` or `NAME[ARGS]{…}`, as Mistral's later models have it.
fn read_named(body: &str) -> Option<Vec<ToolCall>> {
    let mut calls = Vec::new();
    for body in body.split("[TOOL_CALLS]").filter(|body| !body.trim().is_empty()) {
        let (name, arguments) = body.split_at(body.find('{')?);
        let name = name.trim().strip_suffix("[ARGS]").unwrap_or(name.trim());
        let value: Value = serde_json::from_str(arguments.trim()).ok()?;
        calls.push(ToolCall { name: name.to_owned(), arguments: value.to_string() });
    }
    (!calls.is_empty()).then_some(calls)
}

fn read_deepseek(body: &str) -> Option<Vec<ToolCall>> {
    let [_, open, separator, close, _] = DEEPSEEK;
    let mut calls = Vec::new();
    for call in body.split(open).filter(|call| !call.trim().is_empty()) {
        let (_, call) = call.split_once(separator)?;
        let (name, rest) = call.split_once('\n')?;
        let arguments =
            rest.trim().strip_prefix("```json")?.split(close).next()?.trim().strip_suffix("```")?;
        let value: Value = serde_json::from_str(arguments.trim()).ok()?;
        calls.push(ToolCall { name: name.trim().to_owned(), arguments: value.to_string() });
    }
    (!calls.is_empty()).then_some(calls)
}
