//! The pool through its public face, over the tiny checkpoints of the fixtures.

mod bad_input;
mod cache;
mod pace;
mod reference;
mod sources;
mod tiny;
