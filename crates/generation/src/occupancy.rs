use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::scheduler::Scheduler;

/// How full a model is, as of its last step. Shared: it may be looked at while the model runs.
#[derive(Debug, Default)]
pub struct Occupancy {
    running: AtomicUsize,
    waiting: AtomicUsize,
    used: AtomicUsize,
    cached: AtomicUsize,
    blocks: usize,
    preemptions: AtomicU64,
}

impl Occupancy {
    pub(crate) fn new(blocks: usize) -> Self {
        Self { blocks, ..Self::default() }
    }

    /// `before`: sequences that wait and are not in the scheduler yet.
    pub(crate) fn update(&self, scheduler: &Scheduler, before: usize) {
        let (running, waiting) = scheduler.running_and_waiting();
        self.running.store(running, Ordering::Relaxed);
        self.waiting.store(before + waiting, Ordering::Relaxed);
        self.used.store(scheduler.pool().in_use(), Ordering::Relaxed);
        self.cached.store(scheduler.pool().cached(), Ordering::Relaxed);
        self.preemptions.store(scheduler.preemptions(), Ordering::Relaxed);
    }

    /// Sequences that hold cache blocks.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Sequences that wait for others to end, or for cache blocks.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Cache blocks that sequences hold.
    pub fn blocks_used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Cache blocks that only cached prefixes hold: they are given up when sequences need them.
    pub fn blocks_cached(&self) -> usize {
        self.cached.load(Ordering::Relaxed)
    }

    /// Cache blocks there are.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// How often a sequence has given up its blocks for another.
    pub fn preemptions(&self) -> u64 {
        self.preemptions.load(Ordering::Relaxed)
    }
}
