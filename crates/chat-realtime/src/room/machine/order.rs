//! The one order: what waits, what is decided, and what has been kept.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::room::protocol::{AnswerDone, Message};
use crate::room::record::Kind;

/// What a client wants to have happen.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) from: Id,
    pub(super) event_id: Option<String>,
    said: Said,
    author: Author,
}

/// Whose command it is: the connection may have ended when it is decided.
#[derive(Clone, Debug)]
pub(super) struct Author {
    pub(super) client: ClientName,
    pub(super) name: String,
    pub(super) principal: Principal,
    pub(super) priority: Priority,
}

/// What the room itself wants to have happen. It is tried until it is kept.
#[derive(Clone, Debug)]
pub(super) enum Own {
    /// The answer whose phase is `Opening`.
    Open {
        context_error: Option<String>,
    },
    Done(AnswerDone),
    Notice {
        code: Notice,
        text: String,
        messages: Vec<String>,
    },
}

/// Commands that wait, by priority; those of one priority in order.
#[derive(Default, Debug)]
pub(super) struct Waiting {
    classes: [VecDeque<Command>; Priority::ALL.len()],
    len: usize,
}

/// A call of the store that has not resolved.
#[derive(Debug)]
pub(super) enum Flight {
    Append(Vec<Proposal>),
    Trim(u64),
    Save,
}

/// An event that is being kept.
#[derive(Debug)]
pub(super) struct Proposal {
    event: Event,
    stored: StoredEvent,
    source: Source,
    /// Those who said the same again meanwhile.
    again: Vec<(Id, Option<String>)>,
}

#[derive(Debug)]
enum Source {
    Client { from: Id, event_id: Option<String>, author: Author },
    Own(Own),
}

/// What has been decided of a batch so far, besides the record.
#[derive(Default)]
struct Draft {
    proposals: Vec<Proposal>,
    created: HashMap<String, usize>,
    deleted: HashSet<String>,
}

/// Commands that are decided together at most: they share one call of the store.
const BATCH: usize = 64;

impl Waiting {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Takes it; where there are `most` already, what is given up is the newest of the least urgent, which it may be itself.
    fn push(&mut self, command: Command, most: usize) -> Option<Command> {
        let class = command.author.priority.index();
        let mut given_up = None;
        if self.len >= most {
            let Some(lower) = self.classes[..class].iter_mut().find(|class| !class.is_empty()) else {
                return Some(command);
            };
            given_up = lower.pop_back();
            self.len -= 1;
        }
        self.classes[class].push_back(command);
        self.len += 1;
        given_up
    }

    fn pop(&mut self) -> Option<Command> {
        let command = self.classes.iter_mut().rev().find_map(VecDeque::pop_front)?;
        self.len -= 1;
        Some(command)
    }

    pub(super) fn drain(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.pop()).collect()
    }
}

impl Machine {
    pub(super) fn wait(&mut self, id: Id, event_id: Option<String>, said: Said) {
        let Some(member) = self.members.get(&id) else { return };
        let name = self.people.get(&member.client).map_or_else(String::new, |person| person.name.clone());
        let author = Author {
            client: member.client.clone(),
            name,
            principal: member.principal.clone(),
            priority: member.priority,
        };
        let most = self.config.limits.waiting;
        if let Some(Command { from, event_id, .. }) =
            self.waiting.push(Command { from: id, event_id, said, author }, most)
        {
            let message = format!("{most} messages wait in this room, as many as may: send it again later");
            self.error(from, event_id.as_deref(), "overloaded", &message);
        }
    }

    /// Calls the store, if it is not being called and there is anything for it.
    pub(super) fn pump(&mut self, now: Now) {
        while self.flight.is_none() {
            let own_due = !self.own.is_empty() && self.own_at.is_none_or(|at| at <= now.at);
            if !own_due && self.waiting.len() == 0 {
                self.tidy(now);
                return;
            }
            let mut draft = Draft::default();
            if own_due {
                self.own_at = None;
                for own in std::mem::take(&mut self.own) {
                    self.decide_own(own, &mut draft, now);
                }
            }
            for _ in 0..BATCH {
                let Some(command) = self.waiting.pop() else { break };
                self.decide(command, &mut draft, now);
            }
            if !draft.proposals.is_empty() {
                let events = draft.proposals.iter().map(|proposal| proposal.stored.clone()).collect();
                self.effects.push(Effect::Store(Call::Append(events)));
                self.flight = Some(Flight::Append(draft.proposals));
            }
        }
    }

    /// Calls the store for what is not urgent.
    fn tidy(&mut self, now: Now) {
        // After a kill, an answer that has begun must be known to end it.
        let first = self.history.first().min(self.record.open_since().unwrap_or(u64::MAX));
        let slack = (self.config.limits.history.events / 8).clamp(1, 64) as u64;
        if first >= self.trimmed + slack {
            self.effects.push(Effect::Store(Call::Trim(first)));
            self.flight = Some(Flight::Trim(first));
        } else if self.save_at.is_some_and(|at| at <= now.at || self.closing) {
            self.save_at = None;
            self.effects.push(Effect::Store(Call::Save(self.saved())));
            self.flight = Some(Flight::Save);
        }
    }

    /// What came of the call of the store.
    pub(in crate::room) fn stored(&mut self, outcome: Result<(), StoreError>, now: Now) {
        match (self.flight.take(), outcome) {
            (Some(Flight::Append(proposals)), Ok(())) => {
                for proposal in proposals {
                    self.commit(proposal, now);
                }
                if self.history.trim() {
                    self.record.forget(self.history.first());
                }
            }
            (Some(Flight::Append(proposals)), Err(error)) => self.give_back(proposals, &error, now),
            (Some(Flight::Trim(first)), outcome) => {
                // After a failure it is asked again when as much more has gone.
                self.trimmed = first;
                if let Err(error) = outcome {
                    tracing::warn!(room = %self.config.room, %error, "old history was not forgotten");
                }
            }
            (Some(Flight::Save), Err(error)) => {
                tracing::warn!(room = %self.config.room, %error, "read positions were not saved");
                if !self.closing {
                    self.touch(now);
                }
            }
            (Some(Flight::Save), Ok(())) | (None, _) => {}
        }
        self.pump(now);
    }

    fn decide(&mut self, command: Command, draft: &mut Draft, now: Now) {
        let Command { from, event_id, said, author } = command;
        let event = match said {
            Said::Create(create) => {
                if let Some(id) = &create.id
                    && let Some(outcome) = self.is_known(id, &author, draft)
                {
                    match outcome {
                        Ok(Known::Kept(seq)) => self.ack(from, event_id.as_deref(), id, seq, true),
                        Ok(Known::Proposed(at)) => draft.proposals[at].again.push((from, event_id)),
                        Err((code, message)) => self.error(from, event_id.as_deref(), code, &message),
                    }
                    return;
                }
                let id = create.id.unwrap_or_else(|| format!("msg_{}", self.next_seq(draft)));
                let assistant = create.assistant.unwrap_or_else(|| self.is_addressed(&create.text));
                draft.created.insert(id.clone(), draft.proposals.len());
                Ok(Event::MessageCreated {
                    message: Message {
                        id,
                        client: author.client.as_str().to_owned(),
                        name: author.name.clone(),
                        text: create.text,
                        images: create.images,
                        assistant,
                    },
                })
            }
            Said::Update(update) => self.may_change(&update.id, &author, true, draft).map(|()| {
                let client = author.client.as_str().to_owned();
                Event::MessageUpdated { id: update.id, text: update.text, client }
            }),
            Said::Delete { id } => self.may_change(&id, &author, false, draft).map(|()| {
                draft.deleted.insert(id.clone());
                Event::MessageDeleted { id, client: author.client.as_str().to_owned() }
            }),
            Said::Stop { .. } | Said::Typing(_) | Said::Read { .. } | Said::Members => return,
        };
        match event {
            Ok(event) => self.propose(event, Source::Client { from, event_id, author }, draft, now),
            Err((code, message)) => self.error(from, event_id.as_deref(), code, &message),
        }
    }

    fn decide_own(&mut self, own: Own, draft: &mut Draft, now: Now) {
        let event = match &own {
            Own::Open { context_error } => {
                let id = format!("ans_{}", self.next_seq(draft));
                match self.opened(id, context_error.clone()) {
                    Some(answer) => Event::AnswerCreated { answer },
                    None => return self.skip_question(now),
                }
            }
            Own::Done(done) => Event::AnswerDone(done.clone()),
            Own::Notice { code, text, messages } => {
                Event::Notice { code: *code, text: text.clone(), messages: messages.clone() }
            }
        };
        self.propose(event, Source::Own(own), draft, now);
    }

    fn propose(&self, event: Event, source: Source, draft: &mut Draft, now: Now) {
        let seq = self.next_seq(draft);
        let json = protocol::frame(&event, self.history.epoch(), seq, Some(now.unix_ms));
        let stored = StoredEvent { seq, at_ms: now.unix_ms, json };
        draft.proposals.push(Proposal { event, stored, source, again: Vec::new() });
    }

    fn next_seq(&self, draft: &Draft) -> u64 {
        self.history.last() + 1 + draft.proposals.len() as u64
    }

    /// Whether there is a message of this id already, which its author has sent once more.
    fn is_known(&self, id: &str, author: &Author, draft: &Draft) -> Option<Result<Known, Fault>> {
        let (client, known) = if let Some(at) = draft.created.get(id) {
            let Source::Client { author, .. } = &draft.proposals[*at].source else { return None };
            (author.client.as_str(), Known::Proposed(*at))
        } else {
            let (seq, entry) = self.record.find(id)?;
            (entry.client.as_str(), Known::Kept(seq))
        };
        Some(if client == author.client.as_str() {
            Ok(known)
        } else {
            Err(("id_taken", format!("the id {id:?} is of somebody else's message: take another")))
        })
    }

    fn may_change(&self, id: &str, author: &Author, text: bool, draft: &Draft) -> Result<(), Fault> {
        let gone = || Err(("not_found", format!("there is no message {:?} in the history", shortened(id))));
        if draft.deleted.contains(id) {
            return gone();
        }
        let owner = if let Some(at) = draft.created.get(id) {
            match &draft.proposals[*at].source {
                Source::Client { author, .. } => author.client.as_str(),
                Source::Own(_) => return gone(),
            }
        } else {
            match self.record.find(id) {
                None => return gone(),
                Some((_, entry)) if entry.deleted => return gone(),
                Some((_, entry)) => match entry.kind {
                    Kind::Answer { .. } if text => {
                        return Err((
                            "not_yours",
                            "answers are the assistant's: delete it instead".to_owned(),
                        ));
                    }
                    Kind::Answer { done: false } => {
                        return Err(("not_yours", "the answer is being written: stop it first".to_owned()));
                    }
                    Kind::Answer { done: true } | Kind::Message => entry.client.as_str(),
                },
            }
        };
        if owner == author.client.as_str() {
            return Ok(());
        }
        Err(("not_yours", format!("{:?} is somebody else's", shortened(id))))
    }

    /// It is kept: now it has happened.
    fn commit(&mut self, proposal: Proposal, now: Now) {
        let Proposal { event, stored, source, again } = proposal;
        let seq = stored.seq;
        self.effects.push(Effect::All(Frame { text: Arc::clone(&stored.json), class: Class::Kept }));
        self.history.push(stored);
        self.record.fold(seq, &event);
        match (source, event) {
            (Source::Client { from, event_id, author }, event) => {
                self.end_typing(&author.client);
                let (Event::MessageUpdated { id, .. } | Event::MessageDeleted { id, .. }) = &event else {
                    let Event::MessageCreated { message } = event else { return };
                    self.ack(from, event_id.as_deref(), &message.id, seq, false);
                    for (from, event_id) in again {
                        self.ack(from, event_id.as_deref(), &message.id, seq, true);
                    }
                    if message.assistant {
                        self.asked(seq, message, author, now);
                    }
                    return;
                };
                self.ack(from, event_id.as_deref(), id, seq, false);
            }
            (Source::Own(Own::Open { .. }), Event::AnswerCreated { answer }) => self.open(answer, now),
            (Source::Own(Own::Done(_)), Event::AnswerDone(done)) => self.ended(&done.id, seq, now),
            (Source::Own(_), _) => {}
        }
    }

    /// It is not kept: it has not happened.
    fn give_back(&mut self, proposals: Vec<Proposal>, error: &StoreError, now: Now) {
        tracing::warn!(room = %self.config.room, %error, events = proposals.len(), "events were not kept");
        let message =
            format!("the room could not keep it, so it has not happened: {error}; send it again later");
        let mut own = VecDeque::new();
        for Proposal { source, again, .. } in proposals {
            match source {
                Source::Client { from, event_id, .. } => {
                    for (from, event_id) in std::iter::once((from, event_id)).chain(again) {
                        self.error(from, event_id.as_deref(), "not_kept", &message);
                    }
                }
                Source::Own(back) => own.push_back(back),
            }
        }
        if self.closing {
            // What stays open is ended when the room is loaded again.
            self.own.clear();
            self.give_up_answer(&message);
            return;
        }
        if !own.is_empty() {
            self.own_at = Some(now.at + RETRY_AFTER);
            own.append(&mut self.own);
            self.own = own;
        }
    }

    pub(super) fn ack(&mut self, to: Id, event_id: Option<&str>, id: &str, at_seq: u64, duplicate: bool) {
        self.tell(to, &Told::Ack { event_id, id, at_seq, duplicate });
    }
}

enum Known {
    Kept(u64),
    Proposed(usize),
}

type Fault = (&'static str, String);

fn shortened(id: &str) -> String {
    id.chars().take(64).collect()
}
