//! Model groups: load on demand, scale between their fewest and most workers, evict, respawn with backoff, break the
//! circuit, drain with a deadline and a report.
//!
//! Owns every task. What decides ([`breaker`], [`scaler`], [`eviction`], and the tables of
//! [`worker_state`](crate::worker_state)) is pure; the tasks ([`supervisor`], one for the engine, and [`group_task`], one
//! for each model) carry it out. Knows no model's code.

mod breaker;
mod config;
mod contained;
mod engine;
mod eviction;
mod group;
mod group_task;
mod member;
mod preparer;
mod report;
mod scaler;
mod supervisor;

pub use breaker::BreakerState;
pub use config::{GroupConfig, Workers};
pub use engine::{Engine, EngineBuilder, EngineStats};
pub use group::{Group, Streaming};
pub use report::{DrainReport, GroupStats, ModelReport, WorkerStats};
