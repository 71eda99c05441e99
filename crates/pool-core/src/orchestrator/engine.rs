use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::config::GroupConfig;
use super::group::Group;
use super::group_task::GroupTask;
use super::member::Shared;
use super::report::{DrainReport, GroupStats};
use super::supervisor::{Command, MemoryRequest, Supervisor};
use crate::compute::{BlockingCompute, Compute, LaneStats, Lanes, LanesConfig};
use crate::error::Error;
use crate::memory_governor::{Governor, MemoryStats, detect_limit};
use crate::model::Loader;
use crate::request_queue::{Queue, QueueConfig};
use crate::sync::{Mutex, lock};
use crate::types::{Bytes, Deadline};

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
    /// [`Error::DuplicateModel`] if the name is taken, [`Error::ShuttingDown`].
    pub async fn add<L: Loader>(&self, config: GroupConfig, loader: L) -> Result<Group<L::Model>, Error> {
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
        answer.await.unwrap_or(Err(Error::ShuttingDown))?;
        Ok(Group::new(shared, commands, self.clone()))
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
    /// The memory budget. Default: 80% of what the cgroup or the machine has.
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
    /// [`Error::NoRuntime`] outside of a tokio runtime.
    pub fn build(self) -> Result<Engine, Error> {
        let compute = match self.compute {
            Some(compute) => compute,
            None => Arc::new(BlockingCompute::try_current().map_err(|_| Error::NoRuntime)?),
        };
        tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let lanes = Lanes::new(self.lanes, compute);
        let governor = Governor::new(self.memory_limit.unwrap_or_else(detect_limit));
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
