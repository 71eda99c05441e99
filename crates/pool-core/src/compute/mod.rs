//! Where heavy work runs: bounded lanes beside the runtime.
//!
//! Owns the only `spawn_blocking` of the workspace, the slots that bound it, the panics of what runs there and the
//! account of threads that never came back. It knows no model, no queue and no job: it is handed closures.
//!
//! - [`Lanes`] grants slots and is what everybody calls: [`Lanes::step`], [`Lanes::prepare`], [`Lanes::io`].
//! - [`Compute`] is where a closure that has its slot really runs: [`BlockingCompute`] on tokio's blocking threads,
//!   [`ScriptedCompute`] under paused time, with durations and hangs that a test decides.
//!
//! Granting a slot and starting the closure are one act: a claim that must wait leaves its closure in the lane's
//! queue, and whoever frees a slot starts the next closure. So no grant is ever on its way to a caller that has
//! just gone, and a finished step is followed by the next without a detour through the runtime.

mod blocking;
mod config;
mod error;
mod grants;
mod lanes;
mod scripted;

pub use blocking::{BlockingCompute, NoRuntime};
pub use config::LanesConfig;
pub use error::ComputeError;
pub(crate) use error::panic_message;
pub use lanes::{LaneStats, Lanes, Occupancy};
pub use scripted::{Scripted, ScriptedCompute};

use std::fmt;
use std::time::Duration;

use crate::types::{ModelId, Priority};

/// The kinds of work that are bounded apart from each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lane {
    /// One step of a model: the machine's cores.
    Step,
    /// Short work that makes a job ready: tokenising, decoding a picture, base64. Never waits for steps.
    Prepare,
    /// Weights, files, databases: waits for devices more than for cores.
    Io,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 3] = [Self::Step, Self::Prepare, Self::Io];

    /// The position in [`Lane::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name as logs and metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Prepare => "prepare",
            Self::Io => "io",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A closure with its slot inside: it frees the slot when it returns, when it is dropped unrun, and not before.
pub type Work = Box<dyn FnOnce() + Send + 'static>;

/// Where closures that have been granted a slot really run.
///
/// [`Lanes`] bounds how many are out at once; an implementation starts each at once, or drops it unrun where it cannot
/// (its caller then hears [`ComputeError::Gone`]). Work never panics, and neither must `execute`.
pub trait Compute: Send + Sync + fmt::Debug + 'static {
    /// Starts `work` and returns without waiting for it. It runs to its end even if nobody waits for it any more.
    /// It may be called from any thread, also from within other work.
    fn execute(&self, lane: Lane, work: Work);
}

/// On whose behalf a slot is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The model that computes: the unit of fair sharing, and of refusal after lost threads.
    pub model: ModelId,
    /// The most urgent job that waits for this work.
    pub priority: Priority,
    /// How long the work should take, as far as anybody knows; it raises the limit after which it counts as
    /// unresponsive.
    pub estimate: Option<Duration>,
}

impl Claim {
    /// A claim of normal priority without an estimate.
    pub fn new(model: ModelId) -> Self {
        Self { model, priority: Priority::default(), estimate: None }
    }

    /// The same claim at another priority.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The same claim with an estimate of how long the work takes.
    #[must_use]
    pub fn estimate(mut self, estimate: Duration) -> Self {
        self.estimate = Some(estimate);
        self
    }
}
