use serde_json::{Map, Value};

use super::refusal::Refusal;

/// The members of a JSON object, which are taken one by one; what is left at the end is refused by name.
#[derive(Debug)]
pub(crate) struct Fields {
    /// The way to the object, as errors name it; empty for the event itself.
    path: String,
    members: Map<String, Value>,
}

impl Fields {
    pub(crate) fn new(path: impl Into<String>, members: Map<String, Value>) -> Self {
        Self { path: path.into(), members }
    }

    /// Reads a value that must be an object.
    pub(crate) fn of(path: impl Into<String>, value: Value) -> Result<Self, Refusal> {
        let path = path.into();
        match value {
            Value::Object(members) => Ok(Self { path, members }),
            _ => Err(Refusal::mistyped(&path, "an object")),
        }
    }

    /// The full name of a member.
    pub(crate) fn name(&self, member: &str) -> String {
        if self.path.is_empty() { member.to_owned() } else { format!("{}.{member}", self.path) }
    }

    /// A member's value; `null` is as good as none.
    pub(crate) fn take(&mut self, member: &str) -> Option<Value> {
        self.members.remove(member).filter(|value| !value.is_null())
    }

    /// Whether a member is there, also if it is `null`.
    pub(crate) fn has(&self, member: &str) -> bool {
        self.members.contains_key(member)
    }

    pub(crate) fn required(&mut self, member: &str) -> Result<Value, Refusal> {
        self.take(member).ok_or_else(|| Refusal::missing(&self.name(member)))
    }

    pub(crate) fn text(&mut self, member: &str) -> Result<Option<String>, Refusal> {
        match self.take(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::mistyped(&self.name(member), "a string")),
        }
    }

    pub(crate) fn required_text(&mut self, member: &str) -> Result<String, Refusal> {
        self.text(member)?.ok_or_else(|| Refusal::missing(&self.name(member)))
    }

    pub(crate) fn required_count(&mut self, member: &str) -> Result<u64, Refusal> {
        let value = self.required(member)?;
        value.as_u64().ok_or_else(|| Refusal::mistyped(&self.name(member), "an integer of at least 0"))
    }

    pub(crate) fn list(&mut self, member: &str) -> Result<Option<Vec<Value>>, Refusal> {
        match self.take(member) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(Refusal::mistyped(&self.name(member), "an array")),
        }
    }

    /// A member that must be one of these texts, where it is given.
    pub(crate) fn one_of(&mut self, member: &str, accepted: &[&str]) -> Result<Option<String>, Refusal> {
        match self.text(member)? {
            Some(text) if !accepted.contains(&text.as_str()) => {
                let accepted: Vec<String> = accepted.iter().map(|text| format!("'{text}'")).collect();
                Err(Refusal::value(&self.name(member), text, accepted.join(" or ")))
            }
            text => Ok(text),
        }
    }

    /// A member that OpenAI has and this server has not: it may be `null` or an empty list.
    pub(crate) fn unsupported(&mut self, member: &str, instead: &str) -> Result<(), Refusal> {
        match self.take(member) {
            None => Ok(()),
            Some(Value::Array(list)) if list.is_empty() => Ok(()),
            Some(_) => Err(Refusal::unsupported(&self.name(member), instead)),
        }
    }

    /// The end: nothing may be left.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        match self.members.keys().next() {
            None => Ok(()),
            Some(member) => Err(Refusal::unknown(&self.name(member))),
        }
    }
}
