use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Outcome;
use crate::memory_governor::{OutOfMemory, Reservation};
use crate::model::{Loader, Model, ModelError};
use crate::sync::{Mutex, lock};
use crate::types::{Bytes, Cost, Deadline, Fingerprint, JobId, Principal, Priority};

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

/// What queue, worker and model share of one job. The memory of its input, prepared or not, is freed when the last of
/// them lets go.
pub(crate) struct Job<M: Model> {
    id: JobId,
    request: M::Request,
    fingerprint: OnceLock<Fingerprint>,
    prepared: OnceLock<M::Prepared>,
    sent_event: AtomicBool,
    story: Story,
    /// What was reserved by estimate; `input` holds more or less once the true cost is known.
    estimated: Bytes,
    input: Mutex<Option<Reservation>>,
}

/// A job's span, and how the job ended. That is said here, when the last of them lets go, as it ends under the queue's lock;
/// of a request that was refused, or that joined another's job, nothing is said.
struct Story {
    span: tracing::Span,
    outcome: OnceLock<Outcome>,
}

impl Drop for Story {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome.get() {
            tracing::debug!(parent: &self.span, outcome = outcome.as_str(), "ended");
        }
    }
}

impl<M: Model> Job<M> {
    pub(crate) fn new(
        id: JobId,
        request: M::Request,
        fingerprint: Option<Fingerprint>,
        span: tracing::Span,
        estimated: Bytes,
    ) -> Self {
        Self {
            id,
            request,
            fingerprint: fingerprint.map_or_else(OnceLock::new, OnceLock::from),
            prepared: OnceLock::new(),
            sent_event: AtomicBool::new(false),
            story: Story { span, outcome: OnceLock::new() },
            estimated,
            input: Mutex::new(None),
        }
    }

    pub(crate) fn id(&self) -> JobId {
        self.id
    }

    pub(crate) fn request(&self) -> &M::Request {
        &self.request
    }

    /// The request, once nobody else shares the job.
    pub(crate) fn into_request(self) -> M::Request {
        self.request
    }

    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint.get().copied()
    }

    /// Finds the fingerprint of an input that was too large for it at the door. Reads all of it, so not on a runtime thread.
    pub(crate) fn identify(&self) {
        if self.fingerprint.get().is_none()
            && let Some(fingerprint) = M::identify(&self.request)
        {
            let _ = self.fingerprint.set(fingerprint);
        }
    }

    /// The memory of the input.
    pub(super) fn fund(&mut self, input: Reservation) {
        self.input = Mutex::new(Some(input));
    }

    pub(crate) fn prepared(&self) -> Option<&M::Prepared> {
        self.prepared.get()
    }

    /// Prepares the request and reserves what it truly takes; its true cost. Keeps the first preparation; a later one is
    /// equal and dropped.
    ///
    /// # Errors
    ///
    /// The loader's, or [`OutOfMemory`] as a failure.
    pub(crate) fn prepare<L: Loader<Model = M>>(&self, loader: &L) -> Result<Cost, ModelError> {
        let prepared = self.span().in_scope(|| loader.prepare(&self.request))?;
        self.reserve(prepared.cost.bytes).map_err(ModelError::failed)?;
        let _ = self.prepared.set(prepared.value);
        tracing::trace!(parent: self.span(), tokens = prepared.cost.tokens.get(), "prepared");
        Ok(prepared.cost)
    }

    /// Nearly always what was estimated is right.
    fn reserve(&self, bytes: Bytes) -> Result<(), OutOfMemory> {
        if bytes == self.estimated {
            return Ok(());
        }
        if let Some(input) = &mut *lock(&self.input) {
            input.try_grow(bytes.saturating_sub(input.bytes()))?;
            input.shrink_to(bytes);
        }
        Ok(())
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.story.outcome.get().is_none()
    }

    /// Notes how it ended; from now on nobody wants it computed.
    pub(crate) fn end(&self, outcome: Outcome) {
        let _ = self.story.outcome.set(outcome);
    }

    /// Whether its caller has seen an event, so that it cannot be run again from the start.
    pub(crate) fn has_sent_event(&self) -> bool {
        self.sent_event.load(Ordering::Relaxed)
    }

    pub(crate) fn mark_event_sent(&self) {
        self.sent_event.store(true, Ordering::Relaxed);
    }

    pub(crate) fn span(&self) -> &tracing::Span {
        &self.story.span
    }
}

impl<M: Model> fmt::Debug for Job<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("id", &self.id).field("wanted", &self.is_wanted()).finish_non_exhaustive()
    }
}
