//! The engine's one task: it owns the groups' tasks, makes room in memory, and brings everything to its end.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::eviction::{self, Eviction};
use super::member::{MIN_RESIDENCE, Member};
use super::report::{DrainReport, GroupStats};
use crate::compute::Lanes;
use crate::error::Error;
use crate::memory_governor::{Account, Frees, Governor, Reservation};
use crate::types::{Bytes, Deadline, ModelId};

/// What the engine's handles ask.
pub(crate) enum Command {
    /// Take over a group and its task.
    Adopt {
        member: Arc<dyn Member>,
        task: Pin<Box<dyn Future<Output = ()> + Send>>,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// Tell how every group stands.
    Stats { reply: oneshot::Sender<Vec<GroupStats>> },
    /// End everything.
    Drain { deadline: Deadline, reply: oneshot::Sender<DrainReport> },
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Adopt { .. } => "Adopt",
            Self::Stats { .. } => "Stats",
            Self::Drain { .. } => "Drain",
        })
    }
}

/// A group asks for the memory of its model; other groups may be evicted for it.
#[derive(Debug)]
pub(crate) struct MemoryRequest {
    pub(crate) model: ModelId,
    pub(crate) bytes: Bytes,
    pub(crate) asked: Instant,
    pub(crate) reply: oneshot::Sender<Result<Reservation, NoMemory>>,
}

/// There is no memory for the model, and waiting would not bring it.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "it needs {} MiB of memory, the budget is {} MiB, of which inputs and models that stay hold {} MiB; raise the memory \
     limit, or choose a smaller model or dtype",
    .needed.get() >> 20, .limit.get() >> 20, .held.get() >> 20
)]
pub(crate) struct NoMemory {
    pub(crate) needed: Bytes,
    pub(crate) held: Bytes,
    pub(crate) limit: Bytes,
}

/// A load for which nothing can be evicted waits so long for inputs to be freed.
const PATIENCE: Duration = Duration::from_secs(5);
/// While a load waits for memory, what could be evicted is looked at again so often: residence ages without an event.
const RECHECK: Duration = Duration::from_millis(500);
/// After the drain's deadline, groups get so long to answer what is left before their tasks are aborted.
const GRACE: Duration = Duration::from_secs(1);

/// The state of the orchestrator's task.
#[derive(Debug)]
pub(crate) struct Supervisor {
    commands: mpsc::Receiver<Command>,
    requests: mpsc::Receiver<MemoryRequest>,
    members: Vec<Arc<dyn Member>>,
    tasks: JoinSet<()>,
    governor: Governor,
    frees: Frees,
    lanes: Lanes,
    drain_time: Duration,
    /// Loads that wait for memory, the first first.
    waiting: VecDeque<MemoryRequest>,
    /// Who else asked for the drain while it went on.
    also_draining: Vec<oneshot::Sender<DrainReport>>,
    report: Arc<OnceLock<DrainReport>>,
}

impl Supervisor {
    pub(crate) fn new(
        commands: mpsc::Receiver<Command>,
        requests: mpsc::Receiver<MemoryRequest>,
        governor: Governor,
        lanes: Lanes,
        drain_time: Duration,
        report: Arc<OnceLock<DrainReport>>,
    ) -> Self {
        Self {
            commands,
            requests,
            members: Vec::new(),
            tasks: JoinSet::new(),
            frees: governor.frees(),
            governor,
            lanes,
            drain_time,
            waiting: VecDeque::new(),
            also_draining: Vec::new(),
            report,
        }
    }

    /// Runs until told to drain, or until the last handle is gone.
    pub(crate) async fn run(mut self) {
        let (deadline, reply) = self.serve().await;
        let report = self.drain(deadline).await;
        tracing::info!(
            accepted = report.total.accepted,
            completed = report.total.completed,
            cancelled = report.total.cancelled,
            expired = report.total.expired,
            failed = report.total.failed,
            "drained"
        );
        let report = self.report.get_or_init(|| report).clone();
        // Whoever asked may have stopped waiting.
        for reply in reply.into_iter().chain(std::mem::take(&mut self.also_draining)) {
            let _ = reply.send(report.clone());
        }
        // What was asked in the meantime is answered; later askers find the inbox closed.
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            match command {
                Command::Adopt { reply, .. } => drop(reply.send(Err(Error::ShuttingDown))),
                Command::Stats { reply } => drop(reply.send(self.stats())),
                Command::Drain { reply, .. } => drop(reply.send(report.clone())),
            }
        }
    }

    async fn serve(&mut self) -> (Deadline, Option<oneshot::Sender<DrainReport>>) {
        loop {
            let waits = !self.waiting.is_empty();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    None => return (Deadline::after(self.drain_time), None),
                    Some(Command::Drain { deadline, reply }) => return (deadline, Some(reply)),
                    Some(Command::Stats { reply }) => drop(reply.send(self.stats())),
                    Some(Command::Adopt { member, task, reply }) => drop(reply.send(self.adopt(member, task))),
                },
                Some(request) = self.requests.recv() => {
                    self.waiting.push_back(request);
                    self.grant();
                }
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a group's task did not end well");
                    }
                }
                () = self.frees.next(), if waits => self.grant(),
                () = tokio::time::sleep(RECHECK), if waits => self.grant(),
            }
        }
    }

    fn adopt(
        &mut self,
        member: Arc<dyn Member>,
        task: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Result<(), Error> {
        if self.members.iter().any(|other| other.model() == member.model()) {
            return Err(Error::DuplicateModel { model: member.model().clone() });
        }
        self.members.push(member);
        self.tasks.spawn(task);
        Ok(())
    }

    fn stats(&self) -> Vec<GroupStats> {
        self.members.iter().map(|member| member.stats()).collect()
    }

    /// Gives memory to the loads that wait, in turn; for the first that does not get any, others are evicted. One for which
    /// nothing can be evicted holds up nobody, and is told so after a while.
    fn grant(&mut self) {
        let limit = self.governor.stats().limit;
        let mut kept = VecDeque::new();
        let mut coming = false;
        while let Some(request) = self.waiting.pop_front() {
            if request.reply.is_closed() {
                continue;
            }
            if coming {
                kept.push_back(request);
                continue;
            }
            if request.bytes > limit {
                let _ = request.reply.send(Err(NoMemory { needed: request.bytes, held: Bytes::ZERO, limit }));
                continue;
            }
            match self.governor.try_reserve(Account::Weights, request.bytes) {
                // If the group has gone meanwhile, the reservation is dropped here and so freed.
                Ok(reservation) => drop(request.reply.send(Ok(reservation))),
                Err(short) => {
                    coming = self.make_room(&request.model, request.bytes.saturating_sub(short.available));
                    if !coming && request.asked.elapsed() >= PATIENCE {
                        let held = limit.saturating_sub(short.available);
                        let _ = request.reply.send(Err(NoMemory { needed: request.bytes, held, limit }));
                    } else {
                        kept.push_back(request);
                    }
                }
            }
        }
        self.waiting = kept;
    }

    /// Asks the least recently used groups to free so many bytes. Whether they are coming, now or in a while.
    fn make_room(&self, model: &ModelId, needed: Bytes) -> bool {
        let needed = needed - self.members.iter().map(|member| member.leaving()).sum();
        if needed == Bytes::ZERO {
            return true;
        }
        let others = self.members.iter().filter(|member| member.model() != model);
        let candidates: Vec<_> = others.filter_map(|member| member.candidate()).collect();
        let victims = match eviction::choose(&candidates, needed, Instant::now(), MIN_RESIDENCE) {
            Eviction::Now(victims) => victims,
            Eviction::Later(_) => return true,
            Eviction::Never => return false,
        };
        for member in &self.members {
            if victims.contains(member.model()) {
                tracing::info!(model = %member.model(), for_model = %model, "evicting to make room");
                member.evict();
            }
        }
        true
    }

    async fn drain(&mut self, deadline: Deadline) -> DrainReport {
        let started = Instant::now();
        for member in &self.members {
            member.drain(deadline);
        }
        let end = async {
            match deadline.instant() {
                Some(at) => tokio::time::sleep_until(at + GRACE).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        let mut handles = true;
        loop {
            tokio::select! {
                biased;
                ended = self.tasks.join_next() => match ended {
                    None => break,
                    Some(Ok(())) => {}
                    Some(Err(error)) => tracing::error!(%error, "a group's task did not end well"),
                },
                Some(request) = self.requests.recv() => {
                    self.waiting.push_back(request);
                    self.grant();
                }
                () = self.frees.next(), if !self.waiting.is_empty() => self.grant(),
                command = self.commands.recv(), if handles => match command {
                    None => handles = false,
                    Some(Command::Adopt { reply, .. }) => drop(reply.send(Err(Error::ShuttingDown))),
                    Some(Command::Stats { reply }) => drop(reply.send(self.stats())),
                    Some(Command::Drain { reply, .. }) => self.also_draining.push(reply),
                },
                () = &mut end => {
                    self.tasks.abort_all();
                    break;
                }
            }
        }
        let models: Vec<_> = self.members.iter().map(|member| member.report()).collect();
        let mut report = DrainReport { models, took: started.elapsed(), ..DrainReport::default() };
        for model in &report.models {
            report.total += model.counts;
        }
        report.deadline_passed = deadline.has_passed(Instant::now());
        report.lost_threads = self.lanes.stats().lost_threads();
        report
    }
}
