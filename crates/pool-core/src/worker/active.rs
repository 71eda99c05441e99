//! The jobs a worker is at work on, and the events that wait for their readers.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::error::Error;
use crate::model::Model;
use crate::request_queue::{Job, Leased};
use crate::types::JobId;

/// One job in a worker's hands.
pub(super) struct Active<M: Model> {
    pub(super) job: Arc<Job<M>>,
    pub(super) alone: bool,
    events: Option<mpsc::Sender<M::Event>>,
    /// Events its reader has had no room for. While there are any, the job is paused.
    pending: VecDeque<M::Event>,
    /// Its end, once the model has said it; told when no event is pending.
    outcome: Option<Result<M::Output, Error>>,
    stalled_since: Option<Instant>,
}

/// Every job a worker holds.
pub(super) struct ActiveJobs<M: Model> {
    jobs: FxHashMap<JobId, Active<M>>,
}

/// Jobs that ended, and how.
pub(super) type Ends<M> = Vec<(JobId, End<M>)>;

/// How a job ended.
pub(super) type End<M> = Result<<M as Model>::Output, Error>;

impl<M: Model> ActiveJobs<M> {
    pub(super) fn new() -> Self {
        Self { jobs: FxHashMap::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &Arc<Job<M>>> {
        self.jobs.values().map(|active| &active.job)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether a job here must run by itself.
    pub(super) fn holds_alone(&self) -> bool {
        self.jobs.values().any(|active| active.alone)
    }

    pub(super) fn insert(&mut self, leased: Leased<M>) {
        let Leased { job, events, alone, .. } = leased;
        let active =
            Active { job, alone, events, pending: VecDeque::new(), outcome: None, stalled_since: None };
        self.jobs.insert(active.job.id(), active);
    }

    /// Lets go of a job. Whether the model still knows it: it has not finished it.
    pub(super) fn remove(&mut self, job: JobId) -> bool {
        self.jobs.remove(&job).is_some_and(|active| active.outcome.is_none())
    }

    /// Jobs not to be advanced: their readers have not caught up.
    pub(super) fn paused(&self) -> HashSet<JobId> {
        let paused = self.jobs.values().filter(|active| !active.pending.is_empty());
        paused.map(|active| active.job.id()).collect()
    }

    /// Whether a job that the model is at work on is paused and not among those it was told of.
    pub(super) fn has_paused_beside(&self, told: &HashSet<JobId>) -> bool {
        let paused = |active: &Active<M>| active.outcome.is_none() && !active.pending.is_empty();
        self.jobs.iter().any(|(id, active)| paused(active) && !told.contains(id))
    }

    /// Whether there is anything a step could advance.
    pub(super) fn has_runnable(&self) -> bool {
        self.jobs.values().any(|active| active.pending.is_empty() && active.outcome.is_none())
    }

    /// Notes how the model ended a job. The first word counts.
    pub(super) fn finish(&mut self, job: JobId, outcome: Result<M::Output, Error>) {
        if let Some(active) = self.jobs.get_mut(&job) {
            active.outcome.get_or_insert(outcome);
        }
    }

    /// Queues an event for its reader, if the job has one.
    pub(super) fn emit(&mut self, job: JobId, event: M::Event) {
        if let Some(active) = self.jobs.get_mut(&job)
            && active.events.is_some()
        {
            active.pending.push_back(event);
        }
    }

    /// Hands out what readers have room for, and takes out the jobs that have ended with nothing left to hand out.
    pub(super) fn flush(&mut self, now: Instant) -> Ends<M> {
        for active in self.jobs.values_mut() {
            active.send_pending(now);
        }
        let ended: Vec<JobId> = self
            .jobs
            .values()
            .filter(|active| active.outcome.is_some() && active.pending.is_empty())
            .map(|active| active.job.id())
            .collect();
        ended.into_iter().filter_map(|job| Some((job, self.jobs.remove(&job)?.outcome?))).collect()
    }

    /// Ends the jobs whose readers have read nothing for so long. With each, whether the model still knows it.
    pub(super) fn take_stalled(&mut self, limit: Duration, now: Instant) -> Vec<(JobId, bool)> {
        let stalled: Vec<JobId> = self
            .jobs
            .values()
            .filter(|active| {
                active.stalled_since.is_some_and(|since| since.checked_add(limit).is_some_and(|at| at <= now))
            })
            .map(|active| active.job.id())
            .collect();
        stalled.into_iter().map(|job| (job, self.remove(job))).collect()
    }

    /// When the next paused job will have stalled for so long.
    pub(super) fn next_stall(&self, limit: Duration) -> Option<Instant> {
        self.jobs
            .values()
            .filter_map(|active| active.stalled_since)
            .min()
            .and_then(|since| since.checked_add(limit))
    }

    /// Channels whose readers are waited for.
    pub(super) fn stalled_channels(&self) -> Vec<mpsc::Sender<M::Event>> {
        let stalled = self.jobs.values().filter(|active| !active.pending.is_empty());
        stalled.filter_map(|active| active.events.clone()).collect()
    }

    /// Takes everything, to be answered or given back.
    pub(super) fn drain(&mut self) -> Vec<(Active<M>, Option<End<M>>)> {
        let mut all: Vec<Active<M>> = self.jobs.drain().map(|(_, active)| active).collect();
        all.sort_by_key(|active| active.job.id());
        all.into_iter()
            .map(|mut active| {
                let outcome = active.outcome.take();
                (active, outcome)
            })
            .collect()
    }
}

impl<M: Model> Active<M> {
    fn send_pending(&mut self, now: Instant) {
        let Some(events) = &self.events else { return };
        let mut sent = false;
        while let Some(event) = self.pending.pop_front() {
            match events.try_send(event) {
                Ok(()) => {
                    sent = true;
                    self.job.mark_event_sent();
                }
                Err(TrySendError::Full(event)) => {
                    self.pending.push_front(event);
                    break;
                }
                Err(TrySendError::Closed(_)) => {
                    // The caller wants the end only.
                    self.pending.clear();
                    self.events = None;
                    break;
                }
            }
        }
        match (self.pending.is_empty(), sent) {
            (true, _) => self.stalled_since = None,
            (false, true) => self.stalled_since = Some(now),
            (false, false) => self.stalled_since = self.stalled_since.or(Some(now)),
        }
    }
}
