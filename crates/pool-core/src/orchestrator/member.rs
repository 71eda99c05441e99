//! What the orchestrator sees of a model group, whatever its modality: the one object-safe face.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::breaker::BreakerState;
use super::config::GroupConfig;
use super::eviction::Candidate;
use super::report::{GroupStats, ModelReport, WorkerStats};
use crate::compute::Lanes;
use crate::error::Error;
use crate::memory_governor::Reservation;
use crate::metrics::GroupGauges;
use crate::model::Model;
use crate::request_queue::Queue;
use crate::sync::{Mutex, lock};
use crate::types::{Bytes, Deadline, ModelId, WorkerId};
use crate::worker::WorkerStatus;
use crate::worker_state::{GroupEvent, GroupState};

/// Why a group ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Closing {
    /// The engine does.
    ShuttingDown,
    /// The model was taken out of it.
    Removed,
    /// The group's task panicked.
    Defect,
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;

/// Why a model is no longer served though nobody ended it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("its scheduler ended by a defect, which the log tells; remove the model and add it again")]
struct GroupDefect;

/// A model group as the orchestrator sees it. Nothing here waits.
pub(crate) trait Member: Send + Sync + fmt::Debug {
    /// Its name.
    fn model(&self) -> &ModelId;
    /// What it takes and when it was last used, if it holds memory that could be freed.
    fn candidate(&self) -> Option<Candidate>;
    /// What an eviction under way will free.
    fn leaving(&self) -> Bytes;
    /// Asks it to free its model once the steps at hand are done.
    fn evict(&self);
    /// Asks it to finish its work by then, refuse anything new and end. Of several orders the earliest deadline holds.
    fn close(&self, why: Closing, deadline: Deadline);
    /// How it stands.
    fn stats(&self) -> GroupStats;
    /// Brings its gauges up to date. Whether its model is resident.
    fn publish(&self) -> bool;
    /// What became of its tickets.
    fn report(&self) -> ModelReport;
}

/// What a group's handle, its task and the orchestrator share.
pub(crate) struct Shared<M: Model> {
    pub(crate) config: GroupConfig,
    pub(crate) queue: Arc<Queue<M>>,
    lanes: Lanes,
    pub(crate) evict: Notify,
    close: Notify,
    gauges: GroupGauges,
    status: Mutex<Status>,
}

/// The group as its task last left it.
#[derive(Debug)]
struct Status {
    state: GroupState,
    workers: Vec<(WorkerId, Arc<WorkerStatus>)>,
    weights: Weak<Reservation>,
    resident: Bytes,
    resident_since: Instant,
    breaker: BreakerState,
    /// It was asked to leave and has not begun to.
    told_to_leave: bool,
    /// Why and by when it shall have ended, once it shall.
    closing: Option<(Closing, Deadline)>,
    last_error: Option<String>,
}

impl<M: Model> Shared<M> {
    pub(crate) fn new(config: GroupConfig, queue: Arc<Queue<M>>, lanes: Lanes) -> Arc<Self> {
        let status = Status {
            state: GroupState::Absent,
            workers: Vec::new(),
            weights: Weak::new(),
            resident: Bytes::ZERO,
            resident_since: Instant::now(),
            breaker: BreakerState::Closed,
            told_to_leave: false,
            closing: None,
            last_error: None,
        };
        let (evict, close) = (Notify::new(), Notify::new());
        let gauges = GroupGauges::new(&config.model);
        Arc::new(Self { config, queue, lanes, evict, close, gauges, status: Mutex::new(status) })
    }

    /// Resolves when the group shall end.
    pub(crate) async fn closing(&self) {
        loop {
            let told = self.close.notified();
            if lock(&self.status).closing.is_some() {
                return;
            }
            told.await;
        }
    }

    /// Resolves when the group shall have ended.
    pub(crate) async fn closing_is_due(&self) {
        loop {
            let told = self.close.notified();
            let deadline = lock(&self.status).closing.and_then(|(_, deadline)| deadline.instant());
            match deadline {
                Some(at) => tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(at) => return,
                    // There may be an earlier one.
                    () = told => {}
                },
                None => told.await,
            }
        }
    }

    /// What is told to whoever comes or still waits when the group has ended.
    pub(crate) fn closing_error(&self) -> Error {
        match lock(&self.status).closing {
            Some((Closing::Removed, _)) => Error::Removed { model: self.config.model.clone() },
            Some((Closing::Defect, _)) => {
                Error::Failed { model: self.config.model.clone(), cause: Arc::new(GroupDefect) }
            }
            Some((Closing::ShuttingDown, _)) | None => Error::ShuttingDown,
        }
    }

    pub(crate) fn state(&self) -> GroupState {
        lock(&self.status).state
    }

    /// Follows the table; a step outside of it is a defect that is logged and not taken.
    pub(crate) fn apply(&self, event: GroupEvent) {
        let mut status = lock(&self.status);
        match status.state.next(event) {
            Ok(next) => {
                if next != status.state {
                    tracing::debug!(model = %self.config.model, from = %status.state, to = %next, "group changed state");
                }
                if next == GroupState::Resident && status.state != next {
                    status.resident_since = Instant::now();
                }
                if next != status.state {
                    status.told_to_leave = false;
                }
                status.state = next;
            }
            Err(error) => {
                tracing::error!(model = %self.config.model, %error, "group left its table of states")
            }
        }
    }

    pub(crate) fn set_workers(&self, workers: Vec<(WorkerId, Arc<WorkerStatus>)>) {
        lock(&self.status).workers = workers;
    }

    pub(crate) fn set_resident(&self, bytes: Bytes) {
        lock(&self.status).resident = bytes;
    }

    /// The weights of a model whose workers share them, as long as any of them lives.
    pub(crate) fn weights(&self) -> Option<Arc<Reservation>> {
        lock(&self.status).weights.upgrade()
    }

    pub(crate) fn keep_weights(&self, weights: &Arc<Reservation>) {
        lock(&self.status).weights = Arc::downgrade(weights);
    }

    pub(crate) fn set_breaker(&self, breaker: BreakerState) {
        lock(&self.status).breaker = breaker;
    }

    pub(crate) fn set_error(&self, error: Option<String>) {
        lock(&self.status).last_error = error;
    }
}

impl<M: Model> Member for Shared<M> {
    fn model(&self) -> &ModelId {
        &self.config.model
    }

    fn candidate(&self) -> Option<Candidate> {
        let status = lock(&self.status);
        let bytes = status.resident;
        let resident_since = match status.state {
            GroupState::Resident if !status.told_to_leave => status.resident_since,
            // It will be, and from then on for its minimum residence at least.
            GroupState::Loading => Instant::now(),
            _ => return None,
        };
        let queue = self.queue.stats();
        (bytes > Bytes::ZERO).then(|| Candidate {
            id: self.config.model.clone(),
            bytes,
            busy: queue.waiting + queue.leased > 0,
            last_used: self.queue.last_active(),
            resident_since,
            pinned: self.config.workers.min > 0,
        })
    }

    fn leaving(&self) -> Bytes {
        let status = lock(&self.status);
        let leaves =
            status.told_to_leave || matches!(status.state, GroupState::Evicting | GroupState::Closed);
        if leaves { status.resident } else { Bytes::ZERO }
    }

    fn evict(&self) {
        {
            // From here on its memory is on its way: nobody else need be evicted for it.
            let mut status = lock(&self.status);
            status.told_to_leave = status.state == GroupState::Resident;
        }
        self.evict.notify_one();
    }

    fn close(&self, why: Closing, deadline: Deadline) {
        {
            let mut status = lock(&self.status);
            status.closing = Some(match status.closing {
                None => (why, deadline),
                Some((first, other)) => (first, earliest(deadline, other)),
            });
        }
        self.close.notify_one();
    }

    fn stats(&self) -> GroupStats {
        let queue = self.queue.stats();
        let status = lock(&self.status);
        let workers: Vec<WorkerStats> = status
            .workers
            .iter()
            .map(|(id, worker)| WorkerStats { id: *id, state: worker.state() })
            .collect();
        let lost_threads = self.lanes.lost(&self.config.model);
        GroupStats {
            model: self.config.model.clone(),
            state: status.state,
            breaker: status.breaker,
            workers,
            queue,
            resident: status.resident,
            lost_threads,
            healthy: lost_threads == 0 && !matches!(status.state, GroupState::Broken | GroupState::Closed),
            last_error: status.last_error.clone(),
        }
    }

    fn publish(&self) -> bool {
        let stats = self.stats();
        self.gauges.set(&stats);
        stats.state == GroupState::Resident
    }

    fn report(&self) -> ModelReport {
        ModelReport { model: self.config.model.clone(), counts: self.queue.stats().counts }
    }
}

impl<M: Model> fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("model", &self.config.model)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

fn earliest(one: Deadline, other: Deadline) -> Deadline {
    match (one.instant(), other.instant()) {
        (Some(one), Some(other)) => Deadline::at(one.min(other)),
        (Some(_), None) => one,
        (None, _) => other,
    }
}

/// A model that was just brought in is not evicted for so long, lest two take turns at being loaded.
pub(crate) const MIN_RESIDENCE: Duration = Duration::from_secs(5);
