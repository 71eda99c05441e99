//! The queue of one model group as its tasks share it: the pure core behind one short lock, and who is woken when.

mod door;
mod ends;
mod preparing;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::admission::{self, Newcomer, Occupancy, QueueLimits, Rate, Refusal};
use super::conviction::Convictions;
use super::core::{Arrival, Core, Record};
use super::{Counts, Job, JobOptions, Leased, Outcome, QueueStats};
use crate::error::{Error, Excess, Overload};
use crate::memory_governor::{Account, Governor, OutOfMemory, Reservation};
use crate::metrics::QueueMetrics;
use crate::model::{Loader, Model, ModelError, Preparation, Room};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, lock};
use crate::types::{
    Bytes, Cost, Desk, Fingerprint, JobId, ModelId, Principal, Priority, Reply, Ticket, Tokens,
};

/// What a queue is made with.
#[derive(Clone, Debug)]
pub(crate) struct QueueConfig {
    pub(crate) model: ModelId,
    pub(crate) limits: QueueLimits,
    pub(crate) ageing: Duration,
    pub(crate) coalesce: bool,
}

/// An accepted job: its ticket, and its events if they were asked for.
pub(crate) type Accepted<M> = (Ticket<<M as Model>::Output>, Option<mpsc::Receiver<<M as Model>::Event>>);

/// Why nothing was accepted, and what was brought.
pub(crate) type TurnedAway<M> = (Error, Vec<<M as Model>::Request>);

/// One of a job's waiting callers.
struct Waiter<T> {
    ticket: u64,
    reply: Reply<T>,
}

/// What the queue keeps of a job besides its place.
struct Payload<M: Model> {
    job: Arc<Job<M>>,
    waiters: Vec<Waiter<M::Output>>,
    events: Option<mpsc::Sender<M::Event>>,
    /// Under which content other callers may join it.
    join: Option<(Principal, Fingerprint)>,
    priority: Priority,
}

struct State<M: Model> {
    core: Core<Payload<M>>,
    joins: FxHashMap<(Principal, Fingerprint), JobId>,
    convictions: Convictions,
    counts: Counts,
    /// Tickets not ended: what the limit on jobs counts.
    outstanding: usize,
    rate: Rate,
    /// How many workers the rate is to be multiplied by.
    workers: usize,
    /// Why nothing more is taken, once it is so, and until when, where that is known.
    refusing: Option<(Error, Option<Instant>)>,
    /// Whether somebody wants to know of the next arrival.
    demand_armed: bool,
    last_active: Instant,
}

/// A job that has ended, and how: to be told once the lock is released.
type Ended<M> = (Record<Payload<M>>, Result<<M as Model>::Output, Error>);

/// The queue of one model group.
pub(crate) struct Queue<M: Model> {
    config: QueueConfig,
    preparation: Box<dyn Fn(Cost) -> Preparation + Send + Sync>,
    state: Mutex<State<M>>,
    ready_idle: Notify,
    ready_busy: Notify,
    /// How many workers that hold jobs wait for more.
    waiting_busy: AtomicUsize,
    raw: Notify,
    room: Notify,
    refusal: Notify,
    demand: Notify,
    empty: Notify,
    withdrawn: Notify,
    next_ticket: AtomicU64,
    refused: AtomicU64,
    job_ids: Arc<AtomicU64>,
    governor: Governor,
    metrics: QueueMetrics,
}

impl<M: Model> Queue<M> {
    pub(crate) fn new<L: Loader<Model = M>>(
        config: QueueConfig,
        loader: Arc<L>,
        governor: Governor,
        job_ids: Arc<AtomicU64>,
    ) -> Arc<Self> {
        let metrics = QueueMetrics::new(&config.model);
        Arc::new(Self {
            state: Mutex::new(State {
                core: Core::new(config.ageing),
                joins: FxHashMap::default(),
                convictions: Convictions::default(),
                counts: Counts::default(),
                outstanding: 0,
                rate: Rate::default(),
                workers: 0,
                refusing: None,
                demand_armed: false,
                last_active: Instant::now(),
            }),
            config,
            preparation: Box::new(move |estimate| loader.preparation(estimate)),
            ready_idle: Notify::new(),
            ready_busy: Notify::new(),
            waiting_busy: AtomicUsize::new(0),
            raw: Notify::new(),
            room: Notify::new(),
            refusal: Notify::new(),
            demand: Notify::new(),
            empty: Notify::new(),
            withdrawn: Notify::new(),
            next_ticket: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            job_ids,
            governor,
            metrics,
        })
    }

    pub(crate) fn model(&self) -> &ModelId {
        &self.config.model
    }

    pub(crate) fn metrics(&self) -> &QueueMetrics {
        &self.metrics
    }

    /// A job has brought down a worker all by itself. Its input is refused for a while, if it can be told from others.
    pub(crate) fn convict(&self, job: &Job<M>) {
        if let Some(input) = job.fingerprint() {
            lock(&self.state).convictions.convict(input, Instant::now());
        }
    }

    /// How many workers compute: the measured rate is one worker's.
    pub(crate) fn set_workers(&self, workers: usize) {
        lock(&self.state).workers = workers;
    }

    /// From now on every newcomer is refused with this. Where it ends at some time, each is told how long that still is.
    pub(crate) fn refuse(&self, error: Error, until: Option<Instant>) {
        lock(&self.state).refusing = Some((error, until));
        // Whoever waits, for room or for memory, must hear of it.
        self.refusal.notify_waiters();
    }

    /// The door is open again.
    pub(crate) fn reopen(&self) {
        lock(&self.state).refusing = None;
    }

    /// Resolves at the next arrival, or at once if a job waits already.
    pub(crate) async fn demand(&self) {
        loop {
            let arrival = self.demand.notified();
            {
                let mut state = lock(&self.state);
                if state.core.len() > state.core.leased() {
                    return;
                }
                state.demand_armed = true;
            }
            arrival.await;
        }
    }

    /// Resolves when no accepted job is left.
    pub(crate) async fn emptied(&self) {
        loop {
            let empty = self.empty.notified();
            if lock(&self.state).core.len() == 0 {
                return;
            }
            empty.await;
        }
    }

    pub(crate) fn last_active(&self) -> Instant {
        lock(&self.state).last_active
    }

    pub(crate) fn stats(&self) -> QueueStats {
        let now = Instant::now();
        let state = lock(&self.state);
        QueueStats {
            waiting: state.core.len() - state.core.leased(),
            leased: state.core.leased(),
            cost: state.core.cost(),
            waiting_tokens: state.core.waiting_tokens(),
            tokens_per_second: state.rate.per_second(),
            oldest_wait: state.core.oldest().map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
            counts: Counts { refused: self.refused.load(Ordering::Relaxed), ..state.counts },
        }
    }

    /// Changes the state under the lock. Nobody else's code runs in there: what is to be told comes back and is told
    /// outside.
    fn change<R>(&self, change: impl FnOnce(&mut State<M>) -> R) -> R {
        change(&mut lock(&self.state))
    }

    /// A job is ready. One idle worker looks, and wakes the next if it leaves something. All that hold jobs look, as their
    /// rooms differ: what one cannot take another may.
    fn wake_one(&self) {
        self.ready_idle.notify_one();
        // Seen wherever it matters: who waits counts himself before he looks, under the lock that the job came in by.
        if self.waiting_busy.load(Ordering::Relaxed) > 0 {
            self.ready_busy.notify_waiters();
        }
    }

    fn overloaded(&self, why: Overload, retry_after: Duration) -> Error {
        Error::Overloaded { model: self.config.model.clone(), why, retry_after }
    }

    fn too_large(&self, why: Excess) -> Error {
        Error::TooLarge { model: self.config.model.clone(), why }
    }

    fn convicted(&self, retry_after: Duration) -> Error {
        Error::Convicted { model: self.config.model.clone(), retry_after }
    }

    /// There is no memory for an input: now, or ever.
    fn no_memory(&self, held: &Occupancy, short: OutOfMemory) -> Error {
        let OutOfMemory { needed, available, limit } = short;
        if needed > limit {
            return self.too_large(Excess::Bytes { bytes: needed, limit });
        }
        let retry_after = admission::memory_retry(held, needed.saturating_sub(available));
        self.overloaded(Overload::Memory, retry_after)
    }

    /// What a job's own error is to its caller.
    pub(crate) fn job_error(&self, error: ModelError) -> Error {
        match error {
            ModelError::Invalid(message) => Error::Invalid { message: message.into() },
            ModelError::Failed(cause) => match cause.downcast::<OutOfMemory>() {
                Ok(short) => {
                    let held = lock(&self.state).occupancy(Priority::Low);
                    self.no_memory(&held, *short)
                }
                Err(cause) => Error::Failed { model: self.config.model.clone(), cause: cause.into() },
            },
        }
    }

    fn deadline_exceeded(&self) -> Error {
        Error::DeadlineExceeded { model: self.config.model.clone() }
    }

    fn count_refused(&self, jobs: usize) {
        self.refused.fetch_add(jobs as u64, Ordering::Relaxed);
        self.metrics.refused(jobs as u64);
    }
}

impl<M: Model> State<M> {
    /// What a newcomer of this class finds.
    fn occupancy(&self, priority: Priority) -> Occupancy {
        Occupancy {
            jobs: self.outstanding,
            cost: self.core.cost(),
            ahead: self.core.ahead_of(priority),
            tokens_per_second: self.rate.per_second().map(|rate| rate * self.workers.max(1) as f64),
        }
    }

    /// How long this input stays refused, if it was convicted.
    fn sentence(&mut self, input: Option<Fingerprint>, now: Instant) -> Option<Duration> {
        if self.convictions.is_empty() {
            return None;
        }
        self.convictions.remaining(input?, now)
    }
}

impl<M: Model> fmt::Debug for Queue<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("model", &self.config.model).finish_non_exhaustive()
    }
}
