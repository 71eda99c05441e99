//! How much a room, and all rooms together, may hold and do.

use std::time::Duration;

use tokio::time::Instant;

/// The bounds of rooms.
#[derive(Clone, PartialEq, Debug)]
pub struct RoomLimits {
    /// Rooms that are open at once. Default: 1,000.
    pub rooms: usize,
    /// Connections of a room. Default: 256.
    pub members: usize,
    /// Joins of one principal, a second; twice as many in a burst. Default: 50.
    pub joins_per_second: u32,
    /// Events of one connection, a second; twice as many in a burst. Default: 20.
    pub events_per_second: u32,
    /// Faults of one connection before it is closed; one is forgiven every three seconds. Default: 20.
    pub faults: u32,
    /// The longest event of a client, in bytes: 64 KiB, as no more than that may be parsed on a runtime's thread.
    pub event_bytes: usize,
    /// The longest text of a message, in bytes. Default: 16 KiB.
    pub text_bytes: usize,
    /// Pictures of a message. Default: 4.
    pub images: usize,
    /// Messages that wait for the store. Default: 1,024.
    pub waiting: usize,
    /// Questions that wait for the assistant. Default: 8.
    pub questions: usize,
    /// What is kept of the past.
    pub history: HistoryLimits,
    /// The longest answer, in bytes. Default: 64 KiB.
    pub answer_bytes: usize,
    /// The most tokens of an answer. Default: 1,024.
    pub answer_tokens: u32,
    /// How long an answer may take. Default: 10 minutes.
    pub answer_time: Duration,
    /// How much of the conversation the assistant is given, in bytes of text. Default: 12 KiB.
    pub prompt_bytes: usize,
    /// Passages that are looked for, a question. Default: 4.
    pub passages: usize,
    /// How long the search for passages may take. Default: 10 seconds.
    pub search_time: Duration,
    /// How long somebody types who says no more of it. Default: 6 seconds.
    pub typing: Duration,
    /// How long a room stays open that nobody is in. Default: 60 seconds.
    pub idle: Duration,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            rooms: 1000,
            members: 256,
            joins_per_second: 50,
            events_per_second: 20,
            faults: 20,
            event_bytes: 64 << 10,
            text_bytes: 16 << 10,
            images: 4,
            waiting: 1024,
            questions: 8,
            history: HistoryLimits::default(),
            answer_bytes: 64 << 10,
            answer_tokens: 1024,
            answer_time: Duration::from_secs(600),
            prompt_bytes: 12 << 10,
            passages: 4,
            search_time: Duration::from_secs(10),
            typing: Duration::from_secs(6),
            idle: Duration::from_secs(60),
        }
    }
}

/// What is kept of a room's past: the newest events that are within both bounds, and always the newest one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryLimits {
    /// How many events. Default: 1,000.
    pub events: usize,
    /// How many bytes they have. Default: 2 MiB.
    pub bytes: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { events: 1000, bytes: 2 << 20 }
    }
}

/// Something that may be done so many times a second, and so many times at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    left: f64,
    burst: f64,
    per_second: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(burst: u32, per_second: f64, now: Instant) -> Self {
        Self { left: f64::from(burst), burst: f64::from(burst), per_second, at: now }
    }

    /// Whether it may be done now, which then counts; or how long until it may.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        let seconds = (1.0 - self.left) / self.per_second.max(1e-3);
        Err(Duration::from_secs_f64(seconds.clamp(0.001, 3600.0)))
    }

    /// Nothing of it is used: it can be forgotten.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left >= self.burst
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.burst);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate_and_says_how_long_to_wait() {
        let start = Instant::now();
        let mut bucket = Bucket::new(4, 2.0, start);
        assert!((0..4).all(|_| bucket.take(start).is_ok()));
        assert_eq!(bucket.take(start), Err(Duration::from_millis(500)));
        assert!(bucket.take(start + Duration::from_millis(500)).is_ok());
        assert!(bucket.take(start + Duration::from_millis(600)).is_err());
        assert!(!bucket.is_full(start + Duration::from_secs(2)));
        assert!(bucket.is_full(start + Duration::from_secs(3)));
    }
}
