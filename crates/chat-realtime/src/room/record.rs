//! What the events of a room's history come to: which messages there are, and what has not been answered. Pure: the same events
//! make the same record, whether they happen or are read from a store.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::protocol::{AnswerDone, Event};

/// The room's messages and answers, as far as history reaches back.
#[derive(Default, Debug)]
pub(super) struct Record {
    entries: BTreeMap<u64, Entry>,
    seqs: HashMap<String, u64>,
    /// Questions that neither an answer nor a notice has been given to.
    unanswered: BTreeSet<String>,
    /// The answer that is being written, and where it began.
    open: Option<(String, u64)>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    /// Whose it is; of an answer, who asked for it.
    pub(super) client: String,
    pub(super) name: String,
    pub(super) text: String,
    pub(super) images: Vec<String>,
    pub(super) kind: Kind,
    pub(super) deleted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Message,
    Answer { done: bool },
}

impl Record {
    pub(super) fn fold(&mut self, seq: u64, event: &Event) {
        match event {
            Event::MessageCreated { message } => {
                if message.assistant {
                    self.unanswered.insert(message.id.clone());
                }
                self.insert(
                    seq,
                    Entry {
                        id: message.id.clone(),
                        client: message.client.clone(),
                        name: message.name.clone(),
                        text: message.text.clone(),
                        images: message.images.clone(),
                        kind: Kind::Message,
                        deleted: false,
                    },
                );
            }
            Event::MessageUpdated { id, text, .. } => {
                if let Some(entry) = self.entry_mut(id) {
                    entry.text.clone_from(text);
                }
            }
            Event::MessageDeleted { id, .. } => {
                if let Some(entry) = self.entry_mut(id) {
                    entry.deleted = true;
                    entry.text = String::new();
                    entry.images = Vec::new();
                }
                self.unanswered.remove(id);
            }
            Event::AnswerCreated { answer } => {
                self.unanswered.remove(&answer.question);
                self.open = Some((answer.id.clone(), seq));
                self.insert(
                    seq,
                    Entry {
                        id: answer.id.clone(),
                        client: answer.client.clone(),
                        name: String::new(),
                        text: String::new(),
                        images: Vec::new(),
                        kind: Kind::Answer { done: false },
                        deleted: false,
                    },
                );
            }
            Event::AnswerDone(AnswerDone { id, text, .. }) => {
                self.open.take_if(|(open, _)| open == id);
                if let Some(entry) = self.entry_mut(id) {
                    entry.text.clone_from(text);
                    entry.kind = Kind::Answer { done: true };
                }
            }
            Event::Notice { messages, .. } => {
                for id in messages {
                    self.unanswered.remove(id);
                }
            }
        }
    }

    /// Forgets what history no longer reaches back to.
    pub(super) fn forget(&mut self, before_seq: u64) {
        while let Some(first) = self.entries.first_entry().filter(|first| *first.key() < before_seq) {
            let (seq, entry) = first.remove_entry();
            // Its id may have been used again since, which a store that forgets late still shows.
            if self.seqs.get(&entry.id) == Some(&seq) {
                self.seqs.remove(&entry.id);
                self.unanswered.remove(&entry.id);
            }
        }
    }

    pub(super) fn find(&self, id: &str) -> Option<(u64, &Entry)> {
        let seq = *self.seqs.get(id)?;
        self.entries.get(&seq).map(|entry| (seq, entry))
    }

    /// What there was before this event, the newest first.
    pub(super) fn before(&self, seq: u64) -> impl Iterator<Item = &Entry> {
        self.entries.range(..seq).rev().map(|(_, entry)| entry)
    }

    pub(super) fn open(&self) -> Option<&str> {
        self.open.as_ref().map(|(id, _)| id.as_str())
    }

    /// Where the answer that is being written began, which may be longer ago than the rest.
    pub(super) fn open_since(&self) -> Option<u64> {
        self.open.as_ref().map(|(_, seq)| *seq)
    }

    pub(super) fn unanswered(&self) -> impl Iterator<Item = &str> {
        self.unanswered.iter().map(String::as_str)
    }

    fn insert(&mut self, seq: u64, entry: Entry) {
        self.seqs.insert(entry.id.clone(), seq);
        self.entries.insert(seq, entry);
    }

    fn entry_mut(&mut self, id: &str) -> Option<&mut Entry> {
        self.entries.get_mut(self.seqs.get(id)?)
    }
}
