//! The fields of a configuration, and which of them have been read: one that nobody read and that sounds as if it changed
//! the mathematics is refused.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::error::NnError;

/// An object of a JSON document.
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// `rope_scaling.` for fields of that object, and so on.
    place: String,
    read: RefCell<BTreeSet<String>>,
}

/// The fields of a part of which nothing is said.
static NOTHING: OnceLock<Map<String, Value>> = OnceLock::new();

/// Parts of names that fields which change the mathematics have. Fields that none of the classes reads and whose names have
/// none of these are about training, tokens, generation or other programs.
const MATHEMATICAL: [&str; 33] = [
    "act_",
    "activation",
    "alibi",
    "attention",
    "attn",
    "bias",
    "bidirectional",
    "cap",
    "causal",
    "chunk",
    "clip",
    "cross",
    "embedding",
    "expert",
    "gate",
    "head",
    "interleave",
    "is_encoder",
    "kv_",
    "layer",
    "mixture",
    "mlp",
    "moe",
    "multiplier",
    "norm",
    "partial",
    "pruned",
    "qk_",
    "residual",
    "rope",
    "rotary",
    "scal",
    "window",
];

/// Names that have such a part and change nothing: dropout in training, how attention is to be computed, and what
/// configurations of Phi-4 have and nobody reads.
const HARMLESS: [&str; 18] = [
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_attn_implementation_internal",
    "_flash_attn_2_enabled",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_implementation",
    "attn_pdrop",
    "chunk_size_feed_forward",
    "embd_pdrop",
    "embedding_dropout",
    "full_attn_mod",
    "layerdrop",
    "output_attentions",
    "resid_pdrop",
    "use_flash_attention",
    "use_flash_attn",
    "use_memory_efficient_attention",
];

impl<'a> Fields<'a> {
    pub(crate) fn new(config: &'a Value) -> Result<Self, NnError> {
        match config.as_object() {
            Some(object) => Ok(Self::of(object, "")),
            None => Err(NnError::InvalidConfig("the configuration is no JSON object".to_owned())),
        }
    }

    fn of(object: &'a Map<String, Value>, place: &str) -> Self {
        Self { object, place: place.to_owned(), read: RefCell::default() }
    }

    /// Those of `text_config`, which of a model with pictures describes the decoder.
    pub(crate) fn of_text_part(config: &'a Value) -> Result<Self, NnError> {
        match config.get("text_config").and_then(Value::as_object) {
            Some(object) => Ok(Self::of(object, "text_config.")),
            None => Err(NnError::InvalidConfig("the configuration has no text_config".to_owned())),
        }
    }

    /// Those that describe a part of a model: of `{name}_dict`, which older configurations have and which then counts, or of
    /// `name`. A part of which nothing is said has the defaults.
    pub(crate) fn part(&self, name: &str) -> Result<Fields<'a>, NnError> {
        for name in [&format!("{name}_dict"), name] {
            match self.value(name) {
                None => {}
                Some(Value::Object(object)) => {
                    return Ok(Self::of(object, &format!("{}{name}.", self.place)));
                }
                Some(other) => return Err(self.wrong(name, other, "an object")),
            }
        }
        Ok(Self::of(NOTHING.get_or_init(Map::new), &format!("{}{name}.", self.place)))
    }

    /// Those of the object that a field is, if it is there, is not null and not empty.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Fields<'a>>, NnError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(object)) if object.is_empty() => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Self::of(object, &format!("{}{name}.", self.place)))),
            Some(other) => Err(self.wrong(name, other, "an object")),
        }
    }

    /// Two counts, or one that stands for both, if it is there and not null.
    pub(crate) fn pair(&self, name: &str) -> Result<Option<(usize, usize)>, NnError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        match value.as_array().map(Vec::as_slice) {
            None => self.count(name, value).map(|count| Some((count, count))),
            Some([first, second]) => Ok(Some((self.count(name, first)?, self.count(name, second)?))),
            Some(_) => Err(self.wrong(name, value, "a whole number or two")),
        }
    }

    /// A count; the default where it is absent or null.
    pub(crate) fn size(&self, name: &str, default: usize) -> Result<usize, NnError> {
        match self.value(name) {
            None => Ok(default),
            Some(value) => self.count(name, value),
        }
    }

    /// A count that something is allocated by before all sizes are checked.
    pub(crate) fn size_upto(&self, name: &str, default: usize, most: usize) -> Result<usize, NnError> {
        match self.size(name, default)? {
            size if size <= most => Ok(size),
            size => {
                let reason = format!("{} is {size}, it must be at most {most}", self.label(name));
                Err(NnError::InvalidConfig(reason))
            }
        }
    }

    /// A count; the default where it is absent, none where it is null.
    pub(crate) fn optional_size(&self, name: &str, default: Option<usize>) -> Result<Option<usize>, NnError> {
        match self.value(name) {
            Some(value) => self.count(name, value).map(Some),
            None => Ok(default.filter(|_| !self.object.contains_key(name))),
        }
    }

    /// A number; the default where it is absent or null.
    pub(crate) fn number(&self, name: &str, default: f32) -> Result<f32, NnError> {
        Ok(self.given_number(name)?.unwrap_or(default))
    }

    /// A number, if it is there and not null.
    pub(crate) fn given_number(&self, name: &str) -> Result<Option<f32>, NnError> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => match value.as_f64().map(|number| number as f32) {
                Some(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(self.wrong(name, value, "a number")),
            },
        }
    }

    /// A number; the default where it is absent, none where it is null.
    pub(crate) fn optional_number(&self, name: &str, default: Option<f32>) -> Result<Option<f32>, NnError> {
        let default = default.filter(|_| !self.object.contains_key(name));
        Ok(self.given_number(name)?.or(default))
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, NnError> {
        match self.value(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.wrong(name, other, "true or false")),
        }
    }

    /// Whose conventions the configuration follows.
    pub(crate) fn model_type(&self) -> Result<&'a str, NnError> {
        self.text("model_type")?.ok_or_else(|| {
            NnError::InvalidConfig(
                "the configuration has no model_type, so the architecture is unknown".to_owned(),
            )
        })
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, NnError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, other, "a string")),
        }
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<&'a str>>, NnError> {
        self.list(name, "a list of strings", Value::as_str)
    }

    pub(crate) fn numbers(&self, name: &str) -> Result<Option<Vec<f32>>, NnError> {
        self.list(name, "a list of numbers", |value| value.as_f64().map(|number| number as f32))
    }

    pub(crate) fn sizes(&self, name: &str) -> Result<Option<Vec<usize>>, NnError> {
        let size = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok());
        self.list(name, "a list of whole numbers", size)
    }

    fn list<T>(
        &self,
        name: &str,
        wanted: &str,
        item: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>, NnError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let items = value.as_array().and_then(|items| items.iter().map(item).collect());
        items.map(Some).ok_or_else(|| self.wrong(name, value, wanted))
    }

    /// Whether a field is there and null.
    pub(crate) fn is_null(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(Value::is_null)
    }

    /// Takes note of a field that changes nothing here.
    pub(crate) fn skip(&self, name: &str) {
        self.read.borrow_mut().insert(name.to_owned());
    }

    /// Refuses weights in a format of their own.
    pub(crate) fn refuse_quantization(&self) -> Result<(), NnError> {
        match self.object("quantization_config")? {
            None => Ok(()),
            Some(_) => Err(NnError::unsupported(
                "quantization_config",
                "an unquantised checkpoint or a GGUF file is",
            )),
        }
    }

    /// Refuses whatever nobody read and may change the mathematics, unless it is switched off.
    pub(crate) fn refuse_unread(&self) -> Result<(), NnError> {
        let read = self.read.borrow();
        let suspect = |name: &str| {
            !read.contains(name)
                && !HARMLESS.contains(&name)
                && MATHEMATICAL.iter().any(|part| name.contains(part))
        };
        match self.object.iter().find(|(name, value)| suspect(name) && !is_off(value)) {
            None => Ok(()),
            Some((name, value)) => Err(self.unknown(name, value)),
        }
    }

    /// Refuses whatever nobody read: for objects all of whose fields change the mathematics.
    pub(crate) fn refuse_all_unread(&self) -> Result<(), NnError> {
        let read = self.read.borrow();
        match self.object.iter().find(|(name, value)| !read.contains(*name) && !is_off(value)) {
            None => Ok(()),
            Some((name, value)) => Err(self.unknown(name, value)),
        }
    }

    /// The name of a field, with its place.
    pub(crate) fn label(&self, name: &str) -> String {
        format!("{}{name}", self.place)
    }

    fn unknown(&self, name: &str, value: &Value) -> NnError {
        NnError::unsupported(
            format!("{} {}", self.label(name), shortened(value)),
            "this architecture is computed without it",
        )
    }

    pub(crate) fn count(&self, name: &str, value: &Value) -> Result<usize, NnError> {
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| self.wrong(name, value, "a whole number"))
    }

    pub(crate) fn wrong(&self, name: &str, value: &Value, wanted: &str) -> NnError {
        NnError::InvalidConfig(format!("{} is {}, it must be {wanted}", self.label(name), shortened(value)))
    }

    /// The value of a field that is there and not null; it counts as read.
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.skip(name);
        self.object.get(name).filter(|value| !value.is_null())
    }
}

/// Whether a field says that something is not there.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// A value on one line, cut where it is long.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
