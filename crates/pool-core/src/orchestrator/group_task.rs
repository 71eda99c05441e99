//! One task a model group: it brings workers up, keeps their number right, and sees each of them end.

mod down;
mod plan;
mod up;

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
use super::contained::contained;
use super::member::{Closing, Member, Shared};
use super::preparer::prepare_jobs;
use super::scaler::{self, Load, ScalePolicy};
use super::supervisor::MemoryRequest;
use crate::compute::{Claim, ComputeError, Lanes};
use crate::error::{Error, SharedCause};
use crate::memory_governor::{Account, Governor, Pressure};
use crate::metrics::GroupMetrics;
use crate::model::{Footprint, Loader};
use crate::types::{Bytes, Deadline, ModelId, WorkerId};
use crate::worker::{Exit, LoadFailure, Order, Worker, WorkerConfig, WorkerMemory, WorkerStatus};
use crate::worker_state::{GroupEvent, GroupState, WorkerState};

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

impl Hand {
    fn is_busy(&self) -> bool {
        self.status.state() == WorkerState::Busy
    }
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
    pressure: watch::Receiver<Pressure>,
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
    /// How many jobs had been completed when an input was last convicted.
    completed_at_conviction: Option<u64>,
    /// What whoever comes is told while the group rests, and until when it does.
    resting: Option<(Error, Instant)>,
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
            pressure: governor.subscribe(),
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
            completed_at_conviction: None,
            resting: None,
            handles: true,
            draining: false,
        }
    }

    /// Runs until told to drain, drains, and ends.
    pub(crate) async fn run(mut self) {
        self.start_preparer();
        let shared = Arc::clone(&self.shared);
        loop {
            self.reconcile(Instant::now());
            tokio::select! {
                biased;
                () = shared.closing() => break,
                () = self.turn() => {}
            }
        }
        self.drain().await;
    }

    /// Waits for one event and acts on it.
    ///
    /// # Cancel safety
    ///
    /// An event is acted on in the same poll that receives it, so dropping the future loses none.
    async fn turn(&mut self) {
        self.shared.set_breaker(self.breaker.state());
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
            // An idle model is kept for less long where memory is short.
            Ok(()) = self.pressure.changed(), if shared.config.idle_evict_after.is_some() => {}
            () = shared.queue.demand(), if idle => {}
            () = timer => {}
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

impl<L: Loader> Drop for GroupTask<L> {
    /// However the task ends, be it by a defect of its own: nobody is left waiting for an answer, and nothing says that it
    /// still holds a model.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.close(Closing::Defect, Deadline::at(Instant::now()));
        }
        let error = self.shared.closing_error();
        self.shared.queue.refuse(error.clone(), None);
        self.shared.queue.fail_all(&error);
        self.shared.apply(GroupEvent::Close);
        self.hands.clear();
        self.publish();
    }
}

impl<L: Loader> fmt::Debug for GroupTask<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupTask").field("model", self.shared.model()).finish_non_exhaustive()
    }
}
