use std::time::Duration;

use tokio::time::Instant;

/// The moment after which an answer is of no use. A deadline refuses and expires; it never jumps the queue.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No deadline: wait for as long as it takes.
    pub const NONE: Self = Self(None);

    /// Expires so long from now. A duration too long to represent is no deadline.
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now().checked_add(duration))
    }

    /// Expires at that moment.
    pub const fn at(instant: Instant) -> Self {
        Self(Some(instant))
    }

    /// The moment, if there is one.
    pub const fn instant(self) -> Option<Instant> {
        self.0
    }

    /// Whether it has passed at `now`.
    pub fn has_passed(self, now: Instant) -> bool {
        self.0.is_some_and(|at| at <= now)
    }

    /// The time left at `now`; `None` without a deadline.
    pub fn remaining(self, now: Instant) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(now))
    }

    /// The later of two; no deadline is later than any.
    pub fn latest(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(Some(a.max(b))),
            _ => Self(None),
        }
    }
}

impl From<Duration> for Deadline {
    fn from(duration: Duration) -> Self {
        Self::after(duration)
    }
}
