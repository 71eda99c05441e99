//! Integration tests: whole decoders against transformers, and against themselves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should panic")]

mod chunks;
mod deterministic;
mod fixture;
mod gguf;
mod parity;
mod quantised;
mod refusals;
mod sequence;
mod weights;
