//! The newest events of a room, and what of them somebody lacks. Pure.

use std::collections::VecDeque;

use super::limits::HistoryLimits;
use super::store::{Position, StoredEvent};

/// A room's past, as far as it is kept: gapless, bounded by count and bytes.
#[derive(Debug)]
pub(super) struct History {
    epoch: String,
    events: VecDeque<StoredEvent>,
    bytes: usize,
    last: u64,
    limits: HistoryLimits,
}

/// What somebody is sent who joins.
#[derive(Debug)]
pub(super) struct Replay<'a> {
    /// The events, in order.
    pub(super) events: Vec<&'a StoredEvent>,
    /// The seq before the first of them.
    pub(super) after: u64,
    /// Why they are not simply what was missed; `None` where they are, and where no position was given.
    pub(super) broken: Option<Broken>,
}

/// Why a position cannot be resumed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Broken {
    /// It is of another history.
    Epoch,
    /// History no longer reaches back to it.
    Trimmed,
    /// It has not been reached here: it is of a history that was lost.
    Ahead,
}

impl Broken {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Trimmed => "trimmed",
            Self::Ahead => "ahead",
        }
    }

    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Epoch => "the position is of another history than the room now has",
            Self::Trimmed => "history no longer reaches back to the position",
            Self::Ahead => "the position is ahead of the room's history",
        }
    }
}

impl History {
    /// A history that has `events`, which follow each other and of which the last has this seq.
    pub(super) fn new(epoch: String, events: Vec<StoredEvent>, last: u64, limits: HistoryLimits) -> Self {
        let bytes = events.iter().map(|event| event.json.len()).sum();
        Self { epoch, events: events.into(), bytes, last, limits }
    }

    pub(super) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The newest event's seq; 0 before the first.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// The oldest kept event's seq, or the next one's where none is kept.
    pub(super) fn first(&self) -> u64 {
        self.events.front().map_or(self.last + 1, |event| event.seq)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn push(&mut self, event: StoredEvent) {
        debug_assert_eq!(event.seq, self.last + 1, "history has no gaps");
        self.last = event.seq;
        self.bytes += event.json.len();
        self.events.push_back(event);
    }

    /// Forgets what is beyond the bounds; whether there was any.
    pub(super) fn trim(&mut self) -> bool {
        let before = self.events.len();
        while self.events.len() > 1
            && (self.events.len() > self.limits.events || self.bytes > self.limits.bytes)
            && let Some(event) = self.events.pop_front()
        {
            self.bytes -= event.json.len();
        }
        self.events.len() < before
    }

    /// What somebody lacks who has everything up to there, or nothing.
    pub(super) fn since(&self, position: Option<&Position>) -> Replay<'_> {
        let broken = position.and_then(|position| {
            if position.epoch != self.epoch {
                Some(Broken::Epoch)
            } else if position.seq > self.last {
                Some(Broken::Ahead)
            } else if position.seq.saturating_add(1) < self.first() {
                Some(Broken::Trimmed)
            } else {
                None
            }
        });
        let after = match (position, broken) {
            (Some(position), None) => position.seq,
            _ => self.first() - 1,
        };
        let skip = usize::try_from(after + 1 - self.first()).unwrap_or(usize::MAX);
        Replay { events: self.events.range(skip.min(self.events.len())..).collect(), after, broken }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64) -> StoredEvent {
        StoredEvent { seq, at_ms: 0, json: "12345678".into() }
    }

    fn position(epoch: &str, seq: u64) -> Position {
        Position { epoch: epoch.into(), seq }
    }

    #[test]
    fn what_was_missed_is_given_exactly_or_the_reason_why_not() {
        let mut history = History::new("e".into(), vec![], 0, HistoryLimits { events: 4, bytes: 1000 });
        let seqs = |replay: Replay<'_>| {
            let seqs: Vec<u64> = replay.events.iter().map(|event| event.seq).collect();
            (replay.after, seqs, replay.broken)
        };
        assert_eq!(seqs(history.since(None)), (0, vec![], None));
        assert_eq!(seqs(history.since(Some(&position("e", 0)))), (0, vec![], None));
        for seq in 1..=6 {
            history.push(event(seq));
            history.trim();
        }
        assert_eq!((history.first(), history.last(), history.len(), history.bytes()), (3, 6, 4, 32));
        let whole = vec![3, 4, 5, 6];
        assert_eq!(seqs(history.since(None)), (2, whole.clone(), None));
        assert_eq!(seqs(history.since(Some(&position("e", 4)))), (4, vec![5, 6], None));
        assert_eq!(seqs(history.since(Some(&position("e", 6)))), (6, vec![], None));
        assert_eq!(seqs(history.since(Some(&position("e", 2)))), (2, whole.clone(), None));
        assert_eq!(seqs(history.since(Some(&position("e", 1)))), (2, whole.clone(), Some(Broken::Trimmed)));
        assert_eq!(seqs(history.since(Some(&position("e", 7)))), (2, whole.clone(), Some(Broken::Ahead)));
        assert_eq!(seqs(history.since(Some(&position("f", 5)))), (2, whole.clone(), Some(Broken::Epoch)));
        assert_eq!(seqs(history.since(Some(&position("e", u64::MAX)))), (2, whole, Some(Broken::Ahead)));
    }

    #[test]
    fn bytes_bound_it_too_and_the_newest_event_stays() {
        let mut history = History::new("e".into(), vec![], 0, HistoryLimits { events: 100, bytes: 20 });
        (1..=5).for_each(|seq| history.push(event(seq)));
        assert!(history.trim());
        assert_eq!((history.first(), history.len()), (4, 2));
        history.push(StoredEvent { seq: 6, at_ms: 0, json: "x".repeat(50).into() });
        assert!(history.trim() && !history.trim());
        assert_eq!((history.first(), history.len(), history.bytes()), (6, 1, 50));
    }
}
