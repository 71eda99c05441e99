//! A vocabulary of all bytes, a few longer tokens, and control tokens.

use std::borrow::Cow;

use generation::{Item, Vocabulary};

const LONGER: [&str; 12] = [
    "{\"",
    "\":",
    "\"}",
    ", ",
    "name",
    "arguments",
    "<tool_call>",
    "</tool_call>",
    "true",
    "\"add\"",
    "é",
    "hello",
];
const CONTROL: [&str; 3] = ["<eos>", "[TOOL_CALLS]", "<pad>"];

/// `, ` in one.
pub(crate) const COMMA: u32 = 256 + 3;
pub(crate) const EOS: u32 = 256 + LONGER.len() as u32;
pub(crate) const SIZE: usize = 256 + LONGER.len() + CONTROL.len();

#[derive(Debug)]
pub(crate) struct Bytes {
    pub(crate) ends: Vec<u32>,
}

impl Bytes {
    pub(crate) fn new() -> Self {
        Self { ends: vec![EOS] }
    }
}

impl Vocabulary for Bytes {
    fn len(&self) -> usize {
        SIZE
    }

    fn token_bytes(&self, token: u32) -> Option<Cow<'_, [u8]>> {
        let token = token as usize;
        let name =
            |at: usize| LONGER.iter().chain(&CONTROL).nth(at).map(|name| Cow::Borrowed(name.as_bytes()));
        if token < 256 { Some(Cow::Owned(vec![token as u8])) } else { name(token - 256) }
    }

    fn is_special(&self, token: u32) -> bool {
        token >= EOS
    }

    fn token(&self, name: &str) -> Option<u32> {
        (0..SIZE as u32)
            .rev()
            .find(|token| self.token_bytes(*token).is_some_and(|bytes| *bytes == *name.as_bytes()))
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        let mut rest = text.as_bytes();
        while let Some(&first) = rest.first() {
            let longest = LONGER.iter().enumerate().filter(|(_, name)| rest.starts_with(name.as_bytes()));
            let (token, length) = longest
                .max_by_key(|(_, name)| name.len())
                .map_or((u32::from(first), 1), |(at, name)| (256 + at as u32, name.len()));
            tokens.push(token);
            rest = &rest[length..];
        }
        tokens
    }

    fn end_tokens(&self) -> &[u32] {
        &self.ends
    }
}

/// A prompt of a text.
pub(crate) fn prompt(text: &str) -> Vec<Item> {
    Bytes::new().encode(text).into_iter().map(Item::Token).collect()
}
