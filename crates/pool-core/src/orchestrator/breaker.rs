//! Whether a model may be loaded now: breaker and backoff in one machine per group, pure, with the clock handed in.
//!
//! - A *load* that fails opens the breaker for a backoff: whatever made it fail (a missing file, too little memory)
//!   would make the next one fail.
//! - A *death* of a worker delays its replacement by a backoff, no more: the others go on, and one bad moment is no
//!   reason to refuse anybody. The third death within a minute opens the breaker. A death that convicts a job is the
//!   job's fault and counts for nothing; see [`Breaker::on_conviction`].
//! - When the backoff is over, one trial load is permitted. Its success closes the breaker, its failure opens it for
//!   longer. A breaker closed by a trial is on probation for a minute: any failure opens it again at once.
//! - Backoffs grow from failure to failure up to a maximum, and start anew after a minute without any.
//!   Failures that come while a backoff runs have the same cause as the one that began it, and do not lengthen it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

#[cfg(test)]
mod tests;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct BreakerConfig {
    /// The backoff after the first failure.
    pub(crate) first_backoff: Duration,
    /// No backoff is longer.
    pub(crate) max_backoff: Duration,
    /// By how much each backoff is longer than the one before.
    pub(crate) factor: u32,
    /// The greatest part by which chance lengthens a backoff.
    pub(crate) jitter: f64,
    /// Deaths within the window that open the breaker.
    pub(crate) failures_to_open: usize,
    /// For how long a death counts, and for how long all must go well for past failures to be forgotten.
    pub(crate) window: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            first_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(5 * 60),
            factor: 2,
            jitter: 0.1,
            failures_to_open: 3,
            window: Duration::from_secs(60),
        }
    }
}

/// Whether a model may be loaded.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BreakerState {
    /// It may.
    #[default]
    Closed,
    /// It failed, and may not before its backoff is over.
    Open,
    /// The backoff is over, and one trial is under way.
    HalfOpen,
}

impl BreakerState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The name as metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// What failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// The model could not be loaded.
    Load,
    /// A worker that had it loaded died.
    Death,
}

/// Whether a load may begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Permit {
    /// It may.
    Yes,
    /// It may, and it alone: what becomes of it must be told, by `on_success`, `on_failure` or `on_abandoned`.
    Trial,
    /// It may not before that moment.
    No { until: Instant },
}

/// The breaker of one group.
#[derive(Clone, Debug)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    state: State,
    /// Failures since the last quiet window: how often the backoff has grown.
    strikes: u32,
    /// It has opened since the last quiet window.
    probation: bool,
    deaths: VecDeque<Instant>,
    /// Nothing has failed since; `None` where nothing has succeeded since the last failure either.
    quiet_since: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Loads may begin, replacements of the dead not before `replace_at`.
    Closed {
        replace_at: Option<Instant>,
    },
    Open {
        until: Instant,
    },
    /// One trial is out.
    HalfOpen,
}

impl Breaker {
    pub(crate) const fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            state: State::Closed { replace_at: None },
            strikes: 0,
            probation: false,
            deaths: VecDeque::new(),
            quiet_since: None,
        }
    }

    /// Whether a load may begin now. [`Permit::Trial`] is given once until its end is told.
    pub(crate) fn permit(&mut self, now: Instant) -> Permit {
        match self.state {
            State::Closed { replace_at: Some(until) } if now < until => Permit::No { until },
            State::Closed { .. } => Permit::Yes,
            State::Open { until } if now < until => Permit::No { until },
            State::Open { .. } => {
                self.state = State::HalfOpen;
                Permit::Trial
            }
            // Nobody knows when the trial will end; this is when to ask again.
            State::HalfOpen => Permit::No { until: now + self.config.first_backoff },
        }
    }

    /// A load has succeeded.
    pub(crate) fn on_success(&mut self, now: Instant) {
        self.forget_if_quiet(now);
        match self.state {
            State::HalfOpen => self.state = State::Closed { replace_at: None },
            // A load that began before the breaker opened proves nothing about the next.
            State::Open { .. } => return,
            State::Closed { .. } => {}
        }
        self.quiet_since.get_or_insert(now);
    }

    /// Something has failed. `chance` is a random number from 0 to 1, for the jitter.
    pub(crate) fn on_failure(&mut self, failure: Failure, now: Instant, chance: f64) {
        self.forget_if_quiet(now);
        if failure == Failure::Death {
            self.deaths.push_back(now);
        }
        self.forget_old_deaths(now);
        let backing_off = match self.state {
            State::Open { .. } => return,
            State::Closed { replace_at } => replace_at.filter(|until| now < *until),
            State::HalfOpen => None,
        };
        if backing_off.is_none() {
            self.strikes = self.strikes.saturating_add(1);
        }
        let until = backing_off.unwrap_or(now).max(now + self.backoff(chance));
        let opens = failure == Failure::Load
            || self.state == State::HalfOpen
            || self.probation
            || self.deaths.len() >= self.config.failures_to_open;
        if opens {
            self.probation = true;
            self.quiet_since = None;
            self.state = State::Open { until };
        } else {
            self.quiet_since = Some(now);
            self.state = State::Closed { replace_at: Some(until) };
        }
    }

    /// A worker has died of a job that was alone, and the job is convicted. The death that made it suspect was its doing
    /// as well: it is taken back, and the dead are replaced at once. A trial that ends so has succeeded: the model loads.
    pub(crate) fn on_conviction(&mut self, now: Instant) {
        self.deaths.pop_back();
        self.strikes = self.strikes.saturating_sub(1);
        match self.state {
            State::HalfOpen => self.on_success(now),
            State::Closed { .. } => self.state = State::Closed { replace_at: None },
            State::Open { .. } => {}
        }
    }

    /// The trial was called off before it could show anything (an eviction, a shutdown): the next may be one at once.
    pub(crate) fn on_abandoned(&mut self, now: Instant) {
        if self.state == State::HalfOpen {
            self.state = State::Open { until: now };
        }
    }

    /// Whether loads are refused, but for a trial.
    pub(crate) const fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// As others see it.
    pub(crate) const fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen => BreakerState::HalfOpen,
        }
    }

    /// What to tell a caller who is refused because the breaker is open; `None` while it is closed.
    pub(crate) fn retry_after(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until } => Some(until.saturating_duration_since(now)),
            State::HalfOpen => Some(self.config.first_backoff),
        }
    }

    /// The backoff after as many failures as there were.
    fn backoff(&self, chance: f64) -> Duration {
        let mut backoff = self.config.first_backoff;
        for _ in 1..self.strikes {
            backoff = backoff.saturating_mul(self.config.factor.max(1));
            if backoff >= self.config.max_backoff {
                break;
            }
        }
        let backoff = backoff.min(self.config.max_backoff);
        let part = self.config.jitter * chance;
        let part = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
        (backoff + backoff.mul_f64(part)).min(self.config.max_backoff)
    }

    /// After a window without failures the past is forgotten.
    fn forget_if_quiet(&mut self, now: Instant) {
        let lasted =
            self.quiet_since.is_some_and(|since| now.saturating_duration_since(since) >= self.config.window);
        if lasted && !self.is_open() {
            self.strikes = 0;
            self.probation = false;
        }
    }

    fn forget_old_deaths(&mut self, now: Instant) {
        while self.deaths.front().is_some_and(|at| now.saturating_duration_since(*at) >= self.config.window) {
            self.deaths.pop_front();
        }
    }
}
