use std::time::Duration;

use pool_core::{Room, Tokens};
use tokio::time::Instant;

/// How long a step should take: late arrivals, cancelled jobs and other models wait no longer than this.
const STEP: Duration = Duration::from_millis(200);
/// Tokens of the first step, before anything was measured: 200 ms for a small encoder on two cores.
const FIRST: f64 = 512.0;
/// The least: below this, products of matrices get slow for want of rows.
const LEAST: f64 = 128.0;
/// The most: beyond this, nothing gets faster, and activations take memory.
const MOST: f64 = 4096.0;
/// A newer measurement weighs this much against all before it.
const WEIGHT: f64 = 0.3;

/// How many tokens the next step may take, from how long the last ones took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    tokens: f64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { tokens: FIRST }
    }

    /// Runs a step of so many tokens and learns from its time.
    pub(super) fn time<T>(&mut self, tokens: usize, step: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let outcome = step();
        self.learn(tokens, started.elapsed());
        outcome
    }

    fn learn(&mut self, tokens: usize, took: Duration) {
        // A step of a few tokens says little of how long many take.
        if (tokens as f64) < LEAST / 2.0 || took.is_zero() {
            return;
        }
        let aimed = tokens as f64 * STEP.as_secs_f64() / took.as_secs_f64();
        self.tokens = (self.tokens * (1.0 - WEIGHT) + aimed * WEIGHT).clamp(LEAST, MOST);
    }

    /// Room for the next step.
    pub(super) fn room(&self) -> Room {
        // Short inputs: as many jobs as there could be tokens, each at least its two special ones and one of text.
        Room::new((self.tokens / 3.0) as usize, Tokens(self.tokens as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_model_gets_fewer_tokens_and_a_fast_one_more() {
        let mut slow = Pace::new();
        let mut fast = Pace::new();
        for _ in 0..20 {
            slow.learn(512, Duration::from_secs(2));
            fast.learn(512, Duration::from_millis(1));
        }
        assert_eq!(slow.room().tokens, Tokens(128));
        assert_eq!(fast.room().tokens, Tokens(4096));
        let before = fast.room();
        fast.learn(3, Duration::from_secs(1));
        assert_eq!(fast.room(), before);
    }
}
