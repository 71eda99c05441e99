//! The queue of one model group as its tasks share it: the pure core behind one short lock, and who is woken when.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::admission::{self, Newcomer, Occupancy, QueueLimits, Rate, Refusal};
use super::conviction::{Convictions, SENTENCE};
use super::core::{Arrival, Core, Record};
use super::{Counts, Job, JobOptions, QueueStats};
use crate::error::{Error, Overload};
use crate::memory_governor::{Account, Governor};
use crate::metrics::QueueMetrics;
use crate::model::{Loader, Model, Preparation, Room};
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
    /// Why nothing more is taken, once it is so.
    refusing: Option<Error>,
    /// Whether somebody wants to know of the next arrival.
    demand_armed: bool,
    last_active: Instant,
}

/// Replies to be sent once the lock is released.
type Replies<T> = Vec<(Reply<T>, Result<T, Error>)>;

/// The queue of one model group.
pub(crate) struct Queue<M: Model> {
    config: QueueConfig,
    preparation: Box<dyn Fn(Cost) -> Preparation + Send + Sync>,
    state: Mutex<State<M>>,
    ready: Notify,
    raw: Notify,
    room: Notify,
    demand: Notify,
    empty: Notify,
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
            ready: Notify::new(),
            raw: Notify::new(),
            room: Notify::new(),
            demand: Notify::new(),
            empty: Notify::new(),
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

    // ---- at the door -------------------------------------------------------------------------------------------

    /// Accepts all of these or none. On refusal the requests come back with the reason.
    pub(crate) fn try_submit(
        self: &Arc<Self>,
        requests: Vec<M::Request>,
        options: &JobOptions,
        events: Option<usize>,
        heed_time: bool,
    ) -> Result<Vec<Accepted<M>>, TurnedAway<M>> {
        let now = Instant::now();
        // Everything that takes time or memory happens before the lock.
        let mut parcels = Vec::with_capacity(requests.len());
        let mut total = Cost::ZERO;
        for request in &requests {
            let cost = M::estimate(request);
            let fingerprint = M::fingerprint(request);
            total += cost;
            parcels.push((cost, fingerprint));
        }
        let mut inputs = match self.governor.try_reserve(Account::Inputs, total.bytes) {
            Ok(reservation) => reservation,
            Err(_) => {
                let retry_after = Duration::from_secs(1);
                let error = self.overloaded(Overload::Memory, retry_after);
                self.count_refused(requests.len());
                return Err((error, requests));
            }
        };
        let mut state = lock(&self.state);
        if let Err(error) = self.admit(&mut state, &parcels, total, options, heed_time, now) {
            drop(state);
            self.count_refused(requests.len());
            return Err((error, requests));
        }
        let mut accepted = Vec::with_capacity(requests.len());
        let (mut any_raw, mut any_ready) = (false, false);
        for (request, (cost, fingerprint)) in requests.into_iter().zip(parcels) {
            let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
            let (reply, answer) = oneshot::channel();
            let waiter = Waiter { ticket, reply };
            let join = fingerprint
                .filter(|_| self.config.coalesce && events.is_none())
                .map(|fingerprint| (options.principal.clone(), fingerprint));
            let joined = join.as_ref().and_then(|key| state.joins.get(key).copied());
            let (job, receiver) = match joined {
                Some(job) if state.core.contains(job) => {
                    self.join(&mut state, job, waiter, options, now);
                    (job, None)
                }
                _ => {
                    let job = JobId::new(self.job_ids.fetch_add(1, Ordering::Relaxed));
                    let (sender, receiver) = match events {
                        // The caller chose the bound: how far a job may run ahead of its reader.
                        Some(bound) => {
                            let (sender, receiver) = mpsc::channel(bound.max(1));
                            (Some(sender), Some(receiver))
                        }
                        None => (None, None),
                    };
                    let span = tracing::debug_span!("job", model = %self.config.model, %job);
                    let input = inputs.split(cost.bytes);
                    let raw = (self.preparation)(cost) == Preparation::Lane;
                    any_raw |= raw;
                    any_ready |= !raw;
                    if let Some(key) = &join {
                        state.joins.insert(key.clone(), job);
                    }
                    let shared = Arc::new(Job::new(job, request, fingerprint, span, input));
                    let payload = Payload {
                        job: shared,
                        waiters: vec![waiter],
                        events: sender,
                        join,
                        priority: options.priority,
                    };
                    let arrival = Arrival {
                        job,
                        payload,
                        cost,
                        deadline: options.deadline,
                        principal: options.principal.clone(),
                        priority: options.priority,
                        raw,
                    };
                    state.core.insert(arrival, now);
                    (job, receiver)
                }
            };
            state.counts.accepted += 1;
            state.outstanding += 1;
            let desk: Arc<dyn Desk> = Arc::<Self>::clone(self);
            accepted.push((Ticket::new(job, ticket, answer, options.deadline, desk), receiver));
        }
        state.last_active = now;
        let demanded = std::mem::take(&mut state.demand_armed);
        drop(state);
        self.metrics.accepted(accepted.len() as u64);
        if any_raw {
            self.raw.notify_one();
        }
        if any_ready {
            // One worker wakes; it wakes the next if it leaves something.
            self.ready.notify_one();
        }
        if demanded {
            self.demand.notify_one();
        }
        Ok(accepted)
    }

    /// Accepts one request, waiting for room until its deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future while it waits leaves nothing behind.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        request: M::Request,
        options: &JobOptions,
        events: Option<usize>,
    ) -> Result<Accepted<M>, Error> {
        let mut requests = vec![request];
        loop {
            let room = self.room.notified();
            // Before the attempt, so that memory freed after it goes unnoticed by nobody.
            let freed = self.governor.freed();
            let error = match self.try_submit(requests, options, events, false) {
                Ok(mut accepted) => {
                    // Others may wait for what room is left.
                    self.room.notify_one();
                    return accepted.pop().ok_or(Error::Lost);
                }
                Err((error @ Error::Overloaded { .. }, back)) => {
                    requests = back;
                    error
                }
                Err((error, _)) => return Err(error),
            };
            let memory = matches!(&error, Error::Overloaded { why: Overload::Memory, .. });
            let expired = async {
                match options.deadline.instant() {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = room => {}
                () = freed, if memory => {}
                () = expired => return Err(self.deadline_exceeded()),
            }
        }
    }

    fn admit(
        &self,
        state: &mut State<M>,
        parcels: &[(Cost, Option<Fingerprint>)],
        total: Cost,
        options: &JobOptions,
        heed_time: bool,
        now: Instant,
    ) -> Result<(), Error> {
        if let Some(error) = &state.refusing {
            return Err(error.clone());
        }
        if options.deadline.has_passed(now) {
            return Err(self.deadline_exceeded());
        }
        if !state.convictions.is_empty() {
            for (_, fingerprint) in parcels {
                if let Some(retry_after) =
                    fingerprint.and_then(|input| state.convictions.remaining(input, now))
                {
                    return Err(Error::Convicted { model: self.config.model.clone(), retry_after });
                }
            }
        }
        let held = Occupancy {
            jobs: state.outstanding,
            cost: state.core.cost(),
            ahead: state.core.ahead_of(options.priority),
            tokens_per_second: state.rate.per_second().map(|rate| rate * state.workers.max(1) as f64),
        };
        let allowed = options.deadline.remaining(now).filter(|_| heed_time);
        let mut limits = self.config.limits;
        if !heed_time {
            limits.max_wait = None;
        }
        let newcomer = Newcomer { jobs: parcels.len(), cost: total, allowed };
        admission::admit(&limits, &held, &newcomer).map_err(|refusal| match refusal {
            Refusal::TooLarge => {
                Error::TooLarge { model: self.config.model.clone(), cost: total, limit: limits.cost }
            }
            Refusal::Overloaded { why, retry_after } => self.overloaded(why, retry_after),
        })
    }

    /// One more caller waits for a job: it becomes as urgent as the most urgent, and lasts until the latest deadline.
    fn join(
        &self,
        state: &mut State<M>,
        job: JobId,
        waiter: Waiter<M::Output>,
        options: &JobOptions,
        now: Instant,
    ) {
        if let Some(record) = state.core.get_mut(job) {
            record.payload.waiters.push(waiter);
            record.payload.priority = record.payload.priority.max(options.priority);
            record.deadline = record.deadline.latest(options.deadline);
        }
        state.core.raise(job, options.priority, now);
        self.metrics.joined();
    }

    // ---- preparation -------------------------------------------------------------------------------------------

    /// Waits for jobs to be prepared, and takes as many as are worth one hop to the prepare lane.
    ///
    /// # Cancel safety
    ///
    /// Takes nothing unless it returns; what it returned goes back when it is dropped.
    pub(crate) async fn pull_raw(self: &Arc<Self>, jobs: usize, bytes: Bytes) -> Preparing<M> {
        loop {
            let arrival = self.raw.notified();
            let taken = self.try_pull_raw(jobs, bytes);
            if !taken.jobs.is_empty() {
                return taken;
            }
            arrival.await;
        }
    }

    fn try_pull_raw(self: &Arc<Self>, jobs: usize, bytes: Bytes) -> Preparing<M> {
        let mut state = lock(&self.state);
        let ids = state.core.pull_raw(jobs, bytes, Instant::now());
        let mut priority = Priority::Low;
        let mut taken = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(record) = state.core.get_mut(id) {
                priority = priority.max(record.payload.priority);
                taken.push(Arc::clone(&record.payload.job));
            }
        }
        drop(state);
        Preparing { queue: Arc::clone(self), jobs: taken, priority }
    }

    // ---- leases ------------------------------------------------------------------------------------------------

    /// Leases what fits now. `idle`: the worker holds nothing.
    pub(super) fn try_lease(&self, room: Room, idle: bool) -> Vec<super::Leased<M>> {
        let now = Instant::now();
        let mut replies = Replies::new();
        let mut gone = Vec::new();
        let mut state = lock(&self.state);
        let pull = state.core.lease(room, idle, now);
        for job in pull.expired {
            gone.extend(self.end(&mut state, job, Err(self.deadline_exceeded()), &mut replies));
        }
        let mut leased = Vec::with_capacity(pull.leased.len());
        for id in pull.leased {
            if let Some(record) = state.core.get_mut(id) {
                self.metrics.waited(now.saturating_duration_since(record.accepted));
                leased.push(super::Leased {
                    job: Arc::clone(&record.payload.job),
                    events: record.payload.events.clone(),
                    priority: record.payload.priority,
                    cost: record.cost,
                    alone: record.alone,
                });
            }
        }
        let more = state.core.has_ready();
        drop(state);
        drop(gone);
        self.send(replies);
        if more && !leased.is_empty() {
            // Another worker may be idle.
            self.ready.notify_one();
        }
        leased
    }

    /// Resolves when a job may have become ready since it was created.
    pub(super) fn arrival(&self) -> impl Future<Output = ()> + '_ {
        self.ready.notified()
    }

    /// Puts leased jobs back to where they stood.
    pub(super) fn give_back(&self, jobs: &[JobId], alone: bool) {
        if jobs.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        for job in jobs {
            state.core.give_back(*job, alone);
        }
        let demanded = std::mem::take(&mut state.demand_armed);
        drop(state);
        self.ready.notify_one();
        if demanded {
            self.demand.notify_one();
        }
    }

    /// Whether this job has not ended.
    pub(super) fn retain_live<T>(&self, items: &mut FxHashMap<JobId, T>) -> Vec<JobId> {
        let state = lock(&self.state);
        let gone: Vec<JobId> = items.keys().copied().filter(|job| !state.core.contains(*job)).collect();
        drop(state);
        for job in &gone {
            items.remove(job);
        }
        gone
    }

    /// Ends jobs: each waiting caller of each gets its answer. Jobs that have ended already are passed over.
    /// `step`: what the step that ended them computed, and in what time.
    pub(crate) fn settle(
        &self,
        ends: Vec<(JobId, Result<M::Output, Error>)>,
        step: Option<(Tokens, Duration)>,
    ) {
        let mut replies = Replies::new();
        let mut gone = Vec::new();
        let mut state = lock(&self.state);
        for (job, end) in ends {
            gone.extend(self.end(&mut state, job, end, &mut replies));
        }
        if let Some((tokens, elapsed)) = step {
            state.rate.record(tokens, elapsed);
        }
        state.last_active = Instant::now();
        let empty = state.core.len() == 0;
        drop(state);
        drop(gone);
        let freed = !replies.is_empty();
        self.send(replies);
        if freed {
            self.room.notify_one();
        }
        if empty {
            self.empty.notify_waiters();
        }
    }

    /// Ends one job under the lock; what must be dropped outside of it comes back.
    fn end(
        &self,
        state: &mut State<M>,
        job: JobId,
        end: Result<M::Output, Error>,
        replies: &mut Replies<M::Output>,
    ) -> Option<Record<Payload<M>>> {
        let mut record = state.core.remove(job)?;
        let payload = &mut record.payload;
        payload.job.abandon();
        if let Some(key) = payload.join.take()
            && state.joins.get(&key) == Some(&job)
        {
            state.joins.remove(&key);
        }
        let waiters = std::mem::take(&mut payload.waiters);
        let count = waiters.len() as u64;
        state.outstanding -= waiters.len();
        match &end {
            Ok(_) => state.counts.completed += count,
            Err(Error::DeadlineExceeded { .. }) => state.counts.expired += count,
            Err(Error::Cancelled) => state.counts.cancelled += count,
            Err(_) => state.counts.failed += count,
        }
        self.metrics.ended(&end, count);
        let mut waiters = waiters.into_iter().peekable();
        let mut end = Some(end);
        while let Some(waiter) = waiters.next() {
            let answer = if waiters.peek().is_some() { end.clone() } else { end.take() };
            replies.push((waiter.reply, answer.unwrap_or(Err(Error::Lost))));
        }
        Some(record)
    }

    /// A send fails only where the ticket was dropped a moment ago; its job has ended all the same.
    fn send(&self, replies: Replies<M::Output>) {
        for (reply, end) in replies {
            let _ = reply.send(end);
        }
    }

    // ---- what the group asks -----------------------------------------------------------------------------------

    /// Refuses this input for a while.
    pub(crate) fn convict(&self, input: Fingerprint) -> Duration {
        lock(&self.state).convictions.convict(input, Instant::now());
        SENTENCE
    }

    /// How many workers compute: the measured rate is one worker's.
    pub(crate) fn set_workers(&self, workers: usize) {
        lock(&self.state).workers = workers;
    }

    /// From now on every newcomer is refused with this; `None` opens the door again.
    pub(crate) fn refuse(&self, error: Option<Error>) {
        lock(&self.state).refusing = error;
        // Whoever waits for room must hear of it.
        self.room.notify_waiters();
    }

    /// Ends every job with this error.
    pub(crate) fn fail_all(&self, error: &Error) {
        let mut replies = Replies::new();
        let mut state = lock(&self.state);
        let mut records = state.core.remove_all();
        state.joins.clear();
        for record in &mut records {
            record.payload.job.abandon();
            let waiters = std::mem::take(&mut record.payload.waiters);
            state.outstanding -= waiters.len();
            state.counts.failed += waiters.len() as u64;
            self.metrics.ended::<()>(&Err(error.clone()), waiters.len() as u64);
            replies.extend(waiters.into_iter().map(|waiter| (waiter.reply, Err(error.clone()))));
        }
        drop(state);
        drop(records);
        self.send(replies);
        self.room.notify_waiters();
        self.empty.notify_waiters();
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

    fn overloaded(&self, why: Overload, retry_after: Duration) -> Error {
        Error::Overloaded { model: self.config.model.clone(), why, retry_after }
    }

    fn deadline_exceeded(&self) -> Error {
        Error::DeadlineExceeded { model: self.config.model.clone() }
    }

    fn count_refused(&self, jobs: usize) {
        self.refused.fetch_add(jobs as u64, Ordering::Relaxed);
        self.metrics.refused(jobs as u64);
    }
}

impl<M: Model> Desk for Queue<M> {
    fn withdraw(&self, job: JobId, ticket: u64, expired: bool) -> Option<Error> {
        let mut state = lock(&self.state);
        let record = state.core.get_mut(job)?;
        let waiters = &mut record.payload.waiters;
        let position = waiters.iter().position(|waiter| waiter.ticket == ticket)?;
        let waiter = waiters.swap_remove(position);
        let last = waiters.is_empty();
        state.outstanding -= 1;
        let end = if expired { self.deadline_exceeded() } else { Error::Cancelled };
        if expired {
            state.counts.expired += 1;
        } else {
            state.counts.cancelled += 1;
        }
        self.metrics.ended::<()>(&Err(end.clone()), 1);
        let record =
            if last { self.end(&mut state, job, Err(end.clone()), &mut Replies::new()) } else { None };
        let empty = state.core.len() == 0;
        drop(state);
        drop((waiter, record));
        self.room.notify_one();
        if empty {
            self.empty.notify_waiters();
        }
        Some(end)
    }
}

impl<M: Model> fmt::Debug for Queue<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("model", &self.config.model).finish_non_exhaustive()
    }
}

/// Jobs taken to be prepared; those not reported when it is dropped wait to be prepared again.
pub(crate) struct Preparing<M: Model> {
    queue: Arc<Queue<M>>,
    pub(crate) jobs: Vec<Arc<Job<M>>>,
    pub(crate) priority: Priority,
}

impl<M: Model> Preparing<M> {
    /// Reports what became of each job; those refused end here.
    pub(crate) fn report(mut self, outcomes: Vec<(JobId, Result<Cost, Error>)>) {
        let mut ready = 0;
        let mut failed = Vec::new();
        let queue = Arc::clone(&self.queue);
        let mut state = lock(&queue.state);
        for (job, outcome) in outcomes {
            self.jobs.retain(|held| held.id() != job);
            match outcome {
                Ok(cost) => ready += usize::from(state.core.prepared(job, cost)),
                Err(error) => failed.push((job, Err(error))),
            }
        }
        drop(state);
        if !failed.is_empty() {
            queue.settle(failed, None);
        }
        if ready > 0 {
            queue.ready.notify_one();
        }
    }
}

impl<M: Model> Drop for Preparing<M> {
    fn drop(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let mut state = lock(&self.queue.state);
        for job in &self.jobs {
            state.core.unprepared(job.id());
        }
        drop(state);
        self.queue.raw.notify_one();
    }
}

impl<M: Model> fmt::Debug for Preparing<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preparing").field("jobs", &self.jobs.len()).finish_non_exhaustive()
    }
}
