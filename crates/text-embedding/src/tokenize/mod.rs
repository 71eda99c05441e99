//! From text to the token ids a model reads, exactly as the tokenizer of the reference gives them, and no more of the
//! text than that takes.
//!
//! Owns the tokenizer, truncation and special tokens; never the weights.

mod characters;
mod cuts;
mod template;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use text::{Limits, Side, TextTokenizer, TokenIds};
