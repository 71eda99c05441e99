//! Who is there, who types, and how far everybody has read.

use super::*;
use crate::room::history::Broken;
use crate::room::protocol::{Joined, Limits, ReadUpTo};

/// A connection.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) client: ClientName,
    pub(super) principal: Principal,
    pub(super) priority: Priority,
    pub(super) events: Bucket,
    pub(super) faults: Bucket,
}

/// Somebody, by one or more connections.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) name: String,
    principal: Principal,
    connections: usize,
    pub(super) typing_until: Option<Instant>,
}

/// How many members' read positions are remembered: those who read longest ago go first.
const MOST_READS: usize = 1000;

impl Machine {
    /// Whether somebody may join.
    pub(in crate::room) fn admits(&self, joining: &Joining) -> Result<(), super::super::JoinError> {
        use super::super::JoinError;
        if self.closing {
            return Err(JoinError::ShuttingDown);
        }
        if self.members.len() >= self.config.limits.members {
            return Err(JoinError::Full { members: self.members.len() });
        }
        match self.people.get(&joining.client) {
            Some(person) if person.principal != joining.principal => {
                Err(JoinError::NameTaken { name: joining.client.as_str().to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Somebody is there, and what they are sent first. Others are told by effects, which are not for the new connection.
    pub(in crate::room) fn join(&mut self, id: Id, joining: &Joining, now: Now) -> Welcome {
        let limits = &self.config.limits;
        let per_second = limits.events_per_second;
        let member = Member {
            client: joining.client.clone(),
            principal: joining.principal.clone(),
            priority: joining.priority,
            events: Bucket::new(per_second.saturating_mul(2).max(1), f64::from(per_second), now.at),
            faults: Bucket::new(limits.faults, 1.0 / 3.0, now.at),
        };
        let person = self.people.entry(joining.client.clone()).or_insert_with(|| Person {
            name: joining.shown().to_owned(),
            principal: joining.principal.clone(),
            connections: 0,
            typing_until: None,
        });
        person.connections += 1;
        if person.connections == 1 {
            let members = self.people.len();
            let (client, name) = (joining.client.as_str(), joining.shown());
            let frame = self.noise(&presence_key(client), &Told::Came { client, name, members });
            for other in self.members.keys() {
                self.effects.push(Effect::One(*other, frame.clone()));
            }
        }
        self.members.insert(id, member);
        self.welcome(joining)
    }

    fn welcome(&self, joining: &Joining) -> Welcome {
        let replay = self.history.since(joining.position.as_ref());
        let writing = match &self.assistant.phase {
            Phase::Writing(writing) => Some(writing),
            _ => None,
        };
        let limits = &self.config.limits;
        let shown = self.people.get(&joining.client).map_or("", |person| &person.name);
        let (members, typing) = self.lists();
        let joined = Told::Joined(Box::new(Joined {
            room: &self.config.room,
            last: self.history.last(),
            resumed: joining.position.is_some() && replay.broken.is_none(),
            reason: replay.broken.map(Broken::reason),
            message: replay.broken.map(Broken::message),
            you: protocol::Person { client: joining.client.as_str(), name: shown },
            members,
            typing,
            reads: self
                .reads
                .iter()
                .map(|(client, seq)| ReadUpTo { client: client.clone(), seq: *seq })
                .collect(),
            assistant: self.config.assistant.as_ref().map(|assistant| protocol::Assistant {
                name: &assistant.name,
                model: &assistant.model,
                images: assistant.images,
            }),
            answering: self.record.open(),
            context: self.progress.as_ref(),
            limits: Limits {
                event_bytes: limits.event_bytes,
                text_bytes: limits.text_bytes,
                images: limits.images,
                events_per_second: limits.events_per_second,
                history_events: limits.history.events,
                history_bytes: limits.history.bytes,
            },
        }));
        let kept = |text| Frame { text, class: Class::Kept };
        let mut frames = vec![kept(protocol::frame(&joined, self.history.epoch(), replay.after, None))];
        frames.extend(replay.events.iter().map(|event| kept(Arc::clone(&event.json))));
        if let Some(writing) = writing {
            let delta = Told::Delta { id: &writing.id, offset: 0, delta: &writing.text };
            frames.push(self.frame(&delta, Class::Kept));
        }
        Welcome { frames }
    }

    /// A connection has ended.
    pub(in crate::room) fn leave(&mut self, id: Id, now: Now) {
        self.part(id);
        self.pump(now);
    }

    pub(super) fn part(&mut self, id: Id) {
        let Some(member) = self.members.remove(&id) else { return };
        let Some(person) = self.people.get_mut(&member.client) else { return };
        person.connections -= 1;
        if person.connections > 0 {
            return;
        }
        self.end_typing(&member.client);
        if let Some(person) = self.people.remove(&member.client) {
            let (client, name, members) = (member.client.as_str(), person.name.as_str(), self.people.len());
            let frame = self.noise(&presence_key(client), &Told::Left { client, name, members });
            self.effects.push(Effect::All(frame));
        }
    }

    pub(super) fn tell_members(&mut self, id: Id) {
        let (members, typing) = self.lists();
        let frame = self.frame(&Told::Members { members, typing }, Class::Kept);
        self.effects.push(Effect::One(id, frame));
    }

    fn lists(&self) -> (Vec<protocol::Person<'_>>, Vec<&str>) {
        let members = self.people.iter();
        let members =
            members.map(|(client, person)| protocol::Person { client: client.as_str(), name: &person.name });
        let typing = self.people.iter().filter(|(_, person)| person.typing_until.is_some());
        (members.collect(), typing.map(|(client, _)| client.as_str()).collect())
    }

    pub(super) fn typing(&mut self, id: Id, typing: bool, now: Now) {
        let Some(client) = self.members.get(&id).map(|member| member.client.clone()) else { return };
        if !typing {
            self.end_typing(&client);
            return;
        }
        let until = now.at + self.config.limits.typing;
        if let Some(person) = self.people.get_mut(&client)
            && person.typing_until.replace(until).is_none()
        {
            self.tell_typing(&client, true);
        }
    }

    pub(super) fn end_typing(&mut self, client: &ClientName) {
        if self.people.get_mut(client).and_then(|person| person.typing_until.take()).is_some() {
            self.tell_typing(client, false);
        }
    }

    pub(super) fn expire_typing(&mut self, now: Now) {
        let expired = |person: &Person| person.typing_until.is_some_and(|until| until <= now.at);
        let clients = self.people.iter().filter(|(_, person)| expired(person));
        for client in clients.map(|(client, _)| client.clone()).collect::<Vec<_>>() {
            self.end_typing(&client);
        }
    }

    fn tell_typing(&mut self, client: &ClientName, typing: bool) {
        let client = client.as_str();
        let frame = self.noise(&format!("typing {client}"), &Told::Typing { client, typing });
        self.effects.push(Effect::All(frame));
    }

    /// A position moves forward only, and to what there is.
    pub(super) fn has_read(&mut self, id: Id, seq: u64, now: Now) {
        let Some(client) = self.members.get(&id).map(|member| member.client.clone()) else { return };
        let (client, seq) = (client.as_str(), seq.min(self.history.last()));
        if self.reads.get(client).copied().unwrap_or(0) >= seq {
            return;
        }
        self.reads.insert(client.to_owned(), seq);
        if self.reads.len() > MOST_READS {
            let oldest = self.reads.iter().min_by_key(|(_, seq)| **seq).map(|(client, _)| client.clone());
            oldest.and_then(|client| self.reads.remove(&client));
        }
        let frame = self.noise(&format!("read {client}"), &Told::Read { client, at_seq: seq });
        self.effects.push(Effect::All(frame));
        self.touch(now);
    }
}

fn presence_key(client: &str) -> String {
    format!("presence {client}")
}
