//! What the orchestrator sees of a model group, whatever its modality: the one object-safe face.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::config::GroupConfig;
use super::eviction::Candidate;
use super::report::{GroupStats, ModelReport, WorkerStats};
use crate::compute::Lanes;
use crate::memory_governor::Reservation;
use crate::model::Model;
use crate::request_queue::Queue;
use crate::sync::{Mutex, lock};
use crate::types::{Bytes, Deadline, ModelId, WorkerId};
use crate::worker::WorkerStatus;
use crate::worker_state::{GroupEvent, GroupState};

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
    /// Asks it to finish its work by then, refuse anything new and end.
    fn drain(&self, deadline: Deadline);
    /// How it stands.
    fn stats(&self) -> GroupStats;
    /// What became of its tickets.
    fn report(&self) -> ModelReport;
}

/// What a group's handle, its task and the orchestrator share.
pub(crate) struct Shared<M: Model> {
    pub(crate) config: GroupConfig,
    pub(crate) queue: Arc<Queue<M>>,
    lanes: Lanes,
    pub(crate) evict: Notify,
    /// Set once: by when the group shall have drained.
    pub(crate) drain: watch::Sender<Option<Deadline>>,
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
            last_error: None,
        };
        let (drain, _) = watch::channel(None);
        Arc::new(Self { config, queue, lanes, evict: Notify::new(), drain, status: Mutex::new(status) })
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
        (status.state == GroupState::Resident && bytes > Bytes::ZERO).then(|| Candidate {
            id: self.config.model.clone(),
            bytes,
            last_used: self.queue.last_active(),
            resident_since: status.resident_since,
            pinned: self.config.workers.min > 0,
        })
    }

    fn leaving(&self) -> Bytes {
        let status = lock(&self.status);
        if status.state == GroupState::Evicting { status.resident } else { Bytes::ZERO }
    }

    fn evict(&self) {
        self.evict.notify_one();
    }

    fn drain(&self, deadline: Deadline) {
        self.drain.send_replace(Some(deadline));
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
            workers,
            queue,
            resident: status.resident,
            lost_threads,
            healthy: lost_threads == 0 && !matches!(status.state, GroupState::Broken | GroupState::Closed),
            last_error: status.last_error.clone(),
        }
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

/// A model that was just brought in is not evicted for so long, lest two take turns at being loaded.
pub(crate) const MIN_RESIDENCE: Duration = Duration::from_secs(5);
