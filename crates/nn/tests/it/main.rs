//! Integration tests: whole decoders against transformers, and against themselves.

mod chunks;
mod deterministic;
mod fixture;
mod gguf;
mod parity;
mod quantised;
mod refusals;
mod sequence;
mod weights;
