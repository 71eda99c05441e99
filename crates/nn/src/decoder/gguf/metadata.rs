//! The metadata of one architecture, and which of its keys have been read: all of them change the mathematics, so one that
//! nobody read is refused.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use candle_core::quantized::gguf_file::Value;

use crate::error::NnError;

pub(super) struct Metadata<'a> {
    values: &'a HashMap<String, Value>,
    /// `llama.`, and so on.
    prefix: String,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Metadata<'a> {
    pub(super) fn new(values: &'a HashMap<String, Value>, architecture: &str) -> Self {
        Self { values, prefix: format!("{architecture}."), read: RefCell::default() }
    }

    pub(super) fn label(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Takes note of a key that changes nothing here.
    pub(super) fn skip(&self, name: &str) {
        self.read.borrow_mut().insert(self.label(name));
    }

    pub(super) fn required_size(&self, name: &str) -> Result<usize, NnError> {
        self.size(name)?
            .ok_or_else(|| NnError::InvalidConfig(format!("the metadata has no {}", self.label(name))))
    }

    /// A count. Some are lists, one count for each layer: then all must be the same.
    pub(super) fn size(&self, name: &str) -> Result<Option<usize>, NnError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let of_layers: Vec<Option<usize>> = match value {
            Value::Array(values) => values.iter().map(count).collect(),
            value => vec![count(value)],
        };
        match of_layers.first() {
            Some(Some(first)) if of_layers.iter().all(|count| *count == Some(*first)) => Ok(Some(*first)),
            Some(Some(_)) if of_layers.iter().all(Option::is_some) => Err(NnError::unsupported(
                format!("{} that differs from layer to layer", self.label(name)),
                "the same for all layers is",
            )),
            _ => Err(self.wrong(name, "a whole number")),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<f32>, NnError> {
        let number = match self.value(name) {
            None => return Ok(None),
            Some(Value::F32(number)) => Some(*number),
            Some(Value::F64(number)) => Some(*number as f32),
            Some(value) => count(value).map(|count| count as f32),
        };
        match number.filter(|number| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(name, "a number")),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, NnError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, NnError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "a string")),
        }
    }

    /// How many tokens the tokenizer has.
    pub(super) fn tokens(&self) -> Option<usize> {
        match self.values.get("tokenizer.ggml.tokens") {
            Some(Value::Array(tokens)) => Some(tokens.len()),
            _ => None,
        }
    }

    /// Refuses keys of the architecture that nobody read, unless they say 0, false or nothing.
    pub(super) fn refuse_unread(&self) -> Result<(), NnError> {
        let read = self.read.borrow();
        let unread = |name: &&String| name.starts_with(&self.prefix) && !read.contains(*name);
        let mut names: Vec<&String> = self
            .values
            .iter()
            .filter(|(name, value)| unread(name) && !is_off(value))
            .map(|(name, _)| name)
            .collect();
        // The metadata has no order: always the same one is told.
        names.sort_unstable();
        match names.first() {
            None => Ok(()),
            Some(name) => {
                Err(NnError::unsupported((*name).clone(), "this architecture is computed without it"))
            }
        }
    }

    fn wrong(&self, name: &str, wanted: &str) -> NnError {
        NnError::InvalidConfig(format!("the metadata's {} must be {wanted}", self.label(name)))
    }

    fn value(&self, name: &str) -> Option<&'a Value> {
        self.skip(name);
        self.values.get(&self.label(name))
    }
}

fn count(value: &Value) -> Option<usize> {
    match value {
        Value::U8(count) => Some(usize::from(*count)),
        Value::U16(count) => Some(usize::from(*count)),
        Value::U32(count) => usize::try_from(*count).ok(),
        Value::U64(count) => usize::try_from(*count).ok(),
        Value::I8(count) => usize::try_from(*count).ok(),
        Value::I16(count) => usize::try_from(*count).ok(),
        Value::I32(count) => usize::try_from(*count).ok(),
        Value::I64(count) => usize::try_from(*count).ok(),
        _ => None,
    }
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::F32(number) => *number == 0.0,
        Value::F64(number) => *number == 0.0,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        other => count(other) == Some(0),
    }
}
