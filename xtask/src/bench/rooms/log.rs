//! What a client has been sent, and whether all of them have been sent the same.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// Events of the room's history; all others are of the moment.
const SEQUENCED: [&str; 6] =
    ["message.created", "message.updated", "message.deleted", "answer.created", "answer.done", "notice"];

/// What is read of an event.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) epoch: String,
    pub(super) seq: u64,
    /// Of `room.joined`: the newest event that is sent again.
    pub(super) last: Option<u64>,
    pub(super) resumed: Option<bool>,
    pub(super) reason: Option<String>,
    pub(super) message: Option<serde_json::Value>,
    /// Of `ack` and `error`.
    pub(super) event_id: Option<String>,
    pub(super) error: Option<serde_json::Value>,
}

impl Event {
    pub(super) fn is_sequenced(&self) -> bool {
        SEQUENCED.contains(&&*self.kind)
    }
}

/// One client's history of one room, over all its connections.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Log {
    epoch: String,
    /// The seq before the first event.
    begins: u64,
    /// What each event was, by its text.
    digests: Vec<u64>,
    /// On this connection `room.joined` has come.
    joined: bool,
}

impl Log {
    /// Where to go on; `None` before the first connection.
    pub(super) fn position(&self) -> Option<(&str, u64)> {
        (!self.epoch.is_empty()).then_some((&*self.epoch, self.last()))
    }

    const fn last(&self) -> u64 {
        self.begins + self.digests.len() as u64
    }

    /// The connection is gone: another one begins.
    pub(super) const fn dropped(&mut self) {
        self.joined = false;
    }

    /// Takes an event in; fails where it is not the next one.
    pub(super) fn take(&mut self, event: &Event, text: &str) -> Result<()> {
        if event.kind == "room.joined" {
            return self.join(event);
        }
        ensure!(self.joined, "{} came before room.joined", event.kind);
        ensure!(event.epoch == self.epoch, "the epoch changed from {} to {}", self.epoch, event.epoch);
        let expected = self.last() + u64::from(event.is_sequenced());
        ensure!(event.seq == expected, "{} has seq {} where {expected} should be", event.kind, event.seq);
        if event.is_sequenced() {
            self.digests.push(digest(text));
        }
        Ok(())
    }

    fn join(&mut self, event: &Event) -> Result<()> {
        ensure!(!self.joined, "room.joined came twice");
        self.joined = true;
        if self.position().is_none() {
            self.epoch.clone_from(&event.epoch);
            self.begins = event.seq;
            return Ok(());
        }
        if event.resumed != Some(true) {
            bail!("history did not reach back: {}", event.reason.as_deref().unwrap_or("no reason given"));
        }
        let last = self.last();
        ensure!(
            (&event.epoch, event.seq) == (&self.epoch, last),
            "resumed at {} of {} where {last} of {} was asked for",
            event.seq,
            event.epoch,
            self.epoch
        );
        Ok(())
    }
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Whether the clients of a room have all been sent the same: each from where it came in to the same end. Gives the number of
/// events.
pub(super) fn agree<'a>(logs: impl IntoIterator<Item = (&'a str, &'a Log)>) -> Result<usize> {
    let mut events: BTreeMap<u64, (u64, &str)> = BTreeMap::new();
    let mut end: Option<(&str, &Log)> = None;
    for (client, log) in logs {
        let (other, first) = *end.get_or_insert((client, log));
        ensure!(log.epoch == first.epoch, "{client} is in epoch {}, {other} in {}", log.epoch, first.epoch);
        ensure!(
            log.last() == first.last(),
            "{client} has events up to {}, {other} to {}",
            log.last(),
            first.last()
        );
        for (seq, digest) in (log.begins + 1..).zip(&log.digests) {
            let (known, other) = *events.entry(seq).or_insert((*digest, client));
            ensure!(known == *digest, "event {seq} is another one for {client} than for {other}");
        }
    }
    end.context("nobody is left in the room")?;
    Ok(events.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, epoch: &str, seq: u64) -> (Event, String) {
        let text = format!("{{\"type\":\"{kind}\",\"epoch\":\"{epoch}\",\"seq\":{seq},\"resumed\":true}}");
        (serde_json::from_str(&text).unwrap(), text)
    }

    fn take(log: &mut Log, kind: &str, seq: u64) -> Result<()> {
        let (event, text) = event(kind, "e", seq);
        log.take(&event, &text)
    }

    fn log(begins: u64, last: u64) -> Log {
        let mut log = Log::default();
        take(&mut log, "room.joined", begins).unwrap();
        for seq in begins + 1..=last {
            take(&mut log, "message.created", seq).unwrap();
        }
        log
    }

    #[test]
    fn a_gap_a_repetition_and_another_epoch_are_found() {
        let mut log = log(4, 6);
        assert_eq!((log.position(), log.digests.len()), (Some(("e", 6)), 2));
        take(&mut log, "typing.updated", 6).unwrap();
        for (kind, seq) in [("message.created", 6), ("notice", 8), ("ack", 7), ("room.joined", 6)] {
            assert!(take(&mut log.clone(), kind, seq).is_err(), "{kind} {seq}");
        }
        let (other, text) = event("message.created", "f", 7);
        assert!(log.take(&other, &text).is_err());
        log.dropped();
        assert!(take(&mut log.clone(), "message.created", 7).is_err(), "room.joined is first");
        assert!(take(&mut log.clone(), "room.joined", 5).is_err());
        take(&mut log, "room.joined", 6).unwrap();
        take(&mut log, "message.created", 7).unwrap();
        log.dropped();
        let (mut refused, _) = event("room.joined", "e", 7);
        refused.resumed = Some(false);
        assert!(log.take(&refused, "").is_err());
    }

    #[test]
    fn logs_that_differ_are_found() {
        assert_eq!(agree([("a", &log(0, 5)), ("b", &log(3, 5))]).unwrap(), 5);
        assert!(agree([("a", &log(0, 5)), ("b", &log(3, 4))]).is_err(), "a lost tail");
        let mut other = log(0, 5);
        other.digests[2] += 1;
        assert!(agree([("a", &log(0, 5)), ("b", &other)]).is_err(), "another text");
        assert!(agree([]).is_err());
    }
}
