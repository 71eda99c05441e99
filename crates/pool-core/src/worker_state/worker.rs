use std::fmt;

use super::IllegalTransition;

#[cfg(test)]
mod tests;

/// What a worker is doing.
///
/// ```text
/// Spawning → Loading → Ready ⇄ Busy → Draining → Stopped
///                               │
///                               ├→ Failed          its step panicked, or its model did not load
///                               └→ Unresponsive    its step never returned
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WorkerState {
    /// Its task has been started and has not run yet.
    Spawning,
    /// Its model is being brought into memory.
    Loading,
    /// It has no job and waits for one.
    Ready,
    /// It has jobs.
    Busy,
    /// It takes no more jobs and finishes those it has.
    Draining,
    /// It has ended as it should.
    Stopped,
    /// It has ended as it should not.
    Failed,
    /// Its step never returned; its thread is lost.
    Unresponsive,
}

/// What happens to a worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WorkerEvent {
    /// Its task runs.
    Started,
    /// Its model is in memory.
    Loaded,
    /// It has leased its first job.
    Leased,
    /// Its last job has ended.
    Emptied,
    /// It is to take no more jobs.
    Drain,
    /// Its task has returned.
    Ended,
    /// Its model could not be loaded, a step of it panicked, or its task did.
    Failed,
    /// A step did not return in time.
    HeardNothing,
}

impl WorkerState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Spawning,
        Self::Loading,
        Self::Ready,
        Self::Busy,
        Self::Draining,
        Self::Stopped,
        Self::Failed,
        Self::Unresponsive,
    ];

    /// The state after an event.
    ///
    /// # Errors
    ///
    /// Where the event cannot happen in this state.
    pub const fn next(self, event: WorkerEvent) -> Result<Self, IllegalTransition> {
        use WorkerEvent as E;
        use WorkerState as S;
        Ok(match (self, event) {
            (S::Spawning, E::Started) => S::Loading,
            (S::Loading, E::Loaded) => S::Ready,
            (S::Ready, E::Leased) => S::Busy,
            (S::Busy, E::Emptied) => S::Ready,

            // Told twice is told once; what it still has may come to an end.
            (S::Spawning | S::Loading | S::Ready | S::Busy | S::Draining, E::Drain) => S::Draining,
            (S::Draining, E::Started | E::Loaded | E::Emptied) => S::Draining,

            // A task may return of itself when there will be no more jobs, but never with jobs in hand.
            (S::Spawning | S::Loading | S::Ready | S::Draining, E::Ended) => S::Stopped,

            (S::Spawning | S::Loading | S::Ready | S::Busy | S::Draining, E::Failed) => S::Failed,
            // A worker without jobs may still step, to tell its model who has left.
            (S::Ready | S::Busy | S::Draining, E::HeardNothing) => S::Unresponsive,

            // Nothing happens to what has ended, but its task may still be seen to return.
            (S::Stopped | S::Failed | S::Unresponsive, E::Ended | E::Drain) => self,

            (S::Spawning, E::Loaded | E::Leased | E::Emptied | E::HeardNothing)
            | (S::Loading, E::Started | E::Leased | E::Emptied | E::HeardNothing)
            | (S::Ready, E::Started | E::Loaded | E::Emptied)
            | (S::Busy, E::Started | E::Loaded | E::Leased | E::Ended)
            | (S::Draining, E::Leased)
            | (
                S::Stopped | S::Failed | S::Unresponsive,
                E::Started | E::Loaded | E::Leased | E::Emptied | E::Failed | E::HeardNothing,
            ) => {
                return Err(IllegalTransition {
                    what: "worker",
                    state: self.as_str(),
                    event: event.as_str(),
                });
            }
        })
    }

    /// Whether it has ended: no event leads out of this state.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed | Self::Unresponsive)
    }

    /// Whether its model is in memory and it takes jobs.
    pub const fn is_serving(self) -> bool {
        matches!(self, Self::Ready | Self::Busy)
    }

    /// The name as `/pools` and metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spawning => "spawning",
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Unresponsive => "unresponsive",
        }
    }
}

impl WorkerEvent {
    /// Every event.
    pub const ALL: [Self; 8] = [
        Self::Started,
        Self::Loaded,
        Self::Leased,
        Self::Emptied,
        Self::Drain,
        Self::Ended,
        Self::Failed,
        Self::HeardNothing,
    ];

    /// The name as logs spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Loaded => "loaded",
            Self::Leased => "leased",
            Self::Emptied => "emptied",
            Self::Drain => "drain",
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::HeardNothing => "heard nothing",
        }
    }
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for WorkerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
