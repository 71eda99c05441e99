//! The end of the server: what begins it, who is waited for, and the report of it.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use pool_core::{Counts, DrainReport};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Whether the server is going down, and the requests that must have their answers first. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    begun: watch::Sender<bool>,
    requests: TaskTracker,
}

impl Drain {
    pub(crate) fn new() -> Self {
        Self { begun: watch::Sender::new(false), requests: TaskTracker::new() }
    }

    pub(crate) fn has_begun(&self) -> bool {
        *self.begun.borrow()
    }

    /// A request that is waited for until this is dropped; `None` if it came too late.
    pub(crate) fn hold(&self) -> Option<TaskTrackerToken> {
        if self.has_begun() {
            return None;
        }
        let held = self.requests.token();
        // Between the look and the hold, the drain may have found nobody to wait for.
        (!self.has_begun()).then_some(held)
    }

    /// Requests that have no answer yet.
    #[cfg(test)]
    pub(crate) fn requests(&self) -> usize {
        self.requests.len()
    }

    /// From now on, new work is refused.
    pub(crate) fn begin(&self) {
        self.begun.send_replace(true);
        self.requests.close();
    }

    /// Waits for the requests that were not refused, for so long at most.
    pub(crate) async fn finish(&self, within: Duration) {
        if tokio::time::timeout(within, self.requests.wait()).await.is_err() {
            tracing::warn!(
                requests = self.requests.len(),
                "requests are still unanswered at the drain's deadline"
            );
        }
    }
}

/// The signals that end the server.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the signals over from the system, which would end the process at once.
    ///
    /// # Errors
    ///
    /// The system does not give them.
    #[cfg(unix)]
    pub(crate) fn take() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Takes the signals over from the system, which would end the process at once.
    ///
    /// # Errors
    ///
    /// The system does not give them.
    #[cfg(not(unix))]
    pub(crate) fn take() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next one.
    ///
    /// # Cancel safety
    ///
    /// A signal that comes meanwhile is told by the next call.
    pub(crate) async fn next(&mut self) -> &'static str {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
        #[cfg(not(unix))]
        {
            // Without console there is no signal to wait for.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            "Ctrl-C"
        }
    }
}

/// The report's line: `accepted = completed + cancelled + expired + failed`, of all models and of each.
#[derive(Serialize)]
struct ReportLine<'a> {
    event: &'static str,
    #[serde(flatten)]
    total: ReportCounts,
    took_seconds: f64,
    deadline_passed: bool,
    lost_threads: usize,
    models: BTreeMap<&'a str, ReportCounts>,
}

#[derive(Serialize)]
struct ReportCounts {
    accepted: u64,
    completed: u64,
    cancelled: u64,
    expired: u64,
    failed: u64,
    refused: u64,
}

impl From<Counts> for ReportCounts {
    fn from(counts: Counts) -> Self {
        let Counts { accepted, completed, cancelled, expired, failed, refused } = counts;
        Self { accepted, completed, cancelled, expired, failed, refused }
    }
}

/// A drain's report as one line of JSON. The whole drain took so long, the wait for requests included.
pub(crate) fn report_line(report: &DrainReport, took: Duration) -> String {
    let line = ReportLine {
        event: "drained",
        total: report.total.into(),
        took_seconds: took.as_secs_f64(),
        deadline_passed: report.deadline_passed,
        lost_threads: report.lost_threads,
        models: report.models.iter().map(|model| (model.model.as_str(), model.counts.into())).collect(),
    };
    serde_json::to_string(&line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_one_line_with_every_count() {
        let total = Counts { accepted: 10, completed: 4, cancelled: 3, expired: 2, failed: 1, refused: 5 };
        let models = vec![pool_core::ModelReport { model: "a\nb".into(), counts: total }];
        let report = DrainReport { total, models, ..DrainReport::default() };
        let line = report_line(&report, Duration::from_millis(1500));
        assert!(!line.contains('\n'));
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["event"], &read["took_seconds"]), (&"drained".into(), &1.5.into()));
        for (name, count) in [
            ("accepted", 10),
            ("completed", 4),
            ("cancelled", 3),
            ("expired", 2),
            ("failed", 1),
            ("refused", 5),
        ] {
            assert_eq!(read[name], count);
            assert_eq!(read["models"]["a\nb"][name], count);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_what_it_did_not_refuse() {
        let drain = Drain::new();
        let held = drain.hold();
        assert!(held.is_some());
        drain.begin();
        assert!(drain.hold().is_none());
        assert!(drain.has_begun());
        let waited =
            tokio::time::timeout(Duration::from_secs(1), drain.finish(Duration::from_secs(60))).await;
        assert!(waited.is_err(), "it did not wait");
        drop(held);
        drain.finish(Duration::from_secs(60)).await;
    }
}
