//! What a modality brings: a model that steps, and a loader that makes one.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::request_queue::Job;
use crate::types::{Bytes, Cost, Fingerprint, JobId, Priority, Tokens};

/// A model that advances its active jobs one step at a time.
///
/// A step aims at 200 ms: an embedding batch is done after one, a language model yields one token (or one chunk of a
/// prompt) per sequence, a diffusion model one denoising step or a part of it. Between steps new jobs join, cancelled
/// ones leave and events are sent. The model is moved to a compute thread for each step, so `step` may compute freely.
pub trait Model: Send + Sized + 'static {
    /// What a caller asks.
    type Request: Send + Sync + 'static;
    /// What preparing a request yields, for instance its token ids.
    type Prepared: Send + Sync + 'static;
    /// What a caller gets. Callers whose equal requests were joined each get a clone.
    type Output: Clone + Send + 'static;
    /// What a caller may watch while the job runs, for instance a token.
    type Event: Send + 'static;

    /// A cheap guess at a request's cost that needs no weights; the size of the input suffices.
    /// [`Loader::prepare`] corrects it.
    fn estimate(request: &Self::Request) -> Cost;

    /// Stands for the request's whole content, so that equal requests of one principal can be joined.
    /// `None`: never joined. Called on a runtime thread, so large inputs should return `None` and have
    /// [`Model::identify`].
    fn fingerprint(request: &Self::Request) -> Option<Fingerprint> {
        let _ = request;
        None
    }

    /// The same for requests of any size that have no [`Model::fingerprint`] and are prepared in the lane, where this is
    /// called: an input that makes the model crash is known by it when it comes again. `None`: it is not.
    fn identify(request: &Self::Request) -> Option<Fingerprint> {
        let _ = request;
        None
    }

    /// How much more may join the next step. A job that is paused need take no place: a model is told of it by a step, one
    /// in which nothing else happens if need be.
    fn room(&self) -> Room;

    /// Advances every active job by one step.
    ///
    /// # Errors
    ///
    /// An error means the model itself is broken: it is dropped, loaded again, and each active job is retried alone.
    /// What is wrong with one job only is told by [`Step::finish`].
    fn step(&mut self, step: &mut Step<Self>) -> Result<(), StepError>;
}

/// Knows how to bring a [`Model`] into memory. One loader serves all workers of a group.
pub trait Loader: Send + Sync + 'static {
    /// The model it loads.
    type Model: Model;

    /// Bytes the model will take. Runs in the io lane; reads headers at most.
    ///
    /// # Errors
    ///
    /// When the model's files are missing or malformed.
    fn footprint(&self) -> Result<Footprint, LoadError> {
        Ok(Footprint::default())
    }

    /// Brings the model into memory. Runs in the io lane, once a worker.
    ///
    /// # Errors
    ///
    /// When the model's files are missing, malformed, or hold a model this loader does not know.
    fn load(&self) -> Result<Self::Model, LoadError>;

    /// Turns a request into what the model computes on, and corrects its estimated cost.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`] when the request can never be served.
    fn prepare(
        &self,
        request: &<Self::Model as Model>::Request,
    ) -> Result<Prepared<<Self::Model as Model>::Prepared>, ModelError>;

    /// Where [`Loader::prepare`] runs for a request of this estimated cost.
    fn preparation(&self, estimate: Cost) -> Preparation {
        let _ = estimate;
        Preparation::Inline
    }
}

/// A prepared request.
#[derive(Clone, Copy, Debug)]
pub struct Prepared<T> {
    /// What the model computes on.
    pub value: T,
    /// The request's true cost: tokens as counted, and the bytes of request and value together, as both are held until the
    /// job ends.
    pub cost: Cost,
}

/// Where a request is prepared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preparation {
    /// At the head of the step it joins: for preparation of microseconds, or none.
    Inline,
    /// Beforehand, in the prepare lane, while other jobs compute.
    Lane,
}

/// Bytes a model takes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Footprint {
    /// Weights, which all workers of a group share: counted for its first worker.
    pub weights: Bytes,
    /// The least each worker needs besides, to take any step at all.
    pub working_set: Bytes,
}

/// How much more may join a model's next step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// So many jobs.
    pub jobs: usize,
    /// So many tokens in all. The first job of an empty batch joins even if it has more.
    pub tokens: Tokens,
    /// Only jobs that are more urgent than this, however long others have waited. A worker that holds nothing takes any.
    pub above: Option<Priority>,
}

impl Room {
    /// No room at all.
    pub const NONE: Self = Self { jobs: 0, tokens: Tokens::ZERO, above: None };

    /// Room for so many jobs of any size.
    pub const fn jobs(jobs: usize) -> Self {
        Self { jobs, tokens: Tokens::MAX, above: None }
    }

    /// Room for so many jobs of so many tokens in all.
    pub const fn new(jobs: usize, tokens: Tokens) -> Self {
        Self { jobs, tokens, above: None }
    }

    /// The same, for jobs only that are more urgent than this: work that is finished before other work of its kind is
    /// begun may still be overtaken.
    pub const fn above(self, priority: Priority) -> Self {
        Self { above: Some(priority), ..self }
    }
}

/// Why one job failed. Other jobs of the same step are not affected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The input is at fault; the message says what is wrong and what would be right.
    #[error("{0}")]
    Invalid(String),
    /// The model is at fault.
    #[error(transparent)]
    Failed(Box<dyn std::error::Error + Send + Sync + 'static>),
}

impl ModelError {
    /// An input that cannot be served, and why.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// A failure of the model.
    pub fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>) -> Self {
        Self::Failed(cause.into())
    }
}

/// A step failed as a whole: the model is broken.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StepError(#[source] Box<dyn std::error::Error + Send + Sync + 'static>);

impl StepError {
    /// A failed step and its cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>) -> Self {
        Self(cause.into())
    }
}

/// A model could not be brought into memory.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(#[source] Box<dyn std::error::Error + Send + Sync + 'static>);

impl LoadError {
    /// A failed load and its cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>) -> Self {
        Self(cause.into())
    }
}

/// A job as its model sees it. Cheap to clone and keep.
pub struct JobView<M: Model> {
    pub(crate) job: Arc<Job<M>>,
    pub(crate) priority: Priority,
}

impl<M: Model> JobView<M> {
    /// The job's id.
    pub fn id(&self) -> JobId {
        self.job.id()
    }

    /// What the caller asked.
    pub fn request(&self) -> &M::Request {
        self.job.request()
    }

    /// What preparation made of it. `None` only if the step was handed the job unprepared, which the worker never does.
    pub fn prepared(&self) -> Option<&M::Prepared> {
        self.job.prepared()
    }

    /// How urgent it was when it left the queue: as urgent as the most urgent of those who wait for it.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Whether anybody still waits for it. A long step may ask, and leave out the rest of an unwanted job.
    pub fn is_wanted(&self) -> bool {
        self.job.is_wanted()
    }
}

impl<M: Model> Clone for JobView<M> {
    fn clone(&self) -> Self {
        Self { job: Arc::clone(&self.job), priority: self.priority }
    }
}

impl<M: Model> fmt::Debug for JobView<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JobView").field(&self.id()).finish()
    }
}

/// What happened to the active jobs since the last step, and what this step makes of them.
pub struct Step<M: Model> {
    joined: Vec<JobView<M>>,
    left: Vec<JobId>,
    paused: HashSet<JobId>,
    pub(crate) finished: Vec<(JobId, Result<M::Output, ModelError>)>,
    pub(crate) events: Vec<(JobId, M::Event)>,
}

impl<M: Model> Step<M> {
    pub(crate) fn new(joined: Vec<JobView<M>>, left: Vec<JobId>, paused: HashSet<JobId>) -> Self {
        let finished = Vec::with_capacity(joined.len());
        Self { joined, left, paused, finished, events: Vec::new() }
    }

    /// Takes the jobs that join with this step, in queue order. Each stays active until it is finished or leaves.
    pub fn take_joined(&mut self) -> Vec<JobView<M>> {
        std::mem::take(&mut self.joined)
    }

    pub(crate) fn joined_mut(&mut self) -> &mut Vec<JobView<M>> {
        &mut self.joined
    }

    /// Jobs that left since the last step: cancelled, expired, or ended for not reading their events.
    pub fn left(&self) -> &[JobId] {
        &self.left
    }

    /// Whether the job's caller has not read its events: it should not be advanced by this step.
    pub fn is_paused(&self, job: JobId) -> bool {
        self.paused.contains(&job)
    }

    /// Ends a job: its output, or why there is none. A second end of the same job is ignored.
    pub fn finish(&mut self, job: JobId, outcome: Result<M::Output, ModelError>) {
        self.finished.push((job, outcome));
    }

    /// Sends an event to the job's caller, if it asked for events.
    pub fn emit(&mut self, job: JobId, event: M::Event) {
        self.events.push((job, event));
    }
}

impl<M: Model> fmt::Debug for Step<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("joined", &self.joined)
            .field("left", &self.left)
            .field("paused", &self.paused)
            .field("finished", &self.finished.len())
            .field("events", &self.events.len())
            .finish()
    }
}
