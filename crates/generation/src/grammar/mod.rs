//! Answers that follow a grammar: JSON objects, JSON schemas, calls of tools. The grammars themselves are
//! [llguidance](https://docs.rs/llguidance)'s.
//!
//! A compiled [`Grammar`] tells at every token which may follow, and which must: those are appended without asking the
//! model.

mod compile;
mod state;
mod tokens;

pub(crate) use compile::with_white_space;
pub use compile::{Grammar, Grammars};
pub(crate) use state::GrammarState;
