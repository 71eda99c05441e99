//! What callers do, and what they themselves saw become of it.

use pool_core::{Counts, DrainReport, Error, Group, JobOptions};

use crate::scripted::{Scripted, ask};

/// How the tickets of some callers ended.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Seen {
    pub(crate) completed: u64,
    pub(crate) expired: u64,
    pub(crate) failed: u64,
    pub(crate) refused: u64,
    pub(crate) dropped: u64,
}

impl Seen {
    pub(crate) fn note(&mut self, end: Result<u32, Error>, id: u32) {
        match end {
            Ok(answer) => {
                assert_eq!(answer, id, "each caller gets its own answer");
                self.completed += 1;
            }
            Err(Error::DeadlineExceeded { .. }) => self.expired += 1,
            Err(Error::Lost) => panic!("an answer was lost"),
            Err(_) => self.failed += 1,
        }
    }

    pub(crate) fn add(mut self, other: Self) -> Self {
        self.completed += other.completed;
        self.expired += other.expired;
        self.failed += other.failed;
        self.refused += other.refused;
        self.dropped += other.dropped;
        self
    }

    /// The engine's account equals the callers': a dropped ticket counts as cancelled, or as whatever its job had come to
    /// a moment before.
    pub(crate) fn assert_equals(&self, report: &DrainReport) {
        let Counts { accepted, completed, cancelled, expired, failed, refused } = report.total;
        assert_eq!(accepted, completed + cancelled + expired + failed, "every accepted job has one end");
        assert_eq!(accepted, self.completed + self.expired + self.failed + self.dropped);
        assert_eq!(refused, self.refused);
        assert!(completed >= self.completed && completed <= self.completed + self.dropped);
        assert!(expired >= self.expired && failed >= self.failed && cancelled <= self.dropped);
    }

    /// As [`Seen::assert_equals`], where callers went on after the report was made: what was refused since is not in it.
    pub(crate) fn assert_equals_but_for_late(&self, report: &DrainReport) {
        assert!(self.refused >= report.total.refused);
        Self { refused: report.total.refused, ..*self }.assert_equals(report);
    }
}

/// Submits some jobs, drops every third ticket at some moment, awaits the rest.
pub(crate) async fn caller(group: Group<Scripted>, base: u32) -> Seen {
    let mut seen = Seen::default();
    let mut held = Vec::new();
    for id in base..base + 3 {
        match group.try_submit(ask(id), JobOptions::default()) {
            Ok(ticket) if id % 3 == 2 => held.push((id, None, Some(ticket))),
            Ok(ticket) => held.push((id, Some(ticket), None)),
            Err(_) => seen.refused += 1,
        }
    }
    for (id, awaited, dropped) in held {
        if dropped.is_some() {
            tokio::task::yield_now().await;
            seen.dropped += 1;
            drop(dropped);
        }
        if let Some(ticket) = awaited {
            seen.note(ticket.await, id);
        }
    }
    seen
}
