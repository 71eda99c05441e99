//! The pools as their callers see them: against the reference's numbers, with bad input, under load.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should panic")]

mod bad_checkpoint;
mod bad_input;
mod builtin;
mod calls;
mod fixtures;
mod hard_texts;
mod models;
mod reference;
