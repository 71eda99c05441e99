use std::fmt;
use std::panic::catch_unwind;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::config::GroupConfig;
use super::group::Group;
use super::group_task::GroupTask;
use super::member::Shared;
use super::report::{DrainReport, GroupStats, ModelReport};
use super::supervisor::{Command, MemoryRequest, Supervisor};
use crate::compute::{BlockingCompute, Compute, LaneStats, Lanes, LanesConfig};
use crate::error::Error;
use crate::memory_governor::{Governor, MemoryStats, detect_limit};
use crate::metrics::EngineGauges;
use crate::model::Loader;
use crate::request_queue::{Queue, QueueConfig};
use crate::sync::{Mutex, lock};
use crate::types::{Bytes, Deadline, ModelId};

/// One part in so many of the memory budget is reserved for inputs, so that models never fill it to the brim ...
const INPUT_PART: u64 = 16;
/// ... but no more than this: the most that one queue holds by default.
const MOST_FOR_INPUTS: Bytes = Bytes(256 << 20);

/// Owns every task, the compute lanes and the memory budget of the models added to it.
///
/// Cheap to clone. Dropping the last handle (each [`Group`] holds one) drains the engine in the background, by the
/// default drain time; [`Engine::drain`] waits for it and reports.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    commands: mpsc::Sender<Command>,
    memory: mpsc::Sender<MemoryRequest>,
    lanes: Lanes,
    governor: Governor,
    job_ids: Arc<AtomicU64>,
    gauges: EngineGauges,
    /// What the drain found, once it has ended.
    report: Arc<OnceLock<DrainReport>>,
    /// Joined by whoever drains. When the last handle is dropped instead, the task ends by itself after its drain.
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

/// An engine at one moment.
#[derive(Clone, Debug)]
pub struct EngineStats {
    /// Every model, in the order they were added.
    pub models: Vec<GroupStats>,
    /// The memory budget.
    pub memory: MemoryStats,
    /// The compute lanes.
    pub lanes: LaneStats,
}

/// Makes an [`Engine`].
#[derive(Debug)]
pub struct EngineBuilder {
    memory_limit: Option<Bytes>,
    lanes: LanesConfig,
    compute: Option<Arc<dyn Compute>>,
    drain_time: Duration,
}

impl Engine {
    /// An engine with the machine's defaults unless told otherwise.
    pub fn builder() -> EngineBuilder {
        EngineBuilder {
            memory_limit: None,
            lanes: LanesConfig::default(),
            compute: None,
            drain_time: Duration::from_secs(30),
        }
    }

    /// Adds a model. It is loaded by its first job, or at once if it shall have workers always.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] with the reason, [`Error::DuplicateModel`] if the name is taken, [`Error::ShuttingDown`].
    ///
    /// # Cancel safety
    ///
    /// A model whose `add` is dropped half-way is removed again.
    pub async fn add<L: Loader>(&self, config: GroupConfig, loader: L) -> Result<Group<L::Model>, Error> {
        config.check()?;
        let inner = &self.inner;
        let loader = Arc::new(loader);
        let queue = Queue::new(
            QueueConfig {
                model: config.model.clone(),
                limits: config.limits,
                ageing: config.ageing,
                coalesce: config.coalesce,
            },
            Arc::clone(&loader),
            inner.governor.clone(),
            Arc::clone(&inner.job_ids),
        );
        let shared = Shared::new(config, queue, inner.lanes.clone());
        // Callers that warm the model wait for their answers; so many may be on their way at once.
        let (commands, orders) = mpsc::channel(16);
        let task = GroupTask::new(
            Arc::clone(&shared),
            loader,
            inner.lanes.clone(),
            inner.governor.clone(),
            inner.memory.clone(),
            orders,
        );
        let (reply, answer) = oneshot::channel();
        let adopt = Command::Adopt { member: Arc::clone(&shared) as _, task: Box::pin(task.run()), reply };
        inner.commands.send(adopt).await.map_err(|_| Error::ShuttingDown)?;
        answer.await.unwrap_or(Err(Error::ShuttingDown))?.take_up();
        Ok(Group::new(shared, commands, self.clone()))
    }

    /// Takes a model out: what was accepted is finished, what is new is refused with [`Error::Removed`], the memory is given
    /// back and the name is free again. What is left after the time given ends with [`Error::Removed`] too. Tells what
    /// became of the model's tickets, or `None` where there is no such model.
    ///
    /// # Errors
    ///
    /// [`Error::ShuttingDown`] once the engine has drained.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the removal.
    pub async fn remove(&self, model: &ModelId, within: Duration) -> Result<Option<ModelReport>, Error> {
        let (reply, answer) = oneshot::channel();
        let remove = Command::Remove { model: model.clone(), deadline: Deadline::after(within), reply };
        self.inner.commands.send(remove).await.map_err(|_| Error::ShuttingDown)?;
        answer.await.map_err(|_| Error::ShuttingDown)
    }

    /// The memory budget, for what a model reserves beyond its footprint.
    pub fn governor(&self) -> &Governor {
        &self.inner.governor
    }

    /// The compute lanes, for heavy work that belongs to no model's step: parsing, encoding, files.
    pub fn lanes(&self) -> &Lanes {
        &self.inner.lanes
    }

    /// How everything stands.
    ///
    /// # Errors
    ///
    /// [`Error::ShuttingDown`] once the engine has drained.
    pub async fn stats(&self) -> Result<EngineStats, Error> {
        let (reply, answer) = oneshot::channel();
        self.inner.commands.send(Command::Stats { reply }).await.map_err(|_| Error::ShuttingDown)?;
        let models = answer.await.map_err(|_| Error::ShuttingDown)?;
        Ok(EngineStats { models, memory: self.inner.governor.stats(), lanes: self.inner.lanes.stats() })
    }

    /// Brings the gauges of [`metrics`](crate::metrics) up to date: memory, lanes, models and their workers, breakers and queues.
    /// They are read off, not counted, so that jobs need not pay for them: whoever exports calls this before it reads.
    ///
    /// # Errors
    ///
    /// [`Error::ShuttingDown`] once the engine has drained; memory and lanes are told all the same.
    pub async fn publish_metrics(&self) -> Result<(), Error> {
        let inner = &self.inner;
        inner.gauges.set(&inner.governor.stats(), &inner.lanes.stats());
        let (reply, answer) = oneshot::channel();
        inner.commands.send(Command::Publish { reply }).await.map_err(|_| Error::ShuttingDown)?;
        inner.gauges.set_resident(answer.await.map_err(|_| Error::ShuttingDown)?);
        Ok(())
    }

    /// Refuses new work, finishes what was accepted, and ends every task. What is left at the deadline ends with
    /// [`Error::ShuttingDown`]. Draining again waits for the same end and gives the same counts.
    pub async fn drain(&self, within: Duration) -> DrainReport {
        let (reply, answer) = oneshot::channel();
        let drain = Command::Drain { deadline: Deadline::after(within), reply };
        let report = match self.inner.commands.send(drain).await {
            Ok(()) => answer.await.ok(),
            // It has drained already.
            Err(_) => None,
        };
        let supervisor = lock(&self.inner.supervisor).take();
        if let Some(supervisor) = supervisor
            && let Err(error) = supervisor.await
        {
            tracing::error!(%error, "the orchestrator did not end well");
        }
        report.or_else(|| self.inner.report.get().cloned()).unwrap_or_default()
    }
}

impl EngineBuilder {
    /// The memory budget. Default: 80% of what the cgroup or the machine has. A sixteenth of it, 256 MiB at most, is for
    /// inputs alone.
    pub fn memory_limit(mut self, limit: Bytes) -> Self {
        self.memory_limit = Some(limit);
        self
    }

    /// Cores, slots and patience of the compute lanes.
    pub fn lanes(mut self, lanes: LanesConfig) -> Self {
        self.lanes = lanes;
        self
    }

    /// Where work really runs. Default: tokio's blocking threads.
    pub fn compute(mut self, compute: Arc<dyn Compute>) -> Self {
        self.compute = Some(compute);
        self
    }

    /// How long the drain may take that the last handle's drop begins. Default: 30 s.
    pub fn drain_time(mut self, time: Duration) -> Self {
        self.drain_time = time;
        self
    }

    /// Starts the engine. Reads the memory limits of cgroup and machine once, unless one was given.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntime`] outside of a tokio runtime, [`Error::NoTimer`] in one without timers.
    pub fn build(self) -> Result<Engine, Error> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        // Tokio tells by a panic alone. The message goes to the panic hook as well, once, at start-up.
        catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).map_err(|_| Error::NoTimer)?;
        let compute = self.compute.unwrap_or_else(|| Arc::new(BlockingCompute::on(runtime)));
        let lanes = Lanes::new(self.lanes, compute);
        let limit = self.memory_limit.unwrap_or_else(detect_limit);
        let for_inputs = Bytes(limit.get() / INPUT_PART).min(MOST_FOR_INPUTS);
        let governor = Governor::reserving(limit, for_inputs);
        // Commands are rare and each caller waits for its answer.
        let (commands, inbox) = mpsc::channel(16);
        // A group asks for memory once at a time; more groups than this wait a moment to ask.
        let (memory, requests) = mpsc::channel(64);
        let report = Arc::new(OnceLock::new());
        let supervisor = Supervisor::new(
            inbox,
            requests,
            governor.clone(),
            lanes.clone(),
            self.drain_time,
            Arc::clone(&report),
        );
        let supervisor = tokio::spawn(supervisor.run());
        Ok(Engine {
            inner: Arc::new(Inner {
                commands,
                memory,
                lanes,
                governor,
                job_ids: Arc::new(AtomicU64::new(1)),
                gauges: EngineGauges::new(),
                report,
                supervisor: Mutex::new(Some(supervisor)),
            }),
        })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("governor", &self.inner.governor).finish_non_exhaustive()
    }
}
