//! One task a model group: it brings workers up, keeps their number right, and sees each of them end.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::breaker::{Breaker, BreakerConfig, Failure, Permit};
use super::member::{Member, Shared};
use super::preparer::prepare_jobs;
use super::scaler::{self, Load, ScalePolicy};
use super::supervisor::MemoryRequest;
use crate::compute::Lanes;
use crate::error::{Error, SharedCause};
use crate::memory_governor::{Account, Governor};
use crate::metrics::GroupMetrics;
use crate::model::{Footprint, Loader};
use crate::types::{Bytes, Deadline, WorkerId};
use crate::worker::{Exit, LoadFailure, Order, Worker, WorkerConfig, WorkerMemory, WorkerStatus};
use crate::worker_state::{GroupEvent, GroupState};

/// What a group's handle asks.
#[derive(Debug)]
pub(crate) enum Command {
    /// Load the model now, and say when it is there.
    Warm { reply: oneshot::Sender<Result<(), Error>> },
}

/// How one of the group's tasks ended.
enum TaskEnd {
    Worker(WorkerId, Exit),
    Preparer,
}

/// What the group keeps of a worker.
struct Hand {
    orders: watch::Sender<Order>,
    status: Arc<WorkerStatus>,
    loaded: bool,
    draining: bool,
}

/// Memory for a worker on its way, or why there is none.
type BringUp = Pin<Box<dyn Future<Output = Result<(Footprint, WorkerMemory), NotBroughtUp>> + Send>>;

/// Why a worker could not even start to load.
enum NotBroughtUp {
    /// The model cannot be had: its files are bad, or it is too large.
    Failed(SharedCause),
    /// There is no memory for one more worker now.
    NotNow,
    /// Everything is going down.
    ShuttingDown,
}

/// With more than one worker allowed and jobs at hand, the number is looked at again so often.
const SCALE_INTERVAL: Duration = Duration::from_millis(250);
/// After an additional worker found no memory, it is not tried again for so long.
const SCALE_PAUSE: Duration = Duration::from_secs(10);

/// The state of a group's task.
pub(crate) struct GroupTask<L: Loader> {
    shared: Arc<Shared<L::Model>>,
    loader: Arc<L>,
    lanes: Lanes,
    governor: Governor,
    memory: mpsc::Sender<MemoryRequest>,
    commands: mpsc::Receiver<Command>,
    tasks: JoinSet<TaskEnd>,
    hands: BTreeMap<WorkerId, Hand>,
    workers_made: u64,
    loaded_sender: mpsc::Sender<WorkerId>,
    loaded: mpsc::Receiver<WorkerId>,
    bring_up: Option<BringUp>,
    footprint: Footprint,
    breaker: Breaker,
    warm: Vec<oneshot::Sender<Result<(), Error>>>,
    metrics: GroupMetrics,
    last_change: Instant,
    /// Since when a worker has had nothing to do.
    spare_since: Option<Instant>,
    /// No worker is started before this.
    start_again: Instant,
    /// No further worker is started before this.
    scale_again: Instant,
    /// Whether jobs waited when this task last looked.
    saw_waiting: bool,
    /// What whoever comes is told while the group rests.
    resting: Option<Error>,
    handles: bool,
    draining: bool,
}

impl<L: Loader> GroupTask<L> {
    pub(crate) fn new(
        shared: Arc<Shared<L::Model>>,
        loader: Arc<L>,
        lanes: Lanes,
        governor: Governor,
        memory: mpsc::Sender<MemoryRequest>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        // A worker says once that its model is loaded, and this task always listens.
        let (loaded_sender, loaded) = mpsc::channel(4);
        let metrics = GroupMetrics::new(shared.model());
        let now = Instant::now();
        let breaker =
            BreakerConfig { first_backoff: shared.config.first_backoff, ..BreakerConfig::default() };
        Self {
            shared,
            loader,
            lanes,
            governor,
            memory,
            commands,
            tasks: JoinSet::new(),
            hands: BTreeMap::new(),
            workers_made: 0,
            loaded_sender,
            loaded,
            bring_up: None,
            footprint: Footprint::default(),
            breaker: Breaker::new(breaker),
            warm: Vec::new(),
            metrics,
            last_change: now,
            spare_since: None,
            start_again: now,
            scale_again: now,
            saw_waiting: false,
            resting: None,
            handles: true,
            draining: false,
        }
    }

    /// Runs until told to drain, drains, and ends.
    pub(crate) async fn run(mut self) {
        self.start_preparer();
        let mut orders = self.shared.drain.subscribe();
        let deadline = loop {
            self.reconcile(Instant::now());
            tokio::select! {
                biased;
                order = wait_for_drain(&mut orders) => break order,
                () = self.turn() => {}
            }
        };
        self.drain(deadline).await;
    }

    /// Waits for one event and acts on it.
    ///
    /// # Cancel safety
    ///
    /// An event is acted on in the same poll that receives it, so dropping the future loses none.
    async fn turn(&mut self) {
        let now = Instant::now();
        let wake = self.next_wake(now);
        let idle = self.bring_up.is_none() && self.listens_for_demand();
        let shared = Arc::clone(&self.shared);
        let timer = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(ended) = self.tasks.join_next() => self.ended(ended),
            Some(worker) = self.loaded.recv() => self.came_up(worker),
            memory = poll_option(&mut self.bring_up) => {
                self.bring_up = None;
                self.got_memory(memory);
            }
            command = self.commands.recv(), if self.handles => match command {
                Some(Command::Warm { reply }) => self.warm(reply),
                None => self.handles = false,
            },
            () = shared.evict.notified() => self.evict(),
            () = shared.queue.demand(), if idle => {}
            () = timer => {}
        }
    }

    // ---- what should be ----------------------------------------------------------------------------------------

    /// Brings the number of workers towards what it should be.
    fn reconcile(&mut self, now: Instant) {
        if self.shared.state() == GroupState::Broken {
            if self.rests_for(now) > Duration::ZERO {
                return;
            }
            self.shared.apply(GroupEvent::BackoffEnded);
            self.resting = None;
            if !self.draining {
                self.shared.queue.refuse(None);
            }
        }
        if matches!(self.shared.state(), GroupState::Evicting | GroupState::Closed) {
            return;
        }
        let target = self.target(now);
        let serving = self.serving();
        let coming = usize::from(self.bring_up.is_some());
        let loading = self.hands.values().any(|hand| !hand.loaded && !hand.draining);
        if serving + coming < target && coming == 0 && !loading {
            let again = if serving == 0 { self.start_again } else { self.start_again.max(self.scale_again) };
            if now >= again {
                match self.breaker.permit(now) {
                    Permit::Yes | Permit::Trial => self.bring_up_one(serving == 0),
                    Permit::No { until } => self.start_again = until,
                }
            }
        } else if serving > target {
            if target == 0 {
                self.evict();
            } else {
                self.drain_newest(serving - target);
            }
            self.last_change = now;
        }
    }

    fn target(&mut self, now: Instant) -> usize {
        let config = &self.shared.config;
        let queue = self.shared.queue.stats();
        self.saw_waiting = queue.waiting > 0;
        let outstanding = queue.waiting + queue.leased > 0 || !self.warm.is_empty();
        let idle_for = now.saturating_duration_since(self.shared.queue.last_active());
        let (present, busy) = (self.serving(), self.busy());
        let spare = queue.waiting == 0 && busy < present;
        self.spare_since = if spare { self.spare_since.or(Some(now)) } else { None };
        let load = Load {
            queued_jobs: queue.waiting,
            queued: queue.waiting_tokens,
            rate: queue.tokens_per_second,
            present,
            busy,
            since_change: now.saturating_duration_since(self.last_change),
            spare_for: self.spare_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            idle_for: if outstanding { Duration::ZERO } else { idle_for },
        };
        let policy = ScalePolicy {
            min: config.workers.min,
            max: config.workers.max,
            idle_evict_after: config.idle_evict_after,
            ..ScalePolicy::default()
        };
        let target = scaler::target(&load, &policy);
        if outstanding { target.max(1) } else { target }
    }

    /// When the state should be looked at again though nothing happened.
    fn next_wake(&self, now: Instant) -> Option<Instant> {
        let config = &self.shared.config;
        let state = self.shared.state();
        let resting = (state == GroupState::Broken).then(|| now + self.rests_for(now));
        let idle = config
            .idle_evict_after
            .filter(|_| self.serving() > config.workers.min)
            .map(|after| (self.shared.queue.last_active() + after).max(now + SCALE_INTERVAL));
        let queue_active = self.saw_waiting;
        let scales = config.workers.max > 1 && self.serving() > 0;
        let scale = (scales && (queue_active || self.serving() > config.workers.min.max(1)))
            .then(|| now + SCALE_INTERVAL);
        let wanted = queue_active || !self.warm.is_empty() || self.serving() < config.workers.min;
        let replace =
            (wanted && self.serving() == 0 && self.bring_up.is_none() && state == GroupState::Absent)
                .then_some(self.start_again);
        [resting, idle, scale, replace].into_iter().flatten().min()
    }

    /// Whether an arrival should wake this task: only where it would change something. What waited when the task last
    /// looked waits for something else: a backoff, memory, or another look at the load. To ask the queue again here
    /// would miss what has arrived since.
    fn listens_for_demand(&self) -> bool {
        matches!(self.shared.state(), GroupState::Absent | GroupState::Resident)
            && self.serving() < self.shared.config.workers.max.max(1)
            && !self.saw_waiting
    }

    /// For how long whoever comes is still turned away.
    fn rests_for(&self, now: Instant) -> Duration {
        self.breaker.retry_after(now).unwrap_or_default()
    }

    fn serving(&self) -> usize {
        self.hands.values().filter(|hand| !hand.draining).count()
    }

    fn busy(&self) -> usize {
        let busy = crate::worker_state::WorkerState::Busy;
        self.hands.values().filter(|hand| !hand.draining && hand.status.state() == busy).count()
    }

    // ---- workers up --------------------------------------------------------------------------------------------

    /// Finds memory for a worker. The group's first may have others evicted for it; a further one takes what is free.
    fn bring_up_one(&mut self, first: bool) {
        let loader = Arc::clone(&self.loader);
        let lanes = self.lanes.clone();
        let governor = self.governor.clone();
        let weights = self.shared.weights();
        let memory = self.memory.clone();
        let model = self.shared.model().clone();
        self.shared.apply(GroupEvent::Demand);
        self.bring_up = Some(Box::pin(async move {
            let footprint = match lanes.io(move || loader.footprint()).await {
                Ok(Ok(footprint)) => footprint,
                Ok(Err(error)) => return Err(NotBroughtUp::Failed(Arc::new(error))),
                Err(crate::compute::ComputeError::Gone) => return Err(NotBroughtUp::ShuttingDown),
                Err(error) => return Err(NotBroughtUp::Failed(Arc::new(error))),
            };
            let needed = match &weights {
                Some(_) => footprint.working_set,
                None => footprint.weights + footprint.working_set,
            };
            let mut both = if first {
                let (reply, answer) = oneshot::channel();
                let request = MemoryRequest { model, bytes: needed, reply };
                memory.send(request).await.map_err(|_| NotBroughtUp::ShuttingDown)?;
                match answer.await {
                    Ok(Ok(reservation)) => reservation,
                    Ok(Err(error)) => return Err(NotBroughtUp::Failed(Arc::new(error))),
                    Err(_) => return Err(NotBroughtUp::ShuttingDown),
                }
            } else {
                governor.try_reserve(Account::Weights, needed).map_err(|_| NotBroughtUp::NotNow)?
            };
            let working_set = both.split(footprint.working_set).reassign(Account::Activations);
            let weights = weights.unwrap_or_else(|| Arc::new(both));
            Ok((footprint, WorkerMemory { weights, _working_set: working_set }))
        }));
    }

    fn got_memory(&mut self, memory: Result<(Footprint, WorkerMemory), NotBroughtUp>) {
        let (footprint, memory) = match memory {
            Ok(memory) => memory,
            Err(NotBroughtUp::Failed(cause)) => return self.load_failed(cause),
            Err(NotBroughtUp::NotNow) => {
                self.scale_again = Instant::now() + SCALE_PAUSE;
                return;
            }
            Err(NotBroughtUp::ShuttingDown) => return self.going_down(),
        };
        self.footprint = footprint;
        self.shared.keep_weights(&memory.weights);
        self.workers_made += 1;
        let id = WorkerId::new(self.workers_made);
        let (orders, listen) = watch::channel(Order::Work);
        let status = WorkerStatus::new();
        let worker = Worker::new(WorkerConfig {
            id,
            loader: Arc::clone(&self.loader),
            queue: Arc::clone(&self.shared.queue),
            lanes: self.lanes.clone(),
            memory,
            orders: listen,
            loaded: self.loaded_sender.clone(),
            status: Arc::clone(&status),
            stall_limit: self.shared.config.stall_limit,
        });
        self.tasks.spawn(async move {
            let (id, exit) = worker.run().await;
            TaskEnd::Worker(id, exit)
        });
        self.hands.insert(id, Hand { orders, status, loaded: false, draining: false });
        self.last_change = Instant::now();
        self.publish();
    }

    fn came_up(&mut self, worker: WorkerId) {
        if let Some(hand) = self.hands.get_mut(&worker) {
            hand.loaded = true;
            self.metrics.loads.increment(1);
            self.breaker.on_success(Instant::now());
            self.shared.apply(GroupEvent::Loaded);
            self.shared.set_error(None);
            for reply in self.warm.drain(..) {
                let _ = reply.send(Ok(()));
            }
            self.publish();
        }
    }

    fn warm(&mut self, reply: oneshot::Sender<Result<(), Error>>) {
        let answer = if self.hands.values().any(|hand| hand.loaded && !hand.draining) {
            Ok(())
        } else if self.draining {
            Err(Error::ShuttingDown)
        } else if let Some(error) = &self.resting {
            Err(error.clone())
        } else {
            self.warm.push(reply);
            return;
        };
        // Whoever asked may have stopped waiting.
        let _ = reply.send(answer);
    }

    // ---- workers down ------------------------------------------------------------------------------------------

    fn evict(&mut self) {
        self.shared.apply(GroupEvent::Evict);
        if self.shared.state() != GroupState::Evicting {
            return;
        }
        if self.bring_up.take().is_some() {
            self.breaker.on_abandoned(Instant::now());
        }
        self.drain_newest(usize::MAX);
        self.settle_empty();
    }

    fn drain_newest(&mut self, count: usize) {
        let serving = self.hands.values_mut().rev().filter(|hand| !hand.draining);
        for hand in serving.take(count) {
            hand.draining = true;
            hand.orders.send_replace(Order::Drain);
        }
    }

    fn ended(&mut self, ended: Result<TaskEnd, JoinError>) {
        match ended {
            Ok(TaskEnd::Worker(id, exit)) => {
                self.hands.remove(&id);
                self.worker_ended(id, exit);
            }
            Ok(TaskEnd::Preparer) => self.start_preparer(),
            Err(error) if error.is_cancelled() => {}
            Err(error) => {
                // A worker's own code panicked: its lease went back as it unwound. Whose it was, its state tells.
                tracing::error!(model = %self.shared.model(), %error, "a task of the group panicked");
                let before = self.hands.len();
                self.hands.retain(|_, hand| !hand.orders.is_closed());
                if self.hands.len() < before {
                    self.died("a worker's task panicked", false);
                } else {
                    self.start_preparer();
                }
            }
        }
        self.settle_empty();
        self.publish();
    }

    fn worker_ended(&mut self, id: WorkerId, exit: Exit) {
        let model = self.shared.model();
        match exit {
            Exit::Drained => tracing::debug!(%model, worker = %id, "worker drained"),
            Exit::LoadFailed(LoadFailure::Model(error)) => self.load_failed(error),
            Exit::LoadFailed(LoadFailure::Compute(error)) => self.load_failed(Arc::new(error)),
            Exit::Died { message, convicted } => {
                tracing::warn!(%model, worker = %id, %message, convicted, "worker died");
                self.died(&message, convicted);
            }
            Exit::Unresponsive { after } => {
                tracing::error!(%model, worker = %id, ?after, "step overdue, worker given up");
                self.metrics.unresponsive.increment(1);
                self.shared.set_error(Some(format!("a step did not return for {} s", after.as_secs())));
                self.breaker.on_failure(Failure::Death, Instant::now(), jitter());
                self.lost();
            }
            Exit::Refused => {
                self.shared.set_error(Some("two steps never returned; restart the process".to_owned()));
                self.breaker.on_failure(Failure::Load, Instant::now(), jitter());
                self.lost();
            }
            Exit::Gone => self.going_down(),
        }
    }

    /// A model could not be had: whoever waits for it hears why, and it rests.
    fn load_failed(&mut self, cause: SharedCause) {
        tracing::warn!(model = %self.shared.model(), error = %cause, "loading failed");
        self.metrics.load_failures.increment(1);
        self.shared.set_error(Some(cause.to_string()));
        self.shared.apply(GroupEvent::LoadFailed);
        self.breaker.on_failure(Failure::Load, Instant::now(), jitter());
        if self.serving() == 0 {
            self.rest(|model, retry_after| Error::LoadFailed {
                model,
                cause: Arc::clone(&cause),
                retry_after,
            });
        } else {
            self.scale_again = Instant::now() + SCALE_PAUSE;
        }
    }

    fn died(&mut self, message: &str, convicted: bool) {
        self.metrics.worker_deaths.increment(1);
        self.shared.set_error(Some(message.to_owned()));
        if convicted {
            // One input is to blame, not the model.
            self.breaker.on_conviction(Instant::now());
            self.start_again = Instant::now();
        } else {
            self.breaker.on_failure(Failure::Death, Instant::now(), jitter());
        }
        self.lost();
    }

    /// A worker is lost. If it was the last, the group rests for as long as the breaker says; if that is open, whoever
    /// waits hears of it.
    fn lost(&mut self) {
        if !self.hands.is_empty() || self.bring_up.is_some() {
            return;
        }
        self.shared.apply(GroupEvent::WorkersLost);
        if self.breaker.is_open() {
            self.rest(|model, retry_after| Error::Unavailable { model, retry_after });
        }
    }

    /// The group takes nothing until its backoff ends; what waits is told.
    fn rest(&mut self, error: impl Fn(crate::types::ModelId, Duration) -> Error) {
        let error = error(self.shared.model().clone(), self.rests_for(Instant::now()));
        self.resting = Some(error.clone());
        if !self.draining {
            self.shared.queue.refuse(Some(error.clone()));
        }
        self.shared.queue.fail_all(&error);
        for reply in self.warm.drain(..) {
            let _ = reply.send(Err(error.clone()));
        }
    }

    fn going_down(&mut self) {
        self.draining = true;
        self.shared.queue.refuse(Some(Error::ShuttingDown));
        self.shared.queue.fail_all(&Error::ShuttingDown);
        self.shared.apply(GroupEvent::Close);
    }

    /// Once the last worker is gone, the group's state says so.
    fn settle_empty(&mut self) {
        if !self.hands.is_empty() || self.bring_up.is_some() {
            return;
        }
        match self.shared.state() {
            GroupState::Evicting => self.shared.apply(GroupEvent::Evicted),
            GroupState::Resident => self.shared.apply(GroupEvent::LastWorkerGone),
            _ => {}
        }
        self.publish();
    }

    fn publish(&self) {
        let workers = self.hands.iter().map(|(id, hand)| (*id, Arc::clone(&hand.status))).collect();
        self.shared.set_workers(workers);
        let count = self.hands.len();
        let loaded = self.hands.values().filter(|hand| hand.loaded && !hand.draining).count();
        self.shared.queue.set_workers(loaded);
        self.metrics.set_workers(count);
        let working_sets = Bytes(self.footprint.working_set.get().saturating_mul(count as u64));
        let resident = if count == 0 { Bytes::ZERO } else { self.footprint.weights + working_sets };
        self.shared.set_resident(resident);
    }

    fn start_preparer(&mut self) {
        let preparer =
            prepare_jobs(Arc::clone(&self.shared.queue), Arc::clone(&self.loader), self.lanes.clone());
        self.tasks.spawn(async move {
            preparer.await;
            TaskEnd::Preparer
        });
    }

    // ---- the end -----------------------------------------------------------------------------------------------

    /// Refuses what is new, finishes what was accepted, ends every worker. What is left at the deadline fails.
    async fn drain(&mut self, deadline: Deadline) {
        self.draining = true;
        self.shared.queue.refuse(Some(Error::ShuttingDown));
        for reply in self.warm.drain(..) {
            let _ = reply.send(Err(Error::ShuttingDown));
        }
        let late = async {
            match deadline.instant() {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(late);
        let queue = Arc::clone(&self.shared.queue);
        let mut in_time = true;
        while in_time {
            self.reconcile(Instant::now());
            tokio::select! {
                biased;
                () = queue.emptied() => break,
                () = &mut late => in_time = false,
                () = self.turn() => {}
            }
        }
        queue.fail_all(&Error::ShuttingDown);
        self.bring_up = None;
        self.shared.apply(GroupEvent::Close);
        self.drain_newest(usize::MAX);
        while in_time && !self.hands.is_empty() {
            tokio::select! {
                biased;
                () = &mut late => in_time = false,
                () = self.turn() => {}
            }
        }
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Resolves when the group shall drain. A group whose handles and engine are gone drains at once.
async fn wait_for_drain(orders: &mut watch::Receiver<Option<Deadline>>) -> Deadline {
    loop {
        if let Some(deadline) = *orders.borrow_and_update() {
            return deadline;
        }
        if orders.changed().await.is_err() {
            return Deadline::at(Instant::now());
        }
    }
}

/// Polls a future that may not be there; then it never resolves.
async fn poll_option(future: &mut Option<BringUp>) -> Result<(Footprint, WorkerMemory), NotBroughtUp> {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// A number in `0.0..1.0` that differs from call to call, so that groups that failed together do not come back together.
fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

impl<L: Loader> fmt::Debug for GroupTask<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupTask").field("model", self.shared.model()).finish_non_exhaustive()
    }
}
