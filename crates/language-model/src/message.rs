use generation::{ToolCall, ToolFormat};
use serde_json::{Map, Value, json};

/// A message of a conversation: what the model's chat template reads, an object with `role`, `content` and whatever
/// else.
///
/// Nothing of it is interpreted but `tool_calls`, whose `arguments` are given to the template as an object or as text,
/// whichever the model's format of calls wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Message(Map<String, Value>);

impl Message {
    /// A message of any role. The content is a text, or a list of parts as the template reads them.
    pub fn new(role: impl Into<String>, content: impl Into<Value>) -> Self {
        let mut fields = Map::new();
        fields.insert("role".to_owned(), Value::String(role.into()));
        fields.insert("content".to_owned(), content.into());
        Self(fields)
    }

    /// Instructions for the whole conversation.
    pub fn system(content: impl Into<Value>) -> Self {
        Self::new("system", content)
    }

    /// What the user says.
    pub fn user(content: impl Into<Value>) -> Self {
        Self::new("user", content)
    }

    /// What the model has said.
    pub fn assistant(content: impl Into<Value>) -> Self {
        Self::new("assistant", content)
    }

    /// Calls of tools that the model has made. Their ids are `call_0`, `call_1` and so on.
    pub fn tool_calls(calls: &[ToolCall]) -> Self {
        let call = |(index, call): (usize, &ToolCall)| {
            json!({
                "id": format!("call_{index}"),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            })
        };
        let calls: Vec<Value> = calls.iter().enumerate().map(call).collect();
        Self::assistant("").with("tool_calls", calls)
    }

    /// What a tool answered to the call of that id.
    pub fn tool(call: impl Into<String>, content: impl Into<Value>) -> Self {
        Self::new("tool", content).with("tool_call_id", call.into())
    }

    /// Sets another field (`name`, `tool_calls`, `reasoning_content`, ...).
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.insert(field.into(), value.into());
        self
    }

    /// Its fields.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl From<Map<String, Value>> for Message {
    /// A message as it came over a wire, for instance.
    fn from(fields: Map<String, Value>) -> Self {
        Self(fields)
    }
}

impl From<Message> for Value {
    fn from(message: Message) -> Self {
        Self::Object(message.0)
    }
}

impl Message {
    /// As a template reads it whose model writes calls so: most want a call's arguments as an object, DeepSeek's as text.
    /// OpenAI's protocol has them as text.
    pub(crate) fn for_template(&self, format: Option<ToolFormat>) -> Value {
        let mut fields = self.0.clone();
        let calls = fields.get_mut("tool_calls").and_then(Value::as_array_mut);
        for call in calls.into_iter().flatten() {
            let function = if call.get("function").is_some() { call.get_mut("function") } else { Some(call) };
            let Some(arguments) = function.and_then(|function| function.get_mut("arguments")) else {
                continue;
            };
            match arguments {
                Value::String(text) if format != Some(ToolFormat::DeepSeek) => {
                    // What is no object stays the text it is.
                    if let Ok(object @ Value::Object(_)) = serde_json::from_str(text) {
                        *arguments = object;
                    }
                }
                Value::Object(_) if format == Some(ToolFormat::DeepSeek) => {
                    *arguments = Value::String(arguments.to_string());
                }
                _ => {}
            }
        }
        Value::Object(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_given_as_the_template_reads_them() {
        let call = ToolCall { name: "f".to_owned(), arguments: r#"{"b": 1, "a": [2]}"#.to_owned() };
        let message = Message::tool_calls(&[call]);
        let arguments = |value: &Value| value["tool_calls"][0]["function"]["arguments"].clone();
        let read = message.for_template(Some(ToolFormat::Hermes));
        assert_eq!(arguments(&read).to_string(), r#"{"b":1,"a":[2]}"#);
        assert_eq!(arguments(&message.for_template(Some(ToolFormat::DeepSeek))), r#"{"b": 1, "a": [2]}"#);
        let object =
            Message::assistant("").with("tool_calls", json!([{"function": {"arguments": {"b": 1}}}]));
        assert_eq!(arguments(&object.for_template(Some(ToolFormat::DeepSeek))), r#"{"b":1}"#);
        let odd = Message::assistant("").with("tool_calls", json!([{"arguments": "no json"}, 5]));
        assert_eq!(odd.for_template(None), Value::from(odd));
    }
}
