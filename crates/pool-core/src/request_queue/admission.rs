//! Whether a job is let in: by count, by cost, and by whether it could be answered in time.

use std::time::Duration;

use crate::error::{Excess, Overload};
use crate::types::{Bytes, Cost, Tokens};

/// How much a queue holds. Jobs count from acceptance to their end, so leased ones count too.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct QueueLimits {
    /// Accepted and unfinished jobs.
    pub jobs: usize,
    /// What accepted and unfinished jobs cost together.
    pub cost: Cost,
    /// The longest an answer may be expected to take by the measured rate, the last of a list's answers for a list;
    /// longer, and it is refused at once. A job by itself that nothing is ahead of is let in however long it takes: it
    /// could not be answered sooner. `None`: any wait is accepted unless the job's own deadline forbids it.
    pub max_wait: Option<Duration>,
}

impl Default for QueueLimits {
    /// 1,024 jobs of 256 MiB in all, answered within 30 s as far as one can tell.
    fn default() -> Self {
        Self {
            jobs: 1024,
            cost: Cost { tokens: Tokens::MAX, bytes: Bytes(256 << 20) },
            max_wait: Some(Duration::from_secs(30)),
        }
    }
}

/// What a queue holds when somebody knocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occupancy {
    /// Accepted and unfinished.
    pub(crate) jobs: usize,
    /// What those cost.
    pub(crate) cost: Cost,
    /// Tokens that would be computed before the newcomer's.
    pub(crate) ahead: Tokens,
    /// Tokens the group computes in a second, if measured.
    pub(crate) tokens_per_second: Option<f64>,
}

/// Somebody who knocks: one job or a list that is let in whole or not at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer {
    /// Callers that will wait for an answer.
    pub(crate) tickets: usize,
    /// Jobs that it adds: fewer where some join equal ones that are there already.
    pub(crate) jobs: usize,
    /// What those jobs cost.
    pub(crate) cost: Cost,
    /// Time left until its deadline.
    pub(crate) allowed: Option<Duration>,
}

/// Why a newcomer is refused.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Refusal {
    /// It would not even fit into an empty queue.
    TooLarge(Excess),
    /// Not now.
    Overloaded { why: Overload, retry_after: Duration },
}

/// Before anything was measured nobody can know, and this is how long a refused caller is told to wait: a fair guess.
const UNMEASURED_RETRY: Duration = Duration::from_secs(1);
/// Nobody is told to come back sooner, or later.
const RETRY_RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(600));

/// Decides on a newcomer. An unmeasured model never refuses on time.
pub(crate) fn admit(limits: &QueueLimits, held: &Occupancy, new: &Newcomer) -> Result<(), Refusal> {
    if let Some(excess) = excess(limits, new) {
        return Err(Refusal::TooLarge(excess));
    }
    let total = held.cost + new.cost;
    if held.jobs + new.tickets > limits.jobs {
        let excess = (held.jobs + new.tickets - limits.jobs) as f64 / held.jobs.max(1) as f64;
        let retry_after = clear_time(held, excess);
        return Err(Refusal::Overloaded { why: Overload::Jobs { limit: limits.jobs }, retry_after });
    }
    if !total.fits(&limits.cost) {
        let part =
            |total: u64, limit: u64, held: u64| total.saturating_sub(limit) as f64 / held.max(1) as f64;
        let excess = part(total.tokens.get(), limits.cost.tokens.get(), held.cost.tokens.get()).max(part(
            total.bytes.get(),
            limits.cost.bytes.get(),
            held.cost.bytes.get(),
        ));
        let retry_after = clear_time(held, excess);
        return Err(Refusal::Overloaded { why: Overload::Cost { limit: limits.cost }, retry_after });
    }
    let Some(rate) = held.tokens_per_second else {
        return Ok(());
    };
    if new.jobs == 0 {
        // What it joins is on its way already.
        return Ok(());
    }
    let wait = seconds(held.ahead.get() as f64 / rate);
    let alone = seconds(new.cost.tokens.get() as f64 / rate);
    let Some(allowed) = [limits.max_wait, new.allowed].into_iter().flatten().min() else {
        return Ok(());
    };
    if new.jobs > 1 && alone > allowed {
        // Coming back later would not help. Sending less would, and so would more time, if only its own is too short.
        return Err(Refusal::TooLarge(match limits.max_wait {
            Some(most) if alone > most => Excess::Time { expected: alone, allowed: most },
            _ => Excess::Deadline { expected: alone, allowed },
        }));
    }
    let expected = wait.saturating_add(alone);
    if held.ahead == Tokens::ZERO || expected <= allowed {
        // With nothing ahead it is computed at once; coming back later could not be better.
        return Ok(());
    }
    Err(Refusal::Overloaded {
        why: Overload::Wait { expected, allowed },
        // Once what is ahead has been computed, waiting longer does not help.
        retry_after: in_range(expected.saturating_sub(allowed).min(wait)),
    })
}

/// When memory for inputs that lacks now should be there: as soon as this queue has computed as much of what it holds.
/// What others hold, nobody here can foresee; if that is all, a second is a fair guess.
pub(crate) fn memory_retry(held: &Occupancy, lacking: Bytes) -> Duration {
    if held.cost.bytes == Bytes::ZERO {
        return UNMEASURED_RETRY;
    }
    clear_time(held, lacking.get() as f64 / held.cost.bytes.get() as f64)
}

/// What would not fit into an empty queue.
fn excess(limits: &QueueLimits, new: &Newcomer) -> Option<Excess> {
    let (Cost { tokens, bytes }, limit) = (new.cost, limits.cost);
    if new.tickets > limits.jobs {
        Some(Excess::Jobs { jobs: new.tickets, limit: limits.jobs })
    } else if tokens > limit.tokens {
        Some(Excess::Tokens { tokens, limit: limit.tokens })
    } else if bytes > limit.bytes {
        Some(Excess::Bytes { bytes, limit: limit.bytes })
    } else {
        None
    }
}

/// When this part of what is held will have been computed.
fn clear_time(held: &Occupancy, part: f64) -> Duration {
    match held.tokens_per_second {
        None => UNMEASURED_RETRY,
        Some(rate) => in_range(seconds(held.cost.tokens.get() as f64 * part.min(1.0) / rate)),
    }
}

fn in_range(duration: Duration) -> Duration {
    duration.clamp(RETRY_RANGE.0, RETRY_RANGE.1)
}

fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)
}

/// Tokens a worker computes in a second, as an average that forgets: each step weighs by the time it took.
///
/// What a worker can do shows only while work waits for it: a lone short job takes a step of its own, which says how long a
/// step takes and nothing of how much would have gone into it.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Rate {
    /// Steps that left work waiting.
    pressed: Average,
    /// Every step.
    any: Average,
}

#[derive(Clone, Copy, Default, Debug)]
struct Average {
    tokens: f64,
    seconds: f64,
    /// Seconds of steps since then in which no job ended. A job's tokens are told when it ends, and are those of all its
    /// steps.
    unended: f64,
}

/// Steps that lie this much computing time back weigh a half.
const HALF_LIFE_SECONDS: f64 = 10.0;

impl Rate {
    /// A worker computed so many tokens in so much time. `pressed`: more waited all the while.
    pub(crate) fn record(&mut self, tokens: Tokens, elapsed: Duration, pressed: bool) {
        self.any.record(tokens, elapsed);
        if pressed {
            self.pressed.record(tokens, elapsed);
        }
    }

    /// Tokens a second; `None` before anything was computed while more waited.
    pub(crate) fn per_second(&self) -> Option<f64> {
        let pressed = self.pressed.per_second()?;
        Some(self.any.per_second().map_or(pressed, |any| any.max(pressed)))
    }
}

impl Average {
    fn record(&mut self, tokens: Tokens, elapsed: Duration) {
        let elapsed = self.unended + elapsed.as_secs_f64();
        if tokens == Tokens::ZERO {
            self.unended = elapsed;
            return;
        }
        self.unended = 0.0;
        let keep = 0.5_f64.powf(elapsed / HALF_LIFE_SECONDS);
        self.tokens = self.tokens * keep + tokens.get() as f64;
        self.seconds = self.seconds * keep + elapsed;
    }

    fn per_second(&self) -> Option<f64> {
        (self.tokens > 0.0 && self.seconds > 0.0).then(|| self.tokens / self.seconds)
    }
}
