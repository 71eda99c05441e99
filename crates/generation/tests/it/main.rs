//! Templates against transformers', and sequences through an engine.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should panic")]

mod chat_templates;
