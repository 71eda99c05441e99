use std::time::Duration;

use pool_core::{Room, Tokens};

/// How many steps' worth of work may be under way: one that goes on and one that is ready behind it.
const AHEAD: f64 = 2.0;
/// Tokens of the first steps, before anything was measured.
const FIRST: f64 = 256.0;
/// The least: two pictures of a large tower.
const LEAST: f64 = 256.0;
/// The most that the model's working set has room for.
const MOST: f64 = super::embedding::WORKING_TOKENS as f64 / AHEAD;
/// A newer measurement weighs this much against all before it.
const WEIGHT: f64 = 0.3;

/// How many tokens a step's time suffices for, from how long the last ones took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    tokens: f64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { tokens: FIRST }
    }

    /// So many tokens took so long, from patches or tokens to vectors.
    pub(super) fn learn(&mut self, tokens: usize, took: Duration, step: Duration) {
        if took.is_zero() {
            return;
        }
        let aimed = tokens as f64 * step.as_secs_f64() / took.as_secs_f64();
        self.tokens = (self.tokens * (1.0 - WEIGHT) + aimed * WEIGHT).clamp(LEAST, MOST);
    }

    /// Room for more, where so many jobs of so many tokens are under way.
    pub(super) fn room(&self, jobs: usize, tokens: usize) -> Room {
        match (self.tokens * AHEAD) as usize {
            most if tokens < most => Room::new(most - tokens, Tokens((most - tokens) as u64)),
            // A large picture alone may be overtaken by one that is more urgent.
            _ if jobs == 1 => Room::jobs(1),
            _ => Room::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_model_gets_fewer_tokens_and_a_fast_one_more() {
        let step = Duration::from_millis(200);
        let (mut slow, mut fast) = (Pace::new(), Pace::new());
        for _ in 0..30 {
            slow.learn(257, Duration::from_secs(2), step);
            fast.learn(50, Duration::from_millis(5), step);
        }
        assert_eq!(slow.room(0, 0).tokens, Tokens(512));
        assert_eq!(fast.room(0, 0).tokens, Tokens(1024));
        assert_eq!(fast.room(20, 1000).tokens, Tokens(24));
        assert_eq!(fast.room(2, 1024), Room::NONE);
        assert_eq!((slow.room(1, 9000), slow.room(2, 9000)), (Room::jobs(1), Room::NONE));
    }
}
