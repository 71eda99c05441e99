use std::time::Duration;

use super::BreakerState;
use crate::request_queue::{Counts, QueueStats};
use crate::types::{Bytes, ModelId, WorkerId};
use crate::worker_state::{GroupState, WorkerState};

/// A worker at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerStats {
    /// Which.
    pub id: WorkerId,
    /// What it is doing.
    pub state: WorkerState,
}

/// A model group at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupStats {
    /// Its name.
    pub model: ModelId,
    /// Whether its model is in memory.
    pub state: GroupState,
    /// Whether it may be loaded.
    pub breaker: BreakerState,
    /// Its workers.
    pub workers: Vec<WorkerStats>,
    /// Its queue.
    pub queue: QueueStats,
    /// What its weights and working sets take.
    pub resident: Bytes,
    /// Threads whose step was given up and has not come back.
    pub lost_threads: usize,
    /// Whether its model steps: false while a given-up step is out, or the group rests after failures.
    pub healthy: bool,
    /// What last went wrong with loading or working.
    pub last_error: Option<String>,
}

/// What became of one model's tickets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelReport {
    /// Which model.
    pub model: ModelId,
    /// `accepted = completed + cancelled + expired + failed`.
    pub counts: Counts,
}

/// What became of everything an engine ever accepted.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct DrainReport {
    /// All models together, those that were removed before among them.
    pub total: Counts,
    /// Each model there still was.
    pub models: Vec<ModelReport>,
    /// How long the drain took.
    pub took: Duration,
    /// Whether the deadline passed before everything had ended by itself.
    pub deadline_passed: bool,
    /// Threads that have not come back: those of steps and loads given up before, and of those still out when the deadline
    /// had passed. They still run, and hold their memory.
    pub lost_threads: usize,
}
