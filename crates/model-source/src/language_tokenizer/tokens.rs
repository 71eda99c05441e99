//! A GGUF file's vocabulary as the file spells it.

use candle_core::quantized::gguf_file::Value;
use rustc_hash::FxHashMap;

use crate::{Gguf, SourceError};

/// What a token is (`tokenizer.ggml.token_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A piece of text.
    Text,
    /// The one for what has no token.
    Unknown,
    /// Means something beyond text.
    Control,
    /// A piece of text that is found before the rest is cut and merged.
    UserDefined,
    /// One byte.
    Byte,
}

/// A vocabulary as the file spells it.
pub(super) struct Tokens {
    spellings: Vec<Box<str>>,
    /// Of each.
    pub(super) kinds: Vec<Kind>,
    ids: FxHashMap<Box<str>, u32>,
}

impl Tokens {
    pub(super) fn len(&self) -> usize {
        self.spellings.len()
    }

    pub(super) fn spellings(&self) -> impl Iterator<Item = (u32, &str)> {
        (0u32..).zip(self.spellings.iter().map(|spelling| &**spelling))
    }

    /// The tokens of one kind.
    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (u32, &str)> {
        self.spellings().filter(move |(id, _)| self.kinds[*id as usize] == kind)
    }

    /// The token that is spelled so.
    pub(super) fn id(&self, spelling: &str) -> Option<u32> {
        self.ids.get(spelling).copied()
    }

    /// The token that is spelled so and is a piece of text.
    pub(super) fn text_token(&self, spelling: &str) -> Option<u32> {
        self.id(spelling).filter(|id| self.kinds[*id as usize] == Kind::Text)
    }
}

/// Reads the vocabulary of a file.
pub(super) fn read(file: &Gguf) -> Result<Tokens, SourceError> {
    let spellings = texts(file, "tokenizer.ggml.tokens")?;
    if spellings.is_empty() {
        return Err(file.invalid("has an empty vocabulary; convert the model again".to_owned()));
    }
    let mut kinds = vec![Kind::Text; spellings.len()];
    if let Some(types) = file.array("tokenizer.ggml.token_type")? {
        check_length(file, "tokenizer.ggml.token_type", types.len(), spellings.len())?;
        for (kind, number) in kinds.iter_mut().zip(types) {
            *kind = match number {
                // Neither defined nor used: text, if anything.
                Value::I32(0 | 1 | 5) | Value::U32(0 | 1 | 5) => Kind::Text,
                Value::I32(2) | Value::U32(2) => Kind::Unknown,
                Value::I32(3) | Value::U32(3) => Kind::Control,
                Value::I32(4) | Value::U32(4) => Kind::UserDefined,
                Value::I32(6) | Value::U32(6) => Kind::Byte,
                other => {
                    return Err(file.invalid(format!("has a token of the unknown type {other:?}")));
                }
            };
        }
    }
    let mut ids = FxHashMap::with_capacity_and_hasher(spellings.len(), Default::default());
    for (id, spelling) in (0u32..).zip(&spellings) {
        // Of tokens spelled alike, the first is found; padding is often spelled as nothing.
        if !spelling.is_empty() {
            ids.entry(Box::from(*spelling)).or_insert(id);
        }
    }
    Ok(Tokens { spellings: spellings.into_iter().map(Box::from).collect(), kinds, ids })
}

/// An array of the metadata that must be there.
pub(super) fn array<'a>(file: &'a Gguf, key: &str) -> Result<&'a [Value], SourceError> {
    file.array(key)?.ok_or_else(|| file.invalid(format!("has no {key}; convert the model again")))
}

/// An array of texts.
pub(super) fn texts<'a>(file: &'a Gguf, key: &str) -> Result<Vec<&'a str>, SourceError> {
    let texts = array(file, key)?.iter().map(|value| match value {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Option<_>>().ok_or_else(|| file.invalid(format!("is damaged: its {key} are no strings")))
}

/// Checks that there is one value for each token.
pub(super) fn check_length(file: &Gguf, key: &str, length: usize, tokens: usize) -> Result<(), SourceError> {
    if length == tokens {
        return Ok(());
    }
    Err(file.invalid(format!("is damaged: it has {tokens} tokens and {length} {key}")))
}
