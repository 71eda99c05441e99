//! Templates against transformers', and sequences through an engine.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should panic")]

mod answers;
mod chat_templates;
mod grammars;
mod pictures;
mod real_chat_templates;
mod scripted;
mod streams;
mod vocabulary;
