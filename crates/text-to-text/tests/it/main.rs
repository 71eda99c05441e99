//! Language models through the public face: tiny ones with random weights, and a trained one where it has been fetched.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should panic")]

mod bad_input;
mod bad_model;
mod concurrency;
mod gemma;
mod models;
mod reference;
mod smollm;
