use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use super::{Claim, Lane};

/// How many closures each lane runs at once, and when one that runs is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LanesConfig {
    /// Cores that steps may keep busy. Default: what the process may use.
    pub cores: NonZeroUsize,
    /// Threads one step keeps busy. Default: half the cores, so that two models step at once and a short step does not
    /// queue behind a long one.
    pub threads_per_step: NonZeroUsize,
    /// Slots for preparation. They are reserved: steps never take them. Default: 1.
    pub prepare_slots: NonZeroUsize,
    /// Slots for reading and writing. Default: 2.
    pub io_slots: NonZeroUsize,
    /// A claim that waits rises one priority class after each such interval, so that none starves. Default: 2 s.
    pub ageing: Duration,
    /// The shortest time after which work is given up; [`Duration::MAX`] switches the watch off, over every lane.
    /// Default: 30 s.
    pub unresponsive_after: Duration,
    /// Work with an estimate is not given up before so many times its estimate. Default: 10.
    pub unresponsive_factor: u32,
    /// The shortest time after which reading or writing on a model's account is given up: a disk or a network file system
    /// may take its time, and one that hangs does not hold a slot for ever. Default: 120 s.
    pub io_unresponsive_after: Duration,
}

impl LanesConfig {
    /// The defaults on a machine with so many cores.
    pub fn for_cores(cores: NonZeroUsize) -> Self {
        const ONE: NonZeroUsize = NonZeroUsize::MIN;
        const TWO: NonZeroUsize = ONE.saturating_add(1);
        Self {
            cores,
            threads_per_step: NonZeroUsize::new(cores.get() / 2).unwrap_or(ONE),
            prepare_slots: ONE,
            io_slots: TWO,
            ageing: Duration::from_secs(2),
            unresponsive_after: Duration::from_secs(30),
            unresponsive_factor: 10,
            io_unresponsive_after: Duration::from_secs(120),
        }
    }

    /// How many steps run at once: the cores divided by the threads of a step, at least one.
    pub fn step_slots(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.cores.get() / self.threads_per_step.get()).unwrap_or(NonZeroUsize::MIN)
    }

    /// How long work of this claim may run in a lane before it is given up; `None` for ever.
    pub(super) fn limit(&self, lane: Lane, claim: &Claim) -> Option<Duration> {
        if self.unresponsive_after == Duration::MAX {
            return None;
        }
        let least = match lane {
            Lane::Step | Lane::Prepare => self.unresponsive_after,
            Lane::Io => self.io_unresponsive_after,
        };
        let scaled = claim.estimate.unwrap_or_default().saturating_mul(self.unresponsive_factor);
        Some(least.max(scaled))
    }
}

impl Default for LanesConfig {
    /// The defaults on this machine.
    fn default() -> Self {
        Self::for_cores(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }
}
