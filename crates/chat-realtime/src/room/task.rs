//! A room's task: it owns the room, does what the machine says, and waits for what happens next. It never waits for a reader,
//! nor for a store or a model while anything else could be done.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, pending};
use futures::stream::{SelectAll, Stream, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::hub::Hub;
use super::joining::{JoinError, Joining};
use super::machine::{Call, Effect, Id, Machine};
use super::store::{HistoryStore, StoreError};
use crate::context::{Citations, Passage, Progress};
use crate::delivery::{CloseCode, Connection, Inbound, Limits, Sender, outbox};
use crate::model::{Answer, ModelFailure, Piece, Prompt, Responder};

/// What a room is asked for from outside.
#[derive(Debug)]
pub(super) enum Command {
    Join { joining: Joining, reply: oneshot::Sender<Result<Connection, Refusal>> },
    Announce(String),
}

#[derive(Debug)]
pub(super) enum Refusal {
    /// The room has gone since: there may be another by now.
    Gone,
    Join(JoinError),
}

/// What a room has, for whoever asks.
#[derive(Default, Debug)]
pub(super) struct Figures {
    pub(super) members: AtomicUsize,
    pub(super) events: AtomicUsize,
    pub(super) bytes: AtomicUsize,
}

/// A client's messages that may wait for the room: enough for a burst, and few enough that 256 clients' fit in 128 MiB at
/// their longest.
const INCOMING: usize = 8;

/// How often connections are looked at whose reader may have gone while nothing was sent.
const SWEEP: Duration = Duration::from_secs(1);

pub(super) struct Task {
    pub(super) name: String,
    pub(super) hub: Arc<Hub>,
    pub(super) inbox: mpsc::Receiver<Command>,
    pub(super) figures: Arc<Figures>,
    pub(super) closing: CancellationToken,
}

/// A room that is open.
struct Room {
    task: Task,
    machine: Machine,
    members: BTreeMap<Id, Outgoing>,
    incoming: SelectAll<Incoming>,
    call: Option<BoxFuture<'static, Result<(), StoreError>>>,
    asking: Asking,
    progress: Option<watch::Receiver<Progress>>,
    sweep_at: Instant,
    idle_since: Option<Instant>,
    last_id: Id,
}

impl Task {
    /// Until the server goes, or nobody has been there for a while.
    pub(super) async fn run(mut self) {
        let loaded = tokio::select! {
            loaded = self.hub.store.load(&self.name) => loaded,
            () = self.closing.cancelled() => return self.refuse(|| Refusal::Join(JoinError::ShuttingDown)),
        };
        let now = self.hub.clock.now();
        let made =
            loaded.and_then(|kept| Machine::new(self.hub.config(&self.name), kept, self.hub.epoch(), now));
        match made {
            Ok(machine) => Box::pin(Room::new(self, machine, now.at).run()).await,
            Err(error) => {
                tracing::warn!(room = %self.name, %error, "a room cannot be opened");
                self.hub.remove(&self.name);
                self.refuse(|| Refusal::Join(JoinError::Store(error.clone())));
            }
        }
    }

    /// Answers everybody who still wants to join.
    fn refuse(&mut self, refusal: impl Fn() -> Refusal) {
        self.inbox.close();
        while let Ok(command) = self.inbox.try_recv() {
            if let Command::Join { reply, .. } = command {
                // Whoever does not wait any more needs no answer.
                drop(reply.send(Err(refusal())));
            }
        }
    }
}

impl Room {
    fn new(task: Task, machine: Machine, now: Instant) -> Self {
        let mut progress = task.hub.context.as_ref().map(|context| context.updates());
        if let Some(progress) = &mut progress {
            progress.mark_changed();
        }
        Self {
            task,
            machine,
            members: BTreeMap::new(),
            incoming: SelectAll::new(),
            call: None,
            asking: Asking::Nothing,
            progress,
            sweep_at: now + SWEEP,
            idle_since: Some(now),
            last_id: 0,
        }
    }

    async fn run(mut self) {
        loop {
            self.act();
            if self.machine.is_closing() {
                if self.machine.is_quiet() {
                    break;
                }
            } else if self.is_to_go() {
                // Whoever asked to join in this very moment asks again, and gets another room.
                return self.task.refuse(|| Refusal::Gone);
            }
            let wake = self.wake_at();
            let hub = Arc::clone(&self.task.hub);
            let now = || hub.clock.now();
            tokio::select! {
                () = self.task.closing.cancelled(), if !self.machine.is_closing() => self.machine.close(now()),
                command = self.task.inbox.recv(), if !self.machine.is_closing() => match command {
                    Some(Command::Join { joining, reply }) => self.join(&joining, reply),
                    Some(Command::Announce(text)) => self.machine.announce(text, now()),
                    None => self.machine.close(now()),
                },
                Some((id, inbound)) = self.incoming.next(), if !self.incoming.is_empty() => match inbound {
                    Some(inbound) => self.machine.receive(id, &inbound, now()),
                    None => self.part(id),
                },
                outcome = resolved(&mut self.call) => {
                    self.call = None;
                    self.machine.stored(outcome, now());
                }
                asked = self.asking.next() => match asked {
                    Asked::Found(found) => self.machine.found(found, now()),
                    Asked::Piece(piece) => self.machine.piece(piece, now()),
                },
                progress = changed(&mut self.progress) => match progress {
                    Some(progress) => self.machine.progressed(progress),
                    None => self.progress = None,
                },
                () = sleep_until(wake) => {
                    self.sweep();
                    self.machine.tick(now());
                }
            }
        }
        for member in self.members.values() {
            member.sender.close(CloseCode::ShuttingDown);
        }
        self.task.hub.remove(&self.task.name);
        self.task.refuse(|| Refusal::Join(JoinError::ShuttingDown));
    }

    fn join(&mut self, joining: &Joining, reply: oneshot::Sender<Result<Connection, Refusal>>) {
        if reply.is_closed() {
            return;
        }
        if let Err(error) = self.machine.admits(joining) {
            // Whoever does not wait any more needs no answer.
            return drop(reply.send(Err(Refusal::Join(error))));
        }
        self.last_id += 1;
        let id = self.last_id;
        let frames = self.machine.join(id, joining, self.task.hub.clock.now()).frames;
        // What is replayed does not count against what a reader may be behind.
        let limits = Limits {
            frames: joining.limits.frames + frames.len(),
            bytes: joining.limits.bytes + frames.iter().map(|frame| frame.text.len()).sum::<usize>(),
        };
        let (sender, outgoing) = outbox(limits);
        for frame in frames {
            // It has room for all of them.
            if sender.send(frame).is_err() {
                break;
            }
        }
        let (incoming, receiver) = mpsc::channel(INCOMING);
        self.incoming.push(Incoming { id, receiver: Some(receiver) });
        self.members.insert(id, Outgoing { sender, closing: self.task.closing.clone() });
        // If nobody waits any more, the connection's end shows at once.
        drop(reply.send(Ok(Connection { incoming, outgoing })));
    }

    /// A connection has ended.
    fn part(&mut self, id: Id) {
        if let Some(member) = self.members.remove(&id) {
            member.sender.close(CloseCode::Normal);
            self.machine.leave(id, self.task.hub.clock.now());
        }
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        if self.sweep_at <= now {
            self.sweep_at = now + SWEEP;
            let gone = self.members.iter().filter(|(_, member)| member.sender.closed().is_some());
            for id in gone.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.part(id);
            }
        }
    }

    /// Does what is to be done, and what follows from that.
    fn act(&mut self) {
        loop {
            let effects = self.machine.take_effects();
            if effects.is_empty() {
                break;
            }
            let mut gone = Vec::new();
            for effect in effects {
                match effect {
                    Effect::All(frame) => {
                        let failed =
                            |(_, member): &(&Id, &Outgoing)| member.sender.send(frame.clone()).is_err();
                        gone.extend(self.members.iter().filter(failed).map(|(id, _)| *id));
                    }
                    Effect::One(id, frame) => {
                        if self.members.get(&id).is_some_and(|member| member.sender.send(frame).is_err()) {
                            gone.push(id);
                        }
                    }
                    Effect::Close(id, code) => {
                        if let Some(member) = self.members.remove(&id) {
                            member.sender.close(code);
                        }
                    }
                    Effect::Store(call) => self.call = Some(self.store(call)),
                    Effect::Find(question) => self.asking = self.find(question),
                    Effect::Ask(prompt) => self.asking = self.ask(prompt),
                    Effect::Drop => self.asking = Asking::Nothing,
                }
            }
            for id in gone {
                self.part(id);
            }
        }
        let (events, bytes) = self.machine.kept();
        self.task.figures.members.store(self.members.len(), Ordering::Relaxed);
        self.task.figures.events.store(events, Ordering::Relaxed);
        self.task.figures.bytes.store(bytes, Ordering::Relaxed);
    }

    fn store(&self, call: Call) -> BoxFuture<'static, Result<(), StoreError>> {
        let store: &dyn HistoryStore = &*self.task.hub.store;
        match call {
            Call::Append(events) => store.append(&self.task.name, self.machine.epoch(), events),
            Call::Trim(before_seq) => store.trim(&self.task.name, before_seq),
            Call::Save(state) => store.save(&self.task.name, state),
        }
    }

    fn find(&self, question: String) -> Asking {
        let most = self.task.hub.limits.passages;
        let find = |context: &Arc<dyn Citations>| Asking::Finding(context.find(question, most));
        // The machine searches only where there is something to search.
        self.task.hub.context.as_ref().map_or(Asking::Nothing, find)
    }

    fn ask(&self, prompt: Prompt) -> Asking {
        let ask = |responder: &Arc<dyn Responder>| Asking::Begun(responder.respond(prompt));
        // The machine asks only where there is an assistant.
        self.task.hub.responder.as_ref().map_or(Asking::Nothing, ask)
    }

    /// Whether nobody has been here for so long that the room goes. It has then left the list of rooms.
    fn is_to_go(&mut self) -> bool {
        let now = Instant::now();
        if !self.members.is_empty() || !self.machine.is_quiet() {
            self.idle_since = None;
            return false;
        }
        let idle = now - *self.idle_since.get_or_insert(now);
        let limit = self.task.hub.limits.idle;
        // What could not be saved for that long is given up.
        let due = idle >= limit && (self.machine.is_saved() || idle >= limit * 2);
        due && self.task.hub.remove_if(&self.task.name, || self.task.inbox.is_empty())
    }

    fn wake_at(&self) -> Instant {
        let limit = self.task.hub.limits.idle;
        let idle = self.idle_since.map(|since| {
            let once = since + limit;
            if once > Instant::now() { once } else { (since + limit * 2).max(Instant::now() + SWEEP) }
        });
        let sweep = (!self.members.is_empty()).then_some(self.sweep_at);
        let far = Instant::now() + Duration::from_secs(3600);
        [idle, sweep, self.machine.next_tick()].into_iter().flatten().min().unwrap_or(far)
    }
}

/// The room's end of what goes out; a room that fails closes it.
struct Outgoing {
    sender: Sender,
    closing: CancellationToken,
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // The first close counts: this one is for a room that was cut off.
        let cut_off = if self.closing.is_cancelled() { CloseCode::ShuttingDown } else { CloseCode::Internal };
        self.sender.close(cut_off);
    }
}

/// One client's messages, and after them one `None`.
struct Incoming {
    id: Id,
    receiver: Option<mpsc::Receiver<Inbound>>,
}

impl Stream for Incoming {
    type Item = (Id, Option<Inbound>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(receiver) = &mut self.receiver else { return Poll::Ready(None) };
        let inbound = std::task::ready!(receiver.poll_recv(context));
        if inbound.is_none() {
            self.receiver = None;
        }
        Poll::Ready(Some((self.id, inbound)))
    }
}

/// What a model is doing for the room. Dropping it cancels it.
enum Asking {
    Nothing,
    Finding(BoxFuture<'static, Result<Vec<Passage>, ModelFailure>>),
    Begun(BoxFuture<'static, Result<Answer, ModelFailure>>),
    Answering(Answer),
}

enum Asked {
    Found(Result<Vec<Passage>, ModelFailure>),
    Piece(Option<Result<Piece, ModelFailure>>),
}

impl Asking {
    /// Dropping the future loses nothing: what is asked for stays here.
    async fn next(&mut self) -> Asked {
        loop {
            match self {
                Self::Nothing => return pending().await,
                Self::Finding(finding) => {
                    let found = finding.await;
                    *self = Self::Nothing;
                    return Asked::Found(found);
                }
                Self::Begun(asking) => match asking.await {
                    Ok(answer) => *self = Self::Answering(answer),
                    Err(failure) => {
                        *self = Self::Nothing;
                        return Asked::Piece(Some(Err(failure)));
                    }
                },
                Self::Answering(answer) => {
                    let piece = answer.next().await;
                    if !matches!(piece, Some(Ok(Piece::Text(_)))) {
                        *self = Self::Nothing;
                    }
                    return Asked::Piece(piece);
                }
            }
        }
    }
}

async fn resolved(call: &mut Option<BoxFuture<'static, Result<(), StoreError>>>) -> Result<(), StoreError> {
    match call {
        Some(call) => call.await,
        None => pending().await,
    }
}

/// `None` once nothing is watched any more.
async fn changed(progress: &mut Option<watch::Receiver<Progress>>) -> Option<Progress> {
    match progress {
        Some(progress) => progress.changed().await.ok().map(|()| progress.borrow_and_update().clone()),
        None => pending().await,
    }
}
