use std::fmt;

use super::IllegalTransition;

#[cfg(test)]
mod tests;

/// Where a model group's model is.
///
/// ```text
/// Absent → Loading → Resident → Evicting → Absent
///             │          │
///             └→ Broken ←┘   until its backoff ends, and then Absent
/// every one of them → Closed
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GroupState {
    /// Nowhere: the next demand loads it.
    Absent,
    /// On its way into memory, for its first worker.
    Loading,
    /// In memory, with at least one worker that serves or is being replaced.
    Resident,
    /// On its way out of memory: its workers drain.
    Evicting,
    /// It failed, and is not tried again before its backoff ends.
    Broken,
    /// Never to be used again.
    Closed,
}

/// What happens to a model group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GroupEvent {
    /// A job waits. While the model is on its way out, the caller remembers it and asks again once it is absent.
    Demand,
    /// The first worker has the model in memory.
    Loaded,
    /// The load failed.
    LoadFailed,
    /// Workers died, and the breaker does not let them be replaced now.
    WorkersLost,
    /// The last worker stopped of itself, as scaled to nothing.
    LastWorkerGone,
    /// Its memory is wanted, or nobody used it for long.
    Evict,
    /// The last worker has drained, and the memory is free.
    Evicted,
    /// The backoff is over.
    BackoffEnded,
    /// The engine or the group's owner ends it.
    Close,
}

impl GroupState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Absent, Self::Loading, Self::Resident, Self::Evicting, Self::Broken, Self::Closed];

    /// The state after an event.
    ///
    /// # Errors
    ///
    /// Where the event cannot happen in this state.
    pub const fn next(self, event: GroupEvent) -> Result<Self, IllegalTransition> {
        use GroupEvent as E;
        use GroupState as S;
        Ok(match (self, event) {
            (S::Absent, E::Demand) => S::Loading,
            (S::Loading, E::Loaded) => S::Resident,
            (S::Loading, E::LoadFailed | E::WorkersLost) => S::Broken,
            (S::Resident, E::WorkersLost) => S::Broken,
            (S::Resident, E::LastWorkerGone) => S::Absent,
            (S::Broken, E::BackoffEnded) => S::Absent,

            // A load can be called off: its worker drains like any other.
            (S::Loading | S::Resident, E::Evict) => S::Evicting,
            (S::Evicting, E::Evicted | E::LastWorkerGone) => S::Absent,
            // Whether what still loads comes in or fails makes no difference; when the last dies, all are gone.
            (S::Evicting, E::Loaded | E::LoadFailed) => S::Evicting,
            (S::Evicting, E::WorkersLost) => S::Absent,

            // Demand is met, or waits: for the load, for the memory, for the backoff.
            (S::Loading | S::Resident | S::Evicting | S::Broken, E::Demand) => self,
            // A second worker of a resident group loads or fails to; those that serve go on.
            (S::Resident, E::Loaded | E::LoadFailed) => S::Resident,
            // There is nothing to evict, or it is being done.
            (S::Absent | S::Evicting | S::Broken, E::Evict) => self,
            // Stragglers of a broken group.
            (S::Broken, E::WorkersLost | E::LastWorkerGone | E::LoadFailed) => S::Broken,

            (_, E::Close) => S::Closed,
            // Whatever its workers still report, it stays closed; but nobody asks anything of it.
            (
                S::Closed,
                E::Loaded
                | E::LoadFailed
                | E::WorkersLost
                | E::LastWorkerGone
                | E::Evict
                | E::Evicted
                | E::BackoffEnded,
            ) => S::Closed,

            (
                S::Absent,
                E::Loaded | E::LoadFailed | E::WorkersLost | E::LastWorkerGone | E::Evicted | E::BackoffEnded,
            )
            | (S::Loading, E::LastWorkerGone | E::Evicted | E::BackoffEnded)
            | (S::Resident, E::Evicted | E::BackoffEnded)
            | (S::Evicting, E::BackoffEnded)
            | (S::Broken, E::Loaded | E::Evicted)
            | (S::Closed, E::Demand) => {
                return Err(IllegalTransition { what: "group", state: self.as_str(), event: event.as_str() });
            }
        })
    }

    /// Whether it has ended: no event leads out of this state.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Closed)
    }

    /// The name as `/pools` and metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Loading => "loading",
            Self::Resident => "resident",
            Self::Evicting => "evicting",
            Self::Broken => "broken",
            Self::Closed => "closed",
        }
    }
}

impl GroupEvent {
    /// Every event.
    pub const ALL: [Self; 9] = [
        Self::Demand,
        Self::Loaded,
        Self::LoadFailed,
        Self::WorkersLost,
        Self::LastWorkerGone,
        Self::Evict,
        Self::Evicted,
        Self::BackoffEnded,
        Self::Close,
    ];

    /// The name as logs spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Demand => "demand",
            Self::Loaded => "loaded",
            Self::LoadFailed => "load failed",
            Self::WorkersLost => "workers lost",
            Self::LastWorkerGone => "last worker gone",
            Self::Evict => "evict",
            Self::Evicted => "evicted",
            Self::BackoffEnded => "backoff ended",
            Self::Close => "close",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for GroupEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
