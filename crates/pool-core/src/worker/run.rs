use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::active::ActiveJobs;
use super::resident::{LoadFailure, Resident, Stepped, WorkerMemory};
use crate::compute::{ComputeError, Lanes};
use crate::error::Error;
use crate::model::{JobView, Loader, Room, Step};
use crate::request_queue::{Lease, Leased, Queue};
use crate::sync::{Mutex, lock};
use crate::types::{JobId, Tokens, WorkerId};
use crate::worker_state::{WorkerEvent, WorkerState};

/// What a worker is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Take jobs.
    Work,
    /// Take no more, finish those at hand, free the model and end.
    Drain,
}

/// How a worker ended.
#[derive(Clone, Debug)]
pub(crate) enum Exit {
    /// As it was told.
    Drained,
    /// There was no model to work with.
    LoadFailed(LoadFailure),
    /// Its model panicked or broke. `convicted`: one job is to blame, which ran alone.
    Died { message: Arc<str>, convicted: bool },
    /// A step did not return in time. `convicted`: one job is to blame, which was in it alone.
    Unresponsive { after: Duration, convicted: bool },
    /// Its model has lost too many threads.
    Refused,
    /// The runtime is going down.
    Gone,
}

/// What everybody may know of a worker while it runs.
#[derive(Debug)]
pub(crate) struct WorkerStatus {
    state: Mutex<WorkerState>,
}

impl WorkerStatus {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(WorkerState::Spawning) })
    }

    pub(crate) fn state(&self) -> WorkerState {
        *lock(&self.state)
    }

    /// Follows the table; a step outside of it is a defect that is logged and not taken.
    fn apply(&self, worker: WorkerId, event: WorkerEvent) {
        let mut state = lock(&self.state);
        match state.next(event) {
            Ok(next) => *state = next,
            Err(error) => tracing::error!(%worker, %error, "worker left its table of states"),
        }
    }
}

/// What a worker is made with.
#[derive(Debug)]
pub(crate) struct WorkerConfig<L: Loader> {
    pub(crate) id: WorkerId,
    pub(crate) loader: Arc<L>,
    pub(crate) queue: Arc<Queue<L::Model>>,
    pub(crate) lanes: Lanes,
    pub(crate) memory: WorkerMemory,
    pub(crate) orders: watch::Receiver<Order>,
    pub(crate) loaded: mpsc::Sender<WorkerId>,
    pub(crate) status: Arc<WorkerStatus>,
    /// A job whose reader reads nothing for so long is ended.
    pub(crate) stall_limit: Duration,
}

/// One worker: a model, the jobs it holds, and the loop that advances them.
pub(crate) struct Worker<L: Loader> {
    id: WorkerId,
    queue: Arc<Queue<L::Model>>,
    lease: Lease<L::Model>,
    active: ActiveJobs<L::Model>,
    /// Jobs that join with the next step.
    newcomers: Vec<JobView<L::Model>>,
    /// Jobs the model must be told have left.
    left: Vec<JobId>,
    /// Jobs the model knows are paused.
    paused: HashSet<JobId>,
    orders: watch::Receiver<Order>,
    status: Arc<WorkerStatus>,
    stall_limit: Duration,
    /// Whether the group is gone.
    orphaned: bool,
    start: Option<(Arc<L>, Lanes, WorkerMemory, mpsc::Sender<WorkerId>)>,
}

impl<L: Loader> Worker<L> {
    pub(crate) fn new(config: WorkerConfig<L>) -> Self {
        let WorkerConfig { id, loader, queue, lanes, memory, orders, loaded, status, stall_limit } = config;
        Self {
            id,
            lease: Lease::new(Arc::clone(&queue)),
            queue,
            active: ActiveJobs::new(),
            newcomers: Vec::new(),
            left: Vec::new(),
            paused: HashSet::new(),
            orders,
            status,
            stall_limit,
            orphaned: false,
            start: Some((loader, lanes, memory, loaded)),
        }
    }

    /// Loads the model and advances jobs until told to drain, or until the model dies.
    ///
    /// # Cancel safety
    ///
    /// A worker dropped at any await gives its jobs back to the queue.
    pub(crate) async fn run(mut self) -> Exit {
        let id = self.id;
        let status = Arc::clone(&self.status);
        let exit = self.load_and_work().await;
        status.apply(
            id,
            match &exit {
                Exit::Drained => WorkerEvent::Ended,
                Exit::Unresponsive { .. } => WorkerEvent::HeardNothing,
                Exit::LoadFailed(_) | Exit::Died { .. } | Exit::Refused | Exit::Gone => WorkerEvent::Failed,
            },
        );
        exit
    }

    async fn load_and_work(&mut self) -> Exit {
        let Some((loader, lanes, memory, loaded)) = self.start.take() else {
            return Exit::Drained;
        };
        self.status.apply(self.id, WorkerEvent::Started);
        let name = self.queue.model().clone();
        let mut resident = match Resident::load(loader, lanes, name, memory).await {
            Ok(resident) => resident,
            Err(LoadFailure::Compute(ComputeError::Gone)) => return Exit::Gone,
            Err(failure) => return Exit::LoadFailed(failure),
        };
        self.status.apply(self.id, WorkerEvent::Loaded);
        // The group reads this at once; it is gone only when everything is.
        let _ = loaded.send(self.id).await;
        loop {
            if self.is_draining() {
                self.note_draining();
                if self.active.is_empty() {
                    resident.unload().await;
                    return Exit::Drained;
                }
            }
            self.turn();
            // With nothing to advance, a step tells the model who is paused: it may have room for others then.
            let told = self.left.is_empty() && !self.active.has_paused_beside(&self.paused);
            if told && !self.active.has_runnable() {
                self.wait(resident.room()).await;
                continue;
            }
            if let Some(exit) = self.step(&mut resident).await {
                // Its jobs have been answered or given back; a model that broke is freed only now, as that may take long.
                resident.unload().await;
                return exit;
            }
        }
    }

    /// What happens between two steps: events are handed out, ended jobs leave.
    fn turn(&mut self) {
        if self.active.is_empty() {
            return;
        }
        let now = Instant::now();
        for job in self.lease.prune() {
            let known = self.active.remove(job);
            let newcomers = self.newcomers.len();
            self.newcomers.retain(|newcomer| newcomer.id() != job);
            // A newcomer the model has never seen, so it is not told that it left.
            if known && self.newcomers.len() == newcomers {
                self.left.push(job);
            }
        }
        let mut ends = self.active.flush(now);
        for (job, known) in self.active.take_stalled(self.stall_limit, now) {
            ends.push((job, Err(Error::SlowConsumer { after: self.stall_limit })));
            if known {
                self.left.push(job);
            }
        }
        self.lease.settle(ends);
        self.note_emptied();
    }

    /// Waits until there is something to step: a job, a reader that caught up or gave up, or an order.
    async fn wait(&mut self, room: Room) {
        let draining = self.is_draining();
        if draining && self.active.is_empty() {
            // The order came since the loop last looked: there is nothing to wait for.
            return;
        }
        let room = if draining || self.active.holds_alone() { Room::NONE } else { room };
        if self.pull_now(room) {
            return;
        }
        let gives_up = self.active.next_stall(self.stall_limit);
        let caught_up = any_has_room(self.active.stalled_channels());
        let withdrawn = self.lease.withdrawn();
        let stall = async {
            match gives_up {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let leased = tokio::select! {
            biased;
            changed = self.orders.changed(), if !draining => {
                if changed.is_err() {
                    // The group is gone without a word: there is nobody to work for.
                    self.orphaned = true;
                }
                Vec::new()
            }
            () = withdrawn => Vec::new(),
            () = caught_up => Vec::new(),
            () = stall => Vec::new(),
            leased = self.lease.pull(room), if room.jobs > 0 => leased,
        };
        self.join(leased);
    }

    /// Leases what fits now. Whether there was anything.
    fn pull_now(&mut self, room: Room) -> bool {
        if room.jobs == 0 {
            return false;
        }
        let leased = self.lease.try_pull(room);
        let any = !leased.is_empty();
        self.join(leased);
        any
    }

    fn join(&mut self, leased: Vec<Leased<L::Model>>) {
        if self.active.is_empty() && !leased.is_empty() {
            self.status.apply(self.id, WorkerEvent::Leased);
        }
        for one in leased {
            tracing::trace!(parent: one.job.span(), worker = %self.id, alone = one.alone, "leased");
            self.newcomers.push(JobView { job: Arc::clone(&one.job), priority: one.priority });
            self.active.insert(one);
        }
    }

    /// Advances the model by one step. The worker's end, if this was it.
    async fn step(&mut self, resident: &mut Resident<L>) -> Option<Exit> {
        if self.newcomers.is_empty() {
            // Late arrivals join the jobs that go on.
            let closed = self.is_draining() || self.active.holds_alone();
            self.pull_now(if closed { Room::NONE } else { resident.room() });
        }
        let jobs = self.active.len();
        let newcomers = std::mem::take(&mut self.newcomers);
        self.paused = self.active.paused();
        let step = Step::new(newcomers, std::mem::take(&mut self.left), self.paused.clone());
        let span = self.step_span();
        match resident.step(step, self.lease.priority()).instrument(span).await {
            Stepped::Done { step, elapsed } => {
                self.conclude(step, jobs, elapsed);
                None
            }
            Stepped::Died { message } => {
                let convicted = self.died(&message);
                Some(Exit::Died { message, convicted })
            }
            Stepped::Unresponsive { after } => {
                let convicted = self.hung(after);
                Some(Exit::Unresponsive { after, convicted })
            }
            // The jobs go back with the lease; the group decides what becomes of them.
            Stepped::Refused => Some(Exit::Refused),
            Stepped::Gone => Some(Exit::Gone),
        }
    }

    /// The span a step computes in. It follows from the spans of its jobs, and names them.
    fn step_span(&self) -> tracing::Span {
        let span = tracing::debug_span!(
            "step",
            model = %self.queue.model(),
            worker = %self.id,
            jobs = self.active.len(),
            ids = tracing::field::Empty,
        );
        if !span.is_disabled() {
            let mut ids: Vec<JobId> = self.active.jobs().map(|job| job.id()).collect();
            ids.sort_unstable();
            span.record("ids", tracing::field::debug(ids));
            self.active.jobs().for_each(|job| {
                span.follows_from(job.span());
            });
        }
        span
    }

    /// Takes over what a step has brought.
    fn conclude(&mut self, step: Step<L::Model>, jobs: usize, elapsed: Duration) {
        let mut tokens = Tokens::ZERO;
        for (job, event) in step.events {
            self.active.emit(job, event);
        }
        for (job, outcome) in step.finished {
            tokens += self.lease.cost(job).tokens;
            let outcome = outcome.map_err(|error| self.queue.job_error(error));
            self.active.finish(job, outcome);
        }
        let ends = self.active.flush(Instant::now());
        self.lease.settle_step(ends, tokens, elapsed);
        self.note_emptied();
        self.queue.metrics().stepped(jobs, elapsed, tokens.get());
    }

    /// The model is gone. Jobs that can be run again go back, each to be run alone; one that was alone is convicted.
    /// Whether one was.
    fn died(&mut self, message: &Arc<str>) -> bool {
        let crashed = || Error::Crashed { model: self.queue.model().clone(), message: Arc::clone(message) };
        let mut ends = Vec::new();
        let mut again = Vec::new();
        let mut convicted = false;
        for (active, outcome) in self.active.drain() {
            let job = active.job.id();
            if let Some(outcome) = outcome {
                ends.push((job, outcome));
            } else if active.alone {
                convicted = true;
                self.queue.convict(&active.job);
                ends.push((job, Err(crashed())));
            } else if active.job.has_sent_event() {
                ends.push((job, Err(crashed())));
            } else {
                again.push(job);
            }
        }
        self.lease.settle(ends);
        self.lease.give_back_alone(&again);
        convicted
    }

    /// The step does not return. Its callers are answered: to run their jobs again might cost another thread each. One
    /// that was in it alone is convicted. Whether one was.
    fn hung(&mut self, after: Duration) -> bool {
        let error = Error::Unresponsive { model: self.queue.model().clone(), after };
        let active = self.active.drain();
        let mut stepped = active.iter().filter(|(_, outcome)| outcome.is_none());
        let convicted = match (stepped.next(), stepped.next()) {
            (Some((only, _)), None) => {
                self.queue.convict(&only.job);
                true
            }
            _ => false,
        };
        let ends = active.into_iter();
        let ends =
            ends.map(|(active, outcome)| (active.job.id(), outcome.unwrap_or_else(|| Err(error.clone()))));
        self.lease.settle(ends.collect());
        convicted
    }

    fn is_draining(&self) -> bool {
        self.orphaned || *self.orders.borrow() == Order::Drain
    }

    fn note_emptied(&self) {
        // A step may also be taken only to tell the model who has left or is paused: then there was nothing to be emptied of.
        if self.active.is_empty() && self.status.state() == WorkerState::Busy {
            self.status.apply(self.id, WorkerEvent::Emptied);
        }
    }

    fn note_draining(&self) {
        if self.status.state() != WorkerState::Draining {
            self.status.apply(self.id, WorkerEvent::Drain);
        }
    }
}

/// Resolves once one of these channels has room or has lost its reader; never if there are none.
async fn any_has_room<T: Send>(channels: Vec<mpsc::Sender<T>>) {
    let mut waits: Vec<_> = channels.into_iter().map(|channel| Box::pin(channel.reserve_owned())).collect();
    poll_fn(|context| {
        let ready = waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready());
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
