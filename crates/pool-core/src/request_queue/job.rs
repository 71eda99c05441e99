use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

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
    wanted: AtomicBool,
    sent_event: AtomicBool,
    span: tracing::Span,
    /// What was reserved by estimate; `input` holds more or less once the true cost is known.
    estimated: Bytes,
    input: Mutex<Option<Reservation>>,
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
            wanted: AtomicBool::new(true),
            sent_event: AtomicBool::new(false),
            span,
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
        let prepared = loader.prepare(&self.request)?;
        self.reserve(prepared.cost.bytes).map_err(ModelError::failed)?;
        let _ = self.prepared.set(prepared.value);
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
        self.wanted.load(Ordering::Relaxed)
    }

    pub(crate) fn abandon(&self) {
        self.wanted.store(false, Ordering::Relaxed);
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

impl<M: Model> fmt::Debug for Job<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("id", &self.id).field("wanted", &self.is_wanted()).finish_non_exhaustive()
    }
}
