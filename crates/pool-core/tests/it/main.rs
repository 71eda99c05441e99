//! The engine with scripted models, on paused time.
#![cfg(not(feature = "shuttle"))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod admission;
mod builder;
mod defect;
mod drain;
mod ends;
mod events;
mod faults;
mod memory;
mod observability;
mod panics;
mod removal;
mod residence;
mod scheduling;
mod scripted;
