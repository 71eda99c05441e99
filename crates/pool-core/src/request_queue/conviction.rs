//! Inputs that killed a worker while they ran alone: refused for a while, so that they cannot do it again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::types::Fingerprint;

/// How long a convicted input is refused.
pub(crate) const SENTENCE: Duration = Duration::from_secs(600);
/// So many are remembered at most; past that the oldest is forgotten first.
const REMEMBERED: usize = 1024;

/// The convicted inputs of one model.
#[derive(Default, Debug)]
pub(crate) struct Convictions {
    until: HashMap<Fingerprint, Instant>,
    order: VecDeque<(Instant, Fingerprint)>,
}

impl Convictions {
    pub(crate) fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    pub(crate) fn convict(&mut self, input: Fingerprint, now: Instant) {
        self.forget(now);
        if self.order.len() >= REMEMBERED {
            self.forget_oldest();
        }
        let until = now + SENTENCE;
        self.until.insert(input, until);
        self.order.push_back((until, input));
    }

    /// How long this input stays refused; `None` if it is not.
    pub(crate) fn remaining(&mut self, input: Fingerprint, now: Instant) -> Option<Duration> {
        self.forget(now);
        self.until.get(&input).map(|until| until.saturating_duration_since(now))
    }

    fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((until, input)) = self.order.pop_front() {
            // A later conviction of the same input has its own entry.
            if self.until.get(&input) == Some(&until) {
                self.until.remove(&input);
            }
        }
    }
}
