//! The engine's one task: it owns the groups' tasks, makes room in memory, and brings everything to its end.

mod memory;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::contained::contained;
use super::eviction::{self, Candidate, Eviction};
use super::member::{Closing, MIN_RESIDENCE, Member};
use super::report::{DrainReport, GroupStats, ModelReport};
use crate::compute::Lanes;
use crate::error::Error;
use crate::memory_governor::{Account, Frees, Governor, Reservation, Squeeze};
use crate::request_queue::Counts;
use crate::types::{Bytes, Deadline, ModelId};

pub(crate) use memory::MemoryRequest;
use memory::Waiting;

/// What the engine's handles ask.
pub(crate) enum Command {
    /// Take over a group and its task.
    Adopt {
        member: Arc<dyn Member>,
        task: Pin<Box<dyn Future<Output = ()> + Send>>,
        reply: oneshot::Sender<Result<Adoption, Error>>,
    },
    /// End one group. The answer comes once it has: what became of its tickets, or that there is no such group.
    Remove { model: ModelId, deadline: Deadline, reply: oneshot::Sender<Option<ModelReport>> },
    /// Bring every group's gauges up to date, and tell how many models are resident.
    Publish { reply: oneshot::Sender<usize> },
    /// Tell how every group stands.
    Stats { reply: oneshot::Sender<Vec<GroupStats>> },
    /// End everything.
    Drain { deadline: Deadline, reply: oneshot::Sender<DrainReport> },
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Adopt { .. } => "Adopt",
            Self::Remove { .. } => "Remove",
            Self::Publish { .. } => "Publish",
            Self::Stats { .. } => "Stats",
            Self::Drain { .. } => "Drain",
        })
    }
}

/// A group that was taken over. Where nobody takes it up, since whoever added it has gone meanwhile, it is removed again.
#[derive(Debug)]
pub(crate) struct Adoption {
    member: Option<Arc<dyn Member>>,
}

impl Adoption {
    /// The group has an owner.
    pub(crate) fn take_up(mut self) {
        self.member = None;
    }
}

impl Drop for Adoption {
    fn drop(&mut self) {
        if let Some(member) = &self.member {
            member.close(Closing::Removed, Deadline::at(Instant::now()));
        }
    }
}

/// While a load or an input waits for memory, what could be evicted is looked at again so often: residence ages without an event.
const RECHECK: Duration = Duration::from_millis(500);
/// After the drain's deadline, groups get so long to answer what is left before their tasks are aborted.
const GRACE: Duration = Duration::from_secs(1);

/// The state of the orchestrator's task.
#[derive(Debug)]
pub(crate) struct Supervisor {
    commands: mpsc::Receiver<Command>,
    requests: mpsc::Receiver<MemoryRequest>,
    members: Vec<Arc<dyn Member>>,
    /// Each says whose task it was, and whether it ended as it was told.
    tasks: JoinSet<(ModelId, bool)>,
    /// Who waits for which group to have been removed.
    removing: Vec<(ModelId, oneshot::Sender<Option<ModelReport>>)>,
    /// Groups that ended by a defect: they stay to be seen until they are removed.
    broken: Vec<ModelId>,
    /// What became of the tickets of groups that have been removed.
    removed: Counts,
    governor: Governor,
    frees: Frees,
    lanes: Lanes,
    drain_time: Duration,
    /// Loads that wait for memory, the first first.
    waiting: VecDeque<Waiting>,
    /// What inputs lack that a model could free once it has been resident for long enough, and what has been freed since.
    lacking: Option<(Bytes, Frees)>,
    /// While one of them waits for inputs to go, new ones are held to their share.
    squeeze: Option<Squeeze>,
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
            removing: Vec::new(),
            broken: Vec::new(),
            removed: Counts::default(),
            frees: governor.frees(),
            governor,
            lanes,
            drain_time,
            waiting: VecDeque::new(),
            lacking: None,
            squeeze: None,
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
                Command::Remove { reply, .. } => drop(reply.send(None)),
                Command::Publish { reply } => drop(reply.send(self.publish())),
                Command::Stats { reply } => drop(reply.send(self.stats())),
                Command::Drain { reply, .. } => drop(reply.send(report.clone())),
            }
        }
    }

    async fn serve(&mut self) -> (Deadline, Option<oneshot::Sender<DrainReport>>) {
        let governor = self.governor.clone();
        loop {
            let waits = !self.waiting.is_empty();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    None => return (Deadline::after(self.drain_time), None),
                    Some(Command::Drain { deadline, reply }) => return (deadline, Some(reply)),
                    Some(Command::Publish { reply }) => drop(reply.send(self.publish())),
                    Some(Command::Stats { reply }) => drop(reply.send(self.stats())),
                    Some(Command::Adopt { member, task, reply }) => drop(reply.send(self.adopt(member, task))),
                    Some(Command::Remove { model, deadline, reply }) => self.remove(model, Some(deadline), reply),
                },
                Some(request) = self.requests.recv() => self.ask(request),
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    // A group ends before its engine where it is removed, or by a defect.
                    match ended_task(ended) {
                        Some((model, false)) if !self.is_being_removed(&model) => self.broken.push(model),
                        Some((model, _)) => self.forget(&model),
                        None => {}
                    }
                }
                lacking = governor.lacking() => self.relieve(lacking),
                () = self.frees.next(), if waits => self.grant(),
                () = tokio::time::sleep(RECHECK), if waits || self.lacking.is_some() => {
                    self.grant();
                    self.relieve_again();
                }
            }
        }
    }

    fn adopt(
        &mut self,
        member: Arc<dyn Member>,
        task: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Result<Adoption, Error> {
        if self.members.iter().any(|other| other.model() == member.model()) {
            return Err(Error::DuplicateModel { model: member.model().clone() });
        }
        self.members.push(Arc::clone(&member));
        let model = member.model().clone();
        self.tasks.spawn(async move {
            let ended = contained(task).await;
            if let Err(message) = &ended {
                tracing::error!(%model, %message, "a group's task panicked");
            }
            (model, ended.is_ok())
        });
        Ok(Adoption { member: Some(member) })
    }

    /// Ends one group, if it is there; by the engine's own deadline where that is draining.
    fn remove(
        &mut self,
        model: ModelId,
        deadline: Option<Deadline>,
        reply: oneshot::Sender<Option<ModelReport>>,
    ) {
        let Some(member) = self.members.iter().find(|member| *member.model() == model) else {
            let _ = reply.send(None);
            return;
        };
        if let Some(deadline) = deadline {
            member.close(Closing::Removed, deadline);
        }
        let has_ended = self.broken.contains(&model);
        self.removing.push((model.clone(), reply));
        if has_ended {
            self.forget(&model);
        }
    }

    fn is_being_removed(&self, model: &ModelId) -> bool {
        self.removing.iter().any(|(removed, _)| removed == model)
    }

    /// A group has ended: its name may be taken again.
    fn forget(&mut self, model: &ModelId) {
        let Some(at) = self.members.iter().position(|member| member.model() == model) else {
            return;
        };
        let member = self.members.remove(at);
        self.broken.retain(|broken| broken != model);
        member.publish();
        let report = member.report();
        self.removed += report.counts;
        self.lanes.forget(model);
        for (_, reply) in self.removing.extract_if(.., |(removed, _)| removed == model) {
            let _ = reply.send(Some(report.clone()));
        }
    }

    fn publish(&self) -> usize {
        self.members.iter().map(|member| usize::from(member.publish())).sum()
    }

    fn stats(&self) -> Vec<GroupStats> {
        self.members.iter().map(|member| member.stats()).collect()
    }

    async fn drain(&mut self, deadline: Deadline) -> DrainReport {
        let started = Instant::now();
        for member in &self.members {
            member.close(Closing::ShuttingDown, deadline);
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
            let waits = !self.waiting.is_empty();
            tokio::select! {
                biased;
                ended = self.tasks.join_next() => match ended.map(ended_task) {
                    None => break,
                    Some(Some((model, _))) if self.is_being_removed(&model) => self.forget(&model),
                    Some(_) => {}
                },
                Some(request) = self.requests.recv() => self.ask(request),
                () = self.frees.next(), if waits => self.grant(),
                () = tokio::time::sleep(RECHECK), if waits => self.grant(),
                command = self.commands.recv(), if handles => match command {
                    None => handles = false,
                    Some(Command::Adopt { reply, .. }) => drop(reply.send(Err(Error::ShuttingDown))),
                    Some(Command::Publish { reply }) => drop(reply.send(self.publish())),
                    Some(Command::Stats { reply }) => drop(reply.send(self.stats())),
                    Some(Command::Drain { reply, .. }) => self.also_draining.push(reply),
                    Some(Command::Remove { model, reply, .. }) => self.remove(model, None, reply),
                },
                () = &mut end => {
                    // Each answers, as it is dropped, what it leaves over: only then are the counts final.
                    self.tasks.abort_all();
                    while self.tasks.join_next().await.is_some() {}
                    break;
                }
            }
        }
        let left: Vec<ModelId> = self.removing.iter().map(|(model, _)| model.clone()).collect();
        for model in left {
            self.forget(&model);
        }
        let models: Vec<_> = self.members.iter().map(|member| member.report()).collect();
        let total = self.removed;
        let mut report = DrainReport { total, models, took: started.elapsed(), ..DrainReport::default() };
        for model in &report.models {
            report.total += model.counts;
        }
        report.deadline_passed = deadline.has_passed(Instant::now());
        report.lost_threads = self.lanes.stats().lost_threads();
        if report.deadline_passed {
            // What was cut off may still be out.
            report.lost_threads +=
                self.members.iter().map(|member| self.lanes.running(member.model())).sum::<usize>();
        }
        report
    }
}

/// Whose task it was and whether it ended as it was told, unless it was aborted.
fn ended_task(ended: Result<(ModelId, bool), JoinError>) -> Option<(ModelId, bool)> {
    ended.inspect_err(|error| tracing::error!(%error, "a group's task did not end well")).ok()
}
