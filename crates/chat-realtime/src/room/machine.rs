//! What a room decides. Pure: it is told what happened and when, and says what is to be done; the room's task does it.
//!
//! An event is decided, kept by the store, and only then told to anybody and acknowledged. One call of the store is in flight at
//! a time; what clients say meanwhile waits, and is decided together when the call has resolved. What is decided but not kept
//! is as if it had never been: the record is made of kept events alone.

mod answers;
mod order;
mod people;
#[cfg(test)]
mod walk;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pool_core::{Principal, Priority};
use tokio::time::Instant;

use super::history::History;
use super::joining::{ClientName, Joining};
use super::limits::{Bucket, RoomLimits};
use super::protocol::{self, Event, Notice, Problem, Refused, Said, Stamped, Status, Told};
use super::record::Record;
use super::store::{Kept, StoreError, StoredEvent};
use crate::context::Progress;
use crate::delivery::{Class, CloseCode, Frame, Inbound};
use crate::model::Prompt;
pub(super) use answers::Question;
use answers::{Assistant, Phase};
use order::{Flight, Own, Waiting};
use people::{Member, Person};

/// A connection's number within its room.
pub(super) type Id = u64;

/// The time, as clocks and as calendars have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) at: Instant,
    pub(super) unix_ms: i64,
}

/// What a room is made with.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) room: String,
    pub(super) limits: RoomLimits,
    /// The assistant's name and model, and whether it sees pictures.
    pub(super) assistant: Option<AssistantConfig>,
    /// Whether there is context to search.
    pub(super) context: bool,
}

#[derive(Debug)]
pub(super) struct AssistantConfig {
    pub(super) name: String,
    pub(super) model: String,
    pub(super) images: bool,
    pub(super) instructions: Option<Arc<str>>,
}

/// What is to be done, in order.
#[derive(Debug)]
pub(super) enum Effect {
    /// Send it to every connection.
    All(Frame),
    One(Id, Frame),
    /// The connection is no longer a member.
    Close(Id, CloseCode),
    /// Call the store, and say what came of it by `stored`.
    Store(Call),
    /// Search for passages, and give them to `found`.
    Find(String),
    /// Ask for an answer, and give its pieces to `piece`.
    Ask(Prompt),
    /// Drop the search or the answer.
    Drop,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Call {
    Append(Vec<StoredEvent>),
    Trim(u64),
    Save(Arc<str>),
}

/// What a new member is sent first.
#[derive(Debug)]
pub(super) struct Welcome {
    pub(super) frames: Vec<Frame>,
}

/// How long after a change the state beside the events is saved, and after a failure something is tried again.
const SAVE_AFTER: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The room's own events that may wait for the store before an announcement is given up.
const MOST_OWN: usize = 64;

#[derive(Debug)]
pub(super) struct Machine {
    config: Arc<Config>,
    history: History,
    record: Record,
    members: BTreeMap<Id, Member>,
    people: BTreeMap<ClientName, Person>,
    reads: BTreeMap<String, u64>,
    progress: Option<Progress>,
    waiting: Waiting,
    own: VecDeque<Own>,
    /// The room's own events failed to be kept: not before then again.
    own_at: Option<Instant>,
    flight: Option<Flight>,
    assistant: Assistant,
    /// When the state beside the events is to be saved, as it has changed.
    save_at: Option<Instant>,
    /// The store was last told to forget what is before it.
    trimmed: u64,
    closing: bool,
    effects: Vec<Effect>,
}

impl Machine {
    /// A room as it was kept, or a new one of this epoch.
    ///
    /// # Errors
    ///
    /// What was kept has gaps.
    pub(super) fn new(
        config: Arc<Config>,
        kept: Option<Kept>,
        epoch: String,
        now: Now,
    ) -> Result<Self, StoreError> {
        let Kept { epoch, first_seq, events, state } =
            kept.unwrap_or(Kept { epoch, first_seq: 1, events: Vec::new(), state: None });
        let mut record = Record::default();
        let mut last = first_seq.saturating_sub(1);
        for event in &events {
            if event.seq != last + 1 {
                let (room, seq) = (&config.room, event.seq);
                let message =
                    format!("the history of room {room:?} has {seq} after {last}: restore it or delete it");
                return Err(StoreError::new(message));
            }
            last = event.seq;
            match serde_json::from_str(&event.json) {
                Ok(parsed) => record.fold(event.seq, &parsed),
                // Of a later version, perhaps: it stays in the history, for clients that know it.
                Err(error) => {
                    tracing::warn!(room = %config.room, seq = event.seq, %error, "a kept event is not understood");
                }
            }
        }
        let saved: protocol::Saved = match state.as_deref().map(serde_json::from_str).transpose() {
            Ok(saved) => saved.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(room = %config.room, %error, "what was saved beside the history is not understood");
                protocol::Saved::default()
            }
        };
        let mut machine = Self {
            history: History::new(epoch, events, last, config.limits.history),
            record,
            members: BTreeMap::new(),
            people: BTreeMap::new(),
            reads: saved.reads.into_iter().map(|read| (read.client, read.seq)).collect(),
            progress: None,
            waiting: Waiting::default(),
            own: VecDeque::new(),
            own_at: None,
            flight: None,
            assistant: Assistant::default(),
            save_at: None,
            trimmed: first_seq,
            closing: false,
            effects: Vec::new(),
            config,
        };
        machine.mend(saved.writing);
        if machine.history.trim() {
            machine.record.forget(machine.history.first());
        }
        machine.pump(now);
        Ok(machine)
    }

    /// Ends what a kill has left open.
    fn mend(&mut self, writing: Option<protocol::Written>) {
        if let Some(id) = self.record.open().map(str::to_owned) {
            let text =
                writing.filter(|writing| writing.id == id).map_or_else(String::new, |writing| writing.text);
            self.assistant.phase = Phase::Ending { id: id.clone(), waiters: Vec::new() };
            self.own.push_back(Own::Done(protocol::AnswerDone {
                id,
                status: Status::Interrupted,
                text,
                usage: None,
                client: None,
                error: Some("the server was restarted".to_owned()),
            }));
        }
        let messages: Vec<String> = self.record.unanswered().map(str::to_owned).collect();
        if !messages.is_empty() {
            let text = "the server was restarted before these questions were answered: ask again".to_owned();
            self.own.push_back(Own::Notice { code: Notice::Restarted, text, messages });
        }
    }

    /// What is to be done, which is then thought done.
    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(super) fn receive(&mut self, id: Id, inbound: &Inbound, now: Now) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let allowed = member.events.take(now.at);
        let read = protocol::read(inbound, &self.config.limits);
        match (allowed, read) {
            (Err(after), read) => {
                let event_id = match read {
                    Ok(Stamped { event_id, .. }) | Err(Refused { event_id, .. }) => event_id,
                };
                let most = self.config.limits.events_per_second;
                let message =
                    format!("more than {most} events a second: send it again after {} ms", after.as_millis());
                self.fault(id, event_id.as_deref(), "rate_limited", &message, now);
            }
            (Ok(()), Err(Refused { event_id, code, message })) => {
                self.fault(id, event_id.as_deref(), code, &message, now);
            }
            (Ok(()), Ok(Stamped { event_id, .. })) if self.closing => {
                self.error(id, event_id.as_deref(), "shutting_down", "the server is shutting down");
            }
            (Ok(()), Ok(Stamped { event_id, said })) => self.said(id, event_id, said, now),
        }
        self.pump(now);
    }

    fn said(&mut self, id: Id, event_id: Option<String>, said: Said, now: Now) {
        let pressed = self.waiting.len() > self.config.limits.waiting / 2;
        match said {
            Said::Typing(_) | Said::Read { .. } if pressed => {}
            Said::Typing(typing) => self.typing(id, typing, now),
            Said::Read { seq } => self.has_read(id, seq, now),
            Said::Members => self.tell_members(id),
            Said::Stop { answer } => self.stop(id, event_id, answer, now),
            Said::Create(_) | Said::Update(_) | Said::Delete { .. } => self.wait(id, event_id, said),
        }
    }

    /// An operator's word to everybody.
    pub(super) fn announce(&mut self, text: String, now: Now) {
        if self.own.len() >= MOST_OWN {
            return tracing::warn!(room = %self.config.room, text, "not announced: the store keeps nothing for now");
        }
        self.own.push_back(Own::Notice { code: Notice::Announcement, text, messages: Vec::new() });
        self.pump(now);
    }

    /// How far the reading of folders has come.
    pub(super) fn progressed(&mut self, progress: Progress) {
        let frame = self.noise("context", &Told::Context { context: &progress });
        self.progress = Some(progress);
        self.effects.push(Effect::All(frame));
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Now) {
        self.expire_typing(now);
        self.expire_answer(now);
        self.pump(now);
    }

    /// When `tick` is due.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let own = if self.own.is_empty() || self.flight.is_some() { None } else { self.own_at };
        let save = if self.flight.is_some() { None } else { self.save_at };
        let typing = self.people.values().filter_map(|person| person.typing_until).min();
        [own, save, typing, self.assistant.deadline()].into_iter().flatten().min()
    }

    /// Begins the end: what is being written is ended, what waits is refused. It has ended once it is [quiet](Self::is_quiet).
    pub(super) fn close(&mut self, now: Now) {
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        for command in self.waiting.drain() {
            self.error(
                command.from,
                command.event_id.as_deref(),
                "shutting_down",
                "the server is shutting down",
            );
        }
        self.end_answers(now);
        self.own_at = None;
        self.pump(now);
    }

    /// Nothing is under way and nothing waits.
    pub(super) fn is_quiet(&self) -> bool {
        self.flight.is_none()
            && self.own.is_empty()
            && self.waiting.len() == 0
            && self.assistant.is_idle()
            && !(self.closing && self.save_at.is_some())
    }

    /// Nothing is to be saved.
    pub(super) const fn is_saved(&self) -> bool {
        self.save_at.is_none() && self.flight.is_none()
    }

    pub(super) fn epoch(&self) -> &str {
        self.history.epoch()
    }

    pub(super) const fn is_closing(&self) -> bool {
        self.closing
    }

    pub(super) fn kept(&self) -> (usize, usize) {
        (self.history.len(), self.history.bytes())
    }

    fn frame(&self, told: &Told<'_>, class: Class) -> Frame {
        Frame { text: protocol::frame(told, self.history.epoch(), self.history.last(), None), class }
    }

    fn noise(&self, key: &str, told: &Told<'_>) -> Frame {
        self.frame(told, Class::Noise { key: key.into() })
    }

    /// Tells one connection, if it is still there.
    fn tell(&mut self, id: Id, told: &Told<'_>) {
        if self.members.contains_key(&id) {
            let frame = self.frame(told, Class::Kept);
            self.effects.push(Effect::One(id, frame));
        }
    }

    fn error(&mut self, id: Id, event_id: Option<&str>, code: &'static str, message: &str) {
        self.tell(id, &Told::Error { event_id, error: Problem { code, message } });
    }

    /// An error that is the client's doing: too many of them end the connection.
    fn fault(&mut self, id: Id, event_id: Option<&str>, code: &'static str, message: &str, now: Now) {
        self.error(id, event_id, code, message);
        if let Some(member) = self.members.get_mut(&id)
            && member.faults.take(now.at).is_err()
        {
            self.effects.push(Effect::Close(id, CloseCode::TooManyErrors));
            self.part(id);
        }
    }

    /// The state beside the events has changed.
    fn touch(&mut self, now: Now) {
        self.save_at.get_or_insert(now.at + SAVE_AFTER);
    }

    fn saved(&self) -> Arc<str> {
        let reads =
            self.reads.iter().map(|(client, seq)| protocol::ReadUpTo { client: client.clone(), seq: *seq });
        let writing = match &self.assistant.phase {
            Phase::Writing(writing) => {
                Some(protocol::Written { id: writing.id.clone(), text: writing.text.clone() })
            }
            _ => None,
        };
        protocol::text(&protocol::Saved { reads: reads.collect(), writing })
    }
}
