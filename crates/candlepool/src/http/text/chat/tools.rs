//! `tools` and `tool_choice`, and calls as they are answered.

use std::fmt;

use language_model::{Tool, ToolCall, ToolChoice, ToolFormat};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::http::envelope::unique;
use crate::http::json;

/// The tools that may be called.
pub(super) struct FunctionTools(pub(super) Vec<FunctionTool>);

impl<'de> Deserialize<'de> for FunctionTools {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::list(deserializer, "tools").map(Self)
    }
}

/// A tool, as OpenAI spells it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with type and function")]
pub(super) struct FunctionTool {
    #[serde(rename = "type")]
    _type: Kind,
    function: Function,
}

/// The one type of tools and calls.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Kind;

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name == "function" {
            Ok(Self)
        } else {
            Err(format!("{name:?} is not supported; send \"function\""))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with name, description and parameters")]
struct Function {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<Value>,
    /// Arguments follow the parameters' schema in any case.
    #[serde(default, rename = "strict")]
    _strict: Option<bool>,
}

impl FunctionTool {
    pub(super) fn into_tool(self) -> Tool {
        let Function { name, description, parameters, .. } = self.function;
        let parameters = parameters.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
        Tool { name, description, parameters }
    }
}

/// Whether tools are called.
pub(super) struct Choice(pub(super) ToolChoice);

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ChoiceVisitor;

        impl<'de> Visitor<'de> for ChoiceVisitor {
            type Value = Choice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "\"none\", \"auto\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": \"...\"}}",
                )
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Choice, E> {
                match name {
                    "none" => Ok(Choice(ToolChoice::None)),
                    "auto" => Ok(Choice(ToolChoice::Auto)),
                    "required" => Ok(Choice(ToolChoice::Required)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(name), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Choice, A::Error> {
                let named = Named::deserialize(de::value::MapAccessDeserializer::new(entries))?;
                Ok(Choice(ToolChoice::Named(named.function.name)))
            }
        }

        deserializer.deserialize_any(ChoiceVisitor)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with type and function")]
struct Named {
    #[serde(rename = "type")]
    _type: Kind,
    function: NamedFunction,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with name")]
struct NamedFunction {
    name: String,
}

/// A call in an answer.
#[derive(Serialize, Debug)]
pub(super) struct AnsweredCall {
    /// Its place among the calls; only streams tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    id: String,
    r#type: &'static str,
    function: AnsweredFunction,
}

#[derive(Serialize, Debug)]
struct AnsweredFunction {
    name: String,
    arguments: String,
}

impl AnsweredCall {
    /// Gives a call its id.
    pub(super) fn new(call: ToolCall, format: Option<ToolFormat>, index: Option<usize>) -> Self {
        let unique = unique();
        let id = match format {
            // Its templates take these only.
            Some(ToolFormat::Mistral) => unique[unique.len() - 9..].to_owned(),
            _ => format!("call_{}", &unique[unique.len() - 24..]),
        };
        let function = AnsweredFunction { name: call.name, arguments: call.arguments };
        Self { index, id, r#type: "function", function }
    }
}
