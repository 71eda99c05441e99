//! A modality that reads pictures, from its files to its answers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should panic")]

mod pictures;
mod sketch;
