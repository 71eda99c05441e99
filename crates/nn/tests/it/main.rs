//! Integration tests: whole decoders against transformers, and against themselves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should panic")]

mod agreement;
mod chunks;
mod deterministic;
mod fixture;
mod gguf;
mod parity;
mod quantised;
mod refusals;
mod rounding;
mod sequence;
mod towers;
mod trained;
mod trained_file;
mod unet;
mod vae;
mod weights;
