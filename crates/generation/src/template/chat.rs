use jiff::civil::DateTime;
use minijinja::{Error, ErrorKind, Value};
use serde_json::Map;

use super::TemplateError;

/// A conversation to be rendered.
#[derive(Clone, Default, Debug)]
pub struct Chat {
    /// The messages, as objects with `role`, `content` and what else the template reads.
    pub messages: Vec<serde_json::Value>,
    /// Tools the model may call: the list as the caller gave it, or [`Tools::to_json`](crate::Tools::to_json).
    pub tools: Option<serde_json::Value>,
    /// Whether the text ends with the beginning of an answer.
    pub add_generation_prompt: bool,
    /// Whether the text ends within the last message, for the model to go on with it.
    pub continue_final_message: bool,
    /// Further variables: the names and texts of special tokens (`bos_token`, …), and what the caller gives besides.
    pub variables: Map<String, serde_json::Value>,
    /// What `strftime_now` takes for the present. `None`: the time there is.
    pub now: Option<DateTime>,
}

/// Put at the end of a message that is to be continued, to find it in the text.
const TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// Names under which templates look for what a model thought before it answered.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Where a text is to be cut so that its last message can be continued.
pub(super) struct Continued;

impl Chat {
    /// A conversation of these messages, to be answered.
    pub fn new(messages: Vec<serde_json::Value>) -> Self {
        Self { messages, add_generation_prompt: true, ..Self::default() }
    }

    /// What the template sees.
    pub(super) fn context(&self) -> Result<(Value, Option<Continued>), TemplateError> {
        let invalid = |message: &str| Err(TemplateError::Invalid(message.to_owned()));
        if self.messages.is_empty() {
            return invalid("messages is an empty list; give at least one");
        }
        if self.continue_final_message && self.add_generation_prompt {
            return invalid("a final message can be continued, or an answer begun, but not both");
        }
        let mut messages = self.messages.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
        let mut tag = None;
        if self.continue_final_message {
            let last = messages.last_mut();
            let Some(text) = last.and_then(|last| final_text(last.get_mut("content")?)) else {
                return invalid("the final message has no text to be continued");
            };
            text.push_str(TAG);
            tag = Some(Continued);
        }
        let mut context = Map::new();
        context.extend(self.variables.clone());
        context.insert("messages".to_owned(), messages.into());
        context.insert("tools".to_owned(), self.tools.clone().unwrap_or_default());
        context.entry("documents").or_insert(serde_json::Value::Null);
        context.insert("add_generation_prompt".to_owned(), self.add_generation_prompt.into());
        let now = self.now;
        let clock = Value::from_function(move |format: &str| strftime(format, now));
        let values = context.into_iter().map(|(name, value)| (name, value_of(value)));
        Ok((Value::from_pairs(values.chain([("strftime_now".to_owned(), clock)])), tag))
    }
}

/// A message as transformers hands it on: without keys that are null, and with its reasoning under each of its names.
fn plain(message: &serde_json::Value) -> Result<serde_json::Value, TemplateError> {
    let Some(fields) = message.as_object() else {
        return Err(TemplateError::Invalid(
            "a message is no object; give one with a role and a content".to_owned(),
        ));
    };
    let fields = fields.iter().filter(|(_, value)| !value.is_null());
    let fields: Map<_, _> = fields.map(|(key, value)| (key.clone(), value.clone())).collect();
    let Some(reasoning) = REASONING.iter().find_map(|key| fields.get(*key)).cloned() else {
        return Ok(fields.into());
    };
    let mut aliased = Map::new();
    aliased.insert("thinking".to_owned(), reasoning.clone());
    aliased.extend(fields);
    aliased.insert("reasoning_content".to_owned(), reasoning);
    Ok(aliased.into())
}

/// The text a message ends with.
fn final_text(content: &mut serde_json::Value) -> Option<&mut String> {
    match content {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Array(parts) => {
            let part = parts.iter_mut().rev().find(|part| part.get("text").is_some())?;
            match part.get_mut("text")? {
                serde_json::Value::String(text) => Some(text),
                _ => None,
            }
        }
        _ => None,
    }
}

impl Continued {
    /// The text up to the end of the message that is to be continued.
    pub(super) fn cut(self, mut text: String) -> Result<String, TemplateError> {
        let Some(at) = text.rfind(TAG.trim_end()) else {
            let message = "the model's chat template leaves out the end of the final message, so it cannot be continued";
            return Err(TemplateError::Invalid(message.to_owned()));
        };
        // A template that trims messages has trimmed the tag too.
        let trims = !text[at..].starts_with(TAG);
        text.truncate(at);
        if trims {
            text.truncate(text.trim_end().len());
        }
        Ok(text)
    }
}

/// JSON as a template's value: the order of keys is kept.
fn value_of(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => Value::from(number),
            (_, Some(number), _) => Value::from(number),
            (.., number) => Value::from(number.unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text),
        serde_json::Value::Array(list) => list.into_iter().map(value_of).collect(),
        serde_json::Value::Object(map) => {
            Value::from_pairs(map.into_iter().map(|(key, value)| (key, value_of(value))))
        }
    }
}

fn strftime(format: &str, now: Option<DateTime>) -> Result<String, Error> {
    let now = now.unwrap_or_else(|| jiff::Zoned::now().datetime());
    jiff::fmt::strtime::format(format, now)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {error}")))
}
