//! The pool through its public face, over the tiny checkpoints of the fixtures.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should panic")]

mod bad_input;
mod cache;
mod pace;
mod reference;
mod sources;
mod tiny;
