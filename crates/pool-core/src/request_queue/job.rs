use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::error::Error;
use crate::memory_governor::Reservation;
use crate::model::Model;
use crate::types::{Deadline, Fingerprint, JobId, Principal, Priority};

/// How a job wants to be treated.
#[derive(Clone, Default, Debug)]
pub struct JobOptions {
    /// Its class.
    pub priority: Priority,
    /// When its answer stops being of use.
    pub deadline: Deadline,
    /// On whose behalf it runs.
    pub principal: Principal,
}

impl JobOptions {
    /// Sets the class.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the deadline.
    pub fn deadline(mut self, deadline: impl Into<Deadline>) -> Self {
        self.deadline = deadline.into();
        self
    }

    /// Sets the principal.
    pub fn principal(mut self, principal: Principal) -> Self {
        self.principal = principal;
        self
    }
}

/// How jobs end, as spans tell it.
const OUTCOMES: [&str; 5] = ["none", "completed", "cancelled", "expired", "failed"];

/// What queue, worker and model share of one job. Its input's memory is freed when the last of them lets go.
pub(crate) struct Job<M: Model> {
    id: JobId,
    request: M::Request,
    fingerprint: Option<Fingerprint>,
    prepared: OnceLock<M::Prepared>,
    /// How it ended: one of [`OUTCOMES`], the first while it has not.
    outcome: AtomicU8,
    sent_event: AtomicBool,
    span: tracing::Span,
    _input: Reservation,
}

impl<M: Model> Job<M> {
    pub(crate) fn new(
        id: JobId,
        request: M::Request,
        fingerprint: Option<Fingerprint>,
        span: tracing::Span,
        input: Reservation,
    ) -> Self {
        Self {
            id,
            request,
            fingerprint,
            prepared: OnceLock::new(),
            outcome: AtomicU8::new(0),
            sent_event: AtomicBool::new(false),
            span,
            _input: input,
        }
    }

    pub(crate) fn id(&self) -> JobId {
        self.id
    }

    pub(crate) fn request(&self) -> &M::Request {
        &self.request
    }

    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    pub(crate) fn prepared(&self) -> Option<&M::Prepared> {
        self.prepared.get()
    }

    /// Keeps the first preparation; a later one is equal and dropped.
    pub(crate) fn set_prepared(&self, value: M::Prepared) {
        let _ = self.prepared.set(value);
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.outcome.load(Ordering::Relaxed) == 0
    }

    /// Notes how it ended; from now on nobody wants it computed.
    pub(crate) fn end<T>(&self, end: &Result<T, Error>) {
        let outcome = match end {
            Ok(_) => 1,
            Err(Error::Cancelled) => 2,
            Err(Error::DeadlineExceeded { .. }) => 3,
            Err(_) => 4,
        };
        self.outcome.store(outcome, Ordering::Relaxed);
    }

    /// Whether its caller has seen an event, so that it cannot be run again from the start.
    pub(crate) fn has_sent_event(&self) -> bool {
        self.sent_event.load(Ordering::Relaxed)
    }

    pub(crate) fn mark_event_sent(&self) {
        self.sent_event.store(true, Ordering::Relaxed);
    }

    pub(crate) fn span(&self) -> &tracing::Span {
        &self.span
    }
}

impl<M: Model> Drop for Job<M> {
    /// Said here rather than where it ended, as that is under the queue's lock.
    fn drop(&mut self) {
        let outcome = OUTCOMES.get(usize::from(*self.outcome.get_mut())).copied();
        tracing::debug!(parent: &self.span, outcome, "ended");
    }
}

impl<M: Model> fmt::Debug for Job<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("id", &self.id).field("wanted", &self.is_wanted()).finish_non_exhaustive()
    }
}
