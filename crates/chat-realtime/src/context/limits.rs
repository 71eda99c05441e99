use std::time::Duration;

/// How much is read and kept of folders that are watched, and how soon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContextLimits {
    /// Files that are kept account of; those beyond are counted as left out. Default: 20,000.
    pub files: usize,
    /// The longest file that is read, in bytes. Default: 1 MiB.
    pub file_bytes: u32,
    /// The longest passage, in bytes; at least 16. Default: 1,000, which embedding models read whole.
    pub passage_bytes: usize,
    /// What passages, vectors and the account of files may take in memory, in bytes. Default: 256 MiB.
    pub index_bytes: usize,
    /// Passages that are embedded in one go. Default: 32.
    pub batch: usize,
    /// Changes are looked at when there have been no others for so long, or ten times as long after the first. Default: 200 ms.
    pub debounce: Duration,
    /// Everything is looked at again after so long, whatever the system has told. Default: 10 minutes.
    pub rescan: Duration,
    /// The same where not all folders can be watched, and how soon a folder that has gone is looked for. Default: 5 s.
    pub poll: Duration,
    /// Changes that may wait to be noted. With more than that at a time, everything is looked at again. Default: 1,024.
    pub events: usize,
}

impl Default for ContextLimits {
    fn default() -> Self {
        Self {
            files: 20_000,
            file_bytes: 1 << 20,
            passage_bytes: 1000,
            index_bytes: 256 << 20,
            batch: 32,
            debounce: Duration::from_millis(200),
            rescan: Duration::from_secs(600),
            poll: Duration::from_secs(5),
            events: 1024,
        }
    }
}

/// As good as never.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl ContextLimits {
    /// The same with whatever cannot work made what can: no clock reaches to the end of all durations.
    pub(super) fn at_least_workable(mut self) -> Self {
        self.passage_bytes = self.passage_bytes.max(16);
        self.batch = self.batch.max(1);
        self.events = self.events.clamp(1, 1 << 20);
        self.debounce = self.debounce.min(Duration::from_secs(60));
        self.poll = self.poll.clamp(Duration::from_millis(10), LONGEST);
        self.rescan = self.rescan.clamp(self.poll, LONGEST);
        self
    }
}
