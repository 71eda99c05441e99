//! All rooms of a server: made when somebody joins, gone when nobody has been there for a while.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pool_core::Principal;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::joining::{JoinError, Joining, plain};
use super::limits::{Bucket, RoomLimits};
use super::machine::{AssistantConfig, Config, Now};
use super::memory::MemoryHistory;
use super::store::HistoryStore;
use super::task::{Command, Figures, Refusal, Task};
use crate::context::Citations;
use crate::delivery::Connection;
use crate::model::Responder;

/// All rooms of a server. Clones are of the same rooms, which close when the last one is dropped; [`Rooms::shutdown`] also waits
/// for them.
#[derive(Clone, Debug)]
pub struct Rooms {
    hub: Arc<Hub>,
    _alive: Arc<DropGuard>,
}

/// How rooms are made.
#[derive(Default, Debug)]
pub struct RoomsBuilder {
    responder: Option<Arc<dyn Responder>>,
    store: Option<Arc<dyn HistoryStore>>,
    context: Option<Arc<dyn Citations>>,
    limits: RoomLimits,
    assistant: Option<String>,
    instructions: Option<String>,
}

/// What rooms have now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RoomsStats {
    /// Rooms that are open.
    pub rooms: usize,
    /// Connections in them.
    pub members: usize,
    /// Events that they keep in memory.
    pub events: usize,
    /// Bytes that those have.
    pub bytes: usize,
}

/// What the rooms share.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) responder: Option<Arc<dyn Responder>>,
    pub(super) store: Arc<dyn HistoryStore>,
    pub(super) context: Option<Arc<dyn Citations>>,
    pub(super) limits: RoomLimits,
    pub(super) clock: Clock,
    assistant: String,
    instructions: Option<Arc<str>>,
    closing: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default, Debug)]
struct State {
    rooms: HashMap<String, Open>,
    joins: HashMap<Principal, Bucket>,
    tasks: JoinSet<()>,
    closed: bool,
}

#[derive(Debug)]
struct Open {
    inbox: mpsc::Sender<Command>,
    figures: Arc<Figures>,
}

/// Both clocks, which do not part where a calendar is corrected.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    unix: Duration,
}

/// Who wants to join one room at once; more of them wait, at no room's cost.
const INBOX: usize = 64;

/// Principals whose joins are counted; those who have not joined for a second are forgotten.
const PRINCIPALS: usize = 10_000;

impl RoomsBuilder {
    /// Who answers in the rooms. Without one, questions are answered by a notice that says so.
    #[must_use]
    pub fn responder(mut self, responder: Arc<dyn Responder>) -> Self {
        self.responder = Some(responder);
        self
    }

    /// Where histories are kept. Default: in memory, a [`MemoryHistory`].
    #[must_use]
    pub fn store(mut self, store: Arc<dyn HistoryStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// What answers may cite.
    #[must_use]
    pub fn context(mut self, context: Arc<dyn Citations>) -> Self {
        self.context = Some(context);
        self
    }

    /// The rooms' bounds.
    #[must_use]
    pub fn limits(mut self, limits: RoomLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The name by which the assistant is addressed. Default: `assistant`.
    #[must_use]
    pub fn assistant(mut self, name: impl Into<String>) -> Self {
        self.assistant = Some(name.into());
        self
    }

    /// What the assistant is to be and do.
    #[must_use]
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// The rooms, none of which is open.
    pub fn build(self) -> Rooms {
        let closing = CancellationToken::new();
        let hub = Hub {
            responder: self.responder,
            store: self.store.unwrap_or_else(|| Arc::new(MemoryHistory::default())),
            context: self.context,
            limits: self.limits,
            clock: Clock::new(),
            assistant: self.assistant.unwrap_or_else(|| "assistant".to_owned()),
            instructions: self.instructions.map(Into::into),
            closing: closing.clone(),
            state: Mutex::default(),
        };
        Rooms { hub: Arc::new(hub), _alive: Arc::new(closing.drop_guard()) }
    }
}

impl Rooms {
    /// How rooms are made.
    pub fn builder() -> RoomsBuilder {
        RoomsBuilder::default()
    }

    /// Joins a room, which is opened if it is not. The connection's first event tells what follows.
    ///
    /// # Errors
    ///
    /// A name cannot be one, the room is full, or one of the other reasons of [`JoinError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the room open until it is found idle, and nothing else.
    pub async fn join(&self, room: &str, joining: Joining) -> Result<Connection, JoinError> {
        plain("room", room)?;
        joining.check()?;
        self.hub.count_join(&joining.principal)?;
        // A room may go, or fail, in the moment in which it is asked; hardly twice.
        for _ in 0..4 {
            let inbox = self.hub.open(room)?;
            let (reply, answer) = oneshot::channel();
            let command = Command::Join { joining: joining.clone(), reply };
            let answer = match inbox.send(command).await {
                Ok(()) => answer.await.unwrap_or(Err(Refusal::Gone)),
                Err(_) => Err(Refusal::Gone),
            };
            match answer {
                Ok(connection) => return Ok(connection),
                Err(Refusal::Join(error)) => return Err(error),
                Err(Refusal::Gone) => self.hub.forget(room, &inbox),
            }
        }
        Err(if self.hub.closing.is_cancelled() { JoinError::ShuttingDown } else { JoinError::Failed })
    }

    /// Says something to everybody in every open room, and to those who come back to it: it is kept.
    pub async fn announce(&self, text: &str) {
        let inboxes: Vec<_> = self.hub.lock().rooms.values().map(|open| open.inbox.clone()).collect();
        for inbox in inboxes {
            // A room that has gone has nobody to tell.
            drop(inbox.send(Command::Announce(text.to_owned())).await);
        }
    }

    /// Closes every room: what is being written is ended, what waits is refused, and every connection is closed. Returns how
    /// many rooms did not end within the time and were cut off. Nobody can join afterwards; once more it does nothing.
    pub async fn shutdown(&self, within: Duration) -> usize {
        let mut tasks = {
            let mut state = self.hub.lock();
            state.closed = true;
            std::mem::take(&mut state.tasks)
        };
        self.hub.closing.cancel();
        let all = async {
            while let Some(ended) = tasks.join_next().await {
                report(ended);
            }
        };
        if timeout(within, all).await.is_ok() {
            return 0;
        }
        let late = tasks.len();
        tasks.shutdown().await;
        self.hub.lock().rooms.clear();
        late
    }

    /// What rooms have now.
    pub fn stats(&self) -> RoomsStats {
        let state = self.hub.lock();
        let mut stats = RoomsStats { rooms: state.rooms.len(), ..RoomsStats::default() };
        for Open { figures, .. } in state.rooms.values() {
            stats.members += figures.members.load(Ordering::Relaxed);
            stats.events += figures.events.load(Ordering::Relaxed);
            stats.bytes += figures.bytes.load(Ordering::Relaxed);
        }
        stats
    }
}

impl Hub {
    /// The way into a room.
    fn open(self: &Arc<Self>, name: &str) -> Result<mpsc::Sender<Command>, JoinError> {
        let mut state = self.lock();
        if state.closed || self.closing.is_cancelled() {
            return Err(JoinError::ShuttingDown);
        }
        if let Some(open) = state.rooms.get(name) {
            return Ok(open.inbox.clone());
        }
        if state.rooms.len() >= self.limits.rooms {
            return Err(JoinError::TooManyRooms { rooms: state.rooms.len() });
        }
        while let Some(ended) = state.tasks.try_join_next() {
            report(ended);
        }
        let (sender, inbox) = mpsc::channel(INBOX);
        let figures = Arc::new(Figures::default());
        let task = Task {
            name: name.to_owned(),
            hub: Arc::clone(self),
            inbox,
            figures: Arc::clone(&figures),
            closing: self.closing.clone(),
        };
        state.tasks.spawn(task.run());
        state.rooms.insert(name.to_owned(), Open { inbox: sender.clone(), figures });
        Ok(sender)
    }

    fn count_join(&self, principal: &Principal) -> Result<(), JoinError> {
        let now = Instant::now();
        let per_second = self.limits.joins_per_second;
        let mut state = self.lock();
        if state.joins.len() >= PRINCIPALS && !state.joins.contains_key(principal) {
            state.joins.retain(|_, bucket| !bucket.is_full(now));
            if state.joins.len() >= PRINCIPALS {
                return Err(JoinError::TooFast { retry_after: Duration::from_secs(1) });
            }
        }
        let new = || Bucket::new(per_second.saturating_mul(2).max(1), f64::from(per_second), now);
        let bucket = state.joins.entry(principal.clone()).or_insert_with(new);
        bucket.take(now).map_err(|retry_after| JoinError::TooFast { retry_after })
    }

    pub(super) fn remove(&self, name: &str) {
        self.lock().rooms.remove(name);
    }

    /// Takes the room off the list if this holds while nobody else can find it there.
    pub(super) fn remove_if(&self, name: &str, holds: impl FnOnce() -> bool) -> bool {
        let mut state = self.lock();
        let holds = holds();
        if holds {
            state.rooms.remove(name);
        }
        holds
    }

    /// Takes this very room off the list, as its task has ended without doing so.
    fn forget(&self, name: &str, inbox: &mpsc::Sender<Command>) {
        let mut state = self.lock();
        if state.rooms.get(name).is_some_and(|open| open.inbox.same_channel(inbox)) {
            state.rooms.remove(name);
        }
    }

    pub(super) fn config(&self, room: &str) -> Arc<Config> {
        let assistant = self.responder.as_ref().map(|responder| AssistantConfig {
            name: self.assistant.clone(),
            model: responder.model().to_owned(),
            images: responder.sees(),
            instructions: self.instructions.clone(),
        });
        let (room, limits, context) = (room.to_owned(), self.limits.clone(), self.context.is_some());
        Arc::new(Config { room, limits, assistant, context })
    }

    /// A name that no history has had.
    pub(super) fn epoch(&self) -> String {
        format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock {
    fn new() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), unix }
    }

    pub(super) fn now(&self) -> Now {
        let at = Instant::now();
        let unix = self.unix + (at - self.started);
        Now { at, unix_ms: i64::try_from(unix.as_millis()).unwrap_or(i64::MAX) }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a room's task has failed: its connections were closed");
    }
}
