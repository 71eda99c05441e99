use std::ops::AddAssign;
use std::time::Duration;

use crate::error::Error;
use crate::types::{Cost, Tokens};

/// How a ticket ended, as it is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Completed,
    Cancelled,
    Expired,
    Failed,
}

impl Outcome {
    /// As labels and spans spell it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }

    pub(crate) fn of<T>(end: &Result<T, Error>) -> Self {
        match end {
            Ok(_) => Self::Completed,
            Err(Error::Cancelled) => Self::Cancelled,
            Err(Error::DeadlineExceeded { .. }) => Self::Expired,
            Err(_) => Self::Failed,
        }
    }
}

/// How many tickets were accepted, and how each that has ended did.
///
/// Once nothing is outstanding, `accepted = completed + cancelled + expired + failed`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Accepted at the door.
    pub accepted: u64,
    /// Ended with an output.
    pub completed: u64,
    /// Withdrawn by their callers.
    pub cancelled: u64,
    /// Ended by their deadline.
    pub expired: u64,
    /// Ended with any other error, a shutdown's among them.
    pub failed: u64,
    /// Refused at the door, so not accepted.
    pub refused: u64,
}

impl Counts {
    /// So many tickets have ended like this.
    pub(crate) fn tally(&mut self, outcome: Outcome, tickets: usize) {
        let count = match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Cancelled => &mut self.cancelled,
            Outcome::Expired => &mut self.expired,
            Outcome::Failed => &mut self.failed,
        };
        *count += tickets as u64;
    }

    /// Accepted and not ended yet.
    pub const fn outstanding(&self) -> u64 {
        self.accepted - self.completed - self.cancelled - self.expired - self.failed
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.completed += other.completed;
        self.cancelled += other.cancelled;
        self.expired += other.expired;
        self.failed += other.failed;
        self.refused += other.refused;
    }
}

/// A queue at one moment.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct QueueStats {
    /// Jobs that no worker holds yet.
    pub waiting: usize,
    /// Jobs that a worker holds.
    pub leased: usize,
    /// What waiting and leased jobs cost together.
    pub cost: Cost,
    /// What the waiting ones alone ask to compute.
    pub waiting_tokens: Tokens,
    /// Tokens one worker computes in a second, measured while jobs wait; `None` before the first measurement.
    pub tokens_per_second: Option<f64>,
    /// How long the oldest waiting job has waited.
    pub oldest_wait: Duration,
    /// Every ticket since the group was made.
    pub counts: Counts,
}
