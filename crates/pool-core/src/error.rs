//! Everything that can become of a job besides an output.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::compute::ComputeError;
use crate::types::{Bytes, Cost, ModelId, Tokens};

/// A cause that many waiters can share.
pub(crate) type SharedCause = Arc<dyn std::error::Error + Send + Sync + 'static>;

/// Why a job was refused, or how it ended without an output. Variants differ by what the caller can do.
///
/// Cloning is cheap: callers whose jobs were joined receive the same error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Refused at the door: there is no room, or the answer could not come in time. Nothing was computed; try again
    /// after `retry_after`.
    #[error("model {model} is overloaded: {why}; retry in {} s", retry_after.as_secs_f64().ceil())]
    Overloaded {
        /// The model asked for.
        model: ModelId,
        /// Which limit was met.
        why: Overload,
        /// When there should be room, from the queue's own measured rate.
        retry_after: Duration,
    },
    /// The request can never be served as it is: it is larger than the queue's whole limit.
    #[error("request is too large for model {model}: {why}; send less at once")]
    TooLarge {
        /// The model asked for.
        model: ModelId,
        /// Which of the queue's whole limits it exceeds, and by how much.
        why: Excess,
    },
    /// The model cannot take this input; the message says why. Sending it again will not help.
    #[error("{message}")]
    Invalid {
        /// What is wrong with the input, and what would be right.
        message: Arc<str>,
    },
    /// The same input brought down a worker a short while ago, by a panic or by hanging, and is refused for now.
    #[error("this input made model {model} crash or hang before and is refused for another {} s", retry_after.as_secs())]
    Convicted {
        /// The model asked for.
        model: ModelId,
        /// How long it stays refused.
        retry_after: Duration,
    },
    /// The deadline passed before the answer was there.
    #[error("deadline passed before model {model} answered; allow more time or send less")]
    DeadlineExceeded {
        /// The model asked for.
        model: ModelId,
    },
    /// The job was cancelled by whoever submitted it.
    #[error("the job was cancelled")]
    Cancelled,
    /// The model failed on this job.
    #[error("model {model} failed: {cause}")]
    Failed {
        /// The model asked for.
        model: ModelId,
        /// What went wrong.
        cause: SharedCause,
    },
    /// A worker died while it held this job, and the job could not be retried or died alone too.
    #[error("model {model} crashed on this job: {message}")]
    Crashed {
        /// The model asked for.
        model: ModelId,
        /// What the panic said.
        message: Arc<str>,
    },
    /// The model's step did not return in time; its worker was given up.
    #[error("model {model} did not respond for {} s; its worker was replaced", after.as_secs())]
    Unresponsive {
        /// The model asked for.
        model: ModelId,
        /// How long the step was waited for.
        after: Duration,
    },
    /// The caller did not read its events for too long.
    #[error("events were not read for {} s, so the job was ended; read faster or ask for a larger buffer", after.as_secs())]
    SlowConsumer {
        /// How long nothing was read.
        after: Duration,
    },
    /// The model could not be brought into memory.
    #[error("model {model} could not be loaded: {cause}")]
    LoadFailed {
        /// The model asked for.
        model: ModelId,
        /// What went wrong.
        cause: SharedCause,
        /// When it will be tried again.
        retry_after: Duration,
    },
    /// The model failed too often and rests until its next trial.
    #[error("model {model} is unavailable after repeated failures; retry in {} s", retry_after.as_secs_f64().ceil())]
    Unavailable {
        /// The model asked for.
        model: ModelId,
        /// When the next trial is.
        retry_after: Duration,
    },
    /// The engine is shutting down and takes no more work, or the drain's deadline left this job over.
    #[error("shutting down: no more work is taken; send it to another instance or retry after the restart")]
    ShuttingDown,
    /// There is no tokio runtime here.
    #[error("no tokio runtime: call this from within one, for example under #[tokio::main]")]
    NoRuntime,
    /// This tokio runtime has no timer, and nothing here works without one.
    #[error("this tokio runtime has no timer: build it with enable_time() or enable_all()")]
    NoTimer,
    /// A model group cannot be run as it is configured.
    #[error("model {model} cannot be run like this: {message}")]
    InvalidConfig {
        /// The group's name.
        model: ModelId,
        /// What is wrong, and what would be right.
        message: Arc<str>,
    },
    /// The model was taken out of the engine.
    #[error("model {model} was removed; ask for another, or add it again")]
    Removed {
        /// The model asked for.
        model: ModelId,
    },
    /// A model with this name is there already.
    #[error("a model named {model} is there already; choose another name")]
    DuplicateModel {
        /// The name taken.
        model: ModelId,
    },
    /// The job's answer was lost: a defect in this crate, reported rather than waited on forever.
    #[error("the answer was lost: a defect of the scheduler; please report it")]
    Lost,
}

impl Error {
    /// What a lane says of work that was done there for a job.
    pub(crate) fn of_lane(model: &ModelId, error: &ComputeError) -> Self {
        let model = model.clone();
        match error {
            ComputeError::Unresponsive { after } => Self::Unresponsive { model, after: *after },
            ComputeError::Gone => Self::ShuttingDown,
            other => Self::Failed { model, cause: Arc::new(other.clone()) },
        }
    }

    /// How long to wait before trying again, where that can help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after, .. }
            | Self::Convicted { retry_after, .. }
            | Self::LoadFailed { retry_after, .. }
            | Self::Unavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// The same as it is told at this moment, where trying again helps from some other moment on.
    pub(crate) fn at(&self, until: Option<Instant>, now: Instant) -> Self {
        let mut error = self.clone();
        if let (Self::LoadFailed { retry_after, .. } | Self::Unavailable { retry_after, .. }, Some(until)) =
            (&mut error, until)
        {
            *retry_after = until.saturating_duration_since(now);
        }
        error
    }
}

/// Which of a queue's whole limits a request exceeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Excess {
    /// A list of more jobs than the queue holds.
    Jobs {
        /// Jobs in the list.
        jobs: usize,
        /// What the queue holds in all.
        limit: usize,
    },
    /// It asks to compute more than the queue holds.
    Tokens {
        /// What it asks, by estimate.
        tokens: Tokens,
        /// What the queue holds in all.
        limit: Tokens,
    },
    /// Its input is larger than the queue holds.
    Bytes {
        /// The input's size.
        bytes: Bytes,
        /// What the queue holds in all.
        limit: Bytes,
    },
    /// Its jobs together would take longer than the queue allows, even if nothing were ahead of them.
    Time {
        /// How long they would take, by the measured rate.
        expected: Duration,
        /// How long they may take.
        allowed: Duration,
    },
    /// Its jobs together would miss the caller's own deadline, even if nothing were ahead of them.
    Deadline {
        /// How long they would take, by the measured rate.
        expected: Duration,
        /// Time left until the deadline.
        allowed: Duration,
    },
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs { jobs, limit } => write!(f, "it has {jobs} inputs, the queue takes at most {limit}"),
            Self::Tokens { tokens, limit } => write!(f, "it needs {tokens}, the queue takes at most {limit}"),
            Self::Bytes { bytes, limit } => write!(f, "it has {bytes}, the queue takes at most {limit}"),
            Self::Time { expected, allowed } => write!(
                f,
                "it would take {:.1} s by itself, {:.1} s are allowed",
                expected.as_secs_f64(),
                allowed.as_secs_f64()
            ),
            Self::Deadline { expected, allowed } => write!(
                f,
                "it would take {:.3} s by itself, its deadline is in {:.3} s",
                expected.as_secs_f64(),
                allowed.as_secs_f64()
            ),
        }
    }
}

/// Which limit refused a job.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Overload {
    /// So many jobs are accepted and unfinished already.
    Jobs {
        /// The queue's limit.
        limit: usize,
    },
    /// The accepted and unfinished jobs cost so much already.
    Cost {
        /// The queue's limit.
        limit: Cost,
    },
    /// The answer would come later than the caller or the queue allows.
    Wait {
        /// When the answer would have come.
        expected: Duration,
        /// How long it may take.
        allowed: Duration,
    },
    /// The memory budget has no room for the input.
    Memory,
}

impl fmt::Display for Overload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs { limit } => write!(f, "{limit} jobs are waiting or running, its limit"),
            Self::Cost { limit } => write!(f, "waiting and running jobs hold its limit of {limit}"),
            Self::Wait { expected, allowed } => write!(
                f,
                "the answer would take {:.1} s, {:.1} s are allowed",
                expected.as_secs_f64(),
                allowed.as_secs_f64()
            ),
            Self::Memory => f.write_str("the memory budget has no room for the input"),
        }
    }
}
