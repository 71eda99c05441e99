//! The queue, the worker's loop and the orchestrator under a schedule explorer: thousands of random interleavings.
//!
//! `cargo test -p pool-core --features shuttle --test explore`. The explorer models no time: whatever has a deadline may
//! expire at any moment, which is how expiry is explored here.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

extern crate shuttle_tokio as tokio;

#[path = "../it/defect.rs"]
mod defect;
mod drain;
mod eviction;
mod faults;
mod jobs;
mod schedules;
mod scripted;
mod seen;
