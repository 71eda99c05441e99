use std::sync::Arc;

use pool_core::ModelError;
use serde_json::{Value, json};

use super::format::ToolFormat;
use crate::grammar::Grammar;

/// Tools that an answer may call.
#[derive(Clone, Debug)]
pub struct ToolUse {
    /// How the model writes calls.
    pub format: ToolFormat,
    /// The tools.
    pub tools: Tools,
    /// Whether an answer may call more than once.
    pub several: bool,
    /// What a call must look like once the model has begun one: see
    /// [`Grammars::begun_call`](crate::Grammars::begun_call). `None`: the model is left alone, and what is no call stays
    /// text.
    pub call: Option<Arc<Grammar>>,
}

/// A function the model may call.
#[derive(Clone, PartialEq, Debug)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, for the model to read.
    pub description: Option<String>,
    /// A JSON schema of its arguments.
    pub parameters: Value,
}

/// A call the model has written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToolCall {
    /// The function's name.
    pub name: String,
    /// Its arguments: a JSON text.
    pub arguments: String,
}

/// The functions of one request. Their names differ.
#[derive(Clone, PartialEq, Debug)]
pub struct Tools(Vec<Tool>);

impl Tools {
    /// These functions.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`] if there is none, a name is used twice or has other characters than letters, digits,
    /// `_`, `-` and `.`, or parameters are no JSON object.
    pub fn new(tools: Vec<Tool>) -> Result<Self, ModelError> {
        if tools.is_empty() {
            return Err(ModelError::invalid("tools is an empty list; name one, or leave it out"));
        }
        for (index, tool) in tools.iter().enumerate() {
            let name = &tool.name;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
                return Err(ModelError::invalid(format!(
                    "tools: the name {name:?}; accepted: 1 to 64 letters, digits, '_', '-' and '.'"
                )));
            }
            if tools[..index].iter().any(|other| other.name == *name) {
                return Err(ModelError::invalid(format!(
                    "tools: two are named {name:?}; give each a name of its own"
                )));
            }
            if !tool.parameters.is_object() {
                return Err(ModelError::invalid(format!(
                    "tools: the parameters of {name:?} are no JSON schema object"
                )));
            }
        }
        Ok(Self(tools))
    }

    /// Only the one of this name.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`] if there is none.
    pub fn only(&self, name: &str) -> Result<Self, ModelError> {
        match self.0.iter().find(|tool| tool.name == name) {
            Some(tool) => Ok(Self(vec![tool.clone()])),
            None => {
                Err(ModelError::invalid(format!("tool_choice names {name:?}, which is none of the tools")))
            }
        }
    }

    /// The functions.
    pub fn iter(&self) -> impl Iterator<Item = &Tool> {
        self.0.iter()
    }

    /// Whether one has this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|tool| tool.name == name)
    }

    /// As chat templates take them.
    pub fn to_json(&self) -> Value {
        let tool = |tool: &Tool| {
            let mut function = serde_json::Map::new();
            function.insert("name".to_owned(), tool.name.clone().into());
            if let Some(description) = &tool.description {
                function.insert("description".to_owned(), description.clone().into());
            }
            function.insert("parameters".to_owned(), tool.parameters.clone());
            json!({"type": "function", "function": function})
        };
        self.0.iter().map(tool).collect()
    }
}
